// SPDX-License-Identifier: Apache-2.0
//! What training computes with: chance that can be repeated, and functions that give the same bits everywhere (those
//! of the system's library differ between its versions).

/// Chance: `splitmix64` (Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The same seed gives the same numbers.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed(self.0)
    }

    /// Below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.bits()) * bound as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// From 0 to 1, 1 excluded.
    pub fn fraction(&mut self) -> f32 {
        // 24 bits fit a float exactly.
        #[expect(clippy::cast_precision_loss, reason = "24 bits")]
        let bits = (self.bits() >> 40) as f32;
        bits / 16_777_216.0
    }

    /// Puts `items` in an order of chance.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Mixes a number's bits.
pub const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// e to the power of `x`, to seven digits: 2 to the whole part, a polynomial for the rest.
pub fn exp(x: f32) -> f32 {
    let x = x.clamp(-80.0, 80.0) * std::f32::consts::LOG2_E;
    let whole = x.round();
    let rest = (x - whole) * std::f32::consts::LN_2;
    let terms = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let polynomial = terms.iter().fold(0.0, |sum, term| sum * rest + term);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 254")]
    let exponent = (whole + 127.0) as u32;
    polynomial * f32::from_bits(exponent << 23)
}

/// The probability that a logit says.
pub fn probability(logit: f32) -> f32 {
    1.0 / (1.0 + exp(-logit))
}

/// The logit of a probability between 0.0001 and 0.9999, by halving: the bits of a logarithm differ between libraries.
pub fn logit_of(probability_wanted: f32) -> f32 {
    let wanted = probability_wanted.clamp(1e-4, 0.9999);
    let (mut least, mut most) = (-10.0_f32, 10.0_f32);
    for _ in 0..40 {
        let middle = (least + most) / 2.0;
        if probability(middle) < wanted { least = middle } else { most = middle }
    }
    (least + most) / 2.0
}

/// In 1/256.
#[expect(clippy::cast_possible_truncation, reason = "logits are small")]
pub fn fixed(logit: f32) -> i32 {
    (logit * 256.0).round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_the_exponential() {
        for tenth in -200_i16..200 {
            let x = f32::from(tenth) / 10.0;
            let want = f64::from(x).exp();
            assert!((f64::from(exp(x)) / want - 1.0).abs() < 2e-6, "{x}");
        }
    }

    #[test]
    fn chance_repeats_and_covers() {
        let (mut one, mut other) = (Chance::new(5), Chance::new(5));
        let mut seen = [0; 10];
        for _ in 0..1000 {
            let number = one.below(10);
            assert_eq!(number, other.below(10));
            seen[number] += 1;
            assert!((0.0..1.0).contains(&one.fraction()));
            other.fraction();
        }
        assert!(seen.iter().all(|count| *count > 50));
    }
}
