// SPDX-License-Identifier: Apache-2.0
//! A connection that speaks HTTP/2.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::ready;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sunbeam_listeners::{LimitsSection, ListenerMetrics};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{drain_begins, ended};
use crate::context::ConnectionInfo;
use crate::executor::LocalExecutor;
use crate::frame_watch::{FrameWatch, Ledger};
use crate::pace::Pace;
use crate::paced_body::{PacedBody, last_piece_may_take};
use crate::service::{Arrived, Service};

/// Buffered answer bytes of one stream: two frames of the usual size.
const SEND_BUFFER_BYTES: usize = 32 * 1024;

/// Flow-control windows.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// Streams that a client may make the library reset (CVE-2025-8671) before its connection goes.
const LOCAL_RESETS_MAX: usize = 100;

/// Between asking a client for a new connection and naming the last request that is served on this one.
const LAST_CALL: Duration = Duration::from_secs(1);

/// How long a client that is cut off may take to hear why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves `stream` until it ends.
pub(super) async fn serve<T>(service: Rc<Service>, stream: T, info: ConnectionInfo)
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let shared = Arc::clone(&service.shared);
    let limits = shared.snapshot.load().config.limits.clone();
    let info = Rc::new(info);
    let watchdog = Rc::new(Watchdog::new(&limits, &info, shared.listener_metrics.clone()));
    let handler = service_fn({
        let watchdog = Rc::clone(&watchdog);
        move |request| {
            let (service, info) = (Rc::clone(&service), Rc::clone(&info));
            watchdog.served.set(watchdog.served.get() + 1);
            let watch = watchdog.executor.watch_next();
            async move {
                let response = service.serve(info, Arrived::of_http2(request)).await;
                Ok::<_, Infallible>(response.map(|body| PacedBody::new(body, watch)))
            }
        }
    });
    // Above this the library answers 431 by itself, with neither page nor record; the service has its
    // own, stricter bound. The RFC counts 32 bytes more for each field.
    let header_bytes = limits.max_header_bytes.saturating_add(limits.max_headers.saturating_mul(32));
    let header_bytes = u32::try_from(header_bytes.saturating_mul(2)).unwrap_or(u32::MAX);
    let connection = http2::Builder::new(watchdog.executor.clone())
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams_per_connection)
        .max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
        .max_header_list_size(header_bytes)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(FrameWatch::new(stream, Rc::clone(&watchdog.ledger))), handler);
    let mut connection = pin!(connection);
    let mut draining = shared.draining.subscribe();
    let mut said_goodbye = false;
    loop {
        let closing = watchdog.closing.get();
        let last_call = closing.map_or_else(Instant::now, |since| since + LAST_CALL);
        tokio::select! {
            biased;
            result = connection.as_mut() => {
                if result.as_ref().is_err_and(was_a_flood) {
                    shared.listener_metrics.limit_hits("http2_library").inc();
                }
                return ended(result);
            }
            verdict = watchdog.verdict() => match verdict {
                Verdict::Finish => {}
                Verdict::Cut => {
                    connection.as_mut().graceful_shutdown();
                    // Whether it hears or not, it is over.
                    drop(timeout(LAST_WORDS, connection).await);
                    return;
                }
                Verdict::HangUp => return,
            },
            () = drain_begins(&mut draining), if closing.is_none() => {}
            () = sleep_until(last_call), if closing.is_some() && !said_goodbye => {
                said_goodbye = true;
                connection.as_mut().graceful_shutdown();
                continue;
            }
        }
        if watchdog.closing.get().is_none() {
            watchdog.closing.set(Some(Instant::now()));
            watchdog.ledger.announce_end();
        }
    }
}

/// Whether the library ended the connection for what it bounds itself: resets that it was tricked into, streams
/// that are reset before they are served, CONTINUATION without end.
fn was_a_flood(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| cause.is_library() && cause.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM))
}

/// What is to become of a connection.
enum Verdict {
    /// The client is asked to go; what runs, and what is on its way, may finish.
    Finish,
    /// It is over a limit: GOAWAY, and out.
    Cut,
    /// It was told to go, and has not gone; or sends more than may wait.
    HangUp,
}

/// The deadlines that HTTP/2 does not have: for the first request, for a header block, for a client that
/// does not read, for idleness (pings would keep a connection for ever), for the number of requests.
struct Watchdog {
    ledger: Rc<Ledger>,
    info: Rc<ConnectionInfo>,
    executor: LocalExecutor,
    metrics: ListenerMetrics,
    served: Cell<u64>,
    /// Since when the client is asked to go.
    closing: Cell<Option<Instant>>,
    begun: Instant,
    pace: Pace,
    header_timeout: Duration,
    keepalive: Duration,
    requests_max: u64,
}

impl Watchdog {
    fn new(limits: &LimitsSection, info: &Rc<ConnectionInfo>, metrics: ListenerMetrics) -> Self {
        Self {
            ledger: Ledger::new(Rc::clone(info), limits.max_streams_per_connection, metrics.clone()),
            info: Rc::clone(info),
            executor: LocalExecutor::default(),
            metrics,
            served: Cell::new(0),
            closing: Cell::new(None),
            begun: Instant::now(),
            pace: Pace::new(limits.min_send_rate_bytes),
            header_timeout: Duration::from_secs(limits.header_timeout_secs),
            keepalive: Duration::from_secs(limits.keepalive_secs),
            requests_max: limits.keepalive_requests,
        }
    }

    /// Polled after the connection, in the same task: what the frames told is judged at once. The timer
    /// ticks only while something runs; it is moved when a connection wakes up, not for each request.
    async fn verdict(&self) -> Verdict {
        let mut timer = pin!(sleep(self.pace.look_every()));
        let mut ticks = true;
        poll_fn(|cx| {
            if let Some(verdict) = self.of_counts() {
                return verdict.into();
            }
            if !ticks && self.is_busy() {
                ticks = true;
                timer.as_mut().reset(Instant::now() + self.pace.look_every());
            }
            loop {
                ready!(timer.as_mut().poll(cx));
                let now = Instant::now();
                if let Some(verdict) = self.look(now) {
                    return verdict.into();
                }
                ticks = self.is_busy();
                let wait = if ticks { self.pace.look_every() } else { self.idle_left(now) };
                timer.as_mut().reset(now + wait);
            }
        })
        .await
    }

    fn is_busy(&self) -> bool {
        self.executor.running() > 0
            || self.ledger.requests() == 0
            || self.ledger.has_streams()
            || self.ledger.partial_since().is_some()
    }

    fn of_counts(&self) -> Option<Verdict> {
        let (served, is_closing) = (self.served.get(), self.closing.get().is_some());
        if self.info.is_cut.get() {
            // To let it go on until it has heard would be what it wants.
            Some(Verdict::HangUp)
        } else if self.ledger.is_over() {
            Some(Verdict::Cut)
        } else if served >= self.requests_max && !is_closing {
            Some(Verdict::Finish)
        } else if served >= self.requests_max.saturating_mul(2) {
            // It goes on and on after GOAWAY.
            Some(Verdict::HangUp)
        } else {
            None
        }
    }

    fn look(&self, now: Instant) -> Option<Verdict> {
        let slow = self.executor.end_too_slow(now, self.pace);
        if slow > 0 {
            self.metrics.limit_hits("min_send_rate_bytes").inc_by(slow as u64);
        }
        if self.ledger.requests() == 0 && now - self.begun >= self.header_timeout {
            return self.cut("http2_preface");
        }
        if self.ledger.partial_since().is_some_and(|since| now - since >= self.header_timeout) {
            return self.cut("header_timeout_secs");
        }
        // Answers that wait in the library for room have no task any more that could be ended.
        let stuck = self.ledger.stuck(now, last_piece_may_take(&self.pace));
        if stuck > self.executor.running() && self.closing.get().is_none() {
            return self.cut("min_send_rate_bytes");
        }
        match self.idle_left(now) {
            Duration::ZERO if self.closing.get().is_some() => Some(Verdict::HangUp),
            Duration::ZERO => Some(Verdict::Finish),
            _ => None,
        }
    }

    fn cut(&self, limit: &str) -> Option<Verdict> {
        self.ledger.cut(limit);
        Some(Verdict::Cut)
    }

    /// How long the connection may be idle yet.
    fn idle_left(&self, now: Instant) -> Duration {
        match self.executor.idle_since() {
            Some(since) => {
                let since = self.closing.get().map_or(since, |closing| closing.max(since));
                self.keepalive.saturating_sub(now - since)
            }
            None => self.keepalive,
        }
    }
}
