// SPDX-License-Identifier: Apache-2.0
//! PROXY headers at the beginning of connections from `listen.proxy_protocol_from`.

use std::io;
use std::time::Duration;

use sunbeam_wire::{ProxyHeader, ProxySource};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Why a connection without a good header is closed.
#[derive(Debug, thiserror::Error)]
pub enum ProxyHeaderError {
    /// It begins with something else, or the header breaks a rule.
    #[error("{0}")]
    Malformed(&'static str),
    /// The peer closed it first: many health checks look like this.
    #[error("the connection ended before its PROXY header did")]
    Ended,
    /// Not whole in time.
    #[error("the PROXY header was not whole in time")]
    Timeout,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ProxyHeaderError {
    /// Its word in `sunbeam_proxy_protocol_headers_total`.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Timeout => "timeout",
            Self::Ended | Self::Io(_) => "ended",
        }
    }
}

/// Reads the header off `stream` and not a byte more: what follows is TLS or HTTP. `limit` is for the whole
/// of it.
///
/// # Errors
/// [`ProxyHeaderError`]; then nothing more may be read from the connection.
pub async fn read_proxy_header(
    stream: &mut TcpStream,
    limit: Duration,
) -> Result<ProxySource, ProxyHeaderError> {
    timeout(limit, read(stream)).await.unwrap_or(Err(ProxyHeaderError::Timeout))
}

async fn read(stream: &mut TcpStream) -> Result<ProxySource, ProxyHeaderError> {
    /// Most headers are seen whole at the first look.
    const PIECE_BYTES: usize = 256;
    let mut header = ProxyHeader::default();
    let mut piece = [0; PIECE_BYTES];
    loop {
        // Looked at first, taken afterwards: only so far as the header goes, and always all that was seen
        // of it, or the next look would come back at once with the same bytes.
        let seen = stream.peek(&mut piece).await?;
        if seen == 0 {
            return Err(ProxyHeaderError::Ended);
        }
        let taken =
            header.take(piece.get(..seen).unwrap_or_default()).map_err(ProxyHeaderError::Malformed)?;
        stream.read_exact(piece.get_mut(..taken.used).unwrap_or_default()).await?;
        if let Some(source) = taken.source {
            return Ok(source);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn what_follows_the_header_stays_in_the_socket() {
        let (mut client, mut server) = pair().await;
        client.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 7 80\r\nGET /").await.unwrap();
        let source = read_proxy_header(&mut server, LONG).await.unwrap();
        assert_eq!(source, ProxySource::Client("192.0.2.7:7".parse().unwrap()));
        drop(client);
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"GET /");
    }

    #[tokio::test]
    async fn a_header_may_come_byte_by_byte_and_larger_than_one_look() {
        let (mut client, mut server) = pair().await;
        let mut header =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x04\x00\xc0\0\x02\x07\xc0\0\x02\x01\0\x07\0\x50".to_vec();
        header.resize(16 + 1024, 0);
        let sending = tokio::spawn(async move {
            let (first, rest) = header.split_at(40);
            for byte in first {
                client.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.write_all(rest).await.unwrap();
            client.write_all(b"x").await.unwrap();
            client
        });
        let source = read_proxy_header(&mut server, LONG).await.unwrap();
        assert_eq!(source, ProxySource::Client("192.0.2.7:7".parse().unwrap()));
        drop(sending.await.unwrap());
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"x");
    }

    #[tokio::test]
    async fn each_way_to_fail_has_its_label() {
        let (mut client, mut server) = pair().await;
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        assert_eq!(read_proxy_header(&mut server, LONG).await.unwrap_err().label(), "malformed");
        let (mut client, mut server) = pair().await;
        client.write_all(b"PROXY TCP4").await.unwrap();
        let shortly = Duration::from_millis(20);
        assert_eq!(read_proxy_header(&mut server, shortly).await.unwrap_err().label(), "timeout");
        drop(client);
        assert_eq!(read_proxy_header(&mut server, LONG).await.unwrap_err().label(), "ended");
    }
}
