// SPDX-License-Identifier: Apache-2.0
//! The boundary that a `Content-Type` names. ModSecurity's form is narrow: `multipart/form-data; boundary=x` and no
//! more. What backends might make of other forms is tried, and told.

use super::MultipartError;

/// What a `Content-Type` came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Boundary {
    /// Empty: there is none to go by.
    pub(super) text: Vec<u8>,
    pub(super) is_quoted: bool,
    pub(super) has_whitespace: bool,
    pub(super) misses_semicolon: bool,
    /// The first thing that is wrong.
    pub(super) error: Option<MultipartError>,
}

impl Boundary {
    pub(super) fn parse(header: &[u8]) -> Self {
        let mut boundary = Self::default();
        if let Err(error) = boundary.read(header) {
            boundary.text.clear();
            boundary.error = Some(error);
        }
        boundary
    }

    fn read(&mut self, header: &[u8]) -> Result<(), MultipartError> {
        if header.len() > HEADER_BYTES_MAX {
            return Err(MultipartError::ContentTypeTooLong);
        }
        let (kind, parameters) =
            header.split_at_checked(MEDIA_TYPE.len()).ok_or(MultipartError::MediaType)?;
        if !kind.eq_ignore_ascii_case(MEDIA_TYPE) {
            return Err(MultipartError::MediaType);
        }
        let at = find_name(parameters).ok_or(MultipartError::BoundaryMissing)?;
        let (before, after) = parameters.split_at(at);
        let (name, after) = after.split_at(NAME.len());
        if name != NAME {
            self.note(MultipartError::BoundaryCase);
        }
        if is_named_again(after) {
            self.note(MultipartError::BoundaryTwice);
        }
        self.before(before);
        let equals = memchr::memchr(b'=', after).ok_or(MultipartError::BoundaryMalformed)?;
        let (between, value) = after.split_at(equals);
        if !between.iter().all(u8::is_ascii_whitespace) {
            return Err(MultipartError::BoundaryMalformed);
        }
        self.has_whitespace |= !between.is_empty();
        self.value(value.get(1..).unwrap_or_default())
    }

    /// Only semicolons, and parameters that everybody skips, stand between the type and the boundary.
    fn before(&mut self, text: &[u8]) {
        let text = text.trim_ascii();
        self.misses_semicolon = !text.ends_with(b";");
        if !text.is_empty() && !are_plain(text) {
            self.note(MultipartError::OtherParameters);
        }
    }

    fn value(&mut self, text: &[u8]) -> Result<(), MultipartError> {
        let value = text.trim_ascii();
        self.has_whitespace |= text.first().is_some_and(u8::is_ascii_whitespace);
        let text = if let Some(quoted) = value.strip_prefix(b"\"") {
            self.quoted(quoted)
        } else {
            let (text, rest) = cut(value, b';');
            if !are_plain(rest) {
                self.note(MultipartError::OtherParameters);
            }
            text.trim_ascii_end()
        };
        if text.is_empty() {
            return Err(MultipartError::BoundaryEmpty);
        }
        if text.last().is_some_and(u8::is_ascii_whitespace) {
            return Err(MultipartError::BoundaryEndsInSpace);
        }
        if !text.iter().all(|byte| is_allowed(*byte)) {
            self.note(MultipartError::BoundaryCharacters);
        }
        self.text = text.to_vec();
        Ok(())
    }

    fn quoted<'a>(&mut self, value: &'a [u8]) -> &'a [u8] {
        let (text, rest) = cut(value, b'"');
        match rest.split_first() {
            Some((_, rest)) => {
                self.is_quoted = true;
                if !are_plain(rest) {
                    self.note(MultipartError::OtherParameters);
                }
            }
            None => self.note(MultipartError::BoundaryQuote),
        }
        text
    }

    fn note(&mut self, error: MultipartError) {
        self.error.get_or_insert(error);
    }
}

/// Whether these are parameters that every server skips on its way to the boundary: `; charset=utf-8`, without quotes or
/// anything else that could begin or end something for one of them and not for another.
fn are_plain(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let is_word = |word: &[u8]| {
        !word.is_empty()
            && word.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    let is_parameter = |piece: &[u8]| {
        let at = memchr::memchr(b'=', piece);
        let halves = at.and_then(|at| piece.get(..at).zip(piece.get(at + 1..)));
        halves.is_some_and(|(name, value)| is_word(name) && is_word(value))
    };
    let mut pieces = text.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    pieces.next().is_none_or(<[u8]>::is_empty) && pieces.all(|piece| piece.is_empty() || is_parameter(piece))
}

/// Where the parameter's name stands, in whatever case.
fn find_name(text: &[u8]) -> Option<usize> {
    text.windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME))
}

/// A boundary may have the word in it: it is another parameter where there is something for it to equal.
fn is_named_again(text: &[u8]) -> bool {
    let again = find_name(text).and_then(|at| text.get(at..));
    again.is_some_and(|text| memchr::memchr(b'=', text).is_some())
}

/// At the first such byte, which starts the second half.
fn cut(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    text.split_at(memchr::memchr(at, text).unwrap_or(text.len()))
}

/// By RFC 2046.
const fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b' ' | b'\'' | b'(' | b')' | b'+' | b'_' | b',' | b'-' | b'.' | b'/' | b':' | b'=' | b'?'
        )
}

const MEDIA_TYPE: &[u8] = b"multipart/form-data";

const NAME: &[u8] = b"boundary";

/// A boundary has 70 characters at most.
const HEADER_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn boundaries() {
        use MultipartError as E;
        let long = format!("multipart/form-data; boundary={}", "x".repeat(1024));
        for (name, header, text, error, flags) in [
            ("usual", "multipart/form-data; boundary=----x1", "----x1", None, ""),
            ("case of the type", "Multipart/Form-Data;boundary=x", "x", None, ""),
            (
                "the word in it",
                "multipart/form-data; boundary=----FormBoundary1",
                "----FormBoundary1",
                None,
                "",
            ),
            ("quoted", "multipart/form-data; boundary=\"x y\"", "x y", None, "quoted"),
            ("space", "multipart/form-data; boundary = x", "x", None, "space"),
            ("no semicolon", "multipart/form-data boundary=x", "x", None, "semicolon"),
            ("other type", "multipart/mixed; boundary=x", "", Some(E::MediaType), ""),
            ("short", "multipart", "", Some(E::MediaType), ""),
            ("too long", &long, "", Some(E::ContentTypeTooLong), ""),
            ("none", "multipart/form-data", "", Some(E::BoundaryMissing), ""),
            ("no value", "multipart/form-data; boundary", "", Some(E::BoundaryMalformed), ""),
            ("other name", "multipart/form-data; boundaryx=y", "", Some(E::BoundaryMalformed), ""),
            ("empty", "multipart/form-data; boundary=", "", Some(E::BoundaryEmpty), ""),
            ("empty quotes", "multipart/form-data; boundary=\"\"", "", Some(E::BoundaryEmpty), "quoted"),
            ("twice", "multipart/form-data; boundary=x; boundary=y", "x", Some(E::BoundaryTwice), ""),
            ("before", "multipart/form-data; charset=utf-8; boundary=x", "x", None, ""),
            ("behind", "multipart/form-data; boundary=x; charset=utf-8", "x", None, ""),
            (
                "behind quotes, plain",
                "multipart/form-data; boundary=\"x\"; charset=utf-8",
                "x",
                None,
                "quoted",
            ),
            ("before, in quotes", "multipart/form-data; a=\"; boundary=x", "x", Some(E::OtherParameters), ""),
            ("before, a word", "multipart/form-data; a; boundary=x", "x", Some(E::OtherParameters), ""),
            ("behind, a list", "multipart/form-data; boundary=x; a=b,c", "x", Some(E::OtherParameters), ""),
            (
                "in another name",
                "multipart/form-data; xboundary=x",
                "x",
                Some(E::OtherParameters),
                "semicolon",
            ),
            ("behind a word", "multipart/form-data x boundary=x", "x", Some(E::OtherParameters), "semicolon"),
            (
                "behind quotes",
                "multipart/form-data; boundary=\"x\"y",
                "x",
                Some(E::OtherParameters),
                "quoted",
            ),
            ("case", "multipart/form-data; Boundary=x", "x", Some(E::BoundaryCase), ""),
            ("a blank", "multipart/form-data; boundary=\" \"", "", Some(E::BoundaryEndsInSpace), "quoted"),
            (
                "a blank behind",
                "multipart/form-data; boundary=\"x \"",
                "",
                Some(E::BoundaryEndsInSpace),
                "quoted",
            ),
            (
                "a tab behind",
                "multipart/form-data; boundary=\"x\t\"",
                "",
                Some(E::BoundaryEndsInSpace),
                "quoted",
            ),
            ("one quote", "multipart/form-data; boundary=\"x", "x", Some(E::BoundaryQuote), ""),
            ("other quote", "multipart/form-data; boundary=x\"", "x\"", Some(E::BoundaryCharacters), ""),
            ("characters", "multipart/form-data; boundary=x{y}", "x{y}", Some(E::BoundaryCharacters), ""),
        ] {
            let found = Boundary::parse(header.as_bytes());
            let want = Boundary {
                text: text.into(),
                is_quoted: flags == "quoted",
                has_whitespace: flags == "space",
                misses_semicolon: flags == "semicolon",
                error,
            };
            assert_eq!(found, want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read(header in "multipart/form-data[ ;=\"xé]{0,5}(boundary)?[ ;=\"xé\\r]{0,9}") {
            let found = Boundary::parse(header.as_bytes());
            prop_assert!(found.error.is_some() || !found.text.is_empty());
        }
    }
}
