// SPDX-License-Identifier: Apache-2.0
//! The ASCII character that is nearest to one beyond, as Windows tells it for code page 20127 (US-ASCII): what a backend
//! there makes of `%u2019` is an apostrophe.

/// The nearest; `None` where there is none.
pub(super) fn of(code: u16) -> Option<u8> {
    let after = RUNS.partition_point(|(first, _)| *first <= code);
    let (first, characters) = RUNS.get(after.checked_sub(1)?)?;
    characters.as_bytes().get(usize::from(code - first)).copied()
}

/// Characters one after the other, from the first on. In order.
const RUNS: &[(u16, &str)] = &[
    (0x00A0, " !c"),
    (0x00A4, "$Y|"),
    (0x00A9, "Ca<"),
    (0x00AD, "-R"),
    (0x00B2, "23"),
    (0x00B7, ".,1o>"),
    (0x00C0, "AAAAAAACEEEEIIIIDNOOOOO"),
    (0x00D8, "OUUUUY"),
    (0x00E0, "aaaaaaaceeeeiiii"),
    (0x00F1, "nooooo"),
    (0x00F8, "ouuuuy"),
    (0x00FF, "yAaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGgGgGgHhHhIiIiIiIiIi"),
    (0x0134, "JjKk"),
    (0x0139, "LlLlLl"),
    (0x0141, "LlNnNnNn"),
    (0x014C, "OoOoOoOoRrRrRrSsSsSsSsTtTtTtUuUuUuUuUuUuWwYyYZ"),
    (0x017B, "ZzZz"),
    (0x0180, "b"),
    (0x0189, "D"),
    (0x0191, "Ff"),
    (0x0197, "I"),
    (0x019A, "l"),
    (0x019F, "OOo"),
    (0x01AB, "t"),
    (0x01AE, "TUu"),
    (0x01B6, "z"),
    (0x01CD, "AaIiOoUuUuUuUuUu"),
    (0x01DE, "Aa"),
    (0x01E4, "GgGgKkOoOo"),
    (0x01F0, "j"),
    (0x0261, "g"),
    (0x02B9, "'\""),
    (0x02BC, "'"),
    (0x02C4, "^"),
    (0x02C6, "^"),
    (0x02C8, "'"),
    (0x02CB, "`"),
    (0x02CD, "_"),
    (0x02DC, "~"),
    (0x0300, "`"),
    (0x0302, "^~"),
    (0x030E, "\""),
    (0x0331, "__"),
    (0x2000, "       "),
    (0x2010, "--"),
    (0x2013, "--"),
    (0x2018, "'',"),
    (0x201C, "\"\"\""),
    (0x2022, "."),
    (0x2026, "."),
    (0x2032, "'"),
    (0x2035, "`"),
    (0x2039, "<>"),
    (0x2122, "T"),
    (0xFF01, "!\"#$%&'()*+,-./0123456789:;<=>"),
    (0xFF20, r"@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefghijklmnopqrstuvwxyz{|}~"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_told() {
        for (code, want) in [
            (0x0041, None),
            (0x00A0, Some(b' ')),
            (0x00A3, None),
            (0x00C4, Some(b'A')),
            (0x0151, Some(b'o')),
            (0x2018, Some(b'\'')),
            (0x201C, Some(b'"')),
            (0x2026, Some(b'.')),
            (0x4E2D, None),
            (0xFF1C, Some(b'<')),
            (0xFF5E, Some(b'~')),
            (0xFF5F, None),
            (0xFFFF, None),
        ] {
            assert_eq!(of(code), want, "{code:04X}");
        }
    }

    #[test]
    fn the_table_is_in_order_and_of_printable_ascii() {
        for pair in RUNS.windows(2) {
            assert!(usize::from(pair[0].0) + pair[0].1.len() < usize::from(pair[1].0), "{:04X}", pair[1].0);
        }
        assert!(RUNS.iter().flat_map(|(_, text)| text.bytes()).all(|byte| matches!(byte, b' '..=b'~')));
        assert_eq!(RUNS.iter().map(|(_, text)| text.len()).sum::<usize>(), 370);
    }
}
