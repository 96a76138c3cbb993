// SPDX-License-Identifier: Apache-2.0
//! Files of rules, and logs that they label.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::in_order;
use crate::testing::{records, say, shared};

fn request(second: i64, client: &str, path: &str, status: u16) -> Record {
    Record {
        at_micros: Some(second * 1_000_000),
        client: client.into(),
        method: "GET".into(),
        path: path.into(),
        status,
        backend: "http://a".into(),
        weight_percent: 100,
        ..Record::default()
    }
}

/// A rule with these lines besides its id.
fn rule(lines: &str) -> String {
    format!("[[rule]]\nid = \"a\"\n{lines}\n")
}

#[test]
fn files_that_are_wrong_say_where() {
    let good = rule("label = \"attack\"\nwhen = [\"status > 1\"]\nprecision = 0.9");
    for (name, text, want) in [
        ("no rules", String::new(), "there are 0 rules: write 1 to 64"),
        ("too many", good.repeat(65), "there are 65 rules"),
        ("an id twice", good.repeat(2), "rule `a`: an id is"),
        ("an id with a comma", good.replace("\"a\"", "\"a,b\""), "rule `a,b`: an id is"),
        ("an unknown key", format!("windw = 1\n{good}"), "TOML parse error at line 1, column 1"),
        ("no label", rule("when = [\"status > 1\"]\nprecision = 0.9"), "TOML parse error at line 1"),
        ("another label", good.replace("attack", "evil"), "TOML parse error at line 3"),
        ("no conditions", good.replace("\"status > 1\"", ""), "rule `a` has 0 conditions"),
        ("a wrong condition", good.replace("status >", "statis >"), "rule `a`: there is no field `statis`"),
        ("worse than chance", good.replace("0.9", "0.4"), "`a.precision` is 0.4: write 0.5 to 1"),
        ("no number", good.replace("0.9", "nan"), "`a.precision` is NaN"),
        ("no window", format!("window_secs = 0\n{good}"), "`window_secs` is 0: write 1 to 86,400"),
        ("a margin below nothing", format!("margin = -1\n{good}"), "`margin` is -1"),
    ] {
        let error = Heuristics::parse(&text).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(want), "{name}: {error}");
    }
}

#[test]
fn what_a_rule_looks_at_is_hidden_where_it_made_the_label() {
    let rules = Heuristics::default();
    let masked =
        |source: &LabelSource| rules.masked(source).map(|names| names.into_iter().collect::<Vec<_>>());
    for (name, source, want) in [
        ("a person's", LabelSource::Human, vec![]),
        ("one rule's", LabelSource::Heuristic("request-rate".into()), vec!["burst_score", "request_rate"]),
        (
            "two rules'",
            LabelSource::Heuristic("probe-paths,tool-agent".into()),
            vec!["burst_score", "request_rate", "suspicious_path_ratio", "unique_user_agents", "user_agent"],
        ),
    ] {
        assert_eq!(masked(&source), Ok(want), "{name}");
    }
    let unknown = masked(&LabelSource::Heuristic("request-rate,gone".into()));
    assert_eq!(unknown, Err(UnknownRule { id: "gone".into() }));
}

#[test]
fn a_flood_is_one_from_its_first_request_and_a_visit_is_none() {
    let flood = (0..400).map(|id| request(id / 10, "flood", "/search", 200));
    let scan = (0..40).map(|id| request(id, "scan", &format!("/.env.{id}"), 404));
    let visit = (0..20)
        .map(|id| Record { referer: "http://a/".into(), ..request(id, "visit", &format!("/{id}"), 200) });
    let lone = [request(5, "lone", "/", 200)];
    let (mut log, _) = in_order(flood.chain(scan).chain(visit).chain(lone).collect());
    let report = Heuristics::default().label(&mut log);
    let labels = |client: &str| -> BTreeSet<_> {
        log.iter()
            .filter(|record| record.client == client)
            .map(|record| (record.label, record.label_source.clone()))
            .collect()
    };
    let by = |label, ids: &str| BTreeSet::from([(Some(label), LabelSource::Heuristic(ids.into()))]);
    let flood = &by(Label::Attack, "path-repetition") | &by(Label::Attack, "request-rate,path-repetition");
    assert_eq!(labels("flood"), flood);
    assert_eq!(labels("scan"), by(Label::Attack, "client-errors,probe-paths"));
    assert!(labels("visit").contains(&(Some(Label::Benign), LabelSource::Heuristic("calm-visit".into()))));
    assert_eq!(labels("lone"), BTreeSet::from([(None, LabelSource::Nobody)]));
    assert_eq!((report.records, report.attacks, report.forgotten), (461, 440, 0));
}

#[test]
fn rules_that_contradict_each_other_abstain_and_are_told_of() {
    let text = [
        rule("label = \"attack\"\nwhen = [\"status >= 400\"]\nprecision = 0.8"),
        rule("label = \"benign\"\nwhen = ['path is \"/ok\"']\nprecision = 0.75").replace("\"a\"", "\"b\""),
    ]
    .concat();
    let known = |label, record| Record { label: Some(label), label_source: LabelSource::Human, ..record };
    let mut log = vec![
        request(1, "a", "/ok", 404),
        request(2, "a", "/ok", 200),
        request(3, "a", "/x", 404),
        known(Label::Benign, request(4, "a", "/x", 404)),
        known(Label::Attack, request(5, "a", "/x", 404)),
        request(6, "a", "/x", 200),
    ];
    let report = Heuristics::parse(&text).unwrap().label(&mut log);
    let labels: Vec<_> = log.iter().map(|record| (record.label, record.weight_percent)).collect();
    let (attack, benign) = (Some(Label::Attack), Some(Label::Benign));
    assert_eq!(labels, [(None, 100), (benign, 50), (attack, 60), (benign, 100), (attack, 100), (None, 100)]);
    assert_eq!((report.labelled_before, report.undecided, report.silent), (2, 1, 1));
    let [first, second] = report.rules.as_slice() else { panic!("two rules") };
    assert_eq!((first.fired, first.overlaps, first.conflicts, first.right, first.wrong), (4, 1, 1, 1, 1));
    assert_eq!((second.fired, second.conflicts, second.precision()), (2, 1, None));
    assert_eq!(first.precision(), Some(0.5));
}

proptest! {
    #[test]
    fn only_what_had_no_label_gets_one_and_every_label_can_be_masked(records in vec(records(), 0..40)) {
        let rules = Heuristics::default();
        let (mut after, _) = in_order(records);
        let before = after.clone();
        let report = rules.label(&mut after);
        prop_assert_eq!(report.records, u64::try_from(after.len()).unwrap());
        for (before, after) in before.iter().zip(&after) {
            if before.label.is_some() {
                prop_assert_eq!(before, after);
            } else if after.label.is_some() {
                prop_assert!(!rules.masked(&after.label_source).unwrap().is_empty());
            }
        }
    }
}

/// Not for their figures: a scan must not pass for a visit, nor a site's ordinary day for attacks.
#[test]
fn the_rules_that_are_built_in_tell_a_scan_from_a_day() {
    for (name, least, most) in
        [("ocatak/acunetix.txt.zst", 0.6, 1.0), ("logs/semicomplete_apache_logs.zst", 0.0, 0.05)]
    {
        let Some(path) = shared(&format!("data/orig/{name}")) else { return };
        let mut log = Vec::new();
        crate::sources::read(&path, &Default::default(), &mut |record| {
            log.push(record);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        let (mut log, order) = in_order(log);
        let report = Heuristics::default().label(&mut log);
        say(&format!("{name}: {order:?} {report:#?}"));
        let share = condition::about(report.attacks) / condition::about(report.records);
        assert!((least..=most).contains(&share), "{name}: {share}");
    }
}
