// SPDX-License-Identifier: Apache-2.0
//! Where readers put what they find: completes a record with what the caller said of the file, and keeps the report.

use std::ops::ControlFlow;

use super::group::normalised;
use super::report::{Fault, ReadReport};
use crate::{Label, LabelSource, Record};

/// Gets each record; breaks off when it has had enough.
pub type Visitor<'a> = dyn FnMut(Record) -> ControlFlow<()> + 'a;

/// What the caller says of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The format's name; recognised by the first lines if none is given.
    pub format: Option<String>,
    /// What its records call their source; the file's name up to the first point if none is given. Files that
    /// name the source in each line keep theirs.
    pub source: Option<String>,
    /// What all records are that the file does not label. Files that label each record (`labelled`) keep theirs.
    pub label: Option<GivenLabel>,
    /// What kind all records are of which the file does not tell.
    pub class: Option<String>,
    /// What must not be torn apart.
    pub group_by: GroupBy,
}

/// A label, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenLabel {
    /// What they are.
    pub label: Label,
    /// Who says so.
    pub source: LabelSource,
}

/// What makes a group where a source does not name its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupBy {
    /// All that one client did, of IPv6 all of a network; where there is no client, as [`Self::Target`].
    #[default]
    Client,
    /// Requests whose paths, queries and bodies differ in numbers, case and encoding only.
    Target,
}

/// See the module.
#[expect(missing_debug_implementations, reason = "a closure has none")]
pub struct Sink<'a> {
    options: &'a ReadOptions,
    visit: &'a mut Visitor<'a>,
    report: ReadReport,
    last_micros: Option<i64>,
}

impl<'a> Sink<'a> {
    pub(super) fn new<'b: 'a>(
        options: &'a ReadOptions,
        format: &'static str,
        visit: &'a mut Visitor<'b>,
    ) -> Self {
        let report = ReadReport { format, ..ReadReport::default() };
        Self { options, visit: shorter(visit), report, last_micros: None }
    }

    /// A record of this file that says nothing yet.
    pub fn blank(&self) -> Record {
        let source = self.options.source.clone().unwrap_or_else(|| self.report.format.to_owned());
        Record { source, weight_percent: 100, ..Record::default() }
    }

    /// What the caller says of records that the file does not label.
    pub fn given_label(&self) -> Option<&GivenLabel> {
        self.options.label.as_ref()
    }

    /// Hands a record out, labelled as the caller says if nothing else labels it.
    pub fn record(&mut self, mut record: Record) {
        if record.label.is_none()
            && let Some(given) = &self.options.label
        {
            record.label = Some(given.label);
            record.label_source = given.source.clone();
        }
        self.record_as_labelled(record);
    }

    /// Hands a record out of a file that says of each what it is, or that it is neither.
    pub fn record_as_labelled(&mut self, mut record: Record) {
        self.complete(&mut record);
        self.note_time(record.at_micros);
        self.report.records += 1;
        self.report.is_stopped |= (self.visit)(record).is_break();
    }

    /// Counts a line that could not be used.
    pub fn fault(&mut self, line: u64, fault: Fault) {
        self.report.fault(line, fault);
    }

    /// Counts a line of something else.
    pub fn other_line(&mut self) {
        self.report.other_lines += 1;
    }

    /// The visitor has had enough.
    pub fn is_stopped(&self) -> bool {
        self.report.is_stopped
    }

    pub(super) fn into_report(self) -> ReadReport {
        self.report
    }

    fn complete(&self, record: &mut Record) {
        if record.class.is_empty() {
            record.class = self.options.class.clone().unwrap_or_default();
        }
        if record.group.is_empty() {
            record.group = match self.options.group_by {
                GroupBy::Client if !record.client.is_empty() => format!("client:{}", record.client_group()),
                GroupBy::Client | GroupBy::Target => normalised(record),
            };
        }
    }

    fn note_time(&mut self, at_micros: Option<i64>) {
        let Some(at) = at_micros else {
            self.report.without_time += 1;
            return;
        };
        self.report.backwards += u64::from(self.last_micros.is_some_and(|last| at < last));
        self.last_micros = Some(at);
    }
}

/// The same closure for a shorter time.
fn shorter<'a, 'b: 'a>(visit: &'a mut Visitor<'b>) -> &'a mut Visitor<'a> {
    visit
}
