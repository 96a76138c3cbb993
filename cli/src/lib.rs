// SPDX-License-Identifier: Apache-2.0
//! The command line of Sunbeam: parse, dispatch, exit code. Each command is one file in `commands/`.

mod api;
mod cli;
mod client;
mod commands;
mod configuration;
mod destinations;
mod discover;
mod exit;
mod http1;
mod https;
mod log_file;
mod logging;
mod output;
mod placed_file;
mod probe;
mod progress;
mod running;
mod systemd;

use std::process;

pub use cli::command;

/// Runs the program on the process's own arguments.
pub fn run() -> process::ExitCode {
    // Before anything speaks TLS. An error says that one is installed already: then there is one.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    cli::dispatch(std::env::args_os()).into()
}
