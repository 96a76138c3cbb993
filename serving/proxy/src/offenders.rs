// SPDX-License-Identifier: Apache-2.0
//! Those who are stopped again and again get what time is left.
//!
//! To stop a request costs a few microseconds, and whoever sends such requests as fast as he can takes all of a thread
//! with them: each of his connections has its turn as often as each of everybody else's, and who has most connections
//! has most turns. A flood from 32 addresses that was stopped whole made good clients, who asked for 30 % of what the
//! thread can do, wait for seconds. So an address of which [`OFFENCES`] requests were stopped within seconds waits
//! for its turn beside all the others, out of which requests are let, address by address, only while what stopping them
//! takes stays below a [`SHARE`]th of the thread's time. Its connections are not read meanwhile: the sender waits, too; one
//! that sends more than may wait is hung up on.
//!
//! That holds while the thread has others to serve. Requests that pass are not charged: a person behind an
//! attacker's address waits for a turn, and is served like everybody else then.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
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

/// Addresses that a thread remembers: 128 KiB. Those that offend most keep their place.
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
const WAITING_MAX: usize = 8_192;

/// Requests of one address of these.
const WAITING_OF_ONE: usize = 128;

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
    /// Seconds of [`Moment`]: when it was halved last, or should have been.
    since: u64,
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
    waiting: Waiting,
    is_watched: bool,
}

/// Those that wait: of each address in the order in which they came, the addresses in turn.
#[derive(Debug, Default)]
struct Waiting {
    of: HashMap<u64, VecDeque<oneshot::Sender<Turn>>>,
    turns: VecDeque<u64>,
    count: usize,
}

/// How a request came to its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing speaks against its address.
    Ordinary,
    /// Nobody else is there.
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
            waiting: Waiting::default(),
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
        let key = self.key_of(client);
        if !self.is_offender(key, moment) {
            self.lane.borrow_mut().others = Some(now);
            return Ok(Turn::Ordinary);
        }
        if let Some(turn) = self.turn_at_once(now) {
            // Many requests may stand in the connection's buffer: whoever else comes has a turn after each.
            yield_now().await;
            return Ok(turn);
        }
        let turn = self.line_up(key)?;
        on_wait();
        // The lane does not go before its thread does.
        Ok(turn.await.unwrap_or(Turn::Free))
    }

    fn turn_at_once(&self, now: Instant) -> Option<Turn> {
        let mut lane = self.lane.borrow_mut();
        if lane.waiting.count == 0 { lane.admit(now) } else { None }
    }

    fn line_up(self: &Rc<Self>, key: u64) -> Result<oneshot::Receiver<Turn>, Full> {
        let mut lane = self.lane.borrow_mut();
        let turn = lane.waiting.push(key).ok_or(Full)?;
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
            *offences = offences.at(moment);
            offences.count = offences.count.saturating_add(1);
        });
        if turn == Turn::Ordinary {
            return;
        }
        let mut lane = self.lane.borrow_mut();
        lane.typical += took - lane.typical / 8;
        if let Turn::Spent(micros) = turn {
            lane.balance += micros - took;
        }
    }

    fn is_offender(&self, key: u64, moment: Moment) -> bool {
        self.offences.peek(key).is_some_and(|offences| offences.at(moment).count >= OFFENCES)
    }

    fn key_of(&self, client: IpAddr) -> u64 {
        self.key.number(ADDRESS, AddressKey::from(client).bits())
    }
}

impl Offences {
    /// What is left of them by now.
    fn at(self, moment: Moment) -> Self {
        let halvings = moment.as_secs().saturating_sub(self.since) / HALVE_SECS;
        let left = u32::try_from(halvings).ok().and_then(|halvings| self.count.checked_shr(halvings));
        match left.filter(|count| *count > 0) {
            Some(count) => Self { count, since: self.since + halvings * HALVE_SECS },
            None => Self { count: 0, since: moment.as_secs() },
        }
    }
}

impl Waiting {
    /// One more of this address; `None`: there is no room.
    fn push(&mut self, key: u64) -> Option<oneshot::Receiver<Turn>> {
        if self.count >= WAITING_MAX {
            return None;
        }
        let queue = self.of.entry(key).or_default();
        if queue.len() >= WAITING_OF_ONE {
            return None;
        }
        if queue.is_empty() {
            self.turns.push_back(key);
        }
        let (sender, turn) = oneshot::channel();
        queue.push_back(sender);
        self.count += 1;
        Some(turn)
    }

    /// Whose turn it is.
    fn pop(&mut self) -> Option<oneshot::Sender<Turn>> {
        let key = self.turns.pop_front()?;
        let queue = self.of.get_mut(&key)?;
        let first = queue.pop_front();
        if queue.is_empty() {
            self.of.remove(&key);
        } else {
            self.turns.push_back(key);
        }
        self.count = self.count.saturating_sub(1);
        first
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
            && lane.waiting.count > 0
            && let Some(turn) = lane.admit(now)
        {
            free += usize::from(turn == Turn::Free);
            let unheard = lane.waiting.pop().and_then(|waiting| waiting.send(turn).err());
            // Whoever is gone spends nothing.
            if let Some(Turn::Spent(micros)) = unheard {
                lane.balance += micros;
            }
        }
        if lane.waiting.count == 0 {
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
            offenders.stopped(client, moment(), Turn::Ordinary, TOOK);
        }
    }

    #[test]
    fn offences_are_forgotten_and_those_of_a_neighbour_are_not_ones_own() {
        let offenders = Offenders::new();
        offend(&offenders, address(1));
        let is_one =
            |number, secs| offenders.is_offender(offenders.key_of(address(number)), Moment::from_secs(secs));
        assert!(is_one(1, 1_000) && !is_one(2, 1_000));
        assert!(is_one(1, 1_007) && !is_one(1, 1_008));
        for number in 0..1_000 {
            let secs = 1_100 + number;
            offenders.stopped(address(3), Moment::from_secs(secs), Turn::Ordinary, TOOK);
            assert!(!is_one(3, secs), "one each second");
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
                assert_eq!(ask(2).await.unwrap(), Turn::Ordinary);
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
            // What waits is bounded, of each address; they come in turn, and whoever goes makes room.
            offend(&offenders, address(3));
            ask(2).await.unwrap();
            offenders.lane.borrow_mut().balance = -1_000_000;
            let mut waiting: Vec<_> = (0..WAITING_OF_ONE).map(|_| Box::pin(ask(1))).collect();
            for waiting in &mut waiting {
                assert!(futures_util::poll!(waiting.as_mut()).is_pending());
            }
            assert!(ask(1).await.is_err());
            let mut another = Box::pin(ask(3));
            assert!(futures_util::poll!(another.as_mut()).is_pending(), "another address has room");
            {
                let mut lane = offenders.lane.borrow_mut();
                for _ in 0..2 {
                    lane.waiting.pop().unwrap().send(Turn::Free).unwrap();
                }
            }
            assert!(futures_util::poll!(another.as_mut()).is_ready(), "the second turn is the other's");
            drop(waiting);
            offenders.lane.borrow_mut().balance = BURST_US;
            while offenders.lane.borrow().is_watched {
                ask(2).await.unwrap();
                sleep(TICK).await;
            }
            let lane = offenders.lane.borrow();
            assert!(lane.waiting.count == 0 && lane.waiting.of.is_empty() && lane.waiting.turns.is_empty());
        };
        LocalSet::new().run_until(test).await;
    }
}
