// SPDX-License-Identifier: Apache-2.0
//! `Content-Disposition: form-data; name="a"; filename="b.txt"`

use crate::bodies::percent;

/// What a header came to. Its buffers are used again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Disposition {
    name: Option<Vec<u8>>,
    filename: Option<Vec<u8>>,
    /// `filename*`, decoded.
    filename_extended: Option<Vec<u8>>,
    /// Single quotes, or quotes that do not match.
    pub(super) has_invalid_quoting: bool,
    /// It is not of the form that backends agree on.
    pub(super) is_malformed: bool,
}

impl Disposition {
    /// Reads a header's value.
    pub(super) fn parse(value: &[u8]) -> Self {
        let mut disposition = Self::default();
        let (kind, mut rest) = cut(value, |byte| byte == b';');
        disposition.is_malformed = !kind.trim_ascii().eq_ignore_ascii_case(b"form-data");
        while let [b';', after @ ..] = rest {
            rest = disposition.parameter(after.trim_ascii_start());
        }
        disposition
    }

    pub(super) fn name(&self) -> Option<&[u8]> {
        self.name.as_deref()
    }

    pub(super) fn filename(&self) -> Option<&[u8]> {
        self.filename.as_deref()
    }

    pub(super) fn filename_extended(&self) -> Option<&[u8]> {
        self.filename_extended.as_deref()
    }

    /// Reads one and gives what follows it, from the next semicolon.
    fn parameter<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        if text.is_empty() {
            return text;
        }
        let (name, after) = cut(text, |byte| matches!(byte, b'=' | b';'));
        let [b'=', after @ ..] = after else {
            self.is_malformed = true;
            return after;
        };
        let name = name.trim_ascii_end();
        let after = after.trim_ascii_start();
        let (value, rest) = match after.split_first() {
            Some((quote @ (b'"' | b'\''), quoted)) => self.quoted(*quote, quoted),
            _ => self.token(after),
        };
        self.store(name, value);
        let (behind, rest) = cut(rest, |byte| byte == b';');
        self.is_malformed |= !behind.trim_ascii().is_empty();
        rest
    }

    /// A value in quotes. Only a quote and a backslash can be escaped: other backslashes stand as they are, as
    /// browsers send paths.
    fn quoted<'a>(&mut self, quote: u8, text: &'a [u8]) -> (Vec<u8>, &'a [u8]) {
        self.has_invalid_quoting |= quote == b'\'';
        let mut value = Vec::new();
        let mut rest = text;
        loop {
            let (plain, special) = cut(rest, |byte| byte == quote || byte == b'\\');
            value.extend_from_slice(plain);
            rest = match special {
                [b'\\', escaped, after @ ..] if *escaped == quote || *escaped == b'\\' => {
                    value.push(*escaped);
                    after
                }
                [b'\\', after @ ..] => {
                    value.push(b'\\');
                    after
                }
                [_, after @ ..] => {
                    let next = after.trim_ascii_start().first();
                    self.has_invalid_quoting |= !matches!(next, None | Some(b';'));
                    return (value, after);
                }
                [] => {
                    self.has_invalid_quoting = true;
                    self.is_malformed = true;
                    return (value, special);
                }
            };
        }
    }

    /// A value without quotes.
    fn token<'a>(&mut self, text: &'a [u8]) -> (Vec<u8>, &'a [u8]) {
        let (value, rest) = cut(text, |byte| byte == b';');
        let value = value.trim_ascii_end();
        self.has_invalid_quoting |= value.iter().any(|byte| matches!(byte, b'"'));
        (value.to_vec(), rest)
    }

    fn store(&mut self, name: &[u8], value: Vec<u8>) {
        let is_named = |known: &[u8]| name.eq_ignore_ascii_case(known);
        let (place, value) = if is_named(b"name") {
            (&mut self.name, value)
        } else if is_named(b"filename") {
            (&mut self.filename, value)
        } else if is_named(b"filename*") {
            let (value, is_valid) = extended(&value);
            self.is_malformed |= !is_valid;
            (&mut self.filename_extended, value)
        } else {
            self.is_malformed = true;
            return;
        };
        self.is_malformed |= place.is_some();
        place.get_or_insert(value);
    }
}

/// `utf-8'en'%41`, by RFC 8187, and whether it is of that form.
fn extended(text: &[u8]) -> (Vec<u8>, bool) {
    let mut pieces = text.splitn(3, |byte| *byte == b'\'');
    let (charset, value) = (pieces.next().unwrap_or_default(), pieces.nth(1));
    let mut output = Vec::new();
    let mut is_valid = value.is_some() && !charset.is_empty();
    let mut rest = value.unwrap_or(text);
    while let [first, after @ ..] = rest {
        rest = if let Some((byte, after)) = percent::escape(rest) {
            output.push(byte);
            after
        } else {
            is_valid &= first.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(first);
            output.push(*first);
            after
        };
    }
    (output, is_valid)
}

/// At the first byte that is so, which starts the second half.
fn cut(text: &[u8], is_end: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| is_end(*byte)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_what_is_wrong() {
        for (name, header, names, faults) in [
            ("field", "form-data; name=\"a\"", [Some("a"), None, None], ""),
            ("file", "form-data; name=\"a\"; filename=\"b c.txt\"", [Some("a"), Some("b c.txt"), None], ""),
            ("no space, case", "Form-Data;Name=\"a\";FileName=\"b\"", [Some("a"), Some("b"), None], ""),
            ("token", "form-data; name=a; filename=b", [Some("a"), Some("b"), None], ""),
            ("space", "form-data ; name = \"a\" ; ", [Some("a"), None, None], ""),
            ("semicolon in quotes", "form-data; name=\"a;b=c\"", [Some("a;b=c"), None, None], ""),
            ("escaped", r#"form-data; name="a\"b\\c""#, [Some(r#"a"b\c"#), None, None], ""),
            (
                "path",
                r#"form-data; name="a"; filename="C:\b\1.txt""#,
                [Some("a"), Some(r"C:\b\1.txt"), None],
                "",
            ),
            ("quote in quotes", "form-data; name=\"te'st\"", [Some("te'st"), None, None], ""),
            ("empty", "form-data; name=\"\"; filename=\"\"", [Some(""), Some(""), None], ""),
            ("nothing", "", [None; 3], "m"),
            ("no parameter", "form-data", [None; 3], ""),
            (
                "extended",
                "form-data; name=\"a\"; filename=\"b\"; filename*=UTF-8'en'%c3%a9.txt",
                [Some("a"), Some("b"), Some("é.txt")],
                "",
            ),
            (
                "extended, malformed",
                "form-data; name=a; filename*=b%zz",
                [Some("a"), None, Some("b%zz")],
                "m",
            ),
            ("other kind", "attachment; name=\"a\"", [Some("a"), None, None], "m"),
            ("other parameter", "form-data; name=\"a\"; size=1", [Some("a"), None, None], "m"),
            ("no value", "form-data; name; filename=\"b\"", [None, Some("b"), None], "m"),
            (
                "twice",
                "form-data; name=\"a\"; filename=\"b\"; filename=\"c\"",
                [Some("a"), Some("b"), None],
                "m",
            ),
            ("single quotes", "form-data; name='a;b'", [Some("a;b"), None, None], "q"),
            ("no end", "form-data; name=\"a; filename=b", [Some("a; filename=b"), None, None], "qm"),
            ("behind quotes", "form-data; name=\"a\"b\"; filename=\"c\"", [Some("a"), Some("c"), None], "qm"),
            ("quotes in a token", "form-data; name=a\"b", [Some("a\"b"), None, None], "q"),
            ("backslash at the end", r#"form-data; name="a\"#, [Some(r"a\"), None, None], "qm"),
        ] {
            let found = Disposition::parse(header.as_bytes());
            let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.into()).unwrap());
            let [a, b, c] = [found.name(), found.filename(), found.filename_extended()].map(text);
            assert_eq!([a.as_deref(), b.as_deref(), c.as_deref()], names, "{name}");
            let is_told = (found.has_invalid_quoting, found.is_malformed);
            assert_eq!(is_told, (faults.contains('q'), faults.contains('m')), "{name}");
        }
    }

    proptest! {
        #[test]
        fn quoted_names_come_back(name in ".{0,20}", filename in ".{0,20}") {
            let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!("form-data; name=\"{}\"; filename=\"{}\"", escape(&name), escape(&filename));
            let found = Disposition::parse(header.as_bytes());
            prop_assert_eq!((found.name(), found.filename()), (Some(name.as_bytes()), Some(filename.as_bytes())));
            prop_assert!(!found.is_malformed && !found.has_invalid_quoting);
        }

        #[test]
        fn any_header_is_read(header in "(form-data|;|=|\"|'|\\\\|name|filename|\\*|%|é| ){0,30}") {
            Disposition::parse(header.as_bytes());
        }
    }
}
