// SPDX-License-Identifier: Apache-2.0
//! By what a client is known: a session cookie or a Bearer token that the site has honoured, else its address.

use std::cmp::Reverse;
use std::net::IpAddr;

use sunbeam_tables::{HashKey, Moment};
use sunbeam_traffic::{IdentityKind, RequestFacts};

use crate::evidence::{Evidence, Known};

const KIND_ADDRESS: u64 = 1;
const KIND_SESSION: u64 = 2;
const KIND_BEARER: u64 = 3;

/// Session cookies of one request that are looked at: each costs a look-up.
const SESSIONS_MAX: usize = 8;

/// Bytes of a cookie or token that are looked at; the rest says nothing more.
const SECRET_BYTES_MAX: usize = 4096;

/// An address as one number: IPv4 whole, IPv6 cut to its prefix, since a host may choose any address in it.
pub fn address_number(address: IpAddr, ipv6_prefix: u8) -> u128 {
    match address.to_canonical() {
        // The mapped form's upper half is zero: it cannot meet a prefix of a real IPv6 address.
        IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(ipv6_prefix.clamp(1, 128))).unwrap_or(u128::MAX);
            u128::from(address) & mask
        }
    }
}

/// What a request claims to be, as keyed hashes. No claim is believed before the site has honoured it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Its session cookie.
    pub session: Option<u64>,
    /// Its Bearer token.
    pub bearer: Option<u64>,
    /// It has more than one session cookie.
    pub is_ambiguous: bool,
    /// It has some other `Authorization`.
    pub has_other_credentials: bool,
}

impl Claims {
    /// The first of the session cookies that the site knows best; and the token.
    pub fn of(
        facts: &RequestFacts<'_>,
        session_cookies: &[String],
        hash: &HashKey,
        known: impl Fn(u64) -> Known,
    ) -> Self {
        let (session, is_ambiguous) = session_of(facts.cookies, session_cookies, hash, known);
        let token = bearer_token(facts.authorization);
        Self {
            session,
            is_ambiguous,
            bearer: token.map(|token| hash.bytes(KIND_BEARER, clipped(token))),
            has_other_credentials: token.is_none() && !facts.authorization.is_empty(),
        }
    }

    /// The one claim, if there is exactly one.
    pub const fn only(&self) -> Option<u64> {
        match (self.session, self.bearer, self.has_other_credentials || self.is_ambiguous) {
            (Some(one), None, false) | (None, Some(one), false) => Some(one),
            _ => None,
        }
    }

    /// Whether it claims nothing.
    pub const fn is_anonymous(&self) -> bool {
        self.session.is_none() && self.bearer.is_none() && !self.has_other_credentials
    }
}

/// See [`Claims::of`]. One look at each cookie; of equals the first counts.
fn session_of(
    cookies: &[&[u8]],
    names: &[String],
    hash: &HashKey,
    known: impl Fn(u64) -> Known,
) -> (Option<u64>, bool) {
    let mut count = 0_usize;
    let mut best: Option<(Reverse<Known>, usize, u64)> = None;
    for pair in cookies.iter().flat_map(|line| line.split(|byte| *byte == b';')) {
        let pair = pair.trim_ascii_start();
        let is_meant = |name: &String| {
            pair.get(name.len()) == Some(&b'=') && pair.get(..name.len()) == Some(name.as_bytes())
        };
        let Some((place, name)) = names.iter().enumerate().find(|(_, name)| is_meant(name)) else { continue };
        let value = pair.get(name.len() + 1..).unwrap_or_default();
        let Some(claim) = cookie_claim(name, value, hash) else { continue };
        count += 1;
        if count > SESSIONS_MAX {
            break;
        }
        let found = (Reverse(known(claim)), place, claim);
        // Known before others, then by the order of the names.
        if best.is_none_or(|(known, earlier, _)| (found.0, found.1) < (known, earlier)) {
            best = Some(found);
        }
    }
    (best.map(|(_, _, claim)| claim), count > 1)
}

/// The claim that a session cookie of this name and value makes; none without a value.
pub fn cookie_claim(name: &str, value: &[u8], hash: &HashKey) -> Option<u64> {
    let value = value.trim_ascii();
    let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
    if value.is_empty() {
        return None;
    }
    Some(hash.bytes(hash.bytes(KIND_SESSION, name.as_bytes()), clipped(value)))
}

fn bearer_token(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

fn clipped(secret: &[u8]) -> &[u8] {
    secret.get(..SECRET_BYTES_MAX).unwrap_or(secret)
}

/// Who somebody is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// By what.
    pub kind: IdentityKind,
    /// Its key in every table.
    pub key: u64,
    /// The key of the address behind it; the same for [`IdentityKind::Address`].
    pub address: u64,
    /// The site has shown that somebody logged in with it: a session alone tells visitors apart, and says nothing of who
    /// they are.
    pub is_logged_in: bool,
}

impl Identity {
    /// Session or token, whichever the site knows better, else the address.
    pub fn of(address: u128, claims: &Claims, evidence: &Evidence, hash: &HashKey, now: Moment) -> Self {
        let address = hash.number(KIND_ADDRESS, address);
        let claim = |claim: Option<u64>, kind| {
            claim.map_or((Known::Not, kind, address), |key| (evidence.known(key, now), kind, key))
        };
        let mut best = claim(claims.session, IdentityKind::Session);
        if best.0 < Known::LoggedIn && claims.bearer.is_some() {
            let bearer = claim(claims.bearer, IdentityKind::Bearer);
            best = if bearer.0 > best.0 { bearer } else { best };
        }
        match best {
            (Known::Not, ..) => {
                Self { kind: IdentityKind::Address, key: address, address, is_logged_in: false }
            }
            (known, kind, key) => Self { kind, key, address, is_logged_in: known == Known::LoggedIn },
        }
    }

    /// Whether the site has honoured it: it is one visitor's, and not an address that many may have.
    pub fn is_authenticated(&self) -> bool {
        self.kind != IdentityKind::Address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_client_is_its_prefix_and_mapped_addresses_are_ipv4() {
        let number = |text: &str, prefix| address_number(text.parse().unwrap(), prefix);
        assert_eq!(number("2001:db8:1:2:3::4", 64), number("2001:db8:1:2:ffff::", 64));
        assert_ne!(number("2001:db8:1:2::", 64), number("2001:db8:1:3::", 64));
        assert_eq!(number("2001:db8:1:2::", 56), number("2001:db8:1:3::", 56));
        assert_ne!(number("2001:db8::1", 128), number("2001:db8::2", 128));
        assert_eq!(number("192.0.2.1", 64), number("::ffff:192.0.2.1", 64));
        assert_ne!(number("192.0.2.1", 64), number("192.0.2.2", 64));
    }

    #[test]
    fn claims_are_found_however_cookies_are_written() {
        let (hash, names) = (HashKey::fixed(1), ["session".to_owned(), "PHPSESSID".to_owned()]);
        let claims = |cookies: &[&[u8]], authorization: &[u8]| {
            let facts = RequestFacts { cookies, authorization, ..RequestFacts::EMPTY };
            Claims::of(&facts, &names, &hash, |_| Known::Not)
        };
        let one = claims(&[b"session=abc"], b"").session;
        assert!(one.is_some());
        for same in
            [&b"a=b; session=abc"[..], b"session=\"abc\"", b"PHPSESSID=x;session=abc ", b" session=abc; z"]
        {
            assert_eq!(claims(&[same], b"").session, one, "{}", String::from_utf8_lossy(same));
        }
        assert_eq!(claims(&[b"x=y", b"session=abc"], b"").session, one, "a second line");
        for other in [&b"session=abd"[..], b"PHPSESSID=abc"] {
            assert_ne!(claims(&[other], b"").session, one);
        }
        for none in [&b"session="[..], b"sessions=abc", b"Session=abc", b"xsession=abc", b"session"] {
            assert_eq!(claims(&[none], b"").session, None, "{}", String::from_utf8_lossy(none));
        }
        let token = claims(&[], b"Bearer t0k").bearer;
        assert!(token.is_some() && token == claims(&[], b"bearer  t0k ").bearer);
        assert_eq!(claims(&[], b"Bearer ").bearer, None);
        let basic = claims(&[], b"Basic eDp5");
        assert!(basic.bearer.is_none() && !basic.is_anonymous());
        assert!(claims(&[b"a=b"], b"").is_anonymous());
        assert_eq!(claims(&[b"session=abc"], b"Bearer t0k").only(), None);
        assert_eq!(claims(&[b"session=abc"], b"Basic eDp5").only(), None);
        // A cookie of somebody else's by a common name hides nobody's session.
        let cookies: &[&[u8]] = &[b"session=foreign; PHPSESSID=mine"];
        let facts = RequestFacts { cookies, ..RequestFacts::EMPTY };
        let mine = cookie_claim("PHPSESSID", b"mine", &hash);
        let known = |claim| if Some(claim) == mine { Known::Visitor } else { Known::Not };
        assert_eq!(Claims::of(&facts, &names, &hash, known).session, mine);
        // And with one by which somebody is logged in others do not count.
        let known = |claim| if Some(claim) == mine { Known::LoggedIn } else { Known::Visitor };
        assert_eq!(Claims::of(&facts, &names, &hash, known).session, mine);
    }
}
