// SPDX-License-Identifier: Apache-2.0
//! A connection that speaks HTTP/2.

use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};

use super::{drain_begins, ended};
use crate::context::ConnectionInfo;
use crate::executor::LocalExecutor;
use crate::service::Service;

/// Buffered answer bytes of one stream: enough for a window, few enough for ten thousand streams.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Flow-control windows.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// Serves `stream` until it ends.
pub(super) async fn serve<T>(service: Rc<Service>, stream: T, info: ConnectionInfo)
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
