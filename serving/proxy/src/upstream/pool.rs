// SPDX-License-Identifier: Apache-2.0
//! Connections to backends that are kept for the next request. One pool a thread: no locks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use sunbeam_routing::Backend;
use tokio::time::{Instant, Sleep, sleep_until};

use super::attempts::Turn;
use super::group::Rotation;
use super::http1::{Connection, Tunnel};
use super::{Failure, UpstreamError, UpstreamHead, http2_request};
use crate::body::{BodyFault, BodyWatch, BoxError, RequestBody};
use crate::request::strip_trailers;

/// Kept connections to one backend. A backend that is asked more at once gets new ones.
const KEPT_PER_BACKEND: usize = 128;

/// How long a connection is kept: below the five seconds after which Node.js and uvicorn hang up.
const KEPT_FOR: Duration = Duration::from_secs(4);

/// For a request that cannot be repeated: a connection that the backend has hardly had time to close.
const FRESH_FOR: Duration = Duration::from_millis(1000);

/// Which kept connections a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checkout {
    Any,
    /// It could not be repeated if the connection turned out dead.
    Recent,
    Never,
}

impl Checkout {
    pub(super) const fn for_request(may_repeat: bool) -> Self {
        if may_repeat { Self::Any } else { Self::Recent }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    backends: RefCell<HashMap<Arc<Backend>, Kept>>,
    pub(super) rotation: Rotation,
}

#[derive(Debug, Default)]
struct Kept {
    http1: Vec<(Connection, Instant)>,
    http2: Option<http2::SendRequest<RequestBody>>,
}

/// One connection, or a share of it.
#[derive(Debug)]
pub(crate) enum Sender {
    Http1(Connection),
    Http2(http2::SendRequest<RequestBody>),
}

/// A connection that a request has for itself (HTTP/1) or shares (HTTP/2).
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Rc<Pool>,
    backend: Arc<Backend>,
    sender: Sender,
    reused: bool,
    /// It may be kept for another request.
    keeps: bool,
}

impl Pool {
    /// Of the `thread`-th thread.
    pub(crate) fn new(thread: usize) -> Self {
        Self { backends: RefCell::default(), rotation: Rotation::new(thread) }
    }

    pub(super) fn checkout(self: &Rc<Self>, backend: &Arc<Backend>, which: Checkout) -> Option<Lease> {
        let newest = match which {
            Checkout::Any => KEPT_FOR,
            Checkout::Recent => FRESH_FOR,
            Checkout::Never => return None,
        };
        let mut backends = self.backends.borrow_mut();
        let kept = backends.get_mut(backend)?;
        let lease = |sender| Lease {
            pool: Rc::clone(self),
            backend: Arc::clone(backend),
            sender,
            reused: true,
            keeps: true,
        };
        if let Some(sender) = &kept.http2 {
            if !sender.is_closed() {
                return Some(lease(Sender::Http2(sender.clone())));
            }
            kept.http2 = None;
        }
        // The newest first. One that is not open any more goes: what a backend sent beyond its answer
        // closes it too.
        loop {
            let (_, since) = kept.http1.last()?;
            if since.elapsed() > newest {
                // It and those below serve a request that may be repeated, or are swept.
                return None;
            }
            let (connection, _) = kept.http1.pop()?;
            let is_open = match which {
                Checkout::Recent => connection.is_surely_open(),
                _ => connection.is_open(),
            };
            if is_open {
                return Some(lease(Sender::Http1(connection)));
            }
        }
    }

    /// Forgets what is closed or too old, and backends that the configuration no longer has: what runs
    /// on their connections goes on. Called now and then by the thread.
    pub(crate) fn sweep(&self, is_configured: impl Fn(&Arc<Backend>) -> bool) {
        self.backends.borrow_mut().retain(|backend, kept| {
            if !is_configured(backend) {
                return false;
            }
            kept.http1.retain(|(connection, since)| since.elapsed() <= KEPT_FOR && connection.is_open());
            if kept.http2.as_ref().is_some_and(http2::SendRequest::is_closed) {
                kept.http2 = None;
            }
            kept.http2.is_some() || !kept.http1.is_empty()
        });
    }

    fn keep(&self, backend: Arc<Backend>, connection: Connection) {
        let mut backends = self.backends.borrow_mut();
        let kept = backends.entry(backend).or_default();
        if kept.http1.len() >= KEPT_PER_BACKEND {
            kept.http1.retain(|(connection, _)| connection.is_open());
        }
        if kept.http1.len() < KEPT_PER_BACKEND {
            kept.http1.push((connection, Instant::now()));
        }
    }
}

impl Lease {
    /// A new connection. One of HTTP/2 is shared from the start.
    pub(crate) fn fresh(pool: Rc<Pool>, backend: Arc<Backend>, sender: Sender) -> Self {
        if let Sender::Http2(sender) = &sender {
            pool.backends.borrow_mut().entry(Arc::clone(&backend)).or_default().http2 = Some(sender.clone());
        }
        Self { pool, backend, sender, reused: false, keeps: true }
    }

    /// No answer came in time: the next request gets a connection of its own, because a host that
    /// vanished without a word would hold each of them for as long. Streams that run here go on. (Pings
    /// would tell sooner, but gRPC servers hang up on peers that ping more often than every five minutes.)
    pub(super) fn distrust(&self) {
        if let (Sender::Http2(_), Some(kept)) =
            (&self.sender, self.pool.backends.borrow_mut().get_mut(&self.backend))
        {
            kept.http2 = None;
        }
    }

    /// This connection ends with this request.
    pub(crate) const fn keep_not(&mut self) {
        self.keeps = false;
    }

    pub(super) const fn is_reused(&self) -> bool {
        self.reused
    }

    /// Sends the request and reads the answer's head. Over HTTP/2 its body comes with it; over HTTP/1 the
    /// lease has it.
    pub(crate) async fn exchange(
        &mut self,
        head: &UpstreamHead,
        body: RequestBody,
        watch: &BodyWatch,
        answer_timeout: Duration,
    ) -> Result<Response<Option<Incoming>>, Failure> {
        match &mut self.sender {
            Sender::Http1(connection) => {
                let answer = connection.exchange(head, body, &self.backend, watch, answer_timeout).await?;
                Ok(answer.map(|()| None))
            }
            Sender::Http2(sender) => {
                let request = http2_request(head, body, &self.backend).map_err(Failure::of)?;
                let sending = sender.try_send_request(request);
                super::answer_in_time(sending, watch, answer_timeout).await.map(|answer| answer.map(Some))
            }
        }
    }

    /// The stream behind a `101`; none over HTTP/2.
    pub(crate) fn into_tunnel(self) -> Option<Tunnel> {
        match self.sender {
            Sender::Http1(connection) => connection.into_tunnel(),
            Sender::Http2(_) => None,
        }
    }

    const fn connection_mut(&mut self) -> Option<&mut Connection> {
        match &mut self.sender {
            Sender::Http1(connection) => Some(connection),
            Sender::Http2(_) => None,
        }
    }

    /// The answer was read to its end: keep the connection. It is used again once it is ready.
    fn give_back(self) {
        if let Sender::Http1(mut connection) = self.sender
            && self.keeps
            && connection.may_be_kept()
        {
            self.pool.keep(self.backend, connection);
        }
    }
}

/// An answer's body. Read to its end, it gives its connection back; dropped before, it closes it.
#[derive(Debug)]
pub(crate) struct PooledBody {
    /// Over HTTP/2. Over HTTP/1 the lease has the body.
    stream: Option<Incoming>,
    /// There until the end.
    lease: Option<Lease>,
    /// In flight until the last byte.
    turn: Option<Turn>,
    request: Rc<BodyWatch>,
    idle: Duration,
    /// The timer runs, on the connection's own or, over HTTP/2, here.
    waits: bool,
    timer: Option<Pin<Box<Sleep>>>,
    /// What broke it off.
    broken: Option<BoxError>,
}

impl PooledBody {
    pub(crate) fn new(
        stream: Option<Incoming>,
        lease: Lease,
        turn: Turn,
        request: Rc<BodyWatch>,
        idle: Duration,
    ) -> Self {
        let mut body = Self {
            stream,
            lease: Some(lease),
            turn: Some(turn),
            request,
            idle,
            waits: false,
            timer: None,
            broken: None,
        };
        if body.is_end_stream() {
            body.finish();
        }
        body
    }

    fn connection(&self) -> Option<&Connection> {
        self.lease.as_ref().and_then(|lease| match &lease.sender {
            Sender::Http1(connection) => Some(connection),
            Sender::Http2(_) => None,
        })
    }

    fn finish(&mut self) {
        self.turn = None;
        // A backend that answered before it read the whole request may still be reading it.
        if let Some(lease) = self.lease.take()
            && self.request.ended()
        {
            lease.give_back();
        }
    }

    /// Ready when the backend has said nothing for too long. An upload that goes on is no silence.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !std::mem::replace(&mut self.waits, true) {
            self.set_timer(Instant::now() + self.idle);
        }
        loop {
            ready!(self.poll_timer(cx));
            let deadline = self.request.progress() + self.idle;
            if self.request.ended() || deadline <= Instant::now() {
                return Poll::Ready(());
            }
            self.set_timer(deadline);
        }
    }

    fn set_timer(&mut self, deadline: Instant) {
        match (self.lease.as_mut().and_then(Lease::connection_mut), &mut self.timer) {
            (Some(connection), _) => connection.set_timer(deadline),
            (None, Some(timer)) => timer.as_mut().reset(deadline),
            (None, none) => *none = Some(Box::pin(sleep_until(deadline))),
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match (self.lease.as_mut().and_then(Lease::connection_mut), &mut self.timer) {
            (Some(connection), _) => connection.poll_timer(cx),
            (None, Some(timer)) => timer.as_mut().poll(cx),
            (None, None) => Poll::Pending,
        }
    }
}

impl Body for PooledBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = &mut *self;
        if let Some(error) = body.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let fault = body.request.fault();
        let polled = match (&mut body.stream, body.lease.as_mut().and_then(Lease::connection_mut)) {
            // A request that broke off, or is over a limit, ends its answer.
            _ if fault != BodyFault::None => Poll::Ready(Some(Err(UpstreamError::Client { fault }.into()))),
            (Some(stream), _) => Pin::new(stream).poll_frame(cx).map_err(BoxError::from),
            (None, Some(connection)) => connection.poll_frame(cx),
            (None, None) => Poll::Ready(None),
        };
        match polled {
            Poll::Ready(Some(Ok(mut frame))) => {
                self.waits = false;
                if let Some(trailers) = frame.trailers_mut() {
                    strip_trailers(trailers);
                }
                if self.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                // What came before is sent first: at an error the HTTP/2 library throws away what it still has.
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(self.poll_idle(cx));
                Poll::Ready(Some(Err("the backend stopped in the middle of its answer".into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.stream {
            Some(stream) => stream.is_end_stream(),
            None => self.connection().is_none_or(Connection::is_over),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.stream {
            Some(stream) => stream.size_hint(),
            None => self.connection().map_or_else(|| SizeHint::with_exact(0), Connection::size_hint),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Empty;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use sunbeam_routing::Http2Mode;
    use tokio::task::{LocalSet, spawn_local};

    use super::*;
    use crate::executor::LocalExecutor;

    /// An HTTP/2 connection, which is never too old.
    async fn sender() -> Sender {
        let (here, there) = tokio::io::duplex(4096);
        spawn_local(async move {
            let service = service_fn(async |_| Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())));
            let serving = hyper::server::conn::http2::Builder::new(LocalExecutor::default());
            drop(serving.serve_connection(TokioIo::new(there), service).await);
        });
        let (sender, connection) =
            http2::handshake(LocalExecutor::default(), TokioIo::new(here)).await.unwrap();
        spawn_local(async move { drop(connection.await) });
        Sender::Http2(sender)
    }

    #[tokio::test]
    async fn connections_to_a_backend_that_was_removed_are_dropped_and_their_streams_go_on() {
        let (stays, goes) = ("http://a:1", "http://b:1");
        let backend = |url: &str| {
            Arc::new(Backend {
                url: url.parse().unwrap(),
                http2: Http2Mode::Always,
                ca_path: String::new(),
                verify: true,
            })
        };
        let test = async {
            let pool = Rc::new(Pool::new(0));
            drop(Lease::fresh(Rc::clone(&pool), backend(stays), sender().await));
            let mut running = Lease::fresh(Rc::clone(&pool), backend(goes), sender().await);
            pool.sweep(|_| true);
            assert!(pool.checkout(&backend(stays), Checkout::Any).is_some());
            assert!(pool.checkout(&backend(goes), Checkout::Any).is_some());
            pool.sweep(|backend| backend.url.as_str() == stays);
            assert!(pool.checkout(&backend(stays), Checkout::Any).is_some());
            assert!(pool.checkout(&backend(goes), Checkout::Any).is_none());
            let head = UpstreamHead {
                method: http::Method::GET,
                path_and_query: "/".to_owned(),
                headers: http::HeaderMap::new(),
                ours: Vec::new(),
                authority: None,
                wants_trailers: false,
            };
            let (body, watch) = RequestBody::none();
            let answer = running.exchange(&head, body, &watch, KEPT_FOR).await;
            assert_eq!(answer.ok().map(|answer| answer.status().as_u16()), Some(200));
        };
        LocalSet::new().run_until(test).await;
    }
}
