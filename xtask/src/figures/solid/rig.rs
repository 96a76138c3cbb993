// SPDX-License-Identifier: Apache-2.0
//! A node as a process of its own, with `loadgen` as its backend, its clients and its attackers.
//! The node has one core to itself; everything else shares the other.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::super::{Recorder, WorkFolder, text_of};
use super::server::{LOAD_CORE, PROXY_CORE, Process, certificate, free_port, pinned};

/// Binaries, a certificate and a folder for what processes write.
pub(in crate::figures) struct Rig {
    work: WorkFolder,
    node: PathBuf,
    loadgen: PathBuf,
}

/// A node that runs.
pub(in crate::figures) struct Node {
    process: Process,
    pub(in crate::figures) config: PathBuf,
    pub(in crate::figures) http: u16,
    pub(in crate::figures) https: u16,
    metrics: u16,
}

impl Rig {
    pub(in crate::figures) fn new(root: &Path, part: &str) -> Result<Self> {
        let work = WorkFolder::new(part)?;
        certificate(&work.0)?;
        Ok(Self { node: super::binary(root)?, loadgen: loadgen(root)?, work })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.work.0.join(name)
    }

    /// `loadgen backend` on that port.
    pub(in crate::figures) fn backend(&self, port: u16) -> Result<Process> {
        let mut command = self.loadgen();
        command.args(["backend", "--listen", &format!("127.0.0.1:{port}")]);
        let mut running = Process::start(command, &self.file("backend.log"))?;
        running.wait_for(port)?;
        Ok(running)
    }

    /// As [`Rig::backend`], with only what time nobody else wants.
    pub(in crate::figures) fn idle_backend(&self, port: u16) -> Result<Process> {
        let mut command = self.attacker();
        command.args(["backend", "--listen", &format!("127.0.0.1:{port}")]);
        let mut running = Process::start(command, &self.file("idle-backend.log"))?;
        running.wait_for(port)?;
        Ok(running)
    }

    /// A fresh node before that backend, with `limits` as the text of that section.
    pub(in crate::figures) fn node(&self, backend: u16, limits: &str) -> Result<Node> {
        self.node_before(backend, backend, limits)
    }

    /// As [`Rig::node`], with another backend for `/bytes/`.
    pub(in crate::figures) fn node_before(&self, backend: u16, large: u16, limits: &str) -> Result<Node> {
        self.node_with(backend, large, &format!("[limits]\n{limits}"))
    }

    /// As [`Rig::node_before`], with any sections.
    pub(in crate::figures) fn node_with(&self, backend: u16, large: u16, sections: &str) -> Result<Node> {
        let (http, https, metrics) = (free_port()?, free_port()?, free_port()?);
        let config = self.file("node.toml");
        let text = format!(
            "[listen]\nhttp = \"127.0.0.1:{http}\"\nhttps = \"127.0.0.1:{https}\"\n\
             [tls]\ncert_path = {:?}\nkey_path = {:?}\n\
             [telemetry]\nmetrics_port = {metrics}\nlog_level = \"error\"\n[management]\nbind = \"\"\n\
             [audit]\npath = {:?}\n[state]\npath = {:?}\n{sections}\n\
             [[routes]]\nhost = \"localhost\"\nbackend = \"http://127.0.0.1:{backend}\"\n\
             websocket = true\ndisable_secure_redirection = true\n\
             [[routes.paths]]\nprefix = \"/bytes\"\nbackend = \"http://127.0.0.1:{large}\"\n",
            self.file("certificate.pem"),
            self.file("key.pem"),
            self.file("audit.log"),
            self.file(&format!("state-{https}.redb")),
        );
        fs::write(&config, text)?;
        let mut command = pinned(PROXY_CORE, &self.node);
        command.args(["serve", "--config"]).arg(&config);
        let mut process = Process::start(command, &self.file("node.log"))?;
        process.wait_for(https)?;
        Ok(Node { process, config, http, https, metrics })
    }

    /// `loadgen`, on the core that the node does not have.
    pub(in crate::figures) fn loadgen(&self) -> Command {
        pinned(LOAD_CORE, &self.loadgen)
    }

    /// As [`Rig::loadgen`], but it only gets what time nobody else wants of that core (`SCHED_IDLE`): an attacker
    /// has a machine of its own, and must not slow the good client by the work of attacking.
    pub(in crate::figures) fn attacker(&self) -> Command {
        let mut command = idle();
        command.arg(&self.loadgen);
        command
    }

    /// Keeps the node's core from sleeping, with what time the node leaves: a virtual processor that sleeps is
    /// woken late, by milliseconds, and only under light load.
    pub(in crate::figures) fn awake(&self) -> Result<Process> {
        let mut command = Command::new("chrt");
        command.args([
            "--idle",
            "0",
            "taskset",
            "-c",
            &PROXY_CORE.to_string(),
            "sh",
            "-c",
            "while :; do :; done",
        ]);
        Process::start(command, &self.file("awake.log"))
    }

    /// Runs `loadgen` to its end and reads what it says.
    pub(in crate::figures) fn report(&self, arguments: &[&str]) -> Result<Value> {
        let printed = text_of(self.loadgen().args(arguments).arg("--json"))?;
        serde_json::from_str(&printed).with_context(|| format!("loadgen said `{printed}`"))
    }
}

/// The p99 of an open loop that is typical of it, microseconds: the middle one of its tenths of a second, without
/// those in which the host took processors away. The whole run's where too few are left.
pub(in crate::figures) fn typical_p99(report: &Value) -> Result<f64> {
    let is_enough = number(report, "undisturbed")? * 5.0 >= number(report, "ok")?;
    number(report, if is_enough { "typical_p99_us" } else { "p99_us" })
}

/// A command on the others' core that only gets what time is left of it.
pub(in crate::figures) fn idle() -> Command {
    let mut command = pinned(LOAD_CORE, "chrt");
    command.args(["--idle", "0"]);
    command
}

impl Node {
    pub(in crate::figures) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(in crate::figures) fn url(&self) -> String {
        format!("https://127.0.0.1:{}/", self.https)
    }

    /// Resident, KiB.
    pub(in crate::figures) fn resident(&self) -> Result<f64> {
        kibibytes(&format!("/proc/{}/status", self.pid()), "VmRSS:")
    }

    /// Proportional share of what is resident, KiB.
    pub(in crate::figures) fn proportional(&self) -> Result<f64> {
        kibibytes(&format!("/proc/{}/smaps_rollup", self.pid()), "Pss:")
    }

    /// Open descriptors.
    pub(in crate::figures) fn descriptors(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid()))?.count())
    }

    /// All that the metrics port says.
    pub(in crate::figures) fn metrics(&self) -> Result<String> {
        let mut stream =
            TcpStream::connect(("127.0.0.1", self.metrics)).context("the node's metrics port")?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// The sum of a metric's series.
    pub(in crate::figures) fn metric(&self, name: &str) -> Result<f64> {
        let metrics = self.metrics()?;
        let values = metrics.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
        });
        Ok(values.sum())
    }
}

/// The raw rows of a part: `benchmarks/raw/AREA-PART.jsonl`, written afresh.
pub(in crate::figures) struct Raw(File);

impl Raw {
    pub(in crate::figures) fn new(root: &Path, part: &str) -> Result<Self> {
        Self::of(root, "solid", part)
    }

    /// Of another area.
    pub(in crate::figures) fn of(root: &Path, area: &str, part: &str) -> Result<Self> {
        let folder = root.join("benchmarks/raw");
        fs::create_dir_all(&folder)?;
        Ok(Self(File::create(folder.join(format!("{area}-{part}.jsonl")))?))
    }

    /// One row, with when and of what.
    pub(in crate::figures) fn row(&mut self, recorder: &Recorder, mut row: Value) -> Result<()> {
        if let Some(row) = row.as_object_mut() {
            row.insert("commit".to_owned(), recorder.commit.clone().into());
            row.insert("date".to_owned(), recorder.date.clone().into());
            row.insert("load_average".to_owned(), load_average()?.into());
        }
        Ok(writeln!(self.0, "{row}")?)
    }
}

/// A number of a report.
pub(in crate::figures) fn number(report: &Value, key: &str) -> Result<f64> {
    report.get(key).and_then(Value::as_f64).with_context(|| format!("no number `{key}` in {report}"))
}

fn kibibytes(path: &str, key: &str) -> Result<f64> {
    let text = fs::read_to_string(path).with_context(|| format!("{path}: the node is gone"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)).context("a line of memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn load_average() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}

/// `$SUNBEAM_BENCH_LOADGEN`, else built now as what is measured is.
fn loadgen(root: &Path) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SUNBEAM_BENCH_LOADGEN") {
        return PathBuf::from(path).canonicalize().context("SUNBEAM_BENCH_LOADGEN");
    }
    super::built(root, "sunbeam-loadgen", "dist").map(|folder| folder.join("loadgen"))
}
