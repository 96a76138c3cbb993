// SPDX-License-Identifier: Apache-2.0
//! The scanner's models but for payloads: which paths probes ask for, and what a request looks like beside its path.
//!
//! Lists of paths have no headers of their own, so each of their paths is given the headers of clients that were
//! really seen, those of browsers as often as those of tools: a scanner may copy a browser's.

use std::collections::HashSet;

use sunbeam_datasets::{Label, Record};
use sunbeam_ensemble::{
    ApplicationModel, INPUT_MAX, INPUTS, PATH_GRAMS, PathModel, PayloadModel, Reference, ScannerModel,
};
use sunbeam_features::canonical::{PathNotes, canonical_path};
use sunbeam_features::{AgentClass, agent_class, payload, probe, scanner};

use crate::arithmetic::Chance;
use crate::balance;
use crate::cascade::{self, CascadeError, CascadeTraining, Row};
use crate::grams::{GramBag, GramTraining, GramWeights, train as train_grams};
use crate::payload::Progress;
use crate::reference::reference;
use crate::sides::{Side, fold, side};
use crate::zones;

/// How they are trained.
#[derive(Clone, Copy, Debug)]
pub struct ScannerTraining {
    /// Of n-grams of paths.
    pub grams: GramTraining,
    /// Of tree and perceptron.
    pub cascade: CascadeTraining,
    /// What a cookie is worth, from 0 (nothing) to 1 (as much as any other feature).
    pub cookie_weight: f32,
    /// Of benign requests, how many the doubtful zone may hold.
    pub false_positive_rate: f64,
}

impl ScannerTraining {
    /// What ships.
    pub fn new(seed: u64) -> Self {
        Self {
            grams: GramTraining { rounds: 8, rate: 0.3, decay: 1e-5, seed, benign_texts: 1, warm_rounds: 0 },
            cascade: CascadeTraining {
                free: 1 << scanner::COOKIES | 1 << scanner::REFERER,
                tree_allow: 0.02,
                tree_block: 0.99,
                perceptron: crate::perceptron::PerceptronTraining { seed, ..Default::default() },
            },
            cookie_weight: 0.5,
            false_positive_rate: 0.001,
        }
    }
}

/// A request as the scanner's models read it.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Where it is from.
    pub source: String,
    /// The tool, or the kind of people.
    pub class: String,
    /// Of the record.
    pub group: String,
    /// What it is.
    pub is_attack: bool,
    /// How much it counts.
    pub weight: f32,
    /// Learned from, or judged by.
    pub side: Side,
    symbols: Vec<u8>,
    path: Vec<u8>,
    notes: PathNotes,
    client: Client,
}

/// What a client sends with every request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Client {
    method: String,
    host: String,
    agent: AgentClass,
    accept: String,
    has_language: bool,
    has_cookies: bool,
    has_referer: bool,
    content_length: u64,
}

impl Client {
    fn of(record: &Record) -> Self {
        Self {
            method: record.method.clone(),
            host: if record.host.is_empty() { "www.example.org".to_owned() } else { record.host.clone() },
            agent: agent_class(&record.user_agent),
            accept: record.accept.clone(),
            has_language: !record.accept_language.is_empty(),
            has_cookies: record.has_cookies,
            has_referer: !record.referer.is_empty(),
            content_length: record.content_length,
        }
    }
}

impl Visit {
    fn new(record: &Record, client: Client, is_attack: bool) -> Self {
        let mut path = Vec::new();
        let notes = canonical_path(record.path.as_bytes(), &mut path);
        let mut facts = payload::Facts::default();
        payload::read(&path, &mut facts);
        Self {
            source: record.source.clone(),
            class: record.class.clone(),
            group: record.group.clone(),
            is_attack,
            weight: 1.0,
            side: side(&record.group),
            symbols: facts.symbols,
            path,
            notes,
            client,
        }
    }

    /// The features, by what a model says of the path.
    pub fn features(&self, paths: &PathModel) -> [u8; scanner::COUNT] {
        scanner::read(&scanner::Facts {
            path_score: paths.score(&self.symbols),
            path: &self.path,
            probe: probe(&self.path),
            notes: self.notes,
            method: &self.client.method,
            host: &self.client.host,
            agent: self.client.agent,
            accept: self.client.accept.as_bytes(),
            has_language: self.client.has_language,
            has_cookies: self.client.has_cookies,
            has_referer: self.client.has_referer,
            content_length: self.client.content_length,
        })
    }

    /// The canonical path.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// What no site means to serve was asked for.
    pub fn has_sign(&self) -> bool {
        scanner::has_sign(probe(&self.path), &self.notes)
    }
}

/// Records whose clients are real, and paths that are given real clients.
pub fn visits(records: &[Record], seed: u64) -> Vec<Visit> {
    let clients = |label: Label| -> Vec<Client> {
        let real = |record: &&Record| {
            record.label == Some(label) && record.has_own_headers && !record.accept.is_empty()
        };
        let of_tools = |record: &&Record| {
            record.has_own_headers && record.label == Some(label) && label == Label::Attack
        };
        records.iter().filter(|record| real(record) || of_tools(record)).map(Client::of).collect()
    };
    let (people, tools) = (clients(Label::Benign), clients(Label::Attack));
    let mut chance = Chance::new(seed);
    let mut visits = Vec::new();
    for record in records {
        match role(record) {
            Role::None => {}
            Role::Visit(is_attack) => visits.push(Visit::new(record, Client::of(record), is_attack)),
            Role::Path(is_attack) => {
                let of_people = !is_attack || tools.is_empty() || chance.below(2) == 0;
                let clients = if of_people { &people } else { &tools };
                if let Some(client) = clients.get(chance.below(clients.len())) {
                    let client =
                        Client { method: record.method.clone(), content_length: 0, ..client.clone() };
                    visits.push(Visit::new(record, client, is_attack));
                }
            }
        }
    }
    // What is asked for again and again says no more than once.
    let mut seen = HashSet::new();
    visits.retain(|visit| seen.insert((visit.is_attack, visit.path.clone(), visit.client.clone())));
    let rows: Vec<_> = visits.iter().map(|visit| (visit.is_attack, &*visit.source, 1.0)).collect();
    let factors = balance::factors(&rows);
    visits.iter_mut().zip(factors).for_each(|(visit, factor)| visit.weight = factor);
    visits
}

/// What a record teaches.
enum Role {
    None,
    /// A request as it came.
    Visit(bool),
    /// Its path only.
    Path(bool),
}

/// A tool's visit to a page that is there looks like anybody's: only what it looked for in vain was a probe.
fn role(record: &Record) -> Role {
    let is_found = (200..400).contains(&record.status);
    match (record.label, record.has_own_headers) {
        (Some(Label::Benign), true) if record.status == 0 || is_found => Role::Visit(false),
        (Some(Label::Benign), true) if !record.accept.is_empty() => Role::Visit(false),
        (Some(Label::Benign), false) if record.source.starts_with("url_") => Role::Path(false),
        (Some(Label::Attack), true)
            if record.status == 404 || record.status == 400 || record.status == 405 =>
        {
            Role::Visit(true)
        }
        (Some(Label::Attack), false) if record.class == "probe_path" => Role::Path(true),
        _ => Role::None,
    }
}

const FOLDS: usize = 3;

/// Trains on the training side; the scores from which on a request is doubtful or certain are from the other.
///
/// # Errors
/// When there is but one class, or nothing but what clients choose tells classes apart.
pub fn train(
    visits: &[Visit],
    payload: PayloadModel,
    training: &ScannerTraining,
    progress: &mut Progress<'_>,
) -> Result<ScannerModel, CascadeError> {
    let learned: Vec<&Visit> = visits.iter().filter(|visit| visit.side == Side::Train).collect();
    let (paths, folds) = path_models(&learned, &training.grams, progress);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 127")]
    let cookie = (training.cookie_weight.clamp(0.0, 1.0) * f32::from(INPUT_MAX)).round() as u8;
    let mut model = ScannerModel {
        payload,
        application: ApplicationModel::NONE,
        paths,
        cascade: cascade::none(),
        cookie,
        payload_share: 256,
        reference: Reference::default(),
    };
    let row = |visit: &&Visit| -> Option<Row> {
        let features = visit.features(folds.get(fold(&visit.group, FOLDS))?);
        Some(Row { inputs: model.inputs(&features), is_attack: visit.is_attack, weight: visit.weight })
    };
    let free = [scanner::COOKIES, scanner::REFERER];
    let rows: Vec<Row> =
        learned.iter().filter_map(row).flat_map(|row| cascade::whatever_is_sent(&row, free)).collect();
    progress("tree and perceptron", 0, 1);
    model.cascade = cascade::train(&rows, &training.cascade)?;
    let validation: Vec<&Visit> = visits.iter().filter(|visit| visit.side == Side::Validation).collect();
    let judged = |model: &ScannerModel, of: &dyn Fn(&Visit) -> bool| -> Vec<i32> {
        let benign = validation.iter().filter(|visit| !visit.is_attack && of(visit));
        benign.map(|visit| model.judge(&visit.features(&model.paths), i32::MIN, i32::MIN).logit).collect()
    };
    let all = judged(&model, &|_| true);
    zones::shift(&mut model.cascade, zones::doubtful(&all, training.false_positive_rate));
    model.cascade.certain = zones::certain(&judged(&model, &Visit::has_sign));
    let scored: Vec<([u8; INPUTS], i32)> = validation
        .iter()
        .map(|visit| {
            let features = visit.features(&model.paths);
            (model.inputs(&features), model.judge(&features, i32::MIN, i32::MIN).logit)
        })
        .collect();
    model.reference = reference(&rows, &scored);
    Ok(model)
}

/// Features of both sides as rows of the cascade, cookies with their whole weight: of the training side by models of
/// paths that have not seen them.
pub(crate) fn rows(
    visits: &[Visit],
    training: &ScannerTraining,
    progress: &mut Progress<'_>,
) -> (Vec<Row>, Vec<Row>) {
    let on = |side: Side| visits.iter().filter(move |visit| visit.side == side);
    let learned: Vec<&Visit> = on(Side::Train).collect();
    let (paths, folds) = path_models(&learned, &training.grams, progress);
    let row = |visit: &Visit, paths: &PathModel| {
        let mut inputs = [0; INPUTS];
        for (input, feature) in inputs.iter_mut().zip(visit.features(paths)) {
            *input = feature;
        }
        Row { inputs, is_attack: visit.is_attack, weight: visit.weight }
    };
    let of_folds = |visit: &&Visit| Some(row(visit, folds.get(fold(&visit.group, FOLDS))?));
    let validation = on(Side::Validation).map(|visit| row(visit, &paths)).collect();
    (learned.iter().filter_map(of_folds).collect(), validation)
}

/// A model of all paths, and those of all but a part.
fn path_models(
    learned: &[&Visit],
    training: &GramTraining,
    progress: &mut Progress<'_>,
) -> (PathModel, Vec<PathModel>) {
    progress("paths", 0, FOLDS + 1);
    let paths = path_model(learned, training, None);
    let mut folds = Vec::new();
    for part in 0..FOLDS {
        progress("paths", part + 1, FOLDS + 1);
        let others: Vec<&Visit> =
            learned.iter().filter(|visit| fold(&visit.group, FOLDS) != part).copied().collect();
        folds.push(path_model(&others, training, Some(&paths)));
    }
    (paths, folds)
}

fn path_model(visits: &[&Visit], training: &GramTraining, like: Option<&PathModel>) -> PathModel {
    let texts: Vec<[&[u8]; 1]> = visits.iter().map(|visit| [&visit.symbols[..]]).collect();
    let bags: Vec<GramBag<'_>> = visits
        .iter()
        .zip(&texts)
        .map(|(visit, texts)| GramBag { texts, is_attack: visit.is_attack, weight: visit.weight })
        .collect();
    let weights: GramWeights<PATH_GRAMS> = train_grams(&bags, training);
    let grams = weights.quantised(weights.clip(1000));
    let scale = like.map_or_else(|| scale(&grams, visits), |like| like.scale);
    PathModel { grams, scale, middle: 50 }
}

/// So that a typical probe scores 90.
fn scale(grams: &sunbeam_ensemble::Grams<PATH_GRAMS>, visits: &[&Visit]) -> i32 {
    let attacks = visits.iter().filter(|visit| visit.is_attack);
    let mut means: Vec<i32> = attacks.map(|visit| grams.sums(&visit.symbols).mean()).collect();
    means.sort_unstable();
    let typical = means.get(means.len() * 6 / 10).copied().unwrap_or(1).max(1);
    40 * 65_536 / typical
}
