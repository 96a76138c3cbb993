// SPDX-License-Identifier: Apache-2.0
//! Models beside those of the configuration: installed ones, and those that wait to be, which lie next to the state and
//! live through restarts; and those that are only tried, which do not.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sunbeam_ensemble::Detector;
use tracing::warn;

use super::{Chosen, DETECTORS, Origin, PerDetector, read_of};
use crate::state::{StateError, write_private};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) installed: PerDetector<Option<Arc<Chosen>>>,
    /// Scored beside the models in use, never acting.
    pub(crate) challengers: PerDetector<Option<Arc<Chosen>>>,
}

/// Why a node does not start: judging by another model than the one that was installed would be a surprise.
#[derive(Debug, thiserror::Error)]
#[error(
    "the installed model `{}` cannot be used: {reason}; put a good copy there, or delete it to judge by the model that is compiled in",
    path.display()
)]
pub struct InstalledModelError {
    path: PathBuf,
    reason: String,
}

impl Shelf {
    /// What is installed in the folder of the state, and what waits there. Of the latter, what cannot be used any more
    /// goes: it judged nothing.
    pub(crate) fn open(state_folder: &Path) -> Result<Self, InstalledModelError> {
        let mut shelf = Self::default();
        for detector in DETECTORS {
            *shelf.installed.of_mut(detector) =
                installed(place(state_folder, detector), detector)?.map(Arc::new);
            let waiting = waiting(&waiting_place(state_folder, detector), detector).map(Arc::new);
            *shelf.challengers.of_mut(detector) = waiting.filter(|waiting| !shelf.has_installed(waiting));
        }
        Ok(shelf)
    }

    /// Puts a model in the place of the one that is installed; whether there was one. What was tried to get there has
    /// nothing to be compared with any more.
    pub(crate) fn install(&mut self, chosen: &Arc<Chosen>) -> bool {
        let detector = chosen.detector();
        let challenger = self.challengers.of_mut(detector);
        *challenger = challenger.take().filter(|tried| tried.hash != chosen.hash);
        self.installed.of_mut(detector).replace(Arc::clone(chosen)).is_some()
    }

    fn has_installed(&self, chosen: &Chosen) -> bool {
        self.installed.of(chosen.detector()).as_ref().is_some_and(|installed| installed.hash == chosen.hash)
    }
}

fn installed(path: PathBuf, detector: Detector) -> Result<Option<Chosen>, InstalledModelError> {
    let is_missing = fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    if is_missing {
        return Ok(None);
    }
    let read = read_of(&path, detector, Origin::Installed);
    read.map(Some).map_err(|error| InstalledModelError { path, reason: error.to_string() })
}

fn waiting(path: &Path, detector: Detector) -> Option<Chosen> {
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return None;
    }
    match read_of(path, detector, Origin::Waiting) {
        Ok(chosen) => Some(chosen),
        Err(error) => {
            let detector = detector.as_str();
            warn!(detector, path = %path.display(), %error, "a model that waited to come into use is forgotten");
            drop(remove(path));
            None
        }
    }
}

/// Where a model of a detector lies that comes into use once it is known to be no worse.
pub(crate) fn waiting_place(state_folder: &Path, detector: Detector) -> PathBuf {
    state_folder.join("models").join(format!("{detector}.waiting.model"))
}

/// Where the installed model of a detector lies.
pub(crate) fn place(state_folder: &Path, detector: Detector) -> PathBuf {
    state_folder.join("models").join(format!("{detector}.model"))
}

/// Puts a model there that was checked: whole, or not at all. Only the node's user may write there.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    use std::os::unix::fs::DirBuilderExt as _;
    if let Some(folder) = path.parent() {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| StateError::Write { path: folder.to_owned(), source })?;
    }
    write_private(path, bytes)
}

/// Takes it away again; it may be gone already.
pub(crate) fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StateError::Write { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
