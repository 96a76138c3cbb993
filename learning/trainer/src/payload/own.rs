// SPDX-License-Identifier: Apache-2.0
//! Texts of our own: attacks of kinds that the corpora hardly have, and innocent text that looks like one.

use std::collections::HashMap;

use sunbeam_datasets::{BodyKind, Label, LabelSource, Record};

use crate::arithmetic::Chance;

/// What attacks of our own are called.
pub const OWN_ATTACKS: &str = "own_attack";

/// Records of so many texts of each template, at most, each once.
pub fn own_records(of_each: usize, seed: u64) -> Vec<Record> {
    let mut chance = Chance::new(seed);
    let mut records =
        grown(include_str!("own/benign.txt"), "own_benign", Label::Benign, of_each, &mut chance);
    records.extend(grown(include_str!("own/attack.txt"), OWN_ATTACKS, Label::Attack, of_each, &mut chance));
    records
}

/// Requests for paths that probes ask for, so many of each template at most.
pub fn own_probes(of_each: usize, seed: u64) -> Vec<Record> {
    let mut chance = Chance::new(seed);
    let texts = grown(include_str!("own/paths.txt"), "own_probes", Label::Attack, of_each, &mut chance);
    let probe = |record: Record| {
        let path = String::from_utf8_lossy(record.body.get(2..).unwrap_or_default()).into_owned();
        let (method, body, body_kind) = ("GET".to_owned(), Vec::new(), BodyKind::None);
        let class = "probe_path".to_owned();
        Record { group: path.clone(), path, class, method, body, body_kind, ..record }
    };
    texts.into_iter().map(probe).collect()
}

fn grown(text: &str, source: &str, label: Label, of_each: usize, chance: &mut Chance) -> Vec<Record> {
    let lines = || text.lines().filter(|line| !line.starts_with(";;") && !line.is_empty());
    let lists: HashMap<&str, Vec<&str>> = lines()
        .filter_map(|line| line.strip_prefix('@')?.split_once(' '))
        .map(|(name, items)| (name, items.split('¦').map(str::trim).collect()))
        .collect();
    let mut records = Vec::new();
    for template in lines().filter(|line| !is_list(line, &lists)) {
        let mut texts: Vec<String> = (0..of_each).map(|_| filled(template, &lists, 0, chance)).collect();
        texts.sort();
        texts.dedup();
        records.extend(texts.into_iter().map(|text| record(&text, template, source, label)));
    }
    records
}

fn is_list(line: &str, lists: &HashMap<&str, Vec<&str>>) -> bool {
    let name = line.strip_prefix('@').and_then(|rest| rest.split_once(' '));
    name.is_some_and(|(name, _)| lists.contains_key(name))
}

/// Lists may name lists, a few deep.
fn filled(template: &str, lists: &HashMap<&str, Vec<&str>>, depth: usize, chance: &mut Chance) -> String {
    const DEPTH_MAX: usize = 4;
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('«') {
        text.push_str(before);
        let Some((name, behind)) = after.split_once('»') else { break };
        let items = lists.get(name).map(Vec::as_slice).unwrap_or_default();
        let item = items.get(chance.below(items.len())).copied().unwrap_or_default();
        if depth < DEPTH_MAX {
            text.push_str(&filled(item, lists, depth + 1, chance));
        }
        rest = behind;
    }
    text.push_str(rest);
    text
}

/// As the value of a form: with its escapes where the template writes some.
fn record(text: &str, template: &str, source: &str, label: Label) -> Record {
    let mut body = b"p=".to_vec();
    for byte in text.bytes() {
        match byte {
            b'&' | b'=' | b'#' => body.extend(format!("%{byte:02X}").into_bytes()),
            _ => body.push(byte),
        }
    }
    Record {
        source: source.to_owned(),
        class: source.to_owned(),
        group: template.to_owned(),
        label: Some(label),
        label_source: LabelSource::Corpus,
        weight_percent: 100,
        method: "POST".to_owned(),
        path: "/".to_owned(),
        body,
        body_kind: BodyKind::Form,
        ..Record::default()
    }
}
