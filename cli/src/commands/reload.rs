// SPDX-License-Identifier: Apache-2.0
//! `sunbeam reload`

use serde_json::Value;

use super::Run;
use crate::api::Change;
use crate::cli::GlobalArgs;
use crate::client::{Client, problem_line, typed};
use crate::exit::{CliError, ExitCode};
use crate::output::{Colour, Printer, escape};

/// Have the running node read its configuration again
///
/// All of it comes into use, or none: a configuration with a problem is refused and the running one stays.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Reload {
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take the change back after SECONDS (60 or 60s) unless `sunbeam reload --confirm` comes before
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "dry_run")]
    confirm_within: Option<u64>,
    /// Keep the change that would be taken back
    #[arg(long, conflicts_with_all = ["dry_run", "confirm_within"])]
    confirm: bool,
}

/// `60` or `60s`.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix('s').unwrap_or(text).parse();
    number
        .ok()
        .filter(|seconds| (1..=86_400).contains(seconds))
        .ok_or_else(|| "1 to 86400 seconds".to_owned())
}

/// A path of the API with the options that a change takes.
pub(super) fn change_path(page: &str, to: Option<u64>, dry_run: bool, confirm_within: Option<u64>) -> String {
    let mut query: Vec<String> = to.map(|id| format!("to={id}")).into_iter().collect();
    if dry_run {
        query.push("dry_run=true".to_owned());
    }
    query.extend(confirm_within.map(|seconds| format!("confirm_within={seconds}")));
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/api/v1/config/{page}{mark}{}", query.join("&"))
}

impl Run for Reload {
    const NAME: &'static str = "reload";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let client = Client::connect(global)?;
        if self.confirm {
            client.post("/api/v1/config/confirm", String::new())?;
            global.printer().line("the change stays")?;
            return Ok(ExitCode::Done);
        }
        let path = change_path("reload", None, self.dry_run, self.confirm_within);
        let answer = client.post(&path, String::new())?;
        print_change(global.printer(), &answer, self.dry_run)?;
        Ok(ExitCode::Done)
    }
}

/// What a change of configuration did, or would do, and how to undo it.
pub(super) fn print_change(printer: Printer, answer: &Value, dry_run: bool) -> Result<(), CliError> {
    if printer.is_json() {
        return printer.json(answer);
    }
    let change: Change = typed(answer)?;
    for line in &change.changes {
        printer.line(format_args!("  {}", escape(line)))?;
    }
    for warning in &change.warnings {
        printer.line(format_args!("  {}", printer.paint(Colour::Yellow, &problem_line(warning))))?;
    }
    if dry_run {
        // Rules' files may differ where no key does: the node's message has both.
        return printer.line(format_args!("{} (dry run)", escape(&change.message)));
    }
    let message = if change.message.is_empty() { "done" } else { &change.message };
    printer.line(format_args!("{} (generation {})", escape(message), change.generation))?;
    if let Some(confirm) = &change.confirm {
        printer.line(format_args!("it is taken back unless you confirm it: {}", escape(confirm)))?;
    }
    match change.undo.filter(|_| !change.changes.is_empty()) {
        Some(undo) => printer.line(format_args!("to undo: {}", escape(&undo))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_the_query() {
        for (to, dry_run, confirm, want) in [
            (None, false, None, "/api/v1/config/rollback"),
            (None, true, None, "/api/v1/config/rollback?dry_run=true"),
            (Some(3), true, None, "/api/v1/config/rollback?to=3&dry_run=true"),
            (None, false, Some(60), "/api/v1/config/rollback?confirm_within=60"),
        ] {
            assert_eq!(change_path("rollback", to, dry_run, confirm), want);
        }
        assert_eq!((seconds("60s"), seconds("5")), (Ok(60), Ok(5)));
        assert!(seconds("0").is_err() && seconds("x").is_err());
    }
}
