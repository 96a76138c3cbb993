// SPDX-License-Identifier: Apache-2.0
//! The recording as it is committed: of each line what models may look at, and nothing that tells where and
//! when it was made.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Entry, Label};

/// Requests that are kept of a run, the first ones.
const KEPT_MAX: usize = 1500;

/// Bytes of the whole file: it lies in the repository.
const FILE_BYTES_MAX: u64 = 600_000;

/// The best that zstd does without special windows.
const LEVEL: i32 = 19;

/// What is read of a line of the audit log.
#[derive(Debug, Deserialize)]
struct Record {
    timestamp: String,
    client_ip: String,
    method: String,
    path: String,
    query: String,
    user_agent: String,
    referer: String,
    accept: String,
    accept_language: String,
    has_cookies: bool,
    content_length: u64,
    header_count: u32,
    status: u16,
    duration_ms: u64,
    backend: String,
}

/// One request. Texts are empty where the client sent none.
#[derive(Debug, Serialize)]
struct Line<'a> {
    tool: &'a str,
    intensity: &'a str,
    label: Label,
    /// One client: an address in a run.
    session: String,
    /// Microseconds since the session's first request.
    at_us: i64,
    method: &'a str,
    path: &'a str,
    /// Empty for attacks: payloads are another model's matter.
    query: &'a str,
    user_agent: &'a str,
    /// The path of it: host and port are this machine's.
    referer: &'a str,
    accept: &'a str,
    accept_language: &'a str,
    has_cookies: bool,
    content_length: u64,
    header_count: u32,
    status: u16,
    duration_ms: u64,
    /// `site`, or empty when the node answered itself.
    backend: &'static str,
}

/// Writes the compact form of all runs.
///
/// # Errors
/// When it would be larger than the repository shall hold.
pub(super) fn write(out: &Path, entries: &[Entry], to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("a folder")?)?;
    let mut file = zstd::Encoder::new(BufWriter::new(File::create(to)?), LEVEL)?;
    for entry in entries {
        write_run(out, entry, &mut file).with_context(|| entry.file.clone())?;
    }
    file.finish()?.flush()?;
    let bytes = fs::metadata(to)?.len();
    println!("{}: {bytes} bytes", to.display());
    if bytes > FILE_BYTES_MAX {
        bail!("the recording has {bytes} bytes, which is more than {FILE_BYTES_MAX}");
    }
    Ok(())
}

fn write_run(out: &Path, entry: &Entry, to: &mut impl std::io::Write) -> Result<()> {
    let text = fs::read_to_string(out.join(&entry.file))?;
    let mut records = text.lines().map(read).collect::<Result<Vec<_>>>()?;
    // Lines are written when answers end; sessions are read as requests began.
    records.sort_by_key(|(at, _)| *at);
    let mut begins = BTreeMap::new();
    for (at, record) in records.iter().take(KEPT_MAX) {
        let begin = *begins.entry(record.client_ip.as_str()).or_insert(*at);
        serde_json::to_writer(&mut *to, &line(entry, record, at - begin))?;
        to.write_all(b"\n")?;
    }
    Ok(())
}

/// When it began, in microseconds since 1970, and the rest.
fn read(line: &str) -> Result<(i64, Record)> {
    let record: Record = serde_json::from_str(line)?;
    let at: Timestamp = record.timestamp.parse()?;
    Ok((at.as_microsecond(), record))
}

fn line<'a>(entry: &'a Entry, record: &'a Record, at_us: i64) -> Line<'a> {
    Line {
        tool: &entry.tool,
        intensity: &entry.intensity,
        label: entry.label,
        session: session(entry, &record.client_ip),
        at_us,
        method: &record.method,
        path: &record.path,
        query: if entry.label == Label::Attack { "" } else { &record.query },
        user_agent: &record.user_agent,
        referer: path_of(&record.referer),
        accept: &record.accept,
        accept_language: &record.accept_language,
        has_cookies: record.has_cookies,
        content_length: record.content_length,
        header_count: record.header_count,
        status: record.status,
        duration_ms: record.duration_ms,
        backend: if record.backend.is_empty() { "" } else { "site" },
    }
}

fn session(entry: &Entry, address: &str) -> String {
    let run = format!("{}-{}", entry.tool, entry.intensity);
    match entry.sessions.iter().find(|(known, _)| known == address) {
        Some((_, name)) => format!("{run}/{name}"),
        None => run,
    }
}

/// `/a` of `http://host:1/a?b`
fn path_of(referer: &str) -> &str {
    let rest = referer.split_once("://").map_or(referer, |(_, rest)| rest);
    let path = rest.find('/').and_then(|begin| rest.get(begin..)).unwrap_or("/");
    if referer.is_empty() { "" } else { path.split(['?', '#']).next().unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_referer_the_path_is_kept() {
        for (referer, want) in [
            ("", ""),
            ("http://127.0.0.1:8080/a/b?c=d", "/a/b"),
            ("https://www.example.org", "/"),
            ("https://www.example.org/", "/"),
            ("/only/a/path#there", "/only/a/path"),
        ] {
            assert_eq!(path_of(referer), want, "{referer}");
        }
    }
}
