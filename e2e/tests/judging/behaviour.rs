// SPDX-License-Identifier: Apache-2.0
//! What clients have been doing (rows D03, D04, D05, D19).

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};
use sunbeam_features::{EventHash, Finished, Hashes, Window, WindowShape, ddos, event};
use sunbeam_tables::{HashKey, Moment};
use sunbeam_testkit::{RawUpstream, TestProxy, TestUpstream, eventually};

use super::{NOBODY_IS_SPARED, SHOP, from, layer, node, record, retry_after, served, shop};

fn start(config: &str, route: &str) -> (TestUpstream, TestProxy) {
    let backend = shop();
    let limits = "[rate_limit.unauthenticated]\nburst = 100000\nrate = 1000\n";
    let proxy = node(&backend, &format!("waf.enabled = false\n{NOBODY_IS_SPARED}{config}\n{limits}"), route);
    (backend, proxy)
}

fn refused_after(proxy: &TestProxy, address: &str, target: &str, most: usize) -> Option<usize> {
    let client = from(proxy, address);
    (0..most).position(|_| client.get(SHOP, target).status == 429)
}

#[test]
fn sixty_errors_block_their_address_and_nobody_else() {
    let (backend, proxy) = start("", "");
    assert_eq!(refused_after(&proxy, "203.0.113.7", "/missing", 60), Some(50));
    let blocked = from(&proxy, "203.0.113.7").get(SHOP, "/");
    assert!(blocked.status == 429 && (295..=300).contains(&retry_after(&blocked)));
    assert_eq!(layer(&record(&proxy, &blocked)), ("block", "ddos", "client_errors"));
    assert_eq!(from(&proxy, "203.0.113.8").get(SHOP, "/").status, 200);
    assert_eq!(backend.seen().len(), 51);
}

#[test]
fn too_many_requests_in_the_window_block_too() {
    let (_backend, proxy) = start("ddos.request_threshold = 80\n", "");
    assert_eq!(refused_after(&proxy, "203.0.113.7", "/", 120), Some(80));
    let blocked = from(&proxy, "203.0.113.7").get(SHOP, "/");
    assert_eq!(layer(&record(&proxy, &blocked)), ("block", "ddos", "request_flood"));
}

#[test]
fn each_key_of_the_rules_does_what_it_says() {
    for (name, config, errors) in [
        ("error_threshold", "ddos.error_threshold = 20\n", Some(20)),
        ("min_events", "ddos.error_threshold = 5\nddos.min_events = 30\n", Some(30)),
        ("off by 0", "ddos.error_threshold = 0\n", None),
        (
            "window_capacity",
            "ddos.window_capacity = 15\nddos.error_threshold = 15\nddos.request_threshold = 0\n",
            Some(15),
        ),
        ("enabled", "ddos.enabled = false\n", None),
    ] {
        let (_backend, proxy) = start(config, "");
        assert_eq!(refused_after(&proxy, "203.0.113.7", "/missing", 70), errors, "{name}");
    }
    // Nine errors, a pause longer than the window, nine more.
    let (_backend, proxy) =
        start("ddos.window_secs = 1\nddos.error_threshold = 10\nddos.min_events = 1\n", "");
    for _ in 0..2 {
        assert_eq!(refused_after(&proxy, "203.0.113.7", "/missing", 9), None, "window_secs");
        sleep(Duration::from_millis(2100));
    }
    // Ten good requests push the errors before them out of a window of fifteen.
    let config = "ddos.window_capacity = 15\nddos.error_threshold = 12\nddos.request_threshold = 0\n";
    let (_backend, proxy) = start(config, "");
    assert_eq!(refused_after(&proxy, "203.0.113.7", "/missing", 11), None);
    sleep(Duration::from_millis(5100));
    assert_eq!(served(&from(&proxy, "203.0.113.7"), "/", 15), 15);
    assert_eq!(refused_after(&proxy, "203.0.113.7", "/missing", 20), Some(12), "window_capacity");
    let (_backend, proxy) = start("ddos.block_secs = 7\nddos.error_threshold = 12\n", "");
    refused_after(&proxy, "203.0.113.7", "/missing", 30);
    assert!((6..=7).contains(&retry_after(&from(&proxy, "203.0.113.7").get(SHOP, "/"))), "block_secs");
}

#[test]
fn in_shadow_nobody_is_blocked_and_the_log_says_who_would_have_been() {
    for (config, route) in [
        ("ddos.observe_only = true\n", ""),
        ("[detection]\nmode = \"observe\"\n", ""),
        ("", "protect = { ddos = \"observe\" }\n"),
    ] {
        let (_backend, proxy) = start(config, route);
        assert_eq!(refused_after(&proxy, "203.0.113.7", "/missing", 70), None, "{config}{route}");
        let record = record(&proxy, &from(&proxy, "203.0.113.7").get(SHOP, "/"));
        assert_eq!((record.status, layer(&record)), (200, ("observe", "ddos", "client_errors")));
        assert!(proxy.metric("sunbeam_ddos_decisions_total", &[("decision", "observe")]) >= 20.0);
        assert!(proxy.metric("sunbeam_blocks_total", &[]) < 0.5);
    }
}

#[test]
fn answers_that_we_make_ourselves_are_nobody_s_errors() {
    let backend = shop();
    let config = format!(
        "{NOBODY_IS_SPARED}rate_limit.block_after = 0\nddos.error_threshold = 20\n\
         [rate_limit.unauthenticated]\nburst = 5\nrate = 0.001\n[bots]\nai_training = \"deny\"\n"
    );
    let proxy = node(&backend, &config, "");
    let client = || from(&proxy, "203.0.113.7");
    for _ in 0..60 {
        // A limit, a crawler that is not wanted, a path that is refused: 429, 403, 400.
        client().get(SHOP, "/");
        client().header("user-agent", "GPTBot").get(SHOP, "/");
        client().get(SHOP, "/a%00b");
    }
    let last = client().get(SHOP, "/");
    assert_eq!(layer(&record(&proxy, &last)), ("block", "rate_limit", "identity_limit"));
    assert!(proxy.metric("sunbeam_blocks_total", &[]) < 0.5);
}

#[test]
fn of_many_behind_one_address_the_scanner_alone_is_stopped() {
    let (_backend, proxy) = start("", "");
    let address = "203.0.113.7";
    for who in ["ann", "bob", "eve"] {
        from(&proxy, address).get(SHOP, &format!("/login?{who}"));
    }
    let session = |who: &str| from(&proxy, address).header("cookie", &format!("session=real-{who}"));
    let eve = session("eve");
    let stopped = (0..80).position(|_| eve.get(SHOP, "/missing").status == 429);
    assert_eq!(stopped, Some(50));
    for who in ["ann", "bob"] {
        assert_eq!(served(&session(who), "/", 20), 20, "{who}");
    }
    assert_eq!(from(&proxy, address).get(SHOP, "/").status, 200);
    // By ones and twos over many sessions: the address has ten times as much for all of them.
    let minted =
        |number: usize| from(&proxy, "203.0.113.9").header("cookie", &format!("session=real-m{number}"));
    for number in 0..40 {
        from(&proxy, "203.0.113.9").get(SHOP, &format!("/login?m{number}"));
    }
    let stopped = (0..700).position(|number| minted(number % 40).get(SHOP, "/missing").status == 429);
    assert_eq!(stopped, Some(500));
    assert_eq!(minted(1).get(SHOP, "/").status, 429);
    assert_eq!(
        from(&proxy, "203.0.113.9").get(SHOP, "/").status,
        200,
        "who claims nothing has his own window"
    );
}

#[test]
fn who_changes_his_ipv6_prefix_is_met_again_at_the_next_wider_one() {
    let (_backend, proxy) = start("", "");
    let rotating = |number: usize| from(&proxy, &format!("2001:db8:1:2{:02x}::1", number % 256));
    let stopped = (0..400).position(|number| rotating(number).get(SHOP, "/missing").status == 429);
    assert_eq!(stopped, Some(150), "three times what one client may, over the whole /56");
    assert_eq!(from(&proxy, "2001:db8:1:300::1").get(SHOP, "/").status, 200, "the neighbouring /56");
}

#[test]
fn a_websocket_upgrade_passes_the_same_layers() {
    let backend = RawUpstream::answering(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
    let config = format!(
        "{NOBODY_IS_SPARED}ddos.error_threshold = 10\n[[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\n\
         websocket = true\ndisable_secure_redirection = true\n",
        backend.url()
    );
    let proxy = TestProxy::start(&config);
    let upgrade = || {
        from(&proxy, "203.0.113.7")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .get(SHOP, "/socket")
    };
    let stopped = (0..30).position(|_| upgrade().status == 429);
    assert_eq!(stopped, Some(10));
    assert_eq!(layer(&record(&proxy, &upgrade())), ("block", "ddos", "client_errors"));
}

#[test]
fn the_records_of_a_client_give_the_features_of_its_window_back() {
    let (_backend, proxy) = start("ddos.error_threshold = 0\n", "");
    let client = || from(&proxy, "203.0.113.7");
    for round in 0..6 {
        client().header("cookie", "a=b").header("accept-language", "de").get(SHOP, "/page");
        client().method("POST").body("x".repeat(64 * (round + 1))).get(SHOP, "/form");
        client()
            .header("user-agent", "probe\u{e9}")
            .header("referer", "http://a/")
            .get(SHOP, "/missing/.env");
        client().method("PUT").get(SHOP, "/account");
        // Refused by us: 400, and no error of the client's.
        client().get(SHOP, "/a%00b");
    }
    let records = eventually("thirty records", || {
        let records = proxy.audit().records();
        (records.len() == 30).then_some(records)
    });
    let explained = proxy.api(
        "POST",
        "/api/v1/explain",
        &json!({"method": "GET", "url": format!("http://{SHOP}/"), "ip": "203.0.113.7"}).to_string(),
    );
    let explained = explained.json();
    let (hash, shape) = (EventHash::new(HashKey::fixed(1)), WindowShape::new(60, 1000));
    let (mut window, mut canonical) = (Window::default(), Vec::new());
    // What was refused before judging (an ambiguous path) was never the client's to count.
    for record in records.iter().filter(|record| !record.decision.is_empty()) {
        let hashes =
            Hashes::of(record.path.as_bytes(), &record.host, &record.user_agent, &hash, &mut canonical);
        window.add(&event(&Finished::of_record(record), &hashes, 10), Moment::from_secs(600), &shape);
    }
    let features = window.features(Moment::from_secs(600), &shape);
    let of = |name: &str| {
        let row = |row: &&Value| row["name"] == name;
        explained["features"].as_array().unwrap().iter().find(row).and_then(|row| row["value"].as_u64())
    };
    for (row, value) in ddos::TABLE.iter().zip(features) {
        // Rates hang on the clock, and different values may share a bit under one key and not under another.
        let by = match row.name {
            "request_rate" | "burst_score" => continue,
            "path_repetition" => 60,
            name if name.starts_with("unique_") => 1,
            _ => 0,
        };
        let found = of(row.name).unwrap_or_default();
        assert!(found.abs_diff(value.into()) <= by, "{}: {found} is not {value}", row.name);
    }
    assert_eq!(
        (of("error_rate"), of("cookie_ratio"), of("suspicious_path_ratio")),
        (Some(500), Some(250), Some(250))
    );
}

#[test]
fn what_somebody_was_blocked_for_does_not_block_him_again() {
    let (_backend, proxy) = start("ddos.block_secs = 1\nddos.error_threshold = 10\n", "");
    assert_eq!(refused_after(&proxy, "203.0.113.7", "/missing", 20), Some(10));
    sleep(Duration::from_millis(1100));
    assert_eq!(served(&from(&proxy, "203.0.113.7"), "/", 5), 5);
}

#[test]
fn an_auth_server_that_is_out_of_order_and_broken_uploads_are_not_the_client_s_errors() {
    let backend = TestUpstream::echo();
    let auth = RawUpstream::answering(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n");
    let route = format!(
        "max_body_bytes = 10\n[[routes.paths]]\nprefix = \"/admin\"\nbackend = {:?}\nauth_request = \"{}/check\"\n",
        backend.url(),
        auth.url()
    );
    let proxy = node(&backend, &format!("{NOBODY_IS_SPARED}ddos.error_threshold = 10\n"), &route);
    for _ in 0..20 {
        assert_eq!(from(&proxy, "203.0.113.7").get(SHOP, "/admin/x").status, 403);
    }
    for _ in 0..20 {
        assert_eq!(
            from(&proxy, "203.0.113.8").method("POST").body("x".repeat(100)).get(SHOP, "/up").status,
            413
        );
    }
    assert_eq!(from(&proxy, "203.0.113.7").get(SHOP, "/").status, 200);
    assert_eq!(from(&proxy, "203.0.113.8").get(SHOP, "/").status, 200);
}
