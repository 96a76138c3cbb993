// SPDX-License-Identifier: Apache-2.0
//! Gradient boosting of oblivious trees over bytes (Friedman 2001; Newton steps and histograms as in XGBoost, Chen
//! and Guestrin 2016).

pub use sunbeam_ensemble::Level;
use sunbeam_ensemble::{COLUMNS, FOREST_DEPTH, Forest};

use crate::arithmetic::{fixed, logit_of, probability};

const LEAVES: usize = 1 << FOREST_DEPTH;
const BINS: usize = 256;

/// How a forest is grown.
#[derive(Clone, Copy, Debug)]
pub struct Growing {
    /// How far each tree goes.
    pub rate: f32,
    /// Added to each leaf's curvature: few samples move little.
    pub ridge: f32,
    /// Columns that no question is asked of.
    pub ignored: u32,
}

/// Samples, column by column.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Rows of each column.
    pub columns: Vec<Vec<u8>>,
    /// 1 for attacks.
    pub labels: Vec<f32>,
    /// How much each counts.
    pub weights: Vec<f32>,
}

impl Samples {
    /// None yet.
    pub fn new() -> Self {
        Self { columns: vec![Vec::new(); COLUMNS], ..Self::default() }
    }

    /// One more.
    pub fn add(&mut self, columns: &[u8; COLUMNS], is_attack: bool, weight: f32) {
        for (column, value) in self.columns.iter_mut().zip(columns) {
            column.push(*value);
        }
        self.labels.push(f32::from(u8::from(is_attack)));
        self.weights.push(weight);
    }
}

/// Sums of slopes and curvatures.
#[derive(Clone, Copy, Debug, Default)]
struct Pull {
    slope: f32,
    curvature: f32,
}

impl Pull {
    fn gain(self, ridge: f32) -> f32 {
        self.slope * self.slope / (self.curvature + ridge)
    }
}

/// Grows a forest, from the logits that samples have already, or from that of the share of attacks. `report` hears after
/// each tree how many there are.
pub fn grow<const TREES: usize>(
    samples: &Samples,
    begun: Option<Vec<f32>>,
    growing: &Growing,
    report: &mut dyn FnMut(usize),
) -> Forest<TREES> {
    let base = base(samples);
    let mut forest =
        Forest { base: fixed(base), levels: [[NOTHING; FOREST_DEPTH]; TREES], leaves: [[0; LEAVES]; TREES] };
    let mut logits = begun.unwrap_or_else(|| vec![base; samples.labels.len()]);
    for (tree, (levels, leaves)) in forest.levels.iter_mut().zip(&mut forest.leaves).enumerate() {
        let pulls = pulls(samples, &logits);
        let places = ask(samples, &pulls, levels, growing, 0);
        settle(&pulls, &places, growing, leaves);
        for (logit, place) in logits.iter_mut().zip(&places) {
            *logit += f32::from(leaves.get(usize::from(*place)).copied().unwrap_or(0)) / 256.0;
        }
        report(tree + 1);
    }
    forest
}

/// The questions of one tree, and where its rows come to stand.
#[derive(Clone, Debug)]
pub struct Question<const DEPTH: usize> {
    /// In order.
    pub levels: [Level; DEPTH],
    /// Of each row, its leaf.
    pub places: Vec<u8>,
}

/// One tree's questions, by what tells classes apart best. The first is about no column of `not_first`.
pub fn questions<const DEPTH: usize>(
    samples: &Samples,
    growing: &Growing,
    not_first: u32,
) -> Question<DEPTH> {
    let logits = vec![base(samples); samples.labels.len()];
    let mut levels = [NOTHING; DEPTH];
    let places = ask(samples, &pulls(samples, &logits), &mut levels, growing, not_first);
    Question { levels, places }
}

/// A question whose answer is always no.
const NOTHING: Level = Level { column: 0, border: u8::MAX };

fn ask(
    samples: &Samples,
    pulls: &[Pull],
    levels: &mut [Level],
    growing: &Growing,
    not_first: u32,
) -> Vec<u8> {
    let mut places = vec![0_u8; samples.labels.len()];
    for (bit, level) in levels.iter_mut().enumerate() {
        let ignored = growing.ignored | if bit == 0 { not_first } else { 0 };
        *level = best_question(samples, pulls, &places, 1 << bit, &Growing { ignored, ..*growing });
        answer(samples, *level, bit, &mut places);
    }
    places
}

/// The logit of the share of attacks.
fn base(samples: &Samples) -> f32 {
    let (mut attacks, mut all) = (0.0_f64, 0.0_f64);
    for (label, weight) in samples.labels.iter().zip(&samples.weights) {
        attacks += f64::from(label * weight);
        all += f64::from(*weight);
    }
    #[expect(clippy::cast_possible_truncation, reason = "a share")]
    logit_of((attacks / all.max(1e-9)) as f32)
}

fn pulls(samples: &Samples, logits: &[f32]) -> Vec<Pull> {
    let rows = samples.labels.iter().zip(&samples.weights).zip(logits);
    rows.map(|((label, weight), logit)| {
        let now = probability(*logit);
        Pull { slope: weight * (label - now), curvature: weight * (now * (1.0 - now)).max(1e-6) }
    })
    .collect()
}

/// The question that tells most in all places together.
fn best_question(samples: &Samples, pulls: &[Pull], places: &[u8], count: usize, growing: &Growing) -> Level {
    let asked = |column: usize| growing.ignored >> column & 1 == 0;
    let columns: Vec<usize> = (0..COLUMNS).filter(|column| asked(*column)).collect();
    let half = columns.len() / 2;
    let (low, high) = columns.split_at(half);
    let best = |columns: &[usize]| {
        let mut best = (0.0_f32, NOTHING);
        for column in columns {
            let Some(values) = samples.columns.get(*column) else { continue };
            let (gain, border) = best_border(values, pulls, places, count, growing.ridge);
            if gain > best.0 {
                best = (gain, Level { column: u8::try_from(*column).unwrap_or(0), border });
            }
        }
        best
    };
    let (first, second) = std::thread::scope(|scope| {
        let other = scope.spawn(|| best(high));
        (best(low), other.join().unwrap_or((0.0, NOTHING)))
    });
    if second.0 > first.0 { second.1 } else { first.1 }
}

fn best_border(values: &[u8], pulls: &[Pull], places: &[u8], count: usize, ridge: f32) -> (f32, u8) {
    let mut bins = vec![Pull::default(); BINS * count];
    for ((value, pull), place) in values.iter().zip(pulls).zip(places) {
        if let Some(bin) = bins.get_mut(usize::from(*place) * BINS + usize::from(*value)) {
            bin.slope += pull.slope;
            bin.curvature += pull.curvature;
        }
    }
    let mut gains = vec![0.0_f32; BINS];
    for place in bins.chunks_exact(BINS) {
        let mut all = Pull::default();
        for bin in place {
            all.slope += bin.slope;
            all.curvature += bin.curvature;
        }
        let mut below = Pull::default();
        for (gain, bin) in gains.iter_mut().zip(place) {
            below.slope += bin.slope;
            below.curvature += bin.curvature;
            let above = Pull {
                slope: all.slope - below.slope,
                curvature: (all.curvature - below.curvature).max(0.0),
            };
            *gain += below.gain(ridge) + above.gain(ridge) - all.gain(ridge);
        }
    }
    let mut best = (0.0, u8::MAX);
    for (border, gain) in (0..u8::MAX).zip(&gains) {
        if *gain > best.0 {
            best = (*gain, border);
        }
    }
    best
}

fn answer(samples: &Samples, level: Level, bit: usize, places: &mut [u8]) {
    let Some(values) = samples.columns.get(usize::from(level.column)) else { return };
    for (place, value) in places.iter_mut().zip(values) {
        *place |= u8::from(*value > level.border) << bit;
    }
}

fn settle(pulls: &[Pull], places: &[u8], growing: &Growing, leaves: &mut [i16; LEAVES]) {
    let mut sums = [Pull::default(); LEAVES];
    for (pull, place) in pulls.iter().zip(places) {
        if let Some(sum) = sums.get_mut(usize::from(*place)) {
            sum.slope += pull.slope;
            sum.curvature += pull.curvature;
        }
    }
    for (leaf, sum) in leaves.iter_mut().zip(sums) {
        let step = growing.rate * sum.slope / (sum.curvature + growing.ridge);
        *leaf = i16::try_from(fixed(step.clamp(-8.0, 8.0))).unwrap_or(0);
    }
}
