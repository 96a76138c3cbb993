// SPDX-License-Identifier: Apache-2.0
//! The strict reading of an HTTP/1 request head (RFC 9112 §2 to §6).
//!
//! Most readers take more than is safe before a backend that may read the same bytes another way: both
//! framings at once, a length twice, bare line feeds, two hosts. What is ambiguous is refused here.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};

/// Bounds on a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes, blank line included.
    pub max_head_bytes: usize,
    /// Header lines.
    pub max_headers: usize,
    /// Bytes of the request's target.
    pub max_target_bytes: usize,
}

/// A head that is not taken: the status it gets, and why (for log and audit, not for the client).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: u16,
    /// For log and audit.
    pub why: &'static str,
    /// The request line as far as it came, for the audit record.
    pub line: String,
    /// `Accept`, if it came: the form of the error page.
    pub accept: Option<String>,
}

/// How the body behind a head is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// So many bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// A head that passed.
#[derive(Debug, PartialEq, Eq)]
pub struct CheckedHead<'a> {
    /// As sent.
    pub method: &'a [u8],
    /// As sent, or with its odd bytes percent-encoded ([`encoded_target`]).
    pub target: Cow<'a, [u8]>,
    /// It says HTTP/1.0.
    pub is_http_10: bool,
    /// The body behind it.
    pub framing: Framing,
    /// It asks to become something else: an upgrade.
    pub may_upgrade: bool,
    /// The connection ends with this request: `Connection: close`, or HTTP/1.0 without `keep-alive`.
    pub closes: bool,
    /// `Expect: 100-continue`, in HTTP/1.1.
    pub expects_continue: bool,
    /// `TE: trailers`
    pub takes_trailers: bool,
}

/// Where the head ends in `bytes` (behind the blank line), looking only at what came since `scanned`.
///
/// # Errors
/// As soon as a line ends without CR: waiting for the rest would only help an attacker.
pub fn find_end(bytes: &[u8], scanned: usize) -> Result<Option<usize>, &'static str> {
    if scanned == 0 && is_one_head(bytes) { Ok(Some(bytes.len())) } else { search_end(bytes, scanned) }
}

/// Whether this is one whole head and nothing else, as nearly everything is that comes: each line ends with CRLF,
/// and the last one alone is blank. Without an early end, so that many bytes are looked at in one step.
fn is_one_head(bytes: &[u8]) -> bool {
    let Some(before) =
        bytes.strip_suffix(b"\r\n\r\n").map(|head| bytes.get(..head.len() + 3).unwrap_or(head))
    else {
        return false;
    };
    let (one, two) = (before.get(1..).unwrap_or_default(), before.get(2..).unwrap_or_default());
    let odd = before.iter().zip(one).zip(two).fold(0, |found, ((a, b), c)| {
        let is_bare = (*c == b'\n') & (*b != b'\r');
        let is_blank = (*c == b'\n') & (*a == b'\n');
        found | u8::from(is_bare | is_blank)
    });
    odd == 0 && !matches!(before, [b'\n', ..] | [0..=b'\x0c' | b'\x0e'.., b'\n', ..])
}

fn search_end(bytes: &[u8], scanned: usize) -> Result<Option<usize>, &'static str> {
    for at in memchr_iter(b'\n', bytes.get(scanned..).unwrap_or_default()) {
        let at = scanned + at;
        match at.checked_sub(1).and_then(|before| bytes.get(before)) {
            Some(b'\r') => {}
            _ => return Err("a line ends without CR"),
        }
        if at >= 3 && bytes.get(at - 3..=at) == Some(b"\r\n\r\n") {
            return Ok(Some(at + 1));
        }
    }
    Ok(None)
}

/// Checks a whole head, blank line included. `each` gets the name and the value of each header line, as they come:
/// those of a head that is refused in the end too.
///
/// # Errors
/// [`Refusal`]: the status to answer with, and why.
pub fn check<'a>(
    head: &'a [u8],
    limits: &HeadLimits,
    each: impl FnMut(&'a [u8], &'a [u8]),
) -> Result<CheckedHead<'a>, Refusal> {
    let (line, rest) = split_line(head);
    let refuse = |status, why| Refusal::new(status, why, head);
    let request = request_line(line, limits).map_err(|(status, why)| refuse(status, why))?;
    let fields = fields(rest, limits, each).map_err(|(status, why)| refuse(status, why))?;
    let framing = fields.framing(request.is_http_10).map_err(|(status, why)| refuse(status, why))?;
    fields.check_host(&request).map_err(|why| refuse(400, why))?;
    Ok(CheckedHead {
        method: request.method,
        target: encoded_target(request.target).map_or(Cow::Borrowed(request.target), Cow::Owned),
        is_http_10: request.is_http_10,
        framing,
        // RFC 9110 §7.8: in HTTP/1.0 it means nothing.
        may_upgrade: fields.upgrade && !request.is_http_10,
        closes: fields.closes || (request.is_http_10 && !fields.keeps),
        expects_continue: fields.expects && !request.is_http_10,
        takes_trailers: fields.takes_trailers,
    })
}

impl Refusal {
    /// `head` is what has come of it.
    pub fn new(status: u16, why: &'static str, head: &[u8]) -> Self {
        Self { status, why, line: first_line(head), accept: accept(head) }
    }
}

/// The first `Accept` in a head that may be broken or not whole.
fn accept(head: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"accept:";
    let mut lines = head.split(|byte| *byte == b'\n');
    let line =
        lines.find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))?;
    String::from_utf8(trim(line.get(NAME.len()..)?.trim_ascii_end()).to_vec()).ok()
}

/// The request line as text, cut to a length that an audit record can carry.
fn first_line(head: &[u8]) -> String {
    const KEPT: usize = 512;
    let (line, _) = split_line(head);
    String::from_utf8_lossy(line.get(..KEPT).unwrap_or(line)).into_owned()
}

struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    is_http_10: bool,
}

#[derive(Default)]
struct Fields<'a> {
    hosts: usize,
    host: &'a [u8],
    lengths: usize,
    length: Option<u64>,
    codings: usize,
    is_chunked: bool,
    upgrade: bool,
    closes: bool,
    keeps: bool,
    expects: bool,
    takes_trailers: bool,
}

type Fault = (u16, &'static str);

fn request_line<'a>(line: &'a [u8], limits: &HeadLimits) -> Result<RequestLine<'a>, Fault> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (method, target, version) = (parts.next(), parts.next(), parts.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, parts.next()) else {
        return Err((400, "the request line is not `method target version`"));
    };
    if method.is_empty() || method.len() > 32 || !method.iter().all(|byte| is_token(*byte)) {
        return Err((400, "the method is not a token"));
    }
    if target.len() > limits.max_target_bytes {
        return Err((414, "the target is too long"));
    }
    let is_http_10 = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err((505, "the version is not HTTP/1"));
        }
        _ => return Err((400, "the version is malformed")),
    };
    let is_odd = |byte: &u8| *byte <= b' ' || *byte == 0x7f || *byte == b'#';
    if target.iter().fold(false, |found, byte| found | is_odd(byte)) {
        return Err((400, "the target holds a control character or `#`"));
    }
    let is_well_formed = match target {
        [b'/', ..] => true,
        b"*" => method == b"OPTIONS",
        // A CONNECT's target is an authority; the service refuses the method itself, with its own page.
        _ if method == b"CONNECT" => is_authority(target),
        _ => absolute_authority(target).is_some_and(is_authority),
    };
    if !is_well_formed {
        return Err((400, "the target is neither a path nor an absolute URI"));
    }
    Ok(RequestLine { method, target, is_http_10 })
}

/// The authority of `http://authority/path`.
fn absolute_authority(target: &[u8]) -> Option<&[u8]> {
    let rest = [&b"http://"[..], b"https://"].iter().find_map(|scheme| {
        target.get(..scheme.len())?.eq_ignore_ascii_case(scheme).then(|| target.get(scheme.len()..))
    })??;
    let end = rest.iter().position(|byte| *byte == b'/' || *byte == b'?').unwrap_or(rest.len());
    rest.get(..end)
}

fn fields<'a>(
    mut rest: &'a [u8],
    limits: &HeadLimits,
    mut each: impl FnMut(&'a [u8], &'a [u8]),
) -> Result<Fields<'a>, Fault> {
    let mut fields = Fields::default();
    let mut count = 0;
    loop {
        let (line, after) = split_line(rest);
        if line.is_empty() {
            return Ok(fields);
        }
        rest = after;
        count += 1;
        if count > limits.max_headers {
            return Err((431, "too many header lines"));
        }
        let (name, value) = split_field(line).ok_or((400, "a header line has no colon"))?;
        if name.is_empty() || !is_all_token(name) {
            return Err((400, "a header name is not a token (or the line is folded)"));
        }
        // Without an early end: then many bytes are looked at in one step, and hardly any value has one.
        let is_control = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
        if value.iter().fold(false, |found, byte| found | is_control(byte)) {
            return Err((400, "a header value holds a control character"));
        }
        fields.take(name, value)?;
        each(name, value);
    }
}

impl<'a> Fields<'a> {
    #[inline]
    fn take(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Fault> {
        if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
            self.host = value;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths += 1;
            self.length = content_length(value);
            if self.length.is_none() || self.lengths > 1 {
                return Err((400, "Content-Length is not one number"));
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.codings += 1;
            self.is_chunked = value.eq_ignore_ascii_case(b"chunked");
            if self.codings > 1 || !self.is_chunked {
                return Err((501, "Transfer-Encoding is not exactly `chunked`"));
            }
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.upgrade = true;
        } else if name.eq_ignore_ascii_case(b"connection") {
            for word in value.split(|byte| *byte == b',').map(trim) {
                self.closes |= word.eq_ignore_ascii_case(b"close");
                self.keeps |= word.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if name.eq_ignore_ascii_case(b"te") {
            self.takes_trailers |= value.eq_ignore_ascii_case(b"trailers");
        } else if name.eq_ignore_ascii_case(b"expect") {
            self.expects = value.eq_ignore_ascii_case(b"100-continue");
            if !self.expects {
                return Err((417, "the expectation is not `100-continue`"));
            }
        }
        Ok(())
    }

    fn framing(&self, is_http_10: bool) -> Result<Framing, Fault> {
        match (self.length, self.is_chunked) {
            (Some(_), true) => Err((400, "Content-Length and Transfer-Encoding together")),
            (None, true) if is_http_10 => Err((400, "Transfer-Encoding in HTTP/1.0")),
            (None, true) => Ok(Framing::Chunked),
            (Some(0) | None, false) => Ok(Framing::None),
            (Some(length), false) => Ok(Framing::Length(length)),
        }
    }

    fn check_host(&self, request: &RequestLine<'_>) -> Result<(), &'static str> {
        match self.hosts {
            0 if request.is_http_10 => return Ok(()),
            0 => return Err("Host is missing"),
            1 => {}
            _ => return Err("Host stands more than once"),
        }
        if !is_authority(self.host) {
            return Err("Host is not a name or address");
        }
        match absolute_authority(request.target) {
            Some(authority) if !authority.eq_ignore_ascii_case(self.host) => {
                Err("Host differs from the target's authority")
            }
            _ => Ok(()),
        }
    }
}

/// Whether this is `name`, `name:port` or `[v6]:port`; what could mean two things to two readers is none.
pub fn is_authority(host: &[u8]) -> bool {
    let (name, rest) = match host {
        [b'[', inside @ ..] => {
            let Some(end) = memchr(b']', inside) else { return false };
            let (address, rest) = inside.split_at(end);
            let is_address = !address.is_empty()
                && address.iter().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte));
            if !is_address {
                return false;
            }
            (address, rest.get(1..).unwrap_or_default())
        }
        _ => host.split_at(memchr(b':', host).unwrap_or(host.len())),
    };
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(byte);
    let is_port = match rest {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    !name.is_empty() && name.len() <= 253 && name.iter().all(is_name) && is_port
}

/// The value of a Content-Length (RFC 9110 §8.6): digits only, at most 18 of them, so that it fits every
/// reader's integer. `None` for everything else, lists of equal numbers included.
pub fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// The target with the bytes that the `http` crate's URI type refuses percent-encoded; `None` if there are none.
/// Scanners and sloppy clients send them, backends take them: they must be judged, not vanish. Bytes past
/// ASCII are encoded too: to some backends they are no request.
pub fn encoded_target(target: &[u8]) -> Option<Vec<u8>> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let is_odd = |byte: u8| matches!(byte, b'<' | b'>' | b'"' | b'`') || byte >= 0x80;
    if !target.iter().fold(false, |found, byte| found | is_odd(*byte)) {
        return None;
    }
    let mut encoded = Vec::with_capacity(target.len() * 2);
    for byte in target {
        if is_odd(*byte) {
            let digits =
                [byte >> 4, byte & 15].map(|digit| HEX.get(usize::from(digit)).copied().unwrap_or(b'0'));
            encoded.push(b'%');
            encoded.extend_from_slice(&digits);
        } else {
            encoded.push(*byte);
        }
    }
    Some(encoded)
}

/// The header lines of a head that passed [`check`], in their order: name as sent, value without the blanks
/// around it.
pub fn header_lines(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let (_, mut rest) = split_line(head);
    std::iter::from_fn(move || {
        let (line, after) = split_line(rest);
        rest = after;
        split_field(line)
    })
}

/// Method, target and version of a head that passed [`check`], as they were sent.
pub fn request_line_of(head: &[u8]) -> Option<[&[u8]; 3]> {
    let (line, _) = split_line(head);
    let mut words = line.split(|byte| *byte == b' ');
    Some([words.next()?, words.next()?, words.next()?])
}

/// Name and trimmed value of a header line.
#[inline]
fn split_field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = line.split_at(memchr(b':', line)?);
    Some((name, trim(value.get(1..).unwrap_or_default())))
}

/// The line before the next CRLF, and what follows it.
#[inline]
pub(crate) fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b'\n', bytes) {
        Some(at) => {
            let line = bytes.get(..at).unwrap_or_default();
            (line.strip_suffix(b"\r").unwrap_or(line), bytes.get(at + 1..).unwrap_or_default())
        }
        None => (bytes, &[]),
    }
}

#[inline]
pub(crate) fn trim(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = value.iter().position(|byte| !is_blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_blank(byte)).map_or(start, |at| at + 1);
    value.get(start..end).unwrap_or_default()
}

#[inline]
fn is_all_token(name: &[u8]) -> bool {
    static IS_TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0_u8;
        loop {
            table[byte as usize] = is_token(byte);
            if byte == u8::MAX {
                break table;
            }
            byte += 1;
        }
    };
    name.iter().all(|byte| IS_TOKEN.get(usize::from(*byte)).is_some_and(|is_token| *is_token))
}

/// RFC 9110 §5.6.2
pub(crate) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { max_head_bytes: 4096, max_headers: 8, max_target_bytes: 64 };

    fn status(head: &str) -> u16 {
        check(head.as_bytes(), &LIMITS, |_, _| ()).map_or_else(|refusal| refusal.status, |_| 200)
    }

    #[test]
    fn each_ambiguity_gets_its_status() {
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(64));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(8));
        for (name, head, want) in [
            ("plain", "GET / HTTP/1.1\r\nHost: a.b:80\r\n\r\n", 200),
            (
                "both framings",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                400,
            ),
            (
                "length twice",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                400,
            ),
            ("length list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", 400),
            ("length sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
            ("length empty", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400),
            ("te list", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
            (
                "te twice",
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                501,
            ),
            ("te 1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("fold", "GET / HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n", 400),
            ("space before colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("no colon", "GET / HTTP/1.1\r\nHost: a\r\nfoo\r\n\r\n", 400),
            ("control", "GET / HTTP/1.1\r\nHost: a\r\nX: a\u{1}b\r\n\r\n", 400),
            ("carriage return", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
            ("no host", "GET / HTTP/1.1\r\nX: 1\r\n\r\n", 400),
            ("no host in 1.0", "GET / HTTP/1.0\r\n\r\n", 200),
            ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("odd host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
            ("open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
            ("address", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200),
            ("two ports", "GET / HTTP/1.1\r\nHost: a:80:81\r\n\r\n", 400),
            ("escaped host", "GET http://local%68ost/ HTTP/1.1\r\nHost: local%68ost\r\n\r\n", 400),
            ("connect", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 200),
            ("connect to nothing", "CONNECT [ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
            ("absolute", "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("absolute differs", "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("user information", "GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("fragment", "GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("no slash", "GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("star", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("star options", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("0.9", "GET /\r\n\r\n", 400),
            ("2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", 400),
            ("expectation", "GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417),
            ("long target", &long, 414),
            ("many headers", &many, 431),
        ] {
            assert_eq!(status(head), want, "{name}");
        }
    }

    #[test]
    fn odd_bytes_of_the_target_are_encoded() {
        let head = "GET /a<b>?\"q\"=`\u{e9} HTTP/1.1\r\nHost: a\r\nX: <\r\n\r\n";
        let checked = check(head.as_bytes(), &LIMITS, |_, _| ()).unwrap();
        assert_eq!(checked.target, &b"/a%3Cb%3E?%22q%22=%60%C3%A9"[..]);
        let plain = b"GET /%3C HTTP/1.1\r\nHost: a\r\n\r\n";
        assert!(matches!(check(plain, &LIMITS, |_, _| ()).unwrap().target, Cow::Borrowed(b"/%3C")));
    }

    #[test]
    fn what_becomes_of_the_connection_is_read_and_each_line_is_told() {
        for (version, lines, closes, expects, trailers) in [
            ("1.1", "", false, false, false),
            ("1.0", "", true, false, false),
            ("1.0", "Connection: Keep-Alive\r\n", false, false, false),
            ("1.0", "Expect: 100-continue\r\n", true, false, false),
            ("1.1", "Connection: TE, Close\r\nTE: trailers\r\n", true, false, true),
            ("1.1", "Connection: keep-alive\r\nConnection:close\r\n", true, false, false),
            ("1.1", "Expect: 100-Continue\r\nTE: gzip\r\n", false, true, false),
        ] {
            let head = format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
            let mut seen = Vec::new();
            let checked = check(head.as_bytes(), &LIMITS, |name, value| seen.push((name, value))).unwrap();
            let found = (checked.closes, checked.expects_continue, checked.takes_trailers);
            assert_eq!(found, (closes, expects, trailers), "{head}");
            assert_eq!(seen, header_lines(head.as_bytes()).collect::<Vec<_>>(), "{head}");
        }
    }

    #[test]
    fn the_end_is_found_and_bare_line_feeds_are_not_waited_for() {
        assert_eq!(find_end(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest", 0), Ok(Some(27)));
        assert_eq!(find_end(b"GET / HTTP/1.1\r\nHost: a\r\n\r", 20), Ok(None));
        assert!(find_end(b"GET / HTTP/1.1\nHost", 0).is_err());
        assert!(find_end(b"\n", 0).is_err());
    }

    proptest! {
        #[test]
        fn the_quick_look_for_the_end_finds_what_the_search_finds(
            pieces in proptest::collection::vec(
                prop::sample::select(vec!["\r\n", "\r\n", "\r", "\n", "a", "Host: a", "\r\n\r\n"]), 0..12)
        ) {
            let bytes = pieces.concat().into_bytes();
            prop_assert_eq!(find_end(&bytes, 0), search_end(&bytes, 0));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _whatever = find_end(&bytes, 0);
            drop(check(&bytes, &LIMITS, |_, _| ()));
        }

        #[test]
        fn the_end_does_not_depend_on_how_the_bytes_arrive(cut in 0usize..40) {
            let head = b"GET /path HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
            let cut = cut.min(head.len());
            if find_end(&head[..cut], 0) == Ok(None) {
                prop_assert_eq!(find_end(head, cut.saturating_sub(3)), Ok(Some(head.len())));
            }
        }
    }
}
