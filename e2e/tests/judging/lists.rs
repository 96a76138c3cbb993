// SPDX-License-Identifier: Apache-2.0
//! Block and allow lists (rows E10, H17, H24): from the configuration, by the API, over restarts.

use serde_json::{Value, json};
use sunbeam_testkit::{TestProxy, TestUpstream, eventually};

use super::{NOBODY_IS_SPARED, SHOP, from, layer, node, record, served, shop};

fn start(config: &str) -> (TestUpstream, TestProxy) {
    let backend = shop();
    let proxy = node(&backend, &format!("{NOBODY_IS_SPARED}{config}"), "");
    (backend, proxy)
}

fn block(proxy: &TestProxy, body: &Value) -> (u16, Value) {
    let answer = proxy.api("POST", "/api/v1/blocklist", &body.to_string());
    (answer.status, answer.json())
}

fn status(proxy: &TestProxy, address: &str) -> u16 {
    from(proxy, address).get(SHOP, "/").status
}

#[test]
fn listed_ranges_are_refused_and_allow_is_stronger() {
    let (_backend, proxy) = start(
        "lists.block = [\"192.0.2.0/24\", \"2001:db8:bad::/48\"]\nlists.allow = [\"192.0.2.7\"]\nddos.error_threshold = 10\n",
    );
    for (address, want) in [
        ("192.0.2.1", 403),
        ("192.0.2.7", 200),
        ("192.0.3.1", 200),
        ("2001:db8:bad:7::1", 403),
        ("2001:db8:bae::1", 200),
    ] {
        assert_eq!(status(&proxy, address), want, "{address}");
    }
    // Who is allowed is judged by nobody.
    assert_eq!(served(&from(&proxy, "192.0.2.7"), "/missing", 80), 0);
    let allowed = from(&proxy, "192.0.2.7").get(SHOP, "/");
    assert_eq!((allowed.status, layer(&record(&proxy, &allowed))), (200, ("pass", "lists", "allowed")));
    let lists = proxy.api("GET", "/api/v1/lists", "").json();
    assert_eq!(lists["prefixes"], 3);
    let text = format!(
        "{NOBODY_IS_SPARED}lists.block = [\"198.51.100.0/24\"]\n[[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\n\
         disable_secure_redirection = true\n",
        _backend.url()
    );
    proxy.reload(&text).unwrap();
    assert_eq!((status(&proxy, "192.0.2.1"), status(&proxy, "198.51.100.1")), (200, 403));
}

#[test]
fn the_api_blocks_as_the_seed_said_and_tells_how_to_undo_it() {
    let (_backend, proxy) = start("");
    let (code, answer) = block(&proxy, &json!({"ip": "192.0.2.100", "duration_seconds": 3600}));
    assert_eq!(code, 200);
    assert_eq!(
        (&answer["success"], &answer["message"]),
        (&json!(true), &json!("IP blocked for 3600 seconds"))
    );
    assert_eq!(answer["undo"], "sunbeam unblock 192.0.2.100");
    assert_eq!((status(&proxy, "192.0.2.100"), status(&proxy, "192.0.2.101")), (403, 200));
    let old = proxy.api("POST", "/api/v1/blacklist", "{\"ip\":\"192.0.2.101\",\"duration_seconds\":60}");
    assert_eq!((old.status, status(&proxy, "192.0.2.101")), (200, 403));
    let blocks = proxy.api("GET", "/api/v1/blocklist", "").json();
    assert_eq!(blocks["total"], 2);
    assert_eq!(blocks["blocks"][0]["cidr"], "192.0.2.100/32");
    assert_eq!(blocks["blocks"][0]["origin"], "operator");
    let tried = proxy.api("DELETE", "/api/v1/blocklist/192.0.2.100?dry_run=true", "");
    assert_eq!((tried.status, status(&proxy, "192.0.2.100")), (200, 403));
    let undone = proxy.api("DELETE", "/api/v1/blocklist/192.0.2.100%2F32", "");
    assert_eq!(undone.status, 200, "{}", undone.text());
    assert!(
        undone.json()["undo"]
            .as_str()
            .is_some_and(|undo| undo.starts_with("sunbeam block 192.0.2.100 --for 3"))
    );
    assert_eq!(status(&proxy, "192.0.2.100"), 200);
    assert_eq!(proxy.api("DELETE", "/api/v1/blocklist/192.0.2.100", "").status, 404);
    for (name, body, want) in [
        ("nonsense", json!({"ip": "frobnicate"}), 422),
        ("everybody", json!({"ip": "0.0.0.0/0"}), 422),
        ("no time", json!({"ip": "192.0.2.1", "duration_seconds": 0}), 422),
        ("a century", json!({"ip": "192.0.2.1", "duration_seconds": 4_000_000_000_u64}), 422),
        ("a misspelling", json!({"ip": "192.0.2.1", "duration": 5}), 422),
        ("bits behind the prefix", json!({"ip": "192.0.2.1/24"}), 422),
        ("nothing", json!({}), 422),
    ] {
        let (code, answer) = block(&proxy, &body);
        assert_eq!(code, want, "{name}: {answer}");
        assert!(answer["error"].is_string(), "{name}");
    }
    for wide in ["0.0.0.0/1", "2000::/3"] {
        assert_eq!(block(&proxy, &json!({"ip": wide})).0, 422, "{wide}");
    }
    // A range by its number, and as people write it; and a block in place of another says so.
    block(&proxy, &json!({"ip": "198.51.100.0/24", "reason": "it's noise"}));
    let (_, shorter) = block(&proxy, &json!({"ip": "198.51.100.0/24", "duration_seconds": 60}));
    assert!(
        shorter["message"]
            .as_str()
            .is_some_and(|text| text.ends_with("before, it was blocked until it is unblocked"))
    );
    assert_eq!(shorter["undo"], "sunbeam block 198.51.100.0/24 --why='it'\\''s noise'");
    let id = shorter["id"].as_str().unwrap();
    assert_eq!(proxy.api("DELETE", &format!("/api/v1/blocklist/{id}"), "").status, 200);
    block(&proxy, &json!({"ip": "198.51.100.0/24"}));
    assert_eq!(proxy.api("DELETE", "/api/v1/blocklist/198.51.100.0/24", "").status, 200);
    let (code, answer) = block(&proxy, &json!({"ip": "192.0.2.50", "dry_run": true}));
    assert_eq!(
        (code, &answer["message"], status(&proxy, "192.0.2.50")),
        (200, &json!("IP would be blocked until it is unblocked"), 200)
    );
    block(&proxy, &json!({"ip": "::ffff:192.0.2.60"}));
    assert_eq!(status(&proxy, "192.0.2.60"), 403, "mapped addresses are IPv4");
    let tokenless = proxy.api_client().method("POST").body("{\"ip\":\"192.0.2.61\"}");
    assert_eq!(tokenless.get("127.0.0.1", "/api/v1/blocklist").status, 401);
}

#[test]
fn a_block_ends_by_itself() {
    let (_backend, proxy) = start("");
    block(&proxy, &json!({"ip": "192.0.2.0/24", "duration_seconds": 1}));
    assert_eq!(status(&proxy, "192.0.2.9"), 403);
    eventually("the block is over", || (status(&proxy, "192.0.2.9") == 200).then_some(()));
    eventually("and off the list", || {
        (proxy.api("GET", "/api/v1/blocklist", "").json()["total"] == 0).then_some(())
    });
}

#[test]
fn nobody_locks_himself_out() {
    let (_backend, proxy) = start("ddos.error_threshold = 10\n");
    let as_operator = |method: &str, target: &str, body: &str| {
        let token = std::fs::read_to_string(proxy.node().token_path().unwrap()).unwrap();
        let client = proxy
            .api_client()
            .method(method)
            .header("authorization", &format!("Bearer {}", token.trim()))
            .header("sunbeam-operator", "203.0.113.7")
            .header("content-type", "application/json")
            .body(body.to_owned());
        let address = proxy.node().management_address().unwrap().to_string();
        client.get(&address, target)
    };
    let refused = as_operator("POST", "/api/v1/blocklist", "{\"ip\":\"203.0.113.0/24\"}");
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("203.0.113.7"));
    eventually("who asked is exempt", || {
        let lists = proxy.api("GET", "/api/v1/lists", "").json();
        let is_his = |entry: &Value| entry["list"] == "exempt" && entry["cidr"] == "203.0.113.7/32";
        lists["entries"].as_array().is_some_and(|entries| entries.iter().any(is_his)).then_some(())
    });
    assert_eq!(served(&from(&proxy, "203.0.113.7"), "/missing", 40), 0);
    let still = from(&proxy, "203.0.113.7").get(SHOP, "/");
    assert_eq!((still.status, layer(&record(&proxy, &still))), (200, ("pass", "lists", "operator")));
    // Whoever else asks cannot block him either.
    assert_eq!(block(&proxy, &json!({"ip": "203.0.113.7"})).0, 409);
}

#[test]
fn an_automatic_block_is_listed_lifted_and_not_made_again_for_a_day() {
    let (_backend, proxy) = start("ddos.error_threshold = 10\n");
    served(&from(&proxy, "203.0.113.7"), "/missing", 10);
    assert_eq!(status(&proxy, "203.0.113.7"), 429);
    let blocks = proxy.api("GET", "/api/v1/blocklist", "").json();
    let ban = &blocks["blocks"][0];
    assert_eq!(
        (&ban["cidr"], &ban["origin"], &ban["reason"]),
        (&json!("203.0.113.7/32"), &json!("ddos"), &json!("client_errors"))
    );
    let lifted = proxy.api("DELETE", "/api/v1/blocklist/203.0.113.7", "");
    assert_eq!(lifted.status, 200);
    assert!(lifted.json()["message"].as_str().is_some_and(|message| message.contains("for a day")));
    served(&from(&proxy, "203.0.113.7"), "/missing", 30);
    let graced = from(&proxy, "203.0.113.7").get(SHOP, "/");
    assert_eq!((graced.status, layer(&record(&proxy, &graced)).2), (200, "grace"));
    // A session is lifted by its id.
    from(&proxy, "203.0.113.9").get(SHOP, "/login?eve");
    let eve = from(&proxy, "203.0.113.9").header("cookie", "session=real-eve");
    served(&eve, "/missing", 10);
    assert_eq!(eve.get(SHOP, "/").status, 429);
    let blocks = proxy.api("GET", "/api/v1/blocklist", "").json();
    let of_session =
        blocks["blocks"].as_array().unwrap().iter().find(|block| block["identity"] == "session").unwrap();
    assert_eq!(of_session["cidr"], "");
    let id = of_session["id"].as_str().unwrap();
    assert_eq!(proxy.api("DELETE", &format!("/api/v1/blocklist/{id}"), "").status, 200);
    assert_eq!(eve.get(SHOP, "/").status, 200);
}

#[test]
fn what_the_configuration_lists_is_taken_out_there() {
    let (_backend, proxy) = start("lists.block = [\"192.0.2.1\"]\n");
    let refused = proxy.api("DELETE", "/api/v1/blocklist/192.0.2.1", "");
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("lists.block"), "{}", refused.text());
}

/// A node whose state outlives it. The one before lets go of it a moment after it has drained.
fn again(backend: &TestUpstream, state: &std::path::Path, config: &str) -> TestProxy {
    let text = format!(
        "state.path = {:?}\n{NOBODY_IS_SPARED}{config}[[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\n\
         disable_secure_redirection = true\n",
        state.display().to_string(),
        backend.url()
    );
    eventually("the state is free", || TestProxy::builder().config(&text).try_start().ok())
}

#[test]
fn what_was_blocked_is_blocked_after_a_restart_and_what_was_unblocked_is_not() {
    let (backend, folder) = (shop(), sunbeam_testkit::TestFolder::new());
    let state = folder.join("state.redb");
    let config = "ddos.error_threshold = 10\n";
    let mut proxy = again(&backend, &state, config);
    for (ip, secs) in
        [("192.0.2.1", None), ("192.0.2.2", Some(3600)), ("192.0.2.3", Some(1)), ("192.0.2.4", None)]
    {
        let (code, answer) = block(&proxy, &json!({"ip": ip, "duration_seconds": secs}));
        assert_eq!(code, 200, "{answer}");
    }
    // For ever, then for an hour, then not at all: no earlier word comes back.
    block(&proxy, &json!({"ip": "192.0.2.4", "duration_seconds": 3600}));
    assert_eq!(proxy.api("DELETE", "/api/v1/blocklist/192.0.2.4", "").status, 200);
    served(&from(&proxy, "203.0.113.7"), "/missing", 10);
    assert_eq!(status(&proxy, "203.0.113.7"), 429);
    // One that a layer made, lifted.
    served(&from(&proxy, "203.0.113.20"), "/missing", 10);
    assert_eq!(status(&proxy, "203.0.113.20"), 429);
    assert_eq!(proxy.api("DELETE", "/api/v1/blocklist/203.0.113.20", "").status, 200);
    eventually("the short one is over", || (status(&proxy, "192.0.2.3") == 200).then_some(()));
    proxy.drain();
    let proxy = again(&backend, &state, config);
    for (address, want) in [
        ("192.0.2.1", 403),
        ("192.0.2.2", 403),
        ("192.0.2.3", 200),
        ("192.0.2.4", 200),
        ("203.0.113.7", 429),
        ("203.0.113.8", 200),
    ] {
        assert_eq!(status(&proxy, address), want, "{address}");
    }
    let grace = proxy.api("GET", "/api/v1/lists", "").json();
    let is_his = |entry: &Value| entry["list"] == "grace" && entry["cidr"] == "192.0.2.4/32";
    assert!(grace["entries"].as_array().unwrap().iter().any(is_his), "{grace}");
    // Its day of grace has not ended with the process: whatever it does, no layer blocks it again.
    served(&from(&proxy, "203.0.113.20"), "/missing", 30);
    let graced = from(&proxy, "203.0.113.20").get(SHOP, "/");
    assert_eq!((graced.status, layer(&record(&proxy, &graced)).2), (200, "grace"));
    // The time that is left, not the whole again.
    let blocks = proxy.api("GET", "/api/v1/blocklist", "").json();
    let of =
        |cidr: &str| blocks["blocks"].as_array().unwrap().iter().find(|block| block["cidr"] == cidr).cloned();
    assert!(
        of("192.0.2.2/32").unwrap()["until"].is_string() && of("192.0.2.1/32").unwrap()["until"].is_null()
    );
    assert_eq!(of("203.0.113.7/32").unwrap()["origin"], "ddos");
}

#[test]
fn a_wider_block_is_listed_as_what_it_is_and_lifted_by_any_address_in_it() {
    let (_backend, proxy) =
        start("ddos.error_threshold = 20\n[rate_limit.unauthenticated]\nburst = 100000\nrate = 1000\n");
    let rotating = |number: usize| from(&proxy, &format!("2001:db8:1:2{:02x}::1", number % 256));
    let stopped = (0..200).position(|number| rotating(number).get(SHOP, "/missing").status == 429);
    assert_eq!(stopped, Some(60));
    let blocks = proxy.api("GET", "/api/v1/blocklist", "").json();
    assert_eq!(blocks["blocks"][0]["cidr"], "2001:db8:1:200::/56", "{blocks}");
    assert_eq!(rotating(200).get(SHOP, "/").status, 429);
    let lifted = proxy.api("DELETE", "/api/v1/blocklist/2001:db8:1:2c8::1", "");
    assert_eq!(lifted.status, 200, "{}", lifted.text());
    assert_eq!(rotating(200).get(SHOP, "/").status, 200);
    // One client is its /64: any address of it means it.
    served(&from(&proxy, "2001:db8:9:9::1"), "/missing", 20);
    assert_eq!(status(&proxy, "2001:db8:9:9::2"), 429);
    assert_eq!(proxy.api("DELETE", "/api/v1/blocklist/2001:db8:9:9::3", "").status, 200);
    assert_eq!(status(&proxy, "2001:db8:9:9::2"), 200);
}
