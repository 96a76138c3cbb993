// SPDX-License-Identifier: Apache-2.0
//! Writes a data set: into a file without a name, which takes its place when all of it is on the disk.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
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
        Self::begin(path, temporary, file)
    }

    /// Begins one that never gets a place: its file, in the folder of `beside`, has no name, and is gone with the program
    /// however that ends.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn unnamed(beside: &Path) -> Result<Self, WriteError> {
        let failed = |source| WriteError::Io { path: beside.to_owned(), source };
        let (temporary, file) = Temporary::named(beside).map_err(failed)?;
        // With this its name goes.
        drop(temporary);
        Self::begin(beside, Temporary { path: None }, file)
    }

    fn begin(path: &Path, temporary: Temporary, file: File) -> Result<Self, WriteError> {
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
        let header = self.end(features, manifests)?;
        self.settle().map_err(|source| self.failed(source))?;
        Ok(header)
    }

    /// Ends one that gets no place: its file, to read it by.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn finish_unnamed(mut self) -> Result<(Header, File), WriteError> {
        let header = self.end("", Vec::new())?;
        let file = self.output.get_ref().try_clone().map_err(|source| self.failed(source))?;
        Ok((header, file))
    }

    fn end(&mut self, features: &str, manifests: Vec<Manifest>) -> Result<Header, WriteError> {
        self.close_block()?;
        let header = self.header(features, manifests);
        let json = serde_json::to_vec(&header).map_err(|error| self.failed(error.into()))?;
        let length = u32::try_from(json.len()).ok().filter(|length| *length <= HEADER_BYTES_MAX);
        let length = length.ok_or(WriteError::TooManySources)?;
        self.put(&json)?;
        self.put(&length.to_le_bytes())?;
        let digest: [u8; 32] = self.hash.clone().finalize().into();
        let written = self.output.write_all(&digest).and_then(|()| self.output.flush());
        written.map_err(|source| self.failed(source))?;
        Ok(header)
    }

    fn settle(&mut self) -> io::Result<()> {
        self.output.get_ref().sync_all()?;
        self.temporary.put(self.output.get_ref(), &self.path)?;
        // The name is on the disk when its folder is.
        File::open(folder(&self.path))?.sync_all()
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

/// The name of a file beside its place, which goes if the file never gets there. Where the file system has files without
/// a name there is none until then, and nothing to take away from who was killed.
#[derive(Debug)]
struct Temporary {
    path: Option<PathBuf>,
}

impl Temporary {
    fn create(place: &Path) -> io::Result<(Self, File)> {
        forget_dead(place);
        match nameless(place) {
            Ok(file) => Ok((Self { path: None }, file)),
            // Whatever is wrong with the folder comes up again there.
            Err(_) => Self::named(place),
        }
    }

    fn named(place: &Path) -> io::Result<(Self, File)> {
        free_name(place, |path| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let file = options.open(path)?;
            // Whoever looks for what the dead left sees that somebody is at it. Where nothing can be locked, nobody looks.
            drop(file.try_lock());
            Ok((Self { path: Some(path.to_owned()) }, file))
        })
    }

    /// Gives the file its name.
    fn put(&mut self, file: &File, place: &Path) -> io::Result<()> {
        if self.path.is_none() {
            self.path = Some(free_name(place, |path| name(file, path).map(|()| path.to_owned()))?);
        }
        if let Some(path) = &self.path {
            fs::rename(path, place)?;
        }
        self.path = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // It is gone, or the disk is: there is nobody to tell.
            drop(fs::remove_file(path));
        }
    }
}

/// A name beside a place that nobody has: in a container the next run has the same number.
fn free_name<T>(place: &Path, mut take: impl FnMut(&Path) -> io::Result<T>) -> io::Result<T> {
    let mut attempt = 0;
    loop {
        let mut name = front(place);
        name.push(format!("{}-{attempt}{PART}", std::process::id()));
        match take(&place.with_file_name(name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < ATTEMPTS_MAX => {
                attempt += 1
            }
            done => return done,
        }
    }
}

/// Behind the number of the process and that of the attempt.
const PART: &str = ".part";

/// What the names beside a place begin with.
fn front(place: &Path) -> OsString {
    let mut front = OsString::from(".");
    front.push(place.file_name().unwrap_or_default());
    front.push(".");
    front
}

fn folder(place: &Path) -> &Path {
    place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Removes the files beside a place that runs left which were killed: nobody holds them any more.
fn forget_dead(place: &Path) {
    let front = front(place);
    let is_ours = |name: &OsStr| {
        let rest = name.as_encoded_bytes().strip_prefix(front.as_encoded_bytes());
        let number = rest.and_then(|rest| rest.strip_suffix(PART.as_bytes()));
        number.is_some_and(|number| number.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-'))
    };
    let entries = fs::read_dir(folder(place)).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_ours(&entry.file_name())) {
        let is_dead = File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if is_dead {
            drop(fs::remove_file(entry.path()));
        }
    }
}

#[cfg(target_os = "linux")]
fn nameless(place: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let flags = rustix::fs::OFlags::TMPFILE.bits().cast_signed();
    OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(flags).open(folder(place))
}

#[cfg(target_os = "linux")]
fn name(file: &File, path: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;

    use rustix::fs::{AtFlags, CWD, linkat};

    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(not(target_os = "linux"))]
fn nameless(_: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
fn name(_: &File, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
