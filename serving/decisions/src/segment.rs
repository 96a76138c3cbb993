// SPDX-License-Identifier: Apache-2.0
//! The files of a ring: numbered, a log and its index, held by one writer at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::row::{IndexRow, ROW_BYTES};

/// Names of one segment's files.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) log: PathBuf,
    pub(crate) index: PathBuf,
}

impl Segment {
    pub(crate) fn new(folder: &Path, number: u64) -> Self {
        Self {
            number,
            log: folder.join(format!("{number:010}.log")),
            index: folder.join(format!("{number:010}.index")),
        }
    }

    /// The segments in `folder`, oldest first. A folder that does not exist has none.
    pub(crate) fn list(folder: &Path) -> io::Result<Vec<Self>> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut numbers = Vec::new();
        for entry in entries {
            numbers.extend(entry?.file_name().to_str().and_then(number));
        }
        numbers.sort_unstable();
        Ok(numbers.into_iter().map(|number| Self::new(folder, number)).collect())
    }

    /// Opens the log for writing and holds it until the file is closed. `None`: another one holds it, or it is
    /// gone.
    pub(crate) fn hold(&self) -> io::Result<Option<File>> {
        let log = match OpenOptions::new().read(true).write(true).open(&self.log) {
            Ok(log) => log,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // Between opening and holding it may have been removed.
        Ok((lock(&log)? && log.metadata()?.nlink() > 0).then_some(log))
    }

    /// Makes the files and holds them. `None`: another one was quicker.
    pub(crate) fn create(&self) -> io::Result<Option<(File, File)>> {
        let log = match private_file().create_new(true).open(&self.log) {
            Ok(log) => log,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(error),
        };
        if !lock(&log)? {
            return Ok(None);
        }
        let index = private_file().create(true).truncate(true).open(&self.index);
        if index.is_err() {
            // An empty log that nobody writes is of no use; what keeps it there hurts nobody.
            drop(fs::remove_file(&self.log));
        }
        Ok(Some((log, index?)))
    }

    /// Removes the files, unless another one writes them: `false`.
    pub(crate) fn remove(&self) -> io::Result<bool> {
        let Some(_held) = self.hold()? else { return Ok(false) };
        // The index first: a log without one is found and removed later, an index alone never would be.
        for path in [&self.index, &self.log] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(true)
    }

    /// Bytes of both files.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = |path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        bytes(&self.log) + bytes(&self.index)
    }

    /// The time of the newest entry, microseconds of Unix time; by the file's time where the index does not say.
    pub(crate) fn newest_micros(&self) -> io::Result<u64> {
        let from_index = match File::open(&self.index) {
            Ok(index) => last_row(&index)?,
            Err(_) => None,
        };
        if let Some(row) = from_index {
            return Ok(row.newest_micros());
        }
        let modified = fs::metadata(&self.log)?.modified()?;
        let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

/// How new files of a store are opened: nobody else's business who visited what.
pub(crate) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// Whole rows of an index.
pub(crate) fn row_count(index: &File) -> io::Result<u64> {
    Ok(index.metadata()?.len() / ROW_BYTES as u64)
}

pub(crate) fn row_at(index: &File, place: u64) -> io::Result<IndexRow> {
    let mut bytes = [0; ROW_BYTES];
    index.read_exact_at(&mut bytes, place * ROW_BYTES as u64)?;
    Ok(IndexRow::decode(&bytes))
}

pub(crate) fn last_row(index: &File) -> io::Result<Option<IndexRow>> {
    row_count(index)?.checked_sub(1).map(|place| row_at(index, place)).transpose()
}

/// `false`: another one holds it. A file system without locks has nobody else to ask, and counts as free: holding
/// nothing for free would keep every segment for ever.
fn lock(log: &File) -> io::Result<bool> {
    match log.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Of `0000000007.log`.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    let is_number = digits.len() >= 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_logs_of_ten_digits_are_segments() {
        for (name, want) in [
            ("0000000007.log", Some(7)),
            ("12345678901.log", Some(12_345_678_901)),
            ("0000000007.index", None),
            ("7.log", None),
            ("+000000007.log", None),
            ("00000000007x.log", None),
            ("99999999999999999999999.log", None),
            ("", None),
        ] {
            assert_eq!(number(name), want, "{name}");
        }
    }
}
