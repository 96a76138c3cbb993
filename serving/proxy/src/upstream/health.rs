// SPDX-License-Identifier: Apache-2.0
//! What all threads know of a backend: requests in flight, failures in a row, whether it is left out.
//!
//! Two things leave a backend out. Failed requests do (passive), if it stands in a list with others: until
//! one trial request succeeds, which is let through after a pause that doubles. Failed checks do (active),
//! where `[routes.health] path` is set: until enough of them are good again. Atomics only: nothing waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use sunbeam_metrics::{IntCounter, IntGauge};
use sunbeam_routing::{Backend, Health};
use tracing::{info, warn};

use super::{Kind, UpstreamError};
use crate::metrics::ProxyMetrics;

/// Until the first trial of a backend that is left out; doubles with each trial that fails.
const PAUSE_FIRST: Duration = Duration::from_secs(1);

/// The longest pause between two trials.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A trial goes wrong for somebody, so it takes a request that may be sent elsewhere then. Where none
/// comes for so long, any request may be the trial: else a backend that only gets uploads never came back.
const OVERDUE: Duration = Duration::from_secs(10);

/// A backend as one health policy sees it. Survives reloads that leave both alone.
#[derive(Debug)]
pub(crate) struct BackendState {
    pub(crate) backend: Arc<Backend>,
    pub(crate) health: Health,
    pub(crate) counts: Arc<BackendCounts>,
    clock: Instant,
    /// Whether failed requests may leave it out: it has company.
    has_company: AtomicBool,
    failures: AtomicU32,
    /// Milliseconds of `clock` from which a trial may come; 0: it is not left out by failed requests.
    trial_at: AtomicU64,
    trials: AtomicU32,
    /// Failed to connect when it was left out. Nothing that a client asks can bring that about.
    unreachable: AtomicBool,
    /// Left out by its check.
    check_failed: AtomicBool,
    next_check_at: AtomicU64,
    last_error: ArcSwapOption<String>,
}

/// The metrics of a backend's URL, held so that a request need not look them up.
#[derive(Debug)]
pub(crate) struct BackendCounts {
    pub(crate) requests: IntCounter,
    pub(crate) in_flight: IntGauge,
    up: IntGauge,
    /// Health policies that leave it out now.
    outs: AtomicI64,
}

impl BackendCounts {
    pub(crate) fn new(metrics: &ProxyMetrics, url: &str) -> Self {
        let counts = Self {
            requests: metrics.upstream_requests(url),
            in_flight: metrics.upstream_in_flight(url),
            up: metrics.backend_up(url),
            outs: AtomicI64::new(0),
        };
        counts.up.set(1);
        counts
    }

    fn changed(&self, by: i64) {
        let outs = self.outs.fetch_add(by, Ordering::Relaxed).saturating_add(by);
        self.up.set(i64::from(outs <= 0));
    }
}

impl BackendState {
    pub(crate) fn new(backend: Arc<Backend>, health: Health, counts: Arc<BackendCounts>) -> Self {
        Self {
            backend,
            health,
            counts,
            clock: Instant::now(),
            has_company: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            trial_at: AtomicU64::new(0),
            trials: AtomicU32::new(0),
            unreachable: AtomicBool::new(false),
            check_failed: AtomicBool::new(false),
            next_check_at: AtomicU64::new(0),
            last_error: ArcSwapOption::empty(),
        }
    }

    /// Whether it stands in a list with others. Alone it is never left out by failed requests: nothing
    /// would be gained.
    pub(crate) fn set_company(&self, has_company: bool) {
        self.has_company.store(has_company, Ordering::Relaxed);
        if !has_company {
            self.end_pause();
        }
    }

    /// Whether requests go to it.
    pub(crate) fn is_in(&self) -> bool {
        self.trial_at.load(Ordering::Relaxed) == 0 && !self.fails_its_check()
    }

    pub(crate) fn fails_its_check(&self) -> bool {
        self.check_failed.load(Ordering::Relaxed)
    }

    /// Whether it is left out for answers that did not come, which a client can bring about by what it
    /// asks, and not because nobody is there.
    pub(crate) fn is_reachable(&self) -> bool {
        !self.unreachable.load(Ordering::Relaxed) && !self.fails_its_check()
    }

    /// Takes the trial that is due, for one request. A trial of which nothing is heard leaves the next
    /// one where it is: a pause away.
    pub(crate) fn claim_trial(&self, any_request: bool) -> bool {
        let due = self.trial_at.load(Ordering::Relaxed);
        if due == 0 || self.fails_its_check() {
            return false;
        }
        let now = self.now();
        if now < due || (!any_request && now < due.saturating_add(millis(OVERDUE))) {
            return false;
        }
        let next = now.saturating_add(millis(self.pause()));
        let claimed = self.trial_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if claimed {
            self.trials.fetch_add(1, Ordering::Relaxed);
        }
        claimed
    }

    /// How long until it may be back.
    pub(crate) fn comes_back_in(&self) -> Duration {
        let at = if self.fails_its_check() {
            self.next_check_at.load(Ordering::Relaxed)
        } else {
            self.trial_at.load(Ordering::Relaxed)
        };
        Duration::from_millis(at.saturating_sub(self.now()))
    }

    /// A request was answered.
    pub(crate) fn succeeded(&self, is_trial: bool) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if is_trial && self.end_pause() {
            info!(backend = self.backend.url.as_str(), "backend is back: it answered a request");
        }
    }

    /// A request was not, and the backend is to blame.
    pub(crate) fn failed(&self, error: &UpstreamError, was_connecting: bool) {
        self.last_error.store(Some(Arc::new(error.to_string())));
        if !self.has_company.load(Ordering::Relaxed) {
            return;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if self.trial_at.load(Ordering::Relaxed) != 0 {
            self.unreachable.store(was_connecting, Ordering::Relaxed);
            return;
        }
        if failures < self.health.unhealthy_after {
            return;
        }
        self.unreachable.store(was_connecting, Ordering::Relaxed);
        self.trials.store(1, Ordering::Relaxed);
        let until = self.now().saturating_add(millis(PAUSE_FIRST));
        if self.trial_at.compare_exchange(0, until, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.counts.changed(1);
            warn!(backend = self.backend.url.as_str(), failures, %error, "backend is left out: requests failed");
        }
    }

    /// The check says that it is not healthy.
    pub(crate) fn check_fails(&self, why: &str) {
        self.last_error.store(Some(Arc::new(format!("check: {why}"))));
        if !self.check_failed.swap(true, Ordering::Relaxed) {
            self.counts.changed(1);
            warn!(backend = self.backend.url.as_str(), why, "backend is left out: its check failed");
        }
    }

    /// The check says that it is healthy, often enough: whatever left it out.
    pub(crate) fn check_passes(&self) {
        self.failures.store(0, Ordering::Relaxed);
        let was_paused = self.end_pause();
        let did_fail = self.check_failed.swap(false, Ordering::Relaxed);
        if did_fail {
            self.counts.changed(-1);
        }
        if was_paused || did_fail {
            info!(backend = self.backend.url.as_str(), "backend is back: its check is good");
        }
    }

    pub(crate) fn note_check_error(&self, why: &str) {
        self.last_error.store(Some(Arc::new(format!("check: {why}"))));
    }

    pub(crate) fn set_next_check(&self, wait: Duration) {
        self.next_check_at.store(self.now().saturating_add(millis(wait)), Ordering::Relaxed);
    }

    /// For people: one word, and what went wrong last.
    pub(crate) fn standing(&self) -> (&'static str, Option<Arc<String>>) {
        let word = match (self.fails_its_check(), self.trial_at.load(Ordering::Relaxed)) {
            (true, _) => "check failed",
            (false, 0) => "up",
            (false, _) => "left out",
        };
        (word, self.last_error.load_full())
    }

    fn end_pause(&self) -> bool {
        self.failures.store(0, Ordering::Relaxed);
        let was_out = self.trial_at.swap(0, Ordering::Relaxed) != 0;
        if was_out {
            self.counts.changed(-1);
        }
        was_out
    }

    fn pause(&self) -> Duration {
        let doublings = self.trials.load(Ordering::Relaxed).min(6);
        PAUSE_FIRST.saturating_mul(1 << doublings).min(PAUSE_MAX)
    }

    /// Never 0, which means "not left out".
    fn now(&self) -> u64 {
        millis(self.clock.elapsed()).saturating_add(1)
    }
}

impl Drop for BackendState {
    /// A policy that is gone leaves nobody out.
    fn drop(&mut self) {
        let outs = i64::from(*self.check_failed.get_mut()) + i64::from(*self.trial_at.get_mut() != 0);
        if outs != 0 {
            self.counts.changed(-outs);
        }
    }
}

impl UpstreamError {
    /// Whether the backend is to blame, and not the client or we.
    pub(super) const fn blames_backend(&self) -> bool {
        matches!(self, Self::Backend { kind, .. } if !matches!(kind, Kind::Ours))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use sunbeam_metrics::Registry;
    use sunbeam_routing::Http2Mode;

    use super::*;

    fn state(unhealthy_after: u32) -> (BackendState, ProxyMetrics) {
        let metrics = ProxyMetrics::register(&Registry::new());
        let backend = Backend {
            url: "http://a:1".parse().unwrap(),
            http2: Http2Mode::Never,
            ca_path: String::new(),
            verify: true,
        };
        let counts = Arc::new(BackendCounts::new(&metrics, "http://a:1"));
        let health = Health { check: None, unhealthy_after };
        let state = BackendState::new(Arc::new(backend), health, counts);
        state.set_company(true);
        (state, metrics)
    }

    fn refused() -> UpstreamError {
        UpstreamError::backend(Kind::Connect, "refused")
    }

    /// As if so long had passed.
    fn pass(state: &mut BackendState, duration: Duration) {
        state.clock -= duration;
    }

    #[test]
    fn failures_in_a_row_leave_it_out_and_a_trial_brings_it_back() {
        let (mut state, metrics) = state(3);
        for _ in 0..5 {
            state.failed(&refused(), true);
            state.failed(&refused(), true);
            state.succeeded(false);
        }
        assert!(state.is_in(), "never three in a row");
        for _ in 0..3 {
            state.failed(&refused(), true);
        }
        assert!(!state.is_in() && !state.is_reachable());
        assert_eq!(metrics.backend_up("http://a:1").get(), 0);
        assert!(!state.claim_trial(true), "not yet");
        state.succeeded(false);
        assert!(!state.is_in(), "an answer to an earlier request proves nothing");
        pass(&mut state, PAUSE_FIRST);
        assert!(state.claim_trial(true) && !state.claim_trial(true), "one");
        state.succeeded(true);
        assert!(state.is_in());
        assert_eq!(metrics.backend_up("http://a:1").get(), 1);
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let (mut state, _) = state(1);
        state.failed(&refused(), true);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let wait = state.comes_back_in();
            pauses.push(wait.as_millis().div_ceil(1000));
            pass(&mut state, wait);
            assert!(state.claim_trial(true));
            state.failed(&refused(), true);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_request_that_cannot_be_repeated_is_a_trial_only_when_no_other_came() {
        let (mut state, _) = state(1);
        state.failed(&refused(), true);
        pass(&mut state, PAUSE_FIRST);
        assert!(!state.claim_trial(false));
        pass(&mut state, OVERDUE);
        assert!(state.claim_trial(false));
    }

    #[test]
    fn alone_it_is_never_left_out_by_failed_requests() {
        let (state, metrics) = state(1);
        state.set_company(false);
        state.failed(&refused(), true);
        assert!(state.is_in());
        state.set_company(true);
        state.failed(&refused(), true);
        assert!(!state.is_in());
        state.set_company(false);
        assert!(state.is_in());
        assert_eq!(metrics.backend_up("http://a:1").get(), 1);
    }

    #[test]
    fn the_check_leaves_it_out_and_brings_it_back_whatever_left_it_out() {
        let (mut state, metrics) = state(1);
        state.check_fails("answered 503");
        state.failed(&refused(), true);
        pass(&mut state, PAUSE_MAX);
        assert!(!state.is_in() && !state.claim_trial(true), "the check decides");
        assert_eq!(state.standing().0, "check failed");
        state.check_passes();
        assert!(state.is_in());
        assert_eq!(metrics.backend_up("http://a:1").get(), 1);
        state.check_fails("answered 503");
        assert_eq!(metrics.backend_up("http://a:1").get(), 0);
        drop(state);
        assert_eq!(metrics.backend_up("http://a:1").get(), 1, "a policy that is gone leaves nobody out");
    }

    #[test]
    fn what_the_client_or_we_did_is_not_held_against_it() {
        use crate::body::BodyFault;
        assert!(refused().blames_backend());
        assert!(!UpstreamError::Client { fault: BodyFault::Broken }.blames_backend());
        assert!(!UpstreamError::backend(Kind::Ours, "not a path").blames_backend());
    }
}
