// SPDX-License-Identifier: Apache-2.0
//! What kind of decision an entry is about: the ring that it stands in.

/// The kinds of decisions that are kept apart.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Class {
    /// Limits, floods, blocks of addresses: many, and much alike.
    Limits,
    /// What was judged by its content: rules of the WAF, models.
    Content,
    /// The sample of what passed.
    Passes,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Limits, Self::Content, Self::Passes];

    /// Lowercase word: the name of the ring's folder, and of a metric's label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limits => "limits",
            Self::Content => "content",
            Self::Passes => "passes",
        }
    }

    /// The ring's part of the store's bytes. What was judged by content is worth most: it is what people ask
    /// about, and what an exception is tried on.
    pub(crate) const fn percent(self) -> u64 {
        match self {
            Self::Limits => 30,
            Self::Content => 60,
            Self::Passes => 10,
        }
    }

    /// Bytes of this class's ring in a store of `max_bytes`.
    pub(crate) const fn ring_bytes(self, max_bytes: u64) -> u64 {
        max_bytes / 100 * self.percent()
    }

    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Limits => 0,
            Self::Content => 1,
            Self::Passes => 2,
        }
    }
}

const _: () = assert!(
    Class::Limits.percent() + Class::Content.percent() + Class::Passes.percent() == 100,
    "the rings fill the store"
);
