// SPDX-License-Identifier: Apache-2.0
//! Judging, through real sockets: each layer with its keys, its answer and its record (rows D01, D03 to D05, D09,
//! D10, D19, E01 to E10, H17, H24). Clients have any address: the tests stand where a trusted proxy would.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

mod behaviour;
mod crawlers;
mod faults;
mod floods;
mod limits;
mod lists;
mod models;
mod models_of_windows;
mod offenders;
mod proof;

pub(crate) use proof::make_people_a_day_older;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use sunbeam_testkit::{Seen, TestClient, TestProxy, TestResponse, TestUpstream, eventually};
use sunbeam_traffic::AuditRecord;

pub(crate) const SHOP: &str = "shop.example.test";

/// A shop: `/login` opens a session, `/visit` one that says nothing of who it is, `/account` asks for one (or for a token), `/missing…` is not there.
pub(crate) fn shop() -> TestUpstream {
    TestUpstream::with(|seen| {
        let answer = |status: u16, text: &'static str| {
            let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        };
        let path = seen.target.split('?').next().unwrap_or_default();
        match path {
            "/login" | "/visit" => {
                let mut response = answer(200, "welcome");
                let who = seen.target.split_once('?').map_or("x", |(_, who)| who);
                let cookie = match path {
                    "/login" => format!("session=real-{who}; Path=/; HttpOnly"),
                    _ => format!("PHPSESSID=visitor-{who}; Path=/; HttpOnly"),
                };
                response.headers_mut().insert(header::SET_COOKIE, cookie.parse().unwrap());
                response
            }
            "/account" if is_known(seen) => answer(200, "your account"),
            "/account" => answer(401, "who are you"),
            _ if path.starts_with("/missing") => answer(404, "no such thing"),
            _ => answer(200, "here"),
        }
    })
}

fn is_known(seen: &Seen) -> bool {
    let has = |name: &str, value: &str| seen.header(name).is_some_and(|found| found.contains(value));
    has("cookie", "session=real-") || has("authorization", "Bearer good-")
}

/// A node in front of the shop that believes what the tests say of their address, and spares nobody.
pub(crate) fn node(backend: &TestUpstream, config: &str, route: &str) -> TestProxy {
    TestProxy::builder()
        .config(&format!(
            "{config}\n[[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\ndisable_secure_redirection = true\n{route}",
            backend.url()
        ))
        .start()
}

/// What every test here has besides its own: no address is spared, and models have no say (but in `models.rs`).
pub(crate) const NOBODY_IS_SPARED: &str = "listen.trusted_proxies = [\"127.0.0.1/32\"]\nrate_limit.bypass_cidrs = []\n\
     ddos.threshold = 1.0\nscanner.threshold = 1.0\n";

/// A client at this address.
pub(crate) fn from(proxy: &TestProxy, address: &str) -> TestClient {
    proxy.client().plain().header("x-forwarded-for", address)
}

/// How many of so many requests were served.
pub(crate) fn served(client: &TestClient, target: &str, tries: usize) -> usize {
    (0..tries).filter(|_| client.get(SHOP, target).status < 400).count()
}

/// The first answer that is not served.
pub(crate) fn until_refused(client: &TestClient, target: &str, most: usize) -> TestResponse {
    let answers = (0..most).map(|_| client.get(SHOP, target));
    answers.into_iter().find(|answer| matches!(answer.status, 403 | 429)).expect("a refusal")
}

pub(crate) fn retry_after(answer: &TestResponse) -> u64 {
    answer.header("retry-after").and_then(|secs| secs.parse().ok()).expect("Retry-After in whole seconds")
}

/// The record of an answer.
pub(crate) fn record(proxy: &TestProxy, answer: &TestResponse) -> AuditRecord {
    let id = answer.header("x-request-id").expect("an id").to_owned();
    proxy.audit().wait_for("of this answer", |record| record.request_id == id)
}

pub(crate) fn wait_for_metric(proxy: &TestProxy, name: &str, labels: &[(&str, &str)], least: f64) {
    eventually(&format!("{name}{labels:?} is at least {least}"), || {
        (proxy.metric(name, labels) >= least).then_some(())
    });
}

#[test]
fn the_first_layer_that_blocks_answers_and_the_record_says_which() {
    let backend = shop();
    let config = format!(
        "{NOBODY_IS_SPARED}lists.block = [\"192.0.2.0/24\"]\nddos.error_threshold = 10\n\
         [rate_limit.unauthenticated]\nburst = 30\nrate = 0.001\n[bots]\nai_training = \"deny\"\n"
    );
    let proxy = node(&backend, &config, "");
    let crawler = "Mozilla/5.0 (compatible; GPTBot/1.2)";
    let listed = from(&proxy, "192.0.2.9").header("user-agent", crawler).get(SHOP, "/");
    assert_eq!((listed.status, listed.header("retry-after")), (403, None));
    assert_eq!(layer(&record(&proxy, &listed)), ("block", "lists", "listed"));
    let flooder = from(&proxy, "198.51.100.1");
    served(&flooder, "/missing", 10);
    let flood = flooder.header("user-agent", crawler).get(SHOP, "/");
    assert_eq!((flood.status, retry_after(&flood)), (429, 300));
    assert_eq!(layer(&record(&proxy, &flood)), ("block", "ddos", "client_errors"));
    let denied = from(&proxy, "198.51.100.2").header("user-agent", crawler).get(SHOP, "/");
    assert_eq!(denied.status, 403);
    assert_eq!(layer(&record(&proxy, &denied)), ("block", "scanner", "crawler_denied"));
    let greedy = from(&proxy, "198.51.100.3");
    assert_eq!(served(&greedy, "/", 30), 30);
    let limited = greedy.get(SHOP, "/");
    assert_eq!(limited.status, 429);
    assert_eq!(layer(&record(&proxy, &limited)), ("block", "rate_limit", "identity_limit"));
    let seen = backend.seen().len();
    assert_eq!(seen, 40, "what is blocked never reaches the backend");
    let passed = record(&proxy, &from(&proxy, "198.51.100.4").get(SHOP, "/"));
    assert_eq!((layer(&passed), passed.identity_kind.as_str()), (("pass", "", ""), "address"));
    for (name, labels) in [
        ("sunbeam_ddos_decisions_total", &[("decision", "block")][..]),
        ("sunbeam_scanner_decisions_total", &[("decision", "block"), ("reason", "crawler_denied")]),
        ("sunbeam_rate_limit_decisions_total", &[("decision", "block")]),
        ("sunbeam_listed_requests_total", &[("list", "block")]),
        ("sunbeam_blocks_total", &[("origin", "ddos")]),
    ] {
        assert!(proxy.metric(name, labels) >= 1.0, "{name}");
    }
    assert!(
        !flood.text().contains("ddos") && !flood.text().contains("client_errors"),
        "the page names no rule"
    );
}

pub(crate) fn layer(record: &AuditRecord) -> (&str, &str, &str) {
    (record.decision.as_str(), record.layer.as_str(), record.reason.as_str())
}
