// SPDX-License-Identifier: Apache-2.0
//! Writes a report of made-up samples, to look at: `cargo run -p sunbeam-report --example sample -- FILE [SAMPLES]`.

use std::env;
use std::fs;
use std::io;

use sunbeam_report::measures::{Ranking, Scored, population_stability_index};
use sunbeam_report::{
    Aim, ComparisonRow, DriftRow, Evaluation, HeuristicRow, Report, RobustnessRow, SourceRow, Table, html,
};

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let file = arguments.next().ok_or_else(|| io::Error::other("say which file to write"))?;
    let samples = arguments.next().and_then(|samples| samples.parse().ok()).unwrap_or(40_000);
    fs::write(file, html(&report(samples)))
}

fn report(samples: u32) -> Report {
    let evaluations = vec![
        evaluation("new model, held out", 5.0, samples),
        evaluation("old model, held out", 2.5, samples),
    ];
    Report {
        title: "Scanner model, run 12".into(),
        created: "made-up numbers".into(),
        model_card: texts(&[
            ("Purpose", "Tells probes from people, one window at a time"),
            ("Shape", "14 inputs, 32 hidden, 1 output; 8-bit weights"),
            ("Not for", "Payloads: the WAF reads those"),
        ]),
        sources: evaluations
            .iter()
            .take(1)
            .flat_map(|one| SourceRow::of_samples(&one.samples, one.threshold))
            .collect(),
        evaluations,
        comparisons: comparisons(),
        robustness: robustness(),
        drift: drift(),
        heuristics: heuristics(),
        tables: vec![sweep()],
        hashes: texts(&[("data set", &"9f86d081".repeat(8)), ("weights", &"60303ae2".repeat(8))]),
        notes: vec!["All numbers on this page are made up.".into()],
    }
}

fn texts(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn evaluation(name: &str, skill: f64, count: u32) -> Evaluation {
    let samples: Vec<Scored> = (0..count).map(|seed| sample(seed, skill)).collect();
    let threshold = Ranking::of(&samples).threshold_at(0.001).unwrap_or(f64::INFINITY);
    Evaluation { name: name.into(), samples, threshold }
}

fn sample(seed: u32, skill: f64) -> Scored {
    let is_attack = seed.is_multiple_of(4);
    let noise: f64 = (1..=6).map(|part| random(seed.wrapping_mul(7).wrapping_add(part))).sum::<f64>() - 3.0;
    let logit = noise * 2.0 + if is_attack { skill } else { -4.0 };
    let sources = if is_attack {
        ["<img src=x onerror=alert(1)>", "honeypot"]
    } else {
        ["shop", "api, mobile clients"]
    };
    let source = if seed.is_multiple_of(3) { sources[0] } else { sources[1] };
    Scored::new(1.0 / (1.0 + (-logit).exp()), is_attack, source)
}

/// Even within `0.0..=1.0`, the same for the same seed.
fn random(seed: u32) -> f64 {
    let mixed = (seed ^ (seed >> 15)).wrapping_mul(0x2c1b_3c6d);
    let mixed = (mixed ^ (mixed >> 12)).wrapping_mul(0x297a_2d39);
    f64::from(mixed ^ (mixed >> 15)) / f64::from(u32::MAX)
}

fn comparisons() -> Vec<ComparisonRow> {
    [
        ("AUC", Some(0.9871), Some(0.999_96), Aim::Higher),
        ("Attacks blocked at 0.1 % benign", Some(0.9312), Some(0.9904), Aim::Higher),
        ("Benign blocked, shop", Some(0.0004), Some(0.0004), Aim::Lower),
        ("Benign blocked, crawlers", Some(0.0011), Some(0.0031), Aim::Lower),
        ("Time to judge, ns", None, Some(15.2), Aim::Lower),
    ]
    .map(|(measure, old, new, aim)| ComparisonRow { measure: measure.into(), old, new, aim, slack: 0.000_05 })
    .into()
}

fn robustness() -> Vec<RobustnessRow> {
    [
        ("Order of headers turned round", 0.9904, 0.9904, true),
        ("Paths padded with dots", 0.9904, 0.6117, false),
    ]
    .map(|(what, before, after, holds)| RobustnessRow { what: what.into(), before, after, holds })
    .into()
}

fn drift() -> Vec<DriftRow> {
    [("request_rate", [100, 80, 20]), ("unique_paths", [60, 90, 50]), ("cookie_ratio", [10, 40, 150])]
        .map(|(feature, now)| DriftRow {
            feature: feature.into(),
            psi: population_stability_index(&[100, 80, 20], &now),
        })
        .into()
}

fn heuristics() -> Vec<HeuristicRow> {
    [
        ("asks for probes", 40_000, 9120, 3100, 12, Some(0.9991)),
        ("burst of 404", 40_000, 5012, 3090, 210, None),
    ]
    .map(|(heuristic, rows, covered, overlaps, conflicts, accuracy)| HeuristicRow {
        heuristic: heuristic.into(),
        rows,
        covered,
        overlaps,
        conflicts,
        accuracy,
    })
    .into()
}

fn sweep() -> Table {
    let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
    Table {
        caption: "Sweep of sizes".into(),
        header: row(["Hidden", "Learning rate", "AUC", "Remark"]),
        rows: vec![row(["16", "1e-3", "0.9991", ""]), row(["32", "1e-3", "0.9996", "chosen"])],
    }
}
