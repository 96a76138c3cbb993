// SPDX-License-Identifier: Apache-2.0
//! Our own audit log: a JSON object a request, alone or among other programs' lines.
//!
//! Lines are read more loosely than they are written: unknown fields are passed over, missing ones are empty, numbers
//! may be texts, and a collector may have set something before the object. A field `label` (`human`, `benign`, `attack`)
//! is a person's word: `sunbeam why ID --label` writes such lines.

use std::io;

use memchr::memmem;
use serde::Deserialize;

use super::lenient::{Count, Flag, Text, fault};
use super::lines::Lines;
use super::report::Fault;
use super::request::set_target;
use super::time::micros;
use super::{Sink, Source, each_line};
use crate::{Label, LabelSource, Record};

/// See the module.
pub(super) struct Audit;

impl Source for Audit {
    fn name(&self) -> &'static str {
        "audit"
    }

    fn recognises(&self, head: &[&[u8]]) -> bool {
        head.iter().any(|line| says_audit(line))
    }

    fn read(&self, lines: &mut Lines<'_>, sink: &mut Sink<'_>) -> io::Result<()> {
        each_line(lines, sink, |number, line, sink| {
            note(number, line, sink, |object, blank| {
                let fields: Fields = serde_json::from_slice(object).map_err(|error| fault(&error))?;
                let at_micros = micros(&fields.timestamp.0);
                fields.record(at_micros, blank)
            });
        })
    }
}

/// The fields of an audit line that records keep.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    pub(super) timestamp: Text,
    method: Text,
    host: Text,
    path: Text,
    query: Text,
    client_ip: Text,
    status: Count,
    duration_ms: Count,
    content_length: Count,
    user_agent: Text,
    referer: Text,
    accept: Text,
    accept_language: Text,
    has_cookies: Flag,
    backend: Text,
    error: Option<Text>,
    label: Option<Text>,
}

impl Fields {
    pub(super) fn record(self, at_micros: Option<i64>, blank: Record) -> Result<Record, Fault> {
        if self.method.0.is_empty() || self.path.0.is_empty() {
            return Err(Fault::NoRequest);
        }
        let (label, label_source) = match self.label.as_ref().map(|label| label.0.as_str()) {
            None | Some("") => (blank.label, blank.label_source.clone()),
            Some("human" | "benign") => (Some(Label::Benign), LabelSource::Human),
            Some("attack") => (Some(Label::Attack), LabelSource::Human),
            Some(_) => return Err(Fault::WrongField),
        };
        let mut record = Record {
            label,
            label_source,
            at_micros,
            client: self.client_ip.0,
            method: self.method.0,
            user_agent: self.user_agent.0,
            referer: self.referer.0,
            accept: self.accept.0,
            accept_language: self.accept_language.0,
            has_cookies: self.has_cookies.0,
            has_own_headers: true,
            content_length: self.content_length.0,
            status: u16::try_from(self.status.0).map_err(|_| Fault::WrongField)?,
            duration_ms: self.duration_ms.0,
            backend: self.backend.0,
            error: self.error.map(|error| error.0).filter(|error| !error.is_empty()),
            ..blank
        };
        set_target(&mut record, self.path.0.as_bytes());
        record.host = self.host.0;
        if !self.query.0.is_empty() {
            record.query = self.query.0;
        }
        Ok(record)
    }
}

/// Reads the line if it is an audit line; counts it if it is none.
pub(super) fn note(
    number: u64,
    line: &[u8],
    sink: &mut Sink<'_>,
    read: impl FnOnce(&[u8], Record) -> Result<Record, Fault>,
) {
    match object(line) {
        Ok(Some(object)) => match read(object, sink.blank()) {
            Ok(record) => sink.record(record),
            Err(fault) => sink.fault(number, fault),
        },
        Ok(None) => sink.other_line(),
        Err(fault) => sink.fault(number, fault),
    }
}

/// Whether the line holds an object with the target `audit`. A client cannot write that: JSON escapes its quotes.
pub(super) fn says_audit(line: &[u8]) -> bool {
    ["\"target\":\"audit\"", "\"target\": \"audit\""]
        .iter()
        .any(|mark| memmem::find(line, mark.as_bytes()).is_some())
}

/// The object in the line, past what a collector set before it. Another program's line is none; an object that
/// breaks off before its target may have been ours, and counts as broken.
fn object(line: &[u8]) -> Result<Option<&[u8]>, Fault> {
    if says_audit(line) {
        let start = memchr::memchr(b'{', line).ok_or(Fault::Cut)?;
        return Ok(line.get(start..));
    }
    let is_cut = line.starts_with(b"{") && !line.ends_with(b"}");
    if is_cut { Err(Fault::Cut) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use sunbeam_traffic::{AuditRecord, AuditScores, AuditTarget};

    use super::*;
    use crate::sources::tests::{Read, read_text};

    fn line() -> String {
        let record = AuditRecord::<String> {
            target: AuditTarget::Audit,
            timestamp: "2025-11-23T10:30:00.000001Z".parse().unwrap(),
            request_id: "550e8400-e29b-41d4-a716-446655440000".into(),
            method: "POST".into(),
            host: "shop.test".into(),
            path: "/cart".into(),
            query: "id=1".into(),
            client_ip: "203.0.113.42".into(),
            status: 201,
            duration_ms: 12,
            content_length: 34,
            user_agent: "Mozilla/5.0 \"quoted\"".into(),
            referer: "http://shop.test/".into(),
            accept_language: "de".into(),
            accept: "*/*".into(),
            has_cookies: true,
            cf_country: None,
            backend: "http://a:80".into(),
            error: Some("late".into()),
            response_bytes: 56,
            http_version: "HTTP/2.0".into(),
            header_count: 9,
            route: "shop".into(),
            tls_version: String::new(),
            ja4: String::new(),
            identity_kind: "session".into(),
            decision: "pass".into(),
            layer: String::new(),
            reason: String::new(),
            scores: AuditScores::default(),
            rules: Vec::new(),
            added_us: 1,
            matches: Vec::new(),
            upstream_us: 2,
        };
        let mut line = Vec::new();
        record.write_line(&mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn what_the_proxy_writes_is_read_back() {
        let Read { records, report } = read_text("audit", &line()).unwrap();
        let want = Record {
            source: "audit".into(),
            group: "client:203.0.113.42".into(),
            weight_percent: 100,
            at_micros: Some(1_763_893_800_000_001),
            client: "203.0.113.42".into(),
            method: "POST".into(),
            host: "shop.test".into(),
            path: "/cart".into(),
            query: "id=1".into(),
            user_agent: "Mozilla/5.0 \"quoted\"".into(),
            referer: "http://shop.test/".into(),
            accept: "*/*".into(),
            accept_language: "de".into(),
            has_cookies: true,
            has_own_headers: true,
            content_length: 34,
            status: 201,
            duration_ms: 12,
            backend: "http://a:80".into(),
            error: Some("late".into()),
            ..Record::default()
        };
        assert_eq!(records, [want]);
        assert_eq!((report.broken(), report.other_lines), (0, 0));
    }

    #[test]
    fn what_a_person_said_of_a_request_is_its_label() {
        let said = |label: &str| line().replacen("{", &format!("{{\"label\":{label},"), 1);
        for (label, want) in [
            ("\"human\"", (Some(Label::Benign), LabelSource::Human)),
            ("\"benign\"", (Some(Label::Benign), LabelSource::Human)),
            ("\"attack\"", (Some(Label::Attack), LabelSource::Human)),
            ("\"\"", (None, LabelSource::Nobody)),
            ("null", (None, LabelSource::Nobody)),
        ] {
            let Read { records, .. } = read_text("audit", &said(label)).unwrap();
            let found = records.first().map(|record| (record.label, record.label_source.clone()));
            assert_eq!(found, Some(want), "{label}");
        }
        // A word that is none is no request without a label.
        assert!(read_text("audit", &said("\"perhaps\"")).is_err());
    }

    #[test]
    fn a_mixed_and_battered_log_is_read_as_far_as_it_goes() {
        let good = line();
        let loose =
            r#"{"target": "audit","timestamp":"x","method":"GET","path":"/a?b=c","status":"404","new":[1]}"#;
        let no_path = r#"{"target":"audit","method":"GET"}"#;
        let no_status = r#"{"target":"audit","method":"GET","path":"/","status":"abc"}"#;
        let text = [
            good.trim_end(),
            "2025-11-23 started",
            r#"{"level":"INFO","message":"listening"}"#,
            &format!("proxy-1  | {}", good.trim_end()),
            loose,
            good.get(..90).unwrap(),
            good.get(..14).unwrap(),
            no_path,
            no_status,
            "",
            good.trim_end(),
            good.trim_end(),
        ]
        .join("\n");
        let Read { records, report } = read_text("audit", &text).unwrap();
        assert_eq!((records.len(), report.other_lines, report.without_time), (5, 2, 1));
        let counts: Vec<(Fault, u64)> =
            report.faults.iter().map(|(fault, found)| (*fault, found.count)).collect();
        assert_eq!(counts, [(Fault::Cut, 2), (Fault::WrongField, 1), (Fault::NoRequest, 1)]);
        let loose = records.get(2).unwrap();
        assert_eq!((&*loose.path, &*loose.query, loose.status, loose.at_micros), ("/a", "b=c", 404, None));
    }
}
