// SPDX-License-Identifier: Apache-2.0
//! `sunbeam config`

use std::path::PathBuf;

use serde_json::json;
use sunbeam_config::{Key, Section as _, ShownValue, diff};

use super::Run;
use crate::api::RunningConfig;
use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::configuration;
use crate::exit::{CliError, ExitCode};
use crate::output::{Printer, escape};

/// Show the configuration, or what a change of it would do
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Print the effective configuration as TOML, every key with its value, secrets masked
    ///
    /// Of the file that `--config` names, else of the running node, else of the usual file.
    Show {
        /// Print every key with its default and what it means instead
        #[arg(long)]
        defaults: bool,
    },
    /// Show what a reload of FILE would change in the running node
    ///
    /// Exit code 0 when nothing would change, 1 when something would. A secret that changed is not seen:
    /// both sides are masked.
    Diff {
        /// The configuration file [default: as for `serve`]
        file: Option<PathBuf>,
    },
}

impl Run for Config {
    const NAME: &'static str = "config";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        match self.action {
            Action::Show { defaults: true } => print_toml(global.printer(), &defaults()),
            Action::Show { defaults: false } => show(global),
            Action::Diff { file } => compare(global, file),
        }
    }
}

fn show(global: &GlobalArgs) -> Result<ExitCode, CliError> {
    let asked_of_node = global.config.is_none() || global.node.is_some();
    let client = if asked_of_node { Client::connect_if_running(global)? } else { None };
    let text = match client {
        Some(client) => typed::<RunningConfig>(&client.get("/api/v1/config")?)?.toml,
        None => configuration::text(&configuration::checked(&configuration::files(global, None)?)?.config),
    };
    print_toml(global.printer(), &text)
}

fn print_toml(printer: Printer, text: &str) -> Result<ExitCode, CliError> {
    if printer.is_json() {
        let table = parsed(text)?;
        printer.json(&serde_json::to_value(table).map_err(|error| CliError::failed(error.to_string()))?)?;
    } else {
        printer.raw(text)?;
    }
    Ok(ExitCode::Done)
}

fn compare(global: &GlobalArgs, file: Option<PathBuf>) -> Result<ExitCode, CliError> {
    let files = configuration::files(global, file)?;
    let next = configuration::checked(&files)?.config.shown();
    let answer: RunningConfig = typed(&Client::connect(global)?.get("/api/v1/config")?)?;
    let changes = diff(&parsed(&answer.toml)?, &next);
    let printer = global.printer();
    if printer.is_json() {
        printer.json(&json!({"file": files.path, "changes": changes}))?;
    } else if changes.is_empty() {
        printer.line(format_args!("{}: no difference to the running configuration", files.path.display()))?;
    } else {
        changes.iter().try_for_each(|change| printer.line(escape(change)))?;
    }
    Ok(verdict(&changes))
}

fn verdict(changes: &[String]) -> ExitCode {
    if changes.is_empty() { ExitCode::Done } else { ExitCode::Findings }
}

fn parsed(text: &str) -> Result<toml::Table, CliError> {
    text.parse().map_err(|error| CliError::failed(format!("the node's configuration is not TOML: {error}")))
}

/// Every key with its doc comment and default; tables that may stand several times are commented out.
fn defaults() -> String {
    let mut text = String::from(
        "# Every configuration key with its default: an empty file means exactly these values.\n",
    );
    let shown = sunbeam_proxy::Config::default().shown();
    section(&mut text, "", sunbeam_proxy::Config::KEYS, &shown, false);
    text
}

/// `commented`: inside a table that is an example, not a default.
fn section(text: &mut String, path: &str, keys: &[Key], defaults: &toml::Table, commented: bool) {
    let mark = if commented { "# " } else { "" };
    for key in keys.iter().filter(|key| (key.nested)().is_none()) {
        document(text, key.doc);
        let value = defaults.get(key.name).map_or_else(String::new, ShownValue::to_string);
        line(text, format_args!("{mark}{} = {value}", key.name));
    }
    for (key, nested) in keys.iter().filter_map(|key| Some((key, (key.nested)()?))) {
        let path = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        // A list of tables has no default but the empty list, and its entry's keys have.
        let repeated = nested.repeated || matches!(defaults.get(key.name), Some(ShownValue::Array(_)));
        let commented = commented || repeated;
        let mark = if commented { "# " } else { "" };
        text.push('\n');
        document(text, nested.doc);
        let heading = if repeated { format!("{mark}[[{path}]]") } else { format!("{mark}[{path}]") };
        line(text, format_args!("{heading}"));
        section(text, &path, nested.keys, &nested.defaults, commented);
    }
}

fn document(text: &mut String, doc: &str) {
    for part in doc.lines().map(str::trim).filter(|part| !part.is_empty()) {
        // A doc comment escapes what Markdown would read as markup.
        line(text, format_args!("# {}", part.replace('\\', "")));
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.push_str(&arguments.to_string());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use sunbeam_config::{Source, Sources, load_sources};

    use super::*;

    fn read(text: &str) -> sunbeam_proxy::Config {
        let source = Source { name: "defaults".into(), path: None, text: text.into() };
        load_sources(Sources(vec![source]), |_, _| {}).unwrap().config
    }

    #[test]
    fn the_printed_defaults_are_the_defaults() {
        let text = defaults();
        assert_eq!(read(&text), sunbeam_proxy::Config::default(), "{text}");
        assert!(text.contains("# [[routes]]\n") && text.contains("# [[routes.paths]]\n"), "{text}");
        for line in text.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')) {
            assert!(!line.ends_with("= "), "a key without default: {line}");
        }
    }

    #[test]
    fn a_difference_is_a_finding() {
        let (old, new) = (read(""), read("[limits]\ndrain_secs = 7\n"));
        let changes = diff(&old.shown(), &new.shown());
        assert_eq!(changes, ["limits.drain_secs: 30 -> 7"]);
        assert_eq!((verdict(&changes), verdict(&[])), (ExitCode::Findings, ExitCode::Done));
        let again = parsed(&configuration::text(&new)).unwrap();
        assert!(diff(&again, &new.shown()).is_empty());
    }
}
