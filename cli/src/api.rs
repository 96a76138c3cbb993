// SPDX-License-Identifier: Apache-2.0
//! What the management API answers, as far as the commands read it. Fields that a node of another
//! version does not send keep their defaults.

use serde::Deserialize;
use serde_json::{Map, Value};

/// `GET /api/v1/status`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    /// `running` or `draining`
    pub(crate) status: String,
    pub(crate) version: String,
    pub(crate) uptime_seconds: u64,
    pub(crate) active_connections: u64,
    pub(crate) max_connections: u64,
    pub(crate) generation: u64,
    pub(crate) environment: String,
    pub(crate) deployment_id: String,
    pub(crate) region: String,
    pub(crate) mode: String,
    pub(crate) config_files: Vec<String>,
    pub(crate) config_loaded_at: Value,
    pub(crate) config_reload_failed: bool,
    pub(crate) config_error: Option<String>,
    pub(crate) listeners: Vec<ListenerStatus>,
    pub(crate) metrics_address: Option<String>,
    pub(crate) routes: u64,
    pub(crate) backends: BackendsStatus,
    pub(crate) certificates: u64,
    /// Why no decisions are kept although they should be.
    pub(crate) decisions_error: Option<String>,
    pub(crate) pid: i32,
}

/// The backends of all routes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct BackendsStatus {
    pub(crate) total: u64,
    pub(crate) unhealthy: Vec<UnhealthyBackend>,
}

/// A backend that is left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct UnhealthyBackend {
    pub(crate) backend: String,
    pub(crate) state: String,
    pub(crate) last_error: Option<String>,
}

/// One listener.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ListenerStatus {
    pub(crate) scheme: String,
    pub(crate) address: String,
}

/// `GET /api/v1/stats`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Stats {
    pub(crate) uptime_seconds: u64,
    pub(crate) requests_total: u64,
    /// `2xx` and so on.
    pub(crate) requests_by_status: Map<String, Value>,
    pub(crate) active_connections: u64,
    pub(crate) websocket_active: u64,
    pub(crate) upstream_errors_total: u64,
    pub(crate) limit_hits: Map<String, Value>,
    pub(crate) audit: AuditStats,
    pub(crate) routes: Vec<RouteStats>,
    pub(crate) latency_ms: Quantiles,
    pub(crate) added_latency_ms: Quantiles,
}

/// Lines of the audit log.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AuditStats {
    pub(crate) written: u64,
    pub(crate) dropped: u64,
    pub(crate) failed: u64,
}

/// One route.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RouteStats {
    pub(crate) name: String,
    pub(crate) requests_total: u64,
    pub(crate) errors_total: u64,
}

/// Milliseconds; absent while nothing was measured.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Quantiles {
    pub(crate) p50: Option<f64>,
    pub(crate) p90: Option<f64>,
    pub(crate) p99: Option<f64>,
}

/// `GET /api/v1/config`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RunningConfig {
    pub(crate) toml: String,
}

/// What an accepted (or tried) change did.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Change {
    pub(crate) message: String,
    pub(crate) generation: u64,
    pub(crate) changes: Vec<String>,
    pub(crate) warnings: Vec<Value>,
    pub(crate) undo: Option<String>,
    pub(crate) confirm: Option<String>,
}

/// One line of `GET /api/v1/config/history`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HistoryEntry {
    pub(crate) id: Value,
    pub(crate) at: Value,
    pub(crate) files: Vec<String>,
    pub(crate) current: bool,
    pub(crate) note: Option<String>,
}

/// One line of `GET /api/v1/certificates`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Certificate {
    pub(crate) names: Vec<String>,
    pub(crate) issuer: String,
    pub(crate) serial: String,
    pub(crate) not_after: Value,
    pub(crate) days_left: i64,
    pub(crate) path: String,
}

/// What `tail` shows of an audit record.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Request {
    pub(crate) timestamp: String,
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) client_ip: String,
    pub(crate) status: u16,
    pub(crate) duration_ms: u64,
    pub(crate) route: String,
    pub(crate) error: Option<String>,
}

/// `GET /api/v1/blocklist`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Blocklist {
    pub(crate) blocks: Vec<Block>,
    /// May be more than are listed.
    pub(crate) total: usize,
}

/// One block.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Block {
    pub(crate) id: String,
    /// Empty when it is no address that is blocked.
    pub(crate) cidr: String,
    /// `operator`, `ddos`, `rate_limit`, `scanner`, `feed` or `config`
    pub(crate) origin: String,
    pub(crate) reason: String,
    pub(crate) since: Option<String>,
    /// `None` = for ever.
    pub(crate) until: Option<String>,
    pub(crate) offences: u64,
    /// `address`, `session` or `bearer`
    pub(crate) identity: String,
}

/// What a change of the block list did, or would do.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct BlocklistChange {
    pub(crate) success: bool,
    pub(crate) message: String,
    pub(crate) undo: Option<String>,
}

/// `GET /api/v1/lists`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Lists {
    pub(crate) entries: Vec<ListEntry>,
    /// Address ranges in all lists together.
    pub(crate) prefixes: u64,
}

/// One entry of a list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ListEntry {
    /// `block`, `allow`, `exempt` or `grace`
    pub(crate) list: String,
    pub(crate) cidr: String,
    pub(crate) origin: String,
    pub(crate) reason: String,
    pub(crate) since: Option<String>,
    /// `None` = for ever.
    pub(crate) until: Option<String>,
}

/// `GET /api/v1/bots`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Bots {
    pub(crate) bots: Vec<Bot>,
    pub(crate) crawl_delay_secs: Option<u64>,
}

/// One bot that says who it is, and whether it was.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Bot {
    pub(crate) name: String,
    pub(crate) category: String,
    /// `allow`, `limit` or `deny`
    pub(crate) policy: String,
    /// How a client that bears the name is checked.
    pub(crate) proof: Vec<String>,
    pub(crate) origin: String,
    pub(crate) requests: u64,
    pub(crate) verified: u64,
    pub(crate) refuted: u64,
    pub(crate) pending: u64,
}

/// `POST /api/v1/explain`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Explanation {
    pub(crate) request: ExplainedRequest,
    pub(crate) identity: ExplainedIdentity,
    pub(crate) layers: Vec<ExplainedLayer>,
    pub(crate) decision: ExplainedDecision,
    pub(crate) features: Vec<ExplainedFeature>,
    /// Nothing where no route names the host.
    pub(crate) models: Option<ExplainedModels>,
    /// Nothing where rules are not asked.
    pub(crate) waf: Option<ExplainedRules>,
    pub(crate) microseconds: f64,
}

/// What rules find.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExplainedRules {
    pub(crate) score: i64,
    pub(crate) threshold: i64,
    pub(crate) rules: Vec<ExplainedRule>,
}

/// A rule that matched.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExplainedRule {
    pub(crate) rule: u64,
    pub(crate) message: String,
    pub(crate) target: String,
    pub(crate) value: String,
    pub(crate) at: String,
}

/// What models say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExplainedModels {
    pub(crate) scanner: ExplainedScanner,
    pub(crate) ddos: Option<ExplainedScore>,
    pub(crate) payload: Option<ExplainedUnit>,
    pub(crate) application: Option<ExplainedPart>,
}

/// What is oddest for the application that the model knows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExplainedPart {
    /// `path`, `names`, `name` or `value`
    pub(crate) part: String,
    pub(crate) name: String,
    pub(crate) score: f64,
}

/// What the scanner's models say of path and headers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExplainedScanner {
    pub(crate) said: ExplainedScore,
    pub(crate) features: Vec<ExplainedFeature>,
}

/// A score, and who gave it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExplainedScore {
    pub(crate) score: f64,
    /// `tree_allow`, `tree_block`, `mlp_allow` or `mlp_block`
    pub(crate) path: String,
}

/// The text that the payload model finds worst.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExplainedUnit {
    pub(crate) unit: String,
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) score: f64,
    pub(crate) certain_from: f64,
    pub(crate) has_sign: bool,
    pub(crate) counts: Vec<ExplainedFeature>,
    pub(crate) pieces: Vec<ExplainedPiece>,
}

/// A piece of text, and its weight.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExplainedPiece {
    pub(crate) text: String,
    pub(crate) weight: i64,
}

/// What the request is to the node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExplainedRequest {
    pub(crate) route: Option<String>,
    pub(crate) path: String,
    pub(crate) client_ip: String,
}

/// Whom the request counts for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExplainedIdentity {
    /// `address`, `session` or `bearer`
    pub(crate) kind: String,
    pub(crate) authenticated: bool,
}

/// What one layer said.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExplainedLayer {
    pub(crate) layer: String,
    /// `enforce`, `auto`, `observe` or `off`
    pub(crate) mode: String,
    /// `pass`, `block` or `doubtful`
    pub(crate) verdict: String,
    pub(crate) reason: Option<String>,
    pub(crate) detail: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExplainedDecision {
    /// `pass` or `block`
    pub(crate) verdict: String,
    pub(crate) layer: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) status: u16,
    pub(crate) retry_after_secs: Option<u64>,
}

/// One number that the layers looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExplainedFeature {
    pub(crate) name: String,
    pub(crate) value: Value,
    /// What it adds to the score's logit.
    pub(crate) share: f64,
}

/// `GET /api/v1/decisions`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Decisions {
    pub(crate) decisions: Vec<Decision>,
    /// Where to go on from.
    pub(crate) next: Option<String>,
}

/// `GET /api/v1/decisions/{id}`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DecisionTold {
    pub(crate) decision: Decision,
    pub(crate) like_it: LikeIt,
    pub(crate) suspicion: Suspicion,
    /// The command that lets it pass, where there is one.
    pub(crate) remedy: Option<String>,
    /// What that would leave out, or why there is none.
    pub(crate) remedy_means: String,
}

/// A decision: an audit record and what led to it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Decision {
    pub(crate) timestamp: String,
    pub(crate) request_id: String,
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) client_ip: String,
    pub(crate) status: u16,
    pub(crate) user_agent: String,
    pub(crate) route: String,
    pub(crate) identity_kind: String,
    pub(crate) decision: String,
    pub(crate) layer: String,
    pub(crate) reason: String,
    pub(crate) error: Option<String>,
    pub(crate) rules: Vec<u64>,
    pub(crate) why: DecisionWhy,
}

/// What led to it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DecisionWhy {
    pub(crate) authenticated: bool,
    pub(crate) stands_for: u64,
    pub(crate) banned_secs: Option<u64>,
    pub(crate) rules: Option<Vec<ExplainedRule>>,
    pub(crate) models: Option<ExplainedModels>,
    pub(crate) window: Option<Vec<ExplainedFeature>>,
}

/// Decisions like it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LikeIt {
    pub(crate) decisions: u64,
    pub(crate) clients: u64,
    pub(crate) authenticated: u64,
    pub(crate) is_cut: bool,
}

/// Whether it looks like a mistake.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Suspicion {
    /// `like_a_mistake`, `like_an_attack` or `unclear`
    pub(crate) looks: String,
    pub(crate) because: Vec<String>,
}

/// `POST /api/v1/exceptions`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExceptionMade {
    pub(crate) id: String,
    /// It did not hold before.
    pub(crate) is_new: bool,
    /// It holds longer than before.
    pub(crate) is_longer: bool,
    /// When it ends.
    pub(crate) until: String,
    pub(crate) exception: Exception,
    pub(crate) replay: Replayed,
    pub(crate) warnings: Vec<String>,
    pub(crate) undo: String,
}

/// `GET /api/v1/exceptions`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Exceptions {
    pub(crate) exceptions: Vec<Exception>,
}

/// One exception.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Exception {
    pub(crate) id: String,
    pub(crate) what: String,
    pub(crate) scope: ExceptionScope,
    pub(crate) created: String,
    pub(crate) expires: String,
    pub(crate) from: String,
    pub(crate) by: String,
    pub(crate) hits: u64,
    pub(crate) last_used: Option<String>,
    /// Requests that it let pass while another layer had something against them.
    pub(crate) high: u64,
    pub(crate) warnings: Vec<String>,
}

/// What it is about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExceptionScope {
    pub(crate) layer: String,
    pub(crate) route: String,
    /// Empty: any.
    pub(crate) method: String,
    /// Nothing: every path.
    pub(crate) path: Option<String>,
    pub(crate) rules: Vec<ExceptionRules>,
    pub(crate) unit: Option<ExceptionNamed>,
    pub(crate) part: Option<ExceptionNamed>,
    pub(crate) probe: bool,
    pub(crate) limit: Option<ExceptionLimit>,
}

/// Rules that do not look at a field.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExceptionRules {
    pub(crate) target: String,
    pub(crate) ids: Vec<u64>,
}

/// What a model does not read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExceptionNamed {
    pub(crate) kind: String,
    pub(crate) name: String,
}

/// A limit that does not hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExceptionLimit {
    pub(crate) bound: String,
    pub(crate) client: Option<String>,
    pub(crate) identity: String,
}

/// What an exception would have let pass of what is kept.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Replayed {
    pub(crate) looked_at: u64,
    pub(crate) is_cut: bool,
    pub(crate) alike: u64,
    pub(crate) would_pass: u64,
    pub(crate) stay_stopped: u64,
    pub(crate) high: u64,
    pub(crate) examples: Vec<ReplayedExample>,
}

/// A request that is an attack to another layer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ReplayedExample {
    pub(crate) id: String,
    pub(crate) because: String,
}

/// `GET /api/v1/waf/stats`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WafStats {
    /// When the rules were read; nothing where no route asks them.
    pub(crate) since: Option<String>,
    pub(crate) transactions: u64,
    /// Those that were looked at closely: one of `sampled_of`.
    pub(crate) sampled: u64,
    pub(crate) sampled_of: u64,
    /// Those of them whose time was taken.
    pub(crate) timed: u64,
    pub(crate) rules: Vec<WafRuleStats>,
}

/// What one rule did. Runs, matches and time are of sampled requests.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WafRuleStats {
    pub(crate) id: u64,
    pub(crate) phase: u8,
    pub(crate) message: String,
    /// Those above the level of paranoia are not.
    pub(crate) is_asked: bool,
    pub(crate) hits: u64,
    pub(crate) runs: u64,
    pub(crate) matches: u64,
    pub(crate) nanoseconds: u64,
}

/// A value as text: strings without quotes, nothing as nothing.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => crate::output::escape(text),
        other => crate::output::escape(&other.to_string()),
    }
}
