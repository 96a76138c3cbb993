// SPDX-License-Identifier: Apache-2.0
//! Once a second: what is over goes, what is new is said, what is large is counted.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sunbeam_pipeline::{DOUBTERS, DetectionMetrics, FloodReport, Memory, Pipeline, Why};
use sunbeam_reputation::Origin;
use sunbeam_tables::Moment;
use sunbeam_traffic::Layer;
use tokio::time::interval;
use tracing::{error, info, warn};

use super::kept::KeptBan;
use super::people;
use crate::admin::STEP_SECS;
use crate::challenge::Level;
use crate::core::Core;
use crate::exceptions::ExceptionBook;
use crate::shared::Shared;
use crate::why::store::DecisionCounts;

/// Blocks that layers make are written down so often: a power cut loses as much.
const KEEP_EVERY_SECS: u64 = 5;

/// How often it is worked out whether traffic is still like what the models were trained on.
const LOOK_EVERY_SECS: u64 = 60;

/// In the order of what `show` reads.
const TABLES: [&str; 5] = ["windows", "identities", "sessions", "blocks", "people"];

/// Who was seen is written down so often.
const KEEP_PEOPLE_EVERY_SECS: u64 = 600;

/// How often an undeclared proxy is spoken of.
const SAY_EVERY_SECS: u64 = 3600;

/// How often it is worked out whether layers have proven themselves.
const PROVE_EVERY_SECS: u64 = 10;

#[derive(Debug, Default)]
struct Book {
    ticks: u64,
    kept: Vec<KeptBan>,
    evicted: [u64; TABLES.len()],
    decisions: DecisionCounts,
    proxy_requests: u64,
    proxy_said_at: Option<u64>,
    may_not_keep: bool,
    exceptions: ExceptionBook,
}

/// Challenges that a dashboard shows.
const CHALLENGED: [&str; 3] = ["issued", "solved", "failed"];

pub(super) async fn keep(core: Arc<Core>) {
    begin(&core.shared);
    let mut book = Book::default();
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let core = Arc::clone(&core);
        let worked = tokio::task::spawn_blocking(move || {
            core.tidy(&mut book);
            book
        });
        // A panic in there was logged by the hook; what it knew begins anew.
        book = worked.await.unwrap_or_default();
    }
}

/// What is rare and looked at by alerts is told as 0: nobody sees a rise from nothing to one.
fn begin(shared: &Shared) {
    for layer in DOUBTERS.map(Layer::as_str) {
        drop(shared.detection.layers.layer_fallbacks(layer));
        drop((shared.metrics.exception_hits(layer), shared.metrics.exception_high_scores(layer)));
    }
    for (result, level) in CHALLENGED.iter().flat_map(|result| Level::ALL.map(|level| (result, level))) {
        drop(shared.metrics.challenges(result, level.as_str()));
    }
}

/// The blocks that hold now, and who is left alone.
pub(super) fn bans(shared: &Shared) -> Vec<KeptBan> {
    let (moment, now) = (shared.now(), Timestamp::now().as_second());
    let bans = &shared.memory.bans;
    let all = bans.all(moment).into_iter().chain(bans.graced(moment));
    all.filter_map(|ban| KeptBan::of(&ban, moment, now)).collect()
}

impl Core {
    fn tidy(&self, book: &mut Book) {
        let shared = &self.shared;
        let now = shared.now();
        let listing = self.listing();
        let over: Vec<u64> = shared.memory.lists.expire(now).iter().map(|entry| entry.id).collect();
        // It is over also where it stays written: nobody puts it back.
        drop(self.state.forget_entries(&over));
        drop(listing);
        for report in shared.memory.floods.news() {
            self.say_flood(&report);
        }
        self.say_proxy(book);
        if book.ticks.is_multiple_of(KEEP_EVERY_SECS) {
            self.keep_changed_bans(book);
        }
        self.tidy_exceptions(&mut book.exceptions, book.ticks);
        self.take_back_unconfirmed();
        self.promote_challengers();
        let rules = shared.snapshot();
        if book.ticks.is_multiple_of(rules.pipeline.rules().eviction_interval_secs) {
            let identities = shared.memory.limiter.sweep(rules.pipeline.rules().stale_after_secs, now);
            shared.detection.layers.identities().set(i64::try_from(identities).unwrap_or(i64::MAX));
            shared.memory.evidence.sweep(now);
            shared.memory.proof.sweep(now);
        }
        if book.ticks.is_multiple_of(LOOK_EVERY_SECS) {
            shared.drift().look(&rules.models, &shared.detection);
        }
        if book.ticks.is_multiple_of(PROVE_EVERY_SECS) {
            prove(&rules.pipeline, &shared.detection, now);
        }
        if book.ticks % KEEP_PEOPLE_EVERY_SECS == KEEP_PEOPLE_EVERY_SECS - 1 {
            keep_people(self);
        }
        if book.ticks.is_multiple_of(STEP_SECS) {
            self.traffic.sample(shared);
        }
        show(shared, book);
        book.ticks += 1;
    }

    fn keep_changed_bans(&self, book: &mut Book) {
        // Not in the middle of an unblock.
        let _listing = self.listing();
        let bans = bans(&self.shared);
        let ends = |bans: &[KeptBan]| bans.iter().map(KeptBan::end).collect::<Vec<_>>();
        if ends(&bans) == ends(&book.kept) {
            return;
        }
        match self.state.keep_bans(&bans) {
            Ok(()) => (book.kept, book.may_not_keep) = (bans, false),
            // While it is handed over, the other process keeps them.
            Err(crate::state::StateError::Lent) => {}
            Err(error) => {
                if !book.may_not_keep {
                    error!(%error, "blocks are not kept over a restart; trying on");
                }
                book.may_not_keep = true;
            }
        }
    }

    fn say_flood(&self, report: &FloodReport) {
        let snapshot = self.shared.snapshot();
        let route = snapshot.pipeline.rules().route_of(report.flood.route);
        let route =
            route.and_then(|route| snapshot.table.routes().get(route)).map_or("other", |route| &route.name);
        warn!(
            route,
            ja4 = report.flood.ja4.as_deref().unwrap_or("any"),
            header_order =
                report.flood.header_order.map_or_else(|| "any".to_owned(), |order| format!("{order:012x}")),
            network = report.flood.network.map_or_else(|| "any".to_owned(), |network| network.to_string()),
            clients = report.clients,
            requests = report.requests,
            "a flood from many addresses that have this in common"
        );
    }

    fn say_proxy(&self, book: &mut Book) {
        let requests = self.shared.detection.layers.undeclared_proxy_requests().get();
        let is_new = requests > book.proxy_requests;
        book.proxy_requests = requests;
        let is_time = book.proxy_said_at.is_none_or(|at| book.ticks >= at + SAY_EVERY_SECS);
        if is_new && is_time {
            book.proxy_said_at = Some(book.ticks);
            let becomes = if self.shared.snapshot().pipeline.rules().has_declared_proxies {
                "it is judged as one client"
            } else {
                "it is not limited, and nobody behind it can be told apart"
            };
            warn!(
                requests,
                becomes,
                "requests come through a proxy that is not in `listen.trusted_proxies`: all its visitors share one address"
            );
        }
    }
}

/// Writes down who was seen. While the state is handed over, the other process does.
pub(super) fn keep_people(core: &Core) {
    if core.state.is_lent() {
        return;
    }
    if let Err(error) = people::keep(&core.shared.memory.proof, core.shared.now(), core.state.folder()) {
        warn!(%error, "what layers were proven by is not kept over a restart");
    }
}

/// Layers act on what they doubt as long as people prove them right.
pub(crate) fn prove(pipeline: &Pipeline, metrics: &DetectionMetrics, now: Moment) {
    let budget = pipeline.rules().false_positive_budget;
    let (standings, turned) = pipeline.memory().proof.look(budget, now);
    let layers = &metrics.layers;
    layers.false_positive_budget().set(budget);
    for standing in standings {
        let name = standing.layer.as_str();
        for (bound, rate) in ["lower", "seen", "upper"].into_iter().zip(standing.rate) {
            layers.false_positive_rate(name, bound).set(rate);
        }
        let (people, hurt) = standing.people_and_hurt();
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        layers.people(name, "hurt").set(number(hurt));
        layers.people(name, "unhurt").set(number(people.saturating_sub(hurt)));
        layers.layer_proven(name).set(i64::from(standing.is_proven()));
    }
    for turn in turned {
        let [_, seen, upper] = turn.standing.rate;
        let (people, hurt) = turn.standing.people_and_hurt();
        let layer = turn.layer.as_str();
        if turn.standing.is_proven() {
            info!(
                layer,
                people,
                hurt,
                upper,
                budget,
                "a layer has proven itself: what it doubts is acted on in mode `auto`"
            );
            continue;
        }
        layers.layer_fallbacks(layer).inc();
        if turn.standing.why == Why::TooFew {
            warn!(
                layer,
                people,
                hurt,
                budget,
                "a layer has lost its proof, for too few people were seen of late: what it doubts is only watched again"
            );
        } else {
            error!(
                layer,
                people,
                hurt,
                seen,
                upper,
                budget,
                "a layer hurts more people than it may: what it doubts is only watched again; `sunbeam enforce --plan` shows them"
            );
        }
    }
}

fn show(shared: &Shared, book: &mut Book) {
    let memory = &shared.memory;
    let layers = &shared.detection.layers;
    let now = shared.now();
    let bans = memory.bans.all(now);
    for layer in Layer::ALL.into_iter().filter(|layer| *layer != Layer::Lists) {
        let count = bans.iter().filter(|ban| ban.layer == layer).count();
        layers.blocks_active(layer.as_str()).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    for origin in [Origin::Config, Origin::Operator] {
        let blocked = i64::try_from(memory.lists.blocked_by(origin)).unwrap_or(i64::MAX);
        layers.blocks_active(origin.as_str()).set(blocked);
    }
    layers.floods_active().set(i64::try_from(memory.floods.all(now).len()).unwrap_or(i64::MAX));
    show_evictions(memory, &shared.detection, &mut book.evicted);
    let (counts, before) = (shared.decisions.counts(), std::mem::take(&mut book.decisions));
    for ((result, now), (_, before)) in counts.by_result().into_iter().zip(before.by_result()) {
        shared.metrics.decisions_kept(result).inc_by(now.saturating_sub(before));
    }
    book.decisions = counts;
}

/// Counts who lost their place in a table since the last look.
fn show_evictions(memory: &Memory, metrics: &DetectionMetrics, before: &mut [u64; TABLES.len()]) {
    let evicted = [
        memory.windows().1,
        memory.limiter.evicted(),
        memory.evidence.evicted(),
        memory.bans.evicted(),
        memory.proof.forgotten(),
    ];
    for ((table, now), before) in TABLES.iter().zip(evicted).zip(before) {
        metrics.layers.evictions(table).inc_by(now.saturating_sub(*before));
        *before = now;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sunbeam_metrics::Registry;
    use sunbeam_pipeline::{KeptPerson, PEOPLE};

    use super::*;
    use crate::config::Config;
    use crate::judging::for_measuring;

    #[test]
    fn the_table_of_people_is_bounded_and_who_loses_a_place_is_counted_once() {
        let registry = Registry::new();
        let (memory, metrics) = for_measuring(&Config::default(), &registry);
        let counted = || registry.sum("sunbeam_state_evictions_total", &[("table", "people")]);
        let mut before = [0; TABLES.len()];
        let now = Moment::from_secs(100);
        let come = |numbers: std::ops::Range<usize>| {
            let person = |number: usize| {
                // A hash: the table finds places by its upper bits.
                let key = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                json!({
                    "key": key, "ages": [10, 5], "doubted_age": null, "from": [key, key, 1], "known": true,
                    "doubted": 0, "certain": 0,
                })
            };
            let people: Vec<KeptPerson> =
                serde_json::from_value(Value::from_iter(numbers.map(person))).unwrap();
            memory.proof.restore(&people, now);
        };
        come(0..100);
        show_evictions(&memory, &metrics, &mut before);
        assert!(counted() < 0.5);
        // No more at once than there are places for.
        come(100..PEOPLE);
        come(PEOPLE..PEOPLE + 10_000);
        show_evictions(&memory, &metrics, &mut before);
        let kept = memory.proof.people(now).len();
        assert!(kept <= PEOPLE && kept > PEOPLE * 9 / 10, "{kept}");
        assert!((counted() - (PEOPLE + 10_000 - kept) as f64).abs() < 0.5, "{} {kept}", counted());
        show_evictions(&memory, &metrics, &mut before);
        assert!((counted() - (PEOPLE + 10_000 - kept) as f64).abs() < 0.5, "each is counted once");
    }
}
