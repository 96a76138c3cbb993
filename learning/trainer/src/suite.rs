// SPDX-License-Identifier: Apache-2.0
//! The models that ship, from the corpora and recordings that they are trained on.

use std::ops::ControlFlow;
use std::path::Path;

use sunbeam_datasets::clean::{Limits, TooManyRequests, clean};
use sunbeam_datasets::sources::{GivenLabel, ReadError, ReadOptions, read, read_from};
use sunbeam_datasets::{Label, LabelSource, Record, in_order};
use sunbeam_ensemble::{DdosModel, ScannerModel};

use crate::cascade::CascadeError;
use crate::ddos::{self, DdosTraining};
use crate::payload::{self, Bag, PayloadTraining, Progress, own_probes, own_records};
use crate::scanner::{self, ScannerTraining, Visit};
use crate::windows::{Sighting, sightings};

/// Why there is nothing to learn from. Shown as it stands.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// A file.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Too much.
    #[error(transparent)]
    TooMany(#[from] TooManyRequests),
}

/// A file of records.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Where it is.
    pub file: String,
    /// What it calls itself.
    pub source: String,
    /// Of its bytes.
    pub sha256: String,
    /// How many it held.
    pub records: u64,
}

/// The logs among the corpora that tell the time; `requests.jsonl.zst` holds them too, without it.
const LOGS: [(&str, &str, Label); 2] = [
    ("orig/logs/semicomplete_apache_logs.zst", "log_semicomplete", Label::Benign),
    ("orig/ocatak/acunetix.txt.zst", "scan_acunetix", Label::Attack),
];

/// Reads everything that the shipped models learn from: the folder of corpora, and the recordings of our own traffic.
///
/// # Errors
/// When a file is missing or cannot be read.
pub fn records(corpora: &Path, recordings: &Path) -> Result<(Vec<Record>, Vec<Origin>), RecordsError> {
    let (mut records, mut origins) = (Vec::new(), Vec::new());
    let mut take = |path: &Path,
                    options: &ReadOptions,
                    once: Option<Limits>,
                    keep: &dyn Fn(&Record) -> bool|
     -> Result<(), RecordsError> {
        let mut found = Vec::new();
        let report = read(path, options, &mut |record| {
            if keep(&record) {
                found.push(record);
            }
            ControlFlow::Continue(())
        })?;
        origins.push(Origin {
            file: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            source: options.source.clone().unwrap_or_else(|| "corpora".to_owned()),
            sha256: report.sha256,
            records: report.records,
        });
        records.extend(match once {
            Some(limits) => clean(found, limits)?.0,
            None => in_order(found).0,
        });
        Ok(())
    };
    let is_log = |record: &Record| LOGS.iter().any(|(_, source, _)| *source == record.source);
    // Copies of a request in a corpus say nothing new; in a log they are what happened.
    let once = Limits { copies_percent: 100, source_rows: u32::MAX, ..Limits::default() };
    take(&corpora.join("requests.jsonl.zst"), &ReadOptions::default(), Some(once), &|record| {
        !is_log(record)
    })?;
    for (file, source, label) in LOGS {
        let label = Some(GivenLabel { label, source: LabelSource::Corpus });
        let options = ReadOptions {
            source: Some(source.to_owned()),
            class: Some(source.to_owned()),
            label,
            ..ReadOptions::default()
        };
        take(&corpora.join(file), &options, None, &|_| true)?;
    }
    let options = ReadOptions { source: Some("traffic".to_owned()), ..ReadOptions::default() };
    take(recordings, &options, None, &|_| true)?;
    Ok((records, origins))
}

/// The recordings of our own traffic, which are compiled in: visitors and attackers that no log need have.
///
/// # Errors
/// Never, unless the program is damaged.
pub fn recordings() -> Result<Vec<Record>, ReadError> {
    let mut packed: &[u8] = include_bytes!("../../traces/traffic.jsonl.zst");
    let options = ReadOptions { source: Some("traffic".to_owned()), ..ReadOptions::default() };
    let mut found = Vec::new();
    read_from(&mut packed, &options, &mut |record| {
        found.push(record);
        ControlFlow::Continue(())
    })?;
    Ok(in_order(found).0)
}

/// One application's requests teach its own ways, which are no attacks elsewhere: they never train what ships.
pub fn is_general(record: &Record) -> bool {
    !record.source.starts_with("csic")
}

/// Rows of one corpus that say they are benign and are injections of commands and SQL, found by looking at those that
/// models trained without them call certain. They are left out, of training and of figures.
fn is_mislabelled(bag: &Bag) -> bool {
    const INJECTIONS: [&str; 12] = [
        "sleep 0",
        "uname",
        "/usr/bin/id",
        "passthru",
        "select null",
        "boot.ini",
        "win.ini",
        "| id",
        "|id",
        "generate_sql_error",
        "|ping",
        "ping -",
    ];
    let has = |symbols: &[u8]| {
        let text = String::from_utf8_lossy(symbols);
        INJECTIONS.iter().any(|injection| text.contains(injection))
    };
    bag.source == "grananqvist" && !bag.is_attack && bag.texts.iter().any(|text| has(&text.facts.symbols))
}

/// The bags of the payload model: texts whose labels are about texts.
pub fn bags(records: &[Record], seed: u64) -> Vec<Bag> {
    let about_texts = |record: &&Record| {
        is_general(record) && !matches!(&*record.source, "paths_dirsearch" | "scan_acunetix" | "traffic")
    };
    let mut bags =
        payload::bags_of(records.iter().filter(about_texts).cloned().chain(own_records(OF_EACH, seed)));
    bags.retain(|bag| !is_mislabelled(bag));
    bags
}

/// Texts of our own of each template.
const OF_EACH: usize = 60;

/// The visits of the scanner's other models.
pub fn visits(records: &[Record], seed: u64) -> Vec<Visit> {
    let general = records.iter().filter(|record| is_general(record)).cloned();
    let all: Vec<Record> = general.chain(own_probes(OF_EACH, seed)).collect();
    scanner::visits(&all, seed)
}

/// The sessions of the model of windows.
pub fn sessions(records: &[Record]) -> Vec<Sighting> {
    sightings(records.iter().filter(|record| is_general(record)))
}

/// Trains all models of the scanner.
///
/// # Errors
/// When the records are all of one class.
pub fn train_scanner(
    bags: &[Bag],
    visits: &[Visit],
    seed: u64,
    cookie_weight: f32,
    progress: &mut Progress<'_>,
) -> Result<ScannerModel, CascadeError> {
    let training = ScannerTraining { cookie_weight, ..ScannerTraining::new(seed) };
    train_scanner_as(bags, visits, &PayloadTraining::new(seed), &training, progress)
}

/// The same, as one likes.
///
/// # Errors
/// When the records are all of one class.
pub fn train_scanner_as(
    bags: &[Bag],
    visits: &[Visit],
    of_texts: &PayloadTraining,
    training: &ScannerTraining,
    progress: &mut Progress<'_>,
) -> Result<ScannerModel, CascadeError> {
    let payload = payload::train(bags, of_texts, progress);
    scanner::train(visits, payload, training, progress)
}

/// Trains the model of windows.
///
/// # Errors
/// When the records are all of one class.
pub fn train_ddos(sessions: &[Sighting], seed: u64) -> Result<DdosModel, CascadeError> {
    ddos::train_on_all(sessions, &DdosTraining::new(seed))
}
