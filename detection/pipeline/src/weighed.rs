// SPDX-License-Identifier: Apache-2.0
//! Why a request scores as it does: which features weigh, which unit is the worst, and what stands in it. For who
//! asks, not for every request.

use sunbeam_ensemble::{DdosModel, INPUTS, Said, ScannerModel, ddos_inputs};
use sunbeam_features::application::PartKind;
use sunbeam_features::canonical::UnitKind;
use sunbeam_features::{ddos, payload as texts, scanner as requests};
use sunbeam_tables::Moment;
use sunbeam_traffic::RequestFacts;

use crate::exceptions::Used;
use crate::payload;
use crate::pipeline::Pipeline;
use crate::scanner;
use crate::subject::{Scratch, Subject};

/// What a request comes to, and why.
#[derive(Clone, Debug)]
pub struct Weighed {
    /// Features of the request, each with what it adds to the logit beside the usual, in 1/256.
    pub request: Vec<Weight>,
    /// What the models say of the request.
    pub request_said: Said,
    /// Features of the client's window, the same way.
    pub window: Vec<Weight>,
    /// What the model says of the window; nothing where it has too few requests.
    pub window_said: Option<Said>,
    /// The worst unit; none where all are plain.
    pub unit: Option<WorstUnit>,
    /// What is oddest for this application; none where no model knows it.
    pub odd: Option<OddestPart>,
}

/// The part by which a request is judged as one of this application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddestPart {
    /// What it is.
    pub kind: PartKind,
    /// The name it stands under.
    pub name: Vec<u8>,
    /// From where doubt begins, in 1/256 of a logit.
    pub logit: i32,
}

/// A feature and what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: u32,
    /// What 1 means.
    pub unit: &'static str,
    /// What it adds, in 1/256 of a logit.
    pub share: i32,
}

/// The unit by which a request's texts are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorstUnit {
    /// What it is.
    pub kind: UnitKind,
    /// The name it stands under.
    pub name: Vec<u8>,
    /// Its canonical text.
    pub value: Vec<u8>,
    /// In 1/256.
    pub logit: i32,
    /// From which on it is doubtful, in 1/256 of a logit.
    pub doubtful: i32,
    /// From which on it is certain, with a sign.
    pub certain: i32,
    /// Something in it speaks of an attack that no model has to say.
    pub has_sign: bool,
    /// What stands in it, each with what it adds to the logit, the heaviest first.
    pub counts: Vec<Weight>,
    /// Its heaviest pieces of four symbols, and their weights.
    pub pieces: Vec<(Vec<u8>, i32)>,
}

/// How many of the heaviest are told.
const TOLD: usize = 5;

impl Pipeline {
    /// Weighs a request. Nothing is counted, taken or blocked.
    pub fn weigh(&self, facts: &RequestFacts<'_>, now: Moment, scratch: &mut Scratch) -> Weighed {
        let rules = self.rules();
        let memory = self.memory();
        let mut subject = Subject::new(facts, rules, memory, now, scratch, true);
        let models = rules.models();
        let unit = worst_unit(facts, &models.scanner, &mut subject);
        let odd = oddest_part(facts, &models.scanner, &mut subject);
        let is_of_application = subject.is_of(&models.scanner.application);
        let worst = payload::worst(
            facts,
            subject.canonical,
            &models.scanner,
            is_of_application,
            (&subject.applied, &mut Used::default()),
            subject.buffers,
        );
        let features = scanner::features(&subject, worst.path_score);
        let mut window = memory.windows.peek(subject.identity.key).unwrap_or_default();
        let totals = window.totals(now, &rules.shape);
        let known = ddos::read(&totals);
        Weighed {
            request: request_weights(&features, &models.scanner),
            request_said: models.scanner.judge(&features, worst.logit, rules.scanner_threshold),
            window: window_weights(&known, &models.ddos),
            window_said: (totals.events >= rules.min_events)
                .then(|| models.ddos.judge(&known, rules.ddos_threshold)),
            unit,
            odd,
        }
    }
}

fn oddest_part(
    facts: &RequestFacts<'_>,
    model: &ScannerModel,
    subject: &mut Subject<'_>,
) -> Option<OddestPart> {
    let model = &model.application;
    let mut oddest: Option<OddestPart> = None;
    if subject.is_of(model) {
        let applied = subject.applied;
        payload::each_part_of(facts, subject.buffers, &mut |part| {
            if applied.part(part.kind, part.name).is_some() {
                return;
            }
            let logit = model.read(part).saturating_sub(model.doubtful);
            if oddest.as_ref().is_none_or(|known| logit > known.logit) {
                oddest = Some(OddestPart { kind: part.kind, name: part.name.to_vec(), logit });
            }
        });
    }
    oddest
}

fn request_weights(features: &[u8; requests::COUNT], model: &ScannerModel) -> Vec<Weight> {
    let shares = model.cascade.shares(&model.inputs(features), &model.reference.usual);
    let rows = requests::TABLE.iter().zip(features).zip(shares);
    rows.map(|((row, value), share)| Weight { name: row.name, value: (*value).into(), unit: row.unit, share })
        .collect()
}

fn window_weights(features: &[u32; ddos::COUNT], model: &DdosModel) -> Vec<Weight> {
    let shares: [i32; INPUTS] = model.cascade.shares(&ddos_inputs(features), &model.reference.usual);
    let rows = ddos::TABLE.iter().zip(features).zip(shares);
    rows.map(|((row, value), share)| Weight { name: row.name, value: *value, unit: row.unit, share })
        .collect()
}

fn worst_unit(
    facts: &RequestFacts<'_>,
    model: &ScannerModel,
    subject: &mut Subject<'_>,
) -> Option<WorstUnit> {
    let model = &model.payload;
    let mut worst: Option<(WorstUnit, texts::Facts, [u8; sunbeam_ensemble::COLUMNS])> = None;
    let applied = subject.applied;
    payload::each_text(facts, subject.canonical, subject.buffers, &mut |unit, read| {
        if applied.unit(unit.kind, unit.name).is_some() {
            return;
        }
        let reading = model.read(read);
        if worst.as_ref().is_none_or(|(known, ..)| reading.logit > known.logit) {
            let found = WorstUnit {
                kind: unit.kind,
                name: unit.name.to_vec(),
                value: unit.value.to_vec(),
                logit: reading.logit,
                doubtful: model.doubtful,
                certain: model.certain,
                has_sign: read.has_sign(),
                counts: Vec::new(),
                pieces: Vec::new(),
            };
            worst = Some((found, read.clone(), reading.columns));
        }
    });
    let (mut unit, read, columns) = worst?;
    if columns != [0; sunbeam_ensemble::COLUMNS] {
        unit.counts = counts(&columns, &model.shares(&columns));
        let heaviest = model.grams.heaviest(&read.symbols, TOLD);
        unit.pieces = heaviest.into_iter().map(|(end, weight)| (piece(&read.symbols, end), weight)).collect();
    }
    Some(unit)
}

/// The counts, and the sums of n-grams as three more.
fn counts(
    columns: &[u8; sunbeam_ensemble::COLUMNS],
    shares: &[i32; sunbeam_ensemble::COLUMNS],
) -> Vec<Weight> {
    const SUMS: [&str; 3] = ["mean_of_pieces", "worst_run_of_pieces", "sum_of_pieces"];
    let names = texts::TABLE.iter().map(|row| (row.name, row.unit)).chain(SUMS.map(|name| (name, "1/255")));
    let rows = names.zip(columns).zip(shares);
    let mut weights: Vec<Weight> = rows
        .map(|(((name, unit), value), share)| Weight { name, value: (*value).into(), unit, share: *share })
        .collect();
    weights.sort_by_key(|weight| -weight.share.abs());
    weights.truncate(TOLD);
    weights
}

fn piece(symbols: &[u8], end: usize) -> Vec<u8> {
    let piece = symbols.get(end.saturating_sub(3)..=end).unwrap_or_default();
    piece.iter().copied().filter(|symbol| *symbol != texts::START && *symbol != texts::END).collect()
}
