// SPDX-License-Identifier: Apache-2.0
//! `sunbeam rollback`

use super::Run;
use super::reload::{change_path, print_change, seconds};
use crate::api::{HistoryEntry, plain};
use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::exit::{CliError, ExitCode};
use crate::output::escape;

/// Return to an earlier configuration: the one before the running one, or the one named
///
/// The last 10 good configurations are kept. The files are left as they are: the next reload reads them again.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Rollback {
    /// The configuration with this id, as `--list` shows it
    #[arg(long, value_name = "ID")]
    to: Option<u64>,
    /// List the configurations that are kept
    #[arg(long, conflicts_with_all = ["to", "dry_run"])]
    list: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take the change back after SECONDS (60 or 60s) unless `sunbeam reload --confirm` comes before
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with_all = ["dry_run", "list"])]
    confirm_within: Option<u64>,
}

impl Run for Rollback {
    const NAME: &'static str = "rollback";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let client = Client::connect(global)?;
        if self.list {
            list(global, &client)?;
        } else {
            let path = change_path("rollback", self.to, self.dry_run, self.confirm_within);
            let answer = client.post(&path, String::new())?;
            print_change(global.printer(), &answer, self.dry_run)?;
        }
        Ok(ExitCode::Done)
    }
}

fn list(global: &GlobalArgs, client: &Client) -> Result<(), CliError> {
    let answer = client.get("/api/v1/config/history")?;
    let printer = global.printer();
    if printer.is_json() {
        return printer.json(&answer);
    }
    let entries: Vec<HistoryEntry> = typed(&answer)?;
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            let files =
                if entry.files.is_empty() { "(none)".to_owned() } else { escape(&entry.files.join(", ")) };
            let current = if entry.current { "running" } else { "" };
            vec![
                plain(&entry.id),
                plain(&entry.at),
                escape(entry.note.as_deref().unwrap_or_default()),
                files,
                current.to_owned(),
            ]
        })
        .collect();
    printer.table(&["ID", "SINCE", "BY", "FILES", ""], &rows)
}
