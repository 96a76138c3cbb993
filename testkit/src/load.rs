// SPDX-License-Identifier: Apache-2.0
//! Requests without a pause, over new and kept connections, plain and TLS, HTTP/1.1 and HTTP/2; every one
//! that fails is counted, none is repeated.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

/// How long one request may take.
const MOST: Duration = Duration::from_secs(30);

/// Between two new connections of one client: the ports of a closed one rest for a while.
const PAUSE: Duration = Duration::from_millis(2);

/// Failures that are kept as text.
const TOLD_MAX: usize = 20;

/// Where requests go.
#[derive(Clone, Debug)]
pub struct LoadTarget {
    /// The plain listener.
    pub http: SocketAddr,
    /// The TLS listener.
    pub https: SocketAddr,
    /// What its certificate is verified with.
    pub roots: Arc<RootCertStore>,
    /// The name that is asked for; an echo backend ([`crate::TestUpstream`]) answers.
    pub host: String,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct LoadResult {
    /// Requests.
    pub sent: u64,
    /// Those of them that got no answer, another status than 200, or another text.
    pub failed: u64,
    /// Kept connections that the server closed between two requests.
    pub closed: u64,
    /// Some failures in words.
    pub told: Vec<String>,
}

/// Running clients. They stop with [`Load::stop`].
#[derive(Debug)]
pub struct Load {
    tally: Arc<Tally>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Tally {
    stops: AtomicBool,
    sent: AtomicU64,
    failed: AtomicU64,
    closed: AtomicU64,
    told: Mutex<Vec<String>>,
}

/// How a client connects.
#[derive(Clone, Copy, Debug)]
struct Way {
    name: &'static str,
    has_tls: bool,
    is_http2: bool,
    is_kept: bool,
}

const WAYS: &[Way] = &[
    Way { name: "HTTP/1, new", has_tls: false, is_http2: false, is_kept: false },
    Way { name: "HTTP/1, kept", has_tls: false, is_http2: false, is_kept: true },
    Way { name: "HTTPS HTTP/1, new", has_tls: true, is_http2: false, is_kept: false },
    Way { name: "HTTPS HTTP/1, kept", has_tls: true, is_http2: false, is_kept: true },
    Way { name: "HTTPS HTTP/2, new", has_tls: true, is_http2: true, is_kept: false },
    Way { name: "HTTPS HTTP/2, kept", has_tls: true, is_http2: true, is_kept: true },
];

impl Load {
    /// Starts `clients` of each way.
    pub fn start(target: &LoadTarget, clients: usize) -> Self {
        let (tally, target) = (Arc::new(Tally::default()), Arc::new(target.clone()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let shared = Arc::clone(&tally);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let mut tasks = tokio::task::JoinSet::new();
                for way in WAYS {
                    for _ in 0..clients {
                        tasks.spawn(client(*way, Arc::clone(&target), Arc::clone(&shared)));
                    }
                }
                tasks.join_all().await;
            });
        });
        Self { tally, thread: Some(thread) }
    }

    /// What came of it so far.
    pub fn result(&self) -> LoadResult {
        LoadResult {
            sent: self.tally.sent.load(Ordering::Relaxed),
            failed: self.tally.failed.load(Ordering::Relaxed),
            closed: self.tally.closed.load(Ordering::Relaxed),
            told: self.tally.told.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Ends the clients; requests that are open are waited for.
    pub fn stop(mut self) -> LoadResult {
        self.tally.stops.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the load runs to its end");
        }
        self.result()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.tally.stops.store(true, Ordering::Relaxed);
    }
}

impl Tally {
    fn fail(&self, way: Way, error: &anyhow::Error) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD_MAX {
            told.push(format!("{}: {error:#}", way.name));
        }
    }
}

async fn client(way: Way, target: Arc<LoadTarget>, tally: Arc<Tally>) {
    let mut kept: Option<Sender> = None;
    while !tally.stops.load(Ordering::Relaxed) {
        let was_kept = kept.is_some();
        match timeout(MOST, exchange(way, &target, kept.take())).await {
            Ok(Ok(sender)) => {
                tally.sent.fetch_add(1, Ordering::Relaxed);
                kept = sender;
            }
            // Closed before the request was written: any client notices and opens another.
            Ok(Err(Failure::Unwritten(_))) if was_kept => drop(tally.closed.fetch_add(1, Ordering::Relaxed)),
            Ok(Err(Failure::Unwritten(error) | Failure::Failed(error))) => {
                tally.sent.fetch_add(1, Ordering::Relaxed);
                tally.fail(way, &error);
            }
            Err(_) => {
                tally.sent.fetch_add(1, Ordering::Relaxed);
                tally.fail(way, &anyhow::anyhow!("no answer in {MOST:?}"));
            }
        }
        if !way.is_kept {
            sleep(PAUSE).await;
        }
    }
}

enum Failure {
    Unwritten(anyhow::Error),
    Failed(anyhow::Error),
}

enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// One request; returns the connection if it is to be kept.
async fn exchange(way: Way, target: &LoadTarget, kept: Option<Sender>) -> Result<Option<Sender>, Failure> {
    let mut sender = match kept {
        Some(sender) => sender,
        None => connect(way, target).await.map_err(Failure::Failed)?,
    };
    let answer = match &mut sender {
        Sender::Http1(sender) => {
            sender.ready().await.map_err(|error| Failure::Unwritten(error.into()))?;
            let request = request(way, target).map_err(Failure::Failed)?;
            sender.try_send_request(request).await.map_err(failure)?
        }
        Sender::Http2(sender) => {
            sender.ready().await.map_err(|error| Failure::Unwritten(error.into()))?;
            let request = request(way, target).map_err(Failure::Failed)?;
            sender.try_send_request(request).await.map_err(failure)?
        }
    };
    check(answer).await.map_err(Failure::Failed)?;
    Ok(way.is_kept.then_some(sender))
}

fn failure<B>(mut error: TrySendError<B>) -> Failure {
    let is_unwritten = error.take_message().is_some();
    let error = anyhow::Error::from(error.into_error());
    if is_unwritten { Failure::Unwritten(error) } else { Failure::Failed(error) }
}

async fn connect(way: Way, target: &LoadTarget) -> anyhow::Result<Sender> {
    let stream = TcpStream::connect(if way.has_tls { target.https } else { target.http }).await;
    let stream = stream.context("connect")?;
    stream.set_nodelay(true)?;
    if !way.has_tls {
        return handshake(way, TokioIo::new(stream)).await;
    }
    let mut config =
        ClientConfig::builder().with_root_certificates(Arc::clone(&target.roots)).with_no_client_auth();
    config.alpn_protocols = vec![if way.is_http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let name = ServerName::try_from(target.host.clone())?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.context("TLS handshake")?;
    handshake(way, TokioIo::new(stream)).await
}

async fn handshake<T>(way: Way, io: T) -> anyhow::Result<Sender>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    if way.is_http2 {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        tokio::spawn(connection);
        return Ok(Sender::Http2(sender));
    }
    let (sender, connection) = http1::handshake(io).await?;
    tokio::spawn(connection);
    Ok(Sender::Http1(sender))
}

fn request(way: Way, target: &LoadTarget) -> anyhow::Result<Request<Empty<Bytes>>> {
    let mut request = Request::new(Empty::new());
    if way.is_http2 {
        *request.uri_mut() =
            Uri::builder().scheme("https").authority(&*target.host).path_and_query("/load").build()?;
    } else {
        *request.uri_mut() = Uri::from_static("/load");
        request.headers_mut().insert(header::HOST, target.host.parse()?);
    }
    Ok(request)
}

async fn check(answer: Response<Incoming>) -> anyhow::Result<()> {
    const BODY_BYTES_MAX: usize = 64 * 1024;
    let status = answer.status();
    #[expect(clippy::disallowed_methods, reason = "bounded by Limited")]
    let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!(error)).context("the answer broke off")?.to_bytes();
    if status != 200 || &*body != b"GET /load" {
        bail!("{status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(())
}
