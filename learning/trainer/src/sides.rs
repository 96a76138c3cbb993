// SPDX-License-Identifier: Apache-2.0
//! Which side of the split a group is on, by its name alone: the same in every run and for every source.

use std::collections::{HashMap, HashSet};

use sunbeam_datasets::{Record, request_key};

use crate::arithmetic::mixed;

/// A side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Learned from.
    Train,
    /// Judged by.
    Validation,
}

/// Four groups of five are learned from.
pub fn side(group: &str) -> Side {
    if hash(group).is_multiple_of(5) { Side::Validation } else { Side::Train }
}

/// One of so many parts of the training side.
pub fn fold(group: &str, parts: usize) -> usize {
    usize::try_from((hash(group) / 5) % parts.max(1) as u64).unwrap_or(0)
}

fn hash(group: &str) -> u64 {
    group.bytes().fold(7, |hash, byte| mixed(hash ^ u64::from(byte)))
}

/// Groups of one site's log. A large one is no variants of one attack, but a page with a number in it: kept together, all
/// that is known of that page would be on one side.
#[derive(Clone, Debug, Default)]
pub struct SiteGroups<'a> {
    large: HashSet<&'a str>,
}

impl<'a> SiteGroups<'a> {
    /// Those with more than one of a hundred different requests are large.
    pub fn of(records: &[&'a Record]) -> Self {
        const ONE_OF: usize = 100;
        let mut seen: HashSet<u128> = HashSet::new();
        let mut sizes: HashMap<&str, usize> = HashMap::new();
        for record in records.iter().filter(|record| seen.insert(request_key(record))) {
            *sizes.entry(&record.group).or_default() += 1;
        }
        let is_large = |size: usize| size > seen.len() / ONE_OF;
        Self {
            large: sizes.into_iter().filter(|(_, size)| is_large(*size)).map(|(group, _)| group).collect(),
        }
    }

    /// The side of a record: that of its group, or its own in a large one. Copies are on one side.
    pub fn side(&self, record: &Record) -> Side {
        self.name(record, side)
    }

    /// One of so many parts, the same way.
    pub fn fold(&self, record: &Record, parts: usize) -> usize {
        self.name(record, |name| fold(name, parts))
    }

    fn name<T>(&self, record: &Record, of: impl Fn(&str) -> T) -> T {
        if self.large.contains(&*record.group) {
            of(&format!("{:032x}", request_key(record)))
        } else {
            of(&record.group)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stay_together_but_for_pages_with_many_numbers() {
        let record = |group: &str, number: u32| Record {
            group: group.to_owned(),
            path: format!("/{group}/{number}"),
            ..Record::default()
        };
        let page = (0..50).map(|number| record("page", number));
        let small = (0..400).map(|number| record(&format!("g{}", number % 200), number));
        let records: Vec<Record> = page.chain(small).collect();
        let borrowed: Vec<&Record> = records.iter().collect();
        let groups = SiteGroups::of(&borrowed);
        let judged = |group: &str| {
            let of_group: Vec<&&Record> = borrowed.iter().filter(|record| record.group == group).collect();
            let judged = of_group.iter().filter(|record| groups.side(record) == Side::Validation).count();
            (judged, of_group.len())
        };
        let (judged_of_page, all) = judged("page");
        assert!((4..20).contains(&judged_of_page) && all == 50, "{judged_of_page} of {all}");
        for number in 0..200 {
            let (judged, all) = judged(&format!("g{number}"));
            assert!(judged == 0 || judged == all, "{number}");
        }
        assert_eq!(groups.side(&records[0]), groups.side(&records[0].clone()));
    }
}
