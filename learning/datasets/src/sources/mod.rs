// SPDX-License-Identifier: Apache-2.0
//! Readers of logs and corpora: one file for each format, listed in [`SOURCES`]. All of them stream.
//!
//! What is broken is counted, named by its first lines, and passed over; a file of which nothing can be read, or
//! more than half of which is broken, is an error.

mod audit;
mod combined;
mod csic;
mod envelope;
mod group;
mod labelled;
mod lenient;
mod lines;
mod modsecurity;
mod report;
mod request;
mod sink;
mod time;
mod trace;
mod wordlist;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

pub use lines::{LINE_BYTES_MAX, Line, Lines};
pub use report::{Fault, Found, ReadReport};
pub use sink::{GivenLabel, GroupBy, ReadOptions, Sink, Visitor};

use crate::hash::hex;

/// A format.
pub trait Source: Sync {
    /// What it is called on the command line.
    fn name(&self) -> &'static str;

    /// Whether a file may be of this format that begins with these lines (16 at most, blank ones left out).
    fn recognises(&self, head: &[&[u8]]) -> bool;

    /// Hands out every record until the stream ends or the visitor has enough. What is broken goes to the sink.
    ///
    /// # Errors
    /// When the stream cannot be read.
    fn read(&self, lines: &mut Lines<'_>, sink: &mut Sink<'_>) -> io::Result<()>;
}

/// Every format, the ones that are easily told first: a file is of the first that recognises it. Lists of words are
/// never recognised, only named.
pub const SOURCES: &[&dyn Source] = &[
    &labelled::Labelled,
    &trace::Trace,
    &modsecurity::ModSecurity,
    &csic::Csic,
    &envelope::Envelope,
    &audit::Audit,
    &combined::Combined,
    &wordlist::Wordlist,
];

/// Why a file could not be read. Shown to the operator as it stands.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It could not be opened.
    #[error("failed to open `{name}`")]
    Open {
        /// The file.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It broke off: a disk, or a zstd file that is cut or damaged.
    #[error("failed to read `{name}` after {records} records")]
    Read {
        /// The file.
        name: String,
        /// Handed out until then.
        records: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Packed in a way that is not unpacked here.
    #[error("`{name}` is packed with gzip: unpack it first, or pack it with zstd")]
    Gzip {
        /// The file.
        name: String,
    },
    /// No format recognises its first lines.
    #[error("the format of `{name}` is none that is known by its first lines; name it: {known}")]
    UnknownFormat {
        /// The file.
        name: String,
        /// Names of the formats.
        known: String,
    },
    /// A name that no format has.
    #[error("there is no format `{format}`; there are {known}")]
    NoSuchFormat {
        /// What was asked for.
        format: String,
        /// Names of the formats.
        known: String,
    },
    /// Not one record.
    #[error("nothing in `{name}` could be read as `{format}`: {reason}")]
    Nothing {
        /// The file.
        name: String,
        /// As which it was read.
        format: &'static str,
        /// What was there instead.
        reason: String,
    },
    /// So much is broken that the rest cannot be trusted to be what it seems.
    #[error("{broken} of {} lines of `{name}` are broken as `{format}`, most of them {reason} (lines {lines})", broken + records)]
    MostlyBroken {
        /// The file.
        name: String,
        /// As which it was read.
        format: &'static str,
        /// Lines that could not be used.
        broken: u64,
        /// Lines that could.
        records: u64,
        /// The commonest fault.
        reason: Fault,
        /// Where it was found first.
        lines: Found,
    },
}

/// Reads a file, packed with zstd or not, and hands its records to `visit` one by one, in the file's order.
/// Memory is bounded by [`LINE_BYTES_MAX`] and, for packed files, by zstd's window (128 MiB at most).
///
/// Records are handed out before it is known whether more than half of the file is broken: what they were used for
/// is void when this returns an error.
///
/// # Errors
/// See [`ReadError`].
pub fn read(path: &Path, options: &ReadOptions, visit: &mut Visitor<'_>) -> Result<ReadReport, ReadError> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|source| ReadError::Open { name: name.clone(), source })?;
    let mut options = options.clone();
    options.source.get_or_insert_with(|| stem(path));
    let mut input = BufReader::with_capacity(1 << 16, Hashing::new(file));
    let mut report = read_named(&name, &mut input, &options, visit)?;
    if !report.is_stopped {
        let failed = |source| ReadError::Read { name: name.clone(), records: report.records, source };
        io::copy(&mut input, &mut io::sink()).map_err(failed)?;
        let read = input.into_inner();
        (report.bytes, report.sha256) = (read.bytes, hex(&read.hash.finalize()));
    }
    Ok(report)
}

/// [`read`] for what is no file.
///
/// # Errors
/// See [`ReadError`].
pub fn read_from(
    input: &mut dyn BufRead,
    options: &ReadOptions,
    visit: &mut Visitor<'_>,
) -> Result<ReadReport, ReadError> {
    read_named("input", input, options, visit)
}

/// Bytes that are looked at to recognise a format.
const HEAD_BYTES: u64 = 1 << 16;
/// Lines that are looked at to recognise a format.
const HEAD_LINES: usize = 16;

fn read_named(
    name: &str,
    input: &mut dyn BufRead,
    options: &ReadOptions,
    visit: &mut Visitor<'_>,
) -> Result<ReadReport, ReadError> {
    let failed = |source| ReadError::Read { name: name.to_owned(), records: 0, source };
    let magic = input.fill_buf().map_err(failed)?;
    if magic.starts_with(&[0x1f, 0x8b]) {
        return Err(ReadError::Gzip { name: name.to_owned() });
    }
    if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let unpacked = zstd::Decoder::with_buffer(input).map_err(failed)?;
        return read_plain(name, &mut BufReader::with_capacity(1 << 16, unpacked), options, visit);
    }
    read_plain(name, input, options, visit)
}

fn read_plain(
    name: &str,
    input: &mut dyn BufRead,
    options: &ReadOptions,
    visit: &mut Visitor<'_>,
) -> Result<ReadReport, ReadError> {
    let mut head = Vec::new();
    let peeked = input.take(HEAD_BYTES).read_to_end(&mut head);
    peeked.map_err(|source| ReadError::Read { name: name.to_owned(), records: 0, source })?;
    let source = choose(name, &head, options)?;
    let mut whole = Cursor::new(head).chain(input);
    let mut sink = Sink::new(options, source.name(), visit);
    let done = source.read(&mut Lines::new(&mut whole), &mut sink);
    let report = sink.into_report();
    done.map_err(|source| ReadError::Read { name: name.to_owned(), records: report.records, source })?;
    judge(name, report)
}

fn choose(name: &str, head: &[u8], options: &ReadOptions) -> Result<&'static dyn Source, ReadError> {
    let found = match &options.format {
        Some(format) => SOURCES.iter().find(|source| source.name() == format),
        None => {
            let lines =
                head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
            let lines: Vec<&[u8]> = lines.take(HEAD_LINES).collect();
            SOURCES.iter().find(|source| !lines.is_empty() && source.recognises(&lines))
        }
    };
    found.copied().ok_or_else(|| match &options.format {
        Some(format) => ReadError::NoSuchFormat { format: format.clone(), known: known() },
        None => ReadError::UnknownFormat { name: name.to_owned(), known: known() },
    })
}

fn known() -> String {
    SOURCES.iter().map(|source| format!("`{}`", source.name())).collect::<Vec<_>>().join(", ")
}

fn judge(name: &str, report: ReadReport) -> Result<ReadReport, ReadError> {
    let (broken, commonest) = (report.broken(), report.commonest());
    let name = name.to_owned();
    let format = report.format;
    match commonest {
        None if report.records == 0 => {
            let reason = format!("it has {} lines of something else, and no others", report.other_lines);
            Err(ReadError::Nothing { name, format, reason })
        }
        Some((fault, found)) if report.records == 0 => {
            let reason = format!("{broken} lines are broken, most of them {fault} (lines {found})");
            Err(ReadError::Nothing { name, format, reason })
        }
        Some((reason, found)) if broken > report.records => {
            let (records, lines) = (report.records, found.clone());
            Err(ReadError::MostlyBroken { name, format, broken, records, reason, lines })
        }
        _ => Ok(report),
    }
}

/// `access` of `/logs/access.log.zst`
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').find(|part| !part.is_empty()).unwrap_or("unnamed").to_owned()
}

/// Hashes what passes through.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R> Hashing<R> {
    fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        self.bytes = self.bytes.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}

/// Does `work` for each line that is not blank; lines over the bound are counted.
fn each_line(
    lines: &mut Lines<'_>,
    sink: &mut Sink<'_>,
    mut work: impl FnMut(u64, &[u8], &mut Sink<'_>),
) -> io::Result<()> {
    while !sink.is_stopped()
        && let Some((number, line)) = lines.next_line()?
    {
        match line {
            Line::TooLong => sink.fault(number, Fault::TooLong),
            Line::Text(text) if text.trim_ascii().is_empty() => {}
            Line::Text(text) => work(number, text.trim_ascii(), sink),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
