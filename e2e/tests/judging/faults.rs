// SPDX-License-Identifier: Apache-2.0
//! What lies, breaks or is in the way.

use std::thread::sleep;
use std::time::Duration;

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
fn a_state_that_was_damaged_is_told_with_the_remedy_and_nothing_is_thrown_away() {
    let backend = shop();
    let mut proxy = node(&backend, NOBODY_IS_SPARED, "");
    for number in 0..40 {
        let blocked = proxy.api("POST", "/api/v1/blocklist", &format!("{{\"ip\":\"192.0.2.{number}\"}}"));
        assert_eq!(blocked.status, 200);
    }
    proxy.drain();
    let path = proxy.folder().join("state.redb");
    let bytes = std::fs::read(&path).unwrap();
    let noise: Vec<u8> = (0..bytes.len()).map(|at| u8::try_from(at * 7919 % 251).unwrap()).collect();
    for (name, damaged) in [
        ("grown", [&bytes[..], &noise[..]].concat()),
        ("its middle overwritten", [&bytes[..4096], &noise[4096..]].concat()),
        ("cut after its head", bytes[..100].to_vec()),
        ("cut in half", bytes[..bytes.len() / 2].to_vec()),
    ] {
        // Another file: the node before may still have its own open.
        let path = proxy.folder().write(&format!("{name}.redb"), &damaged);
        let text = format!("[state]\npath = {:?}\n", path.display().to_string());
        let started = TestProxy::builder().config(&text).try_start();
        // What the library mends by itself may start; what it cannot is told.
        let must_fail = name.starts_with("cut");
        match started.map(drop) {
            Ok(()) => assert!(!must_fail, "{name}: started"),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains(".redb") && error.contains("put it aside"), "{name}: {error}");
                assert_eq!(
                    std::fs::metadata(&path).unwrap().len(),
                    damaged.len() as u64,
                    "{name}: it is still there"
                );
            }
        }
    }
}

#[test]
fn once_a_proxy_is_declared_nobody_else_is_taken_for_one() {
    let backend = shop();
    let config = "listen.trusted_proxies = [\"198.51.100.0/24\"]\nrate_limit.bypass_cidrs = []\nddos.error_threshold = 10\n";
    let proxy = node(&backend, config, "");
    let through = |number: usize| from(&proxy, &format!("203.0.113.{number}"));
    assert_eq!((0..30).position(|number| through(number).get(SHOP, "/missing").status == 429), Some(10));
}

#[test]
fn who_becomes_known_after_his_address_was_blocked_is_not_free_by_that() {
    let backend = shop();
    let proxy = node(&backend, &format!("{NOBODY_IS_SPARED}ddos.error_threshold = 10\n"), "");
    from(&proxy, "203.0.113.8").get(SHOP, "/login?before");
    sleep(Duration::from_millis(1100));
    served(&from(&proxy, "203.0.113.7"), "/missing", 10);
    assert_eq!(from(&proxy, "203.0.113.7").get(SHOP, "/").status, 429);
    sleep(Duration::from_millis(1100));
    from(&proxy, "203.0.113.8").get(SHOP, "/login?after");
    let with = |who: &str| from(&proxy, "203.0.113.7").header("cookie", &format!("session=real-{who}"));
    assert_eq!(with("before").get(SHOP, "/").status, 200);
    assert_eq!(with("after").get(SHOP, "/").status, 429);
}

#[test]
fn blocks_and_unblocks_at_the_same_time_leave_no_ghosts() {
    let backend = shop();
    let (folder, text) =
        (sunbeam_testkit::TestFolder::new(), |path: &str| format!("[state]\npath = {path:?}\n"));
    let path = folder.join("state.redb").display().to_string();
    let mut proxy = TestProxy::builder().config(&text(&path)).route("shop", &backend.url()).start();
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let proxy = &proxy;
            scope.spawn(move || {
                for round in 0..25 {
                    let ip = format!("192.0.2.{}", (thread + round) % 4);
                    if (thread + round) % 2 == 0 {
                        proxy.api("POST", "/api/v1/blocklist", &format!("{{\"ip\":{ip:?}}}"));
                    } else {
                        proxy.api("DELETE", &format!("/api/v1/blocklist/{ip}"), "");
                    }
                }
            });
        }
    });
    let blocks = |proxy: &TestProxy| {
        let blocks = proxy.api("GET", "/api/v1/blocklist", "").json();
        let mut all: Vec<String> =
            blocks["blocks"].as_array().unwrap().iter().map(|block| block["cidr"].to_string()).collect();
        all.sort();
        all
    };
    let before = blocks(&proxy);
    proxy.drain();
    let again = eventually("the state is free", || {
        TestProxy::builder().config(&text(&path)).route("shop", &backend.url()).try_start().ok()
    });
    assert_eq!(blocks(&again), before);
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
