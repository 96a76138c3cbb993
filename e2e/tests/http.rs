// SPDX-License-Identifier: Apache-2.0
//! HTTP as clients and backends speak it (rows A01, A10, A17, B21, B22; the request side of "what a client
//! gets"): versions, identity, forwarding, bodies, bounds, retries.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use sunbeam_testkit::{
    Peer, RawUpstream, TestProxy, TestResponse, TestUpstream, free_address, raw_exchange, run,
};

const OPEN: &str = "disable_secure_redirection = true";

#[test]
fn both_ports_answer() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::start(&route("www", &backend.url(), OPEN));
    assert_eq!(proxy.client().plain().get("www.example.test", "/plain").text(), "GET /plain");
    assert_eq!(proxy.client().get("www.example.test", "/tls").text(), "GET /tls");
    assert_ne!(proxy.http().port(), proxy.https().port());
    for (scheme, tls) in [("/plain", ""), ("/tls", "TLSv1.3")] {
        let record = proxy.audit().wait_for(scheme, |record| record.path == scheme);
        assert_eq!(record.tls_version, tls);
    }
}

#[test]
fn plain_http_is_sent_to_https_with_its_path_and_query() {
    let backend = TestUpstream::echo();
    let https = free_address();
    let listen = format!("[listen]\nhttps = \"{https}\"\n");
    let routes = [route("www", &backend.url(), ""), route("open", &backend.url(), OPEN)].join("\n");
    let proxy = TestProxy::start(&format!("{listen}{routes}"));
    let port = https.port();
    for (name, host, target, want) in [
        (
            "path and query",
            "www.example.test",
            "/a/b%20c?d=e&f=%2F",
            "https://www.example.test/a/b%20c?d=e&f=%2F",
        ),
        ("root", "www.example.test", "/", "https://www.example.test/"),
        ("empty query", "www.example.test", "/?", "https://www.example.test/?"),
        ("a path like a host", "www.example.test", "//evil.test/x", "https://www.example.test//evil.test/x"),
        ("capitals", "WWW.Example.Test", "/A", "https://www.example.test/A"),
        (
            "a port we were asked on",
            "www.example.test:8080",
            "/a?b",
            &format!("https://www.example.test:{port}/a?b"),
        ),
    ] {
        for method in ["GET", "HEAD", "POST"] {
            let answer = proxy.client().plain().method(method).get(host, target);
            assert_eq!((answer.status, answer.header("location")), (308, Some(want)), "{method} {name}");
            assert!(answer.header("x-request-id").is_some(), "{method} {name}");
        }
    }
    assert!(backend.seen().is_empty(), "nothing reached the backend in the clear");
    assert_eq!(proxy.client().plain().get("open.example.test", "/a?b").text(), "GET /a?b", "opted out");
    let unknown = proxy.client().plain().get("nope.example.test", "/");
    assert_eq!(
        (unknown.status, unknown.header("location")),
        (421, None),
        "nobody is sent to a host unknown here"
    );
}

#[test]
fn http_2_is_spoken_to_those_who_offer_it() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::start(&route("www", &backend.url(), ""));
    for (option, want) in [("--http2", "2 200"), ("--http1.1", "1.1 200")] {
        let mut curl = proxy.curl();
        curl.args([option, "--output", "/dev/null", "--write-out", "%{http_version} %{http_code}"]);
        assert_eq!(stdout(curl.arg("https://www.example.test/")), want, "{option}");
    }
    let record = proxy.audit().wait_for("HTTP/2", |record| record.http_version == "HTTP/2.0");
    assert_eq!(record.host, "www.example.test");
}

#[test]
fn many_streams_at_once_are_all_answered() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::start(&route("www", &backend.url(), ""));
    let mut h2load = Command::new("h2load");
    h2load.args(["--requests=3000", "--clients=4", "--max-concurrent-streams=100"]);
    h2load.args([&format!("--connect-to={}", proxy.https()), "https://www.example.test/x"]);
    let told = stdout(&mut h2load);
    assert!(told.contains("3000 succeeded, 0 failed, 0 errored, 0 timeout"), "{told}");
    assert!(told.contains("Application protocol: h2"), "{told}");
    assert_eq!(backend.seen().len(), 3000);
    no_panic(&proxy);
}

#[test]
fn every_request_has_one_id_of_its_own_everywhere() {
    let backend = TestUpstream::echo();
    let routes = [route("www", &backend.url(), ""), route("dead", "http://127.0.0.1:1", "")].join("\n");
    let proxy = TestProxy::start(&routes);
    let mut ids = BTreeSet::new();
    for round in 0..10 {
        for client in [proxy.client(), proxy.client().http2()] {
            let client = client.header("x-request-id", "11111111-1111-4111-8111-111111111111");
            let answer = client.get("www.example.test", &format!("/{round}"));
            let id = answer.header("x-request-id").unwrap().to_owned();
            assert!(is_uuid_v4(&id), "{id}");
            assert_eq!(answer.headers.get_all("x-request-id").iter().count(), 1);
            let seen = backend.last();
            assert_eq!(seen.header("x-request-id"), Some(id.as_str()));
            assert_eq!(seen.headers.get_all("x-request-id").iter().count(), 1);
            ids.insert(id);
        }
    }
    for (host, status) in [("dead.example.test", 502), ("nope.example.test", 421)] {
        let answer = proxy.client().get(host, "/");
        assert_eq!(answer.status, status);
        ids.insert(answer.header("x-request-id").unwrap().to_owned());
    }
    let refused = raw_exchange(proxy.http(), b"GET / HTTP/1.1\r\n\r\n");
    ids.insert(field(&refused, "x-request-id").unwrap().to_owned());
    assert_eq!(ids.len(), 23, "no two are alike");
    assert!(!ids.contains("11111111-1111-4111-8111-111111111111"), "a client's own is replaced");
    for id in ids {
        proxy.audit().wait_for(&id, |record| record.request_id == id);
    }
}

#[test]
fn what_an_untrusted_client_says_about_itself_is_replaced() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::start(&route("www", &backend.url(), OPEN));
    let forged = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-for", "203.0.113.10"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-host", "bank.example"),
        ("x-forwarded-port", "1"),
        ("x-real-ip", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
        ("cf-connecting-ip", "203.0.113.9"),
        ("cf-ipcountry", "XX"),
        ("true-client-ip", "203.0.113.9"),
        ("x-forwarded-ssl", "203.0.113.9"),
        ("x-forwarded-user", "203.0.113.9"),
        ("x-cluster-client-ip", "203.0.113.9"),
        ("x-original-uri", "203.0.113.9"),
        ("x_forwarded_for", "203.0.113.9"),
        ("x_real_ip", "203.0.113.9"),
    ];
    for (name, scheme, client) in [
        ("HTTP/1.1", "https", proxy.client()),
        ("HTTP/2", "https", proxy.client().http2()),
        ("plain", "http", proxy.client().plain()),
    ] {
        let client = forged.iter().fold(client, |client, (name, value)| client.header(name, value));
        let answer = client.get("www.example.test", "/");
        assert_eq!(answer.status, 200, "{name}");
        let seen = backend.last();
        for (header, want) in [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", scheme),
            ("x-forwarded-host", "www.example.test"),
            ("x-real-ip", "127.0.0.1"),
            ("host", "www.example.test"),
        ] {
            let values: Vec<_> = seen.headers.get_all(header).iter().collect();
            assert_eq!(values, [want], "{name}: {header}");
        }
        let liars = seen.headers.values().filter(|value| {
            value.to_str().is_ok_and(|value| value.contains("203.0.113") || value.contains("bank.example"))
        });
        assert_eq!(liars.count(), 0, "{name}: {:?}", seen.headers);
        let id = answer.header("x-request-id").unwrap();
        let record = proxy.audit().wait_for(name, |record| record.request_id == id);
        assert_eq!((record.client_ip.as_str(), record.cf_country), ("127.0.0.1", None), "{name}");
    }
}

#[test]
fn a_trusted_proxy_is_believed_and_extended() {
    let backend = TestUpstream::echo();
    let listen = "[listen]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let proxy = TestProxy::start(&format!("{listen}{}", route("www", &backend.url(), "")));
    for (name, forwarded, want, client_ip) in [
        ("one address", "203.0.113.9", "203.0.113.9, 127.0.0.1", "203.0.113.9"),
        (
            "what its client forged stands before",
            "1.1.1.1, 203.0.113.9",
            "1.1.1.1, 203.0.113.9, 127.0.0.1",
            "203.0.113.9",
        ),
        (
            "two trusted in a row",
            "203.0.113.9, 127.0.0.1",
            "203.0.113.9, 127.0.0.1, 127.0.0.1",
            "203.0.113.9",
        ),
        ("IPv6", "2001:db8::7", "2001:db8::7, 127.0.0.1", "2001:db8::7"),
    ] {
        let client = proxy.client().plain().header("x-forwarded-for", forwarded);
        let client = client.header("x-forwarded-proto", "https").header("x-forwarded-host", "shop.example");
        let answer = client.header("cf-ipcountry", "DE").get("www.example.test", "/");
        assert_eq!(answer.status, 200, "{name}: it says the client came over https, so there is no redirect");
        let seen = backend.last();
        assert_eq!(seen.header("x-forwarded-for"), Some(want), "{name}");
        assert_eq!(seen.header("x-real-ip"), Some(client_ip), "{name}");
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"), "{name}");
        assert_eq!(seen.header("x-forwarded-host"), Some("shop.example"), "{name}");
        let id = answer.header("x-request-id").unwrap();
        let record = proxy.audit().wait_for(name, |record| record.request_id == id);
        assert_eq!(
            (record.client_ip.as_str(), record.cf_country.as_deref()),
            (client_ip, Some("DE")),
            "{name}"
        );
    }
}

#[test]
fn a_large_upload_arrives_whole() {
    let app = Peer::start("app.py", &[]);
    let proxy = TestProxy::start(&route("www", &app.url(), ""));
    let bytes: Vec<u8> =
        (0_u32..64 * 1024 * 256).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let path = proxy.folder().write("upload", &bytes);
    let file = path.to_str().unwrap();
    let sum = stdout(Command::new("sha256sum").arg(&path));
    let sum = sum.split(' ').next().unwrap();
    for (name, options, expects) in [
        ("with Expect: 100-continue", &["--http1.1", "--upload-file", file][..], true),
        (
            "chunked",
            &[
                "--http1.1",
                "-X",
                "PUT",
                "-H",
                "Transfer-Encoding: chunked",
                "-H",
                "Content-Type: application/octet-stream",
                "--data-binary",
                &format!("@{file}"),
            ],
            true,
        ),
        ("over HTTP/2", &["--http2", "--upload-file", file], false),
    ] {
        let mut curl = proxy.curl();
        let output = run(curl.arg("--verbose").args(options).arg("https://www.example.test/upload"));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        assert_eq!(told["body_len"], bytes.len(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(told["body_sha256"], sum, "{name}");
        let log = String::from_utf8_lossy(&output.stderr).to_lowercase();
        assert_eq!(log.contains("> expect: 100-continue"), expects, "{name}");
        assert_eq!(log.contains("< http/1.1 100 continue"), expects, "{name}");
    }
}

#[test]
fn old_clients_are_answered_in_their_way() {
    let app = Peer::start("app.py", &[]);
    let proxy = TestProxy::start(&route("www", &app.url(), OPEN));
    let answer = raw_exchange(proxy.http(), b"GET /stream HTTP/1.0\r\nHost: www.example.test\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200 ") || head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(field(&answer, "transfer-encoding"), None, "HTTP/1.0 knows no chunks: {head}");
    let want: String = (0..10).map(|n| format!("chunk {n}\n")).collect();
    assert_eq!(body, want);
    let record = proxy.audit().wait_for("the answer", |record| record.path == "/stream");
    assert_eq!((record.http_version.as_str(), record.error), ("HTTP/1.0", None));
}

#[test]
fn a_head_gets_the_head_of_a_get() {
    let app = Peer::start("app.py", &[]);
    let proxy = TestProxy::start(&route("www", &app.url(), OPEN));
    let request = "HEAD /big?bytes=5000 HTTP/1.1\r\nHost: www.example.test\r\nConnection: close\r\n\r\n";
    let answer = raw_exchange(proxy.http(), request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(field(&answer, "content-length"), Some("5000"));
    assert!(answer.ends_with("\r\n\r\n"), "no body follows: {answer}");
    let over_h2 = proxy.client().http2().method("HEAD").get("www.example.test", "/big?bytes=5000");
    assert_eq!(
        (over_h2.status, over_h2.header("content-length"), over_h2.body.len()),
        (200, Some("5000"), 0)
    );
}

#[test]
fn one_connection_serves_many_requests() {
    let backend = TestUpstream::echo();
    let limits = "[limits]\nkeepalive_requests = 150\n";
    let proxy = TestProxy::start(&format!("{limits}{}", route("www", &backend.url(), OPEN)));
    let mut curl = proxy.curl();
    curl.args(["--http1.1", "--output", "/dev/null", "--write-out", "%{http_code} %{num_connects}\\n"]);
    let told = stdout(curl.arg("https://www.example.test/n/[1-200]"));
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 200);
    assert!(lines.iter().all(|line| line.starts_with("200 ")), "{told}");
    let connects = lines.iter().filter(|line| line.ends_with(" 1")).count();
    assert_eq!(connects, 2, "one until `keepalive_requests`, then a second");
    let one = "GET /pipelined HTTP/1.1\r\nHost: www.example.test\r\n\r\n";
    let last = "GET /last HTTP/1.1\r\nHost: www.example.test\r\nConnection: close\r\n\r\n";
    let answer = raw_exchange(proxy.http(), format!("{}{last}", one.repeat(50)).as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 51, "pipelined requests are answered in order");
    assert!(answer.ends_with("GET /last"), "{answer}");
}

#[test]
fn trailers_reach_a_client_that_takes_them() {
    let app = Peer::start("node_app.mjs", &[]);
    let proxy = TestProxy::start(&route("www", &app.url(), ""));
    let answer = proxy.client().http2().header("te", "trailers").get("www.example.test", "/trailers");
    assert_eq!(answer.text(), "the checksum follows\n");
    let path = proxy.folder().write("body", &answer.body);
    let sum = stdout(Command::new("sha256sum").arg(path));
    let trailers = answer.trailers.expect("trailers came");
    assert_eq!(trailers["x-checksum"].to_str().ok(), sum.split(' ').next());
}

#[test]
fn what_belongs_to_one_connection_does_not_travel() {
    let backend = RawUpstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close, X-Hop\r\nX-Hop: secret\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nX-End: stays\r\n\r\nok",
    );
    let proxy = TestProxy::start(&route("www", &backend.url(), OPEN));
    let request = "GET /x HTTP/1.1\r\nHost: www.example.test\r\nConnection: close, X-Hop, Cookie, X-Forwarded-For\r\n\
                   X-Hop: 1\r\nKeep-Alive: timeout=1\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nTrailer: X-T\r\n\
                   Proxy-Authorization: Basic eA==\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\
                   Cookie: a=1\r\nX-End: stays\r\nx_under: score\r\n\r\n";
    let answer = raw_exchange(proxy.http(), request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok"), "{answer}");
    let over_h2 = proxy.client().http2().get("www.example.test", "/x");
    for name in ["x-hop", "keep-alive", "proxy-connection", "upgrade"] {
        assert_eq!(field(&answer, name), None, "{name}: {answer}");
        assert_eq!(over_h2.header(name), None, "{name} over HTTP/2");
    }
    assert_eq!((field(&answer, "x-end"), over_h2.header("x-end")), (Some("stays"), Some("stays")));
    let seen = backend.requests().remove(0);
    for name in [
        "x-hop",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "proxy-authorization",
        "upgrade",
        "http2-settings",
        "x_under",
        "expect",
    ] {
        assert_eq!(field(&seen, name), None, "{name}: {seen}");
    }
    assert!(field(&seen, "connection").is_none_or(|value| !value.contains("X-Hop")), "{seen}");
    for (name, want) in [("x-end", "stays"), ("cookie", "a=1"), ("x-forwarded-for", "127.0.0.1")] {
        assert_eq!(field(&seen, name), Some(want), "{name}: {seen}");
    }
}

#[test]
fn cookies_that_http_2_split_are_joined_again() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::start(&route("www", &backend.url(), ""));
    let client =
        proxy.client().http2().header("cookie", "a=1").header("cookie", "b=2; c=3").header("cookie", "d=4");
    assert_eq!(client.get("www.example.test", "/").status, 200);
    let cookies: Vec<_> = backend.last().headers.get_all("cookie").iter().cloned().collect();
    assert_eq!(cookies, ["a=1; b=2; c=3; d=4"]);
}

#[test]
fn bodies_past_their_bound_are_413() {
    let backend = TestUpstream::echo();
    let limits = "[limits]\nmax_body_bytes = 1000\n";
    let routes = [
        route("www", &backend.url(), OPEN),
        route("small", &backend.url(), &format!("{OPEN}\nmax_body_bytes = 10")),
        route("large", &backend.url(), &format!("{OPEN}\nmax_body_bytes = 5000")),
    ];
    let proxy = TestProxy::start(&format!("{limits}{}", routes.join("\n")));
    for (host, bytes, want) in [
        ("www", 1000, 200),
        ("www", 1001, 413),
        ("small", 10, 200),
        ("small", 11, 413),
        ("large", 5000, 200),
        ("large", 5001, 413),
    ] {
        let name = format!("{host}.example.test");
        for client in [proxy.client(), proxy.client().http2()] {
            let answer = client.method("POST").body(vec![b'x'; bytes]).get(&name, "/up");
            assert_eq!(answer.status, want, "{host} {bytes}");
        }
        let chunks = format!("{bytes:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(bytes));
        let request = format!(
            "POST /up HTTP/1.1\r\nHost: {name}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{chunks}"
        );
        let answer = raw_exchange(proxy.http(), request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {want} ")), "{host} {bytes} chunked: {answer}");
    }
    let whole = backend.seen().iter().filter(|seen| seen.body.len() > 5000).count();
    assert_eq!(whole, 0, "no backend got more than the bound");
    let before = backend.seen().len();
    // Not a byte of the body is sent: the length alone says enough.
    for expect in ["", "Expect: 100-continue\r\n"] {
        let request =
            format!("PUT /early HTTP/1.1\r\nHost: www.example.test\r\n{expect}Content-Length: 1001\r\n\r\n");
        let answer = raw_exchange(proxy.http(), request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 413 ") && !answer.contains("100 Continue"), "{answer}");
        assert_eq!(field(&answer, "connection"), Some("close"));
    }
    assert_eq!(backend.seen().len(), before, "the backend was not asked");
    let record = proxy.audit().wait_for("the early 413", |record| record.path == "/early");
    assert_eq!((record.status, record.content_length), (413, 1001));
}

#[test]
fn heads_past_their_bounds_are_414_and_431() {
    let backend = TestUpstream::echo();
    let limits = "[limits]\nmax_url_bytes = 200\nmax_headers = 20\nmax_header_bytes = 2000\n";
    let proxy = TestProxy::start(&format!("{limits}{}", route("www", &backend.url(), OPEN)));
    let long_path = format!("/{}", "p".repeat(200));
    let many: Vec<(String, String)> = (0..21).map(|n| (format!("x-{n}"), "1".to_owned())).collect();
    let big = vec![("x-big".to_owned(), "b".repeat(2000))];
    for (name, path, extra, status, limit) in [
        ("long target", long_path.as_str(), &[][..], 414, "max_url_bytes"),
        ("many lines", "/many", &many, 431, "max_headers"),
        ("many bytes", "/bytes", &big, 431, "max_header_bytes"),
    ] {
        let before = proxy.metric("sunbeam_limit_hits_total", &[("limit", limit)]);
        for (accept, kind) in [
            ("text/html,*/*;q=0.8", "text/html; charset=utf-8"),
            ("application/json", "application/json"),
            ("*/*", "text/plain; charset=utf-8"),
        ] {
            for client in [proxy.client(), proxy.client().plain(), proxy.client().http2()] {
                let client = client.header("accept", accept);
                let client = extra.iter().fold(client, |client, (name, value)| client.header(name, value));
                let answer = client.get("www.example.test", path);
                assert_eq!((answer.status, answer.header("content-type")), (status, Some(kind)), "{name}");
                check_page(&answer, kind);
                let id = answer.header("x-request-id").unwrap();
                let record = proxy.audit().wait_for(name, |record| record.request_id == id);
                assert_eq!((record.status, record.method.as_str()), (status, "GET"), "{name}");
                assert!(record.path.starts_with(path.get(..5).unwrap()) && record.error.is_some(), "{name}");
            }
        }
        let hits = proxy.metric("sunbeam_limit_hits_total", &[("limit", limit)]) - before;
        assert!((hits - 9.0).abs() < 0.1, "{name}: {hits}");
    }
    assert!(backend.seen().is_empty());
    let at_the_bound = format!("/{}", "p".repeat(199));
    for client in [proxy.client(), proxy.client().http2()] {
        assert_eq!(client.get("www.example.test", &at_the_bound).status, 200);
    }
}

#[test]
fn as_many_header_lines_as_the_bound_says_are_taken() {
    // Above a hundred the library below has to be told.
    for bound in [100, 150] {
        let builder = TestProxy::builder();
        builder.folder().write("site/index.html", "here");
        let root = builder.folder().join("site");
        let proxy = builder
            .config(&format!(
                "[limits]\nmax_headers = {bound}\n[[routes]]\nhost_prefix = \"www\"\nstatic_root = {root:?}\n{OPEN}"
            ))
            .start();
        let lines = |count: usize| {
            let lines: String = (0..count).map(|n| format!("X-{n}: 1\r\n")).collect();
            let request =
                format!("GET / HTTP/1.1\r\nHost: www.example.test\r\nConnection: close\r\n{lines}\r\n");
            raw_exchange(proxy.http(), request.as_bytes())
        };
        assert!(lines(bound - 2).starts_with("HTTP/1.1 200 "), "{bound} with Host and Connection");
        let answer = lines(bound - 1);
        assert!(answer.starts_with("HTTP/1.1 431 ") && answer.contains("request id: "), "{answer}");
    }
}

#[test]
fn error_pages_have_the_form_the_client_asks_for() {
    let backend = TestUpstream::echo();
    let more = format!("{OPEN}\nmax_body_bytes = 1");
    let proxy = TestProxy::start(
        &[route("www", &backend.url(), &more), route("dead", "http://127.0.0.1:1", OPEN)].join("\n"),
    );
    for (accept, kind) in [
        ("text/html", "text/html; charset=utf-8"),
        ("application/json", "application/json"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("", "text/plain; charset=utf-8"),
    ] {
        for (host, body, status) in [("www", "too large", 413), ("dead", "", 502), ("nope", "", 421)] {
            let client = proxy.client().body(body);
            let client = if accept.is_empty() { client } else { client.header("accept", accept) };
            let answer = client.get(&format!("{host}.example.test"), "/");
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (status, Some(kind)),
                "{host} {accept}"
            );
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{host} {accept}");
            check_page(&answer, kind);
        }
    }
}

#[test]
fn methods_that_no_proxy_passes_on_are_405() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::start(&route("www", &backend.url(), OPEN));
    for (method, target) in [("TRACE", "/x"), ("CONNECT", "www.example.test:443")] {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            "www.example.test:443"
        );
        let answer = raw_exchange(proxy.http(), request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 405 "), "{method}: {answer}");
        assert!(field(&answer, "allow").is_some_and(|allow| allow.contains("GET")), "{method}: {answer}");
        let record = proxy.audit().wait_for(method, |record| record.method == method);
        assert_eq!(record.status, 405);
    }
    assert_eq!(proxy.client().http2().method("TRACE").get("www.example.test", "/x").status, 405);
    assert!(backend.seen().is_empty());
    for method in ["PURGE", "QUERY", "PROPFIND", "OPTIONS"] {
        let answer = proxy.client().method(method).get("www.example.test", "/x");
        assert_eq!(answer.text(), format!("{method} /x"), "every other is the backend's business");
    }
}

#[test]
fn a_head_that_does_not_arrive_in_time_is_408() {
    let backend = TestUpstream::echo();
    let limits = "[limits]\nheader_timeout_secs = 1\n";
    let proxy = TestProxy::start(&format!("{limits}{}", route("www", &backend.url(), OPEN)));
    let answer = raw_exchange(proxy.http(), b"GET /slow HTTP/1.1\r\nHost: www.example.test\r\nX-Half: ");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("request id: "), "{answer}");
    let record = proxy.audit().wait_for("the slow head", |record| record.path == "/slow");
    assert_eq!(record.status, 408);
    assert!(proxy.metric("sunbeam_limit_hits_total", &[("limit", "header_timeout_secs")]) > 0.5);
    let silent = raw_exchange(proxy.http(), b"");
    assert_eq!(silent, "", "who says nothing is hung up on without a word");
    assert!(backend.seen().is_empty());
}

#[test]
fn options_with_a_star_asks_about_the_server_itself() {
    let backend = TestUpstream::echo();
    let proxy =
        TestProxy::start(&[route("www", &backend.url(), OPEN), route("tls", &backend.url(), "")].join("\n"));
    for host in ["www.example.test", "tls.example.test"] {
        let request = format!("OPTIONS * HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = raw_exchange(proxy.http(), request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 204 "), "{host}: {answer}");
        assert!(field(&answer, "allow").is_some_and(|allow| allow.contains("GET, HEAD")), "{host}: {answer}");
    }
    assert!(backend.seen().is_empty());
}

#[test]
fn a_backend_that_hangs_up_between_requests_costs_no_get() {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let at_once = RawUpstream::start(|connection| {
        if connection.read_request().is_some() {
            connection.write(OK);
        }
    });
    let at_the_next = RawUpstream::start(|connection| {
        if connection.read_request().is_some() {
            connection.write(OK);
            connection.read_request();
        }
    });
    for (name, backend) in [("at once", at_once), ("at the next request", at_the_next)] {
        let proxy = TestProxy::start(&route("www", &backend.url(), ""));
        let mut curl = proxy.curl();
        curl.args(["--output", "/dev/null", "--write-out", "%{http_code}\\n"]);
        let told = stdout(curl.arg("https://www.example.test/[1-200]"));
        assert_eq!(told.lines().filter(|line| *line == "200").count(), 200, "{name}: {told}");
    }
}

#[test]
fn a_post_is_never_sent_twice() {
    let backend = RawUpstream::start(|connection| {
        // Answers reading, takes writing and hangs up.
        while connection.read_request().is_some_and(|request| request.starts_with("GET ")) {
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let proxy = TestProxy::start(&route("www", &backend.url(), ""));
    for (round, body) in ["", "amount=100"].iter().enumerate() {
        assert_eq!(
            proxy.client().get("www.example.test", "/account").status,
            200,
            "a connection is kept now"
        );
        let answer =
            proxy.client().method("POST").body(*body).get("www.example.test", &format!("/pay/{round}"));
        assert_eq!(answer.status, 502);
        let posted =
            backend.requests().iter().filter(|seen| seen.starts_with(&format!("POST /pay/{round} "))).count();
        assert_eq!(posted, 1, "{body:?}");
    }
}

fn check_page(answer: &TestResponse, kind: &str) {
    let id = answer.header("x-request-id").expect("an id");
    let text = answer.text();
    match kind {
        "application/json" => {
            let page = answer.json();
            assert_eq!(page["request_id"], id);
            assert!(page["error"].is_string(), "{text}");
            assert_eq!(page.as_object().map(|page| page.len()), Some(2), "{text}");
        }
        "text/html; charset=utf-8" => {
            assert!(text.starts_with("<!doctype html>") && text.contains(id), "{text}")
        }
        _ => assert!(text.starts_with(&answer.status.to_string()) && text.contains(id), "{text}"),
    }
}

fn is_uuid_v4(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [8, 4, 4, 4, 12]
        && parts.concat().bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && parts[2].starts_with('4')
        && parts[3].starts_with(['8', '9', 'a', 'b'])
}

/// A field of a message as it went over the wire.
fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = message.split_once("\r\n\r\n")?;
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn route(prefix: &str, backend: &str, more: &str) -> String {
    format!("[[routes]]\nhost_prefix = \"{prefix}\"\nbackend = \"{backend}\"\n{more}\n")
}

fn stdout(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn no_panic(proxy: &TestProxy) {
    assert!(proxy.metric("sunbeam_panics_total", &[]) < 0.5);
}
