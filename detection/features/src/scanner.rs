// SPDX-License-Identifier: Apache-2.0
//! The 12 features of one request by itself: a row each. All within `0..=127`, the inputs of a perceptron.

use crate::agent::AgentClass;
use crate::canonical::PathNotes;
use crate::ddos::Feature;
use crate::probes::Probe;

/// Features of a request.
pub const COUNT: usize = 12;

/// The greatest value.
pub const MOST: u8 = 127;

/// Where the features stand that a client may choose freely: no decision may hang on them alone.
pub const COOKIES: usize = 3;
/// See [`COOKIES`].
pub const REFERER: usize = 4;
/// See [`COOKIES`].
pub const HOST: usize = 9;

/// What is read of a request; the audit record gives all of it back.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// How much the words of the path are those that scanners ask for, to 100: a model says so.
    pub path_score: u8,
    /// The canonical path.
    pub path: &'a [u8],
    /// How much it is what probes ask for.
    pub probe: Probe,
    /// What was seen on the way to it.
    pub notes: PathNotes,
    /// `GET`
    pub method: &'a str,
    /// Without port.
    pub host: &'a str,
    /// What the client says it is.
    pub agent: AgentClass,
    /// `Accept`
    pub accept: &'a [u8],
    /// Whether one came.
    pub has_language: bool,
    /// Whether any came.
    pub has_cookies: bool,
    /// Whether one came.
    pub has_referer: bool,
    /// Announced.
    pub content_length: u64,
}

/// Declares the table and the function that reads all of it.
macro_rules! features {
    ($($(#[doc = $doc:literal])* $name:ident [$unit:literal] = |$facts:ident| $value:expr;)*) => {
        /// Names and units, in the order of a vector.
        pub const TABLE: [Feature; COUNT] = [$(
            Feature { name: stringify!($name), unit: $unit, doc: concat!($($doc, "\n",)*) },
        )*];

        /// The vector, in the order of [`TABLE`].
        #[inline]
        pub fn read(facts: &Facts<'_>) -> [u8; COUNT] {
            [$({ let $facts = facts; $value },)*]
        }
    };
}

features! {
    /// How much the path is one that scanners ask for: 127 for what no site means to serve.
    suspicious_path_score ["1/127"] = |f| match f.probe {
        Probe::Never => MOST,
        Probe::Common => f.path_score.max(64),
        Probe::No => f.path_score.min(100),
    };
    /// Segments of the path.
    path_depth ["1/8 segment"] = |f| u8::try_from(f.notes.depth.min(15) * 8).unwrap_or(MOST);
    /// What the path ends in: 127 for backups and settings, 64 for scripts.
    suspicious_extension ["1/127"] = |f| extension(f.path);
    /// Whether cookies came; a model may weigh it down.
    has_cookies ["1/127"] = |f| flag(f.has_cookies);
    /// Whether a referer came.
    has_referer ["1/127"] = |f| flag(f.has_referer);
    /// Whether a language came.
    has_accept_language ["1/127"] = |f| flag(f.has_language);
    /// 0 for no `Accept`, 42 for `*/*`, 85 for one kind, 127 for what browsers send.
    accept_quality ["1/127"] = |f| accept_quality(f.accept);
    /// 0 for a browser, 32 for a crawler, 64 for others, 96 for tools, 127 for none.
    agent_category ["1/127"] = |f| match f.agent {
        AgentClass::Browser => 0,
        AgentClass::Crawler => 32,
        AgentClass::Other => 64,
        AgentClass::Tool => 96,
        AgentClass::Empty => MOST,
    };
    /// 64 for what changes things, 127 for what hardly anybody uses.
    unusual_method ["1/127"] = |f| match f.method {
        "GET" | "HEAD" | "POST" => 0,
        "PUT" | "DELETE" | "PATCH" | "OPTIONS" => 64,
        _ => MOST,
    };
    /// Whether the host is a name and no address.
    named_host ["1/127"] = |f| flag(is_name(f.host));
    /// A body where none belongs, or none where one does.
    length_mismatch ["1/127"] = |f| flag(match f.method {
        "GET" | "HEAD" | "OPTIONS" | "TRACE" => f.content_length > 0,
        "POST" | "PUT" | "PATCH" => f.content_length == 0,
        _ => false,
    });
    /// How far the path climbs: 32 for each `..`, 127 above the root or with a NUL.
    traversal ["1/127"] = |f| if f.notes.above_root || f.notes.had_nul {
        MOST
    } else {
        u8::try_from(f.notes.traversals.min(3) * 32).unwrap_or(MOST)
    };
}

fn flag(is_set: bool) -> u8 {
    if is_set { MOST } else { 0 }
}

/// What the path asks for is nothing that a site means to serve, whoever asks.
pub const fn has_sign(probe: Probe, notes: &PathNotes) -> bool {
    matches!(probe, Probe::Never) || notes.above_root || notes.had_nul || notes.traversals > 2
}

fn extension(path: &[u8]) -> u8 {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let Some(dot) = name.iter().rposition(|byte| *byte == b'.') else { return 0 };
    match name.get(dot..).unwrap_or_default() {
        b".sql" | b".bak" | b".old" | b".orig" | b".swp" | b".env" | b".ini" | b".cfg" | b".conf"
        | b".log" | b".pem" | b".key" | b".inc" | b".save" | b".tmp" | b".mdb" | b".dump" | b".passwd"
        | b".sh" | b".yml" | b".bkp" => MOST,
        b".php" | b".asp" | b".aspx" | b".jsp" | b".cgi" | b".pl" | b".do" | b".action" | b".cfm"
        | b".jspx" => 64,
        _ => 0,
    }
}

/// Browsers name a kind and a weight, or several kinds.
fn accept_quality(accept: &[u8]) -> u8 {
    match accept {
        b"" => 0,
        b"*/*" => 42,
        _ if accept.contains(&b',') => MOST,
        _ => 85,
    }
}

fn is_name(host: &str) -> bool {
    let is_number = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    !host.is_empty() && !is_number && !host.starts_with('[')
}

const _: () = assert!(TABLE.len() == COUNT);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::canonical_path;

    fn features(path: &str, change: impl FnOnce(&mut Facts<'_>)) -> [u8; COUNT] {
        let mut canonical = Vec::new();
        let notes = canonical_path(path.as_bytes(), &mut canonical);
        let mut facts = Facts {
            path_score: 30,
            path: &canonical,
            probe: crate::probe(&canonical),
            notes,
            method: "GET",
            host: "www.example.org",
            agent: AgentClass::Browser,
            accept: b"text/html,*/*;q=0.8",
            has_language: true,
            has_cookies: false,
            has_referer: false,
            content_length: 0,
        };
        change(&mut facts);
        read(&facts)
    }

    #[test]
    fn each_feature_says_what_its_row_says() {
        assert_eq!(features("/a/b", |_| ()), [30, 16, 0, 0, 0, 127, 127, 0, 0, 127, 0, 0]);
        for (name, path, change, at, want) in [
            ("a secret", "/.env", (|_| ()) as fn(&mut Facts<'_>), 0, 127),
            ("a common probe", "/phpmyadmin/", |_| (), 0, 64),
            ("a model alone", "/x", |facts| facts.path_score = 120, 0, 100),
            ("a backup", "/db.sql", |_| (), 2, 127),
            ("a script", "/index.php", |_| (), 2, 64),
            ("cookies", "/", |facts| facts.has_cookies = true, COOKIES, 127),
            ("a referer", "/", |facts| facts.has_referer = true, REFERER, 127),
            ("no language", "/", |facts| facts.has_language = false, 5, 0),
            ("any kind", "/", |facts| facts.accept = b"*/*", 6, 42),
            ("one kind", "/", |facts| facts.accept = b"image/png", 6, 85),
            ("a tool", "/", |facts| facts.agent = AgentClass::Tool, 7, 96),
            ("a change", "/", |facts| facts.method = "PUT", 8, 64),
            ("an odd method", "/", |facts| facts.method = "PROPFIND", 8, 127),
            ("an address", "/", |facts| facts.host = "192.0.2.1", 9, 0),
            ("an IPv6 address", "/", |facts| facts.host = "[2001:db8::1]", 9, 0),
            ("a body where none belongs", "/", |facts| facts.content_length = 5, 10, 127),
            ("a climb", "/a/../b", |_| (), 11, 32),
            ("above the root", "/..%2f..%2fetc", |_| (), 11, 127),
        ] {
            assert_eq!(features(path, change)[at], want, "{name}");
        }
        let deep = "/a".repeat(100);
        assert!(features(&deep, |_| ()).iter().all(|feature| *feature <= MOST));
    }

    #[test]
    fn signs_are_what_no_site_means_to_serve() {
        for (path, want) in [
            ("/.env", true),
            ("/../../etc/passwd", true),
            ("/a%00b", true),
            ("/a/../b", false),
            ("/wp-login.php", false),
        ] {
            let mut canonical = Vec::new();
            let notes = canonical_path(path.as_bytes(), &mut canonical);
            assert_eq!(has_sign(crate::probe(&canonical), &notes), want, "{path}");
        }
    }
}
