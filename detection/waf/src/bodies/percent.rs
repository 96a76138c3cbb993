// SPDX-License-Identifier: Apache-2.0
//! Percent encoding, as forms have it.

use crate::hex;

/// Whether [`decode`] would change anything or find something wrong.
pub fn is_encoded(text: &[u8]) -> bool {
    memchr::memchr2(b'%', b'+', text).is_some()
}

/// Appends what `text` stands for: `+` is a space, `%41` is `A`, and what is no escape stands as it was.
/// `false`: there was a `%` that is none.
pub fn decode(text: &[u8], output: &mut Vec<u8>) -> bool {
    let mut is_valid = true;
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'%', b'+', rest) {
        let (plain, encoded) = rest.split_at(at);
        output.extend_from_slice(plain);
        rest = match (escape(encoded), encoded) {
            (Some((byte, after)), _) => {
                output.push(byte);
                after
            }
            (None, [first, after @ ..]) => {
                is_valid &= *first == b'+';
                output.push(if *first == b'+' { b' ' } else { *first });
                after
            }
            (None, []) => break,
        };
    }
    output.extend_from_slice(rest);
    is_valid
}

/// The byte of an escape, and what follows it.
pub(super) fn escape(text: &[u8]) -> Option<(u8, &[u8])> {
    let [b'%', digits @ ..] = text else {
        return None;
    };
    Some((hex::pair(digits)?, digits.get(2..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(text: &[u8]) -> (Vec<u8>, bool) {
        let mut output = Vec::new();
        let is_valid = decode(text, &mut output);
        (output, is_valid)
    }

    #[test]
    fn escapes_are_decoded_and_what_is_none_stays() {
        for (name, text, want, is_valid) in [
            ("nothing", "", "", true),
            ("plain", "abc", "abc", true),
            ("plus", "a+b+", "a b ", true),
            ("escape", "%41%7a%7A", "Azz", true),
            ("no hex", "%zz%4g", "%zz%4g", false),
            ("cut short", "a%4", "a%4", false),
            ("alone", "%", "%", false),
            ("percent before an escape", "%%41", "%A", false),
            ("only once", "%2541", "%41", true),
            ("escaped plus", "%2B", "+", true),
            ("not Unicode", "%u0041", "%u0041", false),
        ] {
            assert_eq!(decoded(text.as_bytes()), (want.into(), is_valid), "{name}");
        }
    }

    proptest! {
        #[test]
        fn it_equals_a_slow_form(text in "([%+]|%?[0-9a-gA-G]{0,3}|.){0,20}") {
            let bytes = text.as_bytes();
            let mut want = Vec::new();
            let mut at = 0;
            while at < bytes.len() {
                let digits = std::str::from_utf8(bytes.get(at + 1..at + 3).unwrap_or_default()).unwrap_or_default();
                let is_hex = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                if bytes[at] == b'%' && is_hex {
                    want.push(u8::from_str_radix(digits, 16).unwrap());
                    at += 3;
                } else {
                    want.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                    at += 1;
                }
            }
            prop_assert_eq!(decoded(bytes).0, want);
        }
    }
}
