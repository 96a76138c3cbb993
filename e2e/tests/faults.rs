// SPDX-License-Identifier: Apache-2.0
//! What happens when something around the node breaks: backends, clients, the disk, the bounds, the node's
//! own end (the answers of "what a client gets", row B18's kin). Nothing of it may panic.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use http::Response;
use http_body_util::Full;
use sunbeam_testkit::{
    Peer, RawUpstream, Seen, TestCa, TestFolder, TestProxy, TestUpstream, eventually, free_address,
    raw_exchange, run,
};

/// Nothing ever listens there.
const DEAD: &str = "http://127.0.0.1:1";

#[test]
fn a_backend_that_is_not_there_is_a_502_with_a_number_to_tell_the_operator() {
    // A label of 64 letters is no name: nobody outside is asked.
    let unresolvable = format!("http://{}.invalid:80", "x".repeat(64));
    for (name, url, kind) in
        [("nobody listens", DEAD, "connect"), ("no such name", unresolvable.as_str(), "dns")]
    {
        let proxy = TestProxy::builder().route("www", url).start();
        for client in [proxy.client(), proxy.client().http2()] {
            let answer = client.header("accept", "text/html").get("www.example.test", "/x");
            assert_eq!(answer.status, 502, "{name}");
            let id = answer.header("x-request-id").unwrap();
            assert!(answer.text().contains(id), "{name}: {}", answer.text());
            assert!(!answer.text().contains("127.0.0.1") && !answer.text().contains("invalid"), "{name}");
            let record = proxy.audit().wait_for(name, |record| record.request_id == id);
            assert_eq!((record.status, record.backend.as_str()), (502, url), "{name}");
            assert!(record.error.unwrap().contains(kind), "{name}");
        }
        let counted = upstream_errors(&proxy, kind);
        assert!((counted - 2.0).abs() < 0.1, "{name}: {counted}");
        no_panic(&proxy);
    }
}

#[test]
fn a_backend_that_does_not_answer_in_time_is_a_504() {
    let backend = RawUpstream::silent();
    let limits = "[limits]\nbackend_timeout_secs = 1\n";
    let proxy = TestProxy::builder().config(limits).route("www", &backend.url()).start();
    for client in [proxy.client(), proxy.client().http2(), proxy.client().method("POST").body("x")] {
        let answer = client.get("www.example.test", "/x");
        assert_eq!(answer.status, 504);
        assert!(answer.text().contains(answer.header("x-request-id").unwrap()));
    }
    assert_eq!(backend.requests().len(), 3, "a request that may have been done is not sent again");
    assert!(upstream_errors(&proxy, "timeout") > 2.5);
    let record = proxy.audit().wait_for("the timeout", |record| record.status == 504);
    assert!(record.error.is_some() && record.upstream_us >= 900_000, "{record:?}");
    no_panic(&proxy);
}

#[test]
fn an_answer_that_breaks_off_is_never_ended_well() {
    const HALF: &str = "the first half";
    let length = RawUpstream::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{HALF}"));
    let chunked = RawUpstream::answering(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\ne\r\n{HALF}\r\n"
    ));
    let in_a_chunk =
        RawUpstream::answering(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{HALF}"));
    let stalled = RawUpstream::start(|connection| {
        connection.read_request();
        connection.write(format!("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{HALF}").as_bytes());
        connection.read_request();
    });
    for (name, backend) in
        [("by length", length), ("in chunks", chunked), ("in a chunk", in_a_chunk), ("by stalling", stalled)]
    {
        let limits = "[limits]\nbackend_timeout_secs = 1\n";
        let open = "disable_secure_redirection = true";
        let proxy = TestProxy::builder().config(limits).route("www", &backend.url()).config(open).start();
        for (kind, client) in [
            ("HTTP/1.1", proxy.client()),
            ("HTTP/2", proxy.client().http2()),
            ("compressed", proxy.client().header("accept-encoding", "gzip")),
            ("compressed HTTP/2", proxy.client().http2().header("accept-encoding", "gzip")),
        ] {
            let answer = client.try_get("www.example.test", "/x");
            assert!(answer.is_err(), "{name}, {kind}: looks whole: {answer:?}");
        }
        let answer = raw_exchange(proxy.http(), b"GET /raw HTTP/1.1\r\nHost: www.example.test\r\n\r\n");
        assert!(answer.contains(HALF), "{name}: what came is passed on: {answer}");
        assert!(!answer.ends_with("0\r\n\r\n"), "{name}: {answer}");
        let record = proxy.audit().wait_for(name, |record| record.path == "/raw");
        assert!(record.error.unwrap().starts_with("the answer broke off"), "{name}");
        no_panic(&proxy);
    }
}

#[test]
fn an_answer_that_breaks_off_before_it_could_be_rewritten_is_a_502() {
    let backend = RawUpstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100\r\n\r\nhalf a page",
    );
    let rule = "[[routes.body_rewrites]]\nfind = \"a\"\nreplace = \"b\"\n";
    let proxy = TestProxy::builder().route("www", &backend.url()).config(rule).start();
    let answer = proxy.client().get("www.example.test", "/x");
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains(answer.header("x-request-id").unwrap()));
    no_panic(&proxy);
}

#[test]
fn an_answer_that_is_not_clearly_http_is_a_502() {
    for (name, bytes) in [
        ("nothing", ""),
        ("garbage", "\x01\x02\x03 this is no HTTP\r\n\r\n"),
        ("another protocol", "SSH-2.0-OpenSSH_9.2p1\r\n"),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-Len"),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!"),
        ("one length twice", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
        (
            "a length and chunks",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        ("a length that is no number", "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok"),
        ("a status that is none", "HTTP/1.1 999 Nines\r\nContent-Length: 2\r\n\r\nok"),
        (
            "an upgrade nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        ),
        ("a space in a name", "HTTP/1.1 200 OK\r\nX Y: 1\r\nContent-Length: 2\r\n\r\nok"),
    ] {
        let backend = RawUpstream::answering(bytes);
        let proxy = TestProxy::builder().route("www", &backend.url()).start();
        let answer = proxy.client().get("www.example.test", "/x");
        assert_eq!(answer.status, 502, "{name}: {answer:?}");
        let id = answer.header("x-request-id").unwrap();
        assert!(answer.text().contains(id), "{name}");
        let record = proxy.audit().wait_for(name, |record| record.request_id == id);
        assert!(record.error.is_some(), "{name}");
        let counted = upstream_errors(&proxy, "protocol") + upstream_errors(&proxy, "reset");
        assert!((counted - 1.0).abs() < 0.1, "{name}: {counted}");
        no_panic(&proxy);
    }
}

#[test]
fn a_tls_backend_is_verified_unless_the_operator_says_otherwise() {
    let (ca, folder) = (TestCa::new(), TestFolder::new());
    let ca_path = ca.write_root(&folder);
    let here = TestUpstream::tls(&ca.issue(&["127.0.0.1"]), echo);
    let elsewhere = TestUpstream::tls(&ca.issue(&["elsewhere.test"]), echo);
    let trusted = format!("backend_ca_path = {ca_path:?}\n");
    for (name, backend, more, status) in [
        ("unknown issuer", &here, "", 502),
        ("known issuer", &here, trusted.as_str(), 200),
        ("another name", &elsewhere, &trusted, 502),
        ("not verified", &elsewhere, "backend_verify = false\n", 200),
    ] {
        let url = format!("https://{}", backend.address());
        let proxy = TestProxy::builder().route("www", &url).config(more).start();
        let answer = proxy.client().get("www.example.test", "/x");
        assert_eq!(answer.status, status, "{name}");
        assert_eq!(upstream_errors(&proxy, "tls") > 0.5, status == 502, "{name}");
        let report = proxy.reload(&fs::read_to_string(proxy.config_path()).unwrap()).unwrap();
        let warned =
            report.warnings.iter().any(|warning| warning.to_string().contains("backend_verify = false"));
        assert_eq!(warned, more.contains("false"), "{name}: never off silently");
        no_panic(&proxy);
    }
    assert_eq!((here.seen().len(), elsewhere.seen().len()), (1, 1), "whom we do not trust learns nothing");
}

#[test]
fn a_client_that_leaves_in_the_middle_leaves_a_record() {
    let app = Peer::start("app.py", &[]);
    let open = "disable_secure_redirection = true";
    let proxy = TestProxy::builder().route("www", &app.url()).config(open).start();
    let mut stream = TcpStream::connect(proxy.http()).unwrap();
    stream.write_all(b"GET /big?bytes=900000000 HTTP/1.1\r\nHost: www.example.test\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 10_000]).unwrap();
    drop(stream);
    let mut curl = proxy.curl();
    let output =
        run(curl.args(["--http2", "--max-filesize", "1000", "https://www.example.test/big?bytes=800000000"]));
    assert_eq!(output.status.code(), Some(63), "curl left: the file is too large for it");
    // Nobody waits for the answer of a backend that never comes.
    let silent = RawUpstream::silent();
    let waiting = TestProxy::builder().route("www", &silent.url()).config(open).start();
    let mut stream = TcpStream::connect(waiting.http()).unwrap();
    stream.write_all(b"GET /never HTTP/1.1\r\nHost: www.example.test\r\n\r\n").unwrap();
    eventually("the backend is asked", || silent.requests().pop());
    drop(stream);
    for (proxy, query, status) in
        [(&proxy, "bytes=900000000", 200), (&proxy, "bytes=800000000", 200), (&waiting, "", 499)]
    {
        let record = proxy.audit().wait_for(query, |record| record.query == query);
        assert_eq!(record.status, status, "{query}");
        assert!(record.error.is_some(), "{query}: {record:?}");
        assert!(record.response_bytes < 700_000_000, "{query}");
        no_panic(proxy);
    }
    assert_eq!(proxy.client().get("www.example.test", "/big?bytes=10").body.len(), 10);
    let record = proxy.audit().wait_for("a whole answer", |record| record.query == "bytes=10");
    assert_eq!((record.error, record.response_bytes), (None, 10));
}

#[test]
fn a_full_disk_costs_audit_lines_and_no_request() {
    let backend = TestUpstream::echo();
    let proxy =
        TestProxy::builder().config("[audit]\npath = \"/dev/full\"\n").route("www", &backend.url()).start();
    for round in 1..=20 {
        assert_eq!(proxy.client().get("www.example.test", &format!("/{round}")).status, 200);
    }
    eventually("every lost line is counted", || (audit_lines(&proxy, "failed") > 19.5).then_some(()));
    assert!(audit_lines(&proxy, "written") < 0.5);
    no_panic(&proxy);
}

#[test]
fn an_audit_log_that_is_taken_away_is_begun_anew() {
    let backend = TestUpstream::echo();
    let builder = TestProxy::builder();
    let path = builder.folder().write("logs/audit.log", "");
    let (logs, away) = (builder.folder().join("logs"), builder.folder().join("away"));
    let proxy = builder.config(&format!("[audit]\npath = {path:?}\n")).route("www", &backend.url()).start();
    let get =
        |target: &str| assert_eq!(proxy.client().get("www.example.test", target).status, 200, "{target}");
    let is_written = |target: &str| {
        eventually(target, || fs::read_to_string(&path).ok()?.contains(&format!("{target}\"")).then_some(()));
    };
    get("/before");
    is_written("/before");
    fs::remove_file(&path).unwrap();
    get("/removed");
    is_written("/removed");
    fs::rename(&path, logs.join("audit.log.1")).unwrap();
    get("/renamed");
    is_written("/renamed");
    assert!(
        !fs::read_to_string(logs.join("audit.log.1")).unwrap().contains("/renamed"),
        "as logrotate expects"
    );
    fs::rename(&logs, &away).unwrap();
    get("/folder-gone");
    eventually("the lost line is counted", || (audit_lines(&proxy, "failed") > 0.5).then_some(()));
    fs::rename(&away, &logs).unwrap();
    get("/folder-back");
    is_written("/folder-back");
    no_panic(&proxy);
}

#[test]
fn connections_past_the_bound_are_closed_and_counted() {
    let backend = TestUpstream::echo();
    let (limits, open) = ("[limits]\nmax_connections = 2\n", "disable_secure_redirection = true");
    let proxy = TestProxy::builder().config(limits).route("www", &backend.url()).config(open).start();
    let first = kept_connection(proxy.http()).unwrap();
    let _second = kept_connection(proxy.http()).unwrap();
    assert!(kept_connection(proxy.http()).is_none(), "the third is closed");
    assert!(proxy.client().try_get("www.example.test", "/tls").is_err(), "all listeners count together");
    assert!(proxy.metric("sunbeam_limit_hits_total", &[("limit", "max_connections")]) > 1.5);
    assert!((proxy.metric("sunbeam_active_connections", &[]) - 2.0).abs() < 0.1);
    drop(first);
    eventually("the place is free again", || kept_connection(proxy.http()));
    no_panic(&proxy);
}

#[test]
fn a_node_that_drains_finishes_what_it_began_and_takes_nothing_new() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let backend = RawUpstream::start(move |connection| {
        if connection.read_request().is_some() {
            // A test that failed has dropped the sender.
            if held.lock().unwrap().recv().is_ok() {
                connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
            }
        }
    });
    let mut proxy = TestProxy::builder().route("www", &backend.url()).start();
    let (client, address) = (proxy.client(), proxy.https());
    let audit = proxy.audit();
    thread::scope(|scope| {
        // A failure in here lets the request go, too.
        let release = release;
        let answer = scope.spawn(move || client.get("www.example.test", "/in-flight"));
        eventually("the request is in flight", || backend.requests().pop());
        let draining = scope.spawn(|| proxy.drain());
        eventually("new connections are refused", || {
            let error = TcpStream::connect(address).err()?;
            (error.kind() == ErrorKind::ConnectionRefused).then_some(())
        });
        assert!(!draining.is_finished(), "the node waits for the request");
        release.send(()).unwrap();
        let answer = answer.join().unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
        draining.join().unwrap();
    });
    let records = audit.records();
    assert!(
        records.iter().any(|record| record.path == "/in-flight" && record.error.is_none()),
        "{records:?}"
    );
}

#[test]
fn a_backend_that_comes_back_serves_at_once() {
    let address = free_address();
    let proxy = TestProxy::builder().route("www", &format!("http://{address}")).start();
    let status = || proxy.client().get("www.example.test", "/x").status;
    for round in 0..3 {
        assert_eq!(status(), 502, "round {round}: nobody is there");
        let backend = TestUpstream::at(&address.to_string(), echo);
        assert_eq!(status(), 200, "round {round}: it is back");
        drop(backend);
        eventually("it is gone", || TcpStream::connect(address).is_err().then_some(()));
    }
    no_panic(&proxy);
}

/// A connection that has served a request and is kept; `None` when the node closed it unserved.
fn kept_connection(address: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set a read timeout");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: www.example.test\r\n\r\n").ok()?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).ok()?;
    assert_eq!(&start, b"HTTP/1.1 200");
    Some(stream)
}

fn echo(seen: &Seen) -> Response<Full<bytes::Bytes>> {
    Response::new(Full::from(seen.target.clone()))
}

fn upstream_errors(proxy: &TestProxy, kind: &str) -> f64 {
    proxy.metric("sunbeam_upstream_errors_total", &[("kind", kind)])
}

fn audit_lines(proxy: &TestProxy, result: &str) -> f64 {
    proxy.metric("sunbeam_audit_lines_total", &[("result", result)])
}

fn no_panic(proxy: &TestProxy) {
    assert!(proxy.metric("sunbeam_panics_total", &[]) < 0.5);
}
