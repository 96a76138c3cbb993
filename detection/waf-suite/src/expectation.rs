// SPDX-License-Identifier: Apache-2.0
//! What came of a request, held against what was to come of it. Everything that is said must hold; an error that was
//! expected is all that is asked for.

use std::fmt;

use regex::bytes::RegexBuilder;

use crate::format::Output;

/// An expression of a test is small: a compiled one above this is a mistake.
const EXPRESSION_BYTES_MAX: usize = 1 << 20;

/// What came of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The answer's status. None where there was no answer, or nobody looked.
    pub status: Option<u16>,
    /// The answer as it came, head and body. Empty where nobody kept it.
    pub response: Vec<u8>,
    /// The rules that logged.
    pub rules: Vec<u64>,
    /// The lines of the log. None where there is no log, only the ids of rules.
    pub log: Option<Vec<String>>,
    /// Why there is no answer that can be read.
    pub error: Option<String>,
}

/// How much of an expectation is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of it: the request went over a socket.
    Wire,
    /// Rules, and the log if there is one: an engine in this process was asked. Status, answer and errors are a
    /// server's, and are not looked at.
    Engine,
}

/// What is found of one request or one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that was said holds.
    Passed,
    /// The first thing that does not.
    Failed(Miss),
    /// Nothing that is said can be judged in this [`Scope`].
    NotJudged,
}

/// What did not come as it was said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Miss {
    /// There was an answer, and none was to be.
    #[error("an answer came, and none was expected")]
    Answered,
    /// There was no answer.
    #[error("no answer: {error}")]
    NotAnswered {
        /// Why.
        error: String,
    },
    /// The status is another.
    #[error("status {want} was expected, {} came", Shown(*got))]
    Status {
        /// The status that was expected.
        want: u16,
        /// The status that came.
        got: Option<u16>,
    },
    /// The answer does not match.
    #[error("the answer does not match `{expression}`")]
    Response {
        /// What it was to match.
        expression: String,
    },
    /// No line of the log matches.
    #[error("no line of the log matches `{expression}`")]
    LogLacks {
        /// What a line was to match.
        expression: String,
    },
    /// A line of the log matches, and none was to.
    #[error("a line of the log matches `{expression}`: `{line}`")]
    LogHolds {
        /// What no line was to match.
        expression: String,
        /// The line.
        line: String,
    },
    /// Rules did not log.
    #[error("not logged: {}; logged: {}", Listed(missing), Listed(logged))]
    RulesLacking {
        /// Those that were to log and did not.
        missing: Vec<u64>,
        /// Those that did.
        logged: Vec<u64>,
    },
    /// Rules logged that were not to.
    #[error("logged, and not expected: {}", Listed(unwanted))]
    RulesUnwanted {
        /// Those that logged.
        unwanted: Vec<u64>,
    },
    /// Not exactly one rule logged.
    #[error("one rule alone was to log; logged: {}", Listed(logged))]
    NotIsolated {
        /// Those that did.
        logged: Vec<u64>,
    },
    /// The expression of a test is none.
    #[error("`{expression}` is not a regular expression, or a huge one")]
    Expression {
        /// The expression.
        expression: String,
    },
    /// The stage could not be made into a request, or not be sent. Not found by [`judge`].
    #[error("{why}")]
    NotSent {
        /// Why.
        why: String,
    },
}

/// What one rule found, as the logs have it that expressions of tests are written for: `[id "1"] [msg "…"] [data "…"]`, and
/// its tags. What cannot be printed is `\x0d`.
pub fn log_line<T: AsRef<str>>(rule: u64, message: &str, data: &str, tags: &[T]) -> String {
    let mut line = format!("[id \"{rule}\"] [msg \"{}\"] [data \"{}\"]", printable(message), printable(data));
    for tag in tags {
        line.push_str(&format!(" [tag \"{}\"]", printable(tag.as_ref())));
    }
    line
}

fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\0'..='\x1f' | '\x7f' => printable.push_str(&format!("\\x{:02x}", u32::from(character))),
            other => printable.push(other),
        }
    }
    printable
}

/// Judges one request. Looks in the order of the reference runner: error, status, answer, log; stops at the first
/// that does not hold.
pub fn judge(output: &Output, outcome: &Outcome, scope: Scope) -> Verdict {
    let log = outcome.log.as_deref();
    let found = match scope {
        Scope::Wire if output.expect_error == Some(true) => {
            if outcome.error.is_some() {
                Ok(())
            } else {
                Err(Miss::Answered)
            }
        }
        // A runner without a log has one without lines: what must stand in it is missed.
        Scope::Wire => judge_answer(output, outcome)
            .and_then(|()| judge_log(output, &outcome.rules, Some(log.unwrap_or_default()))),
        Scope::Engine if !is_judged(output, outcome) => return Verdict::NotJudged,
        Scope::Engine => judge_log(output, &outcome.rules, log),
    };
    found.map_or_else(Verdict::Failed, |()| Verdict::Passed)
}

impl Verdict {
    /// Of two stages of a test, what is to be said of both: the first failure, else that something passed.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (failed @ Self::Failed(_), _) | (_, failed @ Self::Failed(_)) => failed,
            (Self::NotJudged, Self::NotJudged) => Self::NotJudged,
            _ => Self::Passed,
        }
    }
}

/// Whether an engine alone can show anything of what is said.
fn is_judged(output: &Output, outcome: &Outcome) -> bool {
    let has_expression = output.match_regex().is_some() || output.no_match_regex().is_some();
    output.names_rules() || output.isolated || (has_expression && outcome.log.is_some())
}

fn judge_answer(output: &Output, outcome: &Outcome) -> Result<(), Miss> {
    if let Some(error) = &outcome.error {
        return Err(Miss::NotAnswered { error: error.clone() });
    }
    let want = output.status.filter(|status| *status != 0);
    if let Some(want) = want.filter(|want| outcome.status != Some(*want)) {
        return Err(Miss::Status { want, got: outcome.status });
    }
    if let Some(expression) = output.response_contains.as_deref().filter(|text| !text.is_empty())
        && !Expression::new(expression)?.0.is_match(&outcome.response)
    {
        return Err(Miss::Response { expression: expression.to_owned() });
    }
    Ok(())
}

fn judge_log(output: &Output, rules: &[u64], log: Option<&[String]>) -> Result<(), Miss> {
    if let (Some(expression), Some(lines)) = (output.match_regex(), log)
        && Expression::new(expression)?.first(lines).is_none()
    {
        return Err(Miss::LogLacks { expression: expression.to_owned() });
    }
    let missing: Vec<u64> = output.log.expect_ids.iter().filter(|id| !rules.contains(id)).copied().collect();
    if !missing.is_empty() {
        return Err(Miss::RulesLacking { missing, logged: distinct(rules) });
    }
    if output.isolated && distinct(rules).len() != 1 {
        return Err(Miss::NotIsolated { logged: distinct(rules) });
    }
    if let (Some(expression), Some(lines)) = (output.no_match_regex(), log)
        && let Some(line) = Expression::new(expression)?.first(lines)
    {
        return Err(Miss::LogHolds { expression: expression.to_owned(), line: line.to_owned() });
    }
    let unwanted: Vec<u64> =
        output.log.no_expect_ids.iter().filter(|id| rules.contains(id)).copied().collect();
    if unwanted.is_empty() { Ok(()) } else { Err(Miss::RulesUnwanted { unwanted }) }
}

fn distinct(rules: &[u64]) -> Vec<u64> {
    let mut rules = rules.to_vec();
    rules.sort_unstable();
    rules.dedup();
    rules
}

struct Expression(regex::bytes::Regex);

impl Expression {
    fn new(expression: &str) -> Result<Self, Miss> {
        let built = RegexBuilder::new(expression).size_limit(EXPRESSION_BYTES_MAX).build();
        built.map(Self).map_err(|_| Miss::Expression { expression: expression.to_owned() })
    }

    fn first<'a>(&self, lines: &'a [String]) -> Option<&'a str> {
        lines.iter().map(String::as_str).find(|line| self.0.is_match(line.as_bytes()))
    }
}

/// A status, or that there is none.
struct Shown(Option<u16>);

impl fmt::Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(status) => write!(formatter, "{status}"),
            None => formatter.write_str("none"),
        }
    }
}

/// Ids with commas between them.
struct Listed<'a>(&'a [u64]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("none");
        }
        for (place, id) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(formatter, "{comma}{id}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn outcome() -> Outcome {
        Outcome {
            status: Some(403),
            response: b"HTTP/1.1 403 Forbidden\r\n\r\nno \xff".to_vec(),
            rules: vec![942_100, 949_110, 942_100],
            log: Some(vec!["[id \"942100\"] found within ARGS:x".to_owned(), "second".to_owned()]),
            error: None,
        }
    }

    fn judged(output: &str, outcome: &Outcome, scope: Scope) -> String {
        let output: Output = yaml::read(output).unwrap().unwrap();
        match judge(&output, outcome, scope) {
            Verdict::Passed => "passed".to_owned(),
            Verdict::NotJudged => "not judged".to_owned(),
            Verdict::Failed(miss) => miss.to_string(),
        }
    }

    #[test]
    fn over_the_wire_everything_that_is_said_must_hold() {
        for (output, want) in [
            ("{}", "passed"),
            ("status: 403", "passed"),
            ("status: 0", "passed"),
            ("status: 200", "status 200 was expected, 403 came"),
            ("response_contains: '403 F'", "passed"),
            ("response_contains: yes!", "the answer does not match `yes!`"),
            ("log: {expect_ids: [949110, 942100]}", "passed"),
            ("log: {expect_ids: [1, 942100, 2]}", "not logged: 1, 2; logged: 942100, 949110"),
            ("log: {no_expect_ids: [1, 2]}", "passed"),
            ("log: {no_expect_ids: [1, 942100]}", "logged, and not expected: 942100"),
            ("log: {expect_ids: [942100], no_expect_ids: [942100]}", "logged, and not expected: 942100"),
            ("log: {match_regex: 'ARGS:[x-z]$'}", "passed"),
            ("log: {match_regex: '^found'}", "no line of the log matches `^found`"),
            ("log: {no_match_regex: '^found'}", "passed"),
            ("log: {no_match_regex: 'sec.nd'}", "a line of the log matches `sec.nd`: `second`"),
            ("log: {match_regex: '('}", "`(` is not a regular expression, or a huge one"),
            (
                "log: {match_regex: 'x{1000}{1000}'}",
                "`x{1000}{1000}` is not a regular expression, or a huge one",
            ),
            (
                "{isolated: true, log: {expect_ids: [942100]}}",
                "one rule alone was to log; logged: 942100, 949110",
            ),
            ("{status: 200, log: {expect_ids: [1]}}", "status 200 was expected, 403 came"),
            ("expect_error: true", "an answer came, and none was expected"),
            ("{expect_error: false, status: 403}", "passed"),
        ] {
            assert_eq!(judged(output, &outcome(), Scope::Wire), want, "{output}");
        }
        let alone = Outcome { rules: vec![1, 1], ..Outcome::default() };
        assert_eq!(judged("{isolated: true, log: {expect_ids: [1]}}", &alone, Scope::Wire), "passed");
        let silent = Outcome::default();
        assert_eq!(judged("status: 200", &silent, Scope::Wire), "status 200 was expected, none came");
        assert_eq!(judged("log: {match_regex: a}", &silent, Scope::Wire), "no line of the log matches `a`");
    }

    #[test]
    fn an_error_that_was_expected_is_enough_and_another_is_a_failure() {
        let failed = Outcome { error: Some("reset".to_owned()), ..Outcome::default() };
        for (output, want) in [
            ("expect_error: true", "passed"),
            ("{expect_error: true, status: 400, log: {expect_ids: [1]}}", "passed"),
            ("{}", "no answer: reset"),
            ("log: {no_expect_ids: [1]}", "no answer: reset"),
        ] {
            assert_eq!(judged(output, &failed, Scope::Wire), want, "{output}");
        }
    }

    #[test]
    fn an_engine_alone_shows_rules_and_what_it_logs() {
        let silent = Outcome { log: None, ..outcome() };
        for (output, with_log, without) in [
            ("status: 400", "not judged", "not judged"),
            ("expect_error: true", "not judged", "not judged"),
            ("{status: 400, log: {expect_ids: [942100]}}", "passed", "passed"),
            (
                "log: {no_expect_ids: [942100]}",
                "logged, and not expected: 942100",
                "logged, and not expected: 942100",
            ),
            ("log: {match_regex: second}", "passed", "not judged"),
            ("log: {no_match_regex: second}", "a line of the log matches `second`: `second`", "not judged"),
        ] {
            assert_eq!(judged(output, &outcome(), Scope::Engine), with_log, "{output}");
            assert_eq!(judged(output, &silent, Scope::Engine), without, "{output}");
        }
    }

    #[test]
    fn a_test_fails_with_its_first_stage_that_does() {
        let failed = |why: &str| Verdict::Failed(Miss::NotSent { why: why.to_owned() });
        for (name, one, two, want) in [
            ("both pass", Verdict::Passed, Verdict::Passed, Verdict::Passed),
            ("one is not judged", Verdict::NotJudged, Verdict::Passed, Verdict::Passed),
            ("none is judged", Verdict::NotJudged, Verdict::NotJudged, Verdict::NotJudged),
            ("the second fails", Verdict::Passed, failed("2"), failed("2")),
            ("both fail", failed("1"), failed("2"), failed("1")),
        ] {
            assert_eq!(one.and(two), want, "{name}");
        }
    }
}
