// SPDX-License-Identifier: Apache-2.0
//! Where hyper's HTTP/2 runs its streams: on the thread of the connection, counted, fenced, watched.

use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use futures_util::FutureExt as _;
use hyper::rt::Executor;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use crate::pace::Pace;
use crate::paced_body::StreamWatch;

/// Spawns on the current thread and knows what of it runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalExecutor(Rc<Activity>);

#[derive(Debug)]
struct Activity {
    running: Cell<usize>,
    last: Cell<Instant>,
    /// The watch of the stream that is about to be spawned.
    next: RefCell<Option<Rc<StreamWatch>>>,
    watched: RefCell<Watched>,
}

/// Streams with a watch. Places are used again, so there are never more than streams at the same time.
#[derive(Debug, Default)]
struct Watched {
    places: Vec<Option<(AbortHandle, Rc<StreamWatch>)>>,
    free: Vec<usize>,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            running: Cell::new(0),
            last: Cell::new(Instant::now()),
            next: RefCell::default(),
            watched: RefCell::default(),
        }
    }
}

impl LocalExecutor {
    /// How many tasks run.
    pub(crate) fn running(&self) -> usize {
        self.0.running.get()
    }

    /// Since when nothing runs; `None` while something does.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        (self.running() == 0).then(|| self.0.last.get())
    }

    /// A watch for the stream that is spawned next: hyper spawns it as soon as it has called the service,
    /// with nothing in between.
    pub(crate) fn watch_next(&self) -> Rc<StreamWatch> {
        let watch = Rc::new(StreamWatch::default());
        *self.0.next.borrow_mut() = Some(Rc::clone(&watch));
        watch
    }

    /// Ends the streams whose clients are slower than `pace`; each is reset. How many there were.
    pub(crate) fn end_too_slow(&self, now: Instant, pace: Pace) -> usize {
        let watched = self.0.watched.borrow();
        let slow = watched.places.iter().flatten().filter(|(_, watch)| watch.is_too_slow(now, pace));
        // Only marks the task; it is dropped in its own turn.
        slow.map(|(task, _)| task.abort()).count()
    }
}

impl<F: Future + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        let watch = self.0.next.take();
        let place = watch.is_some().then(|| self.0.watched.borrow_mut().place());
        let running = Running::begin(Rc::clone(&self.0), place);
        let task = spawn_local(async move {
            let _running = running;
            // A panic ends this stream; the connection and its other streams live on. The service has
            // counted it already.
            drop(AssertUnwindSafe(future).catch_unwind().await);
        });
        if let (Some(place), Some(watch)) = (place, watch) {
            self.0.watched.borrow_mut().set(place, Some((task.abort_handle(), watch)));
        }
    }
}

impl Watched {
    fn place(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        })
    }

    fn set(&mut self, place: usize, stream: Option<(AbortHandle, Rc<StreamWatch>)>) {
        if let Some(found) = self.places.get_mut(place) {
            *found = stream;
        }
    }
}

/// A task that runs, until this is dropped.
#[derive(Debug)]
struct Running {
    activity: Rc<Activity>,
    place: Option<usize>,
}

impl Running {
    fn begin(activity: Rc<Activity>, place: Option<usize>) -> Self {
        activity.running.set(activity.running.get() + 1);
        Self { activity, place }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let activity = &self.activity;
        activity.running.set(activity.running.get().saturating_sub(1));
        activity.last.set(Instant::now());
        if let Some(place) = self.place {
            let mut watched = activity.watched.borrow_mut();
            watched.set(place, None);
            watched.free.push(place);
        }
    }
}
