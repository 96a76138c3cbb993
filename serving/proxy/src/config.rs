// SPDX-License-Identifier: Apache-2.0
//! The whole configuration: one line a section.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use sunbeam_config::{Reader, Secret, choice, section};
use sunbeam_decisions::BYTES_MIN;
use sunbeam_listeners::{LimitsSection, ListenAddress, ListenSection, SshSection, TlsSection, TlsStore};
use sunbeam_pipeline::{DdosSection, DetectionSection, ScannerSection, WafSection};
use sunbeam_rate_limit::RateLimitSection;
use sunbeam_reputation::{BotsSection, ListsSection};
use sunbeam_routing::{RouteSection, Scheme, Table};

use crate::challenge::ChallengeSection;
use crate::judging::{models, waf};
use crate::snapshot::Snapshot;

choice! {
    /// What the node is.
    pub enum Mode {
        /// As l7, and the L4 filter if permitted (once there is one).
        Auto = "auto",
        /// The HTTP proxy.
        L7 = "l7",
    }
}

choice! {
    /// How log lines look.
    pub enum LogFormat {
        /// Human on a terminal, JSON otherwise.
        Auto = "auto",
        /// For people.
        Human = "human",
        /// For machines.
        Json = "json",
    }
}

choice! {
    /// How much of a client's address the audit log keeps.
    pub enum ClientIp {
        /// All of it.
        Full = "full",
        /// /24, /48.
        Truncated = "truncated",
        /// Keyed hash; the key rotates daily and is never written.
        Hashed = "hashed",
    }
}

section! {
    /// The node itself.
    pub struct PlatformSection {
        /// Label for logs, metrics and the fleet; `sunbeam serve --profile dev` layers config.dev.toml
        /// over config.toml.
        environment: String = "production".to_owned(),
        /// This node's name; "" = host name.
        deployment_id: String = String::new(),
        /// Where it stands.
        region: String = String::new(),
        /// [restart] auto | l7. (tcp and syn are not supported yet.)
        mode: Mode = Mode::Auto,
    }
}

section! {
    /// What the node tells about itself.
    pub struct TelemetrySection {
        /// OpenTelemetry OTLP/gRPC, `http://collector:4317`; "" = off.
        otlp_endpoint: String = String::new(),
        /// Share of requests that are traced.
        trace_sample_ratio: f64 = 1.0 => 0.0..=1.0,
        /// GET /metrics, /health, /ready, /live; 0 = off.
        metrics_port: u16 = 9090,
        /// Containers and k8s: "0.0.0.0".
        metrics_bind: String = "127.0.0.1".to_owned(),
        /// Also serve the second seed's metric names.
        compat_metrics: bool = true,
        /// error | warn | info | debug | trace, or directives as in RUST_LOG; RUST_LOG wins.
        log_level: String = "info".to_owned(),
        /// [restart] auto: human on a terminal, JSON otherwise | human | json
        log_format: LogFormat = LogFormat::Auto,
    }
}

section! {
    /// One JSON line per request: the training data.
    pub struct AuditSection {
        /// Write it.
        enabled: bool = true,
        /// "" = standard output.
        path: String = String::new(),
        /// A larger file is renamed and a new one begun.
        rotate_bytes: u64 = 268_435_456 => 4_096..=1_099_511_627_776,
        /// Renamed files that are kept.
        keep_files: usize = 8 => 0..=1_000,
        /// Lines waiting to be written; past it a line is dropped and counted, a request never waits.
        queue: usize = 65_536 => 16..=16_777_216,
        /// Query keys whose values are redacted.
        redact_query_keys: Vec<String> = [
            "password", "passwd", "token", "access_token", "secret", "api_key", "code", "session",
        ].map(String::from).to_vec(),
        /// full | truncated (/24, /48) | hashed (keyed, the key rotates daily)
        client_ip: ClientIp = ClientIp::Full,
        /// Add to each line what rules of the WAF matched: where, what stands there, what they say; secrets are
        /// hidden. For the tuning of rules: a line may grow to some hundred KiB.
        matches: bool = false,
    }
    later { features }
}

section! {
    /// The node's own API.
    pub struct ManagementSection {
        /// "" = off.
        bind: Option<ListenAddress> = "127.0.0.1:9999".parse().ok(),
        /// "" = made at first start, in a file that only the owner reads; Authorization: Bearer
        token: Secret = Secret::default(),
        /// Hours for which no layer blocks the addresses that operators work from: the SSH client that the
        /// node was started from or a command was typed at, and who logs in to the console. 0 = off.
        exempt_operator_hours: u32 = 24 => 0..=8_760,
        /// The web page of this node, at `/console/` of the address above: `sunbeam login` prints a link to it.
        console: bool = true,
    }
}

section! {
    /// What lives through restarts.
    pub struct StateSection {
        /// The good configurations (and later blocks, exceptions, labels, learned thresholds).
        path: String = "/var/lib/sunbeam/state.redb".to_owned(),
    }
}

section! {
    /// What `why` reads.
    pub struct DecisionsSection {
        /// [restart] A folder; "" = `decisions` beside the state.
        path: String = String::new(),
        /// [restart] Bytes on the disk, at most; the oldest go. 0 = nothing is kept.
        max_bytes: u64 = 1_073_741_824 => 0..=1_099_511_627_776,
        /// [restart] Days after which they go.
        max_age_days: u32 = 30 => 1..=3_650,
        /// Share of plain passes that are kept beside them.
        sample_passes: f64 = 0.001 => 0.0..=1.0,
    }
}

section! {
    /// The configuration of a node.
    pub struct Config {
        /// The node itself.
        platform: PlatformSection = PlatformSection::default(),
        /// Where it listens.
        listen: ListenSection = ListenSection::default(),
        /// Bounds.
        limits: LimitsSection = LimitsSection::default(),
        /// TLS towards clients.
        tls: TlsSection = TlsSection::default(),
        /// What it tells about itself.
        telemetry: TelemetrySection = TelemetrySection::default(),
        /// The audit log.
        audit: AuditSection = AuditSection::default(),
        /// Its own API.
        management: ManagementSection = ManagementSection::default(),
        /// Hosts.
        routes: Vec<RouteSection> = Vec::new(),
        /// TCP passthrough.
        ssh: SshSection = SshSection::default(),
        /// What lives through restarts.
        state: StateSection = StateSection::default(),
        /// What `why` reads.
        decisions: DecisionsSection = DecisionsSection::default(),
        /// What layers of judging may act on.
        detection: DetectionSection = DetectionSection::default(),
        /// Crawlers, by category.
        bots: BotsSection = BotsSection::default(),
        /// What clients have been doing.
        ddos: DdosSection = DdosSection::default(),
        /// What a request looks like.
        scanner: ScannerSection = ScannerSection::default(),
        /// How much each identity may ask for.
        rate_limit: RateLimitSection = RateLimitSection::default(),
        /// Rules over requests and their bodies.
        waf: WafSection = WafSection::default(),
        /// Block and allow lists.
        lists: ListsSection = ListsSection::default(),
        /// What is asked of browsers that are doubtful.
        challenge: ChallengeSection = ChallengeSection::default(),
    }
    later {
        cache, tcp, l4, sandbox, kubernetes, cluster, fleet, orchestrator,
    }
}

impl Config {
    /// Reports everything that is wrong between keys, and everything that will bite. The same for
    /// `validate`, start and reload.
    pub fn check(&self, reader: &mut Reader) {
        let table = Table::compile(&self.routes, &mut |at, message| reader.error(at, message));
        Snapshot::check_files(&table, reader);
        match TlsStore::inspect(&self.tls) {
            Ok((_, missing)) => {
                for (key, path) in missing {
                    reader
                        .warning(&key, format!("`{path}` does not exist yet: handshakes fail until it does"));
                }
            }
            Err(error) => {
                for (key, message) in error.problems {
                    reader.error(&key, message);
                }
            }
        }
        self.check_listeners(reader);
        self.check_audit(reader);
        self.check_telemetry(reader);
        self.check_backends(reader);
        self.check_judging(reader);
    }

    /// This node's name: configured, else the host's.
    pub fn node_name(&self) -> String {
        if !self.platform.deployment_id.is_empty() {
            return self.platform.deployment_id.clone();
        }
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        name.trim().to_owned()
    }

    /// Where `/metrics` is served; `None`: nowhere.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        let port = Some(self.telemetry.metrics_port).filter(|port| *port != 0)?;
        Some((self.telemetry.metrics_bind.parse::<IpAddr>().ok()?, port).into())
    }

    /// The port that redirects name: that of the first HTTPS listener.
    pub fn https_port(&self) -> Option<u16> {
        self.listen.https.0.first().map(|address| address.0.port())
    }

    fn check_listeners(&self, reader: &mut Reader) {
        let mut all: Vec<_> = self.listen.http.0.iter().map(|address| ("listen.http", *address)).collect();
        all.extend(self.listen.https.0.iter().map(|address| ("listen.https", *address)));
        all.extend(self.ssh.listen.map(|address| ("ssh.listen", address)));
        all.extend(self.management.bind.map(|address| ("management.bind", address)));
        all.extend(self.metrics_address().map(|address| ("telemetry.metrics_port", ListenAddress(address))));
        for (index, (key, address)) in all.iter().enumerate() {
            let earlier = all.iter().take(index).find(|(_, other)| overlap(address.0, other.0));
            if let Some((first, _)) = earlier {
                reader.error(key, format!("{address} is taken by `{first}` already"));
            }
        }
        if self.listen.http.0.is_empty() && self.listen.https.0.is_empty() {
            reader.error("listen", "neither `http` nor `https` has an address");
        }
        if self.listen.https.0.is_empty() {
            for (index, route) in
                self.routes.iter().enumerate().filter(|(_, route)| !route.disable_secure_redirection)
            {
                let name = if route.host.is_empty() { &route.host_prefix } else { &route.host };
                let message = format!(
                    "`{name}` redirects to https, but `listen.https` is empty; \
                    set `disable_secure_redirection = true` to serve it in the clear"
                );
                reader.error(&format!("routes[{index}]"), message);
            }
        } else if self.tls.cert_path.is_empty() && self.tls.certificates.is_empty() {
            reader.warning(
                "tls",
                "no certificate is configured: every HTTPS handshake fails, plain HTTP only redirects",
            );
        }
        if self.ssh.listen.is_some() == self.ssh.backend.is_empty() {
            reader.error("ssh", "`listen` and `backend` belong together");
        }
        let port = self.ssh.backend.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if !self.ssh.backend.is_empty() && port.is_none_or(|port| port == 0) {
            reader.error("ssh.backend", format!("`{}` is not `name:port`", self.ssh.backend));
        }
        if let Some(address) = self.management.bind
            && !address.0.ip().is_loopback()
        {
            reader.warning("management.bind", "the management API can be reached from outside this host");
        }
        if !self.management.token.is_empty() && self.management.token.expose().len() < 16 {
            reader.error("management.token", "is shorter than 16 characters");
        }
    }

    fn check_audit(&self, reader: &mut Reader) {
        if (1..BYTES_MIN).contains(&self.decisions.max_bytes) {
            let message = format!("is less than {BYTES_MIN}, the least that a store needs; 0 keeps nothing");
            reader.error("decisions.max_bytes", message);
        }
        let path = std::path::Path::new(&self.audit.path);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if self.audit.enabled
            && let Some(folder) = folder
            && !folder.is_dir()
        {
            let message =
                format!("the folder `{}` does not exist: the node will not start", folder.display());
            reader.warning("audit.path", message);
        }
    }

    fn check_telemetry(&self, reader: &mut Reader) {
        if self.telemetry.metrics_bind.parse::<IpAddr>().is_err() {
            let message = format!("`{}` is not an address", self.telemetry.metrics_bind);
            reader.error("telemetry.metrics_bind", message);
        }
        let endpoint = &self.telemetry.otlp_endpoint;
        if !endpoint.is_empty() && endpoint.parse::<sunbeam_routing::BackendUrl>().is_err() {
            reader.error(
                "telemetry.otlp_endpoint",
                format!("`{endpoint}` is not a URL like `http://collector:4317`"),
            );
        }
        for directive in self.telemetry.log_level.split(',') {
            let level = directive.rsplit('=').next().unwrap_or_default().trim();
            if level.parse::<tracing_subscriber::filter::LevelFilter>().is_err() {
                let message = format!(
                    "`{directive}` is not a level (error, warn, info, debug, trace, off) or `target=level`"
                );
                reader.error("telemetry.log_level", message);
            }
        }
    }

    fn check_backends(&self, reader: &mut Reader) {
        for (index, route) in self.routes.iter().enumerate() {
            for (at, url) in route.backend_urls(&format!("routes[{index}]")) {
                if self.is_management(url) {
                    reader.error(
                        &at,
                        "is this node's management address: its API would be open to every client",
                    );
                }
                if url.scheme == Scheme::Https && !route.backend_verify {
                    reader.warning(
                        &at,
                        "`backend_verify = false`: whoever sits between can read and change everything",
                    );
                }
            }
        }
        if self.routes.is_empty() {
            reader.warning("routes", "no routes: every request is answered 421");
        }
    }

    fn check_judging(&self, reader: &mut Reader) {
        self.ddos.check(reader);
        self.scanner.check(reader);
        self.waf.check(reader);
        self.challenge.check(reader);
        waf::check(self, reader);
        if let Err(problem) = models::check(self) {
            reader.error(problem.key, problem.message);
        }
        for (key, ranges, means) in [
            ("lists.allow", &self.lists.allow, "nobody among them is judged"),
            ("rate_limit.bypass_cidrs", &self.rate_limit.bypass_cidrs, "none of them has limits"),
            (
                "listen.trusted_proxies",
                &self.listen.trusted_proxies,
                "each of them chooses the address it is judged by",
            ),
            (
                "listen.proxy_protocol_from",
                &self.listen.proxy_protocol_from,
                "each of them chooses the address it is judged by",
            ),
            ("lists.block", &self.lists.block, "only `lists.allow` among them is served"),
        ] {
            for (index, range) in ranges.iter().enumerate().filter(|(_, range)| is_very_wide(range.0)) {
                let message = format!("`{}` is nearly everybody: {means}", range.0);
                reader.warning(&format!("{key}[{index}]"), message);
            }
        }
        for (index, range) in self.lists.block.iter().enumerate() {
            if self.lists.allow.iter().any(|allowed| allowed.0.contains(&range.0)) {
                let message = format!("`{}` is allowed by `lists.allow`, which is stronger", range.0);
                reader.warning(&format!("lists.block[{index}]"), message);
            }
        }
        for (index, entry) in self.scanner.allowlist.iter().enumerate() {
            let at = format!("scanner.allowlist[{index}]");
            if entry.cidrs.iter().any(|range| is_very_wide(range.0)) {
                reader.warning(&format!("{at}.cidrs"), "nearly every address proves it");
            }
            if let Some(suffix) =
                entry.dns_suffixes.iter().find(|suffix| !suffix.trim_matches('.').contains('.'))
            {
                reader.warning(
                    &format!("{at}.dns_suffixes"),
                    format!("`{suffix}`: everybody can have a name there"),
                );
            }
        }
        let ddos = &self.ddos;
        for (key, threshold) in
            [("error_threshold", ddos.error_threshold), ("request_threshold", ddos.request_threshold)]
        {
            if threshold > 0 && ddos.min_events > threshold {
                let message =
                    format!("{threshold} is not reached before `ddos.min_events` ({})", ddos.min_events);
                reader.warning(&format!("ddos.{key}"), message);
            }
        }
        let limits = &self.rate_limit;
        for (name, burst, rate) in [
            ("global", limits.global.burst, limits.global.rate),
            ("authenticated", limits.authenticated.burst, limits.authenticated.rate),
            ("unauthenticated", limits.unauthenticated.burst, limits.unauthenticated.rate),
        ] {
            if burst == 0 && (name != "global" || rate > 0.0) && limits.enabled {
                reader.warning(&format!("rate_limit.{name}.burst"), "is 0: there is no such limit");
            }
            if burst > 0 && rate <= 0.0 {
                reader.error(
                    &format!("rate_limit.{name}.rate"),
                    "is 0: after the first burst nobody would be served again",
                );
            }
        }
        for name in &limits.session_cookies {
            if name.is_empty() || name.contains(['=', ';', ' ']) {
                reader.error("rate_limit.session_cookies", format!("`{name}` is not the name of a cookie"));
            }
        }
        for name in limits.login_cookies.iter().filter(|name| !limits.session_cookies.contains(name)) {
            let message =
                format!("`{name}` is not in `rate_limit.session_cookies`: nobody would look for it");
            reader.error("rate_limit.login_cookies", message);
        }
    }

    /// Whether a URL leads to our own management API.
    fn is_management(&self, url: &sunbeam_routing::BackendUrl) -> bool {
        let Some(bind) = self.management.bind else { return false };
        let is_here = url.host.parse::<IpAddr>().map_or(url.host == "localhost", |address| {
            address == bind.0.ip() || address.is_loopback() || address.is_unspecified()
        });
        is_here && url.port == bind.0.port() && url.port != 0
    }
}

/// Whether a range holds so many addresses that hardly anybody means it.
fn is_very_wide(range: IpNet) -> bool {
    let least = match range.addr().to_canonical() {
        // Written as a mapped address it is IPv4, too.
        IpAddr::V4(_) if range.addr().is_ipv6() => 96 + 8,
        IpAddr::V4(_) => 8,
        IpAddr::V6(_) => 16,
    };
    range.prefix_len() < least
}

/// Whether one socket keeps the other from being bound: the same port of one address, or of all.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() != 0
        && one.port() == other.port()
        && one.is_ipv4() == other.is_ipv4()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}
