// SPDX-License-Identifier: Apache-2.0
//! From what an expression says to what the matcher runs. Possessive repetitions and atomic groups have no counterpart
//! there: they are written in a plain form where one is exactly equal, and refused where none is found.

use regex_syntax::hir::{Capture, Class, ClassBytes, ClassBytesRange, Hir, Look, Repetition};

use super::dialect::{Greed, Node};
use crate::byte_set::ByteSet;

/// How much may be written twice to say what a possessive repetition says.
const COPIED_MAX: usize = 20_000;

/// The matcher's form of an expression without lookaround.
pub(super) fn lower(node: &Node) -> Result<Hir, String> {
    Lowering { copies_left: COPIED_MAX }.node(node, &First::END)
}

/// What may come next.
#[derive(Clone, Copy, Debug)]
struct First {
    /// With which bytes it may begin.
    bytes: ByteSet,
    /// With which it may begin too, where it may go on just as well without them: `\s*` before what follows.
    optional: ByteSet,
    /// Whether the expression may be over here.
    may_end: bool,
    /// Whether a place stands between here and there.
    has_look: bool,
}

impl First {
    const NEVER: Self =
        Self { bytes: ByteSet::EMPTY, optional: ByteSet::EMPTY, may_end: false, has_look: false };
    const END: Self = Self { may_end: true, ..Self::NEVER };

    const fn of(bytes: ByteSet) -> Self {
        Self { bytes, ..Self::NEVER }
    }

    fn or(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.union(other.bytes),
            optional: self.optional.union(other.optional),
            may_end: self.may_end || other.may_end,
            has_look: self.has_look || other.has_look,
        }
    }

    const fn is_end(&self) -> bool {
        self.bytes.is_empty() && self.optional.is_empty() && self.may_end && !self.has_look
    }

    /// Whether the most of these bytes is what a plain repetition comes to as well: whatever follows begins with
    /// another byte, or can do without those it shares, or nothing need follow.
    fn ends_run(&self, run: &Run) -> bool {
        let is_shared = self.optional.meets(&run.set);
        let is_within = run.is_unbounded && self.optional.union(run.set) == run.set && !self.has_look;
        !(self.bytes.meets(&run.set) || is_shared && !is_within || self.may_end && self.has_look)
    }
}

struct Lowering {
    copies_left: usize,
}

impl Lowering {
    fn node(&mut self, node: &Node, follow: &First) -> Result<Hir, String> {
        Ok(match node {
            Node::Empty => Hir::empty(),
            Node::Set(set) => class(*set),
            Node::Look(look) => Hir::look(*look),
            Node::LastLine => last_line(follow)?,
            Node::Group(inner, None) => self.node(inner, follow)?,
            Node::Group(inner, Some(index)) => {
                Hir::capture(Capture { index: *index, name: None, sub: Box::new(self.node(inner, follow)?) })
            }
            Node::Concat(nodes) => self.concat(nodes, follow)?,
            Node::Alternation(branches) => Hir::alternation(
                branches.iter().map(|branch| self.node(branch, follow)).collect::<Result<_, _>>()?,
            ),
            Node::Repeat { greed: Greed::Possessive, .. } | Node::Atomic(_) => {
                self.unyielding(node, follow)?
            }
            Node::Repeat { node, min, max, greed } => {
                let inside = first_before(node, *follow).or(*follow);
                repeat(self.node(node, &inside)?, *min, *max, *greed)
            }
            Node::Around { .. } => return Err("lookaround cannot be expressed here".into()),
            Node::Back(_) => return Err("back references cannot be expressed".into()),
        })
    }

    fn concat(&mut self, nodes: &[Node], follow: &First) -> Result<Hir, String> {
        let mut follows = vec![*follow; nodes.len()];
        let mut next = *follow;
        for (slot, node) in follows.iter_mut().zip(nodes).rev() {
            *slot = next;
            next = first_before(node, next);
        }
        let mut parts = Vec::with_capacity(nodes.len());
        for (index, (node, behind)) in nodes.iter().zip(&follows).enumerate() {
            match run_of(node).filter(|run| run.is_unbounded && !behind.is_end() && !behind.ends_run(run)) {
                None => parts.push(self.node(node, behind)?),
                Some(run) => {
                    let rest = nodes.get(index + 1..).unwrap_or_default();
                    let rest = self.begun_otherwise(rest, &run, follow).ok_or(UNYIELDING)?;
                    parts.push(self.node(&plain(node), behind)?);
                    parts.push(self.node(&rest, follow)?);
                    break;
                }
            }
        }
        Ok(Hir::concat(parts))
    }

    /// A possessive repetition or an atomic group, if its plain form is equal.
    fn unyielding(&mut self, node: &Node, follow: &First) -> Result<Hir, String> {
        let is_equal = follow.is_end()
            || run_of(node).is_some_and(|run| follow.ends_run(&run))
            || matches!(node, Node::Atomic(inner) if length(inner).is_some());
        if !is_equal {
            return Err(UNYIELDING.into());
        }
        self.node(&plain(node), follow)
    }

    /// The same, of what does not begin with a byte of the run: what may follow all of them that there were.
    fn begun_otherwise(&mut self, nodes: &[Node], run: &Run, follow: &First) -> Option<Node> {
        let mut branches = Vec::new();
        for index in 0..=nodes.len() {
            let rest = nodes.get(index..).unwrap_or_default();
            let size = rest.iter().try_fold(1_usize, |sum, node| sum.checked_add(copied_size(node)?))?;
            self.copies_left = self.copies_left.checked_sub(size)?;
            if first_of(rest, *follow).ends_run(run) {
                branches.push(Node::Concat(rest.to_vec()));
                break;
            }
            let (node, behind) = rest.split_first()?;
            let begun = std::iter::once(first_byte_outside(node, run.set)?);
            branches.push(Node::Concat(begun.chain(behind.iter().cloned()).collect()));
            if !first_before(node, First::END).may_end {
                break;
            }
        }
        Some(Node::Alternation(branches))
    }
}

const UNYIELDING: &str = "a possessive repetition or an atomic group whose plain form would mean something else cannot be expressed";

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

fn first_byte_outside(node: &Node, set: ByteSet) -> Option<Node> {
    let outside = |bytes: &ByteSet| Node::Set(set.union(bytes.complement()).complement());
    match node {
        Node::Set(bytes) => Some(outside(bytes)),
        Node::Group(inner, None) => first_byte_outside(inner, set),
        Node::Alternation(branches) => {
            let branches: Option<_> = branches.iter().map(|branch| first_byte_outside(branch, set)).collect();
            branches.map(Node::Alternation)
        }
        Node::Concat(nodes) => {
            let (first, rest) = nodes.split_first()?;
            let begins = !first_before(first, First::END).may_end;
            let first = first_byte_outside(first, set).filter(|_| begins)?;
            Some(Node::Concat(std::iter::once(first).chain(rest.iter().cloned()).collect()))
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
            let first = first_before(other, First::END);
            (!first.may_end && !first.bytes.union(first.optional).meets(&set)).then(|| other.clone())
        }
    }
}

/// How much it is, if it may stand twice in an expression: groups that capture must not.
fn copied_size(node: &Node) -> Option<usize> {
    let inner = match node {
        Node::Empty | Node::Set(_) | Node::Look(_) | Node::LastLine => 0,
        Node::Group(_, Some(_)) | Node::Around { .. } | Node::Back(_) => return None,
        Node::Group(inner, None) | Node::Atomic(inner) | Node::Repeat { node: inner, .. } => {
            copied_size(inner)?
        }
        Node::Concat(nodes) | Node::Alternation(nodes) => {
            nodes.iter().try_fold(0_usize, |sum, node| sum.checked_add(copied_size(node)?))?
        }
    };
    inner.checked_add(1)
}

fn first_of(nodes: &[Node], follow: First) -> First {
    nodes.iter().rev().fold(follow, |follow, node| first_before(node, follow))
}

/// With what a thing may begin, if `follow` comes behind it.
fn first_before(node: &Node, follow: First) -> First {
    match node {
        Node::Empty => follow,
        Node::Set(set) => First::of(*set),
        // Nothing stands behind the end; behind the end of a line a line feed does, or nothing.
        Node::Look(Look::End) => First::NEVER,
        Node::Look(Look::EndLF) | Node::LastLine => First::of(ByteSet::of(b"\n")),
        Node::Look(_) | Node::Around { .. } => First { has_look: true, ..follow },
        Node::Group(inner, _) | Node::Atomic(inner) => first_before(inner, follow),
        Node::Concat(nodes) => first_of(nodes, follow),
        Node::Alternation(branches) => {
            branches.iter().map(|branch| first_before(branch, follow)).fold(First::NEVER, First::or)
        }
        Node::Repeat { node, min, .. } => match node.as_ref() {
            Node::Set(set) if *min == 0 => First { optional: follow.optional.union(*set), ..follow },
            node if *min == 0 => first_before(node, follow).or(follow),
            node => first_before(node, follow),
        },
        Node::Back(_) => First { bytes: ByteSet::ALL, may_end: true, has_look: true, ..First::NEVER },
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
    use proptest::prelude::*;

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
            (r"^;\s*+(?:[^;]+|;?)(?:\s*+;)*$", ";  ;", true),
            (r"^;\s*+(?:[^;x]+|;?)(?:\s*+;)*$", ";  y ;", true),
            (r"^;\s*+(?:[^;x]+|;?)x$", ";  x", true),
            (r"^;\s*+[^;x]+x$", ";  x", false),
            (r"^\s*+(?:\s*b|c)", "  b", true),
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
            r"\s*+(?m:^)\s*b",
            r"(a)\1",
        ] {
            assert!(lower(&dialect::parse(expression).unwrap()).is_err(), "{expression}");
        }
    }

    /// Every way to read it in PCRE's order: whether one of them goes on to the end of `then`.
    fn backtrack(node: &Node, text: &[u8], at: usize, then: &mut dyn FnMut(usize) -> bool) -> bool {
        match node {
            Node::Empty => then(at),
            Node::Set(set) => text.get(at).is_some_and(|byte| set.contains(*byte)) && then(at + 1),
            Node::Look(look) => look_holds(*look, text, at) && then(at),
            Node::Group(inner, _) => backtrack(inner, text, at, then),
            Node::Concat(nodes) => match nodes.split_first() {
                None => then(at),
                Some((first, rest)) => {
                    let rest = Node::Concat(rest.to_vec());
                    backtrack(first, text, at, &mut |at| backtrack(&rest, text, at, then))
                }
            },
            Node::Alternation(branches) => branches.iter().any(|branch| backtrack(branch, text, at, then)),
            Node::Atomic(inner) => {
                let mut end = None;
                backtrack(inner, text, at, &mut |at| {
                    end = Some(at);
                    true
                });
                end.is_some_and(then)
            }
            Node::Repeat { node, min, max, greed: Greed::Possessive } => {
                let greedy = Node::Repeat { node: node.clone(), min: *min, max: *max, greed: Greed::Greedy };
                backtrack(&Node::Atomic(Box::new(greedy)), text, at, then)
            }
            Node::Repeat { node, min, max, greed } => {
                let fewer = |count: u32| count.saturating_sub(1);
                let more =
                    Node::Repeat { node: node.clone(), min: fewer(*min), max: max.map(fewer), greed: *greed };
                let once = |then: &mut dyn FnMut(usize) -> bool| {
                    *max != Some(0)
                        && backtrack(node, text, at, &mut |end| {
                            (end > at || *min > 0) && backtrack(&more, text, end, then)
                        })
                };
                match greed {
                    Greed::Lazy => *min == 0 && then(at) || once(then),
                    _ => once(then) || *min == 0 && then(at),
                }
            }
            Node::LastLine | Node::Around { .. } | Node::Back(_) => false,
        }
    }

    fn look_holds(look: Look, text: &[u8], at: usize) -> bool {
        let is_word =
            |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(u8::is_ascii_alphanumeric);
        match look {
            Look::Start => at == 0,
            Look::End => at == text.len(),
            Look::WordAscii => is_word(at.checked_sub(1)) != is_word(Some(at)),
            _ => false,
        }
    }

    fn expressions() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("a"),
            Just("b"),
            Just(";"),
            Just(r"\s"),
            Just(r"\w"),
            Just("[ab]"),
            Just("[^a]"),
            Just("[^;]"),
            Just("$"),
            Just(r"\b"),
            Just("a?"),
            Just(r"\s*"),
            Just(r"\s*+"),
            Just("a++"),
            Just("[ab]*+"),
            Just(r"\w{1,2}+"),
            Just("a?+"),
        ];
        piece.prop_map(str::to_owned).prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                3 => proptest::collection::vec(inner.clone(), 1..5).prop_map(|parts| parts.concat()),
                1 => proptest::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("(?:{})", parts.join("|"))),
                1 => (inner.clone(), r"[*+?][+?]?").prop_map(|(part, times)| format!("(?:{part}){times}")),
                1 => inner.prop_map(|part| format!("(?>{part})")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// What is not refused means what it says.
        #[test]
        fn plain_forms_are_equal(
            expression in expressions(), texts in proptest::collection::vec("[ab; ]{0,7}", 12),
        ) {
            let Ok(node) = dialect::parse(&expression) else { return Ok(()) };
            let Ok(hir) = lower(&node) else { return Ok(()) };
            let regex = compiled(&hir).unwrap();
            for text in texts {
                let slow = (0..=text.len()).any(|at| backtrack(&node, text.as_bytes(), at, &mut |_| true));
                prop_assert_eq!(regex.is_match(&text), slow, "{} {:?}", expression, text);
            }
        }
    }

    /// It would be written out over and over.
    #[test]
    fn runs_behind_runs_do_not_grow() {
        let many = format!("{}z", "a*+b?".repeat(5_000));
        drop(lower(&dialect::parse(&many).unwrap()));
        let nested = format!("{}z", "a*+(?:b|[ac]".repeat(100)) + &")".repeat(100);
        drop(lower(&dialect::parse(&nested).unwrap()));
        let absent = format!("a*+{}z", "(?:[ab]c)?".repeat(5_000));
        assert!(lower(&dialect::parse(&absent).unwrap()).is_err());
    }
}
