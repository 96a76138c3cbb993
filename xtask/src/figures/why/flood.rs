// SPDX-License-Identifier: Apache-2.0
//! What good clients notice of attacks at full speed that judging stops (part `flood`), and what the decision store does.
//!
//! As in `solid/attacks.rs`: the node has core 0; backend, good client and attacker share core 1, the attacker with
//! `SCHED_IDLE`. The attacker asks for what is certain to be an attack from 32 addresses (127.0.0.32 and on), pipelined;
//! good clients, 30 % of capacity, come from 127.0.0.2 in an open loop. All addresses are judged (`bypass_cidrs` is empty);
//! limits of how much one may ask, and the model of what one client does, are out of the way, because one address stands
//! for all good clients: what stops the attack is what is found in it. Each round has a fresh node; figures are the middle of the rounds.

use std::path::Path;
use std::thread::{scope, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::super::solid::rig::{Node, Raw, Rig, number, typical_p99};
use super::super::solid::server::free_port;
use super::super::{Recorder, median, text_of};

/// Name, what is asked for.
const ATTACKS: [(&str, &str); 2] =
    [("probes", ".env"), ("payloads", "item?id=1%27%20union%20select%20password%20from%20users--%20")];

const ROUNDS: usize = 3;
const CAPACITY_SECS: &str = "4";
const GOOD_SECS: &str = "8";

/// It begins before the good clients do and ends after them.
const ATTACK_SECS: &str = "10";
const HEAD_START: Duration = Duration::from_secs(1);

const SECTIONS: &str = "[ddos]\nrequest_threshold = 0\nthreshold = 1.0\n[rate_limit]\nbypass_cidrs = []\n\
    [rate_limit.unauthenticated]\nburst = 10000000\nrate = 10000000\n\
    [limits]\nkeepalive_requests = 1000000\n";

pub(super) fn measure(root: &Path, recorder: &mut Recorder) -> Result<()> {
    if !recorder.wants("flood") {
        return Ok(());
    }
    let rig = Rig::new(root, "flood")?;
    let backend = free_port()?;
    let _backend = rig.backend(backend)?;
    let _awake = rig.awake()?;
    let mut raw = Raw::of(root, "why", "flood")?;
    let capacity = {
        let node = rig.node_with(backend, backend, SECTIONS)?;
        let url = node.url();
        let report =
            rig.report(&["closed", "--url", &url, "--host", "localhost", "--seconds", CAPACITY_SECS])?;
        number(&report, "rate")?
    };
    let rate = format!("{:.0}", (capacity * 0.3).max(20.0));
    raw.row(recorder, json!({"capacity_per_sec": capacity, "rate_per_sec": rate}))?;
    for (name, target) in ATTACKS {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let node = rig.node_with(backend, backend, SECTIONS)?;
            let round = attacked(&rig, &node, target, &rate).with_context(|| format!("under {name}"))?;
            raw.row(recorder, json!({"attack": name, "round": round}))?;
            rounds.push(round);
        }
        note(recorder, name, &rounds)?;
    }
    Ok(())
}

fn note(recorder: &mut Recorder, name: &str, rounds: &[Value]) -> Result<()> {
    let middle = |of: &dyn Fn(&Value) -> Result<f64>| -> Result<f64> {
        Ok(median(&rounds.iter().map(of).collect::<Result<Vec<_>>>()?))
    };
    let part = |round: &Value, key: &str| round.get(key).cloned().with_context(|| format!("no `{key}`"));
    let p99 = |key: &'static str| move |round: &Value| typical_p99(&part(round, key)?);
    let answered = middle(&|round| {
        let attacked = part(round, "attacked")?;
        Ok(number(&attacked, "ok")? * 100.0 / number(&attacked, "requests")?)
    })?;
    recorder.note(&format!("flood of {name}: good clients answered"), answered, "%", ">= 99")?;
    // Of the whole run, stalls with it: what the goal is about.
    let whole = |key: &'static str| move |round: &Value| number(&part(round, key)?, "p99_us");
    let ratio = middle(&|round| Ok(whole("attacked")(round)? / whole("alone")(round)?))?;
    recorder.note(
        &format!("flood of {name}: good clients' p99 to p99 alone, of the whole run"),
        ratio,
        "×",
        "<= 2",
    )?;
    let ratio = middle(&|round| Ok(p99("attacked")(round)? / p99("alone")(round)?))?;
    recorder.note(&format!("flood of {name}: the same of a typical tenth of a second"), ratio, "×", "")?;
    for key in ["alone", "attacked"] {
        let value = middle(&|round| Ok(whole(key)(round)? / 1000.0))?;
        recorder.note(
            &format!("flood of {name}: good clients' p99 {key}, of the whole run"),
            value,
            "ms",
            "",
        )?;
    }
    for (key, what) in [
        ("blocked_per_sec", "stopped by judging, a second"),
        ("written", "decisions written"),
        ("sampled", "decisions that others stand for"),
        ("dropped", "decisions dropped"),
        ("failed", "decisions lost"),
    ] {
        let value = middle(&|round| number(round, key))?;
        recorder.note(&format!("flood of {name}: {what}"), value, "", "")?;
    }
    Ok(())
}

/// The good clients alone, then under the attack; and what the store made of it.
fn attacked(rig: &Rig, node: &Node, target: &str, rate: &str) -> Result<Value> {
    // The first connections and the code's first run are nobody's latency.
    good(rig, node, rate, "1")?;
    let alone = good(rig, node, rate, GOOD_SECS)?;
    let (attacked, attacker) = scope(|scope| {
        let attacker = scope.spawn(|| attack(rig, node, target));
        sleep(HEAD_START);
        (good(rig, node, rate, GOOD_SECS), attacker.join())
    });
    let Ok(attacker) = attacker else { bail!("a thread panicked") };
    let attacker = attacker?;
    // What waits is written within a second, and counted.
    sleep(Duration::from_secs(2));
    let blocked = node.metric("sunbeam_blocked_requests_total")?;
    if blocked < 1_000.0 {
        bail!("only {blocked} requests were stopped: {attacker}");
    }
    let metrics = node.metrics()?;
    let kept = |result: &str| {
        let start = format!("sunbeam_decisions_kept_total{{result=\"{result}\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&start)?.parse::<f64>().ok());
        value.with_context(|| format!("no `{start}`"))
    };
    let seconds: f64 = ATTACK_SECS.parse()?;
    Ok(json!({
        "alone": alone, "attacked": attacked?, "attacker": attacker, "blocked_per_sec": blocked / seconds,
        "written": kept("written")?, "sampled": kept("sampled")?, "dropped": kept("dropped")?, "failed": kept("failed")?,
    }))
}

fn good(rig: &Rig, node: &Node, rate: &str, seconds: &str) -> Result<Value> {
    let every = (rate.parse::<u32>()? / 20).max(1).to_string();
    let url = node.url();
    let fixed =
        ["open", "--url", &url, "--host", "localhost", "--source", "127.0.0.2", "--connections", "64"];
    let more = ["--rate", rate, "--seconds", seconds, "--new-connections", &every];
    rig.report(&[&fixed[..], &more[..]].concat())
}

fn attack(rig: &Rig, node: &Node, target: &str) -> Result<Value> {
    let mut command = rig.attacker();
    command.args(["attack", "requests", "--url", &format!("{}{target}", node.url()), "--host", "localhost"]);
    command.args(["--source", "127.0.0.32", "--sources", "32", "--seconds", ATTACK_SECS, "--json"]);
    let printed = text_of(&mut command)?;
    serde_json::from_str(&printed).with_context(|| format!("loadgen said `{printed}`"))
}
