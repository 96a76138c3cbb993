// SPDX-License-Identifier: Apache-2.0
//! Writes the segments of one class.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::class::Class;
use crate::index::Order;
use crate::repair::{Mended, Repaired, mend};
use crate::row::{Entry, ROW_BYTES, TEXT_BYTES_MAX, write_record};
use crate::segment::Segment;
use crate::writer::Bounds;

/// Segments of a ring: enough that dropping the oldest one drops little.
const SEGMENTS: u64 = 16;
/// Smaller segments would be many files for nothing.
const SEGMENT_BYTES_MIN: u64 = 256 << 10;
/// Larger ones would take long to look through when they are mended.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;

const _: () =
    assert!((2 * ROW_BYTES + TEXT_BYTES_MAX) as u64 <= SEGMENT_BYTES_MIN, "a segment holds any entry");

#[derive(Debug)]
pub(crate) struct Ring {
    pub(crate) folder: PathBuf,
    bytes_max: u64,
    segment_bytes: u64,
    age_max_micros: u64,
    open: Option<Open>,
    /// Used again by each batch.
    log_rows: Vec<u8>,
    index_rows: Vec<u8>,
}

/// The segment that is being written, and held.
#[derive(Debug)]
struct Open {
    segment: Segment,
    files: Mended,
    is_dirty: bool,
}

impl Ring {
    /// Mends the ring's segments and goes on with the last one, if it is free.
    pub(crate) fn open(
        folder: &Path,
        class: Class,
        bounds: Bounds,
        repaired: &mut Repaired,
    ) -> io::Result<Self> {
        let bytes_max = class.ring_bytes(bounds.max_bytes);
        let mut ring = Self {
            folder: folder.join(class.name()),
            bytes_max,
            segment_bytes: (bytes_max / SEGMENTS).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
            age_max_micros: u64::try_from(bounds.max_age.as_micros()).unwrap_or(u64::MAX),
            open: None,
            log_rows: Vec::new(),
            index_rows: Vec::new(),
        };
        ring.make_folder()?;
        let segments = Segment::list(&ring.folder)?;
        let last = segments.last().map(|segment| segment.number);
        for segment in segments {
            let is_last = Some(segment.number) == last;
            match mend(&segment, is_last, repaired) {
                Ok(Some(files)) if is_last => ring.open = Some(Open { segment, files, is_dirty: false }),
                // Whole now, or in another's hands.
                Ok(_) => {}
                Err(_) => repaired.segments_left += 1,
            }
        }
        Ok(ring)
    }

    /// Writes entries whose texts are short enough, and says how many were written before something went wrong.
    pub(crate) fn append(&mut self, entries: &mut [&Entry]) -> Result<(), (usize, io::Error)> {
        entries.sort_by_key(|entry| entry.row.at_micros);
        let mut written = 0;
        while let Some(rest) = entries.get(written..).filter(|rest| !rest.is_empty()) {
            written += self.append_some(rest).map_err(|error| (written, error))?;
        }
        Ok(())
    }

    /// Writes as many of the first entries as go into one segment, one at least.
    fn append_some(&mut self, entries: &[&Entry]) -> io::Result<usize> {
        self.log_rows.clear();
        self.index_rows.clear();
        if let Some(first) = entries.first() {
            self.open_for(first)?;
        }
        let Some(open) = &mut self.open else { return Ok(0) };
        let mut order = open.files.order;
        let mut taken = 0;
        for entry in entries {
            let waiting = (self.log_rows.len() + self.index_rows.len()) as u64;
            if taken > 0 && !open.has_room(entry, &order, waiting, self.segment_bytes) {
                break;
            }
            let offset = open.files.log_bytes + self.log_rows.len() as u64;
            let offset = u32::try_from(offset).unwrap_or(u32::MAX);
            let length = u32::try_from(entry.text.len()).unwrap_or(u32::MAX);
            write_record(&entry.row, &entry.text, &mut self.log_rows);
            self.index_rows.extend_from_slice(&order.next(offset, entry.row, length).encode());
            taken += 1;
        }
        if let Err(error) = open.write(&self.log_rows, &self.index_rows) {
            // The next batch tries another file, once: if it is this file that is broken, others may work.
            if open.files.log_bytes > 0 {
                self.open = None;
            }
            return Err(error);
        }
        open.files.order = order;
        self.log_rows.shrink_to(KEPT_BYTES);
        self.index_rows.shrink_to(KEPT_BYTES);
        Ok(taken)
    }

    /// Sees to it that there is a segment with room for `entry`.
    fn open_for(&mut self, entry: &Entry) -> io::Result<()> {
        let slice_micros = self.age_max_micros / SEGMENTS;
        let fits = self.open.as_ref().is_some_and(|open| {
            let order = &open.files.order;
            // A segment goes as a whole, so it must not span much time.
            let span = entry.row.at_micros.saturating_sub(order.first_micros.unwrap_or(u64::MAX));
            let has_room = open.has_room(entry, order, 0, self.segment_bytes);
            open.is_in_place() && (open.files.log_bytes == 0 || (span <= slice_micros && has_room))
        });
        if !fits {
            self.open = None;
            self.make_folder()?;
            self.keep_within(self.bytes_max.saturating_sub(self.segment_bytes), None)?;
            self.open = Some(self.begin()?);
        }
        Ok(())
    }

    /// The next segment, new.
    fn begin(&self) -> io::Result<Open> {
        let mut number = Segment::list(&self.folder)?.last().map_or(1, |last| last.number.saturating_add(1));
        loop {
            let segment = Segment::new(&self.folder, number);
            if let Some((log, index)) = segment.create()? {
                let files = Mended { log, index, log_bytes: 0, index_bytes: 0, order: Order::default() };
                return Ok(Open { segment, files, is_dirty: false });
            }
            number = number.saturating_add(1);
        }
    }

    /// Removes what is too old at `now_micros`, also of the segment that is being written.
    pub(crate) fn prune(&mut self, now_micros: u64) -> io::Result<()> {
        let oldest = now_micros.saturating_sub(self.age_max_micros);
        let is_old = |open: &Open| open.files.log_bytes > 0 && open.files.order.newest_micros < oldest;
        if self.open.as_ref().is_some_and(is_old) {
            self.open = None;
        }
        self.keep_within(self.bytes_max, Some(oldest))
    }

    /// Removes the oldest segments until the ring has no more than `bytes_max`, and nothing before `oldest_micros`.
    /// What another writer holds stays: during an upgrade a ring may be larger by that writer's segment.
    fn keep_within(&self, bytes_max: u64, oldest_micros: Option<u64>) -> io::Result<()> {
        let segments = Segment::list(&self.folder)?;
        let mut bytes: u64 = segments.iter().map(Segment::bytes).sum();
        let mut result = Ok(());
        for segment in &segments {
            let is_old = |oldest| segment.newest_micros().is_ok_and(|newest| newest < oldest);
            // All are asked: one that was written while the clock was ahead must not shelter those after it.
            if bytes <= bytes_max && !oldest_micros.is_some_and(is_old) {
                continue;
            }
            let its_bytes = segment.bytes();
            match segment.remove() {
                Ok(true) => bytes = bytes.saturating_sub(its_bytes),
                Ok(false) => {}
                // One that cannot be removed must not keep the others.
                Err(error) => result = Err(error),
            }
        }
        if bytes <= bytes_max && oldest_micros.is_none() {
            return Ok(());
        }
        result
    }

    /// Waits until what was written is on the disk. An index needs no waiting for: it is made from the log.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        match &mut self.open {
            Some(open) if open.is_dirty => {
                open.is_dirty = false;
                open.files.log.sync_data()
            }
            _ => Ok(()),
        }
    }

    fn make_folder(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)
    }
}

impl Open {
    fn has_room(&self, entry: &Entry, order: &Order, waiting: u64, segment_bytes: u64) -> bool {
        let bytes = self.files.log_bytes + self.files.index_bytes + waiting;
        let needed = (2 * ROW_BYTES + entry.text.len()) as u64;
        bytes + needed <= segment_bytes && order.takes(entry.row.at_micros)
    }

    /// Whether the files are still those of that name, and hold what was written: somebody may have removed them, and
    /// what went on into them would be lost unseen.
    fn is_in_place(&self) -> bool {
        let is_same = |file: &File, path: &Path, bytes: u64| {
            let (Ok(open), Ok(named)) = (file.metadata(), fs::metadata(path)) else { return false };
            (open.dev(), open.ino()) == (named.dev(), named.ino()) && open.len() >= bytes
        };
        is_same(&self.files.log, &self.segment.log, self.files.log_bytes)
            && is_same(&self.files.index, &self.segment.index, self.files.index_bytes)
    }

    /// The log first: a row of the index never points at what is not there. If one of them fails, both are as they
    /// were.
    fn write(&mut self, log_rows: &[u8], index_rows: &[u8]) -> io::Result<()> {
        let files = &mut self.files;
        self.is_dirty = true;
        let written = files
            .log
            .write_all_at(log_rows, files.log_bytes)
            .and_then(|()| files.index.write_all_at(index_rows, files.index_bytes));
        if written.is_err() {
            // If this fails too, the next start cuts off the rest: positions are kept here, not asked of the file.
            drop(files.index.set_len(files.index_bytes));
            drop(files.log.set_len(files.log_bytes));
            return written;
        }
        files.log_bytes += log_rows.len() as u64;
        files.index_bytes += index_rows.len() as u64;
        Ok(())
    }
}

/// A buffer that grew beyond this is given back.
const KEPT_BYTES: usize = 1 << 20;
