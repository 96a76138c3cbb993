// SPDX-License-Identifier: Apache-2.0
//! Which of thousands of words stand in a text, ASCII letters in whatever case.
//!
//! An automaton of that many words does not fit a processor's cache, and waits for memory at every byte. Here each word
//! is known by four bytes of it that are rare in ordinary text (by two or three, where it has no more). Whether four
//! bytes of a text may be such a piece is one bit of a table that does fit; only where they are, the word is compared.
//! Before that, whether any piece begins with two bytes is one bit of a smaller table: most pairs begin none.

use crate::byte_set::ByteSet;

/// Bits of the tables of pieces of four bytes and of three: 16 and 4 KiB, a few per cent of them set. That of pairs has
/// them all.
const QUAD_BITS: u32 = 17;
const TRIPLE_BITS: u32 = 15;
const PAIR_BITS: u32 = 16;

/// A bit for each piece, at a place made of it. Of a known size, so that no place is outside.
type Table<const WORDS: usize> = Box<[u64; WORDS]>;
const QUAD_WORDS: usize = 1 << (QUAD_BITS - 6);
const TRIPLE_WORDS: usize = 1 << (TRIPLE_BITS - 6);
const PAIR_WORDS: usize = 1 << (PAIR_BITS - 6);
/// Spread the bits of a piece over the upper half of a product (Fibonacci hashing).
const SPREAD: u32 = 0x9e37_79b1;

/// In place of where a piece stands in its word: it is the word, and nothing else need be compared.
const WHOLE: u32 = u32::MAX;

const CAPITALS: ByteSet = ByteSet::range(b'A', b'Z');

/// Words, ready to be looked for.
#[derive(Debug)]
pub(crate) struct Words {
    words: Vec<Box<[u8]>>,
    /// Words of one byte, in either case, and their numbers.
    singles: ByteSet,
    single_words: Box<[u32; 256]>,
    /// All pairs of bytes that a piece begins with.
    starts: Table<PAIR_WORDS>,
    /// All pairs of bytes that are words.
    pairs: Table<PAIR_WORDS>,
    triples: Table<TRIPLE_WORDS>,
    quads: Table<QUAD_WORDS>,
    /// By the first two, three or four bytes, as a number.
    pair_words: Pieces,
    triple_words: Pieces,
    quad_words: Pieces,
}

impl Words {
    /// Of words in lower case, each once; none is empty.
    pub(crate) fn new<'a>(words: impl Iterator<Item = &'a [u8]>) -> Self {
        let words: Vec<Box<[u8]>> = words.map(Box::from).collect();
        let (mut singles, mut single_words) = (ByteSet::EMPTY, Box::new([u32::MAX; 256]));
        let [mut pairs, mut triples, mut quads] = [Vec::new(), Vec::new(), Vec::new()];
        for (number, word) in (0..).zip(&words) {
            match &**word {
                [] => {}
                [one] => {
                    for byte in [*one, one.to_ascii_uppercase()] {
                        singles.insert(byte);
                        single_words[usize::from(byte)] = number;
                    }
                }
                [a, b] => pairs.push((u32::from_le_bytes([*a, *b, 0, 0]), number, WHOLE)),
                [a, b, c] => triples.push((u32::from_le_bytes([*a, *b, *c, 0]), number, WHOLE)),
                [a, b, c, d] => quads.push((u32::from_le_bytes([*a, *b, *c, *d]), number, WHOLE)),
                longer => {
                    let (offset, piece) = rarest(longer);
                    quads.push((piece, number, offset));
                }
            }
        }
        let mut built = Self {
            words,
            singles,
            single_words,
            starts: Box::new([0; PAIR_WORDS]),
            pairs: Box::new([0; PAIR_WORDS]),
            triples: Box::new([0; TRIPLE_WORDS]),
            quads: Box::new([0; QUAD_WORDS]),
            pair_words: Pieces::new(&pairs),
            triple_words: Pieces::new(&triples),
            quad_words: Pieces::new(&quads),
        };
        for (piece, ..) in pairs.iter().chain(&triples).chain(&quads) {
            mark(&mut *built.starts, *piece & 0xffff);
        }
        pairs.iter().for_each(|(piece, ..)| mark(&mut *built.pairs, *piece));
        triples.iter().for_each(|(piece, ..)| mark(&mut *built.triples, spread(*piece, TRIPLE_BITS)));
        quads.iter().for_each(|(piece, ..)| mark(&mut *built.quads, spread(*piece, QUAD_BITS)));
        built
    }

    /// Names the words that stand in a text, each as often as it is found. `lowered` is a buffer to use again.
    pub(crate) fn find(
        &self,
        text: &[u8],
        present: &ByteSet,
        lowered: &mut Vec<u8>,
        mut found: impl FnMut(u32),
    ) {
        for byte in present.intersection(self.singles).bytes() {
            found(self.single_words[usize::from(byte)]);
        }
        let text = if present.meets(&CAPITALS) {
            lowered.clear();
            lowered.extend(text.iter().map(u8::to_ascii_lowercase));
            lowered.as_slice()
        } else {
            text
        };
        for (at, four) in text.array_windows::<4>().enumerate() {
            let piece = u32::from_le_bytes(*four);
            if is_marked(&self.starts, piece & 0xffff) {
                self.look(text, at, piece, &mut found);
            }
        }
        // What is too short for four.
        let tail = text.len().saturating_sub(3);
        let rest = text.get(tail..).unwrap_or_default();
        if let [a, b, c] = *rest {
            let piece = u32::from_le_bytes([a, b, c, 0]);
            self.look_for_pair(text, tail, piece & 0xffff, &mut found);
            self.look_for_triple(text, tail, piece, &mut found);
        }
        if let [.., a, b] = *rest {
            self.look_for_pair(text, text.len() - 2, u32::from_le_bytes([a, b, 0, 0]), &mut found);
        }
    }

    #[inline]
    fn look(&self, text: &[u8], at: usize, piece: u32, found: &mut impl FnMut(u32)) {
        if is_marked(&self.quads, spread(piece, QUAD_BITS)) {
            self.quad_words.each(piece, &self.words, text, at, found);
        }
        self.look_for_triple(text, at, piece & 0x00ff_ffff, found);
        self.look_for_pair(text, at, piece & 0xffff, found);
    }

    #[inline]
    fn look_for_triple(&self, text: &[u8], at: usize, piece: u32, found: &mut impl FnMut(u32)) {
        if is_marked(&self.triples, spread(piece, TRIPLE_BITS)) {
            self.triple_words.each(piece, &self.words, text, at, found);
        }
    }

    #[inline]
    fn look_for_pair(&self, text: &[u8], at: usize, piece: u32, found: &mut impl FnMut(u32)) {
        if is_marked(&self.pairs, piece) {
            self.pair_words.each(piece, &self.words, text, at, found);
        }
    }
}

const fn spread(piece: u32, bits: u32) -> u32 {
    piece.wrapping_mul(SPREAD) >> (32 - bits)
}

fn mark(table: &mut [u64], bit: u32) {
    if let Some(word) = table.get_mut(bit as usize / 64) {
        *word |= 1 << (bit % 64);
    }
}

#[inline]
const fn is_marked<const WORDS: usize>(table: &[u64; WORDS], bit: u32) -> bool {
    // A place is within its table: it has no more bits than the table.
    table[bit as usize / 64 % WORDS] >> (bit % 64) & 1 != 0
}

/// The four bytes of a word that are rarest in ordinary text, and where they stand.
fn rarest(word: &[u8]) -> (u32, u32) {
    let cost = |four: &[u8; 4]| four.iter().map(|byte| commonness(*byte)).sum::<u32>();
    let windows = (0_u32..).zip(word.array_windows::<4>());
    let best = windows.min_by_key(|(_, four)| cost(four));
    best.map_or((0, 0), |(offset, four)| (offset, u32::from_le_bytes(*four)))
}

/// How often a byte is met, roughly: English letters, then what addresses are made of.
pub(super) const fn commonness(byte: u8) -> u32 {
    match byte {
        b' ' | b'e' => 12,
        b't' | b'a' | b'o' | b'i' | b'n' => 9,
        b's' | b'r' | b'h' | b'l' | b'd' => 7,
        b'c' | b'u' | b'm' | b'p' | b'f' | b'g' => 5,
        b'w' | b'y' | b'b' | b'v' | b'k' | b'/' | b'.' | b'-' => 3,
        b'0'..=b'9' | b'_' | b'=' | b'&' | b'x' | b'j' | b'q' | b'z' => 2,
        _ => 0,
    }
}

/// From a piece to the words that have it: a table of twice as many places as it needs, tried one after the other.
#[derive(Debug)]
struct Pieces {
    /// Pieces, and where their words begin; `u32::MAX`: nothing stands here.
    places: Box<[(u32, u32)]>,
    /// Words, and where in them the piece stands; the words of one piece stand together.
    entries: Box<[(u32, u32)]>,
    /// Of each entry, whether the next is of the same piece.
    goes_on: Box<[bool]>,
}

impl Pieces {
    fn new(pieces: &[(u32, u32, u32)]) -> Self {
        let mut pieces = pieces.to_vec();
        pieces.sort_unstable();
        let size = (pieces.len() * 2 + 1).next_power_of_two();
        let mut places = vec![(0, u32::MAX); size].into_boxed_slice();
        let mut before = None;
        for (first, (piece, ..)) in (0..).zip(&pieces) {
            if before == Some(*piece) {
                continue;
            }
            before = Some(*piece);
            let mut at = start(*piece, size);
            while places[at].1 != u32::MAX {
                at = (at + 1) % size;
            }
            places[at] = (*piece, first);
        }
        let next = pieces.iter().skip(1).map(Some).chain([None]);
        let goes_on =
            pieces.iter().zip(next).map(|(one, next)| next.is_some_and(|next| next.0 == one.0)).collect();
        let entries = pieces.into_iter().map(|(_, number, offset)| (number, offset)).collect();
        Self { places, entries, goes_on }
    }

    #[inline(never)]
    fn each(&self, piece: u32, words: &[Box<[u8]>], text: &[u8], at: usize, found: &mut impl FnMut(u32)) {
        let size = self.places.len();
        let mut place = start(piece, size);
        loop {
            let Some((known, first)) = self.places.get(place).copied() else { return };
            if first == u32::MAX {
                return;
            }
            if known == piece {
                self.compare(first as usize, words, text, at, found);
                return;
            }
            place = (place + 1) % size;
        }
    }

    fn compare(
        &self,
        first: usize,
        words: &[Box<[u8]>],
        text: &[u8],
        at: usize,
        found: &mut impl FnMut(u32),
    ) {
        let entries = self.entries.iter().zip(&self.goes_on).skip(first);
        for ((number, offset), goes_on) in entries {
            if *offset == WHOLE {
                found(*number);
                if !goes_on {
                    return;
                }
                continue;
            }
            let stands = at.checked_sub(*offset as usize).and_then(|from| text.get(from..));
            let word = words.get(*number as usize);
            if stands.zip(word).is_some_and(|(stands, word)| stands.starts_with(word)) {
                found(*number);
            }
            if !goes_on {
                return;
            }
        }
    }
}

const fn start(piece: u32, size: usize) -> usize {
    (piece.wrapping_mul(SPREAD) >> 7) as usize & (size - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn once(words: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        words.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn found(words: &[Vec<u8>], text: &[u8]) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let built = Words::new(words.iter().map(Vec::as_slice));
        built.find(text, &ByteSet::present(text), &mut Vec::new(), |number| {
            found.insert(number);
        });
        found
    }

    fn slowly(words: &[Vec<u8>], text: &[u8]) -> BTreeSet<u32> {
        let text = text.to_ascii_lowercase();
        let stands = |word: &[u8]| text.windows(word.len()).any(|some| some == word);
        (0..).zip(words).filter(|(_, word)| stands(word)).map(|(number, _)| number).collect()
    }

    #[test]
    fn words_of_every_length_are_found_at_every_place() {
        let words: Vec<Vec<u8>> =
            ["a", "bc", "def", "ghij", "klmnopqrstu", "bcdef", "ghijk", "{{"].map(Into::into).to_vec();
        for text in
            ["", "A", "bC", "xbc", "bcx", "DEF", "xdef", "xghijx", "klmnopqrstu", "bcdefghijk{{", "{", "{{{"]
        {
            assert_eq!(found(&words, text.as_bytes()), slowly(&words, text.as_bytes()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn finds_what_looking_everywhere_finds(
            words in vec("[a-d ]{1,7}".prop_map(String::into_bytes), 0..60).prop_map(once),
            text in "[a-dA-D ]{0,80}",
        ) {
            prop_assert_eq!(found(&words, text.as_bytes()), slowly(&words, text.as_bytes()));
        }

        #[test]
        fn any_bytes(words in vec(vec(any::<u8>().prop_map(|byte| byte.to_ascii_lowercase()), 1..9), 0..20).prop_map(once), text in vec(any::<u8>(), 0..60), at in 0..60_usize) {
            let mut text = text;
            for (number, word) in words.iter().enumerate() {
                let at = (at + number * 7) % (text.len() + 1);
                text.splice(at..at, word.iter().copied());
            }
            prop_assert_eq!(found(&words, &text), slowly(&words, &text));
        }
    }
}
