// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask`: the chores of the project.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]

mod docs;
mod figures;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "cargo xtask COMMAND

  tidy                        walls between crates, lists, texts
  docs [--check]              write docs/reference and BENCHMARKS.md (or compare them)
  figures AREA [--measure [PART…]]    print an area's recorded figures, or measure them (or a part) afresh
  profile [JOB]               where the CPU time of the node goes under a job of `figures solid` (perf)
  instructions --check        count the instructions of a request afresh; an error when they are 5 % above the record";

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

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}
