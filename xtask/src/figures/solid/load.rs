// SPDX-License-Identifier: Apache-2.0
//! Load generators: wrk for HTTP/1, h2load for HTTP/2 and for new connections.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::super::text_of;
use super::server::{LOAD_CORE, pinned};

/// How a job asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// [`CONNECTIONS`] kept connections, one request after the other on each.
    Http1,
    /// [`CONNECTIONS`] connections with [`STREAMS`] requests under way on each.
    Http2,
    /// Connections in batches of [`BATCH`], each with a full handshake and one HTTP/1 request: h2load
    /// never resumes a session (wrk would).
    NewConnections,
}

/// Where to.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) url: String,
    pub(super) host: &'a str,
    /// Of wrk's requests, beside the host.
    pub(super) headers: &'a [&'a str],
    pub(super) seconds: u64,
    pub(super) script: PathBuf,
    pub(super) work: &'a Path,
}

/// What the generator counted.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Counted {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    failed: u64,
    #[serde(default)]
    pub(super) p50_ms: Option<f64>,
    #[serde(default)]
    pub(super) p99_ms: Option<f64>,
    /// Version, cipher and key exchange, where the generator tells.
    #[serde(skip)]
    pub(super) tls: String,
}

pub(super) const CONNECTIONS: u32 = 32;
pub(super) const STREAMS: u32 = 10;
const BATCH: u32 = 100;

impl Load {
    /// Runs for the target's seconds.
    ///
    /// # Errors
    /// When a single request failed: such a round is no measurement.
    pub(super) fn run(self, target: &Target<'_>) -> Result<Counted> {
        let counted = match self {
            Self::Http1 => wrk(target),
            Self::Http2 => http2(target),
            Self::NewConnections => new_connections(target),
        }?;
        if counted.failed > 0 || counted.requests == 0 {
            bail!("{} requests of {} failed", counted.failed, counted.failed + counted.requests);
        }
        Ok(counted)
    }
}

fn wrk(target: &Target<'_>) -> Result<Counted> {
    let printed = text_of(
        pinned(LOAD_CORE, "wrk")
            .args(["--threads", "1", "--timeout", "10s"])
            .args(["--connections", &CONNECTIONS.to_string(), "--duration", &format!("{}s", target.seconds)])
            .args(["--header", &format!("Host: {}", target.host)])
            .args(target.headers.iter().flat_map(|header| ["--header", *header]))
            .arg("--script")
            .arg(&target.script)
            .arg(&target.url),
    )?;
    let line = printed.lines().last().context("wrk said nothing")?;
    serde_json::from_str(line).with_context(|| format!("wrk said: {printed}"))
}

fn http2(target: &Target<'_>) -> Result<Counted> {
    let log = target.work.join("h2load.tsv");
    // h2load appends.
    if log.exists() {
        fs::remove_file(&log)?;
    }
    let mut command = h2load(CONNECTIONS, target);
    command.args(["--max-concurrent-streams", &STREAMS.to_string()]);
    command.args(["--duration", &target.seconds.to_string()]).arg("--log-file").arg(&log);
    let mut counted = printed_by_h2load(&text_of(&mut command)?)?;
    let mut times = durations_ms(&fs::read_to_string(&log)?)?;
    times.sort_by(f64::total_cmp);
    counted.p50_ms = times.get(times.len() / 2).copied();
    counted.p99_ms = times.get(times.len() * 99 / 100).copied();
    Ok(counted)
}

fn new_connections(target: &Target<'_>) -> Result<Counted> {
    let begun = Instant::now();
    let mut sum = Counted::default();
    while begun.elapsed() < Duration::from_secs(target.seconds) {
        let mut command = h2load(BATCH, target);
        command.args(["--h1", "--requests", &BATCH.to_string()]);
        let batch = printed_by_h2load(&text_of(&mut command)?)?;
        sum = Counted { requests: sum.requests + batch.requests, failed: sum.failed + batch.failed, ..batch };
    }
    Ok(Counted { seconds: begun.elapsed().as_secs_f64(), ..sum })
}

fn h2load(connections: u32, target: &Target<'_>) -> Command {
    let mut command = pinned(LOAD_CORE, "h2load");
    // One cipher for everybody, so that all do the same work.
    command.args(["--threads", "1", "--tls13-ciphers", "TLS_AES_256_GCM_SHA384"]);
    command.args(["--clients", &connections.to_string()]).arg(&target.url);
    command
}

/// What h2load says of a run.
fn printed_by_h2load(printed: &str) -> Result<Counted> {
    let after = |start: &str| {
        let found = printed.lines().find_map(|line| line.strip_prefix(start)).map(str::trim);
        found.with_context(|| format!("no `{start}` in what h2load said: {printed}"))
    };
    let requests = after("requests:")?;
    let count = |what: &str| -> Result<u64> {
        let found = requests.split(", ").find_map(|part| part.strip_suffix(what)).context("a count")?;
        Ok(found.trim().parse()?)
    };
    let finished = after("finished in ")?.split(',').next().unwrap_or_default();
    let tls =
        ["TLS Protocol: ", "Cipher: ", "Server Temp Key: "].map(|start| after(start).unwrap_or_default());
    Ok(Counted {
        requests: count(" succeeded")?,
        seconds: seconds(finished).with_context(|| format!("not a time: `{finished}`"))?,
        failed: count(" failed")? + count(" errored")? + count(" timeout")?,
        tls: tls.join(" "),
        ..Counted::default()
    })
}

/// `3.00s`, `812.30ms`, `950us`
fn seconds(text: &str) -> Option<f64> {
    let scaled = |number: &str, scale: f64| number.parse::<f64>().ok().map(|value| value * scale);
    match text {
        _ if text.ends_with("ms") => scaled(text.strip_suffix("ms")?, 1e-3),
        _ if text.ends_with("us") => scaled(text.strip_suffix("us")?, 1e-6),
        _ => scaled(text.strip_suffix('s')?, 1.0),
    }
}

/// The third column: microseconds from request to the end of the answer.
fn durations_ms(log: &str) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for line in log.lines() {
        let mut columns = line.split('\t').skip(1);
        let (status, micros) = (columns.next(), columns.next().context("h2load's log: three columns")?);
        // What was cut off by the end of the run has status -1.
        if status == Some("200") {
            times.push(micros.parse::<f64>()? / 1000.0);
        }
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "starting benchmark...\nTLS Protocol: TLSv1.3\nCipher: TLS_AES_256_GCM_SHA384\n\
        Server Temp Key: X25519 253 bits\nApplication protocol: h2\n\nfinished in 812.50ms, 24.6 req/s, 1MB/s\n\
        requests: 20 total, 20 started, 20 done, 18 succeeded, 2 failed, 1 errored, 0 timeout\n";

    #[test]
    fn what_h2load_prints_is_read() {
        let counted = printed_by_h2load(PRINTED).unwrap();
        assert_eq!((counted.requests, counted.failed), (18, 3));
        assert!((counted.seconds - 0.8125).abs() < 1e-9);
        assert_eq!(counted.tls, "TLSv1.3 TLS_AES_256_GCM_SHA384 X25519 253 bits");
    }

    #[test]
    fn other_output_is_an_error() {
        printed_by_h2load("could not connect").unwrap_err();
    }

    #[test]
    fn only_answers_count_for_latency() {
        let times = durations_ms("1700000000000000\t200\t1500\n1700000000000001\t-1\t9\n").unwrap();
        assert_eq!(times, [1.5]);
    }
}
