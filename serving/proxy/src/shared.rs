// SPDX-License-Identifier: Apache-2.0
//! What all threads of a node share.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use jiff::Timestamp;
use sunbeam_listeners::{ConnectionGuard, ListenerMetrics, TlsStore};
use sunbeam_metrics::Registry;
use sunbeam_pipeline::{DetectionMetrics, Memory};
use sunbeam_tables::Moment;
use sunbeam_traffic::truncated_address;
use sunbeam_waf::collections::{Bounds, Collections};
use tokio::sync::{broadcast, watch};

use crate::audit_log::AuditLog;
use crate::challenge::Challenges;
use crate::config::{AuditSection, ClientIp, Config};
use crate::judging::Additions;
use crate::judging::models::{DETECTORS, DriftWatch};
use crate::metrics::ProxyMetrics;
use crate::snapshot::{Judging, Snapshot};
use crate::telemetry::Telemetry;
use crate::why::store::Decisions;

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) tls: Arc<TlsStore>,
    pub(crate) guard: Arc<ConnectionGuard>,
    pub(crate) registry: Registry,
    pub(crate) metrics: ProxyMetrics,
    pub(crate) detection: DetectionMetrics,
    pub(crate) memory: Arc<Memory>,
    /// What the WAF's rules remember, whatever rules there are.
    pub(crate) collections: Arc<Collections>,
    /// What was put beside the configuration. Changed behind the lock of `Core::changing` only.
    pub(crate) additions: Mutex<Additions>,
    /// Looked at once a minute, and when somebody asks.
    pub(crate) drift: Mutex<DriftWatch>,
    pub(crate) listener_metrics: ListenerMetrics,
    pub(crate) audit: AuditLog,
    /// What `why` reads.
    pub(crate) decisions: Decisions,
    pub(crate) events: Events,
    pub(crate) telemetry: Telemetry,
    pub(crate) address_hash: AddressHash,
    /// Who was challenged, and what they are challenged with.
    pub(crate) challenge: Challenges,
    pub(crate) draining: watch::Sender<bool>,
    pub(crate) started: Instant,
}

impl Shared {
    /// The configuration of now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Shows the node's names as a metric; those it had before go to 0.
    pub(crate) fn show_node(&self, config: &Config, before: Option<&Config>) {
        let set = |config: &Config, value| {
            let platform = &config.platform;
            self.metrics.node_info(&platform.environment, &config.node_name(), &platform.region).set(value);
        };
        if let Some(before) = before {
            set(before, 0);
        }
        set(config, 1);
    }

    /// An empty memory for rules. Where it is full, that is counted.
    pub(crate) fn collections(metrics: &ListenerMetrics) -> Arc<Collections> {
        let full = metrics.limit_hits("waf_collections");
        Arc::new(Collections::new(Bounds::default(), move || full.inc()))
    }

    /// What judging has that outlives configurations.
    pub(crate) fn judging(&self) -> Judging<'_> {
        Judging { memory: &self.memory, metrics: &self.detection, additions: self.additions().clone() }
    }

    pub(crate) fn additions(&self) -> MutexGuard<'_, Additions> {
        self.additions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn drift(&self) -> MutexGuard<'_, DriftWatch> {
        self.drift.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the models in use as a metric; those before them go.
    pub(crate) fn show_models(&self) {
        const NAME: &str = "sunbeam_model_info";
        let layers = &self.detection.layers;
        for series in self.registry.series(NAME) {
            let labels = series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            layers.forget(NAME, &labels.collect());
        }
        let snapshot = self.snapshot();
        for detector in DETECTORS {
            let chosen = snapshot.models.chosen(detector);
            let (version, trained_at) = (chosen.told("version"), chosen.told("trained_at"));
            layers.model_info(detector.as_str(), &version, &trained_at, &chosen.fingerprint()).set(1);
        }
    }

    /// The time that judging goes by: since the start, whatever the wall clock does.
    pub(crate) fn now(&self) -> Moment {
        self.moment_of(Instant::now())
    }

    pub(crate) fn moment_of(&self, at: Instant) -> Moment {
        Moment::default().after(at.saturating_duration_since(self.started))
    }

    /// An address as records of `now` show it.
    pub(crate) fn address_text(&self, address: IpAddr, audit: &AuditSection, now: Timestamp) -> String {
        match audit.client_ip {
            ClientIp::Full => address.to_string(),
            ClientIp::Truncated => truncated_address(address).to_string(),
            ClientIp::Hashed => self.address_hash.hash(address, now),
        }
    }

    /// Whether the node finishes what it has and takes nothing new.
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}

/// Audit records as they happen, for `tail`.
#[derive(Debug)]
pub(crate) struct Events(broadcast::Sender<Arc<str>>);

impl Events {
    pub(crate) fn new() -> Self {
        /// Records that a slow watcher may lag behind; then it loses the oldest.
        const BACKLOG: usize = 1024;
        Self(broadcast::channel(BACKLOG).0)
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.0.receiver_count() > 0
    }

    pub(crate) fn watch(&self) -> broadcast::Receiver<Arc<str>> {
        self.0.subscribe()
    }

    pub(crate) fn publish(&self, record: &sunbeam_traffic::AuditRecord<Cow<'_, str>>) {
        if !self.is_watched() {
            return;
        }
        let mut line = Vec::new();
        record.write_line(&mut line);
        if let Ok(text) = String::from_utf8(line) {
            // The last watcher may have left since the check.
            drop(self.0.send(text.trim_end().into()));
        }
    }
}

/// Addresses as keyed hashes: the same client is the same word all day, and nobody can compute it back,
/// because the key lives in memory only and is replaced at midnight UTC.
#[derive(Debug)]
pub(crate) struct AddressHash {
    of_day: Mutex<(i64, hmac::Key)>,
}

impl AddressHash {
    pub(crate) fn new() -> Self {
        Self { of_day: Mutex::new((0, fresh_key())) }
    }

    pub(crate) fn hash(&self, address: IpAddr, now: Timestamp) -> String {
        const DAY_SECS: i64 = 86_400;
        let day = now.as_second().div_euclid(DAY_SECS);
        let mut of_day = self.of_day.lock().unwrap_or_else(PoisonError::into_inner);
        if of_day.0 != day {
            *of_day = (day, fresh_key());
        }
        let tag = hmac::sign(&of_day.1, address.to_string().as_bytes());
        tag.as_ref().iter().take(16).fold(String::from("h:"), |text, byte| format!("{text}{byte:02x}"))
    }
}

fn fresh_key() -> hmac::Key {
    let random = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
    hmac::Key::new(hmac::HMAC_SHA256, &random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hashed_address_is_the_same_word_for_a_day_only() {
        let hash = AddressHash::new();
        let (one, two): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let day = |days: i64| Timestamp::from_second(days * 86_400 + 7).unwrap();
        let first = hash.hash(one, day(1));
        assert_eq!(first, hash.hash(one, day(1)));
        assert_ne!(first, hash.hash(two, day(1)));
        assert_ne!(first, hash.hash(one, day(2)));
        // Whoever knows address, day and algorithm still needs this process's key.
        assert_ne!(first, AddressHash::new().hash(one, day(1)));
    }
}
