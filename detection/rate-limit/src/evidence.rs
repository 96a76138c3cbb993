// SPDX-License-Identifier: Apache-2.0
//! Which sessions and tokens the site itself has honoured. A client can make up any of them; only what the
//! backend (or the auth server) does says which is real.
//!
//! Most sites open a session for everybody who comes. So it tells one visitor from another, and no more: that somebody
//! has logged in with it is another thing ([`Known`]).

use sunbeam_tables::{FixedTable, HashKey, Moment};

use crate::identity::Claims;

/// How long a claim counts after the site honoured it last.
const HONOURED_SECS: u64 = 7 * 86_400;

/// How long it is remembered that a page asks for a log-in, or does not.
const PAGE_SECS: u64 = 86_400;

/// Pages that are remembered.
const PAGES: usize = 16_384;

/// Auth servers of which it is remembered that they let strangers in: as many as a configuration can hardly name.
const GATES: usize = 1_024;

const KIND_PAGE: u64 = 16;

/// How well the site knows a session or token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Known {
    /// Not at all.
    #[default]
    Not,
    /// It gave it, or answers to it: a visitor, whoever that is.
    Visitor,
    /// Somebody has logged in with it.
    LoggedIn,
}

/// What the site answered, as far as it says whom it knows.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// See [`Evidence::page`].
    pub page: u64,
    /// The same without the query.
    pub path: u64,
    /// The key of the client's network.
    pub network: u64,
    /// GET or HEAD. A form can be refused for much else than who sends it: for want of any session, too.
    pub is_safe: bool,
    /// The auth server that let the request in, if one was asked.
    pub gate: Option<u64>,
    /// Of the answer.
    pub status: u16,
    /// A redirect to where one logs in.
    pub is_login_redirect: bool,
    /// Claims of the session cookies that it set.
    pub sessions_set: &'a [u64],
    /// Those of them that it sets at a log-in, as the configuration says.
    pub log_ins_set: &'a [u64],
}

#[derive(Clone, Copy, Debug, Default)]
struct Honoured {
    until: u32,
    /// Since when, without a break.
    since: u32,
    /// Until then somebody is logged in with it; 0: nobody is.
    logged_in_until: u32,
}

/// Who claimed nothing and was refused by a page.
#[derive(Clone, Copy, Debug, Default)]
struct Page {
    /// In any way,
    refused: Refused,
    /// and by being asked to log in.
    sent_to_login: Refused,
}

/// When, in seconds, and the networks of the last two.
#[derive(Clone, Copy, Debug, Default)]
struct Refused {
    at: u32,
    networks: [u32; 2],
}

impl Refused {
    fn note(&mut self, network: u32, at: u32) {
        self.at = at;
        let [last, _] = self.networks;
        if last != network {
            self.networks = [network, last];
        }
    }

    /// Of late, and somebody of another network than this.
    fn is_of_another(&self, network: u32, now: Moment) -> bool {
        let is_another = |known: &u32| *known != 0 && *known != network;
        is_recent(self.at, now) && self.networks.iter().any(is_another)
    }
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
    /// Of auth servers: when one let in somebody who claimed nothing.
    gates: FixedTable<Served>,
}

impl Evidence {
    /// Room for so many sessions and tokens.
    pub fn new(identities: usize) -> Self {
        Self {
            honoured: FixedTable::of_places(identities),
            pages: FixedTable::of_places(PAGES),
            served: FixedTable::of_places(PAGES),
            gates: FixedTable::of_places(GATES),
        }
    }

    /// The hash of a page: one query may be for everybody and another not.
    pub fn page(route: u64, method: &str, path: u64, query: &str, hash: &HashKey) -> u64 {
        let of_route = hash.number(KIND_PAGE, u128::from(path) << 64 | u128::from(route));
        hash.bytes(hash.bytes(of_route, method.as_bytes()), query.as_bytes())
    }

    /// How well the site knows this claim.
    pub fn known(&self, claim: u64, now: Moment) -> Known {
        match self.honoured.recall(claim, now) {
            Some(honoured) if honoured.logged_in_until > secs(now) => Known::LoggedIn,
            Some(honoured) if honoured.until > secs(now) => Known::Visitor,
            _ => Known::Not,
        }
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
    ///
    /// Somebody has logged in with it when an auth server that keeps strangers out let it in, when it is a cookie that the
    /// configuration says the site sets at a log-in, or when a page (GET) serves it that sends strangers to the log-in.
    pub fn observe(&self, asked: &Claims, answered: &Answered<'_>, now: Moment) {
        for claim in answered.sessions_set {
            self.honour(*claim, Known::Visitor, now);
        }
        for claim in answered.log_ins_set {
            self.honour(*claim, Known::LoggedIn, now);
        }
        let is_served = (200..300).contains(&answered.status);
        if asked.is_anonymous() {
            self.note_stranger(answered, is_served, now);
            return;
        }
        let Some(claim) = asked.only() else { return };
        if answered.status == 401 {
            self.honoured.remove(claim);
        } else if self.has_passed_gate(answered, now) {
            for claim in [claim].iter().chain(answered.sessions_set) {
                self.honour(*claim, Known::LoggedIn, now);
            }
        } else if is_served {
            self.honour(claim, self.shown_by_page(answered, now), now);
        }
    }

    /// Since when the site honours a claim, in the time of [`Moment`].
    pub fn honoured_since(&self, claim: u64) -> Option<Moment> {
        self.honoured.peek(claim).map(|honoured| Moment::from_secs(honoured.since.into()))
    }

    fn honour(&self, claim: u64, known: Known, now: Moment) {
        if known == Known::Not {
            return;
        }
        let until = secs(now).saturating_add(u32::try_from(HONOURED_SECS).unwrap_or(u32::MAX));
        self.honoured.with(claim, now, |honoured| {
            if honoured.until <= secs(now) {
                honoured.since = secs(now);
            }
            honoured.until = until;
            if known == Known::LoggedIn {
                honoured.logged_in_until = until;
            }
        });
    }

    fn note_stranger(&self, answered: &Answered<'_>, is_served: bool, now: Moment) {
        let at = secs(now).max(1);
        if let Some(gate) = answered.gate {
            self.gates.with(gate, now, |served| served.at = at);
        }
        let asks_to_log_in = answered.status == 401 || answered.is_login_redirect;
        if is_served {
            self.served.with(answered.path, now, |served| served.at = at);
        } else if answered.status == 403 || asks_to_log_in {
            let network = low_half(answered.network);
            self.pages.with(answered.page, now, |page| {
                page.refused.note(network, at);
                if asks_to_log_in {
                    page.sent_to_login.note(network, at);
                }
            });
        }
    }

    /// Whether an auth server let it in that keeps out who claims nothing.
    fn has_passed_gate(&self, answered: &Answered<'_>, now: Moment) -> bool {
        let Some(gate) = answered.gate else { return false };
        !self.gates.peek(gate).is_some_and(|served| is_recent(served.at, now))
    }

    /// What it says of a claim that a page serves it: much where the page refuses those who claim nothing, and its path
    /// serves none of them. It must have refused somebody of another network than the one who is served now: a request
    /// can be refused for much else than who asks, and the client chooses how it asks.
    fn shown_by_page(&self, answered: &Answered<'_>, now: Moment) -> Known {
        if self.served.peek(answered.path).is_some_and(|served| is_recent(served.at, now)) {
            return Known::Not;
        }
        let Some(page) = self.pages.peek(answered.page) else { return Known::Not };
        let network = low_half(answered.network);
        if answered.is_safe && page.sent_to_login.is_of_another(network, now) {
            Known::LoggedIn
        } else if page.refused.is_of_another(network, now) {
            Known::Visitor
        } else {
            Known::Not
        }
    }
}

fn is_recent(at: u32, now: Moment) -> bool {
    at > 0 && u64::from(secs(now).saturating_sub(at)) < PAGE_SECS
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

    fn is_honoured(evidence: &Evidence, claim: u64, now: Moment) -> bool {
        evidence.known(claim, now) > Known::Not
    }

    fn answered(page: u64, status: u16) -> Answered<'static> {
        Answered {
            page,
            path: page,
            network: 1,
            is_safe: true,
            gate: None,
            status,
            is_login_redirect: false,
            sessions_set: &[],
            log_ins_set: &[],
        }
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
        assert!(!is_honoured(&evidence, 1, now), "a public page proves nothing");
        // A page that refuses strangers.
        see(&NOBODY, 11, 401);
        see(&claim(2), 11, 403);
        assert!(!is_honoured(&evidence, 2, now), "refused as well");
        see(&claim(2), 11, 200);
        assert!(is_honoured(&evidence, 2, now));
        // One that refuses now and then is no such page.
        see(&NOBODY, 12, 403);
        see(&NOBODY, 12, 200);
        see(&claim(3), 12, 200);
        assert!(!is_honoured(&evidence, 3, now));
        // Two claims at once: which one was it?
        see(&Claims { session: Some(4), bearer: Some(5), ..NOBODY }, 11, 200);
        assert!(!is_honoured(&evidence, 4, now) && !is_honoured(&evidence, 5, now));
        // A redirect to the log-in is a refusal too.
        evidence.observe(
            &NOBODY,
            &Answered { network: 7, is_login_redirect: true, ..answered(13, 302) },
            now,
        );
        see(&claim(6), 13, 200);
        assert!(is_honoured(&evidence, 6, now));
        // Somebody with another kind of credentials is no stranger.
        see(&Claims { has_other_credentials: true, ..NOBODY }, 11, 200);
        see(&claim(7), 11, 200);
        assert!(is_honoured(&evidence, 7, now));
        see(&claim(7), 99, 401);
        assert!(!is_honoured(&evidence, 7, now), "logged out");
        // A refusal has many reasons, and a client can bring them about.
        for status in [401, 403] {
            let page = u64::from(status);
            let same = |asked: &Claims, status| evidence.observe(asked, &answered(page, status), now);
            same(&NOBODY, status);
            same(&claim(9), 200);
            assert!(!is_honoured(&evidence, 9, now), "the same client made it refuse and serve");
            see(&NOBODY, page, status);
            same(&NOBODY, status);
            same(&claim(9), 200);
            assert!(is_honoured(&evidence, 9, now), "it refuses others, too");
            same(&claim(9), 401);
        }
        // A path that serves strangers under another query.
        evidence.observe(&NOBODY, &Answered { path: 77, ..answered(21, 200) }, now);
        evidence.observe(&NOBODY, &Answered { network: 7, path: 77, ..answered(22, 401) }, now);
        evidence.observe(&claim(10), &Answered { path: 77, ..answered(22, 200) }, now);
        assert!(!is_honoured(&evidence, 10, now));
        see(&Claims { is_ambiguous: true, ..claim(11) }, 11, 200);
        assert!(!is_honoured(&evidence, 11, now), "one of two session cookies: which?");
        // The cookie that the site set.
        evidence.observe(&NOBODY, &Answered { sessions_set: &[8], ..answered(14, 200) }, now);
        assert!(is_honoured(&evidence, 8, now));
        assert!(!is_honoured(&evidence, 8, Moment::from_secs(HONOURED_SECS + 6)));
        evidence.sweep(Moment::from_secs(HONOURED_SECS + 6));
        assert!(!is_honoured(&evidence, 8, now));
    }

    #[test]
    fn a_session_that_everybody_gets_is_no_log_in() {
        let now = Moment::from_secs(5);
        let claim = |session: u64| Claims { session: Some(session), ..NOBODY };
        let stranger = |evidence: &Evidence, answered: Answered<'_>| {
            evidence.observe(&NOBODY, &Answered { network: 7, ..answered }, now);
        };
        type Case = (&'static str, fn(&Evidence, &dyn Fn(&Evidence, Answered<'_>)), Answered<'static>, Known);
        let served = answered(10, 200);
        let behind = Answered { gate: Some(3), ..served };
        let cases: [Case; 11] = [
            ("a cookie that was set", |_, _| {}, served, Known::Visitor),
            (
                "a page that sends strangers to the log-in",
                |evidence, stranger| {
                    stranger(evidence, Answered { is_login_redirect: true, ..answered(10, 302) });
                },
                served,
                Known::LoggedIn,
            ),
            (
                "one that is 401",
                |evidence, stranger| stranger(evidence, answered(10, 401)),
                served,
                Known::LoggedIn,
            ),
            (
                "one that is forbidden to them, for whatever reason",
                |evidence, stranger| stranger(evidence, answered(10, 403)),
                served,
                Known::Visitor,
            ),
            (
                "a form, which wants any session",
                |evidence, stranger| stranger(evidence, answered(10, 401)),
                Answered { is_safe: false, ..served },
                Known::Visitor,
            ),
            (
                "a page that serves strangers, too",
                |evidence, stranger| {
                    stranger(evidence, answered(10, 401));
                    stranger(evidence, answered(10, 200));
                },
                served,
                Known::Visitor,
            ),
            ("an auth server let it in", |_, _| {}, behind, Known::LoggedIn),
            (
                "whatever the backend says then",
                |_, _| {},
                Answered { status: 404, ..behind },
                Known::LoggedIn,
            ),
            ("but for that it is nobody", |_, _| {}, Answered { status: 401, ..behind }, Known::Not),
            (
                "an auth server that lets strangers in somewhere",
                |evidence, stranger| stranger(evidence, Answered { gate: Some(3), ..answered(11, 200) }),
                behind,
                Known::Visitor,
            ),
            (
                "another that does not",
                |evidence, stranger| stranger(evidence, Answered { gate: Some(4), ..answered(11, 200) }),
                behind,
                Known::LoggedIn,
            ),
        ];
        for (name, before, answer, want) in cases {
            let evidence = Evidence::new(1_000);
            before(&evidence, &|evidence, answer| stranger(evidence, answer));
            evidence.observe(&NOBODY, &Answered { sessions_set: &[1], ..answered(99, 302) }, now);
            evidence.observe(&claim(1), &answer, now);
            assert_eq!(evidence.known(1, now), want, "{name}");
        }
        let evidence = Evidence::new(1_000);
        let set = Answered { sessions_set: &[1, 2], log_ins_set: &[2], ..served };
        evidence.observe(&NOBODY, &set, now);
        assert_eq!((evidence.known(1, now), evidence.known(2, now)), (Known::Visitor, Known::LoggedIn));
        // What is set behind a gate belongs to whom it let in.
        evidence.observe(&claim(5), &Answered { sessions_set: &[6], ..behind }, now);
        assert_eq!(evidence.known(6, now), Known::LoggedIn);
        let late = Moment::from_secs(HONOURED_SECS);
        evidence.observe(&NOBODY, &Answered { sessions_set: &[2], ..served }, late);
        let later = Moment::from_secs(HONOURED_SECS + 6);
        assert_eq!(
            evidence.known(2, later),
            Known::Visitor,
            "a log-in is over a week after it was shown last"
        );
    }
}
