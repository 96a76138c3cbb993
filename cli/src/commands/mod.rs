// SPDX-License-Identifier: Apache-2.0
//! The commands. One file each, one line each in [`COMMANDS`].

mod allow;
mod block;
mod blocks;
mod bots;
mod cert;
mod completions;
mod config;
mod confirm;
mod doctor;
mod download_datasets;
mod exceptions;
mod explain;
mod layers;
mod learn;
mod lists;
mod login;
mod man;
mod model;
mod prepare_dataset;
mod privacy;
mod reload;
mod replay;
mod rollback;
mod serve;
mod status;
mod sweep_cookie_weight;
mod tail;
mod test;
mod top;
mod train;
mod unblock;
mod up;
mod validate;
mod version;
mod waf;
mod why;

use clap::{ArgMatches, Args};

use crate::cli::GlobalArgs;
use crate::exit::{CliError, ExitCode};

/// A command: its options are its fields, its help their doc comments.
pub(crate) trait Run: Args {
    /// What is typed.
    const NAME: &'static str;

    /// Does it.
    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError>;
}

/// A line of [`COMMANDS`].
#[derive(Debug)]
pub(crate) struct Entry {
    /// What is typed.
    pub(crate) name: &'static str,
    /// Its parser.
    pub(crate) build: fn() -> clap::Command,
    /// Does it.
    pub(crate) run: fn(&GlobalArgs, &ArgMatches) -> Result<ExitCode, CliError>,
}

/// Every command, in the order of the help.
pub(crate) const COMMANDS: &[Entry] = &[
    entry::<up::Up>(),
    entry::<serve::Serve>(),
    entry::<validate::Validate>(),
    entry::<config::Config>(),
    entry::<reload::Reload>(),
    entry::<rollback::Rollback>(),
    entry::<confirm::Confirm>(),
    entry::<status::Status>(),
    entry::<top::Top>(),
    entry::<tail::Tail>(),
    entry::<block::Block>(),
    entry::<unblock::Unblock>(),
    entry::<blocks::Blocks>(),
    entry::<bots::Bots>(),
    entry::<lists::Lists>(),
    entry::<login::Login>(),
    entry::<why::Why>(),
    entry::<layers::Enforce>(),
    entry::<layers::Observe>(),
    entry::<layers::Auto>(),
    entry::<allow::Allow>(),
    entry::<exceptions::Exceptions>(),
    entry::<explain::Explain>(),
    entry::<test::Test>(),
    entry::<waf::Waf>(),
    entry::<replay::Replay>(),
    entry::<learn::Learn>(),
    entry::<download_datasets::DownloadDatasets>(),
    entry::<prepare_dataset::PrepareDataset>(),
    entry::<train::TrainScanner>(),
    entry::<train::TrainDdos>(),
    entry::<sweep_cookie_weight::SweepCookieWeight>(),
    entry::<model::Model>(),
    entry::<doctor::Doctor>(),
    entry::<privacy::Privacy>(),
    entry::<cert::Cert>(),
    entry::<completions::Completions>(),
    entry::<man::Man>(),
    entry::<version::Version>(),
];

/// What runs when no command is named.
pub(crate) const DEFAULT_COMMAND: &str = serve::Serve::NAME;

const fn entry<C: Run>() -> Entry {
    Entry { name: C::NAME, build: build::<C>, run: run::<C> }
}

fn build<C: Run>() -> clap::Command {
    C::augment_args(clap::Command::new(C::NAME))
}

fn run<C: Run>(global: &GlobalArgs, matches: &ArgMatches) -> Result<ExitCode, CliError> {
    // The parser was made from the same type.
    let command = C::from_arg_matches(matches).map_err(|error| CliError::usage(error.to_string()))?;
    command.run(global)
}
