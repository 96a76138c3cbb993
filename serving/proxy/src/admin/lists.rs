// SPDX-License-Identifier: Apache-2.0
//! Blocks, lists and crawlers: what the API's pages about them answer.

use std::net::IpAddr;
use std::sync::{Arc, MutexGuard};

use axum::http::HeaderMap;
use ipnet::IpNet;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sunbeam_config::Cidr;
use sunbeam_reputation::{Ban, Bot, Entry, Held, List, NewEntry, Origin};
use sunbeam_traffic::IdentityKind;

use super::changes::{self, Within};
use crate::core::Core;
use crate::judging::{KeptEntry, client_network};
use crate::snapshot::Snapshot;
use crate::unconfirmed::{Undo, block_subject};

/// Ten years: longer is "until somebody removes it".
const SECS_MAX: u64 = 315_360_000;

/// `POST /api/v1/blocklist` and `POST /api/v1/allowlist`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BlockRequest {
    /// An address or a range.
    ip: String,
    /// Absent: until somebody takes it back.
    duration_seconds: Option<u64>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    dry_run: bool,
    /// Of a block: taken back after so long unless somebody confirms it.
    confirm_within_secs: Option<u64>,
}

/// Why a change of the lists is refused.
#[derive(Debug)]
pub(super) enum Refused {
    /// It makes no sense.
    Wrong(String),
    /// It would hurt whoever asks.
    Conflict(String),
    /// There is nothing like it.
    Missing(String),
    /// It cannot be kept.
    Failed(String),
}

/// Every block that holds.
pub(super) fn blocks(core: &Core) -> Value {
    let shared = &core.shared;
    let now = shared.now();
    let listed = shared.memory.lists.all();
    let mut blocks: Vec<Value> =
        listed.iter().filter(|entry| entry.list == List::Block).map(block_of).collect();
    let (wall, prefix) = (Timestamp::now().as_second(), shared.snapshot().config.ddos.ipv6_prefix);
    for ban in shared.memory.bans.all(now) {
        let range = range_of(&ban, prefix);
        let ago = i64::try_from(now.micros_since(ban.since) / 1_000_000).unwrap_or(0);
        let left = i64::try_from(ban.until.micros_since(now).div_ceil(1_000_000)).unwrap_or(0);
        blocks.push(json!({
            "id": format!("{:016x}", ban.key),
            "cidr": range.map(|range| range.to_string()).unwrap_or_default(),
            "origin": ban.layer.as_str(),
            "reason": ban.reason,
            "since": moment(wall - ago),
            "until": moment(wall + left),
            "offences": ban.offences,
            "identity": if ban.held == Held::Behind { "all behind" } else { ban.kind.as_str() },
        }));
    }
    json!({"total": blocks.len(), "blocks": blocks})
}

fn block_of(entry: &Entry) -> Value {
    json!({
        "id": entry.id.to_string(),
        "cidr": entry.network.to_string(),
        "origin": entry.origin.as_str(),
        "reason": entry.reason,
        "since": (entry.since > 0).then(|| moment(entry.since)),
        "until": entry.until.map(moment),
        "offences": 1,
        "identity": "address",
    })
}

/// The addresses that a block means; none where it is a session's or a token's.
fn range_of(ban: &Ban, ipv6_prefix: u8) -> Option<IpNet> {
    match ban.held {
        Held::Prefix(bits) => Some(client_network(ban.address, bits)),
        Held::Behind => Some(client_network(ban.address, ipv6_prefix)),
        Held::Client => (ban.kind == IdentityKind::Address).then(|| client_network(ban.address, ipv6_prefix)),
    }
}

/// Every entry of every list.
pub(super) fn lists(core: &Core) -> Value {
    let entries = core.shared.memory.lists.all();
    let entry = |entry: &Entry| {
        json!({
            "list": entry.list.as_str(),
            "cidr": entry.network.to_string(),
            "origin": entry.origin.as_str(),
            "reason": entry.reason,
            "since": (entry.since > 0).then(|| moment(entry.since)),
            "until": entry.until.map(moment),
        })
    };
    let mut all: Vec<Value> = entries.iter().map(entry).collect();
    let (now, wall) = (core.shared.now(), Timestamp::now().as_second());
    let prefix = core.shared.snapshot().config.ddos.ipv6_prefix;
    for graced in core.shared.memory.bans.graced(now) {
        let left = i64::try_from(graced.grace_until.micros_since(now).div_ceil(1_000_000)).unwrap_or(0);
        all.push(json!({
            "list": "grace",
            "cidr": range_of(&graced, prefix).map(|range| range.to_string()).unwrap_or_default(),
            "origin": "operator",
            "reason": "unblocked by an operator: no layer blocks it again",
            "since": null,
            "until": moment(wall + left),
        }));
    }
    json!({"prefixes": entries.len(), "entries": all})
}

/// Adds a block. On the disk before it is answered.
pub(super) fn block(core: &Core, request: &BlockRequest, operator: Option<IpAddr>) -> Result<Value, Refused> {
    let network = request.range()?;
    let within = Within::of(request.confirm_within_secs, request.dry_run)?;
    // Only tried, it may be tried as it would be made.
    let is_to_be_confirmed = request.confirm_within_secs.is_some();
    let hurt = operators(core, operator).find(|address| network.contains(address));
    if let Some(hurt) = hurt.filter(|_| !is_to_be_confirmed) {
        return Err(Refused::Conflict(format!(
            "`{network}` holds {hurt}, where an operator works from: that would lock you out; with \
             `--confirm-within 60s` it is made, and taken back unless you confirm it"
        )));
    }
    let (what, how_long) = (noun(network), request.how_long("unblocked"));
    let listed = core.shared.memory.lists.find(network.addr(), core.shared.now());
    let is_allowed = listed.is_some_and(|listed| listed.list == List::Allow);
    let but = if is_allowed { "; it is on the allow list, which is stronger" } else { "" };
    let verb = if request.dry_run { "would be blocked" } else { "blocked" };
    let mut answer = json!({
        "success": true,
        "message": format!("{what} {verb} {how_long}{but}"),
        "id": null,
        "undo": format!("sunbeam unblock {}", short(network)),
    });
    if request.dry_run {
        return Ok(answer);
    }
    // What is written down of the block before it, and what takes its place, belong together.
    let listing = core.listing();
    let lists = core.shared.memory.lists.all();
    let is_before = |entry: &&Entry| {
        let is_operators = (entry.list, entry.origin) == (List::Block, Origin::Operator);
        is_operators && entry.network == network
    };
    let since = Timestamp::now().as_second();
    let kept_before = lists.iter().find(is_before).map(|entry| Box::new(KeptEntry::from(entry)));
    let undo = Undo::Blocked { network: network.to_string(), since, before: kept_before };
    let waiting = within.write(core, &format!("{what} {network} blocked {how_long}"), undo)?;
    let added = added(core, &listing, request, (network, List::Block), since);
    let (entry, before) = added.inspect_err(|_| changes::not_made(core, waiting.as_ref()))?;
    drop(listing);
    changes::tell(&mut answer, waiting.as_ref());
    if let (Some(before), Some(answer)) = (&before, answer.as_object_mut()) {
        let message = answer.get("message").and_then(Value::as_str).unwrap_or_default();
        let until = before
            .until
            .map_or_else(|| "until it is unblocked".to_owned(), |until| format!("until {}", moment(until)));
        let message = format!("{message}; before, it was blocked {until}");
        answer.insert("message".to_owned(), message.into());
        answer.insert("undo".to_owned(), block_command(before).into());
    }
    core.shared.detection.layers.blocks(Origin::Operator.as_str()).inc();
    tracing::info!(%network, secs = request.duration_seconds, reason = request.reason, "blocked by an operator");
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("id".to_owned(), entry.id.to_string().into());
    }
    Ok(answer)
}

impl BlockRequest {
    fn range(&self) -> Result<IpNet, Refused> {
        let Cidr(network) = self.ip.parse().map_err(Refused::Wrong)?;
        let network = canonical(network);
        let narrowest = if network.addr().is_ipv4() { 8 } else { 16 };
        if network.prefix_len() < narrowest {
            return Err(Refused::Wrong(format!(
                "`{network}` is nearly everybody: the widest that can be listed is a /8, or a /16 of IPv6"
            )));
        }
        match self.duration_seconds {
            Some(secs) if !(1..=SECS_MAX).contains(&secs) => {
                Err(Refused::Wrong(format!("`duration_seconds` must be between 1 and {SECS_MAX}")))
            }
            _ => Ok(network),
        }
    }

    fn how_long(&self, undone: &str) -> String {
        match self.duration_seconds {
            Some(secs) => format!("for {secs} seconds"),
            None => format!("until it is {undone}"),
        }
    }
}

fn noun(network: IpNet) -> &'static str {
    if network.prefix_len() == network.max_prefix_len() { "IP" } else { "range" }
}

/// The new entry, in memory and on the disk, and what it replaces; or neither. Whoever asks holds the lists.
fn added(
    core: &Core,
    _listing: &MutexGuard<'_, ()>,
    request: &BlockRequest,
    (network, list): (IpNet, List),
    since: i64,
) -> Result<(Entry, Option<Entry>), Refused> {
    let new =
        NewEntry { network, list, reason: request.reason.clone(), since, secs: request.duration_seconds };
    let lists = &core.shared.memory.lists;
    let (entry, before) =
        lists.add(new, core.shared.now()).map_err(|full| Refused::Failed(full.to_string()))?;
    if let Err(error) = core.state.keep_entry(&KeptEntry::from(&entry)) {
        lists.remove(network, list);
        drop(lists.restore(before.into_iter().collect()));
        return Err(Refused::Failed(format!("nothing was listed, because it cannot be kept: {error}")));
    }
    Ok((entry, before))
}

/// Lets a range pass every layer. On the disk before it is answered.
pub(super) fn allow(core: &Core, request: &BlockRequest) -> Result<Value, Refused> {
    let network = request.range()?;
    if request.confirm_within_secs.is_some() {
        return Err(Refused::Wrong(
            "`confirm_within_secs` is for blocks: whoever is allowed is not shut out".to_owned(),
        ));
    }
    let verb = if request.dry_run { "would be allowed" } else { "allowed" };
    let message = format!("{} {verb} {}", noun(network), request.how_long("removed"));
    let id = if request.dry_run {
        None
    } else {
        let since = Timestamp::now().as_second();
        let (entry, _) = added(core, &core.listing(), request, (network, List::Allow), since)?;
        tracing::info!(%network, secs = request.duration_seconds, reason = request.reason, "allowed by an operator");
        Some(entry.id.to_string())
    };
    let undo = format!("sunbeam lists remove {}", short(network));
    Ok(json!({"success": true, "message": message, "id": id, "undo": undo}))
}

/// Takes back what an operator allowed: exactly this range.
pub(super) fn disallow(core: &Core, what: &str, is_dry_run: bool) -> Result<Value, Refused> {
    let Cidr(network) = what.parse().map_err(Refused::Wrong)?;
    let network = canonical(network);
    let lists = &core.shared.memory.lists;
    let _listing = core.listing();
    let is_meant = |entry: &Entry| entry.list == List::Allow && entry.network == network;
    let (configured, listed): (Vec<Entry>, Vec<Entry>) =
        lists.all().into_iter().filter(is_meant).partition(|entry| entry.origin == Origin::Config);
    let Some(entry) = listed.first() else {
        return Err(if configured.is_empty() {
            Refused::Missing(format!("`{what}` is not on the allow list"))
        } else {
            Refused::Conflict(format!(
                "`{what}` stands in `lists.allow` of the configuration: take it out there"
            ))
        });
    };
    let but = if configured.is_empty() { "" } else { "; `lists.allow` of the configuration still allows it" };
    let verb = if is_dry_run { "would be taken off" } else { "taken off" };
    let undo = listing_command("lists allow", entry);
    let answer =
        json!({"success": true, "message": format!("{what} {verb} the allow list{but}"), "undo": undo});
    if is_dry_run {
        return Ok(answer);
    }
    let ids: Vec<u64> = listed.iter().map(|entry| entry.id).collect();
    core.state
        .forget_entries(&ids)
        .map_err(|error| Refused::Failed(format!("still allowed, because it cannot be kept: {error}")))?;
    lists.remove(network, List::Allow);
    tracing::info!(what, "taken off the allow list by an operator");
    Ok(answer)
}

/// The command that makes a listed block again.
fn block_command(entry: &Entry) -> String {
    listing_command("block", entry)
}

fn listing_command(verb: &str, entry: &Entry) -> String {
    let left = entry.until.map(|until| until - Timestamp::now().as_second());
    let how_long = left.map(|secs| format!(" --for {}s", secs.max(1))).unwrap_or_default();
    let why =
        if entry.reason.is_empty() { String::new() } else { format!(" --why={}", quoted(&entry.reason)) };
    format!("sunbeam {verb} {}{how_long}{why}", short(entry.network))
}

/// One word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Takes back what blocks exactly this range, or has this id. An address that a layer had blocked is left alone for a
/// day.
pub(super) fn unblock(core: &Core, what: &str, is_dry_run: bool) -> Result<Value, Refused> {
    let memory = &core.shared.memory;
    let _listing = core.listing();
    // An entry of a list may be named by its number, too.
    let numbered = what.parse::<u64>().ok().filter(|id| *id > 0 && what.len() < 16);
    let numbered = numbered.and_then(|id| {
        memory.lists.all().into_iter().find(|entry| entry.id == id && entry.list == List::Block)
    });
    let network = match &numbered {
        Some(entry) => Ok(entry.network),
        None => what.parse::<Cidr>().map(|cidr| canonical(cidr.0)),
    };
    let now = core.shared.now();
    let id = u64::from_str_radix(what, 16).ok().filter(|_| what.len() == 16);
    let prefix = core.shared.snapshot().config.ddos.ipv6_prefix;
    let single = network.as_ref().ok().filter(|network| network.prefix_len() == network.max_prefix_len());
    let means_ban = |ban: &Ban| match (&network, range_of(ban, prefix)) {
        (Err(_), _) => Some(ban.key) == id,
        // An address means whatever block it is held up by.
        (Ok(network), Some(range)) => {
            network.contains(&range) || single.is_some_and(|one| range.contains(one))
        }
        (Ok(_), None) => false,
    };
    if let (Err(why), None) = (&network, id) {
        return Err(Refused::Wrong(why.clone()));
    }
    let is_listed = |entry: &Entry| entry.list == List::Block && Ok(entry.network) == network;
    let listed: Vec<Entry> = memory.lists.all().into_iter().filter(is_listed).collect();
    if listed.iter().any(|entry| entry.origin == Origin::Config) {
        return Err(Refused::Conflict(format!(
            "`{what}` stands in `lists.block` of the configuration: take it out there"
        )));
    }
    let bans: Vec<Ban> = memory.bans.all(now).into_iter().filter(means_ban).collect();
    let banned = bans.len();
    if listed.is_empty() && banned == 0 {
        let is_around = |entry: &&Entry| {
            entry.list == List::Block && network.as_ref().is_ok_and(|network| entry.network.contains(network))
        };
        let around = memory.lists.all();
        return Err(Refused::Missing(match around.iter().find(is_around) {
            Some(around) => format!("`{what}` lies in `{}`, which is blocked as a whole", around.network),
            None => format!("`{what}` is not blocked"),
        }));
    }
    let secs_left =
        |ban: &Ban| i64::try_from(ban.until.micros_since(now).div_ceil(1_000_000)).unwrap_or(i64::MAX);
    let left = bans.iter().map(secs_left).max().unwrap_or(1);
    let undo = match (listed.first(), &network) {
        (Some(entry), _) => Some(block_command(entry)),
        (None, Ok(network)) => Some(format!("sunbeam block {} --for {left}s", short(*network))),
        (None, Err(_)) => None,
    };
    let verb = if is_dry_run { "would be unblocked" } else { "unblocked" };
    let has_grace = banned > 0 || single.is_some();
    let grace = if has_grace { "; no layer blocks it again for a day" } else { "" };
    let answer = json!({"success": true, "message": format!("{what} {verb}{grace}"), "undo": undo});
    if is_dry_run {
        return Ok(answer);
    }
    memory.bans.lift(now, means_ban);
    if let Some(one) = single.filter(|_| banned == 0) {
        memory.bans.grant_grace(memory.address_key(one.addr(), prefix), one.addr(), now);
    }
    let ids: Vec<u64> = listed.iter().map(|entry| entry.id).collect();
    let kept = crate::judging::keep_bans(core).and_then(|()| core.state.forget_entries(&ids));
    if let Err(error) = kept {
        bans.iter().for_each(|ban| memory.bans.restore(*ban, now));
        if banned > 0 || !ids.is_empty() {
            return Err(Refused::Failed(format!("still blocked, because it cannot be kept: {error}")));
        }
    }
    if let Ok(network) = network {
        memory.lists.remove(network, List::Block);
        // Nothing is left to be taken back.
        if let Err(error) =
            core.unconfirmed.supersede(core.state.folder(), &block_subject(&network.to_string()))
        {
            tracing::warn!(%error, "a block that is gone is still written down as waiting to be confirmed");
        }
    }
    tracing::info!(what, banned, "unblocked by an operator");
    Ok(answer)
}

/// Every crawler that is known, with what its kind may do.
pub(super) fn bots(snapshot: &Snapshot) -> Value {
    let bots = &snapshot.pipeline.rules().bots;
    json!({
        "crawl_delay_secs": bots.crawl_delay_secs,
        "bots": bots.all().iter().map(bot).collect::<Vec<_>>(),
    })
}

fn bot(bot: &Bot) -> Value {
    let dns = bot.dns_suffixes.iter().map(|suffix| format!("dns {suffix}"));
    let proof: Vec<String> = dns.chain(bot.cidrs.iter().map(ToString::to_string)).collect();
    let seen = bot.seen.read();
    json!({
        "name": bot.token,
        "reason": bot.reason,
        "category": bot.category.as_str(),
        "policy": bot.policy.to_string(),
        "proof": proof,
        "origin": if bot.is_configured { "config" } else { "built in" },
        "requests": seen.iter().sum::<u64>(),
        "verified": seen[1],
        "refuted": seen[2],
        "pending": seen[0],
    })
}

/// Where operators work from: who asks, and those who are exempt.
fn operators(core: &Core, asks: Option<IpAddr>) -> impl Iterator<Item = IpAddr> {
    let exempt = core.shared.memory.lists.all().into_iter().filter(|entry| entry.list == List::Exempt);
    asks.into_iter().chain(exempt.map(|entry| entry.network.addr()))
}

/// IPv4 that was written as mapped IPv6 is IPv4.
fn canonical(network: IpNet) -> IpNet {
    match (network.addr().to_canonical(), network.prefix_len()) {
        (IpAddr::V4(address), length @ 96..) if network.addr().is_ipv6() => {
            IpNet::new(IpAddr::V4(address), length - 96).unwrap_or(network)
        }
        _ => network,
    }
}

/// A range of one address is that address.
fn short(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

fn moment(secs: i64) -> String {
    Timestamp::from_second(secs).map(|at| at.to_string()).unwrap_or_default()
}

/// The operator's address that the command line sends along.
/// The header that says where whoever types a command works from.
pub(super) const OPERATOR: &str = "sunbeam-operator";

pub(super) fn operator_of(headers: &HeaderMap) -> Option<IpAddr> {
    headers.get(OPERATOR)?.to_str().ok()?.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Remembers where an operator works from; off the thread that answers.
pub(super) fn note_operator(core: &Arc<Core>, headers: &HeaderMap) {
    if let Some(operator) = operator_of(headers) {
        let core = Arc::clone(core);
        drop(tokio::task::spawn_blocking(move || core.exempt_operator(operator)));
    }
}
