// SPDX-License-Identifier: Apache-2.0
//! The macro that declares a crate's metrics.

/// Declares metrics; a row is `field: Kind["name", label, …]`, a histogram's ends in `; buckets`.
///
/// ```
/// sunbeam_metrics::declare_metrics! {
///     /// What the door counts.
///     pub struct DoorMetrics {
///         /// Requests answered.
///         requests: Counter["door_requests_total", method],
///         /// Time taken.
///         seconds: Histogram["door_seconds"; sunbeam_metrics::OWN_SECONDS],
///     }
/// }
/// let registry = sunbeam_metrics::Registry::new();
/// let metrics = DoorMetrics::register(&registry);
/// metrics.requests("GET").inc();
/// assert!(registry.render(false).contains("door_requests_total{method=\"GET\"} 1"));
/// ```
#[macro_export]
macro_rules! declare_metrics {
    (
        $(#[doc = $doc:literal])*
        pub struct $name:ident {
            $(
                $(#[doc = $help:literal])*
                $field:ident: $kind:ident[$metric:literal $(, $label:ident)* $(; $buckets:expr)?]
            ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            $( $field: $crate::declare_metrics!(@of $kind $(, $label)*), )*
        }

        impl $name {
            /// The rows, for the reference page.
            pub const TABLE: &'static [$crate::MetricDoc] = &[$(
                $crate::MetricDoc {
                    name: $metric,
                    kind: $crate::declare_metrics!(@word $kind),
                    labels: &[$(stringify!($label)),*],
                    help: concat!($($help),*),
                },
            )*];

            /// Makes the metrics and adds them to `registry`.
            pub fn register(registry: &$crate::Registry) -> Self {
                $(
                    let labels: &[&str] = &[$(stringify!($label)),*];
                    let $field = $crate::declare_metrics!(
                        @new $kind, $metric, concat!($($help),*), labels $(, $buckets)?
                    );
                    registry.add(Box::new($field.clone()));
                    // A metric without labels is there from the start, at zero, and is not looked up again.
                    let $field = $crate::declare_metrics!(@one_of $field $(, $label)*);
                )*
                Self { $($field),* }
            }

            /// Drops the series of `metric` that has these labels, if there is one.
            #[allow(dead_code, reason = "most metrics have labels that stay")]
            pub fn forget(&self, metric: &str, labels: &std::collections::HashMap<&str, &str>) {
                match metric {
                    // An error says that there is none: then nothing is to be done.
                    $( $metric => $crate::declare_metrics!(@forget self.$field, labels $(, $label)*), )*
                    _ => {}
                }
            }

            $(
                $(#[doc = $help])*
                pub fn $field(&self $(, $label: &str)*) -> $crate::declare_metrics!(@one $kind) {
                    $crate::declare_metrics!(@get self.$field $(, $label)*)
                }
            )*
        }
    };
    (@of $kind:ident) => { $crate::declare_metrics!(@one $kind) };
    (@of Counter, $($label:ident),+) => { $crate::__prometheus::IntCounterVec };
    (@of Gauge, $($label:ident),+) => { $crate::__prometheus::IntGaugeVec };
    (@of FloatGauge, $($label:ident),+) => { $crate::__prometheus::GaugeVec };
    (@of Histogram, $($label:ident),+) => { $crate::__prometheus::HistogramVec };
    (@one_of $vec:ident) => { $vec.with_label_values::<&str>(&[]) };
    (@one_of $vec:ident, $($label:ident),+) => { $vec };
    (@get $field:expr) => { $field.clone() };
    (@get $field:expr, $($label:ident),+) => { $field.with_label_values(&[$($label),+]) };
    (@forget $field:expr, $labels:ident) => {{
        let _ = $labels;
    }};
    (@forget $field:expr, $labels:ident, $($label:ident),+) => { drop($field.remove($labels)) };
    (@one Counter) => { $crate::IntCounter };
    (@one Gauge) => { $crate::IntGauge };
    (@one FloatGauge) => { $crate::FloatGauge };
    (@one Histogram) => { $crate::Histogram };
    (@word Counter) => { "counter" };
    (@word Gauge) => { "gauge" };
    (@word FloatGauge) => { "gauge" };
    (@word Histogram) => { "histogram" };
    (@new Counter, $metric:expr, $help:expr, $labels:expr) => {
        $crate::__prometheus::IntCounterVec::new(
            $crate::__prometheus::Opts::new($metric, $help.trim()), $labels,
        ).expect("the metric's name and labels are well-formed")
    };
    (@new Gauge, $metric:expr, $help:expr, $labels:expr) => {
        $crate::__prometheus::IntGaugeVec::new(
            $crate::__prometheus::Opts::new($metric, $help.trim()), $labels,
        ).expect("the metric's name and labels are well-formed")
    };
    (@new FloatGauge, $metric:expr, $help:expr, $labels:expr) => {
        $crate::__prometheus::GaugeVec::new(
            $crate::__prometheus::Opts::new($metric, $help.trim()), $labels,
        ).expect("the metric's name and labels are well-formed")
    };
    (@new Histogram, $metric:expr, $help:expr, $labels:expr, $buckets:expr) => {
        $crate::__prometheus::HistogramVec::new(
            $crate::__prometheus::HistogramOpts::new($metric, $help.trim()).buckets($buckets.to_vec()), $labels,
        ).expect("the metric's name, labels and buckets are well-formed")
    };
}
