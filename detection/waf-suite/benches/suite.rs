// SPDX-License-Identifier: Apache-2.0
//! What the Core Rule Set's tests come to, and what the filter overlooks among texts made from theirs.
//!
//!     suite CRS_FOLDER MUTATIONS

use std::path::Path;
use std::sync::Arc;

use sunbeam_waf::rules::{RuleOptions, RuleSetKind, load};
use sunbeam_waf_suite::engine;
use sunbeam_waf_suite::load::Suite;
use sunbeam_waf_suite::mutation::{Mutator, seeds};

#[expect(clippy::print_stdout, reason = "its lines are what it is for")]
fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [folder, mutations] = words.as_slice() else { return };
    let options = RuleOptions {
        ruleset: RuleSetKind::Crs(folder.into()),
        before: engine::SETTINGS.to_owned(),
        paranoia_level: 4,
        responses: true,
        body_max: engine::BODY_BYTES_MAX,
        ..RuleOptions::default()
    };
    let rules = Arc::new(load(&options).unwrap_or_else(|errors| panic!("{}", errors[0])));
    let suite = Suite::load(&Path::new(folder).join("tests/regression/tests")).expect("the suite");
    let summary = engine::run(&rules, &suite).expect("requests that can be built");
    println!("passed {}", summary.passed);
    println!("failed {}", summary.failed);
    let (seeds, mutations) = (seeds(&suite), mutations.parse::<u64>().expect("a number"));
    println!("seeds {}", seeds.len());
    let halves = [1, 2].map(|half| {
        let (rules, seeds) = (Arc::clone(&rules), seeds.clone());
        std::thread::spawn(move || {
            let mut mutator = Mutator::new(0x9e37_79b9_7f4a_7c15 * half);
            let texts = (0..mutations / 2).map(|_| mutator.text(&seeds));
            texts.map(|text| rules.overlooked(&text).len()).sum::<usize>()
        })
    });
    let overlooked: usize = halves.map(|half| half.join().expect("no panic")).iter().sum();
    println!("mutations {mutations}");
    println!("overlooked {overlooked}");
}
