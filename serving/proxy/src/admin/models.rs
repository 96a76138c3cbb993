// SPDX-License-Identifier: Apache-2.0
//! `/api/v1/models`: what judges, whether traffic is still like what it was trained on, and what another would say.

use serde_json::{Map, Value, json};
use sunbeam_ensemble::{
    Calibration, Detector, Drift, EnsemblePath, NoSuggestion, fingerprint, probability, score_bin_edges,
    threshold_logit,
};
use sunbeam_pipeline::{Agreement, DetectionMetrics};

use crate::judging::models::{AnyModel, Chosen, DETECTORS, doubt_blocks, may_replace, worse};
use crate::shared::Shared;
use crate::snapshot::Snapshot;

/// Shares of benign requests that a threshold may stop, for which one is suggested.
const RATES: [f64; 3] = [0.01, 0.001, 0.000_1];

/// Both detectors.
pub(super) fn models(shared: &Shared) -> Value {
    let snapshot = shared.snapshot();
    let key = &snapshot.config.detection.model_public_key;
    json!({
        "models": DETECTORS.map(|detector| detector_told(shared, &snapshot, detector)),
        "model_public_key": Some(key).filter(|key| !key.is_empty()),
    })
}

fn detector_told(shared: &Shared, snapshot: &Snapshot, detector: Detector) -> Value {
    let chosen = snapshot.models.chosen(detector);
    let threshold = threshold(snapshot, detector);
    let mut told = model(chosen);
    let more = json!({
        "zones": zones(chosen, threshold),
        "paths": paths(&shared.detection, detector),
        "drift": drift(shared, snapshot, chosen),
        "calibration": snapshot.models.benign(detector).map(|benign| calibration(&benign)),
        "challenger": snapshot.models.challenger(detector).map(|(tried, agreement)| {
            let mut told = model(tried);
            extend(&mut told, json!({
                "zones": zones(tried, threshold),
                "agreement": agreement_told(&agreement),
                "worse": worse(&agreement, doubt_blocks(&snapshot.config, detector)),
                "promotion": tried.origin.promotion(),
                "not_taken": tried.origin.promotion().and_then(|_| {
                    may_replace(&snapshot.models, &snapshot.config, tried).err().map(|why| why.to_string())
                }),
            }));
            told
        }),
    });
    extend(&mut told, more);
    told.into()
}

fn threshold(snapshot: &Snapshot, detector: Detector) -> i32 {
    threshold_logit(match detector {
        Detector::Scanner => snapshot.config.scanner.threshold,
        Detector::Ddos => snapshot.config.ddos.threshold,
    })
}

fn extend(told: &mut Map<String, Value>, more: Value) {
    if let Value::Object(more) = more {
        told.extend(more);
    }
}

/// What is told of any model. Its card is whoever's who made it.
pub(super) fn model(chosen: &Chosen) -> Map<String, Value> {
    let card: Map<String, Value> =
        chosen.card.0.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let mut told = Map::new();
    extend(
        &mut told,
        json!({
            "detector": chosen.detector().as_str(),
            "origin": chosen.origin.as_str(),
            "file": chosen.path.as_ref().map(|path| path.display().to_string()),
            "version": chosen.told("version"),
            "trained_at": chosen.told("trained_at"),
            "fingerprint": chosen.fingerprint(),
            "sha256": chosen.hash_text(),
            "is_signed": chosen.signature.is_some(),
            "features": format!("{:016x}", fingerprint(chosen.detector())),
            "card": card,
        }),
    );
    told
}

/// Where zones begin, as scores. Of a text they are told beside where its doubt begins, as everywhere.
fn zones(chosen: &Chosen, threshold: i32) -> Value {
    let (cascade, payload) = match &chosen.model {
        AnyModel::Scanner(model) => (&model.cascade, Some(&model.payload)),
        AnyModel::Ddos(model) => (&model.cascade, None),
    };
    let score = |logit: i32| rounded(probability(logit));
    json!({
        "doubtful_from": score(threshold),
        "certain_from": score(cascade.certain.max(threshold)),
        "text_certain_from": payload.map(|payload| {
            score(payload.certain.saturating_sub(payload.doubtful).max(threshold))
        }),
    })
}

/// Requests by who decided, since the start.
fn paths(metrics: &DetectionMetrics, detector: Detector) -> Value {
    let count = |path: EnsemblePath| match detector {
        Detector::Scanner => metrics.layers.scanner_ensemble_path(path.as_str()).get(),
        Detector::Ddos => metrics.layers.ddos_ensemble_path(path.as_str()).get(),
    };
    EnsemblePath::ALL.into_iter().map(|path| (path.as_str().to_owned(), Value::from(count(path)))).collect()
}

fn drift(shared: &Shared, snapshot: &Snapshot, chosen: &Chosen) -> Value {
    let watch = shared.drift();
    let (indices, samples) = watch.told(chosen);
    let feature = |(name, index): &(&'static str, f64)| json!({"feature": name, "index": rounded(*index), "verdict": Drift::of(*index).as_str()});
    let worst = indices
        .iter()
        .map(|(_, index)| *index)
        .fold(None, |worst: Option<f64>, index| Some(worst.map_or(index, |worst| worst.max(index))));
    json!({
        "samples": samples,
        "verdict": worst.map(|index| Drift::of(index).as_str()),
        "features": indices.iter().map(feature).collect::<Vec<_>>(),
        "scores": {
            "from": std::iter::once(0.0).chain(score_bin_edges().map(|edge| rounded(probability(edge)))).collect::<Vec<_>>(),
            "live": watch.scores(&snapshot.models, chosen.detector()),
            "training": chosen.reference().scores.map(|of_all| f64::from(of_all) / 65_535.0),
        },
    })
}

/// Thresholds by the site's own visitors. Only told: whoever has an account can ask for anything.
fn calibration(benign: &Calibration) -> Value {
    let suggestion = |rate: f64| match benign.suggest(rate) {
        Ok(suggestion) => json!({
            "rate": rate, "threshold": rounded(probability(suggestion.threshold)), "above": suggestion.above,
            "upper_bound": suggestion.upper, "reason": null,
        }),
        Err(why) => json!({
            "rate": rate, "threshold": null, "above": null, "upper_bound": null, "reason": match why {
                NoSuggestion::TooFew { needed } => format!("too few requests: {needed} are needed"),
                NoSuggestion::NoneDoes => "too many of them score as high as anything".to_owned(),
            },
        }),
    };
    json!({"requests": benign.requests(), "suggestions": RATES.map(suggestion)})
}

fn agreement_told(agreement: &Agreement) -> Value {
    json!({
        "compared": agreement.compared(),
        "both_pass": agreement.both_pass,
        "both_stop": agreement.both_stop,
        "only_old": agreement.only_old,
        "only_new": agreement.only_new,
        "only_old_certain": agreement.only_old_certain,
        "only_new_certain": agreement.only_new_certain,
        "known_only_old": agreement.known_only_old,
        "known_only_new": agreement.known_only_new,
    })
}

/// So that a threshold that is set to it means the same logit.
fn rounded(score: f64) -> f64 {
    (score * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggested_threshold_means_the_logit_that_was_suggested() {
        for logit in (-31..32).map(|quarter| quarter * 64) {
            assert_eq!(threshold_logit(rounded(probability(logit))), logit);
        }
    }
}
