// SPDX-License-Identifier: Apache-2.0
//! The model of windows.

use std::collections::{BTreeMap, BTreeSet};

use sunbeam_ensemble::{DdosModel, INPUTS, Reference};
use sunbeam_features::ddos;

use crate::arithmetic::Chance;
use crate::cascade::{self, CascadeError, CascadeTraining, Row};
use crate::perceptron::PerceptronTraining;
use crate::reference::reference;
use crate::sides::{Side, side};
use crate::windows::Sighting;
use crate::zones;

/// How it is trained.
#[derive(Clone, Copy, Debug)]
pub struct DdosTraining {
    /// Of tree and perceptron.
    pub cascade: CascadeTraining,
    /// Of benign windows, how many the doubtful zone may hold.
    pub false_positive_rate: f64,
}

impl DdosTraining {
    /// What ships.
    pub fn new(seed: u64) -> Self {
        Self {
            cascade: CascadeTraining {
                free: 1 << ddos::COOKIES | 1 << ddos::REFERERS,
                tree_allow: 0.02,
                tree_block: 0.99,
                perceptron: PerceptronTraining { seed, epochs: 120, ..PerceptronTraining::default() },
            },
            false_positive_rate: 0.001,
        }
    }
}

/// The logit at which doubt begins: that of the configuration's default, 0.6.
const DOUBT: i32 = 104;

/// Trains on sightings of the training side: a tool is on one side with all that it did.
///
/// # Errors
/// When there is but one class, or nothing but what clients choose tells classes apart.
pub fn train(sightings: &[Sighting], training: &DdosTraining) -> Result<DdosModel, CascadeError> {
    let learned: Vec<&Sighting> = sightings.iter().filter(|one| one.side() == Side::Train).collect();
    trained(&learned, sightings, training)
}

/// Trains on all of them: for what ships, and for judging what is not among them.
///
/// # Errors
/// As [`train`].
pub fn train_on_all(sightings: &[Sighting], training: &DdosTraining) -> Result<DdosModel, CascadeError> {
    let learned: Vec<&Sighting> = sightings.iter().collect();
    trained(&learned, sightings, training)
}

/// Parts sessions for judging: a quarter of the kinds of attack, by chance, and a fifth of the visitors are kept apart
/// with all that they did. Where there is one kind of attack, it is learned from.
pub fn held_out(sightings: &[Sighting], seed: u64) -> (Vec<Sighting>, Vec<Sighting>) {
    let kinds = sightings.iter().filter(|one| one.is_attack).map(|one| &*one.class);
    let mut kinds: Vec<&str> = kinds.collect::<BTreeSet<_>>().into_iter().collect();
    Chance::new(seed).shuffle(&mut kinds);
    let count = if kinds.len() > 1 { kinds.len().div_ceil(4) } else { 0 };
    let held: BTreeSet<&str> = kinds.into_iter().take(count).collect();
    let is_held = |one: &&Sighting| match one.is_attack {
        true => held.contains(&*one.class),
        false => one.side() == Side::Validation,
    };
    let (judged, learned): (Vec<&Sighting>, Vec<&Sighting>) = sightings.iter().partition(is_held);
    let owned = |some: Vec<&Sighting>| some.into_iter().cloned().collect();
    (owned(learned), owned(judged))
}

fn trained(
    learned: &[&Sighting],
    sightings: &[Sighting],
    training: &DdosTraining,
) -> Result<DdosModel, CascadeError> {
    let rows = rows(learned, training.cascade.perceptron.seed);
    let mut model =
        DdosModel { cascade: cascade::train(&rows, &training.cascade)?, reference: Reference::default() };
    let logits = |model: &DdosModel, of: &dyn Fn(&Sighting) -> bool| -> Vec<i32> {
        let benign = sightings.iter().filter(|one| !one.is_attack && of(one));
        benign.map(|one| model.judge(&one.features, i32::MIN).logit).collect()
    };
    let doubtful = zones::doubtful(&logits(&model, &|_| true), training.false_positive_rate);
    zones::shift(&mut model.cascade, doubtful - DOUBT);
    model.cascade.certain = zones::certain(&logits(&model, &|one| ddos::has_sign(&one.features))).max(DOUBT);
    let scored: Vec<([u8; INPUTS], i32)> =
        sightings.iter().map(|one| (one.inputs, model.judge(&one.features, i32::MIN).logit)).collect();
    model.reference = reference(&rows, &scored);
    Ok(model)
}

impl Sighting {
    /// By its tool or kind.
    pub fn side(&self) -> Side {
        side(&format!("{}/{}", self.source, if self.is_attack { &self.class } else { &self.session }))
    }
}

/// Each row, and the same as a log shows it that keeps no cookies, languages, times or hosts. Classes weigh the same;
/// of a class, kinds do.
fn rows(sightings: &[&Sighting], seed: u64) -> Vec<Row> {
    let free = [ddos::COOKIES, ddos::REFERERS];
    plain_rows(sightings, seed).iter().flat_map(|row| cascade::whatever_is_sent(row, free)).collect()
}

/// The same as clients sent them.
pub(crate) fn plain_rows(sightings: &[&Sighting], seed: u64) -> Vec<Row> {
    let mut counts: BTreeMap<(bool, &str), f32> = BTreeMap::new();
    for one in sightings {
        *counts.entry((one.is_attack, &one.class)).or_default() += 1.0;
    }
    let kinds = |is_attack| counts.keys().filter(|(of, _)| *of == is_attack).count().max(1);
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    let weight = |one: &Sighting| {
        let count = counts.get(&(one.is_attack, &*one.class)).copied().unwrap_or(1.0);
        sightings.len() as f32 / 2.0 / kinds(one.is_attack) as f32 / count
    };
    let mut rows = Vec::new();
    let mut chance = Chance::new(seed);
    for one in sightings {
        let seen = [one.inputs, bare(one.inputs)];
        let mut ways = seen.to_vec();
        if one.is_attack {
            ways.extend(seen.map(unlisted));
        }
        for inputs in ways.into_iter().map(|inputs| elsewhere(inputs, &mut chance)) {
            rows.push(Row { inputs, is_attack: one.is_attack, weight: weight(one) });
        }
    }
    rows
}

/// As a site shows it that takes another time to answer: that says nothing of the client.
fn elsewhere(mut inputs: [u8; INPUTS], chance: &mut Chance) -> [u8; INPUTS] {
    const DURATION: usize = 4;
    const LONGEST: usize = 96;
    if let Some(input) = inputs.get_mut(DURATION) {
        *input = u8::try_from(chance.below(LONGEST)).unwrap_or(0);
    }
    inputs
}

/// As an attacker shows it whose words stand on no list.
fn unlisted(mut inputs: [u8; INPUTS]) -> [u8; INPUTS] {
    const SUSPICIOUS: usize = 13;
    if let Some(input) = inputs.get_mut(SUSPICIOUS) {
        *input = 0;
    }
    inputs
}

/// Columns that combined logs do not tell.
const UNTOLD: [usize; 3] = [8, ddos::COOKIES, 12];

fn bare(mut inputs: [u8; INPUTS]) -> [u8; INPUTS] {
    for column in UNTOLD {
        if let Some(input) = inputs.get_mut(column) {
            *input = 0;
        }
    }
    inputs
}
