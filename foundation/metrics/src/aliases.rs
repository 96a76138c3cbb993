// SPDX-License-Identifier: Apache-2.0
//! The metric names of the second seed, as sums over ours (`telemetry.compat_metrics`).

use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};

/// A name that shows the sum of some of our series; of a histogram, its series as they are.
#[derive(Clone, Copy, Debug)]
pub struct Alias {
    /// The name that is served.
    pub name: &'static str,
    /// Our metric that it sums.
    pub of: &'static str,
    /// Only the series that hold these labels.
    pub labels: &'static [(&'static str, &'static str)],
}

/// Every alias whose part exists. A name whose source has no series yet is not served: no invented zeros.
pub const ALIASES: &[Alias] = &[
    Alias {
        name: "https_requests_received",
        of: "sunbeam_requests_received_total",
        labels: &[("scheme", "https")],
    },
    Alias { name: "blocked_requests_total", of: "sunbeam_blocked_requests_total", labels: &[] },
    Alias {
        name: "ddos_events_detected_total",
        of: "sunbeam_blocked_requests_total",
        labels: &[("layer", "ddos")],
    },
    Alias {
        name: "waf_events_blocked_total",
        of: "sunbeam_blocked_requests_total",
        labels: &[("layer", "waf")],
    },
    Alias {
        name: "waf_inspection_duration_seconds",
        of: "sunbeam_waf_inspection_duration_seconds",
        labels: &[],
    },
    Alias { name: "requests_proxied", of: "sunbeam_upstream_requests_total", labels: &[] },
    Alias { name: "active_connections", of: "sunbeam_active_connections", labels: &[] },
    Alias {
        name: "tls_handshakes_completed",
        of: "sunbeam_tls_handshakes_total",
        labels: &[("result", "ok")],
    },
];

impl Alias {
    pub(crate) fn apply(&self, families: &[MetricFamily]) -> Option<MetricFamily> {
        let source = families.iter().find(|family| family.name() == self.of)?;
        if source.get_field_type() == MetricType::HISTOGRAM {
            let mut family = source.clone();
            family.set_name(self.name.to_owned());
            return Some(family);
        }
        let value = sum(families, self.of, self.labels)?;
        let mut metric = Metric::default();
        match source.get_field_type() {
            MetricType::GAUGE => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            _ => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
        }
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(format!("The same number as {}.", self.of));
        family.set_field_type(source.get_field_type());
        family.set_metric(vec![metric]);
        Some(family)
    }
}

pub(crate) fn sum(families: &[MetricFamily], name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let family = families.iter().find(|family| family.name() == name)?;
    let holds = |metric: &Metric| {
        labels.iter().all(|(name, value)| {
            metric.get_label().iter().any(|pair| pair.name() == *name && pair.value() == *value)
        })
    };
    let value = |metric: &Metric| match family.get_field_type() {
        MetricType::COUNTER => metric.get_counter().get_value(),
        MetricType::GAUGE => metric.get_gauge().get_value(),
        // Sample counts stay far below 2^53 in a node's life.
        _ => f64::from(u32::try_from(metric.get_histogram().get_sample_count()).unwrap_or(u32::MAX)),
    };
    Some(family.get_metric().iter().filter(|metric| holds(metric)).map(value).sum())
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "`declare_metrics!` makes public types")]
mod tests {
    use crate::Registry;

    crate::declare_metrics! {
        /// Test metrics.
        pub struct TestMetrics {
            /// Handshakes.
            handshakes: Counter["sunbeam_tls_handshakes_total", result],
            /// Connections.
            connections: Gauge["sunbeam_active_connections"],
            /// Inspections.
            inspections: Histogram["sunbeam_waf_inspection_duration_seconds", result, category; &[1e-6, 1e-3]],
        }
    }

    #[test]
    fn an_alias_shows_the_same_number_and_only_where_its_source_exists() {
        let registry = Registry::new();
        let metrics = TestMetrics::register(&registry);
        metrics.handshakes("ok").inc_by(3);
        metrics.handshakes("failed").inc();
        metrics.connections().set(7);
        metrics.inspections("block", "sqli").observe(0.000_2);
        let page = registry.render(true);
        assert!(page.contains("\ntls_handshakes_completed 3\n"), "{page}");
        assert!(page.contains("\nactive_connections 7\n"), "{page}");
        assert!(!page.contains("requests_proxied"), "{page}");
        let of_histogram =
            "waf_inspection_duration_seconds_bucket{category=\"sqli\",result=\"block\",le=\"0.001\"} 1";
        assert!(page.contains(&format!("\n{of_histogram}")), "{page}");
        assert!(!registry.render(false).contains("tls_handshakes_completed"));
        assert_eq!(TestMetrics::TABLE.len(), 3);
        assert!(registry.sum("sunbeam_tls_handshakes_total", &[]) > 3.5);
    }
}
