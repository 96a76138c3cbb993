// SPDX-License-Identifier: Apache-2.0
//! XML, as the two expressions see it that rules use: `XML:/*` is all text, `XML://@*` every attribute's value.
//!
//! No entity of a document's own is ever looked up: it is left out, which is also what a bomb or a file's content would
//! come to. `has_doctype` tells rules that there may be some.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::errors::{IllFormedError, SyntaxError};
use quick_xml::events::{BytesStart, Event};

use super::Limits;

/// What came of reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many attributes were handed over.
    pub attributes: usize,
    /// A document type was declared.
    pub has_doctype: bool,
    /// What is wrong: why reading stopped, or else the first that is odd; an unknown entity only if nothing else is.
    pub error: Option<XmlError>,
    /// The first that is odd and that nothing behind the text's end could make good: what counts of a text that goes on
    /// where it seems truncated.
    pub odd: Option<XmlError>,
}

/// What is wrong with a text that should be XML. After the first three reading goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// Bytes that are none of the encoding; they are replaced.
    #[error("XML: not in its encoding")]
    Encoding,
    /// Tags that do not match, attributes without quotes, text outside of the root, two roots.
    #[error("XML: not well formed, at byte {0}")]
    IllFormed(u64),
    /// A reference to an entity that XML itself does not have, or to no character; it is left out.
    #[error("XML: unknown entity")]
    UnknownEntity,
    /// The text ends too early, or there is no element.
    #[error("XML: truncated")]
    Truncated,
    /// Nothing that can be read.
    #[error("XML: malformed at byte {0}")]
    Malformed(u64),
    /// More than `depth_max`.
    #[error("XML: nested too deep")]
    TooDeep,
    /// More than `attributes_max`.
    #[error("XML: too many attributes")]
    TooManyAttributes,
}

/// Appends all text to `text` and hands over the attributes' values, in order, up to where reading stops. Both are
/// UTF-8, with line ends and references resolved as XML says. What declares a name space is no attribute.
pub fn visit(body: &[u8], limits: &Limits, text: &mut Vec<u8>, visitor: impl FnMut(&[u8])) -> Outcome {
    if body.is_empty() {
        return Outcome::default();
    }
    let Decoded { text: document, is_clean, is_cut } = decoded(body);
    let mut reading = Reading {
        limits,
        end: document.len() as u64,
        text,
        visitor,
        scratch: Vec::new(),
        depth: 0,
        roots: 0,
        outcome: Outcome::default(),
    };
    if !is_clean {
        reading.note(XmlError::Encoding);
    }
    let end = reading.document(&document).and(if is_cut { Err(XmlError::Truncated) } else { Ok(()) });
    let odd = reading.outcome.error;
    Outcome { error: end.err().or(odd), odd, ..reading.outcome }
}

struct Reading<'a, Visitor> {
    limits: &'a Limits,
    /// Of the document.
    end: u64,
    text: &'a mut Vec<u8>,
    visitor: Visitor,
    scratch: Vec<u8>,
    depth: usize,
    roots: usize,
    outcome: Outcome,
}

impl<Visitor: FnMut(&[u8])> Reading<'_, Visitor> {
    fn document(&mut self, document: &str) -> Result<(), XmlError> {
        let mut reader = Reader::from_str(document);
        reader.config_mut().allow_dangling_amp = true;
        loop {
            let before = reader.buffer_position();
            match reader.read_event() {
                Ok(Event::Eof) => return if self.is_whole() { Ok(()) } else { Err(XmlError::Truncated) },
                Ok(event) => self.event(&event, before)?,
                Err(quick_xml::Error::IllFormed(error)) if reader.buffer_position() > before => {
                    if matches!(error, IllFormedError::MismatchedEndTag { .. }) {
                        self.depth = self.depth.saturating_sub(1);
                    }
                    self.note(XmlError::IllFormed(before));
                }
                // What begins with `<!` is known by what follows.
                Err(quick_xml::Error::Syntax(SyntaxError::InvalidBangMarkup))
                    if !document.ends_with("<!") =>
                {
                    return Err(XmlError::Malformed(reader.error_position()));
                }
                Err(quick_xml::Error::Syntax(_)) => return Err(XmlError::Truncated),
                Err(_) => return Err(XmlError::Malformed(reader.error_position())),
            }
        }
    }

    fn is_whole(&self) -> bool {
        (self.depth == 0 && self.roots > 0) || matches!(self.outcome.error, Some(XmlError::IllFormed(_)))
    }

    fn event(&mut self, event: &Event<'_>, at: u64) -> Result<(), XmlError> {
        match event {
            Event::Start(start) => {
                self.element(start, at)?;
                self.depth += 1;
                if self.depth > self.limits.depth_max {
                    return Err(XmlError::TooDeep);
                }
            }
            Event::Empty(start) => self.element(start, at)?,
            Event::End(_) => self.depth = self.depth.saturating_sub(1),
            Event::Text(text) => self.characters(text, at),
            Event::CData(text) => self.characters(text, at),
            Event::GeneralRef(reference) => match resolved(reference) {
                Some(character) => push(character, self.text),
                None => self.note(XmlError::UnknownEntity),
            },
            Event::DocType(_) => self.outcome.has_doctype = true,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::Eof => {}
        }
        Ok(())
    }

    fn element(&mut self, start: &BytesStart<'_>, at: u64) -> Result<(), XmlError> {
        if self.depth == 0 {
            if self.roots > 0 {
                self.note(XmlError::IllFormed(at));
            }
            self.roots += 1;
        }
        // Unique names are not asked for: to find out costs quadratic time.
        for attribute in start.attributes().with_checks(false) {
            let Ok(attribute) = attribute else {
                self.note(XmlError::IllFormed(at));
                continue;
            };
            let name: &str = attribute.key.as_ref();
            if name == "xmlns" || name.starts_with("xmlns:") {
                continue;
            }
            if self.outcome.attributes >= self.limits.attributes_max {
                return Err(XmlError::TooManyAttributes);
            }
            self.outcome.attributes += 1;
            self.attribute(&attribute.value);
        }
        Ok(())
    }

    fn attribute(&mut self, value: &str) {
        if memchr::memchr(b'&', value.as_bytes()).is_none() && !value.bytes().any(is_line_or_tab) {
            (self.visitor)(value.as_bytes());
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let mut rest = value.as_bytes();
        while let Some(at) = rest.iter().position(|byte| *byte == b'&' || is_line_or_tab(*byte)) {
            let (plain, special) = rest.split_at(at);
            scratch.extend_from_slice(plain);
            rest = self.special(special, &mut scratch);
        }
        scratch.extend_from_slice(rest);
        (self.visitor)(&scratch);
        self.scratch = scratch;
    }

    /// What stands at the start of the text: a reference, or space that comes to a blank. Gives what follows.
    fn special<'t>(&mut self, text: &'t [u8], output: &mut Vec<u8>) -> &'t [u8] {
        let (first, after) = match text {
            [b'\r', b'\n', after @ ..] => (b'\n', after),
            [first, after @ ..] => (*first, after),
            [] => return text,
        };
        if first != b'&' {
            output.push(b' ');
            return after;
        }
        let Some((name, behind)) = reference(after) else {
            output.push(b'&');
            self.note(XmlError::UnknownEntity);
            return after;
        };
        match resolved(name) {
            Some(character) => push(character, output),
            None => self.note(XmlError::UnknownEntity),
        }
        behind
    }

    fn characters(&mut self, text: &str, at: u64) {
        if self.depth == 0 {
            if text.bytes().all(|byte| byte.is_ascii_whitespace()) {
                return;
            }
            self.note(XmlError::IllFormed(at));
        } else if text.starts_with('&') && !(at + text.len() as u64 == self.end && may_be_reference(text)) {
            // Only where it starts no reference.
            self.note(XmlError::UnknownEntity);
        }
        let mut rest = text.as_bytes();
        while let Some(at) = memchr::memchr(b'\r', rest) {
            let (plain, after) = rest.split_at(at);
            self.text.extend_from_slice(plain);
            self.text.push(b'\n');
            rest = after.strip_prefix(b"\r\n").or_else(|| after.get(1..)).unwrap_or_default();
        }
        self.text.extend_from_slice(rest);
    }

    /// The first that is odd; an unknown entity, which a site may allow, hides nothing else.
    fn note(&mut self, error: XmlError) {
        if matches!(self.outcome.error, None | Some(XmlError::UnknownEntity)) {
            self.outcome.error = Some(error);
        }
    }
}

const fn is_line_or_tab(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\r' | b'\n')
}

/// The name of a reference, behind its `&`, and what follows its `;`.
fn reference(text: &[u8]) -> Option<(&str, &[u8])> {
    let end =
        text.iter().take(REFERENCE_BYTES_MAX).position(|byte| matches!(byte, b';' | b'&' | b'<' | b' '))?;
    let (name, after) = text.split_at(end);
    Some((std::str::from_utf8(name).ok()?, after.strip_prefix(b";")?))
}

/// Whether a text may become a reference when more follows.
fn may_be_reference(text: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"#_-.:".contains(&byte);
    text.len() <= REFERENCE_BYTES_MAX && text.bytes().skip(1).all(is_of_name)
}

/// What XML's own entities and references to characters stand for.
fn resolved(name: &str) -> Option<char> {
    Some(match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code_point = match number.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            return char::from_u32(code_point.ok()?)
                .filter(|character| *character != '\0' && !number.contains('+'));
        }
    })
}

fn push(character: char, output: &mut Vec<u8>) {
    output.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

/// The document in UTF-8.
struct Decoded<'a> {
    text: Cow<'a, str>,
    /// It was all characters of its encoding.
    is_clean: bool,
    /// But the last, of which only the beginning is there; it is left out.
    is_cut: bool,
}

/// By UTF-16's mark or first bytes, UTF-8, or ISO 8859-1 where it is declared.
fn decoded(body: &[u8]) -> Decoded<'_> {
    match body {
        [0xff, 0xfe, rest @ ..] => return utf_16(rest, u16::from_le_bytes),
        [b'<', 0, _, 0, ..] => return utf_16(body, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => return utf_16(rest, u16::from_be_bytes),
        [0, b'<', 0, _, ..] => return utf_16(body, u16::from_be_bytes),
        _ => {}
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let encoding = declared_encoding(body);
    let (text, is_clean, is_cut) = match std::str::from_utf8(body) {
        Ok(text) => (Cow::Borrowed(text), encoding != Encoding::Unknown, false),
        Err(_) if encoding == Encoding::Latin => {
            (Cow::Owned(body.iter().map(|byte| char::from(*byte)).collect()), true, false)
        }
        Err(error) => {
            let is_cut = error.error_len().is_none();
            let seen = if is_cut { body.get(..error.valid_up_to()).unwrap_or_default() } else { body };
            (String::from_utf8_lossy(seen), is_cut && encoding != Encoding::Unknown, is_cut)
        }
    };
    Decoded { text, is_clean, is_cut }
}

fn utf_16(body: &[u8], unit: fn([u8; 2]) -> u16) -> Decoded<'_> {
    let (pairs, rest) = body.as_chunks::<2>();
    let mut is_clean = true;
    // The second half of a pair may be still to come.
    let (pairs, is_half) = match pairs.split_last() {
        Some((last, before)) if (0xd800..0xdc00).contains(&unit(*last)) => (before, true),
        _ => (pairs, false),
    };
    let text = char::decode_utf16(pairs.iter().map(|pair| unit(*pair)))
        .map(|character| {
            character.unwrap_or_else(|_| {
                is_clean = false;
                char::REPLACEMENT_CHARACTER
            })
        })
        .collect();
    Decoded { text: Cow::Owned(text), is_clean, is_cut: is_half || !rest.is_empty() }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Latin,
    Unknown,
}

/// What the declaration at the start says.
fn declared_encoding(body: &[u8]) -> Encoding {
    let declaration = body.get(..DECLARATION_BYTES_MAX).unwrap_or(body);
    let Some(declaration) = declaration.strip_prefix(b"<?xml") else {
        return Encoding::Utf8;
    };
    if body.len() < DECLARATION_BYTES_MAX && memchr::memchr(b'>', declaration).is_none() {
        // It is not all there, and so is truncated.
        return Encoding::Utf8;
    }
    let declaration = declaration.split(|byte| *byte == b'>').next().unwrap_or_default();
    let Some(at) = memchr::memmem::find(declaration, b"encoding") else {
        return Encoding::Utf8;
    };
    let is_between = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'=' | b'"' | b'\'');
    let after = declaration.get(at + "encoding".len()..).unwrap_or_default();
    let name = after.split(is_between).find(|name| !name.is_empty()).unwrap_or_default();
    let is_any = |names: &[&str]| names.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name));
    if is_any(&["utf-8", "utf8", "us-ascii", "ascii"]) {
        Encoding::Utf8
    } else if is_any(&["iso-8859-1", "latin1", "iso-8859-15", "windows-1252"]) {
        Encoding::Latin
    } else {
        Encoding::Unknown
    }
}

/// Behind its `&`: room for a name or a number.
const REFERENCE_BYTES_MAX: usize = 256;

/// Within which a declaration tells its encoding.
const DECLARATION_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(body: &[u8], limits: &Limits) -> (String, Vec<String>, Outcome) {
        let (mut text, mut attributes) = (Vec::new(), Vec::new());
        let outcome = visit(body, limits, &mut text, |value| {
            attributes.push(String::from_utf8(value.into()).unwrap());
        });
        (String::from_utf8(text).unwrap(), attributes, outcome)
    }

    #[test]
    fn text_and_attributes() {
        use XmlError::{Encoding, IllFormed, Malformed, Truncated, UnknownEntity};
        for (name, body, text, attributes, error) in [
            ("nothing", "", "", &[][..], None),
            ("element", "<a>x</a>", "x", &[], None),
            ("empty element", "<a b='1'/>", "", &["1"], None),
            ("declaration", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a>x</a>\n", "x", &[], None),
            ("nested", "<a b=\"1\">x<c d='2'>y</c> z<e/></a>", "xy z", &["1", "2"], None),
            ("names are not looked at", "<java.lang.Runtime x=\"1\"/>", "", &["1"], None),
            ("section", "<a><![CDATA[<b>&amp;]]></a>", "<b>&amp;", &[], None),
            ("comment", "<a>x<!-- y --><?p z?></a>", "x", &[], None),
            ("entities", "<a b=\"&lt;&#x41;&quot;\">&gt;&amp;&apos;&#66;</a>", ">&'B", &["<A\""], None),
            ("escaped line ends stay", "<a b=\"&#13;&#10;x\"/>", "", &["\r\nx"], None),
            ("line ends", "<a b=\"1\r\n2\t3\">x\r\ny\rz</a>", "x\ny\nz", &["1 2 3"], None),
            ("bracket in a value", "<a b=\"<c>\"/>", "", &["<c>"], None),
            ("name space", "<a xmlns=\"x\" xmlns:y=\"z\" y:b=\"1\"/>", "", &["1"], None),
            ("unknown entity", "<a b=\"&x;1\">x&y;z</a>", "xz", &["1"], Some(UnknownEntity)),
            ("no character", "<a b='&#0;1'>&#xd800;</a>", "", &["1"], Some(UnknownEntity)),
            ("no reference", "<a b='1 & 2&'>x & y</a>", "x & y", &["1 & 2&"], Some(UnknownEntity)),
            ("wrong end", "<a>x<b>y</c>z</a>", "xyz", &[], Some(IllFormed(8))),
            ("no quotes", "<a b=1 c='2'>x</a>", "x", &["2"], Some(IllFormed(0))),
            ("two roots", "<a>x</a><b>y</b>", "xy", &[], Some(IllFormed(8))),
            ("text alone", "test", "test", &[], Some(IllFormed(0))),
            ("text behind", "<a/>x", "x", &[], Some(IllFormed(4))),
            ("only a declaration", "<?xml version='1.0'?>", "", &[], Some(Truncated)),
            ("cut text", "<a b='1'>x", "x", &["1"], Some(Truncated)),
            ("cut tag", "<a b='1'>x<c d='2", "x", &["1"], Some(Truncated)),
            ("no markup", "<a b='1'>x<!y></a>", "x", &["1"], Some(Malformed(10))),
            ("other encoding", "<?xml version='1.0' encoding='UTF-7'?><a>x</a>", "x", &[], Some(Encoding)),
        ] {
            let (found, values, outcome) = read(body.as_bytes(), &Limits::default());
            assert_eq!((found.as_str(), outcome.error), (text, error), "{name}");
            assert_eq!(values, attributes, "{name}");
            assert_eq!((outcome.attributes, outcome.has_doctype), (values.len(), false), "{name}");
        }
    }

    /// Cut at any place, what is right is at most truncated; what is wrong before the cut is told all the same.
    #[test]
    fn a_cut_hides_only_what_it_causes() {
        let whole = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!DOCTYPE a [\n<!ELEMENT a ANY><!-- x -->\n]>\n\
            <?p q?><a xmlns='x' b=\"é&lt;&#x41;\"><!-- - --><c d='1'/>x&amp;é&#66;\u{1f600}<![CDATA[<]]]>y</a>\n";
        let little: Vec<u8> = whole.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (document, from) in [(whole.as_bytes(), 1), (&[&[0xff, 0xfe], little.as_slice()].concat(), 2)] {
            assert_eq!(read(document, &Limits::default()).2.error, None);
            for end in from..document.len() {
                let body = &document[..end];
                let outcome = read(body, &Limits::default()).2;
                let is_past_root =
                    matches!(&body[body.len().saturating_sub(4)..], [.., b'>'] | [.., b'>', 0])
                        && outcome.error.is_none();
                assert_eq!(outcome.odd, None, "{}", body.escape_ascii());
                assert!(
                    outcome.error == Some(XmlError::Truncated) || is_past_root,
                    "{}: {outcome:?}",
                    body.escape_ascii()
                );
            }
        }
        for (name, body, odd) in [
            ("wrong end", &b"<a></b><c"[..], XmlError::IllFormed(3)),
            ("unknown entity", b"<a>&b;<c", XmlError::UnknownEntity),
            ("no reference", b"<a>& b", XmlError::UnknownEntity),
            ("encoding", b"<a>\xff<c", XmlError::Encoding),
            ("declared", b"<?xml version='1.0' encoding='UTF-7'?><a", XmlError::Encoding),
            ("no quotes", b"<a b=1><c", XmlError::IllFormed(0)),
        ] {
            let outcome = read(body, &Limits::default()).2;
            assert_eq!((outcome.error, outcome.odd), (Some(XmlError::Truncated), Some(odd)), "{name}");
        }
    }

    #[test]
    fn entities_of_the_document_are_not_looked_up() {
        let body = br#"<?xml version="1.0"?><!DOCTYPE a [
            <!ENTITY x "lol"><!ENTITY y "&x;&x;"><!ENTITY z SYSTEM "file:///etc/passwd">
        ]><a b="&y;">1&x;&z;2</a>"#;
        let (text, attributes, outcome) = read(body, &Limits::default());
        assert_eq!((text.as_str(), attributes), ("12", vec![String::new()]));
        assert!(outcome.has_doctype);
        assert_eq!(outcome.error, Some(XmlError::UnknownEntity));
    }

    #[test]
    fn encodings() {
        let document = "<a b='é'>ü</a>";
        let little: Vec<u8> = document.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = document.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><a b='\xe9'>\xfc</a>";
        for (name, body) in [
            ("UTF-8", document.as_bytes().to_vec()),
            ("marked", [b"\xef\xbb\xbf", document.as_bytes()].concat()),
            ("UTF-16, marked", [b"\xff\xfe", little.as_slice()].concat()),
            ("UTF-16", little),
            ("UTF-16, marked, the other way", [b"\xfe\xff", big.as_slice()].concat()),
            ("UTF-16, the other way", big),
            ("ISO 8859-1", latin.to_vec()),
        ] {
            let (text, attributes, outcome) = read(&body, &Limits::default());
            assert_eq!(
                (text.as_str(), attributes.as_slice(), outcome.error),
                ("ü", &["é".to_owned()][..], None),
                "{name}"
            );
        }
        assert_eq!(read(b"<a>\xff</a>", &Limits::default()).2.error, Some(XmlError::Encoding));
    }

    #[test]
    fn limits_stop_it() {
        let limits = Limits { depth_max: 2, attributes_max: 2, ..Limits::default() };
        for (name, body, error) in [
            ("as deep", "<a><b></b></a>", None),
            ("too deep", "<a><b><c></c></b></a>", Some(XmlError::TooDeep)),
            ("as many", "<a b='' c=''/>", None),
            ("too many", "<a b='' c='' d=''/>", Some(XmlError::TooManyAttributes)),
        ] {
            assert_eq!(read(body.as_bytes(), &limits).2.error, error, "{name}");
        }
    }

    #[test]
    fn bombs_cost_no_more_than_other_bodies() {
        let unlimited = Limits { depth_max: usize::MAX, attributes_max: usize::MAX, ..Limits::default() };
        for bomb in [
            "<a>",
            "</a>",
            "<a/>",
            "<a",
            "<!--",
            "<![CDATA[",
            "<!DOCTYPE a [",
            "&",
            "&a;",
            "&#65;",
            "]]>",
            "<a b='",
            "\r",
        ] {
            let body = bomb.repeat(500_000 / bomb.len());
            read(body.as_bytes(), &unlimited);
            read(format!("<r>{body}</r>").as_bytes(), &unlimited);
            read(format!("<r a='{body}'/>").as_bytes(), &unlimited);
        }
        let attributes: String = (0..50_000).map(|number| format!(" a{number}='x'")).collect();
        assert_eq!(read(format!("<r{attributes}/>").as_bytes(), &unlimited).1.len(), 50_000);
    }

    proptest! {
        #[test]
        fn what_was_written_comes_back(parts in prop::collection::vec(("[^\0]{0,12}", "[^\0]{0,12}"), 0..6)) {
            let escape = |text: &str| {
                text.chars().map(|c| if c.is_alphanumeric() { c.to_string() } else { format!("&#{};", u32::from(c)) }).collect::<String>()
            };
            let inner: String = parts.iter().map(|(v, t)| format!("<b c=\"{}\">{}</b>", escape(v), escape(t))).collect();
            let (text, attributes, outcome) = read(format!("<a>{inner}</a>").as_bytes(), &Limits::default());
            prop_assert_eq!(outcome.error, None);
            prop_assert_eq!(text, parts.iter().map(|(_, text)| text.as_str()).collect::<String>());
            prop_assert_eq!(attributes, parts.into_iter().map(|(value, _)| value).collect::<Vec<_>>());
        }

        #[test]
        fn any_text_comes_to_an_end(body in r#"([<>&;/!?"'=\[\]a-]|<a|</a>|<!--|-->|b='|<!DOCTYPE|é){0,40}"#) {
            let (text, attributes, _) = read(body.as_bytes(), &Limits::default());
            prop_assert!(text.len() + attributes.concat().len() <= body.len());
        }

        #[test]
        fn any_bytes_come_to_an_end(body in prop::collection::vec(any::<u8>(), 0..100)) {
            read(&body, &Limits::default());
        }
    }
}
