// SPDX-License-Identifier: Apache-2.0
//! Tails of the binomial distribution in log space, right to nine digits and more up to ten million trials.

use std::f64::consts::{LN_2, TAU};

/// A chance and its complement: both are kept, so that neither loses its digits beside 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance {
    hit: f64,
    miss: f64,
}

impl Chance {
    /// `hit` is within `0.0..=1.0`.
    pub(super) fn new(hit: f64) -> Self {
        debug_assert!((0.0..=1.0).contains(&hit), "{hit} is no chance");
        Self { hit, miss: 1.0 - hit }
    }

    const fn turned(self) -> Self {
        Self { hit: self.miss, miss: self.hit }
    }
}

/// The logarithm of the chance of at most `hits` of `trials`. `hits` is below `trials`.
pub(super) fn ln_at_most(hits: u64, trials: u64, chance: Chance) -> f64 {
    debug_assert!(hits < trials, "{hits} of {trials} says nothing");
    if (hits as f64) < trials as f64 * chance.hit {
        ln_lower_tail(hits, trials, chance)
    } else {
        ln_complement(ln_lower_tail(trials - hits - 1, trials, chance.turned()))
    }
}

/// `ln(1 - e^x)` for `x <= 0` (Mächler 2012, Accurately computing log(1 - exp(-|a|))).
fn ln_complement(x: f64) -> f64 {
    if x > -LN_2 { (-x.exp_m1()).ln() } else { (-x.exp()).ln_1p() }
}

/// Adds terms from `hits` down. Below the mean they shrink faster and faster: about nine standard deviations of
/// them are enough, 15,000 of ten million.
fn ln_lower_tail(hits: u64, trials: u64, chance: Chance) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for count in (1..=hits).rev() {
        term *= count as f64 * chance.miss / ((trials - count + 1) as f64 * chance.hit);
        sum += term;
        if term < sum * f64::EPSILON * 1e-2 {
            break;
        }
    }
    ln_mass(hits, trials, chance) + sum.ln()
}

/// The logarithm of the chance of exactly `hits` of `trials` (Loader 2000, Fast and accurate computation of
/// binomial probabilities): no factorial is taken, so nothing cancels.
fn ln_mass(hits: u64, trials: u64, chance: Chance) -> f64 {
    let (n, x, y) = (trials as f64, hits as f64, (trials - hits) as f64);
    if hits == 0 {
        n * ln_beside(chance.miss, chance.hit)
    } else if hits == trials {
        n * ln_beside(chance.hit, chance.miss)
    } else {
        stirling_error(trials)
            - stirling_error(hits)
            - stirling_error(trials - hits)
            - deviance(x, n * chance.hit)
            - deviance(y, n * chance.miss)
            + 0.5 * (n / (TAU * x * y)).ln()
    }
}

/// `ln(chance)`, from its complement where that is the smaller.
fn ln_beside(chance: f64, complement: f64) -> f64 {
    if complement < 0.5 { (-complement).ln_1p() } else { chance.ln() }
}

/// `ln n!` less Stirling's formula for it: by the definition below 16, by the series from there.
fn stirling_error(n: u64) -> f64 {
    let x = n as f64;
    if n < 16 {
        let ln_factorial: f64 = (2..=n).map(|factor| (factor as f64).ln()).sum();
        return ln_factorial - (0.5 * (TAU * x).ln() + x * x.ln() - x);
    }
    let square = x * x;
    (1.0 / 12.0
        - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0 - 1.0 / (1188.0 * square)) / square) / square)
            / square)
        / x
}

/// `x ln(x / mean) + mean - x`, by a series where the two are close. Loader's `bd0`.
fn deviance(x: f64, mean: f64) -> f64 {
    let (difference, both) = (x - mean, x + mean);
    if difference.abs() >= 0.1 * both {
        return x * (x / mean).ln() - difference;
    }
    let ratio = difference / both;
    let (mut sum, mut power) = (difference * ratio, 2.0 * x * ratio);
    for odd in (3..200).step_by(2) {
        power *= ratio * ratio;
        let next = sum + power / f64::from(odd);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Adds up all masses by logarithms of factorials, as one would without thinking.
    fn at_most_slowly(hits: u64, trials: u64, hit: f64) -> f64 {
        let ln_factorial = |n: u64| (2..=n).map(|factor| (factor as f64).ln()).sum::<f64>();
        let mass = |count: u64| {
            let ways = ln_factorial(trials) - ln_factorial(count) - ln_factorial(trials - count);
            (ways + count as f64 * hit.ln() + (trials - count) as f64 * (1.0 - hit).ln()).exp()
        };
        (0..=hits).map(mass).sum()
    }

    proptest! {
        #[test]
        fn tails_equal_the_slow_ones(trials in 1..200_u64, part in 0.0..1.0_f64, hit in 0.001..0.999_f64) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of so few")]
            let hits = ((trials as f64 * part) as u64).min(trials - 1);
            let (fast, slow) = (ln_at_most(hits, trials, Chance::new(hit)).exp(), at_most_slowly(hits, trials, hit));
            prop_assert!((fast - slow).abs() <= 1e-10 * slow.max(1e-290), "{fast} {slow}");
        }
    }
}
