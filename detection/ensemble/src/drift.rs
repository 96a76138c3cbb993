// SPDX-License-Identifier: Apache-2.0
//! Whether what is judged still looks like what the model was trained on.
//!
//! The reference holds all rows of validation, attacks among them, and a site's traffic is mostly benign: an index of
//! its own says little where the two were mixed otherwise. What says something is how it changes.

use sunbeam_features::{ddos, scanner};

use crate::file::Detector;
use crate::mlp::INPUTS;
use crate::reference::{BINS, Reference};

/// How many rows fell into each bin, in the shape of a [`Reference`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histograms {
    /// Of each input.
    pub inputs: [[u64; BINS]; INPUTS],
    /// Of the score.
    pub scores: [u64; BINS],
}

impl Histograms {
    /// Rows that were counted.
    pub fn rows(&self) -> u64 {
        self.scores.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Adds the rows of another.
    pub fn add(&mut self, other: &Self) {
        let own = self.inputs.iter_mut().flatten().chain(&mut self.scores);
        for (sum, more) in own.zip(other.inputs.iter().flatten().chain(&other.scores)) {
            *sum = sum.saturating_add(*more);
        }
    }

    /// The same with this traffic in the place of what the model was trained on: what is usual stays.
    #[must_use]
    pub fn reference(&self, like: &Reference) -> Reference {
        Reference {
            usual: like.usual,
            inputs: self.inputs.each_ref().map(of_all),
            scores: of_all(&self.scores),
        }
    }

    /// The stability index of each feature of a detector, and of `score`, under its name. Empty before the first row.
    pub fn indices(&self, detector: Detector, reference: &Reference) -> Vec<(&'static str, f64)> {
        let inputs = reference.inputs.iter().zip(&self.inputs);
        let features = feature_names(detector).zip(inputs);
        let score = ("score", (&reference.scores, &self.scores));
        let index = |(name, (then, now))| Some((name, stability_index(then, now)?));
        features.chain([score]).filter_map(index).collect()
    }
}

/// How many of 65,535 rows fell into each bin.
fn of_all(counts: &[u64; BINS]) -> [u16; BINS] {
    let all = counts.iter().fold(0, |sum: u128, count| sum + u128::from(*count)).max(1);
    counts.map(|count| u16::try_from(u128::from(count) * 65_535 / all).unwrap_or(u16::MAX))
}

/// The features of a detector, in the order of its inputs.
pub fn feature_names(detector: Detector) -> impl Iterator<Item = &'static str> {
    let table: &'static [ddos::Feature] = match detector {
        Detector::Scanner => &scanner::TABLE,
        Detector::Ddos => ddos::TABLE,
    };
    table.iter().map(|row| row.name)
}

/// The population stability index of two histograms: `Σ (now − then) ln(now / then)` of their shares (Siddiqi 2006,
/// Credit Risk Scorecards), with half a row more in each bin, so that an empty one makes no infinity. `None` where
/// one of them has no rows.
pub fn stability_index(then: &[u16; BINS], now: &[u64; BINS]) -> Option<f64> {
    let then = shares(then.map(u64::from))?;
    let now = shares(*now)?;
    Some(then.iter().zip(now).map(|(then, now)| (now - then) * (now / then).ln()).sum())
}

#[expect(clippy::cast_precision_loss, reason = "shares need no more than 53 bits")]
fn shares(counts: [u64; BINS]) -> Option<[f64; BINS]> {
    /// The prior of Krichevsky and Trofimov (1981).
    const MORE: f64 = 0.5;
    let total: f64 = counts.iter().map(|count| *count as f64).sum();
    (total > 0.0).then(|| counts.map(|count| (count as f64 + MORE) / (total + MORE * BINS as f64)))
}

/// Fewer rows say nothing of a share.
pub const DRIFT_ROWS_MIN: u64 = 1_000;

/// What an index says, by the usual rule of thumb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// Below 0.1.
    Stable,
    /// Below 0.25: worth a look.
    Shifting,
    /// From there on: the model was trained on something else.
    Shifted,
}

impl Drift {
    /// Of an index.
    pub fn of(index: f64) -> Self {
        if index < 0.1 {
            Self::Stable
        } else if index < 0.25 {
            Self::Shifting
        } else {
            Self::Shifted
        }
    }

    /// `stable`
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Shifting => "shifting",
            Self::Shifted => "shifted",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bins<T: Copy + Default>(two: [T; 2]) -> [T; BINS] {
        let mut bins = [T::default(); BINS];
        bins[..2].copy_from_slice(&two);
        bins
    }

    #[test]
    fn known_indices_come_out() {
        // (0.6 - 0.5) ln(0.6 / 0.5) + (0.4 - 0.5) ln(0.4 / 0.5); eight empty bins add almost nothing.
        let index = stability_index(&bins([30_000, 30_000]), &bins([600_000, 400_000])).unwrap();
        assert!((index - 0.040_546_5).abs() < 1e-3, "{index}");
        let turned = stability_index(&bins([60_000, 0]), &bins([0, 60_000])).unwrap();
        assert!(turned > 20.0, "{turned}");
        for (then, now) in [([0, 0], [5, 5]), ([5, 5], [0, 0])] {
            assert_eq!(stability_index(&bins(then.map(|count: u16| count)), &bins(now)), None);
        }
        for (index, says) in [(0.0, "stable"), (0.1, "shifting"), (0.25, "shifted"), (f64::NAN, "shifted")] {
            assert_eq!(Drift::of(index).as_str(), says);
        }
    }

    #[test]
    fn each_feature_has_an_index_and_what_is_like_the_reference_is_stable() {
        let reference = Reference {
            inputs: [bins([40_000, 25_535]); INPUTS],
            scores: bins([60_000, 5_535]),
            ..Reference::default()
        };
        let mut seen = Histograms { inputs: [bins([400, 255]); INPUTS], scores: bins([600, 55]) };
        assert_eq!(seen.rows(), 655);
        seen.add(&seen.clone());
        assert_eq!(seen.rows(), 1310);
        for (detector, features) in [(Detector::Scanner, scanner::COUNT), (Detector::Ddos, ddos::COUNT)] {
            let indices = seen.indices(detector, &reference);
            assert_eq!((indices.len(), indices[features].0), (features + 1, "score"));
            assert!(indices.iter().all(|(_, index)| Drift::of(*index) == Drift::Stable), "{indices:?}");
            assert!(Histograms::default().indices(detector, &reference).is_empty());
            // Whoever learned from this traffic is at home in it.
            let [away, home] = [Reference::default(), seen.reference(&reference)];
            assert!(seen.indices(detector, &away).is_empty());
            let indices = seen.indices(detector, &home);
            assert!(
                indices.len() > features && indices.iter().all(|(_, index)| *index < 0.02),
                "{indices:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn an_index_is_finite_and_never_below_nothing(
            then in any::<[u16; BINS]>(), now in any::<[u32; BINS]>(),
        ) {
            if let Some(index) = stability_index(&then, &now.map(u64::from)) {
                prop_assert!(index.is_finite() && index > -1e-12, "{index}");
            }
        }
    }
}
