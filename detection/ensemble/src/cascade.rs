// SPDX-License-Identifier: Apache-2.0
//! A tree, and a perceptron for what the tree does not know.

use crate::mlp::{INPUT_MAX, INPUTS, Mlp};
use crate::tree::{Outcome, Tree};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cascade {
    /// Asked first.
    pub tree: Tree,
    /// Asked where the tree does not know.
    pub mlp: Mlp,
    /// From here on it is certain, where something that happened says so too; in 1/256 of a logit.
    pub certain: i32,
}

const _: () = assert!(size_of::<Cascade>() <= 4096, "tree and perceptron have outgrown their 4 KiB");

/// Who decided, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnsemblePath {
    /// The tree let it go.
    TreeAllow,
    /// The tree stopped it.
    TreeBlock,
    /// The perceptron let it go.
    MlpAllow,
    /// The perceptron stopped it.
    MlpBlock,
}

impl EnsemblePath {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::TreeAllow, Self::TreeBlock, Self::MlpAllow, Self::MlpBlock];

    /// `tree_allow`
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TreeAllow => "tree_allow",
            Self::TreeBlock => "tree_block",
            Self::MlpAllow => "mlp_allow",
            Self::MlpBlock => "mlp_block",
        }
    }

    /// Whether it was stopped.
    pub const fn is_block(self) -> bool {
        matches!(self, Self::TreeBlock | Self::MlpBlock)
    }
}

/// What a cascade says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// In 1/256.
    pub logit: i32,
    /// Who decided.
    pub path: EnsemblePath,
}

/// Whatever a client writes into the columns that it chooses freely.
const FREE_VALUES: [[u8; 2]; 4] = [[INPUT_MAX, INPUT_MAX], [INPUT_MAX, 0], [0, INPUT_MAX], [0, 0]];

impl Cascade {
    /// Judges inputs as they are. `more` is added to what the perceptron says, and `threshold` is the logit from which
    /// on either stops; both in 1/256.
    #[inline]
    pub fn judge(&self, inputs: &[u8; INPUTS], more: i32, threshold: i32) -> Said {
        let logit = self.tree.logit(inputs);
        match self.tree.outcome(logit) {
            Outcome::Allow => Said { logit: logit.into(), path: EnsemblePath::TreeAllow },
            Outcome::Block if i32::from(logit) >= threshold => {
                Said { logit: logit.into(), path: EnsemblePath::TreeBlock }
            }
            Outcome::Block | Outcome::Defer => {
                let logit = self.mlp.logit(inputs).saturating_add(more);
                let path = if logit >= threshold { EnsemblePath::MlpBlock } else { EnsemblePath::MlpAllow };
                Said { logit, path }
            }
        }
    }

    /// Judges inputs of which the columns `free` say nothing, for a client chooses them: stopped is what would be
    /// stopped whatever stood there, and its logit is the least of these. So neither sending nor leaving them out
    /// changes anything.
    #[inline]
    pub fn judge_whatever(&self, inputs: &[u8; INPUTS], free: [usize; 2], more: i32, threshold: i32) -> Said {
        let mut least: Option<Said> = None;
        for values in FREE_VALUES {
            let mut inputs = *inputs;
            for (column, value) in free.into_iter().zip(values) {
                if let Some(input) = inputs.get_mut(column) {
                    *input = value;
                }
            }
            let said = self.judge(&inputs, more, threshold);
            if !said.path.is_block() {
                return said;
            }
            if least.is_none_or(|least| said.logit < least.logit) {
                least = Some(said);
            }
        }
        least.unwrap_or(Said { logit: i32::MIN, path: EnsemblePath::TreeAllow })
    }

    /// How much each input changes the logit from what it would be with the usual one there; in 1/256.
    pub fn shares(&self, inputs: &[u8; INPUTS], usual: &[u8; INPUTS]) -> [i32; INPUTS] {
        let logit = |inputs: &[u8; INPUTS]| self.judge(inputs, 0, 0).logit;
        let whole = logit(inputs);
        let mut shares = [0; INPUTS];
        for (column, (share, usual)) in shares.iter_mut().zip(usual).enumerate() {
            let mut without = *inputs;
            if let Some(input) = without.get_mut(column) {
                *input = *usual;
            }
            *share = whole.saturating_sub(logit(&without));
        }
        shares
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::forest::Level;
    use crate::mlp::tests::{inputs, mlps};

    pub(crate) fn cascades() -> impl Strategy<Value = Cascade> {
        let levels = proptest::array::uniform6((0..16_u8, 0..128_u8));
        let leaves = proptest::collection::vec(-2000..2000_i16, 64);
        (mlps(), levels, leaves, -1500..0_i16, 0..1500_i16).prop_map(|(mlp, levels, leaves, allow, block)| {
            Cascade {
                tree: Tree {
                    levels: levels.map(|(column, border)| Level { column, border }),
                    leaves: leaves.try_into().unwrap(),
                    allow,
                    block: block.max(allow + 1),
                },
                mlp,
                certain: 500,
            }
        })
    }

    proptest! {
        #[test]
        fn what_a_client_chooses_freely_changes_nothing(
            cascade in cascades(), inputs in inputs(), free in (0..16_usize, 0..16_usize),
            chosen in any::<[u8; 2]>(), more in 0..1000_i32, threshold in -500..500_i32,
        ) {
            let free = [free.0, free.1];
            let mut other = inputs;
            for (column, value) in free.into_iter().zip(chosen) {
                other[column] = value;
            }
            let said = cascade.judge_whatever(&inputs, free, more, threshold);
            prop_assert_eq!(said, cascade.judge_whatever(&other, free, more, threshold));
            if said.path.is_block() {
                for values in [[0, 0], [127, 0], [0, 127], [127, 127]] {
                    let mut as_sent = inputs;
                    for (column, value) in free.into_iter().zip(values) {
                        as_sent[column] = value;
                    }
                    prop_assert!(cascade.judge(&as_sent, more, threshold).path.is_block());
                }
            }
        }

        #[test]
        fn a_tree_decides_where_it_knows_and_the_perceptron_elsewhere(
            cascade in cascades(), inputs in inputs(), threshold in -500..500_i32,
        ) {
            let said = cascade.judge(&inputs, 0, threshold);
            let leaf = i32::from(cascade.tree.logit(&inputs));
            let want = if leaf >= i32::from(cascade.tree.block) && leaf >= threshold {
                Said { logit: leaf, path: EnsemblePath::TreeBlock }
            } else if leaf <= i32::from(cascade.tree.allow) {
                Said { logit: leaf, path: EnsemblePath::TreeAllow }
            } else if cascade.mlp.logit_plain(&inputs) >= threshold {
                Said { logit: cascade.mlp.logit_plain(&inputs), path: EnsemblePath::MlpBlock }
            } else {
                Said { logit: cascade.mlp.logit_plain(&inputs), path: EnsemblePath::MlpAllow }
            };
            prop_assert_eq!(said, want);
        }
    }
}
