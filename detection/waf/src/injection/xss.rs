// SPDX-License-Identifier: Apache-2.0
//! `@detectXSS`: a text is read as HTML, from between tags and from within each kind of attribute, and what runs script
//! is looked for.

use libinjectionrs::XssDetector;
use libinjectionrs::xss::{Html5Flags, Html5State, TokenType};
use memchr::{memchr, memchr_iter, memchr3_iter};

use super::event_handlers::EVENT_HANDLERS;
use crate::byte_set::ByteSet;

/// What a text in which [`is_xss`] finds something has at least one byte of, set by set: a tag, or an attribute's value.
pub const XSS_NEEDS: &[ByteSet] = &[ByteSet::of(b"<=")];

/// Whether the text, put somewhere into a page, could run script there. Time grows with the text's length.
pub fn is_xss(text: &[u8]) -> bool {
    is_suspicious(text) && read(text)
}

/// [`is_xss`] without the short cut.
fn read(text: &[u8]) -> bool {
    // A NUL is nothing to some browsers and white space to others.
    read_as_written(text) || (memchr(0, text).is_some() && read_as_written(&with_spaces_for_nuls(text)))
}

fn with_spaces_for_nuls(text: &[u8]) -> Vec<u8> {
    text.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect()
}

fn read_as_written(text: &[u8]) -> bool {
    let ways = [
        (None, Html5Flags::DataState),
        (None, Html5Flags::ValueNoQuote),
        (Some(b'\''), Html5Flags::ValueSingleQuote),
        (Some(b'"'), Html5Flags::ValueDoubleQuote),
        (Some(b'`'), Html5Flags::ValueBackQuote),
    ];
    // Without the quote the text is all one value, and nothing follows.
    ways.into_iter()
        .filter(|(quote, _)| quote.is_none_or(|quote| memchr(quote, text).is_some()))
        .any(|(_, way)| XssDetector::is_xss(text, way) || has_event_handler(text, way))
}

/// Whether an attribute has a value and its name starts as an event handler's, or names such an attribute for an
/// animation to set: the crate compares whole names.
fn has_event_handler(text: &[u8], way: Html5Flags) -> bool {
    let mut html = Html5State::new(text, way);
    let mut name: &[u8] = &[];
    while html.next() {
        let token = html.token_start.get(..html.token_len).unwrap_or_default();
        match html.token_type {
            TokenType::AttrName => name = token,
            TokenType::AttrValue => {
                let names_another = name.eq_ignore_ascii_case(b"attributename");
                if is_event_handler(if names_another { token } else { name }) {
                    return true;
                }
                name = &[];
            }
            _ => name = &[],
        }
    }
    false
}

fn is_event_handler(name: &[u8]) -> bool {
    let mut bytes = name.iter().filter(|byte| **byte != 0).map(u8::to_ascii_lowercase);
    if (bytes.next(), bytes.next()) != (Some(b'o'), Some(b'n')) {
        return false;
    }
    EVENT_HANDLERS.iter().any(|event| event.iter().copied().eq(bytes.clone().take(event.len())))
}

/// Whether a tag, a declaration or a comment starts somewhere, or some value's name is one that [`read`] looks at.
fn is_suspicious(text: &[u8]) -> bool {
    let starts_tag = |at: usize| {
        let next = text.get(at + 1);
        next.is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'!' | b'/' | b'?' | b'%' | 0))
    };
    if memchr_iter(b'<', text).any(starts_tag) {
        return true;
    }
    let mut from = 0;
    memchr_iter(b'=', text).any(|at| {
        let before = text.get(from..at).unwrap_or_default();
        from = at + 1;
        is_name_suspicious(before)
    })
}

/// Whether what stands before a `=`, up to the one before that, ends in a name that matters.
fn is_name_suspicious(before: &[u8]) -> bool {
    let end = before.iter().rposition(|byte| !BLANK.contains(*byte)).map_or(0, |last| last + 1);
    let before = before.get(..end).unwrap_or_default();
    let start = before.iter().rposition(|byte| NAME_ENDS.contains(*byte)).map_or(0, |last| last + 1);
    let name = before.get(start..).unwrap_or_default();
    // A NUL in a name is looked over.
    memchr(0, name).is_some() || name_starts(name).any(is_known_name)
}

/// What names may be read from here: all of it, and what stands behind a quote, which ends the value before.
fn name_starts(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let behind_quotes = memchr3_iter(b'\'', b'"', b'`', name).filter_map(|at| name.get(at + 1..));
    std::iter::once(name).chain(behind_quotes)
}

fn is_known_name(name: &[u8]) -> bool {
    let starts_as =
        |known: &&[u8]| name.get(..known.len()).is_some_and(|start| start.eq_ignore_ascii_case(known));
    NAME_STARTS.iter().any(starts_as) || NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

const BLANK: ByteSet = ByteSet::of(b"\0\t\n\x0b\x0c\r ");
/// What ends a name or stands before it, save the quotes, which may.
const NAME_ENDS: ByteSet = ByteSet::of(b"\t\n\x0b\x0c\r />");

/// What the names of attributes that matter start with.
static NAME_STARTS: &[&[u8]] = &[b"on", b"xmlns", b"xlink"];

/// The attributes that matter by their whole name: they hold addresses, styles, or another attribute's name.
static NAMES: &[&[u8]] = &[
    b"action",
    b"attributename",
    b"background",
    b"by",
    b"dataformatas",
    b"datasrc",
    b"dynsrc",
    b"filter",
    b"folder",
    b"formaction",
    b"from",
    b"handler",
    b"href",
    b"lowsrc",
    b"poster",
    b"src",
    b"style",
    b"to",
    b"values",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::injection::testing::{self, lumps};

    #[test]
    fn script_is_found() {
        for (name, text, want) in [
            ("nothing", "", false),
            ("a sentence", "this is not an XSS", false),
            ("a comparison", "1 < 2 and a = b", false),
            ("plain markup", "<b>bold</b>", false),
            ("a cookie", "session=abc; theme=dark", false),
            ("a script", "<script>alert(1)</script>", true),
            ("its capitals", "x<ScRiPt src=//x>", true),
            ("an address", "<a href=\"javascript:alert(1)\">)", true),
            ("an honest address", "<a href=\"https://example.com/\">", false),
            ("an event", "<img src=x onerror=alert(1)>", true),
            ("an event with something behind its name", "<x onload'=alert(1)", true),
            ("an event newer than the crate", "<x onbeforetoggle=alert(1)>", true),
            ("an event in an attribute", "x onclick=alert(1)", true),
            ("an event after a quoted value", "x\" onclick=alert(1) y=\"", true),
            ("an event that an animation sets", "<set attributename=onclick' to=x>", true),
            ("a NUL in its name", "x on\0click=1", true),
            ("no event", "only=1", false),
            ("a name without a value", "x onclick", false),
            ("a style", "' style=x:expression(1)", true),
            ("a declaration", "<!doctype html>", true),
            ("a comment of IE's", "<!--[if IE]>", true),
        ] {
            assert_eq!(is_xss(text.as_bytes()), want, "{name}");
        }
    }

    #[test]
    fn ordinary_texts_are_not_suspicious() {
        for text in ["a=1&b=2&page=3", "https://example.com/?q=shoes&sort=price", "session=31d4; lang=en-US"]
        {
            assert!(!is_suspicious(text.as_bytes()), "{text}");
        }
    }

    fn check(text: &[u8]) {
        let slow = read(text);
        assert_eq!(is_xss(text), slow, "{}", text.escape_ascii());
        let crates = libinjectionrs::detect_xss(text).is_injection();
        assert!(slow || !crates, "{}", text.escape_ascii());
        if slow {
            let present = ByteSet::present(text);
            assert!(XSS_NEEDS.iter().all(|set| set.meets(&present)), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn the_short_cut_changes_no_answer() {
        testing::mutants(100_000, testing::HTML, check);
    }

    proptest! {
        #[test]
        fn anything_has_an_answer(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            check(&text);
        }

        #[test]
        fn lumps_have_an_answer(text in lumps(testing::HTML)) {
            check(&text);
        }
    }
}
