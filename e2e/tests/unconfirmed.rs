// SPDX-License-Identifier: Apache-2.0
//! Changes beside the configuration that are taken back unless somebody confirms them.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sunbeam_testkit::{TestFolder, TestProxy, TestResponse, TestUpstream, eventually};

const SHOP: &str = "shop.example.test";

/// One rule, which stops walruses.
const RULES: &str =
    "SecRule ARGS \"@contains walrus\" \"id:1000002,phase:2,deny,status:403,log,msg:'A walrus'\"\n";
const WALRUS: &str = "/list?q=a+walrus";

/// A node whose state outlives it.
fn start(state: &TestFolder, backend: &TestUpstream) -> TestProxy {
    state.write("rules/own.conf", RULES);
    let text = format!(
        "state.path = {:?}\nlisten.trusted_proxies = [\"127.0.0.1/32\"]\n\
         ddos.enabled = false\nrate_limit.enabled = false\n\
         waf = {{ mode = \"enforce\", ruleset = \"none\", verdict = \"rules\", rules_dir = {:?} }}\n\
         [[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\ndisable_secure_redirection = true\n",
        state.join("state.redb").display().to_string(),
        state.join("rules").display().to_string(),
        backend.url()
    );
    eventually("the state is free", || TestProxy::builder().config(&text).try_start().ok())
}

fn from(proxy: &TestProxy, address: &str, target: &str) -> TestResponse {
    proxy.client().header("x-forwarded-for", address).get(SHOP, target)
}

fn status(proxy: &TestProxy, target: &str) -> u16 {
    from(proxy, "192.0.2.1", target).status
}

fn post(proxy: &TestProxy, page: &str, body: &Value) -> Value {
    let answer = proxy.api("POST", page, &body.to_string());
    assert_eq!(answer.status, 200, "{page} {body}: {}", answer.text());
    answer.json()
}

fn switch(proxy: &TestProxy, mode: &str, within: u64) -> String {
    let body = json!({"layer": "scanner", "mode": mode, "confirm_within_secs": within});
    let answer = post(proxy, "/api/v1/layers", &body);
    assert_eq!(
        answer["waits"]["confirm"],
        format!("sunbeam confirm {}", answer["waits"]["id"].as_str().unwrap())
    );
    answer["waits"]["id"].as_str().unwrap().to_owned()
}

fn waiting(proxy: &TestProxy) -> Vec<Value> {
    proxy.api("GET", "/api/v1/changes", "").json()["changes"].as_array().unwrap().clone()
}

/// What the trail says of changes that the node took back itself.
fn taken_back(proxy: &TestProxy) -> Vec<String> {
    let trail = proxy.api("GET", "/api/v1/trail", "").json();
    let of_node = trail["changes"].as_array().unwrap().iter().filter(|line| line["who"] == "node");
    of_node.map(|line| line["said"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_said_of_a_layer_is_taken_back_unless_it_is_confirmed() {
    let (backend, state) = (TestUpstream::echo(), TestFolder::new());
    let proxy = start(&state, &backend);
    assert_eq!(status(&proxy, "/.env"), 403);
    // Nothing happens to what is only tried.
    let tried = json!({"layer": "scanner", "mode": "observe", "confirm_within_secs": 1, "dry_run": true});
    assert_eq!(post(&proxy, "/api/v1/layers", &tried)["waits"], Value::Null);
    assert!(waiting(&proxy).is_empty());
    switch(&proxy, "observe", 2);
    assert_eq!((status(&proxy, "/.env"), waiting(&proxy).len()), (200, 1));
    assert!(waiting(&proxy)[0]["what"].as_str().unwrap().contains("`scanner` in mode observe everywhere"));
    // One of the same thing waits already.
    let again = json!({"layer": "scanner", "mode": "enforce", "confirm_within_secs": 60}).to_string();
    assert_eq!(proxy.api("POST", "/api/v1/layers", &again).status, 409);
    eventually("it is taken back", || (status(&proxy, "/.env") == 403).then_some(()));
    eventually("it waits no more", || waiting(&proxy).is_empty().then_some(()));
    assert!(
        taken_back(&proxy)[0].contains("nobody confirmed it: `scanner` in mode observe"),
        "{:?}",
        taken_back(&proxy)
    );
    assert_eq!(proxy.metric("sunbeam_changes_confirmed_total", &[("result", "taken_back")]), 1.0);
    // Confirmed, it stays.
    let id = switch(&proxy, "observe", 2);
    let confirmed = proxy.api("POST", &format!("/api/v1/changes/{id}/confirm"), "");
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());
    assert_eq!(proxy.api("POST", &format!("/api/v1/changes/{id}/confirm"), "").status, 404);
    // What was made after it and runs out later is gone: its own time is over, too.
    post(&proxy, "/api/v1/blocklist", &json!({"ip": "198.51.100.7", "confirm_within_secs": 3}));
    eventually("the later one is taken back", || waiting(&proxy).is_empty().then_some(()));
    assert_eq!((from(&proxy, "198.51.100.7", "/").status, status(&proxy, "/.env")), (200, 200));
    // Whoever says something else of it without the option wants that.
    switch(&proxy, "auto", 2);
    assert_eq!(status(&proxy, "/.env"), 403);
    post(&proxy, "/api/v1/layers", &json!({"layer": "scanner", "mode": "auto"}));
    assert!(waiting(&proxy).is_empty());
    for (body, want) in
        [(json!({"confirm_within_secs": 0}), 422), (json!({"confirm_within_secs": 86_401}), 422)]
    {
        let mut body = body;
        (body["layer"], body["mode"]) = ("scanner".into(), "observe".into());
        assert_eq!(proxy.api("POST", "/api/v1/layers", &body.to_string()).status, want, "{body}");
    }
    assert_eq!(proxy.api("POST", "/api/v1/changes/configuration/confirm", "").status, 404);
}

#[test]
fn a_change_that_ran_out_while_the_node_was_down_is_taken_back_at_its_start() {
    let (backend, state) = (TestUpstream::echo(), TestFolder::new());
    let mut proxy = start(&state, &backend);
    let soon = switch(&proxy, "observe", 1);
    let block = json!({"ip": "198.51.100.7", "confirm_within_secs": 3600});
    let later = post(&proxy, "/api/v1/blocklist", &block)["waits"]["id"].as_str().unwrap().to_owned();
    assert_eq!(status(&proxy, "/.env"), 200);
    // Killed, as it were: nothing is written at its end that was not written before.
    let kept = std::fs::read_to_string(state.join("unconfirmed.json")).unwrap();
    proxy.drain();
    let ran_out = kept.replace(&format!("\"id\":\"{later}\""), "\"id\":\"0000beef\"");
    state.write("unconfirmed.json", &ran_out);
    std::thread::sleep(Duration::from_millis(1_100));
    proxy = start(&state, &backend);
    assert_eq!(status(&proxy, "/.env"), 403, "before anything was served");
    assert_eq!(from(&proxy, "198.51.100.7", "/").status, 403);
    assert!(taken_back(&proxy)[0].contains("`scanner` in mode observe"));
    assert_eq!(proxy.api("POST", &format!("/api/v1/changes/{soon}/confirm"), "").status, 404);
    // What has time left can still be confirmed.
    let ids: Vec<Value> = waiting(&proxy).iter().map(|one| one["id"].clone()).collect();
    assert_eq!(ids, [json!("0000beef")]);
    assert_eq!(proxy.api("POST", "/api/v1/changes/0000beef/confirm", "").status, 200);
    assert!(waiting(&proxy).is_empty());
}

#[test]
fn blocks_come_back_to_what_was_blocked_before() {
    let (backend, state) = (TestUpstream::echo(), TestFolder::new());
    let proxy = start(&state, &backend);
    let is_blocked = |address: &str| from(&proxy, address, "/").status == 403;
    // Whoever works from there may block it, if the way back is sure.
    let own = json!({"ip": "203.0.113.0/24"}).to_string();
    let operator = |body: &str| {
        let address = proxy.node().management_address().unwrap();
        let token = std::fs::read_to_string(proxy.node().token_path().unwrap()).unwrap();
        proxy
            .api_client()
            .method("POST")
            .header("authorization", &format!("Bearer {}", token.trim()))
            .header("sunbeam-operator", "203.0.113.5")
            .body(body.to_owned())
            .get(&address.to_string(), "/api/v1/blocklist")
    };
    let refused = operator(&own);
    assert!(refused.status == 409 && refused.text().contains("--confirm-within"), "{}", refused.text());
    let made = operator(&json!({"ip": "203.0.113.0/24", "confirm_within_secs": 2}).to_string());
    assert_eq!(made.status, 200, "{}", made.text());
    assert!(is_blocked("203.0.113.9"));
    eventually("it is taken back", || (!is_blocked("203.0.113.9")).then_some(()));
    // In the place of another block.
    post(&proxy, "/api/v1/blocklist", &json!({"ip": "198.51.100.7", "reason": "first"}));
    post(
        &proxy,
        "/api/v1/blocklist",
        &json!({"ip": "198.51.100.7", "reason": "second", "confirm_within_secs": 1}),
    );
    eventually("the first is back", || {
        let blocks = proxy.api("GET", "/api/v1/blocklist", "").json();
        (blocks["blocks"][0]["reason"] == "first").then_some(())
    });
    assert!(is_blocked("198.51.100.7"));
    // Unblocked in between: nothing waits.
    post(&proxy, "/api/v1/blocklist", &json!({"ip": "198.51.100.8", "confirm_within_secs": 60}));
    assert_eq!(proxy.api("DELETE", "/api/v1/blocklist/198.51.100.8", "").status, 200);
    assert!(waiting(&proxy).is_empty());
    let allowed = json!({"ip": "198.51.100.8", "confirm_within_secs": 60}).to_string();
    assert_eq!(proxy.api("POST", "/api/v1/allowlist", &allowed).status, 422);
}

#[test]
fn exceptions_that_nobody_confirms_go_and_those_that_were_removed_come_back() {
    let (backend, state) = (TestUpstream::echo(), TestFolder::new());
    let proxy = start(&state, &backend);
    let stopped = from(&proxy, "192.0.2.1", WALRUS);
    let id = stopped.header("x-request-id").unwrap().to_owned();
    assert_eq!(stopped.status, 403);
    let allow = |within: Value, days: u64| {
        // The scanner finds the test's client odd: it sends no `User-Agent`.
        let mut body = json!({"from": id, "wider": true, "force": true, "duration_seconds": days * 86_400});
        body["confirm_within_secs"] = within;
        eventually("the decision is kept", || {
            Some(proxy.api("POST", "/api/v1/exceptions", &body.to_string()))
                .filter(|answer| answer.status == 200)
        })
        .json()
    };
    let made = allow(json!(2), 1);
    assert_eq!((status(&proxy, WALRUS), made["waits"]["id"].is_string()), (200, true), "{made}");
    // What is allowed was a person's: that is evidence, as a label is, once somebody stands by it.
    let said = |answer: &Value, what: &str| answer["message"].as_str().unwrap().contains(what);
    let hurt = "counts as a person whom `waf` hurt";
    assert!(said(&made, "labelled human when that is confirmed") && !said(&made, hurt), "{made}");
    eventually("it is taken back", || (status(&proxy, WALRUS) == 403).then_some(()));
    assert_eq!(proxy.api("GET", "/api/v1/exceptions", "").json()["total"], 0);
    let labels = || std::fs::read_to_string(state.join("labels.jsonl")).unwrap_or_default();
    assert_eq!(labels(), "");
    let made = allow(json!(60), 1);
    let confirm = format!("/api/v1/changes/{}/confirm", made["waits"]["id"].as_str().unwrap());
    let confirmed = proxy.api("POST", &confirm, "").json();
    assert!(said(&confirmed, "is labelled human") && said(&confirmed, hurt), "{confirmed}");
    assert!(labels().contains(&id), "{}", labels());
    // It holds, is made to hold longer, and holds as long as before.
    let first = allow(Value::Null, 1);
    let exception = first["id"].as_str().unwrap().to_owned();
    let page = format!("/api/v1/exceptions/{exception}");
    let expires = || proxy.api("GET", &page, "").json()["expires"].clone();
    let before = expires();
    allow(json!(1), 9);
    assert_ne!(expires(), before);
    eventually("it ends when it ended", || (expires() == before).then_some(()));
    assert_eq!(status(&proxy, WALRUS), 200);
    // Removed, and back.
    let removed = proxy.api("DELETE", &format!("{page}?confirm_within_secs=2"), "");
    assert_eq!((removed.status, status(&proxy, WALRUS)), (200, 403), "{}", removed.text());
    assert!(said(&removed.json(), "stays until that is confirmed") && labels().contains(&id));
    eventually("it is back", || (status(&proxy, WALRUS) == 200).then_some(()));
    assert_eq!(expires(), before);
    // It is there after a restart, too.
    eventually("nothing waits", || waiting(&proxy).is_empty().then_some(()));
    drop(proxy);
    let proxy = start(&state, &backend);
    assert_eq!(status(&proxy, WALRUS), 200);
}

#[test]
fn a_configuration_that_waits_is_listed_and_confirmed_with_the_others() {
    let (backend, state) = (TestUpstream::echo(), TestFolder::new());
    let proxy = start(&state, &backend);
    let config = proxy.api("GET", "/api/v1/config", "").json()["toml"].as_str().unwrap().to_owned();
    let other = config.replace("sample_passes = 0.001", "sample_passes = 0.002");
    assert_ne!(config, other);
    let applied = proxy.api("POST", "/api/v1/config/apply?confirm_within=60", &other);
    assert_eq!(applied.status, 200, "{}", applied.text());
    let listed = waiting(&proxy);
    assert_eq!((listed.len(), &listed[0]["id"]), (1, &json!("configuration")), "{listed:?}");
    assert_eq!(proxy.api("POST", "/api/v1/changes/configuration/confirm", "").status, 200);
    assert!(waiting(&proxy).is_empty());
}

#[test]
fn a_configuration_that_nobody_confirms_is_taken_back_and_in_the_trail() {
    let (backend, state) = (TestUpstream::echo(), TestFolder::new());
    let proxy = start(&state, &backend);
    // At its start the node looks at its files once more, and takes what they say.
    let uptime = || proxy.metric("sunbeam_uptime_seconds", &[]);
    eventually("it has looked at its files", || (uptime() >= 3.0).then_some(()));
    let running = || proxy.api("GET", "/api/v1/config", "").json()["toml"].as_str().unwrap().to_owned();
    let config = running();
    let other = |passes: &str| config.replace("sample_passes = 0.001", &format!("sample_passes = {passes}"));
    let apply = |text: &str| {
        let applied = proxy.api("POST", "/api/v1/config/apply?confirm_within=1", text);
        assert_eq!(applied.status, 200, "{}", applied.text());
    };
    apply(&other("0.002"));
    eventually("it is taken back", || (running() == config).then_some(()));
    let told = eventually("that is written down", || taken_back(&proxy).first().cloned());
    assert!(told.contains("nobody confirmed it"), "{told}");
    assert_eq!(proxy.metric("sunbeam_changes_confirmed_total", &[("result", "taken_back")]), 1.0);
    assert!(waiting(&proxy).is_empty());
    // What it goes back to needs rules that are gone: that is said, and it waits on.
    let without = config.replace("rules_dir = ", "# rules_dir = ");
    assert_ne!(without, config);
    apply(&without);
    std::fs::rename(state.join("rules"), state.join("gone")).unwrap();
    let told = eventually("it cannot be taken back", || {
        taken_back(&proxy).first().filter(|told| told.contains("could not")).cloned()
    });
    assert!(told.contains("rules") && told.contains("tried again"), "{told}");
    assert_eq!(waiting(&proxy).len(), 1, "it waits on");
    let trail = proxy.api("GET", "/api/v1/trail", "").json();
    assert_eq!(trail["changes"][0]["status"], 500, "{trail}");
    assert_eq!(proxy.api("POST", "/api/v1/changes/configuration/confirm", "").status, 200);
}

#[test]
fn what_is_taken_back_takes_nothing_else_along() {
    /// However it goes, the people end.
    const MOST: Duration = Duration::from_secs(60);
    let proxy = TestProxy::start("[[routes]]\nhost_prefix = \"shop\"\nbackend = \"http://127.0.0.1:9\"\n");
    let (is_over, begun) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        // Three people, each with a layer of their own: what each was told is so stays so.
        let people = ["ddos", "rate_limit", "waf"].map(|layer| {
            let (proxy, is_over) = (&proxy, &is_over);
            let say = move |mode: &str| {
                post(proxy, "/api/v1/layers", &json!({"layer": layer, "mode": mode}));
            };
            let holds = move |want: &str| {
                let told = proxy.api("GET", "/api/v1/layers", "").json();
                let mut layers = told["layers"].as_array().unwrap().iter();
                let mode = &layers.find(|one| one["layer"] == layer).unwrap()["mode"];
                assert_eq!(mode, want, "{layer}");
            };
            scope.spawn(move || {
                let mut said = None;
                for mode in ["observe", "enforce", "auto"].iter().cycle() {
                    if is_over.load(Ordering::Relaxed) || begun.elapsed() > MOST {
                        break;
                    }
                    if let Some(said) = said {
                        holds(said);
                    }
                    say(mode);
                    holds(mode);
                    said = Some(*mode);
                }
            })
        });
        for _ in 0..4 {
            switch(&proxy, "observe", 1);
            eventually("it is taken back", || waiting(&proxy).is_empty().then_some(()));
        }
        is_over.store(true, Ordering::Relaxed);
        for person in people {
            person.join().unwrap();
        }
    });
    assert_eq!(proxy.metric("sunbeam_changes_confirmed_total", &[("result", "taken_back")]), 4.0);
}
