// SPDX-License-Identifier: Apache-2.0
//! An HTTP/1.1 client with a kept connection, an address of its own and, if it wants, cookies.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::header::{CONNECTION, COOKIE, HOST, LOCATION, SET_COOKIE};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;

/// Header lines, in order.
pub(super) type Headers = Vec<(&'static str, String)>;

/// See the module.
#[derive(Debug)]
pub(super) struct Client {
    source: IpAddr,
    target: SocketAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
    keeps_cookies: bool,
    cookies: BTreeMap<String, String>,
}

/// The head of an answer; the body was read and forgotten.
#[derive(Debug)]
pub(super) struct Answer {
    /// Where it sends the client.
    pub(super) location: Option<String>,
}

impl Client {
    pub(super) const fn new(source: IpAddr, target: SocketAddr) -> Self {
        Self { source, target, connection: None, keeps_cookies: false, cookies: BTreeMap::new() }
    }

    /// From now on it sends back what the site sets.
    pub(super) const fn with_cookies(mut self) -> Self {
        self.keeps_cookies = true;
        self
    }

    /// One that it has from an earlier visit.
    pub(super) fn with_cookie(mut self, name: &str, value: &str) -> Self {
        self.cookies.insert(name.to_owned(), value.to_owned());
        self.with_cookies()
    }

    /// The site as a browser names it.
    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.target)
    }

    pub(super) async fn get(&mut self, path: &str, headers: Headers) -> Result<Answer> {
        self.send("GET", path, headers, "").await
    }

    pub(super) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: Headers,
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let request = self.request(method, path, headers, body.into())?;
        let mut connection = match self.connection.take().filter(|connection| !connection.is_closed()) {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        // A kept connection may be at its end: its last answer says so a moment before it closes.
        connection.ready().await?;
        let mut answer =
            connection.send_request(request).await.with_context(|| format!("{method} {path}"))?;
        while let Some(frame) = answer.body_mut().frame().await {
            frame?;
        }
        let is_last = answer.headers().get(CONNECTION).is_some_and(|value| value == "close");
        self.connection = (!is_last).then_some(connection);
        self.remember(answer.headers());
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        Ok(Answer { location: location.map(str::to_owned) })
    }

    /// The next request takes a new connection.
    pub(super) fn hang_up(&mut self) {
        self.connection = None;
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        headers: Headers,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.target.to_string());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if !self.cookies.is_empty() {
            let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(COOKIE, pairs.join("; "));
        }
        Ok(request.body(Full::new(body))?)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.source, 0))?;
        let stream = socket.connect(self.target).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // What ends a connection is seen by the request on it.
        drop(tokio::spawn(connection));
        Ok(sender)
    }

    fn remember(&mut self, headers: &HeaderMap) {
        if !self.keeps_cookies {
            return;
        }
        let lines = headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        for (name, rest) in lines.filter_map(|line| line.split_once('=')) {
            let value = rest.split(';').next().unwrap_or_default();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}
