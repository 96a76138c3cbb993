// SPDX-License-Identifier: Apache-2.0
//! The perceptron trained by the framework burn: from the same first weights, over the same batches and by the same rule
//! as [`crate::perceptron`], so that the two tell whether either is wrong.

use burn::module::{Module, Param};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::{relu, softplus};
use burn::tensor::{Device, Tensor, TensorData};
use sunbeam_ensemble::{HIDDEN, INPUTS};

use crate::arithmetic::Chance;
use crate::cascade::Row;
use crate::engine::Engine;
use crate::perceptron::{Perceptron, PerceptronTraining, floats, rate_of, unit_of};

#[derive(Module, Debug)]
struct Net {
    /// Of each input, of each neuron.
    hidden: Param<Tensor<2>>,
    biases: Param<Tensor<1>>,
    output: Param<Tensor<2>>,
    output_bias: Param<Tensor<1>>,
}

impl Net {
    fn of(begun: &Perceptron, neurons: usize, device: &Device) -> Self {
        let column =
            |input: usize| begun.hidden.iter().take(neurons).filter_map(move |of| of.get(input).copied());
        let hidden: Vec<f32> = (0..INPUTS).flat_map(column).collect();
        let begin = |values: &[f32]| values.iter().take(neurons).copied().collect::<Vec<f32>>();
        Self {
            hidden: Param::from_data(TensorData::new(hidden, [INPUTS, neurons]), device),
            biases: Param::from_data(TensorData::new(begin(&begun.biases), [neurons]), device),
            output: Param::from_data(TensorData::new(begin(&begun.output), [neurons, 1]), device),
            output_bias: Param::from_data(TensorData::new(vec![begun.output_bias], [1]), device),
        }
    }

    fn logits(&self, inputs: Tensor<2>) -> Tensor<2> {
        let neurons = relu(inputs.matmul(self.hidden.val()) + self.biases.val().unsqueeze());
        neurons.matmul(self.output.val()) + self.output_bias.val().unsqueeze()
    }

    /// The cross-entropy of logits, each row by its weight, over the number of rows.
    fn loss(&self, batch: Batch, device: &Device) -> Tensor<1> {
        let column = |values| Tensor::<2>::from_data(TensorData::new(values, [batch.rows, 1]), device);
        let inputs = Tensor::<2>::from_data(TensorData::new(batch.inputs, [batch.rows, INPUTS]), device);
        let (labels, weights) = (column(batch.labels), column(batch.weights));
        let logits = self.logits(inputs);
        ((softplus(logits.clone(), 1.0) - logits * labels) * weights).mean()
    }

    fn finished(self, neurons: usize) -> Perceptron {
        let numbers = |data: TensorData| data.try_to_vec::<f32>().unwrap_or_default();
        let hidden = numbers(self.hidden.val().into_data());
        let mut net = Perceptron::ZERO;
        for (neuron, weights) in net.hidden.iter_mut().enumerate().take(neurons) {
            for (input, weight) in weights.iter_mut().enumerate() {
                *weight = hidden.get(input * neurons + neuron).copied().unwrap_or(0.0);
            }
        }
        let fill = |into: &mut [f32; HIDDEN], from: Vec<f32>| {
            into.iter_mut().zip(from).for_each(|(into, from)| *into = from);
        };
        fill(&mut net.biases, numbers(self.biases.val().into_data()));
        fill(&mut net.output, numbers(self.output.val().into_data()));
        net.output_bias = numbers(self.output_bias.val().into_data()).first().copied().unwrap_or(0.0);
        net
    }
}

/// Rows of one step.
#[derive(Default)]
struct Batch {
    rows: usize,
    inputs: Vec<f32>,
    labels: Vec<f32>,
    weights: Vec<f32>,
}

/// Trains on rows.
pub(crate) fn train(rows: &[Row], training: &PerceptronTraining) -> Perceptron {
    let device = device(training.engine).autodiff();
    let mut chance = Chance::new(training.seed);
    let neurons = training.hidden.clamp(1, HIDDEN);
    let mut net = Net::of(&Perceptron::begun(neurons, &mut chance), neurons, &device);
    let decay = WeightDecayConfig::new(training.decay);
    let mut adam = AdamConfig::new().with_epsilon(1e-8).with_weight_decay(Some(decay)).init();
    let unit = unit_of(rows);
    let mut order: Vec<usize> = (0..rows.len()).collect();
    for epoch in 0..training.epochs {
        chance.shuffle(&mut order);
        let rate = f64::from(rate_of(training, epoch));
        for places in order.chunks(training.batch.max(1)) {
            let mut batch = Batch::default();
            for row in places.iter().filter_map(|at| rows.get(*at)) {
                batch.rows += 1;
                batch.inputs.extend(floats(&row.inputs));
                batch.labels.push(f32::from(u8::from(row.is_attack)));
                batch.weights.push(row.weight * unit);
            }
            let slopes = GradientsParams::from_grads(net.loss(batch, &device).backward(), &net);
            net = adam.step(rate, net, slopes);
        }
    }
    net.finished(neurons)
}

fn device(engine: Engine) -> Device {
    match engine {
        #[cfg(feature = "training-gpu")]
        Engine::BurnGpu => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        Engine::Burn | Engine::Native => Device::flex(),
    }
}

/// Computes something small there.
#[cfg(feature = "training-gpu")]
pub(crate) fn probe(engine: Engine) -> Result<(), String> {
    let row = |is_attack: bool| Row { inputs: [u8::from(is_attack) * 100; INPUTS], is_attack, weight: 1.0 };
    let rows: Vec<Row> = (0..64).map(|number| row(number % 2 == 0)).collect();
    let training = PerceptronTraining { epochs: 4, engine, ..PerceptronTraining::default() };
    let trained = std::panic::catch_unwind(|| train(&rows, &training));
    let net = trained.map_err(|_| "no GPU that can be computed with was found".to_owned())?;
    let logits = [true, false].map(|is_attack| net.logit(&row(is_attack).inputs));
    if logits[0] > logits[1] { Ok(()) } else { Err("the GPU computes wrongly".to_owned()) }
}

#[cfg(test)]
mod tests {
    use sunbeam_report::measures::{Ranking, Scored};

    use super::*;

    /// Attacks have much in one of two inputs but not in both, and noise elsewhere; a few are labelled wrongly.
    fn rows(count: usize) -> Vec<Row> {
        let mut chance = Chance::new(7);
        let mut byte = || {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 127")]
            let byte = (chance.fraction() * 127.0) as u8;
            byte
        };
        (0..count)
            .map(|number| {
                let mut inputs = [0; INPUTS];
                inputs.iter_mut().for_each(|input| *input = byte());
                let is_attack = ((inputs[0] > 60) != (inputs[3] > 60)) != (number % 50 == 0);
                Row { inputs, is_attack, weight: if number % 3 == 0 { 2.0 } else { 0.5 } }
            })
            .collect()
    }

    fn auc(net: &Perceptron, rows: &[Row]) -> f64 {
        let scored = |row: &Row| Scored::new(f64::from(net.logit(&row.inputs)), row.is_attack, "a");
        Ranking::of(&rows.iter().map(scored).collect::<Vec<_>>()).auc().unwrap()
    }

    #[test]
    fn both_engines_learn_the_same_and_each_the_same_again() {
        let all = rows(4000);
        let (learned, judged) = all.split_at(3000);
        let native = PerceptronTraining { epochs: 40, batch: 64, seed: 3, ..PerceptronTraining::default() };
        let burned = PerceptronTraining { engine: Engine::Burn, ..native };
        let nets = [native, burned, burned].map(|training| Perceptron::train(learned, &training));
        let [native, burned] = [&nets[0], &nets[1]].map(|net| auc(net, judged));
        assert!(native > 0.85 && (native - burned).abs() < 0.002, "{native} {burned}");
        assert_ne!(nets[0], nets[1], "it was another engine");
        assert_eq!(nets[1], nets[2]);
    }

    #[test]
    fn neurons_that_are_not_asked_for_stay_away() {
        let training = PerceptronTraining {
            epochs: 1,
            hidden: 4,
            engine: Engine::Burn,
            ..PerceptronTraining::default()
        };
        let net = Perceptron::train(&rows(300), &training);
        assert!(net.output.iter().skip(4).all(|weight| *weight == 0.0));
        assert!(net.output.iter().take(4).all(|weight| *weight != 0.0));
    }
}
