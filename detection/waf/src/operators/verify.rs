// SPDX-License-Identifier: Apache-2.0
//! `@verifyCC`, `@verifyCPF`, `@verifySSN`, `@verifySVNR`, `@validateNid`: whether an expression finds a number whose
//! check digits are right: one of a credit card, or one that a state gave somebody.

use regex_automata::Input;

use super::rx::Finder;
use super::{Argument, Captures, Operator, OperatorKind, Resources};

/// `SecRule ARGS "@verifyCC \d{13,16}" …`
pub(super) static VERIFY_CC: OperatorKind = OperatorKind {
    name: "verifyCC",
    aliases: &[],
    doc: "Whether the expression finds the number of a credit card, by its check digit.",
    argument: Argument::Required,
    compile: |argument, _| Verify::compile(argument, is_card),
};

/// `SecRule ARGS "@verifyCPF /^([0-9]{3}\.){2}[0-9]{3}-[0-9]{2}$/" …`
pub(super) static VERIFY_CPF: OperatorKind = OperatorKind {
    name: "verifyCPF",
    aliases: &[],
    doc: "Whether the expression finds the number of a taxpayer of Brazil, by its check digits.",
    argument: Argument::Required,
    compile: |argument, _| Verify::compile(argument, is_cpf),
};

/// `SecRule ARGS "@verifySSN \d{3}-?\d{2}-?\d{4}" …`
pub(super) static VERIFY_SSN: OperatorKind = OperatorKind {
    name: "verifySSN",
    aliases: &[],
    doc: "Whether the expression finds what can be a social security number of the United States.",
    argument: Argument::Required,
    compile: |argument, _| Verify::compile(argument, is_ssn_alone),
};

/// `SecRule ARGS "@verifySVNR [0-9]{4} ?[0-9]{6}" …`
pub(super) static VERIFY_SVNR: OperatorKind = OperatorKind {
    name: "verifySVNR",
    aliases: &[],
    doc: "Whether the expression finds a social insurance number of Austria, by its check digit.",
    argument: Argument::Required,
    compile: |argument, _| Verify::compile(argument, is_svnr),
};

/// `SecRule ARGS "@validateNid cl \d{1,2}\.\d{3}\.\d{3}-[0-9kK]" …`
pub(super) static VALIDATE_NID: OperatorKind = OperatorKind {
    name: "validateNid",
    aliases: &[],
    doc: "Whether the expression finds a person's number of Chile (`cl`) or the United States (`us`).",
    argument: Argument::Required,
    compile: nid,
};

/// How often a byte of a value is looked at, on average, until no more numbers are looked for: time stays linear.
const LOOKS_MAX: usize = 32;
/// Digits of one number.
const DIGITS_MAX: usize = 64;

fn nid(argument: &str, _: &dyn Resources) -> Result<Box<dyn Operator>, String> {
    match argument.split_once(' ') {
        Some(("cl", expression)) => Verify::compile(expression, is_rut),
        Some(("us", expression)) => Verify::compile(expression, |text| {
            let digits = all_digits(text).take(DIGITS_MAX).collect::<Vec<_>>();
            is_ssn(&digits)
        }),
        _ => Err("a country is missing: `cl` or `us`, a blank, and an expression".into()),
    }
}

#[derive(Debug)]
struct Verify {
    finder: Finder,
    is_valid: fn(&[u8]) -> bool,
}

impl Verify {
    fn compile(expression: &str, is_valid: fn(&[u8]) -> bool) -> Result<Box<dyn Operator>, String> {
        Ok(Box::new(Self { finder: Finder::new(expression)?, is_valid }))
    }
}

impl Operator for Verify {
    fn holds(&self, value: &[u8], captures: Option<&mut Captures>) -> bool {
        let mut from = 0;
        let mut looks_left = value.len().saturating_mul(LOOKS_MAX);
        while from <= value.len() {
            let Some(found) = self.finder.find(Input::new(value).range(from..)) else { break };
            if value.get(found.clone()).is_some_and(self.is_valid) {
                if let Some(captures) = captures {
                    captures.0.push(Some(found));
                }
                return true;
            }
            let Some(left) = looks_left.checked_sub(found.end - from) else { break };
            looks_left = left;
            from = found.start + 1;
        }
        false
    }
}

fn all_digits(text: &[u8]) -> impl DoubleEndedIterator<Item = u32> {
    text.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'))
}

/// The first digits, if there are so many.
fn first_digits<const COUNT: usize>(text: &[u8]) -> Option<[u32; COUNT]> {
    let mut digits = [0; COUNT];
    let mut all = all_digits(text);
    for slot in &mut digits {
        *slot = all.next()?;
    }
    Some(digits)
}

fn are_all_equal(digits: &[u32]) -> bool {
    digits.iter().all(|digit| digits.first() == Some(digit))
}

/// `0123…` or `1234…`, after nine as after nine.
fn are_a_row(digits: &[u32]) -> bool {
    digits.iter().zip(digits.iter().skip(1)).all(|(one, next)| (one + 1) % 10 == *next)
        && matches!(digits.first(), Some(0 | 1))
}

fn weighed(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum()
}

/// Every second digit from the right twice, its own digits added up: a multiple of ten in all.
fn is_card(text: &[u8]) -> bool {
    let mut sum = 0_u64;
    let mut count = 0_usize;
    for digit in all_digits(text).rev() {
        let doubled = if count.is_multiple_of(2) { digit } else { digit * 2 };
        sum += u64::from(if doubled > 9 { doubled - 9 } else { doubled });
        count += 1;
    }
    count > 0 && sum.is_multiple_of(10)
}

fn is_cpf(text: &[u8]) -> bool {
    let Some(digits) = first_digits::<11>(text) else { return false };
    let [body @ .., first, second] = &digits;
    let check = |sum: u32| if sum % 11 < 2 { 0 } else { 11 - sum % 11 };
    let [_, longer @ .., _] = &digits;
    let sum = weighed(body, &[10, 9, 8, 7, 6, 5, 4, 3, 2]);
    let sum_with_first = weighed(&digits, &[11]) + weighed(longer, &[10, 9, 8, 7, 6, 5, 4, 3, 2]);
    !are_all_equal(&digits) && !are_a_row(&digits) && check(sum) == *first && check(sum_with_first) == *second
}

/// Nine digits and no more.
fn is_ssn_alone(text: &[u8]) -> bool {
    first_digits::<9>(text).is_some_and(|digits| is_ssn(&digits)) && all_digits(text).nth(9).is_none()
}

fn is_ssn(digits: &[u32]) -> bool {
    let [a, b, c, d, e, f, g, h, i, ..] = digits else { return false };
    let area = a * 100 + b * 10 + c;
    let group = d * 10 + e;
    let serial = f * 1000 + g * 100 + h * 10 + i;
    let is_row = digits.iter().zip(digits.iter().skip(1)).all(|(one, next)| one + 1 == *next);
    let is_given = (1..740).contains(&area) && area != 666 && group != 0 && serial != 0;
    is_given && !is_row && !are_all_equal(digits)
}

fn is_svnr(text: &[u8]) -> bool {
    let Some(digits) = first_digits::<10>(text) else { return false };
    let [_, _, _, check, ..] = digits;
    let sum = weighed(&digits, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]);
    !are_all_equal(&digits) && !are_a_row(&digits) && sum % 11 % 10 == check
}

/// The last character checks the digits before it; `k` stands for ten.
fn is_rut(text: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_digit() || byte.eq_ignore_ascii_case(&b'k');
    let parts: Vec<u8> = text.iter().copied().filter(is_part).take(DIGITS_MAX).collect();
    let Some((check, number)) = parts.split_last() else { return false };
    if text.len() < 8 || !number.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let sum: u32 = all_digits(number)
        .rev()
        .zip([2, 3, 4, 5, 6, 7].into_iter().cycle())
        .map(|(digit, weight)| digit * weight)
        .sum();
    match 11 - sum % 11 {
        11 => *check == b'0',
        10 => check.eq_ignore_ascii_case(&b'k'),
        digit => u32::from(*check) == u32::from(b'0') + digit,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_checked() {
        type Case = (&'static str, fn(&[u8]) -> bool, &'static str, bool);
        let cases: &[Case] = &[
            ("card", is_card, "4417 1234 5678 9113", true),
            ("card, one off", is_card, "4417 1234 5678 9112", false),
            ("no digits", is_card, "abc", false),
            ("cpf", is_cpf, "010.817.514-60", true),
            ("cpf, one off", is_cpf, "010.817.514-61", false),
            ("cpf, all the same", is_cpf, "111.111.111-11", false),
            ("cpf, in a row", is_cpf, "012.345.678-90", false),
            ("cpf, too short", is_cpf, "010.817.514-6", false),
            ("svnr", is_svnr, "1237 010180", true),
            ("svnr, one off", is_svnr, "1238 010180", false),
            ("rut", is_rut, "11.111.111-1", true),
            ("rut, one off", is_rut, "11.111.111-0", false),
            ("rut, ten", is_rut, "10.000.013-K", true),
            ("rut, k within", is_rut, "1k.111.111-1", false),
        ];
        for (name, is_valid, text, want) in cases {
            assert_eq!(is_valid(text.as_bytes()), *want, "{name}");
        }
        for (text, want) in [
            ("574-57-8065", true),
            ("666-57-8065", false),
            ("740578065", false),
            ("000578065", false),
            ("5745780650", false),
        ] {
            assert_eq!(is_ssn_alone(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn time_stays_linear() {
        let operator = Verify::compile(r"\d+", |_| false).unwrap();
        assert!(!operator.holds(&b"1".repeat(20_000), None));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[0-9kK.a-]{0,40}") {
            for is_valid in [is_card, is_cpf, is_svnr, is_rut] {
                is_valid(text.as_bytes());
            }
        }
    }
}
