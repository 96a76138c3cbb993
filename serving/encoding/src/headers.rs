// SPDX-License-Identifier: Apache-2.0
//! What changes in a response's headers when its bytes do.

use http::HeaderMap;
use http::header::{ACCEPT_RANGES, ETAG, HeaderName, HeaderValue, VARY};

/// Adjusts what described the old bytes: they are no longer those that the backend would send a range of,
/// nor those that it signed, so a strong tag becomes weak and digests go.
pub(crate) fn describe_changed_bytes(headers: &mut HeaderMap) {
    headers.remove(ACCEPT_RANGES);
    remove_digests(headers);
    weaken_etag(headers);
}

/// Removes digests of the body; from trailers, too.
pub(crate) fn remove_digests(headers: &mut HeaderMap) {
    for name in &DIGESTS {
        headers.remove(name);
    }
}

/// Notes that the answer depends on `Accept-Encoding`.
pub(crate) fn vary_by_encoding(headers: &mut HeaderMap) {
    let said = headers
        .get_all(VARY)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|field| field.trim() == "*" || field.trim().eq_ignore_ascii_case("accept-encoding"));
    if !said {
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// A tag that is malformed cannot be made weak, and goes.
fn weaken_etag(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(ETAG) else { return };
    if tag.as_bytes().starts_with(b"W/") {
        return;
    }
    let weak = [b"W/", tag.as_bytes()].concat();
    match HeaderValue::from_bytes(&weak) {
        Ok(weak) if tag.as_bytes().starts_with(b"\"") => headers.insert(ETAG, weak),
        _ => headers.remove(ETAG),
    };
}

static DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_weak() {
        for (tag, want) in [("\"a\"", Some("W/\"a\"")), ("W/\"a\"", Some("W/\"a\"")), ("a", None)] {
            let mut headers = HeaderMap::from_iter([(ETAG, HeaderValue::from_static(tag))]);
            describe_changed_bytes(&mut headers);
            assert_eq!(headers.get(ETAG).map(|value| value.to_str().unwrap()), want, "{tag}");
        }
    }

    #[test]
    fn vary_is_said_once() {
        for (name, before, added) in [
            ("absent", &[][..], true),
            ("other field", &["origin"], true),
            ("said", &["Accept-Encoding"], false),
            ("said in a list", &["origin, accept-encoding"], false),
            ("said in another line", &["origin", "accept-encoding"], false),
            ("everything", &["*"], false),
        ] {
            let mut headers: HeaderMap =
                before.iter().map(|line| (VARY, HeaderValue::from_static(line))).collect();
            vary_by_encoding(&mut headers);
            assert_eq!(headers.get_all(VARY).iter().count() > before.len(), added, "{name}");
        }
    }
}
