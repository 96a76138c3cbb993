// SPDX-License-Identifier: Apache-2.0
//! Query strings and forms: `a=1&b=2`.

use super::{Limits, percent};

/// What came of reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many were handed over.
    pub arguments: usize,
    /// `URLENCODED_ERROR`: somewhere a `%` was no escape.
    pub has_invalid_escape: bool,
    /// There were more than `arguments_max`: the rest was not read.
    pub is_cut: bool,
}

/// Hands over every name and value, decoded, in order. `separator` is `SecArgumentSeparator`, as a rule `&`.
///
/// A piece without `=` is a name with an empty value, `=x` a value with an empty name (backends differ in what they do
/// with it, so it is looked at), and an empty piece is nothing.
pub fn visit(text: &[u8], separator: u8, limits: &Limits, mut visitor: impl FnMut(&[u8], &[u8])) -> Outcome {
    let mut outcome = Outcome::default();
    let mut scratch = (Vec::new(), Vec::new());
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, after) = cut(rest, separator);
        rest = after;
        if piece.is_empty() {
            continue;
        }
        if outcome.arguments >= limits.arguments_max {
            outcome.is_cut = true;
            break;
        }
        outcome.arguments += 1;
        let (name, value) = cut(piece, b'=');
        let (name, is_name_valid) = decoded(name, &mut scratch.0);
        let (value, is_value_valid) = decoded(value, &mut scratch.1);
        outcome.has_invalid_escape |= !(is_name_valid && is_value_valid);
        visitor(name, value);
    }
    outcome
}

/// What stands before the first such byte, and what after.
fn cut(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    match memchr::memchr(at, text) {
        Some(found) => (text.get(..found).unwrap_or_default(), text.get(found + 1..).unwrap_or_default()),
        None => (text, &[]),
    }
}

/// Copies only what has something to decode.
fn decoded<'a>(text: &'a [u8], scratch: &'a mut Vec<u8>) -> (&'a [u8], bool) {
    if !percent::is_encoded(text) {
        return (text, true);
    }
    scratch.clear();
    let is_valid = percent::decode(text, scratch);
    (scratch, is_valid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Pairs = Vec<(String, String)>;

    fn read(text: &[u8], limits: &Limits) -> (Pairs, Outcome) {
        let mut pairs = Pairs::new();
        let outcome = visit(text, b'&', limits, |name, value| {
            pairs.push((name.escape_ascii().to_string(), value.escape_ascii().to_string()));
        });
        (pairs, outcome)
    }

    #[test]
    fn names_and_values() {
        for (name, text, want, has_invalid_escape) in [
            ("nothing", "", &[][..], false),
            ("one", "a=1", &[("a", "1")], false),
            ("two", "a=1&b=2", &[("a", "1"), ("b", "2")], false),
            ("twice", "a=1&a=2", &[("a", "1"), ("a", "2")], false),
            ("empty pieces", "&a=1&&b=2&", &[("a", "1"), ("b", "2")], false),
            ("no value", "a&b=", &[("a", ""), ("b", "")], false),
            ("no name", "=x&=", &[("", "x"), ("", "")], false),
            ("first =", "a=b=c", &[("a", "b=c")], false),
            ("decoded after the cut", "a%3Db=%26+x", &[("a=b", "& x")], false),
            ("invalid in a name", "a%=1&b=2", &[("a%", "1"), ("b", "2")], true),
            ("invalid in a value", "a=%zz&b=2", &[("a", "%zz"), ("b", "2")], true),
            ("semicolon", "a=1;b=2", &[("a", "1;b=2")], false),
            ("any byte", "a=%00%ff", &[("a", "\\x00\\xff")], false),
        ] {
            let (pairs, outcome) = read(text.as_bytes(), &Limits::default());
            let want: Pairs =
                want.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            assert_eq!(pairs, want, "{name}");
            assert_eq!(outcome.has_invalid_escape, has_invalid_escape, "{name}");
            assert_eq!((outcome.arguments, outcome.is_cut), (want.len(), false), "{name}");
        }
    }

    #[test]
    fn it_stops_at_the_limit_and_says_so() {
        let limits = Limits { arguments_max: 2, ..Limits::default() };
        for (text, is_cut) in [("a&b", false), ("a&b&", false), ("a&b&c", true)] {
            let (pairs, outcome) = read(text.as_bytes(), &limits);
            assert_eq!((pairs.len(), outcome.arguments, outcome.is_cut), (2, 2, is_cut), "{text}");
        }
    }

    #[test]
    fn another_separator() {
        let mut count = 0;
        visit(b"a=1;b=2&c=3", b';', &Limits::default(), |_, _| count += 1);
        assert_eq!(count, 2);
    }

    proptest! {
        #[test]
        fn it_equals_a_slow_form(text in "[ab=&%+24 é]{0,40}") {
            let mut want = Vec::new();
            for piece in text.split('&').filter(|piece| !piece.is_empty()) {
                let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
                let decode = |text: &str| {
                    let mut output = Vec::new();
                    percent::decode(text.as_bytes(), &mut output);
                    output.escape_ascii().to_string()
                };
                want.push((decode(name), decode(value)));
            }
            prop_assert_eq!(read(text.as_bytes(), &Limits::default()).0, want);
        }

        #[test]
        fn any_bytes_stay_within_the_limit(text: Vec<u8>, arguments_max in 0..9usize) {
            let (pairs, outcome) = read(&text, &Limits { arguments_max, ..Limits::default() });
            prop_assert!(pairs.len() <= arguments_max && outcome.arguments == pairs.len());
        }
    }
}
