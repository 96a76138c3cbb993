// SPDX-License-Identifier: Apache-2.0
//! What the listeners count.

use sunbeam_metrics::declare_metrics;

declare_metrics! {
    /// Connections, handshakes, bounds.
    pub struct ListenerMetrics {
        /// Connections that are open, plain and TLS.
        active_connections: Gauge["sunbeam_active_connections"],
        /// The bound on them, `limits.max_connections`.
        max_connections: Gauge["sunbeam_max_connections"],
        /// Connections accepted, by listener: http, https.
        connections: Counter["sunbeam_connections_total", listener],
        /// TLS handshakes, by result: ok, failed, timeout, no_certificate.
        tls_handshakes: Counter["sunbeam_tls_handshakes_total", result],
        /// How often a bound was hit, by its key in `[limits]` (and audit_queue, file_descriptors).
        limit_hits: Counter["sunbeam_limit_hits_total", limit],
        /// When a certificate expires, Unix seconds, by its first name.
        certificate_expiry: Gauge["sunbeam_certificate_expiry_timestamp_seconds", name],
        /// Connections through `[ssh]`, by result: ok, unreachable, refused.
        passthrough: Counter["sunbeam_tcp_passthrough_connections_total", result],
    }
}
