// SPDX-License-Identifier: Apache-2.0
//! Waiting for a condition.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Waits until `condition` gives a value, at most thirty seconds: long enough for a machine that is busy
/// with other tests.
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    eventually_within(Duration::from_secs(30), what, condition)
}

/// Waits until `condition` gives a value, at most `most`.
pub fn eventually_within<T>(most: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + most;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "did not happen within {most:?}: {what}");
        sleep(Duration::from_millis(5));
    }
}
