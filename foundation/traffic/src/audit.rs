// SPDX-License-Identifier: Apache-2.0
//! The audit record: one JSON object a request, the training data of every model.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What is kept of one request. Text that a client sent stands here as it came (after redaction);
/// JSON escapes control characters, so a line is always one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRecord {
    /// Always `audit`: finds the line in a mixed log stream.
    pub target: AuditTarget,
    /// When the request began, RFC 3339, microseconds.
    #[serde(with = "microseconds")]
    pub timestamp: Timestamp,
    /// UUID v4, as in `X-Request-Id`.
    pub request_id: String,
    /// As sent.
    pub method: String,
    /// Normalised authority without port; as sent when it was refused.
    pub host: String,
    /// Percent-encoded as sent.
    pub path: String,
    /// Without `?`; values of secret keys are redacted.
    pub query: String,
    /// Full, truncated or hashed, as `audit.client_ip` says.
    pub client_ip: String,
    /// Of the answer; 499 when the client left before one.
    pub status: u16,
    /// From the request's head to the answer's last byte.
    pub duration_ms: u64,
    /// Body bytes of the request, as announced; 0 when unknown.
    pub content_length: u64,
    /// `User-Agent`
    pub user_agent: String,
    /// `Referer`, its query redacted like the request's.
    pub referer: String,
    /// `Accept-Language`
    pub accept_language: String,
    /// `Accept`
    pub accept: String,
    /// Whether any cookie was sent.
    pub has_cookies: bool,
    /// `CF-IPCountry` of a trusted proxy.
    pub cf_country: Option<String>,
    /// The backend that was asked; `static` for files, empty when nobody was.
    pub backend: String,
    /// What went wrong, if anything did.
    pub error: Option<String>,
    /// Body bytes of the answer, as sent.
    pub response_bytes: u64,
    /// `HTTP/1.0`, `HTTP/1.1`, `HTTP/2.0`
    pub http_version: String,
    /// Header lines of the request.
    pub header_count: u32,
    /// The configured name of the route; `other` when none matched.
    pub route: String,
    /// `TLSv1.2`, `TLSv1.3`; empty for plain HTTP.
    pub tls_version: String,
    /// Our own time, the backend's excluded.
    pub added_us: u64,
    /// From asking the backend to its answer's head.
    pub upstream_us: u64,
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

impl AuditRecord {
    /// Appends the record and a newline.
    pub fn write_line(&self, line: &mut Vec<u8>) {
        let start = line.len();
        // A struct of strings and numbers always serialises.
        if serde_json::to_writer(&mut *line, self).is_err() {
            line.truncate(start);
            return;
        }
        line.push(b'\n');
    }

    /// Reads a line back.
    ///
    /// # Errors
    /// When the line is not JSON, lacks a field or has one that no version wrote.
    pub fn read_line(line: &str) -> Result<Self, ReadAuditError> {
        Ok(serde_json::from_str(line)?)
    }
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
}
