// SPDX-License-Identifier: Apache-2.0
//! Asking backends: which one, connections, their pool, careful retries.
//!
//! A backend that refuses or cannot be found is 502, one that does not answer in time 504, and when all of
//! a list are left out it is 503; each failure is counted by kind in `sunbeam_upstream_errors_total`.

mod attempts;
mod balance;
mod check;
mod connect;
mod group;
mod health;
mod http1;
mod pool;
mod upload;

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use sunbeam_routing::{Backend, Scheme};
use tokio::time::{Instant, sleep_until};

pub(crate) use attempts::{Attempts, Turn};
pub(crate) use check::Checks;
pub(crate) use connect::open_http1;
pub(crate) use group::BackendGroup;
pub(crate) use health::{BackendCounts, BackendState};
pub(crate) use http1::Tunnel;
pub(crate) use pool::{Lease, Pool, PooledBody};

use crate::body::{BodyFault, BodyWatch, RequestBody};
use connect::connect;
use pool::Checkout;

/// What went wrong with a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Dns,
    Connect,
    Tls,
    Timeout,
    Reset,
    Protocol,
    /// A request that cannot be written: not the backend's doing.
    Ours,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Protocol | Self::Ours => "protocol",
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
    #[error("the request's body {}", match fault {
        BodyFault::TooLarge => "is too large",
        BodyFault::TooSlow => "comes too slowly",
        _ => "broke off",
    })]
    Client { fault: BodyFault },
    /// All backends are left out.
    #[error("no healthy backend")]
    NoBackend { retry_after_secs: u64 },
}

impl UpstreamError {
    pub(crate) fn backend(kind: Kind, why: impl Into<String>) -> Self {
        Self::Backend { kind, why: why.into() }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Backend { kind: Kind::Timeout, .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Backend { .. } => StatusCode::BAD_GATEWAY,
            Self::NoBackend { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Client { fault: BodyFault::TooLarge } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Client { fault: BodyFault::TooSlow } => StatusCode::REQUEST_TIMEOUT,
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
    /// What we say ourselves, behind `headers`, in which none of it is.
    pub(crate) ours: Vec<(HeaderName, HeaderValue)>,
    /// The Host it is sent; `None`: the backend's own.
    pub(crate) authority: Option<String>,
    /// `TE: trailers` was sent: gRPC.
    pub(crate) wants_trailers: bool,
}

impl UpstreamHead {
    /// The Host for this backend.
    pub(crate) fn authority_for(&self, backend: &Backend) -> String {
        self.authority.clone().unwrap_or_else(|| backend.url.authority())
    }
}

/// Sends a request and returns the answer's head; its body follows.
///
/// Another backend is asked only if nothing was written to the first. A kept connection that died before a
/// byte of the answer costs a new one, if nothing was written to it or the request is idempotent and has no
/// body. A trial is such a request too: it goes elsewhere when the backend dies of it.
pub(crate) async fn send(
    attempts: &mut Attempts<'_>,
    head: &UpstreamHead,
    body: RequestBody,
    watch: &Rc<BodyWatch>,
) -> Result<Response<PooledBody>, UpstreamError> {
    let limits = &attempts.context().snapshot.config.limits;
    let answer_timeout = Duration::from_secs(limits.backend_timeout_secs);
    let may_repeat = attempts.may_repeat && body.is_empty();
    let mut pending = Some(body);
    let mut reuse = Checkout::for_request(may_repeat);
    let mut again = None;
    loop {
        let turn = match again.take() {
            Some(turn) => turn,
            None => attempts.next()?,
        };
        let mut lease = match attempts.pool.checkout(&turn.state.backend, reuse) {
            Some(lease) => lease,
            // On the heap, so that the future of a request that needs no new connection stays small.
            None => match Box::pin(connect(attempts.pool, attempts.context(), &turn.state.backend)).await {
                Ok(lease) => lease,
                Err(error) => {
                    attempts.next_may_try(&turn, error, true)?;
                    continue;
                }
            },
        };
        turn.count();
        let body = pending.take().unwrap_or_else(|| RequestBody::none().0);
        let failure = match lease.exchange(head, body, watch, answer_timeout).await {
            Ok(response) => {
                let answer =
                    accept(response, &mut lease).map_err(|error| attempts.note(&turn, error, false))?;
                turn.succeeded();
                let watch = Rc::clone(watch);
                return Ok(answer.map(|stream| PooledBody::new(stream, lease, turn, watch, answer_timeout)));
            }
            Err(failure) => failure,
        };
        let was_untouched = failure.unsent.is_some() || (may_repeat && failure.is_dead);
        if lease.is_reused() && was_untouched && attempts.same_may_try() {
            (pending, reuse, again) = (failure.unsent, Checkout::Never, Some(turn));
        } else if failure.unsent.is_some() || (turn.is_trial && may_repeat && failure.is_dead) {
            attempts.next_may_try(&turn, failure.error, false)?;
            pending = failure.unsent;
        } else {
            return Err(give_up(attempts, &turn, &lease, failure.error, watch));
        }
    }
}

fn give_up(
    attempts: &Attempts<'_>,
    turn: &Turn,
    lease: &Lease,
    error: UpstreamError,
    watch: &BodyWatch,
) -> UpstreamError {
    if !matches!(error, UpstreamError::Backend { kind: Kind::Timeout, .. }) {
        return attempts.note(turn, error, false);
    }
    lease.distrust();
    if watch.ended() {
        return attempts.note(turn, error, false);
    }
    // The client may have stopped sending: that is nothing to hold against the backend.
    let url = turn.state.backend.url.as_str();
    attempts.context().shared.metrics.upstream_errors(url, Kind::Timeout.as_str()).inc();
    error
}

/// Why a connection brought no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: UpstreamError,
    /// The body, if not a byte of the request was written.
    unsent: Option<RequestBody>,
    /// The connection ended before an answer.
    is_dead: bool,
}

impl Failure {
    /// After which nothing may be tried again.
    const fn of(error: UpstreamError) -> Self {
        Self { error, unsent: None, is_dead: false }
    }
}

/// Waits for a stream's answer.
async fn answer_in_time(
    sending: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>,
    watch: &BodyWatch,
    answer_timeout: Duration,
) -> Result<Response<Incoming>, Failure> {
    let mut sending = pin!(sending);
    watch.touch();
    loop {
        let deadline = watch.progress() + answer_timeout;
        tokio::select! {
            biased;
            result = &mut sending => {
                return result.map_err(|mut failed| {
                    let unsent = failed.take_message().map(Request::into_body);
                    let error = failed.into_error();
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
                    return Err(Failure::of(UpstreamError::backend(Kind::Timeout, "no answer in time")));
                }
            }
        }
    }
}

/// The stream ended, in whatever way, before an answer.
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

/// Refuses answers that two readers could read in two ways, as far as their version's reader did not.
pub(crate) fn accept(
    mut response: Response<Option<Incoming>>,
    lease: &mut Lease,
) -> Result<Response<Option<Incoming>>, UpstreamError> {
    if response.version() == Version::HTTP_2
        && response.headers().get_all(header::CONTENT_LENGTH).iter().count() > 1
    {
        return Err(UpstreamError::backend(Kind::Protocol, "the answer's length is ambiguous"));
    }
    let status = response.status().as_u16();
    if !(200..600).contains(&status) {
        return Err(UpstreamError::backend(Kind::Protocol, format!("the answer's status is {status}")));
    }
    if response.version() == Version::HTTP_10 {
        lease.keep_not();
        // The client's connection is none of an old backend's business.
        *response.version_mut() = Version::HTTP_11;
    }
    if status == 204 {
        // RFC 9110 §8.6: there is none.
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    Ok(response)
}

fn http2_request(
    head: &UpstreamHead,
    body: RequestBody,
    backend: &Backend,
) -> Result<Request<RequestBody>, UpstreamError> {
    let scheme = if backend.url.scheme == Scheme::Https { "https" } else { "http" };
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = Uri::builder()
        .scheme(scheme)
        .authority(head.authority_for(backend))
        .path_and_query(head.path_and_query.as_str())
        .build()
        .map_err(|error| Kind::ours(&error))?;
    *request.headers_mut() = head.headers.clone();
    request.headers_mut().remove(header::HOST);
    request.headers_mut().extend(head.ours.iter().cloned());
    if head.wants_trailers {
        request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
    }
    Ok(request)
}
