// SPDX-License-Identifier: Apache-2.0
//! Takes changes back, once a second and at the start.

use std::cell::RefCell;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;
use sunbeam_config::Cidr;
use sunbeam_pipeline::EXCEPTIONS_MAX;
use sunbeam_reputation::{List, Origin};
use tracing::{error, warn};

use super::{Undo, Waiting};
use crate::admin::cut;
use crate::core::{Core, ReloadError};
use crate::exceptions::{KeptException, Known, id_text};
use crate::judging::switches::{Switches, layer_of, mode_of};
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
    /// The same thing was changed since: it stays as it is.
    #[error("it was changed again since")]
    Superseded,
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
            let is_news = match &result {
                Err(error) => self.unconfirmed.fails_anew(&one.id, &error.to_string()),
                Ok(_) => true,
            };
            if is_news {
                self.trail(&json!({
                    "who": "node",
                    "from": "",
                    "what": format!("unconfirmed change {}", one.id),
                    "status": if result.is_ok() { 200 } else { 500 },
                    "said": cut(&said),
                }));
            }
            if let Err(error) = self.unconfirmed.ended(self.state.folder(), &one.id, result.is_ok()) {
                // Taken back once more, it is what it is.
                error!(%error, "what was taken back is still written down as waiting");
            }
        }
    }

    fn take_back(&self, waiting: &Waiting) -> TakenBack {
        let id = &*waiting.id;
        let taken_back = match &waiting.undo {
            Undo::Layer { layer, route, made, before } => {
                self.take_back_layer(id, (layer, route.as_deref()), (made.as_deref(), before.as_deref()))
            }
            Undo::Allowed { id: exception, expires, before: None } => {
                self.take_back_allowed(id, *exception, *expires)
            }
            Undo::Allowed { id: exception, expires, before: Some(before) } => {
                self.take_back_longer(id, (*exception, *expires), *before)
            }
            Undo::Removed { exception } => self.take_back_removed(id, exception),
            Undo::Blocked { network, since, before } => {
                self.take_back_block(id, (network, *since), before.as_deref())
            }
        };
        match taken_back {
            Ok(()) => Ok(true),
            Err(TakeBackError::Superseded) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a change is still to be taken back. Asked behind the lock behind which it was made: whoever has changed the
    /// same thing since has said so there, even if what they said is the same.
    fn still_waits(&self, id: &str) -> Result<(), TakeBackError> {
        if self.unconfirmed.has(id) { Ok(()) } else { Err(TakeBackError::Superseded) }
    }

    fn take_back_layer(
        &self,
        id: &str,
        (layer, route): (&str, Option<&str>),
        (made, before): (Option<&str>, Option<&str>),
    ) -> Result<(), TakeBackError> {
        let layer = layer_of(layer).ok_or(TakeBackError::Unknown)?;
        let mode =
            |word: Option<&str>| word.map(|word| mode_of(word).ok_or(TakeBackError::Unknown)).transpose();
        let (made, before) = (mode(made)?, mode(before)?);
        let wanted = RefCell::new(Switches::default());
        let change = |_: &Snapshot, additions: &mut Additions| -> Result<(), TakeBackError> {
            self.still_waits(id)?;
            if additions.switches.get(layer, route) != made {
                return Err(TakeBackError::Superseded);
            }
            // What else was said of layers until now stays.
            additions.switches = additions.switches.with(layer, route, before);
            wanted.replace(additions.switches.clone());
            Ok(())
        };
        self.change_additions(false, change, || wanted.borrow().keep(self.state.folder()))
    }

    /// An exception that was made goes.
    fn take_back_allowed(&self, id: &str, exception: u64, expires: i64) -> Result<(), TakeBackError> {
        let change = |_: &Snapshot, additions: &mut Additions| -> Result<(), TakeBackError> {
            self.still_waits(id)?;
            let made = additions.exceptions.find(exception).filter(|known| known.expires() == expires);
            made.ok_or(TakeBackError::Superseded)?;
            additions.exceptions = additions.exceptions.without(&[exception]);
            Ok(())
        };
        self.change_additions(false, change, || self.state.forget_exceptions(&[exception]))
    }

    /// An exception that was to hold longer ends when it would have.
    fn take_back_longer(
        &self,
        id: &str,
        (exception, expires): (u64, i64),
        before: i64,
    ) -> Result<(), TakeBackError> {
        let _changing = self.changing();
        self.still_waits(id)?;
        let snapshot = self.shared.snapshot();
        let known = snapshot.exceptions.added().find(exception).filter(|known| known.expires() == expires);
        let known = known.ok_or(TakeBackError::Superseded)?;
        self.state.keep_exceptions(&[KeptException { expires: before, ..known.kept() }])?;
        known.end_at(before);
        Ok(())
    }

    /// An exception that was removed comes back.
    fn take_back_removed(&self, id: &str, exception: &KeptException) -> Result<(), TakeBackError> {
        let change = |_: &Snapshot, additions: &mut Additions| -> Result<(), TakeBackError> {
            self.still_waits(id)?;
            let added = &additions.exceptions;
            let is_full = added.iter().len() >= EXCEPTIONS_MAX;
            if is_full {
                warn!(
                    id = id_text(exception.id),
                    "there are too many exceptions: the removed one does not come back"
                );
            }
            let is_over = exception.expires <= Timestamp::now().as_second();
            if is_full || is_over || added.find(exception.id).is_some() {
                return Err(TakeBackError::Superseded);
            }
            additions.exceptions = added.with(Arc::new(Known::new(exception.clone())));
            Ok(())
        };
        self.change_additions(false, change, || self.state.keep_exceptions(std::slice::from_ref(exception)))
    }

    fn take_back_block(
        &self,
        id: &str,
        (network, since): (&str, i64),
        before: Option<&KeptEntry>,
    ) -> Result<(), TakeBackError> {
        let Cidr(network) = network.parse().map_err(|_| TakeBackError::Unknown)?;
        let lists = &self.shared.memory.lists;
        let _listing = self.listing();
        self.still_waits(id)?;
        let made = lists.all().into_iter().find(|entry| {
            let is_operators = (entry.list, entry.origin) == (List::Block, Origin::Operator);
            is_operators && entry.network == network && entry.since == since
        });
        let made = made.ok_or(TakeBackError::Superseded)?;
        let (moment, now) = (self.shared.now(), Timestamp::now().as_second());
        let before = before.and_then(|kept| Some((kept, kept.entry(moment, now)?)));
        match &before {
            // It has the same number: it is written over what was made.
            Some((kept, _)) => self.state.keep_entry(kept)?,
            None => self.state.forget_entries(&[made.id])?,
        }
        lists.remove(network, List::Block);
        drop(lists.restore(before.map(|(_, entry)| entry).into_iter().collect()));
        Ok(())
    }
}
