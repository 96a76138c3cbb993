// SPDX-License-Identifier: Apache-2.0
//! Where probes are sent, under which host, and how slowly.

use std::path::Path;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use serde::Deserialize;

use super::wire::Wire;
use crate::api::{RunningConfig, Status};
use crate::client::{Client, typed};
use crate::exit::CliError;
use crate::https;
use crate::output::escape;

/// What of the node's configuration matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Configured {
    routes: Vec<Route>,
    ddos: Ddos,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Route {
    host: String,
    host_prefix: String,
    disable_secure_redirection: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ddos {
    min_events: u32,
    window_secs: u64,
}

/// What layers do, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Layers {
    layers: Vec<LayerMode>,
}

/// What one does, and where it does something else.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LayerMode {
    layer: String,
    mode: String,
    routes: Vec<Self>,
}

/// The node's own listener, a host of its routes, and its pace.
pub(super) struct Own {
    pub(super) wires: Vec<Wire>,
    pub(super) host: String,
}

/// How many requests that were not stopped may have come, in how long, before a node asks at the next what kind of client
/// that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) requests: u32,
    pub(super) within: Duration,
}

impl Pace {
    /// A node whose configuration is not known: the defaults.
    pub(super) const UNKNOWN: Self = Self { requests: 10, within: Duration::from_secs(60) };

    /// `None`: nobody is judged by what they have been doing.
    pub(super) fn of(client: &Client) -> Result<Option<Self>, CliError> {
        let layers: Layers = typed(&client.get("/api/v1/layers")?)?;
        Ok(pace(&configured(client)?.ddos, &layers.layers))
    }
}

/// By the modes of the layer that judges clients.
fn pace(ddos: &Ddos, layers: &[LayerMode]) -> Option<Pace> {
    let acts = |mode: &str| !matches!(mode, "off" | "observe");
    let acts_anywhere = layers
        .iter()
        .filter(|layer| layer.layer == "ddos")
        .any(|layer| acts(&layer.mode) || layer.routes.iter().any(|route| acts(&route.mode)));
    let within = Duration::from_secs(ddos.window_secs);
    acts_anywhere.then_some(Pace { requests: ddos.min_events.max(1), within })
}

fn configured(client: &Client) -> Result<Configured, CliError> {
    let running: RunningConfig = typed(&client.get("/api/v1/config")?)?;
    toml::from_str(&running.toml)
        .map_err(|error| CliError::failed(format!("the node's configuration cannot be read: {error}")))
}

impl Own {
    /// # Errors
    /// When the node has no listener, or no host can be told from its routes.
    pub(super) fn find(client: &Client, host: Option<&str>) -> Result<Self, CliError> {
        let status: Status = typed(&client.get("/api/v1/status")?)?;
        let routes = configured(client)?.routes;
        let host = match host {
            Some(host) => host.to_owned(),
            None => only_host(&routes)?,
        };
        let mut wires = Vec::new();
        for listener in &status.listeners {
            let tls = (listener.scheme == "https").then(https::unverified).transpose()?;
            let name = host.split(':').next().unwrap_or(&host).to_owned();
            wires.push(Wire::new(reachable(&listener.address), name, tls)?);
        }
        if wires.is_empty() {
            return Err(CliError::failed("the node listens nowhere"));
        }
        // What redirects to https is tested there.
        wires.sort_by_key(|wire| {
            wire.is_tls() != routes.iter().all(|route| !route.disable_secure_redirection)
        });
        Ok(Self { wires, host })
    }
}

/// A host that the routes answer to, where they have only one.
fn only_host(routes: &[Route]) -> Result<String, CliError> {
    let mut hosts: Vec<String> = routes.iter().map(Route::example).collect();
    hosts.dedup();
    match hosts.as_slice() {
        [host] => Ok(host.clone()),
        [] => Err(CliError::failed("the node has no route: nobody is served")),
        several => Err(CliError::usage("the node has several hosts: name one with `--host`").hint(format!(
            "one of {}",
            several.iter().map(|host| escape(host)).collect::<Vec<_>>().join(", ")
        ))),
    }
}

impl Route {
    /// A name that leads to it.
    fn example(&self) -> String {
        match (self.host.as_str(), self.host_prefix.as_str()) {
            ("", prefix) => format!("{prefix}.localhost"),
            ("*", _) => "localhost".to_owned(),
            (host, _) => {
                host.strip_prefix("*.").map_or_else(|| host.to_owned(), |rest| format!("www.{rest}"))
            }
        }
    }
}

/// An address that listens everywhere is reached here.
fn reachable(address: &str) -> String {
    for (everywhere, here) in [("0.0.0.0:", "127.0.0.1:"), ("[::]:", "[::1]:")] {
        if let Some(port) = address.strip_prefix(everywhere) {
            return format!("{here}{port}");
        }
    }
    address.to_owned()
}

/// What `--target` names: its wire, and the host that it is asked under.
///
/// # Errors
/// When it is no URL, or has a path.
pub(super) fn named(url: &str, host: Option<&str>, ca: Option<&Path>) -> Result<(Wire, String), CliError> {
    let wrong = || {
        CliError::usage(format!("`{}` is not a target", escape(url))).hint(
            "it looks like https://www.example.org or http://127.0.0.1:8080; `--host` names another host",
        )
    };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let authority =
        uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(wrong());
    }
    let is_tls = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        _ => return Err(wrong()),
    };
    let tls = is_tls.then(|| https::connector(ca)).transpose()?;
    let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let wire = Wire::new(format!("{}:{port}", authority.host()), authority.host().to_owned(), tls)?;
    Ok((wire, host.unwrap_or(authority.as_str()).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(host: &str, host_prefix: &str) -> Route {
        Route { host: host.to_owned(), host_prefix: host_prefix.to_owned(), ..Route::default() }
    }

    #[test]
    fn a_host_is_taken_from_the_one_route() {
        for (name, routes, want) in [
            ("a name", vec![route("shop.example", "")], Ok("shop.example")),
            ("a prefix", vec![route("", "shop")], Ok("shop.localhost")),
            ("a wildcard", vec![route("*.example.org", "")], Ok("www.example.org")),
            ("any", vec![route("*", "")], Ok("localhost")),
            ("none", vec![], Err("no route")),
            ("two", vec![route("a.example", ""), route("b.example", "")], Err("--host")),
        ] {
            let found = only_host(&routes);
            match want {
                Ok(host) => assert_eq!(found.unwrap(), host, "{name}"),
                Err(part) => assert!(found.unwrap_err().message.contains(part), "{name}"),
            }
        }
    }

    #[test]
    fn a_target_is_a_url_without_a_path() {
        for (url, want) in [
            ("http://127.0.0.1:8080", Some(("127.0.0.1:8080", false, "127.0.0.1:8080"))),
            ("http://shop.example/", Some(("shop.example:80", false, "shop.example"))),
            ("http://[::1]:81", Some(("[::1]:81", false, "[::1]:81"))),
            ("ftp://a", None),
            ("shop.example", None),
            ("http://a/b", None),
            ("http://a/?b", None),
            ("http://u:p@a", None),
            ("", None),
        ] {
            let found = named(url, None, None).ok();
            let found =
                found.as_ref().map(|(wire, host)| (wire.authority.as_str(), wire.is_tls(), host.as_str()));
            assert_eq!(found, want, "{url}");
        }
        assert_eq!(named("http://127.0.0.1:1", Some("shop.example"), None).unwrap().1, "shop.example");
        assert_eq!(reachable("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reachable("[::]:80"), "[::1]:80");
        assert_eq!(reachable("192.0.2.1:80"), "192.0.2.1:80");
    }

    #[test]
    fn the_pace_is_below_what_a_node_judges_clients_by() {
        let ddos = Ddos { min_events: 10, window_secs: 60 };
        let modes = |ddos: &str, of_route: &str, waf: &str| {
            let mode = |layer: &str, mode: &str, routes| LayerMode {
                layer: layer.into(),
                mode: mode.into(),
                routes,
            };
            vec![mode("waf", waf, vec![]), mode("ddos", ddos, vec![mode("", of_route, vec![])])]
        };
        for (modes, want) in [
            (modes("auto", "auto", "off"), Some(Pace::UNKNOWN)),
            (modes("observe", "enforce", "off"), Some(Pace::UNKNOWN)),
            (modes("observe", "off", "enforce"), None),
            (modes("off", "off", "auto"), None),
        ] {
            assert_eq!(pace(&ddos, &modes), want, "{modes:?}");
        }
        let of_one = Ddos { min_events: 0, ..ddos };
        assert_eq!(pace(&of_one, &modes("auto", "auto", "auto")).map(|pace| pace.requests), Some(1));
    }
}
