// SPDX-License-Identifier: Apache-2.0
//! Crawlers that say who they are, readers of feeds, and services that show what a link leads to. They behave
//! as the real ones do; whether one is who he says is not for these models to know.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::actor::Actor;
use super::chance::Chance;
use super::client::{Client, Headers};
use super::site::content::{ARTICLES, GONE, PAGES};
use super::{Generator, How, Label, Run, SECS_MAX, SLOW_SECS_MAX};

pub(super) const GENERATORS: &[Generator] = &[
    Generator {
        name: "crawler",
        label: Label::Benign,
        version: &[],
        runs: &[
            Run { intensity: "1-a-second", secs_max: SLOW_SECS_MAX, how: How::Actors(POLITE) },
            Run { intensity: "5-a-second", secs_max: SECS_MAX, how: How::Actors(QUICK) },
        ],
    },
    Generator {
        name: "feed-reader",
        label: Label::Benign,
        version: &[],
        runs: &[Run { intensity: "steady", secs_max: SECS_MAX, how: How::Actors(FEEDS) }],
    },
    Generator {
        name: "link-preview",
        label: Label::Benign,
        version: &[],
        runs: &[Run { intensity: "steady", secs_max: SECS_MAX, how: How::Actors(PREVIEWS) }],
    },
];

pub(super) const POLITE: &[Actor] = &[
    Actor { name: "googlebot", act: |client, chance| Box::pin(crawl(client, chance, GOOGLE, 1000)) },
    Actor { name: "bingbot", act: |client, chance| Box::pin(crawl(client, chance, BING, 1000)) },
    Actor { name: "duckduckbot", act: |client, chance| Box::pin(crawl(client, chance, DUCK, 1000)) },
    Actor { name: "archive", act: |client, chance| Box::pin(crawl(client, chance, ARCHIVE, 800)) },
];

const QUICK: &[Actor] = &[
    Actor {
        name: "googlebot-phone",
        act: |client, chance| Box::pin(crawl(client, chance, GOOGLE_PHONE, 200)),
    },
    Actor { name: "gptbot", act: |client, chance| Box::pin(crawl(client, chance, GPT, 250)) },
    Actor { name: "ahrefsbot", act: |client, chance| Box::pin(crawl(client, chance, AHREFS, 200)) },
    Actor { name: "applebot", act: |client, chance| Box::pin(crawl(client, chance, APPLE, 300)) },
];

pub(super) const FEEDS: &[Actor] = &[
    Actor {
        name: "feedly",
        act: |client, _| {
            Box::pin(follow(client, "Feedly/1.0 (+http://www.feedly.com/fetcher.html; 12 subscribers)"))
        },
    },
    Actor {
        name: "miniflux",
        act: |client, _| {
            Box::pin(follow(client, "Mozilla/5.0 (compatible; Miniflux/2.2.3; +https://miniflux.app)"))
        },
    },
    Actor {
        name: "netnewswire",
        act: |client, _| Box::pin(follow(client, "NetNewsWire (RSS Reader; https://netnewswire.com/)")),
    },
];

pub(super) const PREVIEWS: &[Actor] = &[
    Actor {
        name: "slack",
        act: |client, chance| {
            Box::pin(preview(client, chance, "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"))
        },
    },
    Actor {
        name: "facebook",
        act: |client, chance| {
            Box::pin(preview(
                client,
                chance,
                "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
            ))
        },
    },
    Actor {
        name: "telegram",
        act: |client, chance| Box::pin(preview(client, chance, "TelegramBot (like TwitterBot)")),
    },
    Actor {
        name: "mastodon",
        act: |client, chance| {
            Box::pin(preview(client, chance, "http.rb/5.2.0 (Mastodon/4.3.2; +https://example.social/)"))
        },
    },
];

/// A crawler as it introduces itself: user agent, accept, from (empty: not said).
#[derive(Clone, Copy, Debug)]
struct Robot {
    user_agent: &'static str,
    accept: &'static str,
    from: &'static str,
}

const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

const GOOGLE: Robot = Robot {
    user_agent: "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    accept: "text/html,application/xhtml+xml,application/signed-exchange;v=b3,application/xml;q=0.9,*/*;q=0.8",
    from: "googlebot(at)googlebot.com",
};

const GOOGLE_PHONE: Robot = Robot {
    user_agent: "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    ..GOOGLE
};

const BING: Robot = Robot {
    user_agent: "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36",
    accept: "*/*",
    from: "bingbot(at)microsoft.com",
};

const DUCK: Robot = Robot {
    user_agent: "DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)",
    accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    from: "",
};

const ARCHIVE: Robot = Robot {
    user_agent: "Mozilla/5.0 (compatible; archive.org_bot +http://archive.org/details/archive.org_bot)",
    accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    from: "",
};

const GPT: Robot = Robot {
    user_agent: "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    accept: "*/*",
    from: "gptbot(at)openai.com",
};

const AHREFS: Robot = Robot {
    user_agent: "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    accept: "*/*",
    from: "",
};

const APPLE: Robot = Robot {
    user_agent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.1.1 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)",
    accept: HTML,
    from: "",
};

impl Robot {
    fn headers(self) -> Headers {
        let mut headers: Headers = vec![
            ("user-agent", self.user_agent.to_owned()),
            ("accept", self.accept.to_owned()),
            ("accept-encoding", "gzip, deflate, br".to_owned()),
        ];
        if !self.from.is_empty() {
            headers.push(("from", self.from.to_owned()));
        }
        headers
    }
}

/// The rules, the map, then pages; one in fifteen is a link that others have not updated, some are pictures.
async fn crawl(mut client: Client, mut chance: Chance, robot: Robot, every_ms: u64) -> Result<()> {
    for path in ["/robots.txt", "/sitemap.xml"] {
        client.get(path, robot.headers()).await?;
    }
    loop {
        let path = match chance.below(15) {
            0 => (*chance.pick(GONE)).to_owned(),
            1 | 2 => (*chance.pick(PAGES)).to_owned(),
            3 => format!("/images/cover-{:02}.jpg", chance.below(40)),
            _ => format!("/articles/{}", chance.pick(ARTICLES)),
        };
        client.get(&path, robot.headers()).await?;
        sleep(chance.millis(every_ms / 2, every_ms * 3 / 2)).await;
    }
}

/// The feed, unchanged most of the time, and what is new in it.
async fn follow(mut client: Client, user_agent: &'static str) -> Result<()> {
    let headers = || -> Headers {
        vec![
            ("user-agent", user_agent.to_owned()),
            (
                "accept",
                "application/atom+xml, application/rss+xml, application/xml;q=0.9, */*;q=0.5".to_owned(),
            ),
            ("accept-encoding", "gzip, deflate".to_owned()),
        ]
    };
    client.get("/feed.xml", headers()).await?;
    for slug in ARTICLES.iter().take(14) {
        client.get(&format!("/articles/{slug}"), headers()).await?;
        let mut again = headers();
        again.push(("if-none-match", "\"feed-1\"".to_owned()));
        client.get("/feed.xml", again).await?;
        sleep(Duration::from_millis(1200)).await;
    }
    Ok(())
}

/// A page that somebody shared, and its picture.
async fn preview(mut client: Client, mut chance: Chance, user_agent: &'static str) -> Result<()> {
    for _ in 0..12 {
        let number = chance.below(ARTICLES.len() as u64);
        let slug = usize::try_from(number).ok().and_then(|number| ARTICLES.get(number)).unwrap_or(&"baskets");
        for path in [format!("/articles/{slug}"), format!("/images/cover-{number:02}.jpg")] {
            let headers = vec![
                ("user-agent", user_agent.to_owned()),
                ("accept", "*/*".to_owned()),
                ("range", "bytes=0-524288".to_owned()),
            ];
            client.get(&path, headers).await?;
        }
        client.hang_up();
        sleep(chance.millis(700, 2000)).await;
    }
    Ok(())
}
