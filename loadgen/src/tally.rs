// SPDX-License-Identifier: Apache-2.0
//! What became of the requests.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::client::Fault;
use crate::histogram::Histogram;

/// Counts and latencies while they come in.
#[derive(Debug)]
pub(crate) struct Tally {
    ok: u64,
    statuses: BTreeMap<u16, u64>,
    refused: u64,
    failed: u64,
    timeouts: u64,
    first_fault: Option<String>,
    latencies: Histogram,
}

/// The end: what is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    /// Requests that were due (open) or begun (closed).
    pub(crate) requests: u64,
    /// Answered with 2xx.
    pub(crate) ok: u64,
    /// Answers other than 2xx, by status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// No connection could be made.
    pub(crate) refused: u64,
    /// The connection broke before the answer's end.
    pub(crate) failed: u64,
    /// No whole answer in time.
    pub(crate) timeouts: u64,
    /// Sent again because a kept connection had been closed, as any client does.
    pub(crate) retried: u64,
    /// The first that went wrong, in words.
    pub(crate) first_fault: Option<String>,
    /// Of the 2xx answers, per second.
    pub(crate) rate: f64,
    /// Latencies of the 2xx answers, microseconds.
    pub(crate) p50_us: u64,
    /// Nine of ten.
    pub(crate) p90_us: u64,
    /// 99 of a hundred.
    pub(crate) p99_us: u64,
    /// 999 of a thousand.
    pub(crate) p999_us: u64,
    /// The slowest.
    pub(crate) max_us: u64,
    /// Open loop: the 2xx answers of the time in which the host took no processor away (`undisturbed.rs`).
    pub(crate) undisturbed: u64,
    /// Of those.
    pub(crate) undisturbed_p50_us: u64,
    /// Of those.
    pub(crate) undisturbed_p99_us: u64,
    /// The middle one of their tenths of a second.
    pub(crate) typical_p99_us: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            ok: 0,
            statuses: BTreeMap::new(),
            refused: 0,
            failed: 0,
            timeouts: 0,
            first_fault: None,
            latencies: Histogram::new(),
        }
    }

    /// Notes one request's end.
    pub(crate) fn note(&mut self, result: Result<u16, Fault>, latency: Duration) {
        match result {
            Ok(200..=299) => {
                self.ok += 1;
                self.latencies.record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
            }
            Ok(status) => *self.statuses.entry(status).or_default() += 1,
            Err(fault) => {
                match &fault {
                    Fault::Refused(_) => self.refused += 1,
                    Fault::Broken(_) => self.failed += 1,
                    Fault::Late => self.timeouts += 1,
                }
                self.first_fault.get_or_insert_with(|| fault.to_string());
            }
        }
    }

    pub(crate) fn outcome(self, requests: u64, retried: u64, took: Duration) -> Outcome {
        let latencies = self.latencies;
        debug_assert_eq!(latencies.count(), self.ok);
        Outcome {
            requests,
            ok: self.ok,
            statuses: self.statuses,
            refused: self.refused,
            failed: self.failed,
            timeouts: self.timeouts,
            retried,
            first_fault: self.first_fault,
            rate: per_second(self.ok, took),
            p50_us: latencies.per_mille(500),
            p90_us: latencies.per_mille(900),
            p99_us: latencies.per_mille(990),
            p999_us: latencies.per_mille(999),
            max_us: latencies.max(),
            undisturbed: 0,
            undisturbed_p50_us: 0,
            undisturbed_p99_us: 0,
            typical_p99_us: 0,
        }
    }
}

impl Outcome {
    pub(crate) fn with_undisturbed(self, (latencies, typical_p99_us): &(Histogram, u64)) -> Self {
        Self {
            undisturbed: latencies.count(),
            undisturbed_p50_us: latencies.per_mille(500),
            undisturbed_p99_us: latencies.per_mille(990),
            typical_p99_us: *typical_p99_us,
            ..self
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, ok, statuses, refused, failed, timeouts, retried, rate, .. } = self;
        writeln!(
            f,
            "requests {requests}: ok {ok} ({rate:.0}/s), refused {refused}, failed {failed}, timeouts {timeouts}, retried {retried}"
        )?;
        for (status, count) in statuses {
            writeln!(f, "status {status}: {count}")?;
        }
        if let Some(fault) = &self.first_fault {
            writeln!(f, "first fault: {fault}")?;
        }
        let Self { p50_us, p90_us, p99_us, p999_us, max_us, .. } = self;
        write!(f, "latency µs: p50 {p50_us} p90 {p90_us} p99 {p99_us} p99.9 {p999_us} max {max_us}")
    }
}

/// How often a second.
pub(crate) fn per_second(count: u64, took: Duration) -> f64 {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    f64::from(count) / took.as_secs_f64().max(1e-6)
}
