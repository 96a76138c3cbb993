// SPDX-License-Identifier: Apache-2.0
//! `loadgen closed`: as many requests as there are answers.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::client::{Fault, Pool};
use crate::tally::{Outcome, Tally};
use crate::target::{Target, TargetArguments};

/// How long one answer may take.
const MOST: Duration = Duration::from_secs(10);

/// The next request when the last is answered: what there is of capacity
#[derive(Debug, clap::Args)]
pub(crate) struct Closed {
    #[command(flatten)]
    target: TargetArguments,
    #[arg(long)]
    seconds: u64,
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
}

impl Closed {
    #[cfg(test)]
    pub(crate) const fn new(target: TargetArguments, seconds: u64, connections: usize) -> Self {
        Self { target, seconds, connections, http2: false, streams: 1, new_connections: None }
    }

    pub(crate) async fn run(self) -> Result<Outcome> {
        let target = Target::new(&self.target, self.http2)?;
        let pool = Pool::new(target, self.http2, self.connections, self.streams);
        let tally = Rc::new(RefCell::new(Tally::new()));
        pool.warm().await;
        let start = Instant::now();
        let end = start + Duration::from_secs(self.seconds);
        let every = self.new_connections.map(|every| every.max(1));
        let lanes = (0..pool.lanes())
            .map(|_| tokio::task::spawn_local(lane(Rc::clone(&pool), Rc::clone(&tally), end, every)));
        let mut requests = 0;
        for lane in lanes.collect::<Vec<_>>() {
            requests += lane.await?;
        }
        let took = start.elapsed();
        let tally = std::mem::replace(&mut *tally.borrow_mut(), Tally::new());
        Ok(tally.outcome(requests, pool.retried(), took))
    }
}

async fn lane(pool: Rc<Pool>, tally: Rc<RefCell<Tally>>, end: Instant, every: Option<u64>) -> u64 {
    let mut requests = 0;
    while Instant::now() < end {
        let fresh = every.is_some_and(|every| requests % every == 0);
        requests += 1;
        let begun = Instant::now();
        let result = tokio::time::timeout(MOST, pool.get(fresh)).await.unwrap_or(Err(Fault::Late));
        let is_refused = matches!(result, Err(Fault::Refused(_)));
        tally.borrow_mut().note(result, begun.elapsed());
        if is_refused {
            // Nobody there: asking again at once measures nothing.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    requests
}
