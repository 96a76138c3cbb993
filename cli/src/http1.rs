// SPDX-License-Identifier: Apache-2.0
//! One HTTP/1.1 request on one connection, with bounds on time and size.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// Connecting, and getting the answer's head, may each take this long.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// A runtime for a program that does one thing at a time.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Sends the request to `authority` (`host:port`) and waits for the answer's head.
///
/// # Errors
/// `ConnectionRefused`, `TimedOut` and the like; `InvalidData` when what came is not HTTP.
pub(crate) async fn send(
    authority: &str,
    request: Request<String>,
    limit: Duration,
) -> io::Result<Response<Incoming>> {
    exchange(connect(authority, limit).await?, request, limit).await
}

/// A connection to `authority` (`host:port`).
///
/// # Errors
/// As [`send`].
pub(crate) async fn connect(authority: &str, limit: Duration) -> io::Result<TcpStream> {
    timeout(limit, TcpStream::connect(authority)).await.map_err(|_| late("connecting", limit))?
}

/// Sends the request on a connection that is there, and waits for the answer's head.
///
/// # Errors
/// As [`send`].
pub(crate) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<String>,
    limit: Duration,
) -> io::Result<Response<Incoming>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends when the answer is read or dropped; what went wrong on it is told by the answer.
    drop(tokio::spawn(connection));
    timeout(limit, sender.send_request(request)).await.map_err(|_| late("the answer", limit))?.map_err(broken)
}

fn late(what: &str, limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} took longer than {limit:?}"))
}

/// The next piece of a body; `None` at its end.
pub(crate) async fn piece(body: &mut Incoming) -> io::Result<Option<Bytes>> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(error)) => return Err(broken(error)),
        }
    }
}

/// A whole body.
///
/// # Errors
/// When it is longer than `bytes_max`, or takes longer than [`TIMEOUT`].
pub(crate) async fn whole(mut body: Incoming, bytes_max: usize) -> io::Result<Bytes> {
    let read = async {
        let mut all = BytesMut::new();
        while let Some(data) = piece(&mut body).await? {
            if all.len() + data.len() > bytes_max {
                let message = format!("the answer is longer than {bytes_max} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            all.extend_from_slice(&data);
        }
        Ok(all.freeze())
    };
    timeout(TIMEOUT, read).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn broken(error: hyper::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, crate::exit::told(&error))
}
