// SPDX-License-Identifier: Apache-2.0
//! `sunbeam serve`, and `sunbeam` alone.

use sunbeam_config::ConfigFiles;
use sunbeam_proxy::{Node, OnChange};

use super::Run;
use crate::cli::GlobalArgs;
use crate::exit::{CliError, ExitCode};
use crate::running::{self, HangUp, Signals};
use crate::{configuration, logging};

/// Run from a configuration file
///
/// SIGHUP reads the configuration again; changed files are noticed without it. SIGTERM and Ctrl-C finish
/// open requests within `limits.drain_secs`; a second signal ends at once.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Serve {}

impl Run for Serve {
    const NAME: &'static str = "serve";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let files = configuration::files(global, None)?;
        let loaded = configuration::checked(&files)?;
        let telemetry = &loaded.config.telemetry;
        let level = logging::start(&telemetry.log_level, telemetry.log_format)?;
        let signals = Signals::new()?;
        let on_change = OnChange(Box::new(move |config| level.set(&config.telemetry.log_level)));
        let node = running::start(Some(files.clone()), loaded, on_change)?;
        announce(&node, &files);
        running::until_stopped(node, signals, HangUp::Reload)
    }
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
