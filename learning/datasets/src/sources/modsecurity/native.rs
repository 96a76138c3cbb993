// SPDX-License-Identifier: Apache-2.0
//! The native form: `--1a2b3c4d-A--` begins a section, and Z ends the entry.

use super::messages::Fired;
use super::settle;
use crate::Record;
use crate::sources::Sink;
use crate::sources::lines::LINE_BYTES_MAX;
use crate::sources::report::Fault;
use crate::sources::request::{header_line, latin, request_line, set_body, set_header, set_target};
use crate::sources::time::micros;

/// The section that a boundary begins: `--1a2b3c4d-B--`, with three dashes in ModSecurity 3. None for other lines.
pub(super) fn boundary(line: &[u8]) -> Option<u8> {
    let line = line.trim_ascii();
    let inner = line.strip_prefix(b"--")?.strip_suffix(b"--")?;
    let inner = inner.strip_prefix(b"-").unwrap_or(inner);
    let (id, section) = inner.split_at_checked(inner.len().checked_sub(2)?)?;
    match section {
        [b'-', section @ b'A'..=b'Z']
            if (4..=32).contains(&id.len()) && id.iter().all(u8::is_ascii_alphanumeric) =>
        {
            Some(*section)
        }
        _ => None,
    }
}

/// The entry that is being read; none before its section A.
#[derive(Default)]
pub(super) struct Open(Option<Entry>);

struct Entry {
    first_line: u64,
    section: u8,
    record: Record,
    body: Vec<u8>,
    fired: Fired,
    /// Found already; the rest is passed over.
    fault: Option<Fault>,
}

impl Open {
    /// No entry is open.
    pub(super) fn is_between(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn take(&mut self, number: u64, line: &[u8], sink: &mut Sink<'_>) {
        match (boundary(line), &mut self.0) {
            (Some(b'A'), _) => {
                self.cut(sink);
                self.0 = Some(Entry::new(number, sink.blank()));
            }
            (Some(b'Z'), _) => self.end(sink),
            (Some(section), Some(entry)) => entry.section = section,
            (None, Some(entry)) => entry.take(line),
            (Some(_), None) => sink.fault(number, Fault::Cut),
            (None, None) if line.trim_ascii().is_empty() => {}
            (None, None) => sink.fault(number, Fault::NotThisFormat),
        }
    }

    /// A line that cannot be used: so cannot the entry.
    pub(super) fn refuse(&mut self, number: u64, fault: Fault, sink: &mut Sink<'_>) {
        match &mut self.0 {
            Some(entry) => entry.fault = Some(fault),
            None => sink.fault(number, fault),
        }
    }

    /// The entry breaks off.
    pub(super) fn cut(&mut self, sink: &mut Sink<'_>) {
        if let Some(entry) = self.0.take() {
            sink.fault(entry.first_line, Fault::Cut);
        }
    }

    fn end(&mut self, sink: &mut Sink<'_>) {
        let Some(mut entry) = self.0.take() else { return };
        if let Some(fault) = entry.fault {
            sink.fault(entry.first_line, fault);
            return;
        }
        set_body(&mut entry.record, entry.body);
        settle(entry.record, &entry.fired, entry.first_line, sink);
    }
}

impl Entry {
    fn new(first_line: u64, record: Record) -> Self {
        Self { first_line, section: b'A', record, body: Vec::new(), fired: Fired::default(), fault: None }
    }

    fn take(&mut self, line: &[u8]) {
        match self.section {
            b'A' => self.take_time_and_client(line),
            b'B' => self.take_head(line),
            b'C' => self.take_body(line),
            b'F' => self.take_answer(line),
            b'H' => self.fired.note_message(&latin(line)),
            _ => {}
        }
    }

    /// `[17/May/2015:10:05:03 +0000] id client port server port`
    fn take_time_and_client(&mut self, line: &[u8]) {
        let line = latin(line);
        let Some((time, rest)) = line.trim().strip_prefix('[').and_then(|line| line.split_once(']')) else {
            return;
        };
        self.record.at_micros = micros(time);
        rest.split_ascii_whitespace().nth(1).unwrap_or_default().clone_into(&mut self.record.client);
    }

    fn take_head(&mut self, line: &[u8]) {
        if self.record.method.is_empty() {
            if let Some((method, target)) = request_line(line) {
                self.record.method = latin(method);
                set_target(&mut self.record, target);
            }
        } else if let Some((name, value)) = header_line(line) {
            set_header(&mut self.record, &name, &value);
        }
    }

    fn take_body(&mut self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        if self.body.len().saturating_add(line.len()) > LINE_BYTES_MAX {
            self.fault = Some(Fault::TooLong);
            return;
        }
        if !self.body.is_empty() {
            self.body.push(b'\n');
        }
        self.body.extend_from_slice(line);
    }

    /// `HTTP/1.1 403 Forbidden`
    fn take_answer(&mut self, line: &[u8]) {
        if self.record.status == 0 && line.starts_with(b"HTTP/") {
            let status = latin(line).split_ascii_whitespace().nth(1).and_then(|status| status.parse().ok());
            self.record.status = status.unwrap_or(0);
        }
    }
}
