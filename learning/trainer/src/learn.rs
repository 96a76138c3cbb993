// SPDX-License-Identifier: Apache-2.0
//! Learning a site from its own log: candidates for both detectors, judged beside the models in use on the latest
//! stretch of the log, which neither has seen.
//!
//! What people and programs do on this site moves the payload model by trees of its own, and trains the model of
//! windows together with the recordings that ship. Attacks of all kinds are always among what is learned: a log that
//! holds none must not teach that there are none.

use std::collections::HashSet;

use sunbeam_datasets::{Label, Record, request_key};
use sunbeam_ensemble::{DdosModel, PayloadModel, ScannerModel};

use crate::boosting::Growing;
use crate::cascade::CascadeError;
use crate::ddos::{self, DdosTraining};
use crate::evaluation::window;
use crate::payload::{self, Bag, own_records};
use crate::sides::{Side, side};
use crate::windows::{Sighting, sightings};

/// How a site is learned.
#[derive(Clone, Copy, Debug)]
pub struct Learning {
    /// Of everything that chance decides.
    pub seed: u64,
    /// The share of the log that is kept for judging, the latest.
    pub latest: f64,
}

impl Default for Learning {
    fn default() -> Self {
        Self { seed: 1, latest: 0.3 }
    }
}

/// Records of which so many are needed on either side of the split.
pub const RECORDS_MIN: usize = 200;

/// Why nothing was learned. Shown to the operator as it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LearnError {
    /// Too little to say anything.
    #[error(
        "{found} labelled benign requests are too few: at least {RECORDS_MIN} are needed to learn from and as many to judge by"
    )]
    TooFew {
        /// How many there are on the smaller side.
        found: usize,
    },
    /// Nothing to tell apart.
    #[error(transparent)]
    Cascade(#[from] CascadeError),
}

/// A detector's model in use, and its candidate, on what neither has seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Duel {
    /// What was judged.
    pub what: &'static str,
    /// Benign ones.
    pub benign: u64,
    /// Of them, stopped by the model in use and by the candidate.
    pub benign_stopped: [u64; 2],
    /// Attacks: those of the log, and those that no log need have.
    pub attacks: u64,
    /// Of them, stopped by the model in use and by the candidate.
    pub attacks_stopped: [u64; 2],
    /// Scores of either with what it is, for curves: logits from where doubt begins.
    pub scores: [Vec<(f64, bool)>; 2],
}

impl Duel {
    const fn new(what: &'static str) -> Self {
        Self {
            what,
            benign: 0,
            benign_stopped: [0; 2],
            attacks: 0,
            attacks_stopped: [0; 2],
            scores: [Vec::new(), Vec::new()],
        }
    }

    fn add(&mut self, is_attack: bool, scores: [f64; 2]) {
        let stopped = scores.map(|score| u64::from(score >= 0.0));
        let (count, sums) = if is_attack {
            (&mut self.attacks, &mut self.attacks_stopped)
        } else {
            (&mut self.benign, &mut self.benign_stopped)
        };
        *count += 1;
        for (sum, stopped) in sums.iter_mut().zip(stopped) {
            *sum += stopped;
        }
        for (list, score) in self.scores.iter_mut().zip(scores) {
            list.push((score, is_attack));
        }
    }

    /// Better on one side and not worse on the other: a fifth of a percent of attacks is no difference.
    pub fn is_won(&self) -> bool {
        let [old, new] = self.attacks_stopped;
        let slack = self.attacks / 500;
        let [old_benign, new_benign] = self.benign_stopped;
        (new_benign < old_benign && new + slack >= old) || (new_benign == old_benign && new > old)
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Learned {
    /// The scanner's candidate.
    pub scanner: ScannerModel,
    /// The candidate for windows.
    pub ddos: DdosModel,
    /// Texts.
    pub texts: Duel,
    /// Windows.
    pub windows: Duel,
    /// Records that were learned from and judged by.
    pub records: [usize; 2],
    /// Moment from which on the log was kept for judging; none where it was split by groups, for it tells no time.
    pub judged_from_micros: Option<i64>,
}

/// Learns from labelled records in the order of their time; unlabelled ones teach nothing. `recordings` are of other
/// sites' visitors and attackers.
///
/// # Errors
/// When there is too little to learn from or to judge by.
pub fn learn(
    records: &[Record],
    recordings: &[Record],
    in_use: (&ScannerModel, &DdosModel),
    learning: &Learning,
) -> Result<Learned, LearnError> {
    let (earlier, latest, judged_from_micros) = split(records, learning.latest);
    let benign =
        |records: &[&Record]| records.iter().filter(|record| record.label == Some(Label::Benign)).count();
    let found = benign(&earlier).min(benign(&latest));
    if found < RECORDS_MIN {
        return Err(LearnError::TooFew { found });
    }
    let (payload, texts) = learn_texts(&earlier, &latest, &in_use.0.payload, learning.seed);
    let (ddos, windows) = learn_windows(&earlier, &latest, recordings, in_use.1, learning.seed)?;
    let scanner = ScannerModel { payload, ..in_use.0.clone() };
    Ok(Learned { scanner, ddos, texts, windows, records: [earlier.len(), latest.len()], judged_from_micros })
}

/// By time where all records tell it, else by groups.
fn split(records: &[Record], latest: f64) -> (Vec<&Record>, Vec<&Record>, Option<i64>) {
    let labelled: Vec<&Record> = records.iter().filter(|record| record.label.is_some()).collect();
    if labelled.iter().any(|record| record.at_micros.is_none()) {
        let (earlier, judged) = labelled.into_iter().partition(|record| side(&record.group) == Side::Train);
        return (earlier, judged, None);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a count"
    )]
    let at = (labelled.len() as f64 * (1.0 - latest.clamp(0.05, 0.95))) as usize;
    let from = labelled.get(at).and_then(|record| record.at_micros);
    let (earlier, judged) = labelled.split_at(at.min(labelled.len()));
    (earlier.to_vec(), judged.to_vec(), from)
}

/// Trees of its own for the site; what is judged is no copy of what was learned.
fn learn_texts(
    earlier: &[&Record],
    latest: &[&Record],
    in_use: &PayloadModel,
    seed: u64,
) -> (PayloadModel, Duel) {
    const OF_EACH: usize = 60;
    let own = payload::bags_of(own_records(OF_EACH, seed).into_iter());
    let (own_learned, own_judged): (Vec<Bag>, Vec<Bag>) =
        own.into_iter().partition(|bag| bag.side == Side::Train);
    let known: HashSet<u128> = earlier.iter().map(|record| request_key(record)).collect();
    let mut bags = payload::bags_of(earlier.iter().map(|record| (*record).clone()));
    bags.extend(own_learned);
    let growing = Growing { rate: 0.3, ridge: 8.0, ignored: 0 };
    let candidate = payload::adapt(in_use, &bags, &growing);
    let unseen = latest.iter().filter(|record| !known.contains(&request_key(record)));
    let judged = unseen
        .filter_map(|record| payload::bag_of(record))
        .chain(own_judged.into_iter().filter(|bag| bag.is_attack));
    let mut duel = Duel::new("texts");
    for bag in judged {
        let score = |model: &PayloadModel| f64::from(payload::score(model, &bag) - model.doubtful) / 256.0;
        duel.add(bag.is_attack, [score(in_use), score(&candidate)]);
    }
    (candidate, duel)
}

/// The recordings and the site's earlier visitors together.
fn learn_windows(
    earlier: &[&Record],
    latest: &[&Record],
    recordings: &[Record],
    in_use: &DdosModel,
    seed: u64,
) -> Result<(DdosModel, Duel), CascadeError> {
    let recorded = sightings(recordings.iter());
    let mut learned: Vec<Sighting> = recorded.clone();
    learned.extend(sightings(earlier.iter().copied()));
    let candidate = ddos::train_on_all(&learned, &DdosTraining::new(seed))?;
    let mut duel = Duel::new("windows");
    let attacks = recorded.iter().filter(|one| one.is_attack);
    for one in sightings(latest.iter().copied()).iter().chain(attacks) {
        let score = |model: &DdosModel| if window(model, one).0 { 1.0 } else { -1.0 };
        duel.add(one.is_attack, [score(in_use), score(&candidate)]);
    }
    Ok((candidate, duel))
}
