// SPDX-License-Identifier: Apache-2.0
//! The crate's integration tests, one module a subject.

mod core_rule_set;

mod engine;
