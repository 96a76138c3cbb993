// SPDX-License-Identifier: Apache-2.0
//! How much the words of a path are those that scanners ask for.

use crate::grams::Grams;

/// Places of n-grams.
pub const PATH_GRAMS: usize = 1 << 13;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathModel {
    /// The weights of n-grams.
    pub grams: Grams<PATH_GRAMS>,
    /// From the mean of weights to the score, in 1/65,536.
    pub scale: i32,
    /// The score of a path that says nothing.
    pub middle: i32,
}

impl PathModel {
    /// From 0 to 100, of the symbols of a canonical path.
    pub fn score(&self, symbols: &[u8]) -> u8 {
        let mean = i64::from(self.grams.sums(symbols).mean());
        let score = i64::from(self.middle) + ((mean * i64::from(self.scale)) >> 16);
        u8::try_from(score.clamp(0, 100)).unwrap_or(0)
    }
}
