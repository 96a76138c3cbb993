// SPDX-License-Identifier: Apache-2.0
//! What rules remember beyond one request: `initcol:ip=%{REMOTE_ADDR}`, `setvar:ip.tries=+1`, `expirevar:ip.tries=60`.
//!
//! One for all threads of a node, whatever rules it has. A collection that nobody changed for its timeout is gone, and
//! so is the one that was changed longest ago when there is no room: [`Bounds`] say how much there is. Each change
//! stands alone, so that none is lost where two requests count the same thing.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Collections. Beyond that the oldest goes.
    pub collections: usize,
    /// Bytes of all of them, their names and what holds them counted. Beyond that the oldest go.
    pub bytes: usize,
    /// Bytes of one. What does not fit into it is not set.
    pub collection_bytes: usize,
}

impl Default for Bounds {
    /// Room for 131,072 addresses with some counters each.
    fn default() -> Self {
        Self { collections: 131_072, bytes: 64 << 20, collection_bytes: 8 << 10 }
    }
}

/// All that is remembered.
pub struct Collections {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    bounds: Bounds,
    full: Box<dyn Fn() + Send + Sync>,
}

/// Threads that change collections rarely want the same shard.
const SHARDS: usize = 16;
/// What a collection takes beside its key and its variables: its places in map and order.
const COLLECTION_BYTES: usize = 256;
/// What a variable takes beside its name and its value.
const VARIABLE_BYTES: usize = 64;
/// Collections that one change lets go for their age: those that nobody asks for any more.
const SWEPT_MAX: usize = 4;

impl fmt::Debug for Collections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collections").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

impl Collections {
    /// Nothing yet. `full` is called whenever a bound is hit.
    pub fn new(bounds: Bounds, full: impl Fn() + Send + Sync + 'static) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new(), bounds, full: Box::new(full) }
    }

    /// How many there are now, those counted that are too old and not yet gone.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| locked(shard).collections.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is a collection of this key.
    pub(crate) fn contains(&self, key: &Key, now: i64) -> bool {
        self.shard(key).live(key, now).is_some()
    }

    /// A variable, or what the collection itself says.
    pub(crate) fn read(&self, key: &Key, name: &[u8], now: i64) -> Option<Value> {
        let mut shard = self.shard(key);
        let collection = shard.live(key, now)?;
        let told = match name {
            b"create_time" => collection.created,
            b"last_update_time" => collection.changed,
            b"timeout" => collection.timeout,
            b"update_counter" => collection.changes,
            // A minute at least: the first changes are no rate.
            b"update_rate" => collection.changes / (now.saturating_sub(collection.created) / 60).max(1),
            _ => return collection.variable(name, now).map(|variable| variable.value.clone()),
        };
        Some(Value::Number(told))
    }

    /// All variables, in order of their setting.
    pub(crate) fn all(&self, key: &Key, now: i64) -> Vec<(Box<[u8]>, Value)> {
        let mut shard = self.shard(key);
        let Some(collection) = shard.live(key, now) else { return Vec::new() };
        let live = collection.variables.iter().filter(|variable| !variable.is_over(now));
        live.map(|variable| (variable.name.clone(), variable.value.clone())).collect()
    }

    /// Changes a variable. A collection begins with its first; `timeout` is how long it lasts from its last change on.
    pub(crate) fn change(&self, key: &Key, name: &[u8], change: Change, now: i64, timeout: i64) {
        let is_whole = {
            let mut shard = self.shard(key);
            let is_set = shard.change(key, name, change, now, timeout, self.bounds.collection_bytes);
            shard.sweep(now);
            let is_kept = shard.make_room(self.bounds.collections / SHARDS, self.bounds.bytes / SHARDS);
            is_set && is_kept
        };
        if !is_whole {
            (self.full)();
        }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let place = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        self.shards.get(place).map(locked).expect("a remainder is below what it is of")
    }
}

fn locked(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which collection: that of a kind with a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) kind: u8,
    pub(crate) name: Box<[u8]>,
}

/// Of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Number(i64),
    Text(Box<[u8]>),
}

impl Value {
    fn number(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            Self::Text(text) => crate::engine::number(text),
        }
    }
}

/// What becomes of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Set(Value),
    /// The number that it is, and this.
    Add(i64),
    Remove,
    /// It goes after so many seconds. Nothing where there is none.
    Expire(i64),
    /// So much less for each of so many seconds that passed since it was set, down to 0. Nothing where there is none.
    Deprecate {
        by: i64,
        every: i64,
    },
}

#[derive(Debug, Default)]
struct Shard {
    collections: HashMap<Arc<Key>, Collection>,
    /// By their last change: the oldest first.
    order: BTreeMap<u64, Arc<Key>>,
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Collection {
    created: i64,
    changed: i64,
    changes: i64,
    timeout: i64,
    place: u64,
    /// Without its variables.
    own_bytes: usize,
    variables: Vec<Variable>,
}

#[derive(Debug)]
struct Variable {
    name: Box<[u8]>,
    value: Value,
    expires: Option<i64>,
    /// Set then, or made less then.
    since: i64,
}

impl Shard {
    /// The collection, if it is not too old.
    fn live(&mut self, key: &Key, now: i64) -> Option<&mut Collection> {
        if self.collections.get(key)?.is_over(now) {
            self.remove(key);
            return None;
        }
        self.collections.get_mut(key)
    }

    fn remove(&mut self, key: &Key) {
        if let Some(gone) = self.collections.remove(key) {
            self.order.remove(&gone.place);
            self.bytes = self.bytes.saturating_sub(gone.bytes());
        }
    }

    /// `false`: it did not fit.
    fn change(
        &mut self,
        key: &Key,
        name: &[u8],
        change: Change,
        now: i64,
        timeout: i64,
        bytes_max: usize,
    ) -> bool {
        if self.live(key, now).is_none() {
            // What takes away from nothing begins nothing.
            if !matches!(change, Change::Set(_) | Change::Add(_)) {
                return true;
            }
            let bytes = COLLECTION_BYTES + 2 * key.name.len();
            if bytes > bytes_max {
                return false;
            }
            let key = Arc::new(key.clone());
            self.order.insert(self.next, Arc::clone(&key));
            self.collections.insert(key, Collection::new(now, timeout, self.next, bytes));
            self.bytes += bytes;
            self.next += 1;
        }
        let Some(collection) = self.collections.get_mut(key) else { return true };
        let before = collection.bytes();
        let is_set = collection.change(name, change, now, bytes_max);
        let (place, bytes) = (collection.place, collection.bytes());
        collection.place = self.next;
        self.bytes = self.bytes.saturating_sub(before) + bytes;
        if let Some(key) = self.order.remove(&place) {
            self.order.insert(self.next, key);
        }
        self.next += 1;
        is_set
    }

    /// Lets some go that are too old.
    fn sweep(&mut self, now: i64) {
        for _ in 0..SWEPT_MAX {
            let Some((_, key)) = self.order.first_key_value() else { return };
            let key = Arc::clone(key);
            if self.live(&key, now).is_some() {
                return;
            }
        }
    }

    /// Lets the oldest go until the rest fits. `false`: there was one to go.
    fn make_room(&mut self, collections_max: usize, bytes_max: usize) -> bool {
        let mut is_kept = true;
        while self.collections.len() > collections_max || self.bytes > bytes_max {
            let Some((_, key)) = self.order.first_key_value() else { break };
            let key = Arc::clone(key);
            self.remove(&key);
            is_kept = false;
        }
        is_kept
    }
}

impl Collection {
    const fn new(now: i64, timeout: i64, place: u64, own_bytes: usize) -> Self {
        Self { created: now, changed: now, changes: 0, timeout, place, own_bytes, variables: Vec::new() }
    }

    const fn is_over(&self, now: i64) -> bool {
        now.saturating_sub(self.changed) > self.timeout
    }

    fn variable(&self, name: &[u8], now: i64) -> Option<&Variable> {
        self.variables.iter().find(|variable| &*variable.name == name && !variable.is_over(now))
    }

    /// `false`: it did not fit.
    fn change(&mut self, name: &[u8], change: Change, now: i64, bytes_max: usize) -> bool {
        self.changed = now;
        self.changes = self.changes.saturating_add(1);
        self.variables.retain(|variable| !variable.is_over(now));
        let known = self.variables.iter_mut().find(|variable| &*variable.name == name);
        let change = match change {
            Change::Add(more) if known.is_none() => Change::Set(Value::Number(more)),
            other => other,
        };
        match (change, known) {
            (Change::Set(value), _) if name == b"timeout" => self.timeout = value.number().max(0),
            (Change::Set(value), known) => {
                let variable = Variable { name: name.into(), value, expires: None, since: now };
                let before = known.map_or(0, |known| known.bytes());
                if self.bytes().saturating_sub(before) + variable.bytes() > bytes_max {
                    return false;
                }
                match self.variables.iter_mut().find(|known| known.name == variable.name) {
                    Some(known) => *known = variable,
                    None => self.variables.push(variable),
                }
            }
            (Change::Add(more), Some(variable)) => {
                variable.value = Value::Number(variable.value.number().saturating_add(more));
            }
            (Change::Expire(after), Some(variable)) => variable.expires = Some(now.saturating_add(after)),
            (Change::Deprecate { by, every }, Some(variable)) => variable.deprecate(by, every, now),
            (Change::Remove, _) => self.variables.retain(|variable| &*variable.name != name),
            (Change::Add(_) | Change::Expire(_) | Change::Deprecate { .. }, None) => {}
        }
        true
    }

    fn bytes(&self) -> usize {
        self.own_bytes + self.variables.iter().map(Variable::bytes).sum::<usize>()
    }
}

impl Variable {
    fn bytes(&self) -> usize {
        let text = if let Value::Text(text) = &self.value { text.len() } else { 0 };
        VARIABLE_BYTES + self.name.len() + text
    }

    fn is_over(&self, now: i64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    fn deprecate(&mut self, by: i64, every: i64, now: i64) {
        let times = now.saturating_sub(self.since) / every.max(1);
        if times > 0 {
            let number = self.value.number();
            let less = number.saturating_sub(times.saturating_mul(by));
            // What is below 0 already stays as it is.
            self.value = Value::Number(less.max(number.min(0)));
            self.since = self.since.saturating_add(times.saturating_mul(every));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600;

    fn made(bounds: Bounds) -> (Collections, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let told = Arc::clone(&count);
        let tell = move || {
            told.fetch_add(1, Ordering::Relaxed);
        };
        (Collections::new(bounds, tell), count)
    }

    fn key(name: impl ToString) -> Key {
        Key { kind: 1, name: name.to_string().into_bytes().into() }
    }

    fn text(text: &str) -> Value {
        Value::Text(text.as_bytes().into())
    }

    fn number(collections: &Collections, key: &Key, name: &str, now: i64) -> Option<i64> {
        collections.read(key, name.as_bytes(), now).map(|value| value.number())
    }

    #[test]
    fn a_variable_lives_until_it_expires() {
        let (all, full) = made(Bounds::default());
        let one = key("192.0.2.1");
        assert!(!all.contains(&one, 0) && all.is_empty());
        all.change(&one, b"x", Change::Add(1), 100, HOUR);
        all.change(&one, b"x", Change::Add(2), 101, HOUR);
        all.change(&one, b"y", Change::Set(text("a")), 101, HOUR);
        all.change(&one, b"x", Change::Expire(60), 101, HOUR);
        all.change(&one, b"none", Change::Expire(60), 101, HOUR);
        assert_eq!((number(&all, &one, "x", 160), number(&all, &one, "x", 161)), (Some(3), None));
        let names = |now| all.all(&one, now).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(160), [b"x"[..].into(), b"y"[..].into()]);
        assert_eq!(names(161), [b"y"[..].into()]);
        // Set anew, it does not expire.
        all.change(&one, b"x", Change::Set(Value::Number(7)), 150, HOUR);
        assert_eq!(number(&all, &one, "x", 1_000), Some(7));
        all.change(&one, b"x", Change::Remove, 151, HOUR);
        assert_eq!(number(&all, &one, "x", 151), None);
        assert_eq!(number(&all, &key("192.0.2.2"), "y", 151), None);
        assert_eq!((all.len(), full.load(Ordering::Relaxed)), (1, 0));
    }

    #[test]
    fn a_collection_lives_for_its_timeout_from_its_last_change() {
        let (all, _) = made(Bounds::default());
        let one = key("a");
        all.change(&one, b"x", Change::Add(1), 0, 600);
        all.change(&one, b"x", Change::Add(1), 500, 600);
        assert_eq!((number(&all, &one, "x", 1_100), number(&all, &one, "x", 1_101)), (Some(2), None));
        assert!(all.is_empty());
        all.change(&one, b"x", Change::Add(1), 1_200, 600);
        all.change(&one, b"timeout", Change::Set(text("60")), 1_210, 600);
        for (name, want) in [
            ("create_time", 1_200),
            ("last_update_time", 1_210),
            ("timeout", 60),
            ("update_counter", 2),
            ("update_rate", 2),
            ("x", 1),
        ] {
            assert_eq!(number(&all, &one, name, 1_230), Some(want), "{name}");
        }
        assert!(all.contains(&one, 1_270) && !all.contains(&one, 1_271));
    }

    #[test]
    fn a_number_gets_less_with_time_and_not_below_nothing() {
        let (all, _) = made(Bounds::default());
        let one = key("a");
        let less = |now| {
            all.change(&one, b"x", Change::Deprecate { by: 2, every: 10 }, now, HOUR);
            number(&all, &one, "x", now)
        };
        assert_eq!(less(0), None);
        assert!(all.is_empty(), "nothing begins with taking away");
        all.change(&one, b"x", Change::Add(7), 0, HOUR);
        let found = [9, 10, 19, 20, 45].map(less);
        assert_eq!(found, [Some(7), Some(5), Some(5), Some(3), Some(0)]);
        all.change(&one, b"x", Change::Set(text("-3")), 50, HOUR);
        assert_eq!(less(100), Some(-3));
    }

    #[test]
    fn the_oldest_goes_where_there_is_no_room_and_that_is_told() {
        let bounds = Bounds { collections: 4 * SHARDS, ..Bounds::default() };
        let (all, full) = made(bounds);
        let count = 1_000;
        for number in 0..count {
            all.change(&key(number), b"x", Change::Add(1), number, HOUR);
        }
        let kept: Vec<i64> = (0..count).filter(|number| all.contains(&key(number), count)).collect();
        assert_eq!(kept.len(), 4 * SHARDS);
        assert_eq!((all.len(), full.load(Ordering::Relaxed)), (kept.len(), 1_000 - kept.len()));
        // What is changed again stays.
        let first = key("first");
        for number in count..2 * count {
            all.change(&first, b"x", Change::Add(1), number, HOUR);
            all.change(&key(number), b"x", Change::Add(1), number, HOUR);
        }
        assert_eq!(number(&all, &first, "x", 2 * count), Some(count));

        let (all, full) = made(Bounds { bytes: 64 << 10, ..Bounds::default() });
        for number in 0..count {
            all.change(&key(number), b"x", Change::Set(text(&"v".repeat(1_000))), 0, HOUR);
        }
        assert!(all.len() < 64 && full.load(Ordering::Relaxed) > 900, "{}", all.len());
    }

    #[test]
    fn what_is_too_large_for_a_collection_is_not_set() {
        let (all, full) = made(Bounds { collection_bytes: 1_000, ..Bounds::default() });
        let one = key("a");
        all.change(&one, b"x", Change::Set(text("small")), 0, HOUR);
        all.change(&one, b"y", Change::Set(text(&"v".repeat(1_000))), 0, HOUR);
        all.change(&one, b"x", Change::Set(text(&"v".repeat(1_000))), 0, HOUR);
        assert_eq!(all.read(&one, b"x", 0), Some(text("small")));
        assert_eq!(all.read(&one, b"y", 0), None);
        all.change(&key("k".repeat(1_000)), b"x", Change::Add(1), 0, HOUR);
        for number in 0..100 {
            all.change(&one, format!("n{number}").as_bytes(), Change::Add(1), 0, HOUR);
        }
        assert_eq!((all.len(), all.all(&one, 0).len() < 20), (1, true));
        assert!(full.load(Ordering::Relaxed) > 80);
    }

    #[test]
    fn those_that_nobody_asks_for_go_too() {
        let (all, full) = made(Bounds::default());
        for number in 0..100 {
            all.change(&key(number), b"x", Change::Add(1), 0, 10);
        }
        // Enough that every shard is changed many times, wherever keys fall.
        for number in 0..10_000 {
            all.change(&key(number % 500 + 1_000), b"x", Change::Add(1), 100, 10);
        }
        assert_eq!((all.len(), full.load(Ordering::Relaxed)), (500, 0));
    }

    #[test]
    fn no_count_is_lost_between_threads() {
        let (all, _) = made(Bounds::default());
        let one = key("a");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|_| all.change(&one, b"x", Change::Add(1), 0, HOUR)));
            }
        });
        assert_eq!(number(&all, &one, "x", 0), Some(4_000));
    }

    proptest! {
        /// What is counted is what is there.
        #[test]
        fn bytes_are_counted_as_they_are(
            changes in proptest::collection::vec((0..20_u8, 0..4_u8, 0..5_u8, 0..200_usize, 0..30_i64), 0..300),
        ) {
            let (all, _) = made(Bounds { collections: 8 * SHARDS, bytes: SHARDS * 4_000, collection_bytes: 700 });
            let mut now = 0;
            for (name, variable, kind, size, later) in changes {
                now += later;
                let change = match kind {
                    0 => Change::Set(text(&"v".repeat(size))),
                    1 => Change::Add(1),
                    2 => Change::Remove,
                    3 => Change::Expire(later),
                    _ => Change::Deprecate { by: 1, every: 5 },
                };
                all.change(&key(name), &[variable], change, now, 100);
            }
            for shard in &all.shards {
                let shard = locked(shard);
                let bytes: usize = shard.collections.values().map(Collection::bytes).sum();
                prop_assert_eq!(bytes, shard.bytes);
                prop_assert_eq!(shard.order.len(), shard.collections.len());
                prop_assert!(shard.bytes <= 4_000 && shard.collections.len() <= 8);
                for (place, key) in &shard.order {
                    prop_assert_eq!(shard.collections.get(key).map(|one| one.place), Some(*place));
                }
            }
        }
    }
}
