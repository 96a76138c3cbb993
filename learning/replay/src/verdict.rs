// SPDX-License-Identifier: Apache-2.0
//! What was decided about one record.

use std::fmt;

use serde::Serialize;
use sunbeam_pipeline::{Decision, Judged, Scores};
use sunbeam_traffic::Layer;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// What became of it.
    pub verdict: Verdict,
    /// What models said.
    pub scores: Scores,
}

/// What became of a record. Its text is `block scanner probe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What was done.
    pub decision: Decision,
    /// Who says so.
    pub layer: Option<Layer>,
    /// Why, in a fixed word.
    pub reason: &'static str,
}

impl Replayed {
    pub(crate) const fn of(judged: &Judged) -> Self {
        let Judged { decision, layer, reason, scores, .. } = *judged;
        Self { verdict: Verdict { decision, layer, reason }, scores }
    }

    /// For a line of JSON.
    pub fn line(&self) -> Line {
        Line {
            decision: self.verdict.decision.as_str(),
            layer: self.verdict.layer.map_or("", Layer::as_str),
            reason: self.verdict.reason,
            scanner: self.scores.scanner.map(|said| said.logit),
            ddos: self.scores.ddos.map(|said| said.logit),
            payload: self.scores.payload,
            application: self.scores.application,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.decision.as_str())?;
        let words = [self.layer.map_or("", Layer::as_str), self.reason];
        words.into_iter().filter(|word| !word.is_empty()).try_for_each(|word| write!(formatter, " {word}"))
    }
}

/// A verdict as text. Scores are logits in 1/256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    decision: &'static str,
    layer: &'static str,
    reason: &'static str,
    scanner: Option<i32>,
    ddos: Option<i32>,
    payload: Option<i32>,
    application: Option<i32>,
}
