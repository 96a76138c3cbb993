// SPDX-License-Identifier: Apache-2.0
//! `loadgen open`: requests at fixed times.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::Semaphore;

use crate::client::{Fault, Pool};
use crate::schedule::{Schedule, Ticker};
use crate::tally::{Outcome, Tally};
use crate::target::{Target, TargetArguments};
use crate::undisturbed::Windows;

/// Requests at a fixed rate, whatever the answers do
///
/// Each request is due at a fixed time, and its latency counts from then: a server that stalls is told of by
/// every request that it kept waiting, not by one.
#[derive(Debug, clap::Args)]
pub(crate) struct Open {
    #[command(flatten)]
    target: TargetArguments,
    /// Requests a second
    #[arg(long)]
    rate: u32,
    #[arg(long)]
    seconds: u32,
    /// Connections that are kept
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// HTTP/2 over TLS
    #[arg(long)]
    http2: bool,
    /// Streams at the same time on an HTTP/2 connection
    #[arg(long, default_value_t = 10)]
    streams: usize,
    /// A connection of its own for every request, or for every Nth
    #[arg(long, num_args = 0..=1, default_missing_value = "1", value_name = "N")]
    new_connections: Option<u64>,
    /// When a request counts as lost
    #[arg(long, default_value_t = 10)]
    timeout_secs: u64,
}

impl Open {
    pub(crate) async fn run(self) -> Result<Outcome> {
        let schedule = Schedule::new(self.rate, self.seconds)?;
        let target = Target::new(&self.target, self.http2)?;
        let pool = Pool::new(target, self.http2, self.connections, self.streams);
        let places = Rc::new(Semaphore::new(pool.lanes()));
        let most = Duration::from_secs(self.timeout_secs);
        let tally = Rc::new(RefCell::new(Tally::new()));
        let windows = Rc::new(RefCell::new(Windows::new(self.seconds)));
        let mut ticker = Ticker::new()?;
        pool.warm().await;
        let start = Instant::now();
        let mut begun = 0;
        while begun < schedule.total() {
            ticker.until(start + schedule.due(begun)).await?;
            windows.borrow_mut().look(start.elapsed());
            let due_by_now = schedule.due_by(start.elapsed());
            for index in begun..due_by_now {
                let fresh = self.new_connections.is_some_and(|every| index.is_multiple_of(every.max(1)));
                let (pool, places, tally) = (Rc::clone(&pool), Rc::clone(&places), Rc::clone(&tally));
                let (windows, after) = (Rc::clone(&windows), schedule.due(index));
                let due = start + after;
                tokio::task::spawn_local(async move {
                    let result =
                        tokio::time::timeout_at((due + most).into(), one(&pool, &places, fresh)).await;
                    let (result, latency) = (result.unwrap_or(Err(Fault::Late)), due.elapsed());
                    if matches!(result, Ok(200..=299)) {
                        windows.borrow_mut().note(after, latency);
                    }
                    tally.borrow_mut().note(result, latency);
                });
            }
            begun = begun.max(due_by_now);
        }
        let took = start.elapsed();
        // Each task holds a handle; the last one goes within the time that a request has.
        while Rc::strong_count(&tally) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let tally = std::mem::replace(&mut *tally.borrow_mut(), Tally::new());
        let undisturbed = windows.borrow().undisturbed();
        Ok(tally.outcome(schedule.total(), pool.retried(), took).with_undisturbed(&undisturbed))
    }
}

/// What waits for a place waits on its own account: it was due.
async fn one(pool: &Pool, places: &Semaphore, fresh: bool) -> Result<u16, Fault> {
    if fresh {
        return pool.get(true).await;
    }
    let Ok(_place) = places.acquire().await else { return Err(Fault::Late) };
    pool.get(false).await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread;

    use http::Response;
    use http_body_util::Full;
    use sunbeam_testkit::TestUpstream;

    use super::*;
    use crate::closed::Closed;
    use crate::target::tests::arguments;

    fn open(url: &str, rate: u32) -> Open {
        Open {
            target: arguments(url),
            rate,
            seconds: 1,
            connections: 4,
            http2: false,
            streams: 1,
            new_connections: None,
            timeout_secs: 30,
        }
    }

    #[test]
    fn an_open_and_a_closed_loop_count_what_the_backend_saw() {
        let upstream = TestUpstream::echo();
        let mut some_new = open(&upstream.url(), 200);
        some_new.new_connections = Some(4);
        let outcome = crate::on_one_thread(some_new.run()).unwrap();
        assert_eq!((outcome.requests, outcome.ok), (200, 200), "{outcome}");
        assert!(outcome.p50_us > 0 && outcome.p50_us <= outcome.p99_us && outcome.p99_us <= outcome.max_us);
        assert_eq!(upstream.seen().len(), 200);

        let closed = Closed::new(arguments(&upstream.url()), 1, 2);
        let outcome = crate::on_one_thread(closed.run()).unwrap();
        assert!(outcome.ok > 0 && outcome.ok == outcome.requests, "{outcome}");
        let seen = upstream.seen().len() - 200;
        assert!(seen >= usize::try_from(outcome.ok).unwrap(), "{seen} against {outcome}");
    }

    #[test]
    fn a_stall_is_told_of_by_all_that_were_due_in_it() {
        // The first answer takes half a second, with one connection: half of the second's requests wait.
        let first = Mutex::new(true);
        let upstream = TestUpstream::with(move |_| {
            if std::mem::take(&mut *first.lock().unwrap()) {
                thread::sleep(Duration::from_millis(500));
            }
            Response::new(Full::from("late"))
        });
        let mut narrow = open(&upstream.url(), 200);
        narrow.connections = 1;
        let outcome = crate::on_one_thread(narrow.run()).unwrap();
        assert_eq!(outcome.ok, 200, "{outcome}");
        // A closed loop would have seen one slow request in 200: its p90 would be below a millisecond.
        assert!(outcome.p90_us > 300_000, "{outcome}");
    }

    #[test]
    fn a_closed_port_is_refused_and_other_statuses_are_no_success() {
        let outcome = crate::on_one_thread(open("http://127.0.0.1:1/", 20).run()).unwrap();
        assert_eq!((outcome.ok, outcome.refused), (0, 20), "{outcome}");
        let upstream = TestUpstream::with(|_| {
            let mut response = Response::new(Full::default());
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            response
        });
        let outcome = crate::on_one_thread(open(&upstream.url(), 20).run()).unwrap();
        assert_eq!((outcome.ok, outcome.statuses.get(&503)), (0, Some(&20)), "{outcome}");
    }
}
