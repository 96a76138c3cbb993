// SPDX-License-Identifier: Apache-2.0
//! What of lists and blocks is written down. Times are wall time: what ran out while the node was down is over.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sunbeam_pipeline::Memory;
use sunbeam_reputation::{Ban, Entry, Held, List, Origin};
use sunbeam_tables::Moment;
use sunbeam_traffic::{IdentityKind, Layer};

/// An entry that an operator added.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeptEntry {
    pub(crate) id: u64,
    network: String,
    list: String,
    reason: String,
    since: i64,
    until: Option<i64>,
}

impl From<&Entry> for KeptEntry {
    fn from(entry: &Entry) -> Self {
        Self {
            id: entry.id,
            network: entry.network.to_string(),
            list: entry.list.as_str().to_owned(),
            reason: entry.reason.clone(),
            since: entry.since,
            until: entry.until,
        }
    }
}

impl KeptEntry {
    /// Whether it ran out while the node was down.
    pub(crate) fn is_over(&self, now: i64) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// `None`: it is over, or of a version that this one does not know.
    pub(crate) fn entry(&self, moment: Moment, now: i64) -> Option<Entry> {
        let left = match self.until {
            Some(until) => Some(u64::try_from(until - now).ok().filter(|left| *left > 0)?),
            None => None,
        };
        let lists = [List::Block, List::Allow, List::Exempt];
        Some(Entry {
            id: self.id,
            network: self.network.parse().ok()?,
            list: lists.into_iter().find(|list| list.as_str() == self.list)?,
            origin: Origin::Operator,
            reason: self.reason.clone(),
            since: self.since,
            until: self.until,
            ends: left.map(|left| moment.after(Duration::from_secs(left))),
        })
    }
}

/// A block that a layer made, of an address. Those of sessions are not kept: the keys that they are known by are
/// different after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptBan {
    address: IpAddr,
    layer: String,
    reason: String,
    until: i64,
    offences: u16,
    /// Of a prefix wider than a client, its bits.
    prefix: Option<u8>,
    /// Of everybody who is logged in behind the address.
    behind: bool,
    /// Until then no layer blocks it.
    grace_until: i64,
}

/// The words that layers give as reasons for blocks; another one becomes `earlier`.
const REASONS: [&str; 6] =
    ["client_errors", "request_flood", "identity_limit", "address_limit", "route_limit", "earlier"];

impl KeptBan {
    /// `None` for a session.
    pub(crate) fn of(ban: &Ban, moment: Moment, now: i64) -> Option<Self> {
        if ban.kind != IdentityKind::Address && ban.held != Held::Behind {
            return None;
        }
        let secs = |micros: u64| i64::try_from(micros.div_ceil(1_000_000)).unwrap_or(i64::MAX);
        Some(Self {
            address: ban.address,
            layer: ban.layer.as_str().to_owned(),
            reason: ban.reason.to_owned(),
            until: now.saturating_add(secs(ban.until.micros_since(moment))),
            offences: ban.offences,
            prefix: if let Held::Prefix(bits) = ban.held { Some(bits) } else { None },
            behind: ban.held == Held::Behind,
            grace_until: now.saturating_add(secs(ban.grace_until.micros_since(moment))),
        })
    }

    /// What tells two of them apart.
    pub(crate) const fn end(&self) -> (IpAddr, Option<u8>, i64, i64, u16) {
        // To ten seconds: what is left is worked out anew each time, and rounded.
        (self.address, self.prefix, self.until / 10, self.grace_until / 10, self.offences)
    }

    /// `None`: it is over.
    pub(crate) fn ban(&self, memory: &Memory, ipv6_prefix: u8, moment: Moment, now: i64) -> Option<Ban> {
        let secs = |until: i64| Duration::from_secs(u64::try_from(until - now).unwrap_or(0));
        if self.until <= now && self.grace_until <= now {
            return None;
        }
        let address = memory.address_key(self.address, ipv6_prefix);
        let (key, held) = match self.prefix {
            _ if self.behind => (memory.behind(address), Held::Behind),
            Some(bits) => (memory.prefix(self.address, bits)?, Held::Prefix(bits)),
            None => (address, Held::Client),
        };
        Some(Ban {
            key,
            held,
            kind: IdentityKind::Address,
            address: self.address,
            layer: Layer::ALL.into_iter().find(|layer| layer.as_str() == self.layer)?,
            reason: REASONS.into_iter().find(|reason| *reason == self.reason).unwrap_or("earlier"),
            since: moment,
            until: moment.after(secs(self.until)),
            offences: self.offences,
            grace_until: moment.after(secs(self.grace_until)),
        })
    }
}
