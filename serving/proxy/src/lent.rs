// SPDX-License-Identifier: Apache-2.0
//! A stream that is lent to the HTTP library and can be asked back between two requests.
//!
//! The library keeps its buffers as long as it has a connection: sixteen KiB for each client that says
//! nothing. A connection that is idle is taken out of its hands, and given to a new one with the next byte.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::paced_stream::Watched;

/// Where the stream comes back to.
#[derive(Debug)]
pub(crate) struct Home<T> {
    stream: Mutex<Option<T>>,
    is_wanted: AtomicBool,
    is_blocked: AtomicBool,
}

/// See the module. Dropping it brings the stream home, if it is wanted there, or closes it.
#[derive(Debug)]
pub(crate) struct Lent<T> {
    /// There until the drop.
    stream: Option<T>,
    home: Arc<Home<T>>,
}

impl<T> Lent<T> {
    pub(crate) fn new(stream: T) -> (Self, Arc<Home<T>>) {
        let home = Arc::new(Home {
            stream: Mutex::new(None),
            is_wanted: AtomicBool::new(false),
            is_blocked: AtomicBool::new(false),
        });
        (Self { stream: Some(stream), home: Arc::clone(&home) }, home)
    }

    fn reading<R>(&mut self, poll: impl FnOnce(Pin<&mut T>) -> Poll<io::Result<R>>) -> Poll<io::Result<R>>
    where
        T: Unpin,
    {
        match &mut self.stream {
            Some(stream) => poll(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Notes whether something could not be written yet.
    fn writing<R>(&mut self, poll: impl FnOnce(Pin<&mut T>) -> Poll<io::Result<R>>) -> Poll<io::Result<R>>
    where
        T: Unpin,
    {
        let polled = self.reading(poll);
        self.home.is_blocked.store(polled.is_pending(), Ordering::Relaxed);
        polled
    }
}

impl<T> Home<T> {
    /// Whether something waits to be written: then the stream cannot be asked back.
    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Relaxed)
    }

    /// The stream is to come back when its borrower is dropped.
    pub(crate) fn call(&self) {
        self.is_wanted.store(true, Ordering::Relaxed);
    }

    /// The stream, if it has come back.
    pub(crate) fn take(&self) -> Option<T> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        if self.home.is_wanted.load(Ordering::Relaxed) {
            *self.home.stream.lock().unwrap_or_else(PoisonError::into_inner) = self.stream.take();
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lent<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().reading(|stream| stream.poll_read(cx, buffer))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Lent<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().writing(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().writing(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().writing(|stream| stream.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().writing(|stream| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}

impl<T: Watched> Watched for Lent<T> {
    fn becomes_tunnel(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.becomes_tunnel();
        }
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.as_ref().map_or(Poll::Ready(()), |stream| stream.poll_readable(cx))
    }
}
