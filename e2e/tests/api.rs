// SPDX-License-Identifier: Apache-2.0
//! The node's management API: every page against its own description, who is let in, what a change does
//! and how it is undone (rows H14, H23, H24, H25, K06 and interfaces §5).
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sunbeam_ensemble::{Card, Model, ModelFile, builtin};
use sunbeam_testkit::{TestProxy, TestResponse, TestUpstream, eventually, free_address, raw_exchange};

const SECRET: &str = "0123456789abcdef-do-not-tell";

fn route(prefix: &str, backend: &str) -> String {
    format!("[[routes]]\nhost_prefix = \"{prefix}\"\nbackend = \"{backend}\"\n")
}

/// The whole text that a node runs on, as one file: what `apply` takes.
fn whole(proxy: &TestProxy, more: &str) -> String {
    let base = fs::read_to_string(proxy.folder().join("config.toml")).unwrap();
    format!("{base}{more}")
}

fn generation(proxy: &TestProxy) -> u64 {
    proxy.api("GET", "/api/v1/status", "").json()["generation"].as_u64().unwrap()
}

fn status_of(proxy: &TestProxy, host: &str) -> u16 {
    proxy.client().get(host, "/").status
}

// --- the description ------------------------------------------------------------------------------------------

/// What is wrong with `value` by a schema of OpenAPI 3.1, as far as the description uses it.
fn violations(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference}"));
        return violations(root, target, value, at, found);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is = |wanted: &Value| wanted == kind || (wanted == "number" && kind == "integer");
    let fits = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(is),
        Value::Null => true,
        wanted => is(wanted),
    };
    if !fits {
        found.push(format!("{at}: {kind} and not {}", schema["type"]));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        found.push(format!("{at}: {value} is none of {words:?}"));
    }
    for item in value.as_array().into_iter().flatten() {
        violations(root, &schema["items"], item, &format!("{at}[]"), found);
    }
    let Some(fields) = value.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(name.as_str().unwrap()) {
            found.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, field) in fields {
        let described = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
        match described {
            Some(described) => violations(root, described, field, &format!("{at}.{name}"), found),
            // A page shows nothing that its description leaves out; `{}` describes anything.
            None if schema["properties"].is_object() => found.push(format!("{at}.{name} is not described")),
            None => {}
        }
    }
}

#[track_caller]
fn assert_described(root: &Value, method: &str, path: &str, answer: &TestResponse) {
    let operation = &root["paths"][path][method];
    let response = &operation["responses"][answer.status.to_string()];
    assert!(response.is_object(), "{method} {path}: {} is not described: {}", answer.status, answer.text());
    let content = response["content"].as_object().unwrap_or_else(|| panic!("{method} {path}: no content"));
    let kind = answer.header("content-type").unwrap_or_default().split(';').next().unwrap();
    assert!(content.contains_key(kind), "{method} {path}: {kind}");
    let mut found = Vec::new();
    violations(root, &content[kind]["schema"], &answer.json(), "answer", &mut found);
    assert!(found.is_empty(), "{method} {path} {}: {found:?} in {}", answer.status, answer.text());
}

#[test]
fn the_checker_of_schemas_finds_what_is_wrong() {
    let root = json!({"defs": {"Text": {"type": "string", "enum": ["a", "b"]}}});
    let schema = json!({
        "type": "object", "required": ["a"], "additionalProperties": {"type": "integer"},
        "properties": {"a": {"$ref": "#/defs/Text"}, "l": {"type": "array", "items": {"type": ["number", "null"]}}},
    });
    for (value, want) in [
        (json!({"a": "a", "l": [1, 2.5, null], "more": 3}), 0),
        (json!({"l": []}), 1),
        (json!({"a": "c"}), 1),
        (json!({"a": 1}), 2),
        (json!({"a": "a", "l": ["x"]}), 1),
        (json!({"a": "a", "more": "x"}), 1),
        (json!([]), 1),
    ] {
        let mut found = Vec::new();
        violations(&root, &schema, &value, "value", &mut found);
        assert_eq!(found.len(), want, "{value}: {found:?}");
    }
}

/// A model file that is not the one compiled in.
fn windows_of_another_kind() -> Vec<u8> {
    let mut model = builtin::DDOS.clone();
    model.cascade.certain += 1;
    ModelFile::bytes(&Model::Ddos(Box::new(model)), &Card::default())
}

#[test]
fn every_page_answers_as_the_description_says() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::builder().route("shop", &backend.url()).start();
    status_of(&proxy, "shop.example.test");
    let root = proxy.api_client().get("127.0.0.1", "/openapi.json").json();
    assert!(root["openapi"].as_str().unwrap().starts_with("3."), "{}", root["openapi"]);
    let good = whole(&proxy, &route("shop", &backend.url()));
    let changed = format!("{good}{}", route("more", &backend.url()));
    let bad = "[listen]\nhttp = 7\ntypo = 1\n";
    let block = "{\"ip\":\"192.0.2.1\",\"duration_seconds\":60,\"reason\":\"noise\"}";
    let asks = |path: &Path| format!("{{\"path\":{path:?},\"force\":true}}");
    let model = asks(&proxy.folder().write("ddos.model", windows_of_another_kind()));
    let no_model = asks(&proxy.folder().write("no.model", "hello"));
    let waiting = "{\"layer\":\"ddos\",\"mode\":\"observe\",\"confirm_within_secs\":600}";
    let rules = "{\"name\":\"mine\",\"rules\":\"SecRule ARGS cat id:1000901,phase:2,deny\"}";
    let blocked = proxy.client().get("shop.example.test", "/?q=1'+UNION+SELECT+password+FROM+users--+-");
    let id = blocked.header("x-request-id").unwrap().to_owned();
    let decision = format!("/api/v1/decisions/{id}");
    eventually("the decision is kept", || {
        Some(proxy.api("GET", &decision, "")).filter(|answer| answer.status == 200)
    });
    let label = format!("{decision}/label");
    // It looks like an attack, so somebody has to insist.
    let allow = format!("{{\"from\":\"{id}\",\"force\":true}}");
    let looked = allow.replace('}', ",\"dry_run\":true}");
    let exception =
        proxy.api("POST", "/api/v1/exceptions", &looked).json()["id"].as_str().unwrap().to_owned();
    let exception = format!("/api/v1/exceptions/{exception}");
    let calls: [(&str, &str, &str, u16); 111] = [
        ("GET", "/health", "", 200),
        ("GET", "/live", "", 200),
        ("GET", "/ready", "", 200),
        ("GET", "/openapi.json", "", 200),
        ("GET", "/api/v1/status", "", 200),
        ("GET", "/api/v1/stats", "", 200),
        ("GET", "/api/v1/traffic", "", 200),
        ("GET", "/api/v1/top", "", 200),
        ("GET", "/api/v1/limits", "", 200),
        ("GET", "/api/v1/trail", "", 200),
        ("POST", "/api/v1/login-links", "", 200),
        ("GET", "/api/v1/session", "", 200),
        ("POST", "/api/v1/session", "{\"secret\":\"x\"}", 403),
        ("DELETE", "/api/v1/session", "", 403),
        ("GET", "/api/v1/backends", "", 200),
        ("GET", "/api/v1/certificates", "", 200),
        ("GET", "/api/v1/config", "", 200),
        ("GET", "/api/v1/config/history", "", 200),
        ("POST", "/api/v1/config/validate", &good, 200),
        ("POST", "/api/v1/config/validate", bad, 200),
        ("POST", "/api/v1/config/apply?dry_run=true", &good, 200),
        ("POST", "/api/v1/config/apply", &good, 200),
        ("POST", "/api/v1/config/apply", bad, 422),
        ("POST", "/api/v1/config/reload?dry_run=true", "", 200),
        ("POST", "/api/v1/config/reload", "", 200),
        ("POST", "/api/v1/config/rollback?to=999", "", 404),
        ("POST", "/api/v1/config/rollback?dry_run=true", "", 200),
        ("POST", "/api/v1/config/rollback", "", 200),
        ("POST", "/api/v1/config/confirm", "", 404),
        ("POST", "/api/v1/config/apply?confirm_within=600", &changed, 200),
        ("POST", "/api/v1/config/confirm", "", 200),
        ("POST", "/api/v1/config/apply?confirm_within=600", &good, 200),
        ("POST", "/api/v1/layers", waiting, 200),
        ("POST", "/api/v1/layers", waiting, 409),
        ("GET", "/api/v1/changes", "", 200),
        ("POST", "/api/v1/changes/configuration/confirm", "", 200),
        ("POST", "/api/v1/changes/configuration/confirm", "", 404),
        ("GET", "/api/v1/config/history", "", 200),
        ("GET", "/api/v1/status", "", 200),
        ("GET", "/api/v1/stats", "", 200),
        ("GET", "/api/v1/layers", "", 200),
        ("GET", "/api/v1/layers/plan", "", 200),
        ("POST", "/api/v1/layers", "{\"layer\":\"waf\",\"mode\":\"observe\",\"dry_run\":true}", 200),
        ("POST", "/api/v1/layers", "{\"layer\":\"lists\",\"mode\":\"observe\"}", 422),
        ("POST", "/api/v1/layers", "{\"layer\":\"waf\",\"mode\":\"auto\",\"route\":\"nowhere\"}", 404),
        ("POST", "/api/v1/blocklist", block, 200),
        ("POST", "/api/v1/blocklist", "{\"ip\":\"x\"}", 422),
        ("GET", "/api/v1/blocklist", "", 200),
        ("DELETE", "/api/v1/blocklist/192.0.2.1?dry_run=true", "", 200),
        ("GET", "/api/v1/lists", "", 200),
        ("DELETE", "/api/v1/blocklist/192.0.2.1", "", 200),
        ("GET", "/api/v1/lists", "", 200),
        ("DELETE", "/api/v1/blocklist/192.0.2.1", "", 404),
        ("DELETE", "/api/v1/blocklist/x", "", 422),
        ("POST", "/api/v1/blacklist", block, 200),
        ("GET", "/api/v1/blacklist", "", 200),
        ("DELETE", "/api/v1/blacklist/192.0.2.1", "", 200),
        ("POST", "/api/v1/allowlist", block, 200),
        ("POST", "/api/v1/allowlist", "{\"ip\":\"0.0.0.0/0\"}", 422),
        ("DELETE", "/api/v1/allowlist/192.0.2.1", "", 200),
        ("DELETE", "/api/v1/allowlist/192.0.2.1", "", 404),
        ("DELETE", "/api/v1/allowlist/x", "", 422),
        ("GET", "/api/v1/bots", "", 200),
        ("GET", "/api/v1/floods", "", 200),
        ("GET", "/api/v1/models", "", 200),
        ("POST", "/api/v1/models/shadow", &model, 200),
        ("POST", "/api/v1/models/shadow", &no_model, 422),
        ("GET", "/api/v1/models", "", 200),
        ("DELETE", "/api/v1/models/shadow/ddos", "", 200),
        ("DELETE", "/api/v1/models/shadow/ddos", "", 404),
        ("DELETE", "/api/v1/models/shadow/x", "", 422),
        ("POST", "/api/v1/models/install", &no_model, 422),
        ("POST", "/api/v1/models/install", &model.replace("true", "false"), 409),
        ("POST", "/api/v1/models/install", &model, 200),
        ("GET", "/api/v1/models", "", 200),
        ("POST", "/api/v1/models/shadow", &model, 409),
        ("DELETE", "/api/v1/models/installed/ddos?dry_run=true", "", 200),
        ("DELETE", "/api/v1/models/installed/ddos", "", 200),
        ("DELETE", "/api/v1/models/installed/ddos", "", 404),
        ("DELETE", "/api/v1/models/installed/x", "", 422),
        ("GET", "/api/v1/decisions?layer=waf&limit=1", "", 200),
        ("GET", "/api/v1/decisions?limit=0", "", 422),
        ("GET", "/api/v1/decisions?ip=nobody", "", 422),
        ("GET", &decision, "", 200),
        ("GET", "/api/v1/decisions/00000000", "", 404),
        ("GET", "/api/v1/decisions/0", "", 422),
        ("POST", &label, "{\"label\":\"human\"}", 200),
        ("POST", &label, "{\"label\":\"nonsense\"}", 422),
        ("POST", "/api/v1/decisions/00000000/label", "{\"label\":\"human\"}", 404),
        ("POST", "/api/v1/exceptions", &looked, 200),
        ("POST", "/api/v1/exceptions", &allow, 200),
        ("POST", "/api/v1/exceptions", "{\"from\":\"00000000\"}", 404),
        ("POST", "/api/v1/exceptions", "{\"from\":\"nonsense\"}", 422),
        ("GET", "/api/v1/exceptions", "", 200),
        ("GET", &exception, "", 200),
        ("GET", "/api/v1/exceptions/nonsense", "", 422),
        ("DELETE", &format!("{exception}?dry_run=true"), "", 200),
        ("DELETE", &exception, "", 200),
        ("DELETE", &exception, "", 404),
        ("POST", "/api/v1/rules", rules, 200),
        ("GET", "/api/v1/rules", "", 200),
        ("POST", "/api/v1/rules", "{\"name\":\"a\",\"rules\":\"SecNonsense\"}", 422),
        ("DELETE", "/api/v1/rules/mine?dry_run=true", "", 200),
        ("DELETE", "/api/v1/rules/mine", "", 200),
        ("DELETE", "/api/v1/rules/mine", "", 404),
        ("GET", "/api/v1/waf/rules", "", 200),
        ("GET", "/api/v1/waf/stats", "", 200),
        ("POST", "/api/v1/explain", "{\"url\":\"https://shop.example.test/a\"}", 200),
        ("POST", "/api/v1/explain", "{\"url\":\"https://nobody.test/a\"}", 200),
        ("POST", "/api/v1/explain", "{\"url\":\"/a\"}", 422),
        ("POST", "/api/v1/explain", "nonsense", 422),
    ];
    let mut asked = BTreeSet::from(["get /api/v1/events".to_owned()]);
    for (method, target, body, status) in calls {
        let answer = proxy.api(method, target, body);
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.text());
        let (path, method) = (target.split('?').next().unwrap(), method.to_lowercase());
        let of_list =
            |(list, what): (&str, &str)| path.strip_prefix(list).map(|_| format!("{list}{{{what}}}"));
        let lists = [
            ("/api/v1/blocklist/", "cidr"),
            ("/api/v1/blacklist/", "cidr"),
            ("/api/v1/allowlist/", "cidr"),
            ("/api/v1/models/shadow/", "detector"),
            ("/api/v1/models/installed/", "detector"),
            ("/api/v1/rules/", "name"),
            ("/api/v1/exceptions/", "id"),
        ];
        let of_decision = || {
            let id = path.strip_prefix("/api/v1/decisions/")?;
            Some(format!("/api/v1/decisions/{{id}}{}", if id.ends_with("/label") { "/label" } else { "" }))
        };
        let of_change =
            || path.strip_prefix("/api/v1/changes/").map(|_| "/api/v1/changes/{id}/confirm".to_owned());
        let template = lists.into_iter().find_map(of_list).or_else(of_decision).or_else(of_change);
        let path = template.as_deref().unwrap_or(path);
        assert_described(&root, &method, path, &answer);
        asked.insert(format!("{method} {path}"));
    }
    let mut described = BTreeSet::new();
    for (path, operations) in root["paths"].as_object().unwrap() {
        described.extend(operations.as_object().unwrap().keys().map(|method| format!("{method} {path}")));
    }
    assert_eq!(asked, described, "a page that no call above asks for, or one that is gone");
}

#[test]
fn what_a_draining_node_says_is_described_too() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (enter, entered) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new((enter, released));
    let backend = TestUpstream::with(move |_| {
        let gate = gate.lock().unwrap();
        gate.0.send(()).unwrap();
        gate.1.recv().unwrap();
        http::Response::new("finished".into())
    });
    let mut proxy = TestProxy::builder().route("shop", &backend.url()).start();
    let root = proxy.api_client().get("127.0.0.1", "/openapi.json").json();
    let token = fs::read_to_string(proxy.node().token_path().unwrap()).unwrap();
    let api = proxy.api_client().header("authorization", &format!("Bearer {token}"));
    let client = proxy.client();
    let asking = std::thread::spawn(move || client.get("shop.example.test", "/"));
    entered.recv().unwrap();
    let draining = std::thread::spawn(move || proxy.drain());
    let ready = eventually("not ready", || Some(api.get("127.0.0.1", "/ready")).filter(|a| a.status == 503));
    assert_described(&root, "get", "/ready", &ready);
    let status = api.get("127.0.0.1", "/api/v1/status");
    assert_described(&root, "get", "/api/v1/status", &status);
    assert_eq!(status.json()["status"], "draining");
    release.send(()).unwrap();
    assert_eq!(asking.join().unwrap().text(), "finished");
    draining.join().unwrap();
}

#[test]
fn the_numbers_are_those_of_the_node() {
    let (shop, docs) = (TestUpstream::echo(), TestUpstream::echo());
    let proxy = TestProxy::builder().route("shop", &shop.url()).route("docs", &docs.url()).start();
    let calm = proxy.api("GET", "/api/v1/stats", "").json();
    assert_eq!(
        (&calm["requests_total"], &calm["latency_ms"]["p50"]),
        (&json!(0), &Value::Null),
        "no made-up numbers"
    );
    for _ in 0..3 {
        status_of(&proxy, "shop.example.test");
    }
    drop(docs);
    assert_eq!(status_of(&proxy, "docs.example.test"), 502);
    status_of(&proxy, "nobody.example.test");
    let stats = eventually("five requests", || {
        Some(proxy.api("GET", "/api/v1/stats", "").json()).filter(|stats| stats["audit"]["written"] == 5)
    });
    assert_eq!(stats["requests_total"], 5);
    assert_eq!(stats["requests_by_status"], json!({"2xx": 3, "4xx": 1, "5xx": 1}));
    let routes = json!([
        {"name": "docs", "requests_total": 1, "errors_total": 1},
        {"name": "other", "requests_total": 1, "errors_total": 0},
        {"name": "shop", "requests_total": 3, "errors_total": 0},
    ]);
    assert_eq!(stats["routes"], routes);
    assert!(stats["latency_ms"]["p99"].as_f64().is_some_and(|latency| latency > 0.0), "{stats}");
    assert!(stats["upstream_errors_total"].as_u64() >= Some(1));

    let status = proxy.api("GET", "/api/v1/status", "").json();
    assert_eq!((&status["status"], &status["routes"]), (&json!("running"), &json!(2)));
    assert!(status["uptime_seconds"].is_u64() && status["active_connections"].is_u64());
    assert_eq!((&status["config_reload_failed"], &status["config_error"]), (&json!(false), &Value::Null));
    assert_eq!(status["pid"], std::process::id());
    let listeners = status["listeners"].as_array().unwrap();
    assert!(
        listeners.contains(&json!({"scheme": "https", "address": proxy.https().to_string()})),
        "{listeners:?}"
    );
    let certificates = proxy.api("GET", "/api/v1/certificates", "").json();
    assert_eq!(certificates[0]["serial"], proxy.certificate().serial);
    assert!(certificates[0]["names"].as_array().unwrap().contains(&json!("*.example.test")));
    // One connection that rests is one connection that is active.
    let resting = TcpStream::connect(proxy.http()).unwrap();
    eventually("the resting connection", || {
        (proxy.api("GET", "/api/v1/status", "").json()["active_connections"] == 1).then_some(())
    });
    drop(resting);
}

// --- who is let in --------------------------------------------------------------------------------------------

#[test]
fn nothing_but_probes_and_the_description_is_open() {
    let proxy = TestProxy::start("");
    let root = proxy.api_client().get("127.0.0.1", "/openapi.json").json();
    let token = fs::read_to_string(proxy.node().token_path().unwrap()).unwrap();
    let shorter = token.get(..token.len() - 1).unwrap();
    let wrong: [Option<String>; 7] = [
        None,
        Some("Bearer".into()),
        Some("Bearer wrong".into()),
        Some(format!("Bearer {shorter}")),
        Some(format!("Bearer {token}x")),
        Some(format!("Basic {token}")),
        Some(token.clone()),
    ];
    let mut guarded = 0;
    for (path, operations) in root["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let ask = |authorization: Option<&String>| {
                let client = proxy.api_client().method(&method.to_uppercase()).body("x = 1");
                match authorization {
                    Some(value) => client.header("authorization", value).get("127.0.0.1", path),
                    None => client.get("127.0.0.1", path),
                }
            };
            if operation["security"] == json!([]) {
                // What has no page of ours behind it neither logs in nor out.
                let is_session = path == "/api/v1/session" && method != "get";
                assert_eq!(ask(None).status, if is_session { 403 } else { 200 }, "{path} is open");
                continue;
            }
            guarded += 1;
            for authorization in &wrong {
                let answer = ask(authorization.as_ref());
                assert_eq!(answer.status, 401, "{method} {path} with {authorization:?}");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
                assert!(answer.json()["error"].is_string());
            }
        }
    }
    assert!(guarded >= 10, "{guarded}");
    assert_eq!(generation(&proxy), 1, "nothing was changed");
    let open: BTreeSet<&String> = root["paths"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, operations)| {
            operations.as_object().unwrap().values().any(|operation| operation["security"] == json!([]))
        })
        .map(|(path, _)| path)
        .collect();
    assert_eq!(
        open.into_iter().collect::<Vec<_>>(),
        ["/api/v1/session", "/health", "/live", "/openapi.json", "/ready"]
    );
}

#[test]
fn a_web_page_that_was_pointed_here_is_refused_even_with_the_token() {
    let proxy = TestProxy::start("");
    let address = proxy.node().management_address().unwrap();
    let token = fs::read_to_string(proxy.node().token_path().unwrap()).unwrap();
    let ask = |path: &str, host: &str, origin: Option<&str>| {
        let client = proxy.api_client().header("authorization", &format!("Bearer {token}"));
        match origin {
            Some(origin) => client.header("origin", origin).get(host, path),
            None => client.get(host, path),
        }
    };
    let own = address.to_string();
    let port = address.port();
    for path in ["/api/v1/status", "/health", "/openapi.json", "/nowhere"] {
        for (host, origin) in [
            ("rebound.example", None),
            ("localhost.evil.example", None),
            (own.as_str(), Some("http://evil.example")),
            (own.as_str(), Some("null")),
            (own.as_str(), Some("http://127.0.0.1")),
        ] {
            let answer = ask(path, host, origin);
            assert_eq!(answer.status, 403, "{path} {host} {origin:?}");
            assert!(answer.json()["error"].is_string());
        }
    }
    assert_eq!(ask("/api/v1/status", &own, Some(&format!("http://{own}"))).status, 200);
    assert_eq!(ask("/api/v1/status", &format!("localhost:{port}"), None).status, 200);
    let nameless = raw_exchange(address, b"GET /health HTTP/1.0\r\n\r\n");
    assert!(nameless.starts_with("HTTP/1.0 403 "), "{nameless}");
}

#[test]
fn an_unknown_page_is_404_as_json_and_a_misspelt_option_changes_nothing() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::builder().route("shop", &backend.url()).start();
    for path in ["/api/v1", "/api/v1/nowhere", "/metrics", "/api/v1/status/"] {
        let answer = proxy.api("GET", path, "");
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.json()["error"].is_string(), "{path}");
    }
    let text = whole(&proxy, &route("new", &backend.url()));
    for option in ["dryrun=true", "dry_run=perhaps", "dry-run=true"] {
        let answer = proxy.api("POST", &format!("/api/v1/config/apply?{option}"), &text);
        assert_eq!(answer.status, 422, "{option}: {}", answer.text());
        assert!(answer.json()["error"].is_string(), "{option}");
    }
    assert_eq!((generation(&proxy), status_of(&proxy, "new.example.test")), (1, 421));
}

#[test]
fn the_token_is_made_once_in_a_file_that_only_the_owner_reads() {
    let proxy = TestProxy::start("");
    let path = proxy.node().token_path().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let token = fs::read_to_string(path).unwrap();
    assert!(token.trim().len() >= 32, "long enough not to be guessed");
    let other = TestProxy::start("");
    assert_ne!(token, fs::read_to_string(other.node().token_path().unwrap()).unwrap());
    for file in ["state.redb", "node.json"] {
        let mode = fs::metadata(proxy.folder().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} is the owner's alone");
    }
}

#[test]
fn no_page_tells_the_token() {
    let backend = TestUpstream::echo();
    let builder = TestProxy::builder();
    let file = builder.folder().write("token.secret", format!("{SECRET}\n"));
    let text = format!("[management]\ntoken = {{ file = {file:?} }}\n{}", route("shop", &backend.url()));
    let proxy = builder.config(&text).start();
    assert_eq!(proxy.node().token_path(), None, "no file is made for a token that is configured");
    let ask = |method: &str, path: &str, body: &str| {
        let client = proxy.api_client().header("authorization", &format!("Bearer {SECRET}"));
        client.method(method).body(body.to_owned()).get("127.0.0.1", path)
    };
    let with_token = |token: &str| {
        let base = fs::read_to_string(proxy.folder().join("config.toml")).unwrap();
        base.replace("[management]", &format!("[management]\ntoken = \"{token}\""))
    };
    let other = "another-token-that-nobody-may-see";
    for (method, path, body, status) in [
        ("GET", "/api/v1/config", String::new(), 200),
        ("GET", "/api/v1/status", String::new(), 200),
        ("POST", "/api/v1/config/validate", with_token(SECRET), 200),
        ("POST", "/api/v1/config/validate", with_token("hunter2"), 200),
        ("POST", "/api/v1/config/validate", with_token(SECRET).replace("token = \"", "tokn = \""), 200),
        ("POST", "/api/v1/config/apply?dry_run=true", with_token(other), 200),
        ("GET", "/api/v1/config/history", String::new(), 200),
    ] {
        let answer = ask(method, path, &body);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        for secret in [SECRET, other, "hunter2"] {
            assert!(!answer.text().contains(secret), "{path} tells {secret}: {}", answer.text());
        }
    }
    let shown = ask("GET", "/api/v1/config", "").json()["toml"].as_str().unwrap().to_owned();
    assert!(shown.contains("host_prefix = \"shop\"") && shown.contains("token = "), "{shown}");
    // A token that is changed by a reload holds from then on, and the old one no longer.
    proxy.reload(&format!("[management]\ntoken = \"{other}\"\n{}", route("shop", &backend.url()))).unwrap();
    assert_eq!(ask("GET", "/api/v1/status", "").status, 401);
    let client = proxy.api_client().header("authorization", &format!("Bearer {other}"));
    assert_eq!(client.get("127.0.0.1", "/api/v1/status").status, 200);
    // Where none is configured any more, one is made, and the command line finds its file.
    proxy.reload(&route("shop", &backend.url())).unwrap();
    assert_eq!(proxy.api("GET", "/api/v1/status", "").status, 200);
    let node = fs::read_to_string(proxy.folder().join("node.json")).unwrap();
    assert!(node.contains("management.token"), "{node}");
}

// --- where it is ----------------------------------------------------------------------------------------------

#[test]
fn a_reload_moves_the_api_and_tells_the_command_line_where_it_went() {
    let proxy = TestProxy::start("");
    let old = proxy.node().management_address().unwrap();
    let told =
        || -> Value { serde_json::from_slice(&fs::read(proxy.folder().join("node.json")).unwrap()).unwrap() };
    assert_eq!(told()["api"], format!("http://{old}"));
    let new = free_address();
    proxy.reload(&format!("[management]\nbind = \"{new}\"\n")).unwrap();
    assert_eq!(proxy.node().management_address(), Some(new));
    assert_eq!(proxy.api("GET", "/api/v1/status", "").status, 200, "with the same token");
    eventually("the old address is free", || TcpStream::connect(old).is_err().then_some(()));
    assert_eq!(told()["api"], format!("http://{new}"));
    proxy.reload("[management]\nbind = \"\"\n").unwrap();
    assert_eq!((proxy.node().management_address(), told()["api"].clone()), (None, Value::Null));
    eventually("the API is off", || TcpStream::connect(new).is_err().then_some(()));
}

#[test]
fn a_route_to_the_management_address_is_refused() {
    let bind = free_address();
    let proxy = TestProxy::start(&format!("[management]\nbind = \"{bind}\"\n"));
    let port = bind.port();
    let base = whole(&proxy, "").replace("bind = \"127.0.0.1:0\"", &format!("bind = \"{bind}\""));
    let leaks = [
        route("x", &format!("http://127.0.0.1:{port}")),
        route("x", &format!("http://localhost:{port}/api/v1")),
        route("x", &format!("http://[::1]:{port}")),
        route("x", &format!("http://0.0.0.0:{port}")),
        format!(
            "{}[[routes.paths]]\nprefix = \"/a\"\nbackend = \"http://{bind}\"\n",
            route("x", "http://127.0.0.1:1")
        ),
        format!(
            "{}[[routes.paths]]\nprefix = \"/a\"\nbackend = \"http://127.0.0.1:1\"\nauth_request = \"http://{bind}/x\"\n",
            route("x", "http://127.0.0.1:1")
        ),
    ];
    for leak in leaks {
        let text = format!("{base}{leak}");
        let told = proxy.api("POST", "/api/v1/config/validate", &text).json();
        assert_eq!(told["valid"], false, "{leak}");
        assert!(told["problems"].to_string().contains("management address"), "{told}");
        assert_eq!(proxy.api("POST", "/api/v1/config/apply", &text).status, 422, "{leak}");
    }
    let harmless = format!("{base}{}", route("x", "http://127.0.0.1:1"));
    assert_eq!(proxy.api("POST", "/api/v1/config/validate", &harmless).json()["valid"], true);
    assert_eq!(generation(&proxy), 1);
}

// --- what it does ---------------------------------------------------------------------------------------------

#[test]
fn validate_names_every_problem_with_its_place_and_changes_nothing() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::builder().route("shop", &backend.url()).start();
    let text = "[limits]\nmax_url_bytes = 1\n[[routes]]\nhost_prefx = \"shop\"\nbackend = \"ftp://x\"\n";
    let told = proxy.api("POST", "/api/v1/config/validate", text).json();
    assert_eq!(told["valid"], false);
    let problems = told["problems"].as_array().unwrap();
    let find =
        |key: &str| problems.iter().find(|problem| problem["key"] == key).unwrap_or_else(|| panic!("{told}"));
    assert_eq!(find("limits.max_url_bytes")["line"], 2);
    let unknown = find("routes[0].host_prefx");
    assert_eq!(
        (&unknown["line"], &unknown["column"], &unknown["severity"]),
        (&json!(4), &json!(1), &json!("error"))
    );
    assert!(unknown["message"].as_str().unwrap().contains("host_prefix"), "{unknown}");
    assert_eq!(find("routes[0].backend")["line"], 5);
    let warned = proxy.api("POST", "/api/v1/config/validate", &whole(&proxy, "")).json();
    assert_eq!((&warned["valid"], &warned["problems"][0]["severity"]), (&json!(true), &json!("warning")));
    assert_eq!((generation(&proxy), status_of(&proxy, "shop.example.test")), (1, 200));
}

#[test]
fn apply_rollback_reload_and_history_do_what_they_say() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::builder().route("filed", &backend.url()).start();
    let serves =
        || ["filed", "first", "second"].map(|name| status_of(&proxy, &format!("{name}.example.test")) == 200);
    let history = || proxy.api("GET", "/api/v1/config/history", "").json();
    let current = || history().as_array().unwrap().iter().rposition(|kept| kept["current"] == true);
    assert_eq!((history().as_array().unwrap().len(), current()), (1, Some(0)));

    let first = whole(&proxy, &route("first", &backend.url()));
    let second = whole(&proxy, &route("second", &backend.url()));
    for (text, name) in [(&first, "first"), (&second, "second")] {
        let before = generation(&proxy);
        let change = proxy.api("POST", "/api/v1/config/apply", text).json();
        assert_eq!((&change["success"], &change["generation"]), (&json!(true), &json!(before + 1)));
        assert!(change["changes"].to_string().contains(name), "{change}");
        assert!(!change["undo"].as_str().unwrap().is_empty());
    }
    assert_eq!(serves(), [false, false, true]);
    let shown = proxy.api("GET", "/api/v1/config", "").json();
    assert!(shown["toml"].as_str().unwrap().contains("\"second\""), "{shown}");
    let notes: Vec<String> =
        history().as_array().unwrap().iter().map(|kept| kept["note"].as_str().unwrap().to_owned()).collect();
    assert_eq!((notes, current()), (vec!["start".into(), "apply".into(), "apply".into()], Some(2)));

    assert_eq!(proxy.api("POST", "/api/v1/config/rollback", "").status, 200);
    assert_eq!(serves(), [false, true, false], "the one before");
    let start = history()[0]["id"].as_u64().unwrap();
    assert_eq!(proxy.api("POST", &format!("/api/v1/config/rollback?to={start}"), "").status, 200);
    assert_eq!(serves(), [true, false, false], "the one asked for");
    assert_eq!(proxy.api("POST", "/api/v1/config/apply", &first).status, 200);
    assert_eq!(proxy.api("POST", "/api/v1/config/reload", "").status, 200);
    assert_eq!(serves(), [true, false, false], "the files again");
    for _ in 0..6 {
        proxy.api("POST", "/api/v1/config/apply", &first);
        proxy.api("POST", "/api/v1/config/apply", &second);
    }
    assert_eq!((history().as_array().unwrap().len(), current()), (10, Some(9)), "the last ten");
}

#[test]
fn a_refused_apply_says_why_and_leaves_everything_as_it_was() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::builder().route("shop", &backend.url()).start();
    let taken = std::net::TcpListener::bind(free_address()).unwrap();
    let taken_address = taken.local_addr().unwrap();
    let gone = whole(&proxy, &route("new", &backend.url()));
    for (text, why) in [
        ("[[routes]]\nhost_prefx = 1\n".to_owned(), "unknown key"),
        ("this is not TOML".to_owned(), "expected"),
        (gone.replace("state.redb", "other.redb"), "restart"),
        (gone.replace("http = \"127.0.0.1:0\"", &format!("http = \"{taken_address}\"")), "listen on"),
        (gone.replace("audit.log", "no/such/folder/audit.log"), "audit log"),
    ] {
        let answer = proxy.api("POST", "/api/v1/config/apply", &text);
        assert_eq!(answer.status, 422, "{why}: {}", answer.text());
        assert!(answer.json()["error"].as_str().unwrap().contains(why), "{why}: {}", answer.text());
    }
    assert_eq!(generation(&proxy), 1);
    assert_eq!([status_of(&proxy, "shop.example.test"), status_of(&proxy, "new.example.test")], [200, 421]);
    assert_eq!(proxy.api("GET", "/api/v1/config/history", "").json().as_array().unwrap().len(), 1);
    // The files are as good as before: nobody has to be woken for what an operator mistyped.
    assert!(proxy.metric("sunbeam_config_reload_failed", &[]) < 0.5);
    assert_eq!(proxy.api("GET", "/api/v1/status", "").json()["config_error"], Value::Null);
    assert!((proxy.metric("sunbeam_config_reloads_total", &[("result", "failed")]) - 5.0).abs() < 0.5);
}

#[test]
fn an_apply_does_not_hide_that_the_files_are_broken() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::builder().route("shop", &backend.url()).start();
    proxy.reload("[limits]\nmax_url_bytes = 1\n").unwrap_err();
    let good = whole(&proxy, &route("new", &backend.url()));
    assert_eq!(proxy.api("POST", "/api/v1/config/apply", &good).status, 200);
    let status = proxy.api("GET", "/api/v1/status", "").json();
    assert!(status["config_error"].as_str().is_some_and(|error| error.contains("max_url_bytes")), "{status}");
    assert!(proxy.metric("sunbeam_config_reload_failed", &[]) > 0.5);
}

#[test]
fn a_change_that_nobody_confirms_is_taken_back_and_one_that_is_confirmed_stays() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::builder().route("shop", &backend.url()).start();
    let text = whole(&proxy, &route("new", &backend.url()));
    let serves = || ["shop", "new"].map(|name| status_of(&proxy, &format!("{name}.example.test")) == 200);
    let change = proxy.api("POST", "/api/v1/config/apply?confirm_within=600", &text).json();
    assert!(change["confirm"].as_str().is_some_and(|command| !command.is_empty()), "{change}");
    assert_eq!(serves(), [false, true]);
    assert_eq!(proxy.api("POST", "/api/v1/config/confirm", "").status, 200);
    assert_eq!(proxy.api("POST", "/api/v1/config/confirm", "").status, 404, "once is enough");
    assert_eq!(proxy.api("POST", "/api/v1/config/rollback?confirm_within=1", "").status, 200);
    assert_eq!(serves(), [true, false]);
    eventually("the rollback is taken back", || (serves() == [false, true]).then_some(()));
    assert_eq!(proxy.api("POST", "/api/v1/config/confirm", "").status, 404, "too late");
}

#[test]
fn a_dry_run_tells_the_changes_and_makes_none() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::builder().route("shop", &backend.url()).start();
    let new = free_address();
    let text = whole(&proxy, &route("new", &backend.url()))
        .replace("http = \"127.0.0.1:0\"", &format!("http = \"{new}\""))
        .replace("audit.log", "other.log");
    let would = proxy.api("POST", "/api/v1/config/apply?dry_run=true", &text).json();
    let changes = would["changes"].to_string();
    for word in [new.to_string().as_str(), "other.log", "\\\"new\\\""] {
        assert!(changes.contains(word), "{word}: {changes}");
    }
    assert!(would["message"].as_str().unwrap().contains("would"), "{would}");
    proxy.write_config(&route("filed", &backend.url()).replace("host_prefix", "host_prefx"));
    assert_eq!(proxy.api("POST", "/api/v1/config/reload?dry_run=true", "").status, 422);
    assert_eq!(proxy.api("POST", "/api/v1/config/rollback?dry_run=true&to=1", "").status, 200);
    assert_eq!([status_of(&proxy, "shop.example.test"), status_of(&proxy, "new.example.test")], [200, 421]);
    assert_eq!(generation(&proxy), 1);
    assert!(TcpStream::connect(new).is_err());
    assert!(!proxy.folder().join("other.log").exists());
    assert_eq!(proxy.api("GET", "/api/v1/config/history", "").json().as_array().unwrap().len(), 1);
}

/// Reads one server-sent event: its name and its data.
fn next_event(lines: &mut impl Iterator<Item = String>) -> (String, String) {
    let mut name = String::new();
    for line in lines {
        if let Some(event) = line.strip_prefix("event: ") {
            event.clone_into(&mut name);
        } else if let Some(data) = line.strip_prefix("data: ") {
            return (name, data.to_owned());
        }
    }
    panic!("the stream ended");
}

fn watch(address: SocketAddr, token: &str) -> impl Iterator<Item = String> + use<> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let head =
        format!("GET /api/v1/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("an event in time"));
    assert_eq!(lines.next().unwrap(), "HTTP/1.1 200 OK");
    let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    assert!(head.iter().any(|line| line.to_lowercase() == "content-type: text/event-stream"), "{head:?}");
    lines
}

#[test]
fn events_stream_each_audit_record_as_it_happens_to_everybody_who_watches() {
    let backend = TestUpstream::echo();
    // Whoever watches sees requests even where no log is written.
    let text = format!("[audit]\nenabled = false\n{}", route("shop", &backend.url()));
    let proxy = TestProxy::start(&text);
    let address = proxy.node().management_address().unwrap();
    let token = fs::read_to_string(proxy.node().token_path().unwrap()).unwrap();
    let mut watchers = [watch(address, &token), watch(address, &token)];
    for (path, status) in [("/one?token=hunter2", 200), ("/two", 200)] {
        let answer = proxy.client().get("shop.example.test", path);
        for watcher in &mut watchers {
            let (name, data) = next_event(watcher);
            let record: Value = serde_json::from_str(&data).unwrap();
            assert_eq!(name, "request");
            assert_eq!(record["request_id"], answer.header("x-request-id").unwrap());
            assert_eq!((&record["status"], &record["target"]), (&json!(status), &json!("audit")));
            assert!(!data.contains("hunter2"), "{data}");
        }
    }
    assert!(!proxy.folder().join("audit.log").exists());
}

#[test]
fn connections_that_say_nothing_do_not_take_the_nodes_descriptors() {
    let proxy = TestProxy::start("");
    let address = proxy.node().management_address().unwrap();
    let held: Vec<_> = (0..300).map(|_| TcpStream::connect(address).unwrap()).collect();
    let closed = eventually("those past the bound are closed", || {
        let is_closed = |stream: &&TcpStream| {
            stream.set_nonblocking(true).unwrap();
            matches!(stream.peek(&mut [0]), Ok(0))
        };
        let closed = held.iter().filter(is_closed).count();
        (closed >= 150).then_some(closed)
    });
    drop(held);
    assert!(closed < 300, "some are served");
    eventually("the API answers again", || {
        proxy
            .api_client()
            .try_get(&address.to_string(), "/health")
            .is_ok_and(|answer| answer.status == 200)
            .then_some(())
    });
}
