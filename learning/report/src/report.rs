// SPDX-License-Identifier: Apache-2.0
//! What a training run has to tell. Any text may hold what a client wrote: the page shows it as text.

use std::collections::BTreeMap;

use crate::measures::{Interval, Scored, Stability, clopper_pearson_upper, wilson};

/// A training run. What is left empty is said to be missing, not left out.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Of the page.
    pub title: String,
    /// When it was made, as text.
    pub created: String,
    /// What the model is, is for, and was made of: names and texts, in order.
    pub model_card: Vec<(String, String)>,
    /// What is blocked of each source.
    pub sources: Vec<SourceRow>,
    /// Scored sets; the curves of four share a chart.
    pub evaluations: Vec<Evaluation>,
    /// The old model beside the new one.
    pub comparisons: Vec<ComparisonRow>,
    /// What must not change a verdict.
    pub robustness: Vec<RobustnessRow>,
    /// Features of today beside those of the training.
    pub drift: Vec<DriftRow>,
    /// What weak labels are made by.
    pub heuristics: Vec<HeuristicRow>,
    /// Anything else: sweeps, ablations.
    pub tables: Vec<Table>,
    /// Names and SHA-256 of what went in and came out.
    pub hashes: Vec<(String, String)>,
    /// What the reader must know.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether the new model may replace the old one, by its comparisons and its robustness.
    pub fn verdict(&self) -> Verdict {
        let has = |change| self.comparisons.iter().any(|row| row.change() == change);
        if has(Change::Worse) || self.robustness.iter().any(|row| !row.holds) {
            Verdict::Worse
        } else if self.comparisons.is_empty() || has(Change::Unmeasured) {
            Verdict::Undecided
        } else if has(Change::Better) {
            Verdict::Better
        } else {
            Verdict::Same
        }
    }
}

/// Old beside new, over all measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was compared, or something could not be.
    Undecided,
    /// By some measure, or a robustness check does not hold.
    Worse,
    /// By no measure better or worse.
    Same,
    /// By some measure better and by none worse.
    Better,
}

/// Samples that a model has scored, and the threshold that it would serve with.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Which model on which set.
    pub name: String,
    /// All of them; the page draws no more than 400 points of each curve.
    pub samples: Vec<Scored>,
    /// Blocked at or above.
    pub threshold: f64,
}

/// What the samples of a source are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceLabel {
    /// Should be blocked.
    Attack,
    /// Should pass.
    Benign,
    /// Nobody said.
    Unknown,
}

/// What is blocked of one source. Rate and intervals follow from the counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRow {
    /// The corpus or log.
    pub source: String,
    /// What its samples are; a source of both has two rows.
    pub label: SourceLabel,
    /// Samples.
    pub rows: u64,
    /// Of them, blocked.
    pub blocked: u64,
}

impl SourceRow {
    /// A row for each source and class, in the order of names. Samples count once, whatever their weight.
    pub fn of_samples(samples: &[Scored], threshold: f64) -> Vec<Self> {
        let mut counts: BTreeMap<(&str, SourceLabel), (u64, u64)> = BTreeMap::new();
        for sample in samples {
            let label = if sample.is_attack { SourceLabel::Attack } else { SourceLabel::Benign };
            let (rows, blocked) = counts.entry((&sample.source, label)).or_default();
            *rows += 1;
            *blocked += u64::from(sample.score >= threshold);
        }
        let row = |((source, label), (rows, blocked)): ((&str, _), _)| Self {
            source: source.into(),
            label,
            rows,
            blocked,
        };
        counts.into_iter().map(row).collect()
    }

    /// Share that is blocked. None without rows.
    pub fn rate(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.blocked as f64 / self.rows as f64)
    }

    /// Where the rate lies, at 95 % (Wilson).
    pub fn interval(&self) -> Interval {
        wilson(self.blocked as f64, self.rows as f64)
    }

    /// What the rate is not above, at 95 % (Clopper and Pearson, one-sided).
    pub fn upper_bound(&self) -> f64 {
        clopper_pearson_upper(self.blocked, self.rows, 0.95)
    }
}

/// Which way a measure gets better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// As an area under a curve does.
    Higher,
    /// As a false positive rate does.
    Lower,
}

/// One measure of the old model beside the new one.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparisonRow {
    /// What was measured, on what.
    pub measure: String,
    /// None where it was not measured.
    pub old: Option<f64>,
    /// None where it was not measured.
    pub new: Option<f64>,
    /// Which way is better.
    pub aim: Aim,
    /// A difference of this much or less is none.
    pub slack: f64,
}

/// What became of a measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Better by more than the slack.
    Better,
    /// Within the slack.
    Same,
    /// Worse by more than the slack.
    Worse,
    /// One of both is missing or not a number.
    Unmeasured,
}

impl ComparisonRow {
    /// From old to new.
    pub fn change(&self) -> Change {
        let gain = match (self.old, self.new, self.aim) {
            (Some(old), Some(new), Aim::Higher) => new - old,
            (Some(old), Some(new), Aim::Lower) => old - new,
            _ => f64::NAN,
        };
        if gain.is_nan() || self.slack.is_nan() {
            Change::Unmeasured
        } else if gain.abs() <= self.slack || gain == 0.0 {
            Change::Same
        } else if gain > 0.0 {
            Change::Better
        } else {
            Change::Worse
        }
    }
}

/// Something that must not change a verdict, and whether it did.
#[derive(Clone, Debug, PartialEq)]
pub struct RobustnessRow {
    /// What was done to the samples.
    pub what: String,
    /// A score or a rate, untouched.
    pub before: f64,
    /// The same, touched.
    pub after: f64,
    /// Whether the promise is kept.
    pub holds: bool,
}

/// One feature of today beside the training.
#[derive(Clone, Debug, PartialEq)]
pub struct DriftRow {
    /// Its name.
    pub feature: String,
    /// The population stability index. None where it could not be taken.
    pub psi: Option<f64>,
}

impl DriftRow {
    /// None where there is no index.
    pub fn verdict(&self) -> Option<Stability> {
        self.psi.map(Stability::of)
    }
}

/// What one heuristic says of a set (Ratner et al. 2017, Snorkel): counts of samples.
#[derive(Clone, Debug, PartialEq)]
pub struct HeuristicRow {
    /// Its name.
    pub heuristic: String,
    /// Samples it was asked about.
    pub rows: u64,
    /// It gave a label.
    pub covered: u64,
    /// Of those covered, another heuristic gave a label too.
    pub overlaps: u64,
    /// Of those covered, another gave another label.
    pub conflicts: u64,
    /// Share that is right, where somebody knows.
    pub accuracy: Option<f64>,
}

/// Any table. What is past 500 rows or 40 columns is counted, not shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// What it shows.
    pub caption: String,
    /// Names of the columns.
    pub header: Vec<String>,
    /// Cells. Numbers stand at the right.
    pub rows: Vec<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(old: Option<f64>, new: Option<f64>, aim: Aim) -> ComparisonRow {
        ComparisonRow { measure: "m".into(), old, new, aim, slack: 0.01 }
    }

    #[test]
    fn a_change_has_a_direction() {
        for (name, old, new, aim, want) in [
            ("up", Some(0.5), Some(0.6), Aim::Higher, Change::Better),
            ("down", Some(0.6), Some(0.5), Aim::Higher, Change::Worse),
            ("up is bad", Some(0.5), Some(0.6), Aim::Lower, Change::Worse),
            ("down is good", Some(0.6), Some(0.5), Aim::Lower, Change::Better),
            ("within the slack", Some(0.5), Some(0.505), Aim::Higher, Change::Same),
            ("nothing old", None, Some(0.5), Aim::Higher, Change::Unmeasured),
            ("not a number", Some(0.5), Some(f64::NAN), Aim::Higher, Change::Unmeasured),
        ] {
            assert_eq!(row(old, new, aim).change(), want, "{name}");
        }
    }

    #[test]
    fn a_verdict_is_the_worst_of_all() {
        let better = || row(Some(0.5), Some(0.9), Aim::Higher);
        let same = || row(Some(0.5), Some(0.5), Aim::Higher);
        let worse = || row(Some(0.5), Some(0.1), Aim::Higher);
        for (name, comparisons, want) in [
            ("nothing", vec![], Verdict::Undecided),
            ("better", vec![better(), same()], Verdict::Better),
            ("same", vec![same()], Verdict::Same),
            ("one worse", vec![better(), worse(), row(None, None, Aim::Lower)], Verdict::Worse),
            ("one unknown", vec![better(), row(None, None, Aim::Lower)], Verdict::Undecided),
        ] {
            assert_eq!(Report { comparisons, ..Report::default() }.verdict(), want, "{name}");
        }
        let broken = RobustnessRow { what: "padding".into(), before: 1.0, after: 0.0, holds: false };
        let report = Report { comparisons: vec![better()], robustness: vec![broken], ..Report::default() };
        assert_eq!(report.verdict(), Verdict::Worse);
    }

    #[test]
    fn sources_are_counted_by_class() {
        let samples = [
            Scored::new(0.9, true, "b"),
            Scored::new(0.5, false, "b"),
            Scored::new(0.1, true, "a"),
            Scored::new(0.1, false, "b"),
        ];
        let counts: Vec<_> = SourceRow::of_samples(&samples, 0.5)
            .into_iter()
            .map(|row| (row.source, row.label, row.rows, row.blocked))
            .collect();
        let want = [
            ("a".to_owned(), SourceLabel::Attack, 1, 0),
            ("b".to_owned(), SourceLabel::Attack, 1, 1),
            ("b".to_owned(), SourceLabel::Benign, 2, 1),
        ];
        assert_eq!(counts, want);
    }
}
