// SPDX-License-Identifier: Apache-2.0
//! What training gets of a data set: how much is on each side, by the very split of the trainers of requests, and which
//! clients are on two. Who trains on windows parts by tool and session instead.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use sunbeam_datasets::{Label, Record};
use sunbeam_trainer::sides::{Side, side};

/// See the module. Groups are never on two sides, and requests, once cleaned, are there once.
#[derive(Debug, Default)]
pub(super) struct Sides {
    /// By side, then without a label, benign and attacks.
    counts: [[u64; 3]; SIDES.len()],
    /// The groups of each label, as far as they are told apart.
    groups: [HashSet<u64>; 2],
    /// A bit for each side, by a hash of the client's name.
    clients: HashMap<u64, u8>,
    hash: RandomState,
    is_full: bool,
}

/// Clients that are told apart; each takes about 20 bytes.
const CLIENTS_MAX: usize = 10_000_000;

pub(super) const SIDES: [&str; 2] = ["training", "validation"];
/// Groups that are told apart: beyond these there are enough.
const GROUPS_MAX: usize = 10;

impl Sides {
    pub(super) fn add(&mut self, record: &Record) {
        let side = match side(&record.group) {
            Side::Train => 0,
            Side::Validation => 1,
        };
        let label = match record.label {
            None => 0,
            Some(Label::Benign) => 1,
            Some(Label::Attack) => 2,
        };
        if let Some(count) = self.counts.get_mut(side).and_then(|labels| labels.get_mut(label)) {
            *count += 1;
        }
        let group = self.hash.hash_one(&record.group);
        if let Some(groups) = label.checked_sub(1).and_then(|label| self.groups.get_mut(label))
            && groups.len() < GROUPS_MAX
        {
            groups.insert(group);
        }
        if record.client.is_empty() {
            return;
        }
        let key = self.hash.hash_one(record.client_group());
        self.is_full |= self.clients.len() >= CLIENTS_MAX && !self.clients.contains_key(&key);
        if !self.is_full {
            *self.clients.entry(key).or_default() |= 1 << side;
        }
    }

    /// Without a label, benign, attacks, of each of [`SIDES`].
    pub(super) const fn counts(&self) -> [[u64; 3]; SIDES.len()] {
        self.counts
    }

    /// Benign records and attacks.
    pub(super) fn labelled(&self) -> [u64; 2] {
        let sum = |label: usize| self.counts.iter().filter_map(|counts| counts.get(label)).sum();
        [sum(1), sum(2)]
    }

    /// Groups of benign records and of attacks, ten at most.
    pub(super) fn groups(&self) -> [usize; 2] {
        self.groups.each_ref().map(HashSet::len)
    }

    /// Clients that are on two sides; none where there were too many to tell.
    pub(super) fn leaking_clients(&self) -> Option<usize> {
        let leaking = self.clients.values().filter(|sides| sides.count_ones() > 1).count();
        (!self.is_full).then_some(leaking)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_whose_groups_are_apart_leaks() {
        let mut sides = Sides::default();
        for group in 0..100 {
            let record = |client: &str| Record {
                group: format!("g{group}"),
                client: client.to_owned(),
                label: Some(Label::Attack),
                ..Record::default()
            };
            sides.add(&record("everywhere"));
            sides.add(&record(&format!("only in {group}")));
        }
        assert_eq!((sides.leaking_clients(), sides.labelled()), (Some(1), [0, 200]));
        let [train, validation] = sides.counts().map(|counts| counts.iter().sum::<u64>());
        assert!(train > validation && validation > 0 && train + validation == 200);
        assert_eq!(sides.groups(), [0, GROUPS_MAX]);
    }
}
