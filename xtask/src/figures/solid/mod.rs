// SPDX-License-Identifier: Apache-2.0
//! Figures of a node under load (parts: peers, or one of its jobs by name; latency, idle_memory, attacks, soak).
//! One file a measurement: its `measure` asks `recorder.wants("part")` first.

mod attacks;
mod idle_memory;
mod latency;
mod peers;
mod rig;
mod soak;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::Recorder;

pub(super) fn measure(root: &Path, recorder: &mut Recorder) -> Result<()> {
    peers::measure(root, recorder)?;
    latency::measure(root, recorder)?;
    idle_memory::measure(root, recorder)?;
    attacks::measure(root, recorder)?;
    soak::measure(root, recorder)
}

/// The binary that is measured: `$SUNBEAM_BENCH_BINARY`, else what a package would hold, built now.
pub(super) fn binary(root: &Path) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SUNBEAM_BENCH_BINARY") {
        return PathBuf::from(path).canonicalize().context("SUNBEAM_BENCH_BINARY");
    }
    built(root, "dist")
}

/// Builds the binary with a profile; where it is.
fn built(root: &Path, profile: &str) -> Result<PathBuf> {
    let arguments = ["build", "--locked", "--package", "sunbeam-cli", "--profile", profile];
    let status = Command::new(env!("CARGO")).args(arguments).current_dir(root).status()?;
    if !status.success() {
        bail!("the {profile} build failed");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join(profile).join("sunbeam"))
}
