// SPDX-License-Identifier: Apache-2.0
//! What was put beside the configuration over the API: models, rules, what layers do, exceptions. All of it outlives
//! configurations.

use std::path::Path;

use super::added_rules::{AddedRulesError, RulesAdded};
use super::models::{InstalledModelError, Shelf};
use super::switches::{Switches, SwitchesError};
use crate::exceptions::ExceptionsAdded;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Additions {
    /// Models beside those that the configuration names.
    pub(crate) shelf: Shelf,
    /// Rules behind those that the configuration names.
    pub(crate) rules: RulesAdded,
    /// Modes of layers in place of those that the configuration names.
    pub(crate) switches: Switches,
    /// What is not held against requests; the state has them, and they are put here once it is open.
    pub(crate) exceptions: ExceptionsAdded,
}

/// Why what was put there before a restart cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AdditionError {
    /// A model.
    #[error(transparent)]
    Model(#[from] InstalledModelError),
    /// Rules.
    #[error(transparent)]
    Rules(#[from] AddedRulesError),
    /// Modes of layers.
    #[error(transparent)]
    Switches(#[from] SwitchesError),
}

impl Additions {
    /// What lies in the folder of the state.
    pub(crate) fn open(state_folder: &Path) -> Result<Self, AdditionError> {
        Ok(Self {
            shelf: Shelf::open(state_folder)?,
            rules: RulesAdded::open(state_folder)?,
            switches: Switches::open(state_folder)?,
            exceptions: ExceptionsAdded::default(),
        })
    }
}
