// SPDX-License-Identifier: Apache-2.0
//! Counts what becomes of records; no memory is taken for one of a source, class, label and reason that is known.

use std::collections::{BTreeMap, HashMap};

use sunbeam_datasets::{Label, LabelSource, Record};
use sunbeam_ensemble::{EnsemblePath, Said};
use sunbeam_pipeline::Decision;

use crate::clock::Times;
use crate::summary::{Rates, Row, Summary, Totals};
use crate::verdict::{Replayed, Verdict};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    records: u64,
    decisions: [u64; DECISIONS.len()],
    /// A few dozen at most: words of our own.
    reasons: Vec<(Verdict, u64)>,
    scanner_paths: [u64; EnsemblePath::ALL.len()],
    ddos_paths: [u64; EnsemblePath::ALL.len()],
    /// Places in `rows`, by source, then by class.
    places: HashMap<String, HashMap<String, usize>>,
    rows: Vec<ByLabel>,
}

/// By the place in [`LABELS`], then by decision.
type ByLabel = [[u64; DECISIONS.len()]; LABELS.len()];

/// What comes of a log: nobody in it can be challenged.
const DECISIONS: [Decision; 3] = [Decision::Passed, Decision::Observed, Decision::Blocked];
const LABELS: [&str; 5] = ["", "benign", "attack", "weak benign", "weak attack"];
/// Whoever writes a corpus may not choose how many rows there are: what comes past them has no name.
const CLASSES_MAX: usize = 4096;

impl Tally {
    /// Counts one.
    pub fn add(&mut self, record: &Record, replayed: &Replayed) {
        let verdict = replayed.verdict;
        self.records += 1;
        count(&mut self.decisions, place_of(verdict.decision));
        if !verdict.reason.is_empty() || verdict.decision != Decision::Passed {
            count_verdict(&mut self.reasons, verdict);
        }
        count_path(&mut self.scanner_paths, replayed.scores.scanner);
        count_path(&mut self.ddos_paths, replayed.scores.ddos);
        let place = self.place(&record.source, &record.class);
        if let Some(decisions) = self.rows.get_mut(place).and_then(|row| row.get_mut(label(record))) {
            count(decisions, place_of(verdict.decision));
        }
    }

    /// In figures.
    pub fn summary(&self, times: Times) -> Summary {
        let paths = |counts: &[u64]| named(EnsemblePath::ALL.iter().map(|path| path.as_str()).zip(counts));
        let mut sources = self.sources();
        sources.sort_by(|one, other| {
            (&one.source, &one.class, one.label).cmp(&(&other.source, &other.class, other.label))
        });
        Summary {
            records: self.records,
            times,
            decisions: named(DECISIONS.iter().map(|decision| decision.as_str()).zip(&self.decisions)),
            reasons: self.reasons.iter().map(|(verdict, count)| (verdict.to_string(), *count)).collect(),
            scanner_paths: paths(&self.scanner_paths),
            ddos_paths: paths(&self.ddos_paths),
            totals: Totals { attack: total(&sources, "attack"), benign: total(&sources, "benign") },
            sources,
        }
    }

    fn place(&mut self, source: &str, class: &str) -> usize {
        // Not `entry`, which would take memory for the key of one that is known.
        let place = |source, class| self.places.get(source).and_then(|classes| classes.get(class)).copied();
        if let Some(place) = place(source, class) {
            return place;
        }
        if self.rows.len() >= CLASSES_MAX {
            return place("", "").unwrap_or_else(|| self.make_place("", ""));
        }
        self.make_place(source, class)
    }

    fn make_place(&mut self, source: &str, class: &str) -> usize {
        let place = self.rows.len();
        self.rows.push(ByLabel::default());
        self.places.entry(source.to_owned()).or_default().insert(class.to_owned(), place);
        place
    }

    fn sources(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (source, classes) in &self.places {
            for (class, place) in classes {
                let by_label = self.rows.get(*place).into_iter().flatten();
                for (label, [passed, observed, blocked]) in LABELS.into_iter().zip(by_label) {
                    let records = passed + observed + blocked;
                    if records > 0 {
                        let rates = Rates::of(records, *blocked, *observed);
                        rows.push(Row { source: source.clone(), class: class.clone(), label, rates });
                    }
                }
            }
        }
        rows
    }
}

/// The place in [`DECISIONS`].
fn place_of(decision: Decision) -> usize {
    DECISIONS.iter().position(|known| *known == decision).unwrap_or(DECISIONS.len())
}

/// The place in [`LABELS`].
fn label(record: &Record) -> usize {
    let is_weak = matches!(record.label_source, LabelSource::Heuristic(_));
    match (record.label, is_weak) {
        (None, _) => 0,
        (Some(Label::Benign), false) => 1,
        (Some(Label::Attack), false) => 2,
        (Some(Label::Benign), true) => 3,
        (Some(Label::Attack), true) => 4,
    }
}

fn count(counts: &mut [u64], place: usize) {
    if let Some(count) = counts.get_mut(place) {
        *count += 1;
    }
}

fn count_path(counts: &mut [u64], said: Option<Said>) {
    if let Some(said) = said {
        count(counts, said.path as usize);
    }
}

pub(crate) fn count_verdict<K: PartialEq>(counts: &mut Vec<(K, u64)>, key: K) {
    match counts.iter_mut().find(|(known, _)| *known == key) {
        Some((_, count)) => *count += 1,
        None => counts.push((key, 1)),
    }
}

fn named<'a>(counts: impl Iterator<Item = (&'static str, &'a u64)>) -> BTreeMap<&'static str, u64> {
    counts.map(|(name, count)| (name, *count)).collect()
}

fn total(rows: &[Row], label: &str) -> Rates {
    let of = rows.iter().filter(|row| row.label == label).map(|row| row.rates);
    let (records, blocked, observed) = of.fold((0, 0, 0), |(records, blocked, observed), rates| {
        (records + rates.records, blocked + rates.blocked, observed + rates.observed)
    });
    Rates::of(records, blocked, observed)
}
