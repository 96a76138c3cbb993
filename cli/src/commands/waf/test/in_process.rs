// SPDX-License-Identifier: Apache-2.0
//! Tests, asked of the engine in this process.

use sunbeam_waf::engine::Transaction;
use sunbeam_waf::rules::RuleOptions;
use sunbeam_waf_suite::engine;
use sunbeam_waf_suite::expectation::{Miss, Scope, Verdict, judge};

use super::{Asked, Ran, Runner};
use crate::cli::GlobalArgs;
use crate::commands::waf::settings::{Loaded, RuleArgs, read};
use crate::exit::CliError;

pub(super) struct InProcess {
    loaded: Loaded,
    transaction: Transaction,
}

/// What the tests of the Core Rule Set are meant for.
const PARANOIA_LEVEL: u8 = 4;

impl InProcess {
    pub(super) fn new(global: &GlobalArgs, rules: &RuleArgs, own_settings: bool) -> Result<Self, CliError> {
        let mut options = rules.options(global)?;
        if !own_settings {
            options = RuleOptions {
                before: engine::settings(rules.paranoia_level.unwrap_or(PARANOIA_LEVEL)),
                responses: true,
                body_max: engine::BODY_BYTES_MAX,
                ..options
            };
        }
        let loaded = read(options)?;
        let transaction = Transaction::new(loaded.rules.clone());
        Ok(Self { loaded, transaction })
    }

    fn one(&mut self, asked: &Asked) -> Ran {
        let (mut ran, mut outcomes) = (Ran::default(), Vec::new());
        for stage in &asked.case.test.stages {
            let judged = engine::stage(&mut self.transaction, &self.loaded.rules, stage);
            let judged =
                judged.unwrap_or_else(|error| Verdict::Failed(Miss::NotSent { why: error.to_string() }));
            let outcome = engine::outcome(&self.transaction);
            ran.log.extend(outcome.log.iter().flatten().cloned());
            ran.verdict = ran.verdict.and(judged);
            outcomes.push(outcome);
        }
        ran.without_override = asked
            .all_without_override(outcomes.iter(), |output, outcome| judge(output, outcome, Scope::Engine));
        ran
    }
}

impl Runner for InProcess {
    const AT_ONCE: usize = 16;

    fn run(&mut self, tests: &[Asked]) -> Result<Vec<Ran>, CliError> {
        Ok(tests.iter().map(|asked| self.one(asked)).collect())
    }
}
