// SPDX-License-Identifier: Apache-2.0
//! Values that stand on both sides of the split: the payload model reads values, whatever request they are wrapped in, so
//! a value that it learned is no evidence in another wrapper.

use std::collections::{BTreeSet, HashMap};

use sunbeam_datasets::{Label, Record, bytes_key};
use sunbeam_features::canonical::{UnitKind, each_unit};
use sunbeam_features::payload::is_plain;

use crate::payload::unit_source;

/// Requests of one side whose values all stand on the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedValues {
    /// How many.
    pub records: usize,
    /// Of so many that have values worth a look.
    pub of: usize,
    /// Ten at most: the groups that share.
    pub groups: Vec<[String; 2]>,
}

/// Shorter values are everybody's: a tag, a quote and a word.
const BYTES_MIN: usize = 12;
/// One request of so many may share: collections have famous attacks in common.
const ONE_OF: usize = 10;
/// So few say nothing.
const FEW: usize = 5;
const NAMES_MAX: usize = 10;

impl SharedValues {
    /// Whether it is more than what collections have in common.
    pub const fn is_leak(&self) -> bool {
        self.records > FEW && self.records * ONE_OF > self.of
    }
}

/// Canonical values of the same label, in groups on different sides. Of corpora only: visitors of one site ask for the
/// same things, whichever group they are of.
pub fn shared_values(train: &[Record], validation: &[Record]) -> SharedValues {
    let mut known: HashMap<(Option<Label>, u128), &str> = HashMap::new();
    for record in train {
        for key in keys(record) {
            known.entry(key).or_insert(&record.group);
        }
    }
    let mut shared = SharedValues::default();
    let mut groups = BTreeSet::new();
    for record in validation {
        let keys = keys(record);
        shared.of += usize::from(!keys.is_empty());
        let known: Option<Vec<&&str>> = keys.iter().map(|key| known.get(key)).collect();
        let Some(group) = known.and_then(|groups| groups.first().map(|group| **group)) else { continue };
        shared.records += 1;
        if groups.len() < NAMES_MAX {
            groups.insert([group.to_owned(), record.group.clone()]);
        }
    }
    shared.groups = groups.into_iter().collect();
    shared
}

/// Of the values that the model would look at.
fn keys(record: &Record) -> Vec<(Option<Label>, u128)> {
    let mut keys = Vec::new();
    if record.has_own_headers || record.label.is_none() {
        return keys;
    }
    each_unit(&unit_source(record), &mut Vec::new(), &mut |unit| {
        let is_value = !matches!(unit.kind, UnitKind::Path | UnitKind::ParameterName | UnitKind::CookieName);
        if is_value && unit.value.len() >= BYTES_MIN && !is_plain(unit.value) {
            keys.push((record.label, bytes_key(unit.value)));
        }
    });
    keys
}

#[cfg(test)]
mod tests {
    use sunbeam_datasets::Label;

    use super::*;

    fn record(group: &str, query: &str) -> Record {
        Record {
            group: group.to_owned(),
            label: Some(Label::Attack),
            method: "GET".to_owned(),
            path: "/page".to_owned(),
            query: query.to_owned(),
            ..Record::default()
        }
    }

    fn injection(at: usize, wrapper: &str) -> Record {
        let word = "abcdefghijklmnopqrstuvwxyz".get(at % 20..at % 20 + 5).unwrap();
        record(
            &format!("{wrapper}{at}"),
            &format!("{wrapper}=1%27 union select {word}, {word} from users-- "),
        )
    }

    #[test]
    fn a_value_in_another_wrapper_is_the_same_and_short_ones_are_everybody_s() {
        let train: Vec<Record> = (0..20).map(|at| injection(at, "id")).collect();
        let twins: Vec<Record> = (0..20).map(|at| injection(at, "q")).collect();
        let shared = shared_values(&train, &twins);
        assert_eq!((shared.records, shared.of, shared.is_leak()), (20, 20, true), "{shared:?}");
        assert_eq!(shared.groups.len(), NAMES_MAX);
        assert!(shared.groups.contains(&["id0".to_owned(), "q0".to_owned()]), "{shared:?}");
        let short = |wrapper: &str| -> Vec<Record> {
            (0..20).map(|at| record(&format!("{wrapper}{at}"), &format!("{wrapper}=<b>"))).collect()
        };
        assert_eq!(shared_values(&short("a"), &short("b")), SharedValues::default());
        // A famous attack among many others is no leak.
        let mut others: Vec<Record> = (0..200)
            .map(|at| record(&format!("o{at}"), &format!("o=<script>alert{}</script>", "!".repeat(at + 1))))
            .collect();
        others.push(injection(3, "q"));
        let shared = shared_values(&train, &others);
        assert_eq!((shared.records, shared.is_leak()), (1, false), "{shared:?}");
        // What the one calls an attack the other may call benign: that is a contradiction, no leak.
        let benign: Vec<Record> =
            twins.into_iter().map(|one| Record { label: Some(Label::Benign), ..one }).collect();
        assert_eq!(shared_values(&train, &benign).records, 0);
    }
}
