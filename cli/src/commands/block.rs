// SPDX-License-Identifier: Apache-2.0
//! `sunbeam block`

use serde_json::{Value, json};
use sunbeam_config::Cidr;

use super::Run;
use super::confirm::Confirming;
use crate::api::BlocklistChange;
use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::exit::{CliError, ExitCode};
use crate::output::{Printer, escape};

/// Block an address, or a range of addresses, on the running node
///
/// Over SSH the node is told where you come from, and refuses to block that address unless the block is to be confirmed.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Block {
    #[command(flatten)]
    listing: Listing,
    #[command(flatten)]
    confirming: Confirming,
}

/// What is listed, how long, and why.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Listing {
    /// The address or the range: 192.0.2.1, 192.0.2.0/24, 2001:db8::/32
    cidr: Cidr,
    /// How long: 90s, 15m, 1h30m, 7d [default: until it is taken back]
    #[arg(long = "for", value_name = "DURATION", value_parser = lasting)]
    duration_secs: Option<u64>,
    /// The reason, as `sunbeam blocks` and `sunbeam lists` show it
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Run for Block {
    const NAME: &'static str = "block";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let (client, printer) = (Client::connect(global)?, global.printer());
        let answer = client.post_json("/api/v1/blocklist", &self.body())?;
        let code = print_change(printer, &answer, self.listing.dry_run)?;
        self.confirming.ask(&client, printer, &answer)?;
        Ok(code)
    }
}

impl Block {
    fn body(&self) -> Value {
        let mut body = self.listing.body();
        self.confirming.put_into(&mut body);
        body
    }
}

impl Listing {
    /// Sends it to the list that `page` is.
    pub(super) fn send(&self, global: &GlobalArgs, page: &str) -> Result<ExitCode, CliError> {
        let answer = Client::connect(global)?.post_json(page, &self.body())?;
        print_change(global.printer(), &answer, self.dry_run)
    }

    fn body(&self) -> Value {
        let mut body = json!({
            "ip": self.cidr.0.to_string(),
            "reason": self.why.as_deref().unwrap_or_default(),
            "dry_run": self.dry_run,
        });
        if let Some(seconds) = self.duration_secs {
            body["duration_seconds"] = seconds.into();
        }
        body
    }
}

/// What a change of the block list did, or would do, and how to undo it.
///
/// # Errors
/// When the node says that it did not do it.
pub(super) fn print_change(printer: Printer, answer: &Value, dry_run: bool) -> Result<ExitCode, CliError> {
    let change: BlocklistChange = typed(answer)?;
    if printer.is_json() {
        printer.json(answer)?;
        return Ok(if change.success { ExitCode::Done } else { ExitCode::Findings });
    }
    for line in lines(&change, dry_run)? {
        printer.line(line)?;
    }
    Ok(ExitCode::Done)
}

fn lines(change: &BlocklistChange, dry_run: bool) -> Result<Vec<String>, CliError> {
    let message = if change.message.is_empty() { "done".to_owned() } else { escape(&change.message) };
    if !change.success {
        let why = if change.message.is_empty() { "it gives no reason" } else { &message };
        return Err(CliError::failed(format!("the node did not do it: {why}")));
    }
    let mut lines = vec![message];
    match &change.undo {
        _ if dry_run => lines.push("nothing was changed (dry run)".to_owned()),
        Some(undo) => lines.push(format!("to undo: {}", escape(undo))),
        None => {}
    }
    Ok(lines)
}

/// Seconds of `90s`, `15m`, `1h30m` or `7d`: whole numbers with units, the larger unit first.
///
/// # Errors
/// For anything else, for nothing, and for more than [`SECONDS_MAX`].
pub(super) fn lasting(text: &str) -> Result<u64, String> {
    let (mut rest, mut seconds) = (text, 0_u64);
    for (unit, length) in UNITS {
        let Some((number, behind)) = rest.split_once(unit) else { continue };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(HOW_TO_WRITE.to_owned());
        }
        // Only a number that is too large is left to fail.
        let number = number.parse().unwrap_or(u64::MAX);
        seconds = seconds.saturating_add(length.saturating_mul(number));
        rest = behind;
    }
    match seconds {
        _ if text.is_empty() || !rest.is_empty() => Err(HOW_TO_WRITE.to_owned()),
        0 => Err("it must last a second at least".to_owned()),
        1..=SECONDS_MAX => Ok(seconds),
        _ => Err("3650d (10 years) at most; without `--for` it lasts until it is taken back".to_owned()),
    }
}

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// 10 years; what shall last longer shall last for ever.
const SECONDS_MAX: u64 = 3_650 * 86_400;

const HOW_TO_WRITE: &str = "write it as in 90s, 15m, 1h30m or 7d, the larger unit first";

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Block, clap::Error> {
        let command = Block::augment_args(clap::Command::new("block"));
        let matches = command.try_get_matches_from([&["block"][..], arguments].concat())?;
        Block::from_arg_matches(&matches)
    }

    #[test]
    fn durations_are_whole_numbers_with_units() {
        for (text, want) in [
            ("90s", 90),
            ("15m", 900),
            ("1h", 3_600),
            ("7d", 604_800),
            ("1h30m", 5_400),
            ("1d2h3m4s", 93_784),
            ("0d1s", 1),
            ("007m", 420),
            ("3650d", SECONDS_MAX),
        ] {
            assert_eq!(lasting(text), Ok(want), "{text}");
        }
        for (name, text) in [
            ("nothing", ""),
            ("zero", "0s"),
            ("zeros", "0h0m"),
            ("no unit", "3600"),
            ("no unit at the end", "1h30"),
            ("no number", "h"),
            ("no number at the end", "1hm"),
            ("another unit", "1y"),
            ("a capital", "1H"),
            ("a space", "1h 30m"),
            ("the smaller unit first", "30m1h"),
            ("a unit twice", "1h1h"),
            ("a sign", "+1h"),
            ("below zero", "-1h"),
            ("a fraction", "1.5h"),
            ("other digits", "１h"),
            ("over 10 years", "3650d1s"),
            ("no such number", "99999999999999999999s"),
            ("too large in sum", "18446744073709551615d18446744073709551615h"),
        ] {
            assert!(lasting(text).is_err(), "{name}: {text}");
        }
    }

    #[test]
    fn what_is_typed_becomes_the_body() {
        let body = |arguments: &[&str]| parsed(arguments).unwrap().body();
        assert_eq!(body(&["192.0.2.1"]), json!({"ip": "192.0.2.1/32", "reason": "", "dry_run": false}));
        assert_eq!(
            body(&["2001:db8::/32", "--for", "1h", "--why", "scrapes", "--dry-run"]),
            json!({"ip": "2001:db8::/32", "reason": "scrapes", "dry_run": true, "duration_seconds": 3_600})
        );
        assert_eq!(body(&["192.0.2.1", "--confirm-within", "60s"])["confirm_within_secs"], 60);
    }

    #[test]
    fn nonsense_is_not_sent() {
        for (name, arguments) in [
            ("a name", &["host.example"][..]),
            ("no address", &[]),
            ("bits behind the prefix", &["192.0.2.1/24"]),
            ("too long a prefix", &["192.0.2.0/33"]),
            ("no duration", &["192.0.2.1", "--for", "soon"]),
            ("two addresses", &["192.0.2.1", "192.0.2.2"]),
            ("what is not built", &["192.0.2.1", "--scope", "fleet"]),
        ] {
            assert!(parsed(arguments).is_err(), "{name}");
        }
    }

    #[test]
    fn a_change_is_told_with_its_undo_and_cannot_steer_the_terminal() {
        let done = BlocklistChange {
            success: true,
            message: "IP blocked\u{1b}[2J".into(),
            undo: Some("sunbeam unblock 192.0.2.1\r".into()),
        };
        assert_eq!(
            lines(&done, false).unwrap(),
            ["IP blocked\\u{1b}[2J", "to undo: sunbeam unblock 192.0.2.1\\u{d}"]
        );
        assert_eq!(lines(&done, true).unwrap()[1..], ["nothing was changed (dry run)"]);
        assert_eq!(lines(&BlocklistChange { undo: None, ..done.clone() }, false).unwrap().len(), 1);
        let error = lines(&BlocklistChange { success: false, ..done }, false).unwrap_err();
        assert_eq!(error.code, ExitCode::Findings);
        assert_eq!(error.message, "the node did not do it: IP blocked\\u{1b}[2J");
    }
}
