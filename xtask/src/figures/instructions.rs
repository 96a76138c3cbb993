// SPDX-License-Identifier: Apache-2.0
//! Instructions that the node itself needs for a request (the kernel's are not in it), counted by callgrind.
//!
//! The real binary serves under valgrind; client and backend run outside of it. The same load is counted three
//! times in one process, and the middle one is the figure: within 1 % of itself from run to run, so that
//! `cargo xtask instructions --check` sees what a stopwatch would lose in noise.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{Recorder, WorkFolder, read, text_of};

/// Like release, without what makes that slow to build.
const PROFILE: &str = "instructions";

/// Requests of a load: enough that a TLS handshake is 1 % of it.
const REQUESTS: u32 = 1000;

/// Loads that are counted.
const ROUNDS: usize = 3;

/// Requests before anything is counted: pools, caches and lazily made tables are full then.
const WARM_UP: u32 = 200;

/// How much more than recorded is still the same.
const MORE_MAX: f64 = 1.05;

/// Functions below this share of a request are noise in the record.
const SHARE_MIN: f64 = 0.002;

/// What is asked: name (of the figure, and of the record of its functions), and how.
const KINDS: &[(&str, &str, Load)] = &[
    ("HTTP/1 GET, proxied", "http1-proxied", Load::Kept("GET /api/items?page=2&sort=price", "proxied.test")),
    ("HTTP/1 GET, file of 1 KiB", "http1-file", Load::Kept("GET /file.webp", "files.test")),
    ("HTTP/2 GET over TLS, proxied", "http2-proxied", Load::Http2("/api/items?page=2&sort=price")),
    ("HTTP/1 head refused, connection included", "http1-refused", Load::Refused),
];

#[derive(Clone, Copy)]
enum Load {
    /// Method and target, host; all on one connection.
    Kept(&'static str, &'static str),
    /// Path; one connection, one stream at a time, by `h2load`.
    Http2(&'static str),
    /// Both framings at once, a connection each.
    Refused,
}

/// What a browser sends, in its order.
const BROWSER: &[(&str, &str)] = &[
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "en-US,en;q=0.5"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Referer", "https://proxied.test/shop"),
    ("Cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "same-origin"),
];

/// The backend's answer is of a type that is not compressed: zstd would be all that is counted.
const ANSWER_HEAD: &str = "HTTP/1.1 200 OK\r\nServer: backend\r\nDate: Sun, 22 Nov 2026 03:00:00 GMT\r\n\
    Content-Type: image/webp\r\nContent-Length: 1024\r\nCache-Control: no-cache\r\n\r\n";
const BODY_BYTES: usize = 1024;

/// Instructions a request, by function.
type Counts = BTreeMap<String, f64>;

/// Measures afresh and records.
pub(super) fn measure(root: &Path, recorder: &mut Recorder) -> Result<()> {
    let binary = build(root)?;
    for (name, record, load) in KINDS {
        if recorder.wants(record) {
            let counts = count(&binary, *load)?;
            recorder.note(name, total(&counts).round(), "instructions", "")?;
            let path = record_path(root, record);
            fs::create_dir_all(path.parent().context("a folder")?)?;
            fs::write(path, written(&counts)?)?;
        }
    }
    Ok(())
}

/// Measures afresh and compares with the record.
///
/// # Errors
/// When a request needs more than 5 % more than recorded, with the functions that need it.
pub(crate) fn check(root: &Path) -> Result<()> {
    let binary = build(root)?;
    let recorded = read(root, "instructions")?;
    let mut findings = Vec::new();
    for (name, record, load) in KINDS {
        let known = recorded.iter().find(|figure| figure.name == *name).context("not recorded yet")?.value;
        let counts = count(&binary, *load)?;
        let now = total(&counts);
        let change = (now / known - 1.0) * 100.0;
        println!("{name}: {now:.0} instructions, recorded {known} ({change:+.2} %)");
        let text = fs::read_to_string(record_path(root, record))?;
        if now <= known * MORE_MAX {
            continue;
        }
        print!("{}", differences(&text, &counts));
        if text.lines().next() == Some(made_with()?.as_str()) {
            findings.push(format!("{name}: {change:+.1} %"));
        } else {
            println!("  recorded with other tools, so not held against this change: {}", made_with()?);
        }
    }
    if findings.is_empty() {
        return Ok(());
    }
    bail!(
        "requests need more instructions than recorded: {}\nIf that is meant, say why in the commit and record it: \
         cargo xtask figures instructions --measure",
        findings.join(", ")
    );
}

fn build(root: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--profile", PROFILE, "--package", "sunbeam-cli", "--bin", "sunbeam"]);
    let built = cargo.args(["--message-format", "short"]).current_dir(root).status()?;
    if !built.success() {
        bail!("{cargo:?} failed");
    }
    let metadata =
        cargo_metadata::MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec()?;
    Ok(metadata.target_directory.join(PROFILE).join("sunbeam").into_std_path_buf())
}

/// Instructions a request, by function.
fn count(binary: &Path, load: Load) -> Result<Counts> {
    let work = WorkFolder::new("instructions")?;
    let node = CountedNode::start(binary, &work.0)?;
    node.ask(load, WARM_UP)?;
    node.monitor("zero")?;
    let mut rounds = Vec::new();
    for round in 1..=ROUNDS {
        node.ask(load, REQUESTS)?;
        node.monitor("dump")?;
        let mut counts = by_function(&fs::read_to_string(work.0.join(format!("counts.{round}")))?);
        counts.values_mut().for_each(|count| *count /= f64::from(REQUESTS));
        rounds.push(counts);
    }
    rounds.sort_by(|a, b| total(a).total_cmp(&total(b)));
    Ok(rounds.swap_remove(ROUNDS / 2))
}

/// `sunbeam serve` under callgrind, with one serving thread.
struct CountedNode {
    child: Child,
    http: u16,
    https: u16,
}

impl CountedNode {
    fn start(binary: &Path, work: &Path) -> Result<Self> {
        let backend = backend()?;
        let (http, https) = (free_port()?, free_port()?);
        let config = configuration(work, backend, http, https)?;
        let log = fs::File::create(work.join("log"))?;
        let child = Command::new("taskset")
            .args(["--cpu-list", &one_processor()?, "valgrind", "--quiet", "--tool=callgrind"])
            .arg(format!("--callgrind-out-file={}", work.join("counts").display()))
            .arg(binary)
            .args(["serve", "--config"])
            .arg(config)
            // Each byte of a `rep movsb` would count as an instruction: copies by the vector loop instead.
            .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-ERMS")
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("valgrind (a Debian package) and taskset are needed")?;
        let mut node = Self { child, http, https };
        let begun = Instant::now();
        // The plain listener is opened first.
        while TcpStream::connect(("127.0.0.1", https)).is_err() {
            if node.child.try_wait()?.is_some() || begun.elapsed() > Duration::from_secs(120) {
                bail!("the node did not start:\n{}", fs::read_to_string(work.join("log"))?);
            }
            sleep(Duration::from_millis(50));
        }
        Ok(node)
    }

    fn ask(&self, load: Load, requests: u32) -> Result<()> {
        match load {
            Load::Kept(request, host) => {
                let mut stream = self.connect()?;
                let request = format!("{request} HTTP/1.1\r\nHost: {host}\r\n{}\r\n", fields("", "\r\n"));
                (0..requests).try_for_each(|_| exchange(&mut stream, request.as_bytes()))
            }
            Load::Http2(path) => {
                let url = format!("https://localhost:{}{path}", self.https);
                let mut h2load = Command::new("h2load");
                h2load.args(["-c1", "-m1", "-t1", &format!("-n{requests}"), &url]);
                for field in fields("", "\n").lines() {
                    h2load.args(["-H", field]);
                }
                let printed = text_of(&mut h2load)?;
                if !printed.contains(&format!(" {requests} 2xx")) {
                    bail!("{h2load:?}: {printed}");
                }
                Ok(())
            }
            Load::Refused => (0..requests).try_for_each(|_| {
                let mut stream = self.connect()?;
                stream.write_all(
                    b"POST / HTTP/1.1\r\nHost: proxied.test\r\nContent-Length: 3\r\n\
                      Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                )?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer)?;
                if !answer.starts_with("HTTP/1.1 400") {
                    bail!("not refused: {answer}");
                }
                Ok(())
            }),
        }
    }

    fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.http))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(stream)
    }

    /// A command to callgrind itself.
    fn monitor(&self, command: &str) -> Result<()> {
        text_of(Command::new("vgdb").arg(format!("--pid={}", self.child.id())).arg(command)).map(drop)
    }
}

impl Drop for CountedNode {
    fn drop(&mut self) {
        // It has served its purpose, however it ends.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn configuration(work: &Path, backend: u16, http: u16, https: u16) -> Result<PathBuf> {
    let at = |name: &str| work.join(name).display().to_string();
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "30",
    ]);
    openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
    text_of(openssl.args(["-keyout", &at("key.pem"), "-out", &at("cert.pem")]))?;
    fs::create_dir_all(work.join("files"))?;
    fs::write(work.join("files/file.webp"), [b'x'; BODY_BYTES])?;
    let route = |host: &str, to: &str| {
        format!("[[routes]]\nhost = \"{host}\"\n{to}\ndisable_secure_redirection = true\n")
    };
    let to_backend = format!("backend = \"http://127.0.0.1:{backend}\"");
    let text = format!(
        "[listen]\nhttp = \"127.0.0.1:{http}\"\nhttps = \"127.0.0.1:{https}\"\n\
         [tls]\ncert_path = {:?}\nkey_path = {:?}\n[telemetry]\nmetrics_port = 0\n[management]\nbind = \"\"\n\
         [audit]\npath = {:?}\n[state]\npath = {:?}\n\
         [limits]\nkeepalive_requests = 1000000\nnew_connections_per_ip = 1000000\n\
         [ddos]\nrequest_threshold = 0\nerror_threshold = 0\n[rate_limit]\nbypass_cidrs = []\n\
         [rate_limit.unauthenticated]\nburst = 10000000\nrate = 10000000\n[waf]\nenabled = false\n{}{}{}",
        at("cert.pem"),
        at("key.pem"),
        at("audit.log"),
        at("state.redb"),
        route("proxied.test", &to_backend),
        route("localhost", &to_backend),
        route("files.test", &format!("static_root = {:?}", at("files"))),
    );
    let path = work.join("config.toml");
    fs::write(&path, text)?;
    Ok(path)
}

/// Answers each request with the same 1 KiB. Its threads end with the program.
fn backend() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    spawn(move || {
        for stream in listener.incoming().flatten() {
            spawn(move || answer_all(stream));
        }
    });
    Ok(port)
}

/// Until the node hangs up, or sends what it should not.
fn answer_all(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let answer = [ANSWER_HEAD.as_bytes(), &[b'x'; BODY_BYTES]].concat();
    let mut received = Vec::new();
    loop {
        read_some(&mut stream, &mut received)?;
        while let Some(end) = head_end(&received) {
            received.drain(..end);
            stream.write_all(&answer)?;
        }
    }
}

/// One request and its answer, which ends with 1 KiB.
fn exchange(stream: &mut TcpStream, request: &[u8]) -> Result<()> {
    stream.write_all(request)?;
    let mut received = Vec::new();
    while head_end(&received).is_none_or(|end| received.len() < end + BODY_BYTES) {
        read_some(stream, &mut received)?;
    }
    if !received.starts_with(b"HTTP/1.1 200") {
        bail!("{}", String::from_utf8_lossy(&received));
    }
    Ok(())
}

fn read_some(stream: &mut TcpStream, received: &mut Vec<u8>) -> Result<()> {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer)? {
        0 => bail!("hung up in the middle: {}", String::from_utf8_lossy(received)),
        read => received.extend_from_slice(buffer.get(..read).unwrap_or_default()),
    }
    Ok(())
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn fields(before: &str, after: &str) -> String {
    BROWSER.iter().map(|(name, value)| format!("{before}{name}: {value}{after}")).collect()
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A node on one processor has one serving thread.
fn one_processor() -> Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list =
        status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).context("processors")?;
    Ok(list.trim().split([',', '-']).next_back().context("a processor")?.to_owned())
}

/// What each function itself needed, from a callgrind profile: `fn=(id) name` once, then `fn=(id)`; cost lines
/// are `line cost`, and the one behind `calls=` is the callee's.
fn by_function(profile: &str) -> Counts {
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    let mut counts = Counts::new();
    let (mut current, mut is_callee) = ("", false);
    for line in profile.lines() {
        if let Some((key @ ("fn" | "cfn"), named)) = line.split_once('=') {
            let (id, name) = named.split_once(' ').unwrap_or((named, ""));
            if !name.is_empty() {
                names.insert(id, name);
            }
            if key == "fn" {
                current = names.get(id).copied().unwrap_or_default();
            }
        } else if line.starts_with("calls=") {
            is_callee = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let cost = line.split(' ').nth(1).and_then(|cost| cost.parse::<f64>().ok());
            if let (Some(cost), false) = (cost, is_callee) {
                // Recursion levels (`name'2`) and the binary's hashes are no other functions.
                let function = current.split('\'').next().unwrap_or_default();
                *counts.entry(function.to_owned()).or_default() += cost;
            }
            is_callee = false;
        }
    }
    counts
}

fn total(counts: &Counts) -> f64 {
    counts.values().sum()
}

fn record_path(root: &Path, record: &str) -> PathBuf {
    root.join(format!("benchmarks/instructions/{record}.txt"))
}

/// What counts depend on besides the code.
fn made_with() -> Result<String> {
    let rustc = text_of(Command::new("rustc").arg("--version"))?;
    let valgrind = text_of(Command::new("valgrind").arg("--version"))?;
    let avx2 = fs::read_to_string("/proc/cpuinfo")?.contains(" avx2 ");
    Ok(format!("# {rustc}, {valgrind}, profile {PROFILE}, {}", if avx2 { "AVX2" } else { "no AVX2" }))
}

/// The record: the tools, then the functions, the largest first.
fn written(counts: &Counts) -> Result<String> {
    let all = total(counts);
    let mut functions: Vec<_> = counts.iter().filter(|(_, count)| **count >= all * SHARE_MIN).collect();
    functions.sort_by(|a, b| b.1.total_cmp(a.1));
    let mut text = made_with()? + "\n";
    for (function, count) in functions {
        writeln!(text, "{count:.0}\t{function}")?;
    }
    Ok(text)
}

/// The functions that need more than recorded, the largest difference first. One that is not in the record needed
/// at most what the smallest there needed.
fn differences(recorded: &str, counts: &Counts) -> String {
    let recorded: BTreeMap<&str, f64> = recorded
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter_map(|(count, function)| Some((function, count.parse().ok()?)))
        .collect();
    let least = recorded.values().copied().reduce(f64::min).unwrap_or_default();
    let before = |function: &str| recorded.get(function).copied().unwrap_or(least);
    let mut grown: Vec<(f64, &str)> = counts
        .iter()
        .map(|(function, now)| (now - before(function), function.as_str()))
        .filter(|(more, _)| *more >= 1.0)
        .collect();
    grown.sort_by(|a, b| b.0.total_cmp(&a.0));
    let line =
        |(more, function): &(f64, &str)| format!("  {more:+7.0}  {function} (was {})\n", before(function));
    grown.iter().take(20).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE_TEXT: &str = "events: Ir\nfn=(1) main\n16 400\n+3 5\ncfn=(2) sunbeam::check\ncalls=1 50\n* 1000\n\
        fn=(2)\n50 700\ncfn=(2)\ncalls=1 50\n50 300\nfn=(3) sunbeam::check'2\n50 300\n";

    #[test]
    fn costs_are_added_up_by_function_without_what_they_call() {
        let counts = by_function(PROFILE_TEXT);
        let want = [("main".to_owned(), 405.0), ("sunbeam::check".to_owned(), 1000.0)];
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), want);
    }

    #[test]
    fn the_largest_difference_comes_first() {
        let counts = Counts::from([
            ("a".to_owned(), 10.0),
            ("b".to_owned(), 300.0),
            ("c".to_owned(), 5.0),
            ("new".to_owned(), 20.0),
        ]);
        assert_eq!(
            differences("# tools\n9\ta\n100\tb\n50\tc\n", &counts),
            "     +200  b (was 100)\n      +11  new (was 9)\n       +1  a (was 9)\n"
        );
    }
}
