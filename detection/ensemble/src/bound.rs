// SPDX-License-Identifier: Apache-2.0
//! What a count of errors says about how often there are some, and where a threshold can stand so that there are few.

/// How sure a bound is.
pub const CONFIDENCE: f64 = 0.95;

/// The exact upper bound of Clopper and Pearson (1934), one-sided at [`CONFIDENCE`]: with `errors` among `trials`, the
/// greatest rate under which so few are no surprise. 1 where there were no trials, or nothing but errors.
pub fn upper_bound(errors: u64, trials: u64) -> f64 {
    if errors >= trials {
        return 1.0;
    }
    let combinations = ln_combinations(trials, errors);
    let (mut low, mut high) = (number(errors) / number(trials), 1.0);
    // Each step halves what is left: beyond this many nothing is left of a double.
    const STEPS: usize = 60;
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if at_most(errors, trials, middle, combinations) > 1.0 - CONFIDENCE {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The probability of at most `errors` among `trials`, at a `rate` above what was seen: so the terms fall towards 0
/// errors, and those that are no longer seen beside the sum are left out.
fn at_most(errors: u64, trials: u64, rate: f64, combinations: f64) -> f64 {
    let (yes, no) = (rate, 1.0 - rate);
    if no <= 0.0 {
        return 0.0;
    }
    let mut term =
        (combinations + number(errors) * yes.ln() + number(trials.saturating_sub(errors)) * no.ln()).exp();
    let mut sum = term;
    for at in (1..=errors).rev() {
        term *= number(at) / number(trials.saturating_sub(at) + 1) * no / yes;
        sum += term;
        if term <= sum * f64::EPSILON {
            break;
        }
    }
    sum
}

/// The logarithm of how many ways there are to choose.
fn ln_combinations(of: u64, chosen: u64) -> f64 {
    let chosen = chosen.min(of.saturating_sub(chosen));
    (0..chosen).map(|at| (number(of - at) / number(at + 1)).ln()).sum()
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests stay below 2^53")]
const fn number(count: u64) -> f64 {
    count as f64
}

/// Bins of a [`Calibration`]'s logits: a quarter each, from -8 to 8, where thresholds end.
pub const LOGIT_BINS: usize = 64;
const LEAST: i32 = -8 * 256;
const WIDTH: i32 = 64;

/// The bin of a logit in 1/256.
pub fn logit_bin(logit: i32) -> usize {
    let above = logit.saturating_sub(LEAST).max(0);
    usize::try_from(above / WIDTH).unwrap_or(0).min(LOGIT_BINS - 1)
}

/// Where a threshold can stand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suggestion {
    /// The lowest that does, in 1/256 of a logit.
    pub threshold: i32,
    /// Requests that were at or above it.
    pub above: u64,
    /// The share that is there at most, [`upper_bound`].
    pub upper: f64,
}

/// Why there is no suggestion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSuggestion {
    /// So many requests are needed: not even none among fewer would say enough.
    TooFew {
        /// At least.
        needed: u64,
    },
    /// Even the highest threshold has too many above it.
    NoneDoes,
}

/// Logits of requests that were benign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calibration(pub [u64; LOGIT_BINS]);

impl Calibration {
    /// All of them.
    pub fn requests(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The lowest threshold under which at most `rate` of such requests lie above it, sure at [`CONFIDENCE`].
    ///
    /// The bound holds though the threshold is chosen by the same requests: with `k` the most that the bound allows,
    /// what lies above the `k + 1`th largest logit is distributed as Beta(k + 1, n − k) whatever the logits are, and
    /// the quantile of that is the bound of Clopper and Pearson (Wilks 1941). It takes requests for independent; those
    /// of one visitor are alike, so a few visitors say less than their requests.
    ///
    /// # Errors
    /// Why there is none.
    pub fn suggest(&self, rate: f64) -> Result<Suggestion, NoSuggestion> {
        let requests = self.requests();
        let needed = needed(rate);
        if requests < needed {
            return Err(NoSuggestion::TooFew { needed });
        }
        let mut above = 0_u64;
        let mut found = None;
        // Not the lowest bin: everything is at or above its beginning.
        for (bin, count) in self.0.iter().enumerate().skip(1).rev() {
            above = above.saturating_add(*count);
            let upper = upper_bound(above, requests);
            if upper > rate {
                break;
            }
            found = Some(Suggestion { threshold: beginning(bin), above, upper });
        }
        found.ok_or(NoSuggestion::NoneDoes)
    }
}

fn beginning(bin: usize) -> i32 {
    LEAST.saturating_add(i32::try_from(bin).unwrap_or(0).saturating_mul(WIDTH))
}

/// The rule of three.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped and not negative")]
fn needed(rate: f64) -> u64 {
    (3.0 / rate.clamp(1e-9, 1.0)).ceil() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_bounds_come_out() {
        // One-sided 95 %, from tables and from the closed form where there were no errors.
        for (errors, trials, want) in [
            (0, 2995, 0.000_999_76),
            (0, 10, 0.258_866),
            (1, 10, 0.394_163),
            (5, 10, 0.777_559),
            (3, 100, 0.075_711),
            (50, 100, 0.586_38),
            (1_000, 1_000_000, 0.001_053_78),
        ] {
            let bound = upper_bound(errors, trials);
            assert!((bound / want - 1.0).abs() < 1e-3, "{errors} of {trials}: {bound}");
        }
        assert!(upper_bound(0, 2995) <= 0.001 && upper_bound(0, 2994) > 0.001);
        for (errors, trials) in [(0, 0), (10, 10), (7, 3)] {
            assert!((upper_bound(errors, trials) - 1.0).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn a_threshold_is_the_lowest_that_keeps_its_word() {
        let mut benign = Calibration([0; LOGIT_BINS]);
        benign.0[logit_bin(-2000)] = 2_999;
        assert_eq!(benign.suggest(0.001), Err(NoSuggestion::TooFew { needed: 3_000 }));
        benign.0[logit_bin(-2000)] = 100_000;
        benign.0[logit_bin(-300)] = 500;
        benign.0[logit_bin(100)] = 50;
        let suggested = benign.suggest(0.001).unwrap();
        assert_eq!((suggested.threshold, suggested.above), (-256, 50), "above the 500");
        assert!(suggested.upper <= 0.001 && suggested.upper > 50.0 / 100_550.0);
        assert!(benign.suggest(0.01).unwrap().threshold < -300, "of the 500 some may be above");
        benign.0[LOGIT_BINS - 1] = 10_000;
        assert_eq!(benign.suggest(0.001), Err(NoSuggestion::NoneDoes));
    }

    /// By the sum, as it is defined.
    fn slow_at_most(errors: u64, trials: u64, rate: f64) -> f64 {
        let term = |at: u64| {
            (ln_combinations(trials, at) + at as f64 * rate.ln() + (trials - at) as f64 * (-rate).ln_1p())
                .exp()
        };
        (0..=errors).map(term).sum()
    }

    proptest! {
        #[test]
        fn at_the_bound_so_few_errors_have_one_chance_in_twenty(trials in 1..400_u64, errors in 0..400_u64) {
            let errors = errors % trials;
            let bound = upper_bound(errors, trials);
            prop_assert!(bound > errors as f64 / trials as f64);
            prop_assert!((slow_at_most(errors, trials, bound) - 0.05).abs() < 1e-6);
        }

        #[test]
        fn every_logit_has_a_bin_that_begins_at_or_below_it(logit in any::<i32>()) {
            let bin = logit_bin(logit);
            prop_assert!(bin < LOGIT_BINS);
            prop_assert!(bin == 0 || beginning(bin) <= logit);
        }
    }
}
