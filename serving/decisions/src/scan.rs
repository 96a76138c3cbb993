// SPDX-License-Identifier: Apache-2.0
//! Reads a log from its beginning: whole records, and what lies between them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::index::Order;
use crate::row::{MAGIC, ROW_BYTES, RowBytes, TEXT_BYTES_MAX, read_record};

/// What a log holds.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The index as it should be.
    pub(crate) index: Vec<u8>,
    pub(crate) order: Order,
    /// Where the last whole record ends; what follows is torn.
    pub(crate) end: u64,
    /// Damaged records before that, at least.
    pub(crate) records_lost: u64,
    /// Their bytes.
    pub(crate) bytes_skipped: u64,
}

/// Reads the first `length` bytes of `log`, which a `u32` can count. Holds a window of it in memory.
pub(crate) fn scan(log: &File, length: u64) -> io::Result<Scan> {
    let mut window = Window { log, length, begin: 0, bytes: Vec::new() };
    let mut scan = Scan::default();
    let (mut at, mut beginnings) = (0, 0);
    while at < length {
        let bytes = window.at(at)?;
        if let Some((row, text)) = read_record(bytes) {
            let text_bytes = text.len();
            let offset = u32::try_from(at).unwrap_or(u32::MAX);
            let row = scan.order.next(offset, row, u32::try_from(text_bytes).unwrap_or(u32::MAX));
            scan.index.extend_from_slice(&row.encode());
            if at > scan.end {
                scan.bytes_skipped += at - scan.end;
                scan.records_lost += beginnings.max(1);
            }
            beginnings = 0;
            at += (ROW_BYTES + text_bytes) as u64;
            scan.end = at;
            continue;
        }
        beginnings += u64::from(bytes.starts_with(&MAGIC));
        at += next_magic(bytes) as u64;
    }
    Ok(scan)
}

/// Where the next record may begin, at least a byte on; the last bytes of a magic may still be to come.
fn next_magic(bytes: &[u8]) -> usize {
    let found = bytes.windows(MAGIC.len()).skip(1).position(|part| part == MAGIC);
    match found {
        Some(place) => place + 1,
        None => bytes.len().saturating_sub(MAGIC.len() - 1).max(1),
    }
}

/// The part of a log that is in memory.
struct Window<'a> {
    log: &'a File,
    length: u64,
    begin: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// What follows `at`: a whole record at least, or all that there is. `at` never goes back.
    fn at(&mut self, at: u64) -> io::Result<&[u8]> {
        let end = self.begin + self.bytes.len() as u64;
        if end < self.length && end < at + RECORD_BYTES_MAX {
            let wanted = (self.length - at).min(WINDOW_BYTES);
            self.bytes.resize(usize::try_from(wanted).unwrap_or(usize::MAX), 0);
            self.begin = at;
            self.log.read_exact_at(&mut self.bytes, at)?;
        }
        let skipped = usize::try_from(at - self.begin).unwrap_or(usize::MAX);
        Ok(self.bytes.get(skipped..).unwrap_or_default())
    }
}

const RECORD_BYTES_MAX: u64 = (size_of::<RowBytes>() + TEXT_BYTES_MAX) as u64;
const WINDOW_BYTES: u64 = 1 << 20;
const _: () = assert!(RECORD_BYTES_MAX < WINDOW_BYTES, "a window holds a whole record");
