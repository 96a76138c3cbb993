// SPDX-License-Identifier: Apache-2.0
//! The API's pages under `/api/v1`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sunbeam_config::{LoadError, Problem, Section as _, Severity, Source, Sources, load_sources, render};
use sunbeam_pipeline::FloodReport;

use super::changes;
use super::decisions::{self, DecisionsQuery, LabelRequest};
use super::exceptions::{self, ExceptionRequest};
use super::layers::{self, LayerRequest};
use super::lists::{self, BlockRequest, Refused};
use super::model_changes::{self, ModelRequest};
use super::rule_changes::{self, RulesRequest};
use super::{models, stats, waf};
use crate::config::Config;
use crate::core::{ChangeMode, Core, ReloadError, ReloadReport};
use crate::explain::ExplainRequest;

/// A page and what answers it.
pub(super) struct Endpoint {
    pub(super) path: &'static str,
    /// What a session of the console may do there; everything else needs the token itself. A session is a browser's, for
    /// hours: what it does must not let it stay for longer, nor reach what the console does not show. So a session changes
    /// no configuration, token or model, adds no rules, names no files, and confirms nothing of the kind.
    pub(super) session: &'static str,
    pub(super) handler: fn() -> MethodRouter<Arc<Core>>,
}

/// Whether a session of the console is enough for a call. What is not in the lists needs the token.
pub(super) fn is_for_sessions(method: &Method, path: &str) -> bool {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let endpoint = ENDPOINTS.iter().chain(RANGES).find(|endpoint| endpoint.path == path);
    endpoint.is_some_and(|endpoint| endpoint.session.split(' ').any(|known| known == method.as_str()))
}

/// All of them; `openapi.json` describes each, and for which of them the token is needed (a test compares).
pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint { path: "/api/v1/status", session: "GET", handler: || get(status) },
    Endpoint { path: "/api/v1/stats", session: "GET", handler: || get(statistics) },
    Endpoint { path: "/api/v1/traffic", session: "GET", handler: || get(traffic) },
    Endpoint { path: "/api/v1/top", session: "GET", handler: || get(top) },
    Endpoint { path: "/api/v1/limits", session: "GET", handler: || get(limits) },
    Endpoint { path: "/api/v1/events", session: "GET", handler: || get(super::events::events) },
    Endpoint { path: "/api/v1/trail", session: "GET", handler: || get(trail) },
    Endpoint { path: "/api/v1/login-links", session: "", handler: || post(super::console::link) },
    Endpoint { path: "/api/v1/backends", session: "GET", handler: || get(backends) },
    Endpoint { path: "/api/v1/blocklist", session: "GET POST", handler: || get(blocks).post(block) },
    Endpoint { path: "/api/v1/blocklist/{cidr}", session: "DELETE", handler: || delete(unblock) },
    Endpoint { path: "/api/v1/blacklist", session: "GET POST", handler: || get(blocks).post(block) },
    Endpoint { path: "/api/v1/blacklist/{cidr}", session: "DELETE", handler: || delete(unblock) },
    Endpoint { path: "/api/v1/allowlist", session: "POST", handler: || post(allow) },
    Endpoint { path: "/api/v1/allowlist/{cidr}", session: "DELETE", handler: || delete(disallow) },
    Endpoint { path: "/api/v1/lists", session: "GET", handler: || get(all_lists) },
    Endpoint { path: "/api/v1/bots", session: "GET", handler: || get(bots) },
    Endpoint { path: "/api/v1/floods", session: "GET", handler: || get(floods) },
    Endpoint { path: "/api/v1/models", session: "GET", handler: || get(all_models) },
    Endpoint { path: "/api/v1/models/shadow", session: "", handler: || post(shadow) },
    Endpoint { path: "/api/v1/models/shadow/{detector}", session: "", handler: || delete(unshadow) },
    Endpoint { path: "/api/v1/models/install", session: "", handler: || post(install) },
    Endpoint { path: "/api/v1/models/installed/{detector}", session: "", handler: || delete(uninstall) },
    Endpoint { path: "/api/v1/explain", session: "POST", handler: || post(explain) },
    Endpoint { path: "/api/v1/rules", session: "GET", handler: || get(added_rules).post(add_rules) },
    Endpoint { path: "/api/v1/rules/{name}", session: "DELETE", handler: || delete(remove_rules) },
    Endpoint { path: "/api/v1/decisions", session: "GET", handler: || get(all_decisions) },
    Endpoint { path: "/api/v1/decisions/{id}", session: "GET", handler: || get(one_decision) },
    Endpoint { path: "/api/v1/decisions/{id}/label", session: "POST", handler: || post(label_decision) },
    Endpoint { path: "/api/v1/layers", session: "GET POST", handler: || get(all_layers).post(switch_layer) },
    Endpoint { path: "/api/v1/changes", session: "GET", handler: || get(all_changes) },
    Endpoint { path: "/api/v1/changes/{id}/confirm", session: "", handler: || post(confirm_change) },
    Endpoint { path: "/api/v1/layers/plan", session: "GET", handler: || get(layers_plan) },
    Endpoint {
        path: "/api/v1/exceptions",
        session: "GET POST",
        handler: || get(all_exceptions).post(make_exception),
    },
    Endpoint {
        path: "/api/v1/exceptions/{id}",
        session: "GET DELETE",
        handler: || get(one_exception).delete(remove_exception),
    },
    Endpoint { path: "/api/v1/waf/rules", session: "GET", handler: || get(waf_rules) },
    Endpoint { path: "/api/v1/waf/stats", session: "GET", handler: || get(waf_stats) },
    Endpoint { path: "/api/v1/certificates", session: "GET", handler: || get(certificates) },
    Endpoint { path: "/api/v1/config", session: "", handler: || get(config) },
    Endpoint { path: "/api/v1/config/validate", session: "", handler: || post(validate) },
    Endpoint { path: "/api/v1/config/apply", session: "", handler: || post(apply) },
    Endpoint { path: "/api/v1/config/reload", session: "", handler: || post(reload) },
    Endpoint { path: "/api/v1/config/rollback", session: "", handler: || post(rollback) },
    Endpoint { path: "/api/v1/config/confirm", session: "", handler: || post(confirm) },
    Endpoint { path: "/api/v1/config/history", session: "", handler: || get(history) },
];

/// The same pages for a range as people write it, its slash not encoded.
pub(super) const RANGES: &[Endpoint] = &[
    Endpoint {
        path: "/api/v1/blocklist/{address}/{bits}",
        session: "DELETE",
        handler: || delete(unblock_range),
    },
    Endpoint {
        path: "/api/v1/blacklist/{address}/{bits}",
        session: "DELETE",
        handler: || delete(unblock_range),
    },
];

/// `{"error": …}`
pub(super) fn failure(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({"error": why}))).into_response()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ChangeQuery {
    dry_run: bool,
    to: Option<u64>,
    /// Seconds; see [`ChangeMode`].
    confirm_within: Option<u64>,
}

impl ChangeQuery {
    fn mode(&self) -> ChangeMode {
        ChangeMode {
            dry_run: self.dry_run,
            confirm_within: self.confirm_within.map(Duration::from_secs),
            only_after: None,
        }
    }
}

async fn status(State(core): State<Arc<Core>>) -> Json<Value> {
    let shared = &core.shared;
    let snapshot = shared.snapshot();
    let platform = &snapshot.config.platform;
    let listeners = core.listeners();
    let last_error = core.last_error();
    Json(json!({
        "status": if shared.is_draining() { "draining" } else { "running" },
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": shared.started.elapsed().as_secs(),
        "active_connections": shared.guard.active(),
        "max_connections": snapshot.config.limits.max_connections,
        "generation": snapshot.generation,
        "environment": platform.environment,
        "deployment_id": snapshot.config.node_name(),
        "region": platform.region,
        "mode": platform.mode.to_string(),
        "config_files": file_names(&snapshot.sources),
        "config_loaded_at": format!("{:.0}", snapshot.loaded_at),
        "config_reload_failed": last_error.is_some(),
        "config_error": last_error,
        "listeners": listeners.iter().map(|(scheme, address)| {
            json!({"scheme": scheme.as_str(), "address": address.to_string()})
        }).collect::<Vec<_>>(),
        "metrics_address": core.metrics_address().map(|address| address.to_string()),
        "routes": snapshot.table.routes().len(),
        "backends": super::backends::summary(&snapshot),
        "certificates": shared.tls.infos().len(),
        "decisions_error": shared.decisions.error(),
        "pid": std::process::id(),
    }))
}

async fn statistics(State(core): State<Arc<Core>>) -> Json<Value> {
    Json(stats::stats(&core.shared))
}

async fn traffic(State(core): State<Arc<Core>>) -> Json<Value> {
    Json(core.traffic.told())
}

async fn top(State(core): State<Arc<Core>>) -> Response {
    told(blocking(move || super::top::top(&core)).await)
}

async fn limits(State(core): State<Arc<Core>>) -> Response {
    told(blocking(move || super::limits::limits(&core)).await.map(Ok))
}

async fn trail(State(core): State<Arc<Core>>) -> Response {
    told(blocking(move || super::trail::newest(&core)).await)
}

async fn backends(State(core): State<Arc<Core>>) -> Json<Value> {
    Json(super::backends::backends(&core.shared.snapshot()))
}

async fn certificates(State(core): State<Arc<Core>>) -> Json<Value> {
    const DAY_SECS: i64 = 86_400;
    let now = Timestamp::now().as_second();
    let text = |seconds| Timestamp::from_second(seconds).map(|at| at.to_string()).unwrap_or_default();
    let infos = core.shared.tls.infos();
    let certificates = infos.iter().map(|info| {
        json!({
            "names": info.names,
            "issuer": info.issuer,
            "serial": info.serial,
            "not_before": text(info.not_before),
            "not_after": text(info.not_after),
            "days_left": (info.not_after - now).div_euclid(DAY_SECS),
            "path": info.path,
        })
    });
    Json(certificates.collect())
}

async fn blocks(State(core): State<Arc<Core>>) -> Response {
    told(blocking(move || lists::blocks(&core)).await.map(Ok))
}

async fn block(State(core): State<Arc<Core>>, headers: HeaderMap, body: String) -> Response {
    let request: BlockRequest = match read(&body) {
        Ok(request) => request,
        Err(wrong) => return told(Ok(Err(wrong))),
    };
    told(blocking(move || lists::block(&core, &request, lists::operator_of(&headers))).await)
}

/// A body of JSON, whatever its type says: whoever types it with curl does not say.
fn read<T: DeserializeOwned>(body: &str) -> Result<T, Refused> {
    serde_json::from_str(body).map_err(|wrong| Refused::Wrong(format!("the body is wrong: {wrong}")))
}

/// See [`unblock_range`].
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct UnblockQuery {
    dry_run: bool,
}

/// See [`remove_exception`].
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RemoveQuery {
    dry_run: bool,
    confirm_within_secs: Option<u64>,
}

async fn unblock(
    State(core): State<Arc<Core>>,
    Path(what): Path<String>,
    Query(query): Query<UnblockQuery>,
) -> Response {
    told(blocking(move || lists::unblock(&core, &what, query.dry_run)).await)
}

async fn unblock_range(
    State(core): State<Arc<Core>>,
    Path((address, bits)): Path<(String, String)>,
    Query(query): Query<UnblockQuery>,
) -> Response {
    let what = format!("{address}/{bits}");
    told(blocking(move || lists::unblock(&core, &what, query.dry_run)).await)
}

async fn allow(State(core): State<Arc<Core>>, body: String) -> Response {
    let request: BlockRequest = match read(&body) {
        Ok(request) => request,
        Err(wrong) => return told(Ok(Err(wrong))),
    };
    told(blocking(move || lists::allow(&core, &request)).await)
}

async fn disallow(
    State(core): State<Arc<Core>>,
    Path(what): Path<String>,
    Query(query): Query<UnblockQuery>,
) -> Response {
    told(blocking(move || lists::disallow(&core, &what, query.dry_run)).await)
}

async fn all_lists(State(core): State<Arc<Core>>) -> Response {
    told(blocking(move || lists::lists(&core)).await.map(Ok))
}

async fn bots(State(core): State<Arc<Core>>) -> Json<Value> {
    Json(lists::bots(&core.shared.snapshot()))
}

async fn all_layers(State(core): State<Arc<Core>>) -> Response {
    told(blocking(move || layers::layers(&core)).await.map(Ok))
}

async fn layers_plan(State(core): State<Arc<Core>>) -> Response {
    told(blocking(move || layers::plan(&core)).await)
}

async fn switch_layer(State(core): State<Arc<Core>>, body: String) -> Response {
    let request: LayerRequest = match read(&body) {
        Ok(request) => request,
        Err(wrong) => return told(Ok(Err(wrong))),
    };
    told(blocking(move || layers::switch(&core, &request)).await)
}

async fn waf_rules(State(core): State<Arc<Core>>) -> Json<Value> {
    Json(waf::rules(&core.shared.snapshot()))
}

async fn waf_stats(State(core): State<Arc<Core>>) -> Json<Value> {
    Json(waf::stats(&core.shared.snapshot()))
}

async fn floods(State(core): State<Arc<Core>>) -> Json<Value> {
    let snapshot = core.shared.snapshot();
    let route = |key| {
        snapshot.table.routes().get(snapshot.pipeline.rules().route_of(key)?).map(|route| route.name.clone())
    };
    let one = |report: &FloodReport| {
        json!({
            "route": route(report.flood.route),
            "ja4": report.flood.ja4,
            "header_order": report.flood.header_order.map(|order| format!("{order:012x}")),
            "network": report.flood.network.map(|network| network.to_string()),
            "clients": report.clients,
            "requests": report.requests,
        })
    };
    Json(
        json!({"floods": core.shared.memory.floods.all(core.shared.now()).iter().map(one).collect::<Vec<_>>()}),
    )
}

async fn all_models(State(core): State<Arc<Core>>) -> Response {
    told(blocking(move || models::models(&core.shared)).await.map(Ok))
}

async fn shadow(State(core): State<Arc<Core>>, body: String) -> Response {
    let request: ModelRequest = match read(&body) {
        Ok(request) => request,
        Err(wrong) => return told(Ok(Err(wrong))),
    };
    told(blocking(move || model_changes::shadow(&core, &request)).await)
}

async fn unshadow(State(core): State<Arc<Core>>, Path(detector): Path<String>) -> Response {
    told(blocking(move || model_changes::unshadow(&core, &detector)).await)
}

async fn install(State(core): State<Arc<Core>>, body: String) -> Response {
    let request: ModelRequest = match read(&body) {
        Ok(request) => request,
        Err(wrong) => return told(Ok(Err(wrong))),
    };
    told(blocking(move || model_changes::install(&core, &request)).await)
}

async fn uninstall(
    State(core): State<Arc<Core>>,
    Path(detector): Path<String>,
    Query(query): Query<UnblockQuery>,
) -> Response {
    told(blocking(move || model_changes::uninstall(&core, &detector, query.dry_run)).await)
}

async fn all_decisions(State(core): State<Arc<Core>>, Query(query): Query<DecisionsQuery>) -> Response {
    told(blocking(move || decisions::search(&core, &query)).await)
}

async fn one_decision(State(core): State<Arc<Core>>, Path(id): Path<String>) -> Response {
    told(blocking(move || decisions::decision_of(&core, &id)).await)
}

async fn label_decision(State(core): State<Arc<Core>>, Path(id): Path<String>, body: String) -> Response {
    let request: LabelRequest = match read(&body) {
        Ok(request) => request,
        Err(wrong) => return told(Ok(Err(wrong))),
    };
    told(blocking(move || decisions::label(&core, &id, request)).await)
}

async fn all_exceptions(State(core): State<Arc<Core>>) -> Json<Value> {
    Json(exceptions::all(&core))
}

async fn one_exception(State(core): State<Arc<Core>>, Path(id): Path<String>) -> Response {
    told(Ok(exceptions::one(&core, &id)))
}

async fn make_exception(State(core): State<Arc<Core>>, headers: HeaderMap, body: String) -> Response {
    let request: ExceptionRequest = match read(&body) {
        Ok(request) => request,
        Err(wrong) => return told(Ok(Err(wrong))),
    };
    told(blocking(move || exceptions::make(&core, &request, lists::operator_of(&headers))).await)
}

async fn remove_exception(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    Query(query): Query<RemoveQuery>,
) -> Response {
    let RemoveQuery { dry_run, confirm_within_secs } = query;
    told(blocking(move || exceptions::remove(&core, &id, dry_run, confirm_within_secs)).await)
}

async fn all_changes(State(core): State<Arc<Core>>) -> Json<Value> {
    Json(changes::all(&core))
}

async fn confirm_change(State(core): State<Arc<Core>>, Path(id): Path<String>) -> Response {
    told(blocking(move || changes::confirm(&core, &id)).await)
}

async fn added_rules(State(core): State<Arc<Core>>) -> Json<Value> {
    Json(rule_changes::added(&core.shared.snapshot()))
}

async fn add_rules(State(core): State<Arc<Core>>, body: String) -> Response {
    let request: RulesRequest = match read(&body) {
        Ok(request) => request,
        Err(wrong) => return told(Ok(Err(wrong))),
    };
    told(blocking(move || rule_changes::add(&core, request)).await)
}

async fn remove_rules(
    State(core): State<Arc<Core>>,
    Path(name): Path<String>,
    Query(query): Query<UnblockQuery>,
) -> Response {
    told(blocking(move || rule_changes::remove(&core, &name, query.dry_run)).await)
}

async fn explain(State(core): State<Arc<Core>>, body: String) -> Response {
    let request: ExplainRequest = match read(&body) {
        Ok(request) => request,
        Err(wrong) => return told(Ok(Err(wrong))),
    };
    let explained = blocking(move || {
        let shared = &core.shared;
        crate::explain::explain(&shared.snapshot(), &request, shared.now()).map_err(Refused::Wrong)
    });
    told(explained.await)
}

/// A page about lists: what it says, or why not.
fn told(result: Result<Result<Value, Refused>, tokio::task::JoinError>) -> Response {
    match result {
        Ok(Ok(value)) => Json(value).into_response(),
        Ok(Err(Refused::Wrong(why))) => failure(StatusCode::UNPROCESSABLE_ENTITY, &why),
        Ok(Err(Refused::Conflict(why))) => failure(StatusCode::CONFLICT, &why),
        Ok(Err(Refused::Missing(why))) => failure(StatusCode::NOT_FOUND, &why),
        Ok(Err(Refused::Failed(why))) => failure(StatusCode::INTERNAL_SERVER_ERROR, &why),
        Err(_) => failure(StatusCode::INTERNAL_SERVER_ERROR, "that failed; the log says why"),
    }
}

async fn config(State(core): State<Arc<Core>>) -> Json<Value> {
    let snapshot = core.shared.snapshot();
    Json(json!({
        "generation": snapshot.generation,
        "files": file_names(&snapshot.sources),
        "loaded_at": format!("{:.0}", snapshot.loaded_at),
        "toml": render(&snapshot.config.shown()),
    }))
}

async fn validate(body: String) -> Json<Value> {
    let checked = blocking(move || {
        let source = Source { name: "request".into(), path: None, text: body };
        load_sources::<Config>(Sources(vec![source]), Config::check)
    })
    .await;
    let (valid, problems) = match checked {
        Ok(Ok(loaded)) => (true, loaded.warnings),
        Ok(Err(LoadError::Problems { problems })) => (false, problems),
        Ok(Err(LoadError::Read { .. })) | Err(_) => (false, Vec::new()),
    };
    Json(json!({"valid": valid, "problems": problems_json(&problems)}))
}

async fn apply(State(core): State<Arc<Core>>, Query(query): Query<ChangeQuery>, body: String) -> Response {
    changed(blocking(move || core.apply(&body, query.mode())).await)
}

async fn reload(State(core): State<Arc<Core>>, Query(query): Query<ChangeQuery>) -> Response {
    changed(blocking(move || core.reload(query.mode())).await)
}

async fn rollback(State(core): State<Arc<Core>>, Query(query): Query<ChangeQuery>) -> Response {
    changed(blocking(move || core.rollback(query.to, query.mode())).await)
}

async fn confirm(State(core): State<Arc<Core>>) -> Response {
    if core.confirm() {
        return Json(json!({"success": true, "message": "the change stays"})).into_response();
    }
    failure(StatusCode::NOT_FOUND, "no change waits to be confirmed")
}

async fn history(State(core): State<Arc<Core>>) -> Response {
    let running = core.shared.snapshot();
    let kept = match core.state.history() {
        Ok(kept) => kept,
        Err(error) => return failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    let current = kept.iter().rposition(|kept| kept.sources().same_texts(&running.sources));
    let entries = kept.iter().enumerate().map(|(index, kept)| {
        json!({
            "id": kept.id,
            "at": kept.at,
            "note": kept.note,
            "files": file_names(&kept.sources()),
            "current": Some(index) == current,
        })
    });
    Json(entries.collect::<Value>()).into_response()
}

/// Reloads read files, bind sockets and write the state: not on the threads that answer.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    tokio::task::spawn_blocking(work).await
}

fn changed(result: Result<Result<ReloadReport, ReloadError>, tokio::task::JoinError>) -> Response {
    match result {
        Ok(Ok(report)) => Json(json!({
            "success": true,
            "message": report.to_string(),
            "generation": report.generation,
            "changes": report.changes,
            "warnings": report.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "undo": report.undo,
            "confirm": report.confirm,
        }))
        .into_response(),
        Ok(Err(error)) => {
            let status = match error {
                ReloadError::NoFiles | ReloadError::NoHistory { .. } => StatusCode::NOT_FOUND,
                ReloadError::HandingOver => StatusCode::CONFLICT,
                _ => StatusCode::UNPROCESSABLE_ENTITY,
            };
            let body = json!({"error": error.to_string(), "problems": problems_json(error.problems())});
            (status, Json(body)).into_response()
        }
        Err(_) => failure(StatusCode::INTERNAL_SERVER_ERROR, "the change failed; the log says why"),
    }
}

fn problems_json(problems: &[Problem]) -> Vec<Value> {
    let one = |problem: &Problem| {
        json!({
            "file": problem.file,
            "line": problem.line,
            "column": problem.column,
            "key": problem.key,
            "message": problem.message,
            "severity": match problem.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
        })
    };
    problems.iter().map(one).collect()
}

fn file_names(sources: &Sources) -> Vec<String> {
    sources.0.iter().map(|source| source.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn described() -> serde_json::Map<String, Value> {
        let description: Value = serde_json::from_str(crate::OPENAPI).unwrap();
        description["paths"].as_object().unwrap().clone()
    }

    #[test]
    fn the_description_has_every_page_and_no_other() {
        let described = described();
        let described: BTreeSet<&str> = described.keys().map(String::as_str).collect();
        let mut served: BTreeSet<&str> = ENDPOINTS.iter().map(|endpoint| endpoint.path).collect();
        served.extend(["/health", "/live", "/ready", "/openapi.json", "/api/v1/session"]);
        assert_eq!(described, served);
    }

    #[test]
    fn the_description_says_what_needs_the_token_itself() {
        let mut sessions = BTreeSet::new();
        for (path, page) in described() {
            for (method, operation) in page.as_object().unwrap() {
                let method: Method = method.to_uppercase().parse().unwrap();
                let is_open = operation["security"] == json!([]);
                let needs_token = operation["security"] == json!([{"token": []}]);
                assert!(is_open || needs_token || operation["security"].is_null(), "{method} {path}");
                let want = !is_open && !needs_token;
                assert_eq!(is_for_sessions(&method, &path), want, "{method} {path}");
                if want {
                    sessions.insert((path.clone(), method.to_string()));
                }
            }
        }
        let listed = ENDPOINTS.iter().flat_map(|endpoint| {
            let methods = endpoint.session.split(' ').filter(|method| !method.is_empty());
            methods.map(|method| (endpoint.path.to_owned(), method.to_owned()))
        });
        assert_eq!(sessions, listed.collect(), "no method that a page does not have");
        assert!(is_for_sessions(&Method::HEAD, "/api/v1/status"));
        assert!(!is_for_sessions(&Method::GET, "/api/v1/what-nobody-has-listed"));
    }
}
