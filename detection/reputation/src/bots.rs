// SPDX-License-Identifier: Apache-2.0
//! Which crawler a user agent names, and what its category may do.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ipnet::IpNet;
use sunbeam_config::choice;
use sunbeam_tables::PrefixMap;

use crate::config::{AllowlistSection, BotsSection};
use crate::crawlers::CRAWLERS;
use crate::proofs::Proof;

choice! {
    /// What crawlers of a category may do.
    pub enum BotPolicy {
        /// Everything, once proved.
        Allow = "allow",
        /// One request in `crawl_delay_secs`.
        Limit = "limit",
        /// Nothing but robots.txt.
        Deny = "deny",
    }
}

/// What a crawler is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BotCategory {
    /// A search engine.
    Search,
    /// Search by an AI service.
    AiSearch,
    /// Collects training data.
    AiTraining,
    /// Fetches what a person asked an AI service for.
    AiUser,
    /// Checks whether a site is up.
    Monitoring,
    /// One that the operator named.
    Other,
}

impl BotCategory {
    /// `ai_search`
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::AiSearch => "ai_search",
            Self::AiTraining => "ai_training",
            Self::AiUser => "ai_user",
            Self::Monitoring => "monitoring",
            Self::Other => "other",
        }
    }
}

/// A crawler and what proves it.
#[derive(Debug)]
pub struct Bot {
    /// How it calls itself.
    pub token: String,
    /// Whose it is, or why it is listed.
    pub reason: String,
    /// What it is for.
    pub category: BotCategory,
    /// What it may do.
    pub policy: BotPolicy,
    /// Of its reverse DNS names, shared with the questions about it.
    pub dns_suffixes: Arc<[String]>,
    /// Its ranges as configured.
    pub cidrs: Vec<IpNet>,
    /// The operator named it.
    pub is_configured: bool,
    /// Requests that named it since the configuration was loaded.
    pub seen: Seen,
    ranges: PrefixMap<()>,
}

/// Counts by what was known of who asked: nothing, verified, refuted.
#[derive(Debug, Default)]
pub struct Seen([AtomicU64; 3]);

impl Seen {
    /// Counts a request.
    pub fn count(&self, proof: Proof) {
        let index = match proof {
            Proof::Unknown => 0,
            Proof::Verified => 1,
            Proof::Refuted => 2,
        };
        if let Some(count) = self.0.get(index) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Unknown, verified, refuted.
    pub fn read(&self) -> [u64; 3] {
        self.0.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

impl Bot {
    /// Whether its ranges hold the address.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.ranges.find(address).is_some()
    }

    /// Whether nothing but its user agent could prove it, and the operator wants that believed.
    pub fn is_believed(&self) -> bool {
        self.is_configured && self.dns_suffixes.is_empty() && self.cidrs.is_empty()
    }
}

/// What a user agent names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Whatever the caller worked out for the agent, in four bits.
    pub class: u8,
    /// The crawler's place.
    pub bot: Option<u16>,
}

/// All crawlers of a configuration.
#[derive(Debug)]
pub struct Bots {
    bots: Vec<Bot>,
    /// Seconds between two requests of a limited one.
    pub crawl_delay_secs: u32,
    /// What agents name: 44 bits of an agent's hash, then what was found. Lost entries are found again.
    known: Box<[AtomicU64]>,
}

/// Agents that are remembered; a site meets some hundreds.
const KNOWN: usize = 4096;

/// Words of a user agent that are looked at.
const WORDS_MAX: usize = 64;

/// Bytes of a user agent that are looked through.
const AGENT_BYTES_MAX: usize = 512;

impl Bots {
    /// Those of the operator first, then those that are built in and not replaced.
    pub fn new(section: &BotsSection, allowlist: &[AllowlistSection]) -> Self {
        let policy = |category| match category {
            BotCategory::Search => section.search,
            BotCategory::AiSearch => section.ai_search,
            BotCategory::AiTraining => section.ai_training,
            BotCategory::AiUser => section.ai_user,
            BotCategory::Monitoring => section.monitoring,
            BotCategory::Other => BotPolicy::Allow,
        };
        let mut bots: Vec<Bot> = allowlist.iter().map(|entry| configured(entry, &policy)).collect();
        for crawler in CRAWLERS {
            if !allowlist.iter().any(|entry| entry.ua_prefix.eq_ignore_ascii_case(crawler.token)) {
                let cidrs: Vec<IpNet> = crawler.cidrs.iter().filter_map(|cidr| cidr.parse().ok()).collect();
                bots.push(Bot {
                    token: crawler.token.to_owned(),
                    reason: crawler.operator.to_owned(),
                    category: crawler.category,
                    policy: policy(crawler.category),
                    dns_suffixes: crawler.dns_suffixes.iter().map(|suffix| (*suffix).to_owned()).collect(),
                    ranges: PrefixMap::new(cidrs.iter().map(|cidr| (*cidr, ()))),
                    cidrs,
                    is_configured: false,
                    seen: Seen::default(),
                });
            }
        }
        Self {
            bots,
            crawl_delay_secs: section.crawl_delay_secs,
            known: (0..KNOWN).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Every crawler, in the order in which they are looked for.
    pub fn all(&self) -> &[Bot] {
        &self.bots
    }

    /// One of them.
    pub fn get(&self, index: u16) -> Option<&Bot> {
        self.bots.get(usize::from(index))
    }

    /// What a user agent names; remembered by its (keyed) hash, with the four bits that `class` works out.
    pub fn named(&self, hash: u64, agent: &str, class: impl FnOnce() -> u8) -> Named {
        const FOUND_BITS: u32 = 20;
        const FOUND: u64 = (1 << FOUND_BITS) - 1;
        let hash = hash | 1 << 63;
        let place = usize::try_from(hash & (KNOWN as u64 - 1)).unwrap_or(0);
        let Some(place) = self.known.get(place) else { return Named::default() };
        let known = place.load(Ordering::Relaxed);
        if known >> FOUND_BITS == hash >> FOUND_BITS {
            return unpack(known & FOUND);
        }
        let named = Named { class: class() & 15, bot: self.find(agent) };
        place.store((hash >> FOUND_BITS) << FOUND_BITS | pack(named), Ordering::Relaxed);
        named
    }

    fn find(&self, agent: &str) -> Option<u16> {
        let agent = agent.as_bytes().get(..AGENT_BYTES_MAX).unwrap_or(agent.as_bytes());
        // The beginnings of words once, and each crawler at those: an agent that nobody has sent before must be cheap.
        let is_start = |at: &usize| {
            at.checked_sub(1)
                .and_then(|before| agent.get(before))
                .is_none_or(|byte| !byte.is_ascii_alphanumeric())
        };
        let starts: Vec<usize> = (0..agent.len()).filter(is_start).take(WORDS_MAX).collect();
        let is_named = |bot: &Bot| {
            starts.iter().any(|at| begins(agent.get(*at..).unwrap_or_default(), bot.token.as_bytes()))
        };
        let index = self.bots.iter().position(is_named)?;
        u16::try_from(index).ok()
    }

    /// A robots.txt that says what the policies do.
    pub fn robots_txt(&self) -> String {
        let mut text = String::from("# What crawlers of each kind may do here.\n");
        for (policy, rule) in [
            (BotPolicy::Deny, "Disallow: /".to_owned()),
            (BotPolicy::Limit, format!("Crawl-delay: {}\nAllow: /", self.crawl_delay_secs)),
        ] {
            let some: Vec<&Bot> = self.bots.iter().filter(|bot| bot.policy == policy).collect();
            for bot in &some {
                text.push_str("User-agent: ");
                text.push_str(&bot.token);
                text.push('\n');
            }
            if !some.is_empty() {
                text.push_str(&rule);
                text.push_str("\n\n");
            }
        }
        text.push_str("User-agent: *\nAllow: /\n");
        text
    }
}

fn configured(entry: &AllowlistSection, policy: &dyn Fn(BotCategory) -> BotPolicy) -> Bot {
    let known = CRAWLERS.iter().find(|crawler| crawler.token.eq_ignore_ascii_case(&entry.ua_prefix));
    let category = known.map_or(BotCategory::Other, |crawler| crawler.category);
    let cidrs: Vec<IpNet> = entry.cidrs.iter().map(|cidr| cidr.0).collect();
    Bot {
        token: entry.ua_prefix.clone(),
        reason: entry.reason.clone(),
        category,
        policy: policy(category),
        dns_suffixes: entry.dns_suffixes.iter().cloned().collect(),
        ranges: PrefixMap::new(cidrs.iter().map(|cidr| (*cidr, ()))),
        cidrs,
        is_configured: true,
        seen: Seen::default(),
    }
}

/// Case does not count.
fn begins(text: &[u8], token: &[u8]) -> bool {
    !token.is_empty() && text.get(..token.len()).is_some_and(|start| start.eq_ignore_ascii_case(token))
}

fn pack(named: Named) -> u64 {
    u64::from(named.class) << 16 | named.bot.map_or(0, |bot| u64::from(bot) + 1)
}

fn unpack(found: u64) -> Named {
    let bot = u16::try_from(found & 0xffff).unwrap_or(0);
    Named { class: u8::try_from(found >> 16 & 15).unwrap_or(0), bot: bot.checked_sub(1) }
}

#[cfg(test)]
mod tests {
    use sunbeam_tables::HashKey;

    use super::*;

    #[test]
    fn crawlers_are_found_by_the_beginning_of_a_word() {
        let bots = Bots::new(&BotsSection::default(), &[]);
        let named = |agent: &str| {
            let hash = HashKey::fixed(1).bytes(0, agent.as_bytes());
            let first = bots.named(hash, agent, || 3);
            assert_eq!(first, bots.named(hash, agent, || 9), "remembered");
            first.bot.and_then(|bot| bots.get(bot)).map(|bot| bot.token.clone())
        };
        for (agent, want) in [
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", Some("Googlebot")),
            ("googlebot", Some("Googlebot")),
            ("notgooglebot/1.0", None),
            ("Mozilla/5.0 (compatible; bingbot/2.0)", Some("bingbot")),
            (
                "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ClaudeBot/1.0",
                Some("ClaudeBot"),
            ),
            ("Mozilla/5.0 (compatible; Claude-User/1.0)", Some("Claude-User")),
            ("Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0", None),
            ("", None),
        ] {
            assert_eq!(named(agent).as_deref(), want, "{agent}");
        }
        assert_eq!(bots.named(5, "curl/8", || 7).class, 7);
    }

    #[test]
    fn the_operator_s_word_replaces_what_is_built_in() {
        let entry = AllowlistSection {
            ua_prefix: "googlebot".into(),
            reason: "mine".into(),
            cidrs: vec!["192.0.2.0/24".parse().unwrap()],
            ..AllowlistSection::default()
        };
        let section =
            BotsSection { search: BotPolicy::Limit, ai_training: BotPolicy::Deny, ..BotsSection::default() };
        let bots = Bots::new(&section, &[entry]);
        let google: Vec<&Bot> =
            bots.all().iter().filter(|bot| bot.token.eq_ignore_ascii_case("googlebot")).collect();
        assert_eq!(google.len(), 1);
        assert_eq!((google[0].policy, google[0].category), (BotPolicy::Limit, BotCategory::Search));
        assert!(
            google[0].holds("192.0.2.7".parse().unwrap()) && !google[0].holds("66.249.64.1".parse().unwrap())
        );
        let robots = bots.robots_txt();
        assert!(
            robots.contains("User-agent: GPTBot\n")
                && robots.contains("Disallow: /\n\nUser-agent: googlebot\n")
        );
        assert!(
            robots.contains("Crawl-delay: 10\nAllow: /\n") && robots.ends_with("User-agent: *\nAllow: /\n")
        );
    }

    #[test]
    fn every_range_that_is_built_in_is_one() {
        for crawler in CRAWLERS {
            assert!(crawler.cidrs.iter().all(|cidr| cidr.parse::<IpNet>().is_ok()), "{}", crawler.token);
        }
    }
}
