// SPDX-License-Identifier: Apache-2.0
//! `sunbeam up`

mod checklist;
mod demo;
mod state;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use sunbeam_config::{Loaded, Source, Sources, load_sources};
use sunbeam_listeners::{ListenAddress, self_signed};
use sunbeam_proxy::{Config, LogFormat, Node, StartError};
use sunbeam_routing::BackendUrl;
use toml::Value;

use self::demo::Demo;
use self::state::StateDirectory;
use super::Run;
use crate::cli::GlobalArgs;
use crate::exit::{CliError, ExitCode};
use crate::logging;
use crate::output::Printer;
use crate::running::{self, HangUp, Signals};

/// Protect one application in one command, no file needed
///
/// Listens on 127.0.0.1:8080 and 127.0.0.1:8443 with a self-signed certificate made in memory.
/// Ctrl-C ends it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Up {
    /// The application: `http://localhost:3000`, `localhost:3000` or `3000` [default: a demo site of its own]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// The name that clients use; then plain HTTP redirects to HTTPS, and other names are answered 421
    #[arg(long, value_name = "NAME")]
    domain: Option<String>,
    /// Where plain HTTP is listened to
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: ListenAddress,
    /// Where HTTPS is listened to
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    https: ListenAddress,
}

/// What the check list tells beyond the node itself.
struct Facts {
    backend: BackendUrl,
    is_demo: bool,
    domain: Option<String>,
    certificate_names: Vec<String>,
    state: StateDirectory,
    notes: Vec<String>,
}

impl Run for Up {
    const NAME: &'static str = "up";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        if global.config.is_some() {
            return Err(CliError::usage("`sunbeam up` reads no configuration file")
                .hint("`sunbeam serve --config FILE` does"));
        }
        let given = self.to.as_deref().map(backend_url).transpose()?;
        can_bind(self.listen.0, "--listen")?;
        can_bind(self.https.0, "--https")?;
        let state = StateDirectory::make()?;
        let signals = Signals::new()?;
        let demo = if given.is_none() { Some(Demo::start()?) } else { None };
        let demo_url = demo.as_ref().map(|demo| backend_url(&demo.url())).transpose()?;
        let Some(backend) = given.or(demo_url) else { return Err(CliError::failed("no backend")) };
        logging::start("warn", LogFormat::Auto)?;
        let names = self.certificate_names();
        let certificate = self_signed(&names)
            .map_err(|error| CliError::usage(error.to_string()).hint("is `--domain` a host name?"))?;
        let mut notes = Vec::new();
        let node = self.start(&backend, &state.path, &certificate, &mut notes)?;
        let is_demo = demo.is_some();
        let facts = Facts { backend, is_demo, domain: self.domain, certificate_names: names, state, notes };
        show(global.printer(), &node, &facts)?;
        running::until_stopped(node, signals, HangUp::Stop, None)
    }
}

fn show(printer: Printer, node: &Node, facts: &Facts) -> Result<(), CliError> {
    if printer.is_json() {
        return printer.json(&checklist::json(node, facts));
    }
    printer.raw(&checklist::text(node, facts, printer))
}

impl Up {
    /// Starts the node; once more, on other inner ports, when another program took one of them between
    /// the choice and the start.
    fn start(
        &self,
        backend: &BackendUrl,
        state: &Path,
        certificate: &Arc<CertifiedKey>,
        notes: &mut Vec<String>,
    ) -> Result<Node, CliError> {
        const ATTEMPTS: usize = 5;
        let mut attempt = 1;
        loop {
            notes.clear();
            let ports = AdminPorts::choose(notes);
            let loaded = self.configuration(backend, state, &ports)?;
            match running::try_start(loaded, Arc::clone(certificate)) {
                Err(StartError::Bind(error)) if ports.has(error.address) && attempt < ATTEMPTS => {
                    attempt += 1
                }
                result => return result.map_err(|error| CliError::from_start(&error)),
            }
        }
    }

    /// Through the same reader and the same checks as a file.
    fn configuration(
        &self,
        backend: &BackendUrl,
        state: &Path,
        ports: &AdminPorts,
    ) -> Result<Loaded<Config>, CliError> {
        let text = self.toml(backend, state, ports);
        let source = Source { name: "sunbeam up".to_owned(), path: None, text };
        let mut loaded = load_sources(Sources(vec![source]), Config::check).map_err(|error| {
            CliError::usage(error.to_string()).hint("`sunbeam up --help` shows what its options take")
        })?;
        // "No certificate is configured": the one in memory is served.
        loaded.warnings.retain(|problem| problem.key != "tls");
        Ok(loaded)
    }

    fn toml(&self, backend: &BackendUrl, state: &Path, ports: &AdminPorts) -> String {
        let host = self.domain.as_deref().unwrap_or("*");
        let (audit, database) = (state.join("audit.jsonl"), state.join("state.redb"));
        format!(
            "[platform]\nenvironment = \"up\"\n\
             [listen]\nhttp = {}\nhttps = {}\n\
             [limits]\ndrain_secs = 5\n\
             [telemetry]\nlog_level = \"warn\"\nmetrics_port = {}\n\
             [audit]\npath = {}\n\
             [management]\nbind = {}\n\
             [state]\npath = {}\n\
             [[routes]]\nhost = {}\nbackend = {}\nwebsocket = true\ndisable_secure_redirection = {}\n",
            quoted(&self.listen.to_string()),
            quoted(&self.https.to_string()),
            ports.metrics,
            quoted(&audit.display().to_string()),
            quoted(&SocketAddr::from((Ipv4Addr::LOCALHOST, ports.management)).to_string()),
            quoted(&database.display().to_string()),
            quoted(host),
            quoted(backend.as_str()),
            self.domain.is_none(),
        )
    }

    /// The domain, and every name under which this machine reaches itself.
    fn certificate_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.domain.iter().map(|name| name.to_ascii_lowercase()).collect();
        names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
        let address = self.https.0.ip();
        if !address.is_unspecified() && !address.is_loopback() {
            names.push(address.to_string());
        }
        names
    }
}

/// Ports of the two inner servers: the usual ones, or others when those are taken.
#[derive(Clone, Copy, Debug)]
struct AdminPorts {
    metrics: u16,
    management: u16,
}

impl AdminPorts {
    fn has(self, address: SocketAddr) -> bool {
        address.ip().is_loopback() && (address.port() == self.metrics || address.port() == self.management)
    }

    fn choose(notes: &mut Vec<String>) -> Self {
        Self { metrics: free_port(9090, "metrics", notes), management: free_port(9999, "management", notes) }
    }
}

/// The wanted port on loopback, or one that the system chooses.
fn free_port(wanted: u16, what: &str, notes: &mut Vec<String>) -> u16 {
    let bound =
        |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    if bound(wanted).is_ok() {
        return wanted;
    }
    match bound(0) {
        Ok(address) => {
            notes.push(format!("{what}: port {wanted} is taken, {} is used instead", address.port()));
            address.port()
        }
        // The start tells what is wrong.
        Err(_) => wanted,
    }
}

/// Tells a taken port before anything else is begun.
fn can_bind(address: SocketAddr, option: &str) -> Result<(), CliError> {
    let Err(error) = TcpListener::bind(address) else { return Ok(()) };
    let message = format!("failed to listen on {address}: {error}");
    let another = SocketAddr::new(
        address.ip(),
        if address.port() < 1024 { 8081 } else { address.port().saturating_add(1) },
    );
    Err(match error.kind() {
        io::ErrorKind::AddrInUse => CliError::failed(message)
            .hint(format!("another program listens there (`ss -ltnp` shows which): choose another port with `{option} {another}`")),
        io::ErrorKind::PermissionDenied => CliError::not_permitted(message)
            .hint(format!("ports below 1024 need root or CAP_NET_BIND_SERVICE: choose another with `{option} {another}`")),
        _ => CliError::failed(message).hint(format!("choose an address of this host with `{option} ADDR`")),
    })
}

/// `3000`, `:3000`, `localhost:3000`, `http://localhost:3000` all mean the last.
fn backend_url(text: &str) -> Result<BackendUrl, CliError> {
    let port = text.strip_prefix(':').unwrap_or(text);
    let full = if text.contains("://") {
        text.to_owned()
    } else if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("http://localhost:{port}")
    } else if text.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) {
        format!("http://[{text}]")
    } else {
        format!("http://{text}")
    };
    full.parse().map_err(|error| {
        CliError::usage(format!("`--to {text}`: {error}"))
            .hint("it looks like `http://localhost:3000`, `localhost:3000` or `3000`")
    })
}

/// A TOML string in which `${` means itself.
fn quoted(text: &str) -> String {
    Value::String(text.replace("${", "$${")).to_string()
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    fn up(arguments: &[&str]) -> Up {
        let command = Up::augment_args(clap::Command::new("up"));
        let matches =
            command.try_get_matches_from(std::iter::once("up").chain(arguments.iter().copied())).unwrap();
        Up::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn an_application_may_be_named_by_its_port() {
        for (text, want) in [
            ("3000", Some("http://localhost:3000")),
            (":3000", Some("http://localhost:3000")),
            ("localhost:3000", Some("http://localhost:3000")),
            ("app.internal", Some("http://app.internal")),
            ("[::1]:80", Some("http://[::1]:80")),
            ("::1", Some("http://[::1]")),
            ("https://a:8443", Some("https://a:8443")),
            ("", None),
            ("99999", None),
            ("ftp://a", None),
            ("http://u:p@a", None),
            ("a b", None),
        ] {
            assert_eq!(backend_url(text).ok().as_ref().map(BackendUrl::as_str), want, "{text}");
        }
    }

    #[test]
    fn the_configuration_passes_the_same_check_as_a_file() {
        let ports = AdminPorts { metrics: 1, management: 2 };
        let backend = backend_url("3000").unwrap();
        for (arguments, host, clear) in
            [(&[][..], "*", true), (&["--domain", "a.example"], "a.example", false)]
        {
            let loaded =
                up(arguments).configuration(&backend, Path::new("/tmp/a \"b\" ${HOME}"), &ports).unwrap();
            // The folder of this test's path does not exist.
            assert!(
                loaded.warnings.iter().all(|warning| warning.key == "audit.path"),
                "{:?}",
                loaded.warnings
            );
            let route = &loaded.config.routes[0];
            assert_eq!(
                (route.host.as_str(), route.disable_secure_redirection, route.websocket),
                (host, clear, true)
            );
            assert_eq!(loaded.config.audit.path, "/tmp/a \"b\" ${HOME}/audit.jsonl");
            assert_eq!(loaded.config.management.bind.unwrap().to_string(), "127.0.0.1:2");
        }
        assert!(up(&["--domain", "a b"]).configuration(&backend, Path::new("/x"), &ports).is_err());
    }

    #[test]
    fn a_taken_port_has_a_remedy() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = can_bind(taken.local_addr().unwrap(), "--listen").unwrap_err();
        assert_eq!(error.code, ExitCode::Findings);
        assert!(error.hint.unwrap().contains("--listen 127.0.0.1:"));
        let mut notes = Vec::new();
        let port = taken.local_addr().unwrap().port();
        assert_ne!(free_port(port, "metrics", &mut notes), port);
        assert_eq!(notes.len(), 1);
    }
}
