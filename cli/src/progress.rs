// SPDX-License-Identifier: Apache-2.0
//! Progress of what takes longer than a second, on standard error: a bar on a terminal, a line every 5 seconds
//! elsewhere.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::{duration, note};

/// See the module. The bar is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    what: String,
    /// Bytes or steps; none where nobody knows.
    total: Option<u64>,
    /// Steps are not counted a second.
    is_of_steps: bool,
    begun: Instant,
    next: Instant,
    is_terminal: bool,
    bar: Option<ProgressBar>,
}

/// Nothing is shown before.
const QUIET: Duration = Duration::from_secs(1);
/// Between two pictures of the bar.
const BAR_EVERY: Duration = Duration::from_millis(100);
/// Between two lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

const BAR: &str = "[{bar:20}] {wide_msg}";
const SPINNER: &str = "{spinner} {wide_msg}";

impl Progress {
    /// Of something that begins now; `what` holds nothing that a terminal could take for a command.
    pub(crate) fn new(what: impl Into<String>, total: Option<u64>) -> Self {
        let (begun, is_terminal) = (Instant::now(), io::stderr().is_terminal());
        let next = begun + if is_terminal { QUIET } else { LINE_EVERY };
        Self { what: what.into(), total, is_of_steps: false, begun, next, is_terminal, bar: None }
    }

    /// Of so many steps that are of no size.
    pub(crate) fn of_steps(what: impl Into<String>, steps: u64) -> Self {
        let mut progress = Self::new(what, Some(steps));
        progress.is_of_steps = true;
        progress
    }

    /// Tells how far it is: bytes of the total, and how many records that came to. To be called often.
    pub(crate) fn tell(&mut self, bytes: u64, records: u64) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        let seconds = (now - self.begun).as_secs_f64();
        let records = (!self.is_of_steps).then_some(records);
        let text = line(&self.what, bytes, self.total, records, seconds);
        if !self.is_terminal {
            self.next = now + LINE_EVERY;
            note(text);
            return;
        }
        self.next = now + BAR_EVERY;
        let total = self.total;
        let bar = self.bar.get_or_insert_with(|| bar(total));
        bar.set_position(bytes);
        bar.set_message(text);
        bar.tick();
    }

    /// Since the beginning.
    pub(crate) fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    let template = if total.is_some() { BAR } else { SPINNER };
    bar.set_style(ProgressStyle::with_template(template).expect("a test reads the templates"));
    bar
}

/// `replaying access.log: 42 %, 1200000 records, 512000/s, 12s left`
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "told roughly"
)]
fn line(what: &str, bytes: u64, total: Option<u64>, records: Option<u64>, seconds: f64) -> String {
    let share = total.filter(|total| *total > 0).map(|total| (bytes as f64 / total as f64).min(1.0));
    let mut parts = Vec::new();
    if let Some(share) = share {
        parts.push(format!("{:.0} %", share * 100.0));
    }
    if let Some(records) = records {
        let rate = records as f64 / seconds.max(0.001);
        parts.push(format!("{records} records, {rate:.0}/s"));
    }
    if let Some(share) = share.filter(|share| *share > 0.0) {
        let left = seconds * (1.0 - share) / share;
        parts.push(format!("{} left", duration(left as u64)));
    }
    format!("{what}: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_share_rate_and_time_left_as_far_as_they_are_known() {
        for (bytes, total, want) in [
            (50, Some(200), "x: 25 %, 1000 records, 500/s, 6s left"),
            (300, Some(200), "x: 100 %, 1000 records, 500/s, 0s left"),
            (0, Some(200), "x: 0 %, 1000 records, 500/s"),
            (50, Some(0), "x: 1000 records, 500/s"),
            (50, None, "x: 1000 records, 500/s"),
        ] {
            assert_eq!(line("x", bytes, total, Some(1000), 2.0), want);
        }
        assert_eq!(line("x", 1, Some(4), None, 2.0), "x: 25 %, 6s left");
    }

    #[test]
    fn what_ends_at_once_shows_nothing_and_templates_are_sound() {
        let mut progress = Progress::new("x", Some(1));
        progress.tell(1, 1);
        assert!(progress.bar.is_none());
        drop(bar(Some(1)));
        drop(bar(None));
    }
}
