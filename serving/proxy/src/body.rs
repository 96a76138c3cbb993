// SPDX-License-Identifier: Apache-2.0
//! Bodies on their way through: one type for answers, a bounded one for requests.

use std::cell::Cell;
use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use crate::connection::Http1Body;
use crate::context::{ConnectionInfo, RequestContext};
use crate::pace::Pace;
use crate::shared::Shared;

use crate::request::strip_trailers;

/// Any error of any body.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// The body of an answer before it is counted. Not `Send`: a connection stays on its thread.
pub(crate) type AnswerBody = Pin<Box<dyn Body<Data = Bytes, Error = BoxError>>>;

/// A body of these bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> AnswerBody {
    boxed(Full::new(bytes.into()))
}

/// No body.
pub(crate) fn empty() -> AnswerBody {
    boxed(Empty::new())
}

/// Any body.
pub(crate) fn boxed<B>(body: B) -> AnswerBody
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<BoxError>,
{
    Box::pin(body.map_err(Into::into))
}

/// A request's body as it comes from the client.
#[derive(Debug)]
pub(crate) enum ClientBody {
    None,
    Http1(Http1Body),
    Http2(Incoming),
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::None => Poll::Ready(None),
            Self::Http1(body) => Pin::new(body).poll_frame(cx),
            Self::Http2(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::None => true,
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::None => SizeHint::with_exact(0),
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

/// What happened to a request's body while it streamed to the backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BodyFault {
    #[default]
    None,
    /// Past `max_body_bytes`: 413.
    TooLarge,
    /// Slower than `min_body_rate_bytes`: 408.
    TooSlow,
    /// Its framing broke, or the client went away: 400.
    Broken,
}

/// What the request path can see of a body that is on its way.
#[derive(Debug)]
pub(crate) struct BodyWatch {
    fault: Cell<BodyFault>,
    /// When a byte last moved: an upload that goes on is not a backend that hangs.
    progress: Cell<Option<Instant>>,
    ended: Cell<bool>,
    /// For how long somebody who looked ahead waited for the client.
    waited: Cell<Duration>,
}

impl BodyWatch {
    pub(crate) fn fault(&self) -> BodyFault {
        self.fault.get()
    }

    pub(crate) fn progress(&self) -> Instant {
        self.progress.get().unwrap_or_else(Instant::now)
    }

    /// The wait for the backend begins now.
    pub(crate) fn touch(&self) -> Instant {
        let now = Instant::now();
        self.progress.set(Some(now));
        now
    }

    pub(crate) fn ended(&self) -> bool {
        self.ended.get()
    }

    /// Microseconds for which who looked ahead waited for the client.
    pub(crate) fn waited_us(&self) -> u64 {
        u64::try_from(self.waited.get().as_micros()).unwrap_or(u64::MAX)
    }
}

/// A request's body: bounded, watched.
#[derive(Debug)]
pub(crate) struct RequestBody {
    inner: Option<ClientBody>,
    /// Read, and given back: it could not be sent, or was only looked at.
    unread: Bytes,
    /// What came behind that.
    trailers: Option<Box<HeaderMap>>,
    left: u64,
    watch: Rc<BodyWatch>,
    /// Where limits that are hit are counted; not for a body of our own.
    shared: Option<Arc<Shared>>,
    arrival: Option<Box<Arrival>>,
}

/// A request's body before anybody knows where it goes.
#[derive(Debug)]
pub(crate) enum PendingBody {
    /// Nobody has asked for it.
    Unread(ClientBody),
    /// Somebody has looked ahead.
    Begun(RequestBody, Rc<BodyWatch>),
}

impl PendingBody {
    /// Takes the body out to look ahead; it is to be put back.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Unread(ClientBody::None))
    }

    /// The body, to send it; one that nobody has begun gets these bounds.
    pub(crate) fn into_body(
        self,
        max_bytes: u64,
        min_bytes_per_sec: u64,
        context: &RequestContext,
    ) -> (RequestBody, Rc<BodyWatch>) {
        match self {
            Self::Unread(body) => RequestBody::of_client(body, max_bytes, min_bytes_per_sec, context),
            Self::Begun(body, watch) => (body, watch),
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        match self {
            Self::Unread(body) => body.is_end_stream(),
            Self::Begun(body, _) => body.is_end_stream(),
        }
    }
}

/// The slow-body watchdog: how fast the bytes come while somebody waits for them. A backend that does
/// not take what has come does not ask for more, so its slowness is not held against the client.
#[derive(Debug)]
struct Arrival {
    pace: Pace,
    /// Since when nothing came, as far as it was looked.
    waiting: Option<Instant>,
    look: Option<Pin<Box<Sleep>>>,
    /// Not for longer than it lasts: its place in the count goes with it.
    connection: Weak<ConnectionInfo>,
}

impl RequestBody {
    /// What a client sends: at most so many bytes, and at least so many a second (0 asks for nothing).
    pub(crate) fn of_client(
        inner: ClientBody,
        max_bytes: u64,
        min_bytes_per_sec: u64,
        context: &RequestContext,
    ) -> (Self, Rc<BodyWatch>) {
        if inner.is_end_stream() {
            return Self::none();
        }
        let arrival = || {
            Box::new(Arrival {
                pace: Pace::new(min_bytes_per_sec),
                waiting: None,
                look: None,
                connection: Rc::downgrade(&context.connection),
            })
        };
        let arrival = (min_bytes_per_sec > 0).then(arrival);
        Self::new(Some(inner), max_bytes, Some(Arc::clone(&context.shared)), arrival)
    }

    /// Nothing.
    pub(crate) fn none() -> (Self, Rc<BodyWatch>) {
        Self::new(None, 0, None, None)
    }

    fn new(
        inner: Option<ClientBody>,
        left: u64,
        shared: Option<Arc<Shared>>,
        arrival: Option<Box<Arrival>>,
    ) -> (Self, Rc<BodyWatch>) {
        let watch = Rc::new(BodyWatch {
            fault: Cell::new(BodyFault::None),
            progress: Cell::new(None),
            ended: Cell::new(inner.is_none()),
            waited: Cell::default(),
        });
        let told = Rc::clone(&watch);
        (Self { inner, unread: Bytes::new(), trailers: None, left, watch, shared, arrival }, told)
    }

    /// Whether there is nothing to send, so that the request may be sent twice.
    pub(crate) const fn is_empty(&self) -> bool {
        self.inner.is_none() && self.unread.is_empty() && self.trailers.is_none()
    }

    /// Reads until there are more than `max` bytes, or no more. All of it comes again. Waits as long as the body does, in
    /// the bounds that it has; whether that was the whole body.
    ///
    /// # Errors
    /// The body's own, see [`BodyWatch::fault`].
    pub(crate) async fn look_ahead(&mut self, max: usize) -> Result<bool, BoxError> {
        let (mut joined, mut is_whole) = (BytesMut::new(), false);
        while self.unread.len().max(joined.len()) <= max {
            let asked = Instant::now();
            let frame = poll_fn(|cx| self.poll_client(cx)).await;
            self.watch.waited.set(self.watch.waited.get() + asked.elapsed());
            let Some(frame) = frame else {
                is_whole = true;
                break;
            };
            match frame?.into_data() {
                Ok(data) if self.unread.is_empty() && joined.is_empty() => self.unread = data,
                Ok(data) => {
                    // Many small pieces would each keep what they were cut from.
                    if joined.is_empty() {
                        joined.extend_from_slice(&std::mem::take(&mut self.unread));
                    }
                    joined.extend_from_slice(&data);
                }
                Err(frame) => self.trailers = frame.into_trailers().ok().map(Box::new),
            }
        }
        if !joined.is_empty() {
            self.unread = joined.freeze();
        }
        if self.is_empty() {
            // Nobody will ask for it any more.
            self.watch.ended.set(true);
        }
        Ok(is_whole)
    }

    /// What [`Self::look_ahead`] has read.
    pub(crate) const fn seen(&self) -> &Bytes {
        &self.unread
    }

    /// What was read last comes again: it was not sent.
    pub(crate) fn put_back(&mut self, data: Bytes) {
        self.unread = data;
    }

    /// It is not as long as its length says.
    pub(crate) fn belies_its_length(&self) {
        self.watch.fault.set(BodyFault::Broken);
    }

    fn fail(&self, fault: BodyFault, why: BoxError) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let is_first = self.watch.fault.replace(fault) == BodyFault::None;
        let limit = match fault {
            BodyFault::TooLarge => Some("max_body_bytes"),
            BodyFault::TooSlow => Some("min_body_rate_bytes"),
            BodyFault::Broken | BodyFault::None => None,
        };
        if let (true, Some(limit), Some(shared)) = (is_first, limit, &self.shared) {
            shared.listener_metrics.limit_hits(limit).inc();
        }
        Poll::Ready(Some(Err(why)))
    }
}

impl Arrival {
    fn moved(&mut self, now: Instant, bytes: u64) {
        self.count_wait(now);
        self.pace.moved(bytes);
    }

    /// Nothing has come. Ready once the client is too slow.
    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        self.count_wait(now);
        self.waiting = Some(now);
        let every = self.pace.look_every();
        let look = self.look.get_or_insert_with(|| Box::pin(sleep(every)));
        while look.as_mut().poll(cx).is_ready() {
            // HTTP/2 hands on whole frames only: what has come of the next one counts too.
            let partial = self.connection.upgrade().map_or(0, |info| u64::from(info.partial_data.get()));
            if self.pace.is_too_slow(partial) {
                return Poll::Ready(());
            }
            look.as_mut().reset(now + every);
        }
        Poll::Pending
    }

    /// Whoever waits looks every now and then. Between looks that lie further apart nobody waited.
    fn count_wait(&mut self, now: Instant) {
        if let Some(since) = self.waiting.take() {
            self.pace.waited((now - since).min(self.pace.look_every() + LOOKS_LATE));
        }
    }
}

const TOO_SLOW: &str = "the request's body comes too slowly";

/// How late a look may come on a busy thread.
const LOOKS_LATE: Duration = Duration::from_millis(500);

impl RequestBody {
    /// What the client sends next.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = &mut *self;
        let Some(inner) = &mut body.inner else { return Poll::Ready(None) };
        if body.watch.fault() == BodyFault::TooSlow {
            return self.fail(BodyFault::TooSlow, TOO_SLOW.into());
        }
        let polled = Pin::new(inner).poll_frame(cx);
        if polled.is_pending()
            && let Some(arrival) = &mut body.arrival
        {
            ready!(arrival.poll_too_slow(cx));
            return self.fail(BodyFault::TooSlow, TOO_SLOW.into());
        }
        match ready!(polled) {
            Some(Ok(mut frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    strip_trailers(trailers);
                }
                let now = Instant::now();
                self.watch.progress.set(Some(now));
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                if let Some(arrival) = &mut self.arrival {
                    arrival.moved(now, length);
                }
                let Some(left) = self.left.checked_sub(length) else {
                    return self.fail(BodyFault::TooLarge, "the request's body is too large".into());
                };
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => self.fail(BodyFault::Broken, error),
            None => {
                self.inner = None;
                Poll::Ready(None)
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = &mut *self;
        if !body.unread.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut body.unread)))));
        }
        if let Some(trailers) = body.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(*trailers))));
        }
        let frame = ready!(body.poll_client(cx));
        if frame.is_none() {
            body.watch.ended.set(true);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let is_over = self.inner.as_ref().is_none_or(Body::is_end_stream);
        is_over && self.unread.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let unread = self.unread.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(unread));
        }
        hint.set_lower(hint.lower().saturating_add(unread));
        hint
    }
}
