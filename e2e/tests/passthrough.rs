// SPDX-License-Identifier: Apache-2.0
//! SSH through `[ssh]`: a real client, a real server, the bytes untouched (row A15).
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use sunbeam_testkit::{Peer, TestProxy, eventually, free_address, raw_exchange, run};

const METRIC: &str = "sunbeam_tcp_passthrough_connections_total";

/// A server in a folder of its own, with the key that opens it.
struct Sshd {
    peer: Peer,
    root: PathBuf,
}

impl Sshd {
    fn start(root: PathBuf) -> Self {
        let peer = Peer::start("daemon.py", &["sshd", "--root", &root.display().to_string()]);
        Self { peer, root }
    }

    /// `ssh` to it through `door`, as the user of this test.
    fn client(&self, door: SocketAddr, command: &str) -> Command {
        let user = String::from_utf8(run(Command::new("id").arg("-un")).stdout).unwrap();
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new", "-i"])
            .arg(self.root.join("user_key"))
            .args(["-o", &format!("UserKnownHostsFile={}", self.root.join("known_hosts").display())])
            .args(["-p", &door.port().to_string(), &format!("{}@{}", user.trim(), door.ip()), command]);
        ssh
    }

    fn output(&self, door: SocketAddr, command: &str) -> Vec<u8> {
        let output = run(&mut self.client(door, command));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

fn ssh_section(backend: SocketAddr) -> String {
    format!("[ssh]\nlisten = \"127.0.0.1:0\"\nbackend = \"{backend}\"\n")
}

/// Five mebibytes in which no stretch repeats.
fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(5 << 20);
    while bytes.len() < 5 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

#[test]
fn a_command_and_files_both_ways_pass_through_unchanged() {
    let builder = TestProxy::builder();
    let sshd = Sshd::start(builder.folder().join("sshd"));
    let proxy = builder.config(&ssh_section(sshd.peer.address())).start();
    let door = proxy.node().passthrough_address().unwrap();
    assert_eq!(sshd.output(door, "printf 'seen by %s' $((6 * 7))"), b"seen by 42");

    let (noise, folder) = (noise(), proxy.folder());
    let (sent, stored) = (folder.write("sent.bin", &noise), folder.join("stored.bin"));
    let mut upload = sshd.client(door, &format!("cat > '{}'", stored.display()));
    assert!(upload.stdin(File::open(&sent).unwrap()).status().unwrap().success());
    assert!(fs::read(&stored).unwrap() == noise, "the upload differs");
    assert!(sshd.output(door, &format!("cat '{}'", stored.display())) == noise, "the download differs");
    let sums = [&sent, &stored].map(|path| run(Command::new("sha256sum").arg("-b").arg(path)).stdout);
    assert_eq!(sums[0].get(..64), sums[1].get(..64));
    assert!(proxy.metric(METRIC, &[("result", "ok")]) > 2.5);
    assert!(proxy.metric(METRIC, &[("result", "unreachable")]) < 0.5);
}

#[test]
fn a_backend_that_is_down_closes_the_connection_and_is_counted() {
    let proxy = TestProxy::start(&ssh_section(free_address()));
    let door = proxy.node().passthrough_address().unwrap();
    assert_eq!(raw_exchange(door, b"SSH-2.0-test\r\n"), "", "closed without a byte");
    assert!((proxy.metric(METRIC, &[("result", "unreachable")]) - 1.0).abs() < 0.5);
    assert!(proxy.metric(METRIC, &[("result", "ok")]) < 0.5);
    eventually("no connection is left", || {
        (proxy.metric("sunbeam_active_connections", &[]) < 0.5).then_some(())
    });
}

#[test]
fn a_reload_sends_new_connections_to_the_new_backend_through_the_same_door() {
    let builder = TestProxy::builder();
    let (first, second) =
        (Sshd::start(builder.folder().join("first")), Sshd::start(builder.folder().join("second")));
    let proxy = builder.config(&ssh_section(first.peer.address())).start();
    let door = proxy.node().passthrough_address().unwrap();
    assert_eq!(first.output(door, "echo one"), b"one\n");
    // A session that was open before stays with its server.
    let go = proxy.folder().join("go");
    let waits = format!("until [ -e '{}' ]; do sleep 0.05; done; echo old session", go.display());
    let mut session = first.client(door, &waits);
    let session = session.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    eventually("the session is open", || (proxy.metric(METRIC, &[("result", "ok")]) > 1.5).then_some(()));

    let report = proxy.reload(&ssh_section(second.peer.address())).unwrap();
    assert_eq!(report.changes.len(), 1, "{report:?}");
    assert_eq!(proxy.node().passthrough_address(), Some(door), "nobody has to learn a new port");
    // The key of the second server opens only the second.
    assert_eq!(second.output(SocketAddr::from(([127, 0, 0, 1], door.port())), "echo two"), b"two\n");
    proxy.folder().write("go", "");
    let output = session.wait_with_output().unwrap();
    assert_eq!((output.status.success(), output.stdout.as_slice()), (true, &b"old session\n"[..]));

    let report = proxy.reload("").unwrap();
    assert!(report.applied);
    assert_eq!(proxy.node().passthrough_address(), None);
    eventually("the door is shut", || std::net::TcpStream::connect(door).is_err().then_some(()));
}
