// SPDX-License-Identifier: Apache-2.0
//! Learning a site from its own log: candidates for both detectors, judged beside the models in use on the latest
//! stretch of the log, which neither has seen.
//!
//! What people and programs do on this site moves the payload model by trees of its own, and trains the model of
//! windows together with the recordings that ship. What somebody labelled teaches what is odd for this application.
//! Attacks of all kinds are always among what is learned: a log that holds none must not teach that there are none.
//!
//! Who can write to a log must not thereby teach: copies weigh as three at most, a client's many different doubtful
//! requests as the root of their number, and a rule of thumb neither calls something an attack nor overrules what the
//! model in use is certain of.

mod duel;
mod texts;
mod windows;

use std::collections::HashMap;

use sunbeam_datasets::clean::{CleanReport, Limits, Survey, TooManyRequests};
use sunbeam_datasets::{Label, LabelSource, Record, request_key};
use sunbeam_ensemble::{DdosModel, ScannerModel};

pub use crate::payload::OWN_ATTACKS;
pub use duel::{BENIGN_ONE_OF, Duel, Outcome, Robustness, SLACK, Sample};

use crate::cascade::CascadeError;
use crate::payload::Progress;
use crate::sides::{Side, SiteGroups};

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

/// What is learned from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Material<'a> {
    /// The site's labelled records, in the order of their time; see [`weighed`].
    pub site: &'a [Record],
    /// Sessions of other sites' visitors and attackers.
    pub recordings: &'a [Record],
    /// Labelled requests of other sites and corpora, besides those of our own; may be none.
    pub general: &'a [Record],
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
    /// Of the records that were learned from, benign ones and attacks that somebody labelled: what is odd for this
    /// application is learned from [`RECORDS_MIN`] of either.
    pub labelled: [usize; 2],
    /// Requests that a rule of thumb called benign and the model in use is certain of: they were left out.
    pub distrusted: usize,
    /// Moment from which on the log was kept for judging; none where it was split by groups, for it tells no time.
    pub judged_from_micros: Option<i64>,
}

/// Records as they teach: copies go up in one that weighs three at most. What a log tells of a client is kept, without
/// weight, for its window.
///
/// # Errors
/// When there are more different requests than [`Limits::requests_max`].
pub fn weighed(records: Vec<Record>) -> Result<(Vec<Record>, CleanReport), TooManyRequests> {
    let mut survey = Survey::new(Limits::default());
    records.iter().try_for_each(|record| survey.note(record))?;
    let mut cleaner = survey.finish();
    let mut kept = Vec::with_capacity(records.len());
    for record in records {
        let is_sighting = record.at_micros.is_some() && !record.client.is_empty();
        let sighting = is_sighting.then(|| record.clone());
        let admitted = cleaner.admit(record);
        kept.extend(admitted.or_else(|| sighting.map(|sighting| Record { weight_percent: 0, ..sighting })));
    }
    Ok((kept, cleaner.into_report()))
}

/// Learns from labelled records; unlabelled ones teach nothing.
///
/// # Errors
/// When there is too little to learn from or to judge by.
pub fn learn(
    material: &Material<'_>,
    in_use: (&ScannerModel, &DdosModel),
    learning: &Learning,
    progress: &mut Progress<'_>,
) -> Result<Learned, LearnError> {
    let Parted { earlier, latest, from_micros } = part(material.site, learning.latest);
    let benign =
        |records: &[&Record]| records.iter().filter(|record| record.label == Some(Label::Benign)).count();
    let found = benign(&earlier).min(benign(&latest));
    if found < RECORDS_MIN {
        return Err(LearnError::TooFew { found });
    }
    let general = labelled(material.general);
    progress("texts", 0, STEPS);
    let of_texts = texts::learn(&earlier, &latest, &general, in_use.0, learning.seed);
    progress("windows", 1, STEPS);
    let recordings: Vec<&Record> = material.recordings.iter().chain(general).collect();
    let (ddos, windows) = windows::learn(&earlier, &latest, &recordings, in_use.1, learning.seed)?;
    progress("windows", STEPS, STEPS);
    Ok(Learned {
        scanner: of_texts.model,
        ddos,
        texts: of_texts.duel,
        windows,
        records: [earlier.len(), latest.len()],
        labelled: of_texts.labelled,
        distrusted: of_texts.distrusted,
        judged_from_micros: from_micros,
    })
}

/// Of [`learn`].
const STEPS: usize = 2;

/// Those that teach. A rule's word on an attack is about what a client did and teaches nothing: a model that learned
/// it would be the rule again, and be measured by it.
fn labelled(records: &[Record]) -> Vec<&Record> {
    let teaches = |record: &&Record| match record.label {
        Some(Label::Benign) => true,
        Some(Label::Attack) => !matches!(record.label_source, LabelSource::Heuristic(_)),
        None => false,
    };
    records.iter().filter(teaches).collect()
}

/// Which of the site's records judge and teach nothing: those of the latest stretch, or by groups where that is how the
/// log was split ([`Learned::judged_from_micros`]).
pub fn is_judged(site: &[Record], judged_from_micros: Option<i64>) -> Vec<bool> {
    if let Some(from) = judged_from_micros {
        return site.iter().map(|record| record.at_micros.is_some_and(|at| at >= from)).collect();
    }
    let groups = SiteGroups::of(&labelled(site));
    site.iter().map(|record| groups.side(record) == Side::Validation).collect()
}

/// The two stretches.
struct Parted<'a> {
    earlier: Vec<&'a Record>,
    latest: Vec<&'a Record>,
    from_micros: Option<i64>,
}

/// By time where all records tell it, else by groups.
fn part(records: &[Record], latest: f64) -> Parted<'_> {
    let labelled = labelled(records);
    if labelled.iter().any(|record| record.at_micros.is_none()) {
        let groups = SiteGroups::of(&labelled);
        let (earlier, latest) = labelled.into_iter().partition(|record| groups.side(record) == Side::Train);
        return Parted { earlier, latest, from_micros: None };
    }
    let at = cut(&labelled, latest);
    let from_micros = labelled.get(at).and_then(|record| record.at_micros);
    let (earlier, latest) = labelled.split_at(at);
    Parted { earlier: earlier.to_vec(), latest: latest.to_vec(), from_micros }
}

/// Where the latest stretch begins. Copies of a request count as three at most: nobody moves it by asking again and
/// again.
fn cut(labelled: &[&Record], latest: f64) -> usize {
    const COPIES_MAX: u32 = 3;
    let mut copies: HashMap<u128, u32> = HashMap::new();
    let mut counts = |record: &&Record| {
        let count = copies.entry(request_key(record)).or_default();
        *count += 1;
        u32::from(*count <= COPIES_MAX)
    };
    let counted: Vec<u32> = labelled.iter().map(&mut counts).collect();
    let all: u32 = counted.iter().sum();
    let earlier = f64::from(all) * (1.0 - latest.clamp(0.05, 0.95));
    let mut sum = 0;
    let is_earlier = |count: &&u32| {
        sum += **count;
        f64::from(sum) <= earlier
    };
    counted.iter().take_while(is_earlier).count()
}
