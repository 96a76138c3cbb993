// SPDX-License-Identifier: Apache-2.0
//! `sunbeam serve`, and `sunbeam` alone.

use std::process::Command;

use sunbeam_config::ConfigFiles;
use sunbeam_proxy::{HandOver, HandOverError, Inherit, Node, OnChange};

use super::Run;
use crate::cli::GlobalArgs;
use crate::exit::{CliError, ExitCode};
use crate::running::{self, HangUp, Signals};
use crate::{configuration, logging, systemd};

/// Run from a configuration file
///
/// SIGHUP reads the configuration again; changed files are noticed without it. SIGUSR2 starts the program
/// anew with `--upgrade`. SIGTERM and Ctrl-C finish open requests within `limits.drain_secs`; a second signal
/// ends at once.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Serve {
    /// Take the listening sockets and the state over from the node that runs with this configuration, which
    /// then finishes its requests and ends: no connection is refused or cut
    #[arg(long)]
    upgrade: bool,
}

impl Run for Serve {
    const NAME: &'static str = "serve";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let passed = systemd::passed_sockets()?;
        let files = configuration::files(global, None)?;
        let loaded = configuration::checked(&files)?;
        let telemetry = &loaded.config.telemetry;
        let level = logging::start(&telemetry.log_level, telemetry.log_format)?;
        let signals = Signals::new()?;
        let on_change = OnChange(Box::new(move |config| level.set(&config.telemetry.log_level)));
        let inherit = if self.upgrade {
            let hand_over = HandOver::ask(&loaded.config.state.path).map_err(|error| refused(&error))?;
            Inherit::HandOver(hand_over)
        } else {
            Inherit::Activated(passed)
        };
        let node = running::start(Some(files.clone()), loaded, on_change, inherit)?;
        announce(&node, &files);
        running::until_stopped(node, signals, HangUp::Reload, Some(successor(&files)))
    }
}

/// Why there is no hand-over, and what to do.
fn refused(error: &HandOverError) -> CliError {
    let told = error.to_string();
    match error {
        HandOverError::NoNode { .. } => {
            CliError::unreachable(told).hint("without `--upgrade` this command starts one")
        }
        HandOverError::Denied { .. } | HandOverError::OtherUser { .. } => {
            CliError::not_permitted(told).hint("run it as the user that the node runs as")
        }
        _ => CliError::failed(told).hint("the node that runs goes on; its log says more"),
    }
}

/// This program, as it lies on the disk by then, with the same configuration.
fn successor(files: &ConfigFiles) -> Command {
    let program = std::env::args_os().next().unwrap_or_else(|| "sunbeam".into());
    let mut command = Command::new(program);
    command.args(["serve", "--upgrade", "--config"]).arg(&files.path);
    if let Some(profile) = &files.profile {
        command.arg("--profile").arg(profile);
    }
    // They mean this process. The watchdog's interval holds for the new one, too.
    command.env_remove("WATCHDOG_PID").env_remove("LISTEN_PID").env_remove("LISTEN_FDS");
    command
}

/// One line for each address that is ready.
fn announce(node: &Node, files: &ConfigFiles) {
    for (scheme, address) in node.listeners() {
        tracing::info!(scheme = scheme.as_str(), %address, "listening");
    }
    if let Some(address) = node.passthrough_address() {
        tracing::info!(scheme = "tcp", %address, "listening");
    }
    if let Some(address) = node.metrics_address() {
        tracing::info!(%address, "metrics and health");
    }
    if let Some(address) = node.management_address() {
        let token = node.token_path().map(|path| path.display().to_string());
        tracing::info!(%address, token_file = token.as_deref().unwrap_or("configured"), "management API");
    }
    tracing::info!(config = %files.path.display(), version = env!("CARGO_PKG_VERSION"), "ready");
}
