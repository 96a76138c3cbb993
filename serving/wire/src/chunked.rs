// SPDX-License-Identifier: Apache-2.0
//! The strict reading of chunked framing (RFC 9112 §7.1): bytes are checked, and passed on unchanged
//! ([`Chunked::take`]) or taken apart ([`Chunked::next`]).

use crate::http1_head::is_token;

/// Where in the framing the stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunked {
    state: State,
    /// Bytes of framing (sizes, extensions, trailers) since the last data byte.
    overhead: usize,
    /// Whether something may stand behind a size.
    takes_extensions: bool,
}

/// What bytes of a chunked body are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Sizes and line ends.
    Framing,
    /// The body.
    Data,
    /// Lines of the trailer section, the blank line at its end included.
    Trailers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size {
        value: u64,
        digits: u8,
    },
    /// Behind a size, in blanks.
    Padding {
        value: u64,
    },
    /// Behind a size, in what is not understood.
    Extension {
        value: u64,
    },
    SizeLf {
        value: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At the beginning of a trailer line.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Done,
}

/// Framing bytes between two data bytes: enough for any extension or trailer seen in the wild, too few
/// to keep a connection busy with nothing.
const OVERHEAD_MAX: usize = 4096;

/// Hexadecimal digits of a size: 15 fit every reader's signed 64-bit integer.
const DIGITS_MAX: u8 = 15;

impl Default for Chunked {
    fn default() -> Self {
        Self::new()
    }
}

impl Chunked {
    /// At the beginning of a request's body, which is passed on as it is.
    pub const fn new() -> Self {
        Self { state: State::Size { value: 0, digits: 0 }, overhead: 0, takes_extensions: false }
    }

    /// At the beginning of an answer's body, which is taken apart and framed anew. Servers are not strangers:
    /// some pad their sizes with blanks, and a few send extensions.
    pub const fn of_answer() -> Self {
        Self { takes_extensions: true, ..Self::new() }
    }

    /// Whether the last chunk and its trailers have been read.
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// How many of `bytes` belong to this body; the rest is the next request's.
    ///
    /// # Errors
    /// When the framing is not exactly as the RFC says.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let mut used = 0;
        loop {
            match self.next(bytes.get(used..).unwrap_or_default())? {
                (_, 0) => return Ok(used),
                (_, here) => used += here,
            }
        }
    }

    /// What `bytes` begin with, and how many of them are that: 0 when there are none, or the body is over.
    ///
    /// # Errors
    /// As of [`Self::take`].
    pub fn next(&mut self, bytes: &[u8]) -> Result<(Piece, usize), &'static str> {
        if let State::Data { left } = self.state {
            let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let left = left - here as u64;
            self.state = if left == 0 { State::DataCr } else { State::Data { left } };
            self.overhead = 0;
            return Ok((Piece::Data, here));
        }
        let is_trailers = self.is_in_trailers();
        let mut used = 0;
        while let Some(byte) = bytes.get(used) {
            let is_over = matches!(self.state, State::Data { .. } | State::Done);
            if is_over || self.is_in_trailers() != is_trailers {
                break;
            }
            self.state = self.step(*byte)?;
            used += 1;
            self.overhead += 1;
            if self.overhead > OVERHEAD_MAX {
                return Err("too much chunk framing");
            }
        }
        Ok((if is_trailers { Piece::Trailers } else { Piece::Framing }, used))
    }

    const fn is_in_trailers(&self) -> bool {
        matches!(
            self.state,
            State::Trailer | State::TrailerName | State::TrailerValue | State::TrailerLf | State::LastLf
        )
    }

    fn step(&self, byte: u8) -> Result<State, &'static str> {
        match (self.state, byte) {
            (State::Size { value, digits }, _) if byte.is_ascii_hexdigit() => {
                if digits == DIGITS_MAX {
                    return Err("a chunk size is too long");
                }
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                Ok(State::Size { value: value * 16 + digit, digits: digits + 1 })
            }
            (State::Size { digits: 0, .. }, _) => Err("a chunk size is not hexadecimal"),
            (State::Size { value, .. }, b'\r') => Ok(State::SizeLf { value }),
            (State::Size { value, .. }, b' ' | b'\t') if self.takes_extensions => {
                Ok(State::Padding { value })
            }
            (State::Size { value, .. }, b';') if self.takes_extensions => Ok(State::Extension { value }),
            (State::Padding { .. }, b' ' | b'\t') => Ok(self.state),
            (State::Padding { value }, b';') => Ok(State::Extension { value }),
            (State::Padding { value } | State::Extension { value }, b'\r') => Ok(State::SizeLf { value }),
            (State::Extension { value }, b'\t' | b' '..=0x7e | 0x80..) => Ok(State::Extension { value }),
            // In requests they are refused: nobody uses them, and readers differ in where they end.
            (State::Size { .. }, _) => Err("a chunk size is not hexadecimal"),
            (State::SizeLf { value: 0 }, b'\n') => Ok(State::Trailer),
            (State::SizeLf { value }, b'\n') => Ok(State::Data { left: value }),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size { value: 0, digits: 0 }),
            (State::Trailer, b'\r') => Ok(State::LastLf),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::Trailer | State::TrailerName, _) if is_token(byte) => Ok(State::TrailerName),
            (State::Trailer | State::TrailerName, _) => Err("a trailer line is folded or has no name"),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, b'\t' | b' '..=0x7e | 0x80..) => Ok(State::TrailerValue),
            (State::TrailerValue, _) => Err("a trailer holds a control character"),
            (State::TrailerLf, b'\n') => Ok(State::Trailer),
            (State::LastLf, b'\n') => Ok(State::Done),
            _ => Err("chunk framing is broken"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<(usize, bool), &'static str> {
        let mut chunked = Chunked::new();
        let used = chunked.take(bytes)?;
        Ok((used, chunked.is_done()))
    }

    #[test]
    fn only_exact_framing_passes() {
        for (bytes, want) in [
            (&b"3\r\nabc\r\n0\r\n\r\nNEXT"[..], Ok((13, true))),
            (b"0\r\nX: y\r\n\r\n", Ok((11, true))),
            (b"A\r\n0123456789\r\n", Ok((15, false))),
            (b"3\r\nab", Ok((5, false))),
        ] {
            assert_eq!(read(bytes), want, "{:?}", String::from_utf8_lossy(bytes));
        }
        for bytes in [
            &b"3;ext=1\r\nabc\r\n"[..],
            b"3 \r\nabc",
            b" 3\r\nabc",
            b"0x3\r\nabc",
            b"-1\r\n",
            b"g\r\n",
            b"\r\n",
            b"3\nabc",
            b"3\r\nabcX",
            b"3\r\nabc\n",
            b"0000000000000003\r\nabc",
            b"ffffffffffffffff\r\n",
            b"0\r\n\n",
            b"0\r\nX: y\n",
            b"0\r\n X: y\r\n",
            b"0\r\n: y\r\n",
            b"0\r\nX : y\r\n",
            b"0\r\nX\r\n",
            b"0\r\nX: a\0b\r\n",
            b"0\r\nX: a\rb\r\n",
            b"0\r\nX: y\r\n\tz\r\n",
        ] {
            assert!(read(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
        let endless = [&b"0\r\n"[..], &b"X: y\r\n".repeat(1000)].concat();
        assert!(read(&endless).is_err());
    }

    /// Data and trailers of an answer's body that comes in pieces, and whether it is over.
    fn taken_apart(bytes: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<u8>, bool), &'static str> {
        let mut chunked = Chunked::of_answer();
        let (mut data, mut trailers) = (Vec::new(), Vec::new());
        for mut part in bytes.chunks(piece) {
            loop {
                let (kind, here) = chunked.next(part)?;
                let (taken, rest) = part.split_at(here);
                match kind {
                    Piece::Data => data.extend(taken),
                    Piece::Trailers => trailers.extend(taken),
                    Piece::Framing => {}
                }
                if here == 0 {
                    break;
                }
                part = rest;
            }
        }
        Ok((data, trailers, chunked.is_done()))
    }

    #[test]
    fn an_answer_is_taken_apart_however_it_arrives() {
        for (bytes, data, trailers, is_done) in [
            (&b"3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n"[..], &b"abcde"[..], &b"X: y\r\n\r\n"[..], true),
            (b"3  \r\nabc\r\n0\r\n\r\nHTTP", b"abc", b"\r\n", true),
            (b"3;a=\"b\"\r\nabc\r\n0;x\r\n\r\n", b"abc", b"\r\n", true),
            (b"3\r\nab", b"ab", b"", false),
            (b"3\r\nabc\r\n0\r\nX:", b"abc", b"X:", false),
        ] {
            for piece in [1, 2, 3, 7, 100] {
                let want = (data.to_vec(), trailers.to_vec(), is_done);
                assert_eq!(
                    taken_apart(bytes, piece),
                    Ok(want),
                    "{piece}: {}",
                    String::from_utf8_lossy(bytes)
                );
            }
        }
        for bytes in [&b" 3\r\nabc"[..], b";\r\n", b"3;\n", b"3 x\r\n", b"3;\0\r\n", b"3\nabc"] {
            assert!(taken_apart(bytes, 100).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
        let endless = [&b"3;"[..], &b"x".repeat(5000)].concat();
        assert!(taken_apart(&endless, 100).is_err());
    }

    proptest! {
        #[test]
        fn pieces_are_read_as_the_whole(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..30), 0..5),
            piece in 1usize..7,
        ) {
            let mut bytes = Vec::new();
            for chunk in &chunks {
                bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
            let mut chunked = Chunked::new();
            for part in bytes.chunks(piece) {
                prop_assert_eq!(chunked.take(part), Ok(part.len()));
            }
            prop_assert!(chunked.is_done());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _whatever = read(&bytes);
        }
    }
}
