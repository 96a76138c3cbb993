// SPDX-License-Identifier: Apache-2.0
//! Texts like those of a suite, and unlike them: what the filter is tried with.

use crate::load::Suite;
use crate::request;

/// The texts of a suite's requests: targets, values of headers, bodies, whole and in pieces, once each.
pub fn seeds(suite: &Suite) -> Vec<Vec<u8>> {
    let mut seeds = std::collections::BTreeSet::new();
    for stage in suite.cases.iter().flat_map(|case| &case.test.stages) {
        let Ok(request) = request::delivered(&stage.input) else { continue };
        let values = request.headers.iter().map(|(_, value)| value);
        for text in values.chain([&request.uri, &request.body]) {
            let pieces = text.split(|byte| matches!(byte, b'&' | b'=' | b'?' | b'"'));
            seeds.extend(
                pieces.chain([text.as_slice()]).filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec),
            );
        }
    }
    seeds.into_iter().collect()
}

/// Makes texts from seeds, the same each time: xorshift64 (Marsaglia 2003).
#[derive(Clone, Debug)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// From a number that is not 0.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state % u64::try_from(bound.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    /// One of the seeds, changed in one to four places: bytes set, added, taken out, doubled, in another case, or with
    /// another seed put in.
    pub fn text(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        const SIGNS: &[u8] = b"'\"`;|&$(){}[]<>/\\.,:=+-*%#!@?~^_ \t\r\n\0\x80\xc0\xff";
        let seed = self.below(seeds.len());
        let mut text = seeds.get(seed).cloned().unwrap_or_default();
        text.truncate(512);
        for _ in 0..=self.below(4) {
            let at = self.below(text.len() + 1);
            match self.below(6) {
                0 => text.insert(at, SIGNS[self.below(SIGNS.len())]),
                1 if at < text.len() => drop(text.remove(at)),
                2 if at < text.len() => text[at] = text[at].to_ascii_uppercase(),
                3 if at < text.len() => text[at] = SIGNS[self.below(SIGNS.len())],
                4 => {
                    let end = (at + self.below(8)).min(text.len());
                    let piece = text[at..end].to_vec();
                    text.splice(at..at, piece);
                }
                _ => {
                    let other = self.below(seeds.len());
                    let other =
                        seeds.get(other).map(|other| &other[..other.len().min(64)]).unwrap_or_default();
                    text.splice(at..at, other.iter().copied());
                }
            }
        }
        text
    }
}
