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
}

impl Run for Reload {
    const NAME: &'static str = "reload";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let path = if self.dry_run { "/api/v1/config/reload?dry_run=true" } else { "/api/v1/config/reload" };
        let answer = Client::connect(global)?.post(path, String::new())?;
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
        let verdict =
            if change.changes.is_empty() { "nothing would change" } else { "nothing was changed (dry run)" };
        return printer.line(verdict);
    }
    let message = if change.message.is_empty() { "done" } else { &change.message };
    printer.line(format_args!("{} (generation {})", escape(message), change.generation))?;
    match change.undo.filter(|_| !change.changes.is_empty()) {
        Some(undo) => printer.line(format_args!("to undo: {}", escape(&undo))),
        None => Ok(()),
    }
}
