// SPDX-License-Identifier: Apache-2.0
//! Changes that are taken back by themselves unless somebody confirms them in time (`--confirm-within`): what lies beside
//! the configuration. (A change of the configuration itself has its own way back, in `configuration`: the configurations
//! that are kept.)
//!
//! A change is written down before it is made, with what takes it back, so that neither the end of the command nor that of
//! the node lets it stay: what ran out while the node was down is taken back at its start. Where somebody else has changed
//! the same thing since, nothing is taken back.

mod configuration;
mod take_back;

pub(crate) use take_back::restore;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::exceptions::{KeptException, id_text, moment};
use crate::judging::KeptEntry;
use crate::state::{StateError, write_private};

/// Changes that may wait at a time.
pub(crate) const WAITING_MAX: usize = 64;

/// The longest that one may wait: a day.
pub(crate) const WITHIN_MAX_SECS: u64 = 86_400;

/// After one that could not be taken back, the next try.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// What takes a change back, and by what it is told whether the change is still there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Undo {
    /// What was said of a layer. Modes; nothing where the configuration's word counts.
    Layer { layer: String, route: Option<String>, made: Option<String>, before: Option<String> },
    /// An exception that was made, or one that holds longer now.
    Allowed { id: u64, expires: i64, before: Option<i64> },
    /// An exception that was removed.
    Removed { exception: Box<KeptException> },
    /// A block by an operator, and the one in whose place it stands.
    Blocked { network: String, since: i64, before: Option<Box<KeptEntry>> },
}

impl Undo {
    /// Two changes of one thing cannot both be taken back.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::Layer { layer, route, .. } => layer_subject(layer, route.as_deref()),
            Self::Allowed { id, .. } => exception_subject(*id),
            Self::Removed { exception } => exception_subject(exception.id),
            Self::Blocked { network, .. } => block_subject(network),
        }
    }
}

pub(crate) fn layer_subject(layer: &str, route: Option<&str>) -> String {
    route.map_or_else(|| format!("layer {layer}"), |route| format!("layer {layer}@{route}"))
}

pub(crate) fn exception_subject(id: u64) -> String {
    format!("exception {}", id_text(id))
}

pub(crate) fn block_subject(network: &str) -> String {
    format!("block of {network}")
}

/// A change that waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) id: String,
    /// For people.
    pub(crate) what: String,
    /// Seconds of Unix time.
    made: i64,
    until: i64,
    undo: Undo,
}

impl Waiting {
    pub(crate) const fn undo(&self) -> &Undo {
        &self.undo
    }

    pub(crate) fn told(&self) -> Value {
        json!({
            "id": self.id,
            "what": self.what,
            "made": moment(self.made),
            "taken_back_at": moment(self.until),
            "confirm": format!("sunbeam confirm {}", self.id),
        })
    }
}

#[derive(Debug)]
struct Timed {
    waiting: Waiting,
    /// When it is taken back: a clock that is set while the node runs changes nothing.
    at: Instant,
    /// It is being taken back just now.
    is_ending: bool,
    /// Why that failed last, if it did.
    failure: Option<String>,
}

/// Why a change is not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WaitError {
    /// One of the same thing waits already.
    #[error(
        "a change of the same thing waits to be confirmed: `sunbeam confirm {0}` first, or wait until it is taken back"
    )]
    Another(String),
    /// There are too many.
    #[error("{WAITING_MAX} changes wait to be confirmed already")]
    Full,
    /// It cannot be written down.
    #[error(transparent)]
    Kept(#[from] StateError),
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Unconfirmed(Mutex<Vec<Timed>>);

impl Unconfirmed {
    /// Writes down a change that is about to be made; its id. Whoever does not make it calls [`Unconfirmed::forget`].
    pub(crate) fn add(
        &self,
        folder: &Path,
        (what, undo): (String, Undo),
        within: Duration,
        now: i64,
    ) -> Result<Waiting, WaitError> {
        let mut all = self.all();
        let subject = undo.subject();
        if let Some(other) = all.iter().find(|timed| timed.waiting.undo.subject() == subject) {
            return Err(WaitError::Another(other.waiting.id.clone()));
        }
        if all.len() >= WAITING_MAX {
            return Err(WaitError::Full);
        }
        let id = Uuid::new_v4().simple().to_string().chars().take(8).collect();
        let until = now.saturating_add(i64::try_from(within.as_secs()).unwrap_or(i64::MAX));
        let waiting = Waiting { id, what, made: now, until, undo };
        all.push(Timed {
            waiting: waiting.clone(),
            at: Instant::now() + within,
            is_ending: false,
            failure: None,
        });
        if let Err(error) = keep(folder, &all) {
            all.pop();
            return Err(error.into());
        }
        Ok(waiting)
    }

    /// It stays, or was never made. `None`: it does not wait, or is being taken back.
    pub(crate) fn forget(&self, folder: &Path, id: &str) -> Result<Option<Waiting>, StateError> {
        self.forget_where(folder, |timed| !timed.is_ending && timed.waiting.id == id)
    }

    /// Somebody has changed the same thing without a word of confirmation: what they want stays, also where the other is
    /// being taken back just now.
    pub(crate) fn supersede(&self, folder: &Path, subject: &str) -> Result<Option<Waiting>, StateError> {
        self.forget_where(folder, |timed| timed.waiting.undo.subject() == subject)
    }

    fn forget_where(
        &self,
        folder: &Path,
        is_meant: impl Fn(&Timed) -> bool,
    ) -> Result<Option<Waiting>, StateError> {
        let mut all = self.all();
        let found = all.iter().position(is_meant);
        let Some(place) = found else { return Ok(None) };
        let timed = all.remove(place);
        if let Err(error) = keep(folder, &all) {
            all.insert(place, timed);
            return Err(error);
        }
        Ok(Some(timed.waiting))
    }

    /// Whether it waits, or is being taken back. Asked behind the lock of what it changes: whoever changes the same thing
    /// says so behind it, too.
    fn has(&self, id: &str) -> bool {
        self.all().iter().any(|timed| timed.waiting.id == id)
    }

    /// The one that waits for this thing.
    pub(crate) fn about(&self, subject: &str) -> Option<String> {
        let all = self.all();
        all.iter().find(|timed| timed.waiting.undo.subject() == subject).map(|timed| timed.waiting.id.clone())
    }

    /// For people, the oldest first.
    pub(crate) fn told(&self) -> Vec<Value> {
        self.all().iter().map(|timed| timed.waiting.told()).collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all().len()
    }

    /// Those whose time is over; they can be confirmed no more.
    fn due(&self) -> Vec<Waiting> {
        let now = Instant::now();
        let mut all = self.all();
        let due = all.iter_mut().filter(|timed| timed.at <= now && !timed.is_ending);
        due.map(|timed| {
            timed.is_ending = true;
            timed.waiting.clone()
        })
        .collect()
    }

    /// It fails to be taken back; whether for another reason than last time. What fails again and again is told once, or the
    /// trail would have nothing else in it.
    fn fails_anew(&self, id: &str, why: &str) -> bool {
        let mut all = self.all();
        let Some(timed) = all.iter_mut().find(|timed| timed.waiting.id == id) else { return true };
        timed.failure.replace(why.to_owned()).is_none_or(|before| before != why)
    }

    /// It was taken back; or not, and is tried again.
    fn ended(&self, folder: &Path, id: &str, is_done: bool) -> Result<(), StateError> {
        let mut all = self.all();
        if is_done {
            all.retain(|timed| timed.waiting.id != id);
            return keep(folder, &all);
        }
        for timed in all.iter_mut().filter(|timed| timed.waiting.id == id) {
            (timed.at, timed.is_ending) = (Instant::now() + AGAIN_AFTER, false);
        }
        Ok(())
    }

    /// Puts back what was written down.
    ///
    /// # Errors
    /// The file is there and cannot be read: a change would stay that nobody confirmed.
    fn restore(&self, folder: &Path, now: i64) -> Result<(), StateError> {
        let path = place(folder);
        let wrong = |reason: String| StateError::Open {
            path: path.clone(),
            reason: format!("{reason}; mend it, or delete it: then what waited to be confirmed stays"),
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(wrong(error.to_string())),
        };
        let kept: Vec<Waiting> = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let timed = |waiting: Waiting| {
            // A clock that was set back makes nobody wait longer than was asked for.
            let most = waiting.until.saturating_sub(waiting.made);
            let left = waiting.until.saturating_sub(now).clamp(0, most.max(0));
            let at = Instant::now() + Duration::from_secs(u64::try_from(left).unwrap_or(0));
            Timed { waiting, at, is_ending: false, failure: None }
        };
        *self.all() = kept.into_iter().take(WAITING_MAX).map(timed).collect();
        Ok(())
    }

    fn all(&self) -> MutexGuard<'_, Vec<Timed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(folder: &Path) -> PathBuf {
    folder.join("unconfirmed.json")
}

fn keep(folder: &Path, all: &[Timed]) -> Result<(), StateError> {
    let kept: Vec<&Waiting> = all.iter().map(|timed| &timed.waiting).collect();
    let bytes = serde_json::to_vec(&kept).map_err(|error| StateError::Database(error.to_string()))?;
    write_private(&place(folder), &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undo(layer: &str) -> (String, Undo) {
        let layer = layer.to_owned();
        ("w".to_owned(), Undo::Layer { layer, route: None, made: Some("enforce".to_owned()), before: None })
    }

    #[test]
    fn what_waits_is_kept_and_due_when_its_time_is_over() {
        let folder = std::env::temp_dir().join(format!("sunbeam-unconfirmed-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (all, minute) = (Unconfirmed::default(), Duration::from_secs(60));
        let waf = all.add(&folder, undo("waf"), minute, 1_000).unwrap();
        assert!(
            matches!(all.add(&folder, undo("waf"), minute, 1_000), Err(WaitError::Another(id)) if id == waf.id)
        );
        let ddos = all.add(&folder, undo("ddos"), Duration::ZERO, 1_000).unwrap();
        let due: Vec<String> = all.due().into_iter().map(|waiting| waiting.id).collect();
        assert_eq!(due, std::slice::from_ref(&ddos.id));
        assert!(all.due().is_empty() && all.forget(&folder, &ddos.id).unwrap().is_none(), "it is on its way");
        // What is on its way is not forgotten by a crash in between.
        for (name, now, due) in [
            ("at once", 1_000, 1),
            ("later", 1_059, 1),
            ("after both", 1_060, 2),
            ("a clock set back", 10, 1),
        ] {
            let again = Unconfirmed::default();
            again.restore(&folder, now).unwrap();
            assert_eq!((again.len(), again.due().len()), (2, due), "{name}");
        }
        all.ended(&folder, &ddos.id, true).unwrap();
        assert_eq!(all.forget(&folder, &waf.id).unwrap().unwrap().id, waf.id);
        assert_eq!((all.len(), fs::read_to_string(place(&folder)).unwrap()), (0, "[]".to_owned()));
        all.add(&folder, undo("waf"), minute, 1_000).unwrap();
        assert!(all.supersede(&folder, &layer_subject("waf", Some("shop"))).unwrap().is_none());
        assert!(all.supersede(&folder, &layer_subject("waf", None)).unwrap().is_some());
        // Also where the other is on its way already: what somebody wants now stays.
        let ddos = all.add(&folder, undo("ddos"), Duration::ZERO, 1_000).unwrap();
        assert!(all.due().len() == 1 && all.has(&ddos.id));
        assert!(
            all.supersede(&folder, &layer_subject("ddos", None)).unwrap().is_some() && !all.has(&ddos.id)
        );
        all.ended(&folder, &ddos.id, false).unwrap();
        assert_eq!(all.len(), 0);
        for number in 0..WAITING_MAX {
            all.add(&folder, undo(&number.to_string()), minute, 1_000).unwrap();
        }
        assert!(matches!(all.add(&folder, undo("waf"), minute, 1_000), Err(WaitError::Full)));
        fs::write(place(&folder), "[{").unwrap();
        let error = Unconfirmed::default().restore(&folder, 0).unwrap_err().to_string();
        assert!(error.contains("unconfirmed.json") && error.contains("delete it"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
