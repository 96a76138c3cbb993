// SPDX-License-Identifier: Apache-2.0
//! `@pm`, `@pmFromFile`: whether one of many phrases stands in the value, ASCII letters in whatever case.

use aho_corasick::AhoCorasick;

use super::{Argument, Captures, Needs, Operator, OperatorKind, Resources};

/// `SecRule REQUEST_HEADERS:User-Agent "@pm WebZIP WebCopier" …`
pub(super) static PM: OperatorKind = OperatorKind {
    name: "pm",
    aliases: &[],
    doc: "Whether one of the words stands in the value, letters in whatever case. `|41 42|` in a word is bytes in hex.",
    argument: Argument::Required,
    compile: |argument, _| {
        let words = words(argument.as_bytes());
        if words.is_empty() {
            return Err("no words to look for".into());
        }
        Phrases::compile(words)
    },
};

/// `SecRule REQUEST_FILENAME "@pmFromFile restricted-files.data" …`
pub(super) static PM_FROM_FILE: OperatorKind = OperatorKind {
    name: "pmFromFile",
    aliases: &["pmf"],
    doc: "Whether one of the phrases of a file stands in the value, letters in whatever case: one a line, `#` before remarks.",
    argument: Argument::Required,
    compile: from_files,
};

/// Bytes of all phrases of one rule. The largest list of the Core Rule Set has 62 KiB.
const PHRASES_BYTES_MAX: usize = 16 * 1024 * 1024;

fn from_files(argument: &str, resources: &dyn Resources) -> Result<Box<dyn Operator>, String> {
    let mut phrases = Vec::new();
    for name in argument.split_ascii_whitespace() {
        phrases.extend(lines(&resources.read(name)?));
    }
    Phrases::compile(phrases)
}

/// The lines of a list: without blanks at their ends, empty ones, and remarks.
pub(super) fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")).map(<[u8]>::to_vec).collect()
}

/// The words between blanks; blanks between `|` do not end one.
fn words(text: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = text.trim_ascii_start();
    while !rest.is_empty() {
        let (word, length) = word(rest);
        words.push(word);
        rest = rest.get(length..).unwrap_or_default().trim_ascii_start();
    }
    words
}

/// The first word, and how many bytes say it.
fn word(text: &[u8]) -> (Vec<u8>, usize) {
    let mut word = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at).filter(|byte| !byte.is_ascii_whitespace()) {
        if let Some((bytes, length)) = text.get(at..).and_then(hex_part) {
            word.extend(bytes);
            at += length;
        } else {
            word.push(*byte);
            at += 1;
        }
    }
    (word, at)
}

/// `|41 42|`, and how long that is. Anything else between `|` stands for itself.
fn hex_part(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let inner = text.strip_prefix(b"|")?;
    let length = memchr::memchr(b'|', inner)?;
    let pairs = inner.get(..length)?.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty());
    let mut bytes = Vec::new();
    for pair in pairs {
        let pair = std::str::from_utf8(pair)
            .ok()
            .filter(|pair| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(pair, 16).ok()?);
    }
    (!bytes.is_empty()).then_some((bytes, length + 2))
}

#[derive(Debug)]
struct Phrases {
    phrases: Vec<Vec<u8>>,
    automaton: AhoCorasick,
}

impl Phrases {
    fn compile(mut phrases: Vec<Vec<u8>>) -> Result<Box<dyn Operator>, String> {
        if phrases.iter().map(Vec::len).sum::<usize>() > PHRASES_BYTES_MAX {
            return Err(format!("the phrases take more than {PHRASES_BYTES_MAX} bytes"));
        }
        phrases.iter_mut().for_each(|phrase| phrase.make_ascii_lowercase());
        phrases.sort_unstable();
        phrases.dedup();
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(&phrases)
            .map_err(|error| format!("the phrases cannot be compiled: {error}"))?;
        Ok(Box::new(Self { phrases, automaton }))
    }
}

impl Operator for Phrases {
    fn holds(&self, value: &[u8], captures: Option<&mut Captures>) -> bool {
        let Some(captures) = captures else { return self.automaton.is_match(value) };
        let Some(found) = self.automaton.find(value) else { return false };
        captures.0.push(Some(found.range()));
        true
    }

    fn needs(&self) -> Needs {
        Needs { any_of: self.phrases.clone(), is_exact: !self.phrases.is_empty(), bytes: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_may_be_in_hex() {
        for (text, want) in [
            ("abc def", vec!["abc", "def"]),
            ("  abc\t def ", vec!["abc", "def"]),
            ("a|42|c", vec!["aBc"]),
            ("|41 42 43| d", vec!["ABC", "d"]),
            ("a|20|b", vec!["a b"]),
            ("A|42|C|44|F", vec!["ABCDF"]),
            ("||", vec!["||"]),
            ("|", vec!["|"]),
            ("a|zz|b", vec!["a|zz|b"]),
            ("a|4|b", vec!["a|4|b"]),
            ("a|+4|b", vec!["a|+4|b"]),
            ("( )", vec!["(", ")"]),
            ("", vec![]),
        ] {
            let words = words(text.as_bytes());
            assert_eq!(words, want.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>(), "{text}");
        }
    }

    #[test]
    fn lists_have_remarks() {
        let list = b"# a\r\nAbc\r\n\n  d e \n#f\n g#h\n|41|";
        assert_eq!(lines(list), [&b"Abc"[..], b"d e", b"g#h", b"|41|"]);
    }

    #[test]
    fn what_is_found_first_is_captured() {
        let operator = Phrases::compile(vec![b"def".to_vec(), b"ABC".to_vec()]).unwrap();
        let mut captures = Captures::default();
        assert!(operator.holds(b"xxaBcdef", Some(&mut captures)));
        assert_eq!(captures.0, [Some(2..5)]);
        assert!(!operator.holds(b"ab", Some(&mut captures)));
    }

    #[test]
    fn an_empty_list_finds_nothing() {
        let operator = Phrases::compile(Vec::new()).unwrap();
        assert!(!operator.holds(b"", None) && !operator.holds(b"a", None));
        assert_eq!(operator.needs(), Needs::default());
    }

    proptest! {
        #[test]
        fn it_is_told_as_the_slow_form_tells_it(
            phrases in proptest::collection::vec("[abAB|1 ]{1,4}", 0..6), value in "[abAB1 ]{0,12}",
        ) {
            let holds = Phrases::compile(phrases.iter().map(|phrase| phrase.clone().into_bytes()).collect())
                .unwrap()
                .holds(value.as_bytes(), None);
            let slow = phrases.iter().any(|phrase| value.to_lowercase().contains(&phrase.to_lowercase()));
            prop_assert_eq!(holds, slow);
        }
    }
}
