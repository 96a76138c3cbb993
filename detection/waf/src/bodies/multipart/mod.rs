// SPDX-License-Identifier: Apache-2.0
//! Forms with files: `multipart/form-data`, with every oddity that ModSecurity tells rules of.
//!
//! ModSecurity gives up at much of what it calls an error. Here the error is kept (the first one) and reading goes on,
//! so that rules see what a more patient backend would.

mod boundary;
mod disposition;
mod error;
mod headers;

use std::ops::Range;

use memchr::memmem::Finder;

pub use error::MultipartError;

use self::boundary::Boundary;
use self::disposition::Disposition;
use self::headers::Headers;
use super::Limits;

/// A field or a file.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    body: &'a [u8],
    value: (usize, usize),
    disposition: &'a Disposition,
    headers: &'a Headers,
}

impl<'a> Part<'a> {
    /// The form's name for it; empty where it has none.
    pub fn name(&self) -> &'a [u8] {
        self.disposition.name().unwrap_or_default()
    }

    /// `filename`; where there is none, `filename*`, decoded.
    pub fn filename(&self) -> Option<&'a [u8]> {
        self.disposition.filename().or_else(|| self.disposition.filename_extended())
    }

    /// `filename*`, decoded. It need not be what `filename` says, and there are backends that go by it.
    pub fn filename_extended(&self) -> Option<&'a [u8]> {
        self.disposition.filename_extended()
    }

    /// Whether it goes to `FILES`: a file name has characters. Browsers send an empty one where no file was chosen.
    pub fn is_file(&self) -> bool {
        let mut names = [self.filename(), self.filename_extended()].into_iter().flatten();
        names.any(|filename| !filename.is_empty())
    }

    /// Whether it goes to `ARGS_POST`: it has no `filename` with characters. With a `filename*` alone it is a file as
    /// well: there are backends that do not know this parameter, and take the part for a field.
    pub fn is_field(&self) -> bool {
        self.disposition.filename().is_none_or(<[u8]>::is_empty)
    }

    /// Its header lines without their ends, as they stand in the body (folded ones in one): `MULTIPART_PART_HEADERS`.
    pub fn headers(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.headers.lines()
    }

    /// Where its value stands in the body.
    pub const fn range(&self) -> Range<usize> {
        self.value.0..self.value.1
    }

    /// Its value.
    pub fn value(&self) -> &'a [u8] {
        self.body.get(self.range()).unwrap_or_default()
    }
}

/// What came of reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many fields were handed over.
    pub fields: usize,
    /// How many files there are. Those past `files_max` were not handed over.
    pub files: usize,
    /// `FILES_COMBINED_SIZE`: the bytes of all of them.
    pub files_bytes: usize,
    /// There are more fields than `arguments_max`, or more files than `files_max`: the rest was not handed over.
    pub is_cut: bool,
    /// What is odd.
    pub flags: Flags,
    /// The first thing that is wrong: `REQBODY_ERROR`.
    pub error: Option<MultipartError>,
}

impl Outcome {
    /// `MULTIPART_STRICT_ERROR`: whether anything is wrong or odd in the way that `modsecurity.conf-recommended`
    /// refuses. Mixed line ends are, as they have lines that end in LF; a boundary without a match has its own rule.
    pub const fn strict_error(&self) -> bool {
        let flags = &self.flags;
        self.error.is_some()
            || flags.boundary_quoted
            || flags.boundary_whitespace
            || flags.data_before
            || flags.data_after
            || flags.header_folding
            || flags.lf_line
            || flags.missing_semicolon
            || flags.invalid_quoting
            || flags.invalid_part
            || flags.invalid_header_folding
            || flags.file_limit_exceeded
    }
}

/// What is odd. Each has the name of its variable, without `MULTIPART_`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The boundary stands in quotes.
    pub boundary_quoted: bool,
    /// There is space around its `=`.
    pub boundary_whitespace: bool,
    /// No semicolon stands before it.
    pub missing_semicolon: bool,
    /// Something stands before the first boundary.
    pub data_before: bool,
    /// Something stands behind the last one.
    pub data_after: bool,
    /// A header line goes on in the next.
    pub header_folding: bool,
    /// It does so after other space than blanks and tabs.
    pub invalid_header_folding: bool,
    /// A boundary, a header line, or the line before a boundary ends in LF alone.
    pub lf_line: bool,
    /// And another in CR LF.
    pub crlf_lf_lines: bool,
    /// Single quotes, or quotes that do not match, in a `Content-Disposition`.
    pub invalid_quoting: bool,
    /// A part has no name, no empty line behind its header, or nothing behind that.
    pub invalid_part: bool,
    /// There are more than `files_max` files.
    pub file_limit_exceeded: bool,
    /// See there.
    pub unmatched_boundary: UnmatchedBoundary,
}

/// `MULTIPART_UNMATCHED_BOUNDARY`: 0, 1 or 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum UnmatchedBoundary {
    /// Nothing looked like a second boundary.
    #[default]
    None = 0,
    /// The end is missing, and behind the last boundary something looks like one. The recommended rule refuses this.
    Unmatched = 1,
    /// The boundaries match: any form that is as it should be.
    Matched = 2,
}

/// Hands over every part, in order.
///
/// Nothing is handed over where `content_type` names no boundary. A part without an end has all there is for a value.
pub fn visit(content_type: &[u8], body: &[u8], limits: &Limits, visitor: impl FnMut(&Part<'_>)) -> Outcome {
    visit_beginning(content_type, (body, false), limits, visitor)
}

/// The same, where there may be more of the body than is seen (`true`): then what the missing rest may well make good is
/// no error: an end that is missing, a last line that is none yet. All else is told as in a whole one.
pub fn visit_beginning(
    content_type: &[u8],
    (body, is_cut): (&[u8], bool),
    limits: &Limits,
    visitor: impl FnMut(&Part<'_>),
) -> Outcome {
    let boundary = Boundary::parse(content_type);
    let mut outcome = Outcome {
        flags: Flags {
            boundary_quoted: boundary.is_quoted,
            boundary_whitespace: boundary.has_whitespace,
            missing_semicolon: boundary.misses_semicolon,
            ..Flags::default()
        },
        error: boundary.error,
        ..Outcome::default()
    };
    if boundary.text.is_empty() || body.is_empty() {
        return outcome;
    }
    let delimiter = [b"\n--", boundary.text.as_slice()].concat();
    let mut reading = Reading {
        body,
        is_cut,
        limits,
        boundary: &boundary,
        finder: Finder::new(&delimiter),
        visitor,
        headers: Headers::default(),
        has_crlf_line: false,
        outcome: &mut outcome,
    };
    reading.form();
    outcome
}

struct Reading<'a, Visitor> {
    body: &'a [u8],
    /// There is more of it.
    is_cut: bool,
    limits: &'a Limits,
    boundary: &'a Boundary,
    /// Finds the delimiter, with the end of the line before it.
    finder: Finder<'a>,
    visitor: Visitor,
    headers: Headers,
    has_crlf_line: bool,
    outcome: &'a mut Outcome,
}

/// A line that is a boundary.
#[derive(Clone, Copy)]
struct Delimiter {
    /// Of the end of the line before it, that is its LF; of itself at the body's start.
    start: usize,
    /// Of the next line.
    next: usize,
    is_final: bool,
}

/// What ends the header of a part.
enum HeaderEnd {
    /// An empty line: here starts the value.
    Value(usize),
    Delimiter(Delimiter),
    Body,
}

impl<Visitor: FnMut(&Part<'_>)> Reading<'_, Visitor> {
    fn form(&mut self) {
        let last = self.parts();
        let flags = &mut self.outcome.flags;
        flags.crlf_lf_lines = flags.lf_line && self.has_crlf_line;
        match last {
            Some(end) => flags.data_after = end < self.body.len(),
            None if self.is_cut => {}
            None => self.note(MultipartError::FinalDelimiterMissing),
        }
        self.disguised(last.unwrap_or(self.body.len()));
    }

    /// Where the form ends; `None`: its end is missing.
    fn parts(&mut self) -> Option<usize> {
        let Some(mut delimiter) = self.first() else {
            if self.is_cut && self.may_begin_with_delimiter() {
                return None;
            }
            self.outcome.flags.data_before = true;
            self.look_for_unmatched(0);
            self.note(MultipartError::NoDelimiter);
            return None;
        };
        self.outcome.flags.data_before = delimiter.start > 0;
        while !delimiter.is_final {
            delimiter = self.part(delimiter.next)?;
            self.outcome.flags.unmatched_boundary = UnmatchedBoundary::Matched;
        }
        Some(delimiter.next)
    }

    /// Whether all there is is the beginning of the first boundary's line.
    fn may_begin_with_delimiter(&self) -> bool {
        let opening = self.finder.needle().get(1..).unwrap_or_default();
        let is_one_line = memchr::memchr(b'\n', self.body).is_none();
        is_one_line && (opening.starts_with(self.body) || self.body.starts_with(opening))
    }

    fn first(&mut self) -> Option<Delimiter> {
        let opening = self.finder.needle().get(1..).unwrap_or_default();
        if self.body.starts_with(opening) {
            let delimiter = self.delimiter(0, opening.len());
            if delimiter.is_some() {
                return delimiter;
            }
        }
        self.next(0)
    }

    /// Reads a part from its first header line to the boundary behind it, which it gives.
    fn part(&mut self, at: usize) -> Option<Delimiter> {
        self.headers.clear();
        let start = match self.header(at) {
            HeaderEnd::Value(start) => start,
            HeaderEnd::Delimiter(delimiter) => {
                self.outcome.flags.invalid_part = true;
                return Some(delimiter);
            }
            HeaderEnd::Body => {
                self.outcome.flags.invalid_part |= !self.is_cut;
                return None;
            }
        };
        // The empty line's own end may be that before the boundary.
        let delimiter = self.next(start.saturating_sub(1));
        let end = match delimiter {
            Some(delimiter) => self.value_end(start, delimiter.start),
            None => {
                self.look_for_unmatched(start.saturating_sub(1));
                self.body.len()
            }
        };
        self.hand_over(start, end);
        delimiter
    }

    /// Without the line end before the boundary.
    fn value_end(&mut self, start: usize, line_feed: usize) -> usize {
        if line_feed < start {
            self.outcome.flags.invalid_part = true;
            return start;
        }
        let value = self.body.get(start..line_feed).unwrap_or_default();
        match value.strip_suffix(b"\r") {
            Some(value) => start + value.len(),
            None => {
                self.outcome.flags.lf_line = true;
                line_feed
            }
        }
    }

    fn header(&mut self, from: usize) -> HeaderEnd {
        let mut at = from;
        loop {
            let rest = self.body.get(at..).unwrap_or_default();
            let opening = self.finder.needle().get(1..).unwrap_or_default();
            if rest.starts_with(opening)
                && let Some(delimiter) = self.delimiter(at, at + opening.len())
            {
                return HeaderEnd::Delimiter(delimiter);
            }
            let Some(length) = memchr::memchr(b'\n', rest) else {
                return HeaderEnd::Body;
            };
            at += length + 1;
            let line = rest.get(..length).unwrap_or_default();
            let line = self.line_end(line);
            if line.is_empty() {
                return HeaderEnd::Value(at);
            }
            if let Err(error) = self.headers.push(line, self.limits, &mut self.outcome.flags) {
                self.note(error);
            }
        }
    }

    /// The line without its CR.
    fn line_end<'t>(&mut self, line: &'t [u8]) -> &'t [u8] {
        match line.strip_suffix(b"\r") {
            Some(line) => {
                self.has_crlf_line = true;
                line
            }
            None => {
                self.outcome.flags.lf_line = true;
                line
            }
        }
    }

    fn hand_over(&mut self, start: usize, end: usize) {
        let disposition = self.headers.disposition();
        match &disposition {
            None => self.note(MultipartError::DispositionMissing),
            Some(found) if found.is_malformed || found.name().is_none_or(<[u8]>::is_empty) => {
                self.note(MultipartError::Disposition);
            }
            Some(_) => {}
        }
        let disposition = disposition.unwrap_or_default();
        self.outcome.flags.invalid_quoting |= disposition.has_invalid_quoting;
        self.outcome.flags.invalid_part |= disposition.name().is_none_or(<[u8]>::is_empty);
        let part =
            Part { body: self.body, value: (start, end), disposition: &disposition, headers: &self.headers };
        if self.outcome.count(&part, self.limits) {
            (self.visitor)(&part);
        }
    }

    /// The next boundary whose line before it ends at `from` or later.
    fn next(&mut self, from: usize) -> Option<Delimiter> {
        let mut at = from;
        loop {
            let start = at + self.finder.find(self.body.get(at..)?)?;
            at = start + self.finder.needle().len();
            if let Some(delimiter) = self.delimiter(start, at) {
                return Some(delimiter);
            }
        }
    }

    /// Whether the line is a boundary to its end: behind it, at `at`, there may be the two dashes of the last.
    fn delimiter(&mut self, start: usize, at: usize) -> Option<Delimiter> {
        let rest = self.body.get(at..).unwrap_or_default();
        let is_final = rest.starts_with(b"--");
        let rest = if is_final { rest.get(2..).unwrap_or_default() } else { rest };
        let end = memchr::memchr(b'\n', rest);
        let line = end.map_or(rest, |end| rest.get(..end).unwrap_or_default());
        let may_go_on = self.is_cut && end.is_none() && !is_final;
        if !line.trim_ascii().is_empty() {
            if !(may_go_on && line == b"-") {
                self.note(MultipartError::DelimiterGoesOn);
            }
            return None;
        }
        if !matches!(line, b"" | b"\r") {
            self.note(MultipartError::DelimiterWhitespace);
        }
        if may_go_on {
            return None;
        }
        if end.is_some() {
            self.line_end(line);
        }
        let length = end.map_or(rest.len(), |end| end + 1);
        Some(Delimiter { start, next: self.body.len() - (rest.len() - length), is_final })
    }

    /// Whether a line from there on looks like a boundary, or has one in it. Of a body that goes on nobody can tell: its
    /// last boundary may be still to come.
    fn look_for_unmatched(&mut self, from: usize) {
        if self.is_cut {
            return;
        }
        let rest = self.body.get(from..).unwrap_or_default();
        let opening = self.finder.needle().get(1..).unwrap_or_default();
        let is_like_one =
            (from == 0 && rest.starts_with(b"--")) || memchr::memmem::find(rest, b"\n--").is_some();
        if is_like_one || memchr::memmem::find(rest, opening).is_some() {
            self.outcome.flags.unmatched_boundary = UnmatchedBoundary::Unmatched;
        }
    }

    /// Boundaries that only some backends would take for one.
    fn disguised(&mut self, end: usize) {
        let body = self.body.get(..end).unwrap_or(self.body);
        // Where the last text before ends, and how far that is known: each byte is looked at once, however long the space
        // before a boundary is.
        let (mut text_end, mut seen) = (0, 0);
        for at in memchr::memmem::find_iter(body, &self.boundary.text) {
            let new = body.get(seen..at).unwrap_or_default();
            if let Some(last) = new.iter().rposition(|byte| !byte.is_ascii_whitespace()) {
                text_end = seen + last + 1;
            }
            seen = at;
            let before = body.get(..at).unwrap_or_default();
            let (opening, error) = match before.last() {
                Some(b'"') if self.boundary.is_quoted => {
                    (before.get(..at - 1).unwrap_or_default(), MultipartError::DelimiterQuoted)
                }
                Some(byte) if byte.is_ascii_whitespace() => {
                    (before.get(..text_end).unwrap_or_default(), MultipartError::DelimiterWhitespace)
                }
                _ => continue,
            };
            let is_line =
                opening.strip_suffix(b"--").is_some_and(|line| matches!(line.last(), None | Some(b'\n')));
            if is_line {
                self.note(error);
            }
        }
    }

    fn note(&mut self, error: MultipartError) {
        self.outcome.error.get_or_insert(error);
    }
}

impl Outcome {
    /// Whether it is to be handed over.
    fn count(&mut self, part: &Part<'_>, limits: &Limits) -> bool {
        if part.is_file() {
            self.files += 1;
            self.files_bytes += part.range().len();
            if self.files > limits.files_max {
                self.flags.file_limit_exceeded = true;
                self.is_cut = true;
                return false;
            }
        }
        if part.is_field() {
            if self.fields >= limits.arguments_max {
                self.error.get_or_insert(MultipartError::TooManyFields);
                self.is_cut = true;
                return false;
            }
            self.fields += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests;
