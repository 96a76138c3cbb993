// SPDX-License-Identifier: Apache-2.0
//! What an idle TLS connection costs of memory (part `idle_memory`): ten thousand, after one request each.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::super::Recorder;
use super::rig::{Raw, Rig};
use super::server::free_port;

const CONNECTIONS: u32 = 10_000;

/// The connections come from so many addresses: one alone may not have as many.
const SOURCES: &str = "128";

const LIMITS: &str = "max_connections = 20000\nkeepalive_secs = 3600";

pub(super) fn measure(root: &Path, recorder: &mut Recorder) -> Result<()> {
    if !recorder.wants("idle_memory") {
        return Ok(());
    }
    let rig = Rig::new(root, "idle-memory")?;
    let backend = free_port()?;
    let _backend = rig.backend(backend)?;
    let mut raw = Raw::new(root, "idle-memory")?;
    for (name, protocol) in [("HTTP/1", None), ("HTTP/2", Some("--http2"))] {
        let node = rig.node(backend, LIMITS)?;
        rig.report(&["closed", "--url", &node.url(), "--host", "localhost", "--seconds", "1"])?;
        let before = node.proportional()?;
        let mut command = rig.loadgen();
        command.args(["hold", "--url", &node.url(), "--host", "localhost", "--json"]);
        command.args([
            "--connections",
            &CONNECTIONS.to_string(),
            "--source",
            "127.0.1.1",
            "--sources",
            SOURCES,
        ]);
        command.args(protocol).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn()?;
        let mut said = BufReader::new(holder.stdout.take().context("its output")?);
        let mut line = String::new();
        said.read_line(&mut line)?;
        let held: f64 = line.trim().strip_prefix("held ").context("how many are held")?.parse()?;
        let after = node.proportional()?;
        drop(holder.stdin.take());
        let mut report = String::new();
        said.read_line(&mut report)?;
        holder.wait()?;
        let each = (after - before) / held;
        raw.row(
            recorder,
            json!({
                "protocol": name, "before_kib": before, "after_kib": after, "held": held,
                "holder": serde_json::from_str::<serde_json::Value>(&report)?,
            }),
        )?;
        if held < f64::from(CONNECTIONS) {
            bail!("only {held} of {CONNECTIONS} connections are held: {report}");
        }
        recorder.note(&format!("idle TLS connection, {name}"), each, "KiB", "<= 24")?;
    }
    Ok(())
}
