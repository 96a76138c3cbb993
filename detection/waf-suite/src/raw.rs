// SPDX-License-Identifier: Apache-2.0
//! A request as a server reads it: line, fields and body, out of bytes that may break every rule. The reader is
//! tolerant, so that an engine can be asked about requests that our own server would never hand on, and says what a
//! server has against them.

/// A request, read as far as it can be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawRequest {
    /// The request line as it came, without its end.
    pub line: Vec<u8>,
    /// The first word of the line.
    pub method: Vec<u8>,
    /// What stands between the first word and the last: blanks too, where a target has some.
    pub uri: Vec<u8>,
    /// The last word of the line. Empty, where there are two words only.
    pub version: Vec<u8>,
    /// Names as they came and values without the blanks around them, in their order, those that come twice too.
    /// Where the body is chunked there is no `Content-Length`: a proxy must take it out (RFC 9112, 6.3).
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body: without the frame of chunks, or as much as `Content-Length` says. Empty without either.
    pub body: Vec<u8>,
    /// Whether the body came to its end.
    pub body_is_whole: bool,
    /// How many bytes follow that do not belong to the request.
    pub bytes_left: usize,
    /// The first thing that makes a server answer by itself, if any.
    pub refusal: Option<Refusal>,
}

/// Why a server answers by itself, and never asks an engine or a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The head has no end: a server waits for more.
    HeadUnfinished,
    /// The line begins with a blank, or a target has blanks in it.
    RequestLine,
    /// The method is not a token.
    Method,
    /// The line has no version.
    VersionMissing,
    /// The version is not `HTTP/` and digits, or is before 1.0.
    VersionMalformed,
    /// The version is 2 or above.
    VersionUnsupported,
    /// The target is neither a path nor an absolute URI nor what the method allows, or holds `#` or a control.
    Target,
    /// A CR stands alone in a line of the head.
    BareCr,
    /// A line of the head has no colon, or continues the line before.
    HeaderLine,
    /// A field's name is not a token.
    HeaderName,
    /// A field's value holds a control.
    HeaderValue,
    /// HTTP/1.1 without `Host`.
    HostMissing,
    /// `Host` more than once.
    HostRepeated,
    /// `Host` is no name or address.
    HostMalformed,
    /// `Content-Length` is not one number.
    ContentLength,
    /// `Content-Length` beside `Transfer-Encoding`.
    TwoFramings,
    /// A transfer coding other than `chunked`.
    TransferCoding,
    /// The frame of a chunk is broken.
    Chunk,
}

impl Refusal {
    /// The status that a server answers with.
    pub fn status(self) -> u16 {
        match self {
            Self::HeadUnfinished => 408,
            Self::TransferCoding => 501,
            Self::VersionUnsupported => 505,
            _ => 400,
        }
    }
}

/// Reads one request. Takes time in proportion to the bytes, keeps no more than they are, and never fails.
pub fn read(bytes: &[u8]) -> RawRequest {
    let mut request = RawRequest { body_is_whole: true, ..RawRequest::default() };
    let mut rest = bytes;
    while let Some(after) = rest.strip_prefix(b"\r\n") {
        rest = after;
    }
    let Some((line, after)) = next_line(rest) else {
        request.refuse(Refusal::HeadUnfinished);
        request.take_line(rest);
        return request;
    };
    request.take_line(line);
    rest = request.take_fields(after);
    request.check_host();
    request.take_body(rest);
    request
}

impl RawRequest {
    /// The value of the first field of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.values(name.as_bytes()).next()
    }

    fn values<'a>(&'a self, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
        let named = self.headers.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_slice())
    }

    /// Keeps the first refusal.
    fn refuse(&mut self, refusal: Refusal) {
        self.refusal.get_or_insert(refusal);
    }

    fn take_line(&mut self, line: &[u8]) {
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        self.line = line.to_vec();
        let start = line.iter().position(|byte| !is_blank(byte)).unwrap_or(line.len());
        let (method, rest) = split_at_first(line.get(start..).unwrap_or_default(), is_blank);
        let (uri, version) = match rest.iter().rposition(is_blank) {
            Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..).unwrap_or_default()),
            None => (rest, &[][..]),
        };
        (self.method, self.uri, self.version) = (method.to_vec(), uri.to_vec(), version.to_vec());
        if let Some(refusal) = line_refusal(start, method, uri, version) {
            self.refuse(refusal);
        }
    }

    /// Takes the fields, and gives what follows the head.
    fn take_fields<'a>(&mut self, mut rest: &'a [u8]) -> &'a [u8] {
        loop {
            let Some((line, after)) = next_line(rest) else {
                self.refuse(Refusal::HeadUnfinished);
                return &[];
            };
            rest = after;
            if line.is_empty() {
                return rest;
            }
            self.take_field(line);
        }
    }

    fn take_field(&mut self, line: &[u8]) {
        if line.contains(&b'\r') {
            self.refuse(Refusal::BareCr);
        }
        if matches!(line, [b' ' | b'\t', ..]) {
            self.refuse(Refusal::HeaderLine);
            if let Some((_, value)) = self.headers.last_mut() {
                value.push(b' ');
                value.extend_from_slice(line.trim_ascii());
            }
            return;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return self.refuse(Refusal::HeaderLine);
        };
        let (name, value) = line.split_at(colon);
        let value = trimmed(value.get(1..).unwrap_or_default());
        if name.is_empty() || !name.iter().copied().all(is_token) {
            self.refuse(Refusal::HeaderName);
        }
        if value.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
            self.refuse(Refusal::HeaderValue);
        }
        self.headers.push((name.to_vec(), value.to_vec()));
    }

    fn check_host(&mut self) {
        let refusal = {
            let mut hosts = self.values(b"Host");
            match (hosts.next(), hosts.next()) {
                (None, _) if self.version == b"HTTP/1.0" => None,
                (None, _) => Some(Refusal::HostMissing),
                (Some(_), Some(_)) => Some(Refusal::HostRepeated),
                // Before 1.1 the field says nothing of the request's place, and may be empty.
                (Some(b""), None) if self.version == b"HTTP/1.0" => None,
                (Some(host), None) => (!is_authority(host)).then_some(Refusal::HostMalformed),
            }
        };
        if let Some(refusal) = refusal {
            self.refuse(refusal);
        }
    }

    fn take_body(&mut self, rest: &[u8]) {
        let coding = self.values(b"Transfer-Encoding").last().map(<[u8]>::to_vec);
        let lengths: Vec<Option<usize>> = self.values(b"Content-Length").map(length).collect();
        match (coding, lengths.as_slice()) {
            (Some(coding), lengths) => {
                if !lengths.is_empty() {
                    self.refuse(Refusal::TwoFramings);
                }
                self.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(b"Content-Length"));
                self.take_coded(&coding, rest);
            }
            (None, []) => self.bytes_left = rest.len(),
            (None, [Some(length)]) => {
                let body = rest.get(..*length).unwrap_or(rest);
                self.body = body.to_vec();
                self.body_is_whole = body.len() == *length;
                self.bytes_left = rest.len() - body.len();
            }
            (None, _) => {
                self.refuse(Refusal::ContentLength);
                self.bytes_left = rest.len();
            }
        }
    }

    fn take_coded(&mut self, coding: &[u8], rest: &[u8]) {
        if !coding.eq_ignore_ascii_case(b"chunked") {
            self.refuse(Refusal::TransferCoding);
        }
        let last = coding.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
        if last.eq_ignore_ascii_case(b"chunked") {
            self.take_chunks(rest);
        } else {
            self.bytes_left = rest.len();
        }
    }

    fn take_chunks(&mut self, mut rest: &[u8]) {
        while let Some((line, after)) = next_line(rest) {
            let Some(size) = chunk_size(line) else {
                self.refuse(Refusal::Chunk);
                break;
            };
            if size == 0 {
                return self.skip_trailers(after);
            }
            let data = after.get(..size).unwrap_or(after);
            self.body.extend_from_slice(data);
            rest = after.get(data.len()..).unwrap_or_default();
            match next_line(rest) {
                Some(([], after)) => rest = after,
                Some(_) => {
                    self.refuse(Refusal::Chunk);
                    break;
                }
                None => break,
            }
        }
        self.body_is_whole = false;
    }

    fn skip_trailers(&mut self, mut rest: &[u8]) {
        while let Some((line, after)) = next_line(rest) {
            rest = after;
            if line.is_empty() {
                self.bytes_left = rest.len();
                return;
            }
        }
        self.body_is_whole = false;
    }
}

/// The next line without its LF and the CR before it, and what follows. None where no LF is left.
fn next_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = bytes.get(..end)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), bytes.get(end + 1..)?))
}

fn split_at_first(bytes: &[u8], is_end: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    match bytes.iter().position(is_end) {
        Some(at) => (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..).unwrap_or_default()),
        None => (bytes, &[]),
    }
}

fn line_refusal(start: usize, method: &[u8], uri: &[u8], version: &[u8]) -> Option<Refusal> {
    if [method, uri, version].iter().any(|part| part.contains(&b'\r')) {
        return Some(Refusal::BareCr);
    }
    if start > 0 || uri.iter().any(u8::is_ascii_whitespace) {
        return Some(Refusal::RequestLine);
    }
    if method.is_empty() || !method.iter().copied().all(is_token) {
        return Some(Refusal::Method);
    }
    if let Some(refusal) = version_refusal(version) {
        return Some(refusal);
    }
    (!is_target(method, uri)).then_some(Refusal::Target)
}

fn version_refusal(version: &[u8]) -> Option<Refusal> {
    if version.is_empty() {
        return Some(Refusal::VersionMissing);
    }
    let digits = version.strip_prefix(b"HTTP/").unwrap_or_default();
    match digits {
        b"1.0" | b"1.1" => None,
        [b'2'..=b'9'] | [b'2'..=b'9', b'.', b'0'..=b'9'] => Some(Refusal::VersionUnsupported),
        _ => Some(Refusal::VersionMalformed),
    }
}

fn is_target(method: &[u8], uri: &[u8]) -> bool {
    if uri.iter().any(|byte| *byte <= b' ' || matches!(byte, 0x7f | b'#')) {
        return false;
    }
    match uri {
        [b'/', ..] => method != b"CONNECT",
        b"*" => method == b"OPTIONS",
        _ if method == b"CONNECT" => is_authority(uri) && has_port(uri),
        _ => absolute_authority(uri).is_some_and(is_authority),
    }
}

fn absolute_authority(uri: &[u8]) -> Option<&[u8]> {
    let scheme = |scheme: &[u8]| {
        uri.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme))?;
        uri.get(scheme.len()..)
    };
    let rest = scheme(b"http://").or_else(|| scheme(b"https://"))?;
    Some(split_at_first(rest, |byte| matches!(byte, b'/' | b'?')).0)
}

/// A name or an address, perhaps with a port.
fn is_authority(host: &[u8]) -> bool {
    let is_in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let is_in_address = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
    let (is_name, port) = match host.strip_prefix(b"[") {
        Some(inside) => {
            let (address, port) = split_at_first(inside, |byte| *byte == b']');
            (!address.is_empty() && inside.contains(&b']') && address.iter().all(is_in_address), port)
        }
        None => {
            let end = host.iter().position(|byte| *byte == b':').unwrap_or(host.len());
            let (name, port) = host.split_at(end);
            (!name.is_empty() && name.iter().all(is_in_name), port)
        }
    };
    is_name && matches!(port, [] | [b':', ..]) && port.iter().skip(1).all(u8::is_ascii_digit)
}

fn has_port(authority: &[u8]) -> bool {
    let digits = authority.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && authority.iter().rev().nth(digits) == Some(&b':')
}

fn length(value: &[u8]) -> Option<usize> {
    let digits =
        std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

/// A chunk's size, without what is said of it after `;`.
fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = split_at_first(line, |byte| *byte == b';').0.trim_ascii();
    let digits = std::str::from_utf8(digits).ok()?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    usize::from_str_radix(digits, 16).ok()
}

fn trimmed(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_blank(byte)).map_or(start, |at| at + 1);
    value.get(start..end).unwrap_or_default()
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_has_three_words_whatever_stands_there() {
        for (name, line, want, refusal) in [
            ("plain", "GET /a HTTP/1.1", ["GET", "/a", "HTTP/1.1"], None),
            ("blanks in front", "  GET /a HTTP/1.1", ["GET", "/a", "HTTP/1.1"], Some(Refusal::RequestLine)),
            ("a tab in front", "\tGET /a HTTP/1.1", ["GET", "/a", "HTTP/1.1"], Some(Refusal::RequestLine)),
            (
                "blanks inside",
                "GET /a b c HTTP/1.1",
                ["GET", "/a b c", "HTTP/1.1"],
                Some(Refusal::RequestLine),
            ),
            ("an empty version", "GET / ", ["GET", "/", ""], Some(Refusal::VersionMissing)),
            ("two words", "GET /", ["GET", "/", ""], Some(Refusal::VersionMissing)),
            ("one word", "GET", ["GET", "", ""], Some(Refusal::VersionMissing)),
            ("no HTTP", "GET / 1.1", ["GET", "/", "1.1"], Some(Refusal::VersionMalformed)),
            ("too old", "GET / HTTP/0.9", ["GET", "/", "HTTP/0.9"], Some(Refusal::VersionMalformed)),
            ("too new", "GET / HTTP/4.0", ["GET", "/", "HTTP/4.0"], Some(Refusal::VersionUnsupported)),
            ("too new and short", "GET / HTTP/2", ["GET", "/", "HTTP/2"], Some(Refusal::VersionUnsupported)),
            ("no token", "G(T / HTTP/1.1", ["G(T", "/", "HTTP/1.1"], Some(Refusal::Method)),
            ("an odd token", "|GET / HTTP/1.1", ["|GET", "/", "HTTP/1.1"], None),
            ("no path", "GET a HTTP/1.1", ["GET", "a", "HTTP/1.1"], Some(Refusal::Target)),
            ("a fragment", "GET /#a HTTP/1.1", ["GET", "/#a", "HTTP/1.1"], Some(Refusal::Target)),
            ("absolute", "GET http://h/a HTTP/1.1", ["GET", "http://h/a", "HTTP/1.1"], None),
            ("a star", "OPTIONS * HTTP/1.1", ["OPTIONS", "*", "HTTP/1.1"], None),
            ("a star for all", "GET * HTTP/1.1", ["GET", "*", "HTTP/1.1"], Some(Refusal::Target)),
            ("an authority", "CONNECT h:80 HTTP/1.1", ["CONNECT", "h:80", "HTTP/1.1"], None),
            ("without a port", "CONNECT h HTTP/1.1", ["CONNECT", "h", "HTTP/1.1"], Some(Refusal::Target)),
            ("a bare CR", "GET /\ra HTTP/1.1", ["GET", "/\ra", "HTTP/1.1"], Some(Refusal::BareCr)),
        ] {
            let request = read(format!("{line}\r\nHost: h\r\n\r\n").as_bytes());
            let words = [&request.method, &request.uri, &request.version].map(|word| text(word));
            assert_eq!((words, request.refusal), (want, refusal), "{name}");
            assert_eq!(text(&request.line), line, "{name}");
        }
    }

    #[test]
    fn fields_keep_their_order_and_what_a_server_has_against_them_is_said() {
        for (name, fields, want, refusal) in [
            ("twice", "Host: h\r\nB: 1\r\nb:2\r\n", "Host=h B=1 b=2", None),
            ("blanks around", "Host: \t h \t\r\n", "Host=h", None),
            ("bare LF ends a line", "Host: h\nA: 1\n", "Host=h A=1", None),
            ("no host", "A: 1\r\n", "A=1", Some(Refusal::HostMissing)),
            ("two hosts", "Host: h\r\nhost: h\r\n", "Host=h host=h", Some(Refusal::HostRepeated)),
            ("no name", "Host: a%00\r\n", "Host=a%00", Some(Refusal::HostMalformed)),
            ("empty host", "Host:\r\n", "Host=", Some(Refusal::HostMalformed)),
            ("address and port", "Host: [::1]:80\r\n", "Host=[::1]:80", None),
            ("an open bracket", "Host: [::1\r\n", "Host=[::1", Some(Refusal::HostMalformed)),
            ("bare CR", "Host: h\r\nA: b\rC: d\r\n", "Host=h A=b\rC: d", Some(Refusal::BareCr)),
            ("no colon", "Host: h\r\nA\r\n", "Host=h", Some(Refusal::HeaderLine)),
            ("folded", "Host: h\r\nA: b\r\n  c\r\n", "Host=h A=b c", Some(Refusal::HeaderLine)),
            ("a blank in a name", "Host: h\r\nA : b\r\n", "Host=h A =b", Some(Refusal::HeaderName)),
            ("a control", "Host: h\r\nA: \u{1}\r\n", "Host=h A=\u{1}", Some(Refusal::HeaderValue)),
        ] {
            let request = read(format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes());
            let pairs = request.headers.iter().map(|(name, value)| format!("{}={}", text(name), text(value)));
            assert_eq!(pairs.collect::<Vec<_>>().join(" "), want, "{name}");
            assert_eq!(request.refusal, refusal, "{name}");
        }
        let request = read(b"\r\nGET / HTTP/1.0\r\nhost:\r\n\r\n");
        assert_eq!((request.refusal, request.header("Host")), (None, Some(&b""[..])));
        assert_eq!(read(b"GET / HTTP/1.1\r\nHost: h\r\n").refusal, Some(Refusal::HeadUnfinished));
        assert_eq!(read(b"").refusal, Some(Refusal::HeadUnfinished));
    }

    #[test]
    fn a_body_is_what_its_framing_says() {
        for (name, fields, sent, body, is_whole, left, refusal) in [
            ("none", "", "abc", "", true, 3, None),
            ("a length", "Content-Length: 2\r\n", "abc", "ab", true, 1, None),
            ("too short", "Content-Length: 5\r\n", "abc", "abc", false, 0, None),
            ("no number", "Content-Length: 3x\r\n", "abc", "", true, 3, Some(Refusal::ContentLength)),
            ("empty", "Content-Length:\r\n", "abc", "", true, 3, Some(Refusal::ContentLength)),
            ("a sign", "Content-Length: +3\r\n", "abc", "", true, 3, Some(Refusal::ContentLength)),
            (
                "two lengths",
                "Content-Length: 1\r\nContent-Length: 1\r\n",
                "abc",
                "",
                true,
                3,
                Some(Refusal::ContentLength),
            ),
            (
                "chunks",
                "Transfer-Encoding: Chunked\r\n",
                "3;x=y\r\nHi \r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\nrest",
                "Hi 0123456789",
                true,
                4,
                None,
            ),
            ("a chunk cut", "Transfer-Encoding: chunked\r\n", "5\r\nab", "ab", false, 0, None),
            ("no chunk", "Transfer-Encoding: chunked\r\n", "x\r\nab", "", false, 0, Some(Refusal::Chunk)),
            (
                "a chunk too long",
                "Transfer-Encoding: chunked\r\n",
                "1\r\nabc\r\n",
                "a",
                false,
                0,
                Some(Refusal::Chunk),
            ),
            ("no last chunk", "Transfer-Encoding: chunked\r\n", "1\r\na\r\n0\r\n", "a", false, 0, None),
            (
                "another coding",
                "Transfer-Encoding: gzip\r\n",
                "abc",
                "",
                true,
                3,
                Some(Refusal::TransferCoding),
            ),
            (
                "both",
                "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
                "1\r\na\r\n0\r\n\r\n",
                "a",
                true,
                0,
                Some(Refusal::TwoFramings),
            ),
        ] {
            let request = read(format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n{sent}").as_bytes());
            assert_eq!(text(&request.body), body, "{name}");
            assert_eq!((request.body_is_whole, request.bytes_left), (is_whole, left), "{name}");
            assert_eq!(request.refusal, refusal, "{name}");
            let has_both = request.header("Content-Length").is_some() && name == "both";
            assert!(!has_both, "{name}: a length beside chunks is taken out");
        }
    }

    #[test]
    fn a_refusal_has_the_status_of_a_server() {
        assert_eq!(Refusal::BareCr.status(), 400);
        assert_eq!(Refusal::VersionUnsupported.status(), 505);
        assert_eq!(Refusal::TransferCoding.status(), 501);
        assert_eq!(Refusal::HeadUnfinished.status(), 408);
    }

    fn odd_bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                &b"\r\n"[..],
                b"\n",
                b"\r",
                b" ",
                b":",
                b"GET / HTTP/1.1\r\n",
                b"Host: h\r\n",
                b"Content-Length: 3\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"3\r\nabc\r\n",
                b"ffffffffffffffff\r\n",
                b"0\r\n",
            ])
            .prop_map(<[u8]>::to_vec),
            prop::collection::vec(any::<u8>(), 0..6),
        ];
        prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
    }

    proptest! { #[test]
        fn no_bytes_make_it_panic_or_keep_more_than_came(bytes in odd_bytes()) {
            let request = read(&bytes);
            let fields: usize = request.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
            prop_assert!(request.line.len() + fields + request.body.len() + request.bytes_left <= bytes.len());
        }
    }

    proptest! { #[test]
        fn what_is_well_formed_is_read_back(
            method in "[A-Z]{1,8}",
            path in "/[!-\"$-~]{0,20}",
            fields in prop::collection::vec(("[A-Za-z_.-]{1,10}X", "([!-~]([ -~]{0,10}[!-~])?)?"), 0..5),
            body in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            prop_assume!(method != "CONNECT");
            let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n").into_bytes();
            for (name, value) in &fields {
                bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
            bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
            bytes.extend_from_slice(&body);
            let request = read(&bytes);
            prop_assert_eq!(request.refusal, None);
            prop_assert_eq!((text(&request.method), text(&request.uri)), (method.as_str(), path.as_str()));
            let pairs: Vec<_> = request.headers.iter().map(|(name, value)| (text(name), text(value))).collect();
            let length = body.len().to_string();
            let mut want = vec![("Host", "h")];
            want.extend(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            want.push(("Content-Length", length.as_str()));
            prop_assert_eq!(pairs, want);
            prop_assert_eq!(&request.body, &body);
            prop_assert!(request.body_is_whole);
        }
    }
}
