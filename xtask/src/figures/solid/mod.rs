// SPDX-License-Identifier: Apache-2.0
//! Figures of a node under load. Parts: peers, or one of its jobs (http1, https, http2, connections, static, body);
//! latency, idle_memory, lossless, attacks, soak.
//! One file a measurement: its `measure` asks `recorder.wants("part")` first.

mod attacks;
mod cpu;
mod idle_memory;
mod latency;
mod load;
mod lossless;
mod peers;
pub(super) mod rig;
pub(super) mod server;
mod soak;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::Recorder;

pub(super) fn measure(root: &Path, recorder: &mut Recorder) -> Result<()> {
    peers::measure(root, recorder)?;
    latency::measure(root, recorder)?;
    idle_memory::measure(root, recorder)?;
    lossless::measure(root, recorder)?;
    attacks::measure(root, recorder)?;
    soak::measure(root, recorder)
}

/// What stands below the area's table in `BENCHMARKS.md`.
pub(super) fn page(root: &Path) -> Result<String> {
    Ok(format!("{HOW_P99_IS_TAKEN}\n{}", peers::table(root)?))
}

/// Whoever reads a ratio must know that it is kinder than the plain p99.
const HOW_P99_IS_TAKEN: &str = "\
Under attack, \"p99 to p99 alone\" (and the p99 alone, and the added latency's) is not the p99 of the whole run: it is
the middle one of the p99s of its tenths of a second, without those in which the host took processors away. A stall
that is shorter than half of the run does not show in it. The p99 of the whole run stands beside it, without a goal;
by that the goal of 2x is missed more often than the ratios say.
";

/// `cargo xtask profile PART`
pub(super) fn profile(root: &Path, part: &str) -> Result<()> {
    peers::profile(root, part)
}

/// What a request costs with all layers of judging on, and with none; with the Core Rule Set, and without the WAF.
pub(super) use peers::{with_and_without_judging, with_and_without_rules};

/// The binary that is measured: `$SUNBEAM_BENCH_BINARY`, else what a package would hold, built now.
pub(super) fn binary(root: &Path) -> Result<PathBuf> {
    binary_of(root, "dist")
}

/// As [`binary`], with the names of its functions in it.
fn binary_with_names(root: &Path) -> Result<PathBuf> {
    binary_of(root, "release")
}

fn binary_of(root: &Path, profile: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SUNBEAM_BENCH_BINARY") {
        return PathBuf::from(path).canonicalize().context("SUNBEAM_BENCH_BINARY");
    }
    built(root, "sunbeam-cli", profile).map(|folder| folder.join("sunbeam"))
}

/// Builds a package; where its binary is.
fn built(root: &Path, package: &str, profile: &str) -> Result<PathBuf> {
    let arguments = ["build", "--locked", "--package", package, "--profile", profile];
    let status = Command::new(env!("CARGO")).args(arguments).current_dir(root).status()?;
    if !status.success() {
        bail!("the {profile} build of {package} failed");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join(profile))
}
