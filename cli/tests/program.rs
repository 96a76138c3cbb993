// SPDX-License-Identifier: Apache-2.0
//! Runs the binary.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use sunbeam_testkit::{TestCa, TestFolder, eventually};

/// The program with an environment of its own: nothing of the machine's configuration reaches it.
pub(crate) fn sunbeam(folder: &TestFolder) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sunbeam"));
    command
        .env_remove("SUNBEAM_CONFIG")
        .env_remove("SUNBEAM_NODE")
        .env_remove("SUNBEAM_TOKEN")
        .env_remove("RUST_LOG")
        .env_remove("SSH_CONNECTION")
        .env_remove("SSH_CLIENT")
        .env("NO_COLOR", "1")
        .env("XDG_STATE_HOME", folder.join("xdg"))
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(folder: &TestFolder, arguments: &[&str]) -> Output {
    sunbeam(folder).args(arguments).output().expect("run sunbeam")
}

/// Exit code, standard output, standard error.
pub(crate) fn told(output: &Output) -> (i32, String, String) {
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A node as a process of its own.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) folder: TestFolder,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
}

impl Serving {
    /// `serve` with a base configuration and `more` behind it.
    pub(crate) fn start(more: &str) -> Self {
        let folder = TestFolder::new();
        write_config(&folder, more);
        Self::start_in(folder, &[])
    }

    /// `serve` with the configuration that is in the folder.
    pub(crate) fn start_in(folder: TestFolder, arguments: &[&str]) -> Self {
        let config = folder.join("config.toml").display().to_string();
        let log = std::fs::File::create(folder.join("log")).expect("make the log file");
        let child = sunbeam(&folder)
            .args(["serve", "--config", &config])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start sunbeam");
        let mut serving = Self { child, folder, http: unbound(), https: unbound() };
        eventually("the node is ready", || {
            let ended = serving.child.try_wait().expect("look after the process");
            assert!(ended.is_none(), "the node ended: {}", serving.log());
            serving.log().contains("ready").then_some(())
        });
        serving.http = serving.listener("http");
        serving.https = serving.listener("https");
        serving
    }

    /// What it wrote to standard error.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Runs a command against this node.
    pub(crate) fn ask(&self, arguments: &[&str]) -> (i32, String, String) {
        let config = self.folder.join("config.toml").display().to_string();
        told(
            &sunbeam(&self.folder).args(["--config", &config]).args(arguments).output().expect("run sunbeam"),
        )
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.expect("run kill").success());
    }

    /// Waits for the end and returns the exit code.
    pub(crate) fn wait(&mut self) -> i32 {
        eventually("the node ends", || self.child.try_wait().expect("look after the process"))
            .code()
            .unwrap_or(-1)
    }

    fn listener(&self, scheme: &str) -> SocketAddr {
        let (code, out, err) = self.ask(&["status", "-o", "json"]);
        assert_eq!(code, 0, "{out}{err}");
        let status: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        let listeners = status["listeners"].as_array().expect("a list").iter();
        let found = listeners.filter(|listener| listener["scheme"] == scheme);
        let address = found.map(|listener| listener["address"].as_str().expect("text")).next();
        address.map_or_else(unbound, |address| address.parse().expect("an address"))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A configuration on free ports with everything it writes inside the folder.
pub(crate) fn write_config(folder: &TestFolder, more: &str) {
    write_config_of(folder, &TestCa::new(), more);
}

/// As [`write_config`], with a certificate of this authority.
pub(crate) fn write_config_of(folder: &TestFolder, ca: &TestCa, more: &str) {
    let (cert, key) = ca.issue(&["localhost", "127.0.0.1"]).write(folder, "server");
    let text = format!(
        "[listen]\nhttp = \"127.0.0.1:0\"\nhttps = \"127.0.0.1:0\"\n\
         [tls]\ncert_path = {cert:?}\nkey_path = {key:?}\n\
         [telemetry]\nmetrics_port = 0\n[management]\nbind = \"127.0.0.1:0\"\n\
         [audit]\npath = {:?}\n[state]\npath = {:?}\n{more}\n",
        folder.join("audit.log"),
        folder.join("state/state.redb"),
    );
    folder.write("config.toml", text);
}

/// One plain request, read to its end.
pub(crate) fn get(address: SocketAddr, target: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    sunbeam_testkit::raw_exchange(address, request.as_bytes())
}

/// Whether somebody listens there.
pub(crate) fn listens(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

/// Reads what a process printed so far, without waiting for its end.
pub(crate) fn read_file(path: &Path) -> String {
    let mut text = String::new();
    if let Ok(mut file) = std::fs::File::open(path) {
        // A half-written character at the end is tried again by the caller.
        drop(file.read_to_string(&mut text));
    }
    text
}

fn unbound() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}
