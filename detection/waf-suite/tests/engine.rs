// SPDX-License-Identifier: Apache-2.0
//! The Core Rule Set 4.28.0, unmodified, by its own regression suite, in this process.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sunbeam_waf::compile::RuleSet;
use sunbeam_waf::engine::Transaction;
use sunbeam_waf::rules::{RuleOptions, RuleSetKind, load};
use sunbeam_waf_suite::engine;
use sunbeam_waf_suite::load::Suite;
use sunbeam_waf_suite::mutation::{Mutator, seeds};
use sunbeam_waf_suite::request;

/// See `core_rule_set.rs`.
fn folder() -> Option<PathBuf> {
    let name = "conformance/crs-4.28.0";
    let Some(folder) = std::env::var_os("SUNBEAM_SHARED") else {
        drop(writeln!(std::io::stderr(), "skipped: SUNBEAM_SHARED is not set, so there is no `{name}`"));
        return None;
    };
    let path = Path::new(&folder).join(name);
    assert!(path.exists(), "`{}` is missing", path.display());
    Some(path)
}

fn rules(folder: &Path) -> Arc<RuleSet> {
    let options = RuleOptions {
        ruleset: RuleSetKind::Crs(folder.to_owned()),
        before: engine::SETTINGS.to_owned(),
        responses: true,
        body_max: engine::BODY_BYTES_MAX,
        ..RuleOptions::default()
    };
    Arc::new(load(&options).unwrap_or_else(|errors| panic!("{}", errors[0])))
}

fn suite(folder: &Path) -> Suite {
    Suite::load(&folder.join("tests/regression/tests")).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_test_of_the_core_rule_set_passes() {
    let Some(folder) = folder() else { return };
    let rules = rules(&folder);
    assert_eq!(rules.warnings().map(|(_, text)| text).collect::<Vec<_>>(), Vec::<&str>::new());
    let suite = suite(&folder);
    let with_ids =
        suite.cases.iter().filter(|case| case.test.stages.iter().any(|one| one.output.names_rules()));
    assert_eq!(with_ids.count(), 4_931);
    let summary = engine::run(&rules, &suite).unwrap();
    assert!(summary.failures.is_empty(), "{}", summary.to_json());
    // The rest speaks of a server's status alone.
    assert_eq!((summary.passed, summary.not_judged), (4_945, 21));
}

/// Whatever the filter leaves out cannot have matched: the findings are the same to the byte, and so are
/// the score and what it comes to.
#[test]
fn the_filter_changes_nothing_in_the_suite() {
    let Some(folder) = folder() else { return };
    let rules = rules(&folder);
    let [mut with, mut without] = [(); 2].map(|()| Transaction::new(Arc::clone(&rules)));
    without.without_filter();
    // Without it a test takes tens of milliseconds.
    for case in suite(&folder).cases.iter().step_by(7) {
        for stage in &case.test.stages {
            let request = request::delivered(&stage.input).unwrap();
            engine::ask(&mut with, &rules, &request);
            engine::ask(&mut without, &rules, &request);
            assert_eq!(with.findings(), without.findings(), "{}", case.title);
            assert_eq!(with.outcome(), without.outcome(), "{}", case.title);
        }
    }
}

/// A million of them are tried by `cargo xtask figures waf`.
#[test]
fn the_filter_overlooks_nothing_in_texts_made_from_the_suite() {
    let Some(folder) = folder() else { return };
    let (rules, seeds) = (rules(&folder), seeds(&suite(&folder)));
    assert!(seeds.len() > 5_000, "{} texts are few", seeds.len());
    let mut mutator = Mutator::new(7);
    for _ in 0..2_000 {
        let text = mutator.text(&seeds);
        assert_eq!(rules.overlooked(&text), Vec::<u64>::new(), "{}", text.escape_ascii());
    }
}
