// SPDX-License-Identifier: Apache-2.0
//! Figures of the node (parts: ci, builds, release): how soon it serves, how large it is, how long its developers wait.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{Recorder, WorkFolder, median, text_of};

pub(super) fn measure(root: &Path, recorder: &mut Recorder) -> Result<()> {
    let work = WorkFolder::new("node")?;
    let clone = work.0.join("clone");
    text_of(Command::new("git").args(["clone", "--quiet"]).arg(root).arg(&clone))?;
    if recorder.wants("ci") {
        let mut ci = Command::new("bash");
        ci.arg(".ci/run").current_dir(&clone).env_remove("SUNBEAM_CI_TARGET").env_remove("CARGO_TARGET_DIR");
        recorder.note("CI on a clean clone", timed(&mut ci)?.as_secs_f64() / 60.0, "min", "< 60")?;
        fs::remove_dir_all(clone.join("target"))?;
    }
    if recorder.wants("builds") {
        builds(&clone, recorder)?;
    }
    if recorder.wants("release") {
        let release = build(&clone, &["build", "--release", "--locked"], "release")?;
        recorder.note("cold release build", release.as_secs_f64() / 60.0, "min", "")?;
        recorder.note(
            "binary, release profile",
            megabytes(&clone.join("target/release/sunbeam"))?,
            "MB",
            "",
        )?;
        start(&clone.join("target/release/sunbeam"), &work.0, recorder)?;
        config_read(&clone, recorder)?;
    }
    Ok(())
}

fn builds(clone: &Path, recorder: &mut Recorder) -> Result<()> {
    let cold = build(clone, &["build", "--locked"], "dev")?;
    recorder.note("cold default build", cold.as_secs_f64() / 60.0, "min", "<= 6")?;
    build(clone, &["test", "--locked", "--no-run", "--package", "sunbeam-proxy"], "test")?;
    let edited = clone.join("serving/proxy/src/service.rs");
    let text = fs::read_to_string(&edited)?;
    // A change of what the code does: a comment would leave nothing to build.
    let changed = text.replacen("\"no such file\"", "\"no such file here\"", 1);
    if changed == text {
        bail!("the text to edit is gone from serving/proxy/src/service.rs");
    }
    fs::write(&edited, changed)?;
    let proxy = build(clone, &["test", "--locked", "--package", "sunbeam-proxy"], "edit")?;
    fs::write(&edited, text)?;
    recorder.note("edit to test, serving/proxy", proxy.as_secs_f64(), "s", "<= 40")
}

fn build(clone: &Path, arguments: &[&str], what: &str) -> Result<Duration> {
    timed(Command::new(env!("CARGO")).args(arguments).current_dir(clone).env_remove("CARGO_TARGET_DIR"))
        .with_context(|| format!("the {what} build"))
}

/// `up` five times: the time until its first answer, and what it takes of memory then.
fn start(binary: &Path, work: &Path, recorder: &mut Recorder) -> Result<()> {
    let mut seconds = Vec::new();
    let mut memory = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        let mut up = Up::start(binary, work)?;
        while !answers(18_080) {
            if begun.elapsed() > Duration::from_secs(10) || up.0.try_wait()?.is_some() {
                bail!("`up` did not answer");
            }
            sleep(Duration::from_millis(1));
        }
        seconds.push(begun.elapsed().as_secs_f64());
        memory.push(resident_megabytes(up.0.id())?);
    }
    recorder.note("up ready (first answer)", median(&seconds), "s", "< 1")?;
    recorder.note("memory at start (resident)", median(&memory), "MB", "")
}

struct Up(Child);

impl Up {
    fn start(binary: &Path, work: &Path) -> Result<Self> {
        let child = Command::new(binary)
            .args(["up", "--listen", "127.0.0.1:18080", "--https", "127.0.0.1:18443"])
            .env("XDG_STATE_HOME", work.join("state"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It has served its purpose, however it ends.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let asked = stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut answer = [0; 12];
    asked.is_ok() && stream.read_exact(&mut answer).is_ok() && answer.starts_with(b"HTTP/1.1 200")
}

/// H22: one read of the configuration by a request, without a lock.
fn config_read(clone: &Path, recorder: &mut Recorder) -> Result<()> {
    let mut bench = Command::new(env!("CARGO"));
    bench.args(["bench", "--locked", "--package", "sunbeam-proxy", "--bench", "config_read"]);
    let printed = text_of(bench.current_dir(clone).env_remove("CARGO_TARGET_DIR"))?;
    let nanoseconds =
        printed.lines().find_map(|line| line.strip_prefix("config_read_ns ")).context("a number")?;
    recorder.note("configuration read by a request", nanoseconds.parse()?, "ns", "")
}

fn resident_megabytes(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
    Ok(kilobytes / 1000.0)
}

fn megabytes(path: &Path) -> Result<f64> {
    let bytes = u32::try_from(fs::metadata(path)?.len())?;
    Ok(f64::from(bytes) / 1e6)
}

fn timed(command: &mut Command) -> Result<Duration> {
    let begun = Instant::now();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let tail: Vec<&str> = text.lines().rev().take(40).collect();
        bail!("{command:?} failed:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    Ok(begun.elapsed())
}
