// SPDX-License-Identifier: Apache-2.0
//! Attacks below HTTP: connections and handshakes.

use std::io;
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use super::report::{RESET, Report};
use crate::target::Target;

pub(super) async fn hold(target: &Target, report: &Report) -> io::Result<()> {
    let (stream, _held) = report.connecting(target.connect_tcp(RESET)).await?;
    until_closed(stream, report).await;
    Ok(())
}

pub(super) async fn churn(target: &Target, report: &Report) -> io::Result<()> {
    report.connecting(target.connect_tcp(RESET)).await.map(drop)
}

pub(super) async fn handshake(target: &Target, report: &Report) -> io::Result<()> {
    report.open(target).await.map(drop)
}

pub(super) async fn no_preface(target: &Target, report: &Report) -> io::Result<()> {
    let (stream, _held) = report.open(target).await?;
    until_closed(stream, report).await;
    Ok(())
}

pub(super) async fn hello_silence(target: &Target, report: &Report) -> io::Result<()> {
    let (mut stream, _held) = report.connecting(target.connect_tcp(RESET)).await?;
    let hello = client_hello(target)?;
    stream.write_all(&hello).await?;
    Report::add(&report.bytes_sent, hello.len());
    until_closed(stream, report).await;
    Ok(())
}

fn client_hello(target: &Target) -> io::Result<Vec<u8>> {
    let Some(config) = target.tls_config() else { return Err(io::ErrorKind::Unsupported.into()) };
    let name = ServerName::try_from(target.host().to_owned()).map_err(io::Error::other)?;
    let mut session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    let mut hello = Vec::new();
    session.write_tls(&mut hello)?;
    Ok(hello)
}

/// Reads until the server has had enough.
pub(super) async fn until_closed(mut stream: impl AsyncRead + Unpin, report: &Report) {
    let mut piece = vec![0; 1024];
    while stream.read(&mut piece).await.is_ok_and(|count| count > 0) {}
    Report::count(&report.closed_by_server);
}
