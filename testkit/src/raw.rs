// SPDX-License-Identifier: Apache-2.0
//! Bytes over a socket, for what no client library would send.

use std::io;
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

const MOST: Duration = Duration::from_secs(10);

/// Sends `bytes` and reads until the peer closes or has been silent for ten seconds.
pub fn raw_exchange(address: SocketAddr, bytes: &[u8]) -> String {
    exchange(connect(address), bytes)
}

/// As [`raw_exchange`], over a connection that is there.
pub fn exchange(mut stream: TcpStream, bytes: &[u8]) -> String {
    // A peer that refuses early may close before it has read everything.
    drop(stream.write_all(bytes));
    read_all(&mut stream)
}

/// As [`raw_exchange`], inside TLS.
pub fn raw_exchange_tls(address: SocketAddr, config: Arc<ClientConfig>, name: &str, bytes: &[u8]) -> String {
    exchange_tls(connect(address), config, name, bytes)
}

/// As [`raw_exchange_tls`], over a connection that is there; empty when the handshake fails.
pub fn exchange_tls(stream: TcpStream, config: Arc<ClientConfig>, name: &str, bytes: &[u8]) -> String {
    let name = ServerName::try_from(name.to_owned()).expect("a server name");
    let session = ClientConnection::new(config, name).expect("a TLS session");
    let mut stream = StreamOwned::new(session, stream);
    drop(stream.write_all(bytes));
    read_all(&mut stream)
}

/// The serial number of the certificate that a handshake for `name` gets, as
/// [`crate::TestCertificate::serial`]; `None` when the handshake fails.
pub fn served_serial(address: SocketAddr, config: Arc<ClientConfig>, name: &str) -> Option<String> {
    let name = ServerName::try_from(name.to_owned()).expect("a server name");
    let mut session = ClientConnection::new(config, name).expect("a TLS session");
    let mut stream = connect(address);
    while session.is_handshaking() {
        session.complete_io(&mut stream).ok()?;
    }
    let certificate = session.peer_certificates()?.first()?;
    Some(sunbeam_listeners::serial_of(certificate).expect("serial"))
}

/// A connection from another address of this host: on Linux all of `127.0.0.0/8` are, and each counts as
/// a client of its own.
pub fn connect_from(source: IpAddr, target: SocketAddr) -> TcpStream {
    try_connect_from(source, target).expect("connect")
}

/// As [`connect_from`], where the connection may be reset before it is ours.
///
/// # Errors
/// Reset, refused.
pub fn try_connect_from(source: IpAddr, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(source, 0).into()).expect("bind the source");
    socket.connect(&target.into())?;
    socket.set_read_timeout(Some(MOST)).expect("set a read timeout");
    Ok(socket.into())
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(MOST)).expect("set a read timeout");
    stream
}

fn read_all(stream: &mut impl io::Read) -> String {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.by_ref().read(&mut piece) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(piece.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}
