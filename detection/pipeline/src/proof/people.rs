// SPDX-License-Identifier: Apache-2.0
//! People: identities that something other than a layer speaks for, and what layers thought of them.

use serde::{Deserialize, Serialize};
use sunbeam_tables::{FixedTable, Moment};

use super::Layers;

/// As many are remembered: 4 MiB.
pub const PEOPLE: usize = 65_536;

/// For so long after they were seen last.
pub(super) const PERSON_SECS: u64 = 30 * 86_400;

/// What was seen of somebody in one request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Keys of address, network and fingerprint.
    pub(crate) from: [u64; 3],
    /// The site or an operator knows them; else they only solved a challenge.
    pub(crate) is_known: bool,
    /// Layers that doubted,
    pub(crate) doubted: Layers,
    /// and that were certain.
    pub(crate) certain: Layers,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Person {
    pub(super) key: u64,
    pub(super) since_secs: u32,
    pub(super) last_secs: u32,
    /// When a layer doubted them first; 0: never.
    pub(super) doubted_secs: u32,
    pub(super) address: u64,
    pub(super) network: u64,
    pub(super) fingerprint: u64,
    pub(super) is_known: bool,
    pub(super) doubted: Layers,
    pub(super) certain: Layers,
}

/// One person as it is written down. Keys are hashes: nobody is named by them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPerson {
    key: u64,
    /// Seconds since they were seen first and last, and doubted first.
    ages: [u64; 2],
    doubted_age: Option<u64>,
    from: [u64; 3],
    known: bool,
    doubted: u8,
    certain: u8,
}

impl KeptPerson {
    /// As it is after so many seconds more.
    #[must_use]
    pub fn older(mut self, secs: u64) -> Self {
        self.ages = self.ages.map(|age| age.saturating_add(secs));
        self.doubted_age = self.doubted_age.map(|age| age.saturating_add(secs));
        self
    }
}

impl Person {
    /// What was thought of them so long ago is over, however often they come: a mistake that was mended is not held against
    /// a layer for ever.
    fn age(&mut self, now: Moment) {
        let age = u64::from(secs(now).saturating_sub(self.doubted_secs));
        if self.doubted_secs != 0 && age >= PERSON_SECS {
            (self.doubted, self.certain, self.doubted_secs) = (Layers::default(), Layers::default(), 0);
        }
    }

    fn add(&mut self, doubted: Layers, certain: Layers, now: Moment) {
        self.age(now);
        let now_secs = secs(now);
        self.doubted = self.doubted.and(doubted);
        self.certain = self.certain.and(certain);
        if !doubted.is_empty() && self.doubted_secs == 0 {
            self.doubted_secs = now_secs;
        }
    }
}

#[derive(Debug)]
pub(super) struct People {
    table: FixedTable<Person>,
}

impl Default for People {
    fn default() -> Self {
        Self { table: FixedTable::of_places(PEOPLE) }
    }
}

impl People {
    pub(super) fn note(&self, key: u64, seen: &Seen, now: Moment) {
        let now_secs = secs(now);
        self.table.with(key, now, |person| {
            // 0 is nobody: time begins later.
            if person.last_secs == 0 || is_over(person, now) {
                *person = Person { key, since_secs: now_secs, ..Person::default() };
            }
            person.last_secs = now_secs;
            // Where they came from first: who moves does not become another.
            if person.address == 0 {
                [person.address, person.network, person.fingerprint] = seen.from;
            }
            person.is_known |= seen.is_known;
            person.add(seen.doubted, seen.certain, now);
        });
    }

    pub(super) fn add(&self, key: u64, doubted: Layers, certain: Layers, now: Moment) {
        self.table.change(key, |person| person.add(doubted, certain, now));
    }

    /// Everybody who counts, those first who were seen first.
    pub(super) fn all(&self, now: Moment) -> Vec<Person> {
        let mut all = Vec::new();
        self.table.each(|person| {
            if !is_over(person, now) {
                let mut person = *person;
                person.age(now);
                all.push(person);
            }
        });
        all.sort_unstable_by_key(|person| (person.since_secs, person.key));
        all
    }

    pub(super) fn kept(&self, now: Moment) -> Vec<KeptPerson> {
        let age = |at: u32| u64::from(secs(now).saturating_sub(at));
        let kept = |person: Person| KeptPerson {
            key: person.key,
            ages: [age(person.since_secs), age(person.last_secs)],
            doubted_age: (person.doubted_secs > 0).then(|| age(person.doubted_secs)),
            from: [person.address, person.network, person.fingerprint],
            known: person.is_known,
            doubted: person.doubted.0,
            certain: person.certain.0,
        };
        self.all(now).into_iter().map(kept).collect()
    }

    pub(super) fn restore(&self, people: &[KeptPerson], now: Moment) {
        for kept in people.iter().take(PEOPLE).filter(|kept| kept.ages[1] < PERSON_SECS) {
            let at = |age: u64| secs(now).saturating_sub(u32::try_from(age).unwrap_or(u32::MAX)).max(1);
            self.table.with(kept.key, now, |person| {
                let [address, network, fingerprint] = kept.from;
                *person = Person {
                    key: kept.key,
                    since_secs: at(kept.ages[0]),
                    last_secs: at(kept.ages[1]),
                    doubted_secs: kept.doubted_age.map_or(0, at),
                    address,
                    network,
                    fingerprint,
                    is_known: kept.known,
                    doubted: Layers(kept.doubted),
                    certain: Layers(kept.certain),
                };
            });
        }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.table.evicted()
    }

    pub(super) fn sweep(&self, now: Moment) {
        self.table.retain(|person| !is_over(person, now));
    }
}

/// The node's time begins with its start; this one begins before whatever is remembered of an earlier one.
fn secs(now: Moment) -> u32 {
    u32::try_from(now.as_secs().saturating_add(PERSON_SECS)).unwrap_or(u32::MAX)
}

fn is_over(person: &Person, now: Moment) -> bool {
    u64::from(secs(now).saturating_sub(person.last_secs)) >= PERSON_SECS
}

#[cfg(test)]
mod tests {
    use sunbeam_traffic::Layer;

    use super::*;

    #[test]
    fn people_are_remembered_once_over_a_restart_and_for_a_month() {
        let people = People::default();
        let at = |secs| Moment::from_secs(secs);
        let seen = Seen { from: [1, 2, 3], is_known: true, ..Seen::default() };
        people.note(7, &seen, at(100));
        people.note(7, &seen, at(200));
        people.add(7, Layers::of(Layer::Waf), Layers::default(), at(250));
        people.add(8, Layers::of(Layer::Waf), Layers::default(), at(250));
        let all = people.all(at(300));
        assert_eq!(all.len(), 1);
        assert!(all[0].doubted.has(Layer::Waf) && !all[0].doubted.has(Layer::Scanner));

        let kept = people.kept(at(300));
        assert_eq!((kept[0].ages, kept[0].doubted_age), ([200, 100], Some(50)));
        let text = serde_json::to_string(&kept).unwrap();
        let kept: Vec<KeptPerson> = serde_json::from_str(&text).unwrap();
        let again = People::default();
        again.restore(&kept, at(1));
        assert_eq!(again.all(at(2)).len(), 1);
        assert!(again.all(at(2))[0].doubted.has(Layer::Waf));
        let old: Vec<KeptPerson> = kept.into_iter().map(|kept| kept.older(PERSON_SECS)).collect();
        again.restore(&old, at(1));
        assert_eq!(again.kept(at(2))[0].ages, [201, 101], "what is too old is not taken back");

        // Whoever comes every day is not held against a layer for ever.
        people.note(7, &seen, at(1_000));
        people.note(7, &seen, at(240 + PERSON_SECS));
        assert!(people.all(at(249 + PERSON_SECS))[0].doubted.has(Layer::Waf));
        assert!(people.all(at(250 + PERSON_SECS))[0].doubted.is_empty());
        let late = 240 + PERSON_SECS;
        assert_eq!(people.all(at(late + PERSON_SECS)).len(), 0);
        people.sweep(at(late + PERSON_SECS));
        people.note(7, &Seen { from: [1, 2, 3], ..Seen::default() }, at(late + PERSON_SECS + 1));
        assert!(!people.all(at(late + PERSON_SECS + 2))[0].is_known, "whoever comes back begins anew");
    }
}
