// SPDX-License-Identifier: Apache-2.0
//! `cmdLine`: the many ways to write one command.

use super::{Settings, Transformation};
use crate::byte_set::ByteSet;

/// `t:cmdLine`
pub(super) static COMMAND_LINE: Transformation = Transformation {
    name: "cmdLine",
    aliases: &[],
    doc: "Drops `\\`, `\"`, `'` and `^`; makes commas, semicolons and runs of white space one space, none before `/` \
          and `(`; and writes small letters.",
    changes: Some(ALWAYS_CHANGED.with(b' ')),
    apply,
};

fn apply(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    let Some((same, rest)) = first_change(input).and_then(|at| input.split_at_checked(at)) else {
        return false;
    };
    output.reserve(input.len());
    output.extend_from_slice(same);
    let mut space = false;
    for byte in rest {
        match byte {
            b'\\' | b'"' | b'\'' | b'^' => {}
            b' ' | b',' | b';' | b'\t' | b'\r' | b'\n' => space = true,
            _ => {
                if space && !matches!(byte, b'/' | b'(') {
                    output.push(b' ');
                }
                space = false;
                output.push(byte.to_ascii_lowercase());
            }
        }
    }
    if space {
        output.push(b' ');
    }
    true
}

/// Where the first byte stands that changes, or that another may take away which changes.
fn first_change(input: &[u8]) -> Option<usize> {
    input.iter().enumerate().position(|(at, byte)| match byte {
        b' ' => input.get(at + 1).is_some_and(|next| AFTER_SPACE.contains(*next)),
        _ => ALWAYS_CHANGED.contains(*byte),
    })
}

/// A space changes only before some others.
const ALWAYS_CHANGED: ByteSet = ByteSet::of(b"\\\"'^,;\t\r\n").union(ByteSet::range(b'A', b'Z'));

/// A space before another stays.
const AFTER_SPACE: ByteSet = ALWAYS_CHANGED.union(ByteSet::of(b" /("));

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{applied, check};
    use super::*;

    #[test]
    fn command_lines() {
        check(
            &COMMAND_LINE,
            &[
                ("plain", b"cat file (1", Some(b"cat file(1")),
                ("as it should be", b"cat file", None),
                ("slash without a space", b"cat/file", None),
                ("quotes", b"c'a\"t\\", Some(b"cat")),
                ("carets and capitals", b"C^oMMaNd /C DiR", Some(b"command/c dir")),
                ("a space, a quote, a slash", b"a \"/b", Some(b"a/b")),
                ("separators", b"a,;b", Some(b"a b")),
                ("space at both ends", b"  a\n", Some(b" a ")),
            ],
        );
    }

    /// A step at a time.
    fn slow(input: &[u8]) -> Vec<u8> {
        let kept = input.iter().filter(|byte| !b"\\\"'^".contains(byte));
        let mut text = String::new();
        for byte in kept {
            let letter = char::from(*byte).to_ascii_lowercase();
            text.push(if ",;\t\r\n".contains(letter) { ' ' } else { letter });
        }
        while text.contains("  ") {
            text = text.replace("  ", " ");
        }
        text.replace(" /", "/").replace(" (", "(").into_bytes()
    }

    proptest! {
        #[test]
        fn like_a_step_at_a_time(value in "[ A-Ca-c,;/(^\"'\\\\\t]{0,12}") {
            let want = slow(value.as_bytes());
            prop_assert_eq!(applied(&COMMAND_LINE, value.as_bytes()), (want != value.as_bytes()).then_some(want));
        }
    }
}
