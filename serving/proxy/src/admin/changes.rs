// SPDX-License-Identifier: Apache-2.0
//! `/api/v1/changes`: those that are taken back unless somebody confirms them.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::exceptions;
use super::lists::Refused;
use crate::core::Core;
use crate::state::StateError;
use crate::unconfirmed::{Undo, WITHIN_MAX_SECS, WaitError, Waiting};

/// What a change of the configuration is confirmed by: there is one at a time.
const CONFIGURATION: &str = "configuration";

/// How long a change waits to be confirmed; `None`: it needs no word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Within(Option<Duration>);

impl Within {
    /// Of a change that is made: one that is only tried waits for nothing.
    pub(super) fn of(secs: Option<u64>, dry_run: bool) -> Result<Self, Refused> {
        match secs {
            Some(secs) if !(1..=WITHIN_MAX_SECS).contains(&secs) => {
                Err(Refused::Wrong(format!("`confirm_within_secs` must be between 1 and {WITHIN_MAX_SECS}")))
            }
            Some(secs) if !dry_run => Ok(Self(Some(Duration::from_secs(secs)))),
            _ => Ok(Self(None)),
        }
    }

    /// Refuses a second one that would wait for the same thing, before anything else is looked at.
    pub(super) fn check(self, core: &Core, subject: &str) -> Result<(), Refused> {
        match core.unconfirmed.about(subject).filter(|_| self.0.is_some()) {
            Some(id) => Err(WaitError::Another(id).into()),
            None => Ok(()),
        }
    }

    /// Writes a change down before it is made, if it is to wait; else another that waits for the same thing is over, for
    /// this one is what somebody wants.
    pub(super) fn write(self, core: &Core, what: &str, undo: Undo) -> Result<Option<Waiting>, WaitError> {
        let (all, folder) = (&core.unconfirmed, core.state.folder());
        let Some(within) = self.0 else {
            if all.supersede(folder, &undo.subject())?.is_some() {
                core.shared.metrics.changes_confirmed("superseded").inc();
            }
            return Ok(None);
        };
        let added = all.add(folder, (what.to_owned(), undo), within, Timestamp::now().as_second());
        if let Err(WaitError::Full) = &added {
            core.shared.metrics.changes_confirmed("refused").inc();
        }
        added.map(Some)
    }
}

/// What was written down is not made after all.
pub(super) fn not_made(core: &Core, waiting: Option<&Waiting>) {
    let Some(waiting) = waiting else { return };
    if let Err(error) = core.unconfirmed.forget(core.state.folder(), &waiting.id) {
        // To take back what was never made changes nothing.
        tracing::warn!(%error, "a change that was not made is still written down as waiting");
    }
}

/// Adds to an answer how the change is confirmed.
pub(super) fn tell(answer: &mut Value, waiting: Option<&Waiting>) {
    if let (Some(answer), Some(waiting)) = (answer.as_object_mut(), waiting) {
        answer.insert("waits".to_owned(), waiting.told());
    }
}

impl From<WaitError> for Refused {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Another(_) | WaitError::Full => Self::Conflict(error.to_string()),
            WaitError::Kept(_) => Self::Failed(error.to_string()),
        }
    }
}

impl From<WaitError> for StateError {
    /// Inside of what writes a change; that another waits was looked at before.
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Kept(error) => error,
            other => Self::Database(other.to_string()),
        }
    }
}

/// Those that wait.
pub(super) fn all(core: &Core) -> Value {
    let mut all = core.unconfirmed.told();
    if let Some(until) = core.unconfirmed_configuration() {
        all.push(json!({
            "id": CONFIGURATION,
            "what": "the configuration",
            "made": null,
            "taken_back_at": format!("{until:.0}"),
            "confirm": format!("sunbeam confirm {CONFIGURATION}"),
        }));
    }
    json!({"total": all.len(), "changes": all})
}

/// One of them stays.
pub(super) fn confirm(core: &Core, id: &str) -> Result<Value, Refused> {
    let missing = || {
        Refused::Missing(format!(
            "no change `{}` waits to be confirmed: it was confirmed, taken back, or changed again since",
            id.escape_debug()
        ))
    };
    let (what, more) = if id == CONFIGURATION {
        if !core.confirm() {
            return Err(missing());
        }
        ("the configuration".to_owned(), String::new())
    } else {
        let confirmed = core.unconfirmed.forget(core.state.folder(), id);
        let confirmed = confirmed.map_err(|error| Refused::Failed(format!("it still waits: {error}")))?;
        let confirmed = confirmed.ok_or_else(missing)?;
        core.shared.metrics.changes_confirmed("confirmed").inc();
        let more = exceptions::confirmed(core, confirmed.undo());
        (confirmed.what, more)
    };
    tracing::info!(id, what, "a change is confirmed by an operator");
    Ok(json!({"success": true, "message": format!("the change stays: {what}{more}")}))
}
