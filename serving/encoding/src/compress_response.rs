// SPDX-License-Identifier: Apache-2.0
//! Whether a response is compressed, and what its headers say then.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue,
};
use http::{Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use crate::accept::Accepted;
use crate::coding::Coding;
use crate::compress::CompressBody;
use crate::headers::{describe_changed_bytes, vary_by_encoding};
use crate::media_type::compressible;

/// A body that is compressed, or passes as it is.
#[derive(Debug)]
pub enum MaybeCompressed<B> {
    /// As it is.
    Identity(B),
    /// Compressed on its way.
    Compressed(CompressBody<B>),
}

/// Compresses a response for a client that accepts it. Left alone are answers to HEAD, those without a
/// whole body (1xx, 204, 206, 304), those already encoded or marked `no-transform`, types that do not
/// shrink ([`compressible`]) and bodies known to be below 860 bytes. An answer that another
/// client would get compressed says `Vary: Accept-Encoding`, also when this client gets it plain.
pub fn compress_response<B>(
    mut response: Response<B>,
    method: &Method,
    accepted: impl FnOnce() -> Accepted,
) -> Response<MaybeCompressed<B>>
where
    B: Body<Data = Bytes>,
{
    if !is_candidate(&response, method) {
        return response.map(MaybeCompressed::Identity);
    }
    let headers = response.headers_mut();
    vary_by_encoding(headers);
    let coding = accepted().best();
    if coding == Coding::Identity || method == Method::HEAD {
        return response.map(MaybeCompressed::Identity);
    }
    describe_changed_bytes(headers);
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    response.map(|body| MaybeCompressed::Compressed(CompressBody::new(body, coding)))
}

/// Whether some client would get this response compressed.
fn is_candidate<B: Body>(response: &Response<B>, method: &Method) -> bool {
    let headers = response.headers();
    let status = response.status();
    let whole = !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        )
        && !headers.contains_key(CONTENT_RANGE);
    let tunnel = method == Method::CONNECT;
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    whole
        && !tunnel
        && !headers.contains_key(CONTENT_ENCODING)
        && content_type.is_some_and(compressible)
        && size_bytes(response, method).is_none_or(|size| size >= SIZE_BYTES_MIN)
        && !forbids_transform(headers)
}

/// The size if it is known. The body of an answer to HEAD is empty whatever the answer to GET is.
fn size_bytes<B: Body>(response: &Response<B>, method: &Method) -> Option<u64> {
    let announced =
        response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = || if method == Method::HEAD { None } else { response.body().size_hint().exact() };
    announced.or_else(body)
}

fn forbids_transform(headers: &HeaderMap) -> bool {
    headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|directive| directive.trim().eq_ignore_ascii_case("no-transform"))
}

impl<B> Body for MaybeCompressed<B>
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
            Self::Identity(body) => Pin::new(body).poll_frame(context),
            Self::Compressed(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Identity(body) => body.is_end_stream(),
            Self::Compressed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Identity(body) => body.size_hint(),
            Self::Compressed(body) => body.size_hint(),
        }
    }
}

/// Below this a response fits one packet anyway, and compressing saves nothing.
const SIZE_BYTES_MIN: u64 = 860;

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT_ENCODING, ACCEPT_RANGES, ETAG, HeaderName, VARY};
    use http_body_util::Full;

    use super::*;
    use crate::collect::tests::{block_on, read};
    use crate::decode::decode_bounded;

    fn respond(
        method: &Method,
        status: u16,
        size: usize,
        headers: &[(HeaderName, &str)],
        accept: &str,
    ) -> Response<MaybeCompressed<Full<Bytes>>> {
        let mut response = Response::new(Full::new(Bytes::from(vec![b'x'; size])));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in headers {
            response.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        let request = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_str(accept).unwrap())]);
        compress_response(response, method, || Accepted::of(&request))
    }

    #[test]
    fn some_responses_are_compressed_and_some_only_vary() {
        let html = (CONTENT_TYPE, "text/html");
        let get = &Method::GET;
        for (name, method, status, size, headers, accept, compressed, varies) in [
            ("page", get, 200, 1000, vec![html.clone()], "gzip", true, true),
            ("error page", get, 500, 1000, vec![html.clone()], "br", true, true),
            ("client without", get, 200, 1000, vec![html.clone()], "", false, true),
            ("head", &Method::HEAD, 200, 0, vec![html.clone(), (CONTENT_LENGTH, "1000")], "br", false, true),
            ("small", get, 200, 859, vec![html.clone()], "br", false, false),
            (
                "announced small",
                get,
                200,
                900,
                vec![html.clone(), (CONTENT_LENGTH, "10")],
                "br",
                false,
                false,
            ),
            ("no content", get, 204, 1000, vec![html.clone()], "br", false, false),
            ("partial", get, 206, 1000, vec![html.clone()], "br", false, false),
            ("not modified", get, 304, 1000, vec![html.clone()], "br", false, false),
            ("encoded", get, 200, 1000, vec![html.clone(), (CONTENT_ENCODING, "gzip")], "br", false, false),
            ("image", get, 200, 1000, vec![(CONTENT_TYPE, "image/png")], "br", false, false),
            ("no type", get, 200, 1000, vec![], "br", false, false),
            (
                "no-transform",
                get,
                200,
                1000,
                vec![html.clone(), (CACHE_CONTROL, "public, No-Transform")],
                "br",
                false,
                false,
            ),
        ] {
            let response = respond(method, status, size, &headers, accept);
            assert_eq!(matches!(response.body(), MaybeCompressed::Compressed(_)), compressed, "{name}");
            assert_eq!(response.headers().contains_key(VARY), varies, "{name}");
        }
    }

    #[test]
    fn headers_of_a_compressed_response_are_right() {
        let headers = [
            (CONTENT_TYPE, "text/css"),
            (CONTENT_LENGTH, "2000"),
            (ACCEPT_RANGES, "bytes"),
            (ETAG, "\"v1\""),
            (VARY, "origin"),
            (HeaderName::from_static("content-digest"), "sha-256=:x:"),
        ];
        let response = respond(&Method::GET, 200, 2000, &headers, "gzip, zstd");
        let value = |name: HeaderName| response.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(value(CONTENT_ENCODING), Some("zstd"));
        assert_eq!(value(ETAG), Some("W/\"v1\""));
        assert_eq!((value(CONTENT_LENGTH), value(ACCEPT_RANGES)), (None, None));
        assert_eq!(value(HeaderName::from_static("content-digest")), None);
        assert_eq!(response.headers().get_all(VARY).iter().count(), 2);
        let packed = block_on(read(response.into_body())).unwrap().0;
        assert_eq!(decode_bounded(Coding::Zstd, &packed, 2000).unwrap(), vec![b'x'; 2000]);
    }
}
