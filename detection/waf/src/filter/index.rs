// SPDX-License-Identifier: Apache-2.0
//! One pass over a text that tells which operators may hold for it.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

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

/// What all operators need, in the form in which a text is held against it.
#[derive(Debug, Default)]
pub(crate) struct Index {
    words: usize,
    /// Those that need no word.
    always: Vec<u64>,
    /// Those that are settled once one of their words stands in a text.
    exact: Vec<u64>,
    automaton: Option<AhoCorasick>,
    /// Of each word, the operators that ask for it.
    owners: Vec<Box<[u32]>>,
    /// Of each operator: it wants a byte of each set.
    bytes: Vec<Box<[ByteSet]>>,
}

impl Index {
    /// Of the operators in order.
    ///
    /// # Errors
    /// When the words are too many for an automaton.
    pub(crate) fn new(needs: &[Needs]) -> Result<Self, String> {
        let words = needs.len().div_ceil(64);
        let mut index = Self { words, always: vec![0; words], exact: vec![0; words], ..Self::default() };
        let mut patterns: Vec<(Vec<u8>, Vec<u32>)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for (number, needs) in (0..).zip(needs) {
            index.bytes.push(needs.bytes.clone().into_boxed_slice());
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
        if !patterns.is_empty() {
            // The deterministic one has 25 MB for the words of the Core Rule Set, this one 0.7.
            let built = AhoCorasick::builder()
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .match_kind(MatchKind::Standard)
                .ascii_case_insensitive(true)
                .build(patterns.iter().map(|(word, _)| word));
            index.automaton = Some(built.map_err(|error| error.to_string())?);
        }
        index.owners = patterns.into_iter().map(|(_, owners)| owners.into_boxed_slice()).collect();
        Ok(index)
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
    pub(crate) fn candidates(&self, text: &[u8], present: &ByteSet, found: &mut Bits) {
        found.copy_from_slice(&self.always);
        if let Some(automaton) = &self.automaton {
            let mut last = None;
            for hit in automaton.find_overlapping_iter(text) {
                let pattern = hit.pattern().as_usize();
                // A word in a row of itself is one word.
                if last != Some(pattern) {
                    for owner in self.owners.get(pattern).into_iter().flatten() {
                        set(found, *owner);
                    }
                    last = Some(pattern);
                }
            }
        }
        for (place, word) in found.iter_mut().enumerate() {
            let mut left = *word;
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                let sets = self.bytes.get(place * 64 + bit as usize);
                if sets.is_some_and(|sets| sets.iter().any(|set| !set.meets(present))) {
                    *word &= !(1 << bit);
                }
            }
        }
    }
}
