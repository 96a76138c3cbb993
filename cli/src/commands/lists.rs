// SPDX-License-Identifier: Apache-2.0
//! `sunbeam lists`

use jiff::Timestamp;
use sunbeam_config::Cidr;

use super::Run;
use super::block::{Listing, print_change};
use super::blocks::{moment, print_json, until};
use crate::api::{ListEntry, Lists as Answer};
use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::exit::{CliError, ExitCode};
use crate::output::{Colour, Printer, escape};

/// List the address ranges that the running node blocks, allows, exempts or spares, or change whom it allows
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Lists {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Let an address or a range pass every layer: stronger than any block
    Allow(Listing),
    /// Take off the allow list what `sunbeam lists allow` put there
    Remove {
        /// The address or the range, as it was allowed
        cidr: Cidr,
        /// Show what would be done, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

impl Run for Lists {
    const NAME: &'static str = "lists";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        match self.action {
            None => show(global),
            Some(Action::Allow(listing)) => listing.send(global, "/api/v1/allowlist"),
            Some(Action::Remove { cidr, dry_run }) => remove(global, &cidr, dry_run),
        }
    }
}

fn remove(global: &GlobalArgs, cidr: &Cidr, dry_run: bool) -> Result<ExitCode, CliError> {
    let cidr = cidr.0.to_string().replace('/', "%2F");
    let query = if dry_run { "?dry_run=true" } else { "" };
    let answer = Client::connect(global)?.delete(&format!("/api/v1/allowlist/{cidr}{query}"))?;
    print_change(global.printer(), &answer, dry_run)
}

fn show(global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let answer = Client::connect(global)?.get("/api/v1/lists")?;
    let printer = global.printer();
    if printer.is_json() {
        print_json(global, &answer, "entries")?;
    } else {
        print(printer, &typed(&answer)?)?;
    }
    Ok(ExitCode::Done)
}

fn print(printer: Printer, lists: &Answer) -> Result<(), CliError> {
    if lists.entries.is_empty() {
        printer.line("the lists are empty")?;
    } else {
        let now = Timestamp::now();
        let rows: Vec<Vec<String>> = lists.entries.iter().map(|entry| row(printer, entry, now)).collect();
        printer.table(&["LIST", "ADDRESSES", "ORIGIN", "SINCE", "UNTIL", "REASON"], &rows)?;
    }
    let thing = if lists.prefixes == 1 { "address range" } else { "address ranges" };
    printer.line(printer.paint(Colour::Dim, &format!("{} {thing} in all", lists.prefixes)))
}

fn row(printer: Printer, entry: &ListEntry, now: Timestamp) -> Vec<String> {
    let colour = if entry.list == "block" { Colour::Red } else { Colour::Green };
    vec![
        printer.paint(colour, &escape(&entry.list)),
        escape(&entry.cidr),
        escape(&entry.origin),
        moment(entry.since.as_deref()),
        until(entry.until.as_deref(), now),
        escape(&entry.reason),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::output::Format;

    fn cells(entry: Value) -> Vec<String> {
        let lists: Answer = typed(&json!({"entries": [entry], "prefixes": 1})).unwrap();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        row(Printer::new(Format::Table, true), &lists.entries[0], now)
    }

    #[test]
    fn an_entry_is_a_row() {
        let grace = json!({
            "list": "grace", "cidr": "192.0.2.1/32", "origin": "operator", "reason": "unblocked",
            "since": "2025-12-31T12:00:00Z", "until": "2026-01-01T12:00:00Z",
        });
        let until = "2026-01-01T12:00:00Z (12h 0m left)";
        let want = ["grace", "192.0.2.1/32", "operator", "2025-12-31T12:00:00Z", until, "unblocked"];
        assert_eq!(cells(grace), want);
        let configured = json!({"list": "allow", "cidr": "::1/128", "origin": "config", "since": null});
        assert_eq!(cells(configured), ["allow", "::1/128", "config", "", "for ever", ""]);
    }

    #[test]
    fn a_row_cannot_steer_the_terminal() {
        let hostile = "x\u{1b}[2J\r\n\u{9b}\u{202e}";
        let entry = json!({
            "list": hostile, "cidr": hostile, "origin": hostile, "reason": hostile, "since": hostile,
            "until": hostile,
        });
        for cell in cells(entry) {
            assert!(!cell.chars().any(char::is_control) && !cell.contains('\u{202e}'), "{cell:?}");
        }
    }
}
