// SPDX-License-Identifier: Apache-2.0
//! What a threshold gets right and wrong.

use super::{Scored, share};

/// The four counts at a threshold. Whole numbers are exact up to 2^53.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Confusion {
    /// Attacks that are blocked.
    pub true_positives: f64,
    /// Benign that is blocked.
    pub false_positives: f64,
    /// Benign that passes.
    pub true_negatives: f64,
    /// Attacks that pass.
    pub false_negatives: f64,
}

impl Confusion {
    /// Each sample by its weight.
    pub fn weighted(samples: &[Scored], threshold: f64) -> Self {
        Self::of(samples, threshold, |sample| sample.weight)
    }

    /// Each sample once: what intervals are made of. Samples without a weight are left out here too.
    pub fn counted(samples: &[Scored], threshold: f64) -> Self {
        Self::of(samples, threshold, |_| 1.0)
    }

    fn of(samples: &[Scored], threshold: f64, weight: impl Fn(&Scored) -> f64) -> Self {
        let mut confusion = Self::default();
        for sample in samples.iter().filter(|sample| sample.counts()) {
            *confusion.cell(sample.is_attack, sample.score >= threshold) += weight(sample);
        }
        confusion
    }

    const fn cell(&mut self, is_attack: bool, is_blocked: bool) -> &mut f64 {
        match (is_attack, is_blocked) {
            (true, true) => &mut self.true_positives,
            (false, true) => &mut self.false_positives,
            (false, false) => &mut self.true_negatives,
            (true, false) => &mut self.false_negatives,
        }
    }

    /// All attacks.
    pub fn attacks(&self) -> f64 {
        self.true_positives + self.false_negatives
    }

    /// All that is benign.
    pub fn benign(&self) -> f64 {
        self.false_positives + self.true_negatives
    }

    /// All that is blocked.
    pub fn blocked(&self) -> f64 {
        self.true_positives + self.false_positives
    }

    /// Share of the attacks that is blocked: recall, sensitivity. None without attacks.
    pub fn true_positive_rate(&self) -> Option<f64> {
        share(self.true_positives, self.attacks())
    }

    /// Share of the benign that is blocked. None without benign.
    pub fn false_positive_rate(&self) -> Option<f64> {
        share(self.false_positives, self.benign())
    }

    /// Share of the benign that passes: specificity. None without benign.
    pub fn true_negative_rate(&self) -> Option<f64> {
        share(self.true_negatives, self.benign())
    }

    /// Share of the blocked that is an attack. None where nothing is blocked.
    pub fn precision(&self) -> Option<f64> {
        share(self.true_positives, self.blocked())
    }

    /// The mean of both rates of being right (Brodersen et al. 2010, The balanced accuracy). None where a class is
    /// missing.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        Some((self.true_positive_rate()? + self.true_negative_rate()?) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measures::tests::{near, samples, some_samples};
    use proptest::prelude::*;

    #[test]
    fn rates_are_the_known_ones() {
        let mut all = samples(&[0.9, 0.7, 0.5, 0.1], &[0.5, 0.2]);
        let confusion = Confusion::counted(&all, 0.5);
        near("true positives", confusion.true_positive_rate(), 0.75);
        near("false positives", confusion.false_positive_rate(), 0.5);
        near("true negatives", confusion.true_negative_rate(), 0.5);
        near("balanced", confusion.balanced_accuracy(), 0.625);
        near("precision", confusion.precision(), 0.75);
        all.iter_mut().filter(|sample| sample.score == 0.2).for_each(|sample| sample.weight = 3.0);
        near("weighted", Confusion::weighted(&all, 0.5).false_positive_rate(), 0.25);
        near("counted", Confusion::counted(&all, 0.5).false_positive_rate(), 0.5);
    }

    #[test]
    fn a_missing_class_has_no_rate() {
        let attacks = Confusion::counted(&samples(&[1.0, f64::NAN], &[]), 0.5);
        near("attacks", attacks.true_positive_rate(), 0.5);
        assert_eq!((attacks.false_positive_rate(), attacks.balanced_accuracy()), (None, None));
        assert_eq!(Confusion::default().precision(), None);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(samples in some_samples(), threshold in -2.0..2.0_f64) {
            let confusion = Confusion::counted(&samples, threshold);
            prop_assert_eq!(confusion.attacks() + confusion.benign(), samples.len() as f64);
        }
    }
}
