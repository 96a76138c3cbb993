// SPDX-License-Identifier: Apache-2.0
//! Metrics: one row declares name, labels, help and accessor; the registry renders them for Prometheus.
//!
//! Label values are configured names or fixed words, never a client's text: [`declare_metrics!`] cannot
//! check that, so each call site answers for it.

mod aliases;
mod declare;
mod series;

use prometheus::{Encoder as _, TextEncoder};

pub use aliases::{ALIASES, Alias};
#[doc(hidden)]
pub use prometheus as __prometheus;
pub use prometheus::{Gauge as FloatGauge, Histogram, IntCounter, IntGauge};
pub use series::Series;

/// A row of the reference page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricDoc {
    /// `sunbeam_requests_total`
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Label names.
    pub labels: &'static [&'static str],
    /// The doc comment of the row, which is the help text too.
    pub help: &'static str,
}

/// All metrics of one node. Each test has its own.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    inner: prometheus::Registry,
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// The page that Prometheus scrapes; `compat` adds the names of [`ALIASES`].
    pub fn render(&self, compat: bool) -> String {
        let mut families = self.inner.gather();
        if compat {
            let more: Vec<_> = ALIASES.iter().filter_map(|alias| alias.apply(&families)).collect();
            families.extend(more);
        }
        let mut page = Vec::new();
        // Writing to memory fails only for a family without a name or values; `gather` gives none such.
        if let Err(error) = TextEncoder::new().encode(&families, &mut page) {
            return format!("# failed to render: {error}\n");
        }
        String::from_utf8(page).unwrap_or_default()
    }

    /// The sum over all series of a counter or gauge, or of those whose labels hold all of `labels`.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        aliases::sum(&self.inner.gather(), name, labels).unwrap_or(0.0)
    }

    /// Every series of a counter or gauge.
    pub fn series(&self, name: &str) -> Vec<Series> {
        series::series(&self.inner.gather(), name)
    }

    /// The sum of a histogram over all its series, and how many values it is of.
    pub fn total(&self, name: &str) -> (f64, f64) {
        series::total(&self.inner.gather(), name)
    }

    /// A quantile of a histogram over all its series, interpolated inside its bucket as Prometheus
    /// does; `None` while it is empty. A value beyond the last bound counts as that bound.
    pub fn quantile(&self, name: &str, quantile: f64) -> Option<f64> {
        series::quantile(&self.inner.gather(), name, quantile)
    }

    #[doc(hidden)]
    pub fn add(&self, collector: Box<dyn prometheus::core::Collector>) {
        // Two rows with one name are a mistake in the program, found by the first test that starts a node.
        #[expect(clippy::disallowed_methods, reason = "the one place that registers")]
        self.inner.register(collector).expect("each metric name is declared once");
    }
}

/// Buckets from 1 ms to 10 s, for whole requests.
pub const REQUEST_SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Buckets from 1 µs to 1 s, for a look at one request.
pub const LOOK_SECONDS: &[f64] = &[
    0.000_001,
    0.000_002_5,
    0.000_005,
    0.000_01,
    0.000_025,
    0.000_05,
    0.000_1,
    0.000_25,
    0.000_5,
    0.001,
    0.002_5,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    1.0,
];

/// Buckets from 10 µs, for our own part of a request.
pub const OWN_SECONDS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0,
];
