// SPDX-License-Identifier: Apache-2.0
//! `escapeSeqDecode`, `jsDecode`: what stands behind a backslash in C and in JavaScript.

use super::rewrite::{Short, rewrite_at};
use super::unicode::low_byte;
use super::{Settings, Transformation};
use crate::byte_set::ByteSet;
use crate::hex;

/// `t:escapeSeqDecode`
pub(super) static DECODE_C: Transformation = Transformation {
    name: "escapeSeqDecode",
    aliases: &[],
    doc: "Decodes the escapes of C: `\\n` and its like, `\\xHH`, `\\OOO`; other bytes lose their backslash.",
    changes: Some(ByteSet::of(b"\\")),
    apply: decode_c,
};

/// `t:jsDecode`
pub(super) static DECODE_JAVASCRIPT: Transformation = Transformation {
    name: "jsDecode",
    aliases: &[],
    doc: "Decodes the escapes of JavaScript: `\\uHHHH` to its low byte, full-width forms to plain ASCII, `\\xHH`, \
          `\\OOO`, `\\n` and its like; other bytes lose their backslash.",
    changes: Some(ByteSet::of(b"\\")),
    apply: decode_javascript,
};

fn decode_c(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    rewrite_at::<1>(input, output, b'\\', |rest| {
        let (byte, length) = match rest {
            [b'x' | b'X', pair @ ..] => hex::pair(pair).map(|byte| (byte, 3)),
            _ => octal(rest, u8::MAX),
        }
        .or_else(|| letter(rest))?;
        Some((Short::from(byte), length))
    })
}

fn decode_javascript(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    rewrite_at::<1>(input, output, b'\\', |rest| {
        let (byte, length) = match rest {
            [b'u', code @ ..] => hex::four(code).map(|code| (low_byte(code), 5)),
            [b'x', pair @ ..] => hex::pair(pair).map(|byte| (byte, 3)),
            _ => octal(rest, b'3'),
        }
        .or_else(|| letter(rest))?;
        Some((Short::from(byte), length))
    })
}

/// Up to three octal digits, up to two if the first is above `first_of_three`. What does not fit a byte loses its high
/// bits.
fn octal(rest: &[u8], first_of_three: u8) -> Option<(u8, usize)> {
    let digits_max = if *rest.first()? > first_of_three { 2 } else { 3 };
    let digits = rest.iter().take(digits_max).take_while(|byte| matches!(byte, b'0'..=b'7'));
    let (byte, length) =
        digits.fold((0_u8, 0), |(byte, length), digit| (byte.wrapping_mul(8) | (digit & 7), length + 1));
    (length > 0).then_some((byte, length))
}

/// A letter that means a control character, or a byte that means itself. `None` at the end of the value.
fn letter(rest: &[u8]) -> Option<(u8, usize)> {
    let byte = match rest.first()? {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0C,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0B,
        other => *other,
    };
    Some((byte, 1))
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;

    #[test]
    fn of_c() {
        check(
            &DECODE_C,
            &[
                ("none", b"plain", None),
                ("letters", b"\\a\\b\\f\\n\\r\\t\\v", Some(b"\x07\x08\x0C\n\r\t\x0B")),
                ("themselves", b"\\\\\\?\\'\\\"\\c\\u0061", Some(b"\\?'\"cu0061")),
                ("hex", b"\\x41\\X4a", Some(b"AJ")),
                ("not hex", b"\\x4g\\x", Some(b"x4gx")),
                ("octal", b"\\0\\12\\123\\0123", Some(b"\0\nS\n3")),
                ("octal too big", b"\\666", Some(b"\xB6")),
                ("not octal", b"\\8\\9", Some(b"89")),
                ("at the end", b"a\\", None),
            ],
        );
    }

    #[test]
    fn of_javascript() {
        check(
            &DECODE_JAVASCRIPT,
            &[
                ("none", b"plain", None),
                ("letters", b"\\a\\b\\f\\n\\r\\t\\v", Some(b"\x07\x08\x0C\n\r\t\x0B")),
                ("themselves", b"\\\\\\?\\'\\\"\\c", Some(b"\\?'\"c")),
                ("hex", b"\\x41\\X4a", Some(b"AX4a")),
                ("four digits", b"\\u0061\\u1161", Some(b"aa")),
                ("full width", b"\\uff1c\\uFF5E\\uff00\\uff5f", Some(b"<~\0\x5F")),
                ("too short", b"\\u\\u0\\u01\\u012", Some(b"uu0u01u012")),
                ("octal", b"\\0\\12\\123\\377", Some(b"\0\nS\xFF")),
                ("octal too big", b"\\477", Some(b"'7")),
                ("at the end", b"a\\", None),
            ],
        );
    }
}
