// SPDX-License-Identifier: Apache-2.0
//! A connection that speaks HTTP/1.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use sunbeam_listeners::LimitsSection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use super::{drain_begins, ended};
use crate::context::ConnectionInfo;
use crate::door::{Door, HeadLimits};
use crate::paced_stream::Watched;
use crate::service::Service;

/// How often a connection that drains looks whether its request, or a half-received head, has come to an end.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// How long a connection that drains waits for a request that may be on its way: closed at once, it would be
/// lost. The answer to it says `Connection: close`.
const DRAIN_IDLE: Duration = Duration::from_secs(2);

/// Header lines that hyper takes without being told; more cost an allocation for each request.
const LIBRARY_HEADERS: usize = 100;

/// Serves `stream` until it ends.
pub(super) async fn serve<T>(service: Rc<Service>, stream: T, info: ConnectionInfo)
where
    T: AsyncRead + AsyncWrite + Watched + Unpin + Send + 'static,
{
    let shared = Arc::clone(&service.shared);
    let limits = shared.snapshot.load().config.limits.clone();
    let head_limits = head_limits(&limits);
    let header_timeout = Duration::from_secs(limits.header_timeout_secs);
    let (door, state) = Door::new(stream, head_limits, header_timeout);
    let info = Rc::new(info);
    let served = Rc::new(Cell::new(0_u64));
    let drains = Rc::new(Cell::new(false));
    let requests = Rc::clone(&info);
    let handler = service_fn({
        let (state, drains) = (Arc::clone(&state), Rc::clone(&drains));
        move |request| {
            let drains = Rc::clone(&drains);
            let (service, info, state) = (Rc::clone(&service), Rc::clone(&info), Arc::clone(&state));
            let count = served.get() + 1;
            served.set(count);
            let is_last = count >= limits.keepalive_requests;
            async move {
                let mut response = service.serve(info, Some(state), request).await;
                if (is_last || drains.get()) && response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        }
    });
    let mut builder = http1::Builder::new();
    if limits.max_headers > LIBRARY_HEADERS {
        // The door has the bound; the library's own, a hundred on the stack, must not come first.
        builder.max_headers(limits.max_headers + 1);
    }
    let connection = builder
        .timer(TokioTimer::new())
        // The door keeps the head's own deadline; this one is for the silence between two requests.
        .header_read_timeout(Duration::from_secs(limits.keepalive_secs))
        .max_buf_size(buffer_bytes(&head_limits))
        .serve_connection(door, handler)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut draining = shared.draining.subscribe();
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = drain_begins(&mut draining) => {
            drains.set(true);
            let begun = Instant::now();
            let mut last_busy = begun;
            loop {
                // The handler and this function hold one each, every open request another.
                let is_busy = Rc::strong_count(&requests) > 2;
                // A head that has begun to arrive is a request that was accepted: it is still served.
                let is_partial = state.has_partial_head() && begun.elapsed() < header_timeout;
                if is_busy {
                    last_busy = Instant::now();
                }
                let rest = DRAIN_IDLE.saturating_sub(last_busy.elapsed());
                let look_again = if is_busy || is_partial { DRAIN_POLL } else { rest };
                if look_again.is_zero() {
                    break;
                }
                tokio::select! {
                    result = connection.as_mut() => return ended(result),
                    () = sleep(look_again) => {}
                }
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended(result);
}

/// A head must fit, its target three times as long when every byte of it is percent-encoded. As much of an
/// answer is taken before the client reads it.
const fn buffer_bytes(limits: &HeadLimits) -> usize {
    limits.max_head_bytes + 2 * limits.max_target_bytes + 8192
}

const fn head_limits(limits: &LimitsSection) -> HeadLimits {
    HeadLimits {
        max_head_bytes: limits.max_header_bytes,
        max_headers: limits.max_headers,
        max_target_bytes: limits.max_url_bytes,
    }
}
