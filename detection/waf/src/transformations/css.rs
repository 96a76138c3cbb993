// SPDX-License-Identifier: Apache-2.0
//! `cssDecode`: the escapes of style sheets.

use super::rewrite::{Short, rewrite_at};
use super::trim::SPACES;
use super::unicode::narrow;
use super::{Settings, Transformation};
use crate::byte_set::ByteSet;
use crate::hex;

/// `t:cssDecode`
pub(super) static DECODE: Transformation = Transformation {
    name: "cssDecode",
    aliases: &[],
    doc: "Decodes CSS escapes: up to six hex digits and a space after them become the character in UTF-8, full-width \
          forms plain ASCII; other bytes lose their backslash.",
    changes: Some(ByteSet::of(b"\\")),
    apply,
};

fn apply(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    rewrite_at(input, output, b'\\', |rest| Some(escape(rest)))
}

fn escape(rest: &[u8]) -> (Short<4>, usize) {
    let (digits, code) = hex::leading(rest, DIGITS_MAX);
    if digits > 0 {
        let space = rest.get(digits).is_some_and(|byte| SPACES.contains(*byte));
        return (character(code).into(), digits + usize::from(space));
    }
    match rest {
        [] => (Short::EMPTY, 0),
        [b'\n', ..] => (Short::EMPTY, 1),
        [byte, ..] => ((*byte).into(), 1),
    }
}

/// Zero stays zero: browsers of old skipped it, and `t:removeNulls` follows in rules that care.
fn character(code: u32) -> char {
    char::from_u32(narrow(code)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// More digits are text.
const DIGITS_MAX: usize = 6;

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;

    #[test]
    fn escapes() {
        check(
            &DECODE,
            &[
                ("none", b"expression", None),
                ("short", b"\\65xpression", Some(b"expression")),
                ("padded", b"\\000065xpression", Some(b"expression")),
                ("a space after it", b"\\65 xpression", Some(b"expression")),
                ("two spaces after it", b"\\65  x", Some(b"e x")),
                ("a seventh digit", b"\\0000651", Some(b"e1")),
                ("not hex", b"\\xpress\\ion", Some(b"xpression")),
                ("a letter", b"ja\\vascript", Some(b"javascript")),
                ("zero", b"a\\0 b", Some(b"a\0b")),
                ("beyond ASCII", b"caf\\e9", Some("café".as_bytes())),
                ("full width", b"\\ff1cscript\\00ff1e", Some(b"<script>")),
                ("too much", b"\\123456", Some("\u{FFFD}".as_bytes())),
                ("half of a pair", b"\\d800", Some("\u{FFFD}".as_bytes())),
                ("a line end", b"a\\\nb", Some(b"ab")),
                ("a backslash", b"a\\\\b", Some(b"a\\b")),
                ("at the end", b"a\\", Some(b"a")),
            ],
        );
    }
}
