// SPDX-License-Identifier: Apache-2.0
//! What the WAF says of many requests, by the code that a node runs; `cargo xtask figures waf --measure verdicts` holds it
//! against ModSecurity.
//!
//!     verdicts CRS_FOLDER REQUESTS
//!
//! REQUESTS is a file of HTTP/1.1 requests, each after a line with its length in bytes. For each a line: the verdict of
//! the Core Rule Set's rules alone, of them and the model together, of the project's own rules and the model; the
//! rules' score, the model's above its doubt in 1/256, the own rules' score; then what matched, `RULE@VARIABLE`, of the
//! Core Rule Set, a bar, and of the project's own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on ends")]

use std::io::{BufWriter, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sunbeam_metrics::Registry;
use sunbeam_pipeline::{
    Category, DdosSection, DetectionMetrics, DetectionMode, DetectionSection, Interrupted, Judgement,
    LayerOverride, Memory, MemoryOptions, Models, Pipeline, Rules, RulesEngine, RulesFound, ScannerSection,
    Scratch, Sections, WafSection, WafVerdict, is_binary_type, is_file,
};
use sunbeam_rate_limit::RateLimitSection;
use sunbeam_reputation::BotsSection;
use sunbeam_tables::{HashKey, Moment};
use sunbeam_traffic::RequestFacts;
use sunbeam_waf::engine::{Ends, InterruptionKind, RequestHead, Transaction};
use sunbeam_waf::rules::{RuleOptions, RuleSetKind, load};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [crs, requests] = words.as_slice() else { return };
    let requests = std::fs::read(requests).expect("a file of requests");
    let judges = [WafVerdict::Rules, WafVerdict::Combined].map(pipeline);
    let mut rules = [RuleSetKind::Crs(crs.into()), RuleSetKind::BuiltIn].map(|ruleset| {
        let set = load(&RuleOptions { ruleset, ..RuleOptions::default() }).expect("rules that load");
        Transaction::new(Arc::new(set))
    });
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut rest = &requests[..];
    while !rest.is_empty() {
        let request;
        (request, rest) = next(rest);
        let request = Request::parse(request);
        let found = rules.each_mut().map(|transaction| found(transaction, &request));
        let [alone, together] = &judges;
        let (of_rules, _) = said(alone, &request, &found[0]);
        let (of_both, model) = said(together, &request, &found[0]);
        let (of_own, _) = said(together, &request, &found[1]);
        for judgement in [of_rules, of_both, of_own] {
            let word = judgement.verdict.as_str();
            let reason = if judgement.reason.is_empty() { "" } else { ":" };
            write!(out, "{word}{reason}{} ", judgement.reason).unwrap();
        }
        write!(out, "{} {} {}", found[0].score, model.unwrap_or(i32::MIN), found[1].score).unwrap();
        for (number, transaction) in rules.iter().enumerate() {
            if number > 0 {
                write!(out, " |").unwrap();
            }
            for finding in transaction.findings() {
                let target = finding.target.to_string().replace(|byte: char| byte <= ' ', "_");
                write!(out, " {}@{target}", transaction.rules().rules()[finding.rule as usize].id).unwrap();
            }
        }
        writeln!(out).unwrap();
    }
    out.flush().unwrap();
}

/// The next request, and what comes after it.
fn next(requests: &[u8]) -> (&[u8], &[u8]) {
    let line = memchr::memchr(b'\n', requests).expect("a line with a length");
    let length: usize = std::str::from_utf8(&requests[..line]).unwrap().parse().expect("a length");
    requests[line + 1..].split_at(length)
}

/// Judging with the defaults of an empty configuration, the WAF alone.
fn pipeline(verdict: WafVerdict) -> Pipeline {
    let off = DetectionSection { mode: DetectionMode::Observe, ..DetectionSection::default() };
    let waf = WafSection { verdict, mode: Some(LayerOverride::Enforce), ..WafSection::default() };
    let rules = Rules::new(
        &Sections {
            detection: &off,
            ddos: &DdosSection::default(),
            scanner: &ScannerSection::default(),
            rate_limit: &RateLimitSection::default(),
            bots: &BotsSection::default(),
            waf: &waf,
        },
        &[],
        Models::default(),
    );
    let memory = Memory::new(MemoryOptions {
        window_bytes: 1 << 20,
        identities: 1_024,
        hash: HashKey::fixed(1),
        ask: Box::new(|_| false),
    });
    Pipeline::new(rules, Arc::new(memory), DetectionMetrics::register(&Registry::new()))
}

struct Request<'a> {
    method: &'a str,
    target: &'a str,
    headers: Vec<(&'a [u8], &'a [u8])>,
    /// As much of it as a node looks at.
    body: &'a [u8],
    is_cut: bool,
    /// There is a body of a kind that nobody reads, and that is not known to be binary.
    is_unread: bool,
}

impl<'a> Request<'a> {
    fn parse(request: &'a [u8]) -> Self {
        let end = memchr::memmem::find(request, b"\r\n\r\n").expect("an end of the head");
        let mut lines = std::str::from_utf8(&request[..end]).expect("a head that is text").split("\r\n");
        let mut line = lines.next().unwrap_or_default().split(' ');
        let [method, target] = [(); 2].map(|()| line.next().expect("a request line"));
        let headers: Vec<(&[u8], &[u8])> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        let mut request =
            Self { method, target, headers, body: &request[end + 4..], is_cut: false, is_unread: false };
        let section = WafSection::default();
        let kind = request.header("content-type");
        if !section.inspects(kind) {
            request.is_unread = !request.body.is_empty() && !is_binary_type(kind);
        }
        if !section.inspects(kind) || (kind.is_empty() && is_file(request.body)) {
            request.body = b"";
        }
        if let Some(seen) = request.body.get(..section.max_inspected_body_bytes) {
            (request.is_cut, request.body) = (seen.len() < request.body.len(), seen);
        }
        request
    }

    fn header(&self, name: &str) -> &'a [u8] {
        let is_it = |header: &&(&[u8], &[u8])| header.0.eq_ignore_ascii_case(name.as_bytes());
        self.headers.iter().find(is_it).map_or(b"", |header| header.1)
    }

    fn text(&self, name: &str) -> &'a str {
        std::str::from_utf8(self.header(name)).unwrap_or_default()
    }
}

/// What rules find, as the proxy tells it to the pipeline.
fn found(transaction: &mut Transaction, request: &Request<'_>) -> RulesFound {
    let rules = Arc::clone(transaction.rules());
    transaction.begin(&rules);
    let [client, server] = [Ipv4Addr::new(203, 0, 113, 9), Ipv4Addr::new(192, 0, 2, 1)].map(IpAddr::V4);
    transaction.connection(&Ends { client, client_port: 40_000, server, server_port: 443 });
    let head = RequestHead {
        method: request.method.as_bytes(),
        target: request.target.as_bytes(),
        protocol: b"HTTP/1.1",
        headers: &request.headers,
        id: "",
    };
    let is_stopped = transaction.request_head(&head).is_some();
    if !is_stopped {
        transaction.request_body(request.body, request.is_cut);
    }
    let outcome = transaction.outcome();
    let interruption = transaction.interruption().map(|interruption| match interruption.kind {
        _ if outcome.is_by_score => Interrupted::ByScore,
        InterruptionKind::Deny(status) => Interrupted::ByRule { status },
        _ => Interrupted::ByRule { status: 403 },
    });
    RulesFound {
        score: outcome.score,
        threshold: outcome.threshold,
        is_in_texts: transaction.finds_in_texts(),
        score_outside_texts: transaction.score_outside_texts(|tags| Category::is_attack(tags)),
        engine: RulesEngine::On,
        interruption,
        is_spent: transaction.is_spent(),
        is_oversized: request.is_cut,
        is_undecodable: false,
        is_unread: request.is_unread || (is_stopped && !request.body.is_empty()),
        has_too_many_parameters: transaction.has_too_many_arguments(),
    }
}

/// What that comes to, and how far the model is above its doubt.
fn said(pipeline: &Pipeline, request: &Request<'_>, found: &RulesFound) -> (Judgement, Option<i32>) {
    let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
    let cookies: Vec<&[u8]> = request
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"cookie"))
        .map(|(_, value)| *value)
        .collect();
    let facts = RequestFacts {
        client: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
        method: request.method,
        host: request.text("host"),
        path,
        query,
        user_agent: request.text("user-agent"),
        referer: request.header("referer"),
        cookies: &cookies,
        content_length: request.body.len() as u64,
        content_type: request.header("content-type"),
        ..RequestFacts::EMPTY
    };
    let mut scratch = Scratch::default();
    let (mut judged, ..) = pipeline.opinions(&facts, Moment::default(), &mut scratch);
    let facts = RequestFacts { body: request.body, ..facts };
    let (_, judgement) = pipeline.inspected(&mut judged, &facts, found, &mut scratch);
    (judgement, judged.scores.payload)
}
