// SPDX-License-Identifier: Apache-2.0
//! One decision: what is handed over when a request ends, and what is kept of it. It is an audit record with one field
//! more, `why`; it is written down where nobody waits for it.

use serde_json::{Value, json};
use sunbeam_decisions::{Class, Row, TEXT_BYTES_MAX};
use sunbeam_pipeline::{DOUBTERS, Judged, Scratch, WorstUnit};
use sunbeam_traffic::{Layer, Redaction};

use super::capture::Capture;
use super::weighed::{models, weight};
use crate::judging::Findings;
use crate::judging::models::DETECTORS;

/// What a request leaves behind when it ends.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its audit record, one line.
    pub(crate) line: Vec<u8>,
    /// Nothing of a plain pass.
    pub(crate) capture: Option<Box<Capture>>,
    pub(crate) findings: Option<Box<Findings>>,
    pub(crate) facts: JudgedFacts,
    /// Where it is kept,
    pub(crate) class: Class,
    /// and by what it is found.
    pub(crate) row: Row,
    /// Requests like it, itself among them, that this one stands for.
    pub(crate) stands_for: u32,
}

/// What was decided, beside what the audit record says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct JudgedFacts {
    is_authenticated: bool,
    doubted_by: [Option<Layer>; DOUBTERS.len()],
    retry_after_secs: Option<u64>,
    banned_secs: Option<u64>,
}

impl From<&Judged> for JudgedFacts {
    fn from(judged: &Judged) -> Self {
        Self {
            is_authenticated: judged.identity.is_logged_in,
            doubted_by: {
                let mut doubted = judged.doubted_by();
                DOUBTERS.map(|_| doubted.next())
            },
            retry_after_secs: judged.retry_after_secs,
            banned_secs: judged.banned_secs,
        }
    }
}

impl Ended {
    /// About what it takes while it waits: a body is held as long.
    pub(crate) fn bytes(&self) -> usize {
        const REST: usize = 1_024;
        self.line.len() + self.capture.as_ref().map_or(0, |capture| capture.body_bytes()) + REST
    }
}

/// The text that is kept: an audit record with `why`. `None`: the line is none, or is too long without it.
pub(crate) fn text(ended: &Ended, scratch: &mut Scratch) -> Option<String> {
    let line = std::str::from_utf8(&ended.line).ok()?.trim_end();
    let object = line.strip_suffix('}')?;
    let with = |why: &Value| format!("{object},\"why\":{why}}}");
    let mut why = why(ended, scratch);
    let mut text = with(&why);
    // A long target and many rules that found something long in it: what they found is told without it.
    if text.len() > TEXT_BYTES_MAX {
        if let Some(found) = why.get_mut("rules").and_then(Value::as_array_mut) {
            for one in found.iter_mut().filter_map(Value::as_object_mut) {
                one.insert("value".to_owned(), "".into());
                one.insert("data".to_owned(), "".into());
            }
        }
        text = with(&why);
    }
    (text.len() <= TEXT_BYTES_MAX).then_some(text)
}

fn why(ended: &Ended, scratch: &mut Scratch) -> Value {
    let Ended { capture, findings, facts, stands_for, .. } = ended;
    let cookies = capture.as_ref().map(|capture| capture.snapshot().pipeline.rules().session_cookies());
    let weighed = capture.as_ref().map(|capture| capture.weigh(scratch));
    let redaction = capture.as_ref().map(|capture| &capture.snapshot().redaction);
    let is_secret = |unit: &WorstUnit| {
        redaction.zip(cookies).is_none_or(|(redaction, cookies)| is_secret(unit, redaction, cookies))
    };
    let by = capture.as_ref().map(|capture| {
        let snapshot = capture.snapshot();
        let named = DETECTORS.map(|detector| {
            (detector.as_str().to_owned(), Value::from(snapshot.models.chosen(detector).fingerprint()))
        });
        Value::Object(
            named.into_iter().chain([("generation".to_owned(), snapshot.generation.into())]).collect(),
        )
    });
    json!({
        "stands_for": stands_for,
        "authenticated": facts.is_authenticated,
        "doubted_by": facts.doubted_by.iter().flatten().map(|layer| layer.as_str()).collect::<Vec<_>>(),
        "retry_after_secs": facts.retry_after_secs,
        "banned_secs": facts.banned_secs,
        "category": findings.as_ref().map(|findings| findings.category.as_str()),
        "rules": findings.as_ref().map(|findings| &findings.matches),
        "models": weighed.as_ref().map(|weighed| models(weighed, is_secret)),
        "window": weighed.as_ref().map(|weighed| weighed.window.iter().map(weight).collect::<Vec<_>>()),
        "judged_by": by,
    })
}

/// As in the audit log: by the names that texts stand under. A whole body has none.
fn is_secret(unit: &WorstUnit, redaction: &Redaction, session_cookies: &[String]) -> bool {
    use sunbeam_features::canonical::UnitKind;
    let name = String::from_utf8_lossy(&unit.name);
    match unit.kind {
        UnitKind::Path | UnitKind::ParameterName | UnitKind::CookieName => false,
        UnitKind::Parameter | UnitKind::JsonLeaf => redaction.hides(&name),
        UnitKind::Cookie => {
            redaction.hides(&name) || session_cookies.iter().any(|known| known.eq_ignore_ascii_case(&name))
        }
        UnitKind::Body => {
            let value = String::from_utf8_lossy(&unit.value);
            redaction.query(&value) != value
        }
    }
}
