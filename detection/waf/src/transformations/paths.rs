// SPDX-License-Identifier: Apache-2.0
//! `normalizePath`, `normalizePathWin`: the file that a path means.

use super::{Settings, Transformation};
use crate::byte_set::ByteSet;

/// `t:normalizePath`
pub(super) static NORMALIZE: Transformation = Transformation {
    name: "normalizePath",
    aliases: &["normalisePath"],
    doc: "Resolves `.`, `..` and repeated slashes; `..` stays where a relative path starts, and goes where an absolute \
          one does.",
    changes: Some(ByteSet::of(b"/.")),
    apply: |input, _: &Settings, output| normalize(input, output, |byte| byte == b'/'),
};

/// `t:normalizePathWin`
pub(super) static NORMALIZE_WINDOWS: Transformation = Transformation {
    name: "normalizePathWin",
    aliases: &["normalisePathWin"],
    doc: "As `normalizePath`, once backslashes have become slashes.",
    changes: Some(ByteSet::of(b"/.\\")),
    apply: |input, _: &Settings, output| normalize(input, output, |byte| matches!(byte, b'/' | b'\\')),
};

fn normalize(input: &[u8], output: &mut Vec<u8>, is_separator: impl Fn(u8) -> bool) -> bool {
    let is_at = |byte: Option<&u8>| byte.is_some_and(|byte| is_separator(*byte));
    let is_absolute = is_at(input.first());
    let start = output.len();
    output.reserve(input.len());
    if is_absolute {
        output.push(b'/');
    }
    let root = output.len();
    // What no `..` takes away.
    let mut floor = root;
    for segment in input.split(|byte| is_separator(*byte)) {
        match segment {
            b"" | b"." => {}
            b".." if output.len() > floor => drop_segment(output, floor),
            b".." if is_absolute => {}
            _ => {
                if output.len() > root {
                    output.push(b'/');
                }
                output.extend_from_slice(segment);
                if segment == b".." {
                    floor = output.len();
                }
            }
        }
    }
    if output.len() > root && is_at(input.last()) {
        output.push(b'/');
    }
    let changed = output.get(start..) != Some(input);
    if !changed {
        output.truncate(start);
    }
    changed
}

fn drop_segment(output: &mut Vec<u8>, floor: usize) {
    let slash = output.get(floor..).and_then(|path| memchr::memrchr(b'/', path));
    output.truncate(floor + slash.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{applied, check};
    use super::*;

    #[test]
    fn paths() {
        check(
            &NORMALIZE,
            &[
                ("normal", b"/foo/bar/baz.html", None),
                ("normal folder", b"foo/", None),
                ("root", b"/", None),
                ("nothing", b"", None),
                ("more dots", b"/.../..a/b..", None),
                ("up from a relative one", b"../../a", None),
                ("self", b"./a/./b/.", Some(b"a/b")),
                ("slashes", b"//a///b//", Some(b"/a/b/")),
                ("back", b"/a/b/../c", Some(b"/a/c")),
                ("back to nothing", b"a/..", Some(b"")),
                ("back to nothing, a folder", b"a/../", Some(b"")),
                ("above the root", b"/../../etc/passwd", Some(b"/etc/passwd")),
                ("back to the root", b"/a/..", Some(b"/")),
                ("above a relative one", b"a/../../b", Some(b"../b")),
                ("back after up", b"../a/../b", Some(b"../b")),
                ("backslashes", b"\\a\\..\\b", None),
            ],
        );
        check(
            &NORMALIZE_WINDOWS,
            &[
                ("normal", b"/foo/bar/baz", None),
                ("backslashes", b"\\foo\\bar", Some(b"/foo/bar")),
                ("both", b"a/\\b\\..\\c", Some(b"a/c")),
            ],
        );
    }

    fn slow(path: &str) -> String {
        let mut segments: Vec<&str> = Vec::new();
        for segment in path.split('/') {
            match (segment, segments.last()) {
                ("" | ".", _) => {}
                ("..", Some(last)) if *last != ".." => drop(segments.pop()),
                ("..", None) if path.starts_with('/') => {}
                _ => segments.push(segment),
            }
        }
        let start = if path.starts_with('/') { "/" } else { "" };
        let end = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
        format!("{start}{}{end}", segments.join("/"))
    }

    proptest! {
        #[test]
        fn like_a_segment_at_a_time(path in "([.]{0,3}|[ab]{0,2})(/([.]{0,3}|[ab]{0,2})){0,8}") {
            let want = slow(&path);
            let output = applied(&NORMALIZE, path.as_bytes()).unwrap_or_else(|| path.clone().into_bytes());
            prop_assert_eq!(output, want.clone().into_bytes());
            let output = applied(&NORMALIZE_WINDOWS, path.replace('/', "\\").as_bytes());
            prop_assert_eq!(output.unwrap_or_else(|| path.into_bytes()), want.clone().into_bytes());
            prop_assert_eq!(applied(&NORMALIZE, want.as_bytes()), None);
        }
    }
}
