// SPDX-License-Identifier: Apache-2.0
//! What the rules of a set did, over all transactions: which matched, which never ran, where the time goes. Matches that
//! are told are counted each time; everything else of one transaction in [`SAMPLED_OF`], so that the others pay for one
//! counter.

use std::sync::atomic::{AtomicU64, Ordering};

/// One transaction of so many is looked at closely. A clock is then read once for each rule.
pub const SAMPLED_OF: u64 = 64;

/// Nanoseconds since some moment that stays the same. The engine itself reads no clock.
pub type Clock = fn() -> u64;

/// Counters of a set of rules. They begin with the set, and a set that is read anew begins anew.
#[derive(Debug)]
pub struct Statistics {
    transactions: AtomicU64,
    sampled: AtomicU64,
    timed: AtomicU64,
    rules: Box<[Counters]>,
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    runs: AtomicU64,
    matches: AtomicU64,
    nanoseconds: AtomicU64,
}

/// What one rule did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCounts {
    /// Transactions in which it matched and was told of. Of one transaction with very many findings (256) not every rule
    /// is counted.
    pub hits: u64,
    /// Of the sampled transactions: how often it looked at something, which the filter spares most rules.
    pub runs: u64,
    /// How often it matched then, told of or not.
    pub matches: u64,
    /// What it took then: of the timed ones, the filter's work for the first rule that needs it among it.
    pub nanoseconds: u64,
}

/// How a transaction is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampling {
    pub(crate) clock: Option<Clock>,
}

impl Statistics {
    pub(crate) fn new(rules: usize) -> Self {
        Self {
            transactions: AtomicU64::new(0),
            sampled: AtomicU64::new(0),
            timed: AtomicU64::new(0),
            rules: std::iter::repeat_with(Counters::default).take(rules).collect(),
        }
    }

    /// Transactions.
    pub fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    /// Those of them that were looked at closely.
    pub fn sampled(&self) -> u64 {
        self.sampled.load(Ordering::Relaxed)
    }

    /// Those of the sampled ones that had a clock.
    pub fn timed(&self) -> u64 {
        self.timed.load(Ordering::Relaxed)
    }

    /// What a rule did, by its place in [`crate::compile::RuleSet::rules`].
    pub fn of(&self, rule: usize) -> RuleCounts {
        let Some(counters) = self.rules.get(rule) else { return RuleCounts::default() };
        RuleCounts {
            hits: counters.hits.load(Ordering::Relaxed),
            runs: counters.runs.load(Ordering::Relaxed),
            matches: counters.matches.load(Ordering::Relaxed),
            nanoseconds: counters.nanoseconds.load(Ordering::Relaxed),
        }
    }

    /// A transaction begins. Whether it is looked at closely: the first is, so that one request shows something.
    pub(crate) fn begin(&self, clock: Option<Clock>) -> Option<Sampling> {
        if !self.transactions.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLED_OF) {
            return None;
        }
        self.sampled.fetch_add(1, Ordering::Relaxed);
        if clock.is_some() {
            self.timed.fetch_add(1, Ordering::Relaxed);
        }
        Some(Sampling { clock })
    }

    pub(crate) fn hit(&self, rule: u32) {
        if let Some(counters) = self.rules.get(rule as usize) {
            counters.hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn ran(&self, rule: u32, matched: bool, nanoseconds: u64) {
        let Some(counters) = self.rules.get(rule as usize) else { return };
        counters.runs.fetch_add(1, Ordering::Relaxed);
        counters.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        if matched {
            counters.matches.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use super::*;
    use crate::compile::{ResourcesOf, RuleSet};
    use crate::engine::{Ends, RequestHead, Transaction};
    use crate::operators::Resources;
    use crate::seclang::{Files, load};

    pub(in crate::engine) struct Text(pub(in crate::engine) &'static str);

    impl Files for Text {
        fn read(&self, _path: &str) -> Result<Vec<u8>, String> {
            Ok(self.0.as_bytes().to_vec())
        }

        fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
            Ok(vec![pattern.to_owned()])
        }
    }

    impl Resources for Text {
        fn read(&self, _name: &str) -> Result<Vec<u8>, String> {
            Err("none".to_owned())
        }
    }

    impl ResourcesOf for Text {
        fn beside(&self, _file: &str) -> Box<dyn Resources + '_> {
            Box::new(Self(self.0))
        }
    }

    const RULES: Text = Text(
        "SecAction \"id:1,phase:1,pass,nolog,setvar:tx.level=1\"\n\
         SecRule &ARGS \"@gt 0\" \"id:2,phase:1,pass,nolog,skipAfter:END\"\n\
         SecRule ARGS \"@rx a\" \"id:3,phase:1,pass,log\"\n\
         SecMarker END\n\
         SecRule ARGS \"@rx evil[0-9]\" \"id:4,phase:1,pass,log,msg:'evil'\"\n\
         SecRule TX:level \"@lt 2\" \"id:5,phase:1,pass,nolog,skipAfter:LEVEL\"\n\
         SecRule ARGS \"@rx a\" \"id:6,phase:1,pass,log\"\n\
         SecMarker LEVEL\n",
    );

    fn ask(transaction: &mut Transaction, rules: &Arc<RuleSet>, target: &[u8]) {
        transaction.begin(rules);
        let [client, server] = [Ipv4Addr::LOCALHOST; 2].map(IpAddr::V4);
        transaction.connection(&Ends { client, client_port: 1, server, server_port: 2 });
        let head = RequestHead { method: b"GET", target, protocol: b"HTTP/1.1", headers: &[], id: "1" };
        transaction.request_head(&head);
    }

    fn ticks() -> u64 {
        static NOW: AtomicU64 = AtomicU64::new(0);
        NOW.fetch_add(10, Ordering::Relaxed)
    }

    #[test]
    fn hits_are_counted_each_time_and_the_rest_of_one_transaction_in_many() {
        let directives = load(&RULES, &["x.conf"]).unwrap();
        let rules = Arc::new(RuleSet::new(&directives, &RULES).unwrap());
        let mut transaction = Transaction::new(Arc::clone(&rules));
        transaction.set_clock(ticks);
        for _ in 0..=SAMPLED_OF {
            ask(&mut transaction, &rules, b"/?x=evil1&y=evil2");
            ask(&mut transaction, &rules, b"/?x=good");
        }
        let statistics = rules.statistics();
        let count = 2 * (SAMPLED_OF + 1);
        assert_eq!((statistics.transactions(), statistics.sampled(), statistics.timed()), (count, 3, 3));
        let of = |id: u64| {
            let place = rules.rules().iter().position(|rule| rule.id == id).unwrap();
            statistics.of(place)
        };
        // Sampled are the first of each: all evil.
        for (id, hits, runs, matches) in [(1, 0, 3, 3), (2, 0, 3, 3), (3, 0, 0, 0), (4, SAMPLED_OF + 1, 3, 3)]
        {
            let counts = of(id);
            assert_eq!((counts.hits, counts.runs, counts.matches), (hits, runs, matches), "{id}");
            assert_eq!(counts.nanoseconds, 10 * runs, "{id}");
        }
        // What is above the level is not asked at all.
        let can_run: Vec<bool> = (0..6).map(|place| rules.can_run(place)).collect();
        assert_eq!(can_run, [true, true, true, true, false, false]);
        assert_eq!(statistics.of(usize::MAX), RuleCounts::default());
    }

    #[test]
    fn the_filter_spares_rules_a_run() {
        let directives = load(&RULES, &["x.conf"]).unwrap();
        let rules = Arc::new(RuleSet::new(&directives, &RULES).unwrap());
        let mut transaction = Transaction::new(Arc::clone(&rules));
        ask(&mut transaction, &rules, b"/?x=good");
        let statistics = rules.statistics();
        transaction.begin(&rules);
        transaction.without_statistics();
        let head = RequestHead { method: b"GET", target: b"/?x=evil1", protocol: b"", headers: &[], id: "1" };
        transaction.request_head(&head);
        assert_eq!(
            (transaction.findings().len(), statistics.transactions(), statistics.of(3).hits),
            (1, 1, 0)
        );
        let runs: Vec<u64> = (0..4).map(|place| statistics.of(place).runs).collect();
        assert_eq!(runs, [1, 1, 0, 0]);
        assert_eq!((statistics.sampled(), statistics.timed(), statistics.of(0).nanoseconds), (1, 0, 0));
    }
}
