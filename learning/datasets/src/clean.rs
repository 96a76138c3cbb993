// SPDX-License-Identifier: Apache-2.0
//! Takes out copies and contradictions, and keeps what came often from counting for everything: whoever can write to
//! a log a thousand times must not thereby teach a model.
//!
//! For requests that are judged one by one. What is judged by what a client does keeps its copies: there they are
//! the evidence.
//!
//! It takes two passes over a data set, and remembers of each different request a key of 128 bits and 28 bytes: a
//! [`Survey`] notes every record, the [`Cleaner`] made from it says of each what it weighs. [`clean`] does both for
//! records in memory.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use crate::hash::request_key;
use crate::{Label, LabelSource, Record};

/// How much may count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What all copies of a request weigh together at most, in hundredths of a record.
    pub copies_percent: u16,
    /// A source weighs its whole weight up to so many records; above, its weight grows with the root of its size.
    pub source_rows: u32,
    /// Different requests that can be told apart; each takes about 100 bytes.
    pub requests_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { copies_percent: 300, source_rows: 1000, requests_max: 50_000_000 }
    }
}

/// More different requests than [`Limits::requests_max`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {requests_max} different requests: raise the limit, or prepare the logs in parts")]
pub struct TooManyRequests {
    requests_max: usize,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CleanReport {
    /// Records that were looked at.
    pub records: u64,
    /// Records that are left.
    pub kept: u64,
    /// Copies that went up in another record: of the same label, or without one beside one that has.
    pub copies: u64,
    /// Requests that two equally good sources label as different things; all their records are dropped.
    pub conflicts: u64,
    /// Requests whose better source overruled a worse one, whose records are dropped.
    pub overruled: u64,
    /// Records dropped by conflicts, and by being overruled.
    pub dropped: u64,
    /// Conflicts as `GET /path`; ten at most.
    pub examples: Vec<String>,
    /// Each source's weight in hundredths of a record, before and after its cap.
    pub source_percent: BTreeMap<String, [u64; 2]>,
}

/// The first pass.
#[derive(Debug)]
pub struct Survey {
    limits: Limits,
    requests: HashMap<u128, Known>,
    names: Vec<String>,
    numbers: HashMap<String, u32>,
    records: u64,
}

/// The second pass.
#[derive(Debug)]
pub struct Cleaner {
    requests: HashMap<u128, Known>,
    /// Ten-thousandths of its weight that a source keeps.
    scales: HashMap<String, u32>,
    report: CleanReport,
}

/// What is known of one request.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    unlabelled: Copies,
    benign: Copies,
    attack: Copies,
    /// Its record was handed out, or its conflict told.
    is_done: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Copies {
    /// 0 when there are none.
    weight_percent: u16,
    /// The best of those who say so.
    rank: u8,
    /// The source of the first that the best says.
    source: u32,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept(Option<Label>),
    Conflict,
}

/// Both passes over records in memory; the order stays.
///
/// # Errors
/// When there are more different requests than the limit.
pub fn clean(records: Vec<Record>, limits: Limits) -> Result<(Vec<Record>, CleanReport), TooManyRequests> {
    let mut survey = Survey::new(limits);
    records.iter().try_for_each(|record| survey.note(record))?;
    let mut cleaner = survey.finish();
    let kept = records.into_iter().filter_map(|record| cleaner.admit(record)).collect();
    Ok((kept, cleaner.into_report()))
}

impl Survey {
    /// Of nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, requests: HashMap::new(), names: Vec::new(), numbers: HashMap::new(), records: 0 }
    }

    /// Notes a record.
    ///
    /// # Errors
    /// When there are more different requests than the limit.
    pub fn note(&mut self, record: &Record) -> Result<(), TooManyRequests> {
        let key = request_key(record);
        let requests_max = self.limits.requests_max;
        if self.requests.len() >= requests_max && !self.requests.contains_key(&key) {
            return Err(TooManyRequests { requests_max });
        }
        self.records += 1;
        let source = self.number(&record.source);
        let copies = self.requests.entry(key).or_default().copies(record.label);
        let rank = rank(&record.label_source);
        if copies.weight_percent == 0 || rank > copies.rank {
            (copies.rank, copies.source) = (rank, source);
        }
        // A record of no weight still is one.
        let weight = copies.weight_percent.saturating_add(record.weight_percent.max(1));
        copies.weight_percent = weight.min(self.limits.copies_percent.max(1));
        Ok(())
    }

    /// Ready for the second pass, over the same records in the same order.
    pub fn finish(self) -> Cleaner {
        let mut report = CleanReport { records: self.records, ..CleanReport::default() };
        let mut weights = vec![0_u64; self.names.len()];
        for known in self.requests.values() {
            let is_contested = known.benign.weight_percent > 0 && known.attack.weight_percent > 0;
            let Fate::Kept(label) = known.fate() else {
                report.conflicts += 1;
                continue;
            };
            report.overruled += u64::from(is_contested);
            let Copies { source, weight_percent, .. } = known.of(label);
            if let Some(sum) = usize::try_from(source).ok().and_then(|source| weights.get_mut(source)) {
                *sum += u64::from(weight_percent);
            }
        }
        let whole = u64::from(self.limits.source_rows.max(1)) * 100;
        let scales = self.names.iter().cloned().zip(weights.iter().map(|weight| scale(*weight, whole)));
        report.source_percent =
            self.names.iter().cloned().zip(weights.iter().map(|weight| [*weight, 0])).collect();
        Cleaner { requests: self.requests, scales: scales.collect(), report }
    }

    fn number(&mut self, source: &str) -> u32 {
        if let Some(number) = self.numbers.get(source) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(source.to_owned());
        self.numbers.insert(source.to_owned(), number);
        number
    }
}

impl Cleaner {
    /// The record with its weight if it stands for its copies; none if another does, or it is dropped. A record that
    /// the survey did not see is dropped.
    pub fn admit(&mut self, mut record: Record) -> Option<Record> {
        let Some(known) = self.requests.get_mut(&request_key(&record)) else {
            self.report.dropped += 1;
            return None;
        };
        let Fate::Kept(label) = known.fate() else {
            let is_new = !std::mem::replace(&mut known.is_done, true);
            self.report.drop_conflict(&record, is_new);
            return None;
        };
        let copies = known.of(label);
        if record.label.is_some() && record.label != label {
            self.report.dropped += 1;
            return None;
        }
        if known.is_done || record.label != label || rank(&record.label_source) != copies.rank {
            self.report.copies += 1;
            return None;
        }
        known.is_done = true;
        let scale = self.scales.get(&record.source).copied().unwrap_or(WHOLE);
        record.weight_percent = scaled(copies.weight_percent, scale);
        self.report.kept += 1;
        if let Some([_, after]) = self.report.source_percent.get_mut(&record.source) {
            *after += u64::from(record.weight_percent);
        }
        Some(record)
    }

    /// What was found.
    pub fn into_report(self) -> CleanReport {
        self.report
    }
}

impl CleanReport {
    fn drop_conflict(&mut self, record: &Record, is_new: bool) {
        self.dropped += 1;
        if is_new && self.examples.len() < EXAMPLES_MAX {
            let path: String =
                record.path.chars().take(EXAMPLE_CHARS_MAX).flat_map(char::escape_debug).collect();
            self.examples.push(format!("{} {path}", record.method));
        }
    }
}

impl Known {
    fn copies(&mut self, label: Option<Label>) -> &mut Copies {
        match label {
            None => &mut self.unlabelled,
            Some(Label::Benign) => &mut self.benign,
            Some(Label::Attack) => &mut self.attack,
        }
    }

    fn of(mut self, label: Option<Label>) -> Copies {
        *self.copies(label)
    }

    fn fate(&self) -> Fate {
        match (self.benign.weight_percent, self.attack.weight_percent) {
            (0, 0) => Fate::Kept(None),
            (0, _) => Fate::Kept(Some(Label::Attack)),
            (_, 0) => Fate::Kept(Some(Label::Benign)),
            _ => match self.benign.rank.cmp(&self.attack.rank) {
                Ordering::Less => Fate::Kept(Some(Label::Attack)),
                Ordering::Greater => Fate::Kept(Some(Label::Benign)),
                Ordering::Equal => Fate::Conflict,
            },
        }
    }
}

const EXAMPLES_MAX: usize = 10;
const EXAMPLE_CHARS_MAX: usize = 80;
/// Of a scale: everything.
const WHOLE: u32 = 10_000;

/// Whose word counts more: a person's, a corpus', a firewall's, a heuristic's.
fn rank(source: &LabelSource) -> u8 {
    match source {
        LabelSource::Nobody => 0,
        LabelSource::Heuristic(_) => 1,
        LabelSource::WafRule(_) => 2,
        LabelSource::Corpus => 3,
        LabelSource::Human => 4,
    }
}

/// Ten-thousandths that are left of each record, so that a source above `whole` weighs the root of `weight * whole`.
fn scale(weight: u64, whole: u64) -> u32 {
    if weight <= whole {
        return WHOLE;
    }
    let unit = u128::from(WHOLE);
    let scale = (u128::from(whole) * unit * unit / u128::from(weight)).isqrt();
    u32::try_from(scale).unwrap_or(WHOLE)
}

/// At least 1: a record of no weight would be no record. So the cap is soft above 10,000 times its rows.
fn scaled(weight_percent: u16, scale: u32) -> u16 {
    let scaled = (u32::from(weight_percent).saturating_mul(scale) + WHOLE / 2) / WHOLE;
    u16::try_from(scaled.max(1)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{get, records, say, shared};

    const BENIGN: Option<Label> = Some(Label::Benign);
    const ATTACK: Option<Label> = Some(Label::Attack);

    fn by(source: LabelSource, record: Record) -> Record {
        Record { label_source: source, ..record }
    }

    #[test]
    fn a_thousand_copies_weigh_no_more_than_three() {
        let mut all = vec![get("log", "g", ATTACK, "/a?b=c"); 1000];
        all.push(get("log", "g", ATTACK, "/%61?b=c"));
        all.push(get("log", "g", ATTACK, "/once"));
        let (kept, report) = clean(all, Limits::default()).unwrap();
        let weights: Vec<_> = kept.iter().map(|record| record.weight_percent).collect();
        assert_eq!((weights, report.copies, report.kept), (vec![300, 100], 1000, 2));
    }

    #[test]
    fn contradictions_are_decided_by_who_says_so_or_dropped() {
        let [benign, attack] = [BENIGN, ATTACK].map(|label| get("a", "g", label, "/x"));
        let weak = by(LabelSource::Heuristic("h".into()), benign.clone());
        let human = by(LabelSource::Human, benign.clone());
        let nobody = get("b", "g", None, "/x");
        for (name, records, want, counts) in [
            ("equals", vec![benign, attack.clone()], None, [1, 0, 2]),
            (
                "a thousand heuristics",
                vec![weak; 1000].into_iter().chain([attack.clone()]).collect(),
                Some(ATTACK),
                [0, 1, 1000],
            ),
            ("a person", vec![attack.clone(), human], Some(BENIGN), [0, 1, 1]),
            ("nobody", vec![nobody.clone(), attack], Some(ATTACK), [0, 0, 0]),
            ("nobody alone", vec![nobody.clone(), nobody], Some(None), [0, 0, 0]),
        ] {
            let (kept, report) = clean(records, Limits::default()).unwrap();
            assert_eq!(kept.first().map(|record| record.label), want, "{name}");
            assert_eq!([report.conflicts, report.overruled, report.dropped], counts, "{name}");
            assert_eq!(report.examples.len() as u64, report.conflicts, "{name}");
        }
    }

    #[test]
    fn a_large_source_counts_by_the_root_of_its_size() {
        let of = |source: &str, rows: u32| -> Vec<Record> {
            (0..rows).map(|id| get(source, "g", BENIGN, &format!("/{source}/{id}"))).collect()
        };
        let all = [of("small", 50), of("large", 10_000)].concat();
        let limits = Limits { source_rows: 100, ..Limits::default() };
        let (kept, report) = clean(all, limits).unwrap();
        assert_eq!(kept.len(), 10_050);
        assert_eq!(report.source_percent.get("small"), Some(&[5_000, 5_000]));
        assert_eq!(report.source_percent.get("large"), Some(&[1_000_000, 100_000]));
    }

    #[test]
    fn more_requests_than_the_limit_are_refused() {
        let limits = Limits { requests_max: 2, ..Limits::default() };
        let all: Vec<_> = ["/a", "/b", "/a", "/c"].map(|path| get("a", "g", None, path)).into();
        let error = clean(all, limits).unwrap_err().to_string();
        assert!(error.starts_with("more than 2 different requests"), "{error}");
    }

    proptest! {
        #[test]
        fn every_record_is_told_of_and_no_request_is_left_twice(all in vec(records(), 0..40), copies in 1_usize..4) {
            let all: Vec<Record> = all.iter().cycle().take(all.len() * copies).cloned().collect();
            let (kept, report) = clean(all.clone(), Limits::default()).unwrap();
            prop_assert_eq!(report.kept + report.copies + report.dropped, u64::try_from(all.len()).unwrap());
            let keys: std::collections::HashSet<u128> = kept.iter().map(request_key).collect();
            prop_assert_eq!(keys.len(), kept.len());
            prop_assert!(kept.iter().all(|record| (1..=300).contains(&record.weight_percent)));
            let (again, report) = clean(kept.clone(), Limits::default()).unwrap();
            prop_assert_eq!((again.len(), report.copies), (kept.len(), 0));
        }
    }

    /// The way that a trainer goes: what is read, cleaned and split does not leak.
    #[test]
    fn the_corpus_cleaned_and_split_by_group_does_not_leak() {
        use crate::split::{Shares, Unit, by_group, check_leaks};
        let Some(path) = shared("data/requests.jsonl.zst") else { return };
        let mut all = Vec::new();
        crate::sources::read(&path, &Default::default(), &mut |record| {
            all.push(record);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        let (kept, report) = clean(all, Limits::default()).unwrap();
        say(&format!("{report:#?}"));
        let split = by_group(kept, 1, Shares::new(70, 15).unwrap());
        say(&format!("{} {} {}", split.train.len(), split.validation.len(), split.test.len()));
        assert_eq!(check_leaks(&split.train, &split.validation, Unit::Request), Ok(()));
        assert_eq!(check_leaks(&split.train, &split.test, Unit::Request), Ok(()));
    }
}
