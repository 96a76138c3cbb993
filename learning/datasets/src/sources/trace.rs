// SPDX-License-Identifier: Apache-2.0
//! Recordings of `cargo xtask traffic`: a JSON object a request, labelled by who made it. Times are of the session.

use std::io;

use serde::Deserialize;

use super::lenient::fault;
use super::lines::Lines;
use super::report::Fault;
use super::{Sink, Source, each_line};
use crate::{Label, LabelSource, Record};

/// See the module.
pub(super) struct Trace;

impl Source for Trace {
    fn name(&self) -> &'static str {
        "trace"
    }

    fn recognises(&self, head: &[&[u8]]) -> bool {
        let has = |line: &[u8], key: &str| memchr::memmem::find(line, key.as_bytes()).is_some();
        let keys = ["\"tool\"", "\"intensity\"", "\"session\"", "\"at_us\""];
        head.first().is_some_and(|line| line.starts_with(b"{") && keys.iter().all(|key| has(line, key)))
    }

    fn read(&self, lines: &mut Lines<'_>, sink: &mut Sink<'_>) -> io::Result<()> {
        // One run after another, an hour apart, as they were made; the sessions of a run together.
        let (mut run, mut begins) = (String::new(), BEGINNING_MICROS);
        each_line(lines, sink, |number, line, sink| match record(line, sink.blank(), &mut run, &mut begins) {
            Ok(record) => sink.record(record),
            Err(fault) => sink.fault(number, fault),
        })
    }
}

#[derive(Deserialize)]
struct Row {
    tool: String,
    intensity: String,
    label: String,
    session: String,
    at_us: i64,
    method: String,
    path: String,
    query: String,
    user_agent: String,
    referer: String,
    accept: String,
    accept_language: String,
    has_cookies: bool,
    content_length: u64,
    status: u16,
    duration_ms: u64,
    backend: String,
}

/// The first run begins here.
const BEGINNING_MICROS: i64 = 1_000_000_000_000;
const RUN_MICROS: i64 = 3_600_000_000;

/// `run` is the run of the line before, which began at `begins`.
fn record(line: &[u8], blank: Record, run: &mut String, begins: &mut i64) -> Result<Record, Fault> {
    let row: Row = serde_json::from_slice(line).map_err(|error| fault(&error))?;
    let name = format!("{}-{}", row.tool, row.intensity);
    if name != *run {
        (*run, *begins) = (name, begins.saturating_add(RUN_MICROS));
    }
    let label = match row.label.as_str() {
        "benign" => Some(Label::Benign),
        "attack" if is_idle(&row.tool, &row.intensity) => None,
        "attack" => Some(Label::Attack),
        _ => return Err(Fault::WrongField),
    };
    Ok(Record {
        group: format!("{}/{}", blank.source, row.tool),
        class: row.tool,
        label,
        label_source: if label.is_some() { LabelSource::Corpus } else { LabelSource::Nobody },
        at_micros: Some(begins.saturating_add(row.at_us)),
        client: row.session,
        method: row.method,
        host: "www.example.org".to_owned(),
        path: row.path,
        query: row.query,
        user_agent: row.user_agent,
        referer: row.referer,
        accept: row.accept,
        accept_language: row.accept_language,
        has_cookies: row.has_cookies,
        has_own_headers: true,
        content_length: row.content_length,
        status: row.status,
        duration_ms: row.duration_ms,
        backend: row.backend,
        ..blank
    })
}

/// What makes a generator of load an attack is the load: one that asks as slowly as a person is none.
fn is_idle(tool: &str, intensity: &str) -> bool {
    let slow = ["1-a-second", "2-a-second", "5-a-second"].iter().any(|pace| intensity.starts_with(pace));
    matches!(tool, "h2load" | "wrk") && slow
}
