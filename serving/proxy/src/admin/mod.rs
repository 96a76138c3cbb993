// SPDX-License-Identifier: Apache-2.0
//! The node's own pages: metrics and probes on one port, the management API on another.

mod api;
mod backends;
mod changes;
mod console;
mod decisions;
mod events;
mod exceptions;
mod guard;
mod layers;
mod limits;
mod lists;
mod model_changes;
mod models;
mod rule_changes;
mod stats;
mod top;
mod traffic;
mod trail;
mod waf;

pub(crate) use self::console::sessions::Sessions;
pub(crate) use self::guard::CHANGES_MAX;
pub(crate) use self::traffic::{STEP_SECS, Traffic};
pub(crate) use self::trail::cut;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::guard::Peer;
use crate::core::Core;

/// The API's description, served at `/openapi.json`.
pub const OPENAPI: &str = include_str!("openapi.json");

/// Bytes of a request's body: a configuration.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Connections at the same time: a scraper, some probes, some people. The descriptors are the proxy's.
const CONNECTIONS_MAX: usize = 128;

/// How long a head may take, and how long a connection may rest.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// A running server. Dropping it stops accepting; what was asked is still answered.
#[derive(Debug)]
pub(crate) struct AdminServer {
    address: SocketAddr,
    /// Dropped: finish.
    _open: watch::Sender<()>,
}

impl AdminServer {
    /// Must be called inside a runtime.
    pub(crate) fn start(listener: std::net::TcpListener, router: Router) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let (open, closed) = watch::channel(());
        tokio::spawn(serve(listener, router, closed));
        Ok(Self { address, _open: open })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Accepts until the server is dropped; then open requests are finished.
async fn serve(listener: tokio::net::TcpListener, router: Router, mut closed: watch::Receiver<()>) {
    /// Wait after a refused accept: without descriptors it would be refused again at once.
    const PAUSE: Duration = Duration::from_millis(50);
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closed.changed() => break,
        };
        match accepted {
            // Full of others: this one is closed.
            Ok(_) if connections.len() >= CONNECTIONS_MAX => {}
            Ok((stream, from)) => {
                drop(connections.spawn(converse(stream, from, router.clone(), closed.clone())));
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection to the node's own pages");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    // The kernel has accepted what waits.
    if let Ok(listener) = listener.into_std() {
        while let Ok((stream, from)) = listener.accept() {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                connections.spawn(converse(stream, from, router.clone(), closed.clone()));
            }
        }
    }
    // Watchers of events stay until the node ends.
    while connections.join_next().await.is_some() {}
}

async fn converse(stream: TcpStream, from: SocketAddr, router: Router, mut closed: watch::Receiver<()>) {
    let router = TowerToHyperService::new(router);
    let peer = Peer(from.ip().to_canonical());
    let router = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), router);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        _ = closed.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection to the node's own pages ended");
    }
}

/// `/metrics`, `/health`, `/ready`, `/live`.
pub(crate) fn metrics_router(core: &Arc<Core>) -> Router {
    probes().route("/metrics", get(metrics)).with_state(Arc::clone(core))
}

/// The API and the console. Probes, the description and the console's page are open, everything else needs the token
/// or a session; Host and Origin are checked on all.
pub(crate) fn management_router(core: &Arc<Core>) -> Router {
    let mut api = Router::new();
    for endpoint in api::ENDPOINTS.iter().chain(api::RANGES) {
        api = api.route(endpoint.path, (endpoint.handler)());
    }
    let api = api
        .layer(axum::middleware::map_response(refused_as_ours))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(core), guard::require_caller));
    let console = console::router(core).layer(axum::middleware::map_response(refused_as_ours));
    probes()
        .route("/openapi.json", get(openapi))
        .merge(api)
        .merge(console)
        .fallback(async || api::failure(StatusCode::NOT_FOUND, "no such page"))
        .layer(axum::middleware::from_fn(guard::require_own_host))
        .layer(axum::middleware::map_response(own_only))
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::clone(core))
}

/// Other pages, other ports of this host among them, cannot load what is here, and nobody keeps it.
async fn own_only(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    answer
}

/// What the library refuses before a page is asked (a query with an unknown name, a path or body that is no text, too large
/// a body), told as pages tell what is wrong: as JSON, and with 422 for what makes no sense.
async fn refused_as_ours(answer: Response) -> Response {
    let is_text = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !answer.status().is_client_error() || !is_text {
        return answer;
    }
    let status = match answer.status() {
        StatusCode::BAD_REQUEST => StatusCode::UNPROCESSABLE_ENTITY,
        status => status,
    };
    // It names what a client sent, which has bounds of its own.
    let why = axum::body::to_bytes(answer.into_body(), BODY_BYTES_MAX).await.unwrap_or_default();
    api::failure(status, &String::from_utf8_lossy(&why))
}

fn probes() -> Router<Arc<Core>> {
    Router::new()
        .route(
            "/health",
            get(async || Json(json!({"status": "healthy", "version": env!("CARGO_PKG_VERSION")}))),
        )
        .route("/live", get(async || Json(json!({"live": true}))))
        .route("/ready", get(ready))
}

async fn ready(State(core): State<Arc<Core>>) -> Response {
    let is_ready = !core.shared.is_draining() && !core.listeners().is_empty();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": is_ready}))).into_response()
}

async fn metrics(State(core): State<Arc<Core>>) -> Response {
    let compat = core.shared.snapshot().config.telemetry.compat_metrics;
    let uptime = i64::try_from(core.shared.started.elapsed().as_secs()).unwrap_or(i64::MAX);
    core.shared.metrics.uptime_seconds().set(uptime);
    let mut headers = HeaderMap::new();
    headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    (headers, core.shared.registry.render(compat)).into_response()
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}
