// SPDX-License-Identifier: Apache-2.0
//! The header `Cookie`: `a=1; b=2`.

use super::Limits;

/// What came of reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many were handed over.
    pub cookies: usize,
    /// There were more than `arguments_max`: the rest was not read.
    pub is_cut: bool,
}

/// Hands over every name and value as it stands in the header, in order. A name loses the space before it, the last
/// value the space after it. A cookie without `=` is a name with an empty value; `=x` is handed over with an empty
/// name, though ModSecurity leaves it out: backends do read it.
pub fn visit(header: &[u8], limits: &Limits, mut visitor: impl FnMut(&[u8], &[u8])) -> Outcome {
    let mut outcome = Outcome::default();
    for piece in header.trim_ascii_end().split(|byte| *byte == b';') {
        let cookie = piece.trim_ascii_start();
        if cookie.is_empty() {
            continue;
        }
        if outcome.cookies >= limits.arguments_max {
            outcome.is_cut = true;
            break;
        }
        outcome.cookies += 1;
        let mut halves = cookie.splitn(2, |byte| *byte == b'=');
        visitor(halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_values() {
        for (name, header, want) in [
            ("nothing", "", &[][..]),
            ("two", "a=1; b=2", &[("a", "1"), ("b", "2")]),
            ("no space", "a=1;b=2", &[("a", "1"), ("b", "2")]),
            ("space", " \t a =1 ; b=2  ", &[("a ", "1 "), ("b", "2")]),
            ("first =", "a=b=c", &[("a", "b=c")]),
            ("no value", "a; b=", &[("a", ""), ("b", "")]),
            ("no name", "=x; a=1", &[("", "x"), ("a", "1")]),
            ("empty pieces", ";;a=1; ;", &[("a", "1")]),
            ("not decoded", "a=%41+b", &[("a", "%41+b")]),
            ("quoted", "a=\"1\"; $Version=1", &[("a", "\"1\""), ("$Version", "1")]),
        ] {
            let mut found = Vec::new();
            let outcome = visit(header.as_bytes(), &Limits::default(), |name, value| {
                found.push((
                    String::from_utf8(name.into()).unwrap(),
                    String::from_utf8(value.into()).unwrap(),
                ));
            });
            let want: Vec<_> =
                want.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            assert_eq!(found, want, "{name}");
            assert_eq!(outcome, Outcome { cookies: want.len(), is_cut: false }, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_stay_within_the_limit(header: Vec<u8>, arguments_max in 0..5usize) {
            let mut count = 0;
            let outcome = visit(&header, &Limits { arguments_max, ..Limits::default() }, |_, _| count += 1);
            prop_assert!(count <= arguments_max && count == outcome.cookies);
        }
    }
}
