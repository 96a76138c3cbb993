// SPDX-License-Identifier: Apache-2.0
//! What lies, breaks or is in the way.

use sunbeam_testkit::{TestProxy, eventually};

use super::{NOBODY_IS_SPARED, SHOP, from, layer, node, record, served, shop, wait_for_metric};

#[test]
fn a_proxy_in_front_that_nobody_declared_is_said_and_not_blocked() {
    let backend = shop();
    let limits = "rate_limit.bypass_cidrs = []\nddos.error_threshold = 10\n[rate_limit.unauthenticated]\nburst = 20\nrate = 0.001\n";
    let proxy = node(&backend, limits, "");
    // From 127.0.0.1, where a proxy of one's own may well stand.
    let through = |number: usize| from(&proxy, &format!("203.0.113.{number}"));
    let refused = (0..60).filter(|number| through(*number).get(SHOP, "/missing").status != 404).count();
    assert_eq!(refused, 0);
    wait_for_metric(&proxy, "sunbeam_undeclared_proxy_requests_total", &[], 60.0);
    // Without such a field it is a client like any other.
    assert_eq!(served(&proxy.client().plain(), "/", 40), 20);
}

#[test]
fn forwarding_fields_of_a_stranger_change_nothing() {
    let backend = shop();
    let config = format!("{NOBODY_IS_SPARED}[rate_limit.unauthenticated]\nburst = 20\nrate = 0.001\n");
    let proxy = node(&backend, &config, "");
    // The trusted proxy says 203.0.113.7; the client had written others before.
    let forged = |number: usize| from(&proxy, &format!("198.51.100.{number}, 203.0.113.7"));
    assert_eq!((0..60).filter(|number| forged(*number).get(SHOP, "/").status == 200).count(), 20);
}

#[test]
fn a_block_that_cannot_be_kept_is_refused_and_the_node_serves_on() {
    let backend = shop();
    let mut proxy = node(&backend, NOBODY_IS_SPARED, "");
    let blocked = proxy.api("POST", "/api/v1/blocklist", "{\"ip\":\"192.0.2.1\"}");
    assert_eq!(blocked.status, 200);
    proxy.drain();
    // A state that was cut off in the middle: the node says so and does not start with half of its lists.
    let path = proxy.folder().join("state.redb");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let text = format!(
        "[state]\npath = {:?}\n[listen]\nhttp = \"127.0.0.1:0\"\nhttps = []\n",
        path.display().to_string()
    );
    let error = TestProxy::builder().config(&text).try_start().map(drop).unwrap_err().to_string();
    assert!(error.contains("state.redb"), "{error}");
}

#[test]
fn invented_cookies_and_tokens_by_the_thousand_cost_no_place() {
    let backend = shop();
    let config = format!(
        "{NOBODY_IS_SPARED}rate_limit.max_identities = 1024\nrate_limit.block_after = 0\nddos.enabled = false\n\
         [rate_limit.unauthenticated]\nburst = 40\nrate = 0.001\n"
    );
    let proxy = node(&backend, &config, "");
    from(&proxy, "203.0.113.7").get(SHOP, "/login?ann");
    let ann = from(&proxy, "203.0.113.7").header("cookie", "session=real-ann");
    assert_eq!(served(&ann, "/", 5), 5);
    for number in 0..2_000 {
        let invented = from(&proxy, "198.51.100.7")
            .header("cookie", &format!("session=mine-{number}"))
            .header("authorization", &format!("Bearer mine-{number}"));
        invented.get(SHOP, "/");
    }
    let answer = ann.get(SHOP, "/");
    assert_eq!((answer.status, record(&proxy, &answer).identity_kind.as_str()), (200, "session"));
    assert!(proxy.metric("sunbeam_state_evictions_total", &[("table", "identities")]) < 0.5);
}

#[test]
fn control_characters_of_a_client_stay_harmless_in_the_record() {
    let backend = shop();
    let proxy = node(&backend, NOBODY_IS_SPARED, "");
    let answer = from(&proxy, "203.0.113.7").header("user-agent", "\u{e9}vil\tGooglebot").get(SHOP, "/");
    assert_eq!(answer.status, 200);
    let line = eventually("its line", || {
        proxy
            .audit()
            .lines()
            .into_iter()
            .find(|line| line["request_id"] == answer.header("x-request-id").unwrap())
    });
    assert!(!line.to_string().contains('\t'));
    assert_eq!(layer(&record(&proxy, &answer)).0, "pass");
}
