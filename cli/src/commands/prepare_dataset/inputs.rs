// SPDX-License-Identifier: Apache-2.0
//! Which files a data set is made of, and what is known of each beforehand.

use std::fs;
use std::path::{Path, PathBuf};

use sunbeam_datasets::sources::{GivenLabel, GroupBy, ReadOptions};
use sunbeam_datasets::{Label, LabelSource};

use super::PrepareDataset;
use crate::exit::CliError;
use crate::log_file::LogFile;
use crate::placed_file::{refused, shown};

/// A file, and how it is read.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) file: LogFile,
    pub(super) options: ReadOptions,
}

/// Word lists of one folder: more are a mistake, as `/` would be.
const WORDLISTS_MAX: usize = 1000;

/// All of them, in the order of the command line.
pub(super) fn all(command: &PrepareDataset) -> Result<Vec<Input>, CliError> {
    let given = |label| GivenLabel { label, source: LabelSource::Corpus };
    let own = ReadOptions {
        format: command.format.clone(),
        label: command.label.map(given),
        ..ReadOptions::default()
    };
    let mut inputs = Vec::new();
    for path in &command.input {
        inputs.push(Input { file: LogFile::new(path)?, options: own.clone() });
    }
    for path in csic_files(&command.inject_csic)? {
        let label = csic_label(&path).ok_or_else(|| {
            CliError::usage(format!("{} does not say whether it is normal or anomalous", shown(&path)))
                .hint("give the files names with `norm` and `anomal` in them, as they are published")
        })?;
        let class = if label == Label::Benign { "normal" } else { "anomalous" };
        let options = ReadOptions {
            format: Some("csic".to_owned()),
            source: Some(format!("csic_{class}")),
            label: Some(given(label)),
            class: Some(class.to_owned()),
            group_by: GroupBy::Target,
        };
        inputs.push(Input { file: LogFile::new(&path)?, options });
    }
    for path in &command.inject_modsec {
        inputs.push(Input { file: LogFile::new(path)?, options: of_format("modsecurity") });
    }
    for path in
        command.wordlists.iter().map(|folder| wordlists(folder)).collect::<Result<Vec<_>, _>>()?.concat()
    {
        inputs.push(Input { file: LogFile::new(&path)?, options: of_format("wordlist") });
    }
    let inputs = inputs.into_iter().map(|input| Input { file: input.file.hashed(), ..input });
    Ok(inputs.collect())
}

fn of_format(format: &str) -> ReadOptions {
    ReadOptions { format: Some(format.to_owned()), ..ReadOptions::default() }
}

/// The files, those of folders included: in a folder, those whose names say what they are.
fn csic_files(named: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut found: Vec<PathBuf> = files_of(path)?;
        found.retain(|path| csic_label(path).is_some());
        if found.is_empty() {
            return Err(CliError::usage(format!("{} holds no file of HTTP CSIC 2010", shown(path))));
        }
        files.extend(found);
    }
    Ok(files)
}

/// `raw_anomalous.txt.zst`, `normalTrafficTraining.txt`, `norm_test.txt`
fn csic_label(path: &Path) -> Option<Label> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    match (name.contains("anomal"), name.contains("norm")) {
        (true, _) => Some(Label::Attack),
        (false, true) => Some(Label::Benign),
        (false, false) => None,
    }
}

fn wordlists(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let files = files_of(folder)?;
    match files.len() {
        0 => Err(CliError::usage(format!("{} holds no word list", shown(folder)))),
        1..=WORDLISTS_MAX => Ok(files),
        _ => Err(CliError::usage(format!("{} holds more than {WORDLISTS_MAX} files", shown(folder)))),
    }
}

/// Files of a folder by name; hidden ones, and those of folders in it, are left out.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let failed = |error| refused("read", folder, &error);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)?.take(WORDLISTS_MAX * 2) {
        let path = entry.map_err(failed)?.path();
        let is_hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if !is_hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_files_of_csic_are() {
        for (name, want) in [
            ("raw_normal.txt.zst", Some(Label::Benign)),
            ("normalTrafficTest.txt", Some(Label::Benign)),
            ("norm_test.txt", Some(Label::Benign)),
            ("anomalousTrafficTest.txt", Some(Label::Attack)),
            ("raw_anomalous_not_normal.txt", Some(Label::Attack)),
            ("readme.txt", None),
        ] {
            assert_eq!(csic_label(Path::new(name)), want, "{name}");
        }
    }
}
