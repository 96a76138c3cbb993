// SPDX-License-Identifier: Apache-2.0
//! `sunbeam sweep-cookie-weight`

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sunbeam_datasets::in_order;
use sunbeam_ensemble::{Detector, feature_names};
use sunbeam_report::{Report, Table};
use sunbeam_trainer::suite;
use sunbeam_trainer::sweep::{self, Rates, STOPPED_WITHOUT_MAX, Sweep, Swept, Trial};

use super::Run;
use super::train::{DataSet, Engine, Steps, today, write};
use crate::cli::GlobalArgs;
use crate::exit::{CliError, ExitCode};
use crate::output::{Format, Printer, escape};
use crate::placed_file::shown;

/// Show what cookies, or another feature that clients choose, may be worth in training
///
/// Attackers send what they like: a model that trusts a cookie is deceived by the first who sends one. For each weight
/// and seed tree and perceptron are trained and judged as requests came, with the feature added to all attacks, and on
/// benign requests without it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SweepCookieWeight {
    /// What to learn from, as `prepare-dataset` makes it
    #[arg(long, value_name = "FILE")]
    dataset: PathBuf,
    /// `scanner` or `ddos`
    #[arg(long, value_name = "scanner|ddos", value_parser = detector)]
    detector: Detector,
    /// Another feature than cookies, by its name
    #[arg(long, value_name = "NAME")]
    feature: Option<String>,
    /// Weights, from 0 (the feature is not there) to 1
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "0,0.1,0.25,0.5,0.75,1")]
    weights: Vec<f32>,
    /// Trainings of each weight
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
    /// What computes
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
    /// Write a page about it
    #[arg(id = "page", long = "output", value_name = "FILE")]
    page: Option<PathBuf>,
    /// table, json or jsonl
    // In the place of the option of all commands, whose long form means the page here.
    #[arg(
        id = "output",
        short,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    _output: Format,
}

/// Trainings of a sweep: each takes seconds.
const TRIALS_MAX: usize = 1000;

fn detector(text: &str) -> Result<Detector, String> {
    let known = [Detector::Scanner, Detector::Ddos].into_iter().find(|known| known.as_str() == text);
    known.ok_or_else(|| "there are `scanner` and `ddos`".to_owned())
}

impl Run for SweepCookieWeight {
    const NAME: &'static str = "sweep-cookie-weight";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let sweep = self.sweep()?;
        let set = DataSet::read(&self.dataset)?;
        let mut steps = Steps::new("sweeping");
        let progress = &mut |step: &str, at, of| steps.tell(step, at, of);
        let (records, _) = in_order(set.records);
        let swept = match self.detector {
            Detector::Scanner => {
                let visits = suite::visits(&records, sweep.seeds.first().copied().unwrap_or(1));
                sweep::of_scanner(&visits, &sweep, progress)
            }
            Detector::Ddos => sweep::of_ddos(&suite::sessions(&records), &sweep, progress),
        };
        let swept = swept.map_err(|error| {
            CliError::failed(format!("`{}` cannot be trained and judged by this set: {error}", self.detector))
                .hint("both sides need benign rows and attacks: add logs of visitors and of several tools")
        })?;
        drop(steps);
        if let Some(page) = &self.page {
            self.write(page, &swept, &set.origins)?;
        }
        self.tell(global.printer(), &swept)?;
        Ok(ExitCode::Done)
    }
}

impl SweepCookieWeight {
    fn sweep(&self) -> Result<Sweep, CliError> {
        if let Some(wrong) = self.weights.iter().find(|weight| !(0.0..=1.0).contains(*weight)) {
            return Err(CliError::usage(format!("{wrong} is no weight: they are from 0 to 1")));
        }
        let trials = self.weights.len().saturating_mul(self.seeds.len());
        if !(1..=TRIALS_MAX).contains(&trials) {
            return Err(CliError::usage(format!("{trials} trainings: ask for 1 to {TRIALS_MAX}")));
        }
        let column = sweep::column(self.detector, self.feature.as_deref()).ok_or_else(|| {
            let known: Vec<&str> = feature_names(self.detector).collect();
            CliError::usage(format!("`{}` has no such feature; it has {}", self.detector, known.join(", ")))
        })?;
        let (mut weights, mut seeds) = (self.weights.clone(), self.seeds.clone());
        weights.sort_by(f32::total_cmp);
        weights.dedup();
        seeds.sort_unstable();
        seeds.dedup();
        Ok(Sweep { weights, seeds, column, engine: self.engine.ready()? })
    }

    fn feature(&self) -> &str {
        self.feature.as_deref().unwrap_or("cookies")
    }

    fn write(&self, page: &Path, swept: &Swept, origins: &[super::train::Origin]) -> Result<(), CliError> {
        let table = |caption: &str, of: fn(&Trial) -> &Rates| Table {
            caption: caption.to_owned(),
            header: HEADER.map(str::to_owned).to_vec(),
            rows: rows(swept, of),
        };
        let report = Report {
            title: format!("What {} may be worth to `{}`", self.feature(), self.detector),
            created: today(),
            model_card: self.about(swept),
            tables: vec![table("Tree and perceptron alone", RAW), table("What decides", DECIDING)],
            hashes: origins.iter().map(|origin| (origin.name.clone(), origin.sha256.clone())).collect(),
            notes: vec![NOTE.to_owned()],
            ..Report::default()
        };
        let folder = page.parent().unwrap_or_else(|| Path::new(""));
        let name = page.file_name().unwrap_or_default().to_string_lossy();
        write(folder, &name, sunbeam_report::html(&report).as_bytes()).map(drop)
    }

    fn about(&self, swept: &Swept) -> Vec<(String, String)> {
        let [benign, attacks] = swept.rows;
        let pairs = [
            ("detector", self.detector.to_string()),
            ("feature", escape(self.feature())),
            ("judged by", format!("{benign} benign rows and {attacks} attacks of the validation side")),
            ("chosen", chosen(swept)),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    fn tell(&self, printer: Printer, swept: &Swept) -> Result<(), CliError> {
        if printer.is_json() {
            return printer.json(&self.as_json(swept));
        }
        for (name, value) in self.about(swept) {
            printer.line(format_args!("{name}: {value}"))?;
        }
        for (caption, of) in [("tree and perceptron alone", RAW), ("what decides", DECIDING)] {
            printer.line(format_args!("\n{caption}, means of {} seeds", self.seeds.len()))?;
            printer.table(&HEADER, &rows(swept, of))?;
        }
        printer.line(format_args!("\n{NOTE}"))?;
        match &self.page {
            Some(page) => printer.line(format_args!("wrote {}", shown(page))),
            None => Ok(()),
        }
    }

    fn as_json(&self, swept: &Swept) -> Value {
        let rates = |rates: &Rates| {
            json!({
                "found": rates.found, "found_spoofed": rates.found_spoofed,
                "stopped_without": rates.stopped_without,
            })
        };
        let trial = |trial: &Trial| {
            json!({
                "weight": trial.weight, "seed": trial.seed, "raw": rates(&trial.raw),
                "deciding": rates(&trial.deciding),
            })
        };
        json!({
            "detector": self.detector.as_str(),
            "feature": self.feature(),
            "benign_rows": swept.rows[0],
            "attack_rows": swept.rows[1],
            "stopped_rates": [0.001, 0.01],
            "stopped_without_max": STOPPED_WITHOUT_MAX,
            "trials": swept.trials.iter().map(trial).collect::<Vec<_>>(),
            "chosen": swept.chosen(),
            "page": self.page,
        })
    }
}

type Of = fn(&Trial) -> &Rates;
const RAW: Of = |trial| &trial.raw;
const DECIDING: Of = |trial| &trial.deciding;

const HEADER: [&str; 7] = [
    "WEIGHT",
    "FOUND AT 0.1 %",
    "FOUND AT 1 %",
    "SPOOFED AT 0.1 %",
    "SPOOFED AT 1 %",
    "STOPPED WITHOUT AT 0.1 %",
    "STOPPED WITHOUT AT 1 %",
];

const NOTE: &str = "Spoofed: the feature is added to all attacks. Without: benign rows that lose it. What decides is the \
                    same whatever stands in cookies and referer, by its construction; the weight is a second line.";

fn rows(swept: &Swept, of: Of) -> Vec<Vec<String>> {
    let pick: [fn(&Rates) -> f64; 6] = [
        |rates| rates.found[0],
        |rates| rates.found[1],
        |rates| rates.found_spoofed[0],
        |rates| rates.found_spoofed[1],
        |rates| rates.stopped_without[0],
        |rates| rates.stopped_without[1],
    ];
    let row = |weight: f32| {
        let cells =
            pick.iter().map(|pick| format!("{:.2} %", 100.0 * swept.mean(weight, |trial| pick(of(trial)))));
        std::iter::once(weight.to_string()).chain(cells).collect()
    };
    swept.weights().into_iter().map(row).collect()
}

fn chosen(swept: &Swept) -> String {
    let limit = 100.0 * STOPPED_WITHOUT_MAX;
    swept.chosen().map_or_else(
        || format!("none: every weight stops more than {limit:.0} % of the benign rows without it"),
        |weight| format!("{weight}: the worse of attacks as they came and spoofed ones is found most often"),
    )
}
