// SPDX-License-Identifier: Apache-2.0
//! `sunbeam allow`

use serde_json::{Value, json};

use super::Run;
use super::block::{lasting, print_change};
use super::confirm::Confirming;
use crate::api::{ExceptionMade, Replayed};
use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::exit::{CliError, ExitCode};
use crate::output::{Colour, Printer, escape};

/// Let pass what a request was stopped for: the narrowest exception that does it
///
/// From the stored decision: the rules that stopped it with the field that each matched, the text that the model held
/// against it, or the limit; for its method, route and path alone. Before it is made it is held against the stored
/// decisions: how many of those that were stopped for the same reason would have passed, and whether any of them is scored
/// as an attack elsewhere. It ends by itself. The request is labelled human. Allowing the same again lets it hold longer.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Allow {
    /// The id of the request, as on the block page and in `X-Request-Id`; its first eight digits will do
    #[arg(value_name = "ID", value_parser = id)]
    id: String,
    /// For every path of the route, not for this one alone; of a limit: for every client
    #[arg(long)]
    wider: bool,
    /// How long it holds: 12h, 30d [default: 90d]
    #[arg(long = "for", value_name = "DURATION", value_parser = holding)]
    duration_secs: Option<u64>,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Make it also where the request looks like an attack, or others that would pass do
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    confirming: Confirming,
}

/// How long it holds; it always ends.
fn holding(text: &str) -> Result<u64, String> {
    lasting(text).map_err(|error| error.replace("it lasts until it is taken back", "it holds for 90 days"))
}

/// An id, or what it begins with.
fn id(text: &str) -> Result<String, String> {
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    let is_id = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if is_id && (8..=32).contains(&digits) {
        return Ok(text.to_ascii_lowercase());
    }
    Err("an id has eight hexadecimal digits at least, as on the block page".to_owned())
}

impl Run for Allow {
    const NAME: &'static str = "allow";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let (client, printer) = (Client::connect(global)?, global.printer());
        let answer = client.post_json("/api/v1/exceptions", &self.body())?;
        if printer.is_json() {
            return print_change(printer, &answer, self.dry_run);
        }
        print(printer, &typed(&answer)?, self.dry_run)?;
        self.confirming.ask(&client, printer, &answer)?;
        Ok(ExitCode::Done)
    }
}

impl Allow {
    fn body(&self) -> Value {
        let mut body =
            json!({"from": self.id, "wider": self.wider, "dry_run": self.dry_run, "force": self.force});
        if let Some(seconds) = self.duration_secs {
            body["duration_seconds"] = seconds.into();
        }
        self.confirming.put_into(&mut body);
        body
    }
}

fn print(printer: Printer, made: &ExceptionMade, dry_run: bool) -> Result<(), CliError> {
    for warning in &made.warnings {
        printer.line(printer.paint(Colour::Yellow, &format!("! {}", escape(warning))))?;
    }
    let done = match (made.is_new, made.is_longer, dry_run) {
        (true, _, true) => "would be made",
        (true, _, false) => "made",
        (false, true, true) => "holds already, and would hold longer",
        (false, true, false) => "held already, and holds longer",
        (false, false, _) => "holds already, for longer than asked",
    };
    printer.pairs(&[
        ("exception", format!("{} ({done})", escape(&made.id))),
        ("what", escape(&made.exception.what)),
        ("until", escape(&made.until)),
        ("from", escape(&made.exception.from)),
    ])?;
    printer.line("")?;
    for line in replayed(&made.replay) {
        printer.line(line)?;
    }
    printer.line("")?;
    if dry_run {
        return printer.line("nothing was changed (dry run)");
    }
    printer.line(format_args!("to undo: {}", escape(&made.undo)))
}

fn replayed(replay: &Replayed) -> Vec<String> {
    let newest = if replay.is_cut { "the newest " } else { "" };
    let mut lines = vec![
        format!(
            "of {newest}{} kept decisions of this layer, {} were stopped for the same reason on this route:",
            replay.looked_at, replay.alike
        ),
        format!("  · {} would have passed", replay.would_pass),
        format!("  · {} stay stopped", replay.stay_stopped),
        format!(
            "  · {} of those that would pass are an attack to another layer, or their client was",
            replay.high
        ),
    ];
    let example = |example: &crate::api::ReplayedExample| {
        format!("      {}: {}", escape(&example.id), escape(&example.because))
    };
    lines.extend(replay.examples.iter().map(example));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_meant() {
        let whole = "0B5C3D7E-1111-4222-8333-444455556666";
        assert_eq!(id(whole), Ok(whole.to_lowercase()));
        for wrong in ["", "0b5c3d7", "hello", "192.0.2.1", "0b5c3d7e/.."] {
            assert!(id(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_typed_becomes_the_body() {
        let allow = Allow {
            id: "0b5c3d7e".to_owned(),
            wider: true,
            duration_secs: Some(60),
            dry_run: false,
            force: true,
            confirming: Confirming::default(),
        };
        let mut want = json!({
            "from": "0b5c3d7e", "wider": true, "dry_run": false, "force": true, "duration_seconds": 60,
        });
        assert_eq!(allow.body(), want);
        want.as_object_mut().unwrap().remove("duration_seconds");
        assert_eq!(Allow { duration_secs: None, ..allow }.body(), want, "the node knows how long");
    }
}
