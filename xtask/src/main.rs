// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask`: the chores of the project.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]

mod docs;
mod figures;
mod tidy;
mod traffic;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "cargo xtask COMMAND

  tidy                        walls between crates, lists, texts
  docs [--check]              write docs/reference and BENCHMARKS.md (or compare them)
  figures AREA [--measure [PART…]]    print an area's recorded figures, or measure them (or a part) afresh
  profile [JOB]               where the CPU time of the node goes under a job of `figures solid` (perf)
  instructions --check        count the instructions of a request afresh; an error when they are 5 % above the record
  models [--check]            train the models that ship again and write them (or compare; needs SUNBEAM_SHARED)
  traffic [--out DIR] [--only NAME…]  record labelled traffic of real tools into learning/traces (part of it: only into DIR)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["tidy"] => tidy::run(root()),
        ["docs"] => docs::write(root()),
        ["docs", "--check"] => docs::check(root()),
        ["instructions", "--check"] => figures::check_instructions(root()),
        ["figures", area] => figures::print(root(), area),
        ["figures", area, "--measure", parts @ ..] => figures::measure(root(), area, parts),
        ["profile"] => figures::profile(root(), "http1"),
        ["profile", job] => figures::profile(root(), job),
        ["models", words @ ..] => models(words),
        ["traffic", words @ ..] => traffic::run(root(), words),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// In a process of its own, built apart: see `learning/trainer/src/main.rs`.
fn models(words: &[&str]) -> anyhow::Result<()> {
    let status = std::process::Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--package", "sunbeam-trainer", "--"])
        .arg(root())
        .args(words)
        .current_dir(root())
        .status()?;
    anyhow::ensure!(status.success(), "the trainer failed");
    Ok(())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}
