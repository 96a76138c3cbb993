// SPDX-License-Identifier: Apache-2.0
//! The counter of answered requests, found without hashing its four labels for each of them.

use std::cell::RefCell;

use sunbeam_metrics::IntCounter;

use crate::metrics::ProxyMetrics;

/// Series that a thread remembers: its last requests had a handful of statuses, routes and backends.
const REMEMBERED: usize = 8;

/// The labels of `sunbeam_requests_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Labels<'a> {
    pub(crate) method: &'static str,
    pub(crate) route: &'a str,
    pub(crate) status: u16,
    pub(crate) backend: &'a str,
}

#[derive(Debug)]
struct Series {
    /// Of the configuration: with the next one a backend's series may be gone.
    generation: u64,
    method: &'static str,
    route: String,
    status: u16,
    backend: String,
    counter: IntCounter,
}

#[derive(Debug)]
struct Remembered {
    series: Vec<Series>,
    next: usize,
}

/// Counts a request. A thread serves one node.
pub(crate) fn count(metrics: &ProxyMetrics, generation: u64, labels: Labels<'_>) {
    thread_local! {
        static REMEMBER: RefCell<Remembered> = const { RefCell::new(Remembered { series: Vec::new(), next: 0 }) };
    }
    REMEMBER.with_borrow_mut(|remembered| {
        let is_it = |series: &&Series| series.generation == generation && series.labels() == labels;
        if let Some(series) = remembered.series.iter().find(is_it) {
            return series.counter.inc();
        }
        let status = labels.status.to_string();
        let counter = metrics.requests(labels.method, labels.route, &status, labels.backend);
        counter.inc();
        let series = Series {
            generation,
            method: labels.method,
            route: labels.route.to_owned(),
            status: labels.status,
            backend: labels.backend.to_owned(),
            counter,
        };
        remembered.next = (remembered.next + 1) % REMEMBERED;
        match remembered.series.get_mut(remembered.next) {
            Some(place) => *place = series,
            None => remembered.series.push(series),
        }
    });
}

impl Series {
    fn labels(&self) -> Labels<'_> {
        Labels { method: self.method, route: &self.route, status: self.status, backend: &self.backend }
    }
}

#[cfg(test)]
mod tests {
    use sunbeam_metrics::Registry;

    use super::*;

    #[test]
    fn each_request_counts_in_its_own_series_however_many_there_are() {
        let registry = Registry::new();
        let metrics = ProxyMetrics::register(&registry);
        for round in 0..3 {
            for status in 200..230 {
                for route in ["a", "b"] {
                    count(&metrics, round, Labels { method: "GET", route, status, backend: "x" });
                }
            }
        }
        let sum = |labels: &[(&str, &str)]| registry.sum("sunbeam_requests_total", labels);
        assert!((sum(&[("status", "207"), ("host", "a")]) - 3.0).abs() < 0.1);
        assert!((sum(&[]) - 180.0).abs() < 0.1);
        let labels = Labels { method: "GET", route: "a", status: 204, backend: "gone" };
        count(&metrics, 9, labels);
        let series = [("method", "GET"), ("host", "a"), ("status", "204"), ("backend", "gone")];
        metrics.forget("sunbeam_requests_total", &series.into_iter().collect());
        count(&metrics, 10, labels);
        assert!((sum(&[("backend", "gone")]) - 1.0).abs() < 0.1, "counted where it is seen");
    }
}
