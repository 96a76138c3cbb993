// SPDX-License-Identifier: Apache-2.0
//! The models of a running node: what `model status`, `shadow`, `install` and `uninstall` ask of it.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use sunbeam_ensemble::Detector;

use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::commands::block::print_change;
use crate::commands::blocks::print_json;
use crate::exit::{CliError, ExitCode};
use crate::output::{Colour, Printer, escape};
use crate::placed_file::refused;

/// `GET /api/v1/models`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Models {
    models: Vec<InUse>,
}

/// The model of one detector.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct InUse {
    detector: String,
    origin: String,
    version: String,
    trained_at: String,
    fingerprint: String,
    drift: Drift,
    calibration: Option<Calibration>,
    challenger: Option<Challenger>,
}

/// How far traffic is from what the model was trained on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Drift {
    samples: u64,
    /// Nothing while there are too few.
    verdict: Option<String>,
    features: Vec<DriftFeature>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct DriftFeature {
    feature: String,
    index: f64,
    verdict: String,
}

/// Thresholds by the site's own visitors.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Calibration {
    requests: u64,
    suggestions: Vec<Suggestion>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Suggestion {
    rate: f64,
    threshold: Option<f64>,
    above: Option<u64>,
    upper_bound: Option<f64>,
    reason: Option<String>,
}

/// A model that is tried.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Challenger {
    version: String,
    fingerprint: String,
    agreement: Agreement,
    worse: Option<String>,
    promotion: Option<String>,
    not_taken: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Agreement {
    compared: u64,
    both_pass: u64,
    both_stop: u64,
    only_old: u64,
    only_new: u64,
    known_only_old: u64,
    known_only_new: u64,
}

/// What the running node judges by, and what it has seen.
pub(super) fn status(global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let answer = Client::connect(global)?.get("/api/v1/models")?;
    let printer = global.printer();
    if printer.is_json() {
        print_json(global, &answer, "models")?;
    } else {
        print(printer, &typed(&answer)?)?;
    }
    Ok(ExitCode::Done)
}

/// Asks a model beside the one in use; the node takes one that is to be promoted by itself.
pub(super) fn shadow(global: &GlobalArgs, file: &Path, promote: bool) -> Result<ExitCode, CliError> {
    let request = json!({"path": whole(file)?, "promote": promote});
    let answer = Client::connect(global)?.post_json("/api/v1/models/shadow", &request)?;
    print_change(global.printer(), &answer, false)
}

/// Asks it no longer.
pub(super) fn unshadow(global: &GlobalArgs, detector: Detector) -> Result<ExitCode, CliError> {
    let answer = Client::connect(global)?.delete(&format!("/api/v1/models/shadow/{detector}"))?;
    print_change(global.printer(), &answer, false)
}

/// Has the node keep a copy and judge by it.
pub(super) fn install(
    global: &GlobalArgs,
    file: &Path,
    force: bool,
    dry_run: bool,
) -> Result<ExitCode, CliError> {
    let request = json!({"path": whole(file)?, "force": force, "dry_run": dry_run});
    let answer = Client::connect(global)?.post_json("/api/v1/models/install", &request)?;
    print_change(global.printer(), &answer, dry_run)
}

/// Has it go back to the model that is compiled in.
pub(super) fn uninstall(
    global: &GlobalArgs,
    detector: Detector,
    dry_run: bool,
) -> Result<ExitCode, CliError> {
    let page = format!("/api/v1/models/installed/{detector}?dry_run={dry_run}");
    let answer = Client::connect(global)?.delete(&page)?;
    print_change(global.printer(), &answer, dry_run)
}

/// The node works in a folder of its own: a path is told from the root. Whether there is a file, its machine knows.
fn whole(file: &Path) -> Result<Value, CliError> {
    let path = std::path::absolute(file).map_err(|error| refused("find", file, &error))?;
    match path.to_str() {
        Some(path) => Ok(path.into()),
        None => Err(CliError::usage(format!("{} is no path that JSON can carry", path.display()))),
    }
}

fn print(printer: Printer, answer: &Models) -> Result<(), CliError> {
    let rows: Vec<Vec<String>> = answer.models.iter().map(row).collect();
    printer.table(&["DETECTOR", "FROM", "VERSION", "TRAINED", "FINGERPRINT", "DRIFT", "TRIED"], &rows)?;
    for model in &answer.models {
        for line in lines(model) {
            printer.line(printer.paint(Colour::Dim, &format!("{}: {line}", escape(&model.detector))))?;
        }
    }
    Ok(())
}

fn row(model: &InUse) -> Vec<String> {
    let drift = match &model.drift.verdict {
        Some(verdict) => escape(verdict),
        None => format!("{} samples", model.drift.samples),
    };
    let tried = model.challenger.as_ref().map_or_else(|| "-".to_owned(), |tried| escape(&tried.fingerprint));
    let told = [&model.detector, &model.origin, &model.version, &model.trained_at, &model.fingerprint];
    told.into_iter().map(|text| escape(text)).chain([drift, tried]).collect()
}

/// What does not fit the table.
fn lines(model: &InUse) -> Vec<String> {
    let drifting = model.drift.features.iter().filter(|feature| feature.verdict != "stable");
    let mut lines: Vec<String> = drifting
        .map(|drift| {
            format!("{} is {} (index {:.2})", escape(&drift.feature), escape(&drift.verdict), drift.index)
        })
        .collect();
    if let Some(calibration) = &model.calibration {
        lines.extend(
            calibration.suggestions.iter().map(|suggestion| suggested(suggestion, calibration.requests)),
        );
    }
    if let Some(challenger) = &model.challenger {
        lines.extend(compared(challenger));
    }
    lines
}

fn suggested(suggestion: &Suggestion, requests: u64) -> String {
    let share = format!("{} %", round(suggestion.rate * 100.0));
    let Some(threshold) = suggestion.threshold else {
        let why = escape(suggestion.reason.as_deref().unwrap_or("unknown"));
        return format!("no threshold for {share} of known visitors' {requests} requests: {why}");
    };
    format!(
        "threshold {threshold} stops at most {share} of known visitors' requests ({} of {requests}; {:.4} % at most)",
        suggestion.above.unwrap_or_default(),
        suggestion.upper_bound.unwrap_or_default() * 100.0
    )
}

fn round(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

fn compared(challenger: &Challenger) -> Vec<String> {
    let seen = &challenger.agreement;
    let mut lines = vec![format!(
        "{} (version {}) was asked about {} requests: {} pass and {} are stopped by both, {} only by the model in use \
         ({} of known visitors), {} only by this one ({})",
        escape(&challenger.fingerprint),
        escape(&challenger.version),
        seen.compared,
        seen.both_pass,
        seen.both_stop,
        seen.only_old,
        seen.known_only_old,
        seen.only_new,
        seen.known_only_new,
    )];
    if seen.compared > 0 && seen.both_stop.saturating_add(seen.only_old) == 0 {
        lines.push(
            "none of them was one that the model in use stops: what this one would let go is not known"
                .to_owned(),
        );
    }
    lines.extend(challenger.worse.as_ref().map(|why| format!("it is worse: {}", escape(why))));
    let why = challenger.not_taken.as_deref().map_or_else(|| "it is no worse".to_owned(), escape);
    match challenger.promotion.as_deref() {
        Some("waiting") => lines.push(format!("the node takes it by itself once it may; until now: {why}")),
        Some(_) => lines.push(format!(
            "the node did not take it, for it turned out worse, and does not by itself any more; by now: {why}"
        )),
        None => {}
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_of_its_models_is_told_in_words() {
        let answer = json!({"models": [{
            "detector": "scanner", "origin": "compiled in", "version": "1\u{1b}[2J", "trained_at": "2026-01-01",
            "fingerprint": "0123", "drift": {"samples": 1200, "verdict": "shifted", "features": [
                {"feature": "path_depth", "index": 0.31, "verdict": "shifted"},
                {"feature": "score", "index": 0.01, "verdict": "stable"},
            ]},
            "calibration": {"requests": 4000, "suggestions": [
                {"rate": 0.001, "threshold": 0.73, "above": 0, "upper_bound": 0.00075, "reason": null},
                {"rate": 0.0001, "threshold": null, "reason": "too few requests: 30000 are needed"},
            ]},
            "challenger": {"fingerprint": "4567", "version": "2", "worse": "it lets go", "promotion": "waiting",
                "not_taken": "10 requests only", "agreement":
                {"compared": 10, "both_pass": 8, "both_stop": 1, "only_old": 1, "later": 1}},
        }, {"detector": "ddos", "drift": {"samples": 7}}]});
        let answer: Models = serde_json::from_value(answer).unwrap();
        let [scanner, ddos] = answer.models.as_slice() else { panic!("two") };
        assert_eq!(row(scanner)[5..], ["shifted", "4567"]);
        assert_eq!(row(ddos)[5..], ["7 samples", "-"]);
        let lines = lines(scanner);
        assert_eq!(lines[0], "path_depth is shifted (index 0.31)");
        assert!(lines[1].contains("threshold 0.73 stops at most 0.1 %"), "{lines:?}");
        assert!(lines[2].contains("0.01 %") && lines[2].contains("30000 are needed"), "{lines:?}");
        assert!(lines[3].contains("asked about 10 requests") && lines[4].contains("lets go"), "{lines:?}");
        assert!(
            lines[5].contains("takes it by itself") && lines[5].contains("10 requests only"),
            "{lines:?}"
        );
        assert!(!row(scanner).concat().contains('\u{1b}'));
        assert!(super::lines(ddos).is_empty());
        let quiet = Agreement { compared: 1_000, both_pass: 990, only_new: 10, ..Agreement::default() };
        let lines = compared(&Challenger { agreement: quiet, ..Challenger::default() });
        assert!(lines[1].contains("would let go is not known"), "{lines:?}");
    }
}
