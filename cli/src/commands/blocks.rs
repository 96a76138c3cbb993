// SPDX-License-Identifier: Apache-2.0
//! `sunbeam blocks`

use jiff::Timestamp;
use serde_json::Value;

use super::Run;
use crate::api::{Block, Blocklist};
use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::exit::{CliError, ExitCode};
use crate::output::{Format, Printer, duration, escape, note};

/// List whom the running node blocks, why, and until when
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Blocks {}

impl Run for Blocks {
    const NAME: &'static str = "blocks";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let answer = Client::connect(global)?.get("/api/v1/blocklist")?;
        let printer = global.printer();
        if printer.is_json() {
            print_json(global, &answer, "blocks")?;
        } else {
            print(printer, &typed(&answer)?)?;
        }
        Ok(ExitCode::Done)
    }
}

/// The answer as it is; for `jsonl` a line for each element of the list that stands in it.
pub(super) fn print_json(global: &GlobalArgs, answer: &Value, list: &str) -> Result<(), CliError> {
    let elements = answer.get(list).filter(|_| global.output == Format::Jsonl);
    global.printer().json(elements.unwrap_or(answer))
}

fn print(printer: Printer, blocklist: &Blocklist) -> Result<(), CliError> {
    if blocklist.blocks.is_empty() {
        printer.line("nothing is blocked")?;
    } else {
        let now = Timestamp::now();
        let rows: Vec<Vec<String>> = blocklist.blocks.iter().map(|block| row(block, now)).collect();
        printer.table(&["BLOCKED", "ORIGIN", "SINCE", "UNTIL", "OFFENCES", "ID", "REASON"], &rows)?;
    }
    match blocklist.total.saturating_sub(blocklist.blocks.len()) {
        0 => {}
        more => note(format_args!("{more} more are not shown")),
    }
    Ok(())
}

fn row(block: &Block, now: Timestamp) -> Vec<String> {
    vec![
        target(block),
        escape(&block.origin),
        moment(block.since.as_deref()),
        until(block.until.as_deref(), now),
        block.offences.to_string(),
        escape(&block.id),
        escape(&block.reason),
    ]
}

/// The addresses, or what else it is that is blocked.
fn target(block: &Block) -> String {
    match (block.cidr.as_str(), block.identity.as_str()) {
        ("", identity) => format!("({})", escape(identity)),
        // Not the address itself: those who are logged in behind it.
        (cidr, "all behind") => format!("{} (all behind)", escape(cidr)),
        (cidr, _) => escape(cidr),
    }
}

/// A time to the second, as RFC 3339.
pub(super) fn moment(at: Option<&str>) -> String {
    let text = at.unwrap_or_default();
    match text.parse::<Timestamp>() {
        Ok(at) => whole_second(at).to_string(),
        Err(_) => escape(text),
    }
}

/// When something ends, and how long that is from `now`.
pub(super) fn until(end: Option<&str>, now: Timestamp) -> String {
    let Some(text) = end else { return "for ever".to_owned() };
    let Ok(at) = text.parse::<Timestamp>() else { return escape(text) };
    match u64::try_from(at.as_second() - now.as_second()) {
        Ok(left) => format!("{} ({} left)", whole_second(at), duration(left)),
        Err(_) => format!("{} (over)", whole_second(at)),
    }
}

fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn rows(answer: &Value) -> Vec<Vec<String>> {
        let blocklist: Blocklist = typed(answer).unwrap();
        blocklist.blocks.iter().map(|block| row(block, NOW.parse().unwrap())).collect()
    }

    #[test]
    fn a_block_is_a_row_whatever_is_blocked() {
        let address = json!({
            "id": "b1", "cidr": "192.0.2.0/24", "origin": "operator", "reason": "scrapes", "since": NOW,
            "until": "2026-01-01T01:00:00.5Z", "offences": 2, "identity": "address",
        });
        let session = json!({"id": "b2", "cidr": "", "origin": "ddos", "until": null, "identity": "session"});
        let rows = rows(&json!({"blocks": [address, session], "total": 2}));
        let want =
            ["192.0.2.0/24", "operator", NOW, "2026-01-01T01:00:00Z (1h 0m left)", "2", "b1", "scrapes"];
        assert_eq!(rows[0], want);
        assert_eq!(rows[1], ["(session)", "ddos", "", "for ever", "0", "b2", ""]);
    }

    #[test]
    fn times_are_told_from_now() {
        for (name, end, want) in [
            ("for ever", None, "for ever"),
            ("soon", Some("2026-01-01T00:00:09Z"), "2026-01-01T00:00:09Z (9s left)"),
            ("now", Some(NOW), "2026-01-01T00:00:00Z (0s left)"),
            ("over", Some("2025-12-31T23:59:59Z"), "2025-12-31T23:59:59Z (over)"),
            ("no time", Some("soon\u{7}"), "soon\\u{7}"),
        ] {
            assert_eq!(until(end, NOW.parse().unwrap()), want, "{name}");
        }
        assert_eq!(moment(Some("2026-01-01T00:00:00.123456Z")), NOW);
    }

    #[test]
    fn a_row_cannot_steer_the_terminal() {
        let hostile = "x\u{1b}[2J\r\n\u{9b}\u{202e}";
        let block = json!({
            "id": hostile, "cidr": hostile, "origin": hostile, "reason": hostile, "since": hostile,
            "until": hostile, "identity": hostile,
        });
        let session = json!({"identity": hostile});
        for cell in rows(&json!({"blocks": [block, session]})).concat() {
            assert!(!cell.chars().any(char::is_control) && !cell.contains('\u{202e}'), "{cell:?}");
        }
    }
}
