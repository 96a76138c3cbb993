// SPDX-License-Identifier: Apache-2.0
//! Exceptions over time: put back at the start, ended when they are over, written down when they were used, spoken of
//! when nobody needs them or they let too much pass.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tracing::{error, info, warn};

use super::in_use::ExceptionsAdded;
use super::known::{KeptException, Known, Warning, id_text};
use crate::core::{Core, ReloadError};
use crate::judging::Additions;
use crate::snapshot::Snapshot;
use crate::state::StateError;

/// How often uses are written down: a power cut loses as much.
const WRITE_EVERY_SECS: u64 = 5;

/// How often unused ones are looked for.
const LOOK_EVERY_SECS: u64 = 3_600;

/// What the last round left.
#[derive(Debug, Default)]
pub(crate) struct ExceptionBook {
    may_not_write: bool,
}

/// Puts back what was kept, before anything is served.
pub(crate) fn restore(core: &Core) -> Result<(), StateError> {
    let now = Timestamp::now().as_second();
    let (kept, over): (Vec<KeptException>, Vec<KeptException>) =
        core.state.exceptions()?.into_iter().partition(|kept| kept.expires > now);
    core.state.forget_exceptions(&over.iter().map(|kept| kept.id).collect::<Vec<_>>())?;
    core.shared.metrics.exceptions_expired().inc_by(over.len() as u64);
    if kept.is_empty() {
        return Ok(());
    }
    let count = kept.len();
    let change = |_: &Snapshot, additions: &mut Additions| -> Result<(), ReloadError> {
        additions.exceptions = ExceptionsAdded::of(kept);
        Ok(())
    };
    match core.change_additions(false, change, || Ok(())) {
        Ok(()) => info!(count, "exceptions of before are back"),
        // Without them more is stopped, not less.
        Err(error) => error!(%error, "exceptions of before are not in use; they stay kept"),
    }
    Ok(())
}

/// Writes down what came of exceptions.
pub(crate) fn flush(core: &Core) -> Result<(), StateError> {
    let snapshot = core.shared.snapshot();
    let news: Vec<&Known> =
        snapshot.exceptions.added().iter().map(AsRef::as_ref).filter(|known| known.has_news()).collect();
    let kept: Vec<KeptException> = news.iter().map(|known| known.kept()).collect();
    core.state.keep_exceptions(&kept)?;
    news.iter().zip(&kept).for_each(|(known, kept)| known.note_written(kept));
    Ok(())
}

impl Core {
    /// Once a second.
    pub(crate) fn tidy_exceptions(&self, book: &mut ExceptionBook, ticks: u64) {
        let snapshot = self.shared.snapshot();
        let now = Timestamp::now().as_second();
        let metrics = &self.shared.metrics;
        let count = snapshot.exceptions.added().iter().len();
        metrics.exceptions().set(i64::try_from(count).unwrap_or(i64::MAX));
        if count == 0 {
            return;
        }
        self.end_exceptions(&snapshot, now);
        for (known, is_applied) in snapshot.exceptions.all() {
            say(known, now, is_applied, ticks.is_multiple_of(LOOK_EVERY_SECS));
        }
        if ticks.is_multiple_of(WRITE_EVERY_SECS) {
            match flush(self) {
                Ok(()) => book.may_not_write = false,
                // While it is handed over, the other process keeps them.
                Err(StateError::Lent) => {}
                Err(error) => {
                    if !std::mem::replace(&mut book.may_not_write, true) {
                        error!(%error, "uses of exceptions are not kept over a restart; trying on");
                    }
                }
            }
        }
    }

    fn end_exceptions(&self, snapshot: &Snapshot, now: i64) {
        let over: Vec<&Known> = snapshot
            .exceptions
            .added()
            .iter()
            .map(AsRef::as_ref)
            .filter(|known| known.expires() <= now)
            .collect();
        if over.is_empty() {
            return;
        }
        let ids: Vec<u64> = over.iter().map(|known| known.id()).collect();
        for known in &over {
            // From now on, whatever becomes of the rest.
            if !known.is_over.swap(true, Ordering::Relaxed) {
                info!(id = id_text(known.id()), what = known.scope().sentence(), "an exception is over");
                self.shared.metrics.exceptions_expired().inc();
            }
        }
        let change = |_: &Snapshot, additions: &mut Additions| -> Result<(), ReloadError> {
            additions.exceptions = additions.exceptions.without(&ids);
            Ok(())
        };
        match self.change_additions(false, change, || self.state.forget_exceptions(&ids)) {
            Ok(()) | Err(ReloadError::HandingOver) => {}
            Err(error) => warn!(%error, "exceptions that are over are not forgotten yet; trying on"),
        }
    }
}

fn say(known: &Known, now: i64, is_applied: bool, is_time: bool) {
    for warning in known.warnings(now, is_applied) {
        let said = match warning {
            Warning::PassesHighScores => &known.said_high,
            Warning::Unused if is_time => &known.said_unused,
            Warning::Unused | Warning::HasNothingToDo => continue,
        };
        if !said.swap(true, Ordering::Relaxed) {
            warn!(
                id = id_text(known.id()),
                what = known.scope().sentence(),
                "an exception {}: `sunbeam exceptions remove {}` ends it",
                warning.as_str(),
                id_text(known.id())
            );
        }
    }
}
