// SPDX-License-Identifier: Apache-2.0
//! `base64Decode`, `base64DecodeExt`, `base64Encode`.

use super::{Settings, Transformation};

/// `t:base64Decode`
pub(super) static DECODE: Transformation = Transformation {
    name: "base64Decode",
    aliases: &[],
    doc: "Decodes Base64 up to its padding, or the first byte that is not of its alphabet; line ends are skipped.",
    changes: None,
    apply: decode_strictly,
};

/// `t:base64DecodeExt`
pub(super) static DECODE_EXT: Transformation = Transformation {
    name: "base64DecodeExt",
    aliases: &[],
    doc: "Decodes Base64 of either alphabet, and skips all that is not of it.",
    changes: None,
    apply: decode_leniently,
};

/// `t:base64Encode`
pub(super) static ENCODE: Transformation = Transformation {
    name: "base64Encode",
    aliases: &[],
    doc: "Encodes as Base64, with padding.",
    changes: None,
    apply: encode,
};

fn decode_strictly(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    let mut decoder = Decoder::new(output, input.len());
    for byte in input {
        match (sextet(*byte), byte) {
            (Some(bits), _) => decoder.push(bits),
            (None, b'\r' | b'\n') => {}
            (None, _) => break,
        }
    }
    decoder.finish();
    !input.is_empty()
}

fn decode_leniently(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    let mut decoder = Decoder::new(output, input.len());
    for byte in input {
        let standard = match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        };
        if let Some(bits) = sextet(standard) {
            decoder.push(bits);
        }
    }
    decoder.finish();
    !input.is_empty()
}

fn encode(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    output.reserve(input.len().div_ceil(3).saturating_mul(4));
    for group in input.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = ALPHABET.get((bits >> shift & 0x3F) as usize).copied().unwrap_or(b'=');
            output.push(if at <= group.len() { digit } else { b'=' });
        }
    }
    !input.is_empty()
}

/// Gathers six bits at a time.
struct Decoder<'a> {
    output: &'a mut Vec<u8>,
    bits: u32,
    count: u8,
}

impl<'a> Decoder<'a> {
    fn new(output: &'a mut Vec<u8>, length: usize) -> Self {
        output.reserve(length / 4 * 3 + 3);
        Self { output, bits: 0, count: 0 }
    }

    fn push(&mut self, sextet: u8) {
        self.bits = self.bits << 6 | u32::from(sextet);
        self.count += 1;
        if self.count == 4 {
            let [_, first, second, third] = self.bits.to_be_bytes();
            self.output.extend_from_slice(&[first, second, third]);
            (self.bits, self.count) = (0, 0);
        }
    }

    /// Writes what a last group without padding says. Of one digit no byte can be made.
    fn finish(self) {
        match self.count {
            2 => self.output.push(low_byte(self.bits >> 4)),
            3 => self.output.extend([low_byte(self.bits >> 10), low_byte(self.bits >> 2)]),
            _ => {}
        }
    }
}

const fn low_byte(bits: u32) -> u8 {
    let [.., low] = bits.to_be_bytes();
    low
}

const fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

static ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::super::testing::{applied, check};
    use super::*;

    #[test]
    fn strictly() {
        check(
            &DECODE,
            &[
                ("nothing", b"", None),
                ("padded", b"VGVzdENhc2UxMg==", Some(b"TestCase12")),
                ("not padded", b"VGVzdENhc2UxMg", Some(b"TestCase12")),
                ("a digit too many", b"VGVzdA=", Some(b"Test")),
                ("one digit", b"V", Some(b"")),
                ("in lines", b"VGVz\r\ndENhc2U=", Some(b"TestCase")),
                ("ends at what is not Base64", b"VGVz!dENhc2U=", Some(b"Tes")),
                ("ends at a space", b"VGVz dENhc2U=", Some(b"Tes")),
                ("ends at padding", b"VGVzdA==VGVz", Some(b"Test")),
                ("none of it", b"!", Some(b"")),
            ],
        );
    }

    #[test]
    fn leniently() {
        check(
            &DECODE_EXT,
            &[
                ("nothing", b"", None),
                ("a dot", b"P.HNjcmlwdD4=", Some(b"<script>")),
                ("a byte of no alphabet", b"P\xFFHNjc !mlwdD4=", Some(b"<script>")),
                ("padding in front", b"=PHNjcmlwdD4", Some(b"<script>")),
                ("the other alphabet", b"-_-_", Some(b"\xFB\xFF\xBF")),
            ],
        );
    }

    #[test]
    fn encoded() {
        check(
            &ENCODE,
            &[
                ("nothing", b"", None),
                ("whole groups", b"TestCase1", Some(b"VGVzdENhc2Ux")),
                ("one over", b"TestCase12", Some(b"VGVzdENhc2UxMg==")),
                ("two over", b"TestCase", Some(b"VGVzdENhc2U=")),
            ],
        );
    }

    proptest! {
        #[test]
        fn as_the_library_has_it_and_back(value in proptest::collection::vec(any::<u8>(), 1..99)) {
            let encoded = applied(&ENCODE, &value).unwrap();
            prop_assert_eq!(&encoded, &STANDARD.encode(&value).into_bytes());
            for transformation in [&DECODE, &DECODE_EXT] {
                let decoded = applied(transformation, &encoded).unwrap();
                prop_assert_eq!(&decoded, &value);
            }
        }
    }
}
