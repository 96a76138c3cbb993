// SPDX-License-Identifier: Apache-2.0
//! `trim`, `trimLeft`, `trimRight`.

use super::{Settings, Transformation};
use crate::byte_set::ByteSet;

/// `t:trim`
pub(super) static BOTH: Transformation = Transformation {
    name: "trim",
    aliases: &[],
    doc: "Drops white space at both ends.",
    changes: Some(SPACES),
    apply: |input, _: &Settings, output| keep(input, trim_left(trim_right(input)), output),
};

/// `t:trimLeft`
pub(super) static LEFT: Transformation = Transformation {
    name: "trimLeft",
    aliases: &[],
    doc: "Drops white space at the start.",
    changes: Some(SPACES),
    apply: |input, _: &Settings, output| keep(input, trim_left(input), output),
};

/// `t:trimRight`
pub(super) static RIGHT: Transformation = Transformation {
    name: "trimRight",
    aliases: &[],
    doc: "Drops white space at the end.",
    changes: Some(SPACES),
    apply: |input, _: &Settings, output| keep(input, trim_right(input), output),
};

/// White space of ASCII, the vertical tab with it.
pub(super) const SPACES: ByteSet = ByteSet::of(b" \t\n\x0B\x0C\r");

fn keep(input: &[u8], kept: &[u8], output: &mut Vec<u8>) -> bool {
    let changed = kept.len() != input.len();
    if changed {
        output.extend_from_slice(kept);
    }
    changed
}

fn trim_left(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && SPACES.contains(*first)
    {
        text = rest;
    }
    text
}

fn trim_right(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text
        && SPACES.contains(*last)
    {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;

    #[test]
    fn trimmed() {
        check(
            &BOTH,
            &[
                ("none", b"Test  Case", None),
                ("both", b" \t Test \0 Case\x0B\x0C\r\n", Some(b"Test \0 Case")),
                ("only", b"  ", Some(b"")),
            ],
        );
        check(&LEFT, &[("right", b"Test ", None), ("both", b" \x0BTest ", Some(b"Test "))]);
        check(&RIGHT, &[("left", b" Test", None), ("both", b" Test \x0B", Some(b" Test"))]);
    }
}
