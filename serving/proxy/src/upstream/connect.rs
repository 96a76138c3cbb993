// SPDX-License-Identifier: Apache-2.0
//! New connections to backends: name, TCP, TLS, HTTP.

use std::rc::Rc;
use std::sync::Arc;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use sunbeam_routing::{Backend, Http2Mode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::spawn_local;
use tokio_rustls::TlsConnector;
use tracing::debug;

use super::answer_check::{AnswerCheck, CheckedSender};
use super::pool::{Lease, Pool, Sender};
use super::{Kind, UpstreamError, within};
use crate::context::RequestContext;
use crate::executor::LocalExecutor;

/// Bytes of an answer that are held for a client that reads slowly; a head must fit too.
const ANSWER_BUFFER_BYTES: usize = 64 * 1024;

/// A connected stream, plain or TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A new connection for the pool.
pub(super) async fn connect(
    pool: &Rc<Pool>,
    context: &RequestContext,
    backend: &Arc<Backend>,
) -> Result<Lease, UpstreamError> {
    let sender = within(context, "connecting", async {
        let (stream, speaks_http2) = open(context, backend).await?;
        if speaks_http2 { http2_sender(stream).await } else { http1_sender(stream).await.map(Sender::Http1) }
    })
    .await?;
    Ok(Lease::fresh(Rc::clone(pool), Arc::clone(backend), sender))
}

/// A connection of its own, for an upgrade: HTTP/1.1 whatever the backend prefers.
pub(crate) async fn open_http1(
    context: &RequestContext,
    backend: &Arc<Backend>,
) -> Result<CheckedSender, UpstreamError> {
    within(context, "connecting", async {
        let (stream, speaks_http2) = open(context, backend).await?;
        if speaks_http2 {
            return Err(UpstreamError::backend(Kind::Protocol, "the backend insists on HTTP/2"));
        }
        http1_sender(stream).await
    })
    .await
}

async fn open(
    context: &RequestContext,
    backend: &Arc<Backend>,
) -> Result<(Box<dyn Stream>, bool), UpstreamError> {
    let stream = tcp(backend).await?;
    let Some(config) = context.snapshot.client_tls(backend) else {
        return Ok((Box::new(stream), backend.http2 == Http2Mode::Always));
    };
    let name = ServerName::try_from(backend.url.host.clone())
        .map_err(|error| UpstreamError::backend(Kind::Tls, error.to_string()))?;
    let stream = TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await
        .map_err(|error| UpstreamError::backend(Kind::Tls, error.to_string()))?;
    let speaks_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if backend.http2 == Http2Mode::Always && !speaks_http2 {
        return Err(UpstreamError::backend(Kind::Protocol, "the backend does not offer HTTP/2"));
    }
    Ok((Box::new(stream), speaks_http2))
}

/// Tries each address of the name in turn.
async fn tcp(backend: &Backend) -> Result<TcpStream, UpstreamError> {
    let addresses = lookup_host((backend.url.host.as_str(), backend.url.port))
        .await
        .map_err(|error| UpstreamError::backend(Kind::Dns, error.to_string()))?;
    let mut last = UpstreamError::backend(Kind::Dns, "the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // A head and its body must not wait for each other's acknowledgement.
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(%error, "failed to set TCP_NODELAY");
                }
                return Ok(stream);
            }
            Err(error) => last = UpstreamError::backend(Kind::Connect, format!("{address}: {error}")),
        }
    }
    Err(last)
}

async fn http1_sender(stream: Box<dyn Stream>) -> Result<CheckedSender, UpstreamError> {
    let stream = AnswerCheck::new(stream);
    let checked = stream.sender();
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(ANSWER_BUFFER_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| handshake_failed(&error))?;
    spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            debug!(%error, "backend connection ended");
        }
    });
    Ok(checked(sender))
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
