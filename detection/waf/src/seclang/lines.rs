// SPDX-License-Identifier: Apache-2.0
//! Lines and their words: continuation, quotes, and in which line of the file each stands.

use super::error::Fault;

/// A line with those that continue it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) place: Place,
}

impl Line {
    /// Whether nothing is said in it.
    pub(super) fn is_blank(&self) -> bool {
        self.text.trim_start().is_empty()
    }

    /// Whether it is said to readers only.
    pub(super) fn is_comment(&self) -> bool {
        self.text.trim_start().starts_with('#')
    }

    /// The lines of the file that it is made of, with their numbers.
    pub(super) fn parts(&self) -> impl Iterator<Item = (u32, &str)> {
        let starts = std::iter::once(0).chain(self.place.breaks.iter().copied());
        let ends = self.place.breaks.iter().copied().chain([self.text.len()]);
        (self.place.first..).zip(starts.zip(ends)).filter_map(|(number, (start, end))| {
            let part = self.text.get(start..end)?;
            Some((number, part))
        })
    }

    /// What stands in it between blanks; what stands in quotes is one word, without them.
    pub(super) fn words(&self) -> Result<Vec<Word>, Fault> {
        Words { line: self, at: 0, breaks_passed: 0 }.all()
    }
}

/// Where a text stands in its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The line of its first byte.
    pub(super) first: u32,
    /// Where in the text the next lines begin.
    breaks: Vec<usize>,
}

impl Place {
    /// The line of a byte of the text.
    pub(super) fn line_at(&self, offset: usize) -> u32 {
        let passed = self.breaks.partition_point(|at| *at <= offset);
        self.first.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX))
    }

    /// The line of its last byte.
    pub(super) fn last(&self) -> u32 {
        self.line_at(usize::MAX)
    }
}

/// A word of a directive, as it is meant: without its quotes, and with `\"` as `"`. Every other backslash is part of it,
/// as expressions need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) place: Place,
}

impl Word {
    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.place.first, message)
    }
}

/// The lines of a file. A line that ends in a backslash, blanks after it or not, goes on in the next.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line> {
    let mut physical = text.strip_prefix('\u{feff}').unwrap_or(text).lines().zip(1u32..);
    std::iter::from_fn(move || {
        let (start, number) = physical.next()?;
        let mut line = Line { text: String::new(), place: Place { first: number, breaks: Vec::new() } };
        let mut part = start;
        while let Some(continued) = part.trim_end().strip_suffix('\\') {
            line.text.push_str(continued);
            let Some((next, _)) = physical.next() else {
                return Some(line);
            };
            line.place.breaks.push(line.text.len());
            part = next;
        }
        line.text.push_str(part.trim_end());
        Some(line)
    })
}

struct Words<'a> {
    line: &'a Line,
    at: usize,
    breaks_passed: usize,
}

impl Words<'_> {
    fn all(mut self) -> Result<Vec<Word>, Fault> {
        let mut words = Vec::new();
        while let Some(first) = self.skip_blanks() {
            if words.len() == WORDS_MAX {
                return Err(Fault::new(self.here(), format!("more than {WORDS_MAX} arguments")));
            }
            let word = match first {
                quote @ ('"' | '\'') => self.quoted(quote)?,
                _ => self.bare(),
            };
            words.push(word);
        }
        Ok(words)
    }

    fn skip_blanks(&mut self) -> Option<char> {
        loop {
            let next = self.peek()?;
            if !next.is_ascii_whitespace() {
                return Some(next);
            }
            self.next();
        }
    }

    fn bare(&mut self) -> Word {
        let mut word = self.start();
        while self.peek().is_some_and(|next| !next.is_ascii_whitespace()) {
            self.push(&mut word);
        }
        word
    }

    fn quoted(&mut self, quote: char) -> Result<Word, Fault> {
        let opened = self.here();
        self.next();
        let mut word = self.start();
        loop {
            match self.peek() {
                None => return Err(Fault::new(opened, format!("{quote} is not closed"))),
                Some(next) if next == quote => break,
                Some('\\') => self.escaped(quote, &mut word),
                Some(_) => self.push(&mut word),
            }
        }
        self.next();
        match self.peek() {
            Some(next) if !next.is_ascii_whitespace() => {
                Err(Fault::new(self.here(), format!("a blank is missing after the closing {quote}")))
            }
            _ => Ok(word),
        }
    }

    /// A backslash and what follows it: neither ends the word.
    fn escaped(&mut self, quote: char, word: &mut Word) {
        let after = self.line.text.get(self.at + 1..).and_then(|rest| rest.chars().next());
        if after == Some(quote) {
            self.next();
        } else {
            self.push(word);
        }
        if after.is_some() {
            self.push(word);
        }
    }

    fn start(&self) -> Word {
        Word { text: String::new(), place: Place { first: self.here(), breaks: Vec::new() } }
    }

    /// Adds the next character to a word.
    fn push(&mut self, word: &mut Word) {
        while self.line.place.breaks.get(self.breaks_passed).is_some_and(|next| *next <= self.at) {
            self.breaks_passed += 1;
            let is_before_the_word = word.text.is_empty() && self.here() == word.place.first;
            if !is_before_the_word {
                word.place.breaks.push(word.text.len());
            }
        }
        if let Some(next) = self.next() {
            word.text.push(next);
        }
    }

    fn peek(&self) -> Option<char> {
        self.line.text.get(self.at..)?.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn here(&self) -> u32 {
        self.line.place.line_at(self.at)
    }
}

/// More than any directive has.
const WORDS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        let line = lines(text).next().unwrap();
        line.words().unwrap().into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_are_what_stands_between_blanks_and_in_quotes() {
        for (name, text, want) in [
            ("bare", "  SecRuleEngine \t On ", vec!["SecRuleEngine", "On"]),
            ("quoted", r#"a "b c" 'd e' f"#, vec!["a", "b c", "d e", "f"]),
            ("empty", r#"a "" ''"#, vec!["a", "", ""]),
            ("escaped quote", r#"a "b \" c""#, vec!["a", r#"b " c"#]),
            ("other escapes", r#"a "\x22\\ \d\'" "#, vec!["a", r"\x22\\ \d\'"]),
            ("escaped backslash before the end", r#"a "b\\" c"#, vec!["a", r"b\\", "c"]),
            ("single in double", r#"a "id:'1',msg:'x, y'""#, vec!["a", "id:'1',msg:'x, y'"]),
            ("single escapes", r"a 'it\'s'", vec!["a", "it's"]),
            ("quote within a bare word", r#"a b"c d"e"#, vec!["a", r#"b"c"#, r#"d"e"#]),
            (
                "backslash in a bare word",
                r"REQUEST_COOKIES:/\x22?\x24Version/",
                vec![r"REQUEST_COOKIES:/\x22?\x24Version/"],
            ),
            ("other letters", "a \"é ß\" ü", vec!["a", "é ß", "ü"]),
            ("mark of the byte order", "\u{feff}a b", vec!["a", "b"]),
        ] {
            assert_eq!(words(text), want, "{name}");
        }
    }

    #[test]
    fn quotes_must_close_and_stand_apart() {
        for (text, line, want) in [
            ("a \"b", 1, "\" is not closed"),
            ("a \"b\\\"", 1, "\" is not closed"),
            ("a \"b\\\n\\\n c", 1, "\" is not closed"),
            ("a \\\n 'b", 2, "' is not closed"),
            ("a \"b\"c", 1, "a blank is missing after the closing \""),
        ] {
            assert_eq!(lines(text).next().unwrap().words(), Err(Fault::new(line, want)), "{text}");
        }
        let many = "a ".repeat(WORDS_MAX + 1);
        assert!(lines(&many).next().unwrap().words().is_err());
    }

    #[test]
    fn a_backslash_at_the_end_continues_a_line() {
        let text = "one \\\r\n  \"two,\\\n\\\n  three\"\\  \n four\r\n# five\\\nsix\n\nseven\\";
        let found: Vec<_> =
            lines(text).map(|line| (line.place.first, line.place.last(), line.text)).collect();
        let want = [(1, 5, "one   \"two,  three\" four"), (6, 7, "# fivesix"), (8, 8, ""), (9, 9, "seven")];
        assert_eq!(found, want.map(|(first, last, text)| (first, last, text.to_owned())));
        let parts: Vec<_> = lines("a\\\n\\\nb")
            .flat_map(|line| line.parts().map(|(n, p)| (n, p.to_owned())).collect::<Vec<_>>())
            .collect();
        assert_eq!(parts, [(1, "a".into()), (2, String::new()), (3, "b".into())]);
    }

    #[test]
    fn a_word_knows_its_lines() {
        let line = lines("SecRule ARGS \\\n \"@rx\\\"\\\nx\" \\\n\\\n  \"id:1,\\\n   deny\"").next().unwrap();
        let words = line.words().unwrap();
        let [name, targets, operator, actions] = words.as_slice() else { panic!("{words:?}") };
        assert_eq!((name.place.first, targets.place.first, operator.place.first), (1, 1, 2));
        assert_eq!(operator.text, "@rx\"x");
        assert_eq!((operator.place.line_at(3), operator.place.line_at(4)), (2, 3));
        assert_eq!((actions.place.first, actions.text.as_str()), (5, "id:1,   deny"));
        assert_eq!((actions.place.line_at(4), actions.place.line_at(5), actions.place.last()), (5, 6, 6));
    }

    proptest! {
        #[test]
        fn every_character_of_a_file_is_in_one_of_its_lines(text in "[a\"'\\\\ \n\r#é]{0,60}") {
            let total = text.lines().count();
            let mut next = 1;
            for line in lines(&text) {
                prop_assert_eq!(line.place.first, next);
                next = line.place.last() + 1;
                prop_assert_eq!(line.parts().map(|(_, part)| part).collect::<String>(), line.text.clone());
                if let Ok(words) = line.words() {
                    for word in words {
                        prop_assert!(word.place.first >= line.place.first && word.place.last() < next);
                    }
                }
            }
            // A last line that is continued by nothing counts for itself.
            prop_assert!(next as usize == total + 1, "{} {}", next, total);
        }
    }
}
