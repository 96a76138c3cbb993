// SPDX-License-Identifier: Apache-2.0
//! Access logs of Apache and nginx: `client - user [time] "request" status bytes "referer" "agent"`, or without the
//! last two (the common format), or with the virtual host before it all.
//!
//! These logs keep neither cookies nor `Accept`: nothing may be learnt from their absence here.

use std::io;
use std::net::IpAddr;

use super::lines::Lines;
use super::report::Fault;
use super::request::{latin, request_line, set_target};
use super::time::micros;
use super::{Sink, Source, each_line};
use crate::Record;

/// See the module.
pub(super) struct Combined;

impl Source for Combined {
    fn name(&self) -> &'static str {
        "combined"
    }

    fn recognises(&self, head: &[&[u8]]) -> bool {
        let good = head.iter().filter(|line| record(line, Record::default()).is_ok()).count();
        good > 0 && good * 2 >= head.len()
    }

    fn read(&self, lines: &mut Lines<'_>, sink: &mut Sink<'_>) -> io::Result<()> {
        each_line(lines, sink, |number, line, sink| match record(line, sink.blank()) {
            Ok(record) => sink.record(record),
            Err(fault) => sink.fault(number, fault),
        })
    }
}

/// What stands for the server that wrote the log: not empty, or its errors would count as ours.
pub(super) const ORIGIN: &str = "origin";

fn record(line: &[u8], blank: Record) -> Result<Record, Fault> {
    // Some exports set each line in quotes of its own.
    let line = match line.strip_prefix(b"\"") {
        Some(inner) => inner.strip_suffix(b"\"").ok_or(Fault::Cut)?,
        None => line,
    };
    let (before, rest) = cut(line, b'[').ok_or(Fault::NotThisFormat)?;
    let (time, rest) = cut(rest, b']').ok_or(Fault::Cut)?;
    let (host, client) = owner(&latin(before)).ok_or(Fault::NotThisFormat)?;
    let at_micros = Some(micros(&latin(time)).ok_or(Fault::NotThisFormat)?);
    let mut record = Record { at_micros, client, host, backend: ORIGIN.to_owned(), ..blank };
    // A target may hold quotes that an old server did not escape: the one that ends it has the status behind it.
    let (request, rest) = quoted(rest, |next| matches!(next, [] | [b' '] | [b' ', b'0'..=b'9', ..]))?;
    set_request(&mut record, &request);
    let rest = set_status(&mut record, rest)?;
    if !rest.is_empty() {
        let is_end = |next: &[u8]| matches!(next, [] | [b' ', ..]);
        let (referer, rest) = quoted(rest, is_end)?;
        let (agent, _) = quoted(rest, is_end)?;
        record.referer = said(&referer);
        record.user_agent = said(&agent);
        record.has_own_headers = true;
    }
    Ok(record)
}

/// Before and after the first `byte`.
fn cut(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(byte, text)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Virtual host and client of `client ident user` or `host:port client ident user`.
fn owner(before: &str) -> Option<(String, String)> {
    let mut words = before.split_ascii_whitespace();
    let (first, second) = (words.next()?, words.next()?);
    // A word in `user` may be an address, but is never the second of three.
    let is_host = words.clone().count() >= 2 && second.parse::<IpAddr>().is_ok();
    if is_host {
        let host = first.rsplit_once(':').map_or(first, |(name, _)| name);
        return Some((host.to_owned(), second.to_owned()));
    }
    Some((String::new(), first.to_owned()))
}

/// A request that is none (`-`, a TLS handshake to the plain port) still was one of the client's: it is kept, without
/// method, its text as the path.
fn set_request(record: &mut Record, request: &[u8]) {
    if let Some((method, target)) = request_line(request) {
        record.method = latin(method);
        set_target(record, target);
        return;
    }
    let mut words = request.splitn(2, |byte| *byte == b' ');
    match (words.next(), words.next()) {
        // HTTP/0.9 has no version.
        (Some(method @ (b"GET" | b"HEAD" | b"POST")), Some(target)) => {
            record.method = latin(method);
            set_target(record, target);
        }
        _ => set_target(record, request.strip_prefix(b"-").unwrap_or(request)),
    }
}

/// Status and size; returns what follows.
fn set_status<'a>(record: &mut Record, rest: &'a [u8]) -> Result<&'a [u8], Fault> {
    let rest = rest.trim_ascii_start();
    let (status, rest) = word(rest);
    let digits = str::from_utf8(status).ok().filter(|digits| digits.len() == 3);
    let fault = if rest.is_empty() { Fault::Cut } else { Fault::NotThisFormat };
    record.status = digits.and_then(|digits| digits.parse().ok()).ok_or(fault)?;
    let (size, rest) = word(rest.trim_ascii_start());
    match size {
        [] => Err(Fault::Cut),
        _ if size == b"-" || size.iter().all(u8::is_ascii_digit) => Ok(rest.trim_ascii_start()),
        _ => Err(Fault::NotThisFormat),
    }
}

fn word(text: &[u8]) -> (&[u8], &[u8]) {
    cut(text, b' ').unwrap_or((text, &[]))
}

/// What stands in quotes, with its escapes undone, and what follows. A quote is part of the text if what is behind it
/// does not say that it ends.
fn quoted(text: &[u8], is_end: impl Fn(&[u8]) -> bool) -> Result<(Vec<u8>, &[u8]), Fault> {
    let text = text.trim_ascii_start();
    let inner = match text.split_first() {
        Some((b'"', inner)) => inner,
        Some(_) => return Err(Fault::NotThisFormat),
        None => return Err(Fault::Cut),
    };
    let mut at = 0;
    while let Some(byte) = inner.get(at) {
        match byte {
            b'\\' => at += 1,
            b'"' => {
                let rest = inner.get(at + 1..).unwrap_or_default();
                if is_end(rest) {
                    return Ok((unescaped(inner.get(..at).unwrap_or_default()), rest));
                }
            }
            _ => {}
        }
        at += 1;
    }
    Err(Fault::Cut)
}

/// Undoes `\"`, `\\`, `\n`, `\t` and `\x16`.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let (value, after) = if *byte == b'\\' { escape(after) } else { (*byte, after) };
        plain.push(value);
        rest = after;
    }
    plain
}

/// The byte that an escape stands for, its backslash read already.
fn escape(after: &[u8]) -> (u8, &[u8]) {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match after {
        [b'n', rest @ ..] => (b'\n', rest),
        [b't', rest @ ..] => (b'\t', rest),
        [b'r', rest @ ..] => (b'\r', rest),
        [b'x', high, low, rest @ ..] => match (digit(high), digit(low)) {
            (Some(high), Some(low)) => (high << 4 | low, rest),
            _ => (b'\\', after),
        },
        [byte @ (b'"' | b'\\'), rest @ ..] => (*byte, rest),
        _ => (b'\\', after),
    }
}

/// Empty for the `-` that stands for nothing.
fn said(value: &[u8]) -> String {
    if value == b"-" { String::new() } else { latin(value) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a?b=c HTTP/1.1" 404 12 "http://r/" "curl \"x\" \\""#;

    #[test]
    fn a_line_becomes_a_record() {
        let got = record(LINE.as_bytes(), Record::default()).unwrap();
        assert_eq!((&*got.client, &*got.method, &*got.path, &*got.query), ("192.0.2.1", "GET", "/a", "b=c"));
        assert_eq!((got.status, got.at_micros), (404, Some(1_431_857_103_000_000)));
        assert_eq!((&*got.referer, &*got.user_agent, &*got.backend), ("http://r/", "curl \"x\" \\", ORIGIN));
        assert!(got.has_own_headers && !got.has_cookies);
        assert_eq!(record(format!("\"{LINE}\"").as_bytes(), Record::default()), Ok(got));
    }

    #[test]
    fn lines_of_other_servers_are_read_too() {
        let time = "[17/May/2015:10:05:03 +0000]";
        for (name, line, want) in [
            ("common", format!(r#"::1 - bob {time} "HEAD /x HTTP/1.0" 200 -"#), ("::1", "", "HEAD", "/x")),
            (
                "with a host",
                format!(r#"a.test:443 ::1 - - {time} "GET / HTTP/1.0" 200 5"#),
                ("::1", "a.test", "GET", "/"),
            ),
            (
                "a name of two words",
                format!(r#"::1 - bob b {time} "GET / HTTP/1.0" 200 5"#),
                ("::1", "", "GET", "/"),
            ),
            ("no request", format!(r#"::1 - - {time} "-" 408 0 "-" "-""#), ("::1", "", "", "")),
            (
                "a handshake",
                format!(r#"::1 - - {time} "\x16\x03\x01" 400 0 "-" "-""#),
                ("::1", "", "", "\u{16}\u{3}\u{1}"),
            ),
            ("HTTP/0.9", format!(r#"::1 - - {time} "GET /old" 200 0"#), ("::1", "", "GET", "/old")),
            (
                "a quote in the target",
                format!(r#"::1 - - {time} "GET /"a" HTTP/1.1" 200 0"#),
                ("::1", "", "GET", "/\"a\""),
            ),
            (
                "more at the end",
                format!(r#"::1 - - {time} "GET / HTTP/1.1" 200 0 "-" "-" "10.0.0.1" 0.003"#),
                ("::1", "", "GET", "/"),
            ),
        ] {
            let got =
                record(line.as_bytes(), Record::default()).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            assert_eq!((&*got.client, &*got.host, &*got.method, &*got.path), want, "{name}");
        }
    }

    #[test]
    fn what_is_no_line_says_why() {
        for (name, line, want) in [
            ("another program's", "hello world", Fault::NotThisFormat),
            ("cut in the time", LINE.get(..30).unwrap(), Fault::Cut),
            ("cut in the request", LINE.get(..50).unwrap(), Fault::Cut),
            ("cut after the request", LINE.get(..66).unwrap(), Fault::Cut),
            ("cut in the agent", LINE.get(..LINE.len() - 1).unwrap(), Fault::Cut),
            ("no time", r#"a - - [yesterday] "GET / HTTP/1.1" 200 0"#, Fault::NotThisFormat),
            (
                "no status",
                r#"a - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 4x4 0"#,
                Fault::NotThisFormat,
            ),
        ] {
            assert_eq!(record(line.as_bytes(), Record::default()), Err(want), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_line_cut_or_changed_anywhere_is_read_or_refused(at in 0..LINE.len(), byte: u8) {
            let mut line = LINE.as_bytes().to_vec();
            drop(record(line.get(..at).unwrap(), Record::default()));
            *line.get_mut(at).unwrap() = byte;
            drop(record(&line, Record::default()));
        }
    }
}
