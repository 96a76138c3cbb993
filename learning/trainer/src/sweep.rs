// SPDX-License-Identifier: Apache-2.0
//! What a feature that clients choose may be worth: tree and perceptron are trained with less and less of it, and judged
//! as it is, by attackers who send it, and by visitors who do not.
//!
//! Two scores are told. The raw one is what the cascade says of inputs as they came: it shows what the feature is
//! worth. The other is what decides ([`sunbeam_ensemble::Cascade::judge_whatever`]): it is the same whatever stands in cookies and
//! referer, by its construction.

use sunbeam_ensemble::{Detector, INPUT_MAX, INPUTS, feature_names};
use sunbeam_features::{ddos as window_features, scanner as request_features};
use sunbeam_report::measures::{Ranking, Scored};

use crate::cascade::{self, CascadeError, CascadeTraining, Row};
use crate::ddos;
use crate::engine::Engine;
use crate::payload::Progress;
use crate::scanner::{self, ScannerTraining, Visit};
use crate::windows::Sighting;

/// What is swept.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// Inputs of it are made so much smaller, in training and in judging: from 0 (it is not there) to 1.
    pub weights: Vec<f32>,
    /// A training each.
    pub seeds: Vec<u64>,
    /// The input's place.
    pub column: usize,
    /// What computes.
    pub engine: Engine,
}

/// Rates of one way of scoring, in this order: at one benign row of 1,000, and of 100.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Attacks found, as they came.
    pub found: [f64; 2],
    /// Attacks found that send the feature.
    pub found_spoofed: [f64; 2],
    /// Benign rows stopped that do not send it.
    pub stopped_without: [f64; 2],
}

/// One training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// See [`Sweep::weights`].
    pub weight: f32,
    /// Of chance.
    pub seed: u64,
    /// Of the cascade alone.
    pub raw: Rates,
    /// Of what decides.
    pub deciding: Rates,
}

/// All trials, by weight.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Swept {
    /// In the order of weights and seeds.
    pub trials: Vec<Trial>,
    /// Rows that one training was judged by: benign ones and attacks; of the last seed, where they differ.
    pub rows: [usize; 2],
}

/// The rate of benign rows without the feature that may be stopped, where one of a hundred is of all.
pub const STOPPED_WITHOUT_MAX: f64 = 0.02;

impl Swept {
    /// Means over the seeds of a weight.
    pub fn mean(&self, weight: f32, of: impl Fn(&Trial) -> f64) -> f64 {
        let values: Vec<f64> = self.trials.iter().filter(|trial| trial.weight == weight).map(of).collect();
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        let count = values.len().max(1) as f64;
        values.iter().sum::<f64>() / count
    }

    /// The weights, each once, in their order.
    pub fn weights(&self) -> Vec<f32> {
        let mut weights: Vec<f32> = self.trials.iter().map(|trial| trial.weight).collect();
        weights.sort_by(f32::total_cmp);
        weights.dedup();
        weights
    }

    /// The weight at which the worse of attacks as they came and attacks that send the feature are found most often,
    /// at one benign row of a hundred, by the raw score; of equal ones the least. None where every one stops more than
    /// [`STOPPED_WITHOUT_MAX`] of the benign rows without it.
    pub fn chosen(&self) -> Option<f32> {
        let is_fair =
            |weight: &f32| self.mean(*weight, |trial| trial.raw.stopped_without[1]) <= STOPPED_WITHOUT_MAX;
        let worth = |weight: f32| {
            let found = self.mean(weight, |trial| trial.raw.found[1]);
            found.min(self.mean(weight, |trial| trial.raw.found_spoofed[1]))
        };
        let mut best: Option<(f64, f32)> = None;
        for weight in self.weights().into_iter().filter(is_fair) {
            let worth = worth(weight);
            if best.is_none_or(|(most, _)| worth > most) {
                best = Some((worth, weight));
            }
        }
        best.map(|(_, weight)| weight)
    }
}

/// The place of a feature; that of cookies where none is named. None where there is no such feature.
pub fn column(detector: Detector, name: Option<&str>) -> Option<usize> {
    let Some(name) = name else {
        return Some(match detector {
            Detector::Scanner => request_features::COOKIES,
            Detector::Ddos => window_features::COOKIES,
        });
    };
    feature_names(detector).position(|known| known == name)
}

/// Rows of both sides, before the feature is made smaller.
struct Rows {
    learned: Vec<Row>,
    validation: Vec<Row>,
    free: [usize; 2],
}

/// Sweeps over tree and perceptron of the scanner, on what is known of paths by models of n-grams that have not seen
/// them.
///
/// # Errors
/// When a side is all of one class.
pub fn of_scanner(
    visits: &[Visit],
    sweep: &Sweep,
    progress: &mut Progress<'_>,
) -> Result<Swept, CascadeError> {
    let free = [request_features::COOKIES, request_features::REFERER];
    sweep_over(sweep, progress, |seed, progress| {
        let training = ScannerTraining::new(seed);
        let (learned, validation) = scanner::rows(visits, &training, progress);
        (Rows { learned, validation, free }, training.cascade)
    })
}

/// Sweeps over the model of windows; each seed keeps other kinds of attack apart.
///
/// # Errors
/// When a side is all of one class.
pub fn of_ddos(
    sessions: &[Sighting],
    sweep: &Sweep,
    progress: &mut Progress<'_>,
) -> Result<Swept, CascadeError> {
    let free = [window_features::COOKIES, window_features::REFERERS];
    sweep_over(sweep, progress, |seed, _| {
        let row = |one: &Sighting| Row { inputs: one.inputs, is_attack: one.is_attack, weight: 1.0 };
        let (learned, judged) = ddos::held_out(sessions, seed);
        let learned = ddos::plain_rows(&learned.iter().collect::<Vec<_>>(), seed);
        let validation = judged.iter().map(row).collect();
        (Rows { learned, validation, free }, ddos::DdosTraining::new(seed).cascade)
    })
}

fn sweep_over(
    sweep: &Sweep,
    progress: &mut Progress<'_>,
    mut rows_of: impl FnMut(u64, &mut Progress<'_>) -> (Rows, CascadeTraining),
) -> Result<Swept, CascadeError> {
    let mut swept = Swept::default();
    let all = sweep.weights.len() * sweep.seeds.len();
    for seed in &sweep.seeds {
        let (rows, mut training) = rows_of(*seed, progress);
        training.perceptron.engine = sweep.engine;
        let attacks = rows.validation.iter().filter(|row| row.is_attack).count();
        swept.rows = [rows.validation.len() - attacks, attacks];
        if swept.rows.contains(&0) {
            return Err(CascadeError::OneClass { rows: rows.validation.len() });
        }
        for weight in &sweep.weights {
            progress("weights", swept.trials.len(), all);
            swept.trials.push(trial(&rows, &training, sweep.column, *weight, *seed)?);
        }
    }
    Ok(swept)
}

fn trial(
    rows: &Rows,
    training: &CascadeTraining,
    column: usize,
    weight: f32,
    seed: u64,
) -> Result<Trial, CascadeError> {
    let learned = rows.learned.iter().map(|row| Row { inputs: smaller(row.inputs, column, weight), ..*row });
    let learned: Vec<Row> = learned.flat_map(|row| cascade::whatever_is_sent(&row, rows.free)).collect();
    let cascade = cascade::train(&learned, training)?;
    let judged = Judged { rows, column, weight };
    let raw = |inputs: &[u8; INPUTS]| cascade.judge(inputs, 0, i32::MIN).logit;
    let deciding = |inputs: &[u8; INPUTS]| cascade.judge_whatever(inputs, rows.free, 0, i32::MIN).logit;
    Ok(Trial { weight, seed, raw: judged.rates(&raw), deciding: judged.rates(&deciding) })
}

/// An input, made smaller by the weight.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 127")]
fn smaller(mut inputs: [u8; INPUTS], column: usize, weight: f32) -> [u8; INPUTS] {
    if let Some(input) = inputs.get_mut(column) {
        *input = (f32::from((*input).min(INPUT_MAX)) * weight.clamp(0.0, 1.0)).round() as u8;
    }
    inputs
}

struct Judged<'a> {
    rows: &'a Rows,
    column: usize,
    weight: f32,
}

/// Benign rows of which one may be stopped.
const STOPPED: [f64; 2] = [0.001, 0.01];

impl Judged<'_> {
    fn rates(&self, logit: &dyn Fn(&[u8; INPUTS]) -> i32) -> Rates {
        let benign = self.logits(false, None, logit);
        let attacks = self.logits(true, None, logit);
        let spoofed = self.logits(true, Some(INPUT_MAX), logit);
        let without = self.logits(false, Some(0), logit);
        let scored = benign.iter().map(|score| Scored::new(*score, false, ""));
        let scored: Vec<Scored> =
            scored.chain(attacks.iter().map(|score| Scored::new(*score, true, ""))).collect();
        let ranking = Ranking::of(&scored);
        let thresholds = STOPPED.map(|rate| ranking.threshold_at(rate).unwrap_or(f64::INFINITY));
        Rates {
            found: thresholds.map(|threshold| reach(&attacks, threshold)),
            found_spoofed: thresholds.map(|threshold| reach(&spoofed, threshold)),
            stopped_without: thresholds.map(|threshold| reach(&without, threshold)),
        }
    }

    /// Scores of one class; with `sent` in the column, if it is given.
    fn logits(&self, is_attack: bool, sent: Option<u8>, logit: &dyn Fn(&[u8; INPUTS]) -> i32) -> Vec<f64> {
        let of_class = self.rows.validation.iter().filter(|row| row.is_attack == is_attack);
        let scored = of_class.map(|row| {
            let mut inputs = row.inputs;
            if let (Some(input), Some(sent)) = (inputs.get_mut(self.column), sent) {
                *input = sent;
            }
            f64::from(logit(&smaller(inputs, self.column, self.weight)))
        });
        scored.collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts")]
fn reach(scores: &[f64], threshold: f64) -> f64 {
    let count = scores.iter().filter(|score| **score >= threshold).count();
    count as f64 / scores.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arithmetic::Chance;

    /// Attacks have a path's score; benign rows have cookies, as one attack of ten has.
    fn rows() -> Rows {
        let mut chance = Chance::new(1);
        let mut row = |is_attack: bool| {
            let mut inputs = [0; INPUTS];
            let has_cookie = if is_attack { chance.below(10) == 0 } else { chance.below(10) != 0 };
            inputs[0] = u8::try_from(chance.below(60)).unwrap() + if is_attack { 50 } else { 0 };
            inputs[request_features::COOKIES] = if has_cookie { INPUT_MAX } else { 0 };
            Row { inputs, is_attack, weight: 1.0 }
        };
        let mut many = |count: usize| (0..count).map(|at| row(at % 2 == 0)).collect::<Vec<Row>>();
        let free = [request_features::COOKIES, request_features::REFERER];
        Rows { learned: many(2000), validation: many(1000), free }
    }

    fn swept(weights: &[f32]) -> Swept {
        let column = request_features::COOKIES;
        let sweep = Sweep { weights: weights.to_vec(), seeds: vec![1, 2], column, engine: Engine::Native };
        let training = ScannerTraining::new(1).cascade;
        sweep_over(&sweep, &mut |_, _, _| (), |_, _| (rows(), training)).unwrap()
    }

    #[test]
    fn what_decides_is_the_same_whoever_sends_cookies_and_a_feature_of_no_weight_too() {
        let swept = swept(&[0.0, 1.0]);
        assert_eq!((swept.trials.len(), swept.rows, swept.weights()), (4, [500, 500], vec![0.0, 1.0]));
        for trial in &swept.trials {
            assert_eq!(trial.deciding.found, trial.deciding.found_spoofed);
            assert!(trial.deciding.found[1] >= 0.7, "{trial:?}");
            assert!(trial.weight > 0.0 || trial.raw.found == trial.raw.found_spoofed);
        }
        assert!(swept.chosen().is_some());
    }

    #[test]
    fn of_equal_weights_the_least_is_chosen_and_none_that_stops_who_sends_nothing() {
        let trial = |weight, found, spoofed, without| {
            let raw =
                Rates { found: [0.0, found], found_spoofed: [0.0, spoofed], stopped_without: [0.0, without] };
            Trial { weight, seed: 1, raw, deciding: raw }
        };
        for (name, trials, want) in [
            ("the worse of both", vec![trial(0.0, 0.8, 0.8, 0.0), trial(1.0, 0.95, 0.5, 0.0)], Some(0.0)),
            ("equal", vec![trial(0.5, 0.9, 0.9, 0.0), trial(0.1, 0.9, 0.9, 0.0)], Some(0.1)),
            ("unfair", vec![trial(0.0, 0.8, 0.8, 0.0), trial(0.5, 0.9, 0.9, 0.3)], Some(0.0)),
            ("all unfair", vec![trial(0.0, 0.8, 0.8, 0.5)], None),
        ] {
            assert_eq!(Swept { trials, rows: [1, 1] }.chosen(), want, "{name}");
        }
    }

    #[test]
    fn columns_have_names() {
        assert_eq!(column(Detector::Scanner, None), Some(request_features::COOKIES));
        assert_eq!(column(Detector::Ddos, Some("nonsense")), None);
        for detector in [Detector::Scanner, Detector::Ddos] {
            let last = feature_names(detector).last();
            assert_eq!(column(detector, last), Some(feature_names(detector).count() - 1));
        }
    }

    #[test]
    fn one_class_is_refused() {
        let one = || Rows { validation: Vec::new(), ..rows() };
        let sweep = Sweep { weights: vec![1.0], seeds: vec![1], column: 0, engine: Engine::Native };
        let training = ScannerTraining::new(1).cascade;
        let refused = sweep_over(&sweep, &mut |_, _, _| (), |_, _| (one(), training));
        assert_eq!(refused, Err(CascadeError::OneClass { rows: 0 }));
    }
}
