// SPDX-License-Identifier: Apache-2.0
//! How much each row weighs, so that neither the larger class nor the largest source is all there is.

use std::collections::BTreeMap;

/// Factors for rows of (class, source, weight), in their order: both classes weigh the same together, and a source as the
/// root of its size. A source without weight has none.
pub(crate) fn factors(rows: &[(bool, &str, f64)]) -> Vec<f32> {
    let mut sizes: BTreeMap<(bool, &str), f64> = BTreeMap::new();
    for (is_attack, source, weight) in rows {
        *sizes.entry((*is_attack, source)).or_default() += weight;
    }
    let mut roots = [0.0_f64; 2];
    for ((is_attack, _), size) in &sizes {
        if let Some(root) = roots.get_mut(usize::from(*is_attack)) {
            *root += size.sqrt();
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let half = rows.len() as f64 / 2.0;
    let factor = |(is_attack, source, _): &(bool, &str, f64)| {
        let size = sizes.get(&(*is_attack, *source)).copied().unwrap_or(0.0);
        let root = roots.get(usize::from(*is_attack)).copied().unwrap_or(0.0);
        #[expect(clippy::cast_possible_truncation, reason = "a weight")]
        let factor = if size > 0.0 { (half / (size.sqrt() * root)) as f32 } else { 0.0 };
        factor
    };
    rows.iter().map(factor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_weigh_the_same_and_sources_as_the_root_of_their_size() {
        let mut rows = vec![(true, "a", 1.0); 4];
        rows.extend([(false, "b", 1.0); 16]);
        rows.extend([(false, "c", 1.0); 4]);
        rows.extend([(false, "d", 0.0); 3]);
        let factors = factors(&rows);
        let sum = |range: std::ops::Range<usize>| -> f64 {
            rows[range.clone()]
                .iter()
                .zip(&factors[range])
                .map(|(row, factor)| row.2 * f64::from(*factor))
                .sum()
        };
        let close = |one: f64, other: f64| (one - other).abs() < 1e-4;
        assert!(close(sum(0..4), 13.5) && close(sum(4..24), 13.5), "{factors:?}");
        assert!(close(sum(4..20), 2.0 * sum(20..24)), "{factors:?}");
        assert_eq!(factors[24..], [0.0; 3], "no weight, and no infinity");
    }
}
