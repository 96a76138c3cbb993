// SPDX-License-Identifier: Apache-2.0
//! Runs the Core Rule Set's tests: `run CRS_FOLDER [TITLE]`.
use std::path::Path;
use std::sync::Arc;
use sunbeam_waf::engine::Transaction;
use sunbeam_waf::rules::{RuleOptions, RuleSetKind, load};
use sunbeam_waf_suite::{engine, load::Suite, request};

#[expect(clippy::print_stdout, reason = "a tool")]
fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options = RuleOptions {
        ruleset: RuleSetKind::Crs(words[0].clone().into()),
        before: engine::SETTINGS.to_owned(),
        responses: true,
        body_max: 13_107_200,
        ..RuleOptions::default()
    };
    let rules = Arc::new(load(&options).unwrap_or_else(|errors| panic!("{}", errors[0])));
    let suite = Suite::load(&Path::new(&words[0]).join("tests/regression/tests")).expect("a suite");
    if let Some(title) = words.get(1) {
        let mut transaction = Transaction::new(Arc::clone(&rules));
        for case in suite.cases.iter().filter(|case| case.title == *title) {
            for stage in &case.test.stages {
                println!("{}", String::from_utf8_lossy(&request::build(&stage.input).expect("a request")));
                println!("{:?}", request::delivered(&stage.input));
                println!("{:?}", engine::stage(&mut transaction, &rules, stage));
                for line in engine::outcome(&transaction).log.unwrap_or_default() {
                    println!("  {line}");
                }
                println!("{:?}", stage.output);
            }
        }
        return;
    }
    println!("{}", engine::run(&rules, &suite).expect("requests").to_json());
}
