// SPDX-License-Identifier: Apache-2.0
//! What stands in a site's requests: trees of its own for the payload model, and where somebody labelled enough of them,
//! what is odd for this application.

use std::collections::{BTreeMap, HashSet};

use sunbeam_datasets::{BodyKind, Label, LabelSource, Record, request_key};
use sunbeam_ensemble::{ApplicationModel, PayloadModel, ScannerModel};

use super::RECORDS_MIN;
use super::duel::{Duel, Robustness, Sample};
use crate::application;
use crate::boosting::Growing;
use crate::payload::{self, Bag, own_records};
use crate::sides::{Side, fold, side};

/// What came of it.
pub(super) struct Texts {
    pub(super) model: ScannerModel,
    pub(super) duel: Duel,
    /// Benign records and attacks that somebody labelled, of those that teach.
    pub(super) labelled: [usize; 2],
    pub(super) distrusted: usize,
}

/// Texts of our own of each template.
const OF_EACH: usize = 200;
/// How much what others taught weighs beside the site: of a few trees most would else be about the site alone.
const ATTACKS: f32 = 3.0;
/// A few trees that go far, for a site has little to say.
const GROWING: Growing = Growing { rate: 0.3, ridge: 8.0, ignored: 0 };

/// Learns from the earlier stretch, attacks of our own and `general`; judged is the later stretch, and what of the
/// others is on the other side, but for half of that, by which it is found how far learning may go. What is judged is no
/// copy of what was learned of the site; of others it is of groups that nothing was learned of.
pub(super) fn learn(
    earlier: &[&Record],
    latest: &[&Record],
    general: &[&Record],
    in_use: &ScannerModel,
    seed: u64,
) -> Texts {
    let in_use_of_texts = &in_use.payload;
    let own = own_records(OF_EACH, seed);
    let others = payload::bags_of(own.iter().chain(general.iter().copied()).cloned());
    let mut known: HashSet<u128> = earlier.iter().map(|record| request_key(record)).collect();
    let weighty = |record: &&&Record| record.weight_percent > 0;
    let is_trusted = |record: &&Record| is_trusted(record, in_use_of_texts);
    let (trusted, distrusted): (Vec<&Record>, Vec<&Record>) =
        earlier.iter().filter(weighty).partition(|record| is_trusted(record));
    let (application, labelled) = application(earlier, &in_use.application, seed);
    // Where the application is known, its attacks are odd there: trees of texts would learn to doubt what is none.
    let is_taught =
        |record: &&&Record| record.label == Some(Label::Benign) || !application.is_for(&record.host, false);
    let once = |record: &Record| Record { weight_percent: record.weight_percent.min(100), ..record.clone() };
    let mut bags = payload::bags_of(trusted.iter().filter(is_taught).copied().map(once));
    spread(&mut bags, in_use_of_texts);
    let (learned, others): (Vec<Bag>, Vec<Bag>) = others.into_iter().partition(|bag| bag.side == Side::Train);
    bags.extend(learned.into_iter().map(|bag| Bag { weight: bag.weight * ATTACKS, ..bag }));
    let unknown: Vec<Bag> =
        others.into_iter().filter(|bag| bag.is_attack && !is_judged(&bag.group)).collect();
    let model = ScannerModel {
        payload: payload::adapt(in_use_of_texts, &bags, &unknown, &GROWING),
        application,
        ..in_use.clone()
    };

    let is_for_judging = |record: &&Record| {
        let is_unknown = record.label == Some(Label::Attack) && side(&record.group) == Side::Validation;
        is_unknown && is_judged(&record.group)
    };
    let of_others = own.iter().chain(general.iter().copied()).filter(is_for_judging);
    let of_site = latest.iter().copied().map(|record| Judged { record, is_of_site: true });
    let of_others = of_others.map(|record| Judged { record, is_of_site: false });
    let mut judged: Vec<Judged<'_>> = of_site.chain(of_others).collect();
    judged.retain(|judged| known.insert(request_key(judged.record)));
    let unseen = judged.len();
    judged.retain(|judged| is_trusted(&judged.record));
    let distrusted = distrusted.len() + unseen - judged.len();
    Texts { duel: duel(&judged, in_use, &model), model, labelled, distrusted }
}

/// A record by which both models are judged.
#[derive(Clone, Copy)]
struct Judged<'a> {
    record: &'a Record,
    /// Of others everything is odd for this application, which says nothing of what is found.
    is_of_site: bool,
}

/// Half of the groups of the other side.
fn is_judged(group: &str) -> bool {
    fold(group, 2) == 0
}

/// What is odd for this application, from what somebody labelled: a rule of thumb or of a WAF knows nothing of it, and
/// who asks chooses what it says. That in use where that is too little. How many of either label there were.
fn application(earlier: &[&Record], in_use: &ApplicationModel, seed: u64) -> (ApplicationModel, [usize; 2]) {
    let is_known = |record: &&&Record| record.weight_percent > 0 && is_somebodys(record);
    let known: Vec<&Record> = earlier.iter().filter(is_known).copied().collect();
    let count = |label| known.iter().filter(|record| record.label == Some(label)).count();
    let labelled = [count(Label::Benign), count(Label::Attack)];
    let is_enough = labelled.iter().all(|count| *count >= RECORDS_MIN);
    (if is_enough { application::train(&known, seed) } else { in_use.clone() }, labelled)
}

/// Whether a person, or who made a corpus, says what it is.
fn is_somebodys(record: &Record) -> bool {
    matches!(record.label_source, LabelSource::Human | LabelSource::Corpus)
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

fn duel(judged: &[Judged<'_>], in_use: &ScannerModel, candidate: &ScannerModel) -> Duel {
    let mut duel = Duel::default();
    let mut padding = Robustness::new("an innocent parameter beside it");
    let is_innocent =
        |judged: &&Judged<'_>| judged.record.label == Some(Label::Benign) && !judged.record.query.is_empty();
    // What the site itself asks for is what hides best.
    let innocent = judged.iter().find(is_innocent).map_or("", |judged| &judged.record.query);
    for Judged { record, is_of_site } in judged {
        let Some(bag) = payload::bag_of(record) else { continue };
        let score = |model: &ScannerModel, record: &Record, bag: &Bag| {
            if *is_of_site { score(model, record, bag) } else { score_of_texts(&model.payload, bag) }
        };
        let scores = [in_use, candidate].map(|model| score(model, record, &bag));
        if bag.is_attack {
            let padded = padded(record, innocent);
            let stops = |model: &ScannerModel| {
                payload::bag_of(&padded).is_some_and(|bag| score(model, &padded, &bag) >= 0.0)
            };
            padding.add(scores[1] >= 0.0, stops(candidate), stops(in_use));
        }
        duel.samples.push(Sample { source: bag.source, is_attack: bag.is_attack, is_known: false, scores });
    }
    duel.robustness.push(padding);
    duel
}

/// A logit from where doubt begins, of the model that doubts most. What is odd is asked as a node asks it.
fn score(model: &ScannerModel, record: &Record, bag: &Bag) -> f64 {
    let texts = score_of_texts(&model.payload, bag);
    if !model.application.is_for(&record.host, false) {
        return texts;
    }
    let odd = application::score(&model.application, record).saturating_sub(model.application.doubtful);
    texts.max(f64::from(odd) / 256.0)
}

fn score_of_texts(model: &PayloadModel, bag: &Bag) -> f64 {
    f64::from(payload::score(model, bag).saturating_sub(model.doubtful)) / 256.0
}

/// With parameters that say nothing, and `more`, where the request has its own.
fn padded(record: &Record, more: &str) -> Record {
    const INNOCENT: &str = "theme=dark+blue&page=2&comment=thank+you+very+much%2C+see+you+soon";
    let innocent = if more.is_empty() { INNOCENT.to_owned() } else { format!("{INNOCENT}&{more}") };
    let mut padded = record.clone();
    if record.body_kind == BodyKind::Form {
        padded.body.extend_from_slice(b"&");
        padded.body.extend_from_slice(innocent.as_bytes());
    } else {
        let mark = if record.query.is_empty() { "" } else { "&" };
        padded.query = format!("{}{mark}{innocent}", record.query);
    }
    padded
}
