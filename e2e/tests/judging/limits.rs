// SPDX-License-Identifier: Apache-2.0
//! Identities and their limits (rows E01 to E05, E08, E09).

use std::thread::sleep;
use std::time::{Duration, Instant};

use sunbeam_testkit::{TestProxy, TestUpstream, eventually};

use super::{
    NOBODY_IS_SPARED, SHOP, from, layer, node, record, retry_after, served, shop, until_refused,
    wait_for_metric,
};

/// Nothing leaks while a test counts.
const STILL: &str = "[rate_limit.unauthenticated]\nburst = 50\nrate = 0.001\n\
                     [rate_limit.authenticated]\nburst = 200\nrate = 0.001\n";

fn start(config: &str, route: &str) -> (TestUpstream, TestProxy) {
    let backend = shop();
    let proxy = node(&backend, &format!("{NOBODY_IS_SPARED}{config}"), route);
    (backend, proxy)
}

#[test]
fn each_session_token_and_address_has_its_own_bucket() {
    let (_backend, proxy) = start(&format!("ddos.enabled = false\nrate_limit.block_after = 0\n{STILL}"), "");
    let address = "203.0.113.7";
    for who in ["ann", "bob"] {
        from(&proxy, address).get(SHOP, &format!("/login?{who}"));
    }
    let session = |who: &str| from(&proxy, address).header("cookie", &format!("session=real-{who}"));
    assert_eq!(served(&session("ann"), "/", 210), 200);
    assert_eq!(served(&session("bob"), "/", 210), 200);
    let record = record(&proxy, &session("bob").get(SHOP, "/"));
    assert_eq!(record.identity_kind, "session");
    // 2 were the log-ins; the ceiling of 500 has 98 left after the two sessions, which a token may use.
    assert_eq!(served(&from(&proxy, address), "/", 60), 48);
    // A stranger from elsewhere is refused there.
    assert_eq!(from(&proxy, "198.51.100.8").get(SHOP, "/account").status, 401);
    let token = from(&proxy, "203.0.113.9").header("authorization", "Bearer good-1");
    assert_eq!(token.get(SHOP, "/account").status, 200);
    assert_eq!(served(&token, "/", 210), 200);
    assert_eq!(served(&from(&proxy, "203.0.113.9"), "/", 60), 49, "the address has its own");
}

#[test]
fn a_cookie_or_token_that_the_site_has_not_honoured_is_nobody() {
    let (_backend, proxy) = start(&format!("ddos.enabled = false\nrate_limit.block_after = 0\n{STILL}"), "");
    let made_up = |address: &str, number: usize| {
        from(&proxy, address)
            .header("cookie", &format!("session=mine-{number}"))
            .header("authorization", "Bearer x")
    };
    let minted = (0..120).filter(|number| made_up("203.0.113.7", *number).get(SHOP, "/").status == 200);
    assert_eq!(minted.count(), 50, "a cookie a request buys nothing");
    // Those that the site gives to anybody have a ceiling.
    let opened = |number| from(&proxy, "203.0.113.8").get(SHOP, &format!("/login?{number}")).status == 200;
    let opened = (0..50).filter(|number| opened(*number)).count();
    assert_eq!(opened, 50);
    let with = |number: usize| {
        from(&proxy, "203.0.113.8").header("cookie", &format!("session=real-{}", number % 50)).get(SHOP, "/")
    };
    let served = (0..600).filter(|number| with(*number).status == 200).count();
    assert_eq!(served, 500, "fifty sessions of one address together");
    let refused = with(3);
    assert_eq!(layer(&record(&proxy, &refused)), ("block", "rate_limit", "address_limit"));
}

#[test]
fn the_defaults_are_50_and_10_without_and_200_and_50_with_a_session() {
    let (_backend, proxy) = start("ddos.enabled = false\nrate_limit.block_after = 0\n", "");
    from(&proxy, "203.0.113.1").get(SHOP, "/login?a");
    let session = from(&proxy, "203.0.113.2").header("cookie", "session=real-a");
    for (client, burst, rate) in [(from(&proxy, "203.0.113.3"), 50.0, 10.0), (session, 200.0, 50.0)] {
        let begun = Instant::now();
        #[expect(clippy::cast_precision_loss, reason = "hundreds")]
        let count = served(&client, "/", 400) as f64;
        let most = burst + rate * begun.elapsed().as_secs_f64() + 1.0;
        assert!(count >= burst && count <= most, "{count} of {burst} to {most}");
    }
}

#[test]
fn who_waits_as_long_as_he_is_told_is_served_and_no_sooner() {
    let limits = "[rate_limit.unauthenticated]\nburst = 2\nrate = 0.7\n";
    let (_backend, proxy) = start(limits, "");
    let client = from(&proxy, "203.0.113.7");
    let refused = until_refused(&client, "/", 5);
    let secs = retry_after(&refused);
    assert_eq!((refused.status, secs), (429, 2));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"default\";q=2;w=3"));
    assert_eq!(refused.header("ratelimit"), Some("\"default\";r=0;t=3"));
    sleep(Duration::from_secs(secs));
    let again = client.get(SHOP, "/");
    assert_eq!(again.status, 200);
    assert!(
        again.header("ratelimit").is_some_and(|left| left.contains("r=0;")),
        "{:?}",
        again.header("ratelimit")
    );
    assert_eq!(client.get(SHOP, "/").status, 429);
    assert_eq!(from(&proxy, "203.0.113.8").get(SHOP, "/").header("ratelimit"), None, "half is left");
}

#[test]
fn addresses_in_bypass_cidrs_have_no_limit() {
    let backend = shop();
    let config = format!(
        "listen.trusted_proxies = [\"127.0.0.1/32\"]\nrate_limit.bypass_cidrs = [\"203.0.113.0/24\", \"::1/128\"]\n\
         ddos.request_threshold = 60\n{STILL}"
    );
    let proxy = node(&backend, &config, "");
    assert_eq!(served(&from(&proxy, "203.0.113.7"), "/missing", 300), 0);
    assert_eq!(backend.seen().len(), 300, "all reached the shop, and nobody was blocked");
    assert_eq!(served(&from(&proxy, "198.51.100.7"), "/", 60), 50);
}

#[test]
fn an_ipv6_host_that_changes_its_address_keeps_its_bucket() {
    let (_backend, proxy) = start(&format!("rate_limit.block_after = 0\n{STILL}"), "");
    let rotating = |number: usize| from(&proxy, &format!("2001:db8:1:2:{number:x}::{number:x}"));
    let served = (1..100).filter(|number| rotating(*number).get(SHOP, "/").status == 200).count();
    assert_eq!(served, 50);
    assert_eq!(from(&proxy, "2001:db8:1:3::1").get(SHOP, "/").status, 200);
}

#[test]
fn routes_paths_and_the_node_have_limits_of_their_own() {
    let config =
        "ddos.enabled = false\nrate_limit.block_after = 0\n[rate_limit.global]\nburst = 40\nrate = 0.001\n";
    let route = "[[routes.rate_limits]]\npath = \"/login\"\nmethods = [\"POST\"]\nburst = 5\nrate = 0.2\n\
                 [[routes.rate_limits]]\npath = \"/register\"\nburst = 2\nrate = 0.1\n";
    let (_backend, proxy) = start(config, route);
    let client = || from(&proxy, "203.0.113.7");
    assert_eq!(served(&client().method("POST"), "/login?a", 10), 5);
    assert_eq!(served(&client().method("POST"), "/%6Cogin//", 10), 0, "however it is written");
    assert_eq!(served(&client(), "/login?b", 10), 10, "another method");
    assert_eq!(served(&client(), "/register", 10), 2);
    let refused = client().method("POST").get(SHOP, "/login");
    assert_eq!(retry_after(&refused), 5);
    assert_eq!(layer(&record(&proxy, &refused)), ("block", "rate_limit", "route_limit"));
    let elsewhere = from(&proxy, "203.0.113.8");
    assert_eq!(served(&elsewhere.method("POST"), "/login?c", 10), 5, "per client");
    let others =
        (0..60).filter(|n| from(&proxy, &format!("203.0.113.{}", 20 + n)).get(SHOP, "/").status == 200);
    assert_eq!(others.count(), 40 - 5 - 10 - 2 - 5, "what is left of the node's bucket");
}

#[test]
fn who_goes_on_after_refusals_is_blocked_longer_each_time() {
    let config = "rate_limit.block_after = 3\nddos.block_secs = 1\nddos.max_block_secs = 4\n\
                  [rate_limit.unauthenticated]\nburst = 1\nrate = 0.01\n";
    let (_backend, proxy) = start(config, "");
    let client = from(&proxy, "203.0.113.7");
    assert_eq!(client.get(SHOP, "/").status, 200);
    for want in [1, 2, 4, 4] {
        let refused: Vec<_> = (0..3).map(|_| client.get(SHOP, "/")).collect();
        assert!(refused.iter().all(|answer| answer.status == 429));
        assert_eq!(refused.last().map(retry_after), Some(want), "the answer that blocks says for how long");
        let blocked = client.get(SHOP, "/");
        assert_eq!((blocked.status, retry_after(&blocked)), (429, want));
        assert_eq!(layer(&record(&proxy, &blocked)), ("block", "rate_limit", "identity_limit"));
        sleep(Duration::from_secs(want));
    }
    assert!((proxy.metric("sunbeam_blocks_total", &[("origin", "rate_limit")]) - 4.0).abs() < 0.1);
}

#[test]
fn files_take_a_tenth() {
    let backend = shop();
    let builder = TestProxy::builder();
    let folder = builder.folder().join("site");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("app.css"), "body{}").unwrap();
    let route = format!("static_root = {:?}\n", folder.display().to_string());
    let proxy = builder
        .config(&format!(
            "{NOBODY_IS_SPARED}rate_limit.block_after = 0\n{STILL}[[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\n\
             disable_secure_redirection = true\n{route}",
            backend.url()
        ))
        .start();
    let client = from(&proxy, "203.0.113.7");
    assert_eq!(served(&client, "/app.css", 400), 400);
    assert_eq!(served(&client, "/", 60), 10, "40 tokens went for files");
}

#[test]
fn in_shadow_a_limit_is_recorded_and_holds_nobody_up() {
    for (config, route) in
        [("", "protect = { rate_limit = \"observe\" }\n"), ("[detection]\nmode = \"observe\"\n", "")]
    {
        let (_backend, proxy) = start(&format!("ddos.error_threshold = 20\n{STILL}{config}"), route);
        let client = from(&proxy, "203.0.113.7");
        assert_eq!(served(&client, "/", 60), 60);
        let record = record(&proxy, &client.get(SHOP, "/"));
        assert_eq!((record.status, layer(&record)), (200, ("observe", "rate_limit", "identity_limit")));
        assert!(proxy.metric("sunbeam_rate_limit_decisions_total", &[("decision", "observe")]) >= 10.0);
        assert!(proxy.metric("sunbeam_blocks_total", &[]) < 0.5);
    }
    let (_backend, proxy) = start(STILL, "protect = { rate_limit = \"off\" }\n");
    assert_eq!(served(&from(&proxy, "203.0.113.7"), "/", 60), 60);
    let (_backend, proxy) = start(&format!("rate_limit.enabled = false\n{STILL}"), "");
    assert_eq!(served(&from(&proxy, "203.0.113.7"), "/", 60), 60);
}

#[test]
fn a_reload_changes_the_limit_and_keeps_what_was_used() {
    let (backend, proxy) =
        start("rate_limit.block_after = 0\n[rate_limit.unauthenticated]\nburst = 10\nrate = 0.001\n", "");
    let client = from(&proxy, "203.0.113.7");
    assert_eq!(served(&client, "/", 20), 10);
    let text = format!(
        "{NOBODY_IS_SPARED}rate_limit.block_after = 0\n[rate_limit.unauthenticated]\nburst = 15\nrate = 0.001\n\
         [[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\ndisable_secure_redirection = true\n",
        backend.url()
    );
    proxy.reload(&text).unwrap();
    assert_eq!(served(&client, "/", 20), 5, "to the token");
}

#[test]
fn who_an_auth_server_lets_in_is_known_and_who_guesses_is_blocked() {
    let backend = TestUpstream::echo();
    let auth = TestUpstream::with(|seen| {
        let mut response = http::Response::new(http_body_util::Full::default());
        let is_good = seen.header("cookie").is_some_and(|cookie| cookie.contains("session=good"));
        *response.status_mut() = if is_good { http::StatusCode::OK } else { http::StatusCode::UNAUTHORIZED };
        response
    });
    let route = format!(
        "[[routes.paths]]\nprefix = \"/admin\"\nbackend = {:?}\nauth_request = \"{}/check\"\n",
        backend.url(),
        auth.url()
    );
    let config = format!("{NOBODY_IS_SPARED}ddos.error_threshold = 15\n{STILL}");
    let proxy = node(&backend, &config, &route);
    assert_eq!(from(&proxy, "198.51.100.1").get(SHOP, "/admin/users").status, 403);
    let good = from(&proxy, "203.0.113.2").header("cookie", "session=good");
    good.get(SHOP, "/admin/users");
    assert_eq!(record(&proxy, &good.get(SHOP, "/admin/users")).identity_kind, "session");
    let guess =
        |number: usize| from(&proxy, "203.0.113.3").header("cookie", &format!("session=guess-{number}"));
    let stopped = (0..30).position(|number| guess(number).get(SHOP, "/admin/users").status == 429);
    assert_eq!(stopped, Some(15));
}

#[test]
fn identities_that_do_not_come_any_more_are_swept_out() {
    let limits = "rate_limit.eviction_interval_secs = 1\nrate_limit.stale_after_secs = 1\n\
                  [rate_limit.unauthenticated]\nburst = 50\nrate = 1000\n";
    let (_backend, proxy) = start(limits, "");
    for number in 0..30 {
        from(&proxy, &format!("203.0.113.{number}")).get(SHOP, "/");
    }
    wait_for_metric(&proxy, "sunbeam_rate_limit_identities", &[], 10.0);
    eventually("they are forgotten", || {
        (proxy.metric("sunbeam_rate_limit_identities", &[]) < 0.5).then_some(())
    });
}
