// SPDX-License-Identifier: Apache-2.0
//! One connection from accept to close: whose it is, TLS, the protocol, deadlines, drain.

mod http1;
mod http2;

pub(crate) use http1::Http1Body;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use socket2::SockRef;
use sunbeam_listeners::{ConnectionPermit, ProxyHeaderError, Scheme, read_proxy_header, reset};
use sunbeam_wire::{ProxySource, client_hello};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use crate::context::ConnectionInfo;
use crate::pace::Pace;
use crate::paced_stream::PacedStream;
use crate::service::Service;
use crate::shared::Shared;

/// Bytes that wait in the kernel and are not on their way: enough to keep the way full while a thread is
/// busy with others.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// Bytes that are encrypted ahead of the socket: two records.
const TLS_BUFFER_BYTES: usize = 32 * 1024;

/// Serves `stream` until it ends. The permit is its place in the connection count.
pub(crate) async fn serve(
    service: Rc<Service>,
    mut stream: TcpStream,
    peer: SocketAddr,
    scheme: Scheme,
    mut permit: ConnectionPermit,
) {
    // Heads and bodies are written whole: waiting for acknowledgements only costs time.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "failed to set TCP_NODELAY");
    }
    // For a client that reads slowly the kernel would take megabytes; what is on its way has no bound.
    if let Err(error) = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX) {
        debug!(%error, "failed to set TCP_NOTSENT_LOWAT");
    }
    let local = local_address(&service.shared, &stream);
    let mut peer = peer;
    if permit.expects_proxy_header() {
        // In a box: the few connections that have one should not make all others larger.
        match Box::pin(client_behind(&service.shared, &mut stream, peer)).await {
            Some(ProxySource::Client(client)) if !permit.speaks_for(client.ip()) => return reset(&stream),
            Some(ProxySource::Client(client)) => peer = client,
            Some(ProxySource::Connection) => {}
            None => return reset(&stream),
        }
    }
    match scheme {
        Scheme::Http => {
            let info = ConnectionInfo::new(peer, scheme, "", permit, &service.shares);
            let info = info.at(local);
            let stream = paced(&service.shared, stream);
            http1::serve(service, stream, info).await;
        }
        Scheme::Https => serve_tls(service, stream, (peer, local), permit).await,
    }
}

async fn serve_tls(
    service: Rc<Service>,
    stream: TcpStream,
    (peer, local): (SocketAddr, SocketAddr),
    permit: ConnectionPermit,
) {
    let shared = Arc::clone(&service.shared);
    let limit = Duration::from_secs(shared.snapshot.load().config.limits.tls_handshake_timeout_secs);
    let acceptor = TlsAcceptor::from(shared.tls.server_config());
    let count = |result| shared.listener_metrics.tls_handshakes(result).inc();
    let Some(handshake) = permit.begin_handshake(peer.ip()) else {
        count("refused");
        return reset(&stream);
    };
    let accepted = timeout(limit, acceptor.accept(paced(&shared, stream).listening())).await;
    drop(handshake);
    let mut stream = match accepted {
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
    let (io, session) = stream.get_mut();
    let ja4 = ja4(&io.take_heard());
    session.set_buffer_limit(Some(TLS_BUFFER_BYTES));
    let tls_version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    };
    let info = ConnectionInfo::new(peer, Scheme::Https, tls_version, permit, &service.shares);
    let info = info.at(local).of_make(ja4);
    if session.alpn_protocol() == Some(b"h2") {
        // In a box: the others' task need not have room for it.
        Box::pin(http2::serve(service, stream, info)).await;
    } else {
        http1::serve(service, stream, info).await;
    }
}

/// Where a connection came in, for rules that ask; nobody else does.
fn local_address(shared: &Shared, stream: &TcpStream) -> SocketAddr {
    let address = shared.snapshot.load().waf.as_ref().and_then(|_| stream.local_addr().ok());
    address.unwrap_or_else(|| (std::net::Ipv4Addr::UNSPECIFIED, 0).into())
}

/// The fingerprint of a client's TLS; empty where it cannot be read.
fn ja4(heard: &[u8]) -> Box<str> {
    let sha256 = |text: &[u8]| {
        let mut hash = [0; 32];
        let digest = digest::digest(&digest::SHA256, text);
        hash.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        hash
    };
    match client_hello(heard) {
        Ok(Some(hello)) => hello.ja4(sha256).into(),
        Ok(None) | Err(_) => Box::default(),
    }
}

/// From here on the client must read what it asked for.
fn paced(shared: &Shared, stream: TcpStream) -> PacedStream<TcpStream> {
    let rate = shared.snapshot.load().config.limits.min_send_rate_bytes;
    PacedStream::new(stream, Pace::new(rate), shared.listener_metrics.clone())
}

/// Whom a PROXY header names; `None` (counted) when there is no good one in time.
async fn client_behind(shared: &Shared, stream: &mut TcpStream, peer: SocketAddr) -> Option<ProxySource> {
    let limit = Duration::from_secs(shared.snapshot.load().config.limits.header_timeout_secs);
    let metrics = &shared.listener_metrics;
    match read_proxy_header(stream, limit).await {
        Ok(source) => {
            let result = if source == ProxySource::Connection { "local" } else { "client" };
            metrics.proxy_protocol_headers(result).inc();
            Some(source)
        }
        Err(error) => {
            metrics.proxy_protocol_headers(error.label()).inc();
            if matches!(error, ProxyHeaderError::Timeout) {
                metrics.limit_hits("header_timeout_secs").inc();
            }
            debug!(%error, %peer, "connection without a good PROXY header");
            None
        }
    }
}

async fn drain_begins(draining: &mut tokio::sync::watch::Receiver<bool>) {
    // The sender lives as long as the node; without it there is nothing to wait for.
    if draining.wait_for(|draining| *draining).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn ended(result: hyper::Result<()>) {
    if let Err(error) = result {
        debug!(error = crate::snapshot::error_chain(&error), "client connection ended");
    }
}
