// SPDX-License-Identifier: Apache-2.0
//! What training would get of a data set: how much is on each side, and which clients would be on two.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use sunbeam_datasets::split::{Shares, Side, side_of};
use sunbeam_datasets::{Label, Record};

/// See the module. Groups are never on two sides, and requests, once cleaned, are there once.
#[derive(Debug)]
pub(super) struct Sides {
    seed: u64,
    /// By side, then without a label, benign and attacks.
    counts: [[u64; 3]; 3],
    /// A bit for each side, by a hash of the client's name.
    clients: HashMap<u64, u8>,
    hash: RandomState,
    is_full: bool,
}

/// As a trainer would part it by default.
const SHARES: Shares = match Shares::new(70, 15) {
    Ok(shares) => shares,
    Err(_) => panic!("there is something for each side"),
};

/// Clients that are told apart; each takes about 20 bytes.
const CLIENTS_MAX: usize = 10_000_000;

pub(super) const SIDES: [&str; 3] = ["training", "validation", "test"];

impl Sides {
    pub(super) fn new(seed: u64) -> Self {
        let (clients, hash) = (HashMap::new(), RandomState::new());
        Self { seed, counts: Default::default(), clients, hash, is_full: false }
    }

    pub(super) fn add(&mut self, record: &Record) {
        let side = match side_of(&record.group, self.seed, SHARES) {
            Side::Train => 0,
            Side::Validation => 1,
            Side::Test => 2,
        };
        let label = match record.label {
            None => 0,
            Some(Label::Benign) => 1,
            Some(Label::Attack) => 2,
        };
        if let Some(count) = self.counts.get_mut(side).and_then(|labels| labels.get_mut(label)) {
            *count += 1;
        }
        if record.client.is_empty() {
            return;
        }
        let key = self.hash.hash_one(&record.client);
        self.is_full |= self.clients.len() >= CLIENTS_MAX && !self.clients.contains_key(&key);
        if !self.is_full {
            *self.clients.entry(key).or_default() |= 1 << side;
        }
    }

    /// Without a label, benign, attacks, of each of [`SIDES`].
    pub(super) const fn counts(&self) -> [[u64; 3]; 3] {
        self.counts
    }

    /// Benign records and attacks.
    pub(super) fn labelled(&self) -> [u64; 2] {
        let sum = |label: usize| self.counts.iter().filter_map(|counts| counts.get(label)).sum();
        [sum(1), sum(2)]
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
        let mut sides = Sides::new(1);
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
        let [train, validation, test] = sides.counts().map(|counts| counts.iter().sum::<u64>());
        assert!(train > validation + test && train + validation + test == 200);
    }
}
