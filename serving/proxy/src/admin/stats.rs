// SPDX-License-Identifier: Apache-2.0
//! `/api/v1/stats`: the metrics as numbers that a person asks for. Nothing here is counted twice.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::shared::Shared;

/// Counted since the start.
pub(super) fn stats(shared: &Shared) -> Value {
    let families = shared.registry.series("sunbeam_requests_total");
    let mut by_status: BTreeMap<String, f64> = BTreeMap::new();
    let mut routes: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    let mut total = 0.0;
    for series in &families {
        let label = |name: &str| series.label(name).unwrap_or_default();
        let class = format!("{}xx", label("status").chars().next().unwrap_or('0'));
        let route = routes.entry(label("host").to_owned()).or_default();
        route.0 += series.value;
        if class == "5xx" {
            route.1 += series.value;
        }
        *by_status.entry(class).or_default() += series.value;
        total += series.value;
    }
    let limits = shared.registry.series("sunbeam_limit_hits_total");
    let limits: BTreeMap<&str, u64> = limits
        .iter()
        .map(|series| (series.label("limit").unwrap_or_default(), whole(series.value)))
        .collect();
    let audit = |result| whole(shared.registry.sum("sunbeam_audit_lines_total", &[("result", result)]));
    json!({
        "uptime_seconds": shared.started.elapsed().as_secs(),
        "requests_total": whole(total),
        "requests_by_status": by_status.into_iter().map(|(class, count)| (class, whole(count))).collect::<BTreeMap<_, _>>(),
        "active_connections": shared.guard.active(),
        "websocket_active": shared.metrics.websocket_active().get(),
        "upstream_errors_total": whole(shared.registry.sum("sunbeam_upstream_errors_total", &[])),
        "limit_hits": limits,
        "audit": {"written": audit("written"), "dropped": audit("dropped"), "failed": audit("failed")},
        "routes": routes.into_iter().map(|(name, (requests, errors))| {
            json!({"name": name, "requests_total": whole(requests), "errors_total": whole(errors)})
        }).collect::<Vec<_>>(),
        "latency_ms": quantiles(shared, "sunbeam_request_duration_seconds"),
        "added_latency_ms": quantiles(shared, "sunbeam_added_latency_seconds"),
        "backend_latency_ms": quantiles(shared, "sunbeam_backend_latency_seconds"),
    })
}

fn quantiles(shared: &Shared, name: &str) -> Value {
    let milliseconds = |quantile| shared.registry.quantile(name, quantile).map(|seconds| seconds * 1000.0);
    json!({"p50": milliseconds(0.5), "p90": milliseconds(0.9), "p99": milliseconds(0.99)})
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters are whole and not negative"
)]
const fn whole(count: f64) -> u64 {
    count as u64
}
