// SPDX-License-Identifier: Apache-2.0
//! What was recorded so far: a part can be recorded anew without the rest.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{How, Label, Run, file, generators};

/// `manifest.json` beside the raw lines.
pub(super) struct Manifest {
    path: PathBuf,
    entries: Vec<Entry>,
}

impl Manifest {
    pub(super) fn read(out: &Path) -> Result<Self> {
        let path = out.join("manifest.json");
        let entries =
            if path.exists() { serde_json::from_str(&fs::read_to_string(&path)?)? } else { Vec::new() };
        Ok(Self { path, entries })
    }

    /// In the place of what an earlier call recorded of the same run.
    pub(super) fn add(&mut self, entry: Entry) -> Result<()> {
        self.entries.retain(|known| known.file != entry.file);
        self.entries.push(entry);
        Ok(fs::write(&self.path, serde_json::to_string_pretty(&self.entries)?)?)
    }

    /// All runs that are committed, in the order of the tables; none unless all were recorded.
    pub(super) fn complete(self) -> Option<Vec<Entry>> {
        let mut known: BTreeMap<_, _> =
            self.entries.into_iter().map(|entry| (entry.file.clone(), entry)).collect();
        let is_kept = |run: &&Run| !matches!(run.how, How::Crowd(..));
        let files = generators()
            .flat_map(|generator| generator.runs.iter().filter(is_kept).map(|run| file(generator, run)));
        files.map(|file| known.remove(&file)).collect()
    }
}

/// What a run left.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) file: String,
    pub(super) tool: String,
    pub(super) tool_version: String,
    pub(super) intensity: String,
    pub(super) label: Label,
    pub(super) lines: u64,
    pub(super) seconds: f64,
    /// Sessions in it: the address, and whose it was.
    pub(super) sessions: Vec<(String, String)>,
}
