// SPDX-License-Identifier: Apache-2.0
//! Directives that have no effect say so.

use sunbeam_waf::rules::{AddedRules, RuleOptions, RuleSetKind, load};
use sunbeam_waf::seclang::{DIRECTIVES, DirectiveRow};

use crate::made::{errors, rules, warnings};

/// Words that a directive takes.
fn sample(row: &DirectiveRow) -> String {
    let words = row.arguments.split(' ').filter(|word| !word.starts_with('['));
    let sample = |word: &str| match word {
        "NUMBER" => "1".to_owned(),
        "CHARACTER" => ";".to_owned(),
        choices if choices.contains('|') => choices.split('|').next().unwrap_or_default().to_owned(),
        other => other.to_lowercase(),
    };
    words.map(sample).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_directive_without_an_effect_warns_with_its_place_and_who_decides() {
    let mut count = 0;
    for row in DIRECTIVES {
        let Some(why) = row.ignored_because() else { continue };
        count += 1;
        let loaded = rules(&format!("\n{} {}\n", row.name, sample(row)));
        let want = format!("own.conf:2: `{}` has no effect here: {why}", row.name);
        assert_eq!(warnings(&loaded), [want]);
    }
    assert!(count > 60, "{count}");
    for (name, key) in [
        ("SecRequestBodyLimit", "waf.max_inspected_body_bytes"),
        ("SecRequestBodyLimitAction", "waf.on_oversized_body"),
        ("SecRequestBodyNoFilesLimit", "waf.max_inspected_body_bytes"),
        ("SecArgumentsLimit", "waf.max_parameters"),
        ("SecPcreMatchLimit", "waf.regex_budget_ms"),
        ("SecAuditEngine", "[audit]"),
        ("SecDebugLogLevel", "telemetry.log_level"),
    ] {
        let row = DIRECTIVES.iter().find(|row| row.name == name).unwrap();
        assert!(row.ignored_because().is_some_and(|why| why.contains(key)), "{name}");
    }
}

/// Where it depends on the word.
#[test]
fn a_word_without_an_effect_warns_and_one_with_it_does_not() {
    for (text, want) in [
        ("SecCookieFormat 0", ""),
        ("SecCookieFormat 1", "`SecCookieFormat 1`"),
        ("SecResponseBodyLimitAction ProcessPartial", ""),
        ("SecResponseBodyLimitAction Reject", "`SecResponseBodyLimitAction Reject`"),
        ("SecRequestBodyJsonDepthLimit 9\nSecResponseBodyLimit 9\nSecArgumentSeparator ;", ""),
        ("SecCollectionTimeout 9\nSecComponentSignature a\nSecResponseBodyMimeType text/css", ""),
        ("SecAction \"id:1,phase:1,pass,exec:/bin/true\"", "`exec`"),
        ("SecAction \"id:1,phase:1,pass,ctl:requestBodyLimit=1\"", "`ctl:requestBodyLimit`"),
        ("SecAction \"id:1,phase:1,pass,ctl:auditEngine=Off,ctl:auditLogParts=+E,ctl:debugLogLevel=1\"", ""),
        ("SecRule REMOTE_ADDR \"@geoLookup\" \"id:1,phase:1,pass\"", "`@geoLookup` holds for no value here"),
        ("SecRule REMOTE_ADDR \"@rbl %{tx.a}\" \"id:1,phase:1,pass\"", "`@rbl` holds for no value here"),
        ("SecRule REMOTE_ADDR \"@rbl a.example\" \"id:1,phase:1,pass\"", "`@rbl` holds for no value here"),
        (
            "SecRule GEO:COUNTRY_CODE \"@streq A\" \"id:1,phase:1,pass\"",
            "`GEO:country_code` is always empty here",
        ),
        ("SecAction \"id:1,phase:1,pass,msg:'%{FILES_TMPNAMES}'\"", "`FILES_TMPNAMES` is always empty here"),
    ] {
        let found = warnings(&rules(text));
        if want.is_empty() {
            assert_eq!(found, [""; 0], "{text}");
        } else {
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].starts_with(&format!("own.conf:1: {want}")), "{text}: {found:?}");
        }
    }
    assert_eq!(
        errors("SecAction \"id:1,phase:1,pass,deprecatevar:ip.x=60\""),
        ["own.conf:1: `deprecatevar`: it is not `AMOUNT/SECONDS`"]
    );
}

/// What the node's own keys say holds, whatever rules say.
#[test]
fn the_configuration_decides_how_much_is_looked_at() {
    let before = "SecRequestBodyLimit 1\nSecArgumentsLimit 1\nSecResponseBodyAccess On\n".to_owned();
    let options = RuleOptions {
        ruleset: RuleSetKind::Nothing,
        before,
        arguments_max: 77,
        body_max: 7_777,
        ..RuleOptions::default()
    };
    let loaded = load(&options).unwrap();
    assert_eq!((loaded.settings().arguments_max, loaded.settings().request_body_max), (77, 7_777));
    let found = warnings(&loaded);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[2].contains("`waf.inspect_responses` is false"), "{found:?}");
    let loaded = load(&RuleOptions { responses: true, ..options }).unwrap();
    assert_eq!(warnings(&loaded).len(), 2);
}

#[test]
fn a_chain_does_not_swallow_a_rule_of_its_own() {
    let of = |text: &str| {
        let added = AddedRules { name: "own.conf".to_owned(), text: text.to_owned() };
        load(&RuleOptions { ruleset: RuleSetKind::Nothing, added: [added].into(), ..RuleOptions::default() })
    };
    let end = "SecRule ARGS \"@streq b\"";
    let chained = "SecRule ARGS \"@streq a\" \"id:1,phase:2,pass,chain\"\n";
    assert!(of(&format!("{chained}{end}")).is_ok());
    let errors = of(&format!("\n{chained}{end} \"id:2,phase:2,deny\"\n")).unwrap_err();
    let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(
        shown.len() == 1 && shown[0].starts_with("own.conf:2: ") && shown[0].contains("line 3"),
        "{shown:?}"
    );
}
