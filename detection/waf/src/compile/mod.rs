// SPDX-License-Identifier: Apache-2.0
//! From what rule files say to what runs: defaults, markers, removals and updates are resolved here, once.

mod builder;
mod link;
mod program;

use crate::operators::Resources;
use crate::seclang::RuleError;
use crate::seclang::ast::Directive;

pub(crate) use program::{
    Amount, Changed, Disruption, Effect, Except, Exception, Link, LinkTarget, Name, Number, Picks, PieceOf,
    Pieces, SetVariable, Source, Test,
};
pub use program::{EngineSettings, PHASES, Rule, RuleSet};

impl RuleSet {
    /// Makes a program of directives.
    ///
    /// # Errors
    /// All that is wrong: two rules of one number, a chain that does not end, an argument that its operator refuses.
    pub fn new(directives: &[Directive], resources: &dyn ResourcesOf) -> Result<Self, Vec<RuleError>> {
        builder::Builder::new(resources).build(directives)
    }

    /// The rules, in order of the files.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The directives beside them.
    pub const fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// What was loaded and does not do all that it says.
    pub fn warnings(&self) -> impl Iterator<Item = (&crate::seclang::ast::Span, &str)> {
        self.warnings.iter().map(|(span, text)| (span, text.as_str()))
    }
}

/// Where the operators of a rule file read their files.
pub trait ResourcesOf {
    /// Those beside a file.
    fn beside(&self, file: &str) -> Box<dyn Resources + '_>;
}
