// SPDX-License-Identifier: Apache-2.0
//! What models learn from: records of requests out of logs and corpora, as they came, with what is known of them.
//!
//! A file goes through here in this order: [`sources`] read it, [`in_order`] puts a log in the order of its time,
//! [`heuristics`] label what nobody labelled, [`clean`] takes the copies out, [`container`] keeps what is left,
//! and [`split`] parts it for training and refuses what would leak.

pub mod clean;
pub mod container;
mod hash;
pub mod heuristics;
mod order;
mod record;
pub mod sources;
pub mod split;
#[cfg(test)]
mod testing;

pub use hash::{bytes_key, request_key};
pub use order::{OrderReport, in_order};
pub use record::{BodyKind, Label, LabelSource, Record};
