// SPDX-License-Identifier: Apache-2.0
//! What must not reach the audit log, the decisions that are kept, or whoever reads either: values of which the name says
//! that they are secret. Everything that tells what a client sent asks here.
//!
//! Where it is known what stands under which name, [`Redaction::hides`] is asked about the name. Where it is not (a body
//! of any kind, a parameter in which JSON stands), [`Redaction::text`] shows what stands before the first secret name
//! that something is assigned to, and nothing behind it: where a value of which nobody knows the quoting ends, nobody
//! knows.

mod plain;

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Range;

use plain::Plain;

/// What stands in place of a secret value.
pub const MASK: &str = "[redacted]";

/// Escapes in escapes that are undone. A text with more is not told at all.
const ROUNDS: usize = 8;

/// Hides what stands under some names.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    /// Names of letters, digits, `_` and `-`.
    words: Vec<String>,
    /// Other names.
    phrases: Vec<String>,
    /// The lengths of words, as bits: most words of a text have none of them.
    lengths: u64,
}

impl Redaction {
    /// Names are compared without regard to case, after all escapes.
    pub fn new(keys: &[String]) -> Self {
        let keys = keys.iter().map(|key| key.trim().trim_matches('-').to_ascii_lowercase());
        let (words, phrases): (Vec<_>, Vec<_>) =
            keys.filter(|key| !key.is_empty()).partition(|key| key.bytes().all(is_word));
        let lengths = words.iter().fold(0, |lengths, word| lengths | length_bit(word.len()));
        Self { words, phrases, lengths }
    }

    /// The query with the values of secret names replaced.
    pub fn query<'a>(&self, query: &'a str) -> Cow<'a, str> {
        if !self.names_a_secret(query) {
            return Cow::Borrowed(query);
        }
        let mut result = String::with_capacity(query.len());
        for (index, pair) in query.split('&').enumerate() {
            if index > 0 {
                result.push('&');
            }
            match pair.split_once('=') {
                Some((key, value)) if !value.is_empty() && self.hides(key) => {
                    result.push_str(&self.text(key));
                    result.push('=');
                    result.push_str(MASK);
                }
                _ => result.push_str(&self.text(pair)),
            }
        }
        if result == query { Cow::Borrowed(query) } else { Cow::Owned(result) }
    }

    /// A URL with its query redacted and its user information and fragment removed.
    pub fn url<'a>(&self, url: &'a str) -> Cow<'a, str> {
        if !url.contains(['#', '?', '@', '=']) {
            return Cow::Borrowed(url);
        }
        let url = url.split_once('#').map_or(url, |(before, _)| before);
        let (head, query) = url.split_once('?').map_or((url, None), |(head, query)| (head, Some(query)));
        let mut result = match head.split_once("://") {
            Some((scheme, rest)) => {
                let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
                let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                format!("{scheme}://{host}{}", self.text(path))
            }
            None => self.text(head).into_owned(),
        };
        if let Some(query) = query {
            result.push('?');
            result.push_str(&self.query(query));
        }
        if result == url { Cow::Borrowed(url) } else { Cow::Owned(result) }
    }

    /// Whether what stands under this name is a secret: `password`, and every path of names that it is in
    /// (`user[password]`, `json.password.0`, `password[]`).
    pub fn hides(&self, name: &str) -> bool {
        self.names_a_secret(name)
    }

    /// Whether a secret name stands in a text, whatever is behind it; also where that cannot be told.
    pub fn names_a_secret(&self, text: &str) -> bool {
        if self.phrases.is_empty() && plain::each_word(text.as_bytes(), |word| !self.is_known(word)) {
            return false;
        }
        let mut is_named = false;
        let is_clear = Plain::each(text, ROUNDS, |plain| {
            is_named = self.next_name(plain.bytes(), plain.is_binary(), 0).is_some();
            !is_named
        });
        is_named || !is_clear
    }

    /// A text of unknown structure, up to the first value of a secret name.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.begin_of_secret(text) {
            None => Cow::Borrowed(text),
            Some(at) => Cow::Owned(format!("{}{MASK}", text.get(..at).unwrap_or_default())),
        }
    }

    /// A piece of a text, which alone may not tell whose value it is.
    pub fn piece<'a>(&self, piece: &'a str, whole: &str) -> Cow<'a, str> {
        let Some(begin) = self.begin_of_secret(whole) else { return self.text(piece) };
        let open = whole.get(..begin).unwrap_or_default();
        let own = self.begin_of_secret(piece);
        let shown = piece.get(..own.unwrap_or(piece.len())).unwrap_or_default();
        match own {
            _ if shown.is_empty() || !open.contains(shown) => Cow::Borrowed(MASK),
            None => Cow::Borrowed(piece),
            Some(_) => Cow::Owned(format!("{shown}{MASK}")),
        }
    }

    /// Where the first value of a secret name begins.
    fn begin_of_secret(&self, text: &str) -> Option<usize> {
        let mut first: Option<usize> = None;
        let is_clear = Plain::each(text, ROUNDS, |plain| {
            let begin = self.secret_in(plain.bytes(), plain.is_binary()).map(|at| plain.place_of(at));
            first = first.into_iter().chain(begin).min();
            true
        });
        if !is_clear {
            return Some(0);
        }
        first.map(|at| text.floor_char_boundary(at))
    }

    fn secret_in(&self, text: &[u8], is_binary: bool) -> Option<usize> {
        let mut from = 0;
        while let Some(Range { start, end }) = self.next_name(text, is_binary, from) {
            let begin = if is_binary { Some(end) } else { begin_of_value(text, end) };
            let begin = begin.or_else(|| is_element(text, start).then_some(end));
            let is_any = |at: &usize| text.get(*at..).is_some_and(|rest| rest.iter().any(may_be_value));
            if let Some(begin) = begin.filter(is_any) {
                return Some(begin);
            }
            from = end;
        }
        None
    }

    /// The next secret name. In what is no text, a byte before or behind it may be a length.
    fn next_name(&self, text: &[u8], is_binary: bool, from: usize) -> Option<Range<usize>> {
        let anywhere = |names: &[String]| {
            let places = names.iter().filter_map(|name| place_of(text, name, from));
            places.min_by_key(|place| place.start)
        };
        let word = if is_binary { anywhere(&self.words) } else { self.next_word(text, from) };
        anywhere(&self.phrases).into_iter().chain(word).min_by_key(|place| place.start)
    }

    fn next_word(&self, text: &[u8], from: usize) -> Option<Range<usize>> {
        let mut at = from;
        while at < text.len() {
            let rest = text.get(at..).unwrap_or_default();
            let length = rest.iter().take_while(|byte| is_word(**byte)).count();
            let end = at + length;
            let (word, behind) = trimmed(rest.get(..length).unwrap_or_default());
            if self.is_known(word) {
                let end = end - behind;
                return Some(end - word.len()..end);
            }
            at = end + 1;
        }
        None
    }

    fn is_known(&self, word: &[u8]) -> bool {
        let (word, _) = trimmed(word);
        self.lengths & length_bit(word.len()) != 0
            && self.words.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(word))
    }
}

/// A word without the dashes around it (`--password=…`), and how many were behind it.
fn trimmed(mut word: &[u8]) -> (&[u8], usize) {
    while let [b'-', after @ ..] = word {
        word = after;
    }
    let mut behind = 0;
    while let [before @ .., b'-'] = word {
        word = before;
        behind += 1;
    }
    (word, behind)
}

/// Where what is assigned to a name begins, if anything is: `=`, `:`, `>`, a quote, a line's end and the like stand
/// between. A space alone assigns nothing, nor does a comma: in prose and SQL names stand so.
fn begin_of_value(text: &[u8], end: usize) -> Option<usize> {
    let mut at = end_of_path(text, end);
    while text.get(at).is_some_and(|byte| *byte == b' ') {
        at += 1;
    }
    match text.get(at)? {
        b'=' | b':' | b'>' | b'"' | b'\'' | b'`' => Some(at + 1),
        b'<' | b'{' | b'(' | b'|' | b'~' | b'\\' | b'[' | b';' | 0x7F.. | ..b' ' => Some(at),
        _ => None,
    }
}

/// `password[a].b=…`, and `user[password]=…`: the rest of a path of names.
fn end_of_path(text: &[u8], end: usize) -> usize {
    let mut at = end;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        at += match rest {
            [b']', ..] => 1,
            [b'.', after @ ..] if after.first().is_some_and(|byte| is_word(*byte)) => {
                1 + after.iter().take_while(|byte| is_word(**byte)).count()
            }
            [b'[', after @ ..] => {
                let inside =
                    after.iter().take_while(|byte| is_word(**byte) || matches!(byte, b'"' | b'\'' | b' '));
                let inside = inside.count();
                if after.get(inside) != Some(&b']') {
                    return at;
                }
                inside + 2
            }
            _ => return at,
        };
    }
}

/// `<password`, `<x:password`: an element, whatever is behind its name.
fn is_element(text: &[u8], start: usize) -> bool {
    let mut before = text.get(..start).unwrap_or_default();
    if let [prefixed @ .., b':'] = before {
        let prefix = prefixed.iter().rev().take_while(|byte| is_word(**byte)).count();
        before = prefixed.get(..prefixed.len() - prefix).unwrap_or_default();
    }
    before.ends_with(b"<")
}

/// A name, wherever it stands.
fn place_of(text: &[u8], name: &str, from: usize) -> Option<Range<usize>> {
    let name = name.as_bytes();
    let place = text.get(from..)?.windows(name.len()).position(|some| some.eq_ignore_ascii_case(name))?;
    Some(from + place..from + place + name.len())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// Brackets, quotes and the like alone are no secret.
fn may_be_value(byte: &u8) -> bool {
    !byte.is_ascii_whitespace()
        && !matches!(byte, b'"' | b'\'' | b'=' | b':' | b'<' | b'>' | b'[' | b']' | b'{' | b'}')
}

const fn length_bit(length: usize) -> u64 {
    1 << if length < 63 { length } else { 63 }
}

/// The address with its host part cut off: /24, /48.
pub fn truncated_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            IpAddr::from([a, b, c, 0])
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            IpAddr::from([a, b, c, 0, 0, 0, 0, 0])
        }
    }
}

#[cfg(test)]
mod tests;
