// SPDX-License-Identifier: Apache-2.0
//! What no compiler checks: which crate may use which, that texts are in order, that a ticked promise
//! names a test that exists.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{DependencyKind, MetadataCommand};
use regex::Regex;

/// The allowed arrows: a crate, and the crates of ours that it may use. Arrows run down only:
/// cli -> serving -> detection -> foundation.
const ARROWS: &[(&str, &[&str])] = &[
    ("sunbeam-config", &[]),
    ("sunbeam-metrics", &[]),
    ("sunbeam-traffic", &[]),
    ("sunbeam-decisions", &[]),
    ("sunbeam-encoding", &[]),
    ("sunbeam-wire", &[]),
    ("sunbeam-static-files", &[]),
    ("sunbeam-tables", &[]),
    ("sunbeam-features", &["sunbeam-tables", "sunbeam-traffic"]),
    ("sunbeam-ensemble", &["sunbeam-features", "sunbeam-traffic"]),
    ("sunbeam-waf", &[]),
    ("sunbeam-waf-suite", &["sunbeam-waf"]),
    ("sunbeam-report", &[]),
    ("sunbeam-datasets", &["sunbeam-features", "sunbeam-traffic"]),
    (
        "sunbeam-trainer",
        &[
            "sunbeam-datasets",
            "sunbeam-ensemble",
            "sunbeam-features",
            "sunbeam-report",
            "sunbeam-tables",
            "sunbeam-traffic",
        ],
    ),
    ("sunbeam-rate-limit", &["sunbeam-config", "sunbeam-tables", "sunbeam-traffic"]),
    ("sunbeam-reputation", &["sunbeam-config", "sunbeam-tables", "sunbeam-traffic"]),
    (
        "sunbeam-pipeline",
        &[
            "sunbeam-config",
            "sunbeam-ensemble",
            "sunbeam-features",
            "sunbeam-metrics",
            "sunbeam-rate-limit",
            "sunbeam-reputation",
            "sunbeam-tables",
            "sunbeam-traffic",
        ],
    ),
    ("sunbeam-routing", &["sunbeam-config", "sunbeam-encoding", "sunbeam-pipeline", "sunbeam-rate-limit"]),
    ("sunbeam-listeners", &["sunbeam-config", "sunbeam-metrics", "sunbeam-wire"]),
    (
        "sunbeam-proxy",
        &[
            "sunbeam-config",
            "sunbeam-decisions",
            "sunbeam-encoding",
            "sunbeam-ensemble",
            "sunbeam-features",
            "sunbeam-listeners",
            "sunbeam-metrics",
            "sunbeam-pipeline",
            "sunbeam-rate-limit",
            "sunbeam-reputation",
            "sunbeam-routing",
            "sunbeam-static-files",
            "sunbeam-tables",
            "sunbeam-traffic",
            "sunbeam-waf",
            "sunbeam-wire",
        ],
    ),
    (
        "sunbeam-replay",
        &[
            "sunbeam-datasets",
            "sunbeam-ensemble",
            "sunbeam-features",
            "sunbeam-pipeline",
            "sunbeam-report",
            "sunbeam-tables",
            "sunbeam-traffic",
        ],
    ),
    (
        "sunbeam-cli",
        &[
            "sunbeam-config",
            "sunbeam-datasets",
            "sunbeam-ensemble",
            "sunbeam-listeners",
            "sunbeam-proxy",
            "sunbeam-replay",
            "sunbeam-report",
            "sunbeam-routing",
            "sunbeam-traffic",
            "sunbeam-trainer",
            "sunbeam-waf",
            "sunbeam-waf-suite",
        ],
    ),
    ("sunbeam-testkit", &["sunbeam-config", "sunbeam-listeners", "sunbeam-proxy", "sunbeam-traffic"]),
    ("sunbeam-e2e", &[]),
    ("sunbeam-loadgen", &[]),
    (
        "xtask",
        &[
            "sunbeam-cli",
            "sunbeam-config",
            "sunbeam-datasets",
            "sunbeam-decisions",
            "sunbeam-listeners",
            "sunbeam-metrics",
            "sunbeam-pipeline",
            "sunbeam-proxy",
            "sunbeam-report",
            "sunbeam-testkit",
            "sunbeam-trainer",
            "sunbeam-waf",
        ],
    ),
];

/// Crates that must not be linked: other TLS stacks, and what the design leaves out of the default build.
const BANNED: &[&str] = &["openssl", "openssl-sys", "native-tls", "boring", "boring-sys", "ring"];

/// What no tracked text may hold: addresses of package registries (and the path of this checkout).
const FORBIDDEN: &[&str] =
    &["static.crates.io", "index.crates.io", "files.pythonhosted.org", "registry.npmjs.org"];

const SPDX: &str = "SPDX-License-Identifier: Apache-2.0";

pub(crate) fn run(root: &Path) -> Result<()> {
    let mut findings = Vec::new();
    arrows(root, &mut findings)?;
    banned(root, &mut findings)?;
    let files = tracked(root)?;
    for file in &files {
        text(root, file, &mut findings);
    }
    mission(root, &files, &mut findings)?;
    if findings.is_empty() {
        println!("tidy: {} files in order", files.len());
        return Ok(());
    }
    bail!("{}\n{} findings", findings.join("\n"), findings.len());
}

fn arrows(root: &Path, findings: &mut Vec<String>) -> Result<()> {
    let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec()?;
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let Some(allowed) = allowed.get(name) else {
            findings.push(format!("`{name}` is not in the table of arrows (xtask/src/tidy.rs)"));
            continue;
        };
        let ours = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal && dependency.path.is_some());
        for dependency in ours {
            if !allowed.contains(&dependency.name.as_str()) {
                findings.push(format!("`{name}` must not use `{}`: arrows run down only", dependency.name));
            }
        }
    }
    Ok(())
}

/// What the binary links, by `cargo tree` (features resolved).
fn banned(root: &Path, findings: &mut Vec<String>) -> Result<()> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--package", "sunbeam-cli", "--edges", "normal", "--prefix", "none", "--locked"])
        .current_dir(root)
        .output()?;
    if !tree.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&tree.stderr));
    }
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    for banned in BANNED {
        if tree.lines().any(|line| line.split(' ').next() == Some(banned)) {
            findings.push(format!("the binary links `{banned}`"));
        }
    }
    Ok(())
}

fn tracked(root: &Path) -> Result<Vec<PathBuf>> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("failed to run git")?;
    let names = String::from_utf8(listed.stdout)?;
    let exists = |path: &PathBuf| root.join(path).is_file();
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).filter(exists).collect())
}

fn text(root: &Path, file: &Path, findings: &mut Vec<String>) {
    let Ok(text) = fs::read_to_string(root.join(file)) else { return };
    let name = file.display();
    let is_lock = name.to_string().ends_with(".lock") || name.to_string().ends_with("package-lock.json");
    let is_this = file == Path::new("xtask/src/tidy.rs");
    if !is_lock && !is_this {
        let checkout = root.parent().map(|folder| format!("{}/", folder.display()));
        // A folder that every machine has says nothing about this one.
        let checkout = checkout.filter(|path| path.len() > 1 && path != "/tmp/");
        for forbidden in FORBIDDEN.iter().copied().chain(checkout.as_deref()) {
            if text.contains(forbidden) {
                findings.push(format!("{name}: holds `{forbidden}`"));
            }
        }
    }
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if extension == "rs" && !text.starts_with(&format!("// {SPDX}\n")) {
        findings.push(format!("{name}: does not begin with `// {SPDX}`"));
    }
    if matches!(extension, "rs" | "md" | "toml" | "py" | "mjs" | "yml") {
        for (number, line) in text.lines().enumerate() {
            if line.ends_with([' ', '\t']) {
                findings.push(format!("{name}:{}: blanks at the end of the line", number + 1));
            }
        }
    }
}

/// Each row of `docs/mission.md` has five cells, a state, and, when it works, a proof that exists.
fn mission(root: &Path, files: &[PathBuf], findings: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(root.join("docs/mission.md")).context("docs/mission.md")?;
    let row = Regex::new(r"^\| ?([A-K]\d\d) ?\|(.*)\|([^|]*)\|([^|]*)\|$")?;
    let test = Regex::new(r"`([a-z0-9_-]+(?:::[a-z0-9_]+)+)`")?;
    let mut sources: Option<String> = None;
    let mut rows = 0;
    for (number, line) in text.lines().enumerate() {
        let Some(cells) = row.captures(line) else { continue };
        rows += 1;
        let at = format!("docs/mission.md:{}: {}", number + 1, &cells[1]);
        let (state, proof) = (cells[3].trim(), cells[4].trim());
        let is_known = state == "works" || state == "not started" || state.starts_with("partial: ");
        if !is_known {
            findings.push(format!("{at}: the state is none of `works`, `partial: …`, `not started`"));
        }
        if state == "works" && proof.is_empty() {
            findings.push(format!("{at}: works, but names no proof"));
        }
        let sources = sources.get_or_insert_with(|| all_sources(root, files));
        for found in test.captures_iter(proof) {
            let function = found[1].rsplit("::").next().unwrap_or_default().to_owned();
            if !sources.contains(&format!("fn {function}(")) {
                findings.push(format!("{at}: there is no test `{}`", &found[1]));
            }
        }
    }
    if rows < 150 {
        findings.push(format!("docs/mission.md: only {rows} rows were found"));
    }
    Ok(())
}

fn all_sources(root: &Path, files: &[PathBuf]) -> String {
    let is_source = |file: &&PathBuf| file.extension().is_some_and(|extension| extension == "rs");
    files.iter().filter(is_source).filter_map(|file| fs::read_to_string(root.join(file)).ok()).collect()
}
