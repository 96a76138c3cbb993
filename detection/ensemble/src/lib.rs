// SPDX-License-Identifier: Apache-2.0
//! Models as constant arrays of integers: the same bits on every processor, no NaN, bounds that can be proved.
//! Vector instructions where there are any; the plain form beside them is what tests hold them to.

mod application;
mod bound;
#[cfg(feature = "builtin")]
pub mod builtin;
mod cascade;
mod drift;
mod file;
mod forest;
mod grams;
mod kernels;
mod mlp;
mod models;
mod paths;
mod payload;
mod reference;
mod schema;
mod stored;
mod tree;

pub use application::{ApplicationModel, HOSTS_MAX, TOKENS, token_place};
pub use bound::{CONFIDENCE, Calibration, LOGIT_BINS, NoSuggestion, Suggestion, logit_bin, upper_bound};
pub use cascade::{Cascade, EnsemblePath, Said};
pub use drift::{DRIFT_ROWS_MIN, Drift, Histograms, feature_names, stability_index};
pub use file::{Card, Detector, FILE_MAX, HASH_LENGTH, Model, ModelFile, ModelFileError, SIGNATURE_LENGTH};
pub use forest::{COLUMNS, DEPTH as FOREST_DEPTH, Forest, Level};
pub use grams::{GramSums, Grams, gram_places};
pub use mlp::{GROUPS, HIDDEN, INPUT_MAX, INPUTS, LANES, Mlp};
pub use models::{BYTES_MAX, DdosModel, ScannerModel, ddos_inputs, probability, threshold_logit};
pub use paths::{PATH_GRAMS, PathModel};
pub use payload::{GRAMS, PayloadModel, Reading, SITE_TREES, TREES};
pub use reference::{BINS, Reference, input_bin, score_bin, score_bin_edges};
pub use schema::fingerprint;
pub use stored::Stored;
pub use tree::{DEPTH as TREE_DEPTH, Outcome, Tree};
