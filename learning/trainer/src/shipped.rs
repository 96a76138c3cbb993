// SPDX-License-Identifier: Apache-2.0
//! The models that ship: trained from the corpora and recordings, written as code, with their cards as pages. The same
//! data and seed give the same bytes, which CI compares.

use std::path::Path;

use sunbeam_datasets::Record;
use sunbeam_ensemble::{Card, DdosModel, Model, ModelFile, ScannerModel};

use crate::cascade::CascadeError;
use crate::ddos::DdosTraining;
use crate::evaluation::{self, Parts};
use crate::payload::Bag;
use crate::scanner::Visit;
use crate::suite::{self, Origin, RecordsError};
use crate::windows::Sighting;

/// Of everything that chance decides in training.
const SEED: u64 = 1;
/// What a cookie is worth. `sweep-cookie-weight` finds next to no difference between 0 and 1 (whoever sends one chooses
/// it, so that it must not decide); this is the middle.
const COOKIE_WEIGHT: f32 = 0.5;

/// Everything that is learned from.
#[derive(Clone, Debug)]
pub struct Material {
    /// The files.
    pub origins: Vec<Origin>,
    /// What stood in them.
    pub records: Vec<Record>,
    /// For the payload model.
    pub bags: Vec<Bag>,
    /// For the scanner's other models.
    pub visits: Vec<Visit>,
    /// For the model of windows.
    pub sessions: Vec<Sighting>,
}

impl Material {
    /// Reads it: the folder of corpora, and the recordings of the project in `root`.
    ///
    /// # Errors
    /// When a file is missing or cannot be read.
    pub fn read(corpora: &Path, root: &Path) -> Result<Self, RecordsError> {
        let (records, origins) = suite::records(corpora, &root.join("learning/traces/traffic.jsonl.zst"))?;
        let bags = suite::bags(&records, SEED);
        let visits = suite::visits(&records, SEED);
        let sessions = suite::sessions(&records);
        Ok(Self { origins, records, bags, visits, sessions })
    }
}

impl Material {
    /// Forgets one corpus, or one tool of the recordings, to judge by what never saw it.
    pub fn leave_out(&mut self, name: &str) {
        let is_other = |source: &str, class: &str| source != name && (source != "traffic" || class != name);
        self.bags.retain(|bag| is_other(&bag.source, &bag.class));
        self.visits.retain(|visit| is_other(&visit.source, &visit.class));
        self.sessions.retain(|one| is_other(&one.source, &one.class));
    }
}

/// One number of an evaluation, with what it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// Itself.
    pub value: f64,
    /// `%`
    pub unit: &'static str,
    /// `>= 98.9`; empty where there is none.
    pub goal: &'static str,
}

/// How good the models are on what they have not learned from.
///
/// # Errors
/// When a side is all of one class.
pub fn figures(material: &Material, trained: &Trained) -> Result<Vec<Figure>, CascadeError> {
    let payload = evaluation::payload(&trained.scanner.payload, &material.bags);
    let unseen = evaluation::windows_unseen(&material.sessions, &DdosTraining::new(SEED))?;
    let hard = |source: &str| source.ends_with("(hard)");
    let (attacks, ordinary, deceiving) = (
        payload.parts.all(true, &|_| true),
        payload.parts.all(false, &|source| !hard(source)),
        payload.parts.all(false, &hard),
    );
    let balanced = (attacks.percent(attacks.doubtful) + 100.0 - ordinary.percent(ordinary.doubtful)) / 2.0;
    let mut figures = Vec::new();
    let mut add = |name: &str, value: f64, unit, goal| {
        figures.push(Figure { name: name.to_owned(), value, unit, goal });
    };
    add(
        "payload model: attacks found at one benign request of 1,000",
        100.0 * payload.at_one_permille,
        "%",
        ">= 98.9",
    );
    add("payload model: balanced accuracy at the threshold that ships", balanced, "%", ">= 99.4");
    add("payload model: attacks found at one benign request of 100", 100.0 * payload.at_one_percent, "%", "");
    add("payload model: area under the ROC curve", payload.auc, "", "");
    add("payload model: attacks that are certain", attacks.percent(attacks.certain), "%", "");
    add(
        "payload model: ordinary benign requests that are certain",
        ordinary.certain as f64,
        "requests",
        "<= 0",
    );
    add(
        "payload model: hard negatives that are doubtful",
        deceiving.percent(deceiving.doubtful),
        "%",
        "<= 5",
    );
    add("payload model: hard negatives judged", deceiving.rows as f64, "texts", "");
    for (what, parts) in [("windows", &unseen.windows), ("sessions", &unseen.sessions)] {
        let (attacks, benign) = (parts.all(true, &|_| true), parts.all(false, &|_| true));
        let name = format!("windows model, unseen tools: {what} of attackers that are doubtful");
        add(&name, attacks.percent(attacks.doubtful), "%", ">= 95");
        let name = format!("windows model, unseen sessions: {what} of visitors that are doubtful");
        add(&name, benign.percent(benign.doubtful), "%", "<= 0.1");
        let name = format!("windows model, unseen sessions: {what} of visitors that are certain");
        add(&name, benign.percent(benign.certain), "%", "<= 0.1");
    }
    Ok(figures)
}

/// Both models as files, by name.
pub fn model_files(trained: Trained) -> Vec<(String, Vec<u8>)> {
    let card =
        Card(vec![("version".to_owned(), "1".to_owned()), ("trained_at".to_owned(), TRAINED_AT.to_owned())]);
    [Model::Scanner(Box::new(trained.scanner)), Model::Ddos(Box::new(trained.ddos))]
        .into_iter()
        .map(|model| (format!("{}.model", model.detector()), ModelFile::bytes(&model, &card)))
        .collect()
}

/// The models that ship.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Of requests.
    pub scanner: ScannerModel,
    /// Of windows.
    pub ddos: DdosModel,
}

/// Trains them.
///
/// # Errors
/// When a side is all of one class.
pub fn train(material: &Material) -> Result<Trained, CascadeError> {
    let quiet = &mut |_: &str, _: usize, _: usize| ();
    Ok(Trained {
        scanner: suite::train_scanner(&material.bags, &material.visits, SEED, COOKIE_WEIGHT, quiet)?,
        ddos: suite::train_ddos(&material.sessions, SEED)?,
    })
}

/// Files of the project, by their path in it.
///
/// # Errors
/// When a side is all of one class.
pub fn files(material: &Material, trained: Trained) -> Result<Vec<(String, String)>, CascadeError> {
    let scanner_page = scanner_page(material, &trained.scanner);
    let ddos_page = ddos_page(material, &trained.ddos)?;
    let (scanner_card, ddos_card) = (card(material, "scanner"), card(material, "ddos"));
    let scanner = Model::Scanner(Box::new(trained.scanner));
    let ddos = Model::Ddos(Box::new(trained.ddos));
    let source = crate::export::source;
    Ok(vec![
        ("detection/ensemble/src/gen/scanner.rs".to_owned(), source(&scanner, &scanner_card)),
        ("detection/ensemble/src/gen/ddos.rs".to_owned(), source(&ddos, &ddos_card)),
        ("docs/models/scanner.md".to_owned(), scanner_page),
        ("docs/models/ddos.md".to_owned(), ddos_page),
    ])
}

fn card(material: &Material, detector: &str) -> Card {
    let data: Vec<String> =
        material.origins.iter().map(|origin| format!("{} {}", origin.file, origin.sha256)).collect();
    let pairs = [
        ("detector", detector.to_owned()),
        ("version", "1".to_owned()),
        ("trained_at", TRAINED_AT.to_owned()),
        ("seed", SEED.to_string()),
        ("tool", concat!("sunbeam ", env!("CARGO_PKG_VERSION"), ", native trainer").to_owned()),
        ("data", data.join("; ")),
    ];
    Card(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Written by hand with a change of the models: the day itself would make other bytes tomorrow.
const TRAINED_AT: &str = "2026-11-28";

fn scanner_page(material: &Material, model: &ScannerModel) -> String {
    let payload = evaluation::payload(&model.payload, &material.bags);
    let mut page = head("scanner", "What one request looks like");
    let hard = |source: &str| source.ends_with("(hard)");
    page.push_str(&format!(
        "## The payload model\n\nReads each path, parameter, cookie and JSON leaf alone. On the validation side (a fifth \
         of the groups, none of which was learned from): AUC {:.4}; of attacks it finds {:.2} % at one benign request of \
         1,000, {:.2} % at one of 100. At the scores that ship, doubtful are {} of attacks, {} of ordinary benign \
         requests and {} of those that were collected because they deceive; certain are {} of attacks and {} of \
         ordinary benign requests.\n\n",
        payload.auc,
        100.0 * payload.at_one_permille,
        100.0 * payload.at_one_percent,
        doubtful(&payload.parts, true, &|_| true),
        doubtful(&payload.parts, false, &|source| !hard(source)),
        doubtful(&payload.parts, false, &hard),
        certain(&payload.parts, true, &|_| true),
        certain(&payload.parts, false, &|source| !hard(source)),
    ));
    page.push_str(&table(&payload.parts));
    page.push_str(
        "\n## Paths and headers\n\nTree and perceptron over 12 features. A list of paths has no headers, so its paths were \
         given those of clients that were really seen, browsers' as often as tools'.\n\n",
    );
    page.push_str(&table(&evaluation::scanner(model, &material.visits)));
    page.push_str(&tail(material));
    page
}

fn ddos_page(material: &Material, model: &DdosModel) -> Result<String, CascadeError> {
    let unseen = evaluation::windows_unseen(&material.sessions, &DdosTraining::new(SEED))?;
    let mut page = head("ddos", "What a client has been doing");
    page.push_str(&format!(
        "Tree and perceptron over the 14 features of a client's window, from its tenth request on. Below, each tool is \
         judged by a model that has not seen it, and of visitors each fifth of the sessions by a model of all others. \
         Doubtful are {} of attacks' windows and {} of benign ones; of sessions, {} of attacks' and {} of benign ones. The model that ships was trained on all of them; it is certain from {:.1} on the scale of \
         logits.\n\n",
        doubtful(&unseen.windows, true, &|_| true),
        doubtful(&unseen.windows, false, &|_| true),
        doubtful(&unseen.sessions, true, &|_| true),
        doubtful(&unseen.sessions, false, &|_| true),
        f64::from(model.cascade.certain) / 256.0,
    ));
    page.push_str("Windows:\n\n");
    page.push_str(&table(&unseen.windows));
    page.push_str("\nSessions, as soon as one of their windows is:\n\n");
    page.push_str(&table(&unseen.sessions));
    page.push_str(&tail(material));
    Ok(page)
}

fn doubtful(parts: &Parts, is_attack: bool, of: &dyn Fn(&str) -> bool) -> String {
    let all = parts.all(is_attack, of);
    all.share(all.doubtful)
}

fn certain(parts: &Parts, is_attack: bool, of: &dyn Fn(&str) -> bool) -> String {
    let all = parts.all(is_attack, of);
    all.share(all.certain)
}

fn head(detector: &str, title: &str) -> String {
    format!(
        "# Model card: `{detector}`\n\n<!-- Written by `cargo xtask models`; CI trains again and compares. -->\n\n{title}. \
         How it is used, and what it may decide, stands in [judging](../request-path.md).\n\n"
    )
}

fn table(parts: &Parts) -> String {
    let mut text = String::from(
        "| source | what it is | rows | doubtful or certain (Wilson 95 %) | certain |\n|---|---|---:|---|---|\n",
    );
    for part in &parts.0 {
        let label = if part.is_attack { "attack" } else { "benign" };
        let (doubtful, certain) = (part.share(part.doubtful), part.share(part.certain));
        text.push_str(&format!("| {} | {label} | {} | {doubtful} | {certain} |\n", part.source, part.rows));
    }
    text
}

fn tail(material: &Material) -> String {
    let mut text = format!(
        "\n## Trained on\n\nSeed {SEED}, cookie weight {COOKIE_WEIGHT}, native trainer. {} records after copies were taken \
         out:\n\n| file | source | records | SHA-256 |\n|---|---|---:|---|\n",
        material.records.len()
    );
    for Origin { file, source, sha256, records } in &material.origins {
        text.push_str(&format!("| {file} | {source} | {records} | `{sha256}` |\n"));
    }
    text.push_str(
        "\n## What it does not know\n\nBodies are not read before the WAF reads them. Headers other than those of the \
         features are not read. CSIC 2010 is one application's traffic and trains nothing that ships. No corpus tells \
         what people write in every language: text in scripts other than Latin is nearly unknown to it.\n",
    );
    text
}
