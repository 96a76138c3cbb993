// SPDX-License-Identifier: Apache-2.0
//! Minimum rates: how far a peer has fallen behind one. Pure: time is an argument.

use std::time::Duration;

/// How long a peer may be behind its rate.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// A bucket that fills with the time in which the peer was waited for, and is emptied by its bytes at the
/// minimum rate. What it did well long ago earns no credit: the bucket has a bottom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    bytes_per_sec: u64,
    grace: Duration,
    behind: Duration,
}

impl Pace {
    /// A rate of 0 asks for nothing.
    pub(crate) const fn new(bytes_per_sec: u64) -> Self {
        Self::with_grace(bytes_per_sec, GRACE)
    }

    pub(crate) const fn with_grace(bytes_per_sec: u64, grace: Duration) -> Self {
        Self { bytes_per_sec, grace, behind: Duration::ZERO }
    }

    /// How often somebody should look at a peer that is waited for.
    pub(crate) fn look_every(&self) -> Duration {
        self.grace / 10
    }

    pub(crate) const fn grace(&self) -> Duration {
        self.grace
    }

    pub(crate) const fn is_off(&self) -> bool {
        self.bytes_per_sec == 0
    }

    /// The peer was waited for, for so long.
    pub(crate) const fn waited(&mut self, time: Duration) {
        self.behind = self.behind.saturating_add(time);
    }

    /// So many bytes came through.
    pub(crate) fn moved(&mut self, bytes: u64) {
        if !self.behind.is_zero() {
            self.behind = self.behind.saturating_sub(self.time_for(bytes));
        }
    }

    /// Whether the peer is further behind than its grace, even if `bytes` more are on their way.
    pub(crate) fn is_too_slow(&self, bytes: u64) -> bool {
        !self.is_off() && self.behind.saturating_sub(self.time_for(bytes)) > self.grace
    }

    /// How long so many bytes may take.
    pub(crate) fn time_for(&self, bytes: u64) -> Duration {
        match bytes.saturating_mul(1_000_000_000).checked_div(self.bytes_per_sec) {
            Some(nanos) => Duration::from_nanos(nanos),
            None => Duration::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many seconds a peer that moves `bytes` every `every` seconds is too slow, if ever.
    fn ends_after(rate: u64, bytes: u64, every: u64) -> Option<u64> {
        let mut pace = Pace::new(rate);
        (1..3600).find(|second| {
            pace.waited(Duration::from_secs(1));
            if second % every == 0 {
                pace.moved(bytes);
            }
            pace.is_too_slow(0)
        })
    }

    #[test]
    fn a_peer_at_its_rate_goes_on_and_one_below_is_cut_the_sooner_the_slower_it_is() {
        for (name, bytes, every, want) in [
            ("silence", 0, 1, Some(11)),
            ("half the rate", 120, 1, Some(21)),
            ("exactly the rate", 240, 1, None),
            ("the rate in pieces with pauses below the grace", 240 * 9, 9, None),
            ("a drip", 1, 1, Some(11)),
            ("a lot, then a pause above the grace", 1_000_000, 12, Some(11)),
        ] {
            assert_eq!(ends_after(240, bytes, every), want, "{name}");
        }
        assert_eq!(ends_after(0, 0, 1), None, "off");
    }

    #[test]
    fn bytes_on_their_way_count_and_old_ones_are_no_credit() {
        let mut pace = Pace::new(100);
        pace.moved(1_000_000);
        pace.waited(Duration::from_secs(12));
        assert!(pace.is_too_slow(0));
        assert!(!pace.is_too_slow(200));
    }
}
