// SPDX-License-Identifier: Apache-2.0
//! Logs through the pipeline that serves: the very same calls to judge, to hear the answer and to observe, at the
//! times that the log tells.

mod changes;
mod clock;
mod summary;
mod tally;
#[cfg(test)]
mod tests;
mod verdict;

use std::net::{IpAddr, Ipv6Addr};

use sunbeam_datasets::Record;
use sunbeam_features::{Finished, is_ours};
use sunbeam_pipeline::{Answer, Pipeline, Scratch};
use sunbeam_tables::HashKey;
use sunbeam_traffic::RequestFacts;

pub use changes::{Changes, Example, Kind};
pub use clock::Times;
pub use summary::{Rates, Row, Summary, Totals};
pub use tally::Tally;
pub use verdict::{Line, Replayed, Verdict};

use clock::Clock;

/// Plays records through a pipeline, in the order in which they come.
pub struct Replay<'a> {
    pipeline: &'a Pipeline,
    /// The place of the route of a host.
    route_of: &'a dyn Fn(&str) -> usize,
    scratch: Scratch,
    clock: Clock,
    /// Records without a client so far.
    nameless: u64,
}

impl std::fmt::Debug for Replay<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// Names clients that a log tells by a pseudonym.
const PSEUDONYMS: HashKey = HashKey::fixed(0x0c11_e275);

impl<'a> Replay<'a> {
    /// Through `pipeline`, which should have judged nothing yet.
    pub fn new(pipeline: &'a Pipeline, route_of: &'a dyn Fn(&str) -> usize) -> Self {
        Self { pipeline, route_of, scratch: Scratch::default(), clock: Clock::new(), nameless: 0 }
    }

    /// Judges a record, and tells the pipeline what became of it. Time never goes back ([`Times`]); a record without a
    /// client is one of its own, so that those of a corpus are not held against each other. Allocates nothing.
    pub fn play(&mut self, record: &Record) -> Replayed {
        let now = self.clock.at(record.at_micros, !record.client.is_empty());
        let client = self.client(&record.client);
        let cookies: [&[u8]; 1] = [if record.cookies.is_empty() { b"_" } else { record.cookies.as_bytes() }];
        let facts = facts(record, client, &cookies, (self.route_of)(&record.host));
        let judged = self.pipeline.judge(&facts, now, &mut self.scratch);
        let finished = finished(record);
        let answer = Answer {
            finished,
            site_status: None,
            is_login_redirect: false,
            gate: None,
            sessions_set: &[],
            log_ins_set: &[],
        };
        self.pipeline.answered(&judged, &answer, now);
        if finished.is_cheap {
            self.pipeline.was_cheap(&judged);
        }
        self.pipeline.observe(&judged, &finished, now);
        Replayed::of(&judged)
    }

    /// What was odd about the times so far.
    pub const fn times(&self) -> Times {
        self.clock.times()
    }

    /// The address, or one that stands for a pseudonym, or for nobody else.
    fn client(&mut self, name: &str) -> IpAddr {
        if name.is_empty() {
            self.nameless += 1;
            return stand_in(PSEUDONYMS.number(1, self.nameless.into()));
        }
        name.parse().unwrap_or_else(|_| stand_in(PSEUDONYMS.bytes(0, name.as_bytes())))
    }
}

fn facts<'r>(
    record: &'r Record,
    client: IpAddr,
    cookies: &'r [&'r [u8]; 1],
    route: usize,
) -> RequestFacts<'r> {
    RequestFacts {
        client,
        route,
        method: &record.method,
        host: &record.host,
        path: &record.path,
        query: &record.query,
        user_agent: &record.user_agent,
        referer: record.referer.as_bytes(),
        accept: record.accept.as_bytes(),
        accept_language: record.accept_language.as_bytes(),
        cookies: if record.has_cookies { cookies } else { &[] },
        content_length: record.content_length,
        content_type: content_type(record),
        body: &record.body,
        ..RequestFacts::EMPTY
    }
}

/// How the source says that the body is read.
fn content_type(record: &Record) -> &'static [u8] {
    match record.body_kind {
        sunbeam_datasets::BodyKind::None => b"",
        sunbeam_datasets::BodyKind::Form => b"application/x-www-form-urlencoded",
        sunbeam_datasets::BodyKind::Json => b"application/json",
        sunbeam_datasets::BodyKind::Other => b"application/octet-stream",
    }
}

/// An address that nobody has: of a network of its own within the range for documentation (RFC 9637), so that two are
/// not each other's neighbours.
fn stand_in(hash: u64) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(0x3fff_u128 << 112 | u128::from(hash >> 20) << 64 | 1))
}

fn finished(record: &Record) -> Finished<'_> {
    Finished {
        method: &record.method,
        has_cookies: record.has_cookies,
        has_referer: !record.referer.is_empty(),
        has_language: !record.accept_language.is_empty(),
        status: record.status,
        is_ours: record.status != 0 && is_ours(&record.backend, record.status, record.error.is_some()),
        is_cheap: record.backend == "static" && record.status < 400,
        duration_ms: record.duration_ms,
        content_length: record.content_length,
    }
}
