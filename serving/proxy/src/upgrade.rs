// SPDX-License-Identifier: Apache-2.0
//! WebSocket: HTTP/1.1 upgrades (RFC 6455) and extended CONNECT over HTTP/2 (RFC 8441), both to an
//! HTTP/1.1 backend. The tunnel has no deadline of its own: a chat may be silent for hours.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tracing::debug;

use crate::answer::{Answer, Finish};
use crate::body::{RequestBody, boxed, empty};
use crate::context::RequestContext;
use crate::upstream::{
    Attempts, Kind, Lease, PooledBody, Tunnel, Turn, UpstreamError, UpstreamHead, accept, open_http1,
};

/// How a client asks for a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WebSocket {
    /// `Upgrade: websocket`
    Http1,
    /// `:protocol = websocket`
    Http2,
}

impl WebSocket {
    /// Whether a request asks for one.
    pub(crate) fn of(parts: &Parts) -> Option<Self> {
        if let Some(protocol) = parts.extensions.get::<hyper::ext::Protocol>() {
            return (protocol.as_str() == "websocket").then_some(Self::Http2);
        }
        let names = |name| {
            let values = parts.headers.get_all(name).iter();
            values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
        };
        let asks = names(header::CONNECTION).any(|word| word.eq_ignore_ascii_case("upgrade"))
            && names(header::UPGRADE).any(|word| word.eq_ignore_ascii_case("websocket"));
        (asks && parts.method == Method::GET && parts.version == Version::HTTP_11).then_some(Self::Http1)
    }
}

/// A stream that no longer speaks HTTP.
pub(crate) trait ClientStream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> ClientStream for T {}

/// Where the client's stream comes from, once an upgrade was answered.
pub(crate) enum Upgrade {
    /// The request did not ask for it.
    None,
    Http1(oneshot::Receiver<Box<dyn ClientStream>>),
    Http2(OnUpgrade),
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Http1(_) => "Http1",
            Self::Http2(_) => "Http2",
        })
    }
}

impl Upgrade {
    /// Waits for the stream.
    ///
    /// # Errors
    /// Why there is none: the client left.
    async fn stream(self) -> Result<Box<dyn ClientStream>, String> {
        match self {
            Self::None => Err("not asked for".to_owned()),
            Self::Http1(coming) => coming.await.map_err(|_| "the client left".to_owned()),
            Self::Http2(upgrade) => match upgrade.await {
                Ok(stream) => Ok(Box::new(TokioIo::new(stream))),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

/// Opens the tunnel, or passes the backend's refusal on.
pub(crate) async fn tunnel(
    attempts: &mut Attempts<'_>,
    mut head: UpstreamHead,
    kind: WebSocket,
    client: Upgrade,
) -> Result<Answer, UpstreamError> {
    let key = prepare(&mut head, kind);
    let (turn, mut lease) = connect(attempts).await?;
    turn.count();
    let limit = Duration::from_secs(attempts.context().snapshot.config.limits.backend_timeout_secs);
    let (body, watch) = RequestBody::none();
    let answered = lease.exchange(&head, body, &watch, limit).await;
    let mut response = answered.map_err(|failure| attempts.note(&turn, failure.error, false))?;
    turn.succeeded();
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // A backend that says no: its answer is the client's.
        let response = accept(response, &mut lease).map_err(|error| attempts.note(&turn, error, false))?;
        let response = response.map(|stream| boxed(PooledBody::new(stream, lease, turn, watch, limit)));
        return Ok(Answer { response, finish: Finish::WithBody });
    }
    if let Some(key) = key {
        check_accept(response.headers(), &key).map_err(|error| attempts.note(&turn, error, false))?;
    }
    let no_tunnel = || UpstreamError::backend(Kind::Protocol, "no tunnel over HTTP/2");
    let upstream = lease.into_tunnel().ok_or_else(no_tunnel)?;
    let mut answer = Response::new(empty());
    *answer.headers_mut() = std::mem::take(response.headers_mut());
    // RFC 9110 §8.6: a tunnel has none.
    answer.headers_mut().remove(header::CONTENT_LENGTH);
    match kind {
        WebSocket::Http1 => {
            *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            answer.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        WebSocket::Http2 => {
            *answer.status_mut() = StatusCode::OK;
            crate::request::strip_hop_by_hop(answer.headers_mut());
            answer.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
        }
    }
    let finish = Finish::Tunnel(Box::new(move |context| {
        spawn_local(run(client, upstream, context, turn));
    }));
    Ok(Answer { response: answer, finish })
}

/// The connection of the backend whose turn it is, or of the next one that can be reached.
async fn connect(attempts: &mut Attempts<'_>) -> Result<(Turn, Lease), UpstreamError> {
    loop {
        let turn = attempts.next()?;
        match open_http1(attempts, turn.backend()).await {
            Ok(lease) => return Ok((turn, lease)),
            Err(error) => attempts.next_may_try(&turn, error, true)?,
        }
    }
}

/// Copies until either side ends; only then is the request over, and its record written.
async fn run(client: Upgrade, mut upstream: Tunnel, mut context: RequestContext, _in_flight: Turn) {
    let metrics = context.shared.metrics.clone();
    metrics.websocket_active().inc();
    match client.stream().await {
        Ok(client) => {
            let mut client = Counted { io: client, written: 0 };
            let mut draining = context.shared.draining.subscribe();
            let copied = tokio::select! {
                copied = copy_bidirectional(&mut client, &mut upstream) => Some(copied),
                // A tunnel never finishes by itself: a node that drains lets it run to the drain's deadline.
                () = drained(&mut draining, &context) => None,
            };
            match copied {
                Some(Ok(_)) => {}
                Some(Err(error)) => debug!(%error, "tunnel broke off"),
                None => context.note_error("closed by drain"),
            }
            context.response_bytes = client.written;
        }
        Err(error) => context.note_error(format!("upgrade failed: {error}")),
    }
    metrics.websocket_active().dec();
}

/// Knows what was sent even when the tunnel breaks off, as it does for every client that closes TLS
/// without a word.
struct Counted<T> {
    io: T,
    written: u64,
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.written = self.written.saturating_add(written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

async fn drained(draining: &mut tokio::sync::watch::Receiver<bool>, context: &RequestContext) {
    if draining.wait_for(|draining| *draining).await.is_ok() {
        let most = Duration::from_secs(context.snapshot.config.limits.drain_secs);
        tokio::time::sleep(most.mul_f32(0.9)).await;
    }
}

/// Makes the head an HTTP/1.1 upgrade; returns the key that we made for a client of HTTP/2.
fn prepare(head: &mut UpstreamHead, kind: WebSocket) -> Option<String> {
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    head.headers.remove(header::CONTENT_LENGTH);
    head.method = Method::GET;
    if kind == WebSocket::Http1 {
        return None;
    }
    let key = STANDARD.encode(uuid::Uuid::new_v4().into_bytes());
    if let Ok(value) = HeaderValue::from_str(&key) {
        head.headers.insert(header::SEC_WEBSOCKET_KEY, value);
    }
    head.headers.entry(header::SEC_WEBSOCKET_VERSION).or_insert(HeaderValue::from_static("13"));
    Some(key)
}

/// RFC 6455 §4.1: proves that the backend read the key, and did not just answer 101 to anything.
fn check_accept(headers: &HeaderMap, key: &str) -> Result<(), UpstreamError> {
    const SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{SUFFIX}").as_bytes());
    let want = STANDARD.encode(hash.as_ref());
    if headers.get(header::SEC_WEBSOCKET_ACCEPT).is_some_and(|value| value.as_bytes() == want.as_bytes()) {
        return Ok(());
    }
    Err(UpstreamError::backend(Kind::Protocol, "Sec-WebSocket-Accept does not match"))
}
