// SPDX-License-Identifier: Apache-2.0
//! The path as the most lenient backend would read it: decoded, `\` a slash (IIS, Windows), dot segments
//! resolved (CWE-22), path parameters no part of a segment's name (`/..;/`, Tomcat behind a proxy). Routes
//! are stricter (`sunbeam-routing` refuses what has two meanings); by this form a path is judged.

use super::decode::{Form, canonical_text};

/// What was seen on the way to a path's canonical form, which does not show it any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathNotes {
    /// `..` segments, those above the root too; stays at the greatest number.
    pub traversals: u16,
    /// A `..` would have left the root.
    pub above_root: bool,
    /// Segments in the canonical path; stays at the greatest number.
    pub depth: u16,
    /// It held a NUL, where a backend in C may take the path to end (CWE-158).
    pub had_nul: bool,
}

/// Appends the canonical form of `path` to `out`: its [`canonical_text`] with single slashes, each `\` among
/// them, and without dot segments. `..` at the root stays there. A final slash stays, or comes into being
/// where a dot segment was last. Never longer than `path`, linear in its length, and doing it again changes
/// nothing.
pub fn canonical_path(path: &[u8], out: &mut Vec<u8>) -> PathNotes {
    let start = out.len();
    canonical_text(path, Form::Path, out);
    let text = out.get_mut(start..).unwrap_or_default();
    let had_nul = text.contains(&0);
    let Resolved { length, traversals, above_root } = if is_clean(text) {
        Resolved { length: text.len(), ..Resolved::default() }
    } else {
        Resolver::new(text).resolve()
    };
    out.truncate(start + length);
    PathNotes { traversals, above_root, depth: depth(out.get(start..).unwrap_or_default()), had_nul }
}

/// Whether there is nothing to merge or to resolve.
fn is_clean(text: &[u8]) -> bool {
    !text.starts_with(b".")
        && !text.contains(&b'\\')
        && !text.windows(2).any(|pair| matches!(pair, [b'/', b'/' | b'.']))
}

fn depth(path: &[u8]) -> u16 {
    let segments = path.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty()).count();
    u16::try_from(segments).unwrap_or(u16::MAX)
}

#[derive(Default)]
struct Resolved {
    length: usize,
    traversals: u16,
    above_root: bool,
}

/// Writes the resolved path over the text that it reads: it is never ahead of what was read.
struct Resolver<'a> {
    text: &'a mut [u8],
    /// 1 where the path begins with a slash, which is never taken back.
    root: usize,
    /// Where the segment begins that is being written.
    segment: usize,
    /// `length` counts what is written.
    resolved: Resolved,
}

impl<'a> Resolver<'a> {
    fn new(text: &'a mut [u8]) -> Self {
        Self { text, root: 0, segment: 0, resolved: Resolved::default() }
    }

    fn resolve(mut self) -> Resolved {
        if self.text.first().is_some_and(is_separator) {
            self.put(b'/');
            (self.root, self.segment) = (1, 1);
        }
        for read in self.root..self.text.len() {
            match self.text.get(read) {
                Some(byte) if is_separator(byte) => self.end_segment(b"/"),
                Some(byte) => self.put(*byte),
                None => break,
            }
        }
        self.end_segment(b"");
        self.resolved
    }

    fn end_segment(&mut self, separator: &[u8]) {
        let segment = self.text.get(self.segment..self.resolved.length).unwrap_or_default();
        match segment.split(|byte| *byte == b';').next() {
            Some(b".") => self.resolved.length = self.segment,
            Some(b"..") => self.climb(),
            _ if segment.is_empty() => {}
            _ => {
                separator.iter().for_each(|byte| self.put(*byte));
                self.segment = self.resolved.length;
            }
        }
    }

    /// Takes the segment back, and the one before it.
    fn climb(&mut self) {
        self.resolved.traversals = self.resolved.traversals.saturating_add(1);
        self.resolved.above_root |= self.segment == self.root;
        let parents = self.text.get(self.root..self.segment.saturating_sub(1)).unwrap_or_default();
        let slash = parents.iter().rposition(|byte| *byte == b'/');
        self.segment = self.root + slash.map_or(0, |at| at + 1);
        self.resolved.length = self.segment;
    }

    fn put(&mut self, byte: u8) {
        if let Some(slot) = self.text.get_mut(self.resolved.length) {
            *slot = byte;
            self.resolved.length += 1;
        }
    }
}

fn is_separator(byte: &u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::disguise::disguise;
    use super::*;

    fn canonical(path: &[u8]) -> (Vec<u8>, PathNotes) {
        let mut out = b"before/".to_vec();
        let notes = canonical_path(path, &mut out);
        (out.split_off(7), notes)
    }

    #[test]
    fn a_path_has_one_spelling() {
        for (raw, want, traversals, above_root) in [
            ("", "", 0, false),
            ("/", "/", 0, false),
            ("*", "*", 0, false),
            ("/Index.HTML", "/index.html", 0, false),
            ("/a/b/", "/a/b/", 0, false),
            ("//a///b//", "/a/b/", 0, false),
            ("/a/./b/.", "/a/b/", 0, false),
            ("/a/b/..", "/a/", 1, false),
            ("/a/../../../b", "/b", 3, true),
            ("/..", "/", 1, true),
            ("/../a", "/a", 1, true),
            ("/a/..", "/", 1, false),
            ("/%2e%2e/etc/passwd", "/etc/passwd", 1, true),
            ("/a/%252e%252e%255cetc", "/etc", 1, false),
            ("/..%c0%af..%c0%af/etc", "/etc", 2, true),
            ("/a%5c..%u2215b", "/a/..\u{2215}b", 0, false),
            ("\\a\\b", "/a/b", 0, false),
            ("/a\\../b", "/b", 1, false),
            ("/a/..;/b", "/b", 1, false),
            ("/a/..;x=y;z/b", "/b", 1, false),
            ("/a/.;x/b", "/a/b", 0, false),
            ("/a;v=1/b;w", "/a;v=1/b;w", 0, false),
            ("/a;v=1/../b", "/b", 1, false),
            ("/a;x=..;y/b", "/a;x=..;y/b", 0, false),
            ("/;x/..", "/", 1, false),
            ("/.well-known/.../x", "/.well-known/.../x", 0, false),
            ("a/../b", "b", 1, false),
            ("a/..//b", "b", 1, false),
            ("../b", "b", 1, true),
            ("./", "", 0, false),
        ] {
            let (path, notes) = canonical(raw.as_bytes());
            assert_eq!(String::from_utf8_lossy(&path), want, "{raw}");
            assert_eq!((notes.traversals, notes.above_root), (traversals, above_root), "{raw}");
        }
    }

    #[test]
    fn depth_and_nul_are_noted() {
        for (raw, depth, had_nul) in [
            ("", 0, false),
            ("/", 0, false),
            ("/a", 1, false),
            ("/a/b/", 2, false),
            ("//a/../b/c", 2, false),
            ("/a%00.jpg", 1, true),
            ("/a\0/../b", 1, true),
        ] {
            let (_, notes) = canonical(raw.as_bytes());
            assert_eq!((notes.depth, notes.had_nul), (depth, had_nul), "{raw}");
        }
        let (_, notes) = canonical("/..".repeat(70_000).as_bytes());
        assert_eq!(notes.traversals, u16::MAX);
        let (_, notes) = canonical("/a".repeat(70_000).as_bytes());
        assert_eq!(notes.depth, u16::MAX);
    }

    fn paths() -> impl Strategy<Value = Vec<u8>> {
        let pieces = prop::sample::select(vec![
            &b"/"[..],
            b"/",
            b"\\",
            b".",
            b"..",
            b"..",
            b";",
            b";x=",
            b"a",
            b"B",
            b"%",
            b"2",
            b"e",
            b"f",
            b"\0",
            b"\xC0\xAF",
        ]);
        vec(prop_oneof![9 => pieces.prop_map(<[u8]>::to_vec), 1 => vec(any::<u8>(), 1..4)], 0..24)
            .prop_map(|pieces| pieces.concat())
    }

    /// The slow and obvious form: a list of segments.
    fn by_segments(path: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        canonical_text(path, Form::Path, &mut text);
        let mut kept: Vec<&[u8]> = Vec::new();
        let mut is_directory = false;
        for segment in text.split(is_separator) {
            let name = segment.split(|byte| *byte == b';').next().unwrap();
            is_directory = segment.is_empty() || name == b"." || name == b"..";
            match name {
                b".." => drop(kept.pop()),
                _ if is_directory => {}
                _ => kept.push(segment),
            }
        }
        let root: &[u8] = if text.first().is_some_and(is_separator) { b"/" } else { b"" };
        let end: &[u8] = if is_directory && !kept.is_empty() { b"/" } else { b"" };
        [root, &kept.join(&b"/"[..]), end].concat()
    }

    proptest! {
        #[test]
        fn it_equals_the_slow_form(path in paths()) {
            prop_assert_eq!(canonical(&path).0, by_segments(&path));
        }

        #[test]
        fn a_disguise_changes_nothing(path in paths(), ways in vec(any::<u8>(), 1..9)) {
            prop_assert_eq!(canonical(&disguise(&path, &ways)), canonical(&path));
        }

        #[test]
        fn doing_it_again_changes_nothing(path in paths()) {
            let (once, notes) = canonical(&path);
            prop_assert!(once.len() <= path.len());
            let (twice, after) = canonical(&once);
            prop_assert_eq!(&twice, &once);
            prop_assert_eq!((after.traversals, after.above_root, after.depth), (0, false, notes.depth));
        }

        #[test]
        fn no_dots_are_left(path in paths()) {
            let (path, _) = canonical(&path);
            for segment in path.split(is_separator) {
                let name = segment.split(|byte| *byte == b';').next();
                prop_assert!(name != Some(b".") && name != Some(b".."));
            }
            prop_assert!(!path.windows(2).any(|pair| pair == b"//") && !path.contains(&b'\\'));
        }

        #[test]
        fn no_bytes_make_it_panic(path in vec(any::<u8>(), 0..200)) {
            prop_assert!(canonical(&path).0.len() <= path.len());
        }
    }
}
