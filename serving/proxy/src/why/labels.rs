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

static WRITING: Mutex<()> = Mutex::new(());

/// Keeps a label; one that was there for the same request is replaced. How many there are now.
///
/// # Errors
/// When the file cannot be read or written; it is what it was then.
pub(crate) fn put(state_folder: &Path, kept: &Kept, label: Label) -> Result<usize, StateError> {
    let _turn = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let (place, before) = read(state_folder)?;
    let mut line = kept.whole.clone();
    if let Some(object) = line.as_object_mut() {
        object.remove("why");
        object.insert("label".to_owned(), label.as_str().into());
    }
    let is_other = |line: &&str| !is_about(line, &kept.record.request_id, None);
    let mut lines: Vec<&str> = before.lines().filter(is_other).collect();
    let line = line.to_string();
    lines.push(&line);
    let kept = lines.get(lines.len().saturating_sub(LABELS_MAX)..).unwrap_or_default();
    write_private(&place, format!("{}\n", kept.join("\n")).as_bytes())?;
    Ok(kept.len())
}

/// Forgets what was said of a request, if it was this. Whether it was.
///
/// # Errors
/// When the file cannot be read or written; it is what it was then.
pub(crate) fn take_back(state_folder: &Path, request_id: &str, label: Label) -> Result<bool, StateError> {
    let _turn = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let (place, before) = read(state_folder)?;
    let left: Vec<&str> = before.lines().filter(|line| !is_about(line, request_id, Some(label))).collect();
    if left.len() == before.lines().count() {
        return Ok(false);
    }
    let end = if left.is_empty() { "" } else { "\n" };
    write_private(&place, format!("{}{end}", left.join("\n")).as_bytes())?;
    Ok(true)
}

fn read(state_folder: &Path) -> Result<(PathBuf, String), StateError> {
    let place = place(state_folder);
    match fs::read_to_string(&place) {
        Ok(before) => Ok((place, before)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((place, String::new())),
        Err(source) => Err(StateError::Write { path: place, source }),
    }
}

/// Whether a line is about a request, and says this of it.
fn is_about(line: &str, request_id: &str, label: Option<Label>) -> bool {
    let line = serde_json::from_str::<Value>(line).unwrap_or_default();
    let text = |name: &str| line.get(name).and_then(Value::as_str);
    text("request_id") == Some(request_id) && label.is_none_or(|label| text("label") == Some(label.as_str()))
}
