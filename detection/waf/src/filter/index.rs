// SPDX-License-Identifier: Apache-2.0
//! One pass over a text that tells which operators may hold for it.

use std::collections::HashMap;

use super::words::Words;
use crate::byte_set::ByteSet;
use crate::operators::Needs;

/// A set of operators, by number: 64 a word.
pub(crate) type Bits = [u64];

/// Whether a number is in it.
pub(crate) fn is_set(bits: &Bits, number: u32) -> bool {
    bits.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 != 0)
}

/// Puts a number in.
pub(crate) fn set(bits: &mut Bits, number: u32) {
    if let Some(word) = bits.get_mut(number as usize / 64) {
        *word |= 1 << (number % 64);
    }
}

/// Different sets of bytes that operators ask for: the first so many are looked at.
const SETS_MAX: usize = 256;
const SET_WORDS: usize = SETS_MAX / 64;

/// Some of the sets.
type Sets = [u64; SET_WORDS];

/// What all operators need, in the form in which a text is held against it.
#[derive(Debug)]
pub(crate) struct Index {
    words: usize,
    /// Those that need no word.
    always: Vec<u64>,
    /// Those that are settled once one of their words stands in a text.
    exact: Vec<u64>,
    vocabulary: Words,
    /// Of each word, the operators that ask for it.
    owners: Vec<Box<[u32]>>,
    /// Of each byte, the sets that it is in.
    sets_of: Box<[Sets; 256]>,
    /// Of each operator: it wants a byte of each of these sets.
    wanted: Vec<Sets>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            words: 0,
            always: Vec::new(),
            exact: Vec::new(),
            vocabulary: Words::new(std::iter::empty()),
            owners: Vec::new(),
            sets_of: Box::new([[0; SET_WORDS]; 256]),
            wanted: Vec::new(),
        }
    }
}

impl Index {
    /// Of those operators, in order, that are in use; the others are never candidates.
    pub(crate) fn new(needs: &[Needs], is_used: impl Fn(u32) -> bool) -> Self {
        let words = needs.len().div_ceil(64);
        let mut index = Self { words, always: vec![0; words], exact: vec![0; words], ..Self::default() };
        let mut patterns: Vec<(Vec<u8>, Vec<u32>)> = Vec::new();
        let (mut places, mut sets) = (HashMap::new(), HashMap::new());
        for (number, needs) in (0..).zip(needs) {
            let wanted = if is_used(number) { index.sets(&needs.bytes, &mut sets) } else { [0; SET_WORDS] };
            index.wanted.push(wanted);
            if !is_used(number) {
                continue;
            }
            if needs.any_of.is_empty() || needs.any_of.iter().any(Vec::is_empty) {
                set(&mut index.always, number);
                continue;
            }
            if needs.is_exact && needs.bytes.is_empty() {
                set(&mut index.exact, number);
            }
            for word in &needs.any_of {
                let word = word.to_ascii_lowercase();
                let place = *places.entry(word.clone()).or_insert_with(|| {
                    patterns.push((word, Vec::new()));
                    patterns.len() - 1
                });
                if let Some((_, owners)) = patterns.get_mut(place)
                    && owners.last() != Some(&number)
                {
                    owners.push(number);
                }
            }
        }
        index.vocabulary = Words::new(patterns.iter().map(|(word, _)| word.as_slice()));
        index.owners = patterns.into_iter().map(|(_, owners)| owners.into_boxed_slice()).collect();
        index
    }

    /// Numbers sets of bytes. What is past the bound is not asked for, which only costs time.
    fn sets(&mut self, wanted: &[ByteSet], known: &mut HashMap<ByteSet, usize>) -> Sets {
        let mut sets = [0; SET_WORDS];
        for set in wanted {
            let next = known.len();
            let number = *known.entry(*set).or_insert(next);
            if number >= SETS_MAX {
                continue;
            }
            let (word, bit) = (number / 64, 1 << (number % 64));
            sets[word] |= bit;
            if number == next {
                for byte in set.bytes() {
                    self.sets_of[usize::from(byte)][word] |= bit;
                }
            }
        }
        sets
    }

    /// Words of a set of operators.
    pub(crate) const fn words(&self) -> usize {
        self.words
    }

    /// Whether it holds for every text of which [`Self::candidates`] named it.
    pub(crate) fn is_exact(&self, number: u32) -> bool {
        is_set(&self.exact, number)
    }

    /// Adds the operators that may hold for a text. `found` is empty and has [`Self::words`] words.
    pub(crate) fn candidates(&self, text: &[u8], present: &ByteSet, lowered: &mut Vec<u8>, found: &mut Bits) {
        found.copy_from_slice(&self.always);
        self.vocabulary.find(text, present, lowered, |word| {
            for owner in self.owners.get(word as usize).into_iter().flatten() {
                set(found, *owner);
            }
        });
        let mut there = [0; SET_WORDS];
        for byte in present.bytes() {
            for (all, one) in there.iter_mut().zip(self.sets_of[usize::from(byte)]) {
                *all |= one;
            }
        }
        for (place, word) in found.iter_mut().enumerate() {
            let mut left = *word;
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                let lacks =
                    |wanted: &Sets| wanted.iter().zip(there).any(|(wanted, there)| wanted & !there != 0);
                if self.wanted.get(place * 64 + bit as usize).is_some_and(lacks) {
                    *word &= !(1 << bit);
                }
            }
        }
    }
}
