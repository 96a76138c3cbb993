// SPDX-License-Identifier: Apache-2.0
//! `loadgen backend`: a small, quick backend on one thread.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::client::drain;

/// An answer without a size of its own in the path.
const USUAL_BYTES: u64 = 1024;

/// One frame of an answer.
static PIECE: [u8; 16 * 1024] = [b'.'; 16 * 1024];

/// The answer to the only key that `loadgen churn` sends (RFC 6455, section 1.3 has both).
const WEBSOCKET_ACCEPT: HeaderValue = HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

/// A backend: 1 KiB for every path, N bytes for /bytes/N, bodies read to their end, WebSocket bytes echoed
#[derive(Debug, clap::Args)]
pub(crate) struct Backend {
    /// 127.0.0.1:8000
    #[arg(long)]
    listen: SocketAddr,
}

impl Backend {
    pub(crate) async fn run(self) -> Result<()> {
        if !self.listen.ip().is_loopback() {
            bail!("a backend without any protection listens on a loopback address only");
        }
        let listener = TcpListener::bind(self.listen).await?;
        println!("listening on {}", listener.local_addr()?);
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            // Without it the answer is still right.
            drop(stream.set_nodelay(true));
            tokio::task::spawn_local(async move {
                let service = service_fn(answer);
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A proxy that hangs up is nobody's concern here.
                drop(connection.with_upgrades().await);
            });
        }
    }
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Bytes16>, Infallible> {
    if request.headers().contains_key(header::UPGRADE) {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::task::spawn_local(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
            // The end of either side ends it.
            drop(tokio::io::copy(&mut read, &mut write).await);
        });
        let mut response = Response::new(Bytes16 { left: 0 });
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, WEBSOCKET_ACCEPT);
        return Ok(response);
    }
    let left = request.uri().path().strip_prefix("/bytes/").and_then(|count| count.parse().ok());
    if request.method() != Method::GET && drain(request.into_body()).await.is_err() {
        let mut response = Response::new(Bytes16 { left: 0 });
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(response);
    }
    Ok(Response::new(Bytes16 { left: left.unwrap_or(USUAL_BYTES) }))
}

/// A body of so many dots, 16 KiB at a time.
#[derive(Debug)]
struct Bytes16 {
    left: u64,
}

impl Body for Bytes16 {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(PIECE.len());
        self.left -= u64::try_from(count).unwrap_or(self.left);
        let piece = PIECE.get(..count).unwrap_or(&PIECE);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
