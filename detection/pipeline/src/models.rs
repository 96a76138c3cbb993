// SPDX-License-Identifier: Apache-2.0
//! The models that judge.

use std::sync::Arc;

use sunbeam_ensemble::{DdosModel, ScannerModel, builtin};

/// One of each detector; those that are compiled in unless a file holds others.
#[derive(Clone, Debug)]
pub struct Models {
    /// Of single requests.
    pub scanner: Arc<ScannerModel>,
    /// Of windows.
    pub ddos: Arc<DdosModel>,
}

impl Default for Models {
    fn default() -> Self {
        Self { scanner: Arc::new(builtin::SCANNER.clone()), ddos: Arc::new(builtin::DDOS.clone()) }
    }
}
