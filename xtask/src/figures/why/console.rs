// SPDX-License-Identifier: Apache-2.0
//! How quick the pages of the management API are that the console asks for, on a store of a million decisions (part
//! `console`). The decisions are copies of one that a node made, with other ids, times, addresses, hosts and paths; each
//! answer is timed from the connection to its last byte.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde_json::{Value, json};
use sunbeam_decisions::{Bounds, Class, Entry, Row, Writer, text_hash};

use super::super::solid::rig::Raw;
use super::super::solid::server::{PROXY_CORE, Process, free_port, pinned};
use super::super::{Recorder, WorkFolder, solid};

const DECISIONS: u64 = 1_000_000;
/// Nothing of them is to be pushed out.
const MAX_BYTES: u64 = 24 << 30;
const ASKED: usize = 100;
const BATCH: u64 = 250;

/// Between two decisions: a million of them are eleven days.
const STEP_MICROS: u64 = 1_000_000;

pub(super) fn measure(root: &Path, recorder: &mut Recorder) -> Result<()> {
    if !recorder.wants("console") {
        return Ok(());
    }
    let binary = solid::binary(root)?;
    let work = WorkFolder::new("console")?;
    let mut raw = Raw::of(root, "why", "console")?;
    let template = {
        let node = Node::start(&binary, &work.0)?;
        node.made()?
    };
    fs::remove_dir_all(work.0.join("decisions"))?;
    let filled = fill(&work.0.join("decisions"), &template)?;
    raw.row(recorder, json!({"decisions": DECISIONS, "bytes_each": template.len()}))?;
    let node = Node::start(&binary, &work.0)?;
    let Filled { newest, middle, client } = filled;
    for (name, target, found) in [
        ("decisions, first page", "/api/v1/decisions".to_owned(), 50),
        ("decisions of an address", format!("/api/v1/decisions?ip={client}"), 50),
        ("decisions of a host", "/api/v1/decisions?host=host-7.example".to_owned(), 50),
        ("top", "/api/v1/top".to_owned(), 0),
        ("traffic", "/api/v1/traffic".to_owned(), 0),
        ("one decision, the newest", format!("/api/v1/decisions/{newest}"), 0),
        ("one decision, in the middle", format!("/api/v1/decisions/{middle}"), 0),
    ] {
        let mut times = Vec::new();
        for _ in 0..ASKED {
            let begun = Instant::now();
            let answer = node.api(&target)?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
            let count = answer.get("decisions").and_then(Value::as_array).map_or(0, Vec::len);
            if count != found {
                bail!("{target}: {count} decisions, not {found}");
            }
        }
        raw.row(recorder, json!({"page": target, "ms": times}))?;
        times.sort_by(f64::total_cmp);
        let at = |share: usize| times.get((times.len() * share / 100).min(times.len() - 1)).copied();
        for (which, share) in [("p50", 50), ("p99", 99)] {
            let value = at(share).context("times")?;
            recorder.note(&format!("of 1,000,000 decisions: {name}, {which}"), value, "ms", "")?;
        }
    }
    Ok(())
}

struct Filled {
    newest: String,
    middle: String,
    /// Somebody with more decisions than a page.
    client: String,
}

/// Writes a million like `template`.
fn fill(folder: &Path, template: &str) -> Result<Filled> {
    let bounds = Bounds { max_bytes: MAX_BYTES, max_age: Duration::from_secs(30 * 86_400) };
    let (mut writer, _) = Writer::open(folder, bounds)?;
    let template = with_gaps(template)?;
    let now = u64::try_from(Timestamp::now().as_microsecond())?;
    let at = |number: u64| now - (DECISIONS - number) * STEP_MICROS;
    let text_of_id = |number: u64| {
        let digits = format!("{:032x}", id(number));
        let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
        parts.map(|(from, to)| digits.get(from..to).unwrap_or_default()).join("-")
    };
    let client = |number: u64| format!("198.{}.{}.{}", 18 + number % 2, number / 2 % 100, number / 200 % 100);
    for batch in 0..DECISIONS / BATCH {
        let mut entries = Vec::new();
        for number in batch * BATCH..(batch + 1) * BATCH {
            let (client, path) = (client(number), format!("/item/{number}"));
            let host = format!("host-{}.example", number % 50);
            let time = Timestamp::from_microsecond(i64::try_from(at(number))?)?.to_string();
            let mut text = template.clone();
            for (gap, value) in GAPS.iter().zip([&text_of_id(number), &time, &client, &host, &path]) {
                text = text.replacen(gap.1, value, 1);
            }
            let row = Row {
                at_micros: at(number),
                id: id(number),
                client: text_hash(&client),
                host: text_hash(&host),
                path: text_hash(&path),
                // The scanner blocked it.
                layer: 3,
                decision: 2,
            };
            let class = if number.is_multiple_of(4) { Class::Limits } else { Class::Content };
            entries.push(Entry { class, row, text });
        }
        let appended = writer.append(&entries);
        if appended.failed > 0 {
            bail!("{} decisions were not written: {:?}", appended.failed, appended.error);
        }
    }
    Ok(Filled { newest: text_of_id(DECISIONS - 1), middle: text_of_id(DECISIONS / 2), client: client(7) })
}

/// What differs from decision to decision, and what stands for it.
const GAPS: [(&str, &str); 5] =
    [("request_id", "@1@"), ("timestamp", "@2@"), ("client_ip", "@3@"), ("host", "@4@"), ("path", "@5@")];

fn with_gaps(decision: &str) -> Result<String> {
    let mut decision: Value = serde_json::from_str(decision)?;
    let fields = decision.as_object_mut().context("a decision")?;
    for (field, gap) in GAPS {
        let known = fields.insert(field.to_owned(), gap.into());
        known.with_context(|| format!("a decision has `{field}`"))?;
    }
    Ok(decision.to_string())
}

fn id(number: u64) -> u128 {
    u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

/// A node with its API.
struct Node {
    _process: Process,
    http: u16,
    api: u16,
    token: String,
}

impl Node {
    fn start(binary: &Path, work: &Path) -> Result<Self> {
        let (http, https, api) = (free_port()?, free_port()?, free_port()?);
        let config = work.join("node.toml");
        let text = format!(
            "[listen]\nhttp = \"127.0.0.1:{http}\"\nhttps = \"127.0.0.1:{https}\"\n[telemetry]\nmetrics_port = 0\nlog_level = \"error\"\n\
             [management]\nbind = \"127.0.0.1:{api}\"\n[audit]\npath = {:?}\n[state]\npath = {:?}\n\
             [decisions]\nmax_bytes = {MAX_BYTES}\nmax_age_days = 365\n[rate_limit]\nbypass_cidrs = []\n\
             [[routes]]\nhost = \"localhost\"\nbackend = \"http://127.0.0.1:9\"\ndisable_secure_redirection = true\n",
            work.join("audit.log"),
            work.join("state.redb"),
        );
        fs::write(&config, text)?;
        let mut command = pinned(PROXY_CORE, binary);
        command.args(["serve", "--config"]).arg(&config);
        let mut process = Process::start(command, &work.join("node.log"))?;
        process.wait_for(api)?;
        process.wait_for(http)?;
        let token = fs::read_to_string(work.join("management.token")).context("the node's token")?;
        Ok(Self { _process: process, http, api, token: token.trim().to_owned() })
    }

    fn api(&self, target: &str) -> Result<Value> {
        let answer = exchange(self.api, target, &format!("Authorization: Bearer {}\r\n", self.token))?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer")?;
        if !head.starts_with("HTTP/1.1 200") {
            bail!("{target}: {answer}");
        }
        serde_json::from_str(body).with_context(|| format!("{target}: {body}"))
    }

    /// A decision that it makes now, as it is kept.
    fn made(&self) -> Result<String> {
        exchange(
            self.http,
            "/item?id=1%27%20union%20select%20password%20from%20users--%20",
            "Accept: */*\r\n",
        )?;
        for _ in 0..100 {
            let told = self.api("/api/v1/decisions")?;
            if let Some(decision) = told.pointer("/decisions/0") {
                return Ok(decision.to_string());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the node keeps no decision")
    }
}

fn exchange(port: u16, target: &str, fields: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let host = if fields.starts_with("Auth") { format!("127.0.0.1:{port}") } else { "localhost".to_owned() };
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
