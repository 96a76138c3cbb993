// SPDX-License-Identifier: Apache-2.0
//! Who of the people counts, and who of those was hurt. Accounts can be made and challenges solved by machines, so:
//!
//! - nobody counts, hurt or not, who has not come back on another day ([`Person::has_standing`]);
//! - whom *another* layer is certain about counts for nothing (the layer's own word is never evidence about it);
//! - of one address count [`OF_ADDRESS`] people, of one network [`OF_NETWORK`], those that were there first, and those whom
//!   the site knows before those who only solved a challenge;
//! - of one address one person can be hurt, of one network [`HURT_OF_NETWORK`]. Besides, somebody like them must have been
//!   left alone: with one fingerprint (JA4) one can be hurt for each [`HURT_OF_LOOK`] who count and were left alone with it
//!   for a day at least, so that it is a browser's and not that of a farm which was made for this; with another one, or
//!   where nobody knows it (plain HTTP, behind a trusted proxy), in one network as many as were left alone there. Whom an
//!   operator calls human needs nobody like them: he has looked. Others that are hurt count for nothing, also not as people
//!   who were left alone.

use std::collections::{HashMap, HashSet};

use sunbeam_traffic::Layer;

use super::people::{DAY_SECS, Person};
use super::standing::Count;

/// People of one address that count.
pub(super) const OF_ADDRESS: u32 = 4;
/// Of one network: an IPv4 /24, an IPv6 /48.
pub(super) const OF_NETWORK: u32 = 16;
/// People of one network that can be hurt.
const HURT_OF_NETWORK: u32 = 2;
/// For each so many who were left alone with a fingerprint one can be hurt.
const HURT_OF_LOOK: u32 = 20;

/// Whom the site knows, and who only solved a challenge. `people` in the order in which they were seen first.
pub(super) fn counted(layer: Layer, people: &[Person]) -> [Count; 2] {
    let mut of = Places::default();
    let (mut left_alone, mut hurt) = (LeftAlone::default(), HurtSoFar::default());
    [true, false].map(|is_known| {
        let is_meant = |person: &&Person| {
            person.is_known == is_known && person.has_standing() && person.certain.without(layer).is_empty()
        };
        let counted: Vec<&Person> = people.iter().filter(is_meant).filter(|person| of.take(person)).collect();
        counted.iter().for_each(|person| left_alone.note(layer, person));
        let mut count = Count::default();
        for person in counted {
            let is_hurt = person.doubted.has(layer);
            if !is_hurt || hurt.may(person, &left_alone) {
                count.people += 1;
                count.hurt += u64::from(is_hurt);
            }
        }
        count
    })
}

/// Those that count so far, by address and by network.
#[derive(Default)]
struct Places([HashMap<u64, u32>; 2]);

impl Places {
    /// Whether there is room for one more; both count, whatever the other says.
    fn take(&mut self, person: &Person) -> bool {
        let Self([addresses, networks]) = self;
        let may = |counted: &mut HashMap<u64, u32>, key: u64, most: u32| {
            let so_far = counted.entry(key).or_default();
            *so_far += 1;
            *so_far <= most
        };
        let is_first = may(addresses, person.address, OF_ADDRESS);
        may(networks, person.network, OF_NETWORK) && is_first
    }
}

/// Those that count and were left alone, by fingerprint and by network.
#[derive(Default)]
struct LeftAlone {
    looks: HashMap<u64, u32>,
    networks: HashMap<u64, u32>,
}

impl LeftAlone {
    fn note(&mut self, layer: Layer, person: &Person) {
        let had_a_day = person.doubted_secs.saturating_sub(person.since_secs) >= DAY_SECS;
        if person.fingerprint != 0 && (person.doubted_secs == 0 || had_a_day) {
            *self.looks.entry(person.fingerprint).or_default() += 1;
        }
        if !person.doubted.has(layer) {
            *self.networks.entry(person.network).or_default() += 1;
        }
    }
}

/// Those that were hurt and count so far.
#[derive(Default)]
struct HurtSoFar {
    addresses: HashSet<u64>,
    networks: HashMap<u64, u32>,
    looks: HashMap<u64, u32>,
}

impl HurtSoFar {
    /// Whether one more counts.
    fn may(&mut self, person: &Person, left_alone: &LeftAlone) -> bool {
        let of = |map: &HashMap<u64, u32>, key: u64| map.get(&key).copied().unwrap_or(0);
        let Person { address, network, fingerprint, .. } = *person;
        let of_network = of(&self.networks, network);
        let has_look = of(&self.looks, fingerprint) < of(&left_alone.looks, fingerprint) / HURT_OF_LOOK;
        let has_neighbours = of_network < of(&left_alone.networks, network);
        let is_like_others = has_look || has_neighbours || person.is_vouched_for();
        if of_network >= HURT_OF_NETWORK || !is_like_others || !self.addresses.insert(address) {
            return false;
        }
        *self.networks.entry(network).or_default() += 1;
        *self.looks.entry(fingerprint).or_default() += 1;
        true
    }
}
