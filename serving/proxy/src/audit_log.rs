// SPDX-License-Identifier: Apache-2.0
//! Writes the audit log on a thread of its own. A request appends its line and goes on: when too much
//! waits or the disk is full, lines are dropped and counted, never waited for.
//!
//! Lines are gathered for [`GATHER_FOR`]: waking the writer and looking after the file for each line
//! costs more than the line (a fifth of a request's CPU, measured).

use std::borrow::Cow;
use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use sunbeam_listeners::ListenerMetrics;
use sunbeam_traffic::AuditRecord;
use tracing::{error, info};

use crate::config::AuditSection;
use crate::metrics::ProxyMetrics;

/// How long a line may wait for others before it is written.
const GATHER_FOR: Duration = Duration::from_millis(10);

/// Bytes that may wait, beside the bound on lines: a stranger chooses how long a line is.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// A buffer that grew beyond this in a burst is given back after it.
const KEPT_BYTES: usize = 1 << 20;

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
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

/// Lines on their way to the writing thread.
#[derive(Debug)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    lines_max: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    lines: usize,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false`: too much waits already.
    fn push(&self, line: &[u8]) -> bool {
        let mut waiting = self.lock();
        if waiting.lines >= self.lines_max || waiting.text.len() + line.len() > WAITING_BYTES_MAX {
            return false;
        }
        let is_first = waiting.text.is_empty();
        waiting.text.extend_from_slice(line);
        waiting.lines += 1;
        drop(waiting);
        if is_first {
            self.changed.notify_one();
        }
        true
    }

    /// Exchanges what waits for the empty `text`; `None` when nothing will come any more.
    fn take(&self, text: &mut Vec<u8>) -> Option<usize> {
        let until = |result: Result<_, PoisonError<_>>| result.unwrap_or_else(PoisonError::into_inner);
        let waiting =
            until(self.changed.wait_while(self.lock(), |waiting| waiting.text.is_empty() && !waiting.closed));
        let gathered = self.changed.wait_timeout_while(waiting, GATHER_FOR, |waiting| !waiting.closed);
        let mut waiting = gathered.map_or_else(|poisoned| poisoned.into_inner().0, |(waiting, _)| waiting);
        if waiting.text.is_empty() {
            return None;
        }
        std::mem::swap(&mut waiting.text, text);
        Some(std::mem::take(&mut waiting.lines))
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }
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
        let queue =
            Arc::new(Queue { waiting: Mutex::default(), changed: Condvar::new(), lines_max: section.queue });
        let (lines, metrics) = (Arc::clone(&queue), self.metrics.clone());
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || run(&lines, sink, &metrics))
            .map_err(|source| AuditLogError { path: section.path.clone(), source })?;
        self.writer.store(Some(Writer { queue, thread: Some(thread) }.into()));
        Ok(())
    }

    /// Whether a process that takes this node over writes the same file. Lines of both stand whole in it;
    /// this one no longer renames it.
    pub(crate) fn share(&self, is_shared: bool) {
        self.is_shared.store(is_shared, Ordering::Relaxed);
    }

    /// Hands a record over.
    pub(crate) fn write(&self, record: &AuditRecord<Cow<'_, str>>) {
        thread_local! {
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let writer = self.writer.load();
        let Some(writer) = writer.as_ref() else { return };
        let is_taken = LINE.with_borrow_mut(|line| {
            line.clear();
            record.write_line(line);
            let is_taken = writer.queue.push(line);
            line.shrink_to(KEPT_BYTES);
            is_taken
        });
        if !is_taken {
            self.metrics.audit_lines("dropped").inc();
            self.limits.limit_hits("audit_queue").inc();
        }
    }

    /// Writes what waits and ends the thread.
    pub(crate) fn close(&self) {
        self.writer.store(None);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has lost its lines; there is nobody left to tell.
            drop(thread.join());
        }
    }
}

fn run(queue: &Queue, mut sink: Sink, metrics: &ProxyMetrics) {
    let mut text = Vec::new();
    while let Some(lines) = queue.take(&mut text) {
        let written = sink.write(&text);
        metrics.audit_lines("written").inc_by(written as u64);
        metrics.audit_lines("failed").inc_by(lines.saturating_sub(written) as u64);
        text.clear();
        text.shrink_to(KEPT_BYTES);
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
    File { path: PathBuf, file: Option<File>, bytes: u64 },
}

impl Sink {
    fn open(section: &AuditSection, is_shared: Arc<AtomicBool>) -> io::Result<Self> {
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
            is_shared,
            last_complaint: None,
        })
    }

    /// Writes whole lines and says how many; the others are lost.
    fn write(&mut self, mut lines: &[u8]) -> usize {
        let mut written = 0;
        while !lines.is_empty() {
            let (now, later) = lines.split_at(self.fitting(lines));
            if let Err(error) = self.try_write(now) {
                self.complain(&error);
                return written;
            }
            written += memchr::memchr_iter(b'\n', now).count();
            lines = later;
        }
        if self.last_complaint.take().is_some() {
            info!("the audit log is being written again");
        }
        written
    }

    /// How many bytes of `lines` go into one file: whole lines up to its bound, one line at least.
    fn fitting(&self, lines: &[u8]) -> usize {
        let Target::File { bytes, .. } = &self.target else { return lines.len() };
        let whole = usize::try_from(self.rotate_bytes).unwrap_or(usize::MAX);
        let left = whole.saturating_sub(usize::try_from(*bytes).unwrap_or(usize::MAX));
        let end_within = |bound: usize| {
            lines.get(..bound).map_or(Some(lines.len()), |part| memchr::memrchr(b'\n', part).map(|at| at + 1))
        };
        // None fits into this file: the next one takes them.
        let first_line = || memchr::memchr(b'\n', lines).map_or(lines.len(), |at| at + 1);
        end_within(left).or_else(|| end_within(whole)).unwrap_or_else(first_line)
    }

    fn try_write(&mut self, lines: &[u8]) -> io::Result<()> {
        let Target::File { path, file, bytes } = &mut self.target else {
            return io::stdout().lock().write_all(lines);
        };
        // Removed, or renamed by logrotate: what went on into the old file would be lost unseen. The length
        // is asked for, not counted: during an upgrade two processes write.
        let length = file.as_ref().and_then(|open| length_at(open, path));
        if length.is_none() {
            *file = None;
        }
        *bytes = length.unwrap_or_default();
        let is_full = *bytes > 0 && *bytes + lines.len() as u64 > self.rotate_bytes;
        if is_full && !self.is_shared.load(Ordering::Relaxed) {
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
        let written = append(open, lines);
        if written.is_ok() {
            *bytes += lines.len() as u64;
        } else {
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
            assert_eq!(old.write(format!("old {number}\n").as_bytes()), 1);
            assert_eq!(new.write(format!("new {number}\n").as_bytes()), 1);
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
            assert_eq!(sink.write(line.as_bytes()), 1);
        }
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert_eq!(read("audit.log"), "six\nseven\n");
        assert_eq!(read("audit.log.1"), "four\nfive\n");
        assert_eq!(read("audit.log.2"), "three\n");
        // Many lines at once fill the files just as far.
        assert_eq!(sink.write(b"eight\nnine\nlonger than a file\nten\n"), 4);
        assert_eq!(read("audit.log"), "ten\n");
        assert_eq!(read("audit.log.1"), "longer than a file\n");
        assert_eq!(read("audit.log.2"), "nine\n");
        assert_eq!(sink.write(b"1\n2\n3\n4\n5\n"), 5);
        assert_eq!((read("audit.log").as_str(), read("audit.log.1").as_str()), ("4\n5\n", "ten\n1\n2\n3\n"));
        assert!(!folder.join("audit.log.3").exists());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn lines_wait_within_bounds_and_none_is_lost_at_the_end() {
        let queue = Queue { waiting: Mutex::default(), changed: Condvar::new(), lines_max: 2 };
        assert!(queue.push(b"one\n") && queue.push(b"two\n"));
        assert!(!queue.push(b"three\n"), "two lines are the bound");
        let mut text = Vec::new();
        assert_eq!(queue.take(&mut text), Some(2));
        assert_eq!(text, b"one\ntwo\n");
        text.clear();
        assert!(queue.push(b"four\n"));
        queue.close();
        assert_eq!(queue.take(&mut text), Some(1));
        assert_eq!(text, b"four\n");
        text.clear();
        assert_eq!(queue.take(&mut text), None);
        let long = vec![b'x'; WAITING_BYTES_MAX];
        assert!(queue.push(&long) && !queue.push(b"y"), "bytes are bounded as well");
    }

    #[test]
    fn a_full_disk_loses_lines_and_says_so() {
        let mut sink = sink(Path::new("/dev/full"), u64::MAX, 1);
        assert_eq!(sink.write(b"line\n"), 0);
        assert!(sink.last_complaint.is_some());
    }
}
