// SPDX-License-Identifier: Apache-2.0
//! Asking backends: connections, their pool, one careful retry.
//!
//! A backend that refuses or cannot be found is 502, one that does not answer in time 504; each failure
//! is counted by kind in `sunbeam_upstream_errors_total`.

mod answer_check;
mod connect;
mod pool;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};
use sunbeam_routing::{Backend, Scheme};
use tokio::time::{Instant, sleep_until, timeout};

pub(crate) use answer_check::CheckedSender;
pub(crate) use connect::open_http1;
pub(crate) use pool::{Pool, PooledBody};

use crate::body::{BodyFault, BodyWatch, RequestBody};
use crate::context::{RequestContext, is_idempotent};
use connect::connect;
use pool::{Checkout, Lease, Sender};

/// What went wrong with a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Dns,
    Connect,
    Tls,
    Timeout,
    Reset,
    Protocol,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
        }
    }
}

/// Why a backend gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// The backend's side.
    #[error("backend {}: {why}", kind.as_str())]
    Backend { kind: Kind, why: String },
    /// The client's side: its body was too large or broke off.
    #[error("the request's body {}", match fault { BodyFault::TooLarge => "is too large", _ => "broke off" })]
    Client { fault: BodyFault },
}

impl UpstreamError {
    pub(crate) fn backend(kind: Kind, why: impl Into<String>) -> Self {
        Self::Backend { kind, why: why.into() }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Backend { kind: Kind::Timeout, .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Backend { .. } => StatusCode::BAD_GATEWAY,
            Self::Client { fault: BodyFault::TooLarge } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Client { .. } => StatusCode::BAD_REQUEST,
        }
    }
}

/// A request as the backend gets it, before its HTTP version is known.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamHead {
    pub(crate) method: Method,
    pub(crate) path_and_query: String,
    pub(crate) headers: HeaderMap,
    /// The Host it is sent.
    pub(crate) authority: String,
    /// `TE: trailers` was sent: gRPC.
    pub(crate) wants_trailers: bool,
}

/// Sends a request and returns the answer's head; its body follows.
///
/// Sent once more, on a new connection, only if nothing was written to the first, or if a kept
/// connection died before a byte of the answer and the request is idempotent and has no body.
pub(crate) async fn send(
    pool: &Rc<Pool>,
    context: &RequestContext,
    backend: &Arc<Backend>,
    head: UpstreamHead,
    body: RequestBody,
    watch: &Rc<BodyWatch>,
) -> Result<Response<PooledBody>, UpstreamError> {
    let limits = &context.snapshot.config.limits;
    let answer_timeout = Duration::from_secs(limits.backend_timeout_secs);
    let may_repeat = body.is_empty() && is_idempotent(&head.method);
    let mut pending = Some(body);
    let mut reuse = Checkout::for_request(may_repeat);
    loop {
        let mut lease = match pool.checkout(backend, reuse) {
            Some(lease) => lease,
            None => connect(pool, context, backend).await?,
        };
        context.shared.metrics.upstream_requests(backend.url.as_str()).inc();
        let body = pending.take().unwrap_or_else(|| RequestBody::new(None, 0).0);
        let request = lease.request(&head, backend, body)?;
        match exchange(&mut lease, request, watch, answer_timeout).await {
            Ok(response) => return accept(response, lease, watch, answer_timeout),
            Err(failure)
                if lease.is_reused() && (failure.unsent.is_some() || (may_repeat && failure.is_dead)) =>
            {
                pending = failure.unsent;
                reuse = Checkout::Never;
            }
            Err(failure) => {
                if matches!(failure.error, UpstreamError::Backend { kind: Kind::Timeout, .. }) {
                    lease.distrust();
                }
                return Err(failure.error);
            }
        }
    }
}

struct Failure {
    error: UpstreamError,
    /// The body, if not a byte of the request was written.
    unsent: Option<RequestBody>,
    /// The connection ended before a byte of the answer.
    is_dead: bool,
}

async fn exchange(
    lease: &mut Lease,
    request: Request<RequestBody>,
    watch: &Rc<BodyWatch>,
    answer_timeout: Duration,
) -> Result<Response<Incoming>, Failure> {
    let sending = lease.send(request);
    tokio::pin!(sending);
    watch.touch();
    loop {
        let deadline = watch.progress() + answer_timeout;
        tokio::select! {
            biased;
            result = &mut sending => {
                return result.map_err(|(error, unsent)| {
                    let is_dead = is_dead(&error);
                    let error = match watch.fault() {
                        BodyFault::None => UpstreamError::backend(
                            if is_dead { Kind::Reset } else { Kind::Protocol },
                            crate::snapshot::error_chain(&error),
                        ),
                        fault => UpstreamError::Client { fault },
                    };
                    Failure { error, unsent, is_dead }
                });
            }
            () = sleep_until(deadline) => {
                // An upload that goes on moves the deadline.
                if watch.progress() + answer_timeout <= Instant::now() {
                    let error = UpstreamError::backend(Kind::Timeout, "no answer in time");
                    return Err(Failure { error, unsent: None, is_dead: false });
                }
            }
        }
    }
}

/// The connection ended, in whatever way, before an answer.
fn is_dead(error: &hyper::Error) -> bool {
    let is_reset = || {
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<std::io::Error>() {
                // A malformed answer is an answer.
                return error.kind() != std::io::ErrorKind::InvalidData;
            }
            cause = error.source();
        }
        false
    };
    error.is_canceled() || error.is_closed() || error.is_incomplete_message() || is_reset()
}

/// Refuses answers that two readers could read in two ways.
fn accept(
    mut response: Response<Incoming>,
    mut lease: Lease,
    watch: &Rc<BodyWatch>,
    idle: Duration,
) -> Result<Response<PooledBody>, UpstreamError> {
    let headers = response.headers();
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    if lengths > 1 || (lengths == 1 && headers.contains_key(header::TRANSFER_ENCODING)) {
        return Err(UpstreamError::backend(Kind::Protocol, "the answer's length is ambiguous"));
    }
    let status = response.status().as_u16();
    if !(200..600).contains(&status) {
        return Err(UpstreamError::backend(Kind::Protocol, format!("the answer's status is {status}")));
    }
    if response.version() == Version::HTTP_10 {
        // To a backend that once said 1.0 hyper speaks 1.0, in which a body of unknown length is lost.
        lease.keep_not();
        // The client's connection is none of an old backend's business.
        *response.version_mut() = Version::HTTP_11;
    }
    if status == 204 {
        // RFC 9110 §8.6: there is none.
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    Ok(response.map(|body| PooledBody::new(body, lease, Rc::clone(watch), idle)))
}

impl Lease {
    /// The request in the form that this connection's HTTP version wants.
    fn request(
        &self,
        head: &UpstreamHead,
        backend: &Backend,
        body: RequestBody,
    ) -> Result<Request<RequestBody>, UpstreamError> {
        let ours = |error: http::Error| UpstreamError::backend(Kind::Protocol, error.to_string());
        let mut request = Request::new(body);
        *request.method_mut() = head.method.clone();
        *request.headers_mut() = head.headers.clone();
        match self.sender() {
            Sender::Http1(_) => {
                *request.uri_mut() =
                    head.path_and_query.parse::<Uri>().map_err(|error| ours(error.into()))?;
                let host = HeaderValue::from_str(&head.authority).map_err(|error| ours(error.into()))?;
                let is_chunked = request.body().size_hint().exact().is_none();
                let headers = request.headers_mut();
                headers.insert(header::HOST, host);
                if is_chunked && !headers.contains_key(header::CONTENT_LENGTH) {
                    // hyper would leave the body of a GET out.
                    headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
                }
            }
            Sender::Http2(_) => {
                let scheme = if backend.url.scheme == Scheme::Https { "https" } else { "http" };
                let authority =
                    if head.authority.is_empty() { backend.url.authority() } else { head.authority.clone() };
                *request.uri_mut() = Uri::builder()
                    .scheme(scheme)
                    .authority(authority)
                    .path_and_query(head.path_and_query.as_str())
                    .build()
                    .map_err(ours)?;
                *request.version_mut() = Version::HTTP_2;
                if head.wants_trailers {
                    request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
                }
            }
        }
        Ok(request)
    }
}

/// Waits for `future` at most the connect timeout of the node.
pub(super) async fn within<T>(
    context: &RequestContext,
    what: &str,
    future: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<T, UpstreamError> {
    let limit = Duration::from_secs(context.snapshot.config.limits.connect_timeout_secs);
    timeout(limit, future)
        .await
        .unwrap_or_else(|_| Err(UpstreamError::backend(Kind::Timeout, format!("{what} took too long"))))
}
