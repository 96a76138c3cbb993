// SPDX-License-Identifier: Apache-2.0
//! What the request path counts.

use sunbeam_metrics::{OWN_SECONDS, REQUEST_SECONDS, declare_metrics};

declare_metrics! {
    /// Requests and what became of them.
    pub struct ProxyMetrics {
        /// Requests answered; host is the route's configured name or `other`, backend a configured URL,
        /// `static` or empty.
        requests: Counter["sunbeam_requests_total", method, host, status, backend],
        /// Requests received, by scheme.
        requests_received: Counter["sunbeam_requests_received_total", scheme],
        /// Time from a request's head to its answer's last byte.
        request_seconds: Histogram["sunbeam_request_duration_seconds"; REQUEST_SECONDS],
        /// Our own time until the answer's head; the backend's is not in it, nor what the client's body was waited for.
        added_seconds: Histogram["sunbeam_added_latency_seconds"; OWN_SECONDS],
        /// The other part of that time, of requests that waited for a backend (or for who is asked by `auth_request`).
        backend_seconds: Histogram["sunbeam_backend_latency_seconds"; REQUEST_SECONDS],
        /// Requests sent to a backend, retries included.
        upstream_requests: Counter["sunbeam_upstream_requests_total", backend],
        /// Failed requests to a backend, by kind: connect, dns, tls, timeout, reset, protocol.
        upstream_errors: Counter["sunbeam_upstream_errors_total", backend, kind],
        /// Requests that were sent once more, by reason: stale (a kept connection had died), unsent, trial (of a
        /// backend that was left out), or the kind of the failed connection.
        upstream_retries: Counter["sunbeam_upstream_retries_total", reason],
        /// Requests and tunnels that a backend has now.
        upstream_in_flight: Gauge["sunbeam_upstream_in_flight", backend],
        /// 1 while requests go to a backend, 0 while it is left out.
        backend_up: Gauge["sunbeam_backend_up", backend],
        /// Active checks, by result: ok, failed.
        backend_checks: Counter["sunbeam_backend_checks_total", backend, result],
        /// Auth subrequests, by result: allowed, denied, unreachable.
        auth_requests: Counter["sunbeam_auth_requests_total", result],
        /// Look-ups of files, by result: found, missing, refused, denied, failed.
        static_files: Counter["sunbeam_static_files_total", result],
        /// Requests that waited because their address had enough others under work.
        fair_share_waits: Counter["sunbeam_fair_share_waits_total"],
        /// Requests that waited for what time is left, because their address is stopped again and again.
        offender_waits: Counter["sunbeam_offender_waits_total"],
        /// Body rewrites, by outcome: rewritten, no_match, too_large, undecodable.
        body_rewrites: Counter["sunbeam_body_rewrites_total", outcome],
        /// WebSocket tunnels that are open.
        websocket_active: Gauge["sunbeam_websocket_active"],
        /// Audit lines, by result: written, dropped (queue full), failed (disk).
        audit_lines: Counter["sunbeam_audit_lines_total", result],
        /// Decisions for `why`, by result: written, sampled (others like it stand for it), dropped (queue full), failed
        /// (disk).
        decisions_kept: Counter["sunbeam_decisions_kept_total", result],
        /// 1 while no decisions are kept because their store could not be opened.
        decision_store_failed: Gauge["sunbeam_decision_store_failed"],
        /// Challenges, by result: issued, solved, failed, expired, replayed, capped, passed (a doubt was cleared by a pass of
        /// before), refused (a client that is no browser was told); and by level: cookie, wait, work, none.
        challenges: Counter["sunbeam_challenges_total", result, level],
        /// Exceptions that hold (`sunbeam exceptions`).
        exceptions: Gauge["sunbeam_exceptions"],
        /// Exceptions that made a difference to a request that passed, by their layer.
        exception_hits: Counter["sunbeam_exception_hits_total", layer],
        /// Of these: another layer scores the request as an attack, or would have stopped it.
        exception_high_scores: Counter["sunbeam_exception_high_scores_total", layer],
        /// Exceptions whose time was over.
        exceptions_expired: Counter["sunbeam_exceptions_expired_total"],
        /// Changes beside the configuration that are taken back unless somebody confirms them (`sunbeam confirm`).
        unconfirmed_changes: Gauge["sunbeam_unconfirmed_changes"],
        /// What became of them, by result: confirmed, taken_back, superseded (the same thing was changed again), failed (not
        /// taken back yet; it is tried again), refused (too many waited).
        changes_confirmed: Counter["sunbeam_changes_confirmed_total", result],
        /// Log-ins to the console, by result: ok, refused (no such link), elsewhere (a session that was used from another
        /// address, and ended).
        console_logins: Counter["sunbeam_console_logins_total", result],
        /// Changes over the management API in the audit trail, by result: written, failed (disk; the log has them).
        audit_trail: Counter["sunbeam_audit_trail_total", result],
        /// Panics caught; each is a defect.
        panics: Counter["sunbeam_panics_total"],
        /// Configuration reloads, by result: ok, failed.
        config_reloads: Counter["sunbeam_config_reloads_total", result],
        /// 1 while the files hold a configuration that was refused.
        config_reload_failed: Gauge["sunbeam_config_reload_failed"],
        /// Hand-overs of this node to a new process, by result: ok, failed.
        upgrades: Counter["sunbeam_upgrades_total", result],
        /// Seconds since the start.
        uptime_seconds: Gauge["sunbeam_uptime_seconds"],
        /// 1, by version.
        build_info: Gauge["sunbeam_build_info", version],
        /// 1, by the names in `[platform]`.
        node_info: Gauge["sunbeam_node_info", environment, node, region],
    }
}
