// SPDX-License-Identifier: Apache-2.0
//! `loadgen hold`: connections that wait.

use std::fmt;
use std::rc::Rc;

use anyhow::Result;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::client::{Sender, connect, get};
use crate::target::{Target, TargetArguments};

/// Handshakes at the same time.
const AT_ONCE: usize = 32;

/// Opens connections, makes one request on each, and keeps them until its standard input ends
///
/// Prints `held N` when all that can be had are there.
#[derive(Debug, clap::Args)]
pub(crate) struct Hold {
    #[command(flatten)]
    target: TargetArguments,
    #[arg(long)]
    connections: usize,
    /// HTTP/2 over TLS
    #[arg(long)]
    http2: bool,
}

/// What was there at the end.
#[derive(Debug, Serialize)]
pub(crate) struct Held {
    opened: usize,
    refused: usize,
    first_fault: Option<String>,
    /// Still open when the input ended.
    alive: usize,
}

impl Hold {
    pub(crate) async fn run(self) -> Result<Held> {
        let target = Rc::new(Target::new(&self.target, self.http2)?);
        let places = Rc::new(Semaphore::new(AT_ONCE));
        let mut tasks = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            let place = Rc::clone(&places);
            let (target, http2) = (Rc::clone(&target), self.http2);
            tasks.push(tokio::task::spawn_local(async move {
                let _place = place.acquire().await.ok();
                let mut sender = connect(&target, http2).await?;
                get(&target, &mut sender).await?;
                Ok::<_, crate::client::Fault>(sender)
            }));
        }
        let mut held = Vec::with_capacity(self.connections);
        let mut faults = Vec::new();
        for task in tasks {
            match task.await? {
                Ok(sender) => held.push(sender),
                Err(fault) => faults.push(fault.to_string()),
            }
        }
        println!("held {}", held.len());
        // Whoever started this ends it by closing the pipe.
        let ended =
            tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        drop(ended.await);
        let alive = held.iter().filter(|sender| !is_closed(sender)).count();
        let (opened, refused) = (held.len(), faults.len());
        Ok(Held { opened, refused, first_fault: faults.into_iter().next(), alive })
    }
}

fn is_closed(sender: &Sender) -> bool {
    match sender {
        Sender::Http1(sender) => sender.is_closed(),
        Sender::Http2(sender) => sender.is_closed(),
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { opened, refused, alive, .. } = self;
        write!(f, "opened {opened}, refused {refused}, alive at the end {alive}")
    }
}
