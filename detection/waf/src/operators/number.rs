// SPDX-License-Identifier: Apache-2.0
//! `@eq`, `@ge`, `@gt`, `@le`, `@lt`: compares numbers. What is no number is 0, and what follows one is not looked at.

use super::{Argument, Captures, Operator, OperatorKind};

/// `SecRule &ARGS "@eq 0" …`
pub(super) static EQ: OperatorKind = OperatorKind {
    name: "eq",
    aliases: &[],
    doc: "Whether the value is the number.",
    argument: Argument::Required,
    compile: |argument, _| compile(argument, |value, bound| value == bound),
};

/// `SecRule TX:score "@ge 5" …`
pub(super) static GE: OperatorKind = OperatorKind {
    name: "ge",
    aliases: &[],
    doc: "Whether the value is the number, or more.",
    argument: Argument::Required,
    compile: |argument, _| compile(argument, |value, bound| value >= bound),
};

/// `SecRule ARGS_COMBINED_SIZE "@gt 64000" …`
pub(super) static GT: OperatorKind = OperatorKind {
    name: "gt",
    aliases: &[],
    doc: "Whether the value is more than the number.",
    argument: Argument::Required,
    compile: |argument, _| compile(argument, |value, bound| value > bound),
};

/// `SecRule TX:score "@le 5" …`
pub(super) static LE: OperatorKind = OperatorKind {
    name: "le",
    aliases: &[],
    doc: "Whether the value is the number, or less.",
    argument: Argument::Required,
    compile: |argument, _| compile(argument, |value, bound| value <= bound),
};

/// `SecRule TX:level "@lt 1" …`
pub(super) static LT: OperatorKind = OperatorKind {
    name: "lt",
    aliases: &[],
    doc: "Whether the value is less than the number.",
    argument: Argument::Required,
    compile: |argument, _| compile(argument, |value, bound| value < bound),
};

type Compare = fn(i64, i64) -> bool;

fn compile(argument: &str, compare: Compare) -> Result<Box<dyn Operator>, String> {
    Ok(Box::new(Number { bound: number(argument.as_bytes()), compare }))
}

#[derive(Debug)]
struct Number {
    bound: i64,
    compare: Compare,
}

impl Operator for Number {
    fn holds(&self, value: &[u8], _: Option<&mut Captures>) -> bool {
        (self.compare)(number(value), self.bound)
    }
}

/// The number with which a text begins, as C's `atoi` has it; the nearest there is, when it is out of bounds.
pub fn number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    digits.iter().take_while(|byte| byte.is_ascii_digit()).fold(0_i64, |number, byte| {
        let digit = i64::from(byte - b'0');
        let number = number.saturating_mul(10);
        if is_negative { number.saturating_sub(digit) } else { number.saturating_add(digit) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_far_as_they_go() {
        for (text, want) in [
            ("", 0),
            ("5", 5),
            (" \t5", 5),
            ("+5", 5),
            ("-5x", -5),
            ("5.9", 5),
            ("x5", 0),
            ("- 5", 0),
            ("--5", 0),
            ("007", 7),
            ("9223372036854775807", i64::MAX),
            ("9223372036854775808", i64::MAX),
            ("-99999999999999999999", i64::MIN),
        ] {
            assert_eq!(number(text.as_bytes()), want, "{text}");
        }
        assert_eq!(number(&b"1".repeat(100_000)), i64::MAX);
    }
}
