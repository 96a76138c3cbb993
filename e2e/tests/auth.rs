// SPDX-License-Identifier: Apache-2.0
//! The auth subrequest: what is asked, what the answer brings, what happens without one, and that nobody
//! walks around it (rows B16 to B19).

use std::fs;

use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use sunbeam_testkit::{Peer, RawUpstream, Seen, TestProxy, TestUpstream, raw_exchange};

/// A route with an open backend and a guarded prefix that has one of its own.
struct Guarded {
    open: TestUpstream,
    admin: TestUpstream,
    proxy: TestProxy,
}

impl Guarded {
    fn by(auth_url: &str, more: &str) -> Self {
        let (open, admin) = (TestUpstream::echo(), TestUpstream::echo());
        let proxy = TestProxy::start(&format!(
            "[[routes]]\nhost_prefix = \"app\"\nbackend = \"{}\"\ndisable_secure_redirection = true\n\
             [[routes.paths]]\nprefix = \"/admin\"\nbackend = \"{}\"\nwebsocket = true\n\
             auth_request = \"{auth_url}\"\nauth_capture_headers = [\"X-User\", \"X-Groups\"]\n{more}\n",
            open.url(),
            admin.url(),
        ));
        Self { open, admin, proxy }
    }

    fn counted(&self, result: &str) -> f64 {
        self.proxy.metric("sunbeam_auth_requests_total", &[("result", result)])
    }
}

#[test]
fn the_auth_server_is_asked_by_a_get_that_tells_who_wants_what() {
    let auth = TestUpstream::with(|_| Response::new(Full::default()));
    let guarded = Guarded::by(&format!("{}/check?realm=1", auth.url()), "");
    for (name, client) in [("HTTP/1.1", guarded.proxy.client()), ("HTTP/2", guarded.proxy.client().http2())] {
        let client = client
            .method("POST")
            .body("a body that is none of its business")
            .header("cookie", "session=good")
            .header("authorization", "Bearer abc")
            .header("x-original-uri", "/innocent")
            .header("x-original-method", "GET")
            .header("x-secret", "not for the auth server");
        let answer = client.get("app.example.test", "/admin/users?page=2");
        assert_eq!((answer.status, answer.text().as_str()), (200, "POST /admin/users?page=2"), "{name}");
        let asked = auth.last();
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", "/check?realm=1"), "{name}");
        assert!(asked.body.is_empty(), "{name}");
        for (header, want) in [
            ("cookie", Some("session=good")),
            ("authorization", Some("Bearer abc")),
            ("x-original-uri", Some("/admin/users?page=2")),
            ("x-original-method", Some("POST")),
            ("x-request-id", answer.header("x-request-id")),
            ("x-forwarded-host", Some("app.example.test")),
            ("x-real-ip", Some("127.0.0.1")),
            ("x-secret", None),
        ] {
            assert_eq!(asked.header(header), want, "{name}: {header}");
            assert!(asked.headers.get_all(header).iter().count() < 2, "{name}: {header} stands once");
        }
        let got = guarded.admin.last();
        assert_eq!(&got.body[..], b"a body that is none of its business", "{name}");
        assert_eq!(got.header("cookie"), Some("session=good"), "{name}: the backend still gets it");
    }
    assert_eq!(guarded.proxy.client().get("app.example.test", "/public").status, 200);
    assert_eq!(auth.seen().len(), 2, "only the prefix is guarded");
}

#[test]
fn a_real_auth_server_lets_the_right_cookie_in_and_nobody_else() {
    let builder = TestProxy::builder();
    let log = builder.folder().join("auth.jsonl");
    let auth = Peer::start("auth.py", &["--log", log.to_str().unwrap()]);
    let guarded = Guarded::by(&format!("{}/userinfo", auth.url()), "");
    let get =
        |cookie: &str| guarded.proxy.client().header("cookie", cookie).get("app.example.test", "/admin");
    assert_eq!(get("session=good").status, 200);
    assert_eq!(get("session=bad").status, 403);
    assert_eq!(guarded.proxy.client().get("app.example.test", "/admin").status, 403);
    assert_eq!(guarded.admin.seen().len(), 1);
    assert_eq!(guarded.admin.last().header("x-user"), Some("alice"));
    assert_eq!(guarded.admin.last().header("x-groups"), Some("staff"));
    let lines = fs::read_to_string(log).unwrap();
    let asked: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|line| line["method"] == "GET" && line["path"] == "/userinfo"), "{asked:?}");
    assert!(guarded.counted("allowed") > 0.5 && guarded.counted("denied") > 1.5);
}

#[test]
fn only_the_auth_server_says_who_somebody_is() {
    // It names the user, and no groups.
    let auth =
        TestUpstream::with(|_| Response::builder().header("x-user", "alice").body(Full::default()).unwrap());
    let guarded = Guarded::by(&auth.url(), "");
    for (name, forged) in [
        ("the same names", &[("x-user", "mallory"), ("x-groups", "root")][..]),
        ("other letters", &[("X-USER", "mallory"), ("X-Groups", "root")]),
        ("an underscore", &[("x_user", "mallory"), ("X_Groups", "root")]),
        ("several", &[("x-user", "mallory"), ("x-user", "eve"), ("x_user", "eve")]),
        ("nominated as hop-by-hop", &[("x-user", "mallory"), ("connection", "x-user, x-groups, x-real-ip")]),
    ] {
        let client =
            || forged.iter().fold(guarded.proxy.client(), |client, (name, value)| client.header(name, value));
        let mut clients = vec![client()];
        // HTTP/2 has no Connection header; a library refuses to send one.
        if forged.iter().all(|(header, _)| *header != "connection") {
            clients.push(client().http2());
        }
        for client in clients {
            assert_eq!(client.get("app.example.test", "/admin").status, 200, "{name}");
            let got = guarded.admin.last();
            let said: Vec<(String, &[u8])> = got
                .headers
                .iter()
                .map(|(name, value)| (name.as_str().replace('_', "-"), value.as_bytes()))
                .filter(|(name, _)| name == "x-user" || name == "x-groups")
                .collect();
            assert_eq!(said, [("x-user".to_owned(), &b"alice"[..])], "{name}");
            assert_eq!(got.header("x-real-ip"), Some("127.0.0.1"), "{name}");
        }
    }
}

#[test]
fn a_captured_authorization_takes_the_place_of_the_clients() {
    let auth = TestUpstream::with(|seen| {
        let status = if seen.header("authorization") == Some("Bearer client") { 200 } else { 401 };
        let response =
            Response::builder().status(status).header("authorization", "AWS4 signed-for-the-store");
        response.body(Full::default()).unwrap()
    });
    let store = TestUpstream::echo();
    let proxy = TestProxy::start(&format!(
        "[[routes]]\nhost_prefix = \"drive\"\n[[routes.paths]]\nprefix = \"/media\"\nbackend = \"{}\"\n\
         strip_prefix = true\nupstream_path_prefix = \"/drive\"\n\
         auth_request = \"{}/media-auth/\"\nauth_capture_headers = [\"Authorization\"]\n",
        store.url(),
        auth.url(),
    ));
    let client = proxy.client().header("authorization", "Bearer client");
    assert_eq!(client.get("drive.example.test", "/media/a.png").status, 200);
    assert_eq!(auth.last().header("x-original-uri"), Some("/media/a.png"), "as the client asked");
    assert_eq!(store.last().target, "/drive/a.png");
    let values: Vec<_> = store.last().headers.get_all("authorization").iter().cloned().collect();
    assert_eq!(values, ["AWS4 signed-for-the-store"]);
}

#[test]
fn whoever_the_auth_server_does_not_wave_through_stays_outside() {
    for (name, status, location) in [
        ("unauthorised", 401, ""),
        ("forbidden", 403, ""),
        ("a redirect to a login page", 302, "https://login.example.test/"),
        ("not modified", 304, ""),
        ("not found", 404, ""),
        ("its own error", 500, ""),
    ] {
        let auth = TestUpstream::with(move |_| {
            let mut response = Response::builder().status(status).header("x-user", "alice");
            if !location.is_empty() {
                response = response.header("location", location);
            }
            response.body(Full::from("the auth server's page")).unwrap()
        });
        let guarded = Guarded::by(&auth.url(), "");
        for client in [guarded.proxy.client(), guarded.proxy.client().http2(), guarded.proxy.client().plain()]
        {
            let answer = client.get("app.example.test", "/admin");
            assert_eq!(answer.status, 403, "{name}");
            assert_eq!(answer.header("location"), None, "{name}");
            assert!(!answer.text().contains("the auth server's page"), "{name}");
            assert!(answer.text().contains(answer.header("x-request-id").unwrap()), "{name}");
        }
        assert!(guarded.admin.seen().is_empty() && guarded.open.seen().is_empty(), "{name}");
        let record = guarded.proxy.audit().wait_for(name, |record| record.status == 403);
        assert_eq!(record.error, Some(format!("auth server answered {status}")), "{name}");
    }
}

#[test]
fn without_an_answer_nobody_comes_in() {
    let silent = RawUpstream::silent();
    let garbage = RawUpstream::answering("this is not HTTP\r\n\r\n");
    let closing = RawUpstream::answering("");
    for (name, url) in [
        ("nobody listens", "http://127.0.0.1:1"),
        ("no such name", "http://auth.invalid"),
        ("too slow", &silent.url()),
        ("garbage", &garbage.url()),
        ("hangs up", &closing.url()),
    ] {
        let guarded = Guarded::by(url, "auth_timeout_secs = 1");
        let answer = guarded.proxy.client().get("app.example.test", "/admin");
        assert_eq!(answer.status, 502, "{name}");
        assert!(guarded.admin.seen().is_empty() && guarded.open.seen().is_empty(), "{name}");
        assert!(guarded.counted("unreachable") > 0.5, "{name}");
        let record = guarded.proxy.audit().wait_for(name, |record| record.status == 502);
        assert!(record.error.unwrap().starts_with("auth server unreachable: "), "{name}");
    }
}

#[test]
fn no_spelling_of_a_guarded_path_walks_around_its_guard() {
    let auth = TestUpstream::with(deny);
    let guarded = Guarded::by(&auth.url(), "");
    for path in [
        "/admin",
        "/admin/",
        "/admin?x=1",
        "/admin/users",
        "/%61dmin",
        "/%61%64%6d%69%6E",
        "//admin",
        "///admin//x",
        "/./admin",
        "/%2e/admin",
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..%2fadmin",
        "/public/..\\admin",
        "/public/..%5cadmin",
        "/admin%2Fx",
        "/admin%2f",
        "/%2Fadmin",
        "/%2f%2fadmin/x",
        "/\\admin",
        "/%5cadmin",
        "/admin\\x",
        "/admin%5Cx",
        "/admin;x=1",
        "/admin;/x",
        "/admin%3bx",
        "/;x/admin",
        "/public/..;/admin",
        "/public/..;x=1/admin",
        "/.;/admin",
        "/public/%2e%2e;/admin",
        "/admin%2Fx/../secret",
        "/admin%2fx/%2e%2e/secret",
        "/a/%2F/../admin/secret",
        "/x/%2f/../admin/secret",
        "/a/b/%2f%2f/../../admin/s",
        "/a/;x/../admin",
        "/admin\\x/../secret",
        "/admin%00",
        "/../admin",
        "http://app.example.test/admin",
        "http://app.example.test//admin",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: app.example.test\r\nConnection: close\r\n\r\n");
        let answer = raw_exchange(guarded.proxy.http(), request.as_bytes());
        let status = answer.get(9..12).unwrap_or_default();
        assert!(status == "403" || status == "400", "{path}: {answer}");
        if path.starts_with('/') && path.parse::<http::Uri>().is_ok() {
            let status = guarded.proxy.client().http2().get("app.example.test", path).status;
            assert!(status == 403 || status == 400, "{path} over HTTP/2: {status}");
        }
        for method in ["HEAD", "POST", "OPTIONS", "PURGE"] {
            let request =
                format!("{method} {path} HTTP/1.1\r\nHost: app.example.test\r\nConnection: close\r\n\r\n");
            raw_exchange(guarded.proxy.http(), request.as_bytes());
        }
    }
    let upgrade = "GET /admin HTTP/1.1\r\nHost: app.example.test\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let answer = raw_exchange(guarded.proxy.http(), upgrade.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 403 "), "a WebSocket is guarded, too: {answer}");
    assert_eq!(guarded.open.seen().len(), 0, "{:?}", guarded.open.seen());
    assert_eq!(guarded.admin.seen().len(), 0, "{:?}", guarded.admin.seen());
}

#[test]
fn paths_beside_a_guarded_one_are_open_and_reach_the_backend_as_they_were_matched() {
    let auth = TestUpstream::with(deny);
    let guarded = Guarded::by(&auth.url(), "");
    for path in [
        "/ADMIN",
        "/administrator",
        "/admin-tools",
        "/public/admin",
        "/public;x/y",
        "/a%2Fb",
        "/a%20b?q=%2Fadmin",
        "/%E4%BD%A0",
        // What the guard has read one way, the backend must not read another.
        "/p/a//b/./c",
    ] {
        let matched = path.replace("//", "/").replace("/./", "/");
        let request = format!("GET {path} HTTP/1.1\r\nHost: app.example.test\r\nConnection: close\r\n\r\n");
        let answer = raw_exchange(guarded.proxy.http(), request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        assert_eq!(guarded.open.last().target, matched);
    }
    assert!(auth.seen().is_empty());
}

#[test]
fn hosts_that_are_guarded_as_a_whole_ask_userinfo_first() {
    let hydra = TestUpstream::with(|seen| {
        let known = seen.target == "/userinfo" && seen.header("authorization") == Some("Bearer good");
        let status = if known { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        Response::builder().status(status).body(Full::from("{\"sub\":\"alice\"}")).unwrap()
    });
    let hosts = ["id", "hydra", "search", "vault"];
    let backend = TestUpstream::with(|seen| {
        Response::new(Full::from(format!("{} {}", seen.header("host").unwrap_or_default(), seen.target)))
    });
    let routes = hosts.map(|host| {
        format!(
            "[[routes]]\nhost_prefix = \"{host}\"\n[[routes.paths]]\nprefix = \"/\"\nbackend = \"{}\"\n\
             auth_request = \"{}/userinfo\"\n",
            backend.url(),
            hydra.url()
        )
    });
    let proxy = TestProxy::start(&routes.join("\n"));
    for host in hosts {
        let name = format!("{host}.example.test");
        for path in ["/", "/admin/clients?page=1", "/v1/sys/seal", "/%2Fv1", "//"] {
            let before = backend.seen().len();
            assert_eq!(proxy.client().get(&name, path).status, 403, "{host}{path}");
            let bad = proxy.client().header("authorization", "Bearer bad").get(&name, path);
            assert_eq!(bad.status, 403, "{host}{path}");
            assert_eq!(backend.seen().len(), before, "{host}{path}");
            let good = proxy.client().header("authorization", "Bearer good").get(&name, path);
            let matched = path.replace("//", "/");
            assert_eq!((good.status, good.text()), (200, format!("{name} {matched}")), "{host}{path}");
        }
    }
}

fn deny(_: &Seen) -> Response<Full<bytes::Bytes>> {
    Response::builder().status(StatusCode::UNAUTHORIZED).body(Full::default()).expect("a response")
}
