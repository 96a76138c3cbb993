// SPDX-License-Identifier: Apache-2.0
//! `@rx`: whether an expression finds something.

mod dialect;
mod lookaround;
mod lower;
mod repeated_word;

use std::ops::Range;

use regex_automata::meta;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::Hir;

use self::dialect::Node;
use self::lookaround::Lookaround;
use super::{Argument, Captures, Needs, Operator, OperatorKind, Resources};
use crate::filter::needs::needs_of;

/// `SecRule ARGS "@rx (?i)union\s+select" …`
pub static RX: OperatorKind = OperatorKind {
    name: "rx",
    aliases: &[],
    doc: "Whether a regular expression finds something in the value, in time linear in its length.",
    argument: Argument::Optional,
    compile,
};

/// Bytes of one compiled expression. The largest of the Core Rule Set takes half a mebibyte.
const COMPILED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes one thread remembers of one expression's states, so that nobody's requests make it remember more.
const CACHE_BYTES_MAX: usize = 1024 * 1024;
/// The whole and nine groups, as `TX.0` to `TX.9` take them.
const CAPTURES_MAX: usize = 10;

fn compile(argument: &str, _: &dyn Resources) -> Result<Box<dyn Operator>, String> {
    Ok(Box::new(Expression::new(argument)?))
}

/// An expression, ready to be looked for.
#[derive(Debug)]
pub struct Expression {
    matcher: Matcher,
    needs: Needs,
}

#[derive(Debug)]
enum Matcher {
    Plain(meta::Regex),
    Lookaround(Lookaround),
    RepeatedWord,
}

impl Expression {
    /// Makes an expression ready.
    ///
    /// # Errors
    /// What is wrong with it, or cannot be expressed here.
    pub fn new(text: &str) -> Result<Self, String> {
        if repeated_word::EXPRESSIONS.contains(&text) {
            return Ok(Self { matcher: Matcher::RepeatedWord, needs: repeated_word::needs() });
        }
        let node = dialect::parse(text)?;
        if has_lookaround(&node) {
            let (lookaround, hir) = Lookaround::new(&node)?;
            return Ok(Self { matcher: Matcher::Lookaround(lookaround), needs: needs_of(&hir) });
        }
        let hir = lower::lower(&node)?;
        Ok(Self { matcher: Matcher::Plain(compiled(&hir)?), needs: needs_of(&hir) })
    }

    /// Whether it finds something.
    pub fn is_match(&self, value: &[u8]) -> bool {
        match &self.matcher {
            Matcher::Plain(regex) => regex.is_match(value),
            Matcher::Lookaround(lookaround) => lookaround.find(value).is_some(),
            Matcher::RepeatedWord => repeated_word::find(value).is_some(),
        }
    }

    fn find(&self, value: &[u8]) -> Option<Captures> {
        let found = match &self.matcher {
            Matcher::Plain(regex) => return captured(regex, value),
            Matcher::Lookaround(lookaround) => vec![Some(lookaround.find(value)?)],
            Matcher::RepeatedWord => repeated_word::find(value)?.map(Some).into(),
        };
        Some(Captures(found))
    }
}

impl Operator for Expression {
    fn holds(&self, value: &[u8], captures: Option<&mut Captures>) -> bool {
        let Some(captures) = captures else { return self.is_match(value) };
        let Some(found) = self.find(value) else { return false };
        captures.0.extend(found.0);
        true
    }

    fn needs(&self) -> Needs {
        self.needs.clone()
    }
}

/// An expression of which every place is of interest, not only the first: for operators that look closer.
#[derive(Debug)]
pub(super) struct Finder(meta::Regex);

impl Finder {
    /// Makes an expression ready.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        compiled(&lower::lower(&dialect::parse(text)?)?).map(Self)
    }

    /// The first place in a part of a value.
    pub(super) fn find(&self, input: Input<'_>) -> Option<Range<usize>> {
        self.0.search(&input).map(|found| found.range())
    }
}

fn captured(regex: &meta::Regex, value: &[u8]) -> Option<Captures> {
    let mut slots: [Option<NonMaxUsize>; 2 * CAPTURES_MAX] = [None; 2 * CAPTURES_MAX];
    // More slots than the expression has groups are more than the library's slowest matcher bears.
    let used = slots.get_mut(..2 * regex.captures_len().min(CAPTURES_MAX))?;
    regex.search_slots(&Input::new(value), used)?;
    let (pairs, _) = slots.as_chunks::<2>();
    let range = |[start, end]: &[Option<NonMaxUsize>; 2]| Some(start.as_ref()?.get()..end.as_ref()?.get());
    Some(Captures(pairs.iter().take(regex.captures_len()).map(range).collect()))
}

/// Without the matcher's own search for literals: what it does behind a literal's end or in its midst misses matches
/// (`a?;a?[^a]*b` in `;ab`), and which expressions are worth running is the filter's affair.
fn compiled(hir: &Hir) -> Result<meta::Regex, String> {
    let config = meta::Config::new()
        .utf8_empty(false)
        .auto_prefilter(false)
        .nfa_size_limit(Some(COMPILED_BYTES_MAX))
        .hybrid_cache_capacity(CACHE_BYTES_MAX);
    meta::Builder::new().configure(config).build_from_hir(hir).map_err(|error| {
        error.size_limit().map_or_else(
            || format!("the expression cannot be compiled: {error}"),
            |limit| format!("the expression takes more than {limit} bytes when it is compiled"),
        )
    })
}

/// Whether it matches from `at` on.
fn stands_at(regex: &meta::Regex, value: &[u8], at: usize) -> bool {
    at <= value.len() && regex.is_match(Input::new(value).span(at..value.len()).anchored(Anchored::Yes))
}

fn has_lookaround(node: &Node) -> bool {
    match node {
        Node::Around { .. } => true,
        Node::Group(inner, _) | Node::Atomic(inner) | Node::Repeat { node: inner, .. } => {
            has_lookaround(inner)
        }
        Node::Concat(nodes) | Node::Alternation(nodes) => nodes.iter().any(has_lookaround),
        Node::Empty | Node::Set(_) | Node::Look(_) | Node::LastLine | Node::Back(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usual(text: &str) -> Option<Hir> {
        let mut parser = regex_syntax::ParserBuilder::new();
        parser.unicode(false).utf8(false).dot_matches_new_line(true).build().parse(text).ok()
    }

    fn own(text: &str) -> Option<Hir> {
        dialect::parse(text).and_then(|node| lower::lower(&node)).ok()
    }

    #[test]
    fn groups_are_captured() {
        for (expression, value, want) in [
            ("(a)(b)?(c)", "xac", vec![Some(1..3), Some(1..2), None, Some(2..3)]),
            ("a", "a", vec![Some(0..1)]),
            ("(?<n>a)(?:b)", "ab", vec![Some(0..2), Some(0..1)]),
            ("(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)", "0123456789", {
                std::iter::once(Some(0..10)).chain((0..9).map(|at| Some(at..at + 1))).collect()
            }),
        ] {
            let mut captures = Captures::default();
            assert!(Expression::new(expression).unwrap().holds(value.as_bytes(), Some(&mut captures)));
            assert_eq!(captures.0, want, "{expression}");
            assert!(!Expression::new(expression).unwrap().holds(b"", Some(&mut captures)));
            assert_eq!(captures.0, want, "{expression}");
        }
    }

    #[test]
    fn what_grows_too_large_is_refused() {
        let error = Expression::new(r"(?:\w{1000}){1000}").unwrap_err();
        assert!(error.contains("more than"), "{error}");
    }

    /// The matcher's own shortcuts by literals say no (regex-automata 0.4.18).
    #[test]
    fn nothing_is_missed_by_a_shortcut() {
        assert!(Expression::new("a?;a?[^a]*b").unwrap().is_match(b";ab"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Where both read the same language, they read the same.
        #[test]
        fn it_is_read_as_the_crate_reads_it(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("a"), Just("B"), Just("("), Just("(?:"), Just(")"), Just("|"), Just("[a-c]"), Just("[^B]"),
                    Just(r"[\w.-]"), Just(r"\s"), Just(r"\b"), Just("^"), Just("$"), Just("."), Just("*"), Just("+?"),
                    Just("{2,3}"), Just("(?i)"), Just("(?i:"), Just("(?-s:"), Just("(?m)"), Just(r"\x41"), Just("[[:alpha:]]"),
                ],
                0..10,
            ),
        ) {
            let text = parts.concat();
            if let Some((own, usual)) = own(&text).zip(usual(&text)) {
                prop_assert_eq!(own, usual, "{}", text);
            }
        }
    }
}
