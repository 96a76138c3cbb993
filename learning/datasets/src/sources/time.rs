// SPDX-License-Identifier: Apache-2.0
//! Times as logs write them.

use jiff::Timestamp;
use jiff::fmt::strtime;

/// Microseconds since 1970; none when it is no time that any of the formats writes.
pub(super) fn micros(text: &str) -> Option<i64> {
    let text = text.trim();
    let starts_with_year = text.bytes().take(4).filter(u8::is_ascii_digit).count() == 4;
    let time = if starts_with_year { text.parse().ok() } else { of_log(text).or_else(|| of_ctime(text)) };
    time.map(Timestamp::as_microsecond)
}

/// `17/May/2015:10:05:03 +0000`, `17/May/2015:10:05:03.123456 +0000`
fn of_log(text: &str) -> Option<Timestamp> {
    strtime::parse("%d/%b/%Y:%H:%M:%S%.f %z", text).ok()?.to_timestamp().ok()
}

/// `Sun May 17 10:05:03 2015`: says no zone, and is taken as UTC.
fn of_ctime(text: &str) -> Option<Timestamp> {
    let time = strtime::parse("%a %b %e %H:%M:%S %Y", text).ok()?.to_datetime().ok()?;
    time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|time| time.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_as_logs_write_them() {
        for (name, text, want) in [
            ("RFC 3339", "2015-05-17T10:05:03Z", Some(1_431_857_103_000_000)),
            ("with a fraction and a zone", "2015-05-17T12:05:03.5+02:00", Some(1_431_857_103_500_000)),
            ("a web server's", "17/May/2015:10:05:03 +0000", Some(1_431_857_103_000_000)),
            ("with a zone", "17/May/2015:13:05:03 +0300", Some(1_431_857_103_000_000)),
            ("with a fraction", "17/May/2015:10:05:03.250000 +0000", Some(1_431_857_103_250_000)),
            ("C's", "Sun May 17 10:05:03 2015", Some(1_431_857_103_000_000)),
            ("a day that is none", "31/Feb/2015:10:05:03 +0000", None),
            ("cut", "17/May/2015:10:05", None),
            ("nothing", "", None),
        ] {
            assert_eq!(micros(text), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_a_time_or_none(text in "\\PC{0,40}", digits in "[0-9TZ:/+. A-z-]{0,40}") {
            let _: (Option<i64>, Option<i64>) = (micros(&text), micros(&digits));
        }
    }
}
