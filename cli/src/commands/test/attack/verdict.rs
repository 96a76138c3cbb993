// SPDX-License-Identifier: Apache-2.0
//! What came of a probe, and whether that is right.

use super::probes::{Probe, Want};
use super::wire::Answer;
use super::witness::Record;

/// A probe that was sent.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    pub(super) probe: &'static Probe,
    pub(super) found: Found,
    pub(super) status: Option<u16>,
    pub(super) id: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Somebody stopped it: a layer, `door` (it is no request that is read at all), or nobody known.
    Stopped { by: String, why: String },
    /// It came through.
    Passed {
        /// The layer that had something against it, and what.
        watched: Option<(String, String)>,
    },
}

/// Who reads requests before any layer does.
const DOOR: &str = "door";

impl Found {
    /// From what the node says of it; else from the status, where anybody may have meant it.
    pub(super) fn of(answer: &Answer, record: Option<&Record>, is_watched: bool) -> Self {
        let stopped = |by: &str, why: &str| Self::Stopped { by: by.to_owned(), why: why.to_owned() };
        let Some(status) = answer.status else { return stopped(DOOR, "closed without an answer") };
        let Some(record) = record else {
            let why = if is_watched { "the node did not say why" } else { "" };
            return match status {
                400 | 403 | 413 | 414 | 429 | 431 => stopped("", why),
                _ => Self::Passed { watched: None },
            };
        };
        let layer = (record.layer.clone(), record.reason.clone());
        match record.decision.as_str() {
            "block" => Self::Stopped { by: layer.0, why: layer.1 },
            "challenge" => Self::Stopped { by: layer.0, why: format!("{} (challenged)", layer.1) },
            "observe" => Self::Passed { watched: Some(layer) },
            // Nobody was asked for it, and it was found wanting.
            _ if record.backend.is_empty() && (400..500).contains(&status) && record.error.is_some() => {
                stopped(DOOR, record.error.as_deref().unwrap_or_default())
            }
            _ => Self::Passed { watched: None },
        }
    }

    /// Whether from now on everything of this address is stopped.
    pub(super) fn is_ban(&self) -> bool {
        matches!(self, Self::Stopped { by, .. } if by == "ddos" || by == "lists")
    }
}

impl Tried {
    /// Whether it is as it should be.
    pub(super) fn is_right(&self) -> bool {
        match (self.probe.want, &self.found) {
            (Want::Stopped, Found::Stopped { .. }) => true,
            (Want::Noticed, found) => *found != Found::Passed { watched: None },
            (Want::Passes, Found::Passed { .. }) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_a_probe_is_what_the_node_says() {
        let answer = |status| Answer { status, ..Answer::default() };
        let record = |decision: &str, layer: &str, backend: &str, error: Option<&str>| Record {
            decision: decision.into(),
            layer: layer.into(),
            reason: "r".into(),
            backend: backend.into(),
            error: error.map(str::to_owned),
            ..Record::default()
        };
        let stopped = |by: &str, why: &str| Found::Stopped { by: by.into(), why: why.into() };
        let passed = Found::Passed { watched: None };
        for (name, status, record, want) in [
            ("blocked", Some(403), Some(record("block", "waf", "", None)), stopped("waf", "r")),
            (
                "challenged",
                Some(403),
                Some(record("challenge", "scanner", "", None)),
                stopped("scanner", "r (challenged)"),
            ),
            (
                "watched",
                Some(200),
                Some(record("observe", "waf", "http://b", None)),
                Found::Passed { watched: Some(("waf".into(), "r".into())) },
            ),
            ("the site says no", Some(403), Some(record("pass", "", "http://b", None)), passed.clone()),
            ("the site is gone", Some(502), Some(record("pass", "", "", Some("refused"))), passed.clone()),
            ("refused", Some(431), Some(record("", "", "", Some("too large"))), stopped("door", "too large")),
            ("no answer", None, None, stopped("door", "closed without an answer")),
            ("by status", Some(403), None, stopped("", "")),
            ("by status, passed", Some(404), None, passed),
        ] {
            assert_eq!(Found::of(&answer(status), record.as_ref(), false), want, "{name}");
        }
    }
}
