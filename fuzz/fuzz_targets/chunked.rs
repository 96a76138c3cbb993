// SPDX-License-Identifier: Apache-2.0
//! Chunked framing: the same end and the same data however the bytes arrive, and the same as a simple lenient
//! decoder finds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sunbeam_fuzz::{arrival, pieces};
use sunbeam_wire::{Chunked, Piece};

fuzz_target!(|data: &[u8]| {
    let Some((cuts, stream)) = arrival(data) else { return };
    let mut chunked = Chunked::new();
    let whole = chunked.take(stream).map(|used| (used, chunked.is_done()));
    assert_eq!(whole, in_pieces(cuts, stream), "the result depends on how the bytes arrive");
    match whole {
        Ok((used, true)) => {
            let (_, end) = decoded(stream).expect("a lenient decoder reads what a strict one accepts");
            assert_eq!(used, end, "two readers see two ends");
            assert_eq!(chunked.take(b"GET"), Ok(0), "the next request is not of this body");
        }
        Ok((used, false)) => assert_eq!(used, stream.len(), "bytes are left, and the end is not reached"),
        Err(_) => {}
    }
    let apart = taken_apart([stream]);
    assert_eq!(apart, taken_apart(pieces(cuts, stream)), "the data depends on how the bytes arrive");
    if let Ok((data, used, true)) = &apart {
        assert_eq!(decoded(stream), Some((data.clone(), *used)), "two readers see two bodies");
    }
    assert!(
        whole.is_err() || apart.is_ok(),
        "the reader of answers takes all that the reader of requests takes"
    );
});

/// Data, bytes used and whether that is all, as the reader of answers has it.
fn taken_apart<'a>(
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Vec<u8>, usize, bool), &'static str> {
    let mut chunked = Chunked::of_answer();
    let (mut data, mut used) = (Vec::new(), 0);
    for mut part in parts {
        loop {
            let (kind, here) = chunked.next(part)?;
            if here == 0 {
                break;
            }
            if kind == Piece::Data {
                data.extend_from_slice(&part[..here]);
            }
            used += here;
            part = &part[here..];
        }
    }
    Ok((data, used, chunked.is_done()))
}

fn in_pieces(cuts: &[u8], stream: &[u8]) -> Result<(usize, bool), &'static str> {
    let mut chunked = Chunked::new();
    let mut used = 0;
    for piece in pieces(cuts, stream) {
        let here = chunked.take(piece)?;
        used += here;
        if here < piece.len() {
            break;
        }
    }
    Ok((used, chunked.is_done()))
}

/// The data and where the body ends, as a careless reader has it: extensions are cut off, blanks and lone
/// line feeds taken.
fn decoded(mut rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let all = rest.len();
    let mut data = Vec::new();
    loop {
        let line = line(&mut rest)?;
        let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        data.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?;
        if !self::line(&mut rest)?.is_empty() {
            return None;
        }
    }
    while !line(&mut rest)?.is_empty() {}
    Some((data, all - rest.len()))
}

fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let line = &rest[..end];
    *rest = &rest[end + 1..];
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}
