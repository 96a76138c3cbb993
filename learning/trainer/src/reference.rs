// SPDX-License-Identifier: Apache-2.0
//! What a model was trained on, in short.

use sunbeam_ensemble::{BINS, INPUTS, Reference, input_bin, score_bin};

use crate::cascade::Row;

/// Medians of benign rows; shares of all rows and scores by bin. `scored` are rows of validation.
pub fn reference(rows: &[Row], scored: &[([u8; INPUTS], i32)]) -> Reference {
    let mut reference = Reference::default();
    for (column, usual) in reference.usual.iter_mut().enumerate() {
        let benign = rows.iter().filter(|row| !row.is_attack);
        let mut values: Vec<u8> = benign.filter_map(|row| row.inputs.get(column).copied()).collect();
        values.sort_unstable();
        *usual = values.get(values.len() / 2).copied().unwrap_or(0);
    }
    for (column, shares) in reference.inputs.iter_mut().enumerate() {
        *shares =
            shares_of(scored.iter().filter_map(|(inputs, _)| inputs.get(column).copied()).map(input_bin));
    }
    reference.scores = shares_of(scored.iter().map(|(_, logit)| score_bin(*logit)));
    reference
}

fn shares_of(bins: impl Iterator<Item = usize>) -> [u16; BINS] {
    let mut counts = [0_u64; BINS];
    for bin in bins {
        if let Some(count) = counts.get_mut(bin) {
            *count += 1;
        }
    }
    let all = counts.iter().sum::<u64>().max(1);
    counts.map(|count| u16::try_from(count * 65_535 / all).unwrap_or(u16::MAX))
}
