// SPDX-License-Identifier: Apache-2.0
//! Heads of backends' answers: what is accepted, and taken by another parser too, has the same status there and
//! one length at most.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sunbeam_wire::{Framing, check_answer, content_length, find_end};

fuzz_target!(|data: &[u8]| {
    // The reader is given whole heads; it must stand anything.
    let end = find_end(data, 0).ok().flatten();
    let head = &data[..end.unwrap_or(data.len())];
    let (Some(_), Ok(checked)) = (end, check_answer(head)) else { return };
    let status = checked.status;
    assert!((100..=599).contains(&status));
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut headers);
    // What it refuses, it refuses on the request path as well: the answer goes no further.
    let Ok(read) = answer.parse(head) else { return };
    assert_eq!(read, httparse::Status::Complete(head.len()), "another parser ends it elsewhere");
    assert_eq!(answer.code, Some(status));
    let values = |name: &str| -> Vec<&[u8]> {
        let named = answer.headers.iter().filter(|header| header.name.trim().eq_ignore_ascii_case(name));
        named.map(|header| header.value.trim_ascii()).collect()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    assert!(lengths.len() + codings.len() <= 1, "ambiguous framing was accepted");
    assert!(lengths.iter().all(|length| content_length(length).is_some()));
    assert!(codings.iter().all(|coding| coding.eq_ignore_ascii_case(b"chunked")));
    let framing = match (lengths.first(), codings.first()) {
        (Some(length), _) => content_length(length).map_or(Framing::None, Framing::Length),
        (None, Some(_)) => Framing::Chunked,
        (None, None) => Framing::None,
    };
    assert_eq!(checked.framing, framing);
    assert_eq!(checked.is_http_10, answer.version == Some(0));
    let closes = |value: &&[u8]| {
        value.split(|byte| *byte == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"))
    };
    assert_eq!(checked.closes, values("connection").iter().any(closes));
});
