// SPDX-License-Identifier: Apache-2.0
//! `sunbeam waf test`

mod audit_lines;
mod in_process;
mod print;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;

use sunbeam_waf_suite::expectation::Verdict;
use sunbeam_waf_suite::format::{Output, Stage};
use sunbeam_waf_suite::load::{Case, Suite};
use sunbeam_waf_suite::overrides::Overrides;
use sunbeam_waf_suite::summary::Summary;

use super::settings::RuleArgs;
use crate::cli::GlobalArgs;
use crate::exit::{CliError, ExitCode, told};
use crate::output::escape;
use crate::progress::Progress;
use in_process::InProcess;
use wire::Wire;

/// Run tests of rules, written as the OWASP Core Rule Set writes its own (go-ftw)
///
/// Without `--url` the rules are read and asked in this process; status and answers of a server are not judged then. The
/// settings are those that the Core Rule Set's tests are meant for: nothing is refused, paranoia level 4, answers are
/// looked at; `--own-settings` takes the configuration's instead. With `--url` the bytes of each test go to a running
/// node, exactly as the test has them, and what its rules found is read from its audit log (what they matched, too, with `audit.matches`): the node must be told to use
/// such settings itself, and `sunbeam waf backend` serves what the tests need behind it. Exit code 1 when a test fails.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Test {
    /// Files of tests, or folders with *.yaml in them
    #[arg(value_name = "FILE|DIR", required = true)]
    tests: Vec<PathBuf>,
    #[command(flatten)]
    rules: RuleArgs,
    /// Only these tests, or all of a rule: `920100-1`, `920100`
    #[arg(long = "title", value_name = "TITLE")]
    titles: Vec<String>,
    /// What is expected instead where a platform answers otherwise, in the format of go-ftw, as YAML or TOML
    #[arg(long, value_name = "FILE")]
    overrides: Option<PathBuf>,
    /// The configuration's own limits, thresholds and level instead of those that the tests are meant for
    #[arg(long, conflicts_with = "url")]
    own_settings: bool,
    /// Send the tests to a node: http://127.0.0.1:8080, an address and a port
    #[arg(long, value_name = "URL", value_parser = address, requires = "audit_log")]
    url: Option<SocketAddr>,
    /// The audit log that this node writes
    #[arg(long, value_name = "FILE", requires = "url")]
    audit_log: Option<PathBuf>,
    /// How many tests are sent at the same time; more than one where no rule remembers earlier requests
    #[arg(long, value_name = "N", default_value = "1", requires = "url", value_parser = clap::value_parser!(u8).range(1..=64))]
    connections: u8,
    /// Print every test and which rules logged
    #[arg(long)]
    verbose: bool,
}

/// A test, and what came of it.
#[derive(Debug)]
struct Ran {
    verdict: Verdict,
    /// The verdict by what the test itself says, where an override took its place.
    without_override: Option<Verdict>,
    /// What rules logged, as lines of a log.
    log: Vec<String>,
}

impl Default for Ran {
    fn default() -> Self {
        Self { verdict: Verdict::NotJudged, without_override: None, log: Vec::new() }
    }
}

/// Whoever runs tests.
trait Runner {
    /// Runs some of them, in order.
    fn run(&mut self, tests: &[Asked]) -> Result<Vec<Ran>, CliError>;

    /// How many at once.
    const AT_ONCE: usize;
}

/// A test with its overrides put in.
#[derive(Debug)]
struct Asked {
    case: Case,
    /// What the stages themselves expect, where any of them has an override.
    without_override: Option<Vec<Output>>,
}

impl Asked {
    /// The verdict by what the test itself says, if that was overridden.
    fn all_without_override<'a, T: 'a>(
        &self,
        outcomes: impl Iterator<Item = &'a T>,
        judge: impl Fn(&Output, &T) -> Verdict,
    ) -> Option<Verdict> {
        let verdicts = self
            .without_override
            .as_ref()?
            .iter()
            .zip(outcomes)
            .map(|(output, outcome)| judge(output, outcome));
        verdicts.reduce(Verdict::and)
    }
}

impl Test {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let tests = self.read()?;
        let printer = global.printer();
        let report = match (self.url, &self.audit_log) {
            (Some(address), Some(log)) => {
                let runner = Wire::new(address, log, self.of_rules(global)?, self.connections.into())?;
                self.run_by(runner, &tests, print::Report::over_wire(address))?
            }
            _ => {
                let runner = InProcess::new(global, &self.rules, self.own_settings)?;
                let report = print::Report::in_process(self.own_settings);
                self.run_by(runner, &tests, report)?
            }
        };
        report.print(printer, self.verbose)?;
        Ok(if report.summary.failed == 0 { ExitCode::Done } else { ExitCode::Findings })
    }

    fn run_by<R: Runner>(
        &self,
        mut runner: R,
        tests: &[Asked],
        mut report: print::Report,
    ) -> Result<print::Report, CliError> {
        let mut progress = Progress::of_steps("running tests", tests.len() as u64);
        let mut done = 0;
        for some in tests.chunks(R::AT_ONCE) {
            for (asked, ran) in some.iter().zip(runner.run(some)?) {
                report.add(asked, ran);
            }
            done += some.len() as u64;
            progress.tell(done, done);
        }
        Ok(report)
    }

    /// What rules say of themselves, where they were named: an audit log has their numbers only.
    fn of_rules(&self, global: &GlobalArgs) -> Result<wire::Texts, CliError> {
        if self.rules.ruleset.is_none() && self.rules.crs_path.is_none() {
            return Ok(wire::Texts::default());
        }
        Ok(wire::Texts::of(&self.rules.load(global)?.rules))
    }

    fn read(&self) -> Result<Vec<Asked>, CliError> {
        let refused = |error: &(dyn std::error::Error + 'static)| CliError::usage(escape(&told(error)));
        let overrides = match &self.overrides {
            Some(path) => Overrides::load(path).map_err(|error| refused(&error))?,
            None => Overrides::default(),
        };
        let mut tests = Vec::new();
        for path in &self.tests {
            let suite = Suite::load(path).map_err(|error| refused(&error))?;
            let wanted = suite.cases.into_iter().filter(|case| self.wants(case));
            tests.extend(wanted.map(|case| asked(case, &overrides)));
        }
        if tests.is_empty() {
            let shown: Vec<String> = self.tests.iter().map(|path| path.display().to_string()).collect();
            return Err(CliError::usage(format!("no test is meant in {}", escape(&shown.join(", "))))
                .hint("a folder's tests are its *.yaml; `--title` is `RULE-TEST` or `RULE`"));
        }
        Ok(tests)
    }

    fn wants(&self, case: &Case) -> bool {
        let is_meant = |title: &String| *title == case.title || *title == case.rule_id.to_string();
        self.titles.is_empty() || self.titles.iter().any(is_meant)
    }
}

fn asked(mut case: Case, overrides: &Overrides) -> Asked {
    let own: Vec<Output> = case.test.stages.iter().map(|stage| stage.output.clone()).collect();
    let mut is_overridden = false;
    for (number, stage) in case.test.stages.iter_mut().enumerate() {
        if let Some(found) = overrides.of(case.rule_id, case.test_id, number) {
            is_overridden = true;
            put_in(stage, found.output.clone(), found.retry_once);
        }
    }
    Asked { case, without_override: is_overridden.then_some(own) }
}

fn put_in(stage: &mut Stage, output: Output, retry_once: Option<bool>) {
    stage.output = output;
    stage.output.retry_once = retry_once.or(stage.output.retry_once);
}

/// `http://127.0.0.1:8080`
fn address(url: &str) -> Result<SocketAddr, String> {
    let wrong = || "expected http:// and an address and port, as in http://127.0.0.1:8080".to_owned();
    let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
    rest.trim_end_matches('/').parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use sunbeam_waf_suite::expectation::{Outcome, Scope, judge};

    use super::*;

    #[test]
    fn a_node_is_named_by_address_and_port() {
        for (url, want) in [
            ("http://127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("http://[::1]:80/", Some("[::1]:80")),
            ("https://127.0.0.1:8443", None),
            ("http://localhost:80", None),
            ("http://127.0.0.1", None),
            ("127.0.0.1:80", None),
        ] {
            assert_eq!(address(url).ok().map(|address| address.to_string()).as_deref(), want, "{url}");
        }
    }

    #[test]
    fn an_override_takes_the_place_of_the_expectation() {
        let mut suite = Suite::default();
        let text = "rule_id: 7\ntests: [{stages: [{output: {status: 200}}, {output: {status: 200}}]}]";
        suite.add("7.yaml", text).unwrap();
        let text = "test_overrides: [{rule_id: 7, stage_ids: [1], reason: x, retry_once: true, output: {status: 400}}]";
        let overrides = Overrides::from_yaml("o.yaml", text).unwrap();
        let asked = asked(suite.cases.remove(0), &overrides);
        let of = |number: usize| {
            let output = &asked.case.test.stages[number].output;
            (output.status, output.retry_once)
        };
        assert_eq!((of(0), of(1)), ((Some(200), None), (Some(400), Some(true))));
        let own: Vec<_> = asked.without_override.iter().flatten().map(|output| output.status).collect();
        assert_eq!(own, [Some(200); 2]);
        let status = |output: &Output, status: &u16| {
            judge(output, &Outcome { status: Some(*status), ..Outcome::default() }, Scope::Wire)
        };
        assert_eq!(asked.all_without_override([200, 200].iter(), status), Some(Verdict::Passed));
        assert!(matches!(asked.all_without_override([200, 400].iter(), status), Some(Verdict::Failed(_))));
    }
}
