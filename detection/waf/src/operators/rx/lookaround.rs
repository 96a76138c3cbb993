// SPDX-License-Identifier: Apache-2.0
//! Expressions with lookaround at a place that can be told without backtracking: `<\?(?!xml)`, `(?<!&amp);|"`.
//!
//! Each alternative is: places and lookaround, then something to find, then lookaround. It holds where the middle
//! stands and what is around it is as asked. What comes before is asked where the middle begins, so that any middle
//! will do; what comes after is asked where it ends, so that the middle must have one length. Bounds keep it linear.

use std::ops::Range;

use regex_automata::{Anchored, Input, meta};
use regex_syntax::hir::{Hir, Look};

use super::dialect::Node;
use super::lower::{length, lower};
use super::{compiled, stands_at};

/// Bytes that may be looked at in one place, and that may be found, unless it is at the start of the value.
const REACH_MAX: usize = 256;
/// Bytes that may be looked back: every length is tried.
const BACK_MAX: usize = 32;
/// Alternatives.
const BRANCHES_MAX: usize = 64;

/// An expression with lookaround.
#[derive(Debug)]
pub(super) struct Lookaround(Vec<Branch>);

#[derive(Debug)]
struct Branch {
    before: Vec<Around>,
    middle: meta::Regex,
    /// How long the middle is, when something is asked behind it.
    after: Option<(usize, Vec<Around>)>,
}

#[derive(Debug)]
struct Around {
    regex: meta::Regex,
    is_negative: bool,
    /// Where it begins, looking back: so many bytes before, at least and at most. `None`: it looks ahead.
    back: Option<(usize, usize)>,
}

impl Lookaround {
    /// It, and what every match has in it.
    pub(super) fn new(node: &Node) -> Result<(Self, Hir), String> {
        if has_group(node) {
            return Err("lookaround beside groups that capture cannot be expressed".into());
        }
        let mut alternatives = Vec::new();
        alternatives_of(node, &mut alternatives);
        if alternatives.len() > BRANCHES_MAX {
            return Err(format!("lookaround in more than {BRANCHES_MAX} alternatives"));
        }
        let mut branches = Vec::with_capacity(alternatives.len());
        let mut middles = Vec::with_capacity(alternatives.len());
        for alternative in alternatives {
            let (branch, middle) = Branch::new(alternative)?;
            branches.push(branch);
            middles.push(middle);
        }
        Ok((Self(branches), Hir::alternation(middles)))
    }

    /// What it finds first.
    pub(super) fn find(&self, value: &[u8]) -> Option<Range<usize>> {
        self.0.iter().filter_map(|branch| branch.find(value)).min_by_key(|range| range.start)
    }
}

impl Branch {
    fn new(node: &Node) -> Result<(Self, Hir), String> {
        let mut nodes = Vec::new();
        sequence_of(node, &mut nodes);
        let is_place = |node: &&Node| matches!(node, Node::Look(_) | Node::Around { .. });
        let begin = nodes.iter().take_while(|node| is_place(node)).count();
        let (start, rest) = nodes.split_at(begin);
        let length_behind = rest.iter().rev().take_while(|node| matches!(node, Node::Around { .. })).count();
        let (middle, end) = rest.split_at(rest.len() - length_behind);
        let (before, places): (Vec<&Node>, Vec<&Node>) =
            start.iter().partition(|node| matches!(node, Node::Around { .. }));
        let is_at_start = places.iter().any(|node| matches!(node, Node::Look(Look::Start)));
        let middle = Node::Concat(places.into_iter().chain(middle.iter().copied()).cloned().collect());
        let hir = lower(&middle)?;
        if !is_at_start && hir.properties().maximum_len().is_none_or(|length| length > REACH_MAX) {
            return Err(format!(
                "lookaround beside what may be longer than {REACH_MAX} bytes cannot be expressed"
            ));
        }
        let arounds = |nodes: &[&Node]| -> Result<Vec<Around>, String> {
            nodes.iter().map(|node| Around::new(node, is_at_start)).collect()
        };
        let after = match end {
            [] => None,
            end => Some((length(&middle).ok_or(VARIABLE)?, arounds(end)?)),
        };
        Ok((Self { before: arounds(&before)?, middle: compiled(&hir)?, after }, hir))
    }

    fn find(&self, value: &[u8]) -> Option<Range<usize>> {
        let mut from = 0;
        while from <= value.len() {
            let found = self.middle.search(&Input::new(value).span(from..value.len()))?.range();
            let holds_behind = self.after.as_ref().is_none_or(|(length, arounds)| {
                let end = found.start.saturating_add(*length);
                arounds.iter().all(|around| around.holds(value, end))
            });
            if holds_behind && self.before.iter().all(|around| around.holds(value, found.start)) {
                return Some(found);
            }
            from = found.start + 1;
        }
        None
    }
}

const VARIABLE: &str = "lookaround behind what may be of more than one length cannot be expressed";

impl Around {
    fn new(node: &Node, is_at_start: bool) -> Result<Self, String> {
        let Node::Around { is_ahead, is_negative, node } = node else {
            return Err("lookaround cannot be expressed here".into());
        };
        let inner = lower(node)?;
        let properties = inner.properties();
        let (min, max) = (properties.minimum_len(), properties.maximum_len());
        if *is_ahead {
            if !is_at_start && max.is_none_or(|max| max > REACH_MAX) {
                return Err(format!("a lookahead over more than {REACH_MAX} bytes cannot be expressed"));
            }
            return Ok(Self { regex: compiled(&inner)?, is_negative: *is_negative, back: None });
        }
        let Some((min, max)) = min.zip(max).filter(|(_, max)| *max <= BACK_MAX) else {
            return Err(format!("a lookbehind over more than {BACK_MAX} bytes cannot be expressed"));
        };
        if !properties.look_set().is_empty() {
            return Err("a lookbehind with places in it cannot be expressed".into());
        }
        let ended = Hir::concat(vec![inner, Hir::look(Look::End)]);
        Ok(Self { regex: compiled(&ended)?, is_negative: *is_negative, back: Some((min, max)) })
    }

    fn holds(&self, value: &[u8], at: usize) -> bool {
        let stands = match self.back {
            None => stands_at(&self.regex, value, at),
            Some((min, max)) => {
                let before = value.get(..at).unwrap_or_default();
                (min..=max).any(|length| at.checked_sub(length).is_some_and(|from| self.fills(before, from)))
            }
        };
        stands != self.is_negative
    }

    fn fills(&self, before: &[u8], from: usize) -> bool {
        self.regex.is_match(Input::new(before).span(from..before.len()).anchored(Anchored::Yes))
    }
}

fn has_group(node: &Node) -> bool {
    match node {
        Node::Group(_, Some(_)) => true,
        Node::Group(inner, None) | Node::Atomic(inner) => has_group(inner),
        Node::Repeat { node, .. } | Node::Around { node, .. } => has_group(node),
        Node::Concat(nodes) | Node::Alternation(nodes) => nodes.iter().any(has_group),
        Node::Empty | Node::Set(_) | Node::Look(_) | Node::LastLine | Node::Back(_) => false,
    }
}

fn alternatives_of<'a>(node: &'a Node, alternatives: &mut Vec<&'a Node>) {
    match node {
        Node::Alternation(branches) => {
            branches.iter().for_each(|branch| alternatives_of(branch, alternatives))
        }
        Node::Group(inner, None) => alternatives_of(inner, alternatives),
        other => alternatives.push(other),
    }
}

fn sequence_of<'a>(node: &'a Node, nodes: &mut Vec<&'a Node>) {
    match node {
        Node::Concat(inner) => inner.iter().for_each(|node| sequence_of(node, nodes)),
        Node::Group(inner, None)
            if matches!(**inner, Node::Concat(_) | Node::Look(_) | Node::Around { .. }) =>
        {
            sequence_of(inner, nodes);
        }
        other => nodes.push(other),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Expression;

    /// 920120 of the Core Rule Set 3.3.
    const ENTITIES: &str = r#"(?<!&(?:[aAoOuUyY]uml)|&(?:[aAeEiIoOuU]circ)|&(?:[eEiIoOuUyY]acute)|&(?:[aAeEiIoOuU]grave)|&(?:[cC]cedil)|&(?:[aAnNoO]tilde)|&(?:amp)|&(?:apos));|['\"=]"#;
    /// 953120.
    const PHP: &str = r"<\?(?!xml)";

    #[test]
    fn it_holds_where_pcre_finds_it() {
        for (expression, text, want) in [
            (ENTITIES, "a;b", Some(1..2)),
            (ENTITIES, "&auml;", None),
            (ENTITIES, "&auml;;", Some(6..7)),
            (ENTITIES, "uml;", Some(3..4)),
            (ENTITIES, "&amp;=", Some(5..6)),
            (ENTITIES, "'&x;", Some(0..1)),
            (ENTITIES, ";", Some(0..1)),
            (PHP, "<?xml", None),
            (PHP, "<?php", Some(0..2)),
            (PHP, "<?xml <?XML", Some(6..8)),
            (PHP, "<?", Some(0..2)),
            ("^(?!foo)", "foo", None),
            ("^(?!foo)", "bar", Some(0..0)),
            ("^(?!.*foo)b", "bar", Some(0..1)),
            ("^(?!.*foo)b", "bar foo", None),
            ("^b(?=a)", "bar", Some(0..1)),
            ("(?<=a)b", "ab", Some(1..2)),
            ("(?<=a)b", "b", None),
            (r"(?:a|(?!b)\w)", "bc", Some(1..2)),
            (r"(?i:x(?!y))", "XY", None),
            (r"(?i:x(?!y))", "Xz", Some(0..1)),
            (r"\b(?=x)\w", "yx x", Some(3..4)),
        ] {
            let expression = Expression::new(expression).unwrap();
            let found = expression.find(text.as_bytes()).map(|captures| captures.0);
            assert_eq!(found, want.clone().map(|range| vec![Some(range)]), "{expression:?} {text}");
            assert_eq!(expression.is_match(text.as_bytes()), want.is_some());
        }
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        for (expression, want) in [
            (r"a\s*(?!b)c", "cannot be expressed here"),
            (r"a\s?(?!b)", "more than one length"),
            (r"(?!b)a+", "longer than"),
            (r"(?!.*b)a", "lookahead over"),
            (r"(?<!a{40})b", "lookbehind over"),
            (r"(?<!\b)b", "places in it"),
            (r"(?!(?=a))b", "cannot be expressed"),
            (r"(?:(?!a)b)*", "cannot be expressed"),
            (r"(?!a)(b)", "groups that capture"),
            (r"(?!a)*b", "repeated"),
            (r"(a)\1", "back references"),
        ] {
            let error = Expression::new(expression).unwrap_err();
            assert!(error.contains(want), "{expression}: {error}");
        }
    }

    /// 920120, said slowly.
    fn is_loose(value: &[u8]) -> bool {
        let named = |before: &[u8]| {
            let ends: [(&str, &str); 6] = [
                ("AOUY", "uml"),
                ("AEIOU", "circ"),
                ("EIOUY", "acute"),
                ("AEIOU", "grave"),
                ("C", "cedil"),
                ("ANO", "tilde"),
            ];
            ends.iter().any(|(letters, end)| {
                letters
                    .chars()
                    .flat_map(|letter| [letter, letter.to_ascii_lowercase()])
                    .any(|letter| before.ends_with(format!("&{letter}{end}").as_bytes()))
            }) || before.ends_with(b"&amp")
                || before.ends_with(b"&apos")
        };
        value.iter().enumerate().any(|(at, byte)| match byte {
            b';' => !named(&value[..at]),
            b'\'' | b'"' | b'=' => true,
            _ => false,
        })
    }

    proptest! {
        #[test]
        fn entities_are_told_as_the_slow_form_tells_them(text in r"(&?[aouycAnNoO]?(uml|circ|acute|grave|cedil|tilde|amp|apos)?;?){0,4}") {
            prop_assert_eq!(Expression::new(ENTITIES).unwrap().is_match(text.as_bytes()), is_loose(text.as_bytes()));
        }

        #[test]
        fn instructions_are_told_as_the_slow_form_tells_them(text in r"((<|\?|x|m|l|<\?xml){0,8})") {
            let slow = text.match_indices("<?").any(|(at, _)| !text[at + 2..].starts_with("xml"));
            prop_assert_eq!(Expression::new(PHP).unwrap().is_match(text.as_bytes()), slow);
        }
    }
}
