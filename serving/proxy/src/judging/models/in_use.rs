// SPDX-License-Identifier: Apache-2.0
//! The models that one configuration judges by, and what they have seen so far.

use std::path::Path;
use std::sync::Arc;

use sunbeam_ensemble::{Calibration, Detector};
use sunbeam_pipeline::{Agreement, Challenger, Models, Sight};

use super::signature::KEY;
use super::{AnyModel, Chosen, DETECTORS, ModelProblem, Origin, PerDetector, Shelf, Signers, named};
use crate::config::Config;

/// See the module.
#[derive(Debug)]
pub(crate) struct ModelsInUse {
    chosen: PerDetector<Arc<Chosen>>,
    challengers: PerDetector<Option<Arc<Chosen>>>,
    signers: Signers,
    models: Models,
}

impl ModelsInUse {
    /// By precedence; also what is installed and not used must be of who is trusted. Counts go on where the model is the one `before`, and comparisons where both are.
    pub(crate) fn choose(
        config: &Config,
        shelf: &Shelf,
        before: Option<&Self>,
    ) -> Result<Self, ModelProblem> {
        let signers = Signers::of(config)?;
        DETECTORS.into_iter().try_for_each(|detector| check_shelf(shelf, &signers, detector))?;
        let chosen = PerDetector {
            scanner: chosen(config, shelf, &signers, Detector::Scanner)?,
            ddos: chosen(config, shelf, &signers, Detector::Ddos)?,
        };
        let challengers = shelf.challengers.clone();
        let mut next = Self { chosen, challengers, signers, models: Models::default() };
        next.begin();
        if let Some(before) = before {
            next.keep_counts(before, Detector::Scanner);
            next.keep_counts(before, Detector::Ddos);
        }
        Ok(next)
    }

    /// Every count at nothing.
    fn begin(&mut self) {
        let models = &mut self.models;
        for chosen in [&self.chosen.scanner, &self.chosen.ddos] {
            match &chosen.model {
                AnyModel::Scanner(model) => models.scanner = Arc::clone(model),
                AnyModel::Ddos(model) => models.ddos = Arc::clone(model),
            }
        }
        for tried in [&self.challengers.scanner, &self.challengers.ddos].into_iter().flatten() {
            match &tried.model {
                AnyModel::Scanner(model) => models.scanner_challenger = Some(fresh(model)),
                AnyModel::Ddos(model) => models.ddos_challenger = Some(fresh(model)),
            }
        }
    }

    fn keep_counts(&mut self, before: &Self, detector: Detector) {
        if !self.is_judged_as(before, detector) {
            return;
        }
        let is_tried_as = self.is_tried_as(before, detector);
        let (models, before) = (&mut self.models, &before.models);
        match detector {
            Detector::Scanner => models.scanner_sight = Arc::clone(&before.scanner_sight),
            Detector::Ddos => models.ddos_sight = Arc::clone(&before.ddos_sight),
        }
        match detector {
            _ if !is_tried_as => {}
            Detector::Scanner => models.scanner_challenger.clone_from(&before.scanner_challenger),
            Detector::Ddos => models.ddos_challenger.clone_from(&before.ddos_challenger),
        }
    }

    /// For the pipeline.
    pub(crate) fn models(&self) -> Models {
        self.models.clone()
    }

    /// Whose models are taken.
    pub(crate) const fn signers(&self) -> &Signers {
        &self.signers
    }

    /// The model in use.
    pub(crate) const fn chosen(&self, detector: Detector) -> &Arc<Chosen> {
        self.chosen.of(detector)
    }

    /// The model that is tried beside it, and what came of that so far.
    pub(crate) fn challenger(&self, detector: Detector) -> Option<(&Arc<Chosen>, Agreement)> {
        let tried = self.challengers.of(detector).as_ref()?;
        let agreement = match detector {
            Detector::Scanner => self.models.scanner_challenger.as_ref()?.agreement(),
            Detector::Ddos => self.models.ddos_challenger.as_ref()?.agreement(),
        };
        Some((tried, agreement))
    }

    /// What the model in use sees.
    pub(crate) const fn sight(&self, detector: Detector) -> &Arc<Sight> {
        match detector {
            Detector::Scanner => &self.models.scanner_sight,
            Detector::Ddos => &self.models.ddos_sight,
        }
    }

    /// Scores of those whom the site knows. Of windows there are none: theirs are not judged.
    pub(crate) fn benign(&self, detector: Detector) -> Option<Calibration> {
        (detector == Detector::Scanner).then(|| self.models.scanner_sight.benign())
    }

    fn is_judged_as(&self, other: &Self, detector: Detector) -> bool {
        self.chosen.of(detector).hash == other.chosen.of(detector).hash
    }

    fn is_tried_as(&self, other: &Self, detector: Detector) -> bool {
        let hash = |of: &Self| of.challengers.of(detector).as_ref().map(|tried| tried.hash);
        hash(self) == hash(other)
    }
}

fn fresh<M>(model: &Arc<M>) -> Arc<Challenger<M>> {
    Arc::new(Challenger::new(Arc::clone(model)))
}

/// Whether the key of the configuration signed what does not come from the configuration.
fn check_shelf(shelf: &Shelf, signers: &Signers, detector: Detector) -> Result<(), ModelProblem> {
    let installed =
        (shelf.installed.of(detector), "installed", "model uninstall", "; without a node, delete the file");
    let tried = shelf.challengers.of(detector);
    let is_kept = tried.as_ref().is_some_and(|tried| tried.origin == Origin::Waiting);
    let more = if is_kept { "; without a node, delete the file" } else { "" };
    let tried = (tried, "tried", "model shadow --stop", more);
    for (chosen, what, command, more) in [installed, tried] {
        let Some(chosen) = chosen else { continue };
        signers.accept(chosen).map_err(|error| {
            let path = chosen.path.as_deref().unwrap_or_else(|| Path::new("")).display();
            let message = format!(
                "the {what} model `{path}` cannot be used: {error} (`sunbeam {command} {detector}` takes it away{more})"
            );
            ModelProblem { key: KEY, message }
        })?;
    }
    Ok(())
}

fn chosen(
    config: &Config,
    shelf: &Shelf,
    signers: &Signers,
    detector: Detector,
) -> Result<Arc<Chosen>, ModelProblem> {
    if let Some(named) = named(config, signers, detector)? {
        return Ok(Arc::new(named));
    }
    let installed = shelf.installed.of(detector).as_ref().map(Arc::clone);
    Ok(installed.unwrap_or_else(|| Chosen::compiled_in(detector)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other() -> Arc<Chosen> {
        let chosen = Chosen::clone(&Chosen::compiled_in(Detector::Scanner));
        Arc::new(Chosen { origin: Origin::Installed, hash: [7; 32], ..chosen })
    }

    #[test]
    fn what_is_installed_is_used_and_counts_go_on_for_as_long_as_the_model_stays() {
        let config = Config::default();
        let mut shelf = Shelf::default();
        let first = ModelsInUse::choose(&config, &shelf, None).unwrap();
        assert_eq!(first.chosen(Detector::Scanner).origin, Origin::CompiledIn);
        shelf.challengers.scanner = Some(other());
        let tried = ModelsInUse::choose(&config, &shelf, Some(&first)).unwrap();
        assert!(Arc::ptr_eq(tried.sight(Detector::Scanner), first.sight(Detector::Scanner)));
        let again = ModelsInUse::choose(&config, &shelf, Some(&tried)).unwrap();
        let challenger = |of: &ModelsInUse| of.models.scanner_challenger.clone().unwrap();
        assert!(Arc::ptr_eq(&challenger(&again), &challenger(&tried)));
        shelf.installed.scanner = Some(other());
        let next = ModelsInUse::choose(&config, &shelf, Some(&again)).unwrap();
        assert_eq!(next.chosen(Detector::Scanner).origin, Origin::Installed);
        assert!(!Arc::ptr_eq(next.sight(Detector::Scanner), again.sight(Detector::Scanner)));
        assert!(!Arc::ptr_eq(&challenger(&next), &challenger(&again)), "it was compared with another");
        assert!(Arc::ptr_eq(next.sight(Detector::Ddos), first.sight(Detector::Ddos)));
    }
}
