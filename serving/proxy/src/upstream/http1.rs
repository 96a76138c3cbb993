// SPDX-License-Identifier: Apache-2.0
//! An HTTP/1 connection to a backend, and one reading of its answers (`sunbeam_wire::check_answer`).
//!
//! It has no task of its own: the request that has it writes and reads, so nothing is handed from task to
//! task, and what a backend sends unasked is found when the connection is looked at again. Only an upload
//! that goes on behind the answer's head gets a task. An answer that two readers could read in two ways is an
//! error: the connection goes, the client gets 502.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Response, StatusCode, Version};
use http_body::{Frame, SizeHint};
use sunbeam_routing::Backend;
use sunbeam_wire::{CheckedAnswer, Chunked, Framing, check_answer, find_end};
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep, sleep_until};

use super::connect::Stream;
use super::upload::{Upload, UploadTask};
use super::{Failure, Kind, UpstreamError, UpstreamHead};
use crate::body::{BodyFault, BodyWatch, BoxError, RequestBody};
use crate::framed::{FramedBody, Next, fields};
use crate::rewound::Rewound;

/// Bytes of an answer's head: more than any application sends.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Answers with 1xx before the real one. A slow WebDAV server sends `102 Processing` every twenty seconds.
const INFORMATIONAL_MAX: u32 = 64;

/// Room for a head, and for a body behind it: most answers come with one read. For a client that reads slowly
/// about three times as much of a body is held.
const HEAD_READ_BYTES: usize = 4 * 1024;
const BODY_READ_BYTES: usize = 32 * 1024;

/// The stream behind a `101`.
pub(crate) type Tunnel = Rewound<Box<dyn Stream>>;

pub(super) type Io = Rc<RefCell<Box<dyn Stream>>>;

/// See the module.
pub(crate) struct Connection {
    io: Io,
    /// What was read and is not used yet.
    inbound: BytesMut,
    /// What of the answer's body is not read yet.
    rest: FramedBody,
    /// Nothing in this exchange speaks against another one.
    keeps: bool,
    upload: Option<UploadTask>,
    /// Stays from request to request: to move a timer further away costs nothing, to make one does.
    timer: Option<Pin<Box<Sleep>>>,
}

/// How far the reading of a head has come.
#[derive(Debug, Default)]
struct Reading {
    /// It answers HEAD, so it has no body.
    is_head: bool,
    scanned: usize,
    informational: u32,
}

/// A request on its way to its answer's head.
struct Exchange<'a> {
    upload: Upload,
    sending: Sending,
    reading: Reading,
    watch: &'a BodyWatch,
    answer_timeout: Duration,
}

/// How far the sending of a request has come.
enum Sending {
    Going,
    Done,
    /// The backend takes no more. It may have answered before it hung up, so what it said is read first: a dead
    /// stream becomes readable, and the deadline stands.
    Broken(io::Error),
}

/// Why there is no head.
enum HeadError {
    /// The connection ended.
    Dead(io::Error),
    /// It could be read in two ways, or in none.
    Malformed(String),
}

impl Exchange<'_> {
    fn poll(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, Failure>> {
        if matches!(self.sending, Sending::Going)
            && let Poll::Ready(sent) = self.upload.poll(&connection.io, cx)
        {
            self.sending = sent.map_or_else(Sending::Broken, |()| Sending::Done);
        }
        let fault = self.watch.fault();
        if fault != BodyFault::None {
            return Poll::Ready(Err(Failure::of(UpstreamError::Client { fault })));
        }
        let informational = self.reading.informational;
        match connection.poll_head(cx, &mut self.reading) {
            Poll::Ready(result) => Poll::Ready(result.map_err(|error| self.failed(error, connection))),
            Poll::Pending => {
                if self.reading.informational > informational {
                    self.watch.touch();
                }
                self.poll_deadline(connection, cx).map(Err)
            }
        }
    }

    fn failed(&mut self, error: HeadError, connection: &Connection) -> Failure {
        match error {
            HeadError::Malformed(why) => Failure::of(UpstreamError::backend(Kind::Protocol, why)),
            HeadError::Dead(error) => {
                // With a byte of an answer it has begun to do what it was asked.
                let has_begun = self.reading.informational > 0 || !connection.inbound.is_empty();
                let cause = if let Sending::Broken(cause) = &self.sending { cause } else { &error };
                Failure { is_dead: !has_begun, ..self.upload.dead(cause) }
            }
        }
    }

    fn poll_deadline(&self, connection: &mut Connection, cx: &mut Context<'_>) -> Poll<Failure> {
        loop {
            ready!(connection.poll_timer(cx));
            // An upload that goes on moves the deadline.
            let deadline = self.watch.progress() + self.answer_timeout;
            if deadline <= Instant::now() {
                let error = UpstreamError::backend(Kind::Timeout, "no answer in time");
                return Poll::Ready(Failure::of(error));
            }
            connection.set_timer(deadline);
        }
    }
}

impl Connection {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            io: Rc::new(RefCell::new(stream)),
            inbound: BytesMut::new(),
            rest: FramedBody::default(),
            keeps: true,
            upload: None,
            timer: None,
        }
    }

    /// Sends the request and reads the head of the answer. It may take `answer_timeout` since a byte of the
    /// body was last read, or an informational answer came; a head that comes in drips gets no more.
    pub(super) async fn exchange(
        &mut self,
        head: &UpstreamHead,
        body: RequestBody,
        backend: &Backend,
        watch: &BodyWatch,
        answer_timeout: Duration,
    ) -> Result<Response<()>, Failure> {
        let upload = Upload::new(head, body, backend).map_err(Failure::of)?;
        let is_head = head.method == Method::HEAD;
        let reading = Reading { is_head, ..Reading::default() };
        let mut exchange = Exchange { upload, sending: Sending::Going, reading, watch, answer_timeout };
        self.set_timer(watch.touch() + answer_timeout);
        let response = poll_fn(|cx| exchange.poll(self, cx)).await?;
        match exchange.sending {
            Sending::Going => self.upload = Some(exchange.upload.go_on(Rc::clone(&self.io))),
            Sending::Done => {}
            Sending::Broken(_) => self.keeps = false,
        }
        Ok(response)
    }

    /// When [`Self::poll_timer`] is to be ready.
    pub(super) fn set_timer(&mut self, deadline: Instant) {
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(deadline),
            None => self.timer = Some(Box::pin(sleep_until(deadline))),
        }
    }

    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().map_or(Poll::Pending, |timer| timer.as_mut().poll(cx))
    }

    /// Nothing has come unasked, and the other side has not hung up, as far as the kernel knows at this moment.
    pub(super) fn is_surely_open(&self) -> bool {
        self.is_open() && self.io.borrow().is_silent()
    }

    /// The same, as far as the runtime has heard: that costs no system call.
    pub(super) fn is_open(&self) -> bool {
        let mut byte = [0];
        let mut cx = Context::from_waker(Waker::noop());
        let mut stream = self.io.borrow_mut();
        self.inbound.is_empty()
            && Pin::new(&mut **stream).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// Whether another request may be sent, now that this one's answer is over.
    pub(super) fn may_be_kept(&mut self) -> bool {
        let is_uploaded = self.upload.take().is_none_or(|upload| upload.is_done());
        // What stands behind the answer belongs to nobody.
        self.keeps && is_uploaded && self.rest.is_over() && self.inbound.is_empty()
    }

    /// The answer was read to its end.
    pub(super) const fn is_over(&self) -> bool {
        self.rest.is_over()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.rest.size_hint()
    }

    /// The stream behind a `101`, for both directions.
    pub(crate) fn into_tunnel(self) -> Option<Tunnel> {
        // An upgrade has no body, so there is no upload that has the stream too.
        let stream = Rc::into_inner(self.io)?.into_inner();
        Some(Rewound::new(stream, self.inbound.freeze()))
    }

    /// What comes next of the answer's body.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(upload) = &self.upload {
            upload.wakes(cx.waker());
        }
        loop {
            match self.rest.take(&mut self.inbound) {
                Next::Frame(frame) => return Poll::Ready(Some(frame)),
                Next::Over => return Poll::Ready(None),
                Next::More => {}
            }
            match ready!(self.poll_fill(cx, BODY_READ_BYTES)) {
                Ok(0) if self.rest.end() => {}
                Ok(0) => {
                    return Poll::Ready(Some(Err("the backend hung up in the middle of its answer".into())));
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        reading: &mut Reading,
    ) -> Poll<Result<Response<()>, HeadError>> {
        let malformed = |why: &str| Poll::Ready(Err(HeadError::Malformed(why.to_owned())));
        loop {
            match find_end(&self.inbound, reading.scanned) {
                Err(why) => return malformed(why),
                Ok(Some(end)) if end > HEAD_BYTES_MAX => return malformed(TOO_LARGE),
                Ok(Some(end)) => {
                    let head = self.inbound.split_to(end).freeze();
                    reading.scanned = 0;
                    let checked = match check_answer(&head) {
                        Ok(checked) => checked,
                        Err(why) => return malformed(why),
                    };
                    if matches!(checked.status, 101 | 200..) {
                        return Poll::Ready(
                            self.begin_answer(&head, checked, reading.is_head).map_err(HeadError::Malformed),
                        );
                    }
                    reading.informational += 1;
                    if reading.informational > INFORMATIONAL_MAX {
                        return malformed("too many informational answers");
                    }
                    continue;
                }
                Ok(None) if self.inbound.len() > HEAD_BYTES_MAX => return malformed(TOO_LARGE),
                Ok(None) => reading.scanned = self.inbound.len().saturating_sub(3),
            }
            match ready!(self.poll_fill(cx, HEAD_READ_BYTES)) {
                Ok(0) => return Poll::Ready(Err(HeadError::Dead(io::ErrorKind::UnexpectedEof.into()))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(HeadError::Dead(error))),
            }
        }
    }

    /// RFC 9112 §6.3: how long the body is.
    fn begin_answer(
        &mut self,
        head: &Bytes,
        checked: CheckedAnswer,
        is_head: bool,
    ) -> Result<Response<()>, String> {
        let status = StatusCode::from_u16(checked.status).map_err(|error| error.to_string())?;
        let mut response = Response::new(());
        *response.headers_mut() = fields(head).map_err(|why| format!("the answer's head: {why}"))?;
        *response.status_mut() = status;
        *response.version_mut() = if checked.is_http_10 { Version::HTTP_10 } else { Version::HTTP_11 };
        let has_none = is_head || matches!(checked.status, 101 | 204 | 304);
        self.rest = match checked.framing {
            _ if has_none => FramedBody::default(),
            Framing::Length(length) => FramedBody::of_length(length),
            Framing::Chunked => FramedBody::chunked(Chunked::of_answer()),
            Framing::None => FramedBody::to_end(),
        };
        self.keeps = !checked.closes && !checked.is_http_10 && !self.rest.ends_with_connection();
        Ok(response)
    }

    /// 0: the other side has ended.
    fn poll_fill(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        self.inbound.reserve(most);
        let mut stream = self.io.borrow_mut();
        let reading = pin!(tokio::io::AsyncReadExt::read_buf(&mut **stream, &mut self.inbound));
        let polled = reading.poll(cx);
        if polled.is_pending() && self.inbound.is_empty() {
            // A backend that thinks, and a connection that is kept, need no buffer.
            self.inbound = BytesMut::new();
        }
        polled
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("rest", &self.rest)
            .field("keeps", &self.keeps)
            .finish_non_exhaustive()
    }
}

const TOO_LARGE: &str = "the answer's head is too large";

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use http_body_util::BodyExt as _;
    use sunbeam_routing::Http2Mode;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;
    use crate::framed::LINES_MAX;

    const SECOND: Duration = Duration::from_secs(1);

    fn connection() -> (Connection, DuplexStream) {
        let (here, there) = duplex(1024 * 1024);
        (Connection::new(Box::new(here)), there)
    }

    fn backend() -> Backend {
        let url = "http://a:1".parse().unwrap();
        Backend { url, http2: Http2Mode::Never, ca_path: String::new(), verify: true }
    }

    fn head(method: Method, fields: &[(&'static str, &'static str)]) -> UpstreamHead {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        UpstreamHead {
            method,
            path_and_query: "/a?b".to_owned(),
            headers: fields.iter().map(pair).collect(),
            ours: Vec::new(),
            authority: Some("shop".to_owned()),
            wants_trailers: false,
        }
    }

    /// A body of these bytes that a client has sent.
    fn body(bytes: &'static [u8]) -> (RequestBody, Rc<BodyWatch>) {
        let (mut body, watch) = RequestBody::none();
        body.put_back(Bytes::from_static(bytes));
        (body, watch)
    }

    async fn ask(
        connection: &mut Connection,
        head: &UpstreamHead,
        sent: &'static [u8],
    ) -> Result<Response<()>, Failure> {
        let (body, watch) = body(sent);
        connection.exchange(head, body, &backend(), &watch, SECOND).await
    }

    async fn body_of(connection: &mut Connection) -> Result<(Vec<u8>, Option<HeaderMap>), String> {
        let (mut data, mut trailers) = (Vec::new(), None);
        while let Some(frame) = poll_fn(|cx| connection.poll_frame(cx)).await {
            match frame.map_err(|error| error.to_string())?.into_data() {
                Ok(bytes) => data.extend_from_slice(&bytes),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        Ok((data, trailers))
    }

    /// What an answer that arrives in pieces is: its status, or what is wrong with it.
    async fn answered(bytes: &[u8], piece: usize) -> Result<u16, String> {
        let (mut connection, mut there) = connection();
        let head = head(Method::GET, &[]);
        let feeding = async {
            for piece in bytes.chunks(piece) {
                there.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (answer, ()) = tokio::join!(ask(&mut connection, &head, b""), feeding);
        answer.map(|answer| answer.status().as_u16()).map_err(|failure| failure.error.to_string())
    }

    #[tokio::test]
    async fn pieces_are_read_as_the_whole() {
        let flood = b"HTTP/1.1 102 Processing\r\n\r\n".repeat(65);
        let large = [&b"HTTP/1.1 200 OK\r\nX: "[..], &b"x".repeat(HEAD_BYTES_MAX), b"\r\n\r\n"].concat();
        let many = [&b"HTTP/1.1 200 OK\r\n"[..], &b"X: y\r\n".repeat(LINES_MAX + 1), b"\r\n"].concat();
        for (bytes, want) in [
            (&b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nbody\n\n\0"[..], Ok(200)),
            (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\nbody\n", Ok(404)),
            (b"HTTP/1.1 101 Switching Protocols\r\n\r\n\n\n", Ok(101)),
            (b"HTTP/1.1 200 OK\r\nX: \xe9\r\n\r\n", Ok(200)),
            (b"HTTP/1.1 200 OK\nX: y\r\n\r\n", Err("a line ends without CR")),
            (b"HTTP/1.1 200 OK\r\nX: y\r\n\n", Err("a line ends without CR")),
            (b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", Err("the answer's head: a header name is odd")),
            (
                b"HTTP/1.1 200 OK\r\nX: \x01\r\n\r\n",
                Err("the answer's head: a header value holds a control character"),
            ),
            (
                b"HTTP/1.1 200 OK\r\nX: y\rz\r\n\r\n",
                Err("the answer's head: a header value holds a control character"),
            ),
            (b"HTTP/1.1 200 OK\r\nX\r\nY: z\r\n\r\n", Err("the answer's head: a header line has no name")),
            (
                b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n X: y\r\n\r\n",
                Err("the answer's head holds a folded line"),
            ),
            (&flood, Err("too many informational answers")),
            (&large, Err(TOO_LARGE)),
            (&many, Err("the answer's head: there are too many header lines")),
        ] {
            for piece in [1, 2, 3, 7, 100, usize::MAX] {
                if piece < 100 && bytes.len() > HEAD_BYTES_MAX {
                    continue; // A head of that size byte by byte takes long, and says nothing new.
                }
                let shown = String::from_utf8_lossy(bytes.get(..bytes.len().min(80)).unwrap_or_default());
                let want = want.map_err(|why| format!("backend protocol: {why}"));
                assert_eq!(answered(bytes, piece).await, want, "{piece}: {shown:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_body_ends_where_its_framing_says_and_the_connection_is_kept_only_then() {
        let text = |text: &str| (text.as_bytes().to_vec(), false);
        for (answer, want, keeps) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", Ok(text("abc")), true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Ok(text("")), true),
            ("HTTP/1.1 204 No Content\r\n\r\n", Ok(text("")), true),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", Ok(text("")), true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", Ok(text("abc")), false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc", Ok(text("abc")), false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", Ok(text("abc")), false),
            ("HTTP/1.1 200 OK\r\n\r\nabc", Ok(text("abc")), false),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1 \r\nc\r\n0\r\n\r\n",
                Ok(text("abc")),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
                Ok((b"abc".to_vec(), true)),
                true,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", Err("hung up"), false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabc", Err("hung up"), false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", Err("hexadecimal"), false),
        ] {
            let (mut connection, mut there) = connection();
            there.write_all(answer.as_bytes()).await.unwrap();
            if want.is_err() || answer.ends_with("\r\n\r\nabc") && !answer.contains("Content-Length") {
                there.shutdown().await.unwrap();
            }
            ask(&mut connection, &head(Method::GET, &[]), b"").await.unwrap();
            match (body_of(&mut connection).await, want) {
                (Ok((data, trailers)), Ok(want)) => assert_eq!((data, trailers.is_some()), want, "{answer}"),
                (Err(error), Err(want)) => assert!(error.contains(want), "{answer}: {error}"),
                (got, want) => panic!("{answer}: {got:?} instead of {want:?}"),
            }
            assert_eq!(connection.may_be_kept(), keeps, "{answer}");
        }
        let (mut connection, mut there) = connection();
        there.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n").await.unwrap();
        ask(&mut connection, &head(Method::HEAD, &[]), b"").await.unwrap();
        assert!(connection.is_over() && connection.may_be_kept(), "an answer to HEAD has no body");
    }

    #[tokio::test]
    async fn a_request_is_written_as_its_body_is_framed() {
        for (fields, sent, want) in [
            (&[("x", "y")][..], &b""[..], "GET /a?b HTTP/1.1\r\nhost: shop\r\nx: y\r\n\r\n"),
            (&[("content-length", "0")], b"", "GET /a?b HTTP/1.1\r\nhost: shop\r\ncontent-length: 0\r\n\r\n"),
            (
                &[("content-length", "3")],
                b"abc",
                "GET /a?b HTTP/1.1\r\nhost: shop\r\ncontent-length: 3\r\n\r\nabc",
            ),
            (
                &[("host", "other")],
                b"abc",
                "GET /a?b HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            ),
        ] {
            let (mut connection, mut there) = connection();
            there.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            ask(&mut connection, &head(Method::GET, fields), sent).await.unwrap();
            drop(connection);
            let mut seen = String::new();
            there.read_to_string(&mut seen).await.unwrap();
            assert_eq!(seen, want);
        }
        for (length, fault) in [("2", BodyFault::Broken), ("4", BodyFault::Broken)] {
            let (mut connection, _there) = connection();
            let failure =
                ask(&mut connection, &head(Method::POST, &[("content-length", length)]), b"abc").await;
            let error = failure.unwrap_err().error;
            assert!(matches!(error, UpstreamError::Client { fault: found } if found == fault), "{error}");
        }
        for target in ["x", "", "/a b", "/a\r\nX: y", "/a#b", "/\u{e9}"] {
            let (mut connection, _there) = connection();
            let head = UpstreamHead { path_and_query: target.to_owned(), ..head(Method::GET, &[]) };
            let error = ask(&mut connection, &head, b"").await.unwrap_err().error;
            assert!(matches!(error, UpstreamError::Backend { kind: Kind::Ours, .. }), "{target}: {error}");
        }
    }

    #[tokio::test]
    async fn each_request_of_a_connection_has_its_own_time() {
        const TIME: Duration = Duration::from_millis(400);
        let (mut connection, mut there) = connection();
        let head = head(Method::GET, &[]);
        for _ in 0..2 {
            let answering = async {
                tokio::time::sleep(TIME * 3 / 4).await;
                there.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            };
            let (body, watch) = RequestBody::none();
            let (backend, begun) = (backend(), Instant::now());
            let asking = connection.exchange(&head, body, &backend, &watch, TIME);
            let (answer, ()) = tokio::join!(asking, answering);
            assert!(answer.is_ok(), "after {:?}", begun.elapsed());
        }
        let (body, watch) = RequestBody::none();
        let begun = Instant::now();
        let failure = connection.exchange(&head, body, &backend(), &watch, TIME).await.unwrap_err();
        assert!(matches!(failure.error, UpstreamError::Backend { kind: Kind::Timeout, .. }));
        assert!(begun.elapsed() >= TIME, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn after_a_byte_of_an_answer_nothing_may_be_sent_again() {
        for (said, is_dead) in [(&b""[..], true), (b"H", false), (b"HTTP/1.1 102 Processing\r\n\r\n", false)]
        {
            let (mut connection, mut there) = connection();
            let hanging_up = async {
                let mut request = [0; 16];
                there.read_exact(&mut request).await.unwrap();
                there.write_all(said).await.unwrap();
                drop(there);
            };
            let head = head(Method::DELETE, &[]);
            let (answer, ()) = tokio::join!(ask(&mut connection, &head, b""), hanging_up);
            assert_eq!(answer.unwrap_err().is_dead, is_dead, "{said:?}");
        }
    }

    #[tokio::test]
    async fn a_body_that_was_not_sent_comes_back_and_what_came_unasked_is_seen() {
        let (mut connection, there) = connection();
        assert!(connection.is_open());
        drop(there);
        assert!(!connection.is_open());
        let failure =
            ask(&mut connection, &head(Method::POST, &[("content-length", "3")]), b"abc").await.unwrap_err();
        assert!(failure.is_dead, "{}", failure.error);
        let mut body = failure.unsent.expect("nothing was written");
        assert!(!body.is_empty());
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "abc");
        let (connection, mut there) = self::connection();
        there.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
        assert!(!connection.is_open());
    }
}
