// SPDX-License-Identifier: Apache-2.0
//! Why a request was answered as it was: what is kept, how it is found, what is told of it.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::fs;

use serde_json::{Value, json};
use sunbeam_testkit::{TestProxy, TestResponse, TestUpstream, eventually};

const HOST: &str = "shop.example.test";
const ATTACK: &str = "/list?q=1%27+UNION+SELECT+password+FROM+users--+-&token=swordfish";

fn start(config: &str) -> (TestUpstream, TestProxy) {
    let backend = TestUpstream::echo();
    let route = format!(
        "{config}\n[[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\ndisable_secure_redirection = true\n",
        backend.url()
    );
    let proxy = TestProxy::builder().config(&route).start();
    (backend, proxy)
}

fn id_of(answer: &TestResponse) -> String {
    answer.header("x-request-id").unwrap().to_owned()
}

/// What is kept about a request.
fn why(proxy: &TestProxy, id: &str) -> Value {
    let page = format!("/api/v1/decisions/{id}");
    let told = || Some(proxy.api("GET", &page, "")).filter(|answer| answer.status == 200);
    eventually("the decision is kept", told).json()
}

fn found(proxy: &TestProxy, query: &str) -> Vec<String> {
    let answer = proxy.api("GET", &format!("/api/v1/decisions?{query}"), "");
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    let ids = answer.json()["decisions"].as_array().unwrap().clone();
    ids.iter().map(|one| one["request_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_blocked_request_is_explained_by_its_id_and_no_secret_is_told() {
    let (_backend, proxy) = start("");
    let answer = proxy.client().get(HOST, ATTACK);
    assert_eq!(answer.status, 403);
    let id = id_of(&answer);
    assert!(answer.text().contains(&id), "the page names the id");
    let told = why(&proxy, &id);
    let decision = &told["decision"];
    for (field, want) in [
        ("request_id", json!(id)),
        ("decision", json!("block")),
        ("host", json!(HOST)),
        ("path", json!("/list")),
        ("client_ip", json!("127.0.0.1")),
        ("status", json!(403)),
    ] {
        assert_eq!(decision[field], want, "{field}");
    }
    assert!(["scanner", "waf"].contains(&decision["layer"].as_str().unwrap()), "{decision}");
    let unit = &decision["why"]["models"]["payload"];
    assert!(unit["score"].as_f64().unwrap() > 0.5 && unit["name"] == "q", "{unit}");
    assert!(!decision["why"]["window"].as_array().unwrap().is_empty());
    assert_eq!(told["suspicion"]["looks"], "like_an_attack", "{told}");
    assert_eq!(told["like_it"]["decisions"], 1);
    assert!(!told.to_string().contains("swordfish"), "a secret is told: {told}");
    // By the beginning of its id, too.
    assert_eq!(why(&proxy, &id[..8])["decision"]["request_id"], json!(id));
}

#[test]
fn rules_are_told_with_what_they_found_and_where() {
    let (_backend, proxy) = start("scanner.enabled = false\nwaf.verdict = \"rules\"\n");
    let id = id_of(&proxy.client().get(HOST, ATTACK));
    let told = why(&proxy, &id);
    let rules = told["decision"]["why"]["rules"].as_array().unwrap().clone();
    let rule = rules.iter().find(|rule| rule["target"] == "ARGS:q").unwrap_or_else(|| panic!("{told}"));
    assert!(rule["value"].as_str().unwrap().to_lowercase().contains("union select"), "{rule}");
    assert!(rule["at"].as_str().unwrap().contains(".conf:") && rule["rule"].as_u64().unwrap() > 0, "{rule}");
    assert_eq!((&told["decision"]["layer"], &told["decision"]["reason"]), (&json!("waf"), &json!("rules")));
    // A secret that a rule finds something in is not told.
    let secret = "/list?token=1%27+UNION+SELECT+swordfish+FROM+users--+-";
    let told = why(&proxy, &id_of(&proxy.client().get(HOST, secret)));
    assert!(!told.to_string().contains("swordfish"), "{told}");
}

#[test]
fn decisions_are_searched_by_what_is_known_of_them() {
    let (_backend, proxy) = start("listen.trusted_proxies = [\"127.0.0.1/32\"]\n");
    let from = |address: &str, target: &str| {
        id_of(&proxy.client().header("x-forwarded-for", address).get(HOST, target))
    };
    let one = from("192.0.2.1", ATTACK);
    let two = from("192.0.2.2", "/other?q=%3Cscript%3Ealert(document.cookie)%3C%2Fscript%3E");
    let env = from("192.0.2.2", "/.env");
    for id in [&one, &two, &env] {
        why(&proxy, id);
    }
    let all = found(&proxy, "");
    assert_eq!(all, [env.as_str(), two.as_str(), one.as_str()], "newest first");
    assert_eq!(found(&proxy, "ip=192.0.2.1"), [one.as_str()]);
    assert_eq!(found(&proxy, "path=/other"), [two.as_str()]);
    assert_eq!(found(&proxy, "path=/o*&host=shop.example.test"), [two.as_str()]);
    assert_eq!(found(&proxy, "layer=scanner&path=/.env"), [env.as_str()]);
    assert_eq!(found(&proxy, "host=nobody.test").len(), 0);
    assert_eq!(found(&proxy, "decision=pass").len(), 0);
    assert_eq!(found(&proxy, "until=2020-01-01T00:00:00Z").len(), 0);
    assert_eq!(found(&proxy, "since=2020-01-01T00:00:00Z&limit=2").len(), 2);
    // A page after the other.
    let first = proxy.api("GET", "/api/v1/decisions?limit=2", "").json();
    let next = first["next"].as_str().unwrap();
    assert_eq!(found(&proxy, &format!("limit=2&cursor={next}")), [one.as_str()]);
    let like_it = &why(&proxy, &one)["like_it"];
    assert!(like_it["clients"].as_u64() >= Some(1) && like_it["authenticated"] == 0, "{like_it}");
}

#[test]
fn a_sample_of_passes_is_kept_and_nothing_where_nothing_is_to_be() {
    let (_backend, proxy) = start("decisions.sample_passes = 1.0\nscanner.enabled = false\n");
    let told = why(&proxy, &id_of(&proxy.client().get(HOST, "/hello")));
    assert_eq!(
        (&told["decision"]["decision"], &told["decision"]["why"]["models"]),
        (&json!("pass"), &Value::Null)
    );
    let (_backend, proxy) = start("decisions.sample_passes = 0.0\nscanner.enabled = false\n");
    proxy.client().get(HOST, "/hello");
    let id = id_of(&proxy.client().get(HOST, ATTACK));
    why(&proxy, &id);
    assert_eq!(found(&proxy, ""), [id.as_str()]);
    let (_backend, proxy) = start("decisions.max_bytes = 0\n");
    let id = id_of(&proxy.client().get(HOST, ATTACK));
    let answer = proxy.api("GET", &format!("/api/v1/decisions/{id}"), "");
    assert!(answer.status == 409 && answer.text().contains("decisions.max_bytes"), "{}", answer.text());
    assert!(!proxy.folder().join("decisions").exists());
}

#[test]
fn a_flood_of_one_kind_is_sampled_and_says_for_how_many_it_stands() {
    let (_backend, proxy) = start("ddos.enabled = false\nrate_limit.enabled = false\n");
    for _ in 0..64 {
        proxy.client().get(HOST, "/.env");
    }
    let written = || proxy.metric("sunbeam_decisions_kept_total", &[("result", "sampled")]);
    eventually("most are sampled", || (written() >= 50.0).then_some(()));
    let newest = proxy.api("GET", "/api/v1/decisions?limit=1", "").json();
    assert_eq!(newest["decisions"][0]["why"]["stands_for"], 32, "{newest}");
    assert_eq!(found(&proxy, "path=/.env").len(), 8, "the first four, the 8th, 16th, 32nd and 64th");
}

#[test]
fn what_a_person_says_of_a_request_is_a_label_that_learning_reads() {
    let (_backend, proxy) = start("");
    let id = id_of(&proxy.client().get(HOST, ATTACK));
    why(&proxy, &id);
    let label = |label: &str| {
        proxy.api("POST", &format!("/api/v1/decisions/{id}/label"), &json!({"label": label}).to_string())
    };
    assert_eq!((label("attack").status, label("human").status), (200, 200));
    let text = fs::read_to_string(proxy.folder().join("labels.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1, "the later word replaces the earlier: {text}");
    assert_eq!(
        (&lines[0]["request_id"], &lines[0]["label"], &lines[0]["target"]),
        (&json!(id), &json!("human"), &json!("audit"))
    );
    assert!(lines[0].get("why").is_none() && !text.contains("swordfish"));
}
