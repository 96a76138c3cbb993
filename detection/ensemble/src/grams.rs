// SPDX-License-Identifier: Apache-2.0
//! Weights of hashed n-grams of two, three and four symbols (Weinberger et al. 2009).

/// `N` weights, a power of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grams<const N: usize> {
    /// By place.
    pub weights: [i8; N],
}

/// Sums over the n-grams of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GramSums {
    /// All weights.
    pub sum: i32,
    /// The sum over the run of symbols that attacks most; 0 at least. What is written around it does not lower it.
    pub worst: i32,
    /// Positions that were summed.
    pub positions: u32,
}

impl GramSums {
    /// Eight times the sum over the root of the positions: what a text says however long it is.
    pub fn mean(&self) -> i32 {
        self.sum.saturating_mul(64) / root(self.positions)
    }
}

impl<const N: usize> Grams<N> {
    /// Sums the n-grams of a text's symbols; at most 2^22 of them fit the sum's type, and texts are shorter.
    pub fn sums(&self, symbols: &[u8]) -> GramSums {
        let (mut sum, mut run, mut worst, mut window) = (0_i32, 0_i32, 0_i32, 0_u32);
        for symbol in symbols {
            window = window << 8 | u32::from(*symbol);
            let weight = self.weight(window);
            sum = sum.wrapping_add(weight);
            run = run.wrapping_add(weight).max(0);
            worst = worst.max(run);
        }
        GramSums { sum, worst, positions: u32::try_from(symbols.len()).unwrap_or(u32::MAX) }
    }

    /// Of the three n-grams that end `window`.
    #[inline]
    fn weight(&self, window: u32) -> i32 {
        let of = |place: usize| self.weights.get(place).copied().map_or(0, i32::from);
        let [two, three, four] = gram_places::<N>(window);
        of(two) + of(three) + of(four)
    }

    /// The pieces of a text that weigh most, the heaviest first: where a run of them ends, and its weight.
    pub fn heaviest(&self, symbols: &[u8], most: usize) -> Vec<(usize, i32)> {
        let mut window = 0_u32;
        let mut pieces: Vec<(usize, i32)> = Vec::with_capacity(symbols.len());
        for (at, symbol) in symbols.iter().enumerate() {
            window = window << 8 | u32::from(*symbol);
            pieces.push((at, self.weight(window)));
        }
        pieces.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(&other.0)));
        pieces.truncate(most);
        pieces
    }
}

/// Where the weights of the n-grams of two, three and four symbols stand that end `window`, the last symbol lowest.
#[inline]
pub const fn gram_places<const N: usize>(window: u32) -> [usize; 3] {
    const { assert!(N.is_power_of_two() && N <= 1 << 16) };
    const fn place(gram: u32, factor: u32, bits: u32) -> usize {
        (gram.wrapping_mul(factor) >> (32 - bits)) as usize
    }
    let bits = N.trailing_zeros();
    [
        place(window & 0xFFFF, 0x9E37_79B1, bits),
        place(window & 0x00FF_FFFF, 0x85EB_CA77, bits),
        place(window, 0xC2B2_AE3D, bits),
    ]
}

/// Eight times the square root, at least eight.
pub(crate) fn root(positions: u32) -> i32 {
    i32::try_from((u64::from(positions.max(1)) * 64).isqrt()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const N: usize = 1 << 10;

    fn grams() -> impl Strategy<Value = Grams<N>> {
        proptest::collection::vec(-127..=127_i8, N)
            .prop_map(|weights| Grams { weights: weights.try_into().unwrap() })
    }

    proptest! {
        /// What is written around an attack does not lower the worst run: it is the sum over some run, and all runs of
        /// the part are runs of the whole, but for those that begin at its front.
        #[test]
        fn sums_are_those_of_the_obvious_way(grams in grams(), text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut window = 0_u32;
            let weights: Vec<i32> = text.iter().map(|byte| {
                window = window << 8 | u32::from(*byte);
                gram_places::<N>(window).iter().map(|place| i32::from(grams.weights[*place])).sum()
            }).collect();
            let mut worst = 0;
            for from in 0..weights.len() {
                for to in from..weights.len() {
                    worst = worst.max(weights[from..=to].iter().sum());
                }
            }
            let sums = grams.sums(&text);
            prop_assert_eq!((sums.sum, sums.worst), (weights.iter().sum(), worst));
            prop_assert_eq!(sums.positions as usize, text.len());
        }

        #[test]
        fn text_behind_never_lowers_the_worst_run(
            grams in grams(), text in proptest::collection::vec(any::<u8>(), 0..40),
            behind in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            prop_assert!(grams.sums(&[&text[..], &behind].concat()).worst >= grams.sums(&text).worst);
        }
    }
}
