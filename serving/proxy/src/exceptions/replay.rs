// SPDX-License-Identifier: Apache-2.0
//! What an exception would have let pass of what is kept, before it is made.

use std::collections::HashSet;
use std::net::IpAddr;

use serde::Serialize;
use sunbeam_decisions::{Query, ReadError, Reader, text_hash};
use sunbeam_pipeline::Decision;

use super::covers::{Covers, stopping};
use super::scope::{DOUBT, Scope};
use crate::core::Core;
use crate::judging::client_network;
use crate::snapshot::Snapshot;
use crate::why::kept::Kept;
use crate::why::store::{decision_number, layer_number};

/// Decisions of the layer that are looked at, newest first.
const LOOKED_AT_MAX: usize = 2_000;

/// Clients whose other decisions are looked at,
const CLIENTS_MAX: usize = 50;
/// and how many of each.
const PER_CLIENT_MAX: usize = 50;

/// Requests that are told as examples.
const EXAMPLES: usize = 5;

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Replay {
    /// Decisions of the same layer that were looked at, newest first.
    pub(crate) looked_at: usize,
    /// There are more.
    pub(crate) is_cut: bool,
    /// Of those: stopped on the same route for the same reason.
    pub(crate) alike: usize,
    /// Of those: the exception covers all that is known to have stopped them.
    pub(crate) would_pass: usize,
    /// The others.
    pub(crate) stay_stopped: usize,
    /// Of those that would pass: another layer scores them as an attack, or their client was stopped for something else.
    pub(crate) high: usize,
    /// Some of these, each with why.
    pub(crate) examples: Vec<Example>,
    /// Whether what the exception was made of is among those that would pass.
    pub(crate) helps: bool,
}

/// One that is scored as an attack elsewhere.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Example {
    id: String,
    because: String,
}

impl Replay {
    /// Looks at what is kept. Nothing is judged again: bodies and secrets are not kept.
    pub(crate) fn of(core: &Core, reader: &Reader, kept: &Kept, scope: &Scope) -> Result<Self, ReadError> {
        let snapshot = core.shared.snapshot();
        let layer = sunbeam_traffic::Layer::ALL.into_iter().find(|layer| layer.as_str() == scope.layer);
        let query = Query { layer: layer.map(layer_number), ..Query::default() };
        let page = reader.search(&query, None, LOOKED_AT_MAX)?;
        let all: Vec<Kept> = page.entries.iter().filter_map(|entry| Kept::of(&entry.text)).collect();
        let mut replay = Self {
            looked_at: all.len(),
            is_cut: page.next.is_some() || page.is_cut_short,
            helps: scope.covers(kept, &snapshot) == Covers::Wholly,
            ..Self::default()
        };
        let (mut clients, mut elsewhere) = (HashSet::new(), Vec::new());
        for one in all.iter().filter(|one| is_alike(one, kept)) {
            replay.alike += 1;
            if scope.covers(one, &snapshot) != Covers::Wholly {
                replay.stay_stopped += 1;
                continue;
            }
            replay.would_pass += 1;
            let client = one.record.client_ip.as_str();
            if clients.len() < CLIENTS_MAX && clients.insert(client) {
                elsewhere.extend(of_client(core, reader, client, (kept, scope, &snapshot))?);
            }
            let because = scored(one, scope).or_else(|| {
                let known = elsewhere.iter().find(|(known, _)| known == client);
                known.map(|(_, because)| because.clone())
            });
            if let Some(because) = because {
                replay.high += 1;
                if replay.examples.len() < EXAMPLES {
                    replay.examples.push(Example { id: one.record.request_id.clone(), because });
                }
            }
        }
        Ok(replay)
    }

    /// For a person.
    pub(crate) fn sentence(&self) -> String {
        let newest = if self.is_cut { "the newest " } else { "" };
        format!(
            "of {newest}{} kept decisions of this layer, {} were stopped for the same reason on this route: {} of them \
             would have passed, {} stay stopped; of those that would pass, {} are scored as an attack elsewhere or came \
             from a client that was stopped for something else",
            self.looked_at, self.alike, self.would_pass, self.stay_stopped, self.high
        )
    }
}

/// The same route, the same reason and, where rules had a say, one rule at least.
fn is_alike(one: &Kept, kept: &Kept) -> bool {
    let rules: HashSet<u64> = stopping(kept).map(|found| found.rule).collect();
    one.record.route == kept.record.route
        && matches!(one.record.decision.as_str(), "block" | "challenge" | "observe")
        && one.record.reason == kept.record.reason
        && (rules.is_empty() || stopping(one).any(|found| rules.contains(&found.rule)))
}

/// What speaks of an attack in a decision beside what is excepted.
fn scored(one: &Kept, scope: &Scope) -> Option<String> {
    let scores = &one.record.scores;
    let is_rules = scope.layer == "waf";
    // A model of the layer itself, or what it was led by, says nothing new: that of path and headers is told what the one
    // of texts thinks.
    let says_texts = scope.unit.is_none() && scope.layer != "scanner";
    let is_doubted = scores.payload.is_some_and(|score| score.0 >= DOUBT);
    let says_request = scope.layer != "scanner" && !is_doubted;
    [
        ("the model of what clients do", scores.ddos, true),
        ("the model of path and headers", scores.scanner, says_request),
        ("the model of texts", scores.payload, says_texts),
        ("the application's model", scores.application, scope.part.is_none()),
        ("the WAF's rules", scores.waf, !is_rules),
    ]
    .into_iter()
    .filter(|(_, _, counts)| *counts)
    .find_map(|(who, score, _)| {
        let score = score.filter(|score| score.0 >= DOUBT)?;
        Some(format!("{who}: {:.3}", f64::from(score.0) / 1000.0))
    })
}

/// Whether a block of an address, of its network with IPv6, holds for a client.
pub(crate) fn is_of(blocked: IpAddr, client: IpAddr, ipv6_prefix: u8) -> bool {
    client_network(blocked, ipv6_prefix) == client_network(client, ipv6_prefix)
}

/// What a client was stopped for beside what is excepted, if anything, or the block that holds for it.
fn of_client(
    core: &Core,
    reader: &Reader,
    client: &str,
    (kept, scope, snapshot): (&Kept, &Scope, &Snapshot),
) -> Result<Option<(String, String)>, ReadError> {
    if let Ok(address) = client.parse::<IpAddr>() {
        let bans = core.shared.memory.bans.all(core.shared.now());
        let bits = snapshot.config.ddos.ipv6_prefix;
        let holds =
            bans.iter().find(|ban| is_of(ban.address, address, bits) && ban.layer.as_str() != scope.layer);
        if let Some(ban) = holds {
            let because = format!("its client is blocked by {}: {}", ban.layer, ban.reason);
            return Ok(Some((client.to_owned(), because)));
        }
    }
    let is_else = |text: &str| {
        Kept::of(text).is_some_and(|other| {
            other.record.client_ip == client
                && other.record.decision == "block"
                && !is_alike(&other, kept)
                && scope.covers(&other, snapshot) != Covers::Wholly
        })
    };
    let query = Query {
        client: Some(text_hash(client)),
        decision: Some(decision_number(Decision::Blocked)),
        filter: Some(&is_else),
        ..Query::default()
    };
    let page = reader.search(&query, None, PER_CLIENT_MAX)?;
    let found = page.entries.iter().find_map(|entry| Kept::of(&entry.text));
    Ok(found.map(|other| {
        let record = &other.record;
        let because =
            format!("its client was stopped by {} for something else: {}", record.layer, record.reason);
        (client.to_owned(), because)
    }))
}
