// SPDX-License-Identifier: Apache-2.0
//! Numbers as people read them.

/// What stands where nothing is known.
pub(super) const NONE: &str = "–";

/// `1,234,567`
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (digit, left) in digits.chars().zip((1..=digits.len()).rev()) {
        text.push(digit);
        if left > 1 && left % 3 == 1 {
            text.push(',');
        }
    }
    text
}

/// A count that came as a float; it is whole and not negative.
pub(super) fn whole(number: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count; others saturate")]
    let number = number.round() as u64;
    number
}

/// `99.87 %`: with as many digits as the distance from 0 and from 1 needs, so that nothing is rounded to either.
pub(super) fn percent(rate: f64) -> String {
    if rate == 0.0 || rate == 1.0 {
        return format!("{:.0} %", rate * 100.0);
    }
    let distance = rate.min(1.0 - rate) * 100.0;
    let decimals = decimals_for(distance, 10.0).clamp(2, 9);
    if rate.is_finite() { format!("{:.decimals$} %", rate * 100.0) } else { NONE.to_owned() }
}

/// [`percent`], or that there is none.
pub(super) fn percent_or_none(rate: Option<f64>) -> String {
    rate.map_or_else(|| NONE.to_owned(), percent)
}

/// Any number, to four digits; within 0 and 1 also to two digits of the distance from 1.
pub(super) fn figure(number: f64) -> String {
    if number.is_nan() {
        NONE.to_owned()
    } else if number.is_infinite() {
        (if number > 0.0 { "∞" } else { "−∞" }).to_owned()
    } else if number != 0.0 && !(1e-6..1e15).contains(&number.abs()) {
        format!("{number:.2e}")
    } else {
        trimmed(format!("{number:.*}", decimals_of(number)))
    }
}

/// [`figure`], or that there is none.
pub(super) fn figure_or_none(number: Option<f64>) -> String {
    number.map_or_else(|| NONE.to_owned(), figure)
}

fn decimals_of(number: f64) -> usize {
    let own = decimals_for(number.abs(), 1000.0);
    if number.abs() < 1.0 { own.max(decimals_for(1.0 - number.abs(), 10.0)) } else { own }
}

/// How many decimals make it a whole number of at least so much.
fn decimals_for(number: f64, whole: f64) -> usize {
    let scaled = std::iter::successors(Some(number), |number| Some(number * 10.0));
    scaled.take(DECIMALS_MAX).take_while(|scaled| *scaled < whole).count()
}

const DECIMALS_MAX: usize = 9;

fn trimmed(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (got, want) in [
            (count(0), "0"),
            (count(999), "999"),
            (count(1000), "1,000"),
            (count(1_234_567), "1,234,567"),
            (percent(0.0), "0 %"),
            (percent(1.0), "100 %"),
            (percent(0.5), "50.00 %"),
            (percent(0.9987), "99.87 %"),
            (percent(0.999_996), "99.99960 %"),
            (percent(0.000_012), "0.0012 %"),
            (percent(f64::NAN), "–"),
            (figure(0.0), "0"),
            (figure(-0.25), "-0.25"),
            (figure(0.998_7), "0.9987"),
            (figure(0.999_96), "0.99996"),
            (figure(123.456), "123.5"),
            (figure(1234.0), "1234"),
            (figure(f64::INFINITY), "∞"),
            (figure(1.5e-9), "1.50e-9"),
            (figure(f64::NAN), "–"),
            (figure_or_none(None), "–"),
        ] {
            assert_eq!(got, want);
        }
        assert_eq!((whole(3.0), whole(-1.0), whole(f64::NAN)), (3, 0, 0));
    }
}
