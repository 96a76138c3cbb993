// SPDX-License-Identifier: Apache-2.0
//! What the fuzz targets share.

pub mod waf;

/// Bytes at the front of an input that say how the rest arrives.
const CUTS: usize = 4;

/// Cuts `data` into how it arrives (the first bytes) and what arrives.
pub fn arrival(data: &[u8]) -> Option<(&[u8], &[u8])> {
    data.split_at_checked(CUTS)
}

/// `stream` in pieces of the lengths that `cuts` names, in rotation. Never an empty one.
pub fn pieces<'a>(cuts: &'a [u8], stream: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = stream;
    let mut lengths = cuts.iter().cycle();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = lengths.next().map_or(rest.len(), |length| usize::from(*length).max(1));
        let (piece, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        Some(piece)
    })
}

/// The parts of `text` before and after the first line feed.
pub fn first_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}
