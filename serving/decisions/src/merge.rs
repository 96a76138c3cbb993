// SPDX-License-Identifier: Apache-2.0
//! Rows of all segments in one order, newest first, read from the ends of their indexes.

use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;

use crate::class::Class;
use crate::cursor::Cursor;
use crate::query::Query;
use crate::row::{IndexRow, ROW_BYTES};
use crate::segment::{Segment, last_row, row_at, row_count};

/// The first piece that is read of an index; later ones are larger, up to [`PIECE_ROWS_MAX`].
const PIECE_ROWS_MIN: u64 = 256;
const PIECE_ROWS_MAX: u64 = 16 << 10;

/// A row that fits, and where it stands.
#[derive(Debug)]
pub(crate) struct Hit {
    pub(crate) place: Cursor,
    pub(crate) class: Class,
    pub(crate) row: IndexRow,
    /// The segment's place among [`Merge::segments`].
    pub(crate) segment: usize,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Next {
    Hit(Hit),
    /// As many rows as may be were examined; goes on from here.
    Paused(Cursor),
    End,
}

#[derive(Debug)]
pub(crate) struct Merge<'a> {
    query: &'a Query<'a>,
    after: Option<Cursor>,
    pub(crate) segments: Vec<Segment>,
    unread: BinaryHeap<Unread>,
    hits: BinaryHeap<Hit>,
    pub(crate) rows_examined: u64,
    rows_max: u64,
    buffer: Vec<u8>,
}

/// The rows of a segment that were not read yet; the one that may hold the newest comes first.
#[derive(Debug)]
struct Unread {
    /// None of the rows is newer.
    newest_micros: u64,
    class: Class,
    segment: usize,
    index: Option<File>,
    rows: u64,
    piece_rows: u64,
}

impl<'a> Merge<'a> {
    pub(crate) fn new(query: &'a Query<'a>, after: Option<Cursor>, rows_max: u64) -> Self {
        Self {
            query,
            after,
            segments: Vec::new(),
            unread: BinaryHeap::new(),
            hits: BinaryHeap::new(),
            rows_examined: 0,
            rows_max,
            buffer: Vec::new(),
        }
    }

    /// Adds the segments of a ring.
    pub(crate) fn add(&mut self, class: Class, segments: Vec<Segment>) -> io::Result<()> {
        for segment in segments {
            if let Some((rows, newest_micros)) = self.end_of(&segment)?
                && self.query.from_micros.is_none_or(|from| newest_micros >= from)
            {
                self.unread.push(Unread {
                    newest_micros,
                    class,
                    segment: self.segments.len(),
                    index: None,
                    rows,
                    piece_rows: PIECE_ROWS_MIN,
                });
                self.segments.push(segment);
            }
        }
        Ok(())
    }

    pub(crate) fn next(&mut self) -> io::Result<Next> {
        loop {
            let unread_micros = self.unread.peek().map(|unread| unread.newest_micros);
            let newest_hit = self.hits.peek().map(|hit| hit.place.at_micros);
            // Rows of the same moment may still come and go before it: the place decides between them.
            if newest_hit.is_some_and(|hit| unread_micros.is_none_or(|unread| hit > unread)) {
                return Ok(self.hits.pop().map_or(Next::End, Next::Hit));
            }
            let Some(mut unread) = self.unread.pop() else { return Ok(Next::End) };
            // Of that moment, what was handed out already must not come again; and each call gets further than
            // the one before, however many rows that takes.
            let place = Cursor::before(unread.newest_micros);
            let place = self.after.map_or(place, |after| after.min(place));
            if self.rows_examined >= self.rows_max && self.after != Some(place) {
                return Ok(Next::Paused(place));
            }
            if self.read_piece(&mut unread)? {
                self.unread.push(unread);
            }
        }
    }

    /// Reads a piece from the end of `unread`. `false`: nothing that is asked for is left in it.
    fn read_piece(&mut self, unread: &mut Unread) -> io::Result<bool> {
        let Some(segment) = self.segments.get(unread.segment) else { return Ok(false) };
        if unread.index.is_none() {
            unread.index = open(segment)?;
        }
        // Removed meanwhile, as old segments are.
        let Some(index) = &unread.index else { return Ok(false) };
        let count = unread.rows.min(unread.piece_rows);
        let begin = unread.rows - count;
        self.buffer.resize(usize::try_from(count).unwrap_or(0) * ROW_BYTES, 0);
        match index.read_exact_at(&mut self.buffer, begin * ROW_BYTES as u64) {
            // Made again meanwhile, and shorter.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        let (rows, _) = self.buffer.as_chunks::<ROW_BYTES>();
        for bytes in rows {
            let row = IndexRow::decode(bytes);
            if self.query.fits_row(&row.row) {
                let place = Cursor {
                    at_micros: row.row.at_micros,
                    class: unread.class.number(),
                    segment: segment.number,
                    offset: row.offset,
                };
                if self.after.is_none_or(|after| place < after) {
                    self.hits.push(Hit { place, class: unread.class, row, segment: unread.segment });
                }
            }
        }
        self.rows_examined += count;
        unread.rows = begin;
        unread.piece_rows = (unread.piece_rows * 4).min(PIECE_ROWS_MAX);
        if begin == 0 {
            return Ok(false);
        }
        unread.newest_micros = row_at(index, begin - 1)?.newest_micros();
        Ok(self.query.from_micros.is_none_or(|from| unread.newest_micros >= from))
    }

    /// How many of the segment's first rows may be asked for, and a moment that none of them is newer than. `None`:
    /// there are none.
    fn end_of(&self, segment: &Segment) -> io::Result<Option<(u64, u64)>> {
        let Some(index) = open(segment)? else { return Ok(None) };
        let Some(last) = last_row(&index)? else { return Ok(None) };
        let rows = row_count(&index)?;
        let before = self.after.map(|after| after.at_micros.saturating_add(1));
        let before = before.into_iter().chain(self.query.until_micros).min();
        let Some(before) = before.filter(|before| last.newest_micros() >= *before) else {
            return Ok(Some((rows, last.newest_micros())));
        };
        // From the first row on that has a row as new as this before it, all are too new: none is further behind.
        let newest = before.saturating_add(last.disorder_micros());
        let (mut low, mut high) = (0, rows);
        while low < high {
            let middle = low + (high - low) / 2;
            if row_at(&index, middle)?.newest_micros() >= newest {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        match low.checked_sub(1) {
            Some(last) => Ok(Some((low, row_at(&index, last)?.newest_micros()))),
            None => Ok(None),
        }
    }
}

fn open(segment: &Segment) -> io::Result<Option<File>> {
    match File::open(&segment.index) {
        Ok(index) => Ok(Some(index)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Ord for Hit {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place.cmp(&other.place)
    }
}

impl PartialOrd for Hit {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Hit {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Hit {}

impl Ord for Unread {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.newest_micros, self.segment).cmp(&(other.newest_micros, other.segment))
    }
}

impl PartialOrd for Unread {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Unread {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Unread {}
