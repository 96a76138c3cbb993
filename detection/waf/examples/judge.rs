// SPDX-License-Identifier: Apache-2.0
//! Requests, one JSON object a line on standard input (`method`, `target`, `headers`, `body`), through a rule set: for
//! each a line that says whether it is stopped (0, 1), its score, and the rules that found something and where. What
//! rules catch of labelled requests, and what of honest ones, is counted from that.
//!
//!     judge builtin|CRS_FOLDER PARANOIA_LEVEL

use std::io::{BufRead, BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sunbeam_waf::engine::{Ends, RequestHead, Transaction};
use sunbeam_waf::rules::{RuleOptions, RuleSetKind, load};

#[expect(clippy::print_stderr, reason = "its lines are what it is for")]
fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, level, ..] = words.as_slice() else { return Ok(()) };
    let ruleset = if folder == "builtin" { RuleSetKind::BuiltIn } else { RuleSetKind::Crs(folder.into()) };
    let paranoia_level = level.parse().expect("a paranoia level");
    let options = RuleOptions { ruleset, paranoia_level, ..RuleOptions::default() };
    let rules = match load(&options) {
        Ok(rules) => Arc::new(rules),
        Err(errors) => {
            for error in errors {
                eprintln!("{error}");
            }
            std::process::exit(1);
        }
    };
    let mut transaction = Transaction::new(Arc::clone(&rules));
    let mut out = BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let request: serde_json::Value = serde_json::from_str(&line?)?;
        let text = |key: &str| request[key].as_str().unwrap_or_default();
        let headers: Vec<(&[u8], &[u8])> = request["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.as_bytes(), value.as_str().unwrap_or_default().as_bytes()))
            .collect();
        transaction.begin(&rules);
        let [client, server] = [Ipv4Addr::new(203, 0, 113, 9), Ipv4Addr::new(192, 0, 2, 1)].map(IpAddr::V4);
        transaction.connection(&Ends { client, client_port: 40_000, server, server_port: 443 });
        transaction.request_head(&RequestHead {
            method: text("method").as_bytes(),
            target: text("target").as_bytes(),
            protocol: b"HTTP/1.1",
            headers: &headers,
            id: "1",
        });
        transaction.request_body(text("body").as_bytes(), false);
        let outcome = transaction.outcome();
        write!(out, "{} {}", u8::from(outcome.is_interrupted), outcome.score)?;
        for finding in transaction.findings() {
            let target = finding.target.to_string().replace(char::is_whitespace, "_");
            write!(out, " {}@{target}", rules.rules()[finding.rule as usize].id)?;
        }
        writeln!(out)?;
    }
    out.flush()
}
