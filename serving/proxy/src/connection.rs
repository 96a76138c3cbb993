// SPDX-License-Identifier: Apache-2.0
//! One connection from accept to close: TLS, the protocol, deadlines, drain.

use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, header};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::Cell;
use std::net::SocketAddr;
use sunbeam_listeners::{ConnectionPermit, LimitsSection, Scheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use crate::context::ConnectionInfo;
use crate::door::{Door, HeadLimits};
use crate::executor::LocalExecutor;
use crate::service::Service;

/// How often a connection that drains looks whether a half-received head has become whole.
const PARTIAL_HEAD_POLL: Duration = Duration::from_millis(20);

/// Buffered answer bytes of one HTTP/2 stream: enough for a window, few enough for ten thousand streams.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Header lines that hyper takes without being told; more cost an allocation for each request.
const LIBRARY_HEADERS: usize = 100;

/// HTTP/2 flow-control windows.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// Serves `stream` until it ends. The permit is its place in the connection count.
pub(crate) async fn serve(
    service: Rc<Service>,
    stream: TcpStream,
    peer: SocketAddr,
    scheme: Scheme,
    permit: ConnectionPermit,
) {
    // Heads and bodies are written whole: waiting for acknowledgements only costs time.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "failed to set TCP_NODELAY");
    }
    match scheme {
        Scheme::Http => {
            let info = ConnectionInfo { peer, scheme, tls_version: "", _permit: permit };
            serve_http1(service, stream, info).await;
        }
        Scheme::Https => serve_tls(service, stream, peer, permit).await,
    }
}

async fn serve_tls(service: Rc<Service>, stream: TcpStream, peer: SocketAddr, permit: ConnectionPermit) {
    let shared = Arc::clone(&service.shared);
    let limit = Duration::from_secs(shared.snapshot.load().config.limits.tls_handshake_timeout_secs);
    let acceptor = TlsAcceptor::from(shared.tls.server_config());
    let count = |result| shared.listener_metrics.tls_handshakes(result).inc();
    let stream = match timeout(limit, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            count("failed");
            debug!(%error, %peer, "TLS handshake failed");
            return;
        }
        Err(_) => {
            count("timeout");
            shared.listener_metrics.limit_hits("tls_handshake_timeout_secs").inc();
            return;
        }
    };
    count("ok");
    let session = stream.get_ref().1;
    let tls_version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    };
    let info = ConnectionInfo { peer, scheme: Scheme::Https, tls_version, _permit: permit };
    if session.alpn_protocol() == Some(b"h2") {
        serve_http2(service, stream, info).await;
    } else {
        serve_http1(service, stream, info).await;
    }
}

async fn serve_http1<T>(service: Rc<Service>, stream: T, info: ConnectionInfo)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shared = Arc::clone(&service.shared);
    let limits = shared.snapshot.load().config.limits.clone();
    let head_limits = head_limits(&limits);
    let header_timeout = Duration::from_secs(limits.header_timeout_secs);
    let (door, state) = Door::new(stream, head_limits, header_timeout);
    let info = Rc::new(info);
    let served = Rc::new(Cell::new(0_u64));
    let handler = service_fn({
        let state = Arc::clone(&state);
        move |request| {
            let (service, info, state) = (Rc::clone(&service), Rc::clone(&info), Arc::clone(&state));
            let count = served.get() + 1;
            served.set(count);
            let is_last = count >= limits.keepalive_requests;
            async move {
                let mut response = service.serve(info, Some(state), request).await;
                if is_last && response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        }
    });
    let mut builder = http1::Builder::new();
    if limits.max_headers > LIBRARY_HEADERS {
        // The door has the bound; the library's own, a hundred on the stack, must not come first.
        builder.max_headers(limits.max_headers + 1);
    }
    let connection = builder
        .timer(TokioTimer::new())
        // The door keeps the head's own deadline; this one is for the silence between two requests.
        .header_read_timeout(Duration::from_secs(limits.keepalive_secs))
        .max_buf_size(head_limits.max_head_bytes * 3 + 8192)
        .serve_connection(door, handler)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut draining = shared.draining.subscribe();
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = drain_begins(&mut draining) => {
            // A head that has begun to arrive is a request that was accepted: it is still served.
            let give_up = Instant::now() + header_timeout;
            while state.has_partial_head() && Instant::now() < give_up {
                tokio::select! {
                    result = connection.as_mut() => return ended(result),
                    () = sleep(PARTIAL_HEAD_POLL) => {}
                }
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended(result);
}

async fn serve_http2<T>(service: Rc<Service>, stream: T, info: ConnectionInfo)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shared = Arc::clone(&service.shared);
    let limits = shared.snapshot.load().config.limits.clone();
    let executor = LocalExecutor::default();
    let info = Rc::new(info);
    let handler = service_fn(move |request| {
        let (service, info) = (Rc::clone(&service), Rc::clone(&info));
        async move { Ok::<_, Infallible>(service.serve(info, None, request).await) }
    });
    // Above this the library answers 431 by itself, with neither page nor record; the service has its
    // own, stricter bound. The RFC counts 32 bytes more for each field.
    let header_bytes = limits.max_header_bytes.saturating_add(limits.max_headers.saturating_mul(32));
    let header_bytes = u32::try_from(header_bytes.saturating_mul(2)).unwrap_or(u32::MAX);
    let connection = http2::Builder::new(executor.clone())
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams_per_connection)
        .max_header_list_size(header_bytes)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(stream), handler);
    let mut connection = pin!(connection);
    let mut draining = shared.draining.subscribe();
    let keepalive = Duration::from_secs(limits.keepalive_secs);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = drain_begins(&mut draining) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = idle_for(&executor, keepalive) => {
            connection.as_mut().graceful_shutdown();
            // A client that does not hang up after GOAWAY is hung up on.
            timeout(keepalive, connection).await.unwrap_or(Ok(()))
        }
    };
    ended(result);
}

/// HTTP/2 has no idle deadline of its own: pings would keep a connection for ever.
async fn idle_for(executor: &LocalExecutor, most: Duration) {
    loop {
        match executor.idle_since() {
            Some(since) if since.elapsed() >= most => return,
            Some(since) => sleep(most.saturating_sub(since.elapsed())).await,
            None => sleep(most).await,
        }
    }
}

async fn drain_begins(draining: &mut tokio::sync::watch::Receiver<bool>) {
    // The sender lives as long as the node; without it there is nothing to wait for.
    if draining.wait_for(|draining| *draining).await.is_err() {
        std::future::pending::<()>().await;
    }
}

pub(crate) const fn head_limits(limits: &LimitsSection) -> HeadLimits {
    HeadLimits {
        max_head_bytes: limits.max_header_bytes,
        max_headers: limits.max_headers,
        max_target_bytes: limits.max_url_bytes,
    }
}

fn ended(result: hyper::Result<()>) {
    if let Err(error) = result {
        debug!(error = crate::snapshot::error_chain(&error), "client connection ended");
    }
}
