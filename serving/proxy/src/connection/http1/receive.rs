// SPDX-License-Identifier: Apache-2.0
//! What a client of HTTP/1 sends: heads, each read once and strictly (`sunbeam_wire::check`), and bodies, taken apart
//! for whoever forwards them.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};

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

/// Bytes of a body that nobody wanted: so many are read so that its connection can be kept.
pub(super) const UNWANTED_BYTES_MAX: u64 = 64 * 1024;

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
    /// Whose body that is: counts heads, and ends of requests.
    message: u64,
    /// Whoever has it holds this too.
    readers: Rc<()>,
    /// Who waits for more of it, and who for its end.
    reader: Option<Waker>,
    watcher: Option<Waker>,
    /// Bytes of it that nobody wanted.
    discarded: u64,
    /// What of [`CONTINUE`] is to be written before more of the body can come.
    interim: &'static [u8],
    interim_waits: bool,
}

/// What has come; of a request also the bytes that its fields point into.
#[derive(Debug)]
pub(super) enum Received {
    Request(Parts, Facts, Bytes),
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
            message: 0,
            readers: Rc::default(),
            reader: None,
            watcher: None,
            discarded: 0,
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
        // The answer's end flushes both.
        self.interim_waits = false;
        let rest = std::mem::take(&mut self.interim);
        if !rest.is_empty()
            && let Some(reader) = self.reader.take()
        {
            // It may have waited for room to write that.
            reader.wake();
        }
        if rest.len() < CONTINUE.len() { rest } else { &[] }
    }

    /// Whoever still has the request's body gets no more of it: the next body is not theirs.
    pub(super) fn end_request(&mut self) {
        self.message += 1;
        self.readers = Rc::default();
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
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
        self.message += 1;
        self.discarded = 0;
        match self.read_head(&bytes) {
            Ok((parts, facts)) => Received::Request(parts, facts, bytes),
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
        if !self.body.is_over() {
            // Who reads it sees a client that goes, and says when the rest is ours again.
            self.watcher = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if !self.inbound.is_empty() {
            return Poll::Pending;
        }
        match ready!(self.poll_fill(cx, HEAD_READ_BYTES)) {
            Ok(1..) => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// Whether an answer has to say that the connection ends, because its request will not be read to its end.
    /// `is_short`: the answer is over at once. What nobody wants and is there already is read, and thrown away.
    pub(super) fn must_close(&mut self, cx: &mut Context<'_>, is_short: bool) -> bool {
        if self.body.is_over() {
            return false;
        }
        // Who waited for `100 Continue` may send the body behind this answer, or not: nobody knows.
        if self.interim.len() == CONTINUE.len() {
            return true;
        }
        let is_too_much =
            |receiver: &Self, left| receiver.discarded.saturating_add(left) > UNWANTED_BYTES_MAX;
        if Rc::strong_count(&self.readers) > 1 {
            let left = self.body.size_hint().exact();
            return is_short && left.is_some_and(|left| is_too_much(self, left));
        }
        match self.poll_discard(cx) {
            Poll::Ready(is_received) => !is_received,
            Poll::Pending => self.body.size_hint().exact().is_none_or(|left| is_too_much(self, left)),
        }
    }

    /// Reads the rest of the request, if that is not much, and throws it away. `false`: it is, or it never ends.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while !self.body.is_over() && self.discarded <= UNWANTED_BYTES_MAX {
            match ready!(self.poll_body(self.message, cx)) {
                Some(Ok(frame)) => self.discarded += frame.data_ref().map_or(0, |data| data.len() as u64),
                Some(Err(_)) => return Poll::Ready(false),
                None => {}
            }
        }
        Poll::Ready(self.body.is_over())
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

    /// The body may be over, and its reader another task than the connection's.
    fn tell_watcher(&mut self, cx: &Context<'_>) {
        if self.body.is_over()
            && let Some(watcher) = self.watcher.take_if(|watcher| !watcher.will_wake(cx.waker()))
        {
            watcher.wake();
        }
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
    /// The next piece of the body of the `message`-th message; an error when that is over.
    fn poll_body(
        &mut self,
        message: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>;

    /// What of that is left; `None` when it is over.
    fn body(&self, message: u64) -> Option<&FramedBody>;
}

impl<T: AsyncRead + AsyncWrite + Watched + Unpin> Receives for Receiver<T> {
    fn poll_body(
        &mut self,
        message: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let failed = |why: &str| Poll::Ready(Some(Err(why.into())));
        if message != self.message {
            return failed(OVER);
        }
        loop {
            match self.body.take(&mut self.inbound) {
                Next::Frame(frame) => {
                    self.tell_watcher(cx);
                    // Who sends already waits for nothing.
                    if self.interim.len() == CONTINUE.len() {
                        self.interim = &[];
                    }
                    return Poll::Ready(Some(frame));
                }
                Next::Over => {
                    self.tell_watcher(cx);
                    return Poll::Ready(None);
                }
                Next::More => {}
            }
            let polled = match self.poll_interim(cx) {
                Poll::Ready(Ok(())) => self.poll_fill(cx, BODY_READ_BYTES),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            };
            match polled {
                Poll::Ready(Ok(0)) => return failed("the client hung up in the middle of its request"),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Pending => {
                    self.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }

    fn body(&self, message: u64) -> Option<&FramedBody> {
        (message == self.message).then_some(&self.body)
    }
}

const OVER: &str = "the request is over";

/// The body of a request, as long as its connection is at it. Whoever keeps it longer, as the HTTP/2 library does with
/// uploads that their backend does not take, has neither the connection nor the next request's body.
pub(crate) struct Http1Body {
    receiver: Weak<RefCell<dyn Receives>>,
    message: u64,
    _reads: Rc<()>,
}

impl Http1Body {
    pub(super) fn new<T>(receiver: &Rc<RefCell<Receiver<T>>>) -> Self
    where
        T: AsyncRead + AsyncWrite + Watched + Unpin + 'static,
    {
        let (message, reads) = (receiver.borrow().message, Rc::clone(&receiver.borrow().readers));
        Self { receiver: Rc::<RefCell<Receiver<T>>>::downgrade(receiver), message, _reads: reads }
    }
}

impl fmt::Debug for Http1Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1Body").field("message", &self.message).finish_non_exhaustive()
    }
}

impl Body for Http1Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.receiver.upgrade() {
            Some(receiver) => receiver.borrow_mut().poll_body(self.message, cx),
            None => Poll::Ready(Some(Err(OVER.into()))),
        }
    }

    /// Never, when it was cut off.
    fn is_end_stream(&self) -> bool {
        let receiver = self.receiver.upgrade();
        receiver.is_some_and(|receiver| receiver.borrow().body(self.message).is_some_and(FramedBody::is_over))
    }

    fn size_hint(&self) -> SizeHint {
        let receiver = self.receiver.upgrade();
        let hint = receiver.and_then(|receiver| Some(receiver.borrow().body(self.message)?.size_hint()));
        hint.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http_body_util::BodyExt as _;
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { max_head_bytes: 4096, max_headers: 16, max_target_bytes: 256 };

    impl Watched for DuplexStream {
        fn becomes_tunnel(&mut self) {}

        /// It cannot tell: a read will.
        fn poll_readable(&self, _cx: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }

    fn receiver() -> (Rc<RefCell<Receiver<DuplexStream>>>, DuplexStream) {
        let (here, there) = duplex(64 * 1024);
        (Rc::new(RefCell::new(Receiver::new(here, LIMITS))), there)
    }

    async fn next_request(receiver: &Rc<RefCell<Receiver<DuplexStream>>>) -> (String, Http1Body) {
        match poll_fn(|cx| receiver.borrow_mut().poll_head(cx)).await {
            Received::Request(parts, ..) => (parts.uri.to_string(), Http1Body::new(receiver)),
            other => panic!("{other:?}"),
        }
    }

    async fn data(body: &mut Http1Body) -> Result<Bytes, String> {
        let frame = body.frame().await.expect("not the end");
        Ok(frame.map_err(|error| error.to_string())?.into_data().expect("data"))
    }

    #[tokio::test]
    async fn a_body_that_is_kept_too_long_gets_nothing_of_the_next_request() {
        let (receiver, mut there) = receiver();
        let head = "POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        there.write_all(format!("{head}1\r\na\r\n").as_bytes()).await.unwrap();
        let (_, mut first) = next_request(&receiver).await;
        assert_eq!(data(&mut first).await.unwrap(), "a");
        // Its reader waits, and is told.
        let waiting = tokio::time::timeout(std::time::Duration::from_secs(5), data(&mut first));
        let ending = async {
            tokio::task::yield_now().await;
            receiver.borrow_mut().end_request();
        };
        let (told, ()) = tokio::join!(waiting, ending);
        assert_eq!(told.expect("woken").unwrap_err(), OVER);
        there.write_all(b"0\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n").await.unwrap();
        assert!(poll_fn(|cx| receiver.borrow_mut().poll_discard(cx)).await);
        assert!(!first.is_end_stream(), "cut off, not ended");
        let (path, mut second) = next_request(&receiver).await;
        there.write_all(b"secret").await.unwrap();
        assert_eq!(data(&mut first).await.unwrap_err(), OVER);
        assert!(!first.is_end_stream() && first.size_hint().exact().is_none());
        assert_eq!((path.as_str(), data(&mut second).await.unwrap()), ("/2", Bytes::from_static(b"secret")));
        assert!(second.is_end_stream());
        drop(receiver);
        assert_eq!(data(&mut first).await.unwrap_err(), OVER);
        assert_eq!(there.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe, "closed");
    }
    #[tokio::test]
    async fn the_connection_hears_of_a_body_that_another_task_has_read() {
        let (receiver, mut there) = receiver();
        there.write_all(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n").await.unwrap();
        let (_, mut body) = next_request(&receiver).await;
        let local = tokio::task::LocalSet::new();
        let watching = Rc::clone(&receiver);
        let gone = local.spawn_local(async move {
            poll_fn(|cx| watching.borrow_mut().poll_gone(cx)).await;
        });
        let reading = async {
            tokio::task::yield_now().await;
            there.write_all(b"x").await.unwrap();
            assert_eq!(data(&mut body).await.unwrap(), "x");
            drop(there);
            tokio::time::timeout(std::time::Duration::from_secs(5), gone).await.expect("told").unwrap();
        };
        local.run_until(reading).await;
    }

    #[tokio::test]
    async fn an_answer_says_that_the_connection_ends_when_much_of_the_request_is_left() {
        for (length, sent, is_read, is_short, must_close) in [
            (10, 10, false, true, false),
            (10, 3, false, true, false),
            (100_000, 3, false, true, true),
            // What was thrown away counts too.
            (100_000, 50_000, false, true, true),
            (100_000, 3, true, true, true),
            (100_000, 3, true, false, false),
            (10, 3, true, true, false),
        ] {
            let (receiver, mut there) = receiver();
            let head = format!("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
            there.write_all(head.as_bytes()).await.unwrap();
            let (_, body) = next_request(&receiver).await;
            there.write_all(&vec![b'x'; sent]).await.unwrap();
            let body = is_read.then_some(body);
            let found = poll_fn(|cx| Poll::Ready(receiver.borrow_mut().must_close(cx, is_short))).await;
            assert_eq!(found, must_close, "{sent} of {length}, read: {is_read}, short: {is_short}");
            drop(body);
        }
    }
}
