// SPDX-License-Identifier: Apache-2.0
//! The models of a node: a file that the configuration names, else one that was installed, else what is compiled in.

mod drift;
mod in_use;
mod promotion;
mod shelf;
mod signature;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use sunbeam_ensemble::{
    Card, DdosModel, Detector, FILE_MAX, HASH_LENGTH, Model, ModelFile, ModelFileError, Reference,
    SIGNATURE_LENGTH, ScannerModel, builtin,
};

use crate::config::Config;

pub(crate) use drift::DriftWatch;
pub(crate) use in_use::ModelsInUse;
pub(crate) use promotion::{COMPARED_MIN, NotTaken, doubt_blocks, may_replace, may_replace_any, worse};
pub use shelf::InstalledModelError;
pub(crate) use shelf::{Shelf, place, put, remove, waiting_place};
pub(crate) use signature::Signers;
pub use signature::{ModelKeyError, ModelPublicKey, ModelSignatureError};

/// Both, in order.
pub(crate) const DETECTORS: [Detector; 2] = [Detector::Scanner, Detector::Ddos];

/// One for each detector.
#[derive(Clone, Debug, Default)]
pub(crate) struct PerDetector<T> {
    pub(crate) scanner: T,
    pub(crate) ddos: T,
}

impl<T> PerDetector<T> {
    pub(crate) const fn of(&self, detector: Detector) -> &T {
        match detector {
            Detector::Scanner => &self.scanner,
            Detector::Ddos => &self.ddos,
        }
    }

    pub(crate) const fn of_mut(&mut self, detector: Detector) -> &mut T {
        match detector {
            Detector::Scanner => &mut self.scanner,
            Detector::Ddos => &mut self.ddos,
        }
    }
}

/// Where a model comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The program.
    CompiledIn,
    /// A file beside the state, put there over the API.
    Installed,
    /// A file that the configuration names.
    Configured,
    /// A file that is only tried.
    Tried,
    /// Tried, and taken by the node itself once it is known to be no worse: a copy beside the state.
    Waiting,
    /// Was waiting, and turned out worse: it is only tried.
    Declined,
}

impl Origin {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::CompiledIn => "compiled in",
            Self::Installed => "installed",
            Self::Configured => "configured",
            Self::Tried | Self::Waiting | Self::Declined => "tried",
        }
    }

    /// Whether the node takes it by itself, of one that is tried.
    pub(crate) const fn promotion(self) -> Option<&'static str> {
        match self {
            Self::Waiting => Some("waiting"),
            Self::Declined => Some("declined"),
            Self::CompiledIn | Self::Installed | Self::Configured | Self::Tried => None,
        }
    }
}

/// A model, and what is told of it.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) origin: Origin,
    /// Its file; nothing of what is compiled in.
    pub(crate) path: Option<PathBuf>,
    pub(crate) card: Card,
    /// Of its file, or of the file that it would be.
    pub(crate) hash: [u8; HASH_LENGTH],
    /// Of the hash; whose, only [`Signers`] know.
    pub(crate) signature: Option<[u8; SIGNATURE_LENGTH]>,
    pub(crate) model: AnyModel,
}

/// A model of either detector, ready to judge.
#[derive(Clone, Debug)]
pub(crate) enum AnyModel {
    Scanner(Arc<ScannerModel>),
    Ddos(Arc<DdosModel>),
}

impl Chosen {
    fn new(origin: Origin, path: Option<PathBuf>, file: ModelFile) -> Self {
        let model = match file.model {
            Model::Scanner(model) => AnyModel::Scanner(Arc::from(model)),
            Model::Ddos(model) => AnyModel::Ddos(Arc::from(model)),
        };
        Self { origin, path, card: file.card, hash: file.hash, signature: file.signature, model }
    }

    /// What is compiled in. Its hash is worked out once: it is that of the file that `sunbeam model export` writes.
    pub(crate) fn compiled_in(detector: Detector) -> Arc<Self> {
        static MADE: PerDetector<OnceLock<Arc<Chosen>>> =
            PerDetector { scanner: OnceLock::new(), ddos: OnceLock::new() };
        Arc::clone(MADE.of(detector).get_or_init(|| Arc::new(made(detector))))
    }

    pub(crate) const fn detector(&self) -> Detector {
        match self.model {
            AnyModel::Scanner(_) => Detector::Scanner,
            AnyModel::Ddos(_) => Detector::Ddos,
        }
    }

    /// What it was trained on.
    pub(crate) fn reference(&self) -> &Reference {
        match &self.model {
            AnyModel::Scanner(model) => &model.reference,
            AnyModel::Ddos(model) => &model.reference,
        }
    }

    /// A word of the card, cut to what fits a label.
    pub(crate) fn told(&self, name: &str) -> String {
        const CHARACTERS_MAX: usize = 64;
        self.card.get(name).chars().take(CHARACTERS_MAX).collect()
    }

    /// Names it: the first 16 digits of its hash.
    pub(crate) fn fingerprint(&self) -> String {
        hex(self.hash.get(..8).unwrap_or_default())
    }

    pub(crate) fn hash_text(&self) -> String {
        hex(&self.hash)
    }
}

fn made(detector: Detector) -> Chosen {
    let (model, card) = match detector {
        Detector::Scanner => (Model::Scanner(Box::new(builtin::SCANNER.clone())), builtin::SCANNER_CARD),
        Detector::Ddos => (Model::Ddos(Box::new(builtin::DDOS.clone())), builtin::DDOS_CARD),
    };
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let bytes = ModelFile::bytes(&model, &Card(card.iter().map(pair).collect()));
    let file = ModelFile::read(&bytes).expect("what this program writes of its own models it can read");
    Chosen::new(Origin::CompiledIn, None, file)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// What is wrong with a model's file, and the key that names it.
#[derive(Debug)]
pub(crate) struct ModelProblem {
    pub(crate) key: &'static str,
    pub(crate) message: String,
}

/// The key of the configuration that names a detector's model.
pub(crate) const fn key(detector: Detector) -> &'static str {
    match detector {
        Detector::Scanner => "scanner.model",
        Detector::Ddos => "ddos.model",
    }
}

/// The file that the configuration names; empty: none.
pub(crate) fn configured(config: &Config, detector: Detector) -> &str {
    match detector {
        Detector::Scanner => &config.scanner.model,
        Detector::Ddos => &config.ddos.model,
    }
}

/// Whether the files that a configuration names can be used.
pub(crate) fn check(config: &Config) -> Result<(), ModelProblem> {
    let signers = Signers::of(config)?;
    DETECTORS.into_iter().try_for_each(|detector| named(config, &signers, detector).map(drop))
}

/// The model of the file that a configuration names, if it names one.
fn named(config: &Config, signers: &Signers, detector: Detector) -> Result<Option<Chosen>, ModelProblem> {
    let path = configured(config, detector);
    if path.is_empty() {
        return Ok(None);
    }
    let problem =
        |error| ModelProblem { key: key(detector), message: format!("`{path}` cannot be used: {error}") };
    let read = read_of(Path::new(path), detector, Origin::Configured);
    let chosen = read.map_err(|error| problem(error.to_string()))?;
    signers.accept(&chosen).map_err(problem)?;
    Ok(Some(chosen))
}

/// Reads and checks a file that must be a model of this detector.
///
/// # Errors
/// When it cannot be read, or is no such model for this program.
fn read_of(path: &Path, wanted: Detector, origin: Origin) -> Result<Chosen, ReadModelError> {
    let (chosen, _) = read(path, origin)?;
    let found = chosen.detector();
    if found != wanted {
        return Err(ModelFileError::Detector { found, wanted }.into());
    }
    Ok(chosen)
}

/// Reads and checks a model's file; with its bytes as they were checked.
///
/// # Errors
/// When it cannot be read, or is no model for this program.
pub(crate) fn read(path: &Path, origin: Origin) -> Result<(Chosen, Vec<u8>), ReadModelError> {
    // A pipe would keep its reader waiting.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file").into());
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(FILE_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    let file = ModelFile::read(&bytes)?;
    Ok((Chosen::new(origin, Some(path.to_owned()), file), bytes))
}

/// Why a model's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadModelError {
    /// The file system.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What stands in it.
    #[error(transparent)]
    Model(#[from] ModelFileError),
}
