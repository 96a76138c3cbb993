// SPDX-License-Identifier: Apache-2.0
//! What judging thinks of a request that somebody made up: nothing is sent, counted or blocked.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Uri;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sunbeam_config::Loaded;

use sunbeam_features::{HeaderOrder, canonical};
use sunbeam_pipeline::{Decision, Opinion, Scratch};
use sunbeam_routing::host_of;
use sunbeam_tables::Moment;
use sunbeam_traffic::{Layer, RequestFacts};

use crate::config::Config;
use crate::inspect::{self, Head, MadeUp};
use crate::offline::Offline;
use crate::snapshot::Snapshot;
use crate::why::weighed::{TellsAll, models, weight};

/// A request that somebody made up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExplainRequest {
    /// `GET`
    pub method: String,
    /// `https://docs.example.org/a?b=c`
    pub url: String,
    /// Fields in their order.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
    /// The client's address; documentation's own (192.0.2.1) when absent.
    pub ip: Option<IpAddr>,
}

/// Fields of one request that are looked at.
const FIELDS_MAX: usize = 256;

/// What a configuration thinks, without a node: nothing was seen before.
///
/// # Errors
/// What is wrong with the request or the configuration.
pub fn explain_offline(loaded: &Loaded<Config>, request: &ExplainRequest) -> Result<Value, String> {
    explain(&Offline::new(loaded)?.snapshot, request, Moment::default())
}

/// What `snapshot` thinks at `now`.
pub(crate) fn explain(snapshot: &Snapshot, request: &ExplainRequest, now: Moment) -> Result<Value, String> {
    let uri: Uri = request.url.parse().map_err(|error| format!("`{}` is no URL: {error}", request.url))?;
    let authority = uri.authority().ok_or_else(|| format!("`{}` names no host", request.url))?;
    if request.headers.len() > FIELDS_MAX {
        return Err(format!("more than {FIELDS_MAX} header fields"));
    }
    let host = host_of(authority.as_str());
    let client = request.ip.unwrap_or(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    let Some(route) = snapshot.table.find(&host).map(Arc::clone) else {
        return Ok(without_route(&host, client));
    };
    let fields: Vec<(String, &str)> =
        request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_str())).collect();
    let field = |name: &str| {
        fields.iter().find(|(known, _)| known == name).map(|(_, value)| *value).unwrap_or_default()
    };
    let mut order = HeaderOrder::default();
    // A name counts once, where it stands first, as in the requests of clients.
    let is_first = |index: usize, name: &str| !fields.iter().take(index).any(|(known, _)| known == name);
    for (index, (name, _)) in fields.iter().enumerate() {
        if is_first(index, name) {
            order.add(name);
        }
    }
    let cookies: Vec<&[u8]> =
        fields.iter().filter(|(name, _)| name == "cookie").map(|(_, value)| value.as_bytes()).collect();
    let forwards =
        ["x-forwarded-for", "cf-connecting-ip", "forwarded"].iter().any(|name| !field(name).is_empty());
    let method = if request.method.is_empty() { "GET" } else { &request.method };
    let facts = RequestFacts {
        client,
        has_untrusted_forwarding: forwards && !snapshot.is_trusted(client),
        route: route.index,
        method,
        host: &host,
        path: uri.path(),
        query: uri.query().unwrap_or_default(),
        user_agent: field("user-agent"),
        referer: field("referer").as_bytes(),
        accept: field("accept").as_bytes(),
        accept_language: field("accept-language").as_bytes(),
        cookies: &cookies,
        authorization: field("authorization").as_bytes(),
        content_length: request.body.len() as u64,
        content_type: field("content-type").as_bytes(),
        body: request.body.as_bytes(),
        header_order: order.finish(),
        ja4: "",
        is_page_made: false,
    };
    let target = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut lines: Vec<(&[u8], &[u8])> =
        request.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    if field("host").is_empty() {
        lines.insert(0, (b"Host", authority.as_str().as_bytes()));
    }
    let head = Head::made_up([method.as_bytes(), target.as_bytes(), b"HTTP/1.1"], lines);
    Ok(told(snapshot, &facts, &head, &route.name, now))
}

fn without_route(host: &str, client: IpAddr) -> Value {
    json!({
        "request": {"route": null, "path": "", "client_ip": client.to_string()},
        "identity": {"kind": "address", "authenticated": false},
        "layers": [],
        "decision": {
            "verdict": "block", "layer": null, "reason": format!("no route names the host `{host}`"),
            "status": 421, "retry_after_secs": null,
        },
        "features": [],
        "models": null,
        "waf": null,
        "microseconds": 0.0,
    })
}

fn told(snapshot: &Snapshot, facts: &RequestFacts<'_>, head: &Head<'_>, route: &str, now: Moment) -> Value {
    let pipeline = &snapshot.pipeline;
    let mut scratch = Scratch::default();
    // The layers before the WAF have no body yet.
    let (mut judged, mut opinions, _) =
        pipeline.opinions(&RequestFacts { body: b"", ..*facts }, now, &mut scratch);
    let mode = pipeline.rules().mode(facts.route, Layer::Waf);
    let inspected = inspect::made_up(snapshot, &mut judged, facts, head, &mut scratch);
    let judgement = inspected.as_ref().map(|inspected| inspected.judgement);
    opinions.push(Opinion { stage: Layer::Waf.as_str(), mode, judgement });
    let weighed = pipeline.weigh(facts, now, &mut scratch);
    let mut path = Vec::new();
    canonical::canonical_path(facts.path.as_bytes(), &mut path);
    let is_blocked = judged.decision == Decision::Blocked;
    let listed = pipeline.memory().lists.entry_for(facts.client, now).map(|entry| {
        let until = entry.until.and_then(|until| Timestamp::from_second(until).ok());
        let until = until.map_or_else(String::new, |until| format!(" until {until}"));
        format!(
            "{} {} by {}{until} {}",
            entry.list.as_str(),
            entry.network,
            entry.origin.as_str(),
            entry.reason
        )
    });
    json!({
        "request": {
            "route": route,
            "path": String::from_utf8_lossy(&path),
            "client_ip": facts.client.to_string(),
        },
        "identity": {
            "kind": judged.identity.kind.as_str(),
            "authenticated": judged.identity.is_authenticated(),
        },
        "layers": opinions.iter().map(|one| opinion(one, listed.as_deref())).collect::<Vec<_>>(),
        "decision": {
            "verdict": judged.decision.as_str(),
            "layer": judged.layer.map(Layer::as_str),
            "reason": judged.reason,
            "status": if is_blocked { judged.status } else { 200 },
            "retry_after_secs": judged.retry_after_secs.filter(|_| is_blocked),
        },
        "features": weighed.window.iter().map(weight).collect::<Vec<_>>(),
        "models": models(&weighed, &TellsAll),
        "waf": inspected.as_ref().map(rules),
        "microseconds": microseconds(snapshot, facts, head, now),
    })
}

/// What rules find.
fn rules(inspected: &MadeUp) -> Value {
    let MadeUp { found, findings, .. } = inspected;
    json!({
        "score": found.score,
        "threshold": found.threshold,
        "category": findings.category.as_str(),
        "rules": findings.matches,
    })
}

fn opinion(opinion: &Opinion, listed: Option<&str>) -> Value {
    let judgement = opinion.judgement;
    json!({
        "layer": opinion.stage,
        "mode": opinion.mode.as_str(),
        "verdict": judgement.map_or("not asked", |judgement| judgement.verdict.as_str()),
        "reason": judgement.map_or("", |judgement| judgement.reason),
        "detail": match judgement.and_then(|judgement| judgement.retry_after_secs) {
            Some(secs) => format!("retry after {secs} s"),
            None if opinion.stage == "lists" => listed.unwrap_or_default().trim_end().to_owned(),
            None => String::new(),
        },
    })
}

/// How long judging takes, in the mean. A request that takes long is not asked for often.
fn microseconds(snapshot: &Snapshot, facts: &RequestFacts<'_>, head: &Head<'_>, now: Moment) -> f64 {
    const ROUNDS: u32 = 200;
    const LONG: Duration = Duration::from_millis(200);
    let mut scratch = Scratch::default();
    let begun = Instant::now();
    let mut rounds = 0;
    while rounds < ROUNDS && (rounds == 0 || begun.elapsed() < LONG) {
        rounds += 1;
        let head_alone = RequestFacts { body: b"", ..*facts };
        let (mut judged, ..) =
            std::hint::black_box(snapshot.pipeline.opinions(&head_alone, now, &mut scratch));
        drop(std::hint::black_box(inspect::made_up(snapshot, &mut judged, facts, head, &mut scratch)));
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(rounds)
}
