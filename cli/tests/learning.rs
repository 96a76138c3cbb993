// SPDX-License-Identifier: Apache-2.0
//! The commands around models and their data (rows D17, I05, J02, J03, J07).
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use sunbeam_testkit::{TestCa, TestFolder, TestKey};

use crate::program::{Serving, run, sunbeam, told, write_config_of};

/// A line of the audit log.
fn line(second: u32, client: &str, path: &str, status: u16) -> String {
    let (minutes, seconds) = (second / 60, second % 60);
    let line = json!({
        "target": "audit", "timestamp": format!("2025-11-23T10:{minutes:02}:{seconds:02}.000001Z"),
        "method": "GET", "host": "shop.test", "path": path, "query": "", "client_ip": client,
        "status": status, "duration_ms": 12, "content_length": 0,
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "referer": "https://shop.test/", "accept_language": "de,en;q=0.5", "accept": "text/html",
        "has_cookies": true, "backend": "http://127.0.0.1:80", "error": null,
    });
    line.to_string()
}

/// What scanners ask for first.
const PROBES: [&str; 8] = [
    "/.env",
    "/.git/config",
    "/.aws/credentials",
    "/wp-config.php.bak",
    "/../../etc/passwd",
    "/.env.production",
    "/.git/HEAD",
    "/.ssh/id_rsa",
];

/// A visit, and a scanner that asks for the same things over and over; the lines of both are mixed.
fn log() -> String {
    let visit = ["/", "/cart", "/products", "/about", "/contact"];
    let mut lines = Vec::new();
    for (second, (page, probe)) in (0..).zip(visit.iter().cycle().zip(PROBES.iter().cycle())).take(120) {
        if second % 10 == 0 {
            lines.push(line(second, "192.0.2.7", page, 200));
        }
        lines.push(line(second, "198.51.100.9", probe, 404));
    }
    lines.join("\n")
}

fn json_of(folder: &TestFolder, arguments: &[&str]) -> Value {
    let (code, out, err) = told(&run(folder, &[arguments, &["-o", "json"]].concat()));
    assert!(code == 0 || code == 1, "{arguments:?}: {code} {out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}{err}"))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The corpora, which are not part of the repository.
fn shared() -> Option<PathBuf> {
    let folder = std::env::var_os("SUNBEAM_SHARED").map(PathBuf::from);
    if folder.is_none() {
        drop(writeln!(std::io::stderr(), "skipped: SUNBEAM_SHARED is not set, so there are no corpora"));
    }
    folder
}

#[test]
fn a_replay_blocks_the_probes_of_a_log_and_no_visit_the_same_each_time() {
    let folder = TestFolder::new();
    let log = text(&folder.write("audit.log", log()));
    let verdicts = folder.join("verdicts.jsonl");
    let (code, out, err) = told(&run(&folder, &["replay", "--input", &log, "--verdicts", &text(&verdicts)]));
    assert_eq!(code, 0, "{out}{err}");
    for part in ["132 records (audit)", "SCANNER DECIDED BY", "nothing is labelled", "records/s"] {
        assert!(out.contains(part), "{part} is missing in {out}");
    }
    let lines = std::fs::read_to_string(&verdicts).unwrap();
    let of = |client: &str| -> Vec<Value> {
        let all = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        all.filter(|line| line["group"] == format!("client:{client}")).collect()
    };
    let (visits, probes) = (of("192.0.2.7"), of("198.51.100.9"));
    assert_eq!((visits.len(), probes.len()), (12, 120));
    assert!(visits.iter().all(|line| line["decision"] != "block"), "{visits:?}");
    let blocked = probes.iter().filter(|line| line["decision"] == "block").count();
    assert!(blocked > 100, "{blocked} of 120 probes were blocked");
    let (code, out, err) = told(&run(&folder, &["replay", "--input", &log, "--verdicts", "-"]));
    assert!(code == 0 && out == lines, "nothing but the verdicts: {out}{err}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&verdicts.metadata().unwrap().permissions());
    assert_eq!(mode & 0o077, 0);
    let again = || json_of(&folder, &["replay", "--input", &log]);
    assert_eq!(again(), again());
    assert_eq!(again()["summary"]["records"], 132);
}

#[test]
fn options_and_the_configuration_change_what_is_asked_and_standard_input_is_read() {
    let folder = TestFolder::new();
    let log = text(&folder.write("audit.log", log()));
    let summary =
        |more: &[&str]| json_of(&folder, &[&["replay", "--input", &log], more].concat())["summary"].clone();
    let scanner = summary(&["--only", "scanner"]);
    assert!(scanner["ddos_paths"].as_object().unwrap().values().all(|count| count == 0), "{scanner}");
    let nobody = summary(&["--only", "lists"]);
    assert_eq!(nobody["decisions"]["pass"], 132, "{nobody}");
    let config = text(&folder.write("c.toml", "[detection]\nmode = \"observe\"\n"));
    let watched = summary(&["--config", &config]);
    assert_eq!(watched["decisions"]["block"], 0, "{watched}");
    assert!(watched["decisions"]["observe"].as_u64() > Some(100), "{watched}");
    let mut child = sunbeam(&folder)
        .args(["replay", "--input", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(std::fs::read(&log).unwrap().as_slice()).unwrap();
    let (code, out, err) = told(&child.wait_with_output().unwrap());
    assert!(code == 0 && out.contains("\"standard input\""), "{code} {out}{err}");
}

#[test]
fn odd_logs_are_played_as_far_as_they_can_be_believed() {
    let folder = TestFolder::new();
    let mut lines: Vec<String> = log().lines().map(str::to_owned).collect();
    lines.reverse();
    lines.insert(5, r#"{"target":"audit","method":"GET","pa"#.to_owned());
    lines.insert(9, line(1, "192.0.2.8\u{1b}[2J", "/\u{202e}", 200).replace("200,", "\"200\","));
    let log = text(&folder.write("audit.log", lines.join("\n")));
    let (code, out, err) = told(&run(&folder, &["replay", "--input", &log]));
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("133 records (audit); 1 line cut off (first: 6)"), "{out}");
    assert!(err.contains("--sort") && !out.contains('\u{1b}'), "{out}{err}");
    let (code, out, err) = told(&run(&folder, &["replay", "--input", &log, "--sort"]));
    assert!(code == 0 && out.contains("sorted") && err.is_empty(), "{out}{err}");
}

#[test]
fn a_difference_is_shown_and_is_the_exit_code() {
    let folder = TestFolder::new();
    let log = text(&folder.write("audit.log", log()));
    let model = text(&folder.join("ddos.model"));
    assert_eq!(told(&run(&folder, &["model", "export", "ddos", "--output", &model])).0, 0);
    let replay =
        |more: &[&str]| told(&run(&folder, &[&["replay", "--input", &log, "--diff"], more].concat()));
    let (code, out, err) = replay(&["--model", &model]);
    assert!(code == 0 && out.contains("no verdict would change"), "{code} {out}{err}");
    let (code, out, err) = replay(&["--only", "ddos", "--min-events", "900"]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(out.contains("verdicts would change") && out.contains("GET shop.test/"), "{out}");
    let (code, _, err) = replay(&[]);
    assert!(code == 2 && err.contains("--model"), "{code} {err}");
    let (code, _, err) = replay(&["--model", &model, "--model", &model]);
    assert!(code == 2 && err.contains("same detector"), "{code} {err}");
}

#[test]
fn what_cannot_be_played_is_refused_with_its_reason() {
    let folder = TestFolder::new();
    let log = text(&folder.write("audit.log", log()));
    let broken = text(&folder.write(
        "broken.log",
        format!("{}\n{{\"target\":\"audit\",\"a\n{{\"target\":\"audit\",\n", line(1, "192.0.2.1", "/", 200)),
    ));
    let mixed = text(&folder.write("mixed", "a b c\nd e f\n"));
    let packed =
        text(&folder.write("cut.zst", &zstd::bulk::compress(log.repeat(99).as_bytes(), 3).unwrap()[..20]));
    let gzip = text(&folder.write("a.gz", b"\x1f\x8b\x08\0\0"));
    let model = folder.join("scanner.model");
    assert_eq!(told(&run(&folder, &["model", "export", "scanner", "--output", &text(&model)])).0, 0);
    let mut bytes = std::fs::read(&model).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let tampered = text(&folder.write("tampered.model", &bytes));
    let missing = text(&folder.join("missing"));
    let place = text(folder.path());
    for (name, arguments, code, part) in [
        ("no file", &["--input", &missing][..], 2, "missing"),
        ("a folder", &["--input", &place], 2, "directory"),
        ("no format", &["--input", &mixed], 2, "--format"),
        ("no such format", &["--input", &log, "--format", "nonsense"], 2, "`audit`"),
        ("the wrong format", &["--input", &log, "--format", "combined"], 1, "combined"),
        ("its own verdicts", &["--input", &log, "--verdicts", &log], 2, "is what is read"),
        ("gzip", &["--input", &gzip], 2, "gzip"),
        ("mostly broken", &["--input", &broken], 1, "2 of 3 lines"),
        ("a cut archive", &["--input", &packed], 1, "cut.zst"),
        ("a tampered model", &["--input", &log, "--model", &tampered], 1, "checksum"),
        ("no model", &["--input", &log, "--model", &log], 1, "no model file"),
        ("a missing model", &["--input", &log, "--model", &missing], 2, "missing"),
        ("no place for verdicts", &["--input", &log, "--verdicts", "/dev/null"], 2, "no file"),
        ("a missing configuration", &["--input", &log, "--config", &missing], 2, "missing"),
    ] {
        let (got, out, err) = told(&run(&folder, &[&["replay"], arguments].concat()));
        assert_eq!(got, code, "{name}: {out}{err}");
        assert!(err.contains(part), "{name}: {err}");
    }
}

#[test]
fn a_data_set_is_made_from_logs_corpora_and_lists_and_can_be_played() {
    let folder = TestFolder::new();
    let log = text(&folder.write("audit.log", log()));
    folder
        .write("csic/normal.txt", "GET http://localhost:8080/a.jsp?id=1 HTTP/1.1\nHost: localhost:8080\n\n");
    folder.write(
        "csic/anomalous.txt",
        "GET http://localhost:8080/a.jsp?id=%27or+1=1 HTTP/1.1\nHost: localhost:8080\n\n",
    );
    folder.write("lists/paths.txt", "# top\nadmin.php\n.env\n");
    let modsec = text(&folder.write("modsec.log", modsec()));
    let (csic, lists) = (text(&folder.join("csic")), text(&folder.join("lists")));
    let set = folder.join("dataset.bin");
    let arguments = [
        "prepare-dataset",
        "--input",
        &log,
        "--inject-csic",
        &csic,
        "--inject-modsec",
        &modsec,
        "--wordlists",
        &lists,
        "--output",
        &text(&set),
    ];
    let (code, out, err) = told(&run(&folder, &arguments));
    assert_eq!(code, 0, "{out}{err}");
    for part in
        ["132 records (audit)", "weak labels", "client-errors", "csic_normal", "as supplied", "training"]
    {
        assert!(out.contains(part), "{part} is missing in {out}");
    }
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
    let told = json_of(&folder, &arguments);
    let sources = told["header"]["sources"].as_array().unwrap();
    let rows: Vec<_> = sources
        .iter()
        .map(|source| (&source["name"], &source["rows"]))
        .map(|(name, rows)| format!("{name}{rows}"))
        .collect();
    assert_eq!(
        rows,
        ["\"audit\"132", "\"csic_anomalous\"1", "\"csic_normal\"1", "\"modsec\"1", "\"paths\"2"]
    );
    assert!(sources.iter().all(|source| source["sha256"].as_str().unwrap().len() == 64), "{sources:?}");
    assert!(told["clean"]["kept_without_weight"].as_u64() > Some(100), "{}", told["clean"]);
    let replayed = json_of(&folder, &["replay", "--input", &text(&set)]);
    assert_eq!(
        (&replayed["reading"]["format"], &replayed["summary"]["records"]),
        (&json!("dataset"), &json!(137))
    );
    let totals = &replayed["summary"]["totals"];
    assert_eq!(
        (&totals["attack"]["records"], &totals["benign"]["records"]),
        (&json!(4), &json!(1)),
        "{totals}"
    );
    // A data set of a data set is the same, and keeps what is known of its sources.
    let second = text(&folder.join("second.bin"));
    let again = json_of(&folder, &["prepare-dataset", "--input", &text(&set), "--output", &second]);
    assert_eq!(again["header"]["sources"], told["header"]["sources"]);
}

/// One entry of a native audit log of ModSecurity.
fn modsec() -> String {
    "--a1b2c3d4-A--\n[23/Nov/2025:10:30:00 +0000] abc 203.0.113.9 4711 10.0.0.1 80\n\
     --a1b2c3d4-B--\nGET /index.php?id=1%27%20or%201=1 HTTP/1.1\nHost: shop.test\nUser-Agent: sqlmap/1.8\n\n\
     --a1b2c3d4-F--\nHTTP/1.1 403 Forbidden\n\n\
     --a1b2c3d4-H--\nMessage: Access denied with code 403 (phase 2). [id \"942100\"] [msg \"SQL Injection\"] \
     [severity \"CRITICAL\"] [tag \"attack-sqli\"]\n\n--a1b2c3d4-Z--\n\n"
        .to_owned()
}

#[test]
fn what_makes_no_data_set_is_refused_or_warned_of_and_leaves_nothing_behind() {
    let folder = TestFolder::new();
    let log = text(&folder.write("in/audit.log", log()));
    let plain = text(&folder.write("in/plain.txt", "a b c\n"));
    let addresses = text(&folder.write("in/addresses.txt", "192.0.2.1\n192.0.2.2\n"));
    let empty = text(&folder.write("in/empty.toml", ""));
    let set = text(&folder.write("out/dataset.bin", "what stood there"));
    let damaged = text(
        &folder
            .write("in/damaged.bin", b"SUNBEAMD\x01\0\0\0nothing that could be one, at all, at all, at all"),
    );
    let missing = text(&folder.join("missing"));
    let nowhere = text(&folder.join("no/such/folder/x.bin"));
    for (name, arguments, code, part) in [
        ("no input", &["--output", &set][..], 2, "--input"),
        ("a missing input", &["--input", &missing, "--output", &set], 2, "missing"),
        ("no format", &["--input", &plain, "--output", &set], 2, "--format"),
        ("addresses", &["--input", &addresses, "--label", "benign", "--output", &set], 2, "`combined`"),
        ("a damaged data set", &["--input", &damaged, "--output", &set], 1, "checksum"),
        ("no rules", &["--input", &log, "--heuristics", &empty, "--output", &set], 2, "0 rules"),
        ("no CSIC", &["--input", &log, "--inject-csic", &log, "--output", &set], 2, "anomalous"),
        ("no lists", &["--input", &log, "--wordlists", &missing, "--output", &set], 2, "missing"),
        ("no such label", &["--input", &log, "--label", "odd", "--output", &set], 2, "benign"),
        ("no folder", &["--input", &log, "--output", &nowhere], 2, "no/such"),
    ] {
        let (got, out, err) = told(&run(&folder, &[&["prepare-dataset"], arguments].concat()));
        assert_eq!(got, code, "{name}: {out}{err}");
        assert!(err.contains(part), "{name}: {err}");
    }
    assert_eq!(std::fs::read_to_string(&set).unwrap(), "what stood there");
    assert_eq!(std::fs::read_dir(folder.join("out")).unwrap().count(), 1);
    let pages = text(&folder.write("in/pages.txt", "contact\nimprint\n"));
    for (more, told) in [(&["--label", "benign"][..], [2, 0]), (&[], [0, 2])] {
        let named = ["prepare-dataset", "--input", &pages, "--format", "wordlist", "--output", &set];
        let (code, out, err) = self::told(&run(&folder, &[&named[..], more].concat()));
        let want = format!("{} benign records and {} attacks", told[0], told[1]);
        assert!(code == 0 && err.contains(&want), "{code} {out}{err}");
    }
    let one_class = ["prepare-dataset", "--input", &log, "--label", "benign", "--output", &set];
    let (code, out, err) = told(&run(&folder, &one_class));
    assert!(code == 0 && err.contains("132 benign records and 0 attacks"), "{code} {out}{err}");
}

#[test]
fn models_are_told_written_checked_and_compared() {
    let folder = TestFolder::new();
    let model = |arguments: &[&str]| told(&run(&folder, &[&["model"], arguments].concat()));
    let (code, out, err) = model(&["info"]);
    assert!(
        code == 0 && out.contains("scanner") && out.contains("ddos") && out.contains("certain from"),
        "{out}{err}"
    );
    for detector in ["scanner", "ddos"] {
        let path = folder.join(&format!("{detector}.model"));
        let (code, out, err) = model(&["export", detector, "--output", &text(&path), "-o", "json"]);
        assert!(code == 0 && out.contains("\"bytes\""), "{out}{err}");
        assert_eq!(model(&["export", detector, "--output", &text(&path)]).0, 1, "it is not replaced");
        let (code, out, err) = model(&["verify", &text(&path)]);
        assert!(code == 0 && out.contains(detector), "{out}{err}");
        let [built_in, written] =
            [detector, &text(&path)].map(|named| json_of(&folder, &["model", "info", named]));
        assert_eq!((&built_in["sha256"], &built_in["card"]), (&written["sha256"], &written["card"]));
        assert_eq!(model(&["diff", detector, &text(&path)]).0, 0);
        let bytes = std::fs::read(&path).unwrap();
        for (name, bytes, part) in [
            ("empty", Vec::new(), "no model file"),
            ("another file", b"#!/bin/sh\n".to_vec(), "no model file"),
            ("cut", bytes[..bytes.len() - 40].to_vec(), "cut off"),
            ("longer", [&bytes[..], b"more"].concat(), "signature is cut off"),
            ("longer than signed", [&bytes[..], &[0; 65]].concat(), "cut off or too long"),
            ("changed", [&bytes[..200], &[bytes[200] ^ 1], &bytes[201..]].concat(), ""),
        ] {
            let path = text(&folder.write("bad.model", bytes));
            let (code, out, err) = model(&["verify", &path]);
            assert_eq!(code, 1, "{name}: {out}{err}");
            assert!(err.contains("cannot be used") && err.contains(part), "{name}: {err}");
            assert_eq!(json_of(&folder, &["model", "verify", &path])["valid"], false, "{name}");
        }
    }
    for (arguments, code) in [
        (&["verify", "/no/such/file"][..], 2),
        (&["export", "waf", "--output", "/tmp/x"], 2),
        (&["diff", "scanner", "ddos"], 2),
        (&["install"], 2),
    ] {
        assert_eq!(model(arguments).0, code, "{arguments:?}");
    }
}

#[test]
fn a_model_is_signed_with_a_key_of_openssl_and_only_by_whom_it_says() {
    let folder = TestFolder::new();
    let key = TestKey::new(&folder, "key", "ed25519");
    let [stranger, curve, rsa] = [("stranger", "ed25519"), ("curve", "x25519"), ("rsa", "rsa")]
        .map(|(name, algorithm)| TestKey::new(&folder, name, algorithm));
    let model = |arguments: &[&str]| told(&run(&folder, &[&["model"], arguments].concat()));
    let [plain, signed] = ["scanner.model", "signed.model"].map(|name| text(&folder.join(name)));
    assert_eq!(model(&["export", "scanner", "--output", &plain]).0, 0);
    let sign = |key: &Path, from: &str, to: &str| model(&["sign", from, "--key", &text(key), "--output", to]);
    let (code, out, err) = sign(&key.private, &plain, &signed);
    assert!(code == 0 && out.contains("signed"), "{out}{err}");
    assert_eq!(sign(&key.private, &plain, &signed).0, 1, "it is not replaced");

    let bytes = std::fs::read(&signed).unwrap();
    let (unsigned, signature) = bytes.split_at(bytes.len() - 64);
    assert_eq!(unsigned, std::fs::read(&plain).unwrap());
    key.verify(&folder, &unsigned[unsigned.len() - 32..], signature);

    let (code, out, err) = model(&["info", &signed]);
    assert!(code == 0 && out.contains("model verify --public-key"), "{out}{err}");
    assert_eq!(json_of(&folder, &["model", "info", &plain])["is_signed"], false);
    let told = json_of(&folder, &["model", "verify", &signed, "--public-key", &text(&key.public)]);
    assert_eq!((&told["valid"], &told["signature_checked"]), (&json!(true), &json!(true)));

    let damaged = text(&folder.write("damaged.model", [&bytes[..], &[0]].concat()));
    let cut = text(&folder.write("cut.model", &bytes[..bytes.len() - 1]));
    let swapped = text(&folder.join("swapped.model"));
    assert_eq!(model(&["export", "ddos", "--output", &swapped]).0, 0);
    let other = [&std::fs::read(&swapped).unwrap(), signature].concat();
    std::fs::write(&swapped, other).unwrap();
    let resigned = text(&folder.join("resigned.model"));
    assert_eq!(sign(&stranger.private, &signed, &resigned).0, 0);
    for (name, file, key, code, part) in [
        ("signed", &signed, Some(&key.public), 0, "signed by this key"),
        ("nobody asks by whom", &signed, None, 0, "--public-key"),
        ("nobody signed it", &plain, None, 0, "not signed"),
        ("not signed", &plain, Some(&key.public), 1, "it is not signed"),
        ("signed by another", &signed, Some(&stranger.public), 1, "not by this key"),
        ("signed anew by another", &resigned, Some(&key.public), 1, "not by this key"),
        ("and he did", &resigned, Some(&stranger.public), 0, "signed by this key"),
        ("a signature of something else", &swapped, Some(&key.public), 1, "of something else"),
        ("a cut signature", &cut, Some(&key.public), 1, "its signature is cut off"),
        ("a longer one", &damaged, Some(&key.public), 1, "too long"),
        ("a key of another type", &signed, Some(&rsa.public), 1, "no Ed25519 key"),
        ("a curve for another purpose", &signed, Some(&curve.public), 1, "no Ed25519 key"),
        ("the private key", &signed, Some(&key.private), 1, "private key"),
        ("no key", &signed, Some(&folder.join("nothing")), 2, "nothing"),
    ] {
        let key = key.map(|key| text(key));
        let public = key.as_ref().map_or_else(Vec::new, |key| vec!["--public-key", key]);
        let (got, out, err) = model(&[&["verify", file], public.as_slice()].concat());
        assert_eq!(got, code, "{name}: {out}{err}");
        assert!([out, err].concat().contains(part), "{name}");
    }
    let encrypted = text(&folder.join("encrypted.pem"));
    let made = std::process::Command::new("openssl")
        .args(["pkey", "-aes256", "-passout", "pass:secret", "-in", &text(&key.private), "-out", &encrypted])
        .status();
    assert!(made.unwrap().success());
    let target = text(&folder.join("target.model"));
    for (name, key, from, code, part) in [
        ("a key of another type", &text(&rsa.private), &plain, 1, "no Ed25519 key"),
        ("the public key", &text(&key.public), &plain, 1, "no private key"),
        ("an encrypted key", &encrypted, &plain, 1, "encrypted"),
        ("no model", &text(&key.private), &text(&key.public), 1, "no model file"),
        ("no key", &text(&folder.join("nothing")), &plain, 2, "nothing"),
    ] {
        let (got, out, err) = sign(Path::new(key), from, &target);
        assert!(got == code && err.contains(part), "{name}: {got} {out}{err}");
        assert!(!Path::new(&target).exists(), "{name}");
    }
}

#[test]
fn data_sets_that_are_not_there_are_named_with_their_page_and_wrong_ones_never_taken() {
    let folder = TestFolder::new();
    let dir = text(&folder.join("sets"));
    let fetch = |more: &[&str]| told(&run(&folder, &[&["download-datasets", "--dir", &dir], more].concat()));
    let (code, out, err) = fetch(&[]);
    assert_eq!(code, 1, "{out}{err}");
    for part in
        ["missing", "https://github.com/elastic/examples", "cannot train the 14 features", "Apache-2.0"]
    {
        assert!(out.contains(part), "{part} is missing in {out}");
    }
    folder.write("mirror/csic/raw_normal.txt.zst", "something else");
    folder.write("sets/csic/raw_normal.txt.zst", "stale");
    let (code, out, err) = fetch(&["--from", &text(&folder.join("mirror"))]);
    assert!(code == 1 && out.contains("shorter than 168361 bytes"), "{code} {out}{err}");
    assert_eq!(std::fs::read_to_string(folder.join("sets/csic/raw_normal.txt.zst")).unwrap(), "stale");
    let ca = text(&folder.write("ca.pem", "no certificate"));
    for (arguments, part) in [
        (&["--from", "/no/such/folder"][..], "no folder"),
        (&["--from", "https://"], "URL"),
        (&["--from", "https://a.test", "--ca", "/no/such/ca.pem"], "ca.pem"),
        (&["--from", "https://a.test", "--ca", &ca], "CERTIFICATE"),
        (&["--from", "http://a.test", "--ca", &ca], "https://"),
        (&["--from", &text(folder.path()), "--ca", &ca], "https://"),
        (&["--ca", &ca], "--from"),
    ] {
        let (code, out, err) = fetch(arguments);
        assert!(code == 2 && err.contains(part), "{arguments:?}: {code} {out}{err}");
    }
    let nobody = sunbeam_testkit::free_address();
    let (plain, encrypted, trusted) =
        (format!("http://{nobody}"), format!("https://{nobody}"), root(&folder));
    for arguments in [&["--from", &plain][..], &["--from", &encrypted, "--ca", &trusted]] {
        let (code, out, err) = fetch(arguments);
        let why = format!("failed to reach `{nobody}`: Connection refused");
        assert!(code == 1 && out.contains(&why), "{code} {out}{err}");
    }
    // As without a network: no name is known there (RFC 6761).
    let (code, out, err) = fetch(&["--from", "https://mirror.invalid", "--ca", &trusted]);
    assert!(code == 1 && out.contains("failed to reach `mirror.invalid`"), "{code} {out}{err}");
}

fn root(folder: &TestFolder) -> String {
    text(&TestCa::new().write_root(folder))
}

/// The files of a folder, by a node that speaks TLS with a certificate for these names.
fn mirror(ca: &TestCa, names: &[&str], files: &Path) -> Serving {
    let folder = TestFolder::new();
    write_config_of(&folder, ca, &format!("[[routes]]\nhost = \"localhost\"\nstatic_root = {files:?}\n"));
    ca.issue(names).write(&folder, "server");
    Serving::start_in(folder, &[])
}

#[test]
fn data_sets_come_over_https_from_whom_a_root_vouches_for() {
    let (folder, ca) = (TestFolder::new(), TestCa::new());
    let file = "csic/raw_normal.txt.zst";
    folder.write(&format!("mirror/{file}"), "not what it should be");
    let files = folder.join("mirror");
    let good = mirror(&ca, &["localhost"], &files);
    let misnamed = mirror(&ca, &["mirror.test"], &files);
    let [url, misnamed_url] =
        [&good, &misnamed].map(|node| format!("https://localhost:{}", node.https.port()));
    let plain = format!("https://localhost:{}", good.http.port());
    let (trusted, dir) = (text(&ca.write_root(&folder)), text(&folder.join("sets")));
    let elsewhere = TestFolder::new();
    let stranger = root(&elsewhere);
    let fetch = |url: &str, ca: Option<&str>, system: &str| {
        let mut command = sunbeam(&folder);
        command.args(["download-datasets", "--dir", &dir, "--from", url, "-o", "json"]);
        command
            .args(ca.iter().flat_map(|ca| ["--ca", ca]))
            .env("SSL_CERT_FILE", system)
            .env_remove("SSL_CERT_DIR");
        let (code, out, err) = told(&command.output().unwrap());
        assert_eq!(code, 1, "{out}{err}");
        let sets: Value = serde_json::from_str(&out).unwrap();
        let set = sets
            .as_array()
            .unwrap()
            .iter()
            .find(|set| set["file"].as_str().unwrap().ends_with(file))
            .unwrap();
        set["reason"].as_str().unwrap().to_owned()
    };
    // It came, and is not what was wanted: nothing but the checksums of what is wanted would do.
    let came = "shorter than 168361 bytes";
    for (name, url, ca, system, part) in [
        ("a root that is named", &url, Some(&trusted), &stranger, came),
        ("a root of the system", &url, None, &trusted, came),
        ("nobody vouches", &url, None, &stranger, "nobody known vouches for its certificate (`--ca FILE`"),
        ("the named root replaces those", &url, Some(&stranger), &trusted, "nobody known vouches"),
        ("another name", &misnamed_url, Some(&trusted), &trusted, "its certificate is not good"),
        ("no TLS", &plain, Some(&trusted), &trusted, "speaks no TLS"),
    ] {
        let why = fetch(url, ca.map(String::as_str), system);
        assert!(why.contains(part), "{name}: {why}");
    }
    assert!(!folder.join("sets").join(file).exists(), "nothing wrong is kept");
    let Some(shared) = shared() else { return };
    let whole = mirror(&ca, &["localhost"], &shared.join("data"));
    let (url, dir) = (format!("https://localhost:{}", whole.https.port()), text(&folder.join("whole")));
    let sets = json_of(&folder, &["download-datasets", "--dir", &dir, "--from", &url, "--ca", &trusted]);
    assert!(sets.as_array().unwrap().iter().all(|set| set["state"] == "fetched"), "{sets}");
}

#[test]
fn data_sets_come_from_a_folder_or_a_mirror_and_are_kept() {
    let Some(shared) = shared() else { return };
    let folder = TestFolder::new();
    let corpora = shared.join("data");
    let states = |arguments: &[&str]| -> Vec<Value> {
        let all = json_of(&folder, &[&["download-datasets"], arguments].concat());
        all.as_array().unwrap().iter().map(|set| set["state"].clone()).collect()
    };
    let (one, two) = (text(&folder.join("one")), text(&folder.join("two")));
    assert_eq!(states(&["--dir", &one, "--from", &text(&corpora)]), ["fetched"; 6]);
    assert_eq!(states(&["--dir", &one]), ["kept"; 6]);
    let mirror = serve(folder.join("one"));
    assert_eq!(states(&["--dir", &two, "--from", &mirror]), ["fetched"; 6]);
    let csic = text(&folder.join("two/csic"));
    let log = text(&folder.join("two/logs/semicomplete_apache_logs.zst"));
    let set = text(&folder.join("set.bin"));
    let told =
        json_of(&folder, &["prepare-dataset", "--input", &log, "--inject-csic", &csic, "--output", &set]);
    let licences: Vec<_> =
        told["header"]["sources"].as_array().unwrap().iter().map(|source| &source["licence"]).collect();
    assert_eq!(licences[2], "Apache-2.0", "{licences:?}");
}

/// The files of a folder over plain HTTP, for as long as the test runs.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 1024];
            let count = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..count]).into_owned();
            let target = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
            let (status, body) = match std::fs::read(folder.join(target)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            // A client that is gone has what it wants.
            drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)));
        }
    });
    url
}

#[test]
fn the_log_of_a_real_site_takes_every_path_of_the_scanner() {
    let Some(shared) = shared() else { return };
    let folder = TestFolder::new();
    let log = text(&shared.join("data/orig/logs/semicomplete_apache_logs.zst"));
    let (code, out, err) = told(&run(&folder, &["replay", "--input", &log, "--sort"]));
    assert_eq!(code, 0, "{err}");
    drop(writeln!(std::io::stderr(), "{out}"));
    let replayed = json_of(&folder, &["replay", "--input", &log, "--sort"]);
    let paths = replayed["summary"]["scanner_paths"].as_object().unwrap();
    assert!(paths.len() == 4 && paths.values().all(|count| count.as_u64() > Some(0)), "{paths:?}");
}

#[test]
fn pages_of_a_real_site_that_are_doubted_are_told_and_not_called_nothing_to_mend() {
    let Some(shared) = shared() else { return };
    let folder = TestFolder::new();
    let log = text(&shared.join("data/orig/logs/semicomplete_apache_logs.zst"));
    let out = text(&folder.join("learned"));
    let learned = json_of(&folder, &["learn", "--input", &log, "--output-dir", &out]);
    let scanner = &learned["detectors"]["scanner"];
    assert_eq!(scanner["verdict"], "nothing that learning mends", "{scanner}");
    let pages: Vec<&Value> =
        learned["likely_mistakes"].as_array().unwrap().iter().map(|page| &page["path"]).collect();
    assert!(pages.contains(&&json!("/misc/sample.log")) && pages.contains(&&json!("/articles")), "{pages:?}");
    assert!(learned["warnings"].to_string().contains("tells neither `Accept`"), "{}", learned["warnings"]);
}
