// SPDX-License-Identifier: Apache-2.0
//! What one request may take: each bound is reached by a request made for it, and is told.

use std::cell::Cell;
use std::sync::Arc;

use sunbeam_waf::engine::{RequestHead, Transaction};
use sunbeam_waf::rules::{self, RuleOptions, RuleSetKind};

const FORM: &str = "application/x-www-form-urlencoded";
const MIB: usize = 1 << 20;

/// These rules, with bodies read by what their type says and up to 16 MiB.
fn transaction(rules: &str) -> Transaction {
    with_arguments(1_000, rules)
}

/// The same, with so many arguments that are read.
fn with_arguments(arguments_max: usize, rules: &str) -> Transaction {
    let before = format!("SecAction \"id:1,phase:1,pass,nolog\"\n{rules}\n");
    let ruleset = RuleSetKind::Nothing;
    let options =
        RuleOptions { ruleset, before, arguments_max, body_max: 16 * MIB, ..RuleOptions::default() };
    Transaction::new(Arc::new(rules::load(&options).unwrap()))
}

fn ask(transaction: &mut Transaction, query: &str, headers: &[(&str, &str)], body: &[u8]) {
    let headers: Vec<(&[u8], &[u8])> =
        headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let target = format!("/?{query}");
    transaction.request_head(&RequestHead {
        method: b"POST",
        target: target.as_bytes(),
        protocol: b"HTTP/1.1",
        headers: &headers,
        id: "1",
    });
    transaction.request_body(body, false);
}

fn post(transaction: &mut Transaction, kind: &str, body: &[u8]) {
    ask(transaction, "", &[("Content-Type", kind)], body);
}

/// How many rules found something.
fn found(transaction: &Transaction) -> usize {
    transaction.findings().len() + transaction.findings_more()
}

thread_local! {
    static LOOKS: Cell<u64> = const { Cell::new(0) };
}

/// A clock that goes on by one each time it is looked at.
fn ticks() -> u64 {
    LOOKS.replace(LOOKS.get() + 1)
}

/// A phase over much text looks when it begins and when it ends.
const OF_PHASE: u64 = 2;

/// Time for so many looks.
fn ticking(transaction: &mut Transaction, end: u64) {
    LOOKS.set(0);
    transaction.set_budget(ticks, end);
}

/// Whatever is done to a large value, the clock is looked at before the next thing is.
#[test]
fn the_clock_is_looked_at_between_all_that_is_done_to_a_large_value() {
    // Each changes the value in its own way, and none matches.
    let steps = ["lowercase", "hexEncode", "base64Encode", "urlEncode", "removeWhitespace", "md5"];
    let rules: Vec<String> = (100..)
        .zip(steps)
        .map(|(id, step)| {
            format!("SecRule REQUEST_BODY \"@rx never[ ]there\" \"id:{id},phase:2,pass,t:none,t:{step}\"")
        })
        .collect();
    let mut transaction = transaction(&rules.join("\n"));
    let body = b"A never [ ] there ".repeat(MIB / 18);
    for filters in [true, false] {
        let rules = Arc::clone(transaction.rules());
        transaction.begin(&rules);
        if !filters {
            transaction.without_filter();
        }
        ticking(&mut transaction, u64::MAX);
        post(&mut transaction, FORM, &body);
        assert!(!transaction.is_spent());
        let looks = LOOKS.get() - OF_PHASE;
        // A change and a look by the filter or by the operator, each one.
        assert!(looks >= steps.len() as u64, "{looks} looks with filters: {filters}");
    }
}

/// When time is up nothing more is done.
#[test]
fn rules_stop_where_the_clock_says_so() {
    let rules: Vec<String> = (100..300)
        .map(|id| format!("SecRule REQUEST_BODY \"@rx b$\" \"id:{id},phase:2,pass,log,msg:'it'\""))
        .collect();
    let mut transaction = transaction(&rules.join("\n"));
    let body = [&b"a".repeat(MIB)[..], b"b"].concat();
    for end in [0, 1, 7, 100] {
        let rules = Arc::clone(transaction.rules());
        transaction.begin(&rules);
        transaction.without_filter();
        ticking(&mut transaction, end);
        post(&mut transaction, FORM, &body);
        assert!(transaction.is_spent(), "{end}");
        assert_eq!(LOOKS.get(), end + 1 + OF_PHASE, "it was asked again");
        assert_eq!(found(&transaction) as u64, end, "one rule for each look");
        transaction.end();
        assert_eq!(LOOKS.get(), end + 1 + OF_PHASE, "a later phase began");
    }
}

/// One rule, one value after another: it stops among them.
#[test]
fn rules_stop_among_values() {
    let mut transaction = transaction("SecRule ARGS \"@rx b$\" \"id:100,phase:2,pass,log,msg:'it'\"");
    let value = ["a".repeat(70_000), "b".to_owned()].concat();
    let body: Vec<String> = (0..50).map(|number| format!("p{number}={number}{value}")).collect();
    transaction.without_filter();
    ticking(&mut transaction, 9);
    post(&mut transaction, FORM, body.join("&").as_bytes());
    assert!(transaction.is_spent());
    assert_eq!((LOOKS.get(), found(&transaction)), (10 + OF_PHASE, 9));
}

#[test]
fn changed_texts_are_bounded() {
    let doublings = |count: usize| {
        let steps = "t:hexEncode,".repeat(count);
        format!("SecRule REQUEST_BODY \"@rx ^never\" \"id:100,phase:2,pass,t:none,{steps}log\"")
    };
    let body = b"a=".repeat(MIB);
    for (count, is_spent) in [(3, false), (5, true)] {
        let mut transaction = transaction(&doublings(count));
        transaction.without_filter();
        post(&mut transaction, FORM, &body);
        assert_eq!(transaction.is_spent(), is_spent, "2 MiB, doubled {count} times");
        // The next request begins anew.
        let rules = Arc::clone(transaction.rules());
        transaction.begin(&rules);
        post(&mut transaction, FORM, b"a=b");
        assert!(!transaction.is_spent());
    }
}

/// A place for each form of each value, though nobody asks for most: 2,000 forms of 10,000 values take 80 MB.
#[test]
fn what_is_noted_of_texts_is_bounded() {
    let forms = "t:removeNulls,t:replaceNulls,".repeat(1_000);
    let rules = format!(
        "SecRule ARGS \"@rx ^never\" \"id:100,phase:2,pass,t:none,{forms}nolog\"\n\
         SecRule ARGS \"@rx ^never\" \"id:101,phase:2,pass,t:none,t:lowercase,nolog\""
    );
    for (values, is_spent) in [(5_000, false), (10_000, true)] {
        let body: Vec<String> = (0..values).map(|number| format!("p=A{number}")).collect();
        let mut transaction = with_arguments(100_000, &rules);
        post(&mut transaction, FORM, body.join("&").as_bytes());
        assert_eq!(transaction.is_spent(), is_spent, "{values}");
    }
}

#[test]
fn names_that_rules_make_up_are_bounded() {
    let rule = "SecRule ARGS_NAMES \"@unconditionalMatch\" \"id:100,phase:2,pass,nolog,setvar:tx.of_%{MATCHED_VAR}=1\"";
    for (names, is_spent) in [(4_096, false), (4_097, true)] {
        let mut transaction = with_arguments(10_000, rule);
        let body: Vec<String> = (0..names).map(|number| format!("p{number}=")).collect();
        post(&mut transaction, FORM, body.join("&").as_bytes());
        assert_eq!(transaction.is_spent(), is_spent, "{names}");
    }
}

#[test]
fn arguments_parts_leaves_and_cookies_are_bounded() {
    let part = |number| format!("--b\r\nContent-Disposition: form-data; name=p{number}\r\n\r\n1\r\n");
    let file = |number| {
        format!("--b\r\nContent-Disposition: form-data; name=p{number}; filename=f{number}\r\n\r\n1\r\n")
    };
    let times = |count: usize, piece: &dyn Fn(usize) -> String| (0..count).map(piece).collect::<String>();
    let multipart = "multipart/form-data; boundary=b";
    let argument = |number| format!("p{number}=1&");
    for (name, most) in [
        ("query", 100),
        ("cookies", 100),
        ("form", 100),
        ("json", 100),
        ("parts", 100),
        ("files", 100),
        ("xml", 10_000),
    ] {
        for (count, has_too_many) in [(most, false), (most + 1, true)] {
            let mut transaction = with_arguments(100, "");
            match name {
                "query" => ask(&mut transaction, &times(count, &argument), &[], b""),
                "cookies" => {
                    let cookies = times(count, &|number| format!("c{number}=1; "));
                    ask(&mut transaction, "", &[("Cookie", &cookies)], b"");
                }
                "form" => post(&mut transaction, FORM, times(count, &argument).as_bytes()),
                "json" => {
                    let leaves = times(count - 1, &|number| format!(",{number}"));
                    post(&mut transaction, "application/json", format!("[0{leaves}]").as_bytes());
                }
                "parts" | "files" => {
                    let parts = if name == "parts" { times(count, &part) } else { times(count, &file) };
                    post(&mut transaction, multipart, format!("{parts}--b--\r\n").as_bytes());
                }
                _ => {
                    let attributes = times(count, &|number| format!(" a{number}='1'"));
                    post(&mut transaction, "application/xml", format!("<r{attributes}/>").as_bytes());
                }
            }
            assert_eq!(transaction.has_too_many_arguments(), has_too_many, "{count} of {name}");
            assert!(!transaction.is_spent());
        }
    }
}

#[test]
fn findings_are_bounded_and_the_rest_is_counted() {
    let mut transaction = transaction("SecRule ARGS \"@streq 1\" \"id:100,phase:2,pass,log,msg:'it'\"");
    let body: Vec<String> = (0..300).map(|number| format!("p{number}=1")).collect();
    post(&mut transaction, FORM, body.join("&").as_bytes());
    assert_eq!((transaction.findings().len(), transaction.findings_more()), (256, 44));
}
