// SPDX-License-Identifier: Apache-2.0
//! The verdict, what the model is, and what belongs to no other chapter.

use super::Material;
use super::markup::{Cell, Markup, Tone, paragraph, status, table, text};
use super::numbers::figure_or_none;
use crate::measures::Stability;
use crate::{Change, ComparisonRow, Report, Table, Verdict};

/// The new model beside the old one.
pub(super) fn summary(material: &Material<'_>) -> Markup {
    let report = material.report;
    [verdict(report), findings(report), comparisons(report), notes(report)].into_iter().collect()
}

fn verdict(report: &Report) -> Markup {
    let verdict = report.verdict();
    let (tone, sentence) = match verdict {
        Verdict::Better => (Tone::Good, "The new model is better than the old one and by no measure worse."),
        Verdict::Same => (Tone::Good, "The new model is as good as the old one."),
        Verdict::Worse => (Tone::Bad, "The new model must not replace the old one: see what is worse below."),
        Verdict::Undecided if report.comparisons.is_empty() => {
            (Tone::Doubtful, "Nothing was compared: no verdict.")
        }
        Verdict::Undecided => (Tone::Doubtful, "Some measure is missing on one side: no verdict."),
    };
    Markup(format!("<p class=\"verdict\">{}</p>\n", status(tone, sentence)))
}

/// What the verdict rests on, in numbers.
fn findings(report: &Report) -> Markup {
    let changed = |change| report.comparisons.iter().filter(|row| row.change() == change).count();
    let broken = report.robustness.iter().filter(|row| !row.holds).count();
    let shifted = report.drift.iter().filter(|row| row.verdict() == Some(Stability::Shifted)).count();
    [
        (report.comparisons.len(), changed(Change::Better), "measures are better"),
        (report.comparisons.len(), changed(Change::Worse), "measures are worse"),
        (report.robustness.len(), broken, "robustness checks do not hold"),
        (report.drift.len(), shifted, "features have shifted"),
    ]
    .into_iter()
    .filter(|(all, ..)| *all > 0)
    .map(|(all, some, what)| paragraph(&format!("{some} of {all} {what}.")))
    .collect()
}

fn comparisons(report: &Report) -> Markup {
    if report.comparisons.is_empty() {
        return Markup::default();
    }
    let header = ["Measure", "Old", "New", "Verdict"];
    table("Old model beside new model", header, report.comparisons.iter().map(comparison))
}

fn comparison(row: &ComparisonRow) -> Vec<Cell> {
    let (tone, word) = match row.change() {
        Change::Better => (Tone::Good, "better"),
        Change::Same => (Tone::Good, "the same"),
        Change::Worse => (Tone::Bad, "worse"),
        Change::Unmeasured => (Tone::Doubtful, "not measured"),
    };
    let number = |value| Cell::Number(figure_or_none(value));
    vec![Cell::Text(row.measure.clone()), number(row.old), number(row.new), Cell::Markup(status(tone, word))]
}

fn notes(report: &Report) -> Markup {
    let notes: Markup =
        report.notes.iter().map(|note| Markup(format!("<li>{}</li>\n", text(note)))).collect();
    if report.notes.is_empty() { notes } else { Markup(format!("<h3>Notes</h3>\n<ul>\n{notes}</ul>\n")) }
}

/// What the model is.
pub(super) fn model_card(material: &Material<'_>) -> Markup {
    pairs("What the model is", ["Property", "Value"], &material.report.model_card, Cell::Text)
}

/// What went in and came out.
pub(super) fn hashes(material: &Material<'_>) -> Markup {
    let hash = |hash: String| Cell::Markup(Markup(format!("<code>{}</code>", text(&hash))));
    pairs("What went in and came out", ["Name", "SHA-256"], &material.report.hashes, hash)
}

fn pairs(caption: &str, header: [&str; 2], pairs: &[(String, String)], value: fn(String) -> Cell) -> Markup {
    let rows = pairs.iter().map(|(name, text)| vec![Cell::Text(name.clone()), value(text.clone())]);
    if pairs.is_empty() { Markup::default() } else { table(caption, header, rows) }
}

/// Sweeps and all else.
pub(super) fn tables(material: &Material<'_>) -> Markup {
    material.report.tables.iter().map(generic).collect()
}

fn generic(generic: &Table) -> Markup {
    let rows = generic.rows.iter().map(|cells| cells.iter().map(|cell| Cell::guess(cell)).collect());
    table(&generic.caption, generic.header.iter().map(String::as_str), rows)
}
