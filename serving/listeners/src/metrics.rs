// SPDX-License-Identifier: Apache-2.0
//! What the listeners count.

use sunbeam_metrics::declare_metrics;

declare_metrics! {
    /// Connections, handshakes, bounds.
    pub struct ListenerMetrics {
        /// Connections that are open, plain and TLS.
        active_connections: Gauge["sunbeam_active_connections"],
        /// HTTP/1 connections among them that have been silent for a second since their last request.
        idle_connections: Gauge["sunbeam_idle_connections"],
        /// The bound on them, `limits.max_connections`.
        max_connections: Gauge["sunbeam_max_connections"],
        /// Connections accepted, by listener: http, https.
        connections: Counter["sunbeam_connections_total", listener],
        /// TLS handshakes, by result: ok, failed, timeout, refused, no_certificate.
        tls_handshakes: Counter["sunbeam_tls_handshakes_total", result],
        /// How often a bound was hit, by its key in `[limits]` (and address_table, audit_queue,
        /// file_descriptors, waf_collections).
        limit_hits: Counter["sunbeam_limit_hits_total", limit],
        /// PROXY headers of `listen.proxy_protocol_from`, by result: client, local, malformed, timeout, ended.
        proxy_protocol_headers: Counter["sunbeam_proxy_protocol_headers_total", result],
        /// When a certificate expires, Unix seconds, by its first name.
        certificate_expiry: Gauge["sunbeam_certificate_expiry_timestamp_seconds", name],
        /// Connections through `[ssh]`, by result: ok, unreachable, refused.
        passthrough: Counter["sunbeam_tcp_passthrough_connections_total", result],
    }
}
