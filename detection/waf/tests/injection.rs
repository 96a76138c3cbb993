// SPDX-License-Identifier: Apache-2.0
//! `@detectSQLi` and `@detectXSS` on what others wrote to try them.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use sunbeam_waf::injection::{is_sqli, is_xss};

#[test]
fn vectors_have_their_answers() {
    for (name, detect) in DETECTORS {
        let Some(path) = shared(&format!("conformance/seclang-vectors/operators/{name}.json")) else {
            return;
        };
        let vectors: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert!(!vectors.is_empty());
        for vector in vectors {
            let input = vector["input"].as_str().unwrap();
            assert_eq!(detect(input.as_bytes()), vector["ret"] == 1, "{name} of `{input}`");
        }
    }
}

/// The suite's tests of the rules that use these operators, as far as they can be read by the line: a value of the form
/// or the query must be found where the rule is expected, and none where it must not fire.
#[test]
fn suite_payloads_have_their_answers() {
    for (rule, detect) in RULES {
        let family = if rule.starts_with("942") {
            "942-APPLICATION-ATTACK-SQLI"
        } else {
            "941-APPLICATION-ATTACK-XSS"
        };
        let name = format!("conformance/crs-4.28.0/tests/regression/tests/REQUEST-{family}/{rule}.yaml");
        let Some(path) = shared(&name) else { return };
        let file = std::fs::read_to_string(path).unwrap();
        let mut read = 0;
        for test in file.split("- test_id:").skip(1) {
            let Some(expects) = expects(test, rule).filter(|_| !has_xml(test)) else { continue };
            let values: Vec<Vec<u8>> = test
                .lines()
                .filter_map(|line| sent(line, rule))
                .flat_map(|(key, sent)| values(&key, &sent))
                .collect();
            if values.is_empty() {
                continue;
            }
            read += 1;
            let found = values.iter().any(|value| detect(value));
            assert_eq!(found, expects, "{rule}, test {}", test.lines().next().unwrap_or_default());
        }
        assert!(read > 0, "{rule}: no test could be read");
        say(&format!("{rule}: {read} tests"));
    }
}

type Detect = fn(&[u8]) -> bool;

const DETECTORS: [(&str, Detect); 2] =
    [("detectSQLi", |text| is_sqli(text).is_some()), ("detectXSS", is_xss)];
const RULES: [(&str, Detect); 4] = [
    ("942100", |text| is_sqli(text).is_some()),
    ("942101", |text| is_sqli(text).is_some()),
    ("941100", is_xss),
    ("941101", is_xss),
];

fn expects(test: &str, rule: &str) -> Option<bool> {
    let line = test.lines().find(|line| line.contains("expect_ids:") && line.contains(rule))?;
    Some(!line.contains("no_expect_ids"))
}

fn has_xml(test: &str) -> bool {
    test.lines().any(|line| line.contains("Content-Type:") && line.contains("xml"))
}

/// What a line of a test says is sent and where, if the rule looks there and it can be read without a parser of YAML.
fn sent(line: &str, rule: &str) -> Option<(String, String)> {
    let (key, value) = line.trim().split_once(": ")?;
    let is_looked_at = match key {
        "uri" | "data" | "User-Agent" => true,
        "Referer" => rule != "941100",
        _ => false,
    };
    let value = match value.trim().strip_prefix('"') {
        Some(quoted) => serde_json::from_str(&format!("\"{quoted}")).ok()?,
        None => value.trim().trim_matches('\'').to_owned(),
    };
    is_looked_at.then(|| (key.to_owned(), value))
}

/// The parts of a form, a path and its query, or a header, decoded.
fn values(key: &str, sent: &str) -> Vec<Vec<u8>> {
    let (whole, form) = match key {
        "uri" => sent.split_once('?').unwrap_or((sent, "")),
        "data" => ("", sent),
        _ => (sent, ""),
    };
    let pairs = form.split('&').flat_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        [name, value]
    });
    pairs.chain([whole, whole.rsplit('/').next().unwrap_or_default()]).map(decoded).collect()
}

fn decoded(text: &str) -> Vec<u8> {
    let mut output = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| str::from_utf8(hex).ok());
        let hex = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        (rest, output) = match (byte, hex) {
            (b'%', Some(hex)) => (after.get(2..).unwrap_or_default(), with(output, hex)),
            (b'+', _) => (after, with(output, b' ')),
            _ => (after, with(output, *byte)),
        };
    }
    output
}

fn with(mut output: Vec<u8>, byte: u8) -> Vec<u8> {
    output.push(byte);
    output
}

/// A file of the shared corpora, which are not part of the repository: `SUNBEAM_SHARED` names their folder.
/// Without it the test says that it is skipped; with it the file must be there.
fn shared(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("SUNBEAM_SHARED") else {
        say(&format!("skipped: SUNBEAM_SHARED is not set, so there is no `{name}`"));
        return None;
    };
    let path = Path::new(&folder).join(name);
    assert!(path.is_file(), "`{}` is missing", path.display());
    Some(path)
}

fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}
