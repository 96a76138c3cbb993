// SPDX-License-Identifier: Apache-2.0
//! The response to a request that found a file.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderValue, LAST_MODIFIED, RANGE, VARY,
};
use http::{Method, Response, StatusCode};

use crate::body::{FileBody, Piece};
use crate::caching::cache_control;
use crate::conditional::{Condition, Validators};
use crate::media_type::media_type;
use crate::open::RegularFile;
use crate::range::{Selection, select};
use crate::root::Precompressed;

/// A file that a path found, in the coding chosen for the client.
#[derive(Debug)]
pub struct Found {
    file: Arc<File>,
    len: u64,
    modified: SystemTime,
    content_type: &'static str,
    cache_control: &'static str,
    coding: Option<Precompressed>,
    /// Whether another client would get another coding.
    varies: bool,
}

impl Found {
    /// `name` is the file's own name, not its sibling's: it tells the type and how long it may be kept.
    pub(crate) fn new(name: &str, file: RegularFile, coding: Option<Precompressed>, varies: bool) -> Self {
        Self {
            file: Arc::new(file.file),
            len: file.len,
            modified: file.modified,
            content_type: media_type(name),
            cache_control: cache_control(name),
            coding,
            varies,
        }
    }

    /// Bytes of the file in the chosen coding.
    pub fn size_bytes(&self) -> u64 {
        self.len
    }

    /// The coding of the chosen sibling; none for the file itself.
    pub fn coding(&self) -> Option<Precompressed> {
        self.coding
    }

    /// Answers a GET or HEAD with 200, 206, 304, 412 or 416, and any other method with 405. An error means
    /// that the file could not be read: answer 500. Small bodies are read here, larger ones as the client
    /// takes them ([`FileBody`]).
    pub fn respond(self, method: &Method, headers: &HeaderMap) -> io::Result<Response<FileBody>> {
        if method != Method::GET && method != Method::HEAD {
            let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(response);
        }
        let variant = self.coding.map_or_else(String::new, |coding| format!("-{}", coding.name()));
        let validators = Validators::new(self.len, self.modified, &variant);
        let mut response = match validators.check(headers) {
            Condition::Failed => empty(StatusCode::PRECONDITION_FAILED),
            Condition::NotModified => empty(StatusCode::NOT_MODIFIED),
            Condition::Holds if method == Method::HEAD => self.head(),
            Condition::Holds => self.get(select_for(&validators, headers, self.len))?,
        };
        self.describe(&validators, &mut response);
        Ok(response)
    }

    fn head(&self) -> Response<FileBody> {
        let mut response = empty(StatusCode::OK);
        self.describe_content(self.len, HeaderValue::from_static(self.content_type), &mut response);
        response
    }

    fn get(&self, selection: Selection) -> io::Result<Response<FileBody>> {
        let in_file = |range| Piece::InFile(Arc::clone(&self.file), range);
        let content_type = HeaderValue::from_static(self.content_type);
        let (status, content_type, content_range, pieces) = match selection {
            Selection::Unsatisfiable => {
                let mut response = empty(StatusCode::RANGE_NOT_SATISFIABLE);
                response.headers_mut().insert(CONTENT_RANGE, header(format!("bytes */{}", self.len)));
                return Ok(response);
            }
            Selection::Whole => (StatusCode::OK, content_type, None, vec![in_file(0..self.len)]),
            Selection::Parts(parts) => match parts.as_slice() {
                [part] => {
                    let range = Some(header(self.content_range(part)));
                    (StatusCode::PARTIAL_CONTENT, content_type, range, vec![in_file(part.clone())])
                }
                parts => {
                    let boundary = boundary();
                    let content_type = header(format!("multipart/byteranges; boundary={boundary}"));
                    let pieces = self.multipart(parts, &boundary);
                    (StatusCode::PARTIAL_CONTENT, content_type, None, pieces)
                }
            },
        };
        let len = pieces.iter().map(Piece::len).sum();
        let mut response = Response::new(FileBody::new(pieces)?);
        *response.status_mut() = status;
        self.describe_content(len, content_type, &mut response);
        if let Some(range) = content_range {
            response.headers_mut().insert(CONTENT_RANGE, range);
        }
        Ok(response)
    }

    /// The parts as RFC 9110, section 14.6, wants them.
    fn multipart(&self, parts: &[Range<u64>], boundary: &str) -> Vec<Piece> {
        let mut pieces = Vec::with_capacity(parts.len() * 2 + 1);
        for (index, part) in parts.iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\r\n" };
            let (content_type, range) = (self.content_type, self.content_range(part));
            let head = format!(
                "{line_end}--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {range}\r\n\r\n"
            );
            pieces.push(Piece::Ready(Bytes::from(head)));
            pieces.push(Piece::InFile(Arc::clone(&self.file), part.clone()));
        }
        pieces.push(Piece::Ready(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
        pieces
    }

    /// `part` is never empty, so that its last byte exists.
    fn content_range(&self, part: &Range<u64>) -> String {
        format!("bytes {}-{}/{}", part.start, part.end.saturating_sub(1), self.len)
    }

    /// Headers of answers that have content, or would have but for HEAD.
    fn describe_content(&self, len: u64, content_type: HeaderValue, response: &mut Response<FileBody>) {
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
        if let Some(coding) = self.coding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        }
    }

    /// Headers that every answer carries, 304 among them: caches take them from there. How long to keep
    /// an answer is said only of the file itself, not of a refused precondition or range.
    fn describe(&self, validators: &Validators, response: &mut Response<FileBody>) {
        let refused = response.status().is_client_error();
        let headers = response.headers_mut();
        headers.insert(ETAG, header(validators.etag.clone()));
        if let Some(modified) = validators.modified {
            // An origin must not send a date later than its own; a file from the future is from now.
            let modified = modified.min(SystemTime::now());
            headers.insert(LAST_MODIFIED, header(httpdate::fmt_http_date(modified)));
        }
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if !refused {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(self.cache_control));
        }
        if self.varies {
            headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
    }
}

fn empty(status: StatusCode) -> Response<FileBody> {
    let mut response = Response::new(FileBody::empty());
    *response.status_mut() = status;
    response
}

/// More than one `Range` line is malformed, and ignored like other malformed ones.
fn select_for(validators: &Validators, headers: &HeaderMap, len: u64) -> Selection {
    let mut values = headers.get_all(RANGE).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if validators.range_applies(headers) => select(value.as_bytes(), len),
        _ => Selection::Whole,
    }
}

/// Not to be guessed by whoever wrote the file, so that no file holds a forged part.
fn boundary() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

fn header(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("numbers, dates and quotes are header text")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE};
    use http_body_util::BodyExt;

    use super::*;
    use crate::root::{Lookup, StaticRoot};
    use crate::testing::TempDir;

    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const CONTENT: &[u8] = b"0123456789";

    fn site() -> TempDir {
        let directory = TempDir::new();
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        directory.write_at("a.txt", CONTENT, modified);
        directory.write_at("app.3f2a9c.js", CONTENT, modified);
        directory.write_at("app.3f2a9c.js.br", b"packed", modified);
        directory.write_at("empty.css", b"", modified);
        directory
    }

    fn answer(
        path: &str,
        accepts: &[&str],
        method: Method,
        headers: &HeaderMap,
    ) -> (Response<FileBody>, String) {
        let directory = site();
        let root = StaticRoot::open(&directory.path(""), None).unwrap();
        let Lookup::Found(found) = root.find(path, accepts.iter().copied()) else {
            panic!("{path} is absent")
        };
        let mut response = found.respond(&method, headers).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut text = String::new();
        while let Some(frame) = runtime.block_on(response.body_mut().frame()) {
            text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
        }
        (response, text)
    }

    fn get(path: &str, pairs: &[(http::HeaderName, &str)]) -> (Response<FileBody>, String) {
        let headers =
            pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
        answer(path, &[], Method::GET, &headers)
    }

    fn value<'a>(response: &'a Response<FileBody>, name: &http::HeaderName) -> &'a str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[test]
    fn a_file_is_sent_whole_and_described() {
        let (response, text) = get("/a.txt", &[]);
        assert_eq!((response.status(), text.as_bytes()), (StatusCode::OK, CONTENT));
        for (name, want) in [
            (CONTENT_TYPE, "text/plain; charset=utf-8"),
            (CONTENT_LENGTH, "10"),
            (LAST_MODIFIED, MODIFIED),
            (ETAG, "\"a-2ebc98a1.0\""),
            (ACCEPT_RANGES, "bytes"),
            (CACHE_CONTROL, "no-cache"),
            (VARY, ""),
            (CONTENT_ENCODING, ""),
        ] {
            assert_eq!(value(&response, &name), want, "{name}");
        }
        let (response, text) = get("/empty.css", &[]);
        assert_eq!((value(&response, &CONTENT_LENGTH), text.as_str()), ("0", ""));
    }

    #[test]
    fn head_describes_and_sends_nothing() {
        let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-1"))]);
        let (response, text) = answer("/a.txt", &[], Method::HEAD, &headers);
        assert_eq!((response.status(), text.as_str()), (StatusCode::OK, ""));
        assert_eq!(value(&response, &CONTENT_LENGTH), "10");
        let (response, _) = answer("/a.txt", &[], Method::POST, &headers);
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn a_sibling_is_the_same_file_in_another_coding() {
        let (response, text) = answer("/app.3f2a9c.js", &["gzip", "br"], Method::GET, &HeaderMap::new());
        assert_eq!((response.status(), text.as_str()), (StatusCode::OK, "packed"));
        for (name, want) in [
            (CONTENT_TYPE, "text/javascript; charset=utf-8"),
            (CONTENT_ENCODING, "br"),
            (CONTENT_LENGTH, "6"),
            (ETAG, "\"6-2ebc98a1.0-br\""),
            (VARY, "accept-encoding"),
            (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        ] {
            assert_eq!(value(&response, &name), want, "{name}");
        }
        let (response, text) = answer("/app.3f2a9c.js", &[], Method::GET, &HeaderMap::new());
        assert_eq!((value(&response, &VARY), text.as_bytes()), ("accept-encoding", CONTENT));
    }

    #[test]
    fn preconditions_give_304_and_412() {
        let (response, text) = get("/app.3f2a9c.js", &[(IF_NONE_MATCH, "*"), (RANGE, "bytes=0-1")]);
        assert_eq!((response.status(), text.as_str()), (StatusCode::NOT_MODIFIED, ""));
        assert!(!value(&response, &ETAG).is_empty() && !value(&response, &VARY).is_empty());
        assert!(!response.headers().contains_key(CONTENT_LENGTH));
        let (response, text) = get("/a.txt", &[(IF_MATCH, "\"x\"")]);
        assert_eq!((response.status(), text.as_str()), (StatusCode::PRECONDITION_FAILED, ""));
        assert!(!response.headers().contains_key(CACHE_CONTROL));
    }

    #[test]
    fn ranges_give_206_and_416() {
        for (name, range, if_range, status, content_range, want) in [
            ("first", "bytes=0-2", None, 206, "bytes 0-2/10", "012"),
            ("suffix", "bytes=-2", None, 206, "bytes 8-9/10", "89"),
            ("joined", "bytes=0-4,2-9", None, 206, "bytes 0-9/10", "0123456789"),
            ("malformed", "bytes=x", None, 200, "", "0123456789"),
            ("past the end", "bytes=10-", None, 416, "bytes */10", ""),
            ("same tag", "bytes=0-0", Some("\"a-2ebc98a1.0\""), 206, "bytes 0-0/10", "0"),
            ("same date", "bytes=0-0", Some(MODIFIED), 206, "bytes 0-0/10", "0"),
            ("other tag", "bytes=0-0", Some("\"x\""), 200, "", "0123456789"),
            ("other tag, past the end", "bytes=10-", Some("\"x\""), 200, "", "0123456789"),
        ] {
            let mut pairs = vec![(RANGE, range)];
            pairs.extend(if_range.map(|tag| (IF_RANGE, tag)));
            let (response, text) = get("/a.txt", &pairs);
            assert_eq!((response.status().as_u16(), text.as_str()), (status, want), "{name}");
            assert_eq!(value(&response, &CONTENT_RANGE), content_range, "{name}");
            assert!(text.is_empty() || value(&response, &CONTENT_LENGTH) == text.len().to_string(), "{name}");
        }
    }

    #[test]
    fn several_ranges_are_parts_of_one_body() {
        let (response, text) = get("/a.txt", &[(RANGE, "bytes=7-,0-1")]);
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
        let boundary =
            value(&response, &CONTENT_TYPE).strip_prefix("multipart/byteranges; boundary=").unwrap();
        let want = format!(
            "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 7-9/10\r\n\r\n789\r\n\
             --{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n\
             --{boundary}--\r\n"
        );
        assert_eq!(text, want);
        assert_eq!(value(&response, &CONTENT_LENGTH), want.len().to_string());
        assert!(!response.headers().contains_key(CONTENT_RANGE));
    }
}
