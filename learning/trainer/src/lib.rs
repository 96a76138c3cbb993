// SPDX-License-Identifier: Apache-2.0
//! Training: from records to the integers that ship. Deterministic: the same records and seed give the same bytes.

pub mod application;
pub mod arithmetic;
mod balance;
pub mod boosting;
#[cfg(feature = "training")]
mod burned;
pub mod cascade;
pub mod ddos;
pub mod engine;
pub mod evaluation;
pub mod export;
pub mod grams;
pub mod leaks;
pub mod learn;
pub mod payload;
pub mod perceptron;
pub mod reference;
pub mod scanner;
pub mod shipped;
pub mod sides;
pub mod suite;
pub mod sweep;
pub mod windows;
pub mod zones;
