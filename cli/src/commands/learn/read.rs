// SPDX-License-Identifier: Apache-2.0
//! What is learned from: the site's logs, put in order, labelled and weighed.

use std::path::PathBuf;

use sunbeam_datasets::clean::CleanReport;
use sunbeam_datasets::heuristics::{Heuristics, HeuristicsReport};
use sunbeam_datasets::{Record, in_order};
use sunbeam_trainer::learn::weighed;

use crate::commands::train::{Origin, Pile, origin};
use crate::exit::CliError;
use crate::log_file::{DATA_SET_FORMAT, LogFile, Reading};
use crate::output::note;

/// The site's own.
pub(super) struct Logs {
    pub(super) records: Vec<Record>,
    /// Names, and what reading came to.
    pub(super) files: Vec<(String, Reading)>,
    pub(super) origins: Vec<Origin>,
    pub(super) heuristics: Option<HeuristicsReport>,
    pub(super) clean: CleanReport,
    /// Records that tell no time.
    pub(super) untimed: u64,
}

impl Logs {
    /// Reads them.
    ///
    /// # Errors
    /// When one cannot be read, or they are too large for the memory that learning may take.
    pub(super) fn read(
        inputs: &[PathBuf],
        format: Option<&str>,
        rules: Option<&Heuristics>,
    ) -> Result<Self, CliError> {
        let logs = inputs.iter().map(|path| Ok(LogFile::new(path)?.hashed()));
        let logs: Vec<LogFile> = logs.collect::<Result<_, CliError>>()?;
        let mut pile = Pile::new(logs.iter().map(|log| log.bytes).sum());
        let mut files = Vec::new();
        let mut origins = Vec::new();
        for (log, path) in logs.iter().zip(inputs) {
            if logs.len() > 1 && log.is_empty() {
                note(format_args!("warning: {} is empty", log.name()));
                continue;
            }
            let reading = pile.read(log, format)?;
            origins.push(match reading.report.format {
                DATA_SET_FORMAT => origin(path)?,
                _ => Origin { name: log.name(), sha256: reading.sha256.clone() },
            });
            files.push((log.name(), reading));
        }
        let (mut records, order) = in_order(pile.records);
        let heuristics = rules.map(|rules| rules.label(&mut records));
        let (records, clean) = weighed(records).map_err(|error| CliError::failed(error.to_string()))?;
        Ok(Self { records, files, origins, heuristics, clean, untimed: order.missing })
    }

    /// Whether the log tells what a node reads of a request besides its line: that of a combined log does not.
    pub(super) fn tells_headers(&self) -> bool {
        self.records.iter().any(|record| record.has_own_headers && !record.accept.is_empty())
    }

    /// What may be done where too little is labelled.
    pub(super) fn hint(&self) -> String {
        if self.heuristics.is_some() && self.untimed > 0 {
            return format!(
                "{} of {} records tell no time that can be read (as `timestamp` of the audit log does), and no rule speaks \
                 of those",
                self.untimed, self.clean.records
            );
        }
        let silent = self.records.iter().filter(|record| record.label.is_none()).count();
        match &self.heuristics {
            None => "nothing is labelled by rules: leave `--heuristics none` away".to_owned(),
            Some(_) if silent > 0 => format!(
                "of {} records no rule speaks of {silent}: give more of the log, or rules of the site's own with \
                 `--heuristics FILE`",
                self.records.len()
            ),
            Some(_) => "give more of the log".to_owned(),
        }
    }
}
