// SPDX-License-Identifier: Apache-2.0
//! HTTP/2 frames that no client library would send.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};

use super::beside;
use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame, head,
};
use super::report::{Held, Report};
use crate::target::{Stream, Target};

/// Frames in one write: enough to fill a TLS record.
const FRAMES_AT_ONCE: u32 = 500;

/// An answer that does not fit into any window.
const LARGE: &str = "/bytes/50000000";

/// Streams on a connection whose answers have nowhere to go.
const STREAMS: u32 = 100;

struct Wire<'a> {
    read: ReadHalf<Stream>,
    write: WriteHalf<Stream>,
    _held: Held<'a>,
}

async fn open<'a>(target: &Target, report: &'a Report) -> io::Result<Wire<'a>> {
    let (mut stream, held) = report.open(target).await?;
    stream.write_all(PREFACE).await?;
    stream.flush().await?;
    let (read, write) = tokio::io::split(stream);
    Ok(Wire { read, write, _held: held })
}

async fn send(write: &mut WriteHalf<Stream>, report: &Report, bytes: &[u8], frames: u32) -> io::Result<()> {
    write.write_all(bytes).await?;
    write.flush().await?;
    Report::add(&report.frames_sent, usize::try_from(frames).unwrap_or(0));
    Ok(())
}

/// The same frame again and again.
pub(super) async fn repeat(target: &Target, report: &Report, make: fn(u32) -> Vec<u8>) -> io::Result<()> {
    let Wire { read, mut write, _held } = open(target, report).await?;
    let flood = async {
        let mut count = 0_u32;
        loop {
            let piece: Vec<u8> =
                (0..FRAMES_AT_ONCE).flat_map(|step| make(count.wrapping_add(step))).collect();
            count = count.wrapping_add(FRAMES_AT_ONCE);
            send(&mut write, report, &piece, FRAMES_AT_ONCE).await?;
        }
    };
    beside::<()>(flood, watch(read, report), report).await
}

pub(super) async fn resets(target: &Target, report: &Report, pause: Duration) -> io::Result<()> {
    // Few enough at a time that no library takes it for a burst.
    let at_once = if pause.is_zero() { 100 } else { 8 };
    in_streams(target, report, at_once, pause, |target, stream| {
        let mut piece = request(target, stream, false);
        // CANCEL
        piece.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        (piece, 2)
    })
    .await
}

/// Ways to make a server reset a stream, each on connections of its own: data after the end, more than a window
/// holds, a window update of nothing.
pub(super) async fn made_you_reset(target: &Target, report: &Report) -> io::Result<()> {
    let way = report.tried.get() % 3;
    in_streams(target, report, 20, Duration::ZERO, |target, stream| {
        let mut piece = request(target, stream, true);
        piece.extend(match way {
            0 => frame(DATA, 0, stream, b"more"),
            1 => frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes()),
            _ => frame(WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes()),
        });
        (piece, 2)
    })
    .await
}

async fn in_streams(
    target: &Target,
    report: &Report,
    at_once: u32,
    pause: Duration,
    make: impl Fn(&Target, u32) -> (Vec<u8>, u32),
) -> io::Result<()> {
    let Wire { read, mut write, _held } = open(target, report).await?;
    let flood = async {
        let mut stream = 1;
        loop {
            let (mut piece, mut count) = (Vec::new(), 0);
            for _ in 0..at_once {
                let (bytes, frames) = make(target, stream);
                piece.extend(bytes);
                count += frames;
                stream += 2;
            }
            send(&mut write, report, &piece, count).await?;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    };
    beside::<()>(flood, watch(read, report), report).await
}

pub(super) async fn continuation(target: &Target, report: &Report) -> io::Result<()> {
    let Wire { read, mut write, _held } = open(target, report).await?;
    let flood = async {
        let head = head(false, target.host(), target.path());
        send(&mut write, report, &frame(HEADERS, END_STREAM, 1, &head), 1).await?;
        // A field without a name in the table, of a few bytes: `x-a: b`
        let field = [0, 3, b'x', b'-', b'a', 1, b'b'];
        let piece = frame(CONTINUATION, 0, 1, &field).repeat(200);
        loop {
            send(&mut write, report, &piece, 200).await?;
        }
    };
    beside::<()>(flood, watch(read, report), report).await
}

pub(super) async fn empty_data(target: &Target, report: &Report) -> io::Result<()> {
    let Wire { read, mut write, _held } = open(target, report).await?;
    let flood = async {
        let head = head(true, target.host(), target.path());
        send(&mut write, report, &frame(HEADERS, END_HEADERS, 1, &head), 1).await?;
        let piece = frame(DATA, 0, 1, &[]).repeat(500);
        loop {
            send(&mut write, report, &piece, 500).await?;
        }
    };
    beside::<()>(flood, watch(read, report), report).await
}

/// Large answers into windows of nothing, then a byte at a time for each.
pub(super) async fn zero_window(target: &Target, report: &Report) -> io::Result<()> {
    let Wire { read, mut write, _held } = open(target, report).await?;
    let flood = async {
        // SETTINGS_INITIAL_WINDOW_SIZE = 0
        let mut piece = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
        let head = head(false, target.host(), LARGE);
        let streams = || (0..STREAMS).map(|index| index * 2 + 1);
        for stream in streams() {
            piece.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &head));
        }
        send(&mut write, report, &piece, STREAMS + 1).await?;
        let step: Vec<u8> =
            streams().flat_map(|stream| frame(WINDOW_UPDATE, 0, stream, &1_u32.to_be_bytes())).collect();
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            send(&mut write, report, &step, STREAMS).await?;
        }
    };
    beside::<()>(flood, watch(read, report), report).await
}

fn request(target: &Target, stream: u32, is_last: bool) -> Vec<u8> {
    let flags = if is_last { END_HEADERS | END_STREAM } else { END_HEADERS };
    frame(HEADERS, flags, stream, &head(!is_last, target.host(), target.path()))
}

/// Reads the server's frames until it hangs up.
async fn watch(mut read: impl AsyncRead + Unpin, report: &Report) {
    // A broken connection is an ended one.
    drop(frames_of(&mut read, report).await);
}

async fn frames_of(read: &mut (impl AsyncRead + Unpin), report: &Report) -> io::Result<()> {
    loop {
        let mut head = [0; 9];
        read.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap_or(0)];
        read.read_exact(&mut payload).await?;
        let code = |at: usize| {
            let bytes = payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(u32::MAX, u32::from_be_bytes)
        };
        match head[3] {
            GOAWAY => Report::count_in(&report.goaways, code(4)),
            RST_STREAM => Report::count_in(&report.resets, code(0)),
            HEADERS => Report::count_in(&report.answers, 0),
            _ => {}
        }
    }
}
