// SPDX-License-Identifier: Apache-2.0
//! What judging needs of the world around it: time, DNS, the disk, somebody who sweeps.

mod crawlers;
mod housekeeping;
mod kept;

pub(crate) use crawlers::Questions;
pub(crate) use kept::{KeptBan, KeptEntry};

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use sunbeam_metrics::Registry;
use sunbeam_pipeline::{DetectionMetrics, Memory, MemoryOptions};
use sunbeam_reputation::{List, NewEntry};
use sunbeam_tables::HashKey;
use tracing::{info, warn};

use crate::config::Config;
use crate::core::Core;
use crate::state::StateError;

/// The memory of a node, and where its questions about crawlers come out.
pub(crate) fn memory(config: &Config) -> (Arc<Memory>, Questions) {
    let (ask, questions) = crawlers::channel();
    let memory = Memory::new(MemoryOptions {
        window_bytes: config.ddos.memory_bytes,
        identities: config.rate_limit.max_identities,
        epoch: Timestamp::now().as_second(),
        hash: HashKey::random(),
        ask,
    });
    memory.lists.configure(&config.lists);
    (Arc::new(memory), questions)
}

/// A memory that nobody asks the world for: for `explain` without a node, and for benchmarks.
pub(crate) fn for_measuring(config: &Config) -> (Arc<Memory>, DetectionMetrics) {
    (memory(config).0, DetectionMetrics::register(&Registry::new()))
}

/// Puts back what was kept, before anything is served.
pub(crate) fn restore(core: &Core) -> Result<(), StateError> {
    let memory = &core.shared.memory;
    let now = Timestamp::now().as_second();
    let entries: Vec<_> = core.state.entries()?.into_iter().filter_map(|kept| kept.entry(now)).collect();
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
    memory.lists.restore(entries);
    Ok(())
}

/// Starts who works behind the requests.
pub(crate) fn start(core: &Arc<Core>, questions: Questions) {
    core.runtime.spawn(crawlers::answer(Arc::clone(core), questions));
    core.runtime.spawn(housekeeping::keep(Arc::clone(core)));
}

/// Writes down the blocks that were made since the last time.
pub(crate) fn flush(core: &Core) {
    housekeeping::keep_bans(core);
}

impl Core {
    /// Where an operator works from is not blocked for a while. Blocks the thread: it is written down.
    pub(crate) fn exempt_operator(&self, address: IpAddr) {
        let hours = self.shared.snapshot().config.management.exempt_operator_hours;
        if hours == 0 || address.is_loopback() || address.is_unspecified() {
            return;
        }
        let now = Timestamp::now().as_second();
        let secs = i64::from(hours) * 3600;
        let network = IpNet::from(address.to_canonical());
        let is_fresh = |entry: &sunbeam_reputation::Entry| {
            entry.list == List::Exempt
                && entry.network == network
                && entry.until.is_some_and(|until| until - now > secs / 2)
        };
        if self.shared.memory.lists.all().iter().any(is_fresh) {
            return;
        }
        let new = NewEntry {
            network,
            list: List::Exempt,
            reason: "an operator works from there".to_owned(),
            since: now,
            until: Some(now + secs),
        };
        match self.shared.memory.lists.add(new) {
            Ok(entry) => {
                info!(%network, hours, "an operator's address is exempt from blocks");
                if let Err(error) = self.state.keep_entry(&KeptEntry::from(&entry)) {
                    warn!(%error, "an exemption is not kept over a restart");
                }
            }
            Err(error) => warn!(%error, %network, "an operator's address is not exempt"),
        }
    }
}
