// SPDX-License-Identifier: Apache-2.0
//! What requests carry: any bytes are read by each processor, within its limits, and what is handed over stood there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sunbeam_fuzz::arrival;
use sunbeam_waf::bodies::{
    Limits, content_type::MediaType, cookies, json, multipart, percent, urlencoded, xml,
};

fuzz_target!(|data: &[u8]| {
    let Some((limits, body)) = arrival(data) else { return };
    let limits = limits_of(limits);
    form(body, &limits);
    cookie(body, &limits);
    leaves(body, &limits);
    elements(body, &limits);
    let end = body.iter().position(|byte| *byte == b'\n').unwrap_or(body.len());
    let (kind, rest) = body.split_at(end);
    parts(kind, rest.get(1..).unwrap_or_default(), &limits);
    parts(b"multipart/form-data; boundary=b", body, &limits);
});

fn limits_of(bytes: &[u8]) -> Limits {
    let [arguments, depth, names, others] = bytes else { return Limits::default() };
    Limits {
        arguments_max: (*arguments).into(),
        depth_max: (*depth).into(),
        names_bytes_max: usize::from(*names) * 16,
        attributes_max: (*others).into(),
        files_max: usize::from(*others) % 8,
        part_headers_max: usize::from(*others) % 16,
        part_header_bytes_max: 64,
    }
}

fn form(body: &[u8], limits: &Limits) {
    let (mut count, mut bytes) = (0, 0);
    let outcome = urlencoded::visit(body, b'&', limits, |name, value| {
        count += 1;
        bytes += name.len() + value.len();
    });
    assert!(count == outcome.arguments && count <= limits.arguments_max && bytes <= body.len());
    let mut decoded = Vec::new();
    let is_valid = percent::decode(body, &mut decoded);
    assert!(decoded.len() <= body.len());
    if !percent::is_encoded(body) {
        assert!(is_valid && decoded == body);
    }
}

fn cookie(body: &[u8], limits: &Limits) {
    let (mut count, mut bytes) = (0, 0);
    cookies::visit(body, limits, |name, value| {
        count += 1;
        bytes += name.len() + value.len();
    });
    assert!(count <= limits.arguments_max && bytes <= body.len());
}

fn leaves(body: &[u8], limits: &Limits) {
    let (mut count, mut bytes, mut names) = (0, 0, 0);
    let outcome = json::visit(body, limits, |name, value| {
        assert!(name.starts_with(b"json"), "{}", name.escape_ascii());
        names += name.len();
        if let Some(value) = value {
            count += 1;
            bytes += value.len();
        }
    });
    assert!(count == outcome.leaves && count <= limits.arguments_max, "{count} {outcome:?}");
    // What is no escape stays; what is one gets shorter.
    assert!(bytes <= body.len(), "{bytes}");
    assert!(names <= limits.names_bytes_max, "{names} {outcome:?}");
}

fn elements(body: &[u8], limits: &Limits) {
    let (mut count, mut bytes, mut text) = (0, 0, Vec::new());
    let outcome = xml::visit(body, limits, &mut text, |value| {
        count += 1;
        bytes += value.len();
    });
    assert!(count == outcome.attributes && count <= limits.attributes_max);
    // A byte that is none of its encoding becomes three.
    assert!(text.len() + bytes <= 3 * body.len(), "{} {bytes}", text.len());
}

fn parts(kind: &[u8], body: &[u8], limits: &Limits) {
    let _ = MediaType::parse(kind).lowercased();
    let (mut fields, mut end) = (0, 0);
    let outcome = multipart::visit(kind, body, limits, |part| {
        fields += usize::from(part.is_field());
        let range = part.range();
        assert!(end <= range.start && range.end <= body.len(), "{range:?} after {end}");
        end = range.end;
        // The first `Content-Disposition` counts wherever it stands.
        assert!(part.headers().count() <= limits.part_headers_max + 1);
        let _ = (part.name(), part.filename(), part.filename_extended());
    });
    assert!(fields == outcome.fields && fields <= limits.arguments_max, "{fields} {outcome:?}");
    let _ = outcome.strict_error();
    multipart::visit_beginning(kind, (body, true), limits, |_| {});
}
