// SPDX-License-Identifier: Apache-2.0
//! The path as routes see it. A backend decodes and resolves a path before it uses it; a route that is
//! matched on the raw bytes would let `/public/../admin` or `/%61dmin` walk around `/admin`'s guard.

use std::borrow::Cow;

/// The path means different things to different readers, or leaves the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path is ambiguous")]
pub struct AmbiguousPath;

/// The path with unreserved characters decoded, slashes merged and dot segments resolved; everything
/// else stays percent-encoded. An already clean path is returned as it is.
///
/// # Errors
/// For a NUL, a path that climbs above the root, one that does not begin with a slash, and dot
/// segments in a path that also holds an encoded slash, a backslash or a semicolon (`/a%2Fb/../c`,
/// `..;`), which backends resolve in different ways.
pub fn normalise(raw: &str) -> Result<Cow<'_, str>, AmbiguousPath> {
    if !raw.starts_with('/') {
        return Err(AmbiguousPath);
    }
    let is_clean = !raw.contains('%') && !raw.contains("//") && !raw.contains("/.") && !raw.contains('\\');
    if is_clean {
        return Ok(Cow::Borrowed(raw));
    }
    let decoded = decode_unreserved(raw)?;
    let has_dots = decoded.split('/').any(|segment| segment == "." || segment == "..");
    // What one reader takes for one segment another takes for two: a `..` behind it leads elsewhere.
    if has_dots && ["%2F", "%5C", "\\", ";", "%3B"].iter().any(|odd| decoded.contains(odd)) {
        return Err(AmbiguousPath);
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop().ok_or(AmbiguousPath)?;
            }
            _ if hides_dots(segment) => return Err(AmbiguousPath),
            _ => segments.push(segment),
        }
    }
    let is_directory = matches!(decoded.rsplit('/').next(), Some("" | "." | ".."));
    let mut path = String::with_capacity(decoded.len());
    for segment in &segments {
        path.push('/');
        path.push_str(segment);
    }
    if is_directory || path.is_empty() {
        path.push('/');
    }
    Ok(Cow::Owned(path))
}

/// Where the rest of `path` begins if it lies under `prefix`: whole segments only, in every way in which
/// some backend reads them. An encoded slash and a backslash separate segments, several count as one, and
/// what follows a `;` is no part of a segment's name (Tomcat, Jetty). `path` must be [`normalise`]d.
pub fn match_prefix(path: &str, prefix: &str) -> Option<usize> {
    let mut rest = path;
    for expected in prefix.trim_end_matches('/').chars() {
        rest = match expected {
            '/' => after_separators(rest)?,
            _ => rest.strip_prefix(expected)?,
        };
    }
    let at_boundary = after_separator(rest).is_some() || starts_parameters(rest);
    let whole = rest.is_empty() && !prefix.ends_with('/');
    (at_boundary || whole).then(|| path.len() - rest.len())
}

/// What follows all separators at the front of `text`, and parameters before or between them.
fn after_separators(text: &str) -> Option<&str> {
    let mut rest = text;
    let mut found = None;
    loop {
        if let Some(after) = after_separator(rest) {
            (rest, found) = (after, Some(after));
        } else if starts_parameters(rest)
            && let Some(end) = rest.char_indices().map(|(at, _)| at).find(|at| is_separator_at(rest, *at))
        {
            rest = rest.get(end..).unwrap_or_default();
        } else {
            return found;
        }
    }
}

fn after_separator(text: &str) -> Option<&str> {
    ["/", "%2F", "\\", "%5C"].iter().find_map(|separator| text.strip_prefix(separator))
}

fn is_separator_at(text: &str, at: usize) -> bool {
    text.get(at..).is_some_and(|rest| after_separator(rest).is_some())
}

fn starts_parameters(text: &str) -> bool {
    text.starts_with(';') || text.starts_with("%3B")
}

/// A segment that becomes a dot segment for a backend that decodes slashes, reads `\` as one, or cuts
/// parameters off (`..;x`).
fn hides_dots(segment: &str) -> bool {
    if !segment.contains(['\\', '%', ';']) {
        return false;
    }
    let plain = segment.replace("%2F", "/").replace("%5C", "/").replace('\\', "/").replace("%3B", ";");
    plain
        .split('/')
        .map(|piece| piece.split(';').next().unwrap_or(piece))
        .any(|name| name == "." || name == "..")
}

/// Decodes `%41` to `A` and the like, writes the other escapes in upper case.
fn decode_unreserved(raw: &str) -> Result<String, AmbiguousPath> {
    let mut result = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once('%') {
        result.push_str(before);
        // Digits only: the parser would take a sign, too.
        let digits = after.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(0) => return Err(AmbiguousPath),
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                result.push(char::from(byte));
            }
            Some(byte) => result.push_str(&format!("%{byte:02X}")),
            // Not an escape at all: backends take it literally, and so do we. Written so that it cannot
            // become one together with what follows (`%%30a`).
            None => {
                result.push_str("%25");
                rest = after;
                continue;
            }
        }
        rest = after.get(2..).unwrap_or_default();
    }
    result.push_str(rest);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_has_one_meaning() {
        for (raw, want) in [
            ("/", Ok("/")),
            ("/a/b", Ok("/a/b")),
            ("/a//b", Ok("/a/b")),
            ("/%61dmin", Ok("/admin")),
            ("/public/../admin", Ok("/admin")),
            ("/public/%2e%2E/admin", Ok("/admin")),
            ("/a/./b/", Ok("/a/b/")),
            ("/a/..", Ok("/")),
            ("/a/b/.", Ok("/a/b/")),
            ("/a%2fb", Ok("/a%2Fb")),
            ("/a%zzb", Ok("/a%25zzb")),
            ("/50%", Ok("/50%25")),
            ("/%%30a", Ok("/%250a")),
            ("/100%+5", Ok("/100%25+5")),
            ("/100%+0", Ok("/100%25+0")),
            ("/%E4%BD%A0", Ok("/%E4%BD%A0")),
            ("/.well-known/x", Ok("/.well-known/x")),
            ("/..", Err(AmbiguousPath)),
            ("/a/../../b", Err(AmbiguousPath)),
            ("/a%00b", Err(AmbiguousPath)),
            ("/a/..%2fb", Err(AmbiguousPath)),
            ("/a/..\\b", Err(AmbiguousPath)),
            ("/a/%2e%2e%5cb", Err(AmbiguousPath)),
            ("/admin%2Fx/../secret", Err(AmbiguousPath)),
            ("/admin%2fx/%2e%2e/secret", Err(AmbiguousPath)),
            ("/a/%2F/../admin/secret", Err(AmbiguousPath)),
            ("/a/;x/../admin", Err(AmbiguousPath)),
            ("/admin\\x/../secret", Err(AmbiguousPath)),
            ("/a;v=1/b%2Fc", Ok("/a;v=1/b%2Fc")),
            ("/a/..;/b", Err(AmbiguousPath)),
            ("/a/%2e%2e%3bx/b", Err(AmbiguousPath)),
            ("/.;x/b", Err(AmbiguousPath)),
            ("/a;x=..;y/b", Ok("/a;x=..;y/b")),
            ("a", Err(AmbiguousPath)),
            ("*", Err(AmbiguousPath)),
        ] {
            assert_eq!(normalise(raw).as_deref(), want.as_ref().map(|text| *text), "{raw}");
        }
    }

    #[test]
    fn a_prefix_matches_whole_segments_however_they_are_written() {
        for (path, prefix, want) in [
            ("/api", "/api", Some("")),
            ("/api/users", "/api", Some("/users")),
            ("/apix", "/api", None),
            ("/api", "/api/", None),
            ("/api/x", "/api/", Some("/x")),
            ("/api%2Fx", "/api", Some("%2Fx")),
            ("/api%2Fv2/x", "/api/v2", Some("/x")),
            ("/%2Fapi", "/api", Some("")),
            ("/\\api\\x", "/api", Some("\\x")),
            ("/api%5Cx", "/api", Some("%5Cx")),
            ("/api;v=1", "/api", Some(";v=1")),
            ("/api;v=1/v2;x/y", "/api/v2", Some(";x/y")),
            ("/;x/api", "/api", Some("")),
            ("/;x", "/api", None),
            ("/a%3Bpi", "/api", None),
            ("/x", "/", Some("/x")),
            ("/", "/", Some("/")),
            ("/ap", "/api", None),
        ] {
            let got = match_prefix(path, prefix).map(|at| &path[at..]);
            assert_eq!(got, want, "{path} under {prefix}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(raw in "/[a-z./%0-9A-F\\\\]{0,40}") {
            if let Ok(once) = normalise(&raw) {
                let twice = normalise(&once);
                prop_assert_eq!(twice.as_deref(), Ok(&*once), "{}", raw);
                prop_assert!(!once.split('/').any(|segment| segment == ".." || segment == "."));
            }
        }

        #[test]
        fn no_path_makes_it_panic(raw in "\\PC{0,60}", prefix in "/[a-z/]{0,10}") {
            if let Ok(path) = normalise(&raw)
                && let Some(at) = match_prefix(&path, &prefix)
            {
                prop_assert!(path.is_char_boundary(at));
            }
        }
    }
}
