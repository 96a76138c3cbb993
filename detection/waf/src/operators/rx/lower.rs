// SPDX-License-Identifier: Apache-2.0
//! From what an expression says to what the matcher runs. Possessive repetitions and atomic groups have no counterpart
//! there: they are written in a plain form where one is exactly equal, and refused where none is found.

use regex_syntax::hir::{Capture, Class, ClassBytes, ClassBytesRange, Hir, Look, Repetition};

use super::dialect::{Greed, Node};
use crate::byte_set::ByteSet;

/// How many things that may be absent may follow a run before the first that may not.
const BRANCHES_MAX: usize = 16;

/// The matcher's form of an expression without lookaround.
pub(super) fn lower(node: &Node) -> Result<Hir, String> {
    lowered(node, &First::END)
}

/// What may come next.
#[derive(Clone, Copy, Debug)]
struct First {
    /// With which bytes it may begin.
    bytes: ByteSet,
    /// Whether the expression may be over here.
    may_end: bool,
    /// Whether a place stands between here and there.
    has_look: bool,
}

impl First {
    const END: Self = Self { bytes: ByteSet::EMPTY, may_end: true, has_look: false };

    const fn of(bytes: ByteSet) -> Self {
        Self { bytes, may_end: false, has_look: false }
    }

    fn or(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.union(other.bytes),
            may_end: self.may_end || other.may_end,
            has_look: self.has_look || other.has_look,
        }
    }

    /// Whether the most of these bytes is what a plain repetition comes to as well: whatever follows begins with
    /// another byte, or nothing need follow.
    fn ends_run_of(self, set: ByteSet) -> bool {
        !(self.bytes.meets(&set) || self.may_end && self.has_look)
    }
}

fn lowered(node: &Node, follow: &First) -> Result<Hir, String> {
    Ok(match node {
        Node::Empty => Hir::empty(),
        Node::Set(set) => class(*set),
        Node::Look(look) => Hir::look(*look),
        Node::LastLine => last_line(follow)?,
        Node::Group(inner, None) => lowered(inner, follow)?,
        Node::Group(inner, Some(index)) => {
            Hir::capture(Capture { index: *index, name: None, sub: Box::new(lowered(inner, follow)?) })
        }
        Node::Concat(nodes) => concat(nodes, follow)?,
        Node::Alternation(branches) => {
            Hir::alternation(branches.iter().map(|branch| lowered(branch, follow)).collect::<Result<_, _>>()?)
        }
        Node::Repeat { greed: Greed::Possessive, .. } | Node::Atomic(_) => unyielding(node, follow)?,
        Node::Repeat { node, min, max, greed } => {
            let inside = first_of(std::slice::from_ref(node), follow).or(*follow);
            repeat(lowered(node, &inside)?, *min, *max, *greed)
        }
        Node::Around { .. } => return Err("lookaround cannot be expressed here".into()),
        Node::Back(_) => return Err("back references cannot be expressed".into()),
    })
}

fn class(set: ByteSet) -> Hir {
    let bytes = set.bytes().map(|byte| ClassBytesRange::new(byte, byte));
    Hir::class(Class::Bytes(ClassBytes::new(bytes)))
}

fn repeat(inner: Hir, min: u32, max: Option<u32>, greed: Greed) -> Hir {
    Hir::repetition(Repetition { min, max, greedy: greed != Greed::Lazy, sub: Box::new(inner) })
}

/// `\Z` takes the last line feed with it, which nobody sees when nothing follows.
fn last_line(follow: &First) -> Result<Hir, String> {
    if !follow.bytes.is_empty() || follow.has_look || !follow.may_end {
        return Err("`\\Z` with something behind it cannot be expressed".into());
    }
    let line_feed = repeat(class(ByteSet::of(b"\n")), 0, Some(1), Greed::Lazy);
    Ok(Hir::concat(vec![line_feed, Hir::look(Look::End)]))
}

fn concat(nodes: &[Node], follow: &First) -> Result<Hir, String> {
    let mut follows = vec![*follow; nodes.len()];
    let mut next = *follow;
    for (slot, node) in follows.iter_mut().zip(nodes).rev() {
        *slot = next;
        next = first_before(node, next);
    }
    let mut parts = Vec::with_capacity(nodes.len());
    for (index, (node, behind)) in nodes.iter().zip(&follows).enumerate() {
        match lowered(node, behind) {
            Ok(part) => parts.push(part),
            Err(error) => {
                let rest = nodes.get(index + 1..).unwrap_or_default();
                let Some(Run { set, is_unbounded: true }) = run_of(node) else { return Err(error) };
                parts.push(lowered(&plain(node), follow)?);
                parts.push(lowered(&begun_otherwise(rest, set).ok_or(error)?, follow)?);
                break;
            }
        }
    }
    Ok(Hir::concat(parts))
}

/// A possessive repetition or an atomic group, if its plain form is equal.
fn unyielding(node: &Node, follow: &First) -> Result<Hir, String> {
    let has_nothing_behind = follow.bytes.is_empty() && follow.may_end && !follow.has_look;
    let is_equal = match node {
        _ if has_nothing_behind => true,
        Node::Atomic(inner) if length(inner).is_some() => true,
        _ => run_of(node).is_some_and(|run| follow.ends_run_of(run.set)),
    };
    if is_equal {
        return lowered(&plain(node), follow);
    }
    Err("a possessive repetition or an atomic group whose plain form would mean something else cannot be expressed"
        .into())
}

/// What a repetition that gives nothing back takes, if it is of single bytes.
struct Run {
    set: ByteSet,
    is_unbounded: bool,
}

fn run_of(node: &Node) -> Option<Run> {
    let (inner, max) = match node {
        Node::Atomic(inner) => match inner.as_ref() {
            Node::Repeat { node, max, greed: Greed::Greedy | Greed::Possessive, .. } => (node, max),
            _ => return None,
        },
        Node::Repeat { node, max, greed: Greed::Possessive, .. } => (node, max),
        _ => return None,
    };
    match inner.as_ref() {
        Node::Set(set) => Some(Run { set: *set, is_unbounded: max.is_none() }),
        _ => None,
    }
}

fn plain(node: &Node) -> Node {
    match node {
        Node::Atomic(inner) => inner.as_ref().clone(),
        Node::Repeat { node, min, max, .. } => {
            Node::Repeat { node: node.clone(), min: *min, max: *max, greed: Greed::Greedy }
        }
        other => other.clone(),
    }
}

/// The same, of what does not begin with one of these bytes: what may follow all of them that there were.
fn begun_otherwise(nodes: &[Node], set: ByteSet) -> Option<Node> {
    let mut branches = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let rest = nodes.get(index + 1..).unwrap_or_default();
        if !rest.iter().chain([node]).all(is_copyable) {
            return None;
        }
        let mut branch = vec![first_byte_outside(node, set)?];
        branch.extend_from_slice(rest);
        branches.push(Node::Concat(branch));
        if branches.len() > BRANCHES_MAX {
            return None;
        }
        if !first_of(std::slice::from_ref(node), &First::END).may_end {
            return Some(Node::Alternation(branches));
        }
    }
    None
}

fn first_byte_outside(node: &Node, set: ByteSet) -> Option<Node> {
    let outside = |bytes: &ByteSet| Node::Set(set.union(bytes.complement()).complement());
    match node {
        Node::Set(bytes) => Some(outside(bytes)),
        Node::Group(inner, None) => first_byte_outside(inner, set),
        Node::Alternation(branches) => {
            let branches: Option<_> = branches.iter().map(|branch| first_byte_outside(branch, set)).collect();
            branches.map(Node::Alternation)
        }
        Node::Repeat { node, min, max, greed } => match node.as_ref() {
            Node::Set(bytes) if *max != Some(0) => {
                let more = Node::Repeat {
                    node: node.clone(),
                    min: min.saturating_sub(1),
                    max: max.map(|max| max.saturating_sub(1)),
                    greed: *greed,
                };
                Some(Node::Concat(vec![outside(bytes), more]))
            }
            _ => None,
        },
        other => {
            let first = first_of(std::slice::from_ref(other), &First::END);
            (!first.may_end && !first.bytes.meets(&set)).then(|| other.clone())
        }
    }
}

/// Whether it may stand twice in an expression without counting groups twice, or growing over and over.
fn is_copyable(node: &Node) -> bool {
    match node {
        Node::Empty | Node::Set(_) | Node::Look(_) => true,
        Node::Group(inner, number) => number.is_none() && is_copyable(inner),
        Node::Concat(nodes) | Node::Alternation(nodes) => nodes.iter().all(is_copyable),
        Node::Repeat { node, greed, .. } => *greed != Greed::Possessive && is_copyable(node),
        Node::LastLine | Node::Atomic(_) | Node::Around { .. } | Node::Back(_) => false,
    }
}

/// With what a sequence may begin, if `follow` comes behind it.
fn first_of<N: std::borrow::Borrow<Node>>(nodes: &[N], follow: &First) -> First {
    let mut first = *follow;
    for node in nodes.iter().rev() {
        first = first_before(node.borrow(), first);
    }
    first
}

fn first_before(node: &Node, follow: First) -> First {
    match node {
        Node::Empty => follow,
        Node::Set(set) => First::of(*set),
        // Nothing stands behind the end; behind the end of a line a line feed does, or nothing.
        Node::Look(Look::End) => First::of(ByteSet::EMPTY),
        Node::Look(Look::EndLF) | Node::LastLine => First::of(ByteSet::of(b"\n")),
        Node::Look(_) | Node::Around { .. } => First { has_look: true, ..follow },
        Node::Group(inner, _) | Node::Atomic(inner) => first_before(inner, follow),
        Node::Concat(nodes) => first_of(nodes, &follow),
        Node::Alternation(branches) => {
            let none = First { bytes: ByteSet::EMPTY, may_end: false, has_look: false };
            branches.iter().map(|branch| first_before(branch, follow)).fold(none, First::or)
        }
        Node::Repeat { node, min, .. } => {
            let once = first_before(node, follow);
            if *min == 0 { once.or(follow) } else { once }
        }
        Node::Back(_) => First { bytes: ByteSet::ALL, may_end: true, has_look: true },
    }
}

/// How many bytes it takes, if it is always as many.
pub(super) fn length(node: &Node) -> Option<usize> {
    match node {
        Node::Empty | Node::Look(_) => Some(0),
        Node::Set(_) => Some(1),
        Node::Group(inner, _) | Node::Atomic(inner) => length(inner),
        Node::Concat(nodes) => nodes.iter().try_fold(0_usize, |sum, node| sum.checked_add(length(node)?)),
        Node::Alternation(branches) => {
            let mut lengths = branches.iter().map(length);
            let first = lengths.next()??;
            lengths.all(|length| length == Some(first)).then_some(first)
        }
        Node::Repeat { node, min, max, .. } if *max == Some(*min) => {
            length(node)?.checked_mul(usize::try_from(*min).ok()?)
        }
        Node::Repeat { .. } | Node::LastLine | Node::Around { .. } | Node::Back(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{compiled, dialect};
    use super::*;

    fn is_match(expression: &str, text: &str) -> bool {
        let hir = lower(&dialect::parse(expression).unwrap()).unwrap();
        compiled(&hir).unwrap().is_match(text)
    }

    /// Against what PCRE finds.
    #[test]
    fn runs_give_nothing_back() {
        for (expression, text, want) in [
            (r"^\s*+;$", "  ;", true),
            (r"^a=\s*+[^;]+$", "a=  ", false),
            (r"^a=\s*+[^;]+$", "a=  x", true),
            (r"^a=\s*+[^;]+$", "a=x y", true),
            (r"^a++\w$", "aab", true),
            (r"^a++\w$", "aa", false),
            (r"^a*+\s*(?:b|a)", "a a", true),
            (r"^a*+\s*[ab]", "aa", false),
            (r"^(?>a+)[ab]", "aa", false),
            (r"^(?>a+)[ab]", "aab", true),
            (r"^(?>ab|cd)e", "cde", true),
            (r"^a{2,3}+b", "aaab", true),
            (r"a?+$", "b", true),
            (r"x(?:ab)*+", "xab", true),
            (r"^\R", "\r\n", true),
            (r"^(?:a\s*+;|b)*$", "a  ;b", true),
            (r"a\Z", "a\n", true),
            (r"a\Z", "a\n\n", false),
            (r"a\z", "a\n", false),
            (r"a$", "a\n", false),
            (r"(?m)a$", "a\nb", true),
            (r"a.b", "a\nb", true),
        ] {
            assert_eq!(is_match(expression, text), want, "{expression} {text:?}");
        }
    }

    #[test]
    fn what_has_no_plain_form_is_refused() {
        for expression in [
            r"a{1,2}+a",
            r"(?:ab)*+a",
            r"(?>a|ab)c",
            r"\w*+\b",
            r"(?:a*+)*a",
            r"a*+(b)?a",
            r"\Zx",
            r"(?:\s*+\Z)",
            r"(a)\1",
        ] {
            assert!(lower(&dialect::parse(expression).unwrap()).is_err(), "{expression}");
        }
    }

    /// It would be written out over and over.
    #[test]
    fn runs_behind_runs_do_not_grow() {
        let many = format!("{}z", "a*+b?".repeat(5_000));
        drop(lower(&dialect::parse(&many).unwrap()));
        let absent = format!("a*+{}z", "[ab]?".repeat(5_000));
        assert!(lower(&dialect::parse(&absent).unwrap()).is_err());
    }
}
