// SPDX-License-Identifier: Apache-2.0
//! What good clients notice of an attack (part `attacks`).
//!
//! The node has core 0. Backend, good client and attacker share core 1, the attacker with `SCHED_IDLE`: it
//! attacks as fast as the time allows that the others leave, at 30 % of capacity well over half of the core.
//! Good clients come from 127.0.0.2, in an open loop with 64 kept connections and about twenty new ones a second;
//! the attacker comes from 127.0.0.3. Its large answers have a backend of their own, also with `SCHED_IDLE`: what a
//! backend does for an attacker that was let through is not the node's doing. Each attack
//! meets a fresh node with default limits. A p99 is the middle one of
//! the run's tenths of a second, because the host's pauses are longer than what is measured.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::super::{Recorder, median};
use super::rig::{Node, Raw, Rig, idle, number, typical_p99};
use super::server::free_port;

/// Of `loadgen attack`.
const KINDS: &[&str] = &[
    "connection-hold",
    "connection-churn",
    "hello-silence",
    "handshakes",
    "slow-headers",
    "slow-body",
    "slow-read",
    "requests",
    "requests-http2",
    "rapid-reset",
    "paced-reset",
    "made-you-reset",
    "continuation",
    "ping",
    "settings",
    "empty-data",
    "zero-window",
    "window-updates",
    "no-preface",
    "priority",
];

/// Of Debian's slowhttptest, where it is installed; it comes from 127.0.0.1.
const SLOWHTTPTEST: &[(&str, &[&str])] = &[
    ("slowhttptest -H", &["-H", "-c", "1000", "-r", "500", "-i", "1", "-x", "24"]),
    ("slowhttptest -B", &["-B", "-c", "1000", "-r", "500", "-i", "1", "-s", "1000000"]),
    ("slowhttptest -X", &["-X", "-c", "1000", "-r", "500", "-w", "64", "-y", "256", "-z", "8", "-k", "3"]),
];

const CAPACITY_SECS: &str = "4";
const ALONE_SECS: &str = "3";
const ATTACKED_SECS: &str = "6";

/// It begins before the good clients do and ends after them.
const ATTACK_SECS: &str = "8";
const HEAD_START: Duration = Duration::from_millis(500);

const SAMPLE_EVERY: Duration = Duration::from_millis(20);

/// One attack, measured.
struct Round {
    name: String,
    alone: Value,
    attacked: Value,
    growth_mb: f64,
    panics: f64,
}

pub(super) fn measure(root: &Path, recorder: &mut Recorder) -> Result<()> {
    if !recorder.wants("attacks") {
        return Ok(());
    }
    let rig = Rig::new(root, "attacks")?;
    let backend = free_port()?;
    let _backend = rig.backend(backend)?;
    let large = free_port()?;
    let _large = rig.idle_backend(large)?;
    let _awake = rig.awake()?;
    let mut raw = Raw::new(root, "attacks")?;
    let capacity = {
        let node = rig.node_before(backend, large, "")?;
        let report =
            rig.report(&["closed", "--url", &node.url(), "--host", "localhost", "--seconds", CAPACITY_SECS])?;
        number(&report, "rate")?
    };
    let rate = format!("{:.0}", (capacity * 0.3).max(20.0));
    raw.row(recorder, json!({"capacity_per_sec": capacity, "rate_per_sec": rate}))?;
    let mut rounds = Vec::new();
    let wanted = std::env::var("SUNBEAM_BENCH_ATTACKS").unwrap_or_default();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.split(',').any(|one| one == name);
    for name in KINDS.iter().copied().chain(installed()).filter(|name| is_wanted(name)) {
        let node = rig.node_before(backend, large, "")?;
        let (round, attacker) =
            attacked(&rig, &node, name, &rate).with_context(|| format!("under {name}"))?;
        raw.row(
            recorder,
            json!({
                "attack": name, "alone": round.alone, "attacked": round.attacked,
                "memory_growth_mb": round.growth_mb, "panics": round.panics, "attacker": attacker,
            }),
        )?;
        rounds.push(round);
    }
    note(recorder, &rounds)
}

fn installed() -> impl Iterator<Item = &'static str> {
    let is_here = std::process::Command::new("slowhttptest").arg("-h").output().is_ok();
    if !is_here {
        println!("slowhttptest is not installed: left out");
    }
    SLOWHTTPTEST.iter().filter(move |_| is_here).map(|(name, _)| *name)
}

fn note(recorder: &mut Recorder, rounds: &[Round]) -> Result<()> {
    let p99 = |report: &Value| typical_p99(report);
    let alone = median(&rounds.iter().map(|round| p99(&round.alone)).collect::<Result<Vec<_>>>()?);
    recorder.note("good clients alone: p99", alone / 1000.0, "ms", "")?;
    for round in rounds {
        let name = &round.name;
        let (ok, requests) = (number(&round.attacked, "ok")?, number(&round.attacked, "requests")?);
        recorder.note(&format!("under {name}: answered"), ok * 100.0 / requests, "%", ">= 99")?;
        recorder.note(
            &format!("under {name}: p99 to p99 alone"),
            p99(&round.attacked)? / alone,
            "×",
            "<= 2",
        )?;
        let whole = number(&round.attacked, "p99_us")? / 1000.0;
        recorder.note(&format!("under {name}: p99 of the whole run"), whole, "ms", "")?;
        recorder.note(&format!("under {name}: memory growth"), round.growth_mb, "MB", "")?;
    }
    recorder.note("panics under attack", rounds.iter().map(|round| round.panics).sum(), "", "<= 0")
}

/// The good clients alone, then under the attack.
fn attacked(rig: &Rig, node: &Node, name: &str, rate: &str) -> Result<(Round, Value)> {
    // The first connections and the code's first run are nobody's latency.
    good(rig, node, rate, "1")?;
    let alone = good(rig, node, rate, ALONE_SECS)?;
    let before = node.resident()?;
    let over = AtomicBool::new(false);
    let (attacked, attacker, most) = scope(|scope| {
        let most = scope.spawn(|| {
            let mut most = 0.0_f64;
            while !over.load(Ordering::Relaxed) {
                // A node that is gone is told of below.
                most = most.max(node.resident().unwrap_or(0.0));
                sleep(SAMPLE_EVERY);
            }
            most
        });
        let attacker = scope.spawn(|| attack(rig, node, name));
        sleep(HEAD_START);
        let attacked = good(rig, node, rate, ATTACKED_SECS);
        let attacker = attacker.join();
        over.store(true, Ordering::Relaxed);
        (attacked, attacker, most.join())
    });
    let (Ok(attacker), Ok(most)) = (attacker, most) else { anyhow::bail!("a thread panicked") };
    let round = Round {
        name: name.to_owned(),
        alone,
        attacked: attacked?,
        growth_mb: (most - before) * 1024.0 / 1e6,
        panics: node.metric("sunbeam_panics_total")?,
    };
    Ok((round, attacker?))
}

fn good(rig: &Rig, node: &Node, rate: &str, seconds: &str) -> Result<Value> {
    let every = (rate.parse::<u32>()? / 20).max(1).to_string();
    let url = node.url();
    rig.report(&[
        "open",
        "--url",
        &url,
        "--host",
        "localhost",
        "--source",
        "127.0.0.2",
        "--rate",
        rate,
        "--seconds",
        seconds,
        "--connections",
        "64",
        "--new-connections",
        &every,
    ])
}

fn attack(rig: &Rig, node: &Node, name: &str) -> Result<Value> {
    if let Some((_, arguments)) = SLOWHTTPTEST.iter().find(|(known, _)| *known == name) {
        let url = format!("https://localhost:{}/bytes/50000000", node.https);
        // It ends with an error when the server stays reachable to the end, or does not: both are what we ask.
        let mut command = idle();
        let output =
            command.arg("slowhttptest").args(*arguments).args(["-l", ATTACK_SECS, "-u", &url]).output()?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = printed.lines().rev().find(|line| line.contains("Exit status")).unwrap_or_default();
        return Ok(json!(last));
    }
    let mut command = rig.attacker();
    command.args(["attack", name, "--url", &node.url(), "--host", "localhost"]);
    command.args(["--source", "127.0.0.3", "--seconds", ATTACK_SECS, "--json"]);
    let printed = super::super::text_of(&mut command)?;
    serde_json::from_str(&printed).with_context(|| format!("loadgen said `{printed}`"))
}
