// SPDX-License-Identifier: Apache-2.0
//! Which rules are meant: what the options say, else what the configuration says.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use sunbeam_config::ConfigFiles;
use sunbeam_waf::compile::RuleSet;
use sunbeam_waf::rules::{RuleOptions, RuleSetKind, load};
use sunbeam_waf::seclang::RuleError;

use crate::cli::GlobalArgs;
use crate::configuration::count;
use crate::exit::{CliError, told};
use crate::output::{escape, note};

/// Which rules; what is not said here is as the configuration says.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct RuleArgs {
    /// Which rules: the project's own, or the OWASP Core Rule Set [default: waf.ruleset]
    #[arg(long, value_enum, value_name = "builtin|crs", hide_possible_values = true)]
    pub(super) ruleset: Option<Ruleset>,
    /// The folder of the Core Rule Set; means `--ruleset crs` [default: waf.crs_path]
    #[arg(long, value_name = "DIR")]
    pub(super) crs_path: Option<PathBuf>,
    /// 1 to 4: how much is suspected [default: waf.paranoia_level]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=4))]
    pub(super) paranoia_level: Option<u8>,
}

/// `--ruleset`
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Ruleset {
    Builtin,
    Crs,
}

/// Where the Core Rule Set lies when nothing else is said.
const CRS_PATH: &str = "/usr/share/modsecurity-crs";

/// Rules that were read, and how.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) options: RuleOptions,
    pub(super) rules: Arc<RuleSet>,
}

impl RuleArgs {
    /// How rules are read by these options and the configuration.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub(super) fn options(&self, global: &GlobalArgs) -> Result<RuleOptions, CliError> {
        let section = Section::configured(global)?;
        let is_crs = match (self.ruleset, &self.crs_path) {
            (Some(ruleset), _) => ruleset == Ruleset::Crs,
            (None, Some(_)) => true,
            (None, None) => section.ruleset == "crs",
        };
        let crs_path = self.crs_path.clone().unwrap_or_else(|| section.crs_path.clone());
        Ok(RuleOptions {
            ruleset: if is_crs { RuleSetKind::Crs(crs_path) } else { RuleSetKind::BuiltIn },
            paranoia_level: self.paranoia_level.unwrap_or(section.paranoia_level),
            ..section.options()
        })
    }

    /// Reads them.
    ///
    /// # Errors
    /// When the configuration or a rule is wrong, after everything that is wrong was printed.
    pub(super) fn load(&self, global: &GlobalArgs) -> Result<Loaded, CliError> {
        read(self.options(global)?)
    }
}

/// Reads rules; prints what is wrong with them on standard error.
///
/// # Errors
/// Exit code 2, with the number of problems.
pub(super) fn read(options: RuleOptions) -> Result<Loaded, CliError> {
    let rules = load(&options).map_err(|errors| refused(&errors))?;
    for (span, text) in rules.warnings() {
        note(format_args!("{}:{}: warning: {}", escape(&span.file), span.line, escape(text)));
    }
    Ok(Loaded { options, rules: Arc::new(rules) })
}

fn refused(errors: &[RuleError]) -> CliError {
    for error in errors {
        note(escape(&error.to_string()));
    }
    CliError::usage(format!("{} in the rules", count(errors.len(), "problem")))
}

/// Where the Core Rule Set lies by the configuration.
///
/// # Errors
/// When the configuration cannot be read.
pub(super) fn crs_path(global: &GlobalArgs) -> Result<PathBuf, CliError> {
    Ok(Section::configured(global)?.crs_path)
}

/// `[waf]` of the configuration, as far as it says which rules are read.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Section {
    ruleset: String,
    crs_path: PathBuf,
    rules_dir: PathBuf,
    paranoia_level: u8,
    inbound_threshold: u32,
    outbound_threshold: u32,
}

impl Default for Section {
    fn default() -> Self {
        let RuleOptions { paranoia_level, inbound_threshold, outbound_threshold, .. } =
            RuleOptions::default();
        Self {
            ruleset: "builtin".to_owned(),
            crs_path: CRS_PATH.into(),
            rules_dir: PathBuf::new(),
            paranoia_level,
            inbound_threshold,
            outbound_threshold,
        }
    }
}

impl Section {
    /// Of the configuration that there is; without one, the defaults.
    fn configured(global: &GlobalArgs) -> Result<Self, CliError> {
        let Some(files) = ConfigFiles::find(global.config.clone(), global.profile.clone()) else {
            return Ok(Self::default());
        };
        let sources = files.read().map_err(|error| CliError::usage(told(&error)))?;
        let mut all = toml::Table::new();
        for source in sources.0 {
            let broken = |why: String| CliError::usage(format!("{}: {}", escape(&source.name), escape(&why)));
            let table: toml::Table =
                toml::from_str(&source.text).map_err(|error| broken(error.message().to_owned()))?;
            match table.get("waf") {
                Some(toml::Value::Table(section)) => all.extend(section.clone()),
                Some(_) => return Err(broken("`waf`: expected a table".to_owned())),
                None => {}
            }
        }
        let section: Self = toml::Value::Table(all)
            .try_into()
            .map_err(|error| CliError::usage(format!("`waf`: {}", escape(error.message()))))?;
        if !["builtin", "crs"].contains(&section.ruleset.as_str()) {
            return Err(CliError::usage("`waf.ruleset`: expected `builtin` or `crs`"));
        }
        Ok(section)
    }

    fn options(self) -> RuleOptions {
        RuleOptions {
            rules_dir: Some(self.rules_dir).filter(|folder| !folder.as_os_str().is_empty()),
            inbound_threshold: self.inbound_threshold,
            outbound_threshold: self.outbound_threshold,
            ..RuleOptions::default()
        }
    }
}
