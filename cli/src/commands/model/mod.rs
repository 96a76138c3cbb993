// SPDX-License-Identifier: Apache-2.0
//! `sunbeam model`

mod running;
mod signature;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sunbeam_ensemble::{
    ApplicationModel, Card, Detector, FILE_MAX, Model as AnyModel, ModelFile, Stored as _, builtin,
    fingerprint, probability,
};

use crate::cli::GlobalArgs;
use crate::commands::Run;
use crate::exit::{CliError, ExitCode};
use crate::log_file::hex;
use crate::output::{Format, Printer, escape};
use crate::placed_file::{PlacedFile, refused, shown};

/// Look at models, try them beside those in use, and install them
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Model {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// What a model is, what it was trained on, and where its zones begin
    Info {
        /// `scanner`, `ddos` or a model's file [default: both that are compiled in]
        #[arg(value_name = "FILE|scanner|ddos")]
        model: Option<PathBuf>,
    },
    /// Whether this program can use a model's file, and whether a key signed it; exit code 1 when not
    Verify {
        /// The model's file
        file: PathBuf,
        /// Must have signed it: a PEM file, as `openssl pkey -pubout` writes it
        #[arg(long, value_name = "PUB.pem")]
        public_key: Option<PathBuf>,
    },
    /// Write a model with a signature behind it, for nodes with `detection.model_public_key`
    ///
    /// The key is an Ed25519 key (RFC 8032) in PKCS#8, as `openssl genpkey -algorithm ed25519 -out KEY.pem` makes it;
    /// what it signs is the model's SHA-256. A signature that the model has is replaced.
    Sign {
        /// The model's file
        file: PathBuf,
        /// The private key; it has no business on a node
        #[arg(long, value_name = "KEY.pem")]
        key: PathBuf,
        /// The new file
        #[arg(id = "exported", long = "output", value_name = "FILE")]
        to: PathBuf,
        /// table, json or jsonl
        // In the place of the option of all commands, whose long form means the file here.
        #[arg(
            id = "output",
            short,
            value_enum,
            default_value_t,
            value_name = "FORMAT",
            hide_possible_values = true
        )]
        _output: Format,
    },
    /// Write a model that is compiled in as a file
    Export {
        /// `scanner` or `ddos`
        #[arg(value_name = "scanner|ddos", value_parser = detector)]
        detector: Detector,
        /// The new file
        #[arg(id = "exported", long = "output", value_name = "FILE")]
        to: PathBuf,
        /// table, json or jsonl
        // In the place of the option of all commands, whose long form means the file here.
        #[arg(
            id = "output",
            short,
            value_enum,
            default_value_t,
            value_name = "FORMAT",
            hide_possible_values = true
        )]
        _output: Format,
    },
    /// What differs between two models of one detector; exit code 1 when something does
    Diff {
        /// `scanner`, `ddos` or a model's file
        #[arg(value_name = "FILE|scanner|ddos")]
        old: PathBuf,
        /// `scanner`, `ddos` or a model's file
        #[arg(value_name = "FILE|scanner|ddos")]
        new: PathBuf,
    },
    /// What the running node judges by, and whether its traffic is still like what that was trained on
    ///
    /// Drift compares the last 10 to 20 minutes with the model's validation data, which held attacks: what says
    /// something is how it changes. Thresholds are suggestions from the requests of visitors whom the site knows, by
    /// the exact bound of Clopper and Pearson; nothing applies them by itself.
    Status {},
    /// Ask a model beside the one in use: every request is judged by both, and only the one in use acts
    ///
    /// That about doubles what judging costs. The node forgets it, and what was seen of it, when it ends; with --promote
    /// it keeps a copy of the model, and begins to compare anew.
    Shadow {
        /// The model's file, on the node's machine
        #[arg(required_unless_present = "stop")]
        file: Option<PathBuf>,
        /// Have the node take it by itself after 1,000 requests, if it is no worse than the one in use on either side
        #[arg(long, conflicts_with = "stop")]
        promote: bool,
        /// Ask it no longer
        #[arg(long, value_name = "scanner|ddos", value_parser = detector, conflicts_with = "file")]
        stop: Option<Detector>,
    },
    /// Have the node keep a copy of a model, and judge by it from now on
    ///
    /// Only a model that was asked about 1,000 requests in shadow and was no worse: neither stopping more of the
    /// visitors whom the site knows, nor certain of less. It must doubt plain exploits or made-up attackers, and a model of
    /// ddos must have been tried on something that the one in use stops. A file that the configuration names is stronger.
    Install {
        /// The model's file, on the node's machine
        file: PathBuf,
        /// Whatever was seen of it
        #[arg(long)]
        force: bool,
        /// Show what would be done, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Have the node go back to the model that is compiled in
    Uninstall {
        /// `scanner` or `ddos`
        #[arg(value_name = "scanner|ddos", value_parser = detector)]
        detector: Detector,
        /// Show what would be done, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

const DETECTORS: [Detector; 2] = [Detector::Scanner, Detector::Ddos];

impl Run for Model {
    const NAME: &'static str = "model";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let printer = global.printer();
        match self.action {
            Action::Info { model: None } => info(printer, &DETECTORS.map(built_in)),
            Action::Info { model: Some(named) } => info(printer, &[found(&named)?]),
            Action::Verify { file, public_key } => signature::verify(printer, &file, public_key.as_deref()),
            Action::Sign { file, key, to, .. } => signature::sign(printer, &file, &key, &to),
            Action::Export { detector, to, .. } => export(printer, detector, &to),
            Action::Diff { old, new } => diff(printer, &found(&old)?, &found(&new)?),
            Action::Status {} => running::status(global),
            Action::Shadow { stop: Some(detector), .. } => running::unshadow(global, detector),
            Action::Shadow { file, promote, stop: None } => {
                running::shadow(global, &file.unwrap_or_default(), promote)
            }
            Action::Install { file, force, dry_run } => running::install(global, &file, force, dry_run),
            Action::Uninstall { detector, dry_run } => running::uninstall(global, detector, dry_run),
        }
    }
}

/// Reads a model's file, and checks it.
///
/// # Errors
/// When there is none, or this program cannot use it.
pub(in crate::commands) fn read_model(path: &Path) -> Result<ModelFile, CliError> {
    ModelFile::read(&bytes_of(path)?)
        .map_err(|error| CliError::failed(format!("{} cannot be used: {error}", shown(path))))
}

/// Of what may be a model: no more than one may have, and a byte.
fn bytes_of(path: &Path) -> Result<Vec<u8>, CliError> {
    // A pipe would keep its reader waiting.
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return Err(CliError::usage(format!("{} is no regular file", shown(path))));
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_MAX as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| refused("read", path, &error))?;
    Ok(bytes)
}

fn detector(text: &str) -> Result<Detector, String> {
    let known = DETECTORS.into_iter().find(|known| known.as_str() == text);
    known.ok_or_else(|| "there are `scanner` and `ddos`".to_owned())
}

/// A model to look at.
struct Found {
    name: String,
    file: ModelFile,
    bytes: usize,
}

impl Found {
    fn new(name: String, bytes: &[u8]) -> Result<Self, CliError> {
        let file = ModelFile::read(bytes)
            .map_err(|error| CliError::failed(format!("{name} cannot be used: {error}")))?;
        Ok(Self { name, file, bytes: bytes.len() })
    }
}

/// The words mean what is compiled in; a file of that name is `./scanner`.
fn found(named: &Path) -> Result<Found, CliError> {
    match DETECTORS.into_iter().find(|known| named == Path::new(known.as_str())) {
        Some(detector) => Ok(built_in(detector)),
        None => Found::new(shown(named), &bytes_of(named)?),
    }
}

fn built_in(detector: Detector) -> Found {
    Found::new("compiled in".to_owned(), &built_in_bytes(detector)).expect("what is written can be read")
}

fn built_in_bytes(detector: Detector) -> Vec<u8> {
    let (model, card) = match detector {
        Detector::Scanner => (AnyModel::Scanner(Box::new(builtin::SCANNER.clone())), builtin::SCANNER_CARD),
        Detector::Ddos => (AnyModel::Ddos(Box::new(builtin::DDOS.clone())), builtin::DDOS_CARD),
    };
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    ModelFile::bytes(&model, &Card(card.iter().map(pair).collect()))
}

fn info(printer: Printer, models: &[Found]) -> Result<ExitCode, CliError> {
    if printer.is_json() {
        let answer = match models {
            [one] => as_json(one),
            all => all.iter().map(as_json).collect(),
        };
        printer.json(&answer)?;
        return Ok(ExitCode::Done);
    }
    for (index, model) in models.iter().enumerate() {
        if index > 0 {
            printer.line("")?;
        }
        let pairs = pairs(model);
        let named: Vec<(&str, String)> =
            pairs.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        printer.pairs(&named)?;
    }
    Ok(ExitCode::Done)
}

/// Everything that is told of a model. Its card is whoever's who made it.
fn pairs(found: &Found) -> Vec<(String, String)> {
    let file = &found.file;
    let pair = |name: &str, value: String| (name.to_owned(), value);
    let mut pairs = vec![
        pair("detector", file.model.detector().to_string()),
        pair("from", found.name.clone()),
        pair("features", format!("{:016x}", fingerprint(file.model.detector()))),
        pair("sha256", hex(&file.hash)),
        pair(
            "signature",
            if file.signature.is_some() {
                "there is one; `sunbeam model verify --public-key PUB.pem` says whether a key made it"
            } else {
                "none"
            }
            .to_owned(),
        ),
        pair("size", format!("{} bytes in a file, {} in memory", found.bytes, size(&file.model))),
    ];
    if let AnyModel::Scanner(model) = &file.model {
        pairs.push(pair("application", application_in_words(&model.application)));
    }
    let zones = zones(&file.model);
    pairs.extend(zones.iter().map(|(name, logit)| {
        pair(name, format!("{:.4} (logit {:.2})", probability(*logit), f64::from(*logit) / 256.0))
    }));
    pairs.extend(file.card.0.iter().map(|(name, value)| (escape(name), escape(value))));
    pairs
}

fn as_json(found: &Found) -> Value {
    let file = &found.file;
    let card: serde_json::Map<String, Value> =
        file.card.0.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let zones: serde_json::Map<String, Value> =
        zones(&file.model).into_iter().map(|(name, logit)| (name.to_owned(), logit.into())).collect();
    json!({
        "detector": file.model.detector().as_str(),
        "from": found.name,
        "features": format!("{:016x}", fingerprint(file.model.detector())),
        "sha256": hex(&file.hash),
        "is_signed": file.signature.is_some(),
        "application": application_told(&file.model),
        "file_bytes": found.bytes,
        "memory_bytes": size(&file.model),
        "zones": zones,
        "card": card,
    })
}

/// `hosts` is null where it is asked about every host.
fn application_told(model: &AnyModel) -> Value {
    let AnyModel::Scanner(model) = model else { return Value::Null };
    let hosts = model.application.host_count();
    json!({"is_known": model.application.is_trained(), "hosts": Some(hosts).filter(|hosts| *hosts > 0)})
}

fn size(model: &AnyModel) -> usize {
    match model {
        AnyModel::Scanner(model) => size_of_val(&**model),
        AnyModel::Ddos(model) => size_of_val(&**model),
    }
}

/// Whether a model knows what is odd for one application, and for how many hosts.
pub(in crate::commands) fn application_in_words(model: &ApplicationModel) -> String {
    match (model.is_trained(), model.host_count()) {
        (false, _) => "not known".to_owned(),
        (true, 0) => "known, asked about every host".to_owned(),
        (true, 1) => "known, asked about 1 host".to_owned(),
        (true, hosts) => format!("known, asked about {hosts} hosts"),
    }
}

/// Where zones begin, in 1/256 of a logit.
fn zones(model: &AnyModel) -> Vec<(&'static str, i32)> {
    let (cascade, payload) = match model {
        AnyModel::Scanner(model) => (&model.cascade, Some(&model.payload)),
        AnyModel::Ddos(model) => (&model.cascade, None),
    };
    let mut zones = vec![
        ("tree allows up to", cascade.tree.allow.into()),
        ("tree blocks from", cascade.tree.block.into()),
        ("certain from", cascade.certain),
    ];
    if let Some(payload) = payload {
        zones.push(("text doubtful from", payload.doubtful));
        zones.push(("text certain from", payload.certain));
    }
    zones
}

fn export(printer: Printer, detector: Detector, to: &Path) -> Result<ExitCode, CliError> {
    // A configuration may be using it: that is changed by who means to.
    if to.exists() {
        return Err(CliError::failed(format!("{} exists already", shown(to))).hint("name a new file"));
    }
    let bytes = built_in_bytes(detector);
    let mut file = PlacedFile::create(to)?;
    file.write_all(&bytes).map_err(|error| file.failed(&error))?;
    file.settle()?;
    if printer.is_json() {
        printer.json(&json!({"file": to, "detector": detector.as_str(), "bytes": bytes.len()}))?;
    } else {
        printer.line(format_args!("wrote {} ({} bytes)", shown(to), bytes.len()))?;
    }
    Ok(ExitCode::Done)
}

fn diff(printer: Printer, old: &Found, new: &Found) -> Result<ExitCode, CliError> {
    let (detector, other) = (old.file.model.detector(), new.file.model.detector());
    if detector != other {
        return Err(CliError::usage(format!("one is a model of `{detector}`, the other of `{other}`")));
    }
    let differing = numbers(&old.file.model)
        .iter()
        .zip(numbers(&new.file.model))
        .filter(|(old, new)| **old != *new)
        .count();
    let code = if old.file == new.file { ExitCode::Done } else { ExitCode::Findings };
    let all = numbers(&old.file.model).len();
    if printer.is_json() {
        let (old, new) = (as_json(old), as_json(new));
        printer.json(&json!({"old": old, "new": new, "bytes_differing": differing, "bytes": all}))?;
        return Ok(code);
    }
    let (old, new) = (pairs(old), pairs(new));
    let value = |pairs: &[(String, String)], name: &str| {
        pairs.iter().find(|(known, _)| known == name).map_or_else(String::new, |(_, value)| value.clone())
    };
    let more = new.iter().filter(|(name, _)| !old.iter().any(|(known, _)| known == name));
    let rows: Vec<Vec<String>> = old
        .iter()
        .chain(more)
        .map(|(name, _)| vec![name.clone(), value(&old, name), value(&new, name)])
        .filter(|row| row.get(1) != row.get(2))
        .collect();
    printer.table(&["", "OLD", "NEW"], &rows)?;
    printer.line(format_args!("{differing} of {all} bytes of numbers differ"))?;
    Ok(code)
}

fn numbers(model: &AnyModel) -> Vec<u8> {
    let mut numbers = Vec::new();
    match model {
        AnyModel::Scanner(model) => model.write(&mut numbers),
        AnyModel::Ddos(model) => model.write(&mut numbers),
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_in_can_be_told_and_read_back() {
        for detector in DETECTORS {
            let found = built_in(detector);
            assert_eq!(found.file.model.detector(), detector);
            assert!(zones(&found.file.model).len() >= 3);
            assert_eq!(as_json(&found)["detector"], detector.as_str());
        }
    }

    #[test]
    fn a_card_cannot_steer_the_terminal() {
        let mut found = built_in(Detector::Ddos);
        found.file.card = Card(vec![("a\u{1b}[2J".into(), "b\u{202e}".into())]);
        for (name, value) in pairs(&found) {
            assert!(![name, value].concat().contains(['\u{1b}', '\u{202e}']));
        }
    }
}
