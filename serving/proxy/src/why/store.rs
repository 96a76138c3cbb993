// SPDX-License-Identifier: Apache-2.0
//! The decision store of a node: which requests go into it, by what they are found, who writes them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sunbeam_decisions::{
    Admission, Admitted, Bounds, Class, Entry, OpenError, QueueBounds, Reader, Recorder, Row, StartError,
    Writer, text_hash,
};
use sunbeam_listeners::ListenerMetrics;
use sunbeam_pipeline::{Decision, Judged, Scratch};
use sunbeam_tables::{HashKey, Moment};
use sunbeam_traffic::Layer;
use tracing::{error, warn};

use super::decision::{Ended, text};
use super::refused::Refused;
use crate::config::{Config, DecisionsSection};
use crate::state::folder_of;

/// What may wait to be written: a stranger chooses how long a request is.
const QUEUE: QueueBounds = QueueBounds { entries: 16_384, bytes: 32 << 20 };

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
enum DecisionsError {
    #[error("{error}{}", source_of(error))]
    Open { error: OpenError },
    #[error("{0}")]
    Start(#[from] StartError),
}

fn source_of(error: &OpenError) -> String {
    std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default()
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Decisions {
    /// `None`: nothing is kept,
    open: Option<Open>,
    /// although it should be.
    error: Option<String>,
    sampled: AtomicU64,
    limits: ListenerMetrics,
}

#[derive(Debug)]
struct Open {
    recorder: Recorder<Ended>,
    admission: Admission,
    reader: Reader,
    key: HashKey,
}

/// What is kept of a request that ends, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admitting {
    pub(crate) class: Class,
    /// Requests like it that this one stands for.
    pub(crate) stands_for: u32,
}

/// What became of decisions since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DecisionCounts {
    pub(crate) written: u64,
    pub(crate) sampled: u64,
    pub(crate) dropped: u64,
    pub(crate) failed: u64,
}

impl DecisionCounts {
    /// By the metric's label.
    pub(crate) const fn by_result(&self) -> [(&'static str, u64); 4] {
        [
            ("written", self.written),
            ("sampled", self.sampled),
            ("dropped", self.dropped),
            ("failed", self.failed),
        ]
    }
}

/// Where decisions are kept.
pub(crate) fn folder(config: &Config) -> PathBuf {
    match config.decisions.path.as_str() {
        "" => folder_of(&config.state.path).join("decisions"),
        path => PathBuf::from(path),
    }
}

fn bounds(section: &DecisionsSection) -> Bounds {
    let days = u64::from(section.max_age_days);
    Bounds { max_bytes: section.max_bytes, max_age: Duration::from_secs(days * 86_400) }
}

impl Decisions {
    /// Opens the store that a configuration names; what a crash left behind is put in order and spoken of. One that
    /// cannot be opened stops nothing else: nothing is kept then, which the log, `/api/v1/status` and a metric say.
    pub(crate) fn open(config: &Config, limits: ListenerMetrics) -> Self {
        let mut decisions = Self { open: None, error: None, sampled: AtomicU64::new(0), limits };
        let section = &config.decisions;
        if section.max_bytes == 0 {
            return decisions;
        }
        let folder = folder(config);
        match Open::begin(&folder, bounds(section)) {
            Ok(open) => decisions.open = Some(open),
            Err(failed) => {
                error!(
                    error = %failed,
                    folder = %folder.display(),
                    "no decisions are kept until the next start: `sunbeam why` will know nothing"
                );
                decisions.error = Some(failed.to_string());
            }
        }
        decisions
    }

    /// Why nothing is kept, although it should be.
    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Whether, and as what, a request is kept of which this was decided; `sample` is the share of plain passes that are,
    /// `id` the request's.
    pub(crate) fn admit(
        &self,
        judged: &Judged,
        id: u128,
        sample: f64,
        now: impl FnOnce() -> Moment,
    ) -> Option<Admitting> {
        let open = self.open.as_ref()?;
        let is_known = judged.identity.is_logged_in;
        if judged.decision == Decision::Passed {
            let key = open.key.number(0, id);
            return is_sampled(id, sample)
                .then(|| self.ask(open, Class::Passes, (key, None), is_known, now()))
                .flatten();
        }
        let class = match judged.layer {
            Some(Layer::Scanner | Layer::Waf) => Class::Content,
            Some(Layer::Lists | Layer::Ddos | Layer::RateLimit) | None => Class::Limits,
        };
        let layer = judged.layer.map_or(0, layer_number);
        self.ask(open, class, open.keys_of(layer, judged.reason, judged.client()), is_known, now())
    }

    /// Whether a request is kept that was refused without a layer.
    pub(crate) fn admit_refused(
        &self,
        refused: Refused,
        client: IpAddr,
        is_known: bool,
        now: Moment,
    ) -> Option<Admitting> {
        let open = self.open.as_ref()?;
        let keys = open.keys_of(refused.number(), refused.reason, client);
        self.ask(open, Class::Limits, keys, is_known, now)
    }

    fn ask(
        &self,
        open: &Open,
        class: Class,
        (key, client): (u64, Option<u64>),
        is_known: bool,
        now: Moment,
    ) -> Option<Admitting> {
        let now = Duration::from_micros(now.micros_since(Moment::default()));
        match open.admission.admit(class, key, client, is_known, now) {
            Admitted::Kept { stands_for } => return Some(Admitting { class, stands_for }),
            Admitted::Sampled => {}
            Admitted::LeftOut => self.limits.limit_hits("decisions_clients").inc(),
        }
        self.sampled.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Hands it over.
    pub(crate) fn keep(&self, ended: Ended) {
        let Some(open) = &self.open else { return };
        let bytes = ended.bytes();
        if !open.recorder.try_send(ended, bytes) {
            self.limits.limit_hits("decisions_queue").inc();
        }
    }

    /// Who reads it; `None`: nothing is kept.
    pub(crate) fn reader(&self) -> Option<&Reader> {
        self.open.as_ref().map(|open| &open.reader)
    }

    /// What became of decisions so far.
    pub(crate) fn counts(&self) -> DecisionCounts {
        let Some(open) = &self.open else { return DecisionCounts::default() };
        let counts = open.recorder.counts();
        DecisionCounts {
            written: counts.written,
            sampled: self.sampled.load(Ordering::Relaxed),
            dropped: counts.dropped,
            failed: counts.failed + counts.panicked + counts.declined,
        }
    }

    /// Writes what waits.
    pub(crate) fn close(&self) {
        if let Some(open) = &self.open {
            open.recorder.close();
        }
    }
}

impl Open {
    fn begin(folder: &Path, bounds: Bounds) -> Result<Self, DecisionsError> {
        let (writer, repaired) =
            Writer::open(folder, bounds).map_err(|error| DecisionsError::Open { error })?;
        if !repaired.is_nothing() {
            warn!(?repaired, folder = %folder.display(), "the decision store was damaged and is in order again");
        }
        let mut scratch = Scratch::default();
        let recorder = Recorder::start(writer, QUEUE, move |ended: Ended| {
            let text = text(&ended, &mut scratch)?;
            Some(Entry { class: ended.class, row: ended.row, text })
        })?;
        let (admission, reader) = (Admission::new(bounds), Reader::new(folder.to_owned()));
        Ok(Self { recorder, admission, reader, key: HashKey::random() })
    }

    /// Of what makes decisions alike: layer, reason, and the client's /24 or /48; and of layer, reason and client, which
    /// of IPv6 is a /64.
    fn keys_of(&self, layer: u8, reason: &str, client: IpAddr) -> (u64, Option<u64>) {
        let (network, client) = match client.to_canonical() {
            IpAddr::V4(address) => (u128::from(address.to_bits() >> 8), u128::from(address.to_bits())),
            IpAddr::V6(address) => (address.to_bits() >> 80 | 1 << 127, address.to_bits() >> 64 | 1 << 127),
        };
        let reason = self.key.bytes(1, reason.as_bytes()) ^ u64::from(layer);
        // Another seed: a network's number may be a client's.
        (self.key.number(reason, network), Some(self.key.number(!reason, client)))
    }
}

/// The id is random.
fn is_sampled(id: u128, sample: f64) -> bool {
    let low = u32::try_from(id & u128::from(u32::MAX)).unwrap_or(u32::MAX);
    f64::from(low) < sample * (f64::from(u32::MAX) + 1.0)
}

/// In a row on the disk: never given to another.
pub(crate) const fn layer_number(layer: Layer) -> u8 {
    match layer {
        Layer::Lists => 1,
        Layer::Ddos => 2,
        Layer::Scanner => 3,
        Layer::RateLimit => 4,
        Layer::Waf => 5,
    }
}

/// In a row on the disk: never given to another.
pub(crate) const fn decision_number(decision: Decision) -> u8 {
    match decision {
        Decision::Passed => 0,
        Decision::Observed => 1,
        Decision::Blocked => 2,
        Decision::Challenged => 3,
    }
}

/// What a decision is found by.
pub(crate) fn row(
    id: u128,
    at_micros: u64,
    (client, host, path): (&str, &str, &str),
    (layer, decision): (u8, u8),
) -> Row {
    Row {
        at_micros,
        id,
        client: text_hash(client),
        host: text_hash(host),
        path: text_hash(path),
        layer,
        decision,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_passes_are_kept_as_the_configuration_says() {
        let kept = |sample| (0..10_000_u128).filter(|n| is_sampled(n * 429_496, sample)).count();
        assert_eq!((kept(0.0), kept(1.0)), (0, 10_000));
        assert!((95..=105).contains(&kept(0.01)), "{}", kept(0.01));
    }
}
