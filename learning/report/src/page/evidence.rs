// SPDX-License-Identifier: Apache-2.0
//! Rows that the run has counted: sources, robustness, drift, heuristics.

use super::Material;
use super::markup::{Cell, Markup, Tone, paragraph, status, table};
use super::numbers::{NONE, count, figure, figure_or_none, percent, percent_or_none};
use crate::measures::{Interval, Stability};
use crate::{DriftRow, HeuristicRow, RobustnessRow, SourceLabel, SourceRow};

/// A sentence and a table, or nothing without rows.
fn chapter<T>(
    sentence: &str,
    caption: &str,
    header: &[&str],
    rows: &[T],
    cells: fn(&T) -> Vec<Cell>,
) -> Markup {
    if rows.is_empty() {
        return Markup::default();
    }
    let table = table(caption, header.iter().copied(), rows.iter().map(cells));
    Markup(format!("{}{table}", paragraph(sentence)))
}

/// What is blocked of each source.
pub(super) fn sources(material: &Material<'_>) -> Markup {
    let sentence = "Intervals are Wilson's, at 95 %. The bound is what the rate of benign requests blocked is not above, \
                    at 95 %, exactly (Clopper and Pearson, one-sided). The bar shows the interval from 0 to 100 %.";
    let header = ["Source", "What it is", "Rows", "Blocked", "Rate", "Bar", "95 % interval", "Bound"];
    chapter(sentence, "Blocked of each source", &header, &material.report.sources, source)
}

fn source(row: &SourceRow) -> Vec<Cell> {
    let (label, bound) = match row.label {
        SourceLabel::Attack => ("attack", NONE.to_owned()),
        SourceLabel::Benign => ("benign", percent(row.upper_bound())),
        SourceLabel::Unknown => ("unknown", NONE.to_owned()),
    };
    vec![
        Cell::Text(row.source.clone()),
        Cell::Text(label.to_owned()),
        Cell::Number(count(row.rows)),
        Cell::Number(count(row.blocked)),
        Cell::Number(percent_or_none(row.rate())),
        Cell::Markup(row.rate().map(|rate| bar(rate, row.interval())).unwrap_or_default()),
        Cell::Number(interval(row.interval())),
        Cell::Number(bound),
    ]
}

/// `99.12 % – 99.95 %`
pub(super) fn interval(interval: Interval) -> String {
    format!("{} – {}", percent(interval.low), percent(interval.high))
}

/// The interval as a line, the rate as a dot; hidden from readers that have the numbers beside it.
fn bar(rate: f64, interval: Interval) -> Markup {
    let (low, high, rate) = (interval.low * 100.0, interval.high * 100.0, rate * 100.0);
    Markup(format!(
        "<svg class=\"bar\" viewBox=\"-6 0 112 14\" aria-hidden=\"true\"><path class=\"grid\" d=\"M0 7H100M0 2V12M100 2V12\"/>\
         <path class=\"range\" d=\"M{low:.1} 7H{high:.1}\"/><circle cx=\"{rate:.1}\" cy=\"7\" r=\"4\"/></svg>"
    ))
}

/// What must not change a verdict.
pub(super) fn robustness(material: &Material<'_>) -> Markup {
    let sentence = "What was done to the samples that must not change what is said of them.";
    let header = ["What was done", "Before", "After", "Verdict"];
    chapter(sentence, "Robustness checks", &header, &material.report.robustness, robustness_row)
}

fn robustness_row(row: &RobustnessRow) -> Vec<Cell> {
    let verdict = if row.holds { status(Tone::Good, "holds") } else { status(Tone::Bad, "does not hold") };
    vec![
        Cell::Text(row.what.clone()),
        Cell::Number(figure(row.before)),
        Cell::Number(figure(row.after)),
        Cell::Markup(verdict),
    ]
}

/// Features of today beside those of the training.
pub(super) fn drift(material: &Material<'_>) -> Markup {
    let sentence = "The population stability index of each feature, training beside today: stable below 0.1, shifted \
                    from 0.25.";
    let header = ["Feature", "Index", "Verdict"];
    chapter(sentence, "Drift of features", &header, &material.report.drift, drift_row)
}

fn drift_row(row: &DriftRow) -> Vec<Cell> {
    let (tone, word) = match row.verdict() {
        Some(Stability::Stable) => (Tone::Good, "stable"),
        Some(Stability::Shifting) => (Tone::Doubtful, "shifting"),
        Some(Stability::Shifted) => (Tone::Bad, "shifted"),
        None => (Tone::Doubtful, "not measured"),
    };
    vec![
        Cell::Text(row.feature.clone()),
        Cell::Number(figure_or_none(row.psi)),
        Cell::Markup(status(tone, word)),
    ]
}

/// What weak labels are made by.
pub(super) fn heuristics(material: &Material<'_>) -> Markup {
    let sentence = "How many samples each heuristic labels, how often another labels them too, and how often that one \
                    says otherwise. Weak labels train; they are no evidence.";
    let header = ["Heuristic", "Rows", "Covered", "Coverage", "Overlaps", "Conflicts", "Accuracy"];
    chapter(sentence, "Coverage of heuristics", &header, &material.report.heuristics, heuristic)
}

fn heuristic(row: &HeuristicRow) -> Vec<Cell> {
    let coverage = (row.rows > 0).then(|| row.covered as f64 / row.rows as f64);
    vec![
        Cell::Text(row.heuristic.clone()),
        Cell::Number(count(row.rows)),
        Cell::Number(count(row.covered)),
        Cell::Number(percent_or_none(coverage)),
        Cell::Number(count(row.overlaps)),
        Cell::Number(count(row.conflicts)),
        Cell::Number(percent_or_none(row.accuracy)),
    ]
}
