// SPDX-License-Identifier: Apache-2.0
//! Floods that come from everywhere, and the fingerprint by which they are named.

use std::time::{Duration, Instant};

use http::{Request, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sunbeam_testkit::{TestProxy, eventually};
use tokio_rustls::TlsConnector;

use super::{NOBODY_IS_SPARED, SHOP, layer, node, shop, wait_for_metric};

/// Sends requests of so many clients over one connection of the proxy that tests stand for, and returns how many were
/// refused.
fn clients_ask(proxy: &TestProxy, clients: std::ops::Range<u32>, agent: &str, targets: &[&str]) -> usize {
    clients_ask_with(proxy, clients, agent, targets, "")
}

/// The same with this cookie, if it is not empty.
fn clients_ask_with(
    proxy: &TestProxy,
    clients: std::ops::Range<u32>,
    agent: &str,
    targets: &[&str],
    cookie: &str,
) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(proxy.https()).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from(SHOP).unwrap();
        let stream = TlsConnector::from(proxy.client_config()).connect(name, stream).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut refused = 0;
        for client in clients {
            let [_, b, c, d] = client.to_be_bytes();
            for target in targets {
                let mut request = Request::get(*target)
                    .version(Version::HTTP_11)
                    .header("host", SHOP)
                    .header("user-agent", agent)
                    .header("x-forwarded-for", format!("{}.{b}.{c}.{d}", 20 + client % 100));
                if !cookie.is_empty() {
                    request = request.header("cookie", cookie);
                }
                let request = request.body(Full::<Bytes>::default()).unwrap();
                sender.ready().await.unwrap();
                let answer = sender.send_request(request).await.unwrap();
                refused += usize::from(answer.status() == 429);
                answer.into_body().frame().await;
            }
        }
        refused
    })
}

fn start(config: &str) -> (sunbeam_testkit::TestUpstream, TestProxy) {
    let backend = shop();
    let proxy =
        node(&backend, &format!("limits.keepalive_requests = 100000\n{NOBODY_IS_SPARED}{config}"), "");
    (backend, proxy)
}

#[test]
fn ten_thousand_quiet_addresses_are_seen_within_ten_seconds_and_named() {
    let (_backend, proxy) = start("");
    let refused = clients_ask(&proxy, 0..10_000, "flooder/1", &["/search"]);
    // The clients of a test take their time: what counts is how long it takes from their last request on.
    let begun = Instant::now();
    let report = eventually("the flood is reported", || {
        let floods = proxy.api("GET", "/api/v1/floods", "").json();
        floods["floods"].as_array().unwrap().iter().find(|flood| !flood["header_order"].is_null()).cloned()
    });
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(report["route"], "shop");
    assert_eq!(refused, 0, "suspicion alone stops nobody");
    let observed = proxy.audit().wait_for("suspected", |record| record.reason == "distributed_flood");
    assert_eq!(layer(&observed), ("observe", "ddos", "distributed_flood"));
    // The name is the fingerprint that the records have.
    assert_eq!(report["ja4"], observed.ja4);
    assert!(observed.ja4.starts_with("t13d") && observed.ja4.len() == 36, "{}", observed.ja4);
    wait_for_metric(&proxy, "sunbeam_floods_active", &[], 1.0);
}

#[test]
fn where_doubt_is_enforced_the_flood_is_refused_and_who_has_logged_in_is_not() {
    let (_backend, proxy) = start("detection.mode = \"enforce\"\nrate_limit.login_cookies = [\"session\"]\n");
    let visitor = proxy.client().header("x-forwarded-for", "203.0.113.9").header("user-agent", "flooder/1");
    visitor.get(SHOP, "/visit?eve");
    let known = proxy.client().header("x-forwarded-for", "203.0.113.7").header("user-agent", "flooder/1");
    known.get(SHOP, "/login?ann");
    let refused = clients_ask(&proxy, 0..3_000, "flooder/1", &["/search"]);
    assert!(refused > 2_000, "{refused}");
    let other = proxy.client().header("x-forwarded-for", "203.0.113.8").header("accept", "*/*");
    assert_eq!(other.get(SHOP, "/").status, 200, "other fields, another network");
    let known = known.header("cookie", "session=real-ann");
    assert_eq!(known.get(SHOP, "/search").status, 200);
    let one_more = |cookie| clients_ask_with(&proxy, 4_000..4_001, "flooder/1", &["/search"], cookie);
    assert_eq!(one_more("session=real-ann"), 0, "one of them, who has logged in");
    assert_eq!(one_more("PHPSESSID=visitor-eve"), 1, "a session that everybody gets");
}

#[test]
fn a_crowd_of_browsers_with_their_assets_is_no_flood() {
    let (_backend, proxy) = start("detection.mode = \"enforce\"\n");
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let refused = clients_ask(&proxy, 0..1_500, agent, &["/article", "/app.css", "/app.js", "/logo.png"]);
    assert_eq!(refused, 0);
    assert_eq!(proxy.api("GET", "/api/v1/floods", "").json()["floods"], serde_json::json!([]));
}
