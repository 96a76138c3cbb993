// SPDX-License-Identifier: Apache-2.0
//! The Core Rule Set as it is published, read.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use sunbeam_waf::seclang::ast::{Action, Directive, DirectiveKind};
use sunbeam_waf::seclang::{DiskFiles, load};

/// The rules, which are not part of the repository: `SUNBEAM_SHARED` names their folder's.
fn core_rule_set() -> Option<PathBuf> {
    let Some(shared) = std::env::var_os("SUNBEAM_SHARED") else {
        drop(writeln!(std::io::stderr(), "skipped: SUNBEAM_SHARED is not set, so there are no rules"));
        return None;
    };
    let folder = PathBuf::from(shared).join("conformance/crs-4.28.0");
    assert!(folder.is_dir(), "`{}` is missing", folder.display());
    Some(folder)
}

fn name(directive: &Directive) -> &'static str {
    match &directive.kind {
        DirectiveKind::Rule(_) | DirectiveKind::Action(_) => "SecRule, SecAction",
        DirectiveKind::Marker(_) => "SecMarker",
        DirectiveKind::DefaultAction(_) => "SecDefaultAction",
        DirectiveKind::UpdateTargetById(..) => "SecRuleUpdateTargetById",
        DirectiveKind::ComponentSignature(_) => "SecComponentSignature",
        _ => "other",
    }
}

fn actions(directive: &Directive) -> &[Action] {
    match &directive.kind {
        DirectiveKind::Rule(rule) => &rule.actions,
        DirectiveKind::Action(actions) => actions,
        _ => &[],
    }
}

#[test]
fn the_core_rule_set_is_read_as_a_whole() {
    let Some(folder) = core_rule_set() else {
        return;
    };
    let folder = folder.display().to_string();
    let roots = [format!("{folder}/crs-setup.conf.example"), format!("{folder}/rules/*.conf")];
    let roots: Vec<_> = roots.iter().map(String::as_str).collect();
    let directives = load(&DiskFiles, &roots).unwrap_or_else(|errors| {
        panic!("{}", errors.iter().map(|error| format!("{error}\n")).collect::<String>())
    });

    let mut counts = BTreeMap::new();
    for directive in &directives {
        *counts.entry(name(directive)).or_insert(0) += 1;
    }
    let want = [
        ("SecComponentSignature", 1),
        ("SecDefaultAction", 5),
        ("SecMarker", 30),
        ("SecRule, SecAction", 703),
        ("SecRuleUpdateTargetById", 55),
    ];
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), want);

    // 55 chains make 630 rules of 703.
    let ids = directives.iter().flat_map(actions).filter(|action| matches!(action, Action::Id(_))).count();
    assert_eq!(ids, 630);
    for directive in &directives {
        assert!(directive.span.line >= 1 && directive.span.line <= directive.span.end_line, "{directive:?}");
    }
}
