// SPDX-License-Identifier: Apache-2.0
//! The audit record: one JSON object a request, the training data of every model.
//!
//! Written by hand ([`AuditRecord::write_line`]) because it is written for each request; read by serde.

use std::io::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What is kept of one request. Text that a client sent stands here as it came (after redaction);
/// JSON escapes control characters, so a line is always one line. Read, it owns its texts; written, it
/// borrows them from the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRecord<S = String> {
    /// Always `audit`: finds the line in a mixed log stream.
    pub target: AuditTarget,
    /// When the request began, RFC 3339, microseconds.
    #[serde(with = "microseconds")]
    pub timestamp: Timestamp,
    /// UUID v4, as in `X-Request-Id`.
    pub request_id: S,
    /// As sent.
    pub method: S,
    /// Normalised authority without port; as sent when it was refused.
    pub host: S,
    /// Percent-encoded as sent.
    pub path: S,
    /// Without `?`; values of secret keys are redacted.
    pub query: S,
    /// Full, truncated or hashed, as `audit.client_ip` says.
    pub client_ip: S,
    /// Of the answer; 499 when the client left before one.
    pub status: u16,
    /// From the request's head to the answer's last byte.
    pub duration_ms: u64,
    /// Body bytes of the request, as announced; 0 when unknown.
    pub content_length: u64,
    /// `User-Agent`
    pub user_agent: S,
    /// `Referer`, its query redacted like the request's.
    pub referer: S,
    /// `Accept-Language`
    pub accept_language: S,
    /// `Accept`
    pub accept: S,
    /// Whether any cookie was sent.
    pub has_cookies: bool,
    /// `CF-IPCountry` of a trusted proxy.
    pub cf_country: Option<S>,
    /// The backend that was asked; `static` for files, empty when nobody was.
    pub backend: S,
    /// What went wrong, if anything did.
    pub error: Option<S>,
    /// Body bytes of the answer, as sent.
    pub response_bytes: u64,
    /// `HTTP/1.0`, `HTTP/1.1`, `HTTP/2.0`
    pub http_version: S,
    /// Header lines of the request.
    pub header_count: u32,
    /// The configured name of the route; `other` when none matched.
    pub route: S,
    /// `TLSv1.2`, `TLSv1.3`; empty for plain HTTP.
    pub tls_version: S,
    /// The fingerprint of the client's TLS (JA4); empty for plain HTTP.
    #[serde(default)]
    pub ja4: S,
    /// By what the client was known: `address`, `session`, `bearer`; empty when it was not judged.
    #[serde(default)]
    pub identity_kind: S,
    /// `pass`, `observe` (a layer would have blocked it), `block`; empty when it was not judged.
    #[serde(default)]
    pub decision: S,
    /// The layer that says so: `lists`, `ddos`, `scanner`, `rate_limit`, `waf`; empty for a plain pass.
    #[serde(default)]
    pub layer: S,
    /// Why, in a fixed word; empty for a plain pass.
    #[serde(default)]
    pub reason: S,
    /// What models said of it.
    #[serde(default)]
    pub scores: AuditScores,
    /// The numbers of the WAF's rules that matched, each once, in order; the first [`RULES_MAX`] of them.
    #[serde(default)]
    pub rules: Vec<u64>,
    /// What they matched, secrets hidden; the first [`RULES_MAX`] matches, with `audit.matches` only. A rule may match
    /// several times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<RuleMatch>,
    /// Our own time, the backend's excluded.
    pub added_us: u64,
    /// From asking the backend to its answer's head.
    pub upstream_us: u64,
}

/// Rules, and matches of rules, that a record names.
pub const RULES_MAX: usize = 32;

/// What one rule of the WAF matched. What a client sent of it is cut, to some hundred characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleMatch {
    /// Its number.
    pub rule: u64,
    /// What it says.
    pub message: String,
    /// Where: `ARGS:name`
    pub target: String,
    /// What stands there.
    pub value: String,
    /// What it found in that.
    pub data: String,
    /// Where the rule stands: `file:line`.
    pub at: String,
}

/// Scores of models, each from 0 to 1 in thousandths; nothing of one that was not asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditScores {
    /// Of what the client has been doing; doubt begins at `ddos.threshold`.
    pub ddos: Option<Thousandths>,
    /// Of path and headers; doubt begins at `scanner.threshold`.
    pub scanner: Option<Thousandths>,
    /// Of the worst text; doubt begins at 0.5.
    pub payload: Option<Thousandths>,
    /// What the WAF's rules that matched add up to, as a share of twice their threshold: they are too much from 0.5
    /// on, and certain from 1 on.
    #[serde(default)]
    pub waf: Option<Thousandths>,
    /// Of how odd it is for this application; doubt begins at 0.5. Left out where no model knows the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<Thousandths>,
}

/// A share in thousandths: `0.873` in a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Thousandths(pub u16);

impl Thousandths {
    /// Of a share; what is outside 0 to 1 is the nearer end.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1,000")]
    pub fn of(share: f64) -> Self {
        Self((share.clamp(0.0, 1.0) * 1000.0).round() as u16)
    }
}

impl Thousandths {
    /// As serde writes the float: no zeros at the end, but one.
    fn write(self, line: &mut Vec<u8>) {
        let digit = |number: u16| b'0' + u8::try_from(number % 10).unwrap_or(0);
        let [whole, tenths, hundredths, rest] =
            [digit(self.0 / 1000), digit(self.0 / 100), digit(self.0 / 10), digit(self.0)];
        line.extend_from_slice(&[whole, b'.', tenths]);
        if rest != b'0' {
            line.extend_from_slice(&[hundredths, rest]);
        } else if hundredths != b'0' {
            line.push(hundredths);
        }
    }
}

impl Serialize for Thousandths {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 1000.0)
    }
}

impl<'de> Deserialize<'de> for Thousandths {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Self::of)
    }
}

/// The constant `audit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditTarget {
    /// The only value.
    #[default]
    #[serde(rename = "audit")]
    Audit,
}

/// Why a line is not an audit record.
#[derive(Debug, thiserror::Error)]
#[error("not an audit record: {0}")]
pub struct ReadAuditError(#[from] serde_json::Error);

impl<S: AsRef<str>> AuditRecord<S> {
    /// Appends the record and a newline: the same bytes that serde would write, at a fifth of the cost.
    pub fn write_line(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(b"{\"target\":\"audit\",\"timestamp\":\"");
        // Writing to a vector does not fail.
        drop(write!(line, "{:.6}", self.timestamp));
        line.push(b'"');
        text(line, ",\"request_id\":", self.request_id.as_ref());
        text(line, ",\"method\":", self.method.as_ref());
        text(line, ",\"host\":", self.host.as_ref());
        text(line, ",\"path\":", self.path.as_ref());
        text(line, ",\"query\":", self.query.as_ref());
        text(line, ",\"client_ip\":", self.client_ip.as_ref());
        number(line, ",\"status\":", u64::from(self.status));
        number(line, ",\"duration_ms\":", self.duration_ms);
        number(line, ",\"content_length\":", self.content_length);
        text(line, ",\"user_agent\":", self.user_agent.as_ref());
        text(line, ",\"referer\":", self.referer.as_ref());
        text(line, ",\"accept_language\":", self.accept_language.as_ref());
        text(line, ",\"accept\":", self.accept.as_ref());
        line.extend_from_slice(if self.has_cookies {
            b",\"has_cookies\":true"
        } else {
            b",\"has_cookies\":false"
        });
        optional(line, ",\"cf_country\":", self.cf_country.as_ref().map(S::as_ref));
        text(line, ",\"backend\":", self.backend.as_ref());
        optional(line, ",\"error\":", self.error.as_ref().map(S::as_ref));
        number(line, ",\"response_bytes\":", self.response_bytes);
        text(line, ",\"http_version\":", self.http_version.as_ref());
        number(line, ",\"header_count\":", u64::from(self.header_count));
        text(line, ",\"route\":", self.route.as_ref());
        text(line, ",\"tls_version\":", self.tls_version.as_ref());
        text(line, ",\"ja4\":", self.ja4.as_ref());
        text(line, ",\"identity_kind\":", self.identity_kind.as_ref());
        text(line, ",\"decision\":", self.decision.as_ref());
        text(line, ",\"layer\":", self.layer.as_ref());
        text(line, ",\"reason\":", self.reason.as_ref());
        scores(line, &self.scores);
        numbers(line, ",\"rules\":[", &self.rules);
        matches(line, &self.matches);
        number(line, ",\"added_us\":", self.added_us);
        number(line, ",\"upstream_us\":", self.upstream_us);
        line.extend_from_slice(b"}\n");
    }
}

impl AuditRecord {
    /// Reads a line back.
    ///
    /// # Errors
    /// When the line is not JSON, lacks a field or has one that no version wrote.
    pub fn read_line(line: &str) -> Result<Self, ReadAuditError> {
        Ok(serde_json::from_str(line)?)
    }
}

fn text(line: &mut Vec<u8>, key: &str, value: &str) {
    line.extend_from_slice(key.as_bytes());
    // Looks at every byte, so that the compiler can look at sixteen at a time.
    let must_escape =
        value.bytes().fold(false, |found, byte| found | (byte < b' ') | (byte == b'"') | (byte == b'\\'));
    if must_escape {
        // Text always serialises.
        drop(serde_json::to_writer(line, value));
    } else {
        line.push(b'"');
        line.extend_from_slice(value.as_bytes());
        line.push(b'"');
    }
}

fn optional(line: &mut Vec<u8>, key: &str, value: Option<&str>) {
    match value {
        Some(value) => text(line, key, value),
        None => {
            line.extend_from_slice(key.as_bytes());
            line.extend_from_slice(b"null");
        }
    }
}

fn scores(line: &mut Vec<u8>, scores: &AuditScores) {
    let mut key = ",\"scores\":{\"ddos\":";
    for (score, next) in [
        (scores.ddos, ",\"scanner\":"),
        (scores.scanner, ",\"payload\":"),
        (scores.payload, ",\"waf\":"),
        (scores.waf, ""),
    ] {
        line.extend_from_slice(key.as_bytes());
        match score {
            Some(score) => score.write(line),
            None => line.extend_from_slice(b"null"),
        }
        key = next;
    }
    if let Some(score) = scores.application {
        line.extend_from_slice(b",\"application\":");
        score.write(line);
    }
    line.push(b'}');
}

fn numbers(line: &mut Vec<u8>, key: &str, values: &[u64]) {
    line.extend_from_slice(key.as_bytes());
    for (index, value) in values.iter().enumerate() {
        number(line, if index == 0 { "" } else { "," }, *value);
    }
    line.push(b']');
}

fn matches(line: &mut Vec<u8>, matches: &[RuleMatch]) {
    let mut key = ",\"matches\":[{\"rule\":";
    for one in matches {
        number(line, key, one.rule);
        text(line, ",\"message\":", &one.message);
        text(line, ",\"target\":", &one.target);
        text(line, ",\"value\":", &one.value);
        text(line, ",\"data\":", &one.data);
        text(line, ",\"at\":", &one.at);
        line.push(b'}');
        key = ",{\"rule\":";
    }
    if !matches.is_empty() {
        line.push(b']');
    }
}

fn number(line: &mut Vec<u8>, key: &str, mut value: u64) {
    line.extend_from_slice(key.as_bytes());
    let mut digits = [0; 20];
    let mut first = digits.len();
    for digit in digits.iter_mut().rev() {
        // A remainder by ten fits a byte.
        *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        first -= 1;
        if value == 0 {
            break;
        }
    }
    line.extend_from_slice(digits.get(first..).unwrap_or_default());
}

mod microseconds {
    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{at:.6}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::strategy::ValueTree as _;

    use super::*;

    fn records() -> impl Strategy<Value = AuditRecord> {
        let texts = ("\\PC{0,20}", ".{0,20}", "[a-z=&%]{0,20}", "\\PC{0,30}", ".{0,20}", ".{0,20}");
        let numbers = (0i64..4_000_000_000_000_000, any::<u16>(), any::<u64>(), any::<u32>(), any::<bool>());
        (texts, numbers, proptest::option::of(".{0,5}")).prop_map(|(texts, numbers, option)| {
            let (host, path, query, user_agent, referer, accept) = texts;
            let (micros, status, number, header_count, has_cookies) = numbers;
            let matched = RuleMatch {
                rule: number,
                message: path.clone(),
                target: user_agent.clone(),
                value: referer.clone(),
                data: accept.clone(),
                at: "rules/a.conf:1".to_owned(),
            };
            AuditRecord {
                target: AuditTarget::Audit,
                timestamp: Timestamp::from_microsecond(micros).unwrap(),
                request_id: "550e8400-e29b-41d4-a716-446655440000".into(),
                method: "GET".into(),
                host,
                path,
                query,
                client_ip: "203.0.113.42".into(),
                status,
                duration_ms: number,
                content_length: number / 3,
                user_agent,
                referer,
                accept_language: String::new(),
                accept,
                has_cookies,
                cf_country: option.clone(),
                backend: "http://a:80".into(),
                error: option,
                response_bytes: number / 7,
                http_version: "HTTP/1.1".into(),
                header_count,
                route: "docs".into(),
                tls_version: "TLSv1.3".into(),
                ja4: "t13d1516h2_8daaf6152771_02713d6af862".into(),
                identity_kind: "session".into(),
                decision: "observe".into(),
                layer: "ddos".into(),
                reason: "client_errors".into(),
                scores: AuditScores {
                    ddos: Some(Thousandths(status % 1001)),
                    scanner: has_cookies.then_some(Thousandths(1000 - status % 1001)),
                    payload: None,
                    waf: has_cookies.then_some(Thousandths(status % 1001)),
                    application: (header_count > 20).then_some(Thousandths(status % 1000)),
                },
                rules: (0..u64::from(header_count % 4))
                    .map(|index| 942_100 + index * (number % 1_000_000))
                    .collect(),
                matches: vec![matched; (header_count % 3) as usize],
                added_us: number / 11,
                upstream_us: number / 13,
            }
        })
    }

    proptest! {
        #[test]
        fn a_line_is_one_line_and_reads_back_the_same(record in records()) {
            let mut line = Vec::new();
            record.write_line(&mut line);
            let text = String::from_utf8(line).unwrap();
            prop_assert_eq!(text.trim_end_matches('\n'), serde_json::to_string(&record).unwrap());
            prop_assert_eq!(text.matches('\n').count(), 1);
            prop_assert_eq!(AuditRecord::read_line(&text).unwrap(), record);
        }
    }

    #[test]
    fn the_timestamp_has_microseconds_and_unknown_fields_are_refused() {
        let record = AuditRecord {
            timestamp: Timestamp::from_microsecond(1_700_000_000_000_000).unwrap(),
            ..records().new_tree(&mut proptest::test_runner::TestRunner::deterministic()).unwrap().current()
        };
        let mut line = Vec::new();
        record.write_line(&mut line);
        let text = String::from_utf8(line).unwrap();
        assert!(text.contains("\"timestamp\":\"2023-11-14T22:13:20.000000Z\""), "{text}");
        assert!(AuditRecord::read_line(&text.replacen('{', "{\"x\":1,", 1)).is_err());
    }

    #[test]
    fn a_line_of_before_there_was_a_waf_is_read() {
        let record =
            records().new_tree(&mut proptest::test_runner::TestRunner::deterministic()).unwrap().current();
        let record = AuditRecord {
            rules: Vec::new(),
            matches: Vec::new(),
            scores: AuditScores { waf: None, ..record.scores },
            ..record
        };
        let mut line = Vec::new();
        record.write_line(&mut line);
        let text = String::from_utf8(line).unwrap();
        let before = text.replace(",\"rules\":[]", "").replace(",\"waf\":null", "");
        assert_eq!((before.len() + 22, AuditRecord::read_line(&before).unwrap()), (text.len(), record));
    }
}
