// SPDX-License-Identifier: Apache-2.0
//! Paths as routes see them: one meaning, reached once, whatever way it is written; hosts likewise.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sunbeam_fuzz::first_line;
use sunbeam_routing::{host_of, match_prefix, normalise};

fuzz_target!(|text: &str| {
    let (path, rest) = first_line(text);
    let (prefix, authority) = first_line(rest);
    host(authority);
    let swapped = with_other_hex_case(path);
    assert_eq!(normalise(path), normalise(&swapped), "the case of an escape's digits matters");
    let Ok(normal) = normalise(path) else { return };
    assert_eq!(normalise(&normal).as_deref(), Ok(&*normal), "normalising again changes it");
    assert!(normal.starts_with('/') && !normal.contains("//"));
    assert!(normal.len() <= 3 * path.len());
    for segment in normal.split('/') {
        assert!(!is_dots(segment), "a dot segment is left");
    }
    // Nor for a backend that decodes everything once more and takes backslashes for slashes, parameters for
    // nothing.
    for segment in decoded(&normal).split(|byte| matches!(byte, b'/' | b'\\')) {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        assert!(name != b".." && name != b".", "a dot segment is hidden");
    }
    if prefix.starts_with('/')
        && let Some(at) = match_prefix(&normal, prefix)
    {
        let after = normal.get(at..).expect("the rest begins between characters");
        let is_boundary = ["/", "%2F", "\\", "%5C", ";", "%3B"].iter().any(|start| after.starts_with(start));
        assert!(after.is_empty() || is_boundary, "half a segment matched");
    }
    // What stands behind a clean prefix is under it.
    let under = format!("/guarded{normal}");
    assert!(match_prefix(&under, "/guarded").is_some());
});

fn host(authority: &str) {
    let host = host_of(authority);
    assert!(host.len() <= authority.len());
    assert!(!host.bytes().any(|byte| byte.is_ascii_uppercase()) && !host.ends_with('.'));
    assert_eq!(host, host_of(&authority.to_ascii_uppercase()), "case matters");
    if !host.contains(':') && !host.starts_with('[') {
        assert_eq!(host_of(&format!("{host}.:8080")), host, "a port or a final dot matters");
    }
}

fn is_dots(segment: &str) -> bool {
    segment == "." || segment == ".."
}

fn with_other_hex_case(path: &str) -> String {
    let mut swapped = path.as_bytes().to_vec();
    for at in 0..swapped.len() {
        if path.as_bytes()[at] == b'%'
            && let Some([high, low]) = swapped.get_mut(at + 1..at + 3)
            && high.is_ascii_hexdigit()
            && low.is_ascii_hexdigit()
        {
            for digit in [high, low] {
                *digit ^= if digit.is_ascii_alphabetic() { 0x20 } else { 0 };
            }
        }
    }
    String::from_utf8(swapped).expect("only ASCII letters changed")
}

fn decoded(path: &str) -> Vec<u8> {
    let bytes = path.as_bytes();
    let mut result = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits =
            path.get(at + 1..at + 3).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(escaped) if *byte == b'%' => {
                result.push(escaped);
                at += 3;
            }
            _ => {
                result.push(*byte);
                at += 1;
            }
        }
    }
    result
}
