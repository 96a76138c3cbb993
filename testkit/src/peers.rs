// SPDX-License-Identifier: Apache-2.0
//! Real programs of others as child processes (`e2e/peers/`, set up by `./dev setup`).

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// A running peer; it ends when dropped, and with the test's process, because it reads our end of its
/// standard input.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    address: SocketAddr,
}

impl Peer {
    /// Starts a script of `e2e/peers` with its interpreter and waits for its `listening HOST:PORT`.
    pub fn start(script: &str, arguments: &[&str]) -> Self {
        let path = peers_folder().join(script);
        let mut command = if script.ends_with(".py") { python() } else { node() };
        command.arg(path).args(arguments);
        Self::spawn(command, script)
    }

    /// The address it listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://ADDRESS`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn spawn(mut command: Command, name: &str) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("failed to start `{name}`: {error}; did `./dev setup` run?"));
        let stdout = child.stdout.take().expect("the peer's output");
        let (found, address) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("listening ") {
                    // The test may have given up waiting.
                    drop(found.send(address.trim().parse::<SocketAddr>()));
                }
            }
        });
        let address = address
            .recv_timeout(Duration::from_secs(30))
            .unwrap_or_else(|_| panic!("`{name}` did not say where it listens; did `./dev setup` run?"))
            .expect("an address");
        Self { child, address }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a command to its end and returns what it printed.
pub fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("failed to run {command:?}: {error}"))
}

/// Runs a client of `e2e/peers` to its end: whether it came through, and the line of JSON it told.
pub fn run_client(command: &mut Command) -> (bool, Value) {
    let output = run(command);
    let told = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{command:?} told no JSON ({error}): {}", String::from_utf8_lossy(&output.stderr))
    });
    (output.status.success(), told)
}

/// The Python of the tests' environment.
pub fn python() -> Command {
    Command::new(dev_folder().join("venv/bin/python"))
}

/// Node.js.
pub fn node() -> Command {
    Command::new("node")
}

/// Where `./dev setup` installs.
pub fn dev_folder() -> PathBuf {
    root().join(".dev")
}

/// The peers' scripts.
pub fn peers_folder() -> PathBuf {
    root().join("e2e/peers")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's root")
}
