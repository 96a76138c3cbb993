// SPDX-License-Identifier: Apache-2.0
//! Figures of the WAF (parts: suite, wire, cost, proxy, verdicts, adversarial): the Core Rule Set's own tests, in process and
//! through a node, what the filter overlooks, what a request costs beside libmodsecurity with the same rules, in process
//! and through a proxy, what either stops of labelled requests, and how long requests take that are built to be expensive.

mod causes;
mod corpus;
mod engines;
mod page;
mod verdicts;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{Recorder, solid, text_of};

/// Texts that the filter is tried with.
const MUTATIONS: &str = "1000000";
const ROUNDS: usize = 3;

/// Requests that are compared: their name in the figures, and how much cheaper ours must be.
const REQUESTS: &[(&str, &str, &str)] = &[
    ("get", "GET with 10 headers", ">= 30"),
    ("json", "2 KiB of JSON", ">= 40"),
    ("form", "form of 10 KiB", ">= 15"),
    ("sqli", "GET with an SQL injection", ">= 30"),
];

pub(super) fn measure(root: &Path, recorder: &mut Recorder) -> Result<()> {
    let shared =
        std::env::var_os("SUNBEAM_SHARED").context("SUNBEAM_SHARED is not set: it has the Core Rule Set")?;
    let folder = Path::new(&shared).join("conformance/crs-4.28.0");
    if recorder.wants("suite") {
        suite(root, &folder, recorder)?;
    }
    if recorder.wants("wire") {
        wire(root, recorder)?;
    }
    if recorder.wants("cost") {
        cost(root, &folder, recorder)?;
    }
    if recorder.wants("proxy") {
        proxy(root, &folder, recorder)?;
    }
    if recorder.wants("verdicts") {
        verdicts::measure(root, Path::new(&shared), &folder, recorder)?;
    }
    if recorder.wants("adversarial") {
        adversarial(root, &folder, recorder)?;
    }
    Ok(())
}

fn suite(root: &Path, folder: &Path, recorder: &mut Recorder) -> Result<()> {
    let mut bench = Command::new(env!("CARGO"));
    bench.args(["bench", "--locked", "--package", "sunbeam-waf-suite", "--bench", "suite", "--"]);
    let printed = text_of(bench.arg(folder).arg(MUTATIONS).current_dir(root))?;
    for (line, name, goal) in [
        (
            "passed",
            "tests of the Core Rule Set 4.28 that pass in process (with ids: 4,931; with log lines only: 14)",
            ">= 4945",
        ),
        ("failed", "tests that fail", "<= 0"),
        ("mutations", "texts made from the suite's that the filter was tried with", ">= 1000000"),
        ("overlooked", "operators that hold for one and that the filter ruled out", "<= 0"),
    ] {
        recorder.note(name, told(&printed, line)?, "", goal)?;
    }
    Ok(())
}

/// The very test that CI runs: what passes as it was written, and what is held against an override.
fn wire(root: &Path, recorder: &mut Recorder) -> Result<()> {
    let mut test = Command::new(env!("CARGO"));
    test.args([
        "test",
        "--locked",
        "--package",
        "sunbeam-cli",
        "--test",
        "main",
        "--",
        "--exact",
        "--nocapture",
    ]);
    test.arg("waf_wire::every_test_of_the_core_rule_set_passes_over_the_wire");
    let printed = text_of(test.current_dir(root))?;
    for (line, name, goal) in [
        (
            "passed",
            "tests of the Core Rule Set 4.28 (4,966) that pass over the wire, through a node",
            ">= 4956",
        ),
        ("overridden", "tests over the wire that are held against an override", "<= 10"),
    ] {
        recorder.note(name, told(&printed, line)?, "", goal)?;
    }
    Ok(())
}

/// Of all shapes the one that takes longest, and how much longer twice as much of any takes. A shape of which 1 MiB is
/// read in less than [`TOLD_FROM_MS`] grows by chance.
fn adversarial(root: &Path, folder: &Path, recorder: &mut Recorder) -> Result<()> {
    for level in ["1", "4"] {
        let mut bench = Command::new(env!("CARGO"));
        bench.args(["bench", "--locked", "--package", "sunbeam-waf", "--bench", "adversarial", "--"]);
        let printed = text_of(bench.arg(folder).arg(level).current_dir(root))?;
        let mut shapes = printed.lines().map(Growth::parse).collect::<Result<Vec<_>>>()?;
        shapes.sort_by(|one, other| other.of_mib[0].total_cmp(&one.of_mib[0]));
        let of =
            format!("of {} adversarial bodies, all phases, no budget, paranoia level {level}", shapes.len());
        let longest = shapes.first().context("the benchmark has no shapes")?;
        eprintln!("{of}, nanoseconds of 1, 2 and 4 MiB:\n{printed}");
        eprintln!("longest: {}", longest.name);
        recorder.note(&format!("longest 1 MiB {of}"), longest.of_mib[0], "ms", "")?;
        let told: Vec<&Growth> = shapes.iter().filter(|shape| shape.of_mib[0] >= TOLD_FROM_MS).collect();
        for (from, sizes) in [(0, "2 MiB over 1 MiB"), (1, "4 MiB over 2 MiB")] {
            let growth = |shape: &&&Growth| shape.of_mib[from + 1] / shape.of_mib[from];
            let most = told.iter().max_by(|one, other| growth(one).total_cmp(&growth(other)));
            let most = most.context("no shape takes long enough for its growth to be told")?;
            eprintln!("largest growth, {sizes}: {}", most.name);
            recorder.note(&format!("largest growth, {sizes}, {of}"), growth(&most), "×", "<= 2.2")?;
        }
    }
    Ok(())
}

/// Of a line `passed 4966`.
fn told(printed: &str, name: &str) -> Result<f64> {
    let value = printed.lines().find_map(|found| found.strip_prefix(name)?.strip_prefix(' '));
    let value = value.with_context(|| format!("nobody says `{name}`"))?;
    Ok(value.trim().parse()?)
}

const TOLD_FROM_MS: f64 = 10.0;

/// What 1, 2 and 4 MiB of a shape take, in milliseconds.
struct Growth {
    name: String,
    of_mib: [f64; 3],
}

impl Growth {
    /// Of `NAME NANOSECONDS NANOSECONDS NANOSECONDS`.
    fn parse(line: &str) -> Result<Self> {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default().to_owned();
        let times: Vec<f64> = words.map_while(|word| Some(word.parse::<f64>().ok()? / 1e6)).collect();
        let of_mib = times.try_into().ok().with_context(|| format!("`{line}` is no measurement"))?;
        Ok(Self { name, of_mib })
    }
}

/// In turn, several rounds; the quickest of each counts.
fn cost(root: &Path, folder: &Path, recorder: &mut Recorder) -> Result<()> {
    let work = root.join("target/waf-cost");
    fs::create_dir_all(&work)?;
    let requests = write_requests(&work)?;
    let peer = build_peer(root, &work)?;
    for (level, goals) in [("1", true), ("4", false)] {
        let settings = work.join(format!("level-{level}.conf"));
        fs::write(&settings, settings_of_peer(level))?;
        let mut quickest: Vec<(f64, f64)> = vec![(f64::INFINITY, f64::INFINITY); REQUESTS.len()];
        for _ in 0..ROUNDS {
            let ours = lines(&our_cost(root, folder, level, &requests)?)?;
            let theirs = lines(&peer_cost(&peer, &settings, folder, &requests)?)?;
            for (best, (ours, theirs)) in quickest.iter_mut().zip(ours.into_iter().zip(theirs)) {
                *best = (best.0.min(ours), best.1.min(theirs));
            }
        }
        for ((_, name, goal), (ours, theirs)) in REQUESTS.iter().zip(quickest) {
            let name = format!("{name}, all phases, paranoia level {level}");
            let goal = if goals { goal } else { "" };
            let ratio = format!("{name}: libmodsecurity's CPU time over ours");
            recorder.note_against("libmodsecurity 3.0.9", &ratio, theirs / ours, "×", goal)?;
            recorder.note(&format!("{name}: ours"), ours / 1e3, "µs", "")?;
            recorder.note(&format!("{name}: libmodsecurity's"), theirs / 1e3, "µs", "")?;
        }
    }
    Ok(())
}

/// Through the node and through nginx, each before the same backend.
fn proxy(root: &Path, folder: &Path, recorder: &mut Recorder) -> Result<()> {
    let included = |name: &str| format!("Include {}\n", folder.join(name).display());
    let rules =
        [included("crs-setup.conf.example"), settings_of_peer("1"), included("rules/*.conf")].concat();
    let costs = solid::with_and_without_rules(root, folder, &rules)?;
    let name = "GET through the proxy, CPU per request, Core Rule Set at paranoia level 1";
    recorder.note_against(
        &format!("{} with libmodsecurity 3.0.9", costs.nginx),
        &format!("{name}: nginx with libmodsecurity's over ours"),
        costs.nginx_us / costs.with_us,
        "×",
        ">= 30",
    )?;
    let over = format!("{name}: over ours without the WAF");
    recorder.note(&over, costs.with_us / costs.without_us, "×", "<= 4")?;
    recorder.note(&format!("{name}: ours"), costs.with_us, "µs", "")?;
    recorder.note(&format!("{name}: ours without the WAF"), costs.without_us, "µs", "")?;
    recorder.note(&format!("{name}: nginx with libmodsecurity's"), costs.nginx_us, "µs", "")
}

fn build_peer(root: &Path, work: &Path) -> Result<PathBuf> {
    let peer = work.join("modsecurity");
    let source = root.join("benchmarks/waf/modsecurity.c");
    let built = Command::new("cc").arg("-O2").arg("-o").arg(&peer).arg(&source).arg("-lmodsecurity").status();
    if !built.context("there is no C compiler")?.success() {
        bail!("libmodsecurity is missing: `./dev setup bench`");
    }
    Ok(peer)
}

/// Files of the Core Rule Set, in the order in which they are read.
fn rule_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut rules: Vec<PathBuf> = fs::read_dir(folder.join("rules"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    rules.sort();
    Ok(rules)
}

fn our_cost(root: &Path, folder: &Path, level: &str, requests: &[PathBuf]) -> Result<String> {
    let mut bench = Command::new(env!("CARGO"));
    bench.args(["bench", "--locked", "--package", "sunbeam-waf", "--bench", "cost", "--"]);
    text_of(bench.arg(folder).args([level, "2000"]).args(requests).current_dir(root))
}

fn peer_cost(peer: &Path, settings: &Path, folder: &Path, requests: &[PathBuf]) -> Result<String> {
    let mut command = Command::new(peer);
    command.arg(folder.join("crs-setup.conf.example")).arg(settings).args(rule_files(folder)?);
    text_of(command.args(["--", "40"]).args(requests))
}

/// Of `NAME NANOSECONDS STATUS`.
fn lines(printed: &str) -> Result<Vec<f64>> {
    let value = |line: &str| line.split(' ').nth(1).and_then(|text| text.parse().ok());
    printed.lines().map(|line| value(line).with_context(|| format!("`{line}` is no measurement"))).collect()
}

fn settings_of_peer(level: &str) -> String {
    format!(
        "SecRuleEngine On\nSecRequestBodyAccess On\nSecResponseBodyAccess On\n\
         SecResponseBodyMimeType text/plain text/html text/xml\n\
         SecRule REQUEST_HEADERS:Content-Type \"^application/json\" \
         \"id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON\"\n\
         SecAction \"id:200100,phase:1,pass,nolog,t:none,setvar:tx.blocking_paranoia_level={level},\
         setvar:tx.detection_paranoia_level={level}\"\n"
    )
}

fn write_requests(folder: &Path) -> Result<Vec<PathBuf>> {
    const HEADERS: &str = "Host: shop.example\r\n\
        User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n\
        Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
        Accept-Language: en-US,en;q=0.9,de;q=0.8\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
        Referer: https://shop.example/products?category=garden\r\n\
        Cookie: session=4f9d2c1ab87e; theme=dark; consent=yes\r\nConnection: keep-alive\r\n\
        Sec-Fetch-Mode: navigate\r\nUpgrade-Insecure-Requests: 1";
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\n{HEADERS}\r\n\r\n");
    let post = |kind: &str, body: &str| {
        let length = body.len();
        format!(
            "POST /api/orders HTTP/1.1\r\n{HEADERS}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let items: Vec<String> = (0..8)
        .map(|item| {
            let (price, gift) = (f64::from(item) + 19.95, item % 2 == 0);
            format!("{{\"sku\":\"GC-{item:04}\",\"name\":\"{}\",\"quantity\":{},\"price\":{price},\"gift\":{gift}}}", words(item, 3), item % 3 + 1)
        })
        .collect();
    let mut note = words(7, 60);
    let document = |note: &str| {
        format!(
            "{{\"customer\":{{\"name\":\"Garden Lover\",\"email\":\"order@shop.example\",\"phone\":\"+49 30 1234567\"}},\
             \"items\":[{}],\"note\":\"{note}\",\"tags\":[\"a\",\"b\",\"c\"],\"coupon\":null}}",
            items.join(",")
        )
    };
    while document(&note).len() < 2048 {
        note.push_str(" please");
    }
    let form: Vec<String> =
        (0..45).map(|field| format!("field_{field}={}", words(field, 38).replace(' ', "+"))).collect();
    let mut form = form.join("&");
    form.truncate(10_240);
    let requests = [
        get("/products/garden/chairs?page=2&sort=price&color=dark+green&q=folding+chair&limit=24"),
        post("application/json", &document(&note)),
        post("application/x-www-form-urlencoded", &form),
        get("/products?id=1%27+UNION+SELECT+username%2Cpassword+FROM+users--+-"),
    ];
    let mut paths = Vec::new();
    for ((name, ..), request) in REQUESTS.iter().zip(requests) {
        let path = folder.join(name);
        fs::write(&path, request)?;
        paths.push(path);
    }
    Ok(paths)
}

/// Ordinary words, others for each number.
fn words(number: u32, count: u32) -> String {
    const WORDS: [&str; 28] = [
        "order",
        "customer",
        "green",
        "garden",
        "chair",
        "table",
        "delivery",
        "monday",
        "please",
        "leave",
        "the",
        "parcel",
        "with",
        "our",
        "neighbour",
        "at",
        "number",
        "twelve",
        "thank",
        "you",
        "very",
        "much",
        "for",
        "quick",
        "reply",
        "and",
        "kind",
        "help",
    ];
    let word = |at: u32| WORDS[(number * 11 + at * 17 + at * at * 5) as usize % WORDS.len()];
    (0..count).map(word).collect::<Vec<_>>().join(" ")
}
