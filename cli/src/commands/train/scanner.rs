// SPDX-License-Identifier: Apache-2.0
//! `sunbeam train-mlp-scanner`

use std::collections::BTreeSet;

use sunbeam_datasets::split::{LeakError, Unit, check_training};
use sunbeam_datasets::{Label, Record};
use sunbeam_ensemble::{Detector, Model, ScannerModel, probability};
use sunbeam_report::Evaluation;
use sunbeam_report::measures::Scored;
use sunbeam_trainer::engine::Engine;
use sunbeam_trainer::evaluation::{self, PayloadEvaluation};
use sunbeam_trainer::leaks::{SharedValues, shared_values};
use sunbeam_trainer::payload::{self, Bag, PayloadTraining};
use sunbeam_trainer::scanner::{ScannerTraining, Visit};
use sunbeam_trainer::sides::{Side, side};
use sunbeam_trainer::suite;

use super::outcome::{Outcome, labelled_by_rules};
use super::{Steps, Training};
use crate::cli::GlobalArgs;
use crate::commands::Run;
use crate::exit::{CliError, ExitCode};
use crate::output::escape;

/// Train the model of single requests from a data set
///
/// A fifth of the groups is kept for choosing thresholds and judging. The same data set and seed give the same model; its
/// file also tells the day, which `SOURCE_DATE_EPOCH` (seconds since 1970) sets.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TrainScanner {
    #[command(flatten)]
    training: Training,
    /// What a cookie is worth, from 0 (nothing) to 1 (as any other feature); `sweep-cookie-weight` helps to choose
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.5, value_parser = weight)]
    cookie_weight: f32,
}

fn weight(text: &str) -> Result<f32, String> {
    let weight: f32 = text.parse().map_err(|_| "a weight is a number".to_owned())?;
    if (0.0..=1.0).contains(&weight) { Ok(weight) } else { Err("a weight from 0 to 1".to_owned()) }
}

impl Run for TrainScanner {
    const NAME: &'static str = "train-mlp-scanner";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let Training { seed, epochs, hidden_dim, .. } = self.training;
        let (mut set, engine) = self.training.begin()?;
        let by_rules = labelled_by_rules(&set.records);
        let shared;
        (set.records, shared) = checked(set.records)?;
        let (bags, visits) = (suite::bags(&set.records, seed), suite::visits(&set.records, seed));
        both_classes(&bags, &set.records)?;
        let model = self.train(&bags, &visits, engine)?;
        let texts = evaluation::payload(&model.payload, &bags);
        let outcome = Outcome {
            detector: Detector::Scanner,
            seed,
            about: vec![
                ("epochs", epochs.to_string()),
                ("hidden", hidden_dim.to_string()),
                ("cookie_weight", self.cookie_weight.to_string()),
                ("engine", engine.as_str().to_owned()),
            ],
            scores: scores(&texts),
            parts: vec![("texts", texts.parts), ("requests", evaluation::scanner(&model, &visits))],
            evaluations: evaluations(&model, &bags, &visits),
            notes: notes(&set.records, by_rules, &shared),
            model: Model::Scanner(Box::new(model)),
            origins: set.origins,
        };
        outcome.finish(&self.training.output_dir, global.printer())?;
        Ok(ExitCode::Done)
    }
}

impl TrainScanner {
    fn train(&self, bags: &[Bag], visits: &[Visit], engine: Engine) -> Result<ScannerModel, CliError> {
        let mut training = ScannerTraining::new(self.training.seed);
        training.cookie_weight = self.cookie_weight;
        training.cascade.perceptron.epochs = usize::from(self.training.epochs);
        training.cascade.perceptron.hidden = usize::from(self.training.hidden_dim);
        training.cascade.perceptron.engine = engine;
        let of_texts = PayloadTraining::new(self.training.seed);
        let mut steps = Steps::new("training");
        suite::train_scanner_as(bags, visits, &of_texts, &training, &mut |step, at, of| {
            steps.tell(step, at, of)
        })
        .map_err(|error| {
            CliError::failed(format!("of requests with headers of their own: {error}"))
                .hint("a log of visitors and of a scanner tells them apart: add it to the data set")
        })
    }
}

/// The records, those of the training side first, and the few values that are on both; refused where something is on both
/// sides.
fn checked(records: Vec<Record>) -> Result<(Vec<Record>, SharedValues), CliError> {
    let (train, validation): (Vec<Record>, Vec<Record>) =
        records.into_iter().partition(|record| side(&record.group) == Side::Train);
    // Copies without weight tell of windows, and are no requests to learn from.
    let weighty = |records: &[Record]| -> Vec<Record> {
        let weighty = |record: &&Record| record.weight_percent > 0 && suite::is_general(record);
        records.iter().filter(weighty).cloned().collect()
    };
    let sides = [weighty(&train), weighty(&validation)];
    let [learned, judged] = &sides;
    // Attacks of our own are on both sides; a log may have so few kinds that all are on one.
    check_training(learned, judged, Unit::Request).map_err(|error| refused(&error, &sides.concat()))?;
    if judged.is_empty() {
        let nothing = LeakError::OneClass { side: "validation", benign: 0, attacks: 0 };
        return Err(refused(&nothing, &sides.concat()));
    }
    let shared = shared_values(learned, judged);
    if shared.is_leak() {
        return Err(leaking(&shared));
    }
    Ok(([train, validation].concat(), shared))
}

fn leaking(shared: &SharedValues) -> CliError {
    let pair = |[one, other]: &[String; 2]| format!("`{}` and `{}`", escape(one), escape(other));
    let groups: Vec<String> = shared.groups.iter().map(pair).collect();
    let message = format!(
        "{} of {} requests that would judge hold no value but such as are learned from under another group: {}",
        shared.records,
        shared.of,
        groups.join(", ")
    );
    CliError::failed(message)
        .hint("give requests with the same values one group, whatever stands around them")
}

fn refused(error: &LeakError, records: &[Record]) -> CliError {
    let refused = CliError::failed(error.to_string());
    match error {
        LeakError::OneClass { .. } => refused
            .hint(lopsided(records).unwrap_or_else(|| "add what is missing to the data set".to_owned())),
        _ => refused.hint("`prepare-dataset` makes sets without copies"),
    }
}

/// Why a side lacks what the data set has: groups are never on both.
fn lopsided(records: &[Record]) -> Option<String> {
    for (label, name) in [(Label::Benign, "benign records"), (Label::Attack, "attacks")] {
        let of_label = records.iter().filter(|record| record.label == Some(label));
        let groups: BTreeSet<&str> = of_label.clone().map(|record| &*record.group).collect();
        let sides: Vec<Side> = groups.iter().map(|group| side(group)).collect();
        let Some((first, others)) = sides.split_first() else { continue };
        if others.iter().all(|side| side == first) {
            let names: Vec<String> =
                groups.iter().take(3).map(|group| format!("`{}`", escape(group))).collect();
            let more = if groups.len() > names.len() { ", …" } else { "" };
            return Some(format!(
                "all {} {name} are of {} ({}{more}), on one side of the split, for a group is never on both: give what \
                 is not alike groups of its own",
                of_label.count(),
                if groups.len() == 1 { "one group".to_owned() } else { format!("{} groups", groups.len()) },
                names.join(", ")
            ));
        }
    }
    None
}

/// Texts, for a request may have none worth a look.
fn both_classes(bags: &[Bag], records: &[Record]) -> Result<(), CliError> {
    for (wanted, side) in [(Side::Train, "training"), (Side::Validation, "validation")] {
        let count = |is_attack| {
            let of = |bag: &&Bag| bag.side == wanted && bag.is_attack == is_attack && !bag.texts.is_empty();
            u64::try_from(bags.iter().filter(of).count()).unwrap_or(u64::MAX)
        };
        let (benign, attacks) = (count(false), count(true));
        if benign == 0 || attacks == 0 {
            return Err(refused(&LeakError::OneClass { side, benign, attacks }, records));
        }
    }
    Ok(())
}

fn scores(payload: &PayloadEvaluation) -> String {
    format!(
        "texts of the validation side: AUC {:.4}; attacks found {:.2} % at one benign request of 1,000, {:.2} % at one \
         of 100",
        payload.auc,
        100.0 * payload.at_one_permille,
        100.0 * payload.at_one_percent
    )
}

/// Logits from where doubt begins, as probabilities: one half is where doubt begins.
fn evaluations(model: &ScannerModel, bags: &[Bag], visits: &[Visit]) -> Vec<Evaluation> {
    const HALF: f64 = 0.5;
    let texts = bags.iter().filter(|bag| bag.side == Side::Validation && !bag.is_hard).map(|bag| {
        let logit = payload::score(&model.payload, bag) - model.payload.doubtful;
        Scored::new(probability(logit), bag.is_attack, &*bag.source)
    });
    let requests = visits.iter().filter(|visit| visit.side == Side::Validation).map(|visit| {
        let logit = model.judge(&visit.features(&model.paths), i32::MIN, i32::MIN).logit;
        Scored::new(probability(logit), visit.is_attack, &*visit.source)
    });
    vec![
        Evaluation { name: "texts, validation".to_owned(), samples: texts.collect(), threshold: HALF },
        Evaluation { name: "requests, validation".to_owned(), samples: requests.collect(), threshold: HALF },
    ]
}

fn notes(records: &[Record], by_rules: u64, shared: &SharedValues) -> Vec<String> {
    let mut notes = vec![
        "Texts of our own, attacks and innocent ones, are always among what is learned and judged."
            .to_owned(),
    ];
    let own_ways = records.iter().filter(|record| !suite::is_general(record)).count();
    if own_ways > 0 {
        notes.push(format!(
            "{own_ways} records of HTTP CSIC 2010 were left out: one application's ways are no attacks elsewhere. \
             `sunbeam learn` learns one application."
        ));
    }
    let unlabelled = records.iter().filter(|record| record.label.is_none()).count();
    let attacks = records.iter().filter(|record| record.label == Some(Label::Attack)).count();
    notes.push(format!("{attacks} attacks; {unlabelled} records without a label teach nothing."));
    if shared.records > 0 {
        notes.push(format!(
            "{} of {} requests of corpora that judge hold no value but such as were learned from under another group: what is \
             told of them says less.",
            shared.records, shared.of
        ));
    }
    if by_rules > 0 {
        notes.push(format!(
            "{by_rules} records are labelled by rules of thumb: they are right most of the time."
        ));
    }
    notes
}
