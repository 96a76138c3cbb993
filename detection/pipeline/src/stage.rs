// SPDX-License-Identifier: Apache-2.0
//! What a layer of judging is.

use sunbeam_tables::Moment;
use sunbeam_traffic::{Layer, Verdict};

use crate::memory::Memory;
use crate::rules::Rules;
use crate::subject::Subject;

/// One step of judging. To add one: a file beside this, and a line in `stages.rs`.
///
/// A stage says what it thinks; whether that is acted on is not its business. It answers from memory, at once:
/// what has to be asked of anybody is asked behind its back, and until then nothing is known.
pub trait Stage: Sync {
    /// What it is called where somebody asks what each stage thinks.
    fn name(&self) -> &'static str;

    /// The layer that it belongs to.
    fn layer(&self) -> Layer;

    /// What it thinks of a request.
    fn judge(&self, subject: &mut Subject<'_>, rules: &Rules, memory: &Memory, now: Moment) -> Judgement;
}

/// What a stage thinks. The default is to pass without a reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// How sure it is.
    pub verdict: Verdict,
    /// Why, in a fixed word: every verdict that is not a plain pass has one.
    pub reason: &'static str,
    /// What the client gets if it is acted on.
    pub status: u16,
    /// In how many seconds it may come again.
    pub retry_after_secs: Option<u64>,
    /// Whoever acts on it blocks the identity for a time.
    pub is_offence: bool,
    /// The layer that it speaks for, if not its own.
    pub on_behalf_of: Option<Layer>,
    /// Nobody else need be asked.
    pub is_final: bool,
}

impl Judgement {
    /// Nothing against it, and why.
    pub const fn pass(reason: &'static str) -> Self {
        Self { reason, ..Self::PASS }
    }

    /// Certain.
    pub const fn block(reason: &'static str, status: u16) -> Self {
        Self { verdict: Verdict::Block, reason, status, ..Self::PASS }
    }

    /// Suspicious.
    pub const fn doubtful(reason: &'static str, status: u16) -> Self {
        Self { verdict: Verdict::Doubtful, reason, status, ..Self::PASS }
    }

    /// It may come again after so many seconds.
    #[must_use]
    pub const fn retry_after(mut self, secs: u64) -> Self {
        self.retry_after_secs = Some(secs);
        self
    }

    /// Whoever acts on it blocks the identity for a time.
    #[must_use]
    pub const fn offence(mut self) -> Self {
        self.is_offence = true;
        self
    }

    /// The plain pass.
    pub const PASS: Self = Self {
        verdict: Verdict::Pass,
        reason: "",
        status: 0,
        retry_after_secs: None,
        is_offence: false,
        on_behalf_of: None,
        is_final: false,
    };
}
