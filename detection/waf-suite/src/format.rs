// SPDX-License-Identifier: Apache-2.0
//! A file of tests as it is written, version 2 of the format. A key that nobody knows is a fault: a misspelt
//! expectation would pass for ever.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A file of tests: those of one rule.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestFile {
    /// Who wrote it, and why. One published file leaves it empty.
    pub meta: Option<Meta>,
    /// The author, beside `meta` where it belongs inside: one published file has it so.
    pub author: Option<String>,
    /// The rule that is tested; without it, the first number in the file's name.
    pub rule_id: Option<u64>,
    /// The tests, in their order.
    #[serde(default)]
    pub tests: Vec<Test>,
}

/// What a file says of itself. Nothing here changes a test.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    /// Who wrote the tests.
    pub author: Option<String>,
    /// What the file is about.
    pub description: Option<String>,
    /// The file's name for itself.
    pub name: Option<String>,
    /// The version of the format.
    pub version: Option<String>,
    /// Free labels.
    #[serde(default)]
    pub tags: Vec<String>,
    /// No longer read by anybody: overrides took its place.
    pub enabled: Option<bool>,
}

/// One test: requests that go out one after another, each with what is to come of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// The test's number within its file; without it, its place, counted from 1.
    pub test_id: Option<u64>,
    /// An older name; not used.
    pub test_title: Option<String>,
    /// What the test is for.
    pub desc: Option<String>,
    /// The requests, in order.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// Free labels.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// One request and what is to come of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// What the stage is for.
    pub description: Option<String>,
    /// What is sent.
    #[serde(default)]
    pub input: Input,
    /// What is to come of it.
    #[serde(default)]
    pub output: Output,
}

/// What is sent, and whereto. What is left out has the defaults that [`crate::request`] names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The server's address.
    pub dest_addr: Option<String>,
    /// The server's port.
    pub port: Option<u16>,
    /// `http` or `https`.
    pub protocol: Option<String>,
    /// The request's method.
    pub method: Option<String>,
    /// The request's target, as it goes out.
    pub uri: Option<String>,
    /// The third word of the request line. May be empty.
    pub version: Option<String>,
    /// Header fields by name, in the order of the file.
    pub headers: Option<Fields>,
    /// Header fields in an order that counts, names twice where that is meant. Goes before `headers`.
    pub ordered_headers: Option<Vec<Header>>,
    /// The body, perhaps with a template in it.
    pub data: Option<String>,
    /// The body in Base64, where `data` is not given.
    pub encoded_data: Option<String>,
    /// A whole request in Base64: nothing else is looked at.
    pub encoded_request: Option<String>,
    /// Whether fields that a client sends are added. Yes, where nothing is said.
    pub autocomplete_headers: Option<bool>,
    /// The older form of `autocomplete_headers`, turned round.
    pub stop_magic: Option<bool>,
    /// Whether the stage goes where the answer before it points. Not done here: building such a stage is refused.
    pub follow_redirect: Option<bool>,
    /// Whether cookies are carried to the next stage. The reference runner reads it and does nothing.
    pub save_cookie: Option<bool>,
    /// Whether marker requests use the test's host. For runners that mark logs.
    pub virtual_host_mode: Option<bool>,
}

/// One header field of `ordered_headers`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The field's name.
    pub name: String,
    /// The field's value.
    #[serde(default)]
    pub value: String,
}

/// What is to come of a request. Everything that is said must hold.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The answer's status. 0 says nothing.
    pub status: Option<u16>,
    /// A regular expression for the answer as it came, head and body.
    pub response_contains: Option<String>,
    /// What the log is to hold, and what not.
    #[serde(default)]
    pub log: Log,
    /// The older form of `log.match_regex`.
    pub log_contains: Option<String>,
    /// The older form of `log.no_match_regex`.
    pub no_log_contains: Option<String>,
    /// Whether there is to be no answer. Then nothing else is looked at.
    pub expect_error: Option<bool>,
    /// Whether a stage that failed is tried once more: for logs that are written late.
    pub retry_once: Option<bool>,
    /// Whether exactly one rule is to log. Needs exactly one id in `expect_ids`.
    #[serde(default)]
    pub isolated: bool,
}

/// What the log is to hold, and what not.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Rules that all must have logged.
    pub expect_ids: Vec<u64>,
    /// Rules of which none may have logged.
    pub no_expect_ids: Vec<u64>,
    /// A regular expression that one line of the log must match.
    pub match_regex: Option<String>,
    /// A regular expression that no line of the log may match.
    pub no_match_regex: Option<String>,
}

/// A map of names to texts in the order in which it is written. Numbers are kept as they are spelt; nothing is "".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map of names to texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Option<String>>()? {
            fields.push((name, value.unwrap_or_default()));
        }
        Ok(Fields(fields))
    }
}

impl Output {
    /// Whether anything is said about rules by their ids.
    pub fn names_rules(&self) -> bool {
        !self.log.expect_ids.is_empty() || !self.log.no_expect_ids.is_empty()
    }

    /// The expression that a line of the log must match, in the newer form or the older.
    pub fn match_regex(&self) -> Option<&str> {
        let older = self.log_contains.as_deref().filter(|_| self.log.expect_ids.is_empty());
        filled(self.log.match_regex.as_deref()).or_else(|| filled(older))
    }

    /// The expression that no line of the log may match, in the newer form or the older.
    pub fn no_match_regex(&self) -> Option<&str> {
        let older = self.no_log_contains.as_deref().filter(|_| self.log.no_expect_ids.is_empty());
        filled(self.log.no_match_regex.as_deref()).or_else(|| filled(older))
    }
}

impl Input {
    /// Whether fields that a client sends are added to the test's own.
    pub fn autocompletes(&self) -> bool {
        self.autocomplete_headers.unwrap_or_else(|| !self.stop_magic.unwrap_or(false))
    }
}

impl Stage {
    /// What cannot be meant in a stage, in words.
    pub fn contradiction(&self) -> Option<&'static str> {
        let is_filled = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        if is_filled(&self.input.data) && is_filled(&self.input.encoded_request) {
            return Some("`data` and `encoded_request` stand together");
        }
        if self.output.isolated && self.output.log.expect_ids.len() != 1 {
            return Some("`isolated` needs exactly one id in `expect_ids`");
        }
        None
    }
}

fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    const FILE: &str = r#"---
meta:
  author: "somebody"
rule_id: 920100
tests:
  - test_id: 4
    desc: |
      two lines
      of text
    stages:
      - input:
          dest_addr: 127.0.0.1
          port: 80
          headers:
            Zebra: "1"
            Content-Length: 007
            Accept: "*/*"
            Empty:
          method: POST
          data: |-
            a
            b
          stop_magic: true
        output:
          status: 403
          log:
            expect_ids: [1, 2]
            no_match_regex: '\[id "\d+"\]'
"#;

    #[test]
    fn a_file_is_read_as_it_stands() {
        let file: TestFile = yaml::read(FILE).unwrap().unwrap();
        assert_eq!(file.rule_id, Some(920_100));
        let test = &file.tests[0];
        assert_eq!((test.test_id, test.desc.as_deref()), (Some(4), Some("two lines\nof text\n")));
        let stage = &test.stages[0];
        let headers = [("Zebra", "1"), ("Content-Length", "007"), ("Accept", "*/*"), ("Empty", "")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(stage.input.headers, Some(Fields(headers.to_vec())));
        assert_eq!(stage.input.data.as_deref(), Some("a\nb"));
        assert!(!stage.input.autocompletes());
        assert_eq!(stage.output.status, Some(403));
        assert_eq!(stage.output.log.expect_ids, [1, 2]);
        assert_eq!(stage.output.no_match_regex(), Some(r#"\[id "\d+"\]"#));
        assert!(stage.output.names_rules());
        assert_eq!(stage.contradiction(), None);
    }

    #[test]
    fn what_is_misspelt_or_twice_there_is_a_fault_with_its_line() {
        for (name, from, to) in [
            ("unknown in output", "status: 403", "state: 403"),
            ("unknown in input", "stop_magic", "stop_majic"),
            ("not a number", "port: 80", "port: eighty"),
            ("too large for a port", "port: 80", "port: 80000"),
            ("a field twice", "Accept: \"*/*\"", "Zebra: two"),
        ] {
            let (before, after) = FILE.split_once(from).unwrap();
            let fault = yaml::read::<TestFile>(&format!("{before}{to}{after}")).unwrap_err();
            let line = u64::try_from(before.lines().count()).unwrap();
            assert_eq!(fault.line, line, "{name}: {fault:?}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        for (name, text, want) in [
            ("nothing", "{}", false),
            ("body and whole", "input: {data: a, encoded_request: YQ==}", true),
            ("empty body and whole", "input: {data: '', encoded_request: YQ==}", false),
            ("isolated alone", "output: {isolated: true}", true),
            ("isolated with two", "output: {isolated: true, log: {expect_ids: [1, 2]}}", true),
            ("isolated with one", "output: {isolated: true, log: {expect_ids: [1]}}", false),
        ] {
            let stage: Stage = yaml::read(text).unwrap().unwrap();
            assert_eq!(stage.contradiction().is_some(), want, "{name}");
        }
    }

    #[test]
    fn the_older_form_of_a_log_expectation_counts_where_the_newer_is_not() {
        for (name, text, want) in [
            ("older alone", "log_contains: old", Some("old")),
            ("both", "{log_contains: old, log: {match_regex: new}}", Some("new")),
            ("older beside ids", "{log_contains: old, log: {expect_ids: [1]}}", None),
            ("empty", "log: {match_regex: ''}", None),
        ] {
            let output: Output = yaml::read(text).unwrap().unwrap();
            assert_eq!(output.match_regex(), want, "{name}");
        }
        let output: Output = yaml::read("no_log_contains: old").unwrap().unwrap();
        assert_eq!(output.no_match_regex(), Some("old"));
    }
}
