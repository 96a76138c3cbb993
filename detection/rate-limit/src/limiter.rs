// SPDX-License-Identifier: Apache-2.0
//! All buckets of a node, and which of them a request has to pass.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use sunbeam_tables::{FixedTable, HashKey, Moment, PrefixMap};

use crate::bucket::{Bucket, Limit, TOKEN};
use crate::config::{RateLimitSection, RouteLimitSection};
use crate::identity::Identity;

/// What all identities behind one address may do, in units of what an address without any may.
const CEILING: u32 = 10;

const KIND_CEILING: u64 = 32;
const KIND_ROUTE: u64 = 33;
const KIND_ROUTE_CEILING: u64 = 34;

/// Limits that one route may have.
pub const ROUTE_LIMITS_MAX: usize = 7;

/// Buckets that one request can pass: the identity's, its address's, and both of each route limit.
const CHARGES_MAX: usize = 2 + 2 * ROUTE_LIMITS_MAX;

/// The limits of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    bypass: PrefixMap<()>,
    global: Option<Limit>,
    authenticated: Option<Limit>,
    unauthenticated: Option<Limit>,
    ceiling: Option<Limit>,
    cheap_cost: u64,
    block_after: u16,
    window_secs: u32,
    /// Of each route.
    routes: Vec<Vec<RouteLimit>>,
}

/// A limit of one route.
#[derive(Clone, Debug)]
pub struct RouteLimit {
    path: Vec<u8>,
    methods: Vec<String>,
    limit: Limit,
    /// Names it over reloads: its bucket stays as long as path and methods do.
    name: String,
}

impl RouteLimit {
    /// `route` is the route's name.
    pub fn new(route: &str, section: &RouteLimitSection) -> Option<Self> {
        let mut path = section.path.trim_end_matches('/').to_ascii_lowercase();
        if path.is_empty() {
            path.push('/');
        }
        let name = format!("{route} {path} {}", section.methods.join(","));
        let limit = Limit::new(section.burst, section.rate)?;
        Some(Self { path: path.into_bytes(), methods: section.methods.clone(), limit, name })
    }

    /// `path` is canonical.
    fn holds(&self, method: &str, path: &[u8]) -> bool {
        has_prefix(path, &self.path)
            && (self.methods.is_empty() || self.methods.iter().any(|known| known == method))
    }
}

/// Whether a path begins with the segments of `prefix`. What follows a `;` is no part of a segment's name: backends
/// read `/login;x` as `/login`.
fn has_prefix(path: &[u8], prefix: &[u8]) -> bool {
    fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
        let name = |segment: &'_ [u8]| segment.iter().position(|byte| *byte == b';').unwrap_or(segment.len());
        path.split(|byte| *byte == b'/').map(move |segment| segment.get(..name(segment)).unwrap_or(segment))
    }
    let mut own = segments(path);
    segments(prefix.strip_suffix(b"/").unwrap_or(prefix)).all(|wanted| own.next() == Some(wanted))
}

impl Rules {
    /// `window_secs` is the time in which refusals are counted; `routes` has the limits of each route.
    pub fn new(section: &RateLimitSection, window_secs: u32, routes: Vec<Vec<RouteLimit>>) -> Self {
        let unauthenticated = Limit::new(section.unauthenticated.burst, section.unauthenticated.rate);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and one token"
        )]
        let cheap_cost = (section.static_cost.clamp(0.0, 1.0) * 1e12).round() as u64;
        Self {
            bypass: PrefixMap::new(section.bypass_cidrs.iter().map(|cidr| (cidr.0, ()))),
            global: Limit::new(section.global.burst, section.global.rate),
            authenticated: Limit::new(section.authenticated.burst, section.authenticated.rate),
            ceiling: unauthenticated.map(|limit| limit.times(CEILING)),
            unauthenticated,
            cheap_cost,
            block_after: section.block_after,
            window_secs,
            routes,
        }
    }

    /// The names of a route's limits that a request has to keep, by its canonical path.
    pub fn route_limits(&self, route: usize, method: &str, path: &[u8]) -> Vec<&str> {
        let limits = self.routes.get(route).into_iter().flatten().take(ROUTE_LIMITS_MAX);
        limits.filter(|limit| limit.holds(method, path)).map(|limit| limit.name.as_str()).collect()
    }

    /// The places of a route's limits that have these names, as [`Exempt::routes`] has them.
    pub fn route_places(&self, route: usize, names: &[String]) -> u8 {
        let limits = self.routes.get(route).into_iter().flatten().take(ROUTE_LIMITS_MAX).enumerate();
        let named = limits.filter(|(_, limit)| names.contains(&limit.name));
        named.fold(0, |places, (place, _)| places | 1 << place)
    }

    /// Whether an address has no limits.
    pub fn is_bypassed(&self, address: IpAddr) -> bool {
        self.bypass.find(address).is_some()
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Who asks.
    pub identity: &'a Identity,
    /// The route's place.
    pub route: usize,
    /// `POST`
    pub method: &'a str,
    /// Canonical.
    pub path: &'a [u8],
    /// Nothing is taken: somebody only wants to know.
    pub is_trial: bool,
    /// What does not hold for who asks.
    pub exempt: Exempt,
}

/// Limits that an operator lifted for who asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exempt {
    /// The identity's own.
    pub identity: bool,
    /// That of all identities of its address.
    pub address: bool,
    /// Those of the route, by their places: one bit each.
    pub routes: u8,
}

const _: () = assert!(ROUTE_LIMITS_MAX <= 8, "each limit of a route has a bit");

impl Exempt {
    /// What either of them lifts.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            identity: self.identity | other.identity,
            address: self.address | other.address,
            routes: self.routes | other.routes,
        }
    }

    /// What both lift.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self {
            identity: self.identity & other.identity,
            address: self.address & other.address,
            routes: self.routes & other.routes,
        }
    }

    /// Whether it lifts nothing.
    pub const fn is_nothing(self) -> bool {
        !self.identity && !self.address && self.routes == 0
    }
}

/// Which bucket was full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// That of the identity.
    Identity,
    /// That of all identities of its address.
    Address,
    /// A route's.
    Route,
    /// A route's for all identities of the address.
    RouteAddress,
    /// The whole node's.
    Global,
}

impl Bound {
    /// Whether it is everybody's who is logged in behind the address.
    pub const fn is_shared(self) -> bool {
        matches!(self, Self::Address | Self::RouteAddress)
    }

    /// `identity_limit`
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity_limit",
            Self::Address => "address_limit",
            Self::Route | Self::RouteAddress => "route_limit",
            Self::Global => "global_limit",
        }
    }
}

/// What the client is told about its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Tokens of a dry bucket.
    pub burst: u64,
    /// Seconds in which a full one runs dry.
    pub window_secs: u64,
    /// Whole tokens that may come now.
    pub remaining: u64,
    /// Seconds until the bucket is dry.
    pub reset_secs: u64,
}

/// What was taken, to be given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charges {
    keys: [u64; CHARGES_MAX],
    count: u8,
    is_global: bool,
}

impl Charges {
    fn add(&mut self, key: u64) {
        if let Some(place) = self.keys.get_mut(usize::from(self.count)) {
            *place = key;
            self.count += 1;
        }
    }

    fn keys(&self) -> &[u64] {
        self.keys.get(..usize::from(self.count)).unwrap_or_default()
    }
}

/// It may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// What was taken.
    pub charges: Charges,
    /// The identity's bucket; `None` without a limit.
    pub quota: Option<Quota>,
    /// Limits that would have refused it, were they not lifted.
    pub exempted: Exempt,
}

/// It may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which bucket was full.
    pub bound: Bound,
    /// Until there is room.
    pub wait_micros: u64,
    /// That bucket.
    pub quota: Quota,
    /// It was refused so often that whoever may block should.
    pub is_persistent: bool,
}

impl Refusal {
    /// Whole seconds, one at least: after so many there is room.
    pub fn retry_after_secs(&self) -> u64 {
        self.wait_micros.div_ceil(1_000_000).max(1)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    bucket: Bucket,
    /// Refusals since `refused_since`, in seconds.
    refusals: u16,
    refused_since: u32,
    /// When the bucket is dry, in seconds: until then it must not be forgotten.
    dry_at: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Limiter {
    hash: HashKey,
    entries: FixedTable<Entry>,
    global: Mutex<Bucket>,
}

impl Limiter {
    /// Room for so many identities.
    pub fn new(identities: usize, hash: HashKey) -> Self {
        Self { hash, entries: FixedTable::of_places(identities), global: Mutex::default() }
    }

    /// Takes a token from every bucket that the request has to pass, or from none.
    ///
    /// # Errors
    /// The first bucket without room.
    pub fn ask(&self, rules: &Rules, ask: &Ask<'_>, now: Moment) -> Result<Grant, Refusal> {
        let mut grant = Grant::default();
        let taken = self.each_bucket(rules, ask, |key, limit, bound, lifted| {
            let quota = match self.take(key, limit, bound, now) {
                Ok(quota) => quota,
                Err(_) if !lifted.is_nothing() => {
                    grant.exempted = grant.exempted.and(lifted);
                    return Ok(());
                }
                Err(refusal) => return Err(refusal),
            };
            grant.charges.add(key);
            // Of a limit that does not hold nobody is told.
            let is_told = !bound.is_shared() && lifted.is_nothing();
            if is_told && grant.quota.is_none_or(|known| quota.remaining < known.remaining) {
                grant.quota = Some(quota);
            }
            Ok(())
        });
        let result = taken.and_then(|()| self.take_global(rules, now, &mut grant));
        if let Err(mut refusal) = result {
            self.give_back(&grant.charges, TOKEN);
            refusal.wait_micros = self.wait(rules, ask, now).max(refusal.wait_micros);
            // Nobody is to blame for what all of them do together.
            if refusal.bound != Bound::Global && !ask.is_trial {
                // Whoever is known by the address alone is not to blame for those who are logged in behind it.
                let shared = self.hash.number(KIND_CEILING, ask.identity.address.into());
                let blamed = if refusal.bound.is_shared() { shared } else { ask.identity.key };
                refusal.is_persistent = self.note_refusal(rules, blamed, now);
            }
            return Err(refusal);
        }
        if ask.is_trial {
            self.give_back(&grant.charges, TOKEN);
        }
        Ok(grant)
    }

    /// Every bucket that the request has to pass but the node's, until `visit` refuses. Shared ones come first: whoever
    /// mints identities gets no places for them beyond the ceiling. `visit` is told whether the limit is lifted.
    fn each_bucket(
        &self,
        rules: &Rules,
        ask: &Ask<'_>,
        mut visit: impl FnMut(u64, &Limit, Bound, Exempt) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let identity = ask.identity;
        let lifted = |limit: Exempt| ask.exempt.common(limit);
        let of_identity = lifted(Exempt { identity: true, ..Exempt::default() });
        let of_address = lifted(Exempt { address: true, ..Exempt::default() });
        let is_known = identity.is_authenticated();
        if let Some(ceiling) = rules.ceiling.as_ref().filter(|_| is_known) {
            let key = self.hash.number(KIND_CEILING, identity.address.into());
            visit(key, ceiling, Bound::Address, of_address)?;
        }
        let own = if is_known { &rules.authenticated } else { &rules.unauthenticated };
        if let Some(own) = own {
            visit(identity.key, own, Bound::Identity, of_identity)?;
        }
        let limits = rules.routes.get(ask.route).into_iter().flatten().take(ROUTE_LIMITS_MAX).enumerate();
        for (place, limit) in limits {
            if !limit.holds(ask.method, ask.path) {
                continue;
            }
            let of_route = lifted(Exempt { routes: 1 << place, ..Exempt::default() });
            let key = |kind, number: u64| {
                self.hash.bytes(self.hash.number(kind, number.into()), limit.name.as_bytes())
            };
            if is_known {
                let ceiling = limit.limit.times(CEILING);
                visit(key(KIND_ROUTE_CEILING, identity.address), &ceiling, Bound::RouteAddress, of_route)?;
            }
            visit(key(KIND_ROUTE, identity.key), &limit.limit, Bound::Route, of_route)?;
        }
        Ok(())
    }

    /// Until every bucket has room.
    fn wait(&self, rules: &Rules, ask: &Ask<'_>, now: Moment) -> u64 {
        let mut most = 0;
        let of = |bucket: Bucket, limit: &Limit| {
            let mut bucket = bucket;
            bucket.take(TOKEN, limit, now).err().map_or(0, |refused| refused.wait_micros)
        };
        let looked = self.each_bucket(rules, ask, |key, limit, _, lifted| {
            if !lifted.is_nothing() {
                return Ok(());
            }
            most = most.max(self.entries.peek(key).map_or(0, |entry| of(entry.bucket, limit)));
            Ok(())
        });
        debug_assert!(looked.is_ok(), "the look refuses nothing");
        let global = *self.global.lock().unwrap_or_else(PoisonError::into_inner);
        most.max(rules.global.as_ref().map_or(0, |limit| of(global, limit)))
    }

    fn take(&self, key: u64, limit: &Limit, bound: Bound, now: Moment) -> Result<Quota, Refusal> {
        let (taken, quota) = self.entries.with(key, now, |entry| {
            let taken = entry.bucket.take(TOKEN, limit, now);
            let quota = quota(&mut entry.bucket, limit, now);
            entry.dry_at = u32::try_from(now.as_secs().saturating_add(quota.reset_secs)).unwrap_or(u32::MAX);
            (taken, quota)
        });
        match taken {
            Ok(()) => Ok(quota),
            Err(refused) => {
                Err(Refusal { bound, wait_micros: refused.wait_micros, quota, is_persistent: false })
            }
        }
    }

    fn take_global(&self, rules: &Rules, now: Moment, grant: &mut Grant) -> Result<(), Refusal> {
        let Some(limit) = &rules.global else { return Ok(()) };
        let mut bucket = self.global.lock().unwrap_or_else(PoisonError::into_inner);
        match bucket.take(TOKEN, limit, now) {
            Ok(()) => {
                grant.charges.is_global = true;
                Ok(())
            }
            Err(refused) => Err(Refusal {
                bound: Bound::Global,
                wait_micros: refused.wait_micros,
                quota: quota(&mut bucket, limit, now),
                is_persistent: false,
            }),
        }
    }

    /// The request was cheap: gives back all but what a static file costs.
    pub fn was_cheap(&self, rules: &Rules, charges: &Charges) {
        self.give_back(charges, TOKEN - rules.cheap_cost.min(TOKEN));
    }

    fn give_back(&self, charges: &Charges, cost: u64) {
        for key in charges.keys() {
            self.entries.change(*key, |entry| entry.bucket.give_back(cost));
        }
        if charges.is_global {
            self.global.lock().unwrap_or_else(PoisonError::into_inner).give_back(cost);
        }
    }

    /// Counts a refusal; whether there were too many.
    fn note_refusal(&self, rules: &Rules, key: u64, now: Moment) -> bool {
        let secs = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        self.entries.with(key, now, |entry| {
            if secs.saturating_sub(entry.refused_since) >= rules.window_secs {
                (entry.refusals, entry.refused_since) = (0, secs);
            }
            entry.refusals = entry.refusals.saturating_add(1);
            let is_persistent = rules.block_after > 0 && entry.refusals >= rules.block_after;
            if is_persistent {
                entry.refusals = 0;
            }
            is_persistent
        })
    }

    /// Forgets buckets that were not looked at for so long and are dry, which are as good as new; how many stay.
    pub fn sweep(&self, stale_after_secs: u64, now: Moment) -> usize {
        let stale = stale_after_secs.saturating_mul(1_000_000);
        let is_fresh = |entry: &Entry| now.micros_since(entry.bucket.used_at()) < stale;
        self.entries.retain(|entry| is_fresh(entry) || u64::from(entry.dry_at) > now.as_secs())
    }

    /// Identities that lost their place to another so far.
    pub fn evicted(&self) -> u64 {
        self.entries.evicted()
    }
}

fn quota(bucket: &mut Bucket, limit: &Limit, now: Moment) -> Quota {
    Quota {
        burst: limit.burst(),
        window_secs: limit.window_secs(),
        remaining: bucket.room(limit, now),
        reset_secs: bucket.dry_in_secs(limit, now),
    }
}

#[cfg(test)]
mod tests {
    use sunbeam_traffic::IdentityKind;

    use super::*;
    use crate::config::{GlobalSection, UnauthenticatedSection};

    const HASH: HashKey = HashKey::fixed(5);

    fn address(number: u64) -> Identity {
        Identity { kind: IdentityKind::Address, key: number, address: number, is_logged_in: false }
    }

    fn session(key: u64, address: u64) -> Identity {
        Identity { kind: IdentityKind::Session, key, address, is_logged_in: false }
    }

    fn ask(identity: &Identity) -> Ask<'_> {
        Ask { identity, route: 0, method: "GET", path: b"/", is_trial: false, exempt: Exempt::default() }
    }

    fn granted(limiter: &Limiter, rules: &Rules, ask: &Ask<'_>, tries: usize) -> usize {
        (0..tries).filter(|_| limiter.ask(rules, ask, Moment::from_secs(9)).is_ok()).count()
    }

    #[test]
    fn each_identity_has_its_bucket_and_their_address_a_ceiling() {
        let (limiter, rules) =
            (Limiter::new(100_000, HASH), Rules::new(&RateLimitSection::default(), 60, Vec::new()));
        assert_eq!(granted(&limiter, &rules, &ask(&address(1)), 500), 50);
        assert_eq!(granted(&limiter, &rules, &ask(&address(2)), 500), 50);
        assert_eq!(granted(&limiter, &rules, &ask(&session(3, 7)), 500), 200);
        assert_eq!(granted(&limiter, &rules, &ask(&session(4, 7)), 500), 200);
        // A hundred thousand minted ones: the ceiling is 500 in all.
        let minted: usize =
            (1000..101_000).map(|key| granted(&limiter, &rules, &ask(&session(key, 7)), 1)).sum();
        assert_eq!(minted, 100);
        let refusal = limiter.ask(&rules, &ask(&session(5, 7)), Moment::from_secs(9)).unwrap_err();
        assert_eq!((refusal.bound, refusal.retry_after_secs()), (Bound::Address, 1));
        assert_eq!(limiter.ask(&rules, &ask(&session(5, 7)), Moment::from_secs(10)).map(|_| ()), Ok(()));
    }

    #[test]
    fn a_refusal_takes_nothing_and_cheap_requests_take_a_tenth() {
        let limit =
            RouteLimit::new("r", &RouteLimitSection { burst: 2, rate: 0.5, ..RouteLimitSection::default() });
        let section = RateLimitSection {
            global: GlobalSection { burst: 10, rate: 1.0 },
            ..RateLimitSection::default()
        };
        let rules = Rules::new(&section, 60, vec![limit.into_iter().collect(), Vec::new()]);
        let limiter = Limiter::new(1000, HASH);
        assert_eq!(granted(&limiter, &rules, &ask(&address(1)), 100), 2);
        let elsewhere = |identity| Ask { route: 1, ..ask(identity) };
        assert_eq!(
            granted(&limiter, &rules, &elsewhere(&address(1)), 100),
            8,
            "the global bucket has 8 left"
        );
        let limiter = Limiter::new(1000, HASH);
        let rules = Rules::new(&RateLimitSection::default(), 60, Vec::new());
        let mut cheap = 0;
        while let Ok(grant) = limiter.ask(&rules, &ask(&address(1)), Moment::from_secs(9)) {
            limiter.was_cheap(&rules, &grant.charges);
            cheap += 1;
        }
        assert_eq!(cheap, 491, "49 tokens by tenths, and the last that finds room for a whole one");
    }

    #[test]
    fn route_limits_hold_by_path_and_method_for_minted_identities_too() {
        let section =
            RouteLimitSection { path: "/login".into(), methods: vec!["POST".into()], burst: 5, rate: 0.2 };
        let rules = Rules::new(
            &RateLimitSection::default(),
            60,
            vec![RouteLimit::new("r", &section).into_iter().collect()],
        );
        let limiter = Limiter::new(100_000, HASH);
        fn at<'a>(identity: &'a Identity, method: &'a str, path: &'a [u8]) -> Ask<'a> {
            Ask { identity, route: 0, method, path, is_trial: false, exempt: Exempt::default() }
        }
        let one = address(1);
        assert_eq!(granted(&limiter, &rules, &at(&one, "POST", b"/login/now"), 20), 5);
        assert_eq!(
            granted(&limiter, &rules, &at(&one, "POST", b"/login;x=1"), 20),
            0,
            "the same to a backend"
        );
        for (method, path) in [("GET", &b"/login"[..]), ("POST", b"/loginx"), ("POST", b"/")] {
            assert_eq!(granted(&limiter, &rules, &at(&one, method, path), 10), 10, "{method}");
        }
        let post = |key: u64| {
            let minted = session(100 + key, 9);
            granted(&limiter, &rules, &at(&minted, "POST", b"/login"), 1)
        };
        assert_eq!((0..400).map(post).sum::<usize>(), 50);
    }

    #[test]
    fn who_is_refused_again_and_again_is_named_once_each_time() {
        let (limiter, rules) =
            (Limiter::new(1000, HASH), Rules::new(&RateLimitSection::default(), 60, Vec::new()));
        let now = Moment::from_secs(100);
        let persistent = (0..90).filter(|_| {
            limiter.ask(&rules, &ask(&address(1)), now).is_err_and(|refusal| refusal.is_persistent)
        });
        assert_eq!(persistent.count(), 2, "40 refusals, 20 each");
        // Refusals that lie apart are not added up.
        let mut later = now;
        for _ in 0..19 {
            while limiter.ask(&rules, &ask(&address(2)), later).is_ok() {}
            later = Moment::from_secs(later.as_secs() + 61);
        }
        assert!(!limiter.ask(&rules, &ask(&address(2)), later).is_err_and(|refusal| refusal.is_persistent));
    }

    #[test]
    fn eight_threads_are_granted_no_token_more() {
        let section = RateLimitSection {
            unauthenticated: UnauthenticatedSection { burst: 1000, rate: 0.000_001 },
            ..RateLimitSection::default()
        };
        let (limiter, rules) = (Limiter::new(1000, HASH), Rules::new(&section, 60, Vec::new()));
        let granted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| granted(&limiter, &rules, &ask(&address(1)), 1000))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(granted, 1000);
    }

    #[test]
    fn the_wait_is_that_of_the_bucket_that_takes_longest() {
        let section = RouteLimitSection { burst: 1, rate: 0.1, ..RouteLimitSection::default() };
        let rate_limit = RateLimitSection {
            unauthenticated: UnauthenticatedSection { burst: 1, rate: 1.0 },
            ..RateLimitSection::default()
        };
        let rules = Rules::new(&rate_limit, 60, vec![RouteLimit::new("r", &section).into_iter().collect()]);
        let (limiter, one) = (Limiter::new(1000, HASH), address(1));
        assert!(limiter.ask(&rules, &ask(&one), Moment::from_secs(9)).is_ok());
        let refusal = limiter.ask(&rules, &ask(&one), Moment::from_secs(9)).unwrap_err();
        assert_eq!((refusal.bound, refusal.retry_after_secs()), (Bound::Identity, 10));
        assert!(limiter.ask(&rules, &ask(&one), Moment::from_secs(19)).is_ok());
    }

    #[test]
    fn a_trial_takes_nothing() {
        let (limiter, rules) =
            (Limiter::new(1000, HASH), Rules::new(&RateLimitSection::default(), 60, Vec::new()));
        let one = address(1);
        assert_eq!(granted(&limiter, &rules, &Ask { is_trial: true, ..ask(&one) }, 500), 500);
        assert_eq!(granted(&limiter, &rules, &ask(&one), 500), 50);
    }

    #[test]
    fn a_limit_that_is_lifted_refuses_nobody_and_the_others_hold() {
        let section = RouteLimitSection { path: "/login".into(), methods: Vec::new(), burst: 2, rate: 0.1 };
        let limits: Vec<RouteLimit> = RouteLimit::new("r", &section).into_iter().collect();
        let rate_limit = RateLimitSection {
            unauthenticated: UnauthenticatedSection { burst: 5, rate: 0.1 },
            ..RateLimitSection::default()
        };
        let rules = Rules::new(&rate_limit, 60, vec![limits]);
        assert_eq!(rules.route_limits(0, "GET", b"/login/x"), ["r /login "]);
        assert!(rules.route_limits(0, "GET", b"/").is_empty());
        let places = rules.route_places(0, &["r /login ".to_owned()]);
        let lifted = Exempt { routes: places, ..Exempt::default() };
        let limiter = Limiter::new(1000, HASH);
        let (one, two) = (address(1), address(2));
        let ask = |identity, exempt| Ask { path: b"/login", exempt, ..ask(identity) };
        let mut hits = 0;
        for number in 0..9 {
            let answer = limiter.ask(&rules, &ask(&one, lifted), Moment::default());
            assert_eq!(answer.is_ok(), number < 5, "{number}: its own limit holds on");
            hits += usize::from(answer.is_ok_and(|grant| grant.exempted == lifted));
        }
        assert_eq!(hits, 3, "the limit of two would have refused the other three");
        let refused = |identity, exempt| limiter.ask(&rules, &ask(identity, exempt), Moment::default()).err();
        assert!(refused(&two, Exempt::default()).is_none() && refused(&two, Exempt::default()).is_none());
        assert_eq!(refused(&two, Exempt::default()).map(|refusal| refusal.bound), Some(Bound::Route));
        let both = Exempt { identity: true, ..lifted };
        assert!((0..50).all(|_| refused(&one, both).is_none()));
    }

    #[test]
    fn who_does_not_come_any_more_is_forgotten() {
        let (limiter, rules) =
            (Limiter::new(10_000, HASH), Rules::new(&RateLimitSection::default(), 60, Vec::new()));
        for number in 0..100 {
            let somebody = address(HASH.number(0, number.into()));
            assert!(limiter.ask(&rules, &ask(&somebody), Moment::from_secs(number)).is_ok());
        }
        assert_eq!(limiter.sweep(50, Moment::from_secs(110)), 39);
        assert_eq!(limiter.sweep(50, Moment::from_secs(1000)), 0);
        // Three an hour stay three an hour.
        let section = RouteLimitSection { burst: 3, rate: 3.0 / 3600.0, ..RouteLimitSection::default() };
        let slow = RouteLimit::new("r", &section).into_iter().collect();
        let rules = Rules::new(&RateLimitSection::default(), 60, vec![slow]);
        let one = address(1);
        assert_eq!(granted(&limiter, &rules, &ask(&one), 10), 3);
        limiter.sweep(600, Moment::from_secs(700));
        assert!(limiter.ask(&rules, &ask(&one), Moment::from_secs(700)).is_err());
    }
}
