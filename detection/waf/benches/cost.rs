// SPDX-License-Identifier: Apache-2.0
//! What a request costs: all five phases, as often as asked; the same requests and the same lines as
//! `benchmarks/waf/modsecurity.c`.
//!
//!     cost CRS_FOLDER PARANOIA_LEVEL RUNS REQUEST...

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use sunbeam_waf::engine::{Ends, InterruptionKind, RequestHead, ResponseHead, Transaction};
use sunbeam_waf::rules::{RuleOptions, RuleSetKind, load};

#[expect(clippy::print_stdout, reason = "its lines are what it is for")]
fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [folder, level, runs, requests @ ..] = words.as_slice() else { return };
    let ruleset = if folder == "builtin" { RuleSetKind::BuiltIn } else { RuleSetKind::Crs(folder.into()) };
    let paranoia_level = level.parse().expect("a paranoia level");
    let runs: u32 = runs.parse().expect("a number of runs");
    let options = RuleOptions { ruleset, paranoia_level, responses: true, ..RuleOptions::default() };
    let rules = match load(&options) {
        Ok(rules) => Arc::new(rules),
        Err(errors) => panic!("{}", errors[0]),
    };
    let mut transaction = Transaction::new(Arc::clone(&rules));
    for request in requests {
        let bytes = std::fs::read(request).expect("a request");
        let status = run(&mut transaction, &rules, &bytes);
        for _ in 0..runs / 4 {
            run(&mut transaction, &rules, &bytes);
        }
        // The quickest of ten rounds: whatever else the machine does only makes it slower.
        let round = || {
            let start = Instant::now();
            for _ in 0..runs.div_ceil(10) {
                run(&mut transaction, &rules, &bytes);
            }
            start.elapsed().as_nanos() / u128::from(runs.div_ceil(10))
        };
        let quickest = std::iter::repeat_with(round).take(10).min().unwrap_or_default();
        println!("{request} {quickest} {status}");
        if std::env::var_os("SHOW").is_some() {
            for finding in transaction.findings() {
                println!(
                    "    {} {} {}",
                    rules.rules()[finding.rule as usize].id,
                    finding.target,
                    finding.message
                );
            }
        }
    }
}

fn run(transaction: &mut Transaction, rules: &Arc<sunbeam_waf::compile::RuleSet>, bytes: &[u8]) -> u16 {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("the end of the head");
    let mut lines = bytes[..end].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let line: Vec<&[u8]> = lines.next().expect("a line").split(|byte| *byte == b' ').collect();
    let headers: Vec<(&[u8], &[u8])> = lines
        .map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').expect("a colon");
            (&line[..colon], line[colon + 1..].trim_ascii())
        })
        .collect();
    transaction.begin(rules);
    let [client, server] = [Ipv4Addr::new(203, 0, 113, 9), Ipv4Addr::new(192, 0, 2, 1)].map(IpAddr::V4);
    transaction.connection(&Ends { client, client_port: 40_000, server, server_port: 443 });
    let head =
        RequestHead { method: line[0], target: line[1], protocol: line[2], headers: &headers, id: "1" };
    transaction.request_head(&head);
    transaction.request_body(&bytes[end + 4..], false);
    let headers: [(&[u8], &[u8]); 1] = [(b"Content-Type", b"text/html")];
    transaction.response_head(&ResponseHead { status: 200, protocol: b"HTTP/1.1", headers: &headers });
    transaction.response_body(b"<html><body>hello</body></html>", false);
    transaction.end();
    match transaction.interruption().map(|interruption| &interruption.kind) {
        Some(InterruptionKind::Deny(status)) => *status,
        Some(_) => 1,
        None => 0,
    }
}
