// SPDX-License-Identifier: Apache-2.0
//! `compressWhitespace`, `removeWhitespace`.

use super::rewrite::Rewrite;
use super::trim::SPACES;
use super::{Settings, Transformation, unicode};
use crate::byte_set::ByteSet;

/// `t:compressWhitespace`
pub(super) static COMPRESS: Transformation = Transformation {
    name: "compressWhitespace",
    aliases: &[],
    doc: "Makes each run of white space one space: that of ASCII, and of Latin-1 as UTF-8; the no-break space also as \
          one byte.",
    changes: Some(SPACES.union(ByteSet::of(&[0xA0, 0xC2]))),
    apply: |input, _: &Settings, output| rewrite_runs(input, output, latin, b" "),
};

/// `t:removeWhitespace`
pub(super) static REMOVE: Transformation = Transformation {
    name: "removeWhitespace",
    aliases: &[],
    doc: "Drops white space: that of ASCII, and of Unicode as UTF-8; the no-break space also as one byte.",
    changes: Some(SPACES.union(ByteSet::of(&[0xA0, 0xC2, 0xE1, 0xE2, 0xE3]))),
    apply: |input, _: &Settings, output| rewrite_runs(input, output, any, b""),
};

/// Each run of white space becomes `with`. `space` says how many bytes the white space character has that a text starts
/// with, 0 where it starts with another.
fn rewrite_runs(input: &[u8], output: &mut Vec<u8>, space: impl Fn(&[u8]) -> usize, with: &[u8]) -> bool {
    if input.is_ascii() {
        return rewrite_ascii(input, output, with);
    }
    let mut rewrite = Rewrite::new(input, output);
    let mut at = 0;
    while let Some(rest) = input.get(at..)
        && let Some(first) = rest.first()
    {
        if first.is_ascii() && !SPACES.contains(*first) {
            at += 1;
            continue;
        }
        let start = at;
        while let Some(rest) = input.get(at..)
            && let length @ 1.. = space(rest)
        {
            at += length;
        }
        if at == start {
            // In one go: the last byte of another character is no white space.
            at += unicode::decode(rest).map_or(1, |(_, length)| length);
        } else if input.get(start..at) != Some(with) {
            rewrite.replace(start..at, with);
        }
    }
    rewrite.finish()
}

/// As [`rewrite_runs`], without a branch for each byte.
fn rewrite_ascii(input: &[u8], output: &mut Vec<u8>, with: &[u8]) -> bool {
    let start = output.len();
    output.resize(start + input.len(), 0);
    let written = output.get_mut(start..).unwrap_or_default();
    let (mut length, mut was_space, mut changed) = (0, false, false);
    for byte in input {
        let is_space = *byte == b' ' || byte.wrapping_sub(b'\t') < 5;
        if let Some(place) = written.get_mut(length) {
            *place = if is_space { b' ' } else { *byte };
        }
        changed |= is_space && *byte != b' ';
        length += usize::from(!is_space || !with.is_empty() && !was_space);
        was_space = is_space;
    }
    changed |= length < input.len();
    output.truncate(if changed { start + length } else { start });
    changed
}

fn latin(text: &[u8]) -> usize {
    match text {
        [0xA0, ..] => 1,
        [0xC2, 0x85 | 0xA0, ..] => 2,
        [first, ..] if SPACES.contains(*first) => 1,
        _ => 0,
    }
}

fn any(text: &[u8]) -> usize {
    match text {
        [0xE1, 0x9A, 0x80, ..]
        | [0xE2, 0x80, 0x80..=0x8A | 0xA8 | 0xA9 | 0xAF, ..]
        | [0xE2, 0x81, 0x9F, ..]
        | [0xE3, 0x80, 0x80, ..] => 3,
        _ => latin(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{applied, check};
    use super::*;

    #[test]
    fn compressed() {
        check(
            &COMPRESS,
            &[
                ("single spaces", b" Test Case ", None),
                ("runs", b"  Test \t\x0B\x0C\r\n Case  ", Some(b" Test Case ")),
                ("a tab", b"Test\tCase", Some(b"Test Case")),
                ("a no-break space", "Test\u{A0} Case".as_bytes(), Some(b"Test Case")),
                ("a no-break space of one byte", b"Test\xA0Case", Some(b"Test Case")),
                ("the last byte of a letter", "Test\u{E0}Case\u{420}".as_bytes(), None),
                ("after a broken letter", b"\xE9\xA0x", Some(b"\xE9 x")),
                ("a wide space", "Test\u{3000}Case".as_bytes(), None),
            ],
        );
    }

    #[test]
    fn removed() {
        check(
            &REMOVE,
            &[
                ("none", b"Test\0Case", None),
                ("some", b" Te\tst \r\n", Some(b"Test")),
                (
                    "of Unicode",
                    "a\u{1680}b\u{2003}c\u{205F}d\u{3000}e\u{A0}f\u{85}g".as_bytes(),
                    Some(b"abcdefg"),
                ),
                ("the last byte of a letter", "Test\u{E0}Case\u{420}".as_bytes(), None),
                ("a no-break space of one byte", b"Test\xA0Case", Some(b"TestCase")),
            ],
        );
    }

    proptest! {
        #[test]
        fn as_unicode_has_it(value in "[ \t\n\u{85}\u{A0}\u{1680}\u{2000}-\u{2030}\u{205F}\u{3000}a\u{E0}😀]{0,16}") {
            let want: String = value.chars().filter(|one| !one.is_whitespace()).collect();
            let output = applied(&REMOVE, value.as_bytes());
            prop_assert_eq!(output, (want != value).then(|| want.into_bytes()));
        }
    }
}
