// SPDX-License-Identifier: Apache-2.0
//! Whether an address is the crawler that it says it is: remembered, never asked for while a request waits.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sunbeam_tables::{FixedTable, HashKey, Moment};

use crate::bots::Bot;

/// Addresses that are remembered.
const PLACES: usize = 32_768;

/// How long a question may be open before it is asked again: the asker was lost, or its queue full.
const OPEN: Duration = Duration::from_secs(30);

/// How long nothing is asked again after DNS gave no usable answer.
const UNKNOWN: Duration = Duration::from_secs(60);

/// A refusal holds a twelfth as long as a proof: who set up reverse DNS late should not wait a day.
const REFUTED_SHARE: u32 = 12;

/// What is known of an address that says it is a crawler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// Nothing yet: it is as good as anybody.
    #[default]
    Unknown,
    /// It is.
    Verified,
    /// It is not.
    Refuted,
}

/// A question for DNS.
#[derive(Clone, Debug)]
pub struct Question {
    /// Whose reverse name.
    pub address: IpAddr,
    /// In which it has to end.
    pub suffixes: Arc<[String]>,
    /// Where the answer belongs: see [`BotProofs::answer`].
    pub key: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    proof: Proof,
    until: Moment,
}

/// Questions that one network may still raise: eight at once, one in two seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    used: u8,
    since: Moment,
}

impl Share {
    fn take(&mut self, now: Moment) -> bool {
        const AT_ONCE: u8 = 8;
        const EVERY_MICROS: u64 = 2_000_000;
        let back = now.micros_since(self.since) / EVERY_MICROS;
        if back > 0 {
            self.used = self.used.saturating_sub(u8::try_from(back).unwrap_or(u8::MAX));
            self.since = now;
        }
        let may = self.used < AT_ONCE;
        self.used += u8::from(may);
        may
    }
}

type Ask = dyn Fn(Question) -> bool + Send + Sync;

/// See the module.
pub struct BotProofs {
    hash: HashKey,
    known: FixedTable<Known>,
    shares: FixedTable<Share>,
    /// Takes a question without waiting; `false` when it has no room.
    ask: Box<Ask>,
}

impl BotProofs {
    /// `ask` takes a question without waiting, or says `false`.
    pub fn new(hash: HashKey, ask: Box<Ask>) -> Self {
        Self { hash, known: FixedTable::of_places(PLACES), shares: FixedTable::of_places(PLACES / 8), ask }
    }

    /// What is known of an address that calls itself `bot`.
    pub fn of(&self, bot: &Bot, address: IpAddr, now: Moment) -> Proof {
        if bot.holds(address) || bot.is_believed() {
            return Proof::Verified;
        }
        if bot.dns_suffixes.is_empty() {
            // Ranges that the operator gave are whole; of those that are built in nothing follows.
            return if bot.is_configured { Proof::Refuted } else { Proof::Unknown };
        }
        let known = self.known.recall(self.key(bot, address), now);
        known.filter(|known| known.until > now).map_or(Proof::Unknown, |known| known.proof)
    }

    /// Asks about an address of which nothing is known. A network has a share of the questions, so that none can
    /// keep the others from being asked.
    pub fn ask(&self, bot: &Bot, address: IpAddr, now: Moment) {
        let key = self.key(bot, address);
        let is_open = self.known.peek(key).is_some_and(|known| known.until > now);
        let can_be_proved = !bot.dns_suffixes.is_empty() && !bot.is_believed();
        let share = || self.shares.with(self.network(address), now, |bucket| bucket.take(now));
        if is_open || !can_be_proved || !share() {
            return;
        }
        let open = Known { proof: Proof::Unknown, until: now.after(OPEN) };
        self.known.with(key, now, |known| *known = open);
        if !(self.ask)(Question { address, suffixes: Arc::clone(&bot.dns_suffixes), key }) {
            self.known.remove(key);
        }
    }

    /// What DNS said, and for how long a proof holds.
    pub fn answer(&self, key: u64, proof: Proof, ttl: Duration, now: Moment) {
        let holds = match proof {
            Proof::Verified => ttl,
            Proof::Refuted => ttl / REFUTED_SHARE,
            Proof::Unknown => UNKNOWN.min(ttl),
        };
        self.known.with(key, now, |known| *known = Known { proof, until: now.after(holds) });
    }

    /// The IPv4 /24 or IPv6 /48 of an address.
    fn network(&self, address: IpAddr) -> u64 {
        let number = match address.to_canonical() {
            IpAddr::V4(address) => u128::from(u32::from(address) >> 8),
            IpAddr::V6(address) => u128::from(address) >> 80 | 1 << 100,
        };
        self.hash.number(1, number)
    }

    fn key(&self, bot: &Bot, address: IpAddr) -> u64 {
        let number = match address.to_canonical() {
            IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
            IpAddr::V6(address) => u128::from(address),
        };
        self.hash.number(self.hash.bytes(0, bot.token.as_bytes()), number)
    }
}

impl fmt::Debug for BotProofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BotProofs").field("known", &self.known).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::{AllowlistSection, Bots, BotsSection};

    #[test]
    fn an_address_is_asked_about_once_and_the_answer_holds() {
        let asked: Arc<Mutex<Vec<Question>>> = Arc::default();
        let log = Arc::clone(&asked);
        let ask = move |question| {
            log.lock().unwrap().push(question);
            true
        };
        let proofs = BotProofs::new(HashKey::fixed(1), Box::new(ask));
        let allowlist = [
            AllowlistSection { ua_prefix: "Named".into(), ..AllowlistSection::default() },
            AllowlistSection {
                ua_prefix: "Ranged".into(),
                cidrs: vec!["192.0.2.0/24".parse().unwrap()],
                ..AllowlistSection::default()
            },
        ];
        let bots = Bots::new(&BotsSection::default(), &allowlist);
        let bot = |token: &str| bots.all().iter().find(|bot| bot.token == token).unwrap();
        let (near, far): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "198.51.100.1".parse().unwrap());
        let at = Moment::from_secs;
        assert_eq!(proofs.of(bot("Named"), far, at(0)), Proof::Verified);
        assert_eq!(proofs.of(bot("Ranged"), near, at(0)), Proof::Verified);
        assert_eq!(proofs.of(bot("Ranged"), far, at(0)), Proof::Refuted);
        assert_eq!(proofs.of(bot("GPTBot"), far, at(0)), Proof::Unknown);
        assert_eq!(proofs.of(bot("Googlebot"), "66.249.66.1".parse().unwrap(), at(0)), Proof::Verified);
        assert!(asked.lock().unwrap().is_empty(), "no question for any of these");
        for _ in 0..3 {
            assert_eq!(proofs.of(bot("Googlebot"), far, at(1)), Proof::Unknown);
            proofs.ask(bot("Googlebot"), far, at(1));
            proofs.ask(bot("GPTBot"), far, at(1));
        }
        let question = asked.lock().unwrap().pop().unwrap();
        assert!(asked.lock().unwrap().is_empty());
        let ttl = Duration::from_secs(1200);
        proofs.answer(question.key, Proof::Refuted, ttl, at(2));
        assert_eq!(proofs.of(bot("Googlebot"), far, at(101)), Proof::Refuted);
        assert_eq!(proofs.of(bot("bingbot"), far, at(101)), Proof::Unknown, "another crawler's answer");
        assert_eq!(proofs.of(bot("Googlebot"), far, at(103)), Proof::Unknown);
        proofs.ask(bot("Googlebot"), far, at(103));
        assert_eq!(asked.lock().unwrap().len(), 1, "asked again");
        proofs.answer(question.key, Proof::Verified, ttl, at(104));
        assert_eq!(proofs.of(bot("Googlebot"), far, at(1303)), Proof::Verified);
        proofs.answer(question.key, Proof::Unknown, ttl, at(1400));
        proofs.ask(bot("Googlebot"), far, at(1459));
        assert_eq!(asked.lock().unwrap().len(), 1, "a server that does not answer is left alone for a while");
    }

    #[test]
    fn no_network_keeps_the_others_from_being_asked_about() {
        let asked: Arc<Mutex<Vec<Question>>> = Arc::default();
        let log = Arc::clone(&asked);
        let ask = move |question| {
            log.lock().unwrap().push(question);
            true
        };
        let proofs = BotProofs::new(HashKey::fixed(1), Box::new(ask));
        let bots = Bots::new(&BotsSection::default(), &[]);
        let google = bots.all().iter().find(|bot| bot.token == "Googlebot").unwrap();
        for number in 0..1000_u128 {
            let address = IpAddr::from(std::net::Ipv6Addr::from(0x2001_0db8_0bad << 80 | number << 64));
            proofs.ask(google, address, Moment::from_secs(10 + u64::try_from(number).unwrap() / 100));
        }
        assert_eq!(asked.lock().unwrap().len(), 12);
        proofs.ask(google, "198.51.100.1".parse().unwrap(), Moment::from_secs(19));
        assert_eq!(asked.lock().unwrap().len(), 13);
    }
}
