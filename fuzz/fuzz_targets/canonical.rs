// SPDX-License-Identifier: Apache-2.0
//! The canonical form: one for all spellings, reached at once, never longer; units are bounded and canonical.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sunbeam_features::canonical::{
    BodyKind, Form, PathNotes, UNITS_MAX, UnitKind, UnitSource, canonical_path, canonical_text, each_unit,
};
use sunbeam_fuzz::arrival;

fuzz_target!(|data: &[u8]| {
    let Some((ways, input)) = arrival(data) else { return };
    text(input, ways);
    path(input, ways);
    units(input, ways);
    parameters(input, ways);
});

fn text(input: &[u8], ways: &[u8]) {
    let canonical = text_of(input, Form::Path);
    assert!(canonical.len() <= input.len() && !canonical.iter().any(u8::is_ascii_uppercase));
    assert_eq!(text_of(&canonical, Form::Path), canonical, "doing it again changes it");
    let once = disguise(input, ways);
    assert_eq!(text_of(&once, Form::Path), canonical, "a disguise matters");
    assert_eq!(text_of(&disguise(&once, ways), Form::Path), canonical, "a disguise in a disguise matters");
    assert_eq!(text_of(&input.to_ascii_uppercase(), Form::Path), canonical, "case matters");
    let spaced: Vec<u8> = input.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    assert_eq!(text_of(input, Form::Query), text_of(&spaced, Form::Path), "more than a bare plus is a space");
}

fn path(input: &[u8], ways: &[u8]) {
    let (canonical, notes) = path_of(input);
    assert!(canonical.len() <= input.len());
    assert_eq!(path_of(&disguise(input, ways)), (canonical.clone(), notes), "a disguise matters");
    let (again, after) = path_of(&canonical);
    assert_eq!(again, canonical, "doing it again changes it");
    assert!(after.traversals == 0 && !after.above_root && after.depth == notes.depth);
    assert!(notes.had_nul || !canonical.contains(&0));
    assert!(!notes.above_root || notes.traversals > 0);
    for segment in canonical.split(|byte| matches!(byte, b'/' | b'\\')) {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        assert!(name != b"." && name != b"..", "a dot segment is left");
    }
}

/// The four lines of the input are the four parts of a request.
fn units(input: &[u8], ways: &[u8]) {
    let mut parts = input.splitn(4, |byte| *byte == b'\n').chain(std::iter::repeat(&b""[..]));
    let [path, query, cookies, body] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    let kinds = [BodyKind::None, BodyKind::Form, BodyKind::Json, BodyKind::Other];
    for body_kind in kinds {
        let request = UnitSource { path, query, cookies, body, body_kind };
        let mut seen = 0;
        let units = each_unit(&request, &mut Vec::new(), &mut |unit| {
            seen += 1;
            assert!(!unit.value.is_empty() && unit.value.len() <= input.len());
            match unit.kind {
                UnitKind::Path => assert_eq!(path_of(unit.value).0, unit.value),
                _ => assert_eq!(text_of(unit.value, Form::Path), unit.value),
            }
        });
        assert_eq!(units.seen, seen);
        assert!(seen <= UNITS_MAX && (!units.truncated || seen == UNITS_MAX));
        assert_eq!(units.path, path_of(path).1);
    }
    // A whole document in a string is one leaf, in whatever way its characters are written.
    let quoted = quoted(&String::from_utf8_lossy(body), ways);
    let request = UnitSource { body: quoted.as_bytes(), body_kind: BodyKind::Json, ..UnitSource::default() };
    let mut leaves = Vec::new();
    let units = each_unit(&request, &mut Vec::new(), &mut |unit| leaves.push(unit.value.to_vec()));
    assert!(!units.malformed_body);
    let want = text_of(String::from_utf8_lossy(body).as_bytes(), Form::Path);
    assert!(if want.is_empty() { leaves.is_empty() } else { leaves == [want] }, "an escape matters");
}

/// A parameter's value is one unit, whatever is written in it.
fn parameters(input: &[u8], ways: &[u8]) {
    let escapes: Vec<u8> = ways.iter().map(|way| way % ESCAPES).collect();
    let query = [b"q=", &disguise(input, &escapes)[..], b"&z=1"].concat();
    let mut values = Vec::new();
    each_unit(&UnitSource { query: &query, ..UnitSource::default() }, &mut Vec::new(), &mut |unit| {
        if unit.kind == UnitKind::Parameter {
            values.push((unit.name.to_vec(), unit.value.to_vec()));
        }
    });
    if !input.is_empty() {
        assert_eq!(values.remove(0), (b"q".to_vec(), text_of(input, Form::Path)));
    }
    assert_eq!(values, [(b"z".to_vec(), b"1".to_vec())]);
}

fn text_of(input: &[u8], form: Form) -> Vec<u8> {
    let mut out = Vec::new();
    canonical_text(input, form, &mut out);
    out
}

fn path_of(path: &[u8]) -> (Vec<u8>, PathNotes) {
    let mut out = Vec::new();
    let notes = canonical_path(path, &mut out);
    (out, notes)
}

/// `text` with each byte written in the way that `ways` name, in rotation.
fn disguise(text: &[u8], ways: &[u8]) -> Vec<u8> {
    text.iter().zip(ways.iter().cycle()).flat_map(|(byte, way)| written(*byte, *way)).collect()
}

/// So many first ways of [`written`] leave no byte bare.
const ESCAPES: u8 = 3;

fn written(byte: u8, way: u8) -> Vec<u8> {
    let low = 0x80 | (byte & 0x3F);
    match way % 11 {
        0 => format!("%{byte:02x}").into_bytes(),
        1 => format!("%25{byte:02X}").into_bytes(),
        2 => format!("%{byte:02X}").bytes().flat_map(|part| format!("%{part:02x}").into_bytes()).collect(),
        3 if byte.is_ascii() => format!("%u00{byte:02X}").into_bytes(),
        4 if byte.is_ascii() => format!("%U00{byte:02x}").into_bytes(),
        5 if byte.is_ascii() => vec![0xC0 | byte >> 6, low],
        6 if byte.is_ascii() => vec![0xE0, 0x80 | byte >> 6, low],
        7 if byte.is_ascii() => vec![0xF0, 0x80, 0x80 | byte >> 6, low],
        8 if byte.is_ascii_graphic() => {
            let full_width = char::from_u32(u32::from(byte) + 0xFEE0).expect("a full-width form");
            full_width.to_string().into_bytes()
        }
        _ => vec![byte],
    }
}

/// A JSON string in which each character is escaped or not, as `ways` name it in rotation.
fn quoted(text: &str, ways: &[u8]) -> String {
    let mut quoted = String::from('"');
    for (character, way) in text.chars().zip(ways.iter().cycle()) {
        if way % 2 == 0 || matches!(character, '"' | '\\') {
            for unit in character.encode_utf16(&mut [0; 2]) {
                quoted.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            quoted.push(character);
        }
    }
    quoted + "\""
}
