// SPDX-License-Identifier: Apache-2.0
//! What people said of requests: a file beside the state, audit lines with one field more, which learning reads as they
//! are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;

use super::kept::Kept;
use crate::state::{StateError, write_private};

/// Requests that are labelled; the oldest labels go.
const LABELS_MAX: usize = 10_000;

/// What a request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Label {
    /// A person's, or what people want.
    Human,
    /// A probe, an exploit, a flood.
    Attack,
}

impl Label {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Attack => "attack",
        }
    }
}

/// Where labels are.
pub(crate) fn place(state_folder: &Path) -> PathBuf {
    state_folder.join("labels.jsonl")
}

/// Keeps a label; one that was there for the same request is replaced. How many there are now.
///
/// # Errors
/// When the file cannot be read or written; it is what it was then.
pub(crate) fn put(state_folder: &Path, kept: &Kept, label: Label) -> Result<usize, StateError> {
    static WRITING: Mutex<()> = Mutex::new(());
    let _turn = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let place = place(state_folder);
    let before = match fs::read_to_string(&place) {
        Ok(before) => before,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(StateError::Write { path: place, source }),
    };
    let mut line = kept.whole.clone();
    if let Some(object) = line.as_object_mut() {
        object.remove("why");
        object.insert("label".to_owned(), label.as_str().into());
    }
    let is_other = |line: &&str| {
        let id = serde_json::from_str::<Value>(line).ok();
        id.as_ref().and_then(|line| line.get("request_id")?.as_str()) != Some(&kept.record.request_id)
    };
    let mut lines: Vec<&str> = before.lines().filter(is_other).collect();
    let line = line.to_string();
    lines.push(&line);
    let kept = lines.get(lines.len().saturating_sub(LABELS_MAX)..).unwrap_or_default();
    write_private(&place, format!("{}\n", kept.join("\n")).as_bytes())?;
    Ok(kept.len())
}
