// SPDX-License-Identifier: Apache-2.0
//! From what rule files say to what runs: defaults, markers, removals and updates are resolved here, once.

mod builder;
mod constant;
mod draft;
mod facts;
mod link;
mod noted;
mod program;

use std::path::PathBuf;

use crate::engine::statistics::Statistics;
use crate::operators::Resources;
use crate::seclang::RuleError;
use crate::seclang::ast::Directive;

pub(crate) use program::{
    Amount, Changed, Deed, Disruption, Effect, Except, Exception, Feed, Link, LinkTarget, Name, Number,
    Picks, PieceOf, Pieces, SetVariable, Side, Source, Test,
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

    /// Whether a rule is asked at all: those above the level of paranoia are not.
    pub fn can_run(&self, rule: u32) -> bool {
        self.phases.iter().any(|numbers| numbers.binary_search(&rule).is_ok())
    }

    /// What the rules did so far.
    pub const fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The files on disk that were read for them: rules, and the data that rules name.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// What was loaded and does not do all that it says.
    pub fn warnings(&self) -> impl Iterator<Item = (&crate::seclang::ast::Span, &str)> {
        self.warnings.iter().map(|(span, text)| (span, text.as_str()))
    }
}

impl Rule {
    /// `msg` as it was written; empty where there is none.
    pub fn message(&self) -> String {
        draft::written(&self.msg)
    }

    /// What `RULE` tells of it, as it was written.
    pub(crate) fn said(&self, slots: &program::Slots) -> [(&'static str, String); 5] {
        [
            ("id", self.id.to_string()),
            ("rev", self.revision.clone()),
            ("severity", self.severity.map(|severity| severity.to_string()).unwrap_or_default()),
            ("msg", self.message()),
            ("logdata", draft::written_again(slots, &self.logdata)),
        ]
    }

    /// The operators of its conditions, as `rx`; those of a `SecAction` are none.
    pub fn operators(&self) -> impl Iterator<Item = &'static str> {
        self.links.iter().map(|link| link.operator).filter(|name| !name.is_empty())
    }
}

/// Where the operators of a rule file read their files.
pub trait ResourcesOf {
    /// Those beside a file.
    fn beside(&self, file: &str) -> Box<dyn Resources + '_>;
}
