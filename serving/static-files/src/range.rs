// SPDX-License-Identifier: Apache-2.0
//! Which bytes a `Range` header asks for (RFC 9110, section 14).

use std::ops::Range;

/// What of a representation is sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All of it: no usable `Range`.
    Whole,
    /// These parts, each within the representation, not empty, none overlapping another.
    Parts(Vec<Range<u64>>),
    Unsatisfiable,
}

/// Reads `header` for a representation of `len` bytes. What is malformed, of another unit, or has more
/// than [`RANGES_MAX`] ranges is ignored, as the RFC allows: the client gets the whole and copes.
pub(crate) fn select(header: &[u8], len: u64) -> Selection {
    let Some(specs) = parse(header) else { return Selection::Whole };
    if len == 0 && specs.iter().any(|spec| matches!(spec, Spec::Suffix(1..))) {
        // The suffix of an empty file can be satisfied, but `Content-Range` has no words for it.
        return Selection::Whole;
    }
    let parts: Vec<Range<u64>> = specs.iter().filter_map(|spec| spec.within(len)).collect();
    if parts.is_empty() { Selection::Unsatisfiable } else { Selection::Parts(merged(parts)) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spec {
    /// First and last position, both included.
    FromTo(u64, u64),
    Suffix(u64),
}

impl Spec {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        match (first.is_empty(), last.is_empty()) {
            (true, true) => None,
            (true, false) => Some(Self::Suffix(position(last)?)),
            (false, true) => Some(Self::FromTo(position(first)?, u64::MAX)),
            (false, false) => {
                let (first, last) = (position(first)?, position(last)?);
                (first <= last).then_some(Self::FromTo(first, last))
            }
        }
    }

    fn within(self, len: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::FromTo(first, last) => first..last.saturating_add(1).min(len),
            Self::Suffix(count) => len.saturating_sub(count)..len,
        };
        (range.start < range.end).then_some(range)
    }
}

fn parse(header: &[u8]) -> Option<Vec<Spec>> {
    let (unit, set) = std::str::from_utf8(header).ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut specs = Vec::new();
    for item in set.split(',').map(|item| item.trim_matches([' ', '\t'])).filter(|item| !item.is_empty()) {
        if specs.len() == RANGES_MAX {
            return None;
        }
        specs.push(Spec::parse(item)?);
    }
    (!specs.is_empty()).then_some(specs)
}

/// Digits only, which `u64::from_str` alone would not insist on (`+1`). Past `u64` is past every file.
fn position(digits: &str) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Keeps the client's order, unless ranges overlap or touch: then they are sorted and joined, so that
/// no byte is sent twice however the ranges are written.
fn merged(parts: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut sorted = parts.clone();
    sorted.sort_unstable_by_key(|part| part.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for part in sorted {
        match joined.last_mut() {
            Some(previous) if part.start <= previous.end => previous.end = previous.end.max(part.end),
            _ => joined.push(part),
        }
    }
    if joined.len() == parts.len() { parts } else { joined }
}

/// Ranges honoured in one request. Real clients (PDF viewers) ask for a handful; hundreds of tiny ones
/// are an old way to make servers work.
const RANGES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Selection::{Parts, Unsatisfiable, Whole};
    use super::*;

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "one part is a list of one range")]
    fn headers_select_parts() {
        for (name, header, len, want) in [
            ("from to", "bytes=0-4", 10, Parts(vec![0..5])),
            ("one byte", "bytes=9-9", 10, Parts(vec![9..10])),
            ("open end", "bytes=4-", 10, Parts(vec![4..10])),
            ("end past the file", "bytes=4-99", 10, Parts(vec![4..10])),
            ("suffix", "bytes=-3", 10, Parts(vec![7..10])),
            ("suffix longer than the file", "bytes=-30", 10, Parts(vec![0..10])),
            ("unit in capitals", "BYTES=0-0", 10, Parts(vec![0..1])),
            ("two", "bytes=0-1,5-6", 10, Parts(vec![0..2, 5..7])),
            ("blanks and empty items", "bytes= 0-1 , ,\t5-6,", 10, Parts(vec![0..2, 5..7])),
            ("the client's order", "bytes=5-6,0-1", 10, Parts(vec![5..7, 0..2])),
            ("overlapping", "bytes=0-5,3-8", 10, Parts(vec![0..9])),
            ("touching", "bytes=5-6,0-4", 10, Parts(vec![0..7])),
            ("the same again and again", "bytes=0-,0-,0-,0-", 10, Parts(vec![0..10])),
            ("one of two satisfiable", "bytes=50-60,1-2", 10, Parts(vec![1..3])),
            ("past the end", "bytes=10-", 10, Unsatisfiable),
            ("suffix of nothing", "bytes=-0", 10, Unsatisfiable),
            ("past u64", "bytes=99999999999999999999-", 10, Unsatisfiable),
            ("to past u64", "bytes=1-99999999999999999999", 10, Parts(vec![1..10])),
            ("u64::MAX", "bytes=0-18446744073709551615", 10, Parts(vec![0..10])),
            ("empty file", "bytes=0-", 0, Unsatisfiable),
            ("suffix of an empty file", "bytes=-5", 0, Whole),
            ("backwards", "bytes=5-4", 10, Whole),
            ("no numbers", "bytes=-", 10, Whole),
            ("nothing", "bytes=", 10, Whole),
            ("no unit", "0-4", 10, Whole),
            ("other unit", "lines=0-4", 10, Whole),
            ("signs", "bytes=+1-2", 10, Whole),
            ("one malformed spoils all", "bytes=0-1,x-2", 10, Whole),
            ("nine ranges", "bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16", 99, Whole),
        ] {
            assert_eq!(select(header.as_bytes(), len), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn parts_are_within_the_file_and_apart(header in "bytes=([0-9]{0,3}-[0-9]{0,3},? ?){0,9}", len in 0..500u64) {
            if let Parts(mut parts) = select(header.as_bytes(), len) {
                prop_assert!(!parts.is_empty() && parts.len() <= RANGES_MAX);
                parts.sort_unstable_by_key(|part| part.start);
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= len));
                prop_assert!(parts.windows(2).all(|pair| pair[0].end < pair[1].start || parts.len() == 1));
            }
        }

        #[test]
        fn no_header_panics(header in prop::collection::vec(any::<u8>(), 0..64), len in any::<u64>()) {
            select(&header, len);
        }
    }
}
