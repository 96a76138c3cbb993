// SPDX-License-Identifier: Apache-2.0
//! Fair shares of a thread: no address keeps the others waiting.
//!
//! A thread works on its tasks in turn. A client that sends a thousand requests at once would put a thousand
//! tasks before everybody else's next one, and a thousand requests before a backend's next one. So only
//! [`AT_ONCE`] requests of one address are worked on at a time by each thread, and the others wait their turn:
//! until one of those has its answer, or has taken [`SLOT_FOR`], because a request that waits for its backend
//! keeps nobody waiting here. How many may be there at all is `limits.max_concurrent_requests_per_ip`.
//!
//! Addresses without limits of their own (`listen.trusted_proxies`) have no share: they speak for many.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use sunbeam_listeners::{AddressKey, ConnectionGuard, ConnectionPermit};
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

/// Requests of one address that a thread works on at the same time: about a millisecond of work.
const AT_ONCE: usize = 16;

/// How long a request may hold up those of its own address that wait.
const SLOT_FOR: Duration = Duration::from_millis(5);

/// The shares of a thread.
#[derive(Debug)]
pub(crate) struct Shares {
    guard: Arc<ConnectionGuard>,
    /// Those that have connections.
    shares: RefCell<HashMap<AddressKey, Weak<Share>>>,
}

/// One address on one thread.
#[derive(Debug)]
pub(crate) struct Share {
    all: Rc<Shares>,
    address: AddressKey,
    queue: RefCell<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The oldest first.
    running: VecDeque<(u64, Instant)>,
    waiting: VecDeque<oneshot::Sender<u64>>,
    next: u64,
    /// Somebody looks after those that wait.
    is_watched: bool,
}

/// A request that is not over, until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenRequest(Rc<Share>);

/// A request that is worked on, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    share: Rc<Share>,
    id: u64,
}

impl Shares {
    pub(crate) fn new(guard: Arc<ConnectionGuard>) -> Rc<Self> {
        Rc::new(Self { guard, shares: RefCell::default() })
    }

    /// The share that a connection's requests count against.
    pub(crate) fn of(self: &Rc<Self>, permit: &ConnectionPermit) -> Option<Rc<Share>> {
        let address = permit.address()?;
        let mut shares = self.shares.borrow_mut();
        if let Some(share) = shares.get(&address).and_then(Weak::upgrade) {
            return Some(share);
        }
        let share = Rc::new(Share { all: Rc::clone(self), address, queue: RefCell::default() });
        shares.insert(address, Rc::downgrade(&share));
        Some(share)
    }
}

impl Share {
    /// Counts a request in; `None` when the address has too many.
    pub(crate) fn open(self: &Rc<Self>) -> Option<OpenRequest> {
        self.all.guard.begin_request(self.address).then(|| OpenRequest(Rc::clone(self)))
    }

    /// Waits until this request may be worked on. `on_wait` is called if that is not at once.
    pub(crate) async fn slot(self: &Rc<Self>, now: Instant, on_wait: impl FnOnce()) -> Slot {
        let turn = self.queue.borrow_mut().enter(now);
        let turn = match turn {
            Ok(id) => return Slot { share: Rc::clone(self), id },
            Err(turn) => turn,
        };
        on_wait();
        if !std::mem::replace(&mut self.queue.borrow_mut().is_watched, true) {
            spawn_local(watch(Rc::downgrade(self)));
        }
        // The queue does not go before the share does. Number 0 is nobody's.
        let id = turn.await.unwrap_or(0);
        Slot { share: Rc::clone(self), id }
    }
}

/// Lets the next in when those that run take long; ends when nobody waits.
async fn watch(share: Weak<Share>) {
    loop {
        let oldest = {
            let Some(share) = share.upgrade() else { return };
            let mut queue = share.queue.borrow_mut();
            queue.admit();
            match queue.running.front() {
                Some((_, since)) if !queue.waiting.is_empty() => *since,
                _ => {
                    queue.is_watched = false;
                    return;
                }
            }
        };
        sleep_until(oldest + SLOT_FOR).await;
        if let Some(share) = share.upgrade() {
            share.queue.borrow_mut().expire(Instant::now());
        }
    }
}

impl Queue {
    fn enter(&mut self, now: Instant) -> Result<u64, oneshot::Receiver<u64>> {
        if self.running.len() >= AT_ONCE && self.waiting.is_empty() {
            self.expire(now);
        }
        if self.running.len() < AT_ONCE && self.waiting.is_empty() {
            return Ok(self.run(now));
        }
        let (sender, turn) = oneshot::channel();
        self.waiting.push_back(sender);
        Err(turn)
    }

    fn run(&mut self, now: Instant) -> u64 {
        self.next += 1;
        self.running.push_back((self.next, now));
        self.next
    }

    /// Whoever has run for long makes room.
    fn expire(&mut self, now: Instant) {
        while self.running.front().is_some_and(|(_, since)| now.saturating_duration_since(*since) >= SLOT_FOR)
        {
            self.running.pop_front();
        }
    }

    fn leave(&mut self, id: u64) {
        if let Some(at) = self.running.iter().position(|(running, _)| *running == id) {
            self.running.remove(at);
            self.admit();
        }
    }

    /// As many as there is room for, in the order in which they came; those that are gone are passed over.
    fn admit(&mut self) {
        while self.running.len() < AT_ONCE
            && let Some(sender) = self.waiting.pop_front()
        {
            if sender.is_closed() {
                continue;
            }
            let id = self.run(Instant::now());
            if sender.send(id).is_err() {
                self.running.pop_back();
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.share.queue.borrow_mut().leave(self.id);
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.all.guard.end_request(self.0.address);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.shares.borrow_mut().remove(&self.address);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::IpAddr;

    use sunbeam_listeners::{LimitsSection, ListenSection, ListenerMetrics};
    use sunbeam_metrics::Registry;
    use tokio::task::LocalSet;
    use tokio::time::timeout;

    use super::*;

    struct Bench {
        guard: Arc<ConnectionGuard>,
        shares: Rc<Shares>,
    }

    impl Bench {
        fn new(most: u32) -> Self {
            let limits = LimitsSection { max_concurrent_requests_per_ip: most, ..LimitsSection::default() };
            let metrics = ListenerMetrics::register(&Registry::new());
            let guard = ConnectionGuard::new(&limits, &ListenSection::default(), metrics);
            Self { shares: Shares::new(Arc::clone(&guard)), guard }
        }

        fn connect(&self, address: &str) -> (Rc<Share>, ConnectionPermit) {
            let permit = self.guard.admit(address.parse::<IpAddr>().unwrap()).unwrap();
            (self.shares.of(&permit).unwrap(), permit)
        }
    }

    #[test]
    fn an_address_has_so_many_requests_at_once_on_all_threads_together() {
        const MOST: u32 = 64;
        let bench = Bench::new(MOST);
        let permit = bench.guard.admit("192.0.2.1".parse().unwrap()).unwrap();
        let threads: Vec<_> = (0..MOST + 1).map(|_| Shares::new(Arc::clone(&bench.guard))).collect();
        for _ in 0..2 {
            // One on each thread: none of them holds room that another one needs.
            let mut open: Vec<_> =
                threads.iter().filter_map(|shares| shares.of(&permit).unwrap().open()).collect();
            assert_eq!(open.len(), 64);
            let (neighbour, _permit) = bench.connect("192.0.2.2");
            assert!(neighbour.open().is_some());
            open.pop();
            let here = threads[0].of(&permit).unwrap();
            let again = here.open().expect("the place that came back");
            assert!(here.open().is_none());
            drop(again);
        }
    }

    #[tokio::test]
    async fn those_that_wait_come_in_turn_and_the_slow_make_room() {
        let test = async {
            let bench = Bench::new(1000);
            let (share, _permit) = bench.connect("192.0.2.1");
            let mut slots = Vec::new();
            for _ in 0..AT_ONCE {
                slots.push(share.slot(Instant::now(), || panic!("there is room")).await);
            }
            let waits = Cell::new(false);
            let late = share.slot(Instant::now(), || waits.set(true));
            let late = timeout(Duration::from_secs(10), late).await.expect("the oldest had its time");
            assert!(waits.get());
            let (neighbour, _other) = bench.connect("192.0.2.2");
            drop(neighbour.slot(Instant::now(), || panic!("another address")).await);
            drop(slots);
            drop(late);
            assert_eq!(share.queue.borrow().running.len(), 0);
            let full: Vec<_> =
                futures_util::future::join_all((0..AT_ONCE).map(|_| share.slot(Instant::now(), || {}))).await;
            let (first, second) = (share.slot(Instant::now(), || {}), share.slot(Instant::now(), || {}));
            let freed = async { drop(full) };
            let (first, second, ()) = tokio::join!(first, second, freed);
            assert!(first.id < second.id);
        };
        LocalSet::new().run_until(test).await;
    }
}
