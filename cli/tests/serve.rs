// SPDX-License-Identifier: Apache-2.0
//! `sunbeam serve`: start, signals, end.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use sunbeam_testkit::{TestFolder, TestUpstream, eventually};

use crate::program::{Serving, get, listens, run, sunbeam, told, write_config};

fn route(backend: &str) -> String {
    format!("[[routes]]\nhost = \"localhost\"\nbackend = \"{backend}\"\ndisable_secure_redirection = true\n")
}

#[test]
fn a_hang_up_reads_the_file_again_and_a_broken_one_changes_nothing() {
    let (one, two) = (TestUpstream::echo(), TestUpstream::echo());
    let node = Serving::start(&route(&one.url()));
    assert!(get(node.http, "/1").ends_with("GET /1"));
    let path = node.folder.join("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(&one.url(), &two.url())).unwrap();
    node.signal("HUP");
    eventually("the new backend is asked", || {
        get(node.http, "/2");
        (!two.seen().is_empty()).then_some(())
    });
    let asked = one.seen().len();
    fs::write(&path, text.replace("[[routes]]", "[[routs]]")).unwrap();
    node.signal("HUP");
    eventually("the refusal is logged", || {
        (node.log().contains("did you mean `routes`?") && node.log().contains("refused")).then_some(())
    });
    get(node.http, "/3");
    assert_eq!(two.last().target, "/3");
    assert_eq!(one.seen().len(), asked);
    assert!(node.ask(&["status"]).1.contains("did you mean `routes`?"));
}

#[test]
fn a_termination_finishes_what_is_in_flight_and_refuses_what_is_new() {
    let (asked, is_asked) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let (asked, may_go) = (std::sync::Mutex::new(asked), std::sync::Mutex::new(may_go));
    let backend = TestUpstream::with(move |_| {
        asked.lock().unwrap().send(()).unwrap();
        may_go.lock().unwrap().recv().unwrap();
        http::Response::new("late".into())
    });
    let mut node = Serving::start(&route(&backend.url()));
    let address = node.http;
    let request = std::thread::spawn(move || get(address, "/slow"));
    is_asked.recv().unwrap();
    node.signal("TERM");
    eventually("new connections are refused", || (!listens(address)).then_some(()));
    go.send(()).unwrap();
    assert!(request.join().unwrap().ends_with("late"));
    assert_eq!(node.wait(), 0);
    assert!(!node.folder.join("state/node.json").exists());
}

#[test]
fn a_second_signal_does_not_wait() {
    let mut node = Serving::start(&route("http://127.0.0.1:1"));
    let mut held = TcpStream::connect(node.http).unwrap();
    held.write_all(b"GET / HT").unwrap();
    let address = node.http;
    node.signal("TERM");
    eventually("draining has begun", || (!listens(address)).then_some(()));
    node.signal("TERM");
    node.wait();
    let mut rest = Vec::new();
    drop(held.read_to_end(&mut rest));
}

#[test]
fn a_killed_node_starts_again_with_its_state() {
    let backend = TestUpstream::echo();
    let mut node = Serving::start(&route(&backend.url()));
    get(node.http, "/before");
    let token = fs::read_to_string(node.folder.join("state/management.token")).unwrap();
    node.child.kill().unwrap();
    node.child.wait().unwrap();
    let folder = std::mem::take(&mut node.folder);
    let node = Serving::start_in(folder, &[]);
    assert!(get(node.http, "/after").ends_with("GET /after"));
    assert_eq!(fs::read_to_string(node.folder.join("state/management.token")).unwrap(), token);
    let (_, history, _) = node.ask(&["rollback", "--list"]);
    assert_eq!(history.lines().filter(|line| line.contains("start")).count(), 1, "{history}");
}

#[test]
fn each_reason_not_to_start_has_its_line_and_its_code() {
    let folder = TestFolder::new();
    let (code, _, err) = told(&run(&folder, &["serve", "--config", "/nonexistent/config.toml"]));
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("/nonexistent/config.toml"), "{err}");

    write_config(&folder, "[[routes]]\nhost = \"a b\"\nbackend = \"ftp://x\"\n[limits]\nmax_headers = 1\n");
    let config = folder.join("config.toml").display().to_string();
    let (code, _, err) = told(&run(&folder, &["serve", "--config", &config]));
    assert_eq!(code, 2, "{err}");
    for part in
        ["`routes[0].host`: `a b` is not a host name", "must begin with `http://`", "1 is out of range: 8 to"]
    {
        assert!(err.contains(part), "missing `{part}` in {err}");
    }

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap();
    write_config(&folder, "");
    let text = fs::read_to_string(folder.join("config.toml")).unwrap();
    folder.write("config.toml", text.replacen("127.0.0.1:0", &port.to_string(), 1));
    let (code, _, err) = told(&run(&folder, &["serve", "--config", &config]));
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("another program listens there"), "{err}");

    write_config(&folder, "");
    let text = fs::read_to_string(folder.join("config.toml")).unwrap();
    let log = folder.join("audit.log").display().to_string();
    folder.write("config.toml", text.replace(&log, "/nonexistent/audit.log"));
    let (code, _, err) = told(&run(&folder, &["serve", "--config", &config]));
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("failed to open audit log `/nonexistent/audit.log`"), "{err}");
}

#[test]
fn a_second_node_on_the_same_state_is_told_so() {
    let node = Serving::start("");
    let config = node.folder.join("config.toml").display().to_string();
    let (code, _, err) = told(&sunbeam(&node.folder).args(["serve", "--config", &config]).output().unwrap());
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("another node uses it"), "{err}");
    assert!(listens(node.http));
}

#[test]
fn logs_are_json_where_nobody_reads_along_and_carry_the_request_id() {
    let files = TestFolder::new();
    let root = files.join("site");
    fs::create_dir(&root).unwrap();
    let node = Serving::start(&format!(
        "[[routes]]\nhost = \"localhost\"\nstatic_root = {root:?}\ndisable_secure_redirection = true\n"
    ));
    fs::remove_dir(&root).unwrap();
    let answer = get(node.http, "/x");
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    let id = answer.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
    let line = eventually("the failure is logged", || {
        node.log().lines().find(|line| line.contains("failed to read a static file")).map(str::to_owned)
    });
    assert!(line.contains(id), "{id} is not in {line}");
    for line in node.log().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(line.get("timestamp").is_some() && line.get("level").is_some(), "{line}");
    }
}

#[test]
fn the_environment_names_the_file_and_the_profile_lies_over_it() {
    let backend = TestUpstream::echo();
    let folder = TestFolder::new();
    write_config(&folder, "");
    folder.write("config.dev.toml", route("${SUNBEAM_TEST_BACKEND}"));
    let config = folder.join("config.toml");
    let output = sunbeam(&folder)
        .env("SUNBEAM_CONFIG", &config)
        .env("SUNBEAM_TEST_BACKEND", backend.url())
        .args(["validate", "--profile", "dev"])
        .output()
        .unwrap();
    let (code, out, err) = told(&output);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("1 route"), "{out}");
    let unset =
        sunbeam(&folder).env("SUNBEAM_CONFIG", &config).args(["validate", "--profile", "dev"]).output();
    let (code, out, err) = told(&unset.unwrap());
    assert_eq!(code, 2, "{out}{err}");
    assert!(
        format!("{out}{err}").contains("environment variable `SUNBEAM_TEST_BACKEND` is not set"),
        "{out}{err}"
    );
}

/// Row A19: the commands of docs/local-certificates.md, as they stand there, give a certificate that a
/// client which trusts their authority takes for `localhost`.
#[test]
fn the_documented_local_certificate_is_trusted() {
    let page = include_str!("../../docs/local-certificates.md");
    let (_, section) = page.split_once("## With openssl alone").unwrap();
    let (_, block) = section.split_once("```sh\n").unwrap();
    let (commands, _) = block.split_once("```").unwrap();
    let folder = TestFolder::new();
    let made = std::process::Command::new("bash")
        .args(["-ec", commands])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let backend = TestUpstream::echo();
    write_config(&folder, &route(&backend.url()));
    for name in ["crt", "key"] {
        fs::copy(folder.join(&format!("local.{name}")), folder.join(&format!("server.{name}"))).unwrap();
    }
    let node = Serving::start_in(folder, &[]);
    let answer = std::process::Command::new("curl")
        .args(["--silent", "--show-error", "--cacert"])
        .arg(node.folder.join("local-ca.crt"))
        .arg(format!("https://localhost:{}/trusted", node.https.port()))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&answer.stdout),
        "GET /trusted",
        "{}",
        String::from_utf8_lossy(&answer.stderr)
    );
}

/// Where it cannot be kept who was seen (a full disk, a folder in the way), that is said, and nothing else is lost by it.
#[test]
fn people_that_cannot_be_kept_cost_nothing_but_their_proof() {
    let backend = TestUpstream::with(|_| {
        let mut response = http::Response::new("welcome".into());
        let cookie = "session=real; Path=/; HttpOnly".parse().unwrap();
        response.headers_mut().insert(http::header::SET_COOKIE, cookie);
        response
    });
    let folder = TestFolder::new();
    write_config(&folder, &route(&backend.url()));
    folder.write("state/people.json/in-the-way", "");
    let mut node = Serving::start_in(folder, &[]);
    assert!(node.log().contains("layers are proven anew"), "{}", node.log());
    let with_session =
        "GET /account HTTP/1.1\r\nHost: localhost\r\nCookie: session=real\r\nConnection: close\r\n\r\n";
    for _ in 0..2 {
        let answer = sunbeam_testkit::raw_exchange(node.http, with_session.as_bytes());
        assert!(answer.ends_with("welcome"), "{answer}");
    }
    assert_eq!(node.ask(&["block", "192.0.2.7"]).0, 0);
    node.signal("TERM");
    assert_eq!(node.wait(), 0, "{}", node.log());
    assert!(node.log().contains("what layers were proven by is not kept over a restart"), "{}", node.log());
    let folder = std::mem::replace(&mut node.folder, TestFolder::new());
    drop(node);
    fs::remove_dir_all(folder.join("state/people.json")).unwrap();
    let mut node = Serving::start_in(folder, &[]);
    assert!(!node.log().contains("proven anew"), "{}", node.log());
    assert!(node.ask(&["blocks"]).1.contains("192.0.2.7"), "the rest of the state was kept");
    node.signal("TERM");
    assert_eq!(node.wait(), 0);
}
