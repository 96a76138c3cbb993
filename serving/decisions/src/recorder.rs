// SPDX-License-Identifier: Apache-2.0
//! The thread that writes. A request hands over what it knows and goes on; rendering it as text, weighing what
//! decided, and the disk are this thread's work.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::{error, info};

use crate::row::Entry;
use crate::writer::{AppendError, Writer};

/// How long an item may wait for others before it is written.
const GATHER_FOR: Duration = Duration::from_millis(50);

/// Between two waits for the disk: what a power failure may cost.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// Between two looks for what is too old.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// Between two complaints about one thing.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// A write's entries and bytes: rendered ones must not add up to much more than what waited.
const BATCH_ENTRIES: usize = 256;
const BATCH_BYTES: usize = 1 << 20;

/// What may wait to be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QueueBounds {
    /// Items.
    pub entries: usize,
    /// Bytes of them, as [`Recorder::try_send`] is told.
    pub bytes: usize,
}

/// The thread could not be started.
#[derive(Debug, thiserror::Error)]
#[error("failed to start the thread that writes decisions")]
pub struct StartError(#[source] io::Error);

/// What became of items since the start; each is counted once, when it is known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RecorderCounts {
    /// Written.
    pub written: u64,
    /// Not taken: too much waited, or the recorder was closed.
    pub dropped: u64,
    /// Lost: the disk failed, the text was too long, or rendering it failed.
    pub failed: u64,
    /// Of the failed ones, those whose rendering panicked.
    pub panicked: u64,
    /// Not written because rendering said so.
    pub declined: u64,
}

/// Takes items of `T`, and makes entries of them and writes them on a thread of its own.
///
/// | when | what happens |
/// |---|---|
/// | slow | items wait, up to [`QueueBounds`] |
/// | full | [`Recorder::try_send`] drops and counts |
/// | the disk fails | entries are lost and counted, said once a minute; the next ones are tried again |
/// | rendering panics | that item is lost and counted |
#[derive(Debug)]
pub struct Recorder<T> {
    shared: Arc<Shared<T>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared<T> {
    waiting: Mutex<Waiting<T>>,
    changed: Condvar,
    bounds: QueueBounds,
    written: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
    declined: AtomicU64,
}

#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<T>,
    bytes: usize,
    is_closed: bool,
}

impl<T: Send + 'static> Recorder<T> {
    /// Starts the thread. `render` makes an entry of an item, or says by `None` that it is not worth one.
    ///
    /// # Errors
    /// No thread could be had.
    pub fn start(
        writer: Writer,
        bounds: QueueBounds,
        render: impl FnMut(T) -> Option<Entry> + Send + 'static,
    ) -> Result<Self, StartError> {
        let waiting = Waiting { items: VecDeque::new(), bytes: 0, is_closed: false };
        let shared = Arc::new(Shared {
            waiting: Mutex::new(waiting),
            changed: Condvar::new(),
            bounds,
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
            declined: AtomicU64::new(0),
        });
        let work = Work { shared: Arc::clone(&shared), render, disk: Disk::new(writer), batch: Vec::new() };
        let thread = std::thread::Builder::new().name("decisions".to_owned()).spawn(move || work.run());
        Ok(Self { shared, thread: Mutex::new(Some(thread.map_err(StartError)?)) })
    }

    /// Hands an item over, of about `bytes` in memory. `false`: it was dropped, and counted. One short lock; never
    /// waits for the disk.
    pub fn try_send(&self, item: T, bytes: usize) -> bool {
        let shared = &*self.shared;
        let mut waiting = shared.lock();
        let is_full = waiting.items.len() >= shared.bounds.entries
            || waiting.bytes.saturating_add(bytes) > shared.bounds.bytes;
        if is_full || waiting.is_closed {
            drop(waiting);
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let is_first = waiting.items.is_empty();
        waiting.items.push_back(item);
        waiting.bytes += bytes;
        drop(waiting);
        if is_first {
            shared.changed.notify_one();
        }
        true
    }
}

impl<T> Recorder<T> {
    /// What became of items so far.
    pub fn counts(&self) -> RecorderCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let shared = &*self.shared;
        RecorderCounts {
            written: read(&shared.written),
            dropped: read(&shared.dropped),
            failed: read(&shared.failed),
            panicked: read(&shared.panicked),
            declined: read(&shared.declined),
        }
    }

    /// Writes what waits, waits until it is on the disk, and ends the thread. Items that come later are dropped.
    /// Blocks; a second call does nothing.
    pub fn close(&self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            error!("the thread that writes decisions panicked; what waited is lost");
        }
    }
}

impl<T> Drop for Recorder<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits, gathered; empty when nothing came for `patience`. `None`: closed, and nothing is left.
    fn take(&self, patience: Duration) -> Option<VecDeque<T>> {
        let is_idle = |waiting: &mut Waiting<T>| waiting.items.is_empty() && !waiting.is_closed;
        let waiting = self.changed.wait_timeout_while(self.lock(), patience, is_idle);
        let mut waiting = waiting.map_or_else(|poisoned| poisoned.into_inner().0, |(waiting, _)| waiting);
        if !waiting.items.is_empty() {
            let gathered = self.changed.wait_timeout_while(waiting, GATHER_FOR, |waiting| !waiting.is_closed);
            waiting = gathered.map_or_else(|poisoned| poisoned.into_inner().0, |(waiting, _)| waiting);
        }
        if waiting.items.is_empty() && waiting.is_closed {
            return None;
        }
        waiting.bytes = 0;
        Some(std::mem::take(&mut waiting.items))
    }
}

/// What the thread holds.
struct Work<T, R> {
    shared: Arc<Shared<T>>,
    render: R,
    disk: Disk,
    batch: Vec<Entry>,
}

impl<T, R: FnMut(T) -> Option<Entry>> Work<T, R> {
    fn run(mut self) {
        while let Some(items) = self.shared.take(self.disk.patience()) {
            let mut bytes = 0;
            for item in items {
                let Some(entry) = self.render_one(item) else { continue };
                bytes += entry.text.len();
                self.batch.push(entry);
                if self.batch.len() >= BATCH_ENTRIES || bytes >= BATCH_BYTES {
                    self.write();
                    bytes = 0;
                }
            }
            self.write();
            self.disk.look_after();
        }
        self.disk.sync();
    }

    fn render_one(&mut self, item: T) -> Option<Entry> {
        let Ok(rendered) = catch_unwind(AssertUnwindSafe(|| (self.render)(item))) else {
            self.shared.panicked.fetch_add(1, Ordering::Relaxed);
            self.shared.failed.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        if rendered.is_none() {
            self.shared.declined.fetch_add(1, Ordering::Relaxed);
        }
        rendered
    }

    fn write(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let (written, failed) = self.disk.write(&self.batch);
        self.shared.written.fetch_add(written as u64, Ordering::Relaxed);
        self.shared.failed.fetch_add(failed as u64, Ordering::Relaxed);
        self.batch.clear();
    }
}

/// The writer, and what was said about it.
struct Disk {
    writer: Writer,
    next_sync: Option<Instant>,
    next_prune: Instant,
    last_complaint: Option<Instant>,
    /// It was complained that the disk fails, and not yet said that it works again.
    is_failing: bool,
}

impl Disk {
    fn new(writer: Writer) -> Self {
        Self { writer, next_sync: None, next_prune: Instant::now(), last_complaint: None, is_failing: false }
    }

    /// Until when there is nothing to do if nothing comes.
    fn patience(&self) -> Duration {
        let next = self.next_sync.map_or(self.next_prune, |sync| sync.min(self.next_prune));
        next.saturating_duration_since(Instant::now())
    }

    fn write(&mut self, batch: &[Entry]) -> (usize, usize) {
        let appended = self.writer.append(batch);
        if appended.written > 0 {
            self.next_sync.get_or_insert_with(|| Instant::now() + SYNC_EVERY);
        }
        match &appended.error {
            Some(error @ AppendError::Disk { source, .. }) => {
                self.is_failing |= self.complain(&format!("{error}: {source}"));
            }
            Some(error @ AppendError::TooLong { .. }) => {
                self.complain(&error.to_string());
            }
            // Said once for each complaint: of three rings one may fail and the others work.
            None if std::mem::take(&mut self.is_failing) => info!("decisions are being written again"),
            None => {}
        }
        (appended.written, appended.failed)
    }

    /// What is due by time.
    fn look_after(&mut self) {
        let now = Instant::now();
        if self.next_sync.is_some_and(|at| at <= now) {
            self.sync();
        }
        if self.next_prune <= now {
            self.next_prune = now + PRUNE_EVERY;
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now_micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
            if let Err(error) = self.writer.prune(now_micros) {
                self.complain(&format!("failed to remove old decisions: {error}"));
            }
        }
    }

    fn sync(&mut self) {
        self.next_sync = None;
        if let Err(error) = self.writer.sync() {
            self.complain(&format!("the disk did not confirm decisions: {error}"));
        }
    }

    /// Whether it was said: not more than once in [`COMPLAIN_EVERY`].
    fn complain(&mut self, what: &str) -> bool {
        let is_due = self.last_complaint.is_none_or(|at| at.elapsed() > COMPLAIN_EVERY);
        if is_due {
            error!(%what, "decisions are lost and counted until it works again");
            self.last_complaint = Some(Instant::now());
        }
        is_due
    }
}
