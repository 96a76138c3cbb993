// SPDX-License-Identifier: Apache-2.0
//! `sunbeam learn`

mod install;
mod layers;
mod page;
mod print;
mod read;

use std::path::PathBuf;
use std::sync::Arc;

use sunbeam_config::Loaded;
use sunbeam_ensemble::{DdosModel, Detector, Model, ScannerModel};
use sunbeam_proxy::Config;
use sunbeam_trainer::learn::{Duel, LearnError, Learned, Learning, Material, Outcome, learn};
use sunbeam_trainer::suite::recordings;

use super::Run;
use super::model::read_model;
use super::prepare_dataset::heuristics;
use super::replay::{loaded, offline};
use super::train::{DataSet, Origin, Steps, Written, card, folder, today, write, write_model};
use crate::cli::GlobalArgs;
use crate::exit::{CliError, ExitCode, told};
use crate::placed_file::shown;
use install::Installer;
use layers::Layers;
use read::Logs;

/// Learn the ways of this site from its logs, and say whether that is better than what is in use
///
/// What the site's own logs tell trains candidates for both detectors. They are judged beside the models in use on the
/// latest stretch of the logs, which neither has seen, and on attacks that no log need have. Exit code 0 when a
/// candidate is better or there is nothing to mend, 1 when none is better or the node did not take one that is.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Learn {
    /// The site's logs, packed with zstd or not; data sets with labels are taken too
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    input: Vec<PathBuf>,
    /// Their format, where their first lines do not tell
    #[arg(long, value_name = "NAME")]
    format: Option<String>,
    /// A data set of other sites' requests to learn from besides, as `prepare-dataset` makes it
    #[arg(long, value_name = "FILE")]
    dataset: Option<PathBuf>,
    /// Rules that label what nobody labelled: a heuristics.toml, `default`, or `none`
    #[arg(long, value_name = "FILE", default_value = "default")]
    heuristics: PathBuf,
    /// Compare with this model instead of the one in use; may stand twice, for scanner and ddos
    #[arg(long = "model", value_name = "FILE")]
    models: Vec<PathBuf>,
    /// The share of the logs that is kept for judging: the latest
    #[arg(long, value_name = "SHARE", default_value_t = 0.3, value_parser = share)]
    latest: f64,
    /// Of everything that chance decides
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Where scanner.model, ddos.model and report.html are written
    #[arg(long, value_name = "DIR", default_value = ".")]
    output_dir: PathBuf,
    /// Hand what is better to the node: it is tried beside the one in use, and the node takes it after 1,000 requests if
    /// it is no worse
    #[arg(long)]
    install: bool,
    /// With --install: have the node judge by it at once, untried
    #[arg(long, requires = "install")]
    force: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "a share is a number".to_owned())?;
    if (0.05..=0.95).contains(&share) { Ok(share) } else { Err("a share from 0.05 to 0.95".to_owned()) }
}

impl Run for Learn {
    const NAME: &'static str = "learn";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        // What cannot end well is found out before anything is trained.
        let installer = if self.install { Some(Installer::new(global, self.force)?) } else { None };
        let rules = heuristics(&self.heuristics)?;
        let in_use = self.in_use(global, installer.as_ref())?;
        folder(&self.output_dir)?;
        let logs = Logs::read(&self.input, self.format.as_deref(), rules.as_ref())?;
        let general = self.dataset.as_deref().map(DataSet::read).transpose()?.unwrap_or_default();
        let mut learned = self.learn(&logs, &general, &in_use)?;
        let layers = Layers::play(&logs, &in_use, &learned)?;
        layers.settle(&logs, &mut learned);
        let mut course = Course {
            seed: self.seed,
            version: today().replace('-', ""),
            origins: logs.origins.iter().chain(&general.origins).cloned().collect(),
            logs,
            in_use,
            learned,
            layers,
            models: Vec::new(),
        };
        course.write_models(&self)?;
        let page = sunbeam_report::html(&page::report(&course));
        let report = write(&self.output_dir, "report.html", page.as_bytes())?;
        let installed = installer.map(|installer| installer.install(&course)).unwrap_or_default();
        print::tell(global.printer(), &course, &report, &installed)?;
        installed.failed.into_iter().next().map_or_else(|| Ok(course.code()), Err)
    }
}

impl Learn {
    /// Those that are named; of a node that is to change, those that it judges by.
    fn in_use(&self, global: &GlobalArgs, installer: Option<&Installer>) -> Result<InUse, CliError> {
        let mut in_use = InUse::of(global)?;
        let of_node = installer.map(Installer::files).transpose()?.unwrap_or_default();
        for path in of_node.iter().chain(&self.models) {
            match read_model(path)?.model {
                Model::Scanner(model) => in_use.scanner = Arc::new(*model),
                Model::Ddos(model) => in_use.ddos = Arc::new(*model),
            }
            in_use.names.push(shown(path));
        }
        Ok(in_use)
    }

    fn learn(&self, logs: &Logs, general: &DataSet, in_use: &InUse) -> Result<Learned, CliError> {
        let recordings = recordings().map_err(|error| CliError::failed(told(&error)))?;
        let material = Material { site: &logs.records, recordings: &recordings, general: &general.records };
        let learning = Learning { seed: self.seed, latest: self.latest };
        let mut steps = Steps::new("learning");
        let models = (&*in_use.scanner, &*in_use.ddos);
        learn(&material, models, &learning, &mut |step, at, of| steps.tell(step, at, of)).map_err(|error| {
            let refused = CliError::failed(error.to_string());
            match error {
                LearnError::TooFew { .. } => refused.hint(logs.hint()),
                LearnError::Cascade(_) => refused,
            }
        })
    }
}

/// The models in use: those of the configuration; those that are compiled in where there is none.
struct InUse {
    /// Of the configuration, and of the files that stand over it.
    names: Vec<String>,
    loaded: Loaded<Config>,
    scanner: Arc<ScannerModel>,
    ddos: Arc<DdosModel>,
}

impl InUse {
    fn of(global: &GlobalArgs) -> Result<Self, CliError> {
        let (configuration, loaded) = loaded(global)?;
        let offline = offline(&loaded)?;
        let models = offline.pipeline().rules().models();
        let names = vec![format!("configuration {configuration}")];
        let (scanner, ddos) = (Arc::clone(&models.scanner), Arc::clone(&models.ddos));
        Ok(Self { names, loaded, scanner, ddos })
    }
}

/// All that there is to tell.
struct Course {
    seed: u64,
    version: String,
    origins: Vec<Origin>,
    logs: Logs,
    in_use: InUse,
    learned: Learned,
    layers: Layers,
    /// Once they are written.
    models: Vec<Candidate>,
}

/// A candidate, where it stands.
struct Candidate {
    detector: Detector,
    file: Written,
    outcome: Outcome,
}

impl Course {
    /// What each detector's models were judged on.
    fn duels(&self) -> [(Detector, &'static str, &Duel); 2] {
        let learned = &self.learned;
        [(Detector::Scanner, "texts", &learned.texts), (Detector::Ddos, "windows", &learned.windows)]
    }

    fn write_models(&mut self, command: &Learn) -> Result<(), CliError> {
        let mut models = Vec::new();
        for (detector, what, duel) in self.duels() {
            let model = match detector {
                Detector::Scanner => Model::Scanner(Box::new(self.learned.scanner.clone())),
                Detector::Ddos => Model::Ddos(Box::new(self.learned.ddos.clone())),
            };
            let outcome = self.outcome(detector, duel);
            let more = [
                ("learned_from", format!("{} records", self.learned.records[0])),
                ("judged_by", format!("{} records that came later", self.learned.records[1])),
                ("scores", print::scores(what, duel)),
                ("compared_with_the_model_in_use", outcome.as_str().to_owned()),
            ];
            let card = card(detector, &self.version, self.seed, &self.origins, &more);
            let file = write_model(&command.output_dir, &model, &card)?;
            models.push(Candidate { detector, file, outcome });
        }
        self.models = models;
        Ok(())
    }

    /// By the duel, and by what a node's layer would do: a candidate that doubts more of the site than the model in use
    /// is not better, whatever was measured of its parts.
    fn outcome(&self, detector: Detector, duel: &Duel) -> Outcome {
        match duel.outcome() {
            Outcome::Better if !self.layers.allow(detector) => Outcome::NotBetter,
            outcome => outcome,
        }
    }

    fn code(&self) -> ExitCode {
        let has = |outcome| self.models.iter().any(|model| model.outcome == outcome);
        let is_well = has(Outcome::Better) || !has(Outcome::NotBetter);
        if is_well { ExitCode::Done } else { ExitCode::Findings }
    }

    /// How far the log is from what the model in use was trained on; see [`layers::Played::drift`].
    fn drift(&self, detector: Detector) -> (u64, Vec<(&'static str, f64)>) {
        let reference = match detector {
            Detector::Scanner => &self.in_use.scanner.reference,
            Detector::Ddos => &self.in_use.ddos.reference,
        };
        self.layers.in_use.drift(detector, reference)
    }

    fn in_use_name(&self) -> String {
        self.in_use.names.join(", then ")
    }
}
