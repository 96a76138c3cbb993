// SPDX-License-Identifier: Apache-2.0
//! Judging over simulated time: whole sites with their visitors, minutes in milliseconds.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

mod allocations;
mod models;
mod office;
mod proof;
mod records;
mod world;
