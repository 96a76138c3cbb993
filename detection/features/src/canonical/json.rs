// SPDX-License-Identifier: Apache-2.0
//! Keys and leaves of JSON, one after the other, without a tree and without allocation. It is more lenient
//! than RFC 8259 where backends are (a byte order mark, raw control characters, numbers such as `01`,
//! documents in a row as in JSON lines): what some backend reads is judged leaf by leaf, too.

use super::decode::{Decoder, Form, canonical_text, code_unit};

/// How deep arrays and objects may nest: half of what serde_json allows, and far more than requests need.
/// Each level costs the scanner 24 bytes of stack; what is deeper is judged as a whole instead.
pub const JSON_DEPTH_MAX: usize = 64;

/// Text that is no JSON, or nests too deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MalformedJson;

/// What the scanner came to; its canonical text is in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A member's key, as it was written between its quotes.
    Key(&'a [u8]),
    /// A string, a number, `true`, `false` or `null`, and the key it stands under, through arrays too.
    Leaf(&'a [u8]),
}

/// Goes through a body.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    rest: &'a [u8],
    expected: Expected,
    /// The first is outside of all containers.
    levels: [Level<'a>; JSON_DEPTH_MAX + 1],
    depth: usize,
}

#[derive(Clone, Copy, Debug)]
struct Level<'a> {
    kind: LevelKind,
    name: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LevelKind {
    Document,
    Array,
    Object,
}

/// What may stand next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Document,
    FirstItem,
    Value,
    FirstKey,
    Key,
    CommaOrEnd,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        let rest = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
        let outermost = Level { kind: LevelKind::Document, name: b"" };
        Self { rest, expected: Expected::Document, levels: [outermost; JSON_DEPTH_MAX + 1], depth: 0 }
    }

    /// Goes on to the next key or leaf, and appends its canonical text to `out`. `None` at the end.
    pub(super) fn advance(&mut self, out: &mut Vec<u8>) -> Result<Option<Token<'a>>, MalformedJson> {
        use Expected::{CommaOrEnd, Document, FirstItem, FirstKey, Key, Value};
        loop {
            self.skip_space();
            let Some((byte, after)) = self.rest.split_first() else {
                return if self.expected == Document { Ok(None) } else { Err(MalformedJson) };
            };
            let before = std::mem::replace(&mut self.rest, after);
            match (self.expected, byte) {
                (FirstItem, b']') | (FirstKey, b'}') => self.close(),
                (CommaOrEnd, b',' | b']' | b'}') => self.end_item(*byte)?,
                (FirstKey | Key, b'"') => return self.key(out).map(Some),
                (FirstKey | Key | CommaOrEnd, _) => return Err(MalformedJson),
                (Document | FirstItem | Value, b'[') => self.open(LevelKind::Array, FirstItem)?,
                (Document | FirstItem | Value, b'{') => self.open(LevelKind::Object, FirstKey)?,
                (Document | FirstItem | Value, b'"') => {
                    self.string(out)?;
                    return Ok(Some(self.leaf()));
                }
                (Document | FirstItem | Value, _) => {
                    self.rest = before;
                    self.literal(out)?;
                    return Ok(Some(self.leaf()));
                }
            }
        }
    }

    /// The names that the leaf which was read last stands under, outermost first.
    fn names(&self) -> impl Iterator<Item = &'a [u8]> {
        self.levels.iter().take(self.depth.saturating_add(1)).map(|level| level.name)
    }

    fn open(&mut self, kind: LevelKind, expected: Expected) -> Result<(), MalformedJson> {
        let name = self.level().name;
        self.depth += 1;
        *self.levels.get_mut(self.depth).ok_or(MalformedJson)? = Level { kind, name };
        self.expected = expected;
        Ok(())
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.end_value();
    }

    fn end_value(&mut self) {
        let is_outside = self.level().kind == LevelKind::Document;
        self.expected = if is_outside { Expected::Document } else { Expected::CommaOrEnd };
    }

    fn end_item(&mut self, byte: u8) -> Result<(), MalformedJson> {
        match (self.level().kind, byte) {
            (LevelKind::Array, b',') => self.expected = Expected::Value,
            (LevelKind::Object, b',') => self.expected = Expected::Key,
            (LevelKind::Array, b']') | (LevelKind::Object, b'}') => self.close(),
            _ => return Err(MalformedJson),
        }
        Ok(())
    }

    fn key(&mut self, out: &mut Vec<u8>) -> Result<Token<'a>, MalformedJson> {
        let name = self.string(out)?;
        self.skip_space();
        self.rest = self.rest.strip_prefix(b":").ok_or(MalformedJson)?;
        if let Some(level) = self.levels.get_mut(self.depth) {
            level.name = name;
        }
        self.expected = Expected::Value;
        Ok(Token::Key(name))
    }

    fn leaf(&mut self) -> Token<'a> {
        self.end_value();
        Token::Leaf(self.level().name)
    }

    /// Reads on behind the opening quote. Returns what stands between the quotes.
    fn string(&mut self, out: &mut Vec<u8>) -> Result<&'a [u8], MalformedJson> {
        let whole = self.rest;
        let mut decoder = Decoder::new(out);
        loop {
            decoder.text(self.take_while(|byte| !matches!(byte, b'"' | b'\\')), Form::Path);
            match self.rest.split_first() {
                Some((b'"', after)) => {
                    let raw = whole.get(..whole.len().saturating_sub(self.rest.len())).unwrap_or_default();
                    self.rest = after;
                    return Ok(raw);
                }
                Some((_, after)) => self.rest = escape(after, &mut decoder).ok_or(MalformedJson)?,
                None => return Err(MalformedJson),
            }
        }
    }

    fn literal(&mut self, out: &mut Vec<u8>) -> Result<(), MalformedJson> {
        let text = self.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        if !matches!(text, b"true" | b"false" | b"null") && !is_number(text) {
            return Err(MalformedJson);
        }
        canonical_text(text, Form::Path, out);
        Ok(())
    }

    fn level(&self) -> Level<'a> {
        self.levels.get(self.depth).copied().unwrap_or(Level { kind: LevelKind::Document, name: b"" })
    }

    fn skip_space(&mut self) {
        self.take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    }

    fn take_while(&mut self, is_wanted: impl Fn(&u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().position(|byte| !is_wanted(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }
}

/// A leaf of JSON, and all that it stands under.
#[derive(Clone, Copy, Debug)]
pub struct JsonLeaf<'a> {
    /// Names as they were written, outermost first; one may come twice.
    pub names: &'a [&'a [u8]],
    /// Its text in canonical form.
    pub value: &'a [u8],
}

/// Hands out the leaves of a body as they are units, up to where it is no JSON.
pub fn each_json_leaf(body: &[u8], visit: &mut dyn FnMut(JsonLeaf<'_>)) {
    let (mut scanner, mut value, mut names) = (Scanner::new(body), Vec::new(), Vec::new());
    while let Ok(Some(token)) = scanner.advance(&mut value) {
        if let Token::Leaf(_) = token {
            names.clear();
            names.extend(scanner.names());
            visit(JsonLeaf { names: &names, value: &value });
        }
        value.clear();
    }
}

/// Appends the canonical form of text in which JSON's escapes may stand, but no structure can be made out.
/// What is no escape stays as it is.
pub(super) fn canonical_fragment(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len());
    let mut decoder = Decoder::new(out);
    let mut pieces = text;
    while let Some(at) = pieces.iter().position(|byte| *byte == b'\\') {
        let (before, rest) = pieces.split_at_checked(at).unwrap_or((pieces, &[]));
        decoder.text(before, Form::Path);
        let after = rest.get(1..).unwrap_or_default();
        pieces = escape(after, &mut decoder).unwrap_or_else(|| {
            decoder.push(b'\\');
            after
        });
    }
    decoder.text(pieces, Form::Path);
}

/// Undoes the escape whose backslash stood before `text`; returns what follows, or nothing if it is none.
fn escape<'t>(text: &'t [u8], decoder: &mut Decoder<'_>) -> Option<&'t [u8]> {
    let (kind, after) = text.split_first()?;
    let byte = match kind {
        b'"' | b'\\' | b'/' => *kind,
        b'b' => 0x08,
        b'f' => 0x0C,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => return unicode_escape(after, decoder),
        _ => return None,
    };
    decoder.push(byte);
    Some(after)
}

/// Characters beyond U+FFFF are written as two surrogates; one alone is none.
fn unicode_escape<'t>(text: &'t [u8], decoder: &mut Decoder<'_>) -> Option<&'t [u8]> {
    let (first, after) = hex_unit(text)?;
    let second = after.strip_prefix(b"\\u").and_then(hex_unit);
    if let Some((second, behind)) = second
        && let Some(Ok(character)) = char::decode_utf16([first, second]).next()
        && character.len_utf16() == 2
    {
        decoder.character(character);
        return Some(behind);
    }
    decoder.character(char::from_u32(first.into()).unwrap_or(char::REPLACEMENT_CHARACTER));
    Some(after)
}

fn hex_unit(text: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, after) = text.split_first_chunk()?;
    Some((code_unit(*digits)?, after))
}

fn is_number(text: &[u8]) -> bool {
    let begins = text.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-');
    begins
        && text.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'))
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Tokens as `key=` and `name:leaf`, until the end or, with a last `!`, until the text breaks.
    fn tokens(body: &[u8]) -> Vec<String> {
        let mut scanner = Scanner::new(body);
        let mut seen = Vec::new();
        loop {
            let mut out = Vec::new();
            let token = scanner.advance(&mut out);
            let text = String::from_utf8_lossy(&out);
            match token {
                Ok(Some(Token::Key(_))) => seen.push(format!("{text}=")),
                Ok(Some(Token::Leaf(name))) => seen.push(format!("{}:{text}", String::from_utf8_lossy(name))),
                Ok(None) => return seen,
                Err(MalformedJson) => {
                    seen.push("!".into());
                    return seen;
                }
            }
        }
    }

    #[test]
    fn leaves_are_found() {
        for (name, body, want) in [
            ("nothing", " \r\n", &[][..]),
            ("a member", r#"{"a":"B"}"#, &["a=", "a:b"]),
            ("literals", "[true, false ,null]", &[":true", ":false", ":null"]),
            ("numbers", "[1, -2.5E+3, 01]", &[":1", ":-2.5e+3", ":01"]),
            ("empty containers", r#"[{}, [], {"a":[]}]"#, &["a="]),
            ("an empty string", r#"{"":""}"#, &["=", ":"]),
            (
                "names through arrays",
                r#"{"a":[{"b":1},[2],3],"c":4}"#,
                &["a=", "b=", "b:1", "a:2", "a:3", "c=", "c:4"],
            ),
            ("a name as it was written", r#"{"\u0041":1}"#, &["a=", r"\u0041:1"]),
            ("escapes", r#""\"\\\/\b\f\n\r\t""#, &[":\"\\/\u{8}\u{c}\n\r\t"]),
            ("Unicode escapes", r#""\u003Cscript\u003e \u4f60""#, &[":<script> 你"]),
            ("surrogates", r#""\ud83d\ude00""#, &[":😀"]),
            ("half of a pair", r#""\ud83d \ude00\ud83d\u0041""#, &[":\u{fffd} \u{fffd}\u{fffd}a"]),
            ("full-width", r#""\uff1cＡ""#, &[":<a"]),
            ("percent", r#""%3Cb%3e""#, &[":<b>"]),
            ("percent in Unicode escapes", r#""\u00253C \u0025\u0033c %\u0033C""#, &[":< < <"]),
            ("no space for a plus", r#""a+b""#, &[":a+b"]),
            ("a byte order mark", "\u{feff}[1]", &[":1"]),
            ("a raw line feed", "\"a\nb\"", &[":a\nb"]),
            ("documents in a row", "{\"a\":1}\n{\"b\":2}\n3", &["a=", "a:1", "b=", "b:2", ":3"]),
        ] {
            assert_eq!(tokens(body.as_bytes()), want, "{name}");
        }
    }

    #[test]
    fn a_leaf_knows_all_names_above_it() {
        let mut seen = Vec::new();
        let body = br#"{"a":{"b":[1,{"c":2}]},"d":3,"e":[4,{"#;
        each_json_leaf(body, &mut |JsonLeaf { names, value }| {
            let names: Vec<_> = names.iter().filter(|name| !name.is_empty()).collect();
            let names: Vec<_> = names.into_iter().map(|name| String::from_utf8_lossy(name)).collect();
            seen.push(format!("{}:{}", names.join("."), String::from_utf8_lossy(value)));
        });
        assert_eq!(seen, ["a.b.b:1", "a.b.b.c:2", "d:3", "e.e:4"]);
    }

    #[test]
    fn it_ends_where_the_text_breaks() {
        for (name, body, want) in [
            ("unquoted key", "{a:1}", &["!"][..]),
            ("single quotes", "['a']", &["!"]),
            ("a bare word", "[NaN]", &["!"]),
            ("a trailing comma", "[1,]", &[":1", "!"]),
            ("a trailing comma in an object", r#"{"a":1,}"#, &["a=", "a:1", "!"]),
            ("two commas", "[1,,2]", &[":1", "!"]),
            ("no comma", "[1 2]", &[":1", "!"]),
            ("no colon", r#"{"a" 1}"#, &["!"]),
            ("no value", r#"{"a":}"#, &["a=", "!"]),
            ("the other bracket", "[1}", &[":1", "!"]),
            ("one bracket too many", "[1]]", &[":1", "!"]),
            ("a comma outside", "1,2", &[":1", "!"]),
            ("an open array", "[1", &[":1", "!"]),
            ("an open string", r#"["a"#, &["!"]),
            ("an escape at the end", r#"["a\"#, &["!"]),
            ("no escape", r#"["\x41"]"#, &["!"]),
            ("a short escape", r#"["\u00 1"]"#, &["!"]),
            ("a comment", "[1 /* */]", &[":1", "!"]),
            ("something behind", r#"{"a":1}' or 1=1"#, &["a=", "a:1", "!"]),
        ] {
            assert_eq!(tokens(body.as_bytes()), want, "{name}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(tokens(nested(JSON_DEPTH_MAX).as_bytes()), [":1"]);
        assert_eq!(tokens(nested(JSON_DEPTH_MAX + 1).as_bytes()), ["!"]);
        assert_eq!(tokens("[".repeat(100_000).as_bytes()), ["!"]);
    }

    #[test]
    fn a_fragment_is_decoded_as_far_as_it_goes() {
        for (raw, want) in [
            (r"{a:'\u003CB\x'", r"{a:'<b\x'"),
            (r"\u00253c\", r"<\"),
            (r"\u12 \", r"\u12 \"),
            (r"\ud83d\ude00", "😀"),
        ] {
            let mut out = Vec::new();
            canonical_fragment(raw.as_bytes(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), want, "{raw}");
        }
    }

    #[derive(Clone, Debug)]
    enum Value {
        Literal(&'static str),
        String(String),
        Array(Vec<Self>),
        Object(Vec<(String, Self)>),
    }

    impl Value {
        fn any() -> impl Strategy<Value = Self> {
            let literal = prop::sample::select(vec!["true", "false", "null", "0", "-12.5e3"]);
            let leaf = prop_oneof![literal.prop_map(Self::Literal), any::<String>().prop_map(Self::String)];
            leaf.prop_recursive(5, 40, 5, |inner| {
                let members = vec((any::<String>(), inner.clone()), 0..5);
                prop_oneof![vec(inner, 0..5).prop_map(Self::Array), members.prop_map(Self::Object)]
            })
        }

        fn write(&self, quote: &mut impl FnMut(&str) -> String, space: &str) -> String {
            let list = |items: Vec<String>| items.join(&format!("{space},{space}"));
            match self {
                Self::Literal(text) => (*text).into(),
                Self::String(text) => quote(text),
                Self::Array(items) => {
                    format!("[{space}{}]", list(items.iter().map(|item| item.write(quote, space)).collect()))
                }
                Self::Object(members) => {
                    let member = |(key, value): &(String, Self)| {
                        format!("{}{space}:{space}{}", quote(key), value.write(quote, space))
                    };
                    format!("{{{}{space}}}", list(members.iter().map(member).collect()))
                }
            }
        }

        fn texts<'v>(&'v self, found: &mut Vec<&'v str>) {
            match self {
                Self::Literal(text) => found.push(text),
                Self::String(text) => found.push(text),
                Self::Array(items) => items.iter().for_each(|item| item.texts(found)),
                Self::Object(members) => members.iter().for_each(|(key, value)| {
                    found.push(key);
                    value.texts(found);
                }),
            }
        }
    }

    /// Each character escaped or not, as `ways` name it in rotation.
    fn quoted(text: &str, ways: &[bool]) -> String {
        let mut quoted = String::from('"');
        for (character, escaped) in text.chars().zip(ways.iter().cycle()) {
            if *escaped || matches!(character, '"' | '\\') {
                let units = character
                    .encode_utf16(&mut [0; 2])
                    .iter()
                    .map(|unit| format!("\\u{unit:04X}"))
                    .collect::<String>();
                quoted.push_str(&units);
            } else {
                quoted.push(character);
            }
        }
        quoted + "\""
    }

    proptest! {
        #[test]
        fn each_text_of_a_document_is_found(
            value in Value::any(),
            ways in vec(any::<bool>(), 1..9),
            space in "[ \t\r\n]{0,2}",
        ) {
            let body = value.write(&mut |text| quoted(text, &ways), &space);
            let mut scanner = Scanner::new(body.as_bytes());
            let mut want = Vec::new();
            value.texts(&mut want);
            for text in want {
                let (mut found, mut plain) = (Vec::new(), Vec::new());
                prop_assert!(matches!(scanner.advance(&mut found), Ok(Some(_))), "{}", body);
                canonical_text(text.as_bytes(), Form::Path, &mut plain);
                prop_assert_eq!(found, plain, "{}", body);
            }
            prop_assert_eq!(scanner.advance(&mut Vec::new()), Ok(None));
        }

        #[test]
        fn no_bytes_make_it_panic(
            body in vec(any::<u8>(), 0..100),
            text in r#"[\[\]{}",:0-9a-fu\\% ]{0,60}"#,
        ) {
            for body in [&body[..], text.as_bytes()] {
                let mut scanner = Scanner::new(body);
                let mut out = Vec::new();
                while matches!(scanner.advance(&mut out), Ok(Some(_))) {}
                prop_assert!(out.len() <= body.len());
                let mut whole = Vec::new();
                canonical_fragment(body, &mut whole);
                prop_assert!(whole.len() <= body.len());
            }
        }
    }
}
