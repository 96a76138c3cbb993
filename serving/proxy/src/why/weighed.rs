// SPDX-License-Identifier: Apache-2.0
//! What models say of a request, and why, as the API tells it.

use serde_json::{Value, json};
use sunbeam_ensemble::{Said, probability};
use sunbeam_pipeline::{OddestPart, Weighed, Weight, WorstUnit};
use sunbeam_traffic::MASK;

/// How texts of a client are told.
pub(crate) trait Tells {
    /// A name.
    fn name(&self, name: &[u8]) -> String;

    /// What stands there; `None`: as it is.
    fn value(&self, unit: &WorstUnit) -> Option<String>;
}

/// To whoever made the request up: all of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TellsAll;

impl Tells for TellsAll {
    fn name(&self, name: &[u8]) -> String {
        lossy(name)
    }

    fn value(&self, _: &WorstUnit) -> Option<String> {
        None
    }
}

/// What models say, and why: shares are what a feature adds to the logit.
pub(crate) fn models(weighed: &Weighed, tells: &impl Tells) -> Value {
    json!({
        "scanner": {
            "said": said(weighed.request_said),
            "features": weighed.request.iter().map(weight).collect::<Vec<_>>(),
        },
        "ddos": weighed.window_said.map(said),
        "payload": weighed.unit.as_ref().map(|worst| unit(worst, tells)),
        "application": weighed.odd.as_ref().map(|part| oddest(part, tells)),
    })
}

fn oddest(part: &OddestPart, tells: &impl Tells) -> Value {
    json!({
        "part": part.kind.as_str(),
        "name": cut(tells.name(&part.name)),
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
fn unit(unit: &WorstUnit, tells: &impl Tells) -> Value {
    let value = tells.value(unit);
    // Of a text that is not told whole a piece may be of what is left out.
    let shown = |text: &[u8]| if value.is_some() { MASK.to_owned() } else { lossy(text) };
    let pieces = unit.pieces.iter().map(|(piece, weight)| json!({"text": shown(piece), "weight": weight}));
    json!({
        "unit": format!("{:?}", unit.kind),
        "name": cut(tells.name(&unit.name)),
        "value": value.clone().map_or_else(|| lossy(&unit.value), cut),
        "score": rounded(probability(unit.logit.saturating_sub(unit.doubtful))),
        "certain_from": rounded(probability(unit.certain.saturating_sub(unit.doubtful))),
        "has_sign": unit.has_sign,
        "counts": unit.counts.iter().map(weight).collect::<Vec<_>>(),
        "pieces": pieces.collect::<Vec<_>>(),
    })
}

/// As much of a client's text as fits a screen.
const SHOWN: usize = 200;

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text.get(..text.len().min(SHOWN)).unwrap_or_default()).into_owned()
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(SHOWN));
    text
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
