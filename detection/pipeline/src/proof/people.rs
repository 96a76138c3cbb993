// SPDX-License-Identifier: Apache-2.0
//! People: identities that something other than a layer speaks for, and what layers thought of them.

use serde::{Deserialize, Serialize};
use sunbeam_tables::{FixedTable, Moment};
use sunbeam_traffic::Layer;

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

/// Somebody whose request was kept, by hashes: for whoever says later what that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whom {
    pub(crate) key: u64,
    /// Keys of address, network and fingerprint.
    pub(crate) from: [u64; 3],
}

impl Whom {
    /// As it is written down; [`Whom::of_numbers`] reads it.
    pub const fn to_numbers(self) -> [u64; 4] {
        let [address, network, fingerprint] = self.from;
        [self.key, address, network, fingerprint]
    }

    /// What was written down.
    pub const fn of_numbers([key, address, network, fingerprint]: [u64; 4]) -> Self {
        Self { key, from: [address, network, fingerprint] }
    }
}

/// What an operator said of somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said(u8);

impl Said {
    /// They are a person.
    const HUMAN: u8 = 1 << 7;
    /// Nobody else says so.
    const ALONE: u8 = 1 << 6;
    /// Whom these layers stopped, or would have.
    const LAYERS: u8 = Self::ALONE - 1;

    const fn is_human(self) -> bool {
        self.0 & Self::HUMAN != 0
    }

    const fn is_alone(self) -> bool {
        self.0 & Self::ALONE != 0
    }

    const fn layers(self) -> Layers {
        Layers(self.0 & Self::LAYERS)
    }
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
    pub(super) said: Said,
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
    /// What an operator said of them.
    #[serde(default)]
    said: u8,
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
            self.said.0 &= !Said::LAYERS;
        }
    }

    /// With what an operator said of them: he knows them, and whom they were stopped by.
    fn with_said(mut self) -> Self {
        self.is_known |= self.said.is_human();
        self.doubted = self.doubted.and(self.said.layers());
        self
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
            person.said.0 &= !Said::ALONE;
            person.add(seen.doubted, seen.certain, now);
        });
    }

    /// An operator says that they are a person, whom this layer stopped or would have.
    pub(super) fn say_human(&self, whom: &Whom, layer: Option<Layer>, now: Moment) {
        let now_secs = secs(now);
        self.table.with(whom.key, now, |person| {
            if person.last_secs == 0 || is_over(person, now) {
                let [address, network, fingerprint] = whom.from;
                let said = Said(Said::ALONE);
                let new = Person { key: whom.key, since_secs: now_secs, ..Person::default() };
                *person = Person { address, network, fingerprint, said, ..new };
            }
            person.last_secs = now_secs;
            person.age(now);
            person.said.0 |= Said::HUMAN;
            if let Some(layer) = layer {
                person.said.0 |= Layers::of(layer).0 & Said::LAYERS;
                person.doubted_secs = if person.doubted_secs == 0 { now_secs } else { person.doubted_secs };
            }
        });
    }

    /// An operator says that they attack: whatever was said of them before is taken back. Whom the site knows it knows as
    /// before.
    pub(super) fn say_attacker(&self, whom: &Whom) {
        let is_nobody = self.table.change(whom.key, |person| {
            let is_alone = person.said.is_alone();
            person.said = Said::default();
            if person.doubted.is_empty() {
                person.doubted_secs = 0;
            }
            is_alone
        });
        if is_nobody == Some(true) {
            self.table.remove(whom.key);
        }
    }

    pub(super) fn add(&self, key: u64, doubted: Layers, certain: Layers, now: Moment) {
        self.table.change(key, |person| person.add(doubted, certain, now));
    }

    /// Everybody who counts, with what an operator said of them; those first who were seen first.
    pub(super) fn all(&self, now: Moment) -> Vec<Person> {
        self.as_seen(now).into_iter().map(Person::with_said).collect()
    }

    fn as_seen(&self, now: Moment) -> Vec<Person> {
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
            said: person.said.0,
            key: person.key,
            ages: [age(person.since_secs), age(person.last_secs)],
            doubted_age: (person.doubted_secs > 0).then(|| age(person.doubted_secs)),
            from: [person.address, person.network, person.fingerprint],
            known: person.is_known,
            doubted: person.doubted.0,
            certain: person.certain.0,
        };
        self.as_seen(now).into_iter().map(kept).collect()
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
                    said: Said(kept.said),
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
    #[test]
    fn an_operators_word_counts_lives_on_and_can_be_taken_back() {
        let people = People::default();
        let at = |secs| Moment::from_secs(secs);
        let whom = |key| Whom { key, from: [key, 2, 3] };
        // Nobody else speaks for the one; the site knows the other.
        people.note(8, &Seen { from: [8, 2, 3], is_known: true, ..Seen::default() }, at(100));
        for key in [7, 8] {
            people.say_human(&whom(key), Some(Layer::Waf), at(100));
            people.say_human(&whom(key), Some(Layer::Scanner), at(101));
        }
        let kept: Vec<KeptPerson> =
            serde_json::from_str(&serde_json::to_string(&people.kept(at(102))).unwrap()).unwrap();
        let again = People::default();
        again.restore(&kept, at(1));
        for (name, people, now) in [("at once", &people, at(102)), ("after a restart", &again, at(2))] {
            let all = people.all(now);
            assert_eq!(all.len(), 2, "{name}");
            for person in &all {
                assert!(person.is_known && person.doubted.has(Layer::Waf), "{name}: {person:?}");
                assert!(person.doubted.has(Layer::Scanner) && !person.doubted.has(Layer::Ddos), "{name}");
            }
        }
        again.say_attacker(&whom(7));
        again.say_attacker(&whom(8));
        again.say_attacker(&whom(9));
        let all = again.all(at(3));
        assert_eq!(all.iter().map(|person| person.key).collect::<Vec<_>>(), [8], "whom the site knows stays");
        assert!(all[0].is_known && all[0].doubted.is_empty() && all[0].doubted_secs == 0);
        // What they were stopped for is over after a month, as every doubt.
        again.note(8, &Seen::default(), at(PERSON_SECS));
        again.say_human(&whom(8), Some(Layer::Waf), at(PERSON_SECS));
        again.note(8, &Seen::default(), at(2 * PERSON_SECS - 10));
        assert!(again.all(at(2 * PERSON_SECS - 1))[0].doubted.has(Layer::Waf));
        assert!(again.all(at(2 * PERSON_SECS))[0].doubted.is_empty());
    }
}
