// SPDX-License-Identifier: Apache-2.0
//! Connections to backends that are kept for the next request. One pool a thread: no locks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use sunbeam_routing::Backend;
use tokio::time::{Sleep, sleep};

use super::answer_check::CheckedSender;
use super::attempts::Turn;
use super::group::Rotation;
use crate::body::{BodyWatch, BoxError, RequestBody};
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
    http1: Vec<(CheckedSender, Instant)>,
    http2: Option<http2::SendRequest<RequestBody>>,
}

/// One connection's sending half.
#[derive(Debug)]
pub(super) enum Sender {
    Http1(CheckedSender),
    Http2(http2::SendRequest<RequestBody>),
}

/// A connection that a request has for itself (HTTP/1) or shares (HTTP/2).
#[derive(Debug)]
pub(super) struct Lease {
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
        // The newest first. One that is not ready has just been given back, and is left where it is, or
        // is closed, and is swept: what a backend sent beyond its answer closes it.
        let is_ready = |(sender, _): &(CheckedSender, _)| sender.is_ready();
        let at = kept.http1.iter().rposition(is_ready)?;
        let (_, since) = kept.http1.get(at)?;
        if since.elapsed() > newest {
            // It and those below serve a request that may be repeated, or are swept.
            return None;
        }
        let (sender, _) = kept.http1.remove(at);
        Some(lease(Sender::Http1(sender)))
    }

    /// Forgets what is closed or too old, and backends that the configuration no longer has: what runs
    /// on their connections goes on. Called now and then by the thread.
    pub(crate) fn sweep(&self, is_configured: impl Fn(&Arc<Backend>) -> bool) {
        self.backends.borrow_mut().retain(|backend, kept| {
            if !is_configured(backend) {
                return false;
            }
            kept.http1.retain(|(sender, since)| since.elapsed() <= KEPT_FOR && !sender.is_closed());
            if kept.http2.as_ref().is_some_and(http2::SendRequest::is_closed) {
                kept.http2 = None;
            }
            kept.http2.is_some() || !kept.http1.is_empty()
        });
    }

    fn keep(&self, backend: Arc<Backend>, sender: CheckedSender) {
        let mut backends = self.backends.borrow_mut();
        let kept = backends.entry(backend).or_default();
        if kept.http1.len() >= KEPT_PER_BACKEND {
            kept.http1.retain(|(sender, _)| !sender.is_closed());
        }
        if kept.http1.len() < KEPT_PER_BACKEND {
            kept.http1.push((sender, Instant::now()));
        }
    }
}

impl Lease {
    /// A new connection. One of HTTP/2 is shared from the start.
    pub(super) fn fresh(pool: Rc<Pool>, backend: Arc<Backend>, sender: Sender) -> Self {
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
    pub(super) const fn keep_not(&mut self) {
        self.keeps = false;
    }

    pub(super) const fn is_reused(&self) -> bool {
        self.reused
    }

    pub(super) fn backend(&self) -> &Backend {
        &self.backend
    }

    pub(super) const fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Sends; on an error before anything was written the body comes back.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, (hyper::Error, Option<RequestBody>)> {
        let result = match &mut self.sender {
            Sender::Http1(sender) => sender.try_send_request(request).await,
            Sender::Http2(sender) => sender.try_send_request(request).await,
        };
        result.map_err(|mut failed| {
            let unsent = failed.take_message().map(Request::into_body);
            (failed.into_error(), unsent)
        })
    }

    /// The answer was read to its end: keep the connection. It is used again once it is ready.
    fn give_back(self) {
        if let Sender::Http1(sender) = self.sender
            && self.keeps
        {
            self.pool.keep(self.backend, sender);
        }
    }
}

/// An answer's body. Read to its end, it gives its connection back; dropped before, it closes it.
#[derive(Debug)]
pub(crate) struct PooledBody {
    inner: Incoming,
    lease: Option<Lease>,
    /// In flight until the last byte.
    turn: Option<Turn>,
    request: Rc<BodyWatch>,
    idle: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl PooledBody {
    pub(super) fn new(
        inner: Incoming,
        lease: Lease,
        turn: Turn,
        request: Rc<BodyWatch>,
        idle: Duration,
    ) -> Self {
        let mut body = Self { inner, lease: Some(lease), turn: Some(turn), request, idle, deadline: None };
        if body.inner.is_end_stream() {
            body.finish();
        }
        body
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

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(self.idle)));
        deadline.as_mut().poll(cx)
    }
}

impl Body for PooledBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                self.deadline = None;
                if let Some(trailers) = frame.trailers_mut() {
                    strip_trailers(trailers);
                }
                if self.inner.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
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
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
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
            let request = Request::get("http://b:1/").body(RequestBody::new(None, 0).0).unwrap();
            assert_eq!(running.send(request).await.unwrap().status(), 200);
        };
        LocalSet::new().run_until(test).await;
    }
}
