// SPDX-License-Identifier: Apache-2.0
//! The commands of judging, against a node and without one (rows D02, H17).
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use sunbeam_testkit::{TestFolder, TestUpstream, raw_exchange};

use crate::program::{Serving, run, sunbeam, told, write_config};

fn config(backend: &TestUpstream) -> String {
    format!(
        "[[routes]]\nhost = \"localhost\"\nbackend = \"{}\"\ndisable_secure_redirection = true\n\
         [ddos]\nerror_threshold = 20\n",
        backend.url()
    )
}

fn status_from(node: &Serving, address: &str) -> u16 {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {address}\r\nConnection: close\r\n\r\n"
    );
    let answer = raw_exchange(node.http, request.as_bytes());
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

fn start(backend: &TestUpstream) -> Serving {
    let folder = TestFolder::new();
    write_config(&folder, &config(backend));
    let path = folder.join("config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replacen("[listen]\n", "[listen]\ntrusted_proxies = [\"127.0.0.1/32\"]\n", 1);
    std::fs::write(&path, format!("{text}\n[waf]\nenabled = false\n")).unwrap();
    Serving::start_in(folder, &[])
}

#[test]
fn a_block_holds_is_shown_survives_a_kill_and_is_taken_back_with_the_printed_command() {
    let backend = TestUpstream::echo();
    let node = start(&backend);
    assert_eq!(status_from(&node, "192.0.2.1"), 200);
    let (code, out, err) = node.ask(&["block", "192.0.2.0/28", "--for", "1h30m", "--why", "noise\u{1b}[31m"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.contains("range blocked for 5400 seconds") && out.contains("sunbeam unblock 192.0.2.0/28"),
        "{out}"
    );
    assert_eq!((status_from(&node, "192.0.2.1"), status_from(&node, "192.0.2.16")), (403, 200));
    let (_, out, _) = node.ask(&["blocks"]);
    assert!(out.contains("192.0.2.0/28") && out.contains("operator") && !out.contains('\u{1b}'), "{out}");
    // As a power cut would end it.
    node.signal("KILL");
    let mut node = node;
    node.wait();
    let folder = std::mem::replace(&mut node.folder, TestFolder::new());
    drop(node);
    let node = Serving::start_in(folder, &[]);
    assert_eq!((status_from(&node, "192.0.2.1"), status_from(&node, "192.0.2.16")), (403, 200));
    let (code, out, _) = node.ask(&["unblock", "192.0.2.0/28", "--dry-run"]);
    assert_eq!((code, status_from(&node, "192.0.2.1")), (0, 403), "{out}");
    let (code, out, err) = node.ask(&["unblock", "192.0.2.0/28"]);
    assert_eq!((code, status_from(&node, "192.0.2.1")), (0, 200), "{out}{err}");
    assert!(out.contains("sunbeam block 192.0.2.0/28 --for"), "{out}");
    let (code, _, err) = node.ask(&["unblock", "192.0.2.0/28"]);
    assert_eq!(code, 1);
    assert!(err.contains("is not blocked"), "{err}");
}

#[test]
fn login_prints_a_link_to_the_console_that_works_once() {
    let backend = TestUpstream::echo();
    let node = start(&backend);
    let (code, out, err) = node.ask(&["login"]);
    assert_eq!(code, 0, "{out}{err}");
    let (page, secret) = out.trim().split_once('#').unwrap();
    let authority = page.strip_prefix("http://").unwrap().strip_suffix("/console/login").unwrap();
    assert!(secret.len() >= 43 && err.contains("works once, for 5m"), "{out}{err}");
    let log_in = || {
        let body = format!("{{\"secret\":\"{secret}\"}}");
        let request = format!(
            "POST /api/v1/session HTTP/1.1\r\nHost: {authority}\r\nOrigin: http://{authority}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        raw_exchange(authority.parse().unwrap(), request.as_bytes())
    };
    assert!(log_in().starts_with("HTTP/1.1 200"));
    assert!(log_in().starts_with("HTTP/1.1 401"));
    let (_, out, _) = node.ask(&["-o", "json", "login"]);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    let url = told["url"].as_str().unwrap();
    assert!(url.starts_with(page) && !url.contains(secret), "another link: {told}");
}

#[test]
fn who_is_allowed_by_a_command_passes_a_block_and_a_kill_until_it_is_removed() {
    let backend = TestUpstream::echo();
    let mut node = start(&backend);
    let both = |node: &Serving| (status_from(node, "192.0.2.1"), status_from(node, "192.0.2.2"));
    assert_eq!(node.ask(&["block", "192.0.2.0/28"]).0, 0);
    assert_eq!(both(&node), (403, 403));
    let (code, out, err) = node.ask(&["lists", "allow", "192.0.2.1", "--dry-run"]);
    assert_eq!((code, both(&node)), (0, (403, 403)), "{out}{err}");
    let (code, out, err) = node.ask(&["lists", "allow", "192.0.2.1", "--why", "office"]);
    assert_eq!((code, both(&node)), (0, (200, 403)), "{out}{err}");
    assert!(out.contains("IP allowed") && out.contains("sunbeam lists remove 192.0.2.1"), "{out}");
    node.signal("KILL");
    node.wait();
    let folder = std::mem::replace(&mut node.folder, TestFolder::new());
    drop(node);
    let node = Serving::start_in(folder, &[]);
    assert_eq!(both(&node), (200, 403));
    let (_, out, _) = node.ask(&["lists"]);
    assert!(out.contains("allow") && out.contains("office"), "{out}");
    let (code, out, err) = node.ask(&["lists", "remove", "192.0.2.1"]);
    assert_eq!((code, both(&node)), (0, (403, 403)), "{out}{err}");
    assert!(out.contains("sunbeam lists allow 192.0.2.1 --why='office'"), "{out}");
    let (code, _, err) = node.ask(&["lists", "remove", "192.0.2.1"]);
    assert!(code == 1 && err.contains("not on the allow list"), "{code} {err}");
    let (code, _, err) = node.ask(&["lists", "allow", "0.0.0.0/0"]);
    assert!(code == 2 && err.contains("everybody"), "{code} {err}");
}

#[test]
fn what_makes_no_sense_or_would_lock_its_author_out_changes_nothing() {
    let backend = TestUpstream::echo();
    let node = start(&backend);
    for (arguments, code, part) in [
        (&["block", "frobnicate"][..], 2, "frobnicate"),
        (&["block", "192.0.2.1/24"], 2, "192.0.2.0/24"),
        (&["block", "192.0.2.1", "--for", "0s"], 2, "0s"),
        (&["block", "0.0.0.0/0"], 2, "everybody"),
        (&["unblock", "nothing"], 2, "nothing"),
    ] {
        let (got, out, err) = node.ask(arguments);
        assert_eq!(got, code, "{arguments:?}: {out}{err}");
        assert!(err.contains(part), "{arguments:?}: {err}");
    }
    let path = node.folder.join("config.toml").display().to_string();
    let over_ssh = sunbeam(&node.folder)
        .env("SSH_CONNECTION", "203.0.113.5 50000 192.0.2.200 22")
        .args(["--config", &path, "block", "203.0.113.0/24"])
        .output()
        .unwrap();
    let (code, _, err) = told(&over_ssh);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("203.0.113.5"), "{err}");
    assert_eq!(status_from(&node, "203.0.113.9"), 200);
    let (_, out, _) = node.ask(&["blocks", "-o", "json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["total"], 0, "{out}");
}

#[test]
fn lists_bots_and_an_explanation_are_told() {
    let backend = TestUpstream::echo();
    let node = start(&backend);
    let (code, out, err) = node.ask(&["bots"]);
    assert_eq!(code, 0, "{err}");
    for part in ["Googlebot", "googlebot.com", "GPTBot", "ai_training", "limit", "built in"] {
        assert!(out.contains(part), "{part} is missing in {out}");
    }
    let (code, out, err) = node.ask(&["lists"]);
    assert_eq!(code, 0, "{out}{err}");
    node.ask(&["block", "192.0.2.7"]);
    let ask = |arguments: &[&str]| {
        node.ask(&[&["explain", "GET", "http://localhost/a/%2e%2e/B"], arguments].concat())
    };
    let (code, out, err) = ask(&["--ip", "192.0.2.8", "-H", "User-Agent: curl/8"]);
    assert_eq!(code, 0, "{out}{err}");
    for part in [
        "localhost",
        "/b",
        "rate_limit",
        "request_rate",
        "suspicious_path_ratio",
        "traversal",
        "score of the request",
    ] {
        assert!(out.contains(part), "{part} is missing in {out}");
    }
    assert_eq!(features_of(&ask(&["--ip", "192.0.2.8", "-o", "json"]).1), [14, 12]);
    let injection = "http://localhost/item?id=1%27%20union%20select%20password%20from%20users--%20";
    let (code, out, err) = node.ask(&["explain", "GET", injection]);
    assert_eq!(code, 1, "{out}{err}");
    for part in [
        "Parameter `id`: 1' union select password from users--",
        "what stands in it",
        "payload",
        "heaviest pieces",
    ] {
        assert!(out.contains(part), "{part} is missing in {out}");
    }
    let (code, out, _) = ask(&["--ip", "192.0.2.7"]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("listed") && out.contains("403"), "{out}");
    // It takes nothing: asked a hundred times, the client may still do all it may.
    for _ in 0..30 {
        ask(&["--ip", "192.0.2.9"]);
    }
    assert_eq!(status_from(&node, "192.0.2.9"), 200);
}

/// How many the client has, and how many the request.
fn features_of(json: &str) -> [usize; 2] {
    let explained: serde_json::Value = serde_json::from_str(json).expect("JSON");
    [&explained["features"], &explained["models"]["scanner"]["features"]]
        .map(|features| features.as_array().expect("a list").len())
}

#[test]
fn without_a_node_the_configuration_alone_explains() {
    let (folder, backend) = (TestFolder::new(), TestUpstream::echo());
    write_config(&folder, &format!("{}[lists]\nblock = [\"192.0.2.0/24\"]\n", config(&backend)));
    let path = folder.join("config.toml").display().to_string();
    let explain = |ip: &str, url: &str| {
        told(&run(&folder, &["--config", &path, "explain", "GET", url, "--ip", ip, "--offline"]))
    };
    let (code, out, err) = explain("192.0.2.9", "http://localhost/");
    assert_eq!(code, 1, "{out}{err}");
    assert!(out.contains("listed"), "{out}");
    assert_eq!(explain("198.51.100.9", "http://localhost/").0, 0);
    // Who reads it leaves before anything is written.
    let arguments =
        ["--config", &path, "explain", "GET", "http://localhost/", "--ip", "192.0.2.9", "--offline"];
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = sunbeam(&folder).args(arguments).stdout(writer).output().unwrap();
    assert_eq!(told(&output), (1, String::new(), String::new()));
    let (code, out, _) = explain("198.51.100.9", "http://nobody.test/");
    assert_eq!(code, 1);
    assert!(out.contains("421"), "{out}");
    let (code, _, err) = told(&run(&folder, &["--config", &path, "blocks"]));
    assert_eq!(code, 3, "no node: {err}");
}

#[test]
fn a_model_is_tried_installed_and_taken_away_with_the_printed_command() {
    let backend = TestUpstream::echo();
    let node = start(&backend);
    let (code, out, err) = node.ask(&["model", "status"]);
    assert!(code == 0 && out.contains("compiled in") && out.contains("are needed"), "{out}{err}");
    let file = node.folder.join("own.model").display().to_string();
    assert_eq!(node.ask(&["model", "export", "ddos", "--output", &file]).0, 0);
    let (code, _, err) = node.ask(&["model", "shadow", &file]);
    assert!(code == 1 && err.contains("judges already"), "{code} {err}");
    let (code, out, err) = node.ask(&["model", "install", &file, "--dry-run"]);
    assert!(code == 0 && out.contains("nothing was changed"), "{out}{err}");
    let (code, out, err) = node.ask(&["model", "install", &file]);
    assert!(code == 0 && out.contains("to undo: sunbeam model uninstall ddos"), "{out}{err}");
    let (_, out, _) = node.ask(&["model", "status"]);
    assert!(out.contains("installed"), "{out}");
    let (code, out, err) = node.ask(&["model", "uninstall", "ddos"]);
    assert!(code == 0 && out.contains("compiled in"), "{out}{err}");
    assert_eq!(node.ask(&["model", "uninstall", "ddos"]).0, 1);
    let (code, _, err) =
        node.ask(&["model", "install", &node.folder.join("config.toml").display().to_string()]);
    assert!(code == 2 && err.contains("no model file"), "{code} {err}");
    assert_eq!(node.ask(&["model", "shadow", "--stop", "scanner"]).0, 1);
    assert_eq!(node.ask(&["model", "shadow"]).0, 2);
}

#[test]
fn a_blocked_visitor_s_id_says_why_also_after_a_kill() {
    let backend = TestUpstream::echo();
    let folder = TestFolder::new();
    let text = format!(
        "[[routes]]\nhost = \"localhost\"\nbackend = \"{}\"\ndisable_secure_redirection = true\n",
        backend.url()
    );
    write_config(&folder, &text);
    let node = Serving::start_in(folder, &[]);
    let request = "GET /list?q=1%27+UNION+SELECT+x+FROM+users--+-&token=swordfish HTTP/1.1\r\nHost: localhost\r\n\
                   Connection: close\r\n\r\n";
    let answer = raw_exchange(node.http, request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let id =
        answer.lines().find_map(|line| line.to_lowercase().strip_prefix("x-request-id: ").map(str::to_owned));
    let id = id.unwrap();
    let told = sunbeam_testkit::eventually("it is kept", || {
        let (code, out, _) = node.ask(&["why", &id]);
        (code == 0).then_some(out)
    });
    for says in ["blocked by", "GET localhost/list", "score of its texts", "it looks like", &*id] {
        assert!(told.contains(says), "{says}: {told}");
    }
    assert!(!told.contains("swordfish"), "{told}");
    let (code, out, err) = node.ask(&["why", "127.0.0.1"]);
    assert!(code == 0 && out.contains(&id) && out.contains("/list"), "{out}{err}");
    let (code, _, err) = node.ask(&["why", "00000000"]);
    assert!(code == 1 && err.contains("nothing is kept about `00000000`"), "{code} {err}");
    let (code, _, err) = node.ask(&["why", "nonsense"]);
    assert!(code == 2 && err.contains("eight hexadecimal digits"), "{code} {err}");
    let (code, out, err) = node.ask(&["why", &id[..8], "--label", "human"]);
    assert!(code == 0 && out.contains("labelled human") && out.contains("labels.jsonl"), "{out}{err}");
    node.signal("KILL");
    let mut node = node;
    node.wait();
    let folder = std::mem::replace(&mut node.folder, TestFolder::new());
    drop(node);
    let node = Serving::start_in(folder, &[]);
    let (code, out, err) = node.ask(&["why", &id]);
    assert!(code == 0 && out.contains("GET localhost/list"), "{out}{err}");
}
