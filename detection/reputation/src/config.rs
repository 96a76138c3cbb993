// SPDX-License-Identifier: Apache-2.0
//! `[lists]`, `[bots]` and `[[scanner.allowlist]]`.

use std::net::SocketAddr;

use sunbeam_config::{Cidr, FromItem, Item, Reader, Show, ShownValue, section};

use crate::bots::BotPolicy;

section! {
    /// Block and allow lists. What commands and the API add is kept in `[state]`.
    pub struct ListsSection {
        /// Address ranges that are refused (403).
        block: Vec<Cidr> = Vec::new(),
        /// Address ranges that no layer judges; stronger than any block.
        allow: Vec<Cidr> = Vec::new(),
    }
    later { feeds, geoip_path, asn_path, block_countries, block_asns }
}

section! {
    /// By category of crawler: allow | limit (one request in crawl_delay_secs) | deny. Restrictions hold for
    /// whoever says it is such a crawler, freedoms for those who proved it.
    pub struct BotsSection {
        /// Search engines.
        search: BotPolicy = BotPolicy::Allow,
        /// Search by AI services.
        ai_search: BotPolicy = BotPolicy::Allow,
        /// Collectors of training data.
        ai_training: BotPolicy = BotPolicy::Limit,
        /// AI services that fetch a page because a person asked.
        ai_user: BotPolicy = BotPolicy::Allow,
        /// Uptime checks.
        monitoring: BotPolicy = BotPolicy::Allow,
        /// Seconds between two requests of a limited crawler.
        crawl_delay_secs: u32 = 10 => 1..=86_400,
        /// Serve a robots.txt that says the same, where the backend has none.
        robots_txt: bool = false,
        /// DNS servers that are asked whether a crawler is who it says, `192.0.2.53:53`; [] = the system's.
        resolvers: Vec<ResolverAddress> = Vec::new(),
    }
}

section! {
    /// A crawler, besides those that are built in (`sunbeam bots`); one with the same `ua_prefix` replaces it.
    pub struct AllowlistSection {
        /// How it calls itself: the beginning of the user agent or of a word in it.
        ua_prefix: String = String::new(),
        /// Shown in logs and by `sunbeam bots`.
        reason: String = String::new(),
        /// Reverse DNS must end in one of these, and forward DNS must give the address back.
        dns_suffixes: Vec<String> = Vec::new(),
        /// Or the address lies in one of these. Neither given: the user agent alone is believed (warned).
        cidrs: Vec<Cidr> = Vec::new(),
    }
}

/// `192.0.2.53:53`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolverAddress(pub SocketAddr);

impl FromItem for ResolverAddress {
    const EXPECTS: &'static str = "an address with a port";

    fn from_item(item: &Item, path: &str, reader: &mut Reader) -> Option<Self> {
        let text = String::from_item(item, path, reader)?;
        match text.parse() {
            Ok(address) => Some(Self(address)),
            Err(_) => {
                reader.wrong_value(item, path, format!("`{text}` is not an address like `192.0.2.53:53`"));
                None
            }
        }
    }
}

impl Show for ResolverAddress {
    fn show(&self) -> ShownValue {
        ShownValue::String(self.0.to_string())
    }
}
