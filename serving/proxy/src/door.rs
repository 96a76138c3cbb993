// SPDX-License-Identifier: Apache-2.0
//! The door: an IO type under hyper's HTTP/1 server that lets only well-formed messages in.
//!
//! It frames the stream itself. A head is held back until it is whole and checked; then its bytes go to
//! hyper. A head that is refused is replaced by a harmless request, and the reason waits in
//! [`DoorState`]: hyper calls the service strictly in order, so the n-th call belongs to the n-th head,
//! and every refusal passes through the service with its page, audit record and metric.
//!
//! Deadlines: a head must be whole within `header_timeout` of its first byte (408); a connection that
//! says nothing at all is closed after the same time. After an answer that came before the request was
//! read to its end, the connection lingers ([`LINGER`]), or the answer would be lost to a reset.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use sunbeam_wire::{Chunked, Framing, check, find_end};
pub(crate) use sunbeam_wire::{HeadLimits, Refusal};

use crate::paced_stream::Watched;

/// How long the rest of a request is read and thrown away after an early answer.
const LINGER: Duration = Duration::from_secs(5);

/// The request that hyper sees in place of a refused head.
const REFUSED: &[u8] = b"GET / HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n";

/// Bytes read at a time.
const READ_BYTES: usize = 8 * 1024;

/// What the door and the connection's service share.
#[derive(Debug, Default)]
pub(crate) struct DoorState {
    heads: Mutex<VecDeque<Option<Refusal>>>,
    tunnel: AtomicBool,
    /// An upgrade was asked for and the service has not answered yet.
    undecided: AtomicBool,
    partial: AtomicBool,
    /// Nothing has come since the last request was over.
    between: AtomicBool,
}

impl DoorState {
    /// What the door found about the request that the service was just called with.
    pub(crate) fn next(&self) -> Option<Refusal> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).pop_front().flatten()
    }

    /// The service takes the upgrade: what follows the head is no longer HTTP.
    pub(crate) fn open_tunnel(&self) {
        self.tunnel.store(true, Ordering::Relaxed);
    }

    /// The service has answered: without a tunnel, what follows is HTTP again.
    pub(crate) fn decide(&self) {
        self.undecided.store(false, Ordering::Relaxed);
    }

    /// Whether a head has begun to arrive that the service knows nothing of yet.
    pub(crate) fn has_partial_head(&self) -> bool {
        self.partial.load(Ordering::Relaxed)
    }

    /// Whether nothing has come since the last request's end.
    pub(crate) fn is_between_requests(&self) -> bool {
        self.between.load(Ordering::Relaxed)
    }

    fn push(&self, refusal: Option<Refusal>) {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).push_back(refusal);
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Door<T> {
    io: T,
    state: Arc<DoorState>,
    limits: HeadLimits,
    header_timeout: Duration,
    inbound: BytesMut,
    ready: Bytes,
    phase: Phase,
    /// When the head must be whole; the timer is moved there when a head does not come in one piece.
    deadline: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    linger: Option<Pin<Box<Sleep>>>,
    is_first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Head {
        scanned: usize,
    },
    Length(u64),
    Chunked(Chunked),
    /// An upgrade was asked for; the service decides whether a tunnel or a head follows.
    Undecided,
    Tunnel,
    Refused,
}

impl<T: AsyncRead + AsyncWrite + Watched + Unpin> Door<T> {
    pub(crate) fn new(io: T, limits: HeadLimits, header_timeout: Duration) -> (Self, Arc<DoorState>) {
        let state = Arc::new(DoorState::default());
        let door = Self {
            io,
            state: Arc::clone(&state),
            limits,
            header_timeout,
            inbound: BytesMut::new(),
            ready: Bytes::new(),
            phase: Phase::Head { scanned: 0 },
            deadline: Some(Instant::now() + header_timeout),
            timer: Box::pin(sleep(header_timeout)),
            linger: None,
            is_first: true,
        };
        (door, state)
    }

    /// Makes bytes ready for hyper out of what has been read. `false`: more must be read first.
    fn advance(&mut self) -> io::Result<bool> {
        match self.phase {
            Phase::Head { scanned } => Ok(self.advance_head(scanned)),
            Phase::Length(left) => {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(self.inbound.len());
                self.ready = self.inbound.split_to(here).freeze();
                self.phase = match left - here as u64 {
                    0 => Phase::Head { scanned: 0 },
                    left => Phase::Length(left),
                };
                Ok(here > 0)
            }
            Phase::Chunked(mut chunked) => {
                let used = chunked
                    .take(&self.inbound)
                    .map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
                self.ready = self.inbound.split_to(used).freeze();
                self.phase =
                    if chunked.is_done() { Phase::Head { scanned: 0 } } else { Phase::Chunked(chunked) };
                Ok(used > 0)
            }
            Phase::Undecided if self.state.tunnel.load(Ordering::Relaxed) => {
                self.phase = Phase::Tunnel;
                self.io.becomes_tunnel();
                self.advance()
            }
            Phase::Undecided if self.inbound.is_empty() || self.state.undecided.load(Ordering::Relaxed) => {
                Ok(false)
            }
            Phase::Undecided => {
                self.phase = Phase::Head { scanned: 0 };
                self.advance()
            }
            Phase::Tunnel => {
                self.ready = self.inbound.split().freeze();
                Ok(!self.ready.is_empty())
            }
            Phase::Refused => {
                self.inbound.clear();
                Ok(false)
            }
        }
    }

    fn advance_head(&mut self, scanned: usize) -> bool {
        // One empty line before a request line is forgiven (RFC 9112 §2.2).
        if scanned == 0 && self.inbound.starts_with(b"\r\n") {
            self.inbound.advance(2);
        }
        if self.inbound.is_empty() {
            return false;
        }
        match find_end(&self.inbound, scanned) {
            Err(why) => self.refuse(400, why),
            Ok(Some(end)) if end > self.limits.max_head_bytes => self.refuse_length(),
            Ok(None) if self.inbound.len() >= self.limits.max_head_bytes => self.refuse_length(),
            Ok(None) => {
                self.phase = Phase::Head { scanned: self.inbound.len().saturating_sub(3) };
                self.arm_deadline();
                self.state.partial.store(true, Ordering::Relaxed);
                return false;
            }
            Ok(Some(end)) => self.admit(end),
        }
        true
    }

    fn admit(&mut self, end: usize) {
        let bytes = self.inbound.split_to(end).freeze();
        let checked = match check(&bytes, &self.limits) {
            Ok(checked) => checked,
            Err(refusal) => return self.push_refusal(refusal),
        };
        self.ready = match checked.bytes {
            std::borrow::Cow::Borrowed(_) => bytes.clone(),
            std::borrow::Cow::Owned(changed) => Bytes::from(changed),
        };
        self.phase = match checked.framing {
            Framing::Length(length) => Phase::Length(length),
            Framing::Chunked => Phase::Chunked(Chunked::new()),
            Framing::None if checked.may_upgrade => Phase::Undecided,
            Framing::None => Phase::Head { scanned: 0 },
        };
        self.state.undecided.store(self.phase == Phase::Undecided, Ordering::Relaxed);
        self.head_is_over();
        self.state.push(None);
    }

    fn refuse(&mut self, status: u16, why: &'static str) {
        self.push_refusal(Refusal::new(status, why, &self.inbound));
    }

    fn refuse_length(&mut self) {
        let line_is_short =
            memchr::memchr(b'\n', &self.inbound).is_some_and(|at| at <= self.limits.max_target_bytes);
        if line_is_short {
            self.refuse(431, "the head is too large");
        } else {
            self.refuse(414, "the target is too long");
        }
    }

    fn push_refusal(&mut self, refusal: Refusal) {
        self.head_is_over();
        self.state.push(Some(refusal));
        self.phase = Phase::Refused;
        self.ready = Bytes::from_static(REFUSED);
    }

    fn arm_deadline(&mut self) {
        // The first deadline is for the silence before the first byte; from then on for the head.
        if self.deadline.is_none() || self.is_first {
            self.is_first = false;
            let deadline = Instant::now() + self.header_timeout;
            self.deadline = Some(deadline);
            self.timer.as_mut().reset(deadline);
        }
    }

    fn head_is_over(&mut self) {
        self.deadline = None;
        self.is_first = false;
        self.state.partial.store(false, Ordering::Relaxed);
    }

    /// Ready once: a head did not arrive in time; it is to be refused, or the connection closed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline.is_none() {
            return Poll::Pending;
        }
        ready!(self.timer.as_mut().poll(cx));
        self.deadline = None;
        Poll::Ready(())
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.inbound.reserve(READ_BYTES);
        let before = self.inbound.len();
        let polled = {
            let mut reader = ReadInto { io: &mut self.io, buffer: &mut self.inbound };
            reader.poll(cx)
        };
        if polled.is_pending() && self.inbound.is_empty() {
            // An idle connection keeps no buffer.
            self.inbound = BytesMut::new();
        }
        // An upgrade that the service has not taken is over, and a head follows.
        let is_refused_upgrade = self.phase == Phase::Undecided
            && !self.state.undecided.load(Ordering::Relaxed)
            && !self.state.tunnel.load(Ordering::Relaxed);
        let is_between =
            polled.is_pending() && (self.phase == Phase::Head { scanned: 0 } || is_refused_upgrade);
        self.state.between.store(is_between && self.inbound.is_empty(), Ordering::Relaxed);
        ready!(polled)?;
        Poll::Ready(Ok(self.inbound.len() - before))
    }
}

/// Reads into the spare room of a `BytesMut` without zeroing it each time.
struct ReadInto<'a, T> {
    io: &'a mut T,
    buffer: &'a mut BytesMut,
}

impl<T: AsyncRead + Unpin> ReadInto<'_, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let future = tokio::io::AsyncReadExt::read_buf(self.io, self.buffer);
        let future = std::pin::pin!(future);
        future.poll(cx)
    }
}

impl<T: AsyncRead + AsyncWrite + Watched + Unpin> Read for Door<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let door = self.get_mut();
        loop {
            if !door.ready.is_empty() {
                let here = door.ready.len().min(cursor.remaining());
                cursor.put_slice(&door.ready.split_to(here));
                return Poll::Ready(Ok(()));
            }
            if door.advance()? {
                continue;
            }
            if door.phase == Phase::Undecided && !door.inbound.is_empty() {
                // What came early may be the tunnel's. The service answers in this very task, and hyper
                // asks again after its answer: no waker is needed.
                return Poll::Pending;
            }
            if let Poll::Ready(()) = door.poll_deadline(cx) {
                if door.inbound.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                door.refuse(408, "the head did not arrive in time");
                continue;
            }
            if ready!(door.poll_fill(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Watched + Unpin> Write for Door<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, slices)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let door = self.get_mut();
        ready!(Pin::new(&mut door.io).poll_shutdown(cx))?;
        let was_read = matches!(door.phase, Phase::Head { scanned: 0 } | Phase::Undecided | Phase::Tunnel)
            && door.inbound.is_empty();
        if was_read {
            return Poll::Ready(Ok(()));
        }
        let linger = door.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if linger.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut scratch = [0; READ_BYTES];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut door.io).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}
