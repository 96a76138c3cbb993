// SPDX-License-Identifier: Apache-2.0
//! `sunbeam status`

use super::Run;
use crate::api::{self, plain};
use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::exit::{CliError, ExitCode};
use crate::output::{Colour, Printer, duration, escape, escape_lines};

/// Show how the running node is
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Status {}

impl Run for Status {
    const NAME: &'static str = "status";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let client = Client::connect(global)?;
        let answer = client.get("/api/v1/status")?;
        let printer = global.printer();
        if printer.is_json() {
            printer.json(&answer)?;
        } else {
            printer.pairs(&lines(&typed(&answer)?, &client.url(), printer))?;
        }
        Ok(ExitCode::Done)
    }
}

fn lines(status: &api::Status, url: &str, printer: Printer) -> Vec<(&'static str, String)> {
    let colour = if status.status == "running" { Colour::Green } else { Colour::Yellow };
    let state = printer.paint(colour, &escape(&status.status));
    let uptime = duration(status.uptime_seconds);
    let mut lines = vec![
        (
            "status",
            format!("{state}, version {}, up {uptime}, process {}", escape(&status.version), status.pid),
        ),
        ("node", escape(&name(status))),
        ("connections", format!("{} of {}", status.active_connections, status.max_connections)),
        ("configuration", configuration(status)),
        ("routes", status.routes.to_string()),
        ("backends", backends(&status.backends, printer)),
        ("certificates", status.certificates.to_string()),
    ];
    for backend in &status.backends.unhealthy {
        let why = backend.last_error.as_deref().unwrap_or_default();
        let text = format!("{} {}: {}", escape(&backend.backend), escape(&backend.state), escape(why));
        lines.push(("unhealthy", printer.paint(Colour::Red, &text)));
    }
    for listener in &status.listeners {
        lines.push(("listening", escape(&format!("{}://{}", listener.scheme, listener.address))));
    }
    let metrics =
        status.metrics_address.as_deref().map(|address| format!("http://{}/metrics", escape(address)));
    lines.push(("metrics", metrics.unwrap_or_else(|| "off".to_owned())));
    lines.push(("management", url.to_owned()));
    if status.config_reload_failed {
        let error = escape_lines(status.config_error.as_deref().unwrap_or("see the log"));
        let text = format!("FAILED, the earlier configuration runs on: {error}");
        lines.push(("last reload", printer.paint(Colour::Red, &text)));
    }
    if let Some(error) = &status.decisions_error {
        let text = format!("NONE are kept, `sunbeam why` knows nothing: {}", escape_lines(error));
        lines.push(("decisions", printer.paint(Colour::Red, &text)));
    }
    lines
}

fn backends(backends: &api::BackendsStatus, printer: Printer) -> String {
    match backends.unhealthy.len() {
        0 => backends.total.to_string(),
        out => {
            let text = format!("{} of {} healthy", backends.total.saturating_sub(out as u64), backends.total);
            printer.paint(Colour::Yellow, &text)
        }
    }
}

fn name(status: &api::Status) -> String {
    let parts = [&status.deployment_id, &status.environment, &status.region, &status.mode];
    parts.into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(", ")
}

fn configuration(status: &api::Status) -> String {
    let files =
        if status.config_files.is_empty() { "no file".to_owned() } else { status.config_files.join(" + ") };
    let at = plain(&status.config_loaded_at);
    format!("{}, generation {}, loaded {at}", escape(&files), status.generation)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::output::Format;

    #[test]
    fn a_failed_reload_is_told_and_missing_fields_are_no_error() {
        let status = json!({"status": "running", "config_reload_failed": true, "config_error": "c.toml:1:1: no\u{1b}"});
        let printer = Printer::new(Format::Table, true);
        let lines = lines(&typed(&status).unwrap(), "http://n", printer);
        let (_, text) = lines.iter().find(|(name, _)| *name == "last reload").unwrap();
        assert_eq!(text, "FAILED, the earlier configuration runs on: c.toml:1:1: no\\u{1b}");
    }

    #[test]
    fn backends_that_are_left_out_are_told_with_the_reason() {
        let out = json!({"backend": "http://a", "state": "left out", "last_error": "refused\u{7}"});
        let status = json!({"backends": {"total": 3, "unhealthy": [out]}});
        let printer = Printer::new(Format::Table, true);
        let lines = lines(&typed(&status).unwrap(), "http://n", printer);
        let line = |name| lines.iter().find(|(found, _)| *found == name).map(|(_, text)| text.as_str());
        assert_eq!(line("backends"), Some("2 of 3 healthy"));
        assert_eq!(line("unhealthy"), Some("http://a left out: refused\\u{7}"));
    }
}
