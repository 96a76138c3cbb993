// SPDX-License-Identifier: Apache-2.0
//! People: identities that something other than a layer speaks for, and what layers thought of them.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use sunbeam_tables::Moment;
use sunbeam_traffic::Layer;

use super::Layers;
use super::places::{Entered, Held, Places, Rank, Taken};
use super::tables::{Kind, Tables};

/// As many are remembered of those whom the site knows and who have come back, and as many of those whom it knows since
/// today: 6 MiB each, and as much again for who has which place.
pub const PEOPLE: usize = 65_536;

/// Of those who solved a challenge, likewise: each kind needs 3,000 to say something.
pub(super) const SOLVERS: usize = 8_192;

/// Of all kinds.
pub(super) const EVERYBODY: usize = 2 * (PEOPLE + SOLVERS);

/// Whose browser loads parts of pages can be made to ask too often by the author of one: for so long after the last such
/// request nothing is made of how many they were. What counts requests looks at a minute.
const PAGE_MADE_SECS: u32 = 600;

/// Whoever came on so many days is a person; a day is 24 hours from when they came first. An identity that was made a
/// moment ago costs a machine nothing. This one costs it a log-in, an address that it still has a day later, and the day.
pub(super) const STANDING_DAYS: u16 = 2;

pub(super) const DAY_SECS: u32 = 86_400;

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
    /// When one was certain first; 0: never.
    pub(super) certain_secs: u32,
    /// When a page made their browser ask for something; 0: never since the start.
    pub(super) page_made_secs: u32,
    /// On how many days they came, and how often.
    pub(super) days: u16,
    pub(super) visits: u32,
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
    #[serde(default)]
    certain_age: Option<u64>,
    from: [u64; 3],
    known: bool,
    doubted: u8,
    certain: u8,
    /// What an operator said of them.
    #[serde(default)]
    said: u8,
    /// Days on which they came; what earlier versions wrote has none.
    #[serde(default)]
    days: u16,
    #[serde(default)]
    visits: u32,
}

impl KeptPerson {
    /// As it is after so many seconds more.
    #[must_use]
    pub fn older(mut self, secs: u64) -> Self {
        self.ages = self.ages.map(|age| age.saturating_add(secs));
        self.doubted_age = self.doubted_age.map(|age| age.saturating_add(secs));
        self.certain_age = self.certain_age.map(|age| age.saturating_add(secs));
        self
    }
}

impl Person {
    /// What was thought of them so long ago is over, however often they come: a mistake that was mended is not held against
    /// a layer for ever.
    fn age(&mut self, now: Moment) {
        let is_old = |at: u32| at != 0 && u64::from(secs(now).saturating_sub(at)) >= PERSON_SECS;
        if is_old(self.doubted_secs) {
            (self.doubted, self.doubted_secs) = (Layers::default(), 0);
            self.said.0 &= !Said::LAYERS;
        }
        if is_old(self.certain_secs) {
            (self.certain, self.certain_secs) = (Layers::default(), 0);
        }
    }

    /// Whether they have come back often enough to speak for or against a layer.
    pub(super) const fn has_standing(&self) -> bool {
        self.days >= STANDING_DAYS
    }

    /// Whether an operator called them human.
    pub(super) const fn is_vouched_for(&self) -> bool {
        self.said.is_human()
    }

    fn come(&mut self, now: Moment) {
        let now_secs = secs(now);
        let day = |at: u32| at.saturating_sub(self.since_secs) / DAY_SECS;
        let is_another_day = self.days == 0 || day(now_secs) > day(self.last_secs);
        self.days = self.days.saturating_add(u16::from(is_another_day));
        self.visits = self.visits.saturating_add(1);
        self.last_secs = now_secs;
    }

    /// With what an operator said of them: he knows them, and whom they were stopped by.
    pub(super) fn with_said(mut self) -> Self {
        if self.said.is_human() {
            (self.is_known, self.days) = (true, self.days.max(STANDING_DAYS));
        }
        self.doubted = self.doubted.and(self.said.layers());
        self
    }

    fn add(&mut self, doubted: Layers, certain: Layers, now: Moment) {
        self.age(now);
        let now_secs = secs(now);
        let is_asked_by_pages =
            self.page_made_secs != 0 && now_secs.saturating_sub(self.page_made_secs) < PAGE_MADE_SECS;
        let certain = if is_asked_by_pages { certain.without_counts() } else { certain };
        self.doubted = self.doubted.and(doubted);
        self.certain = self.certain.and(certain);
        if !doubted.is_empty() && self.doubted_secs == 0 {
            self.doubted_secs = now_secs;
        }
        if !certain.is_empty() && self.certain_secs == 0 {
            self.certain_secs = now_secs;
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct People {
    tables: Tables,
    places: Places,
    /// Those that lost their place to another of their address or network, or found none there.
    crowded_out: AtomicU64,
}

impl People {
    pub(super) fn note(&self, key: u64, seen: &Seen, now: Moment) {
        self.with(key, seen.from, now, |person| {
            person.come(now);
            person.is_known |= seen.is_known;
            person.said.0 &= !Said::ALONE;
            person.add(seen.doubted, seen.certain, now);
        });
    }

    /// An operator says that they are a person, whom this layer stopped or would have.
    pub(super) fn say_human(&self, whom: &Whom, layer: Option<Layer>, now: Moment) {
        let now_secs = secs(now);
        self.with(whom.key, whom.from, now, |person| {
            if person.last_secs == 0 {
                person.said.0 |= Said::ALONE;
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

    /// A page makes their browser ask for something: that says nothing of them, but how many requests they send.
    pub(super) fn note_page(&self, key: u64, now: Moment) {
        self.tables.change(key, |person| person.page_made_secs = secs(now));
    }

    /// An operator says that they attack: whatever was said of them before is taken back. Whom the site knows it knows as
    /// before.
    pub(super) fn say_attacker(&self, whom: &Whom, now: Moment) {
        let mut is_nobody = false;
        let moves = self.tables.change(whom.key, |person| {
            is_nobody = person.said.is_alone();
            person.said = Said::default();
            if person.doubted.is_empty() {
                person.doubted_secs = 0;
            }
        });
        if is_nobody {
            self.tables.remove(whom.key);
        } else if moves == Some(true) {
            self.settle(whom.key, now, &self.places.hold());
        }
    }

    /// Somebody, made new if there is nobody, with where they come from: who moves later does not become another.
    fn with(&self, key: u64, from: [u64; 3], now: Moment, work: impl FnOnce(&mut Person)) {
        let mut work = Some(work);
        if self.work_on(key, now, &mut work) == Some(true) {
            return self.settle(key, now, &self.places.hold());
        }
        if work.is_none() {
            return;
        }
        let mut held = self.places.hold();
        // Another thread may have been quicker, or was moving them just now.
        if self.work_on(key, now, &mut work) == Some(true) {
            self.settle(key, now, &held);
        }
        let Some(work) = work else { return };
        // 0 is nobody: time begins later.
        let [address, network, fingerprint] = from;
        let mut person =
            Person { key, since_secs: secs(now), address, network, fingerprint, ..Person::default() };
        work(&mut person);
        self.enter(person, now, &mut held);
    }

    /// Does the work if they are there; whether they are of another kind since.
    fn work_on(&self, key: u64, now: Moment, work: &mut Option<impl FnOnce(&mut Person)>) -> Option<bool> {
        self.tables.update(key, now, |person| {
            if !is_over(person, now)
                && let Some(work) = work.take()
            {
                work(person);
            }
        })
    }

    /// Finds a place for somebody new.
    fn enter(&self, person: Person, now: Moment, held: &mut Held) {
        if held.is_long() {
            let mut taken = Vec::new();
            self.tables.each(|person| taken.push(taken_by(person)));
            held.begin(taken.into_iter());
        }
        let (network, taken) = taken_by(&person);
        let seen = |key: u64| Some(rank(&self.tables.peek(key).filter(|person| person.network == network)?));
        match held.enter(network, taken, rank(&person), seen) {
            Entered::There => {}
            Entered::InPlaceOf(other) => {
                self.tables.remove(other);
                self.crowded_out.fetch_add(1, Ordering::Relaxed);
            }
            Entered::Nowhere => {
                self.crowded_out.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        // As they were a month ago.
        self.tables.remove(person.key);
        self.tables.put(person, now);
    }

    /// Moves somebody to their kind. As long as `_held` is held nobody is made new, who is on the way neither.
    fn settle(&self, key: u64, now: Moment, _held: &Held) {
        if let Some(person) = self.tables.remove(key) {
            self.tables.put(person, now);
        }
    }

    pub(super) fn add(&self, key: u64, doubted: Layers, certain: Layers, now: Moment) {
        self.tables.change(key, |person| person.add(doubted, certain, now));
    }

    /// Everybody who counts, with what an operator said of them; those first who were seen first.
    pub(super) fn all(&self, now: Moment) -> Vec<Person> {
        self.as_seen(now).into_iter().map(Person::with_said).collect()
    }

    fn as_seen(&self, now: Moment) -> Vec<Person> {
        let mut all = Vec::new();
        self.tables.each(|person| {
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
            certain_age: (person.certain_secs > 0).then(|| age(person.certain_secs)),
            days: person.days,
            visits: person.visits,
            from: [person.address, person.network, person.fingerprint],
            known: person.is_known,
            doubted: person.doubted.0,
            certain: person.certain.0,
        };
        self.as_seen(now).into_iter().map(kept).collect()
    }

    pub(super) fn restore(&self, people: &[KeptPerson], now: Moment) {
        for kept in people.iter().take(EVERYBODY).filter(|kept| kept.ages[1] < PERSON_SECS) {
            let at = |age: u64| secs(now).saturating_sub(u32::try_from(age).unwrap_or(u32::MAX)).max(1);
            let [address, network, fingerprint] = kept.from;
            let span = kept.ages[0].saturating_sub(kept.ages[1]);
            let least_days = 1 + u16::from(span >= DAY_SECS.into());
            self.with(kept.key, kept.from, now, |person| {
                *person = Person {
                    key: kept.key,
                    since_secs: at(kept.ages[0]),
                    last_secs: at(kept.ages[1]),
                    doubted_secs: kept.doubted_age.map_or(0, at),
                    certain_secs: match kept.certain {
                        0 => 0,
                        _ => at(kept.certain_age.unwrap_or(0)),
                    },
                    days: if kept.days == 0 { least_days } else { kept.days },
                    visits: kept.visits,
                    page_made_secs: 0,
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
        self.tables.evicted() + self.crowded_out.load(Ordering::Relaxed)
    }

    pub(super) fn sweep(&self, now: Moment) {
        let mut held = self.places.hold();
        let mut taken = Vec::new();
        self.tables.retain(|person| {
            let stays = !is_over(person, now);
            taken.extend(stays.then(|| taken_by(person)));
            stays
        });
        held.begin(taken.into_iter());
    }
}

/// How well somebody is known.
fn rank(person: &Person) -> Rank {
    (Reverse(Kind::of(person)), person.days, person.visits, person.last_secs)
}

fn taken_by(person: &Person) -> (u64, Taken) {
    (person.network, Taken { key: person.key, address: person.address })
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
        again.say_attacker(&whom(7), at(2));
        again.say_attacker(&whom(8), at(2));
        again.say_attacker(&whom(9), at(2));
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

    #[test]
    fn whoever_comes_back_a_day_later_has_standing() {
        let people = People::default();
        let seen = Seen { from: [1, 2, 3], is_known: true, ..Seen::default() };
        let day = u64::from(DAY_SECS);
        let at = |secs: u64| Moment::from_secs(500 + secs);
        let stands = |people: &People, secs: u64| {
            let all = people.all(at(secs));
            (all[0].days, all[0].has_standing())
        };
        for secs in [0, 1, day / 2, day - 1] {
            people.note(7, &seen, at(secs));
        }
        assert_eq!(stands(&people, day), (1, false), "however often on the first day");
        let again = People::default();
        again.restore(&people.kept(at(day)), at(day));
        for people in [&people, &again] {
            people.note(7, &seen, at(day));
            people.note(7, &seen, at(day + 1));
            assert_eq!(stands(people, day + 2), (2, true));
            people.note(7, &seen, at(9 * day));
            assert_eq!(stands(people, 9 * day), (3, true), "days on which they came");
        }
        // As an earlier version wrote it.
        let old = r#"[{"key":7,"ages":[90000,100],"doubted_age":null,"from":[1,2,3],"known":true,"doubted":0,"certain":2},
            {"key":8,"ages":[80000,100],"doubted_age":null,"from":[1,2,3],"known":true,"doubted":0,"certain":0}]"#;
        let old: Vec<KeptPerson> = serde_json::from_str(old).unwrap();
        let people = People::default();
        people.restore(&old, at(day));
        let days: Vec<u16> = people.all(at(day)).iter().map(|person| person.days).collect();
        assert_eq!(days, [2, 1]);
    }

    #[test]
    fn what_layers_were_certain_of_is_over_after_a_month_too() {
        let people = People::default();
        let seen = Seen { from: [1, 2, 3], is_known: true, ..Seen::default() };
        let at = |secs: u64| Moment::from_secs(100 + secs);
        people.note(7, &Seen { certain: Layers::of(Layer::RateLimit), ..seen }, at(0));
        for day in 1..40 {
            people.note(7, &seen, at(day * 86_400));
            let is_certain = people.all(at(day * 86_400))[0].certain.has(Layer::RateLimit);
            assert_eq!(is_certain, day < 30, "{day}");
            if day == 20 {
                // Over a restart, too.
                let kept = people.kept(at(day * 86_400));
                people.restore(&kept, at(day * 86_400));
            }
        }
    }

    #[test]
    fn whose_pages_ask_too_often_is_not_blamed_for_it() {
        let at = |secs: u64| Moment::from_secs(100 + secs);
        let counts = Layers::of(Layer::RateLimit).and(Layers::of(Layer::Ddos));
        let seen = Seen { from: [1, 2, 3], is_known: true, ..Seen::default() };
        let certain = |pages_at: Option<u64>, layers: Layers| {
            let people = People::default();
            people.note(7, &seen, at(0));
            if let Some(secs) = pages_at {
                people.note_page(7, at(secs));
            }
            people.note(7, &Seen { certain: layers, ..seen }, at(1_000));
            people.all(at(1_000))[0].certain
        };
        assert_eq!(certain(None, counts), counts, "a program that asks too often");
        assert_eq!(certain(Some(999), counts), Layers::default(), "a browser whose pages do");
        assert_eq!(certain(Some(100), counts), counts, "that was long ago");
        let attack = Layers::of(Layer::Waf);
        assert_eq!(certain(Some(999), attack.and(counts)), attack, "what it asks for is its own affair");
        let people = People::default();
        people.note_page(7, at(0));
        assert!(people.all(at(0)).is_empty(), "nobody becomes a person by that");
    }

    #[test]
    fn whoever_comes_for_the_first_time_pushes_out_nobody_who_came_back() {
        let people = People::default();
        let day = u64::from(DAY_SECS);
        let note = |key: u64, is_known: bool, secs: u64| {
            let seen = Seen { from: [key, key, 0], is_known, ..Seen::default() };
            people.note(mixed(key), &seen, Moment::from_secs(100 + secs));
        };
        for day_secs in [0, day] {
            (0..3_000).for_each(|key| note(key, true, day_secs));
            (10_000..11_000).for_each(|key| note(key, false, day_secs));
        }
        // Some who came today, and were not there for a while.
        (20_000..21_000).for_each(|key| note(key, true, day));
        let of = |people: &People, is_known: bool, stands: bool| {
            let all = people.all(Moment::from_secs(100 + day + 600));
            all.iter().filter(|one| (one.is_known, one.has_standing()) == (is_known, stands)).count()
        };
        // Twice as many as there are places, again and again: who solves challenges, then who makes accounts.
        let late = day + 600;
        for number in 0..2 * SOLVERS as u64 {
            (0..3).for_each(|_| note(1 << 20 | number, false, late));
        }
        assert_eq!(
            [of(&people, true, true), of(&people, true, false), of(&people, false, true)],
            [3_000, 1_000, 1_000]
        );
        assert!(of(&people, false, false) <= SOLVERS);
        for number in 0..2 * PEOPLE as u64 {
            (0..3).for_each(|_| note(1 << 30 | number, true, late));
        }
        assert_eq!([of(&people, true, true), of(&people, false, true)], [3_000, 1_000]);
        assert!(of(&people, true, false) <= PEOPLE);
        let now = Moment::from_secs(100 + late);
        let kept = people.kept(now);
        assert!(kept.len() <= EVERYBODY && people.evicted() > 0);
        // The same after a restart, in whatever order they come back.
        let again = People::default();
        again.restore(&kept, now);
        assert_eq!([of(&again, true, true), of(&again, false, true)], [3_000, 1_000]);
    }

    #[test]
    fn nobody_who_came_back_goes_for_a_newcomer_of_their_network() {
        let people = People::default();
        let note = |key: u64, is_known: bool, secs: u64| {
            let seen = Seen { from: [key / 16, 9, 0], is_known, ..Seen::default() };
            people.note(mixed(key), &seen, Moment::from_secs(100 + secs));
        };
        let there = |stands: bool| {
            let all = people.all(Moment::from_secs(200_000));
            all.iter().filter(|one| one.has_standing() == stands).count()
        };
        for secs in [0, 86_400] {
            (0..64).for_each(|key| note(key, true, secs));
        }
        (1_000..2_000).for_each(|key| note(key, true, 86_500));
        assert_eq!((there(true), there(false), people.evicted()), (64, 0, 1_000));
        // Nor for another address that has no place yet; and one who goes makes room.
        people.tables.remove(mixed(7));
        (2_000..2_010).for_each(|key| note(key, false, 86_500));
        (3_000..3_010).for_each(|key| note(key, true, 86_500));
        assert_eq!((there(true), there(false)), (63, 1));
        assert!(people.all(Moment::from_secs(200_000)).iter().all(|one| one.is_known));
    }

    #[test]
    fn whoever_becomes_somebody_else_is_remembered_once() {
        let people = People::default();
        let at = |secs: u64| Moment::from_secs(100 + secs);
        let whom = Whom { key: 7, from: [1, 2, 3] };
        let seen = |is_known| Seen { from: whom.from, is_known, ..Seen::default() };
        people.note(7, &seen(false), at(0));
        people.note(7, &seen(true), at(10));
        people.say_human(&whom, Some(Layer::Waf), at(20));
        people.say_attacker(&whom, at(30));
        people.note(7, &seen(false), at(u64::from(DAY_SECS)));
        let all = people.as_seen(at(u64::from(DAY_SECS)));
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!((all[0].days, all[0].visits, all[0].is_known), (2, 3, true));
        assert_eq!(people.evicted(), 0);
        let first = people.tables.made_places();
        assert_eq!(first, 2 * PEOPLE + SOLVERS, "no table of those who never came");
    }

    #[test]
    fn threads_make_one_person_of_whoever_comes_at_once() {
        let people = People::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..2_000_u64 {
                        let at = if round < 1_000 { 0 } else { u64::from(DAY_SECS) };
                        let seen =
                            Seen { from: [1, round % 7, 0], is_known: round % 3 == 0, ..Seen::default() };
                        people.note(mixed(round % 7), &seen, Moment::from_secs(100 + at));
                    }
                });
            }
        });
        let all = people.all(Moment::from_secs(100 + u64::from(DAY_SECS)));
        assert_eq!(all.len(), 7);
        assert_eq!(all.iter().map(|person| person.visits).sum::<u32>(), 8_000, "no change is lost");
    }

    #[test]
    fn an_address_and_a_network_have_so_many_places_and_push_out_nobody_else() {
        let people = People::default();
        let note = |key: u64, address: u64, network: u64, secs: u64| {
            let seen = Seen { from: [address, network, 0], is_known: true, ..Seen::default() };
            people.note(mixed(key), &seen, Moment::from_secs(secs));
        };
        // A site's people, some of whom share an address, on two days.
        for day in 0..2 {
            (0..3_000).for_each(|number| note(number, number, number, 100 + day * 86_400));
            (0..10).for_each(|number| note(10_000 + number, 9_999, 9_999, 100 + day * 86_400));
        }
        let late = 200_000;
        // Sessions without end of that address, and of four hundred more in one network.
        (0..20_000).for_each(|number| note(100_000 + number, 9_999, 9_999, late));
        (0..20_000).for_each(|number| note(200_000 + number, 50_000 + number % 400, 8_888, late));
        let all = people.all(Moment::from_secs(late));
        let of = |want: fn(&Person) -> bool| all.iter().filter(|person| want(person)).count();
        assert_eq!(of(|person| person.network < 3_000), 3_000, "nobody else loses a place");
        assert_eq!(of(|person| person.address == 9_999), 16);
        assert_eq!(of(|person| person.address == 9_999 && person.has_standing()), 10, "who comes back stays");
        assert_eq!(of(|person| person.network == 8_888), 64);
        assert_eq!(people.evicted(), 40_000 - 6 - 64);
        // The same from a file that somebody made larger before there were such bounds.
        let again = People::default();
        let mut kept = people.kept(Moment::from_secs(late));
        let one = kept.iter().find(|kept| kept.from[0] == 9_999).unwrap().clone();
        kept.splice(
            0..0,
            (0..20_000).map(|number| KeptPerson { key: mixed(1 << 40 | number), ..one.clone() }),
        );
        again.restore(&kept, Moment::from_secs(late));
        let all = again.all(Moment::from_secs(late));
        assert_eq!(all.iter().filter(|person| person.network < 3_000).count(), 3_000);
        // Whoever was gone for long leaves room.
        people.sweep(Moment::from_secs(late + PERSON_SECS));
        assert_eq!(people.all(Moment::from_secs(late + PERSON_SECS)).len(), 0);
    }

    /// As hashes are.
    fn mixed(number: u64) -> u64 {
        let number = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (number ^ number >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ number >> 32
    }
}
