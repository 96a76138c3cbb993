// SPDX-License-Identifier: Apache-2.0
//! A client for tests: one connection a request unless kept, HTTP/1.1 or HTTP/2, plain or TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

/// Bytes of an answer that are read.
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How long one request may take.
const MOST: Duration = Duration::from_secs(30);

/// What a client speaks that has no TLS 1.3.
const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// See the module.
#[derive(Debug)]
pub struct TestClient {
    runtime: Runtime,
    http: SocketAddr,
    https: SocketAddr,
    roots: Arc<RootCertStore>,
    scheme: &'static str,
    version: Version,
    tls: &'static [&'static SupportedProtocolVersion],
    headers: HeaderMap,
    method: Method,
    body: Bytes,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct TestResponse {
    /// 200
    pub status: u16,
    /// All fields.
    pub headers: HeaderMap,
    /// The whole body, as it came.
    pub body: Bytes,
    /// Trailers, if any came.
    pub trailers: Option<HeaderMap>,
}

impl TestResponse {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }
}

impl TestClient {
    pub(crate) fn new(http: SocketAddr, https: SocketAddr, roots: Arc<RootCertStore>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self {
            runtime,
            http,
            https,
            roots,
            scheme: "https",
            version: Version::HTTP_11,
            tls: rustls::ALL_VERSIONS,
            headers: HeaderMap::new(),
            method: Method::GET,
            body: Bytes::new(),
        }
    }

    /// Over plain HTTP.
    #[must_use]
    pub const fn plain(mut self) -> Self {
        self.scheme = "http";
        self
    }

    /// Over HTTP/2.
    #[must_use]
    pub const fn http2(mut self) -> Self {
        self.version = Version::HTTP_2;
        self
    }

    /// Speaking TLS 1.2 and nothing newer.
    #[must_use]
    pub const fn tls12(mut self) -> Self {
        self.tls = TLS12;
        self
    }

    /// With a header field more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        self.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
        self
    }

    /// With another method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = method.parse().expect("a method");
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the request and reads the whole answer. `target` begins with `/`.
    pub fn get(&self, host: &str, target: &str) -> TestResponse {
        self.try_get(host, target).unwrap_or_else(|error| panic!("{} {host}{target}: {error:#}", self.method))
    }

    /// As [`TestClient::get`]; errors of the connection are returned.
    ///
    /// # Errors
    /// Refused, reset, broken off, too slow.
    pub fn try_get(&self, host: &str, target: &str) -> anyhow::Result<TestResponse> {
        self.runtime.block_on(async { tokio::time::timeout(MOST, self.exchange(host, target)).await? })
    }

    async fn exchange(&self, host: &str, target: &str) -> anyhow::Result<TestResponse> {
        if self.scheme == "http" {
            let stream = TcpStream::connect(self.http).await?;
            return self.send(TokioIo::new(stream), host, target).await;
        }
        let stream = TcpStream::connect(self.https).await?;
        let mut config = ClientConfig::builder_with_protocol_versions(self.tls)
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        let protocol: &[u8] = if self.version == Version::HTTP_2 { b"h2" } else { b"http/1.1" };
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from(host.split(':').next().unwrap_or_default().to_owned())?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        self.send(TokioIo::new(stream), host, target).await
    }

    async fn send<T>(&self, io: T, host: &str, target: &str) -> anyhow::Result<TestResponse>
    where
        T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        if self.version == Version::HTTP_2 {
            *request.uri_mut() =
                Uri::builder().scheme(self.scheme).authority(host).path_and_query(target).build()?;
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            return collect(sender.send_request(request).await?).await;
        }
        *request.uri_mut() = target.parse()?;
        request.headers_mut().entry(http::header::HOST).or_insert(HeaderValue::from_str(host)?);
        let (mut sender, connection) = http1::handshake(io).await?;
        tokio::spawn(connection);
        collect(sender.send_request(request).await?).await
    }
}

async fn collect(response: Response<Incoming>) -> anyhow::Result<TestResponse> {
    let (parts, body) = response.into_parts();
    #[expect(clippy::disallowed_methods, reason = "bounded by Limited")]
    let collected =
        Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| anyhow::anyhow!(error))?;
    let trailers = collected.trailers().cloned();
    Ok(TestResponse {
        status: status(parts.status),
        headers: parts.headers,
        body: collected.to_bytes(),
        trailers,
    })
}

const fn status(status: StatusCode) -> u16 {
    status.as_u16()
}
