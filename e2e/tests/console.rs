// SPDX-License-Identifier: Apache-2.0
//! The console: logging in to it, what a browser makes of it, and who is kept out.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sunbeam_testkit::{
    TestProxy, TestResponse, TestUpstream, connect_from, eventually, eventually_within, exchange, node,
    peers_folder, run_client,
};

const HOST: &str = "shop.example.test";
const ATTACK: &str = "/list?q=1%27+UNION+SELECT+password+FROM+users--+-";

fn start(more: &str) -> (TestUpstream, TestProxy) {
    let backend = TestUpstream::echo();
    let route = format!(
        "{more}\n[[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\ndisable_secure_redirection = true\n",
        backend.url()
    );
    let proxy = TestProxy::builder().config(&route).start();
    (backend, proxy)
}

pub(crate) fn address(proxy: &TestProxy) -> SocketAddr {
    proxy.node().management_address().unwrap()
}

/// The path of a fresh link.
pub(crate) fn link(proxy: &TestProxy) -> String {
    let answer = proxy.api("POST", "/api/v1/login-links", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["path"].as_str().unwrap().to_owned()
}

/// Both halves of a session.
struct Session {
    cookie: String,
    proof: String,
}

fn log_in(proxy: &TestProxy, path: &str) -> Result<Session, Box<TestResponse>> {
    let host = address(proxy).to_string();
    let secret = path.split_once('#').unwrap().1;
    let client = proxy.api_client().method("POST").header("origin", &format!("http://{host}"));
    let answer = client.body(json!({"secret": secret}).to_string()).get(&host, "/api/v1/session");
    if answer.status != 200 {
        return Err(Box::new(answer));
    }
    let set = answer.header("set-cookie").unwrap().to_owned();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/api/", "Max-Age=43200"] {
        assert!(set.contains(attribute), "{attribute}: {set}");
    }
    let proof = answer.json()["proof"].as_str().unwrap().to_owned();
    Ok(Session { cookie: set.split(';').next().unwrap().to_owned(), proof })
}

/// One call with a session, its headers changed by `change`: name and value, an empty value leaves it out.
fn call(
    proxy: &TestProxy,
    session: &Session,
    method: &str,
    target: &str,
    change: &[(&str, &str)],
) -> TestResponse {
    let host = address(proxy).to_string();
    let own = format!("http://{host}");
    let mut headers =
        vec![("cookie", &*session.cookie), ("x-sunbeam-csrf", &*session.proof), ("origin", &*own)];
    headers.retain(|(name, _)| change.iter().all(|(changed, _)| changed != name));
    headers.extend(change.iter().copied().filter(|(_, value)| !value.is_empty()));
    let mut client = proxy.api_client().method(method).body(json!({"ip": "198.51.100.66"}).to_string());
    for (name, value) in headers {
        client = client.header(name, value);
    }
    client.get(&host, target)
}

#[test]
fn a_link_logs_in_once_and_only_the_token_makes_links() {
    let (_backend, proxy) = start("");
    let path = link(&proxy);
    let (page, secret) = path.split_once('#').unwrap();
    assert!(page == "/console/login" && secret.len() >= 43, "{path}");
    let session = log_in(&proxy, &path).unwrap_or_else(|answer| panic!("{}", answer.text()));
    let again = log_in(&proxy, &path).err().unwrap();
    assert!(again.status == 401 && again.text().contains("sunbeam login"), "{}", again.text());
    assert_eq!(call(&proxy, &session, "GET", "/api/v1/status", &[]).status, 200);
    assert_eq!(
        call(&proxy, &session, "POST", "/api/v1/login-links", &[]).status,
        403,
        "a session makes no other"
    );
    assert_eq!(proxy.metric("sunbeam_console_logins_total", &[("result", "ok")]), 1.0);
    assert_eq!(proxy.metric("sunbeam_console_logins_total", &[("result", "refused")]), 1.0);
    // Another application on this host has set a cookie of the same name, and the browser sends it first.
    let name = session.cookie.split('=').next().unwrap();
    let both = format!("{name}=x; {}", session.cookie);
    assert_eq!(call(&proxy, &session, "GET", "/api/v1/status", &[("cookie", &both)]).status, 200);
    // Logged out, both halves are worth nothing.
    assert_eq!(call(&proxy, &session, "DELETE", "/api/v1/session", &[]).status, 200);
    assert_eq!(call(&proxy, &session, "GET", "/api/v1/status", &[]).status, 401);
    // Without anything.
    let host = address(&proxy).to_string();
    assert_eq!(proxy.api_client().method("POST").get(&host, "/api/v1/login-links").status, 401);
    assert_eq!(proxy.api_client().get(&host, "/api/v1/decisions").status, 401);
    let who = proxy.api_client().get(&host, "/api/v1/session");
    assert_eq!((who.status, &who.json()["name"]), (200, &Value::Null));
}

#[test]
fn a_session_needs_its_cookie_its_proof_and_its_own_page() {
    let (_backend, proxy) = start("");
    let session = log_in(&proxy, &link(&proxy)).unwrap_or_else(|answer| panic!("{}", answer.text()));
    let block = |change: &[(&str, &str)]| call(&proxy, &session, "POST", "/api/v1/blocklist", change).status;
    for (name, change, want) in [
        ("no cookie", ("cookie", ""), 401),
        ("no proof", ("x-sunbeam-csrf", ""), 401),
        ("a guess", ("x-sunbeam-csrf", "1"), 401),
        ("no page", ("origin", ""), 403),
        ("another port's page", ("origin", "http://127.0.0.1:1"), 403),
        ("a hidden page", ("origin", "null"), 403),
        ("another site, says the browser", ("sec-fetch-site", "same-site"), 403),
    ] {
        assert_eq!(block(&[change]), want, "{name}");
    }
    let host = [("host", "console.example.test:9999")];
    assert_eq!(call(&proxy, &session, "GET", "/api/v1/status", &host).status, 403, "a name that was rebound");
    assert_eq!(proxy.api("GET", "/api/v1/blocklist", "").json()["total"], 0, "none of that blocked anybody");
    assert_eq!(block(&[]), 200);
    assert_eq!(proxy.api("GET", "/api/v1/blocklist", "").json()["total"], 1);
}

/// Each call of the API's description, its path's parts filled in; with whether it needs the token itself.
fn described() -> Vec<(String, String, bool)> {
    let description: Value = serde_json::from_str(sunbeam_proxy::OPENAPI).unwrap();
    let mut calls = Vec::new();
    for (path, page) in description["paths"].as_object().unwrap() {
        for (method, operation) in page.as_object().unwrap() {
            if operation["security"] == json!([]) {
                continue;
            }
            let needs_token = operation["security"] == json!([{"token": []}]);
            let filled: Vec<&str> =
                path.split('/').map(|part| if part.starts_with('{') { "nothing" } else { part }).collect();
            calls.push((method.to_uppercase(), filled.join("/"), needs_token));
        }
    }
    calls
}

#[test]
fn a_session_changes_neither_the_configuration_nor_what_it_may_itself() {
    let (_backend, proxy) = start("");
    let session = log_in(&proxy, &link(&proxy)).unwrap_or_else(|answer| panic!("{}", answer.text()));
    let running = || proxy.api("GET", "/api/v1/config", "").json();
    let before = running();
    let mut refused = Vec::new();
    // Events have no end.
    for (method, path, needs_token) in described().into_iter().filter(|(_, path, _)| path != "/api/v1/events")
    {
        let answer = call(&proxy, &session, &method, &path, &[]);
        assert_eq!(answer.status == 403, needs_token, "{method} {path}: {} {}", answer.status, answer.text());
        if needs_token {
            assert!(answer.text().contains("the node's token"), "{method} {path}: {}", answer.text());
            refused.push(format!("{method} {path}"));
        }
    }
    for page in ["config/apply", "config/reload", "config/rollback", "models/install", "rules", "login-links"]
    {
        assert!(refused.contains(&format!("POST /api/v1/{page}")), "{page}: {refused:?}");
    }
    // As somebody would who has stolen it: a token of their own, and the disk to read.
    let text = format!(
        "management.token = \"a-token-of-a-thief\"\n{}",
        before["toml"].as_str().unwrap().replace("[[routes]]", "[[routes]]\nstatic_root = \"/etc\"")
    );
    let host = address(&proxy).to_string();
    let applied = proxy
        .api_client()
        .method("POST")
        .header("cookie", &session.cookie)
        .header("x-sunbeam-csrf", &session.proof)
        .header("origin", &format!("http://{host}"))
        .body(text)
        .get(&host, "/api/v1/config/apply");
    assert_eq!(applied.status, 403, "{}", applied.text());
    assert_eq!(running(), before);
    // That somebody tried is written down.
    let trail = proxy.api("GET", "/api/v1/trail", "").json();
    let newest = &trail["changes"][0];
    assert_eq!((&newest["what"], &newest["status"]), (&json!("POST /api/v1/config/apply"), &json!(403)));
    assert!(newest["who"].as_str().unwrap().starts_with("console "), "{newest}");
}

/// Watches events with a session or the token until the stream ends.
fn watch(proxy: &TestProxy, headers: &str) -> std::thread::JoinHandle<()> {
    let address = address(proxy);
    let request = format!("GET /api/v1/events HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    std::thread::spawn(move || drop(std::io::copy(&mut stream, &mut std::io::sink())))
}

#[test]
fn events_end_with_the_session_or_the_token_that_asked_for_them() {
    let (_backend, proxy) = start("management.token = \"a-token-of-the-test\"\n");
    let host = address(&proxy).to_string();
    let opened = || {
        let client = proxy.api_client().method("POST").header("authorization", "Bearer a-token-of-the-test");
        let path = client.get(&host, "/api/v1/login-links").json()["path"].as_str().unwrap().to_owned();
        log_in(&proxy, &path).unwrap_or_else(|answer| panic!("{}", answer.text()))
    };
    let both =
        |session: &Session| format!("Cookie: {}\r\nX-Sunbeam-CSRF: {}\r\n", session.cookie, session.proof);
    let ends = |why: &str, watching: std::thread::JoinHandle<()>| {
        eventually(why, || watching.is_finished().then_some(()));
    };
    let by_token = watch(&proxy, "Authorization: Bearer a-token-of-the-test\r\n");
    let (leaver, moved, other) = (opened(), opened(), opened());
    let [of_leaver, of_moved, of_other] = [&leaver, &moved, &other].map(|one| watch(&proxy, &both(one)));
    assert_eq!(call(&proxy, &leaver, "DELETE", "/api/v1/session", &[]).status, 200);
    ends("it is logged out", of_leaver);
    let stolen =
        format!("GET /api/v1/status HTTP/1.1\r\nHost: {host}\r\n{}Connection: close\r\n\r\n", both(&moved));
    let thief = connect_from(IpAddr::from([127, 0, 0, 2]), address(&proxy));
    assert!(exchange(thief, stolen.as_bytes()).starts_with("HTTP/1.1 401"));
    ends("it was used from elsewhere", of_moved);
    assert!(!of_other.is_finished() && !by_token.is_finished(), "others watch on");
    let config = fs::read_to_string(proxy.config_path()).unwrap();
    proxy.reload(&config.replace("a-token-of-the-test", "another-token-of-it")).unwrap();
    ends("the token is another", by_token);
    ends("and with it go all sessions", of_other);
}

#[test]
fn a_change_whose_asker_hangs_up_is_made_and_in_the_trail() {
    const ROUTES: usize = 6;
    const LAYERS: [&str; 4] = ["ddos", "scanner", "rate_limit", "waf"];
    let routes: String = (0..ROUTES)
        .map(|number| format!("[[routes]]\nhost_prefix = \"r{number}\"\nbackend = \"http://127.0.0.1:9\"\n"))
        .collect();
    let proxy = TestProxy::builder().config(&routes).start();
    let token = fs::read_to_string(proxy.node().token_path().unwrap()).unwrap();
    let ask = |layer: &str, route: usize| {
        let body = json!({"layer": layer, "route": format!("r{route}"), "mode": "observe"}).to_string();
        let request = format!(
            "POST /api/v1/layers HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
            address(&proxy),
            token.trim(),
            body.len()
        );
        let mut stream = TcpStream::connect(address(&proxy)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let made = || {
        let told = proxy.api("GET", "/api/v1/layers", "").json();
        let layers = told["layers"].as_array().unwrap().iter();
        layers.map(|layer| layer["routes"].as_array().unwrap().len()).sum::<usize>()
    };
    let mut asked: Vec<TcpStream> =
        LAYERS.iter().flat_map(|layer| (0..ROUTES).map(|route| ask(layer, route))).collect();
    // One change at a time: while the first is made, the others wait for it.
    eventually("they are under way", || (made() > 0).then_some(()));
    asked.clear();
    eventually("all are made, and each is written down", || {
        let trail = proxy.api("GET", "/api/v1/trail", "").json();
        let lines = trail["changes"].as_array().unwrap().iter();
        let written = lines.filter(|line| line["what"] == "POST /api/v1/layers" && line["status"] == 200);
        ((made(), written.count()) == (LAYERS.len() * ROUTES, LAYERS.len() * ROUTES)).then_some(())
    });
}

#[test]
fn a_session_that_is_used_from_another_address_ends() {
    let (_backend, proxy) = start("");
    let session = log_in(&proxy, &link(&proxy)).unwrap_or_else(|answer| panic!("{}", answer.text()));
    assert_eq!(call(&proxy, &session, "GET", "/api/v1/status", &[]).status, 200);
    let stolen = format!(
        "GET /api/v1/status HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\nX-Sunbeam-CSRF: {}\r\nConnection: close\r\n\r\n",
        address(&proxy),
        session.cookie,
        session.proof
    );
    let thief = connect_from(IpAddr::from([127, 0, 0, 2]), address(&proxy));
    let answer = exchange(thief, stolen.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("another address"), "{answer}");
    assert_eq!(call(&proxy, &session, "GET", "/api/v1/status", &[]).status, 401, "for its owner, too");
    assert_eq!(proxy.metric("sunbeam_console_logins_total", &[("result", "elsewhere")]), 1.0);
}

#[test]
fn every_change_is_in_the_trail_with_who_and_from_where() {
    let (_backend, proxy) = start("");
    let session = log_in(&proxy, &link(&proxy)).unwrap_or_else(|answer| panic!("{}", answer.text()));
    assert_eq!(call(&proxy, &session, "POST", "/api/v1/blocklist", &[]).status, 200);
    assert_eq!(proxy.api("DELETE", "/api/v1/blocklist/198.51.100.66", "").status, 200);
    assert_eq!(proxy.api("DELETE", "/api/v1/blocklist/198.51.100.66", "").status, 404);
    proxy.api("POST", "/api/v1/config/validate", "");
    let trail = proxy.api("GET", "/api/v1/trail", "").json();
    let lines: Vec<(String, String, u64)> = trail["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["what"] != "log-in")
        .map(|line| {
            assert_eq!(line["from"], "127.0.0.1", "{line}");
            let who = line["who"].as_str().unwrap().split(' ').next().unwrap();
            (who.to_owned(), line["what"].as_str().unwrap().to_owned(), line["status"].as_u64().unwrap())
        })
        .collect();
    let line = |who: &str, what: &str, status| (who.to_owned(), what.to_owned(), status);
    assert_eq!(
        lines,
        [
            line("token", "DELETE /api/v1/blocklist/198.51.100.66", 404),
            line("token", "DELETE /api/v1/blocklist/198.51.100.66", 200),
            line("console", "POST /api/v1/blocklist", 200),
            line("token", "POST /api/v1/login-links", 200),
        ],
        "newest first; what only asks is not in it"
    );
    let text = fs::read_to_string(proxy.folder().join("audit-trail.jsonl")).unwrap();
    assert!(text.contains("sunbeam unblock 198.51.100.66"), "how to undo it: {text}");
    for secret in [&session.proof, session.cookie.split_once('=').unwrap().1] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(!text.contains("login#"), "no link: {text}");
}

#[test]
fn a_log_in_is_on_the_disk_before_it_is_answered() {
    let (_backend, proxy) = start("");
    let lines = |what: &str| {
        let text = fs::read_to_string(proxy.folder().join("audit-trail.jsonl")).unwrap();
        text.lines().filter(|line| line.contains(&format!("\"what\":\"{what}\""))).count()
    };
    for count in 1..=10 {
        let session = log_in(&proxy, &link(&proxy)).unwrap_or_else(|answer| panic!("{}", answer.text()));
        assert_eq!(lines("log-in"), count);
        assert_eq!(call(&proxy, &session, "DELETE", "/api/v1/session", &[]).status, 200);
        assert_eq!(lines("log-out"), count);
    }
}

#[test]
fn the_console_can_be_off_and_a_new_token_ends_its_sessions() {
    let (_backend, proxy) = start("management.console = false\n");
    let host = address(&proxy).to_string();
    assert_eq!(proxy.api_client().get(&host, "/console/").status, 404);
    let refused = proxy.api("POST", "/api/v1/login-links", "");
    assert!(refused.status == 404 && refused.text().contains("management.console"), "{}", refused.text());

    let (_backend, proxy) = start("management.token = \"a-token-of-the-test\"\n");
    let host = address(&proxy).to_string();
    let with = |token: &str| {
        let client = proxy.api_client().method("POST").header("authorization", &format!("Bearer {token}"));
        client.get(&host, "/api/v1/login-links")
    };
    let path = with("a-token-of-the-test").json()["path"].as_str().unwrap().to_owned();
    let session = log_in(&proxy, &path).unwrap_or_else(|answer| panic!("{}", answer.text()));
    let config = fs::read_to_string(proxy.config_path()).unwrap();
    proxy.reload(&config.replace("a-token-of-the-test", "another-token-of-it")).unwrap();
    assert_eq!(call(&proxy, &session, "GET", "/api/v1/status", &[]).status, 401);
    assert_eq!((with("a-token-of-the-test").status, with("another-token-of-it").status), (401, 200));
}

#[test]
fn the_page_is_compressed_has_a_strict_policy_and_is_not_sent_twice() {
    let (_backend, proxy) = start("");
    let host = address(&proxy).to_string();
    let mut whole = 0;
    for file in ["", "app.js", "app.css", "icon.svg"] {
        let get = |headers: &[(&str, &str)]| {
            let mut client = proxy.api_client();
            for (name, value) in headers {
                client = client.header(name, value);
            }
            client.get(&host, &format!("/console/{file}"))
        };
        let plain = get(&[]);
        assert_eq!((plain.status, plain.header("content-encoding")), (200, None), "{file}");
        let policy = plain.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]
        {
            assert!(policy.contains(part), "{file}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(plain.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(plain.header("cross-origin-resource-policy"), Some("same-origin"));
        let small = get(&[("accept-encoding", "gzip, deflate, br, zstd")]);
        assert_eq!(small.header("content-encoding"), Some("br"), "{file}");
        whole += small.body.len();
        let tag = plain.header("etag").unwrap();
        let again = get(&[("if-none-match", tag)]);
        assert_eq!((again.status, again.body.len()), (304, 0), "{file}");
    }
    assert!(whole <= 60_000, "{whole} bytes");
    assert_eq!(proxy.api_client().get(&host, "/console/nothing").status, 404);
    assert_eq!(proxy.api_client().get(&host, "/").header("location"), Some("/console/"));
    assert_eq!(
        proxy.api_client().get("console.example.test", "/console/").status,
        403,
        "a name that was rebound"
    );
}

#[test]
fn the_newest_decisions_are_counted_by_what_they_share() {
    let (_backend, proxy) = start("listen.trusted_proxies = [\"127.0.0.1/32\"]\n");
    for client in ["192.0.2.1", "192.0.2.9", "2001:db8::1"] {
        proxy.client().header("x-forwarded-for", client).get(HOST, ATTACK);
    }
    proxy.client().get(HOST, "/hello");
    let top = eventually("all of them are kept", || {
        let top = proxy.api("GET", "/api/v1/top", "").json();
        (top["decisions"] == 4).then_some(top)
    });
    assert_eq!(top["networks"][0], json!({"name": "192.0.2.0/24", "blocked": 2, "observed": 0}), "{top}");
    assert!(top["networks"].to_string().contains("2001:db8::/48"), "{top}");
    assert_eq!(top["routes"], json!([{"name": "shop", "blocked": 3, "observed": 1}]), "{top}");
    let reasons = top["reasons"].as_array().unwrap();
    assert_eq!(reasons.iter().filter_map(|one| one["blocked"].as_u64()).sum::<u64>(), 3, "{top}");
    assert_eq!(top["is_cut"], false, "{top}");
}

#[test]
fn the_last_hour_is_told_in_steps() {
    let (_backend, proxy) = start("");
    proxy.client().get(HOST, "/hello");
    assert_eq!(proxy.client().get(HOST, ATTACK).status, 403);
    let sum = |column: &Value| column.as_array().into_iter().flatten().filter_map(Value::as_f64).sum::<f64>();
    let told = eventually_within(Duration::from_secs(30), "a step ends", || {
        let told = proxy.api("GET", "/api/v1/traffic", "").json();
        (sum(&told["requests"]) >= 2.0).then_some(told)
    });
    assert_eq!(sum(&told["requests"]), 2.0, "{told}");
    let blocked: f64 = told["blocked"].as_object().unwrap().values().map(sum).sum();
    assert_eq!(blocked, 1.0, "{told}");
    for column in ["whole_ms", "added_ms", "backend_ms"] {
        assert!(sum(&told[column]) > 0.0, "{column}: {told}");
    }
    assert_eq!(sum(&told["challenged"]), 0.0, "{told}");
    // What was stopped asked no backend.
    assert_eq!(proxy.node().registry().total("sunbeam_backend_latency_seconds").1, 1.0);
}

/// Runs something while visitors come and attackers try.
fn under_load<T>(proxy: &TestProxy, run: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let (mut passed, mut stopped) = (0, 0);
            while !is_over.load(Ordering::Relaxed) {
                let client = proxy.client();
                passed += u32::from(client.get(HOST, &format!("/page/{passed}")).status == 200);
                stopped += u32::from(client.get(HOST, &format!("{ATTACK}&n={stopped}")).status == 403);
            }
            (passed, stopped)
        });
        let result = catch_unwind(AssertUnwindSafe(run));
        is_over.store(true, Ordering::Relaxed);
        let (passed, stopped) = load.join().unwrap();
        assert!(passed > 20 && stopped > 20, "{passed} passed, {stopped} stopped");
        result.unwrap_or_else(|panic| resume_unwind(panic))
    })
}

#[test]
fn an_operator_goes_through_the_console_with_a_browser() {
    let (_backend, proxy) = start("");
    let blocked = proxy.client().get(HOST, ATTACK);
    assert_eq!(blocked.status, 403);
    let id = blocked.header("x-request-id").unwrap().to_owned();
    let page = format!("/api/v1/decisions/{id}");
    let kept = || Some(proxy.api("GET", &page, "")).filter(|answer| answer.status == 200);
    let reason =
        eventually("the decision is kept", kept).json()["decision"]["reason"].as_str().unwrap().to_owned();
    // So that there is a chart.
    eventually_within(Duration::from_secs(30), "a step ends", || {
        let told = proxy.api("GET", "/api/v1/traffic", "").json();
        told["at"].as_array().is_some_and(|steps| !steps.is_empty()).then_some(())
    });
    let origin = format!("http://{}", address(&proxy));
    let mut command = node();
    command.arg(peers_folder().join("console.mjs")).args([&origin, &format!("{origin}{}", link(&proxy))]);
    command.args(["--request", &id, "--site", &format!("http://{HOST}:{}", proxy.http().port())]);
    if let Ok(folder) = std::env::var("CONSOLE_SCREENSHOTS") {
        command.args(["--screenshots", &folder]);
    }
    let (complete, told) = under_load(&proxy, || run_client(&mut command));
    assert!(complete, "{told:#}");
    assert_eq!(told["visits"], json!([200, 403, 200]), "a browser visits the site, attacks it, and goes on");
    // Each number as the page shows it, and as the node told it to the page.
    let figures = told["figures"].as_object().unwrap();
    assert_eq!(figures.len(), 9, "{figures:#?}");
    for (name, pair) in figures {
        assert!(pair[0].is_string() && pair[0] == pair[1], "{name}: {pair}");
    }
    let text = |pointer: &str| told.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();

    for outside in ["/without/text", "/again", "/out"] {
        assert!(text(outside).contains("sunbeam login"), "{outside}: {}", text(outside));
    }
    assert!(text("/again").contains("used already"), "{}", text("/again"));
    assert_eq!(text("/inside/url"), format!("{origin}/console/"), "the secret is out of the address");
    assert_eq!(
        told["cookies"],
        json!([{"httpOnly": true, "sameSite": "Strict", "path": "/api/", "name": "sunbeam_session_PORT"}])
    );
    assert_eq!(told["second"], "Node", "another page of the same browser is logged in");
    assert!(text("/row").contains("blocked") && text("/row").contains("/list"), "{}", text("/row"));
    assert_eq!(text("/reason"), reason.replace('_', " "));
    assert!(text("/labelled").contains("labelled attack"), "{}", text("/labelled"));
    let labels = fs::read_to_string(proxy.folder().join("labels.jsonl")).unwrap();
    assert!(labels.contains(&id) && labels.contains("attack"), "{labels}");
    assert!(text("/filtered").contains("Nothing that fits"));
    assert!(
        text("/blocked").contains("blocked") && text("/blocked").contains("sunbeam unblock"),
        "{}",
        text("/blocked")
    );
    assert!(text("/unblocked").contains("unblocked"), "{}", text("/unblocked"));

    assert_eq!(told["no_proof"], json!([401, 401, 401]), "the cookie alone is worth nothing");
    // What is not read is sent all the same; the browser then may not even tell that there was an answer.
    assert_eq!(
        told["attack"],
        json!({"plain": "TypeError", "header": "TypeError", "read": "TypeError", "framed": false})
    );
    assert_eq!(proxy.api("GET", "/api/v1/blocklist", "").json()["total"], 0, "another page blocked nobody");
    for nothing in ["/errors", "/csp", "/foreign", "/without/light"] {
        assert_eq!(told.pointer(nothing), Some(&json!([])), "{nothing}");
    }
    assert_eq!(told["refused"], json!([]));
    let views = told["views"].as_object().unwrap();
    assert_eq!(views.len(), 10);
    for (name, seen) in views {
        for look in ["light", "dark", "phone"] {
            assert_eq!(seen[look], json!([]), "{name}, {look}");
        }
        assert_eq!(seen["keyboard"]["missed"], json!([]), "{name}: Tab comes to each control");
        assert!(seen["keyboard"]["controls"].as_u64() >= Some(10), "{name}: {}", seen["keyboard"]);
        assert!(
            seen["sideways"].as_i64() <= Some(0),
            "{name}: a phone has to scroll sideways: {}",
            seen["sideways"]
        );
    }
    for (name, word) in [
        ("overview", "Requests by verdict"),
        ("events", "/list"),
        ("event", "It looks like an attack"),
        ("budgets", "more people, none of them doubted, and it is proven"),
        ("models", "Drift"),
        ("models", "in training"),
        ("node", "limits.max_connections"),
        ("changes", "login-links"),
    ] {
        assert!(
            text(&format!("/views/{name}/text")).contains(word),
            "{name}: {}",
            text(&format!("/views/{name}/text"))
        );
    }
}
