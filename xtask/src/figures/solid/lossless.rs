// SPDX-License-Identifier: Apache-2.0
//! No request lost: requests of every kind without a pause, while the configuration and the certificates
//! change and the process is replaced (part: lossless).

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use sunbeam_testkit::{Load, LoadTarget, TestCa, TestFolder, TestUpstream, served_serial};

use super::super::{Recorder, text_of};

/// Rounds of so many changes of the configuration, so many of the certificate, and an upgrade.
const ROUNDS: usize = 5;
const CHANGES: usize = 4;

/// Requests that there must have been.
const REQUESTS_MIN: u64 = 100_000;

/// Clients of each of the six ways to connect.
const CLIENTS: usize = 3;

/// How long any one step may take.
const MOST: Duration = Duration::from_secs(60);

pub(super) fn measure(root: &Path, recorder: &mut Recorder) -> Result<()> {
    if !recorder.wants("lossless") {
        return Ok(());
    }
    sunbeam_testkit::install_crypto();
    let backend = TestUpstream::forgetful_echo();
    let mut node = Node::start(super::binary(root)?, &backend.url())?;
    let target = LoadTarget {
        http: node.listener("http")?,
        https: node.listener("https")?,
        roots: node.ca.roots(),
        host: "localhost".to_owned(),
    };
    let load = Load::start(&target, CLIENTS);
    for round in 0..ROUNDS {
        for change in 0..CHANGES {
            node.reload(round * CHANGES + change)?;
            node.swap_certificate(target.https)?;
        }
        node.upgrade()?;
    }
    let begun = Instant::now();
    while load.result().sent < REQUESTS_MIN && begun.elapsed() < 10 * MOST {
        sleep(Duration::from_millis(100));
    }
    let result = load.stop();
    for told in &result.told {
        println!("failed: {told}");
    }
    let changes = ROUNDS * CHANGES;
    let name =
        format!("failed requests across {changes} reloads, {changes} certificate swaps, {ROUNDS} upgrades");
    recorder.note(&name, number(result.failed), "requests", "<= 0")?;
    recorder.note("requests sent meanwhile", number(result.sent), "requests", ">= 100000")
}

/// Exact: counts stay far below where a float has gaps.
fn number(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The processes that are one node, one after the other.
struct Node {
    binary: PathBuf,
    folder: TestFolder,
    ca: TestCa,
    backend: String,
    process: Child,
    before: Option<Child>,
    number: usize,
}

impl Node {
    fn start(binary: PathBuf, backend: &str) -> Result<Self> {
        let (folder, ca) = (TestFolder::new(), TestCa::new());
        ca.issue(&["localhost"]).write(&folder, "server");
        write_config(&folder, backend, 0)?;
        let process = spawn(&binary, &folder, 0, &[])?;
        let mut node =
            Self { binary, folder, ca, backend: backend.to_owned(), process, before: None, number: 0 };
        wait_for("the node", || Ok(log(&node.folder, 0).contains("ready"))).inspect_err(|_| {
            drop(node.process.kill());
        })?;
        Ok(node)
    }

    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let config = self.folder.join("config.toml");
        text_of(Command::new(&self.binary).arg("--config").arg(config).args(arguments))
    }

    fn listener(&self, scheme: &str) -> Result<SocketAddr> {
        let status: Value = serde_json::from_str(&self.ask(&["status", "-o", "json"])?)?;
        let listeners = status["listeners"].as_array().context("listeners")?;
        let found = listeners.iter().find(|listener| listener["scheme"] == scheme).context("a listener")?;
        Ok(found["address"].as_str().context("an address")?.parse()?)
    }

    fn reload(&self, number: usize) -> Result<()> {
        write_config(&self.folder, &self.backend, number + 1)?;
        self.ask(&["reload"]).map(drop)
    }

    /// New certificate and key; done when a handshake shows it.
    fn swap_certificate(&self, https: SocketAddr) -> Result<()> {
        let certificate = self.ca.issue(&["localhost"]);
        certificate.write(&self.folder, "fresh");
        for end in ["key", "crt"] {
            fs::rename(
                self.folder.join(&format!("fresh.{end}")),
                self.folder.join(&format!("server.{end}")),
            )?;
        }
        let config = self.ca.client_config();
        wait_for("the new certificate", || {
            let served = served_serial(https, config.clone(), "localhost");
            Ok(served.as_ref() == Some(&certificate.serial))
        })
    }

    /// Another process; done when it serves and the old one has ended well.
    fn upgrade(&mut self) -> Result<()> {
        self.number += 1;
        let next = spawn(&self.binary, &self.folder, self.number, &["--upgrade"])?;
        self.before = Some(std::mem::replace(&mut self.process, next));
        wait_for("the new process", || {
            if let Some(status) = self.process.try_wait()? {
                bail!("the new process ended ({status}): {}", log(&self.folder, self.number));
            }
            Ok(log(&self.folder, self.number).contains("ready"))
        })?;
        let old = self.before.as_mut().context("the old process")?;
        wait_for("the old process's end", || match old.try_wait()? {
            Some(status) if !status.success() => bail!("the old process ended with {status}"),
            status => Ok(status.is_some()),
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It has served its purpose, however it ends.
        for process in [Some(&mut self.process), self.before.as_mut()].into_iter().flatten() {
            drop((process.kill(), process.wait()));
        }
    }
}

fn spawn(binary: &Path, folder: &TestFolder, number: usize, arguments: &[&str]) -> Result<Child> {
    let log = fs::File::create(folder.join(&format!("log.{number}")))?;
    let mut command = Command::new(binary);
    command.arg("serve").args(arguments).arg("--config").arg(folder.join("config.toml"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().context("start sunbeam")
}

fn log(folder: &TestFolder, number: usize) -> String {
    fs::read_to_string(folder.join(&format!("log.{number}"))).unwrap_or_default()
}

fn wait_for(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !condition()? {
        if begun.elapsed() > MOST {
            bail!("{what} did not come within {MOST:?}");
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Each number is another configuration: a limit and a header change.
fn write_config(folder: &TestFolder, backend: &str, number: usize) -> Result<()> {
    let text = format!(
        "[listen]\nhttp = \"127.0.0.1:0\"\nhttps = \"127.0.0.1:0\"\n\
         [tls]\ncert_path = {:?}\nkey_path = {:?}\n\
         [telemetry]\nmetrics_port = 0\n[management]\nbind = \"127.0.0.1:0\"\n\
         [audit]\npath = {:?}\n[state]\npath = {:?}\n[limits]\nmax_connections_per_ip = 10000\nnew_connections_per_ip = 1000000\nmax_url_bytes = {}\n\
         [[routes]]\nhost = \"localhost\"\nbackend = \"{backend}\"\ndisable_secure_redirection = true\n\
         [[routes.response_headers]]\nname = \"x-number\"\nvalue = \"{number}\"\n",
        folder.join("server.crt"),
        folder.join("server.key"),
        folder.join("audit.log"),
        folder.join("state/state.redb"),
        4096 + number,
    );
    fs::rename(folder.write("config.new", text), folder.join("config.toml"))
        .context("write the configuration")
}
