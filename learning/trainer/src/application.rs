// SPDX-License-Identifier: Apache-2.0
//! What is odd for one application: weights of tokens, learned from its own requests that somebody labelled. One part of
//! an odd request is odd, which is not said; all parts of a usual one are usual.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use sunbeam_datasets::{Label, Record};
use sunbeam_ensemble::{ApplicationModel, TOKENS, token_place};
use sunbeam_features::application::{HostKey, Part, Request, Scratch, each_part};

use crate::grams::{GramTraining, GramWeights, PlaceBag, train_places};
use crate::payload::unit_source;
use crate::sides::SiteGroups;
use crate::zones;

/// Of benign requests, how many may be doubtful.
const FALSE_POSITIVE_RATE: f64 = 0.001;
/// Parts of which one is left out at a time to see how benign requests score that were not learned from.
const FOLDS: usize = 3;
/// Of which one is the largest that a byte tells.
const CLIP_ONE_OF: usize = 500;

/// Trains on labelled records; unlabelled ones teach nothing. One that knows nothing where there are not both classes.
pub fn train(records: &[&Record], seed: u64) -> ApplicationModel {
    let groups = SiteGroups::of(records);
    let parts: Vec<usize> = records.iter().map(|record| groups.fold(record, FOLDS)).collect();
    let bags: Vec<(PlaceBag, usize)> =
        records.iter().zip(&parts).filter_map(|(record, part)| Some((bag(record)?, *part))).collect();
    if [true, false].iter().any(|class| !bags.iter().any(|(bag, _)| bag.is_attack == *class)) {
        return ApplicationModel::NONE;
    }
    let mut benign = Vec::new();
    for part in 0..FOLDS {
        let others: Vec<&PlaceBag> = bags.iter().filter(|(_, of)| *of != part).map(|(bag, _)| bag).collect();
        let model = train_on(&others, seed);
        let left_out = records.iter().zip(&parts).filter(|(_, of)| **of == part).map(|(record, _)| record);
        let of_benign = left_out.filter(|record| record.label == Some(Label::Benign));
        benign.extend(of_benign.map(|record| score(&model, record)));
    }
    let all: Vec<&PlaceBag> = bags.iter().map(|(bag, _)| bag).collect();
    let mut model =
        ApplicationModel { doubtful: zones::doubtful(&benign, FALSE_POSITIVE_RATE), ..train_on(&all, seed) };
    model.set_hosts(&hosts(records));
    model
}

/// The hosts of benign records, the first those of the most; none where many records tell none, for their host may be
/// any. Under a name that few asked for little was learned, and who attacks makes names up.
fn hosts(records: &[&Record]) -> Vec<HostKey> {
    const FEW_ONE_OF: usize = 200;
    let mut counts: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    let (mut all, mut nameless) = (0, 0);
    for record in records.iter().filter(|record| record.label == Some(Label::Benign)) {
        all += 1;
        if record.host.is_empty() {
            nameless += 1;
            continue;
        }
        let HostKey { name, label } = HostKey::of(&record.host);
        *counts.entry((name, label)).or_default() += 1;
    }
    let is_many = |count: usize| count * FEW_ONE_OF > all;
    let mut hosts: Vec<(usize, (u32, u32))> =
        counts.into_iter().filter(|(_, count)| is_many(*count)).map(|(host, count)| (count, host)).collect();
    hosts.sort_by_key(|(count, host)| (Reverse(*count), *host));
    if is_many(nameless) {
        hosts.clear();
    }
    hosts.into_iter().map(|(_, (name, label))| HostKey { name, label }).collect()
}

/// How odd a record is: a logit in 1/256.
pub fn score(model: &ApplicationModel, record: &Record) -> i32 {
    let mut worst = i32::MIN;
    each(record, &mut |part| worst = worst.max(model.read(part)));
    worst
}

fn bag(record: &Record) -> Option<PlaceBag> {
    let is_attack = record.label? == Label::Attack;
    if record.weight_percent == 0 {
        return None;
    }
    let weight = f32::from(record.weight_percent) / 100.0;
    Some(PlaceBag::read(is_attack, weight, |bag| {
        each(record, &mut |part| bag.push(part.tokens.iter().map(|token| token_place(*token))));
    }))
}

fn each(record: &Record, visit: &mut dyn FnMut(&Part<'_>)) {
    let request = Request { method: &record.method, units: unit_source(record) };
    each_part(&request, &mut Scratch::default(), visit);
}

fn train_on(bags: &[&PlaceBag], seed: u64) -> ApplicationModel {
    let training =
        GramTraining { rounds: 16, rate: 0.3, decay: 1e-6, seed, benign_texts: usize::MAX, warm_rounds: 2 };
    let weights: GramWeights<TOKENS> = train_places(bags, &training);
    let clip = weights.clip(CLIP_ONE_OF);
    #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
    let whole = |value: f32| value.round() as i32;
    ApplicationModel {
        weights: weights.quantised(clip).weights,
        bias: whole(weights.bias() * 256.0),
        // A mean is eight times the sum over the root of the count.
        scale: whole(clip / 127.0 * 256.0 / 8.0 * 65_536.0),
        doubtful: 0,
        ..ApplicationModel::NONE
    }
}

#[cfg(test)]
mod tests {
    use sunbeam_datasets::LabelSource;

    use super::*;
    use crate::sides::Side;

    /// A form with a name and a number; `at` makes each another.
    fn form(at: usize, name: &str, number: &str) -> Record {
        let path = "/register".to_owned();
        let query = format!("user=person{at}&{name}={number}&send=ok");
        let (source, group) = ("site".to_owned(), format!("g{at}"));
        let method = "GET".to_owned();
        let label_source = LabelSource::Human;
        Record { source, group, method, path, query, label_source, weight_percent: 100, ..Record::default() }
    }

    fn benign(at: usize) -> Record {
        Record { label: Some(Label::Benign), ..form(at, "age", &(17 + at % 70).to_string()) }
    }

    fn odd(at: usize) -> Record {
        let number = (17 + at % 70).to_string();
        let form = match at % 3 {
            0 => form(at, "agee", &number),
            1 => form(at, "age", &format!("{number}x")),
            _ => Record { path: "/registers".to_owned(), ..form(at, "age", &number) },
        };
        Record { label: Some(Label::Attack), ..form }
    }

    #[test]
    fn what_is_odd_for_an_application_is_learned_from_its_own_requests() {
        let records: Vec<Record> = (0..600).map(benign).chain((0..300).map(odd)).collect();
        let all: Vec<&Record> = records.iter().collect();
        let groups = SiteGroups::of(&all);
        let (learned, judged): (Vec<&Record>, Vec<&Record>) =
            all.iter().partition(|record| groups.side(record) == Side::Train);
        let model = train(&learned, 1);
        assert_eq!(model, train(&learned, 1), "the same bytes");
        assert!(model.is_trained());
        let doubted = |record: &&Record| score(&model, record) >= model.doubtful;
        let (attacks, visits): (Vec<&Record>, Vec<&Record>) =
            judged.into_iter().partition(|record| record.label == Some(Label::Attack));
        assert_eq!(visits.iter().filter(|record| doubted(record)).count(), 0, "of {}", visits.len());
        let found = attacks.iter().filter(|record| doubted(record)).count();
        assert!(found * 10 >= attacks.len() * 9, "{found} of {}", attacks.len());
        // What stands beside an odd value does not hide it.
        let mut padded = odd(1001);
        padded.query.push_str("&theme=dark&page=2");
        assert!(doubted(&&odd(1001)) && doubted(&&padded));
        // What nobody labelled teaches nothing.
        let unlabelled: Vec<Record> =
            records.iter().map(|one| Record { label: None, ..one.clone() }).collect();
        let model = train(&unlabelled.iter().collect::<Vec<_>>(), 1);
        assert_eq!(model, ApplicationModel::NONE);
    }

    #[test]
    fn a_model_keeps_the_hosts_of_those_who_are_no_attackers() {
        let of = |host: &str, count: usize, of: fn(usize) -> Record| -> Vec<Record> {
            (0..count).map(|at| Record { host: host.to_owned(), ..of(at) }).collect()
        };
        let many: Vec<Vec<Record>> = (0..17).map(|at| of(&format!("{at}.test"), 50, benign)).collect();
        for (name, records, want) in [
            ("nobody tells", of("", 500, benign), &[][..]),
            (
                "two names",
                [of("b.test", 300, benign), of("A.test", 400, benign)].concat(),
                &["a.test", "b.test"],
            ),
            (
                "made up by who attacks",
                [of("a.test", 300, benign), of("x.test", 300, odd)].concat(),
                &["a.test"],
            ),
            (
                "a few",
                [of("a.test", 400, benign), of("x.test", 2, benign), of("", 2, benign)].concat(),
                &["a.test"],
            ),
            ("too few tell", [of("a.test", 400, benign), of("", 9, benign)].concat(), &[]),
            ("too many for one application", many.concat(), &[]),
        ] {
            let mut model = ApplicationModel::NONE;
            model.set_hosts(&hosts(&records.iter().collect::<Vec<_>>()));
            let mut wanted = ApplicationModel::NONE;
            wanted.set_hosts(&want.iter().map(|host| HostKey::of(host)).collect::<Vec<_>>());
            assert_eq!(model.hosts, wanted.hosts, "{name}");
        }
    }
}
