// SPDX-License-Identifier: Apache-2.0
//! Models tried, installed and taken away over the API.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use sunbeam_ensemble::Detector;
use sunbeam_pipeline::{Agreement, Worse, first_let_go};

use super::lists::Refused;
use super::models::model;
use crate::core::{Core, ReloadError};
use crate::judging::Additions;
use crate::judging::models::{
    AnyModel, Chosen, DETECTORS, Origin, configured, key, place, put, read, remove,
};
use crate::node::StartError;
use crate::snapshot::Snapshot;

/// Requests that both models must have judged before one replaces the other.
const COMPARED_MIN: u64 = 1_000;

/// `POST /api/v1/models/shadow` and `POST /api/v1/models/install`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelRequest {
    /// A file of the node's machine.
    path: String,
    /// Install it whatever was seen of it.
    #[serde(default)]
    force: bool,
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

/// A model is asked beside the one in use. It never acts.
pub(super) fn shadow(core: &Core, request: &ModelRequest) -> Result<Value, Refused> {
    let (chosen, _) = chosen(request, Origin::Tried)?;
    let detector = chosen.detector();
    let change = |running: &Snapshot, additions: &mut Additions| {
        may_be_asked(running, request, &chosen)?;
        if running.models.chosen(detector).hash == chosen.hash {
            return Err(Refused::Conflict(format!("that is the model of `{detector}` that judges already")));
        }
        *additions.shelf.challengers.of_mut(detector) = Some(Arc::clone(&chosen));
        Ok(())
    };
    core.change_additions(request.dry_run, change, || Ok(()))?;
    let verb = if request.dry_run { "would be asked" } else { "is asked" };
    Ok(json!({
        "success": true,
        "message": format!(
            "{} {verb} beside the model of `{detector}` in use, and acts on nothing; it is forgotten with the node",
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
    core.change_additions(false, change, || Ok(()))?;
    Ok(json!({
        "success": true,
        "message": format!("no model of `{detector}` is tried any more"),
        "model": null,
        "undo": null,
    }))
}

/// A copy of a model is kept beside the state and judges from the next request on.
pub(super) fn install(core: &Core, request: &ModelRequest) -> Result<Value, Refused> {
    let (chosen, bytes) = chosen(request, Origin::Installed)?;
    let detector = chosen.detector();
    let place = place(core.state.folder(), detector);
    let chosen = Arc::new(Chosen { path: Some(place.clone()), ..Chosen::clone(&chosen) });
    let mut was_installed = false;
    let change = |running: &Snapshot, additions: &mut Additions| -> Result<(), Refused> {
        may_be_asked(running, request, &chosen)?;
        may_install(running, &chosen, request.force)?;
        let challenger = additions.shelf.challengers.of_mut(detector);
        if challenger.as_ref().is_some_and(|tried| tried.hash == chosen.hash) {
            // There is nothing to compare it with any more.
            *challenger = None;
        }
        was_installed = additions.shelf.installed.of_mut(detector).replace(Arc::clone(&chosen)).is_some();
        Ok(())
    };
    core.change_additions(request.dry_run, change, || put(&place, &bytes))?;
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

/// A model replaces another where the configuration lets it, and where it was seen to be no worse.
fn may_install(running: &Snapshot, chosen: &Chosen, force: bool) -> Result<(), Refused> {
    let detector = chosen.detector();
    let named = configured(&running.config, detector);
    if !named.is_empty() {
        return Err(Refused::Conflict(format!(
            "the configuration names `{named}`, which is stronger: empty `{}` first, or change it there",
            key(detector)
        )));
    }
    if force || running.models.chosen(detector).hash == chosen.hash {
        return Ok(());
    }
    let tried = running.models.challenger(detector).filter(|(tried, _)| tried.hash == chosen.hash);
    let Some((_, agreement)) = tried else {
        return Err(Refused::Conflict(
            "it was never tried: `sunbeam model shadow` asks it beside the one in use; `--force` installs it untried"
                .to_owned(),
        ));
    };
    let compared = agreement.compared();
    if compared < COMPARED_MIN {
        return Err(Refused::Conflict(format!(
            "it was asked about {compared} requests only, of {COMPARED_MIN}; `--force` installs it all the same"
        )));
    }
    if let Some(why) = worse(&agreement) {
        return Err(Refused::Conflict(format!("{why}; `--force` installs it all the same")));
    }
    if let AnyModel::Scanner(model) = &chosen.model
        && let Some(attack) = first_let_go(model)
    {
        return Err(Refused::Conflict(format!(
            "it has nothing against `{attack}`, which every model should; `--force` installs it all the same"
        )));
    }
    Ok(())
}

/// On which side a model is worse than the one in use, with the numbers.
pub(super) fn worse(agreement: &Agreement) -> Option<String> {
    Some(match agreement.worse()? {
        Worse::StopsTheKnown => format!(
            "it stops {} requests of visitors whom the site knows that the one in use lets go, and lets go {}",
            agreement.known_only_new, agreement.known_only_old
        ),
        Worse::StopsMany => format!(
            "it stops {} of {} requests that the one in use lets go, and lets go {}",
            agreement.only_new,
            agreement.compared(),
            agreement.only_old
        ),
        Worse::LetsGo => format!(
            "it is not certain of {} requests that the one in use is certain of, and newly certain of {}",
            agreement.only_old_certain, agreement.only_new_certain
        ),
    })
}
