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

type Ask = dyn Fn(Question) -> bool + Send + Sync;

/// See the module.
pub struct BotProofs {
    hash: HashKey,
    known: FixedTable<Known>,
    /// Takes a question without waiting; `false` when it has no room.
    ask: Box<Ask>,
}

impl BotProofs {
    /// `ask` takes a question without waiting, or says `false`.
    pub fn new(hash: HashKey, ask: Box<Ask>) -> Self {
        Self { hash, known: FixedTable::of_places(PLACES), ask }
    }

    /// What is known of an address that calls itself `bot`; `asks`, if it should be known.
    pub fn of(&self, bot: &Bot, address: IpAddr, asks: bool, now: Moment) -> Proof {
        if bot.holds(address) || bot.is_believed() {
            return Proof::Verified;
        }
        if bot.dns_suffixes.is_empty() {
            // Ranges that the operator gave are whole; of those that are built in nothing follows.
            return if bot.is_configured { Proof::Refuted } else { Proof::Unknown };
        }
        let key = self.key(bot, address);
        let known = self.known.peek(key).filter(|known| known.until > now);
        if let Some(known) = known {
            return known.proof;
        }
        if !asks {
            return Proof::Unknown;
        }
        let open = Known { proof: Proof::Unknown, until: now.after(OPEN) };
        self.known.with(key, now, |known| *known = open);
        if !(self.ask)(Question { address, suffixes: Arc::clone(&bot.dns_suffixes), key }) {
            self.known.remove(key);
        }
        Proof::Unknown
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
        assert_eq!(proofs.of(bot("Named"), far, true, at(0)), Proof::Verified);
        assert_eq!(proofs.of(bot("Ranged"), near, true, at(0)), Proof::Verified);
        assert_eq!(proofs.of(bot("Ranged"), far, true, at(0)), Proof::Refuted);
        assert_eq!(proofs.of(bot("GPTBot"), far, true, at(0)), Proof::Unknown);
        assert_eq!(proofs.of(bot("Googlebot"), "66.249.66.1".parse().unwrap(), true, at(0)), Proof::Verified);
        assert!(asked.lock().unwrap().is_empty(), "no question for any of these");
        for _ in 0..3 {
            assert_eq!(proofs.of(bot("Googlebot"), far, true, at(1)), Proof::Unknown);
        }
        let question = asked.lock().unwrap().pop().unwrap();
        assert!(asked.lock().unwrap().is_empty());
        let ttl = Duration::from_secs(1200);
        proofs.answer(question.key, Proof::Refuted, ttl, at(2));
        assert_eq!(proofs.of(bot("Googlebot"), far, true, at(101)), Proof::Refuted);
        assert_eq!(proofs.of(bot("bingbot"), far, true, at(101)), Proof::Unknown, "another crawler's answer");
        assert_eq!(proofs.of(bot("Googlebot"), far, true, at(103)), Proof::Unknown, "asked again");
        proofs.answer(question.key, Proof::Verified, ttl, at(104));
        assert_eq!(proofs.of(bot("Googlebot"), far, true, at(1303)), Proof::Verified);
        proofs.answer(question.key, Proof::Unknown, ttl, at(1400));
        assert_eq!(asked.lock().unwrap().len(), 2);
        assert_eq!(proofs.of(bot("Googlebot"), far, true, at(1459)), Proof::Unknown);
        assert_eq!(asked.lock().unwrap().len(), 2, "a server that does not answer is left alone for a while");
    }
}
