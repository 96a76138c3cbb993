// SPDX-License-Identifier: Apache-2.0
//! Which kinds of SQL words a text could have, and whether any known injection is made of no others.
//!
//! A fingerprint has a letter for each kind of word. Its letters are a recipe; a text that lacks an ingredient of every
//! recipe is no injection, whatever its order. A text's ingredients are read in one pass and never too few: what may
//! become of a word (`in` is a keyword, an operator or a name, by what follows) is all counted.

use std::collections::HashMap;
use std::sync::LazyLock;

use foldhash::fast::FixedState;
use libinjectionrs::sqli::sqli_data::SQL_KEYWORDS;

/// Whether no known injection can be made of the text's words.
pub(super) fn are_harmless(text: &[u8]) -> bool {
    let present = Scan::of(text);
    !KNOWN.recipes.iter().any(|recipe| recipe & !present == 0)
}

/// Whether it is part of SQL's plain words.
pub(super) const fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A set of kinds, as bits.
type Kinds = u32;

const NAME: Kinds = 1 << 0;
const NUMBER: Kinds = 1 << 1;
const OPERATOR: Kinds = 1 << 2;
const LOGIC: Kinds = 1 << 3;
const KEYWORD: Kinds = 1 << 4;
const UNION: Kinds = 1 << 5;
const EXPRESSION: Kinds = 1 << 6;
const GROUP: Kinds = 1 << 7;
const FUNCTION: Kinds = 1 << 8;
const STATEMENT: Kinds = 1 << 9;
const SQL_TYPE: Kinds = 1 << 10;
const COLLATE: Kinds = 1 << 11;
const VARIABLE: Kinds = 1 << 12;
const STRING: Kinds = 1 << 13;
const COMMENT: Kinds = 1 << 14;
const EVIL: Kinds = 1 << 15;
const OPEN: Kinds = 1 << 16;
const CLOSE: Kinds = 1 << 17;
const COMMA: Kinds = 1 << 18;
const COLON: Kinds = 1 << 19;
const SEMICOLON: Kinds = 1 << 20;
const OTHER: Kinds = 1 << 21;
/// `into`: a keyword between two words is nothing unless it is this one.
const INTO: Kinds = 1 << 22;
/// A parenthesis beside an operator or a comma, or before a number.
const GLUE: Kinds = 1 << 23;
/// A parenthesis after a function.
const CALL: Kinds = 1 << 24;

/// The kind that a letter of the crate's tables stands for.
const fn kind(letter: u8) -> Kinds {
    match letter {
        b'n' | b'N' => NAME,
        b'1' => NUMBER,
        b'o' | b'O' => OPERATOR,
        b'&' => LOGIC,
        b'k' | b'K' => KEYWORD,
        b'U' => UNION,
        b'E' => EXPRESSION,
        b'B' => GROUP,
        b'f' | b'F' => FUNCTION,
        b'T' => STATEMENT,
        b't' => SQL_TYPE,
        b'A' => COLLATE,
        b'v' | b'V' => VARIABLE,
        b's' | b'S' => STRING,
        b'c' | b'C' => COMMENT,
        b'X' => EVIL,
        b'(' => OPEN,
        b')' => CLOSE,
        b',' => COMMA,
        b':' => COLON,
        b';' => SEMICOLON,
        _ => OTHER,
    }
}

/// What the crate's tables say, turned to be asked.
struct Known {
    /// What a word in capitals may become, alone or with others.
    words: HashMap<&'static [u8], Kinds, FixedState>,
    /// Which first letter, last letter and length there are together: most words are none of these.
    outlines: [u64; 64],
    /// The least sets of kinds of which a fingerprint is made.
    recipes: Vec<Kinds>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let words = words();
    let mut outlines = [0; 64];
    for word in words.keys() {
        let (slot, bit) = outline(word);
        if let Some(slot) = outlines.get_mut(slot) {
            *slot |= bit;
        }
    }
    Known { words, outlines, recipes: recipes() }
});

impl Known {
    fn kinds(&self, word: &[u8]) -> Kinds {
        if word.len() > WORD_BYTES_MAX {
            return 0;
        }
        let (slot, bit) = outline(word);
        if self.outlines.get(slot).is_none_or(|slot| slot & bit == 0) {
            return 0;
        }
        let mut buffer = [0; WORD_BYTES_MAX];
        let Some(capitals) = buffer.get_mut(..word.len()) else { return 0 };
        capitals.copy_from_slice(word);
        capitals.make_ascii_uppercase();
        self.words.get(&*capitals).copied().unwrap_or_default()
    }
}

/// The crate keeps 31 bytes of a word.
const WORD_BYTES_MAX: usize = 31;

fn outline(word: &[u8]) -> (usize, u64) {
    let (Some(first), Some(last)) = (word.first(), word.last()) else { return (0, 0) };
    let mixed = usize::from(first & 31) | usize::from(last & 31) << 5;
    (mixed >> 4, 1 << ((mixed & 15) * 4 + word.len() % 4))
}

/// Every word of the tables with all that it may become.
fn words() -> HashMap<&'static [u8], Kinds, FixedState> {
    let mut words: HashMap<&'static [u8], Kinds, FixedState> = HashMap::default();
    for keyword in SQL_KEYWORDS.iter().filter(|keyword| keyword.token_type != b'F') {
        let parts =
            keyword.word.as_bytes().split(|byte| !is_word_byte(*byte)).filter(|part| !part.is_empty());
        for (index, part) in parts.enumerate() {
            let kind = kind(keyword.token_type);
            // A phrase has all its words, so the first brings its kind. Where a parenthesis follows its last is seen
            // by the last.
            let is_seen_by_place = kind & (OPERATOR | FUNCTION) != 0;
            if index == 0 || is_seen_by_place {
                // Some names and variables are functions before a parenthesis: `user(`.
                let may_call = if kind & (NAME | VARIABLE) == 0 { 0 } else { FUNCTION };
                *words.entry(part).or_default() |= kind & !NAME | may_call;
            }
        }
    }
    for (word, kinds) in BECOME {
        *words.entry(word).or_default() |= kinds;
    }
    words
}

/// What a word becomes in some company and the tables do not say.
static BECOME: &[(&[u8], Kinds)] =
    &[(b"IN", OPERATOR), (b"IF", STATEMENT), (b"COLLATE", SQL_TYPE), (b"INTO", INTO)];

fn recipes() -> Vec<Kinds> {
    let fingerprints = SQL_KEYWORDS.iter().filter(|keyword| keyword.token_type == b'F');
    let mut all: Vec<Kinds> =
        fingerprints.filter_map(|one| one.word.as_bytes().get(1..)).map(recipe).collect();
    all.sort_unstable_by_key(|recipe| (recipe.count_ones(), *recipe));
    let mut least: Vec<Kinds> = Vec::new();
    for recipe in all {
        if !least.iter().any(|known| known & !recipe == 0) {
            least.push(recipe);
        }
    }
    least
}

/// What a fingerprint needs. In the tables it is written in capitals, so that `T` is a statement or a type: either will
/// do, which [`Scan::of`] sees to.
fn recipe(fingerprint: &[u8]) -> Kinds {
    let mut kinds = fingerprint.iter().fold(0, |kinds, letter| kinds | kind(*letter));
    let has_pair =
        |pair: fn(u8, u8) -> bool| fingerprint.windows(2).any(|two| matches!(two, [a, b] if pair(*a, *b)));
    if matches!(fingerprint, [_, b'K', last] if *last != b'C') {
        kinds |= INTO;
    }
    let is_plain = kinds & !(NAME | NUMBER | OPERATOR | OPEN | CLOSE | COMMA | COLON | SEMICOLON) == 0;
    let is_glued =
        has_pair(|a, b| matches!((a, b), (b'O' | b',', b'(') | (b')', b'O' | b',') | (b'(', b'1')));
    if is_plain && is_glued {
        kinds |= GLUE;
    }
    if has_pair(|a, b| a == b'F' && b == b'(') {
        kinds |= CALL;
    }
    kinds
}

/// What stood before, for what parentheses stand beside.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    /// Nothing that matters.
    Other,
    /// An operator or a comma.
    Operator,
    /// An operator written as a word: before a parenthesis it may be a function.
    OperatorWord,
    /// Another word of the tables.
    Word,
    Open,
    /// A parenthesis and an operator, which may be a sign.
    OpenOperator,
    Close,
}

/// One pass over a text.
struct Scan {
    kinds: Kinds,
    before: Before,
    has_operator_word: bool,
    /// Something stands in it that may vanish from between two words, or hide where words start.
    is_loose: bool,
}

impl Scan {
    /// All kinds that the text may have.
    fn of(text: &[u8]) -> Kinds {
        let mut scan = Self { kinds: NAME, before: Before::Other, has_operator_word: false, is_loose: false };
        let mut at = 0;
        while let Some(byte) = text.get(at).copied() {
            if is_word_byte(byte) {
                let rest = text.get(at..).unwrap_or_default();
                let len = rest.iter().position(|byte| !is_word_byte(*byte)).unwrap_or(rest.len());
                scan.word(text, at, len);
                at += len;
            } else {
                scan.mark(byte, text.get(at + 1).copied());
                at += 1;
            }
        }
        if scan.is_loose {
            scan.kinds |= GLUE | CALL;
            if scan.has_operator_word {
                scan.kinds |= FUNCTION;
            }
        }
        // A fingerprint in the tables does not tell the two apart.
        if scan.kinds & (STATEMENT | SQL_TYPE) != 0 {
            scan.kinds |= STATEMENT | SQL_TYPE;
        }
        scan.kinds
    }

    fn word(&mut self, text: &[u8], at: usize, len: usize) {
        let word = text.get(at..at + len).unwrap_or_default();
        let is_number = word.first().is_some_and(u8::is_ascii_digit);
        let mut kinds = if is_number { NUMBER } else { KNOWN.kinds(word) };
        if is_number || may_follow_number(text.get(..at).unwrap_or_default()) {
            // `1and` is a number and a word; where the number ends depends on its form, so all ends are tried.
            let digits =
                word.iter().take_while(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'x' | b'X'));
            let last = digits.count().min(len);
            for start in len.saturating_sub(WORD_BYTES_MAX).max(1)..=last {
                kinds |= KNOWN.kinds(word.get(start..).unwrap_or_default());
            }
        }
        self.kinds |= kinds;
        self.is_loose |= kinds & SQL_TYPE != 0;
        let is_inner = matches!(self.before, Before::Open | Before::OpenOperator);
        if kinds & (NUMBER | OPERATOR) != 0 && is_inner {
            self.kinds |= GLUE;
        }
        if kinds & OPERATOR != 0 {
            self.has_operator_word = true;
            self.operator();
            self.before = Before::OperatorWord;
        } else {
            self.before = if kinds & !NUMBER == 0 { Before::Other } else { Before::Word };
        }
    }

    fn operator(&mut self) {
        self.before = match self.before {
            Before::Open | Before::OpenOperator => Before::OpenOperator,
            before => {
                if before == Before::Close {
                    self.kinds |= GLUE;
                }
                Before::Operator
            }
        };
    }

    fn mark(&mut self, byte: u8, next: Option<u8>) {
        match byte {
            0..=b' ' | 0x7f | 0xa0 => {}
            b'(' => {
                self.kinds |= OPEN;
                match self.before {
                    Before::Operator | Before::OpenOperator => self.kinds |= GLUE,
                    Before::OperatorWord => self.kinds |= GLUE | CALL | FUNCTION,
                    Before::Word => self.kinds |= CALL,
                    Before::Other | Before::Open | Before::Close => {}
                }
                self.before = Before::Open;
            }
            b')' => {
                self.kinds |= CLOSE;
                self.before = Before::Close;
            }
            b',' => {
                self.kinds |= COMMA;
                self.operator();
            }
            b':' => {
                self.kinds |= COLON | OPERATOR;
                self.operator();
            }
            b';' => {
                self.kinds |= SEMICOLON;
                self.before = Before::Other;
            }
            b'.' => {
                if matches!(self.before, Before::Open | Before::OpenOperator) {
                    self.kinds |= GLUE;
                }
                self.before = Before::Other;
            }
            b'!' | b'%' | b'&' | b'*' | b'+' | b'-' | b'/' | b'<' | b'=' | b'>' | b'^' | b'|' | b'~' => {
                self.kinds |= OPERATOR;
                match (byte, next) {
                    (b'&', Some(b'&')) | (b'|', Some(b'|')) => self.kinds |= LOGIC,
                    (b'-', Some(b'-')) => self.loose(COMMENT),
                    (b'/', Some(b'*')) => self.loose(COMMENT | EVIL),
                    _ => {}
                }
                self.operator();
            }
            b'\'' | b'"' => self.loose(STRING | NUMBER),
            b'$' => self.loose(STRING | NUMBER),
            b'@' => self.loose(VARIABLE),
            b'#' => {
                self.loose(COMMENT | OPERATOR);
                self.operator();
            }
            b'{' | b'}' => self.loose(OTHER),
            // A name in these may be a function, and is a comment when it has no end; `\N` is a number.
            b'`' | b'\\' => self.loose(Kinds::MAX),
            _ => {
                self.kinds |= OTHER;
                self.before = Before::Other;
            }
        }
    }

    fn loose(&mut self, kinds: Kinds) {
        self.kinds |= kinds;
        self.is_loose = true;
    }
}

/// Whether a number that began before may reach into the word that follows: `1.`, `1e+`.
fn may_follow_number(before: &[u8]) -> bool {
    matches!(before, [.., digit, b'.' | b'+' | b'-'] if digit.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_texts_are_harmless() {
        for text in [
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:105.0) Gecko/20100101 Firefox/105.0",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36",
            "https://www.example.com/shop/category/shoes?sort=price&page=2",
            "/assets/js/app.3f2a9c.js",
            "550e8400-e29b-41d4-a716-446655440000",
            "theme=dark; lang=en",
            "2024-05-01T12:30:00Z",
            "The quick brown fox jumps over the lazy dog, and it runs away.",
            "running shoes",
            "-12.50",
        ] {
            assert!(are_harmless(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_may_be_an_injection_is_not() {
        for text in ["1 or 1", "1or 1", "1.e5and.1", "a' or 1", "1--", "sleep(1)", "\\Nunion select"] {
            assert!(!are_harmless(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn the_recipes_are_few() {
        assert!((50..150).contains(&KNOWN.recipes.len()), "{}", KNOWN.recipes.len());
        assert!(KNOWN.words.keys().all(|word| word.len() <= WORD_BYTES_MAX));
    }
}
