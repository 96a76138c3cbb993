// SPDX-License-Identifier: Apache-2.0
//! One pass over a text that tells which operators may hold for it.

use std::collections::HashMap;

use super::words::Words;
use crate::byte_set::ByteSet;
use crate::operators::Needs;

/// A set of operators, by number: 64 a word.
pub(crate) type Bits = [u64];

/// Words of a set come in blocks of so many, so that sets are added without counting.
const BLOCK: usize = 4;

/// Adds the one set to the other, which may be longer.
pub(crate) fn add(all: &mut Bits, some: &Bits) {
    let blocks = some.as_chunks::<BLOCK>().0;
    for (all, some) in all.as_chunks_mut::<BLOCK>().0.iter_mut().zip(blocks) {
        all.iter_mut().zip(some).for_each(|(all, some)| *all |= some);
    }
}

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
    /// Of each operator, its number here: only those that are in use and need something have one, so that sets are small.
    places: Vec<u32>,
    /// Those that need neither a word nor a byte.
    always: Vec<u64>,
    /// Of each set of bytes, the operators that need no word and a byte of it; each stands with the rarest of its sets.
    owners_of_sets: Vec<Box<[u32]>>,
    /// The sets that have such operators.
    owning: Sets,
    /// Those that are settled once one of their words stands in a text.
    exact: Vec<u64>,
    vocabulary: Words,
    /// Of each word, the operators that ask for it.
    owners: Vec<Box<[u32]>>,
    /// Of each byte, the sets that it is in.
    sets_of: Box<[Sets; 256]>,
    /// Of each of them: it wants a byte of each of these sets.
    wanted: Vec<Sets>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            words: 0,
            places: Vec::new(),
            always: Vec::new(),
            owners_of_sets: Vec::new(),
            owning: [0; SET_WORDS],
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
        let is_placed = |(number, needs): &(u32, &Needs)| is_used(*number) && **needs != Needs::default();
        let words = (0..).zip(needs).filter(is_placed).count().div_ceil(64).next_multiple_of(BLOCK);
        let mut index = Self { words, always: vec![0; words], exact: vec![0; words], ..Self::default() };
        let mut patterns: Vec<(Vec<u8>, Vec<u32>)> = Vec::new();
        let (mut places, mut sets) = (HashMap::new(), HashMap::new());
        let mut owners_of_sets = vec![Vec::new(); SETS_MAX];
        for numbered in (0..).zip(needs) {
            if !is_placed(&numbered) {
                index.places.push(u32::MAX);
                continue;
            }
            let (number, needs) = (u32::try_from(index.wanted.len()).unwrap_or(u32::MAX), numbered.1);
            index.places.push(number);
            let wanted = index.sets(&needs.bytes, &mut sets);
            index.wanted.push(wanted);
            if needs.any_of.is_empty() || needs.any_of.iter().any(Vec::is_empty) {
                let numbered = needs.bytes.iter().filter_map(|set| Some((set, *sets.get(set)?)));
                let rarest =
                    numbered.filter(|(_, place)| *place < SETS_MAX).min_by_key(|(set, _)| commonness(set));
                match rarest {
                    Some((_, place)) => owners_of_sets[place].push(number),
                    None => set(&mut index.always, number),
                }
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
        for (place, owners) in (0..).zip(&owners_of_sets) {
            if !owners.is_empty() {
                set(&mut index.owning, place);
            }
        }
        index.owners_of_sets = owners_of_sets.into_iter().map(Vec::into_boxed_slice).collect();
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

    /// An operator's number in sets; one that is in none, where the filter knows nothing of it.
    pub(crate) fn place(&self, operator: u32) -> u32 {
        self.places.get(operator as usize).map_or(u32::MAX, |place| *place)
    }

    /// Words of a set of operators.
    pub(crate) const fn words(&self) -> usize {
        self.words
    }

    /// Whether the operator of that place holds for every text of which [`Self::candidates`] named it.
    pub(crate) fn is_exact(&self, number: u32) -> bool {
        is_set(&self.exact, number)
    }

    /// Adds the operators that may hold for a text. `found` is empty and has [`Self::words`] words.
    pub(crate) fn candidates(&self, text: &[u8], present: &ByteSet, lowered: &mut Vec<u8>, found: &mut Bits) {
        let mut there = [0; SET_WORDS];
        for byte in present.bytes() {
            for (all, one) in there.iter_mut().zip(self.sets_of[usize::from(byte)]) {
                *all |= one;
            }
        }
        found.copy_from_slice(&self.always);
        let mut add = |owners: Option<&[u32]>| {
            for owner in owners.unwrap_or_default() {
                if self.wanted.get(*owner as usize).is_some_and(|wanted| is_within(wanted, &there)) {
                    set(found, *owner);
                }
            }
        };
        for (place, (there, owning)) in there.iter().zip(self.owning).enumerate() {
            let mut left = there & owning;
            while left != 0 {
                let number = place * 64 + left.trailing_zeros() as usize;
                add(self.owners_of_sets.get(number).map(|owners| &**owners));
                left &= left - 1;
            }
        }
        self.vocabulary.find(text, present, lowered, |word| {
            add(self.owners.get(word as usize).map(|owners| &**owners));
        });
    }
}

/// Whether all of the one are in the other. Without a branch for each word.
fn is_within(wanted: &Sets, there: &Sets) -> bool {
    wanted.iter().zip(there).fold(0, |lacking, (wanted, there)| lacking | wanted & !there) == 0
}

/// How often a byte of the set is met in ordinary text, roughly.
fn commonness(set: &ByteSet) -> u32 {
    set.bytes().map(super::words::commonness).sum()
}
