// SPDX-License-Identifier: Apache-2.0
//! What stands in a site's requests: trees of its own for the payload model.

use std::collections::{BTreeMap, HashSet};

use sunbeam_datasets::{BodyKind, Label, LabelSource, Record, request_key};
use sunbeam_ensemble::PayloadModel;

use super::duel::{Duel, Robustness, Sample};
use crate::boosting::Growing;
use crate::payload::{self, Bag, own_records};
use crate::sides::{Side, side};

/// What came of it.
pub(super) struct Texts {
    pub(super) model: PayloadModel,
    pub(super) duel: Duel,
    pub(super) distrusted: usize,
}

/// Texts of our own of each template.
const OF_EACH: usize = 60;
/// A few trees that go far, for a site has little to say.
const GROWING: Growing = Growing { rate: 0.3, ridge: 8.0, ignored: 0 };

/// A site has few ways that look like attacks, and must not unlearn for them what attacks are.
fn heavy(bag: Bag) -> Bag {
    const TIMES: f32 = 6.0;
    Bag { weight: if bag.is_attack { bag.weight * TIMES } else { bag.weight }, ..bag }
}

/// Learns from the earlier stretch, attacks of our own and `general`; judged is the later stretch, and what of the
/// others is on the other side. What is judged is no copy of what was learned.
pub(super) fn learn(
    earlier: &[&Record],
    latest: &[&Record],
    general: &[&Record],
    in_use: &PayloadModel,
    seed: u64,
) -> Texts {
    let own = own_records(OF_EACH, seed);
    let others = payload::bags_of(own.iter().chain(general.iter().copied()).cloned());
    let mut known: HashSet<u128> = earlier.iter().map(|record| request_key(record)).collect();
    let weighty = |record: &&&Record| record.weight_percent > 0;
    let is_trusted = |record: &&Record| is_trusted(record, in_use);
    let (trusted, distrusted): (Vec<&Record>, Vec<&Record>) =
        earlier.iter().filter(weighty).partition(|record| is_trusted(record));
    let once = |record: &Record| Record { weight_percent: record.weight_percent.min(100), ..record.clone() };
    let mut bags = payload::bags_of(trusted.into_iter().map(once));
    spread(&mut bags, in_use);
    bags.extend(others.into_iter().filter(|bag| bag.side == Side::Train).map(heavy));
    let model = payload::adapt(in_use, &bags, &GROWING);

    let is_for_judging =
        |record: &&Record| record.label == Some(Label::Attack) && side(&record.group) == Side::Validation;
    let of_others = own.iter().chain(general.iter().copied()).filter(is_for_judging);
    let mut judged: Vec<&Record> = latest.iter().copied().chain(of_others).collect();
    judged.retain(|record| known.insert(request_key(record)));
    let unseen = judged.len();
    judged.retain(is_trusted);
    let distrusted = distrusted.len() + unseen - judged.len();
    Texts { duel: duel(&judged, in_use, &model), model, distrusted }
}

/// A rule of thumb does not overrule certainty: who attacks between calm visits would teach that by them.
fn is_trusted(record: &Record, in_use: &PayloadModel) -> bool {
    if !matches!(record.label_source, LabelSource::Heuristic(_)) {
        return true;
    }
    let is_certain = |bag: &Bag| {
        let with_sign = bag.texts.iter().filter(|text| text.facts.has_sign());
        with_sign.map(|text| in_use.read(&text.facts).logit).any(|logit| logit >= in_use.certain)
    };
    payload::bag_of(record).is_none_or(|bag| !is_certain(&bag))
}

/// What one client did that is doubtful weighs as the root of its number, and copies of it nothing: who writes a
/// thousand lines must not teach by them more than thirty visitors, and who writes one a thousand times no more than one.
fn spread(bags: &mut [Bag], in_use: &PayloadModel) {
    let is_doubtful: Vec<bool> =
        bags.iter().map(|bag| !bag.is_attack && payload::score(in_use, bag) >= in_use.doubtful).collect();
    let mut counts: BTreeMap<String, f32> = BTreeMap::new();
    for (bag, _) in bags.iter().zip(&is_doubtful).filter(|(_, is_doubtful)| **is_doubtful) {
        *counts.entry(bag.group.clone()).or_default() += 1.0;
    }
    for (bag, _) in bags.iter_mut().zip(&is_doubtful).filter(|(_, is_doubtful)| **is_doubtful) {
        bag.weight /= counts.get(&bag.group).copied().unwrap_or(1.0).sqrt();
    }
}

fn duel(judged: &[&Record], in_use: &PayloadModel, candidate: &PayloadModel) -> Duel {
    let mut duel = Duel::default();
    let mut padding = Robustness { what: "an innocent parameter beside it", rows: 0, stopped: [0; 2] };
    for record in judged {
        let Some(bag) = payload::bag_of(record) else { continue };
        let scores = [in_use, candidate].map(|model| score(model, &bag));
        if bag.is_attack {
            let padded = payload::bag_of(&padded(record)).map_or(f64::MIN, |bag| score(candidate, &bag));
            padding.rows += 1;
            padding.stopped[0] += u64::from(scores[1] >= 0.0);
            padding.stopped[1] += u64::from(padded >= 0.0);
        }
        duel.samples.push(Sample { source: bag.source, is_attack: bag.is_attack, is_known: false, scores });
    }
    duel.robustness.push(padding);
    duel
}

/// A logit from where doubt begins.
fn score(model: &PayloadModel, bag: &Bag) -> f64 {
    f64::from(payload::score(model, bag) - model.doubtful) / 256.0
}

/// With parameters that say nothing, where the request has its own.
fn padded(record: &Record) -> Record {
    const INNOCENT: &str = "theme=dark+blue&page=2&comment=thank+you+very+much%2C+see+you+soon";
    let mut padded = record.clone();
    if record.body_kind == BodyKind::Form {
        padded.body.extend_from_slice(b"&");
        padded.body.extend_from_slice(INNOCENT.as_bytes());
    } else {
        let mark = if record.query.is_empty() { "" } else { "&" };
        padded.query = format!("{}{mark}{INNOCENT}", record.query);
    }
    padded
}
