// SPDX-License-Identifier: Apache-2.0
//! A request on a connection of its own, byte for byte, and what is read of the answer.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::exit::CliError;
use crate::{http1, https};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of an answer that are read: its head and the beginning of its page.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Where requests go.
pub(super) struct Wire {
    runtime: Runtime,
    /// `127.0.0.1:8080`
    pub(super) authority: String,
    /// The name that TLS asks for.
    name: String,
    tls: Option<TlsConnector>,
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// `None`: the connection was closed without an answer.
    pub(super) status: Option<u16>,
    /// `X-Request-Id`
    pub(super) id: Option<String>,
    /// `Location`
    pub(super) location: Option<String>,
}

impl Wire {
    /// # Errors
    /// When no runtime starts.
    pub(super) fn new(authority: String, name: String, tls: Option<TlsConnector>) -> Result<Self, CliError> {
        let runtime = http1::runtime()
            .map_err(|error| CliError::failed(format!("failed to start a runtime: {error}")))?;
        Ok(Self { runtime, authority, name, tls })
    }

    /// Whether it speaks TLS.
    pub(super) const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Sends the bytes and reads the answer. A server that has enough may close before it has read all.
    ///
    /// # Errors
    /// When nobody listens there, or who answers is not who it says, or takes too long.
    pub(super) fn send(&self, bytes: &[u8]) -> Result<Answer, CliError> {
        let scheme = if self.is_tls() { "https" } else { "http" };
        let sent = self.runtime.block_on(async {
            let stream = http1::connect(&self.authority, http1::TIMEOUT).await?;
            match &self.tls {
                None => exchange(stream, bytes).await,
                Some(connector) => exchange(https::greet(connector, &self.name, stream).await?, bytes).await,
            }
        });
        sent.map_err(|error| {
            CliError::unreachable(format!("failed to reach {scheme}://{}: {error}", self.authority))
        })
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> io::Result<Answer> {
    let mut read = Vec::new();
    let talk = async {
        // What was refused early is told by the answer, or by there being none.
        let _written = stream.write_all(bytes).await;
        let _flushed = stream.flush().await;
        // Cut off is as good as closed: what came is what counts.
        let _ended = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut read).await;
    };
    let is_in_time = timeout(TIMEOUT, talk).await.is_ok();
    let answer = Answer::of(&read);
    if answer.status.is_none() && !is_in_time {
        return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer after {TIMEOUT:?}")));
    }
    Ok(answer)
}

impl Answer {
    fn of(bytes: &[u8]) -> Self {
        let mut rest = bytes;
        loop {
            let answer = Self::of_head(rest);
            // `100 Continue` is no answer yet.
            if !matches!(answer.status, Some(100 | 102..=199)) {
                return answer;
            }
            rest = rest
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
                .and_then(|end| rest.get(end + 4..))
                .unwrap_or_default();
        }
    }

    fn of_head(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0);
        let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        let mut answer = Self { status, ..Self::default() };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = || Some(value.trim().to_owned());
            match name.to_ascii_lowercase().as_str() {
                "x-request-id" => answer.id = value(),
                "location" => answer.location = value(),
                _ => {}
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whatever_it_is() {
        let answer = |status, id: Option<&str>, location: Option<&str>| Answer {
            status,
            id: id.map(str::to_owned),
            location: location.map(str::to_owned),
        };
        for (name, bytes, want) in [
            ("nothing", "", answer(None, None, None)),
            ("half a head", "HTTP/1.1 200 OK\r\n", answer(None, None, None)),
            ("something else", "SSH-2.0-x\r\n\r\n", answer(None, None, None)),
            (
                "an answer",
                "HTTP/1.1 403 Forbidden\r\nX-Request-Id: 7\r\n\r\nx-request-id: 8\r\n\r\n",
                answer(Some(403), Some("7"), None),
            ),
            (
                "after an interim one",
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 308 P\r\nlocation: https://a/\r\n\r\n",
                answer(Some(308), None, Some("https://a/")),
            ),
            ("only an interim one", "HTTP/1.1 103 Early\r\n\r\n", answer(None, None, None)),
        ] {
            assert_eq!(Answer::of(bytes.as_bytes()), want, "{name}");
        }
    }
}
