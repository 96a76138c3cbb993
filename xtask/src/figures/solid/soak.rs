// SPDX-License-Identifier: Apache-2.0
//! An hour of churn compressed into minutes (part `soak`): everything that clients do, with reloads every five
//! seconds and a backend that restarts every twenty. What is compared is the end with the end of the first third.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::super::{Recorder, median, text_of};
use super::rig::{Node, Raw, Rig};
use super::server::free_port;

/// `SUNBEAM_BENCH_SOAK_SECS` changes it.
const SECONDS: u64 = 180;

const RELOAD_EVERY: u64 = 5;
const RESTART_EVERY: u64 = 20;

/// One look at the node.
struct Sample {
    second: u64,
    resident: f64,
    descriptors: f64,
    series: f64,
}

pub(super) fn measure(root: &Path, recorder: &mut Recorder) -> Result<()> {
    if !recorder.wants("soak") {
        return Ok(());
    }
    let seconds = match std::env::var("SUNBEAM_BENCH_SOAK_SECS") {
        Ok(text) => text.parse().context("SUNBEAM_BENCH_SOAK_SECS")?,
        Err(_) => SECONDS,
    };
    let rig = Rig::new(root, "soak")?;
    let port = free_port()?;
    let mut backend = Some(rig.backend(port)?);
    let node = rig.node(port, "max_connections = 20000")?;
    let mut raw = Raw::new(root, "soak")?;
    let mut command = rig.loadgen();
    command.args(["churn", "--url", &node.url(), "--host", "localhost", "--seconds", &seconds.to_string()]);
    command.args(["--source", "127.0.1.1", "--sources", "128", "--json"]);
    let churn = std::thread::spawn(move || text_of(&mut command));
    let begun = Instant::now();
    let mut samples = Vec::new();
    for second in 1..seconds {
        sleep((begun + Duration::from_secs(second)).saturating_duration_since(Instant::now()));
        if second % RELOAD_EVERY == 0 {
            reload(&node, second)?;
        }
        if second % RESTART_EVERY == 0 {
            drop(backend.take());
            backend = Some(rig.backend(port)?);
        }
        samples.push(look(&node, second)?);
    }
    let churned = churn.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    let churned: serde_json::Value = serde_json::from_str(&churned)?;
    raw.row(recorder, json!({"churned": churned, "reloads": node.metric("sunbeam_config_reloads_total")?}))?;
    for sample in samples.iter().filter(|sample| sample.second % 5 == 0) {
        let Sample { second, resident, descriptors, series } = sample;
        raw.row(
            recorder,
            json!({
                "second": second, "resident_kib": resident, "descriptors": descriptors, "series": series,
            }),
        )?;
    }
    note(recorder, &samples, seconds, node.metric("sunbeam_panics_total")?)
}

fn note(recorder: &mut Recorder, samples: &[Sample], seconds: u64, panics: f64) -> Result<()> {
    let growth = |value: fn(&Sample) -> f64| {
        // A twelfth of the time each: the last quarter of the first third, and the end.
        let part = |from: u64, to: u64| {
            let wanted = samples.iter().filter(|sample| (from..=to).contains(&sample.second));
            median(&wanted.map(value).collect::<Vec<_>>())
        };
        let (then, now) = (part(seconds / 4, seconds / 3), part(seconds - seconds / 12, seconds));
        (now / then - 1.0) * 100.0
    };
    recorder.note("soak: memory growth", growth(|sample| sample.resident), "%", "<= 5")?;
    recorder.note("soak: descriptors growth", growth(|sample| sample.descriptors), "%", "<= 10")?;
    recorder.note("soak: metric series growth", growth(|sample| sample.series), "%", "<= 5")?;
    recorder.note("soak: panics", panics, "", "<= 0")
}

fn look(node: &Node, second: u64) -> Result<Sample> {
    let descriptors = u32::try_from(node.descriptors()?)?;
    let series = node.metrics()?.lines().filter(|line| line.starts_with("sunbeam_")).count();
    Ok(Sample {
        second,
        resident: node.resident()?,
        descriptors: descriptors.into(),
        series: u32::try_from(series)?.into(),
    })
}

/// A changed configuration, put in place whole.
fn reload(node: &Node, second: u64) -> Result<()> {
    let text = fs::read_to_string(&node.config)?;
    let base = text.split("# reload").next().unwrap_or_default().trim_end();
    let header = format!("[[routes.response_headers]]\nname = \"X-Second\"\nvalue = \"{second}\"\n");
    let fresh = node.config.with_extension("new");
    fs::write(&fresh, format!("{base}\n# reload\n{header}"))?;
    fs::rename(&fresh, &node.config)?;
    text_of(std::process::Command::new("kill").args(["-HUP", &node.pid().to_string()])).map(drop)
}
