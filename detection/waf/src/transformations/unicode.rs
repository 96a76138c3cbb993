// SPDX-License-Identifier: Apache-2.0
//! `utf8toUnicode`, and code points for the others.

use super::rewrite::Rewrite;
use super::{Settings, Transformation};
use crate::byte_set::ByteSet;
use crate::hex::digit;

/// `t:utf8toUnicode`
pub(super) static FROM_UTF8: Transformation = Transformation {
    name: "utf8toUnicode",
    aliases: &[],
    doc: "Writes UTF-8 beyond ASCII as `%uHHHH`, also what is longer than it need be; of a character that is broken the \
          first byte goes, and other bytes stay.",
    changes: Some(FIRST),
    apply,
};

/// That first bytes of broken characters go is as in ModSecurity: what skips them downstream reads `etc/passwd` in
/// `etc\xC0/passwd`.
fn apply(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    let mut rewrite = Rewrite::new(input, output);
    let mut at = 0;
    while let Some(rest) = input.get(at..)
        && let Some(offset) = rest.iter().position(|byte| FIRST.contains(*byte))
    {
        let start = at + offset;
        at = start + 1;
        match input.get(start..).and_then(decode) {
            Some((code, length)) => {
                at = start + length;
                let (text, unused) = escape(code);
                rewrite.replace(start..at, text.get(..text.len() - unused).unwrap_or_default());
            }
            None => rewrite.replace(start..at, b""),
        }
    }
    rewrite.finish()
}

/// First bytes of characters beyond ASCII.
const FIRST: ByteSet = ByteSet::range(0xC0, 0xF4);

/// `%u` and four digits, or as many as it takes; and how many bytes at the end are not used.
fn escape(code: u32) -> ([u8; 8], usize) {
    let length = match code {
        0..=0xFFFF => 4,
        0x1_0000..=0xF_FFFF => 5,
        _ => 6,
    };
    let mut text = *b"%u000000";
    for (place, byte) in text.iter_mut().skip(2).take(length).enumerate() {
        let [.., low] = (code >> (4 * (length - 1 - place))).to_be_bytes();
        *byte = digit(low & 0xF);
    }
    (text, 6 - length)
}

/// The character beyond one byte that `text` starts with, and how many bytes it has. Forms that are longer than need be
/// and halves of pairs are read as well: what reads them downstream is not known.
pub(super) fn decode(text: &[u8]) -> Option<(u32, usize)> {
    let (first, rest) = text.split_first()?;
    let (more, bits) = match first {
        0xC0..=0xDF => (1, first & 0x1F),
        0xE0..=0xEF => (2, first & 0x0F),
        0xF0..=0xF4 => (3, first & 0x07),
        _ => return None,
    };
    let mut code = u32::from(bits);
    for byte in rest.get(..more)? {
        if byte & 0xC0 != 0x80 {
            return None;
        }
        code = code << 6 | u32::from(byte & 0x3F);
    }
    (code <= u32::from(char::MAX)).then_some((code, more + 1))
}

/// The ASCII character that a full-width one stands for; others stay.
pub(super) const fn narrow(code: u32) -> u32 {
    match code {
        0xFF01..=0xFF5E => code - 0xFEE0,
        _ => code,
    }
}

/// What a code point is in one byte: its low byte, or the ASCII character that it is the full-width form of.
pub(super) fn low_byte(code: u16) -> u8 {
    let [.., low] = narrow(u32::from(code)).to_be_bytes();
    low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{applied, check};
    use super::*;

    #[test]
    fn from_utf8() {
        check(
            &FROM_UTF8,
            &[
                ("ASCII", b"plain%u0041\0", None),
                ("two bytes", "é".as_bytes(), Some(b"%u00e9")),
                ("three bytes", "a＜b".as_bytes(), Some(b"a%uff1cb")),
                ("four bytes", "😀".as_bytes(), Some(b"%u1f600")),
                ("the last", "\u{10FFFF}".as_bytes(), Some(b"%u10ffff")),
                ("beyond the last", b"\xF4\x90\x80\x80", Some(b"\x90\x80\x80")),
                (
                    "longer than need be",
                    b"..\xC0\xAF\xE0\x80\xAF\xF0\x80\x80\xAF",
                    Some(b"..%u002f%u002f%u002f"),
                ),
                ("half of a pair", b"\xED\xA0\x80", Some(b"%ud800")),
                ("cut short", b"\xE2\x82", Some(b"\x82")),
                ("broken", b"\xE2\xC3\xA9\x80\xFF", Some(b"%u00e9\x80\xFF")),
                ("a first byte alone", b"..\xC0/etc\xF1/passwd\xC0", Some(b"../etc/passwd")),
                ("no first byte", b"\x80\xBF\xF5\xFF", None),
            ],
        );
    }

    proptest! {
        #[test]
        fn like_the_characters(value in ".{0,12}") {
            let want: String = value
                .chars()
                .map(|one| if one.is_ascii() { one.to_string() } else { format!("%u{:04x}", u32::from(one)) })
                .collect();
            let output = applied(&FROM_UTF8, value.as_bytes());
            prop_assert_eq!(output, (want != value).then(|| want.into_bytes()));
        }
    }
}
