// SPDX-License-Identifier: Apache-2.0
//! Which requests `why` knows, and what is said of those that it does not.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sunbeam_testkit::{TestProxy, TestResponse, TestUpstream, raw_exchange};

const HOST: &str = "shop.example.test";
const ATTACK: &str = "/list?q=1%27+UNION+SELECT+password+FROM+users--+-";

fn builder(backend: &TestUpstream, config: &str) -> sunbeam_testkit::TestProxyBuilder {
    let route = format!(
        "listen.trusted_proxies = [\"127.0.0.1/32\"]\n{config}\n\
         [[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\ndisable_secure_redirection = true\n",
        backend.url()
    );
    TestProxy::builder().config(&route)
}

fn start(config: &str) -> (TestUpstream, TestProxy) {
    let backend = TestUpstream::echo();
    let proxy = builder(&backend, config).start();
    (backend, proxy)
}

fn id_of(answer: &TestResponse) -> String {
    answer.header("x-request-id").unwrap().to_owned()
}

/// Asked once: whoever reads an id off a page asks at once.
fn why(proxy: &TestProxy, id: &str) -> TestResponse {
    proxy.api("GET", &format!("/api/v1/decisions/{id}"), "")
}

fn from(proxy: &TestProxy, address: &str, target: &str) -> TestResponse {
    proxy.client().header("x-forwarded-for", address).get(HOST, target)
}

#[test]
fn each_customer_of_a_network_is_told_why() {
    let (_backend, proxy) = start("ddos.enabled = false\nrate_limit.enabled = false\n");
    let ids: Vec<String> =
        (1..=20).map(|host| id_of(&from(&proxy, &format!("192.0.2.{host}"), ATTACK))).collect();
    for (number, id) in ids.iter().enumerate() {
        let told = why(&proxy, id);
        assert_eq!(told.status, 200, "number {number}: {}", told.text());
    }
    // The second of one client is one of many; what is said names that, and where to look.
    let id = id_of(&from(&proxy, "192.0.2.7", ATTACK));
    let told = why(&proxy, &id);
    assert_eq!(told.status, 404);
    for part in ["it was one of 1 ", "sunbeam why ADDRESS"] {
        assert!(told.text().contains(part), "{part}: {}", told.text());
    }
    for part in ["could not be written", "too slow"] {
        assert!(!told.text().contains(part), "nothing was lost: {}", told.text());
    }
}

#[test]
fn every_client_of_a_blocked_network_is_told_why() {
    let (_backend, proxy) = start("rate_limit.enabled = false\n");
    let block = json!({"ip": "192.0.2.0/24", "duration_seconds": 60}).to_string();
    assert_eq!(proxy.api("POST", "/api/v1/blocklist", &block).status, 200);
    for host in 1..=20 {
        let answer = from(&proxy, &format!("192.0.2.{host}"), "/");
        assert_eq!(answer.status, 403);
        let told = why(&proxy, &id_of(&answer));
        assert_eq!(told.status, 200, "{host}: {}", told.text());
    }
}

#[test]
fn what_is_refused_without_a_layer_is_kept_too() {
    let (_backend, proxy) = start("limits.max_body_bytes = 1000\nlimits.max_url_bytes = 2000\n");
    let id_in = |answer: &str| {
        let line = answer.lines().find_map(|line| {
            line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("x-request-id"))
        });
        line.unwrap_or_else(|| panic!("{answer}")).1.trim().to_owned()
    };
    let long = format!("GET /{} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n", "x".repeat(3000));
    let large =
        format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nContent-Length: 5000\r\n\r\n");
    let two_hosts = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nHost: b\r\nConnection: close\r\n\r\n");
    let unknown = "GET / HTTP/1.1\r\nHost: nobody.example.test\r\nConnection: close\r\n\r\n".to_owned();
    for (status, layer, reason, request) in [
        (414, "limits", "url_too_long", &long),
        (413, "limits", "body_too_large", &large),
        (400, "protocol", "malformed", &two_hosts),
        (421, "protocol", "unknown_host", &unknown),
    ] {
        let answer = raw_exchange(proxy.http(), request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        let told = why(&proxy, &id_in(&answer));
        assert_eq!(told.status, 200, "{status}: {}", told.text());
        let told = told.json();
        let decision = &told["decision"];
        assert_eq!(
            (&decision["decision"], &decision["layer"], &decision["reason"], &decision["status"]),
            (&json!("block"), &json!(layer), &json!(reason), &json!(status)),
            "{decision}"
        );
        assert_eq!(told["remedy"], Value::Null);
        assert!(!told["remedy_means"].as_str().unwrap().contains("unblock"), "{told}");
        let found = proxy.api("GET", &format!("/api/v1/decisions?layer={layer}&reason={reason}"), "").json();
        assert_eq!(found["decisions"].as_array().unwrap().len(), 1, "{found}");
    }
    // The audit log has what layers decided, and nothing else.
    let record = proxy.audit().wait_for("the 414", |record| record.status == 414);
    assert_eq!((record.layer.as_str(), record.decision.as_str()), ("", ""));
}

#[test]
fn a_challenge_that_failed_is_kept() {
    let (_backend, proxy) = start("scanner.enabled = false\n");
    let answer = from(&proxy, "192.0.2.1", "/.well-known/sunbeam/challenge?sunbeam-ticket=forged");
    assert_eq!(answer.status, 403);
    let told = why(&proxy, &id_of(&answer)).json();
    assert_eq!(
        (&told["decision"]["layer"], &told["decision"]["reason"]),
        (&json!("challenge"), &json!("failed")),
        "{told}"
    );
}

#[test]
fn no_command_is_told_that_cannot_work() {
    for (kept, command) in
        [("full", Some("sunbeam unblock 192.0.2.1")), ("truncated", None), ("hashed", None)]
    {
        let (_backend, proxy) = start(&format!("audit.client_ip = \"{kept}\"\n"));
        let block = json!({"ip": "192.0.2.1", "duration_seconds": 60}).to_string();
        assert_eq!(proxy.api("POST", "/api/v1/blocklist", &block).status, 200);
        let told = why(&proxy, &id_of(&from(&proxy, "192.0.2.1", "/"))).json();
        assert_eq!(told["remedy"].as_str(), command, "{kept}: {told}");
        let means = told["remedy_means"].as_str().unwrap();
        assert_eq!(means.contains("sunbeam blocks"), command.is_none(), "{kept}: {means}");
    }
}

#[test]
fn the_clients_time_is_not_ours() {
    let (_backend, proxy) = start("");
    let mut stream = TcpStream::connect(proxy.http()).unwrap();
    let head = format!(
        "POST /slow HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nabc"
    );
    stream.write_all(head.as_bytes()).unwrap();
    thread::sleep(Duration::from_millis(800));
    stream.write_all(b"def").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let record = proxy.audit().wait_for("the slow body", |record| record.path == "/slow");
    assert!(record.duration_ms >= 700, "{record:?}");
    assert!(record.added_us < 400_000, "{record:?}");
    // Nor where the body never comes whole.
    let mut stream = TcpStream::connect(proxy.http()).unwrap();
    stream.write_all(head.replace("/slow", "/broken").as_bytes()).unwrap();
    thread::sleep(Duration::from_millis(800));
    drop(stream);
    let record = proxy.audit().wait_for("the broken body", |record| record.path == "/broken");
    assert!(record.added_us < 400_000, "{record:?}");
}

#[test]
fn a_store_that_cannot_be_opened_stops_nothing_else() {
    let backend = TestUpstream::echo();
    let builder = builder(&backend, "");
    fs::write(builder.folder().join("decisions"), "no folder").unwrap();
    let proxy = builder.start();
    let answer = from(&proxy, "192.0.2.1", ATTACK);
    assert_eq!(answer.status, 403, "it protects all the same");
    let told = why(&proxy, &id_of(&answer));
    assert!(told.status == 409 && told.text().contains("could not be opened"), "{}", told.text());
    let status = proxy.api("GET", "/api/v1/status", "").json();
    assert!(status["decisions_error"].as_str().unwrap().contains("decisions"), "{status}");
    assert!((proxy.metric("sunbeam_decision_store_failed", &[]) - 1.0).abs() < 0.1);
    let (_backend, proxy) = start("");
    assert_eq!(proxy.api("GET", "/api/v1/status", "").json()["decisions_error"], Value::Null);
    assert!(proxy.metric("sunbeam_decision_store_failed", &[]).abs() < 0.1);
}

#[test]
fn a_question_that_makes_no_sense_is_told_in_json() {
    let (_backend, proxy) = start("");
    for (question, status) in
        [("limit=-1", 400), ("rule=99999999999999999999", 400), ("nothing=1", 400), ("limit=0", 422)]
    {
        let answer = proxy.api("GET", &format!("/api/v1/decisions?{question}"), "");
        assert_eq!(answer.status, status, "{question}");
        assert!(answer.json()["error"].as_str().is_some_and(|error| !error.is_empty()), "{question}");
    }
}

#[test]
fn whoever_asks_for_what_is_not_there_does_not_wait_long() {
    let (_backend, proxy) = start("");
    let asked = Instant::now();
    assert_eq!(why(&proxy, "00000000").status, 404);
    assert!(asked.elapsed() < Duration::from_secs(2));
}
