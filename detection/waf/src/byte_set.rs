// SPDX-License-Identifier: Apache-2.0
//! Which of the 256 bytes.

/// A set of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ByteSet([u64; 4]);

impl ByteSet {
    /// None.
    pub const EMPTY: Self = Self([0; 4]);
    /// All.
    pub const ALL: Self = Self([u64::MAX; 4]);

    /// These bytes.
    pub const fn of(bytes: &[u8]) -> Self {
        let mut set = Self::EMPTY;
        let mut at = 0;
        while at < bytes.len() {
            set = set.with(bytes[at]);
            at += 1;
        }
        set
    }

    /// From the one to the other, both in it.
    pub const fn range(first: u8, last: u8) -> Self {
        let mut set = Self::EMPTY;
        let mut byte = first as u16;
        while byte <= last as u16 {
            #[expect(clippy::cast_possible_truncation, reason = "up to 255")]
            let one = byte as u8;
            set = set.with(one);
            byte += 1;
        }
        set
    }

    /// The bytes of a text.
    pub fn present(text: &[u8]) -> Self {
        if text.len() < 64 {
            return if text.is_ascii() { Self::of_ascii(text) } else { Self::of(text) };
        }
        // Stores that do not wait for each other.
        let mut seen = [0_u8; 256];
        for byte in text {
            seen[usize::from(*byte)] = 1;
        }
        let mut set = [0; 4];
        for (word, seen) in set.iter_mut().zip(seen.as_chunks::<64>().0) {
            for (place, eight) in seen.as_chunks::<8>().0.iter().enumerate() {
                // Eight bytes that are 0 or 1 become the upper eight bits of the product, the first the lowest.
                let bits = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
                *word |= bits << (8 * place);
            }
        }
        Self(set)
    }

    /// Of bytes below 128: in two words that stay in registers.
    fn of_ascii(text: &[u8]) -> Self {
        let (mut low, mut high) = (0, 0);
        for byte in text {
            let bit = 1_u64 << (byte & 63);
            let is_high = u64::from(byte >> 6 & 1);
            high |= bit * is_high;
            low |= bit * (1 - is_high);
        }
        Self([low, high, 0, 0])
    }

    /// With one more.
    pub const fn with(mut self, byte: u8) -> Self {
        self.0[(byte >> 6) as usize] |= 1 << (byte & 63);
        self
    }

    /// Adds one.
    pub const fn insert(&mut self, byte: u8) {
        self.0[(byte >> 6) as usize] |= 1 << (byte & 63);
    }

    /// Whether it is in it.
    pub const fn contains(&self, byte: u8) -> bool {
        self.0[(byte >> 6) as usize] >> (byte & 63) & 1 != 0
    }

    /// Those of either.
    pub const fn union(self, other: Self) -> Self {
        let [a, b, c, d] = self.0;
        let [e, f, g, h] = other.0;
        Self([a | e, b | f, c | g, d | h])
    }

    /// Those of both.
    pub const fn intersection(self, other: Self) -> Self {
        let [a, b, c, d] = self.0;
        let [e, f, g, h] = other.0;
        Self([a & e, b & f, c & g, d & h])
    }

    /// Those that are not in it.
    pub const fn complement(self) -> Self {
        let [a, b, c, d] = self.0;
        Self([!a, !b, !c, !d])
    }

    /// Whether any is in both.
    pub const fn meets(&self, other: &Self) -> bool {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        (a & e) | (b & f) | (c & g) | (d & h) != 0
    }

    /// How many.
    pub const fn len(&self) -> u32 {
        let [a, b, c, d] = self.0;
        a.count_ones() + b.count_ones() + c.count_ones() + d.count_ones()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        let [a, b, c, d] = self.0;
        a | b | c | d == 0
    }

    /// In order.
    pub fn bytes(self) -> impl Iterator<Item = u8> {
        let mut word = 0;
        let mut left = self.0;
        std::iter::from_fn(move || {
            while left.get(word).is_some_and(|bits| *bits == 0) {
                word += 1;
            }
            let bits = left.get_mut(word)?;
            let bit = bits.trailing_zeros();
            *bits &= *bits - 1;
            u8::try_from(word * 64 + bit as usize).ok()
        })
    }
}

impl std::fmt::Debug for ByteSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text: Vec<u8> = self.bytes().collect();
        write!(f, "ByteSet({})", text.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_bytes_of_a_text_are_those_of_it(
            ascii in vec(0..0x80_u8, 0..200),
            any in vec(any::<u8>(), 0..200),
        ) {
            for text in [ascii, any] {
                prop_assert_eq!(ByteSet::present(&text), ByteSet::of(&text));
            }
        }
    }
}
