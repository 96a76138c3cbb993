// SPDX-License-Identifier: Apache-2.0
//! `loadgen churn`: everything that clients do, well-behaved and not, in no order.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{connect, drain, get, request};
use crate::target::{Shape, Stream, Target, TargetArguments};

/// How long one of the doings may take.
const MOST: Duration = Duration::from_secs(10);

/// A mix of new and kept connections, HTTP/2, aborted transfers, WebSockets, unknown hosts, odd requests
#[derive(Debug, clap::Args)]
pub(crate) struct Churn {
    #[command(flatten)]
    target: TargetArguments,
    #[arg(long)]
    seconds: u64,
    /// Clients at the same time
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// The same seed does the same things
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What was done, and how often it went as such things go.
#[derive(Debug, Serialize)]
pub(crate) struct Churned {
    /// Doing: (done, gone wrong).
    doings: BTreeMap<&'static str, (u64, u64)>,
    first_faults: BTreeMap<&'static str, String>,
}

/// Each as often as the others.
const DOINGS: &[&str] = &[
    "new connection",
    "kept connection",
    "http2",
    "aborted download",
    "aborted upload",
    "upload",
    "websocket",
    "unknown host",
    "random path",
    "random method",
    "noise",
    "half a head",
];

impl Churn {
    pub(crate) async fn run(self) -> Result<Churned> {
        let http1 = Rc::new(Target::new(&self.target, false)?);
        let http2 = Rc::new(Target::new(&self.target, true)?);
        let churned =
            Rc::new(RefCell::new(Churned { doings: BTreeMap::new(), first_faults: BTreeMap::new() }));
        let end = Instant::now() + Duration::from_secs(self.seconds);
        let clients = (0..self.clients).map(|index| {
            let mut chance = Chance(self.seed.wrapping_add(u64::try_from(index).unwrap_or(0)));
            let (http1, http2, churned) = (Rc::clone(&http1), Rc::clone(&http2), Rc::clone(&churned));
            tokio::task::spawn_local(async move {
                while Instant::now() < end {
                    let doing = *chance.one_of(DOINGS);
                    let done = tokio::time::timeout(MOST, act(doing, &http1, &http2, &mut chance)).await;
                    let done = done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                    churned.borrow_mut().note(doing, done);
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await?;
        }
        let fresh = Churned { doings: BTreeMap::new(), first_faults: BTreeMap::new() };
        Ok(std::mem::replace(&mut *churned.borrow_mut(), fresh))
    }
}

impl Churned {
    fn note(&mut self, doing: &'static str, done: io::Result<()>) {
        let (count, wrong) = self.doings.entry(doing).or_default();
        *count += 1;
        if let Err(error) = done {
            *wrong += 1;
            self.first_faults.entry(doing).or_insert_with(|| error.to_string());
        }
    }
}

impl fmt::Display for Churned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (doing, (count, wrong)) in &self.doings {
            let fault = self.first_faults.get(doing).map_or("", String::as_str);
            writeln!(f, "{doing}: {count}, wrong {wrong} {fault}")?;
        }
        Ok(())
    }
}

async fn act(doing: &str, http1: &Target, http2: &Target, chance: &mut Chance) -> io::Result<()> {
    match doing {
        "new connection" => kept(http1, 1).await,
        "kept connection" => kept(http1, chance.below(50) + 2).await,
        "http2" => multiplexed(http2, chance.below(20) + 1).await,
        "aborted download" => aborted_download(http1).await,
        "aborted upload" => upload(http1, 1_000_000, 65_536).await,
        "upload" => upload(http1, 100_000, 100_000).await,
        "websocket" => websocket(http1).await,
        "unknown host" => {
            let head = format!("GET / HTTP/1.1\r\nHost: {}.test\r\nConnection: close\r\n\r\n", chance.word());
            expect(http1, head.as_bytes(), b"HTTP/1.1 421").await
        }
        "random path" => {
            let head = format!("GET /{}/{}?{} HTTP/1.1", chance.word(), chance.word(), chance.word());
            expect(http1, &with_host(http1, &head), b"HTTP/1.1 200").await
        }
        "random method" => {
            let head = format!("{} / HTTP/1.1", chance.word().to_ascii_uppercase());
            expect(http1, &with_host(http1, &head), b"HTTP/1.1 ").await
        }
        "noise" => {
            let noise: Vec<u8> = (0..200).map(|_| chance.byte()).collect();
            let mut stream = http1.connect(Shape::default()).await?;
            stream.write_all(&noise).await?;
            stream.write_all(b"\r\n\r\n").await
        }
        // The connection goes with the stream, in the middle of the head.
        _ => {
            let mut stream = http1.connect(Shape { reset_at_end: true, ..Shape::default() }).await?;
            stream.write_all(b"GET / HTTP/1.1\r\nHo").await?;
            stream.flush().await
        }
    }
}

fn with_host(target: &Target, line: &str) -> Vec<u8> {
    format!("{line}\r\nHost: {}\r\nConnection: close\r\n\r\n", target.host()).into_bytes()
}

async fn kept(target: &Target, requests: u64) -> io::Result<()> {
    let mut sender = connect(target, false).await.map_err(|fault| io::Error::other(fault.to_string()))?;
    for _ in 0..requests {
        accepted(get(target, &mut sender).await.map_err(|fault| io::Error::other(fault.to_string()))?)?;
    }
    Ok(())
}

async fn multiplexed(target: &Target, requests: u64) -> io::Result<()> {
    let other = |fault: crate::client::Fault| io::Error::other(fault.to_string());
    let sender = connect(target, true).await.map_err(other)?;
    let crate::client::Sender::Http2(handle) = &sender else { return Ok(()) };
    let mut answers = Vec::new();
    for _ in 0..requests {
        answers.push(handle.clone().send_request(request(target, target.path(), &sender).map_err(other)?));
    }
    for answer in answers {
        let response = answer.await.map_err(io::Error::other)?;
        let status = response.status().as_u16();
        drain(response.into_body()).await.map_err(io::Error::other)?;
        accepted(status)?;
    }
    Ok(())
}

/// A backend that restarts is a 502 or 503 for a moment: what is asked here is that nothing else happens.
fn accepted(status: u16) -> io::Result<()> {
    match status {
        200 | 502 | 503 => Ok(()),
        status => Err(io::Error::other(format!("status {status}"))),
    }
}

async fn aborted_download(target: &Target) -> io::Result<()> {
    let mut stream = target.connect(Shape { reset_at_end: true, ..Shape::default() }).await?;
    stream.write_all(&with_host(target, "GET /bytes/4000000 HTTP/1.1")).await?;
    stream.flush().await?;
    let mut piece = vec![0; 65_536];
    stream.read(&mut piece).await.map(drop)
}

async fn upload(target: &Target, announced: usize, sent: usize) -> io::Result<()> {
    let mut stream = target.connect(Shape { reset_at_end: sent < announced, ..Shape::default() }).await?;
    let host = target.host();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {announced}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&vec![b'x'; sent]).await?;
    stream.flush().await?;
    if sent < announced {
        return Ok(());
    }
    begins_with(stream, b"HTTP/1.1 ").await
}

async fn websocket(target: &Target) -> io::Result<()> {
    let mut stream = target.connect(Shape::default()).await?;
    let host = target.host();
    let head = format!(
        "GET /socket HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await?;
    let mut piece = [0; 1024];
    let read = stream.read(&mut piece).await?;
    let answer = piece.get(..read).unwrap_or_default();
    if !answer.starts_with(b"HTTP/1.1 101") {
        let status = answer.get(9..12).map(String::from_utf8_lossy).unwrap_or_default();
        return if status.starts_with("50") {
            Ok(())
        } else {
            Err(io::Error::other(format!("status {status}")))
        };
    }
    for _ in 0..10 {
        // A text frame of four bytes, masked with zeros.
        stream.write_all(b"\x81\x84\0\0\0\0ping").await?;
        stream.flush().await?;
        match stream.read(&mut piece).await {
            // A backend that went away took its tunnels with it.
            Ok(0) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => drop(read?),
        }
    }
    Ok(())
}

async fn expect(target: &Target, bytes: &[u8], beginning: &[u8]) -> io::Result<()> {
    let mut stream = target.connect(Shape::default()).await?;
    stream.write_all(bytes).await?;
    stream.flush().await?;
    begins_with(stream, beginning).await
}

async fn begins_with(mut stream: Stream, beginning: &[u8]) -> io::Result<()> {
    let mut answer = vec![0; 16];
    let mut filled = 0;
    while filled < 12 {
        let read = stream.read(answer.get_mut(filled..).unwrap_or_default()).await?;
        if read == 0 {
            break;
        }
        filled += read;
    }
    answer.truncate(filled);
    if answer.starts_with(beginning)
        || answer.starts_with(b"HTTP/1.1 502")
        || answer.starts_with(b"HTTP/1.1 503")
    {
        return Ok(());
    }
    Err(io::Error::other(format!("answered `{}`", String::from_utf8_lossy(&answer))))
}

/// Splitmix64: the same seed, the same chances.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    const fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        let length = u64::try_from(list.len()).unwrap_or(1);
        let index = usize::try_from(self.below(length)).unwrap_or(0);
        list.get(index).unwrap_or(&list[0])
    }

    /// Eight letters that nobody has used before.
    fn word(&mut self) -> String {
        (0..8).map(|_| char::from(b'a' + self.byte() % 26)).collect()
    }
}
