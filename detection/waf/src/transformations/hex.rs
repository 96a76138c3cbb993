// SPDX-License-Identifier: Apache-2.0
//! `hexDecode`, `hexEncode`, `sqlHexDecode`, and hex digits for the others.

use super::rewrite::Rewrite;
use super::{Settings, Transformation};
use crate::byte_set::ByteSet;

/// `t:hexDecode`
pub(super) static DECODE: Transformation = Transformation {
    name: "hexDecode",
    aliases: &[],
    doc: "Decodes a value that is pairs of hex digits from start to end; any other stays as it is.",
    changes: Some(
        ByteSet::range(b'0', b'9').union(ByteSet::range(b'A', b'F')).union(ByteSet::range(b'a', b'f')),
    ),
    apply: decode,
};

/// `t:hexEncode`
pub(super) static ENCODE: Transformation = Transformation {
    name: "hexEncode",
    aliases: &[],
    doc: "Writes each byte as two hex digits.",
    changes: None,
    apply: encode,
};

/// `t:sqlHexDecode`
pub(super) static DECODE_SQL: Transformation = Transformation {
    name: "sqlHexDecode",
    aliases: &[],
    doc: "Decodes the hex literals of SQL, `0x414243`.",
    changes: Some(ByteSet::of(b"xX")),
    apply: decode_sql,
};

fn decode(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    let start = output.len();
    for two in input.chunks(2) {
        let Some(byte) = pair(two) else {
            output.truncate(start);
            return false;
        };
        output.push(byte);
    }
    !input.is_empty()
}

fn encode(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    output.reserve(input.len().saturating_mul(2));
    for byte in input {
        output.extend_from_slice(&digits(*byte));
    }
    !input.is_empty()
}

fn decode_sql(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    let mut rewrite = Rewrite::new(input, output);
    let mut at = 0;
    while let Some(offset) = input.get(at..).and_then(|rest| memchr::memchr2(b'x', b'X', rest)) {
        let mark = at + offset;
        at = mark + 1;
        if !input.get(rewrite.done()..mark).is_some_and(|before| before.ends_with(b"0")) {
            continue;
        }
        let mut start = mark - 1;
        while let Some(byte) = input.get(at..).and_then(pair) {
            at += 2;
            rewrite.replace(start..at, &[byte]);
            start = at;
        }
    }
    rewrite.finish()
}

/// The byte that two digits at the start of `text` say.
pub(super) fn pair(text: &[u8]) -> Option<u8> {
    let [high, low, ..] = text else { return None };
    Some(value(*high)? << 4 | value(*low)?)
}

/// The number that four digits at the start of `text` say.
pub(super) fn four(text: &[u8]) -> Option<u16> {
    let [high, low] = [pair(text)?, pair(text.get(2..)?)?];
    Some(u16::from_be_bytes([high, low]))
}

/// How many of the first `max` bytes are digits up to one that is not, and the number they say, up to the greatest.
pub(super) fn leading(text: &[u8], max: usize) -> (usize, u32) {
    let digits = text.iter().take(max).map_while(|byte| value(*byte));
    digits.fold((0, 0), |(count, number), digit| {
        (count + 1, u32::saturating_add(u32::saturating_mul(number, 16), u32::from(digit)))
    })
}

/// Two small digits.
pub(super) fn digits(byte: u8) -> [u8; 2] {
    [digit(byte >> 4), digit(byte & 0xF)]
}

/// Of a number below 16.
pub(super) const fn digit(number: u8) -> u8 {
    match number {
        0..=9 => b'0' + number,
        _ => b'a' - 10 + (number & 0xF),
    }
}

const fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{applied, check};
    use super::*;

    #[test]
    fn decoded() {
        check(
            &DECODE,
            &[
                ("nothing", b"", None),
                ("hex", b"546573740043617365", Some(b"Test\0Case")),
                ("either case", b"4a4A", Some(b"JJ")),
                ("not all of it", b"4a4g", None),
                ("one digit too many", b"4a4", None),
            ],
        );
    }

    #[test]
    fn of_sql() {
        check(
            &DECODE_SQL,
            &[
                ("none", b"select x from 0", None),
                ("one", b"0x414243", Some(b"ABC")),
                ("large", b"a 0X4a4A b", Some(b"a JJ b")),
                ("a digit too many", b"0x414", Some(b"A4")),
                ("one digit", b"0x4", None),
                ("not hex", b"0xyz", None),
                ("a number before it", b"10x41", Some(b"1A")),
                ("one after the other", b"0x410x42", Some(b"AB")),
            ],
        );
    }

    proptest! {
        #[test]
        fn there_and_back(value in proptest::collection::vec(any::<u8>(), 1..99)) {
            let encoded = applied(&ENCODE, &value).unwrap();
            prop_assert_eq!(applied(&DECODE, &encoded), Some(value));
        }
    }
}
