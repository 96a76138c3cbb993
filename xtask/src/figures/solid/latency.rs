// SPDX-License-Identifier: Apache-2.0
//! What the node adds to a request's time at half of full load (part `latency`): an open loop straight to the
//! backend against the same through the node, in turn; HTTP/1, plain, kept connections. A p99 is the middle one
//! of the run's tenths of a second.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::super::{Recorder, median};
use super::rig::{Raw, Rig, number, typical_p99};
use super::server::free_port;

const ROUNDS: usize = 7;
const SECONDS: &str = "3";

pub(super) fn measure(root: &Path, recorder: &mut Recorder) -> Result<()> {
    if !recorder.wants("latency") {
        return Ok(());
    }
    let rig = Rig::new(root, "latency")?;
    let backend = free_port()?;
    let _backend = rig.backend(backend)?;
    let node = rig.node(backend, "keepalive_requests = 1000000")?;
    let _awake = rig.awake()?;
    let mut raw = Raw::new(root, "latency")?;
    let through = format!("http://127.0.0.1:{}/", node.http);
    let straight = format!("http://127.0.0.1:{backend}/");
    let full = rig.report(&["closed", "--url", &through, "--host", "localhost", "--seconds", "4"])?;
    let full = number(&full, "rate")?;
    let rate = format!("{:.0}", full / 2.0);
    raw.row(recorder, json!({"full_load_per_sec": full, "rate_per_sec": rate}))?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for (name, url, reports) in [("straight", &straight, &mut without), ("through", &through, &mut with)]
        {
            let report = rig.report(&[
                "open",
                "--url",
                url,
                "--host",
                "localhost",
                "--rate",
                &rate,
                "--seconds",
                SECONDS,
            ])?;
            raw.row(recorder, json!({"round": round, "way": name, "report": report}))?;
            reports.push(report);
        }
    }
    let middle = |reports: &[Value], percentile: fn(&Value) -> Result<f64>| -> Result<f64> {
        let values = reports.iter().map(percentile).collect::<Result<Vec<_>>>()?;
        Ok(median(&values) / 1000.0)
    };
    let p50 = |report: &Value| number(report, "undisturbed_p50_us");
    for (name, percentile) in [("p50", p50 as fn(&Value) -> Result<f64>), ("p99", typical_p99)] {
        let added = middle(&with, percentile)? - middle(&without, percentile)?;
        recorder.note(&format!("{name} added latency at half load"), added, "ms", "")?;
    }
    Ok(())
}
