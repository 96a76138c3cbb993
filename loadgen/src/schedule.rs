// SPDX-License-Identifier: Apache-2.0
//! When requests are due: at fixed times, whatever the answers do.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

/// Requests `0..total()`, each with its due time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    interval_nanos: u64,
    total: u64,
}

impl Schedule {
    /// `rate` a second for `seconds`.
    pub(crate) fn new(rate: u32, seconds: u32) -> Result<Self> {
        if seconds == 0 || !(1..=1_000_000).contains(&rate) {
            bail!("between 1 and 1,000,000 a second, for at least a second");
        }
        let interval_nanos = 1_000_000_000 / u64::from(rate);
        Ok(Self { interval_nanos, total: u64::from(rate) * u64::from(seconds) })
    }

    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// After the start.
    pub(crate) const fn due(&self, index: u64) -> Duration {
        Duration::from_nanos(self.interval_nanos.saturating_mul(index))
    }

    /// How many are due by then.
    pub(crate) fn due_by(&self, elapsed: Duration) -> u64 {
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        (nanos / self.interval_nanos + 1).min(self.total)
    }
}

/// The kernel's timer: the runtime's own is good to a millisecond, which would make bunches of a fast schedule.
#[derive(Debug)]
pub(crate) struct Ticker {
    // A timer's descriptor is read as a pipe's is; that is all that the type is used for.
    timer: Receiver,
}

impl Ticker {
    pub(crate) fn new() -> Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self { timer: Receiver::from_owned_fd_unchecked(timer)? })
    }

    /// Returns at `when`, or at once when that is past.
    pub(crate) async fn until(&mut self, when: Instant) -> Result<()> {
        let left = when.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // The requests that are under way must have their turn.
            tokio::task::yield_now().await;
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: i64::try_from(left.as_secs())?,
                tv_nsec: i64::from(left.subsec_nanos()),
            },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        self.timer.read_exact(&mut [0; 8]).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_fixed_times() {
        let schedule = Schedule::new(4000, 2).unwrap();
        assert_eq!(schedule.total(), 8000);
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(4000), Duration::from_secs(1));
        for (name, elapsed, want) in [
            ("the first is due at once", Duration::ZERO, 1),
            ("before the second", Duration::from_micros(249), 1),
            ("the second", Duration::from_micros(250), 2),
            ("after a stall all that were missed are due", Duration::from_millis(500), 2001),
            ("the end", Duration::from_secs(60), 8000),
        ] {
            assert_eq!(schedule.due_by(elapsed), want, "{name}");
        }
        assert!(Schedule::new(0, 1).is_err());
    }

    #[tokio::test]
    async fn the_ticker_is_never_early() {
        let mut ticker = Ticker::new().unwrap();
        for wait in [0, 1, 150, 2_000] {
            let when = Instant::now() + Duration::from_micros(wait);
            ticker.until(when).await.unwrap();
            assert!(Instant::now() >= when, "{wait} µs");
        }
    }
}
