// SPDX-License-Identifier: Apache-2.0
//! Who is logged in to the console: one-time links, and the sessions that they open. Kept in memory, so that a restart
//! ends them all; only hashes are kept, so that a core dump or a debugger's print opens nothing.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ipnet::IpNet;

/// A link is typed or clicked at once; who finds it later finds nothing.
pub(crate) const LINK_LIVES: Duration = Duration::from_secs(300);

/// A working day. Nobody has to log in twice in it, and a forgotten browser is out overnight.
pub(crate) const SESSION_LIVES: Duration = Duration::from_secs(12 * 3600);

/// Links that wait to be used: each costs a call with the token. The oldest goes.
const LINKS_MAX: usize = 16;

/// People at one node at a time. The oldest session goes.
pub(crate) const SESSIONS_MAX: usize = 64;

/// An IPv6 host changes its address inside its own network by itself (RFC 8981).
const IPV6_NETWORK_BITS: u8 = 64;

type Hash = [u8; 32];

/// See the module.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    links: VecDeque<Link>,
    sessions: VecDeque<Session>,
}

struct Link {
    secret: Hash,
    until: Instant,
}

struct Session {
    id: Hash,
    proof: Hash,
    name: String,
    from: IpNet,
    until: Instant,
}

/// What a browser is given: both halves are needed for every call.
pub(crate) struct Opened {
    /// For the cookie, which no script can read, but which a browser sends to every port of a host.
    pub(crate) id: String,
    /// For the page's own storage, which no other port can read.
    pub(crate) proof: String,
    /// What the session is called in the trail; opens nothing.
    pub(crate) name: String,
}

/// A session that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) name: String,
    pub(crate) left: Duration,
}

/// Why a session is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSession {
    /// It never was, or is over.
    Unknown,
    /// It was opened somewhere else. Whoever has both halves of it may have stolen them, so it ends for both.
    Elsewhere,
}

/// There is no randomness to be had.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub(crate) struct NoRandomness;

impl Sessions {
    /// A secret that opens one session, and whether the oldest one had to go for it.
    pub(crate) fn link(&self, now: Instant) -> Result<(String, bool), NoRandomness> {
        let secret = secret()?;
        let mut inner = self.inner(now);
        let is_full = inner.links.len() >= LINKS_MAX;
        if is_full {
            inner.links.pop_front();
        }
        inner.links.push_back(Link { secret: hash(&secret), until: now + LINK_LIVES });
        Ok((secret, is_full))
    }

    /// Opens a session with a link's secret, which is worth nothing from then on; with it, whether the oldest session
    /// had to go. `None`: there is no such link.
    pub(crate) fn open(
        &self,
        given: &str,
        from: IpAddr,
        now: Instant,
    ) -> Result<Option<(Opened, bool)>, NoRandomness> {
        let opened = Opened { id: secret()?, proof: secret()?, name: name()? };
        let given = hash(given);
        let mut inner = self.inner(now);
        let Some(place) = inner.links.iter().position(|link| link.secret == given) else { return Ok(None) };
        inner.links.remove(place);
        let is_full = inner.sessions.len() >= SESSIONS_MAX;
        if is_full {
            inner.sessions.pop_front();
        }
        inner.sessions.push_back(Session {
            id: hash(&opened.id),
            proof: hash(&opened.proof),
            name: opened.name.clone(),
            from: network(from),
            until: now + SESSION_LIVES,
        });
        Ok(Some((opened, is_full)))
    }

    /// Whether a session holds, by both halves and where they come from. Hashes are compared: how long that takes tells
    /// nothing about what they are of.
    pub(crate) fn check(
        &self,
        id: &str,
        proof: &str,
        from: IpAddr,
        now: Instant,
    ) -> Result<Holder, NoSession> {
        let (id, proof) = (hash(id), hash(proof));
        let mut inner = self.inner(now);
        let is_meant = |session: &Session| session.id == id && session.proof == proof;
        let place = inner.sessions.iter().position(is_meant).ok_or(NoSession::Unknown)?;
        let session = inner.sessions.get(place).ok_or(NoSession::Unknown)?;
        if session.from != network(from) {
            inner.sessions.remove(place);
            return Err(NoSession::Elsewhere);
        }
        Ok(Holder { name: session.name.clone(), left: session.until.saturating_duration_since(now) })
    }

    /// Those that hold.
    pub(crate) fn count(&self, now: Instant) -> usize {
        self.inner(now).sessions.len()
    }

    /// Ends a session.
    pub(crate) fn close(&self, name: &str) {
        self.lock().sessions.retain(|session| session.name != name);
    }

    /// Ends all, and takes all links back.
    pub(crate) fn clear(&self) {
        *self.lock() = Inner::default();
    }

    fn inner(&self, now: Instant) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        inner.links.retain(|link| link.until > now);
        inner.sessions.retain(|session| session.until > now);
        inner
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

fn network(address: IpAddr) -> IpNet {
    let address = address.to_canonical();
    let bits = if address.is_ipv4() { 32 } else { IPV6_NETWORK_BITS };
    IpNet::new(address, bits).map_or_else(|_| IpNet::from(address), |network| network.trunc())
}

fn secret() -> Result<String, NoRandomness> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn name() -> Result<String, NoRandomness> {
    let mut bytes = [0; 4];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(format!("{:08x}", u32::from_be_bytes(bytes)))
}

fn hash(text: &str) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn opened(sessions: &Sessions, from: &str, now: Instant) -> Opened {
        let (secret, _) = sessions.link(now).unwrap();
        sessions.open(&secret, from.parse().unwrap(), now).unwrap().unwrap().0
    }

    #[test]
    fn a_link_works_once_and_for_five_minutes() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let (secret, _) = sessions.link(now).unwrap();
        assert!(secret.len() >= 43, "256 bits");
        assert!(sessions.open("another", HERE, now).unwrap().is_none());
        assert!(sessions.open(&secret, HERE, now).unwrap().is_some());
        assert!(sessions.open(&secret, HERE, now).unwrap().is_none(), "once");
        let (secret, _) = sessions.link(now).unwrap();
        assert!(sessions.open(&secret, HERE, now + LINK_LIVES).unwrap().is_none(), "five minutes");
        let (secret, _) = sessions.link(now).unwrap();
        assert!(sessions.open(&secret, HERE, now + LINK_LIVES - Duration::from_secs(1)).unwrap().is_some());
    }

    #[test]
    fn a_session_needs_both_halves_and_ends_after_twelve_hours() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let (one, two) = (opened(&sessions, "127.0.0.1", now), opened(&sessions, "127.0.0.1", now));
        let check = |id: &str, proof: &str, after: Duration| sessions.check(id, proof, HERE, now + after);
        assert_eq!(check(&one.id, &one.proof, Duration::ZERO).unwrap().name, one.name);
        for (name, id, proof) in [
            ("no proof", one.id.as_str(), ""),
            ("another's proof", one.id.as_str(), two.proof.as_str()),
            ("no id", "", one.proof.as_str()),
            ("the proof as id", one.proof.as_str(), one.id.as_str()),
        ] {
            assert_eq!(check(id, proof, Duration::ZERO), Err(NoSession::Unknown), "{name}");
        }
        assert!(check(&one.id, &one.proof, SESSION_LIVES - Duration::from_secs(1)).is_ok());
        assert_eq!(check(&one.id, &one.proof, SESSION_LIVES), Err(NoSession::Unknown));
    }

    #[test]
    fn a_session_that_is_used_from_elsewhere_ends() {
        let now = Instant::now();
        for (name, opened_at, used_at, holds) in [
            ("the same", "192.0.2.1", "192.0.2.1", true),
            ("mapped", "192.0.2.1", "::ffff:192.0.2.1", true),
            ("a neighbour", "192.0.2.1", "192.0.2.2", false),
            ("another address of the host's network", "2001:db8::1", "2001:db8::9:9", true),
            ("another network", "2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let sessions = Sessions::default();
            let Opened { id, proof, .. } = opened(&sessions, opened_at, now);
            let used = sessions.check(&id, &proof, used_at.parse().unwrap(), now);
            assert_eq!(used.is_ok(), holds, "{name}");
            if !holds {
                assert_eq!(used, Err(NoSession::Elsewhere), "{name}");
            }
            let again = sessions.check(&id, &proof, opened_at.parse().unwrap(), now);
            assert_eq!(again.is_ok(), holds, "{name}: where it was opened");
        }
    }

    #[test]
    fn links_and_sessions_have_bounds_and_the_oldest_goes() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let links: Vec<(String, bool)> = (0..=LINKS_MAX).map(|_| sessions.link(now).unwrap()).collect();
        assert_eq!(links.iter().filter(|(_, is_full)| *is_full).count(), 1);
        assert!(sessions.open(&links[0].0, HERE, now).unwrap().is_none(), "the oldest link went");
        assert!(sessions.open(&links[1].0, HERE, now).unwrap().is_some());
        sessions.clear();
        let all: Vec<Opened> = (0..=SESSIONS_MAX).map(|_| opened(&sessions, "127.0.0.1", now)).collect();
        assert_eq!(sessions.check(&all[0].id, &all[0].proof, HERE, now), Err(NoSession::Unknown));
        assert!(sessions.check(&all[1].id, &all[1].proof, HERE, now).is_ok());
        sessions.close(&all[1].name);
        assert!(sessions.check(&all[1].id, &all[1].proof, HERE, now).is_err(), "logged out");
        sessions.clear();
        assert!(sessions.check(&all[2].id, &all[2].proof, HERE, now).is_err(), "all are out");
    }
}
