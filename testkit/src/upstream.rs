// SPDX-License-Identifier: Apache-2.0
//! A backend inside the test's process that remembers what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::ca::TestCertificate;

/// Bytes of a request that are remembered.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A request as the backend got it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `GET`
    pub method: String,
    /// Path and query.
    pub target: String,
    /// All header fields.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Seen {
    /// A header's value as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What the backend was asked; nothing for a load of a hundred thousand requests.
#[derive(Debug)]
struct Memory {
    seen: Mutex<Vec<Seen>>,
    keeps: bool,
}

type Handler = dyn Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync;

/// The backend.
#[derive(Debug)]
pub struct TestUpstream {
    address: SocketAddr,
    memory: Arc<Memory>,
    runtime: Option<Runtime>,
}

impl TestUpstream {
    /// Answers 200 with `METHOD target` as text.
    pub fn echo() -> Self {
        Self::with(|seen| Response::new(Full::from(format!("{} {}", seen.method, seen.target))))
    }

    /// As [`TestUpstream::echo`]; remembers nothing.
    pub fn forgetful_echo() -> Self {
        let echo = |seen: &Seen| Response::new(Full::from(format!("{} {}", seen.method, seen.target)));
        Self::start_with("127.0.0.1:0", None, Arc::new(echo), false)
    }

    /// Answers what `handler` says.
    pub fn with(handler: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static) -> Self {
        Self::start("127.0.0.1:0", None, Arc::new(handler))
    }

    /// As [`TestUpstream::with`], at an address of the test's choice: `127.66.0.1:8000` is nobody else's.
    pub fn at(
        address: &str,
        handler: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self::start(address, None, Arc::new(handler))
    }

    /// As [`TestUpstream::with`], over TLS with this certificate.
    pub fn tls(
        certificate: &TestCertificate,
        handler: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        crate::install_crypto();
        let chain = CertificateDer::pem_slice_iter(certificate.cert_pem.as_bytes());
        let chain: Vec<_> = chain.collect::<Result<_, _>>().expect("a PEM chain");
        let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).expect("a PEM key");
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        let acceptor = TlsAcceptor::from(Arc::new(config.expect("a certificate with its key")));
        Self::start("127.0.0.1:0", Some(acceptor), Arc::new(handler))
    }

    fn start(address: &str, tls: Option<TlsAcceptor>, handler: Arc<Handler>) -> Self {
        Self::start_with(address, tls, handler, true)
    }

    fn start_with(address: &str, tls: Option<TlsAcceptor>, handler: Arc<Handler>, keeps: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(address)).expect("bind");
        let address = listener.local_addr().expect("the bound address");
        let memory = Arc::new(Memory { seen: Mutex::default(), keeps });
        let own = Arc::clone(&memory);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (memory, handler) = (Arc::clone(&memory), Arc::clone(&handler));
                match tls.clone() {
                    None => drop(tokio::spawn(serve(stream, memory, handler))),
                    Some(tls) => drop(tokio::spawn(async move {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, memory, handler).await;
                        }
                    })),
                }
            }
        });
        Self { address, memory: own, runtime: Some(runtime) }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://ADDRESS`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything it was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.memory.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest request.
    pub fn last(&self) -> Seen {
        self.seen().pop().expect("the backend was asked")
    }
}

impl Drop for TestUpstream {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve<T>(stream: T, memory: Arc<Memory>, handler: Arc<Handler>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(move |request| {
        let (memory, handler) = (Arc::clone(&memory), Arc::clone(&handler));
        async move { Ok::<_, Infallible>(answer(request, &memory, &*handler).await) }
    });
    // A proxy that drops its connection is not the test's business.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(request: Request<Incoming>, memory: &Memory, handler: &Handler) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    #[expect(clippy::disallowed_methods, reason = "bounded by Limited")]
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map(http_body_util::Collected::to_bytes);
    let seen = Seen {
        method: parts.method.to_string(),
        target: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: parts.headers,
        body: body.unwrap_or_default(),
    };
    let response = handler(&seen);
    if memory.keeps {
        memory.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    }
    response
}
