// SPDX-License-Identifier: Apache-2.0
//! People: each alone at an address, or many behind one. Think times are shorter than life's: what stands in
//! a window of a minute is what a brisk visitor leaves there.

use std::collections::BTreeSet;

use anyhow::Result;
use tokio::time::sleep;

use super::actor::Actor;
use super::chance::Chance;
use super::client::{Answer, Client, Headers};
use super::profiles::{
    CHROME_ANDROID, CHROME_MAC, CHROME_WINDOWS, Came, EDGE_WINDOWS, FIREFOX_LINUX, FIREFOX_WINDOWS, Kind,
    Profile, SAFARI_IPHONE, SAFARI_MAC,
};
use super::site::content::{ARTICLES, GONE, PAGES, SEARCHES, parts};
use super::{Generator, How, Label, Run, SLOW_SECS_MAX};

pub(super) const GENERATORS: &[Generator] = &[
    Generator {
        name: "person",
        label: Label::Benign,
        version: &[],
        runs: &[
            Run { intensity: "calm", secs_max: SLOW_SECS_MAX, how: How::Actors(CALM) },
            Run { intensity: "brisk", secs_max: SLOW_SECS_MAX, how: How::Actors(BRISK) },
            Run { intensity: "private", secs_max: SLOW_SECS_MAX, how: How::Actors(PRIVATE) },
        ],
    },
    Generator {
        name: "nat",
        label: Label::Benign,
        version: &[],
        runs: &[
            Run { intensity: "family-of-4", secs_max: 60, how: How::OneAddress(ANYBODY, 4) },
            Run { intensity: "office-of-20", secs_max: 60, how: How::OneAddress(ANYBODY, 20) },
            Run { intensity: "class-of-30", secs_max: SLOW_SECS_MAX, how: How::OneAddress(PUPILS, 30) },
            Run { intensity: "campus-of-50", secs_max: 60, how: How::OneAddress(ANYBODY, 50) },
        ],
    },
];

pub(super) const CALM: &[Actor] = &[
    Actor { name: "reader", act: |client, chance| Box::pin(read(Visitor::new(client, chance), 5)) },
    Actor { name: "reader-by-search", act: |client, chance| Box::pin(read_from_search(client, chance)) },
    Actor { name: "searcher", act: |client, chance| Box::pin(search(Visitor::new(client, chance))) },
    Actor { name: "account-owner", act: |client, chance| Box::pin(sign_in(Visitor::new(client, chance))) },
    Actor { name: "letter-writer", act: |client, chance| Box::pin(write(Visitor::new(client, chance))) },
    Actor { name: "viewer", act: |client, chance| Box::pin(look(Visitor::new(client, chance))) },
    Actor { name: "single-page", act: |client, chance| Box::pin(read(Visitor::new(client, chance), 1)) },
    Actor { name: "reader-again", act: |client, chance| Box::pin(return_visit(client, chance)) },
];

pub(super) const BRISK: &[Actor] = &[
    Actor { name: "shopper", act: |client, chance| Box::pin(shop(Visitor::new(client, chance))) },
    Actor { name: "reloader", act: |client, chance| Box::pin(reload(Visitor::new(client, chance))) },
    Actor { name: "tab-opener", act: |client, chance| Box::pin(open_tabs(Visitor::new(client, chance))) },
    Actor { name: "film-watcher", act: |client, chance| Box::pin(watch(Visitor::new(client, chance))) },
    Actor { name: "impatient", act: |client, chance| Box::pin(hurry(Visitor::new(client, chance))) },
    Actor { name: "forgetful", act: |client, chance| Box::pin(forget_password(client, chance)) },
];

pub(super) const PRIVATE: &[Actor] = &[
    Actor { name: "ad-blocker", act: |client, chance| Box::pin(read(Visitor::private(client, chance), 6)) },
    Actor {
        name: "no-cookies",
        act: |client, chance| Box::pin(read(Visitor::cookieless(client, chance), 6)),
    },
    Actor { name: "old-bookmarks", act: |client, chance| Box::pin(dig(Visitor::private(client, chance))) },
    Actor { name: "older-bookmarks", act: |client, chance| Box::pin(dig(Visitor::new(client, chance))) },
    Actor { name: "text-browser", act: |client, chance| Box::pin(read_as_text(client, chance)) },
    Actor { name: "hand-typed-curl", act: |client, _| Box::pin(type_commands(client)) },
];

/// Who sits behind one address, in turn.
const ANYBODY: &[Actor] = &[
    Actor { name: "reader", act: |client, chance| Box::pin(arrive(client, chance, Habit::Reading)) },
    Actor { name: "searcher", act: |client, chance| Box::pin(arrive(client, chance, Habit::Searching)) },
    Actor { name: "reader", act: |client, chance| Box::pin(arrive(client, chance, Habit::Reading)) },
    Actor { name: "account-owner", act: |client, chance| Box::pin(arrive(client, chance, Habit::SigningIn)) },
    Actor { name: "reader", act: |client, chance| Box::pin(arrive(client, chance, Habit::Reading)) },
    Actor { name: "digger", act: |client, chance| Box::pin(arrive(client, chance, Habit::Digging)) },
    Actor { name: "shopper", act: |client, chance| Box::pin(arrive(client, chance, Habit::Shopping)) },
];

/// A teacher said the address: all come within seconds.
const PUPILS: &[Actor] =
    &[Actor { name: "pupil", act: |client, chance| Box::pin(attend(Visitor::new(client, chance))) }];

const PROFILES: &[Profile] = &[
    CHROME_WINDOWS,
    CHROME_ANDROID,
    SAFARI_IPHONE,
    CHROME_MAC,
    FIREFOX_WINDOWS,
    EDGE_WINDOWS,
    SAFARI_MAC,
    FIREFOX_LINUX,
];

/// What one of many does.
#[derive(Clone, Copy, Debug)]
enum Habit {
    Reading,
    Searching,
    SigningIn,
    Digging,
    Shopping,
}

/// Somebody at a browser.
struct Visitor {
    client: Client,
    chance: Chance,
    profile: &'static Profile,
    /// Where he is, in full; empty before the first page.
    page: String,
    cached: BTreeSet<String>,
    /// He keeps an extension that hides where he comes from and sends no beacons.
    is_private: bool,
}

impl Visitor {
    fn new(client: Client, chance: Chance) -> Self {
        Self::cookieless(client.with_cookies(), chance)
    }

    fn private(client: Client, chance: Chance) -> Self {
        Self { is_private: true, ..Self::new(client, chance) }
    }

    /// As the client is.
    fn cookieless(client: Client, mut chance: Chance) -> Self {
        let profile = chance.pick(PROFILES);
        Self { client, chance, profile, page: String::new(), cached: BTreeSet::new(), is_private: false }
    }

    /// Follows a link of the page he is on, or comes from nowhere.
    async fn open(&mut self, path: &str) -> Result<()> {
        let page = self.page.clone();
        let from = if page.is_empty() || self.is_private { Came::Nowhere } else { Came::Page(&page) };
        self.open_from(path, from).await
    }

    async fn open_from(&mut self, path: &str, from: Came<'_>) -> Result<()> {
        let answer = self.client.get(path, self.profile.document(from)).await?;
        self.arrived(path, answer).await
    }

    /// Goes where the answer sends him, and loads what that page needs.
    async fn arrived(&mut self, path: &str, answer: Answer) -> Result<()> {
        let at = match answer.location {
            Some(next) => {
                let page = self.page.clone();
                let from = if page.is_empty() { Came::Nowhere } else { Came::Page(&page) };
                self.client.get(&next, self.profile.document(from)).await?;
                next
            }
            None => path.to_owned(),
        };
        self.page = format!("{}{at}", self.client.origin());
        self.load(&at).await
    }

    async fn load(&mut self, path: &str) -> Result<()> {
        for (kind, part) in parts(path.split('?').next().unwrap_or_default()) {
            if self.cached.insert(part.clone()) {
                self.fetch(kind, &part).await?;
            }
        }
        if self.is_private {
            return Ok(());
        }
        let headers = self.profile.json(&self.client.origin(), &self.page);
        let seen = format!("{{\"seen\":\"{path}\"}}");
        self.client.send("POST", "/api/v1/events", headers, seen).await.map(drop)
    }

    async fn fetch(&mut self, kind: Kind, path: &str) -> Result<Answer> {
        let mut headers = self.profile.part(kind, &self.page);
        if self.is_private {
            headers.retain(|(name, _)| *name != "referer");
        }
        self.client.get(path, headers).await
    }

    async fn submit(&mut self, path: &str, body: &str) -> Result<()> {
        let headers = self.profile.form(&self.client.origin(), &self.page);
        let answer = self.client.send("POST", path, headers, body.to_owned()).await?;
        self.arrived(path, answer).await
    }

    async fn think(&mut self, least_ms: u64, most_ms: u64) {
        sleep(self.chance.millis(least_ms, most_ms)).await;
    }

    fn article(&mut self) -> String {
        format!("/articles/{}", self.chance.pick(ARTICLES))
    }
}

async fn read(mut visitor: Visitor, articles: u64) -> Result<()> {
    visitor.open("/").await?;
    for _ in 0..articles {
        visitor.think(1200, 4200).await;
        let next = if visitor.chance.percent(75) {
            visitor.article()
        } else {
            (*visitor.chance.pick(PAGES)).to_owned()
        };
        visitor.open(&next).await?;
    }
    Ok(())
}

async fn read_from_search(client: Client, chance: Chance) -> Result<()> {
    let mut visitor = Visitor::new(client, chance);
    let first = visitor.article();
    visitor.open_from(&first, Came::Abroad("https://www.google.com/")).await?;
    visitor.think(2500, 5000).await;
    read(visitor, 3).await
}

/// The cookie is from last week, the cache too.
async fn return_visit(client: Client, chance: Chance) -> Result<()> {
    let mut visitor = Visitor::new(client.with_cookie("visitor", "b71c"), chance);
    visitor.cached.extend(parts("/").into_iter().map(|(_, part)| part));
    read(visitor, 4).await
}

async fn search(mut visitor: Visitor) -> Result<()> {
    visitor.open("/search").await?;
    for _ in 0..4 {
        visitor.think(1500, 3500).await;
        let words = *visitor.chance.pick(SEARCHES);
        visitor.open(&format!("/search?q={words}")).await?;
        visitor.think(800, 2000).await;
        let found = visitor.article();
        visitor.open(&found).await?;
    }
    Ok(())
}

/// The first password is wrong, as it often is.
async fn sign_in(mut visitor: Visitor) -> Result<()> {
    visitor.open("/").await?;
    visitor.think(1000, 3000).await;
    visitor.open("/login").await?;
    for password in ["horse-battery", "correct-horse-battery"] {
        visitor.think(1500, 3500).await;
        visitor.submit("/login", &format!("name=anna&password={password}")).await?;
    }
    visitor.think(1000, 2500).await;
    visitor.open("/account").await?;
    visitor.think(1000, 2000).await;
    visitor.open("/logout").await
}

/// Six wrong ones, then the first page instead.
async fn forget_password(client: Client, chance: Chance) -> Result<()> {
    let mut visitor = Visitor::new(client, chance);
    visitor.open("/login").await?;
    for password in ["sommer", "Sommer", "sommer24", "sommer25", "Sommer25!", "anna1990"] {
        visitor.think(900, 2200).await;
        visitor.submit("/login", &format!("name=anna&password={password}")).await?;
    }
    visitor.think(500, 1500).await;
    visitor.open("/").await
}

async fn write(mut visitor: Visitor) -> Result<()> {
    visitor.open("/about").await?;
    visitor.think(1500, 3000).await;
    visitor.open("/contact").await?;
    visitor.think(6000, 9000).await;
    visitor.submit("/contact", "email=anna%40example.org&message=The+lamp%27s+cable+--+is+it+long%3F").await
}

async fn look(mut visitor: Visitor) -> Result<()> {
    visitor.open("/gallery").await?;
    for number in 0..7 {
        visitor.think(700, 2500).await;
        visitor.fetch(Kind::Image, &format!("/images/gallery/{number:02}-large.jpg")).await?;
    }
    Ok(())
}

async fn shop(mut visitor: Visitor) -> Result<()> {
    for _ in 0..3 {
        visitor.open("/shop").await?;
        load_shop(&mut visitor).await?;
        visitor.think(2000, 5000).await;
        let item = visitor.chance.below(400);
        visitor.fetch(Kind::Fetch, &format!("/api/v1/items/{item}")).await?;
        visitor.think(500, 1500).await;
    }
    let headers = visitor.profile.json(&visitor.client.origin(), &visitor.page);
    visitor.client.send("POST", "/api/v1/orders", headers, "{\"items\":[21,22]}").await.map(drop)
}

/// What the shop's script asks for at once: thirty requests.
async fn load_shop(visitor: &mut Visitor) -> Result<()> {
    if visitor.cached.insert("/assets/shop.c41d77.js".to_owned()) {
        visitor.fetch(Kind::Script, "/assets/shop.c41d77.js").await?;
    }
    visitor.fetch(Kind::Fetch, "/api/v1/me").await?;
    for page in 1..=6 {
        visitor.fetch(Kind::Fetch, &format!("/api/v1/items?page={page}")).await?;
    }
    for item in (1..=6).flat_map(|page| page * 20..page * 20 + 4) {
        visitor.fetch(Kind::Fetch, &format!("/api/v1/items/{item}")).await?;
    }
    Ok(())
}

/// Each time everything is asked for again.
async fn reload(mut visitor: Visitor) -> Result<()> {
    let page = visitor.article();
    for _ in 0..14 {
        visitor.open(&page).await?;
        visitor.cached.clear();
        visitor.think(500, 1800).await;
    }
    Ok(())
}

async fn open_tabs(mut visitor: Visitor) -> Result<()> {
    visitor.open("/articles/").await?;
    visitor.think(2000, 3000).await;
    for _ in 0..10 {
        let page = visitor.article();
        visitor.open_from(&page, Came::Nowhere).await?;
        visitor.think(50, 300).await;
    }
    visitor.think(3000, 5000).await;
    read(visitor, 2).await
}

async fn hurry(mut visitor: Visitor) -> Result<()> {
    for _ in 0..20 {
        let page = visitor.article();
        visitor.open(&page).await?;
        visitor.think(150, 900).await;
    }
    Ok(())
}

async fn watch(mut visitor: Visitor) -> Result<()> {
    visitor.open("/").await?;
    visitor.think(1000, 2000).await;
    for piece in 0..10_u64 {
        let (first, last) = (piece * 300_000, piece * 300_000 + 299_999);
        let mut headers = visitor.profile.part(Kind::Fetch, &visitor.page);
        headers.push(("range", format!("bytes={first}-{last}")));
        visitor.client.get("/media/film.mp4", headers).await?;
        visitor.think(900, 1600).await;
    }
    Ok(())
}

/// A third of what he asks for is gone; the rest of the site is in his cache.
async fn dig(mut visitor: Visitor) -> Result<()> {
    visitor.cached.extend(parts("/").into_iter().map(|(_, part)| part));
    for number in 0..12_u64 {
        // Bookmarks come from nowhere.
        visitor.page.clear();
        let page = if number % 3 == 1 { (*visitor.chance.pick(GONE)).to_owned() } else { visitor.article() };
        visitor.open(&page).await?;
        visitor.think(700, 2000).await;
    }
    Ok(())
}

/// Pages only, and few headers.
async fn read_as_text(mut client: Client, mut chance: Chance) -> Result<()> {
    for page in PAGES.iter().copied().chain(["/articles/baskets", "/articles/good-knives"]) {
        let headers: Headers = vec![
            ("accept", "text/html, text/plain, text/sgml, text/css, */*;q=0.01".to_owned()),
            ("accept-encoding", "gzip, compress, bzip2".to_owned()),
            ("accept-language", "en".to_owned()),
            ("user-agent", "Lynx/2.9.0dev.12 libwww-FM/2.14 SSL-MM/1.4.1 GNUTLS/3.7.8".to_owned()),
        ];
        client.get(page, headers).await?;
        sleep(chance.millis(1000, 2500)).await;
    }
    Ok(())
}

/// A developer who tries the site out.
async fn type_commands(mut client: Client) -> Result<()> {
    let curl = || -> Headers { vec![("user-agent", "curl/8.5.0".to_owned()), ("accept", "*/*".to_owned())] };
    for path in ["/", "/", "/healthz", "/api/v1/items", "/api/v1/items?page=2", "/api/v1/item", "/feed.xml"] {
        client.get(path, curl()).await?;
        client.hang_up();
        sleep(std::time::Duration::from_millis(2200)).await;
    }
    Ok(())
}

/// Not all at the same moment.
async fn arrive(client: Client, chance: Chance, habit: Habit) -> Result<()> {
    let mut visitor = Visitor::new(client, chance);
    visitor.think(0, 28_000).await;
    match habit {
        Habit::Reading => read(visitor, 4).await,
        Habit::Searching => search(visitor).await,
        Habit::SigningIn => sign_in(visitor).await,
        Habit::Digging => dig(visitor).await,
        Habit::Shopping => shop(visitor).await,
    }
}

async fn attend(mut visitor: Visitor) -> Result<()> {
    visitor.think(0, 5000).await;
    visitor.open("/").await?;
    visitor.think(500, 3000).await;
    visitor.open("/articles/how-linen-is-made").await?;
    visitor.think(3000, 9000).await;
    visitor.open("/search?q=linen").await
}
