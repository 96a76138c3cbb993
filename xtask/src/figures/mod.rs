// SPDX-License-Identifier: Apache-2.0
//! Recorded figures: `benchmarks/figures/AREA.jsonl`, and the page made of them.

mod instructions;
mod judge;
mod learn;
mod node;
mod solid;
mod waf;
mod why;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use jiff::Zoned;
use serde::{Deserialize, Serialize};

use crate::docs::line;

/// The areas, and what measures each.
const AREAS: &[Area] = &[
    ("node", "The node: start, size, and how long its developers wait", node::measure),
    ("solid", "Solid: what a request costs beside its peers, and what it withstands", solid::measure),
    ("judge", "Judging: what it costs, and what it sees", judge::measure),
    (
        "learn",
        "Learning: how right the models are on what they have not seen, and what they cost",
        learn::measure,
    ),
    (
        "waf",
        "The WAF: the Core Rule Set's own tests, and what a request costs beside ModSecurity",
        waf::measure,
    ),
    (
        "why",
        "Why: what keeping decisions costs, what good clients notice of an attack that judging stops, how quick the console's pages are",
        why::measure,
    ),
    ("instructions", "Instructions of the node for one request", instructions::measure),
];

/// Name, title, measurement.
type Area = (&'static str, &'static str, fn(&Path, &mut Recorder) -> Result<()>);

/// One figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    name: String,
    value: f64,
    unit: String,
    /// As the issue says it: `< 1`, `<= 6`; empty where it sets none.
    goal: String,
    ok: Option<bool>,
    /// What it was compared with; empty for none.
    peer: String,
    commit: String,
    date: String,
}

/// Collects figures as they are measured.
pub(crate) struct Recorder {
    commit: String,
    date: String,
    path: PathBuf,
    /// Parts that are to be measured; none: all.
    parts: Vec<String>,
    /// Of these, those that the area has: it asked for them.
    known_parts: RefCell<Vec<String>>,
    figures: Vec<Figure>,
}

impl Recorder {
    fn new(root: &Path, area: &str, parts: &[&str]) -> Result<Self> {
        let commit =
            text_of(Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).current_dir(root))?;
        let dirty = text_of(Command::new("git").args(["status", "--porcelain"]).current_dir(root))?;
        let commit = if dirty.is_empty() { commit } else { format!("{commit}+") };
        let path = file(root, area);
        // What is not measured now stays as it was measured, with its own commit.
        let figures = if parts.is_empty() { Vec::new() } else { read(root, area)? };
        Ok(Self {
            commit,
            date: Zoned::now().date().to_string(),
            path,
            parts: parts.iter().map(ToString::to_string).collect(),
            known_parts: RefCell::default(),
            figures,
        })
    }

    /// For rounds that are compared with each other and not kept.
    pub(crate) const fn unrecorded() -> Self {
        Self {
            commit: String::new(),
            date: String::new(),
            path: PathBuf::new(),
            parts: Vec::new(),
            known_parts: RefCell::new(Vec::new()),
            figures: Vec::new(),
        }
    }

    /// Whether a part of the area is to be measured.
    pub(crate) fn wants(&self, part: &str) -> bool {
        self.known_parts.borrow_mut().push(part.to_owned());
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }

    /// An error where a part was wanted that nobody measures.
    fn check_parts(&self) -> Result<()> {
        let known = self.known_parts.borrow();
        match self.parts.iter().find(|wanted| !known.contains(wanted)) {
            Some(unknown) => bail!("no part `{unknown}`; there are: {}", known.join(", ")),
            None => Ok(()),
        }
    }

    /// Written after each figure: what was measured before a failure is kept.
    fn save(&self) -> Result<()> {
        let mut text = String::new();
        for figure in &self.figures {
            text.push_str(&serde_json::to_string(figure)?);
            text.push('\n');
        }
        fs::create_dir_all(self.path.parent().context("a folder")?)?;
        Ok(fs::write(&self.path, text)?)
    }

    /// Notes a figure and says it.
    pub(crate) fn note(&mut self, name: &str, value: f64, unit: &str, goal: &str) -> Result<()> {
        self.note_against("", name, value, unit, goal)
    }

    /// Notes a figure that compares us with `peer` (name and version), measured in the same run.
    pub(crate) fn note_against(
        &mut self,
        peer: &str,
        name: &str,
        value: f64,
        unit: &str,
        goal: &str,
    ) -> Result<()> {
        let value = (value * 1000.0).round() / 1000.0;
        let ok = if goal.is_empty() { None } else { Some(holds(value, goal)?) };
        let figure = Figure {
            name: name.to_owned(),
            value,
            unit: unit.to_owned(),
            goal: goal.to_owned(),
            ok,
            peer: peer.to_owned(),
            commit: self.commit.clone(),
            date: self.date.clone(),
        };
        println!("{}", serde_json::to_string(&figure)?);
        match self.figures.iter_mut().find(|known| known.name == figure.name) {
            Some(known) => *known = figure,
            None => self.figures.push(figure),
        }
        self.save()
    }
}

pub(crate) fn print(root: &Path, area: &str) -> Result<()> {
    known(area)?;
    for figure in read(root, area)? {
        println!("{}", serde_json::to_string(&figure)?);
    }
    Ok(())
}

pub(crate) fn measure(root: &Path, area: &str, parts: &[&str]) -> Result<()> {
    let (_, _, measure) = known(area)?;
    let mut recorder = Recorder::new(root, area, parts)?;
    measure(root, &mut recorder)?;
    recorder.check_parts()?;
    crate::docs::write(root)
}

/// Where the time of a node under load goes.
pub(crate) fn profile(root: &Path, part: &str) -> Result<()> {
    solid::profile(root, part)
}

/// Counts instructions afresh and compares them with the recorded ones.
pub(crate) fn check_instructions(root: &Path) -> Result<()> {
    instructions::check(root)
}

/// `BENCHMARKS.md`
pub(crate) fn page(root: &Path) -> Result<String> {
    let mut page = String::from(
        "# Benchmarks\n\n<!-- Written by `cargo xtask docs` from benchmarks/figures; measure, do not edit. -->\n\n\
         Measured on the machine of the commit named, two cores; goals stand as they were set. A figure that\n\
         misses its goal says so. `cargo xtask figures AREA --measure` measures an area afresh.\n",
    );
    for (area, title, _) in AREAS {
        line(&mut page, &format!("\n## {title} (`{area}`)\n"));
        let figures = read(root, area)?;
        if figures.is_empty() {
            page.push_str("Not measured yet.\n");
            continue;
        }
        page.push_str("| figure | value | peer | goal | | commit | date |\n|---|---|---|---|---|---|---|\n");
        for figure in figures {
            let verdict = match figure.ok {
                None => "",
                Some(true) => "met",
                Some(false) => "missed",
            };
            let Figure { name, value, unit, goal, peer, commit, date, .. } = figure;
            let row =
                format!("| {name} | {value} {unit} | {peer} | {goal} | {verdict} | {commit} | {date} |");
            line(&mut page, &row);
        }
        if *area == "solid" {
            page.push_str(&solid::page(root)?);
        }
    }
    Ok(page)
}

fn read(root: &Path, area: &str) -> Result<Vec<Figure>> {
    let path = file(root, area);
    let Ok(text) = fs::read_to_string(&path) else { return Ok(Vec::new()) };
    text.lines().map(|line| serde_json::from_str(line).with_context(|| path.display().to_string())).collect()
}

fn known(area: &str) -> Result<Area> {
    match AREAS.iter().find(|(name, _, _)| *name == area) {
        Some(found) => Ok(*found),
        None => bail!(
            "no area `{area}`; there are: {}",
            AREAS.iter().map(|(name, _, _)| *name).collect::<Vec<_>>().join(", ")
        ),
    }
}

fn file(root: &Path, area: &str) -> PathBuf {
    root.join(format!("benchmarks/figures/{area}.jsonl"))
}

fn holds(value: f64, goal: &str) -> Result<bool> {
    let (sign, bound) = goal.split_once(' ').context("a goal is `sign number`")?;
    let bound: f64 = bound.parse()?;
    Ok(match sign {
        "<" => value < bound,
        "<=" => value <= bound,
        ">" => value > bound,
        ">=" => value >= bound,
        _ => bail!("`{sign}` is not a comparison"),
    })
}

/// What a command prints, trimmed.
pub(crate) fn text_of(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The middle one; of an even number, the upper of the two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A folder for what a measurement leaves behind, gone with it.
pub(crate) struct WorkFolder(pub(crate) PathBuf);

impl WorkFolder {
    pub(crate) fn new(area: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("sunbeam-figures-{area}-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // What is left in the temporary folder harms nobody.
        drop(fs::remove_dir_all(&self.0));
    }
}
