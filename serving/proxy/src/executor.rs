// SPDX-License-Identifier: Apache-2.0
//! Where hyper's HTTP/2 runs its streams: on the thread of the connection, counted, fenced.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use futures_util::FutureExt as _;
use hyper::rt::Executor;
use tokio::task::spawn_local;
use tokio::time::Instant;

/// Spawns on the current thread and knows how many of its tasks run.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalExecutor(Rc<Activity>);

#[derive(Debug)]
struct Activity {
    running: Cell<usize>,
    last: Cell<Instant>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { running: Cell::new(0), last: Cell::new(Instant::now()) }
    }
}

impl LocalExecutor {
    /// Since when nothing runs; `None` while something does.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        (self.0.running.get() == 0).then(|| self.0.last.get())
    }
}

impl<F: Future + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        let activity = Rc::clone(&self.0);
        activity.running.set(activity.running.get() + 1);
        spawn_local(async move {
            // A panic ends this stream; the connection and its other streams live on. The service has
            // counted it already.
            drop(AssertUnwindSafe(future).catch_unwind().await);
            activity.running.set(activity.running.get().saturating_sub(1));
            activity.last.set(Instant::now());
        });
    }
}
