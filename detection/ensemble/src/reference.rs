// SPDX-License-Identifier: Apache-2.0
//! What a model was trained on, in short: to explain a score by it, and to see when traffic is no longer like it.

use crate::mlp::INPUTS;

/// Bins of a histogram: inputs end at 127.
pub const BINS: usize = 10;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// Of each input, the median of benign rows.
    pub usual: [u8; INPUTS],
    /// Of each input, how many of 65,535 rows fell in each bin.
    pub inputs: [[u16; BINS]; INPUTS],
    /// Of the score, the same.
    pub scores: [u16; BINS],
}

/// The bin of an input.
pub const fn input_bin(input: u8) -> usize {
    const WIDTH: u8 = 13;
    let bin = (input / WIDTH) as usize;
    if bin < BINS { bin } else { BINS - 1 }
}

/// The bin of a score, in 1/256 of a logit: from -9 to 9.
pub fn score_bin(logit: i32) -> usize {
    const LEAST: i32 = -9 * 256;
    const WIDTH: i32 = 18 * 256 / 10;
    usize::try_from(logit.saturating_sub(LEAST) / WIDTH).unwrap_or(0).min(BINS - 1)
}
