// SPDX-License-Identifier: Apache-2.0
//! What learning came to, for people and for machines.

use serde_json::{Map, Value, json};
use sunbeam_ensemble::{Detector, Drift};
use sunbeam_report::measures::{Ranking, Scored, wilson};
use sunbeam_trainer::learn::{Duel, OWN_ATTACKS, Outcome, RECORDS_MIN, Sample};

use super::install::{Installed, Taken};
use super::layers::{CLIENTS_MAX, Page};
use super::{Candidate, Course};
use crate::commands::model::application_in_words;
use crate::commands::replay::{reading_json, reading_text};
use crate::commands::train::Written;
use crate::exit::CliError;
use crate::output::{Colour, Printer, escape, note};
use crate::placed_file::shown;

/// The result on standard output, what to do with it beside it.
pub(super) fn tell(
    printer: Printer,
    course: &Course,
    report: &Written,
    installed: &Installed,
) -> Result<(), CliError> {
    for warning in warnings(course) {
        note(format_args!("warning: {warning}"));
    }
    if printer.is_json() {
        return printer.json(&as_json(course, report, installed));
    }
    let files: Vec<Vec<String>> = course
        .logs
        .files
        .iter()
        .map(|(name, reading)| vec![name.clone(), reading_text(&reading.report)])
        .collect();
    printer.table(&["FILE", "READ"], &files)?;
    printer.line("")?;
    printer.pairs(&about(course))?;
    printer.line("")?;
    let header = ["DETECTOR", "JUDGED", "NUMBER", "DOUBTED IN USE", "DOUBTED BY THE CANDIDATE", "VERDICT"];
    printer.table(
        &header,
        &course
            .duels()
            .iter()
            .zip(&course.models)
            .flat_map(|(duel, model)| rows(printer, course, duel.1, duel.2, model))
            .collect::<Vec<_>>(),
    )?;
    printer.line("")?;
    print_layers(printer, course)?;
    for model in &course.models {
        printer.line(format_args!("wrote {}", shown(&model.file.0)))?;
    }
    printer.line(format_args!("wrote {}", shown(&report.0)))?;
    ending(printer, course, installed)
}

fn warnings(course: &Course) -> Vec<String> {
    let mut warnings = Vec::new();
    if course.learned.judged_from_micros.is_none() {
        warnings.push(
            "the log does not tell the time of all its requests: a fifth of its groups was kept for judging, not the \
             latest stretch"
                .to_owned(),
        );
    }
    if course.learned.windows.samples.is_empty() {
        warnings.push(
            "no client of the log has ten requests and a label in both stretches: nothing was learned of windows".to_owned(),
        );
    }
    if course.logs.untimed > 0 {
        warnings.push(format!(
            "{} of {} records tell no time that can be read: rules of thumb say nothing of them, and they are in nobody's \
             window",
            course.logs.untimed, course.logs.clean.records
        ));
    }
    warnings.extend(unmended(course));
    let [benign, attacks] = course.learned.labelled;
    if attacks > 0 && benign.min(attacks) < RECORDS_MIN {
        warnings.push(format!(
            "what is odd for this application was not learned: of what somebody labelled, {benign} benign requests and \
             {attacks} attacks are in the part that is learned from, and {RECORDS_MIN} of either are needed"
        ));
    }
    let distrusted = course.learned.distrusted;
    if distrusted > 0 {
        warnings.push(format!(
            "{distrusted} requests that a rule calls benign were left out: the model in use is certain that they attack"
        ));
    }
    warnings
}

fn about(course: &Course) -> Vec<(&'static str, String)> {
    let [earlier, later] = course.learned.records;
    let mut pairs = vec![
        ("models in use", course.in_use_name()),
        ("learned from", format!("{earlier} labelled records")),
        ("judged by", format!("{later} later ones{}", since(course))),
        ("copies", format!("{} of {} records", course.logs.clean.copies, course.logs.clean.records)),
    ];
    if let Some(rules) = &course.logs.heuristics {
        let text = format!(
            "{} benign by rules, {} called attacks and left out, {} labelled before",
            rules.benign, rules.attacks, rules.labelled_before
        );
        pairs.push(("labels", text));
    }
    pairs.push(("this application", application_in_words(&course.learned.scanner.application)));
    pairs
}

/// `, from 2026-11-28T10:00:00Z on`
pub(super) fn since(course: &Course) -> String {
    let at = course.learned.judged_from_micros;
    let at = at.and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
    at.map_or_else(String::new, |at| format!(", from {} on", at.strftime("%Y-%m-%dT%H:%M:%SZ")))
}

/// Detector, what its layer did with benign requests: how many, doubted and blocked in use, doubted and blocked then.
pub(super) fn layer_rows(course: &Course) -> Vec<Vec<String>> {
    let layers = &course.layers;
    let row = |detector| {
        let [old, new] = [&layers.in_use, &layers.candidate].map(|played| played.stopped(detector));
        let benign = layers.in_use.benign;
        let shares = [old.doubted, new.doubted].map(|count| rate(count, benign));
        let blocked = [old.blocked, new.blocked].map(|count| count.to_string());
        let [old_share, new_share] = shares;
        let [old_blocked, new_blocked] = blocked;
        vec![detector.to_string(), benign.to_string(), old_share, old_blocked, new_share, new_blocked]
    };
    [Detector::Scanner, Detector::Ddos].into_iter().map(row).collect()
}

pub(super) const LAYER_HEADER: [&str; 6] = [
    "LAYER",
    "BENIGN REQUESTS",
    "DOUBTED OR BLOCKED IN USE",
    "BLOCKED",
    "DOUBTED OR BLOCKED BY THE CANDIDATE",
    "BLOCKED",
];

/// Pages that are told one by one.
const PAGES_TOLD: usize = 10;

/// Page, requests, of them blocked, clients, reasons.
pub(super) fn page_rows(course: &Course) -> Vec<Vec<String>> {
    let row = |(path, page): (&str, &Page)| {
        let clients = page.clients();
        let more = if clients < CLIENTS_MAX { "" } else { " and more" };
        let reasons: Vec<String> =
            page.reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        vec![
            escape(path),
            page.requests.to_string(),
            page.blocked.to_string(),
            format!("{clients}{more}"),
            reasons.join(", "),
        ]
    };
    course.layers.mistakes().into_iter().take(PAGES_TOLD).map(row).collect()
}

pub(super) const PAGE_HEADER: [&str; 5] =
    ["LIKELY MISTAKE", "REQUESTS DOUBTED OR BLOCKED", "BLOCKED", "CLIENTS", "REASONS"];

fn print_layers(printer: Printer, course: &Course) -> Result<(), CliError> {
    printer.table(&LAYER_HEADER, &layer_rows(course))?;
    printer.line("")?;
    let pages = page_rows(course);
    if !pages.is_empty() {
        printer.table(&PAGE_HEADER, &pages)?;
        let more = course.layers.mistakes().len().saturating_sub(pages.len());
        if more > 0 {
            printer.line(format_args!("and {more} more"))?;
        }
        printer.line("")?;
    }
    Ok(())
}

/// What learning does not mend, and what can be done about it; nothing where there is nothing.
pub(super) fn unmended(course: &Course) -> Option<String> {
    let [before, after] = course.layers.mistaken_requests();
    let pages = course.layers.mistakes().len();
    let untold = match course.logs.tells_headers() {
        true => "",
        false => {
            " This log tells neither `Accept` nor `Accept-Language`, without which every request looks more like a tool's: a \
             node, which sees them, doubts less."
        }
    };
    (pages > 0).then(|| {
        format!(
            "the scanner's layer doubts or blocks {after} requests ({before} by the models in use) for {pages} pages that \
             the site answered to several clients: likely mistakes. What path and headers look like is not learned from a \
             log, for whoever asks could teach it; what is doubtful is watched and stops nobody where \
             `detection.mode` is `auto`. Where it is enforced, `protect = {{ scanner = \"observe\" }}` on the route that \
             has those pages, or a higher `scanner.threshold`, lets them be.{untold}"
        )
    })
}

/// Both kinds, and of what sources they are where there are several.
fn rows(printer: Printer, course: &Course, what: &str, duel: &Duel, model: &Candidate) -> Vec<Vec<String>> {
    let row = |name: String, number: u64, [old, new]: [u64; 2], verdict: String| {
        let (old, new) = (rate(old, number), rate(new, number));
        vec![model.detector.to_string(), name, number.to_string(), old, new, verdict]
    };
    let colour = match model.outcome {
        Outcome::Better => Colour::Green,
        Outcome::NothingToMend => Colour::Dim,
        Outcome::NotBetter => Colour::Yellow,
    };
    let verdict = printer.paint(colour, verdict(course, model));
    let parts = duel.by_source();
    let mut rows = Vec::new();
    for (is_attack, kind, number, stopped, verdict) in [
        (false, "benign", duel.benign(), duel.benign_stopped(), verdict),
        (true, "attack", duel.attacks(), duel.attacks_stopped(), String::new()),
    ] {
        rows.push(row(format!("{kind} {what}"), number, stopped, verdict));
        let of_kind: Vec<_> = parts.iter().filter(|((of, _), _)| *of == is_attack).collect();
        for ((_, source), (number, stopped)) in of_kind.iter().filter(|_| of_kind.len() > 1) {
            rows.push(row(format!("  of {}", escape(source)), *number, *stopped, String::new()));
        }
    }
    rows
}

/// That there is nothing to mend is said only where the layer has nothing against benign requests, nor against pages that
/// the site answers.
pub(super) fn verdict(course: &Course, model: &Candidate) -> &'static str {
    let [doubted, _] = course.layers.doubted(model.detector);
    let is_mistaken = model.detector == Detector::Scanner && !course.layers.mistakes().is_empty();
    match model.outcome {
        Outcome::NothingToMend if doubted > 0 || is_mistaken => "nothing that learning mends",
        outcome => outcome.as_str(),
    }
}

/// `1.25 % (0.60–2.61)`
#[expect(clippy::cast_precision_loss, reason = "counts")]
pub(super) fn rate(hits: u64, rows: u64) -> String {
    if rows == 0 {
        return "-".to_owned();
    }
    let interval = wilson(hits as f64, rows as f64);
    let percent = 100.0 * hits as f64 / rows as f64;
    format!("{percent:.2} % ({:.2}–{:.2})", 100.0 * interval.low, 100.0 * interval.high)
}

/// For a card: what the candidate doubts.
pub(super) fn scores(what: &str, duel: &Duel) -> String {
    let ([_, benign], [_, attacks]) = (duel.benign_stopped(), duel.attacks_stopped());
    format!(
        "{what} doubted: benign {} of {}, attacks {} of {}",
        rate(benign, duel.benign()),
        duel.benign(),
        rate(attacks, duel.attacks()),
        duel.attacks()
    )
}

fn ending(printer: Printer, course: &Course, installed: &Installed) -> Result<(), CliError> {
    for (detector, taken, answer) in &installed.detectors {
        printer.line(match taken {
            Taken::OnTrial => format!(
                "the model of `{detector}` is tried beside the one in use; the node takes it after 1,000 requests if it is \
                 no worse (`sunbeam model status` says how it goes)"
            ),
            Taken::AtOnce => format!("installed the model of `{detector}`: it judges from the next request on"),
        })?;
        if let Some(undo) = answer.get("undo").and_then(Value::as_str) {
            printer.line(format_args!("  undo: {}", escape(undo)))?;
        }
    }
    let is_waiting = |model: &&Candidate| {
        let is_taken = installed.detectors.iter().any(|(known, ..)| *known == model.detector);
        model.outcome == Outcome::Better && !is_taken
    };
    for model in course.models.iter().filter(is_waiting) {
        let (file, detector) = (shown(&model.file.0), model.detector);
        printer.line(format_args!(
            "to use {file}: `sunbeam model shadow --promote` has a node try it and take it if it is no worse; or name it \
             as `{detector}.model` in the configuration"
        ))?;
    }
    // The first is the reason for the exit code, and told as such.
    for error in installed.failed.iter().skip(1) {
        note(format_args!("error: {}", error.message));
    }
    Ok(())
}

fn as_json(course: &Course, report: &Written, installed: &Installed) -> Value {
    let files = course.logs.files.iter().zip(&course.logs.origins).map(|((name, reading), origin)| {
        let mut file = reading_json(&reading.report);
        file["file"] = name.as_str().into();
        file["sha256"] = origin.sha256.as_str().into();
        file
    });
    let [learned_from, judged_by] = course.learned.records;
    let detectors: Map<String, Value> = course
        .duels()
        .iter()
        .zip(&course.models)
        .map(|((detector, what, duel), model)| {
            let taken = installed.detectors.iter().find(|(known, ..)| known == detector);
            let mut told = detector_json(what, duel, model, taken.map(|(_, taken, _)| *taken));
            told["verdict"] = verdict(course, model).into();
            told["layer"] = layer_json(course, *detector);
            let (rows, indices) = course.drift(*detector);
            let worst = indices.iter().map(|(_, index)| *index).max_by(f64::total_cmp);
            told["drift"] = json!({"rows": rows, "worst": worst, "verdict": worst.map(|worst| Drift::of(worst).as_str())});
            (detector.to_string(), told)
        })
        .collect();
    let rules = course.logs.heuristics.as_ref();
    json!({
        "files": files.collect::<Vec<_>>(),
        "models_in_use": course.in_use.names,
        "seed": course.seed,
        "learned_from": learned_from,
        "judged_by": judged_by,
        "judged_from_micros": course.learned.judged_from_micros,
        "distrusted": course.learned.distrusted,
        "labelled_by_somebody": {"benign": course.learned.labelled[0], "attack": course.learned.labelled[1]},
        "application_is_known": course.learned.scanner.application.is_trained(),
        "application_hosts": course.learned.scanner.application.host_count(),
        "labelled_by_rules": rules.map(|rules| json!({"benign": rules.benign, "attack": rules.attacks})),
        "detectors": detectors,
        "likely_mistakes": mistakes_json(course),
        "untimed": course.logs.untimed,
        "report": report.0,
        "warnings": warnings(course),
    })
}

fn layer_json(course: &Course, detector: Detector) -> Value {
    let layers = &course.layers;
    let [old, new] = [&layers.in_use, &layers.candidate].map(|played| played.stopped(detector));
    json!({
        "benign": layers.in_use.benign,
        "doubted_in_use": old.doubted, "blocked_in_use": old.blocked,
        "doubted_by_the_candidate": new.doubted, "blocked_by_the_candidate": new.blocked,
    })
}

fn mistakes_json(course: &Course) -> Value {
    const PAGES_MAX: usize = 1_000;
    let page = |(path, page): (&str, &Page)| {
        json!({
            "path": path, "requests": page.requests, "blocked": page.blocked, "clients": page.clients(),
            "reasons": page.reasons,
        })
    };
    course.layers.mistakes().into_iter().take(PAGES_MAX).map(page).collect()
}

fn detector_json(what: &str, duel: &Duel, model: &Candidate, taken: Option<Taken>) -> Value {
    let side = |rows: u64, [old, new]: [u64; 2]| json!({"number": rows, "stopped_in_use": share(old, rows), "stopped_by_the_candidate": share(new, rows)});
    let sources = duel.by_source().into_iter().map(|((is_attack, source), (number, stopped))| {
        let mut row = side(number, stopped);
        row["source"] = source.into();
        row["label"] = if is_attack { "attack" } else { "benign" }.into();
        row
    });
    let robustness = duel.robustness.iter().map(|row| {
        json!({"what": row.what, "attacks": row.rows, "stopped": row.stopped[0], "stopped_then": row.stopped[1], "stopped_then_in_use": row.stopped_in_use})
    });
    let ranked = |which: usize| {
        let sample = |sample: &Sample| Scored::new(sample.scores[which], sample.is_attack, &*sample.source);
        // What every log is judged by besides would hide what is found in this one.
        let own = duel.samples.iter().filter(|sample| !sample.is_known && sample.source != OWN_ATTACKS);
        let ranking = Ranking::of(&own.map(sample).collect::<Vec<_>>());
        json!({"auc": ranking.auc(), "at_one_percent": ranking.true_positive_rate_at(0.01)})
    };
    json!({
        "judged": what,
        "ranking_of_the_log": {"in_use": ranked(0), "candidate": ranked(1)},
        "benign": side(duel.benign(), duel.benign_stopped()),
        "attack": side(duel.attacks(), duel.attacks_stopped()),
        "sources": sources.collect::<Vec<_>>(),
        "robustness": robustness.collect::<Vec<_>>(),
        "file": model.file.0,
        "sha256": model.file.1,
        "node": taken.map(Taken::as_str),
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts")]
fn share(hits: u64, rows: u64) -> Value {
    let interval = wilson(hits as f64, rows as f64);
    let share = (rows > 0).then(|| hits as f64 / rows as f64);
    json!({"number": hits, "share": share, "low": interval.low, "high": interval.high})
}
