// SPDX-License-Identifier: Apache-2.0
//! What judging says about a request, in fixed words: metrics and the audit log show them.

use std::fmt;

/// A layer of judging, in the order in which layers are asked. The first that blocks answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// Block and allow lists, and the blocks that other layers made.
    Lists,
    /// What an address, and all addresses together, have been doing.
    Ddos,
    /// What this one request looks like, and whether a crawler is who it says.
    Scanner,
    /// How much an identity may ask for.
    RateLimit,
    /// What rules, and models beside them, find in the request and its body.
    Waf,
}

impl Layer {
    /// Every layer, in order.
    pub const ALL: [Self; 5] = [Self::Lists, Self::Ddos, Self::Scanner, Self::RateLimit, Self::Waf];

    /// `rate_limit`
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lists => "lists",
            Self::Ddos => "ddos",
            Self::Scanner => "scanner",
            Self::RateLimit => "rate_limit",
            Self::Waf => "waf",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a layer thinks, before anybody asks whether it may act on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing against it.
    #[default]
    Pass,
    /// Suspicious: acted on only where the layer's word was proven, or the operator said so.
    Doubtful,
    /// Certain.
    Block,
}

impl Verdict {
    /// `doubtful`
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Doubtful => "doubtful",
            Self::Block => "block",
        }
    }
}

/// Whether a layer may act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayerMode {
    /// Is not asked.
    Off,
    /// Is asked and recorded; nothing comes of it.
    Observe,
    /// Acts on what is certain; what is doubtful is recorded.
    #[default]
    Auto,
    /// Acts on both.
    Enforce,
}

impl LayerMode {
    /// Whether such a verdict is acted on.
    pub fn acts_on(self, verdict: Verdict) -> bool {
        match self {
            Self::Off | Self::Observe => false,
            Self::Auto => verdict == Verdict::Block,
            Self::Enforce => verdict >= Verdict::Doubtful,
        }
    }

    /// `observe`
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Observe => "observe",
            Self::Auto => "auto",
            Self::Enforce => "enforce",
        }
    }
}

/// By what a client is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentityKind {
    /// By its address, or the prefix around it.
    #[default]
    Address,
    /// By a session cookie that the site itself has honoured.
    Session,
    /// By a Bearer token that the site itself has honoured.
    Bearer,
}

impl IdentityKind {
    /// `session`
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Session => "session",
            Self::Bearer => "bearer",
        }
    }
}
