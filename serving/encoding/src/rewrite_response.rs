// SPDX-License-Identifier: Apache-2.0
//! Search and replace in response bodies, also in those that come compressed.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use crate::coding::Coding;
use crate::collect::{Collected, Replay, collect_bounded};
use crate::decode::{DecodeError, decode_bounded};
use crate::encoder::encode;
use crate::headers::{describe_changed_bytes, remove_digests};
use crate::media_type::essence;
use crate::rewrite::{BodyRewrite, TooLarge};

/// What a rewrite came to; the caller counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Something was replaced.
    Rewritten,
    /// Nothing was found; the bytes are those that came.
    NoMatch,
    /// No rule is for this response, or it has no whole body in a known coding. It was not read.
    NotApplicable,
    /// The body, decoded or rewritten, exceeds its bound; the bytes are those that came.
    TooLarge,
    /// The body is not what its coding says; the bytes are those that came.
    Undecodable,
}

/// A response after its rewriting.
#[derive(Debug)]
pub struct Rewritten<B> {
    /// The response to send.
    pub response: Response<RewrittenBody<B>>,
    /// What was done to it.
    pub outcome: Outcome,
}

/// The body of a response after its rewriting.
#[derive(Debug)]
pub enum RewrittenBody<B> {
    /// Was not read.
    Untouched(B),
    /// Was read in part and goes on from there.
    Replay(Replay<B>),
    /// Was read, and perhaps changed.
    Whole {
        /// Its bytes.
        bytes: Bytes,
        /// Its trailers.
        trailers: Option<HeaderMap>,
    },
}

/// Applies those `rules` that are for the response's media type, in order, and answers in the coding that
/// the response came in. The body is held in memory: at most the largest `max_bytes` of these rules as it
/// came, as much decoded, and four times that rewritten. Decoding and encoding happen on the
/// calling thread; with a bound of a few megabytes that is tens of milliseconds at worst.
///
/// A body that is too large or corrupt passes byte for byte. A 206 is not rewritten either, so a caller with
/// rules for a route should not let `Range` through to its backend.
///
/// # Errors
///
/// The body's own, met while reading it: nothing has been sent yet, so the caller may still answer 502.
pub async fn rewrite_response<B>(
    response: Response<B>,
    method: &Method,
    rules: &[BodyRewrite],
) -> Result<Rewritten<B>, B::Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let Some((coding, rules)) = applicable(&response, method, rules) else {
        let response = response.map(RewrittenBody::Untouched);
        return Ok(Rewritten { response, outcome: Outcome::NotApplicable });
    };
    let max = rules.iter().map(|rule| rule.max_bytes()).max().unwrap_or(0);
    let (mut head, body) = response.into_parts();
    let (bytes, mut trailers) = match collect_bounded(body, max).await? {
        Collected::Whole { bytes, trailers } => (bytes, trailers),
        Collected::TooLarge(replay) => {
            let response = Response::from_parts(head, RewrittenBody::Replay(replay));
            return Ok(Rewritten { response, outcome: Outcome::TooLarge });
        }
    };
    let (bytes, outcome) = match rewrite(coding, &bytes, &rules, max) {
        Ok(rewritten) => {
            describe_changed_bytes(&mut head.headers);
            trailers.iter_mut().for_each(remove_digests);
            describe_length(&mut head.headers, rewritten.len(), trailers.is_some());
            (rewritten.into(), Outcome::Rewritten)
        }
        Err(outcome) => (bytes, outcome),
    };
    let response = Response::from_parts(head, RewrittenBody::Whole { bytes, trailers });
    Ok(Rewritten { response, outcome })
}

/// The coding to undo and the rules to apply; none when the response is not to be read.
fn applicable<'a, B>(
    response: &Response<B>,
    method: &Method,
    rules: &'a [BodyRewrite],
) -> Option<(Coding, Vec<&'a BodyRewrite>)> {
    let (status, headers) = (response.status(), response.headers());
    let bodiless = status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
        || matches!(*method, Method::HEAD | Method::CONNECT);
    if rules.is_empty()
        || bodiless
        || status == StatusCode::PARTIAL_CONTENT
        || headers.contains_key(CONTENT_RANGE)
    {
        return None;
    }
    let media_type = essence(headers.get(CONTENT_TYPE)?.to_str().ok()?);
    let rules: Vec<&BodyRewrite> = rules.iter().filter(|rule| rule.is_for(media_type)).collect();
    if rules.is_empty() { None } else { Some((Coding::of(headers)?, rules)) }
}

/// The new body in its old coding, or why there is none.
fn rewrite(coding: Coding, bytes: &Bytes, rules: &[&BodyRewrite], max: usize) -> Result<Vec<u8>, Outcome> {
    if bytes.is_empty() {
        return Err(Outcome::NoMatch);
    }
    let mut plain = match coding {
        Coding::Identity => bytes.to_vec(),
        _ => decode_bounded(coding, bytes, max).map_err(|error| match error {
            DecodeError::TooLarge { .. } => Outcome::TooLarge,
            DecodeError::Corrupt { .. } => Outcome::Undecodable,
        })?,
    };
    let mut changed = false;
    for rule in rules {
        let applied = rule.apply(&plain, max.saturating_mul(GROWTH_MAX));
        if let Some(rewritten) = applied.map_err(|TooLarge| Outcome::TooLarge)? {
            plain = rewritten;
            changed = true;
        }
    }
    if changed { Ok(encode(coding, &plain)) } else { Err(Outcome::NoMatch) }
}

/// A length and trailers do not go together in HTTP/1.
fn describe_length(headers: &mut HeaderMap, len: usize, with_trailers: bool) {
    headers.remove(TRANSFER_ENCODING);
    if with_trailers {
        headers.remove(CONTENT_LENGTH);
    } else {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    }
}

impl<B> Body for RewrittenBody<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.get_mut() {
            Self::Untouched(body) => Pin::new(body).poll_frame(context),
            Self::Replay(body) => Pin::new(body).poll_frame(context),
            Self::Whole { bytes, trailers } => {
                let data = std::mem::take(bytes);
                let frame = if data.is_empty() {
                    trailers.take().map(Frame::trailers)
                } else {
                    Some(Frame::data(data))
                };
                Poll::Ready(frame.map(Ok))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Untouched(body) => body.is_end_stream(),
            Self::Replay(body) => body.is_end_stream(),
            Self::Whole { bytes, trailers } => bytes.is_empty() && trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Untouched(body) => body.size_hint(),
            Self::Replay(body) => body.size_hint(),
            Self::Whole { bytes, .. } => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
        }
    }
}

/// How many times its bound a body may grow to by replacing.
const GROWTH_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, ETAG};
    use http_body_util::Full;

    use super::*;
    use crate::collect::tests::{Failing, Slow, block_on, read, trailers};

    const MAX: usize = 2000;

    fn rules() -> Vec<BodyRewrite> {
        let html = || vec!["Text/HTML".to_owned()];
        vec![
            BodyRewrite::new(b"http://internal", "https://shop", html(), MAX).unwrap(),
            BodyRewrite::new(b"https://shop/old", "/new", html(), 10).unwrap(),
            BodyRewrite::new(b"bomb", vec![b'!'; MAX * 4], html(), 10).unwrap(),
            BodyRewrite::new(b"a", "b", vec!["text/css".into()], 10).unwrap(),
        ]
    }

    fn html(status: u16, coding: &str, body: Vec<u8>) -> Response<Full<Bytes>> {
        Response::builder()
            .status(status)
            .header(CONTENT_TYPE, "text/html; charset=utf-8")
            .header(CONTENT_ENCODING, coding)
            .header(CONTENT_LENGTH, body.len())
            .header(ETAG, "\"v1\"")
            .header(ACCEPT_RANGES, "bytes")
            .header("repr-digest", "sha-256=:x:")
            .body(Full::new(body.into()))
            .unwrap()
    }

    #[test]
    fn a_page_is_rewritten_in_the_coding_it_came_in() {
        let page = b"<a href=http://internal/old/1>http://internal</a>";
        for coding in Coding::ALL {
            let response = html(200, coding.as_str(), encode(coding, page));
            let done = block_on(rewrite_response(response, &Method::GET, &rules())).unwrap();
            assert_eq!(done.outcome, Outcome::Rewritten, "{coding:?}");
            let (head, body) = done.response.into_parts();
            let bytes = block_on(read(body)).unwrap().0;
            let plain = decode_bounded(coding, &bytes, MAX).unwrap();
            assert_eq!(plain, b"<a href=/new/1>https://shop</a>", "{coding:?}");
            let value =
                |name: HeaderName| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(value(CONTENT_LENGTH), Some(bytes.len().to_string()));
            assert_eq!(value(CONTENT_ENCODING), Some(coding.as_str().to_owned()));
            assert_eq!(value(ETAG).as_deref(), Some("W/\"v1\""));
            assert_eq!((value(ACCEPT_RANGES), value(HeaderName::from_static("repr-digest"))), (None, None));
        }
    }

    #[test]
    fn other_bodies_pass_byte_for_byte() {
        let (get, page) = (&Method::GET, b"see http://internal".to_vec());
        let zeros = encode(Coding::Gzip, &[0; MAX + 1]);
        for (name, response, method, want) in [
            ("no match", html(200, "identity", b"nothing".to_vec()), get, Outcome::NoMatch),
            ("no match, packed", html(200, "br", encode(Coding::Brotli, b"x")), get, Outcome::NoMatch),
            ("empty", html(200, "gzip", vec![]), get, Outcome::NoMatch),
            ("head", html(200, "identity", page.clone()), &Method::HEAD, Outcome::NotApplicable),
            ("partial", html(206, "identity", page.clone()), get, Outcome::NotApplicable),
            ("not modified", html(304, "identity", page.clone()), get, Outcome::NotApplicable),
            ("no content", html(204, "identity", page.clone()), get, Outcome::NotApplicable),
            ("unknown coding", html(200, "compress", page.clone()), get, Outcome::NotApplicable),
            ("two codings", html(200, "gzip, br", page.clone()), get, Outcome::NotApplicable),
            ("too large", html(200, "identity", vec![b'x'; MAX + 1]), get, Outcome::TooLarge),
            ("too large decoded", html(200, "gzip", zeros), get, Outcome::TooLarge),
            (
                "too large rewritten",
                html(200, "identity", b"a bomb, a bomb".to_vec()),
                get,
                Outcome::TooLarge,
            ),
            ("not what it says", html(200, "gzip", page), get, Outcome::Undecodable),
        ] {
            let (before, body) = response.into_parts();
            let bytes = block_on(read(body.clone())).unwrap().0;
            let response = Response::from_parts(before.clone(), body);
            let done = block_on(rewrite_response(response, method, &rules())).unwrap();
            let (after, body) = done.response.into_parts();
            assert_eq!(done.outcome, want, "{name}");
            assert_eq!(after.headers, before.headers, "{name}");
            assert_eq!(block_on(read(body)).unwrap().0, bytes, "{name}");
        }
    }

    #[test]
    fn other_types_are_not_read() {
        for content_type in [Some("text/plain"), Some("text/htmlx"), Some(""), None] {
            let mut response = Response::new(Failing(false));
            if let Some(value) = content_type {
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(value));
            }
            let done = block_on(rewrite_response(response, &Method::GET, &rules())).unwrap();
            assert_eq!(done.outcome, Outcome::NotApplicable);
        }
    }

    #[test]
    fn trailers_stay_and_take_the_place_of_the_length() {
        let mut sent = trailers();
        sent.insert("content-digest", HeaderValue::from_static("sha-256=:x:"));
        let mut response = Response::new(Slow::of([b"http://inter".as_slice(), b"nal"], Some(sent)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        let done = block_on(rewrite_response(response, &Method::GET, &rules())).unwrap();
        assert!(!done.response.headers().contains_key(CONTENT_LENGTH));
        let read = block_on(read(done.response.into_body())).unwrap();
        assert_eq!(read, (b"https://shop".to_vec(), Some(trailers())));
    }

    #[test]
    fn an_error_of_the_body_is_passed_on() {
        let mut response = Response::new(Failing(false));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        assert_eq!(block_on(rewrite_response(response, &Method::GET, &rules())).unwrap_err(), "reset");
    }
}
