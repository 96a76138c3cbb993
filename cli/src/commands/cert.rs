// SPDX-License-Identifier: Apache-2.0
//! `sunbeam cert`

use jiff::Timestamp;
use serde_json::{Value, json};
use sunbeam_listeners::TlsStore;

use super::Run;
use crate::api::{Certificate, plain};
use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::configuration;
use crate::exit::{CliError, ExitCode};
use crate::output::{Colour, Printer, escape};

/// Days before its end from which a certificate is worth a word.
pub(super) const SOON_DAYS: i64 = 30;

/// Certificates
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Cert {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Copy, Debug, clap::Subcommand)]
enum Action {
    /// List the certificates that the running node serves, or that the configuration names
    Ls,
}

impl Run for Cert {
    const NAME: &'static str = "cert";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let Action::Ls = self.action;
        let listed = match Client::connect_if_running(global)? {
            Some(client) => client.get("/api/v1/certificates")?,
            None => from_files(global)?,
        };
        let printer = global.printer();
        if printer.is_json() {
            printer.json(&listed)?;
        } else {
            print(printer, &typed::<Vec<Certificate>>(&listed)?)?;
        }
        Ok(ExitCode::Done)
    }
}

/// What the API would answer, from the files alone.
fn from_files(global: &GlobalArgs) -> Result<Value, CliError> {
    let config = configuration::checked(&configuration::files(global, None)?)?.config;
    let (infos, missing) =
        TlsStore::inspect(&config.tls).map_err(|error| CliError::usage(error.to_string()))?;
    for (key, path) in missing {
        crate::output::note(format_args!("`{key}`: `{path}` does not exist yet"));
    }
    let listed = infos.into_iter().map(|info| {
        json!({
            "names": info.names, "issuer": info.issuer, "serial": info.serial,
            "not_before": rfc3339(info.not_before), "not_after": rfc3339(info.not_after),
            "days_left": days_left(info.not_after), "path": info.path,
        })
    });
    Ok(listed.collect())
}

/// Whole days until a certificate ends; negative afterwards.
pub(super) fn days_left(not_after: i64) -> i64 {
    (not_after - Timestamp::now().as_second()).div_euclid(86_400)
}

fn rfc3339(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds).ok().map(|at| at.to_string())
}

fn print(printer: Printer, certificates: &[Certificate]) -> Result<(), CliError> {
    if certificates.is_empty() {
        return printer.line("no certificates");
    }
    let rows: Vec<Vec<String>> = certificates
        .iter()
        .map(|certificate| {
            let path = if certificate.path.is_empty() {
                "(in memory)".to_owned()
            } else {
                escape(&certificate.path)
            };
            let until = plain(&certificate.not_after).chars().take("2026-01-01".len()).collect();
            let names = escape(&certificate.names.join(", "));
            vec![
                names,
                escape(&certificate.issuer),
                escape(&certificate.serial),
                until,
                days(printer, certificate.days_left),
                path,
            ]
        })
        .collect();
    printer.table(&["NAMES", "ISSUER", "SERIAL", "NOT AFTER", "DAYS LEFT", "PATH"], &rows)
}

fn days(printer: Printer, left: i64) -> String {
    match left {
        ..0 => printer.paint(Colour::Red, &format!("{left} (expired)")),
        0..SOON_DAYS => printer.paint(Colour::Yellow, &format!("{left} (soon)")),
        _ => left.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    #[test]
    fn days_are_told_in_words_too() {
        let printer = Printer::new(Format::Table, true);
        for (left, want) in [(-1, "-1 (expired)"), (0, "0 (soon)"), (29, "29 (soon)"), (30, "30")] {
            assert_eq!(days(printer, left), want);
        }
        assert_eq!(days_left(Timestamp::now().as_second() - 5), -1);
    }
}
