// SPDX-License-Identifier: Apache-2.0
//! What clients did, as rows of window features: each session is played through the very window that serves.

use std::collections::BTreeMap;

use sunbeam_datasets::{Label, Record};
use sunbeam_ensemble::{INPUTS, ddos_inputs};
use sunbeam_features::{EventHash, Finished, Hashes, Window, WindowShape, ddos, event, is_ours};
use sunbeam_tables::{HashKey, Moment};

/// A window at a moment of a session.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Where it is from.
    pub source: String,
    /// The tool, or the kind of people.
    pub class: String,
    /// The session.
    pub session: String,
    /// What it was.
    pub is_attack: bool,
    /// Requests until then.
    pub requests: u32,
    /// As they are read.
    pub features: [u32; ddos::COUNT],
    /// As the model gets them.
    pub inputs: [u8; INPUTS],
}

/// Whether a session is sighted after so many requests: each of its first thirty from the tenth on, then ever fewer.
fn is_moment(requests: u32) -> bool {
    match requests {
        0..10 => false,
        10..=30 => true,
        31..=100 => requests.is_multiple_of(10),
        _ => requests.is_multiple_of(50),
    }
}

/// Seconds that are looked back: the default.
const WINDOW_SECS: u32 = 60;
/// Events that are kept: the default.
const WINDOW_CAPACITY: u16 = 1000;

/// Sights of all sessions of labelled records that tell their time. A session is a client of a source, of IPv6 a whole
/// network, as for a node; its records must stand in order.
pub fn sightings<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<Sighting> {
    let shape = WindowShape::new(WINDOW_SECS, WINDOW_CAPACITY);
    let hash = EventHash::new(HashKey::fixed(0x0077_1d05));
    let mut windows: BTreeMap<(String, String), (Window, u32)> = BTreeMap::new();
    let mut found = Vec::new();
    let mut scratch = Vec::new();
    for record in records {
        let (Some(label), Some(at)) = (record.label, record.at_micros) else { continue };
        let session = record.client_group().into_owned();
        let key = (record.source.clone(), session.clone());
        let (window, requests) = windows.entry(key).or_default();
        let now = Moment::from_micros(u64::try_from(at).unwrap_or(0));
        let hashes =
            Hashes::of(record.path.as_bytes(), &record.host, &record.user_agent, &hash, &mut scratch);
        window.add(&event(&finished(record), &hashes, CHEAP), now, &shape);
        *requests += 1;
        if is_moment(*requests) {
            let features = window.features(now, &shape);
            found.push(Sighting {
                source: record.source.clone(),
                class: record.class.clone(),
                session,
                is_attack: label == Label::Attack,
                requests: *requests,
                features,
                inputs: ddos_inputs(&features),
            });
        }
    }
    found
}

/// What a static file counts, in hundredths: the default.
const CHEAP: u8 = 10;

/// How a record ended.
pub fn finished(record: &Record) -> Finished<'_> {
    Finished {
        method: &record.method,
        has_cookies: record.has_cookies,
        has_referer: !record.referer.is_empty(),
        has_language: !record.accept_language.is_empty(),
        status: record.status,
        is_ours: is_ours(&record.backend, record.status, record.error.is_some()),
        is_cheap: record.backend == "static" && record.status < 400,
        duration_ms: record.duration_ms,
        content_length: record.content_length,
    }
}
