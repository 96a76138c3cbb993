// SPDX-License-Identifier: Apache-2.0
//! HTTP CSIC 2010 as it was published: requests as text, one after the other, blank lines between. The caller says
//! whether a file is the normal or the anomalous one.
//!
//! All of its requests share one agent and the same headers: those are made up, and nothing may learn from them.

use std::io;

use super::group::normalised;
use super::lines::{LINE_BYTES_MAX, Line, Lines};
use super::report::Fault;
use super::request::{header_line, latin, request_line, set_body, set_header, set_target};
use super::{Sink, Source};
use crate::Record;

/// See the module.
pub(super) struct Csic;

impl Source for Csic {
    fn name(&self) -> &'static str {
        "csic"
    }

    fn recognises(&self, head: &[&[u8]]) -> bool {
        head.first().is_some_and(|line| request_line(line).is_some())
            && head.iter().skip(1).take(1).all(|line| header_line(line).is_some())
    }

    fn read(&self, lines: &mut Lines<'_>, sink: &mut Sink<'_>) -> io::Result<()> {
        let mut open = Open::default();
        while !sink.is_stopped()
            && let Some((number, line)) = lines.next_line()?
        {
            match line {
                Line::TooLong => open.refuse(number, Fault::TooLong, sink),
                Line::Text(line) => open.take(number, line, sink),
            }
        }
        if !sink.is_stopped() {
            open.end(sink);
        }
        Ok(())
    }
}

/// The request that is being read.
#[derive(Default)]
struct Open {
    part: Part,
    record: Option<Record>,
    body: Vec<u8>,
}

/// What comes next.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    /// A request line.
    #[default]
    Start,
    /// Header lines, up to a blank one.
    Headers,
    /// A body, up to a blank line.
    Body,
    /// Nothing of use before the next request line: the fault is counted already.
    Skip,
}

impl Open {
    fn take(&mut self, number: u64, line: &[u8], sink: &mut Sink<'_>) {
        if let Some((method, target)) = request_line(line) {
            self.end(sink);
            self.begin(method, target, sink);
            return;
        }
        match self.part {
            Part::Headers if line.is_empty() => self.end_headers(sink),
            Part::Headers => match (header_line(line), &mut self.record) {
                (Some((name, value)), Some(record)) => set_header(record, &name, &value),
                _ => self.refuse(number, Fault::NotThisFormat, sink),
            },
            Part::Body if line.is_empty() => self.end(sink),
            Part::Body => self.add_to_body(number, line, sink),
            Part::Start if !line.is_empty() => self.refuse(number, Fault::NotThisFormat, sink),
            Part::Start | Part::Skip => {}
        }
    }

    fn begin(&mut self, method: &[u8], target: &[u8], sink: &Sink<'_>) {
        let mut record = Record { method: latin(method), ..sink.blank() };
        set_target(&mut record, target);
        *self = Self { part: Part::Headers, record: Some(record), body: Vec::new() };
    }

    fn end_headers(&mut self, sink: &mut Sink<'_>) {
        let has_body = self.record.as_ref().is_some_and(|record| record.content_length > 0);
        if has_body {
            self.part = Part::Body;
        } else {
            self.end(sink);
        }
    }

    fn add_to_body(&mut self, number: u64, line: &[u8], sink: &mut Sink<'_>) {
        if self.body.len().saturating_add(line.len()) > LINE_BYTES_MAX {
            self.refuse(number, Fault::TooLong, sink);
            return;
        }
        if !self.body.is_empty() {
            self.body.push(b'\n');
        }
        self.body.extend_from_slice(line);
    }

    fn refuse(&mut self, number: u64, fault: Fault, sink: &mut Sink<'_>) {
        if self.part != Part::Skip {
            sink.fault(number, fault);
        }
        *self = Self { part: Part::Skip, ..Self::default() };
    }

    fn end(&mut self, sink: &mut Sink<'_>) {
        let Self { record, body, .. } = std::mem::take(self);
        let Some(mut record) = record else { return };
        set_body(&mut record, body);
        record.group = normalised(&record);
        sink.record(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::tests::{Read, read_text};

    #[test]
    fn requests_with_and_without_bodies_follow_each_other() {
        let text = "GET http://localhost:8080/a.jsp?id=1 HTTP/1.1\r\nHost: localhost:8080\r\nCookie: J=1\r\n\r\n\r\n\
            POST http://localhost:8080/b.jsp HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\
            Content-Length: 4\r\n\r\nid=2\r\n\r\nPUT /c HTTP/1.1\r\nContent-Length: 3\r\n\r\nx=3";
        let Read { records, report } = read_text("csic", text).unwrap();
        let got: Vec<_> =
            records.iter().map(|record| (&*record.path, &*record.query, &*record.body)).collect();
        let want = [("/a.jsp", "id=1", &b""[..]), ("/b.jsp", "", b"id=2"), ("/c", "", b"x=3")];
        assert_eq!(got, want);
        assert_eq!(report.broken(), 0);
        let first = records.first().unwrap();
        assert_eq!((&*first.host, &*first.cookies, &*first.group), ("localhost", "J=1", "/a.jsp?id=0"));
        assert!(!first.has_own_headers);
    }

    #[test]
    fn what_is_no_request_is_one_fault_up_to_the_next() {
        let text = "GET /a HTTP/1.1\n\nstray\nstray again\n\nGET /b HTTP/1.1\nno header\nmore\n\nGET /c HTTP/1.1\n\n";
        let Read { records, report } = read_text("csic", text).unwrap();
        let paths: Vec<_> = records.iter().map(|record| &*record.path).collect();
        assert_eq!(paths, ["/a", "/c"]);
        let (fault, found) = report.commonest().unwrap();
        assert_eq!((fault, &*found.first_lines), (Fault::NotThisFormat, &[3, 7][..]));
    }

    #[test]
    fn bodies_in_latin_1_stay_as_they_came() {
        let text = b"POST /b\xf1 HTTP/1.1\nContent-Length: 3\n\na=\xf1\n";
        let mut records = Vec::new();
        let options = crate::sources::ReadOptions { format: Some("csic".into()), ..Default::default() };
        let report = crate::sources::read_from(&mut &text[..], &options, &mut |record| {
            records.push(record);
            std::ops::ControlFlow::Continue(())
        });
        assert_eq!(report.unwrap().records, 1);
        let record = records.first().unwrap();
        assert_eq!((&*record.path, &*record.body), ("/b%F1", &b"a=\xf1"[..]));
    }
}
