// SPDX-License-Identifier: Apache-2.0
//! Content codings: a chosen coding was named and not refused; decoding never gives more than its bound, and
//! what was decoded survives being encoded again.
#![no_main]

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use sunbeam_encoding::{Accepted, Coding, DecodeError, decode_bounded, encode};

fuzz_target!(|data: &[u8]| {
    let [choice, low, high, input @ ..] = data else { return };
    match Coding::ALL.get(usize::from(*choice)) {
        Some(coding) => decoding(*coding, input, usize::from(u16::from_be_bytes([*high, *low]))),
        None => negotiation(input),
    }
});

fn decoding(coding: Coding, input: &[u8], max: usize) {
    match decode_bounded(coding, input, max) {
        Ok(decoded) => {
            assert!(decoded.len() <= max && decoded.capacity() <= max.max(input.len()));
            assert_eq!(decode_bounded(coding, input, decoded.len()).as_ref(), Ok(&decoded), "its own bound");
            if let Some(less) = decoded.len().checked_sub(1) {
                let cut = decode_bounded(coding, input, less);
                assert_eq!(cut, Err(DecodeError::TooLarge { max: less }), "a bound below");
            }
            // The slowest settings are not worth a fuzzer's time with large inputs.
            if decoded.len() < 512 {
                let again = decode_bounded(coding, &encode(coding, &decoded), max);
                assert_eq!(again, Ok(decoded), "encoded again");
            }
        }
        Err(DecodeError::TooLarge { max: named }) => assert_eq!(named, max),
        Err(DecodeError::Corrupt { coding: named, .. }) => {
            assert!(named == coding && coding != Coding::Identity);
        }
    }
}

fn negotiation(lines: &[u8]) {
    let values = lines.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    let headers: HeaderMap = values.map(|value| (ACCEPT_ENCODING, value)).collect();
    let chosen = Accepted::of(&headers).best();
    if chosen == Coding::Identity {
        return;
    }
    assert!(chosen != Coding::Deflate, "clients do not agree on what it is");
    let text = String::from_utf8_lossy(lines).to_ascii_lowercase();
    assert!(text.contains(chosen.as_str()) || text.contains('*'), "it was not named");
    // Named once with a quality of nothing, it is refused.
    let alone: HeaderMap = [&format!("{};q=0", chosen.as_str()), "*"]
        .iter()
        .filter_map(|value| HeaderValue::from_str(value).ok())
        .map(|value| (ACCEPT_ENCODING, value))
        .collect();
    assert!(Accepted::of(&alone).best() != chosen, "it was refused");
}
