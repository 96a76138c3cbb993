// SPDX-License-Identifier: Apache-2.0
//! `@detectSQLi`: a text is cut into SQL's words, its first few are written as one letter each, and known injections
//! are known by those letters.

use std::fmt;

use libinjectionrs::sqli::{TokenType, blacklist};
use libinjectionrs::{SqliFlags, SqliState};
use memchr::{memchr, memmem};

use super::{ingredients, runs};
use crate::byte_set::ByteSet;

/// What a text in which [`is_sqli`] finds something has at least one byte of, set by set. Letters, digits and `_` alone
/// make numbers and one word, and no known injection is so short.
pub const SQLI_NEEDS: &[ByteSet] = &[WORD_BYTES.complement()];

/// What was found, as a letter for each of SQL's words: `s&1c`. At most eight.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 8]);

impl Fingerprint {
    /// The letters.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().escape_ascii().fmt(f)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Whether the text is SQL where a value was expected, and as what it was known. Time grows with the text's length.
pub fn is_sqli(text: &[u8]) -> Option<Fingerprint> {
    if ingredients::are_harmless(text) { None } else { read(text) }
}

/// [`is_sqli`] without the short cut.
pub(super) fn read(text: &[u8]) -> Option<Fingerprint> {
    let text = runs::cut(text);
    read_as_written(&text).or_else(|| read_as_written(&with_phrases_as_words(&text)?))
}

fn read_as_written(text: &[u8]) -> Option<Fingerprint> {
    let has_single = memchr(b'\'', text).is_some();
    let has_double = memchr(b'"', text).is_some();
    let ways = [
        (true, SqliFlags::FLAG_QUOTE_NONE, SqliFlags::FLAG_SQL_ANSI),
        (has_single, SqliFlags::FLAG_QUOTE_SINGLE, SqliFlags::FLAG_SQL_ANSI),
        (has_double, SqliFlags::FLAG_QUOTE_DOUBLE, SqliFlags::FLAG_SQL_MYSQL),
    ];
    ways.into_iter().filter(|(applies, ..)| *applies).find_map(|(_, quote, dialect)| {
        let mut state = SqliState::new(text, quote | dialect);
        let found = read_as(&mut state, text);
        // MySQL takes `--1` and `#` otherwise than the standard does.
        let reads_otherwise = dialect == SqliFlags::FLAG_SQL_ANSI
            && (state.stats_comment_ddx != 0 || state.stats_comment_hash != 0);
        if found.is_some() || !reads_otherwise {
            return found;
        }
        read_as(&mut SqliState::new(text, quote | SqliFlags::FLAG_SQL_MYSQL), text)
    })
}

fn read_as(state: &mut SqliState<'_>, text: &[u8]) -> Option<Fingerprint> {
    let is_found = state.is_sqli() || is_overlooked(state, text);
    is_found.then_some(Fingerprint(state.fingerprint))
}

/// What the crate excuses though it should not: `into outfile` unless it is in capitals, and `sp_password` in a comment
/// (which keeps a statement out of a server's log) unless the text is UTF-8.
fn is_overlooked(state: &SqliState<'_>, text: &[u8]) -> bool {
    let fingerprint = Fingerprint(state.fingerprint);
    let writes_file = || match (&state.tokens[..], fingerprint.as_bytes()) {
        ([_, middle, _], [_, _, _]) => {
            middle.token_type == TokenType::Keyword
                && middle.len > INTO.len()
                && middle.val.get(..INTO.len()).is_some_and(|word| word.eq_ignore_ascii_case(INTO))
        }
        _ => false,
    };
    let hides = || matches!(fingerprint.as_bytes(), [_, .., b'c']) && hides_from_log(text);
    let is_known = || blacklist::is_blacklisted(str::from_utf8(fingerprint.as_bytes()).unwrap_or_default());
    (writes_file() || hides()) && is_known()
}

fn hides_from_log(text: &[u8]) -> bool {
    str::from_utf8(text).is_err() && memmem::find(&text.to_ascii_lowercase(), b"sp_password").is_some()
}

/// The text with each of [`PHRASES`] as one word; `None` without any.
fn with_phrases_as_words(text: &[u8]) -> Option<Vec<u8>> {
    let mut output: Option<Vec<u8>> = None;
    let mut copied = 0;
    let mut is_start = true;
    for (at, byte) in text.iter().enumerate() {
        let starts = is_start && at >= copied && matches!(byte | 0x20, b'a' | b'c' | b'i' | b'l');
        is_start = NAME_ENDS.contains(*byte) && *byte != b'@';
        if starts && let Some((end, word)) = phrase_at(text, at) {
            let output = output.get_or_insert_default();
            output.extend_from_slice(text.get(copied..at).unwrap_or_default());
            output.extend_from_slice(word);
            copied = end;
        }
    }
    let mut output = output?;
    output.extend_from_slice(text.get(copied..).unwrap_or_default());
    Some(output)
}

/// Where the phrase that starts here ends, and the word for it.
fn phrase_at(text: &[u8], start: usize) -> Option<(usize, &'static [u8])> {
    PHRASES.iter().find_map(|(phrase, word)| Some((phrase_end(text, start, phrase)?, *word)))
}

fn phrase_end(text: &[u8], start: usize, phrase: &[&[u8]]) -> Option<usize> {
    let mut at = start;
    for (index, word) in phrase.iter().enumerate() {
        if index > 0 {
            at += blank_len(text.get(at..)?).filter(|len| *len > 0)?;
        }
        let end = at + word.len();
        if !text.get(at..end)?.eq_ignore_ascii_case(word) {
            return None;
        }
        at = end;
    }
    text.get(at).is_none_or(|byte| NAME_ENDS.contains(*byte)).then_some(at)
}

/// How much of the text's start is white space and comments, which SQL takes for it. `None`: more than belongs there.
fn blank_len(text: &[u8]) -> Option<usize> {
    let near = text.get(..BLANK_BYTES_MAX).unwrap_or(text);
    let mut rest = near;
    loop {
        rest = match rest {
            [byte, after @ ..] if *byte <= b' ' || matches!(byte, 0x7f | 0xa0) => after,
            // What stands in `/*! */` is run.
            [b'/', b'*', after @ ..] if after.first() != Some(&b'!') => {
                after.get(memmem::find(after, b"*/")? + 2..)?
            }
            _ => return Some(near.len() - rest.len()),
        };
    }
}

const INTO: &[u8] = b"INTO";
/// Phrases that are one word of SQL's and that the crate takes for several, each with a word of the same kind.
static PHRASES: &[(&[&[u8]], &[u8])] = &[
    (&[b"at", b"time", b"zone"], b"where"),
    (&[b"create", b"or", b"replace"], b"drop"),
    (&[b"in", b"boolean", b"mode"], b"where"),
    (&[b"lock", b"in", b"share", b"mode"], b"where"),
];
/// Between the words of a phrase. It bounds what is read again for each word that could start one.
const BLANK_BYTES_MAX: usize = 256;
/// What ends a word.
pub(super) const NAME_ENDS: ByteSet = ByteSet::of(b" []{}<>:\\?=@!#~+-*/&|^%(),';\t\n\x0b\x0c\r\"\xa0\0");
const WORD_BYTES: ByteSet =
    ByteSet::range(b'0', b'9').union(ByteSet::range(b'A', b'Z')).union(ByteSet::range(b'a', b'z')).with(b'_');

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::injection::testing::{self, lumps};

    #[test]
    fn injections_are_found_and_known() {
        for (name, text, want) in [
            ("nothing", "", None),
            ("a word", "shoes", None),
            ("a sentence", "this is not isqli", None),
            ("a list of names", "alice, bob and carol", None),
            ("a tautology", "1 OR 1=1", Some("1&1")),
            ("out of a string", "1' or '1'='1", Some("s&sos")),
            ("out of a quoted string", "1\" or \"1\"=\"2", Some("s&sos")),
            ("a union", "1 union select null, null", Some("1UEv")),
            ("a call", "ascii(substring(version() from 1 for 1))", Some("f(f(f")),
            ("a file", "1' into outfile '/tmp/x", Some("sks")),
            ("a file, in capitals", "1' INTO OUTFILE '/tmp/x", Some("sks")),
            ("a word like it", "1' intox outfile '/tmp/x", None),
            ("a search", "' in boolean mode) and 1=1", Some("sk)&1")),
            ("a definition", "'; create or/**/replace function f as 'x'", Some("s;Tkn")),
            ("a comment of MySQL's", "1 /*!50000 union*/ select 1", Some("X")),
        ] {
            let found = is_sqli(text.as_bytes()).map(|found| found.to_string());
            assert_eq!(found.as_deref(), want, "{name}");
        }
    }

    #[test]
    fn phrases_are_one_word() {
        for (text, want) in [
            ("create or replace", Some("drop")),
            (";CREATE/**/Or /* x */ RePlace x", Some(";drop x")),
            ("' in\tboolean mode)", Some("' where)")),
            ("recreate or replace", None),
            ("@create or replace", None),
            ("create or replaced", None),
            ("create/*! or */replace", None),
            ("create/* or replace", None),
            ("create orreplace", None),
            ("c create or replace c create or replace", Some("c drop c drop")),
        ] {
            let found = with_phrases_as_words(text.as_bytes());
            assert_eq!(found.as_deref(), want.map(str::as_bytes), "{text}");
        }
    }

    fn check(text: &[u8]) {
        let slow = read(text);
        assert_eq!(is_sqli(text), slow, "{}", text.escape_ascii());
        let crates = SqliState::new(text, SqliFlags::FLAG_NONE).detect();
        assert!(slow.is_some() || !crates, "{}", text.escape_ascii());
        if slow.is_some() {
            let present = ByteSet::present(text);
            assert!(SQLI_NEEDS.iter().all(|set| set.meets(&present)), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn the_short_cut_changes_no_answer() {
        testing::mutants(150_000, testing::SQL, check);
    }

    proptest! {
        #[test]
        fn anything_has_an_answer(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            check(&text);
        }

        #[test]
        fn lumps_have_an_answer(text in lumps(testing::SQL)) {
            check(&text);
        }
    }
}
