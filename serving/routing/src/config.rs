// SPDX-License-Identifier: Apache-2.0
//! `[[routes]]` as the operator writes it.

use sunbeam_config::{RawText, choice, section};

use sunbeam_pipeline::ProtectSection;
use sunbeam_rate_limit::RouteLimitSection;

use crate::backends::BackendList;
use crate::url::BackendUrl;

choice! {
    /// Which of several backends a request goes to.
    pub enum Balance {
        /// In turn, by weight.
        RoundRobin = "round_robin",
        /// To the one with the fewest requests in flight for its weight.
        LeastConnections = "least_connections",
        /// By the client's address: the same client, the same backend, as long as that is healthy.
        IpHash = "ip_hash",
    }
}

choice! {
    /// Which HTTP a backend is spoken to.
    pub enum Http2Mode {
        /// HTTP/2 where TLS negotiates it, else HTTP/1.1.
        Auto = "auto",
        /// HTTP/2 always; over plain TCP with prior knowledge (h2c). What gRPC needs.
        Always = "always",
        /// HTTP/1.1 always.
        Never = "never",
    }
}

section! {
    /// A host and where its requests go. Repeatable. The most exact match wins: full name, then
    /// `host_prefix`, then the longest `*.` wildcard, then `*`.
    pub struct RouteSection {
        /// The label before the first dot: `docs` is docs.\<any domain\>.
        host_prefix: String = String::new(),
        /// Instead of host_prefix: the full name, or `*.example.org`, or `*` for any other host.
        host: String = String::new(),
        /// Where requests go: `http://name:port` or `https://name:port`, or a list of them, in which an
        /// entry may be `{ url = "http://name:port", weight = 2 }` (weight 1 to 1000).
        backend: Option<BackendList> = None,
        /// Of several backends: round_robin | least_connections | ip_hash. For the lists of `paths` too.
        balance: Balance = Balance::RoundRobin,
        /// Forward WebSocket upgrades.
        websocket: bool = false,
        /// true: plain HTTP is served too; false: 308 to https.
        disable_secure_redirection: bool = false,
        /// Files first, backend after. `""`: no files.
        static_root: String = String::new(),
        /// SPA fallback inside static_root.
        fallback: String = String::new(),
        /// Send the client's Host to the backend; false: the backend's own name.
        preserve_host: bool = true,
        /// Compress compressible types (zstd, br, gzip).
        compress: bool = true,
        /// 0 = limits.max_body_bytes.
        max_body_bytes: u64 = 0,
        /// PEM file with the roots for an https:// backend; `""` = the system's.
        backend_ca_path: String = String::new(),
        /// Verify the certificate of an https:// backend. Never off silently: false is warned about.
        backend_verify: bool = true,
        /// auto (ALPN) | always (h2c, gRPC) | never
        backend_http2: Http2Mode = Http2Mode::Auto,
        /// When a backend is left out, and when it comes back.
        health: HealthSection = HealthSection::default(),
        /// Sub-routes; the longest prefix wins, always before static files.
        paths: Vec<PathSection> = Vec::new(),
        /// Regular expressions on the path, before the static look-up; the first match wins.
        rewrites: Vec<RewriteSection> = Vec::new(),
        /// Search and replace in answers.
        body_rewrites: Vec<BodyRewriteSection> = Vec::new(),
        /// Headers set on every answer of this route.
        response_headers: Vec<HeaderSection> = Vec::new(),
        /// What layers may do here, where it is not what they may do everywhere.
        protect: ProtectSection = ProtectSection::default(),
        /// Limits of this route, besides `[rate_limit]`.
        rate_limits: Vec<RouteLimitSection> = Vec::new(),
    }
    later { cache }
}

section! {
    /// The health of a route's backends.
    pub struct HealthSection {
        /// Asked with GET; 2xx and 3xx are healthy. `""`: passive checks only.
        path: String = String::new(),
        /// Between two checks.
        interval_secs: u64 = 10 => 1..=3_600,
        /// How long a check may take.
        timeout_secs: u64 = 2 => 1..=300,
        /// Failed checks, or failed requests to one of several backends, without a success between them,
        /// after which it is left out.
        unhealthy_after: u32 = 3 => 1..=100,
        /// Good checks in a row after which it is back.
        healthy_after: u32 = 2 => 1..=100,
    }
}

section! {
    /// A path prefix inside a route, matched by whole segments.
    pub struct PathSection {
        /// `/api` matches `/api` and `/api/…`, not `/apix`.
        prefix: String = String::new(),
        /// Where these requests go, as the route's `backend`.
        backend: Option<BackendList> = None,
        /// true: /api/users -> /users
        strip_prefix: bool = false,
        /// Put in front after stripping.
        upstream_path_prefix: String = String::new(),
        /// Forward WebSocket upgrades.
        websocket: bool = false,
        /// GET with Cookie, Authorization, X-Original-URI, X-Original-Method; 2xx passes, other 403,
        /// unreachable 502.
        auth_request: Option<BackendUrl> = None,
        /// From the auth answer to the backend; a client's own copies (and look-alikes with _) are
        /// removed first.
        auth_capture_headers: Vec<String> = Vec::new(),
        /// How long the auth answer may take.
        auth_timeout_secs: u64 = 5 => 1..=300,
    }
}

section! {
    /// A rewrite of the path.
    pub struct RewriteSection {
        /// A regular expression, compiled at start.
        pattern: RawText = RawText::default(),
        /// What the match becomes; `$1` and `${name}` work.
        target: RawText = RawText::default(),
    }
}

section! {
    /// A replacement in bodies.
    pub struct BodyRewriteSection {
        /// Bytes to find.
        find: String = String::new(),
        /// What stands there instead.
        replace: String = String::new(),
        /// Media types that are searched.
        types: Vec<String> = ["text/html", "application/javascript", "text/javascript"].map(String::from).to_vec(),
        /// Larger bodies pass unchanged, counted.
        max_bytes: usize = 8_388_608 => 1..=1_073_741_824,
    }
}

section! {
    /// A header of the answer.
    pub struct HeaderSection {
        /// Its name.
        name: String = String::new(),
        /// Its value; replaces the backend's.
        value: String = String::new(),
    }
}

impl RouteSection {
    /// Every backend and auth server with the key that names it, where `at` is the route's: `routes[0]`.
    pub fn backend_urls(&self, at: &str) -> Vec<(String, &BackendUrl)> {
        let mut urls = Vec::new();
        urls.extend(self.backend.iter().flat_map(|list| list.urls(&format!("{at}.backend"))));
        for (n, path) in self.paths.iter().enumerate() {
            let at = format!("{at}.paths[{n}]");
            urls.extend(path.backend.iter().flat_map(|list| list.urls(&format!("{at}.backend"))));
            urls.extend(path.auth_request.iter().map(|url| (format!("{at}.auth_request"), url)));
        }
        urls
    }
}
