// SPDX-License-Identifier: Apache-2.0
//! Figures of judging (parts: kernels, cpu): what its tables and a whole decision cost and withstand, by
//! `detection/pipeline/benches/judge.rs`; and what a request costs more with all of it on.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Recorder, solid, text_of};

/// A line of the benchmark: its name there, the figure's, the unit, the goal.
type Row = (&'static str, &'static str, &'static str, &'static str);

const ROWS: &[Row] = &[
    ("window_hot_ns", "window update with feature read-out, hot", "ns", "<= 30"),
    ("window_million_ns", "window update with feature read-out, a million addresses", "ns", "<= 200"),
    ("window_bytes", "memory for one address", "bytes", "<= 136"),
    (
        "forged_kept_percent",
        "real clients that keep their state under 20 million forged addresses",
        "%",
        ">= 99",
    ),
    ("forged_memory_growth_kib", "memory that the forged addresses take", "KiB", "<= 1024"),
    ("rate_limit_ns", "rate-limit decision, hot", "ns", "<= 60"),
    (
        "rate_limit_contention",
        "the same by eight threads on two processors, processor time over one thread's",
        "×",
        "",
    ),
    ("prefix_v4_ns", "look-up among 1,000,000 prefixes, IPv4", "ns", "<= 100"),
    ("prefix_v6_ns", "look-up among 1,000,000 prefixes, IPv6", "ns", "<= 100"),
    ("judge_and_observe_ns", "whole decision and observation", "ns", ""),
    ("office_refusals", "refusals of fifty people behind one address, 15 minutes", "requests", "<= 0"),
    (
        "office_refusals_of_others",
        "the same when one of them turns scanner, refusals of the others",
        "requests",
        "<= 0",
    ),
    ("office_probes_through", "his probes that got through in 13 minutes of 10 a second", "requests", ""),
    ("flood_flagged_ms", "a flood of 10,000 quiet addresses, time until it is flagged", "ms", "<= 10000"),
    ("flood_named", "its shared fingerprint is named", "", ">= 1"),
    ("crowd_flagged", "requests of a crowd of browsers that are flagged", "requests", "<= 0"),
];

pub(super) fn measure(root: &Path, recorder: &mut Recorder) -> Result<()> {
    if recorder.wants("kernels") {
        let mut bench = Command::new(env!("CARGO"));
        bench.args(["bench", "--locked", "--package", "sunbeam-pipeline", "--bench", "judge"]);
        let printed = text_of(bench.current_dir(root))?;
        for (line, name, unit, goal) in ROWS {
            let value = printed.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
            let value = value.with_context(|| format!("the benchmark does not say `{line}`"))?;
            recorder.note(name, value.trim().parse()?, unit, goal)?;
        }
    }
    if recorder.wants("cpu") {
        for (part, name, goal) in [
            ("http1", "HTTP/1 keep-alive, CPU per request with judging over without", "<= 1.08"),
            ("http2", "HTTPS HTTP/2, CPU per request with judging over without", "<= 1.08"),
            ("static", "static 1 KiB, CPU per request with judging over without", "<= 1.08"),
        ] {
            let costs = solid::with_and_without_judging(root, part)?;
            recorder.note(name, costs.ratio, "×", goal)?;
            recorder.note(&format!("{name}: with"), costs.with_us, "µs", "")?;
            recorder.note(&format!("{name}: without"), costs.without_us, "µs", "")?;
        }
    }
    Ok(())
}
