// SPDX-License-Identifier: Apache-2.0
//! What models say of a request, and why, as the API tells it.

use serde_json::{Value, json};
use sunbeam_ensemble::{Said, probability};
use sunbeam_pipeline::{OddestPart, Weighed, Weight, WorstUnit};

/// What stands in place of a secret.
const MASK: &str = "[redacted]";

/// What models say, and why: shares are what a feature adds to the logit. Texts that are secret are not told.
pub(crate) fn models(weighed: &Weighed, is_secret: impl Fn(&WorstUnit) -> bool) -> Value {
    json!({
        "scanner": {
            "said": said(weighed.request_said),
            "features": weighed.request.iter().map(weight).collect::<Vec<_>>(),
        },
        "ddos": weighed.window_said.map(said),
        "payload": weighed.unit.as_ref().map(|worst| unit(worst, is_secret(worst))),
        "application": weighed.odd.as_ref().map(oddest),
    })
}

fn oddest(part: &OddestPart) -> Value {
    json!({
        "part": part.kind.as_str(),
        "name": lossy(&part.name),
        "score": rounded(probability(part.logit)),
    })
}

fn said(said: Said) -> Value {
    json!({"score": rounded(probability(said.logit)), "path": said.path.as_str()})
}

pub(crate) fn weight(weight: &Weight) -> Value {
    let share = rounded(f64::from(weight.share) / 256.0);
    json!({"name": weight.name, "value": weight.value, "unit": weight.unit, "share": share})
}

/// A score of one half is where doubt begins, as for the other models.
fn unit(unit: &WorstUnit, is_secret: bool) -> Value {
    let shown = |text: &[u8]| if is_secret { MASK.to_owned() } else { lossy(text) };
    let pieces = unit.pieces.iter().map(|(piece, weight)| json!({"text": shown(piece), "weight": weight}));
    json!({
        "unit": format!("{:?}", unit.kind),
        "name": lossy(&unit.name),
        "value": shown(&unit.value),
        "score": rounded(probability(unit.logit.saturating_sub(unit.doubtful))),
        "certain_from": rounded(probability(unit.certain.saturating_sub(unit.doubtful))),
        "has_sign": unit.has_sign,
        "counts": unit.counts.iter().map(weight).collect::<Vec<_>>(),
        "pieces": pieces.collect::<Vec<_>>(),
    })
}

/// As much of a client's text as fits a screen.
fn lossy(text: &[u8]) -> String {
    const SHOWN: usize = 200;
    String::from_utf8_lossy(text.get(..text.len().min(SHOWN)).unwrap_or_default()).into_owned()
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
