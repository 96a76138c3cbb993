// SPDX-License-Identifier: Apache-2.0
//! The strict reading of an HTTP/1 answer's head (RFC 9112 §4 to §6).
//!
//! Both framings at once, a length twice, bare line feeds, codings that nobody knows: what a backend means by
//! them is a guess, and a wrong guess gives one client's bytes to another.

use memchr::memchr;

use crate::http1_head::{Framing, content_length, split_line, trim};

/// An answer's head that can be read in one way only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedAnswer {
    /// 100 to 599.
    pub status: u16,
    /// It says HTTP/1.0.
    pub is_http_10: bool,
    /// What the head says of the body; whether there is one depends on the request and the status too.
    pub framing: Framing,
    /// `Connection: close`: nothing follows this answer.
    pub closes: bool,
}

/// Checks a whole head, blank line included, whose lines [`crate::find_end`] saw to end with CRLF. Names and
/// values of other fields are left to whoever makes a map of them ([`crate::header_lines`]).
///
/// # Errors
/// Why the answer could be read in two ways.
pub fn check_answer(head: &[u8]) -> Result<CheckedAnswer, &'static str> {
    let (line, mut rest) = split_line(head);
    let (status, is_http_10) = status(line).ok_or("the answer's status line is malformed")?;
    if memchr(0, head).is_some() {
        return Err("the answer's head holds a NUL");
    }
    let mut answer = CheckedAnswer { status, is_http_10, framing: Framing::None, closes: false };
    let mut framings = 0;
    loop {
        let (line, after) = split_line(rest);
        rest = after;
        // The first byte tells most lines apart from those that matter here.
        match line {
            [] => break,
            [b' ' | b'\t', ..] => return Err("the answer's head holds a folded line"),
            [b'C' | b'c' | b'T' | b't', ..] => {}
            _ => continue,
        }
        if let Some(value) = value_of(line, b"content-length") {
            framings += 1;
            let length = content_length(value).ok_or("the answer's Content-Length is not one number")?;
            answer.framing = Framing::Length(length);
        } else if let Some(value) = value_of(line, b"transfer-encoding") {
            framings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err("the answer's Transfer-Encoding is not exactly `chunked`");
            }
            answer.framing = Framing::Chunked;
        } else if let Some(value) = value_of(line, b"connection") {
            let mut words = value.split(|byte| *byte == b',').map(trim);
            answer.closes |= words.any(|word| word.eq_ignore_ascii_case(b"close"));
        }
    }
    if framings > 1 {
        return Err("the answer's length is ambiguous");
    }
    if is_http_10 && answer.framing == Framing::Chunked {
        return Err("the answer's Transfer-Encoding is not of HTTP/1.0");
    }
    Ok(answer)
}

/// The status of `HTTP/1.x NNN reason`, and whether x is 0.
fn status(line: &[u8]) -> Option<(u16, bool)> {
    let (minor, digits, reason) = match line {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', a, b, c, reason @ ..] => {
            (*minor, [*a, *b, *c], reason)
        }
        _ => return None,
    };
    let is_status = matches!(digits, [b'1'..=b'5', b, c] if b.is_ascii_digit() && c.is_ascii_digit());
    let is_reason = |byte: &u8| matches!(byte, b'\t' | b' '..=0x7e | 0x80..);
    if !is_status || !matches!(reason, [] | [b' ', ..]) || !reason.iter().all(is_reason) {
        return None;
    }
    Some((digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')), minor == b'0'))
}

/// The value of a header line, if it has this name.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    if line.get(name.len()) != Some(&b':') {
        return None;
    }
    let (found, value) = line.split_at_checked(name.len())?;
    found.eq_ignore_ascii_case(name).then(|| trim(value.get(1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_ambiguity_is_refused() {
        for (head, want) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Some(200)),
            ("HTTP/1.0 404\r\n\r\n", Some(404)),
            ("HTTP/1.1 503 \r\ntransfer-encoding:\tChunked \r\n\r\n", Some(503)),
            ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", Some(101)),
            ("HTTP/1.1 200 OK\r\nContent-Lengths: 5, 5\r\n\r\n", Some(200)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nX: y\r\n folded\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\n X: y\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", None),
            ("HTTP/1.1 999 Odd\r\n\r\n", None),
            ("HTTP/1.1 099 Odd\r\n\r\n", None),
            ("HTTP/1.1 2000 OK\r\n\r\n", None),
            ("HTTP/1.1  200 OK\r\n\r\n", None),
            ("HTTP/2.0 200 OK\r\n\r\n", None),
            ("http/1.1 200 OK\r\n\r\n", None),
            ("ICY 200 OK\r\n\r\n", None),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
            ("HTTP/1.1 200 O\x07K\r\n\r\n", None),
            ("\r\n", None),
        ] {
            assert_eq!(check_answer(head.as_bytes()).ok().map(|answer| answer.status), want, "{head:?}");
        }
    }

    #[test]
    fn framing_and_what_follows_are_told() {
        let checked = |head: &str| {
            let answer = check_answer(format!("{head}\r\n\r\n").as_bytes()).unwrap();
            (answer.is_http_10, answer.framing, answer.closes)
        };
        for (head, want) in [
            ("HTTP/1.1 200 OK", (false, Framing::None, false)),
            ("HTTP/1.0 200 OK\r\ncontent-length: 7", (true, Framing::Length(7), false)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", (false, Framing::Chunked, false)),
            ("HTTP/1.1 200 OK\r\nConnection: close", (false, Framing::None, true)),
            (
                "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\nConnection: x,\tCLOSE",
                (false, Framing::None, true),
            ),
            ("HTTP/1.1 200 OK\r\nConnection: closed\r\nXConnection: close", (false, Framing::None, false)),
        ] {
            assert_eq!(checked(head), want, "{head}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _whatever = check_answer(&bytes);
            let _whatever = check_answer(&[&b"HTTP/1.1 200 OK\r\n"[..], &bytes].concat());
        }
    }
}
