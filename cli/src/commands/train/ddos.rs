// SPDX-License-Identifier: Apache-2.0
//! `sunbeam train-mlp-ddos`

use std::collections::BTreeMap;

use sunbeam_datasets::split::{LeakError, Unit, check_leaks};
use sunbeam_datasets::{Label, Record, in_order};
use sunbeam_ensemble::{Detector, Model, probability};
use sunbeam_report::Evaluation;
use sunbeam_report::measures::{Ranking, Scored};
use sunbeam_trainer::ddos::{self, DdosTraining};
use sunbeam_trainer::evaluation::{Parts, windows_unseen};
use sunbeam_trainer::suite;
use sunbeam_trainer::windows::Sighting;

use super::outcome::{Outcome, labelled_by_rules};
use super::{Steps, Training};
use crate::cli::GlobalArgs;
use crate::commands::Run;
use crate::exit::{CliError, ExitCode};

/// Train the model of what clients do from a data set
///
/// Each kind of attack is judged by a model that has not seen it. The same data set and seed give the same model; its file
/// also tells the day, which `SOURCE_DATE_EPOCH` (seconds since 1970) sets.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TrainDdos {
    #[command(flatten)]
    training: Training,
}

impl Run for TrainDdos {
    const NAME: &'static str = "train-mlp-ddos";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let Training { seed, epochs, hidden_dim, .. } = self.training;
        let (set, engine) = self.training.begin()?;
        let by_rules = labelled_by_rules(&set.records);
        let (records, _) = in_order(set.records);
        let sessions = suite::sessions(&records);
        drop(records);
        let (learned, judged) = ddos::held_out(&sessions, seed);
        check(&learned, &judged)?;
        let mut training = DdosTraining::new(seed);
        training.cascade.perceptron.epochs = usize::from(epochs);
        training.cascade.perceptron.hidden = usize::from(hidden_dim);
        training.cascade.perceptron.engine = engine;
        let mut steps = Steps::new("training");
        steps.tell("all sessions", 0, STEPS);
        let model = trained(ddos::train_on_all(&sessions, &training))?;
        steps.tell("without what is judged", 1, STEPS);
        let unseen =
            Unseen { parts: parts(&sessions, &training), evaluation: curve(&learned, &judged, &training) };
        drop(steps);
        let outcome = Outcome {
            detector: Detector::Ddos,
            seed,
            about: vec![
                ("epochs", epochs.to_string()),
                ("hidden", hidden_dim.to_string()),
                ("engine", engine.as_str().to_owned()),
            ],
            scores: unseen.scores(),
            notes: notes(&unseen, by_rules),
            parts: unseen.parts,
            evaluations: unseen.evaluation.into_iter().collect(),
            model: Model::Ddos(Box::new(model)),
            origins: set.origins,
        };
        outcome.finish(&self.training.output_dir, global.printer())?;
        Ok(ExitCode::Done)
    }
}

const STEPS: usize = 2;

fn trained<T>(trained: Result<T, sunbeam_trainer::cascade::CascadeError>) -> Result<T, CliError> {
    trained.map_err(|error| {
        CliError::failed(format!("of windows of ten requests and more: {error}"))
            .hint("a log of visitors and of a flood tells them apart: add it to the data set")
    })
}

/// Refuses clients on both sides. One side may lack attacks: where there is one kind of them, none is left to judge.
fn check(learned: &[Sighting], judged: &[Sighting]) -> Result<(), CliError> {
    let [train, validation] = [learned, judged].map(clients);
    match check_leaks(&train, &validation, Unit::Client) {
        Ok(()) | Err(LeakError::OneClass { .. }) => Ok(()),
        Err(error) => Err(CliError::failed(error.to_string())
            .hint("what is judged would have been learned: label each client as one thing")),
    }
}

/// A record for each client and what it was.
fn clients(sessions: &[Sighting]) -> Vec<Record> {
    let mut clients = BTreeMap::new();
    for one in sessions {
        let client = format!("{} {}", one.source, one.session);
        let record = Record {
            group: format!("{client} {}", one.class),
            client: client.clone(),
            label: Some(if one.is_attack { Label::Attack } else { Label::Benign }),
            ..Record::default()
        };
        clients.insert((one.is_attack, client), record);
    }
    clients.into_values().collect()
}

/// Nothing where there is but one kind of attack: then there is none to leave out.
fn parts(sessions: &[Sighting], training: &DdosTraining) -> Vec<(&'static str, Parts)> {
    let unseen = windows_unseen(sessions, training);
    unseen.map(|unseen| vec![("windows", unseen.windows), ("sessions", unseen.sessions)]).unwrap_or_default()
}

/// What was kept apart, by a model of the rest.
fn curve(learned: &[Sighting], judged: &[Sighting], training: &DdosTraining) -> Option<Evaluation> {
    const THRESHOLD: f64 = 0.6;
    let model = ddos::train_on_all(learned, training).ok()?;
    let sample = |one: &Sighting| {
        let logit = model.judge(&one.features, i32::MIN).logit;
        Scored::new(probability(logit), one.is_attack, &*one.class)
    };
    let samples: Vec<Scored> = judged.iter().map(sample).collect();
    let name = "windows that were kept apart".to_owned();
    (!samples.is_empty()).then_some(Evaluation { name, samples, threshold: THRESHOLD })
}

/// What models say of what they have not seen.
struct Unseen {
    parts: Vec<(&'static str, Parts)>,
    evaluation: Option<Evaluation>,
}

impl Unseen {
    fn scores(&self) -> String {
        let area = self.evaluation.as_ref().and_then(|evaluation| Ranking::of(&evaluation.samples).auc());
        let area = area.map_or_else(|| "not measured".to_owned(), |area| format!("{area:.4}"));
        let of = |is_attack| {
            let found = self.parts.iter().find(|(what, _)| *what == "windows");
            found.map_or_else(
                || "not measured".to_owned(),
                |(_, parts)| {
                    let all = parts.all(is_attack, &|_| true);
                    all.share(all.doubtful)
                },
            )
        };
        format!(
            "unseen windows that are doubtful: attacks {}, benign {}; AUC of those that were kept apart at once {area}",
            of(true),
            of(false)
        )
    }
}

fn notes(unseen: &Unseen, by_rules: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if unseen.parts.is_empty() {
        notes.push(
            "There is but one kind of attack, so that none could be left out: nothing is known of attacks that were \
             not learned from."
                .to_owned(),
        );
    } else {
        notes.push(
            "Each kind of attack was judged by a model without it; of visitors, each fifth of the sessions by a model of \
             all others. The model that was written has learned from all of them."
                .to_owned(),
        );
    }
    if by_rules > 0 {
        notes.push(format!(
            "{by_rules} records are labelled by rules of thumb that look at windows too: figures of them tell how well \
             the rules were learned, not how right they are."
        ));
    }
    notes
}
