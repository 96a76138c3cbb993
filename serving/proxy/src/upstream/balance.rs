// SPDX-License-Identifier: Apache-2.0
//! Which of several backends a request goes to: pure arithmetic over weights and counts.

use std::net::IpAddr;

/// A backend as the choice sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) weight: u32,
    /// Of its URL: the same on every thread, node and start.
    pub(super) seed: u64,
    /// Requests and tunnels that it has now, of all threads.
    pub(super) in_flight: u64,
    pub(super) eligible: bool,
}

/// Smooth weighted turns: over any stretch each backend gets its share as evenly spread as the weights
/// allow. One a thread and group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Turns(Vec<i64>);

impl Turns {
    /// The `thread`-th thread begins as many turns later, so that the threads do not march in step.
    pub(super) fn new(weights: &[u32], thread: usize) -> Self {
        let mut turns = Self(vec![0; weights.len()]);
        let total: usize = weights.iter().map(|weight| *weight as usize).sum();
        for _ in 0..thread % total.max(1) {
            // Only the state counts.
            let _turn = turns.next(weights.iter().map(|weight| (*weight, true)));
        }
        turns
    }

    /// Whose turn it is among those that may; `None` when nobody may.
    pub(super) fn next(&mut self, members: impl Iterator<Item = (u32, bool)>) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (index, (weight, eligible)) in members.enumerate() {
            let Some(credit) = self.0.get_mut(index).filter(|_| eligible) else { continue };
            *credit += i64::from(weight);
            total += i64::from(weight);
            if best.is_none_or(|(_, most)| *credit > most) {
                best = Some((index, *credit));
            }
        }
        let (index, _) = best?;
        if let Some(credit) = self.0.get_mut(index) {
            *credit -= total;
        }
        Some(index)
    }
}

/// The one with the fewest requests in flight for its weight; those that are equal take turns.
pub(super) fn least_connections(
    candidates: impl Iterator<Item = Candidate> + Clone,
    turns: &mut Turns,
) -> Option<usize> {
    // a/b < c/d without dividing.
    let load = |one: Candidate, other: Candidate| {
        let left = u128::from(one.in_flight) * u128::from(other.weight);
        left.cmp(&(u128::from(other.in_flight) * u128::from(one.weight)))
    };
    let least = candidates.clone().filter(|one| one.eligible).min_by(|one, other| load(*one, *other))?;
    turns.next(candidates.map(|one| (one.weight, one.eligible && load(one, least).is_eq())))
}

/// Weighted rendezvous: each client has its own order of all backends and goes to the first that is
/// there. One that goes away moves nobody but its own clients.
pub(super) fn by_address(candidates: impl Iterator<Item = Candidate>, client: IpAddr) -> Option<usize> {
    let key = address_key(client);
    let score = |one: Candidate| f64::from(one.weight) / -unit(mix(key ^ one.seed)).ln();
    candidates
        .enumerate()
        .filter(|(_, one)| one.eligible)
        .map(|(index, one)| (index, score(one)))
        .max_by(|(_, one), (_, other)| one.total_cmp(other))
        .map(|(index, _)| index)
}

/// FNV-1a.
pub(super) fn seed(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn address_key(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(address) => mix(u64::from(address.to_bits())),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let half = |shift: u32| u64::try_from((bits >> shift) & u128::from(u64::MAX)).unwrap_or_default();
            mix(mix(half(64)) ^ half(0))
        }
    }
}

/// The finaliser of SplitMix64: every bit of the input moves every bit of the output.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Between 0 and 1, without the ends, whose logarithms are none.
fn unit(hash: u64) -> f64 {
    let top = u32::try_from(hash >> 32).unwrap_or(u32::MAX);
    (f64::from(top) + 0.5) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn weights() -> impl Strategy<Value = Vec<u32>> {
        proptest::collection::vec(1_u32..=20, 1..8)
    }

    fn candidate(index: usize, weight: u32, in_flight: u64, eligible: bool) -> Candidate {
        Candidate { weight, seed: seed(&format!("http://10.0.0.{index}:80")), in_flight, eligible }
    }

    fn clients(count: u32) -> impl Iterator<Item = IpAddr> {
        (0..count).map(|n| IpAddr::from(Ipv4Addr::from(0xc633_6400_u32.wrapping_add(n))))
    }

    proptest! {
        #[test]
        fn turns_are_exact_over_each_round_and_even_inside_it(weights in weights(), thread in 0_usize..64) {
            let mut turns = Turns::new(&weights, thread);
            let total: u32 = weights.iter().sum();
            let mut counts = vec![0_u32; weights.len()];
            for made in 1..=total * 2 {
                counts[turns.next(weights.iter().map(|weight| (*weight, true))).unwrap()] += 1;
                for (count, weight) in counts.iter().zip(&weights) {
                    // The share so far is never off by as many turns as there are backends.
                    let share = f64::from(made) * f64::from(*weight) / f64::from(total);
                    prop_assert!((f64::from(*count) - share).abs() < weights.len() as f64 + 1.0);
                }
                if made % total == 0 {
                    let rounds = made / total;
                    prop_assert_eq!(&counts, &weights.iter().map(|weight| weight * rounds).collect::<Vec<_>>());
                }
            }
        }

        #[test]
        fn nobody_gets_a_turn_who_may_not_and_somebody_does_who_may(
            weights in weights(),
            steps in proptest::collection::vec(any::<u8>(), 1..100),
        ) {
            let mut turns = Turns::new(&weights, 0);
            for mask in steps {
                let may = |index: usize| mask >> (index % 8) & 1 == 1;
                let members = weights.iter().enumerate().map(|(index, weight)| (*weight, may(index)));
                let turn = turns.next(members);
                prop_assert_eq!(turn.is_some(), (0..weights.len()).any(may));
                prop_assert!(turn.is_none_or(may));
                prop_assert_eq!(turns.0.iter().sum::<i64>(), 0);
            }
        }

        #[test]
        fn the_least_loaded_for_its_weight_is_chosen(
            members in proptest::collection::vec((1_u32..=20, 0_u64..50, any::<bool>()), 1..8),
        ) {
            let all: Vec<_> =
                members.iter().enumerate().map(|(n, (w, load, may))| candidate(n, *w, *load, *may)).collect();
            let mut turns = Turns::new(&vec![1; all.len()], 0);
            match least_connections(all.iter().copied(), &mut turns) {
                None => prop_assert!(all.iter().all(|one| !one.eligible)),
                Some(chosen) => {
                    prop_assert!(all[chosen].eligible);
                    for other in all.iter().filter(|one| one.eligible) {
                        let (one, two) = (all[chosen].in_flight * u64::from(other.weight), other.in_flight * u64::from(all[chosen].weight));
                        prop_assert!(one <= two);
                    }
                }
            }
        }

        #[test]
        fn one_that_goes_moves_nobody_but_its_own_clients(
            weights in proptest::collection::vec(1_u32..=20, 2..8),
            gone in any::<prop::sample::Index>(),
        ) {
            let gone = gone.index(weights.len());
            let all: Vec<_> = weights.iter().enumerate().map(|(n, w)| candidate(n, *w, 0, true)).collect();
            let left: Vec<_> = all
                .iter()
                .enumerate()
                .map(|(n, one)| Candidate { eligible: n != gone, ..*one })
                .collect();
            for client in clients(200) {
                let before = by_address(all.iter().copied(), client).unwrap();
                let after = by_address(left.iter().copied(), client).unwrap();
                prop_assert!(before == gone || before == after);
                prop_assert!(after != gone);
                // As a list without it, too: what counts is the URL, not the place.
                let shorter = all.iter().copied().enumerate().filter(|(n, _)| *n != gone).map(|(_, one)| one);
                let place = by_address(shorter, client).unwrap();
                prop_assert_eq!(place + usize::from(place >= gone), after);
            }
        }
    }

    #[test]
    fn clients_are_spread_by_weight() {
        let all = [candidate(1, 1, 0, true), candidate(2, 2, 0, true), candidate(3, 5, 0, true)];
        let mut counts = [0_u32; 3];
        for client in clients(80_000) {
            counts[by_address(all.iter().copied(), client).unwrap()] += 1;
        }
        for (count, want) in counts.iter().zip([10_000_u32, 20_000, 50_000]) {
            assert!(count.abs_diff(want) < want / 20, "{counts:?}");
        }
        let mut counts = [0_u32; 3];
        for n in 0..8_000_u128 {
            let client = IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) | n));
            counts[by_address(all.iter().copied(), client).unwrap()] += 1;
        }
        assert!(counts[0].abs_diff(1_000) < 200 && counts[2].abs_diff(5_000) < 400, "{counts:?}");
    }

    #[test]
    fn ties_rotate_by_weight_and_threads_begin_apart() {
        let all = [candidate(0, 1, 0, true), candidate(1, 3, 0, true)];
        let mut turns = Turns::new(&[1, 3], 0);
        let mut counts = [0; 2];
        for _ in 0..40 {
            counts[least_connections(all.iter().copied(), &mut turns).unwrap()] += 1;
        }
        assert_eq!(counts, [10, 30]);
        let first = |thread| Turns::new(&[1, 1], thread).next([(1, true), (1, true)].into_iter());
        assert_eq!((first(0), first(1), first(2)), (Some(0), Some(1), Some(0)));
    }
}
