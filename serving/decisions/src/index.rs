// SPDX-License-Identifier: Apache-2.0
//! Where a segment's rows stand in time.
//!
//! Entries come nearly in order: requests that were decided at the same time reach the recorder in any order, and
//! clocks are set back. Each index row therefore says how far it is behind the newest row before it, and how far any
//! row was. That is enough to read a segment backwards in exact order, to stop early, and to begin in its middle.

use crate::row::{IndexRow, Row};

/// The order of a segment up to its last row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Order {
    /// The first row's time.
    pub(crate) first_micros: Option<u64>,
    pub(crate) newest_micros: u64,
    disorder_secs: u16,
}

impl Order {
    /// The order of a segment whose first and last rows are these.
    pub(crate) fn between(first: &IndexRow, last: &IndexRow) -> Self {
        Self {
            first_micros: Some(first.row.at_micros),
            newest_micros: last.newest_micros(),
            disorder_secs: last.disorder_secs,
        }
    }

    /// Whether a row of that time is near enough to the newest one for its index row to say how far it is.
    pub(crate) fn takes(&self, at_micros: u64) -> bool {
        u32::try_from(self.newest_micros.saturating_sub(at_micros)).is_ok()
    }

    /// The index row of the next record, which [`Order::takes`].
    pub(crate) fn next(&mut self, offset: u32, row: Row, length: u32) -> IndexRow {
        self.first_micros.get_or_insert(row.at_micros);
        self.newest_micros = self.newest_micros.max(row.at_micros);
        let behind = u32::try_from(self.newest_micros - row.at_micros).unwrap_or(u32::MAX);
        let behind_secs = u16::try_from(behind.div_ceil(1_000_000)).unwrap_or(u16::MAX);
        self.disorder_secs = self.disorder_secs.max(behind_secs);
        IndexRow { offset, behind, row, length, disorder_secs: self.disorder_secs }
    }
}

const _: () =
    assert!(u32::MAX.div_ceil(1_000_000) <= u16::MAX as u32, "how far a row is behind fits in seconds too");
