// SPDX-License-Identifier: Apache-2.0
//! A connection that speaks HTTP/1.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use sunbeam_listeners::LimitsSection;
use sunbeam_metrics::IntGauge;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{drain_begins, ended};
use crate::context::ConnectionInfo;
use crate::door::{Door, HeadLimits};
use crate::lent::Lent;
use crate::paced_stream::Watched;
use crate::service::Service;

/// How often a connection that drains looks whether its request, or a half-received head, has come to an end.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// How long a connection that drains waits for a request that may be on its way: closed at once, it would be
/// lost. The answer to it says `Connection: close`.
const DRAIN_IDLE: Duration = Duration::from_secs(2);

/// Header lines that hyper takes without being told; more cost an allocation for each request.
const LIBRARY_HEADERS: usize = 100;

/// Silence after which a connection is taken out of the library's hands: its buffers are given back.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// How long a client may take for the last bytes of a connection that ends for its silence.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// What stays the same while a connection is served, idle, and served again.
struct Session {
    service: Rc<Service>,
    info: Rc<ConnectionInfo>,
    limits: LimitsSection,
    /// Requests so far.
    served: Rc<Cell<u64>>,
    /// After how many of them the connection fell silent, and when: bytes that are no request (blank lines, empty
    /// TLS records) do not begin its time anew.
    silent: Cell<(u64, Instant)>,
}

/// Serves `stream` until it ends.
pub(super) async fn serve<T>(service: Rc<Service>, mut stream: T, info: ConnectionInfo)
where
    T: AsyncRead + AsyncWrite + Watched + Unpin + Send + 'static,
{
    let limits = service.shared.snapshot.load().config.limits.clone();
    let (served, silent) = (Rc::default(), Cell::new((0, Instant::now())));
    let session = Session { service, info: Rc::new(info), limits, served, silent };
    loop {
        // On the heap, so that an idle connection does without it.
        match Box::pin(serve_until_idle(&session, stream)).await {
            Some(idle) => stream = idle,
            None => return,
        }
        if !wait_for_bytes(&session, &stream).await {
            // A client that is gone, or does not care, need not take the goodbye.
            drop(timeout(CLOSE_WITHIN, stream.shutdown()).await);
            return;
        }
    }
}

/// Counts a connection as idle until it is dropped.
struct Idle(IntGauge);

impl Idle {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// `false`: nothing came in time.
async fn wait_for_bytes<T: Watched>(session: &Session, stream: &T) -> bool {
    let _idle = Idle::new(session.service.shared.listener_metrics.idle_connections());
    let mut draining = session.service.shared.draining.subscribe();
    let served = session.served.get();
    if session.silent.get().0 != served {
        session.silent.set((served, Instant::now().checked_sub(IDLE_AFTER).unwrap_or_else(Instant::now)));
    }
    let closes = session.silent.get().1 + Duration::from_secs(session.limits.keepalive_secs);
    let mut readable = pin!(poll_fn(|cx| stream.poll_readable(cx)));
    tokio::select! {
        biased;
        () = sleep_until(closes) => false,
        () = readable.as_mut() => true,
        () = drain_begins(&mut draining) => timeout(DRAIN_IDLE, readable).await.is_ok(),
    }
}

/// Serves requests; gives the stream back when none has come for a while.
async fn serve_until_idle<T>(session: &Session, stream: T) -> Option<T>
where
    T: AsyncRead + AsyncWrite + Watched + Unpin + Send + 'static,
{
    let Session { service, info, limits, served, .. } = session;
    let shared = Arc::clone(&service.shared);
    let head_limits = head_limits(limits);
    let header_timeout = Duration::from_secs(limits.header_timeout_secs);
    let (stream, home) = Lent::new(stream);
    let (door, state) = Door::new(stream, head_limits, header_timeout);
    let drains = Rc::new(Cell::new(false));
    let handler = service_fn({
        let (state, drains) = (Arc::clone(&state), Rc::clone(&drains));
        let (service, info, served) = (Rc::clone(service), Rc::clone(info), Rc::clone(served));
        let keepalive_requests = limits.keepalive_requests;
        move |request| {
            let drains = Rc::clone(&drains);
            let (service, info, state) = (Rc::clone(&service), Rc::clone(&info), Arc::clone(&state));
            let count = served.get() + 1;
            served.set(count);
            let is_last = count >= keepalive_requests;
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
        // The door keeps the deadline of a head, and the silence between two is waited for outside.
        .header_read_timeout(None)
        .max_buf_size(buffer_bytes(&head_limits))
        .serve_connection(door, handler)
        .with_upgrades();
    // The handler and the session hold one each, every open request another.
    let is_busy = || Rc::strong_count(info) > 2;
    let is_idle = || !is_busy() && state.is_between_requests() && !home.is_blocked();
    {
        let mut connection = pin!(connection);
        let mut draining = shared.draining.subscribe();
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = idles(served, is_idle) => {
                home.call();
                Ok(())
            }
            () = drain_begins(&mut draining) => {
                drains.set(true);
                let begun = Instant::now();
                let mut last_busy = begun;
                loop {
                    // A head that has begun to arrive is a request that was accepted: it is still served.
                    let is_partial = state.has_partial_head() && begun.elapsed() < header_timeout;
                    if is_busy() {
                        last_busy = Instant::now();
                    }
                    let rest = DRAIN_IDLE.saturating_sub(last_busy.elapsed());
                    let look_again = if is_busy() || is_partial { DRAIN_POLL } else { rest };
                    if look_again.is_zero() {
                        break;
                    }
                    tokio::select! {
                        result = connection.as_mut() => {
                            ended(result);
                            return None;
                        }
                        () = sleep(look_again) => {}
                    }
                }
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        ended(result);
    }
    home.take()
}

/// Ready when a request has been served and then none has come for [`IDLE_AFTER`]. Looks now and then: a
/// timer that each request moves would cost each request.
async fn idles(served: &Cell<u64>, is_idle: impl Fn() -> bool) {
    loop {
        let before = served.get();
        sleep(IDLE_AFTER).await;
        if before > 0 && served.get() == before && is_idle() {
            return;
        }
    }
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
