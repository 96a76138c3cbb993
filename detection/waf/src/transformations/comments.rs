// SPDX-License-Identifier: Apache-2.0
//! `removeComments`, `removeCommentsChar`, `replaceComments`.

use super::rewrite::Rewrite;
use super::{Settings, Transformation};
use crate::byte_set::ByteSet;

/// `t:removeComments`
pub(super) static REMOVE: Transformation = Transformation {
    name: "removeComments",
    aliases: &[],
    doc: "Drops `/* */` and `<!-- -->` comments, and all from `--` or `#` on. A comment that the value ends with leaves a \
          NUL, one that does not end a space.",
    changes: Some(ByteSet::of(b"*-#")),
    apply: remove,
};

/// `t:removeCommentsChar`
pub(super) static REMOVE_MARKS: Transformation = Transformation {
    name: "removeCommentsChar",
    aliases: &[],
    doc: "Drops `/*`, `*/`, `<!--`, `-->`, `--` and `#`, and leaves what stands between them.",
    changes: Some(ByteSet::of(b"*-#")),
    apply: remove_marks,
};

/// `t:replaceComments`
pub(super) static REPLACE: Transformation = Transformation {
    name: "replaceComments",
    aliases: &[],
    doc: "Makes each `/* */` comment one space, also one that does not end.",
    changes: Some(ByteSet::of(b"*")),
    apply: replace,
};

fn remove(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    let mut rewrite = Rewrite::new(input, output);
    let mut at = 0;
    while let Some((mark, start, after)) = next_mark(input, at, rewrite.done()) {
        at = after;
        match mark {
            Mark::Opens => {
                let end = end_of_comment(input, after);
                let with: &[u8] = match end {
                    None => b" ",
                    Some(end) if end == input.len() => b"\0",
                    Some(_) => b"",
                };
                at = end.unwrap_or(input.len());
                rewrite.replace(start..at, with);
            }
            Mark::Rest | Mark::ClosesHtml => {
                rewrite.remove(start..input.len());
                at = input.len();
            }
            Mark::Closes | Mark::No => {}
        }
    }
    rewrite.finish()
}

fn remove_marks(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    let mut rewrite = Rewrite::new(input, output);
    let mut at = 0;
    while let Some((mark, start, after)) = next_mark(input, at, rewrite.done()) {
        at = after;
        if !matches!(mark, Mark::No) {
            rewrite.remove(start..after);
        }
    }
    rewrite.finish()
}

fn replace(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    let mut rewrite = Rewrite::new(input, output);
    let find = |pair: &[u8; 2], from: usize| {
        input.get(from..).and_then(|rest| memchr::memmem::find(rest, pair)).map(|offset| from + offset)
    };
    let mut at = 0;
    while let Some(start) = find(b"/*", at) {
        at = find(b"*/", start + 2).map_or(input.len(), |end| end + 2);
        rewrite.replace(start..at, b" ");
    }
    rewrite.finish()
}

/// What comments are written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// `/*` or `<!--`
    Opens,
    /// `*/`
    Closes,
    /// `-->`, and outside of a comment its `--`.
    ClosesHtml,
    /// `--` or `#`: all that follows is a comment.
    Rest,
    /// None, only one of its bytes.
    No,
}

/// The next mark, where it starts and where it ends. What stands before `done` belongs to an earlier one.
fn next_mark(input: &[u8], from: usize, done: usize) -> Option<(Mark, usize, usize)> {
    let at = from + memchr::memchr3(b'*', b'-', b'#', input.get(from..)?)?;
    let before = input.get(done..at).unwrap_or_default();
    let mark = match input.get(at..)? {
        [b'*', ..] if before.ends_with(b"/") => (Mark::Opens, at - 1, at + 1),
        [b'*', b'/', ..] => (Mark::Closes, at, at + 2),
        [b'-', b'-', ..] if before.ends_with(b"<!") => (Mark::Opens, at - 2, at + 2),
        [b'-', b'-', b'>', ..] => (Mark::ClosesHtml, at, at + 3),
        [b'-', b'-', ..] => (Mark::Rest, at, at + 2),
        [b'#', ..] => (Mark::Rest, at, at + 1),
        _ => (Mark::No, at, at + 1),
    };
    Some(mark)
}

/// Where the comment ends that stands open at `from`.
fn end_of_comment(input: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr::memchr2(b'*', b'-', input.get(at..)?)?;
        match input.get(at..)? {
            [b'*', b'/', ..] => return Some(at + 2),
            [b'-', b'-', b'>', ..] => return Some(at + 3),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{applied, check};
    use super::*;

    #[test]
    fn removed() {
        check(
            &REMOVE,
            &[
                ("none", b"a / * - < b", None),
                ("one", b"a/* x */b", Some(b"ab")),
                ("at the end", b"a/* x */", Some(b"a\0")),
                ("open", b"a /* x", Some(b"a  ")),
                ("opened and not closed by a slash", b"a/*/b", Some(b"a ")),
                ("of HTML", b"a<!-- x -->b", Some(b"ab")),
                ("one after the other", b"a/**//**/b", Some(b"ab")),
                ("a rest right after one", b"a/**/-- b", Some(b"a")),
                ("two dashes", b"a -- b", Some(b"a ")),
                ("a hash", b"a # b", Some(b"a ")),
                ("the end of one", b"a */ b", None),
                ("the end of one of HTML", b"a --> b", Some(b"a ")),
            ],
        );
    }

    #[test]
    fn marks_removed() {
        check(
            &REMOVE_MARKS,
            &[
                ("none", b"a / * - <!- b", None),
                ("all", b"/*a*/<!--b-->c--d#e", Some(b"abcde")),
                ("open wins", b"a/*/b", Some(b"a/b")),
                ("close wins", b"a*/*b", Some(b"a*b")),
                ("many dashes", b"a---b", Some(b"a-b")),
            ],
        );
    }

    #[test]
    fn replaced() {
        check(
            &REPLACE,
            &[
                ("none", b"a / * b */", None),
                ("one", b"un/* x */ion", Some(b"un ion")),
                ("open", b"a/* x", Some(b"a ")),
                ("opened and not closed by a slash", b"a/*/b", Some(b"a ")),
                ("two", b"a/**//**/b", Some(b"a  b")),
            ],
        );
    }

    /// The mark at the start of `text`, and how long it is.
    fn mark(text: &[u8]) -> Option<(Mark, usize)> {
        let marks: [(&[u8], Mark); 6] = [
            (b"/*", Mark::Opens),
            (b"*/", Mark::Closes),
            (b"<!--", Mark::Opens),
            (b"-->", Mark::ClosesHtml),
            (b"--", Mark::Rest),
            (b"#", Mark::Rest),
        ];
        marks.into_iter().find(|(mark, _)| text.starts_with(mark)).map(|(text, mark)| (mark, text.len()))
    }

    fn slow_remove(mut text: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        while let Some((first, rest)) = text.split_first() {
            match mark(text) {
                Some((Mark::Rest | Mark::ClosesHtml, _)) => return output,
                Some((Mark::Opens, length)) => {
                    text = &text[length..];
                    let Some(end) = (0..text.len())
                        .find(|at| matches!(mark(&text[*at..]), Some((Mark::Closes | Mark::ClosesHtml, _))))
                    else {
                        output.push(b' ');
                        return output;
                    };
                    text = &text[end + mark(&text[end..]).unwrap().1..];
                    output.extend(text.is_empty().then_some(0));
                }
                _ => {
                    output.push(*first);
                    text = rest;
                }
            }
        }
        output
    }

    fn slow_remove_marks(mut text: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        while let Some((first, rest)) = text.split_first() {
            if let Some((_, length)) = mark(text) {
                text = &text[length..];
            } else {
                output.push(*first);
                text = rest;
            }
        }
        output
    }

    proptest! {
        #[test]
        fn like_a_byte_at_a_time(value in "[-/*<!>#a]{0,16}") {
            let value = value.as_bytes();
            for (transformation, want) in [(&REMOVE, slow_remove(value)), (&REMOVE_MARKS, slow_remove_marks(value))] {
                let output = applied(transformation, value).unwrap_or_else(|| value.to_vec());
                prop_assert_eq!(output, want, "{:?}", transformation);
            }
        }
    }
}
