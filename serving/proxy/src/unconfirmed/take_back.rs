// SPDX-License-Identifier: Apache-2.0
//! Takes changes back, once a second and at the start.

use jiff::Timestamp;
use serde_json::json;
use sunbeam_config::Cidr;
use sunbeam_pipeline::EXCEPTIONS_MAX;
use sunbeam_reputation::{List, Origin};
use tracing::{error, warn};

use super::{Undo, Waiting};
use crate::core::{Core, ReloadError};
use crate::exceptions::{KeptException, Known, id_text};
use crate::judging::switches::{layer_of, mode_of};
use crate::judging::{Additions, KeptEntry};
use crate::snapshot::Snapshot;
use crate::state::StateError;

/// Why one is not taken back yet.
#[derive(Debug, thiserror::Error)]
enum TakeBackError {
    #[error(transparent)]
    Change(#[from] ReloadError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("what takes it back cannot be read: it is of another version")]
    Unknown,
}

/// Whether the change was still there.
type TakenBack = Result<bool, TakeBackError>;

/// Puts back what waits, and takes back what ran out while the node was down; before anything is served.
pub(crate) fn restore(core: &Core) -> Result<(), StateError> {
    core.unconfirmed.restore(core.state.folder(), Timestamp::now().as_second())?;
    core.take_back_unconfirmed();
    Ok(())
}

impl Core {
    /// Takes back what nobody confirmed in time. What cannot be is tried again, and said.
    pub(crate) fn take_back_unconfirmed(&self) {
        let waiting = i64::try_from(self.unconfirmed.len()).unwrap_or(i64::MAX);
        self.shared.metrics.unconfirmed_changes().set(waiting);
        if waiting == 0 || self.state.is_lent() {
            return;
        }
        for one in self.unconfirmed.due() {
            let result = self.take_back(&one);
            let (counted, said) = match &result {
                Ok(true) => ("taken_back", format!("taken back, for nobody confirmed it: {}", one.what)),
                Ok(false) => {
                    ("superseded", format!("it was changed again since, and stays so: {}", one.what))
                }
                Err(error) => (
                    "failed",
                    format!("it could not be taken back ({error}), and is tried again: {}", one.what),
                ),
            };
            self.shared.metrics.changes_confirmed(counted).inc();
            match &result {
                Err(error) => {
                    error!(id = one.id, what = one.what, %error, "an unconfirmed change could not be taken back")
                }
                Ok(_) => warn!(id = one.id, said, "a change was not confirmed in time"),
            }
            self.trail(&json!({
                "who": "node",
                "from": "",
                "what": format!("unconfirmed change {}", one.id),
                "status": if result.is_ok() { 200 } else { 500 },
                "said": said,
            }));
            if let Err(error) = self.unconfirmed.ended(self.state.folder(), &one.id, result.is_ok()) {
                // Taken back once more, it is what it is.
                error!(%error, "what was taken back is still written down as waiting");
            }
        }
    }

    fn take_back(&self, waiting: &Waiting) -> TakenBack {
        match &waiting.undo {
            Undo::Layer { layer, route, made, before } => {
                self.take_back_layer((layer, route.as_deref()), made.as_deref(), before.as_deref())
            }
            Undo::Allowed { id, expires, before } => self.take_back_allowed(*id, *expires, *before),
            Undo::Removed { exception } => self.take_back_removed(exception),
            Undo::Blocked { network, since, before } => {
                self.take_back_block(network, *since, before.as_deref())
            }
        }
    }

    fn take_back_layer(
        &self,
        (layer, route): (&str, Option<&str>),
        made: Option<&str>,
        before: Option<&str>,
    ) -> TakenBack {
        let layer = layer_of(layer).ok_or(TakeBackError::Unknown)?;
        let mode =
            |word: Option<&str>| word.map(|word| mode_of(word).ok_or(TakeBackError::Unknown)).transpose();
        let (made, before) = (mode(made)?, mode(before)?);
        let switches = self.shared.judging().additions.switches;
        if switches.get(layer, route) != made {
            return Ok(false);
        }
        let wanted = switches.with(layer, route, before);
        let change = |_: &Snapshot, additions: &mut Additions| -> Result<(), ReloadError> {
            additions.switches = wanted.clone();
            Ok(())
        };
        self.change_additions(false, change, || wanted.keep(self.state.folder()))?;
        Ok(true)
    }

    fn take_back_allowed(&self, id: u64, expires: i64, before: Option<i64>) -> TakenBack {
        let snapshot = self.shared.snapshot();
        let Some(known) = snapshot.exceptions.added().find(id).filter(|known| known.expires() == expires)
        else {
            return Ok(false);
        };
        if let Some(before) = before {
            self.state.keep_exceptions(&[KeptException { expires: before, ..known.kept() }])?;
            known.end_at(before);
            return Ok(true);
        }
        let change = |_: &Snapshot, additions: &mut Additions| -> Result<(), ReloadError> {
            additions.exceptions = additions.exceptions.without(&[id]);
            Ok(())
        };
        self.change_additions(false, change, || self.state.forget_exceptions(&[id]))?;
        Ok(true)
    }

    fn take_back_removed(&self, exception: &KeptException) -> TakenBack {
        let is_over = exception.expires <= Timestamp::now().as_second();
        let added = self.shared.judging().additions.exceptions;
        let is_full = added.iter().len() >= EXCEPTIONS_MAX;
        if is_full {
            warn!(
                id = id_text(exception.id),
                "there are too many exceptions: the removed one does not come back"
            );
        }
        if is_full || is_over || added.find(exception.id).is_some() {
            return Ok(false);
        }
        let change = |_: &Snapshot, additions: &mut Additions| -> Result<(), ReloadError> {
            let known = std::sync::Arc::new(Known::new(exception.clone()));
            additions.exceptions = additions.exceptions.with(known);
            Ok(())
        };
        self.change_additions(false, change, || self.state.keep_exceptions(std::slice::from_ref(exception)))?;
        Ok(true)
    }

    fn take_back_block(&self, network: &str, since: i64, before: Option<&KeptEntry>) -> TakenBack {
        let Cidr(network) = network.parse().map_err(|_| TakeBackError::Unknown)?;
        let lists = &self.shared.memory.lists;
        let _listing = self.listing();
        let made = lists.all().into_iter().find(|entry| {
            let is_operators = (entry.list, entry.origin) == (List::Block, Origin::Operator);
            is_operators && entry.network == network && entry.since == since
        });
        let Some(made) = made else { return Ok(false) };
        let (moment, now) = (self.shared.now(), Timestamp::now().as_second());
        let before = before.and_then(|kept| Some((kept, kept.entry(moment, now)?)));
        match &before {
            // It has the same number: it is written over what was made.
            Some((kept, _)) => self.state.keep_entry(kept)?,
            None => self.state.forget_entries(&[made.id])?,
        }
        lists.remove(network, List::Block);
        drop(lists.restore(before.map(|(_, entry)| entry).into_iter().collect()));
        Ok(true)
    }
}
