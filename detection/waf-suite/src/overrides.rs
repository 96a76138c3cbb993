// SPDX-License-Identifier: Apache-2.0
//! Where a platform answers otherwise than a test says, with the reason: the overrides file of `go-ftw`, in YAML or
//! TOML. An override takes the place of the whole expectation.

use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::format::Output;
use crate::load::{self, LoadError};
use crate::yaml;

/// A file of overrides.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    /// The version of the format.
    pub version: Option<String>,
    /// Which platform it is for.
    pub meta: Option<OverridesMeta>,
    /// The overrides. Of two for the same stage the later counts.
    #[serde(default)]
    pub test_overrides: Vec<TestOverride>,
}

/// Which platform overrides are for. Nothing here changes a test.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverridesMeta {
    /// The engine's name.
    pub engine: Option<String>,
    /// The server's name.
    pub platform: Option<String>,
    /// Anything else.
    pub annotations: Option<IgnoredAny>,
}

/// What is expected instead, and why.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestOverride {
    /// The rule whose tests are meant.
    pub rule_id: u64,
    /// The tests that are meant; all, where none is named.
    #[serde(default)]
    pub test_ids: Vec<u64>,
    /// The stages that are meant, counted from 0; all, where none is named.
    #[serde(default)]
    pub stage_ids: Vec<u64>,
    /// Why the platform answers otherwise.
    pub reason: String,
    /// Whether a stage that failed is tried once more.
    pub retry_once: Option<bool>,
    /// What is expected. Nothing at all, where it is left out.
    #[serde(default)]
    pub output: Output,
}

impl Overrides {
    /// Reads a file: TOML where its name ends so, else YAML. A text of blanks and comments has no overrides.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let (name, text) = (path.display().to_string(), load::text(path)?);
        if path.extension().is_some_and(|extension| extension == "toml") {
            Self::from_toml(&name, &text)
        } else {
            Self::from_yaml(&name, &text)
        }
    }

    /// Reads YAML. The name stands in errors.
    pub fn from_yaml(name: &str, text: &str) -> Result<Self, LoadError> {
        let read = yaml::read(text).map_err(|fault| LoadError::of(name, fault))?;
        Ok(read.unwrap_or_default())
    }

    /// Reads TOML. The name stands in errors.
    pub fn from_toml(name: &str, text: &str) -> Result<Self, LoadError> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let (line, column) = place(before);
            LoadError::of(name, yaml::Fault { line, column, text: error.message().to_owned() })
        })
    }

    /// The override for a stage, if there is one. The stage counts from 0.
    pub fn of(&self, rule_id: u64, test_id: u64, stage: usize) -> Option<&TestOverride> {
        let is_meant = |ids: &[u64], id: u64| ids.is_empty() || ids.contains(&id);
        let stage = u64::try_from(stage).unwrap_or(u64::MAX);
        self.test_overrides.iter().rev().find(|one| {
            one.rule_id == rule_id && is_meant(&one.test_ids, test_id) && is_meant(&one.stage_ids, stage)
        })
    }
}

/// The line and column after a text, counted from 1.
fn place(before: &str) -> (u64, u64) {
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let last = before.rsplit('\n').next().unwrap_or_default();
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    (count(line), count(last.chars().count() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = r#"---
version: "v0.0.0"
meta:
  engine: "x"
  platform: "y"
  annotations:
    - os: "z"
test_overrides:
  - rule_id: 920100
    test_ids: [4, 5]
    reason: first
    output:
      status: 400
  - rule_id: 920100
    test_ids: [5]
    stage_ids: [1]
    reason: second
    output:
      log:
        no_expect_ids: [920100]
  - rule_id: 7
    reason: all tests, nothing expected
"#;

    const TOML: &str = r#"
version = "v0.0.0"
meta = { engine = "x", platform = "y", annotations = [{ os = "z" }] }

[[test_overrides]]
rule_id = 920100
test_ids = [4, 5]
reason = "first"
output.status = 400

[[test_overrides]]
rule_id = 920100
test_ids = [5]
stage_ids = [1]
reason = "second"
output.log.no_expect_ids = [920100]

[[test_overrides]]
rule_id = 7
reason = "all tests, nothing expected"
"#;

    #[test]
    fn yaml_and_toml_say_the_same() {
        let both = [Overrides::from_yaml("x", YAML).unwrap(), Overrides::from_toml("x", TOML).unwrap()];
        for overrides in both {
            let reason = |rule, test, stage| overrides.of(rule, test, stage).map(|one| one.reason.as_str());
            assert_eq!(reason(920_100, 4, 0), Some("first"));
            assert_eq!(reason(920_100, 5, 0), Some("first"));
            assert_eq!(reason(920_100, 5, 1), Some("second"));
            assert_eq!(reason(920_100, 6, 0), None);
            assert_eq!(reason(7, 12, 3), Some("all tests, nothing expected"));
            assert_eq!(overrides.of(920_100, 4, 0).unwrap().output.status, Some(400));
            assert_eq!(overrides.of(920_100, 5, 1).unwrap().output.log.no_expect_ids, [920_100]);
            assert_eq!(overrides.of(7, 1, 0).unwrap().output, Output::default());
        }
    }

    #[test]
    fn a_fault_has_its_place() {
        let text = YAML.replace("    reason: second\n", "    raeson: second\n");
        let error = Overrides::from_yaml("o.yaml", &text).unwrap_err().to_string();
        assert!(error.starts_with("o.yaml:17:"), "{error}");
        let text = TOML.replace("output.status = 400", "output.state = 400");
        let error = Overrides::from_toml("o.toml", &text).unwrap_err().to_string();
        assert!(error.starts_with("o.toml:9:"), "{error}");
        assert!(Overrides::from_yaml("o.yaml", "# none\n").unwrap().test_overrides.is_empty());
    }
}
