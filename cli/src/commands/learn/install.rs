// SPDX-License-Identifier: Apache-2.0
//! Puts what is better into use on a running node.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use sunbeam_ensemble::Detector;
use sunbeam_trainer::learn::Outcome;

use super::{Candidate, Course};
use crate::cli::GlobalArgs;
use crate::client::Client;
use crate::exit::CliError;
use crate::output::escape;
use crate::placed_file::{refused, shown};

/// A node that is there.
pub(super) struct Installer {
    client: Client,
}

/// What it came to.
#[derive(Default)]
pub(super) struct Installed {
    /// Those in use now, and what the node said.
    pub(super) detectors: Vec<(Detector, Value)>,
    /// Why no more are.
    pub(super) failed: Option<CliError>,
}

const HINT: &str =
    "the file stays: `sunbeam model shadow FILE` tries it, `sunbeam model install FILE` puts it into use";
const MODELS: &str = "/api/v1/models";
const PATH: &str = "/api/v1/models/install";

impl Installer {
    /// Finds the node, and asks whether it answers and would take what is trained here.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn new(global: &GlobalArgs) -> Result<Self, CliError> {
        let client = Client::connect(global)?;
        let answer = client.get(MODELS)?;
        if let Some(key) = answer.get("model_public_key").and_then(Value::as_str) {
            let message = format!("the node takes only models that the key of `{}` signed", escape(key));
            return Err(CliError::usage(message).hint(
                "leave out --install: `sunbeam model sign` signs what is learned, `sunbeam model install` puts it into use",
            ));
        }
        Ok(Self { client })
    }

    /// The files of the models that it judges by; none for those that are compiled in.
    ///
    /// # Errors
    /// When the node does not say.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>, CliError> {
        let answer = self.client.get(MODELS)?;
        let models = answer.get("models").and_then(Value::as_array).into_iter().flatten();
        Ok(models.filter_map(|model| model.get("file")?.as_str().map(PathBuf::from)).collect())
    }

    /// Only what is better, one after the other.
    pub(super) fn install(self, course: &Course) -> Installed {
        let mut installed = Installed::default();
        for candidate in course.models.iter().filter(|model| model.outcome == Outcome::Better) {
            match self.one(candidate) {
                Ok(answer) => installed.detectors.push((candidate.detector, answer)),
                Err(error) => {
                    installed.failed = Some(error);
                    break;
                }
            }
        }
        installed
    }

    fn one(&self, candidate: &Candidate) -> Result<Value, CliError> {
        let path = &candidate.file.0;
        // The node's folder is not ours.
        let whole = fs::canonicalize(path).map_err(|error| refused("read", path, &error))?;
        self.client.post_json(PATH, &json!({"path": whole})).map_err(|error| CliError {
            message: format!("{} was not installed: {}", shown(&whole), error.message),
            hint: error.hint.or_else(|| Some(HINT.to_owned())),
            code: error.code,
        })
    }
}
