// SPDX-License-Identifier: Apache-2.0
//! Figures of knowing why. Parts: store (what keeping decisions costs a request, by
//! `serving/proxy/benches/decision_store.rs`), flood, console.

mod console;
mod flood;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Recorder, text_of};

/// A line of the benchmark: its name there, the figure's, the unit, the goal.
type Row = (&'static str, &'static str, &'static str, &'static str);

/// All of the request's own thread, with the store less without it, in turn.
const STORE: &[Row] = &[
    ("kept_ns", "a decision that is no pass and is kept, more of the request's thread", "ns", "<= 2000"),
    ("kept_allocations", "the same, allocations more", "", ""),
    ("sampled_ns", "one that others like it stand for, more of the request's thread", "ns", "<= 2000"),
    ("sampled_allocations", "the same, allocations more", "", ""),
    ("pass_ns", "a pass that is not sampled, more of the request's thread (noise about 100)", "ns", ""),
    ("pass_allocations", "the same, allocations more", "", "<= 0"),
    ("pass_without_ns", "a pass from head to end without sockets and without the store", "ns", ""),
];

pub(super) fn measure(root: &Path, recorder: &mut Recorder) -> Result<()> {
    if recorder.wants("store") {
        let mut bench = Command::new(env!("CARGO"));
        bench.args(["bench", "--locked", "--package", "sunbeam-proxy", "--bench", "decision_store"]);
        let printed = text_of(bench.current_dir(root))?;
        for (line, name, unit, goal) in STORE {
            let value = printed.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
            let value = value.with_context(|| format!("the benchmark does not say `{line}`"))?;
            recorder.note(name, value.trim().parse()?, unit, goal)?;
        }
    }
    flood::measure(root, recorder)?;
    console::measure(root, recorder)
}
