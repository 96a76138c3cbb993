// SPDX-License-Identifier: Apache-2.0
//! `sunbeam replay`

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use sunbeam_config::{ConfigFiles, Loaded, Sources, load_sources};
use sunbeam_datasets::sources::ReadOptions;
use sunbeam_datasets::{Label, OrderReport, Record, in_order};
use sunbeam_ensemble::Model;
use sunbeam_proxy::{Config, Offline};
use sunbeam_replay::{Changes, Line, Replay as Playing, Replayed, Summary, Tally};

mod print;
mod verdicts;

use print::{About, tell};
pub(super) use print::{reading_json, reading_text};
use verdicts::{STDOUT, Verdicts};

use super::Run;
use super::model::read_model;
use crate::cli::GlobalArgs;
use crate::configuration;
use crate::exit::{CliError, ExitCode};
use crate::log_file::{LogFile, Reading};
use crate::output::escape;
use crate::progress::Progress;

/// Play a log or a labelled corpus through the layers, and show what they would do
///
/// The same judging as on a node, at the times that the log tells, by the configuration file; by the defaults where
/// there is none. Nothing is sent. Exit code 0; with --diff 1 when a verdict would change.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Replay {
    /// The log, corpus or data set, packed with zstd or not; `-` is standard input
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Its format, where its first lines do not tell: audit, combined, csic, labelled, modsecurity, dataset and more
    #[arg(long, value_name = "NAME")]
    format: Option<String>,
    /// Seconds that are looked back, instead of `ddos.window_secs`
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    window_secs: Option<u32>,
    /// Events that a client must have before it is judged, instead of `ddos.min_events`
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    min_events: Option<u16>,
    /// Judge with this model instead of the one in use; may stand twice, for scanner and ddos
    #[arg(long = "model", value_name = "FILE")]
    models: Vec<PathBuf>,
    /// Ask these layers only: lists, ddos, scanner, rate_limit
    #[arg(long, value_name = "LAYER", value_enum, value_delimiter = ',', hide_possible_values = true)]
    only: Vec<OnlyLayer>,
    /// Show which verdicts would change from those of the configuration as it is
    #[arg(long)]
    diff: bool,
    /// Write each record's verdict to FILE, a line of JSON each; `-` is standard output, in the place of the summary
    #[arg(long, value_name = "FILE")]
    verdicts: Option<PathBuf>,
    /// Put the records in the order of their times first; all of them are in memory then
    #[arg(long)]
    sort: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OnlyLayer {
    Lists,
    Ddos,
    Scanner,
    #[value(name = "rate_limit")]
    RateLimit,
}

impl Run for Replay {
    const NAME: &'static str = "replay";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let (configuration, loaded) = loaded(global)?;
        let input = LogFile::new(&self.input)?;
        let judging = self.changed(self.limited(loaded.clone()))?;
        let today = if self.diff { Some(self.today(loaded)?) } else { None };
        let route_of = of_last_host(|host| judging.route_of(host));
        let route_of_today = of_last_host(|host| today.as_ref().map_or(0, |today| today.route_of(host)));
        let mut stage = Stage {
            new: Player::new(&judging, &route_of),
            old: today.as_ref().map(|today| Player::new(today, &route_of_today)),
            changes: Changes::default(),
            verdicts: self.verdicts.as_deref().map(|place| Verdicts::new(place, &self.input)).transpose()?,
            judged: Duration::ZERO,
        };
        let mut progress = Progress::new(format!("replaying {}", input.name()), input.bytes);
        let options = ReadOptions { format: self.format.clone(), ..ReadOptions::default() };
        let (reading, order) = play(&input, &options, self.sort, &mut progress, &mut stage)?;
        let seconds = progress.seconds();
        drop(progress);
        let result = stage.finish()?;
        let code = if result.changes.records() > 0 { ExitCode::Findings } else { ExitCode::Done };
        let about = About { configuration, input: input.name(), reading, order, seconds };
        if self.verdicts.as_deref() != Some(Path::new(STDOUT)) {
            tell(global.printer(), &about, &result)?;
        }
        Ok(code)
    }
}

impl Replay {
    /// Only the layers that are asked for.
    fn limited(&self, mut loaded: Loaded<Config>) -> Loaded<Config> {
        let is_off = |layer| !self.only.is_empty() && !self.only.contains(&layer);
        let config = &mut loaded.config;
        config.ddos.enabled &= !is_off(OnlyLayer::Ddos);
        config.scanner.enabled &= !is_off(OnlyLayer::Scanner);
        config.rate_limit.enabled &= !is_off(OnlyLayer::RateLimit);
        if is_off(OnlyLayer::Lists) {
            config.lists = Default::default();
        }
        loaded
    }

    /// What is in use.
    fn today(&self, loaded: Loaded<Config>) -> Result<Offline, CliError> {
        if self.models.is_empty() && self.window_secs.is_none() && self.min_events.is_none() {
            return Err(CliError::usage("`--diff` needs something to compare with what is in use")
                .hint("name it with `--model FILE`, `--window-secs` or `--min-events`"));
        }
        offline(&self.limited(loaded))
    }

    /// What is in use, changed as the options say.
    fn changed(&self, mut loaded: Loaded<Config>) -> Result<Offline, CliError> {
        let ddos = &mut loaded.config.ddos;
        ddos.window_secs = self.window_secs.unwrap_or(ddos.window_secs);
        ddos.min_events = self.min_events.unwrap_or(ddos.min_events);
        if ddos.min_events > ddos.window_capacity {
            let (wanted, kept) = (ddos.min_events, ddos.window_capacity);
            let message = format!("{wanted} events can never be reached: the window keeps {kept}");
            return Err(CliError::usage(message).hint("see `ddos.window_capacity`"));
        }
        let (mut scanner, mut ddos) = (None, None);
        for path in &self.models {
            let is_second = match read_model(path)?.model {
                Model::Scanner(model) => scanner.replace(Arc::new(*model)).is_some(),
                Model::Ddos(model) => ddos.replace(Arc::new(*model)).is_some(),
            };
            if is_second {
                return Err(CliError::usage("both models are for the same detector: one of each at most"));
            }
        }
        Ok(offline(&loaded)?.with_models(|models| {
            models.scanner = scanner.unwrap_or_else(|| Arc::clone(&models.scanner));
            models.ddos = ddos.unwrap_or_else(|| Arc::clone(&models.ddos));
        }))
    }
}

/// The configuration, and what it is called; the defaults where no file is.
pub(super) fn loaded(global: &GlobalArgs) -> Result<(String, Loaded<Config>), CliError> {
    if let Some(files) = ConfigFiles::find(global.config.clone(), global.profile.clone()) {
        return Ok((escape(&files.path.display().to_string()), configuration::checked(&files)?));
    }
    let loaded = load_sources(Sources(Vec::new()), |_: &Config, _| {});
    let loaded = loaded.map_err(|error| CliError::usage(error.to_string()))?;
    Ok(("none: the defaults".to_owned(), loaded))
}

pub(super) fn offline(loaded: &Loaded<Config>) -> Result<Offline, CliError> {
    Offline::without_rules(loaded).map_err(|error| CliError::usage(escape(&error)))
}

/// The same, quicker where a host follows itself, as it mostly does in logs.
pub(super) fn of_last_host(route_of: impl Fn(&str) -> usize) -> impl Fn(&str) -> usize {
    let last: RefCell<Option<(String, usize)>> = RefCell::new(None);
    move |host| {
        let mut last = last.borrow_mut();
        match &*last {
            Some((known, route)) if known == host => *route,
            _ => last.insert((host.to_owned(), route_of(host))).1,
        }
    }
}

/// One pipeline and what it came to.
struct Player<'a> {
    replay: Playing<'a>,
    tally: Tally,
}

impl<'a> Player<'a> {
    fn new(offline: &'a Offline, route_of: &'a dyn Fn(&str) -> usize) -> Self {
        Self { replay: Playing::new(offline.pipeline(), route_of), tally: Tally::default() }
    }

    fn play(&mut self, record: &Record) -> Replayed {
        let replayed = self.replay.play(record);
        self.tally.add(record, &replayed);
        replayed
    }
}

/// What records are played on.
struct Stage<'a> {
    new: Player<'a>,
    old: Option<Player<'a>>,
    changes: Changes,
    verdicts: Option<Verdicts>,
    /// Time that judging took, reading left out.
    judged: Duration,
}

/// What came of it.
struct Outcome {
    new: Summary,
    old: Option<Summary>,
    changes: Changes,
    judged: Duration,
}

impl Stage<'_> {
    fn take(&mut self, records: &[Record]) -> Result<(), CliError> {
        let begun = Instant::now();
        for record in records {
            let new = self.new.play(record);
            if let Some(old) = &mut self.old {
                self.changes.add(record, old.play(record).verdict, new.verdict);
            }
            if let Some(file) = &mut self.verdicts {
                file.line(&VerdictLine::of(record, &new))?;
            }
        }
        self.judged += begun.elapsed();
        Ok(())
    }

    fn finish(self) -> Result<Outcome, CliError> {
        self.verdicts.map_or(Ok(()), Verdicts::settle)?;
        let summary = |player: Player<'_>| player.tally.summary(player.replay.times());
        let Self { changes, judged, .. } = self;
        Ok(Outcome { new: summary(self.new), old: self.old.map(summary), changes, judged })
    }
}

/// A line of `--verdicts`.
#[derive(Serialize)]
struct VerdictLine<'a> {
    source: &'a str,
    class: &'a str,
    label: Option<&'static str>,
    group: &'a str,
    client: &'a str,
    #[serde(flatten)]
    verdict: Line,
}

impl<'a> VerdictLine<'a> {
    fn of(record: &'a Record, replayed: &Replayed) -> Self {
        let label = record.label.map(|label| match label {
            Label::Benign => "benign",
            Label::Attack => "attack",
        });
        let Record { source, class, group, client, .. } = record;
        Self { source, class, label, group, client, verdict: replayed.line() }
    }
}

/// Reads in one thread and plays in another, in the order of the file unless it is to be sorted.
fn play(
    input: &LogFile,
    options: &ReadOptions,
    is_sorted: bool,
    progress: &mut Progress,
    stage: &mut Stage<'_>,
) -> Result<(Reading, Option<OrderReport>), CliError> {
    let done = AtomicU64::new(0);
    let (sender, batches) = sync_channel(BATCHES_MAX);
    let mut kept = Vec::new();
    let reading = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut batch = Batch { sender, records: Vec::new(), bytes: 0 };
            let reading = input.read(options, &done, &mut |record| batch.push(record));
            batch.end();
            reading
        });
        let mut played = 0;
        for batch in batches {
            played += batch.len() as u64;
            if is_sorted {
                kept.extend(batch)
            } else {
                stage.take(&batch)?
            }
            progress.tell(done.load(Ordering::Relaxed), played);
        }
        reader.join().expect("readers do not panic")
    })?;
    if !is_sorted {
        return Ok((reading, None));
    }
    let (ordered, order) = in_order(kept);
    let (bytes, mut played) = (done.into_inner(), 0);
    for batch in ordered.chunks(BATCH_RECORDS) {
        stage.take(batch)?;
        played += batch.len() as u64;
        progress.tell(bytes, played);
    }
    Ok((reading, Some(order)))
}

/// Batches on their way.
const BATCHES_MAX: usize = 4;
/// Records of one.
const BATCH_RECORDS: usize = 512;
/// What the texts of one come to, about; a record has up to several MiB.
const BATCH_BYTES: usize = 1 << 20;

/// Records on their way to who plays them.
struct Batch {
    sender: SyncSender<Vec<Record>>,
    records: Vec<Record>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, record: Record) -> ControlFlow<()> {
        self.bytes += record.path.len() + record.query.len() + record.body.len() + record.cookies.len();
        self.records.push(record);
        if self.records.len() < BATCH_RECORDS && self.bytes < BATCH_BYTES {
            return ControlFlow::Continue(());
        }
        self.send()
    }

    /// Who does not listen any more has a reason of its own to end.
    fn end(self) {
        drop(self.sender.send(self.records));
    }

    fn send(&mut self) -> ControlFlow<()> {
        self.bytes = 0;
        let full = std::mem::replace(&mut self.records, Vec::with_capacity(BATCH_RECORDS));
        if self.sender.send(full).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Replay, clap::Error> {
        let command = Replay::augment_args(clap::Command::new("replay"));
        let matches = command.try_get_matches_from([&["replay", "--input", "-"][..], arguments].concat())?;
        Replay::from_arg_matches(&matches)
    }

    fn defaults() -> Loaded<Config> {
        load_sources(Sources(Vec::new()), |_: &Config, _| {}).unwrap()
    }

    #[test]
    fn layers_that_are_not_asked_for_are_off() {
        let on = |arguments: &[&str]| {
            let config = parsed(arguments).unwrap().limited(defaults()).config;
            [config.ddos.enabled, config.scanner.enabled, config.rate_limit.enabled]
        };
        assert_eq!(on(&[]), [true, true, true]);
        assert_eq!(on(&["--only", "scanner"]), [false, true, false]);
        assert_eq!(on(&["--only", "ddos,rate_limit"]), [true, false, true]);
        for nonsense in
            [&["--only", "waf"][..], &["--window-secs", "0"], &["--min-events", "0"], &["--rules", "x"]]
        {
            assert!(parsed(nonsense).is_err(), "{nonsense:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let too_many = parsed(&["--min-events", "2000"]).unwrap().changed(defaults());
        assert_eq!(too_many.unwrap_err().code, ExitCode::Usage);
        let nothing = parsed(&["--diff"]).unwrap().today(defaults());
        assert_eq!(nothing.unwrap_err().code, ExitCode::Usage);
        assert!(parsed(&["--window-secs", "30", "--min-events", "5"]).unwrap().changed(defaults()).is_ok());
    }
}
