// SPDX-License-Identifier: Apache-2.0
//! A request in units: its path, each parameter, cookie and JSON leaf alone. An attack sits in one of them;
//! judged as a whole, a request hides it behind innocent text (one benign parameter added took 65 to 95
//! points of recall from a model of whole requests).

use super::decode::{Form, canonical_text};
use super::json::{Scanner, Token, canonical_fragment};
use super::path::{PathNotes, canonical_path};

/// How many units of a request are handed out. ModSecurity's usual bound on arguments; each costs a model's
/// look, so a request of a million empty parameters must not get them all.
pub const UNITS_MAX: usize = 1000;

/// The parts of a request that hold units, as the client wrote them.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnitSource<'a> {
    /// The target up to its `?`.
    pub path: &'a [u8],
    /// What follows the `?`.
    pub query: &'a [u8],
    /// The `Cookie` field's value.
    pub cookies: &'a [u8],
    /// The body, or as much of it as is kept.
    pub body: &'a [u8],
    /// How the body is read.
    pub body_kind: BodyKind,
}

/// How a body is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyKind {
    /// Not at all.
    #[default]
    None,
    /// As parameters (`application/x-www-form-urlencoded`).
    Form,
    /// As JSON.
    Json,
    /// As one text.
    Other,
}

impl BodyKind {
    /// By `Content-Type`; what no type is known of is read as form where it looks like one.
    pub fn of(content_type: &[u8], body: &[u8]) -> Self {
        let has = |word: &[u8]| content_type.windows(word.len()).any(|some| some.eq_ignore_ascii_case(word));
        match body {
            [] => Self::None,
            _ if has(b"json") => Self::Json,
            _ if has(b"urlencoded") => Self::Form,
            [b'{' | b'[', ..] if content_type.is_empty() => Self::Json,
            _ if content_type.is_empty() && body.contains(&b'=') => Self::Form,
            _ => Self::Other,
        }
    }
}

/// What a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// The path.
    Path,
    /// The name of a parameter in query or form, or a key in JSON.
    ParameterName,
    /// The value of a parameter in query or form.
    Parameter,
    /// The name of a cookie.
    CookieName,
    /// The value of a cookie.
    Cookie,
    /// A string, a number, `true`, `false` or `null` in JSON.
    JsonLeaf,
    /// A whole body.
    Body,
}

/// One unit of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit<'a> {
    /// What it is.
    pub kind: UnitKind,
    /// The name it stands under as the client wrote it; for a JSON leaf its nearest key; may be empty.
    pub name: &'a [u8],
    /// Its text in canonical form; never empty.
    pub value: &'a [u8],
}

/// What [`each_unit`] came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// Units handed out, at most [`UNITS_MAX`].
    pub seen: usize,
    /// There were more. What was not seen may hold anything: nobody may take this request for clean.
    pub truncated: bool,
    /// The body was to be JSON and is none, or nests deeper than [`super::JSON_DEPTH_MAX`].
    pub malformed_body: bool,
    /// Of the path.
    pub path: PathNotes,
}

/// Hands out the units of `request` in order: path, query, cookies, body; names before their values.
/// Parameters are split at `&`, not at `;` (WHATWG URL); where a name has no `=`, it has no value. Nothing
/// empty is handed out. JSON that breaks off gives the units up to there, and then the whole body as one:
/// a lenient backend may read either.
///
/// `scratch` holds one value at a time; it is kept by the caller so that nothing is allocated once it is
/// large enough.
pub fn each_unit(request: &UnitSource<'_>, scratch: &mut Vec<u8>, visit: &mut dyn FnMut(Unit<'_>)) -> Units {
    each_unit_but(request, |_| false, scratch, visit)
}

/// The same without those parameters and cookies of which `is_passed_over` says so by their text as it was sent: they are
/// neither decoded, handed out nor counted, so that innocent ones in front hide nothing behind the bound.
pub fn each_unit_but(
    request: &UnitSource<'_>,
    is_passed_over: fn(&[u8]) -> bool,
    scratch: &mut Vec<u8>,
    visit: &mut dyn FnMut(Unit<'_>),
) -> Units {
    let mut walk = Walk { scratch, visit, is_passed_over, units: Units::default() };
    walk.path(request.path);
    walk.parameters(request.query);
    walk.cookies(request.cookies);
    match request.body_kind {
        BodyKind::None => {}
        BodyKind::Form => walk.parameters(request.body),
        BodyKind::Json => walk.json(request.body),
        BodyKind::Other => walk.text(UnitKind::Body, b"", request.body, Form::Path),
    }
    walk.units
}

struct Walk<'a> {
    scratch: &'a mut Vec<u8>,
    visit: &'a mut dyn FnMut(Unit<'_>),
    is_passed_over: fn(&[u8]) -> bool,
    units: Units,
}

impl Walk<'_> {
    fn path(&mut self, path: &[u8]) {
        self.scratch.clear();
        self.units.path = canonical_path(path, self.scratch);
        self.hand_out(UnitKind::Path, b"");
    }

    fn parameters(&mut self, text: &[u8]) {
        for parameter in text.split(|byte| *byte == b'&') {
            if self.units.truncated {
                return;
            }
            let (name, value) = name_and_value(parameter);
            self.text(UnitKind::ParameterName, name, name, Form::Query);
            self.text(UnitKind::Parameter, name, value.unwrap_or_default(), Form::Query);
        }
    }

    /// A cookie without `=` is a value without a name, as browsers keep it (RFC 6265bis).
    fn cookies(&mut self, text: &[u8]) {
        for cookie in text.split(|byte| *byte == b';') {
            if self.units.truncated {
                return;
            }
            let (name, value) = match name_and_value(cookie.trim_ascii()) {
                (name, Some(value)) => (name.trim_ascii_end(), value.trim_ascii_start()),
                (value, None) => (&b""[..], value),
            };
            self.text(UnitKind::CookieName, name, name, Form::Path);
            self.text(UnitKind::Cookie, name, value, Form::Path);
        }
    }

    fn json(&mut self, body: &[u8]) {
        let mut scanner = Scanner::new(body);
        while !self.units.truncated {
            self.scratch.clear();
            match scanner.advance(self.scratch) {
                Ok(Some(Token::Key(name))) => self.hand_out(UnitKind::ParameterName, name),
                Ok(Some(Token::Leaf(name))) => self.hand_out(UnitKind::JsonLeaf, name),
                Ok(None) => return,
                Err(_) => return self.malformed(body),
            }
        }
    }

    fn malformed(&mut self, body: &[u8]) {
        self.units.malformed_body = true;
        self.scratch.clear();
        canonical_fragment(body, self.scratch);
        self.hand_out(UnitKind::Body, b"");
    }

    fn text(&mut self, kind: UnitKind, name: &[u8], raw: &[u8], form: Form) {
        if (self.is_passed_over)(raw) {
            return;
        }
        self.scratch.clear();
        canonical_text(raw, form, self.scratch);
        self.hand_out(kind, name);
    }

    /// Hands out what is in the buffer, if anything is and the bound is not reached.
    fn hand_out(&mut self, kind: UnitKind, name: &[u8]) {
        if self.count(!self.scratch.is_empty()) {
            (self.visit)(Unit { kind, name, value: self.scratch });
        }
    }

    /// Counts a unit, if there is any; whether it is within the bound.
    fn count(&mut self, is_any: bool) -> bool {
        if is_any && self.units.seen >= UNITS_MAX {
            self.units.truncated = true;
        }
        let is_counted = is_any && !self.units.truncated;
        self.units.seen += usize::from(is_counted);
        is_counted
    }
}

fn name_and_value(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(at) = text.iter().position(|byte| *byte == b'=') else { return (text, None) };
    let (name, rest) = text.split_at_checked(at).unwrap_or((text, &[]));
    (name, Some(rest.get(1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::disguise::{disguise, texts};
    use super::*;

    type Seen = (UnitKind, Vec<u8>, Vec<u8>);

    fn units(request: &UnitSource<'_>) -> (Vec<Seen>, Units) {
        let mut seen = Vec::new();
        let mut scratch = b"left over".to_vec();
        let units = each_unit(request, &mut scratch, &mut |unit| {
            seen.push((unit.kind, unit.name.to_vec(), unit.value.to_vec()));
        });
        (seen, units)
    }

    /// The units as `Kind name value`.
    fn listed(request: &UnitSource<'_>) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        units(request)
            .0
            .iter()
            .map(|(kind, name, value)| format!("{kind:?} {} {}", text(name), text(value)))
            .collect()
    }

    #[test]
    fn a_query_is_split_at_ampersands() {
        for (query, want) in [
            ("", &[][..]),
            ("&&", &[]),
            ("a=1", &["ParameterName a a", "Parameter a 1"]),
            ("a=1;b=2", &["ParameterName a a", "Parameter a 1;b=2"]),
            ("a=b=c", &["ParameterName a a", "Parameter a b=c"]),
            ("a&b=&=c", &["ParameterName a a", "ParameterName b b", "Parameter  c"]),
            ("%41+b=C+%2B+%26", &["ParameterName %41+b a b", "Parameter %41+b c + &"]),
            ("a%3Db=1%2526", &["ParameterName a%3Db a=b", "Parameter a%3Db 1&"]),
        ] {
            let query = UnitSource { query: query.as_bytes(), ..UnitSource::default() };
            assert_eq!(listed(&query), want);
            let form = UnitSource { body: query.query, body_kind: BodyKind::Form, ..UnitSource::default() };
            assert_eq!(listed(&form), want);
        }
    }

    #[test]
    fn cookies_are_split_at_semicolons() {
        for (cookies, want) in [
            ("a=1; B=2", &["CookieName a a", "Cookie a 1", "CookieName B b", "Cookie B 2"][..]),
            ("a = 1 ;;b", &["CookieName a a", "Cookie a 1", "Cookie  b"]),
            ("a=b=c+d&e", &["CookieName a a", "Cookie a b=c+d&e"]),
            ("=%2527", &["Cookie  '"]),
        ] {
            let request = UnitSource { cookies: cookies.as_bytes(), ..UnitSource::default() };
            assert_eq!(listed(&request), want, "{cookies}");
        }
    }

    #[test]
    fn a_body_is_read_as_its_kind_says() {
        let body = br#"{"Q":["%3CB","\u0026"]}"#;
        for (body_kind, want) in [
            (BodyKind::None, &[][..]),
            (BodyKind::Json, &["ParameterName Q q", "JsonLeaf Q <b", "JsonLeaf Q &"]),
            (BodyKind::Other, &[r#"Body  {"q":["<b","\u0026"]}"#]),
            (BodyKind::Form, &[r#"ParameterName {"Q":["%3CB","\u0026"]} {"q":["<b","\u0026"]}"#]),
        ] {
            assert_eq!(
                listed(&UnitSource { body, body_kind, ..UnitSource::default() }),
                want,
                "{body_kind:?}"
            );
        }
    }

    #[test]
    fn json_that_breaks_off_is_a_whole_as_well() {
        let body = br#"{"a":"1","b":"\u0027 or",}"#;
        let request = UnitSource { body, body_kind: BodyKind::Json, ..UnitSource::default() };
        let (seen, units) = units(&request);
        assert_eq!(seen.last().map(|(kind, ..)| *kind), Some(UnitKind::Body));
        assert_eq!(seen.last().map(|(.., value)| &value[..]), Some(&br#"{"a":"1","b":"' or",}"#[..]));
        assert_eq!((units.seen, units.malformed_body), (5, true));
    }

    #[test]
    fn the_order_is_that_of_the_request() {
        let request = UnitSource {
            path: b"/A/../b",
            query: b"q=1",
            cookies: b"c=2",
            body: b"Text",
            body_kind: BodyKind::Other,
        };
        let want =
            ["Path  /b", "ParameterName q q", "Parameter q 1", "CookieName c c", "Cookie c 2", "Body  text"];
        assert_eq!(listed(&request), want);
        assert_eq!(units(&request).1.path.traversals, 1);
    }

    #[test]
    fn units_are_bounded() {
        for (count, seen, truncated) in [
            (UNITS_MAX - 1, UNITS_MAX - 1, false),
            (UNITS_MAX, UNITS_MAX, false),
            (UNITS_MAX + 1, UNITS_MAX, true),
        ] {
            let (query, cookies) = ("&=a".repeat(count), "a;".repeat(count));
            let json = format!("[1{}]", ",1".repeat(count - 1));
            let none = UnitSource::default();
            for request in [
                UnitSource { query: query.as_bytes(), ..none },
                UnitSource { cookies: cookies.as_bytes(), ..none },
                UnitSource { body: query.as_bytes(), body_kind: BodyKind::Form, ..none },
                UnitSource { body: json.as_bytes(), body_kind: BodyKind::Json, ..none },
            ] {
                let (_, units) = units(&request);
                assert_eq!((units.seen, units.truncated), (seen, truncated));
            }
        }
    }

    fn parameters() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
        let text = || vec(prop_oneof![any::<u8>(), prop::sample::select(b"&=+;%25uA".to_vec())], 0..12);
        vec((text(), text()), 0..6)
    }

    /// Each byte in a percent escape at least: bare ones would split, or be spaces.
    fn query(parameters: &[(Vec<u8>, Vec<u8>)], ways: &[u8]) -> Vec<u8> {
        let written = |(name, value): &(Vec<u8>, Vec<u8>)| {
            [&disguise(name, ways)[..], b"=", &disguise(value, ways)].concat()
        };
        parameters.iter().map(written).collect::<Vec<_>>().join(&b'&')
    }

    proptest! {
        #[test]
        fn parameters_keep_their_values_in_disguise(parameters in parameters(), ways in vec(0..4_u8, 1..9)) {
            let query = query(&parameters, &ways);
            let (seen, _) = units(&UnitSource { query: &query, ..UnitSource::default() });
            let mut want = Vec::new();
            for (name, value) in &parameters {
                for (kind, text) in [(UnitKind::ParameterName, name), (UnitKind::Parameter, value)] {
                    let mut canonical = Vec::new();
                    canonical_text(text, Form::Path, &mut canonical);
                    if !text.is_empty() {
                        want.push((kind, canonical));
                    }
                }
            }
            prop_assert_eq!(seen.into_iter().map(|(kind, _, value)| (kind, value)).collect::<Vec<_>>(), want);
        }

        #[test]
        fn values_are_canonical(parts in prop::array::uniform4(texts()), kind in 0..4_usize) {
            let [path, query, cookies, body] = &parts;
            let body_kind = [BodyKind::None, BodyKind::Form, BodyKind::Json, BodyKind::Other][kind];
            let (seen, units) = units(&UnitSource { path, query, cookies, body, body_kind });
            prop_assert_eq!(units.seen, seen.len());
            for (kind, _, value) in seen {
                let mut again = Vec::new();
                match kind {
                    UnitKind::Path => drop(canonical_path(&value, &mut again)),
                    _ => canonical_text(&value, Form::Path, &mut again),
                }
                prop_assert_eq!(again, value);
            }
        }
    }
}
