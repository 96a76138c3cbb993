// SPDX-License-Identifier: Apache-2.0
//! What judging counts.

use std::time::Duration;

use sunbeam_ensemble::EnsemblePath;
use sunbeam_metrics::{Histogram, IntCounter, LOOK_SECONDS, Registry, declare_metrics};
use sunbeam_traffic::Layer;

use crate::pipeline::Decision;
use crate::proof::DOUBTERS;
use crate::subject::Scores;
use crate::waf::Category;

declare_metrics! {
    /// Decisions of each layer.
    pub struct LayerMetrics {
        /// Decisions about what clients have been doing: pass, observe (would have been blocked), block.
        ddos_decisions: Counter["sunbeam_ddos_decisions_total", decision],
        /// Decisions about what requests look like, and about crawlers; reason is a fixed word.
        scanner_decisions: Counter["sunbeam_scanner_decisions_total", decision, reason],
        /// Requests by who decided about their looks: tree_allow, tree_block, mlp_allow, mlp_block.
        scanner_ensemble_path: Counter["sunbeam_scanner_ensemble_path_total", path],
        /// Requests by who decided about their client: tree_allow, tree_block, mlp_allow, mlp_block.
        ddos_ensemble_path: Counter["sunbeam_ddos_ensemble_path_total", path],
        /// 1, by detector (scanner, ddos) with version, trained_at and fingerprint (16 digits of its SHA-256) of the
        /// model that judges.
        model_info: Gauge["sunbeam_model_info", detector, version, trained_at, fingerprint],
        /// How far what is judged is from what the model was trained on, by detector (scanner, ddos) and feature, or
        /// `score`: the population stability index of the last 10 to 20 minutes, from 1,000 samples on. Below 0.1
        /// stable, from 0.25 on shifted. The model's data held attacks, so a site without any never has 0.
        drift_index: FloatGauge["sunbeam_drift_index", detector, feature],
        /// Decisions about how much an identity asks for.
        rate_limit_decisions: Counter["sunbeam_rate_limit_decisions_total", decision],
        /// Decisions about what rules find: pass, observe, block; category is the kind of attack (sqli, xss, lfi, rfi, rce,
        /// php, java, ssti, ssrf, ldap, xxe, fixation, injection, protocol, scanner, disclosure, other), none where no
        /// rule matched and for a pass.
        waf_decisions: Counter["sunbeam_waf_decisions_total", decision, category],
        /// Time that rules and model took over one request, waiting for its body excluded; result is the decision.
        waf_seconds: Histogram["sunbeam_waf_inspection_duration_seconds", result, category; LOOK_SECONDS],
        /// Of people whom the site knows or who solved a challenge, the share that a layer's doubts would hurt, by layer (ddos,
        /// scanner, waf) and bound (lower, seen, upper; 95 %). `sunbeam_false_positive_budget` is what upper may be.
        false_positive_rate: FloatGauge["sunbeam_false_positive_rate", layer, bound],
        /// `detection.false_positive_budget`.
        false_positive_budget: FloatGauge["sunbeam_false_positive_budget"],
        /// People that this was learned from, by layer and whether it doubted them (hurt) or not (unhurt).
        people: Gauge["sunbeam_people", layer, result],
        /// 1: what the layer doubts is acted on in mode auto, for it has proven itself.
        layer_proven: Gauge["sunbeam_layer_proven", layer],
        /// How often a layer lost its proof and went back to watching what it doubts. Any is worth an alert.
        layer_fallbacks: Counter["sunbeam_layer_fallbacks_total", layer],
        /// Requests that judging answered, by layer.
        blocked_requests: Counter["sunbeam_blocked_requests_total", layer],
        /// Requests of listed addresses, by list: block, allow, operator.
        listed_requests: Counter["sunbeam_listed_requests_total", list],
        /// Blocks that were made, by origin: operator, or the layer.
        blocks: Counter["sunbeam_blocks_total", origin],
        /// Blocks that hold, by origin: config, operator, or the layer.
        blocks_active: Gauge["sunbeam_blocks_active", origin],
        /// Floods from everywhere that go on.
        floods_active: Gauge["sunbeam_floods_active"],
        /// Requests of a proxy that speaks for others and is not in `listen.trusted_proxies`: not limited, not
        /// blocked for how much they are.
        undeclared_proxy_requests: Counter["sunbeam_undeclared_proxy_requests_total"],
        /// Identities that have a bucket.
        identities: Gauge["sunbeam_rate_limit_identities"],
        /// Questions to DNS about crawlers, by result: verified, refuted, unknown, dropped (too many at once).
        crawler_proofs: Counter["sunbeam_crawler_proofs_total", result],
        /// Places in a table that went to a newcomer while somebody had them, by table: windows,
        /// identities (their buckets), sessions (those that the site honours), blocks, people (and newcomers for
        /// whom no place was free among those of their address or network).
        evictions: Counter["sunbeam_state_evictions_total", table],
    }
}

/// The same, with what each request counts at hand.
#[derive(Clone, Debug)]
pub struct DetectionMetrics {
    /// All of it.
    pub layers: LayerMetrics,
    ddos: [IntCounter; 3],
    rate_limit: [IntCounter; 3],
    blocked: [IntCounter; Layer::ALL.len()],
    scanner_paths: [IntCounter; EnsemblePath::ALL.len()],
    ddos_paths: [IntCounter; EnsemblePath::ALL.len()],
    plain_pass: IntCounter,
    browser_pass: IntCounter,
    waf_pass: IntCounter,
    waf_pass_seconds: Histogram,
}

impl DetectionMetrics {
    /// Adds the metrics to a registry.
    pub fn register(registry: &Registry) -> Self {
        let layers = LayerMetrics::register(registry);
        let words = [Decision::Passed, Decision::Observed, Decision::Blocked].map(Decision::as_str);
        for layer in DOUBTERS {
            layers.layer_fallbacks(layer.as_str()).inc_by(0);
        }
        for table in ["windows", "identities", "sessions", "blocks", "people"] {
            layers.evictions(table).inc_by(0);
        }
        Self {
            ddos: words.map(|word| layers.ddos_decisions(word)),
            rate_limit: words.map(|word| layers.rate_limit_decisions(word)),
            blocked: Layer::ALL.map(|layer| layers.blocked_requests(layer.as_str())),
            scanner_paths: EnsemblePath::ALL.map(|path| layers.scanner_ensemble_path(path.as_str())),
            ddos_paths: EnsemblePath::ALL.map(|path| layers.ddos_ensemble_path(path.as_str())),
            plain_pass: layers.scanner_decisions("pass", "none"),
            browser_pass: layers.scanner_decisions("pass", "browser"),
            waf_pass: layers.waf_decisions("pass", "none"),
            waf_pass_seconds: layers.waf_seconds("pass", "none"),
            layers,
        }
    }

    /// The rows, for the reference page.
    pub const TABLE: &'static [sunbeam_metrics::MetricDoc] = LayerMetrics::TABLE;

    /// Who decided, of each model that was asked.
    pub(crate) fn count_paths(&self, scores: &Scores) {
        for (said, handles) in [(scores.scanner, &self.scanner_paths), (scores.ddos, &self.ddos_paths)] {
            if let Some(handle) = said.and_then(|said| handles.get(said.path as usize)) {
                handle.inc();
            }
        }
    }

    /// What a look at a request came to.
    pub(crate) fn count_inspected(&self, decision: Decision, category: Category, took: Duration) {
        let secs = took.as_secs_f64();
        if decision == Decision::Passed {
            self.waf_pass.inc();
            return self.waf_pass_seconds.observe(secs);
        }
        if decision == Decision::Blocked
            && let Some(blocked) = self.blocked.get(Layer::Waf as usize)
        {
            blocked.inc();
        }
        self.layers.waf_decisions(decision.as_str(), category.as_str()).inc();
        self.layers.waf_seconds(decision.as_str(), category.as_str()).observe(secs);
    }

    pub(crate) fn count(&self, layer: Layer, decision: Decision, reason: &'static str) {
        let of = |[pass, observe, block]: &[IntCounter; 3]| match decision {
            Decision::Passed => pass.inc(),
            // No layer says the latter.
            Decision::Observed | Decision::Challenged => observe.inc(),
            Decision::Blocked => block.inc(),
        };
        if decision == Decision::Blocked
            && let Some(blocked) = self.blocked.get(layer as usize)
        {
            blocked.inc();
        }
        match (layer, decision, reason) {
            (Layer::Ddos, ..) => of(&self.ddos),
            (Layer::RateLimit, ..) => of(&self.rate_limit),
            (Layer::Scanner, Decision::Passed, "") => self.plain_pass.inc(),
            (Layer::Scanner, Decision::Passed, "browser") => self.browser_pass.inc(),
            (Layer::Scanner, ..) => self.layers.scanner_decisions(decision.as_str(), reason).inc(),
            // It is no stage: see `count_inspected`.
            (Layer::Waf, ..) => {}
            (Layer::Lists, Decision::Passed, "") => {}
            (Layer::Lists, Decision::Passed, "operator") => self.layers.listed_requests("operator").inc(),
            (Layer::Lists, Decision::Passed, _) => self.layers.listed_requests("allow").inc(),
            (Layer::Lists, ..) => self.layers.listed_requests("block").inc(),
        }
    }
}
