// SPDX-License-Identifier: Apache-2.0
//! Active checks: one task a backend and policy for the whole node, on the control runtime.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use sunbeam_routing::{Backend, Check, Scheme};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::connect::{Stream, open, within};
use super::health::BackendState;
use super::{Kind, UpstreamError};
use crate::shared::Shared;

/// The first checks of a node come within so long, or within the interval, if that is shorter.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// The checks that run.
#[derive(Debug, Default)]
pub(crate) struct Checks(Vec<(Arc<BackendState>, AbortHandle)>);

impl Checks {
    /// Runs the checks that the configuration of now asks for. Those that stay go on, with what they know.
    pub(crate) fn follow(&mut self, shared: &Arc<Shared>, runtime: &Handle) {
        let snapshot = shared.snapshot();
        let wanted = snapshot.backend_states().filter(|state| state.health.check.is_some());
        let wanted: Vec<_> = wanted.map(Arc::clone).collect();
        self.0.retain(|(state, task)| {
            let stays = wanted.iter().any(|wanted| Arc::ptr_eq(wanted, state));
            if !stays {
                task.abort();
            }
            stays
        });
        for state in wanted {
            if !self.0.iter().any(|(running, _)| Arc::ptr_eq(running, &state)) {
                let task = runtime.spawn(watch(Arc::clone(shared), Arc::clone(&state)));
                self.0.push((state, task.abort_handle()));
            }
        }
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        for (_, task) in &self.0 {
            task.abort();
        }
    }
}

/// Asks for ever. A backend that was not asked yet counts as healthy.
async fn watch(shared: Arc<Shared>, state: Arc<BackendState>) {
    let Some(check) = state.health.check.clone() else { return };
    let (mut good, mut bad) = (0_u32, 0_u32);
    let mut wait = FIRST_WITHIN.min(check.interval).mul_f64(chance());
    loop {
        state.set_next_check(wait);
        sleep(wait).await;
        // Its TLS may have changed since: a reload reads the roots again.
        let tls = shared.snapshot().client_tls(&state.backend).cloned();
        let asked = timeout(check.timeout, ask(&state.backend, &check, tls)).await;
        let result = asked.unwrap_or_else(|_| Err(format!("no answer in {} s", check.timeout.as_secs())));
        let word = if result.is_ok() { "ok" } else { "failed" };
        shared.metrics.backend_checks(state.backend.url.as_str(), word).inc();
        match result {
            Ok(()) => {
                bad = 0;
                // Good checks count from when it was left out.
                good = if state.is_in() { 0 } else { good.saturating_add(1) };
                if good >= check.healthy_after {
                    state.check_passes();
                    good = 0;
                }
            }
            Err(why) => {
                (good, bad) = (0, bad.saturating_add(1));
                if bad >= state.health.unhealthy_after {
                    state.check_fails(&why);
                } else {
                    state.note_check_error(&why);
                }
            }
        }
        // Checks of many backends, and of many nodes, drift apart.
        wait = check.interval.mul_f64(0.9 + 0.2 * chance());
    }
}

/// 2xx and 3xx are healthy.
async fn ask(backend: &Backend, check: &Check, tls: Option<Arc<ClientConfig>>) -> Result<(), String> {
    let status = exchange(backend, check, tls).await.map_err(|error| error.to_string())?;
    if status.is_success() || status.is_redirection() {
        return Ok(());
    }
    Err(format!("answered {}", status.as_u16()))
}

async fn exchange(
    backend: &Backend,
    check: &Check,
    tls: Option<Arc<ClientConfig>>,
) -> Result<StatusCode, UpstreamError> {
    let (stream, speaks_http2) =
        within(check.timeout, async |deadline| open(backend, tls, deadline).await).await?;
    let failed =
        |error: hyper::Error| UpstreamError::backend(Kind::Protocol, crate::snapshot::error_chain(&error));
    let request = request(backend, check, speaks_http2)?;
    // Ends the connection with the check.
    let mut connections = JoinSet::new();
    let io = TokioIo::new(stream);
    let response = if speaks_http2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(failed)?;
        connections.spawn(connection);
        sender.send_request(request).await
    } else {
        let (mut sender, connection) = http1_handshake(io).await.map_err(failed)?;
        connections.spawn(connection);
        sender.send_request(request).await
    };
    Ok(response.map_err(failed)?.status())
}

type Http1 = (http1::SendRequest<Empty<Bytes>>, http1::Connection<TokioIo<Box<dyn Stream>>, Empty<Bytes>>);

async fn http1_handshake(io: TokioIo<Box<dyn Stream>>) -> hyper::Result<Http1> {
    /// A check's answer is small, and nobody reads its body.
    const BUFFER_BYTES: usize = 16 * 1024;
    http1::Builder::new().max_buf_size(BUFFER_BYTES).handshake(io).await
}

fn request(
    backend: &Backend,
    check: &Check,
    speaks_http2: bool,
) -> Result<Request<Empty<Bytes>>, UpstreamError> {
    const USER_AGENT: &str = concat!("sunbeam-health/", env!("CARGO_PKG_VERSION"));
    let ours = |error: http::Error| Kind::ours(&error);
    let host = check.host.clone().unwrap_or_else(|| backend.url.authority());
    let request = Request::get("/").header(header::USER_AGENT, USER_AGENT);
    if !speaks_http2 {
        let request = request.uri(check.path.as_str()).header(header::HOST, host);
        return request.header(header::CONNECTION, "close").body(Empty::new()).map_err(ours);
    }
    let scheme = if backend.url.scheme == Scheme::Https { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(host).path_and_query(check.path.as_str());
    request.uri(uri.build().map_err(ours)?).body(Empty::new()).map_err(ours)
}

/// Between 0 and 1.
fn chance() -> f64 {
    let [byte, ..] = uuid::Uuid::new_v4().into_bytes();
    f64::from(byte) / 256.0
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use http::{HeaderMap, Response, Version};
    use http_body_util::Full;
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use sunbeam_routing::Http2Mode;
    use tokio::net::TcpListener;

    use super::*;

    type Seen = Arc<Mutex<Vec<(Version, Uri, HeaderMap)>>>;

    /// Answers 200 below /good and 503 elsewhere, over HTTP/1.1 or h2c.
    async fn server(http2: bool) -> (Backend, Seen) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let seen = Seen::default();
        let memory = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let memory = Arc::clone(&memory);
                let service = service_fn(move |request: Request<Incoming>| {
                    let (parts, _) = request.into_parts();
                    let status = if parts.uri.path().starts_with("/good") { 200 } else { 503 };
                    memory.lock().unwrap().push((parts.version, parts.uri, parts.headers));
                    let body = Full::new(Bytes::from(vec![b'x'; 100_000]));
                    async move { Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap()) }
                });
                let io = TokioIo::new(stream);
                if http2 {
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    tokio::spawn(builder.serve_connection(io, service));
                } else {
                    tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
                }
            }
        });
        let mode = if http2 { Http2Mode::Always } else { Http2Mode::Auto };
        (Backend { url, http2: mode, ca_path: String::new(), verify: true }, seen)
    }

    fn check(path: &str, host: Option<&str>) -> Check {
        Check {
            path: path.to_owned(),
            host: host.map(str::to_owned),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
            healthy_after: 1,
        }
    }

    #[tokio::test]
    async fn a_check_speaks_the_backends_http_and_names_itself_and_the_host() {
        for http2 in [false, true] {
            let (backend, seen) = server(http2).await;
            assert_eq!(ask(&backend, &check("/good?x=1", Some("www.example.org")), None).await, Ok(()));
            assert_eq!(ask(&backend, &check("/bad", None), None).await, Err("answered 503".to_owned()));
            let seen = seen.lock().unwrap().clone();
            let host = |index: usize| {
                let (_, uri, headers) = &seen[index];
                let named = uri.authority().map(ToString::to_string);
                named.unwrap_or_else(|| headers[header::HOST].to_str().unwrap().to_owned())
            };
            assert_eq!((host(0), host(1)), ("www.example.org".to_owned(), backend.url.authority()));
            let (version, uri, headers) = &seen[0];
            assert_eq!(*version, if http2 { Version::HTTP_2 } else { Version::HTTP_11 });
            assert_eq!(uri.path_and_query().unwrap().as_str(), "/good?x=1");
            assert!(headers[header::USER_AGENT].to_str().unwrap().starts_with("sunbeam-health/"));
        }
        let nobody = Backend { url: "http://127.0.0.1:1".parse().unwrap(), ..server(false).await.0 };
        assert!(ask(&nobody, &check("/good", None), None).await.unwrap_err().contains("connect"));
    }
}
