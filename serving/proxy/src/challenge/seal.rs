// SPDX-License-Identifier: Apache-2.0
//! What is signed: the ticket that a challenge is, and the pass that whoever solved it has. Nothing of either is kept
//! here, and neither works at another host or in another browser.
//!
//! A browser is known by its `User-Agent` and by the ciphers of its TLS (the middle of JA4), not by its address: phones
//! change networks, and browsers try IPv4 and IPv6 in turn. The rest of JA4 differs between two connections of one browser
//! (a resumed session, HTTP/1.1 for a WebSocket). Behind a proxy that is believed it is the proxy's TLS, and not used.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::level::Level;

/// A ticket can be solved for so long.
pub(crate) const TICKET_LIFE_MS: i64 = 600_000;

/// What the clocks of a site's nodes may differ by.
const SKEW_MS: i64 = 60_000;

const VERSION: u8 = 1;
const TAG_BYTES: usize = 32;

/// A number that names one ticket or pass.
pub(crate) type Nonce = [u8; 12];

/// The key.
#[derive(Clone, Debug)]
pub(crate) struct Seal(hmac::Key);

/// For whom something is signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder<'a> {
    pub(crate) host: &'a str,
    pub(crate) user_agent: &'a str,
    /// Empty where it is not the client's own.
    pub(crate) ja4: &'a str,
}

/// Whether it is its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// It was made in the future.
    Future,
    Good,
    Expired,
}

/// A challenge: what is asked, since when, and where its client wanted to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) level: Level,
    pub(crate) difficulty: u8,
    pub(crate) issued_ms: i64,
    pub(crate) nonce: Nonce,
    /// A path of the same host, with its query.
    pub(crate) back: String,
}

/// A solved challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) level: Level,
    pub(crate) issued_ms: i64,
    pub(crate) expires_ms: i64,
    pub(crate) id: Nonce,
}

impl Seal {
    pub(crate) fn new(secret: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    fn tag(&self, purpose: &str, holder: &Holder<'_>, body: &[u8]) -> hmac::Tag {
        hmac::sign(&self.0, &signed(purpose, holder, body))
    }

    fn sealed(&self, purpose: &str, holder: &Holder<'_>, body: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode([self.tag(purpose, holder, body).as_ref(), body].concat())
    }

    /// What was sealed for this purpose and holder; `None`: something else.
    fn opened(&self, purpose: &str, holder: &Holder<'_>, text: &str) -> Option<Vec<u8>> {
        let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let body = bytes.get(TAG_BYTES..)?;
        hmac::verify(&self.0, &signed(purpose, holder, body), bytes.get(..TAG_BYTES)?).ok()?;
        bytes.drain(..TAG_BYTES);
        Some(bytes)
    }

    /// What a browser is to bring back beside a ticket: the same all day, so that its tabs do not undo each other's.
    pub(crate) fn seen(&self, holder: &Holder<'_>, issued_ms: i64) -> String {
        const DAY_MS: i64 = 86_400_000;
        let day = issued_ms.div_euclid(DAY_MS).to_be_bytes();
        let tag = self.tag("seen", holder, &day);
        URL_SAFE_NO_PAD.encode(tag.as_ref().get(..16).unwrap_or_default())
    }
}

/// No two of these are the same bytes: each part has its length before it.
fn signed(purpose: &str, holder: &Holder<'_>, body: &[u8]) -> Vec<u8> {
    let ciphers = holder.ja4.split('_').nth(1).unwrap_or_default();
    let parts =
        [purpose.as_bytes(), holder.host.as_bytes(), holder.user_agent.as_bytes(), ciphers.as_bytes()];
    let mut bytes = Vec::with_capacity(256);
    for part in parts.into_iter().chain([body]) {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

impl Ticket {
    pub(crate) fn new(level: Level, difficulty: u8, now_ms: i64, back: &str) -> Self {
        Self { level, difficulty, issued_ms: now_ms, nonce: nonce(), back: same_origin(back).to_owned() }
    }

    pub(crate) fn sealed(&self, seal: &Seal, holder: &Holder<'_>) -> String {
        let mut body = vec![VERSION, self.level.number(), self.difficulty];
        body.extend_from_slice(&self.issued_ms.to_be_bytes());
        body.extend_from_slice(&self.nonce);
        body.extend_from_slice(self.back.as_bytes());
        seal.sealed("ticket", holder, &body)
    }

    pub(crate) fn open(text: &str, seal: &Seal, holder: &Holder<'_>) -> Option<Self> {
        let body = seal.opened("ticket", holder, text)?;
        let (&[VERSION, level, difficulty], rest) = body.split_first_chunk::<3>()? else { return None };
        let (issued, rest) = rest.split_first_chunk::<8>()?;
        let (nonce, back) = rest.split_first_chunk::<12>()?;
        Some(Self {
            level: Level::numbered(level)?,
            difficulty,
            issued_ms: i64::from_be_bytes(*issued),
            nonce: *nonce,
            back: same_origin(std::str::from_utf8(back).ok()?).to_owned(),
        })
    }

    pub(crate) fn age(&self, now_ms: i64) -> Age {
        age(self.issued_ms, self.issued_ms.saturating_add(TICKET_LIFE_MS), now_ms)
    }

    /// What work is done on.
    pub(crate) fn work(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.nonce)
    }
}

impl Pass {
    pub(crate) fn new(level: Level, now_ms: i64, ttl_secs: u64) -> Self {
        let ttl_ms = i64::try_from(ttl_secs).unwrap_or(i64::MAX).saturating_mul(1_000);
        Self { level, issued_ms: now_ms, expires_ms: now_ms.saturating_add(ttl_ms), id: nonce() }
    }

    pub(crate) fn sealed(&self, seal: &Seal, holder: &Holder<'_>) -> String {
        let mut body = vec![VERSION, self.level.number()];
        body.extend_from_slice(&self.issued_ms.to_be_bytes());
        body.extend_from_slice(&self.expires_ms.to_be_bytes());
        body.extend_from_slice(&self.id);
        seal.sealed("pass", holder, &body)
    }

    pub(crate) fn open(text: &str, seal: &Seal, holder: &Holder<'_>) -> Option<Self> {
        let body = seal.opened("pass", holder, text)?;
        let (&[VERSION, level], rest) = body.split_first_chunk::<2>()? else { return None };
        let (issued, rest) = rest.split_first_chunk::<8>()?;
        let (expires, rest) = rest.split_first_chunk::<8>()?;
        Some(Self {
            level: Level::numbered(level)?,
            issued_ms: i64::from_be_bytes(*issued),
            expires_ms: i64::from_be_bytes(*expires),
            id: rest.try_into().ok()?,
        })
    }

    pub(crate) fn age(&self, now_ms: i64) -> Age {
        age(self.issued_ms, self.expires_ms, now_ms)
    }
}

fn age(issued_ms: i64, expires_ms: i64, now_ms: i64) -> Age {
    if issued_ms > now_ms.saturating_add(SKEW_MS) {
        Age::Future
    } else if now_ms > expires_ms.saturating_add(SKEW_MS) {
        Age::Expired
    } else {
        Age::Good
    }
}

fn nonce() -> Nonce {
    let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = Uuid::new_v4().into_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

/// A place on this very host: what a browser would read as another one's, or would come back to for ever, is the front page.
fn same_origin(target: &str) -> &str {
    /// A ticket goes back in an address, which has a bound of its own.
    const BYTES_MAX: usize = 4_096;
    let mut bytes = target.bytes();
    let is_path = bytes.next() == Some(b'/') && !matches!(bytes.next(), Some(b'/' | b'\\'));
    let is_text = target.bytes().all(|byte| byte.is_ascii_graphic());
    let is_ours = target.starts_with(super::ROOM);
    if is_path && is_text && !is_ours && target.len() <= BYTES_MAX { target } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;
    const HOLDER: Holder<'_> = Holder {
        host: "shop.example",
        user_agent: "Mozilla/5.0 (X11) Firefox/140.0",
        ja4: "t13d1516h2_8daaf6152771_02713d6af862",
    };

    fn seal() -> Seal {
        Seal::new("a secret of thirty-two characters")
    }

    #[test]
    fn what_was_sealed_is_opened_by_its_holder_alone() {
        let (ticket, pass) = (Ticket::new(Level::Wait, 16, NOW, "/a?b=c"), Pass::new(Level::Work, NOW, 60));
        let (ticket_text, pass_text) = (ticket.sealed(&seal(), &HOLDER), pass.sealed(&seal(), &HOLDER));
        assert_eq!(Ticket::open(&ticket_text, &seal(), &HOLDER), Some(ticket));
        assert_eq!(Pass::open(&pass_text, &seal(), &HOLDER), Some(pass));
        for (name, other) in [
            ("another host", Holder { host: "other.example", ..HOLDER }),
            ("another browser", Holder { user_agent: "curl/8", ..HOLDER }),
            ("other ciphers", Holder { ja4: "t13d1516h2_000000000000_02713d6af862", ..HOLDER }),
            ("no TLS", Holder { ja4: "", ..HOLDER }),
            // What is moved from one part to the next is not the same.
            (
                "shifted",
                Holder { host: "shop.exampleM", user_agent: "ozilla/5.0 (X11) Firefox/140.0", ..HOLDER },
            ),
        ] {
            assert_eq!(Ticket::open(&ticket_text, &seal(), &other), None, "{name}");
            assert_eq!(Pass::open(&pass_text, &seal(), &other), None, "{name}");
        }
        // The same browser over another connection: a resumed session, HTTP/1.1.
        let resumed = Holder { ja4: "t13d1517h1_8daaf6152771_b1ff8ab2d16f", ..HOLDER };
        assert_eq!(Pass::open(&pass_text, &seal(), &resumed), Some(pass));
        let other = Seal::new("another secret of as many characters");
        assert_eq!(Pass::open(&pass_text, &other, &HOLDER), None);
        assert_eq!(Pass::open(&ticket_text, &seal(), &HOLDER), None, "a ticket is no pass");
        assert_eq!(Ticket::open(&pass_text, &seal(), &HOLDER), None, "nor a pass a ticket");
    }

    #[test]
    fn one_changed_byte_is_a_forgery() {
        let text = Pass::new(Level::Cookie, NOW, 60).sealed(&seal(), &HOLDER);
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for index in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[index] ^= 1;
            assert_eq!(Pass::open(&URL_SAFE_NO_PAD.encode(&forged), &seal(), &HOLDER), None, "byte {index}");
        }
        for length in 0..bytes.len() {
            assert_eq!(
                Pass::open(&URL_SAFE_NO_PAD.encode(&bytes[..length]), &seal(), &HOLDER),
                None,
                "{length}"
            );
        }
        assert_eq!(Pass::open("not base64!", &seal(), &HOLDER), None);
    }

    #[test]
    fn tickets_and_passes_have_their_time_and_clocks_may_differ_by_a_minute() {
        let (ticket, pass) = (Ticket::new(Level::Cookie, 16, NOW, "/"), Pass::new(Level::Cookie, NOW, 3_600));
        for (name, after_ms, of_ticket, of_pass) in [
            ("at once", 0, Age::Good, Age::Good),
            ("on a node whose clock is a minute late", -60_000, Age::Good, Age::Good),
            ("before it was made", -60_001, Age::Future, Age::Future),
            ("in time", 600_000, Age::Good, Age::Good),
            ("in time by a clock that is early", 660_000, Age::Good, Age::Good),
            ("too late", 660_001, Age::Expired, Age::Good),
            ("the pass's last moment", 3_660_000, Age::Expired, Age::Good),
            ("too late for both", 3_660_001, Age::Expired, Age::Expired),
        ] {
            assert_eq!(
                (ticket.age(NOW + after_ms), pass.age(NOW + after_ms)),
                (of_ticket, of_pass),
                "{name}"
            );
        }
    }

    #[test]
    fn the_way_back_leads_to_no_other_host() {
        let long = format!("/{}", "a".repeat(4_096));
        for (target, want) in [
            ("/", "/"),
            ("/a/b?c=d&e=//f", "/a/b?c=d&e=//f"),
            ("//evil.example/", "/"),
            ("/\\evil.example/", "/"),
            ("https://evil.example/", "/"),
            ("", "/"),
            ("/a\tb", "/"),
            ("/a b", "/"),
            ("/.well-known/sunbeam/challenge?t=x", "/"),
            (&long, "/"),
        ] {
            assert_eq!(Ticket::new(Level::Cookie, 16, NOW, target).back, want, "{target}");
        }
    }
}
