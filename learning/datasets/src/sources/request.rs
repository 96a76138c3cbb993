// SPDX-License-Identifier: Apache-2.0
//! Pieces of a request as text: its first line, its target, its header lines, its body.

use crate::{BodyKind, Record};

/// Method and target of `GET /path HTTP/1.1`. Targets may hold blanks: only the first and the last divide.
/// None when it is no request line.
pub(super) fn request_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    let (method, rest) = line.split_at_checked(space)?;
    let is_method =
        !method.is_empty() && method.iter().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(byte));
    let version = rest.iter().rposition(|byte| *byte == b' ')?;
    let (target, version) = rest.split_at_checked(version)?;
    let is_request = is_method && version.starts_with(b" HTTP/");
    is_request.then(|| (method, target.trim_ascii()))
}

/// Sets host (of `http://host/path`), path and query. What is no text is written as it would be sent, `%FF`.
pub(super) fn set_target(record: &mut Record, target: &[u8]) {
    let target = sendable(target);
    let rest = match target.split_once("://") {
        Some(("http" | "https", rest)) => {
            let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            record.host = without_port(host).to_owned();
            path
        }
        _ => &target,
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    record.path = path.to_owned();
    record.query = query.to_owned();
}

/// Name and value of `Name: value`; none when it is no header line.
pub(super) fn header_line(line: &[u8]) -> Option<(String, String)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    (!name.is_empty()).then(|| (latin(name), latin(value)))
}

/// Keeps a header line, if it is one of those that records keep.
pub(super) fn set_header(record: &mut Record, name: &str, value: &str) {
    match name.to_ascii_lowercase().as_str() {
        "host" => without_port(value).clone_into(&mut record.host),
        "user-agent" => value.clone_into(&mut record.user_agent),
        "referer" => value.clone_into(&mut record.referer),
        "accept" => value.clone_into(&mut record.accept),
        "accept-language" => value.clone_into(&mut record.accept_language),
        "content-type" => record.body_kind = kind_of(value),
        "content-length" => record.content_length = value.trim().parse().unwrap_or(0),
        "cookie" => {
            let between = if record.cookies.is_empty() { "" } else { "; " };
            record.cookies.push_str(between);
            record.cookies.push_str(value);
            record.has_cookies = true;
        }
        _ => {}
    }
}

/// Sets the body, its length where none was announced, and how it is read where no header says.
pub(super) fn set_body(record: &mut Record, body: Vec<u8>) {
    if record.content_length == 0 {
        record.content_length = u64::try_from(body.len()).unwrap_or(u64::MAX);
    }
    record.body_kind = match record.body_kind {
        _ if body.is_empty() => BodyKind::None,
        BodyKind::None if looks_like_form(&body) => BodyKind::Form,
        BodyKind::None => BodyKind::Other,
        told => told,
    };
    record.body = body;
}

/// Each byte a character, unless it is UTF-8: what old corpora are written in.
pub(super) fn latin(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

fn kind_of(content_type: &str) -> BodyKind {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-www-form-urlencoded" => BodyKind::Form,
        "application/json" => BodyKind::Json,
        other if other.ends_with("+json") => BodyKind::Json,
        _ => BodyKind::Other,
    }
}

/// `name=value`
fn looks_like_form(body: &[u8]) -> bool {
    let Some(equals) = body.iter().position(|byte| *byte == b'=') else { return false };
    let name = body.get(..equals).unwrap_or_default();
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]%+".contains(byte))
}

fn sendable(target: &[u8]) -> String {
    let mut text = String::with_capacity(target.len());
    for chunk in target.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_line_has_three_parts() {
        let parts = |method: &'static str, target: &'static str| Some((method.as_bytes(), target.as_bytes()));
        for (name, line, want) in [
            ("plain", "GET / HTTP/1.1", parts("GET", "/")),
            ("blanks in the target", "GET /a b HTTP/1.0", parts("GET", "/a b")),
            ("no target", "GET  HTTP/1.1", parts("GET", "")),
            ("another method", "M-SEARCH * HTTP/1.1", parts("M-SEARCH", "*")),
            ("no version", "GET /", None),
            ("no method", "/ HTTP/1.1", None),
            ("a body", "id=1 AND HTTP/", None),
            ("nothing", "", None),
        ] {
            assert_eq!(request_line(line.as_bytes()), want, "{name}");
        }
    }

    #[test]
    fn a_target_tells_host_path_and_query() {
        for (name, target, want) in [
            ("a path", b"/a?b=c?d".as_slice(), ("", "/a", "b=c?d")),
            ("with a host", b"http://localhost:8080/a?b", ("localhost", "/a", "b")),
            ("a host alone", b"https://a.test", ("a.test", "", "")),
            ("an address in the query", b"/go?to=http://b.test/", ("", "/go", "to=http://b.test/")),
            ("IPv6", b"http://[::1]:80/", ("[::1]", "/", "")),
            ("no text", b"/a\xff?\xe9", ("", "/a%FF", "%E9")),
        ] {
            let mut record = Record::default();
            set_target(&mut record, target);
            assert_eq!((&*record.host, &*record.path, &*record.query), want, "{name}");
        }
    }

    #[test]
    fn a_body_is_read_as_its_type_says_or_as_it_looks() {
        for (name, content_type, body, want) in [
            ("a form", Some("application/x-www-form-urlencoded; charset=utf-8"), "a", BodyKind::Form),
            ("JSON", Some("application/vnd.api+json"), "a=1", BodyKind::Json),
            ("a file", Some("image/png"), "a=1", BodyKind::Other),
            ("looks like a form", None, "user[name]=a b", BodyKind::Form),
            ("looks like nothing", None, "<a b=1>", BodyKind::Other),
            ("empty", Some("application/json"), "", BodyKind::None),
        ] {
            let mut record = Record::default();
            content_type.into_iter().for_each(|value| set_header(&mut record, "Content-Type", value));
            set_body(&mut record, body.into());
            assert_eq!(record.body_kind, want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes: Vec<u8>) {
            let mut record = Record::default();
            set_target(&mut record, &bytes);
            if let Some((name, value)) = header_line(&bytes) {
                set_header(&mut record, &name, &value);
            }
            prop_assert!(request_line(&bytes).is_none_or(|(method, _)| !method.is_empty()));
            set_body(&mut record, bytes);
        }
    }
}
