// SPDX-License-Identifier: Apache-2.0
//! The site that is asked: a small magazine with a shop's API behind it. It holds nothing worth attacking and
//! answers as such sites do, with a little latency and with real pages for what is not there.

mod answers;
pub(super) mod content;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Runtime};
use tokio::time::sleep;

use super::chance::Chance;

/// Bytes of a request that are read; past it the answer is 413.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Runs until it is dropped.
#[derive(Debug)]
pub(super) struct Site {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Site {
    pub(super) fn start() -> Result<Self> {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        runtime.spawn(async move {
            let served = Arc::new(AtomicU64::new(0));
            while let Ok((stream, _)) = listener.accept().await {
                drop(tokio::spawn(serve(stream, Arc::clone(&served))));
            }
        });
        Ok(Self { address, _runtime: runtime })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(stream: TcpStream, served: Arc<AtomicU64>) {
    let service = service_fn(move |request| {
        let number = served.fetch_add(1, Ordering::Relaxed);
        async move { Ok::<_, Infallible>(answer(request, number).await) }
    });
    // A node that drops its connection does so for its client.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(request: Request<Incoming>, number: u64) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    #[expect(clippy::disallowed_methods, reason = "bounded by Limited")]
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    sleep(latency(&parts, number)).await;
    match body {
        Ok(body) => answers::to(&parts, &body.to_bytes()),
        Err(_) => answers::too_large(),
    }
}

/// A database makes pages and searches slower than files are.
fn latency(parts: &Parts, number: u64) -> Duration {
    let (least, most) = match parts.uri.path() {
        path if path.starts_with("/assets/") || path.starts_with("/images/") => (0, 2),
        path if path.starts_with("/search") => (15, 60),
        path if path.starts_with("/api/") || path == "/graphql" => (4, 25),
        "/login" => (40, 90),
        _ => (3, 18),
    };
    Chance::new(number).millis(least, most)
}
