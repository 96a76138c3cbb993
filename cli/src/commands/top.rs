// SPDX-License-Identifier: Apache-2.0
//! `sunbeam top`

use std::fs::File;
use std::io::{IsTerminal as _, Read as _, stdin, stdout};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use serde_json::Value;

use super::Run;
use crate::api::{Quantiles, RouteStats, Stats};
use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::exit::{CliError, ExitCode};
use crate::output::{Colour, Printer, aligned, duration, escape};

/// Watch the running node: requests a second, statuses, latency, the busiest routes
///
/// `q` or Ctrl-C ends it. When standard output is no terminal, a line every 5 seconds.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Top {
    /// Print once and end
    #[arg(long)]
    once: bool,
}

/// Between two pictures on a terminal, and the stretch that `--once` measures.
const REFRESH: Duration = Duration::from_secs(1);
/// Between two lines elsewhere.
const LINE_EVERY: Duration = Duration::from_secs(5);

impl Run for Top {
    const NAME: &'static str = "top";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let client = Client::connect(global)?;
        let printer = global.printer();
        if self.once || printer.is_json() || !stdout().is_terminal() || !stdin().is_terminal() {
            lines(&client, printer, self.once)
        } else {
            screen(&client, printer)
        }
    }
}

/// One moment of a node.
struct Moment {
    raw: Value,
    stats: Stats,
    at: Instant,
}

impl Moment {
    fn now(client: &Client) -> Result<Self, CliError> {
        let raw = client.get("/api/v1/stats")?;
        Ok(Self { stats: typed(&raw)?, raw, at: Instant::now() })
    }
}

fn lines(client: &Client, printer: Printer, once: bool) -> Result<ExitCode, CliError> {
    let mut before = Moment::now(client)?;
    loop {
        thread::sleep(if once { REFRESH } else { LINE_EVERY });
        let now = Moment::now(client)?;
        let seconds = (now.at - before.at).as_secs_f64();
        if printer.is_json() {
            printer.endless(format_args!("{}\n", printer.document(&now.raw)))?;
        } else if once {
            printer.raw(&picture(&before.stats, &now.stats, seconds, 20, printer))?;
        } else {
            printer.endless(format_args!("{}\n", summary(&before.stats, &now.stats, seconds)))?;
        }
        if once {
            return Ok(ExitCode::Done);
        }
        before = now;
    }
}

fn screen(client: &Client, printer: Printer) -> Result<ExitCode, CliError> {
    let keys = Keys::read()?;
    let mut before = Moment::now(client)?;
    let mut text = picture(&before.stats, &before.stats, 1.0, rows(), printer);
    loop {
        // Home, the picture with each line's rest erased, the rest of the screen erased.
        printer.endless(format_args!("\u{1b}[H{}\u{1b}[J", text.replace('\n', "\u{1b}[K\n")))?;
        if keys.quit_within(REFRESH) {
            return Ok(ExitCode::Done);
        }
        let now = Moment::now(client)?;
        let seconds = (now.at - before.at).as_secs_f64();
        text = picture(&before.stats, &now.stats, seconds, rows(), printer);
        before = now;
    }
}

/// Routes that fit on the screen.
fn rows() -> usize {
    let height = tcgetwinsize(stdout()).map_or(24, |size| usize::from(size.ws_row));
    height.saturating_sub(14).max(3)
}

/// What happens between two moments.
fn picture(before: &Stats, now: &Stats, seconds: f64, routes: usize, printer: Printer) -> String {
    let rate = |before: u64, now: u64| format!("{:.1}", per_second(before, now, seconds));
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| {
        let count =
            |stats: &Stats| stats.requests_by_status.get(class).and_then(Value::as_u64).unwrap_or_default();
        format!("{class} {}/s", rate(count(before), count(now)))
    });
    let name = |text: &str| printer.paint(Colour::Bold, text);
    let audit = &now.audit;
    let mut overview = vec![
        vec![
            name("requests"),
            format!(
                "{}/s, {} in {}",
                rate(before.requests_total, now.requests_total),
                now.requests_total,
                duration(now.uptime_seconds)
            ),
        ],
        vec![name("statuses"), classes.join("  ")],
        vec![name("latency ms"), quantiles(now.latency_ms)],
        vec![name("added ms"), format!("{} (our own part)", quantiles(now.added_latency_ms))],
        vec![
            name("connections"),
            format!("{}, {} of them WebSocket", now.active_connections, now.websocket_active),
        ],
        vec![
            name("backend errors"),
            format!(
                "{}/s, {} in all",
                rate(before.upstream_errors_total, now.upstream_errors_total),
                now.upstream_errors_total
            ),
        ],
        vec![
            name("audit log"),
            format!("{} written, {} dropped, {} failed", audit.written, audit.dropped, audit.failed),
        ],
    ];
    let hits: Vec<String> = now
        .limit_hits
        .iter()
        .filter(|(_, hits)| hits.as_u64() != Some(0))
        .map(|(limit, hits)| escape(&format!("{limit} {hits}")))
        .collect();
    if !hits.is_empty() {
        overview.push(vec![name("limits hit"), hits.join(", ")]);
    }
    let mut busiest: Vec<(f64, &RouteStats)> = now
        .routes
        .iter()
        .map(|route| {
            let earlier = before.routes.iter().find(|earlier| earlier.name == route.name);
            (
                per_second(
                    earlier.map_or(0, |earlier| earlier.requests_total),
                    route.requests_total,
                    seconds,
                ),
                route,
            )
        })
        .collect();
    busiest
        .sort_by(|(one, a), (other, b)| other.total_cmp(one).then(b.requests_total.cmp(&a.requests_total)));
    let heading = ["ROUTE", "REQ/S", "REQUESTS", "ERRORS"].map(name).to_vec();
    let table: Vec<Vec<String>> = std::iter::once(heading)
        .chain(busiest.into_iter().take(routes).map(|(rate, route)| {
            vec![
                escape(&route.name),
                format!("{rate:.1}"),
                route.requests_total.to_string(),
                route.errors_total.to_string(),
            ]
        }))
        .collect();
    format!("{}\n{}", aligned(overview.iter()), aligned(table.iter()))
}

fn summary(before: &Stats, now: &Stats, seconds: f64) -> String {
    format!(
        "{:.1} requests/s, {} connections, p99 {} ms, {} backend errors in all",
        per_second(before.requests_total, now.requests_total, seconds),
        now.active_connections,
        milliseconds(now.latency_ms.p99),
        now.upstream_errors_total,
    )
}

/// A node that was restarted in between counts from 0: then nothing is known yet.
fn per_second(before: u64, now: u64, seconds: f64) -> f64 {
    let difference = u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX);
    f64::from(difference) / seconds.max(0.001)
}

fn quantiles(quantiles: Quantiles) -> String {
    let Quantiles { p50, p90, p99 } = quantiles;
    format!("p50 {}  p90 {}  p99 {}", milliseconds(p50), milliseconds(p90), milliseconds(p99))
}

fn milliseconds(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

/// Single keys, while it lives: the terminal neither waits for a line nor shows what is typed.
struct Keys {
    pressed: Receiver<u8>,
    earlier: Termios,
}

impl Keys {
    fn read() -> Result<Self, CliError> {
        let failed =
            |error: rustix::io::Errno| CliError::failed(format!("failed to set the terminal up: {error}"));
        let earlier = tcgetattr(stdin()).map_err(failed)?;
        let mut single = earlier.clone();
        single.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        tcsetattr(stdin(), OptionalActions::Now, &single).map_err(failed)?;
        let (sender, pressed) = mpsc::channel();
        // Not joined: it waits for a key until the program ends.
        thread::spawn(move || {
            let bytes = File::open("/dev/tty").map(File::bytes).into_iter().flatten();
            for byte in bytes.map_while(Result::ok) {
                if sender.send(byte).is_err() {
                    return;
                }
            }
        });
        drop(crate::output::screen_on());
        Ok(Self { pressed, earlier })
    }

    /// Waits so long, or until `q`, Ctrl-C or Ctrl-D is pressed.
    fn quit_within(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            match self.pressed.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(b'q' | b'Q' | 0x03 | 0x04) => return true,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        drop(crate::output::screen_off());
        if let Err(error) = tcsetattr(stdin(), OptionalActions::Now, &self.earlier) {
            crate::output::note(format_args!(
                "the terminal could not be set back ({error}): `reset` does it"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::output::Format;

    #[test]
    fn rates_are_differences_and_the_busiest_route_is_first() {
        let stats = |total: u64, quiet: u64, busy: u64| -> Stats {
            typed(&json!({"requests_total": total, "requests_by_status": {"2xx": total}, "latency_ms": {"p50": 1.234},
                "routes": [{"name": "quiet", "requests_total": quiet}, {"name": "bu\u{1b}sy", "requests_total": busy}]})).unwrap()
        };
        let text =
            picture(&stats(100, 100, 0), &stats(120, 100, 20), 2.0, 1, Printer::new(Format::Table, true));
        assert!(text.contains("10.0/s, 120 in"), "{text}");
        assert!(text.contains("2xx 10.0/s") && text.contains("p50 1.23  p90 -"), "{text}");
        assert!(text.contains("bu\\u{1b}sy  10.0") && !text.contains("quiet"), "{text}");
        assert!(per_second(5, 3, 1.0).abs() < f64::EPSILON, "a restarted node");
    }
}
