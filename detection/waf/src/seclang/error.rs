// SPDX-License-Identifier: Apache-2.0
//! What is wrong with rules, for the one who wrote them.

use std::fmt;

use super::ast::Span;

/// Why rules could not be used, and where. Shown as `file:line: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Where. Line 0: the file as a whole.
    pub span: Span,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.span.file)?;
        if self.span.line > 0 {
            write!(f, ":{}", self.span.line)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for RuleError {}

/// What is wrong with a directive, and in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: u32,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(line: u32, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// `unknown {what} …`, with the known name that it is nearest to.
pub(super) fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let told = format!("unknown {what} `{}`", shown(name));
    match nearest(name, known) {
        Some(near) => format!("{told}; did you mean `{near}`?"),
        None => told,
    }
}

/// The known word that a misspelt one is nearest to, if any is near enough to be meant. The case of letters does not
/// count.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > NAME_BYTES_MAX {
        return None;
    }
    let word = word.to_ascii_lowercase();
    known
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().min(word.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A text of a rule file as a message may hold it: short, and on one line.
pub(super) fn shown(text: &str) -> String {
    let start: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    let more = if start.len() < text.len() { "…" } else { "" };
    let printable = start.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    printable.chain(more.chars()).collect()
}

/// No name is longer, so that what is longer is no misspelt name.
const NAME_BYTES_MAX: usize = 64;

/// Enough to find a text again.
const SHOWN_CHARS_MAX: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_where() {
        let span = Span { file: "a.conf".into(), line: 7, end_line: 9 };
        let error = RuleError { span: span.clone(), message: "no".into() };
        assert_eq!(error.to_string(), "a.conf:7: no");
        let whole = RuleError { span: Span { line: 0, ..span }, message: "no".into() };
        assert_eq!(whole.to_string(), "a.conf: no");
    }

    #[test]
    fn a_near_name_is_told_and_a_far_one_is_not() {
        let known = ["ARGS", "ARGS_NAMES", "REQUEST_URI"];
        for (name, want) in [
            ("ARGS_NAME", "unknown variable `ARGS_NAME`; did you mean `ARGS_NAMES`?"),
            ("reqest_uri", "unknown variable `reqest_uri`; did you mean `REQUEST_URI`?"),
            ("SOMETHING_ELSE", "unknown variable `SOMETHING_ELSE`"),
            ("a\nb", "unknown variable `a\u{fffd}b`"),
        ] {
            assert_eq!(unknown("variable", name, known.into_iter()), want, "{name}");
        }
        let long = "x".repeat(1000);
        assert!(unknown("variable", &long, known.into_iter()).len() < 100);
    }
}
