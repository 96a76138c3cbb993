// SPDX-License-Identifier: Apache-2.0
//! Writes the audit log on a thread of its own. A request hands its record over and goes on: when the
//! queue is full or the disk is, lines are dropped and counted, never waited for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use sunbeam_listeners::ListenerMetrics;
use sunbeam_traffic::AuditRecord;
use tracing::{error, info};

use crate::config::AuditSection;
use crate::metrics::ProxyMetrics;

/// Why the audit log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("failed to open audit log `{path}`: {source}")]
pub struct AuditLogError {
    path: String,
    source: io::Error,
}

/// The way to the writing thread; replaced whole when `[audit]` changes.
#[derive(Debug)]
pub(crate) struct AuditLog {
    writer: ArcSwapOption<Writer>,
    metrics: ProxyMetrics,
    limits: ListenerMetrics,
}

#[derive(Debug)]
struct Writer {
    queue: Option<SyncSender<Box<AuditRecord>>>,
    thread: Option<JoinHandle<()>>,
}

impl AuditLog {
    /// Opens the log of `section`.
    pub(crate) fn open(
        section: &AuditSection,
        metrics: ProxyMetrics,
        limits: ListenerMetrics,
    ) -> Result<Self, AuditLogError> {
        let log = Self { writer: ArcSwapOption::empty(), metrics, limits };
        log.reopen(section)?;
        Ok(log)
    }

    /// Opens the log of a changed section; on an error the old one goes on.
    pub(crate) fn reopen(&self, section: &AuditSection) -> Result<(), AuditLogError> {
        if !section.enabled {
            self.writer.store(None);
            return Ok(());
        }
        let sink =
            Sink::open(section).map_err(|source| AuditLogError { path: section.path.clone(), source })?;
        let (queue, records) = sync_channel(section.queue);
        let metrics = self.metrics.clone();
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || run(&records, sink, &metrics))
            .map_err(|source| AuditLogError { path: section.path.clone(), source })?;
        self.writer.store(Some(Writer { queue: Some(queue), thread: Some(thread) }.into()));
        Ok(())
    }

    /// Hands a record over.
    pub(crate) fn write(&self, record: AuditRecord) {
        let writer = self.writer.load();
        let Some(queue) = writer.as_ref().and_then(|writer| writer.queue.as_ref()) else { return };
        match queue.try_send(Box::new(record)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.metrics.audit_lines("dropped").inc();
                self.limits.limit_hits("audit_queue").inc();
            }
        }
    }

    /// Writes what waits and ends the thread.
    pub(crate) fn close(&self) {
        self.writer.store(None);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has lost its lines; there is nobody left to tell.
            drop(thread.join());
        }
    }
}

/// Lines gathered into one write while more wait.
const BATCH_BYTES: usize = 64 * 1024;

fn run(records: &Receiver<Box<AuditRecord>>, mut sink: Sink, metrics: &ProxyMetrics) {
    let mut batch = Vec::with_capacity(BATCH_BYTES);
    while let Ok(record) = records.recv() {
        let mut lines = 1;
        record.write_line(&mut batch);
        while batch.len() < BATCH_BYTES
            && let Ok(record) = records.try_recv()
        {
            record.write_line(&mut batch);
            lines += 1;
        }
        let result = if sink.write(&batch) { "written" } else { "failed" };
        metrics.audit_lines(result).inc_by(lines);
        batch.clear();
    }
}

/// Where lines go.
#[derive(Debug)]
struct Sink {
    target: Target,
    rotate_bytes: u64,
    keep_files: usize,
    last_complaint: Option<Instant>,
}

#[derive(Debug)]
enum Target {
    Stdout,
    File { path: PathBuf, file: Option<File>, bytes: u64 },
}

impl Sink {
    fn open(section: &AuditSection) -> io::Result<Self> {
        let target = if section.path.is_empty() {
            Target::Stdout
        } else {
            let path = PathBuf::from(&section.path);
            let (file, bytes) = open_file(&path)?;
            Target::File { path, file: Some(file), bytes }
        };
        Ok(Self {
            target,
            rotate_bytes: section.rotate_bytes,
            keep_files: section.keep_files,
            last_complaint: None,
        })
    }

    /// Writes whole lines; `false` when they were lost.
    fn write(&mut self, lines: &[u8]) -> bool {
        match self.try_write(lines) {
            Ok(()) => {
                if self.last_complaint.take().is_some() {
                    info!("the audit log is being written again");
                }
                true
            }
            Err(error) => {
                self.complain(&error);
                false
            }
        }
    }

    fn try_write(&mut self, lines: &[u8]) -> io::Result<()> {
        let Target::File { path, file, bytes } = &mut self.target else {
            return io::stdout().lock().write_all(lines);
        };
        // Removed, or renamed by logrotate: what went on into the old file would be lost unseen.
        if file.as_ref().is_some_and(|open| !is_at(open, path)) {
            *file = None;
            *bytes = 0;
        }
        if *bytes > 0 && *bytes + lines.len() as u64 > self.rotate_bytes {
            *file = None;
            rotate(path, self.keep_files)?;
        }
        let open = match file {
            Some(open) => open,
            None => {
                let (opened, length) = open_file(path)?;
                *bytes = length;
                file.insert(opened)
            }
        };
        let written = open.write_all(lines);
        if written.is_ok() {
            *bytes += lines.len() as u64;
        } else {
            // Half a line must not run into the next one that fits.
            drop(open.set_len(*bytes));
            *file = None;
        }
        written
    }

    fn complain(&mut self, error: &io::Error) {
        const BETWEEN: Duration = Duration::from_secs(60);
        if self.last_complaint.is_none_or(|at| at.elapsed() > BETWEEN) {
            error!(%error, "failed to write the audit log; lines are lost and counted until it works again");
            self.last_complaint = Some(Instant::now());
        }
    }
}

fn open_file(path: &Path) -> io::Result<(File, u64)> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // Addresses and paths of visitors are nobody else's business.
    let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// Whether `path` still names the open file.
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => identity(open) == identity(named),
        _ => false,
    }
}

/// `audit.log` becomes `audit.log.1`, that `.2`, and so on; the oldest goes.
fn rotate(path: &Path, keep: usize) -> io::Result<()> {
    let numbered = |number: usize| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    if keep == 0 {
        return fs::remove_file(path);
    }
    for number in (1..keep).rev() {
        if numbered(number).exists() {
            fs::rename(numbered(number), numbered(number + 1))?;
        }
    }
    fs::rename(path, numbered(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(path: &Path, rotate_bytes: u64, keep_files: usize) -> Sink {
        let section = AuditSection {
            path: path.display().to_string(),
            rotate_bytes,
            keep_files,
            ..AuditSection::default()
        };
        Sink::open(&section).unwrap()
    }

    #[test]
    fn files_rotate_and_the_oldest_go() {
        let folder = std::env::temp_dir().join(format!("sunbeam-audit-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("audit.log");
        let mut sink = sink(&path, 10, 2);
        for line in ["one\n", "two\n", "three\n", "four\n", "five\n", "six\n", "seven\n"] {
            assert!(sink.write(line.as_bytes()));
        }
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert_eq!(read("audit.log"), "six\nseven\n");
        assert_eq!(read("audit.log.1"), "four\nfive\n");
        assert_eq!(read("audit.log.2"), "three\n");
        assert!(!folder.join("audit.log.3").exists());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_full_disk_loses_lines_and_says_so() {
        let mut sink = sink(Path::new("/dev/full"), u64::MAX, 1);
        assert!(!sink.write(b"line\n"));
        assert!(sink.last_complaint.is_some());
    }
}
