// SPDX-License-Identifier: Apache-2.0
//! Where people are remembered, each kind in a table of its own: accounts can be made and challenges solved by machines,
//! and a table that is full forgets those who were seen least of late. So whoever came for the first time pushes out nobody
//! who has come back on another day, and whoever only solved a challenge nobody whom the site knows.

use std::sync::OnceLock;

use sunbeam_tables::{FixedTable, Moment};

use super::people::{EVERYBODY, PEOPLE, Person, SOLVERS};

/// As a [`Kind`] numbers them.
const PLACES: [usize; 4] = [PEOPLE, PEOPLE, SOLVERS, SOLVERS];

const _: () = assert!(PLACES[0] + PLACES[1] + PLACES[2] + PLACES[3] == EVERYBODY, "it bounds all of them");

/// What somebody is: the site knows them and they came back, it knows them, they solved a challenge and came back, they
/// solved one. The lower one has precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind(usize);

impl Kind {
    pub(super) fn of(person: &Person) -> Self {
        let person = person.with_said();
        Self(usize::from(!person.has_standing()) + 2 * usize::from(!person.is_known))
    }
}

/// A table of each kind, made when the first of the kind comes.
#[derive(Debug, Default)]
pub(super) struct Tables([OnceLock<FixedTable<Person>>; PLACES.len()]);

impl Tables {
    /// Works on somebody, which counts as use; whether they are of another kind since. `None`: nobody is there.
    pub(super) fn update(&self, key: u64, now: Moment, mut work: impl FnMut(&mut Person)) -> Option<bool> {
        self.made().find_map(|(kind, table)| {
            table.update(key, now, |person| {
                work(person);
                Kind::of(person) != kind
            })
        })
    }

    /// The same, which does not count as use.
    pub(super) fn change(&self, key: u64, mut work: impl FnMut(&mut Person)) -> Option<bool> {
        self.made().find_map(|(kind, table)| {
            table.change(key, |person| {
                work(person);
                Kind::of(person) != kind
            })
        })
    }

    pub(super) fn peek(&self, key: u64) -> Option<Person> {
        self.made().find_map(|(_, table)| table.peek(key))
    }

    /// Forgets somebody; who that was.
    pub(super) fn remove(&self, key: u64) -> Option<Person> {
        self.made().find_map(|(_, table)| table.remove(key))
    }

    /// Remembers somebody among their kind. They must not be there.
    pub(super) fn put(&self, person: Person, now: Moment) {
        let Kind(kind) = Kind::of(&person);
        let (Some(table), Some(places)) = (self.0.get(kind), PLACES.get(kind)) else { return };
        let table = table.get_or_init(|| FixedTable::of_places(*places));
        table.with(person.key, now, |place| *place = person);
    }

    /// Forgets whom `keep` does not want.
    pub(super) fn retain(&self, mut keep: impl FnMut(&Person) -> bool) {
        for (_, table) in self.made() {
            table.retain(&mut keep);
        }
    }

    pub(super) fn each(&self, mut visit: impl FnMut(&Person)) {
        for (_, table) in self.made() {
            table.each(&mut visit);
        }
    }

    /// Those that lost their place to another of their kind so far.
    pub(super) fn evicted(&self) -> u64 {
        self.made().map(|(_, table)| table.evicted()).sum()
    }

    /// Room that there is by now.
    #[cfg(test)]
    pub(super) fn made_places(&self) -> usize {
        self.made().map(|(_, table)| table.places()).sum()
    }

    fn made(&self) -> impl Iterator<Item = (Kind, &FixedTable<Person>)> {
        self.0.iter().enumerate().filter_map(|(kind, table)| Some((Kind(kind), table.get()?)))
    }
}
