// SPDX-License-Identifier: Apache-2.0
//! `removeNulls`, `replaceNulls`.

use super::rewrite::Rewrite;
use super::{Settings, Transformation};
use crate::byte_set::ByteSet;

/// `t:removeNulls`
pub(super) static REMOVE: Transformation = Transformation {
    name: "removeNulls",
    aliases: &[],
    doc: "Drops NUL bytes.",
    changes: Some(ByteSet::of(&[0])),
    apply: remove,
};

/// `t:replaceNulls`
pub(super) static REPLACE: Transformation = Transformation {
    name: "replaceNulls",
    aliases: &[],
    doc: "Makes NUL bytes spaces.",
    changes: Some(ByteSet::of(&[0])),
    apply: replace,
};

fn remove(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    with_each_null(input, output, b"")
}

fn replace(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    with_each_null(input, output, b" ")
}

fn with_each_null(input: &[u8], output: &mut Vec<u8>, with: &[u8]) -> bool {
    let mut rewrite = Rewrite::new(input, output);
    for at in memchr::memchr_iter(0, input) {
        rewrite.replace(at..at + 1, with);
    }
    rewrite.finish()
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;

    #[test]
    fn nulls() {
        check(
            &REMOVE,
            &[
                ("none", b"TestCase", None),
                ("some", b"\0Test\0\0Case\0", Some(b"TestCase")),
                ("only", b"\0\0", Some(b"")),
            ],
        );
        check(&REPLACE, &[("none", b"TestCase", None), ("some", b"\0Test\0\0Case\0", Some(b" Test  Case "))]);
    }
}
