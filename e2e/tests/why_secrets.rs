// SPDX-License-Identifier: Apache-2.0
//! Secrets that a request holds, in whatever form: none of them stands anywhere that somebody may read.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::fs;
use std::path::{Path, PathBuf};

use sunbeam_testkit::{TestProxy, TestUpstream, eventually};

const HOST: &str = "shop.example.test";

/// Stands in every secret; an attack around it, so that rules and models find something in it.
const CANARY: &str = "hunter2canary";
const SECRET: &str = "hunter2canary' UNION SELECT password FROM users WHERE 1=1-- -";

/// A form that a secret is sent in: type, target and body; `SECRET` and `ENCODED` stand for it.
const FORMS: &[(&str, &str, &str, &str)] = &[
    ("form", "application/x-www-form-urlencoded", "/f", "a=1&password=ENCODED"),
    ("nested form", "application/x-www-form-urlencoded", "/f", "user%5Bpassword%5D=ENCODED&a=1"),
    ("array in a form", "application/x-www-form-urlencoded", "/f", "password[]=ENCODED"),
    ("JSON", "application/json", "/j", r#"{"password":"SECRET"}"#),
    ("JSON, nested", "application/json", "/j", r#"{"password":{"v":"SECRET"}}"#),
    ("JSON, array", "application/json", "/j", r#"{"password":["x","SECRET"]}"#),
    ("JSON, escaped name", "application/json", "/j", r#"{"p\u0061ssword":"SECRET"}"#),
    (
        "JSON that breaks off",
        "application/json",
        "/j",
        r#"{"a":"<script>alert(1)</script>","password":"SECRET","#,
    ),
    ("JSON as text", "text/plain", "/t", r#"{"password":"SECRET"}"#),
    ("JSON as a form", "application/x-www-form-urlencoded", "/t", r#"{"password":"a=SECRET"}"#),
    ("JSON in JSON", "application/json", "/j", r#"{"data":"{\"password\":\"SECRET\"}"}"#),
    ("GraphQL", "application/json", "/g", r#"{"query":"mutation { login(password: \"SECRET\") }"}"#),
    ("GraphQL as text", "application/graphql", "/g", r#"mutation { login(password: "SECRET") { id } }"#),
    ("XML", "application/xml", "/x", "<a><password>SECRET</password></a>"),
    ("XML, nested", "application/xml", "/x", "<a><x:password xmlns:x='y'><v>SECRET</v></x:password></a>"),
    ("XML, attribute", "application/xml", "/x", "<a password=\"SECRET\"/>"),
    (
        "multipart",
        "multipart/form-data; boundary=xyz",
        "/m",
        "--xyz\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nSECRET\r\n--xyz--\r\n",
    ),
    (
        "multipart, nested",
        "multipart/form-data; boundary=xyz",
        "/m",
        "--xyz\r\nContent-Disposition: form-data; name=\"user[password]\"\r\n\r\nSECRET\r\n--xyz--\r\n",
    ),
    ("plain text", "text/plain", "/t", "user: bob\npassword: SECRET\n"),
    ("query", "", "/q?password=ENCODED", ""),
    ("query, upper case", "", "/q?PassWord=ENCODED", ""),
    ("query, escaped name", "", "/q?p%61ssword=ENCODED", ""),
    ("query, array", "", "/q?password[]=ENCODED", ""),
    ("query, nested", "", "/q?user[password][v]=ENCODED", ""),
    ("query, JSON in it", "", "/q?d=%7B%22password%22%3A%22ENCODED%22%7D", ""),
    ("query, semicolons", "", "/q?a=1;password=ENCODED", ""),
];

fn start(config: &str) -> (TestUpstream, TestProxy) {
    let backend = TestUpstream::echo();
    let route = format!(
        "listen.trusted_proxies = [\"127.0.0.1/32\"]\naudit.matches = true\ndecisions.sample_passes = 1.0\n\
         ddos.enabled = false\nrate_limit.enabled = false\n{config}\n\
         [[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\ndisable_secure_redirection = true\n",
        backend.url()
    );
    (backend, TestProxy::builder().config(&route).start())
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("%{byte:02X}") }
            },
        )
        .collect()
}

/// Sends each form, and says what the API tells of each.
fn told(proxy: &TestProxy) -> Vec<(&'static str, u16, String)> {
    let mut told = Vec::new();
    for (number, (name, kind, target, body)) in FORMS.iter().enumerate() {
        let filled =
            |text: &str, secret: &str| text.replace("SECRET", secret).replace("ENCODED", &encoded(SECRET));
        let secret = if kind.contains("json") { SECRET.replace('"', "\\\"") } else { SECRET.to_owned() };
        let client = proxy.client().header("x-forwarded-for", &format!("198.51.{number}.7"));
        let client = match *body {
            "" => client,
            _ => client.method("POST").header("content-type", kind).body(filled(body, &secret)),
        };
        let answer = client.get(HOST, &filled(target, SECRET));
        let page = format!("/api/v1/decisions/{}", answer.header("x-request-id").unwrap());
        let found = || Some(proxy.api("GET", &page, "")).filter(|answer| answer.status == 200);
        told.push((*name, answer.status, eventually(name, found).text()));
    }
    told
}

fn has_canary(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).to_ascii_lowercase().contains(CANARY)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn none_is_told(config: &str, stopped_min: usize) {
    let (_backend, mut proxy) = start(config);
    let told = told(&proxy);
    let stopped = told.iter().filter(|(_, status, _)| *status == 403).count();
    assert!(stopped >= stopped_min, "{stopped} are stopped: {told:?}");
    for (name, _, text) in &told {
        assert!(!has_canary(text.as_bytes()), "{name}: {text}");
    }
    let list = proxy.api("GET", "/api/v1/decisions?limit=1000", "").text();
    assert!(!has_canary(list.as_bytes()), "{list}");
    proxy.drain();
    let mut read = 0;
    for path in files(proxy.folder().path()) {
        let bytes = fs::read(&path).unwrap();
        read += bytes.len();
        assert!(!has_canary(&bytes), "{}", path.display());
    }
    let audit = fs::read_to_string(proxy.folder().join("audit.log")).unwrap();
    assert!(audit.lines().count() >= FORMS.len() && audit.contains("[redacted]"), "{audit}");
    assert!(read > audit.len(), "the store was read, too");
}

#[test]
fn no_secret_is_told_by_models() {
    none_is_told("", 20);
}

#[test]
fn no_secret_is_told_by_rules() {
    none_is_told("scanner.enabled = false\nwaf.verdict = \"rules\"\n", 15);
}

#[test]
fn what_stands_beside_a_secret_is_told() {
    let (_backend, proxy) = start("");
    let body = r#"{"comment":"1' UNION SELECT 1,2,3 FROM users-- -","password":"hunter2canary"}"#;
    let client = proxy.client().method("POST").header("content-type", "application/json");
    let answer = client.body(body).get(HOST, "/j");
    assert_eq!(answer.status, 403);
    let page = format!("/api/v1/decisions/{}", answer.header("x-request-id").unwrap());
    let found = || Some(proxy.api("GET", &page, "")).filter(|answer| answer.status == 200);
    let told = eventually("it is kept", found).json();
    let unit = &told["decision"]["why"]["models"]["payload"];
    assert_eq!(unit["name"], "comment", "{unit}");
    assert!(unit["value"].as_str().unwrap().contains("union select"), "{unit}");
    let rules = told["decision"]["why"]["rules"].as_array().unwrap();
    let told = |rule: &serde_json::Value| {
        rule["target"] == "ARGS:json.comment" && rule["value"].as_str().unwrap().contains("union select")
    };
    assert!(rules.iter().any(told), "{rules:?}");
}
