// SPDX-License-Identifier: Apache-2.0
//! What a client of HTTP/1 sends: heads, each read once and strictly (`sunbeam_wire::check`), and bodies, taken apart
//! for whoever forwards them.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use sunbeam_wire::{Chunked, Framing, HeadLimits, Refusal, check, find_end};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use crate::body::BoxError;
use crate::framed::{FramedBody, Next, append};
use crate::paced_stream::Watched;
use crate::rewound::Rewound;

/// Bytes read at a time.
const HEAD_READ_BYTES: usize = 8 * 1024;
const BODY_READ_BYTES: usize = 16 * 1024;

/// Bytes of a body nobody wanted that are read so that its connection can be kept, if they are there already.
const UNWANTED_BYTES_MAX: usize = 64 * 1024;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The client's side of a connection.
#[derive(Debug)]
pub(super) struct Receiver<T> {
    stream: T,
    limits: HeadLimits,
    /// What was read and is not used yet.
    inbound: BytesMut,
    /// As much of it holds no end of a head.
    scanned: usize,
    /// What of the last request's body is not read yet.
    body: FramedBody,
    /// What of [`CONTINUE`] is to be written before more of the body can come.
    interim: &'static [u8],
    interim_waits: bool,
}

/// What has come.
#[derive(Debug)]
pub(super) enum Received {
    Request(Parts, Facts),
    /// A head that is not taken; nothing behind it is read.
    Refused(Refusal),
    /// The client has closed, or is gone.
    End,
}

/// What a request's head says of its message and its connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub(super) is_head: bool,
    pub(super) is_http_10: bool,
    pub(super) has_body: bool,
    pub(super) may_upgrade: bool,
    pub(super) takes_trailers: bool,
    /// The connection ends with it.
    pub(super) closes: bool,
}

impl<T> Receiver<T> {
    pub(super) fn new(stream: T, limits: HeadLimits) -> Self {
        Self {
            stream,
            limits,
            inbound: BytesMut::new(),
            scanned: 0,
            body: FramedBody::default(),
            interim: &[],
            interim_waits: false,
        }
    }

    pub(super) const fn stream(&self) -> &T {
        &self.stream
    }

    pub(super) const fn stream_mut(&mut self) -> &mut T {
        &mut self.stream
    }

    /// Whether a head has begun to arrive.
    pub(super) fn has_partial_head(&self) -> bool {
        !self.inbound.is_empty()
    }

    /// The answer begins: who waits for `100 Continue` hears that instead. What is left of one that has begun.
    pub(super) fn end_interim(&mut self) -> &'static [u8] {
        let rest = std::mem::take(&mut self.interim);
        if rest.len() < CONTINUE.len() { rest } else { &[] }
    }

    /// Refuses the head that is on its way.
    pub(super) fn refuse(&mut self, status: u16, why: &'static str) -> Received {
        let refusal = Refusal::new(status, why, &self.inbound);
        self.inbound.clear();
        // Whatever else comes is nothing: no body, and no head either.
        self.body = FramedBody::to_end();
        Received::Refused(refusal)
    }

    fn refuse_length(&mut self) -> Received {
        let line_is_short =
            memchr::memchr(b'\n', &self.inbound).is_some_and(|at| at <= self.limits.max_target_bytes);
        if line_is_short {
            self.refuse(431, "the head is too large")
        } else {
            self.refuse(414, "the target is too long")
        }
    }

    fn admit(&mut self, end: usize) -> Received {
        let bytes = self.inbound.split_to(end).freeze();
        self.scanned = 0;
        match self.read_head(&bytes) {
            Ok((parts, facts)) => Received::Request(parts, facts),
            Err(refusal) => {
                self.body = FramedBody::to_end();
                Received::Refused(refusal)
            }
        }
    }

    fn read_head(&mut self, bytes: &Bytes) -> Result<(Parts, Facts), Refusal> {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        let mut headers = HeaderMap::with_capacity(lines.min(self.limits.max_headers));
        let mut odd = None;
        let checked = check(bytes, &self.limits, |name, value| {
            if let Err(why) = append(&mut headers, bytes, name, value) {
                odd = Some(why);
            }
        })?;
        // Nothing that was checked should fail here.
        let refuse = |why| Refusal::new(400, why, bytes);
        if let Some(why) = odd {
            return Err(refuse(why));
        }
        let target = match checked.target {
            std::borrow::Cow::Borrowed(target) => bytes.slice_ref(target),
            std::borrow::Cow::Owned(target) => Bytes::from(target),
        };
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = Method::from_bytes(checked.method).map_err(|_| refuse("the method is odd"))?;
        parts.uri = Uri::from_maybe_shared(target).map_err(|_| refuse("the target is no URI"))?;
        parts.version = if checked.is_http_10 { Version::HTTP_10 } else { Version::HTTP_11 };
        parts.headers = headers;
        self.body = match checked.framing {
            Framing::None => FramedBody::default(),
            Framing::Length(length) => FramedBody::of_length(length),
            Framing::Chunked => FramedBody::chunked(Chunked::new()),
        };
        let has_body = !self.body.is_over();
        self.interim = if has_body && checked.expects_continue { CONTINUE } else { &[] };
        let facts = Facts {
            is_head: parts.method == Method::HEAD,
            is_http_10: checked.is_http_10,
            has_body,
            may_upgrade: checked.may_upgrade,
            takes_trailers: checked.takes_trailers,
            closes: checked.closes,
        };
        Ok((parts, facts))
    }
}

impl<T: AsyncRead + AsyncWrite + Watched + Unpin> Receiver<T> {
    /// The next head, or what is there in its place.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        loop {
            // One empty line before a request line is forgiven (RFC 9112 §2.2).
            if self.scanned == 0 && self.inbound.starts_with(b"\r\n") {
                self.inbound.advance(2);
            }
            if !self.inbound.is_empty() {
                match find_end(&self.inbound, self.scanned) {
                    Err(why) => return Poll::Ready(self.refuse(400, why)),
                    Ok(Some(end)) if end > self.limits.max_head_bytes => {
                        return Poll::Ready(self.refuse_length());
                    }
                    Ok(Some(end)) => return Poll::Ready(self.admit(end)),
                    Ok(None) if self.inbound.len() >= self.limits.max_head_bytes => {
                        return Poll::Ready(self.refuse_length());
                    }
                    Ok(None) => self.scanned = self.inbound.len().saturating_sub(3),
                }
            }
            if !matches!(ready!(self.poll_fill(cx, HEAD_READ_BYTES)), Ok(1..)) {
                return Poll::Ready(Received::End);
            }
        }
    }

    /// Ready when the client is gone, as far as that can be seen: not behind what it has sent already.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.body.is_over() || !self.inbound.is_empty() {
            return Poll::Pending;
        }
        match ready!(self.poll_fill(cx, HEAD_READ_BYTES)) {
            Ok(1..) => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// Whether the last request was read to its end. A rest that is there already is read, and thrown away.
    pub(super) fn is_received(&mut self, cx: &mut Context<'_>) -> bool {
        let mut unwanted = 0;
        while !self.body.is_over() && unwanted <= UNWANTED_BYTES_MAX && self.interim.is_empty() {
            match self.poll_body(cx) {
                Poll::Ready(Some(Ok(frame))) => unwanted += frame.data_ref().map_or(0, Bytes::len),
                _ => break,
            }
        }
        self.body.is_over()
    }

    /// Closes: the answer, if one was written, arrives, though not all was read.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if ready!(Pin::new(&mut self.stream).poll_shutdown(cx)).is_err()
            || (self.body.is_over() && self.inbound.is_empty())
        {
            return Poll::Ready(());
        }
        let mut scratch = [0; HEAD_READ_BYTES];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }

    /// What is no HTTP any more.
    pub(super) fn into_tunnel(mut self) -> Rewound<T> {
        self.stream.becomes_tunnel();
        Rewound::new(self.stream, self.inbound.freeze())
    }

    /// 0: the client has ended.
    fn poll_fill(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        if self.inbound.is_empty() {
            // A client that is silent needs no buffer.
            self.inbound = BytesMut::new();
            ready!(self.stream.poll_readable(cx));
        }
        self.inbound.reserve(most);
        let polled = pin!(self.stream.read_buf(&mut self.inbound)).poll(cx);
        if polled.is_pending() && self.inbound.is_empty() {
            self.inbound = BytesMut::new();
        }
        polled
    }

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, self.interim))?;
            self.interim = self.interim.get(written..).unwrap_or_default();
            self.interim_waits = true;
        }
        if self.interim_waits {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.interim_waits = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// Where a body comes from, whatever carries it.
trait Receives {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>;
    fn body(&self) -> &FramedBody;
}

impl<T: AsyncRead + AsyncWrite + Watched + Unpin> Receives for Receiver<T> {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            match self.body.take(&mut self.inbound) {
                Next::Frame(frame) => {
                    // Who sends already waits for nothing.
                    if self.interim.len() == CONTINUE.len() {
                        self.interim = &[];
                    }
                    return Poll::Ready(Some(frame));
                }
                Next::Over => return Poll::Ready(None),
                Next::More => {}
            }
            ready!(self.poll_interim(cx))?;
            match ready!(self.poll_fill(cx, BODY_READ_BYTES)) {
                Ok(0) => {
                    let error = "the client hung up in the middle of its request";
                    return Poll::Ready(Some(Err(error.into())));
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    fn body(&self) -> &FramedBody {
        &self.body
    }
}

/// The body of the request that a connection is at.
pub(crate) struct Http1Body(Rc<RefCell<dyn Receives>>);

impl Http1Body {
    pub(super) fn new<T>(receiver: &Rc<RefCell<Receiver<T>>>) -> Self
    where
        T: AsyncRead + AsyncWrite + Watched + Unpin + 'static,
    {
        Self(Rc::<RefCell<Receiver<T>>>::clone(receiver))
    }
}

impl fmt::Debug for Http1Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Http1Body").finish_non_exhaustive()
    }
}

impl Body for Http1Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.borrow_mut().poll_body(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.borrow().body().is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.borrow().body().size_hint()
    }
}
