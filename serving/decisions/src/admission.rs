// SPDX-License-Identifier: Apache-2.0
//! What is kept when there is more than can be.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::class::Class;
use crate::writer::Bounds;

/// Decisions of a key that are kept in each minute before only each one that doubles their number is.
const WHOLE_PER_MINUTE: u32 = 4;

/// What an entry takes, about: what sustained rates are reckoned with.
const ENTRY_BYTES: u64 = 1 << 10;

/// A ring holds a day at the sustained rate, at least.
const HELD: Duration = Duration::from_secs(86_400);

/// Keys that are followed: 4,096, 100 KiB. A stranger can bring as many keys as he has networks; one that is pushed
/// out begins anew, and the class's bucket bounds what that brings.
const SETS: usize = 512;
const WAYS: usize = 8;

/// Whether a decision is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admitted {
    /// It is.
    Kept {
        /// Decisions of this key since the last one that was kept, this one included: what it stands for.
        stands_for: u32,
    },
    /// It is not: others of its key stand for it.
    Sampled,
    /// Nor is this one, which would have been the first of its client: too many clients had one in this minute, or have
    /// used up what its class may keep.
    LeftOut,
}

/// Decides on the request path which decisions are kept. Of each key, in each minute: the first four, then the
/// eighth, the sixteenth and so on, and the first one of each client, for 4,096 clients; of each class: what lets its ring
/// hold a day at 1 KiB an entry, in bursts of an eighth of the ring. Of a burst the last quarter is for decisions about
/// identities that the site knows, and the one before it for the first ones of clients.
///
/// Bounded whatever clients send. Takes two locks that few share; allocates nothing.
#[derive(Debug)]
pub struct Admission {
    sets: Box<[Mutex<[Slot; WAYS]>]>,
    firsts: Box<[Mutex<[First; WAYS]>]>,
    buckets: [Bucket; 3],
    pushed_out: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key: u64,
    minute: u64,
    /// In this minute; 0: the slot is free.
    seen: u32,
    since_kept: u32,
}

/// A client of which something was kept.
#[derive(Clone, Copy, Debug, Default)]
struct First {
    client: u64,
    /// In this minute, from 1.
    minute: u64,
}

impl Admission {
    /// For a store of these bounds.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
            firsts: (0..SETS).map(|_| Mutex::default()).collect(),
            buckets: Class::ALL.map(|class| Bucket::new(class.ring_bytes(bounds.max_bytes))),
            pushed_out: AtomicU64::new(0),
        }
    }

    /// Decides about a decision. `key` is a hash of what makes decisions alike (layer, reason, the client's network)
    /// with a key that strangers do not know, `client` one of the same and the client itself, whose first one of a minute
    /// is kept although its network has used up its share (`None`: there is no such client); `is_known` says that the
    /// identity is known to the site; `now` is the time since any moment before, the same for all calls.
    pub fn admit(
        &self,
        class: Class,
        key: u64,
        client: Option<u64>,
        is_known: bool,
        now: Duration,
    ) -> Admitted {
        let set = usize::try_from(key % SETS as u64).unwrap_or(0);
        let (Some(set), Some(bucket)) = (self.sets.get(set), self.buckets.get(usize::from(class.number())))
        else {
            return Admitted::Sampled;
        };
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = self.slot(&mut set, key);
        let minute = now.as_secs() / 60;
        if slot.minute != minute {
            slot.minute = minute;
            slot.seen = 0;
        }
        slot.seen = slot.seen.saturating_add(1);
        slot.since_kept = slot.since_kept.saturating_add(1);
        let is_due = slot.seen <= WHOLE_PER_MINUTE || slot.seen.is_power_of_two();
        let take = |is_first| bucket.take(quarters(is_known, is_first), now);
        let admitted = match client {
            Some(client) => self.admit_client(client, minute, is_due, take),
            None if is_due && take(true) => Ok(()),
            None => Err(Admitted::Sampled),
        };
        match admitted {
            Ok(()) => Admitted::Kept { stands_for: std::mem::take(&mut slot.since_kept) },
            Err(not) => not,
        }
    }

    /// Notes a client of which something is kept: because it is due, or because nothing was in this minute.
    fn admit_client(
        &self,
        client: u64,
        minute: u64,
        is_due: bool,
        take: impl FnOnce(bool) -> bool,
    ) -> Result<(), Admitted> {
        let minute = minute.saturating_add(1);
        let set = usize::try_from(client % SETS as u64).unwrap_or(0);
        let Some(set) = self.firsts.get(set) else { return Err(Admitted::Sampled) };
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        let is_noted = set.iter().any(|first| first.minute == minute && first.client == client);
        let free = set.iter_mut().find(|first| first.minute != minute);
        match (is_due, is_noted, &free) {
            (false, true, _) => return Err(Admitted::Sampled),
            (false, false, None) => return Err(Admitted::LeftOut),
            _ => {}
        }
        if !take(!is_noted) {
            return Err(if is_noted { Admitted::Sampled } else { Admitted::LeftOut });
        }
        if let Some(first) = free.filter(|_| !is_noted) {
            *first = First { client, minute };
        }
        Ok(())
    }

    /// Keys that were forgotten because too many others came: what had been sampled of them is told of by no entry.
    pub fn keys_pushed_out(&self) -> u64 {
        self.pushed_out.load(Ordering::Relaxed)
    }

    /// The key's slot: its own, a free one, or that of the key that was quiet longest.
    fn slot<'a>(&self, set: &'a mut [Slot; WAYS], key: u64) -> &'a mut Slot {
        let mut best = 0;
        for (place, slot) in set.iter().enumerate() {
            if slot.seen > 0 && slot.key == key {
                best = place;
                break;
            }
            let rank = |slot: &Slot| (slot.seen > 0, slot.minute, slot.seen);
            if rank(slot) < rank(&set[best]) {
                best = place;
            }
        }
        let slot = &mut set[best];
        if slot.seen == 0 || slot.key != key {
            if slot.seen > 0 {
                self.pushed_out.fetch_add(1, Ordering::Relaxed);
            }
            *slot = Slot { key, ..Slot::default() };
        }
        slot
    }
}

/// How much of a burst a decision may take from.
const fn quarters(is_known: bool, is_first: bool) -> u64 {
    match (is_known, is_first) {
        (true, _) => 4,
        (false, true) => 3,
        (false, false) => 2,
    }
}

/// A token bucket without tokens: it remembers when it will be full again.
#[derive(Debug)]
struct Bucket {
    /// Nanoseconds that a token takes to come back.
    token_nanos: u64,
    /// For how many nanoseconds ahead tokens may be taken.
    burst_nanos: u64,
    full_at_nanos: AtomicU64,
}

impl Bucket {
    fn new(ring_bytes: u64) -> Self {
        let held_nanos = u64::try_from(HELD.as_nanos()).unwrap_or(u64::MAX);
        let entries = (ring_bytes / ENTRY_BYTES).max(1);
        let token_nanos = (held_nanos / entries).max(1);
        let burst_nanos = (entries / 8).max(8).saturating_mul(token_nanos);
        Self { token_nanos, burst_nanos, full_at_nanos: AtomicU64::new(0) }
    }

    fn take(&self, quarters: u64, now: Duration) -> bool {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let ahead_max = self.burst_nanos / 4 * quarters;
        // Further ahead than a burst it is only when the clock went back: the bucket is empty then, not for ever.
        self.full_at_nanos.fetch_min(now.saturating_add(self.burst_nanos), Ordering::Relaxed);
        let taken = self.full_at_nanos.try_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let ahead = full_at.saturating_sub(now).saturating_add(self.token_nanos);
            (ahead <= ahead_max).then_some(now.saturating_add(ahead))
        });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { max_bytes: 1 << 30, max_age: Duration::from_secs(30 * 86_400) };

    #[test]
    fn a_key_is_kept_at_its_beginning_and_then_ever_more_rarely() {
        let admission = Admission::new(BOUNDS);
        let kept = |number: u32, minute: u64| match admission.admit(
            Class::Content,
            7,
            Some(1),
            false,
            Duration::from_secs(minute * 60),
        ) {
            Admitted::Kept { stands_for } => Some((number, stands_for)),
            Admitted::Sampled | Admitted::LeftOut => None,
        };
        let first: Vec<_> = (1..=40).filter_map(|number| kept(number, 0)).collect();
        assert_eq!(first, [(1, 1), (2, 1), (3, 1), (4, 1), (8, 4), (16, 8), (32, 16)]);
        // The eight that nobody stood for are not forgotten when the minute ends.
        let second: Vec<_> = (1..=9).filter_map(|number| kept(number, 1)).collect();
        assert_eq!(second, [(1, 9), (2, 1), (3, 1), (4, 1), (8, 4)]);
    }

    #[test]
    fn of_each_client_one_is_kept_in_a_minute_whatever_its_network_has_used_up() {
        let admission = Admission::new(BOUNDS);
        let kept = |client: u64, seconds: u64| {
            let now = Duration::from_secs(seconds);
            match admission.admit(Class::Limits, 7, Some(client), false, now) {
                Admitted::Kept { stands_for } => stands_for,
                Admitted::Sampled | Admitted::LeftOut => 0,
            }
        };
        let first: Vec<u32> = (0..4).map(|_| kept(0, 0)).collect();
        assert_eq!(first, [1; 4], "the share of its network is used up by one of it");
        for client in 1..100 {
            assert!(kept(client, 0) >= 1, "{client}");
        }
        let again: Vec<u64> = (0..100).filter(|client| kept(*client, 0) > 0).collect();
        assert_eq!(again, [24], "the 128th of its network, not of its client");
        assert_eq!((kept(5, 60), kept(5, 60)), (76, 1), "in the next minute again");
    }

    #[test]
    fn clients_of_which_one_is_kept_are_bounded_by_the_minute() {
        let admission = Admission::new(BOUNDS);
        let (mut kept, mut left_out) = (0, 0);
        for client in 0..100_000_u64 {
            let client = client.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            match admission.admit(Class::Limits, 7, Some(client), false, Duration::ZERO) {
                Admitted::Kept { .. } => kept += 1,
                Admitted::LeftOut => left_out += 1,
                Admitted::Sampled => {}
            }
        }
        assert!((3_000..=4_096 + 20).contains(&kept), "{kept}");
        assert!(left_out > 90_000, "{left_out}");
    }

    #[test]
    fn everything_is_stood_for() {
        let admission = Admission::new(BOUNDS);
        let mut told = 0;
        for number in 0..100_000_u64 {
            let now = Duration::from_millis(number * 3);
            if let Admitted::Kept { stands_for } =
                admission.admit(Class::Limits, number % 5, None, false, now)
            {
                told += stands_for;
            }
        }
        assert!(told > 80_000, "{told}");
        assert_eq!(admission.keys_pushed_out(), 0);
    }

    /// Floods with keys that are all new, as somebody with many networks can, and counts what is kept.
    fn flood(admission: &Admission, class: Class, is_known: bool, seconds: std::ops::Range<u64>) -> u64 {
        let mut kept = 0;
        for second in seconds {
            for number in 0..2_000_u64 {
                let key = (second * 2_000 + number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let admitted = admission.admit(class, key, None, is_known, Duration::from_secs(second));
                kept += u64::from(matches!(admitted, Admitted::Kept { .. }));
            }
        }
        kept
    }

    #[test]
    fn a_flood_of_keys_gets_three_quarters_of_the_burst_and_the_known_the_rest() {
        let admission = Admission::new(BOUNDS);
        let entries = Class::Limits.ring_bytes(BOUNDS.max_bytes) / ENTRY_BYTES;
        let burst = entries / 8;
        let came_back = entries * 60 / 86_400 + 1;
        let kept = flood(&admission, Class::Limits, false, 0..60);
        assert!((burst * 3 / 4..=burst * 3 / 4 + came_back).contains(&kept), "{kept} of {burst}");
        let known = flood(&admission, Class::Limits, true, 60..120);
        assert!((burst / 4..=burst / 4 + came_back).contains(&known), "{known} of {burst}");
        assert!(admission.keys_pushed_out() > 200_000);
        // Another class has a bucket of its own.
        assert_eq!(
            admission.admit(Class::Content, 1, None, false, Duration::from_secs(120)),
            Admitted::Kept { stands_for: 1 }
        );
    }

    #[test]
    fn those_who_come_again_leave_room_for_newcomers_and_who_finds_none_is_counted() {
        let admission = Admission::new(BOUNDS);
        let admit = |client: u64, key: u64| {
            let key = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            admission.admit(Class::Limits, key, Some(client), false, Duration::from_secs(7))
        };
        let is_kept = |admitted| matches!(admitted, Admitted::Kept { .. });
        let burst = Class::Limits.ring_bytes(BOUNDS.max_bytes) / ENTRY_BYTES / 8;
        // A few clients from very many networks.
        let again = (0..burst * 2).filter(|key| is_kept(admit(key % 100, *key))).count() as u64;
        assert!((burst / 2..=burst / 2 + 200).contains(&again), "{again} of {burst}");
        assert_eq!(admit(1, 1 << 40), Admitted::Sampled);
        assert!(is_kept(admit(1_000, 1 << 41)), "a newcomer");
        let mut all = (0..burst).map(|client| admit(2_000 + client, client + (1 << 42)));
        assert!(all.any(|admitted| admitted == Admitted::LeftOut));
    }

    #[test]
    fn a_ring_holds_a_day_of_the_worst_flood() {
        let admission = Admission::new(Bounds { max_bytes: 64 << 20, ..BOUNDS });
        let entries = Class::Passes.ring_bytes(64 << 20) / ENTRY_BYTES;
        let burst = flood(&admission, Class::Passes, true, 0..5);
        assert!(burst <= entries / 8 + 1, "{burst}");
        let mut kept = 0;
        for second in (5..5 + 86_400).step_by(60) {
            kept += flood(&admission, Class::Passes, true, second..second + 1);
        }
        assert!(kept <= entries + 1, "{kept} of {entries}");
        assert!(kept >= entries * 9 / 10, "{kept} of {entries}");
    }

    #[test]
    fn a_clock_that_goes_back_breaks_nothing() {
        let admission = Admission::new(BOUNDS);
        let admit = |seconds| admission.admit(Class::Passes, 3, None, false, Duration::from_secs(seconds));
        for seconds in [1000, 10, 0, u64::MAX] {
            assert_eq!(admit(seconds), Admitted::Kept { stands_for: 1 }, "{seconds}");
        }
        // The bucket is taken for empty, and fills again.
        assert_eq!(admit(5), Admitted::Sampled);
        assert_eq!(admit(5 + 86_400 / 8), Admitted::Kept { stands_for: 2 });
    }
}
