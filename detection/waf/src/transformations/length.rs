// SPDX-License-Identifier: Apache-2.0
//! `length`: how long a value is.

use std::io::Write as _;

use super::{Settings, Transformation};

/// `t:length`
pub(super) static LENGTH: Transformation = Transformation {
    name: "length",
    aliases: &[],
    doc: "How many bytes the value has, in decimal.",
    changes: None,
    apply,
};

fn apply(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    // The one value that says its own length.
    if input == b"1" {
        return false;
    }
    write!(output, "{}", input.len()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;

    #[test]
    fn lengths() {
        check(
            &LENGTH,
            &[
                ("nothing", b"", Some(b"0")),
                ("one", b"a", Some(b"1")),
                ("the same afterwards", b"1", None),
                ("ten", b"0123456789", Some(b"10")),
            ],
        );
    }
}
