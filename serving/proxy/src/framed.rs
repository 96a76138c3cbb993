// SPDX-License-Identifier: Apache-2.0
//! The body of an HTTP/1 message, taken apart as it comes (RFC 9112 §6 and §7).

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};
use sunbeam_wire::{Chunked, Piece, header_lines};

use crate::body::BoxError;

/// Lines of a head or a trailer section: more than any application sends.
pub(crate) const LINES_MAX: usize = 100;

/// What is left of a body.
#[derive(Debug, Default)]
pub(crate) struct FramedBody {
    rest: Rest,
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Rest {
    #[default]
    Nothing,
    Length(u64),
    Chunked(Chunked),
    /// Its end is the connection's.
    ToEnd,
    /// It could not be read: nothing behind it means anything.
    Broken,
}

/// Smaller pieces are copied, so that each does not hold the whole buffer that it came in.
const COPIED_BYTES_MAX: usize = 1024;

/// What comes next of a body.
#[derive(Debug)]
pub(crate) enum Next {
    Frame(Result<Frame<Bytes>, BoxError>),
    /// More must be read first.
    More,
    Over,
}

impl FramedBody {
    pub(crate) const fn of_length(length: u64) -> Self {
        let rest = if length == 0 { Rest::Nothing } else { Rest::Length(length) };
        Self { rest, trailers: Vec::new() }
    }

    pub(crate) const fn chunked(framing: Chunked) -> Self {
        Self { rest: Rest::Chunked(framing), trailers: Vec::new() }
    }

    pub(crate) const fn to_end() -> Self {
        Self { rest: Rest::ToEnd, trailers: Vec::new() }
    }

    /// It was read to its end.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.rest, Rest::Nothing)
    }

    /// Only the end of the connection ends it.
    pub(crate) const fn ends_with_connection(&self) -> bool {
        matches!(self.rest, Rest::ToEnd)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self.rest {
            Rest::Nothing => SizeHint::with_exact(0),
            Rest::Length(left) => SizeHint::with_exact(left),
            Rest::Chunked(_) | Rest::ToEnd | Rest::Broken => SizeHint::new(),
        }
    }

    /// Takes what `inbound` begins with.
    pub(crate) fn take(&mut self, inbound: &mut BytesMut) -> Next {
        loop {
            match &mut self.rest {
                Rest::Nothing => return Next::Over,
                Rest::Broken => return Next::Frame(Err("the body's framing is broken".into())),
                _ if inbound.is_empty() => return Next::More,
                Rest::Length(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(inbound.len());
                    *left -= here as u64;
                    if *left == 0 {
                        self.rest = Rest::Nothing;
                    }
                    return data(inbound, here);
                }
                Rest::Chunked(chunked) => match chunked.next(inbound) {
                    Err(why) => {
                        // Asked again it would go on from the middle.
                        self.rest = Rest::Broken;
                        return Next::Frame(Err(why.into()));
                    }
                    Ok((_, 0)) => return Next::More,
                    Ok((Piece::Data, here)) => return data(inbound, here),
                    Ok((piece, here)) => {
                        if piece == Piece::Trailers {
                            self.trailers.extend_from_slice(inbound.get(..here).unwrap_or_default());
                        }
                        inbound.advance(here);
                        if chunked.is_done() {
                            let trailers = self.take_trailers();
                            self.rest = match trailers {
                                Some(Err(_)) => Rest::Broken,
                                _ => Rest::Nothing,
                            };
                            return trailers.map_or(Next::Over, Next::Frame);
                        }
                    }
                },
                Rest::ToEnd => return data(inbound, inbound.len()),
            }
        }
    }

    /// The connection has ended. `false`: in the middle of the body.
    pub(crate) fn end(&mut self) -> bool {
        let is_its_end = matches!(self.rest, Rest::ToEnd | Rest::Nothing);
        if is_its_end {
            self.rest = Rest::Nothing;
        }
        is_its_end
    }

    fn take_trailers(&mut self) -> Option<Result<Frame<Bytes>, BoxError>> {
        /// The blank line alone.
        const NONE: usize = 2;
        if self.trailers.len() <= NONE {
            self.trailers.clear();
            return None;
        }
        // A line in front, as a head has one.
        let section = [b"\r\n", self.trailers.as_slice()].concat();
        self.trailers.clear();
        Some(fields(&Bytes::from(section)).map(Frame::trailers).map_err(Into::into))
    }
}

fn data(inbound: &mut BytesMut, here: usize) -> Next {
    let data = match inbound.get(..here) {
        Some(small) if here < COPIED_BYTES_MAX => {
            let copy = Bytes::copy_from_slice(small);
            inbound.advance(here);
            copy
        }
        _ => inbound.split_to(here).freeze(),
    };
    Next::Frame(Ok(Frame::data(data)))
}

/// The fields of a section whose first line is none. Values are parts of `section`; nothing is copied.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn fields(section: &Bytes) -> Result<HeaderMap, String> {
    let lines = section.iter().filter(|byte| **byte == b'\n').count().saturating_sub(2);
    if lines > LINES_MAX {
        return Err("there are too many header lines".to_owned());
    }
    let mut fields = HeaderMap::with_capacity(lines);
    let mut read = 0;
    for (name, value) in header_lines(section) {
        append(&mut fields, section, name, value)?;
        read += 1;
    }
    // A line without a colon ends the iteration early.
    if read == lines { Ok(fields) } else { Err("a header line has no name".to_owned()) }
}

/// Adds a field whose value is a part of `section`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn append(
    fields: &mut HeaderMap,
    section: &Bytes,
    name: &[u8],
    value: &[u8],
) -> Result<(), &'static str> {
    let name = HeaderName::from_bytes(name).map_err(|_| "a header name is odd")?;
    let value = HeaderValue::from_maybe_shared(section.slice_ref(value))
        .map_err(|_| "a header value holds a control character")?;
    fields.try_append(name, value).map_err(|_| "there are too many header lines")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_broke_is_never_over_however_often_it_is_asked() {
        // The second half would be a size and a trailer to a reader that forgot where it stood.
        for text in [&b"1\r\na\r\n0x: y\r\n\r\n"[..], b"1\r\nab", b"x\r\n"] {
            let mut body = FramedBody::chunked(Chunked::new());
            let mut inbound = BytesMut::from(text);
            let mut faults = 0;
            for _ in 0..10 {
                match body.take(&mut inbound) {
                    Next::Frame(Err(_)) => faults += 1,
                    Next::Frame(Ok(frame)) => assert_eq!(frame.into_data().unwrap(), "a"),
                    next => panic!("{text:?}: {next:?}"),
                }
            }
            assert!(faults >= 9 && !body.is_over() && !body.end(), "{text:?}");
        }
    }

    #[test]
    fn a_small_piece_does_not_hold_its_buffer() {
        let mut inbound = BytesMut::with_capacity(64 * 1024);
        inbound.extend_from_slice(b"1\r\na\r\n");
        let mut body = FramedBody::chunked(Chunked::new());
        let Next::Frame(Ok(frame)) = body.take(&mut inbound) else { panic!("a piece") };
        let piece = frame.into_data().unwrap();
        inbound.clear();
        assert!(inbound.try_reclaim(60 * 1024), "the buffer is nobody else's");
        assert_eq!(piece, "a");
    }
}
