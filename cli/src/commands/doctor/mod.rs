// SPDX-License-Identifier: Apache-2.0
//! `sunbeam doctor`

mod backends;
mod host;
mod ports;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sunbeam_config::ConfigFiles;
use sunbeam_proxy::Config;

use super::Run;
use crate::api::Status;
use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::configuration;
use crate::exit::{CliError, ExitCode};
use crate::output::{Colour, Printer, aligned, escape, escape_lines};

/// Look for what is wrong around a node: DNS, ports, clock, limits, backends; each finding with its remedy
///
/// Exit code 1 when something failed; warnings do not count.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Doctor {}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Ok,
    Warning,
    Failed,
    NotChecked,
}

/// One line of the report.
#[derive(Clone, Debug)]
struct Finding {
    check: &'static str,
    outcome: Outcome,
    text: String,
    remedy: Option<String>,
}

/// What the checks look at.
struct Patient {
    config: Config,
    /// The node that runs with this configuration.
    node: Option<Status>,
}

type Check = fn(&Patient) -> Vec<Finding>;

/// The checks of what a configuration asks for, in the order of the report.
const CHECKS: &[Check] = &[
    backends::names,
    backends::leaks,
    ports::listeners,
    ports::privilege,
    host::file_limit,
    host::state_directory,
    host::decision_store,
    host::audit_disk,
    backends::trusted_proxies,
];

/// The checks of the machine alone.
const HOST_CHECKS: &[fn() -> Vec<Finding>] = &[host::clock, host::kernel];

impl Run for Doctor {
    const NAME: &'static str = "doctor";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let (mut findings, patient) = examine(global);
        match patient {
            Some(patient) => findings.extend(CHECKS.iter().flat_map(|check| check(&patient))),
            None => findings
                .push(Finding::not_checked("ports, disk, backends", "they follow from a configuration")),
        }
        findings.extend(HOST_CHECKS.iter().flat_map(|check| check()));
        let printer = global.printer();
        if printer.is_json() {
            printer.json(&findings.iter().map(Finding::as_json).collect::<Value>())?;
        } else {
            printer.raw(&text(&findings, printer))?;
        }
        Ok(verdict(&findings))
    }
}

impl Finding {
    fn new(check: &'static str, outcome: Outcome, text: impl Into<String>) -> Self {
        Self { check, outcome, text: text.into(), remedy: None }
    }

    fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(check, Outcome::Ok, text)
    }

    fn warning(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..Self::new(check, Outcome::Warning, text) }
    }

    fn failed(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..Self::new(check, Outcome::Failed, text) }
    }

    fn not_checked(check: &'static str, why: impl Into<String>) -> Self {
        Self::new(check, Outcome::NotChecked, why)
    }

    fn as_json(&self) -> Value {
        json!({"check": self.check, "outcome": self.outcome.word(), "finding": self.text, "remedy": self.remedy})
    }
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warn",
            Self::Failed => "fail",
            Self::NotChecked => "not checked",
        }
    }

    const fn colour(self) -> Colour {
        match self {
            Self::Ok => Colour::Green,
            Self::Warning => Colour::Yellow,
            Self::Failed => Colour::Red,
            Self::NotChecked => Colour::Dim,
        }
    }
}

/// Finds the node and the configuration; what cannot be found is a finding itself.
fn examine(global: &GlobalArgs) -> (Vec<Finding>, Option<Patient>) {
    let client = Client::connect_if_running(global);
    let node = match &client {
        Ok(Some(client)) => client.get("/api/v1/status").and_then(|answer| typed::<Status>(&answer)).ok(),
        _ => None,
    };
    let mut findings = vec![match (&node, &client) {
        (Some(node), _) => about_node(node),
        (None, Err(error)) => {
            Finding::warning("node", error.message.clone(), error.hint.clone().unwrap_or_default())
        }
        (None, Ok(_)) => Finding::not_checked("node", "none is running"),
    }];
    let (finding, patient) = match configuration::files(global, None) {
        Ok(files) => of_files(&files, global.config.is_some(), node),
        Err(missing) => match client.ok().flatten().map(|client| configuration::running(&client)) {
            Some(Ok((name, config))) => {
                (Finding::ok("configuration", format!("of {name}")), Some(Patient { config, node }))
            }
            _ => {
                let remedy = missing.hint.unwrap_or_default();
                (Finding::failed("configuration", missing.message, remedy), None)
            }
        },
    };
    findings.push(finding);
    (findings, patient)
}

/// `is_named`: the node was found through these files.
fn of_files(files: &ConfigFiles, is_named: bool, node: Option<Status>) -> (Finding, Option<Patient>) {
    let loaded = match configuration::checked(files) {
        Ok(loaded) => loaded,
        Err(error) => {
            let remedy = error.hint.unwrap_or_else(|| "`sunbeam validate` shows every problem".to_owned());
            return (Finding::failed("configuration", error.message, remedy), None);
        }
    };
    let text = format!("{}: ok", files.path.display());
    let finding = match loaded.warnings.len() {
        0 => Finding::ok("configuration", text),
        warnings => {
            let text = format!("{text}, {}", configuration::count(warnings, "warning"));
            Finding::warning("configuration", text, "`sunbeam validate` shows them")
        }
    };
    // The node may run with something else: then nothing follows from it for these files.
    let runs_with = |node: &Status| {
        node.config_files.iter().any(|file| is_same_file(node.pid, Path::new(file), &files.path))
    };
    let node = node.filter(|node| is_named || runs_with(node));
    (finding, Some(Patient { config: loaded.config, node }))
}

/// Whether a node means this file: by its own name for it, which may be relative to where it was started.
fn is_same_file(pid: i32, of_node: &Path, ours: &Path) -> bool {
    if of_node == ours {
        return true;
    }
    // Of another user's process only root can tell where it stands; then names are compared, as above.
    let of_node = if of_node.is_absolute() {
        of_node.to_owned()
    } else {
        match fs::read_link(format!("/proc/{pid}/cwd")) {
            Ok(folder) => folder.join(of_node),
            Err(_) => return false,
        }
    };
    match (of_node.canonicalize(), ours.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

fn about_node(node: &Status) -> Finding {
    if node.config_reload_failed {
        let error = escape_lines(node.config_error.as_deref().unwrap_or("see its log"));
        let text = format!("runs with an earlier configuration, the last reload failed: {error}");
        return Finding::failed("node", text, "mend the file (`sunbeam validate`), then `sunbeam reload`");
    }
    Finding::ok("node", format!("{}, process {}", escape(&node.status), node.pid))
}

fn text(findings: &[Finding], printer: Printer) -> String {
    let rows: Vec<Vec<String>> = findings
        .iter()
        .map(|finding| {
            let word = printer.paint(finding.outcome.colour(), finding.outcome.word());
            vec![word, finding.check.to_owned(), finding.text.clone()]
        })
        .collect();
    let table = aligned(rows.iter());
    let mut text = String::new();
    for (line, finding) in table.lines().zip(findings) {
        text.push_str(line);
        text.push('\n');
        if let Some(remedy) = finding.remedy.as_ref().filter(|remedy| !remedy.is_empty()) {
            text.push_str(&format!("             remedy: {remedy}\n"));
        }
    }
    let failed = findings.iter().filter(|finding| finding.outcome == Outcome::Failed).count();
    let warned = findings.iter().filter(|finding| finding.outcome == Outcome::Warning).count();
    text.push_str(&format!("{failed} failed, {}\n", configuration::count(warned, "warning")));
    text
}

fn verdict(findings: &[Finding]) -> ExitCode {
    let failed = findings.iter().any(|finding| finding.outcome == Outcome::Failed);
    if failed { ExitCode::Findings } else { ExitCode::Done }
}

/// The nearest directory above that exists.
fn existing(path: &Path) -> &Path {
    let mut path = path;
    while !path.exists() {
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => path = parent,
            _ => return Path::new("."),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    #[test]
    fn only_a_failure_changes_the_exit_code_and_each_finding_has_its_remedy() {
        let mut findings = vec![
            Finding::ok("a", "fine"),
            Finding::warning("b", "hm", "do this"),
            Finding::not_checked("c", "why"),
        ];
        assert_eq!(verdict(&findings), ExitCode::Done);
        findings.push(Finding::failed("d", "bad", "do that"));
        assert_eq!(verdict(&findings), ExitCode::Findings);
        let text = text(&findings, Printer::new(Format::Table, true));
        assert!(
            text.contains("do this") && text.contains("do that") && text.ends_with("1 failed, 1 warning\n"),
            "{text}"
        );
    }

    #[test]
    fn every_check_runs_on_the_defaults() {
        let patient = Patient { config: Config::default(), node: None };
        let findings: Vec<Finding> = CHECKS.iter().flat_map(|check| check(&patient)).collect();
        assert!(findings.len() >= CHECKS.len(), "{findings:?}");
        assert!(
            findings.iter().all(|finding| finding.remedy.is_some() || finding.outcome != Outcome::Failed)
        );
    }
}
