// SPDX-License-Identifier: Apache-2.0
//! `@validateByteRange`, `@validateUrlEncoding`, `@validateUtf8Encoding`: whether a value is *not* as it should be.

use super::{Argument, Captures, Needs, Operator, OperatorKind, Resources};
use crate::byte_set::ByteSet;

/// `SecRule ARGS "@validateByteRange 9,10,13,32-126" …`
pub(super) static VALIDATE_BYTE_RANGE: OperatorKind = OperatorKind {
    name: "validateByteRange",
    aliases: &[],
    doc: "Whether a byte stands in the value that is not one of these: numbers and ranges with commas between them.",
    argument: Argument::Required,
    compile: byte_range,
};

/// `SecRule REQUEST_URI_RAW "@validateUrlEncoding" …`
pub(super) static VALIDATE_URL_ENCODING: OperatorKind = OperatorKind {
    name: "validateUrlEncoding",
    aliases: &[],
    doc: "Whether a `%` stands in the value without two hexadecimal digits behind it.",
    argument: Argument::Optional,
    compile: |_, _| Ok(Box::new(Flaw { is_there: has_url_flaw, needs: ByteSet::of(b"%") })),
};

/// `SecRule ARGS "@validateUtf8Encoding" …`
pub(super) static VALIDATE_UTF8_ENCODING: OperatorKind = OperatorKind {
    name: "validateUtf8Encoding",
    aliases: &[],
    doc: "Whether the value is no text in UTF-8: cut short, longer than need be, a surrogate, or past the last code point.",
    argument: Argument::Optional,
    compile: |_, _| Ok(Box::new(Flaw { is_there: has_utf8_flaw, needs: ByteSet::range(0x80, 0xff) })),
};

fn byte_range(argument: &str, _: &dyn Resources) -> Result<Box<dyn Operator>, String> {
    let mut allowed = ByteSet::EMPTY;
    for part in argument.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        allowed = allowed.union(match (first.trim().parse::<u8>(), last.trim().parse::<u8>()) {
            (Ok(first), Ok(last)) if first <= last => ByteSet::range(first, last),
            _ => return Err(format!("`{part}` is no byte and no range of bytes: 0 to 255")),
        });
    }
    Ok(Box::new(Outside(allowed.complement())))
}

/// These are the bytes that must not stand there.
#[derive(Debug)]
struct Outside(ByteSet);

impl Operator for Outside {
    fn holds(&self, value: &[u8], _: Option<&mut Captures>) -> bool {
        value.iter().any(|byte| self.0.contains(*byte))
    }

    fn needs(&self) -> Needs {
        Needs { bytes: vec![self.0], ..Needs::default() }
    }
}

#[derive(Debug)]
struct Flaw {
    is_there: fn(&[u8]) -> bool,
    needs: ByteSet,
}

impl Operator for Flaw {
    fn holds(&self, value: &[u8], _: Option<&mut Captures>) -> bool {
        (self.is_there)(value)
    }

    fn needs(&self) -> Needs {
        Needs { bytes: vec![self.needs], ..Needs::default() }
    }
}

fn has_url_flaw(value: &[u8]) -> bool {
    memchr::memchr_iter(b'%', value).any(|at| {
        let digits = value.get(at + 1..at + 3);
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

fn has_utf8_flaw(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nowhere;

    impl Resources for Nowhere {
        fn read(&self, name: &str) -> Result<Vec<u8>, String> {
            Err(format!("no `{name}`"))
        }
    }

    #[test]
    fn bytes_outside_are_found() {
        for (argument, value, want) in [
            ("1-255", &b"a\0"[..], true),
            ("1-255", b"a", false),
            ("32-36, 38-126", b"%", true),
            ("97,98", b"ab", false),
            ("97,98", b"abc", true),
            ("", b"a", true),
            ("", b"", false),
        ] {
            let operator = byte_range(argument, &Nowhere).unwrap();
            assert_eq!(operator.holds(value, None), want, "{argument}");
        }
        for argument in ["256", "a", "5-1", "-1", "1-", "1-300"] {
            assert!(byte_range(argument, &Nowhere).is_err(), "{argument}");
        }
    }

    #[test]
    fn flaws_of_utf8_are_found() {
        for (value, want) in [
            (&b""[..], false),
            ("é€😀".as_bytes(), false),
            (b"\x00", false),
            (b"\xc3", true),
            (b"\x80", true),
            (b"\xc0\xaf", true),
            (b"\xe0\x80\xaf", true),
            (b"\xf0\x80\x80\xaf", true),
            (b"\xed\xa0\x80", true),
            (b"\xf4\x90\x80\x80", true),
            (b"\xf8\x88\x80\x80\x80", true),
            (b"\xe2\x82", true),
            (b"\xff", true),
        ] {
            assert_eq!(has_utf8_flaw(value), want, "{value:?}");
        }
    }
}
