// SPDX-License-Identifier: Apache-2.0
//! Escapes undone, to find names that are written in them; each byte knows where it came from.

/// Letters of a word that are looked at: no longer one is known.
const WORD_MAX: usize = 64;

/// Shows the words of a text, one layer of percent escapes undone, for as long as `look` wants to see more. `false`: it did
/// not, or there is something in the text that is not undone here. Nothing is allocated: most queries need no more.
pub(super) fn each_word(text: &[u8], look: impl Fn(&[u8]) -> bool) -> bool {
    let (mut word, mut length, mut at) = ([0; WORD_MAX], 0, 0);
    let ends = |word: &[u8; WORD_MAX], length: usize| match word.get(..length) {
        Some(word) => word.is_empty() || look(word),
        None => true,
    };
    while let Some(first) = text.get(at) {
        let (byte, step) = match (first, text.get(at + 1..)) {
            (b'%', Some([high, low, ..])) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let byte = number(&[*high, *low], 16).and_then(|byte| u8::try_from(byte).ok());
                let Some(byte) = byte.filter(|byte| !may_begin_escape(byte)) else { return false };
                (byte, 3)
            }
            (b'%', Some([b'u' | b'U', ..])) | (b'&', Some([b'#', ..])) | (b'\\' | 0xEF, _) => return false,
            (byte, _) => (*byte, 1),
        };
        if is_odd(byte) {
            return false;
        }
        if super::is_word(byte) {
            if let Some(place) = word.get_mut(length) {
                *place = byte;
            }
            length += 1;
        } else {
            if !ends(&word, length) {
                return false;
            }
            length = 0;
        }
        at += step;
    }
    ends(&word, length)
}

/// What stands in no text: a length, a tag.
fn is_odd(byte: u8) -> bool {
    matches!(byte, 0..=8 | 11 | 12 | 14..=26 | 28..=31 | 0x7F)
}

/// A text with its escapes undone so far.
#[derive(Debug)]
pub(super) struct Plain<'a> {
    bytes: std::borrow::Cow<'a, [u8]>,
    /// Where each byte's writing begins in the text; nothing while no escape is undone.
    places: Vec<u32>,
    length: usize,
}

impl<'a> Plain<'a> {
    /// Shows a text to `look`, and with one layer of escapes after another undone, for as long as it wants to see more.
    /// `false`: there are more than so many layers.
    pub(super) fn each(text: &'a str, rounds: usize, mut look: impl FnMut(&Self) -> bool) -> bool {
        let bytes = std::borrow::Cow::Borrowed(text.as_bytes());
        let mut plain = Self { bytes, places: Vec::new(), length: text.len() };
        for _ in 0..rounds {
            if !look(&plain) {
                return true;
            }
            if !plain.bytes.iter().any(may_begin_escape) {
                return true;
            }
            match plain.undone() {
                Some(next) => plain = next,
                None => return true,
            }
        }
        false
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where a byte stands in the text.
    pub(super) fn place_of(&self, at: usize) -> usize {
        if self.places.is_empty() {
            return at.min(self.length);
        }
        self.places.get(at).map_or(self.length, |place| usize::try_from(*place).unwrap_or(usize::MAX))
    }

    /// Whether it is no text: names and values may stand there without anything between them but lengths.
    pub(super) fn is_binary(&self) -> bool {
        // U+FFFD, which stands for what was no UTF-8.
        self.bytes.iter().any(|byte| is_odd(*byte))
            || self.bytes.windows(3).any(|some| some == b"\xEF\xBF\xBD")
    }

    /// One layer of escapes less; `None` where none was one.
    fn undone(&self) -> Option<Self> {
        let (mut bytes, mut places) =
            (Vec::with_capacity(self.bytes.len()), Vec::with_capacity(self.bytes.len()));
        let (mut at, mut is_changed) = (0, false);
        while let Some(byte) = self.bytes.get(at) {
            let rest = self.bytes.get(at..).unwrap_or_default();
            let place = u32::try_from(self.place_of(at)).unwrap_or(u32::MAX);
            let (meant, length) = match may_begin_escape(byte).then(|| escape(rest)).flatten() {
                Some((meant, length)) => {
                    is_changed = true;
                    (meant, length)
                }
                None => (Some(*byte), 1),
            };
            if let Some(meant) = meant {
                bytes.push(meant);
                places.push(place);
            }
            at += length;
        }
        is_changed.then(|| Self { bytes: bytes.into(), places, length: self.length })
    }
}

fn may_begin_escape(byte: &u8) -> bool {
    matches!(byte, b'%' | b'\\' | b'&' | b'+' | 0 | 0xEF)
}

/// What an escape stands for, and its length. A character beyond ASCII becomes a byte that is in no name.
fn escape(text: &[u8]) -> Option<(Option<u8>, usize)> {
    let found = match text {
        // UTF-16, as text of single bytes.
        [0, ..] => return Some((None, 1)),
        [b'+', ..] => (b' ', 1),
        [b'%', b'u' | b'U', digits @ ..] => (ascii(number(digits.get(..4)?, 16)?), 6),
        [b'%', digits @ ..] => (u8::try_from(number(digits.get(..2)?, 16)?).ok()?, 3),
        [b'\\', b'u' | b'U', digits @ ..] => (ascii(number(digits.get(..4)?, 16)?), 6),
        [b'\\', b'x' | b'X', digits @ ..] => (u8::try_from(number(digits.get(..2)?, 16)?).ok()?, 4),
        [b'\\', b'n', ..] => (b'\n', 2),
        [b'\\', b'r', ..] => (b'\r', 2),
        [b'\\', b't', ..] => (b'\t', 2),
        [b'\\', byte @ (b'"' | b'\'' | b'\\' | b'/'), ..] => (*byte, 2),
        [b'&', b'#', b'x' | b'X', digits @ ..] => reference(digits, 16, 3)?,
        [b'&', b'#', digits @ ..] => reference(digits, 10, 2)?,
        [b'&', ..] => named(text)?,
        // Full-width forms, which some take for what they look like.
        [0xEF, 0xBC, last @ 0x81..=0xBF, ..] => (last - 0x60, 3),
        [0xEF, 0xBD, last @ 0x80..=0x9E, ..] => (last - 0x20, 3),
        _ => return None,
    };
    Some((Some(found.0), found.1))
}

/// `&#112;`, also without its end.
fn reference(digits: &[u8], radix: u32, before: usize) -> Option<(u8, usize)> {
    const DIGITS_MAX: usize = 8;
    let is_digit = |byte: &&u8| char::from(**byte).is_digit(radix);
    let count = digits.iter().take(DIGITS_MAX).take_while(is_digit).count();
    let code = number(digits.get(..count).filter(|digits| !digits.is_empty())?, radix)?;
    let end = usize::from(digits.get(count) == Some(&b';'));
    Some((ascii(code), before + count + end))
}

fn named(text: &[u8]) -> Option<(u8, usize)> {
    const NAMED: [(&[u8], u8); 7] = [
        (b"&quot;", b'"'),
        (b"&apos;", b'\''),
        (b"&lt;", b'<'),
        (b"&gt;", b'>'),
        (b"&amp;", b'&'),
        (b"&colon;", b':'),
        (b"&equals;", b'='),
    ];
    NAMED.iter().find(|(name, _)| text.starts_with(name)).map(|(name, byte)| (*byte, name.len()))
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    digits.iter().try_fold(0_u32, |number, digit| {
        number.checked_mul(radix)?.checked_add(char::from(*digit).to_digit(radix)?)
    })
}

fn ascii(code: u32) -> u8 {
    match u8::try_from(code) {
        Ok(byte) if byte.is_ascii() => byte,
        // As above: U+FF01 to U+FF5E.
        _ => (0xFF01..=0xFF5E)
            .contains(&code)
            .then(|| u8::try_from(code - 0xFEE0).ok())
            .flatten()
            .unwrap_or(0xFF),
    }
}
