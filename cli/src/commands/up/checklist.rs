// SPDX-License-Identifier: Apache-2.0
//! What `sunbeam up` prints when it is ready.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sunbeam_listeners::Scheme;
use sunbeam_proxy::Node;
use sunbeam_routing::{BackendUrl, Scheme as BackendScheme};

use super::Facts;
use crate::output::{Colour, Printer, aligned, escape};
use crate::probe::{self, Found};

/// How long the application may take to answer the one request that tries it.
const BACKEND_TIMEOUT: Duration = Duration::from_secs(2);

/// What stands before a line.
#[derive(Clone, Copy)]
enum Mark {
    Ok,
    Note,
    Warning,
}

impl Mark {
    fn paint(self, printer: Printer) -> String {
        match self {
            Self::Ok => printer.paint(Colour::Green, "ok"),
            Self::Note => "note".to_owned(),
            Self::Warning => printer.paint(Colour::Yellow, "warn"),
        }
    }
}

/// The list, and what to try next.
pub(super) fn text(node: &Node, facts: &Facts, printer: Printer) -> String {
    let row = |(mark, name, value): (Mark, &str, String)| {
        vec![format!("  {}", mark.paint(printer)), name.to_owned(), value]
    };
    let rows: Vec<Vec<String>> = lines(node, facts).into_iter().map(row).collect();
    let title = printer.paint(Colour::Bold, concat!("Sunbeam ", env!("CARGO_PKG_VERSION")));
    let mut text = format!("{title} is in front of {}\n\n{}", target(facts), aligned(rows.iter()));
    text.push_str(&format!("\n{}\n", printer.paint(Colour::Bold, "Try next")));
    for line in to_try(node, facts) {
        text.push_str(&format!("  {line}\n"));
    }
    text.push_str("\nCtrl-C stops it.\n");
    text
}

/// The same for machines.
pub(super) fn json(node: &Node, facts: &Facts) -> Value {
    let listeners = node.listeners();
    let listeners =
        listeners.iter().map(|(scheme, address)| json!({"scheme": scheme.as_str(), "address": address}));
    json!({
        "backend": facts.backend.as_str(),
        "demo": facts.is_demo,
        "listeners": listeners.collect::<Value>(),
        "certificate_names": facts.certificate_names,
        "metrics": node.metrics_address(),
        "management": node.management_address(),
        "token_path": node.token_path(),
        "state_directory": facts.state.path,
        "notes": facts.notes,
    })
}

fn target(facts: &Facts) -> String {
    if facts.is_demo { "its own demo site".to_owned() } else { escape(facts.backend.as_str()) }
}

fn lines(node: &Node, facts: &Facts) -> Vec<(Mark, &'static str, String)> {
    let mut lines = Vec::new();
    for (scheme, address) in node.listeners() {
        lines.push((Mark::Ok, scheme.as_str(), url(scheme, address)));
    }
    lines.push(backend(&facts.backend, facts.is_demo));
    let names = facts.certificate_names.join(", ");
    lines.push((
        Mark::Ok,
        "certificate",
        format!("self-signed, in memory only, for {names}; browsers warn about it"),
    ));
    lines.push((
        Mark::Note,
        "mode",
        "what is certain is blocked (lists, probes, exploits, false crawlers, limits), what is doubtful is challenged or watched; \
         127.0.0.1 is spared limits (rate_limit.bypass_cidrs); the kernel filter is not part of this version"
            .to_owned(),
    ));
    if let Some(address) = node.metrics_address() {
        lines.push((Mark::Ok, "metrics", format!("http://{address}/metrics")));
    }
    if let Some(address) = node.management_address() {
        let token =
            node.token_path().map(|path| format!(", token in {}", path.display())).unwrap_or_default();
        lines.push((Mark::Ok, "management", format!("http://{address}{token}")));
    }
    lines.push((Mark::Ok, "audit log", facts.state.path.join("audit.jsonl").display().to_string()));
    if let Some(reason) = &facts.state.instead {
        lines.push((Mark::Warning, "state", format!("in {}: {reason}", facts.state.path.display())));
    }
    lines.extend(facts.notes.iter().map(|note| (Mark::Note, "ports", note.clone())));
    lines
}

fn backend(url: &BackendUrl, is_demo: bool) -> (Mark, &'static str, String) {
    let name = if is_demo { format!("demo site at {url}") } else { escape(url.as_str()) };
    let (mark, result) = match answer(url) {
        Ok(result) => (Mark::Ok, result),
        Err(error) => {
            (Mark::Warning, format!("does not answer: {error}. Start it: every request tries anew"))
        }
    };
    (mark, "backend", format!("{name} {result}"))
}

fn answer(url: &BackendUrl) -> io::Result<String> {
    if url.scheme == BackendScheme::Http {
        return probe::get(url, BACKEND_TIMEOUT).map(|status| format!("answers {status}"));
    }
    let target = (url.host.clone(), url.port);
    match probe::connect_all([target.clone()]).remove(&target) {
        Some(Found::Listens(_)) => Ok("accepts connections (its TLS was not tried)".to_owned()),
        Some(Found::Silent(_, error) | Found::Unknown(error)) => Err(io::Error::other(error)),
        None => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn url(scheme: Scheme, address: SocketAddr) -> String {
    format!("{}://{address}", scheme.as_str())
}

fn to_try(node: &Node, facts: &Facts) -> Vec<String> {
    let mut lines: Vec<String> = node
        .listeners()
        .into_iter()
        .map(|(scheme, address)| {
            let insecure = if scheme == Scheme::Https { "--insecure " } else { "" };
            match &facts.domain {
                Some(domain) => {
                    let (host, port, ip) = (escape(domain), address.port(), address.ip());
                    format!(
                        "curl {insecure}--resolve {host}:{port}:{ip} {}://{host}:{port}/",
                        scheme.as_str()
                    )
                }
                None => format!("curl {insecure}{}/", url(scheme, address)),
            }
        })
        .collect();
    if facts.is_demo && facts.domain.is_none() {
        let plain = node.listeners().into_iter().find(|(scheme, _)| *scheme == Scheme::Http);
        lines.extend(plain.map(|(scheme, address)| {
            format!("curl {}/echo     what the backend is told", url(scheme, address))
        }));
    }
    let node = match (&facts.state.instead, node.management_address(), node.token_path()) {
        // Found by itself in the usual directory only.
        (Some(_), Some(address), Some(token)) => {
            format!(" --node http://{address} --token-file {}", token.display())
        }
        _ => String::new(),
    };
    lines.push(format!("sunbeam login{node}     a link to the console, for the browser"));
    lines.push(format!("sunbeam status{node}"));
    lines.push(format!("sunbeam tail{node}"));
    lines
}
