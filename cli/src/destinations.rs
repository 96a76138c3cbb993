// SPDX-License-Identifier: Apache-2.0
//! Every outside address that a configuration can make the program call. One list: `privacy` prints
//! it, `validate` and `doctor` try it.

use sunbeam_proxy::Config;
use sunbeam_routing::{BackendUrl, Scheme};

/// One address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// The key that names it.
    pub(crate) key: String,
    /// What it is for.
    pub(crate) kind: Kind,
    /// As the operator wrote it.
    pub(crate) address: String,
    /// Name or address; IPv6 without brackets.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    /// Whether the connection is TLS.
    pub(crate) encrypted: bool,
}

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Gets the requests.
    Backend,
    /// Is asked before a request passes.
    Auth,
    /// Gets traces.
    Traces,
    /// Gets the bytes of TCP connections.
    Passthrough,
}

impl Kind {
    /// One word for tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Auth => "auth server",
            Self::Traces => "traces",
            Self::Passthrough => "tcp passthrough",
        }
    }

    /// What is sent there.
    pub(crate) const fn sends(self) -> &'static str {
        match self {
            Self::Backend => {
                "the requests of its route as the client sent them (line, headers, body), and X-Request-Id, \
                 X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Real-IP, traceparent"
            }
            Self::Auth => {
                "a GET with the client's Cookie and Authorization, X-Original-URI, X-Original-Method"
            }
            Self::Traces => {
                "spans of sampled requests: times, method, path, client address, status, route, backend, error, \
                 request id; and this node's name, version, environment, region"
            }
            Self::Passthrough => "the bytes of the connections that come in at `ssh.listen`, unread",
        }
    }
}

impl Destination {
    /// All of them, in the order of the file.
    pub(crate) fn all(config: &Config) -> Vec<Self> {
        let mut all = Vec::new();
        for (index, route) in config.routes.iter().enumerate() {
            let at = format!("routes[{index}]");
            for (key, url) in route.backend_urls(&at) {
                let kind = if key.ends_with(".auth_request") { Kind::Auth } else { Kind::Backend };
                all.push(Self::url(key, kind, url));
            }
        }
        if let Ok(url) = config.telemetry.otlp_endpoint.parse::<BackendUrl>() {
            all.push(Self::url("telemetry.otlp_endpoint".to_owned(), Kind::Traces, &url));
        }
        all.extend(Self::passthrough(&config.ssh.backend));
        all
    }

    /// `name:port` for a connection.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn url(key: String, kind: Kind, url: &BackendUrl) -> Self {
        Self {
            key,
            kind,
            address: url.as_str().to_owned(),
            host: url.host.clone(),
            port: url.port,
            encrypted: url.scheme == Scheme::Https,
        }
    }

    fn passthrough(backend: &str) -> Option<Self> {
        let (host, port) = backend.rsplit_once(':')?;
        Some(Self {
            key: "ssh.backend".to_owned(),
            kind: Kind::Passthrough,
            address: backend.to_owned(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port: port.parse().ok()?,
            encrypted: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use sunbeam_config::{Source, Sources, load_sources};

    use super::*;

    #[test]
    fn every_key_that_names_an_address_is_listed() {
        let text = "[telemetry]\notlp_endpoint = \"http://otel:4317\"\n[ssh]\nlisten = \"127.0.0.1:22\"\nbackend = \"[::1]:23\"\n\
                    [[routes]]\nhost = \"a\"\nbackend = \"https://one\"\n[[routes.paths]]\nprefix = \"/x\"\n\
                    backend = [\"http://[::1]:3\", { url = \"http://b\", weight = 2 }]\nauth_request = \"http://auth:9/check\"\n";
        let source = Source { name: "c".into(), path: None, text: text.into() };
        let config: Config = load_sources(Sources(vec![source]), |_, _| {}).unwrap().config;
        let all: Vec<_> = Destination::all(&config)
            .iter()
            .map(|to| (to.key.clone(), to.kind.name(), to.authority()))
            .collect();
        let want = [
            ("routes[0].backend", "backend", "one:443"),
            ("routes[0].paths[0].backend[0]", "backend", "[::1]:3"),
            ("routes[0].paths[0].backend[1]", "backend", "b:80"),
            ("routes[0].paths[0].auth_request", "auth server", "auth:9"),
            ("telemetry.otlp_endpoint", "traces", "otel:4317"),
            ("ssh.backend", "tcp passthrough", "[::1]:23"),
        ];
        assert_eq!(all, want.map(|(key, kind, address)| (key.to_owned(), kind, address.to_owned())));
    }
}
