// SPDX-License-Identifier: Apache-2.0
//! `[listen]`, `[limits]`, `[tls]`, `[ssh]` as the operator writes them.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use sunbeam_config::{Cidr, OneOrMany, choice, parsed_value, section};

/// An address to listen on: `0.0.0.0:80`, `[::]:80`. Port 0 lets the system choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenAddress(pub SocketAddr);

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|_| format!("`{text}` is not an address with a port like `0.0.0.0:80` or `[::]:80`"))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

parsed_value!(ListenAddress, "an address with a port");

choice! {
    /// A version of TLS.
    pub enum TlsVersion {
        /// RFC 5246
        Tls12 = "1.2",
        /// RFC 8446
        Tls13 = "1.3",
    }
}

fn addresses(texts: [&str; 2]) -> OneOrMany<ListenAddress> {
    OneOrMany(texts.iter().filter_map(|text| text.parse().ok()).collect())
}

section! {
    /// Where the node listens.
    pub struct ListenSection {
        /// Plain HTTP: a string or a list. IPv6 sockets are always IPV6_V6ONLY; v4 and v6 take turns
        /// in accept.
        http: OneOrMany<ListenAddress> = addresses(["0.0.0.0:80", "[::]:80"]),
        /// HTTPS.
        https: OneOrMany<ListenAddress> = addresses(["0.0.0.0:443", "[::]:443"]),
        /// CIDRs whose X-Forwarded-For / CF-Connecting-IP is believed; nobody by default.
        trusted_proxies: Vec<Cidr> = Vec::new(),
        /// CIDRs whose connections start with a PROXY v1/v2 header (before TLS); one without it is closed. The
        /// address in it counts as the client's.
        proxy_protocol_from: Vec<Cidr> = Vec::new(),
    }
    later { http3 }
}

section! {
    /// Bounds. Those that refuse a client are counted in sunbeam_limit_hits_total, those towards backends in
    /// sunbeam_upstream_errors_total.
    pub struct LimitsSection {
        /// Connections of the whole node at the same time.
        max_connections: usize = 10_000 => 1..=10_000_000,
        /// Connections of one IPv4 address or IPv6 /64 at the same time.
        max_connections_per_ip: u32 = 256 => 1..=10_000_000,
        /// New connections of one IPv4 address or IPv6 /64 in a second.
        new_connections_per_ip: u32 = 100 => 1..=1_000_000,
        /// TLS handshakes of the whole node at the same time; one address may hold a quarter of them.
        max_tls_handshakes: usize = 512 => 1..=1_000_000,
        /// How long a TLS handshake may take.
        tls_handshake_timeout_secs: u64 = 10 => 1..=600,
        /// Total, first byte to end of headers (slowloris): 408.
        header_timeout_secs: u64 = 10 => 1..=3_600,
        /// Bytes a second of a request's body, after a grace of ten seconds (slow POST): 408; 0 = off.
        min_body_rate_bytes: u64 = 240,
        /// Bytes a second of an answer that a client must read, after the same grace (slow read), or its
        /// connection (HTTP/2: its stream) is closed; 0 = off.
        min_send_rate_bytes: u64 = 240,
        /// How long a connection may wait for its next request.
        keepalive_secs: u64 = 75 => 1..=86_400,
        /// Requests on one connection; then it is closed (HTTP/2: GOAWAY).
        keepalive_requests: u64 = 1_000 => 1..=1_000_000_000,
        /// Bytes of a request's head: 431.
        max_header_bytes: usize = 32_768 => 1_024..=1_048_576,
        /// Header lines of a request: 431. More than 100 cost each request an allocation.
        max_headers: usize = 100 => 8..=10_000,
        /// Bytes of a request's target: 414.
        max_url_bytes: usize = 8_192 => 64..=65_000,
        /// Bytes of a request's body: 413; per route: `max_body_bytes`.
        max_body_bytes: u64 = 1_073_741_824,
        /// Streams at the same time on one HTTP/2 connection.
        max_streams_per_connection: u32 = 100 => 1..=10_000,
        /// Requests at the same time of one IPv4 address or IPv6 /64, whatever the number of its connections:
        /// 429. Counted in blocks of 16 for each thread.
        max_concurrent_requests_per_ip: u32 = 512 => 64..=10_000_000,
        /// HTTP/2 streams that one IPv4 address or IPv6 /64 may reset in a minute (rapid reset): its connection
        /// is closed, and it gets no new one until the minute is over.
        max_stream_resets_per_minute: u32 = 200 => 1..=1_000_000,
        /// How long an old process or configuration may finish its requests.
        drain_secs: u64 = 30 => 0..=86_400,
        /// To a backend.
        connect_timeout_secs: u64 = 5 => 1..=600,
        /// Between two reads from a backend: 504.
        backend_timeout_secs: u64 = 60 => 1..=86_400,
    }
}

section! {
    /// TLS towards clients.
    pub struct TlsSection {
        /// PEM chain; with key_path: one certificate for all names.
        cert_path: String = String::new(),
        /// PEM private key.
        key_path: String = String::new(),
        /// The oldest version that is spoken.
        min_version: TlsVersion = TlsVersion::Tls12,
        /// The newest.
        max_version: TlsVersion = TlsVersion::Tls13,
        /// Protocols offered, the preferred first.
        alpn: Vec<String> = vec!["h2".to_owned(), "http/1.1".to_owned()],
        /// Names of cipher suites; [] = all that the library holds safe.
        cipher_suites: Vec<String> = Vec::new(),
        /// How long one key encrypts session tickets.
        ticket_rotation_secs: u64 = 21_600 => 60..=21_600,
        /// PEM roots; with it, clients may present a certificate.
        client_ca_path: String = String::new(),
        /// Clients must present one.
        client_cert_required: bool = false,
        /// Changed files are served from the next handshake on, without a restart.
        watch: bool = true,
        /// More certificates, chosen by SNI.
        certificates: Vec<CertificateSection> = Vec::new(),
    }
    later { acme }
}

section! {
    /// A certificate for some names.
    pub struct CertificateSection {
        /// Host names, `*.example.org` too; [] = those in the certificate.
        names: Vec<String> = Vec::new(),
        /// PEM chain.
        cert_path: String = String::new(),
        /// PEM private key.
        key_path: String = String::new(),
        /// A DER response to staple, re-read when it changes.
        ocsp_path: String = String::new(),
    }
}

section! {
    /// TCP passthrough, any protocol.
    pub struct SshSection {
        /// `0.0.0.0:22`; `""` = off.
        listen: Option<ListenAddress> = None,
        /// `name:port`
        backend: String = String::new(),
    }
}
