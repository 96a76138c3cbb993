// SPDX-License-Identifier: Apache-2.0
//! `sunbeam tail`

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Run;
use crate::api::Request;
use crate::cli::GlobalArgs;
use crate::client::Client;
use crate::exit::{CliError, ExitCode};
use crate::output::{Colour, Printer, escape, note, visible};

/// Follow the requests of the running node as they happen
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Tail {
    /// Only requests that the node itself refused (status 400, 401, 403, 405, 413, 414, 421, 429, 431)
    #[arg(long)]
    blocked: bool,
    /// Only requests for this host
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Only requests of this client, as the audit log writes its address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// Print audit records as they are, one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Statuses that a refusal of ours has.
const BLOCKED: [u16; 9] = [400, 401, 403, 405, 413, 414, 421, 429, 431];

impl Run for Tail {
    const NAME: &'static str = "tail";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let client = Client::connect(global)?;
        let printer = global.printer();
        let json = self.json || printer.is_json();
        if !json {
            printer.endless(format_args!("{}\n", printer.paint(Colour::Bold, HEADING)))?;
        }
        client.events("/api/v1/events", |name, data| {
            if name == "missed" {
                note(format_args!(
                    "{} requests are not shown: they came faster than they could be printed",
                    escape(data)
                ));
                return Ok(());
            }
            // An event that is no record is of a later version: not ours to show.
            let Ok(request) = serde_json::from_str::<Request>(data) else { return Ok(()) };
            match (self.wants(&request), json) {
                (false, _) => Ok(()),
                // JSON escapes control characters; `\n` cannot stand in it.
                (true, true) => printer.endless(format_args!("{}\n", data.replace('\n', " "))),
                (true, false) => printer.endless(format_args!("{}\n", line(&request, printer))),
            }
        })?;
        Ok(ExitCode::Done)
    }
}

impl Tail {
    fn wants(&self, request: &Request) -> bool {
        let is_host = |host: &String| request.host.eq_ignore_ascii_case(host.trim_end_matches('.'));
        (!self.blocked || BLOCKED.contains(&request.status))
            && self.host.as_ref().is_none_or(is_host)
            && self.ip.as_ref().is_none_or(|ip| request.client_ip == *ip)
    }
}

const HEADING: &str = "TIME      STATUS       MS  CLIENT           METHOD   REQUEST";

fn line(request: &Request, printer: Printer) -> String {
    let colour = match request.status {
        ..400 => Colour::Green,
        400..500 => Colour::Yellow,
        _ => Colour::Red,
    };
    let status = printer.paint(colour, &format!("{:<6}", request.status));
    let mut line = format!(
        "{:<8}  {status} {:>8}  {}  {}  {}{}",
        time(&request.timestamp),
        request.duration_ms,
        padded(&escape(&request.client_ip), 15),
        padded(&escape(&request.method), 7),
        escape(&request.host),
        escape(&request.path),
    );
    if !request.route.is_empty() {
        line.push_str(&printer.paint(Colour::Dim, &format!("  route {}", escape(&request.route))));
    }
    if let Some(error) = request.error.as_deref().filter(|error| !error.is_empty()) {
        line.push_str(&printer.paint(colour, &format!("  error: {}", escape(error))));
    }
    line
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(visible(text))))
}

/// The time of day here.
fn time(timestamp: &str) -> String {
    match timestamp.parse::<Timestamp>() {
        Ok(at) => at.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string(),
        Err(_) => escape(timestamp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    fn request(status: u16) -> Request {
        Request { status, host: "a.example".into(), client_ip: "192.0.2.1".into(), ..Default::default() }
    }

    #[test]
    fn options_choose_requests() {
        let all = Tail { blocked: false, host: None, ip: None, json: false };
        let with = |host: &str| Tail { host: Some(host.into()), ..all.clone() };
        for (name, tail, status, want) in [
            ("all", all.clone(), 200, true),
            ("blocked", Tail { blocked: true, ..all.clone() }, 429, true),
            ("the backend's own", Tail { blocked: true, ..all.clone() }, 404, false),
            ("host", with("A.example."), 200, true),
            ("other host", with("b.example"), 200, false),
            ("client", Tail { ip: Some("192.0.2.1".into()), ..all.clone() }, 200, true),
            ("other client", Tail { ip: Some("192.0.2.2".into()), ..all }, 200, false),
        ] {
            assert_eq!(tail.wants(&request(status)), want, "{name}");
        }
    }

    #[test]
    fn a_line_is_harmless_whatever_was_sent() {
        let mut sent = request(403);
        sent.path = "/\u{1b}[2J\r\nx\u{202e}".into();
        sent.method = "G\u{7}T".into();
        sent.error = Some("\u{9b}".into());
        let line = line(&sent, Printer::new(Format::Table, true));
        assert!(!line.chars().any(char::is_control) && !line.contains('\u{202e}'), "{line:?}");
        assert!(line.contains("a.example/\\u{1b}[2J"), "{line:?}");
    }
}
