// SPDX-License-Identifier: Apache-2.0
//! The strict reading of an HTTP/1 answer's head (RFC 9112 §4 to §6).
//!
//! hyper takes both framings at once, a length twice, bare line feeds and codings that it does not
//! know. What a backend means by them is a guess, and a wrong guess gives one client's bytes to another.

use memchr::memchr;

use crate::http1_head::{content_length, split_line, trim};

/// Checks a whole head, blank line included, whose lines [`crate::find_end`] saw to end with CRLF.
/// Returns the status. What hyper refuses by itself (odd names, control characters) is not repeated here.
///
/// # Errors
/// Why the answer could be read in two ways.
pub fn check_answer(head: &[u8]) -> Result<u16, &'static str> {
    let (line, mut rest) = split_line(head);
    let status = status(line).ok_or("the answer's status line is malformed")?;
    if memchr(0, head).is_some() {
        return Err("the answer's head holds a NUL");
    }
    let (mut lengths, mut codings) = (0, 0);
    loop {
        let (line, after) = split_line(rest);
        rest = after;
        match line {
            [] => break,
            [b' ' | b'\t', ..] => return Err("the answer's head holds a folded line"),
            _ => {}
        }
        if let Some(value) = value_of(line, b"content-length") {
            lengths += 1;
            content_length(value).ok_or("the answer's Content-Length is not one number")?;
        } else if let Some(value) = value_of(line, b"transfer-encoding") {
            codings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err("the answer's Transfer-Encoding is not exactly `chunked`");
            }
        }
    }
    if lengths + codings > 1 {
        return Err("the answer's length is ambiguous");
    }
    Ok(status)
}

/// The status of `HTTP/1.x NNN reason`.
fn status(line: &[u8]) -> Option<u16> {
    let (digits, reason) = match line {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b' ', a, b, c, reason @ ..] => {
            ([*a, *b, *c], reason)
        }
        _ => return None,
    };
    let is_status = matches!(digits, [b'1'..=b'5', b, c] if b.is_ascii_digit() && c.is_ascii_digit());
    if !is_status || !matches!(reason, [] | [b' ', ..]) {
        return None;
    }
    Some(digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')))
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
            ("\r\n", None),
        ] {
            assert_eq!(check_answer(head.as_bytes()).ok(), want, "{head:?}");
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
