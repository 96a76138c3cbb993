// SPDX-License-Identifier: Apache-2.0
//! `sunbeam privacy`

use serde_json::{Value, json};

use super::Run;
use crate::cli::GlobalArgs;
use crate::configuration;
use crate::destinations::Destination;
use crate::exit::{CliError, ExitCode};

/// List every outside address that the configuration can make the program call, and what it sends
///
/// Of the configuration file, or of the running node when there is no file.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Privacy {}

impl Run for Privacy {
    const NAME: &'static str = "privacy";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let (name, config) = configuration::file_or_running(global)?;
        let resolvers = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let mut calls = calls(&Destination::all(&config), &resolvers);
        calls.extend(crawlers(&config, &resolvers));
        let printer = global.printer();
        if printer.is_json() {
            let calls = calls.iter().map(|[address, kind, key, sends]| {
                json!({"address": address, "for": kind, "configured_by": key, "sends": sends})
            });
            printer.json(&calls.collect::<Value>())?;
            return Ok(ExitCode::Done);
        }
        printer.line(format_args!("With {name} the program calls:"))?;
        for [address, kind, key, sends] in &calls {
            printer.line(format_args!("\n{address}  ({kind}, by {key})\n  sends {sends}"))?;
        }
        printer
            .line("\nNothing else: no update check, no telemetry of its own, no lists or models fetched.")?;
        Ok(ExitCode::Done)
    }
}

/// Address, what for, by which key, what is sent.
fn calls(destinations: &[Destination], resolv_conf: &str) -> Vec<[String; 4]> {
    let mut calls: Vec<[String; 4]> = Vec::new();
    for to in destinations {
        let transport = if to.encrypted { "" } else { " (unencrypted)" };
        let sends = format!("{}{transport}", to.kind.sends());
        let same = |call: &&mut [String; 4]| call[0] == to.address && call[3] == sends;
        match calls.iter_mut().find(same) {
            Some(call) => call[2] = format!("{}, {}", call[2], to.key),
            None => calls.push([to.address.clone(), to.kind.name().to_owned(), to.key.clone(), sends]),
        }
    }
    let mut names: Vec<&str> = destinations
        .iter()
        .map(|to| to.host.as_str())
        .filter(|host| host.parse::<std::net::IpAddr>().is_err() && *host != "localhost")
        .collect();
    names.sort_unstable();
    names.dedup();
    if !names.is_empty() {
        let servers = system_servers(resolv_conf);
        let sends = format!("the names {} (through the system's resolver)", names.join(", "));
        calls.push([servers, "DNS".to_owned(), "/etc/resolv.conf".to_owned(), sends]);
    }
    calls
}

fn system_servers(resolv_conf: &str) -> String {
    let servers = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let servers: Vec<&str> = servers.map(str::trim).collect();
    if servers.is_empty() { "the system's resolver".to_owned() } else { servers.join(", ") }
}

/// Whom the node asks whether a client that says it is a crawler is one.
fn crawlers(config: &sunbeam_proxy::Config, resolv_conf: &str) -> Option<[String; 4]> {
    if !config.scanner.enabled {
        return None;
    }
    let own: Vec<String> = config.bots.resolvers.iter().map(|server| server.0.to_string()).collect();
    let (servers, key) = if own.is_empty() {
        (system_servers(resolv_conf), "scanner.enabled")
    } else {
        (own.join(", "), "bots.resolvers")
    };
    let sends = "reverse DNS questions with the addresses of clients that say they are a crawler, and the names that \
                 come back (unencrypted)";
    Some([servers, "crawlers".to_owned(), key.to_owned(), sends.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destinations::Kind;

    #[test]
    fn an_address_is_listed_once_and_dns_only_when_a_name_is_looked_up() {
        let to = |key: &str, host: &str| Destination {
            key: key.into(),
            kind: Kind::Backend,
            address: format!("https://{host}"),
            host: host.into(),
            port: 443,
            encrypted: true,
        };
        let listed = calls(&[to("a", "127.0.0.1"), to("b", "127.0.0.1"), to("c", "localhost")], "");
        assert_eq!(listed.iter().map(|call| call[2].as_str()).collect::<Vec<_>>(), ["a, b", "c"]);
        let listed = calls(&[to("a", "x.example")], "# c\nnameserver 192.0.2.53\nsearch x\n");
        assert_eq!(listed[1][0], "192.0.2.53");
        assert!(listed[1][3].contains("x.example"));
        assert!(calls(&[], "").is_empty());
    }
}
