// SPDX-License-Identifier: Apache-2.0
//! Those who are stopped again and again get what time is left.
//!
//! To stop a request costs a few microseconds, and whoever sends such requests as fast as he can takes all of a thread
//! with them: each of his connections has its turn as often as each of everybody else's, and who has most connections
//! has most turns. A flood from 32 addresses that was stopped whole made good clients, who asked for 30 % of what the
//! thread can do, wait for seconds. So an address of which [`OFFENCES`] requests were stopped within seconds waits
//! for its turn in a queue of its own, out of which requests are let only while what stopping them takes stays below a
//! [`SHARE`]th of the thread's time. Its connections are not read meanwhile: the sender waits, too.
//!
//! That holds while the thread has others to serve. Requests that pass are not counted: a person behind an
//! attacker's address waits for a turn, and is served like everybody else then.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use sunbeam_listeners::AddressKey;
use sunbeam_tables::{FixedTable, HashKey, Moment};
use tokio::sync::oneshot;
use tokio::task::{spawn_local, yield_now};
use tokio::time::sleep;

/// Requests that were stopped, halved every [`HALVE_SECS`]: more than a person meets by accident.
const OFFENCES: u16 = 32;

const HALVE_SECS: u64 = 8;

/// Addresses that a thread remembers: 100 KiB. Those that offend most keep their place.
const ADDRESSES: usize = 4_096;

/// Of a thread's time, one part in so many.
const SHARE: i64 = 10;

/// What may be spent at once, in microseconds: nobody notices it.
const BURST_US: i64 = 200;

/// What a request takes besides, in microseconds: to be read and parsed, its page, its record, the kernel's part.
const BESIDES_US: i64 = 10;

/// What one request can be charged: what took longer waited for something.
const CHARGE_MAX_US: i64 = 5_000;

/// After so long without anybody else nobody is kept waiting.
const QUIET: Duration = Duration::from_millis(100);

const TICK: Duration = Duration::from_millis(1);

/// Let out in a tick where nobody else is there.
const QUIET_TICK: usize = 64;

/// Requests that may wait on a thread.
const WAITING_MAX: usize = 4_096;

/// Kind of the keyed hashes.
const ADDRESS: u64 = 0x6f66;

/// Those of a thread.
#[derive(Debug)]
pub(crate) struct Offenders {
    key: HashKey,
    offences: FixedTable<Offences>,
    lane: RefCell<Lane>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Offences {
    count: u16,
    /// Seconds of [`Moment`].
    counted: u64,
}

#[derive(Debug)]
struct Lane {
    /// Microseconds that may be spent.
    balance: i64,
    filled: Instant,
    /// The last request of anybody else.
    others: Option<Instant>,
    /// What it takes to stop one, in eighths of a microsecond.
    typical: i64,
    waiting: VecDeque<oneshot::Sender<Turn>>,
    is_watched: bool,
}

/// How a request came to its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing speaks against its address, or nobody else is there.
    Free,
    /// What it is likely to take is spent already, in microseconds.
    Spent(i64),
}

/// Too many wait.
#[derive(Debug)]
pub(crate) struct Full;

impl Offenders {
    pub(crate) fn new() -> Rc<Self> {
        let lane = Lane {
            balance: BURST_US,
            filled: Instant::now(),
            others: None,
            typical: 8 * BESIDES_US,
            waiting: VecDeque::new(),
            is_watched: false,
        };
        Rc::new(Self {
            key: HashKey::random(),
            offences: FixedTable::of_places(ADDRESSES),
            lane: RefCell::new(lane),
        })
    }

    /// Waits until a request of `client` may be worked on; most do not wait. `on_wait` is called for those that do.
    pub(crate) async fn turn(
        self: &Rc<Self>,
        client: IpAddr,
        (now, moment): (Instant, Moment),
        on_wait: impl FnOnce(),
    ) -> Result<Turn, Full> {
        if !self.is_offender(client, moment) {
            self.lane.borrow_mut().others = Some(now);
            return Ok(Turn::Free);
        }
        if let Some(turn) = self.turn_at_once(now) {
            // Many requests may stand in the connection's buffer: whoever else comes has a turn after each.
            yield_now().await;
            return Ok(turn);
        }
        let turn = self.line_up()?;
        on_wait();
        // The lane does not go before its thread does.
        Ok(turn.await.unwrap_or(Turn::Free))
    }

    fn turn_at_once(&self, now: Instant) -> Option<Turn> {
        let mut lane = self.lane.borrow_mut();
        if lane.waiting.is_empty() { lane.admit(now) } else { None }
    }

    fn line_up(self: &Rc<Self>) -> Result<oneshot::Receiver<Turn>, Full> {
        let mut lane = self.lane.borrow_mut();
        if lane.waiting.len() >= WAITING_MAX {
            return Err(Full);
        }
        let (sender, turn) = oneshot::channel();
        lane.waiting.push_back(sender);
        if !std::mem::replace(&mut lane.is_watched, true) {
            spawn_local(watch(Rc::downgrade(self)));
        }
        Ok(turn)
    }

    /// A request is over that was not stopped.
    pub(crate) fn passed(&self, turn: Turn) {
        if let Turn::Spent(micros) = turn {
            self.lane.borrow_mut().balance += micros;
        }
    }

    /// One is over that was, by judging or for what it is; after so much work.
    pub(crate) fn stopped(&self, client: IpAddr, moment: Moment, turn: Turn, took: Duration) {
        let took = i64::try_from(took.as_micros()).unwrap_or(CHARGE_MAX_US).min(CHARGE_MAX_US) + BESIDES_US;
        self.offences.with(self.key_of(client), moment, |offences| {
            offences.count = offences.now(moment).saturating_add(1);
            offences.counted = moment.as_secs();
        });
        let mut lane = self.lane.borrow_mut();
        lane.typical += took - lane.typical / 8;
        if let Turn::Spent(micros) = turn {
            lane.balance += micros - took;
        }
    }

    fn is_offender(&self, client: IpAddr, moment: Moment) -> bool {
        let offences = self.offences.peek(self.key_of(client));
        offences.is_some_and(|offences| offences.now(moment) >= OFFENCES)
    }

    fn key_of(&self, client: IpAddr) -> u64 {
        self.key.number(ADDRESS, AddressKey::from(client).bits())
    }
}

impl Offences {
    /// How many count by now.
    fn now(&self, moment: Moment) -> u16 {
        let halvings = moment.as_secs().saturating_sub(self.counted) / HALVE_SECS;
        u32::try_from(halvings).ok().and_then(|halvings| self.count.checked_shr(halvings)).unwrap_or(0)
    }
}

impl Lane {
    fn is_quiet(&self, now: Instant) -> bool {
        self.others.is_none_or(|others| now.saturating_duration_since(others) > QUIET)
    }

    /// `None`: it has to wait.
    fn admit(&mut self, now: Instant) -> Option<Turn> {
        if self.is_quiet(now) {
            return Some(Turn::Free);
        }
        self.fill(now);
        if self.balance <= 0 {
            return None;
        }
        let likely = self.typical / 8;
        self.balance -= likely;
        Some(Turn::Spent(likely))
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled);
        let filled = i64::try_from(passed.as_micros()).unwrap_or(i64::MAX) / SHARE;
        if filled > 0 {
            self.balance = self.balance.saturating_add(filled).min(BURST_US);
            self.filled = now;
        }
    }
}

/// Lets those in that wait; ends when nobody does.
async fn watch(offenders: Weak<Offenders>) {
    loop {
        sleep(TICK).await;
        let Some(offenders) = offenders.upgrade() else { return };
        let mut lane = offenders.lane.borrow_mut();
        let now = Instant::now();
        let mut free = 0;
        while free < QUIET_TICK
            && !lane.waiting.is_empty()
            && let Some(turn) = lane.admit(now)
        {
            free += usize::from(turn == Turn::Free);
            let unheard = lane.waiting.pop_front().and_then(|waiting| waiting.send(turn).err());
            // Whoever is gone spends nothing.
            if let Some(Turn::Spent(micros)) = unheard {
                lane.balance += micros;
            }
        }
        if lane.waiting.is_empty() {
            lane.is_watched = false;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::task::LocalSet;

    use super::*;

    const TOOK: Duration = Duration::from_micros(100);

    fn address(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    fn moment() -> Moment {
        Moment::from_secs(1_000)
    }

    fn offend(offenders: &Offenders, client: IpAddr) {
        for _ in 0..OFFENCES {
            offenders.stopped(client, moment(), Turn::Free, TOOK);
        }
    }

    #[test]
    fn offences_are_forgotten_and_those_of_a_neighbour_are_not_ones_own() {
        let offenders = Offenders::new();
        offend(&offenders, address(1));
        let is_one = |number, secs| offenders.is_offender(address(number), Moment::from_secs(secs));
        assert!(is_one(1, 1_000) && !is_one(2, 1_000));
        assert!(is_one(1, 1_007) && !is_one(1, 1_008));
        for number in 0..OFFENCES {
            let secs = 1_100 + u64::from(number) * HALVE_SECS;
            offenders.stopped(address(3), Moment::from_secs(secs), Turn::Free, TOOK);
            assert!(!is_one(3, secs), "one now and then");
        }
    }

    #[tokio::test]
    async fn offenders_wait_for_a_share_while_others_are_there_and_never_where_nobody_is() {
        let test = async {
            let (offenders, waits) = (Offenders::new(), Cell::new(0));
            offend(&offenders, address(1));
            let ask = |number: u8| {
                let wait = || waits.set(waits.get() + 1);
                offenders.turn(address(number), (Instant::now(), moment()), wait)
            };
            for _ in 0..1_000 {
                let turn = ask(1).await.unwrap();
                assert_eq!(turn, Turn::Free);
                offenders.stopped(address(1), moment(), turn, TOOK);
            }
            assert_eq!(waits.get(), 0, "nobody else is there");
            let begun = Instant::now();
            for _ in 0..100 {
                assert_eq!(ask(2).await.unwrap(), Turn::Free);
                let turn = ask(1).await.unwrap();
                offenders.stopped(address(1), moment(), turn, TOOK);
            }
            // A hundred of 100 µs are a tenth of 100 ms; the burst and the last one are for nothing.
            assert!(begun.elapsed() >= Duration::from_millis(90), "{:?}", begun.elapsed());
            assert!(waits.get() > 10, "{}", waits.get());
            // Whoever passes is not charged.
            let before = offenders.lane.borrow().balance;
            offenders.passed(Turn::Spent(30));
            assert_eq!(offenders.lane.borrow().balance, before + 30);
            // What waits is bounded, and whoever goes makes room.
            ask(2).await.unwrap();
            offenders.lane.borrow_mut().balance = -1_000_000;
            let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(ask(1))).collect();
            for waiting in &mut waiting {
                assert!(futures_util::poll!(waiting.as_mut()).is_pending());
            }
            assert!(ask(1).await.is_err());
            drop(waiting);
            offenders.lane.borrow_mut().balance = BURST_US;
            while offenders.lane.borrow().is_watched {
                ask(2).await.unwrap();
                sleep(TICK).await;
            }
            assert!(offenders.lane.borrow().waiting.is_empty());
        };
        LocalSet::new().run_until(test).await;
    }
}
