// SPDX-License-Identifier: Apache-2.0
//! A configuration made ready to judge by.

use sunbeam_ensemble::threshold_logit;
use sunbeam_features::{FULL_COST, WindowShape};
use sunbeam_rate_limit::{RateLimitSection, RouteLimit, RouteLimitSection};
use sunbeam_reputation::{BanRules, Bots, BotsSection};
use sunbeam_tables::HashKey;
use sunbeam_traffic::{Layer, LayerMode};

use crate::config::{DdosSection, DetectionSection, ProtectSection, ScannerSection};
use crate::exceptions::Exceptions;
use crate::mode::{Modes, Protection, Switch};
use crate::models::Models;
use crate::waf::{WafRules, WafSection};

/// Of names that are no secret.
const KEY: HashKey = HashKey::fixed(0x0007_0075);

/// What one route says about judging.
#[derive(Clone, Copy, Debug)]
pub struct RouteRules<'a> {
    /// Its configured name: a host, or its first label alone, whatever follows.
    pub name: &'a str,
    /// Overrides.
    pub protect: &'a ProtectSection,
    /// Limits of its own.
    pub rate_limits: &'a [RouteLimitSection],
}

/// The sections that judging reads.
#[derive(Clone, Copy, Debug)]
pub struct Sections<'a> {
    /// Of all layers.
    pub detection: &'a DetectionSection,
    /// What clients have been doing.
    pub ddos: &'a DdosSection,
    /// What a request looks like.
    pub scanner: &'a ScannerSection,
    /// How much an identity may ask for.
    pub rate_limit: &'a RateLimitSection,
    /// Crawlers.
    pub bots: &'a BotsSection,
    /// What rules find.
    pub waf: &'a WafSection,
}

/// See the module.
#[derive(Debug)]
pub struct Rules {
    pub(crate) shape: WindowShape,
    pub(crate) min_events: u32,
    pub(crate) error_threshold: u32,
    pub(crate) request_threshold: u32,
    pub(crate) cheap_cost: u8,
    /// From which on a client is doubtful, in 1/256 of a logit.
    pub(crate) ddos_threshold: i32,
    /// From which on a request is doubtful, in 1/256 of a logit.
    pub(crate) scanner_threshold: i32,
    pub(crate) models: Models,
    /// Doubts of a proven layer about whom this hash is below are watched all the same.
    pub(crate) explore_below: u64,
    /// The share of people who may be hurt.
    pub false_positive_budget: f64,
    pub(crate) waf: WafRules,
    pub(crate) bans: BanRules,
    pub(crate) limits: sunbeam_rate_limit::Rules,
    pub(crate) session_cookies: Vec<String>,
    login_cookies: Vec<String>,
    /// Proxies in front are declared: then nobody else is taken for one.
    pub has_declared_proxies: bool,
    /// Bits of an IPv6 client's prefix.
    pub ipv6_prefix: u8,
    /// Crawlers.
    pub bots: Bots,
    /// For how long a proof holds.
    pub bot_ttl_secs: u64,
    /// For how long an identity is remembered.
    pub stale_after_secs: u64,
    /// How often the forgotten are swept out.
    pub eviction_interval_secs: u64,
    /// What is not held against requests.
    pub exceptions: Exceptions,
    /// Names each route over reloads.
    route_keys: Vec<u64>,
    /// Whether each route answers by a host's first label, whatever follows.
    by_label: Vec<bool>,
    /// Of each route.
    modes: Vec<Modes>,
    elsewhere: Modes,
}

/// Of all hashes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "between 0 and 1; the product stays within the type, or at its end"
)]
fn share(of: f64) -> u64 {
    (of.clamp(0.0, 1.0) * u64::MAX as f64) as u64
}

impl Rules {
    /// From the sections; `routes` in the order of the table.
    pub fn new(sections: &Sections<'_>, routes: &[RouteRules<'_>], models: Models) -> Self {
        let Sections { detection, ddos, scanner, rate_limit, bots, waf } = *sections;
        let protection = Protection { detection, ddos, scanner, is_rate_limited: rate_limit.enabled, waf };
        let limits = |route: &RouteRules<'_>| {
            route.rate_limits.iter().filter_map(|limit| RouteLimit::new(route.name, limit)).collect()
        };
        let limits = routes.iter().map(limits).collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 100")]
        let cheap_cost = (rate_limit.static_cost.clamp(0.0, 1.0) * f64::from(FULL_COST)).round() as u8;
        Self {
            shape: WindowShape::new(ddos.window_secs, ddos.window_capacity),
            min_events: ddos.min_events.into(),
            error_threshold: ddos.error_threshold.into(),
            request_threshold: ddos.request_threshold.into(),
            cheap_cost,
            ddos_threshold: threshold_logit(ddos.threshold),
            scanner_threshold: threshold_logit(scanner.threshold),
            models,
            explore_below: share(detection.explore),
            false_positive_budget: detection.false_positive_budget,
            waf: WafRules::from(waf),
            bans: BanRules {
                secs: ddos.block_secs,
                escalation: ddos.escalation,
                max_secs: ddos.max_block_secs,
            },
            limits: sunbeam_rate_limit::Rules::new(rate_limit, ddos.window_secs, limits),
            session_cookies: rate_limit.session_cookies.clone(),
            login_cookies: rate_limit.login_cookies.clone(),
            has_declared_proxies: false,
            ipv6_prefix: ddos.ipv6_prefix,
            bots: Bots::new(bots, &scanner.allowlist),
            bot_ttl_secs: scanner.bot_cache_ttl_secs,
            stale_after_secs: rate_limit.stale_after_secs,
            eviction_interval_secs: rate_limit.eviction_interval_secs,
            exceptions: Exceptions::default(),
            route_keys: routes.iter().map(|route| KEY.bytes(0, route.name.as_bytes())).collect(),
            by_label: routes.iter().map(|route| route.name != "*" && !route.name.contains('.')).collect(),
            modes: routes.iter().map(|route| Modes::new(&protection, route.protect)).collect(),
            elsewhere: Modes::new(&protection, &ProtectSection::default()),
        }
    }

    /// The models.
    pub const fn models(&self) -> &Models {
        &self.models
    }

    /// With what operators said meanwhile.
    pub fn switch(&mut self, switches: &[Switch]) {
        // A route's own word counts before the one for all.
        let (of_all, of_one): (Vec<_>, Vec<_>) = switches.iter().partition(|switch| switch.route.is_none());
        for Switch { layer, mode, .. } in of_all {
            for modes in self.modes.iter_mut().chain([&mut self.elsewhere]) {
                modes.switch(*layer, *mode);
            }
        }
        for Switch { layer, route, mode } in of_one {
            let key = KEY.bytes(0, route.as_deref().unwrap_or_default().as_bytes());
            for (_, modes) in self.route_keys.iter().zip(&mut self.modes).filter(|(known, _)| **known == key)
            {
                modes.switch(*layer, *mode);
            }
        }
    }

    /// What names a route in what is remembered: its place may be another's after a reload.
    pub fn route_key(&self, route: usize) -> u64 {
        self.route_keys.get(route).copied().unwrap_or(0)
    }

    /// Whether a route answers by a host's first label, so that a client chooses what follows.
    pub fn is_by_label(&self, route: usize) -> bool {
        self.by_label.get(route).copied().unwrap_or(false)
    }

    /// The place of a route that is remembered; none if it is gone.
    pub fn route_of(&self, key: u64) -> Option<usize> {
        self.route_keys.iter().position(|known| *known == key)
    }

    /// What a layer may do on a route.
    pub fn mode(&self, route: usize, layer: Layer) -> LayerMode {
        self.modes.get(route).unwrap_or(&self.elsewhere).of(layer)
    }

    /// Whether a layer is asked anywhere.
    pub fn is_asked(&self, layer: Layer) -> bool {
        let mut modes = self.modes.iter().chain([&self.elsewhere]);
        modes.any(|modes| modes.of(layer) != LayerMode::Off)
    }

    /// The names of a route's limits that a request has to keep, by its canonical path.
    pub fn route_limits(&self, route: usize, method: &str, path: &[u8]) -> Vec<&str> {
        self.limits.route_limits(route, method, path)
    }

    /// The places of a route's limits that have these names.
    pub fn route_limit_places(&self, route: usize, names: &[String]) -> u8 {
        self.limits.route_places(route, names)
    }

    /// Those of the session cookies that the site sets at a log-in.
    pub fn login_cookies(&self) -> &[String] {
        &self.login_cookies
    }

    /// Session cookies, by name.
    pub fn session_cookies(&self) -> &[String] {
        &self.session_cookies
    }
}
