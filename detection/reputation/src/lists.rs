// SPDX-License-Identifier: Apache-2.0
//! Block and allow lists: what the configuration says, and what operators add while the node runs.
//!
//! Look-ups read one immutable structure; every change makes a new one and swaps it in whole.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use sunbeam_tables::{Moment, PrefixMap};

use crate::config::ListsSection;

/// Entries that operators may add; feeds have a bound of their own.
const ENTRIES_MAX: usize = 100_000;

/// Bytes of a reason that are kept.
const REASON_BYTES_MAX: usize = 256;

/// What an entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum List {
    /// Refused.
    Block,
    /// Not judged.
    Allow,
    /// Not judged because an operator works from there.
    Exempt,
}

impl List {
    /// `block`
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Allow => "allow",
            Self::Exempt => "exempt",
        }
    }
}

/// Who put an entry there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// `[lists]`.
    Config,
    /// A command, the API, the console.
    Operator,
}

impl Origin {
    /// `operator`
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Operator => "operator",
        }
    }
}

/// An entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Counts up; 0 for those of the configuration.
    pub id: u64,
    /// The range.
    pub network: IpNet,
    /// What it does.
    pub list: List,
    /// Who put it there.
    pub origin: Origin,
    /// Why, as the operator wrote.
    pub reason: String,
    /// When, in seconds since 1970; 0 for those of the configuration.
    pub since: i64,
    /// Until when, in seconds since 1970, for people and for the next start; `None`: until somebody removes it.
    pub until: Option<i64>,
    /// The same in the time that is held to: a clock that is set while the node runs changes nothing.
    pub ends: Option<Moment>,
}

/// What an operator adds.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// The range.
    pub network: IpNet,
    /// What it does.
    pub list: List,
    /// Why.
    pub reason: String,
    /// Seconds since 1970.
    pub since: i64,
    /// For so many seconds; `None`: until somebody removes it.
    pub secs: Option<u64>,
}

/// Why an entry cannot be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddError {
    /// There are too many.
    Full,
}

impl std::fmt::Display for AddError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the lists are full: they hold {ENTRIES_MAX} entries")
    }
}

impl std::error::Error for AddError {}

/// What a look-up finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What it does.
    pub list: List,
    /// Who put it there.
    pub origin: Origin,
    until: Option<Moment>,
}

#[derive(Debug, Default)]
struct Compiled {
    /// Allowed and exempt ranges; stronger than any block.
    open: PrefixMap<Listed>,
    blocked: PrefixMap<Listed>,
}

#[derive(Debug, Default)]
struct Book {
    config: Vec<Entry>,
    added: BTreeMap<u64, Entry>,
    last_id: u64,
    /// Went by themselves, and nobody has asked yet.
    over: Vec<Entry>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Lists {
    book: Mutex<Book>,
    compiled: ArcSwap<Compiled>,
    /// When a look-up dropped what was over, in microseconds.
    dropped_at: AtomicU64,
}

impl Lists {
    /// Takes the lists of a configuration in place of those before.
    pub fn configure(&self, section: &ListsSection) {
        let mut book = self.book();
        let entries = |list, ranges: &[sunbeam_config::Cidr]| {
            let entry = move |cidr: &sunbeam_config::Cidr| Entry {
                id: 0,
                network: cidr.0,
                list,
                origin: Origin::Config,
                reason: String::new(),
                since: 0,
                until: None,
                ends: None,
            };
            ranges.iter().map(entry).collect::<Vec<_>>()
        };
        book.config = entries(List::Block, &section.block);
        book.config.extend(entries(List::Allow, &section.allow));
        self.compile(&book);
    }

    /// What is listed for an address now.
    pub fn find(&self, address: IpAddr, now: Moment) -> Option<Listed> {
        let compiled = self.compiled.load();
        let is_over = |listed: &&Listed| listed.until.is_some_and(|until| until <= now);
        let (open, blocked) = (compiled.open.find(address), compiled.blocked.find(address));
        if open.iter().chain(&blocked).any(is_over) {
            // What lies around it counts again; to make the structure anew takes time, so it is not done for each.
            if self.may_drop_over(now) {
                self.drop_over(&mut self.book(), now);
            }
            let compiled = self.compiled.load();
            let holds = |listed: &&Listed| !is_over(listed);
            let open = compiled.open.find(address).filter(holds);
            return open.or_else(|| compiled.blocked.find(address).filter(holds)).copied();
        }
        open.or(blocked).copied()
    }

    /// The entry that counts for an address now, by a look at all of them: for who asks why.
    pub fn entry_for(&self, address: IpAddr, now: Moment) -> Option<Entry> {
        let book = self.book();
        let all = book.config.iter().chain(book.added.values());
        let holds = all.filter(|entry| entry.ends.is_none_or(|ends| ends > now));
        let around = holds.filter(|entry| entry.network.contains(&address.to_canonical()));
        around.max_by_key(|entry| (entry.list != List::Block, entry.network.prefix_len())).cloned()
    }

    /// Adds an entry; one for the same range in the same list is replaced and gives it its id. Returns it, and what
    /// it replaced.
    ///
    /// # Errors
    /// [`AddError`]; nothing changed.
    pub fn add(&self, new: NewEntry, now: Moment) -> Result<(Entry, Option<Entry>), AddError> {
        let mut book = self.book();
        let same = |entry: &Entry| entry.network == new.network && entry.list == new.list;
        let before = book.added.values().find(|entry| same(entry)).cloned();
        if before.is_none() && book.added.len() >= ENTRIES_MAX {
            return Err(AddError::Full);
        }
        let id = before.as_ref().map_or(book.last_id + 1, |entry| entry.id);
        book.last_id = book.last_id.max(id);
        let mut reason = new.reason;
        reason.truncate(
            (0..=REASON_BYTES_MAX.min(reason.len()))
                .rev()
                .find(|at| reason.is_char_boundary(*at))
                .unwrap_or(0),
        );
        let entry = Entry {
            id,
            network: new.network,
            list: new.list,
            origin: Origin::Operator,
            reason,
            since: new.since,
            until: new.secs.map(|secs| new.since.saturating_add(i64::try_from(secs).unwrap_or(i64::MAX))),
            ends: new.secs.map(|secs| now.after(Duration::from_secs(secs))),
        };
        book.added.insert(entry.id, entry.clone());
        self.compile(&book);
        Ok((entry, before))
    }

    /// Puts back what was kept. Of two for one range in one list the later counts; the others are returned.
    pub fn restore(&self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut book = self.book();
        let mut dropped = Vec::new();
        let place = |entry: &Entry| (entry.network, entry.list);
        let mut known: HashMap<_, u64> = book.added.values().map(|entry| (place(entry), entry.id)).collect();
        for entry in entries {
            book.last_id = book.last_id.max(entry.id);
            if let Some(before) = known.insert(place(&entry), entry.id).filter(|before| *before != entry.id) {
                dropped.extend(book.added.remove(&before));
            }
            book.added.insert(entry.id, entry);
        }
        self.compile(&book);
        dropped
    }

    /// Takes out what operators added for exactly this range.
    pub fn remove(&self, network: IpNet, list: List) -> Vec<Entry> {
        let mut book = self.book();
        let meant: Vec<u64> = book
            .added
            .values()
            .filter(|entry| entry.network == network && entry.list == list)
            .map(|entry| entry.id)
            .collect();
        let removed: Vec<Entry> = meant.iter().filter_map(|id| book.added.remove(id)).collect();
        if !removed.is_empty() {
            self.compile(&book);
        }
        removed
    }

    /// Takes out what is over; everything that went since the last call.
    pub fn expire(&self, now: Moment) -> Vec<Entry> {
        let mut book = self.book();
        self.drop_over(&mut book, now);
        std::mem::take(&mut book.over)
    }

    /// Whether the last time was long enough ago.
    fn may_drop_over(&self, now: Moment) -> bool {
        const EVERY_MICROS: u64 = 100_000;
        let last = self.dropped_at.load(Ordering::Relaxed);
        let is_time = now.as_micros() >= last.saturating_add(EVERY_MICROS) || last == 0;
        let now = now.as_micros().max(1);
        is_time && self.dropped_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn drop_over(&self, book: &mut Book, now: Moment) {
        let over: Vec<u64> = book
            .added
            .values()
            .filter(|entry| entry.ends.is_some_and(|ends| ends <= now))
            .map(|entry| entry.id)
            .collect();
        if over.is_empty() {
            return;
        }
        let removed: Vec<Entry> = over.iter().filter_map(|id| book.added.remove(id)).collect();
        book.over.extend(removed);
        self.compile(book);
    }

    /// Every entry: of the configuration, then as they were added.
    pub fn all(&self) -> Vec<Entry> {
        let book = self.book();
        book.config.iter().chain(book.added.values()).cloned().collect()
    }

    /// Blocked ranges, by whom.
    pub fn blocked_by(&self, origin: Origin) -> usize {
        let book = self.book();
        let all = book.config.iter().chain(book.added.values());
        all.filter(|entry| entry.list == List::Block && entry.origin == origin).count()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn compile(&self, book: &Book) {
        let listed = |entry: &Entry| {
            (entry.network, Listed { list: entry.list, origin: entry.origin, until: entry.ends })
        };
        let all = || book.config.iter().chain(book.added.values());
        let (open, blocked) =
            (|entry: &&Entry| entry.list != List::Block, |entry: &&Entry| entry.list == List::Block);
        self.compiled.store(
            Compiled {
                open: PrefixMap::new(all().filter(open).map(listed)),
                blocked: PrefixMap::new(all().filter(blocked).map(listed)),
            }
            .into(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: i64 = 1_800_000_000;

    fn new(network: &str, list: List, secs: Option<u64>) -> NewEntry {
        NewEntry { network: network.parse().unwrap(), list, reason: String::new(), since: EPOCH, secs }
    }

    #[test]
    fn entries_hold_until_their_time_and_allow_is_stronger() {
        let lists = Lists::default();
        lists.configure(&ListsSection {
            block: vec!["192.0.2.0/24".parse().unwrap()],
            allow: vec!["192.0.2.7/32".parse().unwrap()],
        });
        let find = |address: &str, secs: u64| {
            lists
                .find(address.parse().unwrap(), Moment::from_secs(secs))
                .map(|listed| (listed.list, listed.origin))
        };
        assert_eq!(find("192.0.2.1", 0), Some((List::Block, Origin::Config)));
        assert_eq!(find("192.0.2.7", 0), Some((List::Allow, Origin::Config)));
        assert_eq!(find("192.0.3.1", 0), None);
        let start = Moment::default();
        let (first, _) = lists.add(new("198.51.100.0/24", List::Block, None), start).unwrap();
        let (second, before) = lists.add(new("198.51.100.0/24", List::Block, Some(90)), start).unwrap();
        assert_eq!(
            (second.id, before, lists.all().len()),
            (first.id, Some(first), 3),
            "one place for one range"
        );
        lists.add(new("192.0.2.0/28", List::Exempt, Some(30)), start).unwrap();
        assert_eq!(find("192.0.2.1", 29), Some((List::Exempt, Origin::Operator)));
        assert_eq!(find("198.51.100.9", 89), Some((List::Block, Origin::Operator)));
        lists.add(new("198.51.0.0/16", List::Block, None), start).unwrap();
        assert_eq!(
            find("198.51.100.9", 90),
            Some((List::Block, Origin::Operator)),
            "the wider one counts at once"
        );
        assert_eq!(lists.remove("198.51.0.0/16".parse().unwrap(), List::Block).len(), 1);
        assert_eq!(find("198.51.100.9", 90), None);
        assert_eq!(find("192.0.2.1", 30), Some((List::Block, Origin::Config)));
        assert_eq!(lists.expire(Moment::from_secs(45)).len(), 2, "both went by themselves");
        assert_eq!(lists.expire(Moment::from_secs(45)), []);
        let kept = vec![Entry { id: 40, ..second }];
        assert_eq!(lists.restore(kept), []);
        assert_eq!(lists.add(new("203.0.113.1/32", List::Block, None), start).unwrap().0.id, 41);
    }

    #[test]
    fn a_reason_is_cut_at_a_character() {
        let lists = Lists::default();
        let entry = NewEntry { reason: "é".repeat(1000), ..new("192.0.2.1/32", List::Block, None) };
        assert_eq!(lists.add(entry, Moment::default()).unwrap().0.reason, "é".repeat(128));
    }
}
