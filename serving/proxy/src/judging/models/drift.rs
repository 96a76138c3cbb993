// SPDX-License-Identifier: Apache-2.0
//! Whether what is judged is still like what the models were trained on: looked at once a minute.

use std::collections::HashMap;

use sunbeam_ensemble::{BINS, DRIFT_ROWS_MIN, Detector, Histograms, feature_names};
use sunbeam_pipeline::DetectionMetrics;

use super::{Chosen, DETECTORS, ModelsInUse, PerDetector};

/// A period is over after so many looks, once it has enough samples.
const LOOKS: u32 = 10;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct DriftWatch(PerDetector<Course>);

impl DriftWatch {
    /// Takes what was seen since the last look, and shows what it says.
    pub(crate) fn look(&mut self, in_use: &ModelsInUse, metrics: &DetectionMetrics) {
        for detector in DETECTORS {
            let course = self.0.of_mut(detector);
            let chosen = in_use.chosen(detector);
            if course.of != Some(chosen.hash) {
                *course = Course { of: Some(chosen.hash), ..Course::default() };
                forget(detector, metrics);
            }
            course.add(&in_use.sight(detector).take(), chosen);
            for (feature, index) in &course.indices {
                metrics.layers.drift_index(detector.as_str(), feature).set(*index);
            }
        }
    }

    /// The index of each feature of the model with this hash, and the samples that it is made of.
    pub(crate) fn told(&self, chosen: &Chosen) -> (&[(&'static str, f64)], u64) {
        let course = self.0.of(chosen.detector());
        if course.of == Some(chosen.hash) { (&course.indices, course.rows()) } else { (&[], 0) }
    }

    /// How the scores of that model are spread, in this period, the one before it, and since the last look.
    pub(crate) fn scores(&self, in_use: &ModelsInUse, detector: Detector) -> [u64; BINS] {
        let course = self.0.of(detector);
        let mut all = in_use.sight(detector).scores();
        if course.of == Some(in_use.chosen(detector).hash) {
            for seen in [&course.before, &course.now] {
                all.iter_mut().zip(seen.scores).for_each(|(sum, more)| *sum = sum.saturating_add(more));
            }
        }
        all
    }
}

/// This period and the one before it: an index of both is never of a few minutes only, and forgets.
#[derive(Debug, Default)]
struct Course {
    /// The hash of the model.
    of: Option<[u8; 32]>,
    before: Histograms,
    now: Histograms,
    looks: u32,
    indices: Vec<(&'static str, f64)>,
}

impl Course {
    fn rows(&self) -> u64 {
        self.before.rows().saturating_add(self.now.rows())
    }

    fn add(&mut self, seen: &Histograms, chosen: &Chosen) {
        self.now.add(seen);
        self.looks = self.looks.saturating_add(1);
        if self.rows() >= DRIFT_ROWS_MIN {
            let mut both = self.before.clone();
            both.add(&self.now);
            self.indices = both.indices(chosen.detector(), chosen.reference());
        }
        if self.looks >= LOOKS && self.now.rows() >= DRIFT_ROWS_MIN {
            self.before = std::mem::take(&mut self.now);
            self.looks = 0;
        }
    }
}

/// What was said of another model goes.
fn forget(detector: Detector, metrics: &DetectionMetrics) {
    for feature in feature_names(detector).chain(["score"]) {
        let labels = HashMap::from([("detector", detector.as_str()), ("feature", feature)]);
        metrics.layers.forget("sunbeam_drift_index", &labels);
    }
}

#[cfg(test)]
mod tests {
    use sunbeam_config::{Loaded, Sources};
    use sunbeam_ensemble::{Drift, INPUTS, Reference};
    use sunbeam_metrics::Registry;
    use sunbeam_pipeline::Scratch;
    use sunbeam_tables::Moment;
    use sunbeam_traffic::RequestFacts;

    use super::*;
    use crate::config::Config;
    use crate::offline::Offline;

    /// As many rows as asked for, spread as in validation.
    fn like(reference: &Reference, rows: u64) -> Histograms {
        let share = |bin: &u16| u64::from(*bin) * rows / 65_535;
        Histograms {
            inputs: reference.inputs.each_ref().map(|bins| bins.each_ref().map(share)),
            scores: reference.scores.each_ref().map(share),
        }
    }

    #[test]
    fn what_was_judged_is_shown_and_what_was_said_of_another_model_goes() {
        let (config, sources) = (Config::default(), Sources::default());
        let offline = Offline::new(&Loaded { config, sources, warnings: Vec::new() }).unwrap();
        let registry = Registry::new();
        let (metrics, mut watch) = (DetectionMetrics::register(&registry), DriftWatch::default());
        let series = || registry.series("sunbeam_drift_index");
        let mut scratch = Scratch::default();
        let facts = RequestFacts { host: "shop.example", path: "/a", ..RequestFacts::EMPTY };
        for second in 0..16 * DRIFT_ROWS_MIN {
            offline.pipeline().judge(&facts, Moment::from_micros(second * 1_000_000), &mut scratch);
        }
        let in_use = &offline.snapshot.models;
        let seen = |watch: &DriftWatch| watch.scores(in_use, Detector::Scanner).iter().sum::<u64>();
        assert_eq!(seen(&watch), DRIFT_ROWS_MIN, "before anybody looks");
        watch.look(in_use, &metrics);
        assert_eq!(seen(&watch), DRIFT_ROWS_MIN, "each once");
        assert_eq!(series().len(), feature_names(Detector::Scanner).count() + 1);
        assert!(series().iter().all(|series| series.label("detector") == Some("scanner")));
        let (indices, rows) = watch.told(in_use.chosen(Detector::Scanner));
        assert_eq!((indices.len(), rows), (series().len(), DRIFT_ROWS_MIN));
        watch.0.scanner.of = Some([0; 32]);
        assert_eq!((watch.told(in_use.chosen(Detector::Scanner)).1, seen(&watch)), (0, 0));
        watch.look(in_use, &metrics);
        assert!(series().is_empty());
    }

    #[test]
    fn an_index_comes_with_a_thousand_rows_and_forgets_within_two_periods() {
        let chosen = Chosen::compiled_in(Detector::Scanner);
        let mut course = Course::default();
        course.add(&like(chosen.reference(), 900), &chosen);
        assert!(course.indices.is_empty());
        course.add(&like(chosen.reference(), 30_000), &chosen);
        let drifts = |course: &Course| -> Vec<Drift> {
            course.indices.iter().map(|(_, index)| Drift::of(*index)).collect()
        };
        assert!(drifts(&course).iter().all(|drift| *drift == Drift::Stable), "{:?}", course.indices);
        let bins = [0, 0, 0, 0, 0, 5_000, 0, 0, 0, 0];
        let other = Histograms { inputs: [bins; INPUTS], scores: bins };
        (0..3 * LOOKS).for_each(|_| course.add(&other, &chosen));
        assert!(drifts(&course).iter().all(|drift| *drift == Drift::Shifted), "{:?}", course.indices);
        assert!(course.rows() <= u64::from(2 * LOOKS) * 5_000, "the rows of before are gone");
    }
}
