// SPDX-License-Identifier: Apache-2.0
//! `[rate_limit]` and a route's `[[rate_limits]]`.

use sunbeam_config::{Cidr, section};

section! {
    /// How much each identity may ask for.
    pub struct RateLimitSection {
        /// false: no limits at all.
        enabled: bool = true,
        /// Seconds between two sweeps of identities that were not seen for long.
        eviction_interval_secs: u64 = 300 => 1..=86_400,
        /// Seconds after which an identity that was not seen is forgotten, once its bucket is dry.
        stale_after_secs: u64 = 600 => 1..=604_800,
        /// Addresses without limits and without automatic blocks.
        bypass_cidrs: Vec<Cidr> = ["127.0.0.0/8", "::1/128"].iter().filter_map(|cidr| cidr.parse().ok()).collect(),
        /// Cookies that make a session, in the order in which they are looked for.
        session_cookies: Vec<String> = [
            "session", "sessionid", "connect.sid", "PHPSESSID", "JSESSIONID", "ory_kratos_session",
        ].map(String::from).to_vec(),
        /// Those of `session_cookies` that the site gives to nobody but who has logged in: then that it sets one
        /// shows a log-in. A cookie that visitors get, too, does not belong here: whoever has logged in is a person
        /// to `detection.false_positive_budget`, and is not challenged.
        login_cookies: Vec<String> = Vec::new(),
        /// [restart] Identities that have room; past it the least used are forgotten first, counted.
        max_identities: usize = 262_144 => 1_024..=67_108_864,
        /// What a static file or cache hit takes from the bucket (many people may share one address).
        static_cost: f64 = 0.1 => 0.0..=1.0,
        /// Refusals within ddos.window_secs before the identity is blocked for ddos.block_secs,
        /// escalating; 0 = never.
        block_after: u16 = 20,
        /// The whole node together; burst 0 = no bound.
        global: GlobalSection = GlobalSection::default(),
        /// An identity that the site itself has honoured: its backend (or the auth subrequest) set this very
        /// cookie, or answers 2xx to it where it answers 401, 403 or a log-in redirect without. The address
        /// behind it has its own ceiling, ten times `unauthenticated`.
        authenticated: AuthenticatedSection = AuthenticatedSection::default(),
        /// Everybody else, by address.
        unauthenticated: UnauthenticatedSection = UnauthenticatedSection::default(),
    }
    later { cluster }
}

section! {
    /// The bucket of the whole node.
    pub struct GlobalSection {
        /// Requests at once.
        burst: u32 = 0 => 0..=10_000_000,
        /// Requests a second.
        rate: f64 = 0.0 => 0.0..=10_000_000.0,
    }
}

section! {
    /// The bucket of an identity that the site has honoured.
    pub struct AuthenticatedSection {
        /// Requests at once.
        burst: u32 = 200 => 0..=10_000_000,
        /// Requests a second.
        rate: f64 = 50.0 => 0.0..=10_000_000.0,
    }
}

section! {
    /// The bucket of an address.
    pub struct UnauthenticatedSection {
        /// Requests at once.
        burst: u32 = 50 => 0..=10_000_000,
        /// Requests a second.
        rate: f64 = 10.0 => 0.0..=10_000_000.0,
    }
}

section! {
    /// A limit of one route, besides `[rate_limit]`. The address has ten times of it for all its identities.
    pub struct RouteLimitSection {
        /// Path prefix, by whole segments, after normalising; `/` is the whole route.
        path: String = "/".to_owned(),
        /// Methods that count; empty = all.
        methods: Vec<String> = Vec::new(),
        /// Requests at once.
        burst: u32 = 1 => 1..=10_000_000,
        /// Requests a second.
        rate: f64 = 1.0 => 0.000_001..=10_000_000.0,
    }
}
