// SPDX-License-Identifier: Apache-2.0
//! Says whether a proxy read what its client sent in one way: either it refused, and no backend saw
//! anything, or its backend read exactly the request that the proxy recorded and the client sent, and the
//! answers belong to the requests, in their order.

use std::collections::{BTreeMap, HashSet};

use super::readers::Seen;
use super::strict::{self, Answer, Read, Request};

/// What the proxy says that it read.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) status: u16,
    /// The proxy's own answer, with a reason.
    pub(super) is_refusal: bool,
}

/// Requests by their id: what the proxy recorded and what the backend read.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    pub(super) records: BTreeMap<String, Record>,
    pub(super) seen: BTreeMap<String, Vec<Seen>>,
}

/// What came back on a connection.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) received: Vec<u8>,
    pub(super) is_closed: bool,
}

/// The answers, and what is wrong with them.
pub(super) fn answers(asked: &[Request], outcome: &Outcome) -> (Vec<Answer>, Vec<String>) {
    let (mut found, mut faults) = (Vec::<Answer>::new(), Vec::new());
    let mut bytes = outcome.received.as_slice();
    while !bytes.is_empty() {
        if found.last().is_some_and(closes) {
            faults.push(format!("bytes after the answer that closes: {}", text(bytes)));
            break;
        }
        let request = asked.get(found.len());
        let method = request.map_or("GET", |request| request.method.as_str());
        match strict::answer(bytes, method, outcome.is_closed) {
            Read::Whole(answer, length) => {
                bytes = &bytes[length..];
                if answer.status != 100 {
                    found.push(answer);
                } else if request.is_some_and(|request| strict::value(&request.headers, "expect").is_none()) {
                    faults.push("100 that nobody expects".to_owned());
                }
            }
            Read::Partial => {
                faults.push(format!("half an answer: {}", text(bytes)));
                break;
            }
            Read::Malformed(why) => {
                faults.push(format!("an answer with a wrong {why}: {}", text(bytes)));
                break;
            }
        }
    }
    (found, faults)
}

/// Everything that is wrong with how `sent` was treated.
pub(super) fn judge(sent: &[u8], outcome: &Outcome, evidence: &Evidence) -> Vec<String> {
    let (asked, rest) = strict::requests(sent);
    let (answers, mut faults) = answers(&asked, outcome);
    for (number, answer) in answers.iter().enumerate() {
        let Some(id) = strict::value(&answer.headers, "x-request-id") else {
            faults.push(format!("answer {number} has no request's id"));
            continue;
        };
        let request = asked.get(number);
        faults.extend(
            judge_one(id, request, answer, evidence).into_iter().map(|fault| format!("{number}: {fault}")),
        );
        if request.is_none() && !outcome.is_closed {
            faults.push(format!("{number}: refused, and the connection stays open"));
        }
    }
    let last = asked.get(..answers.len().min(asked.len())).and_then(<[Request]>::last);
    let is_over = answers.last().is_some_and(closes) || last.is_some_and(ends_connection);
    if answers.len() < asked.len() && !is_over {
        faults.push(format!("{} of {} requests have an answer", answers.len(), asked.len()));
    } else if let Read::Malformed(why) = rest
        && answers.len() == asked.len()
        && !is_over
    {
        faults.push(format!("a wrong {why} is not refused"));
    }
    faults
}

/// What backends read and nobody asked for.
pub(super) fn strays<'a>(evidence: &'a Evidence, answered: &HashSet<String>) -> Vec<&'a Seen> {
    evidence.seen.iter().filter(|(id, _)| !answered.contains(*id)).flat_map(|(_, seen)| seen).collect()
}

/// The target as a backend is to read it: no scheme, no authority, no byte that is none of a URI.
pub(super) fn origin_form(target: &str) -> String {
    let path = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            if rest[at..].starts_with('/') { rest[at..].to_owned() } else { format!("/{}", &rest[at..]) }
        }
        _ => target.to_owned(),
    };
    let encode = |c: char| match c {
        '<' | '>' | '"' | '`' | '\u{80}'.. => format!("%{:02X}", u32::from(c)),
        _ => c.to_string(),
    };
    path.chars().map(encode).collect()
}

fn judge_one(id: &str, request: Option<&Request>, answer: &Answer, evidence: &Evidence) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expect = |holds: bool, fault: String| {
        if !holds {
            faults.push(fault);
        }
    };
    let record = evidence.records.get(id);
    expect(
        record.is_some_and(|record| record.status == answer.status),
        format!("not so in the audit log: {record:?}"),
    );
    let Some(seen) = evidence.seen.get(id) else {
        expect(
            strict::value(&answer.headers, "x-reader").is_none(),
            "answered without having been read".to_owned(),
        );
        // Backends may know methods in capitals only; what a proxy passes on is none of their mistakes else.
        let is_odd = request.is_some_and(|request| request.method.contains(|c: char| c.is_ascii_lowercase()));
        let is_own = record.is_some_and(|record| record.is_refusal) || [204, 308].contains(&answer.status);
        let is_refusal = is_own && ![502, 504].contains(&answer.status);
        expect(is_refusal || is_odd, format!("passed on, and not understood: {}", answer.status));
        return faults;
    };
    let Some(request) = request else {
        expect(false, format!("passed on, though it can be read in two ways: {seen:?}"));
        return faults;
    };
    let [seen] = seen.as_slice() else {
        expect(false, format!("read several times: {seen:?}"));
        return faults;
    };
    let target = origin_form(&request.target);
    // An empty query is none, to the audit log and to some backends' frameworks.
    let bare = |target: &str| target.strip_suffix('?').unwrap_or(target).to_owned();
    let is_same =
        seen.method == request.method && bare(&seen.target) == bare(&target) && seen.body == request.body;
    expect(is_same, format!("sent {} {target}, read {seen:?}", request.method));
    expect(
        record.is_some_and(|record| record.method == seen.method && record.target == bare(&target)),
        format!("read {} {}, recorded {record:?}", seen.method, seen.target),
    );
    let told = format!("{} {} {}\n", seen.method, seen.target, seen.body.len());
    let is_its_own = seen.method == "HEAD" || answer.body == told.as_bytes();
    expect(is_its_own, format!("answered with another's answer: {}", text(&answer.body)));
    for fault in header_faults(seen) {
        expect(false, fault);
    }
    faults
}

/// What no request may carry to a backend.
pub(super) fn header_faults(seen: &Seen) -> Vec<String> {
    const HOP_BY_HOP: [&str; 8] = [
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "http2-settings",
        "proxy-authorization",
    ];
    let count = |name: &str| seen.headers.iter().filter(|(found, _)| found == name).count();
    let mut faults = Vec::new();
    if count("host") != 1 || count("content-length") + count("transfer-encoding") > 1 {
        faults.push(format!("ambiguous at the backend: {:?}", seen.headers));
    }
    let odd = |name: &str| HOP_BY_HOP.contains(&name) || name.contains('_') || name.starts_with(':');
    if let Some((name, _)) = seen.headers.iter().find(|(name, _)| odd(name)) {
        faults.push(format!("`{name}` reached the backend"));
    }
    faults
}

fn closes(answer: &Answer) -> bool {
    strict::value(&answer.headers, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
}

fn ends_connection(request: &Request) -> bool {
    let connection = strict::value(&request.headers, "connection").unwrap_or_default().to_ascii_lowercase();
    connection.contains("close") || (request.is_http_10 && !connection.contains("keep-alive"))
}

fn text(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)]))
}
