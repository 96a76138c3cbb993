// SPDX-License-Identifier: Apache-2.0
//! `[detection]`, `[ddos]`, `[scanner]` and a route's `protect`.

use sunbeam_config::{Reader, choice, section};
use sunbeam_reputation::AllowlistSection;
use sunbeam_traffic::LayerMode;

choice! {
    /// What layers may act on.
    pub enum DetectionMode {
        /// What is certain is blocked; what is doubtful is challenged or watched.
        Auto = "auto",
        /// Both are blocked.
        Enforce = "enforce",
        /// Nothing is.
        Observe = "observe",
    }
}

choice! {
    /// What one layer does on one route.
    pub enum LayerOverride {
        /// It is not asked.
        Off = "off",
        /// It is asked and recorded; nothing comes of it.
        Observe = "observe",
        /// It acts on what is certain.
        Auto = "auto",
        /// It acts on what is doubtful too.
        Enforce = "enforce",
    }
}

impl From<DetectionMode> for LayerMode {
    fn from(mode: DetectionMode) -> Self {
        match mode {
            DetectionMode::Auto => Self::Auto,
            DetectionMode::Enforce => Self::Enforce,
            DetectionMode::Observe => Self::Observe,
        }
    }
}

impl From<LayerOverride> for LayerMode {
    fn from(mode: LayerOverride) -> Self {
        match mode {
            LayerOverride::Off => Self::Off,
            LayerOverride::Observe => Self::Observe,
            LayerOverride::Auto => Self::Auto,
            LayerOverride::Enforce => Self::Enforce,
        }
    }
}

section! {
    /// What all layers have in common.
    pub struct DetectionSection {
        /// auto: what is certain is blocked; what is doubtful is challenged (`[challenge]`) or watched until the site's own
        /// people have proven the layer, then blocked, and watched again when the proof breaks | enforce: both are blocked |
        /// observe: nothing is, but by the lists of `[lists]` and of operators.
        mode: DetectionMode = DetectionMode::Auto,
        /// A PEM file with the Ed25519 key that signs models (`sunbeam model sign`): others are refused, also installed
        /// and tried ones; what is compiled in always passes. "" = signatures are not asked for.
        model_public_key: String = String::new(),
        /// The share of clients about whom doubts of a proven layer are only watched, an hour each: people who are stopped
        /// prove nothing any more. Never of what is certain.
        explore: f64 = 0.0 => 0.0..=1.0,
        /// The share of people (whom the site knows, or who solved a challenge) whom a layer's doubts may hurt: the upper
        /// 95 % bound must stay within it. 0.001 is proven by 2,995 of them without a hit.
        false_positive_budget: f64 = 0.001 => 0.000_01..=0.5,
        /// An HTML file, 64 KiB at most, that browsers get where a layer stops them, read at start and reload. `{request_id}`
        /// in it becomes the request's id, and must be there. JSON and text stay as they are; "" = the built-in page.
        block_page: String = String::new(),
    }
}

choice! {
    /// Whether who is doubtful may clear that on one route.
    pub enum ChallengeOverride {
        /// Nobody is asked: what is doubtful is watched.
        Off = "off",
        /// Browsers are.
        Auto = "auto",
        /// Browsers are, and everybody else who is doubtful is refused.
        Require = "require",
    }
}

section! {
    /// Per-route overrides of `detection.mode`, by layer: off | observe | auto | enforce; "" = as everywhere.
    pub struct ProtectSection {
        /// What an address has been doing.
        ddos: Option<LayerOverride> = None,
        /// What a request looks like, and crawlers.
        scanner: Option<LayerOverride> = None,
        /// Limits.
        rate_limit: Option<LayerOverride> = None,
        /// Rules over the request and its body.
        waf: Option<LayerOverride> = None,
        /// Whether who is doubtful is challenged here: off: is watched | auto: browsers are | require: who is no browser is
        /// refused too (403 with `Sunbeam-Challenge`); "" = as in `[challenge]`.
        challenge: Option<ChallengeOverride> = None,
    }
}

section! {
    /// What clients have been doing.
    pub struct DdosSection {
        /// false: nothing is counted.
        enabled: bool = true,
        /// The model's score, 0 to 1, from which on a client is doubtful; 1 = the model has no say.
        threshold: f64 = 0.6 => 0.01..=1.0,
        /// Seconds that are looked back.
        window_secs: u32 = 60 => 1..=3_600,
        /// Events kept for each client in the window; past it the oldest are forgotten.
        window_capacity: u16 = 1_000 => 10..=65_535,
        /// Events that a client must have in the window before it is judged.
        min_events: u16 = 10 => 1..=65_535,
        /// true: shadow mode whatever detection.mode says: log decisions without blocking.
        observe_only: bool = false,
        /// [restart] The table of clients, fixed at start: about 215,000; forged ones cannot evict real ones.
        memory_bytes: usize = 33_554_432 => 65_536..=68_719_476_736,
        /// An IPv6 client is its prefix of so many bits.
        ipv6_prefix: u8 = 64 => 32..=128,
        /// Client errors of one client in the window, as the site answered them, that make it an attack
        /// (429); 0 = off.
        error_threshold: u16 = 50,
        /// Requests of one client in the window that make it an attack (429); static files count by
        /// rate_limit.static_cost; 0 = off. Who is authenticated is held by his limit instead, all of them
        /// behind one address by ten times this.
        request_threshold: u16 = 1_000,
        /// Seconds for which an attacker stays blocked.
        block_secs: u64 = 300 => 1..=31_536_000,
        /// Each repetition multiplies block_secs, up to max_block_secs.
        escalation: f64 = 2.0 => 1.0..=100.0,
        /// The longest; after so long without another offence the count begins anew.
        max_block_secs: u64 = 86_400 => 1..=31_536_000,
        /// A file made by `learn` or `train-mlp-ddos`, taken over without a restart; "" = the one that
        /// `sunbeam model install` put in place, else the model that is compiled in.
        model: String = String::new(),
    }
}

impl DdosSection {
    /// Reports thresholds that can never be reached.
    pub fn check(&self, reader: &mut Reader) {
        for (key, value) in [
            ("ddos.min_events", self.min_events),
            ("ddos.error_threshold", self.error_threshold),
            ("ddos.request_threshold", self.request_threshold),
        ] {
            if value > self.window_capacity {
                let kept = self.window_capacity;
                let message = format!(
                    "{value} can never be reached: the window keeps {kept} events (`ddos.window_capacity`)"
                );
                reader.error(key, message);
            }
        }
        if self.max_block_secs < self.block_secs {
            reader.error("ddos.max_block_secs", "is less than `ddos.block_secs`");
        }
    }
}

section! {
    /// What a request looks like, and whether crawlers are who they say.
    pub struct ScannerSection {
        /// false: nobody asks.
        enabled: bool = true,
        /// The models' score, 0 to 1, from which on a request is doubtful; 1 = the models have no say.
        threshold: f64 = 0.5 => 0.01..=1.0,
        /// Seconds for which a crawler that was proved counts as proved; one that was refuted a twelfth of it.
        bot_cache_ttl_secs: u64 = 86_400 => 60..=2_592_000,
        /// true: shadow mode whatever detection.mode says.
        observe_only: bool = false,
        /// More crawlers.
        allowlist: Vec<AllowlistSection> = Vec::new(),
        /// A file made by `learn` or `train-mlp-scanner`, taken over without a restart; "" = the one that
        /// `sunbeam model install` put in place, else the models that are compiled in.
        model: String = String::new(),
    }
}

impl ScannerSection {
    /// Reports entries that mean nothing, and those that anybody can claim to be.
    pub fn check(&self, reader: &mut Reader) {
        for (index, entry) in self.allowlist.iter().enumerate() {
            let at = format!("scanner.allowlist[{index}]");
            if entry.ua_prefix.trim().is_empty() {
                reader.error(&format!("{at}.ua_prefix"), "is empty: it would be everybody");
            }
            if entry.dns_suffixes.iter().any(|suffix| suffix.trim_matches('.').is_empty()) {
                reader.error(&format!("{at}.dns_suffixes"), "holds an empty name: every host ends in it");
            }
            if entry.dns_suffixes.is_empty() && entry.cidrs.is_empty() {
                reader.warning(
                    &at,
                    format!(
                        "`{}` is believed by its user agent alone: whoever writes that is let through",
                        entry.ua_prefix
                    ),
                );
            }
        }
    }
}
