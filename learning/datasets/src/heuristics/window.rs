// SPDX-License-Identifier: Apache-2.0
//! What each client did in a window that moves along a log, counted exactly.
//!
//! Not what the proxy counts, on purpose: a label must not be made by the code that makes the features. Memory is
//! bounded by the requests of one window, of which [`EVENTS_MAX`] are kept at most.

use std::collections::{HashMap, VecDeque};

use sunbeam_features::canonical::canonical_path;
use sunbeam_features::{is_ours, is_probe};

use super::condition::about;
use crate::Record;
use crate::hash::text_key;

/// Requests that are kept: about 300 bytes each. Past that the oldest are forgotten first, which is counted.
const EVENTS_MAX: usize = 2_000_000;

/// See the module.
pub(super) struct Windows {
    window_micros: i64,
    window_secs: f64,
    now: i64,
    events: VecDeque<(i64, Event)>,
    clients: HashMap<u128, Client>,
    forgotten: u64,
}

/// Sums of a client's window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    window_secs: f64,
    requests: u64,
    /// Requests with a status.
    answers: u64,
    pub(super) client_errors: u64,
    pub(super) server_errors: u64,
    pub(super) cookies: u64,
    pub(super) referers: u64,
    pub(super) languages: u64,
    pub(super) posts: u64,
    pub(super) probes: u64,
    pub(super) duration_ms: u64,
    pub(super) content_bytes: u64,
    paths: usize,
    hosts: usize,
    agents: usize,
}

impl Totals {
    pub(super) fn requests(&self) -> f64 {
        about(self.requests)
    }

    pub(super) fn per_second(&self) -> f64 {
        about(self.requests) / self.window_secs
    }

    pub(super) fn paths(&self) -> f64 {
        count(self.paths)
    }

    pub(super) fn hosts(&self) -> f64 {
        count(self.hosts)
    }

    pub(super) fn agents(&self) -> f64 {
        count(self.agents)
    }

    /// 0 when every path is another, near 1 when all are the same.
    pub(super) fn repetition(&self) -> f64 {
        1.0 - count(self.paths) / about(self.requests.max(1))
    }

    pub(super) fn of_requests(&self, part: u64) -> f64 {
        about(part) / about(self.requests.max(1))
    }

    pub(super) fn of_answers(&self, part: u64) -> f64 {
        about(part) / about(self.answers.max(1))
    }

    pub(super) fn mean(&self, sum: u64) -> f64 {
        about(sum) / about(self.requests.max(1))
    }
}

impl Windows {
    pub(super) fn new(window_secs: u32) -> Self {
        Self {
            window_micros: i64::from(window_secs) * 1_000_000,
            window_secs: window_secs.into(),
            now: i64::MIN,
            events: VecDeque::new(),
            clients: HashMap::new(),
            forgotten: 0,
        }
    }

    /// Requests that had to be forgotten before their time.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Counts a record and returns its client's sums. `direction` is -1 when a log is read from its end. A record
    /// that is older than the one before counts as of the same time. None for records without time or client.
    pub(super) fn observe(&mut self, record: &Record, direction: i64) -> Option<Totals> {
        let at = record.at_micros.filter(|_| !record.client.is_empty())?.saturating_mul(direction);
        self.now = self.now.max(at);
        self.forget();
        let event = Event::of(record);
        let client = self.clients.entry(event.client).or_default();
        client.add(&event);
        let totals = Totals { window_secs: self.window_secs, ..client.totals() };
        self.events.push_back((self.now, event));
        Some(totals)
    }

    fn forget(&mut self) {
        while let Some((at, _)) = self.events.front() {
            let is_old = at.saturating_add(self.window_micros) <= self.now;
            if !is_old && self.events.len() < EVENTS_MAX {
                return;
            }
            self.forgotten += u64::from(!is_old);
            let Some((_, event)) = self.events.pop_front() else { return };
            if let Some(client) = self.clients.get_mut(&event.client) {
                client.remove(&event);
                if client.sums.requests == 0 {
                    self.clients.remove(&event.client);
                }
            }
        }
    }
}

/// What is counted of a request.
struct Event {
    client: u128,
    path: u128,
    host: u128,
    agent: u128,
    sums: Totals,
}

impl Event {
    fn of(record: &Record) -> Self {
        let mut canonical = Vec::new();
        let notes = canonical_path(record.path.as_bytes(), &mut canonical);
        let is_probe = notes.above_root || notes.had_nul || is_probe(&canonical);
        // An answer that the proxy made itself is nobody's error, nor is a client's leaving.
        let is_site_s =
            record.status != 499 && !is_ours(&record.backend, record.status, record.error.is_some());
        let sums = Totals {
            requests: 1,
            answers: u64::from(record.status != 0),
            client_errors: u64::from((400..500).contains(&record.status) && is_site_s),
            server_errors: u64::from((500..600).contains(&record.status)),
            cookies: u64::from(record.has_cookies),
            referers: u64::from(!record.referer.is_empty()),
            languages: u64::from(!record.accept_language.is_empty()),
            posts: u64::from(record.method == "POST"),
            probes: u64::from(is_probe),
            // Sums of as many as there may be stay exact.
            duration_ms: record.duration_ms.min(u32::MAX.into()),
            content_bytes: record.content_length.min(u32::MAX.into()),
            ..Totals::default()
        };
        Self {
            client: text_key(&record.client_group()),
            path: text_key(&String::from_utf8_lossy(&canonical)),
            host: text_key(&record.host),
            agent: text_key(&record.user_agent),
            sums,
        }
    }
}

#[derive(Default)]
struct Client {
    sums: Totals,
    paths: HashMap<u128, u32>,
    hosts: HashMap<u128, u32>,
    agents: HashMap<u128, u32>,
}

impl Client {
    fn add(&mut self, event: &Event) {
        self.change(event, |sum, part| *sum += part);
        for (counts, key) in self.counts(event) {
            *counts.entry(key).or_default() += 1;
        }
    }

    fn remove(&mut self, event: &Event) {
        self.change(event, |sum, part| *sum = sum.saturating_sub(part));
        for (counts, key) in self.counts(event) {
            if let Some(count) = counts.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&key);
                }
            }
        }
    }

    fn counts(&mut self, event: &Event) -> [(&mut HashMap<u128, u32>, u128); 3] {
        [(&mut self.paths, event.path), (&mut self.hosts, event.host), (&mut self.agents, event.agent)]
    }

    fn change(&mut self, event: &Event, change: impl Fn(&mut u64, u64)) {
        let (sums, parts) = (&mut self.sums, &event.sums);
        change(&mut sums.requests, parts.requests);
        change(&mut sums.answers, parts.answers);
        change(&mut sums.client_errors, parts.client_errors);
        change(&mut sums.server_errors, parts.server_errors);
        change(&mut sums.cookies, parts.cookies);
        change(&mut sums.referers, parts.referers);
        change(&mut sums.languages, parts.languages);
        change(&mut sums.posts, parts.posts);
        change(&mut sums.probes, parts.probes);
        change(&mut sums.duration_ms, parts.duration_ms);
        change(&mut sums.content_bytes, parts.content_bytes);
    }

    fn totals(&self) -> Totals {
        Totals { paths: self.paths.len(), hosts: self.hosts.len(), agents: self.agents.len(), ..self.sums }
    }
}

fn count(count: usize) -> f64 {
    about(u64::try_from(count).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn record(second: i64, client: u8, path: u8, status: u16) -> Record {
        Record {
            at_micros: Some(second * 1_000_000),
            client: client.to_string(),
            path: format!("/{path}"),
            status,
            backend: "http://a".into(),
            ..Record::default()
        }
    }

    #[test]
    fn records_without_time_or_client_have_no_window() {
        let mut windows = Windows::new(10);
        assert!(windows.observe(&Record { client: "a".into(), ..Record::default() }, 1).is_none());
        assert!(windows.observe(&Record { at_micros: Some(1), ..Record::default() }, 1).is_none());
    }

    #[test]
    fn what_the_proxy_answers_itself_is_no_error() {
        for (name, status, backend, want) in [
            ("the site's", 404, "http://a", 1),
            ("ours", 429, "", 0),
            ("the client left", 499, "http://a", 0),
            ("fine", 200, "http://a", 0),
        ] {
            let record = Record { backend: backend.into(), ..record(1, 1, 1, status) };
            assert_eq!(Windows::new(10).observe(&record, 1).unwrap().client_errors, want, "{name}");
        }
    }

    proptest! {
        /// Against a count of all that came before, each time anew.
        #[test]
        fn a_window_holds_what_the_last_seconds_hold(steps in vec((0_i64..8, 0_u8..3, 0_u8..5, 0_u16..600), 0..80)) {
            let mut windows = Windows::new(10);
            let mut log: Vec<Record> = Vec::new();
            let mut second = 0;
            for (step, client, path, status) in steps {
                second += step;
                log.push(record(second, client, path, status));
                let last = log.last().unwrap();
                let totals = windows.observe(last, 1).unwrap();
                let since = (second - 10) * 1_000_000;
                let own = |one: &&Record| one.client == last.client && one.at_micros > Some(since);
                let kept: Vec<_> = log.iter().filter(own).collect();
                let paths: HashSet<_> = kept.iter().map(|one| &one.path).collect();
                prop_assert_eq!((totals.requests, totals.paths), (kept.len() as u64, paths.len()));
                let errors = kept.iter().filter(|one| (400..499).contains(&one.status)).count() as u64;
                prop_assert_eq!(totals.client_errors, errors);
            }
            prop_assert!(windows.clients.len() <= 3);
        }
    }
}
