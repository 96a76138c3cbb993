// SPDX-License-Identifier: Apache-2.0
//! What of an HTTP/1 message waits to be written: text (a head, the size of a chunk), a piece of the body behind it,
//! the end of its chunk. All three go out in one call.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    text: Vec<u8>,
    /// As far as the text is written.
    at: usize,
    data: Bytes,
    tail: &'static [u8],
    has_written: bool,
}

impl Outbox {
    /// Where text is added. It goes before the data that waits, so there should be none.
    pub(crate) const fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// The next piece of the body, which is not empty: an empty chunk would be the end.
    pub(crate) fn put(&mut self, data: Bytes, is_chunk: bool) {
        if is_chunk {
            // Writing to a vector does not fail.
            drop(write!(self.text, "{:x}\r\n", data.len()));
            self.tail = b"\r\n";
        }
        self.data = data;
    }

    /// Whether a piece of the body waits.
    pub(crate) const fn has_data(&self) -> bool {
        !self.data.is_empty() || !self.tail.is_empty()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.text.len() == self.at && !self.has_data()
    }

    /// Whether a byte ever went out.
    pub(crate) const fn has_written(&self) -> bool {
        self.has_written
    }

    /// The piece of the body that waits.
    pub(crate) fn take_data(&mut self) -> Bytes {
        std::mem::take(&mut self.data)
    }

    /// Ready when nothing waits any more.
    pub(crate) fn poll_write(
        &mut self,
        mut stream: Pin<&mut (impl AsyncWrite + ?Sized)>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let text = self.text.get(self.at..).unwrap_or_default();
            let written = if self.has_data() {
                let slices = [IoSlice::new(text), IoSlice::new(&self.data), IoSlice::new(self.tail)];
                ready!(stream.as_mut().poll_write_vectored(cx, &slices))?
            } else {
                ready!(stream.as_mut().poll_write(cx, text))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.wrote(written);
        }
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, mut written: usize) {
        self.has_written = true;
        let text = written.min(self.text.len() - self.at);
        self.at += text;
        written -= text;
        if self.at == self.text.len() {
            self.text.clear();
            self.at = 0;
        }
        let data = written.min(self.data.len());
        self.data.advance(data);
        written -= data;
        self.tail = self.tail.get(written..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes at a time.
    struct Narrow(usize, Vec<u8>);

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let here = bytes.get(..self.0).unwrap_or(bytes).to_vec();
            self.1.extend_from_slice(&here);
            Poll::Ready(Ok(here.len()))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            self.poll_write(cx, &all)
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_waits_goes_out_in_order_however_little_fits() {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for most in [1, 2, 3, 5, 8, 1000] {
            let (mut outbox, mut stream) = (Outbox::default(), Narrow(most, Vec::new()));
            for (head, data, is_chunk) in [("head\r\n\r\n", "body", true), ("", "0123456789abcdef!", true)] {
                outbox.text().extend_from_slice(head.as_bytes());
                outbox.put(Bytes::from_static(data.as_bytes()), is_chunk);
                assert!(outbox.has_data());
                assert!(outbox.poll_write(Pin::new(&mut stream), &mut cx).is_ready());
                assert!(outbox.is_empty() && outbox.has_written());
            }
            outbox.text().extend_from_slice(b"0\r\n\r\n");
            assert!(outbox.poll_write(Pin::new(&mut stream), &mut cx).is_ready());
            let want = "head\r\n\r\n4\r\nbody\r\n11\r\n0123456789abcdef!\r\n0\r\n\r\n";
            assert_eq!(String::from_utf8(stream.1).unwrap(), want, "{most}");
        }
    }
}
