// SPDX-License-Identifier: Apache-2.0
//! What judging remembers. Made once at start; every configuration uses the same.

use std::net::IpAddr;

use sunbeam_features::{EventHash, Window};
use sunbeam_rate_limit::{Bucket, Claims, Evidence, Identity, Limiter};
use sunbeam_reputation::{Bans, BotProofs, Lists, Question};
use sunbeam_tables::{FixedTable, HashKey, Moment};

use crate::floods::Floods;
use crate::proof::Proof;

pub(crate) const KIND_BEHIND: u64 = 64;
pub(crate) const KIND_NETWORK: u64 = 63;
pub(crate) const KIND_PREFIX: u64 = 65;
pub(crate) const KIND_LOOK: u64 = 67;
pub(crate) const KIND_GATE: u64 = 68;

/// The share of `ddos.memory_bytes` that prefixes and shared addresses get.
const PREFIX_SHARE: usize = 8;

/// Crawlers, or addresses that say they are one, whose pace is remembered.
const CRAWLS: usize = 16_384;

/// How large it is.
pub struct MemoryOptions {
    /// Bytes for windows.
    pub window_bytes: usize,
    /// Identities with a bucket.
    pub identities: usize,
    /// The key of all hashes.
    pub hash: HashKey,
    /// Takes questions about crawlers without waiting, or says `false`.
    pub ask: Box<dyn Fn(Question) -> bool + Send + Sync>,
}

impl std::fmt::Debug for MemoryOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryOptions").field("window_bytes", &self.window_bytes).finish_non_exhaustive()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Memory {
    /// Lists of the configuration and of operators.
    pub lists: Lists,
    /// Blocks that layers made.
    pub bans: Bans,
    /// Buckets.
    pub limiter: Limiter,
    /// Sessions and tokens that the site honours.
    pub evidence: Evidence,
    /// Crawlers that are who they say.
    pub proofs: BotProofs,
    /// Many clients that do one thing.
    pub floods: Floods,
    /// Whether layers may act on what they doubt.
    pub proof: Proof,
    pub(crate) windows: FixedTable<Window>,
    pub(crate) prefixes: FixedTable<Window>,
    /// Of crawlers that are to come slowly.
    pub(crate) crawls: FixedTable<Bucket>,
    pub(crate) hash: HashKey,
    pub(crate) events: EventHash,
}

impl Memory {
    /// All of it, at once: it does not grow later.
    pub fn new(options: MemoryOptions) -> Self {
        let MemoryOptions { window_bytes, identities, hash, ask } = options;
        Self {
            lists: Lists::default(),
            bans: Bans::default(),
            limiter: Limiter::new(identities, hash),
            evidence: Evidence::new(identities),
            proofs: BotProofs::new(hash, ask),
            floods: Floods::default(),
            proof: Proof::default(),
            windows: FixedTable::of_bytes(window_bytes - window_bytes / PREFIX_SHARE),
            prefixes: FixedTable::of_bytes(window_bytes / PREFIX_SHARE),
            crawls: FixedTable::of_places(CRAWLS),
            hash,
            events: EventHash::new(hash),
        }
    }

    /// The key of all hashes.
    pub const fn hash(&self) -> &HashKey {
        &self.hash
    }

    /// The key under which an address is known.
    pub fn address_key(&self, address: IpAddr, ipv6_prefix: u8) -> u64 {
        let number = sunbeam_rate_limit::address_number(address, ipv6_prefix);
        Identity::of(number, &Claims::default(), &self.evidence, &self.hash, Moment::default()).key
    }

    /// Clients that have a window, and those that lost one to another so far.
    pub fn windows(&self) -> (usize, u64) {
        (self.windows.places(), self.windows.evicted())
    }

    /// The key of everybody who is authenticated behind an address.
    pub fn behind(&self, address: u64) -> u64 {
        self.hash.number(KIND_BEHIND, address.into())
    }

    /// The key of the network that one party can be expected to have: an IPv4 /24, an IPv6 /48.
    pub(crate) fn network(&self, address: IpAddr) -> u64 {
        let number = match address.to_canonical() {
            IpAddr::V4(address) => u128::from(u32::from(address) >> 8),
            address @ IpAddr::V6(_) => sunbeam_rate_limit::address_number(address, 48),
        };
        self.hash.number(KIND_NETWORK, number)
    }

    /// The key of what a client's TLS looks like (JA4); 0 where nobody knows.
    pub(crate) fn look(&self, ja4: &str) -> u64 {
        if ja4.is_empty() { 0 } else { self.hash.bytes(KIND_LOOK, ja4.as_bytes()).max(1) }
    }

    /// The key of an auth server: its address, and what it is asked for.
    pub fn gate(&self, server: &str, target: &str) -> u64 {
        self.hash.bytes(self.hash.bytes(KIND_GATE, server.as_bytes()), target.as_bytes())
    }

    /// The key of an IPv6 prefix wider than a client; `None` for IPv4, where neighbours are strangers.
    pub fn prefix(&self, address: IpAddr, bits: u8) -> Option<u64> {
        match address.to_canonical() {
            IpAddr::V4(_) => None,
            address @ IpAddr::V6(_) => {
                let number = sunbeam_rate_limit::address_number(address, bits);
                Some(self.hash.number(KIND_PREFIX + u64::from(bits), number))
            }
        }
    }
}
