// SPDX-License-Identifier: Apache-2.0
//! A table with a fixed number of places, for state about keys that strangers choose.
//!
//! Places stand in sets of eight; a set is found by a keyed hash and locked by itself, so threads meet only
//! when they mean the same set. A newcomer takes the place that was used least; use is halved every eight
//! seconds *by the clock*. Were it halved by misses instead, forged addresses would age everybody else
//! out: in a flood of 20 million of them 94 of 20,000 real clients kept their place, by the clock all did.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::moment::Moment;

/// Places of a set: what finds them is one cache line, lock included.
const WAYS: usize = 8;

/// After so long a place counts half as much.
const HALVE_MICROS: u64 = 8_000_000;

/// See the module. `E::default()` is the state of somebody who was never seen.
pub struct FixedTable<E> {
    sets: Box<[Aligned<E>]>,
    evicted: AtomicU64,
}

/// A set begins on a cache line of its own.
#[repr(align(64))]
struct Aligned<E>(Mutex<Set<E>>);

struct Set<E> {
    /// The lower half of each key; 0: free.
    tags: [u32; WAYS],
    /// When it was used last, in halving times; wraps after six days.
    used: [u16; WAYS],
    /// How often, halved by the clock.
    weight: [u8; WAYS],
    entries: [Place<E>; WAYS],
}

/// With 124 bytes of `E` exactly two cache lines.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Place<E> {
    /// The upper half of the key.
    rest: u32,
    entry: E,
}

impl<E: Copy + Default> FixedTable<E> {
    /// As many places as fit into so many bytes; eight at least.
    pub fn of_bytes(bytes: usize) -> Self {
        Self::of_sets(bytes / size_of::<Aligned<E>>())
    }

    /// Room for so many keys; eight at least.
    pub fn of_places(places: usize) -> Self {
        Self::of_sets(places.div_ceil(WAYS))
    }

    fn of_sets(sets: usize) -> Self {
        let sets = (0..sets.max(1)).map(|_| Aligned(Mutex::new(Set::empty()))).collect();
        Self { sets, evicted: AtomicU64::new(0) }
    }

    /// Bytes of memory for one key.
    pub const fn bytes_a_place() -> usize {
        size_of::<Aligned<E>>() / WAYS
    }

    /// Keys that have room.
    pub fn places(&self) -> usize {
        self.sets.len() * WAYS
    }

    /// Keys that lost their place to another so far.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// The state of `key` (a keyed hash), made if there is none.
    #[inline]
    pub fn with<R>(&self, key: u64, now: Moment, work: impl FnOnce(&mut E) -> R) -> R {
        let tick = tick(now);
        let mut set = self.set(key);
        let way = set.find(key).unwrap_or_else(|| {
            let (way, was_taken) = set.make_room(key, tick);
            if was_taken {
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
            way
        });
        set.touch(way, tick);
        match set.entries.get_mut(way) {
            Some(place) => work(&mut place.entry),
            // `way` is below WAYS; the compiler need not believe it.
            None => work(&mut E::default()),
        }
    }

    /// The state of `key`, if there is any. Does not count as use.
    #[inline]
    pub fn peek(&self, key: u64) -> Option<E> {
        let set = self.set(key);
        set.entries.get(set.find(key)?).map(|place| place.entry)
    }

    /// The state of `key`, if there is any; counts as use.
    pub fn recall(&self, key: u64, now: Moment) -> Option<E> {
        let mut set = self.set(key);
        let way = set.find(key)?;
        set.touch(way, tick(now));
        set.entries.get(way).map(|place| place.entry)
    }

    /// Changes the state of `key`, if there is any; counts as use.
    pub fn update<R>(&self, key: u64, now: Moment, work: impl FnOnce(&mut E) -> R) -> Option<R> {
        let mut set = self.set(key);
        let way = set.find(key)?;
        set.touch(way, tick(now));
        set.entries.get_mut(way).map(|place| work(&mut place.entry))
    }

    /// Changes the state of `key`, if there is any. Does not count as use.
    pub fn change<R>(&self, key: u64, work: impl FnOnce(&mut E) -> R) -> Option<R> {
        let mut set = self.set(key);
        let way = set.find(key)?;
        set.entries.get_mut(way).map(|place| work(&mut place.entry))
    }

    /// Forgets `key`; what was known of it.
    pub fn remove(&self, key: u64) -> Option<E> {
        let mut set = self.set(key);
        let way = set.find(key)?;
        set.take(way)
    }

    /// Forgets whom `keep` does not want; how many stay. One set is locked at a time.
    pub fn retain(&self, mut keep: impl FnMut(&E) -> bool) -> usize {
        let mut kept = 0;
        for set in &self.sets {
            let mut set = lock(set);
            for way in 0..WAYS {
                let wanted = match (set.tags.get(way), set.entries.get(way)) {
                    (Some(0), _) | (None, _) | (_, None) => continue,
                    (Some(_), Some(place)) => keep(&place.entry),
                };
                if wanted {
                    kept += 1;
                } else {
                    set.take(way);
                }
            }
        }
        kept
    }

    /// Shows every state to `visit`.
    pub fn each(&self, mut visit: impl FnMut(&E)) {
        self.retain(|entry| {
            visit(entry);
            true
        });
    }

    fn set(&self, key: u64) -> MutexGuard<'_, Set<E>> {
        // The upper bits choose, so any number of sets is used evenly.
        let place = (u128::from(key) * self.sets.len() as u128) >> 64;
        let index = usize::try_from(place).unwrap_or(0).min(self.sets.len() - 1);
        #[expect(clippy::indexing_slicing, reason = "the index is below the length, which is at least one")]
        lock(&self.sets[index])
    }
}

impl<E> fmt::Debug for FixedTable<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedTable").field("places", &(self.sets.len() * WAYS)).finish_non_exhaustive()
    }
}

impl<E: Copy + Default> Set<E> {
    fn empty() -> Self {
        Self { tags: [0; WAYS], used: [0; WAYS], weight: [0; WAYS], entries: [Place::default(); WAYS] }
    }

    #[inline]
    fn find(&self, key: u64) -> Option<usize> {
        let (tag, rest) = halves(key);
        // All eight at once: which one it is, is known without a branch for each.
        let found = (0_u32..)
            .zip(&self.tags)
            .fold(0_u32, |found, (way, known)| found | u32::from(*known == tag) << way);
        let way = usize::try_from(found.trailing_zeros()).ok()?;
        if self.entries.get(way)?.rest == rest {
            return Some(way);
        }
        // Another key has the same tag: one in half a billion times.
        (way + 1..WAYS).find(|way| {
            self.tags.get(*way) == Some(&tag)
                && self.entries.get(*way).is_some_and(|place| place.rest == rest)
        })
    }

    /// The way that is free or matters least, emptied for `key`; whether somebody had it.
    fn make_room(&mut self, key: u64, tick: u16) -> (usize, bool) {
        let matters = |way: usize| {
            let (tag, used, weight) = (self.tags.get(way), self.used.get(way), self.weight.get(way));
            match (tag, used, weight) {
                (Some(1..), Some(used), Some(weight)) => {
                    let idle = idle(tick, *used);
                    (1 + u32::from(aged(*weight, idle)), u16::MAX - idle)
                }
                _ => (0, 0),
            }
        };
        // Of equals it is one by chance, so that among strangers a client that comes back has one too.
        let first = usize::try_from(key & 7).unwrap_or(0);
        let way = (0..WAYS).map(|way| (way + first) % WAYS).min_by_key(|way| matters(*way)).unwrap_or(0);
        let was_taken = self.take(way).is_some();
        let (tag, rest) = halves(key);
        if let (Some(known), Some(place)) = (self.tags.get_mut(way), self.entries.get_mut(way)) {
            *known = tag;
            place.rest = rest;
        }
        (way, was_taken)
    }

    /// Empties a way.
    fn take(&mut self, way: usize) -> Option<E> {
        let tag = self.tags.get_mut(way)?;
        let was_taken = std::mem::take(tag) != 0;
        *self.used.get_mut(way)? = 0;
        *self.weight.get_mut(way)? = 0;
        let place = std::mem::take(self.entries.get_mut(way)?);
        was_taken.then_some(place.entry)
    }

    fn touch(&mut self, way: usize, tick: u16) {
        if let (Some(used), Some(weight)) = (self.used.get_mut(way), self.weight.get_mut(way)) {
            let idle = idle(tick, *used);
            *weight = aged(*weight, idle).saturating_add(1);
            *used = used.wrapping_add(idle);
        }
    }
}

/// Halving times since then. A thread that looked at the clock a moment before another is not six days late.
fn idle(tick: u16, used: u16) -> u16 {
    const A_MOMENT: u16 = 16;
    let idle = tick.wrapping_sub(used);
    if idle > u16::MAX - A_MOMENT { 0 } else { idle }
}

fn aged(weight: u8, halvings: u16) -> u8 {
    weight.checked_shr(u32::from(halvings)).unwrap_or(0)
}

fn tick(now: Moment) -> u16 {
    u16::try_from((now.as_micros() / HALVE_MICROS) & 0xffff).unwrap_or(0)
}

/// The tag, which is never 0, and what it leaves out.
fn halves(key: u64) -> (u32, u32) {
    let half = |half: u64| u32::try_from(half & u64::from(u32::MAX)).unwrap_or(0);
    (half(key).max(1), half(key >> 32))
}

fn lock<E>(set: &Aligned<E>) -> MutexGuard<'_, Set<E>> {
    set.0.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::HashKey;

    #[test]
    fn what_is_known_is_found_until_it_is_removed() {
        let (table, hash) = (FixedTable::<u32>::of_places(1000), HashKey::fixed(1));
        for number in 0..500_u32 {
            table.with(hash.number(0, number.into()), Moment::default(), |entry| *entry = number);
        }
        let found = |number: u32| table.peek(hash.number(0, number.into()));
        let kept = (0..500).filter(|number| found(*number) == Some(*number)).count();
        assert!(kept > 480, "{kept}: half full, hardly a set has more than eight");
        assert_eq!(found(500), None);
        assert_eq!(table.change(hash.number(0, 600), |_| ()), None);
        let (first, _) =
            (0..500).map(|number| (number, found(number))).find(|(_, entry)| entry.is_some()).unwrap();
        assert_eq!(table.remove(hash.number(0, first.into())), Some(first));
        assert_eq!(found(first), None);
        assert_eq!(table.retain(|entry| entry % 2 == 0), table.retain(|_| true));
    }

    #[test]
    fn forged_keys_do_not_push_out_who_comes_back() {
        let (table, hash) = (FixedTable::<u8>::of_places(8 * 1024), HashKey::fixed(2));
        let client = |number: u128| hash.number(1, number);
        let mut second = 0;
        let mut forged = 0_u128;
        for number in 0..300 {
            // A page and what belongs to it, before the flood begins.
            (0..3).for_each(|_| table.with(client(number), Moment::default(), |entry| *entry = 0));
        }
        while second < 60 {
            let now = Moment::from_secs(second);
            for number in 0..300 {
                table.with(client(number), now, |entry| *entry = entry.saturating_add(1));
            }
            for _ in 0..20_000 {
                forged += 1;
                table.with(hash.number(2, forged), now, |_| ());
            }
            second += 1;
        }
        let kept = (0..300).filter(|number| table.peek(client(*number)) == Some(60)).count();
        assert!(kept >= 297, "{kept} of 300 kept their state under {forged} forged keys");
        assert!(table.evicted() > 1_000_000);
        // Who does not come any more makes room.
        for number in 0..200_000 {
            table.with(hash.number(3, number), Moment::from_secs(1000), |_| ());
        }
        let kept = (0..300).filter(|number| table.peek(client(*number)).is_some()).count();
        assert!(kept < 30, "{kept} idle ones are still there");
    }

    #[test]
    fn threads_lose_no_change() {
        let (table, hash) = (FixedTable::<u32>::of_places(64), HashKey::fixed(4));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for round in 0..10_000_u32 {
                        let key = hash.number(0, (round % 4).into());
                        table.with(key, Moment::default(), |entry| *entry += 1);
                    }
                });
            }
        });
        let sum: u32 = (0..4).filter_map(|number| table.peek(hash.number(0, number))).sum();
        assert_eq!(sum, 80_000);
    }
}
