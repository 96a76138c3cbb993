// SPDX-License-Identifier: Apache-2.0
//! A TLS client's first message: read the same however it is cut into records, not before it is whole, and the
//! same whatever follows; what was read can be written by the book; a fingerprint always has its form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sunbeam_fuzz::{arrival, pieces};
use sunbeam_wire::{CLIENT_HELLO_BYTES_MAX, ClientHello, client_hello};

/// Bytes of the head of a record, and of one that holds a single byte.
const RECORD_HEAD: usize = 5;
const SMALLEST_RECORD: usize = RECORD_HEAD + 1;

/// Bytes of the head of a handshake message.
const MESSAGE_HEAD: usize = 4;

fuzz_target!(|data: &[u8]| {
    let Some((cuts, stream)) = arrival(data) else { return };
    let whole = client_hello(stream);
    // Where an early part says anything, that is the last word.
    let end = usize::from(u16::from_be_bytes([cuts[2], cuts[3]])) % (stream.len() + 1);
    let early = client_hello(&stream[..end]);
    assert!(early == Ok(None) || early == whole, "{end} bytes say {early:?}, all say {whole:?}");
    match whole {
        Ok(Some(hello)) => {
            let message = message(stream);
            for message in [message, written(&hello)] {
                let records: Vec<u8> = pieces(cuts, &message).flat_map(record).collect();
                assert_eq!(client_hello(&records), Ok(Some(hello.clone())), "cut into {cuts:?}");
                assert_eq!(client_hello(&records[..records.len() - 1]), Ok(None), "a byte less is whole");
            }
            check_lists(&hello);
            check_fingerprint(&hello);
        }
        Ok(None) => {
            assert!(stream.len() < (MESSAGE_HEAD + CLIENT_HELLO_BYTES_MAX) * SMALLEST_RECORD, "endless");
        }
        Err(why) => assert!(why.to_string().is_ascii()),
    }
});

/// The handshake message at the start of the records, head included.
fn message(mut records: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    while let Some((head, rest)) = records.split_at_checked(RECORD_HEAD) {
        let length = usize::from(head[3]) << 8 | usize::from(head[4]);
        let (fragment, after) = rest.split_at(length.min(rest.len()));
        message.extend_from_slice(fragment);
        records = after;
    }
    let length = message[1..MESSAGE_HEAD].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    message.truncate(MESSAGE_HEAD + length);
    message
}

/// Another message that says the same, no longer than the one that was read.
fn written(hello: &ClientHello) -> Vec<u8> {
    let mut extensions = Vec::new();
    for kind in &hello.extensions {
        let content = match kind {
            0x000d => vector16(&list(&hello.signature_algorithms)),
            0x0010 => vector16(&vector8(hello.first_alpn.as_deref().unwrap_or(b"\x1a\x1a"))),
            0x002b => vector8(&list(&hello.versions)),
            _ => Vec::new(),
        };
        extensions.extend(kind.to_be_bytes());
        extensions.extend(vector16(&content));
    }
    let extensions = if extensions.is_empty() { extensions } else { vector16(&extensions) };
    let start = [&hello.legacy_version.to_be_bytes()[..], &[7; 32], &[0]].concat();
    let body = [start, vector16(&list(&hello.cipher_suites)), vec![1, 0], extensions].concat();
    [&[1, 0], vector16(&body).as_slice()].concat()
}

/// Only GREASE is left out of a list, so one that is empty here was not.
fn list(codes: &[u16]) -> Vec<u8> {
    let codes = if codes.is_empty() { &[0x1a1a] } else { codes };
    codes.iter().flat_map(|code| code.to_be_bytes()).collect()
}

fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).expect("short")], bytes].concat()
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).expect("short").to_be_bytes()[..], bytes].concat()
}

fn record(fragment: &[u8]) -> Vec<u8> {
    [&[22, 3, 1], vector16(fragment).as_slice()].concat()
}

fn check_lists(hello: &ClientHello) {
    let lists = [&hello.versions, &hello.cipher_suites, &hello.extensions, &hello.signature_algorithms];
    for code in lists.into_iter().flatten() {
        let [high, low] = code.to_be_bytes();
        assert!(high != low || low % 16 != 10, "{code:#x} is GREASE");
    }
    assert_eq!(hello.has_server_name, hello.extensions.contains(&0x0000));
    assert!(hello.first_alpn.is_none() || hello.extensions.contains(&0x0010));
    assert!(hello.versions.is_empty() || hello.extensions.contains(&0x002b));
    assert!(hello.signature_algorithms.is_empty() || hello.extensions.contains(&0x000d));
}

fn check_fingerprint(hello: &ClientHello) {
    let hash = |text: &[u8]| {
        assert!(text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b',' | b'_')));
        // Not a good one: it takes a byte's place into account, and no more.
        let mut sums = [0_u8; 32];
        text.iter().zip((0..32).cycle()).for_each(|(byte, at)| sums[at] = sums[at].wrapping_mul(31) ^ byte);
        sums
    };
    let fingerprint = hello.ja4(hash);
    assert!(has_form(fingerprint.as_bytes()), "{fingerprint}");
    let mut shuffled = hello.clone();
    shuffled.cipher_suites.reverse();
    shuffled.extensions.reverse();
    assert_eq!(shuffled.ja4(hash), fingerprint, "the fingerprint depends on the order");
}

/// `t13d1516h2_8daaf6152771_e5627efa2ab1`
fn has_form(fingerprint: &[u8]) -> bool {
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let parts: Vec<&[u8]> = fingerprint.split(|byte| *byte == b'_').collect();
    let [[b't' | b'q', offer @ ..], ciphers, rest] = parts.as_slice() else { return false };
    let [v0, v1, b'd' | b'i', counts @ .., a0, a1] = offer else { return false };
    [v0, v1].iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
        && counts.len() == 4
        && counts.iter().all(u8::is_ascii_digit)
        && [a0, a1].iter().all(|byte| byte.is_ascii_alphanumeric())
        && [ciphers, rest].iter().all(|hash| hash.len() == 12 && hash.iter().all(is_hex))
}
