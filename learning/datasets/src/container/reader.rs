// SPDX-License-Identifier: Apache-2.0
//! Reads a data set: all of it once for the checksum, then block by block.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::header::{Header, schema_fingerprint};
use super::{BACK_BYTES, BLOCK_BYTES_MAX, BLOCK_FRONT_BYTES, FRONT_BYTES, HEADER_BYTES_MAX, MAGIC, VERSION};
use crate::Record;

/// See the module. An iterator: each record, or why there are no more.
#[derive(Debug)]
pub struct Reader {
    header: Header,
    input: BufReader<File>,
    /// Bytes of blocks that are left.
    left: u64,
    /// A block, unpacked, and how much of it is read.
    block: Vec<u8>,
    at: usize,
    block_rows: u32,
    rows: u64,
    is_over: bool,
}

/// Why a data set is refused.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk.
    #[error("failed to read `{}`", path.display())]
    Io {
        /// The data set.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another kind of file.
    #[error("`{}` is no data set", path.display())]
    NotADataSet {
        /// The file.
        path: PathBuf,
    },
    /// Written by another version.
    #[error("`{}` is a data set of version {found}; this program reads version {VERSION}: prepare it again", path.display())]
    Version {
        /// The data set.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Cut or changed.
    #[error("`{}` is damaged, cut or changed: its checksum is another", path.display())]
    Checksum {
        /// The data set.
        path: PathBuf,
    },
    /// The checksum is right, but the header is none: a faulty program wrote it.
    #[error("`{}` has no header that can be read", path.display())]
    Header {
        /// The data set.
        path: PathBuf,
    },
    /// Its records have other fields.
    #[error("`{}` is stale: its records have the fields of schema `{found}`, this program's are of `{want}`; prepare it again", path.display())]
    Stale {
        /// The data set.
        path: PathBuf,
        /// Its schema's fingerprint.
        found: String,
        /// Ours.
        want: String,
    },
}

/// Why a record could not be read. The checksum was right: the file changed since, or a faulty program wrote it.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The disk, or what cannot be unpacked.
    #[error("failed to read a block after {rows} records")]
    Io {
        /// Records before it.
        rows: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Lengths that cannot be, or a record that is none.
    #[error("a block after {rows} records is not one")]
    Malformed {
        /// Records before it.
        rows: u64,
    },
}

impl Reader {
    /// Opens a data set, and reads all of it for its checksum.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        Self::of(File::open(path).map_err(failed)?, path)
    }

    /// The same of a file that is open; `path` is what it is called.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn of(file: File, path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let mut input = BufReader::with_capacity(1 << 16, file);
        let length = input.seek(SeekFrom::End(0)).map_err(failed)?;
        input.rewind().map_err(failed)?;
        check_front(path, &mut input, length)?;
        check_sum(path, &mut input, length)?;
        let (header, header_at) = read_header(path, &mut input, length)?;
        input.seek(SeekFrom::Start(FRONT_BYTES)).map_err(failed)?;
        let (left, block) = (header_at - FRONT_BYTES, Vec::new());
        Ok(Self { header, input, left, block, at: 0, block_rows: 0, rows: 0, is_over: false })
    }

    /// What the data set says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    fn next_record(&mut self) -> Result<Option<Record>, RecordError> {
        if self.block_rows == 0 {
            if self.at != self.block.len() || (self.left == 0 && self.rows != self.header.rows) {
                return Err(self.malformed());
            }
            if self.left == 0 {
                return Ok(None);
            }
            self.next_block()?;
        }
        let rest = self.block.get(self.at..).unwrap_or_default();
        let (record, rest) = postcard::take_from_bytes(rest).map_err(|_| self.malformed())?;
        self.at = self.block.len() - rest.len();
        self.block_rows -= 1;
        self.rows += 1;
        Ok(Some(record))
    }

    fn next_block(&mut self) -> Result<(), RecordError> {
        let [packed, plain, rows] = self.block_front()?;
        let (packed_bytes, plain_bytes) = (to_usize(packed), to_usize(plain));
        let is_sane = u64::from(packed) <= self.left
            && plain_bytes <= BLOCK_BYTES_MAX
            && packed_bytes <= zstd::zstd_safe::compress_bound(BLOCK_BYTES_MAX)
            && (1..=plain).contains(&rows);
        if !is_sane {
            return Err(self.malformed());
        }
        let mut bytes = vec![0; packed_bytes];
        let (rows_before, block_rows) = (self.rows, rows);
        let failed = |source| RecordError::Io { rows: rows_before, source };
        self.input.read_exact(&mut bytes).map_err(failed)?;
        self.left -= u64::from(packed);
        self.block = zstd::bulk::decompress(&bytes, plain_bytes).map_err(failed)?;
        (self.at, self.block_rows) = (0, block_rows);
        if self.block.len() == plain_bytes { Ok(()) } else { Err(self.malformed()) }
    }

    fn block_front(&mut self) -> Result<[u32; 3], RecordError> {
        let left = self.left.checked_sub(BLOCK_FRONT_BYTES);
        self.left = left.ok_or(RecordError::Malformed { rows: self.rows })?;
        let rows = self.rows;
        let mut number = || {
            let mut bytes = [0; 4];
            self.input.read_exact(&mut bytes).map_err(|source| RecordError::Io { rows, source })?;
            Ok(u32::from_le_bytes(bytes))
        };
        Ok([number()?, number()?, number()?])
    }

    fn malformed(&self) -> RecordError {
        RecordError::Malformed { rows: self.rows }
    }
}

impl Iterator for Reader {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let next = self.next_record().transpose();
        self.is_over = !matches!(next, Some(Ok(_)));
        next
    }
}

fn check_front(path: &Path, input: &mut impl Read, length: u64) -> Result<(), OpenError> {
    let (mut magic, mut version) = ([0; 8], [0; 4]);
    let read = input.read_exact(&mut magic).and_then(|()| input.read_exact(&mut version));
    if read.is_err() || magic != *MAGIC {
        return Err(OpenError::NotADataSet { path: path.to_owned() });
    }
    let found = u32::from_le_bytes(version);
    if found != VERSION {
        return Err(OpenError::Version { path: path.to_owned(), found });
    }
    if length < FRONT_BYTES + BACK_BYTES {
        return Err(OpenError::Checksum { path: path.to_owned() });
    }
    Ok(())
}

fn check_sum(path: &Path, input: &mut (impl Read + Seek), length: u64) -> Result<(), OpenError> {
    let failed = |source| OpenError::Io { path: path.to_owned(), source };
    input.rewind().map_err(failed)?;
    let mut hash = Sha256::new();
    let mut left = length - 32;
    let mut buffer = vec![0; 1 << 16];
    while left > 0 {
        let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let piece = buffer.get_mut(..want).unwrap_or_default();
        input.read_exact(piece).map_err(failed)?;
        hash.update(&*piece);
        left -= u64::try_from(want).unwrap_or(left);
    }
    let mut told = [0; 32];
    input.read_exact(&mut told).map_err(failed)?;
    let found: [u8; 32] = hash.finalize().into();
    if found == told { Ok(()) } else { Err(OpenError::Checksum { path: path.to_owned() }) }
}

/// The header and where it begins.
fn read_header(path: &Path, input: &mut (impl Read + Seek), length: u64) -> Result<(Header, u64), OpenError> {
    let failed = |source| OpenError::Io { path: path.to_owned(), source };
    let malformed = || OpenError::Header { path: path.to_owned() };
    let mut bytes = [0; 4];
    input.seek(SeekFrom::Start(length - BACK_BYTES)).map_err(failed)?;
    input.read_exact(&mut bytes).map_err(failed)?;
    let header_bytes = u32::from_le_bytes(bytes);
    let at = (length - BACK_BYTES).checked_sub(header_bytes.into()).filter(|at| *at >= FRONT_BYTES);
    let at = at.filter(|_| header_bytes <= HEADER_BYTES_MAX).ok_or_else(malformed)?;
    let mut json = vec![0; to_usize(header_bytes)];
    input.seek(SeekFrom::Start(at)).map_err(failed)?;
    input.read_exact(&mut json).map_err(failed)?;
    let header: Header = serde_json::from_slice(&json).map_err(|_| malformed())?;
    let want = schema_fingerprint();
    if header.schema != want {
        return Err(OpenError::Stale { path: path.to_owned(), found: header.schema, want });
    }
    Ok((header, at))
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
