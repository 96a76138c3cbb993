// SPDX-License-Identifier: Apache-2.0
//! Which of a rule set's five phases run, whatever becomes of a request: the last one before its record is written, and
//! all others too where what a rule wanted is not acted on.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};

use bytes::Bytes;
use http::{Response, header};
use http_body_util::Full;
use sunbeam_testkit::{RawUpstream, TestProxy, TestUpstream, eventually, raw_exchange};
use sunbeam_traffic::AuditRecord;

use crate::judging::{layer, record};
use crate::waf::{FORM, HOST, builder, post, start, text};

/// Marks of the first and the last phase, rules that stop requests, and one of answers.
const RULES: &str = r#"
SecAction "id:1000401,phase:1,pass,log,t:none,msg:'begun'"
SecRule REQUEST_URI "@beginsWith /never" "id:1000402,phase:1,deny,log,t:none,msg:'no'"
SecRule ARGS "@contains walrus" "id:1000403,phase:2,deny,log,t:none,msg:'no'"
SecRule RESPONSE_BODY "@contains leak" "id:1000404,phase:4,deny,log,t:none,msg:'no'"
SecAction "id:1000405,phase:5,pass,log,t:none,msg:'ended'"
"#;

/// Answers are looked at, so rules are at work until one has come; matches are told each time.
const LOOKED_AT: &str = "waf.inspect_responses = true\naudit.matches = true\n";

fn pages() -> TestUpstream {
    TestUpstream::with(|seen| {
        let body = if seen.target.starts_with("/leak") { "a leak" } else { "a page" };
        let mut response = Response::new(Full::from(body));
        response.headers_mut().insert(header::CONTENT_TYPE, "text/plain".parse().unwrap());
        response
    })
}

/// The only record with this path.
fn only(proxy: &TestProxy, path: &str) -> AuditRecord {
    let found = proxy.audit().wait_for(path, |record| record.path == path);
    let all = proxy.audit().records().into_iter().filter(|record| record.path == path);
    assert_eq!(all.count(), 1, "{path}");
    found
}

/// Every rule that matched, as often as it did.
fn matched(record: &AuditRecord) -> Vec<u64> {
    record.matches.iter().map(|one| one.rule).collect()
}

#[test]
fn the_last_phase_runs_once_and_is_in_the_record_whatever_becomes_of_a_request() {
    let backend = pages();
    let proxy = start(RULES, &backend, &format!("{LOOKED_AT}limits.max_body_bytes = 1000\n"), "");
    let get = |target: &str| proxy.client().get(HOST, target).status;
    assert_eq!([get("/page"), get("/never"), get("/leak")], [200, 403, 403]);
    assert_eq!(post(&proxy, FORM, "animal=walrus").status, 403);
    let head = format!("Host: {HOST}\r\nContent-Type: {}\r\n", FORM.1);
    let chunked = format!(
        "POST /large HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n7d0\r\n{}",
        "a".repeat(2000)
    );
    assert!(raw_exchange(proxy.http(), chunked.as_bytes()).starts_with("HTTP/1.1 413 "));
    let mut leaving = TcpStream::connect(proxy.http()).unwrap();
    leaving
        .write_all(format!("POST /left HTTP/1.1\r\n{head}Content-Length: 100\r\n\r\na=b").as_bytes())
        .unwrap();
    leaving.shutdown(Shutdown::Both).unwrap();
    for (path, status, rules) in [
        ("/page", Some(200), &[1_000_401, 1_000_405][..]),
        ("/never", Some(403), &[1_000_401, 1_000_402, 1_000_405]),
        ("/leak", Some(403), &[1_000_401, 1_000_404, 1_000_405]),
        ("/form", Some(403), &[1_000_401, 1_000_403, 1_000_405]),
        ("/large", Some(413), &[1_000_401, 1_000_405]),
        ("/left", None, &[1_000_401, 1_000_405]),
    ] {
        let record = only(&proxy, path);
        assert_eq!((record.rules.as_slice(), matched(&record).as_slice()), (rules, rules), "{path}");
        assert!(status.is_none_or(|status| status == record.status), "{path}: {record:?}");
    }
    // Nobody waits for an answer that is not looked at; the same must hold.
    let blind = start(RULES, &backend, "audit.matches = true\n", "");
    for client in [blind.client(), blind.client().http2()] {
        let record = record(&blind, &client.get(HOST, "/leak"));
        assert_eq!((record.status, matched(&record)), (200, vec![1_000_401, 1_000_405]));
    }
}

#[test]
fn the_last_phase_runs_for_whoever_leaves_while_the_backend_is_asked() {
    let backend = RawUpstream::silent();
    let folder = builder(RULES);
    let config = text(&folder, &pages(), LOOKED_AT, "");
    let route = format!(
        "[[routes]]\nhost_prefix = \"slow\"\nbackend = {:?}\ndisable_secure_redirection = true\n",
        backend.url()
    );
    let proxy = folder.config(&format!("{config}{route}")).start();
    let mut client = TcpStream::connect(proxy.http()).unwrap();
    client.write_all(b"GET /waits HTTP/1.1\r\nHost: slow.example.test\r\n\r\n").unwrap();
    eventually("the backend is asked", || (!backend.requests().is_empty()).then_some(()));
    drop(client);
    let record = only(&proxy, "/waits");
    assert_eq!((record.status, matched(&record)), (499, vec![1_000_401, 1_000_405]));
}

#[test]
fn what_is_not_acted_on_hides_no_rule_of_a_later_phase() {
    let backend = pages();
    let proxy = start(RULES, &backend, LOOKED_AT, "protect = { waf = \"observe\" }");
    let client = || proxy.client().method("POST").header(FORM.0, FORM.1).body("animal=walrus");
    for client in [client(), client().http2()] {
        let answer = client.get(HOST, "/never/leak");
        let of_answer = client.get(HOST, "/leak/never");
        let record_of_answer = record(&proxy, &of_answer);
        let record = record(&proxy, &answer);
        assert_eq!((answer.status, layer(&record)), (200, ("observe", "waf", "rule")), "{record:?}");
        // Its body, too, was looked at: the rule of the head came first.
        assert_eq!(matched(&record), [1_000_401, 1_000_402, 1_000_403, 1_000_405]);
        assert_eq!(matched(&record_of_answer), [1_000_401, 1_000_403, 1_000_404, 1_000_405]);
        assert_eq!(backend.last().body, "animal=walrus");
    }
}

/// Rules at their threshold and texts that the model finds clean: doubtful, and not acted on by itself.
#[test]
fn behind_a_score_that_is_not_acted_on_the_operator_s_own_rules_still_have_their_word() {
    let rules = r#"
SecRule ARGS "@contains walrus" \
    "id:1000411,phase:2,pass,log,t:none,msg:'A walrus',setvar:'tx.blocking_inbound_anomaly_score=+5'"
SecRule TX:BLOCKING_INBOUND_ANOMALY_SCORE "@ge 5" "id:949110,phase:2,deny,log,t:none,msg:'too much'"
SecRule ARGS:own "@streq 1" "id:1000412,phase:2,deny,status:418,log,t:none,msg:'an own rule'"
SecRule ARGS:more "@streq 1" \
    "id:1000413,phase:2,pass,log,t:none,msg:'more',setvar:'tx.blocking_inbound_anomaly_score=+5'"
SecRule RESPONSE_BODY "@contains leak" "id:1000414,phase:4,deny,status:451,log,t:none,msg:'a leak'"
SecAction "id:1000415,phase:5,pass,log,t:none,msg:'ended'"
"#;
    let backend = pages();
    let proxy = start(rules, &backend, "waf.inspect_responses = true\n", "");
    for (target, status, said, ids) in [
        ("/?a=walrus", 200, ("observe", "rules"), &[1_000_411, 949_110, 1_000_415][..]),
        ("/?a=walrus&own=1", 418, ("block", "rule"), &[1_000_411, 949_110, 1_000_412, 1_000_415]),
        ("/?a=walrus&more=1", 403, ("block", "rules"), &[1_000_411, 949_110, 1_000_413, 1_000_415]),
        ("/leak?a=walrus", 451, ("block", "answer_rule"), &[1_000_411, 949_110, 1_000_414, 1_000_415]),
        ("/?own=1", 418, ("block", "rule"), &[1_000_412, 1_000_415]),
    ] {
        let answer = proxy.client().get(HOST, target);
        let record = record(&proxy, &answer);
        let found = (record.decision.as_str(), record.reason.as_str());
        assert_eq!((answer.status, found, record.rules.as_slice()), (status, said, ids), "{target}");
    }
    let decisions = |decision| proxy.metric("sunbeam_waf_decisions_total", &[("decision", decision)]);
    assert_eq!([decisions("block"), decisions("observe")], [4.0, 1.0], "once a request");
    // The rule set's word alone is acted on where it falls.
    let alone = start(rules, &backend, "waf.verdict = \"rules\"\n", "");
    let answer = alone.client().get(HOST, "/?a=walrus&own=1");
    assert_eq!((answer.status, record(&alone, &answer).rules), (403, vec![1_000_411, 949_110, 1_000_415]));
}

#[test]
fn what_rules_matched_is_in_the_record_where_somebody_wants_that_and_secrets_are_not() {
    let rules = r#"
SecRule ARGS "@rx walrus" \
    "id:1000421,phase:2,pass,log,capture,t:none,msg:'%{MATCHED_VAR} in %{MATCHED_VAR_NAME}',logdata:'found %{TX.0} in %{MATCHED_VAR}'"
"#;
    let backend = pages();
    let proxy = start(rules, &backend, "audit.matches = true\n", "");
    let long = "x".repeat(3000);
    let form = format!("a=a+walrus&password=walrus-7&{long}=walrus");
    let told = record(&proxy, &post(&proxy, FORM, form.clone()));
    let [open, secret, named] = told.matches.as_slice() else { panic!("{told:?}") };
    assert_eq!(
        (open.rule, open.message.as_str(), open.target.as_str()),
        (1_000_421, "a walrus in ARGS:a", "ARGS:a")
    );
    assert_eq!((open.value.as_str(), open.data.as_str()), ("a walrus", "found walrus in a walrus"));
    assert!(open.at.ends_with("rules/own.conf:2"), "{}", open.at);
    assert_eq!((secret.value.as_str(), secret.target.as_str()), ("[redacted]", "ARGS:password"));
    assert!(!format!("{secret:?}").contains("walrus-7"), "{secret:?}");
    assert_eq!((named.target.len(), named.message.len()), (256, 256), "a name may be as long as a body");
    assert_eq!(told.rules, [1_000_421]);
    let silent = start(rules, &backend, "", "");
    let told = record(&silent, &post(&silent, FORM, form));
    assert_eq!((told.rules.as_slice(), told.matches.len()), (&[1_000_421][..], 0));
    let many = (0..100).map(|number| format!("a{number}=walrus&")).collect::<String>();
    assert_eq!(record(&proxy, &post(&proxy, FORM, many)).matches.len(), 32, "bounded");
}

#[test]
fn a_body_of_two_types_is_refused_and_entities_go_by_their_switch() {
    let backend = TestUpstream::echo();
    // The model has an opinion of its own on document types.
    let rules = "waf.verdict = \"rules\"\n";
    let proxy = start("", &backend, rules, "");
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nContent-Length: 3\r\n");
    let two = format!("{head}Content-Type: text/plain\r\nContent-Type: {}\r\n\r\na=b", FORM.1);
    assert!(raw_exchange(proxy.http(), two.as_bytes()).starts_with("HTTP/1.1 400 "));
    let xml = ("content-type", "application/xml");
    let document = || Bytes::from_static(b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>");
    assert_eq!(post(&proxy, xml, document()).status, 400);
    assert!(backend.seen().is_empty());
    let lenient = start("", &backend, &format!("{rules}waf.block_xxe = false\n"), "");
    let answer = post(&lenient, xml, document());
    assert_eq!(answer.status, 200, "{:?}", record(&lenient, &answer));
    assert_eq!(post(&lenient, xml, Bytes::from_static(b"<a>&x;</b>")).status, 400, "not well formed");
}
