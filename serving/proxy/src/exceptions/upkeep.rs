// SPDX-License-Identifier: Apache-2.0
//! Exceptions over time: put back at the start, ended when they are over, written down when they were used, spoken of
//! when nobody needs them or they let too much pass.

use std::cell::RefCell;
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
    // Behind the lock: one that is removed in between would be written again, and be back after a restart.
    let _changing = core.changing();
    let snapshot = core.shared.snapshot();
    let news: Vec<&Known> =
        snapshot.exceptions.added().iter().map(AsRef::as_ref).filter(|known| known.has_news()).collect();
    let kept: Vec<KeptException> = news.iter().map(|known| known.kept()).collect();
    if kept.is_empty() {
        return Ok(());
    }
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
        self.end_exceptions(now);
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

    fn end_exceptions(&self, now: i64) {
        if !self.mark_over(now) {
            return;
        }
        let ids = RefCell::new(Vec::new());
        let change = |_: &Snapshot, additions: &mut Additions| -> Result<(), ReloadError> {
            // Looked at anew: one that was allowed again in the meantime has the same number, and is not over.
            let over = additions.exceptions.iter().filter(|known| known.is_over.load(Ordering::Relaxed));
            let over: Vec<u64> = over.map(|known| known.id()).collect();
            additions.exceptions = additions.exceptions.without(&over);
            ids.replace(over);
            Ok(())
        };
        match self.change_additions(false, change, || self.state.forget_exceptions(&ids.borrow())) {
            Ok(()) | Err(ReloadError::HandingOver) => {}
            Err(error) => warn!(%error, "exceptions that are over are not forgotten yet; trying on"),
        }
    }

    /// Ends those whose time is over, whatever becomes of the rest; whether there are any. Behind the lock: what is being
    /// prolonged just now is not over.
    fn mark_over(&self, now: i64) -> bool {
        let _changing = self.changing();
        let snapshot = self.shared.snapshot();
        let mut is_any = false;
        for known in snapshot.exceptions.added().iter().filter(|known| known.expires() <= now) {
            is_any = true;
            if !known.is_over.swap(true, Ordering::Relaxed) {
                info!(id = id_text(known.id()), what = known.scope().sentence(), "an exception is over");
                self.shared.metrics.exceptions_expired().inc();
            }
        }
        is_any
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::node::TestNode;

    #[test]
    fn what_is_removed_while_uses_are_written_down_is_not_written_again() {
        let node = TestNode::start("removed");
        let core = &node.core;
        let set = |exceptions: ExceptionsAdded| {
            move |_: &Snapshot, additions: &mut Additions| -> Result<(), ReloadError> {
                additions.exceptions = exceptions;
                Ok(())
            }
        };
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let snapshot = core.shared.snapshot();
                    snapshot.exceptions.added().iter().for_each(|known| known.note(1, false));
                    flush(core).unwrap();
                }
            });
            let back: Vec<u64> = (1..=20)
                .filter(|id| {
                    let kept = KeptException { id: *id, expires: i64::MAX, ..KeptException::default() };
                    let made = set(ExceptionsAdded::of(vec![kept.clone()]));
                    core.change_additions(false, made, || core.state.keep_exceptions(&[kept])).unwrap();
                    let none = set(ExceptionsAdded::default());
                    core.change_additions(false, none, || core.state.forget_exceptions(&[*id])).unwrap();
                    core.state.exceptions().unwrap().iter().any(|kept| kept.id == *id)
                })
                .collect();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(back, Vec::<u64>::new());
        });
        flush(core).unwrap();
        assert_eq!(core.state.exceptions().unwrap(), []);
    }

    #[test]
    fn what_is_allowed_again_as_it_ends_holds() {
        let node = TestNode::start("again");
        let core = &node.core;
        let now = Timestamp::now().as_second();
        let one = |id: u64, expires: i64| {
            Arc::new(Known::new(KeptException { id, expires, ..KeptException::default() }))
        };
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    core.end_exceptions(now);
                }
            });
            for id in 1..=40 {
                // One whose time is over, and the same again.
                let allow = |known: &Arc<Known>| {
                    let change = |_: &Snapshot, additions: &mut Additions| -> Result<(), ReloadError> {
                        additions.exceptions = additions.exceptions.without(&[id]).with(Arc::clone(known));
                        Ok(())
                    };
                    let keep = || core.state.keep_exceptions(&[known.kept()]);
                    core.change_additions(false, change, keep).unwrap();
                };
                let first = one(id, now);
                allow(&first);
                while !first.is_over.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                allow(&one(id, now + 3_600));
            }
            is_over.store(true, Ordering::Relaxed);
        });
        core.end_exceptions(now);
        let held: Vec<u64> =
            core.shared.snapshot().exceptions.added().iter().map(|known| known.id()).collect();
        assert_eq!(held, (1..=40).collect::<Vec<u64>>());
        assert_eq!(core.state.exceptions().unwrap().len(), 40);
    }

    #[test]
    fn what_has_ended_is_not_prolonged() {
        let known = Known::new(KeptException { id: 1, expires: 10, ..KeptException::default() });
        assert!(known.holds(9) && !known.holds(10));
        known.is_over.store(true, Ordering::Relaxed);
        assert!(!known.holds(9), "also where the clock was set back");
    }
}
