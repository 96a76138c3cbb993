// SPDX-License-Identifier: Apache-2.0
//! The slow-read watchdog of one HTTP/2 stream.
//!
//! A client that gives no window keeps its answer in our memory, and hyper does not ask the body for more
//! until there is window: a timer inside the body would never fire. So the body only notes whose turn it
//! is, and the connection's watchdog (`connection/http2.rs`) looks at the notes.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::pace::Pace;

/// Bytes handed over at a time. What is in hand when a client stops reading stays in memory, and how
/// fast it reads shows only when it has read a whole piece: a frame of the usual size.
const PIECE_BYTES: usize = 16 * 1024;

/// Whose turn a stream is.
#[derive(Debug, Default)]
pub(crate) struct StreamWatch {
    /// Since when the client has to make room, and how many bytes lie before what it has to make room
    /// for. `None`: there is nothing to send, or not yet.
    blocked: Cell<Option<(Instant, usize)>>,
}

impl StreamWatch {
    /// Whether the client has taken too long, at `pace`, for what lies before it.
    pub(crate) fn is_too_slow(&self, now: Instant, mut pace: Pace) -> bool {
        self.blocked.get().is_some_and(|(since, bytes)| {
            pace.waited(now.saturating_duration_since(since));
            pace.is_too_slow(bytes as u64)
        })
    }
}

/// An answer's body in pieces, each noted in the stream's watch.
#[derive(Debug)]
pub(crate) struct PacedBody<B> {
    inner: B,
    watch: Rc<StreamWatch>,
    rest: Bytes,
    /// Bytes of the piece that was handed over last: it lies before the next one.
    last: usize,
}

impl<B> PacedBody<B> {
    pub(crate) fn new(inner: B, watch: Rc<StreamWatch>) -> Self {
        Self { inner, watch, rest: Bytes::new(), last: 0 }
    }

    fn hand_over(&mut self) -> Frame<Bytes> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        self.watch.blocked.set(Some((Instant::now(), self.last)));
        self.last = piece.len();
        Frame::data(piece)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for PacedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let body = self.get_mut();
        if !body.rest.is_empty() {
            return Poll::Ready(Some(Ok(body.hand_over())));
        }
        match Pin::new(&mut body.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(data) => {
                    body.rest = data;
                    body.hand_over()
                }
                Err(trailers) => trailers,
            }))),
            Poll::Pending => {
                body.watch.blocked.set(None);
                Poll::Pending
            }
            ended => ended,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

/// How long the last piece of an answer may wait for room when its stream's task is over already.
pub(crate) fn last_piece_may_take(pace: &Pace) -> Duration {
    pace.grace().saturating_add(pace.time_for(PIECE_BYTES as u64))
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    async fn next_length(body: &mut PacedBody<Full<Bytes>>) -> usize {
        body.frame().await.unwrap().unwrap().into_data().unwrap().len()
    }

    #[tokio::test]
    async fn an_answer_goes_out_in_pieces_and_each_has_the_time_of_the_one_before() {
        let watch = Rc::new(StreamWatch::default());
        let mut body = PacedBody::new(Full::new(Bytes::from(vec![7; 40_000])), Rc::clone(&watch));
        assert_eq!(body.size_hint().exact(), Some(40_000));
        let pace = Pace::new(1024);
        let late = |secs| watch.is_too_slow(Instant::now() + Duration::from_secs(secs), pace);
        assert!(!late(3600), "nothing was handed over yet");
        assert_eq!(next_length(&mut body).await, PIECE_BYTES);
        assert!(!late(9) && late(11), "a client without any window has the grace");
        assert_eq!(next_length(&mut body).await, PIECE_BYTES);
        assert!(!late(25) && late(27), "then the grace, and 16 seconds for the first 16 KiB");
        assert_eq!(
            (next_length(&mut body).await, body.size_hint().exact()),
            (40_000 - 2 * PIECE_BYTES, Some(0))
        );
        assert!(body.is_end_stream());
    }

    #[tokio::test]
    async fn a_stream_that_waits_for_its_backend_is_nobody_s_fault() {
        let (sender, channel) = tokio::sync::mpsc::channel::<Bytes>(1);
        let watch = Rc::new(StreamWatch::default());
        let mut body = PacedBody::new(FromChannel(channel), Rc::clone(&watch));
        sender.send(Bytes::from_static(b"data: 1\n\n")).await.unwrap();
        assert!(body.frame().await.is_some());
        let pending = futures_util::poll!(std::pin::pin!(body.frame())).is_pending();
        assert!(pending);
        assert!(!watch.is_too_slow(Instant::now() + Duration::from_secs(3600), Pace::new(240)));
    }

    struct FromChannel(tokio::sync::mpsc::Receiver<Bytes>);

    impl Body for FromChannel {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
        }
    }
}
