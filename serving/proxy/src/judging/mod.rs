// SPDX-License-Identifier: Apache-2.0
//! What judging needs of the world around it: time, DNS, the disk, somebody who sweeps.

pub(crate) mod added_rules;
mod additions;
mod answers;
mod crawlers;
mod findings;
mod housekeeping;
mod kept;
pub(crate) mod models;
pub(crate) mod people;
pub(crate) mod switches;
pub(crate) mod waf;
mod way;

pub use added_rules::AddedRulesError;
pub use additions::AdditionError;
pub(crate) use additions::Additions;
pub(crate) use answers::note_whom_the_site_knows;
pub(crate) use crawlers::Questions;
pub(crate) use findings::Findings;
pub(crate) use housekeeping::prove;
pub(crate) use kept::{KeptBan, KeptEntry};

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use sunbeam_metrics::{IntCounter, Registry};
use sunbeam_pipeline::{DetectionMetrics, Memory, MemoryOptions};
use sunbeam_reputation::{List, NewEntry};
use sunbeam_tables::HashKey;
use tracing::{info, warn};

use crate::config::Config;
use crate::core::Core;
use crate::exceptions;
use crate::state::StateError;
use crate::unconfirmed;

/// The memory of a node, and where its questions about crawlers come out.
pub(crate) fn memory(config: &Config, dropped: IntCounter, hash: HashKey) -> (Arc<Memory>, Questions) {
    let (ask, questions) = crawlers::channel(dropped);
    let memory = Memory::new(MemoryOptions {
        window_bytes: config.ddos.memory_bytes,
        identities: config.rate_limit.max_identities,
        hash,
        ask,
    });
    memory.lists.configure(&config.lists);
    (Arc::new(memory), questions)
}

/// A memory that nobody asks the world for: for `explain` without a node, and for benchmarks.
pub(crate) fn for_measuring(config: &Config, registry: &Registry) -> (Arc<Memory>, DetectionMetrics) {
    let metrics = DetectionMetrics::register(registry);
    // Fixed, so that a replay says the same twice.
    (memory(config, metrics.layers.crawler_proofs("dropped"), HashKey::fixed(1)).0, metrics)
}

/// Puts back what was kept, before anything is served.
pub(crate) fn restore(core: &Core) -> Result<(), StateError> {
    let memory = &core.shared.memory;
    let now = Timestamp::now().as_second();
    let moment = core.shared.now();
    let (mut entries, mut over) = (Vec::new(), Vec::new());
    for kept in core.state.entries()? {
        match kept.entry(moment, now) {
            Some(entry) => entries.push(entry),
            None if kept.is_over(now) => over.push(kept.id),
            None => warn!(id = kept.id, "a list entry of another version is not in use, and is kept"),
        }
    }
    let bans: Vec<_> = core.state.bans()?;
    let config = &core.shared.snapshot().config;
    let blocked = bans
        .iter()
        .filter_map(|kept| kept.ban(memory, config.ddos.ipv6_prefix, core.shared.now(), now))
        .map(|ban| memory.bans.restore(ban, core.shared.now()))
        .count();
    if !entries.is_empty() || blocked > 0 {
        info!(entries = entries.len(), blocked, "lists and blocks of before are back");
    }
    over.extend(memory.lists.restore(entries).iter().map(|dropped| dropped.id));
    people::restore(&memory.proof, moment, core.state.folder());
    core.state.forget_entries(&over)?;
    exceptions::restore(core)?;
    unconfirmed::restore(core)
}

/// The range that one client is: an IPv4 address, an IPv6 prefix.
pub(crate) fn client_network(address: IpAddr, ipv6_prefix: u8) -> IpNet {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => IpNet::from(address),
        address @ IpAddr::V6(_) => {
            IpNet::new(address, ipv6_prefix).unwrap_or_else(|_| IpNet::from(address)).trunc()
        }
    }
}

/// Starts who works behind the requests.
pub(crate) fn start(core: &Arc<Core>, questions: Questions) {
    core.runtime.spawn(crawlers::answer(Arc::clone(core), questions));
    core.runtime.spawn(housekeeping::keep(Arc::clone(core)));
}

/// Writes down the blocks that hold now, and what came of exceptions.
pub(crate) fn flush(core: &Core) {
    if let Err(error) = keep_bans(core) {
        warn!(%error, "blocks are not kept over a restart");
    }
    housekeeping::keep_people(core);
    if let Err(error) = exceptions::flush(core) {
        warn!(%error, "the last uses of exceptions are not kept over a restart");
    }
}

/// As [`flush`]; says why it cannot.
pub(crate) fn keep_bans(core: &Core) -> Result<(), StateError> {
    core.state.keep_bans(&housekeeping::bans(&core.shared))
}

impl Core {
    /// Where an operator works from is not blocked for a while. Blocks the thread: it is written down.
    pub(crate) fn exempt_operator(&self, address: IpAddr) {
        let hours = self.shared.snapshot().config.management.exempt_operator_hours;
        if hours == 0 || address.is_loopback() || address.is_unspecified() {
            return;
        }
        let (now, moment) = (Timestamp::now().as_second(), self.shared.now());
        let secs = u64::from(hours) * 3600;
        let network = client_network(address, self.shared.snapshot().config.ddos.ipv6_prefix);
        let is_fresh = |entry: &sunbeam_reputation::Entry| {
            entry.list == List::Exempt
                && entry.network == network
                && entry.ends.is_some_and(|ends| ends.micros_since(moment) / 1_000_000 > secs / 2)
        };
        if self.shared.memory.lists.all().iter().any(is_fresh) {
            return;
        }
        let new = NewEntry {
            network,
            list: List::Exempt,
            reason: "an operator works from there".to_owned(),
            since: now,
            secs: Some(secs),
        };
        let _listing = self.listing();
        match self.shared.memory.lists.add(new, moment) {
            Ok((entry, _)) => {
                info!(%network, hours, "an operator's address is exempt from blocks");
                if let Err(error) = self.state.keep_entry(&KeptEntry::from(&entry)) {
                    warn!(%error, "an exemption is not kept over a restart");
                }
            }
            Err(error) => warn!(%error, %network, "an operator's address is not exempt"),
        }
    }
}
