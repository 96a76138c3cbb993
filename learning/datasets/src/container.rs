// SPDX-License-Identifier: Apache-2.0
//! `dataset.bin`: the file that data sets are kept in.
//!
//! ```text
//! magic 8 · version u32 · { packed u32 · plain u32 · rows u32 · zstd of postcard records }* ·
//! header JSON · its length u32 · SHA-256 of everything before
//! ```
//!
//! Numbers are little-endian. The header stands at the end, as in Parquet: only there the rows of each source are
//! known without reading everything twice. The checksum is looked at before anything else is used, and every
//! length has a bound before memory is taken for it.

mod header;
mod reader;
mod writer;

pub use header::{Header, Manifest, SCHEMA, schema_fingerprint};
pub use reader::{OpenError, Reader, RecordError};
pub use writer::{WriteError, Writer};

/// What the file begins with.
const MAGIC: &[u8; 8] = b"SUNBEAMD";
/// Of this layout.
const VERSION: u32 = 1;
/// Magic and version.
const FRONT_BYTES: u64 = 12;
/// Length of the header, and checksum.
const BACK_BYTES: u64 = 36;
/// Lengths of a block, and its rows.
const BLOCK_FRONT_BYTES: u64 = 12;
/// A header holds a manifest of a few hundred bytes for each source.
const HEADER_BYTES_MAX: u32 = 1 << 20;
/// A block is closed when it holds so much.
const BLOCK_BYTES: usize = 1 << 20;
/// Of one record: several lines of the longest that readers take.
const RECORD_BYTES_MAX: usize = 8 << 20;
/// What one block takes in memory.
const BLOCK_BYTES_MAX: usize = BLOCK_BYTES + RECORD_BYTES_MAX;

#[cfg(test)]
mod tests;
