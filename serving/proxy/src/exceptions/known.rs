// SPDX-License-Identifier: Apache-2.0
//! An exception that holds: what is kept of it, and what has come of it since.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::scope::Scope;

/// One that was not used for so long is spoken of.
const UNUSED_SECS: i64 = 30 * 86_400;

/// As it is kept in the state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct KeptException {
    pub(crate) id: u64,
    pub(crate) scope: Scope,
    /// Seconds of Unix time, as all times here.
    pub(crate) created: i64,
    pub(crate) expires: i64,
    /// The request whose decision it was made of.
    pub(crate) from: String,
    /// Who made it.
    pub(crate) by: String,
    pub(crate) hits: u64,
    pub(crate) last_used: Option<i64>,
    /// Requests that it let pass while another layer had something against them.
    pub(crate) high: u64,
}

/// What somebody should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warning {
    /// Nobody needs it.
    Unused,
    /// It lets pass what another layer scores high.
    PassesHighScores,
    /// Its route, its rules or its limit are not there any more.
    HasNothingToDo,
}

impl Warning {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Unused => "not used for 30 days",
            Self::PassesHighScores => "passes what another layer scores high",
            Self::HasNothingToDo => "its route, rules or limit are gone",
        }
    }
}

/// See the module. Counts are relaxed: they are told to people.
#[derive(Debug)]
pub(crate) struct Known {
    kept: KeptException,
    expires: AtomicI64,
    hits: AtomicU64,
    /// 0: never.
    last_used: AtomicI64,
    high: AtomicU64,
    /// Hits that are written down.
    written: AtomicU64,
    /// Its time is over: it holds no more, whoever still has it.
    pub(super) is_over: Arc<AtomicBool>,
    /// Warnings that the log has.
    pub(super) said_unused: AtomicBool,
    pub(super) said_high: AtomicBool,
}

impl Known {
    pub(crate) fn new(kept: KeptException) -> Self {
        Self {
            expires: AtomicI64::new(kept.expires),
            hits: AtomicU64::new(kept.hits),
            last_used: AtomicI64::new(kept.last_used.unwrap_or(0)),
            high: AtomicU64::new(kept.high),
            written: AtomicU64::new(kept.hits),
            is_over: Arc::default(),
            said_unused: AtomicBool::new(false),
            said_high: AtomicBool::new(kept.high > 0),
            kept,
        }
    }

    pub(crate) const fn id(&self) -> u64 {
        self.kept.id
    }

    pub(crate) const fn scope(&self) -> &Scope {
        &self.kept.scope
    }

    /// The request whose decision it was made of.
    pub(crate) fn from(&self) -> &str {
        &self.kept.from
    }

    pub(crate) fn expires(&self) -> i64 {
        self.expires.load(Ordering::Relaxed)
    }

    /// Whether it lets anything pass still.
    pub(crate) fn holds(&self, now: i64) -> bool {
        self.expires() > now && !self.is_over.load(Ordering::Relaxed)
    }

    /// It holds longer, never shorter. Behind the lock of changes, as all that changes when it ends.
    pub(crate) fn extend(&self, until: i64) {
        self.expires.fetch_max(until, Ordering::Relaxed);
    }

    /// It ends then: the longer time is taken back.
    pub(crate) fn end_at(&self, until: i64) {
        self.expires.store(until, Ordering::Relaxed);
    }

    /// As it is to be kept now.
    pub(crate) fn kept(&self) -> KeptException {
        let last_used = self.last_used.load(Ordering::Relaxed);
        KeptException {
            expires: self.expires(),
            hits: self.hits.load(Ordering::Relaxed),
            last_used: (last_used > 0).then_some(last_used),
            high: self.high.load(Ordering::Relaxed),
            ..self.kept.clone()
        }
    }

    /// It made a difference to a request; `is_high`: another layer has something against that.
    pub(super) fn note(&self, now: i64, is_high: bool) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        self.last_used.store(now, Ordering::Relaxed);
        if is_high {
            self.high.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn high(&self) -> u64 {
        self.high.load(Ordering::Relaxed)
    }

    /// Whether there are hits that are not written down.
    pub(super) fn has_news(&self) -> bool {
        self.hits.load(Ordering::Relaxed) != self.written.load(Ordering::Relaxed)
    }

    pub(super) fn note_written(&self, kept: &KeptException) {
        self.written.store(kept.hits, Ordering::Relaxed);
    }

    pub(super) fn is_unused(&self, now: i64) -> bool {
        let since = self.last_used.load(Ordering::Relaxed).max(self.kept.created);
        now.saturating_sub(since) >= UNUSED_SECS
    }

    /// What somebody should look at.
    pub(crate) fn warnings(&self, now: i64, is_applied: bool) -> Vec<Warning> {
        [
            (Warning::HasNothingToDo, !is_applied),
            (Warning::PassesHighScores, self.high() > 0),
            (Warning::Unused, self.is_unused(now)),
        ]
        .into_iter()
        .filter_map(|(warning, is_so)| is_so.then_some(warning))
        .collect()
    }

    /// As the API tells it.
    pub(crate) fn told(&self, now: i64, is_applied: bool) -> Value {
        let kept = self.kept();
        let warnings: Vec<&str> = self.warnings(now, is_applied).into_iter().map(Warning::as_str).collect();
        json!({
            "id": id_text(kept.id),
            "layer": kept.scope.layer,
            "what": kept.scope.sentence(),
            "scope": kept.scope,
            "created": moment(kept.created),
            "expires": moment(kept.expires),
            "from": kept.from,
            "by": kept.by,
            "hits": kept.hits,
            "last_used": kept.last_used.map(moment),
            "high": kept.high,
            "warnings": warnings,
        })
    }
}

/// As people type it.
pub(crate) fn id_text(id: u64) -> String {
    format!("{id:012x}")
}

pub(crate) fn moment(secs: i64) -> String {
    Timestamp::from_second(secs).map(|at| at.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(created: i64, last_used: Option<i64>, high: u64) -> Known {
        Known::new(KeptException { id: 7, created, expires: 9, last_used, high, ..KeptException::default() })
    }

    #[test]
    fn what_nobody_needs_and_what_lets_too_much_pass_is_spoken_of() {
        const DAY: i64 = 86_400;
        for (name, exception, now, is_applied, want) in [
            ("new", known(DAY, None, 0), 2 * DAY, true, vec![]),
            ("never used", known(DAY, None, 0), 31 * DAY, true, vec![Warning::Unused]),
            ("used lately", known(DAY, Some(20 * DAY), 0), 31 * DAY, true, vec![]),
            ("used long ago", known(DAY, Some(20 * DAY), 0), 50 * DAY, true, vec![Warning::Unused]),
            ("high", known(DAY, Some(DAY), 1), 2 * DAY, true, vec![Warning::PassesHighScores]),
            ("gone", known(DAY, None, 0), 2 * DAY, false, vec![Warning::HasNothingToDo]),
        ] {
            assert_eq!(exception.warnings(now, is_applied), want, "{name}");
        }
    }

    #[test]
    fn uses_are_counted_and_an_expiry_only_grows() {
        let one = known(1, None, 0);
        assert!(!one.has_news());
        one.note(5, false);
        one.note(6, true);
        assert!(one.has_news());
        let kept = one.kept();
        assert_eq!((kept.hits, kept.last_used, kept.high), (2, Some(6), 1));
        one.note_written(&kept);
        assert!(!one.has_news());
        one.extend(20);
        one.extend(3);
        assert_eq!(one.expires(), 20);
        let text = serde_json::to_string(&one.kept()).unwrap();
        assert_eq!(serde_json::from_str::<KeptException>(&text).unwrap(), one.kept());
    }
}
