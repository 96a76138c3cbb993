// SPDX-License-Identifier: Apache-2.0
//! `@detectXSS`: a text is read as HTML, from between tags and from within each kind of attribute, and what runs script
//! is looked for.

use libinjectionrs::XssDetector;
use libinjectionrs::xss::{Html5Flags, Html5State, TokenType};
use memchr::{memchr, memchr_iter, memchr3, memchr3_iter};

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
        .any(|(_, way)| XssDetector::is_xss(text, way) || runs_script(text, way))
}

/// Whether an attribute holds script that the crate does not look for. It compares whole names of event handlers, be it
/// an attribute's or the one that an animation sets, and knows few of the attributes that hold an address.
fn runs_script(text: &[u8], way: Html5Flags) -> bool {
    let mut html = Html5State::new(text, way);
    let mut name: &[u8] = &[];
    while html.next() {
        let token = html.token_start.get(..html.token_len).unwrap_or_default();
        match html.token_type {
            TokenType::AttrName => name = token,
            TokenType::AttrValue => {
                let names_another = name.eq_ignore_ascii_case(b"attributename");
                let holds_script = |name: &[u8]| DOCUMENTS.iter().any(|known| is_named(name, known));
                let holds_address = |name: &[u8]| ADDRESSES.iter().any(|known| is_named(name, known));
                let set = if names_another { token } else { name };
                if is_event_handler(set) || holds_script(set) || holds_address(set) && is_script(token) {
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

/// The case of letters does not count, and NULs are looked over.
fn is_named(name: &[u8], known: &[u8]) -> bool {
    name.iter().filter(|byte| **byte != 0).map(u8::to_ascii_lowercase).eq(known.iter().copied())
}

/// Whether an address is a script: what the crate says of it as a link.
fn is_script(address: &[u8]) -> bool {
    let end = memchr3(b'\'', b'"', b'`', address).unwrap_or(address.len());
    let link = [b"x href=\"", address.get(..end).unwrap_or_default(), b"\""].concat();
    XssDetector::is_xss(&link, Html5Flags::ValueNoQuote)
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
    NAME_STARTS.iter().any(starts_as)
        || [ADDRESSES, DOCUMENTS, OTHERS]
            .iter()
            .any(|names| names.iter().any(|known| name.eq_ignore_ascii_case(known)))
}

const BLANK: ByteSet = ByteSet::of(b"\0\t\n\x0b\x0c\r ");
/// What ends a name or stands before it, save the quotes, which may.
const NAME_ENDS: ByteSet = ByteSet::of(b"\t\n\x0b\x0c\r />");

/// What the names of attributes that matter start with.
static NAME_STARTS: &[&[u8]] = &[b"on", b"xmlns", b"xlink"];

/// The attributes that hold an address, which may be a script.
static ADDRESSES: &[&[u8]] = &[
    // HTML, as its index of attributes says: one address, or several.
    b"action",
    b"cite",
    b"data",
    b"formaction",
    b"href",
    b"imagesrcset",
    b"ping",
    b"poster",
    b"src",
    b"srcset",
    // What it calls obsolete, and what only some browsers had.
    b"archive",
    b"background",
    b"classid",
    b"codebase",
    b"dynsrc",
    b"folder",
    b"longdesc",
    b"lowsrc",
    b"manifest",
    b"profile",
    b"usemap",
    // What an animation of SVG sets an attribute to, and where XML Events finds what is run.
    b"by",
    b"from",
    b"handler",
    b"to",
    b"values",
];

/// The attributes that hold a page.
static DOCUMENTS: &[&[u8]] = &[b"srcdoc"];

/// The attributes that matter for something else: styles, which may have addresses and expressions; the name of another
/// attribute; and those that bind a page to data that is taken for HTML.
static OTHERS: &[&[u8]] = &[b"attributename", b"dataformatas", b"datasrc", b"filter", b"style"];

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
            ("an address that the crate does not look at", "<x data=\"javascript:alert(1)\">", true),
            ("the same without a tag", "x data=javascript:alert(1)", true),
            ("several addresses", "<img srcset='java\0script:alert(1) 2x'>", true),
            ("an honest one", "<x data=\"https://example.com/a.svg\">", false),
            ("an animation that sets one", "<set attributename=href to=x>", true),
            ("a page", "<x srcdoc=\"hello\">", true),
            ("data that are none", "data=4&cite=javascript", false),
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
