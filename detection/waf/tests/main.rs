// SPDX-License-Identifier: Apache-2.0
//! The crate's integration tests, one module a subject.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

mod bodies;
mod bounds;
mod builtin;
mod collections;
mod debian;
mod directives;
mod injection;
mod made;
mod operators;
mod seclang;
mod transactions;
mod transformations;
mod variables;
