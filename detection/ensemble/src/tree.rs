// SPDX-License-Identifier: Apache-2.0
//! One decision tree, six questions deep, the same question for all at one depth: six comparisons that do not wait for
//! each other.

use crate::forest::Level;
use crate::mlp::INPUTS;

/// Questions.
pub const DEPTH: usize = 6;

/// Leaves.
const LEAVES: usize = 1 << DEPTH;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The question of the lowest bit first; columns below [`INPUTS`].
    pub levels: [Level; DEPTH],
    /// Calibrated logits, in 1/256.
    pub leaves: [i16; LEAVES],
    /// Leaves at or below this are let go.
    pub allow: i16,
    /// Leaves at or above this are stopped; between the two nobody knows.
    pub block: i16,
}

/// What a tree says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing against it.
    Allow,
    /// An attack.
    Block,
    /// It does not know.
    Defer,
}

impl Tree {
    /// The leaf's logit, in 1/256.
    #[inline]
    pub fn logit(&self, inputs: &[u8; INPUTS]) -> i16 {
        let answer =
            |level: &Level| inputs.get(usize::from(level.column)).is_some_and(|value| *value > level.border);
        let index: usize =
            self.levels.iter().enumerate().map(|(bit, level)| usize::from(answer(level)) << bit).sum();
        self.leaves.get(index).copied().unwrap_or(0)
    }

    /// What a leaf of that logit says.
    #[inline]
    pub const fn outcome(&self, logit: i16) -> Outcome {
        if logit >= self.block {
            Outcome::Block
        } else if logit <= self.allow {
            Outcome::Allow
        } else {
            Outcome::Defer
        }
    }
}
