// SPDX-License-Identifier: Apache-2.0
//! Changes to a value before a rule looks at it: `t:lowercase`.

mod base64;
mod best_fit;
mod command_line;
mod comments;
mod css;
mod digests;
mod escapes;
mod hex;
mod html;
mod length;
mod letters;
mod nulls;
mod parity;
mod paths;
mod rewrite;
#[cfg(test)]
mod testing;
mod trim;
mod unicode;
mod url;
mod whitespace;

use std::fmt;

use crate::byte_set::ByteSet;

/// What a transformation may need to know beside the value.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `SecUnicodeMapFile`: what a code point of the basic plane is written as in one byte, 0 where it is not. All
    /// 65,536 of them. `None`: as in code page 20127 (US-ASCII).
    pub unicode_map: Option<Box<[u8]>>,
}

/// A transformation.
pub struct Transformation {
    /// As rules write it.
    pub name: &'static str,
    /// As they may also write it.
    pub aliases: &'static [&'static str],
    /// What it does, in a sentence.
    pub doc: &'static str,
    /// A value in which none of these bytes stands it leaves as it is. `None`: it may change any.
    pub changes: Option<ByteSet>,
    /// Appends the changed value to `output`. `false`: the value is as it was, and `output` was left as it was.
    pub apply: fn(input: &[u8], settings: &Settings, output: &mut Vec<u8>) -> bool,
}

impl fmt::Debug for Transformation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All, by name.
pub static TRANSFORMATIONS: &[&Transformation] = &[
    &base64::DECODE,
    &base64::DECODE_EXT,
    &base64::ENCODE,
    &command_line::COMMAND_LINE,
    &whitespace::COMPRESS,
    &css::DECODE,
    &escapes::DECODE_C,
    &hex::DECODE,
    &hex::ENCODE,
    &html::DECODE,
    &escapes::DECODE_JAVASCRIPT,
    &length::LENGTH,
    &letters::LOWER,
    &digests::MD5,
    &paths::NORMALIZE,
    &paths::NORMALIZE_WINDOWS,
    &parity::EVEN,
    &parity::ODD,
    &parity::ZERO,
    &comments::REMOVE,
    &comments::REMOVE_MARKS,
    &nulls::REMOVE,
    &whitespace::REMOVE,
    &comments::REPLACE,
    &nulls::REPLACE,
    &digests::SHA1,
    &hex::DECODE_SQL,
    &trim::BOTH,
    &trim::LEFT,
    &trim::RIGHT,
    &letters::UPPER,
    &url::DECODE,
    &url::DECODE_UNICODE,
    &url::ENCODE,
    &unicode::FROM_UTF8,
];

/// In whatever case.
pub fn find(name: &str) -> Option<&'static Transformation> {
    let is_named = |known: &str| known.eq_ignore_ascii_case(name);
    TRANSFORMATIONS
        .iter()
        .copied()
        .find(|known| is_named(known.name) || known.aliases.iter().any(|alias| is_named(alias)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::LazyLock;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_name_is_found_and_is_one_of_a_kind() {
        let mut names = BTreeSet::new();
        for known in TRANSFORMATIONS {
            for name in std::iter::once(&known.name).chain(known.aliases) {
                assert!(std::ptr::eq(find(&name.to_uppercase()).unwrap(), *known), "{name}");
                assert!(names.insert(name.to_lowercase()), "{name} is there twice");
            }
        }
        assert!(find("none").is_none());
        assert!(TRANSFORMATIONS.is_sorted_by_key(|known| known.name.to_lowercase()));
    }

    /// No byte stands in `changes` for nothing: each has a value in which it stands alone, of that set, and that changes.
    #[test]
    fn no_set_is_larger_than_it_need_be() {
        let around: [(&[u8], &[u8]); 12] = [
            (b"", b""),
            (b"", b"0"),
            (b"", b"41"),
            (b"", b" "),
            (b"0", b"41"),
            (b"/", b""),
            (b"", b"#60;"),
            (b"", b"\x80"),
            (b"", b"\x85"),
            (b"", b"\x80\x80"),
            (b"", b"\x9A\x80"),
            (b"", b"\x80\x80\x80"),
        ];
        for known in TRANSFORMATIONS {
            for byte in known.changes.unwrap_or_default().bytes() {
                let is_changed = around.iter().any(|(before, after)| {
                    [&[byte][..], &[byte; 2]].into_iter().any(|bytes| {
                        let value = [before, bytes, after].concat();
                        let others = [*before, *after].concat();
                        !known.changes.is_some_and(|set| set.meets(&ByteSet::present(&others)))
                            && (known.apply)(&value, &Settings::default(), &mut Vec::new())
                    })
                });
                assert!(is_changed, "{known:?} never changes 0x{byte:02x}");
            }
        }
    }

    /// Bytes that mean something to one of them more often than others.
    fn values() -> impl Strategy<Value = Vec<u8>> {
        let telling = proptest::sample::select(
            b"\\%+&#;xXuU0123fFaAnt'\"^/.*-<>!= \t\n\0,(\xA0\xC2\xE2\x80\xFF".to_vec(),
        );
        vec(prop_oneof![3 => telling, 1 => any::<u8>()], 0..40)
    }

    static SETTINGS: LazyLock<[Settings; 2]> = LazyLock::new(|| {
        let map = (0..=u16::MAX).map(|code| code.to_be_bytes()[1] ^ 1).collect();
        [Settings::default(), Settings { unicode_map: Some(map) }]
    });

    proptest! {
        #[test]
        fn without_its_bytes_a_value_stays(value in values(), other in vec(any::<u8>(), 0..40)) {
            for known in TRANSFORMATIONS {
                let Some(changes) = known.changes else { continue };
                for value in [&value, &other] {
                    let value: Vec<u8> = value.iter().copied().filter(|byte| !changes.contains(*byte)).collect();
                    for settings in &*SETTINGS {
                        let mut output = b"before".to_vec();
                        prop_assert!(!(known.apply)(&value, settings, &mut output), "{:?} of {:?}", known, value);
                        prop_assert_eq!(&output, b"before", "{:?} of {:?}", known, value);
                    }
                }
            }
        }

        #[test]
        fn it_appends_what_changed_and_not_much(value in values()) {
            for known in TRANSFORMATIONS {
                let mut output = b"before".to_vec();
                let changed = (known.apply)(&value, &Settings::default(), &mut output);
                let appended = output.strip_prefix(b"before").unwrap();
                prop_assert!(!changed || appended != value, "{:?} of {:?}", known, value);
                prop_assert!(changed || appended.is_empty(), "{:?} of {:?}", known, value);
                prop_assert!(appended.len() <= 4 * value.len() + 20, "{:?} of {:?}", known, value);
            }
        }
    }
}
