// SPDX-License-Identifier: Apache-2.0
//! `sunbeam up`: one command, no file.

use std::net::SocketAddr;
use std::process::Child;

use sunbeam_testkit::{TestFolder, TestUpstream, eventually};

use crate::program::{get, read_file, sunbeam};

struct Up {
    child: Child,
    folder: TestFolder,
}

impl Up {
    fn start(arguments: &[&str]) -> Self {
        let folder = TestFolder::new();
        let out = std::fs::File::create(folder.join("out")).expect("make the output file");
        let child = sunbeam(&folder)
            .args(["up", "--listen", "127.0.0.1:0", "--https", "127.0.0.1:0"])
            .args(arguments)
            .stdout(out)
            .stderr(std::fs::File::create(folder.join("err")).expect("make the error file"))
            .spawn()
            .expect("start sunbeam");
        let mut up = Self { child, folder };
        eventually("the check list is printed", || {
            let ended = up.child.try_wait().expect("look after the process");
            assert!(ended.is_none(), "it ended: {}", read_file(&up.folder.join("err")));
            up.printed().contains("Ctrl-C").then_some(())
        });
        up
    }

    fn printed(&self) -> String {
        read_file(&self.folder.join("out"))
    }

    fn http(&self) -> SocketAddr {
        let printed = self.printed();
        let line = printed.lines().find(|line| line.starts_with("  ok    http  ")).expect("an address");
        line.rsplit("http://").next().expect("an address").trim().parse().expect("an address")
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn without_a_backend_it_serves_a_demo_page_and_says_what_to_try() {
    let up = Up::start(&[]);
    let printed = up.printed();
    for part in
        ["https://127.0.0.1:", "answers 200", "self-signed", "audit log", "Try next", "sunbeam status"]
    {
        assert!(printed.contains(part), "missing `{part}` in:\n{printed}");
    }
    let answer = get(up.http(), "/");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.to_lowercase().contains("x-request-id: "), "{answer}");
    assert!(answer.contains("<html"), "{answer}");
    let audit = std::fs::read_to_string(up.folder.join("xdg/sunbeam/up/audit.jsonl")).unwrap_or_default();
    eventually("the request is in the audit log", || audit_has(&up, "\"path\":\"/\"").then_some(()));
    drop(audit);
}

fn audit_has(up: &Up, part: &str) -> bool {
    read_file(&up.folder.join("xdg/sunbeam/up/audit.jsonl")).contains(part)
}

#[test]
fn with_a_backend_it_stands_in_front_of_it() {
    let backend = TestUpstream::echo();
    let up = Up::start(&["--to", &backend.address().to_string()]);
    let answer = get(up.http(), "/hello?a=1");
    assert!(answer.ends_with("GET /hello?a=1"), "{answer}");
    assert_eq!(backend.last().header("x-forwarded-for"), Some("127.0.0.1"), "{:?}", backend.seen());
}

#[test]
fn the_commands_it_names_find_it() {
    let up = Up::start(&[]);
    let status = sunbeam(&up.folder).args(["status"]).output().expect("run sunbeam");
    let printed = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.status.success() && printed.contains("running"), "{printed}");
}

#[test]
fn a_taken_port_ends_it_with_the_remedy() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let folder = TestFolder::new();
    let address = taken.local_addr().expect("an address").to_string();
    let output =
        sunbeam(&folder).args(["up", "--listen", &address, "--https", "127.0.0.1:0"]).output().expect("run");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&address) && told.contains("--listen"), "{told}");
}
