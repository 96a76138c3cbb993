// SPDX-License-Identifier: Apache-2.0
//! How many people one address may have remembered, and one network: whoever logs in a thousand times from one place
//! pushes out himself, and nobody else.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::people::EVERYBODY;
use super::tables::Kind;

/// Of one address. Four of them count; the others are there so that whoever comes back is among those.
pub(super) const OF_ADDRESS: usize = 16;
/// Of one network: an IPv4 /24, an IPv6 /48. Sixteen of them count.
pub(super) const OF_NETWORK: usize = 64;

/// One that is remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) key: u64,
    pub(super) address: u64,
}

/// How well somebody is known: first by their kind, then by days, visits and when they were seen last.
pub(super) type Rank = (Reverse<Kind>, u16, u32, u32);

/// What became of a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// There was room.
    There,
    /// This one goes.
    InPlaceOf(u64),
    /// Everybody there has precedence.
    Nowhere,
}

/// By network. What lost its place otherwise is found out when a network is full, or at the next [`Places::begin`]: never
/// more than twice as many as there are places.
#[derive(Debug, Default)]
pub(super) struct Places {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    networks: HashMap<u64, Vec<Taken>>,
    count: usize,
}

impl Places {
    /// Nobody else comes in as long as this is held.
    pub(super) fn hold(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Whether it is time to [`begin`](Self::begin) anew.
    pub(super) const fn is_long(&self) -> bool {
        self.count >= 2 * EVERYBODY
    }

    /// With those that are remembered, and their networks.
    pub(super) fn begin(&mut self, taken: impl Iterator<Item = (u64, Taken)>) {
        self.networks.clear();
        self.count = 0;
        for (network, taken) in taken {
            self.networks.entry(network).or_default().push(taken);
            self.count += 1;
        }
    }

    /// Notes a newcomer, known so well. `seen` says how well somebody else is known, and nothing of who is gone: the one
    /// known least goes, of that very address if it is full. Nobody goes for a newcomer of a kind that has less precedence.
    pub(super) fn enter(
        &mut self,
        network: u64,
        new: Taken,
        rank: Rank,
        seen: impl Fn(u64) -> Option<Rank>,
    ) -> Entered {
        let taken = self.networks.entry(network).or_default();
        let before = taken.len();
        taken.retain(|known| known.key != new.key);
        let is_of_address =
            |taken: &[Taken]| taken.iter().filter(|known| known.address == new.address).count();
        let is_full = |taken: &[Taken]| taken.len() >= OF_NETWORK || is_of_address(taken) >= OF_ADDRESS;
        if is_full(taken) {
            taken.retain(|known| seen(known.key).is_some());
        }
        let mut entered = Entered::There;
        if is_full(taken) {
            let is_address_full = is_of_address(taken) >= OF_ADDRESS;
            let of_those = taken.iter().filter(|known| !is_address_full || known.address == new.address);
            let ranked = of_those.filter_map(|known| Some((seen(known.key)?, known.key)));
            entered = match ranked.min() {
                Some((least, _)) if least.0 > rank.0 => Entered::Nowhere,
                Some((_, key)) => Entered::InPlaceOf(key),
                None => Entered::There,
            };
        }
        if let Entered::InPlaceOf(goes) = entered {
            taken.retain(|known| known.key != goes);
        }
        if entered != Entered::Nowhere {
            taken.push(new);
        }
        self.count = (self.count + taken.len()).saturating_sub(before);
        entered
    }
}
