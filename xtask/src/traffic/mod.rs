// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask traffic`: traffic whose label is certain, because we made it. Real tools, a real browser and
//! clients of our own ask a small site through the node, one after the other; the node's audit log is the
//! recording. Nothing leaves the loopback network.
//!
//! A generator is a row of a table here or in its file, and each of its runs has an intensity. Models are
//! split by both, so that none is judged on a tool that it has seen.

mod actor;
mod attackers;
mod browser;
mod chance;
mod client;
mod crawlers;
mod crowds;
mod floods;
mod machines;
mod manifest;
mod node;
mod people;
mod profiles;
mod scanners;
mod site;
mod tool;
mod trace;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::figures::WorkFolder;
use actor::Actor;
use manifest::{Entry, Manifest};
use node::Node;
use site::Site;

/// All that make traffic, in the order in which they are run.
const GENERATORS: &[&[Generator]] = &[
    browser::GENERATORS,
    people::GENERATORS,
    machines::GENERATORS,
    crawlers::GENERATORS,
    crowds::GENERATORS,
    floods::GENERATORS,
    scanners::GENERATORS,
    attackers::GENERATORS,
];

/// Seconds that a run may take.
const SECS_MAX: u64 = 20;

/// Seconds of runs whose point is that they are slow.
const SLOW_SECS_MAX: u64 = 25;

/// Requests after which a run is ended: at full speed a second has thousands.
const REQUESTS_MAX: u64 = 3000;

/// What makes one kind of traffic.
struct Generator {
    /// `dirb`
    name: &'static str,
    label: Label,
    /// What prints the tool's version; empty for what is written here.
    version: &'static [&'static str],
    runs: &'static [Run],
}

/// One recording.
struct Run {
    /// `slow`; unique in its generator.
    intensity: &'static str,
    secs_max: u64,
    how: How,
}

/// How the traffic is made.
enum How {
    /// A program, whose words may hold `@URL@`, `@HTTPS@`, `@WORK@` and `@ROOT@`.
    Tool(&'static [&'static str]),
    /// Clients of our own at the same time, each from an address of its own.
    Actors(&'static [Actor]),
    /// All from one address.
    OneAddress(&'static [Actor], usize),
    /// [`CROWD`] clients of our own, taken from the lists in turn, each from an address of its own; others in each of
    /// the numbered crowds. Not committed.
    Crowd(&'static [&'static [Actor]], u8),
}

/// Clients of a crowd.
const CROWD: u8 = 250;

/// What a recording is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Label {
    Attack,
    Benign,
}

/// What a command line asks for.
#[derive(Debug, Default)]
struct Wanted {
    /// For the raw lines; none: a temporary folder. What an earlier call left there stays until it is recorded
    /// again.
    out: Option<PathBuf>,
    /// Names of generators; none: all.
    only: Vec<String>,
}

/// Where a run takes place.
struct Scene<'a> {
    root: &'a Path,
    work: &'a Path,
    out: &'a Path,
    node: Node,
}

/// `cargo xtask traffic [--out DIR] [--only NAME…]`
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<()> {
    let wanted = Wanted::parse(words)?;
    let work = WorkFolder::new("traffic")?;
    let out = wanted.out.clone().unwrap_or_else(|| work.0.join("recorded"));
    fs::create_dir_all(&out)?;
    let site = Site::start()?;
    let node = Node::start(&binary(root)?, &work.0, site.address())?;
    let scene = Scene { root, work: &work.0, out: &out, node };
    let mut manifest = Manifest::read(&out)?;
    for generator in generators().filter(|one| wanted.has(one.name)) {
        for entry in scene.record(generator).with_context(|| generator.name.to_owned())? {
            manifest.add(entry)?;
        }
    }
    match manifest.complete() {
        Some(entries) => trace::write(&out, &entries, &root.join("learning/traces/traffic.jsonl.zst")),
        None => {
            println!("not every run is in {}: learning/traces stays as it is", out.display());
            Ok(())
        }
    }
}

impl Wanted {
    fn parse(words: &[&str]) -> Result<Self> {
        let mut wanted = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--out" => wanted.out = Some(PathBuf::from(*words.next().context("`--out` needs a folder")?)),
                "--only" => wanted.only.extend(words.by_ref().map(ToString::to_string)),
                other => bail!("unknown argument `{other}`; there are `--out DIR` and `--only NAME…`"),
            }
        }
        match wanted.only.iter().find(|name| !names().any(|known| known == name.as_str())) {
            Some(name) => {
                bail!("no generator `{name}`; there are: {}", names().collect::<Vec<_>>().join(", "))
            }
            None => Ok(wanted),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == name)
    }
}

impl Scene<'_> {
    /// All runs of a generator. One whose tool is not installed is an error: a recording without it would
    /// look complete.
    fn record(&self, generator: &Generator) -> Result<Vec<Entry>> {
        let version = version(generator.version)?;
        let record = |run: &Run| {
            let entry = self.record_run(generator, &version, run).context(run.intensity)?;
            println!("{:<28} {:>5} lines {:>5.1} s", entry.file, entry.lines, entry.seconds);
            Ok(entry)
        };
        generator.runs.iter().map(record).collect()
    }

    fn record_run(&self, generator: &Generator, version: &str, run: &Run) -> Result<Entry> {
        self.node.forget()?;
        let begun = Instant::now();
        let most = Duration::from_secs(run.secs_max);
        let sessions = match run.how {
            How::Tool(words) => {
                tool::run(self, words, most)?;
                Vec::new()
            }
            How::Actors(actors) => actor::act(&self.node, actors, most)?,
            How::OneAddress(actors, count) => actor::act_together(&self.node, actors, count, most)?,
            How::Crowd(lists, number) => actor::act_as_crowd(&self.node, lists, number, most)?,
        };
        let seconds = begun.elapsed().as_secs_f64();
        let file = file(generator, run);
        let lines = self.node.keep(&self.out.join(&file))?;
        if lines == 0 {
            bail!("nothing was recorded; what the tool said: {}", tool::last_words(self.work));
        }
        Ok(Entry {
            file,
            tool: generator.name.to_owned(),
            tool_version: version.to_owned(),
            intensity: run.intensity.to_owned(),
            label: generator.label,
            lines,
            seconds: (seconds * 10.0).round() / 10.0,
            sessions,
        })
    }
}

fn generators() -> impl Iterator<Item = &'static Generator> {
    GENERATORS.iter().copied().flatten()
}

fn names() -> impl Iterator<Item = &'static str> {
    generators().map(|generator| generator.name)
}

fn file(generator: &Generator, run: &Run) -> String {
    format!("{}-{}.jsonl", generator.name, run.intensity)
}

/// `$SUNBEAM_BENCH_BINARY`, else the release build, built now.
fn binary(root: &Path) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SUNBEAM_BENCH_BINARY") {
        return PathBuf::from(path).canonicalize().context("SUNBEAM_BENCH_BINARY");
    }
    let arguments = ["build", "--locked", "--package", "sunbeam-cli", "--release"];
    let status = Command::new(env!("CARGO")).args(arguments).current_dir(root).status()?;
    if !status.success() {
        bail!("the release build failed");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/sunbeam"))
}

/// The first thing with dots in what the command prints; ours where there is no command.
fn version(words: &[&str]) -> Result<String> {
    let Some((program, arguments)) = words.split_first() else {
        return Ok(env!("CARGO_PKG_VERSION").to_owned());
    };
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("`{program}` is not here; `./dev setup bench` installs it"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let found = Regex::new(r"\d+(?:\.\d+)+")?.find(&text).context("a version")?;
    Ok(found.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_run_has_a_file_of_its_own() {
        let mut files = BTreeSet::new();
        for generator in generators() {
            for run in generator.runs {
                assert!(files.insert(file(generator, run)), "{}", run.intensity);
                assert!(run.secs_max <= 60, "{} {}", generator.name, run.intensity);
            }
        }
    }

    #[test]
    fn the_command_line_is_read() {
        let wanted = Wanted::parse(&["--out", "x", "--only", "dirb", "ffuf"]).unwrap();
        assert_eq!(wanted.out, Some(PathBuf::from("x")));
        assert!(wanted.has("dirb") && wanted.has("ffuf") && !wanted.has("wrk"));
        assert!(Wanted::parse(&[]).unwrap().has("wrk"));
        for wrong in [&["--only", "nikto"][..], &["--out"], &["dirb"]] {
            Wanted::parse(wrong).unwrap_err();
        }
    }
}
