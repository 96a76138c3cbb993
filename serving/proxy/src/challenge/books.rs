// SPDX-License-Identifier: Apache-2.0
//! What is remembered of challenges: which are solved, how many by whom, and from where passes come. All of it is bounded:
//! each book has two halves, and where the newer one is full the older one is forgotten, and that is counted. Whatever was
//! used since the newer one was begun stays; of the rest a solution may be good twice, and a count begins anew.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

use super::seal::{Nonce, TICKET_LIFE_MS};

/// Solutions that are remembered, in each of two halves: a few MiB.
const SPENT_MAX: usize = 65_536;

/// Ranges of addresses whose solutions are counted, in each half.
const RANGES_MAX: usize = 65_536;

/// Passes of which is known from where they come, in each half.
const PASSES_MAX: usize = 16_384;

/// Networks that one pass may come from in a day. A phone on a journey sees a few; a pass that was handed round, many.
const NETWORKS_MAX: usize = 16;

/// What a /24 or /48 may solve, compared with one address in it.
const NETWORK_SHARE: u32 = 10;

const DAY_SECS: i64 = 86_400;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Books {
    spent: Mutex<Spent>,
    solves: Mutex<Daily<IpNet, u32>>,
    uses: Mutex<Daily<Nonce, Vec<IpNet>>>,
}

impl Books {
    /// Whether a ticket is solved for the first time. `full` is called where an earlier one may be forgotten for it.
    pub(crate) fn spend(&self, ticket: Nonce, now_ms: i64, full: impl FnOnce()) -> bool {
        held(&self.spent).spend(ticket, now_ms, SPENT_MAX, full)
    }

    /// Counts a solution of an address. `Err`: it had as many as it may, and so many seconds are left of the day.
    pub(crate) fn solve(
        &self,
        (address, ipv6_prefix): (IpAddr, u8),
        most: u32,
        now_secs: i64,
        full: impl FnOnce(),
    ) -> Result<(), u64> {
        let mut solves = held(&self.solves);
        solves.begin(now_secs, RANGES_MAX, full);
        let ranges = [
            (crate::judging::client_network(address, ipv6_prefix), most),
            (network(address), most.saturating_mul(NETWORK_SHARE)),
        ];
        let is_over = |(range, most): &(IpNet, u32)| solves.get(range).is_some_and(|had| had >= most);
        if ranges.iter().any(is_over) {
            return Err((DAY_SECS - now_secs.rem_euclid(DAY_SECS)).unsigned_abs());
        }
        for (range, _) in ranges {
            let had = solves.entry(range);
            *had = had.saturating_add(1);
        }
        Ok(())
    }

    /// Whether a pass may be used from this address: not after it came from very many networks.
    pub(crate) fn may_use(&self, pass: Nonce, address: IpAddr, now_secs: i64, full: impl FnOnce()) -> bool {
        let mut uses = held(&self.uses);
        uses.begin(now_secs, PASSES_MAX, full);
        let network = network(address);
        let networks = uses.entry(pass);
        if networks.contains(&network) {
            return true;
        }
        let has_room = networks.len() < NETWORKS_MAX;
        if has_room {
            networks.push(network);
        }
        has_room
    }
}

/// Tickets that are solved: those of now, and those of before, which cannot be alive much longer.
#[derive(Debug, Default)]
struct Spent {
    now: HashSet<Nonce>,
    before: HashSet<Nonce>,
    since_ms: i64,
}

impl Spent {
    fn spend(&mut self, ticket: Nonce, now_ms: i64, most: usize, full: impl FnOnce()) -> bool {
        // With what clocks may differ by, before and after.
        const LIFE_MS: i64 = TICKET_LIFE_MS + 120_000;
        let is_old = now_ms.saturating_sub(self.since_ms).unsigned_abs() > LIFE_MS.unsigned_abs();
        let is_full = self.now.len() >= most;
        if is_old || is_full {
            self.before = std::mem::take(&mut self.now);
            self.since_ms = now_ms;
        }
        if is_full && !is_old {
            full();
        }
        !self.before.contains(&ticket) && self.now.insert(ticket)
    }
}

/// Of one day (UTC): what was used of late, and what was used before and not since.
#[derive(Debug)]
struct Daily<K, V> {
    day: i64,
    now: HashMap<K, V>,
    before: HashMap<K, V>,
}

impl<K, V> Default for Daily<K, V> {
    fn default() -> Self {
        Self { day: 0, now: HashMap::new(), before: HashMap::new() }
    }
}

impl<K: Eq + Hash, V: Default> Daily<K, V> {
    /// A new day begins with nothing; where the newer half is full, the older one goes.
    fn begin(&mut self, now_secs: i64, most: usize, full: impl FnOnce()) {
        let day = now_secs.div_euclid(DAY_SECS);
        if day != self.day {
            *self = Self { day, ..Self::default() };
        } else if self.now.len() >= most {
            self.before = std::mem::take(&mut self.now);
            full();
        }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.now.get(key).or_else(|| self.before.get(key))
    }

    /// What is used is as good as new.
    fn entry(&mut self, key: K) -> &mut V {
        let Self { now, before, .. } = self;
        let was_before = before.remove(&key);
        now.entry(key).or_insert_with(|| was_before.unwrap_or_default())
    }
}

/// /24, /48
fn network(address: IpAddr) -> IpNet {
    let address = address.to_canonical();
    let bits = if address.is_ipv4() { 24 } else { 48 };
    IpNet::new(address, bits).map_or_else(|_| IpNet::from(address), |network| network.trunc())
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn numbered(number: u32) -> Nonce {
        let mut nonce = Nonce::default();
        nonce[..4].copy_from_slice(&number.to_be_bytes());
        nonce
    }

    #[test]
    fn a_solution_is_good_once_while_its_ticket_lives() {
        let books = Books::default();
        let spend = |number, after_ms| books.spend(numbered(number), NOW + after_ms, || panic!("not full"));
        assert!(spend(1, 0));
        for after_ms in [0, 1, 600_000, 719_000, 730_000, 1_400_000] {
            assert!(!spend(1, after_ms), "{after_ms}");
        }
        assert!(spend(2, 1_400_000));
    }

    #[test]
    fn a_full_memory_forgets_the_oldest_and_says_so() {
        let (mut spent, mut full) = (Spent::default(), 0);
        spent.since_ms = NOW;
        for number in 0..250 {
            assert!(spent.spend(numbered(number), NOW, 100, || full += 1));
        }
        assert_eq!((full, spent.now.len(), spent.before.len()), (2, 50, 100));
        assert!(!spent.spend(numbered(249), NOW, 100, || full += 1));
        assert!(!spent.spend(numbered(100), NOW, 100, || full += 1));
        assert!(spent.spend(numbered(99), NOW, 100, || full += 1), "the oldest are forgotten");
    }

    #[test]
    fn an_address_and_its_network_solve_so_many_a_day() {
        let (books, secs) = (Books::default(), NOW / 1_000);
        let solve =
            |address: &str, secs| books.solve((address.parse().unwrap(), 64), 3, secs, || panic!("not full"));
        for _ in 0..3 {
            assert_eq!(solve("192.0.2.1", secs), Ok(()));
        }
        let left = solve("192.0.2.1", secs).unwrap_err();
        assert_eq!(left, (DAY_SECS - secs % DAY_SECS).unsigned_abs());
        assert_eq!(solve("::ffff:192.0.2.1", secs), Err(left), "it is the same address");
        for last in 2..=28 {
            assert_eq!(solve(&format!("192.0.2.{last}"), secs), Ok(()), "{last}");
        }
        assert_eq!(solve("192.0.2.29", secs), Err(left), "thirty of its network");
        assert_eq!(solve("192.0.3.1", secs), Ok(()));
        for host in 1..=3 {
            assert_eq!(solve(&format!("2001:db8::{host}"), secs), Ok(()));
        }
        assert_eq!(solve("2001:db8::4", secs), Err(left), "a client is its /64");
        assert_eq!(solve("2001:db8:0:1::4", secs), Ok(()));
        assert_eq!(solve("192.0.2.1", secs + left.cast_signed()), Ok(()), "the next day");
    }

    #[test]
    fn a_full_day_forgets_what_was_used_longest_ago_and_nothing_else() {
        let (mut daily, mut full) = (Daily::<u32, u32>::default(), 0);
        let use_it = |daily: &mut Daily<u32, u32>, key: u32, full: &mut u32| {
            daily.begin(NOW / 1_000, 100, || *full += 1);
            *daily.entry(key) += 1;
        };
        for key in 0..1_000 {
            use_it(&mut daily, key, &mut full);
            // Whoever comes again and again.
            use_it(&mut daily, 5_000, &mut full);
            assert!(daily.now.len() <= 101 && daily.before.len() <= 101, "{key}");
        }
        assert_eq!(daily.get(&5_000), Some(&1_000), "it is still known of whom it was full of");
        assert!((9..=11).contains(&full), "{full}");
        let known = (0..1_000).filter(|key| daily.get(key).is_some()).count();
        assert!((100..=200).contains(&known), "{known}");
        assert!((900..1_000).all(|key| daily.get(&key) == Some(&1)), "of those the latest");
        daily.begin(NOW / 1_000 + DAY_SECS, 100, || full += 1_000);
        assert!(daily.get(&5_000).is_none() && full < 1_000, "the next day");
    }

    /// An address that has had its share does not get another one by making others solve.
    #[test]
    fn who_fills_the_memory_gets_no_second_share() {
        let (books, secs) = (Books::default(), NOW / 1_000);
        let full = std::cell::Cell::new(0);
        let solve = |address: std::net::Ipv6Addr| {
            books.solve((address.into(), 64), 3, secs, || full.set(full.get() + 1)).is_ok()
        };
        let greedy = "2001:db8::1".parse().unwrap();
        assert_eq!((0..5).filter(|_| solve(greedy)).count(), 3);
        // A /48 for each: two ranges a solution.
        for number in 0..40_000_u128 {
            assert!(solve((0x2a00_u128 << 112 | number << 80).into()));
        }
        assert_eq!(full.get(), 1);
        assert!(!solve(greedy));
    }

    #[test]
    fn a_pass_that_is_handed_round_is_none() {
        let (books, secs) = (Books::default(), NOW / 1_000);
        let comes =
            |pass, address: &str| books.may_use(numbered(pass), address.parse().unwrap(), secs, || {});
        // A phone: IPv4 and IPv6 in turn, and a few networks.
        for _ in 0..100 {
            assert!(comes(1, "192.0.2.1") && comes(1, "2001:db8::1") && comes(1, "198.51.100.9"));
        }
        let shared = (0..50).filter(|number| comes(2, &format!("10.0.{number}.1"))).count();
        assert_eq!(shared, NETWORKS_MAX);
        assert!(comes(2, "10.0.0.9"), "where it was first it stays good");
    }
}
