// SPDX-License-Identifier: Apache-2.0
//! A replay in figures.

use std::collections::BTreeMap;

use serde::Serialize;
use sunbeam_report::measures::wilson;

use crate::clock::Times;

/// What a replay came to. Keys are names of sources, classes and reasons: fixed words or the corpora's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Records that were played.
    pub records: u64,
    /// What was odd about their times.
    pub times: Times,
    /// By decision.
    pub decisions: BTreeMap<&'static str, u64>,
    /// Those that were blocked or would have been, by decision, layer and reason; those who passed for one.
    pub reasons: BTreeMap<String, u64>,
    /// By who decided of the scanner's models.
    pub scanner_paths: BTreeMap<&'static str, u64>,
    /// By who decided of the model of windows.
    pub ddos_paths: BTreeMap<&'static str, u64>,
    /// By source, class and label.
    pub sources: Vec<Row>,
    /// Of what somebody labelled: what is stopped of attacks, and of everything else.
    pub totals: Totals,
}

/// Of labels that are no heuristic's: what those say is no evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Its shares are rates of true positives.
    pub attack: Rates,
    /// Its shares are rates of false positives.
    pub benign: Rates,
}

/// Of one source, class and label.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    /// The corpus or log.
    pub source: String,
    /// The kind.
    pub class: String,
    /// `benign`, `attack`, the same with `weak` before it where heuristics say so; empty where nobody knows.
    pub label: &'static str,
    /// What became of its records.
    #[serde(flatten)]
    pub rates: Rates,
}

/// How many of some records were stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// All.
    pub records: u64,
    /// Of them, blocked.
    pub blocked: u64,
    /// Of them, let go though a layer would have blocked them.
    pub observed: u64,
    /// The share of the blocked, and the bounds of its 95 % interval (Wilson).
    pub blocked_share: [f64; 3],
    /// The share of the blocked and observed, and its bounds.
    pub flagged_share: [f64; 3],
}

impl Rates {
    pub(crate) fn of(records: u64, blocked: u64, observed: u64) -> Self {
        let (blocked_share, flagged_share) = (share(blocked, records), share(blocked + observed, records));
        Self { records, blocked, observed, blocked_share, flagged_share }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts")]
fn share(hits: u64, all: u64) -> [f64; 3] {
    let interval = wilson(hits as f64, all as f64);
    [hits as f64 / all.max(1) as f64, interval.low, interval.high]
}
