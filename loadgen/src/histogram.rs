// SPDX-License-Identifier: Apache-2.0
//! Latencies, counted in buckets whose width grows with the value.

/// Buckets in each doubling: a percentile is at most 1/64 too high.
const STEPS: u64 = 64;

/// Microseconds. Exact below [`STEPS`]; above, a percentile is the upper edge of its bucket, so never too
/// low, and at most 1.6 % too high. Takes 30 KiB whatever it holds.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; bucket(u64::MAX) + 1], count: 0, max: 0 }
    }

    pub(crate) fn record(&mut self, micros: u64) {
        if let Some(bucket) = self.buckets.get_mut(bucket(micros)) {
            *bucket += 1;
        }
        self.count += 1;
        self.max = self.max.max(micros);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    pub(crate) const fn max(&self) -> u64 {
        self.max
    }

    /// The value that so many of a thousand do not exceed; 0 where nothing was recorded.
    pub(crate) fn per_mille(&self, part: u64) -> u64 {
        let wanted = (self.count * part).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_edge(index).min(self.max);
            }
        }
        self.max
    }
}

fn bucket(value: u64) -> usize {
    let doublings = u64::from((value / STEPS).checked_ilog2().map_or(0, |power| power + 1));
    let shift = doublings.saturating_sub(1);
    let index = shift * STEPS + (value >> shift);
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn upper_edge(index: usize) -> u64 {
    let index = u64::try_from(index).unwrap_or(u64::MAX);
    if index < 2 * STEPS {
        return index;
    }
    let shift = index / STEPS - 1;
    let low = u128::from(index % STEPS + STEPS) << shift;
    u64::try_from(low + (1 << shift) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_of_known_values() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.per_mille(990), 0, "nothing recorded");
        for micros in 1..=1000 {
            histogram.record(micros);
        }
        for (name, part, low, high) in [
            ("p50", 500, 500, 508),
            ("p99", 990, 990, 1000),
            ("p99.9", 999, 999, 1000),
            ("max", 1000, 1000, 1000),
        ] {
            let value = histogram.per_mille(part);
            assert!((low..=high).contains(&value), "{name}: {value}");
        }
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_values_and_is_narrow(value in any::<u64>()) {
            let edge = upper_edge(bucket(value));
            prop_assert!(edge >= value);
            prop_assert!(edge - value <= value / STEPS, "{value} is told as {edge}");
            if value > 0 {
                prop_assert!(bucket(value - 1) <= bucket(value));
            }
        }
    }
}
