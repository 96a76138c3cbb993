// SPDX-License-Identifier: Apache-2.0
//! What a request costs: Sunbeam beside nginx, HAProxy, Envoy and Caddy on the same job (part `peers`,
//! or a job by its own part). Rounds of all servers take turns; each has one core to itself, backend and
//! load generator have another; each writes its access log. CPU time is the kernel's.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::super::{Recorder, WorkFolder, median, text_of};
use super::cpu::CpuTime;
use super::load::{CONNECTIONS, Load, STREAMS, Target};
use super::server::{
    LOAD_CORE, NGINX_MODSECURITY, OURS, PROXY_CORE, Server, Site, UNJUDGED, WITH_CORE_RULE_SET, WITHOUT_WAF,
    pinned,
};
use crate::docs::line;

/// What is asked of everybody.
#[derive(Clone, Copy, Debug)]
struct Job {
    part: &'static str,
    name: &'static str,
    /// For our CPU time over nginx's.
    goal: &'static str,
    ours: &'static str,
    peers: &'static [&'static str],
    load: Load,
    tls: bool,
    host: &'static str,
    path: &'static str,
    headers: &'static [&'static str],
}

const JOBS: &[Job] = &[
    Job {
        part: "http1",
        name: "HTTP/1 keep-alive",
        goal: "<= 1.15",
        ours: OURS,
        peers: &[NGINX, "HAProxy", "Envoy", "Caddy"],
        load: Load::Http1,
        tls: false,
        host: "localhost",
        path: "/",
        headers: &[],
    },
    Job {
        part: "https",
        name: "HTTPS",
        goal: "<= 0.95",
        ours: OURS,
        peers: &[NGINX, "HAProxy", "Envoy"],
        load: Load::Http1,
        tls: true,
        host: "localhost",
        path: "/",
        headers: &[],
    },
    Job {
        part: "http2",
        name: "HTTPS HTTP/2",
        goal: "<= 1.1",
        ours: OURS,
        peers: &[NGINX, "HAProxy", "Envoy"],
        load: Load::Http2,
        tls: true,
        host: "localhost",
        path: "/",
        headers: &[],
    },
    Job {
        part: "connections",
        name: "new TLS connection",
        goal: "<= 0.55",
        ours: OURS,
        peers: &[NGINX, "HAProxy"],
        load: Load::NewConnections,
        tls: true,
        host: "localhost",
        path: "/",
        headers: &[],
    },
    Job {
        part: "static",
        name: "static 1 KiB",
        goal: "<= 1.3",
        ours: OURS,
        peers: &[NGINX],
        load: Load::Http1,
        tls: false,
        host: "static.localhost",
        path: "/1k.txt",
        headers: &[],
    },
    Job {
        part: "body",
        name: "1 MiB body",
        goal: "<= 1.1",
        ours: OURS,
        peers: &[NGINX],
        load: Load::Http1,
        tls: false,
        host: "localhost",
        path: "/1m.txt",
        headers: &[],
    },
];

const NGINX: &str = "nginx";
const ROUNDS: usize = 9;
const ROUND_SECS: u64 = 3;
const RAW: &str = "benchmarks/raw/solid-peers.jsonl";

/// One round of one server, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Round {
    job: String,
    server: String,
    version: String,
    round: usize,
    requests: u64,
    log_lines: u64,
    seconds: f64,
    cpu_us_per_request: f64,
    requests_per_sec: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    tls: String,
    /// The machine's load average at the end: what else went on.
    load_average: f64,
    commit: String,
    date: String,
}

pub(super) fn measure(root: &Path, recorder: &mut Recorder) -> Result<()> {
    let jobs: Vec<&Job> =
        JOBS.iter().filter(|job| recorder.wants("peers") || recorder.wants(job.part)).collect();
    if jobs.is_empty() {
        return Ok(());
    }
    let binary = super::binary(root)?;
    let work = WorkFolder::new("peers")?;
    let site = Site::start(root, &work.0, binary)?;
    for job in jobs {
        let rounds = job.measure(root, &site, &work.0, recorder).with_context(|| job.name.to_owned())?;
        keep(root, job, &rounds)?;
        job.note(&rounds, recorder)?;
    }
    Ok(())
}

/// What judging costs: the same node on the same job, with every layer and with none, in turn.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct JudgingCosts {
    /// The median of the rounds' ratios.
    pub(in super::super) ratio: f64,
    pub(in super::super) with_us: f64,
    pub(in super::super) without_us: f64,
}

/// See [`JudgingCosts`]. Nobody is spared and nobody is refused: every layer does its whole work.
pub(in super::super) fn with_and_without_judging(root: &Path, part: &str) -> Result<JudgingCosts> {
    let job = JOBS.iter().find(|job| job.part == part).context("a known job")?;
    let job = Job { peers: &[UNJUDGED], ..*job };
    let work = WorkFolder::new("judging")?;
    let site = Site::start(root, &work.0, super::binary(root)?)?;
    let rounds = job.measure(root, &site, &work.0, &Recorder::unrecorded())?;
    Ok(JudgingCosts {
        ratio: ratio(&rounds, OURS, UNJUDGED),
        with_us: cost(&rounds, OURS),
        without_us: cost(&rounds, UNJUDGED),
    })
}

/// What the WAF costs through a proxy: CPU time of a request, microseconds, the least of all rounds.
#[derive(Clone, Debug)]
pub(in super::super) struct RulesCost {
    /// With the Core Rule Set.
    pub(in super::super) with_us: f64,
    /// Without the WAF, every other layer as before.
    pub(in super::super) without_us: f64,
    /// Of nginx with libmodsecurity and the same rules.
    pub(in super::super) nginx_us: f64,
    /// nginx, as its version says.
    pub(in super::super) nginx: String,
}

/// See [`RulesCost`]: a `GET` as a browser sends it. `rules` are those of libmodsecurity, with the set's own.
pub(in super::super) fn with_and_without_rules(
    root: &Path,
    core_rule_set: &Path,
    rules: &str,
) -> Result<RulesCost> {
    let job = Job {
        part: "rules",
        name: "HTTP/1 keep-alive with rules",
        goal: "",
        ours: WITH_CORE_RULE_SET,
        peers: &[WITHOUT_WAF, NGINX_MODSECURITY],
        load: Load::Http1,
        tls: false,
        host: "localhost",
        path: "/?page=2&sort=price&color=dark+green&q=folding+chair&limit=24",
        headers: BROWSER,
    };
    let work = WorkFolder::new("rules")?;
    std::os::unix::fs::symlink(core_rule_set, work.0.join("crs"))?;
    fs::write(work.0.join("rules.conf"), rules)?;
    let site = Site::start(root, &work.0, super::binary(root)?)?;
    let rounds = job.measure(root, &site, &work.0, &Recorder::unrecorded())?;
    let least = |name| of(&rounds, name).map(|round| round.cpu_us_per_request).fold(f64::INFINITY, f64::min);
    Ok(RulesCost {
        with_us: least(WITH_CORE_RULE_SET),
        without_us: least(WITHOUT_WAF),
        nginx_us: least(NGINX_MODSECURITY),
        nginx: title(&rounds, NGINX_MODSECURITY),
    })
}

/// What a browser sends beside the host, and wrk does not. No coding: nginx as configured here does not compress.
const BROWSER: &[&str] = &[
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.9,de;q=0.8",
    "Accept-Encoding: identity",
    "Referer: https://shop.example/products?category=garden",
    "Cookie: session=4f9d2c1ab87e; theme=dark; consent=yes",
    "Sec-Fetch-Mode: navigate",
    "Upgrade-Insecure-Requests: 1",
];

/// Runs one job against our node alone, with `perf` beside it; prints where the time went.
pub(super) fn profile(root: &Path, part: &str) -> Result<()> {
    let parts = || JOBS.iter().map(|job| job.part).collect::<Vec<_>>().join(", ");
    let job = JOBS.iter().find(|job| job.part == part);
    let job = job.with_context(|| format!("no job `{part}`; there are: {}", parts()))?;
    // Packages are stripped: a profile wants names.
    let binary = super::binary_with_names(root)?;
    let work = WorkFolder::new("profile")?;
    let site = Site::start(root, &work.0, binary)?;
    let server = site.proxy(OURS)?;
    job.verify(&site, &server)?;
    let data = root.join("target").join(format!("profile-{part}.data"));
    let mut perf = pinned(LOAD_CORE, "perf")
        .args(["record", "--quiet", "--freq", "997", "--pid", &server.pid().to_string(), "--output"])
        .arg(&data)
        .spawn()
        .context("perf (Debian: linux-perf)")?;
    let counted = job.load.run(&job.target(&server, root, &work.0, 2 * ROUND_SECS));
    text_of(Command::new("kill").args(["-INT", &perf.id().to_string()]))?;
    perf.wait()?;
    println!("{} requests; the whole of it: perf report --input {}", counted?.requests, data.display());
    for sort in ["comm", "dso", "comm,symbol"] {
        let mut report = Command::new("perf");
        report.args(["report", "--stdio", "--quiet", "--percent-limit", "0.7", "--sort", sort, "--input"]);
        let printed = text_of(report.arg(&data))?;
        // Empty columns at the end of each line.
        printed.lines().for_each(|line| println!("{}", line.trim_end_matches([' ', '-'])));
        println!();
    }
    Ok(())
}

impl Job {
    fn measure(&self, root: &Path, site: &Site<'_>, work: &Path, recorder: &Recorder) -> Result<Vec<Round>> {
        let servers = std::iter::once(self.ours).chain(self.peers.iter().copied());
        let servers = servers.map(|name| site.proxy(name)).collect::<Result<Vec<_>>>()?;
        for server in &servers {
            self.verify(site, server).with_context(|| server.title())?;
        }
        let mut rounds = Vec::new();
        for number in 0..ROUNDS {
            // Everybody comes first, last and in between.
            for place in 0..servers.len() {
                let Some(server) = servers.get((number + place) % servers.len()) else { continue };
                let target = self.target(server, root, work, ROUND_SECS);
                let mut round = self.round(server, &target).with_context(|| server.title())?;
                round.round = number;
                recorder.commit.clone_into(&mut round.commit);
                recorder.date.clone_into(&mut round.date);
                eprintln!(
                    "{} {number} {}: {:.1} µs, {:.0}/s, load {}",
                    self.part,
                    server.name,
                    round.cpu_us_per_request,
                    round.requests_per_sec,
                    round.load_average
                );
                rounds.push(round);
            }
        }
        Ok(rounds)
    }

    /// The right bytes over the right protocol, and a line of log for each request: before anything counts.
    fn verify(&self, site: &Site<'_>, server: &Server) -> Result<()> {
        server.forget_log()?;
        let expected = site.expected(self.path)?;
        let (protocol, version) =
            if self.load == Load::Http2 { ("--http2", "2") } else { ("--http1.1", "1.1") };
        let port = if self.tls { server.https } else { server.http };
        for _ in 0..VERIFIED {
            let output = pinned(LOAD_CORE, "curl")
                .args(["--silent", "--verbose", "--fail", "--insecure", "--noproxy", "*", protocol])
                .args(["--resolve", &format!("localhost:{port}:127.0.0.1")])
                .args([
                    "--header",
                    &format!("Host: {}", self.host),
                    "--write-out",
                    "%{stderr}%{http_version}",
                ])
                .arg(self.url(server))
                .output()?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if !output.status.success() || !said.ends_with(version) || output.stdout != expected {
                bail!("not the expected answer over HTTP/{version}: {} bytes\n{said}", output.stdout.len());
            }
            if self.tls && !said.contains(CIPHER) {
                bail!("not {CIPHER}, so not the same work for all:\n{said}");
            }
        }
        let lines = server.log_lines(VERIFIED)?;
        if lines != VERIFIED {
            bail!("{lines} lines of log for {VERIFIED} requests");
        }
        Ok(())
    }

    fn round(&self, server: &Server, target: &Target<'_>) -> Result<Round> {
        server.forget_log()?;
        let before = CpuTime::of(server.pid())?;
        let counted = self.load.run(target)?;
        // Lines that still wait are part of the work.
        let log_lines = server.log_lines(counted.requests)?;
        let used = CpuTime::of(server.pid())?.since(&before)?;
        let under_way = u64::from(CONNECTIONS * STREAMS);
        if log_lines > counted.requests + counted.requests / 100 + under_way {
            bail!("{log_lines} lines of log, but the generator counted {} answers", counted.requests);
        }
        let requests = f64::from(u32::try_from(counted.requests)?);
        Ok(Round {
            job: self.name.to_owned(),
            server: server.name.to_owned(),
            version: server.version.clone(),
            round: 0,
            requests: counted.requests,
            log_lines,
            seconds: thousandths(counted.seconds),
            cpu_us_per_request: thousandths(used.as_secs_f64() * 1e6 / requests),
            requests_per_sec: (requests / counted.seconds).round(),
            p50_ms: counted.p50_ms.map(thousandths),
            p99_ms: counted.p99_ms.map(thousandths),
            tls: counted.tls,
            load_average: load_average()?,
            commit: String::new(),
            date: String::new(),
        })
    }

    fn url(&self, server: &Server) -> String {
        match self.tls {
            // By name: an address makes no SNI.
            true => format!("https://localhost:{}{}", server.https, self.path),
            false => format!("http://127.0.0.1:{}{}", server.http, self.path),
        }
    }

    fn target<'a>(&'a self, server: &Server, root: &Path, work: &'a Path, seconds: u64) -> Target<'a> {
        let script = root.join("benchmarks/peers/report.lua");
        Target { url: self.url(server), host: self.host, headers: self.headers, seconds, script, work }
    }

    fn note(&self, rounds: &[Round], recorder: &mut Recorder) -> Result<()> {
        let name = self.name;
        let figure = format!("{name}, CPU per request");
        recorder.note_against(&title(rounds, NGINX), &figure, ratio(rounds, OURS, NGINX), "×", self.goal)?;
        if self.peers.contains(&"HAProxy") {
            let (peer, ratio) = (title(rounds, "HAProxy"), ratio(rounds, OURS, "HAProxy"));
            recorder.note_against(&peer, &format!("{figure}, beside HAProxy"), ratio, "×", "")?;
        }
        if self.part == "http1" {
            for (peer, goal) in [("Envoy", ">= 3"), ("Caddy", ">= 4")] {
                let figure = format!("{name}, CPU per request of {peer} over ours");
                recorder.note_against(&title(rounds, peer), &figure, ratio(rounds, peer, OURS), "×", goal)?;
            }
        }
        for server in [OURS, NGINX] {
            let figure = format!("{name}, CPU per request of {server}");
            recorder.note(&figure, cost(rounds, server), "µs", "")?;
        }
        Ok(())
    }
}

/// What all servers agree on with curl, and so with wrk, which uses the same library.
const CIPHER: &str = "TLSv1.3 / TLS_AES_256_GCM_SHA384";
/// Requests that are looked at before a job is measured.
const VERIFIED: u64 = 5;

fn of<'a>(rounds: &'a [Round], server: &str) -> impl Iterator<Item = &'a Round> {
    rounds.iter().filter(move |round| round.server == server)
}

fn title(rounds: &[Round], server: &str) -> String {
    of(rounds, server).next().map_or_else(String::new, |round| format!("{server} {}", round.version))
}

fn cost(rounds: &[Round], server: &str) -> f64 {
    median(&of(rounds, server).map(|round| round.cpu_us_per_request).collect::<Vec<_>>())
}

/// The median of the rounds' ratios: the two of a round saw the machine in the same mood.
fn ratio(rounds: &[Round], server: &str, to: &str) -> f64 {
    let pairs = of(rounds, server).zip(of(rounds, to));
    median(&pairs.map(|(one, other)| one.cpu_us_per_request / other.cpu_us_per_request).collect::<Vec<_>>())
}

fn load_average() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}

fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Puts a job's rounds in the place of its former ones.
fn keep(root: &Path, job: &Job, rounds: &[Round]) -> Result<()> {
    let mut kept = kept(root)?;
    kept.retain(|round| round.job != job.name);
    kept.extend_from_slice(rounds);
    let mut text = String::new();
    for round in &kept {
        line(&mut text, &serde_json::to_string(round)?);
    }
    let path = root.join(RAW);
    fs::create_dir_all(path.parent().context("a folder")?)?;
    Ok(fs::write(path, text)?)
}

fn kept(root: &Path) -> Result<Vec<Round>> {
    let Ok(text) = fs::read_to_string(root.join(RAW)) else { return Ok(Vec::new()) };
    text.lines().map(|line| serde_json::from_str(line).context(RAW)).collect()
}

/// All servers side by side, for `BENCHMARKS.md`; empty where nothing was measured.
pub(super) fn table(root: &Path) -> Result<String> {
    let rounds = kept(root)?;
    if rounds.is_empty() {
        return Ok(String::new());
    }
    let mut page = format!(
        "\n### Side by side\n\nMedians of {ROUNDS} rounds of {ROUND_SECS} s, taken in turn; every server has one \
         worker on core {PROXY_CORE} and writes its\naccess log to a file; backend (nginx) and load generator have \
         core {LOAD_CORE}; {CONNECTIONS} connections (HTTP/2: {STREAMS} streams\non each). TLS 1.3 with \
         AES-256-GCM, ECDSA P-256, X25519, no resumption. CPU time is the kernel's, of the whole process.\n\
         Throughput and latency depend on what else the machine does, the ratio of two CPU times least. Raw data: `{RAW}`.\n\n"
    );
    page.push_str("| job | server | CPU a request | requests/s | p50 | p99 |\n|---|---|---|---|---|---|\n");
    for job in JOBS {
        let mut servers: BTreeMap<usize, String> = BTreeMap::new();
        for (place, name) in [OURS].iter().chain(job.peers).enumerate() {
            let rounds: Vec<Round> =
                of(&rounds, name).filter(|round| round.job == job.name).cloned().collect();
            if !rounds.is_empty() {
                servers.insert(place, row(job.name, name, &rounds));
            }
        }
        servers.values().for_each(|row| line(&mut page, row));
    }
    Ok(page)
}

fn row(job: &str, server: &str, rounds: &[Round]) -> String {
    let middle = |of: fn(&Round) -> Option<f64>| {
        let values: Vec<f64> = rounds.iter().filter_map(of).collect();
        if values.is_empty() { None } else { Some(median(&values)) }
    };
    let latency = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2} ms"));
    format!(
        "| {job} | {} | {:.1} µs | {:.0} | {} | {} |",
        title(rounds, server),
        cost(rounds, server),
        middle(|round| Some(round.requests_per_sec)).unwrap_or_default(),
        latency(middle(|round| round.p50_ms)),
        latency(middle(|round| round.p99_ms)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(server: &str, number: usize, cpu: f64) -> Round {
        Round {
            job: "HTTPS".to_owned(),
            server: server.to_owned(),
            version: "1.2.3".to_owned(),
            round: number,
            requests: 1,
            log_lines: 1,
            seconds: 1.0,
            cpu_us_per_request: cpu,
            requests_per_sec: 1.0,
            p50_ms: None,
            p99_ms: None,
            tls: String::new(),
            load_average: 0.0,
            commit: String::new(),
            date: String::new(),
        }
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // A busy second round made both dear: it must not distort the ratio.
        let rounds = [
            round(OURS, 0, 10.0),
            round(NGINX, 0, 20.0),
            round(NGINX, 1, 200.0),
            round(OURS, 1, 100.0),
            round(OURS, 2, 30.0),
            round(NGINX, 2, 20.0),
        ];
        assert!((ratio(&rounds, OURS, NGINX) - 0.5).abs() < 1e-9);
        assert!((cost(&rounds, OURS) - 30.0).abs() < 1e-9);
    }

    #[test]
    fn names_of_jobs_and_parts_are_their_own() {
        for (index, job) in JOBS.iter().enumerate() {
            assert!(
                JOBS.iter().skip(index + 1).all(|other| other.part != job.part && other.name != job.name)
            );
            assert_eq!(job.peers.first(), Some(&NGINX));
        }
    }
}
