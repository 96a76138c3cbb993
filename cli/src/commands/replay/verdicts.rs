// SPDX-License-Identifier: Apache-2.0
//! Where `--verdicts` writes: a file that is whole when it is there, or standard output.

use std::io::{self, BufWriter, Stdout, Write as _};
use std::path::Path;

use serde::Serialize;

use crate::exit::CliError;
use crate::output::unwritten;
use crate::placed_file::PlacedFile;

/// Standard output.
pub(super) const STDOUT: &str = "-";

/// See the module.
#[derive(Debug)]
pub(super) enum Verdicts {
    File(PlacedFile),
    Stdout(BufWriter<Stdout>),
}

impl Verdicts {
    /// A file, which must not be what is read, or `-` for standard output.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn new(place: &Path, input: &Path) -> Result<Self, CliError> {
        if place == Path::new(STDOUT) {
            return Ok(Self::Stdout(BufWriter::new(io::stdout())));
        }
        PlacedFile::create_apart(place, [input]).map(Self::File)
    }

    /// Writes a line of JSON.
    ///
    /// # Errors
    /// When the disk fails, or nobody reads it any more.
    pub(super) fn line(&mut self, line: &impl Serialize) -> Result<(), CliError> {
        let mut text = serde_json::to_vec(line).map_err(|error| CliError::failed(error.to_string()))?;
        text.push(b'\n');
        match self {
            Self::File(file) => file.write_all(&text).map_err(|error| file.failed(&error)),
            Self::Stdout(out) => out.write_all(&text).map_err(|error| unwritten(&error)),
        }
    }

    /// When all of them are written.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(super) fn settle(self) -> Result<(), CliError> {
        match self {
            Self::File(file) => file.settle(),
            Self::Stdout(mut out) => out.flush().map_err(|error| unwritten(&error)),
        }
    }
}
