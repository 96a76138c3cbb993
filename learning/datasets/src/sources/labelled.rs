// SPDX-License-Identifier: Apache-2.0
//! Corpora in one form: a JSON object a line, `src, label, cls, method, target, headers, body, grp`.
//!
//! Label 0 is benign and 1 an attack. Label 2 is out of the ordinary but harmless: neither class should learn it, so
//! it has no label, and keeps its class.

use std::collections::BTreeMap;
use std::io;

use serde::Deserialize;

use super::group::{coarse, normalised, stem};
use super::lenient::{Count, Text, fault};
use super::lines::Lines;
use super::report::Fault;
use super::request::{set_body, set_header, set_target};
use super::{Sink, Source, each_line};
use crate::{Label, LabelSource, Record};

/// See the module.
pub(super) struct Labelled;

impl Source for Labelled {
    fn name(&self) -> &'static str {
        "labelled"
    }

    fn recognises(&self, head: &[&[u8]]) -> bool {
        let has = |line: &[u8], key: &str| memchr::memmem::find(line, key.as_bytes()).is_some();
        let keys = ["\"src\"", "\"label\"", "\"target\"", "\"headers\""];
        head.first().is_some_and(|line| line.starts_with(b"{") && keys.iter().all(|key| has(line, key)))
    }

    fn read(&self, lines: &mut Lines<'_>, sink: &mut Sink<'_>) -> io::Result<()> {
        each_line(lines, sink, |number, line, sink| match record(line, sink.blank()) {
            Ok(record) => sink.record_as_labelled(record),
            Err(fault) => sink.fault(number, fault),
        })
    }
}

/// Sources whose agents and referers are what real clients sent.
const OWN_HEADERS: &[&str] = &["har", "log_semicomplete", "scan_acunetix"];
/// Lists of paths to probe.
const PROBE_PATHS: &[&str] = &["paths_dirsearch"];

#[derive(Deserialize)]
struct Row {
    src: String,
    label: Count,
    #[serde(default)]
    cls: Text,
    #[serde(default)]
    method: Text,
    target: Text,
    #[serde(default)]
    headers: BTreeMap<String, Text>,
    #[serde(default)]
    body: Text,
    #[serde(default)]
    grp: Option<Text>,
}

fn record(line: &[u8], blank: Record) -> Result<Record, Fault> {
    let row: Row = serde_json::from_slice(line).map_err(|error| fault(&error))?;
    if row.method.0.is_empty() {
        return Err(Fault::NoRequest);
    }
    let label = label(row.label)?;
    let mut record = Record {
        has_own_headers: OWN_HEADERS.contains(&row.src.as_str()),
        source: row.src,
        class: row.cls.0,
        label,
        label_source: if label.is_some() { LabelSource::Corpus } else { LabelSource::Nobody },
        method: row.method.0,
        ..blank
    };
    row.headers.iter().for_each(|(name, value)| set_header(&mut record, name, &value.0));
    set_target(&mut record, row.target.0.as_bytes());
    set_body(&mut record, row.body.0.into_bytes());
    record.group = match row.grp {
        Some(group) => coarse(&group.0),
        None if PROBE_PATHS.contains(&record.source.as_str()) => stem(&record.path),
        None => normalised(&record),
    };
    Ok(record)
}

fn label(number: Count) -> Result<Option<Label>, Fault> {
    match number.0 {
        0 => Ok(Some(Label::Benign)),
        1 => Ok(Some(Label::Attack)),
        2 => Ok(None),
        _ => Err(Fault::WrongField),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BodyKind;

    #[test]
    fn a_row_becomes_a_record() {
        let line = r#"{"src":"har","label":"0","cls":"browser","method":"POST","target":"/A1?b=1","headers":{"host":"a.test:80","USER-AGENT":"x","Cookie":"c=1","Content-Type":"application/json"},"body":"{}","grp":"Site12"}"#;
        let got = record(line.as_bytes(), Record::default()).unwrap();
        assert_eq!((got.label, got.label_source), (Some(Label::Benign), LabelSource::Corpus));
        assert_eq!((&*got.host, &*got.path, &*got.query, &*got.user_agent), ("a.test", "/A1", "b=1", "x"));
        assert_eq!((got.body_kind, got.content_length, &*got.group), (BodyKind::Json, 2, "site0"));
        assert!(got.has_cookies && got.has_own_headers);
    }

    #[test]
    fn what_is_neither_stays_so_whatever_the_caller_says() {
        use crate::sources::{GivenLabel, ReadOptions, read_from};
        let line = r#"{"src":"a","label":2,"cls":"odd","method":"GET","target":"/","headers":{}}"#;
        let label = Some(GivenLabel { label: Label::Attack, source: LabelSource::Human });
        let report = read_from(
            &mut line.as_bytes(),
            &ReadOptions { label, ..ReadOptions::default() },
            &mut |record| {
                assert_eq!((record.label, &*record.class), (None, "odd"));
                std::ops::ControlFlow::Continue(())
            },
        );
        assert_eq!(report.unwrap().records, 1);
    }

    #[test]
    fn rows_that_are_none_say_what_is_wrong() {
        for (name, line, want) in [
            ("cut", r#"{"src":"a","label":1,"targ"#, Fault::Cut),
            ("no JSON", "hello", Fault::NotJson),
            ("no target", r#"{"src":"a","label":1,"method":"GET"}"#, Fault::WrongField),
            ("no method", r#"{"src":"a","label":1,"target":"/"}"#, Fault::NoRequest),
            ("no such label", r#"{"src":"a","label":3,"method":"GET","target":"/"}"#, Fault::WrongField),
        ] {
            assert_eq!(record(line.as_bytes(), Record::default()), Err(want), "{name}");
        }
    }

    #[test]
    fn groups_come_from_the_row_or_from_the_request() {
        for (name, line, want) in [
            ("its own", r#"{"src":"a","label":2,"method":"GET","target":"/x","grp":"G77"}"#, "g0"),
            ("none", r#"{"src":"a","label":2,"method":"GET","target":"/x?id=5","grp":null}"#, "/x?id=0"),
            (
                "a list of paths",
                r#"{"src":"paths_dirsearch","label":1,"method":"GET","target":"/admin7.php","grp":null}"#,
                "stem:admin",
            ),
        ] {
            let got = record(line.as_bytes(), Record::default()).unwrap();
            assert_eq!(got.group, want, "{name}");
            assert_eq!(got.label.is_none(), got.label_source == LabelSource::Nobody, "{name}");
        }
    }
}
