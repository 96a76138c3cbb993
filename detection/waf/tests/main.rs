// SPDX-License-Identifier: Apache-2.0
//! The crate's integration tests, one module a subject.

mod builtin;
mod operators;
mod seclang;
mod transformations;
