// SPDX-License-Identifier: Apache-2.0
//! The models of a configuration: those that are compiled in, or those of files.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use sunbeam_ensemble::{Detector, FILE_MAX, Model, ModelFile, ModelFileError};
use sunbeam_pipeline::Models;

use crate::config::Config;

/// What is wrong with a model's file, and the key that names it.
#[derive(Debug)]
pub(crate) struct ModelProblem {
    pub(crate) key: &'static str,
    pub(crate) message: String,
}

/// The models that a configuration names.
pub(crate) fn load(config: &Config) -> Result<Models, ModelProblem> {
    let mut models = Models::default();
    if !config.scanner.model.is_empty() {
        let model = named("scanner.model", &config.scanner.model, Detector::Scanner)?;
        if let Model::Scanner(model) = model.model {
            models.scanner = Arc::new(*model);
        }
    }
    if !config.ddos.model.is_empty() {
        let model = named("ddos.model", &config.ddos.model, Detector::Ddos)?;
        if let Model::Ddos(model) = model.model {
            models.ddos = Arc::new(*model);
        }
    }
    Ok(models)
}

fn named(key: &'static str, path: &str, wanted: Detector) -> Result<ModelFile, ModelProblem> {
    read(Path::new(path), wanted)
        .map_err(|error| ModelProblem { key, message: format!("`{path}` cannot be used: {error}") })
}

/// Reads and checks a model's file.
///
/// # Errors
/// When it cannot be read, or is no model of that detector for this program.
pub(crate) fn read(path: &Path, wanted: Detector) -> Result<ModelFile, ReadModelError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(FILE_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    let file = ModelFile::read(&bytes)?;
    let found = file.model.detector();
    if found != wanted {
        return Err(ModelFileError::Detector { found, wanted }.into());
    }
    Ok(file)
}

/// Why a model's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadModelError {
    /// The file system.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// What stands in it.
    #[error(transparent)]
    Model(#[from] ModelFileError),
}
