// SPDX-License-Identifier: Apache-2.0
//! New connections to backends: name, TCP, TLS, HTTP.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use sunbeam_routing::{Backend, Http2Mode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::debug;

use super::attempts::Attempts;
use super::http1::Connection;
use super::pool::{Lease, Pool, Sender};
use super::{Kind, UpstreamError};
use crate::context::RequestContext;
use crate::executor::LocalExecutor;

/// A connected stream, plain or TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// The kernel has neither bytes nor an end for us, whether the runtime has heard of them or not.
    fn is_silent(&self) -> bool;
}

impl Stream for TcpStream {
    fn is_silent(&self) -> bool {
        let peeked = SockRef::from(self).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl Stream for TlsStream<TcpStream> {
    fn is_silent(&self) -> bool {
        self.get_ref().0.is_silent()
    }
}

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// A new connection for the pool.
pub(super) async fn connect(
    pool: &Rc<Pool>,
    context: &RequestContext,
    backend: &Arc<Backend>,
) -> Result<Lease, UpstreamError> {
    let tls = context.snapshot.client_tls(backend).cloned();
    let sender = within(limit(context), async |deadline| {
        let (stream, speaks_http2) = open(backend, tls, deadline).await?;
        if speaks_http2 { http2_sender(stream).await } else { Ok(Sender::Http1(Connection::new(stream))) }
    })
    .await?;
    Ok(Lease::fresh(Rc::clone(pool), Arc::clone(backend), sender))
}

/// A connection of its own, for an upgrade: HTTP/1.1 whatever the backend prefers.
pub(crate) async fn open_http1(
    attempts: &Attempts<'_>,
    backend: &Arc<Backend>,
) -> Result<Lease, UpstreamError> {
    let context = attempts.context();
    let tls = context.snapshot.client_tls(backend).map(|config| {
        let mut config = ClientConfig::clone(config);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    });
    let connection = within(limit(context), async |deadline| {
        let (stream, speaks_http2) = open(backend, tls, deadline).await?;
        if speaks_http2 {
            return Err(UpstreamError::backend(Kind::Protocol, "the backend insists on HTTP/2"));
        }
        Ok(Connection::new(stream))
    })
    .await?;
    let mut lease = Lease::fresh(Rc::clone(attempts.pool), Arc::clone(backend), Sender::Http1(connection));
    lease.keep_not();
    Ok(lease)
}

fn limit(context: &RequestContext) -> Duration {
    Duration::from_secs(context.snapshot.config.limits.connect_timeout_secs)
}

/// Waits at most `limit`; the work is told when that is over.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl AsyncFnOnce(Instant) -> Result<T, UpstreamError>,
) -> Result<T, UpstreamError> {
    let deadline = Instant::now() + limit;
    timeout_at(deadline, work(deadline))
        .await
        .unwrap_or_else(|_| Err(UpstreamError::backend(Kind::Timeout, "connecting took too long")))
}

/// A stream that is ready for HTTP, and whether that is HTTP/2.
pub(super) async fn open(
    backend: &Backend,
    tls: Option<Arc<ClientConfig>>,
    deadline: Instant,
) -> Result<(Box<dyn Stream>, bool), UpstreamError> {
    let stream = tcp(backend, deadline).await?;
    let Some(config) = tls else {
        return Ok((Box::new(stream), backend.http2 == Http2Mode::Always));
    };
    let name = ServerName::try_from(backend.url.host.clone())
        .map_err(|error| UpstreamError::backend(Kind::Tls, error.to_string()))?;
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|error| UpstreamError::backend(Kind::Tls, error.to_string()))?;
    let speaks_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if backend.http2 == Http2Mode::Always && !speaks_http2 {
        return Err(UpstreamError::backend(Kind::Protocol, "the backend does not offer HTTP/2"));
    }
    Ok((Box::new(stream), speaks_http2))
}

async fn tcp(backend: &Backend, deadline: Instant) -> Result<TcpStream, UpstreamError> {
    let addresses = lookup_host((backend.url.host.as_str(), backend.url.port))
        .await
        .map_err(|error| UpstreamError::backend(Kind::Dns, error.to_string()))?;
    let stream = first_to_answer(&addresses.take(ADDRESSES_MAX).collect::<Vec<_>>(), deadline).await?;
    // A head and its body must not wait for each other's acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "failed to set TCP_NODELAY");
    }
    Ok(stream)
}

/// Tries each address in turn. Each has its share of the time that is left: one that drops packets does
/// not hide the next one.
async fn first_to_answer(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, UpstreamError> {
    let mut last = UpstreamError::backend(Kind::Dns, "the name has no address");
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let waiting = u32::try_from(addresses.len().saturating_sub(index)).unwrap_or(u32::MAX);
        last = match timeout(left / waiting.max(1), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => UpstreamError::backend(Kind::Connect, format!("{address}: {error}")),
            Err(_) => UpstreamError::backend(Kind::Timeout, format!("{address}: no answer in time")),
        };
    }
    Err(last)
}

async fn http2_sender(stream: Box<dyn Stream>) -> Result<Sender, UpstreamError> {
    let (sender, connection) = http2::Builder::new(LocalExecutor::default())
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| handshake_failed(&error))?;
    spawn_local(async move {
        if let Err(error) = connection.await {
            debug!(%error, "backend connection ended");
        }
    });
    Ok(Sender::Http2(sender))
}

fn handshake_failed(error: &hyper::Error) -> UpstreamError {
    UpstreamError::backend(Kind::Protocol, error.to_string())
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// In the tests of HTTP/1 there is no kernel between the two ends.
    impl Stream for tokio::io::DuplexStream {
        fn is_silent(&self) -> bool {
            true
        }
    }

    #[tokio::test]
    async fn what_the_kernel_knows_is_seen_before_the_runtime_hears_of_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (there, _) = listener.accept().unwrap();
        assert!(here.is_silent());
        drop(there);
        // Nothing is awaited here, so that the runtime cannot have looked.
        assert!(!here.is_silent());
    }

    /// Takes no more connections: the kernel drops what comes.
    async fn deaf() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            waiting.push(stream.unwrap());
        }
        (listener, waiting, address)
    }

    #[tokio::test]
    async fn an_address_that_drops_packets_does_not_hide_the_next() {
        let (_listener, _waiting, dropping) = deaf().await;
        let answering = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = "127.0.0.1:1".parse().unwrap();
        let here = answering.local_addr().unwrap();
        let deadline = || Instant::now() + Duration::from_secs(4);
        for addresses in [vec![dropping, here], vec![refusing, here], vec![refusing, dropping, here]] {
            let stream = first_to_answer(&addresses, deadline()).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), here);
        }
        let begun = Instant::now();
        let error = first_to_answer(&[dropping], begun + Duration::from_millis(200)).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Backend { kind: Kind::Timeout, .. }), "{error}");
        let error = first_to_answer(&[refusing], deadline()).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Backend { kind: Kind::Connect, .. }), "{error}");
        let error = first_to_answer(&[], deadline()).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Backend { kind: Kind::Dns, .. }), "{error}");
    }
}
