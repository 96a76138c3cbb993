// SPDX-License-Identifier: Apache-2.0
//! Blocks that layers made: of one identity, for a time, longer with each repetition.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use sunbeam_tables::{FixedTable, Moment};
use sunbeam_traffic::{IdentityKind, Layer};

/// Identities that have room; past it those with the fewest looks are forgotten first, counted.
const PLACES: usize = 16_384;

/// How long an identity is left alone after an operator unblocked it.
const GRACE: Duration = Duration::from_secs(86_400);

/// For how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BanRules {
    /// The first time.
    pub secs: u64,
    /// Each repetition multiplies it,
    pub escalation: f64,
    /// up to this; after so long without another offence the count begins anew.
    pub max_secs: u64,
}

impl BanRules {
    fn secs_of(&self, offences: u16) -> u64 {
        let factor = self.escalation.max(1.0).powi(i32::from(offences) - 1);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "seconds; saturates"
        )]
        let secs = (self.secs as f64 * factor) as u64;
        secs.min(self.max_secs).max(self.secs.min(self.max_secs))
    }
}

/// Whose block it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Held {
    /// One client's: an address (or IPv6 prefix), a session, a token.
    #[default]
    Client,
    /// That of an IPv6 prefix wider than a client, of so many bits.
    Prefix(u8),
    /// That of everybody who is logged in behind an address.
    Behind,
}

/// Who offended, and how.
#[derive(Clone, Copy, Debug)]
pub struct Offence {
    /// The identity's key.
    pub key: u64,
    /// What it is.
    pub kind: IdentityKind,
    /// Whose block it becomes.
    pub held: Held,
    /// The address behind it.
    pub address: IpAddr,
    /// Who says so.
    pub layer: Layer,
    /// Why, in fixed words.
    pub reason: &'static str,
}

/// A block.
#[derive(Clone, Copy, Debug)]
pub struct Ban {
    /// The identity's key.
    pub key: u64,
    /// What it is.
    pub kind: IdentityKind,
    /// Whose it is.
    pub held: Held,
    /// The address behind it; of an IPv6 client one of its prefix.
    pub address: IpAddr,
    /// Who says so.
    pub layer: Layer,
    /// Why, in fixed words.
    pub reason: &'static str,
    /// When it began.
    pub since: Moment,
    /// When it ends.
    pub until: Moment,
    /// How often so far.
    pub offences: u16,
    /// Until when no layer may block it again.
    pub grace_until: Moment,
}

impl Default for Ban {
    fn default() -> Self {
        Self {
            key: 0,
            kind: IdentityKind::Address,
            held: Held::Client,
            address: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            layer: Layer::Ddos,
            reason: "",
            since: Moment::default(),
            until: Moment::default(),
            offences: 0,
            grace_until: Moment::default(),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Bans {
    table: FixedTable<Ban>,
}

impl Default for Bans {
    fn default() -> Self {
        Self { table: FixedTable::of_places(PLACES) }
    }
}

impl Bans {
    /// The block of an identity that holds now.
    pub fn find(&self, key: u64, now: Moment) -> Option<Ban> {
        self.table.recall(key, now).filter(|ban| ban.until > now)
    }

    /// Whether an operator unblocked it less than a day ago.
    pub fn has_grace(&self, key: u64, now: Moment) -> bool {
        self.table.peek(key).is_some_and(|ban| ban.grace_until > now)
    }

    /// Blocks who offended. `None`: it has grace, or is blocked already. Seconds otherwise.
    pub fn add(&self, offence: &Offence, rules: &BanRules, now: Moment) -> Option<u64> {
        self.table.with(offence.key, now, |ban| {
            if ban.grace_until > now || ban.until > now {
                return None;
            }
            let forgotten = ban.until.after(Duration::from_secs(rules.max_secs)) < now;
            let offences = if forgotten { 1 } else { ban.offences.saturating_add(1) };
            let secs = rules.secs_of(offences);
            *ban = Ban {
                key: offence.key,
                kind: offence.kind,
                held: offence.held,
                address: offence.address,
                layer: offence.layer,
                reason: offence.reason,
                since: now,
                until: now.after(Duration::from_secs(secs)),
                offences,
                grace_until: Moment::default(),
            };
            Some(secs)
        })
    }

    /// Puts back what was known before a restart.
    pub fn restore(&self, ban: Ban, now: Moment) {
        self.table.with(ban.key, now, |place| *place = ban);
    }

    /// Ends the blocks that `is_meant` means, and leaves those identities alone for a day. How many there were.
    pub fn lift(&self, now: Moment, is_meant: impl Fn(&Ban) -> bool) -> usize {
        let mut keys = Vec::new();
        self.table.each(|ban| {
            if ban.until > now && is_meant(ban) {
                keys.push(ban.key);
            }
        });
        for key in &keys {
            self.table.change(*key, |ban| {
                ban.until = now;
                ban.offences = 0;
                ban.grace_until = now.after(GRACE);
            });
        }
        keys.len()
    }

    /// Gives an address a day in which no layer blocks it.
    pub fn grant_grace(&self, key: u64, address: IpAddr, now: Moment) {
        self.table.with(key, now, |ban| {
            *ban = Ban { key, address, until: now, grace_until: now.after(GRACE), ..Ban::default() };
        });
    }

    /// Every identity that is left alone now.
    pub fn graced(&self, now: Moment) -> Vec<Ban> {
        let mut graced = Vec::new();
        self.table.each(|ban| {
            if ban.grace_until > now {
                graced.push(*ban);
            }
        });
        graced
    }

    /// Every block that holds now.
    pub fn all(&self, now: Moment) -> Vec<Ban> {
        let mut all = Vec::new();
        self.table.each(|ban| {
            if ban.until > now {
                all.push(*ban);
            }
        });
        all.sort_by_key(|ban| ban.since);
        all
    }

    /// Blocks that were forgotten for want of room so far.
    pub fn evicted(&self) -> u64 {
        self.table.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: BanRules = BanRules { secs: 300, escalation: 2.0, max_secs: 3600 };

    fn offence(key: u64) -> Offence {
        Offence {
            key,
            kind: IdentityKind::Address,
            held: Held::Client,
            address: "192.0.2.1".parse().unwrap(),
            layer: Layer::Ddos,
            reason: "client_errors",
        }
    }

    #[test]
    fn repetition_makes_it_longer_and_good_conduct_shorter_again() {
        let bans = Bans::default();
        let mut now = Moment::from_secs(10);
        for want in [300, 600, 1200, 2400, 3600, 3600] {
            assert_eq!(bans.add(&offence(7), &RULES, now), Some(want));
            assert_eq!(bans.add(&offence(7), &RULES, now), None, "blocked already");
            let end = now.after(Duration::from_secs(want));
            assert!(bans.find(7, Moment::from_micros(end.as_micros() - 1)).is_some());
            assert!(bans.find(7, end).is_none());
            now = end.after(Duration::from_secs(5));
        }
        now = now.after(Duration::from_secs(3601));
        assert_eq!(bans.add(&offence(7), &RULES, now), Some(300));
        assert_eq!(bans.all(now).len(), 1);
        assert_eq!(bans.find(8, now).map(|ban| ban.key), None);
    }

    #[test]
    fn who_was_unblocked_is_left_alone_for_a_day() {
        let (bans, now) = (Bans::default(), Moment::from_secs(10));
        bans.add(&offence(7), &RULES, now);
        assert_eq!(bans.lift(now, |ban| ban.address == offence(7).address), 1);
        assert!(bans.find(7, now).is_none());
        assert_eq!(bans.add(&offence(7), &RULES, Moment::from_secs(86_000)), None);
        assert_eq!(bans.add(&offence(7), &RULES, Moment::from_secs(86_500)), Some(300));
        bans.grant_grace(9, offence(9).address, now);
        assert_eq!(bans.add(&offence(9), &RULES, now), None);
    }
}
