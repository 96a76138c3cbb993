// SPDX-License-Identifier: Apache-2.0
//! `sunbeam train-mlp-scanner` and `sunbeam train-mlp-ddos`, and what `learn` and the sweep share with them.

mod card;
mod ddos;
mod engine;
mod outcome;
mod pile;
mod scanner;
mod steps;

use std::path::PathBuf;

pub(super) use card::{Origin, Written, card, folder, origin, today, write, write_model};
pub(super) use ddos::TrainDdos;
pub(super) use engine::Engine;
pub(super) use pile::{DataSet, Pile};
pub(super) use scanner::TrainScanner;
pub(super) use steps::Steps;

use sunbeam_trainer::engine::Engine as Computes;

use crate::exit::CliError;

/// Options of both.
#[derive(Clone, Debug, clap::Args)]
struct Training {
    /// What to learn from, as `prepare-dataset` makes it
    #[arg(long, value_name = "FILE")]
    dataset: PathBuf,
    /// Where the model is written: as a file, as code, and a page about it
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,
    /// Rounds over all rows
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    epochs: u16,
    /// Neurons, 32 at most
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u8).range(1..=32))]
    hidden_dim: u8,
    /// Of everything that chance decides
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// What computes
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
}

impl Training {
    /// Everything that can be refused before anything is trained.
    fn begin(&self) -> Result<(DataSet, Computes), CliError> {
        let engine = self.engine.ready()?;
        let set = DataSet::read(&self.dataset)?;
        folder(&self.output_dir)?;
        Ok((set, engine))
    }
}
