// SPDX-License-Identifier: Apache-2.0
//! What must stand in a text for an expression to find something in it.
//!
//! Of every part of the expression three things are known: with what its matches begin and end (or all of them, when
//! they are few), the best set of literals of which each match has one, and sets of bytes of each of which it has one.
//! Everything is in lower case, and looked for in whatever case: that only makes it true more often.

use regex_syntax::hir::{Class, Hir, HirKind, Literal, Repetition};

use crate::byte_set::ByteSet;
use crate::operators::Needs;

/// Literals of one expression.
const LITERALS_MAX: usize = 500;
/// Bytes of one literal. More than that hardly makes it rarer.
const LITERAL_BYTES_MAX: usize = 24;
/// Shorter ones stand everywhere, but for bytes that ordinary text hardly has.
const LITERAL_BYTES_MIN: usize = 2;
/// As [`byte_frequency`] has it.
const RARE_BYTE: f64 = 1.0 / 100.0;
/// Letters of a class that are written out.
const CLASS_MAX: usize = 16;
/// Sets of bytes of one expression.
const SETS_MAX: usize = 8;
/// Sets of bytes that are carried along.
const SETS_CARRIED_MAX: usize = 24;
/// A set of more bytes than that is met by nearly everything.
const SET_BYTES_MAX: u32 = 100;
/// Copies of a repetition that are written out.
const COPIES_MAX: u32 = 4;

/// What must stand in a text in which the expression finds something. It is never too much; it may be nothing.
pub(crate) fn needs_of(hir: &Hir) -> Needs {
    let known = Known::of(hir);
    let any_of = known.literals().map(|literals| literals.simplified().0).unwrap_or_default();
    let mut bytes = known.bytes;
    bytes.retain(|set| set.len() <= SET_BYTES_MAX);
    bytes.truncate(SETS_MAX);
    Needs { any_of, is_exact: false, bytes }
}

/// What a text stands for: it, in lower case, as a literal, when it is long enough to be one, and its bytes.
pub(crate) fn needs_of_text(text: &[u8]) -> Needs {
    let any_of = if text.len() < LITERAL_BYTES_MIN { Vec::new() } else { vec![text.to_ascii_lowercase()] };
    let mut bytes = text.iter().map(|byte| with_both_cases(*byte)).collect();
    simplify(&mut bytes);
    bytes.truncate(SETS_MAX);
    Needs { any_of, is_exact: false, bytes }
}

fn with_both_cases(byte: u8) -> ByteSet {
    ByteSet::EMPTY.with(byte.to_ascii_lowercase()).with(byte.to_ascii_uppercase())
}

/// A few texts, in lower case.
#[derive(Clone, Debug, PartialEq)]
struct Literals(Vec<Vec<u8>>);

impl Literals {
    fn empty() -> Self {
        Self(vec![Vec::new()])
    }

    fn of(mut texts: Vec<Vec<u8>>) -> Self {
        texts.sort_unstable();
        texts.dedup();
        Self(texts)
    }

    /// Each of these and then each of those, if that is not too many, nor too long.
    fn followed_by(&self, other: &Self) -> Option<Self> {
        let count = self.0.len().checked_mul(other.0.len())?;
        let longest = |texts: &[Vec<u8>]| texts.iter().map(Vec::len).max().unwrap_or(0);
        if count > LITERALS_MAX || longest(&self.0) + longest(&other.0) > LITERAL_BYTES_MAX {
            return None;
        }
        let pairs =
            self.0.iter().flat_map(|first| other.0.iter().map(move |last| [first.as_slice(), last].concat()));
        Some(Self::of(pairs.collect()))
    }

    fn or(&self, other: &Self) -> Option<Self> {
        (self.0.len() + other.0.len() <= LITERALS_MAX)
            .then(|| Self::of(self.0.iter().chain(&other.0).cloned().collect()))
    }

    /// Without those in which another stands: it is found wherever they are.
    fn simplified(&self) -> Self {
        let has_another = |text: &Vec<u8>| {
            self.0.iter().any(|other| other.len() < text.len() && memchr::memmem::find(text, other).is_some())
        };
        Self(self.0.iter().filter(|text| !has_another(text)).cloned().collect())
    }

    /// How often one of them stands in a text by chance, about. Not a number when one is too short to be looked for.
    fn frequency(&self) -> f64 {
        self.0
            .iter()
            .map(|text| {
                let by_chance = text.iter().map(|byte| byte_frequency(*byte)).product::<f64>();
                let is_found_everywhere = match text.as_slice() {
                    [] => true,
                    [_] => by_chance > RARE_BYTE,
                    _ => false,
                };
                if is_found_everywhere { f64::INFINITY } else { by_chance }
            })
            .sum()
    }

    fn is_usable(&self) -> bool {
        self.frequency().is_finite()
    }

    /// What looking for them costs: many are only worth it when they are much rarer.
    fn cost(&self) -> f64 {
        let count = u32::try_from(self.0.len()).map_or(f64::INFINITY, f64::from);
        self.frequency() * count * count
    }

    fn better_of(self, other: Self) -> Self {
        if other.cost() < self.cost() { other } else { self }
    }
}

/// How often a byte stands in what is sent, about.
fn byte_frequency(byte: u8) -> f64 {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b' ' => 1.0 / 16.0,
        b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'=' | b'%' | b'&' => 1.0 / 32.0,
        _ => RARE_BYTE,
    }
}

#[derive(Clone, Debug)]
struct Known {
    edges: Edges,
    /// Each match has one of these. `None`: nothing is known.
    inner: Option<Literals>,
    /// Each match has a byte of each.
    bytes: Vec<ByteSet>,
}

#[derive(Clone, Debug)]
enum Edges {
    /// These are the matches.
    Exact(Literals),
    /// Each begins with one of the first, and ends with one of the last (they may overlap).
    Open(Literals, Literals),
}

impl Edges {
    fn unknown() -> Self {
        Self::Open(Literals::empty(), Literals::empty())
    }

    const fn first(&self) -> &Literals {
        match self {
            Self::Exact(all) | Self::Open(all, _) => all,
        }
    }

    const fn last(&self) -> &Literals {
        match self {
            Self::Exact(all) | Self::Open(_, all) => all,
        }
    }
}

impl Known {
    fn of(hir: &Hir) -> Self {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Self::exact(Literals::empty(), Vec::new()),
            HirKind::Literal(Literal(text)) => Self::text(text),
            HirKind::Class(class) => Self::class(class),
            HirKind::Repetition(repetition) => Self::repetition(repetition),
            HirKind::Capture(capture) => Self::of(&capture.sub),
            HirKind::Concat(parts) => Self::concat(parts.iter().map(Self::of)),
            HirKind::Alternation(branches) => {
                Self::alternation(&branches.iter().map(Self::of).collect::<Vec<_>>())
            }
        }
    }

    const fn exact(literals: Literals, bytes: Vec<ByteSet>) -> Self {
        Self { edges: Edges::Exact(literals), inner: None, bytes }
    }

    fn unknown() -> Self {
        Self { edges: Edges::unknown(), inner: None, bytes: Vec::new() }
    }

    fn text(text: &[u8]) -> Self {
        let pieces = text.chunks(LITERAL_BYTES_MAX).map(|piece| {
            let bytes = piece.iter().map(|byte| with_both_cases(*byte)).collect();
            Self::exact(Literals(vec![piece.to_ascii_lowercase()]), bytes)
        });
        Self::concat(pieces)
    }

    fn class(class: &Class) -> Self {
        let Some(bytes) = (match class {
            Class::Bytes(bytes) => Some(bytes.clone()),
            Class::Unicode(points) => points.to_byte_class(),
        }) else {
            return Self::unknown();
        };
        let set = bytes.ranges().iter().fold(ByteSet::EMPTY, |set, range| {
            (range.start()..=range.end()).fold(set, |set, byte| set.union(with_both_cases(byte)))
        });
        let letters: Vec<Vec<u8>> =
            set.bytes().filter(|byte| !byte.is_ascii_uppercase()).map(|byte| vec![byte]).collect();
        let edges =
            if letters.len() <= CLASS_MAX { Edges::Exact(Literals(letters)) } else { Edges::unknown() };
        Self { edges, inner: None, bytes: vec![set] }
    }

    fn repetition(repetition: &Repetition) -> Self {
        let once = Self::of(&repetition.sub);
        if repetition.min == 0 {
            return match (repetition.max, &once.edges) {
                (Some(0), _) => Self::exact(Literals::empty(), Vec::new()),
                (Some(1), Edges::Exact(all)) => all
                    .or(&Literals::empty())
                    .map_or_else(Self::unknown, |literals| Self::exact(literals, Vec::new())),
                _ => Self::unknown(),
            };
        }
        let copies = repetition.min.min(COPIES_MAX);
        let last = once.edges.last().clone();
        let mut known = Self::concat(std::iter::repeat_n(once, usize::try_from(copies).unwrap_or(1)));
        if repetition.max != Some(copies) {
            // More may follow; the last of them ends as they all do.
            known.inner = known.literals();
            known.edges = Edges::Open(known.edges.first().clone(), last);
        }
        known
    }

    fn concat(parts: impl Iterator<Item = Self>) -> Self {
        let mut sequence = Sequence::default();
        for part in parts {
            sequence.push(part);
        }
        sequence.finish()
    }

    fn alternation(branches: &[Self]) -> Self {
        let edges = edges_of_any(branches);
        let inner = match edges {
            Edges::Exact(_) => None,
            Edges::Open(..) => any_literals(branches),
        };
        Self { edges, inner, bytes: bytes_of_any(branches) }
    }

    /// The rarest literals of which each match has one.
    fn literals(&self) -> Option<Literals> {
        let edges = match &self.edges {
            Edges::Exact(all) => vec![all],
            Edges::Open(first, last) => vec![first, last],
        };
        edges
            .into_iter()
            .chain(&self.inner)
            .filter(|literals| literals.is_usable())
            .cloned()
            .reduce(Literals::better_of)
    }
}

/// One part after the other.
struct Sequence {
    /// With what it begins, once the end of that is known.
    first: Option<Literals>,
    /// With what it ends, so far.
    last: Literals,
    /// The end of that, back to where there was a choice.
    plain: Literals,
    inner: Option<Literals>,
    bytes: Vec<ByteSet>,
}

impl Default for Sequence {
    fn default() -> Self {
        let (last, plain) = (Literals::empty(), Literals::empty());
        Self { first: None, last, plain, inner: None, bytes: Vec::new() }
    }
}

impl Sequence {
    fn push(&mut self, part: Known) {
        self.bytes.extend(part.bytes);
        if let Some(inner) = part.inner {
            self.offer(&inner);
        }
        self.push_plain(&part.edges);
        match part.edges {
            Edges::Exact(all) => match self.last.followed_by(&all) {
                Some(longer) => self.last = longer,
                None => self.begin_again(all),
            },
            Edges::Open(first, last) => {
                if let Some(longer) = self.last.followed_by(&first) {
                    self.last = longer;
                } else {
                    self.offer(&first);
                }
                self.begin_again(last);
            }
        }
    }

    fn push_plain(&mut self, edges: &Edges) {
        let longer = match edges {
            Edges::Exact(all) if all.0.len() == 1 => self.plain.followed_by(all),
            _ => None,
        };
        let before = std::mem::replace(&mut self.plain, longer.clone().unwrap_or_else(Literals::empty));
        if longer.is_none() {
            self.offer(&before);
        }
    }

    fn begin_again(&mut self, last: Literals) {
        let before = std::mem::replace(&mut self.last, last);
        self.offer(&before);
        self.first.get_or_insert(before);
    }

    fn offer(&mut self, literals: &Literals) {
        if literals.is_usable() {
            let best = self.inner.take().unwrap_or_else(|| literals.clone());
            self.inner = Some(best.better_of(literals.clone()));
        }
    }

    fn finish(mut self) -> Known {
        simplify(&mut self.bytes);
        let plain = std::mem::replace(&mut self.plain, Literals::empty());
        self.offer(&plain);
        let edges = match self.first {
            None => Edges::Exact(self.last),
            Some(first) => Edges::Open(first, self.last),
        };
        Known { edges, inner: self.inner, bytes: self.bytes }
    }
}

fn edges_of_any(branches: &[Known]) -> Edges {
    let is_exact = branches.iter().all(|branch| matches!(branch.edges, Edges::Exact(_)));
    let first = union(branches.iter().map(|branch| Some(branch.edges.first().clone())));
    match first {
        Some(all) if is_exact => Edges::Exact(all),
        first => {
            let last = union(branches.iter().map(|branch| Some(branch.edges.last().clone())));
            Edges::Open(first.unwrap_or_else(Literals::empty), last.unwrap_or_else(Literals::empty))
        }
    }
}

/// The literals of all branches; their beginnings, if they are too many.
fn any_literals(branches: &[Known]) -> Option<Literals> {
    let all: Vec<Literals> = branches.iter().map(Known::literals).collect::<Option<_>>()?;
    let cut = |length: usize| {
        let texts = all.iter().flat_map(|literals| &literals.0);
        Literals::of(texts.map(|text| text.iter().take(length).copied().collect()).collect()).simplified()
    };
    let lengths = [LITERAL_BYTES_MAX, 8, 6, 5, 4, 3, LITERAL_BYTES_MIN];
    lengths.into_iter().map(cut).find(|literals| literals.0.len() <= LITERALS_MAX)
}

fn union(mut sets: impl Iterator<Item = Option<Literals>>) -> Option<Literals> {
    sets.try_fold(Literals(Vec::new()), |all, set| all.or(&set?))
}

/// For each set of the first branch, what it and the likest set of each other branch have together.
fn bytes_of_any(branches: &[Known]) -> Vec<ByteSet> {
    let Some((first, others)) = branches.split_first() else { return Vec::new() };
    let with_likest =
        |set: ByteSet, branch: &Known| branch.bytes.iter().map(|other| set.union(*other)).min_by(rarer);
    let mut bytes =
        first.bytes.iter().filter_map(|set| others.iter().try_fold(*set, with_likest)).collect::<Vec<_>>();
    simplify(&mut bytes);
    bytes
}

fn rarer(one: &ByteSet, other: &ByteSet) -> std::cmp::Ordering {
    let frequency = |set: &ByteSet| set.bytes().map(byte_frequency).sum::<f64>();
    frequency(one).total_cmp(&frequency(other))
}

/// The rarest first, without those of which another is a part, nor all too many.
fn simplify(bytes: &mut Vec<ByteSet>) {
    bytes.sort_by(rarer);
    let mut kept: Vec<ByteSet> = Vec::new();
    for set in bytes.iter() {
        let is_wider = kept.iter().any(|narrow| narrow.union(*set) == *set);
        if !is_wider && kept.len() < SETS_CARRIED_MAX {
            kept.push(*set);
        }
    }
    *bytes = kept;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex_automata::meta;

    use super::*;

    fn parsed(text: &str) -> Hir {
        let mut parser = regex_syntax::ParserBuilder::new();
        parser.unicode(false).utf8(false).dot_matches_new_line(true).build().parse(text).unwrap()
    }

    fn hold(needs: &Needs, text: &[u8]) -> bool {
        let text = text.to_ascii_lowercase();
        let present = text.iter().fold(ByteSet::EMPTY, |set, byte| set.union(with_both_cases(*byte)));
        let stands = |literal: &Vec<u8>| memchr::memmem::find(&text, literal).is_some();
        (needs.any_of.is_empty() || needs.any_of.iter().any(stands))
            && needs.bytes.iter().all(|set| set.meets(&present))
    }

    #[test]
    fn the_rarest_literals_are_found() {
        for (expression, want) in [
            ("select", "select"),
            ("(?i)union select", "union select"),
            (r"(?i)union\s+select", "select"),
            ("gr[ae]y", "gray grey"),
            ("colou?r", "color colour"),
            ("(?:foo|bar)baz", "barbaz foobaz"),
            ("foo|bar|", ""),
            ("fo+", "fo"),
            ("(?:ab)+", "ab"),
            ("a.{0,3}bcd.*ef", "bcd"),
            (r"<(?:script|img)\b", "<img <script"),
            (r"on[a-z]+\s*=", "on"),
            ("a|bcd", ""),
            ("(?:abc)?", ""),
            ("x*", ""),
            ("^$", ""),
            ("(?:foo.*|bar.*)x", "bar foo"),
            ("(?:.*foo|.*bar)x", "barx foox"),
            ("abc|abcdef", "abc"),
            ("a{3}", "aaa"),
            ("a{3,}", "aaa"),
            ("a{9}", "aaaa"),
            ("[^a]b", ""),
            (r"\xff\xfe", "\\xff\\xfe"),
        ] {
            let found: Vec<String> = needs_of(&parsed(expression))
                .any_of
                .iter()
                .map(|text| text.escape_ascii().to_string())
                .collect();
            assert_eq!(found.join(" "), want, "{expression}");
        }
    }

    #[test]
    fn sets_of_bytes_are_found() {
        for (expression, want) in [
            ("[;|&`].*x", vec![&b";|&`"[..], b"xX"]),
            (r"a\(|b\(", vec![b"("]),
            (r"a[^a]*[<>]", vec![b"<>", b"aA"]),
            ("a*", vec![]),
            ("[^a]", vec![]),
            ("a|b|", vec![]),
            ("[a-b]{2,}", vec![b"abAB"]),
            ("[ab]c|[bc]d", vec![b"cdCD", b"abdABD"]),
        ] {
            let want: Vec<ByteSet> = want.into_iter().map(ByteSet::of).collect();
            assert_eq!(needs_of(&parsed(expression)).bytes, want, "{expression}");
        }
    }

    #[test]
    fn a_text_stands_for_itself() {
        let needs = needs_of_text(b"Ab");
        assert_eq!(needs.any_of, [b"ab".to_vec()]);
        assert!(hold(&needs, b"xaBx") && !hold(&needs, b"ba"));
        assert!(needs_of_text(b"#").any_of.is_empty());
        assert_eq!(needs_of_text(b"#").bytes, [ByteSet::of(b"#")]);
        assert_eq!(needs_of_text(b""), Needs::default());
    }

    fn expressions() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "[abcA<= ]{1,3}",
            r"\[\^?[abc<]{1,2}(-z)?\]",
            Just(".".to_owned()),
            Just(r"\s".to_owned()),
            Just(r"\b".to_owned()),
            Just("^".to_owned()),
            Just("$".to_owned()),
        ];
        piece.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                proptest::collection::vec(inner.clone(), 1..4)
                    .prop_map(|parts| format!("(?:{})", parts.join("|"))),
                (inner.clone(), r"\*|\+|\?|\*\?|\{[0-3]\}|\{[01],[2-7]\}|\{[0-6],\}")
                    .prop_map(|(part, times)| format!("(?:{part}){times}")),
                inner.clone().prop_map(|part| format!("(?i:{part})")),
                inner.prop_map(|part| format!("({part})")),
            ]
        })
    }

    /// A text that the expression likes, if the choices are good ones.
    fn sample(hir: &Hir, choices: &mut impl Iterator<Item = u8>, text: &mut Vec<u8>) {
        let mut choose = |count: usize| usize::from(choices.next().unwrap_or(0)) % count.max(1);
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(Literal(literal)) => text.extend_from_slice(literal),
            HirKind::Class(Class::Bytes(bytes)) => {
                if let Some(range) = bytes.ranges().get(choose(bytes.ranges().len())) {
                    text.push(if choose(2) == 0 { range.start() } else { range.end() });
                }
            }
            HirKind::Class(Class::Unicode(_)) => {}
            HirKind::Repetition(repetition) => {
                let more = u32::try_from(choose(3)).unwrap();
                let most = repetition.max.unwrap_or(u32::MAX);
                for _ in 0..repetition.min.saturating_add(more).min(most) {
                    sample(&repetition.sub, choices, text);
                }
            }
            HirKind::Capture(capture) => sample(&capture.sub, choices, text),
            HirKind::Concat(parts) => parts.iter().for_each(|part| sample(part, choices, text)),
            HirKind::Alternation(branches) => {
                if let Some(branch) = branches.get(choose(branches.len())) {
                    sample(branch, choices, text);
                }
            }
        }
    }

    fn matcher(hir: &Hir) -> meta::Regex {
        let config = meta::Config::new().utf8_empty(false);
        meta::Builder::new().configure(config).build_from_hir(hir).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_matches_has_what_it_needs(
            expression in expressions(),
            texts in proptest::collection::vec("[abcdABz<=> \n]{0,12}", 8),
            choices in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 40), 8),
        ) {
            let hir = parsed(&expression);
            let needs = needs_of(&hir);
            prop_assert!(needs.any_of.len() <= LITERALS_MAX && needs.bytes.len() <= SETS_MAX);
            prop_assert!(needs.any_of.is_empty() || Literals(needs.any_of.clone()).is_usable());
            let regex = matcher(&hir);
            let samples = choices.into_iter().map(|choices| {
                let mut text = b"z".to_vec();
                sample(&hir, &mut choices.into_iter(), &mut text);
                text
            });
            for text in texts.into_iter().map(String::into_bytes).chain(samples) {
                if regex.is_match(&text) {
                    prop_assert!(hold(&needs, &text), "{expression} {:?} {needs:?}", text.escape_ascii().to_string());
                }
            }
        }
    }
}
