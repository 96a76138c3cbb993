// SPDX-License-Identifier: Apache-2.0
//! A well-behaved client: kept connections, whole answers, one repetition where a kept connection was closed.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderValue, Request, Uri, Version, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::target::{Shape, Target};

/// Why there was no answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// No connection: refused, reset in the handshake.
    Refused(String),
    /// It broke before the answer's end.
    Broken(String),
    /// No whole answer in time.
    Late,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Broken(why) => write!(f, "broken: {why}"),
            Self::Late => f.write_str("no whole answer in time"),
        }
    }
}

/// One connection, or one of the handles on it.
#[derive(Debug)]
pub(crate) enum Sender {
    /// One request after the other.
    Http1(http1::SendRequest<Empty<Bytes>>),
    /// Many at the same time: handles are clones.
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// Connections that wait for their next request.
#[derive(Debug)]
pub(crate) struct Pool {
    target: Target,
    http2: bool,
    /// Handles on one HTTP/2 connection; 1 with HTTP/1.
    streams: usize,
    idle: RefCell<VecDeque<Sender>>,
    idle_max: usize,
    retried: Cell<u64>,
}

impl Pool {
    /// For at most `connections`, each with so many streams at the same time (HTTP/2).
    pub(crate) fn new(target: Target, http2: bool, connections: usize, streams: usize) -> Rc<Self> {
        let streams = if http2 { streams.max(1) } else { 1 };
        Rc::new(Self {
            target,
            http2,
            streams,
            idle: RefCell::default(),
            idle_max: connections.saturating_mul(streams),
            retried: Cell::new(0),
        })
    }

    /// Requests that can be under way at the same time.
    pub(crate) const fn lanes(&self) -> usize {
        self.idle_max
    }

    /// Kept connections that broke before an answer began, whose request was sent again.
    pub(crate) fn retried(&self) -> u64 {
        self.retried.get()
    }

    /// Opens all connections, so that the measurement does not begin with a burst of handshakes.
    pub(crate) async fn warm(&self) {
        while self.idle.borrow().len() < self.idle_max {
            // Who cannot be reached now is told of by the measurement itself.
            let Ok(sender) = self.open().await else { return };
            self.put_back(sender);
        }
    }

    /// One GET on a kept connection, or on one of its own. Returns the status once the body is read.
    pub(crate) async fn get(&self, fresh: bool) -> Result<u16, Fault> {
        if fresh {
            let mut sender = self.connect().await?;
            return self.exchange(&mut sender).await;
        }
        if let Some(mut sender) = self.kept().await {
            match self.exchange(&mut sender).await {
                Err(Fault::Broken(_)) => self.retried.set(self.retried.get() + 1),
                result => {
                    self.put_back(sender);
                    return result;
                }
            }
        }
        let mut sender = self.open().await?;
        let result = self.exchange(&mut sender).await;
        if result.is_ok() {
            self.put_back(sender);
        }
        result
    }

    async fn kept(&self) -> Option<Sender> {
        loop {
            let mut sender = self.idle.borrow_mut().pop_front()?;
            let is_ready = match &mut sender {
                Sender::Http1(sender) => sender.ready().await.is_ok(),
                Sender::Http2(sender) => sender.ready().await.is_ok(),
            };
            if is_ready {
                return Some(sender);
            }
        }
    }

    fn put_back(&self, sender: Sender) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.idle_max {
            // In turn: otherwise some connections would hardly be used.
            idle.push_back(sender);
        }
    }

    /// A new connection; its other handles are ready for others.
    async fn open(&self) -> Result<Sender, Fault> {
        let sender = self.connect().await?;
        if let Sender::Http2(handle) = &sender {
            for _ in 1..self.streams {
                self.put_back(Sender::Http2(handle.clone()));
            }
        }
        Ok(sender)
    }

    async fn connect(&self) -> Result<Sender, Fault> {
        connect(&self.target, self.http2).await
    }

    async fn exchange(&self, sender: &mut Sender) -> Result<u16, Fault> {
        get(&self.target, sender).await
    }
}

/// A connection of the target's.
pub(crate) async fn connect(target: &Target, http2: bool) -> Result<Sender, Fault> {
    let stream = target.connect(Shape::default()).await.map_err(|error| Fault::Refused(error.to_string()))?;
    let io = TokioIo::new(stream);
    if http2 {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(broken)?;
        tokio::task::spawn_local(connection);
        return Ok(Sender::Http2(sender));
    }
    let (sender, connection) = http1::handshake(io).await.map_err(broken)?;
    tokio::task::spawn_local(connection);
    Ok(Sender::Http1(sender))
}

/// One GET of the target's path; its answer is read to the end.
pub(crate) async fn get(target: &Target, sender: &mut Sender) -> Result<u16, Fault> {
    let request = request(target, target.path(), sender)?;
    let response = match sender {
        Sender::Http1(sender) => sender.send_request(request).await,
        Sender::Http2(sender) => sender.send_request(request).await,
    };
    let response = response.map_err(broken)?;
    let status = response.status().as_u16();
    drain(response.into_body()).await.map_err(broken)?;
    Ok(status)
}

/// A GET of `path`.
pub(crate) fn request(target: &Target, path: &str, sender: &Sender) -> Result<Request<Empty<Bytes>>, Fault> {
    let mut request = Request::new(Empty::new());
    let uri = match sender {
        Sender::Http1(_) => path.parse(),
        Sender::Http2(_) => {
            *request.version_mut() = Version::HTTP_2;
            format!("{}://{}{path}", target.scheme(), target.host()).parse::<Uri>()
        }
    };
    *request.uri_mut() = uri.map_err(|error| Fault::Broken(error.to_string()))?;
    if matches!(sender, Sender::Http1(_)) {
        let host = HeaderValue::from_str(target.host()).map_err(|error| Fault::Broken(error.to_string()))?;
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(request)
}

/// Reads to the end without keeping anything.
pub(crate) async fn drain(mut body: Incoming) -> hyper::Result<u64> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
    }
    Ok(bytes)
}

fn broken(error: hyper::Error) -> Fault {
    let cause = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
    Fault::Broken(format!("{error}{cause}"))
}
