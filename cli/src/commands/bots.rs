// SPDX-License-Identifier: Apache-2.0
//! `sunbeam bots`

use super::Run;
use super::blocks::print_json;
use crate::api::{Bot, Bots as Answer};
use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::exit::{CliError, ExitCode};
use crate::output::{Colour, Printer, escape};

/// List the bots that the running node knows, how it checks them, and what came of it
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Bots {}

impl Run for Bots {
    const NAME: &'static str = "bots";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let answer = Client::connect(global)?.get("/api/v1/bots")?;
        let printer = global.printer();
        if printer.is_json() {
            print_json(global, &answer, "bots")?;
        } else {
            print(printer, &typed(&answer)?)?;
        }
        Ok(ExitCode::Done)
    }
}

fn print(printer: Printer, answer: &Answer) -> Result<(), CliError> {
    if answer.bots.is_empty() {
        printer.line("no bots are known")?;
    } else {
        let rows: Vec<Vec<String>> = answer.bots.iter().map(|bot| row(printer, bot)).collect();
        printer.table(&HEADER, &rows)?;
    }
    match answer.crawl_delay_secs {
        Some(seconds) => printer.line(printer.paint(Colour::Dim, &format!("crawl delay: {seconds}s"))),
        None => Ok(()),
    }
}

const HEADER: [&str; 9] =
    ["NAME", "CATEGORY", "POLICY", "REQUESTS", "VERIFIED", "REFUTED", "PENDING", "ORIGIN", "PROOF"];

fn row(printer: Printer, bot: &Bot) -> Vec<String> {
    let refuted = match bot.refuted {
        0 => "0".to_owned(),
        refuted => printer.paint(Colour::Yellow, &refuted.to_string()),
    };
    vec![
        escape(&bot.name),
        escape(&bot.category),
        policy(printer, &bot.policy),
        bot.requests.to_string(),
        bot.verified.to_string(),
        refuted,
        bot.pending.to_string(),
        escape(&bot.origin),
        proof(&bot.proof),
    ]
}

fn policy(printer: Printer, policy: &str) -> String {
    let text = escape(policy);
    match policy {
        "allow" => printer.paint(Colour::Green, &text),
        "limit" => printer.paint(Colour::Yellow, &text),
        "deny" => printer.paint(Colour::Red, &text),
        _ => text,
    }
}

/// The first few: some bots publish hundreds of ranges.
fn proof(proof: &[String]) -> String {
    if proof.is_empty() {
        return "none".to_owned();
    }
    let mut text = escape(&proof.iter().take(PROOFS_SHOWN).cloned().collect::<Vec<_>>().join(", "));
    match proof.len().saturating_sub(PROOFS_SHOWN) {
        0 => {}
        more => text.push_str(&format!(" and {more} more")),
    }
    text
}

/// A row stays a line; `-o json` has all of them.
const PROOFS_SHOWN: usize = 3;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::output::Format;

    fn cells(bot: Value) -> Vec<String> {
        let answer: Answer = typed(&json!({"bots": [bot], "crawl_delay_secs": 10})).unwrap();
        row(Printer::new(Format::Table, true), &answer.bots[0])
    }

    #[test]
    fn a_bot_is_a_row() {
        let bot = json!({
            "name": "Googlebot", "category": "search", "policy": "allow",
            "proof": ["dns googlebot.com", "66.249.64.0/19"], "origin": "built in",
            "requests": 12, "verified": 10, "refuted": 2, "pending": 0,
        });
        let proof = "dns googlebot.com, 66.249.64.0/19";
        assert_eq!(cells(bot), ["Googlebot", "search", "allow", "12", "10", "2", "0", "built in", proof]);
        assert_eq!(HEADER.len(), cells(json!({})).len());
    }

    #[test]
    fn a_long_proof_is_cut() {
        let proofs = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
        for (count, want) in [(0, "none"), (1, "0"), (3, "0, 1, 2"), (5, "0, 1, 2 and 2 more")] {
            assert_eq!(proof(&proofs(count)), want);
        }
    }

    #[test]
    fn a_row_cannot_steer_the_terminal() {
        let hostile = "x\u{1b}[2J\r\n\u{9b}\u{202e}";
        let bot = json!({
            "name": hostile, "category": hostile, "policy": hostile, "proof": [hostile], "origin": hostile,
        });
        for cell in cells(bot) {
            assert!(!cell.chars().any(char::is_control) && !cell.contains('\u{202e}'), "{cell:?}");
        }
    }
}
