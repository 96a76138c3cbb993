// SPDX-License-Identifier: Apache-2.0
//! Whether what is seen now looks like what was learnt from.

/// The population stability index of two histograms over the same bins: `Σ (now − then) ln(now / then)` of shares
/// (Siddiqi 2006, Credit Risk Scorecards). Half a sample is added to every bin, so that an empty one is no infinity
/// and two empty ones add almost nothing. None where the bins differ in number, or one side has no samples.
pub fn population_stability_index(then: &[u64], now: &[u64]) -> Option<f64> {
    let (then_total, now_total) = (smoothed_total(then)?, smoothed_total(now)?);
    let term = |(then, now): (&u64, &u64)| {
        let then = (*then as f64 + SMOOTHING) / then_total;
        let now = (*now as f64 + SMOOTHING) / now_total;
        (now - then) * (now / then).ln()
    };
    (then.len() == now.len()).then(|| then.iter().zip(now).map(term).sum())
}

/// What every bin has before anything is counted: the prior of Krichevsky & Trofimov 1981.
const SMOOTHING: f64 = 0.5;

fn smoothed_total(bins: &[u64]) -> Option<f64> {
    let total: f64 = bins.iter().map(|count| *count as f64).sum();
    (total > 0.0).then_some(total + SMOOTHING * bins.len() as f64)
}

/// What an index says, by the usual rule of thumb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    /// Below 0.1.
    Stable,
    /// Below 0.25: worth a look.
    Shifting,
    /// 0.25 and above, or not a number: the model was trained on something else.
    Shifted,
}

impl Stability {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn indices_are_the_known_ones() {
        // (0.6 − 0.5) ln(0.6 / 0.5) + (0.4 − 0.5) ln(0.4 / 0.5), and half a sample more in each bin.
        let index = population_stability_index(&[500_000, 500_000], &[600_000, 400_000]);
        assert!((index.expect("an index") - 0.040_546_5).abs() < 1e-6);
        // Shares of 10.5 / 11 and 0.5 / 11, turned round: 2 · (10 / 11) · ln 21.
        let turned = population_stability_index(&[10, 0], &[0, 10]).expect("an index");
        assert!((turned - 20.0 / 11.0 * 21.0_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_compared_has_no_index() {
        for (name, then, now) in [
            ("nothing", &[][..], &[][..]),
            ("other bins", &[1, 2], &[1]),
            ("none then", &[0, 0], &[1, 2]),
            ("none now", &[1, 2], &[0, 0]),
        ] {
            assert_eq!(population_stability_index(then, now), None, "{name}");
        }
    }

    #[test]
    fn an_index_has_a_name() {
        for (index, want) in [
            (0.0, Stability::Stable),
            (0.1, Stability::Shifting),
            (0.25, Stability::Shifted),
            (f64::NAN, Stability::Shifted),
        ] {
            assert_eq!(Stability::of(index), want, "{index}");
        }
    }

    proptest! {
        #[test]
        fn an_index_is_zero_or_more_and_the_same_both_ways(
            bins in prop::collection::vec((0..1000_u64, 0..1000_u64), 1..20)
        ) {
            let (then, now): (Vec<u64>, Vec<u64>) = bins.into_iter().unzip();
            let (one, other) = (population_stability_index(&then, &now), population_stability_index(&now, &then));
            prop_assert!(one.is_none_or(|index| index >= 0.0));
            prop_assert!((one.unwrap_or(0.0) - other.unwrap_or(0.0)).abs() < 1e-9);
            prop_assert!(population_stability_index(&then, &then).is_none_or(|index| index.abs() < 1e-12));
        }
    }
}
