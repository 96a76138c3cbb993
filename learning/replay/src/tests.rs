// SPDX-License-Identifier: Apache-2.0

use std::sync::Arc;

use sunbeam_datasets::{Label, LabelSource, Record};
use sunbeam_metrics::Registry;
use sunbeam_pipeline::{
    DdosSection, Decision, DetectionMetrics, DetectionSection, Memory, MemoryOptions, Models, Pipeline,
    Rules, ScannerSection, Sections, WafSection,
};
use sunbeam_rate_limit::RateLimitSection;
use sunbeam_reputation::BotsSection;
use sunbeam_tables::HashKey;

use super::*;

fn pipeline(ddos: &DdosSection) -> Pipeline {
    let sections = Sections {
        detection: &DetectionSection::default(),
        ddos,
        scanner: &ScannerSection::default(),
        rate_limit: &RateLimitSection::default(),
        bots: &BotsSection::default(),
        waf: &WafSection::default(),
    };
    let rules = Rules::new(&sections, &[], Models::default());
    let memory = Memory::new(MemoryOptions {
        window_bytes: 1 << 20,
        identities: 4096,
        hash: HashKey::fixed(1),
        ask: Box::new(|_| false),
    });
    Pipeline::new(rules, Arc::new(memory), DetectionMetrics::register(&Registry::new()))
}

fn visit(client: &str, path: &str) -> Record {
    Record {
        source: "log".to_owned(),
        client: client.to_owned(),
        method: "GET".to_owned(),
        host: "shop.test".to_owned(),
        path: path.to_owned(),
        user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".to_owned(),
        accept: "text/html".to_owned(),
        accept_language: "de".to_owned(),
        has_own_headers: true,
        status: 200,
        backend: "http://127.0.0.1:80".to_owned(),
        ..Record::default()
    }
}

fn decisions(records: &[Record], ddos: &DdosSection) -> Vec<Decision> {
    let pipeline = pipeline(ddos);
    let mut replay = Replay::new(&pipeline, &|_| 0);
    records.iter().map(|record| replay.play(record).verdict.decision).collect()
}

#[test]
fn one_client_fills_its_window_and_those_without_a_name_fill_none_together() {
    let ddos = DdosSection { error_threshold: 20, ..DdosSection::default() };
    let missing = |client: &str| Record {
        at_micros: Some(1_700_000_000_000_000),
        status: 404,
        ..visit(client, "/old-page")
    };
    let blocked = |records: &[Record]| {
        decisions(records, &ddos).iter().filter(|decision| **decision == Decision::Blocked).count()
    };
    assert!(blocked(&vec![missing("198.51.100.7"); 60]) >= 30);
    assert!(blocked(&vec![missing("a-pseudonym"); 60]) >= 30);
    assert_eq!(blocked(&vec![missing(""); 60]), 0);
}

#[test]
fn the_records_of_a_corpus_are_no_flood_from_everywhere() {
    let bare = Record { user_agent: "x".to_owned(), accept: String::new(), ..visit("", "/item") };
    let pipeline = pipeline(&DdosSection::default());
    let mut replay = Replay::new(&pipeline, &|_| 0);
    let mut is_flood = || replay.play(&bare).verdict.reason == "distributed_flood";
    assert_eq!((0..5000).filter(|_| is_flood()).count(), 0);
}

#[test]
fn windows_follow_the_time_of_the_log() {
    let ddos = DdosSection { error_threshold: 20, ..DdosSection::default() };
    let every = |micros: i64| -> Vec<Record> {
        (0..60)
            .map(|at| Record {
                at_micros: Some(1_700_000_000_000_000 + at * micros),
                status: 404,
                ..visit("198.51.100.7", "/old-page")
            })
            .collect()
    };
    assert!(decisions(&every(100_000), &ddos).contains(&Decision::Blocked));
    assert!(!decisions(&every(600_000_000), &ddos).contains(&Decision::Blocked));
}

#[test]
fn a_tally_counts_by_source_class_and_label_and_believes_no_heuristic() {
    let pipeline = pipeline(&DdosSection::default());
    let mut replay = Replay::new(&pipeline, &|_| 0);
    let mut tally = Tally::default();
    let corpus = |label, source| Record { label, label_source: source, ..visit("", "/.env") };
    let records = [
        corpus(Some(Label::Attack), LabelSource::Corpus),
        corpus(Some(Label::Attack), LabelSource::Heuristic("probes".into())),
        corpus(None, LabelSource::Nobody),
        Record { label: Some(Label::Benign), label_source: LabelSource::Human, ..visit("192.0.2.1", "/") },
    ];
    for record in &records {
        tally.add(record, &replay.play(record));
    }
    let summary = tally.summary(replay.times());
    assert_eq!((summary.records, summary.times.missing), (4, 4));
    assert_eq!((summary.totals.attack.records, summary.totals.benign.records), (1, 1));
    let labels: Vec<&str> = summary.sources.iter().map(|row| row.label).collect();
    assert_eq!(labels, ["", "attack", "benign", "weak attack"]);
    assert_eq!(summary.decisions.values().sum::<u64>(), 4);
    assert_eq!(summary.scanner_paths.values().sum::<u64>(), 4, "{:?}", summary.scanner_paths);
}

#[test]
fn a_corpus_cannot_have_more_rows_than_there_are_places() {
    let pipeline = pipeline(&DdosSection::default());
    let mut replay = Replay::new(&pipeline, &|_| 0);
    let mut tally = Tally::default();
    for class in 0..5000 {
        let record = Record { class: class.to_string(), ..visit("", "/") };
        tally.add(&record, &replay.play(&record));
    }
    let summary = tally.summary(replay.times());
    let unnamed = summary.sources.iter().find(|row| row.source.is_empty()).map(|row| row.rates.records);
    assert_eq!((summary.sources.len(), unnamed), (4097, Some(904)));
}

#[test]
fn changes_are_counted_by_kind_and_shown_in_few() {
    let verdict =
        |decision, reason| Verdict { decision, layer: Some(sunbeam_traffic::Layer::Scanner), reason };
    let (pass, block) = (verdict(Decision::Passed, ""), verdict(Decision::Blocked, "probe"));
    let mut changes = Changes::default();
    for _ in 0..30 {
        changes.add(&visit("", "/a"), pass, block);
        changes.add(&visit("", "/b"), pass, pass);
    }
    changes.add(&visit("", "/c"), block, pass);
    let kinds: Vec<_> = changes.kinds().iter().map(|kind| (kind.new.clone(), kind.records)).collect();
    assert_eq!(kinds, [("block scanner probe".to_owned(), 30), ("pass scanner".to_owned(), 1)]);
    let shown: Vec<&str> = changes.examples().iter().map(|example| &*example.request).collect();
    assert_eq!((changes.records(), shown.len(), shown.last()), (31, 6, Some(&"GET shop.test/c")));
}

#[test]
fn nothing_is_allocated_for_a_record() {
    let pipeline = pipeline(&DdosSection::default());
    let mut replay = Replay::new(&pipeline, &|_| 0);
    let mut tally = Tally::default();
    let records = [
        visit("192.0.2.1", "/cart"),
        Record { query: "q=<script>alert(1)</script>".to_owned(), ..visit("", "/search") },
        Record { class: "probe".to_owned(), ..visit("a-pseudonym", "/.env") },
    ];
    let mut play = || {
        for record in &records {
            tally.add(record, &replay.play(record));
        }
    };
    (0..100).for_each(|_| play());
    assert_eq!(allocation_counter::measure(|| (0..100).for_each(|_| play())).count_total, 0);
}
