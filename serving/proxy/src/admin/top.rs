// SPDX-License-Identifier: Apache-2.0
//! `/api/v1/top`: what the newest decisions have in common. A bounded look, however many are kept.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};
use sunbeam_decisions::{Class, Query};

use super::decisions::{kept_of, reader};
use super::lists::Refused;
use crate::core::Core;
use crate::why::kept::Kept;

/// Decisions that are looked at, of each class.
const LOOKED_AT: usize = 1_000;

/// Of each kind.
const TOLD: usize = 10;

/// How many requests had what, by what was stopped or would have been.
#[derive(Default)]
struct Counts(BTreeMap<String, (u64, u64)>);

/// The newest of those that a layer objected to, counted for as many requests as they stand for.
pub(super) fn top(core: &Core) -> Result<Value, Refused> {
    let reader = reader(core)?;
    let (mut reasons, mut routes, mut networks, mut fingerprints) =
        (Counts::default(), Counts::default(), Counts::default(), Counts::default());
    let (mut seen, mut oldest, mut is_cut) = (0_u64, None, false);
    // By class, and not by a filter: what passed is many.
    for class in [Class::Content, Class::Limits] {
        let page = reader.search(&Query { class: Some(class), ..Query::default() }, None, LOOKED_AT)?;
        is_cut |= page.next.is_some();
        for kept in kept_of(&page).filter(|kept| !kept.record.layer.is_empty()) {
            let record = &kept.record;
            seen += 1;
            let at = record.timestamp;
            oldest = Some(oldest.map_or(at, |oldest| at.min(oldest)));
            reasons.add(&kept, &format!("{}: {}", record.layer, record.reason));
            routes.add(&kept, &record.route);
            networks.add(&kept, &network_of(&record.client_ip));
            fingerprints.add(&kept, &record.ja4);
        }
    }
    Ok(json!({
        "decisions": seen,
        "since": oldest.map(|at| at.to_string()),
        "is_cut": is_cut,
        "reasons": reasons.told(),
        "routes": routes.told(),
        "networks": networks.told(),
        "fingerprints": fingerprints.told(),
    }))
}

impl Counts {
    fn add(&mut self, kept: &Kept, name: &str) {
        if name.is_empty() {
            return;
        }
        let counts = self.0.entry(name.to_owned()).or_default();
        let requests = kept.why.stands_for.max(1);
        if kept.record.decision == "block" { counts.0 += requests } else { counts.1 += requests }
    }

    fn told(self) -> Vec<Value> {
        let mut all: Vec<_> = self.0.into_iter().collect();
        all.sort_by_key(|(_, (blocked, observed))| std::cmp::Reverse(blocked + observed));
        all.truncate(TOLD);
        let one =
            |(name, (blocked, observed))| json!({"name": name, "blocked": blocked, "observed": observed});
        all.into_iter().map(one).collect()
    }
}

/// A /24, a /48; a hash is its own network.
fn network_of(client: &str) -> String {
    match client.parse::<IpAddr>() {
        Ok(address) => network(address, if address.is_ipv4() { 24 } else { 48 }),
        Err(_) => client.to_owned(),
    }
}

fn network(address: IpAddr, bits: u8) -> String {
    ipnet::IpNet::new(address, bits)
        .map_or_else(|_| address.to_string(), |network| network.trunc().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_counted_by_their_network() {
        for (client, want) in
            [("192.0.2.7", "192.0.2.0/24"), ("2001:db8:1:2::7", "2001:db8:1::/48"), ("a hash", "a hash")]
        {
            assert_eq!(network_of(client), want);
        }
    }
}
