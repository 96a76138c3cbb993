// SPDX-License-Identifier: Apache-2.0
//! `sunbeam waf`

mod added;
mod backend;
mod install_crs;
mod rules;
mod settings;
mod stats;
mod test;

use crate::cli::GlobalArgs;
use crate::commands::Run;
use crate::exit::{CliError, ExitCode};
use crate::output::escape;

/// Look at the WAF's rules, test them, install the OWASP Core Rule Set
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Waf {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    Rules(rules::Rules),
    Test(test::Test),
    Stats(stats::Stats),
    Add(added::Add),
    Added(added::Added),
    Remove(added::Remove),
    InstallCrs(install_crs::InstallCrs),
    Backend(backend::Backend),
}

/// What a rule says, in a table: some say all scores that there are.
fn message(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    match text.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", escape(text.get(..at).unwrap_or_default())),
        None => escape(text),
    }
}

impl Run for Waf {
    const NAME: &'static str = "waf";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        match self.action {
            Action::Rules(rules) => rules.run(global),
            Action::Test(test) => test.run(global),
            Action::Stats(stats) => stats.run(global),
            Action::Add(add) => add.run(global),
            Action::Added(added) => added.run(global),
            Action::Remove(remove) => remove.run(global),
            Action::InstallCrs(install) => install.run(global),
            Action::Backend(backend) => backend.run(),
        }
    }
}
