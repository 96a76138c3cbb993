// SPDX-License-Identifier: Apache-2.0
//! People, over restarts: the key of all hashes (or nobody would be known again), and who was seen.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sunbeam_pipeline::{DOUBTERS, Decision, KeptPerson};
use sunbeam_tables::HashKey;
use sunbeam_traffic::Layer;
use tracing::warn;

use super::housekeeping::keep_people;
use super::models::put;
use crate::core::Core;
use crate::shared::Shared;
use crate::state::StateError;
use crate::why::kept::Kept;
use crate::why::labels::Label;

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    /// Unix seconds.
    at: i64,
    people: Vec<KeptPerson>,
}

/// The key of a node's hashes: made at its first start, read by its owner alone.
pub(crate) fn key(state_folder: &Path) -> Result<HashKey, StateError> {
    let path = state_folder.join("judging.key");
    match fs::read(&path) {
        // Whoever knows it could choose where in a table he falls, and no more: what is damaged is made anew.
        Ok(bytes) => match <[u8; 32]>::try_from(bytes.as_slice()) {
            Ok(bytes) => return Ok(HashKey::from_bytes(&bytes)),
            Err(_) => warn!(path = %path.display(), "the key of hashes is damaged: people are counted anew"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(StateError::Write { path, source }),
    }
    let key = HashKey::random();
    put(&path, &key.to_bytes())?;
    Ok(key)
}

/// Remembers who was seen before. What cannot be read is said: layers are proven anew.
pub(crate) fn restore(shared: &Shared, state_folder: &Path) {
    let path = place(state_folder);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return warn!(path = %path.display(), %error, "layers are proven anew"),
    };
    let Written { at, people } = match serde_json::from_str(&text) {
        Ok(written) => written,
        Err(error) => return warn!(path = %path.display(), %error, "layers are proven anew"),
    };
    let passed = u64::try_from(Timestamp::now().as_second().saturating_sub(at)).unwrap_or(0);
    let people: Vec<KeptPerson> = people.into_iter().map(|person| person.older(passed)).collect();
    shared.memory.proof.restore(&people, shared.now());
}

/// An operator says what a request was: whoever sent it counts as a person from now on, whom the layer hurt that stopped it
/// or would have; or no more. What is to be said of that.
pub(crate) fn label(core: &Core, kept: &Kept, label: Label) -> String {
    let Some(whom) = &kept.whom else {
        return "it is not known whose it was: it does not count for or against a layer".to_owned();
    };
    let proof = &core.shared.memory.proof;
    let told = match (label, doubter(kept)) {
        (Label::Human, Some(layer)) => {
            proof.say_human(whom, Some(layer), core.shared.now());
            format!("who sent it counts as a person whom `{layer}` hurt")
        }
        (Label::Human, None) => {
            proof.say_human(whom, None, core.shared.now());
            "who sent it counts as a person".to_owned()
        }
        (Label::Attack, _) => {
            proof.say_attacker(whom);
            "who sent it counts as a person no more, unless the site knows them".to_owned()
        }
    };
    keep_people(core);
    told
}

/// The layer that stopped it, or would have, of those whose doubts people prove or disprove.
fn doubter(kept: &Kept) -> Option<Layer> {
    let is_pass = kept.record.decision == Decision::Passed.as_str();
    DOUBTERS.into_iter().find(|layer| !is_pass && layer.as_str() == kept.record.layer)
}

/// Writes down who was seen.
pub(crate) fn keep(shared: &Shared, state_folder: &Path) -> Result<(), StateError> {
    let people = shared.memory.proof.people(shared.now());
    if people.is_empty() && !place(state_folder).exists() {
        return Ok(());
    }
    let written = Written { at: Timestamp::now().as_second(), people };
    let bytes = serde_json::to_vec(&written).map_err(|error| StateError::Database(error.to_string()))?;
    put(&place(state_folder), &bytes)
}

fn place(state_folder: &Path) -> PathBuf {
    state_folder.join("people.json")
}
