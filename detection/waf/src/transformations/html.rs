// SPDX-License-Identifier: Apache-2.0
//! `htmlEntityDecode`: character references.

use super::rewrite::{Short, rewrite_at};
use super::{Settings, Transformation};
use crate::byte_set::ByteSet;

/// `t:htmlEntityDecode`
pub(super) static DECODE: Transformation = Transformation {
    name: "htmlEntityDecode",
    aliases: &[],
    doc: "Decodes HTML's character references to UTF-8: numbers, `&quot`, `&amp`, `&lt`, `&gt`, `&nbsp` with or without \
          a semicolon, and all named ones that are ASCII, such as `&colon;`.",
    changes: Some(ByteSet::of(b"&")),
    apply,
};

fn apply(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    rewrite_at(input, output, b'&', |rest| {
        let (character, length) = match rest {
            [b'#', b'x' | b'X', digits @ ..] => number(digits, 16).map(|(code, length)| (code, length + 2)),
            [b'#', digits @ ..] => number(digits, 10).map(|(code, length)| (code, length + 1)),
            _ => named(rest).or_else(|| named_loosely(rest)),
        }?;
        let semicolon = rest.get(length) == Some(&b';');
        Some((Short::from(character), length + usize::from(semicolon)))
    })
}

/// Of any length, since zeros in front are free. Zero stays zero: browsers of old skipped it, and `t:removeNulls`
/// follows in rules that care.
fn number(digits: &[u8], radix: u32) -> Option<(char, usize)> {
    let digits = digits.iter().map_while(|byte| char::from(*byte).to_digit(radix));
    let (code, length) = digits.fold((0_u32, 0), |(code, length), digit| {
        (code.saturating_mul(radix).saturating_add(digit), length + 1)
    });
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    (length > 0).then_some((character, length))
}

/// A name up to its semicolon.
fn named(rest: &[u8]) -> Option<(char, usize)> {
    let length = rest.iter().take(NAME_BYTES_MAX + 1).position(|byte| *byte == b';')?;
    let name = rest.get(..length)?;
    let found = NAMES.binary_search_by(|(known, _)| known.as_bytes().cmp(name)).ok()?;
    Some((NAMES.get(found)?.1, length))
}

/// The names of old, which need no semicolon and may be followed by anything.
fn named_loosely(rest: &[u8]) -> Option<(char, usize)> {
    let starts =
        |name: &str| rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()));
    LOOSE_NAMES.iter().find(|(name, _)| starts(name)).map(|(name, character)| (*character, name.len()))
}

/// In whatever case.
static LOOSE_NAMES: &[(&str, char)] =
    &[("amp", '&'), ("gt", '>'), ("lt", '<'), ("nbsp", '\u{A0}'), ("quot", '"')];

/// All that HTML knows for one ASCII character, but those of old. In order.
static NAMES: &[(&str, char)] = &[
    ("DiacriticalGrave", '`'),
    ("Hat", '^'),
    ("NewLine", '\n'),
    ("Tab", '\t'),
    ("UnderBar", '_'),
    ("VerticalLine", '|'),
    ("apos", '\''),
    ("ast", '*'),
    ("bsol", '\\'),
    ("colon", ':'),
    ("comma", ','),
    ("commat", '@'),
    ("dollar", '$'),
    ("equals", '='),
    ("excl", '!'),
    ("grave", '`'),
    ("lbrace", '{'),
    ("lbrack", '['),
    ("lcub", '{'),
    ("lowbar", '_'),
    ("lpar", '('),
    ("lsqb", '['),
    ("midast", '*'),
    ("num", '#'),
    ("percnt", '%'),
    ("period", '.'),
    ("plus", '+'),
    ("quest", '?'),
    ("rbrace", '}'),
    ("rbrack", ']'),
    ("rcub", '}'),
    ("rpar", ')'),
    ("rsqb", ']'),
    ("semi", ';'),
    ("sol", '/'),
    ("verbar", '|'),
    ("vert", '|'),
];

/// The longest of them.
const NAME_BYTES_MAX: usize = "DiacriticalGrave".len();

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{applied, check};
    use super::*;

    #[test]
    fn the_names_are_in_order_and_short() {
        assert!(NAMES.is_sorted_by(|one, next| one.0 < next.0));
        assert!(NAMES.iter().all(|(name, _)| name.len() <= NAME_BYTES_MAX));
        for (name, character) in NAMES {
            let text = format!("&{name};");
            assert_eq!(applied(&DECODE, text.as_bytes()), Some(character.to_string().into_bytes()), "{name}");
        }
    }

    #[test]
    fn references() {
        check(
            &DECODE,
            &[
                ("none", b"plain; #60; lt;", None),
                ("decimal", b"&#60;&#62;", Some(b"<>")),
                ("no semicolon", b"&#106&#97v", Some(b"jav")),
                ("zeros in front", b"&#0000000000000106&#x00000006A;", Some(b"jj")),
                ("hex", b"&#x6A;&#X6a&#x6ag", Some(b"jjjg")),
                ("zero", b"a&#0;b&#x0;", Some(b"a\0b\0")),
                ("beyond ASCII", b"&#233;&#xff1c;", Some("é＜".as_bytes())),
                ("too much", b"&#99999999999999999999;&#xd800;", Some("\u{FFFD}\u{FFFD}".as_bytes())),
                ("no digits", b"&#;&#x;&#xg&#&", None),
                ("old names", b"&lt;&GT;&quot;&Amp;&nbsp;", Some("<>\"&\u{A0}".as_bytes())),
                ("old names, no semicolon", b"&ltscript&gt", Some(b"<script>")),
                ("only once", b"&amp;lt;", Some(b"&lt;")),
                ("new names", b"javascript&colon;alert&lpar;1&rpar;&Tab;", Some(b"javascript:alert(1)\t")),
                ("new names need a semicolon", b"&colon &Colon; &DiacriticalGraveX;", None),
                ("an ampersand before one", b"&&lt;", Some(b"&<")),
            ],
        );
    }

    proptest! {
        #[test]
        fn every_character_has_a_number(character in any::<char>(), zeros in 0_usize..9) {
            let code = u32::from(character);
            for text in [format!("&#{:0>zeros$}{code};", ""), format!("&#x{:0>zeros$}{code:x}", "")] {
                prop_assert_eq!(applied(&DECODE, text.as_bytes()), Some(character.to_string().into_bytes()));
            }
        }
    }
}
