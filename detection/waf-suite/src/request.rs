// SPDX-License-Identifier: Apache-2.0
//! From a stage to the bytes that go out. They may break HTTP: that is what many tests are for.
//!
//! What is left out is `GET / HTTP/1.1` to port 80 of 127.0.0.1 over HTTP. Fields of `headers` go out sorted by name,
//! as the reference runner sorts them; those of `ordered_headers` as they stand.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::format::Input;
use crate::raw::{self, RawRequest};
use crate::template;

const URLENCODED: &str = "application/x-www-form-urlencoded";

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub is_tls: bool,
}

/// Why no request can be made of a stage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A text that must be Base64 is not.
    #[error("`{key}` is not Base64")]
    Base64 {
        /// The key of the text.
        key: &'static str,
    },
    /// `data` holds a template that is not known.
    #[error("`data` holds a template that is not `\"text\" | repeat count`: `{beginning}`")]
    Template {
        /// How it begins.
        beginning: String,
    },
    /// `data` becomes longer than 16 MiB.
    #[error("`data` becomes longer than 16 MiB")]
    TooLarge,
    /// The stage goes where an answer points.
    #[error("`follow_redirect` is not supported")]
    FollowRedirect,
}

/// Where the stage's request goes.
pub fn destination(input: &Input) -> Destination {
    Destination {
        host: input.dest_addr.clone().unwrap_or_else(|| "127.0.0.1".to_owned()),
        port: input.port.unwrap_or(80),
        is_tls: input.protocol.as_deref().is_some_and(|protocol| protocol.eq_ignore_ascii_case("https")),
    }
}

/// The request as a server in front of an engine reads it: what an engine in this process is to be given.
pub fn delivered(input: &Input) -> Result<RawRequest, BuildError> {
    Ok(raw::read(&build(input)?))
}

/// The bytes that go out.
pub fn build(input: &Input) -> Result<Vec<u8>, BuildError> {
    if input.follow_redirect == Some(true) {
        return Err(BuildError::FollowRedirect);
    }
    if let Some(encoded) = input.encoded_request.as_deref().filter(|encoded| !encoded.is_empty()) {
        return base64(encoded).ok_or(BuildError::Base64 { key: "encoded_request" });
    }
    let method = input.method.as_deref().unwrap_or("GET");
    let mut headers = headers(input);
    let body = body(input, &mut headers)?;
    if input.autocompletes() {
        complete(method, &body, &mut headers);
    }
    let mut bytes = Vec::with_capacity(body.len() + 1024);
    let (uri, version) =
        (input.uri.as_deref().unwrap_or("/"), input.version.as_deref().unwrap_or("HTTP/1.1"));
    bytes.extend_from_slice(format!("{method} {uri} {version}\r\n").as_bytes());
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

type Headers = Vec<(String, String)>;

fn headers(input: &Input) -> Headers {
    if let Some(ordered) = &input.ordered_headers {
        return ordered.iter().map(|header| (header.name.clone(), header.value.clone())).collect();
    }
    let mut headers = input.headers.clone().unwrap_or_default().0;
    headers.sort();
    headers
}

/// The body as it goes out. Where fields are completed, a body without a type is a form.
fn body(input: &Input, headers: &mut Headers) -> Result<Vec<u8>, BuildError> {
    let mut body = written(input)?;
    if !body.is_empty() && input.autocompletes() {
        if !has(headers, "Content-Type") {
            headers.push(("Content-Type".to_owned(), URLENCODED.to_owned()));
        }
        if any_type(headers, |value| value.eq_ignore_ascii_case(URLENCODED)) && is_plain(&body) {
            body = encoded(&body);
        }
    }
    if any_type(headers, |value| value.to_ascii_lowercase().contains("multipart/form-data;")) {
        body = with_crlf(&body);
    }
    Ok(body)
}

/// The body as the test has it.
fn written(input: &Input) -> Result<Vec<u8>, BuildError> {
    if let Some(data) = &input.data {
        return match template::fill(data) {
            Ok(data) => Ok(data.into_bytes()),
            Err(template::Fault::Unknown(beginning)) => Err(BuildError::Template { beginning }),
            Err(template::Fault::TooLarge) => Err(BuildError::TooLarge),
        };
    }
    let encoded = input.encoded_data.as_deref().unwrap_or_default();
    base64(encoded).ok_or(BuildError::Base64 { key: "encoded_data" })
}

/// Adds what a client says of its connection and of the length of its body.
fn complete(method: &str, body: &[u8], headers: &mut Headers) {
    if !has(headers, "Connection") {
        headers.push(("Connection".to_owned(), "close".to_owned()));
    }
    if !has(headers, "Content-Length") && (!body.is_empty() || takes_body(method)) {
        headers.push(("Content-Length".to_owned(), body.len().to_string()));
    }
}

/// `^POST|PUT|PATCH|DELETE$` as it is written: only the first alternative is held to the start, only the last to the
/// end.
fn takes_body(method: &str) -> bool {
    method.starts_with("POST")
        || method.contains("PUT")
        || method.contains("PATCH")
        || method.ends_with("DELETE")
}

fn has(headers: &Headers, name: &str) -> bool {
    headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
}

fn any_type(headers: &Headers, holds: impl Fn(&str) -> bool) -> bool {
    headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("Content-Type") && holds(value))
}

/// Whether decoding a form would change nothing. Every escape and every `+` decodes to something else, and what is
/// no escape does not decode at all.
fn is_plain(body: &[u8]) -> bool {
    !body.iter().any(|byte| matches!(byte, b'%' | b'+'))
}

/// A form with its names and values encoded. Of a name without a value the `=` is not made up, and what follows the
/// last `&` is left out if it is nothing.
fn encoded(body: &[u8]) -> Vec<u8> {
    let form = body.strip_suffix(b"&").unwrap_or(body);
    let mut encoded = Vec::with_capacity(form.len());
    for (place, pair) in form.split(|byte| *byte == b'&').enumerate() {
        if place > 0 {
            encoded.push(b'&');
        }
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        encode(parts.next().unwrap_or_default(), &mut encoded);
        if let Some(value) = parts.next() {
            encoded.push(b'=');
            encode(value, &mut encoded);
        }
    }
    encoded
}

fn encode(text: &[u8], encoded: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b' ' => encoded.push(b'+'),
            b'-' | b'_' | b'.' | b'~' => encoded.push(*byte),
            byte if byte.is_ascii_alphanumeric() => encoded.push(*byte),
            byte => encoded.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
}

/// Every LF becomes CRLF, those after a CR too.
fn with_crlf(body: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(body.len() + body.len() / 16);
    for byte in body {
        if *byte == b'\n' {
            lines.push(b'\r');
        }
        lines.push(*byte);
    }
    lines
}

/// Base64 with line breaks in it or without.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let letters: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    STANDARD.decode(letters).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::yaml;

    fn built(input: &str) -> Result<String, BuildError> {
        let input: Input = yaml::read(input).unwrap().unwrap();
        build(&input).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_stage_becomes_the_bytes_of_the_reference_runner() {
        for (name, input, want) in [
            ("nothing given", "{}", "GET / HTTP/1.1\r\nConnection: close\r\n\r\n"),
            ("nothing added", "autocomplete_headers: false", "GET / HTTP/1.1\r\n\r\n"),
            ("the older switch", "stop_magic: true", "GET / HTTP/1.1\r\n\r\n"),
            ("an empty version", "version: ''", "GET / \r\nConnection: close\r\n\r\n"),
            (
                "sorted by name, the method takes a body",
                "{method: POST, uri: /a, headers: {b: 1, Z: 2, connection: x}}",
                "POST /a HTTP/1.1\r\nZ: 2\r\nb: 1\r\nconnection: x\r\nContent-Length: 0\r\n\r\n",
            ),
            (
                "in the given order, twice too",
                "{ordered_headers: [{name: b, value: 1}, {name: A, value: 2}, {name: b, value: 3}], headers: {c: 1}}",
                "GET / HTTP/1.1\r\nb: 1\r\nA: 2\r\nb: 3\r\nConnection: close\r\n\r\n",
            ),
            (
                "a form by default, encoded",
                "{method: POST, data: 'a b=c/d=e&f&g=\u{e9}&'}",
                "POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\
                 Content-Length: 24\r\n\r\na+b=c%2Fd%3De&f&g=%C3%A9",
            ),
            (
                "encoded already",
                "{data: 'a=%41 b', headers: {Content-Type: application/x-www-form-urlencoded, Content-Length: 5}}",
                "GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                 Connection: close\r\n\r\na=%41 b",
            ),
            (
                "a form with a parameter is not encoded",
                "{data: 'a= b', headers: {Content-Type: application/x-www-form-urlencoded; charset=x}}",
                "GET / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded; charset=x\r\nConnection: close\r\n\
                 Content-Length: 4\r\n\r\na= b",
            ),
            (
                "parts get CRLF, whatever stood there",
                "{autocomplete_headers: false, data: \"a\\nb\\r\\nc\", headers: {content-type: Multipart/Form-Data; b}}",
                "GET / HTTP/1.1\r\ncontent-type: Multipart/Form-Data; b\r\n\r\na\r\nb\r\r\nc",
            ),
            (
                "a body in Base64",
                "{autocomplete_headers: false, encoded_data: YQ==}",
                "GET / HTTP/1.1\r\n\r\na",
            ),
            ("a whole request", "{uri: /x, encoded_request: \"R0VU\\nIA==\\n\"}", "GET "),
        ] {
            assert_eq!(built(input).as_deref(), Ok(want), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_built_is_said() {
        for (name, input, want) in [
            ("not Base64", "encoded_request: '*'", BuildError::Base64 { key: "encoded_request" }),
            ("nor the body", "encoded_data: a", BuildError::Base64 { key: "encoded_data" }),
            ("a template", "data: '{{x}}'", BuildError::Template { beginning: "x".to_owned() }),
            ("a huge one", r#"data: '{{ "x" | repeat 99999999 }}'"#, BuildError::TooLarge),
            ("a redirect", "follow_redirect: true", BuildError::FollowRedirect),
        ] {
            assert_eq!(built(input), Err(want), "{name}");
        }
    }

    #[test]
    fn a_method_takes_a_body_as_the_loose_expression_has_it() {
        for (method, want) in [
            ("POST", true),
            ("POSTED", true),
            ("XPOST", false),
            ("XPUTX", true),
            ("XPATCHX", true),
            ("XDELETE", true),
            ("DELETEX", false),
            ("get", false),
        ] {
            assert_eq!(takes_body(method), want, "{method}");
        }
    }

    #[test]
    fn a_destination_has_defaults() {
        let want = Destination { host: "127.0.0.1".to_owned(), port: 80, is_tls: false };
        assert_eq!(destination(&Input::default()), want);
        let input: Input = yaml::read("{dest_addr: ::1, port: 8443, protocol: HTTPS}").unwrap().unwrap();
        let want = Destination { host: "::1".to_owned(), port: 8443, is_tls: true };
        assert_eq!(destination(&input), want);
    }

    proptest! { #[test]
        fn encoding_twice_is_encoding_once(form in proptest::collection::vec(any::<u8>(), 0..60)) {
            let once = encoded(&form);
            prop_assert!(once.iter().all(|byte| byte.is_ascii_graphic()));
            if is_plain(&once) {
                prop_assert_eq!(encoded(&once), once.strip_suffix(b"&").unwrap_or(&once).to_vec());
            }
        }
    }
}
