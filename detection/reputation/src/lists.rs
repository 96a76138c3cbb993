// SPDX-License-Identifier: Apache-2.0
//! Block and allow lists: what the configuration says, and what operators add while the node runs.
//!
//! Look-ups read one immutable structure; every change makes a new one and swaps it in whole.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// Until when, in seconds since 1970; `None`: until somebody removes it.
    pub until: Option<i64>,
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
    /// Seconds since 1970.
    pub until: Option<i64>,
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
}

/// See the module.
#[derive(Debug)]
pub struct Lists {
    book: Mutex<Book>,
    compiled: ArcSwap<Compiled>,
    /// What the wall clock shows when the monotonic one is at zero, in seconds since 1970.
    epoch: i64,
}

impl Lists {
    /// Empty. `epoch` is what the wall clock shows at moment zero: ends of entries are kept in wall time and
    /// held in monotonic time, so that a clock that is set while the node runs changes none.
    pub fn new(epoch: i64) -> Self {
        Self { book: Mutex::default(), compiled: ArcSwap::default(), epoch }
    }

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
        let holds = |listed: &&Listed| listed.until.is_none_or(|until| until > now);
        let open = compiled.open.find(address).filter(holds);
        open.or_else(|| compiled.blocked.find(address).filter(holds)).copied()
    }

    /// Adds an entry; one for the same range in the same list is replaced.
    ///
    /// # Errors
    /// [`AddError`]; nothing changed.
    pub fn add(&self, new: NewEntry) -> Result<Entry, AddError> {
        let mut book = self.book();
        let same = |entry: &Entry| entry.network == new.network && entry.list == new.list;
        let replaced = book.added.values().find(|entry| same(entry)).map(|entry| entry.id);
        if replaced.is_none() && book.added.len() >= ENTRIES_MAX {
            return Err(AddError::Full);
        }
        if let Some(id) = replaced {
            book.added.remove(&id);
        }
        book.last_id += 1;
        let mut reason = new.reason;
        reason.truncate(
            (0..=REASON_BYTES_MAX.min(reason.len()))
                .rev()
                .find(|at| reason.is_char_boundary(*at))
                .unwrap_or(0),
        );
        let entry = Entry {
            id: book.last_id,
            network: new.network,
            list: new.list,
            origin: Origin::Operator,
            reason,
            since: new.since,
            until: new.until,
        };
        book.added.insert(entry.id, entry.clone());
        self.compile(&book);
        Ok(entry)
    }

    /// Puts back what was kept.
    pub fn restore(&self, entries: Vec<Entry>) {
        let mut book = self.book();
        for entry in entries {
            book.last_id = book.last_id.max(entry.id);
            book.added.insert(entry.id, entry);
        }
        self.compile(&book);
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

    /// Takes out what is over at `now` (seconds since 1970).
    pub fn expire(&self, now: Moment) -> Vec<Entry> {
        let now = self.epoch.saturating_add(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        let mut book = self.book();
        let over: Vec<u64> = book
            .added
            .values()
            .filter(|entry| entry.until.is_some_and(|until| until <= now))
            .map(|entry| entry.id)
            .collect();
        let removed: Vec<Entry> = over.iter().filter_map(|id| book.added.remove(id)).collect();
        if !removed.is_empty() {
            self.compile(&book);
        }
        removed
    }

    /// Every entry: of the configuration, then as they were added.
    pub fn all(&self) -> Vec<Entry> {
        let book = self.book();
        book.config.iter().chain(book.added.values()).cloned().collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn compile(&self, book: &Book) {
        let until = |entry: &Entry| {
            let left = entry.until?.saturating_sub(self.epoch);
            Some(Moment::from_secs(u64::try_from(left).unwrap_or(0)))
        };
        let listed = |entry: &Entry| {
            (entry.network, Listed { list: entry.list, origin: entry.origin, until: until(entry) })
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

    fn new(network: &str, list: List, secs: Option<i64>) -> NewEntry {
        NewEntry {
            network: network.parse().unwrap(),
            list,
            reason: String::new(),
            since: EPOCH,
            until: secs.map(|secs| EPOCH + secs),
        }
    }

    #[test]
    fn entries_hold_until_their_time_and_allow_is_stronger() {
        let lists = Lists::new(EPOCH);
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
        let first = lists.add(new("198.51.100.0/24", List::Block, Some(60))).unwrap();
        let second = lists.add(new("198.51.100.0/24", List::Block, Some(90))).unwrap();
        assert!(second.id > first.id && lists.all().len() == 3, "replaced");
        lists.add(new("192.0.2.0/28", List::Exempt, Some(30))).unwrap();
        assert_eq!(find("198.51.100.9", 89), Some((List::Block, Origin::Operator)));
        assert_eq!(find("198.51.100.9", 90), None, "over, even before anybody cleans up");
        assert_eq!(find("192.0.2.1", 29), Some((List::Exempt, Origin::Operator)));
        assert_eq!(find("192.0.2.1", 30), Some((List::Block, Origin::Config)));
        assert_eq!(lists.expire(Moment::from_secs(45)).len(), 1);
        assert_eq!(lists.remove("198.51.100.0/24".parse().unwrap(), List::Block).len(), 1);
        assert_eq!(find("198.51.100.9", 0), None);
        let kept = vec![Entry { id: 40, ..second }];
        lists.restore(kept);
        assert_eq!(lists.add(new("203.0.113.1/32", List::Block, None)).unwrap().id, 41);
    }

    #[test]
    fn a_reason_is_cut_at_a_character() {
        let lists = Lists::new(EPOCH);
        let entry = NewEntry { reason: "é".repeat(1000), ..new("192.0.2.1/32", List::Block, None) };
        assert_eq!(lists.add(entry).unwrap().reason, "é".repeat(128));
    }
}
