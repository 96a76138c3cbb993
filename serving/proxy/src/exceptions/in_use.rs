// SPDX-License-Identifier: Apache-2.0
//! All exceptions, ready for one configuration: those of rules by route and path, the others in the pipeline.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ipnet::IpNet;
use sunbeam_features::application::PartKind;
use sunbeam_features::canonical::UnitKind;
use sunbeam_pipeline::{Decision, Excepted, Exception, Judged, Rules};
use sunbeam_rate_limit::Exempt;
use sunbeam_routing::Table;
use sunbeam_traffic::Layer;
use sunbeam_waf::compile::RuleSet;
use sunbeam_waf::engine::{TargetException, Transaction};

use super::known::{KeptException, Known};
use super::scope::{LimitOf, Scope, identity_kind};
use crate::metrics::ProxyMetrics;

/// Exceptions beside the configuration, in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExceptionsAdded(Arc<[Arc<Known>]>);

impl ExceptionsAdded {
    pub(crate) fn of(kept: Vec<KeptException>) -> Self {
        Self(kept.into_iter().map(|kept| Arc::new(Known::new(kept))).collect())
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Known>> {
        self.0.iter()
    }

    pub(crate) fn find(&self, id: u64) -> Option<&Arc<Known>> {
        self.iter().find(|known| known.id() == id)
    }

    #[must_use]
    pub(crate) fn with(&self, known: Arc<Known>) -> Self {
        Self(self.iter().cloned().chain([known]).collect())
    }

    #[must_use]
    pub(crate) fn without(&self, ids: &[u64]) -> Self {
        Self(self.iter().filter(|known| !ids.contains(&known.id())).cloned().collect())
    }

    /// Makes them ready: the pipeline's are put into `rules`.
    pub(crate) fn compile(&self, table: &Table, set: Option<&RuleSet>, rules: &mut Rules) -> ExceptionsInUse {
        let mut in_use = ExceptionsInUse { added: self.clone(), ..ExceptionsInUse::default() };
        for (number, known) in (0..=u16::MAX).zip(self.iter()) {
            let scope = known.scope();
            let mut is_applied = false;
            for route in table.routes().iter().filter(|route| route.name == scope.route) {
                let what = excepted(scope, route.index, rules);
                is_applied |= !what.is_empty();
                if !what.is_empty() {
                    let exception = Exception {
                        number,
                        method: scope.method.clone(),
                        path: scope.path.clone(),
                        what,
                        is_over: Arc::clone(&known.is_over),
                    };
                    rules.exceptions.add(route.index, exception);
                }
                for of_target in &scope.rules {
                    let found = set.and_then(|set| set.target_exception(&of_target.ids, &of_target.target));
                    if let Some(exception) = found {
                        in_use.add(route.index, OfRules { number, known: Arc::clone(known), exception });
                        is_applied = true;
                    }
                }
            }
            in_use.is_applied.push(is_applied);
        }
        in_use
    }
}

/// Those of rules, and who knows what comes of all of them.
#[derive(Debug, Default)]
pub(crate) struct ExceptionsInUse {
    added: ExceptionsAdded,
    /// Of each: whether the configuration has what it is about.
    is_applied: Vec<bool>,
    /// By the place of the route, as far as there are any.
    routes: Vec<OfRoute>,
}

#[derive(Debug, Default)]
struct OfRoute {
    of_path: HashMap<String, Vec<OfRules>>,
    of_all: Vec<OfRules>,
}

#[derive(Debug)]
struct OfRules {
    number: u16,
    known: Arc<Known>,
    exception: TargetException,
}

impl ExceptionsInUse {
    fn add(&mut self, route: usize, one: OfRules) {
        if self.routes.len() <= route {
            self.routes.resize_with(route + 1, OfRoute::default);
        }
        let Some(known) = self.routes.get_mut(route) else { return };
        match &one.known.scope().path {
            Some(path) => known.of_path.entry(path.clone()).or_default().push(one),
            None => known.of_all.push(one),
        }
    }

    /// All of them.
    pub(crate) const fn added(&self) -> &ExceptionsAdded {
        &self.added
    }

    /// Each with whether the configuration has what it is about.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Arc<Known>, bool)> {
        self.added.iter().zip(self.is_applied.iter().copied())
    }

    /// Tells rules what they are not to look at in a request. Where the route has no exception this is all it costs.
    pub(crate) fn tell(&self, route: usize, method: &str, path: &str, transaction: &mut Transaction) {
        let Some(known) = self.routes.get(route) else { return };
        let of_path = known.of_path.get(path).map_or(&[][..], Vec::as_slice);
        for one in of_path.iter().chain(&known.of_all) {
            let scope = one.known.scope();
            let is_method = scope.method.is_empty() || scope.method == method;
            if is_method && !one.known.is_over.load(Ordering::Relaxed) {
                transaction.except(&one.exception, one.number);
            }
        }
    }

    /// Counts the exceptions that made a difference to a request that has ended. One that was stopped or challenged all
    /// the same was let pass by none.
    pub(crate) fn note(&self, judged: &Judged, now: i64, metrics: &ProxyMetrics) {
        if matches!(judged.decision, Decision::Blocked | Decision::Challenged) {
            return;
        }
        for number in judged.used.iter() {
            let Some(known) = self.added.0.get(usize::from(number)) else { continue };
            let is_high = is_high(known.scope(), judged);
            known.note(now, is_high);
            metrics.exception_hits(layer_label(&known.scope().layer)).inc();
            if is_high {
                metrics.exception_high_scores(layer_label(&known.scope().layer)).inc();
            }
        }
    }
}

/// Whether another layer, or something else in the same request, speaks of an attack.
fn is_high(scope: &Scope, judged: &Judged) -> bool {
    let scores = &judged.scores;
    let is_score = |score: Option<i32>| score.is_some_and(|score| score >= 0);
    judged.decision != Decision::Passed
        || scores.ddos.is_some_and(|said| said.path.is_block())
        || !scope.probe && scores.scanner.is_some_and(|said| said.path.is_block())
        || is_score(scores.payload)
        || scope.part.is_none() && is_score(scores.application)
        || scores.rules.is_some_and(|rules| rules.threshold > 0 && rules.score >= rules.threshold)
}

/// A label is a word of ours.
fn layer_label(layer: &str) -> &'static str {
    Layer::ALL.into_iter().find(|known| known.as_str() == layer).map_or("other", Layer::as_str)
}

/// What of a scope is the pipeline's business.
fn excepted(scope: &Scope, route: usize, rules: &Rules) -> Vec<Excepted> {
    let unit = scope.unit.as_ref().and_then(|unit| {
        let kind = unit_kind(&unit.kind)?;
        Some(Excepted::Unit { kind, name: unit.name.clone().into_bytes() })
    });
    let part = scope.part.as_ref().and_then(|part| {
        let kinds = [PartKind::Path, PartKind::Names, PartKind::Name, PartKind::Value];
        let kind = kinds.into_iter().find(|kind| kind.as_str() == part.kind)?;
        Some(Excepted::Part { kind, name: part.name.clone().into_bytes() })
    });
    let probe = scope.probe.then_some(Excepted::Probe);
    let limit = scope.limit.as_ref().and_then(|limit| excepted_limit(limit, route, rules));
    [unit, part, probe, limit].into_iter().flatten().collect()
}

fn excepted_limit(limit: &LimitOf, route: usize, rules: &Rules) -> Option<Excepted> {
    let exempt = match limit.bound.as_str() {
        "identity_limit" => Exempt { identity: true, ..Exempt::default() },
        "address_limit" => Exempt { address: true, ..Exempt::default() },
        _ => Exempt { routes: rules.route_limit_places(route, &limit.names), ..Exempt::default() },
    };
    let who = match &limit.client {
        // A range that is none means nobody, not everybody.
        Some(client) => Some((range(client)?, identity_kind(&limit.identity)?)),
        None => None,
    };
    (!exempt.is_nothing()).then_some(Excepted::Limit { exempt, who })
}

fn range(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn unit_kind(word: &str) -> Option<UnitKind> {
    use UnitKind::{Body, Cookie, CookieName, JsonLeaf, Parameter, ParameterName, Path};
    let kinds = [Path, ParameterName, Parameter, CookieName, Cookie, JsonLeaf, Body];
    kinds.into_iter().find(|kind| format!("{kind:?}") == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_the_words_that_decisions_are_kept_with() {
        for (word, want) in [
            ("Parameter", Some(UnitKind::Parameter)),
            ("JsonLeaf", Some(UnitKind::JsonLeaf)),
            ("Body", Some(UnitKind::Body)),
            ("Path", Some(UnitKind::Path)),
            ("parameter", None),
            ("", None),
        ] {
            assert_eq!(unit_kind(word), want, "{word}");
        }
    }

    #[test]
    fn a_client_that_cannot_be_read_is_nobody() {
        let config = crate::config::Config::default();
        let models = sunbeam_pipeline::Models::default();
        let rules = crate::snapshot::rules(&config, models);
        let limit = |client: &str, identity: &str| LimitOf {
            bound: "identity_limit".to_owned(),
            client: Some(client.to_owned()),
            identity: identity.to_owned(),
            ..LimitOf::default()
        };
        assert!(excepted_limit(&limit("192.0.2.1/32", "address"), 0, &rules).is_some());
        assert!(excepted_limit(&limit("h:abcdef", "address"), 0, &rules).is_none());
        assert!(excepted_limit(&limit("192.0.2.1/32", ""), 0, &rules).is_none());
        let gone = LimitOf { bound: "route_limit".to_owned(), ..LimitOf::default() };
        assert!(excepted_limit(&gone, 0, &rules).is_none(), "a limit that is not there");
    }
}
