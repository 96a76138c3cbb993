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

/// Where the bins of scores begin, in 1/256 of a logit, and how wide each is: from -9 to 9.
const LEAST: i32 = -9 * 256;
const WIDTH: i32 = 18 * 256 / 10;

/// The bin of a score, in 1/256 of a logit.
pub fn score_bin(logit: i32) -> usize {
    usize::try_from(logit.saturating_sub(LEAST) / WIDTH).unwrap_or(0).min(BINS - 1)
}

/// The least score of each bin but the first, which has all below; the last has all above.
pub fn score_bin_edges() -> [i32; BINS - 1] {
    let mut edge = LEAST;
    [(); BINS - 1].map(|()| {
        edge += WIDTH;
        edge
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bin_begins_at_its_edge() {
        for (index, edge) in score_bin_edges().into_iter().enumerate() {
            assert_eq!((score_bin(edge - 1), score_bin(edge)), (index, index + 1), "{edge}");
        }
        assert_eq!((score_bin(i32::MIN), score_bin(i32::MAX)), (0, BINS - 1));
    }
}
