// SPDX-License-Identifier: Apache-2.0
//! The words that every part speaks about a request: who sent it, and the record that is kept of it.

mod audit;
mod client;
mod facts;
mod page_made;
mod redact;
mod verdict;

pub use audit::{AuditRecord, AuditScores, AuditTarget, RULES_MAX, ReadAuditError, RuleMatch, Thousandths};
pub use client::client_address;
pub use facts::RequestFacts;
pub use page_made::FetchMetadata;
pub use redact::{MASK, Redaction, truncated_address};
pub use verdict::{IdentityKind, Layer, LayerMode, Verdict};
