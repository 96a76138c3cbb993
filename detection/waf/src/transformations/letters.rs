// SPDX-License-Identifier: Apache-2.0
//! `lowercase`, `uppercase`: of ASCII letters.

use super::{Settings, Transformation};
use crate::byte_set::ByteSet;

/// `t:lowercase`
pub(super) static LOWER: Transformation = Transformation {
    name: "lowercase",
    aliases: &[],
    doc: "Makes ASCII letters small.",
    changes: Some(ByteSet::range(b'A', b'Z')),
    apply: lower,
};

/// `t:uppercase`
pub(super) static UPPER: Transformation = Transformation {
    name: "uppercase",
    aliases: &[],
    doc: "Makes ASCII letters large.",
    changes: Some(ByteSet::range(b'a', b'z')),
    apply: upper,
};

fn lower(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    let changed = input.iter().any(u8::is_ascii_uppercase);
    if changed {
        let start = output.len();
        output.extend_from_slice(input);
        output.get_mut(start..).unwrap_or_default().make_ascii_lowercase();
    }
    changed
}

fn upper(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    let changed = input.iter().any(u8::is_ascii_lowercase);
    if changed {
        let start = output.len();
        output.extend_from_slice(input);
        output.get_mut(start..).unwrap_or_default().make_ascii_uppercase();
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;

    #[test]
    fn letters() {
        check(
            &LOWER,
            &[
                ("small", b"test\0case", None),
                ("large", b"Test\0Case[@", Some(b"test\0case[@")),
                ("beyond ASCII", "É".as_bytes(), None),
            ],
        );
        check(
            &UPPER,
            &[
                ("large", b"TEST\0CASE", None),
                ("small", b"Test\0Case`{", Some(b"TEST\0CASE`{")),
                ("beyond ASCII", "é".as_bytes(), None),
            ],
        );
    }
}
