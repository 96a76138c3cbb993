// SPDX-License-Identifier: Apache-2.0
//! `sunbeam test`

mod attack;

use super::Run;
use crate::cli::GlobalArgs;
use crate::exit::{CliError, ExitCode};

/// Try whether the running node stops what it should, and nothing else
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Test {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    Attack(attack::Attack),
}

impl Run for Test {
    const NAME: &'static str = "test";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        match self.action {
            Action::Attack(attack) => attack.run(global),
        }
    }
}
