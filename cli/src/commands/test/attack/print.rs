// SPDX-License-Identifier: Apache-2.0
//! What was found, for people and for machines.

use serde_json::{Value, json};

use super::Round;
use super::probes::Want;
use super::verdict::{Found, Tried};
use crate::exit::{CliError, ExitCode};
use crate::output::{Colour, Format, Printer, escape};

/// Prints all of it; the exit code says whether all is as it should be.
pub(super) fn print(printer: Printer, round: &Round, tried: &[Tried]) -> Result<ExitCode, CliError> {
    let is_right = tried.iter().all(Tried::is_right) && tried.len() == super::PROBES.len();
    if printer.is_json() {
        printer.json(&told(printer, round, tried))?;
    } else {
        let rows: Vec<Vec<String>> = tried.iter().map(|one| row(printer, one)).collect();
        printer.table(&["PROBE", "EXPECTED", "FOUND", "BY", "WHY", "STATUS", "REQUEST"], &rows)?;
        printer.line("")?;
        for line in summary(round, tried) {
            printer.line(line)?;
        }
    }
    Ok(if is_right { ExitCode::Done } else { ExitCode::Findings })
}

fn row(printer: Printer, tried: &Tried) -> Vec<String> {
    let (found, by, why) = words(tried);
    let found = match (tried.is_right(), &tried.found) {
        (true, _) => printer.paint(Colour::Green, found),
        (false, Found::Passed { watched: Some(_) }) => printer.paint(Colour::Yellow, &format!("! {found}")),
        (false, _) => printer.paint(Colour::Red, &format!("! {found}")),
    };
    vec![
        tried.probe.name.to_owned(),
        tried.probe.want.as_str().to_owned(),
        found,
        escape(by),
        cut(why),
        tried.status.map_or_else(|| "none".to_owned(), |status| status.to_string()),
        tried.id.as_deref().map(escape).unwrap_or_default(),
    ]
}

fn cut(why: &str) -> String {
    const CHARS_MAX: usize = 48;
    match why.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", escape(why.get(..at).unwrap_or_default())),
        None => escape(why),
    }
}

/// What came of it, who says so, and why.
fn words(tried: &Tried) -> (&'static str, &str, &str) {
    match &tried.found {
        Found::Stopped { by, why } => ("stopped", by, why),
        Found::Passed { watched: Some((layer, reason)) } => ("watched", layer, reason),
        Found::Passed { watched: None } => ("passed", "", ""),
    }
}

/// Also one that some sites would not call so.
fn is_attack(tried: &&Tried) -> bool {
    tried.probe.want != Want::Passes
}

fn summary(round: &Round, tried: &[Tried]) -> Vec<String> {
    let count = |is_meant: &dyn Fn(&&Tried) -> bool| tried.iter().filter(is_meant).count();
    let attacks = count(&is_attack);
    let stopped = count(&|one| is_attack(one) && matches!(one.found, Found::Stopped { .. }));
    let people = tried.len() - attacks;
    let hurt = count(&|one| !is_attack(one) && !one.is_right());
    let watched = count(&|one| is_attack(one) && words(one).0 == "watched");
    let mut lines = vec![format!(
        "{}: {stopped} of {attacks} attacks stopped, {} of {people} ordinary requests passed",
        escape(&round.host),
        people - hurt
    )];
    if watched > 0 {
        lines.push(format!(
            "{watched} more {} noticed by a layer that only watches, or does not act on what it doubts: \
             `sunbeam enforce --plan`",
            if watched == 1 { "was" } else { "were" }
        ));
    }
    if round.node.is_none() {
        lines.push("told from the status alone: what the site refuses itself counts as stopped".to_owned());
    } else if stopped < attacks || hurt > 0 {
        lines.push("each of them in full: `sunbeam why REQUEST`, of what was not plainly passed".to_owned());
    }
    if tried.len() < super::PROBES.len() {
        lines.push(format!(
            "{} were not tried: the address is blocked now; `sunbeam blocks` and `sunbeam unblock` help",
            super::PROBES.len() - tried.len()
        ));
    }
    lines
}

fn told(printer: Printer, round: &Round, tried: &[Tried]) -> Value {
    let probes: Vec<Value> = tried.iter().map(probe).collect();
    if printer.format() == Format::Jsonl {
        return probes.into();
    }
    let wrong =
        |of_attacks: bool| tried.iter().filter(|one| is_attack(one) == of_attacks && !one.is_right()).count();
    json!({
        "target": round.wire.authority,
        "host": round.host,
        "told_by": if round.node.is_some() { "node" } else { "status" },
        "tried": tried.len(),
        "not_tried": super::PROBES.len() - tried.len(),
        "attacks_that_came_through": wrong(true),
        "ordinary_requests_stopped": wrong(false),
        "probes": probes,
    })
}

fn probe(tried: &Tried) -> Value {
    let (found, by, why) = words(tried);
    json!({
        "probe": tried.probe.name,
        "expected": tried.probe.want.as_str(),
        "found": found,
        "is_right": tried.is_right(),
        "by": by,
        "why": why,
        "status": tried.status,
        "request_id": tried.id,
    })
}
