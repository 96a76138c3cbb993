// SPDX-License-Identifier: Apache-2.0
//! WebSocket through the proxy, spoken by a client library and two server libraries (rows A18, B05).
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use sunbeam_testkit::{
    Peer, RawUpstream, TestProxy, TestUpstream, eventually, peers_folder, python, raw_exchange, run_client,
};

const HOST: &str = "chat.example.test";

/// The client of the `websockets` library; `scheme` is ws or wss.
fn client(proxy: &TestProxy, scheme: &str, path: &str) -> Command {
    let to = if scheme == "wss" { proxy.https() } else { proxy.http() };
    let mut command = python();
    command
        .arg(peers_folder().join("ws_client.py"))
        .arg(format!("{scheme}://{HOST}{path}"))
        .args(["--connect", &to.to_string()])
        .arg("--tls-ca")
        .arg(proxy.ca_path());
    command
}

fn chat(proxy: &TestProxy, scheme: &str, path: &str, arguments: &[&str]) -> (bool, Value) {
    run_client(client(proxy, scheme, path).args(arguments))
}

/// A client that said hello and keeps its tunnel open.
fn hold(proxy: &TestProxy, scheme: &str, path: &str) -> Child {
    let mut command = client(proxy, scheme, path);
    command.args(["--send", "hello", "--hold"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// Lets it close the tunnel, if that is still open, and hears what it has to tell.
fn let_go(mut held: Child) -> (bool, String) {
    drop(held.stdin.take());
    let output = held.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

fn route(backend: &str, more: &str) -> String {
    format!(
        "[[routes]]\nhost_prefix = \"chat\"\nbackend = \"{backend}\"\ndisable_secure_redirection = true\n{more}\n"
    )
}

fn has_header(told: &Value, name: &str, value: &str) -> bool {
    told["headers"].as_array().unwrap().iter().any(|pair| {
        let is = |index: usize, want: &str| pair[index].as_str().unwrap().eq_ignore_ascii_case(want);
        is(0, name) && is(1, value)
    })
}

#[test]
fn text_bytes_and_a_mebibyte_come_back_the_same_plain_and_over_tls_from_two_server_libraries() {
    for script in ["app.py", "node_app.mjs"] {
        let app = Peer::start(script, &[]);
        let proxy = TestProxy::start(&route(&app.url(), "websocket = true"));
        for scheme in ["ws", "wss"] {
            let messages = ["--send", "grüß dich", "--send-hex", "00ff10", "--send-size", "1048576"];
            let (went_well, told) = chat(&proxy, scheme, "/ws", &messages);
            assert!(went_well, "{script} {scheme}: {told}");
            assert_eq!(told["status"], 101);
            let want = json!(["echo:grüß dich", {"hex": "00ff10"}, {"bytes": 1_048_576, "same": true}]);
            assert_eq!(told["replies"], want, "{script} {scheme}");
            assert_eq!(told["close"][0], 1000, "{script} {scheme}: the client's close is answered");
            assert!(has_header(&told, "upgrade", "websocket"), "{told}");
            let request_id = told["headers"].as_array().unwrap().iter().any(|pair| pair[0] == "x-request-id");
            assert!(request_id, "{told}");
        }
    }
}

#[test]
fn close_codes_and_subprotocols_reach_the_other_side() {
    let app = Peer::start("app.py", &[]);
    let proxy = TestProxy::start(&route(&app.url(), "websocket = true"));
    let arguments = ["--subprotocol", "chat.v2", "--subprotocol", "chat.v1", "--send", "close:4001:enough"];
    for scheme in ["ws", "wss"] {
        let (_, told) = chat(&proxy, scheme, "/ws", &arguments);
        assert_eq!(told["close"], json!([4001, "enough"]), "{told}");
        assert_eq!(told["subprotocol"], "chat.v2");
    }
}

#[test]
fn without_websocket_the_backend_gets_an_ordinary_request_and_nothing_is_upgraded() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::start(&route(&backend.url(), ""));
    for scheme in ["ws", "wss"] {
        let (went_well, told) = chat(&proxy, scheme, "/ws", &["--send", "hello"]);
        assert!(!went_well);
        assert_eq!((&told["status"], &told["replies"]), (&json!(200), &json!([])), "{told}");
        assert_eq!(told["body"], "GET /ws");
        let seen = backend.last();
        assert_eq!((seen.header("upgrade"), seen.header("connection")), (None, None));
    }
    assert_eq!(backend.seen().len(), 2);
}

#[test]
fn a_path_has_its_own_word_on_websocket_whatever_its_route_says() {
    let (page, socket) = (Peer::start("app.py", &[]), Peer::start("node_app.mjs", &[]));
    let plain = TestUpstream::echo();
    let only_the_path =
        format!("[[routes.paths]]\nprefix = \"/ws\"\nbackend = \"{}\"\nwebsocket = true", socket.url());
    let proxy = TestProxy::start(&route(&plain.url(), &only_the_path));
    assert_eq!(chat(&proxy, "wss", "/ws", &["--send", "a"]).1["replies"], json!(["echo:a"]));
    assert_eq!(chat(&proxy, "wss", "/other", &[]).1["status"], 200, "no upgrade outside the path");
    let all_but_the_path =
        format!("websocket = true\n[[routes.paths]]\nprefix = \"/api\"\nbackend = \"{}\"", plain.url());
    let proxy = TestProxy::start(&route(&page.url(), &all_but_the_path));
    assert_eq!(chat(&proxy, "ws", "/ws", &["--send", "b"]).1["replies"], json!(["echo:b"]));
    assert_eq!(chat(&proxy, "ws", "/api/ws", &[]).1["status"], 200, "no upgrade inside the path");
}

#[test]
fn a_backend_that_refuses_the_upgrade_is_heard_word_for_word() {
    let backend = TestUpstream::with(|_| {
        let answer = Response::builder().status(426).header("x-why", "old client");
        answer.body(Full::new(Bytes::from_static(b"please come back newer"))).unwrap()
    });
    let proxy = TestProxy::start(&route(&backend.url(), "websocket = true"));
    for scheme in ["ws", "wss"] {
        let (went_well, told) = chat(&proxy, scheme, "/room?id=7", &[]);
        assert!(!went_well);
        assert_eq!((&told["status"], &told["body"]), (&json!(426), &json!("please come back newer")));
        assert!(has_header(&told, "x-why", "old client"), "{told}");
    }
    let seen = backend.last();
    assert_eq!((seen.target.as_str(), seen.header("upgrade")), ("/room?id=7", Some("websocket")));
    assert_eq!(proxy.audit().wait_for("the refusal", |record| record.status == 426).path, "/room");
    // An application whose router knows no such socket, and one that is not there at all.
    let app = Peer::start("app.py", &[]);
    let gone = app.url();
    let proxy = TestProxy::start(&route(&gone, "websocket = true"));
    assert_eq!(chat(&proxy, "wss", "/no/such/socket", &[]).1["status"], 403, "what uvicorn answers");
    drop(app);
    assert_eq!(chat(&proxy, "wss", "/ws", &[]).1["status"], 502);
}

#[test]
fn an_old_backend_that_refuses_the_upgrade_does_not_make_the_client_old() {
    let backend = RawUpstream::answering("HTTP/1.0 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let proxy = TestProxy::start(&route(&backend.url(), "websocket = true"));
    let upgrade = "GET / HTTP/1.1\r\nHost: chat.example.test\r\nConnection: upgrade, close\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   Sec-WebSocket-Version: 13\r\n\r\n";
    let answer = raw_exchange(proxy.http(), upgrade.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("no"), "{answer}");
}

#[test]
fn a_tunnel_has_no_length_and_http_1_0_has_no_tunnel() {
    let backend = RawUpstream::start(|connection| {
        if connection.read_request().is_some_and(|request| request.to_lowercase().contains("upgrade:")) {
            connection.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                  Content-Length: 7\r\n\r\n",
            );
        } else {
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let proxy = TestProxy::start(&route(&backend.url(), "websocket = true"));
    let ask = |version: &str| {
        let request = format!(
            "GET / HTTP/{version}\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        raw_exchange(proxy.http(), request.as_bytes())
    };
    let upgraded = ask("1.1").to_lowercase();
    assert!(upgraded.starts_with("http/1.1 101 ") && !upgraded.contains("content-length"), "{upgraded}");
    let plain = ask("1.0");
    assert!(plain.starts_with("HTTP/1.0 200 ") && plain.ends_with("ok"), "{plain}");
}

#[test]
fn an_open_tunnel_is_counted_and_its_record_is_written_when_it_closes() {
    let app = Peer::start("app.py", &[]);
    let proxy = TestProxy::start(&route(&app.url(), "websocket = true"));
    let held = hold(&proxy, "wss", "/ws?token=hunter2");
    let active = || proxy.metric("sunbeam_websocket_active", &[]);
    eventually("an open tunnel", || (active() > 0.5).then_some(()));
    // A second one comes and goes: the gauge counts tunnels, and its record does not wait for the first.
    assert!(chat(&proxy, "ws", "/ws?second", &["--send", "x"]).0);
    proxy.audit().wait_for("the second tunnel", |record| record.query == "second");
    eventually("one tunnel is left", || ((active() - 1.0).abs() < 0.5).then_some(()));
    assert_eq!(proxy.audit().records().len(), 1, "no record while the tunnel is open");
    let connections = proxy.metric("sunbeam_active_connections", &[]);
    assert!(connections > 0.5, "a tunnel is a connection, and bounded as such: {connections}");
    let (went_well, told) = let_go(held);
    assert!(went_well, "{told}");
    eventually("no tunnel is left", || (active() < 0.5).then_some(()));
    let record = proxy.audit().wait_for("the tunnel", |record| record.query.starts_with("token"));
    assert_eq!((record.status, record.method.as_str(), record.path.as_str()), (101, "GET", "/ws"));
    assert_eq!(record.query, "token=[redacted]");
    assert_eq!((record.backend, record.error), (app.url(), None));
    assert!(record.response_bytes > 0, "what went down the tunnel is counted");
}

#[test]
fn a_tunnel_may_be_silent_for_longer_than_every_deadline() {
    let app = Peer::start("app.py", &[]);
    let limits = "[limits]\nbackend_timeout_secs = 1\nkeepalive_secs = 2\nheader_timeout_secs = 2\n";
    let proxy = TestProxy::start(&format!("{limits}{}", route(&app.url(), "websocket = true")));
    for scheme in ["ws", "wss"] {
        let (went_well, told) =
            chat(&proxy, scheme, "/ws", &["--pause", "3", "--send", "before", "--send", "after"]);
        assert!(went_well, "{told}");
        assert_eq!(told["replies"], json!(["echo:before", "echo:after"]));
    }
}

#[test]
fn tunnels_count_against_the_bound_on_connections() {
    let app = Peer::start("app.py", &[]);
    let bound = "[limits]\nmax_connections = 2\n";
    let proxy = TestProxy::start(&format!("{bound}{}", route(&app.url(), "websocket = true")));
    let held = [hold(&proxy, "ws", "/ws"), hold(&proxy, "wss", "/ws")];
    let active = || proxy.metric("sunbeam_websocket_active", &[]);
    eventually("two tunnels", || (active() > 1.5).then_some(()));
    assert!(proxy.client().try_get(HOST, "/echo").is_err(), "the node is full");
    assert!(proxy.metric("sunbeam_limit_hits_total", &[("limit", "max_connections")]) > 0.5);
    for held in held {
        assert!(let_go(held).0);
    }
    let answer = eventually("room again", || proxy.client().try_get(HOST, "/echo").ok());
    assert_eq!(answer.status, 200);
}

#[test]
fn a_drain_lets_a_tunnel_finish_and_ends_one_that_does_not_before_its_deadline() {
    let app = Peer::start("app.py", &[]);
    let proxy =
        TestProxy::start(&format!("[limits]\ndrain_secs = 30\n{}", route(&app.url(), "websocket = true")));
    let held = hold(&proxy, "wss", "/ws");
    let audit = proxy.audit();
    eventually("a tunnel", || (proxy.metric("sunbeam_websocket_active", &[]) > 0.5).then_some(()));
    let door = proxy.https();
    let mut proxy = proxy;
    let draining = std::thread::spawn(move || {
        proxy.drain();
        proxy
    });
    eventually("nothing new is taken", || TcpStream::connect(door).is_err().then_some(()));
    assert!(!draining.is_finished(), "the drain waits for the tunnel");
    assert!(let_go(held).0, "the tunnel was still whole");
    let proxy = draining.join().unwrap();
    assert_eq!(audit.wait_for("the tunnel", |record| record.path == "/ws").error, None);
    drop(proxy);

    let proxy =
        TestProxy::start(&format!("[limits]\ndrain_secs = 1\n{}", route(&app.url(), "websocket = true")));
    let held = hold(&proxy, "ws", "/ws");
    eventually("a tunnel", || (proxy.metric("sunbeam_websocket_active", &[]) > 0.5).then_some(()));
    let (audit, mut proxy) = (proxy.audit(), proxy);
    proxy.drain();
    let record = audit.wait_for("the tunnel", |record| record.path == "/ws");
    assert_eq!(record.error.as_deref(), Some("closed by drain"));
    assert!(let_go(held).1.contains("echo:hello"));
}

/// The frame `hello`, masked as clients do (RFC 6455 §5.2), and its echo.
const HELLO: &[u8] = b"\x81\x85\0\0\0\0hello";

#[test]
fn what_a_client_sends_before_the_answer_reaches_the_tunnel_and_a_body_does_not() {
    let app = Peer::start("app.py", &[]);
    let proxy = TestProxy::start(&format!(
        "[[routes]]\nhost_prefix = \"chat\"\nbackend = \"{}\"\nwebsocket = true\ndisable_secure_redirection = true\n",
        app.url()
    ));
    let upgrade = |more: &str| {
        format!(
            "GET /ws HTTP/1.1\r\nHost: chat.example.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        )
    };
    let mut stream = TcpStream::connect(proxy.http()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(&[upgrade("").as_bytes(), HELLO].concat()).unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while !answer.ends_with(b"echo:hello") {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..count]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    let with_body = [upgrade("Content-Length: 5\r\n").as_bytes(), b"12345"].concat();
    let answer = raw_exchange(proxy.http(), &with_body);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
}
