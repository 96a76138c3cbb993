// SPDX-License-Identifier: Apache-2.0
//! The attempts of one request: which backend is next, and whether there is a next at all.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sunbeam_routing::Backend;
use tokio::time::Instant;

use super::group::BackendGroup;
use super::health::BackendState;
use super::{Kind, Pool, UpstreamError};
use crate::context::RequestContext;

/// Times that a request is sent, or tried to be.
const ATTEMPTS_MAX: u32 = 3;

/// See the module. Of several backends, one that cannot be reached costs nobody an answer: the next one is
/// asked, as long as nothing was sent.
#[derive(Debug)]
pub(crate) struct Attempts<'a> {
    pub(super) pool: &'a Rc<Pool>,
    pub(super) context: &'a mut RequestContext,
    group: &'a BackendGroup,
    /// Without a body and idempotent.
    pub(super) may_repeat: bool,
    /// Whether the context's record names who is asked: not for auth servers.
    records: bool,
    tried: Vec<usize>,
    made: u32,
    /// No attempt begins after it.
    deadline: Instant,
}

/// A backend's turn: counts as in flight until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(super) state: Arc<BackendState>,
    seat: usize,
    pub(super) is_trial: bool,
}

impl Turn {
    /// The answer's head is there.
    pub(crate) fn succeeded(&self) {
        self.state.succeeded(self.is_trial);
    }

    /// Whose turn it is.
    pub(crate) fn backend(&self) -> &Arc<Backend> {
        &self.state.backend
    }

    /// A request goes out.
    pub(crate) fn count(&self) {
        self.state.counts.requests.inc();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.state.counts.in_flight.dec();
    }
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(
        pool: &'a Rc<Pool>,
        context: &'a mut RequestContext,
        group: &'a BackendGroup,
        may_repeat: bool,
        records: bool,
    ) -> Self {
        let connecting = Duration::from_secs(context.snapshot.config.limits.connect_timeout_secs);
        let deadline = Instant::from(context.started) + connecting.saturating_mul(ATTEMPTS_MAX);
        Self { pool, context, group, may_repeat, records, tried: Vec::new(), made: 0, deadline }
    }

    pub(crate) fn context(&self) -> &RequestContext {
        self.context
    }

    /// Who is asked now. At once, and without touching a backend, [`UpstreamError::NoBackend`] when all
    /// are left out.
    pub(crate) fn next(&mut self) -> Result<Turn, UpstreamError> {
        let (generation, client) = (self.context.snapshot.generation, self.context.client);
        let rotation = &self.pool.rotation;
        let pick = rotation.pick(generation, self.group, &self.tried, client, self.may_repeat);
        let found = pick.and_then(|pick| Some((pick, self.group.seats.get(pick.seat)?)));
        let Some((pick, seat)) = found else {
            return Err(UpstreamError::NoBackend { retry_after_secs: self.group.retry_after_secs() });
        };
        self.made = self.made.saturating_add(1);
        let state = Arc::clone(&seat.state);
        if self.records {
            self.context.backend.clear();
            self.context.backend.push_str(state.backend.url.as_str());
        }
        state.counts.in_flight.inc();
        Ok(Turn { state, seat: pick.seat, is_trial: pick.is_trial })
    }

    /// Nothing was sent (or nothing that matters): the next backend may be asked. Gives the error back when
    /// there is none, or when it has been enough.
    pub(crate) fn next_may_try(
        &mut self,
        turn: &Turn,
        error: UpstreamError,
        was_connecting: bool,
    ) -> Result<(), UpstreamError> {
        let error = self.note(turn, error, was_connecting);
        let UpstreamError::Backend { kind, .. } = &error else { return Err(error) };
        let reason = match (was_connecting, turn.is_trial) {
            (true, _) => kind.as_str(),
            (false, true) => "trial",
            (false, false) => "unsent",
        };
        self.tried.push(turn.seat);
        if !self.has_time() || !error.blames_backend() || !self.group.has_other(&self.tried) {
            return Err(error);
        }
        if !self.pool.rotation.may_retry(self.context.snapshot.generation, self.group) {
            self.context.shared.listener_metrics.limit_hits("retry_budget").inc();
            return Err(error);
        }
        self.context.shared.metrics.upstream_retries(reason).inc();
        Ok(())
    }

    /// A kept connection had died: the same backend gets a new one. Not counted against the budget, since
    /// each kept connection has earned it by an answer.
    pub(super) fn same_may_try(&mut self) -> bool {
        let may = self.has_time();
        if may {
            self.made = self.made.saturating_add(1);
            self.context.shared.metrics.upstream_retries("stale").inc();
        }
        may
    }

    /// Counts a failure and holds it against whom it was.
    pub(crate) fn note(&self, turn: &Turn, error: UpstreamError, was_connecting: bool) -> UpstreamError {
        if let UpstreamError::Backend { kind, .. } = &error {
            let url = turn.state.backend.url.as_str();
            self.context.shared.metrics.upstream_errors(url, kind.as_str()).inc();
        }
        if error.blames_backend() {
            turn.state.failed(&error, was_connecting);
        }
        error
    }

    fn has_time(&self) -> bool {
        self.made < ATTEMPTS_MAX && Instant::now() < self.deadline
    }
}

impl Kind {
    /// For a request that we could not even write.
    pub(super) fn ours(error: &http::Error) -> UpstreamError {
        UpstreamError::backend(Self::Ours, error.to_string())
    }
}
