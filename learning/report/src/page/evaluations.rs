// SPDX-License-Identifier: Apache-2.0
//! What scored sets say: counts at the threshold and the curves.

use std::num::NonZeroU16;

use super::chart::{Axis, Chart, Join, Point, SERIES_MAX, Scale, Series};
use super::evidence::interval;
use super::markup::{Cell, Markup, more, paragraph, table};
use super::numbers::{NONE, count, figure, figure_or_none, percent, percent_or_none, whole};
use super::{EVALUATIONS_MAX, Material};
use crate::Evaluation;
use crate::measures::{Bin, Confusion, Ranking, Reliability, clopper_pearson_upper, reliability, wilson};

/// An evaluation, sorted and counted once for all chapters.
#[derive(Debug)]
pub(super) struct Judged<'a> {
    evaluation: &'a Evaluation,
    ranking: Ranking,
    counted: Confusion,
    weighted: Confusion,
    reliability: Option<Reliability>,
}

impl<'a> Judged<'a> {
    /// Sorts and counts.
    pub(super) fn new(evaluation: &'a Evaluation) -> Self {
        let Evaluation { samples, threshold, .. } = evaluation;
        Self {
            evaluation,
            ranking: Ranking::of(samples),
            counted: Confusion::counted(samples, *threshold),
            weighted: Confusion::weighted(samples, *threshold),
            reliability: reliability(samples, BINS),
        }
    }

    fn name(&self) -> &str {
        &self.evaluation.name
    }

    /// Why it has no curve, if it has none.
    fn lack(&self) -> Option<&'static str> {
        match (self.ranking.attacks() > 0.0, self.ranking.benign() > 0.0) {
            (true, true) => None,
            (true, false) => {
                Some("holds attacks only: there is no false positive to count and no curve to draw.")
            }
            (false, true) => {
                Some("holds nothing but benign: there is no attack to catch and no curve to draw.")
            }
            (false, false) => Some("holds no samples."),
        }
    }

    /// Where the threshold stands in a ROC.
    fn roc_mark(&self) -> Option<Point> {
        Some((self.weighted.false_positive_rate()?, self.weighted.true_positive_rate()?))
    }

    /// Where the threshold stands among precision and recall.
    fn precision_mark(&self) -> Option<Point> {
        Some((self.weighted.true_positive_rate()?, self.weighted.precision()?))
    }
}

/// Bins of the reliability.
const BINS: NonZeroU16 = NonZeroU16::new(10).expect("ten is not zero");

/// What is right and wrong at the threshold of each evaluation.
pub(super) fn confusion(material: &Material<'_>) -> Markup {
    let tables: Markup = material.judged.iter().flat_map(|judged| [matrix(judged), rates(judged)]).collect();
    let hidden = more(material.report.evaluations.len().saturating_sub(EVALUATIONS_MAX));
    Markup(format!("{}{tables}{hidden}", lacks(material)))
}

fn lacks(material: &Material<'_>) -> Markup {
    let lack =
        |judged: &Judged<'_>| judged.lack().map(|lack| paragraph(&format!("“{}” {lack}", judged.name())));
    material.judged.iter().filter_map(lack).collect()
}

fn matrix(judged: &Judged<'_>) -> Markup {
    let Confusion { true_positives, false_positives, true_negatives, false_negatives } = judged.counted;
    let caption =
        format!("{}: samples at the threshold of {}", judged.name(), figure(judged.evaluation.threshold));
    let row = |name: &str, blocked, passed| {
        let number = |value| Cell::Number(count(whole(value)));
        vec![Cell::Text(name.to_owned()), number(blocked), number(passed), number(blocked + passed)]
    };
    let rows =
        [row("Attacks", true_positives, false_negatives), row("Benign", false_positives, true_negatives)];
    table(&caption, ["What it is", "Blocked", "Passed", "All"], rows)
}

fn rates(judged: &Judged<'_>) -> Markup {
    let Judged { counted, weighted, .. } = judged;
    let rate = |name: &str, of: fn(&Confusion) -> Option<f64>, within: String| {
        let number = |confusion| Cell::Number(percent_or_none(of(confusion)));
        vec![Cell::Text(name.to_owned()), number(counted), Cell::Number(within), number(weighted)]
    };
    let rows = [
        rate(
            "Attacks blocked",
            Confusion::true_positive_rate,
            within(counted.true_positives, counted.attacks()),
        ),
        rate(
            "Benign blocked",
            Confusion::false_positive_rate,
            within(counted.false_positives, counted.benign()),
        ),
        rate(
            "Benign passed",
            Confusion::true_negative_rate,
            within(counted.true_negatives, counted.benign()),
        ),
        rate(
            "Blocked that are attacks",
            Confusion::precision,
            within(counted.true_positives, counted.blocked()),
        ),
        rate("Balanced accuracy", Confusion::balanced_accuracy, NONE.to_owned()),
    ];
    let caption = format!("{}: rates at the threshold", judged.name());
    let table = table(&caption, ["Rate", "By samples", "95 % interval", "By weight"], rows);
    Markup(format!("{table}{}", bound(counted)))
}

fn within(hits: f64, trials: f64) -> String {
    if trials > 0.0 { interval(wilson(hits, trials)) } else { NONE.to_owned() }
}

fn bound(counted: &Confusion) -> Markup {
    let bound = clopper_pearson_upper(whole(counted.false_positives), whole(counted.benign()), 0.95);
    let sentence = format!(
        "At 95 %, no more than {} of such benign samples are blocked (Clopper and Pearson).",
        percent(bound)
    );
    if counted.benign() > 0.0 { paragraph(&sentence) } else { Markup::default() }
}

/// Attacks blocked against benign blocked.
pub(super) fn roc(material: &Material<'_>) -> Markup {
    let sentence = "Up and left is better. The axis of benign blocked is logarithmic, for what matters is far left. The \
                    marks are the thresholds; curves count weights.";
    curves(material, sentence, roc_chart, roc_table)
}

/// What curves have in common: a sentence, charts of some evaluations each, a table, and who is missing.
fn curves(
    material: &Material<'_>,
    sentence: &str,
    chart: fn(usize, &[&Judged<'_>]) -> Chart,
    table: fn(&[&Judged<'_>]) -> Markup,
) -> Markup {
    let drawn: Vec<&Judged<'_>> = material.judged.iter().filter(|judged| judged.lack().is_none()).collect();
    if drawn.is_empty() {
        return lacks(material);
    }
    let charts = (1..).zip(drawn.chunks(SERIES_MAX)).map(|(number, some)| chart(number, some));
    [paragraph(sentence), side_by_side(charts, &table(&drawn)), lacks(material)].into_iter().collect()
}

/// Beside each other where there is room.
fn side_by_side(charts: impl Iterator<Item = Chart>, table: &Markup) -> Markup {
    let charts: Markup = charts.map(|chart| chart.html()).collect();
    Markup(format!("<div class=\"charts\">{charts}{table}</div>\n"))
}

fn roc_table(drawn: &[&Judged<'_>]) -> Markup {
    let caption = "Area under the curve, and attacks blocked at a share of benign blocked";
    let header = ["Evaluation", "AUC", "At 0.01 %", "At 0.1 %", "At 1 %"];
    table(caption, header, drawn.iter().map(|judged| roc_row(judged)))
}

fn roc_row(judged: &Judged<'_>) -> Vec<Cell> {
    let at = |rate| Cell::Number(caught_at(judged, rate));
    let auc = Cell::Number(figure_or_none(judged.ranking.auc()));
    vec![Cell::Text(judged.name().to_owned()), auc, at(0.0001), at(0.001), at(0.01)]
}

/// A rate that is finer than one benign sample cannot be measured: that is said, not guessed.
fn caught_at(judged: &Judged<'_>, rate: f64) -> String {
    if judged.counted.benign() * rate < 1.0 {
        return "too few benign".to_owned();
    }
    percent_or_none(judged.ranking.true_positive_rate_at(rate))
}

fn roc_chart(number: usize, some: &[&Judged<'_>]) -> Chart {
    let says =
        |judged: &&Judged<'_>| format!("{}: AUC {}", judged.name(), figure_or_none(judged.ranking.auc()));
    Chart {
        id: format!("roc-{number}"),
        title: "Attacks blocked against benign blocked".to_owned(),
        description: described(some, says),
        across: rate_axis(),
        up: share_axis("attacks blocked", lowest_shown(some)),
        reference: (0..=50)
            .map(|step| 10_f64.powf(f64::from(step) / 10.0 - 5.0))
            .map(|rate| (rate, rate))
            .collect(),
        series: some.iter().map(|judged| roc_series(judged)).collect(),
    }
}

fn described(some: &[&Judged<'_>], says: impl Fn(&&Judged<'_>) -> String) -> String {
    let lines: Vec<String> = some.iter().map(says).collect();
    format!("{}. The numbers stand in the table below.", lines.join("; "))
}

fn roc_series(judged: &Judged<'_>) -> Series {
    let points = judged.ranking.roc().unwrap_or_default();
    Series {
        name: judged.name().to_owned(),
        points: points.iter().map(|point| (point.false_positive_rate, point.true_positive_rate)).collect(),
        join: Join::AcrossFirst,
        marks: judged.roc_mark().into_iter().collect(),
    }
}

/// Precision against recall.
pub(super) fn precision_recall(material: &Material<'_>) -> Markup {
    let sentence = "Up and right is better. Precision depends on the share of attacks in the set, which is not that of \
                    the traffic.";
    curves(material, sentence, precision_chart, precision_table)
}

fn precision_table(drawn: &[&Judged<'_>]) -> Markup {
    let header = ["Evaluation", "Average precision", "Share of attacks"];
    table("Average precision", header, drawn.iter().map(|judged| precision_row(judged)))
}

fn precision_row(judged: &Judged<'_>) -> Vec<Cell> {
    let (attacks, benign) = (judged.ranking.attacks(), judged.ranking.benign());
    vec![
        Cell::Text(judged.name().to_owned()),
        Cell::Number(figure_or_none(judged.ranking.average_precision())),
        Cell::Number(percent(attacks / (attacks + benign))),
    ]
}

fn precision_chart(number: usize, some: &[&Judged<'_>]) -> Chart {
    let mean = |judged: &&Judged<'_>| figure_or_none(judged.ranking.average_precision());
    Chart {
        id: format!("precision-{number}"),
        title: "Precision against recall".to_owned(),
        description: described(some, |judged| {
            format!("{}: average precision {}", judged.name(), mean(judged))
        }),
        across: share_axis("recall: attacks blocked", 0.0),
        up: share_axis("precision", 0.0),
        reference: Vec::new(),
        series: some.iter().map(|judged| precision_series(judged)).collect(),
    }
}

fn precision_series(judged: &Judged<'_>) -> Series {
    let points = judged.ranking.precision_recall().unwrap_or_default();
    Series {
        name: judged.name().to_owned(),
        points: points.iter().map(|point| (point.recall, point.precision)).collect(),
        join: Join::UpFirst,
        marks: judged.precision_mark().into_iter().collect(),
    }
}

/// Whether scores are probabilities.
pub(super) fn reliability_chapter(material: &Material<'_>) -> Markup {
    let measured: Vec<_> =
        material.judged.iter().filter_map(|judged| Some((judged, judged.reliability.as_ref()?))).collect();
    if measured.is_empty() {
        return unreliable(material);
    }
    let sentence =
        "On the line, a score of 0.8 means an attack in four of five cases; below it, the model is too sure.";
    let charts = (1..).zip(measured.chunks(SERIES_MAX)).map(|(number, some)| reliability_chart(number, some));
    let rows = measured.iter().map(|(judged, reliability)| reliability_row(judged, reliability));
    let table = table("Calibration errors", ["Evaluation", "Expected error", "Worst bin"], rows);
    [paragraph(sentence), side_by_side(charts, &table), unreliable(material)].into_iter().collect()
}

fn unreliable(material: &Material<'_>) -> Markup {
    let without = material.judged.iter().filter(|judged| judged.reliability.is_none());
    let says = |judged: &Judged<'_>| match judged.lack() {
        Some(lack) => format!("“{}” {lack}", judged.name()),
        None => format!("The scores of “{}” are no probabilities.", judged.name()),
    };
    without.map(|judged| paragraph(&says(judged))).collect()
}

fn reliability_row(judged: &Judged<'_>, reliability: &Reliability) -> Vec<Cell> {
    vec![
        Cell::Text(judged.name().to_owned()),
        Cell::Number(figure(reliability.expected_error)),
        Cell::Number(figure(reliability.worst_error)),
    ]
}

fn reliability_chart(number: usize, some: &[(&Judged<'_>, &Reliability)]) -> Chart {
    let judged: Vec<&Judged<'_>> = some.iter().map(|(judged, _)| *judged).collect();
    let error =
        |judged: &&Judged<'_>| judged.reliability.as_ref().map(|reliability| reliability.expected_error);
    Chart {
        id: format!("reliability-{number}"),
        title: "Attacks among samples of a score".to_owned(),
        description: described(&judged, |judged| {
            format!("{}: expected error {}", judged.name(), figure_or_none(error(judged)))
        }),
        across: score_axis(),
        up: share_axis("share of attacks", 0.0),
        reference: vec![(0.0, 0.0), (1.0, 1.0)],
        series: some.iter().map(|(judged, reliability)| reliability_series(judged, reliability)).collect(),
    }
}

fn reliability_series(judged: &Judged<'_>, reliability: &Reliability) -> Series {
    let point = |bin: &Bin| Some((bin.mean_score()?, bin.attack_rate()?));
    let points: Vec<Point> = reliability.bins.iter().filter_map(point).collect();
    Series { name: judged.name().to_owned(), points: points.clone(), join: Join::Straight, marks: points }
}

/// Percents from `low` up: five steps.
fn share_axis(label: &'static str, low: f64) -> Axis {
    let value = |step: i32| low + (1.0 - low) * f64::from(step) / 5.0;
    let tick = |step| (value(step), format!("{:.0} %", value(step) * 100.0));
    Axis { label, scale: Scale::Share(low), ticks: (0..=5).map(tick).collect() }
}

fn score_axis() -> Axis {
    let ticks = (0..=5).map(|step| f64::from(step) / 5.0).map(|value| (value, figure(value))).collect();
    Axis { label: "mean score", scale: Scale::Share(0.0), ticks }
}

fn rate_axis() -> Axis {
    let names = ["≤0.001 %", "0.01 %", "0.1 %", "1 %", "10 %", "100 %"];
    let ticks = (-5..=0).map(|power| 10_f64.powi(power)).zip(names.map(str::to_owned)).collect();
    Axis { label: "benign blocked", scale: Scale::LogShare(1e-5), ticks }
}

/// Where the axis of attacks blocked begins: good models differ in the last percents only.
fn lowest_shown(some: &[&Judged<'_>]) -> f64 {
    let caught = |judged: &&Judged<'_>| judged.ranking.true_positive_rate_at(0.0001).unwrap_or(0.0);
    let lowest = some.iter().map(caught).fold(1.0, f64::min);
    [0.95, 0.9, 0.8, 0.5].into_iter().find(|low| *low < lowest - 0.01).unwrap_or(0.0)
}
