// SPDX-License-Identifier: Apache-2.0
//! Whether a score of 0.8 means an attack in four of five cases.

use std::num::NonZeroU16;

use super::{Scored, share};

/// Scores beside what came of them, in bins of equal width (Guo et al. 2017, On calibration of modern neural
/// networks). Good only for scores that are probabilities.
#[derive(Clone, Debug)]
pub struct Reliability {
    /// From 0 to 1; some may be empty.
    pub bins: Vec<Bin>,
    /// The expected calibration error: how far scores are off, mean over the samples (Naeini et al. 2015).
    pub expected_error: f64,
    /// How far the worst bin is off.
    pub worst_error: f64,
}

/// The samples of some scores. The last bin holds 1 too.
#[derive(Clone, Copy, Debug)]
pub struct Bin {
    /// The lowest score.
    pub low: f64,
    /// Above the highest score.
    pub high: f64,
    /// Samples, each once.
    pub rows: u64,
    /// Samples by weight.
    pub weight: f64,
    scores: f64,
    attacks: f64,
}

impl Bin {
    const fn new(low: f64, high: f64) -> Self {
        Self { low, high, rows: 0, weight: 0.0, scores: 0.0, attacks: 0.0 }
    }

    fn add(&mut self, sample: &Scored) {
        self.rows += 1;
        self.weight += sample.weight;
        self.scores += sample.weight * sample.score;
        self.attacks += if sample.is_attack { sample.weight } else { 0.0 };
    }

    /// The mean score. None of an empty bin.
    pub fn mean_score(&self) -> Option<f64> {
        share(self.scores, self.weight)
    }

    /// Share of attacks. None of an empty bin.
    pub fn attack_rate(&self) -> Option<f64> {
        share(self.attacks, self.weight)
    }

    /// How far both are apart; 0 of an empty bin.
    fn error(&self) -> f64 {
        share((self.scores - self.attacks).abs(), self.weight).unwrap_or(0.0)
    }
}

/// Sorts samples into so many bins. None without samples, or where a score is no probability.
pub fn reliability(samples: &[Scored], bins: NonZeroU16) -> Option<Reliability> {
    let mut bins = empty_bins(bins.get());
    for sample in samples.iter().filter(|sample| sample.counts()) {
        bin_of(&mut bins, sample.score)?.add(sample);
    }
    let errors = bins.iter().map(|bin| bin.weight * bin.error()).sum();
    let expected_error = share(errors, bins.iter().map(|bin| bin.weight).sum())?;
    let worst_error = bins.iter().map(Bin::error).fold(0.0, f64::max);
    Some(Reliability { bins, expected_error, worst_error })
}

fn empty_bins(count: u16) -> Vec<Bin> {
    let edge = |index: u16| f64::from(index) / f64::from(count);
    (0..count).map(|index| Bin::new(edge(index), edge(index.saturating_add(1)))).collect()
}

fn bin_of(bins: &mut [Bin], score: f64) -> Option<&mut Bin> {
    let is_probability = (0.0..=1.0).contains(&score);
    let above = bins.partition_point(|bin| bin.low <= score);
    is_probability.then_some(())?;
    bins.get_mut(above.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measures::tests::samples;
    use proptest::prelude::*;

    const TEN: NonZeroU16 = NonZeroU16::new(10).expect("ten is not zero");

    #[test]
    fn errors_are_the_known_ones() {
        for (name, attacks, benign, expected, worst) in [
            ("right", &[1.0, 1.0][..], &[0.0][..], 0.0, 0.0),
            ("wrong", &[0.0], &[1.0], 1.0, 1.0),
            ("a coin that is one", &[0.5], &[0.5], 0.0, 0.0),
            ("too sure", &[0.95, 0.95], &[0.95, 0.05], 0.225, 0.95 - 2.0 / 3.0),
        ] {
            let all = reliability(&samples(attacks, benign), TEN).expect("probabilities");
            assert!((all.expected_error - expected).abs() < 1e-12, "{name}: {}", all.expected_error);
            assert!((all.worst_error - worst).abs() < 1e-12, "{name}: {}", all.worst_error);
        }
    }

    #[test]
    fn what_is_no_probability_has_no_reliability() {
        for (name, attacks) in
            [("none", &[][..]), ("a logit", &[1.5]), ("negative", &[-0.1]), ("not a number", &[f64::NAN])]
        {
            assert!(reliability(&samples(attacks, &[]), TEN).is_none(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn each_sample_is_in_its_bin(score in 0.0..=1.0_f64, bins in 1..300_u16) {
            let bins = NonZeroU16::new(bins).expect("at least one");
            let all = reliability(&samples(&[score], &[]), bins).expect("a probability");
            let filled: Vec<&Bin> = all.bins.iter().filter(|bin| bin.rows > 0).collect();
            prop_assert_eq!(filled.len(), 1);
            let bin = filled.first().expect("one");
            prop_assert!(bin.low <= score && (score < bin.high || score == 1.0));
            prop_assert!((all.expected_error - (1.0 - score)).abs() < 1e-12);
        }
    }
}
