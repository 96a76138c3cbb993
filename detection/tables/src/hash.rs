// SPDX-License-Identifier: Apache-2.0
//! A keyed hash: quick, and different in each process, so that nobody outside can aim at a place of a table.

use std::hash::{BuildHasher as _, RandomState};

/// The key. Two numbers are folded by one multiplication of 64 × 64 bits whose halves are mixed, as the
/// hashes of hash tables do; it is not for secrets, whose hash anybody gets to see.
#[derive(Clone, Copy, Debug)]
pub struct HashKey([u64; 4]);

impl HashKey {
    /// A key that nobody knows.
    pub fn random() -> Self {
        let state = RandomState::new();
        Self([state.hash_one(0_u8), state.hash_one(1_u8), state.hash_one(2_u8), state.hash_one(3_u8)])
    }

    /// A key that was kept.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut key = [0; 4];
        for (number, piece) in key.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *number = u64::from_le_bytes(*piece);
        }
        Self(key)
    }

    /// The key, to be kept where only its owner reads.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (piece, number) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *piece = number.to_le_bytes();
        }
        bytes
    }

    /// A key for tests and for replays that must come out the same twice.
    pub const fn fixed(seed: u64) -> Self {
        Self([
            seed ^ 0x9e37_79b9_7f4a_7c15,
            seed.rotate_left(17) ^ 0xd1b5_4a32_d192_ed03,
            seed.rotate_left(31) ^ 0x8cb9_2ba7_2f3d_8dd7,
            seed.rotate_left(47) ^ 0xaef1_7502_108e_f2d9,
        ])
    }

    /// The hash of a number; `kind` keeps numbers of different meaning apart.
    pub fn number(&self, kind: u64, number: u128) -> u64 {
        let [a, b, c, d] = self.0;
        let low = u64::try_from(number & u128::from(u64::MAX)).unwrap_or(0);
        let high = u64::try_from(number >> 64).unwrap_or(0);
        let first = fold(low ^ a, high ^ b);
        fold(first ^ c, kind ^ d)
    }

    /// The hash of bytes.
    pub fn bytes(&self, kind: u64, bytes: &[u8]) -> u64 {
        let [a, b, c, d] = self.0;
        let mut state = fold(kind ^ a, bytes.len() as u64 ^ b);
        let (pieces, rest) = bytes.as_chunks::<16>();
        for piece in pieces {
            let (low, high) = halves(piece);
            state = fold(state ^ low ^ c, high ^ d);
        }
        if !rest.is_empty() {
            let mut last = [0; 16];
            for (to, from) in last.iter_mut().zip(rest) {
                *to = *from;
            }
            let (low, high) = halves(&last);
            state = fold(state ^ low ^ d, high ^ c);
        }
        fold(state ^ b, a)
    }
}

fn halves(piece: &[u8; 16]) -> (u64, u64) {
    let whole = u128::from_le_bytes(*piece);
    (u64::try_from(whole & u128::from(u64::MAX)).unwrap_or(0), u64::try_from(whole >> 64).unwrap_or(0))
}

fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    let low = u64::try_from(product & u128::from(u64::MAX)).unwrap_or(0);
    let high = u64::try_from(product >> 64).unwrap_or(0);
    low ^ high
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn hashes_differ_by_content_kind_and_key() {
        let (one, two) = (HashKey::fixed(1), HashKey::fixed(2));
        let mut seen = HashSet::new();
        for key in [one, two] {
            for kind in 0..4 {
                for number in 0..1000_u128 {
                    assert!(seen.insert(key.number(kind, number)));
                    assert!(seen.insert(key.number(kind, number << 64 | 7 << 40)));
                }
                for length in 0..40 {
                    assert!(seen.insert(key.bytes(kind, &vec![b'a'; length])), "{length}");
                }
            }
        }
        assert_eq!(one.bytes(0, b"abc"), one.bytes(0, b"abc"));
        assert_ne!(HashKey::random().number(0, 1), HashKey::random().number(0, 1));
        let key = HashKey::random();
        assert_eq!(HashKey::from_bytes(&key.to_bytes()).number(3, 4), key.number(3, 4));
    }

    #[test]
    fn places_are_used_evenly_whichever_bits_choose_them() {
        for shift in [0, 32, 100] {
            for bits in [0, 12, 60] {
                let mut places = [[0_u32; 16]; 2];
                for number in 0..16_000_u64 {
                    let key = HashKey::fixed(number % 16);
                    let place = |hash: u64| usize::try_from(hash >> bits & 15).unwrap();
                    places[0][place(key.number(0, u128::from(number) << shift))] += 1;
                    places[1][place(key.bytes(1, &number.to_le_bytes()[..2]))] += 1;
                }
                let is_even = |places: &[u32; 16]| places.iter().all(|count| (800..1200).contains(count));
                assert!(places.iter().all(is_even), "{shift} {bits}: {places:?}");
            }
        }
    }
}
