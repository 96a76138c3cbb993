// SPDX-License-Identifier: Apache-2.0
//! A connection that speaks HTTP/1: one request after the other, each read ([`receive`]), served, answered ([`send`]).
//!
//! Deadlines: a head must be whole within `header_timeout_secs` of its first byte (408); a connection that says
//! nothing at all is closed after the same time. After an answer that came before its request was read to its end,
//! the connection lingers ([`LINGER`]), or the answer would be lost to a reset.

mod receive;
mod send;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use http_body::Body as _;
use sunbeam_listeners::LimitsSection;
use sunbeam_metrics::IntGauge;
use sunbeam_wire::HeadLimits;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tracing::debug;

pub(crate) use receive::Http1Body;

use super::drain_begins;
use crate::body::ClientBody;
use crate::context::ConnectionInfo;
use crate::outbox::Outbox;
use crate::paced_stream::Watched;
use crate::service::{Arrived, Service};
use crate::upgrade::{ClientStream, Upgrade};
use receive::{Facts, Received, Receiver, UNWANTED_BYTES_MAX};

/// How often a connection that drains looks whether its request, or a half-received head, has come to an end.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// How long a connection that drains waits for a request that may be on its way: closed at once, it would be
/// lost. The answer to it says `Connection: close`.
const DRAIN_IDLE: Duration = Duration::from_secs(2);

/// Silence after which a connection gives back what it needs for its requests.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// How long the rest of a request is read and thrown away after an early answer.
const LINGER: Duration = Duration::from_secs(5);

/// What stays the same while a connection is served, idle, and served again.
struct Session<T> {
    service: Rc<Service>,
    info: Rc<ConnectionInfo>,
    limits: LimitsSection,
    receiver: Rc<RefCell<Receiver<T>>>,
    stage: Cell<Stage>,
    /// The node drains: each answer is the last.
    drains: Cell<bool>,
    /// Requests so far.
    served: Cell<u64>,
    /// After how many of them the connection fell silent, and when: bytes that are no request (blank lines, empty
    /// TLS records) do not begin its time anew.
    silent: Cell<(u64, Instant)>,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has come since the last answer.
    Between,
    /// A part of a head has.
    Head,
    /// A request is served.
    Busy,
}

/// Why no more requests are served at the moment.
enum End {
    /// None has come for a while.
    Idle,
    Over,
    /// What follows is a tunnel, which waits for the stream.
    Tunnel(TunnelSender),
}

type TunnelSender = oneshot::Sender<Box<dyn ClientStream>>;

/// Serves `stream` until it ends.
pub(super) async fn serve<T>(service: Rc<Service>, stream: T, info: ConnectionInfo)
where
    T: AsyncRead + AsyncWrite + Watched + Unpin + 'static,
{
    let limits = service.shared.snapshot.load().config.limits.clone();
    let receiver = Rc::new(RefCell::new(Receiver::new(stream, head_limits(&limits))));
    let session = Session {
        service,
        info: Rc::new(info),
        limits,
        receiver,
        stage: Cell::new(Stage::Between),
        drains: Cell::new(false),
        served: Cell::new(0),
        silent: Cell::new((0, Instant::now())),
    };
    loop {
        // On the heap, so that an idle connection does without it.
        let end = Box::pin(serve_until_idle(&session)).await;
        // Whatever the reason was, nobody waits for a body that does not come.
        session.receiver.borrow_mut().end_request();
        match end {
            End::Idle => {}
            End::Over => return,
            End::Tunnel(waiting) => {
                // Nobody else has it: an upgrade has no body. A tunnel that is gone already takes nothing.
                if let Some(receiver) = Rc::into_inner(session.receiver) {
                    drop(waiting.send(Box::new(receiver.into_inner().into_tunnel())));
                }
                return;
            }
        }
        if !wait_for_bytes(&session).await {
            return close(&session).await;
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
async fn wait_for_bytes<T: Watched>(session: &Session<T>) -> bool {
    let _idle = Idle::new(session.service.shared.listener_metrics.idle_connections());
    let mut draining = session.service.shared.draining.subscribe();
    let served = session.served.get();
    if session.silent.get().0 != served {
        session.silent.set((served, Instant::now().checked_sub(IDLE_AFTER).unwrap_or_else(Instant::now)));
    }
    let closes = session.silent.get().1 + Duration::from_secs(session.limits.keepalive_secs);
    let mut readable = pin!(poll_fn(|cx| session.receiver.borrow().stream().poll_readable(cx)));
    tokio::select! {
        biased;
        () = sleep_until(closes) => false,
        () = readable.as_mut() => true,
        () = drain_begins(&mut draining) => timeout(DRAIN_IDLE, readable).await.is_ok(),
    }
}

/// Serves requests until none has come for a while.
async fn serve_until_idle<T>(session: &Session<T>) -> End
where
    T: AsyncRead + AsyncWrite + Watched + Unpin + 'static,
{
    let mut draining = session.service.shared.draining.subscribe();
    let mut serving = pin!(serve_requests(session));
    tokio::select! {
        end = serving.as_mut() => return end,
        () = idles(session) => return End::Idle,
        () = drain_begins(&mut draining) => {}
    }
    session.drains.set(true);
    let begun = Instant::now();
    let header_timeout = Duration::from_secs(session.limits.header_timeout_secs);
    let mut last_busy = begun;
    loop {
        let is_busy = match session.stage.get() {
            Stage::Busy => true,
            // A head that has begun to arrive is a request that was accepted: it is still served.
            Stage::Head => begun.elapsed() < header_timeout,
            Stage::Between => false,
        };
        if is_busy {
            last_busy = Instant::now();
        }
        let rest = DRAIN_IDLE.saturating_sub(last_busy.elapsed());
        if rest.is_zero() {
            break;
        }
        tokio::select! {
            end = serving.as_mut() => return end,
            () = sleep(if is_busy { DRAIN_POLL } else { rest }) => {}
        }
    }
    close(session).await;
    End::Over
}

/// One request after the other.
async fn serve_requests<T>(session: &Session<T>) -> End
where
    T: AsyncRead + AsyncWrite + Watched + Unpin + 'static,
{
    let mut outbox = Outbox::default();
    let mut deadline = Deadline::new(session);
    loop {
        let Some((arrived, facts, tunnel)) = arrival(session, deadline.next_head(session).await) else {
            break;
        };
        session.stage.set(Stage::Busy);
        session.served.set(session.served.get() + 1);
        let answered = {
            let mut serving = pin!(Rc::clone(&session.service).serve(Rc::clone(&session.info), arrived));
            poll_fn(|cx| match serving.as_mut().poll(cx) {
                Poll::Ready(response) => Poll::Ready(Some(response)),
                Poll::Pending => session.receiver.borrow_mut().poll_gone(cx).map(|()| None),
            })
            .await
        };
        let Some(mut response) = answered else { return End::Over };
        let is_tunnel = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let is_last = session.served.get() >= session.limits.keepalive_requests || session.drains.get();
        if is_last && !is_tunnel {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        // A short answer is over before the rest of a long upload has come.
        let is_short = response.size_hint().exact().is_some_and(|length| length <= UNWANTED_BYTES_MAX);
        let must_close =
            poll_fn(|cx| Poll::Ready(session.receiver.borrow_mut().must_close(cx, is_short))).await;
        let facts = Facts { closes: facts.closes || must_close, ..facts };
        let keeps = match send::send(&session.receiver, &mut outbox, response, facts).await {
            Ok(keeps) => keeps,
            Err(error) => {
                debug!(%error, "client connection ended");
                return End::Over;
            }
        };
        if let (Some(tunnel), true) = (tunnel, is_tunnel) {
            return End::Tunnel(tunnel);
        }
        session.receiver.borrow_mut().end_request();
        if !keeps || !is_received(session).await {
            break;
        }
        session.stage.set(Stage::Between);
        // A client that sends a thousand requests at once is not the only one.
        tokio::task::consume_budget().await;
    }
    close(session).await;
    End::Over
}

/// What the service gets of what has come, and who waits for the stream if it makes a tunnel of it; `None` at the end.
fn arrival<T>(session: &Session<T>, received: Received) -> Option<(Arrived, Facts, Option<TunnelSender>)>
where
    T: AsyncRead + AsyncWrite + Watched + Unpin + 'static,
{
    let (parts, facts, raw) = match received {
        Received::End => return None,
        Received::Refused(refusal) => return Some((Arrived::refused(refusal), Facts::default(), None)),
        Received::Request(parts, facts, raw) => (parts, facts, raw),
    };
    let body =
        if facts.has_body { ClientBody::Http1(Http1Body::new(&session.receiver)) } else { ClientBody::None };
    let (tunnel, client) = if facts.may_upgrade {
        let (tunnel, coming) = oneshot::channel();
        (Some(tunnel), Upgrade::Http1(coming))
    } else {
        (None, Upgrade::None)
    };
    Some((Arrived { parts, raw, body, client, refusal: None }, facts, tunnel))
}

/// When a head must be whole.
struct Deadline {
    timer: Option<Pin<Box<Sleep>>>,
    /// A part of a head has come, and the timer is its own.
    is_of_head: bool,
}

impl Deadline {
    /// A new connection must say something.
    fn new<T>(session: &Session<T>) -> Self {
        let is_new = session.served.get() == 0;
        let timer = || Box::pin(sleep(Duration::from_secs(session.limits.header_timeout_secs)));
        Self { timer: is_new.then(timer), is_of_head: false }
    }

    async fn next_head<T>(&mut self, session: &Session<T>) -> Received
    where
        T: AsyncRead + AsyncWrite + Watched + Unpin,
    {
        let received = poll_fn(|cx| {
            let mut receiver = session.receiver.borrow_mut();
            if let Poll::Ready(received) = receiver.poll_head(cx) {
                return Poll::Ready(received);
            }
            let has_part = receiver.has_partial_head();
            session.stage.set(if has_part { Stage::Head } else { Stage::Between });
            if has_part && !self.is_of_head {
                self.is_of_head = true;
                let limit = Duration::from_secs(session.limits.header_timeout_secs);
                self.timer = Some(Box::pin(sleep(limit)));
            }
            match self.timer.as_mut().map(|timer| timer.as_mut().poll(cx)) {
                Some(Poll::Ready(())) if has_part => {
                    Poll::Ready(receiver.refuse(408, "the head did not arrive in time"))
                }
                Some(Poll::Ready(())) => Poll::Ready(Received::End),
                _ => Poll::Pending,
            }
        })
        .await;
        (self.timer, self.is_of_head) = (None, false);
        received
    }
}

/// Whether the request was read to its end, as the next one lies behind it. A small rest is waited for.
async fn is_received<T>(session: &Session<T>) -> bool
where
    T: AsyncRead + AsyncWrite + Watched + Unpin,
{
    let mut discarding = pin!(poll_fn(|cx| session.receiver.borrow_mut().poll_discard(cx)));
    // Nearly always it was, and no timer need be made.
    match poll_fn(|cx| Poll::Ready(discarding.as_mut().poll(cx))).await {
        Poll::Ready(is_received) => is_received,
        Poll::Pending => timeout(LINGER, discarding).await.unwrap_or(false),
    }
}

/// Says goodbye. A client that does not take it, or goes on sending, is waited for no longer than [`LINGER`].
async fn close<T>(session: &Session<T>)
where
    T: AsyncRead + AsyncWrite + Watched + Unpin,
{
    drop(timeout(LINGER, poll_fn(|cx| session.receiver.borrow_mut().poll_close(cx))).await);
}

/// Ready when a request has been served and then none has come for [`IDLE_AFTER`]. Looks now and then: a
/// timer that each request moves would cost each request.
async fn idles<T>(session: &Session<T>) {
    loop {
        let before = session.served.get();
        sleep(IDLE_AFTER).await;
        let is_silent =
            session.stage.get() == Stage::Between && !session.receiver.borrow().has_partial_head();
        if before > 0 && session.served.get() == before && is_silent {
            return;
        }
    }
}

const fn head_limits(limits: &LimitsSection) -> HeadLimits {
    HeadLimits {
        max_head_bytes: limits.max_header_bytes,
        max_headers: limits.max_headers,
        max_target_bytes: limits.max_url_bytes,
    }
}
