// SPDX-License-Identifier: Apache-2.0
//! Reads an expression as PCRE reads it without its Unicode mode: bytes, ASCII letters in either case under `(?i)`, `.`
//! for any byte, `$` for the very end. The crate's own syntax differs in small things that change meanings
//! (`[a[b]`, `\v`, `a*+`, `(?<!`), so that it is not asked.

use regex_syntax::hir::Look;

use crate::byte_set::ByteSet;

/// How deep groups may stand in one another. PCRE's own bound is 250.
const DEPTH_MAX: u32 = 200;
/// Bytes of one expression. The longest of the Core Rule Set has 12,285.
const LENGTH_MAX: usize = 128 * 1024;
/// How often something may be repeated by number. PCRE's own bound.
const REPEAT_MAX: u32 = 65_535;

/// What an expression says. Flags are worked in: a set under `(?i)` has both cases.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// Nothing.
    Empty,
    /// One byte of these.
    Set(ByteSet),
    /// A place.
    Look(Look),
    /// `\Z`: the end, or before a last line feed.
    LastLine,
    /// A group, with its number if it captures.
    Group(Box<Self>, Option<u32>),
    /// One after the other.
    Concat(Vec<Self>),
    /// One of them, the first that fits.
    Alternation(Vec<Self>),
    /// Again and again.
    Repeat {
        /// What.
        node: Box<Self>,
        /// At least so often.
        min: u32,
        /// At most.
        max: Option<u32>,
        /// Which is tried first.
        greed: Greed,
    },
    /// `(?>…)`: what it took it never gives back.
    Atomic(Box<Self>),
    /// `(?=…)`, `(?!…)`, `(?<=…)`, `(?<!…)`
    Around {
        /// Whether it looks at what comes.
        is_ahead: bool,
        /// Whether it must not stand there.
        is_negative: bool,
        /// What.
        node: Box<Self>,
    },
    /// `\1`
    Back(u32),
}

/// How much a repetition takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greed {
    /// The most first.
    Greedy,
    /// The least first.
    Lazy,
    /// `*+`: the most, and none of it back.
    Possessive,
}

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    if text.len() > LENGTH_MAX {
        return Err(format!("an expression of {} bytes is longer than {LENGTH_MAX}", text.len()));
    }
    let mut parser =
        Parser { text: text.as_bytes(), at: 0, flags: Flags::default(), groups: 0, is_quoted: false };
    let node = parser.alternation(0)?;
    if parser.at < parser.text.len() {
        return Err(parser.error("`)` without `(`"));
    }
    Ok(node)
}

#[derive(Clone, Copy)]
struct Flags {
    ignore_case: bool,
    multi_line: bool,
    dot_all: bool,
    extended: bool,
    swap_greed: bool,
}

impl Default for Flags {
    fn default() -> Self {
        Self { ignore_case: false, multi_line: false, dot_all: true, extended: false, swap_greed: false }
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    flags: Flags,
    groups: u32,
    is_quoted: bool,
}

impl Parser<'_> {
    fn error(&self, what: &str) -> String {
        format!("{what} (at byte {} of the expression)", self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn eat(&mut self, token: &[u8]) -> bool {
        let is_there = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(token));
        if is_there {
            self.at += token.len();
        }
        is_there
    }

    fn alternation(&mut self, depth: u32) -> Result<Node, String> {
        if depth > DEPTH_MAX {
            return Err(self.error("groups stand too deep in one another"));
        }
        let mut branches = vec![self.concat(depth)?];
        while self.eat(b"|") {
            branches.push(self.concat(depth)?);
        }
        Ok(if branches.len() == 1 { branches.remove(0) } else { Node::Alternation(branches) })
    }

    fn concat(&mut self, depth: u32) -> Result<Node, String> {
        let mut nodes = Vec::new();
        while let Some(byte) = self.peek() {
            if self.is_quoted {
                self.quoted(byte, &mut nodes)?;
                continue;
            }
            if matches!(byte, b'|' | b')') {
                break;
            }
            if self.skipped(byte) {
                continue;
            }
            if let Some(node) = self.atom(depth)? {
                let node = self.quantified(node)?;
                nodes.push(node);
            }
        }
        Ok(match nodes.len() {
            0 => Node::Empty,
            1 => nodes.remove(0),
            _ => Node::Concat(nodes),
        })
    }

    /// What stands between `\Q` and `\E`.
    fn quoted(&mut self, byte: u8, nodes: &mut Vec<Node>) -> Result<(), String> {
        if self.eat(br"\E") {
            self.is_quoted = false;
            return Ok(());
        }
        self.at += 1;
        let mut node = self.literal(byte);
        if self.eat(br"\E") {
            self.is_quoted = false;
            node = self.quantified(node)?;
        }
        nodes.push(node);
        Ok(())
    }

    /// Blanks and comments under `(?x)`.
    fn skipped(&mut self, byte: u8) -> bool {
        if !self.flags.extended {
            return false;
        }
        if byte == b'#' {
            while self.next().is_some_and(|byte| byte != b'\n') {}
            return true;
        }
        let is_blank = SPACE.contains(byte);
        self.at += usize::from(is_blank);
        is_blank
    }

    fn literal(&self, byte: u8) -> Node {
        Node::Set(self.folded(ByteSet::EMPTY.with(byte)))
    }

    fn folded(&self, set: ByteSet) -> ByteSet {
        if self.flags.ignore_case { set.bytes().fold(set, with_both_cases) } else { set }
    }

    fn atom(&mut self, depth: u32) -> Result<Option<Node>, String> {
        let Some(byte) = self.next() else { return Ok(None) };
        let node = match byte {
            b'(' => return self.group(depth),
            b'[' => Node::Set(self.class()?),
            b'.' if self.flags.dot_all => Node::Set(ByteSet::ALL),
            b'.' => Node::Set(LINE_FEED.complement()),
            b'^' if self.flags.multi_line => Node::Look(Look::StartLF),
            b'^' => Node::Look(Look::Start),
            b'$' if self.flags.multi_line => Node::Look(Look::EndLF),
            b'$' => Node::Look(Look::End),
            b'*' | b'+' | b'?' => return Err(self.error("nothing stands before a repetition")),
            b'\\' => return self.escape(),
            other => self.literal(other),
        };
        Ok(Some(node))
    }

    fn escape(&mut self) -> Result<Option<Node>, String> {
        let Some(byte) = self.next() else { return Err(self.error("a lone `\\` at the end")) };
        if let Some(set) = class_escape(byte) {
            return Ok(Some(Node::Set(set)));
        }
        let node = match byte {
            b'Q' => {
                self.is_quoted = true;
                return Ok(None);
            }
            b'E' => return Ok(None),
            b'A' => Node::Look(Look::Start),
            b'z' => Node::Look(Look::End),
            b'Z' => Node::LastLine,
            b'b' => Node::Look(Look::WordAscii),
            b'B' => Node::Look(Look::WordAsciiNegate),
            b'C' => Node::Set(ByteSet::ALL),
            b'R' => line_break(),
            b'1'..=b'9' => self.number(byte)?,
            b'g' | b'k' => return Err(self.error("back references cannot be expressed")),
            b'p' | b'P' | b'X' => {
                return Err(self.error("Unicode properties are not known: values are bytes"));
            }
            b'K' | b'G' => return Err(self.error("`\\K` and `\\G` cannot be expressed")),
            other => {
                let byte = self.byte_escape(other)?;
                self.literal(byte)
            }
        };
        Ok(Some(node))
    }

    /// `\1` is a group, `\12` is one if there are so many, or else octal.
    fn number(&mut self, first: u8) -> Result<Node, String> {
        let start = self.at;
        let mut number = u32::from(first - b'0');
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            number = number.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
            self.at += 1;
        }
        if number < 10 || number <= self.groups {
            return Ok(Node::Back(number));
        }
        self.at = start;
        let byte = self.octal(first)?;
        Ok(self.literal(byte))
    }

    fn octal(&mut self, first: u8) -> Result<u8, String> {
        let mut value = match first {
            b'0'..=b'7' => u32::from(first - b'0'),
            _ => return Err(self.error("not an octal number")),
        };
        for _ in 0..2 {
            let Some(digit @ b'0'..=b'7') = self.peek() else { break };
            value = value * 8 + u32::from(digit - b'0');
            self.at += 1;
        }
        u8::try_from(value).map_err(|_| self.error("an octal number over `\\377`"))
    }

    /// An escape that stands for one byte.
    fn byte_escape(&mut self, byte: u8) -> Result<u8, String> {
        Ok(match byte {
            b'a' => 0x07,
            b'e' => 0x1b,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => return self.hex(),
            b'0'..=b'7' => return self.octal(byte),
            b'c' => match self.next() {
                Some(key) if key.is_ascii_graphic() => key.to_ascii_uppercase() ^ 0x40,
                _ => return Err(self.error("`\\c` without a key")),
            },
            byte if byte.is_ascii_alphanumeric() => {
                return Err(self.error(&format!("`\\{}` is not known", char::from(byte))));
            }
            byte => byte,
        })
    }

    /// `\x41`, `\x{41}`, and `\x` alone for zero, as PCRE has it.
    fn hex(&mut self) -> Result<u8, String> {
        let is_braced = self.eat(b"{");
        let (mut value, mut digits) = (0_u32, 0);
        while let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(16)) {
            if !is_braced && digits == 2 {
                break;
            }
            value = value.saturating_mul(16).saturating_add(digit);
            digits += 1;
            self.at += 1;
        }
        if is_braced && (!self.eat(b"}") || digits == 0) {
            return Err(self.error("`\\x{` without its number and `}`"));
        }
        u8::try_from(value).map_err(|_| self.error("`\\x{…}` over ff: values are bytes"))
    }

    fn class(&mut self) -> Result<ByteSet, String> {
        let is_negated = self.eat(b"^");
        let mut set = ByteSet::EMPTY;
        let mut is_first = true;
        loop {
            let Some(byte) = self.next() else { return Err(self.error("`[` without `]`")) };
            if byte == b']' && !is_first && !self.is_quoted {
                break;
            }
            is_first = false;
            let Some(item) = self.class_item(byte)? else { continue };
            set = match (item, self.range_end()?) {
                (ClassItem::Byte(first), Some(last)) if first > last => {
                    return Err(self.error("a range that ends before it begins"));
                }
                (ClassItem::Byte(first), Some(last)) => set.union(ByteSet::range(first, last)),
                (ClassItem::Byte(byte), None) => set.with(byte),
                (ClassItem::Set(more), end) => {
                    let set = set.union(more);
                    end.map_or(set, |end| set.with(b'-').with(end))
                }
            };
        }
        let set = self.folded(set);
        Ok(if is_negated { set.complement() } else { set })
    }

    /// What a `-` leads to, when a byte stands behind it. Before `]` or a class it stands for itself, and so it stays.
    fn range_end(&mut self) -> Result<Option<u8>, String> {
        let start = self.at;
        if self.is_quoted || !self.eat(b"-") {
            return Ok(None);
        }
        if let Some(byte) = self.next()
            && byte != b']'
            && let Some(ClassItem::Byte(last)) = self.class_item(byte)?
        {
            return Ok(Some(last));
        }
        self.at = start;
        self.is_quoted = false;
        Ok(None)
    }

    fn class_item(&mut self, byte: u8) -> Result<Option<ClassItem>, String> {
        if self.is_quoted {
            if byte == b'\\' && self.eat(b"E") {
                self.is_quoted = false;
                return Ok(None);
            }
            return Ok(Some(ClassItem::Byte(byte)));
        }
        match byte {
            b'[' if matches!(self.peek(), Some(b':' | b'.' | b'=')) => self.posix(),
            b'\\' => {
                let Some(byte) = self.next() else { return Err(self.error("`[` without `]`")) };
                if let Some(set) = class_escape(byte).filter(|_| byte != b'N') {
                    return Ok(Some(ClassItem::Set(set)));
                }
                match byte {
                    b'Q' => self.is_quoted = true,
                    b'E' => {}
                    b'b' => return Ok(Some(ClassItem::Byte(0x08))),
                    other => return Ok(Some(ClassItem::Byte(self.byte_escape(other)?))),
                }
                Ok(None)
            }
            other => Ok(Some(ClassItem::Byte(other))),
        }
    }

    /// `[:alpha:]`; a `[` that begins nothing of the kind stands for itself.
    fn posix(&mut self) -> Result<Option<ClassItem>, String> {
        let kind = self.peek().unwrap_or(b':');
        let rest = self.text.get(self.at + 1..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| byte.is_ascii_alphabetic() || **byte == b'^').count();
        let (name, end) = rest.split_at(length);
        if !end.starts_with(&[kind, b']']) {
            return Ok(Some(ClassItem::Byte(b'[')));
        }
        let (is_negated, name) = name.strip_prefix(b"^").map_or((false, name), |name| (true, name));
        let known = POSIX.iter().find(|(known, _)| known.as_bytes() == name && kind == b':');
        let Some((_, set)) = known else { return Err(self.error("no such `[:class:]`")) };
        self.at += length + 3;
        Ok(Some(ClassItem::Set(if is_negated { set.complement() } else { *set })))
    }

    fn group(&mut self, depth: u32) -> Result<Option<Node>, String> {
        if self.eat(b"*") {
            return Err(self.error("verbs as in `(*ANY)` are not known"));
        }
        if self.eat(b"?#") {
            while self.next().ok_or_else(|| self.error("`(?#` without `)`"))? != b')' {}
            return Ok(None);
        }
        let outer = self.flags;
        let kind = self.group_kind()?;
        if matches!(kind, GroupKind::Flags) {
            return Ok(None);
        }
        let inner = Box::new(self.alternation(depth + 1)?);
        if !self.eat(b")") {
            return Err(self.error("`(` without `)`"));
        }
        self.flags = outer;
        Ok(Some(match kind {
            GroupKind::Capturing(number) => Node::Group(inner, Some(number)),
            GroupKind::Plain | GroupKind::Flags => Node::Group(inner, None),
            GroupKind::Atomic => Node::Atomic(inner),
            GroupKind::Around { is_ahead, is_negative } => {
                Node::Around { is_ahead, is_negative, node: inner }
            }
        }))
    }

    fn group_kind(&mut self) -> Result<GroupKind, String> {
        if !self.eat(b"?") {
            return Ok(self.capturing());
        }
        const KINDS: &[(&[u8], GroupKind)] = &[
            (b":", GroupKind::Plain),
            (b">", GroupKind::Atomic),
            (b"=", GroupKind::Around { is_ahead: true, is_negative: false }),
            (b"!", GroupKind::Around { is_ahead: true, is_negative: true }),
            (b"<=", GroupKind::Around { is_ahead: false, is_negative: false }),
            (b"<!", GroupKind::Around { is_ahead: false, is_negative: true }),
        ];
        if let Some((_, kind)) = KINDS.iter().find(|(token, _)| self.eat(token)) {
            return Ok(*kind);
        }
        if self.eat(b"P=") {
            return Err(self.error("back references cannot be expressed"));
        }
        for (open, close) in [(b"P<".as_slice(), b'>'), (b"<", b'>'), (b"'", b'\'')] {
            if self.eat(open) {
                return self.named(close);
            }
        }
        self.inline_flags()
    }

    fn capturing(&mut self) -> GroupKind {
        self.groups = self.groups.saturating_add(1);
        GroupKind::Capturing(self.groups)
    }

    fn named(&mut self, close: u8) -> Result<GroupKind, String> {
        loop {
            match self.next() {
                Some(byte) if byte == close => return Ok(self.capturing()),
                Some(byte) if byte.is_ascii_alphanumeric() || byte == b'_' => {}
                _ => return Err(self.error("the name of a group does not end")),
            }
        }
    }

    fn inline_flags(&mut self) -> Result<GroupKind, String> {
        let mut is_on = true;
        loop {
            match self.next() {
                Some(b'i') => self.flags.ignore_case = is_on,
                Some(b'm') => self.flags.multi_line = is_on,
                Some(b's') => self.flags.dot_all = is_on,
                Some(b'x') => self.flags.extended = is_on,
                Some(b'U') => self.flags.swap_greed = is_on,
                Some(b'-') if is_on => is_on = false,
                Some(b':') => return Ok(GroupKind::Plain),
                Some(b')') => return Ok(GroupKind::Flags),
                _ => return Err(self.error("groups of this kind `(?…)` cannot be expressed")),
            }
        }
    }

    fn quantified(&mut self, mut node: Node) -> Result<Node, String> {
        loop {
            while self.peek().is_some_and(|byte| !self.is_quoted && self.skipped(byte)) {}
            let start = self.at;
            let Some((min, max)) = self.bounds()? else { return Ok(node) };
            if matches!(node, Node::Around { .. }) {
                self.at = start;
                return Err(self.error("lookaround that is repeated cannot be expressed"));
            }
            let greed = if self.eat(b"+") {
                Greed::Possessive
            } else if self.eat(b"?") != self.flags.swap_greed {
                Greed::Lazy
            } else {
                Greed::Greedy
            };
            node = Node::Repeat { node: Box::new(node), min, max, greed };
            if matches!(self.peek(), Some(b'*' | b'+' | b'?')) {
                return Err(self.error("a repetition of a repetition"));
            }
        }
    }

    fn bounds(&mut self) -> Result<Option<(u32, Option<u32>)>, String> {
        let bounds = match self.peek() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => return self.counted(),
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(bounds))
    }

    /// `{2}`, `{2,}`, `{2,5}`. Anything else in braces stands for itself.
    fn counted(&mut self) -> Result<Option<(u32, Option<u32>)>, String> {
        let start = self.at;
        self.at += 1;
        let min = self.decimal();
        let max = if self.eat(b",") { self.decimal() } else { min };
        let Some(min) = min.filter(|_| self.eat(b"}")) else {
            self.at = start;
            return Ok(None);
        };
        let is_wrong =
            max.is_some_and(|max| max < min) || max.unwrap_or(min) > REPEAT_MAX || min > REPEAT_MAX;
        if is_wrong {
            return Err(self.error(&format!("a repetition in the wrong order, or over {REPEAT_MAX}")));
        }
        Ok(Some((min, max)))
    }

    fn decimal(&mut self) -> Option<u32> {
        let mut number = None;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            let before = number.unwrap_or(0_u32);
            number = Some(before.saturating_mul(10).saturating_add(u32::from(digit - b'0')));
            self.at += 1;
        }
        number
    }
}

enum ClassItem {
    Byte(u8),
    Set(ByteSet),
}

#[derive(Clone, Copy)]
enum GroupKind {
    Capturing(u32),
    Plain,
    Atomic,
    Around { is_ahead: bool, is_negative: bool },
    Flags,
}

/// The set with the byte in both cases.
pub(super) fn with_both_cases(set: ByteSet, byte: u8) -> ByteSet {
    set.with(byte.to_ascii_lowercase()).with(byte.to_ascii_uppercase())
}

/// Those that stand in and outside of `[…]`.
fn class_escape(byte: u8) -> Option<ByteSet> {
    Some(match byte {
        b'd' => DIGIT,
        b'D' => DIGIT.complement(),
        b'w' => WORD,
        b'W' => WORD.complement(),
        b's' => SPACE,
        b'S' => SPACE.complement(),
        b'h' => HORIZONTAL,
        b'H' => HORIZONTAL.complement(),
        b'v' => VERTICAL,
        b'V' => VERTICAL.complement(),
        b'N' => LINE_FEED.complement(),
        _ => return None,
    })
}

/// `\R`
fn line_break() -> Node {
    let pair = [b'\r', b'\n'].map(|byte| Node::Set(ByteSet::EMPTY.with(byte))).to_vec();
    Node::Atomic(Box::new(Node::Alternation(vec![Node::Concat(pair), Node::Set(VERTICAL)])))
}

const DIGIT: ByteSet = ByteSet::range(b'0', b'9');
const UPPER: ByteSet = ByteSet::range(b'A', b'Z');
const LOWER: ByteSet = ByteSet::range(b'a', b'z');
const ALPHA: ByteSet = UPPER.union(LOWER);
const WORD: ByteSet = ALPHA.union(DIGIT).with(b'_');
const SPACE: ByteSet = ByteSet::of(b"\t\n\x0b\x0c\r ");
const HORIZONTAL: ByteSet = ByteSet::of(b"\t \xa0");
const VERTICAL: ByteSet = ByteSet::of(b"\n\x0b\x0c\r\x85");
const LINE_FEED: ByteSet = ByteSet::of(b"\n");
const GRAPH: ByteSet = ByteSet::range(b'!', b'~');
const PUNCTUATION: ByteSet = ByteSet::range(b'!', b'/')
    .union(ByteSet::range(b':', b'@'))
    .union(ByteSet::range(b'[', b'`'))
    .union(ByteSet::range(b'{', b'~'));

static POSIX: &[(&str, ByteSet)] = &[
    ("alpha", ALPHA),
    ("lower", LOWER),
    ("upper", UPPER),
    ("alnum", ALPHA.union(DIGIT)),
    ("ascii", ByteSet::range(0, 0x7f)),
    ("blank", ByteSet::of(b"\t ")),
    ("cntrl", ByteSet::range(0, 0x1f).with(0x7f)),
    ("digit", DIGIT),
    ("graph", GRAPH),
    ("print", GRAPH.with(b' ')),
    ("punct", PUNCTUATION),
    ("space", SPACE),
    ("word", WORD),
    ("xdigit", DIGIT.union(ByteSet::range(b'a', b'f')).union(ByteSet::range(b'A', b'F'))),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> ByteSet {
        match parse(text) {
            Ok(Node::Set(set)) => set,
            other => panic!("`{text}` is no set: {other:?}"),
        }
    }

    #[test]
    fn classes_are_read_as_pcre_reads_them() {
        for (text, want) in [
            ("[]a]", ByteSet::of(b"]a")),
            ("[^]a]", ByteSet::of(b"]a").complement()),
            ("[a[b]", ByteSet::of(b"a[b")),
            ("[a-c]", ByteSet::of(b"abc")),
            ("[a-]", ByteSet::of(b"a-")),
            ("[-a]", ByteSet::of(b"a-")),
            (r"[\w-.]", WORD.with(b'-').with(b'.')),
            (r"[+-\d]", ByteSet::of(b"+-").union(DIGIT)),
            ("[a-c-e]", ByteSet::of(b"abc-e")),
            ("[a&&b]", ByteSet::of(b"a&b")),
            ("[a~~b+--c]", ByteSet::of(b"a~b+,-c")),
            (r"[\x5c\]]", ByteSet::of(b"\\]")),
            (r"[\b]", ByteSet::of(b"\x08")),
            (r"[\Q]-\E^]", ByteSet::of(b"]-^")),
            ("[[:alpha:]1]", ALPHA.with(b'1')),
            ("[[:^digit:]]", DIGIT.complement()),
            ("[[:a]", ByteSet::of(b"[:a")),
            (r"[\1\12]", ByteSet::of(b"\x01\n")),
            ("(?i)[a-b]", ByteSet::of(b"abAB")),
            ("(?i)[^a]", ByteSet::of(b"aA").complement()),
            ("(?i)[[:upper:]]", ALPHA),
            (r"[\v]", VERTICAL),
            (r"\v", VERTICAL),
            (r"\h", HORIZONTAL),
            (r"\N", LINE_FEED.complement()),
            (".", ByteSet::ALL),
            ("(?-s).", LINE_FEED.complement()),
            ("[é]", ByteSet::of("é".as_bytes())),
        ] {
            assert_eq!(set(text), want, "{text}");
        }
    }

    #[test]
    fn escapes_stand_for_bytes() {
        for (text, want) in [
            (r"\x41", b'A'),
            (r"\x{ff}", 0xff),
            (r"\x{41}", b'A'),
            (r"\x", 0),
            (r"\/", b'/'),
            (r"\<", b'<'),
            (r"\_", b'_'),
            (r"\e", 0x1b),
            (r"\a", 7),
            (r"\t", 9),
            (r"\0", 0),
            (r"\012", 10),
            (r"\cA", 1),
            (r"\c[", 0x1b),
            ("{", b'{'),
            ("]", b']'),
            ("}", b'}'),
            ("(?#what)a", b'a'),
            ("(?x) a # b", b'a'),
        ] {
            assert_eq!(set(text), ByteSet::EMPTY.with(want), "{text}");
        }
    }

    #[test]
    fn repetitions() {
        for (text, want) in [
            ("a*", Some((0, None, Greed::Greedy))),
            ("a+?", Some((1, None, Greed::Lazy))),
            ("a?+", Some((0, Some(1), Greed::Possessive))),
            ("a{2}", Some((2, Some(2), Greed::Greedy))),
            ("a{2,}?", Some((2, None, Greed::Lazy))),
            ("a{2,5}+", Some((2, Some(5), Greed::Possessive))),
            ("(?U)a+", Some((1, None, Greed::Lazy))),
            ("(?U)a+?", Some((1, None, Greed::Greedy))),
            ("a{,5}", None),
            ("a{x}", None),
            ("a{2", None),
        ] {
            let got = match parse(text).unwrap() {
                Node::Repeat { min, max, greed, .. } => Some((min, max, greed)),
                _ => None,
            };
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn what_is_refused_says_why() {
        for (text, want) in [
            ("(", "without `)`"),
            (")", "without `(`"),
            ("[a", "without `]`"),
            ("*", "nothing stands before"),
            ("a**", "repetition of a repetition"),
            ("a{3,2}", "wrong order"),
            ("[z-a]", "ends before it begins"),
            (r"\x{100}", "over ff"),
            (r"\p{L}", "Unicode"),
            (r"(a)\g{1}", "back references"),
            ("(?|a|b)", "cannot be expressed"),
            ("(?R)", "cannot be expressed"),
            ("(?(1)a|b)", "cannot be expressed"),
            ("(*SKIP)", "verbs"),
            (r"\y", "is not known"),
            ("\\", "lone"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(want), "`{text}`: {error}");
        }
        assert!(parse(&"(".repeat(100_000)).unwrap_err().contains("too deep"));
        assert!(parse(&"a".repeat(LENGTH_MAX + 1)).unwrap_err().contains("longer"));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in r"[\[\]()?:|*+{}\\^$a-c0-9,\-<=!>QExdwi\n ]{0,40}") {
            drop(parse(&text));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            drop(parse(&text));
        }
    }
}
