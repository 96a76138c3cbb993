// SPDX-License-Identifier: Apache-2.0
//! Figures of learning (parts: accuracy, sessions, sites, kernels, training, replay, cpu): how right the models are on what they
//! have not seen, what they cost, and how long training and replays take.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

use super::{Recorder, solid, text_of};

/// A line of the benchmark: its name there, the figure's, the unit, the goal.
type Row = (&'static str, &'static str, &'static str, &'static str);

const KERNELS: &[Row] = &[
    ("tree_ns", "decision tree, unpredictable inputs", "ns", "<= 4"),
    ("mlp_ns", "perceptron, unpredictable inputs", "ns", "<= 15"),
    ("mlp_float_ns", "the same perceptron in row-major floats (reference arm)", "ns", ""),
    ("mlp_gain", "perceptron: floats over ours, same run", "×", ">= 10"),
    ("text_suspicious_48_bytes_ns", "payload model, a suspicious text of 48 bytes, with reading", "ns", ""),
    ("text_ordinary_32_bytes_ns", "payload model, an ordinary text of 32 bytes, with reading", "ns", ""),
    ("judge_median_ns", "whole judgement of an ordinary request, median", "ns", "<= 1000"),
    ("judge_worst_ns", "whole judgement of an ordinary request, the dearest of sixteen", "ns", ""),
    ("judge_attack_ns", "whole judgement of an SQL injection", "ns", ""),
    (
        "judge_application_ns",
        "whole judgement of an ordinary request to an application that the model knows, median",
        "ns",
        "",
    ),
    (
        "judge_other_host_ns",
        "whole judgement of an ordinary request beside an application that the model knows, median",
        "ns",
        "",
    ),
    ("models_bytes", "all models together", "bytes", "<= 49152"),
    ("cascade_bytes", "tree and perceptron of a detector", "bytes", "<= 4096"),
    ("payload_bytes", "payload model", "bytes", "<= 32768"),
];

pub(super) fn measure(root: &Path, recorder: &mut Recorder) -> Result<()> {
    if recorder.wants("kernels") {
        kernels(root, recorder)?;
    }
    if recorder.wants("training") {
        training(root, recorder)?;
    }
    if recorder.wants("accuracy") {
        accuracy(root, recorder)?;
    }
    if recorder.wants("sessions") {
        sessions(root, recorder)?;
    }
    if recorder.wants("sites") {
        sites(root, recorder)?;
    }
    if recorder.wants("replay") {
        replay(root, recorder)?;
    }
    if recorder.wants("cpu") {
        cpu(root, recorder)?;
    }
    Ok(())
}

fn kernels(root: &Path, recorder: &mut Recorder) -> Result<()> {
    let mut bench = Command::new(env!("CARGO"));
    bench.args(["bench", "--locked", "--package", "sunbeam-pipeline", "--bench", "models"]);
    let printed = text_of(bench.current_dir(root))?;
    for (line, name, unit, goal) in KERNELS {
        let value = printed.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        let value = value.with_context(|| format!("the benchmark does not say `{line}`"))?;
        recorder.note(name, value.trim().parse()?, unit, goal)?;
    }
    Ok(())
}

/// All shipped models, from the files on the disk, and again: the same bytes.
fn training(root: &Path, recorder: &mut Recorder) -> Result<()> {
    let trainer = built(root, &["--package", "sunbeam-trainer"], "sunbeam-trainer")?;
    let begun = Instant::now();
    let said = text_of(Command::new(&trainer).arg(root).arg("--check"))?;
    recorder.note(
        "training of all models, with evaluation, wall time",
        begun.elapsed().as_secs_f64(),
        "s",
        "< 300",
    )?;
    let is_same = f64::from(u8::from(said.contains("the same bytes")));
    recorder.note("training again gives the same bytes", is_same, "", ">= 1")
}

/// From the trainer's own evaluation on the sides that it has not learned from.
fn accuracy(root: &Path, recorder: &mut Recorder) -> Result<()> {
    let trainer = built(root, &["--package", "sunbeam-trainer"], "sunbeam-trainer")?;
    let printed = text_of(Command::new(&trainer).arg(root).arg("--figures"))?;
    for line in printed.lines() {
        let figure: Value = serde_json::from_str(line).context("a figure of the trainer")?;
        let text = |key: &str| figure.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let value = figure.get("value").and_then(Value::as_f64).context("a value")?;
        recorder.note(&text("name"), value, &text("unit"), &text("goal"))?;
    }
    Ok(())
}

/// Recorded sessions through the whole pipeline with its defaults, from the raw recordings (`cargo xtask traffic --out
/// target/traffic`; what is committed has no queries of attackers): those of a tool by models that never saw it, those of
/// visitors and of a real log by the models that ship, which were trained on them: that says that nobody is blocked whom
/// they know, and little of others. What models block counts, and the rules of the same layers; how much an identity may
/// ask for, crawler policies and the WAF are another matter.
fn sessions(root: &Path, recorder: &mut Recorder) -> Result<()> {
    let raw = root.join("target/traffic");
    let config = root.join("target/figures-nobody-spared.toml");
    std::fs::write(&config, "[rate_limit]\nbypass_cidrs = []\n")?;
    let (mut all, mut caught) = (0, 0);
    for tool in SCANNERS {
        let (sessions, found) = unseen_tool(root, &raw, &config, tool)?;
        recorder.note(
            &format!("{tool}, unseen: sessions blocked within 20 requests"),
            share(found, sessions),
            "%",
            "",
        )?;
        (all, caught) = (all + sessions, caught + found);
    }
    recorder.note(
        "unseen scanners: sessions blocked within 20 requests",
        share(caught, all),
        "%",
        ">= 95",
    )?;
    recorder.note("unseen scanners: sessions", f64::from(all), "sessions", "")?;
    let mut benign = Vec::new();
    for file in recordings(&raw, |name| VISITORS.iter().any(|kind| name.starts_with(kind)))? {
        benign.extend(replayed(root, &file, &config, &[])?.into_iter().map(|line| line.of(&file)));
    }
    let log = corpora()?.join("orig/logs/semicomplete_apache_logs.zst");
    benign.extend(replayed(root, &log, &config, &[])?.into_iter().map(|line| line.of(&log)));
    let (sessions, blocked) = blocked_sessions(benign.iter());
    recorder.note(
        "benign sessions that the shipped models were trained on (visitors, pollers, crawlers, a real log), blocked by the layers ddos and scanner alone",
        f64::from(blocked),
        "sessions",
        "<= 0",
    )?;
    recorder.note(
        "benign sessions that the shipped models were trained on (visitors, pollers, crawlers, a real log)",
        f64::from(sessions),
        "sessions",
        ">= 3000",
    )
}

/// Of the recorded tools, those that look for something; the others only make load.
const SCANNERS: [&str; 6] = ["dirb", "ffuf", "gobuster", "probes", "sqlmap", "wapiti"];

/// Kinds of visitors, as their recordings are called.
const VISITORS: [&str; 11] = [
    "api-client",
    "api-poller",
    "chromium",
    "crawler",
    "crowd",
    "feed-reader",
    "file-client",
    "link-preview",
    "monitoring",
    "nat",
    "person",
];

fn unseen_tool(root: &Path, raw: &Path, config: &Path, tool: &str) -> Result<(u32, u32)> {
    let folder = without(root, tool)?;
    let models = [folder.join("scanner.model"), folder.join("ddos.model")];
    let mut lines = Vec::new();
    for file in recordings(raw, |name| name.starts_with(&format!("{tool}-")))? {
        lines.extend(replayed(root, &file, config, &models)?.into_iter().map(|line| line.of(&file)));
    }
    Ok(caught_early(lines.iter()))
}

/// Corpora of what people asked of real sites, each learned by models that have not seen it. They tell no times and no
/// clients: a fifth of the groups judges, not a later stretch, and what is judged are texts, not path, headers or windows.
const SITES: [&str; 3] = ["openappsec_legit", "grananqvist", "url_brave_top500"];

/// Learning one site by `sunbeam learn`: what is odd for one application (HTTP CSIC 2010: small groups are judged whole,
/// pages with many numbers by request), and how many benign rows that were kept apart are doubted before and after. A
/// candidate is taken that is better on one side and no worse than by chance on the other.
fn sites(root: &Path, recorder: &mut Recorder) -> Result<()> {
    let told = learned(root, "csic_dec", None, &[])?;
    for (whose, note) in [("in_use", "the model that ships"), ("candidate", "learned")] {
        let (auc, found) = if whose == "candidate" { (">= 0.985", ">= 85") } else { ("", "") };
        let rank =
            |what: &str| number(&told, &format!("/detectors/scanner/ranking_of_the_log/{whose}/{what}"));
        recorder.note(&format!("CSIC as one application, {note}: AUC"), rank("auc")?, "", auc)?;
        let name = format!("CSIC as one application, {note}: attacks found at one benign request of 100");
        recorder.note(&name, 100.0 * rank("at_one_percent")?, "%", found)?;
    }
    for site in SITES {
        let folder = without(root, site)?;
        let models = [folder.join("scanner.model"), folder.join("ddos.model")];
        let told = learned(root, site, Some(0), &models)?;
        for (label, what) in [
            ("benign", "its benign rows doubted, by texts"),
            ("attack", "attacks of our own found, by texts"),
        ] {
            for (when, by) in [("before", "in_use"), ("after", "by_the_candidate")] {
                let share = number(&told, &format!("/detectors/scanner/{label}/stopped_{by}/share"))?;
                recorder.note(
                    &format!("{site}, a corpus as one site, {what} {when} learning"),
                    100.0 * share,
                    "%",
                    "",
                )?;
            }
        }
        let verdict = told.pointer("/detectors/scanner/verdict").and_then(Value::as_str);
        let name = format!(
            "{site}, a corpus as one site: the candidate is taken (fewer benign doubted, at most one attack of 200 more missed)"
        );
        recorder.note(&name, f64::from(u8::from(verdict == Some("better"))), "", ">= 1")?;
    }
    Ok(())
}

fn number(told: &Value, at: &str) -> Result<f64> {
    told.pointer(at).and_then(Value::as_f64).with_context(|| format!("`learn` does not say {at}"))
}

/// What `learn` says of the records of one corpus, those of a label or all.
fn learned(root: &Path, source: &str, label: Option<u8>, models: &[PathBuf]) -> Result<Value> {
    let log = root.join("target/figures-site.jsonl");
    let packed = std::fs::File::open(corpora()?.join("requests.jsonl.zst"))?;
    let mut kept = String::new();
    for line in BufReader::new(zstd::Decoder::new(packed)?).lines() {
        let line = line?;
        let record: Corpus = serde_json::from_str(&line)?;
        if record.src == source && label.is_none_or(|label| record.label == label) {
            kept.push_str(&line);
            kept.push('\n');
        }
    }
    std::fs::write(&log, kept)?;
    let mut command = Command::new(built(root, &["--package", "sunbeam-cli"], "sunbeam")?);
    command.args(["-o", "json", "learn", "--input"]).arg(&log);
    command.arg("--output-dir").arg(root.join("target/figures-learned"));
    for model in models {
        command.arg("--model").arg(model);
    }
    // 1 says that the candidate is not better, which is a figure too.
    let output = command.output()?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("`learn` failed: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Of a line of the corpora.
#[derive(Deserialize)]
struct Corpus {
    src: String,
    label: u8,
}

/// Models that have not seen a corpus or a tool.
fn without(root: &Path, name: &str) -> Result<PathBuf> {
    let folder = root.join("target/figures-without").join(name);
    std::fs::create_dir_all(&folder)?;
    let trainer = built(root, &["--package", "sunbeam-trainer"], "sunbeam-trainer")?;
    text_of(Command::new(trainer).arg(root).args(["--without", name]).arg(&folder))?;
    Ok(folder)
}

fn recordings(raw: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let hint = || {
        format!("no recordings in {}: `cargo xtask traffic --out target/traffic` makes them", raw.display())
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(raw).with_context(hint)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".jsonl") && is_wanted(name) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A verdict of `sunbeam replay`.
#[derive(Deserialize)]
struct Line {
    /// The recording.
    #[serde(default)]
    run: String,
    client: String,
    decision: String,
    layer: String,
    reason: String,
}

impl Line {
    fn of(self, file: &Path) -> Self {
        Self { run: file.display().to_string(), ..self }
    }

    /// Blocked for what it is or does; not for coming too fast or for being a kind of crawler.
    fn is_blocked(&self) -> bool {
        let is_policy =
            matches!(self.reason.as_str(), "crawler_too_fast" | "crawler_denied" | "fake_crawler");
        self.decision == "block" && matches!(self.layer.as_str(), "ddos" | "scanner") && !is_policy
    }
}

fn replayed(root: &Path, input: &Path, config: &Path, models: &[PathBuf]) -> Result<Vec<Line>> {
    let verdicts = root.join("target/figures-verdicts.jsonl");
    let mut command = Command::new(built(root, &["--package", "sunbeam-cli"], "sunbeam")?);
    command
        .arg("--config")
        .arg(config)
        .arg("replay")
        .arg("--sort")
        .args(["--only", "lists,ddos,scanner"])
        .arg("--input")
        .arg(input);
    command.arg("--verdicts").arg(&verdicts);
    for model in models {
        command.arg("--model").arg(model);
    }
    text_of(&mut command)?;
    let text = std::fs::read_to_string(&verdicts)?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Sessions, and those of which one of the first twenty requests is blocked.
fn caught_early<'a>(lines: impl Iterator<Item = &'a Line>) -> (u32, u32) {
    const EARLY: u32 = 20;
    let mut sessions: BTreeMap<(&str, &str), (u32, bool)> = BTreeMap::new();
    for line in lines {
        let (requests, is_caught) = sessions.entry((&line.run, &line.client)).or_default();
        *is_caught |= *requests < EARLY && line.is_blocked();
        *requests += 1;
    }
    count(sessions.values().map(|(_, is_caught)| *is_caught))
}

fn blocked_sessions<'a>(lines: impl Iterator<Item = &'a Line>) -> (u32, u32) {
    let mut sessions: BTreeMap<(&str, &str), bool> = BTreeMap::new();
    for line in lines {
        *sessions.entry((&line.run, &line.client)).or_default() |= line.is_blocked();
    }
    count(sessions.into_values())
}

fn count(sessions: impl Iterator<Item = bool>) -> (u32, u32) {
    sessions.fold((0, 0), |(all, some), is| (all + 1, some + u32::from(is)))
}

fn share(some: u32, all: u32) -> f64 {
    100.0 * f64::from(some) / f64::from(all.max(1))
}

/// Records a second of a real log, judged after they were read.
fn replay(root: &Path, recorder: &mut Recorder) -> Result<()> {
    let log = corpora()?.join("orig/logs/semicomplete_apache_logs.zst");
    let sunbeam = built(root, &["--package", "sunbeam-cli"], "sunbeam")?;
    let mut command = Command::new(&sunbeam);
    command.args(["-o", "json", "replay", "--sort", "--only", "ddos,scanner", "--input"]).arg(&log);
    let told: Value = serde_json::from_str(&text_of(&mut command)?)?;
    for detector in ["scanner_paths", "ddos_paths"] {
        for path in ["tree_allow", "tree_block", "mlp_allow", "mlp_block"] {
            let name = format!("replay of real logs, {}: {path}", detector.trim_end_matches("_paths"));
            let count = paths(root, &told, detector, path)?;
            recorder.note(&name, count, "requests", ">= 1")?;
        }
    }
    let speed = speed(root, &sunbeam)?;
    recorder.note("replay, records a second after they were read", speed, "records/s", ">= 500000")
}

/// The best of three, by what `replay` says of judging alone.
fn speed(root: &Path, sunbeam: &Path) -> Result<f64> {
    let log = root.join("target/figures-log.jsonl");
    let lines: String = (0..200_000_u32).map(line).collect();
    std::fs::write(&log, lines)?;
    let mut best = 0.0_f64;
    for _ in 0..3 {
        let output = Command::new(sunbeam).args(["replay", "--sort", "--input"]).arg(&log).output()?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let alone = told.lines().find_map(|line| line.split_once("judging alone ")?.1.split_once('/'));
        let (speed, _) = alone.context("the replay does not say how fast it judges")?;
        best = best.max(speed.trim().parse()?);
    }
    Ok(best)
}

/// Ordinary requests of a thousand clients in the form of the combined log.
fn line(number: u32) -> String {
    let (client, second) = (number % 1000, number / 50);
    let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
    format!(
        "198.51.{}.{} - - [28/Nov/2026:{hour:02}:{minute:02}:{second:02} +0000] \"GET /products/item-{}?page={} HTTP/1.1\" \
         200 512 \"https://shop.example/\" \"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\"\n",
        client / 250,
        client % 250,
        number % 300,
        number % 9,
    )
}

/// Of the real log and of the real scan.
fn paths(root: &Path, log: &Value, detector: &str, path: &str) -> Result<f64> {
    let of = |told: &Value| {
        let count = told.get("summary").and_then(|summary| summary.get(detector)?.get(path)?.as_f64());
        count.with_context(|| format!("the replay does not say `{detector}`"))
    };
    let scan = corpora()?.join("orig/ocatak/acunetix.txt.zst");
    let mut command = Command::new(built(root, &["--package", "sunbeam-cli"], "sunbeam")?);
    command.args(["-o", "json", "replay", "--sort", "--only", "ddos,scanner", "--input"]).arg(scan);
    let told: Value = serde_json::from_str(&text_of(&mut command)?)?;
    Ok(of(log)? + of(&told)?)
}

fn corpora() -> Result<PathBuf> {
    let shared =
        env::var_os("SUNBEAM_SHARED").context("SUNBEAM_SHARED is not set: the corpora are not at hand")?;
    Ok(PathBuf::from(shared).join("data"))
}

fn cpu(root: &Path, recorder: &mut Recorder) -> Result<()> {
    for (part, name) in [
        ("http1", "HTTP/1 keep-alive, CPU per request with all judging and models over without"),
        ("http2", "HTTPS HTTP/2, CPU per request with all judging and models over without"),
    ] {
        let costs = solid::with_and_without_judging(root, part)?;
        recorder.note(name, costs.ratio, "×", "<= 1.15")?;
        recorder.note(&format!("{name}: with"), costs.with_us, "µs", "")?;
        recorder.note(&format!("{name}: without"), costs.without_us, "µs", "")?;
    }
    Ok(())
}

/// A program of the project, optimised.
fn built(root: &Path, package: &[&str], name: &str) -> Result<PathBuf> {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--release", "--locked", "--quiet"]).args(package);
    text_of(build.current_dir(root))?;
    Ok(root.join("target/release").join(name))
}
