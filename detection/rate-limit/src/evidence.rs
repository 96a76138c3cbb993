// SPDX-License-Identifier: Apache-2.0
//! Which sessions and tokens the site itself has honoured. A client can make up any of them; only what the
//! backend (or the auth server) does says which is real.

use sunbeam_tables::{FixedTable, HashKey, Moment};

use crate::identity::Claims;

/// How long a claim counts after the site honoured it last.
const HONOURED_SECS: u64 = 7 * 86_400;

/// How long it is remembered that a page asks for a log-in, or does not.
const PAGE_SECS: u64 = 86_400;

/// Pages that are remembered.
const PAGES: usize = 16_384;

const KIND_PAGE: u64 = 16;

/// What the site answered, as far as it says whom it knows.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// See [`Evidence::page`].
    pub page: u64,
    /// The same without the query.
    pub path: u64,
    /// The key of the client's network.
    pub network: u64,
    /// Of the answer.
    pub status: u16,
    /// A redirect to where one logs in.
    pub is_login_redirect: bool,
    /// Claims of the session cookies that it set.
    pub sessions_set: &'a [u64],
}

#[derive(Clone, Copy, Debug, Default)]
struct Honoured {
    until: u32,
    /// Since when, without a break.
    since: u32,
}

/// When a page refused somebody who claimed nothing, in seconds, and the networks of the last two such.
#[derive(Clone, Copy, Debug, Default)]
struct Page {
    refused_at: u32,
    networks: [u32; 2],
}

/// When a path was served to somebody who claimed nothing, whatever the query, in seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Served {
    at: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Evidence {
    honoured: FixedTable<Honoured>,
    pages: FixedTable<Page>,
    served: FixedTable<Served>,
}

impl Evidence {
    /// Room for so many sessions and tokens.
    pub fn new(identities: usize) -> Self {
        Self {
            honoured: FixedTable::of_places(identities),
            pages: FixedTable::of_places(PAGES),
            served: FixedTable::of_places(PAGES),
        }
    }

    /// The hash of a page: one query may be for everybody and another not.
    pub fn page(route: u64, method: &str, path: u64, query: &str, hash: &HashKey) -> u64 {
        let of_route = hash.number(KIND_PAGE, u128::from(path) << 64 | u128::from(route));
        hash.bytes(hash.bytes(of_route, method.as_bytes()), query.as_bytes())
    }

    /// Whether the site has honoured this claim.
    pub fn is_honoured(&self, claim: u64, now: Moment) -> bool {
        self.honoured.recall(claim, now).is_some_and(|honoured| honoured.until > secs(now))
    }

    /// Sessions and tokens that lost their place to another so far.
    pub fn evicted(&self) -> u64 {
        self.honoured.evicted()
    }

    /// Forgets what is too old.
    pub fn sweep(&self, now: Moment) {
        let now = secs(now);
        self.honoured.retain(|honoured| honoured.until > now);
    }

    /// Learns from an answer of the site. `asked`: what the request claimed.
    ///
    /// A claim counts as honoured when the site set this very cookie, or serves the claim where it refuses
    /// those who claim nothing. A page that serves everybody proves nothing, nor does a request with two
    /// claims: it would not be known which one was honoured. A claim that meets a 401 is honoured no more.
    pub fn observe(&self, asked: &Claims, answered: &Answered<'_>, now: Moment) {
        for claim in answered.sessions_set {
            self.honour(*claim, now);
        }
        let is_served = (200..300).contains(&answered.status);
        if asked.is_anonymous() {
            self.note_stranger(answered, is_served, now);
            return;
        }
        let Some(claim) = asked.only() else { return };
        if answered.status == 401 {
            self.honoured.remove(claim);
        } else if is_served && self.asks_for_login(answered, now) {
            self.honour(claim, now);
        }
    }

    /// Since when the site honours a claim, in the time of [`Moment`].
    pub fn honoured_since(&self, claim: u64) -> Option<Moment> {
        self.honoured.peek(claim).map(|honoured| Moment::from_secs(honoured.since.into()))
    }

    fn honour(&self, claim: u64, now: Moment) {
        let until = secs(now).saturating_add(u32::try_from(HONOURED_SECS).unwrap_or(u32::MAX));
        self.honoured.with(claim, now, |honoured| {
            if honoured.until <= secs(now) {
                honoured.since = secs(now);
            }
            honoured.until = until;
        });
    }

    fn note_stranger(&self, answered: &Answered<'_>, is_served: bool, now: Moment) {
        let at = secs(now).max(1);
        if is_served {
            self.served.with(answered.path, now, |served| served.at = at);
        } else if matches!(answered.status, 401 | 403) || answered.is_login_redirect {
            let network = low_half(answered.network);
            self.pages.with(answered.page, now, |page| {
                page.refused_at = at;
                let [last, _] = page.networks;
                if last != network {
                    page.networks = [network, last];
                }
            });
        }
    }

    /// Whether the page refuses those who claim nothing, and its path serves none of them. It must have refused
    /// somebody of another network than the one who is served now: a request can be refused for much else than who
    /// asks, and the client chooses how it asks.
    fn asks_for_login(&self, answered: &Answered<'_>, now: Moment) -> bool {
        let is_recent = |at: u32| at > 0 && u64::from(secs(now).saturating_sub(at)) < PAGE_SECS;
        if self.served.peek(answered.path).is_some_and(|served| is_recent(served.at)) {
            return false;
        }
        let Some(page) = self.pages.peek(answered.page) else { return false };
        let is_another = |network: &u32| *network != 0 && *network != low_half(answered.network);
        is_recent(page.refused_at) && page.networks.iter().any(is_another)
    }
}

fn low_half(key: u64) -> u32 {
    u32::try_from(key & u64::from(u32::MAX)).unwrap_or(0).max(1)
}

fn secs(moment: Moment) -> u32 {
    u32::try_from(moment.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Claims =
        Claims { session: None, bearer: None, is_ambiguous: false, has_other_credentials: false };

    fn answered(page: u64, status: u16) -> Answered<'static> {
        Answered { page, path: page, network: 1, status, is_login_redirect: false, sessions_set: &[] }
    }

    #[test]
    fn only_what_the_site_honours_counts() {
        let (evidence, now) = (Evidence::new(1000), Moment::from_secs(5));
        let claim = |session: u64| Claims { session: Some(session), ..NOBODY };
        // Strangers come from another network than the others.
        let see = |asked: &Claims, page, status| {
            let network = if asked.is_anonymous() { 7 } else { 1 };
            evidence.observe(asked, &Answered { network, ..answered(page, status) }, now);
        };
        // A public page serves any cookie.
        see(&claim(1), 10, 200);
        see(&NOBODY, 10, 200);
        see(&claim(1), 10, 200);
        assert!(!evidence.is_honoured(1, now), "a public page proves nothing");
        // A page that refuses strangers.
        see(&NOBODY, 11, 401);
        see(&claim(2), 11, 403);
        assert!(!evidence.is_honoured(2, now), "refused as well");
        see(&claim(2), 11, 200);
        assert!(evidence.is_honoured(2, now));
        // One that refuses now and then is no such page.
        see(&NOBODY, 12, 403);
        see(&NOBODY, 12, 200);
        see(&claim(3), 12, 200);
        assert!(!evidence.is_honoured(3, now));
        // Two claims at once: which one was it?
        see(&Claims { session: Some(4), bearer: Some(5), ..NOBODY }, 11, 200);
        assert!(!evidence.is_honoured(4, now) && !evidence.is_honoured(5, now));
        // A redirect to the log-in is a refusal too.
        evidence.observe(
            &NOBODY,
            &Answered { network: 7, is_login_redirect: true, ..answered(13, 302) },
            now,
        );
        see(&claim(6), 13, 200);
        assert!(evidence.is_honoured(6, now));
        // Somebody with another kind of credentials is no stranger.
        see(&Claims { has_other_credentials: true, ..NOBODY }, 11, 200);
        see(&claim(7), 11, 200);
        assert!(evidence.is_honoured(7, now));
        see(&claim(7), 99, 401);
        assert!(!evidence.is_honoured(7, now), "logged out");
        // A refusal has many reasons, and a client can bring them about.
        for status in [401, 403] {
            let page = u64::from(status);
            let same = |asked: &Claims, status| evidence.observe(asked, &answered(page, status), now);
            same(&NOBODY, status);
            same(&claim(9), 200);
            assert!(!evidence.is_honoured(9, now), "the same client made it refuse and serve");
            see(&NOBODY, page, status);
            same(&NOBODY, status);
            same(&claim(9), 200);
            assert!(evidence.is_honoured(9, now), "it refuses others, too");
            same(&claim(9), 401);
        }
        // A path that serves strangers under another query.
        evidence.observe(&NOBODY, &Answered { path: 77, ..answered(21, 200) }, now);
        evidence.observe(&NOBODY, &Answered { network: 7, path: 77, ..answered(22, 401) }, now);
        evidence.observe(&claim(10), &Answered { path: 77, ..answered(22, 200) }, now);
        assert!(!evidence.is_honoured(10, now));
        see(&Claims { is_ambiguous: true, ..claim(11) }, 11, 200);
        assert!(!evidence.is_honoured(11, now), "one of two session cookies: which?");
        // The cookie that the site set.
        evidence.observe(&NOBODY, &Answered { sessions_set: &[8], ..answered(14, 200) }, now);
        assert!(evidence.is_honoured(8, now));
        assert!(!evidence.is_honoured(8, Moment::from_secs(HONOURED_SECS + 6)));
        evidence.sweep(Moment::from_secs(HONOURED_SECS + 6));
        assert!(!evidence.is_honoured(8, now));
    }
}
