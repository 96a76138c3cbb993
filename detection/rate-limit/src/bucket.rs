// SPDX-License-Identifier: Apache-2.0
//! The leaky bucket, in whole numbers.
//!
//! A level is kept in millionths of a millionth of a token, a rate in millionths of a token a second, time in
//! microseconds: what leaks out is their product, without a rest. So a limit holds to the token however long
//! it runs (a test compares it with rational arithmetic), and a changed rate takes effect from one
//! microsecond to the next.

use sunbeam_tables::Moment;

/// One token.
pub const TOKEN: u64 = 1_000_000_000_000;

/// A bucket: how much may come at once, how much leaks out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    burst: u64,
    /// Millionths of a token a second: [`TOKEN`]ths a microsecond.
    rate: u64,
}

impl Limit {
    /// `burst` tokens at once, `rate` a second. `None` for a bucket that holds nothing: no limit.
    /// A rate counts in millionths of a token, one at least.
    pub fn new(burst: u32, rate: f64) -> Option<Self> {
        if burst == 0 {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and is bounded"
        )]
        let rate = (rate * 1e6).round().clamp(1.0, 1e15) as u64;
        Some(Self { burst: u64::from(burst.min(10_000_000)) * TOKEN, rate })
    }

    /// So many times as wide and quick.
    #[must_use]
    pub fn times(self, factor: u32) -> Self {
        let factor = u64::from(factor);
        Self {
            burst: self.burst.saturating_mul(factor).min(10_000_000 * TOKEN),
            rate: self.rate.saturating_mul(factor),
        }
    }

    /// Tokens that may come at once.
    pub const fn burst(&self) -> u64 {
        self.burst / TOKEN
    }

    /// Seconds in which a full bucket runs dry, rounded up.
    pub fn window_secs(&self) -> u64 {
        secs_for(self.burst, self.rate)
    }
}

/// How full a bucket is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    level: u64,
    at: Moment,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Microseconds until there is.
    pub wait_micros: u64,
}

impl Bucket {
    /// Takes `cost` (in [`TOKEN`]ths) if it fits.
    ///
    /// # Errors
    /// How long to wait; then nothing was taken. A cost above the burst never fits: the wait is what the
    /// whole burst would take.
    pub fn take(&mut self, cost: u64, limit: &Limit, now: Moment) -> Result<(), Refused> {
        self.leak(limit, now);
        let full = self.level.saturating_add(cost);
        if full <= limit.burst {
            self.level = full;
            return Ok(());
        }
        let surplus = if cost > limit.burst { limit.burst } else { full - limit.burst };
        Err(Refused { wait_micros: surplus.div_ceil(limit.rate) })
    }

    /// Gives back what was taken.
    pub const fn give_back(&mut self, cost: u64) {
        self.level = self.level.saturating_sub(cost);
    }

    /// Whole tokens that may come now.
    pub fn room(&mut self, limit: &Limit, now: Moment) -> u64 {
        self.leak(limit, now);
        limit.burst.saturating_sub(self.level) / TOKEN
    }

    /// Seconds until it is dry, rounded up.
    pub fn dry_in_secs(&mut self, limit: &Limit, now: Moment) -> u64 {
        self.leak(limit, now);
        secs_for(self.level, limit.rate)
    }

    /// When it was looked at last.
    pub const fn used_at(&self) -> Moment {
        self.at
    }

    /// A clock that went back counts as standing still.
    fn leak(&mut self, limit: &Limit, now: Moment) {
        let passed = now.micros_since(self.at);
        self.level = self.level.saturating_sub(passed.saturating_mul(limit.rate));
        self.at = self.at.max(now);
    }
}

fn secs_for(level: u64, rate: u64) -> u64 {
    level.div_ceil(rate.max(1)).div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn micros(micros: u64) -> Moment {
        Moment::from_micros(micros)
    }

    #[test]
    fn a_burst_then_the_rate_and_the_wait_is_exact() {
        let limit = Limit::new(5, 0.3).unwrap();
        let mut bucket = Bucket::default();
        for _ in 0..5 {
            assert_eq!(bucket.take(TOKEN, &limit, micros(7)), Ok(()));
        }
        let Err(Refused { wait_micros }) = bucket.take(TOKEN, &limit, micros(7)) else { panic!("refused") };
        assert_eq!(wait_micros, 3_333_334);
        assert!(bucket.take(TOKEN, &limit, micros(7 + wait_micros - 1)).is_err());
        assert_eq!(bucket.take(TOKEN, &limit, micros(7 + wait_micros)), Ok(()));
        assert_eq!(limit.window_secs(), 17);
        assert_eq!(Limit::new(0, 5.0), None);
        assert!(bucket.take(6 * TOKEN, &limit, micros(u64::MAX)).is_err(), "more than the burst");
    }

    proptest! {
        /// Against rational arithmetic: tokens of level, times the rate's denominator, in u128.
        #[test]
        fn a_limit_holds_to_the_token_over_a_long_run(
            steps in proptest::collection::vec((0_u64..2_000_000, 1_u64..=10), 1..600),
            burst in 1_u32..300,
            rate_millionths in 1_u64..200_000_000,
            changed in 0_usize..600,
        ) {
            #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
            let limit_of = |rate: u64| Limit::new(burst, rate as f64 / 1e6).unwrap();
            let mut limit = limit_of(rate_millionths);
            let mut rate = rate_millionths;
            let (mut bucket, mut now) = (Bucket::default(), 1_u64 << 50);
            // The slow one: level in tokens × 10^13 (tenths of a token are what requests cost).
            let (mut level, scale) = (0_u128, 10_u128.pow(13));
            for (index, (step, tenths)) in steps.into_iter().enumerate() {
                now += step;
                level = level.saturating_sub(u128::from(step) * u128::from(rate) * 10);
                if index == changed {
                    // A reload: from here on the new rate.
                    bucket.room(&limit, micros(now));
                    rate = rate / 2 + 1;
                    limit = limit_of(rate);
                }
                let cost = u128::from(tenths) * scale / 10;
                let fits = level + cost <= u128::from(burst) * scale;
                let taken = bucket.take(TOKEN / 10 * tenths, &limit, micros(now));
                prop_assert_eq!(taken.is_ok(), fits);
                if fits {
                    level += cost;
                } else if let Err(Refused { wait_micros }) = taken {
                    let missing = level + cost - u128::from(burst) * scale;
                    prop_assert_eq!(u128::from(wait_micros), missing.div_ceil(u128::from(rate) * 10));
                }
            }
        }
    }
}
