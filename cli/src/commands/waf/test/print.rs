// SPDX-License-Identifier: Apache-2.0
//! What a run came to.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};
use sunbeam_waf_suite::expectation::Verdict;

use super::{Asked, Ran, Summary};
use crate::exit::CliError;
use crate::output::{Colour, Printer, escape};

pub(super) struct Report {
    /// How the tests were run, and by which settings.
    how: String,
    pub(super) summary: Summary,
    /// By the folder of the tests' files.
    groups: BTreeMap<String, Counts>,
    tests: Vec<Line>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    passed: usize,
    failed: usize,
    not_judged: usize,
}

struct Line {
    title: String,
    file: String,
    verdict: &'static str,
    reason: Option<String>,
    log: Vec<String>,
}

impl Report {
    pub(super) fn in_process(own_settings: bool) -> Self {
        let settings = if own_settings {
            "the configuration's settings"
        } else {
            "the settings that the tests are meant for"
        };
        Self::new(format!("in this process, by {settings}"))
    }

    pub(super) fn over_wire(address: SocketAddr) -> Self {
        Self::new(format!("by the node at http://{address}, by its own settings"))
    }

    fn new(how: String) -> Self {
        Self { how, summary: Summary::default(), groups: BTreeMap::new(), tests: Vec::new() }
    }

    pub(super) fn add(&mut self, asked: &Asked, ran: Ran) {
        let case = &asked.case;
        self.summary.add(case, &ran.verdict);
        self.summary.overridden += usize::from(asked.without_override.is_some());
        if ran.without_override == Some(Verdict::Passed) {
            self.summary.needless_overrides.push(case.title.clone());
        }
        let group = case.file.rsplit_once('/').map_or(case.file.as_str(), |(folder, _)| folder);
        let counts = self.groups.entry(group.to_owned()).or_default();
        let (verdict, count) = match ran.verdict {
            Verdict::Passed => ("passed", &mut counts.passed),
            Verdict::Failed(_) => ("failed", &mut counts.failed),
            Verdict::NotJudged => ("not judged", &mut counts.not_judged),
        };
        *count += 1;
        let reason = match &ran.verdict {
            Verdict::Failed(miss) => Some(miss.to_string()),
            Verdict::Passed | Verdict::NotJudged => None,
        };
        let (title, file) = (case.title.clone(), case.file.clone());
        self.tests.push(Line { title, file, verdict, reason, log: ran.log });
    }

    pub(super) fn print(&self, printer: Printer, is_verbose: bool) -> Result<(), CliError> {
        if printer.is_json() {
            return printer.json(&self.as_json(is_verbose));
        }
        if is_verbose {
            for test in &self.tests {
                let verdict = paint(printer, test.verdict);
                printer.line(format_args!("{verdict}  {}  {}", test.title, escape(&test.file)))?;
                for line in &test.log {
                    printer.line(format_args!("    {}", escape(line)))?;
                }
            }
            printer.line("")?;
        }
        let row = |(group, counts): (&String, &Counts)| {
            let failed = match counts.failed {
                0 => "0".to_owned(),
                failed => printer.paint(Colour::Red, &failed.to_string()),
            };
            vec![escape(group), counts.passed.to_string(), failed, counts.not_judged.to_string()]
        };
        let rows: Vec<Vec<String>> = self.groups.iter().map(row).collect();
        printer.table(&["TESTS", "PASSED", "FAILED", "NOT JUDGED"], &rows)?;
        printer.line("")?;
        // A failure's reason may quote what a test sent.
        self.summary.to_string().lines().try_for_each(|line| printer.line(escape(line)))?;
        printer.line(printer.paint(Colour::Dim, &format!("run {}", self.how)))
    }

    fn as_json(&self, is_verbose: bool) -> Value {
        let mut answer = serde_json::to_value(&self.summary).unwrap_or_default();
        if let Some(object) = answer.as_object_mut() {
            object.insert("tests".to_owned(), self.summary.tests().into());
            object.insert("run".to_owned(), self.how.clone().into());
            if is_verbose {
                let line = |test: &Line| {
                    json!({
                        "title": test.title, "file": test.file, "verdict": test.verdict, "reason": test.reason,
                        "log": test.log,
                    })
                };
                object.insert("verdicts".to_owned(), self.tests.iter().map(line).collect());
            }
        }
        answer
    }
}

fn paint(printer: Printer, verdict: &str) -> String {
    let colour = match verdict {
        "passed" => Colour::Green,
        "failed" => Colour::Red,
        _ => Colour::Dim,
    };
    printer.paint(colour, verdict)
}
