// SPDX-License-Identifier: Apache-2.0
//! When a model replaces the one in use: on somebody's word at once, and where somebody asked for it beforehand by
//! itself, as soon as it was compared with the one in use on enough requests and is no worse.

use std::sync::Arc;

use sunbeam_ensemble::{Detector, threshold_logit};
use sunbeam_pipeline::{
    Agreement, DetectionMode, LayerOverride, Worse, WorseOfWindows, first_let_go, worse_of_windows,
};
use tracing::{error, info, warn};

use super::{
    AnyModel, Chosen, DETECTORS, ModelsInUse, Origin, configured, key, place, put, read, remove,
    waiting_place,
};
use crate::config::Config;
use crate::core::{Core, ReloadError};
use crate::judging::Additions;
use crate::snapshot::Snapshot;

/// Requests that both models must have judged before one replaces the other.
pub(crate) const COMPARED_MIN: u64 = 1_000;

/// Why a model does not replace the one in use. Shown to the operator as it stands.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    /// By that, nothing that is installed is used.
    #[error("the configuration names `{named}`, which is stronger: empty `{key}` first, or change it there")]
    Configured {
        /// The file.
        named: String,
        /// Where it is named.
        key: &'static str,
    },
    /// Nothing is known of it.
    #[error("it was never tried: `sunbeam model shadow` asks it beside the one in use")]
    Untried,
    /// Too little is known of it.
    #[error("it was asked about {compared} requests only, of {COMPARED_MIN}")]
    TooFew {
        /// How many.
        compared: u64,
    },
    /// What it lets go is not known.
    #[error(
        "of {compared} requests that it was asked about, the model in use has nothing against any: what it would let go is not known"
    )]
    NothingStopped {
        /// How many.
        compared: u64,
    },
    /// Too much is.
    #[error("{0}")]
    Worse(String),
    /// It has lost its wits, whatever it was asked about.
    #[error("it has nothing against `{0}`, which every model should")]
    LetsGo(&'static str),
    /// As [`Self::LetsGo`], of windows.
    #[error("{}", worse_in_words(.0))]
    Windows(WorseOfWindows),
}

/// Whether the configuration lets any model replace the one in use.
///
/// # Errors
/// [`NotTaken::Configured`]
pub(crate) fn may_replace_any(config: &Config, detector: Detector) -> Result<(), NotTaken> {
    match configured(config, detector) {
        "" => Ok(()),
        named => Err(NotTaken::Configured { named: named.to_owned(), key: key(detector) }),
    }
}

/// A model replaces another where the configuration lets it, and where it was seen to be no worse.
///
/// # Errors
/// Why it does not.
pub(crate) fn may_replace(in_use: &ModelsInUse, config: &Config, chosen: &Chosen) -> Result<(), NotTaken> {
    let detector = chosen.detector();
    may_replace_any(config, detector)?;
    if in_use.chosen(detector).hash == chosen.hash {
        return Ok(());
    }
    let tried = in_use.challenger(detector).filter(|(tried, _)| tried.hash == chosen.hash);
    let (_, agreement) = tried.ok_or(NotTaken::Untried)?;
    let compared = agreement.compared();
    if compared < COMPARED_MIN {
        return Err(NotTaken::TooFew { compared });
    }
    if let Some(why) = worse(&agreement, doubt_blocks(config, detector)) {
        return Err(NotTaken::Worse(why));
    }
    let in_use = &in_use.chosen(detector).model;
    match (&chosen.model, in_use) {
        (AnyModel::Scanner(model), _) => {
            first_let_go(model).map_or(Ok(()), |attack| Err(NotTaken::LetsGo(attack)))
        }
        (AnyModel::Ddos(model), AnyModel::Ddos(in_use)) => {
            let threshold = threshold_logit(config.ddos.threshold);
            if let Some(worse) = worse_of_windows(in_use, model, threshold) {
                return Err(NotTaken::Windows(worse));
            }
            // Floods are seldom: where there was none, a thousand windows say only that it leaves visitors alone.
            match agreement.stopped_in_use() {
                0 => Err(NotTaken::NothingStopped { compared }),
                _ => Ok(()),
            }
        }
        // One of each detector is in use: there is no other.
        (AnyModel::Ddos(_), AnyModel::Scanner(_)) => Err(NotTaken::Untried),
    }
}

fn worse_in_words(worse: &WorseOfWindows) -> String {
    let WorseOfWindows { lets_go, what, doubted: [old, new], of } = *worse;
    let who = if lets_go { "made-up attackers (floods, passwords, scans)" } else { "made-up calm visitors" };
    let what_of_it = if lets_go { "lets go" } else { "doubts" };
    format!("of {of} {who} it doubts {new}, the one in use {old}: it {what_of_it} `{what}`")
}

/// Whether what a layer only doubts is blocked, on any route.
pub(crate) fn doubt_blocks(config: &Config, detector: Detector) -> bool {
    let (is_watched, own): (bool, fn(&sunbeam_pipeline::ProtectSection) -> Option<LayerOverride>) =
        match detector {
            Detector::Scanner => (config.scanner.observe_only, |protect| protect.scanner),
            Detector::Ddos => (config.ddos.observe_only, |protect| protect.ddos),
        };
    let is_enforced = config.detection.mode == DetectionMode::Enforce
        || config.routes.iter().any(|route| own(&route.protect) == Some(LayerOverride::Enforce));
    is_enforced && !is_watched
}

/// On which side a model is worse than the one in use, with the numbers.
pub(crate) fn worse(agreement: &Agreement, doubt_blocks: bool) -> Option<String> {
    Some(match agreement.worse(doubt_blocks)? {
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
        Worse::LetsGoDoubtful => {
            let [lost, won] = agreement.strangers();
            format!(
                "doubt blocks here, and it has nothing against {lost} requests that the one in use doubts, and doubts {won} others"
            )
        }
    })
}

/// Why a challenger did not come into use.
#[derive(Debug, thiserror::Error)]
enum PromotionError {
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    #[error(transparent)]
    Reload(#[from] ReloadError),
    #[error("its copy `{path}` cannot be used: {reason}")]
    Copy { path: String, reason: String },
    /// Somebody changed it meanwhile.
    #[error("another model is tried by now")]
    Changed,
}

impl Core {
    /// Has those challengers judge that wait for it and earned it. One that turns out worse waits no longer, and is
    /// tried on: nobody is surprised by a model that was refused for a thousand requests and came into use after.
    /// A failure of the disk is logged, the model in use goes on, and it is tried again with the next call.
    pub(crate) fn promote_challengers(&self) {
        for detector in DETECTORS {
            let running = self.shared.snapshot();
            let waiting =
                running.models.challenger(detector).filter(|(tried, _)| tried.origin == Origin::Waiting);
            let Some((tried, agreement)) = waiting else { continue };
            let done = match may_replace(&running.models, &running.config, tried) {
                Ok(()) => self.promote(tried, agreement.compared()),
                Err(why @ (NotTaken::Worse(_) | NotTaken::LetsGo(_) | NotTaken::Windows(_))) => {
                    self.decline(tried, &why.to_string())
                }
                Err(
                    NotTaken::Configured { .. }
                    | NotTaken::Untried
                    | NotTaken::TooFew { .. }
                    | NotTaken::NothingStopped { .. },
                ) => Ok(()),
            };
            match done {
                // Who takes over has read it, and goes on.
                Ok(()) | Err(PromotionError::Changed | PromotionError::Reload(ReloadError::HandingOver)) => {}
                Err(error) => {
                    error!(detector = detector.as_str(), fingerprint = tried.fingerprint(), %error,
                        "a model that earned it did not come into use; trying on");
                }
            }
        }
    }

    fn promote(&self, tried: &Arc<Chosen>, compared: u64) -> Result<(), PromotionError> {
        let detector = tried.detector();
        let (waiting, place) =
            (waiting_place(self.state.folder(), detector), place(self.state.folder(), detector));
        let copy = |reason: String| PromotionError::Copy { path: waiting.display().to_string(), reason };
        let (chosen, bytes) = read(&waiting, Origin::Installed).map_err(|error| copy(error.to_string()))?;
        if chosen.hash != tried.hash {
            return Err(copy("it is another model by now".to_owned()));
        }
        let chosen = Arc::new(Chosen { path: Some(place.clone()), ..chosen });
        let change = |running: &Snapshot, additions: &mut Additions| -> Result<(), PromotionError> {
            still_waits(additions, tried)?;
            may_replace(&running.models, &running.config, tried)?;
            additions.shelf.install(&chosen);
            Ok(())
        };
        self.change_additions(false, change, || put(&place, &bytes))?;
        // One that stays is known at the next start as the one that is installed.
        drop(remove(&waiting));
        info!(
            detector = detector.as_str(),
            fingerprint = chosen.fingerprint(),
            compared,
            "a model that was tried judges from now on: it was no worse than the one before"
        );
        Ok(())
    }

    fn decline(&self, tried: &Arc<Chosen>, why: &str) -> Result<(), PromotionError> {
        let detector = tried.detector();
        let waiting = waiting_place(self.state.folder(), detector);
        let change = |_: &Snapshot, additions: &mut Additions| -> Result<(), PromotionError> {
            still_waits(additions, tried)?;
            let declined = Chosen { origin: Origin::Declined, path: None, ..Chosen::clone(tried) };
            *additions.shelf.challengers.of_mut(detector) = Some(Arc::new(declined));
            Ok(())
        };
        self.change_additions(false, change, || remove(&waiting))?;
        warn!(
            detector = detector.as_str(),
            fingerprint = tried.fingerprint(),
            why,
            "a model does not come into use: it turned out worse than the one that judges"
        );
        Ok(())
    }
}

fn still_waits(additions: &Additions, tried: &Chosen) -> Result<(), PromotionError> {
    let now = additions.shelf.challengers.of(tried.detector()).as_ref();
    let is_same = now.is_some_and(|now| now.hash == tried.hash && now.origin == Origin::Waiting);
    if is_same { Ok(()) } else { Err(PromotionError::Changed) }
}
