// SPDX-License-Identifier: Apache-2.0
//! `/api/v1/waf`: the rules that are asked, and what they did.

use serde_json::{Value, json};
use sunbeam_pipeline::Tally;
use sunbeam_waf::compile::Rule;
use sunbeam_waf::engine::statistics::SAMPLED_OF;

use crate::judging::waf::RulesInUse;
use crate::snapshot::Snapshot;

/// Each rule with where it stands.
pub(super) fn rules(snapshot: &Snapshot) -> Value {
    let told = |(number, rule): (u32, &Rule), in_use: &RulesInUse| {
        json!({
            "id": rule.id,
            "phase": rule.phase,
            "message": rule.message(),
            "category": category(rule),
            "severity": rule.severity,
            "tags": rule.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(),
            "at": format!("{}:{}", rule.span.file, rule.span.line),
            "is_asked": in_use.set.can_run(number),
        })
    };
    json!({
        "since": since(snapshot),
        "rules": each(snapshot, told),
    })
}

/// What each did since they were read.
pub(super) fn stats(snapshot: &Snapshot) -> Value {
    let statistics = snapshot.waf.as_ref().map(|in_use| in_use.set.statistics());
    let told = |(number, rule): (u32, &Rule), in_use: &RulesInUse| {
        let counts = in_use.set.statistics().of(number as usize);
        json!({
            "id": rule.id,
            "phase": rule.phase,
            "message": rule.message(),
            "category": category(rule),
            "is_asked": in_use.set.can_run(number),
            "hits": counts.hits,
            "runs": counts.runs,
            "matches": counts.matches,
            "nanoseconds": counts.nanoseconds,
        })
    };
    json!({
        "since": since(snapshot),
        "transactions": statistics.map_or(0, |statistics| statistics.transactions()),
        "sampled": statistics.map_or(0, |statistics| statistics.sampled()),
        "timed": statistics.map_or(0, |statistics| statistics.timed()),
        "sampled_of": SAMPLED_OF,
        "rules": each(snapshot, told),
    })
}

/// None where rules are not asked.
fn each(snapshot: &Snapshot, told: impl Fn((u32, &Rule), &RulesInUse) -> Value) -> Vec<Value> {
    let Some(in_use) = &snapshot.waf else { return Vec::new() };
    (0..).zip(in_use.set.rules()).map(|numbered| told(numbered, in_use)).collect()
}

fn since(snapshot: &Snapshot) -> Option<String> {
    snapshot.waf.as_ref().map(|in_use| format!("{:.0}", in_use.read_at))
}

/// As metrics name it.
fn category(rule: &Rule) -> &'static str {
    let mut tally = Tally::default();
    tally.add(rule.tags.iter().map(|tag| &**tag));
    tally.most().as_str()
}
