// SPDX-License-Identifier: Apache-2.0
//! The header `Content-Type`: `text/html; charset=utf-8`.

use std::borrow::Cow;

/// A media type and its parameters, read leniently: nothing is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType<'a> {
    essence: &'a [u8],
    parameters: &'a [u8],
}

impl<'a> MediaType<'a> {
    /// Reads a header's value.
    ///
    /// The type ends at `;`, at `,` and at a blank, as applications (PHP's among them) cut it; what follows are
    /// parameters.
    pub fn parse(header: &'a [u8]) -> Self {
        let header = header.trim_ascii_start();
        let is_end = |byte: &u8| matches!(byte, b';' | b',') || byte.is_ascii_whitespace();
        let end = header.iter().position(is_end).unwrap_or(header.len());
        let (essence, parameters) = header.split_at(end);
        Self { essence, parameters }
    }

    /// `type/subtype`, in whatever case it stands there.
    pub const fn essence(&self) -> &'a [u8] {
        self.essence
    }

    /// `type/subtype` in lower case; what is no UTF-8 is replaced.
    pub fn lowercased(&self) -> String {
        String::from_utf8_lossy(self.essence).to_ascii_lowercase()
    }

    /// Whether this is the type, in whatever case.
    pub fn is(&self, essence: &str) -> bool {
        self.essence.eq_ignore_ascii_case(essence.as_bytes())
    }

    /// Its parameters, in order: names as they stand there, values without their quotes.
    pub const fn parameters(&self) -> Parameters<'a> {
        Parameters { rest: self.parameters }
    }

    /// The first parameter of this name, in whatever case.
    pub fn parameter(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        self.parameters()
            .find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }
}

/// The parameters of a media type. A piece without `=` is a name with an empty value.
#[derive(Clone, Debug)]
pub struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a [u8], Cow<'a, [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let is_between = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b';' | b',');
        let start = self.rest.iter().position(|byte| !is_between(byte))?;
        let text = self.rest.get(start..).unwrap_or_default();
        let name_end = text.iter().position(|byte| matches!(byte, b'=' | b';' | b',')).unwrap_or(text.len());
        let (name, after) = text.split_at(name_end);
        let (value, rest) = match after {
            [b'=', after @ ..] => value(after.trim_ascii_start()),
            _ => (Cow::Borrowed(&[][..]), after),
        };
        self.rest = rest;
        Some((name.trim_ascii_end(), value))
    }
}

/// The value at the start of a text, and what follows it.
fn value(text: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    if let [b'"', quoted @ ..] = text {
        return quoted_value(quoted);
    }
    let end = memchr::memchr2(b';', b',', text).unwrap_or(text.len());
    let (value, rest) = text.split_at(end);
    (Cow::Borrowed(value.trim_ascii_end()), rest)
}

/// A value up to its closing quote, or to the end where there is none.
fn quoted_value(text: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    let end = memchr::memchr2(b'"', b'\\', text).unwrap_or(text.len());
    let (plain, after) = text.split_at(end);
    let mut rest = match after {
        [b'\\', ..] => after,
        _ => return (Cow::Borrowed(plain), after.get(1..).unwrap_or_default()),
    };
    let mut value = plain.to_vec();
    loop {
        rest = match rest {
            [b'\\', escaped, after @ ..] => {
                value.push(*escaped);
                after
            }
            [b'"', after @ ..] => return (Cow::Owned(value), after),
            [byte, after @ ..] => {
                value.push(*byte);
                after
            }
            [] => return (Cow::Owned(value), rest),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn types_and_parameters() {
        for (name, header, essence, parameters) in [
            ("nothing", "", "", &[][..]),
            ("plain", "text/html", "text/html", &[]),
            ("case", "Text/HTML", "text/html", &[]),
            ("space", " text/html ; charset = utf-8 ", "text/html", &[("charset", "utf-8")]),
            ("quoted", "a/b; boundary=\"x; y\"; c=d", "a/b", &[("boundary", "x; y"), ("c", "d")]),
            ("escaped", r#"a/b; x="\"\\y";z"#, "a/b", &[("x", r#""\y"#), ("z", "")]),
            ("unclosed", "a/b; x=\"y", "a/b", &[("x", "y")]),
            ("empty pieces", "a/b;;; x=;", "a/b", &[("x", "")]),
            ("a word behind a blank", "a/b x", "a/b", &[("x", "")]),
            ("no semicolon", "a/b\tx=y", "a/b", &[("x", "y")]),
            ("two types", "a/b, c/d; x=y", "a/b", &[("c/d", ""), ("x", "y")]),
        ] {
            let media = MediaType::parse(header.as_bytes());
            assert_eq!(media.lowercased(), essence, "{name}");
            assert!(media.is(&essence.to_ascii_uppercase()), "{name}");
            let found: Vec<_> = media.parameters().map(|(name, value)| (name, value.into_owned())).collect();
            let want: Vec<_> =
                parameters.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes().to_vec())).collect();
            assert_eq!(found, want, "{name}");
        }
        let media = MediaType::parse(b"a/b; Charset=x; charset=y");
        assert_eq!(media.parameter("CHARSET").as_deref(), Some(&b"x"[..]));
        assert_eq!(media.parameter("boundary"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_come_to_an_end(header in "[a/;,=\" \\\\é]{0,40}") {
            let count = MediaType::parse(header.as_bytes()).parameters().count();
            prop_assert!(count <= header.len());
        }
    }
}
