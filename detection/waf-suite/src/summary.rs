// SPDX-License-Identifier: Apache-2.0
//! What a run of a suite came to: totals, and what failed, by file.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::expectation::Verdict;
use crate::load::Case;

/// The totals of a run, and its failures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Tests of which every stage passed that could be judged.
    pub passed: usize,
    /// Tests of which a stage failed.
    pub failed: usize,
    /// Tests that say nothing that could be judged.
    pub not_judged: usize,
    /// Tests that were held against an override, whatever came of them.
    pub overridden: usize,
    /// The titles of those that pass without their override, too: it is of no use any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needless_overrides: Vec<String>,
    /// What failed, by file, in the order in which it was run.
    pub failures: BTreeMap<String, Vec<Failure>>,
}

/// A test that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The test's title.
    pub title: String,
    /// What did not come as it was said.
    pub reason: String,
}

impl Summary {
    /// Counts a test.
    pub fn add(&mut self, case: &Case, verdict: &Verdict) {
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::NotJudged => self.not_judged += 1,
            Verdict::Failed(miss) => {
                self.failed += 1;
                let failure = Failure { title: case.title.clone(), reason: miss.to_string() };
                self.failures.entry(case.file.clone()).or_default().push(failure);
            }
        }
    }

    /// Tests in all.
    pub fn tests(&self) -> usize {
        self.passed + self.failed + self.not_judged
    }

    /// The summary as one JSON document.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (file, failures) in &self.failures {
            writeln!(formatter, "{file}")?;
            for failure in failures {
                writeln!(formatter, "  {}: {}", failure.title, failure.reason)?;
            }
        }
        write!(formatter, "{} tests: {} passed, {} failed", self.tests(), self.passed, self.failed)?;
        if self.not_judged > 0 {
            write!(formatter, ", {} not judged", self.not_judged)?;
        }
        if self.overridden > 0 {
            write!(formatter, " ({} by an override)", self.overridden)?;
        }
        if !self.needless_overrides.is_empty() {
            write!(formatter, "\npass without their override: {}", self.needless_overrides.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expectation::Miss;
    use crate::format::Test;

    #[test]
    fn totals_and_failures_are_told_in_both_forms() {
        let case = |file: &str, title: &str| Case {
            title: title.to_owned(),
            file: file.to_owned(),
            rule_id: 1,
            test_id: 1,
            test: Test::default(),
        };
        let mut summary = Summary::default();
        assert_eq!(summary.to_string(), "0 tests: 0 passed, 0 failed");
        summary.add(&case("b.yaml", "2-1"), &Verdict::Failed(Miss::Answered));
        summary.add(&case("a.yaml", "1-1"), &Verdict::Passed);
        summary.add(&case("a.yaml", "1-2"), &Verdict::Failed(Miss::Status { want: 400, got: Some(200) }));
        summary.add(&case("a.yaml", "1-3"), &Verdict::NotJudged);
        summary.overridden += 1;
        assert_eq!(
            summary.to_string(),
            "a.yaml\n  1-2: status 400 was expected, 200 came\nb.yaml\n  2-1: an answer came, and none was expected\n\
             4 tests: 1 passed, 2 failed, 1 not judged (1 by an override)"
        );
        assert!(!summary.to_json().contains("needless"));
        summary.needless_overrides.push("1-1".to_owned());
        assert!(summary.to_string().ends_with("(1 by an override)\npass without their override: 1-1"));
        let json: serde_json::Value = serde_json::from_str(&summary.to_json()).unwrap();
        assert_eq!(json["failed"], 2);
        assert_eq!(json["failures"]["a.yaml"][0]["title"], "1-2");
    }
}
