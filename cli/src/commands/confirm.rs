// SPDX-License-Identifier: Apache-2.0
//! `sunbeam confirm`, and the question that a change asks which is to be confirmed.

use std::io::{self, IsTerminal as _};

use serde::Deserialize;
use serde_json::Value;

use super::Run;
use super::block::print_change;
use super::reload::seconds;
use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::exit::{CliError, ExitCode};
use crate::output::{Printer, escape, note};

/// Keep a change that would be taken back, or list those that wait
///
/// Changes that were made with `--confirm-within` are taken back by the node unless they are confirmed, also when it is
/// started again in between. Without an id the one that waits is meant; of several, name one.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Confirm {
    /// The change, as the command that made it printed it
    #[arg(value_name = "ID", value_parser = id)]
    id: Option<String>,
    /// Show those that wait, confirm none
    #[arg(long, conflicts_with = "id")]
    list: bool,
}

/// For commands whose changes may wait to be confirmed.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct Confirming {
    /// Take the change back after SECONDS (60 or 60s) unless it is confirmed: `sunbeam confirm`, or here on a terminal
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    confirm_within: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Waiting {
    id: String,
    what: String,
    taken_back_at: String,
    confirm: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Changes {
    changes: Vec<Waiting>,
}

fn id(text: &str) -> Result<String, String> {
    let is_id = !text.is_empty() && text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_id {
        Ok(text.to_owned())
    } else {
        Err("an id has letters and digits, as it was printed".to_owned())
    }
}

impl Run for Confirm {
    const NAME: &'static str = "confirm";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let (client, printer) = (Client::connect(global)?, global.printer());
        let id = match self.id {
            Some(id) => id,
            None => {
                let answer = client.get("/api/v1/changes")?;
                let waiting = typed::<Changes>(&answer)?.changes;
                if self.list {
                    return list(printer, &answer, &waiting);
                }
                only(&waiting)?.to_owned()
            }
        };
        let answer = client.post(&format!("/api/v1/changes/{id}/confirm"), String::new())?;
        print_change(printer, &answer, false)
    }
}

fn only(waiting: &[Waiting]) -> Result<&str, CliError> {
    match waiting {
        [one] => Ok(&one.id),
        [] => Err(CliError::failed("no change waits to be confirmed")),
        several => {
            let one = |one: &Waiting| format!("{} ({})", escape(&one.id), escape(&one.what));
            let all = several.iter().map(one).collect::<Vec<_>>().join(", ");
            Err(CliError::usage("several changes wait: name one").hint(all))
        }
    }
}

fn list(printer: Printer, answer: &Value, waiting: &[Waiting]) -> Result<ExitCode, CliError> {
    if printer.is_json() {
        printer.json(answer)?;
    } else if waiting.is_empty() {
        printer.line("no change waits to be confirmed")?;
    } else {
        let row = |one: &Waiting| [&one.id, &one.taken_back_at, &one.what].map(|text| escape(text)).to_vec();
        let rows: Vec<Vec<String>> = waiting.iter().map(row).collect();
        printer.table(&["ID", "TAKEN BACK AT", "WHAT"], &rows)?;
    }
    Ok(ExitCode::Done)
}

impl Confirming {
    /// Adds it to what is sent.
    pub(super) fn put_into(self, body: &mut Value) {
        if let Some(seconds) = self.confirm_within {
            body["confirm_within_secs"] = seconds.into();
        }
    }

    /// As a query has it.
    pub(super) fn query(self) -> Option<String> {
        self.confirm_within.map(|seconds| format!("confirm_within_secs={seconds}"))
    }

    /// Says how the change that was just made is confirmed; on a terminal it asks.
    pub(super) fn ask(self, client: &Client, printer: Printer, answer: &Value) -> Result<(), CliError> {
        let Some(waits) = answer.get("waits").filter(|_| !printer.is_json()) else { return Ok(()) };
        let waits: Waiting = typed(waits)?;
        printer.line(format_args!(
            "it is taken back at {} unless you confirm it: {}",
            escape(&waits.taken_back_at),
            escape(&waits.confirm)
        ))?;
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Ok(());
        }
        note("keep it? `yes` keeps it, everything else leaves it to be taken back:");
        let mut word = String::new();
        // An end of the input is no yes.
        drop(io::stdin().read_line(&mut word));
        if word.trim() != "yes" {
            return printer.line("it is left to be taken back");
        }
        client.post(
            &format!("/api/v1/changes/{}/confirm", id(&waits.id).map_err(CliError::failed)?),
            String::new(),
        )?;
        printer.line("the change stays")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_one_is_meant_and_of_several_none() {
        let waiting =
            |id: &str| Waiting { id: id.to_owned(), what: "w\u{1b}".to_owned(), ..Waiting::default() };
        assert_eq!(only(&[waiting("a1")]).unwrap(), "a1");
        assert_eq!(only(&[]).unwrap_err().code, ExitCode::Findings);
        let error = only(&[waiting("a1"), waiting("b2")]).unwrap_err();
        assert_eq!(
            (error.code, error.hint.as_deref()),
            (ExitCode::Usage, Some("a1 (w\\u{1b}), b2 (w\\u{1b})"))
        );
        for wrong in ["", "a/b", "a b", "é"] {
            assert!(id(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn it_is_put_where_a_request_has_it() {
        let mut body = serde_json::json!({});
        Confirming::default().put_into(&mut body);
        assert_eq!((&body, Confirming::default().query()), (&serde_json::json!({}), None));
        let confirming = Confirming { confirm_within: Some(60) };
        confirming.put_into(&mut body);
        assert_eq!(body["confirm_within_secs"], 60);
        assert_eq!(confirming.query().as_deref(), Some("confirm_within_secs=60"));
    }
}
