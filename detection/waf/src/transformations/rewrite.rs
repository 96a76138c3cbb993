// SPDX-License-Identifier: Apache-2.0
//! A value written again with some places changed.

use std::ops::Range;

/// Copies what stays the same in runs, and writes nothing before the first change: a value that keeps its bytes costs
/// no copy.
pub(super) struct Rewrite<'a> {
    input: &'a [u8],
    output: &'a mut Vec<u8>,
    /// Up to here the input is written, or was replaced.
    done: usize,
    changed: bool,
}

impl<'a> Rewrite<'a> {
    pub(super) const fn new(input: &'a [u8], output: &'a mut Vec<u8>) -> Self {
        Self { input, output, done: 0, changed: false }
    }

    /// This place becomes `with`. Places come in order.
    pub(super) fn replace(&mut self, place: Range<usize>, with: &[u8]) {
        if !self.changed {
            self.changed = true;
            self.output.reserve(self.input.len());
        }
        self.copy_until(place.start);
        self.output.extend_from_slice(with);
        self.done = place.end;
    }

    /// This place goes away. Places come in order.
    pub(super) fn remove(&mut self, place: Range<usize>) {
        self.replace(place, b"");
    }

    /// Where the last changed place ended, 0 before the first.
    pub(super) const fn done(&self) -> usize {
        self.done
    }

    /// Copies the rest. Whether anything changed.
    pub(super) fn finish(mut self) -> bool {
        if self.changed {
            self.copy_until(self.input.len());
        }
        self.changed
    }

    fn copy_until(&mut self, end: usize) {
        self.output.extend_from_slice(self.input.get(self.done..end).unwrap_or_default());
    }
}

/// Replaces each place that `needle` starts. `read` gets what follows the needle, and says what stands for it and how
/// many of the bytes that follow belong to it, or `None` where it means itself.
pub(super) fn rewrite_at<const N: usize>(
    input: &[u8],
    output: &mut Vec<u8>,
    needle: u8,
    read: impl Fn(&[u8]) -> Option<(Short<N>, usize)>,
) -> bool {
    let mut rewrite = Rewrite::new(input, output);
    let mut at = 0;
    while let Some(offset) = input.get(at..).and_then(|rest| memchr::memchr(needle, rest)) {
        let start = at + offset;
        at = start + 1;
        if let Some((with, length)) = input.get(at..).and_then(&read) {
            at += length;
            rewrite.replace(start..at, with.bytes());
        }
    }
    rewrite.finish()
}

/// Up to `N` bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Short<N> {
    pub(super) const EMPTY: Self = Self { bytes: [0; N], length: 0 };

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl<const N: usize> From<u8> for Short<N> {
    fn from(byte: u8) -> Self {
        const { assert!(N > 0) };
        Self { bytes: [byte; N], length: 1 }
    }
}

impl From<char> for Short<4> {
    fn from(character: char) -> Self {
        let mut bytes = [0; 4];
        let length = character.encode_utf8(&mut bytes).len();
        Self { bytes, length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_change_is_copied() {
        let mut output = b"before ".to_vec();
        let mut rewrite = Rewrite::new(b"one two three", &mut output);
        rewrite.remove(0..4);
        rewrite.replace(4..5, b"T");
        rewrite.replace(13..13, b"!");
        assert!(rewrite.finish());
        assert_eq!(output, b"before Two three!");
    }

    #[test]
    fn without_a_change_nothing_is_written() {
        let mut output = Vec::new();
        assert!(!Rewrite::new(b"one", &mut output).finish());
        assert_eq!(output.capacity(), 0);
    }
}
