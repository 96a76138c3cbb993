// SPDX-License-Identifier: Apache-2.0
//! `sunbeam test attack`, against a node.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::collections::BTreeMap;

use http::Response;
use http_body_util::Full;
use serde_json::Value;
use sunbeam_testkit::{TestUpstream, raw_exchange};

use crate::program::{Serving, get};

fn start(backend: &TestUpstream, more: &str) -> Serving {
    let text = format!(
        "[[routes]]\nhost = \"shop.example\"\nbackend = \"{}\"\ndisable_secure_redirection = true\n{more}",
        backend.url()
    );
    Serving::start(&text)
}

fn told(out: &str) -> Value {
    serde_json::from_str(out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

/// Of each probe: what was found, and by whom.
fn found(out: &str) -> BTreeMap<String, (String, String)> {
    let text = |probe: &Value, name: &str| probe[name].as_str().unwrap().to_owned();
    let told = told(out);
    let probes = told["probes"].as_array().unwrap().iter();
    probes.map(|probe| (text(probe, "probe"), (text(probe, "found"), text(probe, "by")))).collect()
}

#[test]
fn a_node_as_it_comes_stops_every_attack_and_nobody_else() {
    let backend = TestUpstream::echo();
    let node = start(&backend, "");
    let (code, out, err) = node.ask(&["test", "attack", "-o", "json"]);
    assert_eq!(code, 0, "{out}{err}");
    let (told, found) = (told(&out), found(&out));
    assert_eq!((&told["told_by"], &told["host"]), (&"node".into(), &"shop.example".into()));
    assert_eq!(
        (&told["attacks_that_came_through"], &told["ordinary_requests_stopped"]),
        (&0.into(), &0.into())
    );
    for (probe, by) in [
        ("scanner: environment file", "scanner"),
        ("SQL injection: union", "scanner"),
        ("command injection: in a form", "waf"),
        ("log4shell: in a field", "waf"),
        ("smuggling: two lengths", "door"),
        ("too large a field", "door"),
    ] {
        assert_eq!(found[probe], ("stopped".to_owned(), by.to_owned()), "{probe}: {out}");
    }
    let people = ["a browser's page", "a search with an apostrophe", "prose with words of SQL", "a form"];
    for probe in people {
        assert_eq!(found[probe].0, "passed", "{probe}: {out}");
    }
    // What is stopped never came to the site, and what passes did.
    let seen: Vec<String> = backend.seen().iter().map(|seen| seen.target.clone()).collect();
    assert!(!seen.iter().any(|target| target.contains("UNION") || target == "/.env"), "{seen:?}");
    assert!(seen.iter().any(|target| target.contains("Reilly")), "{seen:?}");
    // Whoever tests is not shut out for it: not now, nor by the next test.
    let (code, out, err) = node.ask(&["test", "attack"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("ordinary requests passed") && out.contains("door"), "{out}");
    let (_, out, _) = node.ask(&["blocks", "-o", "json"]);
    assert_eq!(self::told(&out)["total"], 0, "{out}");
    assert!(raw_exchange(node.http, b"GET / HTTP/1.0\r\nHost: shop.example\r\n\r\n").contains(" 200 "));
}

#[test]
fn what_nobody_stops_comes_through_and_is_said() {
    let backend = TestUpstream::echo();
    let off = "[ddos]\nenabled = false\n[scanner]\nenabled = false\n[waf]\nenabled = false\n";
    let node = start(&backend, off);
    let (code, out, err) = node.ask(&["test", "attack", "-o", "json"]);
    assert_eq!(code, 1, "{out}{err}");
    let found = found(&out);
    assert_eq!(found["SQL injection: union"], ("passed".to_owned(), String::new()), "{out}");
    assert_eq!(found["smuggling: two lengths"].0, "stopped", "no layer is asked for that: {out}");
    assert!(told(&out)["attacks_that_came_through"].as_u64() > Some(15), "{out}");
    assert!(backend.seen().iter().any(|seen| seen.target.contains("UNION")));
    // The WAF alone.
    let node =
        start(&backend, "[ddos]\nenabled = false\n[scanner]\nenabled = false\n[waf]\nverdict = \"rules\"\n");
    let (_, out, err) = node.ask(&["test", "attack", "-o", "json"]);
    let found = self::found(&out);
    assert_eq!(found["SQL injection: union"], ("stopped".to_owned(), "waf".to_owned()), "{out}{err}");
    // A layer that only watches stops nothing, and its word is told.
    let node = start(&backend, "[detection]\nmode = \"observe\"\n");
    let (code, out, err) = node.ask(&["test", "attack", "-o", "jsonl"]);
    assert_eq!(code, 1, "{out}{err}");
    let lines: Vec<Value> = out.lines().map(told).collect();
    let env = lines.iter().find(|line| line["probe"] == "scanner: environment file").unwrap();
    assert_eq!(
        (&env["found"], &env["by"], &env["is_right"]),
        (&"watched".into(), &"scanner".into(), &false.into())
    );
    assert!(env["request_id"].as_str().unwrap().len() == 36 && env["status"] == 200, "{env}");
}

#[test]
fn what_redirects_to_https_is_tested_there_and_a_host_is_named_where_there_are_several() {
    let backend = TestUpstream::echo();
    let node = Serving::start(&format!(
        "[[routes]]\nhost = \"shop.example\"\nbackend = \"{}\"\n[[routes]]\nhost_prefix = \"blog\"\nbackend = \"{0}\"\n",
        backend.url()
    ));
    let (code, _, err) = node.ask(&["test", "attack"]);
    assert!(code == 2 && err.contains("--host") && err.contains("blog.localhost"), "{code} {err}");
    let (code, out, err) = node.ask(&["test", "attack", "--host", "blog.example", "-o", "json"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(told(&out)["target"], node.https.to_string().as_str(), "{out}");
    let (code, _, err) = node.ask(&["test", "attack", "--host", "nobody.example"]);
    assert!(code == 2 && err.contains("no route answers to `nobody.example`"), "{code} {err}");
    let plain = format!("http://{}", node.http);
    let (code, _, err) = node.ask(&["test", "attack", "--target", &plain, "--host", "shop.example"]);
    assert!(code == 1 && err.contains("only redirects to https"), "{code} {err}");
}

#[test]
fn a_target_that_is_not_the_nodes_own_gets_one_ordinary_request_and_no_attack() {
    let (backend, other) = (TestUpstream::echo(), TestUpstream::with(|_| refused()));
    let node = start(&backend, "");
    let (code, _, err) = node.ask(&["test", "attack", "--target", &other.url()]);
    assert!(code == 1 && err.contains("not this target") && err.contains("--yes-it-is-mine"), "{code} {err}");
    let seen: Vec<String> = other.seen().iter().map(|seen| seen.target.clone()).collect();
    assert_eq!(seen, ["/"]);
    // The node's own, named.
    let url = format!("http://{}", node.http);
    let (code, out, err) =
        node.ask(&["test", "attack", "--target", &url, "--host", "shop.example", "-o", "json"]);
    assert_eq!((code, &told(&out)["told_by"]), (0, &"node".into()), "{out}{err}");
    // Nobody can be asked: nothing is sent at all.
    let nobody = ["--node", "http://127.0.0.1:1", "test", "attack", "--target", &other.url()];
    let (code, _, err) = node.ask(&nobody);
    assert!(code == 1 && err.contains("nothing was tried"), "{code} {err}");
    assert_eq!(other.seen().len(), 1);
    // Whoever insists is told by the status alone.
    let (code, out, err) = node.ask(&[&nobody[..], &["--yes-it-is-mine", "-o", "json"]].concat());
    assert!(code == 1 && err.contains("status alone"), "{out}{err}");
    let told = told(&out);
    assert_eq!(
        (&told["told_by"], &told["attacks_that_came_through"]),
        (&"status".into(), &0.into()),
        "{out}"
    );
    assert!(told["ordinary_requests_stopped"].as_u64() >= Some(8), "{out}");
    let (code, _, err) = node.ask(&["test", "attack", "--target", "shop.example"]);
    assert!(code == 2 && err.contains("is not a target"), "{code} {err}");
}

fn refused() -> Response<Full<bytes::Bytes>> {
    Response::builder().status(403).body(Full::from("no")).unwrap()
}

#[test]
fn an_address_that_nobody_looks_at_or_that_is_blocked_is_told_so_first() {
    let backend = TestUpstream::echo();
    let node = start(&backend, "");
    let (code, out, err) = node.ask(&["lists", "allow", "127.0.0.1"]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, _, err) = node.ask(&["test", "attack"]);
    assert!(code == 1 && err.contains("exempts your address 127.0.0.1"), "{code} {err}");
    assert_eq!(node.ask(&["lists", "remove", "127.0.0.1"]).0, 0);
    assert_eq!(node.ask(&["block", "127.0.0.1"]).0, 0);
    let (code, _, err) = node.ask(&["test", "attack"]);
    assert!(code == 1 && err.contains("sunbeam unblock 127.0.0.1"), "{code} {err}");
    assert!(get(node.http, "/").contains("421"), "nobody's host");
    let (code, _, err) = node.ask(&["--node", "http://127.0.0.1:1", "test", "attack"]);
    assert!(code == 4 || code == 3, "{code} {err}");
}
