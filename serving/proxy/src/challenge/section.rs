// SPDX-License-Identifier: Apache-2.0
//! `[challenge]`

use sunbeam_config::{Reader, Secret, choice, section};

choice! {
    /// Whether who is doubtful may show that it is a browser.
    pub enum ChallengeMode {
        /// Browsers are asked to, on routes that browsers use.
        Auto = "auto",
        /// Nobody is: what is doubtful is watched.
        Off = "off",
    }
}

section! {
    /// What is asked of browsers that are doubtful, where a layer's mode is `auto`.
    pub struct ChallengeSection {
        /// auto: for what is doubtful, on routes that browsers use | off: it is watched.
        enabled: ChallengeMode = ChallengeMode::Auto,
        /// Seconds for which a solved challenge holds.
        ttl_secs: u64 = 604_800 => 60..=31_536_000,
        /// Leading zero bits of the proof of work: each one more doubles a browser's work.
        difficulty: u8 = 16 => 1..=24,
        /// What challenges are signed with; another one ends all that were solved. "" = made at first start, in a file
        /// beside the state that only the owner reads. Nodes that serve one site need the same.
        secret: Secret = Secret::default(),
        /// Challenges that one address may solve in a day (UTC); its /24 or /48 ten times as many. Past it: 429.
        per_address_solves: u32 = 100 => 1..=1_000_000,
    }
}

impl ChallengeSection {
    /// Reports a secret that can be guessed.
    pub(crate) fn check(&self, reader: &mut Reader) {
        const CHARACTERS_MIN: usize = 32;
        if !self.secret.is_empty() && self.secret.expose().chars().count() < CHARACTERS_MIN {
            reader.error("challenge.secret", format!("is shorter than {CHARACTERS_MIN} characters"));
        }
    }
}
