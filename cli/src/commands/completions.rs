// SPDX-License-Identifier: Apache-2.0
//! `sunbeam completions`

use clap_complete::Shell;

use super::Run;
use crate::cli::{self, GlobalArgs};
use crate::exit::{CliError, ExitCode};

/// Print a completion script for a shell
///
/// For bash: `sunbeam completions bash > ~/.local/share/bash-completion/completions/sunbeam`
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Run for Completions {
    const NAME: &'static str = "completions";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut cli::command(), "sunbeam", &mut script);
        global.printer().raw(&String::from_utf8_lossy(&script))?;
        Ok(ExitCode::Done)
    }
}
