// SPDX-License-Identifier: Apache-2.0
//! Floods that come from everywhere: ten thousand addresses that each ask once in a while, for one thing, and are of
//! one make.
//!
//! Each request counts under three descriptions: route with TLS fingerprint and order of header fields, route with
//! TLS fingerprint, route with network. Their table is fixed; descriptions that come once make way for those that
//! come often, so it is a sketch of the heavy ones. A description is a flood when, within ten seconds, very many
//! different clients come under it, each of them quiet, far more than before, and they do not behave as people
//! before browsers do: who reads a page also fetches what belongs to it, comes from somewhere, brings a cookie
//! along. A crowd that follows a link does all of that.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use sunbeam_features::BrowserEvidence;
use sunbeam_tables::{Distinct, FixedTable, HashKey, Moment};

/// Descriptions that have room.
const PLACES: usize = 4096;

/// Seconds of an interval; two of them are looked at.
const INTERVAL_SECS: u64 = 5;

/// Fewer clients are no flood.
const CLIENTS_MIN: u32 = 200;

/// Who asks more often than so many times in two intervals is not quiet: other layers see him.
const QUIET: u32 = 10;

/// A flood is so many times what came before.
const SURGE: u32 = 4;

/// Seconds for which a description stays flagged after it last looked like a flood.
const FLAG_SECS: u32 = 30;

/// Seconds from the first request in which nobody knows what is usual. What is flagged then is learned slowly all
/// the same: it may be what always comes.
const COLD_SECS: u32 = 120;

/// Requests between two looks at a description: a look costs a microsecond.
const LOOK_EVERY: u32 = 32;

/// Reports that wait to be read; past it the newest are lost (the floods themselves stay flagged).
const NEWS_MAX: usize = 64;

/// A request that arrives.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// What names the route.
    pub route: u64,
    /// Empty for plain HTTP.
    pub ja4: &'a str,
    /// See `sunbeam_features::HeaderOrder`.
    pub header_order: u64,
    /// Its address.
    pub client: IpAddr,
    /// The key of its address.
    pub address: u64,
    /// The hash of its canonical path.
    pub path: u64,
    /// What speaks for a browser, of [`BrowserEvidence::MOST`].
    pub evidence: u8,
    /// Whether cookies came along.
    pub has_cookies: bool,
    /// Whether it comes from somewhere.
    pub has_referer: bool,
    /// Whether it asks for what belongs to a page.
    pub is_asset: bool,
}

/// What the requests of a flood have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flood {
    /// What names the route.
    pub route: u64,
    /// Their TLS fingerprint.
    pub ja4: Option<String>,
    /// The fingerprint of their header fields.
    pub header_order: Option<u64>,
    /// Their network: an IPv4 /16 or IPv6 /32.
    pub network: Option<IpAddr>,
}

/// A flood and how large it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FloodReport {
    /// What they share.
    pub flood: Flood,
    /// Different clients in ten seconds, about.
    pub clients: u32,
    /// Requests in ten seconds.
    pub requests: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Interval {
    requests: u32,
    clients: Distinct,
    paths: u64,
    evidence: u32,
    cookies: u32,
    referers: u32,
    assets: u32,
}

impl Interval {
    fn add(&mut self, arrival: &Arrival<'_>) {
        self.requests = self.requests.saturating_add(1);
        self.clients.add(arrival.address);
        self.paths |= 1 << (arrival.path & 63);
        self.evidence = self.evidence.saturating_add(arrival.evidence.into());
        self.cookies = self.cookies.saturating_add(arrival.has_cookies.into());
        self.referers = self.referers.saturating_add(arrival.has_referer.into());
        self.assets = self.assets.saturating_add(arrival.is_asset.into());
    }

    fn with(mut self, other: &Self) -> Self {
        self.requests = self.requests.saturating_add(other.requests);
        self.clients.merge(&other.clients);
        self.paths |= other.paths;
        self.evidence = self.evidence.saturating_add(other.evidence);
        self.cookies = self.cookies.saturating_add(other.cookies);
        self.referers = self.referers.saturating_add(other.referers);
        self.assets = self.assets.saturating_add(other.assets);
        self
    }

    /// Whether its requests look like a machine's. Those that write what browsers write have to be caught by what
    /// they do.
    fn is_automatic(&self) -> bool {
        let share =
            |count: u32, percent: u32| u64::from(count) * 100 < u64::from(self.requests) * u64::from(percent);
        let says_browser =
            u64::from(self.evidence) * 2 >= u64::from(self.requests) * u64::from(BrowserEvidence::MOST);
        let paths = self.paths.count_ones();
        if says_browser {
            paths <= 2 && share(self.assets, 2) && share(self.cookies, 5) && share(self.referers, 5)
        } else {
            paths <= 8 && share(self.assets, 5)
        }
    }
}

const JA4_BYTES: usize = 36;

#[derive(Clone, Copy, Debug)]
struct Slot {
    interval: u32,
    now: Interval,
    before: Interval,
    /// Requests of an interval as they used to be, in sixteenths.
    usual: u32,
    flagged_until: u32,
    /// It was flagged before anything was known.
    was_cold: bool,
    route: u64,
    ja4: [u8; JA4_BYTES],
    header_order: Option<u64>,
    network: Option<IpAddr>,
    clients: u32,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            interval: 0,
            now: Interval::default(),
            before: Interval::default(),
            usual: 0,
            flagged_until: 0,
            was_cold: false,
            route: 0,
            ja4: [0; JA4_BYTES],
            header_order: None,
            network: None,
            clients: 0,
        }
    }
}

impl Slot {
    fn advance(&mut self, interval: u32, secs: u32) {
        let passed = interval.saturating_sub(self.interval);
        if passed == 0 {
            return;
        }
        if self.flagged_until <= secs {
            self.was_cold = false;
            self.learn(self.before.requests, 8);
            if passed > 1 {
                // What comes in bursts is usual, too: pauses take little of it.
                self.learn(self.now.requests, 8);
            }
            for _ in 3..passed.min(64) {
                self.learn(0, 64);
            }
        } else if self.was_cold {
            self.learn(self.before.requests, 64);
        }
        // What else comes in a flood is not what is usual.
        self.before = if passed == 1 { self.now } else { Interval::default() };
        self.now = Interval::default();
        self.interval = interval;
    }

    fn learn(&mut self, requests: u32, part: i64) {
        let target = i64::from(requests.min(1 << 24)) * 16;
        let usual = i64::from(self.usual) + (target - i64::from(self.usual)) / part;
        self.usual = u32::try_from(usual.max(0)).unwrap_or(u32::MAX);
    }

    fn look(&mut self, secs: u32, is_cold: bool) -> bool {
        let both = self.now.with(&self.before);
        if both.requests < CLIENTS_MIN || !both.is_automatic() {
            return false;
        }
        let usual = self.usual.saturating_mul(2) / 16;
        let is_known = self.flagged_until > secs && !self.was_cold;
        if both.requests < usual.saturating_mul(SURGE) && !is_known {
            return false;
        }
        self.clients = both.clients.estimate();
        let is_flood = self.clients >= CLIENTS_MIN && both.requests <= self.clients.saturating_mul(QUIET);
        if is_flood {
            self.was_cold |= is_cold && self.flagged_until <= secs;
            self.flagged_until = secs.saturating_add(FLAG_SECS);
        }
        is_flood
    }

    fn report(&self) -> FloodReport {
        let ja4 = self.ja4.split(|byte| *byte == 0).next().unwrap_or_default();
        FloodReport {
            flood: Flood {
                route: self.route,
                ja4: (!ja4.is_empty()).then(|| String::from_utf8_lossy(ja4).into_owned()),
                header_order: self.header_order,
                network: self.network,
            },
            clients: self.clients,
            requests: self.now.requests.saturating_add(self.before.requests),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Floods {
    slots: FixedTable<Slot>,
    /// When the first request came, in seconds; 0: none did.
    first: AtomicU64,
    /// Until when, in seconds, any description is flagged.
    flagged_until: AtomicU64,
    news: Mutex<Vec<FloodReport>>,
}

impl Default for Floods {
    fn default() -> Self {
        Self {
            slots: FixedTable::of_places(PLACES),
            first: AtomicU64::new(0),
            flagged_until: AtomicU64::new(0),
            news: Mutex::default(),
        }
    }
}

impl Floods {
    /// Counts a request. Whether it is of a flood.
    pub fn arrive(&self, arrival: &Arrival<'_>, hash: &HashKey, now: Moment) -> bool {
        let secs = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let interval = u32::try_from(now.as_secs() / INTERVAL_SECS).unwrap_or(u32::MAX);
        let first =
            self.first.compare_exchange(0, now.as_secs().max(1), Ordering::Relaxed, Ordering::Relaxed);
        let is_cold = now.as_secs() < first.err().unwrap_or(u64::MAX).saturating_add(COLD_SECS.into());
        let mut is_of_flood = false;
        for description in descriptions(arrival, hash).into_iter().flatten() {
            let (flagged, news) = self.slots.with(description.key, now, |slot| {
                if slot.interval == 0 && slot.now.requests == 0 {
                    description.write(slot, arrival);
                    slot.interval = interval;
                }
                slot.advance(interval, secs);
                slot.now.add(arrival);
                let was_flagged = slot.flagged_until > secs;
                let looks = slot.now.requests % LOOK_EVERY == 0 && slot.look(secs, is_cold);
                (slot.flagged_until > secs, (looks && !was_flagged).then(|| slot.report()))
            });
            if flagged {
                self.flagged_until.fetch_max(u64::from(secs) + u64::from(FLAG_SECS), Ordering::Relaxed);
            }
            if let Some(report) = news {
                self.tell(report);
            }
            is_of_flood |= flagged;
        }
        is_of_flood
    }

    /// Whether such a request would be of a flood; nothing is counted.
    pub fn is_flagged(&self, arrival: &Arrival<'_>, hash: &HashKey, now: Moment) -> bool {
        let secs = now.as_secs();
        if self.flagged_until.load(Ordering::Relaxed) <= secs {
            return false;
        }
        let is_flagged = |slot: &Slot| u64::from(slot.flagged_until) > secs;
        descriptions(arrival, hash)
            .iter()
            .flatten()
            .any(|one| self.slots.peek(one.key).as_ref().is_some_and(is_flagged))
    }

    /// Floods that began since the last call.
    pub fn news(&self) -> Vec<FloodReport> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Floods that go on.
    pub fn all(&self, now: Moment) -> Vec<FloodReport> {
        let mut all = Vec::new();
        if self.flagged_until.load(Ordering::Relaxed) > now.as_secs() {
            self.slots.each(|slot| {
                if u64::from(slot.flagged_until) > now.as_secs() {
                    all.push(slot.report());
                }
            });
        }
        all
    }

    fn tell(&self, report: FloodReport) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if news.len() < NEWS_MAX {
            news.push(report);
        }
    }
}

/// One of the three ways to describe a request.
#[derive(Clone, Copy, Debug)]
struct Description {
    key: u64,
    has_ja4: bool,
    has_order: bool,
    network: Option<IpAddr>,
}

impl Description {
    fn write(&self, slot: &mut Slot, arrival: &Arrival<'_>) {
        slot.route = arrival.route;
        slot.header_order = self.has_order.then_some(arrival.header_order);
        slot.network = self.network;
        if self.has_ja4 {
            for (to, from) in slot.ja4.iter_mut().zip(arrival.ja4.bytes()) {
                *to = from;
            }
        }
    }
}

fn descriptions(arrival: &Arrival<'_>, hash: &HashKey) -> [Option<Description>; 3] {
    let of_route = hash.number(96, arrival.route.into());
    let of_ja4 = hash.bytes(of_route, arrival.ja4.as_bytes());
    let has_ja4 = !arrival.ja4.is_empty();
    let (network, number) = network_of(arrival.client);
    [
        Some(Description {
            key: hash.number(of_ja4, arrival.header_order.into()),
            has_ja4,
            has_order: true,
            network: None,
        }),
        has_ja4.then_some(Description { key: of_ja4, has_ja4, has_order: false, network: None }),
        Some(Description {
            key: hash.number(of_route, number),
            has_ja4: false,
            has_order: false,
            network: Some(network),
        }),
    ]
}

/// An IPv4 /16, an IPv6 /32.
fn network_of(address: IpAddr) -> (IpAddr, u128) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, _, _] = address.octets();
            (IpAddr::from([a, b, 0, 0]), 1 << 120 | u128::from(a) << 8 | u128::from(b))
        }
        IpAddr::V6(address) => {
            let [a, b, ..] = address.segments();
            (IpAddr::from([a, b, 0, 0, 0, 0, 0, 0]), 1 << 121 | u128::from(a) << 16 | u128::from(b))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: HashKey = HashKey::fixed(11);
    const BOT: &str = "t13d190900_9dc949149365_97f8aa674fd9";

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.wrapping_mul(2_654_435_761).to_be_bytes())
    }

    fn request(number: u32) -> Arrival<'static> {
        let client = address(number);
        Arrival {
            route: 2,
            ja4: BOT,
            header_order: 77,
            client,
            address: HASH.number(0, u128::from(number)),
            path: 5,
            evidence: 1,
            has_cookies: false,
            has_referer: false,
            is_asset: false,
        }
    }

    fn at(secs: u64, part: u64) -> Moment {
        Moment::from_micros((1_000 + secs) * 1_000_000 + part)
    }

    #[test]
    fn ten_thousand_quiet_addresses_that_do_one_thing_are_seen_within_ten_seconds() {
        let floods = Floods::default();
        let (mut number, mut first) = (0_u32, None);
        for second in 0..60 {
            for part in 0..500 {
                number += 1;
                // Ten thousand of them, each once in twenty seconds.
                if floods.arrive(&request(number % 10_000), &HASH, at(second, part)) && first.is_none() {
                    first = Some(second);
                }
            }
        }
        assert!(first.is_some_and(|second| second < 10), "{first:?}");
        let news = floods.news();
        let named = news.iter().find(|report| report.flood.header_order.is_some()).unwrap();
        assert_eq!(
            named.flood,
            Flood { route: 2, ja4: Some(BOT.into()), header_order: Some(77), network: None }
        );
        assert!(named.clients >= CLIENTS_MIN && !floods.all(at(60, 0)).is_empty());
        assert!(floods.is_flagged(&request(123_456), &HASH, at(60, 0)));
        let other =
            Arrival { ja4: "t13d1516h2_8daaf6152771_02713d6af862", header_order: 1, route: 3, ..request(1) };
        assert!(!floods.is_flagged(&other, &HASH, at(60, 0)));
        // It ends.
        assert!(!floods.is_flagged(&request(1), &HASH, at(60 + 31, 0)));
        assert!(floods.all(at(60 + 61, 0)).is_empty());
    }

    #[test]
    fn once_it_is_known_what_is_usual_a_flood_stays_one_for_as_long_as_it_lasts() {
        let floods = Floods::default();
        let usual = |number| Arrival {
            ja4: "t13d1516h2_8daaf6152771_02713d6af862",
            header_order: 1,
            ..request(number)
        };
        let (mut flagged, mut all) = (0, 0);
        for second in 0..1200_u32 {
            for part in 0..20 {
                floods.arrive(&usual(second * 20 + part), &HASH, at(second.into(), part.into()));
            }
            for part in 0..if second >= 300 { 500 } else { 0 } {
                let number = (second * 500 + part) % 10_000;
                all += u32::from(second >= 310);
                flagged += u32::from(
                    floods.arrive(&request(number), &HASH, at(second.into(), part.into())) && second >= 310,
                );
            }
        }
        assert_eq!(flagged, all, "from the tenth second to the fifteenth minute");
    }

    #[test]
    fn one_that_writes_what_browsers_write_is_seen_by_what_it_does() {
        let floods = Floods::default();
        let disguised = |number| Arrival { evidence: 3, ..request(number) };
        let seen = (0..10_000)
            .filter(|number| floods.arrive(&disguised(*number), &HASH, at(u64::from(*number / 1000), 0)));
        assert!(seen.count() > 5_000);
    }

    #[test]
    fn a_crowd_of_browsers_on_one_page_is_none() {
        let floods = Floods::default();
        let mut clients = 0..;
        for second in 0..60 {
            for person in clients.by_ref().take(200) {
                // Most of them with one make of browser; the page, then what belongs to it.
                let browser =
                    ["t13d1516h2_8daaf6152771_02713d6af862", "t13d1717h2_5b57614c22b0_3cbfd9057e0d"];
                let page = Arrival {
                    ja4: browser[usize::from(person % 10 == 0)],
                    header_order: 1,
                    evidence: 3,
                    has_referer: true,
                    path: 1,
                    ..request(person)
                };
                assert!(!floods.arrive(&page, &HASH, at(second, 0)));
                for path in 2..10 {
                    let asset = Arrival { path, is_asset: true, has_cookies: true, evidence: 4, ..page };
                    assert!(!floods.arrive(&asset, &HASH, at(second, 1)));
                }
            }
        }
        assert_eq!(floods.news(), []);
    }

    #[test]
    fn what_always_comes_is_no_flood() {
        let floods = Floods::default();
        let mut flagged_late = 0;
        for second in 0..400_u32 {
            for part in 0..100 {
                // The site's own app: many clients, one make, one path, all day.
                let number = (second * 100 + part) % 5_000;
                let flagged = floods.arrive(&request(number), &HASH, at(second.into(), part.into()));
                flagged_late += u32::from(flagged && second > 200);
            }
        }
        assert_eq!(flagged_late, 0);
    }

    #[test]
    fn a_description_that_changes_with_each_request_leaves_the_table_to_others() {
        let floods = Floods::default();
        for number in 0..60_000_u32 {
            let random = Arrival { header_order: u64::from(number), ..request(number % 10_000) };
            floods.arrive(&random, &HASH, at(u64::from(number / 2000), 0));
        }
        let by_ja4 = |report: &FloodReport| report.flood.ja4.is_some() && report.flood.header_order.is_none();
        assert!(floods.news().iter().any(by_ja4), "the part that they do share names them");
    }
}
