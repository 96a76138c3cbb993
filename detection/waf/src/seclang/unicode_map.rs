// SPDX-License-Identifier: Apache-2.0
//! The file of `SecUnicodeMapFile`: for each code page a line with its number, then lines of `code point:byte` in
//! hexadecimal.

use super::error::shown;

/// What it says of one page.
pub(super) fn parse(text: &str, page: u32) -> Result<Vec<(u32, u8)>, String> {
    let mut is_wanted = false;
    let mut pairs = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace().peekable();
        match words.peek() {
            None => {}
            Some(first) if first.starts_with('#') => {}
            Some(first) if !first.contains(':') => is_wanted = first.parse() == Ok(page),
            Some(_) if is_wanted => {
                for word in words {
                    pairs.push(
                        pair(word).ok_or_else(|| format!("`{}` is not `code point:byte`", shown(word)))?,
                    );
                }
            }
            Some(_) => {}
        }
    }
    if pairs.is_empty() { Err(format!("it has no code page {page}")) } else { Ok(pairs) }
}

fn pair(word: &str) -> Option<(u32, u8)> {
    let (code_point, byte) = word.split_once(':')?;
    let code_point = u32::from_str_radix(code_point, 16).ok().filter(|point| *point <= 0xffff)?;
    Some((code_point, u8::from_str_radix(byte, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "(MAC - Roman)\r\n\r\n\r\n1250  (ANSI - Central Europe)\r\n00a1:21 00a2:63\r\n\r\n\
                       20127 (US-ASCII)\r\n00a0:20 \r\nff01:21\r\n\r\n65001 (UTF-8)\r\n\r\n9 (wrong)\r\n00a0:20 zz:1\r\n8 (wide)\r\n00a0:120\r\n";

    #[test]
    fn a_page_is_found() {
        for (page, want) in [
            (1250, Ok(vec![(0xa1, 0x21), (0xa2, 0x63)])),
            (20127, Ok(vec![(0xa0, 0x20), (0xff01, 0x21)])),
            (65001, Err("it has no code page 65001")),
            (1, Err("it has no code page 1")),
            (9, Err("`zz:1` is not `code point:byte`")),
            (8, Err("`00a0:120` is not `code point:byte`")),
        ] {
            assert_eq!(parse(MAP, page), want.map_err(str::to_owned), "{page}");
        }
    }
}
