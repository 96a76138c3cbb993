// SPDX-License-Identifier: Apache-2.0
//! What the actions of a rule say together, and what its phase's defaults say.

use crate::seclang::ast::{self, Action, Template};

/// What the actions of a rule say together.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) disruption: Option<Said>,
    default_disruption: Option<Said>,
    pub(super) status: Option<u16>,
    pub(super) msg: Option<Template>,
    pub(super) logdata: Option<Template>,
    pub(super) tags: Vec<String>,
    pub(super) version: String,
    pub(super) revision: String,
    pub(super) severity: Option<u8>,
    pub(super) logs: bool,
    pub(super) skip: u32,
}

#[derive(Clone)]
pub(super) enum Said {
    Pass,
    Deny,
    Drop,
    Allow(ast::Allow),
    Redirect(Template),
}

pub(super) fn said(action: &Action) -> Option<Said> {
    Some(match action {
        Action::Pass => Said::Pass,
        Action::Deny => Said::Deny,
        Action::Drop => Said::Drop,
        Action::Allow(how) => Said::Allow(*how),
        Action::Redirect(to) => Said::Redirect(to.clone()),
        _ => return None,
    })
}

impl Facts {
    pub(super) fn by_default(&mut self, action: &Action) {
        match action {
            Action::Log => self.logs = true,
            Action::NoLog => self.logs = false,
            Action::Status(status) => self.status = Some(*status),
            other => {
                if let Some(said) = said(other) {
                    self.default_disruption = Some(said.clone());
                    self.disruption = Some(said);
                }
            }
        }
    }

    pub(super) fn action(&mut self, action: &Action) {
        match action {
            Action::Msg(msg) => self.msg = Some(msg.clone()),
            Action::Logdata(data) => self.logdata = Some(data.clone()),
            Action::Tag(tag) => self.tags.push(tag.clone()),
            Action::Ver(version) => self.version.clone_from(version),
            Action::Rev(revision) => self.revision.clone_from(revision),
            Action::Severity(severity) => self.severity = Some(*severity),
            Action::Log => self.logs = true,
            Action::NoLog => self.logs = false,
            Action::Status(status) => self.status = Some(*status),
            Action::Skip(count) => self.skip = *count,
            // What the phase's default says.
            Action::Block => self.disruption = self.default_disruption.clone(),
            other => {
                if let Some(said) = said(other) {
                    self.disruption = Some(said);
                }
            }
        }
    }

    /// A link may tell what its head does not.
    pub(super) fn of_link(&mut self, action: &Action) {
        match action {
            Action::Msg(msg) if self.msg.is_none() => self.msg = Some(msg.clone()),
            Action::Logdata(data) if self.logdata.is_none() => self.logdata = Some(data.clone()),
            Action::Severity(severity) if self.severity.is_none() => self.severity = Some(*severity),
            _ => {}
        }
    }
}
