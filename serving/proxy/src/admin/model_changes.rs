// SPDX-License-Identifier: Apache-2.0
//! Models tried, installed and taken away over the API.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use sunbeam_ensemble::Detector;

use super::lists::Refused;
use super::models::model;
use crate::core::{Core, ReloadError};
use crate::judging::Additions;
use crate::judging::models::{
    COMPARED_MIN, Chosen, DETECTORS, NotTaken, Origin, may_replace, may_replace_any, place, put, read,
    remove, waiting_place,
};
use crate::node::StartError;
use crate::snapshot::Snapshot;

/// `POST /api/v1/models/shadow` and `POST /api/v1/models/install`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelRequest {
    /// A file of the node's machine.
    path: String,
    /// Install it whatever was seen of it.
    #[serde(default)]
    force: bool,
    /// Have the node take it by itself once it is known to be no worse; for `shadow` only.
    #[serde(default)]
    promote: bool,
    /// Say what would be done, do nothing.
    #[serde(default)]
    dry_run: bool,
}

impl From<ReloadError> for Refused {
    fn from(error: ReloadError) -> Self {
        match error {
            ReloadError::HandingOver => Self::Conflict(error.to_string()),
            ReloadError::Start(StartError::Compile(wrong)) => Self::Wrong(wrong.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// A model is asked beside the one in use. It never acts; one that is to be promoted is kept beside the state until the
/// node takes it.
pub(super) fn shadow(core: &Core, request: &ModelRequest) -> Result<Value, Refused> {
    let (origin, ends) = match request.promote {
        true => (
            Origin::Waiting,
            format!(
                "; the node takes it after {COMPARED_MIN} requests if it is no worse than the one in use"
            ),
        ),
        false => (Origin::Tried, "; it is forgotten with the node".to_owned()),
    };
    let (chosen, bytes) = chosen(request, origin)?;
    let detector = chosen.detector();
    let waiting = waiting_place(core.state.folder(), detector);
    let chosen = match request.promote {
        true => Arc::new(Chosen { path: Some(waiting.clone()), ..Chosen::clone(&chosen) }),
        false => chosen,
    };
    let change = |running: &Snapshot, additions: &mut Additions| {
        may_be_asked(running, request, &chosen)?;
        if running.models.chosen(detector).hash == chosen.hash {
            return Err(Refused::Conflict(format!("that is the model of `{detector}` that judges already")));
        }
        if request.promote {
            may_replace_any(&running.config, detector).map_err(|why| Refused::Conflict(why.to_string()))?;
        }
        *additions.shelf.challengers.of_mut(detector) = Some(Arc::clone(&chosen));
        Ok(())
    };
    let keep = || if request.promote { put(&waiting, &bytes) } else { remove(&waiting) };
    core.change_additions(request.dry_run, change, keep)?;
    let verb = if request.dry_run { "would be asked" } else { "is asked" };
    Ok(json!({
        "success": true,
        "message": format!(
            "{} {verb} beside the model of `{detector}` in use, and acts on nothing{ends}",
            chosen.fingerprint()
        ),
        "model": model(&chosen),
        "undo": format!("sunbeam model shadow --stop {detector}"),
    }))
}

/// A model is no longer asked.
pub(super) fn unshadow(core: &Core, detector: &str) -> Result<Value, Refused> {
    let detector = named(detector)?;
    let change = |_: &Snapshot, additions: &mut Additions| {
        let tried = additions.shelf.challengers.of_mut(detector).take();
        tried.map(drop).ok_or_else(|| Refused::Missing(format!("no model of `{detector}` is tried")))
    };
    let waiting = waiting_place(core.state.folder(), detector);
    core.change_additions(false, change, || remove(&waiting))?;
    Ok(json!({
        "success": true,
        "message": format!("no model of `{detector}` is tried any more"),
        "model": null,
        "undo": null,
    }))
}

/// A copy of a model is kept beside the state and judges from the next request on.
pub(super) fn install(core: &Core, request: &ModelRequest) -> Result<Value, Refused> {
    if request.promote {
        return Err(Refused::Wrong("`promote` is for `shadow`: what is installed judges at once".to_owned()));
    }
    let (chosen, bytes) = chosen(request, Origin::Installed)?;
    let detector = chosen.detector();
    let place = place(core.state.folder(), detector);
    let chosen = Arc::new(Chosen { path: Some(place.clone()), ..Chosen::clone(&chosen) });
    let (mut was_installed, mut was_tried) = (false, false);
    let change = |running: &Snapshot, additions: &mut Additions| -> Result<(), Refused> {
        may_be_asked(running, request, &chosen)?;
        may_install(running, &chosen, request.force)?;
        let tried = additions.shelf.challengers.of(detector).as_ref();
        was_tried = tried.is_some_and(|tried| tried.hash == chosen.hash);
        was_installed = additions.shelf.install(&chosen);
        Ok(())
    };
    core.change_additions(request.dry_run, change, || put(&place, &bytes))?;
    if was_tried && !request.dry_run {
        // One that stays is known at the next start as the one that is installed.
        drop(remove(&waiting_place(core.state.folder(), detector)));
    }
    let verb = if request.dry_run { "would judge" } else { "judges" };
    Ok(json!({
        "success": true,
        "message": format!("{} {verb} for `{detector}` from the next request on, also after a restart", chosen.fingerprint()),
        "model": model(&chosen),
        // What was installed before it is gone.
        "undo": (!was_installed).then(|| format!("sunbeam model uninstall {detector}")),
    }))
}

/// Back to the model that is compiled in.
pub(super) fn uninstall(core: &Core, detector: &str, dry_run: bool) -> Result<Value, Refused> {
    let detector = named(detector)?;
    let place = place(core.state.folder(), detector);
    let change = |_: &Snapshot, additions: &mut Additions| {
        let installed = additions.shelf.installed.of_mut(detector).take();
        installed.map(drop).ok_or_else(|| Refused::Missing(format!("no model of `{detector}` is installed")))
    };
    core.change_additions(dry_run, change, || remove(&place))?;
    let verb = if dry_run { "would judge" } else { "judges" };
    Ok(json!({
        "success": true,
        "message": format!("the model that is compiled in {verb} for `{detector}`, unless the configuration names another"),
        "model": null,
        "undo": null,
    }))
}

fn named(detector: &str) -> Result<Detector, Refused> {
    let known = DETECTORS.into_iter().find(|known| known.as_str() == detector);
    known
        .ok_or_else(|| Refused::Wrong(format!("`{detector}` is no detector: there are `scanner` and `ddos`")))
}

fn chosen(request: &ModelRequest, origin: Origin) -> Result<(Arc<Chosen>, Vec<u8>), Refused> {
    let path = Path::new(&request.path);
    if !path.is_absolute() {
        return Err(Refused::Wrong(format!("`{}` is no absolute path", request.path)));
    }
    let (chosen, bytes) = read(path, origin)
        .map_err(|error| Refused::Wrong(format!("`{}` cannot be used: {error}", request.path)))?;
    Ok((Arc::new(chosen), bytes))
}

/// A signature is asked for whatever was seen of a model, also by force.
fn may_be_asked(running: &Snapshot, request: &ModelRequest, chosen: &Chosen) -> Result<(), Refused> {
    let accepted = running.models.signers().accept(chosen);
    accepted.map_err(|error| Refused::Wrong(format!("`{}` cannot be used: {error}", request.path)))
}

/// A model replaces another where it was seen to be no worse, or by force; never against the configuration.
fn may_install(running: &Snapshot, chosen: &Chosen, force: bool) -> Result<(), Refused> {
    let may = match force {
        true => may_replace_any(&running.config, chosen.detector()),
        false => may_replace(&running.models, &running.config, chosen),
    };
    may.map_err(|why| {
        Refused::Conflict(match &why {
            NotTaken::Configured { .. } => why.to_string(),
            NotTaken::Untried => format!("{why}; `--force` installs it untried"),
            _ => format!("{why}; `--force` installs it all the same"),
        })
    })
}
