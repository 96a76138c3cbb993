// SPDX-License-Identifier: Apache-2.0
//! For tests: what clients write, and the ways in which they may write a byte.

use proptest::collection::vec;
use proptest::prelude::*;

/// Half of what it makes are pieces of escapes, which chance alone would seldom put together.
pub(super) fn texts() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        &b"%"[..],
        b"u",
        b"U",
        b"2",
        b"5",
        b"%25",
        b"%u00",
        b"\xC0",
        b"\xE0\x80",
        b"\xF0\x80",
        b"\xEF\xBC",
        b"\x80",
        b"\xAF",
        b"+",
        b"/",
        b"..",
        b";",
        b"\\",
        b"A",
    ]);
    vec(prop_oneof![pieces.prop_map(<[u8]>::to_vec), vec(any::<u8>(), 1..4)], 0..24)
        .prop_map(|pieces| pieces.concat())
}

/// `text` with each byte written in the way that `ways` name, in rotation.
pub(super) fn disguise(text: &[u8], ways: &[u8]) -> Vec<u8> {
    text.iter().zip(ways.iter().cycle()).flat_map(|(byte, way)| written(*byte, *way)).collect()
}

fn written(byte: u8, way: u8) -> Vec<u8> {
    let low = 0x80 | (byte & 0x3F);
    let percent = format!("%{byte:02x}");
    match way % 12 {
        0 => percent.into_bytes(),
        1 => percent.to_ascii_uppercase().into_bytes(),
        2 => percent.replace('%', "%25").into_bytes(),
        3 => percent.bytes().flat_map(|part| format!("%{part:02x}").into_bytes()).collect(),
        4 if byte.is_ascii() => format!("%u00{byte:02X}").into_bytes(),
        5 if byte.is_ascii() => format!("%U00{byte:02x}").into_bytes(),
        6 if byte.is_ascii() => vec![0xC0 | byte >> 6, low],
        7 if byte.is_ascii() => vec![0xE0, 0x80 | byte >> 6, low],
        8 if byte.is_ascii() => vec![0xF0, 0x80, 0x80 | byte >> 6, low],
        9 if byte.is_ascii_graphic() => full_width(byte).to_string().into_bytes(),
        _ => vec![byte],
    }
}

fn full_width(graphic: u8) -> char {
    char::from_u32(u32::from(graphic) + 0xFEE0).expect("U+FF01 to U+FF5E are characters")
}
