// SPDX-License-Identifier: Apache-2.0
//! What one client did lately, in 124 bytes.
//!
//! Requests and client errors are counted in twelve buckets of the window, so their sums are exact to a
//! twelfth of it. What only features need is kept coarser: counts that halve with each window, bitmaps of
//! this window and the one before for how many different paths, hosts and agents there were.

use sunbeam_tables::{HashKey, Moment};

use crate::ddos::{self, Totals};

/// Buckets of a window.
const BUCKETS: usize = 12;

/// What a request that costs as much as any adds, in hundredths of one.
pub const FULL_COST: u8 = 100;

/// How long a window is and what it holds; changes only with the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowShape {
    capacity: u32,
    bucket_micros: u64,
    /// 2^32 / seconds.
    per_second: u64,
}

impl WindowShape {
    /// A window of so many seconds that counts so many requests at most: past that the oldest are
    /// forgotten first.
    pub fn new(secs: u32, capacity: u16) -> Self {
        let secs = secs.max(1);
        Self {
            capacity: u32::from(capacity.max(1)),
            per_second: (1 << 32) / u64::from(secs),
            bucket_micros: (u64::from(secs) * 1_000_000).div_euclid(BUCKETS as u64).max(1),
        }
    }

    /// The same window for what many clients do together.
    #[must_use]
    pub const fn wide(&self) -> Self {
        /// In units of what one may do.
        const FACTOR: u32 = 10;
        let capacity = self.capacity * FACTOR;
        Self { capacity: if capacity > u16::MAX as u32 { u16::MAX as u32 } else { capacity }, ..*self }
    }

    /// Requests that it holds.
    pub const fn capacity(&self) -> u32 {
        self.capacity
    }

    fn epoch(&self, now: Moment) -> u32 {
        u32::try_from(now.as_micros() / self.bucket_micros).unwrap_or(u32::MAX)
    }
}

/// One request that is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowEvent {
    /// Hashes with one key, of the canonical path, the host and the user agent.
    pub path: u64,
    /// See `path`.
    pub host: u64,
    /// See `path`.
    pub agent: u64,
    /// GET and HEAD 0, POST 1, other known methods 2, others 3.
    pub method: u8,
    /// The site answered with a client error.
    pub is_error: bool,
    /// It came with cookies.
    pub has_cookies: bool,
    /// It came with a referer.
    pub has_referer: bool,
    /// It came with a language.
    pub has_language: bool,
    /// It asked for what probes ask for.
    pub is_suspicious: bool,
    /// To the end of the answer.
    pub duration_ms: u32,
    /// Announced.
    pub content_length: u64,
    /// Hundredths of a request.
    pub cost: u8,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    epoch: u32,
    requests: [u16; BUCKETS],
    errors: [u16; BUCKETS],
    methods: [u16; 4],
    cookies: u16,
    referers: u16,
    languages: u16,
    suspicious: u16,
    duration_ms: u32,
    content_64: u32,
    paths: [[u32; 4]; 2],
    hosts: [u16; 2],
    agents: [u16; 2],
    /// The sums of `requests` and `errors`, kept along: the capacity bounds both.
    request_sum: u16,
    error_sum: u16,
    /// Bits that are set in both generations of `paths`, `hosts` and `agents`.
    path_bits: u8,
    host_bits: u8,
    agent_bits: u8,
    /// Hundredths of a request that is not whole yet.
    part: u8,
}

const _: () = assert!(size_of::<Window>() == 124, "a window and its key are two cache lines");

impl Window {
    /// Counts a request that ended now.
    #[inline]
    pub fn add(&mut self, event: &WindowEvent, now: Moment, shape: &WindowShape) {
        self.advance(shape.epoch(now));
        let bucket = self.bucket();
        if u32::from(self.request_sum) >= shape.capacity {
            self.forget_oldest(shape.capacity - 1);
        }
        let part = self.part.saturating_add(event.cost.min(FULL_COST));
        let is_whole = part >= FULL_COST;
        self.part = if is_whole { part - FULL_COST } else { part };
        bump(self.requests.get_mut(bucket), u16::from(is_whole));
        self.request_sum += u16::from(is_whole);
        bump(self.errors.get_mut(bucket), u16::from(event.is_error));
        self.error_sum = self.error_sum.saturating_add(u16::from(event.is_error));
        bump(self.methods.get_mut(usize::from(event.method.min(3))), 1);
        self.cookies = self.cookies.saturating_add(u16::from(event.has_cookies));
        self.referers = self.referers.saturating_add(u16::from(event.has_referer));
        self.languages = self.languages.saturating_add(u16::from(event.has_language));
        self.suspicious = self.suspicious.saturating_add(u16::from(event.is_suspicious));
        self.duration_ms = self.duration_ms.saturating_add(event.duration_ms);
        let units = u32::try_from(event.content_length.div_ceil(64)).unwrap_or(u32::MAX);
        self.content_64 = self.content_64.saturating_add(units);
        self.note_different(event);
    }

    /// Sets the bits of the event's path, host and agent.
    fn note_different(&mut self, event: &WindowEvent) {
        let [paths, before] = &mut self.paths;
        let word = usize::try_from(event.path >> 5 & 3).unwrap_or(0);
        if let (Some(word), Some(before)) = (paths.get_mut(word), before.get(word)) {
            let bit = 1_u32 << (event.path & 31);
            self.path_bits = self.path_bits.saturating_add(u8::from((*word | before) & bit == 0));
            *word |= bit;
        }
        let set = |generations: &mut [u16; 2], bits: &mut u8, hash: u64| {
            let [now, before] = generations;
            let bit = 1_u16 << (hash & 15);
            *bits = bits.saturating_add(u8::from((*now | *before) & bit == 0));
            *now |= bit;
        };
        set(&mut self.hosts, &mut self.host_bits, event.host);
        set(&mut self.agents, &mut self.agent_bits, event.agent);
    }

    /// What it adds up to now.
    #[inline]
    pub fn totals(&mut self, now: Moment, shape: &WindowShape) -> Totals {
        self.advance(shape.epoch(now));
        let events = self.methods.iter().map(|count| u32::from(*count)).sum::<u32>();
        Totals {
            requests: self.request_sum.into(),
            errors: self.error_sum.into(),
            most: self.requests.iter().copied().max().map_or(0, u32::from),
            per_second: shape.per_second,
            inverse_requests: inverse(self.request_sum.into()),
            events,
            inverse: inverse(events),
            methods: self.methods,
            paths: different(&DIFFERENT_128, self.path_bits),
            hosts: different(&DIFFERENT_16, self.host_bits),
            agents: different(&DIFFERENT_16, self.agent_bits),
            cookies: self.cookies.into(),
            referers: self.referers.into(),
            languages: self.languages.into(),
            suspicious: self.suspicious.into(),
            duration_ms: self.duration_ms,
            content_64: self.content_64,
        }
    }

    /// The features now.
    #[inline]
    pub fn features(&mut self, now: Moment, shape: &WindowShape) -> [u32; ddos::COUNT] {
        ddos::read(&self.totals(now, shape))
    }

    fn bucket(&self) -> usize {
        usize::try_from(self.epoch).unwrap_or(0) % BUCKETS
    }

    /// Empties the buckets between then and now.
    fn advance(&mut self, epoch: u32) {
        if epoch.saturating_add(1) < self.epoch {
            // Buckets have become longer by a reload, or the clock is another: what was counted means nothing any
            // more. One bucket back is only a thread that looked at the clock a moment earlier.
            *self = Self { epoch, ..Self::default() };
        }
        let passed = epoch.saturating_sub(self.epoch);
        if passed == 0 {
            return;
        }
        let buckets = u32::try_from(BUCKETS).unwrap_or(u32::MAX);
        let windows = epoch / buckets - self.epoch / buckets;
        for step in 1..=passed.min(buckets) {
            let bucket = usize::try_from(self.epoch.wrapping_add(step)).unwrap_or(0) % BUCKETS;
            if let (Some(requests), Some(errors)) =
                (self.requests.get_mut(bucket), self.errors.get_mut(bucket))
            {
                self.request_sum = self.request_sum.saturating_sub(*requests);
                self.error_sum = self.error_sum.saturating_sub(*errors);
                (*requests, *errors) = (0, 0);
            }
        }
        self.epoch = epoch;
        if windows > 0 {
            self.begin_window(windows);
        }
    }

    fn begin_window(&mut self, windows: u32) {
        let halve = |count: &mut u16| *count = count.checked_shr(windows).unwrap_or(0);
        self.methods.iter_mut().for_each(halve);
        for count in [&mut self.cookies, &mut self.referers, &mut self.languages, &mut self.suspicious] {
            halve(count);
        }
        for sum in [&mut self.duration_ms, &mut self.content_64] {
            *sum = sum.checked_shr(windows).unwrap_or(0);
        }
        let is_next = windows == 1;
        self.paths = [[0; 4], if is_next { self.paths[0] } else { [0; 4] }];
        self.hosts = [0, if is_next { self.hosts[0] } else { 0 }];
        self.agents = [0, if is_next { self.agents[0] } else { 0 }];
        let ones = |word: u32| u8::try_from(word.count_ones()).unwrap_or(u8::MAX);
        let [_, paths] = self.paths;
        self.path_bits = paths.iter().map(|word| ones(*word)).sum();
        self.host_bits = ones(self.hosts[1].into());
        self.agent_bits = ones(self.agents[1].into());
    }

    /// Takes requests out of the oldest buckets, and the errors that were among them.
    fn forget_oldest(&mut self, capacity: u32) {
        let mut surplus = u32::from(self.request_sum).saturating_sub(capacity);
        for step in 1..=BUCKETS {
            let bucket = (self.bucket() + step) % BUCKETS;
            let (Some(requests), Some(errors)) = (self.requests.get_mut(bucket), self.errors.get_mut(bucket))
            else {
                return;
            };
            if *requests == 0 {
                continue;
            }
            let taken = u16::try_from(surplus).unwrap_or(u16::MAX).min(*requests);
            *requests -= taken;
            self.request_sum -= taken;
            let kept = (*errors).min(*requests);
            self.error_sum = self.error_sum.saturating_sub(*errors - kept);
            *errors = kept;
            surplus -= u32::from(taken);
            if surplus == 0 {
                return;
            }
        }
    }
}

/// Hashes of what windows count; one key for all, so that both generations mean the same bit.
#[derive(Clone, Copy, Debug)]
pub struct EventHash(HashKey);

impl EventHash {
    /// With this key.
    pub const fn new(key: HashKey) -> Self {
        Self(key)
    }

    /// Of a canonical path.
    pub fn path(&self, path: &[u8]) -> u64 {
        self.0.bytes(0, path)
    }

    /// Of a host.
    pub fn host(&self, host: &str) -> u64 {
        self.0.bytes(1, host.as_bytes())
    }

    /// Of a user agent.
    pub fn agent(&self, agent: &str) -> u64 {
        self.0.bytes(2, agent.as_bytes())
    }
}

/// 2^32 / count, within a 2^32nd of itself, by a division of 32 bits: twice as quick as one of 64. 0 for 0.
fn inverse(count: u32) -> u64 {
    u32::MAX.checked_div(count).map_or(0, |quotient| u64::from(quotient) + 1)
}

fn bump(count: Option<&mut u16>, by: u16) {
    if let Some(count) = count {
        *count = count.saturating_add(by);
    }
}

fn different(table: &[u16], bits: u8) -> u32 {
    table.get(usize::from(bits)).copied().map_or(0, u32::from)
}

/// Linear counting (Whang et al. 1990): of 128 bits so many set mean so many different values; the last
/// entry stands for "more than can be told". Tests compute both tables again.
const DIFFERENT_128: [u16; 129] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19, 21, 22, 23, 24, 25, 27, 28, 29, 30, 32,
    33, 34, 35, 37, 38, 40, 41, 42, 44, 45, 47, 48, 49, 51, 52, 54, 55, 57, 59, 60, 62, 63, 65, 67, 68, 70,
    72, 74, 75, 77, 79, 81, 83, 85, 87, 89, 91, 93, 95, 97, 99, 101, 104, 106, 108, 110, 113, 115, 118, 120,
    123, 126, 128, 131, 134, 137, 140, 143, 146, 149, 152, 155, 159, 162, 166, 170, 174, 177, 182, 186, 190,
    195, 199, 204, 209, 214, 220, 225, 231, 238, 244, 251, 258, 266, 274, 283, 293, 303, 314, 326, 340, 355,
    372, 392, 415, 444, 480, 532, 621, 710,
];

const DIFFERENT_16: [u16; 17] = [0, 1, 2, 3, 5, 6, 8, 9, 11, 13, 16, 19, 22, 27, 33, 44, 55];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::from_secs(secs)
    }

    fn event(path: u64) -> WindowEvent {
        WindowEvent { path, cost: FULL_COST, ..WindowEvent::default() }
    }

    #[test]
    fn the_tables_are_the_formula_s() {
        for (bits, table) in [(128.0, &DIFFERENT_128[..]), (16.0, &DIFFERENT_16[..])] {
            for (index, entry) in (0_u16..).zip(table) {
                let empty = bits - f64::from(index);
                let want = if empty > 0.0 { -bits * (empty / bits).ln() } else { bits * (2.0 * bits).ln() };
                assert!((f64::from(*entry) - want).abs() <= 0.5, "{index} of {bits}");
            }
        }
    }

    #[test]
    fn the_fourteen_features_say_what_the_requests_were() {
        let shape = WindowShape::new(60, 1000);
        let hash = EventHash::new(HashKey::fixed(2));
        let mut window = Window::default();
        for number in 0..40_u32 {
            let event = WindowEvent {
                path: hash.path(&(number % 10).to_le_bytes()),
                host: hash.host(if number % 2 == 0 { "a.example" } else { "b.example" }),
                agent: hash.agent("curl"),
                method: u8::from(number % 4 == 0),
                is_error: number % 5 == 0,
                has_cookies: number % 2 == 0,
                has_referer: false,
                has_language: true,
                is_suspicious: number < 10,
                duration_ms: 30,
                content_length: 640,
                cost: FULL_COST,
            };
            window.add(&event, at(600 + u64::from(number / 20)), &shape);
        }
        let features = window.features(at(601), &shape);
        let named: Vec<(&str, u32)> = ddos::TABLE.iter().map(|row| row.name).zip(features).collect();
        let of = |name: &str| named.iter().find(|(known, _)| *known == name).unwrap().1;
        let about = |name: &str, want: u32, by: u32| assert!(of(name).abs_diff(want) <= by, "{named:?}");
        about("request_rate", 66, 1);
        about("unique_paths", 10, 1);
        about("unique_hosts", 2, 0);
        about("error_rate", 200, 0);
        about("mean_duration", 30, 1);
        about("method_entropy", 811, 5);
        about("burst_score", 1200, 0);
        about("path_repetition", 750, 25);
        about("mean_content_length", 640, 64);
        about("unique_user_agents", 1, 0);
        about("cookie_ratio", 500, 1);
        about("referer_ratio", 0, 0);
        about("accept_language_ratio", 1000, 1);
        about("suspicious_path_ratio", 250, 1);
    }

    #[test]
    fn a_full_window_forgets_the_oldest_and_a_silent_one_everything() {
        let shape = WindowShape::new(60, 100);
        let mut window = Window::default();
        for number in 0..150_u64 {
            window.add(
                &WindowEvent { is_error: number < 50, ..event(number) },
                at(1000 + number / 10),
                &shape,
            );
        }
        let totals = window.totals(at(1015), &shape);
        assert_eq!(totals.requests, 100);
        assert!(totals.errors <= 50 && totals.paths > 60, "{totals:?}");
        let later = window.totals(at(1000 + 200), &shape);
        assert_eq!((later.requests, later.errors, later.paths), (0, 0, 0));
        // A look at the clock a moment earlier counts as now; another clock begins anew.
        window.add(&event(1), at(1205), &shape);
        window.add(&event(1), at(1201), &shape);
        assert_eq!(window.totals(at(1205), &shape).requests, 2);
        window.add(&event(1), at(3), &shape);
        assert_eq!(window.totals(at(7), &shape).requests, 1);
        // A reload that makes the window ten times as long, and one that makes it short again.
        let long = WindowShape::new(600, 100);
        for shape in [&shape, &long, &shape] {
            let mut window = window;
            (0..30).for_each(|number| window.add(&event(number), at(5000), shape));
            assert_eq!(window.totals(at(5001), shape).requests, 30);
            assert_eq!(window.totals(at(5700), shape).requests, 0);
        }
    }

    #[test]
    fn cheap_requests_count_by_their_cost() {
        let shape = WindowShape::new(60, 1000);
        let mut window = Window::default();
        for number in 0..95_u64 {
            window.add(&WindowEvent { cost: 10, ..event(number) }, at(100), &shape);
        }
        assert_eq!(window.totals(at(100), &shape).requests, 9);
    }

    proptest! {
        /// Against a list of everything that happened.
        #[test]
        fn requests_and_errors_are_exact_to_a_twelfth_of_the_window(
            steps in proptest::collection::vec((0_u64..9_000_000, any::<bool>(), 0_u64..50), 1..400),
            window_secs in 1_u32..120,
        ) {
            let shape = WindowShape::new(window_secs, u16::MAX);
            let (mut window, mut now, mut all) = (Window::default(), 5_000_000_000_u64, Vec::new());
            for (step, is_error, path) in steps {
                now += step;
                let moment = Moment::from_micros(now);
                let hashed = HashKey::fixed(9).number(0, path.into());
                window.add(&WindowEvent { is_error, ..event(hashed) }, moment, &shape);
                all.push((now, is_error, path));
                let totals = window.totals(moment, &shape);
                let count = |from: u64, errors: bool| {
                    let some = all.iter().filter(|(at, is_error, _)| *at >= from && (!errors || *is_error));
                    u32::try_from(some.count()).unwrap()
                };
                let (long, short) = (now - now.min(u64::from(window_secs) * 1_000_000), now - now.min(u64::from(window_secs) * 1_000_000 * 11 / 12));
                prop_assert!(totals.requests <= count(long, false) && totals.requests >= count(short + 1, false));
                prop_assert!(totals.errors <= count(long, true) && totals.errors >= count(short + 1, true));
                let paths: HashSet<u64> = all.iter().filter(|(at, ..)| *at > short).map(|(.., path)| *path).collect();
                prop_assert!(u64::from(totals.paths) * 2 + 3 >= paths.len() as u64);
            }
        }
    }
}
