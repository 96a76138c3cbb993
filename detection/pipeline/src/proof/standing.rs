// SPDX-License-Identifier: Apache-2.0
//! What people say of a layer.
//!
//! The rate is people whom the layer doubted, of all people; a bound is Clopper and Pearson's (1934), at 95 %. Accounts can
//! be made and challenges solved by machines, so:
//!
//! - whom *another* layer is certain about counts for nothing (the layer's own word is never evidence about it);
//! - of one address count [`OF_ADDRESS`] people, of one network [`OF_NETWORK`], those that were there first;
//! - of one address one person can be hurt, of one network [`HURT_OF_NETWORK`], and with one fingerprint (JA4) one, or
//!   one for each [`HURT_OF_LOOK`] who were left alone with it for a day at least: that is a browser's, and not that of a
//!   farm which was made for this. Others that are hurt count for nothing, also not as people who were left alone;
//! - who only solved a challenge can help to prove a layer, and never undo what those prove whom the site knows; nor prove
//!   what these speak against.

use std::collections::HashMap;

use sunbeam_ensemble::upper_bound;
use sunbeam_traffic::Layer;

use super::people::Person;

/// People of one address that count.
const OF_ADDRESS: u32 = 4;
/// Of one network: an IPv4 /24, an IPv6 /48.
const OF_NETWORK: u32 = 16;
/// People of one network that can be hurt.
const HURT_OF_NETWORK: u32 = 2;
/// For each so many who were left alone with a fingerprint one can be hurt.
const HURT_OF_LOOK: u32 = 20;
const DAY_SECS: u32 = 86_400;

/// Why a layer does or does not act on what it doubts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The upper bound is within the budget.
    Proven,
    /// Too few people were seen to say so.
    TooFew,
    /// Too many of them were hurt.
    OverBudget,
}

impl Why {
    /// `too_few`
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::TooFew => "too_few_people",
            Self::OverBudget => "over_budget",
        }
    }
}

/// People, and those of them whom the layer doubted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All.
    pub people: u64,
    /// Whom it would have stopped.
    pub hurt: u64,
}

impl Count {
    const fn and(self, other: Self) -> Self {
        Self { people: self.people + other.people, hurt: self.hurt + other.hurt }
    }

    fn upper(self) -> f64 {
        upper_bound(self.hurt, self.people)
    }

    fn lower(self) -> f64 {
        if self.people == 0 { 0.0 } else { 1.0 - upper_bound(self.people - self.hurt, self.people) }
    }
}

/// How a layer stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Which.
    pub layer: Layer,
    /// People whom the site or an operator knows.
    pub known: Count,
    /// Those who only solved a challenge.
    pub solvers: Count,
    /// Of those that decided: the share that was hurt, no less than, seen, no more than.
    pub rate: [f64; 3],
    /// What may be.
    pub budget: f64,
    /// What follows.
    pub why: Why,
}

impl Standing {
    /// Whether its doubts may be acted on.
    pub fn is_proven(&self) -> bool {
        self.why == Why::Proven
    }

    /// All that count, and those of them that were hurt.
    pub const fn people_and_hurt(&self) -> (u64, u64) {
        let Count { people, hurt } = self.known.and(self.solvers);
        (people, hurt)
    }

    /// So many people more, none of them hurt, and it is proven; 0 where it is.
    pub fn people_missing(&self) -> u64 {
        if self.is_proven() {
            return 0;
        }
        let all = self.known.and(self.solvers);
        let enough = |more: u64| upper_bound(all.hurt, all.people + more) <= self.budget;
        // Found by doubling, then by halves.
        let mut high = 1_u64;
        while !enough(high) && high < u64::from(u32::MAX) {
            high *= 2;
        }
        let mut low = high / 2;
        while high - low > 1 {
            let middle = low.midpoint(high);
            if enough(middle) { high = middle } else { low = middle }
        }
        high
    }
}

/// See the module. `people` in the order in which they were seen first.
pub(super) fn standing(layer: Layer, people: &[Person], budget: f64) -> Standing {
    let [known, solvers] = counted(layer, people);
    let all = known.and(solvers);
    let decides = if known.upper() <= budget || known.lower() > budget { known } else { all };
    let why = if decides.upper() <= budget {
        Why::Proven
    } else if decides.lower() > budget || hurt_too_many(decides, budget) {
        Why::OverBudget
    } else {
        Why::TooFew
    };
    let seen = if decides.people == 0 { 0.0 } else { ratio(decides) };
    Standing { layer, known, solvers, rate: [decides.lower(), seen, decides.upper()], budget, why }
}

/// With as many people, and none hurt, it would be proven.
fn hurt_too_many(count: Count, budget: f64) -> bool {
    count.hurt > 0 && upper_bound(0, count.people) <= budget
}

fn ratio(count: Count) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "no more than there are places for")]
    let ratio = count.hurt as f64 / count.people as f64;
    ratio
}

fn counted(layer: Layer, people: &[Person]) -> [Count; 2] {
    let mut by_look: HashMap<u64, u32> = HashMap::new();
    for person in people {
        let was_left_alone =
            person.doubted_secs == 0 || person.doubted_secs.saturating_sub(person.since_secs) >= DAY_SECS;
        *by_look.entry(person.fingerprint).or_default() += u32::from(was_left_alone);
    }
    let mut of: [HashMap<u64, u32>; 2] = Default::default();
    let mut hurt_of: [HashMap<u64, u32>; 3] = Default::default();
    let mut counts = [Count::default(); 2];
    let may = |counted: &mut HashMap<u64, u32>, key: u64, most: u32| {
        let so_far = counted.entry(key).or_default();
        *so_far += 1;
        *so_far <= most
    };
    for person in people {
        if !person.certain.without(layer).is_empty() {
            continue;
        }
        let [addresses, networks] = &mut of;
        // Both count, whatever the other says.
        let is_first_of_address = may(addresses, person.address, OF_ADDRESS);
        if !(may(networks, person.network, OF_NETWORK) && is_first_of_address) {
            continue;
        }
        let is_hurt = person.doubted.has(layer);
        if is_hurt {
            let [addresses, networks, looks] = &mut hurt_of;
            let of_look = (by_look.get(&person.fingerprint).copied().unwrap_or(0) / HURT_OF_LOOK).max(1);
            let is_first = may(addresses, person.address, 1);
            if !(may(networks, person.network, HURT_OF_NETWORK)
                && is_first
                && may(looks, person.fingerprint, of_look))
            {
                continue;
            }
        }
        let [known, solvers] = &mut counts;
        let count = if person.is_known { known } else { solvers };
        count.people += 1;
        count.hurt += u64::from(is_hurt);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Layers;

    const BUDGET: f64 = 0.001;

    /// Somebody of a network of their own, with one of ten browsers.
    fn person(number: u64, is_known: bool, is_hurt: bool) -> Person {
        Person {
            since_secs: u32::try_from(number).unwrap(),
            address: number << 8,
            network: number,
            fingerprint: number % 10,
            is_known,
            doubted: if is_hurt { Layers::of(Layer::Scanner) } else { Layers::default() },
            doubted_secs: if is_hurt { 1_000_000 } else { 0 },
            ..Person::default()
        }
    }

    fn crowd(people: u64, hurt: u64, is_known: bool) -> Vec<Person> {
        (0..people).map(|number| person(number, is_known, number < hurt)).collect()
    }

    fn of(people: &[Person]) -> Standing {
        standing(Layer::Scanner, people, BUDGET)
    }

    #[test]
    fn a_layer_is_proven_by_3000_people_without_a_hit_and_not_by_fewer() {
        let few = of(&crowd(2_900, 0, true));
        assert_eq!((few.why, few.people_missing()), (Why::TooFew, 95));
        let many = of(&crowd(2_995, 0, true));
        assert_eq!((many.why, many.people_missing()), (Why::Proven, 0));
        assert!(many.rate[2] <= BUDGET && many.rate[2] > 0.000_99);
        assert_eq!(of(&[]).why, Why::TooFew);
        assert_eq!(of(&[]).people_missing(), 2_995);
        assert_eq!(of(&crowd(3_100, 0, false)).why, Why::Proven, "challenges can prove, too");
    }

    #[test]
    fn it_breaks_where_the_upper_bound_leaves_the_budget() {
        assert_eq!(of(&crowd(3_000, 1, true)).why, Why::OverBudget);
        assert_eq!(of(&crowd(4_800, 1, true)).why, Why::Proven);
        let broken = of(&crowd(3_000, 30, true));
        assert_eq!((broken.why, broken.known.hurt), (Why::OverBudget, 30));
        assert!(broken.rate[0] > BUDGET);
        assert_eq!(
            standing(Layer::Waf, &crowd(3_000, 30, true), BUDGET).why,
            Why::Proven,
            "what one layer does is not held against another"
        );
    }

    /// Many addresses, few networks; or many networks, one tool. They solve challenges, or open accounts, and probe.
    #[test]
    fn a_farm_that_proves_itself_human_and_probes_switches_nothing_off() {
        let site = crowd(10_000, 0, true);
        let farm = |networks: u64, looks: u64, is_known: bool| {
            (0..5_000).map(move |number| Person {
                since_secs: 1_000_000,
                doubted_secs: 1_000_060,
                address: (1 << 40) + number,
                network: (1 << 40) + number % networks,
                fingerprint: (1 << 40) + number % looks,
                is_known,
                doubted: Layers::of(Layer::Scanner),
                ..Person::default()
            })
        };
        for (name, networks, looks, is_known) in [
            ("one network, accounts", 1, 5_000, true),
            ("one tool in as many networks, accounts", 5_000, 1, true),
            ("any number of networks and looks, challenges", 5_000, 5_000, false),
        ] {
            let people: Vec<Person> = site.iter().copied().chain(farm(networks, looks, is_known)).collect();
            assert_eq!(of(&people).why, Why::Proven, "{name}: {:?}", of(&people));
        }
        // Their probes are certain for another layer: they are nobody.
        let probes =
            farm(5_000, 5_000, true).map(|person| Person { certain: Layers::of(Layer::Waf), ..person });
        let people: Vec<Person> = site.iter().copied().chain(probes).collect();
        assert_eq!(of(&people).known, Count { people: 10_000, hurt: 0 });
        // The layer's own word is not.
        let certain = Person { certain: Layers::of(Layer::Scanner), ..person(77, true, true) };
        assert_eq!(of(&[certain]).known, Count { people: 1, hurt: 1 });
    }

    /// A model that is wrong about one browser, which many people have had for days.
    #[test]
    fn people_with_one_browser_who_are_hurt_are_not_overlooked() {
        let mut people = crowd(10_000, 0, true);
        for person in people.iter_mut().filter(|person| person.fingerprint == 3) {
            person.doubted = Layers::of(Layer::Scanner);
            person.doubted_secs = person.since_secs + 2 * DAY_SECS;
        }
        assert_eq!(of(&people).why, Why::OverBudget);
    }

    #[test]
    fn people_who_only_solved_a_challenge_hide_nobody_whom_the_site_knows() {
        let mut people = crowd(3_000, 30, true);
        people.extend((0..50_000).map(|number| person(10_000 + number, false, false)));
        assert_eq!(of(&people).why, Why::OverBudget);
    }

    #[test]
    fn of_one_address_and_one_network_only_so_many_count() {
        let person =
            |address: u64, network: u64| Person { address, network, is_known: true, ..Person::default() };
        let one_address: Vec<Person> = (0..1_000).map(|_| person(1, 1)).collect();
        assert_eq!(of(&one_address).known.people, u64::from(OF_ADDRESS));
        let one_network: Vec<Person> = (0..1_000).map(|number| person(number, 1)).collect();
        assert_eq!(of(&one_network).known.people, u64::from(OF_NETWORK));
    }
}
