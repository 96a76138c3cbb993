// SPDX-License-Identifier: Apache-2.0
//! A trained model: written as a file, as code and with a page about it, and told.

use std::path::Path;

use serde_json::{Value, json};
use sunbeam_datasets::{LabelSource, Record};
use sunbeam_ensemble::{Card, Detector, Model};
use sunbeam_report::measures::Ranking;
use sunbeam_report::{Evaluation, Report, SourceLabel, SourceRow};
use sunbeam_trainer::evaluation::{Part, Parts};
use sunbeam_trainer::export;

use super::card::{Origin, Written, card, today, write, write_model};
use crate::exit::CliError;
use crate::output::{Printer, escape};
use crate::placed_file::shown;

/// See the module.
pub(super) struct Outcome {
    pub(super) detector: Detector,
    pub(super) model: Model,
    pub(super) seed: u64,
    /// How it was trained, for its card.
    pub(super) about: Vec<(&'static str, String)>,
    /// In one line, for its card.
    pub(super) scores: String,
    /// By source, of each thing that was judged.
    pub(super) parts: Vec<(&'static str, Parts)>,
    pub(super) evaluations: Vec<Evaluation>,
    pub(super) notes: Vec<String>,
    pub(super) origins: Vec<Origin>,
}

impl Outcome {
    /// Writes the three files, and tells.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn finish(&self, folder: &Path, printer: Printer) -> Result<(), CliError> {
        let mut more = self.about.clone();
        more.push(("scores", self.scores.clone()));
        let card = card(self.detector, &today().replace('-', ""), self.seed, &self.origins, &more);
        let name = self.detector.as_str();
        let mut written = vec![
            write_model(folder, &self.model, &card)?,
            write(folder, &format!("{name}.rs"), export::source(&self.model, &card).as_bytes())?,
        ];
        let page = sunbeam_report::html(&self.report(&card, &written));
        written.push(write(folder, &format!("{name}.html"), page.as_bytes())?);
        self.tell(printer, &written)
    }

    fn report(&self, card: &Card, written: &[Written]) -> Report {
        let inputs = self.origins.iter().map(|origin| (origin.name.clone(), origin.sha256.clone()));
        let outputs = written.iter().map(|(path, sha256)| (path.display().to_string(), sha256.clone()));
        Report {
            title: format!("A trained model of `{}`", self.detector),
            created: today(),
            model_card: card.0.clone(),
            sources: self.rows().map(|(what, part)| source(what, part)).collect(),
            evaluations: self.evaluations.clone(),
            hashes: inputs.chain(outputs).collect(),
            notes: self.notes.clone(),
            ..Report::default()
        }
    }

    fn rows(&self) -> impl Iterator<Item = (&'static str, &Part)> {
        self.parts.iter().flat_map(|(what, parts)| parts.0.iter().map(|part| (*what, part)))
    }

    fn tell(&self, printer: Printer, written: &[Written]) -> Result<(), CliError> {
        if printer.is_json() {
            return printer.json(&self.as_json(written));
        }
        let row = |(what, part): (&str, &Part)| {
            vec![
                what.to_owned(),
                escape(&part.source),
                label(part).to_owned(),
                part.rows.to_string(),
                part.share(part.doubtful),
                part.share(part.certain),
            ]
        };
        let header = ["JUDGED", "SOURCE", "LABEL", "NUMBER", "DOUBTFUL (95 %)", "CERTAIN"];
        printer.table(&header, &self.rows().map(row).collect::<Vec<_>>())?;
        printer.line("")?;
        printer.line(&self.scores)?;
        for note in &self.notes {
            printer.line(note)?;
        }
        written.iter().try_for_each(|(path, _)| printer.line(format_args!("wrote {}", shown(path))))
    }

    fn as_json(&self, written: &[Written]) -> Value {
        let row = |(what, part): (&str, &Part)| {
            json!({
                "judged": what, "source": part.source, "label": label(part), "rows": part.rows,
                "doubtful": part.doubtful, "certain": part.certain,
            })
        };
        let curve = |evaluation: &Evaluation| {
            let ranking = Ranking::of(&evaluation.samples);
            json!({
                "name": evaluation.name, "auc": ranking.auc(),
                "found_at_one_permille": ranking.true_positive_rate_at(0.001),
                "found_at_one_percent": ranking.true_positive_rate_at(0.01),
            })
        };
        let file = |(path, sha256): &Written| json!({"file": path, "sha256": sha256});
        json!({
            "detector": self.detector.as_str(),
            "seed": self.seed,
            "scores": self.scores,
            "parts": self.rows().map(row).collect::<Vec<_>>(),
            "evaluations": self.evaluations.iter().map(curve).collect::<Vec<_>>(),
            "notes": self.notes,
            "files": written.iter().map(file).collect::<Vec<_>>(),
        })
    }
}

const fn label(part: &Part) -> &'static str {
    if part.is_attack { "attack" } else { "benign" }
}

fn source(what: &str, part: &Part) -> SourceRow {
    SourceRow {
        source: format!("{what}: {}", part.source),
        label: if part.is_attack { SourceLabel::Attack } else { SourceLabel::Benign },
        rows: part.rows,
        blocked: part.doubtful,
    }
}

/// Records whose labels are weak.
pub(super) fn labelled_by_rules(records: &[Record]) -> u64 {
    let by_rules = |record: &&Record| matches!(record.label_source, LabelSource::Heuristic(_));
    u64::try_from(records.iter().filter(by_rules).count()).unwrap_or(u64::MAX)
}
