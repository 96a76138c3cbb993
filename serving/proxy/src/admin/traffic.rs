// SPDX-License-Identifier: Apache-2.0
//! `/api/v1/traffic`: the last hour in steps of ten seconds, worked out from the metrics as time goes by, so that who
//! asks costs nothing however long the node has run.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};
use sunbeam_traffic::Layer;

use crate::shared::Shared;

/// How long a step is.
pub(crate) const STEP_SECS: u64 = 10;

/// An hour of steps.
const STEPS_MAX: usize = 360;

const LAYERS: usize = Layer::ALL.len();

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Traffic(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    before: Totals,
    steps: VecDeque<Step>,
}

/// Since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Totals {
    requests: f64,
    failed: f64,
    challenged: f64,
    blocked: [f64; LAYERS],
    observed: [f64; LAYERS],
    /// Seconds and how many requests, of the whole, of our own part, of backends until they answered.
    whole: (f64, f64),
    added: (f64, f64),
    backend: (f64, f64),
}

#[derive(Clone, Copy, Debug)]
struct Step {
    at: i64,
    totals: Totals,
}

impl Traffic {
    /// Ends a step.
    pub(crate) fn sample(&self, shared: &Shared) {
        self.push(Timestamp::now().as_second(), Totals::of(shared));
    }

    fn push(&self, at: i64, now: Totals) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut inner.before, now);
        if inner.steps.len() >= STEPS_MAX {
            inner.steps.pop_front();
        }
        inner.steps.push_back(Step { at, totals: now.since(&before) });
    }

    /// By columns, oldest first.
    pub(crate) fn told(&self) -> Value {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let column = |of: &dyn Fn(&Step) -> Value| inner.steps.iter().map(of).collect::<Value>();
        let by_layer = |of: &dyn Fn(&Totals) -> &[f64; LAYERS]| {
            let of_layer = |(index, layer): (usize, &Layer)| {
                let count = |step: &Step| of(&step.totals).get(index).copied().unwrap_or_default();
                (
                    layer.as_str().to_owned(),
                    inner.steps.iter().map(|step| json!(count(step))).collect::<Value>(),
                )
            };
            Layer::ALL.iter().enumerate().map(of_layer).collect::<Value>()
        };
        json!({
            "step_seconds": STEP_SECS,
            "at": column(&|step| json!(step.at)),
            "requests": column(&|step| json!(step.totals.requests)),
            "failed": column(&|step| json!(step.totals.failed)),
            "challenged": column(&|step| json!(step.totals.challenged)),
            "blocked": by_layer(&|totals| &totals.blocked),
            "observed": by_layer(&|totals| &totals.observed),
            "whole_ms": column(&|step| mean_ms(step.totals.whole)),
            "added_ms": column(&|step| mean_ms(step.totals.added)),
            "backend_ms": column(&|step| mean_ms(step.totals.backend)),
        })
    }
}

impl Totals {
    fn of(shared: &Shared) -> Self {
        let registry = &shared.registry;
        let mut totals = Self::default();
        for series in registry.series("sunbeam_requests_total") {
            totals.requests += series.value;
            if series.label("status").is_some_and(|status| status.starts_with('5')) {
                totals.failed += series.value;
            }
        }
        for (index, layer) in Layer::ALL.iter().enumerate() {
            let name = layer.as_str();
            let blocked = registry.sum("sunbeam_blocked_requests_total", &[("layer", name)]);
            // Lists only block.
            let observed =
                registry.sum(&format!("sunbeam_{name}_decisions_total"), &[("decision", "observe")]);
            if let (Some(b), Some(o)) = (totals.blocked.get_mut(index), totals.observed.get_mut(index)) {
                (*b, *o) = (blocked, observed);
            }
        }
        totals.whole = registry.total("sunbeam_request_duration_seconds");
        totals.added = registry.total("sunbeam_added_latency_seconds");
        totals.backend = registry.total("sunbeam_backend_latency_seconds");
        totals.challenged = registry.sum("sunbeam_challenges_total", &[("result", "issued")]);
        totals
    }

    fn since(&self, before: &Self) -> Self {
        // A series that is gone (a backend that was removed) takes its count along.
        let less = |now: f64, before: f64| (now - before).max(0.0);
        let pair = |now: (f64, f64), before: (f64, f64)| (less(now.0, before.0), less(now.1, before.1));
        let layers = |now: &[f64; LAYERS], before: &[f64; LAYERS]| {
            let mut all = *now;
            for (now, before) in all.iter_mut().zip(before) {
                *now = less(*now, *before);
            }
            all
        };
        Self {
            requests: less(self.requests, before.requests),
            failed: less(self.failed, before.failed),
            challenged: less(self.challenged, before.challenged),
            blocked: layers(&self.blocked, &before.blocked),
            observed: layers(&self.observed, &before.observed),
            whole: pair(self.whole, before.whole),
            added: pair(self.added, before.added),
            backend: pair(self.backend, before.backend),
        }
    }
}

/// Nothing where nobody asked.
fn mean_ms((seconds, requests): (f64, f64)) -> Value {
    if requests < 0.5 { Value::Null } else { json!((seconds / requests * 1e6).round() / 1e3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_holds_what_came_in_it_and_an_hour_is_kept() {
        let traffic = Traffic::default();
        let totals =
            |requests: f64| Totals { requests, whole: (requests * 0.002, requests), ..Totals::default() };
        traffic.push(0, totals(5.0));
        traffic.push(10, totals(8.0));
        traffic.push(20, totals(8.0));
        traffic.push(30, totals(2.0));
        let told = traffic.told();
        assert_eq!(told["at"], json!([0, 10, 20, 30]));
        assert_eq!(told["requests"], json!([5.0, 3.0, 0.0, 0.0]), "never below zero");
        assert_eq!(told["whole_ms"], json!([2.0, 2.0, null, null]));
        for step in 0..1_000 {
            traffic.push(step, totals(8.0));
        }
        assert_eq!(traffic.told()["at"].as_array().unwrap().len(), STEPS_MAX);
        assert_eq!(traffic.told()["blocked"]["waf"].as_array().unwrap().len(), STEPS_MAX);
    }
}
