// SPDX-License-Identifier: Apache-2.0
//! Samples in the order of their scores, and what follows from the order alone: ROC, AUC, precision and recall.

use super::{Scored, share};

/// Samples, sorted once, equal scores together. `n log n` to make; every measure is linear after that.
#[derive(Clone, Debug, Default)]
pub struct Ranking {
    /// Falling scores, none twice.
    steps: Vec<Step>,
}

/// What a threshold of `score` blocks.
#[derive(Clone, Copy, Debug)]
struct Step {
    score: f64,
    /// Weight of the attacks at this score or above.
    attacks: f64,
    /// Weight of the benign at this score or above.
    benign: f64,
}

/// A point of a ROC curve (Fawcett 2006, An introduction to ROC analysis).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RocPoint {
    /// Infinite in the first point, which blocks nothing.
    pub threshold: f64,
    /// Share of the benign that is blocked.
    pub false_positive_rate: f64,
    /// Share of the attacks that is blocked.
    pub true_positive_rate: f64,
}

/// A point of a precision-recall curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrecisionPoint {
    /// The score that is blocked, with all above.
    pub threshold: f64,
    /// Share of the attacks that is blocked.
    pub recall: f64,
    /// Share of the blocked that is an attack.
    pub precision: f64,
}

impl Ranking {
    /// Sorts; samples that count for nothing are left out.
    pub fn of(samples: &[Scored]) -> Self {
        let mut ranked: Vec<&Scored> = samples.iter().filter(|sample| sample.counts()).collect();
        ranked.sort_unstable_by(|one, other| order(other.score).total_cmp(&order(one.score)));
        let mut ranking = Self::default();
        ranked.into_iter().for_each(|sample| ranking.push(sample));
        ranking
    }

    fn push(&mut self, sample: &Scored) {
        let score = order(sample.score);
        let before = self.total();
        if before.score != score || self.steps.is_empty() {
            self.steps.push(Step { score, ..before });
        }
        if let Some(step) = self.steps.last_mut() {
            *if sample.is_attack { &mut step.attacks } else { &mut step.benign } += sample.weight;
        }
    }

    fn total(&self) -> Step {
        self.steps.last().copied().unwrap_or(NOTHING)
    }

    /// Weight of all attacks.
    pub fn attacks(&self) -> f64 {
        self.total().attacks
    }

    /// Weight of all that is benign.
    pub fn benign(&self) -> f64 {
        self.total().benign
    }

    /// Whether there is something of each class; without, no curve is.
    pub fn has_both_classes(&self) -> bool {
        self.attacks() > 0.0 && self.benign() > 0.0
    }

    /// Points from (0, 0) to (1, 1), one for each different score. None where a class is missing.
    pub fn roc(&self) -> Option<Vec<RocPoint>> {
        let total = self.total();
        let point = |step: &Step| RocPoint {
            threshold: step.score,
            false_positive_rate: step.benign / total.benign,
            true_positive_rate: step.attacks / total.attacks,
        };
        self.has_both_classes().then(|| std::iter::once(&NOTHING).chain(&self.steps).map(point).collect())
    }

    /// The chance that an attack scores above something benign, ties by half: the area under the ROC curve
    /// (Mann & Whitney 1947; Hanley & McNeil 1982). None where a class is missing.
    pub fn auc(&self) -> Option<f64> {
        let areas = self
            .pairs()
            .map(|(above, step)| (step.benign - above.benign) * (above.attacks + step.attacks) / 2.0);
        share(areas.sum(), self.attacks() * self.benign())
    }

    /// Each step beside the one above it.
    fn pairs(&self) -> impl Iterator<Item = (&Step, &Step)> {
        std::iter::once(&NOTHING).chain(&self.steps).zip(&self.steps)
    }

    /// The lowest score that blocks no more than `rate_max` of the benign, equal scores together: as the threshold
    /// it blocks the most attacks that the target leaves room for. None where there is nothing benign to measure
    /// by, or where the highest score alone blocks too much.
    pub fn threshold_at(&self, rate_max: f64) -> Option<f64> {
        let benign = self.benign();
        let fits = |step: &Step| share(step.benign, benign).is_some_and(|rate| rate <= rate_max);
        let fitting = self.steps.partition_point(fits);
        let scores = self.steps.iter().take(fitting).map(|step| step.score);
        scores.rev().find(|score| *score > f64::NEG_INFINITY)
    }

    /// The share of the attacks that [`Ranking::threshold_at`] blocks; 0 where nothing may be blocked. None where a
    /// class is missing.
    pub fn true_positive_rate_at(&self, rate_max: f64) -> Option<f64> {
        let blocked = self.threshold_at(rate_max).map_or(0.0, |threshold| self.step_at(threshold).attacks);
        self.has_both_classes().then(|| blocked / self.attacks())
    }

    fn step_at(&self, threshold: f64) -> Step {
        let blocked = self.steps.partition_point(|step| step.score >= threshold);
        blocked.checked_sub(1).and_then(|last| self.steps.get(last)).copied().unwrap_or(NOTHING)
    }

    /// Points of rising recall, one for each different score. None where a class is missing. Between points the
    /// curve is no straight line (Davis & Goadrich 2006): draw steps.
    pub fn precision_recall(&self) -> Option<Vec<PrecisionPoint>> {
        let attacks = self.attacks();
        let point = |step: &Step| PrecisionPoint {
            threshold: step.score,
            recall: step.attacks / attacks,
            precision: step.attacks / (step.attacks + step.benign),
        };
        self.has_both_classes().then(|| self.steps.iter().map(point).collect())
    }

    /// Mean precision over the attacks, without interpolation (Zhu 2004, Recall, precision and average precision).
    /// None where a class is missing.
    pub fn average_precision(&self) -> Option<f64> {
        let parts = self.pairs().map(|(above, step)| {
            (step.attacks - above.attacks) * step.attacks / (step.attacks + step.benign)
        });
        self.has_both_classes().then(|| parts.sum::<f64>() / self.attacks())
    }
}

/// Above every score.
const NOTHING: Step = Step { score: f64::INFINITY, attacks: 0.0, benign: 0.0 };

/// Scores that compare: both zeros are one, and what is not a number is lowest.
fn order(score: f64) -> f64 {
    if score.is_nan() { f64::NEG_INFINITY } else { score + 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measures::Confusion;
    use crate::measures::tests::{near, samples, some_samples};
    use proptest::prelude::*;

    #[test]
    fn auc_and_average_precision_are_the_known_ones() {
        for (name, attacks, benign, auc, precision) in [
            ("apart", &[0.8, 0.9][..], &[0.1, 0.2][..], 1.0, 1.0),
            ("the wrong way round", &[0.1], &[0.8], 0.0, 0.5),
            ("all equal", &[0.5, 0.5], &[0.5, 0.5], 0.5, 0.5),
            // scikit-learn's own example of `roc_auc_score` and `average_precision_score`.
            ("scikit-learn", &[0.35, 0.8], &[0.1, 0.4], 0.75, 5.0 / 6.0),
            ("a tie across", &[0.5, 0.9], &[0.5, 0.1], 0.875, 5.0 / 6.0),
            ("infinite", &[f64::INFINITY], &[f64::NEG_INFINITY], 1.0, 1.0),
            ("not a number is lowest", &[f64::NAN], &[-1e300], 0.0, 0.5),
            ("zeros are one", &[0.0], &[-0.0], 0.5, 0.5),
        ] {
            let ranking = Ranking::of(&samples(attacks, benign));
            near(name, ranking.auc(), auc);
            near(name, ranking.average_precision(), precision);
        }
    }

    #[test]
    fn one_class_says_nothing() {
        for (name, attacks, benign) in
            [("empty", &[][..], &[][..]), ("attacks", &[0.5], &[]), ("benign", &[], &[0.5])]
        {
            let ranking = Ranking::of(&samples(attacks, benign));
            assert!(ranking.auc().is_none() && ranking.roc().is_none(), "{name}");
            assert!(ranking.average_precision().is_none() && ranking.precision_recall().is_none(), "{name}");
            assert_eq!(ranking.true_positive_rate_at(0.5), None, "{name}");
        }
    }

    #[test]
    fn a_threshold_keeps_to_its_target() {
        let benign: Vec<f64> = (0..1000).map(f64::from).collect();
        for (name, attacks, benign, target, want) in [
            ("one of a thousand", &[2000.0][..], &benign[..], 0.001, Some(999.0)),
            ("none", &[2000.0], &benign, 0.0, Some(2000.0)),
            ("no attacks", &[], &benign, 0.002, Some(998.0)),
            ("a tie that would go over is not taken", &[9.0], &[5.0, 5.0, 1.0, 0.0], 0.25, Some(9.0)),
            ("a tie that fits is", &[9.0], &[5.0, 5.0, 1.0, 0.0], 0.5, Some(5.0)),
            ("the highest is too much", &[1.0], &[1.0], 0.5, None),
            ("all may be blocked", &[1.0], &[0.5], 1.0, Some(0.5)),
            ("nothing reaches not a number", &[1.0], &[f64::NAN], 1.0, Some(1.0)),
            ("no benign", &[1.0], &[], 1.0, None),
            ("no target", &[1.0], &[0.0], f64::NAN, None),
        ] {
            assert_eq!(Ranking::of(&samples(attacks, benign)).threshold_at(target), want, "{name}");
        }
    }

    #[test]
    fn weights_count() {
        let mut weighted = samples(&[0.9, 0.4], &[0.5]);
        weighted.iter_mut().filter(|sample| sample.score > 0.6).for_each(|sample| sample.weight = 3.0);
        near("weighted", Ranking::of(&weighted).auc(), 0.75);
        weighted.iter_mut().filter(|sample| !sample.is_attack).for_each(|sample| sample.weight = f64::NAN);
        assert_eq!(Ranking::of(&weighted).auc(), None);
    }

    #[test]
    fn weights_and_ties_are_scikit_learn_s() {
        let scores = [0.9, 0.5, 0.5, 0.2, 0.9, 0.5, 0.3, 0.2, 0.1];
        let weights = [1.0, 2.0, 0.5, 3.0, 0.25, 1.0, 4.0, 2.0, 1.0];
        let mut all = samples(&scores[..4], &scores[4..]);
        all.iter_mut().zip(weights).for_each(|(sample, weight)| sample.weight = weight);
        near("area", Ranking::of(&all).auc(), 0.613_053_613_053_613_1);
        near("precision", Ranking::of(&all).average_precision(), 0.624_659_550_975_340_4);
    }

    fn auc_slowly(samples: &[Scored]) -> Option<f64> {
        let (mut won, mut all) = (0.0, 0.0);
        for attack in samples.iter().filter(|sample| sample.is_attack) {
            for benign in samples.iter().filter(|sample| !sample.is_attack) {
                let weight = attack.weight * benign.weight;
                let win =
                    f64::from(attack.score > benign.score) + f64::from(attack.score == benign.score) / 2.0;
                won += weight * win;
                all += weight;
            }
        }
        (all > 0.0).then(|| won / all)
    }

    proptest! {
        #[test]
        fn auc_equals_the_slow_one(samples in some_samples()) {
            match (Ranking::of(&samples).auc(), auc_slowly(&samples)) {
                (Some(fast), Some(slow)) => prop_assert!((fast - slow).abs() < 1e-9, "{fast} {slow}"),
                (fast, slow) => prop_assert_eq!(fast, slow),
            }
        }

        #[test]
        fn a_threshold_is_within_its_target_and_no_lower_score_is(
            samples in some_samples(), target in 0.0..1.0_f64
        ) {
            let rate = |threshold| Confusion::weighted(&samples, threshold).false_positive_rate();
            let threshold = Ranking::of(&samples).threshold_at(target);
            let chosen = threshold.unwrap_or(f64::INFINITY);
            prop_assert!(rate(chosen).is_none_or(|rate| rate <= target + 1e-9));
            for lower in samples.iter().map(|sample| sample.score).filter(|score| *score < chosen) {
                prop_assert!(rate(lower).is_none_or(|rate| rate > target - 1e-9));
            }
        }

        #[test]
        fn curves_rise_and_end_at_one(samples in some_samples()) {
            let ranking = Ranking::of(&samples);
            let roc = ranking.roc().unwrap_or_default();
            let rises = roc.is_sorted_by(|one, next| {
                one.false_positive_rate <= next.false_positive_rate
                    && one.true_positive_rate <= next.true_positive_rate
                    && one.threshold > next.threshold
            });
            prop_assert!(rises);
            prop_assert!(roc.last().is_none_or(|last| last.false_positive_rate == 1.0 && last.true_positive_rate == 1.0));
            let precision = ranking.precision_recall().unwrap_or_default();
            prop_assert!(precision.iter().all(|point| (0.0..=1.0).contains(&point.precision)));
            prop_assert!(ranking.average_precision().is_none_or(|mean| (0.0..=1.0 + 1e-9).contains(&mean)));
        }

        #[test]
        fn only_the_order_of_scores_matters(samples in some_samples()) {
            let bent: Vec<Scored> =
                samples.iter().map(|sample| Scored { score: sample.score.powi(3), ..sample.clone() }).collect();
            let (one, other) = (Ranking::of(&samples).auc(), Ranking::of(&bent).auc());
            prop_assert!((one.unwrap_or(0.0) - other.unwrap_or(0.0)).abs() < 1e-9);
        }
    }
}
