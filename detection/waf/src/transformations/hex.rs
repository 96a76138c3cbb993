// SPDX-License-Identifier: Apache-2.0
//! `hexDecode`, `hexEncode`, `sqlHexDecode`.

use super::rewrite::Rewrite;
use super::{Settings, Transformation};
use crate::byte_set::ByteSet;
use crate::hex::{digits, pair};

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
