// SPDX-License-Identifier: Apache-2.0
//! Which side of the split a group is on, by its name alone: the same in every run and for every source.

use crate::arithmetic::mixed;

/// A side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Learned from.
    Train,
    /// Judged by.
    Validation,
}

/// Four groups of five are learned from.
pub fn side(group: &str) -> Side {
    if hash(group).is_multiple_of(5) { Side::Validation } else { Side::Train }
}

/// One of so many parts of the training side.
pub fn fold(group: &str, parts: usize) -> usize {
    usize::try_from((hash(group) / 5) % parts.max(1) as u64).unwrap_or(0)
}

fn hash(group: &str) -> u64 {
    group.bytes().fold(7, |hash, byte| mixed(hash ^ u64::from(byte)))
}
