// SPDX-License-Identifier: Apache-2.0
//! How far a rate may be from what was counted.

use super::binomial::{Chance, ln_at_most};

/// Where a rate lies, within `0.0..=1.0`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Not above `high`.
    pub low: f64,
    /// Not below `low`.
    pub high: f64,
}

impl Interval {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { low: 0.0, high: 1.0 };
}

/// The 95 % interval of a rate of so many `hits` in `trials` (Wilson 1927; recommended by Brown, Cai & DasGupta
/// 2001). Always holds `hits / trials`; everything without trials.
pub fn wilson(hits: f64, trials: f64) -> Interval {
    if !(trials > 0.0 && (0.0..=trials).contains(&hits)) {
        return Interval::UNKNOWN;
    }
    let (rate, square) = (hits / trials, Z_95 * Z_95);
    let centre = rate + square / (2.0 * trials);
    let spread = Z_95 * (rate * (1.0 - rate) / trials + square / (4.0 * trials * trials)).sqrt();
    let scale = 1.0 + square / trials;
    Interval {
        low: ((centre - spread) / scale).clamp(0.0, rate),
        high: ((centre + spread) / scale).clamp(rate, 1.0),
    }
}

/// The 97.5th percentile of the normal distribution.
const Z_95: f64 = 1.959_963_984_540_054;

/// The exact one-sided upper bound of a rate of so many `hits` in `trials` (Clopper & Pearson 1934): the rate at
/// which so few hits have a chance of `1 - confidence`. 1 where nothing can be said: no trials, all hits, a confidence
/// that is none. Under two milliseconds for ten million trials.
pub fn clopper_pearson_upper(hits: u64, trials: u64, confidence: f64) -> f64 {
    if hits >= trials {
        return 1.0;
    }
    let ln_left = (-confidence).ln_1p();
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = low + (high - low) / 2.0;
        if ln_at_most(hits, trials, Chance::new(middle)) <= ln_left {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// To 2^-100: rates of one in ten million keep all digits of a double.
const HALVINGS: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(name: &str, got: f64, want: f64) {
        assert!((got - want).abs() <= 1e-9 * want.abs(), "{name}: {got:e} is not {want:e}");
    }

    #[test]
    fn wilson_intervals_are_the_known_ones() {
        // The formula in 40 digits (mpmath).
        for (hits, trials, low, high) in WILSON {
            let interval = wilson(hits, trials);
            let name = format!("{hits} of {trials}");
            assert!((interval.low - low).abs() < 1e-12, "{name}: {interval:?}");
            assert!((interval.high - high).abs() < 1e-12, "{name}: {interval:?}");
        }
        for (hits, trials) in [(0.0, 0.0), (2.0, 1.0), (-1.0, 1.0), (f64::NAN, 1.0), (1.0, f64::NAN)] {
            assert_eq!(wilson(hits, trials), Interval::UNKNOWN);
        }
    }

    #[test]
    fn upper_bounds_are_the_known_ones() {
        // scipy, `beta.ppf(confidence, hits + 1, trials - hits)`.
        for (hits, trials, confidence, want) in UPPER {
            close(&format!("{hits} of {trials}"), clopper_pearson_upper(hits, trials, confidence), want);
        }
    }

    #[test]
    fn nothing_in_2995_is_under_one_in_a_thousand() {
        let bound = |trials| clopper_pearson_upper(0, trials, 0.95);
        assert!(bound(2995) < 0.001 && bound(2994) > 0.001);
        close("the closed form", bound(2995), 1.0 - 0.05_f64.powf(1.0 / 2995.0));
        // Hanley & Lippman-Hand 1983: three over the trials.
        assert!((bound(1_000_000) * 1_000_000.0 - 3.0).abs() < 0.01);
    }

    #[test]
    fn what_says_nothing_bounds_nothing() {
        for (hits, trials, confidence) in [(0, 0, 0.95), (5, 5, 0.95), (9, 5, 0.95), (1, 9, 1.0), (1, 9, 2.0)]
        {
            assert_eq!(clopper_pearson_upper(hits, trials, confidence), 1.0, "{hits} of {trials}");
        }
        assert_eq!(clopper_pearson_upper(1, 9, f64::NAN), 1.0);
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_rate(hits in 0..5000_u32, more in 0..5000_u32) {
            let (hits, trials) = (f64::from(hits), f64::from(hits) + f64::from(more));
            let interval = wilson(hits, trials);
            prop_assert!(interval.low <= interval.high);
            prop_assert!(trials == 0.0 || (interval.low..=interval.high).contains(&(hits / trials)));
        }

        #[test]
        fn an_upper_bound_rises_with_hits_and_falls_with_trials(hits in 0..200_u64, more in 1..200_u64) {
            let trials = hits + more;
            let bound = clopper_pearson_upper(hits, trials, 0.95);
            prop_assert!(bound > hits as f64 / trials as f64 && bound <= 1.0);
            prop_assert!(clopper_pearson_upper(hits + 1, trials, 0.95) > bound);
            prop_assert!(clopper_pearson_upper(hits, trials + 1, 0.95) < bound);
        }
    }

    const WILSON: [(f64, f64, f64, f64); 6] = [
        (0.0, 10.0, 0.0, 0.277_532_799_862_889_26),
        (1.0, 10.0, 0.017_876_213_095_072_903, 0.404_150_026_795_238_5),
        (5.0, 10.0, 0.236_593_090_512_563_97, 0.763_406_909_487_436_1),
        (10.0, 10.0, 0.722_467_200_137_110_7, 1.0),
        (3.0, 2995.0, 0.000_340_715_172_813_488_57, 0.002_941_038_449_655_209),
        (999_999.0, 1_000_000.0, 0.999_994_335_088_195_7, 0.999_999_823_475_423_3),
    ];

    const UPPER: [(u64, u64, f64, f64); 15] = [
        (0, 1, 0.95, 0.95),
        (0, 10, 0.95, 0.258_865_550_893_052_2),
        (1, 10, 0.95, 0.394_163_302_436_504_66),
        (9, 10, 0.95, 0.994_883_803_108_176_3),
        (5, 10, 0.5, 0.548_305_843_776_336_8),
        (5, 10, 0.05, 0.303_537_212_564_042_37),
        (0, 2995, 0.95, 0.000_999_744_420_901_142),
        (3, 2995, 0.95, 0.002_586_813_077_068_793),
        (2, 100_000, 0.975, 7.224_498_936_504_79e-05),
        (0, 10_000_000, 0.95, 2.995_731_824_833_442_4e-07),
        (1, 10_000_000, 0.95, 4.743_863_629_843_794e-07),
        (1000, 10_000_000, 0.99, 0.000_107_606_551_453_762_71),
        (5_000_000, 10_000_000, 0.95, 0.500_260_124_169_834_2),
        (9_999_999, 10_000_000, 0.95, 0.999_999_994_870_670_6),
        (9_990_000, 10_000_000, 0.999, 0.999_030_602_765_965_6),
    ];
}
