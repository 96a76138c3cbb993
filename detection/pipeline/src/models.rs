// SPDX-License-Identifier: Apache-2.0
//! The models that judge.

use std::sync::Arc;

use sunbeam_ensemble::{DdosModel, ScannerModel, builtin};

use crate::sight::{Challenger, SAMPLE_EVERY, Sight};

/// One of each detector; those that are compiled in unless a file holds others.
#[derive(Clone, Debug)]
pub struct Models {
    /// Of single requests.
    pub scanner: Arc<ScannerModel>,
    /// Of windows.
    pub ddos: Arc<DdosModel>,
    /// What both see is counted for one request in so many; for each where nobody waits for an answer.
    pub sight_every: u8,
    /// What the scanner's model sees.
    pub scanner_sight: Arc<Sight>,
    /// What the model of windows sees.
    pub ddos_sight: Arc<Sight>,
    /// Asked beside the scanner's model; it never acts.
    pub scanner_challenger: Option<Arc<Challenger<ScannerModel>>>,
    /// Asked beside the model of windows; it never acts.
    pub ddos_challenger: Option<Arc<Challenger<DdosModel>>>,
}

impl Default for Models {
    fn default() -> Self {
        Self {
            scanner: Arc::new(builtin::SCANNER.clone()),
            ddos: Arc::new(builtin::DDOS.clone()),
            sight_every: SAMPLE_EVERY,
            scanner_sight: Arc::default(),
            ddos_sight: Arc::default(),
            scanner_challenger: None,
            ddos_challenger: None,
        }
    }
}
