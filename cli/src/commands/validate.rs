// SPDX-License-Identifier: Apache-2.0
//! `sunbeam validate`

use std::path::PathBuf;

use serde_json::{Value, json};
use sunbeam_config::{ConfigFiles, LoadError, Problem, Reader, Severity, load, load_sources};
use sunbeam_listeners::{CertificateInfo, TlsStore};
use sunbeam_proxy::Config;
use sunbeam_routing::RouteSection;

use super::Run;
use super::cert::{SOON_DAYS, days_left};
use crate::cli::GlobalArgs;
use crate::configuration::{self, count};
use crate::destinations::{Destination, Kind};
use crate::exit::{CliError, ExitCode};
use crate::output::Colour;
use crate::probe::{self, Found};

/// Check a configuration: every problem at once, and what will bite
///
/// The same check as at start and reload. Then backends are tried and certificates looked at, unless
/// `--offline`. Exit code 0 when the configuration can be used, 2 when not; warnings do not count.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Validate {
    /// The configuration file [default: as for `serve`]
    file: Option<PathBuf>,
    /// Only read files: resolve and connect to nothing
    #[arg(long)]
    offline: bool,
}

impl Run for Validate {
    const NAME: &'static str = "validate";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let files = configuration::files(global, self.file)?;
        match check(&files, self.offline) {
            Ok((routes, warnings)) => report(global, &files, Some(routes), &warnings),
            Err(LoadError::Problems { problems }) => report(global, &files, None, &problems),
            Err(error) => Err(configuration::refused(&files, &error)),
        }
    }
}

/// Number of routes, and warnings.
fn check(files: &ConfigFiles, offline: bool) -> Result<(usize, Vec<Problem>), LoadError> {
    let mut loaded = load(files, Config::check)?;
    if !offline {
        // Once more, now that it is known to be sound: so each finding has file, line and column.
        loaded = load_sources(loaded.sources, |config: &Config, reader| {
            config.check(reader);
            try_backends(config, reader);
            look_at_certificates(config, reader);
        })?;
    }
    Ok((loaded.config.routes.len(), loaded.warnings))
}

/// `routes` is `None` when the configuration cannot be used.
fn report(
    global: &GlobalArgs,
    files: &ConfigFiles,
    routes: Option<usize>,
    problems: &[Problem],
) -> Result<ExitCode, CliError> {
    let printer = global.printer();
    let code = if routes.is_some() { ExitCode::Done } else { ExitCode::Usage };
    if printer.is_json() {
        let problems: Vec<Value> = problems.iter().map(as_json).collect();
        printer.json(
            &json!({"file": files.path, "valid": routes.is_some(), "routes": routes, "problems": problems}),
        )?;
        return Ok(code);
    }
    for problem in problems {
        let colour = if problem.severity == Severity::Error { Colour::Red } else { Colour::Yellow };
        printer.line(printer.paint(colour, &problem.to_string()))?;
    }
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let warnings = count(problems.len() - errors, "warning");
    let file = files.path.display();
    match routes {
        Some(routes) => printer.line(format_args!("{file}: ok, {}, {warnings}", count(routes, "route")))?,
        None => printer.line(format_args!("{file}: {}, {warnings}", count(errors, "problem")))?,
    }
    Ok(code)
}

fn as_json(problem: &Problem) -> Value {
    let severity = if problem.severity == Severity::Error { "error" } else { "warning" };
    json!({
        "file": problem.file, "line": problem.line, "column": problem.column, "key": problem.key,
        "message": problem.message, "severity": severity,
    })
}

fn try_backends(config: &Config, reader: &mut Reader) {
    let destinations = Destination::all(config);
    let found = probe::connect_all(destinations.iter().map(|to| (to.host.clone(), to.port)));
    for to in &destinations {
        let Some(found) = found.get(&(to.host.clone(), to.port)) else { continue };
        if let Some(message) = finding(to, found) {
            reader.warning(&to.key, message);
        }
        if let Some(message) = leak(to, found) {
            reader.warning(&to.key, message);
        }
    }
}

/// What is wrong with an address, if anything is.
pub(super) fn finding(to: &Destination, found: &Found) -> Option<String> {
    match found {
        Found::Listens(_) => None,
        Found::Silent(_, error) => Some(format!("nothing answers at `{}` now: {error}", to.authority())),
        Found::Unknown(error) => Some(format!("`{}` does not resolve now: {error}", to.host)),
    }
}

/// A backend that clients can reach without us.
fn leak(to: &Destination, found: &Found) -> Option<String> {
    let public = found.addresses().iter().find(|address| probe::is_public(**address))?;
    (to.kind == Kind::Backend).then(|| {
        format!(
            "`{}` listens on a public address ({public}): clients can reach it around Sunbeam; \
            bind it to a private one, or let its firewall admit this node only",
            to.host
        )
    })
}

fn look_at_certificates(config: &Config, reader: &mut Reader) {
    // Broken files were reported by the check.
    let Ok((infos, _)) = TlsStore::inspect(&config.tls) else { return };
    for info in &infos {
        let key = key_of(config, &info.path);
        let names = info.names.join(", ");
        match days_left(info.not_after) {
            ..0 => {
                reader.warning(&key, format!("the certificate for {names} has EXPIRED: clients refuse it"))
            }
            left @ 0..SOON_DAYS => {
                reader.warning(
                    &key,
                    format!("the certificate for {names} expires in {}: renew it now", days(left)),
                );
            }
            _ => {}
        }
    }
    if infos.is_empty() || config.listen.https.0.is_empty() {
        return;
    }
    for (index, route) in config.routes.iter().enumerate().filter(|(_, route)| !is_covered(route, &infos)) {
        let name = if route.host.is_empty() { &route.host_prefix } else { &route.host };
        reader.warning(
            &format!("routes[{index}]"),
            format!("no certificate covers `{name}`: browsers will refuse it"),
        );
    }
}

fn days(count: i64) -> String {
    if count == 1 { "1 day".to_owned() } else { format!("{count} days") }
}

fn key_of(config: &Config, path: &str) -> String {
    match config.tls.certificates.iter().position(|entry| entry.cert_path == path) {
        Some(index) if config.tls.cert_path != path => format!("tls.certificates[{index}]"),
        _ => "tls.cert_path".to_owned(),
    }
}

/// Whether some certificate has a name that this route answers to.
fn is_covered(route: &RouteSection, infos: &[CertificateInfo]) -> bool {
    let host = route.host.to_ascii_lowercase();
    if host == "*" {
        return true;
    }
    let parent = |name: &str| name.split_once('.').map(|(_, parent)| parent.to_owned());
    infos.iter().flat_map(|info| &info.names).any(|name| match name.strip_prefix("*.") {
        // `*.example.org` in a certificate stands for one label.
        Some(suffix) => host.is_empty() || parent(&host).as_deref() == Some(suffix),
        None if host.is_empty() => {
            name.split('.').next() == Some(route.host_prefix.to_ascii_lowercase().as_str())
        }
        None => *name == host,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_covered_by_a_name_or_a_wildcard_of_one_label() {
        let info = |names: &[&str]| CertificateInfo {
            names: names.iter().map(ToString::to_string).collect(),
            issuer: String::new(),
            serial: String::new(),
            not_before: 0,
            not_after: 0,
            path: String::new(),
        };
        let (host, prefix) = (
            |name: &str| RouteSection { host: name.into(), ..Default::default() },
            |name: &str| RouteSection { host_prefix: name.into(), ..Default::default() },
        );
        for (name, route, names, want) in [
            ("exact", host("A.example"), &["a.example"][..], true),
            ("other", host("b.example"), &["a.example"], false),
            ("wildcard", host("a.example"), &["*.example"], true),
            ("two labels", host("a.b.example"), &["*.example"], false),
            ("wildcard route", host("*.example"), &["*.example"], true),
            ("any host", host("*"), &["a.example"], true),
            ("prefix", prefix("docs"), &["docs.example"], true),
            ("prefix below wildcard", prefix("docs"), &["*.example"], true),
            ("other prefix", prefix("docs"), &["shop.example"], false),
        ] {
            assert_eq!(is_covered(&route, &[info(names)]), want, "{name}");
        }
    }

    #[test]
    fn a_problem_is_json_and_a_wrong_file_is_refused() {
        let path = std::env::temp_dir().join(format!("sunbeam-validate-{}.toml", std::process::id()));
        let files = ConfigFiles { path: path.clone(), profile: None };
        std::fs::write(&path, "[limits]\ndrain_sec = 1\n").unwrap();
        let Err(LoadError::Problems { problems }) = check(&files, true) else { panic!("it is refused") };
        let error = problems.iter().find(|problem| problem.severity == Severity::Error).unwrap();
        assert_eq!(as_json(error)["line"], 2);
        std::fs::write(
            &path,
            "[[routes]]\nhost = \"a\"\nbackend = \"http://127.0.0.1:1\"\n[listen]\nhttps = \"127.0.0.1:0\"\n",
        )
        .unwrap();
        let (routes, warnings) = check(&files, false).unwrap();
        let told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(routes, 1);
        assert!(
            told.iter().any(|line| line.contains(":3:1: warning: `routes[0].backend`: nothing answers")),
            "{told:?}"
        );
        assert_eq!(check(&files, true).unwrap().1.len() + 1, warnings.len(), "offline, nothing is tried");
        std::fs::remove_file(&path).unwrap();
    }
}
