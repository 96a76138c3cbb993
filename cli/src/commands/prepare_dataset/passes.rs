// SPDX-License-Identifier: Apache-2.0
//! The two ways through the records. The first reads, puts in order and labels them, and keeps them in a file without a
//! name beside the data set; the second takes the copies out and writes the data set. So logs of any size take bounded memory: a
//! stretch of records, and about 100 bytes for each different request.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use sunbeam_datasets::clean::{CleanReport, Limits, Survey};
use sunbeam_datasets::container::{Header, Manifest, Reader, WriteError, Writer};
use sunbeam_datasets::heuristics::{Heuristics, HeuristicsReport};
use sunbeam_datasets::{Record, in_order};
use sunbeam_ensemble::{Detector, fingerprint};

use super::inputs::Input;
use super::sides::Sides;
use crate::commands::download_datasets::licence_of;
use crate::exit::{CliError, told};
use crate::log_file::Reading;
use crate::output::{escape, note};
use crate::placed_file::refused;
use crate::progress::Progress;

/// What came of it.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Of each file, its name and what reading came to.
    pub(super) files: Vec<(String, Reading)>,
    pub(super) heuristics: Option<HeuristicsReport>,
    pub(super) clean: CleanReport,
    /// Copies that were kept without weight, for what a client did.
    pub(super) sightings: u64,
    /// Records that tell no time.
    pub(super) untimed: u64,
    pub(super) sides: Sides,
    pub(super) header: Header,
}

/// Records that are put in order and labelled together: windows end where a stretch does.
const STRETCH_RECORDS: usize = 500_000;
/// What they take in memory, about.
const STRETCH_BYTES: usize = 512 << 20;

/// Makes the data set at `place`.
///
/// # Errors
/// When an input cannot be used, or the disk fails; then `place` is as it was.
pub(super) fn prepare(
    inputs: &[Input],
    heuristics: Option<&Heuristics>,
    place: &Path,
) -> Result<Prepared, CliError> {
    if fs::metadata(place).is_ok_and(|found| !found.is_file()) {
        return Err(CliError::usage(format!("`{}` is no file", escape(&place.display().to_string()))));
    }
    let mut first = First::new(heuristics, place)?;
    let total = inputs.iter().map(|input| input.file.bytes).sum();
    let mut progress = Progress::new("reading", total);
    let mut files = Vec::new();
    for input in inputs {
        if inputs.len() > 1 && input.file.is_empty() {
            note(format_args!("warning: {} is empty", input.file.name()));
            continue;
        }
        files.push((input.file.name(), first.read(input, &mut progress)?));
    }
    drop(progress);
    let First { survey, kept, report, origins, untimed, .. } = first;
    let (header, between) = kept.finish_unnamed().map_err(|error| unwritten(place, &error))?;
    if header.rows == 0 {
        return Err(CliError::failed("there is not one record to make a data set of"));
    }
    let mut second = Second { writer: writer(place)?, sides: Sides::default(), sightings: 0 };
    let clean = second.run(survey, between, header.rows, place)?;
    let manifests = origins.into_values().collect();
    let header = second.writer.finish(&features(), manifests).map_err(|error| unwritten(place, &error))?;
    let heuristics = heuristics.map(|_| report);
    let Second { sightings, sides, .. } = second;
    Ok(Prepared { files, heuristics, clean, sightings, untimed, sides, header })
}

/// The features of the models that are compiled in.
fn features() -> String {
    let of = |detector: Detector| format!("{detector} {:016x}", fingerprint(detector));
    [Detector::Scanner, Detector::Ddos].map(of).join(", ")
}

fn writer(place: &Path) -> Result<Writer, CliError> {
    Writer::create(place).map_err(|error| unwritten(place, &error))
}

fn unwritten(place: &Path, error: &WriteError) -> CliError {
    match error {
        WriteError::Io { source, .. } => refused("write", place, source),
        _ => CliError::failed(escape(&told(error))),
    }
}

/// The first pass.
struct First<'a> {
    heuristics: Option<&'a Heuristics>,
    report: HeuristicsReport,
    survey: Survey,
    kept: Writer,
    place: &'a Path,
    untimed: u64,
    stretch: Vec<Record>,
    bytes: usize,
    /// By the names of sources.
    origins: BTreeMap<String, Manifest>,
    records: u64,
    done: AtomicU64,
}

impl<'a> First<'a> {
    fn new(heuristics: Option<&'a Heuristics>, place: &'a Path) -> Result<Self, CliError> {
        Ok(Self {
            heuristics,
            report: HeuristicsReport::default(),
            survey: Survey::new(Limits::default()),
            kept: Writer::unnamed(place).map_err(|error| unwritten(place, &error))?,
            place,
            untimed: 0,
            stretch: Vec::new(),
            bytes: 0,
            origins: BTreeMap::new(),
            records: 0,
            done: AtomicU64::new(0),
        })
    }

    fn read(&mut self, input: &Input, progress: &mut Progress) -> Result<Reading, CliError> {
        let done = AtomicU64::new(0);
        let before = self.done.load(Ordering::Relaxed);
        let mut sources = BTreeSet::new();
        let mut failed = None;
        let reading = input.file.read(&input.options, &done, &mut |record| {
            progress.tell(before + done.load(Ordering::Relaxed), self.records);
            if !sources.contains(&record.source) {
                sources.insert(record.source.clone());
            }
            failed = self.take(record).err();
            if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if let Some(failed) = failed {
            return Err(failed);
        }
        let reading = reading?;
        self.label()?;
        self.done.fetch_add(input.file.bytes.unwrap_or(0), Ordering::Relaxed);
        for name in sources {
            self.note_origin(name, &reading);
        }
        Ok(reading)
    }

    /// One source may be of several files, as a log that was rotated.
    fn note_origin(&mut self, name: String, reading: &Reading) {
        let told = reading.manifests.iter().find(|manifest| manifest.name == name);
        let (sha256, licence) = match told {
            Some(told) => (told.sha256.clone(), told.licence.clone()),
            None => {
                let licence = licence_of(&reading.sha256).unwrap_or("as supplied");
                (reading.sha256.clone(), licence.to_owned())
            }
        };
        let origin = self.origins.entry(name.clone()).or_default();
        origin.name = name;
        append(&mut origin.sha256, &sha256);
        append(&mut origin.licence, &licence);
    }

    fn take(&mut self, mut record: Record) -> Result<(), CliError> {
        self.records += 1;
        record.cut_headers();
        self.bytes += record.bytes();
        self.stretch.push(record);
        if self.stretch.len() >= STRETCH_RECORDS || self.bytes >= STRETCH_BYTES {
            self.label()
        } else {
            Ok(())
        }
    }

    /// Labels what was read and keeps it.
    fn label(&mut self) -> Result<(), CliError> {
        self.bytes = 0;
        let (mut stretch, order) = in_order(std::mem::take(&mut self.stretch));
        self.untimed += order.missing;
        if let Some(heuristics) = self.heuristics {
            add(&mut self.report, heuristics.label(&mut stretch));
        }
        for record in &stretch {
            self.survey.note(record).map_err(|error| CliError::failed(error.to_string()))?;
            self.kept.write(record).map_err(|error| unwritten(self.place, &error))?;
        }
        Ok(())
    }
}

/// `a, b` without repeating what is there.
fn append(list: &mut String, more: &str) {
    if list.is_empty() {
        list.push_str(more);
    } else if !list.split(", ").any(|known| known == more) {
        list.push_str(", ");
        list.push_str(more);
    }
}

fn add(sum: &mut HeuristicsReport, more: HeuristicsReport) {
    if sum.rules.is_empty() {
        *sum = more;
        return;
    }
    sum.records += more.records;
    sum.labelled_before += more.labelled_before;
    sum.attacks += more.attacks;
    sum.benign += more.benign;
    sum.undecided += more.undecided;
    sum.silent += more.silent;
    sum.forgotten += more.forgotten;
    for (sum, more) in sum.rules.iter_mut().zip(more.rules) {
        sum.fired += more.fired;
        sum.overlaps += more.overlaps;
        sum.conflicts += more.conflicts;
        sum.right += more.right;
        sum.wrong += more.wrong;
    }
}

/// The second pass.
struct Second {
    writer: Writer,
    sides: Sides,
    sightings: u64,
}

impl Second {
    fn run(
        &mut self,
        survey: Survey,
        between: File,
        rows: u64,
        place: &Path,
    ) -> Result<CleanReport, CliError> {
        let mut cleaner = survey.finish();
        let reader = Reader::of(between, place).map_err(|error| CliError::failed(escape(&told(&error))))?;
        let mut progress = Progress::new("cleaning", Some(rows));
        for (number, record) in (1..).zip(reader) {
            let record = record.map_err(|error| CliError::failed(escape(&told(&error))))?;
            progress.tell(number, number);
            let sighting = is_sighting(&record).then(|| record.clone());
            let kept = match (cleaner.admit(record), sighting) {
                (Some(kept), _) => kept,
                (None, Some(sighting)) => {
                    self.sightings += 1;
                    Record { weight_percent: 0, ..sighting }
                }
                (None, None) => continue,
            };
            self.sides.add(&kept);
            self.writer.write(&kept).map_err(|error| unwritten(place, &error))?;
        }
        Ok(cleaner.into_report())
    }
}

/// A log's word on what a client did: in a window its copies are the evidence. They teach nothing of the request
/// itself, so that nobody teaches a model by asking a thousand times.
fn is_sighting(record: &Record) -> bool {
    record.at_micros.is_some() && !record.client.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_ends_by_all_that_its_records_take_in_memory() {
        let place = std::env::temp_dir().join(format!("sunbeam-stretch-{}.bin", std::process::id()));
        let mut first = First::new(None, &place).unwrap();
        let record = |number: usize| Record {
            path: format!("/{number}"),
            method: "GET".to_owned(),
            user_agent: "a".repeat(64 << 10),
            ..Record::default()
        };
        for number in 0..1_000 {
            first.take(record(number)).unwrap();
            let held: usize = first.stretch.iter().map(Record::bytes).sum();
            assert_eq!(first.bytes, held);
        }
        assert!(first.bytes < 2 << 20, "{} bytes: long headers are cut", first.bytes);
        first.bytes = STRETCH_BYTES - 1;
        first.take(record(1_000)).unwrap();
        assert_eq!((first.bytes, first.stretch.len(), first.records), (0, 0, 1_001));
    }

    #[test]
    fn lists_do_not_repeat_and_reports_add_up() {
        let mut list = String::new();
        for more in ["a", "b", "a"] {
            append(&mut list, more);
        }
        assert_eq!(list, "a, b");
        let mut records = vec![Record { path: "/.env".into(), method: "GET".into(), ..Record::default() }; 3];
        let once = Heuristics::default().label(&mut records);
        let mut sum = HeuristicsReport::default();
        add(&mut sum, once.clone());
        add(&mut sum, once.clone());
        assert_eq!(sum.records, 2 * once.records);
        assert!(sum.rules.iter().zip(&once.rules).all(|(sum, once)| sum.fired == 2 * once.fired));
    }
}
