// SPDX-License-Identifier: Apache-2.0
//! The time of a request, as rules see it: `TIME_HOUR`, and what collections count from.

use super::Transaction;
use crate::compile::RuleSet;
use crate::seclang::ast::Variable;

/// When a request came, by the clock on the wall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since 1970 began in UTC.
    pub seconds: i64,
    /// Seconds by which the node's own time is ahead of UTC. `TIME_HOUR` and its like are told in it, as ModSecurity
    /// tells them.
    pub ahead: i32,
}

const DAY: i64 = 86_400;

impl Transaction {
    /// `TIME`, `TIME_HOUR` and so on, where rules look at any.
    pub(super) fn tell_time(&mut self) {
        let parts = Parts::of(self.state.now);
        let Parts { year, month, day, weekday, hour, minute, second } = parts;
        for (variable, text) in [
            (Variable::Time, format!("{hour:02}:{minute:02}:{second:02}")),
            (Variable::TimeYear, format!("{year:04}")),
            (Variable::TimeMon, month.to_string()),
            (Variable::TimeDay, day.to_string()),
            (Variable::TimeWday, weekday.to_string()),
            (Variable::TimeHour, format!("{hour:02}")),
            (Variable::TimeMin, format!("{minute:02}")),
            (Variable::TimeSec, format!("{second:02}")),
            (Variable::TimeEpoch, self.state.now.seconds.to_string()),
        ] {
            self.state.put(variable, text.as_bytes());
        }
    }
}

impl RuleSet {
    /// Whether any rule asks what time it is at the node.
    pub fn asks_the_time(&self) -> bool {
        TIMES.iter().any(|variable| self.reads(*variable))
    }
}

/// The variables that tell the time.
const TIMES: &[Variable] = &[
    Variable::Time,
    Variable::TimeYear,
    Variable::TimeMon,
    Variable::TimeDay,
    Variable::TimeWday,
    Variable::TimeHour,
    Variable::TimeMin,
    Variable::TimeSec,
    Variable::TimeEpoch,
];

#[derive(Debug, PartialEq, Eq)]
struct Parts {
    year: i64,
    /// From 0.
    month: i64,
    /// From 1.
    day: i64,
    /// From 0, a Sunday.
    weekday: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Parts {
    fn of(moment: Moment) -> Self {
        let seconds = moment.seconds.saturating_add(moment.ahead.into());
        let (days, of_day) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        // Years that begin in March end with the day that only some of them have. Eras of 400 years are all alike.
        let since = days + 719_468;
        let (era, of_era) = (since.div_euclid(146_097), since.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * of_year + 2) / 153;
        let month = (month_from_march + 2) % 12;
        Self {
            year: 400 * era + year_of_era + i64::from(month < 2),
            month,
            day: of_year - (153 * month_from_march + 2) / 5 + 1,
            weekday: (days + 4).rem_euclid(7),
            hour: of_day / 3_600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_moment_has_its_parts() {
        for (seconds, ahead, want) in [
            (0, 0, (1970, 0, 1, 4, 0, 0, 0)),
            (951_782_399, 0, (2000, 1, 28, 1, 23, 59, 59)),
            (951_782_400, 0, (2000, 1, 29, 2, 0, 0, 0)),
            (951_868_800, 0, (2000, 2, 1, 3, 0, 0, 0)),
            (1_798_761_599, 0, (2026, 11, 31, 4, 23, 59, 59)),
            (1_798_761_599, 3_600, (2027, 0, 1, 5, 0, 59, 59)),
            (1_798_761_599, -3_600, (2026, 11, 31, 4, 22, 59, 59)),
            (-1, 0, (1969, 11, 31, 3, 23, 59, 59)),
        ] {
            let Parts { year, month, day, weekday, hour, minute, second } =
                Parts::of(Moment { seconds, ahead });
            assert_eq!((year, month, day, weekday, hour, minute, second), want, "{seconds}");
        }
    }

    proptest! {
        /// Day by day, as a calendar on paper goes.
        #[test]
        fn the_next_day_is_the_next_day(days in -400_000..400_000_i64) {
            let of = |days: i64| Parts::of(Moment { seconds: days * DAY, ahead: 0 });
            let (one, next) = (of(days), of(days + 1));
            let leap = one.year % 4 == 0 && (one.year % 100 != 0 || one.year % 400 == 0);
            let lengths = [31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            let length = lengths[usize::try_from(one.month).unwrap()];
            let want = match (one.day < length, one.month) {
                (true, month) => (one.year, month, one.day + 1),
                (false, 11) => (one.year + 1, 0, 1),
                (false, month) => (one.year, month + 1, 1),
            };
            prop_assert_eq!((next.year, next.month, next.day), want);
            prop_assert_eq!(next.weekday, (one.weekday + 1) % 7);
        }
    }
}
