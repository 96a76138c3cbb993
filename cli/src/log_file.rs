// SPDX-License-Identifier: Apache-2.0
//! Logs, corpora and data sets as files or standard input, read record by record.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};
use sunbeam_datasets::Record;
use sunbeam_datasets::container::{Manifest, OpenError, Reader};
use sunbeam_datasets::sources::{ReadError, ReadOptions, ReadReport, read_from};

use crate::exit::{CliError, told};
use crate::output::escape;
use crate::placed_file::refused;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    /// Bytes, packed as it is; none where nobody knows.
    pub(crate) bytes: Option<u64>,
    /// Whether its hash is wanted: that costs as much as reading it.
    is_hashed: bool,
}

/// What reading came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// As the reader of its format tells it; of a data set, its records only.
    pub(crate) report: ReadReport,
    /// SHA-256 of the file in hexadecimal, where it was wanted.
    pub(crate) sha256: String,
    /// What a data set says of its sources.
    pub(crate) manifests: Vec<Manifest>,
}

/// What a data set begins with.
const DATA_SET: &[u8; 8] = b"SUNBEAMD";
/// The name of its format.
pub(crate) const DATA_SET_FORMAT: &str = "dataset";
/// Standard input.
const STDIN: &str = "-";

impl LogFile {
    /// A file, or `-` for standard input.
    ///
    /// # Errors
    /// When there is no such file.
    pub(crate) fn new(path: &Path) -> Result<Self, CliError> {
        if path == Path::new(STDIN) {
            return Ok(Self { path: path.to_owned(), bytes: None, is_hashed: false });
        }
        let found = path.metadata().map_err(|error| refused("read", path, &error))?;
        if found.is_dir() {
            return Err(refused("read", path, &io::ErrorKind::IsADirectory.into()));
        }
        Ok(Self {
            path: path.to_owned(),
            bytes: Some(found.len()).filter(|_| found.is_file()),
            is_hashed: false,
        })
    }

    /// The same, with its hash.
    #[must_use]
    pub(crate) fn hashed(self) -> Self {
        Self { is_hashed: true, ..self }
    }

    /// A file with nothing in it, as a log that was just rotated.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == Some(0)
    }

    /// Its name, fit for a terminal.
    pub(crate) fn name(&self) -> String {
        if self.bytes.is_none() && self.path == Path::new(STDIN) {
            return "standard input".to_owned();
        }
        escape(&self.path.display().to_string())
    }

    /// Hands its records to `visit`; `done` tells how many bytes were read so far.
    ///
    /// # Errors
    /// When it cannot be read, is of no known format, or more than half of it is broken: then what was handed out
    /// is void.
    pub(crate) fn read(
        &self,
        options: &ReadOptions,
        done: &AtomicU64,
        visit: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<Reading, CliError> {
        if self.is_data_set(options)? {
            return self.read_data_set(done, visit);
        }
        let inner: Box<dyn Read> = if self.path == Path::new(STDIN) {
            Box::new(io::stdin().lock())
        } else {
            Box::new(File::open(&self.path).map_err(|error| refused("read", &self.path, &error))?)
        };
        let mut options = options.clone();
        options.source.get_or_insert_with(|| stem(&self.path));
        let mut input = BufReader::with_capacity(
            1 << 16,
            Watched { inner, done, hash: self.is_hashed.then(Sha256::new) },
        );
        let report = read_from(&mut input, &options, visit).map_err(|error| self.refusal(error))?;
        if report.is_stopped {
            return Ok(Reading { report, ..Reading::default() });
        }
        io::copy(&mut input, &mut io::sink()).map_err(|error| refused("read", &self.path, &error))?;
        let sha256 = input.into_inner().hash.map(|hash| hex(&hash.finalize())).unwrap_or_default();
        Ok(Reading { report, sha256, manifests: Vec::new() })
    }

    fn is_data_set(&self, options: &ReadOptions) -> Result<bool, CliError> {
        match options.format.as_deref() {
            Some(format) => Ok(format == DATA_SET_FORMAT),
            // What can be read only once is not looked into.
            None if self.bytes.is_none() => Ok(false),
            None => {
                let mut front = Vec::new();
                let file = File::open(&self.path);
                file.and_then(|file| file.take(DATA_SET.len() as u64).read_to_end(&mut front))
                    .map_err(|error| refused("read", &self.path, &error))?;
                Ok(front == DATA_SET)
            }
        }
    }

    fn read_data_set(
        &self,
        done: &AtomicU64,
        visit: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<Reading, CliError> {
        if self.bytes.is_none() {
            // It is read twice: once for its checksum.
            return Err(CliError::usage(format!("{} is no file, as a data set is", self.name())));
        }
        let reader = Reader::open(&self.path).map_err(|error| match &error {
            OpenError::Io { source, .. } => refused("read", &self.path, source),
            _ => CliError::failed(escape(&told(&error))),
        })?;
        let header = reader.header().clone();
        let mut reading = Reading { manifests: header.sources, ..Reading::default() };
        reading.report.format = DATA_SET_FORMAT;
        for record in reader {
            let record = record.map_err(|error| CliError::failed(escape(&told(&error))))?;
            reading.report.records += 1;
            let bytes = self.bytes.unwrap_or(0).saturating_mul(reading.report.records) / header.rows.max(1);
            done.store(bytes, Ordering::Relaxed);
            if visit(record).is_break() {
                break;
            }
        }
        Ok(reading)
    }

    fn refusal(&self, mut error: ReadError) -> CliError {
        // The readers know a stream only.
        if let ReadError::Open { name, .. }
        | ReadError::Read { name, .. }
        | ReadError::Gzip { name }
        | ReadError::UnknownFormat { name, .. }
        | ReadError::Nothing { name, .. }
        | ReadError::MostlyBroken { name, .. } = &mut error
        {
            *name = self.name();
        }
        let text = escape(&told(&error));
        match error {
            ReadError::UnknownFormat { .. } => CliError::usage(text).hint("name it with `--format NAME`"),
            ReadError::NoSuchFormat { .. } | ReadError::Gzip { .. } => CliError::usage(text),
            _ => CliError::failed(text),
        }
    }
}

/// `access` of `/logs/access.log.zst`
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name == STDIN {
        return "stdin".to_owned();
    }
    name.split('.').find(|part| !part.is_empty()).unwrap_or("unnamed").to_owned()
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Tells how much passed through, and hashes it if that is wanted.
struct Watched<'a> {
    inner: Box<dyn Read>,
    done: &'a AtomicU64,
    hash: Option<Sha256>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(hash) = &mut self.hash {
            hash.update(buffer.get(..count).unwrap_or_default());
        }
        self.done.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_called_as_their_files() {
        for (path, want) in
            [("/logs/access.log.zst", "access"), (".hidden", "hidden"), ("-", "stdin"), ("/", "unnamed")]
        {
            assert_eq!(stem(Path::new(path)), want);
        }
        assert_eq!(hex(&[0, 0xaf]), "00af");
    }
}
