// SPDX-License-Identifier: Apache-2.0
//! Crawlers: who they are, and what their kind may do (row D10); browsers (row D09).

use std::net::IpAddr;
use std::thread::sleep;
use std::time::Duration;

use sunbeam_testkit::{DnsBehaviour, TestClient, TestDns, TestProxy, TestUpstream, eventually};

use super::{NOBODY_IS_SPARED, SHOP, from, layer, node, record, retry_after, served, shop, wait_for_metric};

const GOOGLEBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

struct Site {
    _backend: TestUpstream,
    proxy: TestProxy,
    dns: TestDns,
}

fn site(config: &str, tables: &str) -> Site {
    let (backend, dns) = (shop(), TestDns::start());
    let config = format!(
        "{NOBODY_IS_SPARED}rate_limit.block_after = 0\nbots.resolvers = [\"{}\"]\n{config}\n\
         [rate_limit.unauthenticated]\nburst = 20\nrate = 0.001\n{tables}",
        dns.address()
    );
    let proxy = node(&backend, &config, "");
    Site { _backend: backend, proxy, dns }
}

fn crawler(proxy: &TestProxy, address: &str, agent: &str) -> TestClient {
    from(proxy, address).header("user-agent", agent)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn eventually_judged(proxy: &TestProxy, client: &TestClient, reason: &str) {
    eventually(reason, || {
        let answer = client.get(SHOP, "/robots");
        (record(proxy, &answer).reason == reason).then_some(())
    });
}

#[test]
fn the_real_crawler_passes_everywhere_and_an_impostor_nowhere() {
    let site = site("", "");
    let (real, fake, liar) = ("198.51.100.1", "198.51.100.2", "198.51.100.3");
    site.dns.name_of(address(real), "crawl-1.googlebot.com");
    site.dns.address_of("crawl-1.googlebot.com", address(real));
    site.dns.name_of(address(fake), "host.evilgooglebot.com");
    site.dns.address_of("host.evilgooglebot.com", address(fake));
    // Reverse DNS that its owner wrote; Google's own zone does not give the address back.
    site.dns.name_of(address(liar), "crawl-2.googlebot.com");
    site.dns.address_of("crawl-2.googlebot.com", address("66.249.66.2"));
    let proxy = &site.proxy;
    let client = |address| crawler(proxy, address, GOOGLEBOT);
    // The first request does not wait for DNS.
    assert_eq!(client(real).get(SHOP, "/").status, 200);
    eventually_judged(proxy, &client(real), "verified_crawler");
    assert_eq!(served(&client(real), "/", 60), 60, "no limit for it");
    for impostor in [fake, liar] {
        client(impostor).get(SHOP, "/");
        eventually(impostor, || (client(impostor).get(SHOP, "/").status == 403).then_some(()));
        let refused = client(impostor).get(SHOP, "/");
        assert_eq!(layer(&record(proxy, &refused)), ("block", "scanner", "fake_crawler"));
    }
    let asked = site.dns.asked().len();
    served(&client(real), "/", 10);
    assert_eq!(site.dns.asked().len(), asked, "answers are remembered, refusals too");
    let bots = proxy.api("GET", "/api/v1/bots", "").json();
    let google = bots["bots"].as_array().unwrap().iter().find(|bot| bot["name"] == "Googlebot").unwrap();
    assert!(google["verified"].as_u64() > Some(60) && google["refuted"].as_u64() >= Some(2), "{google}");
    wait_for_metric(proxy, "sunbeam_crawler_proofs_total", &[("result", "verified")], 1.0);
}

#[test]
fn ranges_prove_without_dns_and_the_operator_may_add_his_own() {
    let site = site(
        "",
        "[[scanner.allowlist]]\nua_prefix = \"Ourbot\"\nreason = \"ours\"\ncidrs = [\"192.0.2.0/28\"]\n\
         [[scanner.allowlist]]\nua_prefix = \"containerd\"\nreason = \"pulls images\"\n",
    );
    let proxy = &site.proxy;
    assert_eq!(served(&crawler(proxy, "66.249.66.1", GOOGLEBOT), "/", 50), 50);
    assert_eq!(served(&crawler(proxy, "192.0.2.3", "Ourbot/1.0"), "/", 50), 50);
    assert_eq!(crawler(proxy, "192.0.2.99", "Ourbot/1.0").get(SHOP, "/").status, 403);
    assert_eq!(served(&crawler(proxy, "198.51.100.9", "containerd/1.7"), "/", 50), 50);
    assert!(site.dns.asked().is_empty());
}

#[test]
fn while_dns_is_down_slow_or_talks_nonsense_a_crawler_is_as_good_as_anybody() {
    for (number, behaviour) in [
        DnsBehaviour::Silent,
        DnsBehaviour::ServFail,
        DnsBehaviour::Garbage,
        DnsBehaviour::Slow(Duration::from_secs(30)),
    ]
    .into_iter()
    .enumerate()
    {
        let site = site("", "");
        site.dns.behave(behaviour);
        let client = crawler(&site.proxy, &format!("198.51.100.{}", 20 + number), GOOGLEBOT);
        assert_eq!(served(&client, "/", 40), 20, "{behaviour:?}: served, with the limits of everybody");
        // Also when it is known that nothing can be known.
        wait_for_metric(&site.proxy, "sunbeam_crawler_proofs_total", &[("result", "unknown")], 1.0);
        let later = record(&site.proxy, &client.get(SHOP, "/"));
        assert_eq!(layer(&later), ("block", "rate_limit", "identity_limit"), "{behaviour:?}");
    }
}

#[test]
fn each_kind_of_crawler_has_its_policy() {
    let site = site("bots.crawl_delay_secs = 2\nbots.search = \"deny\"\nbots.robots_txt = true\n", "");
    let proxy = &site.proxy;
    let training = crawler(proxy, "198.51.100.7", "Mozilla/5.0 (compatible; ClaudeBot/1.0)");
    assert_eq!(training.get(SHOP, "/").status, 200);
    let slow_down = training.get(SHOP, "/");
    assert_eq!((slow_down.status, retry_after(&slow_down)), (429, 2));
    assert_eq!(layer(&record(proxy, &slow_down)), ("block", "scanner", "crawler_too_fast"));
    sleep(Duration::from_secs(2));
    assert_eq!(training.get(SHOP, "/").status, 200);
    let denied = crawler(proxy, "66.249.66.1", GOOGLEBOT);
    assert_eq!(denied.get(SHOP, "/").status, 403);
    let asked_for = crawler(proxy, "198.51.100.8", "Mozilla/5.0 (compatible; ChatGPT-User/1.0)");
    assert_eq!(served(&asked_for, "/", 10), 10);
    // robots.txt is for everybody; the shop has one.
    assert_eq!(denied.get(SHOP, "/robots.txt").text(), "here");
}

#[test]
fn where_the_site_has_no_robots_txt_ours_says_what_the_policies_do() {
    let backend = TestUpstream::with(|_| {
        let mut response = http::Response::new(http_body_util::Full::default());
        *response.status_mut() = http::StatusCode::NOT_FOUND;
        response
    });
    let proxy = node(&backend, "bots.robots_txt = true\nbots.ai_training = \"deny\"\n", "");
    let robots = proxy.client().plain().get(SHOP, "/robots.txt");
    assert_eq!((robots.status, robots.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    assert!(robots.text().contains("User-agent: GPTBot\n") && robots.text().contains("Disallow: /\n"));
    assert_eq!(proxy.client().plain().get(SHOP, "/other").status, 404);
    let without = node(&backend, "", "");
    assert_eq!(without.client().plain().get(SHOP, "/robots.txt").status, 404);
}

#[test]
fn a_browser_is_told_from_others_and_neither_a_cookie_nor_its_headers_open_anything() {
    let site = site("ddos.error_threshold = 10\n", "");
    let proxy = &site.proxy;
    let browser = |address| {
        crawler(proxy, address, "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
            .header("accept", "text/html,application/xhtml+xml")
            .header("accept-language", "de,en;q=0.5")
            .header("cookie", "consent=yes")
    };
    let visit = browser("198.51.100.7").get(SHOP, "/");
    assert_eq!(layer(&record(proxy, &visit)), ("pass", "scanner", "browser"));
    assert!(
        proxy.metric("sunbeam_scanner_decisions_total", &[("decision", "pass"), ("reason", "browser")])
            >= 1.0
    );
    let probe = browser("198.51.100.8");
    let stopped = (0..30).position(|_| probe.get(SHOP, "/missing").status == 429);
    assert_eq!(stopped, Some(10));
    assert_eq!(served(&browser("198.51.100.9"), "/", 40), 20, "and has the limits of everybody");
}

#[test]
fn who_is_blocked_raises_no_questions() {
    let site = site("lists.block = [\"2001:db8:bad::/48\"]\n", "");
    let proxy = &site.proxy;
    for number in 0..60 {
        let listed = crawler(proxy, &format!("2001:db8:bad:{number:x}::1"), GOOGLEBOT);
        assert_eq!(listed.get(SHOP, "/").status, 403);
    }
    assert_eq!(site.dns.asked(), Vec::<String>::new());
    let real = "198.51.100.1";
    site.dns.name_of(address(real), "crawl-1.googlebot.com");
    site.dns.address_of("crawl-1.googlebot.com", address(real));
    eventually_judged(proxy, &crawler(proxy, real, GOOGLEBOT), "verified_crawler");
}
