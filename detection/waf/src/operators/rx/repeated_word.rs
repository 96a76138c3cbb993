// SPDX-License-Identifier: Apache-2.0
//! 942130 of the Core Rule Set 3: a word, a comparison, and the same word again (`1=1`), or a comparison of the other
//! kind and another word (`1<>2`). Its back references cannot be expressed in linear time in general; here the word has
//! ends on both sides, so that there is one way to read it.

use std::ops::Range;

use crate::byte_set::ByteSet;
use crate::operators::Needs;

/// The expression as 3.3 has it (quotes may be escaped).
pub(super) const EXPRESSIONS: &[&str] = &[
    r#"(?i:[\s'\"`()]*?\b([\d\w]+)\b[\s'\"`()]*?(?:<(?:=(?:[\s'\"`()]*?(?!\b\1\b)[\d\w]+|>[\s'\"`()]*?(?:\b\1\b))|>?[\s'\"`()]*?(?!\b\1\b)[\d\w]+)|(?:not\s+(?:regexp|like)|is\s+not|>=?|!=|\^)[\s'\"`()]*?(?!\b\1\b)[\d\w]+|(?:(?:sounds\s+)?like|r(?:egexp|like)|=)[\s'\"`()]*?(?:\b\1\b)))"#,
    r#"(?i:[\s'"`()]*?\b([\d\w]+)\b[\s'"`()]*?(?:<(?:=(?:[\s'"`()]*?(?!\b\1\b)[\d\w]+|>[\s'"`()]*?(?:\b\1\b))|>?[\s'"`()]*?(?!\b\1\b)[\d\w]+)|(?:not\s+(?:regexp|like)|is\s+not|>=?|!=|\^)[\s'"`()]*?(?!\b\1\b)[\d\w]+|(?:(?:sounds\s+)?like|r(?:egexp|like)|=)[\s'"`()]*?(?:\b\1\b)))"#,
];

const SPACE: ByteSet = ByteSet::of(b"\t\n\x0b\x0c\r ");
const GAP: ByteSet = ByteSet::of(b"\t\n\x0b\x0c\r '\"`()");

/// What stands in every value in which it finds something: a byte of a comparison.
pub(super) fn needs() -> Needs {
    Needs { bytes: vec![ByteSet::of(b"<>=^kKtT")], ..Needs::default() }
}

/// The first thing it finds: the whole, and the word.
pub(super) fn find(value: &[u8]) -> Option<[Range<usize>; 2]> {
    let mut at = 0;
    while at < value.len() {
        let start = at;
        let gap = at + run(value, at, GAP);
        let word = gap + word_run(value, gap);
        if word == gap {
            at = gap + 1;
            continue;
        }
        let after = word + run(value, word, GAP);
        if let Some(end) = compared(value, &(gap..word), after) {
            return Some([start..end, gap..word]);
        }
        at = word;
    }
    None
}

/// Where a comparison at `at` ends, if what it compares is as it asks.
fn compared(value: &[u8], word: &Range<usize>, at: usize) -> Option<usize> {
    let operator = |text: &str| starts_with(value, at, text.as_bytes());
    let other = |at: usize| other_word(value, word, at);
    let same = |at: usize| same_word(value, word, at);
    let after = |at: usize, text: &str| starts_with(value, at, text.as_bytes());
    if let Some(end) = operator("<") {
        let equal = after(end, "=");
        let spaceship = equal.and_then(|end| after(end, ">"));
        return equal
            .and_then(other)
            .or_else(|| spaceship.and_then(same))
            .or_else(|| after(end, ">").and_then(other))
            .or_else(|| other(end));
    }
    let not = operator("not").and_then(|end| spaces(value, end));
    let is = operator("is").and_then(|end| spaces(value, end));
    let sounds = operator("sounds").and_then(|end| spaces(value, end));
    None.or_else(|| not.and_then(|end| after(end, "regexp").or_else(|| after(end, "like"))).and_then(other))
        .or_else(|| is.and_then(|end| after(end, "not")).and_then(other))
        .or_else(|| operator(">=").and_then(other))
        .or_else(|| operator(">").and_then(other))
        .or_else(|| operator("!=").and_then(other))
        .or_else(|| operator("^").and_then(other))
        .or_else(|| sounds.and_then(|end| after(end, "like")).and_then(same))
        .or_else(|| operator("like").and_then(same))
        .or_else(|| operator("regexp").and_then(same))
        .or_else(|| operator("rlike").and_then(same))
        .or_else(|| operator("=").and_then(same))
}

/// A gap, and a word that is not this one. What stands right behind a letter begins in the middle of a word, and no
/// word begins there.
fn other_word(value: &[u8], word: &Range<usize>, at: usize) -> Option<usize> {
    let start = at + run(value, at, GAP);
    let end = start + word_run(value, start);
    let is_other = is_inside_word(value, start) || !is_same(value, word, &(start..end));
    (end > start && is_other).then_some(end)
}

fn same_word(value: &[u8], word: &Range<usize>, at: usize) -> Option<usize> {
    let start = at + run(value, at, GAP);
    let end = start + word_run(value, start);
    (!is_inside_word(value, start) && is_same(value, word, &(start..end))).then_some(end)
}

fn is_same(value: &[u8], one: &Range<usize>, other: &Range<usize>) -> bool {
    match (value.get(one.clone()), value.get(other.clone())) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        _ => false,
    }
}

fn is_inside_word(value: &[u8], at: usize) -> bool {
    at.checked_sub(1).and_then(|before| value.get(before)).is_some_and(|byte| is_word(*byte))
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn run(value: &[u8], at: usize, set: ByteSet) -> usize {
    value.get(at..).unwrap_or_default().iter().take_while(|byte| set.contains(**byte)).count()
}

fn word_run(value: &[u8], at: usize) -> usize {
    value.get(at..).unwrap_or_default().iter().take_while(|byte| is_word(**byte)).count()
}

fn spaces(value: &[u8], at: usize) -> Option<usize> {
    let length = run(value, at, SPACE);
    (length > 0).then_some(at + length)
}

fn starts_with(value: &[u8], at: usize, text: &[u8]) -> Option<usize> {
    let end = at.checked_add(text.len())?;
    value.get(at..end)?.eq_ignore_ascii_case(text).then_some(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Expression;
    use super::*;

    #[test]
    fn it_finds_what_pcre_finds() {
        for (text, want) in [
            ("1=1", Some("1=1")),
            ("1=2", None),
            ("a 'x' = \"X\"", Some(" 'x' = \"X")),
            ("1<>2", Some("1<>2")),
            ("1<>1", None),
            ("1<=>1", Some("1<=>1")),
            ("1<=2", Some("1<=2")),
            ("1<2", Some("1<2")),
            ("1<1", None),
            ("1!=2", Some("1!=2")),
            ("2 >= 1", Some("2 >= 1")),
            ("2>2", None),
            ("a not like b", Some("a not like b")),
            ("a not  regexp a", None),
            ("a is not b", Some("a is not b")),
            ("a is notnull", Some("a is notnull")),
            ("a like a", Some("a like a")),
            ("a likea", None),
            ("a sounds like a", Some("a sounds like a")),
            ("a rlike A", Some("a rlike A")),
            ("x.1=1", Some("1=1")),
            ("11=1", None),
            ("1=11", None),
            ("", None),
            ("===", None),
        ] {
            let found = find(text.as_bytes()).map(|[whole, _]| &text[whole]);
            assert_eq!(found, want, "{text}");
        }
    }

    #[test]
    fn the_expression_is_known_as_rule_files_have_it() {
        for text in EXPRESSIONS {
            let expression = Expression::new(text).unwrap();
            assert!(expression.is_match(b"1 or 1=1"));
            let found = expression.find(b"or 1=1").unwrap();
            assert_eq!(found.0, [Some(2..6), Some(3..4)]);
        }
    }

    /// Every way to read it, one after the other.
    fn is_found_slowly(text: &[u8]) -> bool {
        let boundary = |at: usize| {
            let before = at.checked_sub(1).and_then(|at| text.get(at)).is_some_and(|byte| is_word(*byte));
            before != text.get(at).is_some_and(|byte| is_word(*byte))
        };
        let gaps =
            |at: usize| (at..=text.len()).take_while(move |end| *end == at || GAP.contains(text[*end - 1]));
        let operators: [(&str, bool); 15] = [
            ("<=", false),
            ("<=>", true),
            ("<>", false),
            ("<", false),
            ("not regexp", false),
            ("not like", false),
            ("is not", false),
            (">", false),
            (">=", false),
            ("!=", false),
            ("^", false),
            ("sounds like", true),
            ("like", true),
            ("regexp", true),
            ("rlike", true),
        ];
        for start in 0..text.len() {
            for end in start + 1..=text.len() {
                if !text[start..end].iter().all(|byte| is_word(*byte)) || !boundary(start) || !boundary(end) {
                    continue;
                }
                let word = text[start..end].to_ascii_lowercase();
                let is_same_at = |at: usize| {
                    let end = at + word.len();
                    boundary(at)
                        && text.get(at..end).is_some_and(|text| text.eq_ignore_ascii_case(&word))
                        && boundary(end)
                };
                for at in gaps(end) {
                    for (operator, wants_same) in operators.iter().chain([&("=", true)]) {
                        let Some(after) = starts_with(text, at, operator.as_bytes()) else { continue };
                        let holds = gaps(after).any(|at| {
                            if *wants_same {
                                is_same_at(at)
                            } else {
                                !is_same_at(at) && text.get(at).is_some_and(|byte| is_word(*byte))
                            }
                        });
                        if holds {
                            return true;
                        }
                    }
                }
            }
        }
        false
    }

    proptest! {
        #[test]
        fn it_is_told_as_the_slow_form_tells_it(
            text in r"(a|b|A|1|_|<|>|=|!|\^| |'|\(|\.|not like|is not|like|rlike|sounds like|regexp|not regexp){0,9}",
        ) {
            let found = find(text.as_bytes());
            prop_assert_eq!(found.is_some(), is_found_slowly(text.as_bytes()), "{}", text);
            if found.is_some() {
                let needs = needs();
                let present = ByteSet::present(text.as_bytes());
                prop_assert!(needs.bytes.iter().all(|set| set.meets(&present)));
            }
        }

        #[test]
        fn nothing_panics(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(find(&text).is_none_or(|[whole, _]| whole.end <= text.len()));
        }
    }
}
