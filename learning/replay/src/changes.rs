// SPDX-License-Identifier: Apache-2.0
//! Two replays of the same records side by side.

use serde::Serialize;
use sunbeam_datasets::{Label, Record};

use crate::tally::count_verdict;
use crate::verdict::Verdict;

/// Records whose verdict is another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    kinds: Vec<((Verdict, Verdict), u64)>,
    examples: Vec<Example>,
}

/// Records that changed in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kind {
    /// Before.
    pub old: String,
    /// After.
    pub new: String,
    /// How many.
    pub records: u64,
}

/// One record that changed. Its texts are a client's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// `GET shop.test/cart?id=1`; 200 characters at most.
    pub request: String,
    /// `benign`, `attack`; empty where nobody knows.
    pub label: &'static str,
    /// Before.
    pub old: String,
    /// After.
    pub new: String,
}

const EXAMPLES_MAX: usize = 20;
/// Of one kind: the others should be seen too.
const EXAMPLES_OF_A_KIND: u64 = 5;
const REQUEST_CHARS_MAX: usize = 200;

impl Changes {
    /// Compares what two pipelines said of a record.
    pub fn add(&mut self, record: &Record, old: Verdict, new: Verdict) {
        if old == new {
            return;
        }
        count_verdict(&mut self.kinds, (old, new));
        let of_kind = self.kinds.iter().find(|(kind, _)| *kind == (old, new)).map_or(0, |(_, count)| *count);
        if self.examples.len() < EXAMPLES_MAX && of_kind <= EXAMPLES_OF_A_KIND {
            self.examples.push(Example {
                request: request(record),
                label: record.label.map_or("", word),
                old: old.to_string(),
                new: new.to_string(),
            });
        }
    }

    /// How many changed.
    pub fn records(&self) -> u64 {
        self.kinds.iter().map(|(_, count)| count).sum()
    }

    /// How, the commonest first.
    pub fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self
            .kinds
            .iter()
            .map(|((old, new), records)| Kind {
                old: old.to_string(),
                new: new.to_string(),
                records: *records,
            })
            .collect();
        kinds.sort_by(|one, other| {
            other.records.cmp(&one.records).then_with(|| (&one.old, &one.new).cmp(&(&other.old, &other.new)))
        });
        kinds
    }

    /// 20 at most, five at most of a kind.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }
}

fn request(record: &Record) -> String {
    let mark = if record.query.is_empty() { "" } else { "?" };
    let Record { method, host, path, query, .. } = record;
    format!("{method} {host}{path}{mark}{query}").chars().take(REQUEST_CHARS_MAX).collect()
}

const fn word(label: Label) -> &'static str {
    match label {
        Label::Benign => "benign",
        Label::Attack => "attack",
    }
}
