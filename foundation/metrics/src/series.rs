// SPDX-License-Identifier: Apache-2.0
//! Reads metrics back, for the statistics page and for tests.

use prometheus::proto::{MetricFamily, MetricType};

/// One series of a counter or gauge.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Label names and values.
    pub labels: Vec<(String, String)>,
    /// Its value now.
    pub value: f64,
}

impl Series {
    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) fn series(families: &[MetricFamily], name: &str) -> Vec<Series> {
    let Some(family) = families.iter().find(|family| family.name() == name) else { return Vec::new() };
    let value = |metric: &prometheus::proto::Metric| match family.get_field_type() {
        MetricType::GAUGE => metric.get_gauge().get_value(),
        _ => metric.get_counter().get_value(),
    };
    let labels = |metric: &prometheus::proto::Metric| {
        metric.get_label().iter().map(|pair| (pair.name().to_owned(), pair.value().to_owned())).collect()
    };
    family.get_metric().iter().map(|metric| Series { labels: labels(metric), value: value(metric) }).collect()
}

pub(crate) fn quantile(families: &[MetricFamily], name: &str, quantile: f64) -> Option<f64> {
    let family = families.iter().find(|family| family.name() == name)?;
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    let mut total = 0.0;
    for metric in family.get_metric() {
        let histogram = metric.get_histogram();
        total += count(histogram.get_sample_count());
        for (index, bucket) in histogram.get_bucket().iter().enumerate() {
            let cumulative = count(bucket.cumulative_count());
            match buckets.get_mut(index) {
                Some(sum) => sum.1 += cumulative,
                None => buckets.push((bucket.upper_bound(), cumulative)),
            }
        }
    }
    if total == 0.0 {
        return None;
    }
    let rank = quantile * total;
    let (mut lower_bound, mut below) = (0.0, 0.0);
    for (bound, cumulative) in buckets {
        if cumulative >= rank && cumulative > below {
            return Some(lower_bound + (bound - lower_bound) * (rank - below) / (cumulative - below));
        }
        (lower_bound, below) = (bound, cumulative);
    }
    Some(lower_bound)
}

pub(crate) fn total(families: &[MetricFamily], name: &str) -> (f64, f64) {
    let family = families.iter().find(|family| family.name() == name);
    let histograms =
        family.into_iter().flat_map(|family| family.get_metric()).map(|metric| metric.get_histogram());
    histograms.fold((0.0, 0.0), |(sum, values), histogram| {
        (sum + histogram.get_sample_sum(), values + count(histogram.get_sample_count()))
    })
}

#[expect(clippy::cast_precision_loss, reason = "sample counts stay far below 2^53 in a node's life")]
const fn count(samples: u64) -> f64 {
    samples as f64
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "`declare_metrics!` makes public types")]
mod tests {
    use crate::Registry;

    crate::declare_metrics! {
        /// Test metrics.
        pub struct TestMetrics {
            /// Times.
            seconds: Histogram["seconds"; [0.1, 0.2, 0.4]],
        }
    }

    #[test]
    fn a_quantile_lies_in_its_bucket() {
        let registry = Registry::new();
        let metrics = TestMetrics::register(&registry);
        assert_eq!(registry.quantile("seconds", 0.5), None);
        for value in [0.05, 0.15, 0.15, 0.3] {
            metrics.seconds().observe(value);
        }
        let median = registry.quantile("seconds", 0.5).unwrap();
        assert!((0.1..=0.2).contains(&median), "{median}");
        let (sum, values) = registry.total("seconds");
        assert!((sum - 0.65).abs() < 1e-9 && values == 4.0, "{sum} {values}");
        assert_eq!(registry.total("none"), (0.0, 0.0));
        metrics.seconds().observe(9.0);
        assert_eq!(registry.quantile("seconds", 1.0), Some(0.4));
        assert!(!TestMetrics::TABLE.is_empty());
    }
}
