// SPDX-License-Identifier: Apache-2.0
//! `sunbeam prepare-dataset`

mod inputs;
mod passes;
mod print;
mod sides;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sunbeam_datasets::Label;
use sunbeam_datasets::heuristics::Heuristics;

use super::Run;
use crate::cli::GlobalArgs;
use crate::exit::{CliError, ExitCode};
use crate::output::{Format, escape};
use crate::placed_file::apart;
use crate::placed_file::{refused, shown};

/// Make a data set that models can learn from: read logs and corpora, label, clean, pack
///
/// What nobody labelled is labelled by heuristics, and said to be weak. Copies of a request count as three at most;
/// what a log tells of a client is kept whole, for that is what windows are learned from. The file holds addresses
/// if the logs do: only its owner can read it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PrepareDataset {
    /// Logs, corpora or data sets, packed with zstd or not
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    input: Vec<PathBuf>,
    /// The data set; one that stands there is replaced when the new one is whole
    #[arg(id = "dataset", long = "output", value_name = "FILE")]
    dataset: PathBuf,
    /// table, json or jsonl
    // In the place of the option of all commands, whose long form means the data set here.
    #[arg(
        id = "output",
        short,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    _output: Format,
    /// The format of the inputs, where their first lines do not tell; `wordlist` is never told by them
    #[arg(long, value_name = "NAME")]
    format: Option<String>,
    /// Rules that label what nobody labelled: a heuristics.toml, `default`, or `none`
    #[arg(long, value_name = "FILE", default_value = "default")]
    heuristics: PathBuf,
    /// Add HTTP CSIC 2010 as published: its two files, or their folder
    #[arg(long, value_name = "DIR_OR_FILES", num_args = 1..)]
    inject_csic: Vec<PathBuf>,
    /// Add audit logs of ModSecurity, labelled by the rules that fired
    #[arg(long, value_name = "FILE", num_args = 1..)]
    inject_modsec: Vec<PathBuf>,
    /// Add every word list of a folder, as paths that scanners probe
    #[arg(long, value_name = "DIR")]
    wordlists: Option<PathBuf>,
    /// What all records of the inputs are that say nothing themselves: benign or attack
    #[arg(long, value_name = "LABEL", value_parser = label)]
    label: Option<Label>,
}

/// Of a file of rules.
const HEURISTICS_BYTES_MAX: u64 = 1024 * 1024;

impl Run for PrepareDataset {
    const NAME: &'static str = "prepare-dataset";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let heuristics = heuristics(&self.heuristics)?;
        apart(&self.dataset, self.input.iter().map(PathBuf::as_path))?;
        let inputs = inputs::all(&self)?;
        let prepared = passes::prepare(&inputs, heuristics.as_ref(), &self.dataset)?;
        print::tell(global.printer(), &self.dataset, &prepared)?;
        Ok(ExitCode::Done)
    }
}

fn label(text: &str) -> Result<Label, String> {
    match text {
        "benign" => Ok(Label::Benign),
        "attack" => Ok(Label::Attack),
        _ => Err("there are `benign` and `attack`".to_owned()),
    }
}

pub(super) fn heuristics(path: &Path) -> Result<Option<Heuristics>, CliError> {
    match path.to_str() {
        Some("none") => return Ok(None),
        Some("default") => return Ok(Some(Heuristics::default())),
        _ => {}
    }
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(HEURISTICS_BYTES_MAX + 1).read_to_string(&mut text));
    read.map_err(|error| refused("read", path, &error))?;
    if text.len() as u64 > HEURISTICS_BYTES_MAX {
        return Err(CliError::usage(format!("{} is larger than 1 MiB", shown(path))));
    }
    let rules = Heuristics::parse(&text);
    rules.map(Some).map_err(|error| {
        let text: Vec<String> = error.to_string().lines().map(escape).collect();
        CliError::usage(format!("{}: {}", shown(path), text.join("\n")))
    })
}
