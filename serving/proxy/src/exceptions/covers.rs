// SPDX-License-Identifier: Apache-2.0
//! Whether an exception would have let a decided request pass, by what is kept of it.

use std::net::IpAddr;

use ipnet::IpNet;
use sunbeam_traffic::RuleMatch;

use super::scope::{DOUBT, Scope, counts, route_limits};
use crate::snapshot::Snapshot;
use crate::why::kept::Kept;

/// What an exception does for a decided request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Covers {
    /// Nothing: it is about something else.
    Nothing,
    /// Something, but more was found.
    Partly,
    /// All that it was stopped for.
    Wholly,
}

/// Findings that can have stopped a request.
pub(super) fn stopping(kept: &Kept) -> impl Iterator<Item = &RuleMatch> {
    kept.why.rules.iter().filter(|found| counts(found.rule))
}

impl Scope {
    /// What it would have done for a decided request. Bodies are not kept: of texts the worst is known, of rules that
    /// matched the first 32 matches.
    pub(crate) fn covers(&self, kept: &Kept, snapshot: &Snapshot) -> Covers {
        let record = &kept.record;
        let is_meant = record.layer == self.layer
            && record.route == self.route
            && (self.method.is_empty() || record.method == self.method)
            && self.path.as_ref().is_none_or(|path| record.path == *path);
        if !is_meant {
            return Covers::Nothing;
        }
        match record.layer.as_str() {
            "waf" => self.covers_rules(kept),
            "scanner" => whole_if(match record.reason.as_str() {
                "payload" => self.is_unit(kept),
                "probe" => self.probe,
                "application" => self.is_part(kept),
                _ => false,
            }),
            "rate_limit" => whole_if(self.is_limit(kept, snapshot)),
            _ => Covers::Nothing,
        }
    }

    fn covers_rules(&self, kept: &Kept) -> Covers {
        let (mut any, mut all) = (false, true);
        for found in stopping(kept) {
            let is_left_out = self.rules.iter().any(|known| {
                known.target.eq_ignore_ascii_case(&found.target) && known.ids.contains(&found.rule)
            });
            any |= is_left_out;
            all &= is_left_out;
        }
        let is_doubted = kept.record.scores.payload.is_some_and(|score| score.0 >= DOUBT);
        let by_model = matches!(kept.record.reason.as_str(), "model" | "rules_and_model") && is_doubted;
        let by_rules = matches!(kept.record.reason.as_str(), "rule" | "rules" | "rules_and_model");
        let is_unit = self.is_unit(kept);
        any |= by_model && is_unit;
        // Rules that matched without being too much do not stop what the model alone had stopped.
        let is_whole = (!by_rules || all) && (!by_model || is_unit) && (by_rules || by_model);
        match (is_whole, any) {
            (true, true) => Covers::Wholly,
            (_, true) => Covers::Partly,
            (_, false) => Covers::Nothing,
        }
    }

    fn is_unit(&self, kept: &Kept) -> bool {
        let text = |pointer| kept.why.models.pointer(pointer).and_then(|text| text.as_str());
        self.unit.as_ref().is_some_and(|unit| {
            text("/payload/unit") == Some(&unit.kind) && text("/payload/name") == Some(&unit.name)
        })
    }

    fn is_part(&self, kept: &Kept) -> bool {
        let text = |pointer| kept.why.models.pointer(pointer).and_then(|text| text.as_str());
        self.part.as_ref().is_some_and(|part| {
            text("/application/part") == Some(&part.kind) && text("/application/name") == Some(&part.name)
        })
    }

    fn is_limit(&self, kept: &Kept, snapshot: &Snapshot) -> bool {
        let record = &kept.record;
        let Some(limit) = self.limit.as_ref().filter(|limit| limit.bound == record.reason) else {
            return false;
        };
        let is_client = limit.client.as_ref().is_none_or(|range| {
            let (range, client) = (range.parse::<IpNet>(), record.client_ip.parse::<IpAddr>());
            range.ok().zip(client.ok()).is_some_and(|(range, client)| range.contains(&client))
                && limit.identity == record.identity_kind
        });
        is_client
            && (limit.names.is_empty()
                || route_limits(kept, snapshot).iter().all(|name| limit.names.contains(name)))
    }
}

const fn whole_if(is_whole: bool) -> Covers {
    if is_whole { Covers::Wholly } else { Covers::Nothing }
}
