// SPDX-License-Identifier: Apache-2.0
//! A perceptron of one hidden layer in whole numbers: inputs of 7 bits, weights of 8, sums of 32. The vector form
//! gives the same bits as the plain one.

use crate::kernels;

/// Inputs; the last ones of a smaller model are 0.
pub const INPUTS: usize = 16;

/// The greatest input: two products of it and a weight fit 16 bits, which the vector form needs.
pub const INPUT_MAX: u8 = 127;

/// Neurons of the hidden layer.
pub const HIDDEN: usize = 32;

/// Inputs that are multiplied together.
pub const LANES: usize = 4;

/// Groups of them.
pub const GROUPS: usize = INPUTS / LANES;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(32))]
pub struct Mlp {
    /// Of each group of four inputs, of each neuron, the four weights.
    pub hidden: [[[i8; LANES]; HIDDEN]; GROUPS],
    /// What each neuron begins with.
    pub biases: [i32; HIDDEN],
    /// Of each neuron, how much it says.
    pub output: [i8; HIDDEN],
    /// What the output begins with.
    pub output_bias: i32,
    /// A neuron is its sum shifted right so far, from 0 to 127.
    pub shift: u32,
    /// From the output to 1/256 of a logit, in 1/65,536.
    pub scale: i32,
}

impl Mlp {
    /// The logit, in 1/256. Inputs above [`INPUT_MAX`] count as that.
    #[inline]
    pub fn logit(&self, inputs: &[u8; INPUTS]) -> i32 {
        let inputs = inputs.map(|input| input.min(INPUT_MAX));
        self.scaled(kernels::mlp(self, &inputs))
    }

    /// The same without vector instructions: what the other form is held to.
    pub fn logit_plain(&self, inputs: &[u8; INPUTS]) -> i32 {
        self.scaled(self.sum_plain(&inputs.map(|input| input.min(INPUT_MAX))))
    }

    /// At most 32 · 127 · 127 in size beside the bias, which a file bounds; beyond that it wraps as the vector form does.
    pub(crate) fn sum_plain(&self, inputs: &[u8; INPUTS]) -> i32 {
        let mut sums = self.biases;
        let (groups, _) = inputs.as_chunks::<LANES>();
        for (weights, group) in self.hidden.iter().zip(groups) {
            for (sum, weights) in sums.iter_mut().zip(weights) {
                let more = weights
                    .iter()
                    .zip(group)
                    .map(|(weight, input)| i32::from(*weight) * i32::from(*input))
                    .sum::<i32>();
                *sum = sum.wrapping_add(more);
            }
        }
        let neuron = |sum: &i32| (*sum >> self.shift).clamp(0, 127);
        let said: i32 =
            sums.iter().zip(self.output).map(|(sum, weight)| neuron(sum) * i32::from(weight)).sum();
        self.output_bias.wrapping_add(said)
    }

    fn scaled(&self, sum: i32) -> i32 {
        i32::try_from((i64::from(sum) * i64::from(self.scale)) >> 16).unwrap_or(0)
    }

    /// The least and the greatest logit that any input can give, by interval arithmetic.
    pub fn bounds(&self) -> (i32, i32) {
        let (mut least, mut most) = (self.output_bias, self.output_bias);
        for weight in self.output {
            least = least.saturating_add(i32::from(weight.min(0)) * 127);
            most = most.saturating_add(i32::from(weight.max(0)) * 127);
        }
        (self.scaled(least), self.scaled(most))
    }

    /// Whether no sum overflows whatever the input, and no logit is larger than `logit_max` in size: what
    /// [`Self::scaled`] cannot hold would count as nothing.
    pub(crate) fn is_possible(&self, logit_max: i32) -> bool {
        /// Far above what is added to it.
        const BIAS_MAX: u32 = 1 << 30;
        let is_small = |bias: &i32| bias.unsigned_abs() <= BIAS_MAX;
        let most: i64 = self.output.iter().map(|weight| i64::from(weight.unsigned_abs()) * 127).sum();
        let most = (i64::from(self.output_bias.unsigned_abs()) + most) * i64::from(self.scale).abs();
        self.shift <= 31
            && self.biases.iter().all(is_small)
            && is_small(&self.output_bias)
            && most >> 16 < i64::from(logit_max)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any perceptron that export can give.
    pub(crate) fn mlps() -> impl Strategy<Value = Mlp> {
        let bytes = proptest::collection::vec(-127..=127_i8, INPUTS * HIDDEN);
        let numbers = (
            proptest::collection::vec(-100_000..100_000_i32, HIDDEN),
            proptest::collection::vec(-127..=127_i8, HIDDEN),
        );
        (bytes, numbers, -1_000_000..1_000_000_i32, 0..16_u32, -200_000..200_000_i32).prop_map(
            |(bytes, (biases, output), output_bias, shift, scale)| {
                let mut mlp = Mlp {
                    hidden: [[[0; LANES]; HIDDEN]; GROUPS],
                    biases: biases.try_into().unwrap(),
                    output: output.try_into().unwrap(),
                    output_bias,
                    shift,
                    scale,
                };
                for (lane, byte) in mlp.hidden.iter_mut().flatten().flatten().zip(bytes) {
                    *lane = byte;
                }
                mlp
            },
        )
    }

    pub(crate) fn inputs() -> impl Strategy<Value = [u8; INPUTS]> {
        proptest::array::uniform16(any::<u8>())
    }

    proptest! {
        #[test]
        fn vectors_give_the_bits_of_the_plain_form_within_the_bounds(mlp in mlps(), inputs in inputs()) {
            let logit = mlp.logit(&inputs);
            prop_assert_eq!(logit, mlp.logit_plain(&inputs));
            let (least, most) = mlp.bounds();
            prop_assert!((least.min(most)..=least.max(most)).contains(&logit));
        }
    }

    #[test]
    fn one_neuron_is_computed_by_hand() {
        let mut mlp = Mlp {
            hidden: [[[0; LANES]; HIDDEN]; GROUPS],
            biases: [0; HIDDEN],
            output: [0; HIDDEN],
            output_bias: -10,
            shift: 3,
            scale: 65_536,
        };
        // Neuron 9 of input 6: 5 * 100 + 20 is 520, shifted 65; times 3 is 195, less 10.
        (mlp.hidden[1][9][2], mlp.biases[9], mlp.output[9]) = (5, 20, 3);
        let mut inputs = [0; INPUTS];
        inputs[6] = 100;
        assert_eq!(mlp.logit(&inputs), 185);
        assert_eq!(mlp.logit(&[0; INPUTS]), 3 * 2 - 10);
    }
}
