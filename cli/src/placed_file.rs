// SPDX-License-Identifier: Apache-2.0
//! A file that is written beside its place and takes it when all of it is on the disk.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::exit::CliError;
use crate::output::escape;

/// See the module. Dropped before [`Self::settle`], it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct PlacedFile {
    place: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
    is_in_place: bool,
}

impl PlacedFile {
    /// As [`Self::create`], where none of `inputs` is that place: it would be gone with the first line.
    ///
    /// # Errors
    /// When it is, or as there.
    pub(crate) fn create_apart<'a>(
        place: &Path,
        inputs: impl IntoIterator<Item = &'a Path>,
    ) -> Result<Self, CliError> {
        apart(place, inputs)?;
        Self::create(place)
    }

    /// Begins it; only its owner may read it, for logs hold addresses.
    ///
    /// # Errors
    /// When the folder cannot be written to, or something other than a file stands in the place.
    pub(crate) fn create(place: &Path) -> Result<Self, CliError> {
        // A pipe or a device would be replaced by a file.
        if fs::metadata(place).is_ok_and(|found| !found.is_file()) {
            return Err(CliError::usage(format!("{} is no file", shown(place))));
        }
        let mut name = OsString::from(".");
        name.push(place.file_name().unwrap_or_default());
        name.push(format!(".{}.part", std::process::id()));
        let temporary = place.with_file_name(name);
        // What a run that was killed left behind is in the way; a link that somebody put there is not followed.
        drop(fs::remove_file(&temporary));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
        let file = file.map_err(|error| refused("write", place, &error))?;
        Ok(Self { place: place.to_owned(), temporary, file: BufWriter::new(file), is_in_place: false })
    }

    /// Puts it in its place.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn settle(mut self) -> Result<(), CliError> {
        let settled = self
            .file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .and_then(|()| fs::rename(&self.temporary, &self.place));
        self.is_in_place = settled.is_ok();
        settled.map_err(|error| refused("write", &self.place, &error))
    }

    /// The error for bytes that could not be written to it.
    pub(crate) fn failed(&self, error: &io::Error) -> CliError {
        refused("write", &self.place, error)
    }
}

impl Write for PlacedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for PlacedFile {
    fn drop(&mut self) {
        if !self.is_in_place {
            // It is gone, or the disk is: there is nobody to tell.
            drop(fs::remove_file(&self.temporary));
        }
    }
}

/// The name of a file, in backticks, fit for a terminal.
pub(crate) fn shown(path: &Path) -> String {
    format!("`{}`", escape(&path.display().to_string()))
}

/// The error for a file that cannot be read or written.
pub(crate) fn refused(verb: &str, path: &Path, error: &io::Error) -> CliError {
    let message = format!("failed to {verb} {}: {error}", shown(path));
    match error.kind() {
        io::ErrorKind::PermissionDenied => CliError::not_permitted(message),
        io::ErrorKind::NotFound | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => {
            CliError::usage(message)
        }
        _ => CliError::failed(message),
    }
}

/// Refuses a place that is one of the inputs, by whatever name.
///
/// # Errors
/// When it is.
pub(crate) fn apart<'a>(place: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<(), CliError> {
    let Ok(found) = fs::metadata(place) else { return Ok(()) };
    let is_same = |input: &Path| {
        fs::metadata(input).is_ok_and(|input| (input.dev(), input.ino()) == (found.dev(), found.ino()))
    };
    if inputs.into_iter().any(is_same) {
        return Err(CliError::usage(format!("{} is what is read: it would be overwritten", shown(place))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ExitCode;

    #[test]
    fn a_file_is_in_its_place_whole_or_not_at_all() {
        let folder = std::env::temp_dir().join(format!("sunbeam-placed-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let place = folder.join("a");
        let mut dropped = PlacedFile::create(&place).unwrap();
        dropped.write_all(b"half").unwrap();
        drop(dropped);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        let mut whole = PlacedFile::create(&place).unwrap();
        whole.write_all(b"whole").unwrap();
        whole.settle().unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"whole");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        for (name, place) in [("a device", Path::new("/dev/null")), ("no folder", &folder.join("b/c"))] {
            assert_eq!(PlacedFile::create(place).unwrap_err().code, ExitCode::Usage, "{name}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
