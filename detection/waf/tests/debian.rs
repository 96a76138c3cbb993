// SPDX-License-Identifier: Apache-2.0
//! What others recommend to begin with: the Core Rule Set 3.3.4 and the configuration of ModSecurity as Debian's packages
//! have them (`./dev setup` installs both), and a file with all that Coraza's has.

use std::collections::BTreeMap;
use std::path::Path;

use sunbeam_waf::compile::RuleSet;
use sunbeam_waf::operators::rx::Expression;
use sunbeam_waf::rules::{RuleOptions, RuleSetKind, load};
use sunbeam_waf::seclang::ast::{Action, Directive, DirectiveKind, EngineMode};
use sunbeam_waf::seclang::{self, DIRECTIVES, DiskFiles};

use crate::made::{rules, warnings};

const CORE_RULE_SET: &str = "/usr/share/modsecurity-crs";
const RECOMMENDED: &str = "/etc/modsecurity/modsecurity.conf-recommended";

/// A file or folder of a package.
fn installed(path: &str) -> &str {
    assert!(Path::new(path).exists(), "`{path}` is missing: `./dev setup` installs it");
    path
}

fn core_rule_set(paranoia_level: u8) -> RuleSet {
    let ruleset = RuleSetKind::Crs(installed(CORE_RULE_SET).into());
    load(&RuleOptions { ruleset, paranoia_level, ..RuleOptions::default() }).unwrap_or_else(|errors| {
        panic!("{}", errors.iter().map(|error| format!("{error}\n")).collect::<String>())
    })
}

/// Beside the files' own names.
fn places(warnings: &[String]) -> Vec<&str> {
    warnings.iter().map(|text| text.rsplit('/').next().unwrap_or(text)).collect()
}

#[test]
fn the_core_rule_set_3_loads() {
    for level in 1..=4 {
        let rules = core_rule_set(level);
        let of_files = rules.rules().iter().filter(|rule| rule.span.file.starts_with(CORE_RULE_SET));
        assert_eq!(of_files.count(), 633, "{level}");
        // What needs a database of countries, or DNS.
        let geo = "is always empty here: there is no database of countries";
        let no_dns = "`@rbl` holds for no value here: no request waits for an answer of DNS";
        let want = [
            "REQUEST-910-IP-REPUTATION.conf:77: `@geoLookup` holds for no value here: there is no database of countries: \
             `GEO` stays empty"
                .to_owned(),
            format!("REQUEST-910-IP-REPUTATION.conf:162: {no_dns}"),
            format!("REQUEST-910-IP-REPUTATION.conf:79: `GEO:country_code` {geo}"),
        ];
        assert_eq!(places(&warnings(&rules)), want, "{level}");
    }
}

/// The expressions of it that look around or back, each with the number of its rule.
fn expressions() -> BTreeMap<u64, String> {
    let rules = format!("{}/rules/*.conf", installed(CORE_RULE_SET));
    let directives = seclang::load(&DiskFiles, &[&rules]).unwrap_or_else(|errors| panic!("{}", errors[0]));
    let (mut found, mut head) = (BTreeMap::new(), 0);
    for Directive { kind, .. } in &directives {
        let DirectiveKind::Rule(rule) = kind else { continue };
        let id = |action: &Action| if let Action::Id(id) = action { Some(*id) } else { None };
        head = rule.actions.iter().find_map(id).unwrap_or(head);
        let Some(text) = rule.operator.argument.as_text().filter(|_| rule.operator.kind.name == "rx") else {
            continue;
        };
        let backward =
            text.as_bytes().windows(2).any(|pair| pair[0] == b'\\' && matches!(pair[1], b'1'..=b'9'));
        if backward || ["(?=", "(?!", "(?<=", "(?<!", "(?>"].iter().any(|around| text.contains(around)) {
            found.insert(head, text.to_owned());
        }
    }
    found
}

#[test]
fn rules_that_look_around_or_back_find_what_they_are_to_find() {
    let expressions = expressions();
    let cases: [(u64, &[&str], &[&str]); 3] = [
        // Entities of HTML in a file's name may have a semicolon.
        (
            920_120,
            &["a;b", "a'b", "x\"y", "a=b", "&nope;", "&lt;", "a&quot;b"],
            &["plain.txt", "r&amp;b.txt", "&Auml;pfel.txt", "&oacute;", "&amp", ""],
        ),
        // A word compared with itself, or by its opposite with another.
        (
            942_130,
            &[
                "1=1",
                "' or 'a'='a",
                "1 like 1",
                "2<>3",
                "2 != 3",
                "x sounds like x",
                "5 is not 6",
                "1 not regexp 2",
            ],
            &["1=2", "a=b", "1<>1", "1 is 1", "a like b", "x != x", "plain words", ""],
        ),
        // An opening of PHP that is none of XML.
        (953_120, &["<?php", "a <? b", "<?xm", "<?xml ?><?="], &["<?xml version", "<!DOCTYPE", "< ?", ""]),
    ];
    assert_eq!(
        expressions.keys().copied().collect::<Vec<_>>(),
        cases.iter().map(|(id, ..)| *id).collect::<Vec<_>>()
    );
    for (id, found, not_found) in cases {
        let expression = Expression::new(&expressions[&id]).unwrap_or_else(|error| panic!("{id}: {error}"));
        for (texts, want) in [(found, true), (not_found, false)] {
            for text in texts {
                assert_eq!(expression.is_match(text.as_bytes()), want, "{id}: {text}");
            }
        }
    }
}

/// Every line of it has its effect or a warning, and none is an error.
fn check_recommended(rules: &RuleSet, text: &str, ids: &[u64]) {
    assert_eq!(rules.settings().mode, EngineMode::DetectionOnly);
    let numbers: Vec<u64> = rules.rules().iter().map(|rule| rule.id).collect();
    assert!(ids.iter().all(|id| numbers.contains(id)), "{numbers:?}");
    let warnings = warnings(rules);
    let mut ignored = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let name = line.split_ascii_whitespace().next().unwrap_or_default();
        let Some(row) = DIRECTIVES.iter().find(|row| row.name == name) else { continue };
        if let Some(why) = row.ignored_because() {
            ignored += 1;
            let told = format!(":{number}: `{name}` has no effect here: {why}");
            assert!(warnings.iter().any(|text| text.ends_with(&told)), "{told}: {warnings:#?}");
        }
    }
    assert!(ignored > 10, "{ignored}");
    // Beside those: answers are asked for, and the node's configuration does not look at them.
    let others = warnings.len() - ignored;
    assert!(others <= 1, "{warnings:#?}");
}

#[test]
fn the_recommended_configuration_of_modsecurity_loads() {
    let text = std::fs::read_to_string(installed(RECOMMENDED)).unwrap();
    let directives =
        seclang::load(&DiskFiles, &[RECOMMENDED]).unwrap_or_else(|errors| panic!("{}", errors[0]));
    let map = directives.iter().find_map(|directive| match &directive.kind {
        DirectiveKind::UnicodeMap(pairs) => Some(pairs.len()),
        _ => None,
    });
    assert_eq!(map, Some(370));
    let folder = std::env::temp_dir().join(format!("sunbeam-recommended-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("own.conf"), format!("Include {RECOMMENDED}\n")).unwrap();
    let options = RuleOptions {
        ruleset: RuleSetKind::Nothing,
        rules_dir: Some(folder.clone()),
        ..RuleOptions::default()
    };
    let rules = load(&options);
    std::fs::remove_dir_all(folder).unwrap();
    let rules = rules.unwrap_or_else(|errors| panic!("{}", errors[0]));
    check_recommended(&rules, &text, &[200_000, 200_001, 200_002, 200_003, 200_004]);
}

#[test]
fn the_recommended_configuration_of_coraza_loads() {
    let text = include_str!("corpus/coraza-recommended.conf");
    check_recommended(&rules(text), text, &[100_001, 100_002, 100_003, 100_004, 100_005, 100_006]);
}

/// What is built in is what Windows tells, and ModSecurity after it.
#[test]
fn code_page_20127_is_that_of_the_file() {
    use sunbeam_waf::transformations::{Settings, find};
    let directives = seclang::load(&DiskFiles, &[installed(RECOMMENDED)]).unwrap();
    let pairs = directives.iter().find_map(|directive| match &directive.kind {
        DirectiveKind::UnicodeMap(pairs) => Some(pairs),
        _ => None,
    });
    let mut map = vec![0; 0x1_0000];
    for (code, byte) in pairs.unwrap() {
        map[*code as usize] = *byte;
    }
    let with_file = Settings { unicode_map: Some(map.into_boxed_slice()) };
    let decode = find("urlDecodeUni").unwrap();
    for code in 0..=0xFFFF_u32 {
        let text = format!("%u{code:04x}");
        let [mut built_in, mut of_file] = [Vec::new(), Vec::new()];
        (decode.apply)(text.as_bytes(), &Settings::default(), &mut built_in);
        (decode.apply)(text.as_bytes(), &with_file, &mut of_file);
        assert_eq!(built_in, of_file, "{text}");
    }
}
