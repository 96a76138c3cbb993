// SPDX-License-Identifier: Apache-2.0
//! The operator's own page for what layers stop.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::fs;

use sunbeam_testkit::{TestFolder, TestProxy, TestResponse, TestUpstream};

const SHOP: &str = "shop.example.test";
const BROWSER: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

fn text(backend: &TestUpstream, page: &str, more: &str) -> String {
    format!(
        "detection.block_page = {page:?}\n{more}[[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\n\
         disable_secure_redirection = true\n",
        backend.url()
    )
}

fn asked(proxy: &TestProxy, accept: &str, target: &str) -> TestResponse {
    proxy.client().header("accept", accept).get(SHOP, target)
}

#[test]
fn browsers_get_the_operators_page_with_the_id_and_nobody_else_does() {
    let (backend, folder) = (TestUpstream::echo(), TestFolder::new());
    let page = folder.write("page.html", "<h1>Stop</h1><p>{request_id} {request_id}").display().to_string();
    let proxy = TestProxy::start(&text(&backend, &page, "waf.verdict = \"rules\"\n"));
    let attack = "/list?q=1%27+UNION+SELECT+password+FROM+users--+-";
    // By the scanner, and by the WAF.
    for target in ["/.env", attack] {
        let answer = asked(&proxy, BROWSER, target);
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert_eq!((answer.status, answer.text()), (403, format!("<h1>Stop</h1><p>{id} {id}")), "{target}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let json = asked(&proxy, "application/json", "/.env");
    assert_eq!(json.json()["request_id"].as_str(), json.header("x-request-id"));
    let plain = asked(&proxy, "*/*", "/.env");
    assert!(plain.status == 403 && plain.text().starts_with("403 Forbidden"), "{}", plain.text());
    // What no layer stops keeps its own page.
    let unknown = proxy.client().plain().header("accept", BROWSER).get("nobody.test", "/");
    assert!(
        unknown.status == 421 && unknown.text().contains("does not serve that host"),
        "{}",
        unknown.text()
    );
}

#[test]
fn the_page_is_read_at_start_and_reload_and_a_bad_one_changes_nothing() {
    let (backend, folder) = (TestUpstream::echo(), TestFolder::new());
    let path = folder.write("page.html", "one {request_id}");
    let page = path.display().to_string();
    let text = text(&backend, &page, "");
    let proxy = TestProxy::start(&text);
    let told = |word: &str| asked(&proxy, BROWSER, "/.env").text().starts_with(word);
    assert!(told("one "));
    fs::write(&path, "two {request_id}").unwrap();
    assert!(told("one "), "it is read by a reload, not by a request");
    proxy.reload(&text).unwrap();
    assert!(told("two "));
    for (bytes, part) in [
        ("no place for it".to_owned(), "does not contain `{request_id}`"),
        (format!("{{request_id}}{}", "a".repeat(64 * 1024)), "larger than 64 KiB"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = proxy.reload(&text).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains(&page), "{error}");
        assert!(told("two "), "the running configuration stays: {part}");
    }
    fs::remove_file(&path).unwrap();
    assert!(proxy.reload(&text).unwrap_err().to_string().contains("failed to read"));
    // What is put beside the configuration does not need the file.
    let body = "{\"layer\":\"scanner\",\"mode\":\"enforce\"}";
    assert_eq!(proxy.api("POST", "/api/v1/layers", body).status, 200);
    assert!(told("two "));
}
