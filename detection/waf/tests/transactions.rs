// SPDX-License-Identifier: Apache-2.0
//! What a transaction does around its rules: interruptions that nobody acts on, and flags that only the engine sets.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sunbeam_waf::compile::RuleSet;
use sunbeam_waf::engine::{Ends, RequestHead, ResponseHead, Transaction};
use sunbeam_waf::rules::{RuleOptions, RuleSetKind, load};

const FORM: &str = "application/x-www-form-urlencoded";

fn rules(text: &str, left_out: &[&'static str]) -> Arc<RuleSet> {
    let options = RuleOptions {
        ruleset: RuleSetKind::Nothing,
        before: text.to_owned(),
        left_out: left_out.to_vec(),
        responses: true,
        ..RuleOptions::default()
    };
    Arc::new(load(&options).unwrap_or_else(|errors| panic!("{}", errors[0])))
}

fn begin(rules: &Arc<RuleSet>, target: &str, headers: &[(&str, &str)]) -> Transaction {
    let mut transaction = Transaction::new(Arc::clone(rules));
    let [client, server] = [Ipv4Addr::LOCALHOST; 2].map(IpAddr::V4);
    transaction.connection(&Ends { client, client_port: 1, server, server_port: 2 });
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    transaction.request_head(&RequestHead {
        method: b"POST",
        target: target.as_bytes(),
        protocol: b"HTTP/1.1",
        headers: &headers,
        id: "1",
    });
    transaction
}

fn answer(transaction: &mut Transaction) {
    transaction.response_head(&ResponseHead {
        status: 200,
        protocol: b"HTTP/1.1",
        headers: &[(b"Content-Type", b"text/plain")],
    });
}

fn found(transaction: &Transaction) -> Vec<u64> {
    let rules = transaction.rules().rules();
    transaction.findings().iter().map(|finding| rules[finding.rule as usize].id).collect()
}

fn interrupts(transaction: &Transaction) -> Option<u64> {
    transaction.interruption().map(|one| transaction.rules().rules()[one.rule as usize].id)
}

/// Two rules of each phase that want the request stopped, a mark to jump to between them, and one that only looks.
fn stopping() -> String {
    let phase = |phase: u32| {
        format!(
            "SecAction \"id:{phase}1,phase:{phase},deny,log,skipAfter:END-{phase}\"\n\
             SecAction \"id:{phase}2,phase:{phase},pass,log\"\nSecMarker END-{phase}\n\
             SecAction \"id:{phase}3,phase:{phase},deny,log\"\nSecAction \"id:{phase}4,phase:{phase},pass,log\"\n"
        )
    };
    (1..=5).map(phase).collect()
}

#[test]
fn what_nobody_forgives_ends_everything_but_the_last_phase() {
    let mut transaction = begin(&rules(&stopping(), &[]), "/", &[]);
    assert_eq!(interrupts(&transaction), Some(11));
    transaction.request_body(b"", false);
    answer(&mut transaction);
    transaction.response_body(b"a", false);
    transaction.end();
    assert_eq!((found(&transaction), interrupts(&transaction)), (vec![11, 51, 53, 54], Some(11)));
}

#[test]
fn what_is_forgiven_leaves_no_rule_out() {
    let mut transaction = begin(&rules(&stopping(), &[]), "/", &[]);
    let mut want = Vec::new();
    for phase in 1..=4 {
        match phase {
            2 => drop(transaction.request_body(b"", false)),
            3 => answer(&mut transaction),
            4 => drop(transaction.response_body(b"a", false)),
            _ => {}
        }
        assert_eq!(
            interrupts(&transaction),
            Some(phase * 10 + 1),
            "the jump of the rule that interrupted is made"
        );
        assert!(transaction.forgive().is_some());
        assert_eq!(interrupts(&transaction), Some(phase * 10 + 3));
        assert!(transaction.forgive().is_none() && transaction.interruption().is_none());
        assert!(transaction.forgive().is_none(), "nothing is left to forgive");
        want.extend([1, 3, 4].map(|number| phase * 10 + number));
        assert_eq!(found(&transaction), want);
    }
    transaction.end();
    want.extend([51, 53, 54]);
    assert_eq!(found(&transaction), want);
}

#[test]
fn a_request_that_is_forgiven_keeps_its_score() {
    let text = "SecAction \"id:1,phase:1,pass,nolog,setvar:tx.blocking_inbound_anomaly_score=+5\"\n\
                SecRule TX:BLOCKING_INBOUND_ANOMALY_SCORE \"@ge 5\" \"id:949111,phase:1,deny,log\"\n\
                SecAction \"id:2,phase:1,pass,nolog,setvar:tx.blocking_inbound_anomaly_score=+3\"\n\
                SecAction \"id:3,phase:2,deny,log\"\n";
    let mut transaction = begin(&rules(text, &[]), "/", &[]);
    let outcome = transaction.outcome();
    assert_eq!((outcome.score, outcome.is_interrupted, outcome.is_by_score), (5, true, true));
    transaction.forgive();
    let outcome = transaction.outcome();
    assert_eq!((outcome.score, outcome.is_interrupted, outcome.is_by_score), (8, false, false));
    transaction.request_body(b"", false);
    let outcome = transaction.outcome();
    assert_eq!((outcome.is_interrupted, outcome.is_by_score), (true, false));
}

/// What the engine says of a body is its own word, however fields, parameters, parts and leaves are called.
#[test]
fn flags_of_the_engine_are_not_set_from_outside() {
    const FLAGS: [&str; 8] = [
        "REQBODY_ERROR",
        "REQBODY_PROCESSOR",
        "MULTIPART_STRICT_ERROR",
        "MULTIPART_UNMATCHED_BOUNDARY",
        "URLENCODED_ERROR",
        "REMOTE_ADDR",
        "ARGS_COMBINED_SIZE",
        "TX:INBOUND_ANOMALY_SCORE_THRESHOLD",
    ];
    let told = |flag: &&str| {
        let name = flag.replace(':', ".");
        format!("{flag}=%{{{name}}} ")
    };
    let all: String = FLAGS.iter().map(told).collect();
    let text = format!(
        "SecRule ARGS_NAMES|REQUEST_HEADERS_NAMES|REQUEST_COOKIES_NAMES \"@rx .\" \
         \"id:1,phase:2,pass,nolog,t:none,setvar:tx.seen_%{{MATCHED_VAR_NAME}}=9\"\n\
         SecAction \"id:2,phase:2,pass,log,logdata:'{all}'\"\n"
    );
    let rules = rules(&text, &[]);
    let seen = |kind: &str, target: &str, headers: &[(&str, &str)], body: &str| {
        let headers = [&[("Content-Type", kind)], headers].concat();
        let mut transaction = begin(&rules, target, &headers);
        transaction.request_body(body.as_bytes(), false);
        while transaction.forgive().is_some() {}
        let all = transaction.findings().iter();
        let found = all.rev().find(|found| found.data.contains("REMOTE_ADDR=")).expect("rule 2");
        // What a request adds up to is its own.
        let size =
            found.data.split(' ').find(|flag| flag.starts_with("ARGS_COMBINED_SIZE")).unwrap_or_default();
        found.data.replace(size, "")
    };
    let clean = |kind: &str, body: &str| seen(kind, "/", &[], body);
    let part =
        |name: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n9\r\n--b--\r\n");
    for flag in FLAGS {
        for name in [flag.to_owned(), flag.to_lowercase(), flag.replace(':', "."), format!("tx.{flag}")] {
            let target = format!("/?{name}=9");
            let cookie = format!("{name}=9");
            let headers = [(name.as_str(), "9"), ("Cookie", cookie.as_str())];
            let pairs = [
                (FORM, format!("{name}=9"), "a=9".to_owned()),
                ("application/json", format!("{{\"{name}\":9}}"), "{\"a\":9}".to_owned()),
                ("application/xml", format!("<a b=\"{name}\">{name}</a>"), "<a/>".to_owned()),
                ("multipart/form-data; boundary=b", part(&name), part("a")),
            ];
            for (kind, body, innocent) in pairs {
                assert_eq!(seen(kind, &target, &headers, &body), clean(kind, &innocent), "{name} in {kind}");
            }
        }
    }
    let broken = clean("application/json", "{");
    assert!(broken.contains("REQBODY_ERROR=1 "), "{broken}");
    let whole = clean("application/json", "{}");
    assert!(whole.contains("REQBODY_ERROR=0 ") && whole.contains("REMOTE_ADDR=127.0.0.1 "), "{whole}");
    assert!(whole.contains("TX:INBOUND_ANOMALY_SCORE_THRESHOLD=5 "), "{whole}");
}

#[test]
fn a_body_that_says_twice_what_it_is_is_refused() {
    let rules = rules("", &[]);
    for (name, types, body, want) in [
        ("two", &["text/plain", FORM][..], "a=b", Some(7_300_003)),
        ("the same twice", &[FORM, FORM], "a=b", Some(7_300_003)),
        ("one", &[FORM], "a=b", None),
        ("two of nothing", &[FORM, "text/plain"], "", None),
        ("none", &[], "a=b", None),
    ] {
        let headers: Vec<_> = types.iter().map(|kind| ("Content-Type", *kind)).collect();
        let mut transaction = begin(&rules, "/", &headers);
        transaction.request_body(body.as_bytes(), false);
        assert_eq!(interrupts(&transaction), want, "{name}");
    }
}

#[test]
fn entities_of_a_document_are_refused_with_the_class_and_what_else_is_wrong_always() {
    let (on, off) = (rules("", &[]), rules("", &["attack-xxe"]));
    let own = "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>";
    for (name, body, with, without) in [
        ("its own entity", own, Some(7_300_013), None),
        ("nobody's entity", "<a>&x;</a>", Some(7_300_013), None),
        ("in an attribute", "<a b='&x;'/>", Some(7_300_013), None),
        ("not well formed", "<a>&x;</b>", Some(7_300_010), Some(7_300_010)),
        ("cut", "<a>&x;<b>", Some(7_300_010), Some(7_300_010)),
        ("XML's own", "<a>&lt;&#65;</a>", None, None),
    ] {
        for (rules, want) in [(&on, with), (&off, without)] {
            let mut transaction = begin(rules, "/", &[("Content-Type", "application/xml")]);
            transaction.request_body(body.as_bytes(), false);
            assert_eq!(interrupts(&transaction), want, "{name}");
        }
    }
}
