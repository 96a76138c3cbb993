// SPDX-License-Identifier: Apache-2.0
//! Which rules are meant: what the options say, else what the configuration says.

use std::path::PathBuf;
use std::sync::Arc;

use sunbeam_config::{ConfigFiles, load as load_config};
use sunbeam_proxy::{Config, rule_options};
use sunbeam_waf::compile::RuleSet;
use sunbeam_waf::rules::{RuleOptions, RuleSetKind, load};
use sunbeam_waf::seclang::RuleError;

use crate::cli::GlobalArgs;
use crate::configuration::{count, refused as refused_config};
use crate::exit::CliError;
use crate::output::{escape, note};
use crate::placed_file::shown;

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
        let config = configured(global)?;
        let options = rule_options(&config);
        let crs = || RuleSetKind::Crs(self.crs_path.clone().unwrap_or_else(|| config.waf.crs_path.into()));
        let ruleset = match (self.ruleset, &self.crs_path) {
            (Some(Ruleset::Builtin), _) => RuleSetKind::BuiltIn,
            (Some(Ruleset::Crs), _) | (None, Some(_)) => crs(),
            (None, None) => options.ruleset.clone(),
        };
        let paranoia_level = self.paranoia_level.unwrap_or(options.paranoia_level);
        Ok(RuleOptions { ruleset, paranoia_level, ..options })
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
    if let Some(folder) = options.rules_dir.as_deref().filter(|folder| !folder.is_dir()) {
        return Err(CliError::usage(format!("`waf.rules_dir`: {} is not a folder", shown(folder))));
    }
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
    Ok(configured(global)?.waf.crs_path.into())
}

/// The configuration that there is; without one, the defaults. Only its text is looked at: what is wrong with rules is told
/// where they are read.
fn configured(global: &GlobalArgs) -> Result<Config, CliError> {
    let Some(files) = ConfigFiles::find(global.config.clone(), global.profile.clone()) else {
        return Ok(Config::default());
    };
    Ok(load_config(&files, |_: &Config, _| {}).map_err(|error| refused_config(&files, &error))?.config)
}
