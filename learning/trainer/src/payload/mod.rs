// SPDX-License-Identifier: Apache-2.0
//! The payload model: from records to units, n-gram weights, forest, and the scores from which on a text is doubtful
//! or certain.

mod own;
mod units;

use sunbeam_ensemble::{Forest, GRAMS, GramSums, Grams, PayloadModel, SITE_TREES, TREES};

pub use own::{OWN_ATTACKS, own_probes, own_records};
pub(crate) use units::unit_source;
pub use units::{Bag, Text, bag_of, bags_of};

use crate::boosting::{Growing, Samples, grow};
use crate::grams::{GramBag, GramTraining, GramWeights, train as train_grams};
use crate::sides::{Side, fold};
use crate::zones;

/// How it is trained.
#[derive(Clone, Copy, Debug)]
pub struct PayloadTraining {
    /// Of n-grams.
    pub grams: GramTraining,
    /// Of the forest.
    pub forest: Growing,
    /// Of benign requests, how many the doubtful zone may hold.
    pub false_positive_rate: f64,
}

impl PayloadTraining {
    /// What ships.
    pub const fn new(seed: u64) -> Self {
        Self {
            grams: GramTraining { rounds: 8, rate: 0.3, decay: 1e-6, seed, benign_texts: 6, warm_rounds: 0 },
            forest: Growing { rate: 0.25, ridge: 4.0, ignored: 0 },
            false_positive_rate: 0.001,
        }
    }
}

/// What goes on, for whoever waits: a step's name, how far it is, and how far it goes.
pub type Progress<'a> = dyn FnMut(&str, usize, usize) + 'a;

/// Parts in which n-grams are trained without a third, for the forest must learn from sums over texts that the
/// n-grams have not seen (stacking, Wolpert 1992).
const FOLDS: usize = 3;

/// Trains on the bags of the training side; the thresholds are from the validation side.
pub fn train(bags: &[Bag], training: &PayloadTraining, progress: &mut Progress<'_>) -> PayloadModel {
    let learned: Vec<&Bag> =
        bags.iter().filter(|bag| bag.side == Side::Train && !bag.texts.is_empty()).collect();
    progress("n-grams", 0, FOLDS + 1);
    let all = grams_of(&learned, &training.grams);
    let clip = all.clip(2000);
    let mut model = unfinished(all.quantised(clip));
    let mut folds = Vec::new();
    for part in 0..FOLDS {
        progress("n-grams", part + 1, FOLDS + 1);
        let others: Vec<&Bag> =
            learned.iter().filter(|bag| fold(&bag.group, FOLDS) != part).copied().collect();
        folds.push(unfinished(grams_of(&others, &training.grams).quantised(clip)));
    }
    model.scales = scales(&model, &learned);
    model.gate = gate(&folds, &learned);
    for fold in &mut folds {
        (fold.scales, fold.gate) = (model.scales, model.gate);
    }
    let samples = samples(&folds, &learned);
    model.forest = grow(&samples, None, &training.forest, &mut |tree| progress("forest", tree, TREES));
    set_zones(&mut model, bags, training.false_positive_rate);
    model
}

fn grams_of(bags: &[&Bag], training: &GramTraining) -> GramWeights<GRAMS> {
    let texts: Vec<Vec<&[u8]>> =
        bags.iter().map(|bag| bag.texts.iter().map(|text| &text.facts.symbols[..]).collect()).collect();
    let bags: Vec<GramBag<'_>> = bags
        .iter()
        .zip(&texts)
        .map(|(bag, texts)| GramBag { texts, is_attack: bag.is_attack, weight: bag.weight })
        .collect();
    train_grams(&bags, training)
}

fn unfinished(grams: Grams<GRAMS>) -> PayloadModel {
    PayloadModel {
        grams,
        scales: [0; 3],
        gate: 0,
        floor: FLOOR,
        doubtful: i32::MAX,
        certain: i32::MAX,
        forest: Forest::NONE,
        site: Forest::NONE,
    }
}

/// 1/22,000 at most is what a text can be, that nothing speaks against.
const FLOOR: i32 = -10 * 256;

/// So that the greater part of attacks uses the greater part of a byte.
fn scales(model: &PayloadModel, bags: &[&Bag]) -> [i32; 3] {
    let sums: Vec<GramSums> = bags
        .iter()
        .filter(|bag| bag.is_attack)
        .flat_map(|bag| bag.texts.iter().map(|text| model.grams.sums(&text.facts.symbols)))
        .collect();
    let scale = |most: i64, of: &dyn Fn(&GramSums) -> i32| {
        let mut values: Vec<i32> = sums.iter().map(of).collect();
        values.sort_unstable();
        let typical = values.get(values.len() * 6 / 10).copied().unwrap_or(1).max(1);
        i32::try_from(most * 65_536 / i64::from(typical)).unwrap_or(i32::MAX)
    };
    [scale(110, &GramSums::mean), scale(160, &|sums| sums.worst), scale(100, &|sums| sums.sum)]
}

/// The worst run that all but one of two thousand attacks reach, by n-grams that have not seen them.
fn gate(folds: &[PayloadModel], bags: &[&Bag]) -> i32 {
    let mut worst: Vec<i32> = bags
        .iter()
        .filter(|bag| bag.is_attack)
        .filter_map(|bag| {
            let model = folds.get(fold(&bag.group, FOLDS))?;
            bag.texts.iter().map(|text| model.grams.sums(&text.facts.symbols).worst).max()
        })
        .collect();
    worst.sort_unstable();
    worst.get(worst.len() / 2000).copied().unwrap_or(0)
}

/// Teaches a model a site's own ways: trees that are added to its forest, grown from bags of that site and attacks of all
/// kinds. Doubt begins where it did: what the site is like may lower scores, or raise them, as far as of `attacks`, from
/// which neither the model nor its trees have learned, no more are forgotten than one of [`FORGOTTEN_ONE_OF`].
pub fn adapt(model: &PayloadModel, bags: &[Bag], attacks: &[Bag], growing: &Growing) -> PayloadModel {
    let plain = PayloadModel { site: Forest::NONE, ..model.clone() };
    let whole = grown(&plain, bags, growing);
    let found: Vec<&Bag> = attacks.iter().filter(|bag| score(&plain, bag) >= plain.doubtful).collect();
    let is_kept = |model: &PayloadModel| {
        let forgotten = found.iter().filter(|bag| score(model, bag) < model.doubtful).count();
        forgotten <= found.len() / FORGOTTEN_ONE_OF
    };
    (1..=STRENGTHS).rev().map(|strength| weakened(&whole, strength)).find(is_kept).unwrap_or(plain)
}

/// Of attacks, one of so many may be let go for a site's sake.
const FORGOTTEN_ONE_OF: usize = 300;
/// How strong a site's trees may be: in sixteenths.
const STRENGTHS: i16 = 16;

fn grown(plain: &PayloadModel, bags: &[Bag], growing: &Growing) -> PayloadModel {
    let (mut samples, mut logits) = (Samples::new(), Vec::new());
    for bag in bags {
        let mut seen: Vec<_> = bag.texts.iter().map(|text| (plain.read(&text.facts), text)).collect();
        seen.retain(|(reading, _)| reading.columns != [0; sunbeam_ensemble::COLUMNS]);
        seen.sort_by_key(|(reading, _)| -reading.logit);
        let count = if bag.is_attack { 1 } else { 8 };
        for (reading, _) in seen.iter().take(count) {
            samples.add(&reading.columns, bag.is_attack, bag.weight);
            #[expect(clippy::cast_precision_loss, reason = "a logit")]
            logits.push((reading.logit - plain.doubtful) as f32 / 256.0);
        }
    }
    let site: Forest<SITE_TREES> = grow(&samples, Some(logits), growing, &mut |_| ());
    PayloadModel { site: Forest { base: 0, ..site }, ..plain.clone() }
}

/// With a site's trees at so many sixteenths.
fn weakened(model: &PayloadModel, strength: i16) -> PayloadModel {
    let mut weakened = model.clone();
    for leaf in weakened.site.leaves.iter_mut().flatten() {
        let part = i32::from(*leaf) * i32::from(strength) / i32::from(STRENGTHS);
        *leaf = i16::try_from(part).unwrap_or(*leaf);
    }
    weakened
}

fn samples(folds: &[PayloadModel], bags: &[&Bag]) -> Samples {
    let mut samples = Samples::new();
    for bag in bags {
        let Some(model) = folds.get(fold(&bag.group, FOLDS)) else { continue };
        let mut seen: Vec<(GramSums, &Text)> = bag
            .texts
            .iter()
            .map(|text| (model.grams.sums(&text.facts.symbols), text))
            .filter(|(sums, _)| sums.worst >= model.gate)
            .collect();
        seen.sort_by_key(|(sums, _)| -sums.worst);
        let count = if bag.is_attack { 1 } else { 8 };
        for (sums, text) in seen.iter().take(count) {
            samples.add(&model.columns(&text.facts, sums), bag.is_attack, bag.weight);
        }
    }
    samples
}

/// The score of a bag: that of its worst text.
pub fn score(model: &PayloadModel, bag: &Bag) -> i32 {
    bag.texts.iter().map(|text| model.read(&text.facts).logit).max().unwrap_or(model.floor)
}

/// Doubtful: above all but so many of the ordinary benign bags of validation. Certain: above every benign one, those
/// that were written to look like attacks among them, that has a sign of an attack, by a logit, and above what is doubtful
/// by three: twenty times the odds.
fn set_zones(model: &mut PayloadModel, bags: &[Bag], rate: f64) {
    const MARGIN: i32 = 256;
    const ABOVE_DOUBT: i32 = 3 * 256;
    let validation = || bags.iter().filter(|bag| bag.side == Side::Validation && !bag.is_attack);
    let ordinary: Vec<i32> = validation().filter(|bag| !bag.is_hard).map(|bag| score(model, bag)).collect();
    model.doubtful = zones::doubtful(&ordinary, rate);
    let with_sign = |bag: &Bag| {
        let texts = bag.texts.iter().filter(|text| text.facts.has_sign());
        texts.map(|text| model.read(&text.facts).logit).max().unwrap_or(model.floor)
    };
    let most = validation().map(with_sign).max().unwrap_or(0);
    model.certain = (model.doubtful + ABOVE_DOUBT).max(most + MARGIN);
}
