// SPDX-License-Identifier: Apache-2.0
//! A web application firewall that runs rules written in `SecLang`, ModSecurity's language: the OWASP Core Rule Set as
//! it is published, and the project's own rules. No sockets, no clock, no runtime.
//!
//! `seclang` reads rules, `compile` makes a program of them, `engine` runs it over one request and its answer, `filter`
//! tells it which rules cannot match.

pub mod bodies;
pub mod byte_set;
pub mod collections;
pub mod compile;
pub mod engine;
mod filter;
mod hex;
pub mod injection;
pub mod operators;
pub mod rules;
pub mod seclang;
pub mod transformations;
