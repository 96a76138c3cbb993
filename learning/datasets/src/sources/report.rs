// SPDX-License-Identifier: Apache-2.0
//! What reading a file came to: how much of it was understood, and what was wrong with the rest.

use std::collections::BTreeMap;
use std::fmt;

/// Numbers of lines that are named for each fault: enough to go and look.
const LINES_NAMED: usize = 5;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// The format's name.
    pub format: &'static str,
    /// Records that were handed out.
    pub records: u64,
    /// Lines (for formats of several lines: entries) that could not be used, by what was wrong with them.
    pub faults: BTreeMap<Fault, Found>,
    /// Lines that are something else's: other programs' lines in a mixed log, comments.
    pub other_lines: u64,
    /// Records without a time.
    pub without_time: u64,
    /// Records that are older than the one before: two logs in one, or a clock that was set.
    pub backwards: u64,
    /// The visitor had enough before the end.
    pub is_stopped: bool,
    /// Bytes of the file, packed as it is; 0 when it was not read to its end, or is no file.
    pub bytes: u64,
    /// SHA-256 of the file in hexadecimal; empty when it was not read to its end, or is no file.
    pub sha256: String,
}

/// A fault and where it was first found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// How often.
    pub count: u64,
    /// The first lines that had it; five at most.
    pub first_lines: Vec<u64>,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Over [`super::LINE_BYTES_MAX`].
    TooLong,
    /// It ends before it should.
    Cut,
    /// Neither JSON nor cut.
    NotJson,
    /// A field that has the wrong type, and no text that could be read as the right one.
    WrongField,
    /// Method or target are missing.
    NoRequest,
    /// It does not look like the others.
    NotThisFormat,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::TooLong => "longer than 1 MiB",
            Self::Cut => "cut off",
            Self::NotJson => "not JSON",
            Self::WrongField => "a field of the wrong type",
            Self::NoRequest => "no method or no target",
            Self::NotThisFormat => "not of this format",
        })
    }
}

impl ReadReport {
    /// Lines that could not be used.
    pub fn broken(&self) -> u64 {
        self.faults.values().map(|found| found.count).sum()
    }

    /// The fault that was found most often.
    pub fn commonest(&self) -> Option<(Fault, &Found)> {
        let most = self.faults.iter().max_by_key(|(_, found)| found.count);
        most.map(|(fault, found)| (*fault, found))
    }

    pub(super) fn fault(&mut self, line: u64, fault: Fault) {
        let found = self.faults.entry(fault).or_default();
        found.count += 1;
        if found.first_lines.len() < LINES_NAMED {
            found.first_lines.push(line);
        }
    }
}

/// `1, 2, 3`
impl fmt::Display for Found {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.first_lines.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(formatter, "{comma}{line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_lines_are_named() {
        let mut report = ReadReport::default();
        (1..=1000).for_each(|line| report.fault(line, Fault::Cut));
        report.fault(7, Fault::NotJson);
        let (fault, found) = report.commonest().unwrap();
        assert_eq!((fault, found.count, found.to_string().as_str()), (Fault::Cut, 1000, "1, 2, 3, 4, 5"));
        assert_eq!(report.broken(), 1001);
    }
}
