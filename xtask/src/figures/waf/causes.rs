// SPDX-License-Identifier: Apache-2.0
//! Why one engine stops a request that the other lets through: causes that are known, each proved on every request that
//! it is said of. The texts of the request are rewritten so that the cause is gone and all else stays; only when both
//! engines then say the same is the difference explained. A fault of another kind outlives the rewriting.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::bytes::{Captures, Regex};

/// Who stops the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoppedBy {
    Us,
    Peer,
}

/// See the module.
pub(super) struct Cause {
    /// For tables.
    pub(super) name: &'static str,
    /// What the peer does, and what we do.
    pub(super) text: &'static str,
    /// The only engine that it can make stop more.
    pub(super) stopped_by: StoppedBy,
    /// A text as the client meant it, without the cause.
    neutral: fn(&[u8]) -> Cow<'_, [u8]>,
}

/// All that are known.
pub(super) const CAUSES: &[Cause] = &[
    Cause {
        name: "overlong UTF-8",
        text: "Its `utf8toUnicode` writes the character that is longer than it need be, and leaves the first byte \
               behind it: words and paths are torn. Ours writes the character alone.",
        stopped_by: StoppedBy::Us,
        neutral: |text| replaced(&OVERLONG, text, |found| character(&found[0]).to_string().into_bytes()),
    },
    Cause {
        name: "`\\0` in script",
        text: "Its `cssDecode` ends the text at the zero byte that `jsDecode` made of `\\0`. Ours goes on behind it, as \
               scripts do.",
        stopped_by: StoppedBy::Us,
        neutral: |text| replaced(&ZERO, text, |found| found[1].to_vec()),
    },
    Cause {
        name: "names of characters",
        text: "Its `htmlEntityDecode` knows five names. Ours knows those of signs that scripts are written with.",
        stopped_by: StoppedBy::Us,
        neutral: |text| replaced(&NAMED, text, |found| named(&found[1]).to_vec()),
    },
    Cause {
        name: "typographic quotes",
        text: "It makes an apostrophe of `’` where a file of characters is named (`SecUnicodeMapFile`). Ours knows code \
               page 20127 without one.",
        stopped_by: StoppedBy::Us,
        neutral: |text| replaced(&QUOTES, text, |_| b"'".to_vec()),
    },
    Cause {
        name: "names that begin with `on`",
        text: "The libinjection in it takes every attribute whose name begins with `on` for an event handler, also a \
               piece of an address (`/on-sale?a=`). Ours knows the handlers' names, which are of letters.",
        stopped_by: StoppedBy::Peer,
        neutral: |text| {
            if NO_HANDLER.is_match(text) {
                return without_handlers(text);
            }
            // Rules look into what is encoded twice, too.
            let again = decoded(text);
            let is_there = NO_HANDLER.is_match(&again);
            if is_there { Cow::Owned(without_handlers(&again).into_owned()) } else { Cow::Borrowed(text) }
        },
    },
];

static OVERLONG: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"(?-u)[\xC0\xC1][\x80-\xBF]|\xE0[\x80-\x9F][\x80-\xBF]|\xF0[\x80-\x8F][\x80-\xBF]{2}")
});
static ZERO: LazyLock<Regex> = LazyLock::new(|| regex(r"(?s-u)\\0([^0-7]|$)"));
static NAMED: LazyLock<Regex> = LazyLock::new(|| regex(r"(?-u)&(lpar|rpar|colon|Tab|NewLine);"));
static QUOTES: LazyLock<Regex> = LazyLock::new(|| regex(r"(?-u)\xE2\x80[\x98-\x9B]"));
/// A name with a sign in it that no handler's has.
static NO_HANDLER: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"(?i-u)(^|[\s"'`/])on([a-z]*[^a-z\s"'`/>=][^\s"'`/>=]*\s*=)"#));

fn regex(pattern: &str) -> Regex {
    #[expect(clippy::expect_used, reason = "the tests use each")]
    Regex::new(pattern).expect("a pattern of this file")
}

fn replaced<'a>(regex: &Regex, text: &'a [u8], with: fn(&Captures<'_>) -> Vec<u8>) -> Cow<'a, [u8]> {
    regex.replace_all(text, |found: &Captures<'_>| with(found))
}

fn without_handlers(text: &[u8]) -> Cow<'_, [u8]> {
    replaced(&NO_HANDLER, text, |found| [&found[1], b"xn", &found[2]].concat())
}

/// What the bytes mean, however many they are.
fn character(bytes: &[u8]) -> char {
    let first_bits = [0, 0, 0x1F, 0x0F, 0x07].get(bytes.len()).copied().unwrap_or(0);
    let mut rest = bytes.iter();
    let first = rest.next().map_or(0, |byte| u32::from(*byte) & first_bits);
    let code = rest.fold(first, |code, byte| code << 6 | (u32::from(*byte) & 0x3F));
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn named(name: &[u8]) -> &'static [u8] {
    match name {
        b"lpar" => b"(",
        b"rpar" => b")",
        b"colon" => b":",
        b"Tab" => b"\t",
        _ => b"\n",
    }
}

impl Cause {
    /// The request without the cause: its query and form rewritten. Nothing where the cause is not in it.
    pub(super) fn without(&self, request: &[u8]) -> Option<Vec<u8>> {
        let end = find(request, b"\r\n\r\n")?;
        let (head, body) = (request.get(..end)?, request.get(end + 4..)?);
        let target_start = find(head, b" ")? + 1;
        let target_end = target_start + find(head.get(target_start..)?, b" ")?;
        let (method, target) = (head.get(..target_start)?, head.get(target_start..target_end)?);
        let mut is_changed = false;
        let mut target = match find(target, b"?") {
            Some(at) => {
                let (path, query) = target.split_at(at + 1);
                [path, &self.pairs(query, &mut is_changed)].concat()
            }
            None => target.to_vec(),
        };
        let is_form = find(&head.to_ascii_lowercase(), b"x-www-form-urlencoded").is_some();
        let body = if is_form { Cow::Owned(self.pairs(body, &mut is_changed)) } else { Cow::Borrowed(body) };
        let mut written = method.to_vec();
        written.append(&mut target);
        for line in head.get(target_end..)?.split(|byte| *byte == b'\n') {
            let line = line.trim_ascii_end();
            if line.to_ascii_lowercase().starts_with(b"content-length:") {
                written.extend_from_slice(format!("Content-Length: {}", body.len()).as_bytes());
            } else {
                written.extend_from_slice(line);
            }
            written.extend_from_slice(b"\r\n");
        }
        written.extend_from_slice(b"\r\n");
        written.extend_from_slice(&body);
        is_changed.then_some(written)
    }

    fn pairs(&self, pairs: &[u8], is_changed: &mut bool) -> Vec<u8> {
        let mut written = Vec::new();
        for (number, pair) in pairs.split(|byte| *byte == b'&').enumerate() {
            if number > 0 {
                written.push(b'&');
            }
            let (name, value) = match find(pair, b"=") {
                Some(at) => pair.split_at(at + 1),
                None => (pair, &b""[..]),
            };
            written.extend_from_slice(name);
            let text = decoded(value);
            match (self.neutral)(&text) {
                Cow::Owned(neutral) if neutral != text => {
                    *is_changed = true;
                    neutral
                        .iter()
                        .for_each(|byte| written.extend_from_slice(format!("%{byte:02X}").as_bytes()));
                }
                _ => written.extend_from_slice(value),
            }
        }
        written
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|some| some == what)
}

fn decoded(value: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut rest = value;
    while let Some((byte, more)) = rest.split_first() {
        let pair = rest.get(1..3).and_then(|pair| std::str::from_utf8(pair).ok());
        let code = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        (rest, _) = match (byte, code) {
            (b'%', Some(code)) => (rest.get(3..).unwrap_or_default(), text.push(code)),
            (b'+', _) => (more, text.push(b' ')),
            _ => (more, text.push(*byte)),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_rewritten_where_the_cause_is() {
        let cause = |name: &str| CAUSES.iter().find(|cause| cause.name == name).unwrap();
        for (name, value, want) in [
            ("overlong UTF-8", "..%c0%af..%e0%80%afetc%F0%80%80%AFpasswd", Some("../../etc/passwd")),
            ("overlong UTF-8", "caf%c3%a9%c0x", None),
            ("`\\0` in script", "%3Cscr%5C0ipt%3E", Some("<script>")),
            ("`\\0` in script", "a%5C01b%00", None),
            ("names of characters", "alert%26lpar%3B1%26rpar%3B", Some("alert(1)")),
            ("names of characters", "%26lt%3Ba", None),
            ("typographic quotes", "%E2%80%98a%E2%80%99", Some("'a'")),
            ("typographic quotes", "%E2%80%9Ca%27", None),
            ("names that begin with `on`", "/on-sale%3Fa=1", Some("/xn-sale?a=1")),
            ("names that begin with `on`", "%252Fon-sale%253Fa%3D1", Some("/xn-sale?a=1")),
            ("names that begin with `on`", "%3Ca+onload=1", None),
        ] {
            let line = |value: &str| format!("GET /?q=1&p={value} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
            let found = cause(name).without(&line(value));
            let encoded: Option<Vec<u8>> =
                want.map(|want| line(&want.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>()));
            assert_eq!(found, encoded, "{name}: {value}");
        }
    }

    #[test]
    fn a_form_keeps_its_length_true() {
        let form = b"POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 17\r\n\r\na=b&p=%26colon%3B";
        let found = CAUSES[2].without(form).unwrap();
        let want = b"POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\na=b&p=%3A";
        assert_eq!(found, want);
    }
}
