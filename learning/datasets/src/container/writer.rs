// SPDX-License-Identifier: Apache-2.0
//! Writes a data set: into a file beside its place, which takes its place when all of it is on the disk.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::header::{Header, Manifest, schema_fingerprint};
use super::{BLOCK_BYTES, HEADER_BYTES_MAX, MAGIC, RECORD_BYTES_MAX, VERSION};
use crate::{LabelSource, Record};

/// zstd's own choice: levels above it pack logs little better and several times slower.
const LEVEL: i32 = 3;
/// Sources of one set; more have no place in the header.
const SOURCES_MAX: usize = 1024;
/// Names that are tried beside a place.
const ATTEMPTS_MAX: u8 = 100;

/// See the module. Dropped before [`Self::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    temporary: Temporary,
    output: BufWriter<File>,
    hash: Sha256,
    block: Vec<u8>,
    block_rows: u32,
    rows: u64,
    sources: BTreeMap<String, Manifest>,
}

/// Why a data set could not be written. Nothing stands in its place then but what stood there before.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk.
    #[error("failed to write `{}`", path.display())]
    Io {
        /// The data set.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A record over 8 MiB.
    #[error("a record of `{source_name}` has {bytes} bytes; a data set takes {RECORD_BYTES_MAX}")]
    RecordTooLarge {
        /// Its source.
        source_name: String,
        /// Its size.
        bytes: usize,
    },
    /// Over 1,024 sources, or manifests over 1 MiB.
    #[error("too many sources: their manifests do not fit into a header")]
    TooManySources,
    /// A record could not be encoded.
    #[error("failed to encode a record")]
    Encode(#[source] postcard::Error),
}

impl Writer {
    /// Begins the data set that will stand at `path`. Its file can be read by its owner only: logs hold addresses.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn create(path: &Path) -> Result<Self, WriteError> {
        let failed = |source| WriteError::Io { path: path.to_owned(), source };
        let (temporary, file) = Temporary::create(path).map_err(failed)?;
        let mut writer = Self {
            path: path.to_owned(),
            temporary,
            output: BufWriter::new(file),
            hash: Sha256::new(),
            block: Vec::new(),
            block_rows: 0,
            rows: 0,
            sources: BTreeMap::new(),
        };
        writer.put(MAGIC)?;
        writer.put(&VERSION.to_le_bytes())?;
        Ok(writer)
    }

    /// Adds a record.
    ///
    /// # Errors
    /// When it is too large, the sources become too many, or the disk is full.
    pub fn write(&mut self, record: &Record) -> Result<(), WriteError> {
        let bytes = postcard::to_stdvec(record).map_err(WriteError::Encode)?;
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(WriteError::RecordTooLarge {
                source_name: record.source.clone(),
                bytes: bytes.len(),
            });
        }
        self.count(record)?;
        self.block.extend_from_slice(&bytes);
        self.block_rows += 1;
        if self.block.len() >= BLOCK_BYTES { self.close_block() } else { Ok(()) }
    }

    /// Ends the set, and puts it in its place. `features` is the fingerprint that [`Header::features`] tells;
    /// `manifests` say where the sources' files are from: rows and labels in them are counted here, and a source
    /// that none is of has one with its name alone.
    ///
    /// # Errors
    /// When the manifests do not fit, or the disk fails.
    pub fn finish(mut self, features: &str, manifests: Vec<Manifest>) -> Result<Header, WriteError> {
        self.close_block()?;
        let header = self.header(features, manifests);
        let json = serde_json::to_vec(&header).map_err(|error| self.failed(error.into()))?;
        let length = u32::try_from(json.len()).ok().filter(|length| *length <= HEADER_BYTES_MAX);
        let length = length.ok_or(WriteError::TooManySources)?;
        self.put(&json)?;
        self.put(&length.to_le_bytes())?;
        let digest: [u8; 32] = self.hash.clone().finalize().into();
        self.settle(&digest).map_err(|source| self.failed(source))?;
        Ok(header)
    }

    fn settle(&mut self, digest: &[u8; 32]) -> io::Result<()> {
        self.output.write_all(digest)?;
        self.output.flush()?;
        self.output.get_ref().sync_all()?;
        fs::rename(&self.temporary.path, &self.path)?;
        self.temporary.is_in_place = true;
        // The name is on the disk when its folder is.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
    }

    fn header(&self, features: &str, manifests: Vec<Manifest>) -> Header {
        let mut sources = self.sources.clone();
        for told in manifests {
            let counted = sources.entry(told.name.clone()).or_default();
            let (rows, labelled_by) = (counted.rows, std::mem::take(&mut counted.labelled_by));
            *counted = Manifest { rows, labelled_by, ..told };
        }
        Header {
            schema: schema_fingerprint(),
            features: features.to_owned(),
            rows: self.rows,
            sources: sources.into_values().collect(),
        }
    }

    fn count(&mut self, record: &Record) -> Result<(), WriteError> {
        if !self.sources.contains_key(&record.source) {
            if self.sources.len() >= SOURCES_MAX {
                return Err(WriteError::TooManySources);
            }
            let manifest = Manifest { name: record.source.clone(), ..Manifest::default() };
            self.sources.insert(record.source.clone(), manifest);
        }
        if let Some(manifest) = self.sources.get_mut(&record.source) {
            manifest.rows += 1;
            *manifest.labelled_by.entry(who(&record.label_source).to_owned()).or_default() += 1;
        }
        self.rows += 1;
        Ok(())
    }

    fn close_block(&mut self) -> Result<(), WriteError> {
        if self.block_rows == 0 {
            return Ok(());
        }
        let packed = zstd::bulk::compress(&self.block, LEVEL).map_err(|source| self.failed(source))?;
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        let front = [length(&packed), length(&self.block), self.block_rows.to_le_bytes()].concat();
        self.put(&front)?;
        self.put(&packed)?;
        self.block.clear();
        self.block_rows = 0;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.hash.update(bytes);
        self.output.write_all(bytes).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> WriteError {
        WriteError::Io { path: self.path.clone(), source }
    }
}

fn who(source: &LabelSource) -> &'static str {
    match source {
        LabelSource::Nobody => "nobody",
        LabelSource::Human => "human",
        LabelSource::Corpus => "corpus",
        LabelSource::WafRule(_) => "waf_rule",
        LabelSource::Heuristic(_) => "heuristic",
    }
}

/// A file beside its place, gone if it never gets there.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
    is_in_place: bool,
}

impl Temporary {
    /// What a run that was killed left behind is passed by: in a container the next one has the same number.
    fn create(place: &Path) -> io::Result<(Self, File)> {
        let mut attempt = 0;
        loop {
            match Self::attempt(place, attempt) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < ATTEMPTS_MAX => {
                    attempt += 1
                }
                done => return done,
            }
        }
    }

    fn attempt(place: &Path, attempt: u8) -> io::Result<(Self, File)> {
        let mut name = OsString::from(".");
        name.push(place.file_name().unwrap_or_default());
        name.push(format!(".{}-{attempt}.part", std::process::id()));
        let path = place.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path)?;
        Ok((Self { path, is_in_place: false }, file))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_in_place {
            // It is gone, or the disk is: there is nobody to tell.
            drop(fs::remove_file(&self.path));
        }
    }
}
