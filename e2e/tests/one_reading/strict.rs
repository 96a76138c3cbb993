// SPDX-License-Identifier: Apache-2.0
//! HTTP/1 as RFC 9112 writes it and as no two readers can differ about: slow, plain, and written without a
//! look at the product's own readers, because it judges them.

/// A request that everybody reads alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    /// As sent, bytes past ASCII as latin-1.
    pub(super) target: String,
    pub(super) is_http_10: bool,
    /// Names in lower case, values trimmed.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// An answer that everybody reads alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(String, String)>,
}

/// What the bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Read<T> {
    /// A message, and how many bytes it took.
    Whole(T, usize),
    /// The beginning of one.
    Partial,
    Malformed(&'static str),
}

/// Every request of a connection, in order; then whether the rest is nothing, partial or malformed.
pub(super) fn requests(mut bytes: &[u8]) -> (Vec<Request>, Read<()>) {
    let mut found = Vec::new();
    loop {
        // One empty line before a request is forgiven (RFC 9112 §2.2).
        let message = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
        if message.is_empty() {
            return (found, Read::Whole((), 0));
        }
        match request(message) {
            Read::Whole(request, length) => {
                found.push(request);
                bytes = &message[length..];
            }
            Read::Partial => return (found, Read::Partial),
            Read::Malformed(why) => return (found, Read::Malformed(why)),
        }
    }
}

pub(super) fn request(bytes: &[u8]) -> Read<Request> {
    read_request(bytes).unwrap_or_else(|stop| stop.into())
}

/// The answer to a request with `method`; `is_closed`: nothing follows these bytes.
pub(super) fn answer(bytes: &[u8], method: &str, is_closed: bool) -> Read<Answer> {
    read_answer(bytes, method, is_closed).unwrap_or_else(|stop| stop.into())
}

pub(super) fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

enum Stop {
    Partial,
    Malformed(&'static str),
}

impl<T> From<Stop> for Read<T> {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Partial => Self::Partial,
            Stop::Malformed(why) => Self::Malformed(why),
        }
    }
}

const fn ensure(holds: bool, why: &'static str) -> Result<(), Stop> {
    if holds { Ok(()) } else { Err(Stop::Malformed(why)) }
}

fn read_request(bytes: &[u8]) -> Result<Read<Request>, Stop> {
    let (lines, end) = head(bytes)?;
    let words: Vec<&str> = lines[0].split(' ').collect();
    let [method, target, version] = words[..] else { return Err(Stop::Malformed("request line")) };
    ensure(!method.is_empty() && method.chars().all(is_token), "method")?;
    ensure(["HTTP/1.0", "HTTP/1.1"].contains(&version), "version")?;
    let is_http_10 = version == "HTTP/1.0";
    ensure(!target.is_empty() && target.chars().all(|c| c > ' ' && c != '\x7f' && c != '#'), "target")?;
    let headers = fields(&lines[1..])?;
    let hosts: Vec<&str> = values(&headers, "host").collect();
    ensure(hosts.len() == 1 || (is_http_10 && hosts.is_empty()), "host")?;
    let is_host = |host: &&str| {
        !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._~:[]".contains(c))
    };
    ensure(hosts.iter().all(is_host), "host")?;
    match target.split_once("://") {
        Some((scheme, rest)) if !target.starts_with('/') => {
            ensure(["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()), "scheme")?;
            let authority = rest.split(['/', '?']).next().unwrap_or_default();
            ensure(hosts.iter().all(|host| host.eq_ignore_ascii_case(authority)), "two authorities")?;
        }
        _ if method == "CONNECT" => {}
        _ => ensure(target.starts_with('/') || (target == "*" && method == "OPTIONS"), "target")?,
    }
    let (length, is_chunked) = framing(&headers)?;
    ensure(!(is_chunked && is_http_10), "chunked in HTTP/1.0")?;
    let rest = &bytes[end..];
    let (body, used) = if is_chunked {
        let (body, _, used) = chunks(rest)?;
        (body, used)
    } else {
        let length = length.unwrap_or(0);
        (rest.get(..length).ok_or(Stop::Partial)?.to_vec(), length)
    };
    let request = Request { method: method.to_owned(), target: target.to_owned(), is_http_10, headers, body };
    Ok(Read::Whole(request, end + used))
}

fn read_answer(bytes: &[u8], method: &str, is_closed: bool) -> Result<Read<Answer>, Stop> {
    let (lines, end) = head(bytes)?;
    let mut words = lines[0].splitn(3, ' ');
    let (version, status) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    ensure(["HTTP/1.0", "HTTP/1.1"].contains(&version), "version")?;
    ensure(status.len() == 3 && status.chars().all(|c| c.is_ascii_digit()), "status")?;
    let status = status.parse::<u16>().unwrap_or(0);
    ensure((100..600).contains(&status), "status")?;
    let headers = fields(&lines[1..])?;
    let (length, is_chunked) = framing(&headers)?;
    let rest = &bytes[end..];
    let (mut body, mut trailers, mut used) = (Vec::new(), Vec::new(), 0);
    if status < 200 || status == 204 {
        ensure(length.is_none() && !is_chunked, "framing of what has no body")?;
    } else if method == "HEAD" || status == 304 {
    } else if is_chunked {
        (body, trailers, used) = chunks(rest)?;
    } else if let Some(length) = length {
        (body, used) = (rest.get(..length).ok_or(Stop::Partial)?.to_vec(), length);
    } else if is_closed {
        (body, used) = (rest.to_vec(), rest.len());
    } else {
        return Err(Stop::Partial);
    }
    Ok(Read::Whole(Answer { status, headers, body, trailers }, end + used))
}

/// The lines of a head as latin-1, without the blank one, and where it ends.
fn head(bytes: &[u8]) -> Result<(Vec<String>, usize), Stop> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
    let head = &bytes[..end.unwrap_or(bytes.len())];
    for (at, byte) in head.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| head[at]);
        ensure(*byte != b'\n' || before == Some(b'\r'), "bare line feed")?;
        ensure(before != Some(b'\r') || *byte == b'\n', "bare carriage return")?;
        ensure(*byte >= b' ' && *byte != 0x7f || b"\r\n\t".contains(byte), "control character")?;
    }
    let end = end.ok_or(Stop::Partial)?;
    let text: String = bytes[..end - 4].iter().map(|byte| char::from(*byte)).collect();
    Ok((text.split("\r\n").map(str::to_owned).collect(), end))
}

fn fields(lines: &[String]) -> Result<Vec<(String, String)>, Stop> {
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Stop::Malformed("no colon"))?;
        ensure(!name.is_empty() && name.chars().all(is_token), "header name")?;
        fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
    Ok(fields)
}

fn framing(headers: &[(String, String)]) -> Result<(Option<usize>, bool), Stop> {
    let lengths: Vec<&str> = values(headers, "content-length").collect();
    let codings: Vec<&str> = values(headers, "transfer-encoding").collect();
    ensure(lengths.len() + codings.len() <= 1, "two framings")?;
    ensure(codings.iter().all(|coding| coding.eq_ignore_ascii_case("chunked")), "unknown coding")?;
    let Some(length) = lengths.first() else { return Ok((None, !codings.is_empty())) };
    ensure(!length.is_empty() && length.chars().all(|c| c.is_ascii_digit()), "length")?;
    Ok((Some(length.parse().map_err(|_| Stop::Malformed("length"))?), false))
}

type Chunks = (Vec<u8>, Vec<(String, String)>, usize);

fn chunks(bytes: &[u8]) -> Result<Chunks, Stop> {
    let (mut at, mut body) = (0, Vec::new());
    loop {
        let rest = &bytes[at..];
        let line_end = rest.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(rest.len());
        let crlf = rest.get(line_end..).unwrap_or_default();
        ensure(line_end <= 15 && b"\r\n".starts_with(&crlf[..crlf.len().min(2)]), "chunk size")?;
        if crlf.len() < 2 {
            return Err(Stop::Partial);
        }
        let digits: String = rest[..line_end].iter().map(|byte| char::from(*byte)).collect();
        let size = usize::from_str_radix(&digits, 16).map_err(|_| Stop::Malformed("chunk size"))?;
        at += line_end + 2;
        if size == 0 {
            break;
        }
        body.extend(bytes.get(at..at + size).ok_or(Stop::Partial)?);
        let crlf = &bytes[at + size..];
        ensure(b"\r\n".starts_with(&crlf[..crlf.len().min(2)]), "chunk end")?;
        if crlf.len() < 2 {
            return Err(Stop::Partial);
        }
        at += size + 2;
    }
    if bytes[at..].starts_with(b"\r\n") {
        return Ok((body, Vec::new(), at + 2));
    }
    let (lines, used) = head(&bytes[at..])?;
    Ok((body, fields(&lines)?, at + used))
}

fn values<'a>(headers: &'a [(String, String)], name: &str) -> impl Iterator<Item = &'a str> {
    headers.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[test]
fn the_judge_itself_is_strict() {
    for (bytes, want) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", true),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n",
            true,
        ),
        ("GET / HTTP/1.1\nHost: a\n\n", false),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", false),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0;x\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n", false),
    ] {
        let (found, rest) = requests(bytes.as_bytes());
        assert_eq!((found.len(), matches!(rest, Read::Whole(..))), (usize::from(want), want), "{bytes:?}");
    }
}
