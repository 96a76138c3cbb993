// SPDX-License-Identifier: Apache-2.0
//! Bodies on their way through: one type for answers, a bounded one for requests.

use std::cell::Cell;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use tokio::time::Instant;

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

/// What happened to a request's body while it streamed to the backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BodyFault {
    #[default]
    None,
    /// Past `max_body_bytes`: 413.
    TooLarge,
    /// Its framing broke, or the client went away: 400.
    Broken,
}

/// What the request path can see of a body that hyper is sending.
#[derive(Debug)]
pub(crate) struct BodyWatch {
    fault: Cell<BodyFault>,
    /// When a byte last moved: an upload that goes on is not a backend that hangs.
    progress: Cell<Instant>,
    ended: Cell<bool>,
}

impl BodyWatch {
    pub(crate) fn fault(&self) -> BodyFault {
        self.fault.get()
    }

    pub(crate) fn progress(&self) -> Instant {
        self.progress.get()
    }

    /// The wait for the backend begins now.
    pub(crate) fn touch(&self) {
        self.progress.set(Instant::now());
    }

    pub(crate) fn ended(&self) -> bool {
        self.ended.get()
    }
}

/// A request's body: bounded, watched.
#[derive(Debug)]
pub(crate) struct RequestBody {
    inner: Option<Incoming>,
    left: u64,
    watch: Rc<BodyWatch>,
}

impl RequestBody {
    pub(crate) fn new(inner: Option<Incoming>, max_bytes: u64) -> (Self, Rc<BodyWatch>) {
        let inner = inner.filter(|body| !body.is_end_stream());
        let watch = Rc::new(BodyWatch {
            fault: Cell::new(BodyFault::None),
            progress: Cell::new(Instant::now()),
            ended: Cell::new(inner.is_none()),
        });
        (Self { inner, left: max_bytes, watch: Rc::clone(&watch) }, watch)
    }

    /// Whether there is nothing to send, so that the request may be sent twice.
    pub(crate) const fn is_empty(&self) -> bool {
        self.inner.is_none()
    }

    fn fail(&self, fault: BodyFault, why: BoxError) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.watch.fault.set(fault);
        Poll::Ready(Some(Err(why)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        match ready!(Pin::new(inner).poll_frame(cx)) {
            Some(Ok(mut frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    strip_trailers(trailers);
                }
                self.watch.progress.set(Instant::now());
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(left) = self.left.checked_sub(length) else {
                    return self.fail(BodyFault::TooLarge, "the request's body is too large".into());
                };
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => self.fail(BodyFault::Broken, error.into()),
            None => {
                self.watch.ended.set(true);
                self.inner = None;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
