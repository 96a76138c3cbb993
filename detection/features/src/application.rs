// SPDX-License-Identifier: Apache-2.0
//! A request as one application knows it: which path takes which parameters, and what stands in each. What nobody else
//! would find odd (a misspelt name, a letter in a number, a page that does not exist) is odd there.
//!
//! A request is read in parts: its path, its names together, each name and each value. Every part is a list of tokens;
//! a part is judged alone, so that innocent parts beside an odd one do not hide it. Where a body may have been sent that
//! nobody read, the names together are not known and no part.

use crate::canonical::{Unit, UnitKind, UnitSource, each_unit};
use crate::payload::{Facts, read};

/// What is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// As it was sent.
    pub method: &'a str,
    /// Cookies are no part of it: whoever sends some chooses them.
    pub units: UnitSource<'a>,
}

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// Method and path.
    Path,
    /// The names together, in their order.
    Names,
    /// One name.
    Name,
    /// What stands under a name, or a whole body.
    Value,
}

impl PartKind {
    /// `path`
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Names => "names",
            Self::Name => "name",
            Self::Value => "value",
        }
    }
}

/// A part.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// What it is.
    pub kind: PartKind,
    /// The name it stands under; empty for a path and for names together.
    pub name: &'a [u8],
    /// Well-mixed hashes; the top bits of each say its place in a table. Never empty.
    pub tokens: &'a [u32],
}

/// Kept by the caller: nothing is allocated once it is large enough.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    text: Vec<u8>,
    facts: Facts,
    tokens: Vec<u32>,
}

/// Symbols of a part that are read: what is longer is looked at by the payload model.
const SYMBOLS_MAX: usize = 2048;
/// Values of so many bytes are known as wholes: `entrar` under `B1` is what a button sends.
const WHOLE_MAX: usize = 24;
/// Lengths are told apart up to here, and by their magnitude.
const LENGTH_MAX: usize = 40;
/// Changes of kind that the shape of a value has.
const SHAPE_MAX: usize = 12;
/// Raised by hand when tokens or the keys of hosts change.
pub const RULES: u64 = 1;

/// A host as a model remembers it. Never zero, so that zero can mean that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostKey {
    /// Of the whole name.
    pub name: u32,
    /// Of what stands before its first dot.
    pub label: u32,
}

impl HostKey {
    /// Of a name or an address without port; case, brackets and dots at the end are no part of it.
    pub fn of(host: &str) -> Self {
        let host = host.trim_start_matches('[').trim_end_matches([']', '.']).as_bytes();
        let label = host.split(|byte| *byte == b'.').next().unwrap_or_default();
        let key = |text: &[u8]| {
            mixed(text.iter().fold(hash_start(30), |hash, byte| hash_step(hash, byte.to_ascii_lowercase())))
        };
        Self { name: key(host).max(1), label: key(label).max(1) }
    }
}

/// Hands out the parts of a request, the path first, the names together last. Whether there are more than
/// [`crate::canonical::UNITS_MAX`]: what was not looked at may be anything.
pub fn each_part(request: &Request<'_>, scratch: &mut Scratch, visit: &mut dyn FnMut(&Part<'_>)) -> bool {
    let Scratch { text, facts, tokens } = scratch;
    let mut reader = Reader { method: hash(0, request.method.as_bytes()), ..Reader::default() };
    let units = UnitSource { cookies: b"", ..request.units };
    let read_units = each_unit(&units, text, &mut |unit| {
        tokens.clear();
        read(unit.value, facts);
        let kind = reader.unit(&unit, facts, tokens);
        let name = if kind == PartKind::Path { b"" } else { unit.name };
        visit(&Part { kind, name, tokens });
    });
    if !has_unread_body(request) {
        tokens.clear();
        reader.names(tokens);
        visit(&Part { kind: PartKind::Names, name: b"", tokens });
    }
    read_units.truncated
}

fn has_unread_body(request: &Request<'_>) -> bool {
    let brings_none = matches!(request.method, "GET" | "HEAD" | "OPTIONS" | "DELETE" | "TRACE");
    request.units.body.is_empty() && !brings_none
}

/// What came so far.
#[derive(Clone, Copy, Debug, Default)]
struct Reader {
    method: u32,
    path: u32,
    /// The last name, in canonical form.
    name: u32,
    /// Kinds and names in their order.
    names: u32,
    count: u32,
}

impl Reader {
    fn unit(&mut self, unit: &Unit<'_>, facts: &Facts, tokens: &mut Vec<u32>) -> PartKind {
        let symbols = facts.symbols.get(..SYMBOLS_MAX).unwrap_or(&facts.symbols);
        match unit.kind {
            UnitKind::Path => {
                self.path = hash(1, unit.value);
                tokens.extend([self.path, joined(2, self.method, self.path)]);
                let ending = unit.value.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
                tokens.push(hash(3, ending));
                grams(4, symbols, tokens);
                PartKind::Path
            }
            UnitKind::ParameterName | UnitKind::CookieName => {
                self.name = hash(5, unit.value);
                self.names = joined(self.names, self.name, 6);
                self.count += 1;
                tokens.extend([self.name, joined(7, self.path, self.name)]);
                grams(8, symbols, tokens);
                PartKind::Name
            }
            UnitKind::Parameter | UnitKind::Cookie | UnitKind::JsonLeaf | UnitKind::Body => {
                let name = if unit.name.is_empty() { 0 } else { self.name };
                self.names = joined(self.names, name, 9);
                value(name, unit.value, symbols, tokens);
                PartKind::Value
            }
        }
    }

    fn names(&self, tokens: &mut Vec<u32>) {
        tokens.extend([
            joined(10, self.names, 0),
            joined(11, self.path, self.names),
            joined(12, self.path, self.count),
            joined(13, self.method, self.path),
        ]);
    }
}

/// What stands under a name: how long it is, of what kinds of characters in what order, which odd ones, and which text.
fn value(name: u32, value: &[u8], symbols: &[u8], tokens: &mut Vec<u32>) {
    let length = u32::try_from(value.len().min(LENGTH_MAX)).unwrap_or(u32::MAX);
    tokens.extend([
        joined(20, name, length),
        joined(21, name, value.len().checked_ilog2().unwrap_or(0)),
        joined(22, name, shape(value)),
    ]);
    if value.len() <= WHOLE_MAX {
        tokens.push(joined(23, name, hash(23, value)));
    }
    let mut odd = [0_u128; 2];
    for byte in value.iter().filter(|byte| !byte.is_ascii_alphanumeric()) {
        if let Some(set) = odd.get_mut(usize::from(*byte >> 7)) {
            *set |= 1 << (byte & 127);
        }
    }
    for byte in (0..=u8::MAX).filter(|byte| odd[usize::from(*byte >> 7)] >> (byte & 127) & 1 == 1) {
        tokens.push(joined(24, name, byte.into()));
    }
    grams(25, symbols, tokens);
}

/// Letters, digits and others, runs as one: `a0` of `item17`.
fn shape(value: &[u8]) -> u32 {
    let (mut shape, mut last, mut changes) = (26_u32, 0, 0);
    for byte in value {
        let kind = match byte {
            b'a'..=b'z' | b'A'..=b'Z' => b'a',
            b'0'..=b'9' => b'0',
            0x80.. => 0x80,
            other => *other,
        };
        if kind != last && changes < SHAPE_MAX {
            shape = joined(shape, kind.into(), 27);
            changes += 1;
        }
        last = kind;
    }
    shape
}

/// Two, three and four symbols that follow each other.
fn grams(salt: u32, symbols: &[u8], tokens: &mut Vec<u32>) {
    let mut window = 0_u32;
    for (at, symbol) in symbols.iter().enumerate() {
        window = window << 8 | u32::from(*symbol);
        for (length, mask) in [(2, 0xFFFF), (3, 0x00FF_FFFF), (4, u32::MAX)] {
            if at + 1 >= length {
                tokens.push(joined(salt, window & mask, 28));
            }
        }
    }
}

fn hash(salt: u32, text: &[u8]) -> u32 {
    mixed(text.iter().fold(hash_start(salt), |hash, byte| hash_step(hash, *byte)))
}

const fn hash_start(salt: u32) -> u32 {
    0x811c_9dc5 ^ salt
}

/// FNV-1a.
const fn hash_step(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as u32).wrapping_mul(0x0100_0193)
}

fn joined(salt: u32, one: u32, other: u32) -> u32 {
    mixed(
        salt.wrapping_mul(0x9E37_79B1)
            ^ one.wrapping_mul(0x85EB_CA77).rotate_left(13)
            ^ other.wrapping_mul(0xC2B2_AE3D),
    )
}

/// The last step of MurmurHash3: every bit of the input reaches the top ones.
const fn mixed(hash: u32) -> u32 {
    let hash = (hash ^ hash >> 16).wrapping_mul(0x85EB_CA6B);
    let hash = (hash ^ hash >> 13).wrapping_mul(0xC2B2_AE35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::canonical::BodyKind;

    fn parts(method: &str, path: &str, query: &str, body: &str) -> Vec<(PartKind, String, Vec<u32>)> {
        let units = UnitSource {
            path: path.as_bytes(),
            query: query.as_bytes(),
            cookies: b"a=1",
            body: body.as_bytes(),
            body_kind: if body.is_empty() { BodyKind::None } else { BodyKind::Form },
        };
        let mut found = Vec::new();
        let is_truncated = each_part(&Request { method, units }, &mut Scratch::default(), &mut |part| {
            let name = String::from_utf8_lossy(part.name).into_owned();
            found.push((part.kind, name, part.tokens.to_vec()));
        });
        assert_eq!(is_truncated, query.len() > 4000, "more than 1,000 units");
        found
    }

    #[test]
    fn a_request_is_read_in_parts() {
        let found = parts("GET", "/a.php", "id=17&q", "B1=x");
        let kinds: Vec<(&str, &str)> = found.iter().map(|(kind, name, _)| (kind.as_str(), &**name)).collect();
        let want = [
            ("path", ""),
            ("name", "id"),
            ("value", "id"),
            ("name", "q"),
            ("name", "B1"),
            ("value", "B1"),
            ("names", ""),
        ];
        assert_eq!(kinds, want);
        assert!(found.iter().all(|(.., tokens)| !tokens.is_empty()));
    }

    /// Tokens of the part at a place that the other request's part does not have.
    fn new_tokens(
        one: &[(PartKind, String, Vec<u32>)],
        other: &[(PartKind, String, Vec<u32>)],
        at: usize,
    ) -> usize {
        let known = &one[at].2;
        other[at].2.iter().filter(|token| !known.contains(token)).count()
    }

    #[test]
    fn only_the_part_that_differs_has_other_tokens() {
        let usual = parts("GET", "/a.php", "id=17&q=abc", "");
        for (name, other, want) in [
            (
                "the same in another case and spelling",
                parts("GET", "/A.php", "ID=17&q=%61bc", ""),
                [0, 0, 0, 0, 0, 0],
            ),
            (
                "another number of the same length",
                parts("GET", "/a.php", "id=23&q=abc", ""),
                [0, 0, 1, 0, 0, 0],
            ),
            ("a letter in a number", parts("GET", "/a.php", "id=1b&q=abc", ""), [0, 0, 7, 0, 0, 0]),
            ("another method", parts("DELETE", "/a.php", "id=17&q=abc", ""), [1, 0, 0, 0, 0, 1]),
        ] {
            let found: Vec<usize> = (0..6).map(|at| new_tokens(&usual, &other, at)).collect();
            assert_eq!(found, want, "{name}");
        }
        let misspelt = parts("GET", "/a.php", "idA=17&q=abc", "");
        assert!(new_tokens(&usual, &misspelt, 1) > 4 && new_tokens(&usual, &misspelt, 5) == 2);
        assert_eq!(new_tokens(&usual, &misspelt, 3), 0);
        let kinds = |found: &[(PartKind, String, Vec<u32>)]| found.last().map(|(kind, ..)| *kind);
        assert_eq!(kinds(&parts("POST", "/", "a=1", "")), Some(PartKind::Value), "a body that nobody read");
        assert_eq!(kinds(&parts("POST", "/", "a=1", "b=1")), Some(PartKind::Names));
        assert_eq!(kinds(&parts("GET", "/", &"id=1&".repeat(900), "")), Some(PartKind::Names), "too many");
        let without = parts("GET", "/a.php", "id=17&q=", "");
        assert_ne!(without.last(), usual.last(), "a value that is missing");
    }

    #[test]
    fn a_host_is_the_same_however_it_is_written() {
        let key = HostKey::of("shop.example");
        for same in ["shop.example", "SHOP.example", "shop.example.", "Shop.Example.."] {
            assert_eq!(HostKey::of(same), key, "{same}");
        }
        assert_eq!(HostKey::of("[2001:db8::1]"), HostKey::of("2001:DB8::1"));
        assert_eq!(HostKey::of("shop.test").label, key.label);
        assert_eq!(HostKey::of("shop"), HostKey { name: key.label, label: key.label });
        for other in ["shop.test", "www.shop.example", "shop.example.org", "shopexample", ""] {
            assert_ne!(HostKey::of(other).name, key.name, "{other}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_work_is_bounded_by_the_text(query in ".{0,300}", method in ".{0,9}") {
            let found = parts(&method, "/", &query, "");
            let tokens: usize = found.iter().map(|(.., tokens)| tokens.len()).sum();
            prop_assert!(tokens <= 64 * (query.len() + 4));
        }

        /// What stands beside a value changes nothing of its tokens.
        #[test]
        fn values_are_read_alone(value in "[a-z0-9'<>]{1,20}", beside in "[a-z]{1,9}=[a-z0-9]{0,9}") {
            let alone = parts("GET", "/", &format!("x={value}"), "");
            let padded = parts("GET", "/", &format!("x={value}&{beside}"), "");
            prop_assert_eq!(&alone[..3], &padded[..3]);
        }
    }
}
