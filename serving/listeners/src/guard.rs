// SPDX-License-Identifier: Apache-2.0
//! Who may connect: how many at once, how fast, from where. Asked once a connection, before any other work.
//!
//! Refused connections are reset, which costs neither side a closing handshake, and counted by the key of
//! the bound that they met.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use socket2::SockRef;
use sunbeam_config::Cidr;
use tracing::debug;

use crate::address_table::{AddressBounds, AddressKey, AddressTable, Nanos};
use crate::config::{LimitsSection, ListenSection};
use crate::metrics::ListenerMetrics;

/// The share of `limits.max_connections` that stays for addresses without limits of their own, if there
/// are any: one in fifty. Balancers and their health checks get through when others have filled the node.
const RESERVE_SHARE: usize = 50;

/// The share of `limits.max_tls_handshakes` that one address may hold: a quarter.
const HANDSHAKE_SHARE: usize = 4;

/// Holds the connections of the whole node within `[limits]`, in total and by address.
#[derive(Debug)]
pub struct ConnectionGuard {
    active: AtomicUsize,
    handshakes: AtomicUsize,
    bounds: ArcSwap<Bounds>,
    addresses: AddressTable,
    started: Instant,
    metrics: ListenerMetrics,
}

#[derive(Debug)]
struct Bounds {
    connections: usize,
    /// Of these, for exempt addresses only.
    reserve: usize,
    handshakes: usize,
    address: AddressBounds,
    /// They speak for many clients.
    trusted: Vec<Cidr>,
    proxies: Vec<Cidr>,
}

/// A connection's place. Dropping it gives the place back.
#[derive(Debug)]
pub struct ConnectionPermit {
    guard: Arc<ConnectionGuard>,
    /// Whose bounds it counts against, if any.
    address: Option<AddressKey>,
    expects_proxy_header: bool,
}

/// A place among the TLS handshakes. Dropping it gives the place back.
#[derive(Debug)]
pub struct HandshakePermit<'a>(&'a ConnectionPermit);

impl ConnectionGuard {
    /// A guard with these bounds.
    pub fn new(limits: &LimitsSection, listen: &ListenSection, metrics: ListenerMetrics) -> Arc<Self> {
        let guard = Self {
            active: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
            bounds: ArcSwap::from_pointee(Bounds::of(limits, listen)),
            addresses: AddressTable::new(limits.max_connections),
            started: Instant::now(),
            metrics,
        };
        guard.set_bounds(limits, listen);
        Arc::new(guard)
    }

    /// Changes the bounds for all that comes; connections that are there stay.
    pub fn set_bounds(&self, limits: &LimitsSection, listen: &ListenSection) {
        self.addresses.grow(limits.max_connections);
        self.bounds.store(Arc::new(Bounds::of(limits, listen)));
        self.metrics.max_connections().set(i64::try_from(limits.max_connections).unwrap_or(i64::MAX));
    }

    /// Open connections.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// A place for a connection from `address`, or `None` when a bound is reached (counted): then the
    /// caller should [`reset`] it.
    ///
    /// Addresses in `listen.trusted_proxies` and `listen.proxy_protocol_from` have no limits of their own.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Option<ConnectionPermit> {
        let bounds = self.bounds.load();
        let expects_proxy_header = contains(&bounds.proxies, address);
        let is_exempt = expects_proxy_header || contains(&bounds.trusted, address);
        let most = if is_exempt { bounds.connections } else { bounds.connections - bounds.reserve };
        if self.active.fetch_add(1, Ordering::Relaxed) >= most {
            self.active.fetch_sub(1, Ordering::Relaxed);
            self.refused("max_connections", address);
            return None;
        }
        self.metrics.active_connections().inc();
        let mut permit = ConnectionPermit { guard: Arc::clone(self), address: None, expects_proxy_header };
        // A permit that is dropped here gives its place back.
        (is_exempt || permit.count_for(address, &bounds)).then_some(permit)
    }

    /// Begins a request of an address with a connection. `false` when it has too many (counted); otherwise
    /// [`Self::end_request`] ends it, before the address's last connection goes.
    pub fn begin_request(&self, address: AddressKey) -> bool {
        let begun = self.addresses.begin_request(address, &self.bounds.load().address);
        if !begun {
            self.metrics.limit_hits("max_concurrent_requests_per_ip").inc();
        }
        begun
    }

    /// See [`Self::begin_request`].
    pub fn end_request(&self, address: AddressKey) {
        self.addresses.end_request(address);
    }

    fn now(&self) -> Nanos {
        Nanos::try_from(self.started.elapsed().as_nanos()).unwrap_or(Nanos::MAX)
    }

    fn refused(&self, limit: &'static str, address: IpAddr) {
        self.metrics.limit_hits(limit).inc();
        debug!(limit, %address, "connection refused");
    }
}

impl ConnectionPermit {
    /// Whether the connection must begin with a PROXY header: its address is in
    /// `listen.proxy_protocol_from`.
    pub const fn expects_proxy_header(&self) -> bool {
        self.expects_proxy_header
    }

    /// Whose limits it counts against; `None` for an address without limits of its own.
    pub const fn address(&self) -> Option<AddressKey> {
        self.address
    }

    /// Counts the connection for the address that its PROXY header names, from now on. `false` when a bound
    /// of that address is reached (counted): then the caller should [`reset`] the connection.
    pub fn speaks_for(&mut self, address: IpAddr) -> bool {
        let guard = Arc::clone(&self.guard);
        let bounds = guard.bounds.load();
        contains(&bounds.trusted, address) || self.count_for(address, &bounds)
    }

    /// A place among the handshakes, or `None` when the node or this address has too many (counted): then
    /// the caller should [`reset`] the connection.
    pub fn begin_handshake(&self, address: IpAddr) -> Option<HandshakePermit<'_>> {
        let guard = &self.guard;
        let bounds = guard.bounds.load();
        let has_place = guard.handshakes.fetch_add(1, Ordering::Relaxed) < bounds.handshakes;
        if has_place && self.address.is_none_or(|key| guard.addresses.begin_handshake(key, &bounds.address)) {
            return Some(HandshakePermit(self));
        }
        guard.handshakes.fetch_sub(1, Ordering::Relaxed);
        guard.refused("max_tls_handshakes", address);
        None
    }

    /// Counts HTTP/2 stream resets of this connection's address in the current minute against
    /// `limits.max_stream_resets_per_minute`. `false` once it is over (counted): then the caller closes the
    /// connection, and the address gets no new ones until its minute is over.
    ///
    /// Always `true` for an address without limits of its own.
    pub fn note_stream_resets(&self, count: u32) -> bool {
        let Some(address) = self.address else { return true };
        let bounds = self.guard.bounds.load();
        let is_within = self.guard.addresses.note_resets(address, count, self.guard.now(), &bounds.address);
        if !is_within {
            self.guard.metrics.limit_hits("max_stream_resets_per_minute").inc();
        }
        is_within
    }

    fn count_for(&mut self, address: IpAddr, bounds: &Bounds) -> bool {
        let key = AddressKey::from(address);
        match self.guard.addresses.open(key, self.guard.now(), &bounds.address) {
            Ok(true) => self.address = Some(key),
            Ok(false) => self.guard.metrics.limit_hits("address_table").inc(),
            Err(excess) => {
                self.guard.refused(excess.key(), address);
                return false;
            }
        }
        true
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            self.guard.addresses.close(address);
        }
        self.guard.active.fetch_sub(1, Ordering::Relaxed);
        self.guard.metrics.active_connections().dec();
    }
}

impl Drop for HandshakePermit<'_> {
    fn drop(&mut self) {
        let ConnectionPermit { guard, address, .. } = self.0;
        if let Some(address) = address {
            guard.addresses.end_handshake(*address);
        }
        guard.handshakes.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Bounds {
    fn of(limits: &LimitsSection, listen: &ListenSection) -> Self {
        let has_exempt = !listen.trusted_proxies.is_empty() || !listen.proxy_protocol_from.is_empty();
        let share = (limits.max_tls_handshakes / HANDSHAKE_SHARE).max(1);
        Self {
            connections: limits.max_connections,
            reserve: if has_exempt { limits.max_connections / RESERVE_SHARE } else { 0 },
            handshakes: limits.max_tls_handshakes,
            address: AddressBounds {
                open: limits.max_connections_per_ip,
                new_per_second: limits.new_connections_per_ip,
                handshakes: u32::try_from(share).unwrap_or(u32::MAX),
                requests: limits.max_concurrent_requests_per_ip,
                resets_per_minute: limits.max_stream_resets_per_minute,
            },
            trusted: listen.trusted_proxies.clone(),
            proxies: listen.proxy_protocol_from.clone(),
        }
    }
}

/// Makes the end of a connection, when it is dropped, an RST: nothing that was sent is read, nothing waits for the peer.
pub fn reset(stream: &impl AsFd) {
    // Without the option the connection is closed in the ordinary way.
    if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        debug!(%error, "failed to set SO_LINGER");
    }
}

fn contains(networks: &[Cidr], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

#[cfg(test)]
mod tests {
    use sunbeam_metrics::Registry;

    use super::*;

    struct Bench {
        registry: Registry,
        guard: Arc<ConnectionGuard>,
        limits: LimitsSection,
        listen: ListenSection,
    }

    impl Bench {
        fn new(change: impl FnOnce(&mut LimitsSection, &mut ListenSection)) -> Self {
            let (mut limits, mut listen) = (LimitsSection::default(), ListenSection::default());
            change(&mut limits, &mut listen);
            let registry = Registry::new();
            let guard = ConnectionGuard::new(&limits, &listen, ListenerMetrics::register(&registry));
            Self { registry, guard, limits, listen }
        }

        fn admit(&self, address: &str) -> Option<ConnectionPermit> {
            self.guard.admit(address.parse().unwrap())
        }

        fn hits(&self, limit: &str) -> f64 {
            self.registry.sum("sunbeam_limit_hits_total", &[("limit", limit)])
        }
    }

    fn networks(texts: &[&str]) -> Vec<Cidr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_bound_holds_and_places_come_back() {
        let bench = Bench::new(|limits, _| limits.max_connections = 2);
        let first = bench.admit("192.0.2.1").unwrap();
        let _second = bench.admit("192.0.2.1").unwrap();
        assert!(bench.admit("192.0.2.1").is_none());
        drop(first);
        let _third = bench.admit("192.0.2.1").unwrap();
        assert_eq!(bench.guard.active(), 2);
        assert!((bench.hits("max_connections") - 1.0).abs() < 0.1);
    }

    #[test]
    fn an_address_has_its_own_bound_and_a_changed_one_counts_at_once() {
        let mut bench = Bench::new(|limits, _| limits.max_connections_per_ip = 1);
        let _first = bench.admit("2001:db8::1").unwrap();
        assert!(bench.admit("2001:db8::2").is_none(), "the same /64");
        assert!(bench.admit("2001:db8:0:1::1").is_some());
        assert!((bench.hits("max_connections_per_ip") - 1.0).abs() < 0.1);
        assert_eq!(bench.guard.active(), 1, "a refused connection holds no place");
        bench.limits.max_connections_per_ip = 2;
        bench.guard.set_bounds(&bench.limits, &bench.listen);
        assert!(bench.admit("2001:db8::2").is_some());
    }

    #[test]
    fn trusted_addresses_have_no_bound_of_their_own_and_a_reserve() {
        let bench = Bench::new(|limits, listen| {
            limits.max_connections = 100;
            limits.max_connections_per_ip = 98;
            listen.trusted_proxies = networks(&["198.51.100.0/24"]);
            listen.proxy_protocol_from = networks(&["203.0.113.0/24"]);
        });
        let others: Vec<_> = (0..98).map(|_| bench.admit("192.0.2.1").unwrap()).collect();
        assert!(bench.admit("192.0.2.2").is_none(), "the rest is reserved");
        let (trusted, balancer) = (bench.admit("198.51.100.7").unwrap(), bench.admit("203.0.113.7").unwrap());
        assert!(!trusted.expects_proxy_header() && balancer.expects_proxy_header());
        assert!(trusted.note_stream_resets(u32::MAX));
        assert!(bench.admit("198.51.100.7").is_none(), "the whole is the whole");
        drop(others);
        let many: Vec<_> = (0..98).filter_map(|_| bench.admit("198.51.100.7")).collect();
        assert_eq!(many.len(), 98);
    }

    #[test]
    fn a_connection_counts_for_the_address_that_its_header_names() {
        let bench = Bench::new(|limits, listen| {
            limits.max_connections_per_ip = 1;
            listen.proxy_protocol_from = networks(&["203.0.113.7"]);
            listen.trusted_proxies = networks(&["198.51.100.0/24"]);
        });
        let mut permits: Vec<_> = (0..4).map(|_| bench.admit("203.0.113.7").unwrap()).collect();
        let mut says = |index: usize, text: &str| permits[index].speaks_for(text.parse().unwrap());
        assert!(says(0, "192.0.2.1"));
        assert!(!says(1, "192.0.2.1"));
        assert!(says(2, "198.51.100.1") && says(3, "198.51.100.1"), "a trusted proxy behind it");
        assert!(bench.admit("192.0.2.1").is_none(), "the same address without the balancer");
        drop(permits);
        assert!(bench.admit("192.0.2.1").is_some());
        assert_eq!(bench.guard.active(), 0);
    }

    #[test]
    fn handshakes_are_bounded_by_address_and_by_node() {
        let bench = Bench::new(|limits, _| limits.max_tls_handshakes = 8);
        let permits: Vec<_> =
            (0..12).map(|last| bench.admit(&format!("192.0.2.{}", last / 3)).unwrap()).collect();
        let any = IpAddr::from([192, 0, 2, 0]);
        let held: Vec<_> = permits.iter().filter_map(|permit| permit.begin_handshake(any)).collect();
        assert_eq!(held.len(), 8, "two of each address");
        assert!((bench.hits("max_tls_handshakes") - 4.0).abs() < 0.1);
        let other = bench.admit("192.0.2.9").unwrap();
        assert!(other.begin_handshake(any).is_none(), "the node is full");
        drop(held);
        assert!(other.begin_handshake(any).is_some());
        assert_eq!(bench.guard.handshakes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn resets_over_the_budget_close_the_address() {
        let bench = Bench::new(|limits, _| limits.max_stream_resets_per_minute = 10);
        let (one, two) = (bench.admit("192.0.2.1").unwrap(), bench.admit("192.0.2.1").unwrap());
        assert!(one.note_stream_resets(6) && two.note_stream_resets(4));
        assert!(!one.note_stream_resets(1), "together they are over");
        assert!(bench.admit("192.0.2.1").is_none());
        assert!(bench.admit("192.0.2.2").is_some());
        assert!((bench.hits("max_stream_resets_per_minute") - 2.0).abs() < 0.1);
    }

    #[test]
    fn threads_that_admit_at_once_never_pass_a_bound() {
        let bench = Bench::new(|limits, _| {
            limits.max_connections_per_ip = 5;
            limits.new_connections_per_ip = 1_000_000;
        });
        let open = [const { AtomicUsize::new(0) }; 3];
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..2_000 {
                        let (last, mine) = (round % 3, &open[round % 3]);
                        let address = format!("192.0.2.{last}");
                        let held: Vec<_> = (0..4).filter_map(|_| bench.admit(&address)).collect();
                        assert!(mine.fetch_add(held.len(), Ordering::SeqCst) + held.len() <= 5);
                        mine.fetch_sub(held.len(), Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(bench.guard.active(), 0);
        let again: Vec<_> = (0..9).filter_map(|_| bench.admit("192.0.2.1")).collect();
        assert_eq!(again.len(), 5, "every place came back");
    }
}
