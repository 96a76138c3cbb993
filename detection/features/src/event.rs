// SPDX-License-Identifier: Apache-2.0
//! From a request that is over to what windows count.

use sunbeam_traffic::AuditRecord;

use crate::canonical::{PathNotes, canonical_path};
use crate::probes::{Probe, probe};
use crate::window::{EventHash, FULL_COST, WindowEvent};

/// What a window counts by hash; worked out once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hashes {
    /// The path.
    pub path: PathFacts,
    /// The host's.
    pub host: u64,
    /// The user agent's.
    pub agent: u64,
}

impl Hashes {
    /// Of a request. `canonical` gets the canonical form of its path.
    pub fn of(path: &[u8], host: &str, agent: &str, hash: &EventHash, canonical: &mut Vec<u8>) -> Self {
        Self { path: path_facts(path, hash, canonical), host: hash.host(host), agent: hash.agent(agent) }
    }
}

/// What the path of a request says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathFacts {
    /// Of the canonical path.
    pub hash: u64,
    /// It asks for what probes ask for, or climbs.
    pub is_probe: bool,
    /// How much it is what probes ask for.
    pub probe: Probe,
    /// What was seen on the way to its canonical form.
    pub notes: PathNotes,
}

/// Reads a path as sent. `canonical` gets its canonical form.
pub fn path_facts(path: &[u8], hash: &EventHash, canonical: &mut Vec<u8>) -> PathFacts {
    canonical.clear();
    let notes: PathNotes = canonical_path(path, canonical);
    let climbs = notes.above_root || notes.had_nul || notes.traversals > 0;
    let probe = probe(canonical);
    PathFacts { hash: hash.path(canonical), is_probe: climbs || probe > Probe::No, probe, notes }
}

/// A request that is over, as its audit record tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished<'a> {
    /// As sent.
    pub method: &'a str,
    /// Whether any came.
    pub has_cookies: bool,
    /// Whether one came.
    pub has_referer: bool,
    /// Whether one came.
    pub has_language: bool,
    /// Of the answer.
    pub status: u16,
    /// Nobody but us answered: a block, a limit, a refusal, no route.
    pub is_ours: bool,
    /// A static file (or, once there is a cache, a hit).
    pub is_cheap: bool,
    /// To the end of the answer.
    pub duration_ms: u64,
    /// Announced.
    pub content_length: u64,
}

impl<'a> Finished<'a> {
    /// What a record says.
    pub fn of_record<S: AsRef<str>>(record: &'a AuditRecord<S>) -> Self {
        let backend = record.backend.as_ref();
        Self {
            method: record.method.as_ref(),
            has_cookies: record.has_cookies,
            has_referer: !record.referer.as_ref().is_empty(),
            has_language: !record.accept_language.as_ref().is_empty(),
            status: record.status,
            is_ours: is_ours(backend, record.status, record.error.is_some()),
            is_cheap: backend == STATIC_BACKEND && record.status < 400,
            duration_ms: record.duration_ms,
            content_length: record.content_length,
        }
    }
}

/// Whether an answer was ours alone: nobody was asked, or what the client sent broke off on the way (its body too
/// large, too slow, malformed), which is told by the error that we noted.
pub fn is_ours(backend: &str, status: u16, has_error: bool) -> bool {
    backend.is_empty() || (has_error && matches!(status, 400 | 408 | 413))
}

/// What stands in a record's `backend` for files.
const STATIC_BACKEND: &str = "static";

/// A client that left before it was answered has status 499, which is nobody's error.
const CLIENT_LEFT: u16 = 499;

/// What a window counts of it. An answer that we made ourselves is no error of the client's, or a block would
/// be the reason for the next.
pub fn event(finished: &Finished<'_>, hashes: &Hashes, cheap_cost: u8) -> WindowEvent {
    let is_error = (400..CLIENT_LEFT).contains(&finished.status) && !finished.is_ours;
    WindowEvent {
        path: hashes.path.hash,
        host: hashes.host,
        agent: hashes.agent,
        method: match finished.method {
            "GET" | "HEAD" => 0,
            "POST" => 1,
            "PUT" | "DELETE" | "PATCH" | "OPTIONS" => 2,
            _ => 3,
        },
        is_error,
        has_cookies: finished.has_cookies,
        has_referer: finished.has_referer,
        has_language: finished.has_language,
        is_suspicious: hashes.path.is_probe,
        duration_ms: u32::try_from(finished.duration_ms).unwrap_or(u32::MAX),
        content_length: finished.content_length,
        cost: if finished.is_cheap && !is_error { cheap_cost } else { FULL_COST },
    }
}

#[cfg(test)]
mod tests {
    use sunbeam_tables::HashKey;

    use super::*;

    fn finished(status: u16, is_ours: bool) -> Finished<'static> {
        Finished {
            method: "GET",
            has_cookies: false,
            has_referer: false,
            has_language: false,
            status,
            is_ours,
            is_cheap: false,
            duration_ms: 1,
            content_length: 0,
        }
    }

    #[test]
    fn only_the_site_s_own_word_is_an_error() {
        for (name, status, is_ours, want) in [
            ("found", 200, false, false),
            ("the site has no such page", 404, false, true),
            ("the site refuses", 403, false, true),
            ("we refuse", 403, true, false),
            ("we limit", 429, true, false),
            ("the site fails", 500, false, false),
            ("the client left", 499, false, false),
        ] {
            let event = event(&finished(status, is_ours), &Hashes::default(), 10);
            assert_eq!(event.is_error, want, "{name}");
        }
    }

    #[test]
    fn a_path_is_one_path_however_it_is_written() {
        let hash = EventHash::new(HashKey::fixed(1));
        let mut canonical = Vec::new();
        let mut facts = |path: &str| path_facts(path.as_bytes(), &hash, &mut canonical);
        assert_eq!(facts("/a/b").hash, facts("/%61//B").hash);
        assert!(facts("/%2eenv").is_probe && facts("/x/..%2f..%2fetc/passwd").is_probe);
        assert!(!facts("/about").is_probe);
    }
}
