// SPDX-License-Identifier: Apache-2.0
//! `loadgen`: the traffic behind the project's own figures. A development tool: it speaks to this host
//! only and verifies no certificate.
#![expect(clippy::print_stdout, reason = "a command line tool")]

mod attack;
mod backend;
mod churn;
mod client;
mod closed;
mod histogram;
mod hold;
mod open;
mod schedule;
mod tally;
mod target;
mod undisturbed;

use std::fmt::Display;
use std::future::Future;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use serde::Serialize;

/// Load and attacks for a node on this host.
#[derive(Debug, Parser)]
#[command(name = "loadgen")]
struct Arguments {
    /// Print one line of JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Open(open::Open),
    Closed(closed::Closed),
    Hold(hold::Hold),
    Churn(churn::Churn),
    Attack(attack::Attack),
    Backend(backend::Backend),
}

fn main() -> Result<()> {
    let Arguments { json, command } = Arguments::parse();
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        anyhow::bail!("another TLS provider was installed before");
    }
    match command {
        Command::Open(open) => report(json, &on_one_thread(open.run())?),
        Command::Closed(closed) => report(json, &on_one_thread(closed.run())?),
        Command::Hold(hold) => report(json, &on_one_thread(hold.run())?),
        Command::Churn(churn) => report(json, &on_one_thread(churn.run())?),
        Command::Attack(attack) => report(json, &on_one_thread(attack.run())?),
        Command::Backend(backend) => on_one_thread(backend.run()),
    }
}

/// One thread: what a figure says of a core is then said of one core.
fn on_one_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
    let result = tokio::task::LocalSet::new().block_on(&runtime, work);
    // Connections that are still open are of no more interest.
    runtime.shutdown_background();
    result
}

fn report<T: Serialize + Display>(json: bool, outcome: &T) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(outcome)?);
    } else {
        println!("{outcome}");
    }
    Ok(())
}
