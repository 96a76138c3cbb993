// SPDX-License-Identifier: Apache-2.0
//! Crawlers that are known: how they call themselves, what they are for, and how their operators say that they
//! can be told from impostors. Facts of the operators' own pages; where they name only lists of addresses that
//! change by the week, nothing is proved here, and such a crawler has no freedoms.

use crate::bots::BotCategory::{self, AiSearch, AiTraining, AiUser, Monitoring, Search};

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Crawler {
    pub(crate) token: &'static str,
    pub(crate) operator: &'static str,
    pub(crate) category: BotCategory,
    /// Of reverse DNS names.
    pub(crate) dns_suffixes: &'static [&'static str],
    pub(crate) cidrs: &'static [&'static str],
}

const fn crawler(
    token: &'static str,
    operator: &'static str,
    category: BotCategory,
    dns_suffixes: &'static [&'static str],
) -> Crawler {
    Crawler { token, operator, category, dns_suffixes, cidrs: &[] }
}

/// All of them. A longer token before a shorter one that it begins with.
pub(crate) const CRAWLERS: &[Crawler] = &[
    // Search.
    Crawler {
        token: "Googlebot",
        operator: "Google Search",
        category: Search,
        dns_suffixes: &["googlebot.com", "google.com"],
        cidrs: &["66.249.64.0/19", "2001:4860:4801::/48"],
    },
    crawler("Storebot-Google", "Google Shopping", Search, &["googlebot.com", "google.com"]),
    crawler("Google-InspectionTool", "Google Search Console", Search, &["googlebot.com", "google.com"]),
    crawler("AdsBot-Google", "Google Ads", Search, &["googlebot.com", "google.com"]),
    crawler("Mediapartners-Google", "Google AdSense", Search, &["googlebot.com", "google.com"]),
    crawler("bingbot", "Microsoft Bing", Search, &["search.msn.com"]),
    crawler("adidxbot", "Microsoft Advertising", Search, &["search.msn.com"]),
    crawler("BingPreview", "Microsoft Bing", Search, &["search.msn.com"]),
    crawler("DuckDuckBot", "DuckDuckGo", Search, &[]),
    crawler("YandexBot", "Yandex", Search, &["yandex.ru", "yandex.net", "yandex.com"]),
    crawler("YandexImages", "Yandex", Search, &["yandex.ru", "yandex.net", "yandex.com"]),
    crawler("Baiduspider", "Baidu", Search, &["baidu.com", "baidu.jp"]),
    crawler("Applebot", "Apple", Search, &["applebot.apple.com"]),
    crawler("SeznamBot", "Seznam", Search, &["seznam.cz"]),
    crawler("Qwantbot", "Qwant", Search, &["qwant.com"]),
    crawler("MojeekBot", "Mojeek", Search, &["mojeek.com"]),
    crawler("PetalBot", "Petal Search", Search, &["petalsearch.com", "aspiegel.com"]),
    crawler("Yeti", "Naver", Search, &["naver.com"]),
    crawler("Sogou web spider", "Sogou", Search, &["sogou.com"]),
    crawler("Slurp", "Yahoo", Search, &["crawl.yahoo.net"]),
    crawler("coccocbot", "Coc Coc", Search, &["coccoc.com"]),
    // Search by AI services.
    crawler("OAI-SearchBot", "OpenAI", AiSearch, &[]),
    crawler("Claude-SearchBot", "Anthropic", AiSearch, &[]),
    crawler("PerplexityBot", "Perplexity", AiSearch, &[]),
    crawler("YouBot", "You.com", AiSearch, &[]),
    // Training.
    crawler("GPTBot", "OpenAI", AiTraining, &[]),
    crawler("ClaudeBot", "Anthropic", AiTraining, &[]),
    crawler("anthropic-ai", "Anthropic", AiTraining, &[]),
    crawler("CCBot", "Common Crawl", AiTraining, &["crawl.commoncrawl.org"]),
    crawler("Bytespider", "ByteDance", AiTraining, &["bytedance.com"]),
    crawler("Amazonbot", "Amazon", AiTraining, &["crawl.amazonbot.amazon"]),
    crawler("meta-externalagent", "Meta", AiTraining, &[]),
    crawler("GoogleOther", "Google", AiTraining, &["googlebot.com", "google.com"]),
    crawler("Diffbot", "Diffbot", AiTraining, &[]),
    crawler("cohere-ai", "Cohere", AiTraining, &[]),
    crawler("cohere-training-data-crawler", "Cohere", AiTraining, &[]),
    crawler("AI2Bot", "Allen Institute for AI", AiTraining, &[]),
    crawler("ImagesiftBot", "Hive", AiTraining, &[]),
    crawler("omgili", "Webz.io", AiTraining, &[]),
    crawler("Timpibot", "Timpi", AiTraining, &[]),
    // Fetches because a person asked.
    crawler("ChatGPT-User", "OpenAI", AiUser, &[]),
    crawler("Claude-User", "Anthropic", AiUser, &[]),
    crawler("Perplexity-User", "Perplexity", AiUser, &[]),
    crawler("MistralAI-User", "Mistral AI", AiUser, &[]),
    crawler("DuckAssistBot", "DuckDuckGo", AiUser, &[]),
    crawler("meta-externalfetcher", "Meta", AiUser, &[]),
    // Uptime.
    crawler("UptimeRobot", "UptimeRobot", Monitoring, &[]),
    crawler("Pingdom.com_bot", "Pingdom", Monitoring, &[]),
    crawler("Site24x7", "Site24x7", Monitoring, &[]),
    crawler("StatusCake", "StatusCake", Monitoring, &[]),
    crawler("Better Uptime Bot", "Better Stack", Monitoring, &[]),
];
