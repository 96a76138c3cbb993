// SPDX-License-Identifier: Apache-2.0
//! The headers of browsers, for people of whom fifty real browsers would be too many for a small machine.
//! Chromium's are as this project's recorded sessions have them.

use super::client::Headers;

/// A browser as it introduces itself.
#[derive(Debug)]
pub(super) struct Profile {
    user_agent: &'static str,
    language: &'static str,
    engine: Engine,
}

/// Whose habits it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    /// The `sec-ch-ua` triple: brands, mobile, platform.
    Chromium(&'static str, &'static str, &'static str),
    Gecko,
    WebKit,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Document,
    Style,
    Script,
    Image,
    Font,
    Fetch,
}

/// How a document came to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came<'a> {
    /// Typed, a bookmark, or a link whose page keeps quiet.
    Nowhere,
    /// A link on another site.
    Abroad(&'a str),
    /// A page of this site, in full.
    Page(&'a str),
}

const CHROME: &str = "\"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\", \"Google Chrome\";v=\"140\"";
const EDGE: &str = "\"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\", \"Microsoft Edge\";v=\"140\"";

pub(super) const CHROME_WINDOWS: Profile = Profile {
    user_agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    language: "en-US,en;q=0.9",
    engine: Engine::Chromium(CHROME, "?0", "\"Windows\""),
};

pub(super) const CHROME_MAC: Profile = Profile {
    user_agent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
    language: "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7",
    engine: Engine::Chromium(CHROME, "?0", "\"macOS\""),
};

pub(super) const CHROME_ANDROID: Profile = Profile {
    user_agent: "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
    language: "fr-FR,fr;q=0.9,en;q=0.8",
    engine: Engine::Chromium(CHROME, "?1", "\"Android\""),
};

pub(super) const EDGE_WINDOWS: Profile = Profile {
    user_agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
    language: "pl,en;q=0.9,en-GB;q=0.8,en-US;q=0.7",
    engine: Engine::Chromium(EDGE, "?0", "\"Windows\""),
};

pub(super) const FIREFOX_LINUX: Profile = Profile {
    user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    language: "en-US,en;q=0.5",
    engine: Engine::Gecko,
};

pub(super) const FIREFOX_WINDOWS: Profile = Profile {
    user_agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0",
    language: "es-ES,es;q=0.8,en-US;q=0.5,en;q=0.3",
    engine: Engine::Gecko,
};

pub(super) const SAFARI_IPHONE: Profile = Profile {
    user_agent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    language: "en-GB,en;q=0.9",
    engine: Engine::WebKit,
};

pub(super) const SAFARI_MAC: Profile = Profile {
    user_agent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
    language: "it-IT,it;q=0.9",
    engine: Engine::WebKit,
};

impl Profile {
    /// A document that somebody wants to see.
    pub(super) fn document(&self, from: Came<'_>) -> Headers {
        let mut headers = self.common(Kind::Document);
        headers.push(("upgrade-insecure-requests", "1".to_owned()));
        let site = match from {
            Came::Nowhere => "none",
            Came::Abroad(_) => "cross-site",
            Came::Page(_) => "same-origin",
        };
        headers.extend(self.fetched(site, "navigate", "document"));
        if self.engine != Engine::WebKit {
            headers.push(("sec-fetch-user", "?1".to_owned()));
        }
        if let Came::Abroad(page) | Came::Page(page) = from {
            headers.push(("referer", page.to_owned()));
        }
        headers
    }

    /// What a page needs. `page` is its full address.
    pub(super) fn part(&self, kind: Kind, page: &str) -> Headers {
        let mut headers = self.common(kind);
        let (mode, destination) = match kind {
            Kind::Document => ("navigate", "document"),
            Kind::Style => ("no-cors", "style"),
            Kind::Script => ("no-cors", "script"),
            Kind::Image => ("no-cors", "image"),
            Kind::Font => ("cors", "font"),
            Kind::Fetch => ("cors", "empty"),
        };
        headers.extend(self.fetched("same-origin", mode, destination));
        headers.push(("referer", page.to_owned()));
        headers
    }

    /// A form that is sent.
    pub(super) fn form(&self, origin: &str, page: &str) -> Headers {
        let mut headers = self.document(Came::Page(page));
        headers.push(("origin", origin.to_owned()));
        headers.push(("content-type", "application/x-www-form-urlencoded".to_owned()));
        headers
    }

    /// JSON that a script sends.
    pub(super) fn json(&self, origin: &str, page: &str) -> Headers {
        let mut headers = self.part(Kind::Fetch, page);
        headers.push(("origin", origin.to_owned()));
        headers.push(("content-type", "application/json".to_owned()));
        headers
    }

    fn common(&self, kind: Kind) -> Headers {
        let mut headers = vec![
            ("user-agent", self.user_agent.to_owned()),
            ("accept", self.engine.accept(kind).to_owned()),
            ("accept-language", self.language.to_owned()),
            ("accept-encoding", "gzip, deflate, br, zstd".to_owned()),
        ];
        if let Engine::Chromium(brands, mobile, platform) = self.engine {
            headers.push(("sec-ch-ua", brands.to_owned()));
            headers.push(("sec-ch-ua-mobile", mobile.to_owned()));
            headers.push(("sec-ch-ua-platform", platform.to_owned()));
        }
        headers
    }

    fn fetched(&self, site: &str, mode: &str, destination: &str) -> Headers {
        let mut headers = vec![
            ("connection", "keep-alive".to_owned()),
            ("sec-fetch-site", site.to_owned()),
            ("sec-fetch-mode", mode.to_owned()),
            ("sec-fetch-dest", destination.to_owned()),
        ];
        // Over HTTP/1 the others do not say how urgent it is.
        if self.engine == Engine::Gecko {
            headers.push(("priority", "u=0, i".to_owned()));
        }
        headers
    }
}

impl Engine {
    const fn accept(self, kind: Kind) -> &'static str {
        match (kind, self) {
            (Kind::Document, Self::Chromium(..)) => {
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
            }
            (Kind::Document, _) => "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            (Kind::Style, _) => "text/css,*/*;q=0.1",
            (Kind::Image, Self::Chromium(..)) => {
                "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
            }
            (Kind::Image, Self::Gecko) => {
                "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"
            }
            (Kind::Image, Self::WebKit) => {
                "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"
            }
            (Kind::Font, Self::Gecko) => "application/font-woff2;q=1.0,application/font-woff;q=0.9,*/*;q=0.8",
            (Kind::Script | Kind::Font | Kind::Fetch, _) => "*/*",
        }
    }
}
