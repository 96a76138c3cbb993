// SPDX-License-Identifier: Apache-2.0
//! What a replay came to, for people and for machines.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sunbeam_datasets::OrderReport;
use sunbeam_datasets::sources::{Fault, Found, ReadReport};
use sunbeam_replay::{Example, Kind, Rates, Row, Summary};

use super::Outcome;
use crate::exit::CliError;
use crate::log_file::Reading;
use crate::output::{Colour, Printer, escape, note};

/// One record in so many may be late without a word: lines are written when requests end.
const MANY_LATE: u64 = 50;

/// What is told beside the figures.
pub(super) struct About {
    pub(super) configuration: String,
    pub(super) input: String,
    pub(super) reading: Reading,
    pub(super) order: Option<OrderReport>,
    /// From the first byte to the last verdict.
    pub(super) seconds: f64,
}

impl About {
    /// Of everything, and of judging alone.
    #[expect(clippy::cast_precision_loss, reason = "told roughly")]
    fn speed(&self, result: &Outcome) -> String {
        let rate = |seconds: f64| result.new.records as f64 / seconds.max(1e-6);
        let judging = rate(result.judged.as_secs_f64());
        format!("{:.0} records/s, judging alone {judging:.0}/s", rate(self.seconds))
    }
}

pub(super) fn tell(printer: Printer, about: &About, result: &Outcome) -> Result<(), CliError> {
    let late = result.new.times.late;
    if about.order.is_none() && late > result.new.records / MANY_LATE {
        note(format_args!(
            "warning: {late} records stand behind later ones, and count as if they came with those: what clients do \
             looks quicker than it was; `--sort` puts them in order"
        ));
    }
    if !printer.is_json() {
        return print(printer, about, result);
    }
    // Figures that differ each time stand beside the result, not in it.
    note(about.speed(result));
    printer.json(&as_json(about, result))
}

fn as_json(about: &About, result: &Outcome) -> Value {
    let mut answer = json!({
        "configuration": about.configuration,
        "input": about.input,
        "reading": reading_json(&about.reading.report),
        "sorted": about.order.map(|order| json!({"backwards": order.backwards, "without_time": order.missing})),
        "summary": result.new,
    });
    if let Some(old) = &result.old {
        let changes = &result.changes;
        answer["diff"] = json!({
            "changed": changes.records(), "kinds": changes.kinds(), "examples": changes.examples(), "old": old,
        });
    }
    answer
}

/// What was read and what could not be.
pub(in crate::commands) fn reading_json(report: &ReadReport) -> Value {
    let fault = |(fault, found): (&Fault, &Found)| json!({"fault": fault.to_string(), "count": found.count, "first_lines": found.first_lines});
    json!({
        "format": report.format, "records": report.records, "other_lines": report.other_lines,
        "without_time": report.without_time, "backwards": report.backwards,
        "faults": report.faults.iter().map(fault).collect::<Vec<_>>(),
    })
}

/// `9999 records (combined); 1 line not of this format (1)`
pub(in crate::commands) fn reading_text(report: &ReadReport) -> String {
    let mut text = format!("{} records ({})", report.records, report.format);
    for (fault, found) in &report.faults {
        let lines = if found.count == 1 { "line" } else { "lines" };
        text.push_str(&format!("; {} {lines} {fault} (first: {found})", found.count));
    }
    if report.other_lines > 0 {
        text.push_str(&format!("; {} lines of something else", report.other_lines));
    }
    text
}

fn print(printer: Printer, about: &About, result: &Outcome) -> Result<(), CliError> {
    printer.pairs(&heading(about, result))?;
    for (heading, counts) in [
        ("VERDICT", owned(&result.new.reasons)),
        ("SCANNER DECIDED BY", owned(&result.new.scanner_paths)),
        ("DDOS DECIDED BY", owned(&result.new.ddos_paths)),
    ] {
        if counts.iter().any(|(_, count)| *count > 0) {
            printer.line("")?;
            printer.table(&[heading, "RECORDS", "SHARE"], &shares(&counts, result.new.records))?;
        }
    }
    printer.line("")?;
    print_sources(printer, &result.new.sources)?;
    print_totals(printer, &result.new)?;
    match &result.old {
        Some(old) => print_changes(printer, old, result),
        None => Ok(()),
    }
}

fn heading(about: &About, result: &Outcome) -> Vec<(&'static str, String)> {
    let summary = &result.new;
    let times = summary.times;
    let decisions: Vec<String> =
        summary.decisions.iter().rev().map(|(name, count)| format!("{name} {count}")).collect();
    let mut pairs = vec![
        ("configuration", about.configuration.clone()),
        ("input", about.input.clone()),
        ("read", reading_text(&about.reading.report)),
    ];
    if let Some(order) = about.order {
        pairs.push(("sorted", format!("{} records stood before older ones", order.backwards)));
    }
    if times != Default::default() {
        let told = format!(
            "{} without one, {} late ({} by over an hour), {} gaps of over two days",
            times.missing, times.late, times.breaks, times.gaps
        );
        pairs.push(("times", told));
    }
    pairs.extend([("decisions", decisions.join(", ")), ("speed", about.speed(result))]);
    pairs
}

fn owned<K: ToString>(counts: &BTreeMap<K, u64>) -> Vec<(String, u64)> {
    counts.iter().map(|(name, count)| (name.to_string(), *count)).collect()
}

fn shares(counts: &[(String, u64)], all: u64) -> Vec<Vec<String>> {
    let row = |(name, count): &(String, u64)| vec![escape(name), count.to_string(), percent(*count, all)];
    counts.iter().map(row).collect()
}

#[expect(clippy::cast_precision_loss, reason = "told roughly")]
fn percent(part: u64, all: u64) -> String {
    format!("{:.2} %", part as f64 * 100.0 / all.max(1) as f64)
}

/// Rows that are printed; JSON has all.
const ROWS_SHOWN: usize = 60;

fn print_sources(printer: Printer, rows: &[Row]) -> Result<(), CliError> {
    let shown: Vec<Vec<String>> = rows.iter().take(ROWS_SHOWN).map(|row| source(printer, row)).collect();
    let header = ["SOURCE", "CLASS", "LABEL", "RECORDS", "BLOCKED", "95 %", "FLAGGED", "95 %"];
    printer.table(&header, &shown)?;
    if rows.len() > ROWS_SHOWN {
        let more = format!("and {} rows more: `-o json` has all", rows.len() - ROWS_SHOWN);
        printer.line(printer.paint(Colour::Dim, &more))?;
    }
    Ok(())
}

fn source(printer: Printer, row: &Row) -> Vec<String> {
    let mut cells = vec![escape(&row.source), escape(&row.class), labelled(printer, row.label)];
    cells.extend(rates(&row.rates));
    cells
}

fn labelled(printer: Printer, label: &str) -> String {
    match label {
        "attack" => printer.paint(Colour::Red, label),
        "benign" => printer.paint(Colour::Green, label),
        "" => "-".to_owned(),
        _ => label.to_owned(),
    }
}

fn rates(rates: &Rates) -> [String; 5] {
    let share = |[share, ..]: [f64; 3]| format!("{:.2} %", share * 100.0);
    let interval = |[_, low, high]: [f64; 3]| format!("{:.2} to {:.2}", low * 100.0, high * 100.0);
    let (blocked, flagged) = (rates.blocked_share, rates.flagged_share);
    [rates.records.to_string(), share(blocked), interval(blocked), share(flagged), interval(flagged)]
}

fn print_totals(printer: Printer, summary: &Summary) -> Result<(), CliError> {
    let rows = totals("", summary);
    if rows.is_empty() {
        return printer.line("nothing is labelled: no rates of right and wrong");
    }
    printer.line("")?;
    printer.table(&["OF ALL LABELLED", "RECORDS", "BLOCKED", "95 %", "FLAGGED", "95 %"], &rows)
}

fn totals(which: &str, summary: &Summary) -> Vec<Vec<String>> {
    [("true positives", summary.totals.attack), ("false positives", summary.totals.benign)]
        .into_iter()
        .filter(|(_, of)| of.records > 0)
        .map(|(name, of)| [vec![format!("{which}{name}")], rates(&of).to_vec()].concat())
        .collect()
}

fn print_changes(printer: Printer, old: &Summary, result: &Outcome) -> Result<(), CliError> {
    printer.line("")?;
    let changes = &result.changes;
    if changes.records() == 0 {
        return printer.line("no verdict would change");
    }
    let all = result.new.records;
    printer.line(format_args!("{} of {all} verdicts would change", changes.records()))?;
    let kind = |kind: &Kind| {
        vec![kind.old.clone(), kind.new.clone(), kind.records.to_string(), percent(kind.records, all)]
    };
    let kinds: Vec<Vec<String>> = changes.kinds().iter().map(kind).collect();
    printer.table(&["OLD", "NEW", "RECORDS", "SHARE"], &kinds)?;
    let both = [totals("old: ", old), totals("new: ", &result.new)].concat();
    if !both.is_empty() {
        printer.line("")?;
        printer.table(&["OF ALL LABELLED", "RECORDS", "BLOCKED", "95 %", "FLAGGED", "95 %"], &both)?;
    }
    printer.line("")?;
    let example = |example: &Example| {
        let label = labelled(printer, example.label);
        vec![example.old.clone(), example.new.clone(), label, escape(&example.request)]
    };
    let examples: Vec<Vec<String>> = changes.examples().iter().map(example).collect();
    printer.table(&["OLD", "NEW", "LABEL", "FOR EXAMPLE"], &examples)
}
