// SPDX-License-Identifier: Apache-2.0
//! Escapes of every kind, undone until none is left: percent (RFC 3986, also double: CWE-174), `%u0041` (IIS
//! and JavaScript's `escape`), overlong UTF-8 (CVE-2000-0884, CVE-2008-2938; RFC 3629 section 10 on why) and
//! full-width forms of ASCII, which databases and file systems fold to plain ones ("best fit").
//!
//! No number of rounds is needed as a bound. An escape begins with a byte that stands nowhere inside one and
//! has a fixed length, so two never overlap: whatever the order they are undone in, the same text comes out.
//! So one pass does, which looks after each byte whether it completes an escape at the end of the output.
//! Each escape undone makes the output shorter, which bounds the work by the input's length.

/// What a `+` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A plus sign: in paths, cookies, JSON and all other text.
    Path,
    /// A space where it stands unescaped (`application/x-www-form-urlencoded`): parameters' names and values.
    Query,
}

/// Appends the canonical form of `input` to `out`: no escape is left that could be undone, and ASCII is in
/// lower case. What is no escape (`%zz`, `%4`, a surrogate's `%ud800`) stays as it is, and so do NULs, bytes
/// that are no text, and other alphabets. Never longer than `input`; linear in its length.
///
/// In [`Form::Path`] doing it again changes nothing. In [`Form::Query`] that cannot be: `%2B` becomes a `+`
/// that is no space, and says so no more. A canonical text is read again as [`Form::Path`].
pub fn canonical_text(input: &[u8], form: Form, out: &mut Vec<u8>) {
    out.reserve(input.len());
    Decoder::new(out).text(input, form);
}

/// Takes text piece by piece; escapes may begin in one piece and end in the next.
#[derive(Debug)]
pub(super) struct Decoder<'a> {
    out: &'a mut Vec<u8>,
    /// Where the text begins: what stood in `out` before is no part of it.
    start: usize,
    /// The output's length from which on nothing in it can begin an escape any more.
    open_until: usize,
}

impl<'a> Decoder<'a> {
    /// Appends to `out`.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        Self { out, start, open_until: 0 }
    }

    /// Takes text in which escapes may stand.
    pub(super) fn text(&mut self, input: &[u8], form: Form) {
        let mut rest = input;
        loop {
            if self.out.len() >= self.open_until {
                rest = self.copy_plain(rest, form);
            }
            let Some((byte, after)) = rest.split_first() else { return };
            self.push(if *byte == b'+' && form == Form::Query { b' ' } else { *byte });
            rest = after;
        }
    }

    /// Takes one byte, and undoes what it completes; that may complete another escape, as in `%2%35`.
    pub(super) fn push(&mut self, byte: u8) {
        let mut byte = byte;
        loop {
            self.put(byte);
            let Some(escape) = completed(self.out.get(self.start..).unwrap_or_default()) else { return };
            self.out.truncate(self.out.len().saturating_sub(escape.length));
            match escape.meaning {
                Meaning::Byte(meant) => byte = meant,
                Meaning::Wide(meant) => return self.put_wide(meant),
            }
        }
    }

    /// Takes a character that was written as its number.
    pub(super) fn character(&mut self, character: char) {
        match meaning(character) {
            Meaning::Byte(byte) => self.push(byte),
            Meaning::Wide(character) => self.put_wide(character),
        }
    }

    /// Copies what stands before the first byte that may need decoding, while no escape is open; returns
    /// what is left.
    fn copy_plain<'t>(&mut self, text: &'t [u8], form: Form) -> &'t [u8] {
        let (plain, rest) = text.split_at_checked(plain_length(text, form)).unwrap_or((text, &[]));
        self.out.extend(plain.iter().map(u8::to_ascii_lowercase));
        rest
    }

    fn put(&mut self, byte: u8) {
        if begins_escape(byte) {
            self.open_until = self.out.len() + ESCAPE_LENGTH_MAX;
        }
        self.out.push(byte.to_ascii_lowercase());
    }

    /// A whole character neither completes an escape nor begins one.
    fn put_wide(&mut self, character: char) {
        self.out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// An escape, and what it stands for.
struct Escape {
    length: usize,
    meaning: Meaning,
}

enum Meaning {
    Byte(u8),
    /// A character beyond ASCII.
    Wide(char),
}

/// The escape with which `text` ends.
fn completed(text: &[u8]) -> Option<Escape> {
    match text.last()? {
        b'0'..=b'9' | b'a'..=b'f' => percent(text).or_else(|| percent_u(text)),
        0x80..=0xBF => long_ascii(text),
        _ => None,
    }
}

fn percent(text: &[u8]) -> Option<Escape> {
    let [.., b'%', high, low] = text else { return None };
    Some(Escape { length: 3, meaning: Meaning::Byte(hex_digit(*high)? << 4 | hex_digit(*low)?) })
}

fn percent_u(text: &[u8]) -> Option<Escape> {
    let [.., b'%', b'u', first, second, third, fourth] = text else { return None };
    let character = char::from_u32(code_unit([*first, *second, *third, *fourth])?.into())?;
    Some(Escape { length: ESCAPE_LENGTH_MAX, meaning: meaning(character) })
}

/// ASCII in more bytes than it needs, or in its full-width form. The forms of five and six bytes are no UTF-8
/// since 2003, but old decoders take them and attack tools send them.
fn long_ascii(text: &[u8]) -> Option<Escape> {
    let (last, before) = text.split_last()?;
    let (length, base) = match before {
        [.., 0xC0] => (2, 0),
        [.., 0xC1] => (2, 0x40),
        [.., 0xE0, 0x80] => (3, 0),
        [.., 0xE0, 0x81] => (3, 0x40),
        // U+FF01 to U+FF5E stand for `!` to `~`.
        [.., 0xEF, 0xBC] if *last > 0x80 => (3, 0x20),
        [.., 0xEF, 0xBD] if *last < 0x9F => (3, 0x60),
        [.., 0xF0, 0x80, 0x80] => (4, 0),
        [.., 0xF0, 0x80, 0x81] => (4, 0x40),
        [.., 0xF8, 0x80, 0x80, 0x80] => (5, 0),
        [.., 0xF8, 0x80, 0x80, 0x81] => (5, 0x40),
        [.., 0xFC, 0x80, 0x80, 0x80, 0x80] => (6, 0),
        [.., 0xFC, 0x80, 0x80, 0x80, 0x81] => (6, 0x40),
        _ => return None,
    };
    Some(Escape { length, meaning: Meaning::Byte(base + (last & 0x3F)) })
}

/// ASCII and its full-width forms are a byte.
fn meaning(character: char) -> Meaning {
    let code = u32::from(character);
    let ascii = if matches!(code, 0xFF01..=0xFF5E) { code - 0xFF01 + 0x21 } else { code };
    match u8::try_from(ascii) {
        Ok(byte) if byte.is_ascii() => Meaning::Byte(byte),
        _ => Meaning::Wide(character),
    }
}

/// The number that four hexadecimal digits write.
pub(super) fn code_unit(digits: [u8; 4]) -> Option<u16> {
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | u16::from(hex_digit(*digit)?)))
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// How many bytes at the front of `text` begin no escape and are no plus that means a space. Whole blocks of
/// ASCII are asked for first, without a branch for each byte, which compiles to vector instructions.
fn plain_length(text: &[u8], form: Form) -> usize {
    let plus = if form == Form::Query { b'+' } else { b'%' };
    let (blocks, _) = text.as_chunks::<BLOCK>();
    let is_plain = |block: &&[u8; BLOCK]| {
        let odd = |byte: &u8| (byte & 0x80) | u8::from(*byte == b'%') | u8::from(*byte == plus);
        block.iter().fold(0, |found, byte| found | odd(byte)) == 0
    };
    let plain = BLOCK * blocks.iter().take_while(is_plain).count();
    let rest = text.get(plain..).unwrap_or_default();
    plain + rest.iter().position(|byte| *byte == plus || begins_escape(*byte)).unwrap_or(rest.len())
}

/// Most alphabets hold no such byte: their text is copied as ASCII is.
fn begins_escape(byte: u8) -> bool {
    matches!(byte, b'%' | 0xC0 | 0xC1 | 0xE0 | 0xEF | 0xF0 | 0xF8 | 0xFC)
}

/// `%u0041`, and ASCII in six bytes.
const ESCAPE_LENGTH_MAX: usize = 6;

/// One vector register on every 64-bit CPU.
const BLOCK: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::disguise::{disguise, texts};
    use super::*;

    fn canonical(input: &[u8], form: Form) -> Vec<u8> {
        let mut out = Vec::new();
        canonical_text(input, form, &mut out);
        out
    }

    #[test]
    fn a_text_has_one_spelling() {
        for (name, raw, want) in [
            ("nothing", &b""[..], &b""[..]),
            ("plain", b"id=1 or x", b"id=1 or x"),
            ("upper case", b"UNION Select", b"union select"),
            ("percent", b"%41%3c%3E", b"a<>"),
            ("double", b"%2541%253C", b"a<"),
            ("five times", b"%25252525%34%31", b"a"),
            ("digits escaped", b"%%34%31", b"a"),
            ("a digit escaped", b"%4%31%2%66", b"a/"),
            ("letters of the escape escaped", b"%%7500%34%31", b"a"),
            ("IIS", b"%u003C%U002f", b"</"),
            ("IIS, beyond ASCII", b"%u00e9%u4f60", "é你".as_bytes()),
            ("IIS, percent inside", b"%u0025u002f", b"/"),
            ("IIS, full-width", b"%uff0F%uFF1c", b"/<"),
            ("IIS, a surrogate is no character", b"%ud83d%uDE00", b"%ud83d%ude00"),
            ("overlong, two bytes", b"\xC0\xAF\xC1\x9C", b"/\\"),
            ("overlong, three bytes", b"\xE0\x80\xAF\xE0\x81\x81", b"/a"),
            ("overlong, four bytes", b"\xF0\x80\x80\xAF\xF0\x80\x81\x9C", b"/\\"),
            ("overlong, five bytes", b"\xF8\x80\x80\x80\xAF", b"/"),
            ("overlong, six bytes", b"\xFC\x80\x80\x80\x81\x81", b"a"),
            ("overlong, escaped", b"..%c0%af..%e0%80%AF", b"../../"),
            ("overlong, escaped twice", b"%25c0%25af", b"/"),
            ("overlong percent", b"\xC0\xA5\xC0\xB2\xC0\xA65", b"%2&5"),
            ("overlong percent of a slash", b"\xC0\xA52\xC1\xA6", b"/"),
            ("full-width", "ＳＥＬＥＣＴ＇！～".as_bytes(), b"select'!~"),
            ("full-width percent", "％３ｃ".as_bytes(), b"<"),
            (
                "next to full-width",
                "\u{FF00}\u{FF5F}\u{FF9F}".as_bytes(),
                "\u{FF00}\u{FF5F}\u{FF9F}".as_bytes(),
            ),
            ("NUL", b"a%00b\0\xC0\x80", b"a\0b\0\0"),
            ("no escape", b"100% %zz %4 %u12 %u12G4 %", b"100% %zz %4 %u12 %u12g4 %"),
            ("a sign is no digit", b"%+1%-1", b"%+1%-1"),
            ("half an overlong one", b"\xC0 \xE0\x80/ \xF0\x80\x80", b"\xC0 \xE0\x80/ \xF0\x80\x80"),
            ("no ASCII in it", b"\xE0\x82\xAF\xF0\x80\x82\xAF", b"\xE0\x82\xAF\xF0\x80\x82\xAF"),
            ("other alphabets", "Ünïcode 你好 😀".as_bytes(), "Ünïcode 你好 😀".as_bytes()),
            ("plus", b"a+b", b"a+b"),
        ] {
            assert_eq!(
                canonical(raw, Form::Path).escape_ascii().to_string(),
                want.escape_ascii().to_string(),
                "{name}"
            );
        }
    }

    #[test]
    fn a_plus_is_a_space_once() {
        for (raw, want) in
            [("a+b", "a b"), ("a%2Bb", "a+b"), ("a%252bb", "a+b"), ("+%2b+", " + "), ("%+41", "% 41")]
        {
            assert_eq!(canonical(raw.as_bytes(), Form::Query), want.as_bytes(), "{raw}");
        }
    }

    #[test]
    fn what_stood_there_before_is_no_part_of_it() {
        let mut out = b"%4".to_vec();
        canonical_text(b"1", Form::Path, &mut out);
        canonical_text(b"%4A", Form::Path, &mut out);
        assert_eq!(out, b"%41j");
    }

    /// The slow and obvious form: each kind undone from left to right, again and again.
    fn in_rounds(input: &[u8]) -> Vec<u8> {
        let mut text = input.to_ascii_lowercase();
        loop {
            let mut next = Vec::new();
            let mut rest = &text[..];
            while !rest.is_empty() {
                let escape = (2..=6.min(rest.len()))
                    .find_map(|length| completed(&rest[..length]).filter(|escape| escape.length == length));
                match escape {
                    Some(Escape { meaning: Meaning::Byte(byte), .. }) => next.push(byte.to_ascii_lowercase()),
                    Some(Escape { meaning: Meaning::Wide(wide), .. }) => {
                        next.extend(wide.to_string().bytes())
                    }
                    None => next.push(rest[0]),
                }
                rest = &rest[escape.map_or(1, |escape| escape.length)..];
            }
            if next == text {
                return text;
            }
            text = next;
        }
    }

    proptest! {
        #[test]
        fn it_equals_the_slow_form(text in texts()) {
            prop_assert_eq!(canonical(&text, Form::Path), in_rounds(&text));
        }

        #[test]
        fn a_disguise_changes_nothing(
            text in texts(),
            once in vec(any::<u8>(), 1..9),
            twice in vec(any::<u8>(), 1..9),
        ) {
            let plain = canonical(&text, Form::Path);
            let disguised = disguise(&text, &once);
            prop_assert_eq!(&canonical(&disguised, Form::Path), &plain);
            prop_assert_eq!(canonical(&disguise(&disguised, &twice), Form::Path), plain);
        }

        #[test]
        fn doing_it_again_changes_nothing(text in texts()) {
            for form in [Form::Path, Form::Query] {
                let once = canonical(&text, form);
                prop_assert!(once.len() <= text.len());
                prop_assert!(!once.iter().any(u8::is_ascii_uppercase));
                prop_assert_eq!(canonical(&once, Form::Path), once);
            }
        }

        #[test]
        fn case_is_no_matter(text in texts()) {
            prop_assert_eq!(canonical(&text.to_ascii_uppercase(), Form::Path), canonical(&text, Form::Path));
        }

        #[test]
        fn only_a_bare_plus_is_a_space(text in texts()) {
            let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
            prop_assert_eq!(canonical(&text, Form::Query), canonical(&spaced, Form::Path));
        }

        #[test]
        fn pieces_make_the_same_as_the_whole(text in texts(), at in any::<prop::sample::Index>()) {
            let (front, back) = text.split_at(at.index(text.len() + 1));
            let mut out = Vec::new();
            let mut decoder = Decoder::new(&mut out);
            decoder.text(front, Form::Path);
            decoder.text(back, Form::Path);
            prop_assert_eq!(out, canonical(&text, Form::Path));
        }

        #[test]
        fn long_texts_are_copied_whole(text in "[ -$&-~]{0,100}") {
            prop_assert_eq!(canonical(text.as_bytes(), Form::Path), text.to_ascii_lowercase().into_bytes());
        }
    }
}
