// SPDX-License-Identifier: Apache-2.0
//! The time of a replay: as the log tells it, as far as a log can be believed.

use serde::Serialize;
use sunbeam_tables::Moment;

/// Never goes back. What the log tells is moved so that it begins at [`BEGINNING`].
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    now: u64,
    /// What is added to what the log tells; none before it told anything.
    offset: Option<i128>,
    times: Times,
}

/// What was odd about the times of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Times {
    /// Records that tell none: each comes a millisecond after the one before it; a second after it where no time was
    /// told before, or no client is: those of a corpus did not come at once.
    pub missing: u64,
    /// Records older than one before them: they come when that one came.
    pub late: u64,
    /// Of these, those over an hour late: another log, or a clock that was set. Time goes on from there.
    pub breaks: u64,
    /// Records over two days after the one before them: two days pass.
    pub gaps: u64,
}

/// Where time stands before the first record: past what any window looks back.
const BEGINNING: u64 = 10_000_000_000;
/// Between records that tell no time, among others that do.
const STEP: u64 = 1000;
/// Between records of which nothing is known: slower than any flood.
const SLOW_STEP: u64 = 1_000_000;
/// Lines of one log are out of order by no more: they are written when requests end.
const LATE_MAX: u64 = 3_600_000_000;
/// Longer than any window and a block by default, so that one wrong time does not end time.
const GAP_MAX: u64 = 2 * 86_400_000_000;
/// Within the seconds that 32 bits hold.
const LATEST: u64 = 4_000_000_000_000_000;

impl Clock {
    pub(crate) const fn new() -> Self {
        Self { now: BEGINNING, offset: None, times: Times { missing: 0, late: 0, breaks: 0, gaps: 0 } }
    }

    /// When a record comes that tells this time, in microseconds since 1970.
    pub(crate) fn at(&mut self, told: Option<i64>, has_client: bool) -> Moment {
        match told {
            None => {
                self.times.missing += 1;
                self.now += if has_client && self.offset.is_some() { STEP } else { SLOW_STEP };
            }
            Some(told) => self.follow(told.into()),
        }
        self.now = self.now.min(LATEST);
        Moment::from_micros(self.now)
    }

    pub(crate) const fn times(&self) -> Times {
        self.times
    }

    fn follow(&mut self, told: i128) {
        let now = i128::from(self.now);
        let passed = told + *self.offset.get_or_insert(now - told) - now;
        if passed < 0 {
            self.times.late += 1;
            if passed < -i128::from(LATE_MAX) {
                self.times.breaks += 1;
                self.offset = Some(now - told);
            }
            return;
        }
        let forward = u64::try_from(passed).unwrap_or(u64::MAX);
        self.now += forward.min(GAP_MAX);
        if forward > GAP_MAX {
            self.times.gaps += 1;
            self.offset = Some(i128::from(self.now) - told);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3_600 * SECOND;
    const YEAR: i64 = 365 * 24 * HOUR;

    /// Microseconds since the beginning after each.
    fn run(told: &[Option<i64>]) -> (Vec<u64>, Times) {
        let mut clock = Clock::new();
        let moments = told.iter().map(|told| clock.at(*told, true).as_micros() - BEGINNING).collect();
        (moments, clock.times())
    }

    #[test]
    fn time_is_the_logs_as_far_as_it_can_be_believed() {
        let t = 1_432_155_925 * SECOND;
        let seconds = |seconds: u64| seconds * 1_000_000;
        for (name, told, want, times) in [
            ("in order", vec![Some(t), Some(t), Some(t + SECOND)], vec![0, 0, seconds(1)], Times::default()),
            (
                "a little late",
                vec![Some(t + 2 * SECOND), Some(t), Some(t + 3 * SECOND)],
                vec![0, 0, seconds(1)],
                Times { late: 1, ..Times::default() },
            ),
            (
                "missing",
                vec![None, Some(t), None],
                vec![seconds(1), seconds(1), seconds(1) + STEP],
                Times { missing: 2, ..Times::default() },
            ),
            (
                "one of another century",
                vec![Some(t), Some(t + 100 * YEAR), Some(t + SECOND), Some(t + 2 * SECOND)],
                vec![0, GAP_MAX, GAP_MAX, GAP_MAX + seconds(1)],
                Times { late: 1, breaks: 1, gaps: 1, ..Times::default() },
            ),
            (
                "an older log behind",
                vec![Some(t), Some(t - YEAR), Some(t - YEAR + SECOND)],
                vec![0, 0, seconds(1)],
                Times { late: 1, breaks: 1, ..Times::default() },
            ),
            (
                "before 1970",
                vec![Some(-5 * SECOND), Some(-4 * SECOND)],
                vec![0, seconds(1)],
                Times::default(),
            ),
        ] {
            assert_eq!(run(&told), (want, times), "{name}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_told_time_never_goes_back_nor_ends(told: Vec<Option<i64>>) {
            let (moments, times) = run(&told);
            prop_assert!(moments.is_sorted());
            prop_assert!(moments.iter().all(|moment| *moment <= LATEST));
            prop_assert!(times.late >= times.breaks);
        }
    }
}
