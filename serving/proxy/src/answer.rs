// SPDX-License-Identifier: Apache-2.0
//! The last steps of an answer: the request's id, the route's headers, the count of its bytes.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header};
use http_body::{Body, Frame, SizeHint};

use crate::body::{AnswerBody, BoxError, empty};
use crate::context::{RequestContext, X_REQUEST_ID, text};

/// An answer, and when its request is over.
pub(crate) struct Answer {
    pub(crate) response: Response<AnswerBody>,
    pub(crate) finish: Finish,
}

/// When a request is over.
pub(crate) enum Finish {
    /// With the answer's last byte.
    WithBody,
    /// When the tunnel closes that takes the context.
    Tunnel(Box<dyn FnOnce(RequestContext)>),
}

impl From<Response<AnswerBody>> for Answer {
    fn from(response: Response<AnswerBody>) -> Self {
        Self { response, finish: Finish::WithBody }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.response.status()).finish_non_exhaustive()
    }
}

/// The body that is sent: counts its bytes and carries the context to the end.
pub(crate) struct AuditedBody {
    inner: AnswerBody,
    /// What Content-Length says; nobody asks for the end of a body whose bytes are all there.
    length: Option<u64>,
    context: Option<Box<RequestContext>>,
    /// Bytes since others had their turn.
    burst: usize,
}

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Bytes that go out before the thread's other connections get their turn. Where both sides are quick, nothing
/// else would end the turn before megabytes have gone.
const BURST_BYTES: usize = 128 * 1024;

/// Completes an answer. From here on the context lives in the body (or the tunnel), and its record is
/// written when that ends.
pub(crate) fn complete(
    mut context: RequestContext,
    answer: Answer,
    method: &Method,
) -> Response<AuditedBody> {
    let mut response = answer.response;
    if *method == Method::HEAD {
        *response.body_mut() = empty();
    }
    let headers = response.headers_mut();
    if let Some(route) = &context.route {
        for (name, value) in &route.response_headers {
            if context.is_challenge {
                headers.entry(name).or_insert_with(|| value.clone());
            } else {
                headers.insert(name, value.clone());
            }
        }
    }
    headers.insert(X_REQUEST_ID, context.id_value.clone());
    tell_limit(&context, headers);
    context.status = response.status().as_u16();
    let elapsed = u64::try_from(context.started.elapsed().as_micros()).unwrap_or(u64::MAX);
    context.added_us = elapsed.saturating_sub(context.upstream_us).saturating_sub(context.client_us);
    note_latency(&context);
    context.note_answer(matches!(answer.finish, Finish::Tunnel(_)));
    let context = match answer.finish {
        Finish::WithBody => Some(Box::new(context)),
        Finish::Tunnel(start) => {
            start(context);
            None
        }
    };
    let length = text(response.headers(), &header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
    response.map(|inner| AuditedBody { inner, length, context, burst: 0 })
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a request are far below 2^53")]
fn note_latency(context: &RequestContext) {
    let metrics = &context.shared.metrics;
    metrics.added_seconds().observe(context.added_us as f64 / 1e6);
    if context.upstream_us > 0 {
        metrics.backend_seconds().observe(context.upstream_us as f64 / 1e6);
    }
}

/// How much of its limit a client has left (draft-ietf-httpapi-ratelimit-headers): told to who has used more than
/// half of it, so that ordinary answers stay as small as they were.
fn tell_limit(context: &RequestContext, headers: &mut HeaderMap) {
    let Some(quota) = context.judged.as_ref().and_then(|judged| judged.quota) else { return };
    // A backend that has limits of its own tells of those.
    let is_told = headers.contains_key(RATE_LIMIT) || headers.contains_key(RATE_LIMIT_POLICY);
    if quota.remaining.saturating_mul(2) >= quota.burst || is_told {
        return;
    }
    let policy = format!("\"default\";q={};w={}", quota.burst, quota.window_secs);
    let left = format!("\"default\";r={};t={}", quota.remaining, quota.reset_secs);
    if let (Ok(policy), Ok(left)) = (HeaderValue::try_from(policy), HeaderValue::try_from(left)) {
        headers.insert(RATE_LIMIT_POLICY, policy);
        headers.insert(RATE_LIMIT, left);
    }
}

impl Body for AuditedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = &mut *self;
        if body.burst >= BURST_BYTES {
            body.burst = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = body.inner.as_mut().poll_frame(cx);
        if polled.is_pending() {
            body.burst = 0;
        }
        let frame = ready!(polled);
        let bytes = frame.iter().flatten().filter_map(Frame::data_ref).map(Bytes::len).sum::<usize>();
        body.burst = body.burst.saturating_add(bytes);
        match (&frame, &mut body.context) {
            (Some(Ok(_)), Some(context)) => {
                context.response_bytes = context.response_bytes.saturating_add(bytes as u64);
            }
            (Some(Err(error)), Some(context)) => context.note_error(format!("the answer broke off: {error}")),
            (None, context) => *context = None,
            _ => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for AuditedBody {
    /// An answer that nobody waits for any more did not arrive whole.
    fn drop(&mut self) {
        if let Some(context) = &mut self.context
            && !self.inner.is_end_stream()
            && self.length != Some(context.response_bytes)
        {
            context.note_error("the client left before the end of the answer");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::task::Waker;

    use http_body_util::StreamBody;

    use super::*;
    use crate::body::boxed;

    #[test]
    fn after_a_burst_the_others_have_their_turn() {
        const PIECE: usize = 32 * 1024;
        let piece = || Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'x'; PIECE])));
        let endless = StreamBody::new(futures_util::stream::iter(std::iter::repeat_with(piece)));
        let mut body = AuditedBody { inner: boxed(endless), length: None, context: None, burst: 0 };
        let mut cx = Context::from_waker(Waker::noop());
        let mut pieces_until_it_yields = || {
            let ready = |_: &usize| Pin::new(&mut body).poll_frame(&mut cx).is_ready();
            (0..1000).take_while(ready).count()
        };
        assert_eq!([pieces_until_it_yields(), pieces_until_it_yields()], [BURST_BYTES / PIECE; 2]);
    }
}
