// SPDX-License-Identifier: Apache-2.0
//! `--confirm-within` and `sunbeam confirm`, against a node that may be killed in between.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::thread::sleep;
use std::time::Duration;

use sunbeam_testkit::{TestFolder, TestUpstream, eventually};

use crate::program::{Serving, get, write_config};

fn start(backend: &TestUpstream) -> Serving {
    let folder = TestFolder::new();
    let text = format!(
        "[[routes]]\nhost = \"localhost\"\nbackend = \"{}\"\ndisable_secure_redirection = true\n\
         [waf]\nenabled = false\n",
        backend.url()
    );
    write_config(&folder, &text);
    Serving::start_in(folder, &[])
}

/// As after a power cut.
fn killed_and_started(mut node: Serving, down_for: Duration) -> Serving {
    node.signal("KILL");
    node.wait();
    let folder = std::mem::replace(&mut node.folder, TestFolder::new());
    drop(node);
    sleep(down_for);
    Serving::start_in(folder, &[])
}

fn is_stopped(node: &Serving) -> bool {
    let answer = get(node.http, "/.env");
    assert!(answer.contains(" 403 ") || answer.contains(" 200 "), "{answer}");
    answer.contains(" 403 ")
}

#[test]
fn a_change_is_confirmed_by_a_second_command_and_stays_over_a_kill() {
    let backend = TestUpstream::echo();
    let node = start(&backend);
    assert!(is_stopped(&node));
    assert_eq!(node.ask(&["confirm"]).0, 1, "there is nothing to confirm");
    let (code, out, err) = node.ask(&["observe", "scanner", "--confirm-within", "2s"]);
    assert!(code == 0 && out.contains("it is taken back at ") && !is_stopped(&node), "{out}{err}");
    let id = out.split("sunbeam confirm ").nth(1).unwrap().trim().to_owned();
    let (code, out, err) = node.ask(&["confirm", "--list"]);
    assert!(code == 0 && out.contains(&id) && out.contains("`scanner` in mode observe"), "{out}{err}");
    let (code, out, err) = node.ask(&["confirm"]);
    assert!(code == 0 && out.contains("the change stays: `scanner` in mode observe"), "{out}{err}");
    let (code, _, err) = node.ask(&["confirm", &id]);
    assert!(code == 1 && err.contains("waits to be confirmed"), "{code} {err}");
    let node = killed_and_started(node, Duration::from_secs(2));
    assert!(!is_stopped(&node), "it was confirmed");
    // Nobody says a word, and the command has ended long ago.
    let (code, out, err) = node.ask(&["auto", "scanner", "--confirm-within", "1s"]);
    assert!(code == 0 && is_stopped(&node), "{out}{err}");
    eventually("nothing waits any more", || {
        node.ask(&["confirm", "--list"]).1.contains("no change waits to be confirmed").then_some(())
    });
    assert!(!is_stopped(&node), "it is taken back");
    // One that only says what it would do waits for nothing.
    let (code, out, err) = node.ask(&["auto", "scanner", "--dry-run", "--confirm-within", "1s"]);
    assert!(code == 0 && !out.contains("taken back at"), "{out}{err}");
    for wrong in ["0s", "2d", "soon"] {
        assert_eq!(node.ask(&["auto", "scanner", "--confirm-within", wrong]).0, 2, "{wrong}");
    }
}

#[test]
fn what_nobody_confirmed_is_taken_back_by_the_next_process() {
    let backend = TestUpstream::echo();
    let node = start(&backend);
    let (code, out, err) = node.ask(&["observe", "scanner@localhost", "--confirm-within", "1s"]);
    assert!(code == 0 && !is_stopped(&node), "{out}{err}");
    let (code, out, err) = node.ask(&["block", "192.0.2.0/24", "--confirm-within", "3600"]);
    assert_eq!(code, 0, "{out}{err}");
    let node = killed_and_started(node, Duration::from_millis(1_100));
    assert!(is_stopped(&node), "it ran out while nobody ran");
    let (_, out, _) = node.ask(&["confirm", "--list", "-o", "json"]);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["total"], 1, "{out}");
    assert!(told["changes"][0]["what"].as_str().unwrap().contains("192.0.2.0/24"), "{out}");
    // With that of the configuration there are two, and one has to be named.
    let config = std::fs::read_to_string(node.folder.join("config.toml")).unwrap();
    std::fs::write(node.folder.join("config.toml"), format!("{config}\n[challenge]\nttl_secs = 4000\n"))
        .unwrap();
    let (code, out, err) = node.ask(&["reload", "--confirm-within", "600"]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, _, err) = node.ask(&["confirm"]);
    assert!(
        code == 2 && err.contains("several changes wait") && err.contains("configuration"),
        "{code} {err}"
    );
    let (code, out, err) = node.ask(&["confirm", "configuration"]);
    assert!(code == 0 && out.contains("the change stays"), "{out}{err}");
    let (code, out, err) = node.ask(&["confirm"]);
    assert!(code == 0 && out.contains("192.0.2.0/24"), "{out}{err}");
}
