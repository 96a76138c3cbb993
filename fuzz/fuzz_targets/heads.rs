// SPDX-License-Identifier: Apache-2.0
//! HTTP/1 request heads: the end is found wherever the stream is cut; what is accepted is read the same way
//! by another parser, fits the URI type, stays what it is when it is read again.
#![no_main]

use std::borrow::Cow;

use libfuzzer_sys::fuzz_target;
use sunbeam_fuzz::{arrival, pieces};
use sunbeam_wire::{CheckedHead, Framing, HeadLimits, check, find_end, header_lines};

const LIMITS: HeadLimits = HeadLimits { max_head_bytes: 4096, max_headers: 32, max_target_bytes: 1024 };

fuzz_target!(|data: &[u8]| {
    let Some((cuts, stream)) = arrival(data) else { return };
    let whole = find_end(stream, 0);
    assert_eq!(whole, found_in_pieces(cuts, stream), "the end depends on how the bytes arrive");
    // It is called with whole heads only; it must stand anything.
    let head = match whole {
        Ok(Some(end)) => &stream[..end],
        _ => return drop(check(stream, &LIMITS, |_, _| ())),
    };
    let mut told = Vec::new();
    match check(head, &LIMITS, |name, value| told.push((name, value))) {
        Err(refusal) => {
            assert!((400..=599).contains(&refusal.status) && !refusal.why.is_empty());
            assert!(refusal.line.len() <= 3 * 512, "an audit record could not carry this");
        }
        Ok(checked) => {
            assert_eq!(told, header_lines(head).collect::<Vec<_>>(), "each line is told once");
            let rest = head.iter().position(|byte| *byte == b'\r').expect("a line");
            let version: &[u8] = if checked.is_http_10 { b" HTTP/1.0" } else { b" HTTP/1.1" };
            let read = [checked.method, b" ", &checked.target, version, &head[rest..]].concat();
            let sent = head.split(|byte| *byte == b' ').nth(1).expect("a target");
            assert_eq!(read.len(), head.len() + encoded(sent), "more than the target changed");
            read_by_another(&read, &checked);
            let limits = HeadLimits { max_target_bytes: 3 * LIMITS.max_target_bytes, ..LIMITS };
            let again = check(&read, &limits, |_, _| ()).expect("what went on is accepted again");
            assert!(matches!(again.target, Cow::Borrowed(_)), "and is not changed again");
            assert_eq!(again, CheckedHead { target: again.target.clone(), method: again.method, ..checked });
        }
    }
});

/// Bytes by which a target grows: two for each that the URI type or a backend would refuse.
fn encoded(target: &[u8]) -> usize {
    2 * target.iter().filter(|byte| !byte.is_ascii() || b"<>\"`".contains(byte)).count()
}

/// As the proxy does it: after each read, from where the last look ended.
fn found_in_pieces(cuts: &[u8], stream: &[u8]) -> Result<Option<usize>, &'static str> {
    let (mut length, mut scanned) = (0, 0);
    for piece in pieces(cuts, stream) {
        length += piece.len();
        if let Some(end) = find_end(&stream[..length], scanned)? {
            return Ok(Some(end));
        }
        scanned = length.saturating_sub(3);
    }
    Ok(None)
}

/// The same bytes by httparse, and the framing by RFC 9112 §6.3 from what it found.
fn read_by_another(bytes: &[u8], checked: &CheckedHead<'_>) {
    let mut headers = [httparse::EMPTY_HEADER; LIMITS.max_headers];
    let mut request = httparse::Request::new(&mut headers);
    let status = request.parse(bytes).expect("another parser accepts it");
    assert_eq!(status, httparse::Status::Complete(bytes.len()), "another parser ends it elsewhere");
    let (method, target) = (request.method.expect("a method"), request.path.expect("a target"));
    let line = format!("{method} {target} HTTP/1.{}\r\n", request.version.expect("a version"));
    assert!(bytes.starts_with(line.as_bytes()));
    assert!(target.is_ascii());
    http::Uri::try_from(target).expect("the URI type takes it");
    let found: Vec<_> = header_lines(bytes).collect();
    let want: Vec<_> =
        request.headers.iter().map(|header| (header.name.as_bytes(), header.value.trim_ascii())).collect();
    assert_eq!(found, want, "another parser reads other fields");
    let values = |name: &str| -> Vec<&[u8]> {
        let named = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value.trim_ascii()).collect()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    let want = match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Framing::None,
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
        ([length], []) => match std::str::from_utf8(length).expect("digits").parse().expect("a number") {
            0 => Framing::None,
            length => Framing::Length(length),
        },
        _ => panic!("ambiguous framing was accepted"),
    };
    assert_eq!(checked.framing, want);
    assert_eq!(checked.may_upgrade, request.version == Some(1) && !values("upgrade").is_empty());
    let says = |name: &str, word: &str| {
        let mut words = values(name).into_iter().flat_map(|value| value.split(|byte| *byte == b','));
        words.any(|found| found.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    };
    let keeps = request.version == Some(1) || says("connection", "keep-alive");
    assert_eq!(checked.closes, says("connection", "close") || !keeps);
    assert_eq!(checked.expects_continue, request.version == Some(1) && !values("expect").is_empty());
    assert!(values("host").len() <= 1);
    assert!(values("host").len() == 1 || request.version == Some(0));
}
