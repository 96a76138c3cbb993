// SPDX-License-Identifier: Apache-2.0
//! What an exception is about, and how it is made of a decision.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sunbeam_decisions::text_hash;
use sunbeam_features::canonical::canonical_path;
use sunbeam_traffic::{AuditRecord, IdentityKind, MASK};
use sunbeam_waf::engine::{is_field, is_score_rule};

use super::covers::stopping;
use crate::config::ClientIp;
use crate::judging::client_network;
use crate::snapshot::Snapshot;
use crate::why::kept::Kept;
use crate::why::refused;

/// Bytes of a name that a decision is sure to tell whole.
const NAME_BYTES_MAX: usize = 190;

/// Where no address is kept, no command can name one.
const UNBLOCK_WITHOUT_ADDRESS: &str = "its address is not kept in full (`audit.client_ip`): look for it in `sunbeam \
    blocks`, or ask whoever it was, and `sunbeam unblock` that";

/// Half of 1,000: where doubt begins.
pub(super) const DOUBT: u16 = 500;

/// What is not held against requests of a route. Two that are equal are one exception.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Scope {
    /// `waf`, `scanner`, `rate_limit`
    pub(crate) layer: String,
    /// The configured name.
    pub(crate) route: String,
    /// Empty: any.
    pub(crate) method: String,
    /// As the client wrote it; `None`: every path of the route.
    pub(crate) path: Option<String>,
    /// Rules, by the field that they do not look at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rules: Vec<RulesOf>,
    /// What the model of texts does not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unit: Option<Named>,
    /// What the application's model does not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) part: Option<Named>,
    /// What path and headers look like does not count.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) probe: bool,
    /// A limit that does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<LimitOf>,
}

/// Rules and a field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RulesOf {
    /// `ARGS:name`
    pub(crate) target: String,
    /// In order, each once.
    pub(crate) ids: Vec<u64>,
}

/// Something with a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    /// `Parameter`, `value`
    pub(crate) kind: String,
    /// As the client writes it.
    pub(crate) name: String,
}

/// A limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LimitOf {
    /// `identity_limit`
    pub(crate) bound: String,
    /// Those of the route, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) names: Vec<String>,
    /// The client's range; `None`: everybody.
    pub(crate) client: Option<String>,
    /// `address`, `session`, `bearer`; empty for everybody.
    #[serde(default)]
    pub(crate) identity: String,
}

/// What an exception is made with, beside the decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judges<'a> {
    pub(crate) snapshot: &'a Snapshot,
    /// Not this path alone, not this client alone.
    pub(crate) wider: bool,
}

impl Scope {
    /// The narrowest that would have let a decided request pass.
    ///
    /// # Errors
    /// A sentence with what to do instead.
    pub(crate) fn of(kept: &Kept, by: &Judges<'_>) -> Result<Self, String> {
        let record = &kept.record;
        if !matches!(record.decision.as_str(), "block" | "challenge" | "observe") {
            return Err("it passed: there is nothing to allow".to_owned());
        }
        if let Some(why) = refused::remedy(&record.layer, &record.reason) {
            return Err(why);
        }
        let scope = Self {
            layer: record.layer.clone(),
            route: record.route.clone(),
            method: record.method.clone(),
            path: (!by.wider).then(|| record.path.clone()),
            ..Self::default()
        };
        match record.layer.as_str() {
            "waf" => scope.of_rules(kept),
            "scanner" => scope.of_scanner(kept, by.wider),
            "rate_limit" => scope.of_limit(kept, by),
            layer => Err(format!(
                "it was stopped by {layer} for what its address does, not for what it holds: {}",
                if has_address(record, by.snapshot) {
                    format!(
                        "`sunbeam unblock {}` lets that address pass, and no layer blocks it again for a day",
                        record.client_ip
                    )
                } else {
                    UNBLOCK_WITHOUT_ADDRESS.to_owned()
                }
            )),
        }
    }

    fn of_rules(mut self, kept: &Kept) -> Result<Self, String> {
        let reason = kept.record.reason.as_str();
        if matches!(reason, "rule" | "rules" | "rules_and_model") {
            let found: Vec<_> = stopping(kept).collect();
            // A rule of its own word is the last that matched: its phase ended there.
            let own = found.last().filter(|_| reason == "rule").map(|last| last.rule);
            for found in found.iter().filter(|found| own.is_none_or(|own| found.rule == own)) {
                // What is cut is not the whole name.
                if !is_field(&found.target) || !is_whole(&found.target) {
                    continue;
                }
                match self.rules.iter_mut().find(|known| known.target == found.target) {
                    Some(known) if known.ids.contains(&found.rule) => {}
                    Some(known) => known.ids.push(found.rule),
                    None => {
                        self.rules.push(RulesOf { target: found.target.clone(), ids: vec![found.rule] });
                    }
                }
            }
            self.rules.iter_mut().for_each(|known| known.ids.sort_unstable());
            self.rules.sort_by(|one, other| one.target.cmp(&other.target));
            if self.rules.is_empty() {
                let ids: Vec<String> = found.iter().take(4).map(|found| found.rule.to_string()).collect();
                return Err(format!(
                    "the rules that stopped it ({}) matched no single field of the request: take a rule away with \
                     `SecRuleRemoveById` in `waf.rules_dir`",
                    if ids.is_empty() { "none is kept".to_owned() } else { ids.join(", ") }
                ));
            }
        }
        let is_doubted = kept.record.scores.payload.is_some_and(|score| score.0 >= DOUBT);
        match reason {
            "rule" | "rules" => Ok(self),
            "rules_and_model" if !is_doubted => Ok(self),
            "rules_and_model" | "model" => self.with_unit(kept),
            "body_too_large" => Err(key("waf.on_oversized_body", "or `waf.max_inspected_body_bytes`")),
            "budget" => Err(key("waf.on_budget", "or `waf.regex_budget_ms`")),
            "too_many_parameters" => Err(key("waf.max_parameters", "")),
            other => {
                Err(format!("for `{other}` there is no exception: it is not about what one field holds"))
            }
        }
    }

    fn of_scanner(mut self, kept: &Kept, wider: bool) -> Result<Self, String> {
        match kept.record.reason.as_str() {
            "payload" => {
                let scope = self.with_unit(kept)?;
                let is_path = scope.unit.as_ref().is_some_and(|unit| unit.kind == "Path");
                if wider && is_path { Err(no_wider_path()) } else { Ok(scope) }
            }
            "probe" if wider => Err(no_wider_path()),
            "probe" => {
                self.probe = true;
                Ok(self)
            }
            "application" => {
                let text = |pointer| kept.why.models.pointer(pointer).and_then(|text| text.as_str());
                let kind = text("/application/part").filter(|kind| *kind == "path" || *kind == "names");
                let name = text("/application/name").unwrap_or_default();
                if kind.is_none() && !is_whole(name) {
                    return Err(no_name());
                }
                if wider && kind == Some("path") {
                    return Err(no_wider_path());
                }
                let kind = text("/application/part").ok_or_else(no_name)?;
                self.part = Some(Named { kind: kind.to_owned(), name: name.to_owned() });
                Ok(self)
            }
            reason if reason.contains("crawler") => Err(format!(
                "`{reason}` is about who the crawler is, not about the request: see `[bots]` and `sunbeam bots`"
            )),
            other => {
                Err(format!("for `{other}` there is no exception: it is not about what one field holds"))
            }
        }
    }

    /// The unit that weighed most.
    fn with_unit(mut self, kept: &Kept) -> Result<Self, String> {
        let text = |pointer| kept.why.models.pointer(pointer).and_then(|text| text.as_str());
        let kind = text("/payload/unit").ok_or_else(no_name)?;
        let (name, value) = (text("/payload/name").unwrap_or_default(), text("/payload/value"));
        let value = value.unwrap_or_default().to_ascii_lowercase();
        if kind == "Body" && value.contains("content-disposition") {
            return Err(
                "the model of texts found it in a part of a form, whose name it does not know: an exception \
                        would hold for all parts"
                    .to_owned(),
            );
        }
        let is_named = !matches!(kind, "Path" | "Body");
        if is_named && !is_whole(name) {
            return Err(no_name());
        }
        self.unit = Some(Named { kind: kind.to_owned(), name: name.to_owned() });
        Ok(self)
    }

    fn of_limit(mut self, kept: &Kept, by: &Judges<'_>) -> Result<Self, String> {
        let record = &kept.record;
        let mut limit = LimitOf { bound: record.reason.clone(), ..LimitOf::default() };
        (self.method, self.path) = (String::new(), None);
        match record.reason.as_str() {
            "identity_limit" | "address_limit" => {}
            "route_limit" => limit.names = route_limits(kept, by.snapshot),
            "global_limit" => return Err(key("rate_limit.global", ": it is the whole node's")),
            other => return Err(format!("for `{other}` there is no exception")),
        }
        if record.reason == "route_limit" && limit.names.is_empty() {
            return Err("the route has no such limit any more: what is asked now passes".to_owned());
        }
        if !by.wider {
            let address = record.client_ip.parse().map_err(|_| {
                "the client's address is not kept in full (`audit.client_ip`), so nobody can be meant alone: \
                 `--wider` lifts the limit for the whole route"
                    .to_owned()
            })?;
            if by.snapshot.config.audit.client_ip != ClientIp::Full {
                return Err(
                    "addresses are kept cut short (`audit.client_ip`), so nobody can be meant alone: \
                            `--wider` lifts the limit for the whole route"
                        .to_owned(),
                );
            }
            let bits = by.snapshot.config.ddos.ipv6_prefix;
            limit.client = Some(client_network(address, bits).to_string());
            limit.identity.clone_from(&record.identity_kind);
        }
        self.limit = Some(limit);
        Ok(self)
    }

    /// Whether it is for more than one path, or more than one client.
    pub(crate) fn is_wider(&self) -> bool {
        match &self.limit {
            Some(limit) => limit.client.is_none(),
            None => self.path.is_none(),
        }
    }

    /// Names it: the same for the same scope on every node. 48 bits, so that a person can type it.
    pub(crate) fn id(&self) -> u64 {
        // A structure of texts and numbers always serialises.
        text_hash(&serde_json::to_string(self).unwrap_or_default()) & 0xffff_ffff_ffff
    }

    /// A sentence's part: what of which requests.
    pub(crate) fn sentence(&self) -> String {
        let mut parts: Vec<String> = self
            .rules
            .iter()
            .map(|known| {
                let ids: Vec<String> = known.ids.iter().map(u64::to_string).collect();
                let (noun, verb) = if ids.len() == 1 { ("rule", "does") } else { ("rules", "do") };
                format!("{noun} {} {verb} not look at {}", ids.join(", "), known.target)
            })
            .collect();
        if let Some(unit) = &self.unit {
            parts.push(format!("the model of texts does not read {}", unit_text(unit)));
        }
        if let Some(part) = &self.part {
            let name = if part.name.is_empty() { String::new() } else { format!(" `{}`", part.name) };
            parts.push(format!("the application's model does not read the {}{name}", part.kind));
        }
        if self.probe {
            parts.push("what path and headers look like does not count".to_owned());
        }
        if let Some(limit) = &self.limit {
            let names =
                if limit.names.is_empty() { String::new() } else { format!(" ({})", limit.names.join("; ")) };
            let whose = match &limit.client {
                Some(client) => format!("{client} as {}", limit.identity),
                None => "everybody".to_owned(),
            };
            parts.push(format!("the limit {}{names} does not hold for {whose}", limit.bound));
        }
        let method = if self.method.is_empty() { "requests" } else { &format!("{} requests", self.method) };
        let path = match &self.path {
            Some(path) => format!("for the path {path}"),
            None => "for every path".to_owned(),
        };
        format!("{}: {method} on the route {}, {path}", parts.join(", "), self.route)
    }
}

/// The names of the route's limits that a decided request had to keep.
pub(super) fn route_limits(kept: &Kept, snapshot: &Snapshot) -> Vec<String> {
    let record = &kept.record;
    let routes = snapshot.table.routes();
    let Some(route) = routes.iter().find(|route| route.name == record.route) else { return Vec::new() };
    let mut path = Vec::new();
    canonical_path(record.path.as_bytes(), &mut path);
    let limits = snapshot.pipeline.rules().route_limits(route.index, &record.method, &path);
    limits.into_iter().map(str::to_owned).collect()
}

/// The kind of an identity, by its word.
pub(super) fn identity_kind(word: &str) -> Option<IdentityKind> {
    [IdentityKind::Address, IdentityKind::Session, IdentityKind::Bearer]
        .into_iter()
        .find(|kind| kind.as_str() == word)
}

fn unit_text(unit: &Named) -> String {
    match unit.kind.as_str() {
        "Path" => "the path".to_owned(),
        "Body" => "the body".to_owned(),
        "Parameter" => format!("the parameter `{}`", unit.name),
        "ParameterName" => format!("the name `{}` of a parameter", unit.name),
        "Cookie" => format!("the cookie `{}`", unit.name),
        "CookieName" => format!("the name `{}` of a cookie", unit.name),
        "JsonLeaf" => format!("what stands in JSON under `{}`", unit.name),
        other => format!("{other} `{}`", unit.name),
    }
}

/// What is cut short or was no text names something else than it says.
/// Whether a record has its client's address, which a command can name.
pub(crate) fn has_address(record: &AuditRecord, snapshot: &Snapshot) -> bool {
    // It may be kept by another setting than that of now.
    snapshot.config.audit.client_ip == ClientIp::Full && record.client_ip.parse::<IpAddr>().is_ok()
}

fn is_whole(name: &str) -> bool {
    let is_told = !name.contains(char::REPLACEMENT_CHARACTER) && !name.contains(MASK);
    name.len() <= NAME_BYTES_MAX && is_told
}

fn no_name() -> String {
    "what weighed most has no name that is kept whole, so an exception could not be told from others"
        .to_owned()
}

fn no_wider_path() -> String {
    "it is the path itself, so there is nothing wider but the whole layer: `routes.protect` sets what a layer may do \
     on a route"
        .to_owned()
}

fn key(key: &str, more: &str) -> String {
    format!("it is not about what one field holds: set `{key}` {more}").trim_end().to_owned()
}

/// Whether a finding can have stopped a request: rules that hold a score against its threshold find nothing themselves.
pub(super) fn counts(rule: u64) -> bool {
    !is_score_rule(rule)
}
