// SPDX-License-Identifier: Apache-2.0
//! `@streq`, `@contains`, `@strmatch`, `@containsWord`, `@beginsWith`, `@endsWith`, `@within`: compares texts, byte by
//! byte, in their case.

use memchr::memmem;

use super::{Argument, Captures, Needs, Operator, OperatorKind};
use crate::filter::needs::needs_of_text;

/// `SecRule REQUEST_METHOD "@streq POST" …`
pub(super) static STREQ: OperatorKind = OperatorKind {
    name: "streq",
    aliases: &[],
    doc: "Whether the value is the text.",
    argument: Argument::Optional,
    compile: |argument, _| compile(argument, |value, text| value == text, IsNeeded::Yes),
};

/// `SecRule REQUEST_LINE "@contains .php" …`
pub(super) static CONTAINS: OperatorKind = OperatorKind {
    name: "contains",
    aliases: &[],
    doc: "Whether the text stands in the value.",
    argument: Argument::Optional,
    compile: |argument, _| compile(argument, contains, IsNeeded::Yes),
};

/// `SecRule REQUEST_LINE "@strmatch .php" …`
pub(super) static STRMATCH: OperatorKind = OperatorKind {
    name: "strmatch",
    aliases: &[],
    doc: "Whether the text stands in the value.",
    argument: Argument::Optional,
    compile: |argument, _| compile(argument, contains, IsNeeded::Yes),
};

/// `SecRule ARGS "@containsWord select" …`
pub(super) static CONTAINS_WORD: OperatorKind = OperatorKind {
    name: "containsWord",
    aliases: &[],
    doc: "Whether the text stands in the value with no letter on either side.",
    argument: Argument::Optional,
    compile: |argument, _| compile(argument, contains_word, IsNeeded::Yes),
};

/// `SecRule REQUEST_LINE "@beginsWith GET" …`
pub(super) static BEGINS_WITH: OperatorKind = OperatorKind {
    name: "beginsWith",
    aliases: &[],
    doc: "Whether the value begins with the text.",
    argument: Argument::Optional,
    compile: |argument, _| compile(argument, |value, text| value.starts_with(text), IsNeeded::Yes),
};

/// `SecRule REQUEST_FILENAME "@endsWith .pdf" …`
pub(super) static ENDS_WITH: OperatorKind = OperatorKind {
    name: "endsWith",
    aliases: &[],
    doc: "Whether the value ends with the text.",
    argument: Argument::Optional,
    compile: |argument, _| compile(argument, |value, text| value.ends_with(text), IsNeeded::Yes),
};

/// `SecRule REQUEST_METHOD "!@within GET POST" …`
pub(super) static WITHIN: OperatorKind = OperatorKind {
    name: "within",
    aliases: &[],
    doc: "Whether the value stands in the text. Nothing stands in every text.",
    argument: Argument::Optional,
    compile: |argument, _| compile(argument, |value, text| contains(text, value), IsNeeded::No),
};

type Compare = fn(value: &[u8], text: &[u8]) -> bool;

/// Whether the text stands in every value for which the operator holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IsNeeded {
    Yes,
    No,
}

fn compile(text: &str, compare: Compare, is_needed: IsNeeded) -> Result<Box<dyn Operator>, String> {
    Ok(Box::new(Text { text: text.as_bytes().into(), compare, is_needed }))
}

#[derive(Debug)]
struct Text {
    text: Box<[u8]>,
    compare: Compare,
    is_needed: IsNeeded,
}

impl Operator for Text {
    fn holds(&self, value: &[u8], _: Option<&mut Captures>) -> bool {
        (self.compare)(value, &self.text)
    }

    fn needs(&self) -> Needs {
        match self.is_needed {
            IsNeeded::Yes => needs_of_text(&self.text),
            IsNeeded::No => Needs::default(),
        }
    }
}

fn contains(value: &[u8], text: &[u8]) -> bool {
    memmem::find(value, text).is_some()
}

fn contains_word(value: &[u8], word: &[u8]) -> bool {
    if word.is_empty() {
        return true;
    }
    let ends = |byte: Option<&u8>| byte.is_none_or(|byte| !byte.is_ascii_alphabetic());
    let mut from = 0;
    while let Some(at) = value.get(from..).and_then(|rest| memmem::find(rest, word)) {
        let start = from + at;
        let before = start.checked_sub(1).and_then(|before| value.get(before));
        if ends(before) && ends(value.get(start + word.len())) {
            return true;
        }
        from = start + 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_no_letters_beside_them() {
        for (word, value, want) in [
            ("abc", "abc", true),
            ("abc", "1abc_", true),
            ("abc", "xabc", false),
            ("abc", "abcx", false),
            ("abc", "abcx abc", true),
            ("aa", "aaa", false),
            ("aa", "aaa aa", true),
            ("", "x", true),
        ] {
            assert_eq!(contains_word(value.as_bytes(), word.as_bytes()), want, "{word} {value}");
        }
    }

    #[test]
    fn nothing_is_within_anything() {
        for (text, value, want) in
            [("GET POST", "", true), ("GET POST", "T P", true), ("", "a", false), ("", "", true)]
        {
            assert_eq!(contains(text.as_bytes(), value.as_bytes()), want);
        }
    }
}
