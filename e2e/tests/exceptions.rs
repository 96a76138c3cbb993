// SPDX-License-Identifier: Apache-2.0
//! Exceptions: what a customer was stopped for passes, and nothing else does.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::fs;

use serde_json::{Value, json};
use sunbeam_testkit::{TestClient, TestFolder, TestProxy, TestResponse, TestUpstream, eventually};

const HOST: &str = "shop.example.test";
const ATTACK: &str = "1%27+UNION+SELECT+password+FROM+users--+-";

/// Harmless words, each of which is too much.
const RULES: &str = r#"
SecRule ARGS|REQUEST_COOKIES "@contains walrus" \
    "id:1000002,phase:2,pass,log,t:none,t:lowercase,msg:'A walrus',setvar:'tx.blocking_inbound_anomaly_score=+5'"
SecRule ARGS "@contains herd of" \
    "id:1000003,phase:2,pass,log,t:none,msg:'A herd',setvar:'tx.blocking_inbound_anomaly_score=+5'"
SecRule ARGS "@contains sealion" "id:1000004,phase:2,deny,status:403,log,t:none,msg:'A sealion'"
"#;

const ENFORCED: &str =
    "waf.mode = \"enforce\"\nscanner.enabled = false\nddos.enabled = false\nrate_limit.enabled = false\n";

/// A node whose state and decisions outlive it, with the rules in front of two routes.
fn node(folder: &TestFolder, backend: &TestUpstream, config: &str) -> TestProxy {
    folder.write("rules/own.conf", RULES);
    let route = |prefix: &str| {
        format!(
            "[[routes]]\nhost_prefix = \"{prefix}\"\nbackend = {:?}\ndisable_secure_redirection = true\n",
            backend.url()
        )
    };
    let text = format!(
        "state.path = {:?}\nwaf.rules_dir = {:?}\nwaf.ruleset = \"none\"\n\
         listen.trusted_proxies = [\"127.0.0.1/32\"]\n{config}\n{}{}",
        folder.join("state.redb"),
        folder.join("rules"),
        route("shop"),
        route("blog"),
    );
    eventually("the state is free", || TestProxy::builder().config(&text).try_start().ok())
}

fn start(config: &str) -> (TestFolder, TestUpstream, TestProxy) {
    let (folder, backend) = (TestFolder::new(), TestUpstream::echo());
    let proxy = node(&folder, &backend, config);
    (folder, backend, proxy)
}

fn from(proxy: &TestProxy, address: &str) -> TestClient {
    proxy.client().plain().header("x-forwarded-for", address)
}

/// The id of a request that must be stopped, once it is kept.
fn stopped(proxy: &TestProxy, client: &TestClient, target: &str) -> String {
    let answer = client.get(HOST, target);
    assert!(matches!(answer.status, 403 | 429), "{target}: {}", answer.status);
    let id = answer.header("x-request-id").unwrap().to_owned();
    let page = format!("/api/v1/decisions/{id}");
    eventually("the decision is kept", || (proxy.api("GET", &page, "").status == 200).then_some(()));
    id
}

fn why(proxy: &TestProxy, id: &str) -> Value {
    proxy.api("GET", &format!("/api/v1/decisions/{id}"), "").json()
}

fn allow(proxy: &TestProxy, id: &str, more: Value) -> TestResponse {
    let mut body = json!({"from": id});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    proxy.api("POST", "/api/v1/exceptions", &body.to_string())
}

/// Makes it, and says what was made.
fn allowed(proxy: &TestProxy, id: &str, more: Value) -> Value {
    let answer = allow(proxy, id, more);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The same of what looks like an attack: it is refused to whoever does not insist, and the remedy says so.
fn insisted(proxy: &TestProxy, id: &str) -> Value {
    let told = why(proxy, id);
    assert_eq!(told["remedy"], json!(format!("sunbeam allow {id} --force")), "{told}");
    let refused = allow(proxy, id, json!({}));
    assert!(refused.status == 409 && refused.text().contains("looks like an attack"), "{}", refused.text());
    assert!(all(proxy).is_empty(), "nothing is made");
    allowed(proxy, id, json!({"force": true}))
}

fn all(proxy: &TestProxy) -> Vec<Value> {
    proxy.api("GET", "/api/v1/exceptions", "").json()["exceptions"].as_array().unwrap().clone()
}

fn statuses(client: &TestClient, asked: &[(&str, &str, u16)]) {
    for (host, target, want) in asked {
        assert_eq!(client.get(host, target).status, *want, "{host}{target}");
    }
}

/// What passes with the exception for a walrus in `q` of `GET /list`, and what stays stopped.
const NARROW: &[(&str, &str, u16)] = &[
    (HOST, "/list?q=a+walrus", 200),
    (HOST, "/list?q=another+Walrus&n=1", 200),
    (HOST, "/other?q=a+walrus", 403),
    (HOST, "/list/?q=a+walrus", 403),
    (HOST, "/list?w=a+walrus", 403),
    (HOST, "/list?q=a+walrus&w=a+walrus", 403),
    (HOST, "/list?q=a+herd+of", 403),
    (HOST, "/list?q=a+sealion", 403),
    ("blog.example.test", "/list?q=a+walrus", 403),
];

#[test]
fn what_a_customer_was_stopped_for_passes_and_its_neighbours_do_not() {
    let (folder, backend, mut proxy) = start(ENFORCED);
    let client = from(&proxy, "192.0.2.1");
    let id = stopped(&proxy, &client, "/list?q=a+walrus");
    let told = why(&proxy, &id);
    assert_eq!(told["decision"]["reason"], "rules", "{told}");
    assert_eq!(told["remedy"], json!(format!("sunbeam allow {id}")), "{told}");
    let means = told["remedy_means"].as_str().unwrap();
    for part in ["rule 1000002", "ARGS:q", "GET", "shop", "/list"] {
        assert!(means.contains(part), "{part}: {means}");
    }
    // Looking changes nothing.
    let looked = allowed(&proxy, &id, json!({"dry_run": true}));
    assert_eq!((looked["replay"]["would_pass"].as_u64(), all(&proxy).len()), (Some(1), 0), "{looked}");
    assert!(!folder.join("labels.jsonl").exists());
    assert_eq!(client.get(HOST, "/list?q=a+walrus").status, 403);
    let made = allowed(&proxy, &id, json!({}));
    assert_eq!((&made["is_new"], &made["replay"]["high"]), (&json!(true), &json!(0)), "{made}");
    let exception = made["id"].as_str().unwrap().to_owned();
    assert_eq!(made["undo"], json!(format!("sunbeam exceptions remove {exception}")));
    statuses(&client, NARROW);
    assert_eq!(client.method("POST").get(HOST, "/list?q=a+walrus").status, 403, "another method");
    let client = from(&proxy, "192.0.2.1");
    assert_eq!(client.header("cookie", "q=a walrus").get(HOST, "/list").status, 403, "a cookie of that name");
    // Two people are one exception, and the request is labelled. Its client was stopped for other things by now, which the
    // store may know already.
    let again = allowed(&proxy, &id[..8], json!({"duration_seconds": 31_536_000, "force": true}));
    assert_eq!((&again["id"], &again["is_new"]), (&json!(exception), &json!(false)), "{again}");
    assert!(again["exception"]["expires"].as_str() > made["exception"]["expires"].as_str(), "{again}");
    let shorter = allowed(&proxy, &id, json!({"duration_seconds": 60, "dry_run": true}));
    assert_eq!((&again["is_longer"], &shorter["is_longer"]), (&json!(true), &json!(false)), "{shorter}");
    assert_eq!(shorter["until"], again["until"], "{shorter}");
    let labels = fs::read_to_string(folder.join("labels.jsonl")).unwrap();
    assert!(labels.contains(&id) && labels.contains("human"), "{labels}");
    let listed = all(&proxy);
    assert_eq!(
        (listed.len(), &listed[0]["hits"], &listed[0]["by"]),
        (1, &json!(2), &json!("local")),
        "{listed:?}"
    );
    assert!(listed[0]["last_used"].is_string());
    assert!((proxy.metric("sunbeam_exception_hits_total", &[("layer", "waf")]) - 2.0).abs() < 0.1);
    eventually("it is counted", || (proxy.metric("sunbeam_exceptions", &[]) > 0.5).then_some(()));
    // A restart, a reload.
    proxy.drain();
    let proxy = node(&folder, &backend, ENFORCED);
    let client = from(&proxy, "192.0.2.1");
    statuses(&client, NARROW);
    assert!(all(&proxy)[0]["hits"].as_u64() >= Some(4), "uses are kept: {:?}", all(&proxy));
    assert_eq!(proxy.api("POST", "/api/v1/config/reload", "").status, 200);
    statuses(&client, NARROW);
    // Taken back.
    let page = format!("/api/v1/exceptions/{exception}");
    assert_eq!(proxy.api("GET", &page, "").json()["id"], json!(exception));
    assert_eq!(proxy.api("DELETE", &format!("{page}?dry_run=true"), "").status, 200);
    assert_eq!(client.get(HOST, "/list?q=a+walrus").status, 200);
    let removed = proxy.api("DELETE", &page, "");
    assert!(
        removed.status == 200 && removed.text().contains(&format!("sunbeam allow {id}")),
        "{}",
        removed.text()
    );
    assert_eq!(client.get(HOST, "/list?q=a+walrus").status, 403);
    let labels = fs::read_to_string(folder.join("labels.jsonl")).unwrap();
    assert!(!labels.contains(&id), "what was taken back must not teach: {labels}");
    for (method, page, want, says) in [
        ("DELETE", &*page, 404, "is over, was removed"),
        ("GET", &*page, 404, "there is no exception"),
        ("GET", "/api/v1/exceptions/nonsense", 422, "12 hexadecimal digits"),
    ] {
        let answer = proxy.api(method, page, "");
        assert!(answer.status == want && answer.text().contains(says), "{page}: {}", answer.text());
    }
}

#[test]
fn an_exception_ends_by_itself_and_a_wider_one_holds_for_the_route() {
    let (_folder, _backend, proxy) = start(ENFORCED);
    let client = from(&proxy, "192.0.2.1");
    let id = stopped(&proxy, &client, "/list?q=a+walrus");
    allowed(&proxy, &id, json!({"duration_seconds": 2, "wider": true}));
    statuses(
        &client,
        &[
            (HOST, "/list?q=a+walrus", 200),
            (HOST, "/other?q=a+walrus", 200),
            (HOST, "/other?w=a+walrus", 403),
            ("blog.example.test", "/list?q=a+walrus", 403),
        ],
    );
    eventually("it is over", || (client.get(HOST, "/other?q=a+walrus").status == 403).then_some(()));
    eventually("it is forgotten", || all(&proxy).is_empty().then_some(()));
    assert!((proxy.metric("sunbeam_exceptions_expired_total", &[]) - 1.0).abs() < 0.1);
    for (from, more, want, says) in [
        ("00000000", json!({}), 404, "nothing is kept about `00000000`"),
        ("nonsense", json!({}), 422, "id"),
        (&*id, json!({"duration_seconds": 0}), 422, "duration_seconds"),
        (&*id, json!({"nonsense": 0}), 422, "nonsense"),
    ] {
        let answer = allow(&proxy, from, more);
        assert!(answer.status == want && answer.text().contains(says), "{from}: {}", answer.text());
    }
}

#[test]
fn a_rule_of_its_own_word_is_excepted_alone() {
    let (_folder, _backend, proxy) = start(ENFORCED);
    let client = from(&proxy, "192.0.2.1");
    let id = stopped(&proxy, &client, "/list?q=a+sealion");
    assert_eq!(why(&proxy, &id)["decision"]["reason"], "rule");
    let made = allowed(&proxy, &id, json!({}));
    assert_eq!(made["exception"]["scope"]["rules"], json!([{"target": "ARGS:q", "ids": [1_000_004]}]));
    statuses(&client, &[(HOST, "/list?q=a+sealion", 200), (HOST, "/list?q=a+sealion+walrus", 403)]);
}

#[test]
fn one_that_lets_pass_what_another_layer_scores_high_is_spoken_of() {
    let config = "waf.mode = \"enforce\"\nwaf.verdict = \"rules\"\nscanner.observe_only = true\nddos.enabled = false\n\
                  rate_limit.enabled = false\n";
    let (_folder, _backend, proxy) = start(config);
    // A client without a browser's headers has a high score of its own.
    let client = from(&proxy, "192.0.2.1")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0")
        .header("accept", "text/html")
        .header("accept-language", "en");
    let id = stopped(&proxy, &client, "/list?q=a+sealion");
    allowed(&proxy, &id, json!({}));
    assert_eq!(client.get(HOST, "/list?q=a+sealion").status, 200);
    let high = || proxy.metric("sunbeam_exception_high_scores_total", &[("layer", "waf")]);
    let listed = all(&proxy);
    assert_eq!(
        (&listed[0]["hits"], &listed[0]["high"], &listed[0]["warnings"]),
        (&json!(1), &json!(0), &json!([]))
    );
    assert!(high() < 0.1);
    assert_eq!(
        client.get(HOST, &format!("/list?q=a+sealion+{ATTACK}")).status,
        200,
        "the scanner only watches"
    );
    let listed = all(&proxy);
    assert_eq!((&listed[0]["hits"], &listed[0]["high"]), (&json!(2), &json!(1)), "{listed:?}");
    assert!(listed[0]["warnings"][0].as_str().unwrap().contains("another layer scores high"), "{listed:?}");
    assert!((high() - 1.0).abs() < 0.1);
}

#[test]
fn what_rules_and_model_held_against_a_form_together_passes_in_that_field_alone() {
    let (folder, _backend, proxy) = start(ENFORCED);
    folder.write(
        "rules/sql.conf",
        "SecRule ARGS \"@rx (?i)union\\s+select\" \"id:1000001,phase:2,pass,log,t:none,msg:'SQL',\\\n\
         setvar:'tx.blocking_inbound_anomaly_score=+5'\"\n",
    );
    assert_eq!(proxy.api("POST", "/api/v1/config/reload", "").status, 200);
    let post = |path: &str, kind: &str, body: String| {
        from(&proxy, "192.0.2.1").method("POST").header("content-type", kind).body(body).get(HOST, path)
    };
    const FORM: &str = "application/x-www-form-urlencoded";
    let field = |name: &str| format!("a=b&{name}={ATTACK}");
    let answer = post("/edit", FORM, field("text"));
    assert_eq!(answer.status, 403);
    let id = answer.header("x-request-id").unwrap().to_owned();
    let told =
        eventually("it is kept", || Some(why(&proxy, &id)).filter(|told| told["decision"].is_object()));
    assert_eq!(told["decision"]["reason"], "rules_and_model", "{told}");
    let made = insisted(&proxy, &id);
    let scope = &made["exception"]["scope"];
    assert_eq!(scope["rules"], json!([{"target": "ARGS:text", "ids": [1_000_001]}]), "{made}");
    assert_eq!(scope["unit"], json!({"kind": "Parameter", "name": "text"}), "{made}");
    assert_eq!(post("/edit", FORM, field("text")).status, 200);
    let plain = "1' UNION SELECT password FROM users-- -";
    let part = format!("--x\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\n{plain}\r\n--x--\r\n");
    for (path, kind, body) in [
        ("/edit", FORM, field("title")),
        ("/edit", FORM, format!("{}&title={ATTACK}", field("text"))),
        ("/save", FORM, field("text")),
        ("/edit", "application/json", json!({"title": plain}).to_string()),
        ("/edit", "multipart/form-data; boundary=x", part),
    ] {
        assert_eq!(post(path, kind, body.clone()).status, 403, "{path} {kind}: {body}");
    }
}

#[test]
fn what_would_let_an_attacker_pass_is_refused_unless_it_is_forced() {
    let (_folder, _backend, proxy) = start(ENFORCED);
    let customer = stopped(&proxy, &from(&proxy, "192.0.2.1"), "/list?q=a+walrus");
    // Another client asks for the same, and was stopped for something else, too.
    let attacker = from(&proxy, "198.51.100.1");
    stopped(&proxy, &attacker, "/list?q=a+walrus");
    stopped(&proxy, &attacker, "/list?x=a+sealion");
    let refused = allow(&proxy, &customer, json!({}));
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(
        refused.text().contains("--force") && refused.text().contains("attack elsewhere"),
        "{}",
        refused.text()
    );
    assert!(all(&proxy).is_empty());
    let looked = allowed(&proxy, &customer, json!({"dry_run": true}));
    let replay = &looked["replay"];
    for (key, want) in [("would_pass", 2), ("high", 1), ("alike", 2), ("stay_stopped", 0)] {
        assert_eq!(replay[key], json!(want), "{key}: {replay}");
    }
    assert!(replay["looked_at"].as_u64() >= Some(3), "{replay}");
    assert!(looked["warnings"][0].as_str().unwrap().contains("ATTENTION"), "{looked}");
    assert!(replay["examples"][0]["because"].as_str().unwrap().contains("something else"), "{replay}");
    allowed(&proxy, &customer, json!({"force": true}));
    assert_eq!(from(&proxy, "192.0.2.1").get(HOST, "/list?q=a+walrus").status, 200);
}

#[test]
fn a_text_that_the_model_held_against_a_customer_passes_in_that_parameter_alone() {
    let config = "waf.enabled = false\nddos.enabled = false\nrate_limit.enabled = false\n";
    let (_folder, _backend, proxy) = start(config);
    let client = from(&proxy, "192.0.2.1");
    let id = stopped(&proxy, &client, &format!("/list?q={ATTACK}"));
    let told = why(&proxy, &id);
    assert_eq!(
        (&told["decision"]["layer"], &told["decision"]["reason"]),
        (&json!("scanner"), &json!("payload"))
    );
    let made = insisted(&proxy, &id);
    assert_eq!(made["exception"]["scope"]["unit"], json!({"kind": "Parameter", "name": "q"}), "{made}");
    let targets = [
        ("/list?q=", 200),
        ("/list?a=b&q=", 200),
        ("/other?q=", 403),
        ("/list?w=", 403),
        ("/list?q=x&w=", 403),
        ("/list?q=x&Q=", 403),
    ];
    for (target, want) in targets {
        assert_eq!(client.get(HOST, &format!("{target}{ATTACK}")).status, want, "{target}");
    }
    assert_eq!(client.get("blog.example.test", &format!("/list?q={ATTACK}")).status, 403);
    assert_eq!(
        client.header("cookie", "q=1' UNION SELECT password FROM users-- -").get(HOST, "/list").status,
        403
    );
    assert!((proxy.metric("sunbeam_exception_hits_total", &[("layer", "scanner")]) - 2.0).abs() < 0.1);
}

#[test]
fn rules_keep_their_say_about_a_text_that_the_model_is_not_to_doubt() {
    let (_folder, _backend, proxy) = start("ddos.enabled = false\nrate_limit.enabled = false\n");
    let client = from(&proxy, "192.0.2.1");
    let id = stopped(&proxy, &client, &format!("/list?q={ATTACK}"));
    assert_eq!(why(&proxy, &id)["decision"]["layer"], "scanner");
    insisted(&proxy, &id);
    let asked = [
        (HOST, format!("/list?q={ATTACK}"), 200),
        (HOST, "/list?q=a+walrus".to_owned(), 200),
        (HOST, format!("/list?q={ATTACK}+walrus"), 403),
        (HOST, format!("/other?q={ATTACK}"), 403),
    ];
    for (host, target, want) in asked {
        assert_eq!(client.get(host, &target).status, want, "{target}");
    }
}

#[test]
fn a_path_that_looks_like_a_probe_passes_exactly_so() {
    let config = "waf.enabled = false\nddos.enabled = false\nrate_limit.enabled = false\n";
    let (_folder, _backend, proxy) = start(config);
    let client = from(&proxy, "192.0.2.1");
    let id = stopped(&proxy, &client, "/.env");
    // A scan from many addresses makes none of them a mistake.
    for number in 2..32 {
        stopped(&proxy, &from(&proxy, &format!("192.0.{number}.1")), "/.env");
    }
    let refused = allow(&proxy, &id, json!({"wider": true}));
    assert!(refused.status == 409 && refused.text().contains("the path itself"), "{}", refused.text());
    insisted(&proxy, &id);
    statuses(
        &client,
        &[
            (HOST, "/.env", 200),
            (HOST, "/.git/config", 403),
            (HOST, "/a/.env", 403),
            ("blog.example.test", "/.env", 403),
        ],
    );
    assert_eq!(client.get(HOST, &format!("/.env?q={ATTACK}")).status, 403, "what stands in it counts");
}

#[test]
fn a_limit_is_lifted_for_one_client_or_for_the_route() {
    let config = "waf.enabled = false\nscanner.enabled = false\nddos.enabled = false\n\
                  [rate_limit]\nblock_after = 0\nbypass_cidrs = []\n\
                  [rate_limit.unauthenticated]\nburst = 5\nrate = 0.001\n";
    let (_folder, _backend, proxy) = start(config);
    let served =
        |address: &str| (0..20).filter(|_| from(&proxy, address).get(HOST, "/").status == 200).count();
    assert_eq!((0..5).filter(|_| from(&proxy, "192.0.2.1").get(HOST, "/").status == 200).count(), 5);
    // Of many that are alike only some are kept: the first is.
    let id = stopped(&proxy, &from(&proxy, "192.0.2.1"), "/");
    let told = why(&proxy, &id);
    assert_eq!(told["decision"]["reason"], "identity_limit", "{told}");
    assert!(told["remedy_means"].as_str().unwrap().contains("192.0.2.1"), "{told}");
    assert_eq!(served("192.0.2.2"), 5);
    allowed(&proxy, &id, json!({}));
    assert_eq!((served("192.0.2.1"), served("192.0.2.2"), served("192.0.2.3")), (20, 0, 5));
    let elsewhere = (0..20).filter(|_| from(&proxy, "192.0.2.1").get("blog.example.test", "/").status == 200);
    assert_eq!(elsewhere.count(), 0, "another route");
    assert!(all(&proxy)[0]["hits"].as_u64() >= Some(15), "{:?}", all(&proxy));
    // By now the other route has stopped one of them: that is told, and to be overruled.
    allowed(&proxy, &id, json!({"wider": true, "force": true}));
    assert_eq!((served("192.0.2.2"), served("192.0.2.4")), (20, 20));
    assert_eq!(all(&proxy).len(), 2);
}

#[test]
fn whom_a_list_stops_an_exception_does_not_let_pass() {
    let (_folder, _backend, proxy) = start(&format!("{ENFORCED}lists.block = [\"192.0.2.9/32\"]\n"));
    let id = stopped(&proxy, &from(&proxy, "192.0.2.9"), "/");
    let answer = allow(&proxy, &id, json!({}));
    assert!(answer.status == 409 && answer.text().contains("sunbeam unblock 192.0.2.9"), "{}", answer.text());
    assert_eq!(why(&proxy, &id)["remedy"], "sunbeam unblock 192.0.2.9");
}
