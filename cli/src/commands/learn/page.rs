// SPDX-License-Identifier: Apache-2.0
//! The page about what was learned.

use sunbeam_datasets::Label;
use sunbeam_ensemble::{DRIFT_ROWS_MIN, Detector};
use sunbeam_report::measures::{Ranking, Scored};
use sunbeam_report::{
    Aim, ComparisonRow, DriftRow, Evaluation, HeuristicRow, Report, RobustnessRow, SourceRow, Table,
};
use sunbeam_trainer::learn::{Duel, Robustness};

use super::Course;
use super::print::{LAYER_HEADER, PAGE_HEADER, layer_rows, page_rows, scores, since, unmended, verdict};
use crate::commands::train::today;

/// Attacks that may be missed besides, as [`Duel::outcome`] has it.
#[expect(clippy::cast_precision_loss, reason = "a small number")]
const SLACK: f64 = 1.0 / sunbeam_trainer::learn::SLACK as f64;

/// All of it.
pub(super) fn report(course: &Course) -> Report {
    let duels = course.duels();
    Report {
        title: "What was learned from this site's logs".to_owned(),
        created: today(),
        model_card: model_card(course),
        sources: duels.iter().flat_map(|(_, what, duel)| sources(what, duel)).collect(),
        evaluations: duels.iter().flat_map(|(_, what, duel)| evaluations(what, duel)).collect(),
        comparisons: duels
            .iter()
            .flat_map(|(_, what, duel)| comparisons(what, duel))
            .chain(layer_comparisons(course))
            .collect(),
        robustness: duels.iter().flat_map(|(_, what, duel)| robustness(what, duel)).collect(),
        drift: drift_rows(course),
        heuristics: heuristics(course),
        tables: tables(course),
        hashes: hashes(course),
        notes: notes(course),
    }
}

fn model_card(course: &Course) -> Vec<(String, String)> {
    let [earlier, later] = course.learned.records;
    let mut pairs = vec![
        ("version".to_owned(), course.version.clone()),
        ("trained_at".to_owned(), today()),
        ("seed".to_owned(), course.seed.to_string()),
        ("tool".to_owned(), concat!("sunbeam ", env!("CARGO_PKG_VERSION"), ", native trainer").to_owned()),
        ("models in use".to_owned(), course.in_use_name()),
        ("learned from".to_owned(), format!("{earlier} labelled records")),
        ("judged by".to_owned(), format!("{later} later ones{}", since(course))),
    ];
    for ((detector, what, duel), model) in course.duels().iter().zip(&course.models) {
        pairs.push((detector.to_string(), format!("{}: {}", verdict(course, model), scores(what, duel))));
    }
    pairs
}

/// Of the model in use, or of the candidate; doubt begins at one half.
fn samples(duel: &Duel, which: fn(&[f64; 2]) -> f64) -> Vec<Scored> {
    let scored = |sample: &sunbeam_trainer::learn::Sample| {
        let logit = which(&sample.scores);
        Scored::new(1.0 / (1.0 + (-logit).exp()), sample.is_attack, &*sample.source)
    };
    duel.samples.iter().map(scored).collect()
}

const HALF: f64 = 0.5;
type Which = fn(&[f64; 2]) -> f64;
const OLD: Which = |scores| scores[0];
const NEW: Which = |scores| scores[1];

fn sources(what: &str, duel: &Duel) -> Vec<SourceRow> {
    let row = |row: SourceRow| SourceRow { source: format!("{what}: {}", row.source), ..row };
    SourceRow::of_samples(&samples(duel, NEW), HALF).into_iter().map(row).collect()
}

fn evaluations(what: &str, duel: &Duel) -> Vec<Evaluation> {
    let of = |name: &str, which| Evaluation {
        name: format!("{what}: {name}"),
        samples: samples(duel, which),
        threshold: HALF,
    };
    if duel.samples.is_empty() { Vec::new() } else { vec![of("in use", OLD), of("candidate", NEW)] }
}

fn comparisons(what: &str, duel: &Duel) -> Vec<ComparisonRow> {
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    let shares =
        |rows: u64, stopped: [u64; 2]| stopped.map(|count| (rows > 0).then(|| count as f64 / rows as f64));
    let row = |measure: &str, [old, new]: [Option<f64>; 2], aim, slack| ComparisonRow {
        measure: format!("{what}: {measure}"),
        old,
        new,
        aim,
        slack,
    };
    if duel.samples.is_empty() {
        return Vec::new();
    }
    let area = |which| Ranking::of(&samples(duel, which)).auc();
    vec![
        row("benign doubted", shares(duel.benign(), duel.benign_stopped()), Aim::Lower, 0.0),
        row("attacks doubted", shares(duel.attacks(), duel.attacks_stopped()), Aim::Higher, SLACK),
        row("area under the ROC curve", [area(OLD), area(NEW)], Aim::Higher, SLACK),
    ]
}

/// As [`super::layers::Layers::allow`] has it.
fn layer_comparisons(course: &Course) -> Vec<ComparisonRow> {
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    let row = |detector| {
        let [old, new] = course.layers.doubted(detector);
        let benign = course.layers.in_use.benign.max(1) as f64;
        ComparisonRow {
            measure: format!("layer {detector}: benign requests doubted or blocked"),
            old: Some(old as f64 / benign),
            new: Some(new as f64 / benign),
            aim: Aim::Lower,
            slack: 1.0 / sunbeam_trainer::learn::BENIGN_ONE_OF as f64,
        }
    };
    [Detector::Scanner, Detector::Ddos].into_iter().map(row).collect()
}

fn robustness(what: &str, duel: &Duel) -> Vec<RobustnessRow> {
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    let row = |row: &Robustness| {
        let [before, after] = row.stopped.map(|count| count as f64 / row.rows.max(1) as f64);
        RobustnessRow {
            what: format!("{what} of {} attacks: {}", row.rows, row.what),
            before,
            after,
            holds: row.holds(),
        }
    };
    duel.robustness.iter().map(row).collect()
}

/// As a node would tell it of this traffic; nothing of a detector whose model was asked too seldom to say something.
fn drift_rows(course: &Course) -> Vec<DriftRow> {
    let rows = |detector: Detector| {
        let row = move |(feature, index): (&str, f64)| DriftRow {
            feature: format!("{detector}: {feature}"),
            psi: Some(index),
        };
        course.drift(detector).1.into_iter().map(row)
    };
    [Detector::Scanner, Detector::Ddos].into_iter().flat_map(rows).collect()
}

fn tables(course: &Course) -> Vec<Table> {
    let table = |caption: &str, header: &[&str], rows| Table {
        caption: caption.to_owned(),
        header: header.iter().map(|name| (*name).to_owned()).collect(),
        rows,
    };
    let mut tables = vec![table(
        "What the layers of a node would do with benign requests of the later stretch: all that a layer asks, not texts or windows alone",
        &LAYER_HEADER,
        layer_rows(course),
    )];
    let pages = page_rows(course);
    if !pages.is_empty() {
        tables.push(table(
            "Pages of the whole log that the site answered to several clients, and that the scanner's layer has something against",
            &PAGE_HEADER,
            pages,
        ));
    }
    tables
}

fn heuristics(course: &Course) -> Vec<HeuristicRow> {
    let Some(report) = &course.logs.heuristics else { return Vec::new() };
    let word = |label| if label == Label::Attack { "attack" } else { "benign" };
    let row = |rule: &sunbeam_datasets::heuristics::RuleReport| HeuristicRow {
        heuristic: format!("{} ({})", rule.id, word(rule.label)),
        rows: report.records,
        covered: rule.fired,
        overlaps: rule.overlaps,
        conflicts: rule.conflicts,
        accuracy: rule.precision(),
    };
    report.rules.iter().map(row).collect()
}

fn hashes(course: &Course) -> Vec<(String, String)> {
    let inputs = course.origins.iter().map(|origin| (origin.name.clone(), origin.sha256.clone()));
    let outputs =
        course.models.iter().map(|model| (model.file.0.display().to_string(), model.file.1.clone()));
    inputs.chain(outputs).collect()
}

fn notes(course: &Course) -> Vec<String> {
    let mut notes = vec![
        "Judged is the latest stretch of the log, each request once and none that was learned from. Attacks are those \
         that somebody labelled and those of our own that were not learned from; a rule's word on an attack is about \
         what a client did, so it teaches and measures nothing."
            .to_owned(),
        "Benign is what was labelled so, by rules where nobody else did: those are right most of the time only, and call no \
         client calm that asked for what probes ask for. So the share that a layer doubts says little of such pages where no \
         person gave the labels; the likely mistakes say it, by what the site answered."
            .to_owned(),
        "Attacks' windows are of recordings that both models have learned from: they show that nothing was forgotten, \
         not what is found of tools that are new."
            .to_owned(),
        "A client of the earlier stretch may come again in the later one, and windows of one client resemble each other: \
         intervals of windows are narrower than they should be."
            .to_owned(),
        format!(
            "Drift is that of the log from what the models in use were trained on, attacks among it: a site's log has other \
             shares of both, so that its change says more than its size. It is told of a model that was asked {DRIFT_ROWS_MIN} \
             times, as on a node. A candidate carries this log as what it is at home in, where the log tells what clients \
             accept: so the index is near 0 once it judges, and what rises from there is new."
        ),
    ];
    notes.extend(unmended(course));
    if course.learned.distrusted > 0 {
        notes.push(format!(
            "{} requests that a rule calls benign were left out, for the model in use is certain that they attack.",
            course.learned.distrusted
        ));
    }
    notes
}
