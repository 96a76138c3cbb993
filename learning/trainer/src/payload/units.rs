// SPDX-License-Identifier: Apache-2.0
//! Records as bags of units: an attack sits in one of them, which is not said; a benign record's are all benign
//! (multiple-instance learning, Dietterich et al. 1997).

use std::collections::HashSet;

use sunbeam_datasets::{BodyKind, Label, Record, bytes_key};
use sunbeam_features::canonical::{self, UnitKind, UnitSource, each_unit};
use sunbeam_features::payload::{Facts, each_piece, is_plain, read};

use crate::balance;
use crate::sides::{Side, side};

/// A unit, read.
#[derive(Clone, Debug)]
pub struct Text {
    /// As the model reads it.
    pub facts: Facts,
    /// Where it stood.
    pub kind: UnitKind,
}

/// A record's units.
#[derive(Clone, Debug)]
pub struct Bag {
    /// Of the record.
    pub source: String,
    /// Of the record.
    pub class: String,
    /// Of the record.
    pub group: String,
    /// Of the record.
    pub is_attack: bool,
    /// How much it counts.
    pub weight: f32,
    /// Innocent text that looks like an attack: told apart in figures, for it is no ordinary traffic.
    pub is_hard: bool,
    /// Learned from, or judged by.
    pub side: Side,
    /// Those worth a look: none where all are plain.
    pub texts: Vec<Text>,
}

/// The units of a record; none of an unlabelled one. Of a corpus that wraps payloads (it has no headers of its own
/// and every parameter has one name), the wrapper is left out: it would say which corpus it is.
pub fn bag_of(record: &Record) -> Option<Bag> {
    let is_attack = record.label? == Label::Attack;
    let source = unit_source(record);
    let mut texts = Vec::new();
    each_unit(&source, &mut Vec::new(), &mut |unit| {
        let is_wrapper = unit.value == b"/" || (unit.kind == UnitKind::ParameterName && unit.value == b"p");
        if !is_wrapper && !is_plain(unit.value) {
            each_piece(unit.value, &mut |piece| {
                let mut facts = Facts::default();
                read(piece, &mut facts);
                // A log has millions of them.
                facts.symbols.shrink_to_fit();
                texts.push(Text { facts, kind: unit.kind });
            });
        }
    });
    let (source, class, group) = (record.source.clone(), record.class.clone(), record.group.clone());
    let weight = f32::from(record.weight_percent) / 100.0;
    let is_hard = HARD_SOURCES.contains(&&*source) && !is_attack;
    let side = side(&group);
    Some(Bag { source, class, group, is_attack, weight, is_hard, side, texts })
}

/// Where a record's units stand.
pub(crate) fn unit_source(record: &Record) -> UnitSource<'_> {
    UnitSource {
        path: record.path.as_bytes(),
        query: record.query.as_bytes(),
        cookies: record.cookies.as_bytes(),
        body: &record.body,
        body_kind: match record.body_kind {
            BodyKind::None => canonical::BodyKind::None,
            BodyKind::Form => canonical::BodyKind::Form,
            BodyKind::Json => canonical::BodyKind::Json,
            BodyKind::Other => canonical::BodyKind::Other,
        },
    }
}

/// Whose benign records were collected because they deceive.
const HARD_SOURCES: [&str; 3] = ["libinj_fp", "mgm", "own_benign"];

/// All bags that weigh something, those of the same texts once: a hundred copies of an attack say no more than one.
pub fn bags_of(records: impl Iterator<Item = Record>) -> Vec<Bag> {
    let mut seen: HashSet<(bool, u128)> = HashSet::new();
    let (mut bags, mut symbols) = (Vec::new(), Vec::new());
    for record in records {
        let Some(bag) = bag_of(&record).filter(|bag| bag.weight > 0.0) else { continue };
        symbols.clear();
        bag.texts.iter().for_each(|text| symbols.extend_from_slice(&text.facts.symbols));
        if symbols.is_empty() || seen.insert((bag.is_attack, bytes_key(&symbols))) {
            bags.push(bag);
        }
    }
    let rows: Vec<_> = bags.iter().map(|bag| (bag.is_attack, &*bag.source, f64::from(bag.weight))).collect();
    let factors = balance::factors(&rows);
    bags.iter_mut().zip(factors).for_each(|(bag, factor)| bag.weight *= factor);
    bags
}
