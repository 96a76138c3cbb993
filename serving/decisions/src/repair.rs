// SPDX-License-Identifier: Apache-2.0
//! Makes a segment whole again that nobody holds: what a kill, a full disk or a bad disk left of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::FileExt as _;

use crate::index::Order;
use crate::row::{ROW_BYTES, TEXT_BYTES_MAX, read_record};
use crate::scan::scan;
use crate::segment::{Segment, last_row, private_file, row_at};

/// What [`Writer::open`](crate::Writer::open) found and mended. All zero: nothing was wrong.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Repaired {
    /// Damaged records in the middle of logs, at least.
    pub records_lost: u64,
    /// Their bytes: they stay where they are, and nothing points at them.
    pub bytes_skipped: u64,
    /// Bytes of the last record that was not written to its end; cut off. Nobody was told that it was kept.
    pub bytes_cut: u64,
    /// Indexes that were made again from their logs.
    pub indexes_rebuilt: u64,
    /// Segments that could not be read or mended: left as they are.
    pub segments_left: u64,
}

impl Repaired {
    /// Whether there was nothing to mend.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// A segment that is whole and held.
#[derive(Debug)]
pub(crate) struct Mended {
    pub(crate) log: File,
    pub(crate) index: File,
    pub(crate) log_bytes: u64,
    pub(crate) index_bytes: u64,
    pub(crate) order: Order,
}

/// Looks whether the segment ends well, `thoroughly` at all of it, and mends it. `None`: another one holds it, or
/// it is gone.
pub(crate) fn mend(
    segment: &Segment,
    thoroughly: bool,
    repaired: &mut Repaired,
) -> io::Result<Option<Mended>> {
    let Some(log) = segment.hold()? else { return Ok(None) };
    let log_bytes = log.metadata()?.len();
    if u32::try_from(log_bytes).is_err() {
        return Err(io::Error::new(ErrorKind::InvalidData, "no writer makes a log of this size"));
    }
    if !thoroughly && let Some((index, order)) = ends_well(segment, &log, log_bytes)? {
        let index_bytes = index.metadata()?.len();
        return Ok(Some(Mended { log, index, log_bytes, index_bytes, order }));
    }
    let found = scan(&log, log_bytes)?;
    if found.end < log_bytes {
        log.set_len(found.end)?;
        repaired.bytes_cut += log_bytes - found.end;
    }
    let is_same = fs::read(&segment.index).is_ok_and(|index| index == found.index);
    if !is_same {
        replace_index(segment, &found.index)?;
        // A damaged record is told of once: at the next start the index that leaves it out is right.
        repaired.indexes_rebuilt += 1;
        repaired.records_lost += found.records_lost;
        repaired.bytes_skipped += found.bytes_skipped;
    }
    let index = OpenOptions::new().read(true).write(true).open(&segment.index)?;
    let index_bytes = found.index.len() as u64;
    Ok(Some(Mended { log, index, log_bytes: found.end, index_bytes, order: found.order }))
}

/// The index and its order, if its last row points at a whole record that ends where the log does.
fn ends_well(segment: &Segment, log: &File, log_bytes: u64) -> io::Result<Option<(File, Order)>> {
    let Ok(index) = OpenOptions::new().read(true).write(true).open(&segment.index) else { return Ok(None) };
    if index.metadata()?.len() % ROW_BYTES as u64 != 0 {
        return Ok(None);
    }
    let Some(last) = last_row(&index)? else {
        return Ok((log_bytes == 0).then(|| (index, Order::default())));
    };
    let length = usize::try_from(last.length).unwrap_or(usize::MAX);
    let end = u64::from(last.offset) + ROW_BYTES as u64 + u64::from(last.length);
    if end != log_bytes || length > TEXT_BYTES_MAX {
        return Ok(None);
    }
    let mut record = vec![0; ROW_BYTES + length];
    log.read_exact_at(&mut record, last.offset.into())?;
    let is_whole = read_record(&record).is_some_and(|(row, _)| row == last.row);
    let first = row_at(&index, 0)?;
    Ok(is_whole.then(|| (index, Order::between(&first, &last))))
}

/// The new index takes the old one's place at once: who reads the old one goes on.
fn replace_index(segment: &Segment, rows: &[u8]) -> io::Result<()> {
    let new = segment.index.with_extension("index-new");
    let written = private_file()
        .create(true)
        .truncate(true)
        .open(&new)
        .and_then(|mut file| file.write_all(rows))
        .and_then(|()| fs::rename(&new, &segment.index));
    if written.is_err() {
        // It could not be written: whether it can be removed changes nothing.
        drop(fs::remove_file(&new));
    }
    written
}
