// SPDX-License-Identifier: Apache-2.0
//! `sunbeam login`

use serde::Deserialize;

use super::Run;
use crate::cli::GlobalArgs;
use crate::client::{Client, operator_here, typed};
use crate::exit::{CliError, ExitCode};
use crate::output::{duration, escape, note};

/// Print a link to the console of the running node
///
/// The link works once, within five minutes, and opens a session of twelve hours in the browser that follows it. From
/// another machine, forward the port first: `ssh -L 9999:127.0.0.1:9999 HOST`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Login {}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LoginLink {
    path: String,
    expires_in_seconds: u64,
}

impl Run for Login {
    const NAME: &'static str = "login";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let client = Client::connect(global)?;
        let answer = client.post("/api/v1/login-links", String::new())?;
        let link: LoginLink = typed(&answer)?;
        if !link.path.starts_with('/') {
            return Err(CliError::failed("the node told no link"));
        }
        let url = format!("{}{}", client.url(), escape(&link.path));
        let printer = global.printer();
        if printer.is_json() {
            let mut answer = answer;
            if let Some(object) = answer.as_object_mut() {
                object.insert("url".to_owned(), url.into());
            }
            printer.json(&answer)?;
            return Ok(ExitCode::Done);
        }
        printer.line(&url)?;
        note(format_args!("works once, for {}", duration(link.expires_in_seconds)));
        if operator_here().is_some() {
            let port = client.url().rsplit_once(':').map(|(_, port)| port.to_owned()).unwrap_or_default();
            note(format_args!(
                "from where you are, forward the port first: ssh -L {port}:127.0.0.1:{port} and this host's name"
            ));
        }
        Ok(ExitCode::Done)
    }
}
