// SPDX-License-Identifier: Apache-2.0
//! Long runs of letters, digits and dots, written so that the crate reads the same words in them in less time.
//!
//! A word of the crate's ends where a keyword stands before a dot (`and.1and.1`), and to see that it reads on to the end
//! of the run for each of them: the square of the run's length. With a space behind each such keyword the runs are
//! short and the words the same. What a run without keywords has of dots it looks up one by one, with all that stands
//! before; beyond the length of any keyword they are nothing, and are written as what is not looked up.

use std::borrow::Cow;

use libinjectionrs::sqli::TokenType;
use libinjectionrs::sqli::sqli_data::lookup_word;
use memchr::{memchr, memchr2};

use super::sqli::NAME_ENDS;

/// Of what is shorter the crate's way is no burden.
const RUN_BYTES_MIN: usize = 256;
/// No keyword is longer.
const KEYWORD_BYTES_MAX: usize = 31;
/// So many backquotes of a long word stay, however far from its start: what looks like a word may stand in a name in
/// backquotes that began before, and end it.
const BACKQUOTES_MAX: usize = 16;

/// The text with its long runs written anew.
pub(super) fn cut(text: &[u8]) -> Cow<'_, [u8]> {
    cut_from(text, RUN_BYTES_MIN)
}

fn cut_from(text: &[u8], run_bytes_min: usize) -> Cow<'_, [u8]> {
    let mut output: Option<Vec<u8>> = None;
    let (mut copied, mut at, mut before) = (0, 0, Before::Other);
    while at < text.len() {
        let rest = text.get(at..).unwrap_or_default();
        let len = rest.iter().position(|byte| NAME_ENDS.contains(*byte)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(len);
        let mut is_exponent = false;
        if len >= run_bytes_min {
            let output = output.get_or_insert_with(|| Vec::with_capacity(text.len() + text.len() / 2));
            output.extend_from_slice(text.get(copied..at).unwrap_or_default());
            is_exponent = read(run, before, Some(output));
            copied = at + len;
        } else if matches!((run, after), ([.., b'e' | b'E'], [b'+' | b'-', ..])) {
            is_exponent = read(run, before, None);
        }
        before = match after.first() {
            Some(b'+' | b'-') if is_exponent => Before::Exponent,
            Some(b'@') => Before::Variable,
            Some(b'\\') => Before::Backslash,
            _ => Before::Other,
        };
        at += len + 1;
    }
    match output {
        None => Cow::Borrowed(text),
        Some(mut output) => {
            output.extend_from_slice(text.get(copied..).unwrap_or_default());
            Cow::Owned(output)
        }
    }
}

/// What a run follows, where that matters.
#[derive(Clone, Copy)]
enum Before {
    /// `1e+`
    Exponent,
    /// `@`
    Variable,
    Backslash,
    Other,
}

/// Goes through a run word by word, as the crate does. Whether it ends in a number that a sign and digits may follow.
fn read(run: &[u8], before: Before, mut output: Option<&mut Vec<u8>>) -> bool {
    let mut rest = run;
    let first = match before {
        Before::Exponent => run.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        // A variable's name ends nowhere else.
        Before::Variable => memchr(b'`', run).unwrap_or(run.len()),
        // `\N` is a word of its own.
        Before::Backslash => usize::from(run.first() == Some(&b'N')),
        Before::Other => 0,
    };
    take(&mut rest, first, output.as_deref_mut());
    let mut is_exponent = false;
    while let Some(byte) = rest.first() {
        is_exponent = false;
        let len = match byte {
            b'.' | b'0'..=b'9' => {
                let len = number_len(rest);
                is_exponent = matches!(rest.get(..len), Some([b'.' | b'0'..=b'9', .., b'e' | b'E']))
                    && !matches!(rest, [b'0', b'x' | b'X' | b'b' | b'B', ..]);
                len
            }
            b'`' => quoted_len(rest, b"`"),
            b'$' => money_len(rest),
            _ => match keyword_len(rest) {
                Some(len) => {
                    take(&mut rest, len, output.as_deref_mut());
                    if let Some(output) = output.as_deref_mut() {
                        output.push(b' ');
                    }
                    continue;
                }
                None => {
                    if let Some(output) = output {
                        write_word(rest, output);
                    }
                    return false;
                }
            },
        };
        take(&mut rest, len, output.as_deref_mut());
    }
    is_exponent
}

fn take(rest: &mut &[u8], len: usize, output: Option<&mut Vec<u8>>) {
    let (taken, after) = rest.split_at(len.min(rest.len()));
    if let Some(output) = output {
        output.extend_from_slice(taken);
    }
    *rest = after;
}

/// How long the keyword is that stands before one of the word's first dots or backquotes.
fn keyword_len(word: &[u8]) -> Option<usize> {
    let near = word.get(..=KEYWORD_BYTES_MAX).unwrap_or(word);
    let mut from = 0;
    while let Some(found) = memchr2(b'.', b'`', near.get(from..)?) {
        let len = from + found;
        let before = near.get(..len).and_then(|before| str::from_utf8(before).ok())?;
        if !matches!(lookup_word(before), TokenType::None | TokenType::Bareword) {
            return Some(len);
        }
        from = len + 1;
    }
    None
}

fn write_word(word: &[u8], output: &mut Vec<u8>) {
    let (near, far) = word.split_at(word.len().min(KEYWORD_BYTES_MAX + 1));
    output.extend_from_slice(near);
    let mut backquotes = 0;
    output.extend(far.iter().map(|byte| match byte {
        b'.' => b'_',
        b'`' if backquotes >= BACKQUOTES_MAX => b'_',
        b'`' => {
            backquotes += 1;
            b'`'
        }
        other => *other,
    }));
}

fn number_len(text: &[u8]) -> usize {
    let count = |from: usize, is_of: fn(&u8) -> bool| {
        text.get(from..).unwrap_or_default().iter().take_while(|byte| is_of(byte)).count()
    };
    match text {
        [b'0', b'x' | b'X', ..] => return 2 + count(2, u8::is_ascii_hexdigit),
        [b'0', b'b' | b'B', ..] => return 2 + count(2, |byte| matches!(byte, b'0' | b'1')),
        _ => {}
    }
    let mut len = count(0, u8::is_ascii_digit);
    if text.get(len) == Some(&b'.') {
        len += 1 + count(len + 1, u8::is_ascii_digit);
        if len == 1 {
            return 1;
        }
    }
    if matches!(text.get(len), Some(b'e' | b'E')) {
        len += 1 + count(len + 1, u8::is_ascii_digit);
    }
    if matches!(text.get(len), Some(b'd' | b'D' | b'f' | b'F'))
        && matches!(text.get(len + 1), None | Some(b'u' | b'U'))
    {
        len += 1;
    }
    len.max(1)
}

/// Up to the end of a quoted text, or of everything.
fn quoted_len(text: &[u8], quote: &[u8]) -> usize {
    let mut at = quote.len();
    while let Some(found) = text.get(at..).and_then(|rest| memchr::memmem::find(rest, quote)) {
        at += found + quote.len();
        // Twice the quote is a part of the text; of backquotes only.
        if quote != b"`" || text.get(at) != Some(&b'`') {
            return at;
        }
        at += 1;
    }
    text.len()
}

/// `$1.5`, `$$a text$$`, `$tag$a text$tag$`, or a `$`.
fn money_len(text: &[u8]) -> usize {
    let after = text.get(1..).unwrap_or_default();
    let digits = after.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    if digits == 1 && after.first() == Some(&b'.') {
        // Read as a word.
        return text.len();
    }
    if digits > 0 {
        return 1 + digits;
    }
    let letters = after.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    match text.get(..letters + 2) {
        Some(tag) if tag.ends_with(b"$") => quoted_len(text, tag),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use libinjectionrs::{SqliFlags, SqliState};
    use proptest::prelude::*;

    use super::*;
    use crate::injection::testing::{self, lumps};

    #[test]
    fn keywords_stand_alone_and_other_dots_go() {
        let long = "a".repeat(RUN_BYTES_MIN);
        let name = format!("{}_{long}", "a.".repeat(16));
        for (text, want) in [
            ("and.1".to_owned(), "and.1".to_owned()),
            (format!("x and.1or.a{long}"), format!("x and .1or .a{long}")),
            (format!("1and.2{long}"), format!("1and .2{long}")),
            (format!("@and.1{long}"), format!("@and.1{long}")),
            (format!("\\Nand.1{long}"), format!("\\Nand .1{long}")),
            (format!("`and.1`and.1{long}"), format!("`and.1`and .1{long}")),
            (format!("$$and.1$$and.1{long}"), format!("$$and.1$$and .1{long}")),
            (format!("$a$and.1$a$and.1{long}"), format!("$a$and.1$a$and .1{long}")),
            (name.clone() + ".and`b", name + "_and`b"),
        ] {
            assert_eq!(cut(text.as_bytes()).escape_ascii().to_string(), want.escape_default().to_string());
        }
    }

    /// What stood behind a long run was not seen before: the run had become one name.
    #[test]
    fn nothing_hides_behind_a_long_run() {
        for before in ["1and.1".repeat(100), "1or.1".repeat(100), "1".repeat(1_000), "a.".repeat(1_000)] {
            let text = format!("{before} union select 1,2");
            assert!(crate::injection::is_sqli(text.as_bytes()).is_some(), "{text}");
        }
    }

    fn check(text: &[u8]) {
        for flags in [
            SqliFlags::FLAG_QUOTE_NONE | SqliFlags::FLAG_SQL_ANSI,
            SqliFlags::FLAG_QUOTE_SINGLE | SqliFlags::FLAG_SQL_MYSQL,
        ] {
            let read = |text: &[u8]| {
                let mut state = SqliState::new(text, flags);
                let is_sqli = state.is_sqli();
                (is_sqli, state.fingerprint, state.stats_tokens)
            };
            let other = cut_from(text, 0);
            assert_eq!(read(text), read(&other), "{} {}", text.escape_ascii(), other.escape_ascii());
        }
    }

    #[test]
    fn the_same_words_are_read() {
        testing::mutants(150_000, testing::SQL, check);
        testing::mutants(150_000, &DOTTED, check);
    }

    static DOTTED: [&[u8]; 24] = [
        b".", b".", b".", b"`", b"and", b"or", b"union", b"select", b"1", b"1e", b"1.5f", b"0x1", b"a", b"$",
        b"$a$", b"$1.", b"@", b"\\N", b" ", b"user", b"'", b"e+5", b"\xff", b"into",
    ];

    proptest! {
        #[test]
        fn anything_is_read_the_same(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            check(&text);
        }

        #[test]
        fn lumps_are_read_the_same(text in lumps(testing::SQL)) {
            check(&text);
        }
    }
}
