// SPDX-License-Identifier: Apache-2.0
//! The bounded structures that judging keeps its state in. None of them grows with what clients send.

mod distinct;
mod fixed;
mod hash;
mod moment;
mod prefixes;

pub use distinct::Distinct;
pub use fixed::FixedTable;
pub use hash::HashKey;
pub use moment::Moment;
pub use prefixes::PrefixMap;
