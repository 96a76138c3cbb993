// SPDX-License-Identifier: Apache-2.0
//! What a client of HTTP/1 gets (RFC 9112 §4, §6 and §7.1): an answer's head, and its body in the framing that both
//! sides understand.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use http_body::{Body as _, Frame};
use sunbeam_wire::content_length;
use tokio::io::{AsyncRead, AsyncWrite};

use super::receive::{Facts, Receiver};
use crate::answer::AuditedBody;
use crate::outbox::Outbox;
use crate::paced_stream::Watched;

/// Room for most heads.
const HEAD_BYTES: usize = 512;

/// How the end of an answer's body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// There is none.
    None,
    Length(u64),
    Chunked,
    /// By the connection's end, to a client of HTTP/1.0.
    ToEnd,
}

/// An answer on its way.
struct Sending<'a, T> {
    receiver: &'a RefCell<Receiver<T>>,
    outbox: &'a mut Outbox,
    /// Until it is over. It goes before its last bytes do, so that whoever has the whole answer finds it counted.
    body: Option<AuditedBody>,
    framing: Framing,
    /// Fields that the trailer section may have: those that the head names, for a client that asked for them.
    trailers: Vec<HeaderName>,
    /// The body broke off. What came before is sent first.
    failed: Option<io::Error>,
}

/// Writes the answer. `true`: the connection may have another request.
///
/// # Errors
/// When the client is gone, or the body broke off: then what was promised cannot be kept, and the connection must go.
pub(super) async fn send<T>(
    receiver: &RefCell<Receiver<T>>,
    outbox: &mut Outbox,
    response: Response<AuditedBody>,
    facts: Facts,
) -> io::Result<bool>
where
    T: AsyncRead + AsyncWrite + Watched + Unpin,
{
    let (parts, body) = response.into_parts();
    let framing = framing(&parts, &body, facts);
    let keeps = !facts.closes && framing != Framing::ToEnd && !says_close(&parts.headers);
    let text = outbox.text();
    text.reserve(HEAD_BYTES);
    text.extend_from_slice(receiver.borrow_mut().end_interim());
    write_head(text, &parts, framing, facts, keeps);
    let is_trailed = framing == Framing::Chunked && facts.takes_trailers;
    let trailers = if is_trailed { announced(&parts.headers) } else { Vec::new() };
    let body = Some(body).filter(|_| !matches!(framing, Framing::None | Framing::Length(0)));
    let mut sending = Sending { receiver, outbox, body, framing, trailers, failed: None };
    poll_fn(|cx| sending.poll(cx)).await?;
    Ok(keeps)
}

impl<T: AsyncRead + AsyncWrite + Watched + Unpin> Sending<'_, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // Before the first byte too, so that a small body goes out with its head.
            let polled = if self.failed.is_some() { Poll::Ready(Ok(())) } else { self.poll_body(cx) };
            let waits = polled.is_pending();
            if let Poll::Ready(Err(error)) = polled {
                self.failed = Some(error);
            }
            let mut receiver = self.receiver.borrow_mut();
            ready!(self.outbox.poll_write(Pin::new(receiver.stream_mut()), cx))?;
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Err(error));
            }
            if !waits && self.body.is_some() {
                continue;
            }
            ready!(Pin::new(receiver.stream_mut()).poll_flush(cx))?;
            if self.body.is_none() {
                return Poll::Ready(Ok(()));
            }
            ready!(receiver.poll_gone(cx));
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
    }

    /// Takes the next piece of the body, unless one waits to be written.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(body) = &mut self.body
            && !self.outbox.has_data()
        {
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => self.take(frame)?,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => self.end(None)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, frame: Frame<Bytes>) -> io::Result<()> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => return self.end(frame.into_trailers().ok()),
        };
        if data.is_empty() {
            return Ok(());
        }
        if let Framing::Length(left) = &mut self.framing {
            *left = left.checked_sub(data.len() as u64).ok_or(io::ErrorKind::InvalidData)?;
            if *left == 0 {
                // Nobody need ask whether there is more.
                self.body = None;
            }
        }
        self.outbox.put(data, self.framing == Framing::Chunked);
        Ok(())
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> io::Result<()> {
        match self.framing {
            Framing::Length(1..) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Framing::Chunked => {
                let text = self.outbox.text();
                text.extend_from_slice(b"0\r\n");
                for (name, value) in
                    trailers.iter().flatten().filter(|(name, _)| self.trailers.contains(name))
                {
                    write_field(text, name.as_str(), value.as_bytes());
                }
                text.extend_from_slice(b"\r\n");
            }
            _ => {}
        }
        self.body = None;
        Ok(())
    }
}

fn framing(parts: &Parts, body: &AuditedBody, facts: Facts) -> Framing {
    let has_none = facts.is_head
        || parts.status.is_informational()
        || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let declared =
        || parts.headers.get(header::CONTENT_LENGTH).and_then(|value| content_length(value.as_bytes()));
    match declared().or_else(|| body.size_hint().exact()) {
        _ if has_none => Framing::None,
        Some(length) => Framing::Length(length),
        None if facts.is_http_10 => Framing::ToEnd,
        None => Framing::Chunked,
    }
}

fn says_close(headers: &HeaderMap) -> bool {
    headers.get(header::CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

/// The fields that `Trailer` names.
fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::TRAILER).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

fn write_head(text: &mut Vec<u8>, parts: &Parts, framing: Framing, facts: Facts, keeps: bool) {
    let status = parts.status;
    text.extend_from_slice(if facts.is_http_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    text.extend_from_slice(status.as_str().as_bytes());
    text.push(b' ');
    text.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    text.extend_from_slice(b"\r\n");
    let is_upgrade = status == StatusCode::SWITCHING_PROTOCOLS;
    let mut has_date = false;
    for (name, value) in &parts.headers {
        let is_ours = match *name {
            header::CONNECTION => !is_upgrade,
            header::TRANSFER_ENCODING => true,
            // The framing says it, unless there is none: then it is that of the answer to GET (RFC 9110 §8.6).
            header::CONTENT_LENGTH => {
                framing != Framing::None || status.is_informational() || status == StatusCode::NO_CONTENT
            }
            header::DATE => {
                has_date = true;
                false
            }
            _ => false,
        };
        if !is_ours {
            write_field(text, name.as_str(), value.as_bytes());
        }
    }
    match framing {
        Framing::Length(length) => write_field(text, "content-length", length.to_string().as_bytes()),
        Framing::Chunked => text.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::None | Framing::ToEnd => {}
    }
    if !is_upgrade && !keeps {
        text.extend_from_slice(b"connection: close\r\n");
    } else if !is_upgrade && facts.is_http_10 {
        text.extend_from_slice(b"connection: keep-alive\r\n");
    }
    if !has_date {
        write_field(text, "date", &date());
    }
    text.extend_from_slice(b"\r\n");
}

fn write_field(text: &mut Vec<u8>, name: &str, value: &[u8]) {
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b": ");
    text.extend_from_slice(value);
    text.extend_from_slice(b"\r\n");
}

/// Now, as RFC 9110 §5.6.7 writes it. To write it costs more than a request's routing, so each thread does it once a
/// second.
fn date() -> [u8; 29] {
    thread_local!(static WRITTEN: Cell<(u64, [u8; 29])> = const { Cell::new((0, [b' '; 29])) });
    let now = SystemTime::now();
    let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    WRITTEN.with(|written| {
        let (of, text) = written.get();
        if of == second {
            return text;
        }
        let text = httpdate::fmt_http_date(now).into_bytes().try_into().unwrap_or(text);
        written.set((second, text));
        text
    })
}
