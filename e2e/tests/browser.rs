// SPDX-License-Identifier: Apache-2.0
//! A real browser behind the proxy: page, assets, WebSocket and event stream over one HTTP/2 connection
//! (rows A17, A18, B14).

use serde_json::{Value, json};
use sunbeam_testkit::{Peer, TestProxy, node, peers_folder, run_client};

/// What Chromium made of the page of `app.py`, fetched through the proxy.
fn visit(proxy: &TestProxy, path: &str, selectors: &[&str]) -> Value {
    let mut command = node();
    command
        .arg(peers_folder().join("browser.mjs"))
        .arg(format!("https://shop.example.test{path}"))
        .arg("--insecure")
        .args(["--host-resolver-rules", &format!("MAP shop.example.test {}", proxy.https())]);
    for selector in selectors {
        command.args(["--wait-selector", selector]);
    }
    let (complete, told) = run_client(&mut command);
    assert!(complete, "{told:#}");
    told
}

fn shop(app: &Peer, more: &str) -> String {
    format!("[[routes]]\nhost_prefix = \"shop\"\nbackend = \"{}\"\nwebsocket = true\n{more}\n", app.url())
}

#[track_caller]
fn assert_went_well(told: &Value) {
    assert_eq!((&told["status"], &told["protocol"]), (&json!(200), &json!("h2")), "{told:#}");
    assert_eq!(told["console_errors"], json!([]), "{told:#}");
    assert_eq!(told["failed_requests"], json!([]), "{told:#}");
    assert_eq!(told["websockets"], json!([200]), "an extended CONNECT is answered 200: {told:#}");
    assert_eq!(told["ws_over_h2"], json!(true), "{told:#}");
    let resources = told["resources"].as_object().map(|resources| resources.values());
    let over_http2 = resources.into_iter().flatten().filter(|protocol| *protocol == "h2").count();
    assert_eq!(Some(over_http2), told["resources"].as_object().map(serde_json::Map::len), "{told:#}");
    assert!(over_http2 >= 1, "{told:#}");
}

#[test]
fn a_browser_gets_the_page_its_assets_its_websocket_and_its_events_over_http2() {
    let app = Peer::start("app.py", &[]);
    let proxy = TestProxy::start(&shop(&app, ""));
    let told = visit(&proxy, "/", &["#ws", "#sse", "#assets"]);
    assert_went_well(&told);
    assert!(told["resources"].as_object().unwrap().len() >= 4, "page, style, script, picture: {told:#}");
    assert_eq!(told["dom"], json!({"#ws": "echo:hello", "#sse": "one,two,three", "#assets": "ok"}));
    // The browser is gone, so the two that stay open have ended, and are told like every other.
    let tunnel = proxy.audit().wait_for("the tunnel", |record| record.path == "/ws");
    assert_eq!((tunnel.status, tunnel.http_version.as_str()), (200, "HTTP/2.0"));
    let events = proxy.audit().wait_for("the event stream", |record| record.path == "/events");
    assert_eq!((events.status, events.tls_version.as_str()), (200, "TLSv1.3"));
    for path in ["/", "/assets/app.css", "/assets/app.js", "/assets/logo.png"] {
        let record = proxy.audit().wait_for(path, |record| record.path == path);
        assert_eq!((record.status, record.error), (200, None), "{path}");
    }
}

#[test]
fn rewritten_and_compressed_pages_work_in_a_browser_as_the_plain_ones_do() {
    let app = Peer::start("app.py", &[]);
    let rewrites = "compress = true\n\
        [[routes.body_rewrites]]\nfind = \"Test application\"\nreplace = \"Anwendung für Prüfungen\"\n\
        [[routes.body_rewrites]]\nfind = \"'hello'\"\nreplace = \"'good morning'\"\n\
        [[routes.body_rewrites]]\nfind = \"old.example.com\"\nreplace = \"new.example.org\"\n";
    let proxy = TestProxy::start(&shop(&app, rewrites));
    let told = visit(&proxy, "/", &["#ws", "#sse", "#assets", "h1"]);
    assert_went_well(&told);
    let want = json!({
        "#ws": "echo:good morning", "#sse": "one,two,three", "#assets": "ok", "h1": "Anwendung für Prüfungen",
    });
    assert_eq!(told["dom"], want, "page and script are rewritten, the events flow");
    // What the browser was told is compressed; the application's own gzip was opened and rewritten too.
    let told = visit(&proxy, "/gzip", &["body"]);
    let text = told["dom"]["body"].as_str().unwrap();
    assert!(text.contains("new.example.org 19") && !text.contains("old.example.com"), "{text}");
    let answer = proxy.client().header("accept-encoding", "gzip, br, zstd").get("shop.example.test", "/gzip");
    assert!(
        matches!(answer.header("content-encoding"), Some("zstd" | "br" | "gzip")),
        "{:?}",
        answer.headers
    );
}

#[test]
fn a_websocket_over_http2_may_be_silent_for_longer_than_every_deadline() {
    let app = Peer::start("app.py", &[]);
    let limits = "[limits]\nkeepalive_secs = 2\nbackend_timeout_secs = 3\nheader_timeout_secs = 3\n";
    let proxy = TestProxy::start(&format!("{limits}{}", shop(&app, "")));
    let told = visit(&proxy, "/?quiet=5000", &["#ws"]);
    assert_went_well(&told);
    assert_eq!(told["dom"]["#ws"], "echo:hello");
}

#[test]
fn a_browser_is_told_that_a_route_has_no_websocket_and_shows_the_rest() {
    let app = Peer::start("app.py", &[]);
    let proxy = TestProxy::start(&shop(&app, "").replace("websocket = true", "websocket = false"));
    let told = visit(&proxy, "/", &["#ws", "#sse", "#assets"]);
    assert_eq!(told["dom"], json!({"#ws": "error", "#sse": "one,two,three", "#assets": "ok"}));
    let refused = proxy.audit().wait_for("the refusal", |record| record.path == "/ws");
    assert_eq!(refused.status, 501);
}
