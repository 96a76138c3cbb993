// SPDX-License-Identifier: Apache-2.0
//! `sunbeam exceptions`

mod export;

use jiff::Timestamp;

use self::export::Format;
use super::Run;
use super::block::print_change;
use super::blocks::{moment, print_json, until};
use super::confirm::Confirming;
use crate::api::{Exception, Exceptions as Answer};
use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::exit::{CliError, ExitCode};
use crate::output::{Colour, Printer, escape};

/// List what `sunbeam allow` lets pass, show one, end one, write them for a repository
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Exceptions {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// List those that hold, as without a word
    List,
    /// Show one
    Show {
        /// Its id, as the list shows it
        #[arg(value_parser = id)]
        id: String,
    },
    /// End one: what it let pass is stopped again
    Remove {
        /// Its id, as the list shows it
        #[arg(value_parser = id)]
        id: String,
        /// Show what would be done, and change nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        confirming: Confirming,
    },
    /// Print all: as rules for a WAF that reads SecLang, or as TOML for people and repositories
    Export {
        /// seclang: those of rules, with `ctl:ruleRemoveTargetById`, the others as comments; toml: all of them
        #[arg(long, value_enum, default_value_t = Format::Seclang)]
        format: Format,
    },
}

fn id(text: &str) -> Result<String, String> {
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err("an exception's id has twelve hexadecimal digits, as `sunbeam exceptions` shows them".to_owned())
}

impl Run for Exceptions {
    const NAME: &'static str = "exceptions";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let client = Client::connect(global)?;
        let printer = global.printer();
        match self.action {
            None | Some(Action::List) => {
                let answer = client.get("/api/v1/exceptions")?;
                if printer.is_json() {
                    print_json(global, &answer, "exceptions")?;
                } else {
                    list(printer, &typed(&answer)?)?;
                }
            }
            Some(Action::Show { id }) => {
                let answer = client.get(&format!("/api/v1/exceptions/{id}"))?;
                if printer.is_json() {
                    printer.json(&answer)?;
                } else {
                    printer.pairs(&about(&typed(&answer)?, Timestamp::now()))?;
                }
            }
            Some(Action::Remove { id, dry_run, confirming }) => {
                let options =
                    dry_run.then(|| "dry_run=true".to_owned()).into_iter().chain(confirming.query());
                let query: Vec<String> = options.collect();
                let mark = if query.is_empty() { "" } else { "?" };
                let page = format!("/api/v1/exceptions/{id}{mark}{}", query.join("&"));
                let answer = client.delete(&page)?;
                let code = print_change(printer, &answer, dry_run)?;
                confirming.ask(&client, printer, &answer)?;
                return Ok(code);
            }
            Some(Action::Export { format }) => {
                let answer: Answer = typed(&client.get("/api/v1/exceptions")?)?;
                printer.raw(&export::written(&answer.exceptions, format))?;
            }
        }
        Ok(ExitCode::Done)
    }
}

fn list(printer: Printer, all: &Answer) -> Result<(), CliError> {
    if all.exceptions.is_empty() {
        return printer.line("there are no exceptions: `sunbeam allow ID` makes one");
    }
    let now = Timestamp::now();
    let rows: Vec<Vec<String>> = all.exceptions.iter().map(|one| row(printer, one, now)).collect();
    printer.table(&["ID", "WHAT", "HITS", "LAST USED", "UNTIL", "BY", "LOOK"], &rows)
}

fn row(printer: Printer, one: &Exception, now: Timestamp) -> Vec<String> {
    let look = one.warnings.iter().map(|warning| escape(warning)).collect::<Vec<_>>().join("; ");
    vec![
        escape(&one.id),
        escape(&one.what),
        one.hits.to_string(),
        used(one),
        until(Some(&one.expires), now),
        escape(&one.by),
        if look.is_empty() { look } else { printer.paint(Colour::Yellow, &format!("! {look}")) },
    ]
}

fn used(one: &Exception) -> String {
    one.last_used.as_deref().map_or_else(|| "never".to_owned(), |at| moment(Some(at)))
}

fn about(one: &Exception, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut pairs = vec![
        ("exception", escape(&one.id)),
        ("what", escape(&one.what)),
        ("from", format!("{}: `sunbeam why {}`", escape(&one.from), escape(&one.from))),
        ("made", format!("{} by {}", moment(Some(&one.created)), escape(&one.by))),
        ("until", until(Some(&one.expires), now)),
        ("hits", one.hits.to_string()),
        ("last used", used(one)),
        ("high elsewhere", one.high.to_string()),
    ];
    pairs.extend(one.warnings.iter().map(|warning| ("look", escape(warning))));
    pairs.push(("to undo", format!("sunbeam exceptions remove {}", escape(&one.id))));
    pairs
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::output::Format as OutputFormat;

    #[test]
    fn a_row_says_what_somebody_should_look_at_and_cannot_steer_the_terminal() {
        let answer = json!({"total": 1, "exceptions": [{
            "id": "0123456789ab", "what": "rule 1 \u{1b}[2J", "hits": 3, "last_used": null,
            "expires": "2026-01-02T00:00:00Z", "by": "local", "warnings": ["not used for 30 days"],
        }]});
        let all: Answer = typed(&answer).unwrap();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let row = row(Printer::new(OutputFormat::Table, true), &all.exceptions[0], now);
        assert_eq!(row[..4], ["0123456789ab", "rule 1 \\u{1b}[2J", "3", "never"]);
        assert_eq!(row[6], "! not used for 30 days");
    }

    #[test]
    fn ids_are_typed_whole() {
        assert_eq!(id("0123456789AB"), Ok("0123456789ab".to_owned()));
        for wrong in ["", "0123", "0123456789a/", "0123456789abc"] {
            assert!(id(wrong).is_err(), "{wrong}");
        }
    }
}
