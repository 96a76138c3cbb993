// SPDX-License-Identifier: Apache-2.0
//! Lines of a stream, one at a time and none longer than a bound: logs have gigabytes, and broken ones have no ends.

use std::io::{self, BufRead};

/// Bytes of a line; the longest that servers write are their limits for a request's head, 8 to 64 KiB, escaped.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// See the module.
#[expect(missing_debug_implementations, reason = "a stream has none")]
pub struct Lines<'a> {
    input: &'a mut dyn BufRead,
    text: Vec<u8>,
    number: u64,
}

/// A line without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// As it stands.
    Text(&'a [u8]),
    /// Over [`LINE_BYTES_MAX`]: passed over.
    TooLong,
}

impl<'a> Lines<'a> {
    /// Of a stream.
    pub fn new(input: &'a mut dyn BufRead) -> Self {
        Self { input, text: Vec::new(), number: 0 }
    }

    /// The next line and its number, from 1; none at the end. A line that the stream's end cuts is a line.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<(u64, Line<'_>)>> {
        self.text.clear();
        let (mut is_any, mut is_too_long) = (false, false);
        loop {
            let piece = match self.input.fill_buf() {
                Ok(piece) => piece,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if piece.is_empty() {
                break;
            }
            is_any = true;
            let end = memchr::memchr(b'\n', piece);
            let text = piece.get(..end.unwrap_or(piece.len())).unwrap_or_default();
            is_too_long |= self.text.len().saturating_add(text.len()) > LINE_BYTES_MAX;
            if !is_too_long {
                self.text.extend_from_slice(text);
            }
            let used = end.map_or(piece.len(), |end| end + 1);
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        if !is_any {
            return Ok(None);
        }
        self.number += 1;
        let line = if is_too_long { Line::TooLong } else { Line::Text(bare(&self.text, self.number)) };
        Ok(Some((self.number, line)))
    }
}

/// Without the carriage return of other systems, and without the mark that some editors set before a text.
fn bare(text: &[u8], number: u64) -> &[u8] {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if number == 1 { text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text) } else { text }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor, Read as _};

    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8], capacity: usize) -> Vec<Option<Vec<u8>>> {
        let mut input = BufReader::with_capacity(capacity, Cursor::new(bytes));
        let mut lines = Lines::new(&mut input);
        let mut all = Vec::new();
        while let Some((number, line)) = lines.next_line().unwrap() {
            all.push(match line {
                Line::Text(text) => Some(text.to_vec()),
                Line::TooLong => None,
            });
            assert_eq!(number, u64::try_from(all.len()).unwrap());
        }
        all
    }

    #[test]
    fn lines_end_as_other_systems_end_them_and_long_ones_are_passed_over() {
        let long = vec![b'a'; LINE_BYTES_MAX + 1];
        let text = [b"\xef\xbb\xbfone\r\n\n".as_slice(), &long, b"\nlast"].concat();
        let want = [Some(b"one".to_vec()), Some(Vec::new()), None, Some(b"last".to_vec())];
        assert_eq!(all(&text, 4096), want);
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let mut input = BufReader::new(io::repeat(b'a').take(32 << 20).chain(&b"\nlast"[..]));
        let mut lines = Lines::new(&mut input);
        assert_eq!(lines.next_line().unwrap(), Some((1, Line::TooLong)));
        assert!(lines.text.capacity() <= 2 * LINE_BYTES_MAX);
        assert_eq!(lines.next_line().unwrap(), Some((2, Line::Text(b"last"))));
        assert_eq!(lines.next_line().unwrap(), None);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_stream_comes(bytes: Vec<u8>, capacity in 1_usize..64) {
            let end = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            let want = end.split(|byte| *byte == b'\n').count();
            let want = if bytes.is_empty() { 0 } else { want };
            prop_assert_eq!(all(&bytes, capacity).len(), want);
            prop_assert_eq!(all(&bytes, capacity), all(&bytes, 4096));
        }
    }
}
