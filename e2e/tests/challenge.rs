// SPDX-License-Identifier: Apache-2.0
//! Between pass and block: what is doubtful is challenged, by a client without JavaScript and by Chromium (row F05).
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::cell::RefCell;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{Response, header};
use http_body_util::Full;
use serde_json::Value;
use sunbeam_testkit::{
    TestProxy, TestResponse, TestUpstream, eventually, node, peers_folder, raw_exchange, run_client,
};

use crate::judging::{layer, record};
use crate::waf::{HOST, builder, start, text};

const ACCEPT: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// Words that rules doubt, each more than the one before (5 is the threshold, 10 is certain), and one that is certain.
const RULES: &str = r#"
SecRule ARGS "@contains walrus" \
    "id:1000001,phase:2,pass,log,t:none,msg:'A walrus',setvar:'tx.blocking_inbound_anomaly_score=+5'"
SecRule ARGS "@contains badger" \
    "id:1000002,phase:2,pass,log,t:none,msg:'A badger',setvar:'tx.blocking_inbound_anomaly_score=+8'"
SecRule ARGS "@contains otter" \
    "id:1000003,phase:2,pass,log,t:none,msg:'An otter',setvar:'tx.blocking_inbound_anomaly_score=+9'"
SecRule ARGS "@contains wolf" \
    "id:1000004,phase:2,pass,log,t:none,msg:'A wolf',setvar:'tx.blocking_inbound_anomaly_score=+10'"
"#;

/// Tests have any address, and none of them is spared.
const ANYWHERE: &str = "listen.trusted_proxies = [\"127.0.0.1/32\"]\nrate_limit.bypass_cidrs = []\n";

/// A site of pages; `/login` opens a session.
fn site() -> TestUpstream {
    TestUpstream::with(|seen| {
        let mut response =
            Response::new(Full::new(Bytes::from(format!("<p id=ok>served {}</p>", seen.target))));
        response.headers_mut().insert(header::CONTENT_TYPE, "text/html; charset=utf-8".parse().unwrap());
        if seen.target == "/login" {
            response.headers_mut().insert(header::SET_COOKIE, "session=real; Path=/".parse().unwrap());
        }
        response
    })
}

/// A node in front of it that knows already that browsers use it.
fn node_of(backend: &TestUpstream, config: &str, route: &str) -> TestProxy {
    let proxy = start(RULES, backend, &format!("{ANYWHERE}challenge.difficulty = 8\n{config}"), route);
    assert_eq!(Visitor::at(&proxy, "192.0.2.200").get("/").status, 200);
    proxy
}

/// Somebody with a browser that has no JavaScript: it keeps cookies, and goes where the page says.
struct Visitor<'a> {
    proxy: &'a TestProxy,
    address: RefCell<String>,
    agent: RefCell<&'static str>,
    more: Vec<(&'static str, &'static str)>,
    cookies: RefCell<Vec<(String, String)>>,
}

impl<'a> Visitor<'a> {
    fn at(proxy: &'a TestProxy, address: &str) -> Self {
        let address = RefCell::new(address.to_owned());
        Self { proxy, address, agent: RefCell::new(FIREFOX), more: Vec::new(), cookies: RefCell::default() }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.more.push((name, value));
        self
    }

    fn get(&self, target: &str) -> TestResponse {
        let mut client = self.proxy.client().plain().header("x-forwarded-for", &self.address.borrow());
        client = client.header("user-agent", *self.agent.borrow());
        for (name, value) in self
            .more
            .iter()
            .chain(self.more.iter().all(|(name, _)| *name != "accept").then_some(&("accept", ACCEPT)))
        {
            client = client.header(name, value);
        }
        let cookies: Vec<String> =
            self.cookies.borrow().iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            client = client.header("cookie", &cookies.join("; "));
        }
        let answer = client.get(HOST, target);
        for line in answer.headers.get_all("set-cookie") {
            let pair = line.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            let mut cookies = self.cookies.borrow_mut();
            cookies.retain(|(known, _)| known != name);
            cookies.push((name.to_owned(), value.to_owned()));
        }
        answer
    }

    fn forget(&self, name: &str) {
        self.cookies.borrow_mut().retain(|(known, _)| known != name);
    }

    /// Solves what was asked: goes where the page leads until it is let through. The way back, and how long it took.
    fn solve(&self, asked: &TestResponse) -> (TestResponse, Duration) {
        let (begun, mut page) = (Instant::now(), asked.clone());
        loop {
            let (after, next) = refresh(&page).expect("the page leads on");
            std::thread::sleep(after);
            page = self.get(&next);
            if page.status != 403 || refresh(&page).is_none() {
                return (page, begun.elapsed());
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "it never ends: {}", page.text());
        }
    }
}

/// Where a page leads, and after how long.
fn refresh(page: &TestResponse) -> Option<(Duration, String)> {
    let text = page.text();
    let (_, rest) = text.split_once("http-equiv=\"refresh\" content=\"")?;
    let (seconds, rest) = rest.split_once(";url=")?;
    let (url, _) = rest.split_once('"')?;
    Some((Duration::from_secs(seconds.parse().unwrap()), url.to_owned()))
}

#[track_caller]
fn assert_page(proxy: &TestProxy, page: &TestResponse, level: &str) {
    assert_eq!((page.status, page.header("sunbeam-challenge")), (403, Some(level)), "{}", page.text());
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("x-robots-tag"), Some("noindex"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let record = record(proxy, page);
    assert_eq!((record.status, layer(&record)), (403, ("challenge", "waf", "rules")));
}

#[test]
fn without_javascript_a_browser_climbs_the_ladder_and_comes_back_to_where_it_was() {
    let backend = site();
    let proxy = node_of(&backend, "", "");
    for (number, (word, level, pause)) in
        [("walrus", "cookie", 0), ("badger", "wait", 3), ("otter", "work", 15)].into_iter().enumerate()
    {
        let visitor =
            Visitor::at(&proxy, &format!("192.0.2.{number}")).with("accept-language", "de-AT,en;q=0.5");
        let target = format!("/search?q={word}&page=2");
        let before = backend.seen().len();
        let asked = visitor.get(&target);
        assert_page(&proxy, &asked, level);
        assert!(
            asked.text().contains("<html lang=\"de\">") && asked.text().contains("Einen Moment"),
            "{level}"
        );
        assert_eq!(backend.seen().len(), before, "the backend sees nothing of it");
        // Too early is no failure: the same page, for what is left.
        if pause > 0 {
            let (_, next) = refresh(&asked).unwrap();
            let early = visitor.get(&next);
            assert_eq!((early.status, refresh(&early).unwrap().1), (403, next), "{level}");
            let query = record(&proxy, &early).query;
            assert!(
                query.starts_with("sunbeam-ticket=") && query.len() < 40,
                "what it holds stays hidden: {query}"
            );
        }
        let (solved, took) = visitor.solve(&asked);
        assert_eq!((solved.status, solved.header("location")), (303, Some(target.as_str())), "{level}");
        assert!(
            took >= Duration::from_secs(pause) && took < Duration::from_secs(pause + 8),
            "{level}: {took:?}"
        );
        assert!(solved.header("set-cookie").unwrap().contains("HttpOnly; SameSite=Lax"));
        let served = visitor.get(&target);
        assert_eq!((served.status, served.text()), (200, format!("<p id=ok>served {target}</p>")));
        let record = record(&proxy, &served);
        assert_eq!(layer(&record), ("pass", "waf", "challenge_solved"), "{level}");
        let count =
            |result| proxy.metric("sunbeam_challenges_total", &[("result", result), ("level", level)]);
        assert_eq!(["issued", "solved", "passed", "failed"].map(count), [1.0, 1.0, 1.0, 0.0], "{level}");
    }
    // What `why` reads has them under their own word.
    eventually("the decisions", || {
        let found = proxy.api("GET", "/api/v1/decisions?decision=challenge", "").json();
        let all = found["decisions"].as_array()?;
        let is_one = |told: &Value| told["decision"] == "challenge" && told["reason"] == "rules";
        (!all.is_empty() && all.iter().all(is_one)).then_some(())
    });
    // A pass is good for less, and not for more.
    let visitor = Visitor::at(&proxy, "192.0.2.9");
    visitor.solve(&visitor.get("/?q=badger"));
    assert_eq!(visitor.get("/?q=walrus").status, 200);
    assert_page(&proxy, &visitor.get("/?q=otter"), "work");
}

#[test]
fn where_two_layers_doubt_the_worse_doubt_says_what_is_asked() {
    let backend = site();
    let builder = builder(RULES);
    let config = format!("{ANYWHERE}scanner.threshold = 0.2\n");
    let text = text(&builder, &backend, &config, "").replace("scanner.enabled = false\n", "");
    let proxy = builder.config(&text).start();
    let visitor = Visitor::at(&proxy, "192.0.2.10");
    assert_eq!(visitor.get("/").status, 200);
    let probe = visitor.get("/wp-login.php");
    assert_eq!(layer(&record(&proxy, &probe)), ("challenge", "scanner", "probe"));
    assert_ne!(probe.header("sunbeam-challenge"), Some("work"));
    assert_page(&proxy, &visitor.get("/wp-login.php?q=otter"), "work");
}

/// What a page asks a script for.
fn work(page: &TestResponse, difficulty: u32) -> String {
    let text = page.text();
    let (_, rest) = text.split_once("data-work=\"").unwrap();
    let name = rest.split('"').next().unwrap();
    let zeros = |number: &u32| {
        let digest = digest::digest(&digest::SHA256, format!("{name}.{number}").as_bytes());
        u32::from_be_bytes(*digest.as_ref().first_chunk().unwrap()).leading_zeros()
    };
    (0..).find(|number| zeros(number) >= difficulty).unwrap().to_string()
}

#[test]
fn work_that_is_done_needs_no_pause_and_work_that_is_not_is_refused() {
    let (backend, address) = (site(), "192.0.2.1");
    let proxy = node_of(&backend, "", "");
    let visitor = Visitor::at(&proxy, address);
    let asked = visitor.get("/?q=otter");
    let (_, next) = refresh(&asked).unwrap();
    let wrong = visitor.get(&format!("{next}&n=x"));
    assert_eq!((wrong.status, refresh(&wrong)), (403, None));
    let solved = visitor.get(&format!("{next}&n={}", work(&asked, 8)));
    assert_eq!((solved.status, solved.header("location")), (303, Some("/?q=otter")));
    assert_eq!(visitor.get("/?q=otter").status, 200);
    assert_eq!(proxy.metric("sunbeam_challenges_total", &[("result", "failed"), ("level", "work")]), 1.0);
}

#[test]
fn a_solution_is_good_once_and_for_its_browser_alone_but_at_any_address() {
    let backend = site();
    let proxy = node_of(&backend, "", "");
    let visitor = Visitor::at(&proxy, "192.0.2.1");
    let asked = visitor.get("/?q=walrus");
    let (_, next) = refresh(&asked).unwrap();
    // Another browser brings it: it is not its own.
    *visitor.agent.borrow_mut() = "Mozilla/5.0 (another)";
    let other = visitor.get(&next);
    assert_eq!((other.status, other.header("set-cookie"), refresh(&other)), (403, None, None));
    *visitor.agent.borrow_mut() = FIREFOX;
    assert_eq!(visitor.get(&next).header("location"), Some("/?q=walrus"));
    assert_eq!(visitor.get("/?q=walrus").status, 200);
    // The network changes, IPv4 and IPv6 come in turn: it is the same browser.
    for address in ["2001:db8::1", "192.0.2.1", "198.51.100.7", "2001:db8:9::1"] {
        visitor.address.replace(address.to_owned());
        assert_eq!(visitor.get("/?q=walrus").status, 200, "{address}");
    }
    *visitor.agent.borrow_mut() = "Mozilla/5.0 (another)";
    assert_page(&proxy, &visitor.get("/?q=walrus"), "cookie");
    // Once more without the pass: back, with nothing.
    *visitor.agent.borrow_mut() = FIREFOX;
    visitor.forget("sunbeam-pass");
    let (again, seen) = (visitor.get("/?q=walrus"), visitor.get(&next));
    assert_page(&proxy, &again, "cookie");
    assert_eq!((seen.status, seen.header("set-cookie")), (303, None));
    assert_eq!(proxy.metric("sunbeam_challenges_total", &[("result", "replayed")]), 1.0);
    // A forged ticket, and one that was changed.
    let forged = next.replacen("?sunbeam-ticket=", "?sunbeam-ticket=AAAA", 1);
    for wrong in
        [forged.as_str(), "/.well-known/sunbeam/challenge", "/.well-known/sunbeam/challenge?sunbeam-ticket=x"]
    {
        let answer = visitor.get(wrong);
        assert_eq!((answer.status, answer.header("set-cookie")), (403, None), "{wrong}");
    }
    visitor.cookies.borrow_mut().push(("sunbeam-pass".into(), "A".repeat(83)));
    assert_page(&proxy, &visitor.get("/?q=walrus"), "cookie");
}

#[test]
fn without_cookies_nobody_goes_round_in_circles() {
    let backend = site();
    let proxy = node_of(&backend, "", "");
    let visitor = Visitor::at(&proxy, "192.0.2.1");
    let (_, next) = refresh(&visitor.get("/?q=walrus")).unwrap();
    visitor.cookies.borrow_mut().clear();
    let told = visitor.get(&next);
    assert_eq!((told.status, refresh(&told), told.header("set-cookie")), (403, None, None));
    assert!(told.text().contains("cookie") && told.text().contains("href=\"/?q=walrus\""), "{}", told.text());
}

#[test]
fn the_way_back_never_leads_to_another_host() {
    let backend = site();
    let proxy = node_of(&backend, "", "");
    let visitor = Visitor::at(&proxy, "192.0.2.1");
    let asked = visitor.get("//docs/page?q=walrus");
    assert_page(&proxy, &asked, "cookie");
    assert_eq!(visitor.solve(&asked).0.header("location"), Some("/"));
}

/// A name, a method, header fields.
type Client = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// They can do nothing with a page.
const NO_BROWSERS: [Client; 8] = [
    ("an API client", "GET", &[("accept", "application/json")]),
    ("curl", "GET", &[("accept", "*/*")]),
    ("a feed reader", "GET", &[("accept", "application/rss+xml, text/html;q=0.5")]),
    ("a page's script", "GET", &[("accept", ACCEPT), ("sec-fetch-mode", "cors")]),
    ("a frame", "GET", &[("accept", ACCEPT), ("sec-fetch-dest", "iframe")]),
    ("an app", "GET", &[("accept", ACCEPT), ("authorization", "Bearer x")]),
    ("a form", "POST", &[("accept", ACCEPT)]),
    ("XMLHttpRequest", "GET", &[("accept", ACCEPT), ("x-requested-with", "XMLHttpRequest")]),
];

const PREFLIGHT: [(&str, &str); 3] =
    [("accept", ACCEPT), ("origin", "https://a.example"), ("access-control-request-method", "PUT")];

fn ask(proxy: &TestProxy, method: &str, headers: &[(&str, &str)]) -> TestResponse {
    let mut client = proxy.client().plain().header("x-forwarded-for", "192.0.2.1").method(method);
    for (name, value) in headers {
        client = client.header(name, value);
    }
    client.get(HOST, "/?q=walrus")
}

fn open_websocket(proxy: &TestProxy) -> String {
    let request = format!(
        "GET /?q=walrus HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: 192.0.2.1\r\nAccept: {ACCEPT}\r\n\
         Upgrade: websocket\r\nConnection: upgrade, close\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    raw_exchange(proxy.http(), request.as_bytes())
}

#[test]
fn who_is_no_browser_is_never_given_a_page() {
    let backend = site();
    let proxy = node_of(&backend, "", "");
    for (name, method, headers) in NO_BROWSERS.into_iter().chain([("a preflight", "OPTIONS", &PREFLIGHT[..])])
    {
        let answer = ask(&proxy, method, headers);
        assert_eq!((answer.status, answer.header("sunbeam-challenge")), (200, None), "{name}");
        assert_eq!(
            layer(&record(&proxy, &answer)),
            ("observe", "waf", "rules"),
            "{name}: as before, watched"
        );
    }
    let socket = open_websocket(&proxy);
    assert!(socket.starts_with("HTTP/1.1 200") && !socket.contains("sunbeam-challenge"), "{socket}");
    assert_eq!(proxy.metric("sunbeam_challenges_total", &[]), 0.0);
}

#[test]
fn where_a_route_demands_it_they_are_told_honestly() {
    let backend = site();
    let proxy = node_of(&backend, "", "protect = { challenge = \"require\" }");
    for (name, method, headers) in NO_BROWSERS {
        let answer = ask(&proxy, method, headers);
        assert_eq!((answer.status, answer.header("sunbeam-challenge")), (403, Some("cookie")), "{name}");
        assert!(refresh(&answer).is_none(), "{name}: no page that asks: {}", answer.text());
        assert_eq!(layer(&record(&proxy, &answer)), ("challenge", "waf", "rules"), "{name}");
    }
    let json = ask(&proxy, "GET", &[("accept", "application/json")]).json();
    assert_eq!(json["error"], "forbidden");
    let socket = open_websocket(&proxy).to_ascii_lowercase();
    assert!(socket.starts_with("http/1.1 403") && socket.contains("sunbeam-challenge: cookie"), "{socket}");
    assert_eq!(ask(&proxy, "OPTIONS", &PREFLIGHT).status, 200, "a preflight can show nothing");
    assert_page(&proxy, &Visitor::at(&proxy, "192.0.2.1").get("/?q=walrus"), "cookie");
}

#[test]
fn whom_a_challenge_keeps_out_an_exception_lets_in() {
    let backend = site();
    let proxy = node_of(&backend, "", "protect = { challenge = \"require\" }");
    let api = || ask(&proxy, "GET", &[("accept", "application/json")]);
    let id = api().header("x-request-id").unwrap().to_owned();
    let page = format!("/api/v1/decisions/{id}");
    let told =
        eventually("it is kept", || Some(proxy.api("GET", &page, "")).filter(|told| told.status == 200));
    assert_eq!(told.json()["remedy"], format!("sunbeam allow {id}"), "{}", told.text());
    let made = proxy.api("POST", "/api/v1/exceptions", &format!("{{\"from\": \"{id}\"}}"));
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(api().status, 200);
}

#[test]
fn an_attack_stays_blocked_whatever_was_solved() {
    let backend = site();
    let proxy = node_of(&backend, "", "");
    let visitor = Visitor::at(&proxy, "192.0.2.1");
    let asked = visitor.get("/?q=otter");
    let (_, next) = refresh(&asked).unwrap();
    assert_eq!(visitor.get(&format!("{next}&n={}", work(&asked, 8))).status, 303);
    assert_eq!(visitor.get("/?q=otter").status, 200);
    let attack = visitor.get("/?q=wolf");
    assert_eq!((attack.status, attack.header("sunbeam-challenge")), (403, None));
    assert_eq!(layer(&record(&proxy, &attack)), ("block", "waf", "rules"));
    // Nor is it offered a challenge without a pass.
    let attack = Visitor::at(&proxy, "192.0.2.2").get("/?q=wolf+walrus");
    assert_eq!((attack.status, attack.header("sunbeam-challenge")), (403, None));
}

#[test]
fn a_pass_that_is_handed_round_makes_one_person() {
    let backend = site();
    let proxy = node_of(&backend, "", "");
    let visitor = Visitor::at(&proxy, "192.0.2.1");
    visitor.solve(&visitor.get("/?q=walrus"));
    for network in 0..8 {
        for host in 1..9 {
            *visitor.address.borrow_mut() = format!("198.51.{network}.{host}");
            assert_eq!(visitor.get("/?q=walrus").status, 200);
        }
    }
    let told = proxy.api("GET", "/api/v1/layers", "").json();
    let proofs = told["layers"].as_array().unwrap().iter().filter(|told| !told["proof"].is_null());
    let newcomers: Vec<u64> = proofs.map(|told| told["proof"]["newcomers"].as_u64().unwrap()).collect();
    assert_eq!(newcomers, [1, 1, 1]);
}

#[test]
fn one_address_solves_so_many_a_day() {
    let backend = site();
    let proxy = node_of(&backend, "challenge.per_address_solves = 2\n", "");
    let solve = |address: &str| {
        let visitor = Visitor::at(&proxy, address);
        visitor.solve(&visitor.get("/?q=walrus")).0
    };
    assert_eq!([solve("192.0.2.1").status, solve("192.0.2.1").status], [303, 303]);
    let capped = solve("192.0.2.1");
    let secs: u64 = capped.header("retry-after").unwrap().parse().unwrap();
    assert_eq!((capped.status, capped.header("set-cookie")), (429, None));
    assert!((1..=86_400).contains(&secs), "{secs}");
    assert_eq!(solve("192.0.2.2").status, 303, "its neighbour may");
    assert_eq!(proxy.metric("sunbeam_challenges_total", &[("result", "capped")]), 1.0);
}

#[test]
fn nobody_is_asked_where_it_is_off_where_there_are_no_pages_and_whom_the_site_knows() {
    let backend = site();
    let watched = |proxy: &TestProxy, visitor: &Visitor<'_>, why: &str| {
        let answer = visitor.get("/?q=walrus");
        assert_eq!(answer.status, 200, "{why}");
        assert_eq!(layer(&record(proxy, &answer)), ("observe", "waf", "rules"), "{why}");
    };
    for (config, route) in [
        ("challenge.enabled = \"off\"\n", ""),
        ("", "protect = { challenge = \"off\" }"),
        ("waf.mode = \"observe\"\n", ""),
        ("rate_limit.bypass_cidrs = [\"192.0.2.0/24\"]\n", ""),
    ] {
        let config =
            format!("{config}challenge.difficulty = 8\nlisten.trusted_proxies = [\"127.0.0.1/32\"]\n");
        let config = if config.contains("bypass") {
            config
        } else {
            format!("{config}rate_limit.bypass_cidrs = []\n")
        };
        let proxy = start(RULES, &backend, &config, route);
        let visitor = Visitor::at(&proxy, "192.0.2.1");
        assert_eq!(visitor.get("/").status, 200);
        watched(&proxy, &visitor, &format!("{config}{route}"));
    }
    let api = TestUpstream::echo();
    let proxy = start(RULES, &api, ANYWHERE, "");
    let visitor = Visitor::at(&proxy, "192.0.2.1");
    assert_eq!(visitor.get("/").status, 200);
    watched(&proxy, &visitor, "no page has come from there");
    let proxy = node_of(&backend, "", "");
    let visitor = Visitor::at(&proxy, "192.0.2.1");
    assert_page(&proxy, &visitor.get("/?q=walrus"), "cookie");
    visitor.get("/login");
    assert_page(&proxy, &visitor.get("/?q=walrus"), "cookie");
    let proxy = node_of(&backend, "rate_limit.login_cookies = [\"session\"]\n", "");
    let visitor = Visitor::at(&proxy, "192.0.2.1");
    visitor.get("/login");
    watched(&proxy, &visitor, "the site sets its session at a log-in, as the configuration says");
    let crawler = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
    let (real, claimed) = (Visitor::at(&proxy, "66.249.66.1"), Visitor::at(&proxy, "192.0.2.7"));
    for crawling in [&real, &claimed] {
        *crawling.agent.borrow_mut() = crawler;
    }
    watched(&proxy, &real, "a crawler that is who it says");
    assert_page(&proxy, &claimed.get("/?q=walrus"), "cookie");
}

#[test]
fn nodes_with_one_secret_take_each_other_s_passes_and_others_do_not() {
    let backend = site();
    let node = |secret: &str| node_of(&backend, &format!("challenge.secret = \"{secret}\"\n"), "");
    let (shared, other) =
        ("a secret that two nodes of one site share", "a secret of somebody else's, as long as it");
    let nodes = [node(shared), node(shared), node(other)];
    let visitor = Visitor::at(&nodes[0], "192.0.2.1");
    let asked = visitor.get("/?q=walrus");
    // Asked by one, solved at the other, served by both.
    let elsewhere = |proxy| {
        let moved = Visitor::at(proxy, "192.0.2.1");
        moved.cookies.replace(visitor.cookies.borrow().clone());
        moved
    };
    let second = elsewhere(&nodes[1]);
    assert_eq!(second.solve(&asked).0.header("location"), Some("/?q=walrus"));
    visitor.cookies.replace(second.cookies.borrow().clone());
    assert_eq!([visitor.get("/?q=walrus").status, second.get("/?q=walrus").status], [200, 200]);
    assert_page(&nodes[2], &elsewhere(&nodes[2]).get("/?q=walrus"), "cookie");
}

#[test]
fn what_a_route_sets_on_answers_does_not_break_the_page_and_a_reload_keeps_passes() {
    let backend = site();
    let headers = "response_headers = [\
        { name = \"content-security-policy\", value = \"default-src 'self'\" },\
        { name = \"x-frame-options\", value = \"DENY\" }]";
    let proxy = node_of(&backend, "", headers);
    let visitor = Visitor::at(&proxy, "192.0.2.1");
    let asked = visitor.get("/?q=walrus");
    assert_page(&proxy, &asked, "cookie");
    assert_eq!(asked.header("x-frame-options"), Some("DENY"));
    visitor.solve(&asked);
    let text = std::fs::read_to_string(proxy.config_path()).unwrap();
    proxy.reload(&format!("telemetry.log_level = \"warn\"\n{text}")).unwrap();
    assert_eq!(visitor.get("/?q=walrus").status, 200);
    assert_page(&proxy, &Visitor::at(&proxy, "192.0.2.2").get("/?q=walrus"), "cookie");
}

/// What Chromium sees of a page of the site.
fn chromium(proxy: &TestProxy, target: &str, more: &[&str]) -> Value {
    let mut command = node();
    command
        .arg(peers_folder().join("browser.mjs"))
        .arg(format!("https://{HOST}{target}"))
        .args(["--insecure", "--wait-selector", "#ok", "--timeout", "40000"])
        .args(["--host-resolver-rules", &format!("MAP {HOST} {}", proxy.https())])
        .args(more);
    let (complete, told) = run_client(&mut command);
    assert!(complete, "{told:#}");
    told
}

#[test]
fn chromium_gets_to_the_page_with_javascript_and_without() {
    let backend = site();
    // Not behind a proxy: what its TLS looks like counts.
    let proxy = start(RULES, &backend, "rate_limit.bypass_cidrs = []\n", "");
    chromium(&proxy, "/", &[]);
    for (target, level, more) in [
        ("/?q=otter", "work", &[][..]),
        ("/?q=walrus", "cookie", &[][..]),
        ("/?q=badger", "wait", &["--no-javascript"][..]),
        ("/?q=otter", "work", &["--no-javascript"][..]),
    ] {
        let solved = || proxy.metric("sunbeam_challenges_total", &[("result", "solved"), ("level", level)]);
        let (before, begun) = (solved(), Instant::now());
        let told = chromium(&proxy, target, more);
        let took = begun.elapsed();
        assert_eq!(told["dom"]["#ok"], format!("served {target}"), "{told:#}");
        assert_eq!(solved(), before + 1.0, "{target} {more:?}");
        let policy =
            |error: &Value| error.as_str().is_some_and(|error| error.contains("Content Security Policy"));
        assert!(!told["console_errors"].as_array().unwrap().iter().any(policy), "{told:#}");
        // With JavaScript it is the work that opens, not the pause.
        if level == "work" {
            assert_eq!(took > Duration::from_secs(15), !more.is_empty(), "{more:?} took {took:?}");
        }
    }
}
