// SPDX-License-Identifier: Apache-2.0
//! The Core Rule Set's own tests over the wire: a node and the tests' backend as processes of their own, and
//! `sunbeam waf test` between them (row F01). The rules are on and the node only watches (`waf.mode = "observe"`): whatever
//! a rule wants stopped is not acted on, and every later phase must run all the same.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sunbeam_testkit::TestFolder;

use crate::program::{Serving, write_config};
use crate::waf::{Backend, json};

/// Tests that may be held against an override.
const OVERRIDES_MAX: u64 = 10;

/// What the tests expect of a set-up, but for what a node's configuration says.
const SETTINGS: &str = "\nSecAction \"id:900005,phase:1,nolog,pass,setvar:tx.crs_validate_utf8_encoding=1,\
    setvar:tx.arg_name_length=100,setvar:tx.arg_length=400,setvar:tx.total_arg_length=64000,\
    setvar:tx.max_num_args=255,setvar:tx.max_file_size=64100,setvar:tx.combined_file_sizes=65535\"\n";

/// Nobody judges but the rules, which watch; their time is not what is tested.
const CONFIG: &str = "\
[limits]
max_connections_per_ip = 1000
new_connections_per_ip = 100000
[scanner]
enabled = false
[ddos]
enabled = false
[rate_limit]
enabled = false
[waf]
ruleset = \"crs\"
mode = \"observe\"
verdict = \"rules\"
paranoia_level = 4
inspect_responses = true
max_inspected_body_bytes = 13107200
regex_budget_ms = 60000
";

fn core_rule_set() -> Option<PathBuf> {
    let Some(shared) = std::env::var_os("SUNBEAM_SHARED") else {
        drop(writeln!(std::io::stderr(), "skipped: SUNBEAM_SHARED is not set"));
        return None;
    };
    let path = Path::new(&shared).join("conformance/crs-4.28.0");
    assert!(path.exists(), "`{}` is missing", path.display());
    Some(path)
}

/// The rules as they are, behind a set-up of the tests' own.
fn set_up(folder: &TestFolder, crs: &Path) -> PathBuf {
    let setup = fs::read_to_string(crs.join("crs-setup.conf.example")).unwrap();
    folder.write("crs/crs-setup.conf", setup + SETTINGS);
    symlink(crs.join("rules"), folder.join("crs/rules")).unwrap();
    folder.join("crs")
}

#[test]
fn every_test_of_the_core_rule_set_passes_over_the_wire() {
    let Some(crs) = core_rule_set() else { return };
    let folder = TestFolder::new();
    let (backend, crs_path) = (Backend::start(&folder), set_up(&folder, &crs));
    let more = format!(
        "{CONFIG}crs_path = {crs_path:?}\n[[routes]]\nhost = \"*\"\nbackend = \"http://{}\"\n\
         disable_secure_redirection = true\n",
        backend.address
    );
    write_config(&folder, &more);
    // Some tests ask for what a rule matched, also under names of secrets.
    let text = fs::read_to_string(folder.join("config.toml")).unwrap();
    folder
        .write("config.toml", text.replace("[audit]\n", "[audit]\nmatches = true\nredact_query_keys = []\n"));
    let node = Serving::start_in(folder, &[]);
    let tests = crs.join("tests/regression/tests");
    let overrides = Path::new(env!("CARGO_MANIFEST_DIR")).join("../detection/waf-suite/overrides.toml");
    let (url, log) = (format!("http://{}", node.http), node.folder.join("audit.log"));
    let (code, out, err) = node.ask(&[
        "waf",
        "test",
        tests.to_str().unwrap(),
        "--url",
        &url,
        "--audit-log",
        log.to_str().unwrap(),
        "--overrides",
        overrides.to_str().unwrap(),
        "--connections",
        "8",
        "-o",
        "json",
    ]);
    let answer = json(&out);
    let number = |name: &str| answer[name].as_u64().unwrap_or_else(|| panic!("{out}{err}"));
    assert_eq!((code, number("failed"), number("not_judged")), (0, 0, 0), "{out}{err}");
    assert_eq!(number("tests"), 4_966);
    assert_eq!(answer["needless_overrides"], Value::Null, "they pass without");
    assert!(number("overridden") <= OVERRIDES_MAX, "{out}");
    // `cargo xtask figures waf` reads these.
    let mut stdout = std::io::stdout();
    let passed = number("passed") - number("overridden");
    writeln!(stdout, "\npassed {passed}\noverridden {}", number("overridden")).unwrap();
}
