// SPDX-License-Identifier: Apache-2.0
//! The perceptron: trained in floats by Adam (Kingma and Ba 2015), then made whole numbers.

use sunbeam_ensemble::{GROUPS, HIDDEN, INPUT_MAX, INPUTS, LANES, Mlp};

use crate::arithmetic::{Chance, probability};
use crate::cascade::Row;
use crate::engine::Engine;

/// How it is trained.
#[derive(Clone, Copy, Debug)]
pub struct PerceptronTraining {
    /// Rounds over all rows.
    pub epochs: usize,
    /// Neurons, at most [`HIDDEN`].
    pub hidden: usize,
    /// Rows of one step.
    pub batch: usize,
    /// The length of a step.
    pub rate: f32,
    /// Pulls weights to zero.
    pub decay: f32,
    /// Of the first weights and the order.
    pub seed: u64,
    /// What computes.
    pub engine: Engine,
}

impl Default for PerceptronTraining {
    fn default() -> Self {
        Self {
            epochs: 40,
            hidden: HIDDEN,
            batch: 256,
            rate: 0.004,
            decay: 1e-4,
            seed: 1,
            engine: Engine::Native,
        }
    }
}

/// In floats.
#[derive(Clone, Debug, PartialEq)]
pub struct Perceptron {
    /// Of each neuron, of each input.
    pub hidden: [[f32; INPUTS]; HIDDEN],
    /// Of each neuron.
    pub biases: [f32; HIDDEN],
    /// Of each neuron.
    pub output: [f32; HIDDEN],
    /// Of the output.
    pub output_bias: f32,
}

/// All weights in a row: hidden, biases, output, bias.
const WEIGHTS: usize = HIDDEN * INPUTS + HIDDEN + HIDDEN + 1;

impl Perceptron {
    pub(crate) const ZERO: Self = Self {
        hidden: [[0.0; INPUTS]; HIDDEN],
        biases: [0.0; HIDDEN],
        output: [0.0; HIDDEN],
        output_bias: 0.0,
    };

    /// Trains on rows.
    pub fn train(rows: &[Row], training: &PerceptronTraining) -> Self {
        match training.engine {
            Engine::Native => Self::train_natively(rows, training),
            #[cfg(feature = "training")]
            _ => crate::burned::train(rows, training),
        }
    }

    fn train_natively(rows: &[Row], training: &PerceptronTraining) -> Self {
        let mut chance = Chance::new(training.seed);
        let mut net = Self::begun(training.hidden, &mut chance);
        let mut adam = Adam::new();
        let mut order: Vec<usize> = (0..rows.len()).collect();
        let unit = unit_of(rows);
        for epoch in 0..training.epochs {
            chance.shuffle(&mut order);
            let rate = rate_of(training, epoch);
            for batch in order.chunks(training.batch.max(1)) {
                let mut slopes = Self::ZERO;
                for row in batch.iter().filter_map(|at| rows.get(*at)) {
                    net.learn(row, unit, training.hidden, &mut slopes);
                }
                #[expect(clippy::cast_precision_loss, reason = "small")]
                adam.step(&mut net, &slopes, 1.0 / batch.len() as f32, rate, training.decay);
            }
        }
        net
    }

    /// He et al. 2015.
    pub(crate) fn begun(neurons: usize, chance: &mut Chance) -> Self {
        let mut net = Self::ZERO;
        for neuron in 0..neurons.min(HIDDEN) {
            for weight in net.hidden.get_mut(neuron).into_iter().flatten() {
                *weight = (chance.fraction() * 2.0 - 1.0) * 0.6;
            }
            if let Some(weight) = net.output.get_mut(neuron) {
                *weight = (chance.fraction() * 2.0 - 1.0) * 0.4;
            }
        }
        net
    }

    /// The logit.
    pub fn logit(&self, inputs: &[u8; INPUTS]) -> f32 {
        self.forward(&floats(inputs)).1
    }

    fn forward(&self, inputs: &[f32; INPUTS]) -> ([f32; HIDDEN], f32) {
        let mut neurons = self.biases;
        for (neuron, weights) in neurons.iter_mut().zip(&self.hidden) {
            let sum: f32 = weights.iter().zip(inputs).map(|(weight, input)| weight * input).sum();
            *neuron = (*neuron + sum).max(0.0);
        }
        let logit = neurons.iter().zip(&self.output).map(|(neuron, weight)| neuron * weight).sum::<f32>();
        (neurons, logit + self.output_bias)
    }

    fn learn(&self, row: &Row, unit: f32, hidden: usize, slopes: &mut Self) {
        let inputs = floats(&row.inputs);
        let (neurons, logit) = self.forward(&inputs);
        let slope = (probability(logit) - f32::from(u8::from(row.is_attack))) * row.weight * unit;
        slopes.output_bias += slope;
        let ours = neurons.iter().zip(&self.output).zip(&mut slopes.output);
        let inner = slopes.biases.iter_mut().zip(&mut slopes.hidden);
        for (((neuron, weight), output), (bias, weights)) in ours.zip(inner).take(hidden) {
            *output += slope * neuron;
            if *neuron > 0.0 {
                let slope = slope * weight;
                *bias += slope;
                for (sum, input) in weights.iter_mut().zip(&inputs) {
                    *sum += slope * input;
                }
            }
        }
    }

    fn weights(&self) -> impl Iterator<Item = &f32> {
        let outer = self.output.iter().chain(std::iter::once(&self.output_bias));
        self.hidden.iter().flatten().chain(&self.biases).chain(outer)
    }

    fn weights_mut(&mut self) -> impl Iterator<Item = &mut f32> {
        let outer = self.output.iter_mut().chain(std::iter::once(&mut self.output_bias));
        self.hidden.iter_mut().flatten().chain(&mut self.biases).chain(outer)
    }

    /// As whole numbers; how far neurons go is read from `rows`.
    pub fn quantised(&self, rows: &[Row]) -> Mlp {
        let most = |weights: &mut dyn Iterator<Item = &f32>| {
            weights.fold(1e-6_f32, |most, weight| most.max(weight.abs()))
        };
        let inner = 127.0 / most(&mut self.hidden.iter().flatten());
        let outer = 127.0 / most(&mut self.output.iter());
        let reach = rows
            .iter()
            .map(|row| most(&mut self.forward(&floats(&row.inputs)).0.iter()))
            .fold(1e-6, f32::max);
        // A neuron's sum is inner * 127 times what it is in floats; shifted, its reach is to be 127 at most.
        let mut shift = 0;
        while reach * inner * f32::from(INPUT_MAX) / power(shift) > 127.0 {
            shift += 1;
        }
        let step = inner * f32::from(INPUT_MAX) / power(shift);
        let mut mlp = Mlp {
            hidden: [[[0; LANES]; HIDDEN]; GROUPS],
            biases: self.biases.map(|bias| whole(bias * inner * f32::from(INPUT_MAX))),
            output: self.output.map(|weight| byte(weight * outer)),
            output_bias: whole(self.output_bias * outer * step),
            shift,
            scale: whole(256.0 * 65_536.0 / (outer * step)),
        };
        for (group, weights) in mlp.hidden.iter_mut().enumerate() {
            for (lanes, from) in weights.iter_mut().zip(&self.hidden) {
                for (lane, weight) in lanes.iter_mut().zip(from.iter().skip(group * LANES)) {
                    *lane = byte(weight * inner);
                }
            }
        }
        mlp
    }
}

/// What makes the mean weight of rows 1.
pub(crate) fn unit_of(rows: &[Row]) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let mean = rows.iter().map(|row| f64::from(row.weight)).sum::<f64>() / rows.len().max(1) as f64;
    #[expect(clippy::cast_possible_truncation, reason = "a mean")]
    let mean = mean.max(1e-9) as f32;
    1.0 / mean
}

/// The length of steps in an epoch: from the whole down to a tenth.
pub(crate) fn rate_of(training: &PerceptronTraining, epoch: usize) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let faded = 0.9 * epoch as f32 / training.epochs.max(1) as f32;
    training.rate * (1.0 - faded)
}

fn power(shift: u32) -> f32 {
    f32::from(u16::try_from(1_u32 << shift.min(15)).unwrap_or(u16::MAX))
}

pub(crate) fn floats(inputs: &[u8; INPUTS]) -> [f32; INPUTS] {
    inputs.map(|input| f32::from(input.min(INPUT_MAX)) / f32::from(INPUT_MAX))
}

#[expect(clippy::cast_possible_truncation, reason = "clamped")]
fn byte(value: f32) -> i8 {
    value.round().clamp(-127.0, 127.0) as i8
}

#[expect(clippy::cast_possible_truncation, reason = "clamped by the cast")]
fn whole(value: f32) -> i32 {
    value.round() as i32
}

/// Means of slopes and of their squares.
struct Adam {
    means: Vec<f32>,
    squares: Vec<f32>,
    faded: [f32; 2],
}

impl Adam {
    const FADING: [f32; 2] = [0.9, 0.999];

    fn new() -> Self {
        Self { means: vec![0.0; WEIGHTS], squares: vec![0.0; WEIGHTS], faded: [1.0; 2] }
    }

    fn step(&mut self, net: &mut Perceptron, slopes: &Perceptron, share: f32, rate: f32, decay: f32) {
        let [first, second] = Self::FADING;
        self.faded = [self.faded[0] * first, self.faded[1] * second];
        let sums = self.means.iter_mut().zip(&mut self.squares);
        for ((weight, slope), (mean, square)) in net.weights_mut().zip(slopes.weights()).zip(sums) {
            let slope = slope * share + decay * *weight;
            *mean = first * *mean + (1.0 - first) * slope;
            *square = second * *square + (1.0 - second) * slope * slope;
            let (mean, square) = (*mean / (1.0 - self.faded[0]), *square / (1.0 - self.faded[1]));
            *weight -= rate * mean / (square.sqrt() + 1e-8);
        }
    }
}
