// SPDX-License-Identifier: Apache-2.0
//! Variables that every request has, and those that nothing ever stands in.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sunbeam_waf::engine::{Moment, ResponseHead, Transaction};
use sunbeam_waf::seclang::ast::Variable;

use crate::made::{ask, messages, rules, warnings};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
const HEADERS: &[(&str, &str)] = &[
    ("Host", "shop.example.org"),
    ("Authorization", "Basic Zm9v"),
    ("Cookie", "a=b"),
    ("Content-Type", "multipart/form-data; boundary=xyz"),
];
const BODY: &[u8] = b"--xyz\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\nplain\r\n\
--xyz\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\r\nhello\r\n--xyz--\r\n";

/// 23:59:58 on Sunday, the last of February of 2032, in UTC.
const MOMENT: i64 = 1_961_711_998;

fn ticks() -> u64 {
    static NOW: AtomicU64 = AtomicU64::new(0);
    NOW.fetch_add(5_000, Ordering::Relaxed)
}

/// A form with a file, and an answer, through all phases.
fn whole(text: &str, ahead: i32) -> Transaction {
    let rules = rules(text);
    let mut transaction = Transaction::new(Arc::clone(&rules));
    transaction.set_clock(ticks);
    transaction.begin(&rules);
    transaction.set_moment(Moment { seconds: MOMENT, ahead });
    ask(&mut transaction, CLIENT, "POST", "/a/b.php?x=1", HEADERS);
    transaction.request_body(BODY, false);
    let headers: &[(&[u8], &[u8])] = &[(b"Content-Type", b"text/html"), (b"Content-Length", b"2")];
    transaction.response_head(&ResponseHead { status: 200, protocol: b"HTTP/1.1", headers });
    transaction.response_body(b"ok", false);
    transaction.end();
    transaction
}

/// What a message tells in phase 5.
fn told(message: &str) -> String {
    let text = format!("SecResponseBodyAccess On\nSecAction \"id:7,phase:5,pass,log,msg:'{message}'\"\n");
    messages(&whole(&text, 0))[0].to_owned()
}

#[test]
fn the_time_is_that_of_the_node() {
    let message = "%{TIME} %{TIME_EPOCH} %{TIME_YEAR} %{TIME_MON} %{TIME_DAY} %{TIME_WDAY} %{TIME_HOUR} %{TIME_MIN} %{TIME_SEC}";
    assert_eq!(told(message), "23:59:58 1961711998 2032 1 29 0 23 59 58");
    let text = format!("SecAction \"id:7,phase:1,pass,log,msg:'{message}'\"\n");
    assert_eq!(messages(&whole(&text, 3_600)), ["00:59:58 1961711998 2032 2 1 1 00 59 58"]);
    let night = "SecRule TIME_HOUR \"@ge 22\" \"id:7,phase:2,pass,log,msg:'night'\"\n";
    assert_eq!((messages(&whole(night, 0)).len(), messages(&whole(night, 3_600)).len()), (1, 0));
}

#[test]
fn a_request_and_its_answer_are_told_as_they_were() {
    for (message, want) in [
        ("%{AUTH_TYPE} %{PATH_INFO} %{STATUS_LINE}", "Basic /a/b.php HTTP/1.1 200"),
        ("%{INBOUND_DATA_ERROR} %{OUTBOUND_DATA_ERROR}", "0 0"),
        ("%{FILES_TMP_CONTENT.f}", "hello"),
        ("%{MODSEC_BUILD}", "030000000"),
    ] {
        assert_eq!(told(message), want, "{message}");
    }
    let whole_request = told("%{FULL_REQUEST}");
    assert_eq!(told("%{FULL_REQUEST_LENGTH}"), whole_request.len().to_string());
    assert!(
        whole_request.starts_with("POST /a/b.php?x=1 HTTP/1.1\nHost: shop.example.org\n"),
        "{whole_request}"
    );
    assert!(whole_request.contains("boundary=xyz\n\n--xyz\r\n") && whole_request.ends_with("--xyz--\r\n"));
    let duration: u64 = told("%{DURATION}").parse().unwrap();
    assert!((5..1_000).contains(&duration), "{duration}");
}

#[test]
fn a_cut_body_is_told() {
    let rules = rules("SecRule INBOUND_DATA_ERROR \"@eq 1\" \"id:1,phase:2,pass,log,msg:'cut'\"\n");
    for (is_cut, want) in [(false, 0), (true, 1)] {
        let mut transaction = Transaction::new(Arc::clone(&rules));
        ask(&mut transaction, CLIENT, "POST", "/", HEADERS);
        transaction.request_body(BODY, is_cut);
        assert_eq!(messages(&transaction).len(), want);
    }
}

#[test]
fn a_rule_tells_of_itself() {
    let text = "SecRule ARGS \"@rx .\" \"id:7,phase:1,pass,log,rev:'3',severity:ERROR,msg:'m %{tx.a} %{rule.msg}',\
                logdata:'%{RULE.id} %{rule.rev} %{RULE.severity} %{RULE.logdata}'\"\n\
                SecRule RULE:id \"@eq 8\" \"id:8,phase:1,pass,log,msg:'eight'\"\n";
    let transaction = whole(text, 0);
    assert_eq!(messages(&transaction), ["m  m %{TX.a} %{RULE.msg}", "eight"]);
    let data = "7 3 3 %{RULE.id} %{RULE.rev} %{RULE.severity} %{RULE.logdata}";
    assert_eq!(transaction.findings()[0].data, data);
}

#[test]
fn the_environment_is_what_rules_set() {
    let text = "SecAction \"id:1,phase:1,pass,nolog,setenv:Kind=%{REQUEST_METHOD},setenv:seen\"\n\
                SecRule ENV:kind \"@streq POST\" \"id:2,phase:1,pass,log,msg:'%{ENV.KIND} %{env.seen}%{env.PATH}'\"\n\
                SecRule &ENV \"@eq 2\" \"id:3,phase:1,pass,log,msg:'two'\"\n";
    assert_eq!(messages(&whole(text, 0)), ["POST 1", "two"]);
    assert_eq!(
        warnings(&rules(text)),
        ["own.conf:2: `ENV:path` is always empty here: no `setenv` sets it, and nothing else is read"]
    );
}

/// Each variable has something in a request that has everything, or loading warns of it.
#[test]
fn no_variable_is_empty_for_good_without_a_word() {
    let mut text = "SecResponseBodyAccess On\n\
        SecAction \"id:1,phase:1,pass,setenv:a=b,setsid:s,setuid:u,setrsc:r,initcol:ip=%{REMOTE_ADDR},initcol:global=g\"\n\
        SecAction \"id:2,phase:1,pass,setvar:tx.a=1,setvar:ip.a=1,setvar:session.a=1,setvar:user.a=1,setvar:global.a=1,\
        setvar:resource.a=1\"\n"
        .to_owned();
    let first = 10;
    for (number, variable) in (first..).zip(Variable::ALL) {
        let name = variable.as_str();
        // Such a body is read as one kind, and has no errors.
        let chain = "SecRule REMOTE_ADDR \"@rx (.)\"";
        writeln!(text, "{chain} \"id:{},phase:5,pass,nolog,chain,capture\"", number).unwrap();
        writeln!(text, "SecRule &{name} \"@gt 0\" \"msg:'{name}',t:none\"").unwrap();
        writeln!(text, "SecRuleUpdateActionById {number} log").unwrap();
    }
    let transaction = whole(&text, 0);
    let found: BTreeSet<&str> = messages(&transaction).into_iter().collect();
    let empty: Vec<&str> =
        Variable::ALL.iter().map(|known| known.as_str()).filter(|name| !found.contains(name)).collect();
    let warned = warnings(transaction.rules());
    let unwarned: Vec<&&str> =
        empty.iter().filter(|name| !warned.iter().any(|text| text.contains(&format!("`{name}`")))).collect();
    // Of bodies of other kinds, or of bodies with errors.
    assert_eq!(unwarned, [&"REQUEST_BODY", &"REQBODY_ERROR_MSG", &"XML", &"URLENCODED_ERROR"]);
    assert_eq!(warned.len(), 2, "{warned:#?}");
}
