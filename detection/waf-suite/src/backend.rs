// SPDX-License-Identifier: Apache-2.0
//! The server that a suite needs behind the firewall: it answers every request with an empty 200, and
//! `POST /reflect` with what the request's body asks for. Its answers are `albedo`'s, the suite's own backend.

use serde::Deserialize;

use crate::format::Fields;
use crate::request;

/// What the backend answers. The transport adds the length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The fields, in the order in which they were asked for. Without a type of its own, a body gets one by its
    /// first bytes: engines look at bodies of some types only.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What a body asks for. Other keys are passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wish {
    status: Option<i64>,
    headers: Option<Fields>,
    body: Option<String>,
    encoded_body: Option<String>,
    #[serde(rename = "logMessage")]
    _log_message: Option<String>,
}

/// Answers a request. The target may have a query; the request's fields do not matter.
pub fn answer(method: &[u8], target: &[u8], body: &[u8]) -> Answer {
    let path = target.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    let is_reflection = path == b"/reflect" || path.starts_with(b"/reflect/");
    if method != b"POST" || !is_reflection {
        return Answer { status: 200, headers: Vec::new(), body: Vec::new() };
    }
    // What is no text becomes text, as JSON readers that take bytes do it.
    match serde_json::from_str::<Wish>(&String::from_utf8_lossy(body)) {
        Ok(wish) => wish.answer(),
        Err(_) => Answer::new(400, Vec::new(), b"Invalid JSON in request body".to_vec()),
    }
}

impl Wish {
    fn answer(self) -> Answer {
        let headers = self.headers.unwrap_or_default().0;
        let status = self.status.filter(|status| *status != 0).unwrap_or(200);
        let Some(status) = u16::try_from(status).ok().filter(|status| (100..600).contains(status)) else {
            return Answer::new(400, headers, format!("Invalid status code: {status}").into_bytes());
        };
        let plain = self.body.filter(|body| !body.is_empty()).map(String::into_bytes);
        let encoded = || request::base64(&self.encoded_body.unwrap_or_default());
        let body = plain.or_else(encoded);
        Answer::new(
            status,
            headers,
            body.unwrap_or_else(|| b"invalid base64 encoding of response body".to_vec()),
        )
    }
}

impl Answer {
    fn new(status: u16, mut headers: Vec<(String, String)>, body: Vec<u8>) -> Self {
        let says = |names: &[&str]| {
            headers.iter().any(|(name, _)| names.iter().any(|wanted| name.eq_ignore_ascii_case(wanted)))
        };
        if !body.is_empty() && !says(&["Content-Type", "Content-Encoding", "Transfer-Encoding"]) {
            headers.push(("Content-Type".to_owned(), kind(&body).to_owned()));
        }
        Self { status, headers, body }
    }
}

/// How far a type is looked for.
const LOOKED_AT: usize = 512;

const HTML_TAGS: &[&str] = &[
    "<!DOCTYPE HTML",
    "<HTML",
    "<HEAD",
    "<SCRIPT",
    "<IFRAME",
    "<H1",
    "<DIV",
    "<FONT",
    "<TABLE",
    "<A",
    "<STYLE",
    "<TITLE",
    "<B",
    "<BODY",
    "<BR",
    "<P",
    "<!--",
];

/// Beginnings of files that are no text. Those with zero bytes in them need no row.
const BINARY: &[(&[u8], &str)] = &[
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x1f\x8b\x08", "application/x-gzip"),
    (b"PK\x03\x04", "application/zip"),
];

/// A body's type by its first bytes: the part of the MIME sniffing standard that text and common files need.
fn kind(body: &[u8]) -> &'static str {
    let start = body.get(..LOOKED_AT).unwrap_or(body);
    let blanks = start.iter().take_while(|byte| matches!(byte, b'\t' | b'\n' | 0x0c | b'\r' | b' ')).count();
    let text = start.get(blanks..).unwrap_or_default();
    if HTML_TAGS.iter().any(|tag| begins_with_tag(text, tag)) {
        return "text/html; charset=utf-8";
    }
    if text.starts_with(b"<?xml") {
        return "text/xml; charset=utf-8";
    }
    if let Some((_, kind)) = BINARY.iter().find(|(beginning, _)| start.starts_with(beginning)) {
        return kind;
    }
    let is_binary = |byte: &u8| matches!(byte, 0..=0x08 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f);
    if start.iter().any(is_binary) { "application/octet-stream" } else { "text/plain; charset=utf-8" }
}

/// Whether a text begins with a tag, in any case, and the tag's name ends there. A comment needs no end.
fn begins_with_tag(text: &[u8], tag: &str) -> bool {
    let (Some(start), next) = (text.get(..tag.len()), text.get(tag.len())) else { return false };
    start.eq_ignore_ascii_case(tag.as_bytes()) && (tag == "<!--" || matches!(next, Some(b' ' | b'>')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn everything_else_is_an_empty_200() {
        let empty = Answer { status: 200, headers: Vec::new(), body: Vec::new() };
        for (method, target) in [
            ("GET", "/"),
            ("GET", "/reflect"),
            ("POST", "/reflected"),
            ("PUT", "/anything?x"),
            ("OPTIONS", "*"),
            ("", ""),
        ] {
            assert_eq!(answer(method.as_bytes(), target.as_bytes(), b"{\"status\": 500}"), empty, "{target}");
        }
    }

    #[test]
    fn a_reflection_is_what_the_body_asks_for() {
        let plain = "Content-Type=text/plain; charset=utf-8";
        for (name, wish, status, headers, body) in [
            ("nothing", "{}", 200, "", ""),
            ("a body", r#"{"body": "a\nb"}"#, 200, plain, "a\nb"),
            ("another key", r#"{"other": "x"}"#, 200, "", ""),
            ("status", r#"{"status": 503, "logMessage": "m"}"#, 503, "", ""),
            ("no status", r#"{"status": 0, "body": null}"#, 200, "", ""),
            ("fields in order", r#"{"headers": {"b": "1", "a": "2"}}"#, 200, "b=1 a=2", ""),
            (
                "a type of its own",
                r#"{"headers": {"content-type": "x/y"}, "body": "z"}"#,
                200,
                "content-type=x/y",
                "z",
            ),
            ("encoded", r#"{"encodedBody": "YWI="}"#, 200, plain, "ab"),
            ("plain goes first", r#"{"encodedBody": "YWI=", "body": "c"}"#, 200, plain, "c"),
            ("not Base64", r#"{"encodedBody": "*"}"#, 200, plain, "invalid base64 encoding of response body"),
            ("no status of HTTP", r#"{"status": 99}"#, 400, plain, "Invalid status code: 99"),
            ("below zero", r#"{"status": -1}"#, 400, plain, "Invalid status code: -1"),
            ("no JSON", "<%- x %>", 400, plain, "Invalid JSON in request body"),
            ("no JSON after it", "{} x", 400, plain, "Invalid JSON in request body"),
            ("not an object's shape", r#"{"body": 1}"#, 400, plain, "Invalid JSON in request body"),
        ] {
            let got = answer(b"POST", b"/reflect?a=b", wish.as_bytes());
            let pairs: Vec<_> = got.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!((got.status, pairs.join(" ").as_str()), (status, headers), "{name}");
            assert_eq!(String::from_utf8_lossy(&got.body), body, "{name}");
        }
    }

    #[test]
    fn a_body_without_a_type_gets_one_by_its_beginning() {
        for (body, want) in [
            (&b"<?php echo 1 ?>"[..], "text/plain; charset=utf-8"),
            (b" \n<htMl>", "text/html; charset=utf-8"),
            (b"<!doctype html>", "text/html; charset=utf-8"),
            (b"<htmlx", "text/plain; charset=utf-8"),
            (b"<b", "text/plain; charset=utf-8"),
            (b"<!--x", "text/html; charset=utf-8"),
            (b"\t<?xml ", "text/xml; charset=utf-8"),
            (b"%PDF-1", "application/pdf"),
            (b"\x1f\x8b\x08x", "application/x-gzip"),
            (b"a\x00", "application/octet-stream"),
            (b"\x1b[0m \xff", "text/plain; charset=utf-8"),
        ] {
            assert_eq!(kind(body), want, "{}", String::from_utf8_lossy(body));
        }
    }

    proptest! { #[test]
        fn no_request_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..64), text in "[{}\":a-z0-9]{0,40}") {
            for body in [body.as_slice(), text.as_bytes()] {
                let got = answer(b"POST", b"/reflect", body);
                prop_assert!((100..600).contains(&got.status));
            }
        }
    }
}
