// SPDX-License-Identifier: Apache-2.0
//! Whether a text reads as an injection: of SQL for `@detectSQLi`, of script for `@detectXSS`.
//!
//! The crate `libinjectionrs` decides. Around it stands what makes that cheap, `ingredients` and `suspicion` in `xss`,
//! which say of most texts that its answer would be no; and what it misses.

mod event_handlers;
mod ingredients;
mod runs;
mod sqli;
mod xss;

pub use sqli::{Fingerprint, SQLI_NEEDS, is_sqli};
pub use xss::{XSS_NEEDS, is_xss};

#[cfg(test)]
mod testing;
