// SPDX-License-Identifier: Apache-2.0
//! An HTTP/2 client that sends frames by hand, for what no client library would send (RFC 9113).

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::proxy::TestProxy;

/// Types of frames.
pub const DATA: u8 = 0;
/// RFC 9113 §6.2
pub const HEADERS: u8 = 1;
/// RFC 9113 §6.4
pub const RST_STREAM: u8 = 3;
/// RFC 9113 §6.5
pub const SETTINGS: u8 = 4;
/// RFC 9113 §6.7
pub const PING: u8 = 6;
/// RFC 9113 §6.8
pub const GOAWAY: u8 = 7;
/// RFC 9113 §6.9
pub const WINDOW_UPDATE: u8 = 8;

/// The sender's side of the stream is over; of SETTINGS and PING: an acknowledgement.
pub const END_STREAM: u8 = 1;
/// The header block is whole.
pub const END_HEADERS: u8 = 4;

/// `CANCEL`, as the payload of RST_STREAM.
pub const CANCEL: [u8; 4] = [0, 0, 0, 8];

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a read waits for a byte.
const MOST: Duration = Duration::from_secs(30);

/// A connection inside TLS. Reads wait at most thirty seconds.
#[derive(Debug)]
pub struct RawHttp2 {
    stream: StreamOwned<ClientConnection, TcpStream>,
    read: Vec<u8>,
}

/// A frame that the server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// [`DATA`] and the like.
    pub kind: u8,
    /// [`END_STREAM`] and the like.
    pub flags: u8,
    /// 0 is the connection.
    pub stream: u32,
    /// All of it.
    pub payload: Vec<u8>,
}

impl RawHttp2 {
    /// Connects, and sends the preface with empty SETTINGS.
    pub fn connect(proxy: &TestProxy) -> Self {
        Self::connect_with(proxy, &[])
    }

    /// Connects, and sends the preface with these SETTINGS.
    pub fn connect_with(proxy: &TestProxy, settings: &[(u16, u32)]) -> Self {
        let mut client = Self::silent(proxy);
        client.send_bytes(PREFACE);
        let payload = settings.iter().flat_map(|(id, value)| {
            let (id, value) = (id.to_be_bytes(), value.to_be_bytes());
            id.into_iter().chain(value)
        });
        client.send(SETTINGS, 0, 0, &payload.collect::<Vec<u8>>());
        client
    }

    /// Does the TLS handshake and says nothing more.
    pub fn silent(proxy: &TestProxy) -> Self {
        let mut config = (*proxy.client_config()).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from("www.example.test").expect("a server name");
        let mut session = ClientConnection::new(config.into(), name).expect("a TLS session");
        let mut stream = TcpStream::connect(proxy.https()).expect("connect");
        stream.set_read_timeout(Some(MOST)).expect("set a read timeout");
        while session.is_handshaking() {
            session.complete_io(&mut stream).expect("a TLS handshake");
        }
        Self { stream: StreamOwned::new(session, stream), read: Vec::new() }
    }

    /// Sends bytes as they are. `false`: the connection is gone.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).is_ok()
    }

    /// Sends one frame. `false`: the connection is gone.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.send_bytes(&frame(kind, flags, stream, payload))
    }

    /// Sends a whole request without a body.
    pub fn get(&mut self, stream: u32, authority: &str, path: &str) -> bool {
        let block = header_block(&request_fields("GET", authority, path));
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &block)
    }

    /// The next frame; `None` when the connection is closed.
    pub fn read_frame(&mut self) -> Option<RawFrame> {
        let head: [u8; 9] = self.take(9)?.try_into().ok()?;
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
        let length = u32::from_be_bytes([0, l0, l1, l2]);
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        let payload = self.take(usize::try_from(length).ok()?)?;
        Some(RawFrame { kind, flags, stream, payload })
    }

    /// Reads until a frame `matches`; `None` when the connection is closed before.
    pub fn read_until(&mut self, matches: impl Fn(&RawFrame) -> bool) -> Option<RawFrame> {
        std::iter::from_fn(|| self.read_frame()).find(|frame| matches(frame))
    }

    /// Reads the answer of a stream to its end: its length, or `None` when it is reset or cut off.
    pub fn read_answer(&mut self, stream: u32) -> Option<usize> {
        let mut length = 0;
        loop {
            let frame = self.read_until(|frame| frame.stream == stream)?;
            match frame.kind {
                RST_STREAM => return None,
                DATA => length += frame.payload.len(),
                _ => {}
            }
            if matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
                return Some(length);
            }
        }
    }

    /// Reads to the end of the connection. Panics if it is still there when nothing has come for thirty
    /// seconds.
    pub fn read_to_end(&mut self) -> Vec<RawFrame> {
        let frames = std::iter::from_fn(|| self.read_frame()).collect();
        assert!(self.is_closed(), "the connection is still open");
        frames
    }

    fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.read.len() < count {
            let mut piece = [0; 16 * 1024];
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(read) => self.read.extend_from_slice(piece.get(..read)?),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        Some(self.read.drain(..count).collect())
    }
}

/// RFC 9113 §4.1
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [length.get(1..).unwrap_or_default(), &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The fields of a request over HTTPS.
pub fn request_fields<'a>(method: &'a str, authority: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path)]
}

/// Fields as HPACK literals with new names, never indexed, no Huffman coding (RFC 7541 §6.2.2).
pub fn header_block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short text"));
            block.extend(text.as_bytes());
        }
    }
    block
}
