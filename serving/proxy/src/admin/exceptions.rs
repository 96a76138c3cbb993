// SPDX-License-Identifier: Apache-2.0
//! Exceptions: what the API's pages about them answer.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sunbeam_pipeline::EXCEPTIONS_MAX;

use super::changes::{self, Within};
use super::decisions::{find, reader, suspicion_of};
use super::lists::Refused;
use crate::core::Core;
use crate::exceptions::{Judges, KeptException, Known, Replay, Scope, has_address, id_text, is_of, moment};
use crate::judging::{Additions, people};
use crate::snapshot::Snapshot;
use crate::unconfirmed::{Undo, Waiting, exception_subject};
use crate::why::kept::Kept;
use crate::why::labels::{self, Label};
use crate::why::suspicion::{Looks, Suspicion};

const DAY_SECS: u64 = 86_400;

/// How long one holds where nobody says.
const SECS: u64 = 90 * DAY_SECS;

/// The longest that one holds.
const SECS_MAX: u64 = 3_650 * DAY_SECS;

/// `POST /api/v1/exceptions`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExceptionRequest {
    /// The request that should have passed: its id, or the beginning.
    from: String,
    /// For the whole route, or for everybody.
    #[serde(default)]
    wider: bool,
    duration_seconds: Option<u64>,
    /// Say what would be done, do nothing.
    #[serde(default)]
    dry_run: bool,
    /// Also where it lets pass what is scored as an attack elsewhere.
    #[serde(default)]
    force: bool,
    /// Taken back after so long unless somebody confirms it.
    confirm_within_secs: Option<u64>,
}

/// Those that hold.
pub(super) fn all(core: &Core) -> Value {
    let (snapshot, now) = (core.shared.snapshot(), Timestamp::now().as_second());
    let all: Vec<Value> =
        snapshot.exceptions.all().map(|(known, is_applied)| known.told(now, is_applied)).collect();
    json!({"total": all.len(), "max": EXCEPTIONS_MAX, "exceptions": all})
}

/// One of them.
pub(super) fn one(core: &Core, id: &str) -> Result<Value, Refused> {
    let (snapshot, now) = (core.shared.snapshot(), Timestamp::now().as_second());
    let known = known(&snapshot, id)?;
    let is_applied = snapshot.exceptions.all().any(|(one, is_applied)| one.id() == known.id() && is_applied);
    Ok(known.told(now, is_applied))
}

fn known(snapshot: &Snapshot, id: &str) -> Result<Arc<Known>, Refused> {
    let number = u64::from_str_radix(id, 16).ok().filter(|_| id.len() == id_text(0).len());
    let number = number.ok_or_else(|| {
        Refused::Wrong(format!(
            "`{}` is no exception's id: it has {} hexadecimal digits, as `sunbeam exceptions` shows them",
            id.escape_debug(),
            id_text(0).len()
        ))
    })?;
    let found = snapshot.exceptions.added().find(number);
    found.map(Arc::clone).ok_or_else(|| {
        Refused::Missing(format!(
            "there is no exception `{}`: it is over, was removed, or never was; `sunbeam exceptions` lists those that hold",
            id.escape_debug()
        ))
    })
}

/// What would let a decided request pass: the command and what it is about, or why there is none.
pub(super) fn remedy(core: &Core, kept: &Kept, suspicion: &Suspicion) -> (Option<String>, String) {
    let record = &kept.record;
    let snapshot = core.shared.snapshot();
    match Scope::of(kept, &Judges { snapshot: &snapshot, wider: false }) {
        Ok(scope) => {
            let force = if looks_like_an_attack(kept, suspicion) { " --force" } else { "" };
            (Some(format!("sunbeam allow {}{force}", record.request_id)), scope.sentence())
        }
        Err(why) if matches!(record.layer.as_str(), "lists" | "ddos") && has_address(record, &snapshot) => {
            (Some(format!("sunbeam unblock {}", record.client_ip)), why)
        }
        Err(why) => (None, why),
    }
}

/// Whether somebody has to insist. Whoever keeps to no limit is met on many paths, which says nothing.
fn looks_like_an_attack(kept: &Kept, suspicion: &Suspicion) -> bool {
    kept.record.layer != "rate_limit" && suspicion.looks == Looks::LikeAnAttack
}

/// Makes the narrowest exception for a request, or says what it would be. On the disk before it is answered.
pub(super) fn make(
    core: &Core,
    request: &ExceptionRequest,
    operator: Option<IpAddr>,
) -> Result<Value, Refused> {
    let secs = request.duration_seconds.unwrap_or(SECS);
    if !(1..=SECS_MAX).contains(&secs) {
        return Err(Refused::Wrong(format!("`duration_seconds` must be between 1 and {SECS_MAX}")));
    }
    let within = Within::of(request.confirm_within_secs, request.dry_run)?;
    let kept = find(core, &request.from)?;
    let snapshot = core.shared.snapshot();
    let scope = Scope::of(&kept, &Judges { snapshot: &snapshot, wider: request.wider }).map_err(|why| {
        Refused::Conflict(format!("no exception can be made of `{}`: {why}", kept.record.request_id))
    })?;
    let replay = Replay::of(core, reader(core)?, &kept, &scope)?;
    let (_, suspicion) = suspicion_of(core, &kept)?;
    let is_attack = looks_like_an_attack(&kept, &suspicion);
    // Who allows what is allowed already makes nothing pass; whoever made it has insisted where that was needed.
    let is_held = snapshot.exceptions.added().find(scope.id()).is_some();
    let may_be_refused = !request.force && !request.dry_run && !is_held;
    let mut warnings = warnings(core, &kept, &replay, request.wider);
    if is_attack {
        let because = suspicion.because.join("; ");
        warnings.insert(0, format!("ATTENTION: it looks like an attack: {because}"));
        if may_be_refused {
            return Err(Refused::Conflict(format!(
                "refused: it looks like an attack ({because}); if you know that it is none, add `--force`"
            )));
        }
    }
    if replay.high > 0 && may_be_refused {
        return Err(Refused::Conflict(format!(
            "refused: it would let pass what is scored as an attack elsewhere ({}); look at `--dry-run`, and add `--force` \
             if it is to pass all the same",
            replay.sentence()
        )));
    }
    let now = Timestamp::now().as_second();
    let until = now.saturating_add(i64::try_from(secs).unwrap_or(i64::MAX));
    let new = KeptException {
        id: scope.id(),
        created: now,
        expires: until,
        from: kept.record.request_id.clone(),
        by: operator.map_or_else(|| "local".to_owned(), |operator| operator.to_string()),
        scope,
        ..KeptException::default()
    };
    let Held { known, before, waiting } = hold(core, new, (request.dry_run, within))?;
    let ends = known.expires().max(until);
    let mut message = format!(
        "{} until {}: {}; {}",
        match (request.dry_run, before.is_some()) {
            (true, false) => "an exception would be made",
            (true, true) => "this exception holds already, and would hold",
            (false, false) => "an exception is made",
            (false, true) => "this exception holds already, and holds now",
        },
        moment(ends),
        known.scope().sentence(),
        replay.sentence()
    );
    if !request.dry_run {
        tracing::info!(
            id = id_text(known.id()),
            what = known.scope().sentence(),
            from = known.from(),
            "allowed by an operator"
        );
        match &waiting {
            // What is taken back unless somebody stands by it teaches nothing before that.
            Some(_) => message.push_str("; its request is labelled human when that is confirmed"),
            None => message.push_str(&label_human(core, &kept)),
        }
    }
    let mut answer = json!({
        "success": true,
        "message": message,
        "id": id_text(known.id()),
        "is_new": before.is_none(),
        "is_longer": before.is_none_or(|before| before < until),
        "until": moment(ends),
        "exception": known.told(now, true),
        "replay": replay,
        "warnings": warnings,
        "undo": format!("sunbeam exceptions remove {}", id_text(known.id())),
    });
    changes::tell(&mut answer, waiting.as_ref());
    Ok(answer)
}

/// Somebody stands by a change that waited for that: what it says of a request is said now. What is to be told of that.
pub(super) fn confirmed(core: &Core, change: &Undo) -> String {
    match change {
        Undo::Allowed { id, .. } => {
            let snapshot = core.shared.snapshot();
            let Some(known) = snapshot.exceptions.added().find(*id) else { return String::new() };
            match find(core, known.from()) {
                Ok(kept) => label_human(core, &kept),
                Err(_) => format!("; `{}` is no longer kept, and is not labelled", known.from()),
            }
        }
        Undo::Removed { exception } => {
            unlabel(core, &exception.from, find(core, &exception.from).ok().as_ref())
        }
        Undo::Layer { .. } | Undo::Blocked { .. } => String::new(),
    }
}

/// The exception holds whether the label is kept or not.
fn label_human(core: &Core, kept: &Kept) -> String {
    match labels::put(core.state.folder(), kept, Label::Human) {
        Ok(_) => format!("; the request is labelled human; {}", people::label(core, kept, Label::Human)),
        Err(error) => format!("; the label is not kept: {error}"),
    }
}

/// An exception that holds.
struct Held {
    known: Arc<Known>,
    /// When the same one would have ended.
    before: Option<i64>,
    /// Until it is confirmed.
    waiting: Option<Waiting>,
}

/// The exception, from the next request on, or the same one for longer.
fn hold(core: &Core, new: KeptException, (dry_run, within): (bool, Within)) -> Result<Held, Refused> {
    let until = new.expires;
    within.check(core, &exception_subject(new.id))?;
    let (held, waiting) = (OnceCell::new(), OnceCell::new());
    let change = |running: &Snapshot, additions: &mut Additions| -> Result<(), Refused> {
        // By the clock of now: it may have ended while somebody looked at what it would let pass.
        let now = Timestamp::now().as_second();
        let before = running.exceptions.added().find(new.id).filter(|before| before.holds(now));
        if let Some(before) = before {
            if before.scope() != &new.scope {
                return Err(Refused::Failed(format!(
                    "another exception has the id `{}` by chance: remove it first",
                    id_text(new.id)
                )));
            }
            drop(held.set((Arc::clone(before), Some(before.expires()))));
            return Ok(());
        }
        let rest = additions.exceptions.without(&[new.id]);
        if rest.iter().len() >= EXCEPTIONS_MAX {
            return Err(Refused::Conflict(format!(
                "{EXCEPTIONS_MAX} exceptions hold already: `sunbeam exceptions` shows which nobody needs; remove one first"
            )));
        }
        let known = Arc::new(Known::new(new.clone()));
        additions.exceptions = rest.with(Arc::clone(&known));
        drop(held.set((known, None)));
        Ok(())
    };
    core.change_additions(dry_run, change, || {
        let Some((known, before)): Option<&(Arc<Known>, Option<i64>)> = held.get() else { return Ok(()) };
        let expires = known.expires().max(until);
        let undo = Undo::Allowed { id: known.id(), expires, before: *before };
        let what = format!("exception {}: {}", id_text(known.id()), known.scope().sentence());
        let waits = within.write(core, &what, undo)?;
        let kept = core.state.keep_exceptions(&[KeptException { expires, ..known.kept() }]);
        kept.inspect_err(|_| changes::not_made(core, waits.as_ref()))?;
        // Behind the lock, as whoever ends it looks.
        known.extend(until);
        drop(waiting.set(waits));
        Ok(())
    })?;
    let (known, before) =
        held.into_inner().ok_or_else(|| Refused::Failed("the exception is not there".to_owned()))?;
    Ok(Held { known, before, waiting: waiting.into_inner().flatten() })
}

/// What whoever makes it should read first.
fn warnings(core: &Core, kept: &Kept, replay: &Replay, wider: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if replay.high > 0 {
        warnings.push(format!(
            "ATTENTION: of {} requests that would have passed, {} are scored as an attack elsewhere, or came from a client \
             that was stopped for something else",
            replay.would_pass, replay.high
        ));
    }
    if !replay.helps {
        warnings.push(
            "this request itself would still be stopped: more was found in it than an exception can leave out".to_owned(),
        );
    }
    if wider {
        warnings.push("it holds for every path of the route, or for every client".to_owned());
    }
    if kept.record.layer == "scanner" {
        warnings
            .push("the WAF has not seen this request: what its rules find is another exception".to_owned());
    }
    let address: Option<IpAddr> = kept.record.client_ip.parse().ok();
    let bans = core.shared.memory.bans.all(core.shared.now());
    let bits = core.shared.snapshot().config.ddos.ipv6_prefix;
    if address.is_some_and(|address| bans.iter().any(|ban| is_of(ban.address, address, bits))) {
        let command = format!("`sunbeam unblock {}`", kept.record.client_ip);
        warnings.push(format!("its client is blocked for a time: {command} ends that"));
    }
    warnings
}

/// Ends one.
pub(super) fn remove(
    core: &Core,
    id: &str,
    dry_run: bool,
    confirm_within_secs: Option<u64>,
) -> Result<Value, Refused> {
    let within = Within::of(confirm_within_secs, dry_run)?;
    let known = known(&core.shared.snapshot(), id)?;
    within.check(core, &exception_subject(known.id()))?;
    let waiting = OnceCell::new();
    let change = |_: &Snapshot, additions: &mut Additions| -> Result<(), Refused> {
        additions.exceptions = additions.exceptions.without(&[known.id()]);
        Ok(())
    };
    core.change_additions(dry_run, change, || {
        let undo = Undo::Removed { exception: Box::new(known.kept()) };
        let what = format!("removed exception {id}: {}", known.scope().sentence());
        let waits = within.write(core, &what, undo)?;
        let forgotten = core.state.forget_exceptions(&[known.id()]);
        forgotten.inspect_err(|_| changes::not_made(core, waits.as_ref()))?;
        drop(waiting.set(waits));
        Ok(())
    })?;
    let waiting = waiting.into_inner().flatten();
    // Nothing of one that is older than what is kept.
    let kept = find(core, known.from()).ok();
    let left = known.expires().saturating_sub(Timestamp::now().as_second()).max(1);
    let is_wider = known.scope().is_wider();
    let verb = if dry_run { "would be removed" } else { "removed" };
    let mut message = format!("exception {id} {verb}: {}", known.scope().sentence());
    if !dry_run {
        tracing::info!(id, what = known.scope().sentence(), "an exception is removed by an operator");
        match &waiting {
            Some(_) => message.push_str("; what its request is labelled stays until that is confirmed"),
            None => message.push_str(&unlabel(core, known.from(), kept.as_ref())),
        }
    }
    let needs_force = known.kept().high > 0 || is_to_be_forced(core, kept.as_ref());
    let mut answer = json!({
        "success": true,
        "message": message,
        "undo": format!(
            "sunbeam allow {}{}{} --for {left}s",
            known.from(),
            if is_wider { " --wider" } else { "" },
            if needs_force { " --force" } else { "" }
        ),
    });
    changes::tell(&mut answer, waiting.as_ref());
    Ok(answer)
}

/// Whoever makes it again has to insist: by what is known now, which may be more than when it was made.
fn is_to_be_forced(core: &Core, kept: Option<&Kept>) -> bool {
    let suspected = kept.and_then(|kept| Some((kept, suspicion_of(core, kept).ok()?.1)));
    suspected.is_some_and(|(kept, suspicion)| looks_like_an_attack(kept, &suspicion))
}

/// What should not have been allowed is no person's word either, and must teach no model. What is to be said of that.
fn unlabel(core: &Core, from: &str, kept: Option<&Kept>) -> String {
    match labels::take_back(core.state.folder(), from, Label::Human) {
        Ok(false) => String::new(),
        Ok(true) => {
            let more = kept.map(|kept| format!(", {}", people::label(core, kept, Label::Attack)));
            format!("; its request is no longer labelled human{}", more.unwrap_or_default())
        }
        Err(error) => {
            tracing::error!(%error, "the label of a removed exception stays");
            format!("; the label `human` of its request could not be taken back: {error}")
        }
    }
}
