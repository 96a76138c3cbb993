// SPDX-License-Identifier: Apache-2.0
//! `/api/v1/events`: audit records as they happen, for as long as whoever watches may.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use tokio::sync::broadcast;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::guard::{Peer, holds};
use crate::core::Core;

/// How often it is asked whether the token or the session of whoever watches still holds.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// How often a stream in which nothing happens says that it lives.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);

/// Who watches.
struct Watcher {
    core: Arc<Core>,
    headers: HeaderMap,
    peer: Peer,
    checks: Interval,
    records: broadcast::Receiver<Arc<str>>,
}

/// Audit records as they happen. A watcher that is too slow is told how many it missed. The stream ends with the session
/// or the token that opened it: it was asked for once, and may stand for days.
pub(super) async fn events(
    State(core): State<Arc<Core>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut checks = interval(CHECK_EVERY);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let records = core.shared.events.watch();
    let watcher = Watcher { core, headers, peer, checks, records };
    let stream = futures_util::stream::unfold(watcher, |mut watcher| async {
        let event = watcher.next().await?;
        Some((Ok(event), watcher))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_EVERY))
}

impl Watcher {
    /// The next one; `None`: this is the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                // However many records wait, they do not put the check off.
                biased;
                _ = self.checks.tick() => {
                    if !holds(&self.core, &self.headers, self.peer) {
                        return None;
                    }
                }
                received = self.records.recv() => return told(received),
            }
        }
    }
}

fn told(received: Result<Arc<str>, broadcast::error::RecvError>) -> Option<Event> {
    match received {
        Ok(record) => Some(Event::default().event("request").data(record)),
        Err(broadcast::error::RecvError::Lagged(missed)) => {
            Some(Event::default().event("missed").data(missed.to_string()))
        }
        Err(broadcast::error::RecvError::Closed) => None,
    }
}
