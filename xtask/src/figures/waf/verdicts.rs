// SPDX-License-Identifier: Apache-2.0
//! What is stopped, verdict by verdict, beside libmodsecurity (part `verdicts`).
//!
//! Whether the rules alone say what libmodsecurity says is asked of every row; how much is stopped and let through, of
//! those that no model has learned from. What is stopped is what `waf.mode = "auto"` stops: doubtful is not.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::super::Recorder;
use super::causes::{CAUSES, Cause, StoppedBy};
use super::corpus::{self, Corpus, Row};
use super::engines::{Engines, Said, Word};
use super::page;

const PEER: &str = "libmodsecurity 3.0.9, CRS 4.28";

/// Corpora of what people's browsers asked for, as far as they asked.
pub(super) const WEB_TRAFFIC: [&str; 4] = ["har", "log_semicomplete", "url_brave_req", "url_brave_top500"];

/// A name in figures and tables, and whether that one stops a request.
type Engine = (&'static str, fn(&Said) -> bool);

/// The engines that are compared.
pub(super) const ENGINES: [Engine; 4] = [
    ("libmodsecurity", |said| said.peer),
    ("rules alone", Said::alone_stops),
    ("rules and model", |said| said.together.word == Word::Block),
    ("own rules and model", |said| said.own.word == Word::Block),
];
/// `ENGINES` and, of the last two, what they stop where `waf.mode` is `enforce`.
pub(super) const STRICT: [Engine; 2] = [
    ("rules and model, enforced", |said| said.together.word >= Word::Doubtful),
    ("own rules and model, enforced", |said| said.own.word >= Word::Doubtful),
];

/// Rows of one kind, and how many of them each of [`ENGINES`] and [`STRICT`] stops.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) rows: u32,
    pub(super) stopped: [u32; ENGINES.len() + STRICT.len()],
}

impl Tally {
    fn add(&mut self, said: &Said) {
        self.rows += 1;
        for (stopped, (_, stops)) in self.stopped.iter_mut().zip(ENGINES.iter().chain(&STRICT)) {
            *stopped += u32::from(stops(said));
        }
    }

    pub(super) fn of<'a>(rows: impl Iterator<Item = &'a Said>) -> Self {
        let mut tally = Self::default();
        rows.for_each(|said| tally.add(said));
        tally
    }

    fn percent_stopped(&self, engine: usize) -> f64 {
        let stopped = self.stopped.get(engine).copied().unwrap_or(0);
        100.0 * f64::from(stopped) / f64::from(self.rows.max(1))
    }
}

/// A row on which the rules alone and libmodsecurity differ, and why.
pub(super) struct Difference {
    pub(super) row: usize,
    pub(super) cause: Option<&'static Cause>,
}

/// All that was found.
pub(super) struct Comparison {
    pub(super) corpus: Corpus,
    pub(super) said: Vec<Said>,
    pub(super) differences: Vec<Difference>,
}

impl Comparison {
    /// Rows that no model has learned from.
    pub(super) fn unseen(&self) -> impl Iterator<Item = (&Row, &Said)> {
        self.corpus.rows.iter().zip(&self.said).filter(|(row, _)| row.is_unseen)
    }

    fn tally(&self, is_attack: bool, sources: &[&str]) -> Tally {
        let is_one = |row: &Row| {
            row.is_attack == is_attack && (sources.is_empty() || sources.contains(&row.source.as_str()))
        };
        Tally::of(self.unseen().filter(|(row, _)| is_one(row)).map(|(_, said)| said))
    }
}

pub(super) fn measure(root: &Path, shared: &Path, crs: &Path, recorder: &mut Recorder) -> Result<()> {
    let work = root.join("target/waf-verdicts");
    fs::create_dir_all(&work)?;
    let engines = Engines::new(root, crs, &work)?;
    let corpus = corpus::read(shared)?;
    let said = engines.ask(corpus.rows.iter().map(|row| row.request.as_slice()))?;
    let differences = differences(&engines, &corpus.rows, &said)?;
    let comparison = Comparison { corpus, said, differences };
    page::write(root, &work, &comparison)?;
    note(&comparison, recorder)
}

/// Each known cause is tried on each row that differs in its direction, all in one go.
fn differences(engines: &Engines<'_>, rows: &[Row], said: &[Said]) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    let mut tries: Vec<(usize, &'static Cause, Vec<u8>)> = Vec::new();
    for (row, (request, said)) in rows.iter().zip(said).enumerate().filter(|(_, (_, said))| said.differs()) {
        let stopped_by = if said.peer { StoppedBy::Peer } else { StoppedBy::Us };
        for cause in CAUSES.iter().filter(|cause| cause.stopped_by == stopped_by) {
            if let Some(neutral) = cause.without(&request.request) {
                tries.push((found.len(), cause, neutral));
            }
        }
        found.push(Difference { row, cause: None });
    }
    let answers = engines.ask(tries.iter().map(|(_, _, request)| request.as_slice()))?;
    for ((difference, cause, _), answer) in tries.iter().zip(&answers) {
        let difference = found.get_mut(*difference).context("a difference")?;
        if difference.cause.is_none() && !answer.differs() {
            difference.cause = Some(cause);
        }
    }
    Ok(found)
}

fn note(comparison: &Comparison, recorder: &mut Recorder) -> Result<()> {
    let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    let unexplained = comparison.differences.iter().filter(|difference| difference.cause.is_none()).count();
    let rows = count(comparison.corpus.rows.len());
    recorder.note("verdicts: labelled requests, the same bytes to both", rows, "requests", "")?;
    let name = "verdicts: rules alone beside libmodsecurity, requests on which they differ";
    recorder.note_against(PEER, name, count(comparison.differences.len()), "requests", "")?;
    let name = "verdicts: rules alone beside libmodsecurity, differences without a proved cause";
    recorder.note_against(PEER, name, count(unexplained), "requests", "<= 0")?;
    let (attacks, benign) = (comparison.tally(true, &[]), comparison.tally(false, &[]));
    let web = comparison.tally(false, &WEB_TRAFFIC);
    let what = "requests that no model has learned from";
    recorder.note(&format!("verdicts: attacks among {what}"), f64::from(attacks.rows), "requests", "")?;
    recorder.note(&format!("verdicts: benign ones among {what}"), f64::from(benign.rows), "requests", "")?;
    let rates: [(&str, BTreeMap<&str, f64>, char); 3] = [
        ("attacks stopped", rates(|engine| attacks.percent_stopped(engine)), '>'),
        ("benign requests passed", rates(|engine| 100.0 - benign.percent_stopped(engine)), '>'),
        ("ordinary web traffic stopped", rates(|engine| web.percent_stopped(engine)), '<'),
    ];
    for (name, rates, sign) in rates {
        let theirs = rates.get("libmodsecurity").copied().unwrap_or_default();
        // As it is shown: what is better only past the third digit is no better.
        let goal = format!("{sign} {}", (theirs * 1000.0).round() / 1000.0);
        recorder.note(&format!("verdicts: {name}, libmodsecurity"), theirs, "%", "")?;
        for (engine, _) in &ENGINES[1..] {
            let rate = rates.get(engine).copied().unwrap_or_default();
            let goal = if *engine == "rules alone" { "" } else { &goal };
            recorder.note_against(PEER, &format!("verdicts: {name}, ours, {engine}"), rate, "%", goal)?;
        }
    }
    Ok(())
}

fn rates(rate: impl Fn(usize) -> f64) -> BTreeMap<&'static str, f64> {
    ENGINES.iter().enumerate().map(|(number, (name, _))| (*name, rate(number))).collect()
}
