// SPDX-License-Identifier: Apache-2.0
//! Compressing a body as it streams by.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::coding::Coding;
use crate::encoder::Encoder;

/// A body compressed on its way. Whenever the inner body has nothing more for now, what it gave so far is
/// flushed, so that a slow stream reaches the client as promptly as without compression. Trailers pass;
/// so do the inner body's errors, after which nothing follows, so that a cut stream is not ended well.
///
/// Frames are at most 64 KiB. Holds one inner frame and what the encoder holds: its window, and of brotli
/// up to some 600 KiB that it likes to bring out at once.
#[derive(Debug)]
pub struct CompressBody<B> {
    inner: B,
    /// Compressed, to be sent before all else.
    ready: Bytes,
    state: State,
}

#[derive(Debug)]
enum State {
    Streaming(Box<Stream>),
    Trailers(HeaderMap),
    Done,
}

#[derive(Debug)]
struct Stream {
    encoder: Encoder,
    /// Taken from the inner body and not compressed yet.
    input: Bytes,
    /// Whether the encoder may hold back bytes that it was given.
    unflushed: bool,
}

impl<B> CompressBody<B> {
    /// Compresses `inner` in `coding`.
    pub fn new(inner: B, coding: Coding) -> Self {
        let stream = Stream { encoder: Encoder::new(coding), input: Bytes::new(), unflushed: false };
        Self { inner, ready: Bytes::new(), state: State::Streaming(Box::new(stream)) }
    }

    fn take_ready(&mut self) -> Option<Frame<Bytes>> {
        let share = self.ready.split_to(self.ready.len().min(FRAME_BYTES_MAX));
        (!share.is_empty()).then(|| Frame::data(share))
    }

    fn take_trailers(&mut self) -> Option<Frame<Bytes>> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Trailers(trailers) => Some(Frame::trailers(trailers)),
            State::Streaming(_) | State::Done => None,
        }
    }

    /// Ends the compressed stream; its last bytes come before the trailers.
    fn finish(&mut self, trailers: Option<HeaderMap>) {
        let after = trailers.map_or(State::Done, State::Trailers);
        if let State::Streaming(stream) = std::mem::replace(&mut self.state, after) {
            self.ready = stream.encoder.finish().into();
        }
    }
}

impl Stream {
    /// Compresses waiting input, but no more than a share: a large frame must not keep the thread.
    fn advance(&mut self) {
        let share = self.input.split_to(self.input.len().min(INPUT_BYTES));
        if !share.is_empty() {
            self.encoder.write(&share);
            self.unflushed = true;
        }
    }

    fn flush(&mut self) {
        if std::mem::take(&mut self.unflushed) {
            self.encoder.flush();
        }
    }

    /// What came out of the encoder, once it is worth a frame.
    fn take_output(&mut self, at_least: usize) -> Bytes {
        if self.encoder.output().len() < at_least {
            return Bytes::new();
        }
        self.encoder.take_output().into()
    }
}

impl<B> Body for CompressBody<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        for _ in 0..SHARES_PER_POLL_MAX {
            if let Some(frame) = this.take_ready() {
                return Poll::Ready(Some(Ok(frame)));
            }
            let State::Streaming(stream) = &mut this.state else {
                return Poll::Ready(this.take_trailers().map(Ok));
            };
            stream.advance();
            this.ready = stream.take_output(OUTPUT_BYTES);
            if !this.ready.is_empty() || !stream.input.is_empty() {
                continue;
            }
            match Pin::new(&mut this.inner).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => stream.input = data,
                    Err(other) => this.finish(other.into_trailers().ok()),
                },
                Poll::Ready(Some(Err(error))) => {
                    this.state = State::Done;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => this.finish(None),
                Poll::Pending => {
                    stream.flush();
                    this.ready = stream.take_output(1);
                    return this.take_ready().map_or(Poll::Pending, |frame| Poll::Ready(Some(Ok(frame))));
                }
            }
        }
        // Input that shrinks to almost nothing: let others have the thread before going on.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && matches!(self.state, State::Done)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Input compressed at a time.
const INPUT_BYTES: usize = 16 * 1024;

/// Output that is sent without waiting for more.
const OUTPUT_BYTES: usize = 16 * 1024;

/// More than this is sent in several frames.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Shares compressed in one poll: 256 KiB, some milliseconds of the slowest coding.
const SHARES_PER_POLL_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};
    use proptest::prelude::*;

    use super::*;
    use crate::collect::tests::{Failing, Slow, block_on, read, trailers};
    use crate::decode::decode_bounded;

    #[test]
    fn each_pause_brings_out_what_was_written() {
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
            let mut body = CompressBody::new(Slow::of([b"first".as_slice(), b"second"], None), coding);
            let first = block_on(body.frame()).unwrap().unwrap().into_data().unwrap();
            assert!(!body.inner.frames.is_empty(), "{coding:?} waited for the second chunk");
            let rest = block_on(read(body)).unwrap().0;
            let packed = [first.to_vec(), rest].concat();
            assert_eq!(decode_bounded(coding, &packed, 100).unwrap(), b"firstsecond", "{coding:?}");
        }
    }

    #[test]
    fn frames_stay_small() {
        let plain: Vec<u8> =
            (0..500_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
            let mut body = CompressBody::new(Full::new(Bytes::from(plain.clone())), coding);
            let mut packed = Vec::new();
            while let Some(frame) = block_on(body.frame()) {
                let data = frame.unwrap().into_data().unwrap();
                assert!(data.len() <= FRAME_BYTES_MAX, "{coding:?}: a frame of {}", data.len());
                packed.extend_from_slice(&data);
            }
            assert!(body.is_end_stream());
            assert_eq!(decode_bounded(coding, &packed, plain.len()).unwrap(), plain, "{coding:?}");
        }
    }

    #[test]
    fn an_error_ends_the_stream_unfinished() {
        let mut body = CompressBody::new(Failing(false), Coding::Gzip);
        assert_eq!(block_on(body.frame()).unwrap().unwrap_err(), "reset");
        assert!(block_on(body.frame()).is_none());
    }

    #[test]
    fn the_body_may_travel() {
        fn travels<T: Send + Unpin>() {}
        travels::<CompressBody<Full<Bytes>>>();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_chunking_decodes_to_the_input(
            chunks in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), 1..300_usize), 0..6),
            with_trailers in any::<bool>(),
        ) {
            let chunks: Vec<Vec<u8>> = chunks.into_iter().map(|(bytes, times)| bytes.repeat(times)).collect();
            let sent = with_trailers.then(trailers);
            for coding in Coding::ALL {
                let inner = Slow::of(chunks.iter().map(Vec::as_slice), sent.clone());
                let (packed, trailers) = block_on(read(CompressBody::new(inner, coding))).unwrap();
                let plain = decode_bounded(coding, &packed, 1 << 20).unwrap();
                prop_assert_eq!((plain, &trailers), (chunks.concat(), &sent));
            }
        }
    }
}
