// SPDX-License-Identifier: Apache-2.0
//! What rules read, and whether anything ever stands there.

use std::collections::HashSet;

use crate::seclang::ast::{Span, Variable};

/// Notes of all rules.
#[derive(Default)]
pub(super) struct Noted {
    /// The variables that are read, as a set of bits.
    pub(super) read: u128,
    at: Option<Span>,
    /// Those that may be empty for good.
    doubtful: Vec<(Span, Variable, Option<String>)>,
    /// Collections that some rule begins, and the variables that tell their keys.
    begun: u128,
    /// `setenv`; `None`: a name that is made up while rules run.
    environment: HashSet<Option<String>>,
}

impl Noted {
    /// What is noted from here on stands there.
    pub(super) fn at(&mut self, span: &Span) {
        if self.at.as_ref() != Some(span) {
            self.at = Some(span.clone());
        }
    }

    /// A variable, or one of a collection, is read (or one of a collection is set).
    pub(super) fn reads(&mut self, variable: Variable, name: Option<&str>) {
        self.read |= variable.bit();
        if why_empty(variable).is_some()
            && let Some(at) = &self.at
        {
            self.doubtful.push((at.clone(), variable, name.map(str::to_ascii_lowercase)));
        }
    }

    pub(super) fn begins(&mut self, variable: Variable) {
        self.begun |= variable.bit();
    }

    pub(super) fn sets_environment(&mut self, name: Option<&str>) {
        self.environment.insert(name.map(str::to_ascii_lowercase));
    }

    /// Where something is read that is empty for good, and why.
    pub(super) fn empty(&self) -> Vec<(Span, String)> {
        let mut found = Vec::new();
        for (span, variable, name) in &self.doubtful {
            let is_there = match variable {
                Variable::Env if name.is_none() => !self.environment.is_empty(),
                Variable::Env => self.environment.contains(&None) || self.environment.contains(name),
                other => self.begun & other.bit() != 0,
            };
            if !is_there && let Some(why) = why_empty(*variable) {
                let name = name.as_ref().map(|name| format!(":{name}")).unwrap_or_default();
                found.push((span.clone(), format!("`{}{name}` {why}", variable.as_str())));
            }
        }
        found
    }
}

/// Why nothing may ever stand in a variable. `None`: it has what the request has.
const fn why_empty(variable: Variable) -> Option<&'static str> {
    Some(match variable {
        Variable::FilesTmpnames => "is always empty here: no body is written to a file",
        Variable::Geo => "is always empty here: there is no database of countries",
        Variable::Env => "is always empty here: no `setenv` sets it, and nothing else is read",
        Variable::Global | Variable::Ip | Variable::Resource | Variable::Session | Variable::User => {
            "lasts for one request: no `initcol`, `setsid`, `setuid` or `setrsc` begins that collection"
        }
        Variable::SessionId => "is always empty here: no `setsid` sets it",
        Variable::UserId => "is always empty here: no `setuid` sets it",
        _ => return None,
    })
}
