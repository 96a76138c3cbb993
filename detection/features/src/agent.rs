// SPDX-License-Identifier: Apache-2.0
//! What a client says it is, and how well the rest of its request fits that.

use sunbeam_traffic::RequestFacts;

/// Kinds of user agents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AgentClass {
    /// None was sent.
    #[default]
    Empty,
    /// It says it is a browser that people use.
    Browser,
    /// It says it is a crawler.
    Crawler,
    /// A command-line tool, a library or a scanner.
    Tool,
    /// Something else.
    Other,
}

/// Words by which crawlers call themselves, in lower case.
const CRAWLER_WORDS: [&str; 6] = ["bot", "crawl", "spider", "slurp", "archiver", "scrape"];

/// How tools and libraries begin, in lower case.
const TOOL_STARTS: [&str; 22] = [
    "curl/",
    "wget/",
    "python",
    "go-http",
    "java/",
    "okhttp",
    "libwww",
    "ruby",
    "php",
    "axios",
    "node",
    "undici",
    "httpie",
    "apache-httpclient",
    "scrapy",
    "nmap",
    "sqlmap",
    "nikto",
    "masscan",
    "zgrab",
    "nuclei",
    "ab/",
];

/// The class of a `User-Agent`.
pub fn agent_class(agent: &str) -> AgentClass {
    /// Longer ones say nothing more; a client chooses the length.
    const BYTES_MAX: usize = 512;
    let bytes = agent.as_bytes().get(..agent.len().min(BYTES_MAX)).unwrap_or_default();
    let lower = bytes.to_ascii_lowercase();
    let has = |word: &str| lower.windows(word.len()).any(|window| window == word.as_bytes());
    if lower.iter().all(u8::is_ascii_whitespace) {
        AgentClass::Empty
    } else if CRAWLER_WORDS.iter().any(|word| has(word)) {
        AgentClass::Crawler
    } else if TOOL_STARTS.iter().any(|start| lower.starts_with(start.as_bytes())) {
        AgentClass::Tool
    } else if lower.starts_with(b"mozilla/5.0 (") && (has("gecko") || has("applewebkit")) {
        AgentClass::Browser
    } else {
        AgentClass::Other
    }
}

/// How much speaks for a browser with a person before it: a weight, never a pass. Each of these a client can
/// write; scanners mostly do not take the trouble.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrowserEvidence {
    /// 0 to [`BrowserEvidence::MOST`].
    pub weight: u8,
    /// Everything that a browser sends with a page is there.
    pub is_whole: bool,
}

impl BrowserEvidence {
    /// The most that there can be.
    pub const MOST: u8 = 4;
}

/// Weighs what a browser would have sent. Cookies are worth one of four: a client chooses them too.
pub fn browser_evidence(class: AgentClass, facts: &RequestFacts<'_>) -> BrowserEvidence {
    let says_browser = class == AgentClass::Browser;
    let has_language = !facts.accept_language.is_empty();
    let has_accept = facts.accept.contains(&b'/');
    let has_cookies = !facts.cookies.is_empty();
    let weight = [says_browser, says_browser && has_language, says_browser && has_accept, has_cookies];
    BrowserEvidence {
        weight: weight.iter().map(|one| u8::from(*one)).sum(),
        is_whole: says_browser && has_language && has_accept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_what_they_say() {
        for (agent, want) in [
            ("", AgentClass::Empty),
            ("  ", AgentClass::Empty),
            ("curl/8.5.0", AgentClass::Tool),
            ("python-requests/2.32", AgentClass::Tool),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", AgentClass::Browser),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Safari/537.36",
                AgentClass::Browser,
            ),
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", AgentClass::Crawler),
            ("CCBot/2.0 (https://commoncrawl.org/faq/)", AgentClass::Crawler),
            ("Mozilla/4.0 (compatible; MSIE 6.0)", AgentClass::Other),
            ("UptimeThing/1", AgentClass::Other),
        ] {
            assert_eq!(agent_class(agent), want, "{agent}");
        }
        assert_eq!(agent_class(&format!("{}bot", "x".repeat(1_000_000))), AgentClass::Other);
    }

    #[test]
    fn a_cookie_is_one_weight_of_four_and_no_browser() {
        let cookies: &[&[u8]] = &[b"a=b"];
        let tool = RequestFacts { user_agent: "curl/8", cookies, accept: b"*/*", ..RequestFacts::EMPTY };
        let evidence = browser_evidence(AgentClass::Tool, &tool);
        assert_eq!((evidence.weight, evidence.is_whole), (1, false));
        let browser = RequestFacts { accept: b"text/html", accept_language: b"de", ..RequestFacts::EMPTY };
        let evidence = browser_evidence(AgentClass::Browser, &browser);
        assert_eq!((evidence.weight, evidence.is_whole), (3, true));
    }
}
