// SPDX-License-Identifier: Apache-2.0
//! The commands of the WAF (rows F01, F08): rules, their tests, the Core Rule Set from a file.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sunbeam_testkit::{RawUpstream, TestFolder, TestUpstream, raw_exchange};
use tar::{Builder, EntryType, Header};

use crate::program::{Serving, run, sunbeam, told, write_config};

const SETUP: &str = "SecAction \"id:900990,phase:1,pass,nolog,t:none,ver:'OWASP_CRS/4.0.0',setvar:tx.crs_setup_version=400\"\n";

const SQL: &str = r#"# Not a release.
SecRule ARGS "@rx (?i)union\s+select" \
    "id:942100,phase:2,block,log,capture,t:none,t:urlDecodeUni,msg:'SQL in %{MATCHED_VAR_NAME}',\
    tag:'language-multi',tag:'attack-sqli',tag:'paranoia-level/1',ver:'OWASP_CRS/4.0.0',severity:'CRITICAL',chain"
    SecRule ARGS "@pm users accounts" "setvar:'tx.score=+5'"
SecRule RESPONSE_BODY "@contains secret" \
    "id:951100,phase:4,pass,log,msg:'A secret',tag:'attack-disclosure',severity:'ERROR'"
"#;

/// A rule set in the form of the Core Rule Set.
fn rule_set(folder: &TestFolder, name: &str) -> PathBuf {
    let place = folder.join(name);
    fs::create_dir_all(place.join("rules")).unwrap();
    fs::write(place.join("crs-setup.conf"), SETUP).unwrap();
    fs::write(place.join("rules/REQUEST-942.conf"), SQL).unwrap();
    place
}

/// Runs `waf`; no configuration of this machine counts.
fn waf(folder: &TestFolder, arguments: &[&str]) -> (i32, String, String) {
    let config = folder.join("none.toml");
    if !config.exists() {
        fs::write(&config, "").unwrap();
    }
    told(
        &sunbeam(folder)
            .args(["--config", config.to_str().unwrap(), "waf"])
            .args(arguments)
            .output()
            .unwrap(),
    )
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn rules_are_listed_searched_and_shown_with_their_source() {
    let folder = TestFolder::new();
    let crs = rule_set(&folder, "crs").display().to_string();
    let (code, out, err) = waf(&folder, &["rules", "--crs-path", &crs]);
    assert_eq!(code, 0, "{out}{err}");
    let line = out.lines().find(|line| line.starts_with("942100")).unwrap();
    for word in ["2", "critical", "1", "SQL in %{MATCHED_VAR_NAME}", "attack-sqli, language-multi"] {
        assert!(line.contains(word), "{line}");
    }
    for (arguments, want) in [
        (&["--search", "SECRET"][..], &["951100"][..]),
        (&["--tag", "attack-sqli"], &["942100"]),
        (&["--phase", "4"], &["951100"]),
        (&["--search", "9421"], &["942100"]),
        (&["--search", "request-942"], &["942100", "951100"]),
        (&["--search", "nowhere"], &[]),
    ] {
        for list in [&["rules"][..], &["rules", "list"]] {
            let all = [list, &["--crs-path", &crs, "-o", "json"], arguments].concat();
            let (code, out, err) = waf(&folder, &all);
            let found: Vec<String> =
                json(&out).as_array().unwrap().iter().map(|rule| rule["id"].to_string()).collect();
            assert_eq!(
                (code, found),
                (i32::from(want.is_empty()), want.iter().map(ToString::to_string).collect()),
                "{all:?} {err}"
            );
        }
    }
    let (code, out, err) = waf(&folder, &["rules", "show", "942100", "--crs-path", &crs]);
    assert_eq!(code, 0, "{out}{err}");
    for text in [
        "language-multi, attack-sqli, paranoia-level/1",
        "REQUEST-942.conf:2 to 5",
        "OWASP_CRS/4.0.0",
        "@rx (?i)union",
        "@pm users accounts",
    ] {
        assert!(out.contains(text), "{text}: {out}");
    }
    assert!(!out.contains("Not a release") && !out.contains("951100"), "{out}");
    let (code, out, _) = waf(&folder, &["rules", "show", "942100", "--crs-path", &crs, "-o", "json"]);
    assert_eq!((code, json(&out)["source"].as_str().unwrap().lines().count()), (0, 4));
    // What is made of the configuration has a text, too.
    let (code, out, _) =
        waf(&folder, &["rules", "show", "7300100", "--crs-path", &crs, "--paranoia-level", "3"]);
    assert!(code == 0 && out.contains("blocking_paranoia_level=3"), "{out}");
    let (code, _, err) = waf(&folder, &["rules", "show", "1", "--crs-path", &crs]);
    assert!(code == 1 && err.contains("there is no rule 1"), "{err}");
}

#[test]
fn everything_that_is_wrong_with_rules_is_told_with_file_and_line() {
    let folder = TestFolder::new();
    let crs = rule_set(&folder, "crs");
    fs::write(crs.join("rules/A.conf"), "SecRule ARGZ \"@rx a\" \"id:1,phase:1\"\n\nSecRulez x\n").unwrap();
    let (code, out, err) = waf(&folder, &["rules", "--crs-path", &crs.display().to_string()]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    for text in [
        "A.conf:1: unknown variable `ARGZ`; did you mean `ARGS`?",
        "A.conf:3: unknown directive",
        "2 problems in the rules",
    ] {
        assert!(err.contains(text), "{text}: {err}");
    }
    let (code, _, err) = waf(&folder, &["rules", "--crs-path", "/nonexistent/crs"]);
    assert!(code == 2 && err.contains("sunbeam waf install-crs"), "{err}");
}

#[test]
fn what_rules_cannot_do_is_told_and_they_are_used() {
    let folder = TestFolder::new();
    let own = folder.join("own");
    let rules =
        "SecUploadDir /tmp\nSecRule ARGS \"@rbl a.example\" \"id:1000,phase:2,deny,msg:'A walrus'\"\n";
    folder.write("own/1.conf", rules);
    let config = folder.write("none.toml", format!("[waf]\nruleset = \"none\"\nrules_dir = {own:?}\n"));
    let config = config.display().to_string();
    let place = own.join("1.conf").display().to_string();
    let (code, out, err) = waf(&folder, &["rules"]);
    assert!(code == 0 && out.contains("A walrus"), "{out}{err}");
    for (line, text) in [(1, "`SecUploadDir` has no effect here"), (2, "`@rbl` holds for no value here")] {
        let told = format!("{place}:{line}: warning: {text}");
        assert!(err.contains(&told), "{told}: {err}");
    }
    let (code, out, err) = told(&run(&folder, &["validate", "--offline", &config]));
    assert!(code == 0 && out.contains("none.toml: ok, 0 routes"), "{out}{err}");
    assert!(
        out.contains(&format!("none.toml:3:1: warning: `waf.rules_dir`: {place}:1: `SecUploadDir`")),
        "{out}"
    );
}

#[test]
fn the_configuration_says_which_rules_are_meant() {
    let folder = TestFolder::new();
    let crs = rule_set(&folder, "crs");
    folder.write("own/1.conf", "SecRule ARGS \"@contains walrus\" \"id:1000,phase:2,deny,msg:'A walrus'\"\n");
    let own = folder.join("own");
    let text = format!("[waf]\nruleset = \"crs\"\ncrs_path = {crs:?}\nrules_dir = {own:?}\n");
    folder.write("none.toml", &text);
    let (code, out, err) = waf(&folder, &["rules"]);
    assert!(code == 0 && out.contains("942100") && out.contains("A walrus"), "{out}{err}");
    let (code, out, err) = waf(&folder, &["rules", "--ruleset", "builtin"]);
    assert!(code == 0 && !out.contains("942100") && out.contains("A walrus"), "{out}{err}");
}

#[test]
fn rules_are_counted_by_what_they_look_for() {
    let folder = TestFolder::new();
    let crs = rule_set(&folder, "crs").display().to_string();
    let (code, out, err) = waf(&folder, &["stats", "--offline", "--crs-path", &crs, "-o", "json"]);
    assert_eq!(code, 0, "{out}{err}");
    let kinds = &json(&out)["kinds"];
    let sqli = serde_json::json!({"rules": 1, "conditions": 2, "expressions": 1, "phrase_lists": 1});
    assert_eq!((&kinds["sqli"], &kinds["disclosure"]["rules"]), (&sqli, &1.into()));
    let (code, out, _) = waf(&folder, &["stats", "--offline", "--crs-path", &crs]);
    assert!(code == 0 && out.lines().last().unwrap().starts_with("all "), "{out}");
    let token = folder.write("token", "t").display().to_string();
    let (code, _, err) = waf(&folder, &["stats", "--node", "http://127.0.0.1:1", "--token-file", &token]);
    assert_eq!(code, 3, "{err}");
}

/// A release: `crs-1/…` with these files.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, text) in files {
        add(&mut builder, name, EntryType::Regular, text.as_bytes());
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// Whatever the name is: the crate itself would not write all of them.
fn add(builder: &mut Builder<GzEncoder<Vec<u8>>>, name: &str, kind: EntryType, bytes: &[u8]) {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o777);
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    builder.append(&header, bytes).unwrap();
}

const RELEASE: [(&str, &str); 7] = [
    ("crs-1/LICENSE", "Apache"),
    ("crs-1/crs-setup.conf.example", SETUP),
    ("crs-1/rules/REQUEST-942.conf", SQL),
    ("crs-1/rules/list.data", "a\n"),
    ("crs-1/rules/REQUEST-900-EXCLUSION-RULES-BEFORE-CRS.conf.example", "# yours\n"),
    ("crs-1/tests/942100.yaml", "tests: []\n"),
    ("crs-1/util/x.sh", "rm -rf /\n"),
];

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Installs these bytes into `crs` of the folder.
fn install(folder: &TestFolder, bytes: &[u8], more: &[&str]) -> (i32, String, String) {
    let path = folder.write("release.tar.gz", bytes);
    let (hash, to) = (hash(bytes), folder.join("crs"));
    let arguments =
        [&["install-crs", path.to_str().unwrap(), "--sha256", &hash, "--to", to.to_str().unwrap()], more]
            .concat();
    waf(folder, &arguments)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        names.push(entry.unwrap().file_name().into_string().unwrap());
    }
    names.sort();
    names
}

#[test]
fn a_release_is_installed_and_the_one_before_kept() {
    let folder = TestFolder::new();
    let crs = folder.join("crs");
    let bytes = archive(&RELEASE);
    let (code, out, err) = install(&folder, &bytes, &["--dry-run"]);
    assert!(code == 0 && out.contains("would install") && !crs.exists(), "{out}{err}");
    let (code, out, err) = install(&folder, &bytes, &[]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("the Core Rule Set 4.0.0") && out.contains("sunbeam reload"), "{out}");
    assert_eq!(names(&crs), ["LICENSE", "crs-setup.conf", "crs-setup.conf.example", "rules"]);
    assert_eq!(fs::read_to_string(crs.join("rules/REQUEST-942.conf")).unwrap(), SQL);
    assert_eq!(names(folder.path()).iter().filter(|name| name.contains("part")).count(), 0);
    // What the operator wrote is carried over; the rest is what the new release has.
    let setup = format!("{SETUP}# mine\n");
    fs::write(crs.join("crs-setup.conf"), &setup).unwrap();
    fs::write(crs.join("rules/REQUEST-900-EXCLUSION-RULES-BEFORE-CRS.conf"), "# mine\n").unwrap();
    fs::write(crs.join("rules/OLD.conf"), "# of an old release\n").unwrap();
    for _ in 0..2 {
        let (code, out, err) = install(&folder, &bytes, &["--with-tests", "-o", "json"]);
        assert_eq!(code, 0, "{out}{err}");
        let answer = json(&out);
        assert_eq!(answer["carried_over"].as_array().unwrap().len(), 2, "{answer}");
        assert!(answer["undo"].as_str().unwrap().contains("crs.previous"), "{answer}");
        assert_eq!(fs::read_to_string(crs.join("crs-setup.conf")).unwrap(), setup);
        assert_eq!(names(&crs.join("tests")), ["942100.yaml"]);
        assert!(!crs.join("rules/OLD.conf").exists());
    }
    assert!(folder.join("crs.previous/tests").is_dir());
    let (code, out, err) =
        waf(&folder, &["rules", "--crs-path", crs.to_str().unwrap(), "--tag", "attack-sqli"]);
    assert!(code == 0 && out.contains("942100"), "{out}{err}");
}

/// Files of more than 2 KiB cannot be written: as on a disk that is full, somewhere in the middle of it.
#[test]
fn a_disk_that_is_full_changes_nothing() {
    let folder = TestFolder::new();
    let crs = rule_set(&folder, "crs");
    let read = || fs::read_to_string(crs.join("rules/REQUEST-942.conf")).unwrap();
    let (before, there) = (read(), names(&folder.join("")));
    let long = format!("{SQL}{}", "# long\n".repeat(1_000));
    let mut release = RELEASE;
    release[2].1 = &long;
    let bytes = archive(&release);
    let path = folder.write("release.tar.gz", &bytes);
    let config = folder.write("none.toml", b"");
    let program = sunbeam(&folder);
    let mut limited = Command::new("sh");
    // The signal would end the program; without it, writing fails.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$@\"", "sh"]).arg(program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited.arg("--config").arg(&config).args(["waf", "install-crs"]).arg(&path);
    limited.args(["--sha256", &hash(&bytes), "--to"]).arg(&crs);
    let (code, out, err) = told(&limited.output().unwrap());
    assert!(code == 1 && err.contains("REQUEST-942.conf") && err.contains("too large"), "{code} {out}{err}");
    let left: Vec<String> =
        names(&folder.join("")).into_iter().filter(|name| !there.contains(name)).collect();
    assert_eq!((read(), left), (before, vec!["none.toml".to_owned(), "release.tar.gz".to_owned()]));
    // With room it is installed.
    let (code, out, err) = install(&folder, &bytes, &[]);
    assert_eq!((code, read()), (0, long), "{out}{err}");
}

#[test]
fn what_is_not_a_sound_release_changes_nothing() {
    let folder = TestFolder::new();
    let crs = rule_set(&folder, "crs");
    let before = fs::read_to_string(crs.join("rules/REQUEST-942.conf")).unwrap();
    let with = |name: &str, kind: EntryType, bytes: &[u8]| {
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, text) in RELEASE {
            add(&mut builder, name, EntryType::Regular, text.as_bytes());
        }
        add(&mut builder, name, kind, bytes);
        builder.into_inner().unwrap().finish().unwrap()
    };
    let mut cut = archive(&RELEASE);
    cut.truncate(cut.len() / 2);
    let broken =
        "SecRule ARGS \"@rx (\" \"id:5,phase:1,pass\"\nSecRule ARGZ \"@rx a\" \"id:6,phase:1,pass\"\n";
    for (name, bytes, says) in [
        ("out of it", with("crs-1/../../escaped", EntryType::Regular, b"x"), "leads out of the archive"),
        (
            "out of what is skipped",
            with("crs-1/util/../../../escaped", EntryType::Regular, b"x"),
            "leads out",
        ),
        ("absolute", with("/tmp/escaped", EntryType::Regular, b"x"), "is an absolute path"),
        ("a link", with("crs-1/rules/link.conf", EntryType::Symlink, b""), "neither a file nor a folder"),
        ("a hard link", with("crs-1/rules/link.conf", EntryType::Link, b""), "neither a file nor a folder"),
        ("a device", with("crs-1/rules/null.conf", EntryType::Char, b""), "neither a file nor a folder"),
        ("twice", with("crs-1/rules/list.data", EntryType::Regular, b"x"), "twice"),
        ("two folders", with("crs-2/rules/a.conf", EntryType::Regular, b"x"), "not in its one folder"),
        (
            "too large",
            with("crs-1/rules/a.data", EntryType::Regular, &vec![b'a'; (16 << 20) + 1]),
            "larger than",
        ),
        (
            "broken rules",
            with("crs-1/rules/Z.conf", EntryType::Regular, broken.as_bytes()),
            "nothing was installed",
        ),
        ("no rules", archive(&[("crs-1/README.md", "x")]), "holds no rules"),
        ("cut", cut, "cannot be unpacked"),
        ("no archive", b"PK\x03\x04".to_vec(), "no .tar.gz"),
        (
            "packed nonsense",
            {
                let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
                packer.write_all(&[b'x'; 2000]).unwrap();
                packer.finish().unwrap()
            },
            "cannot be unpacked",
        ),
    ] {
        let (code, out, err) = install(&folder, &bytes, &[]);
        assert_eq!((code, out.as_str()), (1, ""), "{name}: {err}");
        assert!(err.contains(says), "{name}: {err}");
        if name == "broken rules" {
            let place = crs.join("rules/Z.conf").canonicalize().unwrap_or_else(|_| crs.join("rules/Z.conf"));
            assert!(err.contains(&format!("{}:2: ", place.display())), "{err}");
        }
    }
    let path = folder.write("release.tar.gz", archive(&RELEASE));
    let wrong = "00".repeat(32);
    let arguments =
        ["install-crs", path.to_str().unwrap(), "--sha256", &wrong, "--to", crs.to_str().unwrap()];
    let (code, _, err) = waf(&folder, &arguments);
    assert!(code == 1 && err.contains("hashes to") && err.contains("nothing was unpacked"), "{err}");
    assert_eq!(waf(&folder, &["install-crs", path.to_str().unwrap()]).0, 2, "the hash is required");
    // Nor is something else moved away.
    folder.write("etc/passwd", "root");
    let hash = hash(&fs::read(&path).unwrap());
    let elsewhere = folder.join("etc").display().to_string();
    let (code, _, err) =
        waf(&folder, &["install-crs", path.to_str().unwrap(), "--sha256", &hash, "--to", &elsewhere]);
    assert!(code == 2 && err.contains("something other than a Core Rule Set"), "{err}");
    assert_eq!(names(&crs), ["crs-setup.conf", "rules"]);
    assert_eq!(fs::read_to_string(crs.join("rules/REQUEST-942.conf")).unwrap(), before);
    assert_eq!(names(folder.path()), ["crs", "etc", "none.toml", "release.tar.gz"]);
}

const TESTS: &str = r#"
rule_id: 942100
tests:
  - test_id: 1
    stages:
      - input: {uri: "/?q=1%20union%20select%20a%20from%20users", headers: {Host: localhost}}
        output: {log: {expect_ids: [942100]}}
  - test_id: 2
    stages:
      - input: {uri: "/?q=trade%20union", headers: {Host: localhost}}
        output: {log: {no_expect_ids: [942100]}}
  - test_id: 3
    stages:
      - input: {method: POST, uri: /reflect, headers: {Host: localhost, Content-Type: application/json}, data: '{"body": "a secret"}'}
        output: {log: {expect_ids: [951100]}}
  - test_id: 4
    stages:
      - input: {uri: "/?q=harmless", headers: {Host: localhost}}
        output: {log: {expect_ids: [942100]}}
  - test_id: 5
    stages:
      - input: {uri: "/", headers: {Host: localhost}}
        output: {status: 400}
"#;

#[test]
fn tests_run_in_this_process_and_failures_are_told() {
    let folder = TestFolder::new();
    let crs = rule_set(&folder, "crs").display().to_string();
    let tests = folder
        .write("tests/SQL/942100.yaml", TESTS)
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .display()
        .to_string();
    let (code, out, err) = waf(&folder, &["test", &tests, "--crs-path", &crs]);
    assert_eq!(code, 1, "{out}{err}");
    for text in [
        "5 tests: 3 passed, 1 failed, 1 not judged",
        "942100-4: not logged: 942100",
        "the settings that the tests are meant for",
    ] {
        assert!(out.contains(text), "{text}: {out}");
    }
    let (code, out, _) = waf(&folder, &["test", &tests, "--crs-path", &crs, "-o", "json", "--verbose"]);
    let answer = json(&out);
    assert_eq!(
        (code, &answer["failed"], &answer["verdicts"][0]["verdict"]),
        (1, &1.into(), &"passed".into())
    );
    assert!(answer["verdicts"][0]["log"][0].as_str().unwrap().contains("SQL in ARGS:q"), "{answer}");
    for (title, code) in [("942100-1", 0), ("942100-4", 1), ("942100", 1), ("942100-9", 2)] {
        assert_eq!(waf(&folder, &["test", &tests, "--crs-path", &crs, "--title", title]).0, code, "{title}");
    }
    let overrides =
        "test_overrides: [{rule_id: 942100, test_ids: [4], reason: it is harmless, output: {}}]\n";
    let overrides = folder.write("overrides.yaml", overrides).display().to_string();
    let (code, out, err) = waf(&folder, &["test", &tests, "--crs-path", &crs, "--overrides", &overrides]);
    assert!(code == 0 && out.contains("2 not judged (1 by an override)"), "{out}{err}");
    assert!(!out.contains("without their override"), "{out}");
    // One that is of no use any more is told.
    let needless = "test_overrides: [{rule_id: 942100, test_ids: [1, 4], reason: both, output: {}}]\n";
    let needless = folder.write("needless.yaml", needless).display().to_string();
    let (code, out, err) = waf(&folder, &["test", &tests, "--crs-path", &crs, "--overrides", &needless]);
    assert!(code == 0 && out.contains("pass without their override: 942100-1\n"), "{out}{err}");
    // By the configuration's own settings nobody looks at answers.
    let (code, out, _) =
        waf(&folder, &["test", &tests, "--crs-path", &crs, "--own-settings", "--title", "942100-3"]);
    assert!(code == 1 && out.contains("the configuration's settings"), "{out}");
    let broken =
        folder.write("broken.yaml", "rule_id: 1\ntests: [{stages: [{outptu: {}}]}]\n").display().to_string();
    let (code, _, err) = waf(&folder, &["test", &broken, "--crs-path", &crs]);
    assert!(code == 2 && err.contains("broken.yaml:2:"), "{err}");
}

#[test]
fn tests_of_the_core_rule_set_pass() {
    let Some(shared) = std::env::var_os("SUNBEAM_SHARED") else {
        drop(writeln!(std::io::stderr(), "skipped: SUNBEAM_SHARED is not set"));
        return;
    };
    let folder = TestFolder::new();
    let crs = Path::new(&shared).join("conformance/crs-4.28.0");
    let tests = crs.join("tests/regression/tests/REQUEST-943-APPLICATION-ATTACK-SESSION-FIXATION");
    let (code, out, err) =
        waf(&folder, &["test", tests.to_str().unwrap(), "--crs-path", crs.to_str().unwrap()]);
    assert!(code == 0 && out.contains("47 tests: 47 passed, 0 failed"), "{out}{err}");
}

/// Answers as a node does, and writes the line that it would write.
fn node(log: PathBuf) -> RawUpstream {
    let count = AtomicUsize::new(0);
    RawUpstream::start(move |connection| {
        while let Some(request) = connection.read_request() {
            let id = format!("id-{}", count.fetch_add(1, Ordering::Relaxed));
            if request.contains("close") && request.contains("/gone") {
                return;
            }
            let rules = if request.contains("union%20select") { "[942100,949110]" } else { "[]" };
            let mut file = fs::OpenOptions::new().append(true).open(&log).unwrap();
            writeln!(file, "{{\"request_id\":\"{id}\",\"rules\":{rules}}}").unwrap();
            let status = if request.starts_with("POST") { "405 No" } else { "200 OK" };
            connection.write(
                format!("HTTP/1.1 {status}\r\nX-Request-Id: {id}\r\nContent-Length: 2\r\n\r\nok").as_bytes(),
            );
        }
    })
}

#[test]
fn tests_go_over_the_wire_and_rules_are_read_from_the_audit_log() {
    let folder = TestFolder::new();
    let log = folder.write("audit.log", "");
    let node = node(log.clone());
    let more = "
  - test_id: 6
    stages:
      - input: {uri: /gone, headers: {Host: localhost}}
        output: {expect_error: true}
  - test_id: 7
    stages:
      - input: {uri: /gone, headers: {Host: localhost}}
        output: {log: {no_expect_ids: [1]}}
  - test_id: 8
    stages:
      - input: {uri: \"/?q=union%20select\", headers: {Host: localhost}}
        output: {status: 200, response_contains: 'ok$', log: {match_regex: '942100.*attack-sqli'}}
";
    let tests = folder.write("942100.yaml", format!("{TESTS}{more}")).display().to_string();
    let crs = rule_set(&folder, "crs").display().to_string();
    let (url, log) = (node.url(), log.display().to_string());
    let arguments = ["test", &tests, "--url", &url, "--audit-log", &log, "--crs-path", &crs, "-o", "json"];
    let (code, out, err) = waf(&folder, &arguments);
    let answer = json(&out);
    let failures = answer["failures"][&tests].as_array().unwrap_or_else(|| panic!("{out}{err}"));
    let failed: Vec<&str> = failures.iter().map(|failure| failure["title"].as_str().unwrap()).collect();
    assert_eq!((code, answer["passed"].as_u64()), (1, Some(4)), "{out}{err}");
    assert_eq!(failed, ["942100-3", "942100-4", "942100-5", "942100-7"]);
    assert!(failures[3]["reason"].as_str().unwrap().contains("without an answer"), "{out}");
    let asked = node.requests();
    assert!(asked[0].starts_with("GET /?q=1%20union%20select%20a%20from%20users HTTP/1.1\r\n"), "{asked:?}");
    // Nobody listens.
    drop(node);
    let (code, _, err) = waf(&folder, &["test", &tests, "--url", "http://127.0.0.1:1", "--audit-log", &log]);
    assert!(code == 3 && err.contains("failed to reach"), "{err}");
    let (code, _, err) = waf(&folder, &["test", &tests, "--url", &url]);
    assert!(code == 2 && err.contains("--audit-log"), "{err}");
}

/// The backend of tests, as a process of its own.
#[derive(Debug)]
pub(crate) struct Backend {
    child: std::process::Child,
    pub(crate) address: std::net::SocketAddr,
}

impl Backend {
    pub(crate) fn start(folder: &TestFolder) -> Self {
        let log = folder.join("backend.log");
        let child = sunbeam(folder).args(["waf", "backend"]).stderr(fs::File::create(&log).unwrap()).spawn();
        // It ends with the test, whatever becomes of that.
        let mut backend = Self { child: child.unwrap(), address: ([127, 0, 0, 1], 0).into() };
        backend.address = sunbeam_testkit::eventually("the backend listens", || {
            let text = fs::read_to_string(&log).unwrap();
            text.trim_end().rsplit_once("http://").and_then(|(_, address)| address.parse().ok())
        });
        backend
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_node_is_tested_over_the_wire_and_tells_what_its_rules_did() {
    let folder = TestFolder::new();
    let backend = Backend::start(&folder);
    let crs = rule_set(&folder, "crs");
    let tests = folder.write("942100.yaml", TESTS).display().to_string();
    let node = Serving::start(&format!(
        "[waf]\nruleset = \"crs\"\ncrs_path = {crs:?}\nmode = \"observe\"\nverdict = \"rules\"\ninspect_responses = true\n\
         [scanner]\nenabled = false\n[ddos]\nenabled = false\n\
         [[routes]]\nhost = \"localhost\"\nbackend = \"http://{}\"\ndisable_secure_redirection = true\n",
        backend.address
    ));
    let (url, log) = (format!("http://{}", node.http), node.folder.join("audit.log").display().to_string());
    let (code, out, err) =
        node.ask(&["waf", "test", &tests, "--url", &url, "--audit-log", &log, "-o", "json", "--verbose"]);
    let answer = json(&out);
    let verdicts: Vec<&str> = answer["verdicts"]
        .as_array()
        .unwrap_or_else(|| panic!("{out}{err}"))
        .iter()
        .map(|test| test["verdict"].as_str().unwrap())
        .collect();
    assert_eq!((code, verdicts), (1, vec!["passed", "passed", "passed", "failed", "failed"]), "{out}{err}");
    let (code, out, err) = node.ask(&["waf", "stats", "-o", "json"]);
    assert_eq!(code, 0, "{out}{err}");
    let stats = json(&out);
    let hits = |id: u64| {
        let rule = stats["rules"].as_array().unwrap().iter().find(|rule| rule["id"] == id).unwrap();
        rule["hits"].as_u64().unwrap()
    };
    assert_eq!((stats["transactions"].as_u64(), hits(942_100), hits(951_100)), (Some(5), 1, 1), "{stats}");
    let (code, out, err) = node.ask(&["waf", "stats"]);
    assert_eq!(code, 0, "{out}{err}");
    for text in ["RULES THAT MATCHED: 2", "SQL in %{MATCHED_VAR_NAME}", "RULES THAT TAKE TIME", "20.00 %"] {
        assert!(out.contains(text), "{text}: {out}");
    }
    // Its configuration says which rules are meant here, too.
    let (code, out, err) = node.ask(&["waf", "rules", "--tag", "attack-sqli"]);
    assert!(code == 0 && out.contains("1 of "), "{out}{err}");
}

#[test]
fn the_tests_backend_reflects() {
    let folder = TestFolder::new();
    let backend = Backend::start(&folder);
    let address = backend.address;
    let body = "{\"status\": 503, \"headers\": {\"X-A\": \"b\"}, \"body\": \"<html>no</html>\"}";
    let request = format!(
        "POST /reflect HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = raw_exchange(address, request.as_bytes()).to_lowercase();
    for text in ["http/1.1 503", "x-a: b", "content-type: text/html", "<html>no</html>"] {
        assert!(answer.contains(text), "{answer}");
    }
    let answer = raw_exchange(address, b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn help_says_what_there_is() {
    let folder = TestFolder::new();
    let (code, out, _) = told(&run(&folder, &["waf", "--help"]));
    for word in ["rules", "test", "stats", "install-crs", "backend"] {
        assert!(code == 0 && out.contains(&format!("  {word}")), "{out}");
    }
}

/// Asks a node's website for something with this parameter.
fn status_of(node: &Serving, value: &str) -> u16 {
    let request = format!("GET /?q={value} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = raw_exchange(node.http, request.as_bytes());
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

#[test]
fn rules_that_are_added_hold_at_once_after_a_kill_and_until_they_are_removed() {
    let backend = TestUpstream::echo();
    let folder = TestFolder::new();
    let config = format!(
        "[[routes]]\nhost = \"localhost\"\nbackend = \"{}\"\ndisable_secure_redirection = true\n[scanner]\nenabled = false\n",
        backend.url()
    );
    write_config(&folder, &config);
    let file =
        folder.write("cats.conf", "SecRule ARGS \"@contains cat\" \"id:1000401,phase:1,deny,log,t:none\"\n");
    let broken = folder.write("broken.conf", "# \n\nSecRule ARGS \"@nonsense x\" \"id:2,phase:1,deny\"\n");
    let (file, broken) = (file.display().to_string(), broken.display().to_string());
    let node = Serving::start_in(folder, &[]);
    assert_eq!(status_of(&node, "cat"), 200);
    let (code, out, err) = node.ask(&["waf", "add", "cats", &file, "--dry-run"]);
    assert_eq!((code, status_of(&node, "cat")), (0, 200), "{out}{err}");
    let (code, out, err) = node.ask(&["waf", "add", "cats", &file]);
    assert_eq!((code, status_of(&node, "cat")), (0, 403), "{out}{err}");
    assert!(out.contains("sunbeam waf remove cats"), "{out}");
    let (code, _, err) = node.ask(&["waf", "add", "cats", &broken]);
    assert!(code == 2 && err.contains("api:cats:3: "), "{code} {err}");
    let (code, _, err) = node.ask(&["waf", "add", "a/b", &file]);
    assert!(code == 2 && err.contains("is no name"), "{code} {err}");
    let (code, _, err) = node.ask(&["waf", "add", "x", "/nonexistent/rules.conf"]);
    assert!(code != 0 && err.contains("/nonexistent/rules.conf"), "{code} {err}");
    let (_, out, _) = node.ask(&["waf", "added"]);
    assert!(out.contains("cats") && out.contains("1000401"), "{out}");
    // As a power cut would end it.
    node.signal("KILL");
    let mut node = node;
    node.wait();
    let folder = std::mem::replace(&mut node.folder, TestFolder::new());
    drop(node);
    let node = Serving::start_in(folder, &[]);
    assert_eq!((status_of(&node, "cat"), status_of(&node, "dog")), (403, 200));
    let (code, out, err) = node.ask(&["waf", "remove", "cats"]);
    assert_eq!((code, status_of(&node, "cat")), (0, 200), "{out}{err}");
    let (code, _, err) = node.ask(&["waf", "remove", "cats"]);
    assert!(code == 1 && err.contains("no rules `cats`"), "{code} {err}");
    let (_, out, _) = node.ask(&["waf", "added"]);
    assert!(out.contains("no rules were added"), "{out}");
    // A file that is damaged afterwards stops the start, and says what to do.
    node.signal("TERM");
    let mut node = node;
    node.wait();
    let damaged =
        node.folder.write("state/added-rules/cats.conf", "SecRule ARGS \"@nonsense x\" \"id:2,deny\"\n");
    let config = node.folder.join("config.toml").display().to_string();
    let (code, _, err) = told(&run(&node.folder, &["serve", "--config", &config]));
    assert!(code == 1 && err.contains("api:cats:1: ") && err.contains("`added-rules`"), "{code} {err}");
    fs::remove_file(damaged).unwrap();
}
