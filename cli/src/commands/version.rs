// SPDX-License-Identifier: Apache-2.0
//! `sunbeam version`

use std::env::consts;

use serde_json::json;

use super::Run;
use crate::cli::GlobalArgs;
use crate::exit::{CliError, ExitCode};

/// Print the version, what it was built for, and how
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Version {}

impl Run for Version {
    const NAME: &'static str = "version";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let version = env!("CARGO_PKG_VERSION");
        let printer = global.printer();
        if printer.is_json() {
            printer.json(&json!({"version": version, "target": target(), "profile": profile()}))?;
        } else {
            printer.line(format_args!("sunbeam {version} ({}, {})", target(), profile()))?;
        }
        Ok(ExitCode::Done)
    }
}

fn target() -> String {
    let environment = if cfg!(target_env = "musl") {
        "-musl"
    } else if cfg!(target_env = "gnu") {
        "-gnu"
    } else {
        ""
    };
    format!("{}-{}{environment}", consts::ARCH, consts::OS)
}

const fn profile() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}
