// SPDX-License-Identifier: Apache-2.0
//! A request on its way to an HTTP/1 backend: its head, and the body as it comes.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::header::{self, HeaderName};
use http_body::{Body as _, Frame};
use sunbeam_routing::Backend;
use sunbeam_wire::content_length;
use tokio::task::{AbortHandle, spawn_local};

use super::http1::Io;
use super::{Failure, Kind, UpstreamError, UpstreamHead};
use crate::body::RequestBody;
use crate::outbox::Outbox;

/// Room for most heads.
const HEAD_BYTES: usize = 1024;

/// A request on its way.
pub(super) struct Upload {
    outbox: Outbox,
    body: RequestBody,
    is_chunked: bool,
    /// Bytes that Content-Length has promised and that have not come yet.
    promised: u64,
    body_is_over: bool,
}

impl Upload {
    pub(super) fn new(
        head: &UpstreamHead,
        body: RequestBody,
        backend: &Backend,
    ) -> Result<Self, UpstreamError> {
        let length = head.headers.get(header::CONTENT_LENGTH).map(|length| content_length(length.as_bytes()));
        let (is_chunked, promised) = match length {
            _ if body.is_empty() => (false, 0),
            Some(Some(length)) => (false, length),
            Some(None) => return Err(UpstreamError::backend(Kind::Ours, "Content-Length is not one number")),
            None => (true, 0),
        };
        let mut outbox = Outbox::default();
        let text = outbox.text();
        text.reserve(HEAD_BYTES);
        write_head(text, head, backend)?;
        if is_chunked {
            text.extend_from_slice(b"transfer-encoding: chunked\r\n");
        } else if length.is_some() {
            text.extend_from_slice(b"content-length: ");
            text.extend_from_slice(promised.to_string().as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
        let body_is_over = body.is_empty();
        Ok(Self { outbox, body, is_chunked, promised, body_is_over })
    }

    /// Ready when all is written. A body that fails is told by its watch.
    pub(super) fn poll(&mut self, io: &Io, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // Before the first byte too, so that a small body goes out with its head.
            let waits = !self.outbox.has_data() && self.poll_body(cx)?.is_pending();
            let mut stream = io.borrow_mut();
            ready!(self.outbox.poll_write(Pin::new(&mut **stream), cx))?;
            if waits || self.body_is_over {
                ready!(Pin::new(&mut **stream).poll_flush(cx))?;
                return if waits { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
        }
    }

    /// Takes the next piece of the body; pending when there is none yet.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        while !self.body_is_over && !self.outbox.has_data() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Some(Ok(frame))) => self.take(frame)?,
                Poll::Ready(Some(Err(error))) => return Err(io::Error::other(error)),
                Poll::Ready(None) => {
                    self.body_is_over = true;
                    if self.is_chunked {
                        self.outbox.text().extend_from_slice(b"0\r\n\r\n");
                    } else if self.promised > 0 {
                        return Err(self.belied());
                    }
                }
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Trailers of a request are not passed on: no backend of HTTP/1 has been told to expect any.
    fn take(&mut self, frame: Frame<Bytes>) -> io::Result<()> {
        let Ok(data) = frame.into_data() else { return Ok(()) };
        if data.is_empty() {
            return Ok(());
        }
        if !self.is_chunked {
            let left = self.promised.checked_sub(data.len() as u64);
            self.promised = left.ok_or_else(|| self.belied())?;
        }
        self.outbox.put(data, self.is_chunked);
        Ok(())
    }

    fn belied(&self) -> io::Error {
        self.body.belies_its_length();
        io::ErrorKind::InvalidData.into()
    }

    /// The connection is gone.
    pub(super) fn dead(&mut self, error: &io::Error) -> Failure {
        let error =
            UpstreamError::backend(Kind::Reset, format!("the connection ended before an answer: {error}"));
        let unsent = (!self.outbox.has_written()).then(|| {
            let mut body = std::mem::replace(&mut self.body, RequestBody::none().0);
            body.put_back(self.outbox.take_data());
            body
        });
        Failure { error, unsent, is_dead: true }
    }

    /// The answer is there; what is left is sent while it is read.
    pub(super) fn go_on(mut self, io: Io) -> UploadTask {
        let progress = Rc::new(Progress::default());
        let told = Rc::clone(&progress);
        let task = spawn_local(async move {
            // A backend that reads no more does not matter: its answer counts.
            told.is_done.set(poll_fn(|cx| self.poll(&io, cx)).await.is_ok());
            if let Some(reader) = told.reader.take() {
                reader.wake();
            }
        });
        UploadTask { task: task.abort_handle(), progress }
    }
}

/// The end of an upload that outlasts the answer's head. Ends when it is dropped.
pub(super) struct UploadTask {
    task: AbortHandle,
    progress: Rc<Progress>,
}

#[derive(Default)]
struct Progress {
    is_done: Cell<bool>,
    reader: Cell<Option<Waker>>,
}

impl UploadTask {
    /// All was sent.
    pub(super) fn is_done(&self) -> bool {
        self.progress.is_done.get()
    }

    /// Who reads the answer is woken when the upload is over: a body with a fault ends the answer too.
    pub(super) fn wakes(&self, reader: &Waker) {
        self.progress.reader.set(Some(reader.clone()));
    }
}

impl Drop for UploadTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What says where the message goes and how long it is, we say ourselves.
static OURS: [HeaderName; 3] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::HOST];

/// Everything but the framing and the blank line.
fn write_head(text: &mut Vec<u8>, head: &UpstreamHead, backend: &Backend) -> Result<(), UpstreamError> {
    let target = head.path_and_query.as_bytes();
    let is_visible = |byte: &u8| matches!(byte, 0x21..=0x7e) && *byte != b'#';
    if target.first() != Some(&b'/') || !target.iter().all(is_visible) {
        return Err(UpstreamError::backend(Kind::Ours, "the target cannot be written"));
    }
    text.extend_from_slice(head.method.as_str().as_bytes());
    text.push(b' ');
    text.extend_from_slice(target);
    text.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    let host_at = text.len();
    match &head.authority {
        Some(authority) => text.extend_from_slice(authority.as_bytes()),
        None => text.extend_from_slice(backend.url.authority().as_bytes()),
    }
    if !text.get(host_at..).unwrap_or_default().iter().all(is_visible) {
        return Err(UpstreamError::backend(Kind::Ours, "the Host cannot be written"));
    }
    text.extend_from_slice(b"\r\n");
    let theirs = head.headers.iter().filter(|(name, _)| !OURS.contains(name));
    let ours = head.ours.iter().map(|(name, value)| (name, value));
    for (name, value) in theirs.chain(ours) {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    Ok(())
}
