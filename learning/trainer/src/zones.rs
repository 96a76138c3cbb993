// SPDX-License-Identifier: Apache-2.0
//! From scores of benign validation rows to zones.

use sunbeam_ensemble::Cascade;

/// The least logit that so many of the benign ones do not reach. In 1/256.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a count"
)]
pub fn doubtful(benign: &[i32], rate: f64) -> i32 {
    let mut sorted = benign.to_vec();
    sorted.sort_unstable_by(|one, other| other.cmp(one));
    let allowed = (sorted.len() as f64 * rate) as usize;
    sorted.get(allowed).map_or(0, |logit| logit.saturating_add(1))
}

/// Half a logit above all benign ones that have a sign of an attack, and above what is doubtful. In 1/256.
pub fn certain(benign_with_sign: &[i32]) -> i32 {
    const MARGIN: i32 = 128;
    benign_with_sign.iter().copied().max().unwrap_or(0).max(0).saturating_add(MARGIN)
}

/// Moves all logits down so that `by` becomes 0: one half is where doubt begins.
pub fn shift(cascade: &mut Cascade, by: i32) {
    let by = by.clamp(-4096, 4096);
    let narrow = i16::try_from(by).unwrap_or(0);
    for leaf in &mut cascade.tree.leaves {
        *leaf = leaf.saturating_sub(narrow);
    }
    cascade.tree.allow = cascade.tree.allow.saturating_sub(narrow);
    cascade.tree.block = cascade.tree.block.saturating_sub(narrow);
    // In units of the output before it is scaled.
    let units = (i64::from(by) << 16) / i64::from(cascade.mlp.scale).max(1);
    let bias = i64::from(cascade.mlp.output_bias) - units;
    cascade.mlp.output_bias = i32::try_from(bias).unwrap_or(cascade.mlp.output_bias);
}
