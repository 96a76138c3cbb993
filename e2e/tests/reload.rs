// SPDX-License-Identifier: Apache-2.0
//! A configuration that changes under a running node: whole or not at all, and nobody notices but those
//! whom it concerns (rows H22, H23, J13, A05; the contract's "every key can be changed by reload").

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;
use sunbeam_testkit::{
    OtlpReceiver, TestFolder, TestProxy, TestUpstream, eventually, free_address, span_attribute,
};

fn route(prefix: &str, backend: &TestUpstream) -> String {
    format!(
        "[[routes]]\nhost_prefix = \"{prefix}\"\nbackend = \"{}\"\ndisable_secure_redirection = true\n",
        backend.url()
    )
}

fn host(prefix: &str) -> String {
    format!("{prefix}.example.test")
}

fn status(proxy: &TestProxy, prefix: &str) -> u16 {
    proxy.client().get(&host(prefix), "/").status
}

fn config_error(proxy: &TestProxy) -> Value {
    proxy.api("GET", "/api/v1/status", "").json()["config_error"].clone()
}

fn reload_failed(proxy: &TestProxy) -> bool {
    proxy.metric("sunbeam_config_reload_failed", &[]) > 0.5
}

#[test]
fn a_changed_file_is_in_use_within_seconds_without_being_asked_for() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::start(&route("one", &backend));
    assert_eq!([status(&proxy, "one"), status(&proxy, "two")], [200, 421]);
    proxy.write_config(&route("two", &backend));
    eventually("the new route", || (status(&proxy, "two") == 200).then_some(()));
    assert_eq!(status(&proxy, "one"), 421);
    assert!(!reload_failed(&proxy));
}

#[test]
fn a_broken_file_keeps_the_old_configuration_and_says_so_until_it_is_mended() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::start(&route("one", &backend));
    for (broken, why) in [
        ("[[routes]\n", "config.test.toml:1:"),
        ("[limits]\nmax_url_bytes = 1\n[[routes]]\nhost_prefx = \"one\"\n", "did you mean `host_prefix`?"),
        (
            "[[routes]]\nhost_prefix = \"one\"\nbackend = \"http://a\"\n[[routes.rewrites]]\npattern = \"(\"\ntarget = \"/\"\n",
            "pattern",
        ),
        ("[tls]\ncert_path = \"/proc/version\"\n", "/proc/version"),
    ] {
        // Seen by the node itself, and told to whoever asks for the reload.
        proxy.write_config(broken);
        eventually("the refusal", || {
            (reload_failed(&proxy) && config_error(&proxy).as_str()?.contains(why)).then_some(())
        });
        let error = proxy.node().reload().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(status(&proxy, "one"), 200);
    }
    fs::remove_file(proxy.config_path()).unwrap();
    assert!(proxy.node().reload().unwrap_err().to_string().contains("config.test.toml"));
    assert_eq!(status(&proxy, "one"), 200);
    // Mended by going back to the very text that is in use, and by a new one.
    proxy.write_config(&route("one", &backend));
    eventually("the file that was put back", || (!reload_failed(&proxy)).then_some(()));
    proxy.write_config("[[routes]\n");
    eventually("broken once more", || reload_failed(&proxy).then_some(()));
    proxy.write_config(&format!("{}{}", route("one", &backend), route("two", &backend)));
    eventually("the mended file", || (!reload_failed(&proxy) && status(&proxy, "two") == 200).then_some(()));
    assert_eq!(config_error(&proxy), Value::Null);
    assert!(proxy.metric("sunbeam_config_reloads_total", &[("result", "failed")]) > 3.5);
    assert!(proxy.metric("sunbeam_config_reloads_total", &[("result", "ok")]) > 0.5);
}

#[test]
fn twenty_reloads_under_load_fail_no_request() {
    let (backend, other) = (TestUpstream::echo(), TestUpstream::echo());
    let text = |number: usize| {
        let bytes = 4096 + number;
        let extra = if number.is_multiple_of(2) {
            "[[routes.response_headers]]\nname = \"x-even\"\nvalue = \"yes\"\n"
        } else {
            ""
        };
        let more = route(&format!("more{number}"), &other);
        format!("[limits]\nmax_url_bytes = {bytes}\n{}{extra}{more}", route("one", &backend))
    };
    let proxy = TestProxy::builder().config(&text(0)).threads(2).start();
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients = [proxy.client(), proxy.client().http2(), proxy.client().plain()];
    let load: Vec<_> = clients
        .into_iter()
        .map(|client| {
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
            std::thread::spawn(move || {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match client.try_get("one.example.test", "/under-load") {
                        Ok(answer) if answer.status == 200 && answer.text() == "GET /under-load" => {}
                        Ok(answer) => failures.push(format!("{} {}", answer.status, answer.text())),
                        Err(error) => failures.push(format!("{error:#}")),
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
                failures
            })
        })
        .collect();
    for number in 1..=20 {
        let before = count.load(Ordering::Relaxed);
        proxy.reload(&text(number)).unwrap();
        assert_eq!(status(&proxy, &format!("more{number}")), 200, "in use when the reload is done");
        eventually("some requests", || (count.load(Ordering::Relaxed) >= before + 5).then_some(()));
    }
    stop.store(true, Ordering::Relaxed);
    let failures: Vec<String> = load.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let asked = count.load(Ordering::Relaxed);
    assert!(failures.is_empty(), "{} of {asked}: {:?}", failures.len(), failures.first());
    assert!(asked >= 100, "{asked}");
}

#[test]
fn a_request_that_is_under_way_keeps_the_configuration_it_began_with() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (enter, entered) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new((enter, released));
    let slow = TestUpstream::with(move |_| {
        let gate = gate.lock().unwrap();
        gate.0.send(()).unwrap();
        gate.1.recv().unwrap();
        http::Response::new("old".into())
    });
    let header =
        |value: &str| format!("[[routes.response_headers]]\nname = \"x-version\"\nvalue = \"{value}\"\n");
    let proxy = TestProxy::start(&format!("{}{}", route("one", &slow), header("old")));
    let client = proxy.client();
    let asking = std::thread::spawn(move || client.get("one.example.test", "/"));
    entered.recv().unwrap();
    let fresh = TestUpstream::echo();
    proxy.reload(&format!("{}{}", route("one", &fresh), header("new"))).unwrap();
    let answer = proxy.client().get("one.example.test", "/x");
    assert_eq!((answer.text().as_str(), answer.header("x-version")), ("GET /x", Some("new")));
    release.send(()).unwrap();
    let answer = asking.join().unwrap();
    assert_eq!((answer.text().as_str(), answer.header("x-version")), ("old", Some("old")));
}

#[test]
fn routes_limits_headers_and_the_audit_path_change_with_the_next_request() {
    let (first, second) = (TestUpstream::echo(), TestUpstream::echo());
    let proxy = TestProxy::start(&route("one", &first));
    let one = host("one");
    let long = format!("/{}", "x".repeat(300));
    assert_eq!(proxy.client().get(&one, &long).status, 200);

    let report = proxy.reload(&route("one", &second)).unwrap();
    assert_eq!(report.changes.len(), 1, "{report:?}");
    let before = first.seen().len();
    assert_eq!(proxy.client().get(&one, "/second").text(), "GET /second");
    assert_eq!((first.seen().len(), second.last().target.as_str()), (before, "/second"));

    proxy.reload(&format!("[limits]\nmax_url_bytes = 200\n{}", route("one", &first))).unwrap();
    assert_eq!(proxy.client().get(&one, &long).status, 414);
    proxy.reload(&format!("[limits]\nmax_body_bytes = 5\n{}", route("one", &first))).unwrap();
    assert_eq!(proxy.client().get(&one, &long).status, 200);
    assert_eq!(proxy.client().method("POST").body("123456").get(&one, "/").status, 413);

    let header = "[[routes.response_headers]]\nname = \"x-frame-options\"\nvalue = \"DENY\"\n";
    proxy.reload(&format!("{}{header}", route("one", &first))).unwrap();
    assert_eq!(proxy.client().get(&one, "/").header("x-frame-options"), Some("DENY"));
    proxy.reload(&route("one", &first)).unwrap();
    assert_eq!(proxy.client().get(&one, "/").header("x-frame-options"), None);

    let moved = proxy.folder().join("moved.log");
    proxy.reload(&format!("[audit]\npath = {moved:?}\n{}", route("one", &first))).unwrap();
    proxy.client().get(&one, "/after-the-move");
    let line = eventually("a line in the new file", || {
        let text = fs::read_to_string(&moved).ok()?;
        text.contains("/after-the-move").then_some(text)
    });
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(!proxy.audit().records().iter().any(|record| record.path == "/after-the-move"));
    assert!(
        proxy.audit().records().iter().any(|record| record.path == "/second"),
        "the old lines were written"
    );
    proxy.reload(&format!("[audit]\nenabled = false\n{}", route("one", &first))).unwrap();
    proxy.client().get(&one, "/unwritten");
    proxy.reload(&format!("[audit]\npath = {moved:?}\n{}", route("one", &first))).unwrap();
    proxy.client().get(&one, "/written-again");
    eventually("the last line", || {
        fs::read_to_string(&moved).unwrap().contains("/written-again").then_some(())
    });
    assert!(!fs::read_to_string(&moved).unwrap().contains("/unwritten"));
}

#[test]
fn the_oldest_tls_version_changes_with_the_next_handshake() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::start(&route("one", &backend));
    let one = host("one");
    assert_eq!(proxy.client().tls12().get(&one, "/old").status, 200);
    let record = proxy.audit().wait_for("TLS 1.2", |record| record.path == "/old");
    assert_eq!(record.tls_version, "TLSv1.2");
    proxy.reload(&format!("[tls]\nmin_version = \"1.3\"\n{}", route("one", &backend))).unwrap();
    assert!(proxy.client().tls12().try_get(&one, "/").is_err());
    assert_eq!(proxy.client().get(&one, "/").status, 200);
    proxy.reload(&format!("[tls]\nmax_version = \"1.2\"\n{}", route("one", &backend))).unwrap();
    assert_eq!(proxy.client().tls12().get(&one, "/").status, 200);
    proxy.client().get(&one, "/newest");
    let record = proxy.audit().wait_for("TLS 1.2 again", |record| record.path == "/newest");
    assert_eq!(record.tls_version, "TLSv1.2");
}

#[test]
fn traces_go_where_the_newest_configuration_says() {
    let (first, second, backend) = (OtlpReceiver::start(), OtlpReceiver::start(), TestUpstream::echo());
    let text =
        |endpoint: &str| format!("[telemetry]\notlp_endpoint = \"{endpoint}\"\n{}", route("one", &backend));
    let mut proxy = TestProxy::start(&text(&first.url()));
    proxy.client().get(&host("one"), "/first");
    proxy.reload(&text(&second.url())).unwrap();
    proxy.client().get(&host("one"), "/second");
    proxy.reload(&text("")).unwrap();
    proxy.client().get(&host("one"), "/nowhere");
    proxy.drain();
    let paths = |collector: &OtlpReceiver| -> Vec<String> {
        collector.spans().iter().filter_map(|span| span_attribute(span, "url.path")).collect()
    };
    assert_eq!((paths(&first), paths(&second)), (vec!["/first".to_owned()], vec!["/second".to_owned()]));
}

fn answers(proxy: &TestProxy, address: SocketAddr) -> bool {
    proxy.client_to(address).try_get(&host("one"), "/").is_ok_and(|answer| answer.status == 200)
}

#[test]
fn listeners_come_and_go_and_a_connection_that_is_there_stays() {
    let backend = TestUpstream::echo();
    let text = |addresses: &[SocketAddr]| {
        let addresses: Vec<String> =
            addresses.iter().map(|address| format!("{:?}", address.to_string())).collect();
        format!("[listen]\nhttp = [{}]\n{}", addresses.join(", "), route("one", &backend))
    };
    let (first, second) = (free_address(), free_address());
    let proxy = TestProxy::builder().config(&text(&[first])).threads(2).start();
    assert!(answers(&proxy, first));
    proxy.reload(&text(&[first, second])).unwrap();
    assert!(answers(&proxy, first), "the old one goes on");
    eventually("the new one answers", || answers(&proxy, second).then_some(()));
    let mut kept = TcpStream::connect(first).unwrap();
    std::io::Write::write_all(&mut kept, b"GET /kept HTTP/1.1\r\nHost: one.example.test\r\n").unwrap();
    proxy.reload(&text(&[second])).unwrap();
    eventually("the old one is gone", || TcpStream::connect(first).is_err().then_some(()));
    assert!(answers(&proxy, second));
    std::io::Write::write_all(&mut kept, b"Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut kept, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let taken = TcpListener::bind(first);
    assert!(taken.is_ok(), "the port is free for others: {taken:?}");
}

#[test]
fn an_address_on_the_same_port_is_not_taken_by_ourselves() {
    let backend = TestUpstream::echo();
    let (http, metrics, management) = (free_address(), free_address(), free_address());
    let any = |address: SocketAddr| SocketAddr::from(([0, 0, 0, 0], address.port()));
    let text = |http: SocketAddr, metrics: SocketAddr, management: SocketAddr| {
        format!(
            "[listen]\nhttp = \"{http}\"\n[telemetry]\nmetrics_port = {}\nmetrics_bind = \"{}\"\n\
             [management]\nbind = \"{management}\"\n{}",
            metrics.port(),
            metrics.ip(),
            route("one", &backend)
        )
    };
    let proxy = TestProxy::builder().config(&text(http, metrics, management)).threads(2).start();
    // From this host only to every address, and back: what containers and their images differ in.
    for (http, metrics, management) in
        [(any(http), any(metrics), any(management)), (http, metrics, management)]
    {
        proxy.reload(&text(http, metrics, management)).unwrap();
        let local = |address: SocketAddr| SocketAddr::from(([127, 0, 0, 1], address.port()));
        eventually("HTTP answers", || answers(&proxy, local(http)).then_some(()));
        assert_eq!(proxy.node().metrics_address(), Some(metrics));
        assert_eq!(proxy.node().management_address(), Some(management));
        eventually("the metrics answer", || {
            let answer = proxy.client_to(local(metrics)).try_get("127.0.0.1", "/health").ok()?;
            (answer.status == 200).then_some(())
        });
        eventually("the API answers", || {
            let answer = proxy.client_to(local(management)).try_get("127.0.0.1", "/health").ok()?;
            (answer.status == 200).then_some(())
        });
    }
}

#[test]
fn keys_that_need_a_restart_are_refused_by_name() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::start(&route("one", &backend));
    let elsewhere = proxy.folder().join("elsewhere.redb");
    for (text, key) in [
        (format!("[state]\npath = {elsewhere:?}\n"), "state.path"),
        ("[platform]\nmode = \"l7\"\n".to_owned(), "platform.mode"),
    ] {
        let error = proxy.reload(&format!("{text}{}", route("two", &backend))).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains("restart"), "{error}");
        assert_eq!([status(&proxy, "one"), status(&proxy, "two")], [200, 421], "nothing of it is in use");
        assert!(reload_failed(&proxy));
    }
    assert!(!elsewhere.exists());
    // Every other key of the section may change.
    proxy.reload(&format!("[platform]\nregion = \"moon\"\n{}", route("one", &backend))).unwrap();
    assert_eq!(proxy.api("GET", "/api/v1/status", "").json()["region"], "moon");
    assert!(!reload_failed(&proxy));
}

#[test]
fn a_start_that_fails_leaves_the_state_to_the_next() {
    let taken = TcpListener::bind(free_address()).unwrap();
    let folder = TestFolder::new();
    let state = format!("[state]\npath = {:?}\n", folder.join("state.redb"));
    let metrics = format!("[telemetry]\nmetrics_port = {}\n", taken.local_addr().unwrap().port());
    for _ in 0..5 {
        let failed = TestProxy::builder().config(&state).config(&metrics).try_start();
        let Err(error) = failed else { panic!("the port is taken") };
        assert!(error.to_string().contains("already in use"), "{error}");
        TestProxy::builder().config(&state).start().drain();
    }
}

#[test]
fn a_reload_whose_port_is_taken_or_whose_file_cannot_be_written_changes_nothing_at_all() {
    let backend = TestUpstream::echo();
    let taken = TcpListener::bind(free_address()).unwrap();
    let taken_address = taken.local_addr().unwrap();
    let proxy = TestProxy::start(&route("one", &backend));
    let (management, listeners) = (proxy.node().management_address(), proxy.node().listeners());
    let new = free_address();
    let moved = proxy.folder().join("moved.log");
    let changes = |http: &str, audit: &str, more: &str| {
        format!(
            "[limits]\nmax_url_bytes = 64\n[listen]\nhttp = {http}\n[audit]\npath = {audit}\n{more}{}",
            route("two", &backend)
        )
    };
    let fine = format!("[\"127.0.0.1:0\", \"{new}\"]");
    let moved_text = format!("{moved:?}");
    let half_taken = format!("[\"{new}\", \"{taken_address}\"]");
    let manage = |address: SocketAddr| format!("[management]\nbind = \"{address}\"\n");
    let ssh = format!("[ssh]\nlisten = \"{taken_address}\"\nbackend = \"127.0.0.1:1\"\n");
    let metrics = format!("[telemetry]\nmetrics_port = {}\n", taken_address.port());
    for (name, text) in [
        ("a listener", changes(&half_taken, &moved_text, &manage(free_address()))),
        ("the API", changes(&fine, &moved_text, &manage(taken_address))),
        ("the passthrough", changes(&fine, &moved_text, &ssh)),
        ("the metrics", changes(&fine, &moved_text, &metrics)),
        ("the audit log", changes(&fine, "\"/proc/no/such/audit.log\"", &manage(free_address()))),
    ] {
        proxy.reload(&text).unwrap_err();
        assert!(reload_failed(&proxy), "{name}");
        assert_eq!([status(&proxy, "one"), status(&proxy, "two")], [200, 421], "{name}: routes");
        let long = proxy.client().get(&host("one"), &format!("/{}", "x".repeat(100)));
        assert_eq!(long.status, 200, "{name}: limits");
        assert!(TcpStream::connect(new).is_err(), "{name}: no new listener");
        assert_eq!(
            (proxy.node().management_address(), proxy.node().listeners()),
            (management, listeners.clone())
        );
        assert_eq!(proxy.node().passthrough_address(), None, "{name}");
        assert_eq!(proxy.node().metrics_address(), None, "{name}");
        assert!(fs::metadata(&moved).is_err(), "{name}: no new audit log");
        assert_eq!(proxy.api("GET", "/api/v1/status", "").json()["generation"], 1, "{name}");
    }
    assert!(
        proxy
            .reload(&changes(&half_taken, &moved_text, ""))
            .unwrap_err()
            .to_string()
            .contains(&taken_address.to_string())
    );
    drop(taken);
    proxy.reload(&changes(&half_taken, &moved_text, "")).unwrap();
    assert_eq!([status(&proxy, "one"), status(&proxy, "two")], [421, 200]);
    eventually("the port that is free now", || TcpStream::connect(taken_address).ok());
    assert!(!reload_failed(&proxy));
}
