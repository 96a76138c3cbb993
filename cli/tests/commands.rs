// SPDX-License-Identifier: Apache-2.0
//! The other commands against a running node, and without one.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::Stdio;

use sunbeam_testkit::{TestFolder, TestUpstream, eventually, free_address};

use crate::program::{Serving, get, run, sunbeam, told, write_config};

fn node(backend: &TestUpstream) -> Serving {
    Serving::start(&format!(
        "[[routes]]\nhost = \"localhost\"\nbackend = \"{}\"\ndisable_secure_redirection = true\n",
        backend.url()
    ))
}

#[test]
fn a_running_node_answers_every_question_as_table_and_as_json() {
    let backend = TestUpstream::echo();
    let node = node(&backend);
    get(node.http, "/x");
    for (arguments, part) in [
        (&["status"][..], "running"),
        (&["top", "--once"], "requests"),
        (&["config", "show"], "[limits]"),
        (&["cert", "ls"], "localhost"),
        (&["rollback", "--list"], "start"),
        (&["privacy"], "127.0.0.1"),
        (&["reload", "--dry-run"], "nothing would change"),
    ] {
        let (code, out, err) = node.ask(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        assert!(out.contains(part), "{arguments:?}: missing `{part}` in {out}");
        if !matches!(arguments, ["config", ..]) {
            let (code, out, err) = node.ask(&[arguments, &["-o", "json"]].concat());
            assert_eq!(code, 0, "{arguments:?}: {out}{err}");
            assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok(), "{arguments:?}: {out}");
        }
    }
    let (_, doctor, _) = node.ask(&["doctor"]);
    assert!(doctor.contains("configuration") && doctor.contains("state"), "{doctor}");
}

#[test]
fn doctor_knows_the_node_that_was_started_by_a_relative_path() {
    let (backend, folder) = (TestUpstream::echo(), TestFolder::new());
    write_config(&folder, &format!("[[routes]]\nhost = \"localhost\"\nbackend = \"{}\"\n", backend.url()));
    let http = free_address().to_string();
    let text = std::fs::read_to_string(folder.join("config.toml")).unwrap();
    folder.write("config.toml", text.replacen("http = \"127.0.0.1:0\"", &format!("http = {http:?}"), 1));
    let log = std::fs::File::create(folder.join("log")).unwrap();
    let child = sunbeam(&folder)
        .current_dir(folder.join("."))
        .args(["serve", "--config", "config.toml"])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let node = Serving { child, folder, http: any, https: any };
    eventually("the node is ready", || node.log().contains("ready").then_some(()));
    let mut doctor = sunbeam(&node.folder);
    doctor.env("SUNBEAM_CONFIG", node.folder.join("config.toml")).arg("doctor");
    let (_, out, err) = told(&doctor.output().unwrap());
    assert!(out.contains(&format!("the node listens on {http}")), "{out}{err}");
    assert!(!out.contains("another program"), "{out}{err}");
}

#[test]
fn a_node_that_keeps_no_decisions_says_so() {
    let backend = TestUpstream::echo();
    let node = Serving::start(&format!(
        "[decisions]\npath = \"/dev/null\"\n[[routes]]\nhost = \"localhost\"\nbackend = \"{}\"\n\
         disable_secure_redirection = true\n",
        backend.url()
    ));
    assert!(get(node.http, "/x").contains("200"), "it serves");
    let (code, status, _) = node.ask(&["status"]);
    assert!(code == 0 && status.contains("NONE are kept"), "{status}");
    let (code, doctor, _) = node.ask(&["doctor"]);
    assert!(code == 1 && doctor.contains("the node keeps none"), "{doctor}");
    let (code, _, err) = node.ask(&["why", "00000000"]);
    assert!(code != 0 && err.contains("could not be opened"), "{err}");
}

#[test]
fn tail_shows_requests_as_they_happen_and_escapes_what_clients_send() {
    let backend = TestUpstream::echo();
    let node = node(&backend);
    let config = node.folder.join("config.toml").display().to_string();
    let mut tail = sunbeam(&node.folder)
        .args(["--config", &config, "tail"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("TIME"));
    let (found, line) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if line.contains("/esc") {
                drop(found.send(line));
            }
        }
    });
    let request = b"GET /esc%1b[31m HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let line = eventually("tail shows the request", || {
        sunbeam_testkit::raw_exchange(node.http, request);
        line.try_recv().ok()
    });
    assert!(line.contains("200") && !line.contains('\u{1b}'), "{line:?}");
    drop(tail.kill());
    drop(tail.wait());
}

#[test]
fn a_change_is_told_applied_and_taken_back() {
    let (one, two) = (TestUpstream::echo(), TestUpstream::echo());
    let node = node(&one);
    let path = node.folder.join("config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let changed = node.folder.write("next.toml", text.replace(&one.url(), &two.url())).display().to_string();
    let (code, diff, err) = node.ask(&["config", "diff", &changed]);
    assert_eq!(code, 1, "{diff}{err}");
    assert!(diff.contains(&two.url()) && diff.contains("routes[0].backend"), "{diff}");
    std::fs::write(&path, text.replace(&one.url(), &two.url())).unwrap();
    let (code, out, err) = node.ask(&["reload"]);
    assert_eq!(code, 0, "{out}{err}");
    get(node.http, "/two");
    assert_eq!(two.last().target, "/two");
    let (code, out, err) = node.ask(&["rollback"]);
    assert_eq!(code, 0, "{out}{err}");
    get(node.http, "/one");
    assert_eq!(one.last().target, "/one");
    let (code, _, err) = node.ask(&["rollback", "--to", "999"]);
    assert_eq!(code, 1, "{err}");
}

#[test]
fn secrets_are_never_printed() {
    let folder = TestFolder::new();
    let secret = folder.write("token", "a-very-secret-token-of-the-api\n");
    let node = Serving::start("");
    drop(node);
    let text = format!("[management]\ntoken = {{ file = {secret:?} }}\n");
    let path = folder.write("c.toml", text).display().to_string();
    for arguments in [&["config", "show", "--config", &path][..], &["validate", "--offline", &path]] {
        let (_, out, err) = told(&run(&folder, arguments));
        assert!(!format!("{out}{err}").contains("a-very-secret-token"), "{out}{err}");
    }
    let (_, out, _) = told(&run(&folder, &["config", "show", "--config", &path]));
    assert!(out.contains("token = \"***\""), "{out}");
}

#[test]
fn without_a_node_the_code_is_three_and_without_the_token_four() {
    let folder = TestFolder::new();
    let nobody = format!("http://{}", free_address());
    for command in ["status", "reload", "tail"] {
        let (code, _, err) = told(&run(&folder, &["--node", &nobody, "--token-file", "/dev/null", command]));
        assert!(code == 3 || code == 4, "{command}: {code} {err}");
    }
    let output =
        sunbeam(&folder).env("SUNBEAM_TOKEN", "x").args(["--node", &nobody, "status"]).output().unwrap();
    assert_eq!(told(&output).0, 3);
    let backend = TestUpstream::echo();
    let node = node(&backend);
    let (_, status, _) = node.ask(&["status", "-o", "json"]);
    assert!(status.contains("running"));
    let file = std::fs::read_to_string(node.folder.join("state/node.json")).unwrap();
    let api = serde_json::from_str::<serde_json::Value>(&file).unwrap()["api"].as_str().unwrap().to_owned();
    let output =
        sunbeam(&folder).env("SUNBEAM_TOKEN", "wrong").args(["--node", &api, "status"]).output().unwrap();
    let (code, _, err) = told(&output);
    assert_eq!(code, 4, "{err}");
}

#[test]
fn usage_errors_are_two_and_help_names_only_what_exists() {
    let folder = TestFolder::new();
    for arguments in [&["nonsense"][..], &["status", "--nonsense"], &["validate", "a", "b", "c"]] {
        let (code, _, err) = told(&run(&folder, arguments));
        assert_eq!(code, 2, "{arguments:?}: {err}");
    }
    let (code, help, _) = told(&run(&folder, &["--help"]));
    assert_eq!(code, 0);
    let built = [
        "up",
        "serve",
        "validate",
        "config",
        "reload",
        "rollback",
        "status",
        "top",
        "tail",
        "block",
        "unblock",
        "blocks",
        "lists",
        "bots",
        "explain",
        "login",
        "replay",
        "learn",
        "download-datasets",
        "prepare-dataset",
        "train-mlp-scanner",
        "train-mlp-ddos",
        "sweep-cookie-weight",
        "model",
        "doctor",
        "privacy",
        "cert",
        "completions",
        "man",
        "version",
        "waf",
        "why",
        "allow",
        "exceptions",
        "enforce",
        "observe",
        "auto",
    ];
    for command in built {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is missing in {help}");
    }
    assert!(!help.contains("\n  orchestrate "), "{help}");
}

#[test]
fn shells_and_manuals_are_served() {
    let folder = TestFolder::new();
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = told(&run(&folder, &["completions", shell]));
        assert!(code == 0 && out.contains("rollback"), "{shell}");
    }
    let (code, out, _) = told(&run(&folder, &["man"]));
    assert!(code == 0 && out.contains(".TH"), "{out}");
    let (code, out, _) = told(&run(&folder, &["version"]));
    assert!(code == 0 && out.starts_with(&format!("sunbeam {}", env!("CARGO_PKG_VERSION"))), "{out}");
}

#[test]
fn a_change_that_nobody_confirms_is_taken_back() {
    let (one, two) = (TestUpstream::echo(), TestUpstream::echo());
    let node = node(&one);
    let path = node.folder.join("config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let (code, _, err) = node.ask(&["reload", "--confirm"]);
    assert_eq!(code, 1, "nothing waits: {err}");
    std::fs::write(&path, text.replace(&one.url(), &two.url())).unwrap();
    eventually("the file is in use", || {
        get(node.http, "/two");
        (!two.seen().is_empty()).then_some(())
    });
    // The watch of the file was quicker than the command: the confirmation is for its change.
    let (code, out, err) = node.ask(&["reload", "--confirm-within", "1s"]);
    assert!(code == 0 && out.contains("sunbeam reload --confirm"), "{out}{err}");
    let before = one.seen().len();
    eventually("the change of the file is taken back", || {
        get(node.http, "/back");
        (one.seen().len() > before).then_some(())
    });
    let (code, out, err) = node.ask(&["reload"]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, err) = node.ask(&["rollback", "--confirm-within", "1s"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("sunbeam reload --confirm"), "{out}");
    let before = two.seen().len();
    eventually("the rollback is taken back", || {
        get(node.http, "/again");
        (two.seen().len() > before).then_some(())
    });
    let (code, out, err) = node.ask(&["rollback", "--confirm-within", "60"]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, err) = node.ask(&["reload", "--confirm"]);
    assert_eq!(code, 0, "{out}{err}");
}
