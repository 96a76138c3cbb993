// SPDX-License-Identifier: Apache-2.0
//! How far training is: a bar of its own for each of its steps.

use crate::progress::Progress;

/// See the module.
#[derive(Debug)]
pub(in crate::commands) struct Steps {
    what: &'static str,
    /// The step's name, and its bar.
    current: Option<(String, Progress)>,
}

impl Steps {
    /// Of something that begins now.
    pub(in crate::commands) const fn new(what: &'static str) -> Self {
        Self { what, current: None }
    }

    /// Tells how far a step is; a new name begins a new bar.
    pub(in crate::commands) fn tell(&mut self, step: &str, at: usize, of: usize) {
        let [at, of] = [at, of].map(|count| u64::try_from(count).unwrap_or(u64::MAX));
        let is_new = self.current.as_ref().is_none_or(|(name, _)| name != step);
        if is_new {
            let bar = Progress::of_steps(format!("{}, {step}", self.what), of);
            self.current = Some((step.to_owned(), bar));
        }
        if let Some((_, bar)) = &mut self.current {
            bar.tell(at, at);
        }
    }
}
