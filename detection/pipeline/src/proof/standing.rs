// SPDX-License-Identifier: Apache-2.0
//! What people say of a layer.
//!
//! The rate is people whom the layer doubted, of all people that count ([`counted`]); a bound is Clopper and Pearson's
//! (1934), at 95 %. Who only solved a challenge can help to prove a layer, and never undo what those prove whom the site
//! knows; nor prove what these speak against.
//!
//! What it takes to push a proven layer out of its budget follows from that, and is told in a test at the end
//! (`what_a_farm_must_own`) and in docs/operating.md. Where the people only just suffice one who counts is enough, whoever
//! he is: nothing that is counted fairly can be surer than its people are many.

use sunbeam_ensemble::upper_bound;
use sunbeam_traffic::Layer;

use super::counted::counted;
use super::people::Person;

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
    /// Of both: who has not come back on another day, and counts once he does.
    pub newcomers: u64,
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
    let newcomers = people.iter().filter(|person| !person.has_standing()).count() as u64;
    Standing { layer, known, solvers, newcomers, rate: [decides.lower(), seen, decides.upper()], budget, why }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Layers;
    use crate::proof::counted::{OF_ADDRESS, OF_NETWORK};
    use crate::proof::people::DAY_SECS;

    const BUDGET: f64 = 0.001;

    /// Somebody of a network of their own, with one of ten browsers, who comes every day.
    fn person(number: u64, is_known: bool, is_hurt: bool) -> Person {
        Person {
            since_secs: u32::try_from(number).unwrap(),
            days: 9,
            address: number << 8,
            network: number,
            fingerprint: 1 + number % 10,
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

    /// Bots that log in and probe, a day after they came first, from an address of their own each.
    fn farm(bots: u64, networks: u64, looks: impl Fn(u64) -> u64) -> Vec<Person> {
        let bot = |number: u64| Person {
            since_secs: 2_000_000,
            doubted_secs: 2_000_000 + DAY_SECS,
            days: 2,
            address: (1 << 40) + number,
            network: (1 << 40) + number % networks,
            fingerprint: looks(number),
            is_known: true,
            doubted: Layers::of(Layer::Scanner),
            ..Person::default()
        };
        (0..bots).map(bot).collect()
    }

    /// As many who are left alone, beside each.
    fn with_idle(bots: Vec<Person>) -> Vec<Person> {
        let idle = bots.iter().map(|bot| Person {
            doubted_secs: 0,
            doubted: Layers::default(),
            address: bot.address | 1 << 50,
            ..*bot
        });
        let idle: Vec<Person> = idle.collect();
        bots.into_iter().chain(idle).collect()
    }

    /// A browser that the crowd has, one that nobody else has, and nothing that anybody could see.
    const CROWDS: fn(u64) -> u64 = |_| 3;
    const OWN: fn(u64) -> u64 = |number| (1 << 40) + number;
    const NONE: fn(u64) -> u64 = |_| 0;

    fn with(site: &[Person], bots: Vec<Person>) -> Standing {
        of(&site.iter().copied().chain(bots).collect::<Vec<_>>())
    }

    #[test]
    fn a_farm_that_proves_itself_human_and_probes_switches_nothing_off() {
        let site = crowd(10_000, 0, true);
        let unseen: Vec<Person> = site.iter().map(|person| Person { fingerprint: 0, ..*person }).collect();
        let fresh = |bots: Vec<Person>| -> Vec<Person> {
            bots.into_iter().map(|bot| Person { days: 1, doubted_secs: 2_000_060, ..bot }).collect()
        };
        let solvers = |bots: Vec<Person>| -> Vec<Person> {
            bots.into_iter().map(|bot| Person { is_known: false, ..bot }).collect()
        };
        let of_one_address = |bots: Vec<Person>| -> Vec<Person> {
            bots.into_iter().map(|bot| Person { address: 1 << 40, ..bot }).collect()
        };
        let idle_at_home = |look: u64| {
            let idle = with_idle(farm(1_000, 1, move |_| look));
            idle.into_iter().filter(|person| person.doubted.is_empty()).map(|person| Person {
                address: 7 << 40,
                network: 7 << 40,
                ..person
            })
        };
        for (name, site, bots) in [
            ("five of three networks, the same day, as the crowd", &site, fresh(farm(5, 3, CROWDS))),
            ("the same over plain HTTP", &unseen, fresh(farm(5, 3, NONE))),
            ("any number on the same day", &site, fresh(farm(5_000, 5_000, CROWDS))),
            ("one network", &site, farm(5_000, 1, CROWDS)),
            ("two networks", &site, farm(5_000, 2, CROWDS)),
            ("one address", &site, of_one_address(farm(5_000, 5_000, CROWDS))),
            ("any number of networks, each with a tool of its own", &site, farm(5_000, 5_000, OWN)),
            ("99 networks, one tool", &site, farm(99, 99, |_| 1 << 40)),
            ("any number of networks, over plain HTTP", &unseen, farm(5_000, 5_000, NONE)),
            (
                "the same with people who are left alone at one address, to make the tool a browser",
                &site,
                farm(80, 80, |_| 1 << 40).into_iter().chain(idle_at_home(1 << 40)).collect(),
            ),
            ("challenges, any number", &site, solvers(with_idle(farm(5_000, 5_000, CROWDS)))),
        ] {
            let standing = with(site, bots);
            assert_eq!(standing.why, Why::Proven, "{name}: {standing:?}");
        }
        // Their probes are certain for another layer: they are nobody.
        let probes = farm(5_000, 5_000, CROWDS)
            .into_iter()
            .map(|person| Person { certain: Layers::of(Layer::Waf), ..person });
        assert_eq!(with(&site, probes.collect()).known, Count { people: 10_000, hurt: 0 });
        // The layer's own word is not.
        let certain = Person { certain: Layers::of(Layer::Scanner), ..person(77, true, true) };
        let people: Vec<Person> = site.iter().copied().chain([certain]).collect();
        assert_eq!(of(&people).known, Count { people: 10_001, hurt: 1 });
    }

    /// The price list of docs/operating.md: log-ins, networks (each log-in of an address of its own), and a day.
    #[test]
    fn what_a_farm_must_own() {
        for (people, log_ins, networks) in [(3_100, 1, 1), (5_000, 2, 1), (10_000, 5, 3), (50_000, 39, 20)] {
            let site = crowd(people, 0, true);
            let unseen: Vec<Person> =
                site.iter().map(|person| Person { fingerprint: 0, ..*person }).collect();
            // With a copy of a browser that the crowd has.
            assert_eq!(with(&site, farm(log_ins, networks, CROWDS)).why, Why::OverBudget, "{people}");
            assert_eq!(with(&site, farm(log_ins - 1, networks, CROWDS)).why, Why::Proven, "{people}");
            if networks > 1 {
                assert_eq!(with(&site, farm(log_ins, networks - 1, CROWDS)).why, Why::Proven, "{people}");
            }
            // Without, as many more that behave.
            for (site, look) in [(&site, OWN), (&unseen, NONE)] {
                assert_eq!(with(site, farm(log_ins, networks, look)).why, Why::Proven, "{people}");
                let standing = with(site, with_idle(farm(log_ins, networks, look)));
                assert_eq!(standing.why, Why::OverBudget, "{people} {standing:?}");
            }
        }
    }

    #[test]
    fn nobody_counts_before_they_came_back_another_day() {
        let mut people = crowd(3_000, 30, true);
        people.iter_mut().for_each(|person| person.days = 1);
        let standing = of(&people);
        assert_eq!((standing.known, standing.newcomers), (Count::default(), 3_000));
        people.iter_mut().for_each(|person| person.days = 2);
        let standing = of(&people);
        assert_eq!((standing.known, standing.newcomers), (Count { people: 3_000, hurt: 30 }, 0));
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
        let person = |address: u64, network: u64| Person {
            address,
            network,
            days: 2,
            is_known: true,
            ..Person::default()
        };
        let one_address: Vec<Person> = (0..1_000).map(|_| person(1, 1)).collect();
        assert_eq!(of(&one_address).known.people, u64::from(OF_ADDRESS));
        let one_network: Vec<Person> = (0..1_000).map(|number| person(number, 1)).collect();
        assert_eq!(of(&one_network).known.people, u64::from(OF_NETWORK));
    }
}
