// SPDX-License-Identifier: Apache-2.0
//! Records of several files, all of them in memory: training goes over them again and again.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use sunbeam_datasets::Record;
use sunbeam_datasets::container::Manifest;
use sunbeam_datasets::sources::ReadOptions;

use super::card::{Origin, origin};
use crate::exit::CliError;
use crate::log_file::{DATA_SET_FORMAT, LogFile, Reading};
use crate::progress::Progress;

/// See the module.
#[derive(Debug)]
pub(in crate::commands) struct Pile {
    pub(in crate::commands) records: Vec<Record>,
    bytes: u64,
    /// Of the files that were read.
    done: u64,
    progress: Progress,
}

/// Records that are learned from at once; each takes 600 bytes where requests are short.
const RECORDS_MAX: usize = 4_000_000;
/// What they take in memory at most.
const BYTES_MAX: u64 = 4 << 30;

impl Pile {
    /// Of nothing yet; `total` is what all files have in bytes, if it is known.
    pub(in crate::commands) fn new(total: Option<u64>) -> Self {
        Self { records: Vec::new(), bytes: 0, done: 0, progress: Progress::new("reading", total) }
    }

    /// Adds what a file holds.
    ///
    /// # Errors
    /// When it cannot be read, or there is too much.
    pub(in crate::commands) fn read(
        &mut self,
        log: &LogFile,
        format: Option<&str>,
    ) -> Result<Reading, CliError> {
        let options = ReadOptions { format: format.map(str::to_owned), ..ReadOptions::default() };
        let done = AtomicU64::new(0);
        let reading = log.read(&options, &done, &mut |record| self.take(record, &done))?;
        self.done += log.bytes.unwrap_or(0);
        if !self.is_full() {
            return Ok(reading);
        }
        let mib = BYTES_MAX >> 20;
        let text =
            format!("more than {RECORDS_MAX} requests or {mib} MiB are too much to learn from at once");
        Err(CliError::failed(text).hint("give the latest weeks of the logs"))
    }

    fn take(&mut self, mut record: Record, done: &AtomicU64) -> ControlFlow<()> {
        record.cut_headers();
        self.bytes += u64::try_from(record.bytes()).unwrap_or(u64::MAX);
        self.records.push(record);
        let count = u64::try_from(self.records.len()).unwrap_or(u64::MAX);
        self.progress.tell(self.done + done.load(Ordering::Relaxed), count);
        if self.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    const fn is_full(&self) -> bool {
        self.records.len() > RECORDS_MAX || self.bytes > BYTES_MAX
    }
}

/// A file of `prepare-dataset`.
#[derive(Debug, Default)]
pub(in crate::commands) struct DataSet {
    pub(in crate::commands) records: Vec<Record>,
    /// The file, and where what stands in it is from.
    pub(in crate::commands) origins: Vec<Origin>,
}

impl DataSet {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none, was changed, or is too large.
    pub(in crate::commands) fn read(path: &Path) -> Result<Self, CliError> {
        let log = LogFile::new(path)?;
        let mut pile = Pile::new(log.bytes);
        let reading = pile.read(&log, Some(DATA_SET_FORMAT))?;
        let of = |manifest: &Manifest| Origin {
            name: crate::output::escape(&manifest.name),
            sha256: manifest.sha256.clone(),
        };
        let mut origins = vec![origin(path)?];
        origins.extend(reading.manifests.iter().map(of));
        Ok(Self { records: pile.records, origins })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pile_counts_all_that_its_records_take_in_memory_and_is_full_by_it() {
        let mut pile = Pile::new(None);
        let done = AtomicU64::new(0);
        for _ in 0..1_000 {
            let record = Record { user_agent: "a".repeat(64 << 10), ..Record::default() };
            assert!(pile.take(record, &done).is_continue());
        }
        let held: usize = pile.records.iter().map(Record::bytes).sum();
        assert_eq!(pile.bytes, held as u64);
        assert!(held >= 1_000 * size_of::<Record>() && held < 2 << 20, "{held} bytes: long headers are cut");
        pile.bytes = BYTES_MAX - 1;
        assert!(pile.take(Record::default(), &done).is_break());
    }
}
