// SPDX-License-Identifier: Apache-2.0
//! `urlDecode`, `urlDecodeUni`, `urlEncode`.

use super::rewrite::Rewrite;
use super::unicode::low_byte;
use super::{Settings, Transformation, best_fit};
use crate::byte_set::ByteSet;
use crate::hex;

/// `t:urlDecode`
pub(super) static DECODE: Transformation = Transformation {
    name: "urlDecode",
    aliases: &[],
    doc: "Decodes `%HH`, and `+` to a space; what is no escape stays.",
    changes: Some(ByteSet::of(b"%+")),
    apply: |input, _, output| decode(input, output, |_| None),
};

/// `t:urlDecodeUni`
pub(super) static DECODE_UNICODE: Transformation = Transformation {
    name: "urlDecodeUni",
    aliases: &[],
    doc: "As `urlDecode`, and decodes `%uHHHH`: to what `SecUnicodeMapFile` has for it, without one to the ASCII that is \
          the nearest (`%u2019` to an apostrophe), or else to its low byte.",
    changes: Some(ByteSet::of(b"%+")),
    apply: |input, settings, output| decode(input, output, |code| Some(unicode(code, settings))),
};

/// `t:urlEncode`
pub(super) static ENCODE: Transformation = Transformation {
    name: "urlEncode",
    aliases: &[],
    doc: "Writes spaces as `+`, and all but ASCII letters, digits and `*` as `%hh`.",
    changes: Some(ENCODED),
    apply: encode,
};

/// `unicode` says what `%uHHHH` is, `None` where it is no escape.
fn decode(input: &[u8], output: &mut Vec<u8>, unicode: impl Fn(u16) -> Option<u8>) -> bool {
    let mut rewrite = Rewrite::new(input, output);
    let mut at = 0;
    while let Some(offset) = input.get(at..).and_then(|rest| memchr::memchr2(b'%', b'+', rest)) {
        let start = at + offset;
        at = start + 1;
        let decoded = match input.get(start..) {
            Some([b'+', ..]) => Some((b' ', 1)),
            Some([b'%', b'u' | b'U', code @ ..]) => hex::four(code).and_then(&unicode).map(|byte| (byte, 6)),
            Some([b'%', pair @ ..]) => hex::pair(pair).map(|byte| (byte, 3)),
            _ => None,
        };
        if let Some((byte, length)) = decoded {
            at = start + length;
            rewrite.replace(start..at, &[byte]);
        }
    }
    rewrite.finish()
}

fn unicode(code: u16, settings: &Settings) -> u8 {
    let mapped = match settings.unicode_map.as_deref() {
        Some(map) => map.get(usize::from(code)).copied().filter(|byte| *byte != 0),
        None => best_fit::of(code),
    };
    mapped.unwrap_or_else(|| low_byte(code))
}

fn encode(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    let mut rewrite = Rewrite::new(input, output);
    for (at, byte) in input.iter().enumerate() {
        if *byte == b' ' {
            rewrite.replace(at..at + 1, b"+");
        } else if ENCODED.contains(*byte) {
            let [high, low] = hex::digits(*byte);
            rewrite.replace(at..at + 1, &[b'%', high, low]);
        }
    }
    rewrite.finish()
}

const ENCODED: ByteSet = ByteSet::range(b'0', b'9')
    .union(ByteSet::range(b'A', b'Z'))
    .union(ByteSet::range(b'a', b'z'))
    .with(b'*')
    .complement();

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
                ("none", b"plain", None),
                ("escapes", b"%3cscript%3E+a", Some(b"<script> a")),
                ("only once", b"%253c", Some(b"%3c")),
                ("a percent sign before one", b"%%20", Some(b"% ")),
                ("no escapes", b"%%0%0g%gg%u0041%", None),
            ],
        );
        check(
            &DECODE_UNICODE,
            &[
                ("escapes", b"%3cscript%3E+a", Some(b"<script> a")),
                ("four digits", b"%u0041%U1142", Some(b"AB")),
                ("full width", b"%uff1c%uFF5E%uff00%uff5f", Some(b"<~\0\x5F")),
                ("the nearest", b"%u2019 %u02b9 %u00ab %u0131 %u0151 %u3000", Some(b"' ' < i o \0")),
                ("cut short", b"%u004%u0041", Some(b"%u004A")),
                ("no escapes", b"%u%u0%u00%u000%u000g%U", None),
            ],
        );
    }

    #[test]
    fn the_map_goes_first() {
        let mut map = vec![0; 1 << 16];
        map[0x2019] = b'\'';
        map[0xFF1C] = b'(';
        let settings = Settings { unicode_map: Some(map.into_boxed_slice()) };
        let mut output = Vec::new();
        assert!((DECODE_UNICODE.apply)(b"%u2019%uff1c%uff1e%u0141", &settings, &mut output));
        assert_eq!(output, b"'(>A");
    }

    #[test]
    fn a_short_map_is_no_harm() {
        let settings = Settings { unicode_map: Some(Box::default()) };
        let mut output = Vec::new();
        assert!((DECODE_UNICODE.apply)(b"%u2019", &settings, &mut output));
        assert_eq!(output, b"\x19");
    }

    #[test]
    fn encoded() {
        check(&ENCODE, &[("none", b"aZ09*", None), ("some", b"a b-%\xFF", Some(b"a+b%2d%25%ff"))]);
    }

    proptest! {
        #[test]
        fn there_and_back(value in proptest::collection::vec(any::<u8>(), 0..99)) {
            let encoded = applied(&ENCODE, &value).unwrap_or_else(|| value.clone());
            for transformation in [&DECODE, &DECODE_UNICODE] {
                let decoded = applied(transformation, &encoded).unwrap_or_else(|| encoded.clone());
                prop_assert_eq!(&decoded, &value);
            }
        }
    }
}
