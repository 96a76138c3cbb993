// SPDX-License-Identifier: Apache-2.0
//! Latencies of the time in which the machine was there.
//!
//! A virtual machine is stopped now and then for others on its host, ten milliseconds and more at a time: that is in
//! each p99, and neither server nor attacker did it. The kernel counts such time (`steal` in `/proc/stat`). So
//! latencies are kept by tenths of a second, and those in which some was stolen, or just before, are left out.

use std::time::Duration;

use crate::histogram::Histogram;

/// Long enough for requests to be answered in the one in which they were due.
const WINDOW: Duration = Duration::from_millis(100);

/// Latencies by the window in which their requests were due.
#[derive(Debug)]
pub(crate) struct Windows {
    latencies: Vec<Histogram>,
    /// At the begin of each window, and at the end of the last.
    stolen: Vec<u64>,
}

impl Windows {
    /// For a run of so many seconds.
    pub(crate) fn new(seconds: u32) -> Self {
        let windows = usize::try_from(seconds).unwrap_or(usize::MAX).saturating_mul(10);
        Self { latencies: vec![Histogram::new(); windows], stolen: Vec::with_capacity(windows + 1) }
    }

    /// Now is so long after the start.
    pub(crate) fn look(&mut self, elapsed: Duration) {
        let begun = window(elapsed) + 1;
        if self.stolen.len() < begun.min(self.latencies.len() + 1) {
            let stolen = stolen_ticks(&std::fs::read_to_string("/proc/stat").unwrap_or_default());
            // Windows in which nobody looked are not known to be quiet, and not quiet for this program.
            let last = self.stolen.last().copied().unwrap_or(stolen);
            let missed = begun - 1 - self.stolen.len().min(begun - 1);
            self.stolen.extend((0..missed).map(|step| last + 1 + step as u64));
            self.stolen.push(stolen.saturating_add(missed as u64));
        }
    }

    pub(crate) fn note(&mut self, due: Duration, latency: Duration) {
        if let Some(latencies) = self.latencies.get_mut(window(due)) {
            latencies.record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// All latencies of undisturbed windows, and the middle one of their 99 %: a host that wakes a processor late
    /// now and then is in each p99 of a second, whoever is served meanwhile.
    pub(crate) fn undisturbed(&self) -> (Histogram, u64) {
        let mut all = Histogram::new();
        let mut p99s = Vec::new();
        let is_quiet = |window: usize| {
            let stolen = self.stolen.get(window).zip(self.stolen.get(window + 1));
            stolen.is_some_and(|(before, after)| before == after)
        };
        for (window, latencies) in self.latencies.iter().enumerate() {
            // What was held up in the one before is worked off in this one.
            if is_quiet(window) && window.checked_sub(1).is_none_or(is_quiet) {
                all.add(latencies);
                p99s.push(latencies.per_mille(990));
            }
        }
        p99s.sort_unstable();
        (all, p99s.get(p99s.len() / 2).copied().unwrap_or(0))
    }
}

fn window(elapsed: Duration) -> usize {
    usize::try_from(elapsed.as_millis() / WINDOW.as_millis()).unwrap_or(usize::MAX)
}

/// The eighth number of the line of all processors (proc_stat(5)).
fn stolen_ticks(stat: &str) -> u64 {
    let line = stat.lines().next().unwrap_or_default();
    line.split_ascii_whitespace().nth(8).and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_with_stolen_time_and_those_behind_them_are_left_out() {
        let mut windows = Windows::new(1);
        windows.stolen = vec![5, 5, 5, 7, 7, 7, 7, 7, 7, 7];
        for window in 0..10_u64 {
            windows.note(Duration::from_millis(window * 100 + 50), Duration::from_micros(window + 1));
        }
        let (all, typical) = windows.undisturbed();
        // 2 was disturbed, 3 came behind it, and nobody saw the end of 9.
        assert_eq!((all.count(), all.max(), typical), (7, 9, 6));
    }

    #[test]
    fn a_window_that_nobody_looked_at_is_not_quiet() {
        let mut windows = Windows::new(1);
        windows.look(Duration::from_millis(1));
        windows.look(Duration::from_millis(420));
        assert_eq!(windows.stolen.len(), 5);
        windows.note(Duration::from_millis(250), Duration::from_micros(1));
        assert_eq!(windows.undisturbed().0.count(), 0);
    }

    #[test]
    fn the_kernels_count_is_read() {
        assert_eq!(stolen_ticks("cpu  1 2 3 4 5 6 7 88 9 10\ncpu0 1 1 1 1 1 1 1 1 1 1\n"), 88);
        assert_eq!(stolen_ticks(""), 0);
    }
}
