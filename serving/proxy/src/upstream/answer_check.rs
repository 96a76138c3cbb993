// SPDX-License-Identifier: Apache-2.0
//! One reading of a backend's answers: an IO type under hyper's HTTP/1 client that refuses heads which
//! two readers could read in two ways.
//!
//! hyper never sees the end of a refused head: the read fails, the connection goes, the client gets 502.
//! Bytes behind the head are not looked at. What a backend sends beyond its answer is hyper's to notice:
//! it reads before it writes a request, and a connection on which it finds something is not used again.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use sunbeam_wire::{check_answer, find_end};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::body::RequestBody;

/// Bytes of an answer's head: hyper's own bound, and more than any application sends.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Answers with 1xx before the real one. A slow WebDAV server sends `102 Processing` every twenty seconds.
const INFORMATIONAL_MAX: u32 = 64;

/// Sender and stream of one connection share it: a request was handed to hyper, so that the next bytes
/// that are read are an answer's head. (Atomic only because hyper wants streams that could move to another
/// thread; these do not.)
type AnswerExpected = Arc<AtomicBool>;

/// hyper's sender, which tells the stream of each request.
#[derive(Debug)]
pub(crate) struct CheckedSender {
    inner: http1::SendRequest<RequestBody>,
    answer_expected: AnswerExpected,
}

/// See the module.
#[derive(Debug)]
pub(super) struct AnswerCheck<T> {
    stream: T,
    answer_expected: AnswerExpected,
    in_head: bool,
    /// A head that came in pieces, as far as it came.
    held: Vec<u8>,
    informational: u32,
}

impl CheckedSender {
    pub(super) fn try_send_request(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> + use<> {
        self.answer_expected.store(true, Ordering::Relaxed);
        self.inner.try_send_request(request)
    }

    pub(crate) fn send_request(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        self.answer_expected.store(true, Ordering::Relaxed);
        self.inner.send_request(request)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.inner.is_ready()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }
}

impl<T> AnswerCheck<T> {
    pub(super) fn new(stream: T) -> Self {
        let answer_expected = AnswerExpected::default();
        Self { stream, answer_expected, in_head: false, held: Vec::new(), informational: 0 }
    }

    /// What makes a sender of hyper's one that this stream hears of.
    pub(super) fn sender(&self) -> impl FnOnce(http1::SendRequest<RequestBody>) -> CheckedSender + use<T> {
        let answer_expected = Arc::clone(&self.answer_expected);
        move |inner| CheckedSender { inner, answer_expected }
    }

    /// Looks at bytes that were read while a head is expected.
    fn check(&mut self, mut fresh: &[u8]) -> Result<(), &'static str> {
        while self.in_head && !fresh.is_empty() {
            let end = if self.held.is_empty() {
                find_end(fresh, 0)?
            } else {
                let scanned = self.held.len().saturating_sub(3);
                self.held.extend_from_slice(fresh);
                find_end(&self.held, scanned)?
            };
            let Some(end) = end else {
                if self.held.is_empty() {
                    self.held.extend_from_slice(fresh);
                }
                return if self.held.len() > HEAD_BYTES_MAX { Err(TOO_LARGE) } else { Ok(()) };
            };
            let held = std::mem::take(&mut self.held);
            let head = if held.is_empty() { fresh } else { &held };
            let (head, rest) = head.split_at_checked(end).unwrap_or((head, &[]));
            if head.len() > HEAD_BYTES_MAX {
                return Err(TOO_LARGE);
            }
            self.judge(head)?;
            fresh = fresh.get(fresh.len().saturating_sub(rest.len())..).unwrap_or_default();
        }
        Ok(())
    }

    fn judge(&mut self, head: &[u8]) -> Result<(), &'static str> {
        match check_answer(head)? {
            // What follows 101 is not HTTP. Whether anybody asked for it is the service's question.
            101 | 200.. => self.in_head = false,
            _ => self.informational += 1,
        }
        if self.informational > INFORMATIONAL_MAX {
            return Err("too many informational answers");
        }
        Ok(())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for AnswerCheck<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        if this.answer_expected.swap(false, Ordering::Relaxed) {
            this.in_head = true;
            this.informational = 0;
        }
        if this.in_head {
            let fresh = buffer.filled().get(before..).unwrap_or_default();
            this.check(fresh).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for AnswerCheck<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

const TOO_LARGE: &str = "the answer's head is too large";

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in pieces; the first error, or whether a head is still expected.
    fn feed(bytes: &[u8], piece: usize) -> Result<bool, &'static str> {
        let mut check = AnswerCheck::new(());
        check.in_head = true;
        for part in bytes.chunks(piece) {
            check.check(part)?;
        }
        Ok(check.in_head)
    }

    #[test]
    fn pieces_are_read_as_the_whole() {
        let flood = b"HTTP/1.1 102 Processing\r\n\r\n".repeat(65);
        let large = [&b"HTTP/1.1 200 OK\r\nX: "[..], &b"x".repeat(HEAD_BYTES_MAX), b"\r\n\r\n"].concat();
        for (bytes, want) in [
            (&b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nbody\n\n\0"[..], Ok(false)),
            (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nbody\n", Ok(false)),
            (b"HTTP/1.1 100 Continue\r\n\r\n", Ok(true)),
            (b"HTTP/1.1 101 Switching Protocols\r\n\r\n\n\n", Ok(false)),
            (b"HTTP/1.1 200 OK\r\nX: y\r\n", Ok(true)),
            (b"HTTP/1.1 200 OK\nX: y\r\n\r\n", Err("a line ends without CR")),
            (b"HTTP/1.1 200 OK\r\nX: y\r\n\n", Err("a line ends without CR")),
            (
                b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n X: y\r\n\r\n",
                Err("the answer's head holds a folded line"),
            ),
            (&flood, Err("too many informational answers")),
            (&large, Err(TOO_LARGE)),
        ] {
            for piece in [1, 2, 3, 7, 100, usize::MAX] {
                if piece < 100 && bytes.len() > HEAD_BYTES_MAX {
                    continue; // A head of that size byte by byte takes long, and says nothing new.
                }
                let shown = String::from_utf8_lossy(bytes.get(..bytes.len().min(80)).unwrap_or_default());
                assert_eq!(feed(bytes, piece), want, "{piece}: {shown:?}");
            }
        }
    }
}
