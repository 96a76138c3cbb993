// SPDX-License-Identifier: Apache-2.0
//! The slow-read watchdog: an IO type on the client's socket, below TLS, that ends a connection whose
//! client does not take what it asked for.
//!
//! What counts are the bytes that the kernel takes. While it takes none, the time counts against the
//! client; while there is nothing to send, no time counts. Asked too slowly (`limits.min_send_rate_bytes`)
//! the connection is reset: a close would leave megabytes in the kernel for a reader that never comes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::SendFlags;
use sunbeam_listeners::ListenerMetrics;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;

use crate::pace::Pace;

/// A socket, or what a test puts in its place.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Sends what there is room for, now. The runtime asks the kernel again only when a good part of its
    /// buffer is free; a reader may need minutes for that part and still keep its rate.
    fn send_now(&self, bytes: &[u8]) -> io::Result<usize>;

    /// The next close is a reset, and throws away what was not sent.
    fn reset_on_close(&self);

    /// Ready when there is something to read, the end included.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()>;
}

impl Socket for TcpStream {
    fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(self, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
    }

    fn reset_on_close(&self) {
        // If it fails, the close is an ordinary one.
        drop(self.set_zero_linger());
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_read_ready(cx).map(drop)
    }
}

/// A connection whose watchdog can be told that a tunnel begins.
pub(crate) trait Watched {
    /// From here on no rate is asked for.
    fn becomes_tunnel(&mut self);

    /// Ready when there may be something to read, the end included; nothing is read.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()>;
}

impl<T: Socket> Watched for PacedStream<T> {
    fn becomes_tunnel(&mut self) {
        self.pace = Pace::new(0);
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.io.poll_readable(cx)
    }
}

impl<T: Watched> Watched for TlsStream<T> {
    fn becomes_tunnel(&mut self) {
        self.get_mut().0.becomes_tunnel();
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let (stream, session) = self.get_ref();
        // What was decrypted already is not seen on the socket.
        if session.wants_read() { stream.poll_readable(cx) } else { Poll::Ready(()) }
    }
}

/// See the module. Costs one comparison a write, and a timer only once a client lets us wait.
#[derive(Debug)]
pub(crate) struct PacedStream<T> {
    io: T,
    metrics: ListenerMetrics,
    pace: Pace,
    /// Since when the kernel takes nothing.
    stalled: Option<Instant>,
    look: Option<Pin<Box<Sleep>>>,
    /// What came during the TLS handshake, for the client's fingerprint.
    #[expect(clippy::box_collection, reason = "a word is what thousands of idle connections can spare")]
    heard: Option<Box<Vec<u8>>>,
}

/// Bytes of a handshake that are kept: its first message, which has hardly ever more than 2 KiB.
const HEARD_BYTES_MAX: usize = 16 * 1024;

impl<T> PacedStream<T> {
    pub(crate) const fn new(io: T, pace: Pace, metrics: ListenerMetrics) -> Self {
        Self { io, metrics, pace, stalled: None, look: None, heard: None }
    }

    /// Keeps what is read from here on.
    pub(crate) fn listening(mut self) -> Self {
        self.heard = Some(Box::default());
        self
    }

    /// What was read so far; nothing is kept any more.
    pub(crate) fn take_heard(&mut self) -> Vec<u8> {
        self.heard.take().map(|heard| *heard).unwrap_or_default()
    }
}

impl<T: Socket> PacedStream<T> {
    fn moved(&mut self, bytes: usize) {
        if let Some(since) = self.stalled.take() {
            self.pace.waited(since.elapsed());
        }
        self.pace.moved(bytes as u64);
    }

    /// The kernel took nothing.
    fn poll_stalled(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.pace.is_off() || bytes.is_empty() {
            return Poll::Pending;
        }
        let now = Instant::now();
        if let Some(since) = self.stalled.replace(now) {
            self.pace.waited(now - since);
        }
        let every = self.pace.look_every();
        let look = self.look.get_or_insert_with(|| Box::pin(sleep(every)));
        ready!(look.as_mut().poll(cx));
        look.as_mut().reset(now + every);
        match self.io.send_now(bytes) {
            Ok(sent) => {
                self.moved(sent);
                return Poll::Ready(Ok(sent));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
        if self.pace.is_too_slow(0) {
            self.metrics.limit_hits("min_send_rate_bytes").inc();
            self.io.reset_on_close();
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads too slowly")));
        }
        if let Some(look) = &mut self.look {
            // It was just reset; now it has the waker.
            ready!(look.as_mut().poll(cx));
        }
        Poll::Pending
    }
}

impl<T: Socket> AsyncRead for PacedStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        if let Some(heard) = &mut self.heard {
            let new = buffer.filled().get(before..).unwrap_or_default();
            let room = HEARD_BYTES_MAX.saturating_sub(heard.len());
            heard.extend_from_slice(new.get(..new.len().min(room)).unwrap_or_default());
        }
        polled
    }
}

impl<T: Socket> AsyncWrite for PacedStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.io).poll_write(cx, bytes) {
            Poll::Ready(Ok(written)) => {
                self.moved(written);
                Poll::Ready(Ok(written))
            }
            Poll::Pending => self.poll_stalled(cx, bytes),
            failed => failed,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.io).poll_write_vectored(cx, slices) {
            Poll::Ready(Ok(written)) => {
                self.moved(written);
                Poll::Ready(Ok(written))
            }
            Poll::Pending => {
                let first = slices.iter().find(|slice| !slice.is_empty());
                self.poll_stalled(cx, first.map_or(&[], |slice| slice))
            }
            failed => failed,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use sunbeam_metrics::Registry;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::timeout;

    use super::*;

    struct TestSocket(DuplexStream, Arc<AtomicBool>);

    impl AsyncRead for TestSocket {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for TestSocket {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    impl Socket for TestSocket {
        fn send_now(&self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }

        fn poll_readable(&self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }

        fn reset_on_close(&self) {
            self.1.store(true, Ordering::Relaxed);
        }
    }

    struct Connection {
        ours: PacedStream<TestSocket>,
        client: DuplexStream,
        is_reset: Arc<AtomicBool>,
        registry: Registry,
    }

    /// Ten seconds are too long for a test.
    const GRACE: Duration = Duration::from_millis(300);

    fn connection(bytes_per_sec: u64) -> Connection {
        let (ours, client) = duplex(1000);
        let registry = Registry::new();
        let is_reset = Arc::new(AtomicBool::new(false));
        let socket = TestSocket(ours, Arc::clone(&is_reset));
        let pace = Pace::with_grace(bytes_per_sec, GRACE);
        let ours = PacedStream::new(socket, pace, ListenerMetrics::register(&registry));
        Connection { ours, client, is_reset, registry }
    }

    fn hits(registry: &Registry) -> f64 {
        registry.sum("sunbeam_limit_hits_total", &[("limit", "min_send_rate_bytes")])
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_reset_after_the_grace() {
        let mut connection = connection(240);
        let begun = Instant::now();
        let error = connection.ours.write_all(&[0; 5000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() > GRACE, "{:?}", begun.elapsed());
        assert!(connection.is_reset.load(Ordering::Relaxed));
        assert!(hits(&connection.registry) > 0.5);
    }

    #[tokio::test]
    async fn a_client_that_drips_is_reset_and_a_slow_steady_one_gets_everything() {
        for (piece, want) in [(10, false), (3000, true)] {
            let mut connection = connection(2400);
            let mut client = connection.client;
            let reading = tokio::spawn(async move {
                let (mut piece, mut total) = (vec![0; piece], 0);
                loop {
                    sleep(Duration::from_millis(100)).await;
                    match client.read(&mut piece).await {
                        Ok(0) | Err(_) => return total,
                        Ok(count) => total += count,
                    }
                }
            });
            let written = connection.ours.write_all(&[0; 10_000]).await;
            assert_eq!(written.is_ok(), want, "{piece}");
            drop(connection.ours);
            if want {
                assert_eq!(reading.await.unwrap(), 10_000);
            } else {
                reading.abort();
            }
        }
    }

    #[tokio::test]
    async fn silence_without_anything_to_send_and_tunnels_are_not_counted() {
        let mut idle = connection(240);
        for _ in 0..3 {
            idle.ours.write_all(b"event").await.unwrap();
            sleep(GRACE * 2).await;
        }
        let mut tunnel = connection(240);
        tunnel.ours.becomes_tunnel();
        assert!(timeout(GRACE * 4, tunnel.ours.write_all(&[0; 5000])).await.is_err());
        assert!(hits(&idle.registry) + hits(&tunnel.registry) < 0.5);
    }
}
