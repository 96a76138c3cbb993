// SPDX-License-Identifier: Apache-2.0
//! The labelled requests that engines are compared on: `requests.jsonl.zst` of the shared data, as bytes that a client
//! could send.
//!
//! Labels are the corpora's own. Some corpora kept no headers, or not all. Host, Content-Length and the Content-Type of a
//! form are added where they are missing: no server hands on a request without the first two, every browser sends the
//! third, and the Core Rule Set stops whatever has a body without it, which says nothing of the body. What is no
//! header is left out; all else is as it stands.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;
use sunbeam_datasets::sources::{ReadOptions, read_from};
use sunbeam_trainer::sides::{Side, side};

/// Corpora that are left out, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "csic_dec",
        "lower-cased and decoded: what was sent is not known; csic_raw has its requests as they were",
    ),
    ("paths_dirsearch", "paths that scanners ask for: another layer's, there is nothing in them to match"),
    ("scan_acunetix", "a scanner's log, most of whose requests are those of any visitor: another layer's"),
];

/// A request with the corpus' word on it.
pub(super) struct Row {
    /// The corpus.
    pub(super) source: String,
    /// Its word.
    pub(super) is_attack: bool,
    /// On the side that no model has learned from (`sunbeam_trainer::sides`).
    pub(super) is_unseen: bool,
    /// HTTP/1.1.
    pub(super) request: Vec<u8>,
}

/// The rows, and how many were left out because no client can send them.
pub(super) struct Corpus {
    pub(super) rows: Vec<Row>,
    pub(super) impossible: usize,
}

/// Reads it. Copies are one.
///
/// # Errors
/// When the file is not there, or not what it was.
pub(super) fn read(shared: &Path) -> Result<Corpus> {
    let path = shared.join("data/requests.jsonl.zst");
    let file = File::open(&path).with_context(|| format!("`{}` cannot be opened", path.display()))?;
    let mut corpus = Corpus { rows: Vec::new(), impossible: 0 };
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    for line in BufReader::new(zstd::Decoder::new(file)?).lines() {
        let line = line?;
        let row: Value = serde_json::from_str(&line)?;
        let source = text(&row, "src");
        // 2: odd, but neither benign nor an attack.
        let label = row.get("label").and_then(Value::as_u64).context("a label")?;
        if label > 1 || LEFT_OUT.iter().any(|(left_out, _)| *left_out == source) {
            continue;
        }
        let Some(request) = request(&row) else {
            corpus.impossible += 1;
            continue;
        };
        if seen.insert(request.clone()) {
            let is_unseen = side(&group(&line)) == Side::Validation;
            corpus.rows.push(Row { source: source.to_owned(), is_attack: label == 1, is_unseen, request });
        }
    }
    Ok(corpus)
}

/// What the trainer splits by.
fn group(line: &str) -> String {
    let mut group = String::new();
    let read = read_from(&mut line.as_bytes(), &ReadOptions::default(), &mut |record| {
        group = record.group;
        ControlFlow::Continue(())
    });
    // A row that the trainer cannot read was not learned from; its group is none, like its side.
    drop(read);
    group
}

/// Nothing where no client sends it: a target with a blank or a fragment, or that is no path.
fn request(row: &Value) -> Option<Vec<u8>> {
    let (method, target, body) = (text(row, "method"), text(row, "target"), text(row, "body"));
    let is_possible =
        target.starts_with('/') && !target.chars().any(|sign| sign <= ' ' || matches!(sign, '#' | '\x7f'));
    if !is_possible || method.is_empty() {
        return None;
    }
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    let headers: Vec<(&str, &str)> = row
        .get("headers")?
        .as_object()?
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?.trim())))
        .filter(|(name, value)| is_token(name) && !value.contains(['\r', '\n', '\0']) && !frames(name))
        .collect();
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str("Host: shop.example\r\n");
    }
    for (name, value) in &headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if is_form(body) && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        head.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
    }
    if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    head.push_str(body);
    Some(head.into_bytes())
}

/// Whether it begins as `name=value`.
fn is_form(body: &str) -> bool {
    body.split_once('=').is_some_and(|(name, _)| !name.is_empty() && !name.contains(['&', '<', '{']))
}

/// What says where the body ends is said anew.
fn frames(name: &str) -> bool {
    name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding")
}

/// One corpus has names that its tool cut out of the wrong place.
fn is_token(name: &str) -> bool {
    let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_sign)
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_becomes_what_a_client_sends_or_nothing() {
        let get = |target: &str| json!({"method": "GET", "target": target, "headers": {"Host": "a.test", "GET /x?y": "z"}, "body": ""});
        for (name, row, want) in [
            ("a GET", get("/?a=b"), Some("GET /?a=b HTTP/1.1\r\nHost: a.test\r\n\r\n")),
            ("a blank", get("/a b"), None),
            ("a fragment", get("/a#b"), None),
            ("no path", get("a"), None),
            (
                "a form without headers",
                json!({"method": "POST", "target": "/", "headers": {"content-length": "77"}, "body": "a=é"}),
                Some(
                    "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                     Content-Length: 4\r\n\r\na=é",
                ),
            ),
            (
                "a body with its type",
                json!({"method": "POST", "target": "/", "headers": {"content-type": "text/plain"}, "body": "a=b"}),
                Some(
                    "POST / HTTP/1.1\r\nHost: shop.example\r\ncontent-type: text/plain\r\nContent-Length: 3\r\n\r\na=b",
                ),
            ),
            (
                "no form",
                json!({"method": "POST", "target": "/", "headers": {}, "body": "<a b=\"c\"/>"}),
                Some("POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 10\r\n\r\n<a b=\"c\"/>"),
            ),
        ] {
            let found = request(&row).map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(found.as_deref(), want, "{name}");
        }
    }
}
