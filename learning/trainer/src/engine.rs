// SPDX-License-Identifier: Apache-2.0
//! What computes when a perceptron is trained.

/// See the module. Those that a build does not have are not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// Arithmetic of our own: the same bytes on every machine.
    #[default]
    Native,
    /// The framework burn, on the processor: the same bytes on this machine.
    #[cfg(feature = "training")]
    Burn,
    /// The framework burn, on a GPU.
    #[cfg(feature = "training-gpu")]
    BurnGpu,
}

impl Engine {
    /// `native`
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            #[cfg(feature = "training")]
            Self::Burn => "burn",
            #[cfg(feature = "training-gpu")]
            Self::BurnGpu => "burn-gpu",
        }
    }

    /// Whether it could begin. It may start drivers, which may end the process: ask in a process of its own.
    ///
    /// # Errors
    /// Why not, for the operator.
    pub fn probe(self) -> Result<(), String> {
        match self {
            Self::Native => Ok(()),
            #[cfg(feature = "training")]
            Self::Burn => Ok(()),
            #[cfg(feature = "training-gpu")]
            Self::BurnGpu => crate::burned::probe(self),
        }
    }
}
