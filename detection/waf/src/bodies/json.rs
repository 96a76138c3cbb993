// SPDX-License-Identifier: Apache-2.0
//! JSON, flattened without a tree: `{"a":{"b":[1]}}` has the one leaf `json.a.b.0` = `1`.
//!
//! Names are those of Coraza (ModSecurity writes `array_0` for `0`), without its pseudo leaves that tell how long an
//! array is: no rule asks for them, and they would count as arguments. `null` has an empty value, as in both; empty
//! arrays and objects have no leaf; a value that stands alone is `json`.

use super::Limits;
use crate::hex;

/// What came of reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many leaves were handed over.
    pub leaves: usize,
    /// What is wrong: why reading stopped, or else the first that is odd.
    pub error: Option<JsonError>,
    /// The first that is odd and that nothing behind the text's end could make good: what counts of a text that goes on
    /// where it seems truncated.
    pub odd: Option<JsonError>,
}

/// What is wrong with a text that should be JSON. After the first five reading goes on: some backend would, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// A control character, or an escape that there is not.
    #[error("JSON: malformed string at byte {0}")]
    MalformedString(usize),
    /// `01`, `NaN`, `True`.
    #[error("JSON: malformed value at byte {0}")]
    MalformedValue(usize),
    /// `[1,]`, or more after the end, which is read as a document of its own.
    #[error("JSON: unexpected comma or trailing data at byte {0}")]
    Trailing(usize),
    /// Strings are handed over as they are.
    #[error("JSON: not UTF-8")]
    NotUtf8,
    /// Nothing that may stand there.
    #[error("JSON: unexpected byte at {0}")]
    Unexpected(usize),
    /// The text ends too early.
    #[error("JSON: truncated")]
    Truncated,
    /// More than `depth_max`.
    #[error("JSON: nested too deep")]
    TooDeep,
    /// More than `arguments_max`.
    #[error("JSON: too many values")]
    TooManyLeaves,
    /// More than `names_bytes_max`.
    #[error("JSON: names too long")]
    NamesTooLong,
}

/// Hands over the name and value of every leaf, in order, up to where reading stops: strings unescaped, numbers as they
/// are written. An array that has a key is handed over before its items, without a value.
pub fn visit(body: &[u8], limits: &Limits, visitor: impl FnMut(&[u8], Option<&[u8]>)) -> Outcome {
    let mut parser = Parser::new(body, limits, visitor);
    let fatal = parser.document().err();
    let leaves = parser.leaves;
    let encoding = std::str::from_utf8(body).err();
    let is_not_utf8 = |is_any: bool| is_any.then_some(JsonError::NotUtf8);
    let odd = parser.odd.or_else(|| is_not_utf8(encoding.is_some_and(|error| error.error_len().is_some())));
    let error = fatal.or(odd).or_else(|| is_not_utf8(encoding.is_some()));
    Outcome { leaves, error, odd }
}

struct Parser<'a, Visitor> {
    body: &'a [u8],
    at: usize,
    limits: &'a Limits,
    visitor: Visitor,
    /// Of what stands next, or of what it stands in.
    name: Vec<u8>,
    /// A string that had escapes.
    string: Vec<u8>,
    levels: Vec<Level>,
    leaves: usize,
    names_bytes: usize,
    odd: Option<JsonError>,
}

#[derive(Clone, Copy)]
struct Level {
    /// How long the name of the array or object is.
    name_bytes: usize,
    /// The next item of an array. `None`: an object.
    index: Option<usize>,
}

/// What may stand next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Value,
    FirstItem,
    Key,
    FirstKey,
    CommaOrEnd,
}

impl<'a, Visitor: FnMut(&[u8], Option<&[u8]>)> Parser<'a, Visitor> {
    fn new(body: &'a [u8], limits: &'a Limits, visitor: Visitor) -> Self {
        Self {
            body,
            at: 0,
            limits,
            visitor,
            name: ROOT.to_vec(),
            string: Vec::new(),
            levels: Vec::new(),
            leaves: 0,
            names_bytes: 0,
            odd: None,
        }
    }

    fn document(&mut self) -> Result<(), JsonError> {
        if self.body.is_empty() {
            return Ok(());
        }
        // Programs on Windows write it. A backend that does not step over it reads nothing at all.
        if self.body.starts_with(BYTE_ORDER_MARK) {
            self.at = BYTE_ORDER_MARK.len();
        }
        let mut expected = Expected::Value;
        loop {
            let Some(byte) = self.next_byte() else {
                let is_whole = expected == Expected::CommaOrEnd && self.levels.is_empty();
                return if is_whole { Ok(()) } else { Err(JsonError::Truncated) };
            };
            expected = self.step(expected, byte)?;
        }
    }

    /// The next that is no space; it is not consumed.
    fn next_byte(&mut self) -> Option<u8> {
        let rest = self.body.get(self.at..)?;
        let space = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        self.at += space.unwrap_or(rest.len());
        self.body.get(self.at).copied()
    }

    /// Consumes at least one byte.
    fn step(&mut self, expected: Expected, byte: u8) -> Result<Expected, JsonError> {
        use Expected::{CommaOrEnd, FirstItem, FirstKey, Key, Value};
        match (expected, byte) {
            (FirstItem, b']') | (FirstKey, b'}') => self.close(),
            (CommaOrEnd, b',' | b']' | b'}') if !self.levels.is_empty() => self.end_item(byte),
            (CommaOrEnd, _) if self.levels.is_empty() => {
                self.note(JsonError::Trailing(self.at));
                self.name.truncate(ROOT.len());
                self.value(byte)
            }
            (Value, b']') | (Key, b'}') if self.is_in(byte) => {
                self.note(JsonError::Trailing(self.at));
                self.close()
            }
            (Value | FirstItem, _) => self.value(byte),
            (Key | FirstKey, b'"') => self.key(),
            _ => Err(JsonError::Unexpected(self.at)),
        }
    }

    /// Whether the innermost is what this bracket closes.
    fn is_in(&self, bracket: u8) -> bool {
        self.levels.last().is_some_and(|level| level.index.is_some() == (bracket == b']'))
    }

    fn end_item(&mut self, byte: u8) -> Result<Expected, JsonError> {
        match byte {
            b',' => {
                self.at += 1;
                Ok(if self.is_in(b']') { Expected::Value } else { Expected::Key })
            }
            _ if self.is_in(byte) => self.close(),
            _ => Err(JsonError::Unexpected(self.at)),
        }
    }

    fn close(&mut self) -> Result<Expected, JsonError> {
        self.at += 1;
        self.levels.pop();
        Ok(Expected::CommaOrEnd)
    }

    fn key(&mut self) -> Result<Expected, JsonError> {
        let name_bytes = self.levels.last().map_or(ROOT.len(), |level| level.name_bytes);
        self.name.truncate(name_bytes);
        self.name.push(b'.');
        let mut name = std::mem::take(&mut self.name);
        let read = self.string(&mut name);
        self.name = name;
        match read {
            Text::Plain(text) => self.name.extend_from_slice(text),
            Text::Unescaped => {}
            Text::Cut => return Err(JsonError::Truncated),
        }
        match self.next_byte() {
            Some(b':') => {
                self.at += 1;
                Ok(Expected::Value)
            }
            Some(_) => Err(JsonError::Unexpected(self.at)),
            None => Err(JsonError::Truncated),
        }
    }

    fn value(&mut self, byte: u8) -> Result<Expected, JsonError> {
        self.name_item();
        match byte {
            b'{' => self.open(None, Expected::FirstKey),
            b'[' => self.open_array(),
            b'"' => self.string_leaf(),
            _ => self.bare_leaf(),
        }
    }

    /// An item of an array is named by its place.
    fn name_item(&mut self) {
        let Some(Level { name_bytes, index: Some(index) }) = self.levels.last_mut() else {
            return;
        };
        self.name.truncate(*name_bytes);
        self.name.push(b'.');
        push_decimal(*index, &mut self.name);
        *index += 1;
    }

    fn open(&mut self, index: Option<usize>, expected: Expected) -> Result<Expected, JsonError> {
        if self.levels.len() >= self.limits.depth_max {
            return Err(JsonError::TooDeep);
        }
        self.at += 1;
        self.levels.push(Level { name_bytes: self.name.len(), index });
        Ok(expected)
    }

    /// The name of an array may end what a rule looks for: `{"role__in":[1]}` has no leaf of that name.
    fn open_array(&mut self) -> Result<Expected, JsonError> {
        if self.levels.last().is_some_and(|level| level.index.is_none()) {
            self.count_name()?;
            (self.visitor)(&self.name, None);
        }
        self.open(Some(0), Expected::FirstItem)
    }

    fn count_name(&mut self) -> Result<(), JsonError> {
        self.names_bytes = self.names_bytes.saturating_add(self.name.len());
        if self.names_bytes > self.limits.names_bytes_max { Err(JsonError::NamesTooLong) } else { Ok(()) }
    }

    fn string_leaf(&mut self) -> Result<Expected, JsonError> {
        let mut string = std::mem::take(&mut self.string);
        string.clear();
        let handed_over = match self.string(&mut string) {
            Text::Plain(text) => self.leaf(text).map(|()| Expected::CommaOrEnd),
            Text::Unescaped => self.leaf(&string).map(|()| Expected::CommaOrEnd),
            // What there is of it is worth a look: bodies may be cut where they are too long.
            Text::Cut => self.leaf(&string).and(Err(JsonError::Truncated)),
        };
        self.string = string;
        handed_over
    }

    fn bare_leaf(&mut self) -> Result<Expected, JsonError> {
        let rest = self.body.get(self.at..).unwrap_or_default();
        let text = match rest.iter().position(|byte| DELIMITERS.contains(byte)) {
            Some(end) => rest.get(..end).unwrap_or_default(),
            None => rest,
        };
        if text.is_empty() {
            return Err(JsonError::Unexpected(self.at));
        }
        let is_whole = matches!(text, b"true" | b"false" | b"null") || is_number(text);
        let is_cut = !is_whole && text.len() == rest.len() && is_beginning(text);
        if !is_whole && !is_cut {
            self.note(JsonError::MalformedValue(self.at));
        }
        self.at += text.len();
        self.leaf(if text == b"null" { b"" } else { text })?;
        if is_cut {
            return Err(JsonError::Truncated);
        }
        Ok(Expected::CommaOrEnd)
    }

    fn leaf(&mut self, value: &[u8]) -> Result<(), JsonError> {
        if self.leaves >= self.limits.arguments_max {
            return Err(JsonError::TooManyLeaves);
        }
        self.count_name()?;
        self.leaves += 1;
        (self.visitor)(&self.name, Some(value));
        Ok(())
    }

    /// A string, from its opening quote to behind its closing one. Appended to `output`, unless it is plain.
    fn string(&mut self, output: &mut Vec<u8>) -> Text<'a> {
        self.at += 1;
        let start = self.at;
        let mut is_plain = true;
        loop {
            let from = self.at;
            let rest = self.body.get(from..).unwrap_or_default();
            let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
                if rest.iter().any(|byte| *byte < b' ') {
                    self.note(JsonError::MalformedString(start));
                }
                output.extend_from_slice(rest);
                self.at = self.body.len();
                return Text::Cut;
            };
            let (piece, after) = rest.split_at(found);
            if piece.iter().any(|byte| *byte < b' ') {
                self.note(JsonError::MalformedString(start));
            }
            self.at += found;
            if after.first() == Some(&b'"') {
                self.at += 1;
                if is_plain {
                    return Text::Plain(piece);
                }
                output.extend_from_slice(piece);
                return Text::Unescaped;
            }
            is_plain = false;
            output.extend_from_slice(piece);
            self.escape(after, output);
        }
    }

    /// `text` starts with a backslash. What is no escape stands as it is.
    fn escape(&mut self, text: &[u8], output: &mut Vec<u8>) {
        let (byte, length) = match text.get(1) {
            Some(b'u') => return self.code_point(text, output),
            Some(byte @ (b'"' | b'\\' | b'/')) => (*byte, 2),
            Some(b'b') => (0x08, 2),
            Some(b'f') => (0x0c, 2),
            Some(b'n') => (b'\n', 2),
            Some(b'r') => (b'\r', 2),
            Some(b't') => (b'\t', 2),
            None => (b'\\', 1),
            Some(_) => {
                self.note(JsonError::MalformedString(self.at));
                (b'\\', 1)
            }
        };
        output.push(byte);
        self.at += length;
    }

    /// `\u0041`, or two that are a pair.
    fn code_point(&mut self, text: &[u8], output: &mut Vec<u8>) {
        let Some(unit) = code_unit(text) else {
            // Where the text ends in it, the string has no end: that is told.
            let is_cut = text.len() < ESCAPE_BYTES && text.iter().skip(2).all(u8::is_ascii_hexdigit);
            if !is_cut {
                self.note(JsonError::MalformedString(self.at));
            }
            output.push(b'\\');
            self.at += 1;
            return;
        };
        self.at += ESCAPE_BYTES;
        let low = || code_unit(text.get(ESCAPE_BYTES..)?).filter(|unit| (0xdc00..0xe000).contains(unit));
        let code_point = match unit {
            0xd800..0xdc00 => match low() {
                Some(low) => {
                    self.at += ESCAPE_BYTES;
                    0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
                }
                None => unit,
            },
            _ => unit,
        };
        let character = char::from_u32(code_point).unwrap_or(char::REPLACEMENT_CHARACTER);
        output.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn note(&mut self, error: JsonError) {
        self.odd.get_or_insert(error);
    }
}

/// What a string came to.
enum Text<'a> {
    /// It stands in the body as it is.
    Plain(&'a [u8]),
    /// It was appended.
    Unescaped,
    /// What there is of it was appended: it has no end.
    Cut,
}

/// The unit of an escape `\u0041` at the start.
fn code_unit(text: &[u8]) -> Option<u32> {
    let [b'\\', b'u', digits @ ..] = text else {
        return None;
    };
    hex::four(digits).map(u32::from)
}

/// Whether it may become a value when more follows.
fn is_beginning(text: &[u8]) -> bool {
    [&b"true"[..], b"false", b"null"].iter().any(|whole| whole.starts_with(text))
        || is_number(&[text, b"0"].concat())
}

/// `-1.5e+3`, by RFC 8259.
fn is_number(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, rest) = digits(unsigned);
    if whole.is_empty() || (whole.len() > 1 && whole.first() == Some(&b'0')) {
        return false;
    }
    let rest = match rest {
        [b'.', fraction @ ..] => match digits(fraction) {
            ([], _) => return false,
            (_, rest) => rest,
        },
        _ => rest,
    };
    match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            matches!(digits(exponent), ([_, ..], []))
        }
        _ => false,
    }
}

/// The digits at the start, and what follows them.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len()))
}

fn push_decimal(number: usize, output: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut rest = number;
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        #[expect(clippy::cast_possible_truncation, reason = "a digit")]
        let value = (rest % 10) as u8;
        *digit = b'0' + value;
        used += 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    output.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

/// What the names of all leaves start with.
const ROOT: &[u8] = b"json";

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Of a value without quotes.
const DELIMITERS: &[u8] = b" \t\r\n,:\"[]{}";

/// Of `\u0041`.
const ESCAPE_BYTES: usize = 6;

const _: () = assert!(usize::MAX as u128 <= 99_999_999_999_999_999_999, "an index has at most 20 digits");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    type Leaves = Vec<(String, String)>;

    fn read(body: &[u8], limits: &Limits) -> (Leaves, Outcome) {
        let mut leaves = Leaves::new();
        let text = |bytes: &[u8]| {
            std::str::from_utf8(bytes).map_or_else(|_| bytes.escape_ascii().to_string(), String::from)
        };
        let outcome = visit(body, limits, |name, value| {
            leaves.extend(value.map(|value| (text(name), text(value))));
        });
        (leaves, outcome)
    }

    #[test]
    fn arrays_with_a_key_are_told() {
        let mut names = Vec::new();
        let body = br#"{"a":[[1],{"b":[]}],"c":{"d":[2]}}"#;
        visit(body, &Limits::default(), |name, value| {
            if value.is_none() {
                names.push(String::from_utf8_lossy(name).into_owned());
            }
        });
        assert_eq!(names, ["json.a", "json.a.1.b", "json.c.d"]);
    }

    #[test]
    fn leaves_and_errors() {
        use JsonError::{MalformedString, MalformedValue, Trailing, Truncated, Unexpected};
        for (name, body, want, error) in [
            ("nothing", "", &[][..], None),
            ("space", " \n", &[], Some(Truncated)),
            ("scalar", " 1 ", &[("json", "1")], None),
            ("string", r#""a""#, &[("json", "a")], None),
            ("object", r#"{"a":1,"b":"x"}"#, &[("json.a", "1"), ("json.b", "x")], None),
            ("nested", r#"{"a":{"b":{"c":1}},"d":2}"#, &[("json.a.b.c", "1"), ("json.d", "2")], None),
            (
                "array",
                "[1, [2, 3], {\"a\": 4}]",
                &[("json.0", "1"), ("json.1.0", "2"), ("json.1.1", "3"), ("json.2.a", "4")],
                None,
            ),
            (
                "twelfth",
                "[0,0,0,0,0,0,0,0,0,0,0,1]",
                &[
                    ("json.0", "0"),
                    ("json.1", "0"),
                    ("json.2", "0"),
                    ("json.3", "0"),
                    ("json.4", "0"),
                    ("json.5", "0"),
                    ("json.6", "0"),
                    ("json.7", "0"),
                    ("json.8", "0"),
                    ("json.9", "0"),
                    ("json.10", "0"),
                    ("json.11", "1"),
                ],
                None,
            ),
            ("words", "[true,false,null]", &[("json.0", "true"), ("json.1", "false"), ("json.2", "")], None),
            (
                "numbers",
                "[-0,1.50,1e9,1E+9,12.5e-3]",
                &[
                    ("json.0", "-0"),
                    ("json.1", "1.50"),
                    ("json.2", "1e9"),
                    ("json.3", "1E+9"),
                    ("json.4", "12.5e-3"),
                ],
                None,
            ),
            ("empty ones", r#"{"a":[],"b":{},"c":[[],{}]}"#, &[], None),
            ("empty key", r#"{"":1}"#, &[("json.", "1")], None),
            ("twice", r#"{"a":1,"a":2}"#, &[("json.a", "1"), ("json.a", "2")], None),
            ("dots", r#"{"a.b":1}"#, &[("json.a.b", "1")], None),
            (
                "escapes",
                r#"{"\u0061\n":"\"\\\/\b\f\n\r\tA\u00e9"}"#,
                &[("json.a\n", "\"\\/\x08\x0c\n\r\tA\u{e9}")],
                None,
            ),
            ("pair", r#"["\ud83d\ude00"]"#, &[("json.0", "\u{1f600}")], None),
            (
                "halves",
                r#"["\ud83dx\ude00\ud83d\ud83d"]"#,
                &[("json.0", "\u{fffd}x\u{fffd}\u{fffd}\u{fffd}")],
                None,
            ),
            ("mark", "\u{feff}[1]", &[("json.0", "1")], None),
            (
                "control character",
                "[\"a\nb\",2]",
                &[("json.0", "a\nb"), ("json.1", "2")],
                Some(MalformedString(2)),
            ),
            (
                "no escape",
                r#"["\x\u12","b"]"#,
                &[("json.0", r"\x\u12"), ("json.1", "b")],
                Some(MalformedString(2)),
            ),
            ("no number", "[01,2]", &[("json.0", "01"), ("json.1", "2")], Some(MalformedValue(1))),
            ("no word", "{\"a\":NaN}", &[("json.a", "NaN")], Some(MalformedValue(5))),
            ("single quotes", "['a']", &[("json.0", "'a'")], Some(MalformedValue(1))),
            ("last comma", "[1,]", &[("json.0", "1")], Some(Trailing(3))),
            ("last comma of an object", "{\"a\":1,}", &[("json.a", "1")], Some(Trailing(7))),
            ("only a comma", "[,1]", &[], Some(Unexpected(1))),
            (
                "lines",
                "{\"a\":1}\n{\"b\":[2]}\n3",
                &[("json.a", "1"), ("json.b.0", "2"), ("json", "3")],
                Some(Trailing(8)),
            ),
            ("more brackets", "[1]]", &[("json.0", "1")], Some(Unexpected(3))),
            ("no value", "{\"a\":}", &[], Some(Unexpected(5))),
            ("no value, wrong bracket", "[{\"a\":]", &[], Some(Unexpected(6))),
            ("no colon", "{\"a\"1}", &[], Some(Unexpected(4))),
            ("no key", "{a:1}", &[], Some(Unexpected(1))),
            ("wrong bracket", "{\"a\":1]", &[("json.a", "1")], Some(Unexpected(6))),
            ("cut array", "[1,", &[("json.0", "1")], Some(Truncated)),
            (
                "cut string",
                r#"{"a":1,"b":"<scr\u0069"#,
                &[("json.a", "1"), ("json.b", "<scri")],
                Some(Truncated),
            ),
            ("cut escape", r#"["a\"#, &[("json.0", r"a\")], Some(Truncated)),
            ("cut key", r#"{"a":1,"b"#, &[("json.a", "1")], Some(Truncated)),
            ("a form", "a=1", &[("json", "a=1")], Some(MalformedValue(0))),
        ] {
            let (leaves, outcome) = read(body.as_bytes(), &Limits::default());
            let want: Leaves =
                want.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            assert_eq!(leaves, want, "{name}");
            assert_eq!((outcome.leaves, outcome.error), (want.len(), error), "{name}");
        }
        let (leaves, outcome) = read(b"[\"a\xff\"]", &Limits::default());
        assert_eq!(leaves, [("json.0".to_owned(), "a\\xff".to_owned())]);
        assert_eq!(outcome.error, Some(JsonError::NotUtf8));
    }

    /// Cut at any place, what is right is at most truncated; what is wrong before the cut is told all the same.
    #[test]
    fn a_cut_hides_only_what_it_causes() {
        let whole = r#"{"a\u00e9\n\\é":[true,false,null,-1.5e+3,0.25,10],"b":"\ud83d\ude00\"x","c":{}} "#;
        for end in 1..whole.len() {
            let body = &whole.as_bytes()[..end];
            let (_, outcome) = read(body, &Limits::default());
            let is_known = matches!(outcome.error, None | Some(JsonError::Truncated));
            assert_eq!((is_known, outcome.odd), (true, None), "{}: {outcome:?}", body.escape_ascii());
        }
        for scalar in ["tru", "-", "1.", "1e", "1E+", "nul"] {
            let (_, outcome) = read(scalar.as_bytes(), &Limits::default());
            assert_eq!((outcome.error, outcome.odd), (Some(JsonError::Truncated), None), "{scalar}");
        }
        for (name, body, odd) in [
            ("control character", &b"[\"a\nb"[..], JsonError::MalformedString(2)),
            ("no escape", b"[\"\\x", JsonError::MalformedString(2)),
            ("no escape of four", b"[\"\\u1g", JsonError::MalformedString(2)),
            ("no number", b"[01", JsonError::MalformedValue(1)),
            ("no word", b"[truth", JsonError::MalformedValue(1)),
            ("two documents", b"[1] [2", JsonError::Trailing(4)),
            ("bytes", b"[\"\xff\", \"x", JsonError::NotUtf8),
        ] {
            let (_, outcome) = read(body, &Limits::default());
            assert_eq!(outcome.odd, Some(odd), "{name}");
        }
    }

    #[test]
    fn limits_stop_it() {
        let limits = Limits { arguments_max: 3, depth_max: 4, names_bytes_max: 40, ..Limits::default() };
        for (name, body, leaves, error) in [
            ("as many", "[1,2,3]", 3, None),
            ("too many", "[1,2,3,4]", 3, Some(JsonError::TooManyLeaves)),
            ("as deep", "[[[[1]]]]", 1, None),
            ("too deep", "[1,[[[[2]]]]]", 1, Some(JsonError::TooDeep)),
            ("too long", r#"{"0123456789":[1,2,3]}"#, 1, Some(JsonError::NamesTooLong)),
        ] {
            let (found, outcome) = read(body.as_bytes(), &limits);
            assert_eq!((found.len(), outcome.leaves, outcome.error), (leaves, leaves, error), "{name}");
        }
    }

    #[test]
    fn bombs_cost_no_more_than_other_bodies() {
        for bomb in ["[", "{\"a\":", "[[],", "{\"a\":{},", "\"\\u", "\"\\", ",", "1 "] {
            let body = bomb.repeat(1_000_000 / bomb.len());
            read(body.as_bytes(), &Limits::default());
            let deep = Limits { depth_max: usize::MAX, arguments_max: usize::MAX, ..Limits::default() };
            visit(body.as_bytes(), &deep, |_, _| {});
        }
    }

    fn flatten(name: &str, value: &Value, leaves: &mut Leaves) {
        match value {
            Value::Null => leaves.push((name.into(), String::new())),
            Value::Bool(value) => leaves.push((name.into(), value.to_string())),
            Value::Number(value) => leaves.push((name.into(), value.to_string())),
            Value::String(value) => leaves.push((name.into(), value.clone())),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    flatten(&format!("{name}.{index}"), item, leaves);
                }
            }
            Value::Object(members) => {
                for (key, member) in members {
                    flatten(&format!("{name}.{key}"), member, leaves);
                }
            }
        }
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_equals_a_slow_form(document in documents(), is_pretty: bool) {
            let body = if is_pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
            let (leaves, outcome) = read(body.unwrap().as_bytes(), &Limits::default());
            let mut want = Leaves::new();
            flatten("json", &document, &mut want);
            prop_assert_eq!(outcome.error, None);
            prop_assert_eq!(leaves, want);
        }

        #[test]
        fn what_it_calls_right_is_right(body in r#"([\[\]{}:,"]|"a"|[01.e-]|\\u?|true|null| ){0,12}"#) {
            let (_, outcome) = read(body.as_bytes(), &Limits::default());
            let parsed = serde_json::from_str::<Value>(&body);
            // serde_json refuses numbers that are too large for it.
            let is_number = |error: &serde_json::Error| error.to_string().contains("number out of range");
            prop_assert!(body.is_empty() || parsed.is_ok() == outcome.error.is_none() || parsed.is_err_and(|e| is_number(&e)));
        }

        #[test]
        fn any_bytes_stay_within_the_limits(body in prop::collection::vec(any::<u8>(), 0..200), arguments_max in 0..5usize) {
            let (leaves, outcome) = read(&body, &Limits { arguments_max, ..Limits::default() });
            prop_assert!(leaves.len() <= arguments_max && leaves.len() == outcome.leaves);
        }

        #[test]
        fn a_cut_body_gives_the_leaves_before_the_cut(document in documents(), cut in any::<prop::sample::Index>()) {
            let body = serde_json::to_string(&document).unwrap();
            let (whole, _) = read(body.as_bytes(), &Limits::default());
            let (part, _) = read(&body.as_bytes()[..cut.index(body.len())], &Limits::default());
            let kept = part.len().saturating_sub(1);
            prop_assert_eq!(&part[..kept], &whole[..kept]);
        }
    }
}
