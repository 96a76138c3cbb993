// SPDX-License-Identifier: Apache-2.0
//! Writes the audit log on a thread of its own. A request hands its record over and goes on: when the
//! queue is full or the disk is, lines are dropped and counted, never waited for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Another process writes the same file: it rotates.
    is_shared: Arc<AtomicBool>,
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
        let log = Self { writer: ArcSwapOption::empty(), is_shared: Arc::default(), metrics, limits };
        log.reopen(section)?;
        Ok(log)
    }

    /// Opens the log of a changed section; on an error the old one goes on.
    pub(crate) fn reopen(&self, section: &AuditSection) -> Result<(), AuditLogError> {
        if !section.enabled {
            self.writer.store(None);
            return Ok(());
        }
        let sink = Sink::open(section, Arc::clone(&self.is_shared))
            .map_err(|source| AuditLogError { path: section.path.clone(), source })?;
        let (queue, records) = sync_channel(section.queue);
        let metrics = self.metrics.clone();
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || run(&records, sink, &metrics))
            .map_err(|source| AuditLogError { path: section.path.clone(), source })?;
        self.writer.store(Some(Writer { queue: Some(queue), thread: Some(thread) }.into()));
        Ok(())
    }

    /// Whether a process that takes this node over writes the same file. Lines of both stand whole in it;
    /// this one no longer renames it.
    pub(crate) fn share(&self, is_shared: bool) {
        self.is_shared.store(is_shared, Ordering::Relaxed);
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
    is_shared: Arc<AtomicBool>,
    last_complaint: Option<Instant>,
}

#[derive(Debug)]
enum Target {
    Stdout,
    File { path: PathBuf, file: Option<File> },
}

impl Sink {
    fn open(section: &AuditSection, is_shared: Arc<AtomicBool>) -> io::Result<Self> {
        let target = if section.path.is_empty() {
            Target::Stdout
        } else {
            let path = PathBuf::from(&section.path);
            let file = open_file(&path)?;
            Target::File { path, file: Some(file) }
        };
        Ok(Self {
            target,
            rotate_bytes: section.rotate_bytes,
            keep_files: section.keep_files,
            is_shared,
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
        let Target::File { path, file } = &mut self.target else {
            return io::stdout().lock().write_all(lines);
        };
        // Removed, or renamed by logrotate: what went on into the old file would be lost unseen. The length
        // is asked for, not counted: during an upgrade two processes write.
        let bytes = file.as_ref().and_then(|open| length_at(open, path));
        if bytes.is_none() {
            *file = None;
        }
        let is_full = bytes.is_some_and(|bytes| bytes > 0 && bytes + lines.len() as u64 > self.rotate_bytes);
        if is_full && !self.is_shared.load(Ordering::Relaxed) {
            *file = None;
            rotate(path, self.keep_files)?;
        }
        let open = match file {
            Some(open) => open,
            None => file.insert(open_file(path)?),
        };
        let written = append(open, lines);
        if written.is_err() {
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

fn open_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // Addresses and paths of visitors are nobody else's business.
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

/// The file's length, if `path` still names it.
fn length_at(file: &File, path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let (open, named) = (file.metadata().ok()?, fs::metadata(path).ok()?);
    ((open.dev(), open.ino()) == (named.dev(), named.ino())).then_some(open.len())
}

/// Whole lines at the file's end. One write, so that the lines of two processes do not mix.
fn append(file: &mut File, lines: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                // Half a line must not run into the next one that fits; nor may another process's go.
                let end = file.stream_position()?;
                if written > 0 && file.metadata()?.len() == end {
                    file.set_len(end.saturating_sub(written as u64))?;
                }
                return Err(error);
            }
        }
    }
    Ok(())
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
        Sink::open(&section, Arc::default()).unwrap()
    }

    #[test]
    fn of_two_processes_one_rotates_and_no_line_is_lost() {
        let folder = std::env::temp_dir().join(format!("sunbeam-audit-two-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("audit.log");
        let (mut old, mut new) = (sink(&path, 64, 100), sink(&path, 64, 100));
        old.is_shared.store(true, Ordering::Relaxed);
        for number in 0..100 {
            assert!(old.write(format!("old {number}\n").as_bytes()));
            assert!(new.write(format!("new {number}\n").as_bytes()));
        }
        let mut lines = Vec::new();
        for entry in fs::read_dir(&folder).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            assert!(text.len() <= 64 + 8, "{text}");
            lines.extend(text.lines().map(str::to_owned));
        }
        let whole = (0..100).flat_map(|number| [format!("new {number}"), format!("old {number}")]);
        let mut whole: Vec<String> = whole.collect();
        lines.sort();
        whole.sort();
        assert_eq!(lines, whole);
        fs::remove_dir_all(&folder).unwrap();
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
