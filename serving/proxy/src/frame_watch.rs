// SPDX-License-Identifier: Apache-2.0
//! Counts what the HTTP/2 library does not limit: an IO type between it and TLS that walks the heads of
//! the frames in both directions.
//!
//! The library ends bursts of resets, floods of CONTINUATION and of empty DATA, and resets it was tricked
//! into. It lets pass: resets that come one by one, floods of PING and SETTINGS, a preface or a header
//! block that never ends. Each has its budget here.
//!
//! # The budget of control frames
//! Frames that ask for work and bring no request and no data cost one each: PING, SETTINGS, PRIORITY,
//! WINDOW_UPDATE, CONTINUATION, empty DATA, resets of streams that are over, and kinds that we do not know.
//! A connection has [`CONTROL_FRAMES`] and gets [`CONTROL_FRAMES_PER_MINUTE`], more than any client sends
//! without cause: a ping each second is sixty. The rest is earned. A request brings
//! [`CONTROL_FRAMES_PER_REQUEST`]: priority updates, the rest of a large header block, a late reset. A DATA
//! frame that we sent brings [`CONTROL_FRAMES_PER_DATA`]: the thriftless give window twice for each, to the
//! stream and to the connection, and gRPC clients measure the bandwidth with a ping.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use sunbeam_listeners::ListenerMetrics;
use sunbeam_wire::{FrameHead, FrameWalker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::context::ConnectionInfo;

/// Control frames that a new connection may send at once.
const CONTROL_FRAMES: i64 = 1_000;

/// What it may send on top each minute, never more than [`CONTROL_FRAMES`] at once.
const CONTROL_FRAMES_PER_MINUTE: i64 = 600;

/// What a request brings.
const CONTROL_FRAMES_PER_REQUEST: i64 = 10;

/// What a DATA frame that we sent brings.
const CONTROL_FRAMES_PER_DATA: i64 = 3;

/// What can be saved up: a large download whose windows are all given back at its end.
const CONTROL_FRAMES_SAVED: i64 = 20_000;

/// Frames after which the thread's other connections get their turn: a flood of small ones would have it for
/// milliseconds.
const BURST_FRAMES: u32 = 64;

/// What is read and thrown away after GOAWAY: without that, a client that still sends gets a reset
/// before it has read why.
const DISCARDED_BYTES_MAX: usize = 256 * 1024;

/// GOAWAY that names no stream as the last (RFC 9113 §6.8): no more requests, please; what is on its way is served.
const GOAWAY: &[u8; 17] = b"\0\0\x08\x07\0\0\0\0\0\x7f\xff\xff\xff\0\0\0\0";

/// What was counted on a connection.
#[derive(Debug)]
pub(crate) struct Ledger {
    connection: Rc<ConnectionInfo>,
    metrics: ListenerMetrics,
    is_over: Cell<bool>,
    tokens: Cell<i64>,
    refilled: Cell<Instant>,
    requests: Cell<u64>,
    last_stream: Cell<u32>,
    /// Resets in what was just read, of streams that were not over.
    resets: Cell<u32>,
    /// A header block is open between two frames.
    block_is_open: Cell<bool>,
    /// Since when a head, or a frame that is not DATA, is not whole.
    partial_since: Cell<Option<Instant>>,
    streams: RefCell<Vec<OpenStream>>,
    streams_max: usize,
    discarded: Cell<usize>,
    /// What is to be said before the library's next frame.
    announcement: RefCell<Bytes>,
    /// Our preface, a SETTINGS frame, is out, and no header block is open.
    may_announce: Cell<bool>,
}

/// A stream whose answer is not over on the wire.
#[derive(Debug)]
struct OpenStream {
    id: u32,
    moved: bool,
    since: Instant,
}

impl Ledger {
    /// For a connection with so many streams at a time.
    pub(crate) fn new(
        connection: Rc<ConnectionInfo>,
        streams_max: u32,
        metrics: ListenerMetrics,
    ) -> Rc<Self> {
        Rc::new(Self {
            connection,
            metrics,
            is_over: Cell::new(false),
            tokens: Cell::new(CONTROL_FRAMES),
            refilled: Cell::new(Instant::now()),
            requests: Cell::new(0),
            last_stream: Cell::new(0),
            resets: Cell::new(0),
            block_is_open: Cell::new(false),
            partial_since: Cell::new(None),
            streams: RefCell::default(),
            // Those above the bound are refused by the library, a moment later.
            streams_max: usize::try_from(streams_max).unwrap_or(usize::MAX).saturating_mul(2),
            discarded: Cell::new(0),
            announcement: RefCell::default(),
            may_announce: Cell::new(false),
        })
    }

    /// Asks the client for a new connection, and goes on. The library's own GOAWAY names a last stream as soon
    /// as the client has answered a ping, and a request that the client wrote behind that answer is lost.
    pub(crate) fn announce_end(&self) {
        *self.announcement.borrow_mut() = Bytes::from_static(GOAWAY);
    }

    /// Whether this connection is over some limit, and must go.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Heads of requests that have begun to arrive.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Whether the answer of some request is not over on the wire.
    pub(crate) fn has_streams(&self) -> bool {
        !self.streams.borrow().is_empty()
    }

    /// Since when something is not whole that should come in one go: a header block above all.
    pub(crate) fn partial_since(&self) -> Option<Instant> {
        self.partial_since.get()
    }

    /// How many answers have not moved for `most` and are not over. Looks at all streams: not for each frame.
    pub(crate) fn stuck(&self, now: Instant, most: Duration) -> usize {
        let mut streams = self.streams.borrow_mut();
        for stream in streams.iter_mut().filter(|stream| stream.moved) {
            (stream.moved, stream.since) = (false, now);
        }
        streams.iter().filter(|stream| now.saturating_duration_since(stream.since) > most).count()
    }

    fn received(&self, frame: FrameHead) {
        self.block_is_open.set(frame.leaves_block_open());
        match frame.kind {
            FrameHead::HEADERS if frame.stream > self.last_stream.get() => self.request(frame.stream),
            FrameHead::DATA if frame.ends_stream() || !frame.may_be_empty() => {}
            // Trailers end a body.
            FrameHead::HEADERS if frame.ends_stream() => {}
            FrameHead::RST_STREAM if self.close(frame.stream) => self.resets.set(self.resets.get() + 1),
            _ => self.spend(),
        }
    }

    fn request(&self, id: u32) {
        self.last_stream.set(id);
        self.requests.set(self.requests.get() + 1);
        self.earn(CONTROL_FRAMES_PER_REQUEST);
        let mut streams = self.streams.borrow_mut();
        if streams.len() < self.streams_max {
            // The clock is read when somebody looks.
            streams.push(OpenStream { id, moved: true, since: self.refilled.get() });
        }
    }

    fn sent(&self, frame: FrameHead) {
        self.may_announce.set(!frame.leaves_block_open());
        if frame.kind == FrameHead::DATA {
            self.earn(CONTROL_FRAMES_PER_DATA);
        }
        if frame.ends_stream() || frame.kind == FrameHead::RST_STREAM {
            self.close(frame.stream);
        } else if frame.kind == FrameHead::DATA || frame.kind == FrameHead::HEADERS {
            let mut streams = self.streams.borrow_mut();
            if let Some(stream) = streams.iter_mut().find(|stream| stream.id == frame.stream) {
                stream.moved = true;
            }
        }
    }

    /// Whether the stream was open.
    fn close(&self, id: u32) -> bool {
        let mut streams = self.streams.borrow_mut();
        let found = streams.iter().position(|stream| stream.id == id);
        if let Some(at) = found {
            streams.swap_remove(at);
        }
        found.is_some()
    }

    fn earn(&self, frames: i64) {
        self.tokens.set((self.tokens.get() + frames).min(CONTROL_FRAMES_SAVED));
    }

    fn spend(&self) {
        self.tokens.set(self.tokens.get() - 1);
        if self.tokens.get() >= 0 {
            return;
        }
        let now = Instant::now();
        let elapsed = i64::try_from(now.duration_since(self.refilled.get()).as_millis()).unwrap_or(i64::MAX);
        let fresh = elapsed.saturating_mul(CONTROL_FRAMES_PER_MINUTE) / 60_000;
        if fresh > 0 {
            self.refilled.set(now);
            self.tokens.set(self.tokens.get() + fresh.min(CONTROL_FRAMES));
        }
        if self.tokens.get() < 0 {
            self.cut("http2_control_frames");
        }
    }

    /// Ends the connection for this limit, counted, unless it is ended for another.
    pub(crate) fn cut(&self, limit: &str) {
        if !self.is_over.replace(true) {
            self.metrics.limit_hits(limit).inc();
        }
    }

    /// After each read: what can only be judged with the whole of it.
    fn settle(&self, walker: &FrameWalker) {
        let resets = self.resets.take();
        if resets > 0 && !self.connection.permit.note_stream_resets(resets) {
            // Counted there.
            self.is_over.set(true);
        }
        let partial = walker.partial();
        let is_data = partial.is_some_and(|frame| frame.kind == FrameHead::DATA);
        self.connection.partial_data.set(if is_data { walker.partial_bytes() } else { 0 });
        if self.block_is_open.get() || walker.is_inside_head() || (partial.is_some() && !is_data) {
            if self.partial_since.get().is_none() {
                self.partial_since.set(Some(Instant::now()));
            }
        } else {
            self.partial_since.set(None);
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct FrameWatch<T> {
    io: T,
    ledger: Rc<Ledger>,
    incoming: FrameWalker,
    outgoing: FrameWalker,
    /// Frames that came since others had their turn.
    burst: u32,
}

impl<T: AsyncRead + AsyncWrite + Unpin> FrameWatch<T> {
    pub(crate) const fn new(io: T, ledger: Rc<Ledger>) -> Self {
        Self { io, ledger, incoming: FrameWalker::client(), outgoing: FrameWalker::server(), burst: 0 }
    }

    fn read(&mut self, bytes: &[u8]) {
        let (ledger, burst) = (&self.ledger, &mut self.burst);
        self.incoming.walk(bytes, |frame| {
            *burst += 1;
            ledger.received(frame);
        });
        ledger.settle(&self.incoming);
    }

    fn wrote(&mut self, bytes: &[u8]) {
        let ledger = &self.ledger;
        self.outgoing.walk(bytes, |frame| ledger.sent(frame));
    }

    /// Between two frames, and before the library's next one.
    fn poll_announce(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut rest = self.ledger.announcement.borrow_mut();
        let is_begun = rest.len() < GOAWAY.len();
        let is_between = self.outgoing.partial().is_none() && !self.outgoing.is_inside_head();
        while !rest.is_empty() && (is_begun || (is_between && self.ledger.may_announce.get())) {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &rest))?;
            rest.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// The library hears no more; what the client still sends is thrown away, up to a bound.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 4096];
        while self.ledger.discarded.get() < DISCARDED_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.ledger.discarded.set(self.ledger.discarded.get() + buffer.filled().len());
        }
        Poll::Pending
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for FrameWatch<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let watch = self.get_mut();
        if watch.ledger.is_over() {
            return watch.poll_discard(cx);
        }
        if watch.burst >= BURST_FRAMES {
            watch.burst = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut watch.io).poll_read(cx, buffer);
        if polled.is_pending() {
            watch.burst = 0;
        }
        ready!(polled)?;
        watch.read(buffer.filled().get(before..).unwrap_or_default());
        if watch.ledger.is_over() {
            buffer.set_filled(before);
            return watch.poll_discard(cx);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for FrameWatch<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let watch = self.get_mut();
        ready!(watch.poll_announce(cx))?;
        let written = ready!(Pin::new(&mut watch.io).poll_write(cx, bytes))?;
        watch.wrote(bytes.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let watch = self.get_mut();
        ready!(watch.poll_announce(cx))?;
        let written = ready!(Pin::new(&mut watch.io).poll_write_vectored(cx, slices))?;
        let mut left = written;
        for slice in slices {
            let here = slice.get(..left.min(slice.len())).unwrap_or_default();
            watch.wrote(here);
            left -= here.len();
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let watch = self.get_mut();
        ready!(watch.poll_announce(cx))?;
        Pin::new(&mut watch.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use sunbeam_listeners::{ConnectionGuard, LimitsSection, ListenSection, Scheme};
    use sunbeam_metrics::Registry;

    use super::*;
    use crate::share::Shares;

    const PING: u8 = 6;
    const SETTINGS: u8 = 4;
    const WINDOW_UPDATE: u8 = 8;
    const MINUTE: Duration = Duration::from_secs(60);

    struct Fixture {
        ledger: Rc<Ledger>,
        registry: Registry,
    }

    impl Fixture {
        fn new() -> Self {
            let registry = Registry::new();
            let metrics = ListenerMetrics::register(&registry);
            let limits = LimitsSection::default();
            let guard = ConnectionGuard::new(&limits, &ListenSection::default(), metrics.clone());
            let permit = guard.admit(Ipv4Addr::LOCALHOST.into()).unwrap();
            let peer = (Ipv4Addr::LOCALHOST, 1).into();
            let connection =
                Rc::new(ConnectionInfo::new(peer, Scheme::Https, "TLSv1.3", permit, &Shares::new(guard)));
            let ledger = Ledger::new(connection, limits.max_streams_per_connection, metrics);
            Self { ledger, registry }
        }

        fn receive(&self, kind: u8, flags: u8, stream: u32, length: u32) {
            self.ledger.received(FrameHead { length, kind, flags, stream });
        }

        fn send(&self, kind: u8, flags: u8, stream: u32, length: u32) {
            self.ledger.sent(FrameHead { length, kind, flags, stream });
        }

        /// How many of these frames it takes until the connection is cut, up to a hundred thousand.
        fn cut_after(&self, frame: impl Fn(&Self)) -> Option<usize> {
            (0..100_000).find(|_| {
                frame(self);
                self.ledger.is_over()
            })
        }

        fn resets(&self) -> u32 {
            self.ledger.resets.take()
        }

        fn minutes_pass(&self, minutes: u32) {
            let ago = self.ledger.refilled.get().checked_sub(MINUTE * minutes).unwrap();
            self.ledger.refilled.set(ago);
        }
    }

    #[test]
    fn floods_of_every_kind_are_cut_and_counted_once() {
        for (name, kind, flags, length) in [
            ("PING", PING, 0, 8),
            ("acknowledged SETTINGS", SETTINGS, 1, 0),
            ("SETTINGS", SETTINGS, 0, 6),
            ("PRIORITY", 2, 0, 5),
            ("WINDOW_UPDATE", WINDOW_UPDATE, 0, 4),
            ("empty DATA", FrameHead::DATA, 0, 0),
            ("DATA that is all padding", FrameHead::DATA, 8, 200),
            ("CONTINUATION", FrameHead::CONTINUATION, 0, 10),
            ("a kind that nobody knows", 0xfa, 0, 100),
            ("resets of nothing", FrameHead::RST_STREAM, 0, 4),
        ] {
            let fixture = Fixture::new();
            assert_eq!(fixture.cut_after(|f| f.receive(kind, flags, 0, length)), Some(1000), "{name}");
            fixture.receive(kind, flags, 0, length);
            let hits = fixture.registry.sum("sunbeam_limit_hits_total", &[("limit", "http2_control_frames")]);
            assert!((hits - 1.0).abs() < 0.1, "{name}: {hits}");
        }
    }

    #[test]
    fn after_a_burst_of_frames_the_others_have_their_turn() {
        let ping = [&[0, 0, 8, PING, 0, 0, 0, 0, 0][..], &[0; 8]].concat();
        let frames = usize::try_from(BURST_FRAMES).unwrap() * 3;
        let bytes = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &ping.repeat(frames)].concat();
        let all = bytes.len();
        let mut watch = FrameWatch::new(io::Cursor::new(bytes), Fixture::new().ledger);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let (mut read, mut yields) = (0, Vec::new());
        while read < all {
            let mut piece = [0; 17];
            let mut buffer = ReadBuf::new(&mut piece);
            match Pin::new(&mut watch).poll_read(&mut cx, &mut buffer) {
                Poll::Ready(result) => {
                    result.unwrap();
                    read += buffer.filled().len();
                }
                Poll::Pending => yields.push(read),
            }
        }
        assert_eq!(yields.len(), 3, "{yields:?}");
    }

    #[test]
    fn a_paced_flood_is_cut_and_a_ping_each_second_is_not() {
        let per_minute = |frames: u32| {
            let fixture = Fixture::new();
            (0..60).find(|_| {
                fixture.minutes_pass(1);
                (0..frames).for_each(|_| fixture.receive(PING, 0, 0, 8));
                fixture.ledger.is_over()
            })
        };
        assert_eq!(per_minute(60), None);
        assert_eq!(per_minute(500), None);
        assert!(per_minute(900).is_some_and(|minutes| minutes < 10));
        // Long silence is worth no more than a fresh connection.
        let fixture = Fixture::new();
        fixture.minutes_pass(600);
        assert!(fixture.cut_after(|f| f.receive(PING, 0, 0, 8)).is_some_and(|frames| frames <= 2001));
    }

    #[test]
    fn what_requests_and_data_need_is_earned() {
        let fixture = Fixture::new();
        for number in 0..5_000 {
            let stream = number * 2 + 1;
            fixture.receive(FrameHead::HEADERS, 5, stream, 50);
            (0..8).for_each(|_| fixture.receive(0x10, 0, 0, 20));
            fixture.send(FrameHead::HEADERS, 4, stream, 50);
            for _ in 0..20 {
                fixture.send(FrameHead::DATA, 0, stream, 100);
                fixture.receive(WINDOW_UPDATE, 0, 0, 4);
                fixture.receive(WINDOW_UPDATE, 0, stream, 4);
                fixture.receive(PING, 0, 0, 8);
            }
            fixture.send(FrameHead::DATA, 1, stream, 0);
        }
        assert!(!fixture.ledger.is_over());
        assert!(!fixture.ledger.has_streams());
        let saved = fixture.cut_after(|f| f.receive(PING, 0, 0, 8)).unwrap();
        assert!(saved <= usize::try_from(CONTROL_FRAMES_SAVED).unwrap() + 1000, "{saved}");
    }

    #[test]
    fn only_resets_of_what_runs_are_resets_and_the_table_has_a_bound() {
        let fixture = Fixture::new();
        fixture.receive(FrameHead::HEADERS, 5, 1, 50);
        fixture.receive(FrameHead::RST_STREAM, 0, 1, 4);
        fixture.receive(FrameHead::RST_STREAM, 0, 1, 4);
        assert_eq!(fixture.resets(), 1);
        fixture.receive(FrameHead::HEADERS, 4, 3, 50);
        fixture.send(FrameHead::HEADERS, 5, 3, 50);
        fixture.receive(FrameHead::RST_STREAM, 0, 3, 4);
        assert_eq!(fixture.resets(), 0, "it was answered");
        for number in 2..10_000 {
            fixture.receive(FrameHead::HEADERS, 5, number * 2 + 1, 50);
        }
        assert_eq!(fixture.ledger.streams.borrow().len(), 200);
    }

    #[test]
    fn answers_that_do_not_move_are_stuck() {
        let fixture = Fixture::new();
        let later = |secs| Instant::now() + Duration::from_secs(secs);
        fixture.receive(FrameHead::HEADERS, 5, 1, 50);
        fixture.receive(FrameHead::HEADERS, 5, 3, 50);
        assert_eq!(fixture.ledger.stuck(later(0), MINUTE), 0);
        assert_eq!(fixture.ledger.stuck(later(61), MINUTE), 2);
        fixture.send(FrameHead::DATA, 0, 1, 10);
        assert_eq!(fixture.ledger.stuck(later(62), MINUTE), 1);
        fixture.send(FrameHead::RST_STREAM, 0, 3, 4);
        assert_eq!(fixture.ledger.stuck(later(63), MINUTE), 0);
    }

    #[test]
    fn a_block_or_a_frame_that_is_not_whole_is_known_and_so_is_data_on_its_way() {
        let fixture = Fixture::new();
        let mut walker = FrameWalker::server();
        let mut read = |bytes: &[u8]| {
            walker.walk(bytes, |frame| fixture.ledger.received(frame));
            fixture.ledger.settle(&walker);
            (fixture.ledger.partial_since().is_some(), fixture.ledger.connection.partial_data.get())
        };
        assert_eq!(read(&[0, 0, 1, FrameHead::HEADERS, 0, 0, 0, 0, 1, 0x82]), (true, 0), "no END_HEADERS");
        assert_eq!(read(&[0, 0, 1, FrameHead::CONTINUATION, 4, 0, 0, 0, 1, 0x84]), (false, 0));
        assert_eq!(read(&[0, 0]), (true, 0), "half a head");
        assert_eq!(read(&[8, PING, 0, 0, 0, 0, 0, 1, 2]), (true, 0), "half a PING");
        assert_eq!(read(&[3, 4, 5, 6, 7, 8]), (false, 0));
        assert_eq!(read(&[0, 0, 9, FrameHead::DATA, 0, 0, 0, 0, 1, 7, 7]), (false, 2));
        assert_eq!(read(&[7; 7]), (false, 0));
    }
}
