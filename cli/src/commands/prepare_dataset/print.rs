// SPDX-License-Identifier: Apache-2.0
//! What making a data set came to, for people and for machines.

use std::path::Path;

use serde_json::{Value, json};
use sunbeam_datasets::Label;
use sunbeam_datasets::clean::CleanReport;
use sunbeam_datasets::container::Manifest;
use sunbeam_datasets::heuristics::{HeuristicsReport, RuleReport};

use super::passes::Prepared;
use super::sides::SIDES;
use crate::commands::replay::{reading_json, reading_text};
use crate::exit::CliError;
use crate::output::{Printer, escape, note};
use crate::placed_file::shown;

/// Warnings go to standard error, beside the result.
pub(super) fn tell(printer: Printer, place: &Path, prepared: &Prepared) -> Result<(), CliError> {
    let warnings = warnings(prepared);
    for warning in &warnings {
        note(format_args!("warning: {warning}"));
    }
    if printer.is_json() {
        return printer.json(&as_json(place, prepared, &warnings));
    }
    let files: Vec<Vec<String>> = prepared
        .files
        .iter()
        .map(|(name, reading)| vec![name.clone(), reading_text(&reading.report)])
        .collect();
    printer.table(&["FILE", "READ"], &files)?;
    if let Some(report) = &prepared.heuristics {
        print_heuristics(printer, report)?;
    }
    printer.line("")?;
    printer.pairs(&cleaned(&prepared.clean, prepared.sightings))?;
    for example in &prepared.clean.examples {
        printer.line(format_args!("  labelled both ways: {}", escape(example)))?;
    }
    printer.line("")?;
    let sources: Vec<Vec<String>> = prepared.header.sources.iter().map(source).collect();
    printer.table(&["SOURCE", "RECORDS", "LABELLED BY", "LICENCE"], &sources)?;
    printer.line("")?;
    let sides: Vec<Vec<String>> = SIDES.iter().zip(prepared.sides.counts()).map(side).collect();
    printer.table(&["SIDE", "BENIGN", "ATTACK", "UNLABELLED"], &sides)?;
    printer.line("")?;
    printer.line(format_args!("wrote {} records to {}", prepared.header.rows, shown(place)))
}

fn warnings(prepared: &Prepared) -> Vec<String> {
    let [benign, attacks] = prepared.sides.labelled();
    let mut warnings = Vec::new();
    if benign == 0 || attacks == 0 {
        let text =
            format!("{benign} benign records and {attacks} attacks: models learn from both kinds only");
        warnings.push(text);
    } else {
        for (side, [_, benign, attacks]) in SIDES.iter().zip(prepared.sides.counts()) {
            if benign == 0 || attacks == 0 {
                warnings.push(format!("{benign} benign records and {attacks} attacks for {side}"));
            }
        }
        for (groups, name) in prepared.sides.groups().into_iter().zip(["benign records", "attacks"]) {
            if groups == 1 {
                warnings.push(format!(
                    "all {name} are of one group, and a group is never on both sides: give what is not alike groups of its own"
                ));
            }
        }
    }
    if prepared.untimed > 0 {
        warnings.push(format!(
            "{} of {} records tell no time that can be read: rules of thumb say nothing of them, and they are in nobody's \
             window",
            prepared.untimed, prepared.clean.records
        ));
    }
    match prepared.sides.leaking_clients() {
        Some(0) => {}
        Some(clients) => warnings.push(format!(
            "{clients} clients would be on two sides: group what is judged by clients by its client"
        )),
        None => warnings.push("too many clients to tell whether some would be on two sides".to_owned()),
    }
    warnings
}

fn print_heuristics(printer: Printer, report: &HeuristicsReport) -> Result<(), CliError> {
    printer.line("")?;
    printer.pairs(&[
        ("labelled before", format!("{} of {} records", report.labelled_before, report.records)),
        ("by heuristics", format!("{} benign and {} attacks: weak labels", report.benign, report.attacks)),
        ("undecided", format!("{} records on which rules contradict", report.undecided)),
        ("silent", format!("{} records on which no rule spoke", report.silent)),
    ])?;
    printer.line("")?;
    let rules: Vec<Vec<String>> = report.rules.iter().map(|rule| self::rule(rule, report.records)).collect();
    printer.table(&["RULE", "SAYS", "COVERS", "WITH OTHERS", "AGAINST OTHERS", "RIGHT"], &rules)
}

#[expect(clippy::cast_precision_loss, reason = "told roughly")]
fn rule(rule: &RuleReport, records: u64) -> Vec<String> {
    let share = rule.fired as f64 * 100.0 / records.max(1) as f64;
    let right = rule
        .precision()
        .map(|precision| format!("{:.1} % of {}", precision * 100.0, rule.right + rule.wrong));
    vec![
        escape(&rule.id),
        word(rule.label).to_owned(),
        format!("{} ({share:.2} %)", rule.fired),
        rule.overlaps.to_string(),
        rule.conflicts.to_string(),
        right.unwrap_or_else(|| "nobody knows".to_owned()),
    ]
}

const fn word(label: Label) -> &'static str {
    match label {
        Label::Benign => "benign",
        Label::Attack => "attack",
    }
}

fn cleaned(report: &CleanReport, sightings: u64) -> Vec<(&'static str, String)> {
    let capped = report.source_percent.iter().filter(|(_, [before, after])| after < before);
    let capped: Vec<String> = capped
        .map(|(name, [before, after])| format!("{} to {} %", escape(name), after * 100 / before.max(&1)))
        .collect();
    let mut pairs = vec![
        ("different", format!("{} of {} records", report.kept, report.records)),
        ("copies", report.copies.to_string()),
        (
            "contradictions",
            format!("{} left open, {} decided by the better source", report.conflicts, report.overruled),
        ),
        ("dropped for them", report.dropped.to_string()),
        ("kept without weight", format!("{sightings} of a client in a log, for its window")),
    ];
    if !capped.is_empty() {
        pairs.push(("large sources", format!("cut in weight: {}", capped.join(", "))));
    }
    pairs
}

fn source(manifest: &Manifest) -> Vec<String> {
    let by: Vec<String> = manifest.labelled_by.iter().map(|(who, count)| format!("{who} {count}")).collect();
    vec![escape(&manifest.name), manifest.rows.to_string(), by.join(", "), escape(&manifest.licence)]
}

fn side((name, [unlabelled, benign, attacks]): (&&str, [u64; 3])) -> Vec<String> {
    vec![(*name).to_owned(), benign.to_string(), attacks.to_string(), unlabelled.to_string()]
}

fn as_json(place: &Path, prepared: &Prepared, warnings: &[String]) -> Value {
    let file = |(name, reading): &(String, crate::log_file::Reading)| {
        let mut file = reading_json(&reading.report);
        file["file"] = name.as_str().into();
        file["sha256"] = reading.sha256.as_str().into();
        file
    };
    let clean = &prepared.clean;
    let sides: serde_json::Map<String, Value> = SIDES
        .iter()
        .zip(prepared.sides.counts())
        .map(|(name, [unlabelled, benign, attack])| {
            ((*name).to_owned(), json!({"benign": benign, "attack": attack, "unlabelled": unlabelled}))
        })
        .collect();
    json!({
        "dataset": place,
        "files": prepared.files.iter().map(file).collect::<Vec<_>>(),
        "heuristics": prepared.heuristics.as_ref().map(heuristics_json),
        "clean": {
            "records": clean.records, "different": clean.kept, "copies": clean.copies,
            "conflicts": clean.conflicts, "overruled": clean.overruled, "dropped": clean.dropped,
            "kept_without_weight": prepared.sightings, "examples": clean.examples,
            "source_percent": clean.source_percent,
        },
        "sides": sides,
        "untimed": prepared.untimed,
        "leaking_clients": prepared.sides.leaking_clients(),
        "header": prepared.header,
        "warnings": warnings,
    })
}

fn heuristics_json(report: &HeuristicsReport) -> Value {
    let rule = |rule: &RuleReport| {
        json!({
            "id": rule.id, "label": word(rule.label), "fired": rule.fired, "overlaps": rule.overlaps,
            "conflicts": rule.conflicts, "right": rule.right, "wrong": rule.wrong,
        })
    };
    json!({
        "records": report.records, "labelled_before": report.labelled_before, "attacks": report.attacks,
        "benign": report.benign, "undecided": report.undecided, "silent": report.silent,
        "forgotten": report.forgotten, "rules": report.rules.iter().map(rule).collect::<Vec<_>>(),
    })
}
