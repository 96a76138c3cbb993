// SPDX-License-Identifier: Apache-2.0
//! A request path as a path below the root, or the reason why it is none.

use std::borrow::Cow;

use percent_encoding::{percent_decode, percent_decode_str};

/// Why a request path is not looked up at all. No honest client sends such a path, so the caller
/// answers 400 (or 404) and does not ask the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A `..` segment, raw or percent-encoded.
    Traversal,
    /// A path that turns into a traversal when it is decoded once more, or that is encoded so often
    /// that it cannot be told.
    DoubleEncoded,
    /// A `%2f` inside a segment: it would mean another file to us than to the backend.
    EncodedSlash,
    /// A backslash, raw or encoded: a separator to some backends.
    Backslash,
    /// A NUL byte, which would cut the name short in the system call.
    Nul,
    /// A symbolic link on the way leads out of the root.
    LeavesRoot,
}

/// A request path after one decode: what it names below the root.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RequestPath {
    Visible(RelativePath),
    /// A segment starts with a dot: `.env`, `.git/config`.
    Hidden,
}

/// Decoded segments joined by `/`: never absolute, no empty, `.` or `..` segment, no NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RelativePath {
    bytes: Vec<u8>,
    trailing_slash: bool,
}

impl RequestPath {
    /// Reads the percent-encoded `path` of a request. Repeated slashes count as one. A `%` that does
    /// not start an escape stands for itself, and bytes that are no UTF-8 are kept: file names are bytes.
    pub(crate) fn parse(path: &str) -> Result<Self, Refusal> {
        let mut bytes = Vec::with_capacity(path.len());
        let mut hidden = false;
        for raw in path.split('/') {
            let segment: Cow<'_, [u8]> = percent_decode_str(raw).into();
            check_segment(&segment)?;
            if segment.is_empty() {
                continue;
            }
            hidden |= segment.starts_with(b".") && !(bytes.is_empty() && *segment == *WELL_KNOWN);
            if !bytes.is_empty() {
                bytes.push(b'/');
            }
            bytes.extend_from_slice(&segment);
        }
        if hidden {
            return Ok(Self::Hidden);
        }
        Ok(Self::Visible(RelativePath { bytes, trailing_slash: path.ends_with('/') }))
    }
}

impl RelativePath {
    /// What is appended to find a file, in the order of trying. A path that ends in a slash names a
    /// directory: `/app.js/` must not serve `app.js`.
    pub(crate) fn suffixes(&self) -> &'static [&'static str] {
        match (self.bytes.is_empty(), self.trailing_slash) {
            (true, _) => &["index.html"],
            (false, true) => &["/index.html"],
            (false, false) => &["", ".html", "/index.html"],
        }
    }

    pub(crate) fn with_suffix(&self, suffix: &str) -> Vec<u8> {
        [self.bytes.as_slice(), suffix.as_bytes()].concat()
    }

    /// The path itself; empty for `/`.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn check_segment(segment: &[u8]) -> Result<(), Refusal> {
    if segment == b".." {
        return Err(Refusal::Traversal);
    }
    for byte in segment {
        match byte {
            0 => return Err(Refusal::Nul),
            b'/' => return Err(Refusal::EncodedSlash),
            b'\\' => return Err(Refusal::Backslash),
            _ => {}
        }
    }
    check_further_decodes(segment)
}

/// Refuses what a backend or a cache that decodes once more would take for a traversal.
fn check_further_decodes(segment: &[u8]) -> Result<(), Refusal> {
    let mut current = Cow::Borrowed(segment);
    for _ in 0..DECODE_ROUNDS_MAX {
        if !current.contains(&b'%') {
            return Ok(());
        }
        let decoded: Vec<u8> = percent_decode(&current).collect();
        if decoded == *current {
            return Ok(());
        }
        let climbs = decoded.split(|byte| matches!(byte, b'/' | b'\\')).any(|part| part == b"..");
        if climbs || decoded.contains(&0) {
            return Err(Refusal::DoubleEncoded);
        }
        current = Cow::Owned(decoded);
    }
    Err(Refusal::DoubleEncoded)
}

/// The one directory with a dot that is meant to be public (RFC 8615), and only at the top.
const WELL_KNOWN: &[u8] = b".well-known";

/// How often a segment is decoded again in search of a traversal. Honest names need one round (a
/// literal `%41` in a file name); what is still changing after four hides something.
const DECODE_ROUNDS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_become_relative_paths() {
        for (name, path, want, trailing_slash) in [
            ("root", "/", "", true),
            ("file", "/app.js", "app.js", false),
            ("nested", "/a/b/c.css", "a/b/c.css", false),
            ("directory", "/docs/", "docs", true),
            ("repeated slashes", "//a///b", "a/b", false),
            ("escape", "/a%20b", "a b", false),
            ("dots inside a name", "/a..b", "a..b", false),
            ("three dots are hidden, not here", "/x...", "x...", false),
            ("escaped percent", "/100%25", "100%", false),
            ("broken escape stays", "/100%zz", "100%zz", false),
            ("encoded dot in a name, twice", "/a%252ejs", "a%2ejs", false),
            ("well-known", "/.well-known/acme-challenge/t", ".well-known/acme-challenge/t", false),
        ] {
            let want = RelativePath { bytes: want.as_bytes().to_vec(), trailing_slash };
            assert_eq!(RequestPath::parse(path), Ok(RequestPath::Visible(want)), "{name}");
        }
    }

    #[test]
    fn names_that_are_no_utf8_are_kept() {
        let want = RelativePath { bytes: vec![0xff, b'a'], trailing_slash: false };
        assert_eq!(RequestPath::parse("/%ffa"), Ok(RequestPath::Visible(want)));
    }

    #[test]
    fn dotfiles_are_hidden() {
        for path in [
            "/.env",
            "/.git/config",
            "/a/.htaccess",
            "/%2eenv",
            "/a/.well-known/x",
            "/.well-known/.env",
            "/./a",
            "/%2e/a",
            "/...",
        ] {
            assert_eq!(RequestPath::parse(path), Ok(RequestPath::Hidden), "{path}");
        }
    }

    #[test]
    fn traversals_are_refused() {
        for (name, path, want) in [
            ("raw", "/../etc/passwd", Refusal::Traversal),
            ("in the middle", "/a/../../b", Refusal::Traversal),
            ("at the end", "/a/..", Refusal::Traversal),
            ("no leading slash", "..", Refusal::Traversal),
            ("encoded", "/%2e%2e/etc/passwd", Refusal::Traversal),
            ("upper case", "/%2E%2E/x", Refusal::Traversal),
            ("half encoded", "/.%2e/x", Refusal::Traversal),
            ("other half", "/%2e./x", Refusal::Traversal),
            ("below a dotfile", "/.git/../x", Refusal::Traversal),
            ("twice encoded", "/%252e%252e/x", Refusal::DoubleEncoded),
            ("twice, half", "/.%252e/x", Refusal::DoubleEncoded),
            ("three times", "/%25252e%25252e/x", Refusal::DoubleEncoded),
            ("twice encoded slash", "/..%252fx", Refusal::DoubleEncoded),
            ("twice encoded backslash", "/..%255cx", Refusal::DoubleEncoded),
            ("twice encoded nul", "/a%2500", Refusal::DoubleEncoded),
            ("encoded without end", "/%25252525252541", Refusal::DoubleEncoded),
            ("encoded slash", "/a%2fb", Refusal::EncodedSlash),
            ("encoded climb", "/..%2f..%2fetc", Refusal::EncodedSlash),
            ("backslash", "/a\\b", Refusal::Backslash),
            ("encoded backslash", "/..%5c..%5cx", Refusal::Backslash),
            ("nul", "/a%00.js", Refusal::Nul),
        ] {
            assert_eq!(RequestPath::parse(path), Err(want), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_visible_path_never_climbs(path in "(/|\\.|%2e|%25|%2f|%5c|\\\\|2e|a|é|%ff|%0){0,24}") {
            if let Ok(RequestPath::Visible(relative)) = RequestPath::parse(&path) {
                let bytes = relative.as_bytes();
                prop_assert!(!bytes.starts_with(b"/"));
                prop_assert!(!bytes.contains(&0));
                if !bytes.is_empty() {
                    for segment in bytes.split(|byte| *byte == b'/') {
                        prop_assert!(!segment.is_empty() && segment != b"." && segment != b"..");
                    }
                }
            }
        }
    }
}
