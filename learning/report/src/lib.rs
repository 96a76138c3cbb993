// SPDX-License-Identifier: Apache-2.0
//! What an evaluation says, and the page that shows it: statistics of scored samples and one HTML file that opens
//! offline. Pure: no files, no clock; the same report gives the same bytes.

pub mod measures;
mod page;
mod report;

pub use page::html;
pub use report::{
    Aim, Change, ComparisonRow, DriftRow, Evaluation, HeuristicRow, Report, RobustnessRow, SourceLabel,
    SourceRow, Table, Verdict,
};
