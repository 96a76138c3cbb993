// SPDX-License-Identifier: Apache-2.0
//! The header of a part, line by line.

use std::ops::Range;

use super::disposition::Disposition;
use super::{Flags, MultipartError};
use crate::bodies::Limits;

/// The header lines of a part. Its buffers are used again for the next part.
#[derive(Clone, Debug, Default)]
pub(super) struct Headers {
    text: Vec<u8>,
    lines: Vec<Range<usize>>,
    /// Which line, and where its value starts in `text`.
    disposition: Option<(usize, usize)>,
    has_content_type: bool,
    has_transfer_encoding: bool,
    /// The last line was kept and may go on.
    is_open: bool,
}

/// What may be odd about a line.
type Noted = Result<(), MultipartError>;

impl Headers {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.lines.clear();
        self.disposition = None;
        self.has_content_type = false;
        self.has_transfer_encoding = false;
        self.is_open = false;
    }

    /// The lines, without their ends; one that was folded is one line.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().map(|line| self.text.get(line.clone()).unwrap_or_default())
    }

    /// What the first `Content-Disposition` says.
    pub(super) fn disposition(&self) -> Option<Disposition> {
        let (line, value) = self.disposition?;
        let end = self.lines.get(line)?.end;
        Some(Disposition::parse(self.text.get(value..end)?.trim_ascii()))
    }

    /// Takes a line, without its end; it is not empty.
    pub(super) fn push(&mut self, line: &[u8], limits: &Limits, flags: &mut Flags) -> Noted {
        let is_whole = if line.first().is_some_and(is_space) {
            self.push_folded(line, limits, flags)
        } else {
            self.push_new(line, limits)
        };
        if memchr::memchr(0, line).is_some() { Err(MultipartError::HeaderNul) } else { is_whole }
    }

    fn push_folded(&mut self, line: &[u8], limits: &Limits, flags: &mut Flags) -> Noted {
        let start = line.iter().position(|byte| !is_space(byte)).unwrap_or(line.len());
        let (prefix, value) = line.split_at(start);
        flags.header_folding = true;
        flags.invalid_header_folding |= !prefix.iter().all(|byte| matches!(byte, b' ' | b'\t'));
        let last = self.lines.last_mut().filter(|_| self.is_open).ok_or(MultipartError::HeaderFolding)?;
        self.text.push(b' ');
        self.text.extend_from_slice(value);
        last.end = self.text.len();
        fits(last.len(), limits)
    }

    fn push_new(&mut self, line: &[u8], limits: &Limits) -> Noted {
        self.is_open = false;
        let colon = memchr::memchr(b':', line).ok_or(MultipartError::HeaderColonMissing)?;
        let name = line.get(..colon).unwrap_or_default();
        let is_disposition = name.trim_ascii().eq_ignore_ascii_case(b"Content-Disposition");
        let is_first_disposition = is_disposition && self.disposition.is_none();
        if self.lines.len() >= limits.part_headers_max && !is_first_disposition {
            return Err(MultipartError::TooManyHeaders);
        }
        let start = self.text.len();
        self.text.extend_from_slice(line);
        if is_first_disposition {
            self.disposition = Some((self.lines.len(), start + colon + 1));
        }
        self.lines.push(start..self.text.len());
        self.is_open = true;
        let is_again = if is_disposition { !is_first_disposition } else { self.is_again(name) };
        if is_again {
            return Err(MultipartError::HeaderTwice);
        }
        is_name(name)?;
        fits(line.len(), limits)
    }

    /// Whether it is a second one of those that backends go by.
    fn is_again(&mut self, name: &[u8]) -> bool {
        let has = if name.eq_ignore_ascii_case(b"Content-Type") {
            &mut self.has_content_type
        } else if name.eq_ignore_ascii_case(b"Content-Transfer-Encoding") {
            &mut self.has_transfer_encoding
        } else {
            return false;
        };
        std::mem::replace(has, true)
    }
}

/// As C's `isspace`.
const fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn is_name(name: &[u8]) -> Noted {
    if name.is_empty() {
        return Err(MultipartError::HeaderNameMissing);
    }
    if name.iter().all(u8::is_ascii_graphic) { Ok(()) } else { Err(MultipartError::HeaderCharacter) }
}

const fn fits(bytes: usize, limits: &Limits) -> Noted {
    if bytes > limits.part_header_bytes_max { Err(MultipartError::HeaderTooLong) } else { Ok(()) }
}
