// SPDX-License-Identifier: Apache-2.0
//! Clients of our own: what each does is an async function, and all of a run do theirs at the same time.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::CROWD;
use super::chance::Chance;
use super::client::Client;
use super::node::Node;

/// One who asks.
#[derive(Debug)]
pub(super) struct Actor {
    /// Unique in its run.
    pub(super) name: &'static str,
    pub(super) act: Act,
}

pub(super) type Act = fn(Client, Chance) -> Doing;

/// What an actor does, to its end.
pub(super) type Doing = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// All actors at once, each from its own address; the address and the name of each.
pub(super) fn act(node: &Node, actors: &[Actor], most: Duration) -> Result<Vec<(String, String)>> {
    let addresses = (1..=u8::MAX).map(|last| IpAddr::from(Ipv4Addr::new(127, 0, 1, last)));
    let cast: Vec<_> = actors.iter().zip(addresses).collect();
    perform(node, 1, cast.iter().copied(), most)?;
    Ok(cast.iter().map(|(actor, address)| (address.to_string(), actor.name.to_owned())).collect())
}

/// So many at once, taking the actors in turn, all from one address: a session of its own.
pub(super) fn act_together(
    node: &Node,
    actors: &[Actor],
    count: usize,
    most: Duration,
) -> Result<Vec<(String, String)>> {
    let address = IpAddr::from(Ipv4Addr::new(127, 0, 2, 1));
    perform(node, 1, actors.iter().cycle().take(count).map(|actor| (actor, address)), most)?;
    Ok(vec![(address.to_string(), "all".to_owned())])
}

/// A crowd: chance goes on for each where it left off in the crowd before.
pub(super) fn act_as_crowd(
    node: &Node,
    lists: &[&[Actor]],
    number: u8,
    most: Duration,
) -> Result<Vec<(String, String)>> {
    let addresses = (1..=CROWD).map(|last| IpAddr::from(Ipv4Addr::new(127, 1, number, last)));
    let cast: Vec<_> = lists.iter().copied().flatten().cycle().zip(addresses).collect();
    perform(node, 1 + u64::from(number) * u64::from(CROWD), cast.iter().copied(), most)?;
    Ok(cast.iter().map(|(actor, address)| (address.to_string(), actor.name.to_owned())).collect())
}

fn perform<'a>(
    node: &Node,
    seed: u64,
    cast: impl Iterator<Item = (&'a Actor, IpAddr)>,
    most: Duration,
) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut acting = JoinSet::new();
        for (seed, (actor, address)) in (seed..).zip(cast) {
            let client = Client::new(address, node.address());
            acting.spawn(timeout(most, (actor.act)(client, Chance::new(seed))));
        }
        while let Some(ended) = acting.join_next().await {
            // Who is not done when the time is up has done enough.
            if let Ok(ended) = ended.context("an actor panicked")? {
                ended?;
            }
        }
        Ok(())
    })
}
