// SPDX-License-Identifier: Apache-2.0
//! Hands what is better to a running node.

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
    /// Whether it takes what is better at once, or after it has tried it.
    is_forced: bool,
}

/// What it came to.
#[derive(Default)]
pub(super) struct Installed {
    /// Those that the node took, and what it said.
    pub(super) detectors: Vec<(Detector, Taken, Value)>,
    /// Why others were not.
    pub(super) failed: Vec<CliError>,
}

/// How a node took a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is tried beside the one in use, and comes into use if it is no worse.
    OnTrial,
    /// It judges.
    AtOnce,
}

impl Taken {
    const fn page(self) -> &'static str {
        match self {
            Self::OnTrial => "/api/v1/models/shadow",
            Self::AtOnce => "/api/v1/models/install",
        }
    }

    fn request(self, path: &str) -> Value {
        match self {
            Self::OnTrial => json!({"path": path, "promote": true}),
            Self::AtOnce => json!({"path": path, "force": true}),
        }
    }

    /// For people and machines.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::OnTrial => "tried",
            Self::AtOnce => "installed",
        }
    }
}

const HINT: &str = "the file stays: `sunbeam model shadow FILE --promote` hands it over, `sunbeam model install FILE` puts it into use";
const MODELS: &str = "/api/v1/models";

impl Installer {
    /// Finds the node, and asks whether it answers and would take what is trained here.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn new(global: &GlobalArgs, is_forced: bool) -> Result<Self, CliError> {
        let client = Client::connect(global)?;
        let answer = client.get(MODELS)?;
        if let Some(key) = answer.get("model_public_key").and_then(Value::as_str) {
            let message = format!("the node takes only models that the key of `{}` signed", escape(key));
            return Err(CliError::usage(message).hint(
                "leave out --install: `sunbeam model sign` signs what is learned, `sunbeam model install` puts it into use",
            ));
        }
        Ok(Self { client, is_forced })
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

    /// Each that is better, whatever became of the others.
    pub(super) fn install(self, course: &Course) -> Installed {
        let mut installed = Installed::default();
        let taken = if self.is_forced { Taken::AtOnce } else { Taken::OnTrial };
        for candidate in course.models.iter().filter(|model| model.outcome == Outcome::Better) {
            match self.one(candidate, taken) {
                Ok(answer) => installed.detectors.push((candidate.detector, taken, answer)),
                Err(error) => installed.failed.push(error),
            }
        }
        installed
    }

    fn one(&self, candidate: &Candidate, taken: Taken) -> Result<Value, CliError> {
        let path = &candidate.file.0;
        // The node's folder is not ours.
        let whole = fs::canonicalize(path).map_err(|error| refused("read", path, &error))?;
        let Some(told) = whole.to_str() else {
            return Err(CliError::usage(format!("{} is no path that JSON can carry", shown(&whole))));
        };
        self.client.post_json(taken.page(), &taken.request(told)).map_err(|error| CliError {
            message: format!("{} was not taken by the node: {}", shown(&whole), error.message),
            hint: error.hint.or_else(|| Some(HINT.to_owned())),
            code: error.code,
        })
    }
}
