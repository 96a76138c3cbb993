// SPDX-License-Identifier: Apache-2.0
//! Pure functions over scored samples. A sample is blocked where `score >= threshold`. What a measure cannot
//! say, for want of a class or of samples, is `None` and never a number.

mod binomial;
mod calibration;
mod confusion;
mod interval;
mod ranking;
mod stability;

use std::sync::Arc;

pub use calibration::{Bin, Reliability, reliability};
pub use confusion::Confusion;
pub use interval::{Interval, clopper_pearson_upper, wilson};
pub use ranking::{PrecisionPoint, Ranking, RocPoint};
pub use stability::{Stability, population_stability_index};

/// A sample that a model has scored.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Higher is more of an attack. Not a number counts as lower than any: it reaches no threshold.
    pub score: f64,
    /// What it is.
    pub is_attack: bool,
    /// How much it counts. One that is not above zero and finite counts for nothing.
    pub weight: f64,
    /// The corpus or log that it is from.
    pub source: Arc<str>,
}

impl Scored {
    /// A sample that counts once.
    pub fn new(score: f64, is_attack: bool, source: impl Into<Arc<str>>) -> Self {
        Self { score, is_attack, weight: 1.0, source: source.into() }
    }

    fn counts(&self) -> bool {
        self.weight > 0.0 && self.weight.is_finite()
    }
}

/// A part of a whole; none where there is no whole.
fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Samples of one source that count once.
    pub(crate) fn samples(attacks: &[f64], benign: &[f64]) -> Vec<Scored> {
        let attacks = attacks.iter().map(|score| Scored::new(*score, true, "test"));
        attacks.chain(benign.iter().map(|score| Scored::new(*score, false, "test"))).collect()
    }

    pub(crate) fn near(name: &str, got: Option<f64>, want: f64) {
        assert!(got.is_some_and(|got| (got - want).abs() < 1e-12), "{name}: {got:?} is not {want}");
    }

    /// Few different scores, so that ties are common.
    pub(crate) fn some_samples() -> impl Strategy<Value = Vec<Scored>> {
        let one = (-10..10_i32, any::<bool>(), 1..500_u32).prop_map(|(score, is_attack, weight)| Scored {
            score: f64::from(score) / 8.0,
            is_attack,
            weight: f64::from(weight) / 100.0,
            source: "test".into(),
        });
        prop::collection::vec(one, 0..60)
    }
}
