// SPDX-License-Identifier: Apache-2.0
//! Reading a body into memory, up to a bound.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

/// What reading a body came to.
#[derive(Debug)]
pub enum Collected<B> {
    /// The whole body, within the bound.
    Whole {
        /// Its bytes.
        bytes: Bytes,
        /// Its trailers, if it had any.
        trailers: Option<HeaderMap>,
    },
    /// More than the bound. Nothing is lost: this body is the same as the one that was read.
    TooLarge(Replay<B>),
}

/// A body that first yields what was read of it, then the rest as it comes.
#[derive(Debug)]
pub struct Replay<B> {
    read: VecDeque<Bytes>,
    rest: B,
}

/// Reads `body` to its end, or to more than `max` bytes. A body that announces more is not read at all.
/// Holds at most `max` bytes and one frame. Waits as long as the body does: time limits are the caller's.
///
/// # Errors
///
/// The body's own; what was read before is lost, as the body could not have been completed.
pub async fn collect_bounded<B>(mut body: B, max: usize) -> Result<Collected<B>, B::Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > u64::try_from(max).unwrap_or(u64::MAX) {
        return Ok(Collected::TooLarge(Replay { read: VecDeque::new(), rest: body }));
    }
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        let data = match frame?.into_data() {
            Ok(data) => data,
            Err(other) => {
                trailers = other.into_trailers().ok();
                continue;
            }
        };
        if first.len().max(joined.len()).saturating_add(data.len()) > max {
            let read = [if joined.is_empty() { first } else { joined.freeze() }, data].into();
            return Ok(Collected::TooLarge(Replay { read, rest: body }));
        }
        if first.is_empty() {
            first = data;
        } else {
            if joined.is_empty() {
                joined.extend_from_slice(&first);
            }
            joined.extend_from_slice(&data);
        }
    }
    // A body of one frame, the common case, is not copied. Others are: many small frames would each keep
    // the whole read buffer alive that they were cut from.
    let bytes = if joined.is_empty() { first } else { joined.freeze() };
    Ok(Collected::Whole { bytes, trailers })
}

impl<B> Body for Replay<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        while let Some(bytes) = self.read.pop_front() {
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
        Pin::new(&mut self.rest).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.read.iter().all(Bytes::is_empty) && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read: usize = self.read.iter().map(Bytes::len).sum();
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::convert::Infallible;

    use http::{HeaderName, HeaderValue};
    use http_body_util::Full;
    use proptest::prelude::*;

    use super::*;

    /// A body that yields these frames one by one, waking itself after a pause before each.
    #[derive(Debug)]
    pub(crate) struct Slow {
        pub(crate) frames: VecDeque<Frame<Bytes>>,
        pub(crate) paused: bool,
    }

    impl Slow {
        pub(crate) fn of<'a>(
            chunks: impl IntoIterator<Item = &'a [u8]>,
            trailers: Option<HeaderMap>,
        ) -> Self {
            let data = chunks.into_iter().map(|chunk| Frame::data(Bytes::copy_from_slice(chunk)));
            Self { frames: data.chain(trailers.map(Frame::trailers)).collect(), paused: false }
        }
    }

    impl Body for Slow {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.paused = !self.paused;
            if self.paused {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(self.frames.pop_front().map(Ok))
        }
    }

    pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    /// Test bodies are small: reads all frames and the trailers.
    pub(crate) async fn read<B: Body<Data = Bytes> + Unpin>(
        mut body: B,
    ) -> Result<(Vec<u8>, Option<HeaderMap>), B::Error> {
        let (mut bytes, mut trailers) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            match frame?.into_data() {
                Ok(data) => bytes.extend_from_slice(&data),
                Err(other) => trailers = other.into_trailers().ok(),
            }
        }
        Ok((bytes, trailers))
    }

    pub(crate) fn trailers() -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from_static("1"))])
    }

    #[test]
    fn a_body_that_announces_too_much_is_not_read() {
        let Ok(Collected::TooLarge(replay)) = block_on(collect_bounded(Full::from("12345"), 4)) else {
            panic!("collected")
        };
        assert!(replay.read.is_empty());
        assert_eq!(replay.size_hint().exact(), Some(5));
        assert_eq!(block_on(read(replay)).unwrap().0, b"12345");
    }

    /// A body that yields one frame and then fails.
    #[derive(Debug)]
    pub(crate) struct Failing(pub(crate) bool);

    impl Body for Failing {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            self.0 = !self.0;
            Poll::Ready(Some(if self.0 { Ok(Frame::data(Bytes::from_static(b"x"))) } else { Err("reset") }))
        }
    }

    #[test]
    fn errors_are_passed_on() {
        assert_eq!(block_on(collect_bounded(Failing(false), 10)).unwrap_err(), "reset");
    }

    proptest! {
        #[test]
        fn whole_or_replayed_no_byte_is_lost(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..8),
            max in 0..100_usize,
            with_trailers in any::<bool>(),
        ) {
            let want = chunks.concat();
            let sent = with_trailers.then(trailers);
            let body = Slow::of(chunks.iter().map(Vec::as_slice), sent.clone());
            match block_on(collect_bounded(body, max)).unwrap() {
                Collected::Whole { bytes, trailers } => {
                    prop_assert!(want.len() <= max);
                    prop_assert_eq!((bytes.to_vec(), trailers), (want, sent));
                }
                Collected::TooLarge(replay) => {
                    prop_assert!(want.len() > max);
                    prop_assert_eq!(block_on(read(replay)).unwrap(), (want, sent));
                }
            }
        }
    }
}
